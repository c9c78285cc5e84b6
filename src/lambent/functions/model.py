"""What a function is: frozen values in our words; PascalCase and JSON live in `api/` and `codec.py`.

Published defaults are the defaults here. A field that is None was never given (or was cleared) and stays absent in
answers; empty collections were given empty. Everything the API accepts is kept, also where its behaviour is not ours yet.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..domain.egress import Layer, function_layer
from ..domain.limits import EPHEMERAL_MB_DEFAULT, MEMORY_MB_DEFAULT, TIMEOUT_S_DEFAULT
from ..domain.names import LATEST, FunctionRef
from ..packages.merge import tree_name

RUNTIME_CLIENT_VARIABLE = "LAMBENT_RUNTIME_CLIENT"
"""Environment variable with which one function chooses its runtime client against the server's setting."""
RUNTIME_CLIENTS = ("lambent", "official")
PRELOAD_VARIABLE = "LAMBENT_PRELOAD"
"""Environment variable with which one function chooses whether its runtime may have been started before it was needed."""
PRELOADS = ("on", "off")
EGRESS_VARIABLE = "LAMBENT_NETWORK_EGRESS"
"""Environment variable with which one function narrows where it may connect to: none, outbound or listed."""
EGRESS_LIST_VARIABLE = "LAMBENT_NETWORK_ALLOW"
"""And the list, with `listed`."""

WEB_ADAPTER_VARIABLE = "LAMBENT_WEB_ADAPTER"
"""Environment variable that makes a web application or server of the package the function."""
WEB_ADAPTERS = ("asgi", "wsgi", "port")

UNQUALIFIED = ""
"""Key of what belongs to a function as named without a qualifier."""

CREATING_REASON = "The function is being created."
CREATING_CODE = "Creating"
"""Reason and code of a creation and, word for word, of an ordinary update."""


_NOTHING: Mapping[str, Any] = {}


def _nothing() -> Mapping[str, Any]:
    """The one empty table: ten thousand functions at rest share it."""
    return _NOTHING


@dataclass(frozen=True, slots=True)
class Logging:
    """Where log lines go and in which form; levels exist with the JSON format only."""

    format: str
    """Text or JSON."""
    application_level: str | None
    """TRACE, DEBUG, INFO, WARN, ERROR or FATAL; None with Text."""
    system_level: str | None
    """DEBUG, INFO or WARN; None with Text."""
    group: str
    """Log group; /aws/lambda/NAME unless given."""


@dataclass(frozen=True, slots=True)
class Vpc:
    """The subnets and security groups asked for; empty tuples after a detachment."""

    subnet_ids: tuple[str, ...]
    security_group_ids: tuple[str, ...]
    ipv6_allowed: bool = False
    vpc_id: str = ""
    """Empty where no network service says which network the subnets belong to."""


@dataclass(frozen=True, slots=True)
class FileSystem:
    """One file system and where the function sees it, below /mnt."""

    arn: str
    local_mount_path: str
    direct_s3_read: str | None = None


@dataclass(frozen=True, slots=True)
class LayerReference:
    """A layer version as attached to a function: what is shown of it, and what it takes to mount it also when the layer
    version has been deleted meanwhile."""

    arn: str
    size_bytes: int
    """Of its archive (CodeSize)."""
    digest: str = ""
    """Its package in `packages/`."""
    unpacked_bytes: int = 0
    signing_profile_arn: str | None = None
    """Signing profile version whose signature was verified when the layer version was published."""
    signing_job_arn: str | None = None


@dataclass(frozen=True, slots=True)
class Image:
    """Overrides of a container image's entry point, command and working directory; None: the image's own."""

    entry_point: tuple[str, ...] | None = None
    command: tuple[str, ...] | None = None
    working_directory: str | None = None


@dataclass(frozen=True, slots=True)
class Durable:
    """Settings of a durable function's executions."""

    execution_timeout_s: int
    retention_days: int | None = None
    kms_key_arn: str | None = None


