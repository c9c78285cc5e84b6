"""The life of events, in virtual time and on the memory queue."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import Any

import orjson
import pytest
from tests.simulation.virtual_time import run_virtual

from lambent.domain.clock import ManualClock
from lambent.domain.errors import DiskFull, ServiceFault
from lambent.domain.names import FunctionRef
from lambent.functions.model import Code, Configuration, FunctionVersion, Logging
from lambent.invocations.destinations import Delivery, Destinations
from lambent.invocations.events import EventService
from lambent.invocations.queue import Event
from lambent.invocations.retry import EventPolicy, FunctionError, NotFound, Outcome, ServiceError, Success, Throttled
from lambent.stores.queue_memory import MemoryEvents

F, G = (FunctionRef("123456789012", "us-east-1", name) for name in "fg")
OK = Success(b'{"a":1}', "3")
FAILED = FunctionError(b'{"errorMessage":"boom","errorType":"E"}', "Unhandled", "$LATEST")
THROTTLED = Throttled("ConcurrentInvocationLimitExceeded")


def version(ref: FunctionRef) -> FunctionVersion:
    """A version as `resolve` would answer it."""
    configuration = Configuration("role", "python3.11", "app.handler", Logging("Text", None, None, "/aws/lambda/f"))
    return FunctionVersion(ref, "$LATEST", configuration, Code("d", "s", 1), "r", "Active", None, None, 1, 0)


class Node:
    """A service whose world is a handful of lists."""

    def __init__(self, invoke: Callable[[Event], Awaitable[Outcome]], *, running_max: int = 100) -> None:
        self.clock = ManualClock()
        self.queue = MemoryEvents()
        self.policies: dict[FunctionRef, EventPolicy] = {}
        self.reserved: dict[FunctionRef, int] = {}
        self.has_room = True
        self.metrics: list[tuple[str, str, int]] = []
        self.attempts: list[tuple[str, float]] = []
        self.events: list[Event] = []
        self.deliveries: list[Delivery] = []
        self.log: list[str] = []
        self.missing: set[FunctionRef] = set()
        self.looping: set[FunctionRef] = set()
        self.sink = Destinations(
            find=lambda ref, qualifier: None if ref in self.missing else version(ref),
            may_loop=self.looping.__contains__,
            log=lambda event, line: self.log.append(line),
            metric=lambda ref, name, value: self.metrics.append((ref.name, name, value)),
        )
        self.start_ms = self.clock.wall_ms()

        async def attempt(event: Event) -> Outcome:
            self.attempts.append((event.request_id, (self.clock.wall_ms() - self.start_ms) / 1_000))
            self.events.append(event)
            return await invoke(event)

        self.service = EventService(
            self.queue,
            self.clock,
            invoke=attempt,
            policy=lambda ref, qualifier: self.policies.get(ref, EventPolicy()),
            reserved=self.reserved.get,
            on_success=self,
            on_failure=self,
            metric=lambda ref, name, value: self.metrics.append((ref.name, name, value)),
            has_room=lambda: self.has_room,
            running_max=running_max,
        )

    async def succeeded(self, delivery: Delivery) -> Event | None:
        self.deliveries.append(delivery)
        return await self.sink.succeeded(delivery)

    async def failed(self, delivery: Delivery) -> Event | None:
        self.deliveries.append(delivery)
        return await self.sink.failed(delivery)

    async def accept(self, name: str = "r1", ref: FunctionRef = F, qualifier: str | None = None) -> None:
        await self.service.accept(ref, qualifier, request_id=name, trace="Root=1", payload=b'{"hello":"world"}')

    async def settled(self) -> None:
        while len(self.queue):  # noqa: ASYNC110 - virtual time: an hour of this costs milliseconds
            await asyncio.sleep(1)

    def run(self, main: Callable[[], Coroutine[Any, Any, None]]) -> None:
        async def served() -> None:
            async with self.service.serving(grace_s=5):
                await main()

        run_virtual(self.clock, served())
        assert self.service.running == 0


def always(outcome: Outcome) -> Callable[[Event], Awaitable[Outcome]]:
    async def invoke(event: Event) -> Outcome:
        return outcome

    return invoke


def test_a_successful_event_runs_once() -> None:
    node = Node(always(OK))

    async def main() -> None:
        await node.accept()
        await node.settled()

    node.run(main)
    assert node.attempts == [("r1", 0)]
    assert node.deliveries == []
    assert node.metrics == [("f", "AsyncEventsReceived", 1), ("f", "AsyncEventAge", 0)]


def test_a_failing_function_is_tried_after_one_and_two_minutes_under_one_request_id() -> None:
    node = Node(always(FAILED))

    async def main() -> None:
        await node.accept(qualifier="live")
        await node.settled()

    node.run(main)
    assert node.attempts == [("r1", 0), ("r1", 60), ("r1", 180)]
    (delivery,) = node.deliveries
    assert orjson.loads(delivery.record()) == {
        "version": "1.0",
        "timestamp": "2025-11-25T19:49:40.000Z",
        "requestContext": {
            "requestId": "r1",
            "functionArn": "arn:aws:lambda:us-east-1:123456789012:function:f:live",
            "condition": "RetriesExhausted",
            "approximateInvokeCount": 3,
        },
        "requestPayload": {"hello": "world"},
        "responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"},
        "responsePayload": {"errorMessage": "boom", "errorType": "E"},
    }
    assert node.log == ["event r1 discarded after 3 attempts (RetriesExhausted): no destination is configured"]
    assert [m for m in node.metrics if m[1] == "AsyncEventsDropped"] == [("f", "AsyncEventsDropped", 1)]
    assert [m[2] for m in node.metrics if m[1] == "AsyncEventAge"] == [0, 60_000, 180_000]


def test_a_throttled_event_backs_off_and_is_too_old_after_six_hours() -> None:
    node = Node(always(THROTTLED))

    async def main() -> None:
        await node.accept()
        await node.settled()

    node.run(main)
    times = [at for _, at in node.attempts]
    assert times[:11] == [0, 1, 3, 7, 15, 31, 63, 127, 255, 511, 811]
    assert times[-1] < 21_600
    (delivery,) = node.deliveries
    record = orjson.loads(delivery.record())
    assert record["requestContext"]["condition"] == "EventAgeExceeded"
    assert record["requestContext"]["approximateInvokeCount"] == 0
    assert "responseContext" not in record
    assert "responsePayload" not in record
    assert delivery.now_ms - node.start_ms == 21_600_000


def test_reserved_zero_discards_without_an_attempt() -> None:
    node = Node(always(OK))
    node.reserved[F] = 0
    node.policies[F] = EventPolicy(on_failure="arn:aws:sqs:us-east-1:123456789012:q")

    async def main() -> None:
        await node.accept()
        await node.settled()

    node.run(main)
    assert node.attempts == []
    assert node.log == [
        "event r1 discarded after 0 attempts (ZeroReservedConcurrency): not sent to "
        "arn:aws:sqs:us-east-1:123456789012:q, because SQS queues are not served by this release of Lambent: name a "
        "Lambda function as OnFailure destination, which can pass the record on"
    ]
    assert [m for m in node.metrics if m[1] == "DestinationDeliveryFailures"] == [
        ("f", "DestinationDeliveryFailures", 1)
    ]


def test_a_deleted_function_ends_its_events() -> None:
    node = Node(always(NotFound("Function not found: f")))

    async def main() -> None:
        await node.accept()
        await node.settled()

    node.run(main)
    assert node.log == ["event r1 discarded after 0 attempts (FunctionNotFound): Function not found: f"]


def test_success_goes_to_its_destination_only_where_one_is_configured() -> None:
    node = Node(always(Success(b"not json", "3")))
    node.policies[F] = EventPolicy(on_success="arn:aws:sns:us-east-1:123456789012:t")

    async def main() -> None:
        await node.accept("r1", F)
        await node.accept("r2", G)
        await node.settled()

    node.run(main)
    (delivery,) = node.deliveries
    record = orjson.loads(delivery.record())
    assert record["requestContext"]["condition"] == "Success"
    assert record["responseContext"] == {"statusCode": 200, "executedVersion": "3"}
    assert record["responsePayload"] == "not json"


def test_a_bug_in_an_attempt_is_a_service_error_and_is_tried_again() -> None:
    answers: Iterator[Outcome | Exception] = iter([ValueError("bug"), ServiceError("ours"), OK])

    async def invoke(event: Event) -> Outcome:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    node = Node(invoke)

    async def main() -> None:
        await node.accept()
        await node.settled()

    node.run(main)
    assert [at for _, at in node.attempts] == [0, 1, 3]


def test_an_event_whose_configuration_cannot_be_read_waits_and_is_not_stuck() -> None:
    node = Node(always(OK))

    class Broken(dict[FunctionRef, EventPolicy]):
        def get(self, ref: FunctionRef, default: Any = None) -> Any:
            raise KeyError("bug")

    async def main() -> None:
        node.policies = Broken()
        await node.accept("r1")
        await asyncio.sleep(10)
        assert node.attempts == []
        node.policies = {}
        await node.accept("r2")
        await node.settled()
        node.policies = Broken()
        await node.accept("r3")
        await node.settled()

    node.run(main)
    assert [name for name, _ in node.attempts] == ["r2", "r1"]
    assert node.log == ["event r3 discarded after 0 attempts (EventAgeExceeded): no destination is configured"]


def test_a_sink_that_breaks_costs_the_record_not_the_queue() -> None:
    node = Node(always(FAILED))
    node.policies[F] = EventPolicy(retries_max=0)

    async def broken(delivery: Delivery) -> Event | None:
        raise OSError("unreachable")

    node.sink.failed = broken  # type: ignore[method-assign]

    async def main() -> None:
        await node.accept()
        await node.settled()

    node.run(main)
    assert ("f", "DestinationDeliveryFailures", 1) in node.metrics


def test_a_slow_or_throttled_function_never_blocks_another() -> None:
    """f holds every slot it can get for an hour; g answers within a second nevertheless."""

    async def invoke(event: Event) -> Outcome:
        if event.ref == F:
            await asyncio.sleep(900)
        return OK

    node = Node(invoke, running_max=20)

    async def main() -> None:
        for i in range(200):
            await node.accept(f"f{i}", F)
        await asyncio.sleep(1_000)
        assert 10 <= node.service.running <= 16
        for i in range(30):
            await node.accept(f"g{i}", G)
        await asyncio.sleep(1)
        assert sum(name.startswith("g") for name, _ in node.attempts) == 30

    node.run(main)


def test_the_window_follows_the_room_a_function_has() -> None:
    """200 events, room for two at a time: few attempts are wasted, and nothing is lost."""
    running = 0
    throttles = 0

    async def invoke(event: Event) -> Outcome:
        nonlocal running, throttles
        if running == 2:
            throttles += 1
            return THROTTLED
        running += 1
        await asyncio.sleep(0.1)
        running -= 1
        return OK

    node = Node(invoke)

    async def main() -> None:
        for i in range(200):
            await node.accept(f"r{i}")
        await node.settled()

    node.run(main)
    assert len(node.attempts) - throttles == 200
    assert throttles < 200


def limited(places: list[int], takes_s: Callable[[str], float]) -> Callable[[Event], Awaitable[Outcome]]:
    """A function that has as many places as the list's only number says."""
    running = 0

    async def invoke(event: Event) -> Outcome:
        nonlocal running
        if running >= places[0]:
            return THROTTLED
        running += 1
        await asyncio.sleep(takes_s(event.request_id))
        running -= 1
        return OK

    return invoke


