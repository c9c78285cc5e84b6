"""All execution environments of a node: who gets which, when one is made, frozen and retired.

`submit` is synchronous: an idle environment is leased and run in the same step. Everything slow (building a sandbox,
init, tear-down) happens in supervised tasks off the request path.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import logging
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..domain.clock import Clock
from ..domain.errors import ServiceFault
from ..domain.ids import new_uuid
from ..domain.limits import INIT_LIMIT_S, TENANT_ENVIRONMENTS_PER_1000
from ..domain.names import FunctionRef, Scope
from ..functions.model import Change, FunctionVersion
from ..functions.provisioned import Wish
from ..sandbox.port import SandboxDriver, SandboxError
from ..telemetry.attempt import ON_DEMAND, PROVISIONED, AttemptPart, InitRecord, Origin, UserEvents
from ..telemetry.lines import LineSplitter
from .blanks import BlankLimits, Blanks
from .environment import Environment, Surroundings
from .keepalive import QUICK_S, History, commons, is_worth_keeping
from .lifecycle import Event, State, advance
from .plan import Blueprint, Blueprints, Carriers, RuntimeMissing
from .pool import Pool
from .provisioning import INIT_FAILED, RETRY_FIRST_S, Allocation, Provisioning, Standing
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

_QUICK_NS = round(QUICK_S * 1_000_000_000)

log = logging.getLogger("lambent.environments")


@dataclass(frozen=True, slots=True)
class EnvironmentLimits:
    environments_max: int
    idle_timeout_s: float
    """An idle environment is kept this long at most; `keepalive` decides whether it is worth it."""
    memory_budget_mb: int = 0
    """What all environments together should hold: the nearer they are, the more an idle one must be worth to be kept, and
    while they hold more, idle ones go. 0: no bound."""
    freeze_after_s: float = FREEZE_AFTER_S
    is_frozen_when_idle: bool = True
    blanks: int = 0
    """Sandboxes kept ready for the next cold start, of each image in use."""
    waiting_max: int = 0
    """Runtimes that wait in them for a function, of all images together."""
    init_limit_s: float = INIT_LIMIT_S
    wait_s_max: float = WAIT_S_MAX
    provision_retry_s: float = RETRY_FIRST_S
    """The pause after the first failed init of a provisioned environment."""
    tenant_environments_max: int = TENANT_ENVIRONMENTS_PER_1000
    """Environments that belong to a tenant, of one account in one region."""


@dataclass(slots=True, eq=False)
class Entry:
    """One version's pool, or with tenant isolation that of one tenant of it."""

    version: FunctionVersion
    pool: Pool[Environment, tuple[int, Work]]
    blueprint: Blueprint
    history: History
    tenant_id: str = ""
    allocation: Allocation | None = None
    """What of it is provisioned, if ever anything was."""
    grace: asyncio.TimerHandle | None = None
    """Runs while somebody waits for a runtime that has answered."""
    is_obsolete: bool = False
    waits: int = 0
    """Requests in a row that waited for a runtime to ask for its next event."""
    is_starved: bool = False
    """Waits for room: stands in the node's line of starved entries."""

    @property
    def key(self) -> tuple[FunctionRef, str, int, str]:
        """What it is found by."""
        version = self.version
        return version.ref, version.version, version.generation, self.tenant_id

    def idle_provisioned(self) -> list[Environment]:
        """Provisioned environments that are idle, the least recently used first."""
        return list(self.pool.provisioned)


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
        wishes: Callable[[FunctionRef], Mapping[str, Wish]] = lambda ref: {},
        allocated: Callable[[FunctionRef, int], None] = lambda ref, number: None,
    ) -> None:
        """current: the version that serves a function's qualifier now, None when it is gone.

        wishes: a function's provisioned concurrency by qualifier. allocated: told how many of a function's provisioned
        environments are there.
        """
        self._blueprints = blueprints
        self._clock = clock
        self._record = record
        self._current = current
        self._limits = limits
        self._blanks = Blanks(driver, clock, BlankLimits(limits.blanks, limits.waiting_max), self.supervise)
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
        self._provisioning = Provisioning(
            self,
            clock,
            environments_max=limits.environments_max,
            retry_first_s=limits.provision_retry_s,
            wishes=wishes,
            allocated=allocated,
        )
        self._common, self._common_of_tenants = commons(), commons()
        self._inherited: dict[FunctionRef, dict[str, History]] = {}
        """Of versions that were updated and not invoked since: who calls a function changes less than its code."""
        self._entries: dict[tuple[FunctionRef, str, int, str], Entry] = {}
        self._by_version: dict[int, Entry] = {}
        self._of_tenants: dict[Scope, set[Environment]] = {}
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

    def entry(self, version: FunctionVersion, tenant_id: str = "") -> Entry:
        """The pool of a version, or of one tenant of it. Raises RuntimeMissing when this machine can't run it."""
        if tenant_id:
            return self._entry(version, tenant_id)
        entry = self._by_version.get(id(version))
        if entry is not None:
            return entry
        known = self._entries.get((version.ref, version.version, version.generation, ""))
        entry = self._entry(version, "")
        if known is not None:
            self._by_version.pop(id(entry.version), None)
            entry.version = version  # keeps the value alive, and with it the id it is found by
        self._by_version[id(version)] = entry
        return entry

    def _entry(self, version: FunctionVersion, tenant_id: str) -> Entry:
        key = (version.ref, version.version, version.generation, tenant_id)
        entry = self._entries.get(key)
        if entry is None:
            blueprint = self._blueprints.blueprint(version)
            history = self._history(version, tenant_id)
            entry = self._entries[key] = Entry(version, Pool(), blueprint, history, tenant_id)
        return entry

    def _history(self, version: FunctionVersion, tenant_id: str) -> History:
        if tenant_id:  # callers name as many as they like: what is learned of them says nothing of functions
            return History(self._common_of_tenants, self._limits.idle_timeout_s)
        inherited = self._inherited.get(version.ref, {}).pop(version.version, None)
        return inherited or History(self._common, self._limits.idle_timeout_s)

    def expect(self, version: FunctionVersion) -> None:
        """A version that may be invoked soon: have what its cold start needs ready, where this machine can run it."""
        try:
            blueprint = self._blueprints.blueprint(version)
        except RuntimeMissing:
            return  # whoever invokes it is told
        self._blanks.expect(blueprint.image, blueprint.waiting)

    def submit(self, entry: Entry, work: Work) -> None:
        """Run work now, or as soon as an environment is ready for it."""
        environment = entry.pool.lease()
        if environment is not None:
            entry.waits = 0
            environment.lease()
            environment.run(work)
            idle_ns = environment.started_ns - environment.idle_since_ns
            if idle_ns >= _QUICK_NS and not environment.is_provisioned:
                pool = entry.pool
                entry.history.used(len(pool.members) - pool.idle - 1, idle_ns / 1_000_000_000)
            return
        missing = entry.pool.wait((self._clock.monotonic_ns(), work))
        self._start(entry, missing)
        if missing == 0 and entry.pool.mending:
            entry.waits += 1
            if entry.waits >= WAITS_IN_A_ROW_MAX:
                entry.waits = 0
                self._start(entry, 1)
            elif entry.grace is None:
                self._await_finishing(entry)

    def _start(self, entry: Entry, wanted: int) -> None:
        for _ in range(wanted):
            if not self.can_grow:
                if not entry.is_starved:
                    entry.is_starved = True
                    self._starved.append(entry)
                    self._evict_one()  # its place is free only once it is gone; `_stop` then serves the starved
                return
            if entry.tenant_id:
                self._bound_tenants(entry.version.ref.scope)
            self._count += 1
            entry.pool.start_begins()
            entry.history.missed(self._now_s())
            self.supervise(self._open(entry), f"open {entry.version.ref.name}")

    def _environment(self, entry: Entry, initialization: str = ON_DEMAND) -> Environment:
        version = entry.version
        environment = Environment(version, self._origin(entry, initialization), entry.blueprint, self._shared)
        environment.home = entry
        if entry.tenant_id:
            self._of_tenants.setdefault(version.ref.scope, set()).add(environment)
        return environment

    async def _open(self, entry: Entry) -> None:
        version = entry.version
        environment = self._environment(entry)
        self.cold_starts += 1
        self._opening.add(environment)
        began_s = self._now_s()
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
        if environment.is_warm:
            entry.history.started(self._now_s() - began_s)
        entry.pool.start_ends(environment if is_usable else None)
        if is_usable:
            self.freed(environment)

    def _fail_one(self, entry: Entry, text: str) -> None:
        if entry.pool.waiting:
            _, work = entry.pool.waiting.popleft()
            work.fail(text)

    def _origin(self, entry: Entry, initialization: str) -> Origin:
        version = entry.version
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
            initialization=initialization,
            tenant_id=entry.tenant_id,
        )

    def _bound_tenants(self, scope: Scope) -> None:
        """Before one more environment of a tenant: over the account's limit, the one that has been idle longest goes."""
        members = self._of_tenants.get(scope, ())
        if len(members) >= self._limits.tenant_environments_max:
            idle = [environment for environment in members if environment.state is State.IDLE]
            if idle:
                self.retire(
                    min(idle, key=lambda e: e.idle_since_ns), "the account's tenants have too many environments"
                )

    # --- provisioned -------------------------------------------------------------------------------------------

    def provision(self, ref: FunctionRef) -> None:
        """Have ready what a function's provisioned concurrency asks for."""
        self._provisioning.look(ref)

    def standing(self, ref: FunctionRef, qualifier: str) -> Standing:
        """How far a qualifier's provisioned concurrency is there."""
        return self._provisioning.standing(ref, qualifier)

    def find_home(self, ref: FunctionRef, version: str) -> Entry | None:
        """The pool of a version, None when there is no such version (any more). Raises RuntimeMissing."""
        current = self._current(ref, version)
        return None if current is None else self.entry(current)

    def start_provisioned(self, allocation: Allocation) -> None:
        """Open one for a version's allocation."""
        self._count += 1
        self.supervise(self._open_provisioned(allocation), f"open {allocation.ref.name}")

    async def _open_provisioned(self, allocation: Allocation) -> None:
        entry = allocation.home
        assert isinstance(entry, Entry)
        environment = self._environment(entry, PROVISIONED)
        self._opening.add(environment)
        refusal: str | None = "no execution environment could be made"
        try:
            await environment.open()
            refusal = None if environment.is_warm else INIT_FAILED
        except SandboxError as error:
            refusal = f"No execution environment could be made: {error}"
            log.error("no provisioned environment for %s: %s", entry.version.arn, error)
        finally:
            self._opening.discard(environment)
            if refusal is None and environment.state is State.IDLE:
                entry.pool.join(environment)
                self._provisioning.opened(allocation, environment)
                self.freed(environment)
            else:
                self.retire(environment, "not initialised")
                self._provisioning.failed(allocation, refusal or "The environment was stopped.")

    def make_room(self) -> None:
        """Retire an idle on-demand environment, if there is one and none is going already."""
        if self._ending == 0:
            self._evict_one()

    # --- Owner -------------------------------------------------------------------------------------------------

    def freed(self, environment: Environment) -> None:
        """An environment can take work: the longest waiting, or none."""
        entry: Entry = environment.home
        if environment.state is not State.IDLE:
            return
        if (entry.is_obsolete and not entry.pool.waiting) or self.is_closing:
            self.retire(environment, "obsolete" if not self.is_closing else "closing")
            return
        if environment.is_provisioned and self._is_surplus(entry):
            self.retire(environment, "no longer provisioned")
            return
        waiting = entry.pool.free(environment, self._clock.monotonic_ns())
        if waiting is not None:
            environment.lease()
            environment.run(waiting[1])
        elif self.is_starving() and self._ending < len(self._starved):
            self._evict_one()  # one for each that waits for room: tear-down takes milliseconds, and others are freed then
        elif self._limits.is_frozen_when_idle and not environment.awaits_freeze:
            environment.awaits_freeze = True
            self._to_freeze.append(environment)
            if self._freezer is None:
                self._freezer = asyncio.get_running_loop().call_later(self._limits.freeze_after_s, self._freeze_idle)

    def _is_surplus(self, entry: Entry) -> bool:
        return entry.allocation is not None and self._provisioning.is_surplus(entry.allocation)

    def broke(self, environment: Environment) -> None:
        environment.home.pool.mend(environment)

    def finishing(self, environment: Environment) -> None:
        """Whoever comes now may count on it for a moment, instead of starting an environment of its own."""
        environment.home.pool.mend(environment)

    def _await_finishing(self, entry: Entry) -> None:
        """Look again when the first of the runtimes that have answered has had its grace to ask for the next event."""
        answered_ns = [e.answered_ns for e in entry.pool.mending if e.state is State.INVOKING]
        if answered_ns and not self.is_closing:
            waited_s = (self._clock.monotonic_ns() - min(answered_ns)) / 1_000_000_000
            left_s = max(0.0, FINISH_GRACE_S - waited_s)
            entry.grace = asyncio.get_running_loop().call_later(left_s, self._count_again, entry)

    def _count_again(self, entry: Entry) -> None:
        """Runtimes that answered a grace ago and still have not asked are counted on no longer."""
        entry.grace = None
        before_ns = self._clock.monotonic_ns() - round(FINISH_GRACE_S * 1_000_000_000)
        for environment in list(entry.pool.mending):
            if environment.state is State.INVOKING and environment.answered_ns <= before_ns:
                entry.pool.mending.discard(environment)
        self._replenish(entry)
        if entry.pool.waiting:
            self._await_finishing(entry)

    def retire(self, environment: Environment, reason: str) -> None:
        """Take an environment out and tear it down in the background."""
        if environment.state in (State.STOPPING, State.GONE):
            return
        entry: Entry = environment.home
        entry.pool.leave(environment)
        environment.state = advance(environment.state, Event.STOP)
        self._ending += 1
        if entry.tenant_id:
            self._leave_tenant(environment)
        if entry.allocation is not None:
            self._provisioning.left(entry.allocation, environment)
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
            entry: Entry = environment.home
            self._replenish(entry)
            self._forget_if_done(entry)
            while self.can_grow and self.is_starving():
                starved = self._starved.popleft()
                starved.is_starved = False
                self._replenish(starved)
            self._provisioning.room()

    def _leave_tenant(self, environment: Environment) -> None:
        scope = environment.version.ref.scope
        members = self._of_tenants[scope]
        members.discard(environment)
        if not members:
            del self._of_tenants[scope]

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
        """A function was updated or deleted, or what it has provisioned: environments of what no longer serves take no new
        work, provisioned ones are brought in line, and what was created or updated is likely to be invoked."""
        self._provisioning.look(change.ref)  # first: what becomes obsolete below is not to be replaced
        if change.kind == "updated" and change.version is not None and not self.is_closing:
            current = self._current(change.ref, change.version)
            if current is not None:
                self.expect(current)
        for entry in self._of(change.ref):
            now = self._current(change.ref, entry.version.version)
            if now is not None and now.generation == entry.version.generation:
                continue
            if now is not None and not entry.is_obsolete and not entry.tenant_id:
                self._inherited.setdefault(change.ref, {})[now.version] = entry.history
            entry.is_obsolete = True
            for environment in entry.pool.idle_members():
                self.retire(environment, "obsolete")
            self._forget_if_done(entry)
        inherited = self._inherited.pop(change.ref, {})
        if kept := {one: known for one, known in inherited.items() if self._current(change.ref, one) is not None}:
            self._inherited[change.ref] = kept

    def _of(self, ref: FunctionRef) -> list[Entry]:
        return [entry for (r, _, _, _), entry in self._entries.items() if r == ref]

    def _forget_if_done(self, entry: Entry) -> None:
        """Of tenants nothing is kept that has no environment: callers name as many as they like."""
        if (entry.is_obsolete or entry.tenant_id) and entry.pool.is_empty:
            if self._entries.get(entry.key) is entry:
                del self._entries[entry.key]
            if not entry.tenant_id:
                self._by_version.pop(id(entry.version), None)

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

    def is_starving(self) -> bool:
        """Whether somebody waits for room; those who were served meanwhile leave the line."""
        while self._starved and not self._starved[0].pool.waiting:
            self._starved.popleft().is_starved = False
        return bool(self._starved)

    def _evict_one(self) -> None:
        """Retire the idle on-demand environment that is worth least, whoever's it is, if any is."""
        if ranked := self._by_worth(self._clock.monotonic_ns()):
            self._let_go(min(ranked)[-1], "room is needed")

    def _by_worth(self, now_ns: int) -> list[tuple[float, int, int, Entry]]:
        """What the longest idle environment of each pool is worth, in no order; of equals the longest idle is the least."""
        return [
            (self._worth(entry, environment, now_ns), environment.idle_since_ns, number, entry)
            for number, entry in enumerate(self._entries.values())
            if (environment := entry.pool.longest_idle) is not None
        ]

    def _worth(self, entry: Entry, longest_idle: Environment, now_ns: int) -> float:
        """What the environment that has been idle longest is worth: all others of its pool are used before it."""
        pool = entry.pool
        return entry.history.worth(
            len(pool.members) - len(pool.provisioned) - 1,
            (now_ns - longest_idle.idle_since_ns) / 1_000_000_000,
            self._held_mb(entry, longest_idle),
        )

    def _held_mb(self, entry: Entry, environment: Environment) -> int:
        """What an environment holds: what its last attempt used at most, or the last of another one, else its limit."""
        if environment.peak_mb:
            entry.history.memory_mb = environment.peak_mb
            return environment.peak_mb
        return entry.history.memory_mb or entry.version.configuration.memory_mb

    def _let_go(self, entry: Entry, reason: str) -> int:
        """Retire the one that has been idle longest, and remember that it was there; answers the MB it held."""
        environment = entry.pool.longest_idle
        assert environment is not None
        depth = len(entry.pool.members) - len(entry.pool.provisioned) - 1
        held_mb = self._held_mb(entry, environment)
        entry.history.retired(depth, environment.idle_since_ns / 1_000_000_000)
        self.retire(environment, reason)
        return held_mb

    def _now_s(self) -> float:
        return self._clock.monotonic_ns() / 1_000_000_000

    def _retire_idle(self, now_ns: int) -> None:
        """Retire who is idle for too long, or worth less than its memory; and whoever is worth least, over the budget."""
        idle_before_ns = now_ns - int(self._limits.idle_timeout_s * 1_000_000_000)
        budget_mb = self._limits.memory_budget_mb
        held_mb = sum(self._held_mb(environment.home, environment) for environment in self.all()) if budget_mb else 0
        for entry in list(self._entries.values()):
            while (environment := entry.pool.longest_idle) is not None and (
                environment.idle_since_ns < idle_before_ns
                or not is_worth_keeping(self._worth(entry, environment, now_ns), held_mb, budget_mb)
            ):
                held_mb -= self._let_go(entry, "idle")
        if budget_mb and held_mb > budget_mb:
            self._evict(held_mb - budget_mb, now_ns)

    def _evict(self, excess_mb: int, now_ns: int) -> None:
        """Retire idle environments that hold so much, as far as there are any, those that are worth least first."""
        ranked = self._by_worth(now_ns)
        heapq.heapify(ranked)
        while ranked and excess_mb > 0:
            _, _, number, entry = heapq.heappop(ranked)
            excess_mb -= self._let_go(entry, "memory is needed")
            if (following := entry.pool.longest_idle) is not None:
                worth = self._worth(entry, following, now_ns)
                heapq.heappush(ranked, (worth, following.idle_since_ns, number, entry))

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_EVERY_S)
            await self._blanks.sweep()
            now_ns = self._clock.monotonic_ns()
            self._retire_idle(now_ns)
            waited_before_ns = now_ns - int(self._limits.wait_s_max * 1_000_000_000)
            for entry in list(self._entries.values()):
                while entry.pool.waiting and entry.pool.waiting[0][0] < waited_before_ns:
                    limit_s = self._limits.wait_s_max
                    self._fail_one(entry, f"no environment became free within {limit_s:g} s: this node is full")
                self._forget_if_done(entry)
            self._provisioning.sweep()

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
        self._provisioning.close()
        for entry in list(self._entries.values()):
            if entry.grace is not None:
                entry.grace.cancel()
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


def _utc_day(wall_ms: int) -> str:
    return time.strftime("%Y/%m/%d", time.gmtime(wall_ms / 1_000))
