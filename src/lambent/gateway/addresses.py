"""Where function URLs are found: the host form, and the path form for where names don't resolve.

http://ID.lambda-url.REGION.anything:PORT/path      any name that resolves to the server; the first labels count
http://server:PORT/_lambent/url/ID/path             no name needed; the function sees /path
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

HOST_PART = b".lambda-url."
"""What tells a function URL's host from every other."""
PATH_PREFIX = b"/_lambent/url/"
DOMAIN = "localhost"
"""Below which URLs are found where nothing else is set: these names are this machine's (RFC 6761)."""

_HOST = re.compile(rb"([a-z0-9]{32})\.lambda-url\.([a-z0-9-]{1,32})(?:\.[a-z0-9_.-]*)?", re.IGNORECASE)
_PATH = re.compile(rb"/_lambent/url/([a-z0-9]{32})(?=/|\Z)")
PATH_LENGTH = len(PATH_PREFIX) + 32
"""What of a path of the path form is the address."""
_CLEAN = re.compile(r"[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]")
_LOOPBACK = re.compile(r"localhost|127(?:\.\d{1,3}){3}|\[?::1\]?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Address:
    """Which URL a request names."""

    id: str
    region: str | None
    """None with the path form, which names none."""
    domain_name: str | None
    """The host without its port; None with the path form."""


def read_host(host: bytes) -> Address | None:
    """The URL that a Host field names; None: it has not the form of one."""
    name = split_host(host)[0]
    found = _HOST.fullmatch(name)
    if found is None:
        return None
    return Address(found[1].decode().lower(), found[2].decode().lower(), name.decode().lower())


def read_path(path: bytes) -> str | None:
    """The URL's id in a path of the path form; None: it names none. The path is taken as it was sent: nothing behind the
    id, `..` least of all, can lead to another function's."""
    found = _PATH.match(path)
    return None if found is None else found[1].decode()


def host_of(id: str, region: str, domain: str = DOMAIN) -> str:
    """The host name of a URL."""
    return f"{id}{HOST_PART.decode()}{region}.{domain}"


def split_host(host: bytes) -> tuple[bytes, bytes]:
    """Name and port of a Host field; an empty port where none is said. Brackets of an IPv6 address stay."""
    if host.startswith(b"["):
        name, bracket, rest = host.partition(b"]")
        return name + bracket, rest.removeprefix(b":")
    name, _, port = host.partition(b":")
    return name, port


PAGES = frozenset((b"document", b"iframe", b"frame", b"embed", b"object"))
"""What browsers say in `Sec-Fetch-Dest` when a page comes of what they fetch (Fetch metadata)."""


def origin_of(named: Callable[[str], str], host: bytes, scheme: str, domain: str = "") -> str | None:
    """Where pages have an origin of their own, for a browser that came by a path form with this Host: below the settings'
    domain, or below `localhost` if it came by a loopback address; browsers lead such names home themselves. None: there is
    no such place. named: the host name below a domain."""
    name, port = (part.decode("latin-1") for part in split_host(host))
    if not domain and not _LOOPBACK.fullmatch(name):
        return None
    if not (port or "0").isdigit():
        return None
    return f"{scheme}://{named(domain or DOMAIN)}{':' if port else ''}{port}"


def page_elsewhere(place: str, rest: bytes, query: bytes) -> list[tuple[bytes, bytes]]:
    """The fields of the redirect to `place`. rest: what of the path is behind the path form's own part."""
    target = place.encode() + (rest or b"/") + (b"?" + query if query else b"")
    return [(b"Location", target), (b"Vary", b"Sec-Fetch-Dest"), (b"Cache-Control", b"no-store")]


def url_of(
    id: str, region: str, *, asked_at: str, is_resolving: bool, port: int, domain: str = "", scheme: str = "http"
) -> str:
    """The address that works for whoever asked.

    asked_at, is_resolving, port, domain, scheme: as of `address_of`.
    """
    told = address_of(
        lambda below: host_of(id, region, below),
        f"{PATH_PREFIX.decode()}{id}",
        asked_at=asked_at,
        is_resolving=is_resolving,
        port=port,
        domain=domain,
        scheme=scheme,
    )
    return f"{told}/"


def address_of(
    host: Callable[[str], str],
    path: str,
    *,
    asked_at: str,
    is_resolving: bool,
    port: int,
    domain: str = "",
    scheme: str = "http",
) -> str:
    """The address, without a slash at its end, at which something answers whoever asked: by a host, else by a path.

    host: the name below a domain. asked_at: the Host field of the request that asks. is_resolving: whether names below
    `localhost` lead to this machine here. domain: what the settings name, whose names lead to this server for everybody
    who uses it; empty: nothing.
    """
    raw_name, raw_port = split_host(asked_at.encode("latin-1", "replace"))
    name, said_port = raw_name.decode("latin-1"), raw_port.decode("latin-1")
    usual = {"http": "80", "https": "443"}[scheme]
    if _CLEAN.fullmatch(name) is None or not (said_port or "0").isdigit():
        name, said_port = "", str(port)  # nobody's name: as if none had been said
    suffix = "" if (said_port or usual) == usual else f":{said_port}"
    if domain:
        return f"{scheme}://{host(domain)}{suffix}"
    if not name or (is_resolving and _LOOPBACK.fullmatch(name)):
        return f"{scheme}://{host(DOMAIN)}{suffix}"
    return f"{scheme}://{name}{suffix}{path}"


API_HOST_PART = ".execute-api."
"""What tells an HTTP API's host from every other."""
API_PATH_PREFIX = b"/_aws/execute-api/"


def api_host_of(id: str, region: str, domain: str = DOMAIN) -> str:
    """The host name of an HTTP API."""
    return f"{id}{API_HOST_PART}{region}.{domain}"
