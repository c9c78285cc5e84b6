"""Environments on their way to be a pool's: each start takes its turn, opens its environment, and hands it over or says why
there is none. Everything slow of a cold start is here, in tasks of its own, off the request path.

Whatever breaks, somebody waits for the environment: one waiting request is told, and none waits for ever.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Protocol

from ..domain.clock import Clock
from ..domain.errors import LambentError
from ..domain.ids import new_uuid
from ..sandbox.port import SandboxError
from ..telemetry.attempt import ON_DEMAND, SNAP_START, Origin
from .entries import Entry
from .environment import Environment
from .lifecycle import State
from .provisioning import INIT_FAILED
from .starting import StartingLine, processors, runnable
from .surroundings import Surroundings
from .templates import Templates
from .tenants import Tenants

log = logging.getLogger("lambent.environments")


class Owner(Protocol):
    """Who keeps the environments."""

    def is_wanted(self, entry: Entry) -> bool:
        """Whether a start whose turn has come is still needed."""

    def opened(self, entry: Entry, environment: Environment) -> None:
        """One is a member of its pool now, and takes work."""

    def place_free(self, entry: Entry) -> None:
        """What was to be opened is not: whoever waits for room may have its place."""

    def retire(self, environment: Environment, reason: str) -> None: ...


class Opening:
    """See the module's text. Used on the event loop."""

    def __init__(
        self, owner: Owner, clock: Clock, shared: Surroundings, templates: Templates | None, tenants: Tenants
    ) -> None:
        self._owner = owner
        self._clock = clock
        self._shared = shared
        self._templates = templates
        self._tenants = tenants
        self._turns = StartingLine(processors(), runnable)
        self.under_way: set[Environment] = set()
        """Environments that are being opened; members of no pool yet."""
        self.cold_starts = 0

    def environment(self, entry: Entry, initialization: str = ON_DEMAND) -> Environment:
        """A new one, not opened yet."""
        environment = Environment(entry.version, self._origin(entry, initialization), entry.blueprint, self._shared)
        environment.home = entry
        if entry.tenant_id:
            self._tenants.join(environment)
        return environment

    async def open(self, entry: Entry) -> None:
        """Open one in its turn, unless whoever it was for has been served meanwhile. `pool.start_begins` was called."""
        is_wanted = False
        try:
            async with self._turns.turn() as has_waited:
                is_wanted = not has_waited or self._owner.is_wanted(entry)
                if is_wanted:
                    entry.opening += 1
                    try:
                        await self._open_now(entry)
                    finally:
                        entry.opening -= 1
        finally:
            if not is_wanted:
                entry.pool.start_ends(None)
                self._owner.place_free(entry)

    async def _open_now(self, entry: Entry) -> None:
        version = entry.version
        is_snapshotted = version.is_snapshotted and self._templates is not None
        environment = self.environment(entry, SNAP_START if is_snapshotted else ON_DEMAND)
        self.cold_starts += 1
        self.under_way.add(environment)
        self._shared.awake.running += 1  # a birth waits for processors that do nothing
        began_ns = self._clock.monotonic_ns()
        try:
            if is_snapshotted:
                await self._open_snapshotted(entry, environment)
            else:
                await environment.open()
        except Exception as error:
            entry.pool.start_ends(None)
            if isinstance(error, LambentError):
                log.warning("no environment for %s was restored: %s", version.arn, error)
                fail_one(entry, error)
                self._owner.retire(environment, "not restored")
                return
            if isinstance(error, SandboxError):
                log.error("no environment for %s: %s", version.arn, error)
            else:
                log.error("no environment for %s", version.arn, exc_info=error)
            fail_one(entry, f"no execution environment could be made: {error}")
            self._owner.retire(environment, "never opened")
            return
        except asyncio.CancelledError:
            entry.pool.start_ends(None)
            self._owner.retire(environment, "never opened")
            raise
        finally:
            self.under_way.discard(environment)
            self._shared.awake.running -= 1
        is_usable = environment.state is State.IDLE  # a STOP may have come meanwhile
        if environment.is_warm:
            entry.history.started((self._clock.monotonic_ns() - began_ns) / 1_000_000_000)
        entry.pool.start_ends(environment if is_usable else None)
        if is_usable:
            self._owner.opened(entry, environment)  # hands over the first event, on which the function works meanwhile
        environment.write_init()

    async def _open_snapshotted(self, entry: Entry, environment: Environment) -> None:
        """A copy of the version's template; where there can be none, an init of its own."""
        assert self._templates is not None
        taken = await self._templates.take(entry.version, entry.blueprint)
        if environment.state is not State.STARTING:  # a STOP came while the template was made
            if taken is not None:
                await taken[1].destroy()
            raise SandboxError("restore the environment", 0, "it was stopped")
        if taken is None:
            await environment.open()
            return
        shell, prepared = taken
        self._templates.joins(shell, environment)
        await environment.restore(prepared, shell.forking)

    @property
    def waiting(self) -> int:
        """Starts that wait for their turn."""
        return self._turns.waiting

    async def open_provisioned(self, environment: Environment) -> str | None:
        """Open one that nobody waits for, without a turn: why it can't be used; None: it can."""
        self.under_way.add(environment)
        try:
            await environment.open()
        except SandboxError as error:
            log.error("no provisioned environment for %s: %s", environment.version.arn, error)
            return f"No execution environment could be made: {error}"
        finally:
            self.under_way.discard(environment)
        if not environment.is_warm:
            return INIT_FAILED
        return None if environment.state is State.IDLE else "The environment was stopped."

    def close(self) -> None:
        """Nobody waits for a turn any more."""
        self._turns.close()

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


def fail_one(entry: Entry, reason: str | LambentError) -> None:
    """Tell the one who has waited longest that there is nothing for it, if anybody waits."""
    if entry.pool.waiting:
        _, work = entry.pool.waiting.popleft()
        work.fail(reason)


def _utc_day(wall_ms: int) -> str:
    return time.strftime("%Y/%m/%d", time.gmtime(wall_ms / 1_000))
