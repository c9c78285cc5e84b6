"""Events meet invocations: one attempt of a queued event, answered as a value whatever happened."""

from __future__ import annotations

from collections.abc import Callable

from lambent.concurrency.admission import Kind
from lambent.domain.clock import Clock
from lambent.domain.errors import LambentError, ResourceNotFound, TooManyRequests
from lambent.domain.names import FunctionRef
from lambent.functions.model import FunctionVersion
from lambent.functions.service import Functions
from lambent.invocations.queue import Event
from lambent.invocations.retry import EventPolicy, FunctionError, NotFound, Outcome, ServiceError, Success, Throttled
from lambent.invocations.service import Invocation, Invocations
from lambent.telemetry.attempt import UserEvents

DISCARDED_STREAM = "lambent/events"
"""The log stream, beside those of the environments, that tells of events which were given up."""


class EventAttempts:
    """What the event service needs of the rest."""

    def __init__(
        self,
        functions: Functions,
        invocations: Invocations,
        clock: Clock,
        record: Callable[[UserEvents], None],
    ) -> None:
        self._functions = functions
        self._invocations = invocations
        self._clock = clock
        self._record = record

    async def attempt(self, event: Event) -> Outcome:
        """Run one attempt."""
        try:
            version: FunctionVersion = await self._functions.active(event.ref, event.qualifier)
            invocation = Invocation(
                version=version,
                qualifier=event.qualifier,
                request_id=event.request_id,
                kind=Kind.EVENT,
                trace=event.trace,
                body=event.payload,
            )
            result = await self._invocations.run(invocation)
        except ResourceNotFound as error:
            return NotFound(error.message or "the function is gone")
        except TooManyRequests as error:
            return Throttled(error.reason)
        except LambentError as error:
            return ServiceError(error.message or type(error).__name__)
        if result.function_error:
            return FunctionError(result.body, "Unhandled", version.version)
        return Success(result.body, version.version)

    def policy(self, ref: FunctionRef, qualifier: str | None) -> EventPolicy:
        """The configuration in force; event invoke configurations are not served yet, so only the queue is a choice."""
        try:
            configuration = self._functions.resolve(ref, qualifier).configuration
        except ResourceNotFound:
            return EventPolicy()
        return EventPolicy(dead_letter=configuration.dead_letter_arn)

    def tell(self, event: Event, text: str) -> None:
        """One line on the function's log."""
        try:
            group = self._functions.resolve(event.ref, event.qualifier).configuration.logging.group
        except ResourceNotFound:
            group = f"/aws/lambda/{event.ref.name}"
        now_ms = self._clock.wall_ms()
        line = (now_ms, f"{text}\n".encode())
        self._record(UserEvents(event.ref.account, event.ref.region, group, DISCARDED_STREAM, [line], now_ms))
