"""Mappings as compact JSON documents, for stores. Members equal to their default stay away, unknown ones are refused."""

from __future__ import annotations

from dataclasses import MISSING, fields
from typing import Any

import orjson

from ..domain.documents import Key
from .model import Access, DocumentDb, EventSourceMapping, Kafka, Kind, Pollers, Scaling, Settings


def key_of(mapping: EventSourceMapping) -> Key:
    return Key(mapping.scope.account, mapping.scope.region, mapping.uuid)


def encode(mapping: EventSourceMapping) -> bytes:
    """One mapping; scope and UUID are the store's key and not part of the document."""
    document = _members(mapping, {"scope", "uuid", "settings"})
    document["settings"] = _members(mapping.settings, set())
    return orjson.dumps(document)


def decode(key: Key, document: bytes) -> EventSourceMapping:
    """The inverse of `encode`."""
    members = orjson.loads(document)
    settings = members.pop("settings")
    members["kind"] = Kind(members["kind"])
    return EventSourceMapping(key.scope, key.name, settings=_settings(settings), **members)


def _settings(members: dict[str, Any]) -> Settings:
    for name, value in members.items():
        shape = _NESTED.get(name)
        if shape is not None:
            members[name] = shape(**value)
        elif name == "access":
            members[name] = tuple(Access(**one) for one in value)
        elif isinstance(value, list):
            members[name] = tuple(value)
    return Settings(**members)


_NESTED: dict[str, Any] = {
    "scaling": Scaling,
    "msk": Kafka,
    "kafka": Kafka,
    "document_db": DocumentDb,
    "pollers": Pollers,
}


def _members(value: Any, without: set[str]) -> dict[str, Any]:
    """orjson writes dataclasses, tuples and string enums itself."""
    document: dict[str, Any] = {}
    for one in fields(value):
        if one.name in without:
            continue
        member = getattr(value, one.name)
        default = one.default if one.default_factory is MISSING else one.default_factory()
        if default is MISSING or member != default:
            document[one.name] = member
    return document
