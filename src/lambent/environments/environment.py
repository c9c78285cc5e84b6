"""One execution environment: a sandbox with one initialised runtime for one function version.

The environment is the runtime channel's sink. It moves by the table in `lifecycle.py`, runs one invocation at a time,
and turns whatever happens inside (an answer, an error document, an exit, silence until the deadline) into exactly one
`Result` per attempt. The warm path is callbacks only: no task, no future, and no await between lease and dispatch.

Order at the end of an attempt: log pipe drained, usage read, result delivered (which writes the record and then
answers the caller), and only then is the environment free again.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from ..domain.clock import Clock
from ..domain.limits import (
    MEMORY_MB_PER_VCPU,
    PROVISIONED_INIT_LIMIT_S,
    RUNTIME_DESCRIPTORS_MAX,
    RUNTIME_PROCESSES_MAX,
    TAIL_BYTES_MAX,
)
from ..functions.model import FunctionVersion
from ..sandbox.port import Binding, Command, Exit, Limits, Sandbox, SandboxError
from ..telemetry.attempt import PROVISIONED, AttemptPart, InitRecord, LogLine, Origin, UserEvents
from ..telemetry.lines import LineSplitter
from ..telemetry.platform_lines import part_events
from .blanks import Blanks, WaitingRuntime
from .channel import RuntimeChannel
from .failures import RESPONSE_TOO_LARGE, describe_exit, document, timed_out
from .lifecycle import Event, State, advance
from .plan import HTTP, Blueprint, Carriers, Door, StartPlan
from .work import Result, Work

LOG_READ_BYTES = 65_536
LOG_DRAIN_BYTES_MAX = 4 * 1_048_576
"""What is read of a log pipe at the end of an attempt at most; a pipe holds 64 KB unless a program enlarges it."""
INIT_EXIT_GRACE_S = 1.0
"""How long a runtime that reported an init error may take to exit before it is killed."""
PART_BYTES = 262_144
PART_DELAY_S = 1.0
"""A running attempt's output is written down early once it is this large, or this old."""
GONE_GRACE_S = 0.5
"""How long after the channel closed the exit is awaited before the runtime is killed."""

log = logging.getLogger("lambent.environments")

Outcome = tuple[Literal["ready", "error", "exit", "timeout", "refused"], Any]


