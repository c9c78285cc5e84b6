"""Group commit: what is answered is stored, what fails takes nobody with it, what is bounded says so."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from lambent.domain.errors import DiskFull, ServiceFault
from lambent.stores.writer import LOG_AFTER_COMMITS, LOG_BYTES, StoreFormatError, Writer

INSERT = "INSERT INTO items (name, body) VALUES (?, ?)"


@pytest.fixture
def migrations(tmp_path: Path) -> Path:
    folder = tmp_path / "migrations"
    folder.mkdir()
    (folder / "0001_items.sql").write_text("CREATE TABLE items (name TEXT PRIMARY KEY, body BLOB) STRICT;")
    return folder


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "items.db"


def names(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return [row[0] for row in connection.execute("SELECT name FROM items ORDER BY name")]


def size_of(path: Path) -> int:
    return path.stat().st_size


def test_what_is_answered_is_visible_to_a_second_connection(path: Path, migrations: Path) -> None:
    async def main() -> None:
        writer = Writer(path, migrations)
        await asyncio.gather(*(writer.append(INSERT, (f"{i:03}", b"")) for i in range(200)))
        assert len(names(path)) == 200
        assert await writer.execute("DELETE FROM items WHERE name < ?", ("100",)) == 100
        assert await writer.transact(lambda c: c.execute("SELECT count(*) FROM items").fetchone()[0]) == 100
        assert writer.pending == 0
        await writer.close()
        await writer.close()

    asyncio.run(main())
    assert not Path(f"{path}-wal").exists()


def test_a_bad_row_fails_alone_in_its_batch(path: Path, migrations: Path) -> None:
    async def main() -> None:
        writer = Writer(path, migrations)
        results = await asyncio.gather(
            *(writer.append(INSERT, (name, b"")) for name in ("a", "b", "a", "c")), return_exceptions=True
        )
        assert [type(result) for result in results] == [type(None), type(None), sqlite3.IntegrityError, type(None)]
        await writer.close()

    asyncio.run(main())
    assert names(path) == ["a", "b", "c"]


def test_a_failing_transaction_undoes_only_itself(path: Path, migrations: Path) -> None:
    def fails(connection: sqlite3.Connection) -> None:
        connection.execute(INSERT, ("lost", b""))
        raise LookupError("the caller's own")

    async def main() -> None:
        writer = Writer(path, migrations)
        before = writer.transact(lambda c: c.execute(INSERT, ("before", b"")).rowcount)
        failed = writer.transact(fails)
        after = writer.execute(INSERT, ("after", b""))
        assert (await before, await after) == (1, 1)
        with pytest.raises(LookupError, match="the caller's own"):
            await failed
        await writer.close()

    asyncio.run(main())
    assert names(path) == ["after", "before"]


def test_a_function_that_commits_by_itself_fails_its_batch_and_the_next_one_works(path: Path, migrations: Path) -> None:
    async def main() -> None:
        writer = Writer(path, migrations)
        rogue = writer.transact(lambda c: c.execute("COMMIT"))
        neighbour = writer.execute(INSERT, ("neighbour", b""))
        for future in (rogue, neighbour):
            with pytest.raises(ServiceFault, match="a write failed"):
                await future
        await writer.execute(INSERT, ("next", b""))
        await writer.close()

    asyncio.run(main())
    assert names(path) == ["next"]


def test_a_full_disk_is_a_domain_error_for_each_of_the_batch_and_the_writer_recovers(
    path: Path, migrations: Path
) -> None:
    """SQLite's own page limit raises the same SQLITE_FULL as a full file system."""

    async def main() -> None:
        writer = Writer(path, migrations)
        pages = writer.read_at_start(lambda c: c.execute("PRAGMA page_count").fetchone()[0])
        writer.read_at_start(lambda c: c.execute(f"PRAGMA max_page_count = {pages + 10}"))
        results = await asyncio.gather(
            *(writer.append(INSERT, (f"{i}", bytes(20_000))) for i in range(8)), return_exceptions=True
        )
        assert [type(result) for result in results] == [DiskFull] * 8
        assert names(path) == []
        await writer.append(INSERT, ("one", bytes(20_000)))
        with pytest.raises(DiskFull):
            await writer.transact(lambda c: c.execute(INSERT, ("two", bytes(40_000))))
        await writer.execute("DELETE FROM items")
        await writer.append(INSERT, ("fits", b"small"))
        await writer.close()

    asyncio.run(main())
    assert names(path) == ["fits"]


