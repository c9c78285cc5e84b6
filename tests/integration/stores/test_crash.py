"""What was acknowledged is there after SIGKILL, and a full file system loses nothing and ends."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from lambent.domain.errors import DiskFull
from lambent.domain.names import FunctionRef
from lambent.invocations.queue import Event
from lambent.stores.backup import backup
from lambent.stores.datadir import open_data_directory
from lambent.stores.queue_sqlite import MIGRATIONS, SqliteEvents
from lambent.stores.writer import Writer

F = FunctionRef("123456789012", "us-east-1", "f")

SERVER = """
import asyncio, sys
from dataclasses import replace
from pathlib import Path
from lambent.domain.names import FunctionRef
from lambent.invocations.queue import Event
from lambent.stores.datadir import open_data_directory
from lambent.stores.queue_sqlite import MIGRATIONS, SqliteEvents
from lambent.stores.writer import Writer

async def main():
    data = open_data_directory(Path(sys.argv[1]))
    queue = SqliteEvents(Writer(data.queue_db, MIGRATIONS))
    first = int(sys.argv[2])
    say = lambda word, event: print(word, event.request_id, flush=True)

    async def produce(producer):
        for i in range(1_000_000):
            ref = FunctionRef("123456789012", "us-east-1", f"f{producer % 3}")
            event = await queue.append(Event(0, ref, None, f"{first}-{producer}-{i}", "", bytes(200), 0, 0))
            say("accepted", event)

    async def consume():
        while True:
            for event in await queue.lease(0, 20, lambda ref: 20):
                if event.id % 3 == 0:
                    await queue.release(replace(event, due_ms=1, attempt=1))
                    say("released", event)
                else:
                    say("settling", event)
                    await queue.settle(event)
                    say("settled", event)
            await asyncio.sleep(0)

    await asyncio.gather(consume(), *(produce(n) for n in range(16)))

asyncio.run(main())
"""


def run_and_kill(path: Path, number: int, lines: int) -> list[tuple[str, str]]:
    """Let a server work until it has said `lines` lines, kill it, and answer all it managed to say."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", SERVER, str(path), str(number)], env=environment, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        said = []
        for line in server.stdout:
            said.append(line)
            if len(said) == lines:
                server.kill()
    return [(word, name) for word, _, name in (line.strip().partition(" ") for line in said if line.endswith("\n"))]


def test_what_was_acknowledged_survives_kill_9(tmp_path: Path) -> None:
    """Six lives of one queue: accepted is found again, settled stays settled, released keeps its attempt."""
    path = tmp_path / "data"
    accepted: set[str] = set()
    settling: set[str] = set()
    settled: set[str] = set()
    released: set[str] = set()
    for life, lines in enumerate([1, 50, 400, 1_500, 3_000, 5_000]):
        for word, name in run_and_kill(path, life, lines):
            {"accepted": accepted, "settling": settling, "settled": settled, "released": released}[word].add(name)
        backup(path, tmp_path / f"saved{life}")
        for database in (tmp_path / f"saved{life}/queue.db", path / "queue.db"):
            with closing(sqlite3.connect(database)) as connection:
                found = dict(connection.execute("SELECT request_id, attempt FROM events"))
                assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            assert accepted - settling <= found.keys()
            assert not settled & found.keys()
            assert all(found[name] == 1 for name in released - settling)
    assert len(settled) > 100
    assert len(released) > 50
    with open_data_directory(path) as data:
        writer = Writer(data.queue_db, MIGRATIONS)
        queue = SqliteEvents(writer)

        async def all_events() -> set[str]:
            names = {event.request_id for event in await queue.lease(1, 1_000_000, lambda ref: 1_000_000)}
            await writer.close()
            return names

        assert asyncio.run(all_events()) == found.keys()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MB."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(place)], check=True)
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_file_system_refuses_and_recovers(small_disk: Path) -> None:
    """Somebody else fills the disk: the low-water mark says so first, then writes fail aloud; space heals all of it."""
    filler = small_disk / "somebody-elses"

    async def append(queue: SqliteEvents, name: str) -> None:
        await queue.append(Event(0, F, None, name, "", bytes(100_000), 0, 0))

    async def main() -> None:
        with open_data_directory(small_disk / "data", free_bytes_min=1_048_576) as data:
            writer = Writer(data.queue_db, MIGRATIONS)
            queue = SqliteEvents(writer)
            await append(queue, "before")
            assert data.free_bytes() > 1_048_576
            filler.write_bytes(bytes(data.free_bytes() - 300_000))
            assert not data.has_room()
            results = [await asyncio.gather(append(queue, f"r{i}"), return_exceptions=True) for i in range(10)]
            kinds = [type(result) for (result,) in results]
            assert kinds[-1] is DiskFull
            assert set(kinds) <= {type(None), DiskFull}
            assert len(queue) == 1 + kinds.count(type(None))
            filler.unlink()
            for event in await queue.lease(0, 1_000, lambda ref: 1_000):
                await queue.settle(event)
            await append(queue, "after")
            filler.write_bytes(bytes(data.free_bytes()))
            await writer.close()  # without room for the checkpoint
            filler.unlink()
            writer = Writer(data.queue_db, MIGRATIONS)
            assert [event.request_id for event in await SqliteEvents(writer).lease(0, 9, lambda ref: 9)] == ["after"]
            await writer.close()

    asyncio.run(main())
