"""A real server on a real socket, a raw client, a clock that stands still."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from lambent.domain.clock import ManualClock
from lambent.http import Buffered, Exchange, Limits, Reaper, Server, Streamed, listen, serve

Reply = tuple[int, dict[bytes, bytes], bytes]


class Echo:
    """Answers with what it was sent; paths choose a behaviour."""

    def __init__(self) -> None:
        self.limit = 1_000_000
        self.seen: list[tuple[str, bytes, bytes]] = []
        self.waiting: list[Exchange] = []
        self.arrived = asyncio.Event()
        self.gone: asyncio.Queue[bytes] = asyncio.Queue()
        self.decide: Callable[[Exchange], Buffered | Streamed | None] | None = None

    def head(self, exchange: Exchange) -> Buffered | Streamed | None:
        path = exchange.request.path
        exchange.on_gone = lambda: self.gone.put_nowait(path)
        if self.decide is not None:
            return self.decide(exchange)
        if path == b"/early":
            exchange.respond(403, (), b"no")
            return None
        return Buffered(self.limit)

    def handle(self, exchange: Exchange) -> None:
        request = exchange.request
        self.seen.append((request.method, request.path, request.body))
        if request.path.startswith(b"/later"):
            self.waiting.append(exchange)
            self.arrived.set()
        elif request.path == b"/bug":
            raise LookupError("a bug")
        else:
            exchange.respond(200, ((b"X-Path", request.path),), request.body)

    def too_large(self, exchange: Exchange, limit: int, declared: int | None) -> None:
        exchange.respond(413, (), b"%d %d" % (limit, declared or -1))


class Client:
    """A raw HTTP client that shows what is on the wire."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def reply(self, *, bodyless: bool = False) -> Reply:
        """The next answer: status, fields (lower case), body."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        lines = head[:-4].split(b"\r\n")
        status = int(lines[0].split(b" ")[1])
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines[1:])}
        if status == 100 or status == 204 or bodyless:
            return status, fields, b""
        if fields.get(b"transfer-encoding") == b"chunked":
            body = b""
            while size := int(await self.reader.readline(), 16):
                body += (await self.reader.readexactly(size + 2))[:-2]
            assert await self.reader.readline() == b"\r\n"
            return status, fields, body
        if b"content-length" in fields:
            return status, fields, await self.reader.readexactly(int(fields[b"content-length"]))
        return status, fields, await self.reader.read()

    async def ended(self) -> bytes:
        """What comes until the server closes."""
        try:
            return await self.reader.read()
        except ConnectionResetError:
            return b""

    def close(self) -> None:
        self.writer.close()


class World:
    """One server, its application, its clock."""

    def __init__(self) -> None:
        self.app = Echo()
        self.clock = ManualClock()
        self.reaper = Reaper(self.clock, sweep_s=3600.0)  # only the tests sweep
        self.server: Server
        self.clients: list[Client] = []

    async def open(self, limits: Limits | None = None) -> None:
        self.server = await serve(self.app, listen("127.0.0.1", 0), limits=limits, clock=self.clock, reaper=self.reaper)

    async def connect(self) -> Client:
        client = Client(*await asyncio.open_connection(*self.server.addresses[0][:2]))
        self.clients.append(client)
        return client

    def pass_time(self, seconds: float) -> None:
        """Move the clock on, sweep by sweep of an hour or less."""
        self.clock.advance(seconds)
        self.reaper.sweep()
