"""Lists of where functions may connect to: what is read, what is refused and in which words."""

from __future__ import annotations

import socket

import pytest

from lambent.domain import egress
from lambent.domain.egress import LISTED, NONE, OUTBOUND, BadEgress, Entry, entries, function_layer, server_layer


def test_entries_are_addresses_blocks_and_names_with_ports() -> None:
    four, six = socket.AF_INET, socket.AF_INET6
    assert entries("") == ()
    assert entries(" 10.1.2.3 , 10.0.0.0/8:443,10.0.0.1:8000-8010") == (
        Entry(four, bytes([10, 1, 2, 3]), 32, "", 0, 65_535),
        Entry(four, bytes([10, 0, 0, 0]), 8, "", 443, 443),
        Entry(four, bytes([10, 0, 0, 1]), 32, "", 8_000, 8_010),
    )
    address = bytes.fromhex("20010db8") + bytes(12)
    assert entries("2001:db8::/32, [2001:db8::]:53, [2001:db8::]/32:1-2") == (
        Entry(six, address, 32, "", 0, 65_535),
        Entry(six, address, 128, "", 53, 53),
        Entry(six, address, 32, "", 1, 2),
    )
    assert entries("DB.Example.com.:5432,*.example.com") == (
        Entry(0, b"", 0, "db.example.com", 5_432, 5_432),
        Entry(0, b"", 0, "*.example.com", 0, 65_535),
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("10.0.0.1/8", "bits beyond its prefix"),
        ("10.0.0.0/33", "no prefix"),
        ("10.0.0.0/x", "no prefix"),
        ("10.0.0.1:0", "neither a port"),
        ("10.0.0.1:9-8", "neither a port"),
        ("10.0.0.1:65536", "neither a port"),
        ("10.0.0.1:", "neither a port"),
        ("[2001:db8::1", "bracket"),
        ("[2001:db8::1]x", "bracket"),
        ("::ffff:10.0.0.1", "write the version 4 address"),
        ("10.0.0", "neither an address"),
        ("1.2.3.4.5", "neither an address"),
        ("a b", "neither an address"),
        ("-a.example", "neither an address"),
        ("*", "neither an address"),
        ("localhost:5432", "127.0.0.1"),
        ("http://example.com", "neither"),
    ],
)
def test_what_cannot_be_read_is_refused(text: str, words: str) -> None:
    with pytest.raises(BadEgress, match=words):
        entries(text)


def test_bounds() -> None:
    assert len(entries(",".join(["10.0.0.1"] * egress.ENTRIES_MAX))) == egress.ENTRIES_MAX
    with pytest.raises(BadEgress, match="more than 64"):
        entries(",".join(["10.0.0.1"] * (egress.ENTRIES_MAX + 1)))
    long = ".".join(["a" * 49] * 5) + ".abc"
    assert len(long) == egress.NAME_CHARS_MAX
    assert entries(long)[0].name == long
    with pytest.raises(BadEgress, match="neither"):
        entries(long + "d")
    ports = [f"127.0.0.1:{10_000 + n}" for n in range(egress.LOOPBACK_PORTS_MAX + 1)]
    assert len(server_layer(OUTBOUND, ",".join(ports[:-1])).entries) == egress.LOOPBACK_PORTS_MAX
    with pytest.raises(BadEgress, match="more than 16 ports"):
        server_layer(OUTBOUND, ",".join(ports))
    assert len(egress.resolvers("10.0.0.1,10.0.0.2:54,::1")) == egress.RESOLVERS_MAX
    with pytest.raises(BadEgress, match="more than 3"):
        egress.resolvers("10.0.0.1,10.0.0.2,10.0.0.3,10.0.0.4")


@pytest.mark.parametrize(
    ("mode", "allow", "words"),
    [
        (NONE, "10.0.0.1", "no meaning"),
        (OUTBOUND, "10.0.0.0/8", "opens one address"),
        (OUTBOUND, "example.com", "opens one address"),
        (OUTBOUND, "127.0.0.1", "one address with one port"),
        (LISTED, "127.0.0.0/8:80", "one address with one port"),
        (LISTED, "127.0.0.1:80-81", "one address with one port"),
        (LISTED, "[::1]:9001", "the sandbox's own"),
        (LISTED, "127.0.0.1:53", "the sandbox's own"),
    ],
)
def test_an_entry_of_the_server_that_could_have_no_effect_is_refused(mode: str, allow: str, words: str) -> None:
    with pytest.raises(BadEgress, match=words):
        server_layer(mode, allow)


def test_opened_ports_of_the_loopback() -> None:
    outside = egress.Outside(server_layer(OUTBOUND, "127.0.0.1:5432, [::1]:6379, 192.168.1.2:80"))
    assert outside.loopback == (("127.0.0.1", 5_432), ("::1", 6_379))


def test_a_function_without_variables_takes_what_the_server_gives() -> None:
    assert function_layer(None, None) == egress.Layer(OUTBOUND)
    assert function_layer(NONE, None) == egress.Layer(NONE)
    assert function_layer(LISTED, "a.example:1").entries[0].name == "a.example"
    with pytest.raises(BadEgress, match="not one of none, outbound, listed"):
        function_layer("all", None)
    with pytest.raises(BadEgress, match="needs the mode listed"):
        function_layer(None, "10.0.0.1")


def test_name_servers() -> None:
    assert egress.resolvers("") == ()
    assert egress.resolvers("10.0.0.1, [2001:db8::1]:5353") == (("10.0.0.1", 53), ("2001:db8::1", 5_353))
    for text in ("ns.example", "10.0.0.0/8", "10.0.0.1:1-2"):
        with pytest.raises(BadEgress, match="one address"):
            egress.resolvers(text)
