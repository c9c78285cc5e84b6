"""Filter criteria: the grammar of event patterns, checked as the service checks it.

A pattern is a JSON object that mirrors the record; its leaves are arrays of plain values and comparisons. Whatever
does not follow the grammar is answered with one sentence, whatever is wrong. `cidr` and `wildcard` are part of
EventBridge's grammar and accepted.
Source: EventBridge user guide, "Comparison operators"; Developer guide, "Filter rule syntax"; recorded refusals.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import orjson

from ..domain.errors import InvalidParameterValue

FILTERS_MAX = 5
"""Filters of one mapping (the service raises it to 10 on request)."""
_OR = "$or"


class _Malformed(Exception):
    """The pattern does not follow the grammar."""


def check_filters(patterns: Iterable[str | None]) -> None:
    """The filters of one mapping; a pattern that is None was not given. Raises InvalidParameterValue."""
    patterns = tuple(patterns)
    if len(patterns) > FILTERS_MAX:
        raise InvalidParameterValue(f"FilterCriteria has at most {FILTERS_MAX} filters; {len(patterns)} were given.")
    for pattern in patterns:
        if pattern is None or not is_pattern(pattern):
            raise InvalidParameterValue("Invalid filter pattern definition.")


def is_pattern(text: str) -> bool:
    """Whether `text` is an event pattern."""
    try:
        document = orjson.loads(text)
        if not isinstance(document, dict):
            raise _Malformed
        _check_object(document)
    except (orjson.JSONDecodeError, _Malformed):
        return False
    return True


def _check_object(document: dict[str, Any]) -> None:
    """A loop and not a recursion: 4,096 characters nest deeper than the interpreter's stack."""
    waiting = [document]
    while waiting:
        fields = waiting.pop()
        _require(fields)
        for name, value in fields.items():
            if isinstance(value, dict):
                waiting.append(value)
            elif name == _OR and _is_alternatives(value):
                waiting.extend(value)
            else:
                _require(isinstance(value, list) and value)
                for item in value:
                    _check_value(item)


def _is_alternatives(value: Any) -> bool:
    """Whether `$or` means "any of these": with less than two objects, or comparisons for them, it is a field's name."""
    if not isinstance(value, list) or len(value) < 2:
        return False
    return all(isinstance(one, dict) and one and not one.keys() & _COMPARISONS.keys() for one in value)


def _check_value(value: Any) -> None:
    if value is None or isinstance(value, str | int | float):  # bool is an int
        return
    _check_single(value, _COMPARISONS)


def _check_single(value: Any, comparisons: Mapping[str, Callable[[Any], None]]) -> None:
    """An object of one comparison out of `comparisons`, with a fitting operand."""
    _require(isinstance(value, dict) and len(value) == 1)
    ((name, operand),) = value.items()
    check = comparisons.get(name)
    if check is None:
        raise _Malformed
    check(operand)


def _text(operand: Any) -> None:
    _require(isinstance(operand, str))


def _affix(operand: Any) -> None:
    """Of prefix and suffix: a text, or one whose case does not matter."""
    if not isinstance(operand, str):
        _check_single(operand, {"equals-ignore-case": _text})


def _anything_but(operand: Any) -> None:
    if isinstance(operand, dict):
        _check_single(operand, _NEGATED)
        return
    items = operand if isinstance(operand, list) else [operand]
    _require(items)
    is_text = all(isinstance(item, str) for item in items)
    _require(is_text or all(_is_number(item) for item in items))


def _texts(operand: Any) -> None:
    """One text or several, none of them empty."""
    items = operand if isinstance(operand, list) else [operand]
    _require(items and all(isinstance(item, str) and item for item in items))


def _wildcards(operand: Any) -> None:
    _texts(operand)
    for item in operand if isinstance(operand, list) else [operand]:
        _wildcard(item)


def _numeric(operand: Any) -> None:
    """`=`, or one bound, or a lower and then a larger upper bound."""
    _require(isinstance(operand, list) and len(operand) in (2, 4))
    operators, values = operand[::2], operand[1::2]
    _require(all(_is_number(value) for value in values))
    if len(operators) == 1:
        _require(operators[0] in ("=", "<", "<=", ">", ">="))
    else:
        _require(operators[0] in (">", ">=") and operators[1] in ("<", "<=") and values[0] < values[1])


def _exists(operand: Any) -> None:
    _require(isinstance(operand, bool))


def _cidr(operand: Any) -> None:
    import ipaddress  # rare, and not cheap to import

    _require(isinstance(operand, str) and operand.count("/") == 1)
    try:
        ipaddress.ip_network(operand, strict=False)
    except ValueError as error:
        raise _Malformed from error


def _wildcard(operand: Any) -> None:
    """`*` stands for any run of characters, never two in a row; a backslash makes `*` and itself literal."""
    _require(isinstance(operand, str))
    at = 0
    while at < len(operand):
        if operand[at] == "\\":
            _require(operand[at + 1 : at + 2] in ("*", "\\"))
            at += 1
        elif operand[at] == "*":
            _require(operand[at + 1 : at + 2] != "*")
        at += 1


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _require(condition: Any) -> None:
    if not condition:
        raise _Malformed


_COMPARISONS: Mapping[str, Callable[[Any], None]] = {
    "prefix": _affix,
    "suffix": _affix,
    "equals-ignore-case": _text,
    "anything-but": _anything_but,
    "numeric": _numeric,
    "exists": _exists,
    "cidr": _cidr,
    "wildcard": _wildcard,
}
_NEGATED: Mapping[str, Callable[[Any], None]] = {
    "prefix": _texts,
    "suffix": _texts,
    "equals-ignore-case": _texts,
    "wildcard": _wildcards,
}
