"""Seeded nonsense for the logs operations and for the usage address: a refusal with a code, never a fault."""

from __future__ import annotations

import json
import random
from typing import Any
from urllib.parse import quote

from tests.integration.hostile.hostile_world import AUTHORIZATION, call

SEED, CALLS = 11, 600
OPERATIONS = [
    "DescribeLogGroups",
    "DescribeLogStreams",
    "GetLogEvents",
    "FilterLogEvents",
    "ListTagsForResource",
    "ListTagsLogGroup",
    "CreateLogGroup",
    "DeleteLogGroup",
    "CreateLogStream",
    "DeleteLogStream",
    "PutRetentionPolicy",
    "DeleteRetentionPolicy",
    "PutLogEvents",
    "TagResource",
    "UntagResource",
    "StartQuery",
    "Nonsense",
]
GROUPS = ["/aws/lambda/witness", "mine", "mine/2"]
PLAUSIBLE: dict[str, list[Any]] = {
    "logGroupName": GROUPS,
    "logGroupIdentifier": [*GROUPS, "arn:aws:logs:us-east-1:434343434343:log-group:mine"],
    "logGroupNamePrefix": ["/aws", "m", ""],
    "logStreamName": ["s", "2026/11/25/[$LATEST]0"],
    "logStreamNames": [["s"]],
    "resourceArn": ["arn:aws:logs:us-east-1:434343434343:log-group:mine"],
    "filterPattern": ["x", '"a b"', "{ $.a = 1 }", "[a, b]", "?x ?y", "%r+%"],
    "startTime": [0, 1_700_000_000_000],
    "endTime": [0, 2**45],
    "limit": [1, 50, 10_000],
    "nextToken": ["f/1", "x"],
    "startFromHead": [True, False],
    "orderBy": ["LogStreamName", "LastEventTime"],
    "retentionInDays": [1, 14, 3_653],
    "tags": [{"a": "b"}, ["a"]],
    "tagKeys": [["a"]],
    "logEvents": [[{"timestamp": 1_700_000_000_000, "message": "m"}], []],
    "logGroupClass": ["STANDARD", "INFREQUENT_ACCESS"],
}
ODD: list[Any] = [
    None,
    "",
    "é",
    "\0",
    "a" * 600,
    "{ $.",
    "[",
    "%(a+)+$%",
    -1,
    0,
    2**63,
    10**30,
    1.5,
    True,
    [],
    {},
    [None],
]
HEADERS = {
    "Authorization": AUTHORIZATION.replace("=test/", "=434343434343/").replace("/lambda/", "/logs/"),
    "Content-Type": "application/x-amz-json-1.1",
}


def test_the_logs_operations(well: Any) -> None:
    chance = random.Random(SEED)
    for number in range(CALLS):
        operation = chance.choice(OPERATIONS)
        given = {
            name: chance.choice(ODD) if chance.random() < 0.25 else chance.choice(values)
            for name, values in PLAUSIBLE.items()
            if chance.random() < (0.9 if name in ("logGroupName", "logStreamName", "logEvents") else 0.25)
        }
        body = json.dumps(given).encode()
        if chance.random() < 0.05:
            body = chance.choice([b"", b"{", b"[]", b"null", b"\xff", b"[" * 5_000])
        answer = call(well.url, "POST", "/", body, {**HEADERS, "X-Amz-Target": f"Logs_20140328.{operation}"})
        story = f"call {number}: {operation} {body[:500]!r} {answer}"
        assert answer.status in (200, 400) or (answer.status == 501 and operation in ("StartQuery", "Nonsense")), story
        if answer.status != 200:
            assert answer.document["__type"], story
            assert isinstance(answer.message, str), story


def test_the_usage_address(well: Any) -> None:
    for month in (
        "2026-11",
        "",
        "2026-13",
        "2026-00",
        "0000-01",
        "99999-01",
        "2026-1",
        "é",
        "\0",
        "-",
        "a" * 5_000,
        "2026-11-01",
    ):
        answer = call(well.url, "GET", f"/_lambent/usage?month={quote(month)}")
        assert answer.status in (200, 400), (month, answer)
    assert call(well.url, "GET", "/_lambent/usage?month=2026-11&month=x").status in (200, 400)
    assert call(well.url, "POST", "/_lambent/usage", b"{}").status == 405
    assert call(well.url, "GET", "/_lambent/usage", b"{}").status == 200
