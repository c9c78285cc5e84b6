"""A client that is refused in mid-request gets to read why, for a while and no longer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tests.integration.http.http_world import World

from lambent.http import Limits

Run = Callable[..., None]


def test_who_is_refused_and_goes_on_sending_is_cut_after_two_seconds(run: Run) -> None:
    async def scenario(world: World) -> None:
        limits = Limits()
        world.app.limit = 10
        client = await world.connect()
        client.send(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (limits.discard_bytes + 11))
        assert (await client.reply())[0] == 413
        client.send(b"x")
        await asyncio.sleep(0)
        world.pass_time(limits.linger_s)
        assert world.server.connections == 1
        for _ in range(2):  # the first sweep over the limit only adds its second
            world.pass_time(0.1)
        assert await client.ended() == b""
        while world.server.connections:  # noqa: ASYNC110
            await asyncio.sleep(0)

    run(scenario)


def test_a_rest_that_is_short_is_thrown_away_and_a_longer_one_ends_the_connection(run: Run) -> None:
    async def scenario(world: World) -> None:
        limits = Limits()
        world.app.limit = 10
        for size, is_kept in ((limits.discard_bytes, True), (limits.discard_bytes + 1, False)):
            client = await world.connect()
            client.send(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size)
            status, fields, _ = await client.reply()
            assert status == 413
            assert (fields.get(b"connection") != b"close") is is_kept
            if is_kept:
                client.send(b"x" * size + b"GET /y HTTP/1.1\r\nHost: a\r\n\r\n")
                assert (await client.reply())[0] == 200

    run(scenario)
