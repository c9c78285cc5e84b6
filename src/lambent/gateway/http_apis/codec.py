"""APIs and domain names as compact JSON documents, for stores."""

from __future__ import annotations

from dataclasses import MISSING, fields, is_dataclass
from typing import Any

import orjson

from lambent.domain.documents import Key

from .model import Api, DomainName
from .records import read

_KEYS = frozenset({"scope", "api_id", "domain_name"})
"""They are the store's key and not part of the document."""


def encode_api(api: Api) -> bytes:
    return orjson.dumps(_document(api, _KEYS))


def decode_api(key: Key, document: bytes) -> Api:
    """The inverse of `encode_api`."""
    return read(Api, {"scope": key.scope, "api_id": key.name, **orjson.loads(document)})


def encode_domain(domain: DomainName) -> bytes:
    return orjson.dumps(_document(domain, _KEYS))


def decode_domain(key: Key, document: bytes) -> DomainName:
    """The inverse of `encode_domain`."""
    return read(DomainName, {"scope": key.scope, "domain_name": key.name, **orjson.loads(document)})


def _document(record: Any, without: frozenset[str] = frozenset()) -> dict[str, Any]:
    """Members that differ from their default."""
    document = {}
    for one in fields(record):
        if one.name in without:
            continue
        value = getattr(record, one.name)
        default = one.default if one.default_factory is MISSING else one.default_factory()
        if default is MISSING or value != default:
            document[one.name] = _plain(value)
    return document


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return _document(value)
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(one) for one in value]
    return value
