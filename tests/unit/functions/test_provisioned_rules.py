"""Provisioned concurrency as a setting: every refusal word for word, in its order, and what it does to account and function."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from tests.unit.functions.house import House, code, ref, wanted

from lambent.domain.errors import (
    FunctionNotFound,
    InvalidParameterValue,
    LambentError,
    ResourceConflict,
    ResourceNotFound,
)
from lambent.domain.names import LATEST
from lambent.functions import aliases
from lambent.functions.account import AccountLimits
from lambent.functions.model import Alias, Function, Provisioned
from lambent.functions.provisioned import Wish, check_read, in_order, wishes

SCOPE = ref().scope
ARN = ref().arn()
Act = Callable[[House], Awaitable[Any]]


async def versions(house: House, name: str = "fn", numbers: int = 2, **members: Any) -> None:
    """A function with `numbers` published versions."""
    await house.functions.create(ref(name), wanted(**members), code("1"), publish=True)
    for number in range(2, numbers + 1):
        await house.functions.update_code(ref(name), code(str(number)), publish=True)


async def alias(house: House, name: str, version: str, weights: dict[str, float] | None = None) -> None:
    one = Alias(name, version, "revision", weights=weights or {})
    await house.functions.change(ref(), lambda old: replace(old, aliases={**old.aliases, name: one}))


def refused(house: House, act: Act) -> LambentError:
    async def body() -> LambentError:
        await versions(house)
        with pytest.raises(LambentError) as error:
            await act(house)
        return error.value

    return house.run(body())


def text(house: House, act: Act) -> tuple[type[LambentError], str | None, bool]:
    error = refused(house, act)
    return type(error), error.message, getattr(error, "typed", True)


def test_unpublished_code_is_never_provisioned(house: House) -> None:
    assert text(house, lambda house: house.functions.provision(ref(), LATEST, 1)) == (
        InvalidParameterValue,
        "Provisioned Concurrency Configs cannot be applied to unpublished function versions.",
        True,
    )


def test_nor_through_an_alias(house: House) -> None:
    async def act(house: House) -> None:
        await alias(house, "dev", LATEST)
        await house.functions.provision(ref(), "dev", 1)

    assert refused(house, act).message == (
        "Provisioned Concurrency Configs cannot be applied to unpublished function versions."
    )


def test_get_and_delete_are_for_versions_and_aliases(house: House) -> None:
    expected = "The function resource provided must be an alias or a published version."
    assert text(house, lambda house: house.functions.unprovision(ref(), LATEST)) == (
        InvalidParameterValue,
        expected,
        True,
    )
    with pytest.raises(InvalidParameterValue, match=expected):
        check_read(LATEST)


@pytest.mark.parametrize("name", ["fn", "missing"])
@pytest.mark.parametrize("method", ["provision", "unprovision"])
def test_what_is_missing_is_named_by_its_kind(house: House, name: str, method: str) -> None:
    async def act(qualifier: str) -> LambentError:
        call = getattr(house.functions, method)
        arguments = (ref(name), qualifier, 1)[: 3 if method == "provision" else 2]
        with pytest.raises(ResourceNotFound) as error:
            await call(*arguments)
        return error.value

    async def body() -> None:
        await versions(house)
        error = await act("99")
        assert (type(error), error.message) == (FunctionNotFound, f"Function not found: {ref(name).arn('99')}")
        error = await act("live")
        assert (type(error), error.message) == (ResourceNotFound, f"Cannot find alias arn: {ref(name).arn('live')}")

    house.run(body())


@pytest.mark.parametrize("weights", [{}, {"1": 0.5}])
def test_an_alias_on_a_version_with_a_configuration_of_its_own(house: House, weights: dict[str, float]) -> None:
    async def act(house: House) -> None:
        await alias(house, "live", "2" if weights else "1", weights)
        await house.functions.provision(ref(), "1", 1)
        await house.functions.provision(ref(), "live", 1)

    assert text(house, act) == (
        ResourceConflict,
        "Alias can't be used for Provisioned Concurrency configuration on an already Provisioned version",
        True,
    )


@pytest.mark.parametrize("weights", [{}, {"1": 0.5}])
def test_a_version_that_an_alias_with_a_configuration_points_to(house: House, weights: dict[str, float]) -> None:
    async def act(house: House) -> None:
        await alias(house, "live", "2" if weights else "1", weights)
        await house.functions.provision(ref(), "live", 1)
        await house.functions.provision(ref(), "1", 1)

    assert text(house, act) == (ResourceConflict, "Version is pointed by a Provisioned Concurrency alias", True)


@pytest.mark.parametrize(
    ("version", "weights", "expected"),
    [
        (LATEST, {}, "Provisioned Concurrency Configs cannot be applied to unpublished function versions."),
        ("2", {}, "Alias can't be used for Provisioned Concurrency configuration on an already Provisioned version"),
        ("1", {"2": 0.5}, "Alias can't be used for Provisioned Concurrency configuration on an already Provisioned "
                          "version"),
    ],
)  # fmt: skip
def test_an_alias_with_a_configuration_moves_to_where_it_could_have_got_one(
    house: House, version: str, weights: dict[str, float], expected: str
) -> None:
    async def act(house: House) -> None:
        await alias(house, "live", "1")
        await house.functions.provision(ref(), "live", 1)
        await house.functions.provision(ref(), "2", 1)

        def decide(old: Function) -> Function:
            return aliases.updated(old, "live", version=version, weights=weights, new_revision=lambda: "r")

        await house.functions.change(ref(), decide)

    assert refused(house, act).message == expected


def test_the_sum_stays_within_the_reserved_concurrency(house: House) -> None:
    async def act(house: House) -> None:
        await house.functions.reserve(ref(), 5)
        await house.functions.provision(ref(), "1", 3)
        await house.functions.provision(ref(), "2", 2)
        await house.functions.provision(ref(), "2", 1)
        await house.functions.provision(ref(), "1", 5)

    assert text(house, act) == (
        InvalidParameterValue,
        "Requested Provisioned Concurrency should not be greater than the reservedConcurrentExecution for function",
        True,
    )


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (901, "Specified ConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its "
              "minimum value of [100]."),
        (1_000, "Specified ConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its "
                "minimum value of [100]."),
        (1_001, "Specified ConcurrentExecutions for function is greater than account's unreserved concurrency [1000]."),
    ],
)  # fmt: skip
def test_the_account_keeps_its_minimum(house: House, number: int, expected: str) -> None:
    assert text(house, lambda house: house.functions.provision(ref(), "1", number)) == (
        InvalidParameterValue,
        expected,
        False,
    )


def test_what_is_replaced_does_not_count_twice(house: House) -> None:
    async def body() -> None:
        await versions(house)
        await house.functions.provision(ref(), "1", 500)
        await house.functions.provision(ref(), "1", 900)
        assert house.functions.unreserved(SCOPE) == 100
        await house.functions.provision(ref(), "1", 899)
        with pytest.raises(InvalidParameterValue, match=r"unreserved concurrency \[101\]"):
            await house.functions.provision(ref(), "2", 102)

    house.run(body())


def test_lowering_is_always_possible(house: House) -> None:
    async def body() -> None:
        await versions(house)
        await house.functions.provision(ref(), "1", 900)
        house.open(limits=AccountLimits(concurrent_executions=500))
        await house.functions.provision(ref(), "1", 450)
        assert house.functions.get(ref()).provisioned_sum == 450

    house.run(body())


def test_reserving_less_than_is_provisioned(house: House) -> None:
    async def act(house: House) -> None:
        await house.functions.provision(ref(), "1", 1)
        await house.functions.provision(ref(), "2", 1)
        await house.functions.reserve(ref(), 2)
        await house.functions.reserve(ref(), 1)

    assert text(house, act) == (
        InvalidParameterValue,
        " ReservedConcurrentExecutions  1 should not be lower than function's total provisioned concurrency [2].",
        False,
    )


def test_the_accounts_minimum_is_checked_before_that(house: House) -> None:
    async def act(house: House) -> None:
        await versions(house, "other")
        await house.functions.reserve(ref("other"), 900)
        await house.functions.reserve(ref(), 1)

    assert str(refused(house, act).message).startswith("Specified ReservedConcurrentExecutions for function decreases")


def test_unreserved_concurrency_is_less_what_is_reserved_or_else_provisioned(house: House) -> None:
    async def body() -> None:
        await versions(house)
        unreserved = house.functions.unreserved
        await house.functions.provision(ref(), "1", 30)
        assert unreserved(SCOPE) == 970
        await house.functions.reserve(ref(), 50)
        assert unreserved(SCOPE) == 950, "the reserved concurrency contains the provisioned"
        await house.functions.provision(ref(), "2", 20)
        assert unreserved(SCOPE) == 950
        await house.functions.unreserve(ref())
        assert unreserved(SCOPE) == 950
        await house.functions.unprovision(ref(), "1")
        assert unreserved(SCOPE) == 980
        house.open()
        assert house.functions.unreserved(SCOPE) == 980, "counted again from what is stored"
        await house.functions.delete(ref(), "2")
        assert house.functions.unreserved(SCOPE) == 1_000

    house.run(body())


def test_kinds_of_functions_that_cannot_have_any(house: House) -> None:
    async def body() -> None:
        await versions(house, "tenants", 1, tenancy="PER_TENANT")
        with pytest.raises(InvalidParameterValue) as error:
            await house.functions.provision(ref("tenants"), "1", 1)
        assert error.value.message == "Provisioned Concurrency is not supported for functions with tenant isolation."
        await versions(house, "snap", 1, snap_start="PublishedVersions")
        with pytest.raises(InvalidParameterValue) as error:
            await house.functions.provision(ref("snap"), "1", 1)
        assert str(error.value.message).startswith(
            "Provisioned Concurrency is not supported for SnapStart enabled functions."
        )

    house.run(body())


def test_the_revision_id_of_each_version_meant_changes_and_nothing_else(house: House) -> None:
    async def body() -> None:
        await versions(house, numbers=3)
        await alias(house, "live", "1", {"2": 0.5})
        before = house.functions.get(ref())
        after = await house.functions.provision(ref(), "live", 1)
        changed = {
            number
            for number in after.versions
            if after.versions[number].revision_id != before.versions[number].revision_id
        }
        assert changed == {"1", "2"}
        assert after.latest == before.latest
        assert after.aliases == before.aliases
        for number in after.versions:
            same = replace(after.versions[number], revision_id=before.versions[number].revision_id)
            assert same == before.versions[number], "environments are keyed by the generation, and live on"

    house.run(body())


def test_listeners_hear_of_every_put_and_of_an_alias_that_moves(house: House) -> None:
    async def body() -> None:
        await versions(house)
        await alias(house, "live", "1")
        kinds: list[list[str]] = []

        async def heard(act: Awaitable[Any]) -> None:
            house.heard.clear()
            house.clock.advance(1)
            await act
            kinds.append([change.kind for change in house.heard])

        await heard(house.functions.provision(ref(), "live", 1))
        await heard(house.functions.provision(ref(), "live", 1))
        await heard(alias(house, "live", "2"))
        await heard(alias(house, "live", "2", {"1": 0.5}))
        await heard(alias(house, "other", "1"))
        await heard(house.functions.unprovision(ref(), "live"))
        await heard(house.functions.unprovision(ref(), "live"))
        assert ["provisioned" in heard for heard in kinds] == [True, True, True, True, False, True, False]

    house.run(body())


def function(**members: Any) -> Function:
    async def body(house: House) -> Function:
        await versions(house, numbers=3)
        return house.functions.get(ref())

    house = House()
    return replace(house.run(body(house)), **members)


@pytest.mark.parametrize(
    ("requested", "weights", "shares"),
    [
        (10, {}, {"1": 10}),
        (10, {"2": 0.25}, {"2": 3, "1": 7}),
        (10, {"2": 0.0}, {"1": 10}),
        (10, {"2": 1.0}, {"2": 10}),
        (1, {"2": 0.5}, {"2": 1}),
        (1, {"2": 0.1}, {"1": 1}),
        (7, {"2": 0.9}, {"2": 6, "1": 1}),
    ],
)
def test_an_alias_shares_its_number_by_its_weights(
    requested: int, weights: dict[str, float], shares: dict[str, int]
) -> None:
    aliased = function(
        aliases={"live": Alias("live", "1", "r", weights=weights)}, provisioned={"live": Provisioned(requested, 5)}
    )
    assert wishes(aliased) == {"live": Wish(requested, 5, shares)}


def test_versions_are_listed_by_number_before_aliases_by_name() -> None:
    mixed = function(provisioned={name: Provisioned(1, 1) for name in ("b", "10", "a", "2", "9")})
    assert in_order(mixed) == ["2", "9", "10", "a", "b"]


def test_what_belongs_to_a_version_or_alias_that_is_gone_asks_for_nothing() -> None:
    assert wishes(function(provisioned={"99": Provisioned(1, 1), "live": Provisioned(1, 1)})) == {}
