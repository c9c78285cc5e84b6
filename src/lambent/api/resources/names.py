"""Who is meant, and whether this caller may: function names of requests resolved for the operations on functions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from lambent.domain.errors import AccessDenied, InvalidParameterValue
from lambent.domain.names import LATEST, FunctionRef, merge_qualifier, parse_function_name
from lambent.domain.statements import Asker, Question, Verdict, judge
from lambent.functions.policies import in_force

if TYPE_CHECKING:
    from lambent.functions.model import Function
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


class Shared(Protocol):
    """Where functions are looked up, and with them their policies."""

    def get(self, ref: FunctionRef, qualifier: str | None = None) -> Function:
        """The function; raises FunctionNotFound."""


def authorise(functions: Shared, caller: Caller, ref: FunctionRef, action: str, qualifier: str | None = None) -> None:
    """Within an account everything is allowed; another account's function exists first, and then its policy decides.

    qualifier: of the version or alias that is meant, on operations that take one. Raises AccessDenied.
    """
    if ref.account == caller.scope.account:
        return
    resource = ref.arn(None if qualifier == LATEST else qualifier)
    asker = Asker(caller.scope.account, caller.arn)
    context = {
        **_ABSENT,
        "aws:principalaccount": caller.scope.account,
        "aws:principalarn": asker.role_arn or caller.arn,
        "aws:requestedregion": caller.scope.region,
        "lambda:invokedviafunctionurl": "false",
    }
    statements = in_force(functions.get(ref), qualifier)
    verdict = judge(statements, Question(asker, f"lambda:{action}", resource, context))
    if verdict is Verdict.ALLOWED:
        return
    because = (
        "with an explicit deny in a resource-based policy"
        if verdict is Verdict.DENIED
        else f"because no resource-based policy allows the lambda:{action} action"
    )
    raise AccessDenied(
        f"User: {caller.arn} is not authorized to perform: lambda:{action} on resource: {resource} {because}"
    )


_ABSENT = dict.fromkeys(
    (
        "aws:sourceaccount",
        "aws:sourcearn",
        "aws:principalorgid",
        "lambda:eventsourcetoken",
        "lambda:functionurlauthtype",
    )
)
"""What conditions may ask about and a call with keys never has. There are no organisations here."""
