"""Where a finished event is reported: records for functions as events of their own, an honest word about the rest."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import orjson
import pytest
from tests.unit.invocations.test_event_service import FAILED, OK, F, G, Node, always

from lambent.domain.errors import DiskFull
from lambent.domain.limits import EVENT_REQUEST_BYTES_MAX
from lambent.domain.names import FunctionRef
from lambent.invocations.destinations import Delivery
from lambent.invocations.queue import Event
from lambent.invocations.retry import Condition, EventPolicy, FunctionError, Outcome, Settle, Success
from lambent.invocations.trace import LOOP_INVOCATIONS_MAX, descend

G_ARN = G.arn()
SQS = "arn:aws:sqs:us-east-1:123456789012:q"
TRACE = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"


def run(node: Node, payload: bytes = b'{"hello":"world"}') -> None:
    """One event of F, and what follows from it."""

    async def main() -> None:
        await node.service.accept(F, "live", request_id="r1", trace=TRACE, payload=payload)
        await node.settled()

    node.run(main)


def only_f(outcome: Outcome) -> Callable[[Event], Awaitable[Outcome]]:
    """F ends like this, everything else well."""

    async def invoke(event: Event) -> Outcome:
        return outcome if event.ref == F else OK

    return invoke


def dropped(node: Node, name: str) -> int:
    return sum(value for _, metric, value in node.metrics if metric == name)


def test_a_function_gets_the_record_of_a_success() -> None:
    node = Node(only_f(Success(b'{"a":1}', "3")))
    node.policies[F] = EventPolicy(on_success=f"{G_ARN}:blue")
    run(node)
    source, record = node.events
    assert (record.ref, record.qualifier) == (G, "blue")
    assert record.request_id != source.request_id
    assert record.trace.startswith("Root=1-5759e988-bd862e3fe1be46a994272793;Parent=")
    assert orjson.loads(record.payload) == {
        "version": "1.0",
        "timestamp": "2025-11-25T19:46:40.000Z",
        "requestContext": {
            "requestId": "r1",
            "functionArn": "arn:aws:lambda:us-east-1:123456789012:function:f:live",
            "condition": "Success",
            "approximateInvokeCount": 1,
        },
        "requestPayload": {"hello": "world"},
        "responseContext": {"statusCode": 200, "executedVersion": "3"},
        "responsePayload": {"a": 1},
    }
    assert node.log == []
    assert dropped(node, "AsyncEventsReceived") == 2


def test_without_retries_a_failing_function_is_tried_once_and_told_of() -> None:
    node = Node(only_f(FAILED))
    node.policies[F] = EventPolicy(retries_max=0, on_failure=G_ARN)
    run(node)
    assert [(event.ref, at) for event, (_, at) in zip(node.events, node.attempts, strict=True)] == [(F, 0), (G, 0)]
    record = orjson.loads(node.events[1].payload)
    assert record["requestContext"]["condition"] == "RetriesExhausted"
    assert record["requestContext"]["approximateInvokeCount"] == 1
    assert record["responseContext"] == {
        "statusCode": 200,
        "executedVersion": "$LATEST",
        "functionError": "Unhandled",
    }
    assert record["responsePayload"] == {"errorMessage": "boom", "errorType": "E"}
    assert node.log == [f"event r1 discarded after 1 attempt (RetriesExhausted): sent to {G_ARN}"]


def test_an_event_that_never_ran_is_told_of_without_a_response() -> None:
    node = Node(always(OK))
    node.reserved[F] = 0
    node.policies[F] = EventPolicy(on_failure=G_ARN)
    run(node)
    (event,) = node.events
    record = orjson.loads(event.payload)
    assert record["requestContext"]["condition"] == "ZeroReservedConcurrency"
    assert record["requestContext"]["approximateInvokeCount"] == 0
    assert not record.keys() & {"responseContext", "responsePayload"}


def test_a_success_is_no_failure_and_a_failure_no_success() -> None:
    for outcome, policy in [
        (OK, EventPolicy(on_failure=G_ARN)),
        (FAILED, EventPolicy(retries_max=0, on_success=G_ARN)),
    ]:
        node = Node(only_f(outcome))
        node.policies[F] = policy
        run(node)
        assert [event.ref for event in node.events] == [F]


def test_retries_that_are_taken_away_while_an_event_waits_do_not_happen() -> None:
    node = Node(only_f(FAILED))

    async def main() -> None:
        await node.accept()
        await asyncio.sleep(30)
        node.policies[F] = EventPolicy(retries_max=0, on_failure=G_ARN)
        await node.settled()

    node.run(main)
    assert [at for _, at in node.attempts] == [0, 60]
    assert [event.ref for event in node.events] == [F, G]
    assert orjson.loads(node.events[1].payload)["requestContext"]["condition"] == "RetriesExhausted"


def test_an_age_that_is_set_while_an_event_waits_holds() -> None:
    node = Node(only_f(FAILED))

    async def main() -> None:
        await node.accept()
        await asyncio.sleep(70)
        assert [at for _, at in node.attempts] == [0, 60]
        node.policies[F] = EventPolicy(age_max_s=100, on_failure=G_ARN)
        await node.settled()

    node.run(main)
    assert [at for _, at in node.attempts] == [0, 60, 180]
    record = orjson.loads(node.events[-1].payload)
    assert record["requestContext"]["condition"] == "EventAgeExceeded"
    assert record["requestContext"]["approximateInvokeCount"] == 2


@pytest.mark.parametrize(
    ("arn", "what"),
    [
        (SQS, "SQS queues"),
        ("arn:aws:sns:us-east-1:123456789012:t", "SNS topics"),
        ("arn:aws:events:us-east-1:123456789012:event-bus/b", "EventBridge buses"),
        ("arn:aws:s3:::bucket", "S3 buckets"),
        ("kafka://topic", "such destinations"),
    ],
)
def test_what_is_not_served_is_said_once_with_what_to_do(arn: str, what: str) -> None:
    node = Node(only_f(FAILED))
    node.policies[F] = EventPolicy(retries_max=0, on_failure=arn)
    run(node)
    assert node.log == [
        f"event r1 discarded after 1 attempt (RetriesExhausted): not sent to {arn}, because {what} are not served by this "
        "release of Lambent: name a Lambda function as OnFailure destination, which can pass the record on"
    ]
    assert dropped(node, "DestinationDeliveryFailures") == 1


def test_a_success_that_cannot_be_told_is_said() -> None:
    node = Node(only_f(OK))
    node.policies[F] = EventPolicy(on_success=SQS)
    run(node)
    assert node.log == [
        f"event r1 succeeded; its record was not sent to {SQS}, because SQS queues are not served by this release of "
        "Lambent: name a Lambda function as OnSuccess destination, which can pass the record on"
    ]


def test_a_dead_letter_queue_is_said_beside_the_destination() -> None:
    node = Node(only_f(FAILED))
    node.policies[F] = EventPolicy(retries_max=0, on_failure=G_ARN, dead_letter=SQS)
    run(node)
    assert [event.ref for event in node.events] == [F, G]
    assert node.log == [
        f"event r1 discarded after 1 attempt (RetriesExhausted): sent to {G_ARN}; not sent to {SQS}, because SQS queues are "
        "not served by this release of Lambent: name a Lambda function as OnFailure destination, which can pass the record on"
    ]
    assert (dropped(node, "DeadLetterErrors"), dropped(node, "DestinationDeliveryFailures")) == (1, 0)


def test_a_destination_that_was_deleted_is_said() -> None:
    node = Node(only_f(FAILED))
    node.missing.add(G)
    node.policies[F] = EventPolicy(retries_max=0, on_failure=G_ARN)
    run(node)
    assert node.log == [
        f"event r1 discarded after 1 attempt (RetriesExhausted): not sent to {G_ARN}, which does not exist: configure "
        "another destination, or create the function again"
    ]
    assert dropped(node, "DestinationDeliveryFailures") == 1


def test_a_record_survives_a_disk_that_is_full_for_a_while() -> None:
    node = Node(only_f(OK))
    node.policies[F] = EventPolicy(on_success=G_ARN)
    settle, failures = node.queue.settle, iter([DiskFull("full"), DiskFull("still")])

    async def failing(event: Event, successor: Event | None = None) -> None:
        if (error := next(failures, None)) is not None:
            raise error
        await settle(event, successor)

    node.queue.settle = failing  # type: ignore[method-assign]
    run(node)
    assert [event.ref for event in node.events] == [F, G]


def delivery(request: bytes, response: bytes) -> Delivery:
    event = Event(1, F, None, "r1", TRACE, request, 0, 0)
    error = FunctionError(response, "Unhandled", "$LATEST")
    return Delivery(event, Settle(Condition.RETRIES_EXHAUSTED, None, 1), EventPolicy(), error, 0)


def test_a_record_is_an_event_and_has_a_megabyte_at_most() -> None:
    small = b'"' + b"x" * 1_000 + b'"'
    large = b'"' + b"x" * EVENT_REQUEST_BYTES_MAX + b'"'
    for request, response, left_out in [
        (small, small, []),
        (small, large, ["responsePayload"]),
        (large, small, ["responsePayload", "requestPayload"]),
    ]:
        written, told = delivery(request, response).record_within(EVENT_REQUEST_BYTES_MAX)
        record = orjson.loads(written)
        assert told == left_out
        assert len(written) <= EVENT_REQUEST_BYTES_MAX
        assert {"requestPayload", "responsePayload"} - record.keys() == set(left_out)
        assert record["responseContext"]["functionError"] == "Unhandled"


def test_what_was_left_out_is_said() -> None:
    node = Node(only_f(Success(b'"' + b"x" * EVENT_REQUEST_BYTES_MAX + b'"', "3")))
    node.policies[F] = EventPolicy(on_success=G_ARN)
    run(node)
    assert [event.ref for event in node.events] == [F, G]
    assert node.log == [
        f"event r1 succeeded; its record was sent to {G_ARN} without responsePayload: with it, it is over the 1048576 bytes "
        "of an event"
    ]


def test_two_functions_that_report_to_each_other_stop() -> None:
    node = Node(always(OK))
    node.policies[F] = EventPolicy(on_success=G_ARN)
    node.policies[G] = EventPolicy(on_success=F.arn())
    run(node)
    assert sum(event.ref == G for event in node.events) == LOOP_INVOCATIONS_MAX
    assert sum(event.ref == F for event in node.events) == LOOP_INVOCATIONS_MAX + 1  # the first was nobody's record
    assert len(node.log) == 1
    assert (
        "a recursive loop. Break the loop, or allow it for that function with PutFunctionRecursionConfig" in node.log[0]
    )
    assert ("g", "RecursiveInvocationsDropped", 1) in node.metrics


def test_a_loop_that_is_allowed_goes_on() -> None:
    async def invoke(event: Event) -> Outcome:
        if len(node.events) == 5 * LOOP_INVOCATIONS_MAX:
            node.policies.clear()  # somebody breaks the loop
        return OK

    node = Node(invoke)
    node.policies[F] = EventPolicy(on_success=G_ARN)
    node.policies[G] = EventPolicy(on_success=F.arn())
    node.looping |= {F, G}
    run(node)
    # The policy of an attempt is read before it: the one that was under way still reports.
    assert len(node.events) == 5 * LOOP_INVOCATIONS_MAX + 1
    assert node.log == []


@pytest.mark.parametrize(
    ("lineage", "expected", "count"),
    [
        ("", ";Lineage={own}:1", 1),
        (";Lineage={own}:4", ";Lineage={own}:5", 5),
        (";Lineage=00000000:2|{own}:15", ";Lineage=00000000:2|{own}:16", 16),
        (";Lineage=1:00000000:2", ";Lineage=1:00000000:2|{own}:1", 1),
        (";Lineage={own}:many", ";Lineage={own}:1", 1),
    ],
)
def test_the_lineage_counts_each_function_and_keeps_what_it_does_not_know(
    lineage: str, expected: str, count: int
) -> None:
    arn = FunctionRef("123456789012", "us-east-1", "g").arn()
    own = descend(TRACE, arn)[0].rpartition("=")[2].partition(":")[0]
    assert len(own) == 8
    assert descend(TRACE + lineage.format(own=own), arn) == (TRACE + expected.format(own=own), count)
