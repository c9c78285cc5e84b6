"""What becomes of an event after an attempt. Values in, a decision out; no clock, no queue.

    outcome                  next                                        when
    success                  settled, Success                            now
    function error           another attempt, up to MaximumRetryAttempts 60 s, then 120 s later
                             discarded, RetriesExhausted                 retries used up
    throttled, system error  another attempt, not counted as a retry     1 s, 2 s, 4 s … 5 min later
    not found                discarded                                   the function, version or alias is gone

Before an attempt an event is discarded when it is older than MaximumEventAgeInSeconds (EventAgeExceeded), when its
function has reserved concurrency 0 (ZeroReservedConcurrency), or when MaximumRetryAttempts was lowered while it waited
(RetriesExhausted). No wait goes beyond the moment the event is too old.
Source: AWS Lambda Developer Guide, "How Lambda handles errors and retries with asynchronous invocation".
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from ..domain.limits import EVENT_AGE_S_MAX, EVENT_RETRIES_MAX, EVENT_RETRY_WAITS_S
from .queue import Event

DEFERRAL_FIRST_MS = 1_000
DEFERRAL_MAX_MS = 300_000


class Condition(Enum):
    """Published conditions of a destination record; the last one never reaches a record."""

    SUCCESS = "Success"
    RETRIES_EXHAUSTED = "RetriesExhausted"
    EVENT_AGE_EXCEEDED = "EventAgeExceeded"
    ZERO_RESERVED = "ZeroReservedConcurrency"
    FUNCTION_GONE = "FunctionNotFound"


@dataclass(frozen=True, slots=True)
class EventPolicy:
    """The event invoke configuration in force for the qualifier that was called, and the function's dead-letter queue."""

    retries_max: int = EVENT_RETRIES_MAX
    """MaximumRetryAttempts, 0 to 2."""
    age_max_s: int = EVENT_AGE_S_MAX
    """MaximumEventAgeInSeconds, 60 to 21,600."""
    on_success: str | None = None
    """ARN of the destination."""
    on_failure: str | None = None
    """ARN of the destination."""
    dead_letter: str | None = None
    """DeadLetterConfig.TargetArn."""


@dataclass(frozen=True, slots=True)
class Success:
    """The function answered."""

    payload: bytes
    executed_version: str


@dataclass(frozen=True, slots=True)
class FunctionError:
    """The function failed: it raised, exited, timed out or ran out of memory. `error`: `Handled` or `Unhandled`."""

    payload: bytes
    error: str
    executed_version: str


@dataclass(frozen=True, slots=True)
class Throttled:
    """Not run. `reason`: the published throttle reason."""

    reason: str


@dataclass(frozen=True, slots=True)
class ServiceError:
    """Not run, or not to its end, by our fault."""

    reason: str


@dataclass(frozen=True, slots=True)
class NotFound:
    """The function, version or alias is gone."""

    reason: str


Outcome = Success | FunctionError | Throttled | ServiceError | NotFound


@dataclass(frozen=True, slots=True)
class Settle:
    """Done with."""

    condition: Condition
    reason: str | None
    invocations: int
    """How often the function ran for this event (ApproximateInvokeCount)."""


@dataclass(frozen=True, slots=True)
class Again:
    """Another attempt: the event as it waits for it."""

    event: Event


Decision = Settle | Again


def before_attempt(event: Event, policy: EventPolicy, *, now_ms: int, reserved: int | None) -> Settle | None:
    """Whether a due event is discarded without an attempt. now_ms: wall clock. reserved: None without."""
    if reserved == 0:
        return Settle(Condition.ZERO_RESERVED, "reserved concurrency is 0", event.attempt)
    if now_ms >= _too_old_ms(event, policy):
        return Settle(Condition.EVENT_AGE_EXCEEDED, event.reason, event.attempt)
    if event.attempt > policy.retries_max:
        return Settle(Condition.RETRIES_EXHAUSTED, event.reason, event.attempt)
    return None


def after_attempt(event: Event, outcome: Outcome, policy: EventPolicy, *, now_ms: int) -> Decision:
    """What to do after an attempt that ended at `now_ms` (wall clock)."""
    match outcome:
        case Success():
            return Settle(Condition.SUCCESS, None, event.attempt + 1)
        case FunctionError(error=error):
            attempt = event.attempt + 1
            if attempt > policy.retries_max:
                return Settle(Condition.RETRIES_EXHAUSTED, error, attempt)
            wait_ms = EVENT_RETRY_WAITS_S[min(attempt, len(EVENT_RETRY_WAITS_S)) - 1] * 1_000
            waiting = replace(event, attempt=attempt, deferrals=0, reason=error)
        case Throttled(reason) | ServiceError(reason):
            wait_ms = deferral_ms(event.deferrals)
            waiting = replace(event, deferrals=event.deferrals + 1, reason=reason)
        case NotFound(reason):
            return Settle(Condition.FUNCTION_GONE, reason, event.attempt)
    # A wait beyond the age limit ends at the limit, so that the event is reported when it becomes too old, not later.
    return Again(replace(waiting, due_ms=min(now_ms + wait_ms, max(now_ms, _too_old_ms(event, policy)))))


def deferral_ms(deferrals: int) -> int:
    """How long an event waits that was deferred `deferrals` times in a row before: 1 s, doubling, at most 5 min."""
    return min(DEFERRAL_FIRST_MS << min(deferrals, 16), DEFERRAL_MAX_MS)


def _too_old_ms(event: Event, policy: EventPolicy) -> int:
    return event.accepted_ms + policy.age_max_s * 1_000
