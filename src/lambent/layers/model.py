"""What a layer version is: frozen values in our words.

Each version is a document of its own, so that a publication costs the same with one version and with thousands. Numbers
are never used again: a layer whose newest version was deleted has a document that says which one comes next.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import orjson

from ..domain.documents import Key
from ..domain.names import Scope

VERSION_KIND = "layer-version"
"""Of the documents that layer versions are stored as, by `NAME:NUMBER`."""
LAYER_KIND = "layer"
"""Of the documents that say which numbers of a layer are used, by its name."""


@dataclass(frozen=True, slots=True)
class LayerPolicy:
    """Who else may use a layer version: statements in the order in which they were added, never none."""

    revision_id: str
    statements: tuple[Mapping[str, Any], ...]
    """As JSON, members in the order they are shown."""


@dataclass(frozen=True, slots=True)
class LayerVersion:
    """One published version; nothing of it but its policy ever changes."""

    number: int
    digest: str
    """Hex SHA-256 of the archive: the package's name in `packages/`."""
    sha256_base64: str
    size_bytes: int
    """Of the archive."""
    unpacked_bytes: int
    created_ms: int
    description: str = ""
    license_info: str = ""
    runtimes: tuple[str, ...] | None = None
    """Compatible runtimes; None: not declared, which is not the same as none."""
    architectures: tuple[str, ...] | None = None
    policy: LayerPolicy | None = None
    signing_profile_arn: str | None = None
    """Signing profile version whose signature was verified when the version was published. It is shown, and believed by
    nobody: who attaches the version looks at its archive anew."""
    signing_job_arn: str | None = None

    def is_compatible(self, runtime: str | None, architecture: str | None) -> bool:
        """Whether it declares both; None asks for nothing."""
        return (runtime is None or runtime in (self.runtimes or ())) and (
            architecture is None or architecture in (self.architectures or ())
        )


def layer_key(scope: Scope, name: str) -> Key:
    """Of a layer, by its bare name."""
    return Key(scope.account, scope.region, name)


def version_key(layer: Key, number: int) -> Key:
    """Of a version's document."""
    return Key(layer.account, layer.region, f"{layer.name}:{number}")


def layer_of(version: Key) -> Key:
    """The inverse: whose version it is."""
    return Key(version.account, version.region, version.name.rpartition(":")[0])


def encode(version: LayerVersion) -> bytes:
    """A version as a compact JSON document."""
    return orjson.dumps({name: one for name, one in asdict(version).items() if one is not None})


def decode(key: Key, document: bytes) -> LayerVersion:
    """The inverse of `encode`."""
    return _read_version(orjson.loads(document))


def encode_next(number: int) -> bytes:
    """The number that a layer uses next, or a later one."""
    return orjson.dumps({"next_number": number})


def decode_next(key: Key, document: bytes) -> int:
    """The inverse of `encode_next`."""
    number: int = orjson.loads(document)["next_number"]
    return number


def _read_version(members: dict[str, Any]) -> LayerVersion:
    for name in ("runtimes", "architectures"):
        if name in members:
            members[name] = tuple(members[name])
    if "policy" in members:
        policy = members["policy"]
        members["policy"] = LayerPolicy(policy["revision_id"], tuple(policy["statements"]))
    return LayerVersion(**members)
