"""The pool of one function version: who is idle, who is starting, who waits. Bookkeeping only; nothing here awaits.

A request takes an idle provisioned environment, else the most recently used idle one; one that exceeds what provisioned
environments may be asked for takes an idle one that is not. Without one it waits, first come first served, and every waiting request beyond the environments already starting, or being reset, asks for one more.
Whichever environment is free first serves the longest waiting request, whoever asked for it; the one that comes later
stays as a spare. Nobody counts on a provisioned one that is still starting: it may take minutes, and may fail.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar


class Member(Protocol):
    """What the pool needs to know of an environment."""

    idle_since_ns: int

    @property
    def is_provisioned(self) -> bool:
        """It is kept because it was asked for beforehand, and used first."""


E = TypeVar("E", bound=Member)
W = TypeVar("W")


class Pool(Generic[E, W]):
    """Bookkeeping for the environments (E) and the waiting work (W) of one version."""

    __slots__ = ("_idle", "members", "mending", "provisioned", "starting", "waiting")

    def __init__(self) -> None:
        self._idle: list[E] = []  # the most recently used last
        self.provisioned: list[E] = []
        """Idle provisioned environments, the most recently used last."""
        self.members: set[E] = set()
        self.mending: set[E] = set()
        """Members that lost their runtime and are being reset: free again within milliseconds."""
        self.starting = 0
        self.waiting: deque[W] = deque()

    def __repr__(self) -> str:
        return (
            f"<Pool {len(self.members)} members, {len(self._idle)} idle, {self.starting} starting, "
            f"{len(self.waiting)} waiting>"
        )

    @property
    def idle(self) -> int:
        """How many environments are idle."""
        return len(self._idle) + len(self.provisioned)

    @property
    def is_empty(self) -> bool:
        """Nothing lives here and nobody waits."""
        return not self.members and not self.waiting and self.starting == 0

    def lease(self) -> E | None:
        """Take an idle environment, a provisioned one first, else the most recently used; the caller marks it LEASED in
        the same step."""
        if self.provisioned:
            return self.provisioned.pop()
        return self._idle.pop() if self._idle else None

    def lease_on_demand(self) -> E | None:
        """The same, never a provisioned one."""
        return self._idle.pop() if self._idle else None

    def wait(self, work: W) -> int:
        """Queue work; answers how many environments must be started so that everybody waiting gets one."""
        self.waiting.append(work)
        return max(0, self.missing)

    @property
    def missing(self) -> int:
        """How many of those waiting have no environment on its way, below zero when there are spare ones."""
        return len(self.waiting) - self.starting - len(self.mending)

    def withdraw(self, work: W) -> bool:
        """Take waiting work out again; False when it is not waiting (any more)."""
        try:
            self.waiting.remove(work)
        except ValueError:
            return False
        return True

    def start_begins(self) -> None:
        """An environment is being created."""
        self.starting += 1

    def start_ends(self, environment: E | None) -> None:
        """Creation is over: with an environment it becomes a member, with None it failed."""
        if self.starting <= 0:
            raise AssertionError("more starts ended than began")
        self.starting -= 1
        if environment is not None:
            self.join(environment)

    def join(self, environment: E) -> None:
        """An environment becomes a member that nobody has waited for."""
        self.members.add(environment)

    def free(self, environment: E, now_ns: int) -> W | None:
        """An environment can take work: answers the longest waiting work, or parks the environment as idle."""
        self.mending.discard(environment)
        if self.waiting:
            return self.waiting.popleft()
        environment.idle_since_ns = now_ns
        (self.provisioned if environment.is_provisioned else self._idle).append(environment)
        return None

    def mend(self, environment: E) -> None:
        """A member lost its runtime: it can't be leased until it is `free` again, and whoever waits may count on it."""
        self._take_out(environment)
        self.mending.add(environment)

    @property
    def needs_environment(self) -> bool:
        """Whether one more request would have to start an environment, unless it runs on an idle provisioned one."""
        return not self._idle and self.missing >= 0

    def leave(self, environment: E) -> None:
        """An environment stops, whatever it was doing."""
        self.members.discard(environment)
        self.mending.discard(environment)
        self._take_out(environment)

    def _take_out(self, environment: E) -> None:
        idle = self.provisioned if environment.is_provisioned else self._idle
        if environment in idle:
            idle.remove(environment)

    def idle_members(self) -> Iterator[E]:
        """All idle environments, the least recently used first and the provisioned last."""
        return iter([*self._idle, *self.provisioned])

    @property
    def longest_idle(self) -> E | None:
        """Whom to retire when room is needed: never a provisioned one."""
        return self._idle[0] if self._idle else None
