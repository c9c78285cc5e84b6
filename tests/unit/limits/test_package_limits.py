"""Bounds of packages at their own size: entries, names, links, unpackings, fetches and downloads at once."""

from __future__ import annotations

import asyncio
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from tests.unit.api.doubles import Reply, request_of
from tests.unit.packages.test_archive import LINK, Unpacked, zipped

from lambent.domain.clock import ManualClock
from lambent.domain.limits import CODE_LOCATION_VALID_S, UNZIPPED_BYTES_MAX
from lambent.packages.archive import (
    DEPTH_MAX,
    DIRECTORY_BYTES_MAX,
    ENTRIES_MAX,
    LINK_BYTES_MAX,
    NAME_BYTES_MAX,
    PATH_BYTES_MAX,
    BrokenZip,
    UnzippedTooLarge,
    _entries,
)
from lambent.packages.download import DOWNLOADS_MAX, SECRET_BYTES, Downloads, Locations
from lambent.packages.source import FETCHES_MAX, S3Source
from lambent.packages.store import GRACE_S, UNPACKINGS_MAX, Packages

DIGEST = "a" * 64


@pytest.fixture
def unpacked(tmp_path: Path) -> Unpacked:
    return Unpacked(tmp_path)


def test_a_package_has_a_hundred_thousand_entries_at_most() -> None:
    """Counted before any of them is looked at: these could not be."""
    entries: list[Any] = [object()] * (ENTRIES_MAX + 1)
    with pytest.raises(BrokenZip) as caught:
        _entries(entries, ENTRIES_MAX)
    assert caught.value.reason == "100001 entries, 100000 is the limit"


@pytest.mark.parametrize(("size", "is_bounded"), [(DIRECTORY_BYTES_MAX, False), (DIRECTORY_BYTES_MAX + 1, True)])
def test_a_central_directory_has_32_mib_at_most(unpacked: Unpacked, size: int, is_bounded: bool) -> None:
    data = bytearray(zipped(("a", b"x")))
    struct.pack_into("<I", data, len(data) - 10, size)
    with pytest.raises(BrokenZip) as caught:  # smaller, it is not there and fails for that
        unpacked(bytes(data))
    assert (caught.value.reason == f"a central directory of {size} bytes") is is_bounded


def test_names_paths_and_links_are_the_kernels(unpacked: Unpacked) -> None:
    unpacked(zipped(("n" * NAME_BYTES_MAX, b"x")))
    deep = "/".join(["d" * 200] * 21)
    assert len(deep) > PATH_BYTES_MAX
    link = b"a/" * (LINK_BYTES_MAX // 2)
    for data in (zipped(("n" * (NAME_BYTES_MAX + 1), b"x")), zipped((deep, b"x")), zipped(("l", link, LINK))):
        with pytest.raises(BrokenZip):
            unpacked(data)


def test_directories_are_256_deep_at_most_and_such_a_package_can_be_removed(tmp_path: Path) -> None:
    clock = ManualClock()
    packages = Packages(tmp_path, clock)

    async def main() -> None:
        deep = [(await packages.put(zipped((name, b"")))).digest for name in ("a/" * DEPTH_MAX, "a/" * 255 + "b")]
        await packages.merge(deep)
        with pytest.raises(BrokenZip):
            await packages.put(zipped(("a/" * (DEPTH_MAX + 1), b"")))
        await packages.collect([])
        clock.advance(GRACE_S)
        assert len(await packages.collect([])) == 3

    asyncio.run(main())
    assert list(tmp_path.iterdir()) == []


def test_250_mb_come_out_of_an_archive_at_most(unpacked: Unpacked) -> None:
    """Refused from what the headers declare: nothing of it is written."""
    data = bytearray(zipped(("a", b"x" * 100)))
    for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        struct.pack_into("<I", data, data.index(signature) + offset, UNZIPPED_BYTES_MAX + 1)
    with pytest.raises(UnzippedTooLarge):
        unpacked(bytes(data))
    assert not unpacked.files()


class Counter:
    """Holds every thread that enters until it is told to let go, and knows the most that were in at once."""

    def __init__(self) -> None:
        self.inside = self.most = 0
        self.changed = threading.Condition()
        self.is_open = False

    def hold(self) -> None:
        with self.changed:
            self.inside += 1
            self.most = max(self.most, self.inside)
            self.changed.notify_all()
            self.changed.wait_for(lambda: self.is_open, 10.0)
            self.inside -= 1

    def wait_for(self, count: int) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: self.inside == count, 10.0)

    def let_go(self) -> None:
        with self.changed:
            self.is_open = True
            self.changed.notify_all()


def test_two_archives_are_unpacked_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counter = Counter()
    put = Packages._put

    def held(self: Packages, archive: bytes | Path, *more: Any) -> Any:
        counter.hold()
        return put(self, archive, *more)

    monkeypatch.setattr(Packages, "_put", held)

    async def main() -> None:
        packages = Packages(tmp_path, ManualClock())
        puts = [asyncio.ensure_future(packages.put(zipped(("a", b"%d" % n)))) for n in range(UNPACKINGS_MAX + 3)]
        await asyncio.to_thread(counter.wait_for, UNPACKINGS_MAX)
        counter.let_go()
        assert len({package.digest for package in await asyncio.gather(*puts)}) == UNPACKINGS_MAX + 3

    asyncio.run(main())
    assert counter.most == UNPACKINGS_MAX


def test_four_objects_are_fetched_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counter = Counter()
    monkeypatch.setattr(S3Source, "_fetch", lambda *_: counter.hold())

    async def main() -> None:
        source = S3Source("http://127.0.0.1:1", tmp_path)

        async def fetch() -> None:
            async with source.fetched("bucket", "key"):
                pass

        fetches = [asyncio.ensure_future(fetch()) for _ in range(FETCHES_MAX + 3)]
        await asyncio.to_thread(counter.wait_for, FETCHES_MAX)
        counter.let_go()
        await asyncio.gather(*fetches)

    asyncio.run(main())
    assert counter.most == FETCHES_MAX
    assert not list(tmp_path.iterdir())


@contextmanager
def locations(clock: ManualClock) -> Iterator[Locations]:
    yield Locations(lambda: "http://host", b"s" * SECRET_BYTES, clock)


def test_an_address_of_code_is_good_for_ten_minutes() -> None:
    assert CODE_LOCATION_VALID_S == 600
    clock = ManualClock()
    with locations(clock) as made:
        query = urlsplit(made.url(DIGEST)).query.encode()
        clock.advance(CODE_LOCATION_VALID_S)
        assert made.refusal(DIGEST, query) is None
        clock.advance(1)
        assert made.refusal(DIGEST, query) == "Request has expired"
    with pytest.raises(ValueError, match="at least 32 bytes"):
        Locations(lambda: "", b"s" * (SECRET_BYTES - 1), clock)


def test_one_download_too_many_is_told_to_come_back(tmp_path: Path) -> None:
    async def main() -> None:
        clock = ManualClock()
        with locations(clock) as made:
            downloads = Downloads(Packages(tmp_path, clock), made)
            target = made.url(DIGEST).removeprefix("http://host")
            replies: list[Any] = [Reply(request_of("GET", target)) for _ in range(DOWNLOADS_MAX + 1)]
            for reply in replies:
                downloads.head(reply)  # none of them has had a turn of the loop yet
            assert replies[-1].status == 503
            assert replies[-1].headers[b"retry-after"] == b"1"
            for reply in replies[:-1]:
                await reply.answered.wait()
            assert {reply.status for reply in replies[:-1]} == {404}  # admitted, and there is no such package
            await downloads.close()

    asyncio.run(main())
