"""The response rules of payload 2.0: a golden for each shape that a function may return."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.gateway import answers
from lambent.gateway.answers import HttpAnswer, Malformed, answer, compact, without

JSON = (b"content-type", b"application/json")


def returned(value: object) -> HttpAnswer:
    """As Python's runtime client writes it."""
    return answer(json.dumps(value).encode())


@pytest.mark.parametrize(
    ("value", "body"),
    [
        ({"a": 1, "b": [1, 2]}, b'{"a":1,"b":[1,2]}'),
        ({}, b"{}"),
        ({"body": "x", "headers": {"A": "b"}}, b'{"body":"x","headers":{"A":"b"}}'),
        ({"statusCode": None, "body": "x"}, b'{"statusCode":null,"body":"x"}'),
        ([1, "a b", {"c": None}], b'[1,"a b",{"c":null}]'),
        ("hello", b"hello"),
        ("", b""),
        ("é\u0001\r\n", "é\u0001\r\n".encode()),
        (4, b"4"),
        (1.50, b"1.5"),
        (True, b"true"),
        (None, b"null"),
        (10**30, str(10**30).encode()),
    ],
)
def test_without_a_status_code_the_json_is_the_body(value: object, body: bytes) -> None:
    assert returned(value) == HttpAnswer(200, [JSON], body)


@pytest.mark.parametrize(
    ("text", "body"),
    [
        (b' { "a" :\t[ 1 ,\n2 ] } ', b'{"a":[1,2]}'),
        (rb'{"a b": "c  \" d\\", "e": 1}', rb'{"a b":"c  \" d\\","e":1}'),
        (b"[1.0, 1e3, -0]", b"[1.0,1e3,-0]"),
        ('{"é": "\\u00e9"}'.encode(), '{"é":"\\u00e9"}'.encode()),
    ],
)
def test_json_is_sent_without_white_space_and_otherwise_as_written(text: bytes, body: bytes) -> None:
    assert answer(text).body == body


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_compacting_never_changes_what_is_meant(value: Any) -> None:
    text = json.dumps(value, indent=2).encode()
    assert compact(text) == json.dumps(value, separators=(",", ":")).encode()


@pytest.mark.parametrize(
    ("given_status", "status"),
    [(200, 200), (204, 204), (418, 418), ("418", 418), (599, 599), (302.0, 302), ("201", 201), (299, 299)],
)
def test_status_codes(given_status: object, status: int) -> None:
    assert returned({"statusCode": given_status}) == HttpAnswer(status, [JSON], b"")


@pytest.mark.parametrize(
    "status",
    [0, 1, 99, 100, 101, 103, 199, 600, 1000, -200, 200.5, "", "abc", "20", "2000", "200 ", "+200", "２００", "200.0", True, False,
     [200], {"a": 1}, 10**30],
)  # fmt: skip
def test_what_is_no_final_status_is_malformed(status: object) -> None:
    with pytest.raises(Malformed, match="statusCode"):
        returned({"statusCode": status, "body": "x"})


@pytest.mark.parametrize(
    ("headers", "fields"),
    [
        ({}, [JSON]),
        (None, [JSON]),
        ({"Content-Type": "text/html"}, [(b"Content-Type", b"text/html")]),
        ({"CONTENT-TYPE": "a/b"}, [(b"CONTENT-TYPE", b"a/b")]),
        ({"X-A": "b"}, [(b"X-A", b"b"), JSON]),
        ({"X-A": 1, "X-B": True, "X-C": 1.5, "X-D": False}, [(b"X-A", b"1"), (b"X-B", b"true"), (b"X-C", b"1.5"), (b"X-D", b"false"), JSON]),
        ({"X-A": None}, [JSON]),
        ({"X-A": ""}, [(b"X-A", b""), JSON]),
        ({"X-A": "  b\t"}, [(b"X-A", b"b"), JSON]),
        ({"X-A": "a\tb"}, [(b"X-A", b"a\tb"), JSON]),
        ({"X-A": "é"}, [(b"X-A", "é".encode()), JSON]),
        ({"X-A": "1", "x-a": "2"}, [(b"x-a", b"2"), JSON]),
        ({"Content-Type": "a/b", "content-type": "c/d"}, [(b"content-type", b"c/d")]),
        ({"Set-Cookie": "a=b"}, [(b"Set-Cookie", b"a=b"), JSON]),
        ({"Content-Length": "5"}, [(b"x-amzn-Remapped-Content-Length", b"5"), JSON]),
        ({"connection": "close"}, [(b"x-amzn-Remapped-connection", b"close"), JSON]),
        ({"Transfer-Encoding": "chunked"}, [(b"x-amzn-Remapped-Transfer-Encoding", b"chunked"), JSON]),
        ({"Date": "x"}, [(b"x-amzn-Remapped-Date", b"x"), JSON]),
        ({"Upgrade": "h2c"}, [(b"x-amzn-Remapped-Upgrade", b"h2c"), JSON]),
        ({"Keep-Alive": "5"}, [(b"x-amzn-Remapped-Keep-Alive", b"5"), JSON]),
        ({"Trailer": "x"}, [(b"x-amzn-Remapped-Trailer", b"x"), JSON]),
        ({"x-amzn-RequestId": "x"}, [(b"x-amzn-Remapped-x-amzn-RequestId", b"x"), JSON]),
    ],
)  # fmt: skip
def test_headers(headers: object, fields: list[tuple[bytes, bytes]]) -> None:
    assert returned({"statusCode": 200, "headers": headers}).headers == fields


