"""Provisioned concurrency as it really is: environments kept initialised, as many as the configurations ask for.

Each version with a configuration, of its own or of an alias that points to it, has an `Allocation`. The keeper compares what
is wanted with what is ready or starting, and starts or retires the difference: a few at a time over the whole node, in
turns, after on-demand requests that wait for room, and up to a share of the node's places, so that promises to one function
never take the last place from the others. An environment that is lost is replaced at once when it had served or lived;
one whose init fails, or that dies right after it, is tried again with growing pauses, and after six failures the
allocation is given up: its status says why, and invocations run on demand as if there were none.

When an alias moves, what was ready for it stays until the new version's environments are (or have failed, or need the
room): `held`. The configuration is stored with the function; everything here is made again from it after a restart.
Source: Developer guide, "Configuring provisioned concurrency"; the number of attempts is a recorded one.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from ..domain.clock import Clock
from ..domain.limits import PROVISIONED_ATTEMPTS_MAX
from ..domain.names import FunctionRef
from ..functions.provisioned import Wish, sort_key
from .environment import Environment
from .plan import RuntimeMissing

STARTS_MAX = 4
"""Provisioned environments being initialised at once, of all functions."""
NODE_SHARE = 0.75
"""Of the node's places, how many may be provisioned; the others are for requests nobody announced."""
RETRY_FIRST_S, RETRY_MAX_S = 0.5, 300.0
"""Pauses after failures: each twice the one before. The longest one lies between the tries to restore an allocation that
was whole and is given up, and failures that lie further apart are not in a row."""
FULL_S_MAX = 60.0
"""How long a full node is waited for before the status says so; room that comes later is still used."""
LIVED_S_MIN = 5.0
"""An environment that ends sooner after its init, without having served, counts as a failure."""

INIT_FAILED = "FUNCTION_ERROR_INIT_FAILURE"
IN_PROGRESS, READY, FAILED = "IN_PROGRESS", "READY", "FAILED"

log = logging.getLogger("lambent.environments")


class Owner(Protocol):
    """Who makes and retires environments."""

    is_closing: bool

    @property
    def can_grow(self) -> bool:
        """Whether one more environment may be made."""

    def is_starving(self) -> bool:
        """Whether requests wait for room."""

    def find_home(self, ref: FunctionRef, version: str) -> Home | None:
        """The pool of a version, None when there is no such version (any more). Raises RuntimeMissing."""

    def start_provisioned(self, allocation: Allocation) -> None:
        """Begin to open one; `opened` or `failed` follows."""

    def make_room(self) -> None:
        """Retire an idle on-demand environment, if there is one and none is going already."""

    def retire(self, environment: Environment, reason: str) -> None: ...


class Home(Protocol):
    """A version's pool, as far as it matters here."""

    allocation: Allocation | None

    def idle_provisioned(self) -> list[Environment]:
        """Those that are idle, the least recently used first."""


@dataclass(slots=True, eq=False)
class Allocation:
    """What one version is to have, and has."""

    ref: FunctionRef
    version: str
    home: Home | None = None
    wanted: int = 0
    ready: set[Environment] = field(default_factory=set)
    starting: int = 0
    failures: int = 0
    """In a row."""
    deaths: int = 0
    """Those of them that followed a good init: another good init proves nothing against them."""
    failed_ns: int = 0
    reason: str | None = None
    """Why it is not whole; None while there is hope."""
    is_given_up: bool = False
    is_whole: bool = False
    """It was whole since the last change; what is lost since is being replaced."""
    was_whole: bool = False
    retry: asyncio.TimerHandle | None = None
    full_since_ns: int | None = None

    @property
    def missing(self) -> int:
        return self.wanted - len(self.ready) - self.starting


