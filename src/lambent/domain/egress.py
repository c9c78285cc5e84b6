"""Where functions may connect to: modes, lists, and the two layers that must agree, the server's and the function's.

An entry of a list is `ADDRESS`, `ADDRESS/PREFIX` or `NAME`, with `:PORT` or `:FIRST-LAST` behind it where not every port is
meant; a version 6 address that has a port stands in brackets. `*.example.com` stands for every name below it.

Plain values and their reading; the relay (`launcher/relay.c`) decides. Without `ipaddress`, which costs 4 ms at each start.
"""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass

NONE, OUTBOUND, LISTED = "none", "outbound", "listed"
MODES = (NONE, OUTBOUND, LISTED)
ENTRIES_MAX = 64
"""Of one list; `launcher/policy.h` has the same bound."""
NAME_CHARS_MAX = 253
LOOPBACK_PORTS_MAX = 16
"""Ports of the host's loopback that sandboxes may reach; `launcher/config.h` has the same bound."""
RESOLVERS_MAX = 3
PORT_MAX = 65_535
DNS_PORT = 53
SANDBOX_PORTS = (53, 9001, 9002)
"""Taken inside a sandbox: by names, by the Runtime API, by the way out."""

_LABEL = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"(\*\.)?({_LABEL}\.)*{_LABEL}")
_PORTS = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?")


class BadEgress(ValueError):
    """An entry can't be read, or says what can't be had; the text names it."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a list: a block of addresses or a name, and ports."""

    family: int
    """socket.AF_INET, socket.AF_INET6, or 0 for a name."""
    address: bytes
    """4 or 16 bytes; empty for a name."""
    prefix: int
    name: str
    first: int
    last: int

    @property
    def is_single(self) -> bool:
        """Whether it names exactly one address."""
        return self.family != 0 and self.prefix == len(self.address) * 8

    @property
    def is_loopback(self) -> bool:
        if self.family == socket.AF_INET:
            return self.address[0] == 127 and self.prefix >= 8
        return self.family == socket.AF_INET6 and self.is_single and self.address == bytes(15) + b"\1"


@dataclass(frozen=True, slots=True)
class Layer:
    """What one side, the server or the function, lets pass."""

    mode: str
    entries: tuple[Entry, ...] = ()


@dataclass(frozen=True, slots=True)
class Egress:
    """The policy of one sandbox: both layers must agree."""

    server: Layer = Layer(NONE)
    function: Layer = Layer(OUTBOUND)


NOWHERE = Egress()


@dataclass(frozen=True, slots=True)
class Outside:
    """What the server says for all sandboxes, read from its settings."""

    layer: Layer = Layer(OUTBOUND)
    resolvers: tuple[tuple[str, int], ...] = ()
    """Name servers (address, port); empty: those of the host's /etc/resolv.conf."""

    @property
    def loopback(self) -> tuple[tuple[str, int], ...]:
        """Ports of the host's loopback that are open, under the same address inside."""
        return tuple((_text(entry), entry.first) for entry in self.layer.entries if entry.is_loopback)


def entries(text: str) -> tuple[Entry, ...]:
    """Read a list, separated by commas. Raises BadEgress."""
    items = [item for item in (part.strip() for part in text.split(",")) if item]
    if len(items) > ENTRIES_MAX:
        raise BadEgress(f"{len(items)} entries are more than {ENTRIES_MAX}")
    return tuple(map(_entry, items))


def server_layer(mode: str, allow: str) -> Layer:
    """The server's layer from its settings. Raises BadEgress for an entry that could not have an effect."""
    found = entries(allow)
    if mode == NONE and found:
        raise BadEgress("network.allow has no meaning with network.egress = none")
    for entry in found:
        words = _text(entry)
        if entry.is_loopback and not (entry.is_single and entry.first == entry.last):
            raise BadEgress(f"{words}: of the host's loopback one address with one port is opened at a time")
        if entry.is_loopback and entry.first in SANDBOX_PORTS:
            raise BadEgress(f"{words}:{entry.first}: this port is the sandbox's own")
        if mode == OUTBOUND and not entry.is_single:
            raise BadEgress(
                f"{words}: with network.egress = outbound an entry opens one address that is closed otherwise; "
                "what lies outside is open anyway"
            )
    if sum(entry.is_loopback for entry in found) > LOOPBACK_PORTS_MAX:
        raise BadEgress(f"more than {LOOPBACK_PORTS_MAX} ports of the host's loopback")
    return Layer(mode, found)


