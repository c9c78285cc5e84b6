"""What lives in one environment's sandbox: the program of its runtime, the channel to it, its extensions, what they print.

A runtime has one life after another in the same sandbox: it starts, by itself or by taking one over that has waited or was
copied; its init phase ends in one `Outcome`; it works, and is frozen between; it ends, by itself or because it is ended,
and then everything inside is killed and `/tmp` stays. Nothing here knows of attempts: those are the environment's, which
hears of the runtime's words as a `RuntimeSink` and of everything else as a `Host`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import Sequence
from typing import Any, Literal, Protocol

from ..domain.limits import MEMORY_MB_PER_VCPU, RESTORE_LIMIT_S
from ..functions.model import FunctionVersion
from ..sandbox.port import Binding, Command, Exit, Sandbox, SandboxDriver, SandboxError, Template
from ..telemetry.attempt import Origin
from ..telemetry.platform_lines import extension_events
from .blanks import WaitingRuntime
from .channel import ExtensionFacts, RuntimeChannel, RuntimeSink
from .copies import PreparedCopy
from .extensions import INIT_EXIT_GRACE_S, Extensions
from .output import Output, Running
from .plan import HTTP, Blueprint, Door, ExtensionProgram, StartPlan, binding_of, limits_of
from .surroundings import Surroundings

GONE_GRACE_S = 0.5
"""How long after the channel closed the exit is awaited before the runtime is killed."""
MUTE_END_S_MAX = 5.0
"""How long the exit of such a runtime is awaited then; only a machine that does not get to it takes longer."""
_WITHOUT_A_REASON = Exit(0, None, out_of_memory=False)

TEMPLATE_VARIABLE = "_LAMBENT_TEMPLATE"
"""Tells a runtime that it initialises to be copied."""

log = logging.getLogger("lambent.environments")

Outcome = tuple[Literal["ready", "snapshot", "error", "exit", "timeout", "refused", "extension"], Any]
"""How an init phase ended, and what there is to say of it; see `failures.describe_init`."""
EndReason = Literal["spindown", "timeout", "failure"]

KILLED: Outcome = ("exit", Exit(None, 9, out_of_memory=False))
"""Of an init phase that was broken off."""


class Host(RuntimeSink, Protocol):
    """The environment's side: what its runtime says, and what becomes of it outside of init phases."""

    @property
    def is_stopping(self) -> bool:
        """Nothing is started any more."""

    def exited(self, exit_: Exit) -> None:
        """The runtime's program has ended."""

    def extension_moved(self) -> None:
        """An extension asks for its next event."""

    def extension_ended(self, failure: tuple[str, str]) -> None:
        """An extension is lost: (error type, text)."""

    def unfit(self, reason: str) -> None:
        """The sandbox did not do as it was told: no work is to be given to this environment."""

    def running(self) -> Running | None:
        """The attempt that runs, for what is written down of it early."""


