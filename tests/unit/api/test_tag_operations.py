"""Tags of functions and event source mappings on the wire, and of kinds that are registered."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import pytest
from tests.unit.api.doubles import Believing
from tests.unit.functions.house import code, ref, wanted
from tests.unit.mappings.mapping_world import Client, session

from lambent.api.door import PublicDoor
from lambent.api.resources import tags as tags_resource
from lambent.api.resources.tags import NAMES, Retag
from lambent.api.table import load_table
from lambent.domain.limits import TAGS_PER_RESOURCE_MAX
from lambent.domain.names import Scope

TAGS = "/2017-03-31/tags"
ARN = "arn:aws:lambda:us-east-1:123456789012"
FUNCTION = f"{ARN}:function:fn"
NOWHERE = "0190a5c4-0000-4000-8000-000000000001"
CONFIG = "csc-0123456789abcdefg"
INVALID = "InvalidParameterValueException"
NOT_FOUND = "ResourceNotFoundException"


async def tag(client: Client, arn: str, tags: dict[str, str], status: int = 204) -> Any:
    return await client("POST", f"{TAGS}/{quote(arn, safe='')}", {"Tags": tags}, status)


async def untag(client: Client, arn: str, *keys: str, status: int = 204) -> Any:
    query = "&".join(f"tagKeys={quote(key, safe='')}" for key in keys)
    return await client("DELETE", f"{TAGS}/{quote(arn, safe='')}?{query}", status=status)


async def tags_of(client: Client, arn: str, status: int = 200) -> Any:
    return await client("GET", f"{TAGS}/{quote(arn, safe='')}", status=status)


async def resource(client: Client, kind: str) -> str:
    """The ARN of a resource without tags."""
    if kind == "function":
        return FUNCTION
    return str((await client.create("sqs"))["EventSourceMappingArn"])


@pytest.mark.parametrize("kind", ["function", "event-source-mapping"])
def test_tags_are_merged_and_taken_away(kind: str) -> None:
    async def scenario(client: Client) -> None:
        arn = await resource(client, kind)
        assert await tags_of(client, arn) == {"Tags": {}}
        assert await tag(client, arn, {"a": "1", "b": ""}) is None
        await tag(client, arn, {"b": "2", "ключ : /=+-@._": "значение"})
        everything = {"a": "1", "b": "2", "ключ : /=+-@._": "значение"}
        assert await tags_of(client, arn) == {"Tags": everything}
        assert await untag(client, arn, "a", "unknown", "ключ : /=+-@._") is None
        assert await tags_of(client, arn) == {"Tags": {"b": "2"}}
        await untag(client, arn, "b")
        assert await tags_of(client, arn) == {"Tags": {}}

    session(scenario)


@pytest.mark.parametrize("kind", ["function", "event-source-mapping"])
def test_fifty_tags_are_counted_after_the_merge(kind: str) -> None:
    async def scenario(client: Client) -> None:
        arn = await resource(client, kind)
        many = {f"k{number}": "" for number in range(TAGS_PER_RESOURCE_MAX)}
        await tag(client, arn, many)
        await tag(client, arn, {"k0": "changed"})
        error, message = await tag(client, arn, {"k1": "not stored", "one": "more"}, 400)
        assert (error, message) == (INVALID, "A resource carries at most 50 tags; 51 were given.")
        assert await tags_of(client, arn) == {"Tags": {**many, "k0": "changed"}}

    session(scenario)


@pytest.mark.parametrize("kind", ["function", "event-source-mapping"])
def test_refused_tags(kind: str) -> None:
    async def scenario(client: Client) -> None:
        arn = await resource(client, kind)
        cannot = (INVALID, "An error occurred and the request cannot be processed.")
        assert await tag(client, arn, {}, 400) == cannot
        for key in ("aws:x", "AWS:x"):
            error, message = await tag(client, arn, {"good": "", key: "y"}, 400)
            assert (error, message) == (INVALID, f"Tag keys that start with aws: are reserved: {key}")
        error, message = await tag(client, arn, {"x" * 129: "", "y": "z" * 257, "!": ""}, 400)
        assert error == "ValidationException"
        assert "at 'tags' failed to satisfy constraint: Map keys must satisfy constraint: [" in message
        assert await untag(client, arn, status=400) == (
            "ValidationException",
            "1 validation error detected: Value null at 'tagKeys' failed to satisfy constraint: Member must not be null",
        )
        assert await tags_of(client, arn) == {"Tags": {}}

    session(scenario)


@pytest.mark.parametrize(
    ("rest", "message"),
    [
        ("function:nope", "Function not found: {arn}"),
        (f"event-source-mapping:{NOWHERE}", "Event source mapping not found: {arn}"),
        ("capacity-provider:nope", "Capacity provider not found: {arn}"),
        (f"code-signing-config:{CONFIG}", "Code signing config not found: {arn}"),
        ("network-connector:nope", "Network connector not found: {arn}"),
    ],
)
def test_resources_that_do_not_exist(rest: str, message: str) -> None:
    async def scenario(client: Client) -> None:
        arn = f"{ARN}:{rest}"
        expected = (NOT_FOUND, message.format(arn=arn))
        assert await tag(client, arn, {"a": "b"}, 404) == expected
        assert await untag(client, arn, "a", status=404) == expected
        assert await tags_of(client, arn, 404) == expected
        assert await tag(client, arn, {}, 400) == (INVALID, "An error occurred and the request cannot be processed.")

    session(scenario)


@pytest.mark.parametrize(
    "rest",
    [
        "layer:l",
        "layer:l:1",
        "nonsense:x",
        "function",
        "function:fn:1:2",
        "function:a.b",
        f"event-source-mapping:{NOWHERE}:x",
        f"event-source-mapping:{NOWHERE[:-1]}",
        "capacity-provider:p:x",
        "capacity-provider:" + "p" * 65,
        f"code-signing-config:{CONFIG}x",
        "code-signing-config:csc-UPPERCASEUPPERCAS",
    ],
)
def test_what_is_no_arn_of_something_with_tags(rest: str) -> None:
    """The model's pattern of today, as printed."""
    shape = load_table().operations["ListTags"].input
    assert shape is not None
    pattern = shape.members["Resource"].shape.pattern

    async def scenario(client: Client) -> None:
        arn = f"{ARN}:{rest}"
        expected = (
            "ValidationException",
            f"1 validation error detected: Value '{arn}' at 'resource' failed to satisfy constraint: "
            f"Member must satisfy regular expression pattern: {pattern}",
        )
        assert await tag(client, arn, {"a": "b"}, 400) == expected
        assert await untag(client, arn, "a", status=400) == expected
        assert await tags_of(client, arn, 400) == expected

    session(scenario)


