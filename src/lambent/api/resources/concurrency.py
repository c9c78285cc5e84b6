"""PutFunctionConcurrency, GetFunctionConcurrency, DeleteFunctionConcurrency: reserved concurrency of one function."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lambent.api.ports import Answer
from lambent.api.resources.names import authorise
from lambent.domain.errors import InvalidParameterValue
from lambent.domain.names import FunctionRef, parse_function_name

if TYPE_CHECKING:
    from lambent.api.door import PublicDoor
    from lambent.functions.service import Functions
    from lambent.identity.model import Caller


def register(door: PublicDoor, functions: Functions) -> None:
    """Serve the three operations."""
    resource = _Concurrency(functions)
    door.register("PutFunctionConcurrency", resource.put)
    door.register("GetFunctionConcurrency", resource.get)
    door.register("DeleteFunctionConcurrency", resource.delete)


class _Concurrency:
    def __init__(self, functions: Functions) -> None:
        self._functions = functions

    async def put(self, caller: Caller, values: dict[str, Any]) -> Answer:
        ref = self._function(caller, values, "PutFunctionConcurrency")
        reserved: int = values["ReservedConcurrentExecutions"]
        await self._functions.reserve(ref, reserved)
        return Answer({"ReservedConcurrentExecutions": reserved})

    async def get(self, caller: Caller, values: dict[str, Any]) -> Answer:
        ref = self._function(caller, values, "GetFunctionConcurrency")
        reserved = self._functions.get(ref).reserved
        return Answer({} if reserved is None else {"ReservedConcurrentExecutions": reserved})

    async def delete(self, caller: Caller, values: dict[str, Any]) -> Answer:
        await self._functions.unreserve(self._function(caller, values, "DeleteFunctionConcurrency"))
        return Answer({}, status=204)

    def _function(self, caller: Caller, values: dict[str, Any], action: str) -> FunctionRef:
        named = parse_function_name(values["FunctionName"], caller.scope, cross_account=True)
        if named.qualifier is not None:
            raise InvalidParameterValue(
                "This operation is permitted on Lambda functions only. Aliases and versions do not support this "
                "operation. Please specify either a function name or an unqualified function ARN."
            )
        authorise(self._functions, caller, named.ref, action)
        return named.ref
