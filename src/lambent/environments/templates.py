"""Templates of versions that asked for SnapStart: when one is made, kept, lost and given up, and copies made ahead of it.

A template is an environment that has initialised and never works: its process is stopped for good, and every environment of
its version is a copy of it in a sandbox of its own. It is made when its version is published (which stays Pending until
then), or when a request finds none: after a restart, after a loss, after a long time without use. What can't be copied is
refused once, and its version's environments have an init of their own.

Life of a version's template, as a table (`NEXT`): news that comes too late for a state moves nothing.

    ABSENT ──WANT──► MAKING ──HOLD──► HELD ──LOSE──► ABSENT        GONE: the version serves no more
       ▲               │REFUSE            │EXPIRE ──► ABSENT
       └──FAIL─────────┤
                       ▼
                    REFUSED

A template that is lost or expired lives on as a shell for as long as copies of it do: their sandboxes lie below its own.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol

from ..domain.clock import Clock
from ..domain.errors import SnapStartRegenerationFailed
from ..functions.model import FunctionVersion
from ..functions.snapshots import NOT_MADE, Outcome
from ..sandbox.port import SandboxDriver, SandboxError, Template
from .copies import PreparedCopy
from .environment import Environment
from .plan import Blueprint, binding_of, limits_of

EXPIRE_S = 86_400.0
"""A template that nobody was copied from for this long goes; the next request makes another."""
AHEAD_S = 60.0
"""Copies are forked ahead for a version that had one made within this time."""
PREPARE_DELAY_S = 0.03
"""How long after one was taken the next is prepared: whoever took it needs the machine more."""

log = logging.getLogger("lambent.environments")


class State(Enum):
    __hash__ = object.__hash__
    ABSENT, MAKING, HELD, REFUSED, GONE = range(5)


class Event(Enum):
    __hash__ = object.__hash__
    WANT, HOLD, REFUSE, FAIL, LOSE, EXPIRE, RETIRE = range(7)


NEXT: dict[tuple[State, Event], State] = {
    (State.ABSENT, Event.WANT): State.MAKING,
    (State.MAKING, Event.HOLD): State.HELD,
    (State.MAKING, Event.REFUSE): State.REFUSED,
    (State.MAKING, Event.FAIL): State.ABSENT,
    (State.HELD, Event.LOSE): State.ABSENT,
    (State.HELD, Event.EXPIRE): State.ABSENT,
    **{(state, Event.RETIRE): State.GONE for state in State},
}


def moved(state: State, event: Event) -> State:
    """The state that follows; the same one where the table has no such row."""
    return NEXT.get((state, event), state)


@dataclass(frozen=True, slots=True)
class TemplateLimits:
    """What is prepared for each template."""

    copies_ahead: int
    """Copies forked before anybody asks, while the version is in use; 0: the sandbox alone is made ahead."""
    templates_max: int
    """Templates held at once: beyond it, the one goes that was unused for longest. Its version has another made when it is
    needed."""


class Owner(Protocol):
    """Who keeps the environments."""

    is_closing: bool

    def new_template(self, version: FunctionVersion) -> Environment:
        """An environment of this version that is to become its template."""

    def supervise(self, coroutine: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]: ...

    def ended(self, environment: Environment) -> Awaitable[None]:
        """Tear a template's environment down."""


@dataclass(slots=True, eq=False)
class Shell:
    """A sandbox that holds, or has held, a template, and what lives below it."""

    environment: Environment
    sandbox: Template
    copies: set[Environment] = field(default_factory=set)
    ready: deque[PreparedCopy] = field(default_factory=deque)
    is_held: bool = True
    forking: asyncio.Lock = field(default_factory=asyncio.Lock)
    """A template is forked by one at a time."""
    preparing: int = 0


@dataclass(slots=True, eq=False)
class Holder:
    """One version's template."""

    version: FunctionVersion
    blueprint: Blueprint
    state: State = State.ABSENT
    shell: Shell | None = None
    refusal: str = ""
    failure: str = ""
    made: asyncio.Future[None] | None = None
    """Done when the making is over."""
    used_ns: int = 0
    timer: asyncio.TimerHandle | None = None

    def move(self, event: Event) -> None:
        self.state = moved(self.state, event)


