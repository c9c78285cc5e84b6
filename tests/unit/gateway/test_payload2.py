"""Payload 2.0: each rule by which a request becomes an event, and two whole events as they were captured."""

from __future__ import annotations

import orjson
import pytest

from lambent.gateway.payload2 import (
    Arrival,
    Front,
    body_of,
    decoded_path,
    event,
    query_parameters,
    raw_path_of,
    request_time,
    split_cookies,
)

ID = "k3x7q2m9" * 4
URL = Front("anonymous", ID, f"{ID}.lambda-url.us-east-1.localhost", keeps_cookie_header=True)
API = Front("000000000000", "abc123", "abc123.execute-api.us-east-1.localhost", "prod", stage_variables={"k": "v"})
ARRIVAL = Arrival("c6af9ac6-7b61-11e6-9a41-93e8deadbeef", "198.51.100.7", 1_583_348_638_390)
HOST = (b"host", b"h")


def headers_of(*fields: tuple[bytes, bytes], front: Front = URL) -> dict[str, str]:
    shown: dict[str, str] = event(front, ARRIVAL, "GET", "/", b"", fields, b"")["headers"]
    return shown


def test_a_whole_event_of_a_function_url() -> None:
    fields = [
        (b"host", f"{ID}.lambda-url.us-east-1.localhost:4566".encode()),
        (b"user-agent", b"curl/8"),
        (b"h", b"v1"),
        (b"cookie", b"c1=a; c2=b"),
        (b"h", b"v2"),
        (b"content-type", b"text/plain"),
    ]
    authorizer = {"iam": {"accessKey": "AKIA", "accountId": "000000000000", "cognitoIdentity": None}}
    added = {"x-forwarded-for": "198.51.100.7"}
    arrival = Arrival(ARRIVAL.request_id, ARRIVAL.source_ip, ARRIVAL.epoch_ms, added=added)
    shown = event(URL, arrival, "POST", "/p%20q", b"a=1&a=2&b=%C3%A9", fields, b"text", authorizer=authorizer)
    assert orjson.dumps(shown).decode() == (
        '{"version":"2.0","routeKey":"$default","rawPath":"/p%20q","rawQueryString":"a=1&a=2&b=%C3%A9",'
        '"cookies":["c1=a","c2=b"],'
        f'"headers":{{"host":"{ID}.lambda-url.us-east-1.localhost:4566","user-agent":"curl/8","h":"v1,v2",'
        '"cookie":"c1=a; c2=b","content-type":"text/plain","x-forwarded-for":"198.51.100.7"},'
        '"queryStringParameters":{"a":"1,2","b":"é"},'
        f'"requestContext":{{"accountId":"anonymous","apiId":"{ID}","authentication":null,'
        '"authorizer":{"iam":{"accessKey":"AKIA","accountId":"000000000000","cognitoIdentity":null}},'
        f'"domainName":"{ID}.lambda-url.us-east-1.localhost","domainPrefix":"{ID}",'
        '"http":{"method":"POST","path":"/p%20q","protocol":"HTTP/1.1","sourceIp":"198.51.100.7","userAgent":"curl/8"},'
        '"requestId":"c6af9ac6-7b61-11e6-9a41-93e8deadbeef","routeKey":"$default","stage":"$default",'
        '"time":"04/Mar/2020:19:03:58 +0000","timeEpoch":1583348638390},"body":"text","isBase64Encoded":false}'
    )