@pytest.mark.parametrize("qualifier", ["1", "$LATEST", "live"])
@pytest.mark.parametrize("name", ["fn", "nope"])
def test_versions_and_aliases_have_no_tags(name: str, qualifier: str) -> None:
    """Said before anything is looked up."""
    expected = (INVALID, "Tags on function aliases and versions are not supported. Please specify a function ARN.")

    async def scenario(client: Client) -> None:
        arn = f"{ARN}:function:{name}:{qualifier}"
        assert await tag(client, arn, {"a": "b"}, 400) == expected
        assert await untag(client, arn, "a", status=400) == expected
        assert await tags_of(client, arn, 400) == expected

    session(scenario)


def test_nothing_crosses_a_scope() -> None:
    async def scenario(client: Client) -> None:
        uuid = (await client.create("sqs"))["UUID"]
        for place in ("aws:lambda:us-east-1:210987654321", "aws:lambda:eu-west-1:123456789012"):
            arn = f"arn:{place}:event-source-mapping:{uuid}"
            expected = (NOT_FOUND, f"Event source mapping not found: {arn}")
            assert await tags_of(client, arn, 404) == expected
            assert await tag(client, arn, {"a": "b"}, 404) == expected
        theirs = "arn:aws:lambda:us-east-1:210987654321:function:fn"
        assert await tags_of(client, theirs, 404) == (NOT_FOUND, f"Function not found: {theirs}")
        far = "arn:aws:lambda:eu-west-1:123456789012:function:fn"
        expected = (NOT_FOUND, "Functions from 'eu-west-1' are not reachable in this region ('us-east-1')")
        assert await tags_of(client, far, 404) == expected
        shared = ref("shared")
        await client.house.functions.create(
            type(shared)("210987654321", "us-east-1", "shared"), wanted(), code(), tags={"a": "b"}
        )
        for action, call in [
            ("TagResource", tag(client, f"{theirs[:-2]}shared", {"a": "b"}, 403)),
            ("UntagResource", untag(client, f"{theirs[:-2]}shared", "a", status=403)),
            ("ListTags", tags_of(client, f"{theirs[:-2]}shared", 403)),
        ]:
            error, message = await call
            assert error == "AccessDeniedException"
            assert f"is not authorized to perform: lambda:{action}" in message

    session(scenario)


