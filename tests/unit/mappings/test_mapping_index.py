"""The index answers what a scan over all mappings would find, and a creation costs the same however many there are."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from lambent.domain.clock import ManualClock
from lambent.domain.documents import Key
from lambent.domain.errors import ResourceConflict
from lambent.domain.names import FunctionRef, Scope
from lambent.mappings.codec import encode
from lambent.mappings.model import EventSourceMapping, Kind, Settings, Wanted
from lambent.mappings.rules import check_duplicate, identity, is_repetition
from lambent.mappings.service import EventSourceMappings
from lambent.stores.documents_memory import MemoryDocuments

SCOPES = (Scope("123456789012", "us-east-1"), Scope("123456789012", "eu-west-1"), Scope("111122223333", "us-east-1"))
QUEUES = tuple(f"arn:aws:sqs:us-east-1:123456789012:q{number}" for number in range(3))
CLUSTER = "arn:aws:kafka:us-east-1:123456789012:cluster/c/0190a5c4-0000-7000-8000-000000000001-1"
FUNCTIONS, QUALIFIERS = ("one", "two", "three"), (None, "1", "live")


class World:
    """Mappings over a store that a rival may write to as well."""

    def __init__(self) -> None:
        self.store = MemoryDocuments()
        self.mappings = self.open()

    def open(self) -> EventSourceMappings:
        self.mappings = EventSourceMappings(self.store, ManualClock(), lambda ref, qualifier: True)
        return self.mappings

    def stored(self, scope: Scope) -> list[EventSourceMapping]:
        """All of a scope in the order of their UUIDs: what a scan walks over."""
        everything = self.mappings.page(scope, "", 1_000_000)
        assert [one.uuid for one in everything] == [
            key.name for key, _, _ in self.store.load("mapping") if key.scope == scope
        ]
        return everything


def wanted(chance: Random, scope: Scope) -> Wanted:
    settings = chance.choice(
        [Settings(source_arn=queue) for queue in QUEUES]
        + [Settings(source_arn=CLUSTER, topics=(topic,), starting_position="LATEST") for topic in ("orders", "returns")]
    )
    ref = FunctionRef(scope.account, scope.region, chance.choice(FUNCTIONS))
    return Wanted(
        settings,
        ref,
        chance.choice(QUALIFIERS),
        chance.choice([None, True, False]),
        invocation_id=chance.choice([None, "i1", "i2"]),
    )


def check_lists(world: World) -> None:
    """Every filter answers what a scan finds, page by page."""
    for scope in SCOPES:
        everything = world.stored(scope)
        middle = everything[len(everything) // 2].uuid if everything else ""
        for function in (None, *FUNCTIONS, "nowhere"):
            for qualifier in QUALIFIERS if function else (None,):
                for source in (None, *QUEUES, CLUSTER, "arn:aws:sqs:us-east-1:123456789012:none"):
                    for after in ("", middle):
                        found = [
                            one
                            for one in everything
                            if one.uuid > after
                            and function in (None, one.function)
                            and qualifier in (None, one.qualifier)
                            and source in (None, one.settings.source_arn)
                        ]
                        asked: dict[str, Any] = {"function": function, "qualifier": qualifier, "source_arn": source}
                        assert world.mappings.page(scope, after, 3, **asked) == found[:3]
                        assert world.mappings.page(scope, after, 10_000, **asked) == found


def by_scan(world: World, scope: Scope, made: Wanted) -> EventSourceMapping | str | None:
    """What a scan over all mappings says of a creation: the mapping it repeats, its refusal, or that it may be."""
    assert made.function is not None
    stored = world.stored(scope)
    one = EventSourceMapping(
        scope,
        "new",
        stored[0].kind if stored else None,  # type: ignore[arg-type]  # words only
        made.function.name,
        made.qualifier,
        True,
        0,
        made.settings,
        invocation_id=made.invocation_id,
    )
    repeated = next((other for other in stored if is_repetition(one, other)), None)
    if repeated is not None:
        return repeated
    try:
        check_duplicate(one, stored)
    except ResourceConflict as refusal:
        return refusal.message[-36:]
    return None


async def create(world: World, chance: Random, scope: Scope) -> None:
    made = wanted(chance, scope)
    expected = by_scan(world, scope, made)
    if isinstance(expected, str):
        with pytest.raises(ResourceConflict, match=f"{expected}$"):
            await world.mappings.create(scope, made)
    else:
        accepted = await world.mappings.create(scope, made)
        assert expected is None or accepted.mapping is expected


async def move(world: World, chance: Random, one: EventSourceMapping) -> None:
    """To another function, which some other mapping of the source may be there for."""
    ref = FunctionRef(one.scope.account, one.scope.region, chance.choice(FUNCTIONS))
    moved = Wanted(Settings(), ref, chance.choice(QUALIFIERS))
    read = identity(one)[:-1]
    twins = [
        other.uuid
        for other in world.stored(one.scope)
        if other.uuid != one.uuid and identity(other) == (*read, ref.arn(moved.qualifier))
    ]
    if twins:
        with pytest.raises(ResourceConflict, match=f"{twins[0]}$"):
            await world.mappings.update(one.scope, one.uuid, moved)
    else:
        await world.mappings.update(one.scope, one.uuid, moved)


async def rival(world: World, one: EventSourceMapping) -> None:
    """Somebody else writes the document, and the next change takes it over."""
    key = Key(one.scope.account, one.scope.region, one.uuid)
    held = await world.store.find("mapping", key)
    assert held is not None
    queue = f"arn:aws:sqs:us-east-1:123456789012:rival-{held[0]}-{one.uuid}"
    written = replace(one, kind=Kind.SQS, settings=Settings(source_arn=queue, batch_size=10))
    await world.store.swap("mapping", key, held[0], encode(written))
    await world.mappings.update(one.scope, one.uuid, Wanted(Settings(batch_size=2)))


async def step(world: World, chance: Random, scope: Scope) -> None:
    """One event: mostly changes, now and then a rival's write or a restart."""
    stored = world.stored(scope)
    event = chance.choice(["create"] * 4 + ["move", "move", "set", "delete", "rival", "restart"])
    if event == "create":
        await create(world, chance, scope)
    elif event == "restart":
        await world.mappings.close()
        world.open()
    elif stored:
        one = chance.choice(stored)
        if event == "move":
            await move(world, chance, one)
        elif event == "set":
            await world.mappings.update(scope, one.uuid, Wanted(Settings(batch_size=3)))
        elif event == "delete":
            await world.mappings.delete(scope, one.uuid)
        else:
            await rival(world, one)


