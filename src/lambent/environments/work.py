"""What an environment is given to do, and what came of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from ..telemetry.attempt import LogLine, Origin
from .channel import RuntimeEvent


@dataclass(slots=True, eq=False)
class Work:
    """One attempt of one invocation. Exactly one of `done` and `failed` is called, once, on the event loop."""

    event: RuntimeEvent
    timeout_s: float
    done: Callable[[Result], None] | None
    failed: Callable[[Work, str], None] | None
    """The platform failed and no result exists; the text is for the log and the caller's ServiceException."""
    context: Any = None
    """The owner's own: what it needs to answer the caller."""

    def finish(self, result: Result) -> None:
        """Deliver the result; breaks the references from work to caller, so that bodies die at once."""
        done, self.done, self.failed = self.done, None, None
        if done is None:
            raise AssertionError(f"attempt {self.event.request_id} finished twice")
        done(result)

    def fail(self, text: str) -> None:
        """Deliver a failure of ours."""
        failed, self.done, self.failed = self.failed, None, None
        if failed is None:
            raise AssertionError(f"attempt {self.event.request_id} finished twice")
        failed(self, text)


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
    started_ms: int
    memory_peak_mb: int
    lines: list[LogLine]
    earlier: bytes
    """The end of what parts of this attempt have written down before, START among it; empty without parts."""
