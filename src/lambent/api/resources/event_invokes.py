"""PutFunctionEventInvokeConfig, UpdateFunctionEventInvokeConfig, GetFunctionEventInvokeConfig,
DeleteFunctionEventInvokeConfig, ListFunctionEventInvokeConfigs: asynchronous invocation of one qualifier."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from lambent.api.ports import Answer
from lambent.api.resources.names import authorise, read_qualified, read_unqualified
from lambent.api.resources.pages import page_size, read_marker, write_marker
from lambent.domain.errors import FunctionNotFound
from lambent.domain.names import LATEST, FunctionRef
from lambent.functions import event_invokes
from lambent.functions.event_invokes import WantedEventInvoke

if TYPE_CHECKING:
    from lambent.api.door import PublicDoor
    from lambent.functions.model import EventInvoke, Function
    from lambent.functions.service import Functions
    from lambent.identity.model import Caller

_LIST = "event-invoke-configs"
_Decision = Callable[["Function", "str | None", WantedEventInvoke, int, event_invokes.Exists], "Function"]


def register(door: PublicDoor, functions: Functions) -> None:
    """Serve the five operations."""
    resource = _EventInvokes(functions)
    door.register("PutFunctionEventInvokeConfig", resource.put)
    door.register("UpdateFunctionEventInvokeConfig", resource.update)
    door.register("GetFunctionEventInvokeConfig", resource.get)
    door.register("DeleteFunctionEventInvokeConfig", resource.delete)
    door.register("ListFunctionEventInvokeConfigs", resource.list_configurations)


class _EventInvokes:
    def __init__(self, functions: Functions) -> None:
        self._functions = functions

    async def put(self, caller: Caller, values: dict[str, Any]) -> Answer:
        return await self._write(caller, values, "PutFunctionEventInvokeConfig", event_invokes.put)

    async def update(self, caller: Caller, values: dict[str, Any]) -> Answer:
        return await self._write(caller, values, "UpdateFunctionEventInvokeConfig", event_invokes.updated)

    async def get(self, caller: Caller, values: dict[str, Any]) -> Answer:
        ref, qualifier = read_qualified(caller, values)
        try:
            function = self._functions.get(ref)
        except FunctionNotFound:
            raise event_invokes.not_configured(ref, qualifier) from None
        authorise(self._functions, caller, ref, "GetFunctionEventInvokeConfig")
        return Answer(_show(ref, qualifier, event_invokes.configured(function, qualifier)))

    async def delete(self, caller: Caller, values: dict[str, Any]) -> Answer:
        ref, qualifier = read_qualified(caller, values)
        try:
            authorise(self._functions, caller, ref, "DeleteFunctionEventInvokeConfig")
            await self._functions.change(ref, lambda function: event_invokes.removed(function, qualifier))
        except FunctionNotFound:
            raise event_invokes.not_configured(ref, qualifier) from None
        return Answer({}, status=204)

    async def list_configurations(self, caller: Caller, values: dict[str, Any]) -> Answer:
        ref = read_unqualified(caller, values)
        try:
            function = self._functions.get(ref)
        except FunctionNotFound:
            raise event_invokes.no_function() from None
        authorise(self._functions, caller, ref, "ListFunctionEventInvokeConfigs")
        size = page_size(values)
        after = read_marker(_LIST, values.get("Marker"), str)
        names = [
            name
            for name in event_invokes.in_order(function)
            if after is None or event_invokes.is_behind(name, after[0])
        ]
        shown = [_show(ref, name, function.event_invokes[name]) for name in names[:size]]
        output: dict[str, Any] = {"FunctionEventInvokeConfigs": shown}
        if len(names) > size:
            output["NextMarker"] = write_marker(_LIST, [names[size - 1]])
        return Answer(output)

    async def _write(self, caller: Caller, values: dict[str, Any], action: str, decide: _Decision) -> Answer:
        wanted = _read(values)
        event_invokes.check_wanted(wanted)
        ref, qualifier = read_qualified(caller, values)
        now_ms = self._functions.stamp().now_ms
        try:
            authorise(self._functions, caller, ref, action)
            function = await self._functions.change(
                ref, lambda function: decide(function, qualifier, wanted, now_ms, self._functions.has)
            )
        except FunctionNotFound:
            raise event_invokes.no_function() from None
        return Answer(_show(ref, qualifier, event_invokes.configured(function, qualifier)))


def _read(values: dict[str, Any]) -> WantedEventInvoke:
    destinations = values.get("DestinationConfig")
    return WantedEventInvoke(
        values.get("MaximumRetryAttempts"),
        values.get("MaximumEventAgeInSeconds"),
        _read_destination(destinations, "OnSuccess"),
        _read_destination(destinations, "OnFailure"),
        has_destinations=destinations is not None,
    )


def _read_destination(destinations: dict[str, Any] | None, side: str) -> str | None:
    """The ARN of one side; empty when the side was given without one, None when it was not given."""
    given = None if destinations is None else destinations.get(side)
    return None if given is None else given.get("Destination") or ""


def _show(ref: FunctionRef, qualifier: str | None, one: EventInvoke) -> dict[str, Any]:
    return {
        "LastModified": one.modified_ms / 1_000,
        "FunctionArn": ref.arn(qualifier or LATEST),
        "MaximumRetryAttempts": one.retries,
        "MaximumEventAgeInSeconds": one.age_s,
        "DestinationConfig": {
            "OnSuccess": {} if one.on_success is None else {"Destination": one.on_success},
            "OnFailure": {} if one.on_failure is None else {"Destination": one.on_failure},
        },
    }
