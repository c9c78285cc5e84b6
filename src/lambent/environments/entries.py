"""The pools of a node: one for each version that was asked for, and with tenant isolation one for each tenant of it.

What is learned of a version outlives its code: who calls a function changes less than that, so a version that was updated
passes on its history. Of tenants nothing is kept that has no environment: callers name as many as they like.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ..domain.names import FunctionRef
from ..functions.model import FunctionVersion
from .environment import Environment
from .keepalive import History, commons
from .plan import Blueprint, Blueprints
from .pool import Pool
from .provisioning import Allocation
from .work import Work

EXPECTED_MAX = 1_024
"""Versions that were created or updated lately, whose blueprints are kept for their first invocation."""

Key = tuple[FunctionRef, str, int, str]
"""Function, version, its generation, tenant."""


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
    looking: asyncio.TimerHandle | None = None
    """Runs while somebody waits for an environment that is busy; see `scaling`."""
    look_ns: int = 0
    """When it ends."""
    enough: int = 0
    """For so many who wait nothing has to be started before then."""
    took_us: int = 0
    """How long its environments have been busy with an attempt lately; 0: not known."""
    freed_ns: int = 0
    """When one of them last was free again."""
    is_obsolete: bool = False
    opening: int = 0
    """Starts that have their turn; `pool.starting` holds those that wait for it, too."""
    waits: int = 0
    """Requests in a row that waited for a busy environment."""
    is_watched: bool = False
    """Will be looked at when one of its environments may be idle for too long."""
    is_starved: bool = False
    """Waits for room: stands in the node's line of starved entries."""

    @property
    def key(self) -> Key:
        """What it is found by."""
        version = self.version
        return version.ref, version.version, version.generation, self.tenant_id

    def idle_provisioned(self) -> list[Environment]:
        """Provisioned environments that are idle, the least recently used first."""
        return list(self.pool.provisioned)


class Entries:
    """See the module's text. Used on the event loop."""

    def __init__(self, blueprints: Blueprints, idle_timeout_s: float) -> None:
        self._blueprints = blueprints
        self._idle_timeout_s = idle_timeout_s
        self._common, self._common_of_tenants = commons(), commons()
        self.inherited: dict[FunctionRef, dict[str, History]] = {}
        """Of versions that were updated and not invoked since."""
        self._by_key: dict[Key, Entry] = {}
        self._by_version: dict[int, Entry] = {}
        self._of_function: dict[FunctionRef, list[Entry]] = {}
        self._expected: dict[tuple[FunctionRef, str, int], Blueprint] = {}
        """Of versions that were created or updated lately and not invoked since."""
        self.unsettled: set[Entry] = set()
        """With work that waits, or new and a tenant's: to be looked at from time to time."""

    def __len__(self) -> int:
        return len(self._by_key)

    def entry(self, version: FunctionVersion, tenant_id: str = "") -> Entry:
        """The pool of a version, or of one tenant of it. Raises RuntimeMissing when this machine can't run it."""
        if tenant_id:
            return self._entry(version, tenant_id)
        entry = self._by_version.get(id(version))
        if entry is not None:
            return entry
        known = self._by_key.get((version.ref, version.version, version.generation, ""))
        entry = self._entry(version, "")
        if known is not None:
            self._by_version.pop(id(entry.version), None)
            entry.version = version  # keeps the value alive, and with it the id it is found by
        self._by_version[id(version)] = entry
        return entry

    def _entry(self, version: FunctionVersion, tenant_id: str) -> Entry:
        key = (version.ref, version.version, version.generation, tenant_id)
        entry = self._by_key.get(key)
        if entry is None:
            blueprint = self._expected.pop(key[:3], None) or self._blueprints.blueprint(version)
            history = self._history(version, tenant_id)
            entry = self._by_key[key] = Entry(version, Pool(), blueprint, history, tenant_id)
            self._of_function.setdefault(version.ref, []).append(entry)
            if tenant_id:
                self.unsettled.add(entry)
        return entry

    def _history(self, version: FunctionVersion, tenant_id: str) -> History:
        if tenant_id:  # callers name as many as they like: what is learned of them says nothing of functions
            return History(self._common_of_tenants, self._idle_timeout_s)
        inherited = self.inherited.get(version.ref, {}).pop(version.version, None)
        return inherited or History(self._common, self._idle_timeout_s)

    def expect(self, version: FunctionVersion) -> Blueprint:
        """A version that may be invoked soon: its blueprint, kept for then. Raises RuntimeMissing."""
        blueprint = self._blueprints.blueprint(version)
        if len(self._expected) >= EXPECTED_MAX:
            del self._expected[next(iter(self._expected))]
        self._expected[version.ref, version.version, version.generation] = blueprint
        return blueprint

    def all(self) -> Iterable[Entry]:
        """Every one there is."""
        return self._by_key.values()

    def of(self, ref: FunctionRef) -> list[Entry]:
        """A function's."""
        return list(self._of_function.get(ref, ()))

    def supersede(self, entry: Entry, successor: FunctionVersion | None) -> None:
        """Its version serves no more; successor: what does in its place, and inherits what is known."""
        if successor is not None and not entry.is_obsolete and not entry.tenant_id:
            self.inherited.setdefault(successor.ref, {})[successor.version] = entry.history
        entry.is_obsolete = True

    def keep_inherited(self, ref: FunctionRef, serves: Callable[[str], bool]) -> None:
        """Forget what was left to versions of a function that do not serve."""
        inherited = self.inherited.pop(ref, {})
        if kept := {one: known for one, known in inherited.items() if serves(one)}:
            self.inherited[ref] = kept

    def forget_if_done(self, entry: Entry) -> None:
        """Forget one that serves no more, or a tenant's, when nothing lives there and nobody waits."""
        if not ((entry.is_obsolete or entry.tenant_id) and entry.pool.is_empty):
            return
        if self._by_key.get(entry.key) is entry:
            del self._by_key[entry.key]
            of_function = self._of_function[entry.version.ref]
            of_function.remove(entry)
            if not of_function:
                del self._of_function[entry.version.ref]
        if not entry.tenant_id:
            self._by_version.pop(id(entry.version), None)
