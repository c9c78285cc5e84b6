"""Bounds of the stores at their own size: writes waiting for the disk, a batch, the low-water mark, the event queue."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.contracts.test_event_queue import event

from lambent.domain.clock import ManualClock
from lambent.domain.errors import ServiceFault
from lambent.invocations.queue import EVENTS_MAX
from lambent.stores.datadir import FREE_BYTES_MIN, ROOM_FRESH_MS, open_data_directory
from lambent.stores.queue_memory import MemoryEvents
from lambent.stores.queue_sqlite import CACHE_BYTES_MAX, MIGRATIONS, SqliteEvents
from lambent.stores.writer import (
    BATCH_BYTES_MAX,
    BATCH_JOBS_MAX,
    CHECKPOINT_ROWS,
    PENDING_BYTES_MAX,
    PENDING_JOBS_MAX,
    Writer,
)

INSERT = "INSERT INTO notes (text) VALUES (?)"


@pytest.fixture
def migrations(tmp_path: Path) -> Path:
    folder = tmp_path / "migrations"
    folder.mkdir()
    (folder / "0001_notes.sql").write_text("CREATE TABLE notes (text TEXT)")
    return folder


Held = Callable[[Writer, "asyncio.Future[None]", threading.Event], "asyncio.Future[None]"]


def with_a_held_writer(
    tmp_path: Path, migrations: Path, scenario: Callable[[Writer, threading.Event], None]
) -> list[int]:
    """Run a scenario while the writer's thread is busy with one job; answers the sizes of the batches afterwards."""
    sizes: list[int] = []

    async def main() -> None:
        writer = Writer(tmp_path / "a.db", migrations)
        commit = writer._commit
        writer._commit = lambda batch: (sizes.append(len(batch)), commit(batch))[1]  # type: ignore[method-assign,func-returns-value]
        entered, over = threading.Event(), threading.Event()

        def hold(_: sqlite3.Connection) -> None:
            entered.set()
            over.wait(10.0)

        holding = writer.transact(hold)
        await asyncio.to_thread(entered.wait, 10.0)
        try:
            scenario(writer, over)
        finally:
            over.set()
        await holding
        await writer.close()

    asyncio.run(main())
    return sizes


def test_as_many_writes_wait_as_the_bound_says(tmp_path: Path, migrations: Path) -> None:
    def scenario(writer: Writer, over: threading.Event) -> None:
        for _ in range(PENDING_JOBS_MAX - 1):  # and the one that is held
            writer.append(INSERT, ("",))
        with pytest.raises(ServiceFault, match="too many writes are waiting for the disk"):
            writer.append(INSERT, ("",))

    sizes = with_a_held_writer(tmp_path, migrations, scenario)
    assert max(sizes) == BATCH_JOBS_MAX
    assert sum(sizes) == PENDING_JOBS_MAX


def test_what_waits_is_bounded_in_bytes_and_so_is_a_batch(tmp_path: Path, migrations: Path) -> None:
    jobs = PENDING_BYTES_MAX // BATCH_BYTES_MAX

    def scenario(writer: Writer, over: threading.Event) -> None:
        for _ in range(jobs):
            writer.append(INSERT, ("",), weight=BATCH_BYTES_MAX)
        with pytest.raises(ServiceFault, match="too many writes"):
            writer.append(INSERT, ("",), weight=1)

    assert with_a_held_writer(tmp_path, migrations, scenario) == [1] + [1] * jobs


def test_a_million_events_wait_at_most(tmp_path: Path) -> None:
    """Neither queue is filled for it: what counts is what they are opened with."""

    async def main() -> None:
        memory = MemoryEvents()
        assert memory._events_max == EVENTS_MAX == 1_000_000
        writer = Writer(tmp_path / "queue.db", MIGRATIONS)
        durable = SqliteEvents(writer)
        assert durable._events_max == EVENTS_MAX
        durable._storing = EVENTS_MAX  # as if so many were being stored
        with pytest.raises(ServiceFault, match="too many events are waiting"):
            await durable.append(event())
        await writer.close()

    asyncio.run(main())


def test_payloads_of_waiting_events_stay_in_memory_up_to_a_bound(tmp_path: Path) -> None:
    """The bound is reached with 60 MB of declared size: one buffer, counted many times."""
    payload = b"x" * 1_000_000

    async def main() -> None:
        writer = Writer(tmp_path / "queue.db", MIGRATIONS)
        queue = SqliteEvents(writer, cache_bytes_max=CACHE_BYTES_MAX)
        for number in range(CACHE_BYTES_MAX // len(payload) + 3):
            await queue.append(replace(event(name=str(number)), payload=payload))
        assert len(queue) * len(payload) > CACHE_BYTES_MAX >= queue._cached_bytes
        await writer.close()

    asyncio.run(main())


def test_the_low_water_mark_and_how_long_a_look_is_believed(tmp_path: Path) -> None:
    clock = ManualClock()
    with open_data_directory(tmp_path / "data", clock=clock) as data:
        free = [FREE_BYTES_MIN]
        data.free_bytes = lambda: free[0]  # type: ignore[method-assign]
        assert data.has_room()
        free[0] -= 1
        clock.advance((ROOM_FRESH_MS - 1) / 1_000)
        assert data.has_room()
        clock.advance(0.001)
        assert not data.has_room()


def test_so_many_changed_rows_are_folded_into_the_database(tmp_path: Path, migrations: Path) -> None:
    async def main() -> None:
        writer = Writer(tmp_path / "a.db", migrations)
        for _ in range(CHECKPOINT_ROWS - 1):
            written = writer.append(INSERT, ("",))
        await written
        before = writer._rows_at_checkpoint
        await writer.append(INSERT, ("",))
        await writer.append(INSERT, ("",))  # answered once the checkpoint before it is over
        assert before == 0
        assert writer._rows_at_checkpoint >= CHECKPOINT_ROWS
        await writer.close()

    asyncio.run(main())
