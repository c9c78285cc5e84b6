"""Lambda authorizers: what their answers mean, and how long these hold."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lambent.gateway import authorizers
from lambent.gateway.authorizers import Decision, Misbehaved, Results, identities, read_policy, read_simple, refusal_of

ARN = "arn:aws:execute-api:us-east-1:123456789012:abc/$default/GET/x"


def policy(*statements: Any, **more: Any) -> bytes:
    document = {"Version": "2012-10-17", "Statement": list(statements)}
    return json.dumps({"principalId": "u", "policyDocument": document, **more}).encode()


def statement(effect: str = "Allow", resource: Any = "*", action: Any = "execute-api:Invoke", **more: Any) -> Any:
    return {"Effect": effect, "Action": action, "Resource": resource, **more}


@pytest.mark.parametrize(
    ("given", "allowed", "context"),
    [
        ({"isAuthorized": True}, True, {}),
        ({"isAuthorized": False}, False, {}),
        ({"isAuthorized": True, "context": {"a": [1, None]}}, True, {"a": [1, None]}),
        ({"isAuthorized": True, "context": None, "more": 1}, True, {}),
    ],
)
def test_simple_answers(given: Any, allowed: bool, context: Any) -> None:
    decision = read_simple(json.dumps(given).encode())
    assert (decision.allows(ARN), decision.context) == (allowed, context)


@pytest.mark.parametrize(
    "given",
    [
        b"",
        b"null",
        b"true",
        b"[]",
        b"{}",
        b'{"isAuthorized":"true"}',
        b'{"isAuthorized":1}',
        b'{"isAuthorized":true,"context":[]}',
    ],
)
def test_simple_answers_that_decide_nothing(given: bytes) -> None:
    with pytest.raises(Misbehaved):
        read_simple(given)


@pytest.mark.parametrize(
    ("answer", "allowed"),
    [
        (policy(statement()), True),
        (policy(statement(resource=ARN)), True),
        (policy(statement(resource=[ARN.replace("GET", "PUT"), ARN])), True),
        (policy(statement(resource=ARN.replace("/x", "/*"))), True),
        (policy(statement(action="*")), True),
        (policy(statement(action=["execute-api:*"])), True),
        (policy(statement(action="EXECUTE-API:invoke")), True),
        (policy(statement(resource=ARN + "/y")), False),
        (policy(statement(action="lambda:InvokeFunction")), False),
        (policy(statement("Deny")), False),
        (policy(statement(), statement("Deny", ARN)), False),
        (policy(statement(), statement("Deny", ARN + "/y")), True),
        (policy(statement(Condition={"StringEquals": {"aws:Mystery": "x"}})), False),  # nobody can say
        (policy(), False),
    ],
)
def test_policies(answer: bytes, allowed: bool) -> None:
    assert read_policy(answer).allows(ARN) is allowed


@pytest.mark.parametrize(
    "given",
    [
        b"no",
        b"[]",
        b"{}",
        b'{"principalId":"u"}',
        b'{"principalId":3,"policyDocument":{"Statement":[]}}',
        b'{"principalId":"u","policyDocument":"{}"}',
        policy("x"),
        policy({"Effect": "Allow"}),
        policy(statement("Perhaps")),
        policy(statement(resource=3)),
        policy(statement(action=[3])),
        policy(statement(Condition=[])),
        policy(statement(Condition={"StringEquals": "x"})),
        policy(statement(), context="x"),
        b'{"principalId":"u","policyDocument":{}}',
    ],
)
def test_policies_that_decide_nothing(given: bytes) -> None:
    with pytest.raises(Misbehaved):
        read_policy(given)


def test_a_single_statement_need_not_be_a_list() -> None:
    document = {"principalId": "u", "policyDocument": {"Statement": statement()}}
    decision = read_policy(json.dumps(document).encode())
    assert decision.allows(ARN)
    assert decision.principal == "u"


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b'{"errorMessage":"Unauthorized","errorType":"Exception"}', "Unauthorized"),
        (b"{}", None),
        (b"x", None),
        (b"[]", None),
        (b'{"errorMessage":3}', None),
    ],
)
def test_errors(answer: bytes, message: str | None) -> None:
    assert refusal_of(answer) == message


def test_identity_sources() -> None:
    values = {
        "request.header.a": "1",
        "request.querystring.b": "2",
        "context.routeKey": "GET /",
        "request.header.e": "",
    }
    assert identities(("$request.header.a", "$request.querystring.b", "$context.routeKey"), values.get) == [
        "1",
        "2",
        "GET /",
    ]
    assert identities(("$request.header.a", "$request.header.none"), values.get) is None
    assert identities(("$request.header.e",), values.get) is None
    assert identities((), values.get) == []


def key(api: str, stage: str, *given: str) -> tuple[str, str, str, bytes]:
    return authorizers.cache_key(api, stage, "a", given)


def test_answers_hold_for_their_time_and_go_with_their_stage() -> None:
    now = [0.0]
    results = Results(lambda: now[0])
    yes = Decision({}, True)
    for api, stage in (("api", "s1"), ("api", "s2"), ("other", "s1")):
        results.keep(key(api, stage, "token"), yes, 60)
    assert results.find(key("api", "s1", "token")) is yes
    assert results.find(key("api", "s1", "other")) is None
    now[0] = 59.9
    assert results.find(key("api", "s1", "token")) is yes
    now[0] = 60.0
    assert results.find(key("api", "s1", "token")) is None
    now[0] = 0.0
    results.keep(key("api", "s1", "token"), yes, 60)
    results.forget("api", "s1")
    assert results.find(key("api", "s1", "token")) is None
    assert results.find(key("api", "s2", "token")) is yes
    results.forget("api")
    assert results.find(key("api", "s2", "token")) is None
    assert results.find(key("other", "s1", "token")) is yes


def test_identities_are_told_apart_and_take_no_room() -> None:
    assert key("a", "s", "x", "y") != key("a", "s", "xy") != key("a", "s", "x,y") != key("a", "s", "y", "x")
    assert key("a", "s", "1:x") != key("a", "s", "1", "x")
    assert len(key("a", "s", "x" * 1_000_000)[3]) == 32
    assert key("a", "s", "\ud800") == key("a", "s", "\ud800")


def test_the_oldest_answers_go_beyond_the_bound() -> None:
    results = Results(lambda: 0.0)
    for number in range(authorizers.CACHED_RESULTS_MAX + 1):
        results.keep(key("api", "s", str(number)), Decision({}, True), 60)
    assert len(results) == authorizers.CACHED_RESULTS_MAX
    assert results.find(key("api", "s", "0")) is None