def test_a_whole_event_of_an_http_api() -> None:
    fields = [(b"accept", b"*/*"), (b"cookie", b"c1=a; c2=b"), HOST]
    shown = event(
        API,
        ARRIVAL,
        "GET",
        decoded_path(b"/prod/my/7%2F8"),
        b"p=1&p=2&q=x",
        fields,
        b"",
        route_key="GET /my/{id}",
        authorizer={"jwt": {"claims": {"sub": "u"}, "scopes": ["s1"]}},
        path_parameters={"id": "7/8"},
    )
    assert orjson.dumps(shown).decode() == (
        '{"version":"2.0","routeKey":"GET /my/{id}","rawPath":"/prod/my/7/8","rawQueryString":"p=1&p=2&q=x",'
        '"cookies":["c1=a","c2=b"],"headers":{"accept":"*/*","host":"h"},"queryStringParameters":{"p":"1,2","q":"x"},'
        '"requestContext":{"accountId":"000000000000","apiId":"abc123","authentication":null,'
        '"authorizer":{"jwt":{"claims":{"sub":"u"},"scopes":["s1"]}},'
        '"domainName":"abc123.execute-api.us-east-1.localhost","domainPrefix":"abc123",'
        '"http":{"method":"GET","path":"/prod/my/7/8","protocol":"HTTP/1.1","sourceIp":"198.51.100.7","userAgent":""},'
        '"requestId":"c6af9ac6-7b61-11e6-9a41-93e8deadbeef","routeKey":"GET /my/{id}","stage":"prod",'
        '"time":"04/Mar/2020:19:03:58 +0000","timeEpoch":1583348638390},"pathParameters":{"id":"7/8"},'
        '"isBase64Encoded":false,"stageVariables":{"k":"v"}}'
    )


def test_what_is_not_there_is_absent() -> None:
    shown = event(URL, ARRIVAL, "GET", "/", b"", [HOST], b"")
    assert list(shown) == [
        "version",
        "routeKey",
        "rawPath",
        "rawQueryString",
        "headers",
        "requestContext",
        "isBase64Encoded",
    ]
    assert shown["rawQueryString"] == ""
    assert shown["isBase64Encoded"] is False
    assert "authorizer" not in shown["requestContext"]
    assert shown["requestContext"]["authentication"] is None


def test_a_query_of_separators_alone_has_no_parameters() -> None:
    shown = event(URL, ARRIVAL, "GET", "/", b"&&", [HOST], b"")
    assert shown["rawQueryString"] == "&&"
    assert "queryStringParameters" not in shown


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        ([(b"a", b"1"), (b"b", b"2"), (b"a", b"3")], {"a": "1,3", "b": "2"}),
        ([(b"a", b"1,2"), (b"a", b"3")], {"a": "1,2,3"}),
        ([(b"cookie", b"a=1"), (b"cookie", b"b=2")], {"cookie": "a=1; b=2"}),
        ([(b"a", "é".encode())], {"a": "é"}),
        ([(b"a", b"\xe9")], {"a": "é"}),
        ([(b"a", b"")], {"a": ""}),
    ],
)
def test_headers(fields: list[tuple[bytes, bytes]], shown: dict[str, str]) -> None:
    assert headers_of(*fields) == shown


def test_an_http_api_takes_cookies_out_of_the_headers() -> None:
    assert headers_of((b"cookie", b"a=1"), (b"b", b"2"), front=API) == {"b": "2"}


def test_headers_of_the_door_replace_those_that_were_sent() -> None:
    arrival = Arrival("r", "1.2.3.4", 0, added={"x-forwarded-proto": "http"})
    sent = [(b"x-forwarded-proto", b"https"), (b"x-forwarded-proto", b"gopher")]
    assert event(URL, arrival, "GET", "/", b"", sent, b"")["headers"] == {"x-forwarded-proto": "http"}


@pytest.mark.parametrize(
    ("raw", "cookies"),
    [
        (b"a=1; b=2", ["a=1", "b=2"]),
        (b"a=1;b=2", ["a=1", "b=2"]),
        (b"a=x,y; ; b", ["a=x,y", "b"]),
        (b";", []),
        (b'a="q;r"', ['a="q', 'r"']),
    ],
)
def test_cookies(raw: bytes, cookies: list[str]) -> None:
    assert split_cookies(raw) == cookies


