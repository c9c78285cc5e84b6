"""Resource policies: one document for each function, version or alias, edited by statement or as a whole.

Pure decisions, in the documented order and the service's words.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import orjson

from ..domain.errors import (
    FunctionNotFound,
    InvalidParameterValue,
    PolicyLengthExceeded,
    PreconditionFailed,
    ResourceConflict,
    ResourceNotFound,
)
from ..domain.limits import POLICY_BYTES_MAX
from ..domain.names import LATEST, FunctionRef, is_account, is_version, partition_of
from . import aliases
from .model import UNQUALIFIED, Function, Policy
from .policy_documents import read_document

_ALIAS = re.compile(r"[a-zA-Z0-9-_]+")
_PRINCIPAL_ARN = re.compile(
    r"arn:aws[a-zA-Z-]*:(iam::\d{12}:(root|user/\S+|role/\S+|federated-user/\S+)"
    r"|sts::\d{12}:(assumed-role|federated-user)/\S+)"
)
_SERVICE = re.compile(r"[a-zA-Z0-9-]+(\.[a-zA-Z0-9-]+)+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Permission:
    """One permission as asked for; None: not given."""

    sid: str
    action: str
    principal: str
    source_account: str | None = None
    function_url_auth_type: str | None = None
    principal_org_id: str | None = None
    event_source_token: str | None = None
    source_arn: str | None = None
    invoked_via_function_url: bool = False


def target(function: Function, qualifier: str | None) -> str:
    """The policy's key for a qualifier, `UNQUALIFIED` for none and for $LATEST; raises when there is no such version or
    alias, in the words of the operations on permissions."""
    if qualifier is None or qualifier == LATEST:
        return UNQUALIFIED
    if is_version(qualifier):
        if qualifier not in function.versions:
            raise FunctionNotFound(function.ref.arn(qualifier))
    elif _ALIAS.fullmatch(qualifier):
        aliases.existing(function, qualifier)
    else:
        raise FunctionNotFound(function.ref.arn(qualifier))
    return qualifier


def statement(permission: Permission, ref: FunctionRef, key: str) -> dict[str, Any]:
    """The permission as a statement, members in the service's order. key: as `target` answers it."""
    shown = {
        "Sid": permission.sid,
        "Effect": "Allow",
        "Principal": _principal(permission.principal, ref),
        "Action": permission.action,
        "Resource": resource_arn(ref, key),
    }
    if permission.function_url_auth_type is not None and permission.action != "lambda:InvokeFunctionUrl":
        raise InvalidParameterValue("FunctionUrlAuthType is only supported for lambda:InvokeFunctionUrl action")
    equals = {
        "AWS:SourceAccount": permission.source_account,
        "lambda:FunctionUrlAuthType": permission.function_url_auth_type,
        "aws:PrincipalOrgID": permission.principal_org_id,
        "lambda:EventSourceToken": permission.event_source_token,
    }
    condition: dict[str, Any] = {}
    if given := {name: value for name, value in equals.items() if value is not None}:
        condition["StringEquals"] = given
    if permission.source_arn is not None:
        condition["ArnLike"] = {"AWS:SourceArn": permission.source_arn}
    if permission.invoked_via_function_url:
        condition["Bool"] = {"lambda:InvokedViaFunctionUrl": "true"}
    if condition:
        shown["Condition"] = condition
    return shown


def added(
    function: Function,
    key: str,
    one: Mapping[str, Any],
    *,
    revision_id: str | None,
    new_revision: Callable[[], str],
) -> Function:
    """The function with one statement more in the policy of `key`."""
    _check_revision(function, target(function, key or None), revision_id, "GetPolicy")
    policy = function.policies.get(key)
    document = _EMPTY if policy is None else policy.document
    if any(other.get("Sid") == one["Sid"] for other in document["Statement"]):
        raise ResourceConflict(
            f"The statement id ({one['Sid']}) provided already exists. Please provide a new statement id, or remove the "
            "existing statement."
        )
    return _with(function, key, {**document, "Statement": [*document["Statement"], one]}, new_revision)


