"""A service of the REST-JSON protocol by a table of its own: what it says to those it can't serve."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.unit.api.doubles import Believing, Reply, request_of

from lambent.api.ports import Answer
from lambent.api.rest import HTTP_APIS_FILE, REST_BYTES_MAX, RestDoor
from lambent.api.running import Running
from lambent.domain.errors import InvalidParameterValue, Unauthenticated
from lambent.http import Buffered

CODES = {
    "ValidationException": ("BadRequestException", 400),
    "InvalidParameterValueException": ("BadRequestException", 400),
}


class World:
    def __init__(self, at_most: int = 10) -> None:
        self.authenticator = Believing()
        self.running = Running(at_most)
        self.door = RestDoor("apigatewayv2", HTTP_APIS_FILE, self.authenticator, self.running, CODES, "not here")  # type: ignore[arg-type]
        self.seen: list[dict[str, Any]] = []
        self.error: Exception | None = None
        self.door.register("CreateApi", self.create)

    async def create(self, caller: Any, values: dict[str, Any]) -> Answer:
        self.seen.append(values)
        if self.error is not None:
            raise self.error
        return Answer(
            {"ApiId": "a", "CreatedDate": "2026-01-01T00:00:00Z", "Tags": {"k": "v"}}, headers=[(b"x-one", b"1")]
        )

    async def ask(self, method: str, target: str, body: bytes = b"") -> Reply:
        reply = Reply(request_of(method, target, {"host": "h"}, body))
        wanted = self.door.head(reply)  # type: ignore[arg-type]
        if wanted is not None:
            self.door.handle(reply)  # type: ignore[arg-type]
            await asyncio.wait_for(reply.answered.wait(), 5)
        return reply


async def test_members_have_the_names_of_the_wire() -> None:
    world = World()
    reply = await world.ask("POST", "/v2/apis", b'{"name":"n","protocolType":"HTTP","corsConfiguration":{"maxAge":3}}')
    assert (reply.status, reply.headers[b"x-one"]) == (201, b"1")
    assert reply.json == {"apiId": "a", "createdDate": "2026-01-01T00:00:00Z", "tags": {"k": "v"}}
    assert world.seen == [{"Name": "n", "ProtocolType": "HTTP", "CorsConfiguration": {"MaxAge": 3}}]
    assert reply.headers[b"content-type"] == b"application/json"


@pytest.mark.parametrize(
    ("method", "target", "body", "status", "code"),
    [
        ("POST", "/v2/apis", b"{}", 400, b"BadRequestException"),
        ("POST", "/v2/apis", b"no", 400, b"SerializationException"),
        ("GET", "/v2/apis", b"", 501, b"NotImplementedException"),
        ("GET", "/restapis", b"", 501, b"NotImplementedException"),
        ("PUT", "/v2/apis/a/routes", b"", 405, b"UnknownOperationException"),
    ],
)
async def test_what_is_refused(method: str, target: str, body: bytes, status: int, code: bytes) -> None:
    reply = await World().ask(method, target, body)
    assert (reply.status, reply.headers[b"x-amzn-errortype"]) == (status, code)
    assert reply.json["message"]


async def test_errors_have_the_codes_of_the_service() -> None:
    world = World()
    world.error = InvalidParameterValue("bad")
    reply = await world.ask("POST", "/v2/apis", b'{"name":"n","protocolType":"HTTP"}')
    assert (reply.status, reply.headers[b"x-amzn-errortype"], reply.json) == (
        400,
        b"BadRequestException",
        {"message": "bad"},
    )

    def refuse() -> None:
        raise Unauthenticated("InvalidSignatureException", "no")

    world.authenticator.verdict = refuse
    reply = await world.ask("POST", "/v2/apis", b"{}")
    assert (reply.status, reply.headers[b"x-amzn-errortype"]) == (403, b"InvalidSignatureException")


async def test_a_body_has_a_bound() -> None:
    world = World()
    reply = Reply(request_of("POST", "/v2/apis", {"host": "h"}))
    assert world.door.head(reply) == Buffered(REST_BYTES_MAX) == Buffered(8_388_608)  # type: ignore[arg-type]
    world.door.too_large(reply, REST_BYTES_MAX, None)  # type: ignore[arg-type]
    assert reply.status == 413


async def test_more_than_may_run_are_throttled() -> None:
    reply = await World(at_most=0).ask("POST", "/v2/apis", b"{}")
    assert reply.status == 429


def test_what_is_registered_is_known_and_free() -> None:
    world = World()
    for operation in ("CreateApi", "Nothing"):
        with pytest.raises(ValueError, match=operation):
            world.door.register(operation, world.create)
    assert world.door.operations_served == ["CreateApi"]
