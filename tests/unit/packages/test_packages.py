"""Packages: one archive, one directory, whole or not there."""

from __future__ import annotations

import asyncio
import base64
import errno
import hashlib
import os
import stat
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest
from tests.unit.packages.test_archive import LINK, zipped

from lambent.domain.clock import ManualClock
from lambent.domain.errors import DiskFull, RequestEntityTooLarge
from lambent.packages import store
from lambent.packages.archive import BrokenZip, EmptyZip, UnzippedTooLarge
from lambent.packages.store import FSYNCS_MAX, GRACE_S, Package, Packages

DATA = zipped(("app.py", b"code"), ("lib/a", b"1234"), ("link", b"app.py", LINK))
DIGEST = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def packages(tmp_path: Path, clock: ManualClock) -> Packages:
    return Packages(tmp_path / "packages", clock)


def run(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(work)


def left(packages: Packages) -> list[str]:
    return sorted(path.name for path in packages.directory.iterdir())


def test_a_package_is_named_by_its_hash_and_keeps_the_exact_bytes(packages: Packages) -> None:
    package = run(packages.put(DATA))
    assert package == Package(DIGEST, base64.b64encode(bytes.fromhex(DIGEST)).decode(), len(DATA), 8)
    assert packages.archive(DIGEST).read_bytes() == DATA
    assert (packages.tree(DIGEST) / "link").read_bytes() == b"code"
    assert left(packages) == [DIGEST]
    for path in (packages.directory / DIGEST, packages.tree(DIGEST), packages.tree(DIGEST) / "lib"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o755


def test_a_file_gives_the_same_package_and_stays(packages: Packages, tmp_path: Path) -> None:
    file = tmp_path / "uploaded.zip"
    file.write_bytes(DATA)
    from_file = run(packages.put(file))
    assert file.exists()
    assert run(packages.put(DATA)) == from_file


def test_the_same_archive_many_times_at_once_is_one_package(
    packages: Packages, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> list[Package]:
        return await asyncio.gather(*(packages.put(DATA) for _ in range(8)))

    assert len(set(run(scenario()))) == 1
    assert left(packages) == [DIGEST]


def test_a_package_that_appeared_meanwhile_is_the_package(packages: Packages, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rename of the second finds the directory of the first."""
    monkeypatch.setattr(Packages, "_find", lambda self, digest: None)
    assert run(packages.put(DATA)) == run(packages.put(DATA))
    assert left(packages) == [DIGEST]


@pytest.mark.parametrize(
    ("data", "error"),
    [(b"", EmptyZip), (zipped(), EmptyZip), (b"no zip", BrokenZip), (zipped(("a", b"1"), ("../b", b"2")), BrokenZip)],
)
def test_what_is_refused_leaves_nothing(packages: Packages, data: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        run(packages.put(data))
    assert left(packages) == []


def test_limits_of_size(tmp_path: Path, clock: ManualClock) -> None:
    packages = Packages(tmp_path, clock, unzipped_bytes_max=7)
    with pytest.raises(UnzippedTooLarge):
        run(packages.put(DATA))
    packages.check_direct(52_428_800)
    with pytest.raises(RequestEntityTooLarge, match=r"^Zipped size must be smaller than 52428800 bytes$"):
        packages.check_direct(52_428_801)


def test_a_full_disk_is_told_as_such(packages: Packages, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(store, "unpack", full)
    with pytest.raises(DiskFull):
        run(packages.put(DATA))
    assert left(packages) == []


def test_below_the_low_water_mark_nothing_is_taken_in(tmp_path: Path, clock: ManualClock) -> None:
    run(Packages(tmp_path, clock).put(DATA))
    packages = Packages(tmp_path, clock, low_water_bytes=1 << 62)
    with pytest.raises(
        DiskFull, match=r"^Less than 4,398,046,511,104 MB are free in .*\(storage\.disk_low_water_mb\)\.$"
    ):
        run(packages.put(zipped(("other", b""))))
    assert run(packages.put(DATA)).digest == DIGEST  # what is here takes no room


def test_many_files_are_synced_together(packages: Packages) -> None:
    assert run(packages.put(zipped(*((f"d/{number}", b"x") for number in range(60))))).unpacked_bytes == 60


def test_a_few_files_are_synced_side_by_side(packages: Packages, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two directories and three files: all wait at the same time."""
    together = threading.Barrier(5, timeout=30)
    synced: list[str] = []

    def sync(path: Path) -> None:
        if path != packages.directory:
            together.wait()
        synced.append(path.name)

    monkeypatch.setattr("lambent.packages.store._fsync", sync)
    run(packages.put(zipped(("one", b"x"))))
    assert sorted(synced[:-1])[1:] == ["one", "package.zip", "tree", "unpacked"]
    assert synced[-1] == packages.directory.name  # the name last, when all that it names is on disk
    assert FSYNCS_MAX >= 5


def test_what_cannot_be_synced_is_no_package(packages: Packages, monkeypatch: pytest.MonkeyPatch) -> None:
    def sync(path: Path) -> None:
        if path.name == "tree":
            raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("lambent.packages.store._fsync", sync)
    with pytest.raises(OSError, match="Input/output error"):
        run(packages.put(DATA))
    assert left(packages) == []


def test_what_a_crash_left_is_removed_at_start(packages: Packages, clock: ManualClock) -> None:
    run(packages.put(DATA))
    (packages.directory / ".incoming-x").mkdir()
    (packages.directory / ".incoming-x" / "package.zip").write_bytes(b"half")
    (packages.directory / ".incoming-s3").write_bytes(b"half")
    again = Packages(packages.directory, clock)
    assert left(again) == [DIGEST]


def test_collection_spares_what_is_kept_and_what_was_used_lately(packages: Packages, clock: ManualClock) -> None:
    other = run(packages.put(zipped(("other", b"")))).digest
    run(packages.put(DATA))
    clock.advance(10 * GRACE_S)  # age alone is no reason
    assert run(packages.collect({DIGEST})) == []
    clock.advance(GRACE_S - 1)
    assert run(packages.collect([])) == []
    clock.advance(1)
    assert run(packages.collect([])) == [other]
    run(packages.put(DATA))  # found again: its time begins anew
    clock.advance(GRACE_S)
    assert run(packages.collect([])) == []
    clock.advance(GRACE_S)
    assert run(packages.collect({DIGEST})) == []  # referenced again
    assert run(packages.collect([])) == []
    clock.advance(GRACE_S)
    assert run(packages.collect([])) == [DIGEST]
    assert left(packages) == []


def test_packages_put_while_others_are_collected_are_whole_or_gone(packages: Packages, clock: ManualClock) -> None:
    """A put either keeps a package from being collected or stores it anew."""

    async def scenario() -> None:
        for _ in range(20):
            await packages.put(DATA)
            await packages.collect([])
            clock.advance(GRACE_S)
            await asyncio.gather(packages.collect([]), packages.put(DATA), packages.put(DATA))
            assert packages.archive(DIGEST).read_bytes() == DATA
            assert (packages.tree(DIGEST) / "app.py").read_bytes() == b"code"

    run(scenario())


def test_everything_is_readable_by_everybody_whatever_the_umask(tmp_path: Path, clock: ManualClock) -> None:
    old = os.umask(0o077)
    try:
        packages = Packages(tmp_path / "p", clock)
        run(packages.put(DATA))
    finally:
        os.umask(old)
    for directory, _, files in os.walk(packages.directory / DIGEST):
        assert os.stat(directory).st_mode & 0o055 == 0o055
        assert all(os.stat(os.path.join(directory, name)).st_mode & 0o044 == 0o044 for name in files)
