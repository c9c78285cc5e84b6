"""All execution environments of a node: who gets which, when one is made, frozen and retired.

`submit` is synchronous: an idle environment is leased and run in the same step. Everything slow (building a sandbox,
init, tear-down) happens in supervised tasks off the request path.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from typing import Any

from ..domain.clock import Clock
from ..domain.errors import ServiceFault
from ..domain.ids import new_uuid
from ..domain.limits import INIT_LIMIT_S
from ..domain.names import FunctionRef
from ..functions.model import Change, FunctionVersion
from ..sandbox.port import SandboxDriver, SandboxError
from ..telemetry.attempt import AttemptPart, InitRecord, Origin, UserEvents
from ..telemetry.lines import LineSplitter
from .blanks import Blanks
from .environment import Environment, Surroundings
from .lifecycle import Event, State, advance
from .plan import Blueprint, Blueprints, Carriers
from .pool import Pool
from .work import Work

FREEZE_AFTER_S = 0.02
"""An environment that has been idle this long is frozen: background work stops, a next request a moment later doesn't
pay for a thaw."""
FINISH_GRACE_S = 0.02
"""How long a request waits for a runtime that has answered to ask for its next event, before an environment is started
for it: runtimes ask within a fraction of a millisecond, and some only when they have done other work."""
WAITS_IN_A_ROW_MAX = 32
"""Requests in a row that found a runtime between its answer and its next question; then traffic is steady enough for a
spare, and the one works while the other asks."""
SWEEP_EVERY_S = 1.0
WAIT_S_MAX = 60.0
"""How long accepted work waits for an environment on a full node before it is answered as a failure of the service."""

log = logging.getLogger("lambent.environments")


@dataclass(frozen=True, slots=True)
class EnvironmentLimits:
    environments_max: int
    idle_timeout_s: float
    freeze_after_s: float = FREEZE_AFTER_S
    is_frozen_when_idle: bool = True
    blanks: int = 0
    """Sandboxes kept ready for the next cold start, of each image in use."""
    init_limit_s: float = INIT_LIMIT_S
    wait_s_max: float = WAIT_S_MAX


@dataclass(slots=True, eq=False)
class Entry:
    """One version's pool."""

    version: FunctionVersion
    pool: Pool[Environment, tuple[int, Work]]
    blueprint: Blueprint
    is_obsolete: bool = False
    waits: int = 0
    """Requests in a row that waited for a runtime to ask for its next event."""
    is_starved: bool = False
    """Waits for room: stands in the node's line of starved entries."""


