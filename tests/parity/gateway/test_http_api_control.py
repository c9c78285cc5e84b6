"""The control operations of HTTP APIs through boto3: each member there and back, pages, refusals, what is not served."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator
from typing import Any

import botocore.session
import pytest
from botocore.exceptions import ClientError
from botocore.model import OperationModel
from tests.support import client

from lambent.api.resources import http_apis

ACCOUNT = "123456789012"
FUNCTION = f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:f"
URI = f"arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/{FUNCTION}/invocations"
CERTIFICATE = f"arn:aws:acm:us-east-1:{ACCOUNT}:certificate/x"
GROUP = f"arn:aws:logs:us-east-1:{ACCOUNT}:log-group:g"


def bare(answer: dict[str, Any], *without: str) -> dict[str, Any]:
    """An answer without what every answer has, and without the members named."""
    return {name: value for name, value in answer.items() if name not in ("ResponseMetadata", *without)}


def status(answer: dict[str, Any]) -> int:
    return int(answer["ResponseMetadata"]["HTTPStatusCode"])


def refused(call: Any, **options: Any) -> tuple[int, str, str]:
    with pytest.raises(ClientError) as raised:
        call(**options)
    error = raised.value.response
    return error["ResponseMetadata"]["HTTPStatusCode"], error["Error"]["Code"], error["Error"]["Message"]


# APIs


def test_an_api_there_and_back(gateway: Any) -> None:
    cors = {
        "AllowCredentials": True,
        "AllowHeaders": ["x-a"],
        "AllowMethods": ["GET", "*"],
        "AllowOrigins": ["https://a.example"],
        "ExposeHeaders": ["x-b"],
        "MaxAge": -1,
    }
    given = {
        "Name": "whole",
        "ProtocolType": "HTTP",
        "Description": "d",
        "Version": "v",
        "CorsConfiguration": cors,
        "DisableExecuteApiEndpoint": True,
        "Tags": {"a": "b"},
        "IpAddressType": "dualstack",
        "RouteSelectionExpression": "$request.method $request.path",
        "ApiKeySelectionExpression": "$request.header.x-api-key",
    }
    made = gateway.create_api(**given)
    assert status(made) == 201
    assert isinstance(made["CreatedDate"], datetime.datetime)
    assert made["ApiId"] in made["ApiEndpoint"]
    assert len(made["ApiId"]) == 10
    assert bare(made, "ApiId", "ApiEndpoint", "CreatedDate") == given
    found = gateway.get_api(ApiId=made["ApiId"])
    assert bare(found) == bare(made)
    assert bare(made) in gateway.get_apis()["Items"]
    changed = gateway.update_api(ApiId=made["ApiId"], Name="other", CorsConfiguration={"AllowOrigins": ["*"]})
    assert bare(changed) == bare(made) | {"Name": "other", "CorsConfiguration": {"AllowOrigins": ["*"]}}
    assert status(gateway.delete_cors_configuration(ApiId=made["ApiId"])) == 204
    assert "CorsConfiguration" not in gateway.get_api(ApiId=made["ApiId"])
    assert status(gateway.delete_api(ApiId=made["ApiId"])) == 204
    code = 404, "NotFoundException", f"Invalid API identifier specified {made['ApiId']}"
    assert refused(gateway.get_api, ApiId=made["ApiId"]) == code
    assert refused(gateway.delete_api, ApiId=made["ApiId"]) == code


def test_quick_create(gateway: Any) -> None:
    made = gateway.create_api(
        Name="quick", ProtocolType="HTTP", Target=URI, RouteKey="GET /x", CredentialsArn="arn:aws:iam::1:role/r"
    )
    (route,) = gateway.get_routes(ApiId=made["ApiId"])["Items"]
    (integration,) = gateway.get_integrations(ApiId=made["ApiId"])["Items"]
    (stage,) = gateway.get_stages(ApiId=made["ApiId"])["Items"]
    assert (route["RouteKey"], route["Target"]) == ("GET /x", f"integrations/{integration['IntegrationId']}")
    assert (integration["PayloadFormatVersion"], integration["CredentialsArn"]) == ("2.0", "arn:aws:iam::1:role/r")
    assert (stage["StageName"], stage["AutoDeploy"], stage["ApiGatewayManaged"]) == ("$default", True, True)
    gateway.update_api(ApiId=made["ApiId"], Target=FUNCTION)
    assert gateway.get_integrations(ApiId=made["ApiId"])["Items"][0]["IntegrationUri"] == FUNCTION
    gateway.delete_api(ApiId=made["ApiId"])


# Parts


def test_a_route_there_and_back(gateway: Any, api: str) -> None:
    integration = gateway.create_integration(ApiId=api, IntegrationType="AWS_PROXY", IntegrationUri=URI)[
        "IntegrationId"
    ]
    authorizer = gateway.create_authorizer(
        ApiId=api,
        Name="a",
        AuthorizerType="JWT",
        IdentitySource=["$request.header.Authorization"],
        JwtConfiguration={"Issuer": "https://i.example", "Audience": ["a"]},
    )["AuthorizerId"]
    given = {
        "RouteKey": "GET /a/{b}",
        "Target": f"integrations/{integration}",
        "AuthorizationType": "JWT",
        "AuthorizerId": authorizer,
        "AuthorizationScopes": ["s"],
        "OperationName": "op",
    }
    made = gateway.create_route(ApiId=api, **given)
    assert status(made) == 201
    assert bare(made, "RouteId") == {**given, "ApiKeyRequired": False}
    assert bare(gateway.get_route(ApiId=api, RouteId=made["RouteId"])) == bare(made)
    changed = gateway.update_route(
        ApiId=api, RouteId=made["RouteId"], RouteKey="PUT /c", AuthorizationScopes=["t", "u"]
    )
    assert bare(changed) == bare(made) | {"RouteKey": "PUT /c", "AuthorizationScopes": ["t", "u"]}
    assert gateway.get_routes(ApiId=api)["Items"] == [bare(changed)]
    assert status(gateway.delete_route(ApiId=api, RouteId=made["RouteId"])) == 204
    assert gateway.get_routes(ApiId=api)["Items"] == []


def test_integrations_there_and_back(gateway: Any, api: str) -> None:
    for given in (
        {
            "IntegrationType": "AWS_PROXY",
            "IntegrationUri": URI,
            "IntegrationMethod": "POST",
            "PayloadFormatVersion": "2.0",
            "TimeoutInMillis": 50,
            "Description": "d",
            "CredentialsArn": "arn:aws:iam::1:role/r",
            "ConnectionType": "INTERNET",
        },
        {
            "IntegrationType": "HTTP_PROXY",
            "IntegrationUri": "https://h.example/{proxy}",
            "IntegrationMethod": "ANY",
            "PayloadFormatVersion": "1.0",
            "TimeoutInMillis": 30_000,
            "ConnectionType": "INTERNET",
            "RequestParameters": {"append:header.a": "1"},
            "ResponseParameters": {"200": {"overwrite:statuscode": "201"}},
            "TlsConfig": {"ServerNameToVerify": "h2.example"},
        },
    ):
        made = gateway.create_integration(ApiId=api, **given)
        assert status(made) == 201
        assert bare(made, "IntegrationId") == given
        assert bare(gateway.get_integration(ApiId=api, IntegrationId=made["IntegrationId"])) == bare(made)
        changed = gateway.update_integration(ApiId=api, IntegrationId=made["IntegrationId"], TimeoutInMillis=60)
        assert bare(changed) == bare(made) | {"TimeoutInMillis": 60}
        assert gateway.get_integrations(ApiId=api)["Items"] == [bare(changed)]
        assert status(gateway.delete_integration(ApiId=api, IntegrationId=made["IntegrationId"])) == 204


def test_authorizers_there_and_back(gateway: Any, api: str) -> None:
    for given in (
        {
            "AuthorizerType": "JWT",
            "Name": "j",
            "IdentitySource": ["$request.querystring.t"],
            "JwtConfiguration": {"Audience": ["a", "b"], "Issuer": "https://i.example"},
        },
        {
            "AuthorizerType": "REQUEST",
            "Name": "r",
            "IdentitySource": ["$request.header.a", "$context.routeKey"],
            "AuthorizerUri": URI,
            "AuthorizerPayloadFormatVersion": "2.0",
            "AuthorizerResultTtlInSeconds": 60,
            "EnableSimpleResponses": True,
            "AuthorizerCredentialsArn": "arn:aws:iam::1:role/r",
        },
    ):
        made = gateway.create_authorizer(ApiId=api, **given)
        assert status(made) == 201
        assert bare(made, "AuthorizerId") == given
        assert bare(gateway.get_authorizer(ApiId=api, AuthorizerId=made["AuthorizerId"])) == bare(made)
        changed = gateway.update_authorizer(ApiId=api, AuthorizerId=made["AuthorizerId"], Name="other")
        assert bare(changed) == bare(made) | {"Name": "other"}
        assert gateway.get_authorizers(ApiId=api)["Items"] == [bare(changed)]
        assert status(gateway.delete_authorizer(ApiId=api, AuthorizerId=made["AuthorizerId"])) == 204


def test_stages_and_deployments_there_and_back(gateway: Any, api: str) -> None:
    assert refused(gateway.create_deployment, ApiId=api) == (
        400,
        "BadRequestException",
        "Unable to deploy API because no routes exist in this API",
    )
    gateway.create_route(ApiId=api, RouteKey="GET /a")
    deployment = gateway.create_deployment(ApiId=api, Description="first")
    assert status(deployment) == 201
    assert bare(deployment, "DeploymentId", "CreatedDate") == {
        "AutoDeployed": False,
        "DeploymentStatus": "DEPLOYED",
        "Description": "first",
    }
    given = {
        "StageName": "prod",
        "DeploymentId": deployment["DeploymentId"],
        "Description": "d",
        "DefaultRouteSettings": {"DetailedMetricsEnabled": True, "ThrottlingBurstLimit": 5, "ThrottlingRateLimit": 2.5},
        "RouteSettings": {"GET /a": {"ThrottlingBurstLimit": 0}},
        "StageVariables": {"v": "1"},
        "AccessLogSettings": {"DestinationArn": GROUP, "Format": "$context.requestId"},
        "Tags": {"t": "1"},
    }
    made = gateway.create_stage(ApiId=api, **given)
    assert status(made) == 201
    assert bare(made, "CreatedDate", "LastUpdatedDate") == {**given, "AutoDeploy": False}
    assert bare(gateway.get_stage(ApiId=api, StageName="prod")) == bare(made)
    second = gateway.create_deployment(ApiId=api, StageName="prod")
    assert gateway.get_stage(ApiId=api, StageName="prod")["DeploymentId"] == second["DeploymentId"]
    changed = gateway.update_stage(ApiId=api, StageName="prod", StageVariables={"w": "2"}, Description="e")
    assert (changed["StageVariables"], changed["Description"]) == ({"v": "1", "w": "2"}, "e")
    assert status(gateway.delete_access_log_settings(ApiId=api, StageName="prod")) == 204
    assert status(gateway.delete_route_settings(ApiId=api, StageName="prod", RouteKey="GET /a")) == 204
    found = gateway.get_stage(ApiId=api, StageName="prod")
    assert ("AccessLogSettings" in found, found["RouteSettings"]) == (False, {})
    assert gateway.get_stages(ApiId=api)["Items"] == [bare(found)]
    assert {one["DeploymentId"] for one in gateway.get_deployments(ApiId=api)["Items"]} == {
        deployment["DeploymentId"],
        second["DeploymentId"],
    }
    renamed = gateway.update_deployment(ApiId=api, DeploymentId=deployment["DeploymentId"], Description="x")
    assert bare(gateway.get_deployment(ApiId=api, DeploymentId=deployment["DeploymentId"])) == bare(renamed)
    assert status(gateway.delete_deployment(ApiId=api, DeploymentId=deployment["DeploymentId"])) == 204
    auto = gateway.create_stage(ApiId=api, StageName="$default", AutoDeploy=True)
    assert auto["LastDeploymentStatusMessage"].startswith("Successfully deployed stage with deployment ID '")
    gateway.create_route(ApiId=api, RouteKey="GET /b")
    assert gateway.get_stage(ApiId=api, StageName="$default")["DeploymentId"] != auto["DeploymentId"]
    for name in ("prod", "$default"):
        assert status(gateway.delete_stage(ApiId=api, StageName=name)) == 204


@pytest.fixture
def domain(gateway: Any) -> Iterator[str]:
    name = "control.example.com"
    gateway.create_domain_name(
        DomainName=name, DomainNameConfigurations=[{"CertificateArn": CERTIFICATE}], Tags={"a": "b"}
    )
    yield name
    gateway.delete_domain_name(DomainName=name)


def test_domain_names_and_mappings_there_and_back(gateway: Any, api: str, domain: str) -> None:
    found = gateway.get_domain_name(DomainName=domain)
    (configuration,) = found.pop("DomainNameConfigurations")
    assert configuration.pop("ApiGatewayDomainName").endswith(".execute-api.us-east-1.amazonaws.com")
    assert configuration == {
        "CertificateArn": CERTIFICATE,
        "EndpointType": "REGIONAL",
        "IpAddressType": "ipv4",
        "SecurityPolicy": "TLS_1_2",
        "DomainNameStatus": "AVAILABLE",
        "HostedZoneId": configuration["HostedZoneId"],
    }
    assert bare(found) == {
        "DomainName": domain,
        "DomainNameArn": f"arn:aws:apigateway:us-east-1::/domainnames/{domain}",
        "ApiMappingSelectionExpression": "$request.basepath",
        "RoutingMode": "API_MAPPING_ONLY",
        "Tags": {"a": "b"},
    }
    changed = gateway.update_domain_name(
        DomainName=domain, DomainNameConfigurations=[{"CertificateArn": CERTIFICATE + "y", "SecurityPolicy": "TLS_1_2"}]
    )
    assert changed["DomainNameConfigurations"][0]["CertificateArn"] == CERTIFICATE + "y"
    assert domain in [one["DomainName"] for one in gateway.get_domain_names()["Items"]]
    gateway.create_stage(ApiId=api, StageName="prod")
    made = gateway.create_api_mapping(DomainName=domain, ApiId=api, Stage="prod", ApiMappingKey="a/b")
    assert status(made) == 201
    assert bare(made, "ApiMappingId") == {"ApiId": api, "Stage": "prod", "ApiMappingKey": "a/b"}
    mapping = {"DomainName": domain, "ApiMappingId": made["ApiMappingId"]}
    assert bare(gateway.get_api_mapping(**mapping)) == bare(made)
    assert refused(gateway.create_api_mapping, DomainName=domain, ApiId=api, Stage="prod", ApiMappingKey="a/b") == (
        409,
        "ConflictException",
        "ApiMapping key already exists for this domain name",
    )
    assert refused(gateway.create_api_mapping, DomainName=domain, ApiId=api, Stage="none")[0] == 404
    assert refused(gateway.create_api_mapping, DomainName=domain, ApiId=api, Stage="prod", ApiMappingKey="/a")[0] == 400
    changed = gateway.update_api_mapping(**mapping, ApiId=api, ApiMappingKey="c")
    assert gateway.get_api_mappings(DomainName=domain)["Items"] == [bare(changed)]
    assert refused(gateway.delete_stage, ApiId=api, StageName="prod") == (
        400,
        "BadRequestException",
        f"Deleting stage failed. Please remove all base path mappings related to it in your domains: {domain}",
    )
    assert status(gateway.delete_api_mapping(**mapping)) == 204
    assert (
        refused(gateway.get_api_mapping, **mapping)[2]
        == "The api mapping resource specified in the request was not found."
    )


def test_refused_domain_names(gateway: Any, domain: str) -> None:
    configurations = [{"CertificateArn": CERTIFICATE}]

    def create(name: str, given: Any = configurations, **more: Any) -> tuple[int, str, str]:
        return refused(gateway.create_domain_name, DomainName=name, DomainNameConfigurations=given, **more)

    assert create(domain) == (409, "ConflictException", "The domain name resource already exists.")
    for name in ("x", "-a.example", "a..b", "a b.example", "a.example/", "*", "*.*.example", "a" * 260 + ".example"):
        assert create(name) == (400, "BadRequestException", f"Invalid domain name identifier specified: {name}"), name
    assert create("a.example", [{}])[0] == 400
    assert create("a.example", [])[0] == 400
    assert create("a.example", [{"CertificateArn": CERTIFICATE, "EndpointType": "EDGE"}])[0] == 400
    assert create("a.example", MutualTlsAuthentication={"TruststoreUri": "s3://b/k"})[0] == 501
    assert create("a.example", RoutingMode="ROUTING_RULE_ONLY")[0] == 501
    assert refused(gateway.get_domain_name, DomainName="none.example") == (
        404,
        "NotFoundException",
        "The domain name resource specified in the request was not found.",
    )


def test_tags(gateway: Any, api: str, domain: str) -> None:
    gateway.create_stage(ApiId=api, StageName="prod")
    base = "arn:aws:apigateway:us-east-1::"
    for arn in (f"{base}/apis/{api}", f"{base}/apis/{api}/stages/prod", f"{base}/domainnames/{domain}"):
        gateway.untag_resource(ResourceArn=arn, TagKeys=["a"])
        assert (
            gateway.tag_resource(ResourceArn=arn, Tags={"x": "1", "y": "2"})["ResponseMetadata"]["HTTPStatusCode"]
            == 201
        )
        gateway.tag_resource(ResourceArn=arn, Tags={"y": "3"})
        assert gateway.get_tags(ResourceArn=arn)["Tags"] == {"x": "1", "y": "3"}
        assert status(gateway.untag_resource(ResourceArn=arn, TagKeys=["x", "none"])) == 204
        assert gateway.get_tags(ResourceArn=arn)["Tags"] == {"y": "3"}
        assert refused(gateway.tag_resource, ResourceArn=arn, Tags={"aws:x": "1"})[:2] == (400, "BadRequestException")
        many = {str(number): "" for number in range(51)}
        assert refused(gateway.tag_resource, ResourceArn=arn, Tags=many)[:2] == (400, "BadRequestException")
    for arn in (f"{base}/apis/none", f"{base}/vpclinks/x", "x", f"arn:aws:apigateway:eu-west-1::/apis/{api}"):
        assert refused(gateway.get_tags, ResourceArn=arn)[:2] == (404, "NotFoundException")


# Pages


def test_pages_of_every_size_are_the_list(gateway: Any, api: str) -> None:
    for number in range(5):
        gateway.create_route(ApiId=api, RouteKey=f"GET /{number}")
    whole = [one["RouteKey"] for one in gateway.get_routes(ApiId=api)["Items"]]
    assert len(whole) == 5
    for size in range(1, 7):
        pages = gateway.get_paginator("get_routes").paginate(ApiId=api, PaginationConfig={"PageSize": size})
        assert [one["RouteKey"] for page in pages for one in page["Items"]] == whole
    for value in ("0", "1001", "x", "-1", "9" * 30):
        assert refused(gateway.get_routes, ApiId=api, MaxResults=value)[:2] == (400, "BadRequestException")
    assert refused(gateway.get_routes, ApiId=api, NextToken="none")[2] == "Invalid nextToken"


# Refusals


@pytest.mark.parametrize(
    ("operation", "options", "expected"),
    [
        ("create_api", {"Name": "x", "ProtocolType": "WEBSOCKET"}, (501, "NotImplementedException")),
        ("create_api", {"Name": "x", "ProtocolType": "GRPC"}, (400, "BadRequestException")),
        ("create_api", {"Name": "", "ProtocolType": "HTTP"}, (400, "BadRequestException")),
        ("create_api", {"Name": "x" * 129, "ProtocolType": "HTTP"}, (400, "BadRequestException")),
        ("create_api", {"Name": "x", "ProtocolType": "HTTP", "RouteKey": "GET /"}, (400, "BadRequestException")),
        ("create_api", {"Name": "x", "ProtocolType": "HTTP", "DisableSchemaValidation": True}, (400, "BadRequestException")),
        ("create_api", {"Name": "x", "ProtocolType": "HTTP", "Target": "x"}, (400, "BadRequestException")),
        ("create_api", {"Name": "x", "ProtocolType": "HTTP", "Tags": {"aws:x": ""}}, (400, "BadRequestException")),
        ("create_route", {"RouteKey": "GET /", "ModelSelectionExpression": "x"}, (400, "BadRequestException")),
        ("create_integration", {"IntegrationType": "AWS_PROXY", "IntegrationUri": FUNCTION, "TimeoutInMillis": 49}, (400, "BadRequestException")),
        ("create_integration", {"IntegrationType": "AWS_PROXY", "IntegrationUri": FUNCTION, "TimeoutInMillis": 30_001}, (400, "BadRequestException")),
        ("create_integration", {"IntegrationType": "AWS_PROXY", "IntegrationSubtype": "SQS-SendMessage"}, (501, "NotImplementedException")),
        ("create_integration", {"IntegrationType": "HTTP_PROXY", "IntegrationUri": "http://h", "IntegrationMethod": "GET", "ConnectionType": "VPC_LINK"}, (501, "NotImplementedException")),
        ("create_authorizer", {"AuthorizerType": "REQUEST", "Name": "x", "IdentitySource": [], "AuthorizerUri": URI, "AuthorizerPayloadFormatVersion": "2.0", "AuthorizerResultTtlInSeconds": 3_601}, (400, "BadRequestException")),
        ("reset_authorizers_cache", {"StageName": "none"}, (404, "NotFoundException")),
        ("export_api", {"Specification": "OAS30", "OutputType": "XML"}, (400, "BadRequestException")),
        ("export_api", {"Specification": "OAS30", "OutputType": "JSON", "StageName": "none"}, (404, "NotFoundException")),
        ("export_api", {"Specification": "OAS30", "OutputType": "JSON", "ExportVersion": "2.0"}, (400, "BadRequestException")),
    ],
)  # fmt: skip
def test_refusals(gateway: Any, api: str, operation: str, options: dict[str, Any], expected: tuple[int, str]) -> None:
    given = options if operation == "create_api" else {"ApiId": api, **options}
    assert refused(getattr(gateway, operation), **given)[:2] == expected


def test_accounts_and_regions_see_nothing_of_each_other(gateway: Any, api: str, endpoint: str) -> None:
    for account, region in (("210987654321", "us-east-1"), (ACCOUNT, "eu-west-1")):
        other = client("apigatewayv2", endpoint, account=account, region=region)
        assert api not in [one["ApiId"] for one in other.get_apis()["Items"]]
        for call in (other.get_api, other.get_routes, other.delete_api):
            assert refused(call, ApiId=api)[:2] == (404, "NotFoundException")
        other.close()


def test_the_number_of_apis_is_bounded(endpoint: str) -> None:
    own = client("apigatewayv2", endpoint, account="210987654321", region="eu-central-1")
    made = [own.create_api(Name=str(number), ProtocolType="HTTP")["ApiId"] for number in range(600)]
    assert refused(own.create_api, Name="x", ProtocolType="HTTP") == (
        429,
        "TooManyRequestsException",
        "Maximum number of APIs has been reached: 600",
    )
    for one in made:
        own.delete_api(ApiId=one)
    own.close()


# What is not served


def operations() -> dict[str, OperationModel]:
    model = botocore.session.get_session().get_service_model("apigatewayv2")
    return {name: model.operation_model(name) for name in model.operation_names}


SERVED = {
    operation
    for operation in operations()
    if f'"{operation}": resource.' in (http_apis.__spec__.loader.get_source(http_apis.__name__) or "")  # type: ignore[union-attr]
}
NOT_SERVED = {
    "CreateModel": {"ApiId": "a", "Name": "n", "Schema": "{}"},
    "CreateVpcLink": {"Name": "n", "SubnetIds": ["s"]},
    "GetVpcLinks": {},
    "CreateRouteResponse": {"ApiId": "a", "RouteId": "r", "RouteResponseKey": "k"},
    "CreateIntegrationResponse": {"ApiId": "a", "IntegrationId": "i", "IntegrationResponseKey": "k"},
    "ListPortals": {},
    "ListRoutingRules": {"DomainName": "d"},
}


def test_what_tools_call_is_served() -> None:
    """Of API Gateway v2's operations the others are for WebSocket APIs, VPC links, routing rules and portals."""
    assert len(SERVED) == 50
    rest = set(operations()) - SERVED
    words = (
        "Model",
        "VpcLink",
        "RouteResponse",
        "IntegrationResponse",
        "Portal",
        "RoutingRule",
        "Product",
        "RouteRequestParameter",
    )
    assert [name for name in rest if not any(word in name for word in words)] == []
    assert set(NOT_SERVED) <= rest


