"""What a policy document may say.

Two kinds are told apart: policies of identities, which name resources, and trust policies, which name who may assume a
role. Nothing here grants or refuses anything; `trust.py` reads what a trust policy says.
Source: IAM user guide, "Grammar of the IAM JSON policy language"; the service's own messages.
"""

from __future__ import annotations

import re
from typing import Any

import orjson

from lambent.domain.statements import listed, matches

from .errors import MalformedPolicyDocument

_TOP = frozenset({"Version", "Id", "Statement"})
_VERSIONS = ("2008-10-17", "2012-10-17")
_MEMBERS = frozenset(
    {
        "Sid", "Effect", "Action", "NotAction", "Resource", "NotResource", "Condition", "Principal", "NotPrincipal",
    }
)  # fmt: skip
_OPERATORS = frozenset(
    {
        "StringEquals", "StringNotEquals", "StringEqualsIgnoreCase", "StringNotEqualsIgnoreCase", "StringLike",
        "StringNotLike", "NumericEquals", "NumericNotEquals", "NumericLessThan", "NumericLessThanEquals",
        "NumericGreaterThan", "NumericGreaterThanEquals", "DateEquals", "DateNotEquals", "DateLessThan",
        "DateLessThanEquals", "DateGreaterThan", "DateGreaterThanEquals", "Bool", "BinaryEquals", "IpAddress",
        "NotIpAddress", "ArnEquals", "ArnLike", "ArnNotEquals", "ArnNotLike", "Null",
    }
)  # fmt: skip
_VENDOR = re.compile(r"[a-zA-Z0-9.-]+")
_PARTITION = re.compile(r"\*|aws[a-z-]*")
_SERVICE = re.compile(r"[a-zA-Z0-9.-]+\.(amazonaws\.com(\.cn)?|amazon\.com|aws\.internal)")
_AWS = re.compile(
    r"\*|\d{12}|arn:aws[a-z-]*:(iam|sts)::\d{12}:[^\s]+|arn:aws[a-z-]*:iam::cloudfront:[^\s]+|[A-Z0-9]{16,128}"
)
_ASSUMING = frozenset(
    {"assumerole", "assumerolewithsaml", "assumerolewithwebidentity", "tagsession", "setsourceidentity", "setcontext"}
)

_SYNTAX = "Syntax errors in policy."


def check_policy(text: str) -> None:
    """A managed or an inline policy. Raises MalformedPolicyDocument."""
    document = _read(text, _SYNTAX)
    statements = _statements_of(document, _SYNTAX)
    if document.get("Version") != _VERSIONS[-1]:
        raise MalformedPolicyDocument("Policy document must be version 2012-10-17 or greater.")
    if any("Principal" in statement or "NotPrincipal" in statement for statement in statements):
        raise MalformedPolicyDocument("Policy document should not specify a principal.")
    for statement in statements:
        for arn in _resources(statement):
            # Fewer colons than an ARN has, some of them next to each other: the old parser gives up.
            if "::" in arn and arn.count(":") < 5:
                raise MalformedPolicyDocument("The policy failed legacy parsing")
    sids = [statement["Sid"] for statement in statements if statement.get("Sid")]
    if len(set(sids)) != len(sids):
        raise MalformedPolicyDocument("Statement IDs (SID) in a single policy must be unique.")
    for statement in statements:
        if not _texts(statement.get("Action", statement.get("NotAction"))):
            raise MalformedPolicyDocument("Policy statement must contain actions.")
    for statement in statements:
        for arn in _resources(statement):
            _check_resource(arn)
    _check_actions(statements)
    for statement in statements:
        if not _resources(statement):
            raise MalformedPolicyDocument("Policy statement must contain resources.")


def check_trust(text: str) -> None:
    """A role's trust policy. Raises MalformedPolicyDocument."""
    document = _read(text, "This policy contains invalid Json")
    for name in sorted(set(document) - _TOP):
        raise MalformedPolicyDocument(f"Unknown field {name}")
    raw = document.get("Statement")
    for statement in raw if isinstance(raw, list) else [raw]:
        for name in sorted(set(statement) - _MEMBERS) if isinstance(statement, dict) else ():
            raise MalformedPolicyDocument(f"Unknown field {name}")
    statements = _statements_of(document, _SYNTAX)
    for statement in statements:
        if "Resource" in statement or "NotResource" in statement:
            raise MalformedPolicyDocument("Has prohibited field Resource")
        if "NotPrincipal" in statement:
            raise MalformedPolicyDocument("Has prohibited field NotPrincipal")
        if "Principal" not in statement:
            raise MalformedPolicyDocument("Missing required field Principal")
        actions = _texts(statement.get("Action", statement.get("NotAction")))
        if not actions:
            raise MalformedPolicyDocument("Missing required field Action")
        for action in actions:
            vendor, _, name = action.lower().partition(":")
            known = any(matches(name, one) for one in _ASSUMING)
            if action != "*" and (vendor != "sts" or not known):
                raise MalformedPolicyDocument("AssumeRole policy may only specify STS AssumeRole actions.")
        _check_principals(statement["Principal"])