def test_tagging_a_function_changes_the_revision_id_of_latest_alone() -> None:
    async def scenario(client: Client) -> None:
        functions = client.house.functions
        await functions.active(ref(), None)
        seen = {functions.get_version(ref(), None).revision_id}
        published = functions.get_version(ref(), "1")
        for change in (
            lambda: tag(client, FUNCTION, {"a": "b"}),
            lambda: tag(client, FUNCTION, {"a": "b"}),
            lambda: untag(client, FUNCTION, "a"),
            lambda: untag(client, FUNCTION, "a"),
        ):
            before = functions.get_version(ref(), None)
            await change()
            after = functions.get_version(ref(), None)
            assert after.revision_id not in seen
            assert after.last_modified_ms == before.last_modified_ms
            assert after.generation == before.generation
            seen.add(after.revision_id)
        before = functions.get_version(ref(), None)
        await tag(client, FUNCTION, {"aws:": ""}, 400)
        await tags_of(client, FUNCTION)
        assert functions.get_version(ref(), None) == before
        assert functions.get_version(ref(), "1") == published

    session(scenario)


def test_tags_of_a_creation_live_and_end_with_the_mapping() -> None:
    async def scenario(client: Client) -> None:
        created = await client.create("kinesis", Tags={"a": "b"})
        arn = created["EventSourceMappingArn"]
        assert "Tags" not in created
        assert await tags_of(client, arn) == {"Tags": {"a": "b"}}
        modified = (await client.get(created["UUID"]))["LastModified"]
        client.house.clock.advance(1)
        await tag(client, arn, {"c": "d"})
        assert (await client.get(created["UUID"]))["LastModified"] == modified
        await client.update(created["UUID"], BatchSize=7)
        client.open()
        assert await tags_of(client, arn) == {"Tags": {"a": "b", "c": "d"}}
        await client.delete(created["UUID"])
        assert await tags_of(client, arn, 404) == (NOT_FOUND, f"Event source mapping not found: {arn}")

    session(scenario)


def test_taggers_at_once_lose_nothing() -> None:
    async def scenario(client: Client) -> None:
        for arn in (FUNCTION, await resource(client, "event-source-mapping")):
            await asyncio.gather(*(tag(client, arn, {f"k{number}": str(number)}) for number in range(40)))
            assert await tags_of(client, arn) == {"Tags": {f"k{number}": str(number) for number in range(40)}}

    session(scenario)


class Shelf:
    """A kind of resource that exists for this test."""

    def __init__(self, arn: str) -> None:
        self.kept: Mapping[str, str] = {"a": "b"}
        self.arn = arn

    def tags(self, arn: str, scope: Scope) -> Mapping[str, str]:
        assert (arn, scope) == (self.arn, Scope("123456789012", "us-east-1"))
        return self.kept

    async def change_tags(self, arn: str, scope: Scope, decide: Retag) -> None:
        self.kept = decide(self.tags(arn, scope))


@pytest.mark.parametrize("kind", sorted(NAMES.keys() - {"function"}))
def test_a_kind_is_one_registration(kind: str) -> None:
    name = {"event-source-mapping": NOWHERE, "code-signing-config": CONFIG}.get(kind, "p_1-x")

    async def scenario(client: Client) -> None:
        arn = f"{ARN}:{kind}:{name}"
        client.door = PublicDoor(Believing())
        tags_resource.register(client.door, client.house.functions, {kind: Shelf(arn)})
        await tag(client, arn, {"c": "d"})
        await untag(client, arn, "a")
        assert await tags_of(client, arn) == {"Tags": {"c": "d"}}

    session(scenario)