def ran(node: Node) -> dict[str, float]:
    """When the last attempt at each event began."""
    return dict(node.attempts)


def test_events_of_a_limited_function_follow_each_other_without_a_gap_in_their_order() -> None:
    node = Node(limited([1], lambda name: 0.1))

    async def main() -> None:
        for number in range(20):
            await node.accept(str(number))
        await node.settled()

    node.run(main)
    assert ran(node) == {str(number): pytest.approx(number * 0.1, abs=0.05) for number in range(20)}
    assert all(event.deferrals == 0 for event in node.events)
    assert len(node.attempts) <= 16 + 2 * 20


def test_long_events_all_run_at_once_where_nothing_is_throttled() -> None:
    node = Node(limited([1_000], lambda name: 900.0), running_max=400)

    async def main() -> None:
        for number in range(200):
            await node.accept(str(number))
        await asyncio.sleep(4.5)
        assert node.service.running == 200
        await node.settled()

    node.run(main)
    assert len(node.attempts) == 200


def test_a_limited_function_is_asked_for_more_room_while_a_long_event_runs() -> None:
    """Others than events have its places at first; nobody tells when they leave."""
    places = [1]
    node = Node(limited(places, lambda name: 900.0 if name == "long" else 0.1))

    async def main() -> None:
        for name in ("long", "a", "b", "c"):
            await node.accept(name)
        await asyncio.sleep(20)
        assert [at for name, at in node.attempts if name == "a"] == [0, *map(pytest.approx, (1, 3, 7, 15))]
        places[0] = 2
        await asyncio.sleep(13)
        assert len(node.queue) == 1, "a, b and c had the other place, one after the other"

    node.run(main)
    assert ran(node)["a"] == pytest.approx(31, abs=0.1)
    assert ran(node)["c"] < 32
    assert all(event.deferrals == 0 for event in node.events)