def statements(text: str) -> list[dict[str, Any]]:
    """The statements of a document that was checked."""
    raw = orjson.loads(text)["Statement"]
    return raw if isinstance(raw, list) else [raw]


def _read(text: str, otherwise: str) -> dict[str, Any]:
    try:
        document = orjson.loads(text)
    except (orjson.JSONDecodeError, UnicodeEncodeError):
        raise MalformedPolicyDocument(otherwise) from None
    if not isinstance(document, dict):
        raise MalformedPolicyDocument(otherwise)
    return document


def _statements_of(document: dict[str, Any], otherwise: str) -> list[dict[str, Any]]:
    """The statements, each well-formed as far as both kinds of policies go."""
    raw = document.get("Statement")
    found: list[Any] = raw if isinstance(raw, list) else [raw]
    is_right = (
        set(document) <= _TOP
        and document.get("Version", _VERSIONS[0]) in _VERSIONS
        and isinstance(document.get("Id", ""), str)
        and bool(found)
        and all(isinstance(statement, dict) and _is_well_formed(statement) for statement in found)
    )
    if not is_right:
        raise MalformedPolicyDocument(otherwise)
    return found


def _is_well_formed(statement: dict[str, Any]) -> bool:
    return (
        set(statement) <= _MEMBERS
        and statement.get("Effect") in ("Allow", "Deny")
        and isinstance(statement.get("Sid", ""), str)
        and not ("Action" in statement and "NotAction" in statement)
        and not ("Resource" in statement and "NotResource" in statement)
        and not ("Principal" in statement and "NotPrincipal" in statement)
        and all(
            _is_text_or_texts(statement[name])
            for name in ("Action", "NotAction", "Resource", "NotResource")
            if name in statement
        )
        and all(_is_principal(statement[name]) for name in ("Principal", "NotPrincipal") if name in statement)
        and _is_condition(statement.get("Condition", {}))
    )


def _is_text_or_texts(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, list) and all(isinstance(one, str) for one in value))


def _is_principal(value: Any) -> bool:
    if isinstance(value, dict):
        kinds = ("AWS", "Service", "Federated", "CanonicalUser")
        return bool(value) and all(kind in kinds and _is_text_or_texts(names) for kind, names in value.items())
    return bool(value == "*")


def _is_condition(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    for operator, tested in value.items():
        name = operator.partition(":")[2] if operator.startswith(("ForAnyValue:", "ForAllValues:")) else operator
        if name.removesuffix("IfExists") not in _OPERATORS or not isinstance(tested, dict):
            return False
        scalars = (str, bool, int, float)
        for expected in tested.values():
            if not all(isinstance(one, scalars) for one in (expected if isinstance(expected, list) else [expected])):
                return False
    return True


def _texts(value: Any) -> list[str]:
    return [] if value is None else [value] if isinstance(value, str) else list(value)


def _resources(statement: dict[str, Any]) -> list[str]:
    return _texts(statement.get("Resource", statement.get("NotResource")))


def _check_resource(arn: str) -> None:
    if arn == "*":
        return
    parts = arn.split(":", 5)
    if len(parts) < 2:
        raise MalformedPolicyDocument(f'Resource {arn} must be in ARN format or "*".')
    if _PARTITION.fullmatch(parts[1]) is None:
        rest = [part or "*" for part in (*parts[2:], "*", "*", "*", "*")][:4]
        raise MalformedPolicyDocument(
            f'Partition "{parts[1]}" is not valid for resource "arn:{parts[1]}:{":".join(rest)}".'
        )
    if len(parts) < 3:
        raise MalformedPolicyDocument("Resource vendor must be fully qualified and cannot contain regexes.")


def _check_actions(statements: list[dict[str, Any]]) -> None:
    for statement in statements:
        for action in _texts(statement.get("Action", statement.get("NotAction"))):
            vendor, colon, name = action.partition(":")
            if action == "*":
                continue
            if not colon:
                raise MalformedPolicyDocument(
                    "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc."
                )
            if ":" in name:
                raise MalformedPolicyDocument("Actions/Condition can contain only one colon.")
            if vendor != "*" and _VENDOR.fullmatch(vendor) is None:
                raise MalformedPolicyDocument(f"Vendor {vendor} is not valid")


def _check_principals(named: Any) -> None:
    if named == "*":
        return
    for kind, names in named.items():
        for name in listed(names):
            wrong = (kind == "AWS" and _AWS.fullmatch(name) is None) or (
                kind == "Service" and _SERVICE.fullmatch(name) is None
            )
            if wrong:
                raise MalformedPolicyDocument(f'Invalid principal in policy: "{kind.upper()}":"{name}"')
