"""What every function store promises: what was written is there, and a rival writer loses here and now."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lambent.domain.names import FunctionRef
from lambent.functions.model import (
    Alias,
    Code,
    Configuration,
    Durable,
    EventInvoke,
    FileSystem,
    Function,
    FunctionVersion,
    Image,
    LayerReference,
    Logging,
    Policy,
    Provisioned,
    Receipt,
    RuntimeManagement,
    Url,
    Vpc,
)
from lambent.functions.resting import summarised
from lambent.functions.store import FunctionStore, LostRace
from lambent.stores.functions_memory import MemoryFunctions
from lambent.stores.functions_sqlite import MIGRATIONS, SqliteFunctions
from lambent.stores.writer import Writer

A, B = (FunctionRef("123456789012", "us-east-1", name) for name in ("a", "b"))
ELSEWHERE = FunctionRef("123456789012", "eu-west-1", "a")

PLAIN = Configuration(
    "arn:aws:iam::123456789012:role/r", "python3.13", "app.handler", Logging("Text", None, None, "/g")
)
FULL = Configuration(
    role="arn:aws:iam::123456789012:role/r",
    runtime=None,
    handler=None,
    logging=Logging("JSON", "DEBUG", "WARN", "/mine"),
    description="ünïcode \u2028 \0",
    timeout_s=900,
    memory_mb=10_240,
    ephemeral_mb=10_240,
    environment={"ZZ": "last first", "AA": ""},
    architecture="arm64",
    package_type="Image",
    tracing_mode="Active",
    snap_start="PublishedVersions",
    layers=(LayerReference("arn:layer:1", 5),),
    vpc=Vpc(("subnet-1",), ("sg-1", "sg-2"), True, "vpc-1"),
    dead_letter_arn="arn:aws:sqs:us-east-1:123456789012:q",
    kms_key_arn="arn:key",
    file_systems=(FileSystem("arn:fs", "/mnt/a", "AUTO"),),
    image=Image(("a", "b"), None, "/w"),
    tenancy="PER_TENANT",
    durable=Durable(60, 3, "arn:key"),
)
CODE = Code("ab" * 32, "q" * 43 + "=", 276, 1_000, "arn:key")


def version(ref: FunctionRef, number: str, configuration: Configuration = PLAIN) -> FunctionVersion:
    return FunctionVersion(
        ref=ref,
        version=number,
        configuration=configuration,
        code=CODE,
        revision_id=f"revision-{number}",
        state="Active",
        state_reason=None,
        state_reason_code=None,
        generation=7,
        last_modified_ms=1_764_100_000_123,
        update_status="Failed",
        update_reason="why",
        update_reason_code="InvalidRuntime",
    )


def function(ref: FunctionRef, **members: Any) -> Function:
    return replace(Function(ref, 1, version(ref, "$LATEST")), **members)


class Opened:
    """One store that can be closed and opened again."""

    def __init__(self, directory: Path | None) -> None:
        self._directory = directory
        self._memory = MemoryFunctions()
        self._writer: Writer | None = None

    def open(self) -> FunctionStore:
        if self._directory is None:
            return self._memory
        self._writer = Writer(self._directory / "state.db", MIGRATIONS)
        return SqliteFunctions(self._writer)

    async def close(self) -> None:
        if self._writer is not None:
            await self._writer.close()


def all_of(store: FunctionStore) -> list[Function]:
    """What the store loads, awake; every summary tells what its function does."""
    functions = []
    for resting in store.load():
        ref = FunctionRef(resting.account, resting.region, resting.name)
        function = store.wake(ref, resting.stored)
        assert function.ref == ref
        assert resting.summary == summarised(function)
        functions.append(function)
    return functions


Scenario = Callable[[FunctionStore], Coroutine[Any, Any, None]]


@pytest.fixture(params=["memory", "sqlite"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Opened:
    return Opened(None if request.param == "memory" else tmp_path)


def run(opened: Opened, scenario: Scenario) -> list[Function]:
    """Run on the store as it is; answers what a store opened afterwards loads."""

    async def session() -> None:
        store = opened.open()
        all_of(store)
        try:
            await scenario(store)
        finally:
            await opened.close()

    asyncio.run(session())
    store = opened.open()
    loaded = all_of(store)
    asyncio.run(opened.close())
    return loaded


@pytest.mark.parametrize("configuration", [PLAIN, FULL], ids=["plain", "full"])
def test_everything_comes_back_as_it_was_written(opened: Opened, configuration: Configuration) -> None:
    whole = function(
        A,
        latest=version(A, "$LATEST", configuration),
        serving=version(A, "$LATEST", PLAIN),
        versions={number: version(A, number, configuration) for number in ("2", "9", "10")},
        next_version=11,
        last_published="10",
        published_description="before",
        reserved=0,
        tags={"b": "1", "a": ""},
        receipt=Receipt("invocation", "revision", "1"),
        aliases={"live": Alias("live", "9", "revision-a", "d", {"10": 0.25}), "old": Alias("old", "2", "revision-b")},
        policies={"": Policy("revision-p", {"Version": "2012-10-17", "Id": "default", "Statement": [{"Sid": "ü"}]})},
        event_invokes={"$LATEST": EventInvoke(5, 0, 60, "arn:success", None), "live": EventInvoke(6)},
        urls={
            "": Url("a" * 32, "NONE", 1, 2, {"AllowOrigins": ["*"]}, "BUFFERED"),
            "live": Url("b" * 32, "AWS_IAM", 3),
        },
        provisioned={"live": Provisioned(3, 4)},
        runtime_management={"9": RuntimeManagement("Manual", "arn:runtime")},
        recursive_loop="Allow",
        code_signing_arn="arn:csc",
    )

    async def scenario(store: FunctionStore) -> None:
        await store.create(whole)
        assert await store.find(A) == whole
        assert await store.find(B) is None

    (loaded,) = run(opened, scenario)
    assert loaded == whole
    assert list(loaded.versions) == ["2", "9", "10"]
    assert list(loaded.latest.configuration.variables) == list(configuration.variables)


def test_all_functions_are_loaded_in_order(opened: Opened) -> None:
    async def scenario(store: FunctionStore) -> None:
        for ref in (B, A, ELSEWHERE):
            await store.create(function(ref, versions={"1": version(ref, "1")}))

    loaded = run(opened, scenario)
    assert [one.ref for one in loaded] == [ELSEWHERE, A, B]
    assert all(one.versions["1"].ref == one.ref for one in loaded)


def test_a_name_is_created_once(opened: Opened) -> None:
    first, second = function(A), function(A, reserved=3)

    async def scenario(store: FunctionStore) -> None:
        await store.create(first)
        with pytest.raises(LostRace):
            await store.create(second)

    assert run(opened, scenario) == [first]


def test_a_swap_replaces_the_function_and_only_the_versions_that_differ(opened: Opened) -> None:
    old = function(A, versions={number: version(A, number) for number in ("1", "2")})
    kept = old.versions["2"]
    new = replace(old, revision=2, versions={"2": kept, "3": version(A, "3", FULL)}, reserved=5)

    async def scenario(store: FunctionStore) -> None:
        await store.create(old)
        await store.swap(old, new)

    assert run(opened, scenario) == [new]


def test_the_loser_of_a_race_changes_nothing(opened: Opened) -> None:
    old = function(A)
    winner = replace(old, revision=2, reserved=1)
    loser = replace(old, revision=2, reserved=2, versions={"1": version(A, "1")})

    async def scenario(store: FunctionStore) -> None:
        await store.create(old)
        await store.swap(old, winner)
        with pytest.raises(LostRace):
            await store.swap(old, loser)
        with pytest.raises(LostRace):
            await store.delete(old)
        assert await store.find(A) == winner

    assert run(opened, scenario) == [winner]


def test_of_many_rivals_exactly_one_wins(opened: Opened) -> None:
    old = function(A)
    won: list[int] = []

    async def scenario(store: FunctionStore) -> None:
        await store.create(old)

        async def rival(number: int) -> None:
            try:
                await store.swap(old, replace(old, revision=2, reserved=number))
            except LostRace:
                return
            won.append(number)

        await asyncio.gather(*(rival(number) for number in range(50)))

    (loaded,) = run(opened, scenario)
    assert won == [loaded.reserved]


def test_a_deleted_function_is_gone_with_its_versions(opened: Opened) -> None:
    old = function(A, versions={"1": version(A, "1")})

    async def scenario(store: FunctionStore) -> None:
        await store.create(old)
        await store.create(function(B))
        await store.delete(old)
        assert await store.find(A) is None
        with pytest.raises(LostRace):
            await store.delete(old)
        with pytest.raises(LostRace):
            await store.swap(old, replace(old, revision=2))
        await store.create(function(A))

    assert run(opened, scenario) == [function(A), function(B)]


@pytest.mark.parametrize("seed", range(8))
def test_summaries_tell_what_functions_do_after_any_history(opened: Opened, seed: int) -> None:
    chance = random.Random(seed)
    stands: dict[FunctionRef, Function] = {}

    async def scenario(store: FunctionStore) -> None:
        for _ in range(60):
            ref = FunctionRef("123456789012", "us-east-1", chance.choice("abcdefgh"))
            old = stands.get(ref)
            if old is None:
                stands[ref] = anything(chance, ref)
                await store.create(stands[ref])
            elif chance.random() < 0.2:
                await store.delete(stands.pop(ref))
            else:
                stands[ref] = replace(anything(chance, ref), revision=old.revision + 1)
                await store.swap(old, stands[ref])

    assert run(opened, scenario) == [stands[ref] for ref in sorted(stands, key=lambda ref: ref.name)]


def anything(chance: random.Random, ref: FunctionRef) -> Function:
    """A function in some state, of which every member of a summary may follow."""

    def one(number: str) -> FunctionVersion:
        layers = tuple(LayerReference(f"arn:{layer}", 1, layer * 64) for layer in "ef"[: chance.randrange(3)])
        return replace(
            version(ref, number, replace(PLAIN, layers=layers)),
            code=replace(CODE, digest=chance.choice("abcd") * 64, size_bytes=chance.randrange(1_000)),
            generation=chance.randrange(1_000),
            state=chance.choice(("Active", "Active", "Pending", "Failed")),
            state_reason_code=chance.choice((None, None, "InvalidRuntime")),
            update_status=chance.choice(("Successful", "Successful", "InProgress")),
        )

    numbers = sorted(chance.sample(range(1, 20), chance.randrange(4)))
    return function(
        ref,
        latest=one("$LATEST"),
        serving=chance.choice((None, one("$LATEST"))),
        versions={str(number): one(str(number)) for number in numbers},
        reserved=chance.choice((None, None, 0, 5)),
        provisioned=chance.choice(({}, {}, {"1": Provisioned(3, 4)})),
        code_signing_arn=chance.choice((None, "arn:csc")),
        urls={key: Url(f"{chance.randrange(10**9):032}", "NONE", 1) for key in ("", "live")[: chance.randrange(3)]},
    )
