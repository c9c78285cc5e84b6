"""What an environment needs to know to start: the seams to `runtimes/`, `runtime_api/` and `telemetry/`.

`app.py` brings them together; nothing here knows how a runtime is found or which bytes travel.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from ..domain.egress import NOWHERE, Egress
from ..domain.limits import MEMORY_MB_PER_VCPU, RUNTIME_DESCRIPTORS_MAX, RUNTIME_PROCESSES_MAX
from ..functions.model import FunctionVersion
from ..sandbox.port import Binding, Limits, Sandbox
from ..telemetry.attempt import Origin
from .channel import ExtensionFacts, ExtensionsChannel, ExtensionsSink, RuntimeChannel, RuntimeSink

FRAMES, HTTP = "frames", "http"


@dataclass(frozen=True, slots=True)
class ExtensionProgram:
    """A program in /opt/extensions, started before the runtime."""

    name: str
    """Its base name, under which it registers."""
    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: str = "/"


@dataclass(frozen=True, slots=True)
class StartPlan:
    """How the runtime of one environment is started."""

    argv: Sequence[str]
    env: Mapping[str, str]
    carrier: str
    """`frames` or `http`."""
    cwd: str = "/var/task"
    refusal: tuple[str, str] | None = None
    """(error type, text) when it is known beforehand that nothing can be executed: no bootstrap in the package."""
    extensions: Sequence[ExtensionProgram] = ()
    """In the order in which they are started."""


@dataclass(frozen=True, slots=True)
class Blueprint:
    """What all environments of one version share."""

    image: str
    """Name of the root image."""
    start: Callable[[Origin, str], StartPlan]
    """The plan for one environment, given its origin and the sandbox's API address (host:port)."""
    runtime_version: str
    """As INIT_START prints it: python:3.11.v1."""
    runtime_version_arn: str
    waiting: WaitingProgram | None = None
    """What may wait in blanks of this image for one of these environments; None: each starts a program of its own."""
    egress: Egress = NOWHERE
    """Where its environments may connect to."""
    no_copies: str | None = "its runtime can't be copied"
    """Why no initialised runtime of this version could be copied, in words; None: one can."""


@dataclass(frozen=True, slots=True)
class WaitingProgram:
    """A runtime started ahead, without a function: trusted code only, and nobody's environment."""

    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: str = "/"
    zygote: str = ""
    """Name of the zygote that may fork itself for it, and says who shares one; empty: each is started by itself."""
    fork_object: str = ""
    """Path, in the image, of what a zygote loads."""


def limits_of(version: FunctionVersion) -> Limits:
    """What an environment of a version may use."""
    configuration = version.configuration
    return Limits(
        memory_mb=configuration.memory_mb,
        cpu_vcpus=configuration.memory_mb / MEMORY_MB_PER_VCPU,
        processes_max=RUNTIME_PROCESSES_MAX,
        descriptors_max=RUNTIME_DESCRIPTORS_MAX,
        tmp_mb=configuration.ephemeral_mb,
    )


def binding_of(version: FunctionVersion, blueprint: Blueprint) -> Binding:
    """What a blank gets to become an environment of a version: at full speed, since an init follows."""
    return Binding(
        version.code.digest,
        version.configuration.opt,
        limits_of(version),
        is_full_speed=True,
        egress=blueprint.egress,
    )


class Blueprints(Protocol):
    def blueprint(self, version: FunctionVersion) -> Blueprint:
        """Raises RuntimeMissing with words that say what to install."""


class RuntimeMissing(Exception):
    """This machine lacks the runtime; the text says what to install."""


class Door(Protocol):
    """The listener of one sandbox, being served."""

    on_runtime: Callable[[], None] | None
    """Called when a runtime speaks HTTP in an environment that has no channel for it: who hears it may open one."""

    def close(self) -> None:
        """Stop serving and close connections; idempotent."""


class Carriers(Protocol):
    """How runtimes and functions inside a sandbox reach us."""

    def open_frames(self, sink: RuntimeSink) -> tuple[RuntimeChannel, socket.socket]:
        """A channel over a socketpair, and the runtime's end of it."""

    def assignment(self, env: Mapping[str, str], cwd: str) -> bytes:
        """What tells a runtime that waits which function it becomes."""

    def adopt_frames(self, sink: RuntimeSink, ours: socket.socket, assignment: bytes) -> RuntimeChannel:
        """A channel over our end of a socketpair at whose other end a runtime waits; it is told what it becomes."""

    def restore_frames(self, sink: RuntimeSink, ours: socket.socket) -> RuntimeChannel:
        """A channel over our end of a socketpair at whose other end a copy of a template waits; it is told to go on."""

    def open_http(self, sink: RuntimeSink, sandbox: Sandbox, door: Door) -> RuntimeChannel:
        """A channel over the Runtime API on the sandbox's listener, for one life of its runtime."""

    def open_extensions(
        self, sink: ExtensionsSink, door: Door, facts: ExtensionFacts, external: Sequence[str]
    ) -> ExtensionsChannel:
        """The Extensions API on the sandbox's listener, for one life of its runtime. external: names of the programs that
        are started, and have to register."""

    def open_door(
        self, sandbox: Sandbox, origin: Origin, version: FunctionVersion, *, is_template: bool = False
    ) -> Door:
        """Serve the sandbox's listener: the platform's endpoint, and the Runtime API once a channel is opened.

        The environment's credentials are in force from here until the door is closed. What a template gets of them is
        to be asked for anew in its copies, and says so."""
