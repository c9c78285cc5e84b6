"""Function URLs over real HTTP and real functions: events in, responses out, and every refusal in the service's words."""

from __future__ import annotations

import base64
import json
import time
from typing import Any
from urllib.parse import urlsplit

import pytest
from tests.integration.gateway.url_world import FORBIDDEN, SITE, Url, id_in, permit, published, server_of
from tests.support import client, function

from lambent.domain.ids import is_uuid

BINARY = bytes(range(256))


def test_the_event_is_payload_2_0(site: Url) -> None:
    reply = site(
        "POST",
        "/event?a=1&a=2&b=%C3%A9",
        b"\xff\x00",
        {"Cookie": "c1=a; c2=b", "X-H": "v1", "User-Agent": "ua", "X-Forwarded-For": "9.9.9.9", "X-Forwarded-Proto": "https"},
    )  # fmt: skip
    event = reply.json
    request_id = reply.header("x-amzn-requestid")
    assert request_id == event.pop("aws_request_id") == event["requestContext"]["requestId"]
    context = event["requestContext"]
    assert is_uuid(request_id)
    assert abs(context.pop("timeEpoch") / 1_000 - time.time()) < 60
    assert context.pop("time").endswith(" +0000")
    trace = event["headers"].pop("x-amzn-trace-id")
    assert (
        reply.header(
            "x-amzn-trace-id",
        )
        is not None
    )
    assert str(reply.header("x-amzn-trace-id")).startswith(trace + ";Parent=")
    port = str(site.server[1])
    domain = f"{site.id}.lambda-url.us-east-1.localhost"
    assert event == {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": "/event",
        "rawQueryString": "a=1&a=2&b=%C3%A9",
        "cookies": ["c1=a", "c2=b"],
        "headers": {
            "host": f"{domain}:{port}",
            "cookie": "c1=a; c2=b",
            "x-h": "v1",
            "user-agent": "ua",
            "content-length": "2",
            "x-forwarded-for": "9.9.9.9, 127.0.0.1",
            "x-forwarded-proto": "http",
            "x-forwarded-port": port,
        },
        "queryStringParameters": {"a": "1,2", "b": "é"},
        "requestContext": {
            "accountId": "anonymous",
            "apiId": site.id,
            "authentication": None,
            "domainName": domain,
            "domainPrefix": site.id,
            "http": {
                "method": "POST",
                "path": "/event",
                "protocol": "HTTP/1.1",
                "sourceIp": "127.0.0.1",
                "userAgent": "ua",
            },
            "requestId": request_id,
            "routeKey": "$default",
            "stage": "$default",
        },
        "body": base64.b64encode(b"\xff\x00").decode(),
        "isBase64Encoded": True,
    }


def test_any_name_that_resolves_and_the_path_form(site: Url) -> None:
    for host in (f"{site.id}.lambda-url.us-east-1.on.aws", f"{site.id.upper()}.LAMBDA-URL.us-east-1.example:80"):
        event = site("GET", "/event", host=host).json
        assert event["requestContext"]["domainName"] == host.partition(":")[0].lower()
        assert event["requestContext"]["domainPrefix"] == site.id
    for rest, path in (("", "/"), ("/", "/"), ("/a%20b/../c", "/a%20b/../c")):
        reply = site("GET", f"/_lambent/url/{site.id}{rest}?q=1", host="whatever:1")
        assert reply.json == {"version": "$LATEST", "path": path}
    event = site("GET", f"/_lambent/url/{site.id}/event", host="whatever:1").json
    assert event["headers"]["x-forwarded-prefix"] == f"/_lambent/url/{site.id}"
    assert event["headers"]["x-forwarded-port"] == "1"
    assert event["requestContext"]["domainName"] == f"{site.id}.lambda-url.us-east-1.localhost"


