"""CORS, throttling, authorizers of every type, custom domains and access logs, with real functions."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from tests.conftest import start_server
from tests.integration.http_apis.backend import Backend
from tests.integration.http_apis.http_world import ACCOUNT, Api, World, send
from tests.support import client, unique
from tests.unit.gateway.gateway_world import claims, token

ORIGIN = "https://a.example"
FOREIGN_CORS = """
def handler(event, context):
    return {"statusCode": 200, "headers": {"Access-Control-Allow-Origin": "evil", "access-control-max-age": "9", "x": "1"}}
"""
COUNTING = """
calls = 0
def handler(event, context):
    global calls
    calls += 1
    word = event["identitySource"][0] if isinstance(event.get("identitySource"), list) else event.get("identitySource")
    if word == "error":
        raise RuntimeError("no")
    if word == "unauthorized":
        raise Exception("Unauthorized")
    if word == "nonsense":
        return {"isAuthorized": "perhaps"}
    if word == "slow":
        __import__("time").sleep(20)
    return {"isAuthorized": word != "no", "context": {"calls": calls, "event": event}}
"""
POLICY = """
def handler(event, context):
    word = event["authorizationToken"] if event["version"] == "1.0" else event["identitySource"][0]
    arn = event.get("methodArn") or event["routeArn"]
    resource = arn if word == "exact" else arn.rsplit("/", 1)[0] + "/*" if word == "all" else "*"
    statement = {"Action": "execute-api:Invoke", "Effect": "Deny" if word == "deny" else "Allow", "Resource": resource}
    return {"principalId": "p", "policyDocument": {"Version": "2012-10-17", "Statement": [statement]}, "context": {"v": event["version"], "event": str(sorted(event))}}
