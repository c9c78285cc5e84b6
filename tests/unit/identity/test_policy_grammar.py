"""What policy documents are refused for, word for word."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.identity.errors import MalformedPolicyDocument
from lambent.identity.grammar import check_policy, check_trust

ALLOW = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}
TRUST = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "lambda.amazonaws.com"}}


def policy(*statements: Any, **members: Any) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements), **members})


SYNTAX = "Syntax errors in policy."


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("{", SYNTAX),
        ("[]", SYNTAX),
        ("\ud800", SYNTAX),
        (policy(), SYNTAX),
        (policy("x"), SYNTAX),
        (policy(ALLOW, Extra=1), SYNTAX),
        (policy(ALLOW, Version="2011-01-01"), SYNTAX),
        (policy(ALLOW, Id=7), SYNTAX),
        (policy({**ALLOW, "Effect": "Maybe"}), SYNTAX),
        (policy({**ALLOW, "Sid": 1}), SYNTAX),
        (policy({**ALLOW, "Ressource": "*"}), SYNTAX),
        (policy({**ALLOW, "NotAction": "s3:*"}), SYNTAX),
        (policy({**ALLOW, "NotResource": "*"}), SYNTAX),
        (policy({**ALLOW, "Action": {"a": 1}}), SYNTAX),
        (policy({**ALLOW, "Resource": [1]}), SYNTAX),
        (policy({**ALLOW, "Condition": "x"}), SYNTAX),
        (policy({**ALLOW, "Condition": {"StringAlmost": {"a": "b"}}}), SYNTAX),
        (policy({**ALLOW, "Condition": {"StringEquals": {"a": {}}}}), SYNTAX),
        (policy(ALLOW, Version="2008-10-17"), "Policy document must be version 2012-10-17 or greater."),
        (json.dumps({"Statement": [ALLOW]}), "Policy document must be version 2012-10-17 or greater."),
        (policy({**ALLOW, "Principal": "*"}), "Policy document should not specify a principal."),
        (policy({**ALLOW, "Resource": "arn:aws:s3::x"}), "The policy failed legacy parsing"),
        (
            policy({**ALLOW, "Sid": "a"}, {**ALLOW, "Sid": "a"}),
            "Statement IDs (SID) in a single policy must be unique.",
        ),
        (policy({"Effect": "Allow", "Resource": "*"}), "Policy statement must contain actions."),
        (policy({**ALLOW, "Action": []}), "Policy statement must contain actions."),
        (policy({**ALLOW, "Resource": "bucket"}), 'Resource bucket must be in ARN format or "*".'),
        (
            policy({**ALLOW, "Resource": "arn:awx:s3:a:b:c"}),
            'Partition "awx" is not valid for resource "arn:awx:s3:a:b:c".',
        ),
        (
            policy({**ALLOW, "Resource": "arn:aws"}),
            "Resource vendor must be fully qualified and cannot contain regexes.",
        ),
        (
            policy({**ALLOW, "Action": "GetObject"}),
            "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.",
        ),
        (policy({**ALLOW, "Action": "s3:Get:Object"}), "Actions/Condition can contain only one colon."),
        (policy({**ALLOW, "Action": "s_3:GetObject"}), "Vendor s_3 is not valid"),
        (policy({"Effect": "Allow", "Action": "s3:*"}), "Policy statement must contain resources."),
        (policy({**ALLOW, "Resource": []}), "Policy statement must contain resources."),
    ],
)
def test_refused_policies(document: str, message: str) -> None:
    with pytest.raises(MalformedPolicyDocument) as refused:
        check_policy(document)
    assert refused.value.message == message


@pytest.mark.parametrize(
    "document",
    [
        policy(ALLOW),
        json.dumps({"Version": "2012-10-17", "Statement": ALLOW}),
        policy(ALLOW, Id="mine"),
        policy({"Effect": "Deny", "NotAction": "iam:*", "NotResource": "arn:aws:s3:::b/*"}),
        policy({**ALLOW, "Action": "*", "Resource": ["arn:aws:s3:::b", "arn:*:logs:*:*:*"]}),
        policy({**ALLOW, "Condition": {"ForAnyValue:StringLikeIfExists": {"aws:TagKeys": ["a", "b"]}}}),
        policy({**ALLOW, "Condition": {"Bool": {"aws:SecureTransport": False}, "NumericLessThan": {"s3:max-keys": 9}}}),
    ],
)
def test_accepted_policies(document: str) -> None:
    check_policy(document)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("role.json", "This policy contains invalid Json"),
        ("7", "This policy contains invalid Json"),
        (policy(TRUST, Statements=[]), "Unknown field Statements"),
        (policy({**TRUST, "Principle": "*"}), "Unknown field Principle"),
        (policy({**TRUST, "Effect": "allow"}), SYNTAX),
        (policy(7), SYNTAX),
        (policy({**TRUST, "Principal": "lambda"}), SYNTAX),
        (policy({**TRUST, "Principal": {"Services": "x"}}), SYNTAX),
        (policy({**TRUST, "Resource": "*"}), "Has prohibited field Resource"),
        (policy({**TRUST, "NotResource": "*"}), "Has prohibited field Resource"),
        (
            policy({"Effect": "Allow", "Action": "sts:AssumeRole", "NotPrincipal": "*"}),
            "Has prohibited field NotPrincipal",
        ),
        (policy({"Effect": "Allow", "Action": "sts:AssumeRole"}), "Missing required field Principal"),
        (policy({"Effect": "Allow", "Principal": "*"}), "Missing required field Action"),
        (policy({**TRUST, "Action": "s3:*"}), "AssumeRole policy may only specify STS AssumeRole actions."),
        (
            policy({**TRUST, "Action": "sts:GetSessionToken"}),
            "AssumeRole policy may only specify STS AssumeRole actions.",
        ),
        (
            policy({**TRUST, "Principal": {"Service": "lambda"}}),
            'Invalid principal in policy: "SERVICE":"lambda"',
        ),
        (policy({**TRUST, "Principal": {"AWS": ["12"]}}), 'Invalid principal in policy: "AWS":"12"'),
    ],
)
def test_refused_trust_policies(document: str, message: str) -> None:
    with pytest.raises(MalformedPolicyDocument) as refused:
        check_trust(document)
    assert refused.value.message == message


@pytest.mark.parametrize(
    "statement",
    [
        TRUST,
        {**TRUST, "Action": ["sts:AssumeRole", "sts:TagSession"]},
        {**TRUST, "Action": "sts:*"},
        {**TRUST, "Principal": "*"},
        {**TRUST, "Principal": {"AWS": ["123456789012", "arn:aws:iam::123456789012:root", "*"]}},
        {**TRUST, "Principal": {"Federated": "cognito-identity.amazonaws.com"}},
    ],
)
def test_accepted_trust_policies(statement: dict[str, Any]) -> None:
    check_trust(policy(statement))


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["Version", "Statement", "Effect", "Action", "Principal", "Resource", "Condition", "AWS", "x"]), inner, max_size=4)))  # fmt: skip
def test_any_json_is_accepted_or_refused(document: Any) -> None:
    for check in (check_policy, check_trust):
        try:
            check(json.dumps(document))
        except MalformedPolicyDocument:
            continue
