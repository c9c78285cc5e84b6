"""Reading a policy that somebody wrote: what is not understood is refused by name, so that what is kept can be judged.

The texts are ours; the service's are not known.
"""

from __future__ import annotations

import re
from typing import Any

import orjson

from ..domain.errors import InvalidParameterValue
from ..domain.names import FunctionRef, is_account
from ..domain.statements import listed

_VERSIONS = ("2012-10-17", "2008-10-17")
_MEMBERS = ("Sid", "Effect", "Principal", "Action", "Resource", "Condition")
_SID = re.compile(r"[a-zA-Z0-9-_.]{1,100}")
_ACTION = re.compile(r"\*|lambda:[a-zA-Z*?]+", re.IGNORECASE)
_PRINCIPAL = re.compile(r"arn:aws[a-zA-Z-]*:(iam|sts)::\d{12}:\S+")
_QUALIFIERS = re.compile(r"\*|:[a-zA-Z0-9-_$.*?]+")
"""What may follow the function's own ARN in a Resource."""


def read_document(text: str, ref: FunctionRef) -> dict[str, Any]:
    """The policy as it is kept: Version, Id, and a list of statements, each as written. Raises InvalidParameterValue."""
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise _malformed(f"it is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise _malformed("it is not a JSON object")
    _known(document, ("Version", "Id", "Statement"), "a policy")
    if document.get("Version") not in _VERSIONS:
        raise _malformed(f"its Version is not one of {', '.join(_VERSIONS)}")
    kept = {"Version": document["Version"]}
    if "Id" in document:
        kept["Id"] = _string(document["Id"], "its Id")
    statements = list(listed(document.get("Statement", ())))
    if not statements:
        raise _malformed("it has no Statement")
    for number, statement in enumerate(statements, 1):
        _check_statement(statement, f"statement {number}", ref)
    sids = [statement["Sid"] for statement in statements if "Sid" in statement]
    if twice := sorted({sid for sid in sids if sids.count(sid) > 1}):
        raise _malformed(f"the Sid {twice[0]} is there more than once")
    return {**kept, "Statement": statements}


def _check_statement(statement: Any, where: str, ref: FunctionRef) -> None:
    if not isinstance(statement, dict):
        raise _malformed(f"{where} is not a JSON object")
    for name in ("NotPrincipal", "NotAction", "NotResource"):
        if name in statement:
            raise _malformed(f"{where} has {name}, which is not supported: name what is meant with {name[3:]}")
    _known(statement, _MEMBERS, where)
    if "Sid" in statement and not _SID.fullmatch(_string(statement["Sid"], f"the Sid of {where}")):
        raise _malformed(f"the Sid of {where} is not of letters, digits, hyphens, dots and underscores")
    if statement.get("Effect") not in ("Allow", "Deny"):
        raise _malformed(f"the Effect of {where} is neither Allow nor Deny")
    _check_principal(statement.get("Principal"), where)
    for action in _strings(statement, "Action", where):
        if not _ACTION.fullmatch(action):
            raise _malformed(f"the Action {action} of {where} is none of Lambda's")
    for resource in _strings(statement, "Resource", where):
        arn = ref.arn()
        if resource != arn and not (resource.startswith(arn) and _QUALIFIERS.fullmatch(resource, len(arn))):
            raise _malformed(
                f"the Resource {resource} of {where} is not {arn}, one of its versions or one of its aliases"
            )
    _check_condition(statement.get("Condition", {}), where)


def _check_principal(principal: Any, where: str) -> None:
    if principal == "*":
        return
    if not isinstance(principal, dict) or not principal:
        raise _malformed(f'the Principal of {where} is neither * nor an object such as {{"AWS": …}}')
    _known(principal, ("AWS", "Service", "Federated", "CanonicalUser"), f"the Principal of {where}")
    for kind in principal:
        for one in _strings(principal, kind, f"the Principal of {where}"):
            if kind == "AWS" and one != "*" and not is_account(one) and not _PRINCIPAL.fullmatch(one):
                raise _malformed(f"the Principal {one} of {where} is no account, no user and no role")


def _check_condition(condition: Any, where: str) -> None:
    """Any operator and key may stand here: what is not known keeps an Allow from matching, and a Deny in force."""
    if not isinstance(condition, dict):
        raise _malformed(f"the Condition of {where} is not a JSON object")
    for operator, asked in condition.items():
        if not isinstance(asked, dict):
            raise _malformed(f"{operator} in the Condition of {where} is not a JSON object")
        for key, values in asked.items():
            if not all(isinstance(value, str | bool | int | float) for value in listed(values)):
                raise _malformed(f"{key} in the Condition of {where} is neither a value nor a list of values")


def _strings(members: dict[str, Any], name: str, where: str) -> list[str]:
    values = list(listed(members.get(name, ())))
    if not values:
        raise _malformed(f"{where} has no {name}")
    return [_string(value, f"{name} of {where}") for value in values]


def _string(value: Any, what: str) -> str:
    if not isinstance(value, str):
        raise _malformed(f"{what} is not a string")
    return value


def _known(members: dict[str, Any], names: tuple[str, ...], what: str) -> None:
    for name in members:
        if name not in names:
            raise _malformed(f"{what} has the member {name}, which is none of {', '.join(names)}")


def _malformed(why: str) -> InvalidParameterValue:
    return InvalidParameterValue(f"The policy is not valid: {why}.")
