"""How an environment and the runtime inside its sandbox talk, whatever carries it.

Two carriers exist (`runtime_api/`): frames over a socketpair for our bootstraps, and the HTTP Runtime API for everything
else. Both drive one state machine and speak to the environment through `RuntimeSink`. All calls are made on the event
loop; no call blocks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


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

    def response_too_large(self, request_id: str, size: int) -> None:
        """The result exceeds the published limit and was refused; the runtime stays healthy."""

    def response_refused(self, request_id: str, error_type: str) -> None:
        """The result could not be taken: Runtime.TruncatedResponse or Runtime.InvalidResponseModeHeader."""

    def gone(self) -> None:
        """The carrier closed: the runtime closed its channel or (frames) ended. Not called after `close`."""


class RuntimeChannel(Protocol):
    """The platform's side: what the environment can do to the runtime."""

    def dispatch(self, event: RuntimeEvent) -> None:
        """Hand over one event. Legal only after `ready`, once; the machine refuses anything else."""

    def abandon(self) -> None:
        """The current invocation is over for the platform (time-out): late answers to it are refused from now on."""

    def close(self) -> None:
        """Release descriptors; idempotent. The sink hears nothing afterwards."""
