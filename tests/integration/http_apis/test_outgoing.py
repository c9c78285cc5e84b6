"""The gateway's HTTP client against a server that answers what it is told: framing, bounds, and where it may connect."""

from __future__ import annotations

import asyncio
import datetime
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from lambent.domain.egress import Layer, server_layer
from lambent.gateway import outgoing
from lambent.gateway.outgoing import NotAllowed, Response, Unreachable, fetch, is_open, split, without_hops

OUTBOUND = Layer("outbound")


@asynccontextmanager
async def answering(
    *pieces: bytes, pause_s: float = 0.0, stays: bool = False
) -> AsyncIterator[tuple[str, Layer, list[bytes]]]:
    """A server that reads a head and answers `pieces`; URL, the policy that opens it, and what it was sent."""
    seen: list[bytes] = []
    closed = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next((int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"content-length:")), 0)
        seen.append(head + await reader.readexactly(length))
        for piece in pieces:
            writer.write(piece)
            await asyncio.sleep(pause_s)
        if stays:
            await closed.wait()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}", server_layer("outbound", f"127.0.0.1:{port}"), seen
    finally:
        closed.set()
        server.close()
        await server.wait_closed()


def run(scenario: Callable[[], Awaitable[Any]]) -> Any:
    async def main() -> Any:
        return await scenario()

    return asyncio.run(main())


async def asked(*pieces: bytes, method: str = "GET", stays: bool = True, **options: Any) -> Response:
    async with answering(*pieces, stays=stays) as (url, layer, _):
        return await fetch(layer, method, url + "/x", timeout_s=5, **options)


