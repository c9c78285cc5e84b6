"""What a finished event leaves behind: the record for a destination, and where it goes.

A destination and a dead-letter queue are two features; a `Delivery` carries what either needs.
Source: AWS Lambda Developer Guide, "Capturing records of Lambda asynchronous invocations".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

import orjson

from ..domain.ids import new_uuid
from ..domain.limits import EVENT_REQUEST_BYTES_MAX
from ..domain.names import FunctionRef, parse_function_arn
from ..functions.model import FunctionVersion
from .queue import Event
from .retry import Condition, EventPolicy, FunctionError, Outcome, Settle, Success
from .trace import LOOP_INVOCATIONS_MAX, descend, trace_header


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event at its end."""

    event: Event
    settled: Settle
    policy: EventPolicy
    outcome: Outcome | None
    """Of the last attempt; None when the event was discarded without one."""
    now_ms: int

    def record(self) -> bytes:
        """The destination record, JSON. Payloads that are no JSON stand in it as strings."""
        return orjson.dumps(self._record())

    def record_within(self, bytes_max: int) -> tuple[bytes, list[str]]:
        """The record in at most so many bytes, and the payloads that were left out of it for that: the function's answer
        goes first, then the event. What remains is a few hundred bytes."""
        record = self._record()
        left_out: list[str] = []
        written = orjson.dumps(record)
        for member in ("responsePayload", "requestPayload"):
            if len(written) <= bytes_max:
                break
            if record.pop(member, None) is not None:
                left_out.append(member)
                written = orjson.dumps(record)
        return written, left_out

    def _record(self) -> dict[str, Any]:
        event, outcome = self.event, self.outcome
        record: dict[str, Any] = {
            "version": "1.0",
            "timestamp": datetime.fromtimestamp(self.now_ms / 1_000, UTC).strftime("%Y-%m-%dT%H:%M:%S.")
            + f"{self.now_ms % 1_000:03}Z",
            "requestContext": {
                "requestId": event.request_id,
                "functionArn": event.qualified_arn,
                "condition": self.settled.condition.value,
                "approximateInvokeCount": self.settled.invocations,
            },
            "requestPayload": _embedded(event.payload),
        }
        if isinstance(outcome, Success | FunctionError):
            context: dict[str, Any] = {"statusCode": 200, "executedVersion": outcome.executed_version}
            if isinstance(outcome, FunctionError):
                context["functionError"] = outcome.error
            record["responseContext"] = context
            record["responsePayload"] = _embedded(outcome.payload)
        return record


class SuccessSink(Protocol):
    async def succeeded(self, delivery: Delivery) -> Event | None:
        """Called, before the event is settled, where OnSuccess is configured. Twice after a crash in between.

        Answers the record as an event of its own, where it goes to a function; it is accepted by settling.
        """


class FailureSink(Protocol):
    async def failed(self, delivery: Delivery) -> Event | None:
        """Called for every discarded event, before it is settled. Twice after a crash in between. Answers as above."""


class Destinations:
    """Sends records to functions, and says of every other destination that it is not served, once an event, on the log
    of the event's function and with what to do."""

    def __init__(
        self,
        *,
        find: Callable[[FunctionRef, str | None], FunctionVersion | None],
        may_loop: Callable[[FunctionRef], bool],
        log: Callable[[Event, str], None],
        metric: Callable[[FunctionRef, str, int], None],
    ) -> None:
        """find: what an invocation of that name would run; None: nothing. may_loop: whether the function allows recursive
        loops (PutFunctionRecursionConfig). log: writes one line on the log of the event's function."""
        self._find = find
        self._may_loop = may_loop
        self._log = log
        self._metric = metric

    async def succeeded(self, delivery: Delivery) -> Event | None:
        assert delivery.policy.on_success is not None
        record, why = self._record(delivery, delivery.policy.on_success)
        if why is not None:
            sent = "its record was not sent" if record is None else "its record was sent"
            self._log(delivery.event, f"event {delivery.event.request_id} succeeded; {sent} to {why}")
        return record

    async def failed(self, delivery: Delivery) -> Event | None:
        settled, policy = delivery.settled, delivery.policy
        told: list[str] = []
        record: Event | None = None
        if settled.condition is Condition.FUNCTION_GONE:
            told.append(settled.reason or "the function is gone")
        else:
            if policy.on_failure is not None:
                record, why = self._record(delivery, policy.on_failure)
                sent = "not sent" if record is None else "sent"
                told.append(f"{sent} to {why or policy.on_failure}")
            if policy.dead_letter is not None:
                self._metric(delivery.event.ref, "DeadLetterErrors", 1)
                told.append(f"not sent to {_not_served(policy.dead_letter, 'OnFailure')}")
        plural = "" if settled.invocations == 1 else "s"
        self._log(
            delivery.event,
            f"event {delivery.event.request_id} discarded after {settled.invocations} attempt{plural} "
            f"({settled.condition.value}): {'; '.join(told) or 'no destination is configured'}",
        )
        return record

    def _record(self, delivery: Delivery, arn: str) -> tuple[Event | None, str | None]:
        """The record as an event of the function at `arn`, or None; then what there is to tell, beginning with the ARN."""
        record, why = self._event(delivery, arn)
        if record is None:
            self._metric(delivery.event.ref, "DestinationDeliveryFailures", 1)
        return record, why

    def _event(self, delivery: Delivery, arn: str) -> tuple[Event | None, str | None]:
        target = parse_function_arn(arn)
        if target is None:
            on_failure = delivery.settled.condition is not Condition.SUCCESS
            return None, _not_served(arn, "OnFailure" if on_failure else "OnSuccess")
        version = self._find(target.ref, target.qualifier)
        if version is None:
            return None, f"{arn}, which does not exist: configure another destination, or create the function again"
        is_active = version.configuration.tracing_mode == "Active"
        trace, times = descend(
            trace_header(delivery.event.trace, delivery.now_ms, is_active=is_active), target.ref.arn()
        )
        if times > LOOP_INVOCATIONS_MAX and not self._may_loop(target.ref):
            self._metric(target.ref, "RecursiveInvocationsDropped", 1)
            return None, (
                f"{arn}, which destinations have invoked {times - 1} times for one first event: a recursive loop. "
                "Break the loop, or allow it for that function with PutFunctionRecursionConfig RecursiveLoop=Allow"
            )
        payload, left_out = delivery.record_within(EVENT_REQUEST_BYTES_MAX)
        why = None
        if left_out:
            why = f"{arn} without {' and '.join(left_out)}: with it, it is over the {EVENT_REQUEST_BYTES_MAX} bytes of an event"
        now_ms = delivery.now_ms
        return Event(0, target.ref, target.qualifier, new_uuid(), trace, payload, now_ms, now_ms), why


_SERVICES = {
    "sqs": "SQS queues",
    "sns": "SNS topics",
    "events": "EventBridge buses",
    "s3": "S3 buckets",
}


def _not_served(arn: str, side: str) -> str:
    what = _SERVICES.get(arn.split(":")[2] if arn.count(":") > 1 else "", "such destinations")
    return (
        f"{arn}, because {what} are not served by this release of Lambent: name a Lambda function as {side} destination, "
        "which can pass the record on"
    )


def _embedded(payload: bytes) -> Any:
    if not payload:
        return None
    try:
        orjson.loads(payload)
    except orjson.JSONDecodeError:
        return payload.decode(errors="replace")
    return orjson.Fragment(payload)
