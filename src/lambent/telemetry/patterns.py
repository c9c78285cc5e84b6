"""Filter patterns of FilterLogEvents and `lambent logs`: text terms and JSON comparisons.

Text: every term must occur, `?term` makes alternatives, `-term` excludes, quotes keep a phrase together; matching is
case-sensitive. JSON: `{ $.level = "ERROR" && $.ms > 10 }` with =, !=, <, <=, >, >=, IS NULL, IS TRUE, IS FALSE,
NOT EXISTS, EXISTS-by-comparison, && and ||, parentheses, `*` in unquoted or quoted strings. Space-delimited patterns
(`[a, b]`) and regular expressions (`%...%`) are refused by name, never half understood.
Source: Amazon CloudWatch Logs User Guide, "Filter pattern syntax".
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import orjson

from .errors import LogsInvalidParameter

PATTERN_CHARS_MAX = 1_024

Matcher = Callable[[bytes], bool]
_Test = Callable[[Any], bool]

_TERM = re.compile(r'\s*([?-]?)(?:"((?:[^"\\]|\\.)*)"|([^\s"]+))')
_TOKEN = re.compile(
    r"""\s*(?:
      (?P<and>&&)|(?P<or>\|\|)|(?P<open>\()|(?P<close>\))
      |(?P<path>\$(?:\.[A-Za-z0-9_\-]+|\.?\["[^"]+"\]|\[\d+\])+)
      |(?P<compare><=|>=|!=|=|<|>)
      |"(?P<text>(?:[^"\\]|\\.)*)"
      |(?P<word>[^\s()&|=<>!"]+)
    )""",
    re.VERBOSE,
)
_STEP = re.compile(r'\.?\["([^"]+)"\]|\.([A-Za-z0-9_\-]+)|\[(\d+)\]')
_ABSENT = object()
_NESTED_MAX = 32


def compile_pattern(pattern: str) -> Matcher | None:
    """The test a pattern stands for, over an event's bytes; None for the empty pattern, which everything matches.

    Raises LogsInvalidParameter for a pattern that is malformed or of a kind that is not served.
    """
    if len(pattern) > PATTERN_CHARS_MAX:
        raise LogsInvalidParameter(f"Invalid filter pattern: longer than {PATTERN_CHARS_MAX} characters")
    text = pattern.strip()
    if not text:
        return None
    if text.startswith("{"):
        if not text.endswith("}"):
            raise LogsInvalidParameter("Invalid filter pattern: a JSON pattern ends in }")
        return _json_matcher(text[1:-1])
    if text.startswith("["):
        raise LogsInvalidParameter("Invalid filter pattern: space-delimited patterns ([...]) are not served")
    if "%" in text and re.search(r"%[^%]+%", text):
        raise LogsInvalidParameter("Invalid filter pattern: regular expressions (%...%) are not served")
    return _text_matcher(text)


def _text_matcher(text: str) -> Matcher:
    required: list[bytes] = []
    alternatives: list[bytes] = []
    excluded: list[bytes] = []
    at = 0
    while at < len(text):
        found = _TERM.match(text, at)
        if found is None:
            raise LogsInvalidParameter("Invalid filter pattern: a quotation mark is not closed")
        sign, quoted, bare = found.groups()
        term = (_unescape(quoted) if quoted is not None else bare).encode()
        {"": required, "?": alternatives, "-": excluded}[sign].append(term)
        at = found.end()
        while at < len(text) and text[at].isspace():
            at += 1

    def matches(message: bytes) -> bool:
        # Alternatives beside required terms are ignored by the service; so they are here.
        if any(term in message for term in excluded):
            return False
        if required:
            return all(term in message for term in required)
        return not alternatives or any(term in message for term in alternatives)

    return matches


def _json_matcher(text: str) -> Matcher:
    tokens: list[tuple[str, str]] = []
    at = 0
    text = text.strip()
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None or found.lastgroup is None:
            raise LogsInvalidParameter(f"Invalid filter pattern: cannot read {text[at : at + 20]!r}")
        tokens.append((found.lastgroup, found.group(found.lastgroup)))
        at = found.end()
    parser = _Parser(tokens)
    test = parser.alternatives(0)
    parser.expect_end()

    def matches(message: bytes) -> bool:
        stripped = message.strip()
        if not stripped.startswith(b"{"):
            return False
        try:
            document = orjson.loads(stripped)
        except orjson.JSONDecodeError:
            return False  # not JSON: a JSON pattern does not match it
        return test(document)

    return matches


class _Parser:
    """Recursive descent over the tokens; && binds tighter than ||."""

    def __init__(self, tokens: list[tuple[str, str]]) -> None:
        self._tokens = tokens
        self._at = 0

    def alternatives(self, depth: int) -> _Test:
        tests = [self._conjunction(depth)]
        while self._take("or"):
            tests.append(self._conjunction(depth))
        return tests[0] if len(tests) == 1 else lambda document: any(test(document) for test in tests)

    def expect_end(self) -> None:
        if self._at != len(self._tokens):
            raise LogsInvalidParameter(f"Invalid filter pattern: unexpected {self._tokens[self._at][1]!r}")

    def _conjunction(self, depth: int) -> _Test:
        tests = [self._term(depth)]
        while self._take("and"):
            tests.append(self._term(depth))
        return tests[0] if len(tests) == 1 else lambda document: all(test(document) for test in tests)

    def _term(self, depth: int) -> _Test:
        if self._take("open"):
            if depth >= _NESTED_MAX:
                raise LogsInvalidParameter("Invalid filter pattern: nested too deeply")
            test = self.alternatives(depth + 1)
            if not self._take("close"):
                raise LogsInvalidParameter("Invalid filter pattern: a parenthesis is not closed")
            return test
        path = self._take("path")
        if path is None:
            raise LogsInvalidParameter("Invalid filter pattern: a comparison begins with a property such as $.level")
        find = _finder(path)
        word = self._take("word")
        if word is not None:
            return self._word_test(find, word)
        operator = self._take("compare")
        text = self._take("text")
        bare = self._take("word") if text is None else None
        wanted = bare if text is None else _unescape(text)
        if operator is None or wanted is None:
            raise LogsInvalidParameter(f"Invalid filter pattern: {path} is not compared with anything")
        if bare is not None and re.search(r"%[^%]+%", bare):
            raise LogsInvalidParameter("Invalid filter pattern: regular expressions (%...%) are not served")
        return _comparison(find, operator, wanted, is_quoted=text is not None)

    def _word_test(self, find: Callable[[Any], Any], word: str) -> _Test:
        second = (self._take("word") or "").upper()
        match word.upper(), second:
            case "IS", "NULL":
                return lambda document: find(document) is None
            case "IS", "TRUE":
                return lambda document: find(document) is True
            case "IS", "FALSE":
                return lambda document: find(document) is False
            case "NOT", "EXISTS":
                return lambda document: find(document) is _ABSENT
        raise LogsInvalidParameter(f"Invalid filter pattern: unexpected {word!r}")

    def _take(self, kind: str) -> str | None:
        if self._at < len(self._tokens) and self._tokens[self._at][0] == kind:
            self._at += 1
            return self._tokens[self._at - 1][1]
        return None


def _finder(path: str) -> Callable[[Any], Any]:
    steps: list[str | int] = []
    for quoted, name, number in _STEP.findall(path):
        steps.append(int(number) if number else quoted or name)

    def find(document: Any) -> Any:
        for step in steps:
            if isinstance(step, int):
                if not isinstance(document, list) or step >= len(document):
                    return _ABSENT
                document = document[step]
            elif isinstance(document, dict) and step in document:
                document = document[step]
            else:
                return _ABSENT
        return document

    return find


def _comparison(find: Callable[[Any], Any], operator: str, wanted: str, *, is_quoted: bool) -> _Test:
    number = None if is_quoted else _number(wanted)
    if operator not in ("=", "!="):
        if number is None:
            raise LogsInvalidParameter(f"Invalid filter pattern: {operator} compares numbers, not {wanted!r}")
        limit = number
        order: dict[str, Callable[[float], bool]] = {
            "<": lambda value: value < limit,
            "<=": lambda value: value <= limit,
            ">": lambda value: value > limit,
            ">=": lambda value: value >= limit,
        }
        test = order[operator]
        return lambda document: _is_number(value := find(document)) and test(value)
    glob = re.compile(".*".join(re.escape(part) for part in wanted.split("*")), re.DOTALL)

    def equals(value: Any) -> bool:
        if number is not None and _is_number(value):
            return bool(value == number)
        return isinstance(value, str) and glob.fullmatch(value) is not None

    if operator == "=":
        return lambda document: equals(find(document))
    return lambda document: (value := find(document)) is not _ABSENT and not equals(value)


def _number(text: str) -> float | None:
    try:
        return float(text) if re.fullmatch(r"[+-]?\d+(\.\d+)?([eE][+-]?\d+)?", text) else None
    except ValueError:
        return None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _unescape(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)
