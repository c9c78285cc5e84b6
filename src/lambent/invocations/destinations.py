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

from .queue import Event
from .retry import Condition, EventPolicy, FunctionError, Outcome, Settle, Success


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
        return orjson.dumps(record)


class SuccessSink(Protocol):
    async def succeeded(self, delivery: Delivery) -> None:
        """Called, before the event is settled, where OnSuccess is configured. Twice after a crash in between."""


class FailureSink(Protocol):
    async def failed(self, delivery: Delivery) -> None:
        """Called for every discarded event, before it is settled. Twice after a crash in between."""


class NoDestinations:
    """The sink while no service that could be a destination is served: it says so on the function's log, and counts."""

    def __init__(self, log: Callable[[Event, str], None]) -> None:
        """`log` writes one line on the log of the event's function."""
        self._log = log
        self.undelivered = 0
        """Records that had a destination or a dead-letter queue and reached none."""

    async def succeeded(self, delivery: Delivery) -> None:
        self.undelivered += 1
        self._log(
            delivery.event,
            f"event {delivery.event.request_id} succeeded; its record was not sent to {delivery.policy.on_success}: "
            "no destination service is served yet",
        )

    async def failed(self, delivery: Delivery) -> None:
        settled, policy = delivery.settled, delivery.policy
        targets = [target for target in (policy.on_failure, policy.dead_letter) if target is not None]
        if settled.condition is Condition.FUNCTION_GONE or not targets:
            why = settled.reason if settled.condition is Condition.FUNCTION_GONE else "no destination is configured"
        else:
            self.undelivered += 1
            why = f"not sent to {' or '.join(targets)}, no destination service is served yet"
        plural = "" if settled.invocations == 1 else "s"
        self._log(
            delivery.event,
            f"event {delivery.event.request_id} discarded after {settled.invocations} attempt{plural} "
            f"({settled.condition.value}): {why}",
        )


def _embedded(payload: bytes) -> Any:
    if not payload:
        return None
    try:
        orjson.loads(payload)
    except orjson.JSONDecodeError:
        return payload.decode(errors="replace")
    return orjson.Fragment(payload)
