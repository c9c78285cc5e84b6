"""What a resource policy says to a question, element by element."""

from __future__ import annotations

import time
from typing import Any

import pytest

from lambent.domain.statements import Asker, Question, Verdict, judge, matches

ARN = "arn:aws:lambda:us-east-1:222222222222:function:fn"
ROOT = "arn:aws:iam::111111111111:root"
SESSION = "arn:aws:sts::111111111111:assumed-role/worker/session"
CONTEXT: dict[str, str | None] = {
    "aws:principalarn": ROOT,
    "aws:principalaccount": "111111111111",
    "aws:sourcearn": None,
    "aws:sourceaccount": None,
    "lambda:invokedviafunctionurl": "false",
}
ALLOWED, DENIED, SILENT = Verdict.ALLOWED, Verdict.DENIED, Verdict.SILENT


def statement(**members: Any) -> dict[str, Any]:
    base = {"Effect": "Allow", "Principal": "*", "Action": "lambda:InvokeFunction", "Resource": ARN}
    return {**base, **members}


def ask(
    *statements: dict[str, Any], arn: str | None = ROOT, account: str | None = "111111111111", **other: Any
) -> Verdict:
    asker = Asker(account, arn, other.pop("service", None))
    members: dict[str, Any] = {"action": "lambda:InvokeFunction", "resource": ARN, "context": CONTEXT, **other}
    return judge(statements, Question(asker, **members))


def test_silence_is_no_permission_and_a_deny_wins_in_any_order() -> None:
    assert ask() is SILENT
    assert ask(statement()) is ALLOWED
    deny = statement(Effect="Deny")
    assert ask(statement(), deny) is ask(deny, statement()) is ask(deny) is DENIED
    assert ask(statement(), statement(Effect="Deny", Action="lambda:GetFunction")) is ALLOWED


@pytest.mark.parametrize(
    ("principal", "arn", "verdict"),
    [
        ("*", ROOT, ALLOWED),
        ({"AWS": "*"}, ROOT, ALLOWED),
        ({"AWS": "111111111111"}, ROOT, ALLOWED),
        ({"AWS": ROOT}, ROOT, ALLOWED),
        ({"AWS": ROOT}, SESSION, ALLOWED),
        ({"AWS": ["333333333333", ROOT]}, ROOT, ALLOWED),
        ({"AWS": SESSION}, SESSION, ALLOWED),
        ({"AWS": "arn:aws:iam::111111111111:role/worker"}, SESSION, ALLOWED),
        ({"AWS": "arn:aws:iam::111111111111:role/a/path/worker"}, SESSION, ALLOWED),
        ({"AWS": "arn:aws:iam::111111111111:role/other"}, SESSION, SILENT),
        ({"AWS": "arn:aws:iam::333333333333:role/worker"}, SESSION, SILENT),
        ({"AWS": "arn:aws:iam::111111111111:role/worker"}, ROOT, SILENT),
        ({"AWS": "arn:aws:iam::111111111111:user/u"}, ROOT, SILENT),
        ({"AWS": "333333333333"}, ROOT, SILENT),
        ({"Service": "s3.amazonaws.com"}, ROOT, SILENT),
        ({"Federated": ROOT}, ROOT, SILENT),
    ],
)
def test_principals(principal: Any, arn: str, verdict: Verdict) -> None:
    assert ask(statement(Principal=principal), arn=arn) is verdict


def test_services_and_nobody() -> None:
    s3: dict[str, Any] = {"arn": None, "account": None, "service": "s3.amazonaws.com"}
    assert ask(statement(Principal={"Service": "s3.amazonaws.com"}), **s3) is ALLOWED
    assert ask(statement(Principal={"Service": "sns.amazonaws.com"}), **s3) is SILENT
    assert ask(statement(Principal={"AWS": "111111111111"}), **s3) is SILENT
    assert ask(statement(), arn=None, account=None) is ALLOWED
    assert ask(statement(Principal={"AWS": ROOT}), arn=None, account=None) is SILENT


@pytest.mark.parametrize(
    ("members", "verdict"),
    [
        ({"Action": "*"}, ALLOWED),
        ({"Action": "lambda:*"}, ALLOWED),
        ({"Action": "LAMBDA:invoke*"}, ALLOWED),
        ({"Action": ["lambda:GetFunction", "lambda:Invoke?unction"]}, ALLOWED),
        ({"Action": "lambda:GetFunction"}, SILENT),
        ({"Action": "lambda:Invoke"}, SILENT),
        ({"Resource": f"{ARN}*"}, ALLOWED),
        ({"Resource": ["x", ARN]}, ALLOWED),
        ({"Resource": f"{ARN}:*"}, SILENT),
        ({"Resource": ARN.upper()}, SILENT),
        ({"Resource": f"{ARN}:1"}, SILENT),
    ],
)
def test_actions_and_resources(members: dict[str, Any], verdict: Verdict) -> None:
    assert ask(statement(**members)) is verdict