def removed(
    function: Function, key: str, sid: str, *, revision_id: str | None, new_revision: Callable[[], str]
) -> Function:
    """The function without that statement; without the policy when it was the last one."""
    _check_revision(function, target(function, key or None), revision_id, "GetPolicy")
    policy = function.policies.get(key)
    if policy is None:
        raise ResourceNotFound("No policy is associated with the given resource.")
    left = [one for one in policy.document["Statement"] if one.get("Sid") != sid]
    if len(left) == len(policy.document["Statement"]):
        raise ResourceNotFound(f"Statement {sid} is not found in resource policy.")
    if not left:
        return _without(function, key)
    return _with(function, key, {**policy.document, "Statement": left}, new_revision)


def put(
    function: Function, key: str, text: str, *, revision_id: str | None, new_revision: Callable[[], str]
) -> Function:
    """The function with `text` in place of the whole policy."""
    target(function, key or None)
    _check_revision(function, key, revision_id, "GetResourcePolicy")
    return _with(function, key, read_document(text, function.ref), new_revision)


def deleted(function: Function, key: str, *, revision_id: str | None) -> Function:
    """The function without the policy of `key`."""
    if key not in function.policies:
        raise no_such_resource()
    _check_revision(function, key, revision_id, "GetResourcePolicy")
    return _without(function, key)


def no_such_resource() -> ResourceNotFound:
    """The one answer to a policy that is looked for and not there, whatever is missing."""
    return ResourceNotFound("The resource you requested does not exist.")


def resource_arn(ref: FunctionRef, key: str) -> str:
    """The ARN that the statements of a key name."""
    return ref.arn(key or None)


def written(document: Mapping[str, Any]) -> str:
    """A document or a statement as compact JSON, the form in which it is shown and measured."""
    return orjson.dumps(document).decode()


def in_force(function: Function, qualifier: str | None) -> Iterator[Mapping[str, Any]]:
    """The statements that decide about a qualifier: its own, and the function's, whose Resource may be a wildcard."""
    keys = (UNQUALIFIED,) if qualifier is None or qualifier == LATEST else (UNQUALIFIED, qualifier)
    for key in keys:
        policy = function.policies.get(key)
        if policy is not None:
            yield from policy.document["Statement"]


_EMPTY: Mapping[str, Any] = {"Version": "2012-10-17", "Id": "default", "Statement": []}


def _principal(named: str, ref: FunctionRef) -> str | dict[str, str]:
    if named == "*":
        return named
    if is_account(named):
        return {"AWS": f"arn:{partition_of(ref.region)}:iam::{named}:root"}
    if _PRINCIPAL_ARN.fullmatch(named):
        return {"AWS": named}
    if _SERVICE.fullmatch(named):
        return {"Service": named}
    raise InvalidParameterValue("The provided principal was invalid. Please check the principal and try again.")


def _check_revision(function: Function, key: str, revision_id: str | None, reader: str) -> None:
    """Against the policy's RevisionId; while there is none, against that of what the policy will belong to."""
    if revision_id is None:
        return
    policy = function.policies.get(key)
    if policy is not None:
        current = policy.revision_id
    elif key in function.aliases:
        current = function.aliases[key].revision_id
    else:
        current = function.versions.get(key, function.latest).revision_id
    if revision_id != current:
        raise PreconditionFailed(
            "The Revision Id provided does not match the latest Revision Id. "
            f"Call the {reader} API to retrieve the latest Revision Id"
        )


def _with(function: Function, key: str, document: Mapping[str, Any], new_revision: Callable[[], str]) -> Function:
    size = len(orjson.dumps(document))
    if size > POLICY_BYTES_MAX:
        raise PolicyLengthExceeded(f"The final policy size ({size}) is bigger than the limit ({POLICY_BYTES_MAX}).")
    return replace(function, policies={**function.policies, key: Policy(new_revision(), document)})


def _without(function: Function, key: str) -> Function:
    return replace(function, policies={one: policy for one, policy in function.policies.items() if one != key})
