"""Is this payload JSON? The service parses it before a function sees it and answers in its parser's words.

Source: recorded answers of the real service, whose parser is Jackson; the wording for each kind of fault is Jackson's.
"""

from __future__ import annotations

import re

import orjson

from ..domain.errors import InvalidRequestContent

INLINE_BYTES_MAX = 1_048_576
"""Payloads above this are checked in a thread."""

_SOURCE = (
    "at [Source: REDACTED (`StreamReadFeature.INCLUDE_SOURCE_IN_LOCATION` disabled); line: {line}, column: {column}]"
)
_EXPECTED = "(JSON String, Number, Array, Object or token 'null', 'true' or 'false')"
_WORD = re.compile(r"[A-Za-z_$][\w$]*")


def check_payload(body: bytes) -> None:
    """Raise InvalidRequestContent when `body` is neither empty nor one JSON text."""
    if not body:
        return
    try:
        orjson.loads(body)
    except orjson.JSONDecodeError as error:
        if not body.strip(b" \t\r\n"):
            return
        raise InvalidRequestContent(
            f"Could not parse request body into json: Could not parse payload into json: {_reason(body, error.pos)}"
        ) from None


def _reason(body: bytes, position: int) -> str:
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        byte = body[error.start]
        where = _SOURCE.format(line=1 + body.count(b"\n", 0, error.start), column=1 + error.start)
        if error.start == 0 and 0x80 <= byte < 0xC0:
            # A lone continuation byte where a value should begin is read as a character, not as broken UTF-8.
            return f"Unexpected character ((CTRL-CHAR, code {byte})): expected a valid value {_EXPECTED}\n {where}"
        return f"Invalid UTF-8 start byte 0x{byte:x}\n {where}"
    position = min(position, len(text))
    line = 1 + text.count("\n", 0, position)
    column = position - (text.rfind("\n", 0, position) + 1) + 1
    where = _SOURCE.format(line=line, column=column)
    rest = text[position:]
    if not rest:
        return f"Unexpected end-of-input: expected close marker\n {where}"
    if word := _WORD.match(rest):
        return f"Unrecognized token '{word.group()}': was expecting {_EXPECTED}\n {where}"
    character = rest[0]
    code = ord(character)
    shown = f"(CTRL-CHAR, code {code})" if code < 0x20 or 0x7F <= code < 0xA0 else f"'{character}' (code {code})"
    return f"Unexpected character ({shown}): expected a valid value {_EXPECTED}\n {where}"