def test_the_address_that_the_api_tells_works(lambda_: Any, endpoint: str, site: Url) -> None:
    """As it is told, with nothing but this machine's resolver."""
    with function(lambda_, SITE) as name:
        made = lambda_.create_function_url_config(FunctionName=name, AuthType="NONE")
        permit(lambda_, name)
        told = urlsplit(made["FunctionUrl"])
        assert told.hostname is not None
        assert told.port is not None
        plain = Url((told.hostname, told.port), "")
        assert plain("GET", f"{told.path}hello", host=told.netloc).json["path"] == "/hello"
        assert lambda_.get_function_url_config(FunctionName=name)["FunctionUrl"] == made["FunctionUrl"]


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD", "PROPFIND", "TRACE"])
def test_every_method(site: Url, method: str) -> None:
    reply = site(method, "/event")
    assert reply.status == 200
    if method == "HEAD":
        assert reply.body == b""
        assert int(reply.header("content-length") or 0) > 300
    else:
        assert reply.json["requestContext"]["http"]["method"] == method


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"text", "text/plain"),
        ("é\0".encode(), "application/json"),
        (BINARY, "application/octet-stream"),
        (BINARY, "text/plain"),
        (b"a=1&b=2", "application/x-www-form-urlencoded"),
        (b"--x\r\n\r\n\xff\r\n--x--", "multipart/form-data; boundary=x"),
        (b"", "text/plain"),
        (BINARY * 16_000, "image/png"),
        (b"long text " * 200_000, "text/html"),
    ],
    ids=str,
)
def test_bodies_come_back_as_they_were_sent(site: Url, body: bytes, content_type: str) -> None:
    reply = site("POST", "/echo", body, {"Content-Type": content_type})
    assert (reply.status, reply.header("content-type")) == (200, content_type)
    assert reply.body == body


@pytest.mark.parametrize(
    ("value", "status", "content_type", "body"),
    [
        ({"a": [1, 2]}, 200, "application/json", b'{"a":[1,2]}'),
        ("hello", 200, "application/json", b"hello"),
        (5, 200, "application/json", b"5"),
        (None, 200, "application/json", b"null"),
        ([1, True], 200, "application/json", b"[1,true]"),
        ({"statusCode": "418", "body": "tea"}, 418, "application/json", b"tea"),
        ({"statusCode": 200, "headers": {"Content-Type": "text/html"}, "body": "<p>"}, 200, "text/html", b"<p>"),
        ({"statusCode": 200, "isBase64Encoded": True, "body": "/wA="}, 200, "application/json", b"\xff\0"),
        ({"statusCode": 204, "body": "ignored"}, 204, "application/json", b""),
        ({"statusCode": 304}, 304, "application/json", b""),
    ],
)
def test_responses(site: Url, value: object, status: int, content_type: str, body: bytes) -> None:
    reply = site.returning(value)
    assert (reply.status, reply.header("content-type"), reply.body) == (status, content_type, body)


def test_cookies_and_own_headers_of_a_response(site: Url) -> None:
    headers = {
        "X-A": "b",
        "Content-Length": "1",
        "Connection": "close",
        "Transfer-Encoding": "chunked",
        "Set-Cookie": "z=0",
    }
    reply = site.returning({"statusCode": 200, "headers": headers, "cookies": ["a=1; Secure", "b=2"], "body": "abc"})
    assert reply.all("set-cookie") == ["z=0", "a=1; Secure", "b=2"]
    assert reply.body == b"abc"
    assert reply.all("content-length") == ["3"]
    assert reply.all("transfer-encoding") == []
    assert reply.header("x-amzn-remapped-content-length") == "1"
    assert reply.header("x-amzn-remapped-transfer-encoding") == "chunked"


