"""What an environment is given to do, and what came of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from .channel import RuntimeEvent

LogEvent = tuple[int, bytes]
"""Epoch milliseconds and one log event's bytes, without its newline."""


@dataclass(slots=True, eq=False)
class Work:
    """One attempt of one invocation. `done` is called exactly once, on the event loop, and then dropped."""

    event: RuntimeEvent
    timeout_s: float
    done: Callable[[Result], None] | None
    accepted_ns: int
    """Monotonic time of arrival."""
    context: Any = None
    """The owner's own: what `done` needs to answer the caller."""

    def finish(self, result: Result) -> None:
        """Deliver the result; breaks the reference from work to caller, so that bodies die at once."""
        done, self.done = self.done, None
        if done is None:
            raise AssertionError(f"attempt {self.event.request_id} finished twice")
        done(result)


@dataclass(slots=True, eq=False)
class Result:
    """What came of one attempt."""

    work: Work
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
    started_ms: int
    memory_peak_mb: int
    lines: list[LogEvent]
    environment_id: str
    log_stream: str
    fault: str | None = None
    """Set when the platform failed and no function ran: the caller gets a ServiceException with this text."""