@dataclass(frozen=True, slots=True)
class Configuration:
    """Everything about a function that is not its code. Shared between versions that agree, never changed in place."""

    role: str
    runtime: str | None
    """Runtime identifier, None for images."""
    handler: str | None
    logging: Logging
    description: str = ""
    timeout_s: int = TIMEOUT_S_DEFAULT
    memory_mb: int = MEMORY_MB_DEFAULT
    ephemeral_mb: int = EPHEMERAL_MB_DEFAULT
    environment: Mapping[str, str] | None = None
    """Variables in the order given; None: never given, empty: given empty."""
    architecture: str = "x86_64"
    """x86_64 or arm64."""
    package_type: str = "Zip"
    """Zip or Image."""
    tracing_mode: str = "PassThrough"
    """PassThrough or Active."""
    snap_start: str = "None"
    """None or PublishedVersions (SnapStart.ApplyOn)."""
    layers: tuple[LayerReference, ...] = ()
    vpc: Vpc | None = None
    dead_letter_arn: str | None = None
    kms_key_arn: str | None = None
    file_systems: tuple[FileSystem, ...] = ()
    image: Image | None = None
    tenancy: str | None = None
    """PER_TENANT or None."""
    durable: Durable | None = None

    @property
    def variables(self) -> Mapping[str, str]:
        """The function's own environment variables; empty when there are none."""
        return self.environment or _NOTHING

    @property
    def layer_digests(self) -> list[str]:
        """The layers' packages, in the order in which they are attached."""
        return [layer.digest for layer in self.layers]

    @property
    def opt(self) -> str | None:
        """The tree in `packages/` that is mounted at /opt; None without layers."""
        return tree_name(self.layer_digests)

    @property
    def runtime_client(self) -> str | None:
        """`lambent` or `official` when the function chooses for itself; None: the server's setting decides."""
        return None if self.environment is None else self.environment.get(RUNTIME_CLIENT_VARIABLE)

    @property
    def web_adapter(self) -> str | None:
        """How a web application of the package is the function: asgi, wsgi or port; None: it is a handler."""
        return self.variables.get(WEB_ADAPTER_VARIABLE)

    @property
    def is_preloaded(self) -> bool:
        """Whether a runtime that waits may serve; else each environment starts an interpreter of its own."""
        return self.variables.get(PRELOAD_VARIABLE) != "off"

    @property
    def egress(self) -> Layer:
        """Where the function lets itself connect to; the server's own layer holds beside it."""
        return function_layer(self.variables.get(EGRESS_VARIABLE), self.variables.get(EGRESS_LIST_VARIABLE))


@dataclass(frozen=True, slots=True)
class Code:
    """Which package runs. The archive's bytes are never re-packed: its hash is what deployment tools compare."""

    digest: str
    """Hex SHA-256 of the archive: the package's name in `packages/`."""
    sha256_base64: str
    """The same hash as the API shows it (CodeSha256)."""
    size_bytes: int
    """Bytes of the archive (CodeSize)."""
    unpacked_bytes: int = 0
    source_kms_key_arn: str | None = None
    signing_profile_arn: str | None = None
    """Signing profile version whose signature was verified when the code was deployed."""
    signing_job_arn: str | None = None


@dataclass(frozen=True, slots=True)
class FunctionVersion:
    """`$LATEST` or a published version, as one frozen value: what an environment is made from."""

    ref: FunctionRef
    version: str
    """`$LATEST` or a number."""
    configuration: Configuration
    code: Code
    revision_id: str
    """The RevisionId clients see; a new UUID at each event that the API lists."""
    state: str
    """Pending, Active, Inactive or Failed."""
    state_reason: str | None
    state_reason_code: str | None
    generation: int
    """Changes with every accepted code or configuration update, also across deletion and re-creation of the name within
    one server's life; environments are keyed by (ref, version, generation)."""
    last_modified_ms: int
    """Epoch milliseconds of the last accepted code or configuration update."""
    update_status: str | None = None
    """Successful, InProgress or Failed; None while the first creation is pending."""
    update_reason: str | None = None
    update_reason_code: str | None = None
    snapshot_refusal: str | None = None
    """Why no snapshot is kept of a version that asked for one; None: one is, or none was asked for."""

    @property
    def arn(self) -> str:
        """The qualified ARN, also for $LATEST."""
        return self.ref.arn(self.version)

    @property
    def is_snapshotted(self) -> bool:
        """Its environments come from a snapshot, where one can be kept."""
        return self.version != LATEST and self.configuration.snap_start == "PublishedVersions"

    @property
    def awaits_snapshot(self) -> bool:
        """Published, and its snapshot is still being taken."""
        return self.state == "Pending" and self.is_snapshotted

    @property
    def is_settled(self) -> bool:
        """Neither a creation nor an update is under way."""
        return self.state != "Pending" and self.update_status != "InProgress"


@dataclass(frozen=True, slots=True)
class Receipt:
    """Which request made a function, so that a retry of the very same request is recognised and answered again.

    Kept until the first accepted update: by then the client had its answer.
    """

    invocation_id: str
    """The client's amz-sdk-invocation-id."""
    revision_id: str
    """RevisionId in the first answer."""
    version: str
    """Version in the first answer: $LATEST, or 1 with Publish."""


@dataclass(frozen=True, slots=True)
class Alias:
    """A name for a version, and perhaps a share of the traffic for another one."""

    name: str
    version: str
    """The primary version: `$LATEST` or a number."""
    revision_id: str
    description: str = ""
    weights: Mapping[str, float] = field(default_factory=_nothing)
    """Shares of additional versions, 0.0 to 1.0; the primary gets the rest. The service allows one entry."""


