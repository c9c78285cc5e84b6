"""What every event queue promises: nothing lost, nothing handed out twice, functions take turns."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lambent.domain.errors import ServiceFault
from lambent.domain.names import FunctionRef
from lambent.invocations.queue import Event, EventQueue, NotLeased
from lambent.stores.queue_memory import MemoryEvents
from lambent.stores.queue_sqlite import MIGRATIONS, SqliteEvents
from lambent.stores.writer import Writer

A, B, C = (FunctionRef("123456789012", "us-east-1", name) for name in "abc")
NOW = 1_764_100_000_000

Scenario = Callable[[EventQueue], Awaitable[None]]
Run = Callable[..., None]


def run_memory(scenario: Scenario, events_max: int = 1_000) -> None:
    asyncio.run(_as_coroutine(scenario, MemoryEvents(events_max=events_max)))


async def _as_coroutine(scenario: Scenario, queue: EventQueue) -> None:
    await scenario(queue)


@pytest.fixture(params=["memory", "sqlite", "sqlite-without-cache"])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Run:
    """Runs one scenario on a fresh queue."""
    numbers = iter(range(1_000_000))

    def run_sqlite(scenario: Scenario, events_max: int = 1_000) -> None:
        async def main() -> None:
            writer = Writer(tmp_path / f"queue{next(numbers)}.db", MIGRATIONS)
            cache = 0 if request.param == "sqlite-without-cache" else 1_000_000
            try:
                await scenario(SqliteEvents(writer, events_max=events_max, cache_bytes_max=cache))
            finally:
                await writer.close()

        asyncio.run(main())

    return run_memory if request.param == "memory" else run_sqlite


def _constant(room: int, ref: FunctionRef) -> int:
    return room


def event(ref: FunctionRef = A, name: str = "1", *, due_ms: int = NOW) -> Event:
    return Event(0, ref, "live", f"request-{name}", "Root=1-2-3", b'{"n": "%s"}' % name.encode(), NOW, due_ms)


async def lease(queue: EventQueue, now_ms: int = NOW, limit: int = 100, room: int = 100) -> list[Event]:
    return await queue.lease(now_ms, limit, lambda ref: room)


def ids(events: list[Event]) -> list[str]:
    return [leased.request_id.removeprefix("request-") for leased in events]


def test_an_event_comes_back_as_it_was_given(run: Run) -> None:
    async def scenario(queue: EventQueue) -> None:
        given_event = replace(event(), qualifier=None, payload=bytes(1_048_576), tenant_id="a tenant/1")
        stored = await queue.append(given_event)
        assert stored == replace(given_event, id=stored.id)
        assert stored.id > 0
        assert await lease(queue) == [stored]

    run(scenario)


def test_events_are_leased_when_due_in_order_of_due_time(run: Run) -> None:
    async def scenario(queue: EventQueue) -> None:
        for name, due_ms in [("late", NOW + 5), ("second", NOW), ("first", NOW - 5), ("third", NOW)]:
            await queue.append(event(A, name, due_ms=due_ms))
        assert ids(await lease(queue, NOW - 6)) == []
        assert queue.next_due_ms() == NOW - 5
        assert ids(await lease(queue, NOW, limit=2)) == ["first", "second"]
        assert ids(await lease(queue, NOW)) == ["third"]
        assert queue.next_due_ms() == NOW + 5
        assert ids(await lease(queue, NOW + 5)) == ["late"]
        assert queue.next_due_ms() is None

    run(scenario)


def test_a_clock_that_is_set_back_makes_events_wait(run: Run) -> None:
    async def scenario(queue: EventQueue) -> None:
        for name in "12":
            await queue.append(event(A, name))
        assert ids(await lease(queue, NOW, limit=1)) == ["1"]
        assert ids(await lease(queue, NOW - 1)) == []
        assert queue.next_due_ms() == NOW
        assert ids(await lease(queue, NOW)) == ["2"]

    run(scenario)


def test_functions_take_turns(run: Run) -> None:
    async def scenario(queue: EventQueue) -> None:
        for i in range(6):
            await queue.append(event(A, f"a{i}"))
        await queue.append(event(B, "b0"))
        await queue.append(event(C, "c0"))
        assert ids(await lease(queue, limit=4)) == ["a0", "b0", "c0", "a1"]
        await queue.append(event(B, "b1"))
        assert ids(await lease(queue, limit=2)) in (["a2", "b1"], ["b1", "a2"])

    run(scenario)


def test_a_function_without_room_is_passed_over_and_keeps_its_events(run: Run) -> None:
    async def scenario(queue: EventQueue) -> None:
        for i in range(3):
            await queue.append(event(A, f"a{i}"))
        await queue.append(event(B, "b0"))
        room = {A: 0, B: 5}
        assert ids(await queue.lease(NOW, 10, room.__getitem__)) == ["b0"]
        room[A] = 2
        assert ids(await queue.lease(NOW, 10, room.__getitem__)) == ["a0", "a1"]
        assert ids(await queue.lease(NOW, 10, room.__getitem__)) == ["a2"]

    run(scenario)


def test_a_lease_is_exclusive_until_it_ends(run: Run) -> None:
    async def scenario(queue: EventQueue) -> None:
        await queue.append(event())
        (held,) = await lease(queue)
        assert await lease(queue) == []
        queue.abandon(held)
        assert await lease(queue) == [held]
        await queue.settle(held)
        assert await lease(queue, NOW + 1_000_000) == []
        assert (len(queue), queue.count(A)) == (0, 0)

    run(scenario)


def test_a_released_event_waits_with_its_new_facts(run: Run) -> None:
    async def scenario(queue: EventQueue) -> None:
        await queue.append(event())
        (held,) = await lease(queue)
        again = replace(held, due_ms=NOW + 60_000, attempt=1, deferrals=3, reason="Unhandled")
        await queue.release(again)
        assert queue.next_due_ms() == NOW + 60_000
        assert await lease(queue, NOW + 59_999) == []
        assert await lease(queue, NOW + 60_000) == [again]

    run(scenario)


def test_who_does_not_hold_an_event_cannot_end_its_lease(run: Run) -> None:
    async def scenario(queue: EventQueue) -> None:
        stored = await queue.append(event())
        with pytest.raises(NotLeased):
            await queue.settle(stored)
        (held,) = await lease(queue)
        await queue.release(held)
        with pytest.raises(NotLeased):
            await queue.release(held)
        with pytest.raises(NotLeased):
            queue.abandon(held)
        (held,) = await lease(queue)
        await queue.settle(held)
        with pytest.raises(NotLeased):
            await queue.settle(held)

    run(scenario)


def test_a_successor_takes_the_place_of_the_event_it_comes_from(run: Run) -> None:
    async def scenario(queue: EventQueue) -> None:
        await asyncio.gather(queue.append(event(A, "1")), queue.append(event(A, "2")))
        (held,) = await lease(queue, limit=1)
        await queue.settle(held, event(B, "record"))  # the queue is full, and takes it all the same
        assert (len(queue), queue.count(A), queue.count(B)) == (2, 1, 1)
        waiting, record = sorted(await lease(queue), key=lambda one: one.ref.name)
        assert (waiting.request_id, replace(record, id=0)) == ("request-2", event(B, "record"))
        assert record.id > waiting.id
        await queue.settle(record)
        await queue.settle(waiting)
        assert len(queue) == 0

    run(scenario, events_max=2)


def test_counts_and_ages_per_function(run: Run) -> None:
    async def scenario(queue: EventQueue) -> None:
        assert queue.oldest_accepted_ms(A) is None
        for i in range(3):
            await queue.append(replace(event(A, str(i)), accepted_ms=NOW + i))
        await queue.append(event(B))
        (held,) = await queue.lease(NOW, 1, lambda ref: 1 if ref == A else 0)
        assert (len(queue), queue.count(A), queue.count(B), queue.count(C)) == (4, 3, 1, 0)
        assert queue.oldest_accepted_ms(A) == NOW
        await queue.settle(held)
        assert queue.count(A) == 2
        assert queue.oldest_accepted_ms(A) == NOW + 1
        for i in range(300):  # settled events leave nothing behind while an older one stays
            await queue.append(replace(event(C, str(i)), accepted_ms=NOW + i))
            for held in await queue.lease(NOW, 1, lambda ref: int(ref == C)):
                if i:
                    await queue.settle(held)
                else:
                    first = held
            assert queue.oldest_accepted_ms(C) == NOW
        await queue.settle(first)
        assert queue.oldest_accepted_ms(C) is None

    run(scenario)


def test_the_number_of_waiting_events_is_bounded(run: Run) -> None:
    async def scenario(queue: EventQueue) -> None:
        await asyncio.gather(queue.append(event(A, "1")), queue.append(event(A, "2")))
        with pytest.raises(ServiceFault, match="too many events"):
            await queue.append(event(A, "3"))
        (held, _) = await lease(queue)
        await queue.settle(held)
        await queue.append(event(A, "3"))

    run(scenario, events_max=2)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.sampled_from([A, B, C]), st.integers(0, 20)),
        st.tuples(st.just("lease"), st.integers(1, 5), st.integers(0, 3)),
        st.tuples(st.just("settle"), st.integers(0, 99)),
        st.tuples(st.just("follow"), st.integers(0, 99), st.integers(0, 20)),
        st.tuples(st.just("release"), st.integers(0, 99), st.integers(0, 20)),
        st.tuples(st.just("abandon"), st.integers(0, 99)),
        st.tuples(st.just("clock"), st.integers(-5, 10)),
    ),
    max_size=60,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_no_sequence_of_steps_loses_or_repeats_an_event(run: Run, steps: list[tuple[object, ...]]) -> None:
    """Against a model: which events wait until when, which are held."""

    async def scenario(queue: EventQueue) -> None:
        now, made = NOW, 0
        waiting: dict[int, Event] = {}
        held: dict[int, Event] = {}
        for step in steps:
            pick = list(held.values())
            match step:
                case ("append", FunctionRef() as ref, int() as delay):
                    stored = await queue.append(event(ref, due_ms=now + delay))
                    waiting[stored.id] = stored
                    made += 1
                    assert stored.id == made
                case ("lease", int() as limit, int() as room):
                    leased = await queue.lease(now, limit, partial(_constant, room))
                    for found in leased:
                        assert waiting.pop(found.id) == found
                        assert found.due_ms <= now
                        held[found.id] = found
                    if len(leased) < limit:
                        for ref in (A, B, C):
                            if sum(found.ref == ref for found in leased) < room:
                                assert not [e for e in waiting.values() if e.ref == ref and e.due_ms <= now]
                case ("settle", int() as at) if pick:
                    done = pick[at % len(pick)]
                    await queue.settle(done)
                    del held[done.id]
                case ("follow", int() as at, int() as delay) if pick:
                    done = pick[at % len(pick)]
                    successor = event(B, f"after-{done.id}", due_ms=now + delay)
                    await queue.settle(done, successor)
                    del held[done.id]
                    made += 1
                    waiting[made] = replace(successor, id=made)
                case ("release", int() as at, int() as delay) if pick:
                    again = replace(pick[at % len(pick)], due_ms=now + delay, attempt=1)
                    await queue.release(again)
                    del held[again.id]
                    waiting[again.id] = again
                case ("abandon", int() as at) if pick:
                    done = pick[at % len(pick)]
                    queue.abandon(done)
                    waiting[done.id] = held.pop(done.id)
                case ("clock", int() as ms):
                    now += ms
            assert len(queue) == len(waiting) + len(held)
        rest = await queue.lease(now + 1_000_000, 1_000, lambda ref: 1_000)
        assert {found.id: found for found in rest} == waiting

    run(scenario)


class TestAfterARestart:
    """The durable one only."""

    def test_what_was_not_settled_waits_again_with_its_latest_facts(self, tmp_path: Path) -> None:
        path = tmp_path / "queue.db"

        async def before() -> None:
            writer = Writer(path, MIGRATIONS)
            queue = SqliteEvents(writer)
            for name in ("settled", "released", "leased", "waiting"):
                await queue.append(event(A, name))
            settled, released, _ = await lease(queue, limit=3)
            await queue.settle(settled)
            await queue.release(replace(released, attempt=2, due_ms=NOW + 7, reason="Unhandled"))
            await writer.close()

        async def after() -> None:
            writer = Writer(path, MIGRATIONS)
            queue = SqliteEvents(writer)
            assert len(queue) == 3
            leased, waiting = await lease(queue)
            assert ids([leased, waiting]) == ["leased", "waiting"]
            (released,) = await lease(queue, NOW + 7)
            assert (released.attempt, released.reason) == (2, "Unhandled")
            new = await queue.append(event(A, "new"))
            assert new.id > waiting.id
            await writer.close()

        asyncio.run(before())
        asyncio.run(after())

    def test_a_successor_is_there_and_what_it_replaced_is_gone(self, tmp_path: Path) -> None:
        async def before() -> None:
            writer = Writer(tmp_path / "queue.db", MIGRATIONS)
            queue = SqliteEvents(writer)
            await queue.append(event(A, "source"))
            (held,) = await lease(queue)
            await queue.settle(held, event(B, "record"))
            await writer.close()

        async def after() -> None:
            writer = Writer(tmp_path / "queue.db", MIGRATIONS)
            assert ids(await lease(SqliteEvents(writer))) == ["record"]
            await writer.close()

        asyncio.run(before())
        asyncio.run(after())

    def test_a_successor_that_cannot_be_stored_leaves_the_lease_and_nothing_else(self, tmp_path: Path) -> None:
        async def main() -> None:
            writer = Writer(tmp_path / "queue.db", MIGRATIONS)
            queue = SqliteEvents(writer)
            await queue.append(event(A, "source"))
            (held,) = await lease(queue)
            rogue = writer.transact(lambda connection: connection.execute("COMMIT"))
            with pytest.raises(ServiceFault):
                await queue.settle(held, event(B, "record"))
            with pytest.raises(ServiceFault):
                await rogue
            assert (len(queue), queue.count(B)) == (1, 0)
            await queue.settle(held, event(B, "record"))
            assert ids(await lease(queue)) == ["record"]
            await writer.close()

        asyncio.run(main())

    def test_an_append_whose_caller_was_cancelled_is_known_at_once(self, tmp_path: Path) -> None:
        async def main() -> None:
            writer = Writer(tmp_path / "queue.db", MIGRATIONS)
            queue = SqliteEvents(writer)
            caller = asyncio.create_task(queue.append(event()))
            await asyncio.sleep(0)
            caller.cancel()
            await asyncio.wait({caller})
            await writer.execute("SELECT 1")
            await asyncio.sleep(0)
            assert len(queue) == 1
            await writer.close()

        asyncio.run(main())

    def test_a_failed_write_leaves_the_lease_with_its_holder(self, tmp_path: Path) -> None:
        async def main() -> None:
            writer = Writer(tmp_path / "queue.db", MIGRATIONS)
            queue = SqliteEvents(writer)
            await queue.append(event())
            (held,) = await lease(queue)
            rogue = writer.transact(lambda connection: connection.execute("COMMIT"))
            with pytest.raises(ServiceFault):
                await queue.settle(held)
            with pytest.raises(ServiceFault):
                await rogue
            await queue.settle(held)
            assert len(queue) == 0
            await writer.close()

        asyncio.run(main())

    def test_events_from_before_there_were_tenants_have_none(self, tmp_path: Path) -> None:
        first = tmp_path / "migrations"
        first.mkdir()
        (first / "0001_events.sql").write_text((MIGRATIONS / "0001_events.sql").read_text())

        async def main() -> None:
            writer = Writer(tmp_path / "queue.db", first)
            await writer.execute(
                "INSERT INTO events VALUES (1, ?, ?, ?, NULL, 'request-1', '', ?, ?, 0, 0, NULL, ?)",
                (A.account, A.region, A.name, NOW, NOW, b"{}"),
            )
            await writer.close()
            writer = Writer(tmp_path / "queue.db", MIGRATIONS)
            (found,) = await lease(SqliteEvents(writer))
            assert (found.request_id, found.payload, found.tenant_id) == ("request-1", b"{}", "")
            await writer.close()

        asyncio.run(main())