@pytest.mark.parametrize(
    "headers",
    [
        "a: b",
        ["a"],
        1,
        True,
        {"X-A": ["b"]},
        {"X-A": {"b": 1}},
        {"": "b"},
        {"X A": "b"},
        {"X:A": "b"},
        {"X-A\r\nSet-Cookie": "b"},
        {"X-É": "b"},
        {"X-A": "b\r\nSet-Cookie: c=d"},
        {"X-A": "b\nc"},
        {"X-A": "b\rc"},
        {"X-A": "b\0c"},
        {"X-A": "\r\n\r\n<script>"},
        {"Content-Type": "text/html\r\n\r\nbody"},
    ],
)
def test_headers_that_are_none_or_would_smuggle_one_are_malformed(headers: object) -> None:
    with pytest.raises(Malformed):
        returned({"statusCode": 200, "headers": headers})


@pytest.mark.parametrize(
    ("cookies", "fields"),
    [
        (["a=1; HttpOnly", "b=2"], [(b"set-cookie", b"a=1; HttpOnly"), (b"set-cookie", b"b=2")]),
        ([], []),
        (None, []),
        ([1], [(b"set-cookie", b"1")]),
    ],
)
def test_cookies(cookies: object, fields: list[tuple[bytes, bytes]]) -> None:
    assert returned({"statusCode": 200, "cookies": cookies}).headers == [JSON, *fields]


@pytest.mark.parametrize("cookies", ["a=1", {"a": "1"}, 1, [["a"]], [None], [{"a": 1}], ["a=1\r\nX: y"]])
def test_cookies_that_are_no_list_of_texts_are_malformed(cookies: object) -> None:
    with pytest.raises(Malformed):
        returned({"statusCode": 200, "cookies": cookies})


@pytest.mark.parametrize(
    ("members", "body"),
    [
        ({}, b""),
        ({"body": None}, b""),
        ({"body": ""}, b""),
        ({"body": "é\r\n\0"}, "é\r\n\0".encode()),
        ({"body": 5}, b"5"),
        ({"body": True}, b"true"),
        ({"body": "aGk=", "isBase64Encoded": False}, b"aGk="),
        ({"body": "aGk=", "isBase64Encoded": None}, b"aGk="),
        ({"body": "aGk=", "isBase64Encoded": "false"}, b"aGk="),
        ({"body": "aGk=", "isBase64Encoded": True}, b"hi"),
        ({"body": "aGk=", "isBase64Encoded": "true"}, b"hi"),
        ({"body": "aGk", "isBase64Encoded": True}, b"hi"),
        ({"body": "/wA=", "isBase64Encoded": True}, b"\xff\0"),
        ({"body": "", "isBase64Encoded": True}, b""),
        ({"isBase64Encoded": True}, b""),
    ],
)
def test_bodies(members: dict[str, object], body: bytes) -> None:
    assert returned({"statusCode": 200, **members}) == HttpAnswer(200, [JSON], body)


@pytest.mark.parametrize(
    "members",
    [
        {"body": {"a": 1}},
        {"body": ["a"]},
        {"body": "!!!!", "isBase64Encoded": True},
        {"body": "a", "isBase64Encoded": True},
        {"body": "é", "isBase64Encoded": True},
        {"body": "aGk=", "isBase64Encoded": "yes"},
        {"body": "aGk=", "isBase64Encoded": 1},
        {"body": "aGk=", "isBase64Encoded": []},
    ],
)
def test_bodies_that_are_none_are_malformed(members: dict[str, object]) -> None:
    with pytest.raises(Malformed):
        returned({"statusCode": 200, **members})


@pytest.mark.parametrize(
    "text", [b"", b" ", b"hello", b"{", b'{"a":NaN}', b"\xff", b'"a', b"[1]x", b'"\\ud800"', b"\0"]
)
def test_what_is_not_json_is_malformed(text: bytes) -> None:
    with pytest.raises(Malformed, match="not JSON"):
        answer(text)


def test_unknown_members_are_ignored() -> None:
    value = {"statusCode": 200, "multiValueHeaders": {"A": ["b"]}, "x": 1}
    assert returned(value) == HttpAnswer(200, [JSON], b"")


def test_names_of_any_number_and_length_are_not_kept() -> None:
    for number in range(answers._NAMES_MAX + 10):
        returned({"statusCode": 200, "headers": {f"X-{number}": "a", "Y" * 100_000: "b"}})
    assert len(answers._names) <= answers._NAMES_MAX
    assert max(map(len, answers._names)) <= answers._NAME_CHARS_KEPT


def test_fields_by_prefix() -> None:
    fields = [(b"Access-Control-Allow-Origin", b"*"), (b"access-control-max-age", b"1"), (b"x", b"y")]
    assert without(fields, b"access-control-") == [(b"x", b"y")]
