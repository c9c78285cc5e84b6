"""OpenAPI documents: those that SAM, the console and people write, what is refused, and there and back again."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from typing import Any

import pytest

from lambent.domain.errors import NotServed
from lambent.domain.names import Scope
from lambent.gateway.errors import BadRequest
from lambent.gateway.http_apis import openapi
from lambent.gateway.http_apis.model import Api, Cors

FUNCTION = "arn:aws:lambda:us-east-1:123456789012:function:f"
URI = f"arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/{FUNCTION}/invocations"
INTEGRATION = {"type": "aws_proxy", "httpMethod": "POST", "payloadFormatVersion": "2.0", "uri": URI}
ROUTE = {"x-amazon-apigateway-integration": INTEGRATION, "responses": {}}
EMPTY = Api(scope=Scope("123456789012", "us-east-1"), api_id="abc1234567", name="n", created_ms=1)


def document(paths: Any = None, **more: Any) -> dict[str, Any]:
    return {"openapi": "3.0.1", "info": {"title": "t", "version": "1.0"}, "paths": paths or {}, **more}


def read(given: dict[str, Any], **options: Any) -> openapi.Imported:
    numbers = itertools.count()
    return openapi.read(openapi.load(json.dumps(given)), lambda: f"id{next(numbers)}", **options)


def keys(found: openapi.Imported) -> list[str]:
    return [route.route_key for route in found.routes.values()]


def test_what_sam_writes() -> None:
    """The document that aws-sam-translator makes of an HttpApi with a JWT authorizer, CORS and two events."""
    given = document(
        {
            "/hello/{name}": {
                "get": {**ROUTE, "security": [{"Login": ["read"]}]},
            },
            "/$default": {
                "x-amazon-apigateway-any-method": {**ROUTE, "isDefaultRoute": True, "security": [{"NONE": []}]}
            },
        },
        components={
            "securitySchemes": {
                "Login": {
                    "type": "oauth2",
                    "x-amazon-apigateway-authorizer": {
                        "type": "jwt",
                        "identitySource": "$request.header.Authorization",
                        "jwtConfiguration": {"audience": ["app"], "issuer": "https://issuer.example"},
                    },
                }
            }
        },
        tags=[{"name": "httpapi:createdBy", "x-amazon-apigateway-tag-value": "SAM"}],
        **{"x-amazon-apigateway-cors": {"allowOrigins": ["*"], "allowMethods": "GET, POST", "maxAge": 60}},
    )
    found = read(given)
    assert keys(found) == ["GET /hello/{name}", "$default"]
    first, default = found.routes.values()
    assert (first.authorization_type, first.authorization_scopes) == ("JWT", ("read",))
    assert first.authorizer_id in found.authorizers
    assert (default.authorization_type, default.authorizer_id) == ("NONE", None)
    assert len(found.integrations) == 1, "routes to one function share an integration"
    assert first.target == default.target
    assert found.cors == Cors(allow_origins=("*",), allow_methods=("GET", "POST"), max_age=60)
    assert found.tags == {"httpapi:createdBy": "SAM"}
    assert (found.name, found.version, found.warnings, found.info) == ("t", "1.0", [], [])


def test_every_member_of_an_integration() -> None:
    extension = {
        "type": "http_proxy",
        "httpMethod": "x-amazon-apigateway-any-method",
        "uri": "https://h.example/{proxy}",
        "timeoutInMillis": 1_000,
        "connectionType": "INTERNET",
        "requestParameters": {"append:header.a": "1"},
        "responseParameters": {"200": {"remove:header.b": "''"}},
        "tlsConfig": {"serverNameToVerify": "h2.example"},
    }
    given = document(
        {
            "/{proxy+}": {
                "any": {},
                "x-amazon-apigateway-any-method": {
                    "x-amazon-apigateway-integration": {"$ref": "#/components/x-amazon-apigateway-integrations/one"},
                    "operationId": "op",
                },
            }
        },
        components={"x-amazon-apigateway-integrations": {"one": extension}},
    )
    found = read(given)
    (integration,) = found.integrations.values()
    assert (integration.integration_type, integration.integration_method) == ("HTTP_PROXY", "ANY")
    assert (integration.timeout_in_millis, integration.payload_format_version) == (1_000, "1.0")
    assert integration.request_parameters == {"append:header.a": "1"}
    assert integration.response_parameters == {"200": {"remove:header.b": "''"}}
    assert integration.tls_config is not None
    assert integration.tls_config.server_name_to_verify == "h2.example"
    (route,) = found.routes.values()
    assert (route.route_key, route.operation_name) == ("ANY /{proxy+}", "op")


def test_authorizers() -> None:
    lambda_authorizer = {
        "type": "request",
        "identitySource": "$request.header.a, $request.querystring.b",
        "authorizerUri": URI,
        "authorizerPayloadFormatVersion": "2.0",
        "authorizerResultTtlInSeconds": 60,
        "enableSimpleResponses": True,
        "authorizerCredentials": "arn:aws:iam::123456789012:role/r",
    }
    given = document(
        {
            "/a": {"get": {**ROUTE, "security": [{"fn": []}]}},
            "/b": {"get": {**ROUTE, "security": [{"iam": []}]}},
            "/c": {"get": {**ROUTE, "x-amazon-apigateway-auth": {"type": "AWS_IAM"}}},
            "/d": {"get": {**ROUTE, "security": []}},
            "/e": {"get": ROUTE},
        },
        security=[{"fn": []}],
        components={
            "securitySchemes": {
                "fn": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "x",
                    "x-amazon-apigateway-authorizer": lambda_authorizer,
                },
                "iam": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "Authorization",
                    "x-amazon-apigateway-authtype": "awsSigv4",
                },
            }
        },
    )
    found = read(given)
    (authorizer,) = found.authorizers.values()
    assert authorizer.identity_source == ("$request.header.a", "$request.querystring.b")
    assert (authorizer.authorizer_result_ttl_in_seconds, authorizer.enable_simple_responses) == (60, True)
    assert [route.authorization_type for route in found.routes.values()] == [
        "CUSTOM",
        "AWS_IAM",
        "AWS_IAM",
        "NONE",
        "CUSTOM",
    ]


@pytest.mark.parametrize(
    ("mode", "key"), [(None, "GET /a"), ("ignore", "GET /a"), ("prepend", "GET /v1/x/a"), ("split", "GET /x/a")]
)
def test_base_paths(mode: str | None, key: str) -> None:
    server = {"url": "https://h.example/{base}/x/", "variables": {"base": {"default": "v1"}}}
    assert keys(read(document({"/a": {"get": ROUTE}}, servers=[server]), base_path=mode)) == [key]


def test_a_route_without_an_integration_is_told() -> None:
    found = read(document({"/a": {"get": {"responses": {}}}}))
    assert (keys(found), found.info) == (["GET /a"], ["No integration found for GET /a"])
    assert found.onto(EMPTY).import_info == ("No integration found for GET /a",)


def test_warnings_and_their_refusal() -> None:
    given = document(
        {"/a": {"get": ROUTE, "trace": ROUTE}}, components={"securitySchemes": {"bearer": {"type": "http"}}}
    )
    found = read(given)
    assert found.warnings == [
        "Security scheme bearer has no x-amazon-apigateway-authorizer and is ignored",
        "Method TRACE of /a is not supported and is ignored",
    ]
    with pytest.raises(BadRequest, match=r"^Warnings found during import:\s+Security scheme bearer"):
        read(given, fail_on_warnings=True)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"swagger": "2.0"}, "HTTP APIs are imported from OpenAPI 3.0 definitions"),
        ({"openapi": "3.1.0"}, "HTTP APIs are imported from OpenAPI 3.0 definitions"),
        ({"openapi": 3.0}, "HTTP APIs are imported from OpenAPI 3.0 definitions"),
        ({"openapi": "3.0.1"}, "The definition has no info.title"),
        ({"openapi": "3.0.1", "info": {"title": "t"}}, "The definition has no paths"),
        (document({"a": {"get": ROUTE}}), "The provided route key is not formatted properly"),
        (document({"/a": {"get": {"x-amazon-apigateway-integration": {"type": "mock"}}}}), "Integration type MOCK is not"),
        (document({"/a": {"get": {"x-amazon-apigateway-integration": {**INTEGRATION, "timeoutInMillis": "x"}}}}), "timeoutInMillis is no number"),
        (document({"/a": {"get": {"x-amazon-apigateway-integration": {"$ref": "#/components/none"}}}}), "refers to nothing"),
        (document({"/a": {"get": {**ROUTE, "security": [{"none": []}]}}}), "GET /a wants the security scheme none"),
        (document({"/$default": {"get": ROUTE, "post": ROUTE}}), "Route with key \\$default exists more than once"),
        (document({f"/{n}": {"get": ROUTE} for n in range(301)}), "It has more than 300 routes"),
        (document(**{"x-amazon-apigateway-cors": {"maxAge": "x"}}), "maxAge is no number"),
        (document(**{"x-amazon-apigateway-cors": []}), "is no object"),
        (document(**{"x-amazon-apigateway-cors": {"allowOrigins": {"a": 1}}}), "A list of texts is wanted"),
        (
            document(components={"securitySchemes": {"x": {"x-amazon-apigateway-authorizer": {"type": "token"}}}}),
            "neither of type jwt nor of type request",
        ),
    ],
)  # fmt: skip
def test_what_can_not_be_imported(given: dict[str, Any], words: str) -> None:
    with pytest.raises(BadRequest, match=words):
        read(given)


def test_integrations_past_the_limit() -> None:
    paths = {
        f"/{n}": {
            method: {"x-amazon-apigateway-integration": {**INTEGRATION, "uri": f"{FUNCTION}{n}"}} for method in ("get",)
        }
        for n in range(300)
    }
    assert len(read(document(paths)).integrations) == 300


@pytest.mark.parametrize(
    "extension",
    [{**INTEGRATION, "integrationSubtype": "SQS-SendMessage"}, {**INTEGRATION, "connectionType": "VPC_LINK"}],
)
def test_what_is_not_served_is_said(extension: dict[str, Any]) -> None:
    with pytest.raises(NotServed):
        read(document({"/a": {"get": {"x-amazon-apigateway-integration": extension}}}))


def test_a_bad_mode() -> None:
    with pytest.raises(BadRequest, match="Invalid value for basepath: x"):
        read(document(), base_path="x")


# YAML


def test_yaml() -> None:
    text = f"""
