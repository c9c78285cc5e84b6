"""One execution environment: a sandbox with one initialised runtime for one function version.

The environment is the sink of its `Runtime`. It moves by the table in `lifecycle.py`, runs one invocation at a time, and
turns whatever happens inside (an answer, an error document, an exit, silence until the deadline) into exactly one `Result`
per attempt. The warm path is callbacks only: no task, no future, and no await between lease and dispatch.

Order at the end of an attempt: log pipe drained, usage read, result delivered (which writes the record and then
answers the caller), and only then is the environment free again. Where extensions still work on the invocation when its
result comes, the caller is answered at once and the attempt goes on until they and the runtime ask for the next event.
"""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import Sequence
from typing import Any, Literal

from ..functions.model import FunctionVersion
from ..functions.snapshots import Outcome as Snapshot
from ..sandbox.port import Exit, SandboxDriver, SandboxError, Template
from ..telemetry.attempt import PROVISIONED, LogLine, Origin
from .birth import Birth
from .channel import Piece
from .copies import PreparedCopy
from .deadline import Deadline
from .failures import RESPONSE_TOO_LARGE, STREAM_TOO_LARGE, describe_init, document, timed_out
from .lifecycle import Event, State, advance
from .output import Running
from .plan import Blueprint
from .runtime import KILLED, EndReason, Runtime
from .streams import Stream
from .surroundings import Surroundings
from .work import Restored, Result, Work

log = logging.getLogger("lambent.environments")

Status = Literal["success", "error", "timeout", "failure"]


