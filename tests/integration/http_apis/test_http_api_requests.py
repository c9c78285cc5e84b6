"""HTTP APIs with real functions: events of both payload versions, answers, routing, stages, permissions, failures."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from tests.conftest import start_server
from tests.integration.http_apis.backend import Backend
from tests.integration.http_apis.http_world import ACCOUNT, RAW, Api, World, send
from tests.support import PYTHON_RUNTIME, client, package

ANSWERING = """
import json, time
def handler(event, context):
    wanted = json.loads(event["body"])
    if wanted == "raise":
        raise RuntimeError("no")
    if wanted == "sleep":
        time.sleep(2)
    if wanted == "exit":
        import os
        os._exit(1)
    return wanted
"""


@pytest.fixture(scope="module")
def echo(world: World) -> Any:
    with world.function() as arn:
        yield arn


@pytest.fixture(scope="module")
def answering(world: World) -> Any:
    with world.function(ANSWERING, Timeout=10) as arn, world.api() as api:
        api.route("POST /two", api.integrate(arn))
        api.route("POST /one", api.integrate(arn, "1.0"))
        api.route("POST /short", api.integrate(arn, TimeoutInMillis=50))
        yield api


@pytest.fixture(scope="module")
def routed(world: World, echo: str) -> Any:
    with world.api() as api:
        two, one = api.integrate(echo), api.integrate(echo, "1.0")
        api.route("GET /items/{id}", two)
        api.route("ANY /files/{proxy+}", two)
        api.route("POST /old/{id}", one)
        api.route("GET /", two)
        api.route("GET /bare", None)
        yield api


# Events


def test_the_event_of_payload_2(routed: Api) -> None:
    answer = routed.send(
        "/items/7%208?a=1&b=%20x&a=2",
        headers=[("X-Twice", "1"), ("X-Twice", "2"), ("Cookie", "c1=a; c2=b"), ("User-Agent", "test/1"), ("X-Forwarded-For", "1.2.3.4")],
    )  # fmt: skip
    assert answer.status == 200, answer.body
    assert (answer.header("x-one"), answer.header("content-type")) == ("1", "application/json")
    event = answer.json
    request_id = answer.header("apigw-requestid")
    assert request_id is not None
    assert len(request_id) == 16
    context = event["requestContext"]
    now_ms = context.pop("timeEpoch")
    trace = event["headers"].pop("x-amzn-trace-id")
    assert trace.startswith("Root=1-")
    assert context.pop("time").endswith(" +0000")
    assert isinstance(now_ms, int)
    assert event == {
        "version": "2.0",
        "routeKey": "GET /items/{id}",
        "rawPath": "/items/7 8",
        "rawQueryString": "a=1&b=%20x&a=2",
        "cookies": ["c1=a", "c2=b"],
        "headers": {
            "content-length": "0",
            "host": routed.host,
            "x-twice": "1,2",
            "user-agent": "test/1",
            "x-forwarded-for": "1.2.3.4, 127.0.0.1",
            "x-forwarded-port": "80",
            "x-forwarded-proto": "http",
        },
        "queryStringParameters": {"a": "1,2", "b": " x"},
        "requestContext": {
            "accountId": ACCOUNT,
            "apiId": routed.id,
            "authentication": None,
            "domainName": routed.host,
            "domainPrefix": routed.id,
            "http": {
                "method": "GET",
                "path": "/items/7 8",
                "protocol": "HTTP/1.1",
                "sourceIp": "127.0.0.1",
                "userAgent": "test/1",
            },
            "requestId": request_id,
            "routeKey": "GET /items/{id}",
            "stage": "$default",
        },
        "pathParameters": {"id": "7 8"},
        "isBase64Encoded": False,
    }


def test_the_event_of_payload_1(routed: Api) -> None:
    event = routed.send(
        "/old/7?a=1&a=2",
        "POST",
        headers=[("X-Twice", "1"), ("X-Twice", "2"), ("Content-Type", "text/plain")],
        body=b"hi",
    ).json
    assert (event["version"], event["resource"], event["path"], event["httpMethod"]) == (
        "1.0",
        "/old/{id}",
        "/old/7",
        "POST",
    )
    assert (event["headers"]["x-twice"], event["multiValueHeaders"]["x-twice"]) == ("2", ["1", "2"])
    assert event["queryStringParameters"] == {"a": "2"}
    assert event["multiValueQueryStringParameters"] == {"a": ["1", "2"]}
    assert (event["pathParameters"], event["stageVariables"]) == ({"id": "7"}, None)
    assert (event["body"], event["isBase64Encoded"]) == ("hi", False)
    assert event["requestContext"]["resourceId"] == "POST /old/{id}"


def test_the_raw_path_is_decoded_and_an_encoded_question_mark_ends_it(routed: Api) -> None:
    event = routed.send("/files/a%2Fb%20c%3Fd=e?f=g").json
    assert (event["rawPath"], event["rawQueryString"]) == ("/files/a/b c", "f=g")
    assert event["requestContext"]["http"]["path"] == "/files/a/b c"
    assert event["pathParameters"] == {"proxy": "a/b c?d=e"}


def test_bodies_that_are_no_text_travel_as_base64(routed: Api) -> None:
    event = routed.send("/files/x", "PUT", headers={"Content-Type": "image/png"}, body=b"\x00\xff").json
    assert (event["body"], event["isBase64Encoded"]) == ("AP8=", True)


@pytest.mark.parametrize("form", ["host", "host with port", "HOST", "path"])
def test_an_api_is_found_by_host_and_by_path(routed: Api, form: str) -> None:
    if form == "path":
        answer = send(f"{routed.world.url}/_aws/execute-api/{routed.id}/items/7")
    else:
        port = routed.world.url.rpartition(":")[2]
        host = {"host": routed.host, "host with port": f"{routed.host}:{port}", "HOST": routed.host.upper()}[form]
        answer = routed.send("/items/7", host=host)
    assert answer.status == 200, answer.body
    assert answer.json["rawPath"] == "/items/7"
    assert answer.json["requestContext"]["domainName"] == routed.host


def test_the_endpoint_in_the_apis_answer_works(routed: Api) -> None:
    endpoint = routed.world.gateway.get_api(ApiId=routed.id)["ApiEndpoint"]
    assert send(endpoint + "/items/7").json["pathParameters"] == {"id": "7"}


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [
        ("/items/7", "GET", 200),
        ("/items/7", "POST", 404),
        ("/items/7/", "GET", 404),
        ("/items/", "GET", 404),
        ("/Items/7", "GET", 404),
        ("/files/a/b", "DELETE", 200),
        ("/files", "GET", 404),
        ("/", "GET", 200),
        ("/?x", "GET", 200),
        ("/none", "GET", 404),
        ("/bare", "GET", 500),
    ],
)
def test_routing(routed: Api, path: str, method: str, status: int) -> None:
    answer = routed.send(path, method)
    assert answer.status == status
    if status == 404:
        assert (answer.body, answer.header("content-type")) == (b'{"message":"Not Found"}', "application/json")
    if status == 500:
        assert answer.body == b'{"message":"Internal Server Error"}'


@pytest.mark.parametrize(
    ("path", "proxy"),
    [
        ("/files/../items/7", "../items/7"),
        ("/files/%2e%2e/items/7", "../items/7"),
        ("/files/..%2Fitems%2F7", "../items/7"),
        ("/files//etc/passwd", "/etc/passwd"),
        ("/files/a%00b", "a\0b"),
        ("/files/%c0%ae%c0%ae/x", "\ufffd\ufffd\ufffd\ufffd/x"),
        ("/files/" + "../" * 500 + "x", "../" * 500 + "x"),
    ],
)
def test_path_traversal_ends_in_a_parameter(routed: Api, path: str, proxy: str) -> None:
    """The path is what the client wrote; it leads to no other route, and the function sees all of it."""
    event = routed.send(path).json
    assert event["routeKey"] == "ANY /files/{proxy+}"
    assert event["pathParameters"] == {"proxy": proxy}


@pytest.mark.parametrize(
    "host", ["nothere123.execute-api.us-east-1.localhost", ".execute-api.us-east-1.localhost", "a.b.execute-api.x"]
)
def test_an_unknown_api(world: World, host: str) -> None:
    answer = send(world.url + "/x", host=host)
    assert (answer.status, answer.body) == (404, b'{"message":"Not Found"}')
    assert send(world.url + "/_aws/execute-api/nothere123/x").status == 404


def test_signed_for_whatever_a_request_to_an_api_is_the_apis(routed: Api) -> None:
    """What reaches an API's host is its function's: signatures and targets of other services among it."""
    signed = (
        "AWS4-HMAC-SHA256 Credential=123456789012/20260101/us-east-1/dynamodb/aws4_request, SignedHeaders=host, Signature="
        + "0" * 64
    )
    headers = {
        "Authorization": signed,
        "X-Amz-Target": "DynamoDB_20120810.ListTables",
        "Content-Type": "application/x-amz-json-1.0",
    }
    for answer in (
        routed.send("/files/x", "POST", headers=headers, body=b"{}"),
        send(f"{routed.world.url}/_aws/execute-api/{routed.id}/files/x", "POST", headers=headers, body=b"{}"),
    ):
        assert answer.json["headers"]["x-amz-target"] == "DynamoDB_20120810.ListTables"
        assert answer.json["headers"]["authorization"] == signed


# Answers


def answered(api: Api, path: str, value: Any) -> Any:
    return api.send(path, "POST", headers={"Content-Type": "application/json"}, body=json.dumps(value).encode())


@pytest.mark.parametrize(
    ("value", "status", "body", "content_type"),
    [
        ({"statusCode": 201, "body": "x", "headers": {"Content-Type": "text/plain"}}, 201, b"x", "text/plain"),
        ({"statusCode": "418"}, 418, b"", "application/json"),
        ({"statusCode": 200, "body": "AP8=", "isBase64Encoded": True}, 200, b"\x00\xff", "application/json"),
        ({"a": [1, "b c"]}, 200, b'{"a":[1,"b c"]}', "application/json"),
        ([1, 2], 200, b"[1,2]", "application/json"),
        ("text", 200, b"text", "application/json"),
        (3, 200, b"3", "application/json"),
        (None, 200, b"null", "application/json"),
        ({"statusCode": 204}, 204, b"", "application/json"),
    ],
)
def test_what_a_function_answers_in_2(answering: Api, value: Any, status: int, body: bytes, content_type: str) -> None:
    answer = answered(answering, "/two", value)
    assert (answer.status, answer.body, answer.header("content-type")) == (status, body, content_type)


def test_cookies_and_headers_of_2(answering: Api) -> None:
    value = {
        "statusCode": 200,
        "cookies": ["a=1; Path=/", "b=2"],
        "headers": {"X-A": "1", "Date": "x", "Content-Length": "99", "Connection": "close"},
    }
    answer = answered(answering, "/two", value)
    assert answer.all("set-cookie") == ["a=1; Path=/", "b=2"]
    assert answer.header("x-amzn-remapped-content-length") == "99"
    assert (answer.header("x-amzn-remapped-date"), answer.header("content-length")) == ("x", "0")


NONSENSE: list[Any] = [
    {"statusCode": "abc"},
    {"statusCode": 99},
    {"statusCode": 1000},
    {"statusCode": {}},
    {"statusCode": 200, "body": {"a": 1}},
    {"statusCode": 200, "headers": []},
    {"statusCode": 200, "headers": {"a": {}}},
    {"statusCode": 200, "headers": {"x-a": "1\r\nset-cookie: evil=1"}},
    {"statusCode": 200, "headers": {"x-a\r\nset-cookie": "evil=1"}},
    {"statusCode": 200, "headers": {"x-a": "1\n\nevil"}},
    {"statusCode": 200, "headers": {"": "1"}},
    {"statusCode": 200, "body": "!", "isBase64Encoded": True},
]


@pytest.mark.parametrize("value", NONSENSE, ids=json.dumps)
@pytest.mark.parametrize("path", ["/two", "/one"])
def test_nonsense_is_a_500_and_injects_nothing(answering: Api, path: str, value: Any) -> None:
    answer = answered(answering, path, value)
    assert (answer.status, answer.body) == (500, b'{"message":"Internal Server Error"}')
    assert answer.header("set-cookie") is None


@pytest.mark.parametrize(
    "value", [{"a": 1}, "text", None, [1], {"statusCode": 200, "multiValueHeaders": {"a": "1"}}], ids=json.dumps
)
def test_what_payload_1_does_not_take(answering: Api, value: Any) -> None:
    answer = answered(answering, "/one", value)
    assert (answer.status, answer.body) == (500, b'{"message":"Internal Server Error"}')


def test_many_values_of_1(answering: Api) -> None:
    value = {
        "statusCode": 200,
        "headers": {"x": "solo"},
        "multiValueHeaders": {"Set-Cookie": ["a=1", "b=2"], "x": ["multi"]},
    }
    answer = answered(answering, "/one", value)
    assert (answer.all("set-cookie"), answer.all("x")) == (["a=1", "b=2"], ["multi", "solo"])


@pytest.mark.parametrize("value", ["raise", "exit"])
def test_a_function_that_fails(answering: Api, value: str) -> None:
    answer = answered(answering, "/two", value)
    assert (answer.status, answer.body) == (500, b'{"message":"Internal Server Error"}')


def test_a_function_that_takes_too_long_for_its_integration(answering: Api) -> None:
    answer = answered(answering, "/short", "sleep")
    assert (answer.status, answer.body) == (503, b'{"message":"Service Unavailable"}')


def test_the_answer_to_head_has_no_body(routed: Api) -> None:
    answer = routed.send("/files/x", "HEAD")
    assert (answer.status, answer.body) == (200, b"")
    assert int(answer.header("content-length") or 0) > 100


# Bodies


def test_ten_megabytes_and_no_more(world: World, echo: str) -> None:
    with world.api() as api:
        api.route("$default", api.integrate(echo))
        answer = api.send("/x", "POST", body=b"x" * 10_485_761)
        assert (answer.status, answer.body) == (413, b'{"message":"Request Entity Too Large"}')
        answer = api.send("/x", "POST", headers={"Content-Type": "text/plain"}, body=b"x" * 6_500_000)
        assert answer.status == 413, "an invocation takes six megabytes"


# Stages


def test_named_stages_stand_in_front_of_the_path(world: World, echo: str) -> None:
    with world.api() as api:
        api.route("GET /x", api.integrate(echo))
        deployment = world.gateway.create_deployment(ApiId=api.id)["DeploymentId"]
        world.gateway.create_stage(
            ApiId=api.id, StageName="prod", DeploymentId=deployment, StageVariables={"colour": "red"}
        )
        event = api.send("/prod/x").json
        assert (event["rawPath"], event["requestContext"]["http"]["path"]) == ("/prod/x", "/prod/x")
        assert (event["requestContext"]["stage"], event["stageVariables"]) == ("prod", {"colour": "red"})
        event = api.send("/x").json
        assert event["requestContext"]["stage"] == "$default"
        assert "stageVariables" not in event
        api.route("GET /y", api.integrate(echo))
        assert (api.send("/y").status, api.send("/prod/y").status) == (200, 404), "only one deploys by itself"
        world.gateway.create_deployment(ApiId=api.id, StageName="prod")
        assert api.send("/prod/y").status == 200
        world.gateway.delete_stage(ApiId=api.id, StageName="$default")
        assert (api.send("/x").status, api.send("/prod/x").status) == (404, 200)


def test_a_stage_variable_names_the_function(world: World, echo: str) -> None:
    with world.function("def handler(e, c): return 'other'") as other, world.api(stage=None) as api:
        prefix, _, _ = echo.rpartition(":")
        api.route("GET /x", api.integrate(prefix + ":${stageVariables.fn}"))
        for stage, arn in (("a", echo), ("b", other), ("c", None)):
            variables = {} if arn is None else {"fn": arn.rpartition(":")[2]}
            world.gateway.create_stage(ApiId=api.id, StageName=stage, AutoDeploy=True, StageVariables=variables)
        assert api.send("/a/x").json["version"] == "2.0"
        assert api.send("/b/x").body == b"other"
        assert api.send("/c/x").status == 500


def test_the_execute_endpoint_can_be_switched_off(world: World, echo: str) -> None:
    with world.api(DisableExecuteApiEndpoint=True) as api:
        api.route("GET /x", api.integrate(echo))
        answer = api.send("/x")
        assert (answer.status, answer.body) == (404, b'{"message":"Not Found"}')
        world.gateway.update_api(ApiId=api.id, DisableExecuteApiEndpoint=False)
        assert api.send("/x").status == 200


def test_apis_are_there_after_a_restart_and_gone_after_deletion(tmp_path: Any) -> None:
    first = start_server(tmp_path / "data")
    gateway = client("apigatewayv2", first.url, account=ACCOUNT)
    api = gateway.create_api(
        Name="kept", ProtocolType="HTTP", Target=f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:none"
    )
    certificate = {"CertificateArn": "arn:aws:acm:us-east-1:1:certificate/x"}
    gateway.create_domain_name(DomainName="kept.example", DomainNameConfigurations=[certificate])
    gateway.create_api_mapping(DomainName="kept.example", ApiId=api["ApiId"], Stage="$default")
    gateway.close()
    assert first.stop() == 0
    second = start_server(tmp_path / "data")
    # The first request about any API, by a name that only the store knows.
    assert send(second.url + "/x", host="kept.example").json == {"message": "Internal Server Error"}
    assert send(second.url + "/x", host="other.example").status == 404
    gateway = client("apigatewayv2", second.url, account=ACCOUNT)
    assert [one["Name"] for one in gateway.get_apis()["Items"]] == ["kept"]
    host = f"{api['ApiId']}.execute-api.us-east-1.localhost"
    assert send(second.url + "/x", host=host).status == 500, "found, and its function is not there"
    gateway.delete_domain_name(DomainName="kept.example")
    gateway.delete_api(ApiId=api["ApiId"])
    assert send(second.url + "/x", host=host).status == 404
    gateway.close()
    assert second.stop() == 0


# Permissions


@pytest.mark.parametrize(
    ("rest", "status"),
    [
        ("*/*", 200),
        ("*/*/*", 200),
        ("*/GET/x/{id}", 200),
        ("$default/GET/x/{id}", 200),
        ("*/*/x/*", 200),
        ("prod/*/*", 500),
        ("*/POST/x/{id}", 500),
        ("*/$default", 500),
    ],
)
def test_the_functions_policy_decides(world: World, rest: str, status: int) -> None:
    with world.function(RAW, is_open=False) as arn, world.api() as api:
        api.route("GET /x/{id}", api.integrate(arn))
        assert api.send("/x/7").status == 500, "nobody has let the gateway in"
        world.permit(arn, api.arn(rest))
        answer = api.send("/x/7")
        assert answer.status == status, answer.body


def test_other_conditions_of_the_policy(world: World) -> None:
    with world.function(RAW, is_open=False) as arn, world.api() as api:
        api.route("$default", api.integrate(arn))
        world.permit(arn, SourceAccount="210987654321")
        world.permit(arn, api.arn("*").replace(api.id, "another123"))
        assert api.send("/x").status == 500
        world.permit(arn, api.arn("*/$default"), SourceAccount=ACCOUNT)
        assert api.send("/x").status == 200


def test_an_alias_has_its_own_policy_and_another_account_its_say(world: World) -> None:
    with world.function(RAW, is_open=False) as arn, world.api() as api:
        version = world.lambda_.publish_version(FunctionName=arn)["Version"]
        world.lambda_.create_alias(FunctionName=arn, Name="live", FunctionVersion=version)
        api.route("$default", api.integrate(f"{arn}:live"))
        assert api.send("/x").status == 500
        world.permit(f"{arn}:live", api.arn("*"))
        assert api.send("/x").status == 200
    stranger = client("apigatewayv2", world.url, account="210987654321")
    with world.function(RAW, is_open=False) as arn:
        made = stranger.create_api(Name="x", ProtocolType="HTTP", Target=arn)
        host = f"{made['ApiId']}.execute-api.us-east-1.localhost"
        assert send(world.url + "/x", host=host).status == 500
        world.permit(arn, f"arn:aws:execute-api:us-east-1:210987654321:{made['ApiId']}/*")
        assert send(world.url + "/x", host=host).status == 200
    assert send(world.url + "/x", host=host).status == 500, "the function is gone"
    stranger.delete_api(ApiId=made["ApiId"])
    stranger.close()


def test_no_concurrency_is_left(world: World) -> None:
    with world.function(RAW) as arn, world.api() as api:
        api.route("$default", api.integrate(arn))
        world.lambda_.put_function_concurrency(FunctionName=arn, ReservedConcurrentExecutions=0)
        answer = api.send("/x")
        assert (answer.status, answer.body) == (503, b'{"message":"Service Unavailable"}')


def test_a_server_that_ends_answers_what_runs_through_an_api(tmp_path: Any, backend: Backend) -> None:
    """The function tells the backend that it has begun, and ends when the server has been told to."""
    running = start_server(tmp_path / "data", "--set", f"network.allow=127.0.0.1:{backend.port}")
    made = [client(name, running.url, account=ACCOUNT) for name in ("apigatewayv2", "lambda")]
    own = World(running.url, *made, None)
    code = f"""
import time, urllib.request
def handler(event, context):
    urllib.request.urlopen("{backend.url}/begun").read()
    time.sleep(1)
    return "done"
"""
    name = own.lambda_.create_function(
        FunctionName="slow",
        Runtime=PYTHON_RUNTIME,
        Handler="app.handler",
        Role="arn:aws:iam::123456789012:role/r",
        Code={"ZipFile": package({"app.py": code})},
        Timeout=30,
    )["FunctionName"]
    own.lambda_.get_waiter("function_active_v2").wait(FunctionName=name)
    own.permit(name)
    target = f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:slow"
    api = own.gateway.create_api(Name="x", ProtocolType="HTTP", Target=target)
    for one in made:
        one.close()
    host = f"{api['ApiId']}.execute-api.us-east-1.localhost"
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(send, running.url + "/x", host=host)
        while "/begun" not in backend.asked and not answer.done():
            time.sleep(0.01)
        assert running.stop() == 0
        assert (answer.result().status, answer.result().body) == (200, b"done")