class Runtime:
    """See the module's text. Used on the event loop."""

    def __init__(
        self, host: Host, version: FunctionVersion, origin: Origin, blueprint: Blueprint, shared: Surroundings
    ) -> None:
        self._host = host
        self._version = version
        self._origin = origin
        self._blueprint = blueprint
        self._shared = shared
        self._loop = asyncio.get_running_loop()
        self.sandbox: Sandbox | None = None
        self.steps = asyncio.Lock()
        """Calls on the sandbox are made one after another."""
        self._waiting: WaitingRuntime | None = None
        """Came with the sandbox and has no function yet."""
        self._door: Door | None = None
        self.channel: RuntimeChannel | None = None
        self.extensions: Extensions | None = None
        """Of this life."""
        self.output = Output(origin, shared.clock, shared.new_splitter(version), shared.owner.record, host.running)
        self.init: asyncio.Future[Outcome] | None = None
        """Of the init phase that runs."""
        self.is_warm = False
        """It has finished its init, and lives."""
        self.is_frozen = False
        self.freezing: asyncio.Task[None] | None = None
        self.has_asked = False
        """It has asked for its next event."""
        self.asks_itself = False
        """It asks for its next event by a request of its own, some hundred microseconds after its answer."""
        self.exit_seen = asyncio.Event()
        self._has_program = False
        self._gone_timer: asyncio.TimerHandle | None = None
        self._mute: RuntimeChannel | None = None
        """The channel of one that was killed because it had closed it."""

    @property
    def is_stopping(self) -> bool:
        """The environment is to end: nothing is started any more."""
        return self._host.is_stopping

    # --- the sandbox -------------------------------------------------------------------------------------------

    async def build(self) -> tuple[StartPlan, bytes]:
        """Have a sandbox of this version's; answers how the runtime is started in it. Raises SandboxError."""
        blank = await self._shared.blanks.take(self._blueprint.image, limits_of(self._version), self._blueprint.waiting)
        self.sandbox = blank.sandbox
        self._waiting = blank.runtime
        return await self._bind(blank.sandbox, binding_of(self._version, self._blueprint))

    async def _bind(self, sandbox: Sandbox, binding: Binding) -> tuple[StartPlan, bytes]:
        """Have code and limits bound, and do meanwhile what does not wait for them: the door, the plan of the start, and
        what a runtime that waits is told."""
        bound = self._loop.create_task(sandbox.bind(binding))
        try:
            await asyncio.sleep(0)  # now it is on its way
            self._door = self._shared.carriers.open_door(sandbox, self._origin, self._version)
            self._door.on_runtime = self._take_over
            plan = self._blueprint.start(self._origin, sandbox.api_address)
            waits = self._waiting is not None
            assignment = self._shared.carriers.assignment(plan.env, plan.cwd) if waits else b""
            await bound
        finally:
            if not bound.done():
                bound.cancel()
                await asyncio.wait([bound])
        return plan, assignment

    def enter(self, sandbox: Sandbox) -> None:
        """Live in a sandbox that is bound already."""
        self.sandbox = sandbox
        self._door = self._shared.carriers.open_door(sandbox, self._origin, self._version)

    async def build_template(self, driver: SandboxDriver) -> Template:
        """Have a sandbox that can be copied. Raises SandboxError."""
        self.sandbox = sandbox = await driver.create_template(self._blueprint.image, limits_of(self._version))
        await sandbox.bind(binding_of(self._version, self._blueprint))
        self._door = self._shared.carriers.open_door(sandbox, self._origin, self._version, is_template=True)
        return sandbox

    # --- init --------------------------------------------------------------------------------------------------

    async def initialise(
        self, limit_s: float | None, start: tuple[StartPlan, bytes] | None = None, *, is_template: bool = False
    ) -> Outcome:
        """Start the runtime and wait until it asks for its first event, fails, ends, or `limit_s` is over.

        start: the plan, and what a runtime that waits is told, where they are known already. Raises SandboxError."""
        assert self.sandbox is not None
        if self.is_stopping:
            return KILLED
        if start is None:
            start = self._blueprint.start(self._origin, self.sandbox.api_address), b""
        plan, assignment = start
        if plan.refusal is not None:
            return "refused", plan.refusal
        waiting: asyncio.Future[Outcome] = self._loop.create_future()
        self.init = waiting
        self.has_asked = self.asks_itself = False
        self.exit_seen.clear()
        until_s = None if limit_s is None else self._loop.time() + limit_s
        self._open_extensions(plan.extensions)
        try:
            if plan.extensions and not await self._extensions_registered(plan.extensions, waiting, limit_s):
                return waiting.result() if waiting.done() else ("timeout", None)
            async with self.steps:
                if waiting.done():  # an extension has ended meanwhile, or the deadline has passed
                    return waiting.result()
                await self._start(plan, assignment, is_template=is_template)
            outcome = await self._init_outcome(waiting, until_s)
            if outcome[0] == "error":
                # The runtime said why; let it end by itself, so that what it still prints is logged.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(INIT_EXIT_GRACE_S):
                        await self.exit_seen.wait()
        finally:
            self.output.drain()
            self._note_extensions()
            if self.init is waiting:
                self.init = None
        if outcome[0] == "ready":
            self._becomes_warm()
        return outcome

    async def _start(self, plan: StartPlan, assignment: bytes, *, is_template: bool) -> None:
        assert self.sandbox is not None
        self.asks_itself = self.asks_itself or plan.carrier == HTTP
        theirs = None
        if self.channel is not None:
            pass  # taken over already
        elif plan.carrier == HTTP:
            assert self._door is not None
            self.channel = self._shared.carriers.open_http(self._host, self.sandbox, self._door)
        elif self._waiting is not None:
            self._adopt(self._waiting, assignment)
        else:
            self.channel, theirs = self._shared.carriers.open_frames(self._host)
        if not self._has_program:
            env = {**plan.env, TEMPLATE_VARIABLE: "1"} if is_template else plan.env
            command = Command(plan.argv, env, plan.cwd, theirs)
            self.output.attach(await self.sandbox.start(command, self.ended))
            self._has_program = True

    def _adopt(self, waiting: WaitingRuntime, assignment: bytes) -> None:
        """The runtime that has waited in the blank becomes this environment's."""
        self._waiting = None
        self._has_program = True
        ours, log_fd = waiting.adopt(self.ended)
        self.output.attach(log_fd)
        self.channel = self._shared.carriers.adopt_frames(self._host, ours, assignment)

    async def _init_outcome(self, waiting: asyncio.Future[Outcome], until_s: float | None) -> Outcome:
        try:
            async with asyncio.timeout_at(until_s):
                return await waiting
        except TimeoutError:
            return "timeout", None

    def settle(self, outcome: Outcome) -> None:
        """End the init phase, if one runs that has not ended."""
        if self.init is not None and not self.init.done():
            self.init.set_result(outcome)

    def asked_first(self) -> None:
        """It asks for its first event, in an init phase."""
        assert self.extensions is not None
        self.extensions.channel.close_registration()
        self._look_whether_initialised()

    def _look_whether_initialised(self) -> None:
        """Init is over when the runtime and each extension have asked for their first events."""
        assert self.extensions is not None
        if self.has_asked and self.extensions.channel.is_ready:
            self.settle(("ready", None))

    def _becomes_warm(self) -> None:
        self.is_warm = True
        # Not awaited: whoever waits for this environment would, and the order among the sandbox's calls is kept.
        self._shared.owner.supervise(self._limit_cpu(), f"limit {self._origin.environment}")

    async def _limit_cpu(self) -> None:
        """Full speed ends with init."""
        async with self.steps:
            if self.sandbox is None or self.is_stopping:
                return
            try:
                await self.sandbox.set_cpu(self._version.configuration.memory_mb / MEMORY_MB_PER_VCPU)
            except SandboxError as error:
                if not self._shared.is_lost():
                    self._host.unfit(f"its CPU share could not be set: {error}")

    def _take_over(self) -> None:
        """Somebody asks for events over HTTP where our own client is expected: a wrapper runs another program in its place,
        or an extension is the runtime. From now on, and for this life, that is the runtime."""
        if self.init is None or self.init.done() or self.has_asked:
            return
        assert self.sandbox is not None
        assert self._door is not None
        if self.channel is not None:
            self.channel.close()
        self.channel = self._shared.carriers.open_http(self._host, self.sandbox, self._door)
        self.asks_itself = True

    async def restore(self, prepared: PreparedCopy, forking: asyncio.Lock) -> tuple[Outcome, int]:
        """Take over a copy of a template's runtime and wait until it asks for its first event, or RESTORE_LIMIT_S is over;
        the second number says when it was forked. Raises SandboxError."""
        waiting: asyncio.Future[Outcome] = self._loop.create_future()
        self.exit_seen.clear()
        self.has_asked = False
        self._open_extensions(())
        async with self.steps:
            async with forking:
                runtime = await prepared.forked()
            self._has_program = True
            self.init = waiting
            ours, log_fd = runtime.adopt(self.ended)
            forked_ns = self._shared.clock.monotonic_ns()
            self.output.attach(log_fd)
            self.channel = self._shared.carriers.restore_frames(self._host, ours)
        try:
            outcome = await self._init_outcome(waiting, self._loop.time() + RESTORE_LIMIT_S)
        finally:
            self.init = None
        self.output.drain()
        if outcome[0] == "ready":
            self._becomes_warm()
        return outcome, forked_ns

    # --- extensions --------------------------------------------------------------------------------------------

    def _open_extensions(self, programs: Sequence[ExtensionProgram]) -> None:
        """Whoever calls the Extensions API from now on belongs to this life of the runtime."""
        door, origin, version = self._door, self._origin, self._version
        assert door is not None
        facts = ExtensionFacts(origin.account, origin.function, origin.version, version.configuration.handler or "")
        external = [program.name for program in programs]
        self.extensions = Extensions(
            lambda sink: self._shared.carriers.open_extensions(sink, door, facts, external),
            self._shared.clock,
            lambda: self._shared.new_splitter(version),
            self.output.printed,
            self._extension_moved,
            self._extension_ended,
        )
        self.output.follow(self.extensions)

    async def _extensions_registered(
        self, programs: Sequence[ExtensionProgram], waiting: asyncio.Future[Outcome], limit_s: float | None
    ) -> bool:
        """Start the external ones and wait until each has registered. False: one failed, or `limit_s` is over."""
        assert self.extensions is not None
        assert self.sandbox is not None
        async with self.steps:
            await self.extensions.start(self.sandbox, programs)
        return await self.extensions.registered(waiting, limit_s)

    def _extension_moved(self) -> None:
        if self.init is not None:
            self._look_whether_initialised()
        else:
            self._host.extension_moved()

    def _extension_ended(self, failure: tuple[str, str]) -> None:
        """One is lost, and with it the invocation or the init: (error type, text)."""
        if self.init is not None:
            self.settle(("extension", failure))
        else:
            self._host.extension_ended(failure)

    def _note_extensions(self) -> None:
        """How each fared in init, for the log."""
        assert self.extensions is not None
        if self.extensions.channel.count:
            statuses = self.extensions.channel.statuses()
            self.output.add(extension_events(self._origin, self._shared.clock.wall_ms(), statuses))

    # --- between attempts --------------------------------------------------------------------------------------

    def request_freeze(self) -> None:
        """Stop the processes inside; nothing to do where nothing lives or all is stopped."""
        if not self.is_warm or self.is_frozen or self.freezing is not None:
            return
        assert self.sandbox is not None
        if not self.steps.locked() and self.sandbox.freeze_now():
            self.is_frozen = True
        else:
            self.freezing = self._shared.owner.supervise(self._freeze(), f"freeze {self._origin.environment}")

    async def _freeze(self) -> None:
        try:
            assert self.sandbox is not None
            self.is_frozen = True  # also when it fails half way: some processes may have stopped
            async with self.steps:
                await self.sandbox.freeze()
        except SandboxError as error:
            log.info("environment %s was not wholly frozen: %s", self._origin.environment, error)
        finally:
            self.freezing = None

    def thaw_now(self) -> bool:
        """Have the processes inside go on, in this step; False where it takes more than that."""
        if self.freezing is not None or self.steps.locked():
            return False
        if self.is_frozen:
            assert self.sandbox is not None
            self.is_frozen = not self.sandbox.thaw_now()
        return not self.is_frozen

    async def thaw(self) -> None:
        """Have the processes inside go on, if they were stopped or are being stopped. Raises SandboxError."""
        if self.freezing is not None:
            await asyncio.wait([self.freezing])
        if self.is_frozen:
            assert self.sandbox is not None
            async with self.steps:
                await self.sandbox.thaw()
            self.is_frozen = False

    # --- its end -----------------------------------------------------------------------------------------------

    def gone(self) -> None:
        """The channel closed. The exit that normally follows tells why; a runtime that lives on without it is ended."""
        if self._gone_timer is None and self._has_program and not self.exit_seen.is_set():
            self._gone_timer = self._loop.call_later(GONE_GRACE_S, self._on_gone_for_good)

    def _on_gone_for_good(self) -> None:
        self._gone_timer = None
        if not self.exit_seen.is_set() and self._has_program:
            name = f"end the runtime of {self._origin.environment}"
            self._shared.owner.supervise(self._end_the_mute(), name)

    async def _end_the_mute(self) -> None:
        """Kill a runtime that lives on without its channel. One that has ended, on a machine too busy to say so by now, is
        not there to be killed, and its own exit is told."""
        channel = self._mute = self.channel
        if channel is None or self.sandbox is None:
            return
        with contextlib.suppress(SandboxError, TimeoutError):
            async with asyncio.timeout(MUTE_END_S_MAX):
                async with self.steps:
                    await self.sandbox.signal("runtime", signal.SIGKILL)
                await self.exit_seen.wait()
        if self.channel is channel:  # else it is over, and another runtime may live here already
            self.ended(_WITHOUT_A_REASON)

    def ended(self, exit_: Exit) -> None:
        """The program has ended; told by the sandbox, once for each life."""
        if self.exit_seen.is_set():
            return
        if self._mute is not None and self._mute is self.channel and exit_.signal == signal.SIGKILL:
            exit_ = exit_ if exit_.out_of_memory else _WITHOUT_A_REASON  # it was we who killed it
        self.exit_seen.set()
        self.is_warm = False
        self._forget_gone()
        if self.init is None:
            self._host.exited(exit_)
            return
        if not self.init.done() and self.channel is not None:
            self.channel.read_rest()  # why it failed may lie unread
        self.settle(("exit", exit_))

    def _forget_gone(self) -> None:
        if self._gone_timer is not None:
            self._gone_timer.cancel()
            self._gone_timer = None

    async def end(self, reason: EndReason) -> None:
        """End this life: kill every process inside, release the channel and the log pipe. Extensions are told the reason.
        Raises SandboxError."""
        assert self.sandbox is not None
        self.is_warm = False
        self.settle(KILLED)
        if self.freezing is not None:
            await asyncio.wait([self.freezing])
        await self._shut_down(reason)
        async with self.steps:
            self._hang_up()  # of what waited, nothing of the function could be started in it
            await self.sandbox.reset()
        self.is_frozen = False
        self._has_program = False
        self.output.drain()
        if self.extensions is not None:
            self.extensions.close()
        self.output.close()

    async def destroy(self) -> None:
        """The last end: the sandbox goes, and everything with it. Raises SandboxError when it was not removed cleanly."""
        with contextlib.suppress(SandboxError):  # whoever can't be asked to end is ended below
            await self._shut_down("spindown")
        self._hang_up()
        if self._door is not None:
            self._door.close()
        self.output.drain()
        try:
            if self.sandbox is not None:
                await self.sandbox.destroy()
        finally:
            if self.extensions is not None:
                self.extensions.close()
            self.output.close()
            self.is_warm = False

    async def _shut_down(self, reason: EndReason) -> None:
        """Give runtime and extensions their time to end, where there are extensions."""
        extensions = self.extensions
        if extensions is None or not extensions.channel.count or self.sandbox is None or self._shared.is_lost():
            return
        async with self.steps:
            if self.is_frozen:
                await self.sandbox.thaw()
                self.is_frozen = False
            is_alive = self._has_program and not self.exit_seen.is_set()
            await extensions.shut_down(self.sandbox, reason, self.exit_seen.wait if is_alive else None)

    def _hang_up(self) -> None:
        if self.channel is not None:
            self.channel.close()
            self.channel = None
        self._forget_gone()
        if self._waiting is not None:
            self._waiting.close()
            self._waiting = None