def test_a_cancelled_caller_does_not_disturb_its_batch(path: Path, migrations: Path) -> None:
    async def main() -> None:
        writer = Writer(path, migrations)
        gone = asyncio.ensure_future(writer.append(INSERT, ("gone", b"")))
        stays = writer.append(INSERT, ("stays", b""))
        gone.cancel()
        await stays
        await writer.close()

    asyncio.run(main())
    assert names(path) == ["gone", "stays"]


def test_pending_jobs_are_bounded(path: Path, migrations: Path) -> None:
    async def main() -> None:
        writer = Writer(path, migrations, pending_jobs_max=2)
        accepted = [writer.append(INSERT, ("a", b"")), writer.append(INSERT, ("b", b""))]
        with pytest.raises(ServiceFault, match="too many writes"):
            writer.append(INSERT, ("c", b""))
        await asyncio.gather(*accepted)
        await writer.append(INSERT, ("c", b""))
        with pytest.raises(ServiceFault, match="too many writes"):
            writer.append(INSERT, ("d", b""), weight=1 << 30)
        await writer.close()

    asyncio.run(main())


def test_close_carries_out_what_was_handed_in(path: Path, migrations: Path) -> None:
    async def main() -> None:
        writer = Writer(path, migrations)
        futures = [writer.append(INSERT, (f"{i:05}", b"")) for i in range(10_000)]  # more than two batches
        await writer.close()
        await asyncio.gather(*futures)
        with pytest.raises(RuntimeError, match="closed"):
            writer.execute("SELECT 1")

    asyncio.run(main())
    assert len(names(path)) == 10_000


