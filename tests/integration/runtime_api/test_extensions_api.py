"""The Extensions API over a real listener: what goes over the wire, in order and in form."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.integration.http.http_world import Client, Reply
from tests.integration.runtime_api.runtime_world import an_event
from tests.integration.runtime_api.test_http_door import Place, error_of

from lambent.environments.channel import ExtensionFacts
from lambent.runtime_api.extensions import EXTENSION_BODY_BYTES_MAX, ExtensionsChannel

OnLoop = Callable[[Callable[[], Awaitable[Any]]], None]
FACTS = ExtensionFacts("123456789012", "f", "7", "app.handler")


class Sink:
    """Counts what an environment would hear."""

    def __init__(self) -> None:
        self.moved = self.failed = 0

    def extension_moved(self) -> None:
        self.moved += 1

    def extension_failed(self) -> None:
        self.failed += 1


def request(method: str, path: str, body: bytes = b"", **fields: str) -> bytes:
    lines = [f"{method} /2020-01-01/extension{path} HTTP/1.1", "Host: a", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def following(identifier: str) -> bytes:
    return request("GET", "/event/next", Lambda_Extension_Identifier=identifier)


async def opened(place: Place, *external: str) -> tuple[ExtensionsChannel, Sink, Client]:
    sink = Sink()
    return place.door.open_extensions(sink, FACTS, external), sink, await place.client()


async def registered(client: Client, name: str, *events: str, **fields: str) -> tuple[str, Reply]:
    client.send(
        request("POST", "/register", json.dumps({"events": events}).encode(), Lambda_Extension_Name=name, **fields)
    )
    reply = await client.reply()
    return reply[1].get(b"lambda-extension-identifier", b"").decode(), reply


async def until(what: Callable[[], bool]) -> None:
    """Other tasks of this loop run until this is true."""
    for _ in range(10_000):
        if what():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("it never became true")


def test_registration_tells_of_the_function(on_loop: OnLoop) -> None:
    async def scenario() -> None:
        async with Place() as place:
            channel, sink, client = await opened(place, "watcher")
            identifier, (status, fields, body) = await registered(client, "watcher", "INVOKE", "SHUTDOWN")
            assert (status, fields[b"content-type"]) == (200, b"application/json")
            assert json.loads(body) == {"functionName": "f", "functionVersion": "7", "handler": "app.handler"}
            assert channel.roster.get("watcher").id == identifier
            _, (_, _, body) = await registered(
                client, "inside", "INVOKE", Lambda_Extension_Accept_Feature="x, accountId"
            )
            assert json.loads(body)["accountId"] == "123456789012"
            assert (channel.count, sink.moved) == (2, 2)

    on_loop(scenario)


def test_events_are_told_to_who_asks(on_loop: OnLoop) -> None:
    async def scenario() -> None:
        async with Place() as place:
            channel, _, client = await opened(place, "watcher")
            identifier, _ = await registered(client, "watcher", "INVOKE", "SHUTDOWN")
            client.send(following(identifier))
            await until(lambda: channel.is_ready)
            event = an_event("id-7", deadline_ms=676051, trace_id="Root=1-a;Sampled=1")
            channel.invoke(event)
            assert channel.is_busy
            status, fields, body = await client.reply()
            assert (status, fields[b"content-type"]) == (200, b"application/json")
            assert len(fields[b"lambda-extension-event-identifier"]) == 36
            assert json.loads(body) == {
                "eventType": "INVOKE",
                "deadlineMs": 676051,
                "requestId": "id-7",
                "invokedFunctionArn": event.invoked_arn,
                "tracing": {"type": "X-Amzn-Trace-Id", "value": "Root=1-a;Sampled=1"},
            }
            client.send(following(identifier))
            await until(lambda: not channel.is_busy)
            assert channel.shut_down("spindown", 99) == {"watcher"}
            status, fields, body = await client.reply()
            assert json.loads(body) == {"eventType": "SHUTDOWN", "shutdownReason": "spindown", "deadlineMs": 99}
            assert b"lambda-extension-event-identifier" not in fields

    on_loop(scenario)


def test_who_is_busy_hears_of_the_end_when_it_asks(on_loop: OnLoop) -> None:
    async def scenario() -> None:
        async with Place() as place:
            channel, _, client = await opened(place, "watcher", "deaf")
            one, _ = await registered(client, "watcher", "INVOKE", "SHUTDOWN")
            await registered(client, "deaf")
            client.send(following(one))
            await until(lambda: bool(channel._pollers))
            channel.invoke(an_event())
            await client.reply()
            assert channel.shut_down("timeout", 99) == {"watcher"}
            client.send(following(one))
            assert json.loads((await client.reply())[2])["shutdownReason"] == "timeout"

    on_loop(scenario)


def test_a_second_question_is_refused_while_one_waits(on_loop: OnLoop) -> None:
    async def scenario() -> None:
        async with Place() as place:
            channel, _, client = await opened(place, "watcher")
            identifier, _ = await registered(client, "watcher", "INVOKE")
            client.send(following(identifier))
            await until(lambda: channel.is_ready)
            other = await place.client()
            other.send(following(identifier))
            assert error_of(await other.reply()) == (
                403,
                "Extension.InvalidExtensionState",
                f"State transition from Ready to Ready failed for extension {identifier}."
                " Error: State transition is not allowed",
            )

    on_loop(scenario)


def test_an_event_for_who_has_hung_up_is_told_when_it_asks_again(on_loop: OnLoop) -> None:
    async def scenario() -> None:
        async with Place() as place:
            channel, _, client = await opened(place, "watcher")
            identifier, _ = await registered(client, "watcher", "INVOKE")
            client.send(following(identifier))
            await until(lambda: channel.is_ready)
            client.close()
            await until(lambda: not channel._pollers)
            channel.invoke(an_event("id-9"))
            assert channel.is_busy
            again = await place.client()
            again.send(following(identifier))
            assert json.loads((await again.reply())[2])["requestId"] == "id-9"
            assert channel.is_busy, "it was told, and works"

    on_loop(scenario)


@pytest.mark.parametrize(("path", "category"), [("init", "Extension.InitError"), ("exit", "Extension.ExitError")])
def test_an_error_is_heard_once_however_often_it_is_said(on_loop: OnLoop, path: str, category: str) -> None:
    async def scenario() -> None:
        async with Place() as place:
            channel, sink, client = await opened(place, "watcher")
            identifier, _ = await registered(client, "watcher", "INVOKE")
            for error_type in ("Extension.First", "Extension.Second"):
                client.send(
                    request(
                        "POST",
                        f"/{path}/error",
                        b'{"errorMessage":"m"}',
                        Lambda_Extension_Identifier=identifier,
                        Lambda_Extension_Function_Error_Type=error_type,
                    )
                )
                status, _, body = await client.reply()
                assert (status, body) == (202, b'{"status":"OK"}')
            assert channel.failure == (category, "extension watcher reported Extension.First")
            assert sink.failed == 1
            assert channel.statuses()[0].error_type == "Extension.First"
            client.send(following(identifier))
            assert error_of(await client.reply())[:2] == (403, "Extension.InvalidExtensionState")

    on_loop(scenario)


UNKNOWN = "11111111-2222-4333-8444-555555555555"
REFUSALS: list[tuple[bytes, int, str, str]] = [
    (request("POST", "/register", b"{}"), 403, "Extension.InvalidExtensionName", "Empty extension name"),
    (
        request("POST", "/register", b'{"events":["NEVER"]}', Lambda_Extension_Name="x"),
        403,
        "Extension.InvalidEventType",
        "NEVER: ErrorInvalidEventType",
    ),
    (
        request("GET", "/event/next"),
        403,
        "Extension.MissingExtensionIdentifier",
        "Missing Lambda-Extension-Identifier header",
    ),
    (following("x"), 403, "Extension.InvalidExtensionIdentifier", "Invalid Lambda-Extension-Identifier"),
    (following(UNKNOWN), 403, "Extension.UnknownExtensionIdentifier", f"Unknown extension {UNKNOWN}"),
    (
        request("POST", "/init/error", b"{}", Lambda_Extension_Identifier=UNKNOWN),
        403,
        "Extension.UnknownExtensionIdentifier",
        "Unknown Lambda-Extension-Identifier",
    ),
    (
        request("POST", "/exit/error", b"{}", Lambda_Extension_Identifier=UNKNOWN),
        403,
        "Extension.UnknownExtensionIdentifier",
        "Unknown Lambda-Extension-Identifier",
    ),
    (request("GET", "/register"), 405, "InvalidRequest", "The Runtime API does not take this method here"),
    (request("POST", "/event/next"), 405, "InvalidRequest", "The Runtime API does not take this method here"),
    (request("GET", "/nothing"), 404, "InvalidRequest", "The Runtime API has no such path"),
    (
        request("POST", "/register", b" " * (EXTENSION_BODY_BYTES_MAX + 1), Lambda_Extension_Name="x"),
        413,
        "RequestEntityTooLarge",
        f"Exceeded maximum allowed payload size ({EXTENSION_BODY_BYTES_MAX} bytes).",
    ),
]


@pytest.mark.parametrize(("sent", "status", "kind", "text"), REFUSALS)
def test_a_refusal_over_the_wire(on_loop: OnLoop, sent: bytes, status: int, kind: str, text: str) -> None:
    async def scenario() -> None:
        async with Place() as place:
            _, sink, client = await opened(place)
            client.send(sent)
            assert error_of(await client.reply()) == (status, kind, text)
            assert (sink.moved, sink.failed) == (0, 0)

    on_loop(scenario)


def test_an_error_without_a_type_is_refused(on_loop: OnLoop) -> None:
    async def scenario() -> None:
        async with Place() as place:
            _, sink, client = await opened(place, "watcher")
            identifier, _ = await registered(client, "watcher")
            client.send(request("POST", "/init/error", b"{}", Lambda_Extension_Identifier=identifier))
            assert error_of(await client.reply()) == (
                403,
                "Extension.MissingHeader",
                "Lambda-Extension-Function-Error-Type not found",
            )
            assert sink.failed == 0

    on_loop(scenario)


def test_without_a_life_nobody_registers_and_its_end_cuts_who_waits(on_loop: OnLoop) -> None:
    async def scenario() -> None:
        async with Place() as place:
            early = await place.client()
            early.send(request("POST", "/register", b"{}", Lambda_Extension_Name="x"))
            assert error_of(await early.reply())[1] == "Extension.RegistrationClosed"
            channel, sink, client = await opened(place, "watcher")
            identifier, _ = await registered(client, "watcher")
            client.send(following(identifier))
            await until(lambda: channel.is_ready)
            channel.close()
            channel.close()
            with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
                await client.reply()
            await registered(await place.client(), "late")
            assert sink.moved == 2

    on_loop(scenario)
