"""HTTP APIs by the calls that deployment tools make, answered at the end by real functions.

CloudFormation is not here, so what it would call for SAM's, CDK's and Serverless's templates is called as it would.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from tests import support

ACCOUNT = "123456789012"
CODE = """
import json
def handler(event, context):
    return {"statusCode": 200, "body": json.dumps([event["routeKey"], event.get("pathParameters")])}
"""


@pytest.fixture(scope="module")
def lambda_(endpoint: str) -> Iterator[Any]:
    made = support.client("lambda", endpoint, account=ACCOUNT)
    made.list_functions()
    yield made
    made.close()


@pytest.fixture(scope="module")
def function(lambda_: Any) -> Iterator[str]:
    with support.function(lambda_, CODE) as name:
        yield lambda_.get_function_configuration(FunctionName=name)["FunctionArn"]


def get(url: str, method: str = "GET", headers: dict[str, str] | None = None) -> tuple[int, Any]:
    request = urllib.request.Request(url, method=method, headers=headers or {})
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, json.loads(answer.read() or b"null")
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read() or b"null")


def permit(lambda_: Any, function: str, source: str) -> None:
    lambda_.add_permission(
        FunctionName=function,
        StatementId=support.unique("s"),
        Action="lambda:InvokeFunction",
        Principal="apigateway.amazonaws.com",
        SourceArn=source,
    )


def test_sam(gateway: Any, lambda_: Any, function: str) -> None:
    """AWS::ApiGatewayV2::Api with a Body, AWS::ApiGatewayV2::Stage, and a permission for each event."""
    uri = f"arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/{function}/invocations"
    integration = {"type": "aws_proxy", "httpMethod": "POST", "uri": uri, "payloadFormatVersion": "2.0"}
    operation = {"x-amazon-apigateway-integration": integration, "responses": {}}
    body = {
        "openapi": "3.0.1",
        "info": {"version": "1.0", "title": "sam-app"},
        "paths": {"/hello/{name}": {"get": operation}, "/$default": {"x-amazon-apigateway-any-method": {**operation, "isDefaultRoute": True}}},
        "tags": [{"name": "httpapi:createdBy", "x-amazon-apigateway-tag-value": "SAM"}],
    }  # fmt: skip
    api = gateway.import_api(Body=json.dumps(body), FailOnWarnings=True)
    gateway.tag_resource(ResourceArn=f"arn:aws:apigateway:us-east-1::/apis/{api['ApiId']}", Tags={"aws-stack": "x"})
    gateway.create_stage(ApiId=api["ApiId"], StageName="$default", AutoDeploy=True, Tags={"httpapi:createdBy": "SAM"})
    arn = f"arn:aws:execute-api:us-east-1:{ACCOUNT}:{api['ApiId']}"
    permit(lambda_, function, f"{arn}/*/GET/hello/*")
    permit(lambda_, function, f"{arn}/*/$default")
    assert get(api["ApiEndpoint"] + "/hello/me") == (200, ["GET /hello/{name}", {"name": "me"}])
    assert get(api["ApiEndpoint"] + "/other", "POST") == (200, ["$default", None])
    body["paths"]["/more"] = {"put": operation}  # type: ignore[index]
    gateway.reimport_api(ApiId=api["ApiId"], Body=json.dumps(body), FailOnWarnings=True)
    permit(lambda_, function, f"{arn}/*/PUT/more")
    assert get(api["ApiEndpoint"] + "/more", "PUT") == (200, ["PUT /more", None])
    gateway.delete_stage(ApiId=api["ApiId"], StageName="$default")
    gateway.delete_api(ApiId=api["ApiId"])


def test_serverless(gateway: Any, lambda_: Any, function: str) -> None:
    """Api, Stage, Integration, Route each by itself; CORS and a named function's permission."""
    cors = {
        "AllowCredentials": False,
        "AllowHeaders": ["Content-Type", "Authorization"],
        "AllowMethods": ["OPTIONS", "GET"],
        "AllowOrigins": ["*"],
    }
    api = gateway.create_api(Name="dev-app", ProtocolType="HTTP", CorsConfiguration=cors)
    given = {"ApiId": api["ApiId"]}
    gateway.create_stage(
        **given, StageName="$default", AutoDeploy=True, DefaultRouteSettings={"DetailedMetricsEnabled": False}
    )
    integration = gateway.create_integration(
        **given,
        IntegrationType="AWS_PROXY",
        IntegrationUri=function,
        PayloadFormatVersion="2.0",
        TimeoutInMillis=30_000,
    )["IntegrationId"]
    for key in ("GET /users/{id}", "ANY /files/{proxy+}"):
        gateway.create_route(**given, RouteKey=key, Target=f"integrations/{integration}")
    permit(lambda_, function, f"arn:aws:execute-api:us-east-1:{ACCOUNT}:{api['ApiId']}/*")
    assert get(api["ApiEndpoint"] + "/users/7") == (200, ["GET /users/{id}", {"id": "7"}])
    assert get(api["ApiEndpoint"] + "/files/a/b", "PUT") == (200, ["ANY /files/{proxy+}", {"proxy": "a/b"}])
    headers = {"Origin": "https://a.example", "Access-Control-Request-Method": "GET"}
    assert get(api["ApiEndpoint"] + "/users/7", "OPTIONS", headers) == (204, None)
    for route in gateway.get_routes(**given)["Items"]:
        gateway.delete_route(**given, RouteId=route["RouteId"])
    gateway.delete_integration(**given, IntegrationId=integration)
    gateway.delete_stage(**given, StageName="$default")
    gateway.delete_api(**given)


