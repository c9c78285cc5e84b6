"""Whether the statements of a resource policy let somebody do something. Plain values in, a verdict out.

What a statement asks and nobody here can answer (an operator or a key that is not known) never lets anybody in and never
keeps a refusal from holding: such an Allow does not match, such a Deny does.
Source: IAM user guide, "Policy evaluation logic" and "IAM JSON policy elements".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import lru_cache
from typing import Any

Statement = Mapping[str, Any]
"""One statement as JSON: Effect, Principal, Action, Resource, Condition, and a Sid that decides nothing."""


class Verdict(Enum):
    """What a policy says to a question."""

    ALLOWED = "allowed"
    DENIED = "denied"
    """A Deny holds: whatever else is allowed does not count."""
    SILENT = "silent"


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks. Someone without any member is anonymous, and meant by the principal `*` alone."""

    account: str | None = None
    arn: str | None = None
    """An account's root, a user, a role, or a session of an assumed role."""
    service: str | None = None
    """A service's principal, as `s3.amazonaws.com`."""

    @property
    def role_arn(self) -> str | None:
        """The role behind a session of an assumed role, without the path that the session's ARN has lost."""
        found = None if self.arn is None else _SESSION.fullmatch(self.arn)
        return None if found is None else f"arn:{found[1]}:iam::{found[2]}:role/{found[3]}"


@dataclass(frozen=True, slots=True)
class Question:
    """May `asker` do `action` with `resource`?"""

    asker: Asker
    action: str
    """As `lambda:InvokeFunction`."""
    resource: str
    """The ARN as it was asked for, with its qualifier if there was one."""
    context: Mapping[str, str | None] = field(default_factory=dict)
    """What conditions may ask about, by the key in lower case. None: known not to be there; missing: nobody knows."""


def judge(statements: Iterable[Statement], question: Question) -> Verdict:
    """Allowed when a statement allows it and none denies it."""
    verdict = Verdict.SILENT
    for statement in statements:
        if not _concerns(statement, question):
            continue
        holds = _holds(statement.get("Condition", {}), question.context)
        if statement["Effect"] == "Deny":
            if holds is not False:
                return Verdict.DENIED
        elif holds:
            verdict = Verdict.ALLOWED
    return verdict


def listed(value: Any) -> Sequence[Any]:
    """One value or a list of them, as policies write it, always as a list."""
    return value if isinstance(value, list | tuple) else (value,)


def matches(pattern: str, text: str) -> bool:
    """Whether a pattern with `*` (any characters) and `?` (one) is the whole text.

    Linear in the text for each part of the pattern: a policy may be written to be slow.
    """
    if "*" not in pattern and "?" not in pattern:
        return pattern == text
    if len(pattern) - pattern.count("*") > len(text):
        return False
    return _compiled(_STARS.sub("*", pattern)).fullmatch(text) is not None


_STARS = re.compile(r"\*+")
_SESSION = re.compile(r"arn:([^:]*):sts::(\d{12}):assumed-role/([^/]+)/.+")
_ROLE = re.compile(r"(arn:[^:]*:iam::\d{12}:role/)(?:.*/)?([^/]+)")


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> re.Pattern[str]:
    first, *rest = (re.escape(part).replace(r"\?", ".") for part in pattern.split("*"))
    if not rest:
        return re.compile(first, re.DOTALL)
    *middle, last = rest
    # Atomic: the first place where a part fits is as good as any later one, so there is no going back.
    return re.compile(first + "".join(f"(?>.*?{part})" for part in middle) + ".*" + last, re.DOTALL)


def _concerns(statement: Statement, question: Question) -> bool:
    action = question.action.lower()
    return (
        any(matches(one.lower(), action) for one in listed(statement["Action"]))
        and any(matches(one, question.resource) for one in listed(statement["Resource"]))
        and _names(statement["Principal"], question.asker)
    )


def _names(principal: Any, asker: Asker) -> bool:
    if principal == "*":
        return True
    return any(_is_asker(kind, one, asker) for kind, named in principal.items() for one in listed(named))


def _is_asker(kind: str, named: str, asker: Asker) -> bool:
    if kind == "Service":
        return named == asker.service
    if kind != "AWS":
        return False
    if named == "*":
        return True
    if asker.account is None:
        return False
    if named == asker.account or re.fullmatch(rf"arn:[^:]*:iam::{asker.account}:root", named):
        return True
    role = _ROLE.fullmatch(named)
    return named == asker.arn or (role is not None and role[1] + role[2] == asker.role_arn)


# Conditions: True, False, or None where nobody can say.


def _holds(conditions: Mapping[str, Any], context: Mapping[str, str | None]) -> bool | None:
    answers = {
        _answer(operator, key.lower(), [_text(one) for one in listed(values)], context)
        for operator, asked in conditions.items()
        for key, values in asked.items()
    }
    return False if False in answers else None if None in answers else True


def _answer(operator: str, key: str, values: list[str], context: Mapping[str, str | None]) -> bool | None:
    if key not in context or any("${" in one for one in values):  # a variable of the policy's language
        return None
    value = context[key]
    if operator == "Null":
        return any((one.lower() == "true") == (value is None) for one in values)
    known = _OPERATORS.get(operator.removesuffix("IfExists"))
    if known is None:
        return None
    test, is_negated = known
    if value is None:
        return is_negated or operator.endswith("IfExists")
    try:
        return any(test(one, value) for one in values) != is_negated
    except ValueError:  # a network that is none
        return None


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _is_equal(wanted: str, value: str) -> bool:
    return wanted == value


def _is_same_word(wanted: str, value: str) -> bool:
    return wanted.lower() == value.lower()


def _is_arn_like(pattern: str, value: str) -> bool:
    """Each of the six parts by itself: a wildcard does not reach over a colon, except in the last."""
    wanted, given = pattern.split(":", 5), value.split(":", 5)
    return len(wanted) == len(given) == 6 and all(map(matches, wanted, given))


def _is_in_network(network: str, address: str) -> bool:
    from ipaddress import ip_address, ip_network  # by itself: few policies ask, and every start imports this module

    return ip_address(address) in ip_network(network, strict=False)


_OPERATORS: dict[str, tuple[Callable[[str, str], bool], bool]] = {
    "StringEquals": (_is_equal, False),
    "StringNotEquals": (_is_equal, True),
    "StringEqualsIgnoreCase": (_is_same_word, False),
    "StringNotEqualsIgnoreCase": (_is_same_word, True),
    "StringLike": (matches, False),
    "StringNotLike": (matches, True),
    "ArnEquals": (_is_arn_like, False),
    "ArnLike": (_is_arn_like, False),
    "ArnNotEquals": (_is_arn_like, True),
    "ArnNotLike": (_is_arn_like, True),
    "Bool": (_is_same_word, False),
    "IpAddress": (_is_in_network, False),
    "NotIpAddress": (_is_in_network, True),
}
"""Operator → its test of (what the policy wants, what there is), and whether it asks for the contrary."""