@pytest.mark.parametrize("seed", range(12))
def test_the_index_answers_what_a_scan_would_find(seed: int) -> None:
    async def scenario() -> None:
        world, chance = World(), Random(seed)
        for number in range(80):
            await step(world, chance, chance.choice(SCOPES))
            if number % 10 == 9:
                check_lists(world)
        for scope in SCOPES:
            identities = [identity(one) for one in world.stored(scope)]
            assert len(set(identities)) == len(identities)
        await world.mappings.close()

    asyncio.run(scenario())


def test_nothing_is_kept_of_what_is_deleted() -> None:
    async def scenario() -> None:
        world, chance = World(), Random(1)
        for _ in range(30):
            try:
                await world.mappings.create(SCOPES[0], wanted(chance, SCOPES[0]))
            except ResourceConflict:
                continue
        for one in world.stored(SCOPES[0]):
            await world.mappings.delete(SCOPES[0], one.uuid)
        index = world.mappings._index
        assert (index._identities, index._functions, index._sources) == ({}, {}, {})

    asyncio.run(scenario())


def calls_of_a_creation(others: int) -> int:
    """Python functions called by one creation beside so many mappings, all of one function."""

    async def scenario() -> int:
        world, scope = World(), SCOPES[0]
        ref = FunctionRef(scope.account, scope.region, "one")

        def one(number: int) -> Wanted:
            queue = f"arn:aws:sqs:us-east-1:123456789012:q{number}"
            return Wanted(Settings(source_arn=queue), ref, invocation_id=f"i{number}")

        for number in range(others):
            await world.mappings.create(scope, one(number))
        calls = 0

        def count(frame: object, event: str, argument: object) -> None:
            nonlocal calls
            calls += event == "call"

        sys.setprofile(count)
        try:
            await world.mappings.create(scope, one(others))
        finally:
            sys.setprofile(None)
        return calls

    return asyncio.run(scenario())


def test_a_creation_costs_the_same_however_many_mappings_there_are() -> None:
    few, many = calls_of_a_creation(10), calls_of_a_creation(1_000)
    assert many <= few + 5
