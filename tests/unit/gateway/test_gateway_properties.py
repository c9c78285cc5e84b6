"""Whatever a client sends becomes an event, and whatever a function returns becomes a response or is refused."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lambent.gateway.answers import Malformed, answer
from lambent.gateway.cors import Cors
from lambent.gateway.forwarding import Forwarding, read_networks
from lambent.gateway.payload2 import Arrival, Front, decoded_path, event, raw_path_of
from lambent.gateway.streams import head_of
from lambent.http.exchange import _check_name
from lambent.http.status import status_line

FRONTS = (Front("anonymous", "id", "d.e", keeps_cookie_header=True), Front("1", "id", "d.e", stage="s"))
ARRIVAL = Arrival("r", "1.2.3.4", 0, added={"x-forwarded-for": "1.2.3.4"})
NAMES = st.from_regex(rb"[!#$%&'*+\-.^_`|~0-9a-z]{1,12}", fullmatch=True) | st.sampled_from(
    [b"cookie", b"content-type", b"content-encoding", b"x-forwarded-for"]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
NEAR = st.fixed_dictionaries(
    {},
    optional={
        "statusCode": JSON | st.integers(100, 600) | st.integers(100, 600).map(str),
        "headers": JSON | st.dictionaries(st.text() | st.from_regex(r"[A-Za-z-]{1,20}", fullmatch=True), JSON),
        "cookies": JSON | st.lists(st.text()),
        "body": JSON,
        "isBase64Encoded": JSON,
    },
)


@settings(max_examples=150)
@given(
    st.sampled_from(FRONTS),
    st.binary(),
    st.binary(),
    st.lists(st.tuples(NAMES, st.binary(max_size=40))),
    st.binary(),
)
def test_every_request_has_an_event(
    front: Front, path: bytes, query: bytes, fields: list[tuple[bytes, bytes]], body: bytes
) -> None:
    for raw_path in (raw_path_of(path), decoded_path(path)):
        shown = json.loads(orjson.dumps(event(front, ARRIVAL, "POST", raw_path, query, fields, body)))
        assert shown["headers"]["x-forwarded-for"] == "1.2.3.4"
        assert ("body" in shown) == bool(body)
        assert all(isinstance(value, str) for value in shown["headers"].values())
        assert ("cookie" in shown["headers"]) <= front.keeps_cookie_header


def check(status: int, headers: list[tuple[bytes, bytes]]) -> None:
    """What the core asks of an answer, and what a client would be fooled by."""
    status_line(status)
    for name, value in headers:
        _check_name(name)
        assert not set(value) & {0, 10, 13}
    names = [name.lower() for name, _ in headers if name.lower() != b"set-cookie"]
    assert len(names) == len(set(names))
    assert b"content-type" in names


@settings(max_examples=300)
@given(NEAR | JSON)
def test_every_value_is_a_response_or_refused(value: Any) -> None:
    try:
        made = answer(json.dumps(value).encode())
    except Malformed:
        return
    check(made.status, made.headers)


@settings(max_examples=100)
@given(st.binary(max_size=200))
def test_every_text_is_a_response_or_refused(text: bytes) -> None:
    try:
        made = answer(text)
    except Malformed:
        return
    check(made.status, made.headers)


@settings(max_examples=100)
@given(NEAR)
def test_all_metadata_are_a_head_or_refused(metadata: dict[str, Any]) -> None:
    try:
        status, headers = head_of(metadata)
    except Malformed:
        return
    check(status, headers)


@settings(max_examples=100)
@given(
    st.lists(st.sampled_from(["*", "http://a", "https://*"])),
    st.lists(st.sampled_from(["*", "GET"])),
    st.lists(st.sampled_from(["*", "x-a"])),
    st.from_regex(rb"[^\r\n\0]{0,30}", fullmatch=True),
    st.binary(max_size=20),
    st.none() | st.binary(max_size=20),
)
def test_no_preflight_puts_a_break_into_a_header(
    origins: list[str], methods: list[str], headers: list[str], origin: bytes, method: bytes, asked: bytes | None
) -> None:
    cors = Cors.read({"AllowOrigins": origins, "AllowMethods": methods, "AllowHeaders": headers})
    for _, value in cors.preflight(origin, method, asked):
        assert not set(value) & {0, 10, 13}


@pytest.mark.parametrize("trusted", ["", "10.0.0.0/8"])
@given(st.text(alphabet="0123456789.:, abcx"))
def test_nobody_writes_another_address_than_a_proxy_vouches_for(trusted: str, sent: str) -> None:
    rule = Forwarding(read_networks(trusted))
    assert rule._client("1.2.3.4", sent) == "1.2.3.4"
