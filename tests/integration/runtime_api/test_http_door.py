"""The Runtime API over a real sandbox-like listener."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.integration.http.http_world import Client, Reply
from tests.integration.runtime_api.runtime_world import RememberingSink, an_event

from lambent.domain.clock import ManualClock
from lambent.domain.limits import INVOKE_RESPONSE_BYTES_MAX
from lambent.http import Buffered, Exchange, Reaper
from lambent.identity.model import SandboxOrigin
from lambent.runtime_api.http_channel import HttpChannel
from lambent.runtime_api.http_door import SandboxDoor

OnLoop = Callable[[Callable[[], Awaitable[Any]]], None]
API = b"/2018-06-01/runtime/"
ORIGIN = SandboxOrigin("env-1", "123456789012", "us-east-1")


class Platform:
    """Stands for the public door: answers with who called."""

    def head(self, exchange: Exchange) -> Buffered:
        return Buffered(1_000)

    def handle(self, exchange: Exchange) -> None:
        request = exchange.request
        exchange.respond(200, ((b"X-Environment", request.origin.environment.encode()),), b"platform " + request.path)

    def too_large(self, exchange: Exchange, limit: int, declared: int | None) -> None:
        exchange.respond(413)


class Place:
    """A door on a listener of the loopback, a channel, and clients."""

    def __init__(self, credentials: Callable[[str], bytes | None] | None = None) -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        self.address = listener.getsockname()
        self.door = SandboxDoor(Platform(), ORIGIN, credentials=credentials)
        clock = ManualClock()
        self.door.start(listener, clock, Reaper(clock, 3_600.0))
        self.clients: list[Client] = []
        self.sink = RememberingSink()
        self.channel: HttpChannel = self.door.open_channel(self.sink)

    async def client(self) -> Client:
        client = Client(*await asyncio.open_connection(*self.address))
        self.clients.append(client)
        return client

    async def __aenter__(self) -> Place:
        return self

    async def __aexit__(self, *_exc: object) -> None:
        for client in self.clients:
            client.close()
        self.door.close()
        for _ in range(3):
            await asyncio.sleep(0.005)  # transports close in a later turn of the loop


def get(path: bytes) -> bytes:
    return b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % path


NEXT = get(API + b"invocation/next")


def post(path: bytes, body: bytes, *fields: bytes) -> bytes:
    head = b"POST %b%b HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n" % (API, path, len(body))
    return head + b"".join(field + b"\r\n" for field in fields) + b"\r\n" + body


def error_of(reply: Reply) -> tuple[int, str, str]:
    status, fields, body = reply
    assert fields[b"content-type"] == b"application/json"
    document = json.loads(body)
    assert set(document) == {"errorMessage", "errorType"}
    return status, document["errorType"], document["errorMessage"]


async def running(place: Place, **changes: Any) -> tuple[Client, dict[bytes, bytes]]:
    """A runtime that was given an event."""
    client = await place.client()
    client.send(NEXT)
    await place.sink.after(len(place.sink.calls) + 1)
    place.channel.dispatch(an_event(**changes))
    status, fields, body = await client.reply()
    assert (status, body) == (200, changes.get("body", b'{"a":1}'))
    return client, fields


def test_the_whole_of_an_invocation(on_loop: OnLoop) -> None:
    async def scenario() -> None:
        async with Place() as place:
            client, fields = await running(place)
            assert {
                name: value for name, value in fields.items() if name.startswith((b"lambda-", b"content-type"))
            } == {
                b"content-type": b"application/json",
                b"lambda-runtime-aws-request-id": b"id-1",
                b"lambda-runtime-deadline-ms": b"1764100003000",
                b"lambda-runtime-invoked-function-arn": b"arn:aws:lambda:us-east-1:123456789012:function:f",
                b"lambda-runtime-invocation-id": fields[b"lambda-runtime-invocation-id"],
            }
            echo = b"Lambda-Runtime-Invocation-Id: " + fields[b"lambda-runtime-invocation-id"]
            client.send(post(b"invocation/id-1/response", b"[1]", b"Content-Type: application/json", echo) + NEXT)
            status, _, body = await client.reply()
            assert (status, body) == (202, b'{"status":"OK"}')
            assert await place.sink.after(3) == [
                ("ready",),
                ("response", "id-1", "application/json", b"[1]"),
                ("ready",),
            ]
            place.channel.dispatch(
                an_event(
                    "id-2",
                    client_context='{"a":\n"b"}',
                    cognito_identity="{}",
                    trace_id="Root=1",
                    tenant_id="t",
                    content_type="",
                )
            )
            _, fields, _ = await client.reply()
            assert fields[b"lambda-runtime-client-context"] == b'{"a": "b"}'
            assert fields[b"lambda-runtime-cognito-identity"] == b"{}"
            assert fields[b"lambda-runtime-trace-id"] == b"Root=1"
            assert fields[b"lambda-runtime-aws-tenant-id"] == b"t"
            assert fields[b"content-type"] == b"application/json"

    on_loop(scenario)


def test_refusals(on_loop: OnLoop) -> None:
    async def scenario() -> None:
        async with Place() as place:
            client = await place.client()
            invalid_id = (400, "InvalidRequestID", "Invalid request ID")
            client.send(post(b"invocation/id-1/response", b"1"))
            assert error_of(await client.reply()) == invalid_id
            client, _fields = await running(place)
            for path in (b"invocation/id-9/response", b"invocation/id-9/error"):
                client.send(post(path, b"1"))
                assert error_of(await client.reply()) == invalid_id
            client.send(post(b"invocation/id-1/response", b"1", b"Lambda-Runtime-Invocation-Id: other"))
            assert error_of(await client.reply())[:2] == (400, "InvalidInvocationId")
            client.send(post(b"init/error", b"{}"))
            assert error_of(await client.reply()) == (
                403,
                "InvalidStateTransition",
                "State transition from Running to InitError failed for runtime. Error: State transition is not allowed",
            )
            client.send(post(b"invocation/id-1/response", b"1"))
            assert (await client.reply())[0] == 202
            client.send(post(b"invocation/id-1/response", b"1"))
            assert error_of(await client.reply())[:2] == (403, "InvalidStateTransition")
            client.send(get(API + b"restore/next"))
            assert error_of(await client.reply())[0] == 404
            client.send(post(b"restore/error", b"{}"))
            assert error_of(await client.reply())[0] == 404
            client.send(get(API + b"nothing"))
            assert error_of(await client.reply())[0] == 404
            client.send(post(b"invocation/next", b""))
            assert error_of(await client.reply())[0] == 405
            client.send(get(b"/2018-06-01/ping"))
            assert (await client.reply())[0] == 200
            assert [call[0] for call in place.sink.calls] == ["ready", "response"]

    on_loop(scenario)


def test_errors_are_normalised_and_causes_stripped(on_loop: OnLoop) -> None:
    async def scenario() -> None:
        async with Place() as place:
            for fields, body, expected in (
                ((b"Lambda-Runtime-Function-Error-Type: Runtime.Bad",), b"not json", ("Runtime.Bad", b"not json")),
                ((b"Lambda-Runtime-Function-Error-Type: ValueError",), b"{}", ("Runtime.Unknown", b"{}")),
                ((), b"{}", ("Runtime.Unknown", b"{}")),
                (
                    (b"Content-Type: application/vnd.aws.lambda.error.cause+json",),
                    b'{"errorMessage":"m","errorCause":{}}',
                    ("Runtime.Unknown", b'{"errorMessage":"m"}'),
                ),
            ):
                client, _ = await running(place)
                client.send(post(b"invocation/id-1/error", body, *fields))
                assert (await client.reply())[0] == 202
                assert place.sink.calls[-1] == ("error", "id-1", *expected)

    on_loop(scenario)


def test_init_error(on_loop: OnLoop) -> None:
    async def scenario() -> None:
        async with Place() as place:
            client = await place.client()
            client.send(
                post(
                    b"init/error", b'{"errorMessage":"m"}', b"Lambda-Runtime-Function-Error-Type: Runtime.NoSuchHandler"
                )
            )
            assert (await client.reply())[0] == 202
            assert place.sink.calls == [("init_error", "Runtime.NoSuchHandler", b'{"errorMessage":"m"}')]
            client.send(NEXT)
            assert error_of(await client.reply())[0] == 403

    on_loop(scenario)


def test_a_response_that_is_too_large(on_loop: OnLoop) -> None:
    async def scenario() -> None:
        async with Place() as place:
            size = INVOKE_RESPONSE_BYTES_MAX + 1
            client, _ = await running(place)
            client.send(post(b"invocation/id-1/response", b"x" * size))
            assert error_of(await client.reply()) == (
                413,
                "RequestEntityTooLarge",
                "Exceeded maximum allowed payload size (6291556 bytes).",
            )
            assert place.sink.calls[-1] == ("response_too_large", "id-1", size)
            client, _ = await running(place)  # the runtime is healthy
            client.send(post(b"invocation/id-1/response", b"x" * (size - 1)))
            assert (await client.reply())[0] == 202
            assert len(place.sink.calls[-1][3]) == size - 1

    on_loop(scenario)


def test_truncated_responses(on_loop: OnLoop) -> None:
    async def scenario() -> None:
        async with Place() as place:
            client, _ = await running(place)
            client.send(post(b"invocation/id-1/response", b"12345")[:-1])
            client.writer.write_eof()
            assert error_of(await client.reply()) == (400, "TruncatedHTTPRequest", "HTTP request detected as truncated")
            assert place.sink.calls[-1] == ("response_refused", "id-1", "Runtime.TruncatedResponse")
            assert [call[0] for call in place.sink.calls].count("response_refused") == 1
            client, _ = await running(place)
            client.send(
                b"POST %binvocation/id-1/response HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n" % API
            )
            assert (await client.reply())[0] == 400
            assert place.sink.calls[-1] == ("response_refused", "id-1", "Runtime.TruncatedResponse")

    on_loop(scenario)


def test_next_while_running_gives_the_same_event_again(on_loop: OnLoop) -> None:
    async def scenario() -> None:
        async with Place() as place:
            client, first = await running(place)
            client.send(NEXT)
            _, again, body = await client.reply()
            assert body == b'{"a":1}'
            assert again[b"lambda-runtime-invocation-id"] == first[b"lambda-runtime-invocation-id"]
            assert place.sink.calls == [("ready",)]

    on_loop(scenario)


def test_a_runtime_that_asks_on_the_heels_of_its_result_is_heard_after_it(on_loop: OnLoop) -> None:
    async def scenario() -> None:
        async with Place() as place:
            client, _ = await running(place)
            client.send(post(b"invocation/id-1/response", b"42") + NEXT)
            status, _, _ = await client.reply()
            assert status == 202
            calls = await place.sink.after(3)
            assert [call[0] for call in calls] == ["ready", "response", "ready"]
            place.channel.dispatch(an_event("id-2"))
            _, fields, _ = await client.reply()
            assert fields[b"lambda-runtime-aws-request-id"] == b"id-2"

    on_loop(scenario)


@pytest.mark.parametrize("ending", ["eof", "reset"])
def test_a_poller_that_died_swallows_no_event(on_loop: OnLoop, ending: str) -> None:
    async def scenario() -> None:
        async with Place() as place:
            dead, alive = await place.client(), await place.client()
            dead.send(NEXT)
            await place.sink.after(1)
            alive.send(NEXT)
            while len(place.channel._pollers) < 2:  # noqa: ASYNC110
                await asyncio.sleep(0)
            if ending == "eof":
                dead.writer.write_eof()
            else:
                dead.writer.transport.abort()
            while len(place.channel._pollers) > 1:  # noqa: ASYNC110
                await asyncio.sleep(0)
            place.channel.dispatch(an_event())
            assert (await alive.reply())[0] == 200
            assert place.sink.calls == [("ready",)], "two pollers make one runtime ready once"

    on_loop(scenario)


def test_an_event_without_a_living_poller_waits_for_the_next_one(on_loop: OnLoop) -> None:
    async def scenario() -> None:
        async with Place() as place:
            dead = await place.client()
            dead.send(NEXT)
            await place.sink.after(1)
            dead.writer.transport.abort()
            while place.channel._pollers:  # noqa: ASYNC110
                await asyncio.sleep(0)
            place.channel.dispatch(an_event())
            client = await place.client()
            client.send(NEXT)
            assert (await client.reply())[2] == b'{"a":1}'

    on_loop(scenario)


def test_late_answers_to_an_abandoned_invocation(on_loop: OnLoop) -> None:
    async def scenario() -> None:
        async with Place() as place:
            client, _ = await running(place)
            place.channel.abandon()
            client.send(post(b"invocation/id-1/response", b"late"))
            assert error_of(await client.reply())[:2] == (400, "InvalidRequestID")
            client.send(NEXT)
            assert await place.sink.after(2) == [("ready",), ("ready",)]

    on_loop(scenario)


def test_an_invocation_abandoned_while_its_answer_comes_in(on_loop: OnLoop) -> None:
    async def scenario() -> None:
        async with Place() as place:
            client, _ = await running(place)
            message = post(b"invocation/id-1/response", b"12345")
            client.send(message[:-1])
            while place.channel._machine.state.name != "RESPONSE":  # noqa: ASYNC110
                await asyncio.sleep(0)
            place.channel.abandon()
            client.send(message[-1:])
            assert error_of(await client.reply())[:2] == (400, "InvalidRequestID")
            assert place.sink.calls == [("ready",)]

    on_loop(scenario)


def test_a_closed_channel_cuts_its_pollers_and_a_new_life_begins(on_loop: OnLoop) -> None:
    async def scenario() -> None:
        async with Place() as place:
            old = await place.client()
            old.send(NEXT)
            await place.sink.after(1)
            place.channel.close()
            assert await old.ended() == b""
            client = await place.client()
            client.send(NEXT)
            assert error_of(await client.reply())[0] == 403
            place.sink = RememberingSink()
            place.channel = place.door.open_channel(place.sink)
            await running(place)

    on_loop(scenario)


def test_everything_else_is_the_platforms(on_loop: OnLoop) -> None:
    async def scenario() -> None:
        async with Place() as place:
            client = await place.client()
            signed = b"Authorization: AWS4-HMAC-SHA256 Credential=a/20251125/us-east-1/lambda/aws4_request\r\n"
            for message, path in (
                (get(b"/2015-03-31/functions/"), b"/2015-03-31/functions/"),
                (
                    b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: a\r\n" + signed + b"\r\n",
                    API + b"invocation/next",
                ),
                (get(b"/2020-01-01/extension/x?X-Amz-Algorithm=AWS4-HMAC-SHA256"), b"/2020-01-01/extension/x"),
            ):
                client.send(message)
                status, fields, body = await client.reply()
                assert (status, body, fields[b"x-environment"]) == (200, b"platform " + path, b"env-1")

    on_loop(scenario)


def test_what_is_not_served_says_so(on_loop: OnLoop) -> None:
    async def scenario() -> None:
        async with Place() as place:
            client = await place.client()
            for method, path, status, kind in (
                (b"PUT", b"/2022-07-01/telemetry", 202, "Telemetry.NotSupported"),
                (b"PUT", b"/2020-08-15/logs", 202, "Logs.NotSupported"),
            ):
                client.send(b"%b %b HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}" % (method, path))
                assert error_of(await client.reply())[:2] == (status, kind)

    on_loop(scenario)


def test_closing_a_door_before_it_opened_leaves_nothing(on_loop: OnLoop) -> None:
    async def scenario() -> None:
        for turns in range(4):
            place = Place()
            for _ in range(turns):
                await asyncio.sleep(0)
            place.door.close()
            place.door.close()
            await asyncio.sleep(0.01)
            with pytest.raises(OSError):
                await place.client()

    on_loop(scenario)


# --- under SnapStart -------------------------------------------------------------------------------------------------


def only(token: str) -> bytes | None:
    return b'{"Token":"t"}' if token == "right" else None


def test_a_runtime_is_restored_as_soon_as_it_asks(on_loop: OnLoop) -> None:
    """No copy is made of it: its hooks run before and after, as the client defines them."""

    async def scenario() -> None:
        async with Place(only) as place:
            client = await place.client()
            client.send(get(API + b"restore/next"))
            status, _, body = await client.reply()
            assert (status, body) == (200, b"")
            client.send(get(API + b"restore/next"))
            assert error_of(await client.reply()) == (
                403,
                "InvalidStateTransition",
                "State transition from Restoring to RestoreReady failed for runtime. "
                "Error: State transition is not allowed",
            )
            await running(place)

    on_loop(scenario)


def test_a_hook_after_the_restore_that_fails_is_told(on_loop: OnLoop) -> None:
    async def scenario() -> None:
        async with Place(only) as place:
            client = await place.client()
            client.send(post(b"restore/error", b"{}"))
            assert error_of(await client.reply())[:2] == (403, "InvalidStateTransition")
            client.send(get(API + b"restore/next"))
            await client.reply()
            kind = b"Lambda-Runtime-Function-Error-Type: Runtime.AfterRestoreError"
            client.send(post(b"restore/error", b'{"errorType":"X"}', kind))
            status, _, body = await client.reply()
            assert (status, body) == (202, b'{"status":"OK"}')
            assert place.sink.calls == [("init_error", "Runtime.AfterRestoreError", b'{"errorType":"X"}')]

    on_loop(scenario)


def test_credentials_are_for_who_shows_the_token_and_their_connection_ends(on_loop: OnLoop) -> None:
    """An open connection would keep a process from being copied, and SDKs keep those that they may."""

    async def scenario() -> None:
        async with Place(only) as place:
            for token, expected in ((b"right", (200, b'{"Token":"t"}')), (b"wrong", (404, None)), (b"", (404, None))):
                client = await place.client()
                client.send(b"GET /2021-04-23/credentials HTTP/1.1\r\nHost: a\r\nAuthorization: %b\r\n\r\n" % token)
                status, fields, body = await client.reply()
                assert (status, body if status == 200 else None) == expected
                assert fields[b"connection"] == b"close"
            client = await place.client()
            client.send(b"POST /2021-04-23/credentials HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
            assert (await client.reply())[0] == 405
        async with Place() as place:  # nobody's SnapStart: the path is the platform's
            client = await place.client()
            client.send(get(b"/2021-04-23/credentials"))
            assert (await client.reply())[2] == b"platform /2021-04-23/credentials"

    on_loop(scenario)
