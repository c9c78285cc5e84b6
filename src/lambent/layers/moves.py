"""How a layer version moves from one stored state to the next: plain decisions over frozen values, in the service's words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import orjson

from ..domain.errors import (
    InvalidParameterValue,
    PolicyLengthExceeded,
    PreconditionFailed,
    ResourceConflict,
    ResourceNotFound,
)
from ..domain.limits import POLICY_BYTES_MAX
from ..domain.names import is_account
from .model import LayerPolicy, LayerVersion


@dataclass(frozen=True, slots=True)
class Grant:
    """What AddLayerVersionPermission asks for."""

    statement_id: str
    principal: str
    """An account, the ARN of its root, or `*`."""
    organization_id: str | None = None
    action: str = "lambda:GetLayerVersion"


def check_number(number: int) -> None:
    """Raises InvalidParameterValue for what no version can be."""
    if number < 1:
        raise InvalidParameterValue("Layer Version Cannot be less than 1")


def existing(version: LayerVersion | None, arn: str) -> LayerVersion:
    """A version whose policy is meant; raises ResourceNotFound with its ARN."""
    if version is None:
        raise ResourceNotFound(f"Layer version {arn} does not exist.")
    return version


def granted(
    old: LayerVersion | None, arn: str, partition: str, grant: Grant, *, revision_id: str | None, fresh: str
) -> LayerVersion:
    """The version with one more statement in its policy. fresh: the policy's new RevisionId."""
    version = existing(old, arn)
    _check_revision(version.policy, revision_id)
    statements = () if version.policy is None else version.policy.statements
    if any(one["Sid"] == grant.statement_id for one in statements):
        raise ResourceConflict(
            f"The statement id ({grant.statement_id}) provided already exists. Please provide a new statement id, "
            "or remove the existing statement."
        )
    policy = LayerPolicy(fresh, (*statements, statement(grant, arn, partition)))
    size = len(document(policy).encode())
    if size > POLICY_BYTES_MAX:
        raise PolicyLengthExceeded(f"The final policy size ({size}) is bigger than the limit ({POLICY_BYTES_MAX}).")
    return replace(version, policy=policy)


def revoked(
    old: LayerVersion | None, arn: str, statement_id: str, *, revision_id: str | None, fresh: str
) -> LayerVersion:
    """The version with one statement less in its policy; the last one takes the policy along."""
    version = existing(old, arn)
    _check_revision(version.policy, revision_id)
    statements = () if version.policy is None else version.policy.statements
    kept = tuple(one for one in statements if one["Sid"] != statement_id)
    if len(kept) == len(statements):
        raise ResourceNotFound(f"Statement {statement_id} is not found in resource policy.")
    return replace(version, policy=LayerPolicy(fresh, kept) if kept else None)


def statement(grant: Grant, arn: str, partition: str) -> dict[str, Any]:
    """A grant as it stands in the policy."""
    principal: Any = grant.principal
    if is_account(principal):
        principal = f"arn:{partition}:iam::{principal}:root"
    made = {
        "Sid": grant.statement_id,
        "Effect": "Allow",
        "Principal": principal if principal == "*" else {"AWS": principal},
        "Action": grant.action,
        "Resource": arn,
    }
    if grant.organization_id:
        made["Condition"] = {"StringEquals": {"aws:PrincipalOrgID": grant.organization_id}}
    return made


def document(policy: LayerPolicy) -> str:
    """The policy as the service prints it."""
    whole = {"Version": "2012-10-17", "Id": "default", "Statement": list(policy.statements)}
    return orjson.dumps(whole).decode()


def allows(policy: LayerPolicy | None, account: str) -> bool:
    """Whether another account may use the version. There are no organisations, so nobody is in the one that a condition
    names."""
    return policy is not None and any(_is_for(one, account) for one in policy.statements)


def _is_for(one: Mapping[str, Any], account: str) -> bool:
    if "Condition" in one:
        return False
    principal = one["Principal"]
    return bool(principal == "*" or principal["AWS"].split(":")[4] == account)


def _check_revision(policy: LayerPolicy | None, revision_id: str | None) -> None:
    if revision_id is not None and (policy is None or policy.revision_id != revision_id):
        raise PreconditionFailed(
            "The Revision Id provided does not match the latest Revision Id. "
            "Call the GetLayerPolicy API to retrieve the latest Revision Id"
        )
