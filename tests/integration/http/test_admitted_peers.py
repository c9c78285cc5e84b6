"""A listener that says who may speak: asked with the peer's address, before a byte is read."""

from __future__ import annotations

import asyncio
import socket

from lambent.http import Exchange, Request, serve


class Echo:
    """An application that has seen every request that got through."""

    def __init__(self) -> None:
        self.seen: list[Request] = []

    def head(self, exchange: Exchange) -> None:
        self.seen.append(exchange.request)
        exchange.respond(200, body=b"hello")

    def handle(self, exchange: Exchange) -> None:
        raise AssertionError

    def too_large(self, exchange: Exchange, limit: int, declared: int | None) -> None:
        raise AssertionError


class Choosy(socket.socket):
    """A listening socket that admits the ports that it was told."""

    def __init__(self) -> None:
        super().__init__()
        self.bind(("127.0.0.1", 0))
        self.listen()
        self.admitted: set[int] = set()

    def admits(self, peer: tuple[str, int]) -> bool:
        return peer[1] in self.admitted


def test_who_is_not_admitted_is_cut_off_unheard() -> None:
    async def answer(listener: Choosy, address: tuple[str, int], is_admitted: bool) -> bytes:
        client = socket.socket()
        client.bind(("127.0.0.1", 0))
        client.setblocking(False)
        if is_admitted:
            listener.admitted.add(client.getsockname()[1])
        loop = asyncio.get_running_loop()
        try:
            await loop.sock_connect(client, address)
            await loop.sock_sendall(client, b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            return await loop.sock_recv(client, 1_000)
        except ConnectionError:
            return b""
        finally:
            client.close()

    async def scenario() -> None:
        application, listener = Echo(), Choosy()
        address = listener.getsockname()
        server = await serve(application, listener)
        try:
            assert await answer(listener, address, is_admitted=False) == b""
            assert application.seen == []
            assert (await answer(listener, address, is_admitted=True)).startswith(b"HTTP/1.1 200")
            assert len(application.seen) == 1
        finally:
            server.close()

    asyncio.run(scenario())
