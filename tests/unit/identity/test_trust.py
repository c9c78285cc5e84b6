"""Who may assume a role."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lambent.functions.roles import LAMBDA
from lambent.identity.trust import trusts_caller, trusts_service

ROOT = "arn:aws:iam::111111111111:root"
SESSION = "arn:aws:sts::111111111111:assumed-role/worker/fn"


def trust(*statements: dict[str, Any]) -> str:
    full = [{"Effect": "Allow", "Action": "sts:AssumeRole", **statement} for statement in statements]
    return json.dumps({"Version": "2012-10-17", "Statement": full})


@pytest.mark.parametrize(
    ("statements", "trusts"),
    [
        ([{"Principal": {"Service": LAMBDA}}], True),
        ([{"Principal": {"Service": ["ec2.amazonaws.com", LAMBDA]}}], True),
        ([{"Principal": {"Service": f"{LAMBDA}.cn"}}], True),
        ([{"Principal": "*"}], True),
        ([{"Principal": {"AWS": "*"}}], True),
        ([{"Principal": {"Service": "edgelambda.amazonaws.com"}}], False),
        ([{"Principal": {"Service": LAMBDA}, "Action": "sts:TagSession"}], False),
        ([{"Principal": {"Service": LAMBDA}, "Action": "sts:*"}], True),
        ([{"Principal": {"Service": LAMBDA}, "Condition": {"ArnLike": {"aws:SourceArn": "arn:x"}}}], True),
        ([{"Principal": {"Service": LAMBDA}}, {"Effect": "Deny", "Principal": "*"}], False),
        (
            [
                {"Principal": {"Service": LAMBDA}},
                {"Effect": "Deny", "Principal": "*", "Condition": {"StringEquals": {"aws:SourceAccount": "1"}}},
            ],
            True,
        ),
    ],
)
def test_a_service(statements: list[dict[str, Any]], trusts: bool) -> None:
    assert trusts_service(trust(*statements), LAMBDA) is trusts


@pytest.mark.parametrize(("excluded", "trusts"), [("sts:TagSession", True), (["sts:Assume*"], False)])
def test_what_is_not_excluded(excluded: Any, trusts: bool) -> None:
    document = {"Effect": "Allow", "NotAction": excluded, "Principal": {"Service": LAMBDA}}
    assert trusts_service(json.dumps({"Version": "2012-10-17", "Statement": document}), LAMBDA) is trusts


def test_a_session_s_principal_is_its_role() -> None:
    role = "arn:aws:iam::111111111111:role/worker"
    document = trust({"Principal": "*", "Condition": {"ArnEquals": {"aws:PrincipalArn": role}}})
    assert trusts_caller(document, SESSION, {})
    assert not trusts_caller(document, ROOT, {})


@pytest.mark.parametrize(
    ("caller", "principal", "trusts"),
    [
        (ROOT, "*", True),
        (ROOT, {"AWS": "*"}, True),
        (ROOT, {"AWS": "111111111111"}, True),
        (ROOT, {"AWS": ROOT}, True),
        (ROOT, {"AWS": "arn:aws:iam::111111111111:user/ada"}, True),
        (ROOT, {"AWS": "arn:aws:iam::111111111111:role/worker"}, False),
        (ROOT, {"AWS": ["222222222222", "333333333333"]}, False),
        (ROOT, {"AWS": "arn:aws:iam::222222222222:root"}, False),
        (ROOT, {"Service": LAMBDA}, False),
        (SESSION, {"AWS": ROOT}, True),
        (SESSION, {"AWS": "arn:aws:iam::111111111111:role/worker"}, True),
        (SESSION, {"AWS": "arn:aws:iam::111111111111:role/deep/path/worker"}, True),
        (SESSION, {"AWS": SESSION}, True),
        (SESSION, {"AWS": "arn:aws:iam::111111111111:role/other"}, False),
        (SESSION, {"AWS": "arn:aws:iam::111111111111:user/worker"}, False),
        (SESSION, {"AWS": "AIDAABCDEFGHIJKLMNOP"}, False),
    ],
)
def test_a_caller(caller: str, principal: Any, trusts: bool) -> None:
    assert trusts_caller(trust({"Principal": principal}), caller, {}) is trusts


@pytest.mark.parametrize(
    ("condition", "context", "trusts"),
    [
        ({"StringEquals": {"sts:ExternalId": "42"}}, {"sts:externalid": "42"}, True),
        ({"StringEquals": {"sts:ExternalId": ["41", "42"]}}, {"sts:externalid": "42"}, True),
        ({"StringEquals": {"sts:ExternalId": "42"}}, {}, False),
        ({"StringEqualsIfExists": {"sts:ExternalId": "42"}}, {}, True),
        ({"StringNotEquals": {"sts:ExternalId": "42"}}, {}, True),
        ({"StringNotEquals": {"sts:ExternalId": "42"}}, {"sts:externalid": "42"}, False),
        ({"StringNotLike": {"sts:ExternalId": "4*"}}, {"sts:externalid": "52"}, True),
        ({"StringEqualsIgnoreCase": {"sts:ExternalId": "AB"}}, {"sts:externalid": "ab"}, True),
        ({"StringLike": {"sts:RoleSessionName": "me-*"}}, {"sts:rolesessionname": "me-1"}, True),
        ({"Null": {"sts:ExternalId": "true"}}, {}, True),
        ({"Null": {"sts:ExternalId": "false"}}, {}, False),
        ({"Bool": {"aws:MultiFactorAuthPresent": True}}, {}, False),
        ({"BoolIfExists": {"aws:MultiFactorAuthPresent": "true"}}, {}, True),
        ({"ArnLike": {"aws:PrincipalArn": "arn:aws:iam::1*:root"}}, {}, True),
        ({"StringEquals": {"aws:PrincipalAccount": "111111111111"}}, {}, True),
        ({"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}, {}, False),
        ({"NumericEquals": {"sts:ExternalId": 42}}, {"sts:externalid": "42"}, False),
        ({"ForAllValues:StringEquals": {"aws:TagKeys": "x"}}, {}, False),
    ],
)
def test_conditions(condition: dict[str, Any], context: dict[str, str], trusts: bool) -> None:
    document = trust({"Principal": {"AWS": "*"}, "Condition": condition})
    assert trusts_caller(document, ROOT, context) is trusts


def test_a_refusal_wins() -> None:
    document = trust({"Principal": "*"}, {"Effect": "Deny", "Principal": {"AWS": ROOT}})
    assert not trusts_caller(document, ROOT, {})
    assert trusts_caller(document, "arn:aws:iam::222222222222:root", {})
