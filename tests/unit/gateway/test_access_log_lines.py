"""Access log lines: variables, what is missing, and values that mean to break out of their text."""

from __future__ import annotations

import json

import pytest

from lambent.gateway.access_logs import VALUE_CHARS_MAX, group_of, line

JSON = '{"id":"$context.requestId","path":"$context.path","who":"$context.authorizer.claims.sub","n":$context.status}'


def test_a_line_of_json() -> None:
    values = {"requestId": "r=", "path": '/a"b\\c\n\x00é', "authorizer.claims.sub": "", "status": 200}
    written = line(JSON, values)
    assert written.count(b"\n") == 1
    assert json.loads(written) == {"id": "r=", "path": '/a"b\\c\n\x00é', "who": "-", "n": 200}


def test_text_around_variables_stays() -> None:
    values = {"identity.sourceIp": "1.2.3.4", "requestId": "x"}
    format = "$context.identity.sourceIp - [$context.requestTime] $context.requestId. $input $context"
    assert line(format, values) == b"1.2.3.4 - [-] x. $input $context\n"


def test_line_breaks_never_make_two_lines() -> None:
    assert line("a\nb $context.path", {"path": "x\r\ny"}) == b"a b x\\r\\ny\n"


def test_values_are_cut() -> None:
    assert line("$context.path", {"path": "x" * 5_000}) == b"x" * VALUE_CHARS_MAX + b"\n"


@pytest.mark.parametrize(
    ("arn", "group"),
    [
        ("arn:aws:logs:us-east-1:123456789012:log-group:/a/b", "/a/b"),
        ("arn:aws:logs:us-east-1:123456789012:log-group:g:*", "g"),
        ("arn:aws:logs:eu-west-1:123456789012:log-group:g", None),
        ("arn:aws:logs:us-east-1:210987654321:log-group:g", None),
        ("arn:aws:firehose:us-east-1:123456789012:deliverystream/x", None),
        ("g", None),
    ],
)
def test_groups(arn: str, group: str | None) -> None:
    assert group_of(arn, "123456789012", "us-east-1") == group