def test_a_qualified_resource_is_meant_by_its_name_or_a_wildcard() -> None:
    for resource, verdict in ((ARN, SILENT), (f"{ARN}:live", ALLOWED), (f"{ARN}:*", ALLOWED), (f"{ARN}:1", SILENT)):
        assert ask(statement(Resource=resource), resource=f"{ARN}:live") is verdict


@pytest.mark.parametrize(
    ("operator", "key", "values", "holds"),
    [
        ("StringEquals", "aws:PrincipalAccount", "111111111111", True),
        ("StringEquals", "AWS:PRINCIPALACCOUNT", ["x", "111111111111"], True),
        ("StringEquals", "aws:PrincipalAccount", "333333333333", False),
        ("StringNotEquals", "aws:PrincipalAccount", "333333333333", True),
        ("StringNotEquals", "aws:PrincipalAccount", ["x", "111111111111"], False),
        ("StringEqualsIgnoreCase", "aws:PrincipalArn", ROOT.upper(), True),
        ("StringLike", "aws:PrincipalArn", "arn:aws:iam::1*:root", True),
        ("StringNotLike", "aws:PrincipalArn", "arn:aws:iam::1*:root", False),
        ("ArnLike", "aws:PrincipalArn", "arn:aws:iam::*:root", True),
        ("ArnLike", "aws:PrincipalArn", "arn:*:root", False),
        ("ArnEquals", "aws:PrincipalArn", ROOT, True),
        ("ArnNotLike", "aws:PrincipalArn", ROOT, False),
        ("Bool", "lambda:InvokedViaFunctionUrl", "true", False),
        ("Bool", "lambda:InvokedViaFunctionUrl", False, True),
        ("StringEquals", "aws:SourceAccount", "111111111111", False),
        ("StringNotEquals", "aws:SourceAccount", "111111111111", True),
        ("StringEqualsIfExists", "aws:SourceAccount", "111111111111", True),
        ("StringEqualsIfExists", "aws:PrincipalAccount", "333333333333", False),
        ("ArnLike", "AWS:SourceArn", "*", False),
        ("Null", "aws:SourceArn", "true", True),
        ("Null", "aws:PrincipalArn", True, False),
        # What nobody here knows lets nobody in and keeps nobody's refusal from holding.
        ("StringEquals", "aws:SourceIp", "10.0.0.1", None),
        ("StringNotEquals", "aws:SourceVpc", "vpc-1", None),
        ("NumericLessThan", "aws:PrincipalAccount", 5, None),
        ("ForAnyValue:StringEquals", "aws:PrincipalAccount", "111111111111", None),
        ("StringEquals", "aws:PrincipalAccount", "${aws:SourceAccount}", None),
    ],
)
def test_conditions(operator: str, key: str, values: Any, holds: bool | None) -> None:
    condition = {operator: {key: values}}
    assert ask(statement(Condition=condition)) is (ALLOWED if holds else SILENT)
    assert ask(statement(Effect="Deny", Condition=condition)) is (SILENT if holds is False else DENIED)


def test_all_conditions_hold_or_the_statement_does_not() -> None:
    mine = {"aws:PrincipalAccount": "111111111111"}
    both = {"StringEquals": mine, "Bool": {"lambda:InvokedViaFunctionUrl": "true"}}
    assert ask(statement(Condition=both)) is SILENT
    # One that surely does not hold settles it, whatever nobody knows.
    assert ask(statement(Effect="Deny", Condition={**both, "Odd": {"key": "x"}})) is SILENT
    assert ask(statement(Condition={"StringEquals": {**mine, "aws:SourceIp": "x"}})) is SILENT


@pytest.mark.parametrize(
    ("pattern", "text", "is_match"),
    [
        ("", "", True),
        ("*", "", True),
        ("a*c", "abc", True),
        ("a*c", "abcd", False),
        ("a**c", "ac", True),
        ("*b*", "abc", True),
        ("a?c", "abc", True),
        ("a?c", "ac", False),
        ("a.c", "abc", False),
        ("a*b*b", "ab", False),
        ("*ab?d*", "xabababcd", True),
        ("[a]*", "[a]", True),
        ("a*", "a\nb", True),
    ],
)
def test_wildcards(pattern: str, text: str, is_match: bool) -> None:
    assert matches(pattern, text) is is_match


def test_a_pattern_made_to_be_slow_is_not() -> None:
    start = time.process_time()
    for _ in range(20):
        assert not matches("*a" * 90 + "*b", "a" * 190)
        assert not matches("*" * 20_000 + "b", "a" * 190)
        assert not matches("?*" * 10_000, "a" * 190)
    assert time.process_time() - start < 2  # exponential would be years
