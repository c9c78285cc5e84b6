"""Listening, accepting, draining."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

from lambent.domain.clock import Clock, SystemClock

from .connection import Connection, Service
from .limits import Limits
from .message import Application
from .status import date_line

if TYPE_CHECKING:
    import ssl

SWEEP_S = 1.0
"""Seconds between two looks at the clock; time-outs are this precise."""


class Reaper:
    """Keeps the time-outs and the Date of any number of servers with one timer, which runs only while there are
    connections.

    Elapsed time is capped at two sweeps, so that a process that was stopped for a while doesn't cut everybody.
    """

    def __init__(self, clock: Clock, sweep_s: float = SWEEP_S) -> None:
        self._clock = clock
        self._sweep_s = sweep_s
        self._services: set[Service] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._last_ns = 0

    def watch(self, service: Service) -> None:
        """Sweep the connections of `service` from now on."""
        self._services.add(service)
        service.date_line = date_line(self._clock.wall_ms())
        if self._timer is None:
            self._last_ns = self._clock.monotonic_ns()
            self._timer = service.loop.call_later(self._sweep_s, self._wake, service.loop)

    def unwatch(self, service: Service) -> None:
        """`service` has no connection left."""
        self._services.discard(service)
        if not self._services and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def sweep(self) -> None:
        """Tell every connection how much time has passed since the last sweep."""
        date = date_line(self._clock.wall_ms())
        now_ns = self._clock.monotonic_ns()
        elapsed_s = min((now_ns - self._last_ns) / 1e9, 2 * self._sweep_s)
        self._last_ns = now_ns
        for service in list(self._services):
            service.date_line = date
            for connection in list(service.connections):
                connection.tick(elapsed_s)

    def _wake(self, loop: asyncio.AbstractEventLoop) -> None:
        self.sweep()
        self._timer = loop.call_later(self._sweep_s, self._wake, loop) if self._services else None


class Server:
    """One application on one or more listening sockets, which it owns. Made by `serve`.

    Accepting pauses at `Limits.connections`: the accepting half of a listener is closed while a duplicate of its
    descriptor keeps the kernel's queue alive, so new clients wait instead of being refused.
    """

    def __init__(
        self, service: Service, reaper: Reaper, sockets: list[socket.socket], tls: ssl.SSLContext | None = None
    ) -> None:
        self._service = service
        self._tls = tls
        self._reaper = reaper
        self._waiting = sockets  # listening sockets nobody accepts from
        self._accepting: list[asyncio.Server] = []
        self._resuming: asyncio.Task[None] | None = None
        self._is_closed = False
        self._is_watched = False
        self._empty: asyncio.Future[None] | None = None
        self.addresses: list[Any] = [sock.getsockname() for sock in sockets]
        """What `getsockname` says of each listener: (host, port) and more for IPv6, a path for Unix sockets."""
        service.on_change = self._changed

    @property
    def connections(self) -> int:
        """Open connections."""
        return len(self._service.connections)

    async def accept(self) -> None:
        """Accept from the listeners that wait."""
        loop = self._service.loop
        service = self._service
        while self._waiting and not self._is_closed:
            sock = self._waiting.pop()
            server = await loop.create_server(
                lambda: Connection(service),
                sock=sock,
                backlog=service.limits.accept_round,  # asyncio takes it for both, the queue and the round
                ssl=self._tls,
                ssl_handshake_timeout=None if self._tls is None else service.limits.header_s,
            )
            if self._is_closed:
                server.close()
            else:
                sock.listen(service.limits.backlog)
                self._accepting.append(server)

    def stop_accepting(self) -> None:
        """Close the listeners; open connections stay."""
        self._is_closed = True
        for server in self._accepting:
            server.close()
        for sock in self._waiting:
            sock.close()
        self._accepting, self._waiting = [], []

    async def drain(self, grace_s: float) -> None:
        """Stop accepting, let running requests end for at most `grace_s`, then close what is left."""
        self.stop_accepting()
        service = self._service
        service.is_draining = True
        for connection in list(service.connections):
            connection.drain()
        if service.connections:
            self._empty = service.loop.create_future()
            await asyncio.wait((self._empty,), timeout=grace_s)
        self.close()

    def close(self) -> None:
        """Stop accepting and cut every connection."""
        self.stop_accepting()
        self._service.is_draining = True
        for connection in list(self._service.connections):
            connection.abort()

    def _changed(self) -> None:
        service = self._service
        count = len(service.connections)
        if count and not self._is_watched:
            self._is_watched = True
            self._reaper.watch(service)
        elif not count and self._is_watched:
            self._is_watched = False
            self._reaper.unwatch(service)
        if not count and self._empty is not None and not self._empty.done():
            self._empty.set_result(None)
        limit = service.limits.connections
        if self._is_closed:
            return
        if count >= limit and self._accepting:
            self._pause()
        elif self._waiting and self._resuming is None and count <= limit - max(1, limit // 10):
            self._resuming = service.loop.create_task(self.accept())
            self._resuming.add_done_callback(self._resumed)

    def _pause(self) -> None:
        for server in self._accepting:
            self._waiting.extend(sock.dup() for sock in server.sockets)
            server.close()
        self._accepting = []

    def _resumed(self, task: asyncio.Task[None]) -> None:
        self._resuming = None
        if not task.cancelled():
            task.result()


def listen(host: str, port: int) -> socket.socket:
    """A listening TCP socket on the first address of `host` (port 0: one that the kernel picks); the kernel queues who
    comes before `serve`. Raises OSError when the address can't be had.
    """
    # For a text Python imports its tables of international names, which most hosts' do not need.
    name = host.encode() if host.isascii() else host
    family, kind, protocol, _, address = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(Limits().backlog)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener


async def serve(
    app: Application,
    sock: socket.socket,
    limits: Limits | None = None,
    *,
    clock: Clock | None = None,
    reaper: Reaper | None = None,
    origin: Any = None,
    tls: ssl.SSLContext | None = None,
) -> Server:
    """Serve `app` on a listening socket, which is handed over.

    `tls` encrypts; `reaper` may be shared by many servers; `origin` is put on every request: who stands behind this listener. A socket
    with a method `admits(peer)` is asked about each connection before anything is read from it.
    """
    limits = limits or Limits()
    clock = clock or SystemClock()
    service = Service(app, limits, asyncio.get_running_loop(), origin)
    service.admits = getattr(sock, "admits", None)
    server = Server(service, reaper or Reaper(clock), [sock], tls)
    await server.accept()
    return server
