"""The configurations themselves: order, restart, tags, and deletion against attachment; which one a function has."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest
from tests.unit.functions.house import House, code, ref, wanted
from tests.unit.signing.signing_world import JOB, OTHER_PROFILE, PROFILE

from lambent.domain.clock import ManualClock
from lambent.domain.documents import Key
from lambent.domain.errors import (
    CodeSigningConfigNotFound,
    InvalidParameterValue,
    ResourceConflict,
    ResourceNotFound,
)
from lambent.domain.names import Scope
from lambent.functions.code_signing import attached, detached
from lambent.functions.model import Function
from lambent.signing.model import decode, encode
from lambent.signing.service import SigningConfigs
from lambent.signing.trust import file_name, job_arn
from lambent.stores.documents_memory import MemoryDocuments

SCOPE = Scope("123456789012", "us-east-1")


class Desk:
    """One service over a store that outlives it."""

    def __init__(self) -> None:
        self.store = MemoryDocuments()
        self.clock = ManualClock()
        self.attached: set[str] = set()
        self.configs = self.open()

    def open(self) -> SigningConfigs:
        self.configs = SigningConfigs(self.store, self.clock, is_attached=lambda arn: arn in self.attached)
        return self.configs

    async def new(self, scope: Scope = SCOPE) -> str:
        return (await self.configs.create(scope, (PROFILE,))).arn


def run(scenario: Callable[[Desk], Awaitable[None]]) -> None:
    asyncio.run(scenario(Desk()))  # type: ignore[arg-type]


def test_ids_sort_in_the_order_of_creation_also_when_the_clock_goes_back_and_after_a_restart() -> None:
    async def scenario(desk: Desk) -> None:
        made = [await desk.new() for _ in range(40)]
        desk.clock.jump_wall(-3_600)
        made.append(await desk.new())
        desk.open()
        made.append(await desk.new())
        assert made == sorted(set(made))
        assert [one.arn for one in desk.configs.page(SCOPE, "", 100)] == made

    run(scenario)


def test_what_was_answered_is_there_after_a_restart() -> None:
    async def scenario(desk: Desk) -> None:
        made = await desk.configs.create(
            SCOPE, (PROFILE, OTHER_PROFILE), policy="Enforce", description="d", tags={"a": "b"}
        )
        assert desk.open().get(made.arn, SCOPE) == made
        assert decode(made.key, encode(made)) == made

    run(scenario)


def test_a_configuration_is_seen_from_its_own_account_and_region_alone() -> None:
    async def scenario(desk: Desk) -> None:
        arn = await desk.new()
        for other in (Scope("210987654321", "us-east-1"), Scope("123456789012", "eu-west-1")):
            assert desk.configs.find(arn, other) is None
            assert desk.configs.page(other, "", 9) == []
            with pytest.raises(ResourceNotFound):
                await desk.configs.delete(arn, other)
        assert desk.configs.find(arn, SCOPE) is not None

    run(scenario)


def test_tags_are_changed_by_a_decision_and_go_with_the_configuration() -> None:
    async def scenario(desk: Desk) -> None:
        arn = await desk.new()
        assert desk.configs.tags(arn, SCOPE) == {}
        await desk.configs.change_tags(arn, SCOPE, lambda tags: {**tags, "a": "b"})
        assert desk.open().tags(arn, SCOPE) == {"a": "b"}
        await desk.configs.delete(arn, SCOPE)
        text = f"Code signing config not found: {arn}"
        with pytest.raises(ResourceNotFound) as caught:
            desk.configs.tags(arn, SCOPE)
        assert str(caught.value) == text
        with pytest.raises(ResourceNotFound) as caught:
            await desk.configs.change_tags(arn, SCOPE, dict)
        assert str(caught.value) == text

    run(scenario)


def test_what_is_being_attached_is_not_deleted() -> None:
    async def scenario(desk: Desk) -> None:
        arn = await desk.new()
        may_go_on = asyncio.Event()

        async def work() -> str:
            await may_go_on.wait()
            desk.attached.add(arn)
            return "done"

        attaching = asyncio.create_task(desk.configs.attach(arn, SCOPE, work))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        with pytest.raises(ResourceConflict):
            await desk.configs.delete(arn, SCOPE)
        may_go_on.set()
        assert await attaching == "done"
        with pytest.raises(ResourceConflict):
            await desk.configs.delete(arn, SCOPE)
        desk.attached.clear()
        await desk.configs.delete(arn, SCOPE)

    run(scenario)


def test_what_is_being_deleted_is_not_attached() -> None:
    async def scenario(desk: Desk) -> None:
        arn = await desk.new()
        may_go_on, reached = asyncio.Event(), asyncio.Event()
        delete = desk.store.delete

        async def slow(kind: str, key: Key, revision: int) -> None:
            reached.set()
            await may_go_on.wait()
            await delete(kind, key, revision)

        desk.store.delete = slow  # type: ignore[method-assign]
        deleting = asyncio.create_task(desk.configs.delete(arn, SCOPE))
        await reached.wait()
        with pytest.raises(CodeSigningConfigNotFound):
            await desk.configs.attach(arn, SCOPE, lambda: asyncio.sleep(0))
        deleting.cancel()  # the caller goes; the deletion does not stop half-way
        with pytest.raises(asyncio.CancelledError):
            await deleting
        with pytest.raises(CodeSigningConfigNotFound):
            await desk.configs.attach(arn, SCOPE, lambda: asyncio.sleep(0))
        may_go_on.set()
        await desk.configs.close()
        assert desk.configs.find(arn, SCOPE) is None
        assert desk.open().find(arn, SCOPE) is None

    run(scenario)


def test_an_attachment_whose_caller_goes_is_finished() -> None:
    async def scenario(desk: Desk) -> None:
        arn = await desk.new()
        may_go_on = asyncio.Event()

        async def work() -> None:
            await may_go_on.wait()
            desk.attached.add(arn)

        attaching = asyncio.create_task(desk.configs.attach(arn, SCOPE, work))
        await asyncio.sleep(0)
        attaching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await attaching
        with pytest.raises(ResourceConflict):
            await desk.configs.delete(arn, SCOPE)
        may_go_on.set()
        await desk.configs.close()
        assert desk.attached == {arn}

    run(scenario)


def test_an_update_or_deletion_that_comes_too_late_is_not_found() -> None:
    async def scenario(desk: Desk) -> None:
        arn = await desk.new()
        await desk.configs.delete(arn, SCOPE)
        for late in (desk.configs.update(arn, SCOPE, description="d"), desk.configs.delete(arn, SCOPE)):
            with pytest.raises(ResourceNotFound, match="can not be found") as caught:
                await late
            assert caught.value.typed is False

    run(scenario)


# Which configuration a function has.


def function(house: House, **members: str) -> Function:
    house.run(house.functions.create(ref(), wanted(), code()))
    made = house.functions.get(ref())
    return replace(made, latest=replace(made.latest, configuration=replace(made.latest.configuration, **members)))  # type: ignore[arg-type]


def test_a_function_has_one_configuration_or_none(house: House) -> None:
    made = function(house)
    assert detached(made) is made
    first = attached(made, "a")
    assert first == replace(made, code_signing_arn="a")
    assert attached(first, "a") is first
    assert attached(first, "b").code_signing_arn == "b"
    assert detached(first) == made


@pytest.mark.parametrize("change", [lambda one: attached(one, "a"), detached], ids=["attach", "detach"])
def test_an_image_function_has_none(house: House, change: Callable[[Function], Function]) -> None:
    with pytest.raises(InvalidParameterValue) as caught:
        change(function(house, package_type="Image"))
    assert str(caught.value) == "Code signing is not supported for functions created with container images."


def test_the_signer_of_code_is_kept_with_it(house: House) -> None:
    async def signed() -> object:
        return replace(await code()(), signing_profile_arn=PROFILE, signing_job_arn=JOB)

    house.run(house.functions.create(ref(), wanted(), signed, code_signing_arn="a"))  # type: ignore[arg-type]
    kept = house.open().get(ref())
    assert kept.code_signing_arn == "a"
    assert (kept.latest.code.signing_profile_arn, kept.latest.code.signing_job_arn) == (PROFILE, JOB)


# The names of trust files.


@pytest.mark.parametrize(
    ("arn", "name"),
    [
        (PROFILE, "us-east-1.123456789012.deploy.abcdefghij.pem"),
        ("arn:aws-cn:signer:cn-north-1:123456789012:/signing-profiles/a_b/X1", "cn-north-1.123456789012.a_b.X1.pem"),
        (f"{PROFILE}/..", None),
        ("arn:aws:signer:us-east-1:123456789012:/signing-profiles/../../etc/passwd", None),
        ("arn:aws:signer:us-east-1:123456789012:/signing-profiles/deploy", None),
        ("arn:aws:signer:us-east-1:123456789012:/signing-profiles/a.b/X1", None),
        ("arn:aws:signer:us-east-1:123456789012:/signing-profiles/ab/X1\n", None),
        ("arn:aws:lambda:us-east-1:123456789012:/signing-profiles/ab/X1", None),
        ("", None),
    ],
)
def test_the_file_of_a_profile_version(arn: str, name: str | None) -> None:
    assert file_name(arn) == name


def test_a_job_is_its_profiles_accounts() -> None:
    assert job_arn(PROFILE, "j") == "arn:aws:signer:us-east-1:123456789012:/signing-jobs/j"
