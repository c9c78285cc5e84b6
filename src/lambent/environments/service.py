"""All execution environments of a node: who gets which, when one is made, frozen and retired.

`submit` is synchronous: an idle environment is leased and run in the same step. Everything slow (building a sandbox,
init, tear-down) happens in supervised tasks off the request path.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..domain.clock import Clock
from ..domain.errors import ServiceFault
from ..domain.limits import INIT_LIMIT_S, TENANT_ENVIRONMENTS_PER_1000
from ..domain.names import FunctionRef, Scope
from ..functions.model import Change, FunctionVersion
from ..functions.provisioned import Wish
from ..functions.snapshots import Outcome
from ..sandbox.port import SandboxDriver, SandboxError
from ..telemetry.attempt import PROVISIONED, SNAP_START, AttemptPart, InitRecord, UserEvents
from ..telemetry.lines import LineSplitter
from .awake import Awake
from .blanks import BlankLimits, Blanks
from .entries import Entries, Entry
from .environment import Environment
from .idle import Idle
from .keepalive import QUICK_S
from .keeping import Keeping
from .lifecycle import Event, State, advance
from .opening import Opening, fail_one
from .plan import Blueprints, Carriers, RuntimeMissing
from .provisioning import RETRY_FIRST_S, Allocation, Provisioning, Standing
from .scaling import Scaling
from .starting import processors, runnable, used_ns
from .streams import Bandwidth
from .surroundings import Surroundings
from .templates import TemplateLimits, Templates
from .tenants import Tenants
from .work import Work

FREEZE_AFTER_S = 0.02
"""An environment that has been idle this long is frozen: background work stops, a next request a moment later doesn't
pay for a thaw."""
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
    has_zygotes: bool = False
    """Waiting runtimes are forked by zygotes where they can be."""
    pool_mb: int = 0
    """What blanks, waiting runtimes and zygotes hold together at most; 0: no bound."""
    copies_ahead: int = 0
    """Copies of a template forked before they are asked for, of each version in use that has one."""
    templates_max: int = 64
    """Templates held at once; each holds an initialised process."""
    init_limit_s: float = INIT_LIMIT_S
    wait_s_max: float = WAIT_S_MAX
    provision_retry_s: float = RETRY_FIRST_S
    """The pause after the first failed init of a provisioned environment."""
    awake_us: int = 0
    """How long an answer or a request that is due is looked for without sleeping; see `awake`."""
    bandwidth: Bandwidth | None = None
    """What each streamed response may use; None: as much as its client takes."""
    tenant_environments_max: int = TENANT_ENVIRONMENTS_PER_1000
    """Environments that belong to a tenant, of one account in one region."""


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
        snapshot_taken: Callable[[FunctionVersion, Outcome], Awaitable[None]] | None = None,
        wishes: Callable[[FunctionRef], Mapping[str, Wish]] = lambda ref: {},
        allocated: Callable[[FunctionRef, int], None] = lambda ref, number: None,
        has_disk: Callable[[], bool] = lambda: True,
    ) -> None:
        """current: the version that serves a function's qualifier now, None when it is gone.

        snapshot_taken: told what came of the init of a version that asked for a snapshot; None: nobody asks for any.

        wishes: a function's provisioned concurrency by qualifier. allocated: told how many of a function's provisioned
        environments are there. has_disk: whether the disk that holds each `/tmp` has room.
        """
        self._has_disk = has_disk
        self._blueprints = blueprints
        self._clock = clock
        self._record = record
        self._current = current
        self._limits = limits
        ready = BlankLimits(limits.blanks, limits.waiting_max, limits.has_zygotes, limits.pool_mb)
        self.blanks = Blanks(driver, clock, ready, self.supervise)
        """What is kept ready for cold starts."""
        gone: asyncio.Future[None] | None = getattr(driver, "gone", None)
        self._shared = Surroundings(
            blanks=self.blanks,
            carriers=carriers,
            clock=clock,
            new_splitter=new_splitter,
            owner=self,
            init_limit_s=limits.init_limit_s,
            awake=Awake(limits.awake_us, processors()),
            bandwidth=limits.bandwidth,
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
        self._templates: Templates | None = None
        if snapshot_taken is not None:
            self._templates = Templates(
                self, driver, clock, TemplateLimits(limits.copies_ahead, limits.templates_max), snapshot_taken
            )
        self._entries = Entries(blueprints, limits.idle_timeout_s)
        self.entry = self._entries.entry
        """The pool of a version, or of one tenant of it; not a method of its own, because each request asks for it. Raises
        RuntimeMissing when this machine can't run it."""
        self._unsettled = self._entries.unsettled
        self._tenants = Tenants(limits.tenant_environments_max)
        self._opening = Opening(self, clock, self._shared, self._templates, self._tenants)
        self.keeping: Keeping[Entry] = Keeping(limits.idle_timeout_s, limits.memory_budget_mb)
        """What all environments hold, and who goes first."""
        self._idle = Idle(self._entries, self.keeping, clock, limits.freeze_after_s, self.retire)
        self._scaling = Scaling(clock, processors(), runnable, self._start, lambda: self._opening.waiting, used_ns)
        self._count = 0
        self._ending = 0
        self._starved: deque[Entry] = deque()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._sweeper: asyncio.Task[None] | None = None
        self.is_closing = False

    # --- the request path --------------------------------------------------------------------------------------

    def expect(self, version: FunctionVersion) -> None:
        """A version that may be invoked soon: have what its cold start needs ready, where this machine can run it."""
        try:
            blueprint = self._entries.expect(version)
        except RuntimeMissing:
            return  # whoever invokes it is told
        self.blanks.expect(blueprint.image, blueprint.waiting)

    def look(self, version: FunctionVersion) -> None:
        """Take the snapshot of a version that waits for it."""
        if self._templates is not None and version.awaits_snapshot:
            with contextlib.suppress(RuntimeMissing):  # its state says so
                self._templates.look(version, self._blueprints.blueprint(version))

    @property
    def templates(self) -> Templates | None:
        """The templates of versions that asked for SnapStart; None: nobody asks here."""
        return self._templates

    def submit(self, entry: Entry, work: Work, spills: bool = False) -> None:
        """Run work now, or as soon as an environment is ready for it.

        spills: it exceeds what provisioned environments may be asked for, and runs on demand: on an idle one of those only
        where there is no other and none can be made.
        """
        if spills and (entry.pool.idle > len(entry.pool.provisioned) or self.can_grow):
            environment = entry.pool.lease_on_demand()
        else:
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
        entry.pool.wait((self._clock.monotonic_ns(), work))
        self._unsettled.add(entry)
        self._scaling.waits(entry)

    def needs_environment(self, entry: Entry) -> bool:
        """Whether one more request would start an environment, unless it runs on an idle provisioned one."""
        return entry.pool.needs_environment and self.can_grow and self._scaling.needs(entry)

    def is_wanted(self, entry: Entry) -> bool:
        """See `opening.Owner`."""
        return not self.is_closing and self._scaling.is_wanted(entry)

    def _start(self, entry: Entry, wanted: int) -> None:
        for _ in range(wanted):
            if not self.can_grow:
                if not entry.is_starved:
                    entry.is_starved = True
                    self._starved.append(entry)
                    self._idle.evict_one()  # its place is free only once it is gone; `_stop` then serves the starved
                return
            if entry.tenant_id:
                self._bound_tenants(entry.version.ref.scope)
            self._count += 1
            entry.pool.start_begins()
            entry.history.missed(self._clock.monotonic_ns() / 1_000_000_000)
            self.supervise(self._opening.open(entry), f"open {entry.version.ref.name}")

    def opened(self, entry: Entry, environment: Environment) -> None:
        """See `opening.Owner`."""
        self.keeping.holds(entry, environment)
        self.freed(environment)

    def new_template(self, version: FunctionVersion) -> Environment:
        """See `templates.Owner`. It takes no place of an environment's: it is none, and how many there are is bounded."""
        return self._opening.environment(self.entry(version), SNAP_START)

    async def ended(self, environment: Environment) -> None:
        """See `templates.Owner`."""
        if environment.state in (State.STOPPING, State.GONE):
            return
        environment.state = advance(environment.state, Event.STOP)
        try:
            await environment.stop()
        except SandboxError as error:
            log.error("the template %s was not torn down cleanly: %s", environment.id, error)

    def lost(self, environment: Environment) -> None:
        """See `environment.Owner`."""
        if self._templates is not None:
            self._templates.lost(environment)

    def _bound_tenants(self, scope: Scope) -> None:
        """Before one more environment of a tenant: over the account's limit, the one that has been idle longest goes."""
        if (surplus := self._tenants.one_too_many(scope)) is not None:
            self.retire(surplus, "the account's tenants have too many environments")

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
        environment = self._opening.environment(entry, PROVISIONED)
        refusal: str | None = "no execution environment could be made"
        try:
            refusal = await self._opening.open_provisioned(environment)
        finally:
            if refusal is None:
                entry.pool.join(environment)
                self.keeping.holds(entry, environment)
                self._provisioning.opened(allocation, environment)
                self.freed(environment)
                environment.write_init()
            else:
                self.retire(environment, "not initialised")
                self._provisioning.failed(allocation, refusal)

    def make_room(self) -> None:
        """Retire an idle on-demand environment, if there is one and none is going already."""
        if self._ending == 0:
            self._idle.evict_one()

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
        if environment.peak_mb != environment.held_mb:
            self.keeping.holds(entry, environment)
        now_ns = self._clock.monotonic_ns()
        if environment.started_ns:
            self._scaling.freed(entry, environment.started_ns, now_ns)
        waiting = entry.pool.free(environment, now_ns)
        if waiting is not None:
            environment.lease()
            environment.run(waiting[1])
            return
        if not entry.is_watched:
            self.keeping.watch(entry, now_ns)
        if self.is_starving() and self._ending < len(self._starved):
            self._idle.evict_one()  # one for each that waits for room: tear-down takes milliseconds, and others are freed then
        elif self._limits.is_frozen_when_idle and not environment.awaits_freeze:
            self._idle.freeze_soon(environment)

    def _is_surplus(self, entry: Entry) -> bool:
        return entry.allocation is not None and self._provisioning.is_surplus(entry.allocation)

    def broke(self, environment: Environment) -> None:
        environment.home.pool.mend(environment)

    def finishing(self, environment: Environment) -> None:
        """Whoever comes now may count on it for a moment, instead of starting an environment of its own."""
        environment.home.pool.mend(environment)

    def retire(self, environment: Environment, reason: str) -> None:
        """Take an environment out and tear it down in the background."""
        if environment.state in (State.STOPPING, State.GONE):
            return
        entry: Entry = environment.home
        entry.pool.leave(environment)
        self.keeping.left(environment)
        environment.state = advance(environment.state, Event.STOP)
        self._ending += 1
        if entry.tenant_id:
            self._tenants.leave(environment)
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
            self._ending -= 1
            if self._templates is not None:
                self._templates.left(environment)
            self.place_free(environment.home)

    def place_free(self, entry: Entry) -> None:
        """An environment of `entry` is gone, or was not made after all: whoever waits for room may have its place."""
        self._count -= 1
        self._scaling.replenish(entry)
        self._entries.forget_if_done(entry)
        while self.can_grow and self.is_starving():
            starved = self._starved.popleft()
            starved.is_starved = False
            self._scaling.replenish(starved)
        self._provisioning.room()

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
                self.look(current)
        for entry in self._entries.of(change.ref):
            now = self._current(change.ref, entry.version.version)
            if now is not None and now.generation == entry.version.generation:
                continue
            self._entries.supersede(entry, now)
            if self._templates is not None:
                self._templates.forget(entry.version)
            for environment in entry.pool.idle_members():
                self.retire(environment, "obsolete")
            self._entries.forget_if_done(entry)
        self._entries.keep_inherited(change.ref, lambda one: self._current(change.ref, one) is not None)

    def is_starving(self) -> bool:
        """Whether somebody waits for room; those who were served meanwhile leave the line."""
        while self._starved and not self._starved[0].pool.waiting:
            self._starved.popleft().is_starved = False
        return bool(self._starved)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_EVERY_S)
            await self.blanks.sweep()
            now_ns = self._clock.monotonic_ns()
            self._idle.sweep(now_ns)
            if not self._has_disk():
                self._idle.evict_one()  # what lies in its /tmp may be what fills the disk, and nobody needs it
            waited_before_ns = now_ns - int(self._limits.wait_s_max * 1_000_000_000)
            for entry in list(self._unsettled):
                while entry.pool.waiting and entry.pool.waiting[0][0] < waited_before_ns:
                    fail_one(entry, self._why_nobody_came(entry))
                if not entry.pool.waiting:
                    self._unsettled.discard(entry)
                self._entries.forget_if_done(entry)
            self._provisioning.sweep()
            if self._templates is not None:
                self._templates.sweep()

    def _why_nobody_came(self, entry: Entry) -> str:
        within = f"within {self._limits.wait_s_max:g} s"
        if entry.is_starved:
            return f"no environment became free {within}: this node is full"
        return (
            f"no environment was ready {within}: {entry.pool.starting} of this function are being started, "
            f"{self._opening.waiting} starts wait for their turn on this node"
        )

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
        self._idle.close()
        self._provisioning.close()
        self._scaling.close(self._entries.all())
        for entry in list(self._entries.all()):
            while entry.pool.waiting:
                fail_one(entry, "the server is shutting down")
            for environment in list(entry.pool.members):
                self.retire(environment, "closing")
        for environment in list(self._opening.under_way):
            self.retire(environment, "closing")
        self._opening.close()
        await self.blanks.close()
        while self._tasks:
            await asyncio.wait(list(self._tasks))
        if self._templates is not None:
            await self._templates.close()
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

    @property
    def cold_starts(self) -> int:
        """Environments that were opened because a request found none."""
        return self._opening.cold_starts

    def all(self) -> Iterable[Environment]:
        """Every environment that has been opened and not yet retired."""
        return [e for entry in self._entries.all() for e in entry.pool.members]
