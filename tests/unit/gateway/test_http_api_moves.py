"""How HTTP APIs change: quick create, routes, integrations, authorizers, stages, deployments; every refusal's words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from lambent.domain.documents import Key
from lambent.domain.names import Scope
from lambent.gateway.errors import BadRequest, Conflict, GatewayError, LimitExceeded, NotFound
from lambent.gateway.http_apis import moves
from lambent.gateway.http_apis.codec import decode_api, encode_api
from lambent.gateway.http_apis.model import (
    AccessLogSettings,
    Api,
    Authorizer,
    Cors,
    Integration,
    JwtConfiguration,
    Route,
    RouteSettings,
    Stage,
    TlsConfig,
)
from lambent.gateway.http_apis.records import fields_of, from_members, members, pascal, snake

SCOPE = Scope("123456789012", "us-east-1")
ARN = "arn:aws:lambda:us-east-1:123456789012:function:f"
URI = f"arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/{ARN}/invocations"
LOG_GROUP = "arn:aws:logs:us-east-1:123456789012:log-group:"
EMPTY = Api(scope=SCOPE, api_id="abc1234567", name="n", created_ms=1)


def integrated(api: Api = EMPTY) -> Api:
    return moves.with_integration(
        api,
        {"integration_type": "AWS_PROXY", "integration_uri": ARN, "payload_format_version": "2.0"},
        "int1",
    )


def routed(*keys: str, api: Api | None = None) -> Api:
    made = integrated() if api is None else api
    for number, key in enumerate(keys):
        made = moves.with_route(made, {"route_key": key, "target": "integrations/int1"}, f"r{number}")
    return made


def authorised() -> Api:
    api = moves.with_authorizer(
        routed(),
        {
            "name": "jwt",
            "authorizer_type": "JWT",
            "identity_source": ("$request.header.Authorization",),
            "jwt_configuration": JwtConfiguration(audience=("a",), issuer="https://issuer.example"),
        },
        "jwt1",
    )
    return moves.with_authorizer(
        api,
        {
            "name": "fn",
            "authorizer_type": "REQUEST",
            "identity_source": ("$request.header.X",),
            "authorizer_uri": URI,
            "authorizer_payload_format_version": "2.0",
        },
        "fn1",
    )


def staged(api: Api, name: str = "$default", **wanted: Any) -> Api:
    made = moves.with_stage(api, {"stage_name": name, **wanted}, 5)
    return moves.auto_deployed(api, made, "dep1", 5)


# Refusals


def uri(kind: str, value: str, **more: Any) -> Callable[[], Api]:
    return lambda: moves.with_integration(EMPTY, {"integration_type": kind, "integration_uri": value, **more}, "i")


def route(key: str, **more: Any) -> Callable[[], Api]:
    return lambda: moves.with_route(authorised(), {"route_key": key, **more}, "new")


def authorizer(**more: Any) -> Callable[[], Api]:
    wanted: dict[str, Any] = {
        "name": "x",
        "authorizer_type": "REQUEST",
        "identity_source": (),
        "authorizer_uri": ARN,
        "authorizer_payload_format_version": "2.0",
    }
    return lambda: moves.with_authorizer(EMPTY, wanted | more, "new")


def jwt(
    issuer: str | None = "https://i", audience: tuple[str, ...] | None = ("a",), *sources: str
) -> Callable[[], Api]:
    return authorizer(
        authorizer_type="JWT",
        authorizer_uri=None,
        identity_source=sources or ("$request.header.Authorization",),
        jwt_configuration=JwtConfiguration(audience=audience, issuer=issuer),
    )


KEY_FORM = (
    "The provided route key is not formatted properly for HTTP protocol. "
    'Format should be "<HTTP METHOD> /<RESOURCE PATH>" or "$default"'
)
REFUSED: list[tuple[Callable[[], Any], type[GatewayError], str]] = [
    (route("/items"), BadRequest, KEY_FORM),
    (route("get /items"), BadRequest, KEY_FORM),
    (route("TRACE /items"), BadRequest, KEY_FORM),
    (route("GET items"), BadRequest, KEY_FORM),
    (route("GET /a b"), BadRequest, KEY_FORM),
    (route("GET /{a"), BadRequest, KEY_FORM),
    (route("GET /x{a}"), BadRequest, KEY_FORM),
    (route("GET /{}"), BadRequest, KEY_FORM),
    (route("$other"), BadRequest, KEY_FORM),
    (
        route("GET /{proxy+}/a"),
        BadRequest,
        "Greedy path variables may only stand at the end of a route key: GET /{proxy+}/a",
    ),
    (route("GET /{a}/{a}"), BadRequest, "Path variables of a route key need different names: GET /{a}/{a}"),
    (
        lambda: moves.with_route(routed("GET /a"), {"route_key": "GET /a"}, "new"),
        Conflict,
        "Route with key GET /a already exists for this API",
    ),
    (
        lambda: moves.with_route_changed(routed("GET /a", "GET /b"), "r1", {"route_key": "GET /a"}),
        Conflict,
        "Route with key GET /a already exists for this API",
    ),
    (
        lambda: moves.with_route_changed(routed("$default"), "r0", {"route_key": "GET /a"}),
        BadRequest,
        "The $default route key can't be modified",
    ),
    (
        route("GET /x", target="integrations/none"),
        BadRequest,
        "Invalid target integrations/none specified: it must be integrations/ID of an integration of the API",
    ),
    (
        route("GET /x", target="int1"),
        BadRequest,
        "Invalid target int1 specified: it must be integrations/ID of an integration of the API",
    ),
    (route("GET /x", api_key_required=True), BadRequest, "ApiKeyRequired is not currently supported for HTTP APIs"),
    (
        route("GET /x", authorization_type="JWT"),
        BadRequest,
        "AuthorizerId is required for the authorization type JWT",
    ),
    (
        route("GET /x", authorization_type="JWT", authorizer_id="none"),
        BadRequest,
        "Invalid authorizer ID specified: none",
    ),
    (
        route("GET /x", authorization_type="JWT", authorizer_id="fn1"),
        BadRequest,
        "Authorizer fn1 is of type REQUEST, which the authorization type JWT does not take",
    ),
    (
        route("GET /x", authorization_type="CUSTOM", authorizer_id="jwt1"),
        BadRequest,
        "Authorizer jwt1 is of type JWT, which the authorization type CUSTOM does not take",
    ),
    (
        route("GET /x", authorization_type="AWS_IAM", authorizer_id="jwt1"),
        BadRequest,
        "AuthorizerId is not supported for the authorization type AWS_IAM",
    ),
    (
        route("GET /x", authorization_scopes=("s",)),
        BadRequest,
        "AuthorizationScopes is only supported for the authorization type JWT",
    ),
    (lambda: moves.route_of(EMPTY, "none"), NotFound, "Invalid Route identifier specified none"),
    (lambda: moves.integration_of(EMPTY, "none"), NotFound, "Invalid Integration identifier specified none"),
    (lambda: moves.authorizer_of(EMPTY, "none"), NotFound, "Invalid Authorizer identifier specified none"),
    (lambda: moves.stage_of(EMPTY, "none"), NotFound, "Invalid stage identifier specified"),
    (lambda: moves.deployment_of(EMPTY, "none"), NotFound, "Invalid Deployment identifier specified none"),
    (
        uri("AWS", ARN),
        BadRequest,
        "Integration type AWS is not supported for HTTP APIs; use AWS_PROXY or HTTP_PROXY",
    ),
    (
        lambda: moves.with_integration(EMPTY, {"integration_type": "AWS_PROXY"}, "i"),
        BadRequest,
        "IntegrationUri is a required parameter for the integration",
    ),
    (uri("AWS_PROXY", "f"), BadRequest, "Invalid function ARN or invalid URI specified: f"),
    (
        uri("AWS_PROXY", ARN, payload_format_version="3.0"),
        BadRequest,
        "PayloadFormatVersion 3.0 is not supported for the integration type AWS_PROXY",
    ),
    (
        uri("HTTP_PROXY", "http://h", integration_method="GET", payload_format_version="2.0"),
        BadRequest,
        "PayloadFormatVersion 2.0 is not supported for the integration type HTTP_PROXY",
    ),
    (uri("AWS_PROXY", ARN, integration_method="GET"), BadRequest, "HttpMethod must be POST for Lambda integrations."),
    (uri("HTTP_PROXY", "ftp://h", integration_method="GET"), BadRequest, "Invalid HTTP endpoint specified for URI"),
    (uri("HTTP_PROXY", "http://h"), BadRequest, "HttpMethod must be provided for integrations of type HTTP_PROXY"),
    (
        uri("AWS_PROXY", ARN, request_parameters={"add:header.x": "1"}),
        BadRequest,
        "Invalid mapping expression specified: add:header.x",
    ),
    (
        uri("AWS_PROXY", ARN, request_parameters={"overwrite:statuscode": "201"}),
        BadRequest,
        "Invalid mapping expression specified: overwrite:statuscode",
    ),
    (
        uri("AWS_PROXY", ARN, request_parameters={"append:header.content-length": "1"}),
        BadRequest,
        "Operations on header content-length are restricted",
    ),
    (
        uri("AWS_PROXY", ARN, response_parameters={"200": {"append:querystring.x": "1"}}),
        BadRequest,
        "Invalid mapping expression specified: append:querystring.x",
    ),
    (
        uri("AWS_PROXY", ARN, response_parameters={"2xx": {}}),
        BadRequest,
        "Invalid status code specified for ResponseParameters: 2xx",
    ),
    (
        lambda: moves.without_integration(routed("GET /a", "GET /b"), "int1"),
        Conflict,
        "Cannot delete Integration 'int1'. It is referenced by routes: GET /a, GET /b",
    ),
    (authorizer(identity_source=("header.X",)), BadRequest, "Invalid identity source specified: header.X"),
    (authorizer(authorizer_uri=None), BadRequest, "AuthorizerUri is a required parameter for REQUEST authorizers"),
    (
        authorizer(authorizer_uri="f"),
        BadRequest,
        "Invalid Authorizer URI: f. Authorizer URI should be a valid API Gateway ARN that represents a Lambda function "
        "invocation.",
    ),
    (
        authorizer(authorizer_payload_format_version=None),
        BadRequest,
        "AuthorizerPayloadFormatVersion is a required parameter for REQUEST authorizers: 1.0 or 2.0",
    ),
    (
        authorizer(authorizer_payload_format_version="1.0", enable_simple_responses=True),
        BadRequest,
        "EnableSimpleResponses is only supported for AuthorizerPayloadFormatVersion 2.0",
    ),
    (
        authorizer(authorizer_result_ttl_in_seconds=60),
        BadRequest,
        "Identity sources are required when results are cached: give IdentitySource, or a TTL of 0",
    ),
    (jwt(None), BadRequest, "JwtConfiguration with Issuer and Audience is required for JWT authorizers"),
    (jwt("https://i", ()), BadRequest, "JwtConfiguration with Issuer and Audience is required for JWT authorizers"),
    (jwt("issuer"), BadRequest, "Invalid issuer: issuer. Issuer must be an HTTP URL with a discovery document"),
    (
        jwt("https://i", ("a",), "$context.routeKey"),
        BadRequest,
        "JWT authorizers take exactly one identity source, of a header or a query parameter",
    ),
    (
        lambda: moves.with_authorizer_changed(authorised(), "fn1", {"name": "jwt"}),
        Conflict,
        "Authorizer name must be unique. Authorizer jwt already exists in this API",
    ),
    (
        lambda: moves.without_authorizer(
            moves.with_route(
                authorised(), {"route_key": "GET /x", "authorization_type": "JWT", "authorizer_id": "jwt1"}, "x"
            ),
            "jwt1",
        ),
        Conflict,
        "Cannot delete authorizer 'jwt1'. Is referenced by method: GET /x",
    ),
    (lambda: staged(EMPTY, "a/b"), BadRequest, "Stage name only allows a-zA-Z0-9_- or $default"),
    (lambda: staged(staged(EMPTY)), Conflict, "Stage already exists"),
    (
        lambda: staged(EMPTY, auto_deploy=True, deployment_id="d"),
        BadRequest,
        "Deployment ID cannot be set on stage because AutoDeploy is enabled",
    ),
    (lambda: staged(EMPTY, deployment_id="none"), NotFound, "Invalid Deployment identifier specified none"),
    (
        lambda: staged(EMPTY, route_settings={"GET /a": RouteSettings()}),
        NotFound,
        "Unable to find Route by key GET /a within the provided RouteSettings",
    ),
    (
        lambda: staged(EMPTY, stage_variables={"a-b": "1"}),
        BadRequest,
        "Invalid stage variable name: a-b. Stage variable name must match: [A-Za-z0-9_]+",
    ),
    (
        lambda: staged(EMPTY, stage_variables={"a": "{}"}),
        BadRequest,
        "Invalid stage variable value: {}. Please use values with alphanumeric characters and the symbols ' ', -', '.', "
        "'_', ':', '/', '?', '&', '=', and ','.",
    ),
    *(
        (
            lambda arn=arn: staged(EMPTY, access_log_settings=AccessLogSettings(destination_arn=arn, format="x")),
            BadRequest,
            f"Invalid ARN specified in the request. Access logs go to a log group: {LOG_GROUP}NAME",
        )
        for arn in (
            None,
            "g",
            "arn:aws:firehose:us-east-1:123456789012:deliverystream/x",
            LOG_GROUP.replace("1234", "4321") + "g",
        )
    ),
    (
        lambda: staged(EMPTY, access_log_settings=AccessLogSettings(destination_arn=LOG_GROUP + "g")),
        BadRequest,
        "Access log settings need a Format",
    ),
    (
        lambda: moves.without_route_settings(staged(EMPTY), "$default", "GET /a", 1),
        NotFound,
        "Unable to find Route by key GET /a within the provided RouteSettings",
    ),
    (
        lambda: moves.with_deployment(EMPTY, "d", None, None, 1),
        BadRequest,
        "Unable to deploy API because no routes exist in this API",
    ),
    (
        lambda: moves.with_deployment(staged(routed("GET /a"), auto_deploy=True), "d", None, "$default", 1),
        BadRequest,
        "Deployment ID cannot be set on stage because AutoDeploy is enabled",
    ),
    (
        lambda: moves.with_deployment(routed("GET /a"), "d", None, "none", 1),
        NotFound,
        "Invalid stage identifier specified",
    ),
    (
        lambda: moves.without_deployment(staged(routed("GET /a"), auto_deploy=True), "dep1"),
        Conflict,
        "Active stages pointing to this deployment must be moved or deleted: $default",
    ),
    (
        lambda: moves.updated(
            EMPTY, {"cors_configuration": Cors(allow_origins=("*",), allow_credentials=True)}, None, None, None
        ),
        BadRequest,
        "AllowCredentials cannot be true when AllowOrigins contains *",
    ),
    (
        lambda: moves.created(replace(EMPTY, cors_configuration=Cors(allow_origins=("example.com",)))),
        BadRequest,
        "Invalid origin specified in CORS configuration: example.com",
    ),
    (
        lambda: moves.created(replace(EMPTY, cors_configuration=Cors(allow_methods=("get",)))),
        BadRequest,
        "Invalid method specified in CORS configuration: get",
    ),
    (
        lambda: moves.created(replace(EMPTY, cors_configuration=Cors(allow_headers=("a b",)))),
        BadRequest,
        "Invalid header specified in CORS configuration: a b",
    ),
    (
        lambda: moves.updated(EMPTY, {}, ARN, None, None),
        BadRequest,
        "Target, RouteKey and CredentialsArn can only be updated for APIs that were made by quick create",
    ),
]


@pytest.mark.parametrize(("move", "kind", "words"), REFUSED, ids=[words[:60] for _, _, words in REFUSED])
def test_refusals(move: Callable[[], Any], kind: type[GatewayError], words: str) -> None:
    with pytest.raises(GatewayError) as refused:
        move()
    assert (type(refused.value), refused.value.message) == (kind, words)


# What is taken


@pytest.mark.parametrize(
    "key",
    [
        "$default",
        "GET /",
        "ANY /a/{b}/{proxy+}",
        "OPTIONS /a.b/c:d/é",
        "DELETE /a/",
        "GET /{a.b}/{c-d}/{e_f}",
        "HEAD /x",
    ],
)
def test_route_keys(key: str) -> None:
    assert moves.with_route(EMPTY, {"route_key": key}, "r").routes["r"].route_key == key


@pytest.mark.parametrize(
    ("kind", "value", "more"),
    [
        ("AWS_PROXY", ARN, {}),
        ("AWS_PROXY", f"{ARN}:live", {"integration_method": "POST"}),
        ("AWS_PROXY", URI, {"payload_format_version": "2.0"}),
        ("AWS_PROXY", URI.replace(":function:f", ":function:${stageVariables.fn}"), {}),
        ("HTTP_PROXY", "https://h/{proxy}", {"integration_method": "ANY"}),
        ("HTTP_PROXY", "http://${stageVariables.host}/x", {"integration_method": "GET"}),
    ],
)
def test_integrations(kind: str, value: str, more: dict[str, Any]) -> None:
    made = uri(kind, value, **more)().integrations["i"]
    assert (made.timeout_in_millis, made.connection_type) == (30_000, "INTERNET")
    assert made.payload_format_version == more.get("payload_format_version", "1.0")


@pytest.mark.parametrize(
    ("target", "kind", "method", "version"),
    [(ARN, "AWS_PROXY", "POST", "2.0"), ("https://h/x", "HTTP_PROXY", "ANY", "1.0")],
)
def test_quick_create_makes_route_integration_and_stage(target: str, kind: str, method: str, version: str) -> None:
    api = moves.auto_deployed(None, moves.quick_created(EMPTY, target, None, None, ("i", "r")), "d1", 7)
    assert members(api.integrations["i"]) == {
        "IntegrationId": "i",
        "IntegrationType": kind,
        "IntegrationUri": target,
        "IntegrationMethod": method,
        "ConnectionType": "INTERNET",
        "PayloadFormatVersion": version,
        "TimeoutInMillis": 30_000,
        "ApiGatewayManaged": True,
    }
    assert members(api.routes["r"]) == {
        "RouteId": "r",
        "RouteKey": "$default",
        "Target": "integrations/i",
        "AuthorizationType": "NONE",
        "ApiKeyRequired": False,
        "ApiGatewayManaged": True,
    }
    stage = api.stages["$default"]
    assert (stage.auto_deploy, stage.deployment_id) == (True, "d1")
    assert stage.last_deployment_status_message == "Successfully deployed stage with deployment ID 'd1'"
    changed = moves.updated(api, {"name": "m"}, f"{ARN}:2" if kind == "AWS_PROXY" else "https://h/y", "GET /x", None)
    assert (changed.name, changed.routes["r"].route_key) == ("m", "GET /x")
    assert changed.integrations["i"].integration_uri != target


def test_an_update_changes_what_is_given_and_nothing_else() -> None:
    api = routed("GET /a")
    made = moves.with_route_changed(api, "r0", {"operation_name": "op"})
    assert made.routes["r0"] == replace(api.routes["r0"], operation_name="op")
    made = moves.with_integration_changed(api, "int1", {"timeout_in_millis": 50})
    assert made.integrations["int1"] == replace(api.integrations["int1"], timeout_in_millis=50)


def test_entries_are_merged_and_an_empty_one_goes() -> None:
    api = moves.with_integration_changed(
        integrated(), "int1", {"request_parameters": {"append:header.a": "1", "append:header.b": "2"}}
    )
    api = moves.with_integration_changed(api, "int1", {"response_parameters": {"200": {"append:header.c": "3"}}})
    api = moves.with_integration_changed(
        api, "int1", {"request_parameters": {"append:header.a": "", "append:header.d": "4"}}
    )
    assert api.integrations["int1"].request_parameters == {"append:header.b": "2", "append:header.d": "4"}
    api = moves.with_integration_changed(api, "int1", {"response_parameters": {"200": {}}})
    assert api.integrations["int1"].response_parameters is None
    api = staged(api, stage_variables={"a": "1", "b": "2"})
    api = moves.with_stage_changed(api, "$default", {"stage_variables": {"a": "", "c": "3"}}, 9)
    assert api.stages["$default"].stage_variables == {"b": "2", "c": "3"}
    assert (api.stages["$default"].created_ms, api.stages["$default"].updated_ms) == (5, 9)


def test_what_belongs_to_an_authorization_type_goes_with_it() -> None:
    api = moves.with_route(
        authorised(),
        {
            "route_key": "GET /x",
            "authorization_type": "JWT",
            "authorizer_id": "jwt1",
            "authorization_scopes": ("a", "b"),
        },
        "x",
    )
    changed = moves.with_route_changed(api, "x", {"authorization_type": "NONE"}).routes["x"]
    assert (changed.authorizer_id, changed.authorization_scopes) == (None, None)
    changed = moves.with_route_changed(api, "x", {"authorization_type": "CUSTOM", "authorizer_id": "fn1"}).routes["x"]
    assert (changed.authorizer_id, changed.authorization_scopes) == ("fn1", None)


def test_the_ttl_of_a_lambda_authorizer_is_five_minutes_where_there_is_something_to_tell_callers_apart() -> None:
    assert authorised().authorizers["fn1"].authorizer_result_ttl_in_seconds == 300
    assert authorizer()().authorizers["new"].authorizer_result_ttl_in_seconds == 0


# Deployments


def test_a_stage_shows_what_was_deployed_to_it_until_the_next_deployment() -> None:
    api = staged(routed("GET /a"), "prod")
    assert moves.in_force(api, api.stages["prod"]) is None
    api = moves.with_deployment(api, "d1", "first", "prod", 6)
    api = moves.auto_deployed(api, moves.with_route(api, {"route_key": "GET /b"}, "b"), "auto", 7)
    snapshot = moves.in_force(api, api.stages["prod"])
    assert snapshot is not None
    assert [one.route_key for one in snapshot.routes] == ["GET /a"]
    api = moves.with_deployment(api, "d2", None, "prod", 8)
    snapshot = moves.in_force(api, api.stages["prod"])
    assert snapshot is not None
    assert [one.route_key for one in snapshot.routes] == ["GET /a", "GET /b"]
    api = moves.with_stage_changed(api, "prod", {"deployment_id": "d1"}, 9)  # back to the first
    snapshot = moves.in_force(api, api.stages["prod"])
    assert snapshot is not None
    assert [one.route_key for one in snapshot.routes] == ["GET /a"]
    assert moves.without_deployment(api, "d2").deployments.keys() == {"d1"}
    assert moves.with_deployment_changed(api, "d1", "other").deployments["d1"].description == "other"


def test_auto_deploy_follows_every_change_and_keeps_one_deployment() -> None:
    api = staged(EMPTY, auto_deploy=True)
    stage = api.stages["$default"]
    assert stage.deployment_id is None
    assert stage.last_deployment_status_message == (
        "Deployment attempt failed: Unable to deploy API because no routes exist in this API"
    )
    for number in range(3):
        changed = routed(*(f"GET /{at}" for at in range(number + 1)), api=integrated(replace(EMPTY, stages=api.stages)))
        api = moves.auto_deployed(api, changed, f"a{number}", number)
    assert list(api.deployments) == ["a2"]
    assert api.deployments["a2"].auto_deployed
    snapshot = moves.in_force(api, api.stages["$default"])
    assert snapshot is not None
    assert len(snapshot.routes) == 3
    same = moves.auto_deployed(api, replace(api, name="other"), "a3", 9)
    assert list(same.deployments) == ["a2"], "what decides about requests is as it was"
    off = moves.with_stage_changed(api, "$default", {"auto_deploy": False}, 9)
    off = moves.auto_deployed(api, off, "a4", 9)
    later = moves.auto_deployed(off, moves.without_route(off, "r0"), "a5", 10)
    snapshot = moves.in_force(later, later.stages["$default"])
    assert snapshot is not None
    assert len(snapshot.routes) == 3, "switched off, the stage stays at what it had"
    gone = moves.without_stage(later, "$default")
    assert gone.deployments == {}, "an automatic deployment goes with its last stage"


# Limits


def test_what_an_api_holds_is_bounded() -> None:
    full = replace(EMPTY, routes={f"r{n}": Route(route_id=f"r{n}", route_key=f"GET /{n}") for n in range(300)})
    with pytest.raises(LimitExceeded, match=r"^Maximum number of routes for this API has been reached: 300$"):
        moves.with_route(full, {"route_key": "GET /x"}, "x")
    one = integrated().integrations["int1"]
    with pytest.raises(LimitExceeded, match="integrations for this API has been reached: 300"):
        integrated(replace(EMPTY, integrations={str(n): one for n in range(300)}))
    auth = authorised().authorizers["fn1"]
    with pytest.raises(LimitExceeded, match="authorizers for this API has been reached: 10"):
        moves.with_authorizer(
            replace(EMPTY, authorizers={str(n): replace(auth, name=str(n)) for n in range(10)}), members_of(auth), "x"
        )
    stage = Stage(stage_name="s", created_ms=1, updated_ms=1)
    with pytest.raises(LimitExceeded, match="stages for this API has been reached: 10"):
        staged(replace(EMPTY, stages={f"s{n}": stage for n in range(10)}))
    deployment = moves.with_deployment(routed("GET /a"), "d", None, None, 1).deployments["d"]
    with pytest.raises(LimitExceeded, match="deployments for this API has been reached: 100"):
        moves.with_deployment(
            replace(routed("GET /a"), deployments={str(n): deployment for n in range(100)}), "d", None, None, 1
        )
    with pytest.raises(LimitExceeded, match="at most 100 stage variables"):
        staged(EMPTY, stage_variables={f"v{n}": "1" for n in range(101)})
    staged(EMPTY, stage_variables={f"v{n}": "1" for n in range(100)})
    for variables in ({"v" * 65: "1"}, {"v": "1" * 513}):
        with pytest.raises(BadRequest, match="Invalid stage variable"):
            staged(EMPTY, stage_variables=variables)
    staged(EMPTY, stage_variables={"v" * 64: "1" * 512})
    with pytest.raises(BadRequest, match="at most 10 authorization scopes"):
        route(
            "GET /x", authorization_type="JWT", authorizer_id="jwt1", authorization_scopes=tuple(map(str, range(11)))
        )()
    with pytest.raises(BadRequest, match="at most 50 audiences"):
        jwt("https://i", tuple(map(str, range(51))))()
    with pytest.raises(BadRequest, match="AuthorizerResultTtlInSeconds must be between 0 and 3600"):
        authorizer(authorizer_result_ttl_in_seconds=3_601, identity_source=("$request.header.X",))()


def members_of(record: Authorizer) -> dict[str, Any]:
    return {
        "name": "new",
        "authorizer_type": "REQUEST",
        "identity_source": record.identity_source,
        "authorizer_uri": record.authorizer_uri,
        "authorizer_payload_format_version": "2.0",
    }


# Documents


def test_an_api_comes_back_from_its_document() -> None:
    api = authorised()
    api = moves.with_integration_changed(
        api,
        "int1",
        {
            "request_parameters": {"append:header.a": "1"},
            "response_parameters": {"200": {"append:header.b": "2"}},
            "tls_config": TlsConfig(server_name_to_verify="h"),
        },
    )
    api = moves.with_route(
        api,
        {
            "route_key": "GET /x",
            "target": "integrations/int1",
            "authorization_type": "JWT",
            "authorizer_id": "jwt1",
            "authorization_scopes": ("a",),
        },
        "x",
    )
    api = staged(
        api,
        auto_deploy=True,
        default_route_settings=RouteSettings(throttling_rate_limit=0.5),
        route_settings={"GET /x": RouteSettings(throttling_burst_limit=0)},
        stage_variables={"v": "1"},
        access_log_settings=AccessLogSettings(destination_arn=f"{LOG_GROUP}g", format="$context.requestId"),
        tags={"t": "1"},
    )
    api = replace(api, cors_configuration=Cors(allow_origins=("*",), max_age=0), tags={"a": "b"}, warnings=("w",))
    api = moves.with_deployment(api, "d", "x", None, 3)
    assert decode_api(Key(SCOPE.account, SCOPE.region, api.api_id), encode_api(api)) == api
    assert api.stages["$default"].default_route_settings.detailed_metrics_enabled is False
    with pytest.raises(TypeError, match="novelty"):
        decode_api(Key("1", "2", "3"), b'{"name":"n","created_ms":1,"novelty":2}')


@pytest.mark.parametrize(
    "name", ["ApiId", "TimeoutInMillis", "AuthorizerResultTtlInSeconds", "TlsConfig", "IpAddressType", "Name"]
)
def test_members_and_fields_have_each_others_names(name: str) -> None:
    assert pascal(snake(name)) == name


def test_members_become_records_and_back() -> None:
    given = {"StageName": "s", "RouteSettings": {"GET /a": {"ThrottlingBurstLimit": 3}}, "Foreign": 1}
    fields = fields_of(given, Stage)
    assert fields == {"stage_name": "s", "route_settings": {"GET /a": RouteSettings(throttling_burst_limit=3)}}
    cors = from_members(Cors, {"AllowOrigins": ["*"], "MaxAge": 3})
    assert cors == Cors(allow_origins=("*",), max_age=3)
    assert members(cors) == {"AllowOrigins": ["*"], "MaxAge": 3}
    assert isinstance(from_members(Integration, {"IntegrationId": "i", "IntegrationType": "t"}), Integration)