class Owner(Protocol):
    """Who keeps the environments: told when one is free, broken or has something to write down."""

    def freed(self, environment: Environment) -> None: ...

    def broke(self, environment: Environment) -> None:
        """The environment can't take work until `freed`."""

    def finishing(self, environment: Environment) -> None:
        """It has answered and will be `freed` as soon as its runtime asks for the next event."""

    def retire(self, environment: Environment, reason: str) -> None: ...

    def record(self, record: InitRecord | AttemptPart | UserEvents) -> None: ...

    def supervise(self, coroutine: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]: ...


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What every environment of a server shares."""

    blanks: Blanks
    carriers: Carriers
    clock: Clock
    new_splitter: Callable[[FunctionVersion], LineSplitter]
    owner: Owner
    init_limit_s: float
    """How long the init phase before the first invocation may take."""
    is_lost: Callable[[], bool]
    """Whether whoever keeps the sandboxes is gone: an end is then no function's own."""


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
        self.initialised_ns = 0
        """When it was first able to take work."""
        self.started_ns = 0
        """When the last attempt began."""
        self.answered_ns = 0
        """When the last attempt ended."""
        self.peak_mb = 0
        """What the last attempt used at most; 0: there was none."""
        self.is_warm = False
        """A runtime lives inside and has finished its init."""
        self.is_frozen = False
        self.awaits_freeze = False
        """The owner will look at it once more when it has been idle for a moment."""
        self.work: Work | None = None
        self._blueprint = blueprint
        self._shared = shared
        self._clock = shared.clock
        self._loop = asyncio.get_running_loop()
        self._sandbox: Sandbox | None = None
        self._waiting: WaitingRuntime | None = None
        """Came with the sandbox and has no function yet."""
        self._door: Door | None = None
        self._channel: RuntimeChannel | None = None
        self._log_fd = -1
        self._splitter = shared.new_splitter(version)
        self._part_timer: asyncio.TimerHandle | None = None
        self._earlier = b""
        """The end of what parts of the running attempt have written, for the log tail."""
        self._init: asyncio.Future[Outcome] | None = None
        self._init_us: int | None = None
        self._exit_seen: asyncio.Event = asyncio.Event()
        self._has_program = False
        self._asks_itself = False
        """The runtime asks for its next event by a request of its own, some hundred microseconds after its answer."""
        self._timer: asyncio.TimerHandle | None = None
        self._deadline_s = 0.0
        """When the running attempt times out, in the loop's time; 0: nothing runs."""
        self._gone_timer: asyncio.TimerHandle | None = None
        self._started_ms = 0
        self._freezing: asyncio.Task[None] | None = None
        self._steps = asyncio.Lock()
        """Calls on the sandbox are made one after another."""
        self._job: asyncio.Task[Any] | None = None
        """What runs beside the callbacks: opening, an unready start, a reset."""

    def __repr__(self) -> str:
        return f"<Environment {self.id[:8]} {self.version.ref.name}:{self.version.version} {self.state.name}>"

    # --- birth -------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Build the sandbox and run the init phase. Raises SandboxError when there is no sandbox; a failed init is not
        an error here: the environment is then IDLE without a runtime, and its first invocation repeats init.

        Nobody waits for a provisioned one, so its init has as long as the function, at least 130 s; it is always reported,
        and no attempt carries its duration. Source: Developer guide, "Lambda execution environment lifecycle".
        """
        self._job = asyncio.current_task()
        configuration = self.version.configuration
        limits = Limits(
            memory_mb=configuration.memory_mb,
            cpu_vcpus=configuration.memory_mb / MEMORY_MB_PER_VCPU,
            processes_max=RUNTIME_PROCESSES_MAX,
            descriptors_max=RUNTIME_DESCRIPTORS_MAX,
            tmp_mb=configuration.ephemeral_mb,
        )
        blank = await self._shared.blanks.take(self._blueprint.image, limits, self._blueprint.waiting)
        sandbox = self._sandbox = blank.sandbox
        self._waiting = blank.runtime
        code, egress = self.version.code.digest, self._blueprint.egress
        await sandbox.bind(Binding(code, configuration.opt, limits, is_full_speed=True, egress=egress))
        self._door = self._shared.carriers.open_door(sandbox, self.origin, self.version)
        started_ms, started_ns = self._clock.wall_ms(), self._clock.monotonic_ns()
        limit_s = self._shared.init_limit_s
        if self.is_provisioned:
            limit_s = max(PROVISIONED_INIT_LIMIT_S, configuration.timeout_s)
        outcome = await self._initialise(limit_s)
        self.initialised_ns = self._clock.monotonic_ns()
        duration_us = (self.initialised_ns - started_ns) // 1_000
        kind, detail = outcome
        self._shared.owner.record(
            InitRecord(
                origin=self.origin,
                started_ms=started_ms,
                duration_us=duration_us,
                runtime_version=self._blueprint.runtime_version,
                runtime_version_arn=self._blueprint.runtime_version_arn,
                status={"ready": "success", "timeout": "timeout"}.get(kind, "error"),
                error_type=self._describe(kind, detail, "")[0] if kind in ("error", "exit", "refused") else None,
                is_reported=self.is_provisioned,
                lines=self._take_lines(),
            )
        )
        if kind == "ready":
            self._init_us = None if self.is_provisioned else duration_us
            self.state = advance(self.state, Event.READY)
        else:
            await self._end_runtime()
            self.state = advance(self.state, Event.INIT_FAILED)

    async def _initialise(self, limit_s: float | None) -> Outcome:
        """Start the runtime and wait until it asks for its first event, fails, ends, or `limit_s` is over."""
        assert self._sandbox is not None
        if self.state is State.STOPPING:
            return "exit", Exit(None, 9, out_of_memory=False)
        plan = self._blueprint.start(self.origin, self._sandbox.api_address)
        if plan.refusal is not None:
            return "refused", plan.refusal
        waiting: asyncio.Future[Outcome] = self._loop.create_future()
        self._init = waiting
        self._exit_seen.clear()
        try:
            async with self._steps:
                self._asks_itself = plan.carrier == HTTP
                if plan.carrier == HTTP:
                    assert self._door is not None
                    self._channel, theirs = self._shared.carriers.open_http(self, self._sandbox, self._door), None
                elif self._waiting is not None:
                    self._adopt(plan)
                    theirs = None
                else:
                    self._channel, theirs = self._shared.carriers.open_frames(self)
                if not self._has_program:
                    command = Command(plan.argv, plan.env, plan.cwd, theirs)
                    self._log_fd = await self._sandbox.start(command, self._on_exit)
                    self._has_program = True
                self._loop.add_reader(self._log_fd, self._on_log)
            outcome = await self._init_outcome(waiting, limit_s)
            if outcome[0] == "error":
                # The runtime said why; let it end by itself, so that what it still prints is logged.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(INIT_EXIT_GRACE_S):
                        await self._exit_seen.wait()
            if self._log_fd >= 0:
                self._drain_log()
        finally:
            if self._init is waiting:
                self._init = None
        if outcome[0] == "ready":
            self.is_warm = True
            # Not awaited: whoever waits for this environment would, and the order among the sandbox's calls is kept.
            self._shared.owner.supervise(self._limit_cpu(), f"limit {self.id}")
        return outcome

    async def _limit_cpu(self) -> None:
        """Full speed ends with init."""
        async with self._steps:
            if self._sandbox is None or self.state is State.STOPPING:
                return
            try:
                await self._sandbox.set_cpu(self.version.configuration.memory_mb / MEMORY_MB_PER_VCPU)
            except SandboxError as error:
                if not self._shared.is_lost():
                    self._shared.owner.retire(self, f"its CPU share could not be set: {error}")

    def _adopt(self, plan: StartPlan) -> None:
        """The runtime that has waited in the blank becomes this environment's."""
        waiting, self._waiting = self._waiting, None
        assert waiting is not None
        self._has_program = True
        ours, self._log_fd = waiting.adopt(self._on_exit)
        self._channel = self._shared.carriers.adopt_frames(self, ours, plan.env, plan.cwd)

    async def _init_outcome(self, waiting: asyncio.Future[Outcome], limit_s: float | None) -> Outcome:
        try:
            async with asyncio.timeout(limit_s):
                return await waiting
        except TimeoutError:
            return "timeout", None

    # --- the pool's side ---------------------------------------------------------------------------------------

    def lease(self) -> None:
        """Mark the environment as promised; the same step must run it or give it back."""
        self.state = advance(self.state, Event.LEASE)

    def run(self, work: Work) -> None:
        """Run one attempt; its result comes through `work.done`."""
        self.state = advance(self.state, Event.DISPATCH)
        if self._splitter.pending_bytes:
            self._write_part()  # printed since the last answer: not this attempt's
        self.work = work
        self.started_ns = self._clock.monotonic_ns()
        self._started_ms = self._clock.wall_ms()
        work.event.deadline_ms = self._started_ms + round(work.timeout_s * 1_000)
        self._deadline_s = self._loop.time() + work.timeout_s
        if self._timer is None:
            self._timer = self._loop.call_later(work.timeout_s, self._on_timer)
        if self.is_warm and not self.is_frozen and self._freezing is None:
            assert self._channel is not None
            self._channel.dispatch(work.event)
        else:
            self._job = self._shared.owner.supervise(self._run_unready(work), f"run {self.id}")

    async def _run_unready(self, work: Work) -> None:
        """The slow way: thaw, and repeat init inside the invocation where no runtime lives."""
        try:
            if self._freezing is not None:
                await asyncio.wait([self._freezing])
            if self.is_frozen:
                assert self._sandbox is not None
                async with self._steps:
                    await self._sandbox.thaw()
                self.is_frozen = False
            if self.work is not work:
                return
            if not self.is_warm:
                kind, detail = await self._initialise(None)
                if self.work is not work:  # the deadline passed meanwhile and has answered
                    return
                if kind != "ready":
                    if self._shared.is_lost():
                        raise SandboxError("initialise the runtime", errno.EPIPE, "the sandbox was lost")
                    error_type, body = self._describe(kind, detail, work.event.request_id)
                    self._complete(body, "application/json", True, error_type, error_type, "error")
                    self._break()
                    return
            assert self._channel is not None
            self._channel.dispatch(work.event)
        except Exception as error:  # a supervisor's: whatever broke, the caller is answered and the environment goes
            log.exception("environment %s could not run its work", self.id)
            if self.work is work:
                self._fault(str(error))
            self._shared.owner.retire(self, f"sandbox: {error}")

    def request_freeze(self) -> None:
        """Stop the processes inside, unless work comes first."""
        if self.state is State.IDLE and self.is_warm and not self.is_frozen and self._freezing is None:
            self._freezing = self._shared.owner.supervise(self._freeze(), f"freeze {self.id}")

    async def _freeze(self) -> None:
        try:
            assert self._sandbox is not None
            self.is_frozen = True  # also when it fails half way: some processes may have stopped
            async with self._steps:
                await self._sandbox.freeze()
        except SandboxError as error:
            log.info("environment %s was not wholly frozen: %s", self.id, error)
        finally:
            self._freezing = None

    async def stop(self) -> None:
        """Retire: kill, remove, and write down what was still printed. Called once by the owner after STOP."""
        self._cancel_deadline()
        if self.work is not None:
            self._fault("the environment was stopped")
        if self._init is not None and not self._init.done():
            self._init.set_result(("exit", Exit(None, 9, out_of_memory=False)))  # an init in progress ends here
        for job in (self._freezing, self._job):
            if job is not None and job is not asyncio.current_task() and not job.done():
                await asyncio.wait([job])
        self._close_channel()
        if self._waiting is not None:
            self._waiting.close()
            self._waiting = None
        if self._door is not None:
            self._door.close()
        if self._log_fd >= 0:
            self._drain_log()
        try:
            if self._sandbox is not None:
                await self._sandbox.destroy()
        finally:
            self._close_log()
            if self._part_timer is not None:
                self._part_timer.cancel()
                self._part_timer = None
            self._write_rest()
            self.is_warm = False
            self.state = advance(self.state, Event.REAPED)

    # --- RuntimeSink -------------------------------------------------------------------------------------------

    def ready(self) -> None:
        if self._init is not None:
            if not self._init.done():
                self._init.set_result(("ready", None))
        elif self.state is State.INVOKING and self.work is None:
            self._deadline_s = 0.0
            self.state = advance(self.state, Event.FINISH)
            self._shared.owner.freed(self)

    def response(self, request_id: str, content_type: str, body: bytes) -> None:
        if self.work is not None:
            self._complete(body, content_type, False, None, None, "success")

    def error(self, request_id: str, error_type: str, body: bytes) -> None:
        if self.work is not None:
            self._complete(body, "application/json", True, error_type, None, "error")

    def init_error(self, error_type: str, body: bytes) -> None:
        if self._init is not None and not self._init.done():
            self._init.set_result(("error", (error_type, body)))

    def response_too_large(self, request_id: str, size: int) -> None:
        if self.work is not None:
            error_type = "Function.ResponseSizeTooLarge"
            self._complete(RESPONSE_TOO_LARGE, "application/json", True, error_type, error_type, "error")

    def response_refused(self, request_id: str, error_type: str) -> None:
        if self.work is not None:
            body = document(error_type, self.work.event.request_id, "The runtime's response could not be read")
            self._complete(body, "application/json", True, error_type, error_type, "error")
            self._break()

    def gone(self) -> None:
        """The channel closed. The exit that normally follows tells why; a runtime that lives on without it is ended."""
        if self._gone_timer is None and self._has_program and not self._exit_seen.is_set():
            self._gone_timer = self._loop.call_later(GONE_GRACE_S, self._on_gone_for_good)

    # --- what happens inside -----------------------------------------------------------------------------------

    def _on_gone_for_good(self) -> None:
        self._gone_timer = None
        if not self._exit_seen.is_set() and self._has_program:
            self._on_exit(Exit(0, None, out_of_memory=False))

    def _on_exit(self, exit_: Exit) -> None:
        if self._exit_seen.is_set():
            return
        self._exit_seen.set()
        self.is_warm = False
        if self._gone_timer is not None:
            self._gone_timer.cancel()
            self._gone_timer = None
        if self._init is not None:
            if not self._init.done():
                self._init.set_result(("exit", exit_))
        elif self._shared.is_lost():
            if self.work is not None:
                self._fault("the sandbox was lost")
            self._shared.owner.retire(self, "lost")
        elif self.work is not None:
            error_type, body = self._describe("exit", exit_, self.work.event.request_id)
            self._complete(body, "application/json", True, error_type, error_type, "error")
            self._break()
        elif self.state in (State.INVOKING, State.IDLE):
            self._break()

    def _on_timer(self) -> None:
        """The timer of an earlier attempt, or of this one: it is not set and cancelled for each, which costs more than
        all of the state's moves, but looks at the deadline that holds now."""
        self._timer = None
        if self._deadline_s == 0.0:
            return
        left_s = self._deadline_s - self._loop.time()
        if left_s > 0:
            self._timer = self._loop.call_later(left_s, self._on_timer)
        else:
            self._on_deadline()

    def _on_deadline(self) -> None:
        work = self.work
        if work is None:
            if self.state is State.INVOKING:  # it answered, and then never asked for the next event
                self._break()
            return
        if self._channel is not None:
            self._channel.abandon()
        body = timed_out(work.event.request_id, work.timeout_s)
        self._complete(body, "application/json", True, "Sandbox.Timedout", None, "timeout")
        self._break()

    def _complete(
        self,
        body: bytes,
        content_type: str,
        function_error: bool,
        error_type: str | None,
        report_error: str | None,
        status: Literal["success", "error", "timeout", "failure"],
    ) -> None:
        """End the running attempt: everything it printed and used, then its result. The deadline stays in force until
        the runtime asks for its next event: an environment that answers and then does nothing else is not lost."""
        work = self.work
        assert work is not None
        assert self._sandbox is not None
        self.answered_ns = self._clock.monotonic_ns()
        duration_us = (self.answered_ns - self.started_ns) // 1_000
        if status == "timeout":
            duration_us = round(work.timeout_s * 1_000_000)  # a timer that fires late is not billed
        if self._part_timer is not None:
            self._part_timer.cancel()
            self._part_timer = None
        if self._log_fd >= 0:
            self._drain_log()
        memory_mb = self.version.configuration.memory_mb
        peak_mb = min(-(-self._sandbox.peak_bytes() // 1_048_576), memory_mb)
        self.peak_mb = peak_mb
        init_us, self._init_us = self._init_us, None
        result = Result(
            work=work,
            body=body,
            content_type=content_type,
            function_error=function_error,
            error_type=error_type,
            report_error=report_error,
            status=status,
            duration_us=duration_us,
            init_us=init_us,
            started_ms=self._started_ms,
            memory_peak_mb=memory_mb if error_type == "Runtime.OutOfMemory" else peak_mb,
            lines=self._take_lines(),
            earlier=self._earlier,
            origin=self.origin,
        )
        self._earlier = b""
        self.work = None
        if self._asks_itself and self.state is State.INVOKING:
            self._shared.owner.finishing(self)
        work.finish(result)

    def _fault(self, text: str) -> None:
        """End the running attempt without a function result: ours is the failure."""
        work = self.work
        assert work is not None
        self._cancel_deadline()
        self.work = None
        work.fail(text)

    def _cancel_deadline(self) -> None:
        self._deadline_s = 0.0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _describe(self, kind: str, detail: Any, request_id: str) -> tuple[str, bytes]:
        """(error type, document) of an init that did not end in `ready`."""
        if kind == "error":
            error_type, body = detail
            return error_type, body
        error_type, text = detail if kind == "refused" else describe_exit(detail)
        return error_type, document(error_type, request_id, text)

    # --- reset -------------------------------------------------------------------------------------------------

    def _break(self) -> None:
        """The runtime is lost: replace the process tree, keep the sandbox and its /tmp."""
        self._cancel_deadline()
        if self.state is State.STOPPING:
            return
        if self.is_provisioned:
            self._shared.owner.retire(self, "lost its runtime")  # another one is initialised in its place
            return
        self._shared.owner.broke(self)
        self.state = advance(self.state, Event.BREAK)
        self._job = self._shared.owner.supervise(self._reset(), f"reset {self.id}")

    async def _reset(self) -> None:
        try:
            await self._end_runtime()
        except Exception as error:  # a supervisor's: an environment that can't be reset is replaced
            log.warning("environment %s could not be reset: %s", self.id, error)
            self._shared.owner.retire(self, f"reset: {error}")
            return
        self.state = advance(self.state, Event.RESET_DONE)
        if self.state is State.IDLE:
            self._shared.owner.freed(self)

    async def _end_runtime(self) -> None:
        """Kill every process inside and release the channel and the log pipe."""
        assert self._sandbox is not None
        self.is_warm = False
        if self._freezing is not None:
            await asyncio.wait([self._freezing])
        async with self._steps:
            self._close_channel()
            if self._waiting is not None:  # nothing of the function could be started in it
                self._waiting.close()
                self._waiting = None
            await self._sandbox.reset()
        self.is_frozen = False
        self._has_program = False
        if self._log_fd >= 0:
            self._drain_log()
        self._close_log()

    def _close_channel(self) -> None:
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        if self._gone_timer is not None:
            self._gone_timer.cancel()
            self._gone_timer = None

    # --- log ---------------------------------------------------------------------------------------------------

    def _on_log(self) -> None:
        """Readable: one read, so that a chatty function can't keep the loop to itself."""
        try:
            data = os.read(self._log_fd, LOG_READ_BYTES)
        except BlockingIOError:
            return
        if not data:
            self._loop.remove_reader(self._log_fd)
            return
        self._splitter.feed(data, self._clock.wall_ms(), self._clock.monotonic_ns())
        if self.state is State.STARTING:
            return  # belongs into the record of the init phase
        if self._splitter.pending_bytes >= PART_BYTES:
            self._write_part()
        elif self._part_timer is None:
            self._part_timer = self._loop.call_later(PART_DELAY_S, self._write_part)

    def _write_part(self) -> None:
        """Write down what was printed so far, by a running attempt or, between two, by threads that outlive their answer:
        bounds memory, and a follower sees it."""
        if self._part_timer is not None:
            self._part_timer.cancel()
            self._part_timer = None
        work = self.work
        lines = self._splitter.take()
        if not lines:
            return
        if work is None:
            self._write_events(lines)
            return
        part = AttemptPart(self.origin, work.event.request_id, self._started_ms, lines, is_first=not self._earlier)
        self._earlier = (self._earlier + b"".join(line for _, line in part_events(part)))[-TAIL_BYTES_MAX:]
        self._shared.owner.record(part)

    def _drain_log(self) -> None:
        """Everything that lies in the pipe now: the runtime wrote it before it answered."""
        taken = 0
        while taken < LOG_DRAIN_BYTES_MAX:
            try:
                data = os.read(self._log_fd, LOG_READ_BYTES)
            except BlockingIOError:
                return
            if not data:
                return
            taken += len(data)
            self._splitter.feed(data, self._clock.wall_ms(), self._clock.monotonic_ns())
            if len(data) < LOG_READ_BYTES:
                return  # a short read emptied the pipe; a full one may have more behind it

    def _take_lines(self) -> list[LogLine]:
        self._splitter.flush(self._clock.wall_ms())
        return self._splitter.take()

    def _write_rest(self) -> None:
        """What was printed after the last attempt, by threads or on the way down, still belongs to the stream."""
        lines = self._take_lines()
        if lines:
            self._write_events(lines)

    def _write_events(self, lines: list[LogLine]) -> None:
        o = self.origin
        self._shared.owner.record(
            UserEvents(o.account, o.region, o.log_group, o.log_stream, lines, self._clock.wall_ms())
        )

    def _close_log(self) -> None:
        if self._log_fd >= 0:
            self._loop.remove_reader(self._log_fd)
            os.close(self._log_fd)
            self._log_fd = -1
