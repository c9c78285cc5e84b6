"""What a function returned, as an HTTP response: the response rules of payload format 2.0.

Pure: bytes in, an `HttpAnswer` out, or `Malformed`, which a function URL answers with 502 and an HTTP API with 500. What
would break the response's framing or smuggle a header into it is malformed, whatever the reference may do with it.

    returned                                response
    {"statusCode": 201, "headers": {…},     as it says; a Set-Cookie for each cookie; the body base64-decoded when
     "cookies": […], "body": "…",           isBase64Encoded; application/json unless headers say otherwise
     "isBase64Encoded": false}
    any other JSON object, list, number,    200, application/json, the JSON text without white space
    boolean, null
    a string                                200, application/json, the string without quotes

Within the first shape a member that is null counts as absent; a number or boolean stands for its text where text is
wanted (status, header values, cookies, body), as the reference's parser reads them; lists and objects do not.
"""

from __future__ import annotations

import binascii
import re
from base64 import b64decode
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import orjson

JSON_TYPE: Final = (b"content-type", b"application/json")
REMAPPED: Final = b"x-amzn-Remapped-"
"""In front of the name of a header that is the door's to write."""

_OWN = frozenset(
    (
        b"connection",
        b"content-length",
        b"date",
        b"keep-alive",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"x-amzn-requestid",
        b"x-amzn-trace-id",
    )
)
_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_NAMES_MAX = 1_024
_NAME_CHARS_KEPT = 64
_names: dict[str, tuple[bytes, bytes]] = {}  # as written → (as sent, in lower case), at most _NAMES_MAX good ones
_FORBIDDEN = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_STATUS = re.compile(r"[0-9]{3}")
_NOT_IN_STRINGS = re.compile(rb'("(?:[^"\\]|\\.)*")|[ \t\r\n]+', re.DOTALL)


class Malformed(Exception):
    """What the function returned is no response; the text says why, for the log."""


@dataclass(slots=True)
class HttpAnswer:
    """One response, its framing left to the core."""

    status: int
    """200 to 599."""
    headers: list[tuple[bytes, bytes]]
    """A content type is always among them, and each name, Set-Cookie aside, once."""
    body: bytes


def answer(returned: bytes) -> HttpAnswer:
    """The response to what a function returned. Raises Malformed."""
    try:
        value = orjson.loads(returned)
    except orjson.JSONDecodeError as error:
        raise Malformed(f"the function's response is not JSON: {error}") from None
    if type(value) is dict:
        status = value.get("statusCode")
        if status is not None:
            return HttpAnswer(
                status_of(status),
                headers_of(value.get("headers"), value.get("cookies")),
                _body(value.get("body"), value.get("isBase64Encoded")),
            )
    elif type(value) is str:
        return HttpAnswer(200, [JSON_TYPE], value.encode())
    return HttpAnswer(200, [JSON_TYPE], compact(returned))


def status_of(given: object) -> int:
    """A final status from a number or its text. Raises Malformed: for 1xx too, which would leave the client waiting."""
    if (type(given) is str and _STATUS.fullmatch(given)) or (type(given) is float and given.is_integer()):
        given = int(given)
    if type(given) is not int or not 200 <= given <= 599:
        raise Malformed(f"statusCode {_shown(given)} is not a status from 200 to 599")
    return given


def headers_of(
    headers: object, cookies: object, *, otherwise: tuple[bytes, bytes] = JSON_TYPE
) -> list[tuple[bytes, bytes]]:
    """Header fields, content type included: `otherwise` where none is named. Raises Malformed.

    Of a name in several spellings the last one counts. What is the door's to write is renamed, as API Gateway does.
    """
    fields: list[tuple[bytes, bytes]] = []
    has_type = False
    if headers is not None:
        if type(headers) is not dict:
            raise Malformed(f"headers {_shown(headers)} is not an object")
        seen = set()
        for name, given in headers.items():
            if given is None:
                continue
            known = _names.get(name) or _name(name)
            value = _value(name, given)
            lower = known[1]
            if lower == b"content-type":
                has_type = True
            if lower in seen:
                fields = [field for field in fields if field[0].lower() != lower]
            seen.add(lower)
            fields.append((known[0], value))
    if not has_type:
        fields.append(otherwise)
    if cookies is not None:
        if type(cookies) is not list:
            raise Malformed(f"cookies {_shown(cookies)} is not a list")
        fields += [(b"set-cookie", _value("cookies", cookie)) for cookie in cookies]
    return fields


def compact(text: bytes) -> bytes:
    """JSON text without white space outside of strings; its numbers stay as they were written. text: valid JSON."""
    return _NOT_IN_STRINGS.sub(rb"\1", text)


def without(headers: Iterable[tuple[bytes, bytes]], prefix: bytes) -> list[tuple[bytes, bytes]]:
    """The fields whose names do not begin with `prefix` (in lower case), whatever their case."""
    length = len(prefix)
    return [field for field in headers if field[0][:length].lower() != prefix]


def _name(name: str) -> tuple[bytes, bytes]:
    sent = name.encode("utf-8", "replace")
    if _NAME.fullmatch(sent) is None:
        raise Malformed(f"{_shown(name)} is no header name")
    lower = sent.lower()
    if lower in _OWN:
        sent, lower = REMAPPED + sent, REMAPPED.lower() + lower
    if len(_names) < _NAMES_MAX and len(name) <= _NAME_CHARS_KEPT:
        _names[name] = sent, lower
    return sent, lower


def _value(name: str, given: object) -> bytes:
    text = _scalar(given)
    if text is None:
        raise Malformed(f"the value of {_shown(name)} is not text: {_shown(given)}")
    value = text.encode("utf-8", "replace").strip(b" \t")
    if _FORBIDDEN.search(value):
        raise Malformed(f"the value of {_shown(name)} holds a line break or another control character")
    return value


def _body(given: object, is_base64: object) -> bytes:
    if given is None:
        return b""
    text = _scalar(given)
    if text is None:
        raise Malformed("body is not text")
    if not _flag(is_base64):
        return text.encode()
    try:
        return b64decode(text + "=" * (-len(text) % 4), validate=True)  # padding may be left away
    except (binascii.Error, ValueError) as error:
        raise Malformed(f"isBase64Encoded is true, and body is not base64: {error}") from None


def _flag(given: object) -> bool:
    if given is None or given is False:
        return False
    if given is True:
        return True
    if type(given) is str and given.lower() in ("true", "false"):
        return given.lower() == "true"
    raise Malformed(f"isBase64Encoded {_shown(given)} is neither true nor false")


def _scalar(given: object) -> str | None:
    """Text as it is, a number or a boolean as JSON writes it; None for anything else."""
    if type(given) is str:
        return given
    if type(given) is int:
        return str(given)  # also beyond 64 bits, which orjson refuses
    if isinstance(given, bool | int | float):
        return orjson.dumps(given).decode()
    return None


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
