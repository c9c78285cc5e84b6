"""TagResource, UntagResource, ListTags: tags of everything that carries some, by its ARN.

A kind of resource is one registration: a `Taggable` under the word that stands in its ARNs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from lambent.api.ports import Answer
from lambent.api.resources.names import authorise
from lambent.domain.errors import FunctionNotFound, InvalidParameterValue, ResourceNotFound
from lambent.domain.names import FunctionRef, Scope, parse_function_name
from lambent.domain.tags import tagged, untagged
from lambent.functions.tags import retagged

if TYPE_CHECKING:
    from lambent.api.door import PublicDoor
    from lambent.functions.service import Functions
    from lambent.identity.model import Caller
    from lambent.mappings.service import EventSourceMappings

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
    """Resources of one kind, as far as their tags go. `name` is what follows the kind in their ARNs."""

    def find_tags(self, scope: Scope, name: str) -> Mapping[str, str] | None:
        """The resource's tags; None: there is no such resource."""

    async def change_tags(self, scope: Scope, name: str, change: Retag) -> bool:
        """Give the resource the tags that `change` makes of its own; False: there is no such resource."""


class FunctionTags:
    """Functions as the tag operations see them."""

    def __init__(self, functions: Functions) -> None:
        self._functions = functions

    def find_tags(self, scope: Scope, name: str) -> Mapping[str, str] | None:
        try:
            return self._functions.get(FunctionRef(scope.account, scope.region, name)).tags
        except FunctionNotFound:
            return None

    async def change_tags(self, scope: Scope, name: str, change: Retag) -> bool:
        stamp = self._functions.stamp()
        try:
            await self._functions.change(
                FunctionRef(scope.account, scope.region, name),
                lambda function: retagged(function, change(function.tags), stamp),
            )
        except FunctionNotFound:
            return False
        return True


class MappingTags:
    """Event source mappings as the tag operations see them."""

    def __init__(self, mappings: EventSourceMappings) -> None:
        self._mappings = mappings

    def find_tags(self, scope: Scope, name: str) -> Mapping[str, str] | None:
        mapping = self._mappings.find(scope, name)
        return None if mapping is None else mapping.tags

    async def change_tags(self, scope: Scope, name: str, change: Retag) -> bool:
        return await self._mappings.retag(scope, name, change) is not None


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
        kind, scope, name = self._named(caller, arn, "ListTags")
        resources = self._kinds.get(kind)
        tags = None if resources is None else resources.find_tags(scope, name)
        if tags is None:
            raise _not_found(kind, arn)
        return Answer({"Tags": dict(tags)})

    async def _change(self, caller: Caller, arn: str, action: str, change: Retag) -> Answer:
        kind, scope, name = self._named(caller, arn, action)
        resources = self._kinds.get(kind)
        if resources is None or not await resources.change_tags(scope, name, change):
            raise _not_found(kind, arn)
        return Answer({}, status=204)

    def _named(self, caller: Caller, arn: str, action: str) -> tuple[str, Scope, str]:
        """Kind, scope and name of the resource. A function's ARN is one of an unqualified function."""
        _, _, _, region, account, kind, *names = arn.split(":")
        if kind == FUNCTION:
            named = parse_function_name(arn, caller.scope, cross_account=True)
            if named.qualifier is not None:
                raise InvalidParameterValue(
                    "Tags on function aliases and versions are not supported. Please specify a function ARN."
                )
            authorise(self._functions, caller, named.ref, action)
            return kind, named.ref.scope, named.ref.name
        scope = Scope(account, region)
        if scope != caller.scope:
            raise _not_found(kind, arn)  # nothing crosses a scope, and no such resource can be shared
        return kind, scope, names[0]


def _not_found(kind: str, arn: str) -> ResourceNotFound:
    return ResourceNotFound(f"{NAMES[kind]} not found: {arn}")
