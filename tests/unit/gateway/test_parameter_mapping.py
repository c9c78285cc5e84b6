"""Parameter mapping, and where HTTP integrations lead: header injection and path traversal among it."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from lambent.gateway.http_apis.model import Integration
from lambent.gateway.integrations import Failed, Traversal, http_url, named, printable
from lambent.gateway.parameters import BadParameter, Mapped, apply, body_value, is_reserved, query_text, resolve

VALUES = {
    "request.header.a": "A",
    "request.querystring.q": "Q",
    "request.path.id": "7",
    "context.requestId": "R",
    "stageVariables.v": "V",
    "request.querystring.bad": "x\r\nset-cookie: a=1",
    "request.querystring.nul": "x\0",
    "response.header.s": "202",
}


def mapped(parameters: Mapping[str, str]) -> Mapped:
    found = Mapped([(b"a", b"1"), (b"a", b"2"), (b"b", b"3")], [("q", "1"), ("r", "2")])
    apply(parameters, found, VALUES.get)
    return found


@pytest.mark.parametrize(
    ("name", "value", "fields"),
    [
        ("append:header.A", "x", [(b"a", b"1"), (b"a", b"2"), (b"b", b"3"), (b"a", b"x")]),
        ("overwrite:header.A", "$request.querystring.q", [(b"b", b"3"), (b"a", b"Q")]),
        (
            "overwrite:header.c",
            "${context.requestId}-${stageVariables.v}",
            [(b"a", b"1"), (b"a", b"2"), (b"b", b"3"), (b"c", b"R-V")],
        ),
        ("remove:header.a", "''", [(b"b", b"3")]),
        ("overwrite:header.b", "$request.header.none", [(b"a", b"1"), (b"a", b"2"), (b"b", b"3")]),
    ],
)
def test_headers(name: str, value: str, fields: list[tuple[bytes, bytes]]) -> None:
    assert mapped({name: value}).fields == fields


@pytest.mark.parametrize(
    ("name", "value", "query"),
    [
        ("append:querystring.q", "$request.header.a", [("q", "1"), ("r", "2"), ("q", "A")]),
        ("overwrite:querystring.q", "x&y=z", [("r", "2"), ("q", "x&y=z")]),
        ("remove:querystring.r", "''", [("q", "1")]),
    ],
)
def test_queries(name: str, value: str, query: list[tuple[str, str]]) -> None:
    assert mapped({name: value}).query == query


def test_path_and_status() -> None:
    assert mapped({"overwrite:path": "/v/$request.path.id"}).path == "/v/$request.path.id", "a bare one stands alone"
    assert mapped({"overwrite:path": "/v/${request.path.id}"}).path == "/v/7"
    assert mapped({"overwrite:statuscode": "$response.header.s"}).status == 202


@pytest.mark.parametrize(
    "parameters",
    [
        {"overwrite:header.x": "$request.querystring.bad"},
        {"append:header.x": "${request.querystring.bad}"},
        {"append:header.x": "$request.querystring.nul"},
        {"overwrite:statuscode": "$request.header.a"},
        {"overwrite:statuscode": "100"},
        {"overwrite:statuscode": "600"},
    ],
)
def test_what_can_not_be_sent_is_refused(parameters: Mapping[str, str]) -> None:
    with pytest.raises(BadParameter):
        mapped(parameters)


def test_expressions() -> None:
    assert resolve("text", VALUES.get) == "text"
    assert resolve("$request.header.none", VALUES.get) is None
    assert resolve("a${request.header.none}b", VALUES.get) == "ab"
    assert resolve("${$context.requestId}", VALUES.get) == "R"
    assert resolve("'static'", VALUES.get) == "'static'"


@pytest.mark.parametrize(
    ("path", "value"),
    [("a", "x"), ("b.c[1]", "3"), ("b", '{"c":[1,3]}'), ("n", None), ("none", None), ("b.c[9]", None), ("t", "true")],
)
def test_members_of_a_body(path: str, value: str | None) -> None:
    assert body_value(b'{"a":"x","b":{"c":[1,3]},"n":null,"t":true}', path) == value
    assert body_value(b"no json", path) is None


@pytest.mark.parametrize(
    ("name", "reserved"),
    [("Authorization", True), ("X-Amz-Date", True), ("x-forwarded-for", True), ("Via", True), ("x-mine", False)],
)
def test_the_gateways_own_headers(name: str, reserved: bool) -> None:
    assert is_reserved(name) is reserved


def test_query_text_is_encoded() -> None:
    assert query_text([("a b", "x&y=z"), ("é", "")]) == "a%20b=x%26y%3Dz&%C3%A9="


# Where it leads


def led(uri: str, parameters: Mapping[str, str], path: str | None = None) -> str:
    integration = Integration(
        integration_id="i", integration_type="HTTP_PROXY", integration_uri=uri, integration_method="ANY"
    )
    return http_url(integration, {"host": "h.example"}, parameters, path)


@pytest.mark.parametrize(
    ("uri", "parameters", "path", "url"),
    [
        ("http://h/x", {"id": "7"}, None, "http://h/x"),
        ("http://h", {}, None, "http://h"),
        ("http://h/{id}/y", {"id": "a b/c?d#e"}, None, "http://h/a%20b%2Fc%3Fd%23e/y"),
        ("http://h/b/{proxy}", {"proxy": "x/y z/é"}, None, "http://h/b/x/y%20z/%C3%A9"),
        ("http://h/b/{rest+}", {"rest": "x//y"}, None, "http://h/b/x//y"),
        ("http://h/{id}", {"id": "%2e%2e"}, None, "http://h/%252e%252e"),
        ("http://h/{id}", {"id": "x\r\nhost: evil"}, None, "http://h/x%0D%0Ahost:%20evil"),
        ("http://h/{id}", {"id": "@evil.example"}, None, "http://h/@evil.example"),
        ("https://${stageVariables.host}/{id}", {"id": "1"}, None, "https://h.example/1"),
        ("http://h/x", {}, "/new path?a", "http://h/new%20path%3Fa"),
    ],
)
def test_parameters_stay_in_their_place(uri: str, parameters: Mapping[str, str], path: str | None, url: str) -> None:
    assert led(uri, parameters, path) == url


@pytest.mark.parametrize("value", ["..", ".", "../admin", "a/../../admin", "a/..", "./a", "..\\admin", "a/.\\b"])
def test_dot_segments_do_not_lead_out(value: str) -> None:
    with pytest.raises(Traversal):
        led("http://h/open/{proxy}", {"proxy": value})


def test_a_mapped_path_does_not_lead_out_either() -> None:
    with pytest.raises(Traversal):
        led("http://h/open", {}, "/open/../admin")


def test_what_is_named_and_not_there() -> None:
    with pytest.raises(Failed, match="the stage has no variable other"):
        named("http://${stageVariables.other}/", {"host": "h"})
    with pytest.raises(Failed, match="no path variable id"):
        led("http://h/{id}", {})


def test_a_query_is_passed_on_as_it_came() -> None:
    assert printable(b"a=1&b=%20+&c=\xc3\xa9 \r\n") == "a=1&b=%20+&c=%C3%A9%20%0D%0A"
