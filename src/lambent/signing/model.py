"""A code signing configuration, as a frozen value and as a document."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import orjson

from lambent.domain.documents import Key

WARN, ENFORCE = "Warn", "Enforce"


@dataclass(frozen=True, slots=True)
class CodeSigningConfig:
    """Whose packages a function takes, and what happens to others."""

    key: Key
    """The name is the id, csc-…: 17 lower-case letters and digits that sort in the order of creation."""
    publishers: tuple[str, ...]
    """ARNs of signing profile versions, 1 to 20."""
    modified_ms: int
    policy: str = WARN
    """Warn or Enforce."""
    description: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def id(self) -> str:
        return self.key.name

    @property
    def arn(self) -> str:
        return arn_of(self.key)

    @property
    def enforces(self) -> bool:
        return self.policy == ENFORCE


def arn_of(key: Key) -> str:
    scope = key.scope
    return f"arn:{scope.partition}:lambda:{scope.region}:{scope.account}:code-signing-config:{key.name}"


def key_of(arn: str) -> Key:
    """The inverse, for an ARN that has passed the model's pattern."""
    *_, region, account, _, name = arn.split(":")
    return Key(account, region, name)


def encode(config: CodeSigningConfig) -> bytes:
    """A document; the key is the store's."""
    members = asdict(config)
    del members["key"]
    return orjson.dumps(members)


def decode(key: Key, document: bytes) -> CodeSigningConfig:
    """The inverse of `encode`."""
    members: dict[str, Any] = orjson.loads(document)
    return CodeSigningConfig(key, **members | {"publishers": tuple(members["publishers"])})