class Templates:
    """The templates of a node. All methods are called on the event loop."""

    def __init__(
        self,
        owner: Owner,
        driver: SandboxDriver,
        clock: Clock,
        limits: TemplateLimits,
        told: Callable[[FunctionVersion, Outcome], Awaitable[None]],
    ) -> None:
        """told: what came of a version's init, when it was made for its publication or anew."""
        self._owner = owner
        self._driver = driver
        self._clock = clock
        self._limits = limits
        self._told = told
        self._holders: dict[int, Holder] = {}
        """By the version's generation."""
        self._fading: set[Shell] = set()
        """Shells that hold nothing any more, and wait for their copies' ends."""
        self.copied = 0
        self.ahead = 0
        """How many copies were forked before they were asked for."""

    def look(self, version: FunctionVersion, blueprint: Blueprint) -> None:
        """A version that asked for a snapshot is there: a published one that waits for it gets it now."""
        if version.awaits_snapshot and not self._owner.is_closing:
            self._want(self._holder(version, blueprint))

    def forget(self, version: FunctionVersion) -> None:
        """A version serves no more."""
        holder = self._holders.pop(version.generation, None)
        if holder is not None:
            holder.move(Event.RETIRE)
            self._fade(holder)

    async def take(self, version: FunctionVersion, blueprint: Blueprint) -> tuple[Shell, PreparedCopy] | None:
        """A sandbox for a copy, or the copy itself where one was forked ahead; None where this version has no template.

        Makes the template first where there is none. Raises SandboxError, and SnapStartRegenerationFailed where its init
        fails.
        """
        holder = self._holder(version, blueprint)
        if version.snapshot_refusal is not None and holder.state is State.ABSENT:
            return None  # it was tried when the version was published
        while holder.state in (State.ABSENT, State.MAKING):
            self._want(holder)
            assert holder.made is not None
            await asyncio.shield(holder.made)
            if holder.state is State.ABSENT:
                raise SnapStartRegenerationFailed(holder.failure)
        shell = holder.shell
        if holder.state is not State.HELD or shell is None:
            return None
        holder.used_ns = self._clock.monotonic_ns()
        self.copied += 1
        while shell.ready:
            prepared = shell.ready.popleft()
            if not prepared.has_ended:
                self._prepare_soon(holder)
                return shell, prepared
            self._owner.supervise(prepared.destroy(), "destroy a copy")
        shell.preparing += 1
        try:
            prepared = await self._blank(holder, shell)
        finally:
            shell.preparing -= 1
        if not shell.is_held:  # lost meanwhile
            await prepared.destroy()
            self._end_if_done(shell)
            return await self.take(version, blueprint)
        self._prepare_soon(holder)
        return shell, prepared

    def joins(self, shell: Shell, environment: Environment) -> None:
        """An environment is about to be a copy of what the shell holds."""
        shell.copies.add(environment)
        environment.shared_bytes = shell.environment.peak_bytes

    def left(self, environment: Environment) -> None:
        """An environment is gone for good."""
        for shell in [holder.shell for holder in self._holders.values() if holder.shell] + list(self._fading):
            if environment in shell.copies:
                shell.copies.discard(environment)
                self._end_if_done(shell)
                return

    def lost(self, environment: Environment) -> None:
        """A template's process has ended."""
        for holder in self._holders.values():
            if holder.shell is not None and holder.shell.environment is environment:
                log.warning("the template of %s was lost; the next cold start makes another", holder.version.arn)
                holder.move(Event.LOSE)
                self._fade(holder)
                return

    @property
    def count(self) -> int:
        """Templates that are held."""
        return sum(holder.state is State.HELD for holder in self._holders.values())

    def sweep(self) -> None:
        """Give up what nobody used for long."""
        now_ns = self._clock.monotonic_ns()
        for holder in self._holders.values():
            shell = holder.shell
            if holder.state is not State.HELD or shell is None:
                continue
            idle_s = (now_ns - holder.used_ns) / 1e9
            if idle_s >= EXPIRE_S and not shell.copies:
                holder.move(Event.EXPIRE)
                self._fade(holder)
            elif idle_s >= AHEAD_S:
                while shell.ready and shell.ready[-1].runtime is not None:
                    self._owner.supervise(shell.ready.pop().destroy(), "destroy a copy")
                self._prepare_soon(holder)

    async def close(self) -> None:
        """End everything; all environments are gone by now."""
        for holder in list(self._holders.values()):
            if holder.timer is not None:
                holder.timer.cancel()
            if holder.made is not None:
                await asyncio.wait([holder.made])
            holder.move(Event.RETIRE)
            self._fade(holder)
        for shell in list(self._fading):
            await self._end(shell)

    # --- making ------------------------------------------------------------------------------------------------

    def _holder(self, version: FunctionVersion, blueprint: Blueprint) -> Holder:
        holder = self._holders.get(version.generation)
        if holder is None:
            holder = self._holders[version.generation] = Holder(version, blueprint)
        holder.version = version
        return holder

    def _want(self, holder: Holder) -> None:
        if holder.state is State.ABSENT and holder.made is None:
            holder.move(Event.WANT)
            holder.made = asyncio.get_running_loop().create_future()
            self._owner.supervise(self._make(holder), f"template {holder.version.ref.name}")

    async def _make(self, holder: Holder) -> None:
        outcome = Outcome(failure=(NOT_MADE, "The template was not made."))
        try:
            outcome = await self._made(holder)
        finally:
            made, holder.made = holder.made, None
            if outcome.failure is not None:
                holder.failure = outcome.failure[1]
                holder.move(Event.FAIL)
            elif outcome.refusal is not None:
                holder.refusal = outcome.refusal
                holder.move(Event.REFUSE)
            else:
                holder.used_ns = self._clock.monotonic_ns()
                holder.move(Event.HOLD)
            if holder.state is not State.HELD:
                self._fade(holder)
            assert made is not None
            made.set_result(None)
        if holder.state is State.HELD:
            self._prepare_soon(holder)
            self._bound(holder)
        if not self._owner.is_closing:
            await self._told(holder.version, outcome)

    def _bound(self, newest: Holder) -> None:
        """Over the bound, give up what was unused for longest."""
        held = [one for one in self._holders.values() if one.state is State.HELD and one is not newest]
        held.sort(key=lambda one: one.used_ns)
        for one in held[: max(0, len(held) + 1 - self._limits.templates_max)]:
            one.move(Event.EXPIRE)
            self._fade(one)

    async def _made(self, holder: Holder) -> Outcome:
        """Initialise the version once; where a template can be kept, `holder.shell` has it."""
        version = holder.version
        reason = self._driver.copies or holder.blueprint.no_copies
        if reason is not None:
            log.warning("no template of %s is kept: %s", version.arn, reason)
            return Outcome(refusal=reason)
        environment = self._owner.new_template(version)
        try:
            sandbox, outcome = await environment.open_template(self._driver)
        except SandboxError as error:
            log.error("no template of %s: %s", version.arn, error)
            await self._owner.ended(environment)
            return Outcome(failure=(NOT_MADE, f"No execution environment could be made: {error}"))
        except BaseException:
            await self._owner.ended(environment)
            raise
        if sandbox is None:
            if outcome.refusal is not None:
                log.warning("no template of %s is kept: %s", version.arn, outcome.refusal)
                environment.say(
                    f"SNAPSTART\tTemplate: none\tReason: {outcome.refusal}. Environments of version {version.version} "
                    "start with an init of their own."
                )
            await self._owner.ended(environment)
            return outcome
        holder.shell = Shell(environment, sandbox)
        return outcome

    # --- ahead -------------------------------------------------------------------------------------------------

    def _prepare_soon(self, holder: Holder) -> None:
        if holder.timer is None and not self._owner.is_closing:
            loop = asyncio.get_running_loop()
            holder.timer = loop.call_later(PREPARE_DELAY_S, self._prepare, holder)

    def _wanted(self, holder: Holder) -> int:
        """How many sandboxes should be ready; while the version is in use they hold a copy each."""
        return max(1, self._limits.copies_ahead if self._is_hot(holder) else 1)

    def _is_hot(self, holder: Holder) -> bool:
        return self._limits.copies_ahead > 0 and (self._clock.monotonic_ns() - holder.used_ns) / 1e9 < AHEAD_S

    def _prepare(self, holder: Holder) -> None:
        holder.timer = None
        shell = holder.shell
        if holder.state is not State.HELD or shell is None or self._owner.is_closing:
            return
        while len(shell.ready) + shell.preparing < self._wanted(holder):
            shell.preparing += 1
            self._owner.supervise(self._prepare_one(holder, shell, None), "prepare a copy")
        if self._is_hot(holder):
            for prepared in [one for one in shell.ready if one.runtime is None]:
                shell.ready.remove(prepared)
                shell.preparing += 1
                self._owner.supervise(self._prepare_one(holder, shell, prepared), "prepare a copy")

    async def _prepare_one(self, holder: Holder, shell: Shell, prepared: PreparedCopy | None) -> None:
        try:
            if prepared is None:
                prepared = await self._blank(holder, shell)
            if self._is_hot(holder):
                async with shell.forking:
                    await prepared.forked_ahead()
                self.ahead += 1
        except SandboxError as error:
            log.warning("no copy of %s could be prepared: %s", holder.version.arn, error)
            if prepared is not None:
                await prepared.destroy()
            return
        finally:
            shell.preparing -= 1
        if shell.is_held and not self._owner.is_closing:
            shell.ready.append(prepared)
        else:
            await prepared.destroy()
            self._end_if_done(shell)

    async def _blank(self, holder: Holder, shell: Shell) -> PreparedCopy:
        sandbox = await shell.sandbox.make_copy(limits_of(holder.version))
        try:
            await sandbox.bind(binding_of(holder.version, holder.blueprint))
        except BaseException:
            await sandbox.destroy()
            raise
        return PreparedCopy(sandbox)

    # --- the end -----------------------------------------------------------------------------------------------

    def _fade(self, holder: Holder) -> None:
        shell, holder.shell = holder.shell, None
        if shell is not None:
            shell.is_held = False
            self._fading.add(shell)
            self._end_if_done(shell)

    def _end_if_done(self, shell: Shell) -> None:
        if not shell.is_held and not shell.copies and not shell.preparing and shell in self._fading:
            self._fading.discard(shell)
            self._owner.supervise(self._end(shell), "end a template")

    async def _end(self, shell: Shell) -> None:
        self._fading.discard(shell)
        while shell.ready:
            await shell.ready.pop().destroy()
        await self._owner.ended(shell.environment)
