"""Events meet invocations: one attempt of a queued event, answered as a value whatever happened."""

from __future__ import annotations

from collections.abc import Callable

from lambent.concurrency.admission import Kind
from lambent.domain.clock import Clock
from lambent.domain.errors import LambentError, ResourceNotFound, TooManyRequests
from lambent.domain.limits import EVENT_AGE_S_MAX, EVENT_RETRIES_MAX
from lambent.domain.names import LATEST, FunctionRef
from lambent.functions.model import EventInvoke, FunctionVersion
from lambent.functions.service import Functions
from lambent.invocations.queue import Event
from lambent.invocations.retry import EventPolicy, FunctionError, NotFound, Outcome, ServiceError, Success, Throttled
from lambent.invocations.service import Invocation, Invocations
from lambent.telemetry.attempt import UserEvents

DISCARDED_STREAM = "lambent/events"
"""The log stream, beside those of the environments, that tells of events which were given up."""
_DEFAULT = EventInvoke(0)
"""What holds where nothing is configured."""


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
            isolates = version.configuration.tenancy is not None
            if bool(event.tenant_id) is not isolates:
                # Not checked when it came: a record for a destination, or the name is another function's by now.
                return NotFound(
                    "the function isolates tenants, and the event names none"
                    if isolates
                    else "the event names a tenant, and the function of this name has none"
                )
            invocation = Invocation(
                version=version,
                qualifier=event.qualifier,
                request_id=event.request_id,
                kind=Kind.EVENT,
                trace=event.trace,
                body=event.payload,
                tenant_id=event.tenant_id,
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
        """The configuration in force now for what the caller named: the qualifier's own, and the version's queue."""
        if not self._functions.exists(ref):
            return EventPolicy()
        configured = self._functions.get(ref).event_invokes.get(qualifier or LATEST, _DEFAULT)
        version = self.find(ref, qualifier)
        return EventPolicy(
            retries_max=EVENT_RETRIES_MAX if configured.retries is None else configured.retries,
            age_max_s=configured.age_s or EVENT_AGE_S_MAX,
            on_success=configured.on_success,
            on_failure=configured.on_failure,
            dead_letter=None if version is None else version.configuration.dead_letter_arn,
        )

    def find(self, ref: FunctionRef, qualifier: str | None) -> FunctionVersion | None:
        """What an invocation would run, for an alias its primary version; None: nothing of that name is there."""
        try:
            return self._functions.primary(ref, qualifier)
        except ResourceNotFound:
            return None

    def may_loop(self, ref: FunctionRef) -> bool:
        """Whether the function allows recursive loops."""
        return self._functions.exists(ref) and self._functions.get(ref).recursive_loop == "Allow"

    def tell(self, event: Event, text: str) -> None:
        """One line on the function's log."""
        version = self.find(event.ref, event.qualifier)
        group = f"/aws/lambda/{event.ref.name}" if version is None else version.configuration.logging.group
        now_ms = self._clock.wall_ms()
        line = (now_ms, f"{text}\n".encode())
        self._record(UserEvents(event.ref.account, event.ref.region, group, DISCARDED_STREAM, [line], now_ms))
