"""ASN.1 in its distinguished encoding: as much of it as a signature is made of.

What is read may also have indefinite lengths (BER), with which other signers write. Every length is checked against what
is there; nothing recurses deeper than DEPTH_MAX.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass

DEPTH_MAX = 16
"""Indefinite lengths inside each other; a signature has a handful."""

INTEGER, OCTETS, NULL, OID, UTF8 = 0x02, 0x04, 0x05, 0x06, 0x0C
GENERALIZED_TIME, SEQUENCE, SET = 0x18, 0x30, 0x31
_CONTEXT, _CONSTRUCTED = 0x80, 0x20


class BadEncoding(ValueError):
    """The bytes are no such structure."""


@dataclass(frozen=True, slots=True)
class Element:
    """One value: identifier octet, contents, and all of its bytes."""

    tag: int
    body: bytes
    whole: bytes

    def children(self) -> list[Element]:
        """The values that a constructed one consists of."""
        found, at = [], 0
        while at < len(self.body):
            child, at = _read(self.body, at, 0)
            found.append(child)
        return found

    def expect(self, tag: int) -> Element:
        """Itself, when it has this tag."""
        if self.tag != tag:
            raise BadEncoding(f"tag {self.tag:#04x} in place of {tag:#04x}")
        return self


def context(number: int, *, constructed: bool = True) -> int:
    """The tag [number]."""
    return _CONTEXT | (_CONSTRUCTED if constructed else 0) | number


def read(data: bytes) -> Element:
    """The one value that `data` is, to its last byte."""
    element, end = _read(data, 0, 0)
    if end != len(data):
        raise BadEncoding(f"{len(data) - end} bytes follow")
    return element


def _read(data: bytes, at: int, depth: int) -> tuple[Element, int]:
    if at + 2 > len(data):
        raise BadEncoding("it ends early")
    tag, length, start = data[at], data[at + 1], at + 2
    if tag & 0x1F == 0x1F:
        raise BadEncoding("a tag of several bytes")
    if length == 0x80:
        return _read_indefinite(data, at, start, depth)
    if length > 0x80:
        size = length & 0x7F
        if size > 4 or start + size > len(data):
            raise BadEncoding("a length that cannot be")
        length = int.from_bytes(data[start : start + size], "big")
        start += size
    end = start + length
    if end > len(data):
        raise BadEncoding("it ends early")
    return Element(tag, data[start:end], data[at:end]), end


def _read_indefinite(data: bytes, at: int, start: int, depth: int) -> tuple[Element, int]:
    """Contents up to two zero bytes."""
    if depth == DEPTH_MAX or not data[at] & _CONSTRUCTED:
        raise BadEncoding("an indefinite length where none may be")
    end = start
    while data[end : end + 2] != b"\0\0":
        _, end = _read(data, end, depth + 1)
    return Element(data[at], data[start:end], data[at : end + 2]), end + 2


def write(tag: int, body: bytes) -> bytes:
    """One value with its length in the shortest form."""
    length = len(body)
    if length < 0x80:
        return bytes((tag, length)) + body
    size = (length.bit_length() + 7) // 8
    return bytes((tag, 0x80 | size)) + length.to_bytes(size, "big") + body


def sequence(*items: bytes) -> bytes:
    return write(SEQUENCE, b"".join(items))


def set_of(items: Iterable[bytes], tag: int = SET) -> bytes:
    """A SET OF: the distinguished encoding sorts its items."""
    return write(tag, b"".join(sorted(items)))


def integer(value: int) -> bytes:
    """A number that is not negative."""
    return write(INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def read_integer(element: Element) -> int:
    return int.from_bytes(element.expect(INTEGER).body, "big", signed=True)


def oid(dotted: str) -> bytes:
    """An object identifier."""
    first, second, *rest = (int(part) for part in dotted.split("."))
    body = b""
    for number in (first * 40 + second, *rest):
        digits = [number & 0x7F]
        while number := number >> 7:
            digits.append(number & 0x7F | 0x80)
        body += bytes(reversed(digits))
    return write(OID, body)


def octets(value: bytes) -> bytes:
    return write(OCTETS, value)


def utf8(text: str) -> bytes:
    return write(UTF8, text.encode())


def read_utf8(element: Element) -> str:
    try:
        return element.expect(UTF8).body.decode()
    except UnicodeDecodeError as error:
        raise BadEncoding("a text that is not UTF-8") from error


def generalized_time(epoch_ms: int) -> bytes:
    """A moment in UTC, with its milliseconds."""
    text = time.strftime("%Y%m%d%H%M%S", time.gmtime(epoch_ms // 1_000))
    return write(GENERALIZED_TIME, f"{text}.{epoch_ms % 1_000:03d}Z".encode())


def read_time(element: Element) -> int:
    """Epoch milliseconds of a GeneralizedTime in UTC, with or without a fraction."""
    from calendar import timegm

    text = element.expect(GENERALIZED_TIME).body.decode("ascii", "replace")
    whole, _, fraction = text.removesuffix("Z").partition(".")
    digits = whole + fraction
    if not text.endswith("Z") or len(whole) != 14 or not (digits.isascii() and digits.isdigit()):
        raise BadEncoding("a time of another form")
    try:
        seconds = timegm(time.strptime(whole, "%Y%m%d%H%M%S"))
    except ValueError as error:
        raise BadEncoding("a time that cannot be") from error
    return seconds * 1_000 + int(fraction[:3].ljust(3, "0"))