openapi: 3.0.1
info: {{title: t, version: 1.0}}
paths:
  /a:
    get: &route
      responses:
        200: {{description: yes}}
      x-amazon-apigateway-integration: {json.dumps(INTEGRATION)}
    post: *route
"""
    found = openapi.read(openapi.load(text), lambda: "id")
    assert [route.route_key for route in found.routes.values()] == ["POST /a"], "ids are the caller's to tell apart"
    assert found.version == "1.0"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "- a",
        "just text",
        "a: [",
        "a: !!python/object/apply:os.system ['true']",
        "a: &a [*a]",
        "\n".join(["a0: &a0 [x]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]),
        "{" * 5_000,
    ],
)
def test_yaml_that_is_none_or_means_harm(text: str) -> None:
    with pytest.raises(BadRequest, match="Invalid OpenAPI input"):
        openapi.load(text)


def test_definitions_are_bounded() -> None:
    with pytest.raises(BadRequest, match="larger than 6291456 bytes"):
        openapi.load(" " * 6_291_457)
    with pytest.raises(BadRequest, match="larger than 1048576 bytes of YAML"):
        openapi.load("#" * 1_048_577)
    deep = "a: " + "[" * (openapi.DEPTH_MAX + 1) + "]" * (openapi.DEPTH_MAX + 1)
    with pytest.raises(BadRequest):
        openapi.load("openapi: 3.0.1\n" + deep)
    with pytest.raises(BadRequest):
        openapi.load("openapi: 3.0.1\na: [" + "x," * openapi.NODES_MAX + "]")


# Out, and in again


def test_what_is_written_is_read_again() -> None:
    given = document(
        {
            "/a/{id}": {"get": {**ROUTE, "operationId": "op", "security": [{"jwt": ["s"]}]}},
            "/b": {"x-amazon-apigateway-any-method": {**ROUTE, "x-amazon-apigateway-auth": {"type": "AWS_IAM"}}},
            "/$default": {"x-amazon-apigateway-any-method": {**ROUTE, "security": [{"fn": []}]}},
        },
        components={
            "securitySchemes": {
                "jwt": {"x-amazon-apigateway-authorizer": {"type": "jwt", "identitySource": "$request.querystring.t", "jwtConfiguration": {"audience": ["a"], "issuer": "https://i.example"}}},
                "fn": {"x-amazon-apigateway-authorizer": {"type": "request", "identitySource": "$request.header.x", "authorizerUri": URI, "authorizerPayloadFormatVersion": "1.0", "authorizerResultTtlInSeconds": 0}},
            }
        },
        **{"x-amazon-apigateway-cors": {"allowOrigins": ["https://a.example"], "allowCredentials": True}},
    )  # fmt: skip
    numbers = itertools.count()
    first = openapi.read(given, lambda: f"a{next(numbers)}").onto(EMPTY)
    for output in ("JSON", "YAML"):
        text = openapi.dump(openapi.written(first, first.snapshot, with_extensions=True), output).decode()
        second = openapi.read(openapi.load(text), lambda: f"b{next(numbers)}").onto(EMPTY)
        assert bare(second) == bare(first)
    over = openapi.read(given, lambda: f"c{next(numbers)}", old=first).onto(first)
    assert over.routes.keys() == first.routes.keys(), "routes that stay keep their ids"
    assert over.authorizers == first.authorizers


def bare(api: Api) -> Any:
    """An API without its ids."""
    targets = {one.integration_id: replace(one, integration_id="") for one in api.integrations.values()}
    auths = {one.authorizer_id: replace(one, authorizer_id="") for one in api.authorizers.values()}
    routes = {
        route.route_key: (
            targets[route.integration_id or ""],
            auths.get(route.authorizer_id or ""),
            replace(route, route_id="", target=None, authorizer_id=None),
        )
        for route in api.routes.values()
    }
    return routes, api.cors_configuration, api.name


def test_without_extensions_only_openapi_is_left() -> None:
    api = read(document({"/a/{id}": {"get": ROUTE}, "/b": {"x-amazon-apigateway-any-method": ROUTE}})).onto(EMPTY)
    text = openapi.dump(openapi.written(api, api.snapshot, with_extensions=False), "JSON").decode()
    assert "x-amazon" not in text
    assert json.loads(text)["paths"]["/a/{id}"]["get"]["parameters"] == [
        {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}
    ]
