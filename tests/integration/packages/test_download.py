"""Code locations over real sockets: the exact bytes, for whoever has the address, for ten minutes."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from tests.unit.packages.test_archive import zipped

from lambent.domain.clock import ManualClock
from lambent.http import listen, serve
from lambent.packages.download import Downloads, Locations
from lambent.packages.store import Packages

BIG = zipped(("random", os.urandom(3_000_000)), ("app.py", b"code"))
SECRET = b"s" * 32

Get = Callable[..., Awaitable[tuple[int, bytes]]]


def run(tmp_path: Path, scenario: Callable[[Packages, Locations, ManualClock, Get], Awaitable[None]]) -> None:
    async def session() -> None:
        clock = ManualClock()
        packages = Packages(tmp_path, clock)
        base: list[str] = []
        locations = Locations(lambda: base[0], SECRET, clock)
        downloads = Downloads(packages, locations)
        server = await serve(downloads, listen("127.0.0.1", 0))
        host, port = server.addresses[0][:2]
        base.append(f"http://{host}:{port}")

        async def get(url: str, method: str = "GET") -> tuple[int, bytes]:
            reader, writer = await asyncio.open_connection(host, port)
            target = url.removeprefix(base[0])
            writer.write(f"{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            head, _, body = (await reader.read()).partition(b"\r\n\r\n")
            writer.close()
            await writer.wait_closed()
            return int(head.split()[1]), body

        try:
            await scenario(packages, locations, clock, get)
        finally:
            await downloads.close()
            server.close()

    asyncio.run(session())


def test_the_exact_bytes_come_back(tmp_path: Path) -> None:
    async def scenario(packages: Packages, locations: Locations, clock: ManualClock, get: Get) -> None:
        digest = (await packages.put(BIG)).digest
        url = locations.url(digest)
        assert await get(url) == (200, BIG)
        assert await get(url, "HEAD") == (200, b"")
        answers = await asyncio.gather(*(get(url) for _ in range(8)))
        assert all(body == BIG for _, body in answers)
        # Another process with the same key, as after a restart, gives the same permission.
        again = Locations(lambda: url.partition("/_lambent")[0], SECRET, clock)
        assert again.url(digest) == url

    run(tmp_path, scenario)


def test_an_address_ends_after_ten_minutes(tmp_path: Path) -> None:
    async def scenario(packages: Packages, locations: Locations, clock: ManualClock, get: Get) -> None:
        url = locations.url((await packages.put(BIG)).digest)
        clock.advance(600)
        assert (await get(url))[0] == 200
        clock.advance(1)
        assert await get(url) == (403, b"Request has expired.\n")

    run(tmp_path, scenario)


@pytest.mark.parametrize(
    ("change", "status"),
    [
        (lambda url: url[:-1] + ("0" if url[-1] != "0" else "1"), 403),
        (lambda url: url.partition("?")[0], 403),
        (lambda url: url.replace("expires=1", "expires=9"), 403),
        (lambda url: url.replace("expires=1", "expires=x"), 403),
        (lambda url: url.replace("expires=1", "expires=" + "9" * 30), 403),
        (lambda url: url.replace("code/", "code/../"), 404),
        (lambda url: url.replace("code/", "code/x"), 404),
    ],
)
def test_a_changed_address_opens_nothing(tmp_path: Path, change: Callable[[str], str], status: int) -> None:
    async def scenario(packages: Packages, locations: Locations, clock: ManualClock, get: Get) -> None:
        url = locations.url((await packages.put(BIG)).digest)
        assert (await get(change(url)))[0] == status

    run(tmp_path, scenario)


def test_other_methods_and_collected_packages(tmp_path: Path) -> None:
    async def scenario(packages: Packages, locations: Locations, clock: ManualClock, get: Get) -> None:
        assert (await get(locations.url("ab" * 32)))[0] == 404
        assert (await get(locations.url("ab" * 32), "DELETE"))[0] == 405

    run(tmp_path, scenario)


def test_a_client_that_goes_away_leaves_nothing_open(tmp_path: Path) -> None:
    """The descriptor fixture is the witness."""

    async def scenario(packages: Packages, locations: Locations, clock: ManualClock, get: Get) -> None:
        url = locations.url((await packages.put(BIG)).digest)
        address, _, path = url.removeprefix("http://").partition("/")
        host, _, port = address.partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(f"GET /{path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        await reader.readexactly(100)
        writer.transport.abort()

    run(tmp_path, scenario)
