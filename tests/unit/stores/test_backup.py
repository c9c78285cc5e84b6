"""Backup and restore: whole, consistent, while the writer writes."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from lambent.domain.names import FunctionRef
from lambent.invocations.queue import Event
from lambent.stores.backup import backup, restore
from lambent.stores.datadir import DataDirectory, DataDirectoryError, open_data_directory
from lambent.stores.queue_sqlite import MIGRATIONS, SqliteEvents
from lambent.stores.writer import StoreFormatError, Writer

F = FunctionRef("123456789012", "us-east-1", "f")


def filled(data: DataDirectory) -> None:
    tree = data.packages / "ab12" / "tree"
    tree.mkdir(parents=True)
    (tree / "app.py").write_text("code")
    (tree / "link.py").symlink_to("app.py")
    (data.records / "000001.log").write_text("one line\n")


async def accept(queue: SqliteEvents, n: int) -> None:
    await asyncio.gather(*(queue.append(Event(0, F, None, f"r{i}", "", b"{}", 0, 0)) for i in range(n)))


def test_what_a_backup_of_a_running_server_holds_is_restored(tmp_path: Path) -> None:
    async def main() -> None:
        with open_data_directory(tmp_path / "data") as data:
            filled(data)
            writer = Writer(data.queue_db, MIGRATIONS)
            queue = SqliteEvents(writer)
            await accept(queue, 50)
            backup(data.path, tmp_path / "saved")
            await accept(queue, 50)  # the connection that copied did no harm to the writer
            await writer.close()

    asyncio.run(main())
    restore(tmp_path / "saved", tmp_path / "again")
    with open_data_directory(tmp_path / "again") as again, open_data_directory(tmp_path / "data") as data:
        assert (again.instance, again.secret) == (data.instance, data.secret)
        assert (again.packages / "ab12/tree/link.py").read_text() == "code"
        assert os.readlink(again.packages / "ab12/tree/link.py") == "app.py"
        assert (again.records / "000001.log").read_text() == "one line\n"
        linked = (tmp_path / "saved/packages/ab12/tree/app.py").stat()
        assert linked.st_ino == (data.packages / "ab12/tree/app.py").stat().st_ino
        assert linked.st_ino != (again.packages / "ab12/tree/app.py").stat().st_ino
        for path in (again.path / "secret.key", again.queue_db):
            assert path.stat().st_mode & 0o777 == 0o600
        writer = Writer(again.queue_db, MIGRATIONS)
        assert len(SqliteEvents(writer)) == 50
        asyncio.run(writer.close())


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    open_data_directory(tmp_path / "data").close()
    (tmp_path / "saved").mkdir()
    with pytest.raises(DataDirectoryError, match="exists already"):
        backup(tmp_path / "data", tmp_path / "saved")
    (tmp_path / "saved").rmdir()
    backup(tmp_path / "data", tmp_path / "saved")
    with pytest.raises(DataDirectoryError, match="exists already"):
        restore(tmp_path / "saved", tmp_path / "data")


def test_a_failed_backup_leaves_nothing_behind(tmp_path: Path) -> None:
    open_data_directory(tmp_path / "data").close()
    (tmp_path / "data/secret.key").unlink()
    with pytest.raises(DataDirectoryError, match="failed"):
        backup(tmp_path / "data", tmp_path / "saved")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data"]


def test_only_a_data_directory_is_backed_up_and_only_a_sound_backup_restored(tmp_path: Path) -> None:
    with pytest.raises(StoreFormatError, match="not a data directory"):
        backup(tmp_path, tmp_path / "saved")
    open_data_directory(tmp_path / "data").close()
    backup(tmp_path / "data", tmp_path / "saved")
    (tmp_path / "saved/queue.db").write_bytes(b"garbage" * 1_000)
    with pytest.raises(DataDirectoryError, match="damaged"):
        restore(tmp_path / "saved", tmp_path / "again")
    (tmp_path / "saved/format").write_text("99\n")
    with pytest.raises(StoreFormatError, match="newer"):
        restore(tmp_path / "saved", tmp_path / "again")
