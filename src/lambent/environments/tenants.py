"""The environments that belong to tenants: so many of one account in one region, and no more."""

from __future__ import annotations

from ..domain.names import Scope
from .environment import Environment
from .lifecycle import State


class Tenants:
    """Used on the event loop."""

    def __init__(self, environments_max: int) -> None:
        """environments_max: of one account in one region."""
        self._environments_max = environments_max
        self._members: dict[Scope, set[Environment]] = {}

    def join(self, environment: Environment) -> None:
        """A tenant's environment is made."""
        self._members.setdefault(environment.version.ref.scope, set()).add(environment)

    def leave(self, environment: Environment) -> None:
        """It retires."""
        scope = environment.version.ref.scope
        members = self._members[scope]
        members.discard(environment)
        if not members:
            del self._members[scope]

    def one_too_many(self, scope: Scope) -> Environment | None:
        """Before one more is made: which one is to go, the one that has been idle longest; None while there is room, or
        while nobody is idle."""
        members = self._members.get(scope, ())
        if len(members) < self._environments_max:
            return None
        idle = [environment for environment in members if environment.state is State.IDLE]
        return min(idle, key=lambda environment: environment.idle_since_ns, default=None)
