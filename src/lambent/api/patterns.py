"""The service model's regular expressions, read as the service reads them.

The dialect is Java's and a pattern must match the whole value, whether or not it carries anchors. Python's `re` differs
in five ways, all translated here: `\\d`, `\\s` and `\\w` mean ASCII, a dot excludes five line terminators instead of one,
`\\p{L}`, `\\p{N}` and `\\p{Z}` do not exist, `[` inside a class is literal only when escaped (the models always mean it
literally), and `$` may stand before a final newline, which a full match rules out anyway.
Source: Java's `java.util.regex.Pattern` documentation; Unicode general categories.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from functools import lru_cache

_ASCII_CLASSES = {"d": "0-9", "s": " \\t\\n\\x0b\\f\\r", "w": "a-zA-Z0-9_"}
_NEGATED = {"D": "0-9", "S": " \\t\\n\\x0b\\f\\r", "W": "a-zA-Z0-9_"}
_ANY_BUT_LINE_ENDS = "[^\\n\\r\\x85\\u2028\\u2029]"
_SEPARATORS = " \\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000"
_WHOLE = "\\d\\D"


def compile_java(pattern: str) -> re.Pattern[str]:
    """Compile for `fullmatch`. Raises ValueError for syntax that no published pattern uses."""
    return re.compile(translate(pattern))


def translate(pattern: str) -> str:
    """A Java pattern in Python's dialect."""
    out: list[str] = []
    at, end = 0, len(pattern)
    while at < end:
        char = pattern[at]
        if char == "[":
            closing, text = _character_class(pattern, at)
            out.append(text)
            at = closing
        elif char == "\\":
            name = pattern[at + 1]
            if name in "pP":
                at, members = _category(pattern, at)
                out.append(f"[{'^' if name == 'P' else ''}{members}]")
                continue
            if name in _ASCII_CLASSES:
                out.append(f"[{_ASCII_CLASSES[name]}]")
            elif name in _NEGATED:
                out.append(f"[^{_NEGATED[name]}]")
            else:
                out.append(pattern[at : at + 2])
            at += 2
        else:
            out.append(_ANY_BUT_LINE_ENDS if char == "." else char)
            at += 1
    return "".join(out)


def _character_class(pattern: str, start: int) -> tuple[int, str]:
    """Translate the class that opens at `start`; answers the index behind it and its text."""
    at = start + 1
    inverted = pattern.startswith("^", at)
    at += inverted
    members: list[str] = []
    categories: set[str] = set()
    first = True
    while pattern[at] != "]" or first:
        char = pattern[at]
        first = False
        if char == "\\":
            name = pattern[at + 1]
            if name == "p":
                categories.add(pattern[at + 3])
                at = pattern.index("}", at) + 1
                continue
            if name in _NEGATED or name == "P":
                # Only [\s\S], "anything at all", occurs.
                if name != "S" or pattern[start : start + 6] != "[\\s\\S]":
                    raise ValueError(f"a negated class inside a class: {pattern}")
                members.append(_WHOLE)
            else:
                members.append(_ASCII_CLASSES.get(name, pattern[at : at + 2]))
            at += 2
        else:
            if pattern.startswith("&&", at):
                raise ValueError(f"an intersection of classes: {pattern}")
            members.append("\\[" if char == "[" else char)
            at += 1
    # Python's \w is exactly letters, numbers and the underscore, and costs nothing to build.
    if {"L", "N"} <= categories and "_" in members:
        categories -= {"L", "N"}
        members.insert(0, "\\w")
    return at + 1, f"[{'^' if inverted else ''}{''.join(map(_members_of, sorted(categories)))}{''.join(members)}]"


def _category(pattern: str, at: int) -> tuple[int, str]:
    closing = pattern.index("}", at)
    return closing + 1, _members_of(pattern[at + 3 : closing])


@lru_cache(maxsize=8)
def _members_of(category: str) -> str:
    """All characters of one major Unicode category, as the inside of a class."""
    if category == "Z":
        return _SEPARATORS
    ranges: list[list[int]] = []
    for code in range(sys.maxunicode + 1):
        if unicodedata.category(chr(code)).startswith(category):
            if ranges and ranges[-1][1] == code - 1:
                ranges[-1][1] = code
            else:
                ranges.append([code, code])
    return "".join(f"\\U{low:08x}-\\U{high:08x}" for low, high in ranges)
