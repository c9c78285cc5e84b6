"""HTTPS: the same server, encrypted, with a certificate of the user's or of the development authority's."""

from __future__ import annotations

import asyncio
import ssl
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop
from cryptography import x509
from tests.integration.http.http_world import Client, World

from lambent.domain.clock import ManualClock
from lambent.http import Exchange, Limits, listen, serve
from lambent.http.authority import (
    AUTHORITY_DAYS,
    CERTIFICATE_DAYS,
    CONTEXTS_MAX,
    RENEWED_AFTER_DAYS,
    Authority,
    own_names,
)
from lambent.http.tls import BadCertificate, named_context

DAY_MS = 86_400_000


@pytest.fixture
def clock() -> ManualClock:
    """Now: OpenSSL looks at the real clock."""
    return ManualClock(time.time_ns() // 1_000_000)


@pytest.fixture
def authority(tmp_path: Path, clock: ManualClock) -> Authority:
    return Authority.open(tmp_path / "tls", clock.wall_ms)


@pytest.fixture(params=["uvloop", "asyncio"])
def run(request: pytest.FixtureRequest, authority: Authority) -> Callable[..., None]:
    """Runs `scenario(world, connect)` on one of the loops; `connect` makes encrypted clients that trust the authority."""

    def run_it(scenario: Callable[..., Awaitable[Any]], limits: Limits | None = None) -> None:
        async def main() -> None:
            world = World()
            world.server = await serve(
                world.app,
                listen("127.0.0.1", 0),
                limits,
                clock=world.clock,
                reaper=world.reaper,
                tls=authority.context(),
            )
            trusting = ssl.create_default_context(cafile=authority.path)

            async def connect(name: str = "localhost", context: ssl.SSLContext = trusting) -> Client:
                host, port = world.server.addresses[0][:2]
                client = Client(*await asyncio.open_connection(host, port, ssl=context, server_hostname=name))
                world.clients.append(client)
                return client

            try:
                async with asyncio.timeout(20):
                    await scenario(world, connect)
            finally:
                for client in world.clients:
                    client.close()
                await world.server.drain(0.2)

        factory = uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(main())

    return run_it


GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


def test_keep_alive_pipelining_and_large_bodies(run: Callable[..., None]) -> None:
    async def scenario(world: World, connect: Any) -> None:
        world.app.limit = 4_000_000
        client = await connect()
        for _ in range(3):
            client.send(GET)
            assert (await client.reply())[0] == 200
        client.send(GET * 5)
        assert [(await client.reply())[0] for _ in range(5)] == [200] * 5
        body = bytes(range(256)) * 8_000
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        assert (await client.reply())[2] == body
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
        assert (await client.reply())[2] == b"abc"
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert (await client.reply())[1][b"connection"] == b"close"
        assert await client.ended() == b""

    run(scenario)


def test_a_streamed_answer(run: Callable[..., None]) -> None:
    async def scenario(world: World, connect: Any) -> None:
        def decide(exchange: Exchange) -> None:
            exchange.start(200)
            for _ in range(100):
                exchange.write(b"x" * 10_000)
            exchange.finish()

        world.app.decide = decide
        client = await connect()
        client.send(GET)
        assert (await client.reply())[2] == b"x" * 1_000_000

    run(scenario)


def test_the_application_is_told_how_the_connection_is_encrypted(run: Callable[..., None]) -> None:
    async def scenario(world: World, connect: Any) -> None:
        seen = []

        def decide(exchange: Exchange) -> None:
            seen.append(exchange.request.tls)
            exchange.respond(200)

        world.app.decide = decide
        client = await connect()
        client.send(GET)
        await client.reply()
        assert client.writer.get_extra_info("ssl_object").selected_alpn_protocol() in (None, "http/1.1")
        ((version, cipher),) = seen
        assert version in ("TLSv1.2", "TLSv1.3")
        assert (cipher, version) == client.writer.get_extra_info("cipher")[:2]

    run(scenario)


def test_every_name_has_a_certificate_of_its_own(run: Callable[..., None]) -> None:
    async def scenario(world: World, connect: Any) -> None:
        for name in (
            "localhost",
            "127.0.0.1",
            f"{'a' * 32}.lambda-url.us-east-1.localhost",
            "x.execute-api.y.localhost",
        ):
            client = await connect(name)
            client.send(GET)
            assert (await client.reply())[0] == 200, name

    run(scenario)


def test_who_does_not_trust_or_speak_old_tls_or_none_at_all_is_nobodys_harm(run: Callable[..., None]) -> None:
    async def scenario(world: World, connect: Any) -> None:
        with pytest.raises(ssl.SSLCertVerificationError):
            await connect("localhost", ssl.create_default_context())
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
        old.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        with pytest.warns(DeprecationWarning, match="TLSv1_1"):
            old.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await connect("localhost", old)
        reader, writer = await asyncio.open_connection(*world.server.addresses[0][:2])
        writer.write(GET)
        assert not (await reader.read()).startswith(b"HTTP/1.1 200")
        writer.close()
        client = await connect()
        client.send(GET)
        assert (await client.reply())[0] == 200

    run(scenario)


def test_a_client_that_leaves_is_gone_and_a_refusal_is_read(run: Callable[..., None]) -> None:
    async def scenario(world: World, connect: Any) -> None:
        client = await connect()
        client.send(b"GET /later HTTP/1.1\r\nHost: a\r\n\r\n")
        await world.app.arrived.wait()
        client.close()
        assert await world.app.gone.get() == b"/later"
        client = await connect()
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n" + bytes(100_000))
        status, fields, _ = await client.reply()
        assert (status, fields[b"connection"]) == (413, b"close")
        world.pass_time(1)
        for _ in range(5):
            world.pass_time(1)
        assert await client.ended() == b""
        client = await connect()
        client.send(b"nonsense\r\n\r\n")
        assert (await client.reply())[0] == 400

    run(scenario)


def test_time_is_up_for_slow_heads_and_idle_connections(run: Callable[..., None]) -> None:
    async def scenario(world: World, connect: Any) -> None:
        slow, idle = await connect(), await connect()
        idle.send(GET)
        await idle.reply()
        slow.send(b"GET / HT")
        await asyncio.sleep(0.05)  # until it is read: nothing tells
        for _ in range(150):
            world.pass_time(1)
        assert (await slow.reply())[0] == 408
        assert await idle.ended() == b""

    run(scenario)


# -- the authority


def names_in(pem: bytes) -> list[str]:
    certificate = x509.load_pem_x509_certificate(pem)
    shown = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return [*shown.get_values_for_type(x509.DNSName), *map(str, shown.get_values_for_type(x509.IPAddress))]


def test_the_authority_is_made_once_and_its_key_is_nobody_elses(tmp_path: Path, clock: ManualClock) -> None:
    first = Authority.open(tmp_path / "tls", clock.wall_ms)
    made = first.path.read_bytes()
    assert (tmp_path / "tls" / "ca-key.pem").stat().st_mode & 0o777 == 0o600
    assert Authority.open(tmp_path / "tls", clock.wall_ms).path.read_bytes() == made
    assert sorted(path.name for path in (tmp_path / "tls").iterdir()) == ["ca-key.pem", "ca.pem"]
    certificate = x509.load_pem_x509_certificate(made)
    assert certificate.not_valid_after_utc.timestamp() * 1_000 == pytest.approx(
        clock.wall_ms() + AUTHORITY_DAYS * DAY_MS, abs=2_000
    )
    constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    assert (constraints.ca, constraints.path_length) == (True, 0)


def test_a_certificate_is_for_its_names_and_90_days(authority: Authority, clock: ManualClock) -> None:
    chain, key = authority.certificate(["a.localhost", "127.0.0.1", "::1"])
    assert names_in(chain) == ["a.localhost", "127.0.0.1", "::1"]
    assert chain.count(b"BEGIN CERTIFICATE") == 2
    assert key.startswith(b"-----BEGIN PRIVATE KEY")
    certificate = x509.load_pem_x509_certificate(chain)
    assert certificate.not_valid_after_utc.timestamp() * 1_000 == pytest.approx(
        clock.wall_ms() + CERTIFICATE_DAYS * DAY_MS, abs=2_000
    )
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(authority.path.read_bytes()))


