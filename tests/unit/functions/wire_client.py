"""Speaks to a public door over a house; a test registers the resources that it is about."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import orjson
from tests.unit.api.doubles import Believing, Reply, send
from tests.unit.functions.house import House, code, ref, wanted

from lambent.api.door import PublicDoor
from lambent.domain.names import FunctionRef
from lambent.functions.model import Alias, Function

ARN = "arn:aws:lambda:us-east-1:123456789012:function:fn"
MISMATCH = (
    "InvalidParameterValueException",
    "The derived qualifier from the function name does not match the specified qualifier.",
)
FOREIGN = ARN.replace("123456789012", "999999999999")
ELSEWHERE = (
    "ResourceNotFoundException",
    "Functions from 'eu-west-1' are not reachable in this region ('us-east-1')",
)
Scenario = Callable[["WireClient"], Awaitable[None]]


class WireClient:
    """One door over one house."""

    def __init__(self, house: House, register: Callable[[PublicDoor, House], None]) -> None:
        self.house = house
        self.door = PublicDoor(Believing())
        register(self.door, house)

    async def __call__(self, method: str, path: str, document: Any = None, status: int = 200) -> Any:
        """The answer's document; of a refusal its code and message."""
        body = b"" if document is None else orjson.dumps(document)
        reply: Reply = await send(self.door, method, path, {}, body)
        assert reply.status == status, reply.body
        if status < 400:
            return reply.json if reply.body else None
        members = reply.json
        # Clients' typed exceptions have Type; the model's constraints have none.
        assert ("Type" in members) == (reply.headers[b"x-amzn-errortype"] not in _UNTYPED)
        return reply.headers[b"x-amzn-errortype"].decode(), members.get("message", members.get("Message"))

    async def create(self, name: str = "fn", *, at: FunctionRef | None = None, **members: Any) -> FunctionRef:
        """An active function with version 1 and the alias `live`."""
        function_ref = at or ref(name)
        await self.house.functions.create(function_ref, wanted(**members), code(), publish=True)
        await self.house.functions.close()

        def with_alias(function: Function) -> Function:
            return replace(function, aliases={"blue": Alias("blue", "1", "r"), "live": Alias("live", "1", "r")})

        await self.house.functions.change(function_ref, with_alias)
        return function_ref


_UNTYPED = (b"ValidationException", b"AccessDeniedException")


def run(house: House, register: Callable[[PublicDoor, House], None], scenario: Scenario) -> None:
    """Run a scenario to its end, everything settled."""

    async def session() -> None:
        await scenario(WireClient(house, register))

    house.run(session())
