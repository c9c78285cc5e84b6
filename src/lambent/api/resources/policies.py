"""AddPermission, RemovePermission, GetPolicy, and whole documents: PutResourcePolicy, GetResourcePolicy,
DeleteResourcePolicy. All work on the same policies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lambent.api.ports import Answer
from lambent.api.resources.names import authorise, read_qualified
from lambent.domain.errors import InvalidParameterValue, ResourceNotFound
from lambent.domain.names import LATEST, merge_qualifier, parse_function_name
from lambent.functions import policies
from lambent.functions.model import UNQUALIFIED

if TYPE_CHECKING:
    from lambent.api.door import PublicDoor
    from lambent.domain.names import FunctionRef
    from lambent.functions.model import Function
    from lambent.functions.service import Functions
    from lambent.identity.model import Caller


def register(door: PublicDoor, functions: Functions) -> None:
    """Serve the six operations."""
    resource = _Policies(functions)
    door.register("AddPermission", resource.add)
    door.register("RemovePermission", resource.remove)
    door.register("GetPolicy", resource.get)
    door.register("PutResourcePolicy", resource.put_document)
    door.register("GetResourcePolicy", resource.get_document)
    door.register("DeleteResourcePolicy", resource.delete_document)


class _Policies:
    def __init__(self, functions: Functions) -> None:
        self._functions = functions

    async def add(self, caller: Caller, values: dict[str, Any]) -> Answer:
        named = parse_function_name(values["FunctionName"], caller.scope)
        _refuse_latest(values.get("Qualifier"))
        qualifier = merge_qualifier(named, values.get("Qualifier"))
        _refuse_latest(qualifier)
        ref = named.ref
        key = policies.target(self._functions.get(ref), qualifier)
        statement = policies.statement(_read_permission(values), ref, key)
        await self._functions.change(
            ref,
            lambda function: policies.added(
                function,
                key,
                statement,
                revision_id=values.get("RevisionId"),
                new_revision=self._functions.stamp().new_revision,
            ),
        )
        return Answer({"Statement": policies.written(statement)})

    async def remove(self, caller: Caller, values: dict[str, Any]) -> Answer:
        named = parse_function_name(values["FunctionName"], caller.scope)
        qualifier = merge_qualifier(named, values.get("Qualifier"))
        ref = named.ref
        if not self._functions.exists(ref):
            raise ResourceNotFound(f"No policy found for: {ref.arn()}")
        key = policies.target(self._functions.get(ref), qualifier)
        await self._functions.change(
            ref,
            lambda function: policies.removed(
                function,
                key,
                values["StatementId"],
                revision_id=values.get("RevisionId"),
                new_revision=self._functions.stamp().new_revision,
            ),
        )
        return Answer({})

    async def get(self, caller: Caller, values: dict[str, Any]) -> Answer:
        ref, qualifier = read_qualified(caller, values)
        function = self._existing(ref)
        authorise(self._functions, caller, ref, "GetPolicy", qualifier)
        return _shown(function, UNQUALIFIED if qualifier in (None, LATEST) else qualifier)

    async def put_document(self, caller: Caller, values: dict[str, Any]) -> Answer:
        ref, key = self._place(caller, values)
        function = await self._functions.change(
            ref,
            lambda function: policies.put(
                function,
                key,
                values["Policy"],
                revision_id=values.get("RevisionId"),
                new_revision=self._functions.stamp().new_revision,
            ),
        )
        return _shown(function, key)

    async def get_document(self, caller: Caller, values: dict[str, Any]) -> Answer:
        ref, key = self._place(caller, values)
        return _shown(self._existing(ref), key)

    async def delete_document(self, caller: Caller, values: dict[str, Any]) -> Answer:
        ref, key = self._place(caller, values)
        await self._functions.change(
            ref, lambda function: policies.deleted(function, key, revision_id=values.get("RevisionId"))
        )
        return Answer({})

    def _place(self, caller: Caller, values: dict[str, Any]) -> tuple[FunctionRef, str]:
        """The function and the key that ResourceArn means; both are there."""
        arn: str = values["ResourceArn"]
        if ":function:" not in arn:  # a customer-managed runtime: there is none here
            raise policies.no_such_resource()
        named = parse_function_name(arn, caller.scope)
        _refuse_latest(named.qualifier)
        function = self._existing(named.ref)
        try:
            return named.ref, policies.target(function, named.qualifier)
        except ResourceNotFound:
            raise policies.no_such_resource() from None

    def _existing(self, ref: FunctionRef) -> Function:
        if not self._functions.exists(ref):
            raise policies.no_such_resource()
        return self._functions.get(ref)


def _shown(function: Function, key: str) -> Answer:
    policy = function.policies.get(key)
    if policy is None:
        raise policies.no_such_resource()
    return Answer({"Policy": policies.written(policy.document), "RevisionId": policy.revision_id})


def _refuse_latest(qualifier: str | None) -> None:
    if qualifier == LATEST:
        raise InvalidParameterValue("We currently do not support adding policies for $LATEST.")


def _read_permission(values: dict[str, Any]) -> policies.Permission:
    return policies.Permission(
        sid=values["StatementId"],
        action=values["Action"],
        principal=values["Principal"],
        source_account=values.get("SourceAccount"),
        function_url_auth_type=values.get("FunctionUrlAuthType"),
        principal_org_id=values.get("PrincipalOrgID"),
        event_source_token=values.get("EventSourceToken"),
        source_arn=values.get("SourceArn"),
        invoked_via_function_url=values.get("InvokedViaFunctionUrl", False),
    )
