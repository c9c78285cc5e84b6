"""How an environment comes to be: by an init phase of its own, as a template, or as a copy of one; and what is written of it.

Each way takes the runtime as far as its first question for work, within a limit of its own, and leaves one `InitRecord`.
Source: Developer guide, "Lambda execution environment lifecycle" and "Lambda SnapStart".
"""

from __future__ import annotations

import asyncio
import errno
from typing import Any

import orjson

from ..domain.errors import SnapStartFailed, SnapStartTimedOut
from ..domain.limits import PROVISIONED_INIT_LIMIT_S
from ..functions.model import FunctionVersion
from ..functions.snapshots import Outcome as Snapshot
from ..functions.snapshots import init_failure
from ..sandbox.port import Obstacle, SandboxDriver, SandboxError, Template
from ..telemetry.attempt import INIT, PROVISIONED, RESTORE, InitRecord, Origin
from .copies import PreparedCopy
from .failures import describe_init
from .plan import Blueprint, StartPlan
from .runtime import Outcome, Runtime
from .surroundings import Surroundings
from .work import Restored

AFTER_RESTORE_FAILED = (
    "The afterRestore() runtime hook encountered an error. For more information, check the Amazon CloudWatch logs."
)

_STATUSES = {"ready": "success", "snapshot": "success", "timeout": "timeout"}


class Birth:
    """Of one environment. Used on the event loop."""

    __slots__ = ("_blueprint", "_clock", "_origin", "_record", "_runtime", "_shared", "_version", "initialised_ns")

    def __init__(
        self, version: FunctionVersion, origin: Origin, blueprint: Blueprint, runtime: Runtime, shared: Surroundings
    ) -> None:
        self._version = version
        self._origin = origin
        self._blueprint = blueprint
        self._runtime = runtime
        self._shared = shared
        self._clock = shared.clock
        self._record: InitRecord | None = None
        """Of a phase that has ended and is not written down yet."""
        self.initialised_ns = 0
        """When the environment was first able to take work."""

    async def initialised(self) -> tuple[str, int | None]:
        """Build the sandbox and run the init phase: how it ended, and how many microseconds of it the first attempt carries.
        Raises SandboxError when there is no sandbox.

        Nobody waits for a provisioned one, so its init has as long as the function, at least 130 s; it is always reported,
        and no attempt carries its duration.
        """
        start = await self._runtime.build()
        if self._origin.initialization == PROVISIONED:
            (kind, _), _ = await self._initialise(self._long_s, start, is_reported=True)
            return kind, None
        (kind, _), duration_us = await self._initialise(self._shared.init_limit_s, start)
        return kind, duration_us

    async def held(self, driver: SandboxDriver) -> tuple[Template | None, Snapshot]:
        """Initialise a template and stop it for good: the sandbox where that succeeded, and what came of it.
        Raises SandboxError."""
        runtime = self._runtime
        sandbox = await runtime.build_template(driver)
        (kind, detail), _ = await self._initialise(self._long_s, is_reported=True, is_template=True)
        self.write()
        if kind != "snapshot":
            if self._shared.is_lost() or runtime.is_stopping:
                raise SandboxError("initialise the template", errno.EPIPE, "the sandbox was lost")
            if kind == "ready":
                return None, Snapshot(refusal="its runtime does not wait to be copied")
            error_type, body = describe_init(kind, detail, "") if kind != "timeout" else ("", b"")
            return None, init_failure(kind, error_type, _told(kind, error_type, body, self._long_s))
        if detail:
            return None, Snapshot(refusal="it has " + ", ".join(detail))
        try:
            async with runtime.steps:
                await sandbox.hold()
        except Obstacle as obstacle:
            return None, Snapshot(refusal=obstacle.step)
        return sandbox, Snapshot()

    async def restored(self, prepared: PreparedCopy, forking: asyncio.Lock) -> Restored:
        """Become a copy of a template. Raises SandboxError, SnapStartFailed and SnapStartTimedOut."""
        self._runtime.enter(prepared.sandbox)
        started_ms, started_ns = self._clock.wall_ms(), self._clock.monotonic_ns()
        (kind, detail), forked_ns = await self._runtime.restore(prepared, forking)
        ended_ns = self._clock.monotonic_ns()
        duration_us = (ended_ns - started_ns) // 1_000
        self._note(RESTORE, kind, detail, started_ms, duration_us, is_reported=True)
        if kind != "ready":
            self.write()
        if kind == "timeout":
            raise SnapStartTimedOut("Lambda couldn't restore the snapshot within the timeout limit.")
        if kind != "ready":
            raise SnapStartFailed(AFTER_RESTORE_FAILED)
        self.initialised_ns = ended_ns
        return Restored(duration_us, -(-(ended_ns - forked_ns) // 1_000_000))

    def write(self) -> None:
        """Write down the phase, once."""
        record, self._record = self._record, None
        if record is not None:
            self._shared.owner.record(record)

    @property
    def _long_s(self) -> float:
        """The limit of an init for which no request waits."""
        return max(PROVISIONED_INIT_LIMIT_S, self._version.configuration.timeout_s)

    async def _initialise(
        self,
        limit_s: float,
        start: tuple[StartPlan, bytes] | None = None,
        *,
        is_reported: bool = False,
        is_template: bool = False,
    ) -> tuple[Outcome, int]:
        """The init phase with its record; its outcome, and how long it took in microseconds."""
        started_ms, started_ns = self._clock.wall_ms(), self._clock.monotonic_ns()
        kind, detail = outcome = await self._runtime.initialise(limit_s, start, is_template=is_template)
        self.initialised_ns = self._clock.monotonic_ns()
        duration_us = (self.initialised_ns - started_ns) // 1_000
        self._note(INIT, kind, detail, started_ms, duration_us, is_reported=is_reported)
        return outcome, duration_us

    def _note(
        self, phase: str, kind: str, detail: Any, started_ms: int, duration_us: int, *, is_reported: bool
    ) -> None:
        """What `write` will write down."""
        self._record = InitRecord(
            origin=self._origin,
            started_ms=started_ms,
            duration_us=duration_us,
            runtime_version=self._blueprint.runtime_version,
            runtime_version_arn=self._blueprint.runtime_version_arn,
            status=_STATUSES.get(kind, "error"),
            error_type=describe_init(kind, detail, "")[0]
            if kind in ("error", "exit", "refused", "extension")
            else None,
            phase=phase,
            is_reported=is_reported,
            lines=self._runtime.output.take_lines(),
        )


def _told(kind: str, error_type: str, body: bytes, limit_s: float) -> str:
    """Why an init failed, for the version's StateReason."""
    if kind == "timeout":
        return f"The function's initialization did not end within {limit_s:g} seconds."
    message = ""
    try:
        said = orjson.loads(body)
        message, error_type = str(said["errorMessage"]), str(said["errorType"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        pass  # whatever a runtime posts
    return f"The function's initialization failed: {error_type}: {message.removeprefix('RequestId:  Error: ')}"[:1_000]
