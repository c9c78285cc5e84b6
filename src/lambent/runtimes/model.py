"""What this room answers with: an interpreter that was found, a runtime that can be started, and how to start it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from lambent.sandbox.port import Image

from .catalogue import Identifier

CHANNEL_DESCRIPTOR = 3
"""The descriptor on which a started program finds its channel (see `sandbox.port.Command`)."""

TASK_ROOT = "/var/task"
LAYERS_ROOT = "/opt"
EXTENSIONS_DIR = "/opt/extensions"
RUNTIME_DIR = "/var/runtime"
LANGUAGE_DIR = "/var/lang"
SDK_DIR = "/var/sdk"
"""Where the AWS SDK lies that functions may import without bringing it; on the service it is in /var/runtime."""


@dataclass(frozen=True, slots=True)
class Interpreter:
    """One language installation on this machine."""

    family: str
    """python or nodejs."""
    version: str
    """As in the runtime identifier: "3.12", "22"."""
    release: str
    """In full: "3.12.1", "22.23.3"."""
    executable: str
    """The real file, no link and no version manager's script."""
    prefix: str
    """The directory whose `bin` holds the executable; mounted whole."""
    libraries: tuple[str, ...]
    """Shared libraries it needs from outside /usr and its prefix."""
    architecture: str
    """x86_64 or arm64."""


@dataclass(frozen=True, slots=True)
class Runtime:
    """A runtime identifier with everything that it needs on this machine."""

    identifier: Identifier
    client: str
    """lambent: our own client over frames; official: the published client over HTTP."""
    interpreter: Interpreter | None
    """None for OS-only runtimes."""
    image: Image

    @property
    def name(self) -> str:
        return self.identifier.name


@dataclass(frozen=True, slots=True)
class Credentials:
    """The role's keys as the function sees them."""

    access_key_id: str
    secret_access_key: str
    session_token: str


@dataclass(frozen=True, slots=True)
class VersionFacts:
    """What a start needs to know of the function version and of the environment it starts in."""

    function_name: str
    version: str
    handler: str
    memory_mb: int
    region: str
    log_group: str
    log_stream: str
    api_address: str
    """host:port of the Runtime API and of the platform's endpoint, inside the sandbox."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """The owner's variables."""
    credentials: Credentials | None = None
    credentials_token: str | None = None
    """Under SnapStart, in place of keys: what is shown to the endpoint that gives them."""
    initialization_type: str = "on-demand"
    log_format: str = "Text"
    """Text or JSON."""
    log_level: str | None = None
    """TRACE to FATAL; counts with JSON only."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How to start one runtime."""

    candidates: tuple[tuple[str, ...], ...]
    """Argument vectors in the order in which they are tried: the next one where a file does not exist."""
    env: Mapping[str, str]
    carrier: str
    """frames or http."""
    cwd: str = TASK_ROOT

    @property
    def argv(self) -> tuple[str, ...]:
        """The first candidate; managed runtimes have no other."""
        return self.candidates[0]
