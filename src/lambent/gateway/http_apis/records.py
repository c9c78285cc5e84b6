"""Records ⇄ documents. Every record is a frozen dataclass whose fields are the API's members in snake case.

`read` builds one from plain values, nested records included; unknown members are refused, so that a document of a newer
release fails loudly. orjson writes dataclasses by itself; members that are None stay away from what is shown.
"""

from __future__ import annotations

import re
import types
from collections.abc import Hashable, Mapping
from dataclasses import fields, is_dataclass
from functools import lru_cache
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")
_WORD = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


@lru_cache(maxsize=1_024)
def snake(name: str) -> str:
    """`RouteSelectionExpression` → `route_selection_expression`."""
    return _WORD.sub("_", name).lower()


@lru_cache(maxsize=1_024)
def pascal(name: str) -> str:
    """The inverse of `snake`."""
    return "".join(word[:1].upper() + word[1:] for word in name.split("_"))


@lru_cache(maxsize=64)
def _hints(kind: Hashable) -> dict[str, Any]:
    return get_type_hints(kind)


def _key(kind: Any) -> Hashable:
    """A class is hashable, which the checker does not believe of `type[T]`."""
    key: Hashable = kind
    return key


def read(kind: type[T], values: Mapping[str, Any]) -> T:
    """A record from its fields as JSON has them. Raises TypeError for a field it lacks."""
    hints = _hints(_key(kind))
    return kind(**{name: _value(hints.get(name), value) for name, value in values.items()})


def from_members(kind: type[T], members: Mapping[str, Any]) -> T:
    """A record from the API's members."""
    return read(kind, fields_of(members, kind))


def fields_of(members: Mapping[str, Any], kind: type[Any]) -> dict[str, Any]:
    """The API's members by field, those of nested records too, typed; members that `kind` lacks are left out."""
    hints = _hints(_key(kind))
    return {field: _nested(hints[field], value) for name, value in members.items() if (field := snake(name)) in hints}


def _nested(hint: Any, value: Any) -> Any:
    """A member's value with nested records made of members instead of fields."""
    kind = _bare(hint)
    if is_dataclass(kind) and isinstance(kind, type) and isinstance(value, Mapping):
        return from_members(kind, value)
    if get_origin(kind) is Mapping:
        inner = get_args(kind)[1]
        return {key: _nested(inner, one) for key, one in value.items()}
    if get_origin(kind) is tuple:
        inner = get_args(kind)[0]
        return tuple(_nested(inner, one) for one in value)
    return value


def _value(hint: Any, value: Any) -> Any:
    if value is None:
        return None
    kind = _bare(hint)
    if is_dataclass(kind) and isinstance(kind, type):
        return value if isinstance(value, kind) else read(kind, value)
    origin = get_origin(kind)
    if origin is Mapping:
        inner = get_args(kind)[1]
        return {key: _value(inner, one) for key, one in value.items()}
    if origin is tuple:
        inner = get_args(kind)[0]
        return tuple(_value(inner, one) for one in value)
    return value


@lru_cache(maxsize=256)
def _bare(hint: Any) -> Any:
    """The hint without None."""
    if get_origin(hint) in (Union, types.UnionType):
        rest = [one for one in get_args(hint) if one is not type(None)]
        return rest[0] if len(rest) == 1 else object
    return hint


def members(record: Any, without: frozenset[str] = frozenset()) -> dict[str, Any]:
    """A record as the API shows it: members by their published names, None left away."""
    shown = {}
    for one in fields(record):
        value = getattr(record, one.name)
        if value is not None and one.name not in without:
            shown[pascal(one.name)] = _shown(value)
    return shown


def _shown(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return members(value)
    if isinstance(value, Mapping):
        return {key: _shown(one) for key, one in value.items()}
    if isinstance(value, tuple | list):
        return [_shown(one) for one in value]
    return value
