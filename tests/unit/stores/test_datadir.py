"""The data directory: made whole, owned by one, refused when it is not ours."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from lambent.domain.clock import ManualClock
from lambent.stores.datadir import FORMAT, DataDirectoryError, open_data_directory
from lambent.stores.writer import StoreFormatError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_directory_is_made_whole_and_private(path: Path) -> None:
    with open_data_directory(path) as data:
        assert {p.name for p in path.iterdir()} == {
            "format", "instance", "secret.key", "lock", "state.db", "queue.db",
            "packages", "records", "runtimes", "spawner",
        }  # fmt: skip
        assert (path / "format").read_text() == f"{FORMAT}\n"
        assert {mode(p) for p in (path, data.records, data.spawner)} == {0o750}
        # Passed by the spawner, which has no right to override permissions; nobody else gets past `path`.
        assert {mode(p) for p in (data.packages, data.runtimes)} == {0o755}
        assert {mode(p) for p in (path / "secret.key", data.state_db, data.queue_db)} == {0o600}
        assert (len(data.instance), len(data.secret)) == (32, 32)


def test_instance_and_secret_survive_a_restart(path: Path) -> None:
    with open_data_directory(path) as first:
        pass
    with open_data_directory(path) as second:
        assert (second.instance, second.secret) == (first.instance, first.secret)


def test_a_second_opener_learns_who_holds_it(path: Path) -> None:
    with open_data_directory(path), pytest.raises(DataDirectoryError, match=f"in use by .* process {os.getpid()}"):
        open_data_directory(path)
    open_data_directory(path).close()


def test_the_lock_dies_with_its_holder(path: Path) -> None:
    program = (
        "import os, sys, pathlib; from lambent.stores.datadir import open_data_directory;"
        "open_data_directory(pathlib.Path(sys.argv[1])); os.kill(os.getpid(), 9)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    killed = subprocess.run([sys.executable, "-c", program, str(path)], env=environment, check=False)
    assert killed.returncode == -9
    open_data_directory(path).close()


def test_a_newer_format_is_refused(path: Path) -> None:
    open_data_directory(path).close()
    (path / "format").write_text(f"{FORMAT + 1}\n")
    with pytest.raises(StoreFormatError, match=f"format {FORMAT + 1}, this release reads up to {FORMAT}"):
        open_data_directory(path)


def test_a_damaged_format_or_secret_is_refused(path: Path) -> None:
    open_data_directory(path).close()
    (path / "secret.key").write_bytes(b"short")
    with pytest.raises(DataDirectoryError, match="has 5 bytes instead of 32"):
        open_data_directory(path)
    (path / "format").write_text("one")
    with pytest.raises(StoreFormatError, match="damaged"):
        open_data_directory(path)


def test_a_creation_that_was_cut_short_is_completed(path: Path) -> None:
    open_data_directory(path).close()
    (path / "format").unlink()
    (path / "secret.key").rename(path / "secret.key.new")
    with open_data_directory(path) as data:
        assert len(data.secret) == 32
    assert (path / "format").exists()


def test_somebody_elses_folder_is_left_alone(path: Path) -> None:
    path.mkdir()
    (path / "holiday.jpg").touch()
    with pytest.raises(DataDirectoryError, match="not empty and not a data directory"):
        open_data_directory(path)
    assert [p.name for p in path.iterdir()] == ["holiday.jpg"]


def test_a_file_in_its_place_is_named(path: Path) -> None:
    path.touch()
    with pytest.raises(DataDirectoryError, match="cannot be used as the data directory"):
        open_data_directory(path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives directories away")
def test_root_opens_it_for_the_user_the_server_will_be(path: Path) -> None:
    path.mkdir()
    open_data_directory(path, owner=(61_184, 61_184)).close()
    assert {(p.stat().st_uid, p.stat().st_gid) for p in (path, *path.iterdir())} == {(61_184, 61_184)}
    with pytest.raises(DataDirectoryError, match=r"belongs to user 61184, but Lambent runs as user 0: .*chown"):
        open_data_directory(path)


def test_a_directory_everybody_can_write_is_refused(path: Path) -> None:
    open_data_directory(path).close()
    path.chmod(0o777)
    with pytest.raises(DataDirectoryError, match="chmod 750"):
        open_data_directory(path)


def test_the_low_water_mark_is_looked_at_now_and_then(path: Path) -> None:
    clock = ManualClock()
    with open_data_directory(path, clock=clock, free_bytes_min=1) as data:
        looks = 0

        def free_bytes() -> int:
            nonlocal looks
            looks += 1
            return 0 if looks > 1 else 1

        assert data.free_bytes() > 1
        data.free_bytes = free_bytes  # type: ignore[method-assign]
        assert [data.has_room() for _ in range(100)] == [True] * 100
        clock.advance(0.25)
        assert [data.has_room() for _ in range(100)] == [False] * 100
        assert looks == 2