def test_cdk(gateway: Any, lambda_: Any, function: str) -> None:
    """HttpApi with a default integration, one route with an authorizer, and a domain name."""
    api = gateway.create_api(Name="HttpApi", ProtocolType="HTTP")
    given = {"ApiId": api["ApiId"]}
    integration = gateway.create_integration(
        **given, IntegrationType="AWS_PROXY", IntegrationUri=function, PayloadFormatVersion="2.0"
    )["IntegrationId"]
    authorizer = gateway.create_authorizer(
        **given,
        Name="iamless",
        AuthorizerType="JWT",
        IdentitySource=["$request.header.Authorization"],
        JwtConfiguration={"Audience": ["a"], "Issuer": "https://issuer.example"},
    )["AuthorizerId"]
    gateway.create_route(**given, RouteKey="$default", Target=f"integrations/{integration}", AuthorizationType="NONE")
    gateway.create_route(
        **given,
        RouteKey="GET /private",
        Target=f"integrations/{integration}",
        AuthorizationType="JWT",
        AuthorizerId=authorizer,
    )
    gateway.create_stage(**given, StageName="$default", AutoDeploy=True)
    permit(lambda_, function, f"arn:aws:execute-api:us-east-1:{ACCOUNT}:{api['ApiId']}/*/*")
    permit(lambda_, function, f"arn:aws:execute-api:us-east-1:{ACCOUNT}:{api['ApiId']}/*/*/private")
    assert get(api["ApiEndpoint"] + "/x") == (200, ["$default", None])
    assert get(api["ApiEndpoint"] + "/private") == (401, {"message": "Unauthorized"})
    gateway.delete_api(**given)


def test_the_cli(endpoint: str, function: str, lambda_: Any) -> None:
    """The AWS CLI's quick create, as its documentation shows it."""
    import os
    import subprocess
    import sys

    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")} | {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": ACCOUNT,
        "AWS_SECRET_ACCESS_KEY": "x",
        "AWS_DEFAULT_REGION": "us-east-1",
    }

    def aws(*arguments: str) -> Any:
        command = [sys.executable, "-m", "awscli", "apigatewayv2", *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout or "null")

    api = aws("create-api", "--name", "my-api", "--protocol-type", "HTTP", "--target", function)
    permit(lambda_, function, f"arn:aws:execute-api:us-east-1:{ACCOUNT}:{api['ApiId']}/*/$default")
    assert get(api["ApiEndpoint"]) == (200, ["$default", None])
    assert [one["RouteKey"] for one in aws("get-routes", "--api-id", api["ApiId"])["Items"]] == ["$default"]
    aws("delete-api", "--api-id", api["ApiId"])
