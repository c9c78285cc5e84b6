"""Which address of a function URL or an API is told to whoever asks: one that works for them, see `addresses.address_of`."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Callable

from .addresses import API_PATH_PREFIX, DOMAIN, HOST_PART, address_of, api_host_of, url_of

PROBE = f"{'0' * 32}{HOST_PART.decode()}us-east-1.{DOMAIN}"
"""A name like those of function URLs: where it leads to this machine, all of them do."""


def resolves_here() -> bool:
    """Whether this machine's resolver leads names below `localhost` to itself. Blocks, seldom for long."""
    try:
        found = socket.getaddrinfo(PROBE, None, type=socket.SOCK_STREAM)
    except OSError:
        return False
    return all(ipaddress.ip_address(one[4][0]).is_loopback for one in found)


class Locator:
    """The rule of one server. port: that it listens on. domain: what `server.url_domain` names."""

    def __init__(self, port: Callable[[], int], domain: str = "", resolves: Callable[[], bool] = resolves_here) -> None:
        self._port = port
        self._domain = domain
        self._resolves = resolves
        self._is_resolving: bool | None = None

    async def prepare(self) -> None:
        """Find out what `url` has to know: once, in a thread."""
        if self._is_resolving is None and not self._domain:
            self._is_resolving = await asyncio.to_thread(self._resolves)

    def url(self, id: str, region: str, asked_at: str, scheme: str) -> str:
        """The address of a URL. asked_at: the Host field of the request that asks; scheme: http or https. After
        `prepare`."""
        return url_of(
            id,
            region,
            asked_at=asked_at,
            is_resolving=bool(self._is_resolving),
            port=self._port(),
            domain=self._domain,
            scheme=scheme,
        )

    def api_url(self, id: str, region: str, asked_at: str, scheme: str) -> str:
        """The address of an HTTP API, without a slash at its end; as `url`."""
        return address_of(
            lambda below: api_host_of(id, region, below),
            f"{API_PATH_PREFIX.decode()}{id}",
            asked_at=asked_at,
            is_resolving=bool(self._is_resolving),
            port=self._port(),
            domain=self._domain,
            scheme=scheme,
        )
