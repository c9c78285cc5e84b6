"""TagResource, UntagResource, ListTags: tags of everything that carries some, by its ARN.

A kind of resource is one registration: a `Taggable` under the word that stands in its ARNs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from lambent.api.ports import Answer
from lambent.api.resources.names import authorise
from lambent.domain.errors import InvalidParameterValue, ResourceNotFound
from lambent.domain.names import Scope, parse_function_name
from lambent.domain.tags import tagged, untagged
from lambent.functions.tags import retagged

if TYPE_CHECKING:
    from lambent.api.door import PublicDoor
    from lambent.functions.service import Functions
    from lambent.identity.model import Caller

Retag = Callable[[Mapping[str, str]], Mapping[str, str]]
"""Tags as they stand → as they shall stand, or what the caller reads is raised."""

FUNCTION = "function"
NAMES = {
    FUNCTION: "Function",
    "event-source-mapping": "Event source mapping",
    "code-signing-config": "Code signing config",
    "capacity-provider": "Capacity provider",
    "network-connector": "Network connector",
}
"""Kinds of resources as ARNs write them, and as refusals do."""


class Taggable(Protocol):
    """Resources of one kind, as far as their tags go. What is not there, or in another scope, is a ResourceNotFound in
    the words of `not_found`."""

    def tags(self, arn: str, scope: Scope) -> Mapping[str, str]:
        """The tags of the resource."""

    async def change_tags(self, arn: str, scope: Scope, decide: Retag) -> None:
        """Give the resource the tags that `decide` makes of its own."""


class FunctionTags:
    """Functions as the tag operations see them."""

    def __init__(self, functions: Functions) -> None:
        self._functions = functions

    def tags(self, arn: str, scope: Scope) -> Mapping[str, str]:
        return self._functions.get(parse_function_name(arn, scope).ref).tags

    async def change_tags(self, arn: str, scope: Scope, decide: Retag) -> None:
        stamp = self._functions.stamp()
        await self._functions.change(
            parse_function_name(arn, scope).ref, lambda function: retagged(function, decide(function.tags), stamp)
        )


def register(door: PublicDoor, functions: Functions, kinds: Mapping[str, Taggable]) -> None:
    """Serve the three operations. kinds: what carries tags, by the word in its ARNs (one of NAMES); what is missing
    here does not exist. functions: says of another account's whether it exists and is shared."""
    resource = _Tags(functions, {FUNCTION: FunctionTags(functions), **kinds})
    door.register("TagResource", resource.tag)
    door.register("UntagResource", resource.untag)
    door.register("ListTags", resource.list_tags)


class _Tags:
    def __init__(self, functions: Functions, kinds: Mapping[str, Taggable]) -> None:
        assert kinds.keys() <= NAMES.keys(), kinds.keys() - NAMES.keys()
        self._functions = functions
        self._kinds = kinds

    async def tag(self, caller: Caller, values: dict[str, Any]) -> Answer:
        tags: dict[str, str] = values["Tags"]
        if not tags:
            raise InvalidParameterValue("An error occurred and the request cannot be processed.")
        return await self._change(caller, values["Resource"], "TagResource", lambda stored: tagged(stored, tags))

    async def untag(self, caller: Caller, values: dict[str, Any]) -> Answer:
        keys: list[str] = values["TagKeys"]
        return await self._change(caller, values["Resource"], "UntagResource", lambda stored: untagged(stored, keys))

    async def list_tags(self, caller: Caller, values: dict[str, Any]) -> Answer:
        arn: str = values["Resource"]
        return Answer({"Tags": dict(self._resources(caller, arn, "ListTags").tags(arn, caller.scope))})

    async def _change(self, caller: Caller, arn: str, action: str, change: Retag) -> Answer:
        await self._resources(caller, arn, action).change_tags(arn, caller.scope, change)
        return Answer({}, status=204)

    def _resources(self, caller: Caller, arn: str, action: str) -> Taggable:
        """The resources among which `arn` is to be found. A function's ARN is one of an unqualified function."""
        kind = arn.split(":")[5]
        if kind == FUNCTION:
            named = parse_function_name(arn, caller.scope, cross_account=True)
            if named.qualifier is not None:
                raise InvalidParameterValue(
                    "Tags on function aliases and versions are not supported. Please specify a function ARN."
                )
            authorise(self._functions, caller, named.ref, action)
        if kind not in self._kinds:
            raise not_found(kind, arn)
        return self._kinds[kind]


def not_found(kind: str, arn: str) -> ResourceNotFound:
    return ResourceNotFound(f"{NAMES[kind]} not found: {arn}")
