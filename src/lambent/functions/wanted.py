"""What a caller asks of a configuration: only what was given, before any rule has looked at it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

from .model import FileSystem, Image, LayerReference


@dataclass(frozen=True, slots=True)
class WantedLogging:
    """LoggingConfig as given; None: not given."""

    format: str | None = None
    application_level: str | None = None
    system_level: str | None = None
    group: str | None = None


@dataclass(frozen=True, slots=True)
class WantedVpc:
    """VpcConfig as given; missing lists are empty."""

    subnet_ids: tuple[str, ...] = ()
    security_group_ids: tuple[str, ...] = ()
    ipv6_allowed: bool = False


@dataclass(frozen=True, slots=True)
class WantedDurable:
    """DurableConfig as given; None: not given."""

    execution_timeout_s: int | None = None
    retention_days: int | None = None
    kms_key_arn: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The configuration members of a creation or an update. None: not given, stays or takes the default.

    Clearing is written as the API does it: `""` for ARNs, empty tuples and maps, `Image()` for an image configuration.
    """

    role: str | None = None
    runtime: str | None = None
    handler: str | None = None
    description: str | None = None
    timeout_s: int | None = None
    memory_mb: int | None = None
    ephemeral_mb: int | None = None
    environment: Mapping[str, str] | None = None
    architecture: str | None = None
    package_type: str | None = None
    tracing_mode: str | None = None
    snap_start: str | None = None
    logging: WantedLogging | None = None
    layers: tuple[str, ...] | None = None
    """Layer version ARNs."""
    attached: tuple[LayerReference, ...] | None = None
    """The same layer versions, looked up by `check_request`."""
    vpc: WantedVpc | None = None
    dead_letter_arn: str | None = None
    kms_key_arn: str | None = None
    file_systems: tuple[FileSystem, ...] | None = None
    image: Image | None = None
    tenancy: str | None = None
    durable: WantedDurable | None = None

    def given(self) -> dict[str, object]:
        """The members that were given, by name."""
        members = ((one.name, getattr(self, one.name)) for one in fields(self))
        return {name: value for name, value in members if value is not None}
