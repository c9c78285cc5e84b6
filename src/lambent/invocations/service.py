"""One attempt, from admission to its record.

`start` decides and hands over in one step, without an await: admission's ticket is taken, an environment leased or
awaited. When the environment delivers, the ticket is given back, the attempt's record is written (one write, with all
its log lines), and only then the answer goes to whoever asked. What could not be written down is not answered as done.

A caller who takes the response as it comes (`stream`) has most of it before the record is written, but never its end.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from ..concurrency.admission import Admission, Kind, Throttle, Ticket
from ..domain.clock import Clock
from ..domain.errors import DiskFull, LambentError, ResourceConflict, ServiceFault, TooManyRequests
from ..environments.channel import ResponseSink, RuntimeEvent
from ..environments.plan import RuntimeMissing
from ..environments.service import Environments
from ..environments.streams import UNBRAKED, clean_content_type
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
    sink: ResponseSink | None = None
    """Takes the response as it comes; None: `answered` gets it whole."""


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
        needs_environment = self._environments.needs_environment(entry)
        has_provisioned = bool(pool.provisioned)
        granted = self._admission.enter(
            version.ref, self._clock.monotonic_ns(), needs_environment, invocation.kind, has_provisioned
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
        if self.running == 0:
            self._idle.clear()
        self.running += 1
        self._environments.submit(
            entry,
            Work(
                event,
                version.configuration.timeout_s,
                self._done,
                self._failed,
                invocation,
                self._answered_early,
                invocation.sink,
            ),
            has_provisioned and not granted.is_provisioned,
        )

    def stream(self, invocation: Invocation, sink: ResponseSink) -> None:
        """As `start`, with a response that goes to `sink` while it comes.

        What a streaming function writes arrives in `sink` at once; what another one answers arrives whole, in one piece,
        when its record is written. Then `answered` is called: its result has no body when all went well, and the error
        document when the function failed, before `sink` was started or after (`is_streamed`). A sink that is full pauses
        the flow it was given, and the function waits; a sink whose client is gone takes on and drops: the function runs
        to its end. `failed` may come after some bytes, too.
        """
        invocation.sink = sink
        self.start(invocation)

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

    def _answered_early(self, result: Result) -> None:
        """Extensions go on working: a caller who waits is answered now, with an attempt as it stands; the record follows. An
        event's life ends with its record."""
        invocation: Invocation = result.work.context
        answered = invocation.answered
        if invocation.kind is Kind.SYNC and answered is not None:
            invocation.answered = invocation.failed = None
            _pass_on(invocation, result)
            answered(invocation, result, _attempt(invocation, result))

    def _done(self, result: Result) -> None:
        work = result.work
        invocation: Invocation = work.context
        work.context = None
        answered, failed = self._leave(invocation)
        attempt = _attempt(invocation, result)
        try:
            self._append(attempt)
        except DiskFull as error:
            log.error("the record of request %s could not be written: %s", invocation.request_id, error)
            invocation.sink = None
            if failed is not None:
                failed(invocation, error)
            return
        if invocation.sink is not None:
            _pass_on(invocation, result)
        if answered is not None:
            answered(invocation, result, attempt)

    def _failed(self, work: Work, error: LambentError) -> None:
        invocation: Invocation = work.context
        work.context = None
        _, failed = self._leave(invocation)
        invocation.sink = None
        if failed is not None:
            failed(invocation, error)

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


def _pass_on(invocation: Invocation, result: Result) -> None:
    """What was not streamed, to a caller who takes it as a stream."""
    sink, invocation.sink = invocation.sink, None
    if sink is not None and not result.is_streamed and not result.function_error:
        sink.start(clean_content_type(result.content_type), UNBRAKED)
        sink.write((result.body,), len(result.body))
        sink.end()
        result.body = b""


def _attempt(invocation: Invocation, result: Result) -> Attempt:
    return Attempt(
        origin=result.origin,
        request_id=invocation.request_id,
        started_ms=result.started_ms,
        duration_us=result.duration_us,
        init_us=result.init_us,
        restore_us=None if result.restored is None else result.restored.duration_us,
        restore_billed_ms=0 if result.restored is None else result.restored.billed_ms,
        peak_mb=result.memory_peak_mb,
        status=result.status,
        error_type=result.report_error,
        function_error=result.function_error,
        kind=invocation.kind.value,
        qualifier=invocation.qualifier or "",
        trace=invocation.trace if is_sampled(invocation.trace) else None,
        request_units=request_units(len(invocation.body)) if invocation.kind is Kind.EVENT else 1,
        produced_bytes=result.produced_bytes,
        is_streamed=result.is_streamed,
        lines=result.lines,
        is_begun=bool(result.earlier),
    )


def _refusal(version: FunctionVersion) -> str:
    """Clients match these words to the end; why a function failed is in its StateReason."""
    return (
        "The operation cannot be performed at this time. The function is currently in the following state: "
        f"{version.state}"
    )