def test_the_log_is_folded_back_between_commits(path: Path, migrations: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lambent.stores.writer.CHECKPOINT_BYTES", 100_000)
    monkeypatch.setattr("lambent.stores.writer.WAL_BYTES_MAX", 300_000)

    async def main() -> None:
        writer = Writer(path, migrations)
        for i in range(100):
            await writer.append(INSERT, (f"{i}", bytes(20_000)), weight=20_000)
        assert os.stat(f"{path}-wal").st_size < 600_000
        await writer.close()

    asyncio.run(main())
    assert len(names(path)) == 100


def test_commits_overwrite_a_log_that_was_made_long_ahead(
    path: Path, migrations: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What is in the file beyond the commits is void, also to whoever opens it after a crash."""
    monkeypatch.setattr("lambent.stores.writer.CHECKPOINT_COMMITS", 40)
    log = Path(f"{path}-wal")
    copy = tmp_path / "copy.db"

    async def main() -> None:
        writer = Writer(path, migrations)
        for number in range(LOG_AFTER_COMMITS):
            assert size_of(log) < LOG_BYTES * 0.9
            await writer.execute(INSERT, (f"{number:03}", b"x" * 1_000))
        await writer.execute(INSERT, ("008", b""))  # behind the extension, which is done between two jobs
        size = size_of(log)
        assert size >= LOG_BYTES * 0.9
        for number in range(9, 100):
            await writer.execute(INSERT, (f"{number:03}", b"x" * 1_000))
            assert size_of(log) == size
        shutil.copy(path, copy)
        shutil.copy(log, f"{copy}-wal")
        await writer.close()

    asyncio.run(main())
    with closing(sqlite3.connect(copy)) as crashed:
        assert crashed.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert crashed.execute("SELECT name FROM sqlite_schema WHERE name = 'undone'").fetchall() == []
    assert names(copy) == names(path) == [f"{number:03}" for number in range(100)]
    assert path.stat().st_size < LOG_BYTES / 2


def test_a_log_that_cannot_be_made_longer_stays_short(
    path: Path, migrations: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    async def main() -> None:
        writer = Writer(path, migrations)
        monkeypatch.setattr("lambent.stores.writer.os.fdatasync", refuse)
        for number in range(LOG_AFTER_COMMITS + 4):
            await writer.execute(INSERT, (f"{number:03}", b""))
        await writer.close()

    asyncio.run(main())
    assert len(names(path)) == LOG_AFTER_COMMITS + 4


def test_the_commits_of_a_lone_client_are_folded_back(
    path: Path, migrations: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lambent.stores.writer.CHECKPOINT_COMMITS", 10)
    sizes = []

    async def main() -> None:
        writer = Writer(path, migrations)
        for number in range(21):
            await writer.execute(INSERT, (f"{number:03}", b"x" * 3_000))
            sizes.append(size_of(path))
        await writer.close()

    asyncio.run(main())
    assert sizes[0] == sizes[8] < sizes[11] < sizes[20]


def test_reading_comes_before_the_first_job(path: Path, migrations: Path) -> None:
    async def main() -> None:
        writer = Writer(path, migrations)
        assert writer.read_at_start(lambda c: c.execute("SELECT count(*) FROM items").fetchone()[0]) == 0
        await writer.append(INSERT, ("a", b""))
        with pytest.raises(RuntimeError, match="before the first job"):
            writer.read_at_start(lambda c: None)
        await writer.close()

    asyncio.run(main())


class TestMigrations:
    @staticmethod
    def opened(path: Path, migrations: Path) -> Iterator[str]:
        writer = Writer(path, migrations)
        yield from writer.read_at_start(lambda c: [row[1] for row in c.execute("PRAGMA table_info(items)")])
        asyncio.run(writer.close())

    def test_only_what_is_missing_is_applied(self, path: Path, migrations: Path) -> None:
        assert list(self.opened(path, migrations)) == ["name", "body"]
        (migrations / "0002_colour.sql").write_text("ALTER TABLE items ADD COLUMN colour TEXT;")
        assert list(self.opened(path, migrations)) == ["name", "body", "colour"]
        assert list(self.opened(path, migrations)) == ["name", "body", "colour"]

    def test_a_newer_format_is_refused(self, path: Path, migrations: Path) -> None:
        (migrations / "0002_colour.sql").write_text("ALTER TABLE items ADD COLUMN colour TEXT;")
        list(self.opened(path, migrations))
        (migrations / "0002_colour.sql").unlink()
        with pytest.raises(StoreFormatError, match=r"format 2, this release reads up to 1: .* newer Lambent"):
            Writer(path, migrations)

    def test_a_failing_migration_leaves_the_file_as_it_was(self, path: Path, migrations: Path) -> None:
        list(self.opened(path, migrations))
        (migrations / "0002_bad.sql").write_text("ALTER TABLE items ADD COLUMN colour TEXT; SELECT nonsense;")
        with pytest.raises(StoreFormatError, match=r"0002_bad\.sql failed"):
            Writer(path, migrations)
        (migrations / "0002_bad.sql").unlink()
        assert list(self.opened(path, migrations)) == ["name", "body"]

    def test_a_gap_is_refused(self, path: Path, migrations: Path) -> None:
        (migrations / "0003_late.sql").write_text("SELECT 1;")
        with pytest.raises(StoreFormatError, match="0002 is missing"):
            Writer(path, migrations)

    def test_a_file_that_is_no_database_is_refused(self, path: Path, migrations: Path) -> None:
        path.write_bytes(b"not a database, whatever its name says" * 100)
        with pytest.raises(StoreFormatError, match="cannot be opened"):
            Writer(path, migrations)


def test_without_a_thread_a_write_is_refused_and_the_next_tries_again(
    path: Path, migrations: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        writer = Writer(path, migrations)

        def refuse(_: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", refuse)
            with pytest.raises(ServiceFault, match="no thread left to write with"):
                writer.append(INSERT, ("a", b""))
            assert writer.pending == 0
        await writer.append(INSERT, ("b", b""))
        await writer.close()
        assert names(path) == ["b"]

    asyncio.run(main())


def test_a_writer_that_was_begun_beforehand_needs_no_thread_later(
    path: Path, migrations: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        writer = Writer(path, migrations)
        writer.start()
        writer.start()
        monkeypatch.setattr(threading.Thread, "start", None)
        await writer.append(INSERT, ("a", b""))
        await writer.close()
        assert names(path) == ["a"]

    asyncio.run(main())


def test_a_writer_that_wrote_nothing_ends(path: Path, migrations: Path) -> None:
    async def main() -> None:
        writer = Writer(path, migrations)
        writer.start()
        await writer.close()

    asyncio.run(main())
