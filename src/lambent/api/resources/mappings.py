"""Event source mappings: CreateEventSourceMapping, GetEventSourceMapping, ListEventSourceMappings,
UpdateEventSourceMapping, DeleteEventSourceMapping."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lambent.api.ports import Answer
from lambent.api.resources.mapping_members import read_settings, show
from lambent.api.resources.pages import page_size, read_marker, write_marker
from lambent.api.retry import sdk_invocation_id
from lambent.domain.limits import MAPPING_PAGE_ITEMS_MAX
from lambent.domain.names import FunctionName, parse_function_name
from lambent.mappings.model import Wanted

if TYPE_CHECKING:
    from lambent.api.door import PublicDoor
    from lambent.identity.model import Caller
    from lambent.mappings.service import EventSourceMappings

_KIND = "mappings"


def register(door: PublicDoor, mappings: EventSourceMappings) -> None:
    """Serve the five operations."""
    resource = _Mappings(mappings)
    door.register("CreateEventSourceMapping", resource.create)
    door.register("GetEventSourceMapping", resource.get)
    door.register("ListEventSourceMappings", resource.list_mappings)
    door.register("UpdateEventSourceMapping", resource.update)
    door.register("DeleteEventSourceMapping", resource.delete)


class _Mappings:
    def __init__(self, mappings: EventSourceMappings) -> None:
        self._mappings = mappings

    async def create(self, caller: Caller, values: dict[str, Any]) -> Answer:
        accepted = await self._mappings.create(caller.scope, _wanted(caller, values))
        return Answer(show(accepted.mapping, accepted.state))

    async def get(self, caller: Caller, values: dict[str, Any]) -> Answer:
        return Answer(show(self._mappings.get(caller.scope, values["UUID"])))

    async def update(self, caller: Caller, values: dict[str, Any]) -> Answer:
        self._mappings.get(caller.scope, values["UUID"])
        accepted = await self._mappings.update(caller.scope, values["UUID"], _wanted(caller, values))
        return Answer(show(accepted.mapping, accepted.state))

    async def delete(self, caller: Caller, values: dict[str, Any]) -> Answer:
        accepted = await self._mappings.delete(caller.scope, values["UUID"])
        return Answer(show(accepted.mapping, accepted.state))

    async def list_mappings(self, caller: Caller, values: dict[str, Any]) -> Answer:
        named = _named(caller, values)
        size = page_size(values, MAPPING_PAGE_ITEMS_MAX)
        (after,) = read_marker(_KIND, values.get("Marker"), str) or [""]
        page = self._mappings.page(
            caller.scope,
            after,
            size + 1,
            # A name without a qualifier means the function and all its versions and aliases.
            function=None if named is None else named.ref.name,
            qualifier=None if named is None else named.qualifier,
            source_arn=values.get("EventSourceArn"),
        )
        output: dict[str, Any] = {"EventSourceMappings": [show(one, in_list=True) for one in page[:size]]}
        if len(page) > size:
            output["NextMarker"] = write_marker(_KIND, [page[size - 1].uuid])
        return Answer(output)


def _named(caller: Caller, values: dict[str, Any]) -> FunctionName | None:
    """The function named, if any; another account's is refused."""
    name = values.get("FunctionName")
    return None if name is None else parse_function_name(name, caller.scope)


def _wanted(caller: Caller, values: dict[str, Any]) -> Wanted:
    named = _named(caller, values)
    return Wanted(
        read_settings(values),
        None if named is None else named.ref,
        None if named is None else named.qualifier,
        values.get("Enabled"),
        values.get("Tags") or {},
        sdk_invocation_id.get(),
    )