@pytest.mark.parametrize("operation", sorted(NOT_SERVED))
def test_what_is_not_served_says_so(gateway: Any, operation: str) -> None:
    method = botocore.xform_name(operation)
    code, kind, words = refused(getattr(gateway, method), **NOT_SERVED[operation])
    assert (code, kind) == (501, "NotImplementedException")
    assert words.startswith(f"{operation} is a valid operation of apigatewayv2, but Lambent ")


def test_rest_apis_are_told_that_they_are_not_here(endpoint: str) -> None:
    """They are signed for the same service; their paths are no operation of version 2."""
    own = client("apigateway", endpoint, account=ACCOUNT)
    code, kind, _ = refused(own.get_rest_apis)
    assert (code, kind) == (501, "NotImplementedException")
    own.close()


# OpenAPI


def document(path: str = "/a") -> dict[str, Any]:
    integration = {"type": "AWS_PROXY", "httpMethod": "POST", "uri": URI, "payloadFormatVersion": "2.0"}
    return {
        "openapi": "3.0.1",
        "info": {"title": "imported", "version": "7"},
        "paths": {path: {"get": {"x-amazon-apigateway-integration": integration}}},
    }


def test_import_reimport_export(gateway: Any) -> None:
    made = gateway.import_api(Body=json.dumps(document()))
    assert status(made) == 201
    assert (made["Name"], made["Version"]) == ("imported", "7")
    api = made["ApiId"]
    (route,) = gateway.get_routes(ApiId=api)["Items"]
    gateway.create_stage(ApiId=api, StageName="$default", AutoDeploy=True)
    exported = gateway.export_api(ApiId=api, Specification="OAS30", OutputType="JSON", StageName="$default")
    assert json.loads(exported["body"].read())["paths"].keys() == {"/a"}
    both = document()
    both["paths"] |= document("/b")["paths"]
    again = gateway.reimport_api(ApiId=api, Body=json.dumps(both))
    assert status(again) == 201
    routes = {one["RouteKey"]: one["RouteId"] for one in gateway.get_routes(ApiId=api)["Items"]}
    assert routes.keys() == {"GET /a", "GET /b"}
    assert routes["GET /a"] == route["RouteId"]
    assert [one["StageName"] for one in gateway.get_stages(ApiId=api)["Items"]] == ["$default"]
    for output in ("JSON", "YAML"):
        text = gateway.export_api(ApiId=api, Specification="OAS30", OutputType=output)["body"].read().decode()
        other = gateway.import_api(Body=text, FailOnWarnings=True)["ApiId"]
        assert {one["RouteKey"] for one in gateway.get_routes(ApiId=other)["Items"]} == routes.keys()
        gateway.delete_api(ApiId=other)
    assert refused(gateway.reimport_api, ApiId=api, Body="{}")[:2] == (400, "BadRequestException")
    assert {one["RouteKey"] for one in gateway.get_routes(ApiId=api)["Items"]} == routes.keys(), "refused as a whole"
    gateway.delete_api(ApiId=api)
