"""What an environment is given to do, and what came of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from ..domain.errors import LambentError, ServiceFault
from ..telemetry.attempt import LogLine, Origin
from .channel import ResponseSink, RuntimeEvent


@dataclass(slots=True, eq=False)
class Work:
    """One attempt of one invocation. Exactly one of `done` and `failed` is called, once, on the event loop.

    Where extensions work on after the function's result, `answered` is called with it first."""

    event: RuntimeEvent
    timeout_s: float
    done: Callable[[Result], None] | None
    failed: Callable[[Work, LambentError], None] | None
    """No result exists: the platform failed, or could not restore; the error is the caller's answer."""
    context: Any = None
    """The owner's own: what it needs to answer the caller."""
    answered: Callable[[Result], None] | None = None
    sink: ResponseSink | None = None
    """Where a streamed response goes while it comes; None: it is collected into one body."""

    def answer(self, result: Result) -> None:
        """Deliver the function's result while its attempt goes on: durations, lines and memory are those so far."""
        if self.answered is not None:
            self.answered(result)

    def finish(self, result: Result) -> None:
        """Deliver the result; breaks the references from work to caller, so that bodies die at once."""
        done, self.done, self.failed, self.answered, self.sink = self.done, None, None, None, None
        if done is None:
            raise AssertionError(f"attempt {self.event.request_id} finished twice")
        done(result)

    def fail(self, reason: str | LambentError) -> None:
        """Deliver a failure: of ours where it is a text, for the caller's ServiceException."""
        failed, self.done, self.failed, self.answered, self.sink = self.failed, None, None, None, None
        if failed is None:
            raise AssertionError(f"attempt {self.event.request_id} finished twice")
        failed(self, ServiceFault(reason) if isinstance(reason, str) else reason)


@dataclass(frozen=True, slots=True)
class Restored:
    """How long a restoration took."""

    duration_us: int
    billed_ms: int
    """Of it, what the runtime and the hooks took, rounded up."""


@dataclass(slots=True, eq=False)
class Result:
    """What came of one attempt that reached an environment."""

    work: Work
    origin: Origin
    body: bytes
    content_type: str
    function_error: bool
    """True: HTTP 200 with X-Amz-Function-Error."""
    error_type: str | None
    """Category as logged: Runtime.X, Function.X, Sandbox.X; None on success."""
    report_error: str | None
    """Error Type as printed on the REPORT line; handler exceptions print none."""
    status: Literal["success", "error", "timeout", "failure"]
    duration_us: int
    init_us: int | None
    """Init Duration when this attempt carries the environment's init."""
    restored: Restored | None
    """When this attempt carries the environment's restoration."""
    started_ms: int
    memory_peak_mb: int
    lines: list[LogLine]
    earlier: bytes
    """The end of what parts of this attempt have written down before, START among it; empty without parts."""
    produced_bytes: int = 0
    """Size of the function's response; of a streamed one what came of it."""
    is_streamed: bool = False
    """The response went, or began to go, to the work's sink: `body` is empty, or says how it failed."""