def test_certificates_are_kept_renewed_and_bounded(authority: Authority, clock: ManualClock) -> None:
    first = authority._context("a", ["a"])
    assert authority._context("a", ["a"]) is first
    clock.advance(RENEWED_AFTER_DAYS * 86_400 - 1)
    assert authority._context("a", ["a"]) is first
    clock.advance(1)
    assert authority._context("a", ["a"]) is not first
    for number in range(CONTEXTS_MAX + 1):
        authority._contexts[f"n{number}"] = first, clock.wall_ms()
    authority._context("b", ["b"])
    assert len(authority._contexts) == 1


def test_own_names_are_this_machines_and_not_any_machines() -> None:
    names = own_names(("0.0.0.0", "10.1.2.3"))
    assert {"localhost", "127.0.0.1", "::1", "10.1.2.3"} <= set(names)
    assert not {"0.0.0.0", "::", ""} & set(names)


@pytest.fixture
def files(tmp_path: Path, authority: Authority) -> dict[str, Path]:
    found = {}
    chain, key = authority.certificate(["localhost"])
    _, other = authority.certificate(["localhost"])
    for name, content in (("chain", chain), ("key", key), ("other", other), ("both", chain + key), ("noise", b"x")):
        found[name] = tmp_path / f"{name}.pem"
        found[name].write_bytes(content)
    return found


def test_a_certificate_of_the_users_own(files: dict[str, Path]) -> None:
    assert named_context(files["both"], None).minimum_version == ssl.TLSVersion.TLSv1_2
    named_context(files["chain"], files["key"])
    for certificate, key, words in (
        ("chain", "other", "don't belong together"),
        ("noise", None, "no certificate and key in PEM form"),
        ("chain", None, "no certificate and key in PEM form"),
        ("missing", None, "can't be read: No such file"),
        ("chain", "missing", "can't be read: No such file"),
    ):
        paths = {**files, "missing": Path("/nowhere/x.pem")}
        with pytest.raises(BadCertificate, match=words):
            named_context(paths[certificate], None if key is None else paths[key])


def test_files_that_hold_no_authority_are_named(tmp_path: Path, clock: ManualClock, authority: Authority) -> None:
    directory = authority.path.parent
    other = Authority.open(tmp_path / "other", clock.wall_ms)
    (directory / "ca-key.pem").write_bytes((other.path.parent / "ca-key.pem").read_bytes())
    with pytest.raises(BadCertificate, match="is not the key of"):
        Authority.open(directory, clock.wall_ms)
    (directory / "ca-key.pem").write_text("noise")
    with pytest.raises(BadCertificate, match="holds no authority"):
        Authority.open(directory, clock.wall_ms)


def test_without_the_package_the_remedy_is_named(
    tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cryptography", None)
    with pytest.raises(BadCertificate, match=r"pip install 'lambent\[tls\]'"):
        Authority.open(tmp_path / "tls", clock.wall_ms)
