"""A small HTTP client for what the gateway asks of others: HTTP integrations, and the keys of token issuers.

One request a connection, an answer of bounded size in bounded time. The name is resolved once, and the connection goes to
the address that was checked: a name that means something else a moment later changes nothing. Where it may connect is the
server's policy for functions (`network.egress`, `network.allow`): this machine, its loopback and link-local addresses (the
metadata services) are closed unless they are listed, because an API's owner need not be the machine's.
"""

from __future__ import annotations

import asyncio
import re
import socket
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httptools

from lambent.domain.egress import LISTED, NONE, Layer

RESPONSE_BYTES_MAX = 10_485_760
RESPONSE_HEAD_BYTES_MAX = 65_536
LOOKUPS_MAX = 32
"""Names that are looked up at once, each in a thread."""
CONNECT_ATTEMPTS_MAX = 4
"""Addresses of a name that are tried."""
_READ_BYTES = 65_536
_HOP = frozenset(
    (
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    )
)
_HOST = re.compile(r"[A-Za-z0-9.:_-]+")

Fields = list[tuple[bytes, bytes]]


class Unreachable(Exception):
    """No answer: the text says why, for logs."""


class NotAllowed(Unreachable):
    """The server's network policy does not let the gateway connect there."""


@dataclass(slots=True)
class Response:
    """A whole response; header names in lower case, hop-by-hop fields left away."""

    status: int
    fields: Fields
    body: bytes


def without_hops(fields: Sequence[tuple[bytes, bytes]]) -> Fields:
    """Fields that may be passed on: not those of the connection, nor those that `connection` names."""
    named = {
        token.strip().lower() for name, value in fields if name.lower() == b"connection" for token in value.split(b",")
    }
    return [field for field in fields if field[0].lower() not in _HOP and field[0].lower() not in named]


async def fetch(
    layer: Layer,
    method: str,
    url: str,
    fields: Sequence[tuple[bytes, bytes]] = (),
    body: bytes = b"",
    *,
    timeout_s: float,
    server_name: str | None = None,
) -> Response:
    """Send a request and read its answer.

    fields: without host, content-length and hop-by-hop fields. server_name: what the certificate must name, instead of the
    URL's host. Raises TimeoutError and Unreachable.
    """
    scheme, host, port, target = split(url)
    async with asyncio.timeout(timeout_s):
        reader, writer = await _connect(layer, host, port, (server_name or host) if scheme == "https" else None)
        try:
            named = f"[{host}]" if ":" in host else host
            authority = named if port == (443 if scheme == "https" else 80) else f"{named}:{port}"
            lines = [f"{method} {target} HTTP/1.1".encode(), b"host: " + authority.encode(), b"connection: close"]
            lines += [b"%b: %b" % field for field in fields]
            if body or method in ("POST", "PUT", "PATCH"):
                lines.append(b"content-length: %d" % len(body))
            writer.write(b"\r\n".join(lines) + b"\r\n\r\n" + body)
            return await _answer(reader, method)
        except (OSError, httptools.HttpParserError) as error:
            raise Unreachable(f"{host}:{port}: {error}") from None
        finally:
            writer.transport.abort()