class Environment:
    """See the module's text. All methods are called on the event loop."""

    def __init__(self, version: FunctionVersion, origin: Origin, blueprint: Blueprint, shared: Surroundings) -> None:
        self.version = version
        self.origin = origin
        self.id = origin.environment
        self.is_provisioned = origin.initialization == PROVISIONED
        """Kept because it was asked for beforehand: it is replaced when it loses its runtime, never reset."""
        self.home: Any = None
        """The owner's own: where it belongs."""
        self.state = State.STARTING
        self.idle_since_ns = 0
        self.started_ns = 0
        """When the last attempt began."""
        self.answered_ns = 0
        """When the last attempt ended."""
        self._last_us = 0
        """How long the last attempt took; 0: there was none."""
        self.peak_mb = 0
        """What the last attempt used at most; 0: there was none."""
        self.shared_bytes = 0
        """What it has in common with its template, and is charged to that: it counts as used all the same."""
        self.held_mb = 0
        """What the owner counts for it."""
        self.awaits_freeze = False
        """The owner will look at it once more when it has been idle for a moment."""
        self.work: Work | None = None
        self._stream: Stream | None = None
        """The response that the running attempt has begun to stream."""
        self._answered: Result | None = None
        """The running attempt has answered, and extensions work on."""
        self._started_ms = 0
        self._shared = shared
        self._clock = shared.clock
        self._awake = shared.awake
        self.runtime = Runtime(self, version, origin, blueprint, shared)
        """What lives inside."""
        self._birth = Birth(version, origin, blueprint, self.runtime, shared)
        self._init_us: int | None = None
        self._restored: Restored | None = None
        """Of an init or a restoration that no attempt has carried yet."""
        self.deadline = Deadline(self._on_deadline)
        """Of the running attempt, in force until the runtime asks for its next event."""
        self._job: asyncio.Task[Any] | None = None
        """What runs beside the callbacks: opening, an unready start, a reset."""

    def __repr__(self) -> str:
        return f"<Environment {self.id[:8]} {self.version.ref.name}:{self.version.version} {self.state.name}>"

    @property
    def is_warm(self) -> bool:
        """A runtime lives inside and has finished its init."""
        return self.runtime.is_warm

    @property
    def is_frozen(self) -> bool:
        """Its processes are stopped, or being stopped."""
        return self.runtime.is_frozen

    @property
    def is_stopping(self) -> bool:
        return self.state is State.STOPPING

    @property
    def initialised_ns(self) -> int:
        """When it was first able to take work."""
        return self._birth.initialised_ns

    @property
    def peak_bytes(self) -> int:
        """What it has used at most; 0 without a sandbox."""
        sandbox = self.runtime.sandbox
        return sandbox.peak_bytes() if sandbox is not None else 0

    # --- birth -------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Build the sandbox and run the init phase. Raises SandboxError when there is no sandbox; a failed init is not
        an error here: the environment is then IDLE without a runtime, and its first invocation repeats init."""
        self._job = asyncio.current_task()
        kind, init_us = await self._birth.initialised()
        if kind == "ready":
            self._init_us = init_us
            self._has_become(Event.READY)
        else:
            await self.runtime.end("timeout" if kind == "timeout" else "failure")
            self._has_become(Event.INIT_FAILED)

    async def open_template(self, driver: SandboxDriver) -> tuple[Template | None, Snapshot]:
        """Initialise and be held: this is no environment for work, but what those for work are copied from.

        Answers the sandbox, and what came of it: a template where the outcome names neither a refusal nor a failure.
        Raises SandboxError when no sandbox could be made.
        """
        self._job = asyncio.current_task()
        return await self._birth.held(driver)

    async def restore(self, prepared: PreparedCopy, forking: asyncio.Lock) -> None:
        """Become a copy of a template: fork it unless that is done, run the hooks, and be able to take work.

        forking: of the template, which is forked by one at a time.

        Raises SandboxError, and SnapStartFailed or SnapStartTimedOut for what the caller of the first invocation is told.
        """
        self._job = asyncio.current_task()
        self._restored = await self._birth.restored(prepared, forking)
        self._has_become(Event.READY)

    def _has_become(self, event: Event) -> None:
        self.state = advance(self.state, event)
        self.runtime.output.is_held = False

    def write_init(self) -> None:
        """Write down the init phase, once, before anything that the first invocation writes: to be called in the step in
        which that may begin, or later if none does."""
        self._birth.write()

    def say(self, text: str) -> None:
        """One line of the platform's in this environment's log stream."""
        self.runtime.output.say(text)

    # --- the pool's side ---------------------------------------------------------------------------------------

    def lease(self) -> None:
        """Mark the environment as promised; the same step must run it or give it back."""
        self.state = advance(self.state, Event.LEASE)

    def run(self, work: Work) -> None:
        """Run one attempt; its result comes through `work.done`."""
        self.state = advance(self.state, Event.DISPATCH)
        runtime = self.runtime
        if runtime.output.pending_bytes:
            runtime.output.write_part()  # printed since the last answer: not this attempt's
        self.work = work
        self._awake.running += 1
        self.started_ns = self._clock.monotonic_ns()
        self._started_ms = self._clock.wall_ms()
        work.event.deadline_ms = self._started_ms + round(work.timeout_s * 1_000)
        self.deadline.set(work.timeout_s)
        is_awake = not runtime.is_frozen and runtime.freezing is None
        if runtime.is_warm and (is_awake or runtime.thaw_now()):
            self._dispatch(work)
        else:
            self._job = self._shared.owner.supervise(self._run_unready(work), f"run {self.id}")

    def _dispatch(self, work: Work) -> None:
        runtime = self.runtime
        assert runtime.channel is not None
        assert runtime.extensions is not None
        runtime.has_asked = False
        extensions = runtime.extensions.channel
        if extensions.count:
            extensions.invoke(work.event)
        runtime.channel.dispatch(work.event)
        self._awake.dispatched(self._last_us)

    async def _run_unready(self, work: Work) -> None:
        """The slow way: thaw, and repeat init inside the invocation where no runtime lives."""
        try:
            await self.runtime.thaw()
            if self.work is not work:
                return
            if not self.runtime.is_warm:
                kind, detail = await self.runtime.initialise(None)
                if self.work is not work:  # the deadline passed meanwhile and has answered
                    return
                if kind != "ready":
                    if self._shared.is_lost():
                        raise SandboxError("initialise the runtime", errno.EPIPE, "the sandbox was lost")
                    error_type, body = describe_init(kind, detail, work.event.request_id)
                    self._complete(body, "application/json", True, error_type, error_type)
                    self._break()
                    return
            self._dispatch(work)
        except Exception as error:  # a supervisor's: whatever broke, the caller is answered and the environment goes
            log.exception("environment %s could not run its work", self.id)
            if self.work is work:
                self._fault(str(error))
            self._shared.owner.retire(self, f"sandbox: {error}")

    def request_freeze(self) -> None:
        """Stop the processes inside, unless work comes first."""
        if self.state is State.IDLE:
            self.runtime.request_freeze()

    async def stop(self) -> None:
        """Retire: kill, remove, and write down what was still printed. Called once by the owner after STOP."""
        self.deadline.cancel()
        if self.work is not None:
            self._fault("the environment was stopped")
        runtime = self.runtime
        runtime.settle(KILLED)  # an init in progress ends here
        for job in (runtime.freezing, self._job):
            if job is not None and job is not asyncio.current_task() and not job.done():
                await asyncio.wait([job])
        self.write_init()
        runtime.output.is_held = False
        try:
            await runtime.destroy()
        finally:
            runtime.output.write_rest()
            self.state = advance(self.state, Event.REAPED)

    # --- RuntimeSink -------------------------------------------------------------------------------------------

    def ready(self) -> None:
        runtime = self.runtime
        runtime.has_asked = True
        if runtime.init is not None:
            runtime.asked_first()
        elif runtime.exit_seen.is_set():
            return  # a last word; it asks for nothing any more
        elif self._answered is not None:
            self._look_whether_over()
        elif self.state is State.INVOKING and self.work is None:
            self._free()

    def _look_whether_over(self) -> None:
        """An attempt that has answered is over when the runtime and each extension ask for their next events."""
        assert self.runtime.extensions is not None
        if not self.runtime.has_asked:
            return
        if not self.runtime.extensions.channel.is_busy:
            self._close_attempt("success", None)
            self._free()
        elif self.work is not None and self._answered is not None and self._answered.is_streamed:
            # The runtime's part of it is over: whoever took the stream waits for no extension.
            self.work.answer(self._answered)

    def _free(self) -> None:
        self.deadline.at_s = 0.0
        self.state = advance(self.state, Event.FINISH)
        self._shared.owner.freed(self)

    def snapshot(self, obstacles: list[str]) -> None:
        self.runtime.settle(("snapshot", obstacles))

    def response(self, request_id: str, content_type: str, body: bytes) -> None:
        self._answer(body, content_type, False, None, None, "success")

    def error(self, request_id: str, error_type: str, body: bytes) -> None:
        self._answer(body, "application/json", True, error_type, None, "error")

    def init_error(self, error_type: str, body: bytes) -> None:
        self.runtime.settle(("error", (error_type, body)))

    def response_too_large(self, request_id: str, size: int) -> None:
        error_type = "Function.ResponseSizeTooLarge"
        self._answer(RESPONSE_TOO_LARGE, "application/json", True, error_type, error_type, "error")

    def response_refused(self, request_id: str, error_type: str) -> None:
        if self.work is not None:
            body = document(error_type, self.work.event.request_id, "The runtime's response could not be read")
            self._complete(body, "application/json", True, error_type, error_type)
            self._break()

    def stream_started(self, request_id: str, content_type: str) -> None:
        channel = self.runtime.channel
        if self.work is not None and channel is not None:
            self._stream = Stream(content_type, self.work.sink, channel, self._shared.bandwidth)

    def streamed(self, pieces: Sequence[Piece], size: int) -> bool:
        stream = self._stream
        if stream is None or stream.write(pieces, size):
            return True
        is_collected = self.work is not None and self.work.sink is None
        error_type = "Function.ResponseSizeTooLarge"
        body = RESPONSE_TOO_LARGE if is_collected else STREAM_TOO_LARGE
        self._answer(body, "application/json", True, error_type, error_type, "error")
        return False

    def stream_ended(self) -> None:
        stream, work = self._stream, self.work
        if stream is None or work is None:
            return
        if work.sink is None:
            self._answer(stream.collected(), stream.content_type, False, None, None, "success")
            return
        # The caller has all of it; what the function still does until its runtime asks for more is its time, too.
        stream.end()
        self._answered = self._result(work, b"", stream.content_type, False, None, None, "success")
        self._shared.owner.finishing(self)

    def stream_failed(self, error_type: str, body: bytes) -> None:
        if self._stream is not None:
            self._shared.owner.finishing(self)  # it asks for its next event in a moment
            self._answer(body, "application/json", True, error_type, None, "error")

    def gone(self) -> None:
        self.runtime.gone()

    # --- Host --------------------------------------------------------------------------------------------------

    def exited(self, exit_: Exit) -> None:
        if self._shared.is_lost():
            if self.work is not None:
                self._fault("the sandbox was lost")
            self._shared.owner.retire(self, "lost")
        elif self.work is not None:
            runtime = self.runtime
            if runtime.channel is not None:
                runtime.channel.read_rest()  # the end is heard at once, what it said before may lie unread
            if self._answered is not None and runtime.has_asked:
                self._close_attempt("success", None)
            elif self.work is not None:
                error_type, body = describe_init("exit", exit_, self.work.event.request_id)
                self._complete(body, "application/json", True, error_type, error_type)
            self._break()
        elif self.state in (State.INVOKING, State.IDLE):
            self._break()
        elif self.state is State.STARTING:
            self._shared.owner.lost(self)

    def extension_moved(self) -> None:
        if self._answered is not None:
            self._look_whether_over()

    def extension_ended(self, failure: tuple[str, str]) -> None:
        if self.work is not None and not self._shared.is_lost():
            error_type, text = failure
            body = document(error_type, self.work.event.request_id, text)
            self._complete(body, "application/json", True, error_type, error_type)
            self._break()
        elif self.state in (State.INVOKING, State.IDLE) and not self._shared.is_lost():
            self._break()

    def unfit(self, reason: str) -> None:
        self._shared.owner.retire(self, reason)

    def running(self) -> Running | None:
        work, answered = self.work, self._answered
        if work is None:
            return None
        lines: list[LogLine] = []
        if answered is not None:
            lines, answered.lines = answered.lines, []
        return Running(work.event.request_id, self._started_ms, lines)

    # --- the end of an attempt ---------------------------------------------------------------------------------

    def _on_deadline(self) -> None:
        work = self.work
        if work is None:
            if self.state is State.INVOKING:  # it answered, and then never asked for the next event
                self._break("timeout")
            return
        if self.runtime.channel is not None:
            self.runtime.channel.abandon()
        body = timed_out(work.event.request_id, work.timeout_s)
        self._complete(body, "application/json", True, "Sandbox.Timedout", None, "timeout")
        self._break("timeout")

    def _answer(
        self,
        body: bytes,
        content_type: str,
        function_error: bool,
        error_type: str | None,
        report_error: str | None,
        status: Status,
    ) -> None:
        """The function's result has come: the attempt's end, unless extensions still work on it."""
        work = self.work
        if work is None or self._answered is not None:
            return
        assert self.runtime.extensions is not None
        extensions = self.runtime.extensions.channel
        if not extensions.count or not extensions.is_busy:
            self._complete(body, content_type, function_error, error_type, report_error, status)
            return
        self._answered = self._result(work, body, content_type, function_error, error_type, report_error, status)
        work.answer(self._answered)

    def _complete(
        self,
        body: bytes,
        content_type: str,
        function_error: bool,
        error_type: str | None,
        report_error: str | None,
        status: Status = "error",
    ) -> None:
        """End the running attempt: everything it printed and used, then its result. The deadline stays in force until
        the runtime asks for its next event: an environment that answers and then does nothing else is not lost."""
        work = self.work
        assert work is not None
        if self._answered is not None:  # the caller has its result; what failed afterwards is in the record
            self._close_attempt(status, report_error)
            return
        result = self._result(work, body, content_type, function_error, error_type, report_error, status)
        runtime = self.runtime
        runtime.output.earlier = b""
        self._init_us = self._restored = None
        self.work = None
        self._awake.running -= 1
        if runtime.asks_itself and self.state is State.INVOKING:
            self._shared.owner.finishing(self)
        work.finish(result)

    def _close_attempt(self, status: Status, report_error: str | None) -> None:
        """End an attempt that has answered before: what extensions have used and printed since belongs to it."""
        work, result = self.work, self._answered
        assert work is not None
        assert result is not None
        self._answered = None
        if status == "success":
            status, report_error = result.status, result.report_error
        last = self._result(
            work, result.body, result.content_type, result.function_error, result.error_type, report_error, status
        )
        last.lines = result.lines + last.lines
        last.produced_bytes, last.is_streamed = result.produced_bytes, result.is_streamed
        self.runtime.output.earlier = b""
        self._init_us = self._restored = None
        self.work = None
        self._awake.running -= 1
        work.finish(last)

    def _result(
        self,
        work: Work,
        body: bytes,
        content_type: str,
        function_error: bool,
        error_type: str | None,
        report_error: str | None,
        status: Status,
    ) -> Result:
        """What the attempt has printed and used until now."""
        sandbox, output = self.runtime.sandbox, self.runtime.output
        assert sandbox is not None
        self.answered_ns = self._clock.monotonic_ns()
        duration_us = self._last_us = (self.answered_ns - self.started_ns) // 1_000
        self._awake.answered()
        if status == "timeout":
            duration_us = round(work.timeout_s * 1_000_000)  # a timer that fires late is not billed
        lines = output.take_all()
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()
        memory_mb = self.version.configuration.memory_mb
        peak_mb = -(-(sandbox.peak_bytes() + self.shared_bytes) // 1_048_576)
        if peak_mb > memory_mb:
            peak_mb = memory_mb
        self.peak_mb = peak_mb
        if peak_mb >= memory_mb:
            sandbox.forgive()  # a child may have been ended for its memory: no later attempt ends of that
        return Result(
            work=work,
            body=body,
            content_type=content_type,
            function_error=function_error,
            error_type=error_type,
            report_error=report_error,
            status=status,
            duration_us=duration_us,
            init_us=self._init_us,
            restored=self._restored,
            started_ms=self._started_ms,
            memory_peak_mb=memory_mb if error_type == "Runtime.OutOfMemory" else peak_mb,
            lines=lines,
            earlier=output.earlier,
            origin=self.origin,
            produced_bytes=len(body) if stream is None else stream.size,
            is_streamed=stream is not None and work.sink is not None,
        )

    def _fault(self, text: str) -> None:
        """End the running attempt without a function result: ours is the failure."""
        work = self.work
        assert work is not None
        self.deadline.cancel()
        if self._answered is not None:
            self._close_attempt("success", None)
            return
        self.work = None
        self._awake.running -= 1
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()
        work.fail(text)

    # --- reset -------------------------------------------------------------------------------------------------

    def _break(self, reason: EndReason = "failure") -> None:
        """The runtime is lost: replace the process tree, keep the sandbox and its /tmp."""
        self.deadline.cancel()
        if self.state is State.STOPPING:
            return
        if self.is_provisioned:
            self._shared.owner.retire(self, "lost its runtime")  # another one is initialised in its place
            return
        self._shared.owner.broke(self)
        self.state = advance(self.state, Event.BREAK)
        self._job = self._shared.owner.supervise(self._reset(reason), f"reset {self.id}")

    async def _reset(self, reason: EndReason) -> None:
        try:
            await self.runtime.end(reason)
        except Exception as error:  # a supervisor's: an environment that can't be reset is replaced
            log.warning("environment %s could not be reset: %s", self.id, error)
            self._shared.owner.retire(self, f"reset: {error}")
            return
        self.state = advance(self.state, Event.RESET_DONE)
        if self.state is State.IDLE:
            self._shared.owner.freed(self)