@dataclass(slots=True)
class _Plan:
    """One function's."""

    wishes: Mapping[str, Wish] = field(default_factory=dict)
    held: dict[str, dict[str, int]] = field(default_factory=dict)
    """By qualifier: versions it pointed to before, and how many of theirs stay until the new ones are ready."""
    allocations: dict[str, Allocation] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Standing:
    """One configuration, as it stands now."""

    available: int
    """Environments that are initialised, idle or busy."""
    allocated: int
    """The same, and those that are being replaced."""
    status: str
    """IN_PROGRESS, READY or FAILED."""
    reason: str | None
    """With FAILED only."""


NOTHING_YET = Standing(0, 0, IN_PROGRESS, None)


class Provisioning:
    """See the module's text. Used on the event loop."""

    def __init__(
        self,
        owner: Owner,
        clock: Clock,
        *,
        environments_max: int,
        retry_first_s: float,
        wishes: Callable[[FunctionRef], Mapping[str, Wish]],
        allocated: Callable[[FunctionRef, int], None],
    ) -> None:
        """wishes: the configurations of a function, by qualifier; empty when it is gone.

        allocated(ref, n): told whenever the number of a function's provisioned environments changes.
        """
        self._owner = owner
        self._clock = clock
        self._environments_max = environments_max
        self._most = int(environments_max * NODE_SHARE)
        self._retry_first_s = retry_first_s
        self._wishes = wishes
        self._allocated = allocated
        self._plans: dict[FunctionRef, _Plan] = {}
        self._line: deque[Allocation] = deque()
        self._is_applying = False
        self._starting = 0
        self._total = 0
        """Ready or starting, those beyond what is wanted included."""

    # --- what is wanted ----------------------------------------------------------------------------------------

    def look(self, ref: FunctionRef) -> None:
        """A function, one of its versions or its configurations may have changed."""
        wishes = self._wishes(ref)
        plan = self._plans.get(ref)
        if plan is None:
            if not wishes:
                return
            plan = self._plans[ref] = _Plan()
        before, plan.wishes = plan.wishes, wishes
        for qualifier in [one for one in plan.held if one not in wishes]:
            del plan.held[qualifier]
        for qualifier, wish in wishes.items():
            old = before.get(qualifier)
            if old is not None and old.shares.keys() != wish.shares.keys():
                self._hold(plan, qualifier, old, wish)
        fresh = {
            version
            for qualifier, wish in wishes.items()
            if (old := before.get(qualifier)) is None or old.modified_ms != wish.modified_ms
            for version in wish.shares
        }
        self._apply(ref, plan, fresh)

    def _hold(self, plan: _Plan, qualifier: str, old: Wish, new: Wish) -> None:
        """Keep what the alias pointed to before, as far as it is ready."""
        left = new.requested
        held: dict[str, int] = {}
        for version, number in {**plan.held.get(qualifier, {}), **old.shares}.items():
            allocation = plan.allocations.get(version)
            if version not in new.shares and allocation is not None:
                kept = min(number, len(allocation.ready), left)
                left -= kept
                if kept:
                    held[version] = kept
        plan.held[qualifier] = held

    def _apply(self, ref: FunctionRef, plan: _Plan, fresh: set[str] | frozenset[str] = frozenset()) -> None:
        """Bring the allocations in line with wishes and holds. fresh: versions whose failures are forgotten."""
        was_applying, self._is_applying = self._is_applying, True
        self._allot(ref, plan, fresh)
        while self._drop_settled(plan):
            self._allot(ref, plan)
        self._is_applying = was_applying
        if not plan.wishes:
            self._plans.pop(ref, None)
        self._tell(ref, plan)
        self._pump()

    def _allot(self, ref: FunctionRef, plan: _Plan, fresh: set[str] | frozenset[str] = frozenset()) -> None:
        wanted: dict[str, int] = {}
        for shares in (*(wish.shares for wish in plan.wishes.values()), *plan.held.values()):
            for version, number in shares.items():
                wanted[version] = wanted.get(version, 0) + number
        for version in wanted.keys() | plan.allocations.keys():
            allocation = self._allocation(ref, plan, version, is_wanted=version in wanted)
            if allocation is None:
                continue
            number = wanted.get(version, 0)
            if version in fresh or number > allocation.wanted:
                _hope_again(allocation)
            allocation.wanted = number
            if not number:
                _hope_again(allocation)
                allocation.was_whole = False
                del plan.allocations[version]
            self._fill(allocation)

    def _allocation(self, ref: FunctionRef, plan: _Plan, version: str, *, is_wanted: bool) -> Allocation | None:
        """The allocation of a version, made when it is wanted; another one when the version was made anew."""
        known = plan.allocations.get(version)
        if not is_wanted:
            return known
        try:
            home = self._owner.find_home(ref, version)
        except RuntimeMissing as error:
            if known is None:
                known = plan.allocations[version] = Allocation(ref, version)
            known.reason, known.is_given_up = str(error), True
            return known
        if home is None:
            return known
        if known is not None and known.home is home:
            return known
        if known is not None:  # of a deleted function's, or before the runtime was there
            known.wanted = 0
            self._fill(known)
        allocation = home.allocation
        if allocation is None:
            allocation = home.allocation = Allocation(ref, version, home)
        plan.allocations[version] = allocation
        return allocation

    # --- how it gets there -------------------------------------------------------------------------------------

    def _fill(self, allocation: Allocation) -> None:
        """Retire what is too much, get in line for what is missing."""
        surplus = len(allocation.ready) - allocation.wanted
        if surplus > 0 and allocation.home is not None:
            for environment in allocation.home.idle_provisioned()[:surplus]:
                self._owner.retire(environment, "no longer provisioned")
        if allocation.missing > 0 and _may_start(allocation) and allocation not in self._line:
            self._line.append(allocation)
        if allocation.wanted and len(allocation.ready) >= allocation.wanted:
            self._whole(allocation)

    def _whole(self, allocation: Allocation) -> None:
        if allocation.is_whole and allocation.reason is None:
            return
        allocation.is_whole = allocation.was_whole = True
        allocation.reason = allocation.full_since_ns = None
        allocation.is_given_up = False

    def _settle(self, ref: FunctionRef) -> None:
        """After news of one allocation: an alias may have waited for it."""
        plan = self._plans.get(ref)
        if plan is not None and self._drop_settled(plan):
            self._apply(ref, plan)

    def _drop_settled(self, plan: _Plan) -> bool:
        """What is held for aliases whose new versions are whole, or have failed, is held no longer; whether there was any."""
        settled = [
            qualifier
            for qualifier in plan.held
            if all(
                (one := plan.allocations.get(version)) is not None and (one.is_whole or one.reason is not None)
                for version in plan.wishes[qualifier].shares
            )
        ]
        for qualifier in settled:
            del plan.held[qualifier]
        return bool(settled)

    def _pump(self) -> None:
        """Start those in line, in turns, as far as there is room."""
        if self._is_applying:
            return  # whoever applies does it at the end
        while self._line and self._starting < STARTS_MAX and not self._owner.is_closing:
            allocation = self._line[0]
            if allocation.missing <= 0 or not _may_start(allocation):
                self._line.popleft()
                continue
            if self._total >= self._most or not self._owner.can_grow or self._owner.is_starving():
                if self._let_go(allocation):
                    continue
                if self._committed() >= self._most:
                    self._line.popleft()
                    self._no_room(allocation, self._share_text())
                    continue
                if not self._owner.can_grow and not self._owner.is_starving():
                    self._owner.make_room()  # `room` follows when it is gone
                self._wait_for_room()
                return
            self._line.popleft()
            allocation.full_since_ns = None
            allocation.starting += 1
            self._starting += 1
            self._total += 1
            self._owner.start_provisioned(allocation)
            if allocation.missing > 0:
                self._line.append(allocation)

    def _committed(self) -> int:
        """Of all provisioned environments those that are wanted: what is too much goes when it is idle."""
        return sum(
            min(len(one.ready) + one.starting, one.wanted)
            for plan in self._plans.values()
            for one in plan.allocations.values()
        )

    def _let_go(self, allocation: Allocation) -> bool:
        """Give up an alias's former environments for its new ones; False when none are held."""
        plan = self._plans.get(allocation.ref)
        if plan is None or not plan.held:
            return False
        plan.held.clear()
        self._apply(allocation.ref, plan)
        return True

    def _wait_for_room(self) -> None:
        now_ns = self._clock.monotonic_ns()
        for allocation in list(self._line):
            if allocation.full_since_ns is None:
                allocation.full_since_ns = now_ns
            elif now_ns - allocation.full_since_ns > FULL_S_MAX * 1e9:
                self._no_room(
                    allocation,
                    f"This node is full: all its {self._environments_max} environments are in use. Raise "
                    "limits.environments_max or limits.memory_budget_mb, or ask for less.",
                )

    def _share_text(self) -> str:
        return (
            f"This node may keep {self._most} of its {self._environments_max} environments provisioned, and does. Raise "
            "limits.environments_max or limits.memory_budget_mb, or ask for less."
        )

    def _no_room(self, allocation: Allocation, text: str) -> None:
        """Said by the status; every sweep tries again."""
        if allocation.reason is None:
            log.warning("provisioned concurrency of %s: %s", allocation.ref.arn(allocation.version), text)
            allocation.reason = text
            allocation.is_whole = False
            self._settle(allocation.ref)

    def room(self) -> None:
        """A place came free."""
        if self._line:
            self._pump()

    def sweep(self) -> None:
        """From time to time: whoever misses something and may start gets in line again."""
        for plan in list(self._plans.values()):
            for allocation in list(plan.allocations.values()):
                if allocation.missing > 0:
                    self._fill(allocation)
        self._pump()

    def opened(self, allocation: Allocation, environment: Environment) -> None:
        """One is initialised; its owner frees it next."""
        self._started(allocation)
        allocation.ready.add(environment)
        allocation.failures = allocation.deaths
        self._fill(allocation)
        self._changed(allocation)

    def failed(self, allocation: Allocation, text: str) -> None:
        """One could not be made, or not be initialised."""
        self._started(allocation)
        self._total -= 1
        self._failure(allocation, text)

    def _started(self, allocation: Allocation) -> None:
        allocation.starting -= 1
        self._starting -= 1

    def left(self, allocation: Allocation, environment: Environment) -> None:
        """One retires, for whatever reason."""
        if environment not in allocation.ready:
            return
        allocation.ready.discard(environment)
        self._total -= 1
        now_ns = self._clock.monotonic_ns()
        has_lived = environment.answered_ns or now_ns - environment.initialised_ns > LIVED_S_MIN * 1e9
        if allocation.missing > 0 and not has_lived:
            allocation.deaths += 1
            self._failure(allocation, "The function's runtime ends right after its initialisation.")
        else:
            self._fill(allocation)
            self._changed(allocation)

    def is_surplus(self, allocation: Allocation) -> bool:
        """Whether one that becomes idle now is one too many."""
        return len(allocation.ready) > allocation.wanted

    def _failure(self, allocation: Allocation, text: str) -> None:
        now_ns = self._clock.monotonic_ns()
        if now_ns - allocation.failed_ns > RETRY_MAX_S * 2e9:
            allocation.failures = allocation.deaths = 0
        allocation.failed_ns = now_ns
        allocation.failures += 1
        if allocation.wanted and not self._owner.is_closing and allocation.retry is None:
            if allocation.failures >= PROVISIONED_ATTEMPTS_MAX:
                self._give_up(allocation, text)
            else:
                self._again_in(allocation, self._retry_first_s * 2 ** (allocation.failures - 1))
        self._changed(allocation)

    def _give_up(self, allocation: Allocation, text: str) -> None:
        if not allocation.is_given_up:
            log.warning("provisioned concurrency of %s is given up: %s", allocation.ref.arn(allocation.version), text)
        allocation.reason = text
        allocation.is_given_up = True
        allocation.is_whole = False
        if allocation.was_whole:
            self._again_in(allocation, RETRY_MAX_S)

    def _again_in(self, allocation: Allocation, pause_s: float) -> None:
        allocation.retry = asyncio.get_running_loop().call_later(min(pause_s, RETRY_MAX_S), self._again, allocation)

    def _again(self, allocation: Allocation) -> None:
        allocation.retry = None
        allocation.is_given_up = False
        self._fill(allocation)
        self._pump()

    def _changed(self, allocation: Allocation) -> None:
        plan = self._plans.get(allocation.ref)
        if plan is not None:
            self._tell(allocation.ref, plan)
        self._settle(allocation.ref)
        self._pump()

    def _tell(self, ref: FunctionRef, plan: _Plan) -> None:
        """How many are there and wanted: what is left of others' concurrency depends on it."""
        self._allocated(ref, sum(min(len(one.ready), one.wanted) for one in plan.allocations.values()))

    def close(self) -> None:
        """Nothing is started any more; the owner retires what there is."""
        for plan in self._plans.values():
            for allocation in plan.allocations.values():
                _hope_again(allocation)
        self._line.clear()

    # --- what is told ------------------------------------------------------------------------------------------

    def standing(self, ref: FunctionRef, qualifier: str) -> Standing:
        """How the configuration of a qualifier stands; nothing is there before it was looked at."""
        plan = self._plans.get(ref)
        wish = None if plan is None else plan.wishes.get(qualifier)
        if plan is None or wish is None:
            return NOTHING_YET
        allocations = [plan.allocations.get(version) for version in wish.shares]
        there = sum(self._share_of(plan, qualifier, version) for version in wish.shares)
        held = plan.held.get(qualifier, {})
        available = there + sum(
            min(number, len(one.ready)) for version, number in held.items() if (one := plan.allocations.get(version))
        )
        available = min(available, wish.requested)
        reason = next((one.reason for one in allocations if one is not None and _has_failed(one)), None)
        if there >= wish.requested:
            return Standing(available, available, READY, None)
        if reason is not None:
            return Standing(available, available, FAILED, reason)
        if all(one is not None and one.is_whole for one in allocations):
            return Standing(available, wish.requested, READY, None)
        return Standing(available, available, IN_PROGRESS, None)

    def _share_of(self, plan: _Plan, qualifier: str, version: str) -> int:
        """Of a version's environments, those that are this qualifier's: earlier ones have theirs first."""
        allocation = plan.allocations.get(version)
        left = 0 if allocation is None else len(allocation.ready)
        for other in sorted(plan.wishes, key=sort_key):
            share = min(left, plan.wishes[other].shares.get(version, 0))
            if other == qualifier:
                return share
            left -= share
        return 0


def _has_failed(allocation: Allocation) -> bool:
    """There is a reason, and nothing that still starts without having failed before."""
    return allocation.reason is not None and (allocation.failures > 0 or allocation.starting == 0)


def _may_start(allocation: Allocation) -> bool:
    """After a failure one is tried at a time, and after its pause."""
    if allocation.home is None or allocation.is_given_up or allocation.retry is not None:
        return False
    return not (allocation.failures and allocation.starting)


def _hope_again(allocation: Allocation) -> None:
    """Forget what went wrong: somebody has asked again."""
    if allocation.retry is not None:
        allocation.retry.cancel()
        allocation.retry = None
    if allocation.home is None:
        return  # the machine lacks its runtime: asking again changes nothing
    allocation.failures = allocation.deaths = 0
    allocation.reason = allocation.full_since_ns = None
    allocation.is_given_up = allocation.is_whole = False