def test_a_clock_set_forward_makes_events_due_and_set_back_makes_them_wait() -> None:
    answers: Iterator[Outcome] = iter([FAILED, FAILED, OK])

    async def invoke(event: Event) -> Outcome:
        return next(answers)

    node = Node(invoke)

    async def main() -> None:
        await node.accept()
        await asyncio.sleep(5)
        node.clock.jump_wall(3_600)
        await asyncio.sleep(1.5)
        assert len(node.attempts) == 2  # at once, not after the minute
        node.clock.jump_wall(-3_600)
        await asyncio.sleep(3_500)
        assert len(node.attempts) == 2
        await asyncio.sleep(300)
        assert len(node.attempts) == 3

    node.run(main)


def test_below_the_low_water_mark_nothing_is_accepted() -> None:
    node = Node(always(OK))
    node.has_room = False

    async def main() -> None:
        with pytest.raises(DiskFull, match="no event is accepted until there is room"):
            await node.accept()

    node.run(main)
    assert len(node.queue) == 0
    assert node.metrics == []


def test_a_decision_that_cannot_be_stored_is_stored_later_without_another_attempt() -> None:
    node = Node(always(OK))
    settle = node.queue.settle
    failures = iter([DiskFull("full"), ServiceFault("broken")])

    async def failing(event: Event, successor: Event | None = None) -> None:
        if (error := next(failures, None)) is not None:
            raise error
        await settle(event, successor)

    node.queue.settle = failing  # type: ignore[method-assign]

    async def main() -> None:
        await node.accept()
        await node.settled()

    node.run(main)
    assert len(node.attempts) == 1


