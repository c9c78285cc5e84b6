"""Who a trust policy lets assume a role.

Trust is the one thing about roles that is decided here: whether Lambda may run functions as a role that is kept here, and
who gets a session from AssumeRole. The statements are judged as those of every other resource's policy; a role is its own
resource, so they name none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lambent.domain.statements import Asker, Question, Verdict, judge, listed, matches

from .grammar import statements

_ASSUME = "sts:AssumeRole"
_UNGIVEN = {"sts:externalid": None, "sts:sourceidentity": None, "aws:multifactorauthpresent": None}
"""Condition keys that a request does not carry unless it says so."""


def trusts_service(document: str, service: str) -> bool:
    """Whether a trust policy lets a service assume the role. Conditions are taken as met: the service's own keys, such as
    the function's ARN, are not known yet, and what can't be told is not refused."""
    plain = [
        {**one, "Condition": {}}
        for one in _for_everything(document)
        if one["Effect"] == "Allow" or not one.get("Condition")
    ]
    names = (service, f"{service}.cn")
    return any(judge(plain, Question(Asker(service=name), _ASSUME, "*")) is Verdict.ALLOWED for name in names)


def trusts_caller(document: str, caller: str, context: Mapping[str, str]) -> bool:
    """Whether a trust policy lets a caller (an ARN) assume the role. context: condition keys in lower case."""
    asker = Asker(caller.split(":")[4], caller)
    known = {
        **_UNGIVEN,
        "aws:principalarn": asker.role_arn or caller,
        "aws:principalaccount": asker.account,
        **context,
    }
    asked = [_for_users(one, asker) for one in _for_everything(document)]
    return judge(asked, Question(asker, _ASSUME, "*", known)) is Verdict.ALLOWED


def _for_everything(document: str) -> list[dict[str, Any]]:
    """The statements that concern AssumeRole, with the members that a trust policy leaves out or writes by exclusion."""
    found = []
    for one in statements(document):
        if "NotAction" not in one:
            found.append({**one, "Resource": "*"})
        elif not any(matches(action.lower(), _ASSUME.lower()) for action in listed(one["NotAction"])):
            found.append({**one, "Action": "*", "Resource": "*"})
    return found


def _for_users(statement: dict[str, Any], asker: Asker) -> dict[str, Any]:
    """There are no users here: the keys of an account stand for all of them, so a user that is named is the account."""
    named = statement["Principal"]
    if named == "*" or "AWS" not in named or not (asker.arn or "").endswith(":root"):
        return statement
    users = f"arn:*:iam::{asker.account}:user/*"
    accounts = [asker.account if matches(users, one) else one for one in listed(named["AWS"])]
    return {**statement, "Principal": {**named, "AWS": accounts}}