@pytest.mark.parametrize(
    "value",
    [
        {"statusCode": "abc"},
        {"statusCode": 99},
        {"statusCode": 100},
        {"statusCode": 1e99},
        {"statusCode": True},
        {"statusCode": 200, "headers": "x"},
        {"statusCode": 200, "headers": {"X": "a\r\nSet-Cookie: evil=1"}},
        {"statusCode": 200, "headers": {"X\r\nY": "a"}},
        {"statusCode": 200, "headers": {"X": "a\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"}},
        {"statusCode": 200, "cookies": ["a\nb"]},
        {"statusCode": 200, "cookies": "a"},
        {"statusCode": 200, "body": {"a": 1}},
        {"statusCode": 200, "body": "?", "isBase64Encoded": True},
    ],
)
def test_nonsense_is_a_502(site: Url, value: object) -> None:
    reply = site.returning(value)
    assert (reply.status, reply.body) == (502, b"Internal Server Error")
    assert reply.header("set-cookie") is None
    assert site.returning("well").body == b"well"


@pytest.mark.parametrize("path", ["/raise", "/exit"])
def test_a_function_that_fails_is_a_502(site: Url, path: str) -> None:
    reply = site("GET", path)
    assert (reply.status, reply.body) == (502, b"Internal Server Error")
    assert is_uuid(reply.header("x-amzn-requestid") or "")


def test_a_function_that_takes_too_long_is_a_502(lambda_: Any, endpoint: str) -> None:
    with published(lambda_, endpoint, Timeout=1) as (_, url):
        reply = url("GET", "/sleep?s=20")
        assert (reply.status, reply.body) == (502, b"Internal Server Error")


def test_six_megabytes_each_way_and_no_more(site: Url) -> None:
    limit = 6_291_456
    assert site("GET", f"/big?n={limit - 200}").status == 200
    assert site("GET", f"/big?n={limit + 200}").status == 502
    fits = site("POST", "/nothing", b"x" * (limit - 2_000), {"Content-Type": "text/plain"})
    assert fits.status == 200
    declared = site("POST", "/nothing", b"x" * (limit + 1), {"Content-Type": "text/plain"})
    text = f"{limit + 1} byte payload is too large for the RequestResponse invocation type (limit {limit} bytes)"
    assert (declared.status, declared.json) == (413, {"Message": text})
    assert declared.header("x-amzn-errortype") == "RequestEntityTooLargeException"
    encoded = site("POST", "/nothing", b"\xff" * (limit - 2_000), {"Content-Type": "image/png"})
    assert encoded.status == 413, "base64 makes a third more of it"


def test_who_nobody_knows(site: Url) -> None:
    for reply in (
        site(host=f"{site.id[::-1]}.lambda-url.us-east-1.localhost"),
        site(host=f"{site.id}.lambda-url.eu-west-1.localhost"),
        site(host="short.lambda-url.us-east-1.localhost"),
        site("POST", f"/_lambent/url/{site.id[::-1]}/", b"x", host="a"),
        site("GET", "/_lambent/url/x/", host="a"),
        site("GET", f"/_lambent/url/{site.id}x/", host="a"),
    ):
        assert (reply.status, reply.body) == (403, b'{"Message":null}')
        assert reply.header("content-type") == "application/json"
        assert reply.header("x-amzn-errortype") == "AccessDeniedException"


def test_a_url_is_not_open_before_both_statements_say_so(lambda_: Any, endpoint: str) -> None:
    with function(lambda_, SITE) as name:
        made = lambda_.create_function_url_config(FunctionName=name, AuthType="NONE")
        url = Url(server_of(endpoint), id_in(made["FunctionUrl"]))

        def refused() -> bool:
            reply = url()
            assert reply.status in (200, 403)
            if reply.status == 403:
                assert reply.json == FORBIDDEN
                assert reply.header("x-amzn-errortype") == "AccessDeniedException"
            return reply.status == 403

        assert refused()
        permit(lambda_, name)
        assert not refused()
        lambda_.remove_permission(FunctionName=name, StatementId="FunctionURLInvokeAllowPublicAccess")
        assert refused()
        lambda_.delete_function_url_config(FunctionName=name)
        assert url().json == {"Message": None}