def split(url: str) -> tuple[str, str, int, str]:
    """Scheme, host, port, and path with query. Raises Unreachable."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise Unreachable(f"{url!r} is no URL: {error}") from None
    host = parts.hostname or ""
    if parts.scheme not in ("http", "https") or _HOST.fullmatch(host) is None:
        raise Unreachable(f"{url!r} is no HTTP URL")
    target = parts.path or "/"
    if parts.query:
        target += f"?{parts.query}"
    if any(ord(one) <= 0x20 or ord(one) >= 0x7F for one in target):
        raise Unreachable(f"{url!r} holds characters that no request line may")
    return parts.scheme, host, port or (443 if parts.scheme == "https" else 80), target


async def _connect(
    layer: Layer, host: str, port: int, server_name: str | None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    try:
        found = await _lookup(host)
    except OSError as error:
        raise Unreachable(f"{host}: {error.strerror or error}") from None
    context = None
    if server_name is not None:
        import ssl

        context = ssl.create_default_context()
    reason: Unreachable | None = None
    for family, address in found[:CONNECT_ATTEMPTS_MAX]:
        if not is_open(layer, family, address, port, host):
            reason = NotAllowed(
                f"{address}:{port} is closed: the setting network.egress = {layer.mode} does not open it to "
                f"integrations; network.allow = {address}:{port} does"
            )
            continue
        try:
            return await asyncio.open_connection(
                address, port, ssl=context, server_hostname=server_name, limit=_READ_BYTES
            )
        except OSError as error:  # certificates that don't verify, too
            reason = Unreachable(f"{address}:{port}: {error}")
    raise reason or Unreachable(f"{host} has no address")


_lookups = 0  # under way


async def _lookup(host: str) -> list[tuple[int, str]]:
    """Addresses of a host, by family. Raises OSError and Unreachable.

    Each name is looked up in a thread of its own, which nothing waits for: a name server that does not answer would hold
    up all others in the loop's own few, and the server's end with them.
    """
    global _lookups
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, host)
        except OSError:
            continue
        return [(family, host)]
    if _lookups >= LOOKUPS_MAX:
        raise Unreachable(f"{host}: {LOOKUPS_MAX} names are being looked up already")
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[list[tuple[int, str]]] = loop.create_future()

    def told(found: list[tuple[int, str]] | OSError) -> None:
        global _lookups
        _lookups -= 1
        if answer.done():
            return  # whoever asked has given up
        if isinstance(found, OSError):
            answer.set_exception(found)
        else:
            answer.set_result(found)

    def work() -> None:
        found: list[tuple[int, str]] | OSError
        try:
            listed = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
            found = [(family, str(address[0])) for family, _, _, _, address in listed]
        except UnicodeError:
            found = OSError(f"{host!r} is no host name")
        except OSError as error:
            found = error
        with suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(told, found)

    _lookups += 1
    threading.Thread(target=work, name=f"look up {host}", daemon=True).start()
    return await answer


def is_open(layer: Layer, family: int, address: str, port: int, name: str) -> bool:
    """Whether the policy lets the gateway connect to an address, which was found under a name."""
    if layer.mode == NONE:
        return False
    packed = socket.inet_pton(family, address.partition("%")[0])
    if family == socket.AF_INET6 and packed[:12] == bytes(10) + b"\xff\xff":
        family, packed = socket.AF_INET, packed[12:]
    for entry in layer.entries:
        if not entry.first <= port <= entry.last:
            continue
        if entry.family == 0:
            if _is_named(entry.name, name.lower()) and not _is_special(family, packed):
                return True
        elif entry.family == family and _is_within(packed, entry.address, entry.prefix):
            return True
    return layer.mode != LISTED and not _is_special(family, packed)


def _is_named(pattern: str, name: str) -> bool:
    return name.endswith(pattern[1:]) if pattern.startswith("*.") else name == pattern


def _is_within(packed: bytes, block: bytes, prefix: int) -> bool:
    shift = len(packed) * 8 - prefix
    return int.from_bytes(packed) >> shift == int.from_bytes(block) >> shift


def _is_special(family: int, packed: bytes) -> bool:
    """This machine's own addresses, link-local ones, and those that name no single host elsewhere."""
    if family == socket.AF_INET:
        is_special = packed[0] in (0, 127) or packed[:2] == b"\xa9\xfe" or packed[0] >= 224
    else:
        is_special = (
            packed[:15] == bytes(15)  # unspecified and loopback
            or (packed[0] == 0xFE and packed[1] & 0xC0 == 0x80)
            or packed[0] == 0xFF
            or packed[:8] == b"\xfd\x00\x0e\xc2" + bytes(4)  # the metadata service's
        )
    return is_special or _is_own(family, packed)


def _is_own(family: int, packed: bytes) -> bool:
    """Whether an address is one of this machine's: the kernel would answer it from itself."""
    address = socket.inet_ntop(family, packed)
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((address, 9))  # sends nothing
            return bool(probe.getsockname()[0] == address)
        except OSError:
            return False


class _Reading:
    """What the parser tells of a response."""

    def __init__(self, method: str) -> None:
        self.method = method
        self.fields: Fields = []
        self.chunks: list[bytes] = []
        self.size = 0
        self.status = 0
        self.is_complete = False
        self.parser: Any = None

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.status < 200:  # what follows a chunked body is no header
            self.fields.append((name.lower(), value.strip(b" \t")))

    def on_headers_complete(self) -> None:
        self.status = self.parser.get_status_code()
        if self.status >= 200 and (self.method == "HEAD" or self.status in (204, 304)):
            self.is_complete = True

    def on_body(self, data: bytes) -> None:
        self.size += len(data)
        if not self.is_complete and self.size <= RESPONSE_BYTES_MAX:
            self.chunks.append(data)

    def on_message_complete(self) -> None:
        if self.status < 200:  # an interim answer; the final one follows
            self.fields = []
        else:
            self.is_complete = True


async def _answer(reader: asyncio.StreamReader, method: str) -> Response:
    reading = _Reading(method)
    reading.parser = httptools.HttpResponseParser(reading)
    head_bytes = 0
    while not reading.is_complete:
        data = await reader.read(_READ_BYTES)
        if not data:
            names = {name for name, _ in reading.fields}
            if reading.status >= 200 and not names & {b"content-length", b"transfer-encoding"}:
                break  # the end of the connection is the end of the body
            raise Unreachable("the connection ended before the answer did")
        if reading.status == 0:
            head_bytes += len(data)
            if head_bytes > RESPONSE_HEAD_BYTES_MAX + _READ_BYTES:
                raise Unreachable(f"the answer's head has more than {RESPONSE_HEAD_BYTES_MAX} bytes")
        reading.parser.feed_data(data)
        if reading.size > RESPONSE_BYTES_MAX:
            raise Unreachable(f"the answer has more than {RESPONSE_BYTES_MAX} bytes")
    return Response(reading.status, without_hops(reading.fields), b"".join(reading.chunks))