@pytest.mark.parametrize(
    ("query", "parameters"),
    [
        (b"a=1&a=2&b=3", {"a": "1,2", "b": "3"}),
        (b"a", {"a": ""}),
        (b"a=&b", {"a": "", "b": ""}),
        (b"=1", {"": "1"}),
        (b"a=b=c", {"a": "b=c"}),
        (b"a%20b=c%26d", {"a b": "c&d"}),
        (b"a+b=c+d", {"a b": "c d"}),
        (b"a=%2B", {"a": "+"}),
        (b"a=%C3%A9", {"a": "é"}),
        (b"a=%FF", {"a": "\ufffd"}),
        (b"a=%zz%", {"a": "%zz%"}),
        (b"&a=1&&b=2&", {"a": "1", "b": "2"}),
        (b"a=1;b=2", {"a": "1;b=2"}),
    ],
)
def test_query_parameters(query: bytes, parameters: dict[str, str]) -> None:
    assert query_parameters(query) == parameters


@pytest.mark.parametrize(
    "kind",
    [
        "text/plain",
        "text/html; charset=utf-8",
        "TEXT/CSV",
        "application/json",
        "application/json;charset=UTF-8",
        "application/javascript",
        "application/xml",
        "application/problem+json",
        "image/svg+xml",
        "application/vnd.api+json; v=1",
    ],
)
def test_text_travels_as_it_is(kind: str) -> None:
    assert body_of("é".encode(), [(b"content-type", kind.encode())]) == ("é", False)


@pytest.mark.parametrize(
    "kind",
    [
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=text/plain",
        "application/octet-stream",
        "image/png",
        "application/xhtml",
        "json",
        "",
        "application/x-javascript",
    ],
)
def test_everything_else_is_base64(kind: str) -> None:
    fields = [(b"content-type", kind.encode())] if kind else []
    assert body_of(b"a=1", fields) == ("YT0x", True)


@pytest.mark.parametrize(
    ("fields", "body", "shown"),
    [
        ([(b"content-type", b"text/plain")], b"\xff", ("/w==", True)),  # not UTF-8: JSON could not carry it
        ([(b"content-type", b"text/plain"), (b"content-encoding", b"gzip")], b"abc", ("YWJj", True)),
        ([(b"content-encoding", b"br"), (b"content-type", b"text/plain")], b"abc", ("YWJj", True)),
        ([(b"content-type", b"text/plain"), (b"content-encoding", b"identity")], b"abc", ("abc", False)),
        ([(b"content-type", b"text/plain")], b"a\0b", ("a\0b", False)),
    ],
)
def test_odd_bodies(fields: list[tuple[bytes, bytes]], body: bytes, shown: tuple[str, bool]) -> None:
    assert body_of(body, fields) == shown


@pytest.mark.parametrize(
    ("path", "raw", "decoded"),
    [
        (b"/", "/", "/"),
        (b"", "/", "/"),
        (b"/a%20b/%C3%A9", "/a%20b/%C3%A9", "/a b/é"),
        (b"/a%2Fb%3Fc", "/a%2Fb%3Fc", "/a/b?c"),
        (b"/%2e%2e/x/../y", "/%2e%2e/x/../y", "/../x/../y"),
        (b"//a//b/", "//a//b/", "//a//b/"),
        (b"/%FF", "/%FF", "/\ufffd"),
        (b"/\xc3\xa9", "/é", "/é"),
        (b"/\xff", "/ÿ", "/\ufffd"),
    ],
)
def test_paths(path: bytes, raw: str, decoded: str) -> None:
    assert (raw_path_of(path), decoded_path(path)) == (raw, decoded)


@pytest.mark.parametrize(
    ("epoch_ms", "text"),
    [
        (1_583_348_638_390, "04/Mar/2020:19:03:58 +0000"),
        (0, "01/Jan/1970:00:00:00 +0000"),
        (999, "01/Jan/1970:00:00:00 +0000"),
        (1_767_261_600_000, "01/Jan/2026:10:00:00 +0000"),
    ],
)
def test_times(epoch_ms: int, text: str) -> None:
    assert request_time(epoch_ms) == request_time(epoch_ms) == text