"""


@pytest.fixture(scope="module")
def echo(world: World) -> Iterator[str]:
    with world.function() as arn:
        yield arn


def ask(world: World, api: Api, arn: str, **more: Any) -> str:
    """A Lambda authorizer with simple answers; its id."""
    given = {
        "AuthorizerType": "REQUEST",
        "Name": unique("auth"),
        "IdentitySource": ["$request.header.X-Who"],
        "AuthorizerUri": f"arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/{arn}/invocations",
        "AuthorizerPayloadFormatVersion": "2.0",
        "EnableSimpleResponses": True,
        **more,
    }
    return str(world.gateway.create_authorizer(ApiId=api.id, **given)["AuthorizerId"])


# CORS


@pytest.fixture(scope="module")
def shared(world: World, echo: str) -> Iterator[Api]:
    cors = {
        "AllowOrigins": [ORIGIN],
        "AllowMethods": ["GET", "PUT"],
        "AllowHeaders": ["x-a"],
        "ExposeHeaders": ["x-b"],
        "MaxAge": 60,
    }
    with world.function(FOREIGN_CORS) as foreign, world.api(CorsConfiguration=cors) as api:
        api.route("GET /foreign", api.integrate(foreign))
        api.route("OPTIONS /own", api.integrate(foreign))
        api.route("ANY /any", api.integrate(echo))
        yield api


def preflight(api: Api, path: str, origin: str = ORIGIN) -> Any:
    return api.send(path, "OPTIONS", headers={"Origin": origin, "Access-Control-Request-Method": "PUT"})


@pytest.mark.parametrize("path", ["/foreign", "/any", "/no/such/route"])
def test_preflights_are_answered_by_the_gateway(shared: Api, path: str) -> None:
    answer = preflight(shared, path)
    assert (answer.status, answer.body) == (204, b"")
    assert {name: value for name, value in answer.headers if name.startswith("access-control-")} == {
        "access-control-allow-origin": ORIGIN,
        "access-control-allow-methods": "GET,PUT",
        "access-control-allow-headers": "x-a",
        "access-control-max-age": "60",
    }
    refused = preflight(shared, path, "https://b.example")
    assert refused.status == 204
    assert not [name for name, _ in refused.headers if name.startswith("access-control-")]


def test_an_options_route_is_asked_itself_and_the_gateways_headers_stand(shared: Api) -> None:
    answer = preflight(shared, "/own")
    assert (answer.status, answer.header("x")) == (200, "1")
    assert answer.header("access-control-allow-origin") == ORIGIN


def test_the_gateways_headers_replace_the_functions(shared: Api) -> None:
    answer = shared.send("/foreign", headers={"Origin": ORIGIN})
    assert answer.all("access-control-allow-origin") == [ORIGIN]
    assert (answer.header("access-control-max-age"), answer.header("access-control-expose-headers")) == (None, "x-b")
    for headers in ({}, {"Origin": "https://b.example"}):
        answer = shared.send("/foreign", headers=headers)
        assert answer.header("access-control-allow-origin") is None
        assert answer.header("x") == "1"


def test_refusals_may_be_read_by_the_page_that_asked(shared: Api) -> None:
    answer = shared.send("/none", headers={"Origin": ORIGIN})
    assert (answer.status, answer.header("access-control-allow-origin")) == (404, ORIGIN)


def test_without_cors_the_functions_headers_stay_and_nobody_answers_preflights(world: World) -> None:
    with world.function(FOREIGN_CORS) as foreign, world.api() as api:
        api.route("GET /x", api.integrate(foreign))
        assert api.send("/x", headers={"Origin": ORIGIN}).header("access-control-allow-origin") == "evil"
        assert preflight(api, "/x").status == 404


# Throttling


def test_a_routes_limit_and_the_stages(world: World, echo: str) -> None:
    with world.api(stage=None) as api:
        for key in ("GET /closed", "GET /slow", "GET /open"):
            api.route(key, api.integrate(echo))
        world.gateway.create_stage(
            ApiId=api.id,
            StageName="$default",
            AutoDeploy=True,
            DefaultRouteSettings={"ThrottlingRateLimit": 0.001, "ThrottlingBurstLimit": 2},
            RouteSettings={
                "GET /closed": {"ThrottlingRateLimit": 0, "ThrottlingBurstLimit": 0},
                "GET /open": {"ThrottlingRateLimit": 1_000, "ThrottlingBurstLimit": 1_000},
            },
        )
        answer = api.send("/closed")
        assert (answer.status, answer.body) == (429, b'{"message":"Too Many Requests"}')
        assert [api.send("/slow").status for _ in range(4)] == [200, 200, 429, 429]
        assert [api.send("/open").status for _ in range(4)] == [200] * 4
        world.gateway.update_api(ApiId=api.id, Name="renamed")
        assert api.send("/slow").status == 429, "a change of the API gives nobody new tokens"


# IAM


def signed(
    api: Api, path: str, *, service: str = "execute-api", account: str = ACCOUNT, query: bool = False
) -> tuple[str, dict[str, str]]:
    """Path and headers of a request that botocore has signed."""
    request = AWSRequest("GET", f"http://{api.host}{path}", headers={"Host": api.host})
    signer = SigV4QueryAuth if query else SigV4Auth
    signer(Credentials(account, "secret"), service, "us-east-1").add_auth(request)
    target = request.url.partition(api.host)[2]
    return target, {name: value for name, value in request.headers.items() if name != "Host"}


def test_iam(world: World, echo: str) -> None:
    with world.api() as api:
        api.route("GET /x", api.integrate(echo), AuthorizationType="AWS_IAM")
        answer = api.send("/x")
        assert (answer.status, answer.body) == (403, b'{"message":"Forbidden"}')
        for query in (False, True):
            path, headers = signed(api, "/x", query=query)
            answer = api.send(path, headers=headers)
            assert answer.status == 200, answer.body
            assert answer.json["requestContext"]["authorizer"] == {
                "iam": {
                    "accessKey": ACCOUNT,
                    "accountId": ACCOUNT,
                    "callerId": ACCOUNT,
                    "cognitoIdentity": None,
                    "principalOrgId": None,
                    "userArn": f"arn:aws:iam::{ACCOUNT}:root",
                    "userId": ACCOUNT,
                }
            }
        for given in ({"service": "lambda"}, {"account": "210987654321"}):
            path, headers = signed(api, "/x", **given)  # type: ignore[arg-type]
            assert api.send(path, headers=headers).status == 403


def test_iam_where_signatures_are_verified(tmp_path: Any) -> None:
    keys = {"LAMBENT_VERIFY_SIGNATURES": "true", "LAMBENT_ACCESS_KEYS": f"{ACCOUNT}:secret"}
    running = start_server(tmp_path / "data", env=keys)
    gateway = client("apigatewayv2", running.url, account=ACCOUNT)
    made = gateway.create_api(Name="x", ProtocolType="HTTP", Target=f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:none")
    route = gateway.get_routes(ApiId=made["ApiId"])["Items"][0]["RouteId"]
    gateway.update_route(ApiId=made["ApiId"], RouteId=route, AuthorizationType="AWS_IAM")
    api = Api(World(running.url, gateway, None, None), made["ApiId"])
    path, headers = signed(api, "/x")
    assert api.send(path, headers=headers).status == 500, "let in; its function is not there"
    assert api.send("/y", headers=headers).status == 403, "another path than was signed"
    stranger = client("apigatewayv2", running.url, account="210987654321")
    with pytest.raises(stranger.exceptions.ClientError, match="security token included in the request is invalid"):
        stranger.get_apis()
    stranger.close()
    gateway.close()
    assert running.stop() == 0


# JWT


@pytest.fixture(scope="module")
def guarded(world: World, echo: str, backend: Backend) -> Iterator[Api]:
    with world.api() as api:
        authorizer = world.gateway.create_authorizer(
            ApiId=api.id,
            Name="jwt",
            AuthorizerType="JWT",
            IdentitySource=["$request.header.Authorization"],
            JwtConfiguration={"Issuer": backend.issuer, "Audience": ["app"]},
        )["AuthorizerId"]
        options = {"AuthorizationType": "JWT", "AuthorizerId": authorizer}
        api.route("GET /x", api.integrate(echo), **options)
        api.route("GET /one", api.integrate(echo, "1.0"), **options)
        api.route("GET /scoped", api.integrate(echo), **options, AuthorizationScopes=["read", "write"])
        yield api


def bearing(api: Api, path: str, given: str) -> Any:
    return api.send(path, headers={"Authorization": given})


def now_claims(backend: Backend, **more: Any) -> dict[str, Any]:
    now = int(time.time())
    return claims(iss=backend.issuer, exp=now + 600, nbf=now - 60, iat=now - 60, **more)


def test_a_token_lets_in_and_its_claims_arrive(guarded: Api, backend: Backend) -> None:
    given = now_claims(backend, groups=["a", "b"], admin=True)
    for value in (token(given), f"Bearer {token(given)}"):
        answer = bearing(guarded, "/x", value)
        assert answer.status == 200, answer.body
    found = answer.json["requestContext"]["authorizer"]["jwt"]
    assert found["scopes"] is None
    assert found["claims"]["groups"] == "[a b]"
    assert (found["claims"]["admin"], found["claims"]["exp"]) == ("true", str(given["exp"]))
    old = bearing(guarded, "/one", token(given)).json["requestContext"]["authorizer"]
    assert (old["claims"]["sub"], old["scopes"]) == ("u", None)


def test_tokens_that_do_not_let_in(guarded: Api, backend: Backend) -> None:
    none = guarded.send("/x")
    assert (none.status, none.body, none.header("www-authenticate")) == (401, b'{"message":"Unauthorized"}', "Bearer")
    good = token(now_claims(backend))
    for given, words in (
        (token(now_claims(backend, aud="other")), "the token does not have a valid audience"),
        (token(now_claims(backend) | {"exp": 1}), "the token has expired"),
        (token(now_claims(backend), algorithm="none"), "signing method none is invalid"),
        (token(now_claims(backend), algorithm="HS256"), "signing method HS256 is invalid"),
        (token(now_claims(backend), number=1, head={"kid": "k0"}), "the token has an invalid signature"),
        (good + "x", None),
        ("Basic dTpw", "the token is not a JSON Web Token"),
        ("x" * 9_000, "the token is too long"),
    ):
        answer = bearing(guarded, "/x", given)
        assert (answer.status, answer.body) == (401, b'{"message":"Unauthorized"}'), words
        if words is not None:
            challenge = f'Bearer scope="" error="invalid_token" error_description="{words}"'
            assert answer.header("www-authenticate") == challenge


def test_scopes(guarded: Api, backend: Backend) -> None:
    answer = bearing(guarded, "/scoped", token(now_claims(backend, scope="other write")))
    assert answer.json["requestContext"]["authorizer"]["jwt"]["scopes"] == ["write"]
    for more in ({}, {"scope": "reader"}):
        answer = bearing(guarded, "/scoped", token(now_claims(backend, **more)))
        assert (answer.status, answer.body) == (403, b'{"message":"Forbidden"}')
        assert answer.header("www-authenticate") == 'Bearer scope="read write" error="insufficient_scope"'


def test_an_issuer_that_can_not_be_reached_lets_nobody_in(world: World, echo: str, backend: Backend) -> None:
    with world.api() as api:
        authorizer = world.gateway.create_authorizer(
            ApiId=api.id,
            Name="jwt",
            AuthorizerType="JWT",
            IdentitySource=["$request.querystring.t"],
            JwtConfiguration={"Issuer": world.url, "Audience": ["app"]},  # the server itself: closed, and no issuer
        )["AuthorizerId"]
        api.route("GET /x", api.integrate(echo), AuthorizationType="JWT", AuthorizerId=authorizer)
        answer = api.send(f"/x?t={token(now_claims(backend))}")
        assert answer.status == 401
        assert "OIDC discovery endpoint communication error" in (answer.header("www-authenticate") or "")


# Lambda authorizers


@pytest.fixture(scope="module")
def counting(world: World) -> Iterator[str]:
    with world.function(COUNTING, Timeout=30) as arn:
        yield arn


def test_simple_answers_and_their_cache(world: World, echo: str, counting: str) -> None:
    with world.api() as api:
        authorizer = ask(world, api, counting)
        for key in ("GET /x", "GET /y/{id}"):
            api.route(key, api.integrate(echo), AuthorizationType="CUSTOM", AuthorizerId=authorizer)

        def who(word: str, path: str = "/x") -> Any:
            return api.send(path, headers={"X-Who": word})

        none = api.send("/x")
        assert (none.status, none.body) == (401, b'{"message":"Unauthorized"}')
        first = who("a").json["requestContext"]["authorizer"]["lambda"]
        assert who("a", "/y/7").json["requestContext"]["authorizer"]["lambda"] == first, (
            "asked once for who is the same"
        )
        assert who("b").json["requestContext"]["authorizer"]["lambda"]["calls"] == first["calls"] + 1
        world.gateway.reset_authorizers_cache(ApiId=api.id, StageName="$default")
        event = who("a", "/y/7?q=1").json["requestContext"]["authorizer"]["lambda"]["event"]
        assert who("a").json["requestContext"]["authorizer"]["lambda"]["calls"] == first["calls"] + 2
        assert (event["version"], event["type"], event["identitySource"]) == ("2.0", "REQUEST", ["a"])
        assert event["routeArn"] == api.arn("$default/GET/y/7")
        assert (event["routeKey"], event["rawPath"], event["pathParameters"]) == ("GET /y/{id}", "/y/7", {"id": "7"})
        assert (event["cookies"], event["stageVariables"], event["queryStringParameters"]) == ([], {}, {"q": "1"})
        assert "body" not in event
        assert "authorizer" not in event["requestContext"]
        for word, status, body in (
            ("no", 403, b'{"message":"Forbidden"}'),
            ("unauthorized", 401, b'{"message":"Unauthorized"}'),
            ("error", 500, b'{"message":"Internal Server Error"}'),
            ("nonsense", 500, b'{"message":"Internal Server Error"}'),
        ):
            answer = who(word)
            assert (answer.status, answer.body) == (status, body), word


def test_without_a_ttl_it_is_asked_each_time(world: World, echo: str, counting: str) -> None:
    with world.api() as api:
        authorizer = ask(world, api, counting, AuthorizerResultTtlInSeconds=0)
        api.route("$default", api.integrate(echo), AuthorizationType="CUSTOM", AuthorizerId=authorizer)
        calls = [
            api.send("/x", headers={"X-Who": "a"}).json["requestContext"]["authorizer"]["lambda"]["calls"]
            for _ in range(3)
        ]
        assert calls == [calls[0], calls[0] + 1, calls[0] + 2]


@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_policies(world: World, echo: str, version: str) -> None:
    with world.function(POLICY) as arn, world.api() as api:
        authorizer = ask(world, api, arn, AuthorizerPayloadFormatVersion=version, EnableSimpleResponses=False)
        for key in ("GET /x/{id}", "PUT /x/{id}"):
            api.route(key, api.integrate(echo), AuthorizationType="CUSTOM", AuthorizerId=authorizer)

        def status(word: str, path: str, method: str = "GET") -> int:
            return api.send(path, method, headers={"X-Who": word}).status

        assert status("exact", "/x/1") == 200
        assert status("exact", "/x/2") == 403, "what was said of one path holds for that one"
        assert (status("all", "/x/1"), status("all", "/x/2"), status("all", "/x/1", "PUT")) == (200, 200, 403)
        assert status("deny", "/x/1") == 403
        found = api.send("/x/1", headers={"X-Who": "everything"}).json["requestContext"]["authorizer"]["lambda"]
        assert found["v"] == version
        names = ["authorizationToken", "headers", "httpMethod", "identitySource", "methodArn", "path", "pathParameters", "queryStringParameters", "requestContext", "resource", "stageVariables", "type", "version"]  # fmt: skip
        if version == "1.0":
            assert found["event"] == str(names)


TELLING = """
def handler(event, context):
    statement = {"Action": "execute-api:Invoke", "Effect": "Allow", "Resource": "*"}
    policy = {"Version": "2012-10-17", "Statement": [statement]}
    return {"principalId": "p", "policyDocument": policy, "context": {"event": __import__("json").dumps(event)}}