@pytest.mark.parametrize(
    ("pieces", "method", "status", "body"),
    [
        ((b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",), "GET", 200, b"hello"),
        ((b"HTTP/1.1 200 OK\r\nContent-Le", b"ngth: 5\r\n\r\nhe", b"llo"), "GET", 200, b"hello"),
        ((b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\nx-t: 1\r\n\r\n",), "GET", 200, b"hello"),
        ((b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",), "HEAD", 200, b""),
        ((b"HTTP/1.1 204 No Content\r\n\r\n",), "GET", 204, b""),
        ((b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n",), "GET", 304, b""),
        ((b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 201 Made\r\nContent-Length: 1\r\n\r\nx"), "POST", 201, b"x"),
        ((b"HTTP/1.1 103 Early\r\nlink: x\r\n\r\nHTTP/1.1 599 Odd\r\nContent-Length: 0\r\n\r\n",), "GET", 599, b""),
    ],
)  # fmt: skip
def test_answers(pieces: tuple[bytes, ...], method: str, status: int, body: bytes) -> None:
    answer = run(lambda: asked(*pieces, method=method))
    assert (answer.status, answer.body) == (status, body)
    assert all(name not in (b"link", b"x-t", b"transfer-encoding") for name, _ in answer.fields)


def test_a_body_may_end_with_the_connection() -> None:
    answer = run(lambda: asked(b"HTTP/1.1 200 OK\r\nx: 1\r\n\r\nhel", b"lo", stays=False))
    assert (answer.body, answer.fields) == (b"hello", [(b"x", b"1")])


def test_the_request_as_it_is_sent() -> None:
    async def scenario() -> bytes:
        async with answering(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") as (url, layer, seen):
            await fetch(layer, "PUT", f"{url}/a%20b?c=d", [(b"x-one", b"1")], b"body", timeout_s=5)
            return seen[0].replace(url[7:].encode(), b"HOST")

    assert run(scenario) == (
        b"PUT /a%20b?c=d HTTP/1.1\r\nhost: HOST\r\nconnection: close\r\nx-one: 1\r\ncontent-length: 4\r\n\r\nbody"
    )


@pytest.mark.parametrize(
    ("pieces", "words"),
    [
        ((b"",), "the connection ended before the answer did"),
        ((b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel",), "the connection ended before the answer did"),
        (
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe",),
            "the connection ended before the answer did",
        ),
        ((b"SSH-2.0-OpenSSH\r\n",), "127.0.0.1:"),
        ((b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",), "127.0.0.1:"),
        ((b"HTTP/1.1 200 OK\r\nx: " + b"a" * 200_000,), "head has more than 65536 bytes"),
        ((b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (outgoing.RESPONSE_BYTES_MAX + 1),), "more than 10485760 bytes"),
    ],
)
def test_answers_that_are_none(pieces: tuple[bytes, ...], words: str) -> None:
    with pytest.raises(Unreachable, match=words):
        run(lambda: asked(*pieces, stays=False))


def test_an_answer_in_its_time_or_none() -> None:
    async def scenario() -> None:
        async with answering(b"HTTP/1.1 200 OK\r\n", stays=True) as (url, layer, _):
            await fetch(layer, "GET", url, timeout_s=0.05)

    with pytest.raises(TimeoutError):
        run(scenario)


def test_nobody_listens() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        layer = server_layer("outbound", f"127.0.0.1:{port}")
        with pytest.raises(Unreachable, match=f"127.0.0.1:{port}"):
            run(lambda: fetch(layer, "GET", f"http://127.0.0.1:{port}/", timeout_s=5))


def self_signed(folder: Path) -> ssl.SSLContext:
    """A server's context with a certificate for `h.example` that nobody vouches for."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "h.example")])
    today = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), 1)
        .not_valid_before(today - datetime.timedelta(1))
        .not_valid_after(today + datetime.timedelta(1))
        .sign(key, hashes.SHA256())
    )
    file = folder / "both.pem"
    form = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    private = key.private_bytes(serialization.Encoding.PEM, *form)
    file.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context


def test_a_certificate_is_verified(tmp_path: Path) -> None:
    async def scenario() -> None:
        server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0, ssl=self_signed(tmp_path))
        port = server.sockets[0].getsockname()[1]
        layer = server_layer("outbound", f"127.0.0.1:{port}")
        try:
            await fetch(layer, "GET", f"https://127.0.0.1:{port}/", timeout_s=5, server_name="h.example")
        finally:
            server.close()

    with pytest.raises(Unreachable, match="certificate verify failed"):
        run(scenario)


def test_this_machine_is_closed_unless_it_is_listed_and_nothing_is_sent() -> None:
    async def scenario() -> list[bytes]:
        async with answering(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") as (url, _, seen):
            with pytest.raises(NotAllowed, match=r"network\.allow = 127\.0\.0\.1:\d+ does"):
                await fetch(OUTBOUND, "GET", url, timeout_s=5)
            with pytest.raises(NotAllowed):
                await fetch(OUTBOUND, "GET", url.replace("127.0.0.1", "localhost"), timeout_s=5)
            return seen

    assert run(scenario) == []


@pytest.mark.parametrize(
    ("mode", "allow", "address", "is_allowed"),
    [
        ("outbound", "", "93.184.216.34", True),
        ("outbound", "", "10.255.255.254", True),
        ("outbound", "", "2606:2800:220:1::1", True),
        ("outbound", "", "127.0.0.1", False),
        ("outbound", "", "127.9.9.9", False),
        ("outbound", "", "0.0.0.0", False),
        ("outbound", "", "169.254.169.254", False),
        ("outbound", "", "224.0.0.1", False),
        ("outbound", "", "255.255.255.255", False),
        ("outbound", "", "::1", False),
        ("outbound", "", "::", False),
        ("outbound", "", "::ffff:127.0.0.1", False),
        ("outbound", "", "::ffff:169.254.169.254", False),
        ("outbound", "", "fe80::1", False),
        ("outbound", "", "fd00:ec2::254", False),
        ("outbound", "127.0.0.1:80", "127.0.0.1", True),
        ("outbound", "127.0.0.1:81", "127.0.0.1", False),
        ("outbound", "169.254.169.254", "169.254.169.254", True),
        ("listed", "", "93.184.216.34", False),
        ("listed", "93.184.0.0/16", "93.184.216.34", True),
        ("listed", "93.184.0.0/16:443", "93.184.216.34", False),
        ("listed", "*.example.com", "93.184.216.34", True),
        ("listed", "api.example.com:80", "93.184.216.34", True),
        ("listed", "example.com", "93.184.216.34", False),
        ("listed", "api.example.com", "127.0.0.1", False),  # a name that means this machine opens nothing
        ("none", "", "93.184.216.34", False),
    ],
)
def test_where_it_may_connect(mode: str, allow: str, address: str, is_allowed: bool) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    assert is_open(server_layer(mode, allow), family, address, 80, "API.example.com") is is_allowed


@pytest.mark.parametrize(
    "url",
    ["ftp://h/", "http://", "http:///x", "h/x", "http://h:99999/", "http://h:x/", "http://a b/", "http://h/a b"],
)  # fmt: skip
def test_what_is_no_url(url: str) -> None:
    with pytest.raises(Unreachable):
        split(url)


def test_urls() -> None:
    assert split("https://User@H.example/a?b#c") == ("https", "h.example", 443, "/a?b")
    assert split("http://[::1]:8080") == ("http", "::1", 8080, "/")


def test_fields_of_the_connection_are_not_passed_on() -> None:
    fields = [
        (b"connection", b"close, X-Private"),
        (b"x-private", b"1"),
        (b"te", b"trailers"),
        (b"upgrade", b"h2c"),
        (b"x", b"2"),
    ]
    assert without_hops(fields) == [(b"x", b"2")]


def test_of_a_names_addresses_four_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []

    def found(host: str, port: Any, **options: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (f"198.51.100.{last}", 0)) for last in range(1, 9)]

    async def refuse(address: str, port: int, **options: Any) -> Any:
        tried.append(address)
        raise ConnectionRefusedError("no")

    monkeypatch.setattr(socket, "getaddrinfo", found)
    monkeypatch.setattr(asyncio, "open_connection", refuse)
    with pytest.raises(Unreachable, match=r"198\.51\.100\.4:80: no"):
        run(lambda: fetch(OUTBOUND, "GET", "http://h.example/", timeout_s=5))
    assert len(tried) == outgoing.CONNECT_ATTEMPTS_MAX == 4


def test_name_servers_that_do_not_answer_hold_up_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """Up to a bound each has a thread; beyond it names are refused, and addresses go on."""
    gate = threading.Event()

    def stuck(host: str, port: Any, **options: Any) -> list[Any]:
        gate.wait(30)
        raise socket.gaierror(-3, "no answer")

    async def scenario() -> None:
        waiting = [
            asyncio.create_task(fetch(OUTBOUND, "GET", f"http://{number}.example/", timeout_s=0.2))
            for number in range(outgoing.LOOKUPS_MAX)
        ]
        await asyncio.sleep(0)
        with pytest.raises(Unreachable, match="32 names are being looked up already"):
            await fetch(OUTBOUND, "GET", "http://more.example/", timeout_s=5)
        async with answering(b"HTTP/1.1 204 No\r\n\r\n") as (url, layer, _):
            assert (await fetch(layer, "GET", url, timeout_s=5)).status == 204
            assert await asyncio.to_thread(lambda: "the loop's own threads are free") is not None
        assert [type(one) for one in await asyncio.gather(*waiting, return_exceptions=True)] == [TimeoutError] * 32
        gate.set()
        for one in threading.enumerate():
            if one.name.startswith("look up "):
                await asyncio.to_thread(one.join)
        await asyncio.sleep(0)  # what they have told the loop is heard
        assert outgoing._lookups == 0

    monkeypatch.setattr(socket, "getaddrinfo", stuck)
    run(scenario)
    with pytest.raises(Unreachable, match=r"a\.example: no answer"):
        run(lambda: fetch(OUTBOUND, "GET", "http://a.example/", timeout_s=5))
