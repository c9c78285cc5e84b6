"""Status lines, the Date field, and the core's own error answers."""

from __future__ import annotations

import time
from http import HTTPStatus

import orjson

STATUS_LINES: dict[int, bytes] = {s.value: f"HTTP/1.1 {s.value} {s.phrase}\r\n".encode() for s in HTTPStatus}
"""Status line by status; one that is missing has no phrase."""

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def status_line(status: int) -> bytes:
    """The status line, CR LF included, of any status from 200 to 599. Raises ValueError for another."""
    line = STATUS_LINES.get(status)
    if line is not None and status >= 200:
        return line
    if not 200 <= status <= 599:
        raise ValueError(f"{status} is no final status")
    return b"HTTP/1.1 %d \r\n" % status


def date_line(wall_ms: int) -> bytes:
    """The Date field, line break included, in English whatever the locale."""
    t = time.gmtime(wall_ms // 1000)
    return (
        f"Date: {_DAYS[t.tm_wday]}, {t.tm_mday:02} {_MONTHS[t.tm_mon - 1]} {t.tm_year}"
        f" {t.tm_hour:02}:{t.tm_min:02}:{t.tm_sec:02} GMT\r\n"
    ).encode()


ERROR_HEADERS = ((b"Content-Type", b"application/json"),)


def error_body(message: str) -> bytes:
    """The body of an answer that the core gives by itself."""
    return orjson.dumps({"message": message})
