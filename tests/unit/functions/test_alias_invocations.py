"""The invoke door and aliases: who draws, how often, and who may; other accounts through the resource policy."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from tests.unit.api.doubles import Reply, Someone, request_of
from tests.unit.functions.house import House, code, ref, wanted

from lambent.api.resources.invoke import InvokeDoor
from lambent.api.resources.names import authorise
from lambent.domain.errors import AccessDenied, FunctionNotFound
from lambent.domain.names import Scope
from lambent.functions.aliases import created
from lambent.functions.model import Policy
from lambent.functions.service import Functions
from lambent.invocations.payload import INLINE_BYTES_MAX

GUEST = "999999999999"
ARN = ref().arn()


class Door:
    """A door over a house whose alias `live` halves between versions 1 and 2; what it hands on is kept."""

    def __init__(self, house: House, *draws: float) -> None:
        self.draws = list(draws)
        self.started: list[Any] = []
        self.accepted: list[tuple[Any, ...]] = []
        self.works: list[Any] = []
        self.functions: Functions = house.open(random=lambda: self.draws.pop(0))
        self.door = InvokeDoor(
            versions=self.functions,
            invocations=SimpleNamespace(start=self.started.append),  # type: ignore[arg-type]
            events=self,
            clock=house.clock,
            supervise=lambda work, name: self.works.append(work),
        )

    async def accept(self, *event: Any, **members: Any) -> None:
        self.accepted.append(event)

    async def prepare(self) -> None:
        await self.functions.create(ref(), wanted(), code("a"), publish=True)
        await self.functions.update_code(ref(), code("b"), publish=True)
        await self.functions.close()
        await self.functions.change(
            ref(),
            lambda function: created(
                function, "live", version="1", description="", weights={"2": 0.5}, new_revision=lambda: "r"
            ),
        )

    async def invoke(self, body: bytes = b"{}", account: str = ref().account, **params: str) -> Reply:
        reply: Any = Reply(request_of("POST", "/", {}, body))
        reply.context = SimpleNamespace(request_id="id")
        caller: Any = Someone("lambda", Scope(account, "us-east-1"), arn=f"arn:aws:iam::{account}:root")
        self.door.handle(reply, caller, "Invoke", {"FunctionName": ARN, "Qualifier": "live", **params})
        while self.works:
            await self.works.pop()
        return reply  # type: ignore[no-any-return]


@pytest.mark.parametrize("body", [b"{}", b'"' + b"x" * INLINE_BYTES_MAX + b'"'])
def test_an_invocation_draws_once_also_when_its_payload_is_checked_elsewhere(house: House, body: bytes) -> None:
    async def scenario() -> None:
        door = Door(house, 0.1, 0.9)
        await door.prepare()
        await door.invoke(body)
        assert door.draws == [0.9]
        await door.invoke(body)
        assert [one.version.version for one in door.started] == ["2", "1"]
        assert {one.qualifier for one in door.started} == {"live"}

    house.run(scenario())


def test_an_event_is_taken_for_its_qualifier_and_a_dry_run_for_nothing(house: House) -> None:
    async def scenario() -> None:
        door = Door(house)
        await door.prepare()
        assert (await door.invoke(InvocationType="Event")).status == 202
        assert door.accepted == [(ref(), "live")]
        for body in (b"{}", b'"' + b"x" * INLINE_BYTES_MAX + b'"'):
            assert (await door.invoke(body, InvocationType="DryRun")).status == 204
        assert (door.started, len(door.accepted)) == ([], 1)

    house.run(scenario())


def test_another_account_is_refused_before_anything_else_about_its_request(house: House) -> None:
    async def scenario() -> None:
        door = Door(house, 0.9, 0.9, 0.9)
        await door.prepare()
        for members in ({}, {"InvocationType": "Event"}, {"ClientContext": "not base64"}):
            reply = await door.invoke(account=GUEST, **members)
            assert (reply.status, reply.json) == (
                403,
                {
                    "Message": f"User: arn:aws:iam::{GUEST}:root is not authorized to perform: lambda:InvokeFunction on "
                    f"resource: {ARN}:live because no resource-based policy allows the lambda:InvokeFunction action"
                },
            )
        assert (await door.invoke(account=GUEST, Qualifier="nope")).status == 404
        allow = {"Effect": "Allow", "Principal": {"AWS": GUEST}, "Action": "lambda:*", "Resource": f"{ARN}:live"}
        await door.functions.change(
            ref(), lambda function: replace(function, policies={"live": Policy("r", {"Statement": [allow]})})
        )
        await door.invoke(account=GUEST)
        assert [one.version.version for one in door.started] == ["1"]

    house.run(scenario())


ALLOW = {"Effect": "Allow", "Principal": {"AWS": GUEST}, "Action": "lambda:GetFunction"}


@pytest.mark.parametrize(
    ("key", "statement", "qualifier", "is_allowed"),
    [
        ("", {"Resource": ARN}, None, True),
        ("", {"Resource": ARN}, "$LATEST", True),
        ("", {"Resource": ARN}, "1", False),
        ("", {"Resource": f"{ARN}:*"}, "1", True),
        ("", {"Resource": f"{ARN}:*"}, None, False),
        ("1", {"Resource": f"{ARN}:1"}, "1", True),
        ("1", {"Resource": f"{ARN}:1"}, "live", False),
        ("1", {"Resource": f"{ARN}:1"}, None, False),
        ("", {"Resource": ARN, "Action": "lambda:InvokeFunction"}, None, False),
        ("", {"Resource": ARN, "Principal": {"AWS": "888888888888"}}, None, False),
        ("", {"Resource": ARN, "Condition": {"ArnLike": {"AWS:SourceArn": "arn:aws:s3:::b"}}}, None, False),
        ("", {"Resource": ARN, "Condition": {"StringEquals": {"aws:RequestedRegion": "us-east-1"}}}, None, True),
        ("", {"Resource": ARN, "Condition": {"Bool": {"lambda:InvokedViaFunctionUrl": "true"}}}, None, False),
    ],
)
def test_the_policy_of_the_target_decides_about_another_account(
    house: House, key: str, statement: Any, qualifier: str | None, is_allowed: bool
) -> None:
    async def scenario() -> None:
        door = Door(house)
        await door.prepare()
        caller: Any = Someone("lambda", Scope(GUEST, "us-east-1"), arn=f"arn:aws:iam::{GUEST}:root")
        with pytest.raises(AccessDenied, match="because no resource-based policy allows the lambda:GetFunction action"):
            authorise(door.functions, caller, ref(), "GetFunction", qualifier)
        policy = Policy("r", {"Statement": [{**ALLOW, **statement}]})
        await door.functions.change(ref(), lambda function: replace(function, policies={key: policy}))
        if is_allowed:
            authorise(door.functions, caller, ref(), "GetFunction", qualifier)
        else:
            with pytest.raises(AccessDenied):
                authorise(door.functions, caller, ref(), "GetFunction", qualifier)
        with pytest.raises(FunctionNotFound):
            authorise(door.functions, caller, ref("nope"), "GetFunction", qualifier)

    house.run(scenario())
