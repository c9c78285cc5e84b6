"""Taking a large zip out of a JSON document before the document is parsed.

A JSON parser reads 70 MB in one call of a tenth of a second, and nothing else of the process runs meanwhile, not even on
another thread. So the one long string is found and cut out, the small rest is parsed, and the string is decoded in
slices. What does not look exactly as encoders write it (an escape inside, the key twice) is left to the parser.
"""

from __future__ import annotations

import binascii
from io import BytesIO
from typing import Any

import orjson

LIFTED_CHARS_MIN = 1 << 20
"""Shorter strings are not worth it."""

SLICE_CHARS = 1 << 20
"""Base64 characters decoded at a time, a multiple of 4 (about 2 ms); between slices other threads get their turn."""

_KEY = b'"ZipFile"'
_SPACE = b" \t\r\n"
_TOKEN = "lifted"


def load_lifted(body: bytes, inside: str | None) -> Any:
    """The parsed document; its `ZipFile` is bytes already if it was long, plain and well-formed.

    inside: the member that holds `ZipFile`, None for the document itself. Raises orjson.JSONDecodeError as the parser
    does, and ValueError (binascii.Error) for a long string that is no base64.
    """
    span = _find(body)
    if span is None:
        return orjson.loads(body)
    start, end = span
    document = orjson.loads(b"".join((body[:start], _TOKEN.encode(), body[end:])))
    holder = document.get(inside) if inside is not None and isinstance(document, dict) else document
    if isinstance(holder, dict) and holder.get("ZipFile") == _TOKEN:
        holder["ZipFile"] = decode_slices(memoryview(body)[start:end])
    return document  # a ZipFile elsewhere is an unknown member, and ignored


def _find(body: bytes) -> tuple[int, int] | None:
    """Where the string behind the only `ZipFile` key begins and ends, without its quotes."""
    key = body.find(_KEY)
    if key < 0 or body[key - 1 : key] == b"\\":
        return None
    at = _skip(body, key + len(_KEY))
    if body[at : at + 1] != b":":
        return None
    at = _skip(body, at + 1)
    if body[at : at + 1] != b'"':
        return None
    start, end = at + 1, body.find(b'"', at + 1)
    if end - start < LIFTED_CHARS_MIN or body.find(b"\\", start, end) >= 0 or body.find(_KEY, end) >= 0:
        return None
    return start, end


def _skip(body: bytes, at: int) -> int:
    while body[at : at + 1] and body[at] in _SPACE:
        at += 1
    return at


def decode_slices(text: str | memoryview) -> bytes:
    """Base64 of the standard alphabet, padded, nothing else in it. Raises ValueError.

    Each slice is copied to its place at once: kept until the end they would be half a hundred blocks of the thread's own
    heap, which the C library gives back to nobody.
    """
    if len(text) % 4:
        raise ValueError("not a multiple of four characters")
    if len(text) <= SLICE_CHARS:
        return binascii.a2b_base64(text, strict_mode=True)
    decoded = BytesIO()
    decoded.seek(len(text) // 4 * 3 - 1)
    decoded.write(b"\0")  # all the room at once, in one block
    decoded.seek(0)
    for at in range(0, len(text), SLICE_CHARS):
        piece = binascii.a2b_base64(text[at : at + SLICE_CHARS], strict_mode=True)
        if at + SLICE_CHARS < len(text) and len(piece) != SLICE_CHARS // 4 * 3:
            raise ValueError("padding inside")
        decoded.write(piece)
    decoded.truncate()
    return decoded.getvalue()
