"""GetRuntimeManagementConfig, PutRuntimeManagementConfig, GetFunctionRecursionConfig, PutFunctionRecursionConfig."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lambent.api.ports import Answer
from lambent.api.resources.names import read_qualified, read_unqualified
from lambent.domain.names import LATEST, FunctionRef
from lambent.functions import runtime_management
from lambent.functions.model import RuntimeManagement

if TYPE_CHECKING:
    from lambent.api.door import PublicDoor
    from lambent.functions.service import Functions
    from lambent.identity.model import Caller


def register(door: PublicDoor, functions: Functions) -> None:
    """Serve the four operations."""
    resource = _RuntimeManagement(functions)
    door.register("GetRuntimeManagementConfig", resource.get)
    door.register("PutRuntimeManagementConfig", resource.put)
    door.register("GetFunctionRecursionConfig", resource.get_recursion)
    door.register("PutFunctionRecursionConfig", resource.put_recursion)


class _RuntimeManagement:
    def __init__(self, functions: Functions) -> None:
        self._functions = functions

    async def get(self, caller: Caller, values: dict[str, Any]) -> Answer:
        ref, qualifier = self._version(caller, values)
        return Answer(_show(ref, qualifier, runtime_management.managed(self._functions.get(ref), qualifier)))

    async def put(self, caller: Caller, values: dict[str, Any]) -> Answer:
        ref, qualifier = self._version(caller, values)
        wanted = RuntimeManagement(values["UpdateRuntimeOn"], values.get("RuntimeVersionArn"))
        await self._functions.change(ref, lambda function: runtime_management.changed(function, qualifier, wanted))
        return Answer(_show(ref, qualifier, wanted))

    async def get_recursion(self, caller: Caller, values: dict[str, Any]) -> Answer:
        ref = read_unqualified(caller, values, cross_account=False)
        return Answer({"RecursiveLoop": self._functions.get(ref).recursive_loop})

    async def put_recursion(self, caller: Caller, values: dict[str, Any]) -> Answer:
        ref = read_unqualified(caller, values, cross_account=False)
        wanted: str = values["RecursiveLoop"]
        await self._functions.change(ref, lambda function: replace(function, recursive_loop=wanted))
        return Answer({"RecursiveLoop": wanted})

    def _version(self, caller: Caller, values: dict[str, Any]) -> tuple[FunctionRef, str | None]:
        ref, qualifier = read_qualified(caller, values, cross_account=False)
        runtime_management.check_qualifier(ref, qualifier)
        return ref, qualifier


def _show(ref: FunctionRef, qualifier: str | None, one: RuntimeManagement) -> dict[str, Any]:
    return {
        "UpdateRuntimeOn": one.update_on,
        "FunctionArn": ref.arn(qualifier or LATEST),
        "RuntimeVersionArn": one.runtime_version_arn,
    }
