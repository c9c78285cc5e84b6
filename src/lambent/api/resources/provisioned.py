"""PutProvisionedConcurrencyConfig, GetProvisionedConcurrencyConfig, DeleteProvisionedConcurrencyConfig,
ListProvisionedConcurrencyConfigs: environments kept initialised for a version or an alias."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Protocol

from lambent.api.ports import Answer
from lambent.api.resources.names import authorise, read_qualified
from lambent.api.resources.pages import page_size, read_marker, write_marker
from lambent.api.wire import Modelled
from lambent.domain.errors import InvalidParameterValue
from lambent.domain.names import FunctionRef, parse_function_name
from lambent.environments.provisioning import IN_PROGRESS, Standing
from lambent.functions.model import Function
from lambent.functions.provisioned import check_put, check_read, existing_targets, in_order, sort_key

if TYPE_CHECKING:
    from lambent.api.door import PublicDoor
    from lambent.functions.service import Functions
    from lambent.identity.model import Caller

_LIST = "provisioned"


class Standings(Protocol):
    """What is needed of `environments/`."""

    def standing(self, ref: FunctionRef, qualifier: str) -> Standing:
        """How far a configuration is there."""


def register(door: PublicDoor, functions: Functions, standings: Standings) -> None:
    """Serve the four operations."""
    resource = _Provisioned(functions, standings)
    door.register("PutProvisionedConcurrencyConfig", resource.put)
    door.register("GetProvisionedConcurrencyConfig", resource.get)
    door.register("DeleteProvisionedConcurrencyConfig", resource.delete)
    door.register("ListProvisionedConcurrencyConfigs", resource.list)


class _Provisioned:
    def __init__(self, functions: Functions, standings: Standings) -> None:
        self._functions = functions
        self._standings = standings

    async def put(self, caller: Caller, values: dict[str, Any]) -> Answer:
        ref, qualifier = _target(caller, values)
        check_put(qualifier)
        self._authorise(caller, ref, qualifier, "PutProvisionedConcurrencyConfig")
        function = await self._functions.provision(ref, qualifier, values["ProvisionedConcurrentExecutions"])
        shown = self._show(function, qualifier)
        shown["Status"] = IN_PROGRESS  # what follows is read with Get
        shown.pop("StatusReason", None)
        return Answer(shown)

    async def get(self, caller: Caller, values: dict[str, Any]) -> Answer:
        ref, qualifier = _target(caller, values)
        check_read(qualifier)
        self._authorise(caller, ref, qualifier, "GetProvisionedConcurrencyConfig")
        function = self._functions.get(ref)
        if qualifier not in function.provisioned:
            raise Modelled(
                "ProvisionedConcurrencyConfigNotFoundException",
                "No Provisioned Concurrency Config found for this function",
            )
        return Answer(self._show(function, qualifier))

    async def delete(self, caller: Caller, values: dict[str, Any]) -> Answer:
        ref, qualifier = _target(caller, values)
        check_read(qualifier)
        self._authorise(caller, ref, qualifier, "DeleteProvisionedConcurrencyConfig")
        await self._functions.unprovision(ref, qualifier)
        return Answer({}, status=204)

    async def list(self, caller: Caller, values: dict[str, Any]) -> Answer:
        named = parse_function_name(values["FunctionName"], caller.scope, cross_account=True)
        if named.qualifier is not None:
            raise InvalidParameterValue(
                "ListProvisionedConcurrencyConfigs lists what all versions and aliases of a function have; the function "
                f"name must not carry the qualifier {named.qualifier}."
            )
        function = self._functions.get(named.ref)
        authorise(self._functions, caller, named.ref, "ListProvisionedConcurrencyConfigs")
        marker = read_marker(_LIST, values.get("Marker"), str)
        qualifiers = [q for q in in_order(function) if marker is None or sort_key(q) > sort_key(marker[0])]
        size = page_size(values)
        page = qualifiers[:size]
        output: dict[str, Any] = {
            "ProvisionedConcurrencyConfigs": [
                {"FunctionArn": function.ref.arn(qualifier), **self._show(function, qualifier)} for qualifier in page
            ]
        }
        if len(qualifiers) > size:
            output["NextMarker"] = write_marker(_LIST, [page[-1]])
        return Answer(output)

    def _authorise(self, caller: Caller, ref: FunctionRef, qualifier: str, action: str) -> None:
        """Existence of the function and of the version or alias, then whose it is."""
        function = self._functions.get(ref) if self._functions.exists(ref) else None
        existing_targets(function, ref, qualifier)
        authorise(self._functions, caller, ref, action, qualifier)

    def _show(self, function: Function, qualifier: str) -> dict[str, Any]:
        configured = function.provisioned[qualifier]
        standing = self._standings.standing(function.ref, qualifier)
        shown = {
            "RequestedProvisionedConcurrentExecutions": configured.requested,
            "AvailableProvisionedConcurrentExecutions": standing.available,
            "AllocatedProvisionedConcurrentExecutions": standing.allocated,
            "Status": standing.status,
            "LastModified": time.strftime("%Y-%m-%dT%H:%M:%S+0000", time.gmtime(configured.modified_ms // 1_000)),
        }
        if standing.reason is not None:
            shown["StatusReason"] = standing.reason
        return shown


def _target(caller: Caller, values: dict[str, Any]) -> tuple[FunctionRef, str]:
    ref, qualifier = read_qualified(caller, values)
    assert qualifier is not None  # the model requires it
    return ref, qualifier