def function_layer(mode: str | None, allow: str | None) -> Layer:
    """A function's own layer from its variables; without them it takes what the server gives. Raises BadEgress."""
    if mode is not None and mode not in MODES:
        raise BadEgress(f"{mode!r} is not one of {', '.join(MODES)}")
    if allow is not None and mode != LISTED:
        raise BadEgress(f"a list needs the mode {LISTED}")
    return Layer(mode or OUTBOUND, entries(allow or ""))


def resolvers(text: str) -> tuple[tuple[str, int], ...]:
    """Name servers, `ADDRESS` or `ADDRESS:PORT`, separated by commas. Raises BadEgress."""
    found = []
    for entry in entries(text):
        if not entry.is_single or entry.first != entry.last:
            if not entry.is_single or (entry.first, entry.last) != (0, PORT_MAX):
                raise BadEgress(f"{_text(entry)}: a name server is one address, with one port at most")
            found.append((_text(entry), DNS_PORT))
        else:
            found.append((_text(entry), entry.first))
    if len(found) > RESOLVERS_MAX:
        raise BadEgress(f"{len(found)} name servers are more than {RESOLVERS_MAX}")
    return tuple(found)


def _text(entry: Entry) -> str:
    if entry.family == 0:
        return entry.name
    return socket.inet_ntop(entry.family, entry.address) + ("" if entry.is_single else f"/{entry.prefix}")


def _entry(item: str) -> Entry:
    host, ports = _split(item)
    first, last = _ports(item, ports)
    address, slash, prefix_text = host.partition("/")
    family, packed = _packed(address)
    if family == 0:
        name = host.lower().removesuffix(".")
        if len(name) > NAME_CHARS_MAX or _NAME.fullmatch(name) is None or re.fullmatch(r"[\d.]+", name):
            raise BadEgress(f"{item!r} is neither an address, a block of addresses nor a name")
        if name == "localhost" or name.endswith(".localhost"):
            raise BadEgress(f"{item!r}: the host's loopback is named by its address, 127.0.0.1")
        return Entry(0, b"", 0, name, first, last)
    bits = len(packed) * 8
    if slash and not (prefix_text.isascii() and prefix_text.isdigit() and int(prefix_text) <= bits):
        raise BadEgress(f"{item!r}: {prefix_text!r} is no prefix of an address of {bits} bits")
    prefix = int(prefix_text) if slash else bits
    if int.from_bytes(packed, "big") & ((1 << (bits - prefix)) - 1):
        raise BadEgress(f"{item!r}: the address has bits beyond its prefix")
    if family == socket.AF_INET6 and packed[:12] == bytes(10) + b"\xff\xff" and prefix >= 96:
        raise BadEgress(f"{item!r}: write the version 4 address")
    return Entry(family, packed, prefix, "", first, last)


def _split(item: str) -> tuple[str, str | None]:
    """Host and ports. A bare version 6 address has more than one colon and no port."""
    if item.startswith("["):
        address, bracket, rest = item[1:].partition("]")
        prefix, colon, ports = rest.partition(":")
        if not bracket or (prefix and not prefix.startswith("/")):
            raise BadEgress(f"{item!r}: a bracket is not closed")
        return address + prefix, ports if colon else None
    if item.count(":") > 1:
        return item, None
    host, colon, ports = item.partition(":")
    return host, ports if colon else None


def _ports(item: str, text: str | None) -> tuple[int, int]:
    if text is None:
        return 0, PORT_MAX
    match = _PORTS.fullmatch(text)
    first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, -1)
    if not 1 <= first <= last <= PORT_MAX:
        raise BadEgress(f"{item!r}: {text!r} is neither a port nor a range of ports")
    return first, last


def _packed(address: str) -> tuple[int, bytes]:
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            return family, socket.inet_pton(family, address)
        except (OSError, ValueError):
            continue
    return 0, b""
