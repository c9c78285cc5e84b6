"""Payload 1.0 on an HTTP API: a whole event, each rule by itself, and what a function may answer."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from lambent.gateway import payload1
from lambent.gateway.answers import Malformed
from lambent.gateway.payload2 import Arrival, Front

FRONT = Front("123456789012", "abc123", "abc123.execute-api.us-east-1.localhost", "prod", stage_variables={"k": "v"})
ARRIVAL = Arrival("JKJaXmPLvHcESHA=", "198.51.100.7", 1_583_348_638_390, added={"x-forwarded-port": "443"})


def made(**more: Any) -> dict[str, Any]:
    given: dict[str, Any] = {
        "front": FRONT,
        "arrival": ARRIVAL,
        "method": "POST",
        "raw_path": "/prod/my/7",
        "query": b"",
        "fields": [(b"host", b"h"), (b"user-agent", b"curl/8")],
        "body": b"",
        "route_key": "POST /my/{id}",
    } | more
    positional = [given.pop(name) for name in ("front", "arrival", "method", "raw_path", "query", "fields", "body")]
    return payload1.event(*positional, **given)


def test_a_whole_event() -> None:
    event = made(
        query=b"a=1&b=x%20y&a=2",
        fields=[(b"h", b"1"), (b"user-agent", b"curl/8"), (b"h", b"2"), (b"content-type", b"text/plain")],
        body=b"hello",
        path_parameters={"id": "7"},
        authorizer={"jwt": {"claims": {"sub": "u"}, "scopes": ["s"]}},
    )
    assert event == {
        "version": "1.0",
        "resource": "/my/{id}",
        "path": "/prod/my/7",
        "httpMethod": "POST",
        "headers": {"h": "2", "user-agent": "curl/8", "content-type": "text/plain", "x-forwarded-port": "443"},
        "multiValueHeaders": {
            "h": ["1", "2"],
            "user-agent": ["curl/8"],
            "content-type": ["text/plain"],
            "x-forwarded-port": ["443"],
        },
        "queryStringParameters": {"a": "2", "b": "x y"},
        "multiValueQueryStringParameters": {"a": ["1", "2"], "b": ["x y"]},
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "abc123",
            "authorizer": {"claims": {"sub": "u"}, "scopes": ["s"]},
            "domainName": "abc123.execute-api.us-east-1.localhost",
            "domainPrefix": "abc123",
            "extendedRequestId": "JKJaXmPLvHcESHA=",
            "httpMethod": "POST",
            "identity": {
                "accessKey": None,
                "accountId": None,
                "caller": None,
                "cognitoAmr": None,
                "cognitoAuthenticationProvider": None,
                "cognitoAuthenticationType": None,
                "cognitoIdentityId": None,
                "cognitoIdentityPoolId": None,
                "principalOrgId": None,
                "sourceIp": "198.51.100.7",
                "user": None,
                "userAgent": "curl/8",
                "userArn": None,
            },
            "path": "/prod/my/7",
            "protocol": "HTTP/1.1",
            "requestId": "JKJaXmPLvHcESHA=",
            "requestTime": "04/Mar/2020:19:03:58 +0000",
            "requestTimeEpoch": 1_583_348_638_390,
            "resourceId": "POST /my/{id}",
            "resourcePath": "/my/{id}",
            "stage": "prod",
        },
        "pathParameters": {"id": "7"},
        "stageVariables": {"k": "v"},
        "body": "hello",
        "isBase64Encoded": False,
    }
    assert orjson.loads(orjson.dumps(event)) == event


def test_what_is_not_there_is_null() -> None:
    event = made(front=Front("1", "a", "a.h"))
    for name in (
        "queryStringParameters",
        "multiValueQueryStringParameters",
        "pathParameters",
        "stageVariables",
        "body",
    ):
        assert event[name] is None, name
    assert "authorizer" not in event["requestContext"]
    default = made(route_key="$default")
    assert (default["resource"], default["requestContext"]["resourcePath"]) == ("$default", "$default")


def test_identities() -> None:
    iam = {
        "accessKey": "AKIA",
        "accountId": "1",
        "callerId": "c",
        "cognitoIdentity": None,
        "principalOrgId": None,
        "userArn": "arn",
        "userId": "u",
    }
    context = made(authorizer={"iam": iam})["requestContext"]
    assert "authorizer" not in context
    identity = context["identity"]
    assert [identity[name] for name in ("accessKey", "accountId", "caller", "user", "userArn")] == [
        "AKIA",
        "1",
        "c",
        "u",
        "arn",
    ]
    assert made(authorizer={"lambda": {"a": [1]}})["requestContext"]["authorizer"] == {"a": [1]}


@pytest.mark.parametrize("body", [b"\xff\xfe", b"plain"])
def test_a_body_that_is_no_text_is_base64(body: bytes) -> None:
    event = made(body=body, fields=[(b"content-type", b"image/png")])
    assert event["isBase64Encoded"] is True


# Answers


def answered(value: Any) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    made = payload1.answer(value if isinstance(value, bytes) else orjson.dumps(value))
    return made.status, made.headers, made.body


JSON = (b"content-type", b"application/json")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"statusCode": 201}, (201, [JSON], b"")),
        ({"statusCode": "201", "body": "x", "headers": {"a": 1}}, (201, [(b"a", b"1"), JSON], b"x")),
        ({"statusCode": 200, "body": "eA==", "isBase64Encoded": True}, (200, [JSON], b"x")),
        (
            {"statusCode": 200, "multiValueHeaders": {"Set-Cookie": ["a=1", "b=2"]}},
            (200, [(b"Set-Cookie", b"a=1"), (b"Set-Cookie", b"b=2"), JSON], b""),
        ),
        (
            {"statusCode": 200, "headers": {"X": "solo"}, "multiValueHeaders": {"X": ["multi"]}},
            (200, [(b"X", b"multi"), (b"X", b"solo"), JSON], b""),
        ),
        (
            {"statusCode": 200, "multiValueHeaders": {"Content-Type": ["text/html"], "n": None}},
            (200, [(b"Content-Type", b"text/html")], b""),
        ),
        ({"statusCode": 200, "cookies": ["a=1"]}, (200, [JSON], b"")),  # a member of 2.0
    ],
)
def test_answers(value: Any, expected: Any) -> None:
    assert answered(value) == expected


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"body": "x"},
        {"statusCode": None},
        {"statusCode": "test"},
        {"statusCode": 100},
        {"statusCode": 600},
        {"statusCode": [200]},
        "text",
        [],
        None,
        3,
        b"not json",
        {"statusCode": 200, "body": {"a": 1}},
        {"statusCode": 200, "headers": "x"},
        {"statusCode": 200, "headers": {"a": []}},
        {"statusCode": 200, "headers": {"a": "1\r\nset-cookie: x=1"}},
        {"statusCode": 200, "headers": {"a\r\nb": "1"}},
        {"statusCode": 200, "multiValueHeaders": {"a": "x"}},
        {"statusCode": 200, "multiValueHeaders": {"a": ["x\ny"]}},
        {"statusCode": 200, "multiValueHeaders": []},
        {"statusCode": 200, "body": "?", "isBase64Encoded": True},
    ],
)
def test_nonsense_is_malformed(value: Any) -> None:
    with pytest.raises(Malformed):
        answered(value)