def test_aliases_have_urls_and_statements_of_their_own(lambda_: Any, endpoint: str) -> None:
    with function(lambda_, SITE, Publish=True) as name:
        lambda_.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
        made = lambda_.create_function_url_config(FunctionName=name, Qualifier="live", AuthType="NONE")
        url = Url(server_of(endpoint), id_in(made["FunctionUrl"]))
        permit(lambda_, name)
        assert url().status == 403, "the function's own statements are not the alias's"
        permit(lambda_, name, Qualifier="live")
        assert url().json["version"] == "1"
        lambda_.update_alias(FunctionName=name, Name="live", FunctionVersion="$LATEST")
        assert url().json["version"] == "$LATEST"
        lambda_.delete_alias(FunctionName=name, Name="live")
        assert (url().status, url().json) == (403, FORBIDDEN)


def test_reserved_concurrency_of_zero_is_a_429(lambda_: Any, endpoint: str) -> None:
    with published(lambda_, endpoint) as (name, url):
        lambda_.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
        reply = url()
        assert (reply.status, reply.json) == (429, {"Message": "Rate Exceeded."})
        assert reply.header("x-amzn-errortype") == "TooManyRequestsException"
        lambda_.delete_function_concurrency(FunctionName=name)
        assert url().status == 200


def test_cors(lambda_: Any, endpoint: str) -> None:
    cors = {"AllowOrigins": ["http://a.example"], "AllowMethods": ["GET"], "AllowHeaders": ["x-a"], "MaxAge": 5,
            "ExposeHeaders": ["x-b"]}  # fmt: skip
    with published(lambda_, endpoint, url={"Cors": cors}) as (name, url):
        asked = {"Origin": "http://a.example", "Access-Control-Request-Method": "GET"}
        reply = url("OPTIONS", "/raise", headers=asked)
        assert (reply.status, reply.body) == (200, b"")
        assert reply.header("access-control-allow-origin") == "http://a.example"
        assert reply.header("access-control-allow-methods") == "GET"
        assert reply.header("access-control-allow-headers") == "x-a"
        assert reply.header("access-control-max-age") == "5"
        reply = url("OPTIONS", "/raise", headers={**asked, "Origin": "http://evil.example"})
        assert reply.header("access-control-allow-origin") is None
        own = json.dumps({"statusCode": 200, "headers": {"Access-Control-Allow-Origin": "*", "X-B": "1"}}).encode()
        headers = {"Content-Type": "application/json", "Origin": "http://a.example"}
        reply = url("POST", "/return", own, headers)
        assert reply.all("access-control-allow-origin") == ["http://a.example"]
        assert reply.header("access-control-expose-headers") == "x-b"
        reply = url("POST", "/return", own, {**headers, "Origin": "http://evil.example"})
        assert reply.all("access-control-allow-origin") == []
        assert url("GET", "/raise", headers=headers).header("access-control-allow-origin") == "http://a.example"
        lambda_.update_function_url_config(FunctionName=name, Cors={})
        assert url("POST", "/return", own, headers).all("access-control-allow-origin") == ["*"]
        assert url("OPTIONS", "/event", headers=asked).json["requestContext"]["http"]["method"] == "OPTIONS"


def test_a_url_survives_what_becomes_of_its_function(lambda_: Any, endpoint: str) -> None:
    with published(lambda_, endpoint) as (name, url):
        assert url().json["path"] == "/"
        lambda_.update_function_configuration(FunctionName=name, Description="changed")
        assert url().status == 200
    assert url().json == {"Message": None}


def test_another_accounts_url_is_as_open(endpoint: str) -> None:
    other = client("lambda", endpoint, account="222222222222")
    try:
        with published(other, endpoint) as (_, url):
            assert url().status == 200
    finally:
        other.close()