class Environments:
    """See the module's text."""

    def __init__(
        self,
        *,
        driver: SandboxDriver,
        carriers: Carriers,
        blueprints: Blueprints,
        clock: Clock,
        new_splitter: Callable[[FunctionVersion], LineSplitter],
        record: Callable[[InitRecord | AttemptPart | UserEvents], None],
        current: Callable[[FunctionRef, str], FunctionVersion | None],
        limits: EnvironmentLimits,
    ) -> None:
        """current: the version that serves a function's qualifier now, None when it is gone."""
        self._blueprints = blueprints
        self._clock = clock
        self._record = record
        self._current = current
        self._limits = limits
        self._blanks = Blanks(driver, clock, limits.blanks, self.supervise)
        gone: asyncio.Future[None] | None = getattr(driver, "gone", None)
        self._shared = Surroundings(
            blanks=self._blanks,
            carriers=carriers,
            clock=clock,
            new_splitter=new_splitter,
            owner=self,
            init_limit_s=limits.init_limit_s,
            is_lost=lambda: gone is not None and gone.done(),
        )
        self._entries: dict[tuple[FunctionRef, str, int], Entry] = {}
        self._by_version: dict[int, Entry] = {}
        self._count = 0
        self._ending = 0
        self._opening: set[Environment] = set()
        self._starved: deque[Entry] = deque()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._to_freeze: list[Environment] = []
        self._freezer: asyncio.TimerHandle | None = None
        self._sweeper: asyncio.Task[None] | None = None
        self.is_closing = False
        self.cold_starts = 0

    # --- the request path --------------------------------------------------------------------------------------

    def entry(self, version: FunctionVersion) -> Entry:
        """The pool of a version. Raises RuntimeMissing when this machine can't run it."""
        entry = self._by_version.get(id(version))
        if entry is not None:
            return entry
        key = (version.ref, version.version, version.generation)
        entry = self._entries.get(key)
        if entry is None:
            entry = self._entries[key] = Entry(version, Pool(), self._blueprints.blueprint(version))
        else:
            self._by_version.pop(id(entry.version), None)
            entry.version = version  # keeps the value alive, and with it the id it is found by
        self._by_version[id(version)] = entry
        return entry

    def submit(self, entry: Entry, work: Work) -> None:
        """Run work now, or as soon as an environment is ready for it."""
        environment = entry.pool.lease()
        if environment is not None:
            entry.waits = 0
            environment.lease()
            environment.run(work)
            return
        missing = entry.pool.wait((self._clock.monotonic_ns(), work))
        self._start(entry, missing)
        if missing == 0 and entry.pool.mending:
            entry.waits += 1
            if entry.waits >= WAITS_IN_A_ROW_MAX:
                entry.waits = 0
                self._start(entry, 1)
            else:
                asyncio.get_running_loop().call_later(FINISH_GRACE_S, self._count_again, entry)

    def _start(self, entry: Entry, wanted: int) -> None:
        for _ in range(wanted):
            if not self.can_grow:
                if not entry.is_starved:
                    entry.is_starved = True
                    self._starved.append(entry)
                    self._evict_one()  # its place is free only once it is gone; `_stop` then serves the starved
                return
            self._count += 1
            entry.pool.start_begins()
            self.supervise(self._open(entry), f"open {entry.version.ref.name}")

    async def _open(self, entry: Entry) -> None:
        version = entry.version
        environment = Environment(version, self._origin(version), entry.blueprint, self._shared)
        self.cold_starts += 1
        self._opening.add(environment)
        try:
            await environment.open()
        except Exception as error:
            # Whatever broke, somebody waits for this environment: one waiting request is told, none waits for ever.
            if isinstance(error, SandboxError):
                log.error("no environment for %s: %s", version.arn, error)
            else:
                log.error("no environment for %s", version.arn, exc_info=error)
            entry.pool.start_ends(None)
            self._fail_one(entry, f"no execution environment could be made: {error}")
            self.retire(environment, "never opened")
            return
        except asyncio.CancelledError:
            entry.pool.start_ends(None)
            self.retire(environment, "never opened")
            raise
        finally:
            self._opening.discard(environment)
        is_usable = environment.state is State.IDLE  # a STOP may have come meanwhile
        entry.pool.start_ends(environment if is_usable else None)
        if is_usable:
            self.freed(environment)

    def _fail_one(self, entry: Entry, text: str) -> None:
        if entry.pool.waiting:
            _, work = entry.pool.waiting.popleft()
            work.fail(text)

    def _origin(self, version: FunctionVersion) -> Origin:
        configuration = version.configuration
        environment = new_uuid().replace("-", "")
        day = _utc_day(self._clock.wall_ms())
        group = configuration.logging.group
        if group == f"/aws/lambda/{version.ref.name}":
            stream = f"{day}/[{version.version}]{environment}"
        else:
            stream = f"{day}/{version.ref.name}[{version.version}][{environment}]"
        return Origin(
            account=version.ref.account,
            region=version.ref.region,
            function=version.ref.name,
            version=version.version,
            environment=environment,
            log_group=group,
            log_stream=stream,
            memory_mb=configuration.memory_mb,
            architecture=configuration.architecture,
            ephemeral_mb=configuration.ephemeral_mb,
            log_format=configuration.logging.format,
            system_log_level=configuration.logging.system_level or "INFO",
        )

    # --- Owner -------------------------------------------------------------------------------------------------

    def freed(self, environment: Environment) -> None:
        """An environment can take work: the longest waiting, or none."""
        entry = self._entry_of(environment)
        if environment.state is not State.IDLE:
            return
        if entry is None or (entry.is_obsolete and not entry.pool.waiting) or self.is_closing:
            self.retire(environment, "obsolete" if not self.is_closing else "closing")
            return
        waiting = entry.pool.free(environment, self._clock.monotonic_ns())
        if waiting is not None:
            environment.lease()
            environment.run(waiting[1])
        elif self._is_starving() and self._ending < len(self._starved):
            self._evict_one()  # one for each that waits for room: tear-down takes milliseconds, and others are freed then
        elif self._limits.is_frozen_when_idle and not environment.awaits_freeze:
            environment.awaits_freeze = True
            self._to_freeze.append(environment)
            if self._freezer is None:
                self._freezer = asyncio.get_running_loop().call_later(self._limits.freeze_after_s, self._freeze_idle)

    def broke(self, environment: Environment) -> None:
        entry = self._entry_of(environment)
        if entry is not None:
            entry.pool.mend(environment)

    def finishing(self, environment: Environment) -> None:
        """Whoever comes now may count on it for a moment, instead of starting an environment of its own."""
        entry = self._entry_of(environment)
        if entry is not None:
            entry.pool.mend(environment)

    def _count_again(self, entry: Entry) -> None:
        """Those who waited for a runtime to ask for its next event have waited long enough."""
        for environment in list(entry.pool.mending):
            if environment.state is State.INVOKING:
                entry.pool.mending.discard(environment)
        self._replenish(entry)

    def retire(self, environment: Environment, reason: str) -> None:
        """Take an environment out and tear it down in the background."""
        if environment.state in (State.STOPPING, State.GONE):
            return
        entry = self._entry_of(environment)
        if entry is not None:
            entry.pool.leave(environment)
        environment.state = advance(environment.state, Event.STOP)
        self._ending += 1
        log.debug("environment %s of %s retires: %s", environment.id, environment.version.arn, reason)
        self.supervise(self._stop(environment), f"stop {environment.id}")

    async def _stop(self, environment: Environment) -> None:
        try:
            await environment.stop()
        except SandboxError as error:
            log.error("environment %s was not torn down cleanly: %s", environment.id, error)
        finally:
            self._count -= 1
            self._ending -= 1
            entry = self._entry_of(environment)
            if entry is not None:
                self._replenish(entry)
                self._forget_if_done(entry)
            while self.can_grow and self._is_starving():
                starved = self._starved.popleft()
                starved.is_starved = False
                self._replenish(starved)

    def _replenish(self, entry: Entry) -> None:
        """Waiting work always has an environment on its way; a busy one may stay busy for a quarter of an hour."""
        missing = entry.pool.missing
        if missing > 0 and not self.is_closing:
            self._start(entry, missing)

    def record(self, record: InitRecord | AttemptPart | UserEvents) -> None:
        """Log output outside an attempt's own record. What the disk doesn't take is lost, and said; nothing billed is in
        it."""
        try:
            self._record(record)
        except ServiceFault as error:
            log.error("log output of %s could not be written: %s", type(record).__name__, error)

    def supervise(self, coroutine: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Run a task that nobody awaits; its failure is logged, and it is waited for at the end."""
        task = asyncio.get_running_loop().create_task(coroutine, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return task

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("task %s failed", task.get_name(), exc_info=error)

    # --- keeping -----------------------------------------------------------------------------------------------

    def on_change(self, change: Change) -> None:
        """A function was updated or deleted: environments of what no longer serves take no new work."""
        for entry in self._of(change.ref):
            now = self._current(change.ref, entry.version.version)
            if now is not None and now.generation == entry.version.generation:
                continue
            entry.is_obsolete = True
            for environment in entry.pool.idle_members():
                self.retire(environment, "obsolete")
            self._forget_if_done(entry)

    def _of(self, ref: FunctionRef) -> list[Entry]:
        return [entry for (r, _, _), entry in self._entries.items() if r == ref]

    def _forget_if_done(self, entry: Entry) -> None:
        if entry.is_obsolete and entry.pool.is_empty:
            version = entry.version
            self._entries.pop((version.ref, version.version, version.generation), None)
            self._by_version.pop(id(version), None)

    def _freeze_idle(self) -> None:
        """Freeze what has been idle long enough. Only environments that became idle lately are looked at: thousands
        that sleep already cost nothing."""
        self._freezer = None
        before_ns = self._clock.monotonic_ns() - int(self._limits.freeze_after_s * 1_000_000_000)
        looked_at, self._to_freeze = self._to_freeze, []
        for environment in looked_at:
            if environment.state is State.IDLE and environment.idle_since_ns > before_ns:
                self._to_freeze.append(environment)
                continue
            environment.awaits_freeze = False  # one that is busy comes back when it is idle again
            environment.request_freeze()
        if self._to_freeze:
            self._freezer = asyncio.get_running_loop().call_later(self._limits.freeze_after_s, self._freeze_idle)

    def _is_starving(self) -> bool:
        """Whether somebody waits for room; those who were served meanwhile leave the line."""
        while self._starved and not self._starved[0].pool.waiting:
            self._starved.popleft().is_starved = False
        return bool(self._starved)

    def _evict_one(self) -> None:
        """Retire the environment that has been idle longest, whoever's it is, if any is."""
        idle = [e for entry in self._entries.values() for e in entry.pool.idle_members()]
        if idle:
            self.retire(min(idle, key=lambda e: e.idle_since_ns), "room is needed")

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_EVERY_S)
            await self._blanks.sweep()
            now_ns = self._clock.monotonic_ns()
            idle_before_ns = now_ns - int(self._limits.idle_timeout_s * 1_000_000_000)
            waited_before_ns = now_ns - int(self._limits.wait_s_max * 1_000_000_000)
            for entry in list(self._entries.values()):
                for environment in entry.pool.idle_before(idle_before_ns):
                    self.retire(environment, "idle")
                while entry.pool.waiting and entry.pool.waiting[0][0] < waited_before_ns:
                    limit_s = self._limits.wait_s_max
                    self._fail_one(entry, f"no environment became free within {limit_s:g} s: this node is full")

    def start(self) -> None:
        """Begin keeping: call once, on the event loop."""
        self._sweeper = asyncio.get_running_loop().create_task(self._sweep(), name="sweep environments")

    async def close(self) -> None:
        """Retire everything and wait until it is gone."""
        self.is_closing = True
        if self._sweeper is not None:
            self._sweeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._sweeper
        if self._freezer is not None:
            self._freezer.cancel()
        for entry in self._entries.values():
            while entry.pool.waiting:
                self._fail_one(entry, "the server is shutting down")
            for environment in list(entry.pool.members):
                self.retire(environment, "closing")
        for environment in list(self._opening):
            self.retire(environment, "closing")
        await self._blanks.close()
        while self._tasks:
            await asyncio.wait(list(self._tasks))

    # --- views -------------------------------------------------------------------------------------------------

    @property
    def count(self) -> int:
        """Environments that exist, those being made and torn down included."""
        return self._count

    @property
    def can_grow(self) -> bool:
        """Whether one more environment may be made."""
        return self._count < self._limits.environments_max

    def all(self) -> Iterable[Environment]:
        """Every environment that has been opened and not yet retired."""
        return [e for entry in self._entries.values() for e in entry.pool.members]

    def _entry_of(self, environment: Environment) -> Entry | None:
        version = environment.version
        return self._entries.get((version.ref, version.version, version.generation))


def _utc_day(wall_ms: int) -> str:
    return time.strftime("%Y/%m/%d", time.gmtime(wall_ms / 1_000))
