"""Where function URLs are found, and which address is told to whom."""

from __future__ import annotations

import asyncio

import pytest

from lambent.gateway import addresses, locating
from lambent.gateway.addresses import PATH_LENGTH, Address, host_of, origin_of, read_host, read_path, url_of
from lambent.gateway.locating import Locator

ID = "0123456789abcdef" * 2


@pytest.mark.parametrize(
    ("host", "address"),
    [
        (f"{ID}.lambda-url.us-east-1.localhost:4566", Address(ID, "us-east-1", f"{ID}.lambda-url.us-east-1.localhost")),
        (f"{ID}.lambda-url.us-east-1.on.aws", Address(ID, "us-east-1", f"{ID}.lambda-url.us-east-1.on.aws")),
        (f"{ID}.lambda-url.eu-west-3", Address(ID, "eu-west-3", f"{ID}.lambda-url.eu-west-3")),
        (f"{ID.upper()}.Lambda-URL.us-east-1.LocalHost", Address(ID, "us-east-1", f"{ID}.lambda-url.us-east-1.localhost")),
        (f"{ID[:-1]}.lambda-url.us-east-1.localhost", None),
        (f"x{ID}.lambda-url.us-east-1.localhost", None),
        (f"{ID}.lambda-url.us-east-1.localhost/..", None),
        (f"a.{ID}.lambda-url.us-east-1.localhost", None),
        (f"{ID}.lambda-url..localhost", None),
        (f"{ID}.lambda-url.us-east-1.localhost\n", None),
        (".lambda-url.", None),
        ("", None),
        ("[::1]:4566", None),
    ],
)  # fmt: skip
def test_the_host_form(host: str, address: Address | None) -> None:
    assert read_host(host.encode()) == address


@pytest.mark.parametrize(
    ("path", "id"),
    [
        (f"/_lambent/url/{ID}", ID),
        (f"/_lambent/url/{ID}/", ID),
        (f"/_lambent/url/{ID}/../../x", ID),
        (f"/_lambent/url/{ID}/%2e%2e/{ID[::-1]}", ID),
        (f"/_lambent/url/{ID}x/", None),
        (f"/_lambent/url/{ID[:-1]}/", None),
        (f"/_lambent/url/../url/{ID}/", None),
        (f"//_lambent/url/{ID}/", None),
        ("/_lambent/url/", None),
        (f"/_lambent/url/{ID}\n", None),
    ],
)
def test_the_path_form(path: str, id: str | None) -> None:
    assert read_path(path.encode()) == id
    assert len(f"/_lambent/url/{ID}") == PATH_LENGTH


@pytest.mark.parametrize(
    ("asked_at", "options", "url"),
    [
        ("127.0.0.1:4566", {"is_resolving": True}, f"http://{ID}.lambda-url.us-east-1.localhost:4566/"),
        ("localhost:4566", {"is_resolving": True}, f"http://{ID}.lambda-url.us-east-1.localhost:4566/"),
        ("[::1]:4566", {"is_resolving": True}, f"http://{ID}.lambda-url.us-east-1.localhost:4566/"),
        ("127.0.0.1:4566", {}, f"http://127.0.0.1:4566/_lambent/url/{ID}/"),
        ("lambent:4566", {"is_resolving": True}, f"http://lambent:4566/_lambent/url/{ID}/"),
        ("10.1.2.3", {"is_resolving": True}, f"http://10.1.2.3/_lambent/url/{ID}/"),
        ("[fd00::1]:99", {}, f"http://[fd00::1]:99/_lambent/url/{ID}/"),
        ("lambent:443", {"scheme": "https"}, f"https://lambent/_lambent/url/{ID}/"),
        ("lambent:80", {"scheme": "https"}, f"https://lambent:80/_lambent/url/{ID}/"),
        ("", {"is_resolving": True}, f"http://{ID}.lambda-url.us-east-1.localhost:4566/"),
        ("", {}, f"http://{ID}.lambda-url.us-east-1.localhost:4566/"),
        ("evil/><script>:1", {}, f"http://{ID}.lambda-url.us-east-1.localhost:4566/"),
        ("a:b", {}, f"http://{ID}.lambda-url.us-east-1.localhost:4566/"),
        ("127.0.0.1:4566", {"domain": "fn.example"}, f"http://{ID}.lambda-url.us-east-1.fn.example:4566/"),
        ("api.example", {"domain": "fn.example"}, f"http://{ID}.lambda-url.us-east-1.fn.example/"),
    ],
)
def test_the_address_that_works_for_whoever_asks(asked_at: str, options: dict[str, object], url: str) -> None:
    known: dict[str, object] = {"is_resolving": False, "port": 4566, **options}
    assert url_of(ID, "us-east-1", asked_at=asked_at, **known) == url  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("host", "domain", "origin"),
    [
        (b"127.0.0.1:4566", "", f"http://{ID}.lambda-url.us-east-1.localhost:4566"),
        (b"[::1]:4566", "", f"http://{ID}.lambda-url.us-east-1.localhost:4566"),
        (b"localhost", "", f"http://{ID}.lambda-url.us-east-1.localhost"),
        (b"lambent:4566", "", None),
        (b"lambent:4566", "fn.example", f"http://{ID}.lambda-url.us-east-1.fn.example:4566"),
        (b"localhost:x/", "", None),
        (b"", "", None),
    ],
)
def test_where_pages_have_an_origin_of_their_own(host: bytes, domain: str, origin: str | None) -> None:
    assert origin_of(lambda below: host_of(ID, "us-east-1", below), host, "http", domain) == origin


def test_the_machines_resolver_is_asked_once_and_only_where_it_matters() -> None:
    asked = []

    def resolves() -> bool:
        asked.append(1)
        return True

    async def scenario(locator: Locator) -> str:
        await locator.prepare()
        await locator.prepare()
        return locator.url(ID, "us-east-1", "127.0.0.1:1", "http")

    found = asyncio.run(scenario(Locator(lambda: 1, resolves=resolves)))
    assert found == f"http://{ID}.lambda-url.us-east-1.localhost:1/"
    assert asked == [1]
    found = asyncio.run(scenario(Locator(lambda: 1, "a.b", resolves)))
    assert found == f"http://{ID}.lambda-url.us-east-1.a.b:1/"
    assert asked == [1]


def test_a_name_counts_as_resolving_only_when_it_leads_here(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[tuple[object, ...]] = [(2, 1, 6, "", ("127.0.0.1", 0)), (10, 1, 6, "", ("::1", 0, 0, 0))]
    monkeypatch.setattr(locating.socket, "getaddrinfo", lambda *_, **__: found)
    assert locating.resolves_here()
    found.append((2, 1, 6, "", ("192.0.2.1", 0)))
    assert not locating.resolves_here()

    def fails(*_: object, **__: object) -> None:
        raise OSError("no such name")

    monkeypatch.setattr(locating.socket, "getaddrinfo", fails)
    assert not locating.resolves_here()
    assert read_host(locating.PROBE.encode()) is not None
    assert addresses.DOMAIN == "localhost"
