"""Whether the gateway may call a function: what policies say, and how long that is remembered."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from tests.contracts.test_function_store import function as stored_function

from lambent.domain.errors import FunctionNotFound, TooManyRequests
from lambent.domain.names import FunctionRef, Scope
from lambent.functions.model import Function, FunctionVersion, Policy
from lambent.gateway import integrations
from lambent.gateway.http_apis.model import Api
from lambent.gateway.integrations import Failed, Lambda, Throttled

REF = FunctionRef("123456789012", "us-east-1", "fn")
API = Api(scope=Scope("123456789012", "us-east-1"), api_id="abc", name="n", created_ms=1)
SOURCE = "arn:aws:execute-api:us-east-1:123456789012:abc/$default/GET/x"


def statement(effect: str = "Allow", service: str = "apigateway.amazonaws.com", **condition: Any) -> dict[str, Any]:
    given = {"Condition": condition} if condition else {}
    return {
        "Effect": effect,
        "Principal": {"Service": service},
        "Action": "lambda:InvokeFunction",
        "Resource": REF.arn(),
        **given,
    }


class World:
    def __init__(self, *statements: dict[str, Any]) -> None:
        self.function: Function | None = stored_function(REF)
        self.allow(*statements)
        self.asked = 0
        self.error: Exception | None = None
        self.lambda_ = Lambda(self, self)  # type: ignore[arg-type]

    def allow(self, *statements: dict[str, Any]) -> None:
        assert self.function is not None
        policies = {"": Policy("r", {"Version": "2012-10-17", "Statement": list(statements)})} if statements else {}
        self.function = replace(self.function, policies=policies)

    def get(self, ref: FunctionRef, qualifier: str | None = None) -> Function:
        if self.function is None or ref != REF:
            raise FunctionNotFound(ref.arn())
        return self.function

    async def active(self, ref: FunctionRef, qualifier: str | None) -> FunctionVersion:
        return self.get(ref).latest

    async def run(self, invocation: Any) -> Any:
        if self.error is not None:
            raise self.error
        return SimpleNamespace(body=invocation.body)

    async def call(self, uri: str = REF.arn(), source: str = SOURCE, credentials: str | None = None) -> bytes:
        result = await self.lambda_.call(API, uri, credentials, source, b"{}", "Root=1", 1.0)
        return result.body


@pytest.mark.parametrize(
    ("statements", "allowed"),
    [
        ([], False),
        ([statement()], True),
        ([statement(service="events.amazonaws.com")], False),
        ([statement(ArnLike={"AWS:SourceArn": SOURCE})], True),
        ([statement(ArnLike={"AWS:SourceArn": SOURCE + "/y"})], False),
        ([statement(StringEquals={"AWS:SourceAccount": "123456789012"})], True),
        ([statement(StringEquals={"AWS:SourceAccount": "210987654321"})], False),
        ([statement(Bool={"lambda:InvokedViaFunctionUrl": "true"})], False),
        ([statement(), statement("Deny", ArnLike={"AWS:SourceArn": SOURCE})], False),
        ([{**statement(), "Principal": "*"}], True),
        ([{**statement(), "Action": "lambda:GetFunction"}], False),
    ],
)
async def test_policies(statements: list[dict[str, Any]], allowed: bool) -> None:
    world = World(*statements)
    if allowed:
        assert await world.call() == b"{}"
        return
    with pytest.raises(Failed, match=r"does not let apigateway\.amazonaws\.com invoke it"):
        await world.call()


async def test_what_was_allowed_is_kept_with_its_function(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(statement())
    judged: list[str] = []
    judge = integrations.judge

    def counted(statements: Any, question: Any) -> Any:
        judged.append(question.context["aws:sourcearn"])
        return judge(statements, question)

    monkeypatch.setattr(integrations, "judge", counted)
    for _ in range(3):
        await world.call()
    assert len(judged) == 1
    world.allow()
    with pytest.raises(Failed):
        await world.call()
    world.allow(statement())
    for number in range(integrations.ALLOWED_MAX + 1):
        await world.call(source=f"{SOURCE}/{number}")
    assert len(world.lambda_._allowed) <= integrations.ALLOWED_MAX == 4_096


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("x", "x is no function's ARN"),
        (REF.arn().replace("us-east-1", "eu-west-1"), "is in another region than the API"),
        (REF.arn() + "2", "Function not found"),
    ],
)
async def test_what_can_not_be_called(uri: str, words: str) -> None:
    with pytest.raises(Failed, match=words):
        await World(statement()).call(uri)


async def test_a_role_stands_for_the_permission_in_its_own_account() -> None:
    world = World()
    assert await world.call(credentials="arn:aws:iam::123456789012:role/r") == b"{}"
    other = Api(scope=Scope("210987654321", "us-east-1"), api_id="abc", name="n", created_ms=1)
    with pytest.raises(Failed, match="another account's"):
        await world.lambda_.call(other, REF.arn(), "arn:aws:iam::210987654321:role/r", SOURCE, b"{}", "", 1.0)


async def test_throttles_are_told_apart() -> None:
    world = World(statement())
    world.error = TooManyRequests("ReservedFunctionConcurrentInvocationLimitExceeded")
    with pytest.raises(Throttled, match="ReservedFunctionConcurrentInvocationLimitExceeded"):
        await world.call()