def test_a_stop_lets_finish_what_finishes_in_time_and_gives_the_rest_back() -> None:
    async def invoke(event: Event) -> Outcome:
        await asyncio.sleep(1 if event.request_id == "short" else 100)
        return OK

    node = Node(invoke)

    async def main() -> None:
        await node.accept("short")
        await node.accept("long")
        await asyncio.sleep(0.5)
        assert node.service.running == 2

    node.run(main)
    assert len(node.queue) == 1
    assert len(node.attempts) == 2

    async def leased() -> list[Event]:
        return await node.queue.lease(node.clock.wall_ms(), 10, lambda ref: 10)

    (again,) = asyncio.run(leased())
    assert (again.request_id, again.attempt) == ("long", 0)


def test_a_stopping_service_cancelled_twice_leaves_no_task_behind() -> None:
    async def invoke(event: Event) -> Outcome:
        await asyncio.sleep(1_000)
        return OK

    node = Node(invoke)

    async def main() -> None:
        node.service.start()
        await node.accept()
        await asyncio.sleep(1)
        stopper = asyncio.create_task(node.service.stop(grace_s=500))
        for _ in range(2):
            await asyncio.sleep(0.1)
            stopper.cancel()
        with pytest.raises(asyncio.CancelledError):
            await stopper
        await asyncio.sleep(0.1)
        assert node.service.running == 0

    run_virtual(node.clock, main())
