"""Which event invoke configuration rules an event: that of the qualifier as the caller wrote it, as it is now."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.unit.functions.house import House, code, ref, wanted

from lambent.assembly.events import EventAttempts
from lambent.functions.model import Alias, EventInvoke, Function
from lambent.invocations.retry import EventPolicy

QUEUE = "arn:aws:sqs:us-east-1:123456789012:q"
TARGET = "arn:aws:lambda:us-east-1:123456789012:function:other"


def configured(function: Function) -> Function:
    return replace(
        function,
        aliases={"live": Alias("live", "1", "r")},
        event_invokes={
            "$LATEST": EventInvoke(1, retries=0, on_failure=TARGET),
            "1": EventInvoke(1, age_s=60),
            "live": EventInvoke(1, retries=1, age_s=90, on_success=TARGET),
        },
    )


def test_each_qualifier_is_ruled_by_its_own_configuration() -> None:
    house = House()
    unused: Any = None
    attempts = EventAttempts(house.functions, unused, house.clock, unused)

    async def scenario() -> None:
        await house.functions.create(ref(), wanted(dead_letter_arn=QUEUE), code(), publish=True)
        assert attempts.policy(ref(), None) == EventPolicy(dead_letter=QUEUE)
        await house.functions.close()
        await house.functions.change(ref(), configured)
        latest = EventPolicy(retries_max=0, on_failure=TARGET, dead_letter=QUEUE)
        assert attempts.policy(ref(), None) == attempts.policy(ref(), "$LATEST") == latest
        assert attempts.policy(ref(), "1") == EventPolicy(age_max_s=60, dead_letter=QUEUE)
        live = replace(attempts.policy(ref(), "live"), dead_letter=None)
        assert live == EventPolicy(retries_max=1, age_max_s=90, on_success=TARGET)
        assert attempts.policy(ref(), "gone") == EventPolicy()
        await house.functions.change(ref(), lambda function: replace(function, event_invokes={}))
        assert attempts.policy(ref(), None) == EventPolicy(dead_letter=QUEUE)
        await house.functions.delete(ref())
        assert attempts.policy(ref(), None) == EventPolicy()

    house.run(scenario())


def test_loops_are_allowed_by_the_function_alone() -> None:
    house = House()
    unused: Any = None
    attempts = EventAttempts(house.functions, unused, house.clock, unused)

    async def scenario() -> None:
        assert not attempts.may_loop(ref())
        await house.functions.create(ref(), wanted(), code())
        assert not attempts.may_loop(ref())
        await house.functions.change(ref(), lambda function: replace(function, recursive_loop="Allow"))
        assert attempts.may_loop(ref())

    house.run(scenario())
