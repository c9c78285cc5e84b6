"""Where a request came from, as the function is told: the client's address, and the X-Forwarded fields.

Behind a proxy the connection's peer is the proxy. What X-Forwarded-For says is believed only as far as addresses that
the server's settings trust have written it: read from its end, the first address that is not trusted is the client's.
Nothing that an untrusted client writes there is ever taken for its address.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from lambent.http import Request

UNKNOWN = "127.0.0.1"
"""The client of a connection that has no address: a Unix socket's."""

Network = IPv4Network | IPv6Network


class BadNetwork(ValueError):
    """An entry of the list of trusted proxies is no address or network."""


class Forwarding:
    """The rule for one server."""

    def __init__(self, trusted: Iterable[Network] = ()) -> None:
        self._trusted: Sequence[Network] = tuple(trusted)

    def origin(self, request: Request, written_port: str) -> tuple[str, dict[str, str]]:
        """The client's address, and the X-Forwarded fields that the function sees, by their names.

        written_port: as the Host field has it; empty: it has none.
        """
        peer = UNKNOWN if request.peer is None else request.peer[0].removeprefix("::ffff:")
        tls = request.tls
        added = {
            "x-forwarded-for": peer,
            "x-forwarded-proto": "http" if tls is None else "https",
            "x-forwarded-port": written_port or ("80" if tls is None else "443"),
        }
        if tls is not None:
            added["x-amzn-tls-version"] = tls.version
            added["x-amzn-tls-cipher-suite"] = tls.cipher
        source = peer
        if request.header(b"x-forwarded-for") is not None:
            sent = b",".join([value for name, value in request.headers if name == b"x-forwarded-for"]).decode("latin-1")
            if sent:
                added["x-forwarded-for"] = f"{sent}, {peer}"
            source = self._client(peer, sent)
        if self._trusted and self._trusts(peer):
            proto, port = request.header(b"x-forwarded-proto"), request.header(b"x-forwarded-port")
            if proto in (b"http", b"https"):
                added["x-forwarded-proto"] = proto.decode()
            if port is not None and port.isdigit():
                added["x-forwarded-port"] = port.decode()
        return source, added

    def _client(self, peer: str, sent: str) -> str:
        """The first address from the end that no trusted proxy stands behind."""
        source = peer
        if self._trusted:
            for one in reversed(sent.split(",")):
                address = _address(one.strip())
                if address is None or not self._trusts(source):
                    break
                source = str(address)
        return source

    def _trusts(self, peer: str) -> bool:
        address = _address(peer)
        return address is not None and any(address in network for network in self._trusted)


def read_networks(text: str) -> list[Network]:
    """Addresses and networks, separated by commas. Raises BadNetwork."""
    networks: list[Network] = []
    for one in filter(None, (part.strip() for part in text.split(","))):
        try:
            networks.append(ip_network(one, strict=False))
        except ValueError as error:
            raise BadNetwork(f"{one!r} is no address or network: {error}") from None
    return networks


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    mapped = getattr(address, "ipv4_mapped", None)
    return mapped or address
