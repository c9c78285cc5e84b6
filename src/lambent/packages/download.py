"""Where a function's code can be downloaded: signed addresses on our own endpoint, and the application behind them.

An address names a package and a time until which it is valid, and carries a keyed hash of both: whoever has it needs no
further authorisation, as with the presigned addresses of the service. The key is the data directory's, so addresses
survive a restart.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import os
import re
from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from ..domain.clock import Clock
from ..domain.limits import CODE_LOCATION_VALID_S
from .store import Packages

if TYPE_CHECKING:
    from ..http import Buffered, Exchange, Streamed

PREFIX = "/_lambent/code/"
"""Where the door mounts the application."""
DOWNLOADS_MAX = 64
"""Downloads at once; one more is told to come back."""
CHUNK_BYTES = 262_144
SECRET_BYTES = 32

_PATH = re.compile(rb"/_lambent/code/([0-9a-f]{64})")


class Locations:
    """Makes and checks signed addresses."""

    def __init__(self, base: Callable[[], str], secret: bytes, clock: Clock) -> None:
        """base: answers `http://host:port` of our endpoint, known once it listens. secret: at least 32 bytes."""
        if len(secret) < SECRET_BYTES:
            raise ValueError(f"a signing key has at least {SECRET_BYTES} bytes, not {len(secret)}")
        self._base = base
        self._secret = secret
        self._clock = clock

    def url(self, digest: str) -> str:
        """An address for a package, valid for 10 minutes."""
        expires_s = self._clock.wall_ms() // 1_000 + CODE_LOCATION_VALID_S
        return f"{self._base()}{PREFIX}{digest}?expires={expires_s}&signature={self._sign(digest, expires_s)}"

    def refusal(self, digest: str, query: bytes) -> str | None:
        """Why an address is not good (any more); None: it is."""
        members = parse_qs(query.decode("latin-1"))
        expires, signature = members.get("expires", [""])[0], members.get("signature", [""])[0]
        if not (expires.isascii() and expires.isdigit() and len(expires) <= 15):
            return "The address is not complete"
        expected = self._sign(digest, int(expires))
        if not hmac.compare_digest(expected.encode(), signature.encode("latin-1")):
            return "The signature of the address does not match"
        if self._clock.wall_ms() > int(expires) * 1_000:
            return "Request has expired"
        return None

    def _sign(self, digest: str, expires_s: int) -> str:
        return hmac.new(self._secret, f"GET\n{digest}\n{expires_s}".encode(), hashlib.sha256).hexdigest()


class Downloads:
    """The application behind the addresses: GET and HEAD, the exact bytes that were uploaded."""

    def __init__(self, packages: Packages, locations: Locations) -> None:
        self._packages = packages
        self._locations = locations
        self._running: set[asyncio.Task[None]] = set()

    def head(self, exchange: Exchange) -> Buffered | Streamed | None:
        """Answer at once or begin to; a body is never wanted."""
        request = exchange.request
        named = _PATH.fullmatch(request.path)
        if named is None:
            _refuse(exchange, 404, "There is no code at this address")
        elif request.method not in ("GET", "HEAD"):
            _refuse(exchange, 405, "Code is read with GET", (b"allow", b"GET, HEAD"))
        elif (reason := self._locations.refusal(named[1].decode(), request.query)) is not None:
            _refuse(exchange, 403, reason)
        elif len(self._running) >= DOWNLOADS_MAX:
            _refuse(exchange, 503, "Too many downloads at once", (b"retry-after", b"1"))
        else:
            task = asyncio.get_running_loop().create_task(self._send(exchange, named[1].decode()))
            self._running.add(task)
            task.add_done_callback(self._running.discard)
        return None

    def handle(self, exchange: Exchange) -> None:
        raise AssertionError("no body was asked for")

    def too_large(self, exchange: Exchange, limit: int, declared: int | None) -> None:
        raise AssertionError("no body was asked for")

    async def close(self) -> None:
        """Cut what is still being sent."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def _send(self, exchange: Exchange, digest: str) -> None:
        try:
            descriptor = await asyncio.to_thread(os.open, self._packages.archive(digest), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            _refuse(exchange, 404, "This code is not stored any more")
            return
        try:
            size = os.fstat(descriptor).st_size
            exchange.start(200, [(b"content-type", b"application/zip")], size)
            offset = 0
            while exchange.is_open and exchange.request.method == "GET" and offset < size:
                chunk = await asyncio.to_thread(os.pread, descriptor, CHUNK_BYTES, offset)
                exchange.write(chunk)
                offset += len(chunk)
                await exchange.drain()
            exchange.finish()
        except BaseException:
            exchange.abort()
            raise
        finally:
            os.close(descriptor)


def _refuse(exchange: Exchange, status: int, reason: str, *headers: tuple[bytes, bytes]) -> None:
    exchange.respond(status, [(b"content-type", b"text/plain; charset=utf-8"), *headers], f"{reason}.\n".encode())
