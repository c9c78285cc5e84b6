"""What a layer is: frozen values in our words; a layer with all its versions is the unit that is stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import orjson

from ..domain.documents import Key

KIND = "layer"
"""Of the documents that layers are stored as."""


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


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer's versions. It stays when all are deleted, because their numbers are never used again."""

    next_number: int = 1
    versions: Mapping[int, LayerVersion] = field(default_factory=dict)
    """By number, ascending."""

    @property
    def code_bytes(self) -> int:
        """Archive bytes of all versions, as the account's usage counts them."""
        return sum(version.size_bytes for version in self.versions.values())


def encode(layer: Layer) -> bytes:
    """A layer as a compact JSON document."""
    versions = [{name: one for name, one in asdict(v).items() if one is not None} for v in layer.versions.values()]
    return orjson.dumps({"next_number": layer.next_number, "versions": versions})


def decode(key: Key, document: bytes) -> Layer:
    """The inverse of `encode`."""
    members = orjson.loads(document)
    versions = (_read_version(one) for one in members["versions"])
    return Layer(members["next_number"], {version.number: version for version in versions})


def _read_version(members: dict[str, Any]) -> LayerVersion:
    for name in ("runtimes", "architectures"):
        if name in members:
            members[name] = tuple(members[name])
    if "policy" in members:
        policy = members["policy"]
        members["policy"] = LayerPolicy(policy["revision_id"], tuple(policy["statements"]))
    return LayerVersion(**members)