@dataclass(frozen=True, slots=True)
class Policy:
    """The resource policy of a function, version or alias: one document, edited by statement or as a whole."""

    revision_id: str
    document: Mapping[str, Any]
    """The policy as JSON, members in the order they are shown: Version, Id, Statement."""


@dataclass(frozen=True, slots=True)
class EventInvoke:
    """How asynchronous invocations of one qualifier are retried and where they are reported; None: the default."""

    modified_ms: int
    retries: int | None = None
    age_s: int | None = None
    on_success: str | None = None
    """ARN of the destination."""
    on_failure: str | None = None


@dataclass(frozen=True, slots=True)
class Url:
    """A function URL's configuration."""

    id: str
    """32 lower-case letters and digits: the host's first label, fixed for the configuration's life."""
    auth_type: str
    """NONE or AWS_IAM."""
    created_ms: int
    modified_ms: int | None = None
    """None until the first update."""
    cors: Mapping[str, Any] | None = None
    """The members that were given with a value, by the API's names."""
    invoke_mode: str | None = None
    """BUFFERED or RESPONSE_STREAM when ever given, else None."""


@dataclass(frozen=True, slots=True)
class Provisioned:
    """Environments to be kept initialised for a version or an alias; what really is there, `environments/` knows."""

    requested: int
    modified_ms: int


@dataclass(frozen=True, slots=True)
class RuntimeManagement:
    """When a version's runtime may be replaced by a newer one."""

    update_on: str
    """Auto, FunctionUpdate or Manual."""
    runtime_version_arn: str | None = None
    """With Manual only."""


@dataclass(frozen=True, slots=True)
class Function:
    """A function with all its versions: the unit that is stored and swapped."""

    ref: FunctionRef
    revision: int
    """Number of writes so far, 1 at creation: the store's condition. Not the RevisionId."""
    latest: FunctionVersion
    """$LATEST as the API shows it."""
    serving: FunctionVersion | None = None
    """What invocations of $LATEST run while `latest` may not: the state before an update that is not (or never will be)
    applied. None: `latest` serves."""
    versions: Mapping[str, FunctionVersion] = field(default_factory=_nothing)
    """Published versions by number, ascending."""
    next_version: int = 1
    """The number the next published version gets; it only grows, so numbers are never used again."""
    last_published: str | None = None
    """Number of the version published last, deleted or not."""
    published_description: str = ""
    """$LATEST's description when that version was published (the version's own may differ)."""
    reserved: int | None = None
    """Reserved concurrency; 0 throttles everything, None: not set."""
    tags: Mapping[str, str] = field(default_factory=_nothing)
    receipt: Receipt | None = None
    aliases: Mapping[str, Alias] = field(default_factory=_nothing)
    """By name, in order of the name."""
    policies: Mapping[str, Policy] = field(default_factory=_nothing)
    """By qualifier; `UNQUALIFIED` for the function's own."""
    event_invokes: Mapping[str, EventInvoke] = field(default_factory=_nothing)
    """By qualifier; `$LATEST` where none was given."""
    urls: Mapping[str, Url] = field(default_factory=_nothing)
    """By alias; `UNQUALIFIED` for $LATEST."""
    provisioned: Mapping[str, Provisioned] = field(default_factory=_nothing)
    """By version number or alias."""
    runtime_management: Mapping[str, RuntimeManagement] = field(default_factory=_nothing)
    """By version, `$LATEST` among them; missing: Auto."""
    recursive_loop: str = "Terminate"
    """Terminate or Allow."""
    code_signing_arn: str | None = None

    def find(self, qualifier: str | None) -> FunctionVersion | None:
        """The version as the API shows it, for an alias its primary one; None when there is neither."""
        if qualifier is None or qualifier == LATEST:
            return self.latest
        version = self.versions.get(qualifier)
        if version is None and (alias := self.aliases.get(qualifier)) is not None:
            return self.latest if alias.version == LATEST else self.versions.get(alias.version)
        return version

    @property
    def provisioned_sum(self) -> int:
        """Provisioned concurrency of all versions and aliases together."""
        return sum(one.requested for one in self.provisioned.values())

    @property
    def set_aside(self) -> int:
        """What the account's other functions cannot use: the reserved concurrency, which contains the provisioned; without
        one, the provisioned concurrency."""
        return self.provisioned_sum if self.reserved is None else self.reserved

    @property
    def code_bytes(self) -> int:
        """Archive bytes of $LATEST and every published version, as the account's usage counts them."""
        return self.latest.code.size_bytes + sum(version.code.size_bytes for version in self.versions.values())


@dataclass(frozen=True, slots=True)
class Change:
    """What listeners hear after a write: the function in memory is already the new one."""

    kind: str
    """`updated` (created, code, configuration or state changed), `deleted`, `concurrency` (reserved), `provisioned`
    (provisioned concurrency, or an alias that has some)."""
    ref: FunctionRef
    version: str | None
    """The version concerned; None: the whole function."""
