"""Whose address a function is told, whoever writes what into X-Forwarded-For."""

from __future__ import annotations

import pytest
from tests.unit.api.doubles import request_of

from lambent.gateway.forwarding import BadNetwork, Forwarding, read_networks
from lambent.http import Tls


def origin(
    peer: str | None, headers: dict[str, str], *, trusted: str = "", port: str = "4566", tls: Tls | None = None
) -> tuple[str, dict[str, str]]:
    request = request_of("GET", "/", headers)
    request.peer = None if peer is None else (peer, 50_000)
    request.tls = tls
    return Forwarding(read_networks(trusted)).origin(request, port)


@pytest.mark.parametrize(
    ("peer", "sent", "trusted", "source", "shown"),
    [
        ("1.2.3.4", None, "", "1.2.3.4", "1.2.3.4"),
        (None, None, "", "127.0.0.1", "127.0.0.1"),
        ("::1", None, "", "::1", "::1"),
        ("::ffff:1.2.3.4", None, "", "1.2.3.4", "1.2.3.4"),
        ("1.2.3.4", "9.9.9.9", "", "1.2.3.4", "9.9.9.9, 1.2.3.4"),
        ("1.2.3.4", "", "", "1.2.3.4", "1.2.3.4"),
        ("10.0.0.1", "9.9.9.9", "10.0.0.0/8", "9.9.9.9", "9.9.9.9, 10.0.0.1"),
        ("10.0.0.1", "6.6.6.6, 9.9.9.9", "10.0.0.0/8", "9.9.9.9", "6.6.6.6, 9.9.9.9, 10.0.0.1"),
        ("10.0.0.1", "9.9.9.9, 10.0.0.2", "10.0.0.0/8", "9.9.9.9", "9.9.9.9, 10.0.0.2, 10.0.0.1"),
        ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.0/8", "10.0.0.3", "10.0.0.3, 10.0.0.2, 10.0.0.1"),
        ("10.0.0.1", "9.9.9.9, nonsense", "10.0.0.0/8", "10.0.0.1", "9.9.9.9, nonsense, 10.0.0.1"),
        ("11.0.0.1", "9.9.9.9", "10.0.0.0/8", "11.0.0.1", "9.9.9.9, 11.0.0.1"),
        ("fd00::1", "2001:db8::7", "fd00::/8", "2001:db8::7", "2001:db8::7, fd00::1"),
    ],
)
def test_the_clients_address(peer: str | None, sent: str | None, trusted: str, source: str, shown: str) -> None:
    headers = {} if sent is None else {"x-forwarded-for": sent}
    found, added = origin(peer, headers, trusted=trusted)
    assert (found, added["x-forwarded-for"]) == (source, shown)


def test_scheme_and_port_are_the_servers_unless_a_trusted_proxy_says_so() -> None:
    sent = {"x-forwarded-proto": "https", "x-forwarded-port": "443"}
    ours = {"x-forwarded-for": "1.2.3.4", "x-forwarded-proto": "http", "x-forwarded-port": "4566"}
    assert origin("1.2.3.4", sent)[1] == ours
    assert origin("1.2.3.4", sent, trusted="1.2.3.4")[1] == {**ours, **sent}
    odd = {"x-forwarded-proto": "gopher", "x-forwarded-port": "x"}
    assert origin("1.2.3.4", odd, trusted="1.2.3.4")[1] == ours
    assert origin("1.2.3.4", {}, port="")[1]["x-forwarded-port"] == "80"


def test_how_a_connection_is_encrypted() -> None:
    _, added = origin("1.2.3.4", {}, port="", tls=Tls("TLSv1.3", "TLS_AES_256_GCM_SHA384"))
    assert added == {
        "x-forwarded-for": "1.2.3.4",
        "x-forwarded-proto": "https",
        "x-forwarded-port": "443",
        "x-amzn-tls-version": "TLSv1.3",
        "x-amzn-tls-cipher-suite": "TLS_AES_256_GCM_SHA384",
    }


@pytest.mark.parametrize("text", ["nonsense", "1.2.3.4/33", "1.2.3.4, x"])
def test_what_is_no_network_is_named(text: str) -> None:
    with pytest.raises(BadNetwork, match="is no address or network"):
        read_networks(text)
