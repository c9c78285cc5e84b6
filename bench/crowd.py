"""Many clients at once: one process, one event loop, a connection each, so that what the server is asked is decided by
the benchmark and not by threads that wait for each other."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from .clients import Target


@dataclass(slots=True)
class Answer:
    """What came back for one request."""

    status: int
    """0: the connection ended without an answer."""
    body: bytes
    sent_s: float
    answered_s: float
    """Both on `time.perf_counter`."""


class Connection(asyncio.Protocol):
    """One client: sends a request, reads its answer, then the next."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._sent_s = 0.0
        self._answer: asyncio.Future[Answer] | None = None
        self._transport: asyncio.Transport | None = None

    @classmethod
    async def open(cls, host: str, port: int) -> Connection:
        _, connection = await asyncio.get_running_loop().create_connection(cls, host, port)
        return connection

    @property
    def is_open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def ask(self, request: bytes) -> asyncio.Future[Answer]:
        """Send a request now; the answer comes. Never while another one is awaited."""
        assert self._answer is None
        self._data.clear()
        self._answer = asyncio.get_running_loop().create_future()
        self._sent_s = time.perf_counter()
        answer = self._answer
        if self._transport is None:
            self._tell(0, b"")
        else:
            self._transport.write(request)
        return answer

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by its type

    def data_received(self, data: bytes) -> None:
        self._data += data
        end = self._data.find(b"\r\n\r\n")
        if end < 0:
            return
        head = bytes(self._data[:end]).lower()
        at = head.find(b"\r\ncontent-length:")
        length = 0 if at < 0 else int(head[at + 17 :].split(b"\r\n", 1)[0])
        if len(self._data) >= end + 4 + length:
            self._tell(int(head[9:12]), bytes(self._data[end + 4 : end + 4 + length]))

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._tell(0, b"")

    def _tell(self, status: int, body: bytes) -> None:
        answer, self._answer = self._answer, None
        if answer is not None and not answer.done():
            answer.set_result(Answer(status, body, self._sent_s, time.perf_counter()))


async def at_once(requests: Sequence[tuple[Target, bytes]]) -> list[Answer]:
    """Open a connection for each request, then send all of them in one turn of the loop; the answers in their order."""
    connections = [await Connection.open(target.host, target.port) for target, _ in requests]
    answers = [connection.ask(request) for connection, (_, request) in zip(connections, requests, strict=True)]
    found = await asyncio.gather(*answers)
    for connection in connections:
        connection.close()
    return list(found)
