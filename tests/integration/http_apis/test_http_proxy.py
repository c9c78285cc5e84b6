"""HTTP integrations against a server of its own: what is forwarded, what comes back, mappings, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.integration.http_apis.backend import Backend
from tests.integration.http_apis.http_world import Api, World


@pytest.fixture(scope="module")
def proxied(world: World, backend: Backend) -> Iterator[Api]:
    with world.api() as api:
        api.route("ANY /all/{proxy+}", api.integrate(backend.url + "/base/{proxy}"))
        api.route("GET /one/{id}", api.integrate(backend.url + "/item/{id}?fixed=1", IntegrationMethod="POST"))
        api.route("GET /fixed", api.integrate(backend.url + "/teapot"))
        api.route("GET /slow", api.integrate(backend.url + "/slow", TimeoutInMillis=100))
        yield api


def headers_of(seen: Any) -> dict[str, str]:
    return {name.lower(): value for name, value in seen["headers"]}


def test_a_request_is_forwarded(proxied: Api, backend: Backend) -> None:
    answer = proxied.send(
        "/all/a/b%20c?x=1&y=%20&x=2",
        "POST",
        headers={"X-Mine": "1", "Content-Type": "text/plain", "Connection": "X-Private, close", "X-Private": "1", "TE": "trailers"},
        body=b"hello",
    )  # fmt: skip
    assert answer.status == 200, answer.body
    seen = answer.json
    assert (seen["method"], seen["path"], seen["body"]) == ("POST", "/base/a/b%20c?x=1&y=%20&x=2", "hello")
    headers = headers_of(seen)
    assert headers["host"] == f"127.0.0.1:{backend.port}"
    assert (headers["x-mine"], headers["content-length"], headers["connection"]) == ("1", "5", "close")
    assert not {"x-private", "te"} & headers.keys()
    assert headers["forwarded"] == f"by=127.0.0.1;for=127.0.0.1;host={proxied.host};proto=http"
    assert (headers["via"], headers["x-amzn-trace-id"][:7]) == ("HTTP/1.1 AmazonAPIGateway", "Root=1-")


def test_the_integrations_own_method_and_query(proxied: Api) -> None:
    seen = proxied.send("/one/a%2Fb?more=2").json
    assert (seen["method"], seen["path"]) == ("POST", "/item/a%2Fb?fixed=1&more=2")


def test_an_answer_comes_back_as_it_is(proxied: Api, backend: Backend) -> None:
    backend.said["/teapot"] = (
        418,
        [("x-one", "1"), ("set-cookie", "a=1"), ("set-cookie", "b=2"), ("content-encoding", "x")],
        b"\x00\xff",
    )
    answer = proxied.send("/fixed")
    assert (answer.status, answer.body) == (418, b"\x00\xff")
    assert answer.all("set-cookie") == ["a=1", "b=2"]
    assert (answer.header("x-one"), answer.header("content-encoding")) == ("1", "x")
    assert len(answer.all("date")) == 1


@pytest.mark.parametrize(
    "path",
    [
        "/all/../admin",
        "/all/%2e%2e/admin",
        "/all/a/../../admin",
        "/all/..%2Fadmin",
        "/all/..%5Cadmin",
        "/one/..",
        "/one/%2E%2e",
    ],
)
def test_dot_segments_never_reach_the_server(proxied: Api, backend: Backend, path: str) -> None:
    before = len(backend.asked)
    answer = proxied.send(path)
    assert (answer.status, answer.body) == (400, b'{"message":"Bad Request"}')
    assert len(backend.asked) == before


def test_a_server_that_is_too_slow(proxied: Api, backend: Backend) -> None:
    answer = proxied.send("/slow")
    backend.gate.set()
    assert (answer.status, answer.body) == (503, b'{"message":"Service Unavailable"}')


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest/meta-data",
        "http://localhost:22/",
        "http://[::1]:80/",
        "http://0.0.0.0:80/",
        "http://nothere.invalid/",
    ],
)
def test_this_machine_and_metadata_services_are_closed(world: World, url: str) -> None:
    with world.api() as api:
        api.route("$default", api.integrate(url))
        answer = api.send("/")
        assert (answer.status, answer.body) == (503, b'{"message":"Service Unavailable"}')


def test_the_servers_own_port_is_closed_too(world: World) -> None:
    with world.api() as api:
        api.route("$default", api.integrate(world.url + "/_lambent/health"))
        assert api.send("/").status == 503


def test_parameters_are_mapped(world: World, backend: Backend) -> None:
    backend.said["/mapped"] = (
        200,
        [("x-secret", "s"), ("x-code", "202"), ("content-type", "application/json")],
        b'{"a":{"b":"c"}}',
    )
    with world.api() as api:
        requests = {
            "append:header.x-stage": "$context.stage",
            "overwrite:header.x-agent": "agent ${request.header.user-agent}",
            "remove:header.cookie": "''",
            "overwrite:querystring.q": "$request.querystring.other",
            "overwrite:path": "/v2/${request.path.id}",
        }
        api.route("GET /x/{id}", api.integrate(backend.url + "/ignored", RequestParameters=requests))
        responses = {
            "200": {
                "remove:header.x-secret": "''",
                "overwrite:statuscode": "$response.header.x-code",
                "append:header.x-b": "$response.body.a.b",
            }
        }
        api.route("GET /mapped", api.integrate(backend.url + "/mapped", ResponseParameters=responses))
        seen = api.send("/x/7?other=a%20b&q=old", headers={"User-Agent": "u", "Cookie": "a=1"}).json
        assert seen["path"] == "/v2/7?other=a%20b&q=a%20b"
        headers = headers_of(seen)
        assert (headers["x-stage"], headers["x-agent"]) == ("$default", "agent u")
        assert "cookie" not in headers
        answer = api.send("/mapped")
        assert (answer.status, answer.header("x-b"), answer.header("x-secret")) == (202, "c", None)


def test_a_mapped_value_injects_no_header(world: World, backend: Backend) -> None:
    with world.api() as api:
        parameters = {"overwrite:header.x-q": "$request.querystring.q"}
        api.route("GET /x", api.integrate(backend.url + "/x", RequestParameters=parameters))
        assert headers_of(api.send("/x?q=fine").json)["x-q"] == "fine"
        before = len(backend.asked)
        answer = api.send("/x?q=a%0d%0ax-evil:%201")
        assert (answer.status, answer.body) == (400, b'{"message":"Bad Request"}')
        assert len(backend.asked) == before


def test_a_lambda_integration_maps_too(world: World) -> None:
    with world.function() as arn, world.api() as api:
        requests = {"append:header.x-id": "$context.requestId", "remove:querystring.q": "''"}
        responses = {"200": {"overwrite:header.x-one": "two"}}
        api.route("$default", api.integrate(arn, RequestParameters=requests, ResponseParameters=responses))
        answer = api.send("/x?q=1&r=2")
        assert (answer.json["rawQueryString"], answer.header("x-one")) == ("r=2", "two")
        assert answer.json["headers"]["x-id"] == answer.header("apigw-requestid")
