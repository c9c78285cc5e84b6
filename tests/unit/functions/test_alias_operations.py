"""Aliases on the wire, and what they draw: every row of the documented table, word for word."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.unit.functions import test_function_operations as operations
from tests.unit.functions.house import House, code, ref, wanted

from lambent.api.resources import aliases, policies
from lambent.domain.errors import AliasLimitExceeded, FunctionNotFound
from lambent.functions.aliases import ADDITIONAL_VERSIONS_MAX, ALIASES_MAX, created, deleted, drawn
from lambent.functions.codec import decode_function, encode_function
from lambent.functions.model import Alias, Function, Policy, Provisioned, Url
from lambent.stores.functions_memory import MemoryFunctions

FN = f"{operations.FUNCTIONS}/fn"
ALIASES = f"{FN}/aliases"
ARN = operations.ARN
STALE = (
    "The Revision Id provided does not match the latest Revision Id. Call the GetFunction/GetAlias API to retrieve the "
    "latest Revision Id"
)
BAD, NOT_FOUND, CONFLICT = "InvalidParameterValueException", "ResourceNotFoundException", "ResourceConflictException"


class Client(operations.Client):
    """With the operations on aliases and permissions."""

    def __init__(self, house: House, directory: Path) -> None:
        super().__init__(house, directory)
        aliases.register(self.door, house.functions)
        policies.register(self.door, house.functions)

    async def publish(self, count: int) -> None:
        """A function with so many versions."""
        await self.create()
        for number in range(count):
            await self.update("configuration", Description=str(number))
            await self("POST", f"{FN}/versions", {}, 201)

    async def alias(self, name: str = "live", version: str = "1", status: int = 201, **members: Any) -> Any:
        return await self("POST", ALIASES, {"Name": name, "FunctionVersion": version, **members}, status)


Run = Callable[[Callable[[Client], Awaitable[None]]], None]


@pytest.fixture
def run(house: House, tmp_path: Path) -> Run:
    def session(scenario: Callable[[Client], Awaitable[None]]) -> None:
        async def both() -> None:
            await scenario(Client(house, tmp_path))

        house.run(both())

    return session


def weights(**shares: Any) -> dict[str, Any]:
    return {"AdditionalVersionWeights": {name[1:]: share for name, share in shares.items()}}


def test_an_alias_is_made_read_changed_and_deleted(run: Run) -> None:
    async def scenario(client: Client) -> None:
        await client.publish(2)
        made = await client.alias()
        revision = made.pop("RevisionId")
        assert made == {"AliasArn": f"{ARN}:live", "Name": "live", "FunctionVersion": "1", "Description": ""}
        assert await client("GET", f"{ALIASES}/live") == {**made, "RevisionId": revision}
        moved = await client("PUT", f"{ALIASES}/live", {"FunctionVersion": "2", "Description": "d"})
        assert (moved["FunctionVersion"], moved["Description"], moved["RevisionId"] != revision) == ("2", "d", True)
        assert await client("DELETE", f"{ALIASES}/live", status=204) is None
        assert await client("DELETE", f"{ALIASES}/live", status=204) is None
        assert await client("GET", f"{ALIASES}/live", status=404) == (NOT_FOUND, f"Cannot find alias arn: {ARN}:live")

    run(scenario)


MAP_VALUE = (
    "1 validation error detected: Value '{2=2.0}' at 'routingConfig.additionalVersionWeights' failed to satisfy "
    "constraint: Map value must satisfy constraint: [Member must have value less than or equal to 1.0, Member must have "
    "value greater than or equal to 0.0, Member must not be null]"
)
MAP_KEY = (
    "1 validation error detected: Value '{$LATEST=0.5}' at 'routingConfig.additionalVersionWeights' failed to satisfy "
    "constraint: Map keys must satisfy constraint: [Member must have length less than or equal to 1024, Member must have "
    "length greater than or equal to 1, Member must satisfy regular expression pattern: [0-9]+]"
)
DUPLICATE = "Invalid function version 1. Function version 1 is already included in routing configuration."
TOO_MANY = "Number of items in AdditionalVersionWeights cannot be greater than 1"
LATEST_ROUTED = "$LATEST is not supported for an alias pointing to more than 1 version"


@pytest.mark.parametrize(
    ("name", "version", "routing", "status", "kind", "text"),
    [
        ("live", "9", None, 404, NOT_FOUND, f"Function not found: {ARN}:9"),
        ("live", "$LATEST.PUBLISHED", None, 404, NOT_FOUND, f"Function not found: {ARN}:$LATEST.PUBLISHED"),
        ("taken", "1", None, 409, CONFLICT, f"Alias already exists: {ARN}:taken"),
        ("live", "1", weights(_2=0.1, _3=0.1), 400, BAD, TOO_MANY),
        ("live", "1", weights(_2=2), 400, "ValidationException", MAP_VALUE),
        ("live", "1", {"AdditionalVersionWeights": {"$LATEST": 0.5}}, 400, "ValidationException", MAP_KEY),
        ("live", "1", weights(_1=0.5), 400, BAD, DUPLICATE),
        ("live", "$LATEST", weights(_1=0.5), 400, BAD, LATEST_ROUTED),
        ("live", "1", weights(_9=0.5), 404, NOT_FOUND, f"Function not found: {ARN}:9"),
        # Where several apply at once.
        ("taken", "9", weights(_1=0.5, _2=0.5), 404, NOT_FOUND, f"Function not found: {ARN}:9"),
        ("taken", "1", weights(_1=0.5), 409, CONFLICT, f"Alias already exists: {ARN}:taken"),
        ("live", "1", weights(_1=0.5, _9=0.5), 400, BAD, TOO_MANY),
        ("live", "$LATEST", weights(_9=0.5), 400, BAD, LATEST_ROUTED),
    ],
)
def test_refused_creations(run: Run, name: str, version: str, routing: Any, status: int, kind: str, text: str) -> None:
    async def scenario(client: Client) -> None:
        await client.publish(3)
        await client.alias("taken")
        assert await client.alias(name, version, status, RoutingConfig=routing) == (kind, text)
        listed = await client("GET", ALIASES)
        assert [one["Name"] for one in listed["Aliases"]] == ["taken"]

    run(scenario)


def test_the_refusal_of_latest_with_weights_has_no_type(run: Run) -> None:
    async def scenario(client: Client) -> None:
        await client.publish(1)
        body = {"Name": "live", "FunctionVersion": "$LATEST", "RoutingConfig": weights(_1=0.5)}
        reply = await operations.send(client.door, "POST", ALIASES, {}, operations.orjson.dumps(body))
        assert reply.json == {"message": LATEST_ROUTED}

    run(scenario)


def test_what_is_missing_is_named_as_each_operation_does(run: Run) -> None:
    async def scenario(client: Client) -> None:
        assert await client.alias("live", "7", 404) == (NOT_FOUND, f"Function not found: {ARN}:7")
        for method, path in (("GET", "/live"), ("PUT", "/live"), ("DELETE", "/live"), ("GET", "")):
            body = {} if method == "PUT" else None
            answer = await client(method, f"{ALIASES}{path}", body, 404)
            assert answer == (NOT_FOUND, f"Function not found: {ARN}")
        await client.create()
        gone = (NOT_FOUND, f"Cannot find alias arn: {ARN}:live")
        assert await client("PUT", f"{ALIASES}/live", {"RevisionId": "x"}, 404) == gone
        assert await client("GET", f"{ALIASES}/live", status=404) == gone
        for path in (FN, f"{FN}/configuration"):
            assert (await client("GET", f"{path}?Qualifier=live", status=404))[1] == f"Function not found: {ARN}:live"

    run(scenario)


def test_the_revision_guards_an_alias_and_changes_with_every_update(run: Run) -> None:
    async def scenario(client: Client) -> None:
        await client.publish(1)
        revisions = [(await client.alias())["RevisionId"]]
        for members in ({}, {}, {"FunctionVersion": "1"}, {"Description": "d", "RevisionId": ...}):
            wanted = {name: revisions[-1] if value is ... else value for name, value in members.items()}
            revisions.append((await client("PUT", f"{ALIASES}/live", wanted))["RevisionId"])
        assert len(set(revisions)) == 5
        stale = await client("PUT", f"{ALIASES}/live", {"FunctionVersion": "9", "RevisionId": revisions[0]}, 412)
        assert stale == ("PreconditionFailedException", STALE)
        latest = (await client("GET", f"{FN}/configuration"))["RevisionId"]
        await client("PUT", f"{ALIASES}/live", {})
        assert (await client("GET", f"{FN}/configuration"))["RevisionId"] == latest

    run(scenario)


def test_routing_is_kept_replaced_or_removed_as_it_is_given(run: Run) -> None:
    async def scenario(client: Client) -> None:
        await client.publish(3)
        assert "RoutingConfig" not in await client.alias("none", RoutingConfig={})
        assert "RoutingConfig" not in await client.alias("empty", RoutingConfig={"AdditionalVersionWeights": {}})
        made = await client.alias(RoutingConfig=weights(_2=0.25))
        assert made["RoutingConfig"] == weights(_2=0.25)

        async def update(status: int = 200, **members: Any) -> Any:
            return await client("PUT", f"{ALIASES}/live", members, status)

        assert (await update(Description="d"))["RoutingConfig"] == weights(_2=0.25)
        assert (await update(FunctionVersion="3"))["RoutingConfig"] == weights(_2=0.25)
        assert (await update(400, FunctionVersion="2"))[1] == DUPLICATE.replace("1", "2")
        assert (await update(400, FunctionVersion="$LATEST"))[1] == LATEST_ROUTED
        assert (await update(404, RoutingConfig=weights(_9=1)))[1] == f"Function not found: {ARN}:9"
        assert (await update(404, FunctionVersion="9"))[1] == f"Function not found: {ARN}:9"
        assert (await update(RoutingConfig=weights(_1=1)))["RoutingConfig"] == weights(_1=1.0)
        assert (await update(RoutingConfig=weights(_1=0)))["RoutingConfig"] == weights(_1=0.0)
        assert "RoutingConfig" not in await update(RoutingConfig={})
        assert (await update(FunctionVersion="$LATEST"))["FunctionVersion"] == "$LATEST"

    run(scenario)


def test_a_function_read_by_alias_is_its_version_under_the_aliass_arn(run: Run) -> None:
    async def scenario(client: Client) -> None:
        await client.publish(2)
        await client.alias(RoutingConfig=weights(_2=1))
        await client("PUT", "/2017-10-31/functions/fn/concurrency", {"ReservedConcurrentExecutions": 1})
        first = await client("GET", f"{FN}/configuration?Qualifier=1")
        assert await client("GET", f"{FN}/configuration?Qualifier=live") == {**first, "FunctionArn": f"{ARN}:live"}
        got = await client("GET", f"{FN}:live")
        assert got["Configuration"] == {**first, "FunctionArn": f"{ARN}:live"}
        assert "Concurrency" not in got
        await client("PUT", f"{ALIASES}/live", {"FunctionVersion": "$LATEST", "RoutingConfig": {}})
        assert (await client("GET", f"{FN}/configuration?Qualifier=live"))["Version"] == "$LATEST"

    run(scenario)


def test_a_version_with_aliases_is_not_deleted(run: Run) -> None:
    async def scenario(client: Client) -> None:
        await client.publish(2)
        await client.alias("live")
        await client.alias("beta", "2", RoutingConfig=weights(_1=0.1))
        text = "Unable to delete version because the following aliases reference it: [{}]"
        assert await client("DELETE", f"{FN}?Qualifier=1", status=409) == (CONFLICT, text.format("beta, live"))
        assert await client("DELETE", f"{FN}?Qualifier=2", status=409) == (CONFLICT, text.format("beta"))
        assert (await client("DELETE", f"{FN}?Qualifier=beta", status=400))[1] == (
            "Deletion of aliases is not currently supported."
        )
        await client("DELETE", f"{ALIASES}/beta", status=204)
        await client("DELETE", f"{FN}?Qualifier=2", status=204)
        await client("DELETE", FN, status=204)

    run(scenario)


def test_aliases_are_listed_by_name_in_pages_and_by_version(run: Run) -> None:
    async def scenario(client: Client) -> None:
        await client.publish(2)
        names = [f"a{number:02d}" for number in range(55)]
        for name in reversed(names):
            await client.alias(
                name, "1" if name < "a30" else "2", RoutingConfig=weights(_2=0.5) if name < "a30" else {}
            )
        pages = await operations.pages(client, f"{ALIASES}?MaxItems=20", "Aliases")
        assert [[one["Name"] for one in page] for page in pages] == [names[:20], names[20:40], names[40:]]
        assert [len(page) for page in await operations.pages(client, ALIASES, "Aliases")] == [50, 5]
        second = await operations.pages(client, f"{ALIASES}?MaxItems=10&FunctionVersion=2", "Aliases")
        assert [one["Name"] for page in second for one in page] == names[30:]
        assert await client("GET", f"{ALIASES}?FunctionVersion=9") == {"Aliases": []}
        first = await client("GET", f"{ALIASES}?MaxItems=1")
        await client("DELETE", f"{ALIASES}/a00", status=204)
        following = await client("GET", f"{ALIASES}?MaxItems=1&Marker={first['NextMarker']}")
        assert [one["Name"] for one in following["Aliases"]] == ["a01"]
        assert (await client("GET", f"{ALIASES}?Marker=x", status=400))[0] == BAD

    run(scenario)


def test_an_alias_takes_its_settings_along(house: House) -> None:
    async def scenario() -> None:
        await house.functions.create(ref(), wanted(), code(), publish=True)
        function = house.functions.get(ref())
        function = created(function, "live", version="1", description="", weights={}, new_revision=lambda: "r")
        settings: dict[str, Any] = {
            "urls": {"live": Url("u", "NONE", 0)},
            "provisioned": {"live": Provisioned(1, 0)},
            "policies": {"live": Policy("r", {})},
        }
        assert deleted(replace(function, **settings), "live") == replace(function, aliases={})
        assert deleted(function, "other") is function

    house.run(scenario())


def test_a_function_has_a_bounded_number_of_aliases(house: House) -> None:
    async def scenario() -> None:
        await house.functions.create(ref(), wanted(), code(), publish=True)
        function = house.functions.get(ref())

        def add(name: str) -> Any:
            return created(function, name, version="1", description="", weights={}, new_revision=lambda: "r")

        table = {f"a{number:04d}": Alias(f"a{number:04d}", "1", "r") for number in range(ALIASES_MAX)}
        function = replace(function, aliases=dict(list(table.items())[1:]))
        assert len(add("a0000").aliases) == ALIASES_MAX == 1_000
        function = replace(function, aliases=table)
        with pytest.raises(AliasLimitExceeded, match="at most 1000 aliases"):
            add("one-more")
        assert ADDITIONAL_VERSIONS_MAX == 1

    house.run(scenario())


@pytest.mark.parametrize(
    ("weight", "draws", "version"),
    [(0.0, 0.0, "1"), (1.0, 0.999999, "2"), (0.5, 0.5, "1"), (0.5, 0.499, "2"), (None, None, "1")],
)
def test_a_draw_below_the_weight_goes_to_the_additional_version(weight: Any, draws: Any, version: str) -> None:
    def random() -> float:
        assert draws is not None, "nothing to choose, nothing to draw"
        return draws  # type: ignore[no-any-return]

    assert drawn(Alias("live", "1", "r", "", {} if weight is None else {"2": weight}), random) == version


def test_an_alias_draws_once_for_an_attempt_and_never_for_a_question(house: House) -> None:
    async def scenario() -> None:
        asked = iter([0.1, 0.9, 0.1])
        functions = house.open(random=lambda: next(asked))
        await functions.create(ref(), wanted(), code("a"), publish=True)
        await functions.update_code(ref(), code("b"), publish=True)
        await functions.close()
        await functions.change(
            ref(),
            lambda function: created(
                function, "live", version="1", description="", weights={"2": 0.5}, new_revision=lambda: "r"
            ),
        )
        assert functions.primary(ref(), "live").version == functions.get_version(ref(), "live").version == "1"
        assert functions.primary(ref(), None).version == "$LATEST"
        assert [functions.resolve(ref(), "live").version for _ in range(2)] == ["2", "1"]
        assert (await functions.active(ref(), "live")).version == "2"
        assert next(asked, None) is None
        for ask in (functions.resolve, functions.primary):
            with pytest.raises(FunctionNotFound, match=f"{ARN}:gone"):
                ask(ref(), "gone")

    house.run(scenario())


def test_aliases_survive_a_restart(house: House) -> None:
    async def scenario() -> None:
        await house.functions.create(ref(), wanted(), code(), publish=True)
        await house.functions.update_code(ref(), code("b"), publish=True)
        await house.functions.change(
            ref(),
            lambda function: created(
                function, "live", version="1", description="d", weights={"2": 0.3}, new_revision=lambda: "r"
            ),
        )
        await house.functions.close()
        function = house.functions.get(ref())
        read = decode_function(ref(), function.revision, encode_function(function), dict(function.versions))
        assert read == function
        assert house.open().get(ref()).aliases == {"live": Alias("live", "1", "r", "d", {"2": 0.3})}

    house.run(scenario())


def test_five_hundred_changes_at_once_are_all_made(house: House) -> None:
    class Yielding(MemoryFunctions):
        """A write takes a turn of the loop, as a write to a disk does."""

        async def swap(self, old: Function, new: Function) -> None:
            await asyncio.sleep(0)
            await super().swap(old, new)

    async def scenario() -> None:
        house.store = Yielding()
        functions = house.open()
        await functions.create(ref(), wanted(), code())
        await functions.close()
        before = functions.get(ref()).revision

        def one_more(function: Function) -> Function:
            return replace(function, tags={**function.tags, str(len(function.tags)): ""})

        await asyncio.gather(*(functions.change(ref(), one_more) for _ in range(500)))
        function = functions.get(ref())
        assert (len(function.tags), function.revision) == (500, before + 500)

    house.run(scenario())


def test_fifty_updates_at_once_each_have_a_revision_of_their_own(run: Run) -> None:
    async def scenario(client: Client) -> None:
        await client.publish(1)
        for number in range(10):
            await client.alias(f"a{number}")

        async def update(number: int) -> str:
            answer = await client("PUT", f"{ALIASES}/a{number % 10}", {"Description": str(number)})
            assert answer["Description"] == str(number)
            return str(answer["RevisionId"])

        revisions = await asyncio.gather(*(update(number) for number in range(50)))
        assert len(set(revisions)) == 50
        listed = (await client("GET", ALIASES))["Aliases"]
        assert {one["RevisionId"] for one in listed} <= set(revisions)
        assert all(int(one["Description"]) % 10 == int(one["Name"][1:]) for one in listed)

    run(scenario)