"""


def asked_event(world: World, api: Api, telling: str, echo: str, version: str) -> dict[str, Any]:
    """What an authorizer is asked for one request to the stage `prod`; what differs each time is taken off."""
    sources = ["$request.header.X-Who", "$request.querystring.q"]
    given = {"AuthorizerPayloadFormatVersion": version, "EnableSimpleResponses": False, "IdentitySource": sources}
    authorizer = ask(world, api, telling, **given)
    api.route("POST /my/{id}", api.integrate(echo), AuthorizationType="CUSTOM", AuthorizerId=authorizer)
    headers = [("X-Who", "user1"), ("X-Two", "1"), ("X-Two", "2"), ("Cookie", "a=1; b=2"), ("User-Agent", "t")]
    answer = api.send("/prod/my/7%208?q=123&r=1&r=%20", "POST", headers=headers, body=b"hidden")
    event: dict[str, Any] = json.loads(answer.json["requestContext"]["authorizer"]["lambda"]["event"])
    for name in ("x-amzn-trace-id", "x-forwarded-port"):
        event["headers"].pop(name)
    for name in ("time", "timeEpoch", "requestTime", "requestTimeEpoch", "requestId", "extendedRequestId"):
        event["requestContext"].pop(name, None)
    return event


@pytest.fixture
def prod(world: World) -> Iterator[Api]:
    with world.api(stage={"StageName": "prod", "AutoDeploy": True, "StageVariables": {"k": "v"}}) as api:
        yield api


@pytest.fixture(scope="module")
def telling(world: World) -> Iterator[str]:
    with world.function(TELLING) as arn:
        yield arn


def test_the_whole_event_of_an_authorizer_2_0(world: World, prod: Api, telling: str, echo: str) -> None:
    event = asked_event(world, prod, telling, echo, "2.0")
    assert event == {
        "version": "2.0",
        "type": "REQUEST",
        "routeArn": prod.arn("prod/POST/my/7 8"),
        "identitySource": ["user1", "123"],
        "routeKey": "POST /my/{id}",
        "rawPath": "/prod/my/7 8",
        "rawQueryString": "q=123&r=1&r=%20",
        "cookies": ["a=1", "b=2"],
        "headers": {
            "host": event["headers"]["host"],
            "x-who": "user1",
            "x-two": "1,2",
            "user-agent": "t",
            "content-length": "6",
            "x-forwarded-for": "127.0.0.1",
            "x-forwarded-proto": "http",
        },
        "queryStringParameters": {"q": "123", "r": "1, "},
        "requestContext": {
            "accountId": ACCOUNT,
            "apiId": prod.id,
            "authentication": None,
            "domainName": prod.host,
            "domainPrefix": prod.id,
            "http": {
                "method": "POST",
                "path": "/prod/my/7 8",
                "protocol": "HTTP/1.1",
                "sourceIp": "127.0.0.1",
                "userAgent": "t",
            },
            "routeKey": "POST /my/{id}",
            "stage": "prod",
        },
        "pathParameters": {"id": "7 8"},
        "stageVariables": {"k": "v"},
    }


def test_the_whole_event_of_an_authorizer_1_0(world: World, prod: Api, telling: str, echo: str) -> None:
    event = asked_event(world, prod, telling, echo, "1.0")
    nobody = ("accessKey", "accountId", "caller", "cognitoAmr", "cognitoAuthenticationProvider", "cognitoAuthenticationType", "cognitoIdentityId", "cognitoIdentityPoolId", "principalOrgId", "user", "userArn")  # fmt: skip
    assert event == {
        "version": "1.0",
        "type": "REQUEST",
        "methodArn": prod.arn("prod/POST/my/7 8"),
        "identitySource": "user1,123",
        "authorizationToken": "user1,123",
        "resource": "/my/{id}",
        "path": "/prod/my/7 8",
        "httpMethod": "POST",
        "headers": {
            "host": event["headers"]["host"],
            "x-who": "user1",
            "x-two": "2",
            "cookie": "a=1; b=2",
            "user-agent": "t",
            "content-length": "6",
            "x-forwarded-for": "127.0.0.1",
            "x-forwarded-proto": "http",
        },
        "queryStringParameters": {"q": "123", "r": " "},
        "pathParameters": {"id": "7 8"},
        "stageVariables": {"k": "v"},
        "requestContext": {
            "accountId": ACCOUNT,
            "apiId": prod.id,
            "domainName": prod.host,
            "domainPrefix": prod.id,
            "httpMethod": "POST",
            "identity": dict.fromkeys(nobody) | {"sourceIp": "127.0.0.1", "userAgent": "t"},
            "path": "/prod/my/7 8",
            "protocol": "HTTP/1.1",
            "resourceId": "POST /my/{id}",
            "resourcePath": "/my/{id}",
            "stage": "prod",
        },
    }


def test_an_authorizer_needs_its_own_permission(world: World, echo: str) -> None:
    with world.function(COUNTING, is_open=False) as arn, world.api() as api:
        authorizer = ask(world, api, arn)
        api.route("GET /x", api.integrate(echo), AuthorizationType="CUSTOM", AuthorizerId=authorizer)
        headers = {"X-Who": "a"}
        world.permit(arn, api.arn("*/*/*"))
        assert api.send("/x", headers=headers).status == 500, "that one is for routes"
        world.permit(arn, api.arn(f"authorizers/{authorizer}"))
        assert api.send("/x", headers=headers).status == 200


# Custom domains


def test_domains_and_their_mappings(world: World, echo: str) -> None:
    gateway = world.gateway
    certificate = {"CertificateArn": f"arn:aws:acm:us-east-1:{ACCOUNT}:certificate/x", "EndpointType": "REGIONAL"}
    with world.api() as api, world.api(stage=None) as other:
        api.route("$default", api.integrate(echo))
        other.route("ANY /x", other.integrate(echo))
        gateway.create_stage(ApiId=other.id, StageName="prod", AutoDeploy=True)
        for name in ("api.shop.example", "*.wild.example"):
            gateway.create_domain_name(DomainName=name, DomainNameConfigurations=[certificate])
        host = "api.shop.example"
        try:
            assert send(world.url + "/x", host=host).status == 404, "nothing is mapped"
            gateway.create_api_mapping(DomainName=host, ApiId=api.id, Stage="$default")
            gateway.create_api_mapping(DomainName=host, ApiId=other.id, Stage="prod", ApiMappingKey="shop/v1")
            gateway.create_api_mapping(DomainName="*.wild.example", ApiId=api.id, Stage="$default")
            event = send(world.url + "/a/b", host=host + ":8080").json
            assert (event["rawPath"], event["requestContext"]["domainName"]) == ("/a/b", host)
            assert (event["requestContext"]["domainPrefix"], event["requestContext"]["apiId"]) == ("api", api.id)
            event = send(world.url + "/shop/v1/x", host=host.upper()).json
            assert (event["requestContext"]["apiId"], event["requestContext"]["stage"]) == (other.id, "prod")
            assert (event["routeKey"], event["rawPath"]) == ("ANY /x", "/shop/v1/x")
            assert send(world.url + "/shop/v1/y", host=host).status == 404
            assert send(world.url + "/shop/v11/x", host=host).json["requestContext"]["apiId"] == api.id
            assert (
                send(world.url + "/x", host="any.wild.example").json["requestContext"]["domainName"]
                == "any.wild.example"
            )
            assert send(world.url + "/x", host="a.b.wild.example").status != 200
            with pytest.raises(gateway.exceptions.BadRequestException, match="Please remove all base path mappings"):
                gateway.delete_api(ApiId=api.id)
        finally:
            for name in ("api.shop.example", "*.wild.example"):
                gateway.delete_domain_name(DomainName=name)
        assert send(world.url + "/a/b", host=host).status != 200


def test_a_name_is_one_accounts_alone(world: World) -> None:
    certificate = {"CertificateArn": f"arn:aws:acm:us-east-1:{ACCOUNT}:certificate/x", "EndpointType": "REGIONAL"}
    world.gateway.create_domain_name(DomainName="one.example", DomainNameConfigurations=[certificate])
    stranger = client("apigatewayv2", world.url, account="210987654321")
    with pytest.raises(stranger.exceptions.ConflictException, match="The domain name resource already exists"):
        stranger.create_domain_name(DomainName="One.example", DomainNameConfigurations=[certificate])
    with pytest.raises(stranger.exceptions.NotFoundException):
        stranger.get_domain_name(DomainName="one.example")
    world.gateway.delete_domain_name(DomainName="one.example")
    stranger.create_domain_name(DomainName="one.example", DomainNameConfigurations=[certificate])
    stranger.delete_domain_name(DomainName="one.example")
    stranger.close()


# Access logs


def test_access_logs(world: World, echo: str) -> None:
    group = f"/gateway/{unique('log')}"
    format = json.dumps(
        {
            name: f"$context.{name}"
            for name in (
                "requestId", "httpMethod", "routeKey", "path", "status", "protocol", "responseLength", "stage",
                "identity.sourceIp", "identity.userAgent", "integrationErrorMessage", "integrationStatus", "error.message",
                "authorizer.principalId", "integration.latency", "domainName",
            )
        }
    )  # fmt: skip
    with world.api(stage=None) as api:
        api.route("GET /x", api.integrate(echo))
        api.route("GET /broken", api.integrate(f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:none"))
        settings = {"DestinationArn": f"arn:aws:logs:us-east-1:{ACCOUNT}:log-group:{group}", "Format": format}
        world.gateway.create_stage(ApiId=api.id, StageName="$default", AutoDeploy=True, AccessLogSettings=settings)
        answers = [api.send(path, headers={"User-Agent": 'a"b'}) for path in ("/x", "/broken", "/none")]
        events = world.logs.filter_log_events(logGroupName=group)["events"]
        lines = {line["requestId"]: line for line in (json.loads(event["message"]) for event in events)}
        good, broken, none = (lines[answer.header("apigw-requestid")] for answer in answers)
        assert (good["status"], good["httpMethod"], good["routeKey"], good["path"]) == ("200", "GET", "GET /x", "/x")
        assert (good["identity.userAgent"], good["identity.sourceIp"]) == ('a"b', "127.0.0.1")
        assert int(good["responseLength"]) == len(answers[0].body)
        assert (good["integrationStatus"], good["authorizer.principalId"], good["error.message"]) == ("200", "-", "-")
        assert (broken["status"], broken["error.message"]) == ("500", "Internal Server Error")
        assert "Function not found" in broken["integrationErrorMessage"]
        assert (none["status"], none["routeKey"]) == ("404", "-")
        world.gateway.delete_access_log_settings(ApiId=api.id, StageName="$default")
        api.send("/x")
        assert len(world.logs.filter_log_events(logGroupName=group)["events"]) == 3
