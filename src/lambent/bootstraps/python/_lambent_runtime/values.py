"""JSON in and out, as the published client does it: events by a strict parser, results by a lenient encoder.

The published client encodes with `simplejson`, which differs from the standard library: `Decimal` becomes a number,
named tuples become objects, `bytes` inside a result become strings. Results made only of plain types, nearly all, encode
the same way in both, so they take the standard library's C encoder; what else there is goes through `encode_any`. The `_json` accelerator is used without the `json` package, whose import costs
several milliseconds (`re`, `enum`) that most handlers never need.
"""

import sys
from _json import encode_basestring, encode_basestring_ascii, make_encoder, make_scanner
from gc import get_referents

ASCII_ONLY = sys.version_info < (3, 12)
"""The managed runtimes up to 3.11 escape everything beyond ASCII; later ones write UTF-8."""

_LEAVES = frozenset((str, int, float, bool, type(None)))
_PLAIN = _LEAVES | {dict, list}

_INFINITY = float("inf")
_quote = encode_basestring_ascii if ASCII_ONLY else encode_basestring


class Unreadable(Exception):
    """The event is not JSON; the text is what the published client says."""


class _Scanner:
    """What the C scanner reads its options from."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    array_hook = None
    parse_float = float
    parse_int = int
    memo = {}

    @staticmethod
    def parse_constant(name):
        return {"NaN": float("nan"), "Infinity": _INFINITY, "-Infinity": -_INFINITY}[name]


_scan = make_scanner(_Scanner)


def decode(text):
    """The value of a JSON text; raises Unreadable."""
    try:
        value, end = _scan(text, 0)
        if end == len(text):
            return value
    except (StopIteration, ValueError, SystemError):
        # SystemError: 3.10 and 3.11 look for the exception's class in json.decoder and set none where that is missing.
        pass
    return _decode_carefully(text)


def _decode_carefully(text):
    """Surrounding space, a byte order mark, or the exact words of a complaint."""
    import json

    try:
        return json.loads(text[1:] if text[:1] == "\ufeff" else text)
    except ValueError as error:
        raise Unreadable(_complaint(error, text))
    except RecursionError as error:
        raise Unreadable(str(error))


def _complaint(error, text):
    message = getattr(error, "msg", None)
    if message is None:
        return str(error)
    at = error.pos
    where = "line %d column %d" % (error.lineno, error.colno)
    if message == "Extra data":
        end = len(text)
        line = text.count("\n", 0, end) + 1
        column = end - text.rfind("\n", 0, end)
        return "Extra data: %s - line %d column %d (char %d - %d)" % (where, line, column, at, end)
    return "%s: %s (char %d)" % (message, where, at)


def encode(value):
    """The JSON text of a result. Raises TypeError, ValueError, ... with the words that the caller is told."""
    kind = type(value)
    if kind is str:
        return _quote(value)
    if kind is dict or kind is list:
        parts = get_referents(value)
        kinds = set(map(type, parts))
        if kinds <= _LEAVES:
            return "".join(_encode_flat(value, 0))
        if _is_plain(value, parts, kinds):
            return "".join(make_encoder({}, _refuse, _quote, None, ": ", ", ", False, False, True)(value, 0))
    elif kind in _LEAVES:
        return "".join(_encode_flat(value, 0))
    return encode_any(value)


def _is_plain(value, parts, kinds):
    """Whether there is nothing but plain types, level by level; every container is looked into once, so circles end."""
    seen = {id(value)}
    while kinds <= _PLAIN:
        level = {id(part): part for part in parts if type(part) is dict or type(part) is list}
        for mark in seen.intersection(level):
            del level[mark]
        if not level:
            return True
        seen.update(level)
        parts = get_referents(*level.values())
        kinds = set(map(type, parts))
    return False


def _refuse(value):
    raise TypeError("Object of type %s is not JSON serializable" % type(value).__name__)


# Nothing nested, so no table of open containers is needed.
_encode_flat = make_encoder(None, _refuse, _quote, None, ": ", ", ", False, False, True)


def encode_any(value):
    """Encode values of every type that the published client knows."""
    out = []
    _write(value, out.append, {})
    return "".join(out)


def _string(value):
    return _quote(str.__str__(value))


def _float(value):
    if value != value:
        return "NaN"
    if value == _INFINITY:
        return "Infinity"
    if value == -_INFINITY:
        return "-Infinity"
    return float.__repr__(value)


def _write(value, out, opened):
    if isinstance(value, str):
        out(_string(value))
    elif isinstance(value, bytes):
        out(_string(str(value, "utf-8")))
    elif value is None:
        out("null")
    elif value is True:
        out("true")
    elif value is False:
        out("false")
    elif isinstance(value, int):
        out(int.__repr__(value))
    elif isinstance(value, float):
        out(_float(value))
    else:
        mark = id(value)
        if mark in opened:
            raise ValueError("Circular reference detected")
        opened[mark] = value
        if isinstance(value, list):
            _write_items(value, out, opened)
        else:
            _write_other(value, out, opened)
        del opened[mark]


def _write_other(value, out, opened):
    as_dict = getattr(value, "_asdict", None)
    if as_dict is not None and callable(as_dict):
        fields = as_dict()
        if not isinstance(fields, dict):
            raise TypeError("_asdict() must return a dict, not %s" % type(fields).__name__)
        _write_members(fields, out, opened)
    elif isinstance(value, tuple):
        _write_items(value, out, opened)
    elif isinstance(value, dict):
        _write_members(value, out, opened)
    else:
        out(_number(value))


def _number(value):
    # A Decimal can only exist once somebody has imported the module.
    decimal = sys.modules.get("decimal")
    if decimal is None or not isinstance(value, decimal.Decimal):
        _refuse(value)
    return "NaN" if value.is_nan() else str(value)


def _write_items(values, out, opened):
    before = "["
    for item in values:
        out(before)
        before = ", "
        _write(item, out, opened)
    out("[]" if before == "[" else "]")


def _write_members(members, out, opened):
    before = "{"
    for key, item in members.items():
        out(before)
        before = ", "
        out(_string(_key(key)))
        out(": ")
        _write(item, out, opened)
    out("{}" if before == "{" else "}")


def _key(key):
    if isinstance(key, str):
        return key
    if isinstance(key, bytes):
        return str(key, "utf-8")
    if isinstance(key, float):
        return _float(key)
    if key is True:
        return "true"
    if key is False:
        return "false"
    if key is None:
        return "null"
    if isinstance(key, int):
        return int.__repr__(key)
    raise TypeError("keys must be str, int, float, bool or None, not %s" % type(key).__name__)
