"""Who is meant, and whether this caller may: function names of requests resolved for the operations on functions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lambent.domain.errors import AccessDenied, InvalidParameterValue
from lambent.domain.names import LATEST, FunctionRef, merge_qualifier, parse_function_name

if TYPE_CHECKING:
    from lambent.functions.service import Functions
    from lambent.identity.model import Caller


def read_qualified(
    caller: Caller, values: dict[str, Any], *, cross_account: bool = True
) -> tuple[FunctionRef, str | None]:
    """FunctionName and Qualifier of an operation that takes both; they must agree."""
    named = parse_function_name(values["FunctionName"], caller.scope, cross_account=cross_account)
    return named.ref, merge_qualifier(named, values.get("Qualifier"))


def read_unqualified(caller: Caller, values: dict[str, Any], *, cross_account: bool = True) -> FunctionRef:
    """FunctionName of an operation on $LATEST, which the name may say but need not."""
    named = parse_function_name(values["FunctionName"], caller.scope, cross_account=cross_account)
    if named.qualifier not in (None, LATEST):
        raise InvalidParameterValue(
            f"This operation works on {LATEST}; the function name must not carry the qualifier {named.qualifier}."
        )
    return named.ref


def authorise(functions: Functions, caller: Caller, ref: FunctionRef, action: str) -> None:
    """Within an account everything is allowed; another account's function exists first, and is then refused for want of
    a policy that would share it."""
    if ref.account == caller.scope.account:
        return
    functions.get(ref)
    raise not_shared(caller, ref, action)


def not_shared(caller: Caller, ref: FunctionRef, action: str) -> AccessDenied:
    """The refusal of another account's function, which no policy shares."""
    return AccessDenied(
        f"User: {caller.arn} is not authorized to perform: lambda:{action} on resource: {ref.arn()} because no "
        f"resource-based policy allows the lambda:{action} action"
    )
