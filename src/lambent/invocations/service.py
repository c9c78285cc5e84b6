"""One attempt, from admission to its record.

`start` decides and hands over in one step, without an await: admission's ticket is taken, an environment leased or
awaited. When the environment delivers, the ticket is given back, the attempt's record is written (one write, with all
its log lines), and only then the answer goes to whoever asked. What could not be written down is not answered as done.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from ..concurrency.admission import Admission, Kind, Throttle, Ticket
from ..domain.clock import Clock
from ..domain.errors import DiskFull, ResourceConflict, ServiceFault, TooManyRequests
from ..environments.channel import RuntimeEvent
from ..environments.plan import RuntimeMissing
from ..environments.service import Environments
from ..environments.work import Result, Work
from ..functions.model import FunctionVersion
from ..telemetry.attempt import Attempt, request_units
from .trace import is_sampled

log = logging.getLogger("lambent.invocations")


@dataclass(slots=True, eq=False)
class Invocation:
    """What is to be run: one event for one resolved version."""

    version: FunctionVersion
    qualifier: str | None
    """What the caller wrote; None when nothing."""
    request_id: str
    kind: Kind
    trace: str
    """The trace header as the function sees it."""
    body: bytes
    client_context: str = ""
    cognito_identity: str = ""
    tenant_id: str = ""
    answered: Answered | None = None
    failed: Callable[[Invocation, Exception], None] | None = None
    context: object = None
    """The asker's own."""
    ticket: Ticket | None = None


Answered = Callable[[Invocation, Result, Attempt], None]
"""Told the result and the record that was written of it."""


class Invocations:
    """See the module's text. `append` writes one attempt's record and raises DiskFull when it can't."""

    def __init__(
        self,
        *,
        admission: Admission,
        environments: Environments,
        append: Callable[[Attempt], None],
        clock: Clock,
    ) -> None:
        self._admission = admission
        self._environments = environments
        self._append = append
        self._clock = clock
        self.running = 0
        self.throttles = 0
        self._idle = asyncio.Event()
        self._idle.set()

    def start(self, invocation: Invocation) -> None:
        """Begin one attempt; `answered` or `failed` is called later, exactly once, unless this raises.

        Raises ResourceConflict in a state that refuses, TooManyRequests when throttled, ServiceFault when this machine
        lacks the runtime.
        """
        version = invocation.version
        if version.state not in ("Active", "Inactive"):
            raise ResourceConflict(_refusal(version))
        try:
            entry = self._environments.entry(version, invocation.tenant_id)
        except RuntimeMissing as error:
            raise ServiceFault(str(error)) from None
        pool = entry.pool
        needs_environment = pool.needs_environment and self._environments.can_grow
        granted = self._admission.enter(
            version.ref, self._clock.monotonic_ns(), needs_environment, invocation.kind, bool(pool.provisioned)
        )
        if isinstance(granted, Throttle):
            self.throttles += 1
            raise TooManyRequests(granted.reason.value)
        invocation.ticket = granted
        event = RuntimeEvent(
            request_id=invocation.request_id,
            deadline_ms=0,  # the environment sets it when it hands the event over
            invoked_arn=version.ref.arn(invocation.qualifier),
            trace_id=invocation.trace,
            client_context=invocation.client_context,
            cognito_identity=invocation.cognito_identity,
            tenant_id=invocation.tenant_id,
            content_type="application/json",
            body=invocation.body or b"{}",
        )
        self.running += 1
        self._idle.clear()
        self._environments.submit(
            entry, Work(event, version.configuration.timeout_s, self._done, self._failed, invocation)
        )

    async def run(self, invocation: Invocation) -> Result:
        """Run one attempt and wait for it. Raises what `start` raises, and what keeps an attempt from its result."""
        waiting: asyncio.Future[Result] = asyncio.get_running_loop().create_future()

        def answered(_: Invocation, result: Result, __: Attempt) -> None:
            if not waiting.done():
                waiting.set_result(result)

        def failed(_: Invocation, error: Exception) -> None:
            if not waiting.done():
                waiting.set_exception(error)

        invocation.answered, invocation.failed = answered, failed
        self.start(invocation)
        return await waiting

    async def drained(self) -> None:
        """Wait until nothing runs."""
        await self._idle.wait()

    def _done(self, result: Result) -> None:
        work = result.work
        invocation: Invocation = work.context
        work.context = None
        answered, failed = self._leave(invocation)
        attempt = Attempt(
            origin=result.origin,
            request_id=invocation.request_id,
            started_ms=result.started_ms,
            duration_us=result.duration_us,
            init_us=result.init_us,
            peak_mb=result.memory_peak_mb,
            status=result.status,
            error_type=result.report_error,
            function_error=result.function_error,
            kind=invocation.kind.value,
            qualifier=invocation.qualifier or "",
            trace=invocation.trace if is_sampled(invocation.trace) else None,
            request_units=request_units(len(invocation.body)) if invocation.kind is Kind.EVENT else 1,
            lines=result.lines,
            is_begun=bool(result.earlier),
        )
        try:
            self._append(attempt)
        except DiskFull as error:
            log.error("the record of request %s could not be written: %s", invocation.request_id, error)
            if failed is not None:
                failed(invocation, error)
            return
        if answered is not None:
            answered(invocation, result, attempt)

    def _failed(self, work: Work, text: str) -> None:
        invocation: Invocation = work.context
        work.context = None
        _, failed = self._leave(invocation)
        if failed is not None:
            failed(invocation, ServiceFault(text))

    def _leave(self, invocation: Invocation) -> tuple[Answered | None, Callable[[Invocation, Exception], None] | None]:
        ticket, invocation.ticket = invocation.ticket, None
        assert ticket is not None
        self._admission.leave(ticket)
        self.running -= 1
        if self.running == 0:
            self._idle.set()
        callbacks = invocation.answered, invocation.failed
        invocation.answered = invocation.failed = None
        return callbacks


def _refusal(version: FunctionVersion) -> str:
    """Clients match these words to the end; why a function failed is in its StateReason."""
    return (
        "The operation cannot be performed at this time. The function is currently in the following state: "
        f"{version.state}"
    )
