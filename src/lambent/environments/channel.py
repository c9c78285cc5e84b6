"""How an environment and the runtime inside its sandbox talk, whatever carries it.

Two carriers exist (`runtime_api/`): frames over a socketpair for our bootstraps, and the HTTP Runtime API for everything
else. Both drive one state machine and speak to the environment through `RuntimeSink`. All calls are made on the event
loop; no call blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

Piece = bytes | memoryview
"""Bytes of a streamed response as they were read; a view keeps what was read alive, and is to be let go soon."""


@dataclass(slots=True)
class RuntimeEvent:
    """One event for the runtime. Empty strings stand for "not given": the header or member then stays away."""

    request_id: str
    deadline_ms: int
    """Epoch milliseconds at which the invocation times out."""
    invoked_arn: str
    trace_id: str
    client_context: str
    """JSON, already decoded from base64."""
    cognito_identity: str
    tenant_id: str
    content_type: str
    body: bytes


class Flow(Protocol):
    """The brake of a streamed response, for whoever takes it in. Both calls may be repeated, and do nothing after its
    end."""

    def pause(self) -> None:
        """Read no more of it: the runtime blocks once the channel between is full. What is in hand may still come."""

    def resume(self) -> None:
        """Go on."""


class ResponseSink(Protocol):
    """Where a streamed response goes, while it comes: one `start`, any number of `write`, then `end` if it came to one. How
    the attempt ended is what its result says, later. Calls come on the event loop; none may block."""

    def start(self, content_type: str, flow: Flow) -> None:
        """The function has begun to answer. content_type: as it named it, printable ASCII."""

    def write(self, pieces: Sequence[Piece], size: int) -> None:
        """Its next bytes, `size` in all: what one read brought, each piece at most one chunk of the function's."""

    def end(self) -> None:
        """It is complete. The function may work on behind it, until its runtime asks for the next event."""


class RuntimeSink(Protocol):
    """The environment's side: what the runtime did."""

    def ready(self) -> None:
        """The runtime asks for an event: init is done (first time), or the answered invocation is over."""

    def response(self, request_id: str, content_type: str, body: bytes) -> None:
        """The function's result. With frames the answer also means `ready`: `ready()` is called right after it."""

    def error(self, request_id: str, error_type: str, body: bytes) -> None:
        """The runtime reported a function error; `error_type` is the normalised category, `body` the JSON document."""

    def init_error(self, error_type: str, body: bytes) -> None:
        """The runtime could not initialise; it is expected to exit."""

    def snapshot(self, obstacles: list[str]) -> None:
        """The runtime has initialised, and waits to be stopped and copied; or says what keeps it from that."""

    def response_too_large(self, request_id: str, size: int) -> None:
        """The result exceeds the published limit and was refused; the runtime stays healthy."""

    def response_refused(self, request_id: str, error_type: str) -> None:
        """The result could not be taken: Runtime.TruncatedResponse or Runtime.InvalidResponseModeHeader."""

    def stream_started(self, request_id: str, content_type: str) -> None:
        """The function begins a streamed response. `streamed` follows any number of times, then one of `stream_ended`,
        `stream_failed` and `response_refused`."""

    def streamed(self, pieces: Sequence[Piece], size: int) -> bool:
        """The next bytes. False: it has become too large, the caller was told so, and no more of it is wanted."""

    def stream_ended(self) -> None:
        """The streamed response is complete; the attempt is when `ready` follows."""

    def stream_failed(self, error_type: str, body: bytes) -> None:
        """The function failed in the middle of its response; as `error`."""

    def gone(self) -> None:
        """The carrier closed: the runtime closed its channel or (frames) ended. Not called after `close`."""


class RuntimeChannel(Protocol):
    """The platform's side: what the environment can do to the runtime."""

    def dispatch(self, event: RuntimeEvent) -> None:
        """Hand over one event. Legal only after `ready`, once; the machine refuses anything else."""

    def abandon(self) -> None:
        """The current invocation is over for the platform (time-out): late answers to it are refused from now on."""

    def pause(self) -> None:
        """Take nothing more of a streamed response for now; the runtime blocks when the carrier is full."""

    def resume(self) -> None:
        """Go on taking."""

    def read_rest(self) -> None:
        """The runtime has ended: pass on what it had written before, as far as that can be read now."""

    def close(self) -> None:
        """Release descriptors; idempotent. The sink hears nothing afterwards."""


@dataclass(frozen=True, slots=True)
class ExtensionFacts:
    """What an extension is told of the function when it registers."""

    account: str
    name: str
    version: str
    handler: str


@dataclass(frozen=True, slots=True)
class ExtensionStatus:
    """One extension as the log tells of it."""

    name: str
    state: str
    events: tuple[str, ...]
    error_type: str | None


class ExtensionsSink(Protocol):
    """The environment's side: what its extensions did."""

    def extension_moved(self) -> None:
        """One has registered or asks for its next event: whoever waits for that looks again."""

    def extension_failed(self) -> None:
        """One has reported an error, the first of this life; it is expected to exit. See `ExtensionsChannel.failure`."""


class ExtensionsChannel(Protocol):
    """The platform's side: the extensions of one life of a runtime, external and internal."""

    count: int
    """How many there are, those that have yet to register included."""
    failure: tuple[str, str] | None
    """Category and text of the first error that an extension has reported."""

    @property
    def is_external_registered(self) -> bool:
        """The runtime may start."""

    @property
    def is_ready(self) -> bool:
        """Each has asked for its first event."""

    @property
    def is_busy(self) -> bool:
        """One works on the current invocation."""

    def close_registration(self) -> None:
        """The runtime has asked for its first event."""

    def statuses(self) -> list[ExtensionStatus]:
        """All of them, in the order in which they came."""

    def launch_failed(self, name: str, error_type: str) -> None:
        """An external one could not be started."""

    def invoke(self, event: RuntimeEvent) -> None:
        """Tell those who want to know that an invocation begins."""

    def shut_down(self, reason: str, deadline_ms: int) -> frozenset[str]:
        """Tell the external ones that want to know that their end is near; answers their names."""

    def close(self) -> None:
        """Cut those who wait; idempotent. The sink hears nothing afterwards."""
