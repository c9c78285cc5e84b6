"""CreateAlias, GetAlias, UpdateAlias, DeleteAlias, ListAliases."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, Any

from lambent.api.ports import Answer
from lambent.api.resources.names import authorise, read_unqualified
from lambent.api.resources.pages import page_size, read_marker, write_marker
from lambent.functions import aliases

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lambent.api.door import PublicDoor
    from lambent.domain.names import FunctionRef
    from lambent.functions.model import Alias
    from lambent.functions.service import Functions
    from lambent.identity.model import Caller

_ALIASES = "aliases"


def register(door: PublicDoor, functions: Functions) -> None:
    """Serve the five operations."""
    resource = _Aliases(functions)
    door.register("CreateAlias", resource.create)
    door.register("GetAlias", resource.get)
    door.register("UpdateAlias", resource.update)
    door.register("DeleteAlias", resource.delete)
    door.register("ListAliases", resource.list_aliases)


class _Aliases:
    def __init__(self, functions: Functions) -> None:
        self._functions = functions

    async def create(self, caller: Caller, values: dict[str, Any]) -> Answer:
        ref = read_unqualified(caller, values)
        name, version = values["Name"], values["FunctionVersion"]
        self._functions.get(ref, version)  # what is missing is named with the version, even if it is the function
        authorise(self._functions, caller, ref, "CreateAlias")
        function = await self._functions.change(
            ref,
            lambda function: aliases.created(
                function,
                name,
                version=version,
                description=values.get("Description", ""),
                weights=_read_weights(values) or {},
                new_revision=self._functions.stamp().new_revision,
            ),
        )
        return Answer(_show(ref, function.aliases[name]))

    async def get(self, caller: Caller, values: dict[str, Any]) -> Answer:
        ref = read_unqualified(caller, values)
        authorise(self._functions, caller, ref, "GetAlias")
        return Answer(_show(ref, aliases.existing(self._functions.get(ref), values["Name"])))

    async def update(self, caller: Caller, values: dict[str, Any]) -> Answer:
        ref = read_unqualified(caller, values)
        authorise(self._functions, caller, ref, "UpdateAlias")
        name = values["Name"]
        function = await self._functions.change(
            ref,
            lambda function: aliases.updated(
                function,
                name,
                version=values.get("FunctionVersion"),
                description=values.get("Description"),
                weights=_read_weights(values),
                revision_id=values.get("RevisionId"),
                new_revision=self._functions.stamp().new_revision,
            ),
        )
        return Answer(_show(ref, function.aliases[name]))

    async def delete(self, caller: Caller, values: dict[str, Any]) -> Answer:
        ref = read_unqualified(caller, values)
        authorise(self._functions, caller, ref, "DeleteAlias")
        await self._functions.change(ref, lambda function: aliases.deleted(function, values["Name"]))
        return Answer({})

    async def list_aliases(self, caller: Caller, values: dict[str, Any]) -> Answer:
        ref = read_unqualified(caller, values)
        authorise(self._functions, caller, ref, "ListAliases")
        wanted = values.get("FunctionVersion")
        known = [one for one in self._functions.get(ref).aliases.values() if wanted in (None, one.version)]
        size = page_size(values)
        (after,) = read_marker(_ALIASES, values.get("Marker"), str) or [""]
        start = bisect_right(known, after, key=lambda one: one.name)
        page = known[start : start + size]
        output: dict[str, Any] = {"Aliases": [_show(ref, one) for one in page]}
        if start + size < len(known):
            output["NextMarker"] = write_marker(_ALIASES, [page[-1].name])
        return Answer(output)


def _read_weights(values: dict[str, Any]) -> Mapping[str, float] | None:
    """None: RoutingConfig was not given; given without weights it takes away those that are there."""
    routing = values.get("RoutingConfig")
    if routing is None:
        return None
    return {version: float(weight) for version, weight in (routing.get("AdditionalVersionWeights") or {}).items()}


def _show(ref: FunctionRef, alias: Alias) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "AliasArn": ref.arn(alias.name),
        "Name": alias.name,
        "FunctionVersion": alias.version,
        "Description": alias.description,
        "RevisionId": alias.revision_id,
    }
    if alias.weights:
        shown["RoutingConfig"] = {"AdditionalVersionWeights": dict(alias.weights)}
    return shown
