"""What an environment needs to know to start: the seams to `runtimes/`, `runtime_api/` and `telemetry/`.

`app.py` brings them together; nothing here knows how a runtime is found or which bytes travel.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from ..domain.egress import NOWHERE, Egress
from ..functions.model import FunctionVersion
from ..sandbox.port import Sandbox
from ..telemetry.attempt import Origin
from .channel import RuntimeChannel, RuntimeSink

FRAMES, HTTP = "frames", "http"


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


@dataclass(frozen=True, slots=True)
class WaitingProgram:
    """A runtime started ahead, without a function: trusted code only, and nobody's environment."""

    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: str = "/"


class Blueprints(Protocol):
    def blueprint(self, version: FunctionVersion) -> Blueprint:
        """Raises RuntimeMissing with words that say what to install."""


class RuntimeMissing(Exception):
    """This machine lacks the runtime; the text says what to install."""


class Door(Protocol):
    """The listener of one sandbox, being served."""

    def close(self) -> None:
        """Stop serving and close connections; idempotent."""


class Carriers(Protocol):
    """How runtimes and functions inside a sandbox reach us."""

    def open_frames(self, sink: RuntimeSink) -> tuple[RuntimeChannel, socket.socket]:
        """A channel over a socketpair, and the runtime's end of it."""

    def adopt_frames(self, sink: RuntimeSink, ours: socket.socket, env: Mapping[str, str], cwd: str) -> RuntimeChannel:
        """A channel over our end of a socketpair at whose other end a runtime waits; it is told what it becomes."""

    def open_http(self, sink: RuntimeSink, sandbox: Sandbox, door: Door) -> RuntimeChannel:
        """A channel over the Runtime API on the sandbox's listener, for one life of its runtime."""

    def open_door(self, sandbox: Sandbox, origin: Origin, version: FunctionVersion) -> Door:
        """Serve the sandbox's listener: the platform's endpoint, and the Runtime API once a channel is opened.

        The environment's credentials are in force from here until the door is closed."""
