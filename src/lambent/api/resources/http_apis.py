"""The control operations of HTTP APIs (API Gateway v2): APIs, routes, integrations, authorizers, stages, deployments,
domain names, mappings and tags. Reads members, calls the concept, shapes the answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote

from lambent.api.ports import Answer
from lambent.domain.errors import NotServed
from lambent.domain.tags import tagged, untagged
from lambent.gateway import jwt
from lambent.gateway.errors import BadRequest, NotFound
from lambent.gateway.http_apis import moves, openapi
from lambent.gateway.http_apis.model import (
    Api,
    ApiMapping,
    Authorizer,
    Deployment,
    DomainConfiguration,
    DomainName,
    Integration,
    Route,
    Snapshot,
    Stage,
)
from lambent.gateway.http_apis.records import fields_of, members
from lambent.gateway.http_apis.service import PART_ID_CHARS, HttpApis, new_id

if TYPE_CHECKING:
    from lambent.api.rest import RestDoor
    from lambent.domain.names import Scope
    from lambent.identity.model import Caller

PAGE_ITEMS_MAX, PAGE_ITEMS_DEFAULT = 1_000, 100

CODES = {
    "ValidationException": ("BadRequestException", 400),
    "SerializationException": ("BadRequestException", 400),
    "InvalidParameterValueException": ("BadRequestException", 400),
    "RequestEntityTooLargeException": ("BadRequestException", 413),
    "ServiceException": ("InternalServerErrorException", 500),
}
"""Errors of Lambda's → those of this service."""

_API_PARTS = frozenset({"scope", "created_ms", "routes", "integrations", "authorizers", "stages", "deployments"})
_QUICK = ("Target", "RouteKey", "CredentialsArn")
_WEBSOCKET_ONLY = {
    "CreateApi": ("DisableSchemaValidation",),
    "CreateRoute": (
        "ModelSelectionExpression",
        "RequestModels",
        "RequestParameters",
        "RouteResponseSelectionExpression",
    ),
    "CreateIntegration": (
        "ContentHandlingStrategy",
        "PassthroughBehavior",
        "RequestTemplates",
        "TemplateSelectionExpression",
    ),
    "CreateStage": ("ClientCertificateId",),
    "CreateAuthorizer": ("IdentityValidationExpression",),
}
T = TypeVar("T")
Endpoint = Callable[[Api], Awaitable[str]]


def register(door: RestDoor, apis: HttpApis, endpoint: Endpoint, forget: Callable[[str, str], None]) -> None:
    """Serve the operations. endpoint: the URL of an API. forget: drop cached answers of authorizers, of (API, stage)."""
    resource = _HttpApis(apis, endpoint, forget)
    for operation, handler in {
        "CreateApi": resource.create_api,
        "GetApi": resource.get_api,
        "GetApis": resource.get_apis,
        "UpdateApi": resource.update_api,
        "DeleteApi": resource.delete_api,
        "DeleteCorsConfiguration": resource.delete_cors,
        "ImportApi": resource.import_api,
        "ReimportApi": resource.reimport_api,
        "ExportApi": resource.export_api,
        "CreateRoute": resource.create_route,
        "GetRoute": resource.get_route,
        "GetRoutes": resource.get_routes,
        "UpdateRoute": resource.update_route,
        "DeleteRoute": resource.delete_route,
        "CreateIntegration": resource.create_integration,
        "GetIntegration": resource.get_integration,
        "GetIntegrations": resource.get_integrations,
        "UpdateIntegration": resource.update_integration,
        "DeleteIntegration": resource.delete_integration,
        "CreateAuthorizer": resource.create_authorizer,
        "GetAuthorizer": resource.get_authorizer,
        "GetAuthorizers": resource.get_authorizers,
        "UpdateAuthorizer": resource.update_authorizer,
        "DeleteAuthorizer": resource.delete_authorizer,
        "ResetAuthorizersCache": resource.reset_authorizers_cache,
        "CreateStage": resource.create_stage,
        "GetStage": resource.get_stage,
        "GetStages": resource.get_stages,
        "UpdateStage": resource.update_stage,
        "DeleteStage": resource.delete_stage,
        "DeleteAccessLogSettings": resource.delete_access_log,
        "DeleteRouteSettings": resource.delete_route_settings,
        "CreateDeployment": resource.create_deployment,
        "GetDeployment": resource.get_deployment,
        "GetDeployments": resource.get_deployments,
        "UpdateDeployment": resource.update_deployment,
        "DeleteDeployment": resource.delete_deployment,
        "CreateDomainName": resource.create_domain,
        "GetDomainName": resource.get_domain,
        "GetDomainNames": resource.get_domains,
        "UpdateDomainName": resource.update_domain,
        "DeleteDomainName": resource.delete_domain,
        "CreateApiMapping": resource.create_mapping,
        "GetApiMapping": resource.get_mapping,
        "GetApiMappings": resource.get_mappings,
        "UpdateApiMapping": resource.update_mapping,
        "DeleteApiMapping": resource.delete_mapping,
        "TagResource": resource.tag,
        "UntagResource": resource.untag,
        "GetTags": resource.get_tags,
    }.items():
        door.register(operation, handler)


class _HttpApis:
    def __init__(self, apis: HttpApis, endpoint: Endpoint, forget: Callable[[str, str], None]) -> None:
        self._apis = apis
        self._endpoint = endpoint
        self._forget = forget

    # APIs

    async def create_api(self, caller: Caller, values: dict[str, Any]) -> Answer:
        if values["ProtocolType"] != "HTTP":
            raise NotServed("WebSocket APIs are not served by this release of Lambent; ProtocolType HTTP is.")
        _refuse_websocket("CreateApi", values)
        quick = _taken(values, *_QUICK)
        wanted = fields_of(values, Api)
        ids = new_id(PART_ID_CHARS), new_id(PART_ID_CHARS)

        def make(api_id: str, now_ms: int) -> Api:
            api = Api(scope=caller.scope, api_id=api_id, created_ms=now_ms, **wanted)
            if quick["Target"] is None:
                if quick["RouteKey"] is not None or quick["CredentialsArn"] is not None:
                    raise BadRequest("RouteKey and CredentialsArn are part of quick create, which needs a Target")
                return api
            return moves.quick_created(api, quick["Target"], quick["RouteKey"], quick["CredentialsArn"], ids)

        return Answer(await self._show(await self._apis.create(caller.scope, make)))

    async def get_api(self, caller: Caller, values: dict[str, Any]) -> Answer:
        return Answer(await self._show(self._apis.get(caller.scope, values["ApiId"])))

    async def get_apis(self, caller: Caller, values: dict[str, Any]) -> Answer:
        shown = {api.api_id: await self._show(api) for api in self._apis.apis(caller.scope)}
        return _page(values, shown, str, lambda api_id: shown[api_id])

    async def update_api(self, caller: Caller, values: dict[str, Any]) -> Answer:
        _refuse_websocket("CreateApi", values)
        quick = _taken(values, *_QUICK)
        wanted = fields_of(values, Api)
        api_id = wanted.pop("api_id")
        api = await self._apis.change(
            caller.scope,
            api_id,
            lambda api: moves.updated(api, wanted, quick["Target"], quick["RouteKey"], quick["CredentialsArn"]),
        )
        return Answer(await self._show(api))

    async def delete_api(self, caller: Caller, values: dict[str, Any]) -> Answer:
        await self._apis.delete(caller.scope, values["ApiId"])
        return Answer({})

    async def delete_cors(self, caller: Caller, values: dict[str, Any]) -> Answer:
        await self._apis.change(caller.scope, values["ApiId"], moves.without_cors)
        return Answer({})

    async def import_api(self, caller: Caller, values: dict[str, Any]) -> Answer:
        document = await asyncio.to_thread(openapi.load, values["Body"])
        found = self._read(document, values, None)

        def make(api_id: str, now_ms: int) -> Api:
            return found.onto(Api(scope=caller.scope, api_id=api_id, created_ms=now_ms, name=found.name))

        return Answer(await self._show(await self._apis.create(caller.scope, make)))

    async def reimport_api(self, caller: Caller, values: dict[str, Any]) -> Answer:
        document = await asyncio.to_thread(openapi.load, values["Body"])
        api = await self._change(caller, values, lambda api: self._read(document, values, api).onto(api))
        return Answer(await self._show(api))

    @staticmethod
    def _read(document: dict[str, Any], values: Mapping[str, Any], old: Api | None) -> openapi.Imported:
        found = openapi.read(
            document,
            lambda: new_id(PART_ID_CHARS),
            base_path=values.get("Basepath"),
            fail_on_warnings=values.get("FailOnWarnings", False),
            old=old,
        )
        _check_tokens(any(one.authorizer_type == "JWT" for one in found.authorizers.values()))
        return found

    async def export_api(self, caller: Caller, values: dict[str, Any]) -> Answer:
        api = self._get(caller, values)
        if values["Specification"] != "OAS30" or values["OutputType"] not in ("JSON", "YAML"):
            raise BadRequest("An API is exported with the specification OAS30, as JSON or YAML")
        if values.get("ExportVersion", "1.0") != "1.0":
            raise BadRequest("Unsupported export version. Only 1.0 is supported")
        snapshot: Snapshot | None = api.snapshot
        if values.get("StageName") is not None:
            snapshot = moves.in_force(api, moves.stage_of(api, values["StageName"]))
            if snapshot is None:
                raise BadRequest(f"Stage {values['StageName']} has no deployment to export")
        assert snapshot is not None
        document = openapi.written(api, snapshot, with_extensions=values.get("IncludeExtensions", True))
        output = values["OutputType"]
        kind = b"application/yaml" if output == "YAML" else b"application/json"
        return Answer({"body": openapi.dump(document, output)}, headers=[(b"content-type", kind)])

    async def _show(self, api: Api) -> dict[str, Any]:
        shown = members(api, _API_PARTS)
        shown["ApiEndpoint"] = await self._endpoint(api)
        shown["CreatedDate"] = show_time(api.created_ms)
        return shown

    # Routes

    async def create_route(self, caller: Caller, values: dict[str, Any]) -> Answer:
        _refuse_websocket("CreateRoute", values)
        wanted, route_id = fields_of(values, Route), new_id(PART_ID_CHARS)
        api = await self._change(caller, values, lambda api: moves.with_route(api, wanted, route_id))
        return Answer(members(api.routes[route_id]))

    async def get_route(self, caller: Caller, values: dict[str, Any]) -> Answer:
        return Answer(members(moves.route_of(self._get(caller, values), values["RouteId"])))

    async def get_routes(self, caller: Caller, values: dict[str, Any]) -> Answer:
        routes = self._get(caller, values).routes.values()
        return _page(values, routes, lambda route: route.route_id, members)

    async def update_route(self, caller: Caller, values: dict[str, Any]) -> Answer:
        _refuse_websocket("CreateRoute", values)
        wanted = fields_of(values, Route)
        route_id = wanted.pop("route_id")
        api = await self._change(caller, values, lambda api: moves.with_route_changed(api, route_id, wanted))
        return Answer(members(api.routes[route_id]))

    async def delete_route(self, caller: Caller, values: dict[str, Any]) -> Answer:
        await self._change(caller, values, lambda api: moves.without_route(api, values["RouteId"]))
        return Answer({})

    # Integrations

    async def create_integration(self, caller: Caller, values: dict[str, Any]) -> Answer:
        _refuse_integration(values)
        wanted, integration_id = fields_of(values, Integration), new_id(PART_ID_CHARS)
        api = await self._change(caller, values, lambda api: moves.with_integration(api, wanted, integration_id))
        return Answer(members(api.integrations[integration_id]))

    async def get_integration(self, caller: Caller, values: dict[str, Any]) -> Answer:
        return Answer(members(moves.integration_of(self._get(caller, values), values["IntegrationId"])))

    async def get_integrations(self, caller: Caller, values: dict[str, Any]) -> Answer:
        found = self._get(caller, values).integrations.values()
        return _page(values, found, lambda one: one.integration_id, members)

    async def update_integration(self, caller: Caller, values: dict[str, Any]) -> Answer:
        _refuse_integration(values)
        wanted = fields_of(values, Integration)
        integration_id = wanted.pop("integration_id")
        api = await self._change(
            caller, values, lambda api: moves.with_integration_changed(api, integration_id, wanted)
        )
        return Answer(members(api.integrations[integration_id]))

    async def delete_integration(self, caller: Caller, values: dict[str, Any]) -> Answer:
        await self._change(caller, values, lambda api: moves.without_integration(api, values["IntegrationId"]))
        return Answer({})

    # Authorizers

    async def create_authorizer(self, caller: Caller, values: dict[str, Any]) -> Answer:
        _refuse_websocket("CreateAuthorizer", values)
        _check_tokens(values["AuthorizerType"] == "JWT")
        wanted, authorizer_id = fields_of(values, Authorizer), new_id(PART_ID_CHARS)
        api = await self._change(caller, values, lambda api: moves.with_authorizer(api, wanted, authorizer_id))
        return Answer(members(api.authorizers[authorizer_id]))

    async def get_authorizer(self, caller: Caller, values: dict[str, Any]) -> Answer:
        return Answer(members(moves.authorizer_of(self._get(caller, values), values["AuthorizerId"])))

    async def get_authorizers(self, caller: Caller, values: dict[str, Any]) -> Answer:
        found = self._get(caller, values).authorizers.values()
        return _page(values, found, lambda one: one.authorizer_id, members)

    async def update_authorizer(self, caller: Caller, values: dict[str, Any]) -> Answer:
        _refuse_websocket("CreateAuthorizer", values)
        wanted = fields_of(values, Authorizer)
        authorizer_id = wanted.pop("authorizer_id")
        api = await self._change(caller, values, lambda api: moves.with_authorizer_changed(api, authorizer_id, wanted))
        return Answer(members(api.authorizers[authorizer_id]))

    async def delete_authorizer(self, caller: Caller, values: dict[str, Any]) -> Answer:
        await self._change(caller, values, lambda api: moves.without_authorizer(api, values["AuthorizerId"]))
        return Answer({})

    async def reset_authorizers_cache(self, caller: Caller, values: dict[str, Any]) -> Answer:
        api = self._get(caller, values)
        self._forget(api.api_id, moves.stage_of(api, values["StageName"]).stage_name)
        return Answer({})

    # Stages

    async def create_stage(self, caller: Caller, values: dict[str, Any]) -> Answer:
        _refuse_websocket("CreateStage", values)
        wanted = fields_of(values, Stage)
        api = await self._change(caller, values, lambda api: moves.with_stage(api, wanted, self._apis.now_ms()))
        return Answer(_show_stage(api.stages[values["StageName"]]))

    async def get_stage(self, caller: Caller, values: dict[str, Any]) -> Answer:
        return Answer(_show_stage(moves.stage_of(self._get(caller, values), values["StageName"])))

    async def get_stages(self, caller: Caller, values: dict[str, Any]) -> Answer:
        found = self._get(caller, values).stages.values()
        return _page(values, found, lambda one: one.stage_name, _show_stage)

    async def update_stage(self, caller: Caller, values: dict[str, Any]) -> Answer:
        _refuse_websocket("CreateStage", values)
        wanted = fields_of(values, Stage)
        name = wanted.pop("stage_name")
        api = await self._change(
            caller, values, lambda api: moves.with_stage_changed(api, name, wanted, self._apis.now_ms())
        )
        return Answer(_show_stage(api.stages[name]))

    async def delete_stage(self, caller: Caller, values: dict[str, Any]) -> Answer:
        await self._apis.delete_stage(caller.scope, values["ApiId"], values["StageName"])
        return Answer({})

    async def delete_access_log(self, caller: Caller, values: dict[str, Any]) -> Answer:
        now_ms = self._apis.now_ms()
        await self._change(caller, values, lambda api: moves.without_access_log(api, values["StageName"], now_ms))
        return Answer({})

    async def delete_route_settings(self, caller: Caller, values: dict[str, Any]) -> Answer:
        now_ms = self._apis.now_ms()
        await self._change(
            caller,
            values,
            lambda api: moves.without_route_settings(api, values["StageName"], values["RouteKey"], now_ms),
        )
        return Answer({})

    # Deployments

    async def create_deployment(self, caller: Caller, values: dict[str, Any]) -> Answer:
        deployment_id, now_ms = new_id(PART_ID_CHARS - 1), self._apis.now_ms()
        api = await self._change(
            caller,
            values,
            lambda api: moves.with_deployment(
                api, deployment_id, values.get("Description"), values.get("StageName"), now_ms
            ),
        )
        return Answer(_show_deployment(api.deployments[deployment_id]))

    async def get_deployment(self, caller: Caller, values: dict[str, Any]) -> Answer:
        return Answer(_show_deployment(moves.deployment_of(self._get(caller, values), values["DeploymentId"])))

    async def get_deployments(self, caller: Caller, values: dict[str, Any]) -> Answer:
        found = sorted(self._get(caller, values).deployments.values(), key=lambda one: -one.created_ms)
        return _page(values, found, lambda one: one.deployment_id, _show_deployment)

    async def update_deployment(self, caller: Caller, values: dict[str, Any]) -> Answer:
        deployment_id = values["DeploymentId"]
        api = await self._change(
            caller,
            values,
            lambda api: moves.with_deployment_changed(api, deployment_id, values.get("Description")),
        )
        return Answer(_show_deployment(api.deployments[deployment_id]))

    async def delete_deployment(self, caller: Caller, values: dict[str, Any]) -> Answer:
        await self._change(caller, values, lambda api: moves.without_deployment(api, values["DeploymentId"]))
        return Answer({})

    # Domain names and mappings

    async def create_domain(self, caller: Caller, values: dict[str, Any]) -> Answer:
        _refuse_domain(values)
        domain = await self._apis.create_domain(
            caller.scope, values["DomainName"], _configurations(values), values.get("Tags", {})
        )
        return Answer(_show_domain(domain))

    async def get_domain(self, caller: Caller, values: dict[str, Any]) -> Answer:
        return Answer(_show_domain(self._apis.domain(caller.scope, values["DomainName"])))

    async def get_domains(self, caller: Caller, values: dict[str, Any]) -> Answer:
        return _page(values, self._apis.domains(caller.scope), lambda one: one.domain_name, _show_domain)

    async def update_domain(self, caller: Caller, values: dict[str, Any]) -> Answer:
        _refuse_domain(values)
        given = _configurations(values)
        domain = await self._apis.change_domain(
            caller.scope, values["DomainName"], lambda one: replace(one, configurations=given or one.configurations)
        )
        return Answer(_show_domain(domain))

    async def delete_domain(self, caller: Caller, values: dict[str, Any]) -> Answer:
        await self._apis.delete_domain(caller.scope, values["DomainName"])
        return Answer({})

    async def create_mapping(self, caller: Caller, values: dict[str, Any]) -> Answer:
        mapping = ApiMapping(
            api_mapping_id=new_id(PART_ID_CHARS - 1),
            api_id=values["ApiId"],
            stage=values["Stage"],
            api_mapping_key=values.get("ApiMappingKey") or "",
        )
        return Answer(members(await self._apis.map(caller.scope, values["DomainName"], mapping)))

    async def get_mapping(self, caller: Caller, values: dict[str, Any]) -> Answer:
        return Answer(members(self._apis.mapping(caller.scope, values["DomainName"], values["ApiMappingId"])))

    async def get_mappings(self, caller: Caller, values: dict[str, Any]) -> Answer:
        found = self._apis.domain(caller.scope, values["DomainName"]).mappings.values()
        return _page(values, found, lambda one: one.api_mapping_id, members)

    async def update_mapping(self, caller: Caller, values: dict[str, Any]) -> Answer:
        old = self._apis.mapping(caller.scope, values["DomainName"], values["ApiMappingId"])
        new = replace(
            old,
            api_id=values["ApiId"],
            stage=values.get("Stage", old.stage),
            api_mapping_key=values.get("ApiMappingKey", old.api_mapping_key),
        )
        return Answer(members(await self._apis.map(caller.scope, values["DomainName"], new)))

    async def delete_mapping(self, caller: Caller, values: dict[str, Any]) -> Answer:
        await self._apis.unmap(caller.scope, values["DomainName"], values["ApiMappingId"])
        return Answer({})

    # Tags

    async def tag(self, caller: Caller, values: dict[str, Any]) -> Answer:
        tags = values.get("Tags", {})
        resource = _resource(values["ResourceArn"], caller.scope)
        await self._apis.change_tags(caller.scope, resource, lambda old: tagged(old, tags))
        return Answer({})

    async def untag(self, caller: Caller, values: dict[str, Any]) -> Answer:
        keys = values["TagKeys"]
        resource = _resource(values["ResourceArn"], caller.scope)
        await self._apis.change_tags(caller.scope, resource, lambda old: untagged(old, keys))
        return Answer({})

    async def get_tags(self, caller: Caller, values: dict[str, Any]) -> Answer:
        resource = _resource(values["ResourceArn"], caller.scope)
        return Answer({"Tags": dict(self._apis.tags(caller.scope, resource))})

    def _get(self, caller: Caller, values: dict[str, Any]) -> Api:
        return self._apis.get(caller.scope, values["ApiId"])

    async def _change(self, caller: Caller, values: dict[str, Any], move: Callable[[Api], Api]) -> Api:
        return await self._apis.change(caller.scope, values["ApiId"], move)


# Reading


def _taken(values: dict[str, Any], *names: str) -> dict[str, Any]:
    """Members taken out of the input; None where they are not given."""
    return {name: values.pop(name, None) for name in names}


def _refuse_websocket(operation: str, values: Mapping[str, Any]) -> None:
    for name in _WEBSOCKET_ONLY[operation]:
        if values.get(name):
            raise BadRequest(f"{name} is not supported for HTTP APIs")


def _refuse_integration(values: Mapping[str, Any]) -> None:
    _refuse_websocket("CreateIntegration", values)
    if values.get("IntegrationSubtype"):
        raise NotServed(
            f"Integrations with other services ({values['IntegrationSubtype']}) are not served by this release of "
            "Lambent: let a function of the integration type AWS_PROXY call the service."
        )
    if values.get("ConnectionType") == "VPC_LINK" or values.get("ConnectionId"):
        raise NotServed(
            "There are no VPCs here, and no links into them: name the server itself in IntegrationUri, with the "
            "connection type INTERNET."
        )


def _refuse_domain(values: Mapping[str, Any]) -> None:
    if values.get("MutualTlsAuthentication"):
        raise NotServed(
            "Mutual TLS is not served: Lambent speaks plain HTTP, and TLS ends in front of it. Let the proxy there ask for "
            "client certificates."
        )
    if values.get("RoutingMode", "API_MAPPING_ONLY") != "API_MAPPING_ONLY":
        raise NotServed("Routing rules are not served by this release of Lambent: use API mappings.")


def _check_tokens(are_wanted: bool) -> None:
    if are_wanted and not jwt.is_available():
        raise NotServed(
            "JWT authorizers need PyJWT and cryptography, which are not installed here: pip install 'lambent[http-apis]'"
        )


def _configurations(values: Mapping[str, Any]) -> tuple[DomainConfiguration, ...]:
    given = values.get("DomainNameConfigurations") or ()
    return tuple(DomainConfiguration(**fields_of(one, DomainConfiguration)) for one in given)


def _resource(arn: str, scope: Scope) -> list[str]:
    """The parts of the path in arn:aws:apigateway:REGION::/apis/ID. Raises NotFound for what is no such ARN."""
    parts = unquote(arn).split(":", 5)
    if len(parts) != 6 or parts[2] != "apigateway" or parts[3] != scope.region or not parts[5].startswith("/"):
        raise NotFound("Invalid resource ARN specified")
    return parts[5].split("/")[1:]


# Showing


def _page(
    values: Mapping[str, Any], found: Iterable[T], name: Callable[[T], str], show: Callable[[T], dict[str, Any]]
) -> Answer:
    """A page of a list; its token names the last item that was shown."""
    items = list(found)
    text = values.get("MaxResults") or str(PAGE_ITEMS_DEFAULT)
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:6]) <= PAGE_ITEMS_MAX):
        raise BadRequest(f"Invalid value for maxResults: {text}. It must be between 1 and {PAGE_ITEMS_MAX}")
    start = 0
    token = values.get("NextToken")
    if token:
        start = next((at + 1 for at, one in enumerate(items) if name(one) == token), -1)
        if start < 0:
            raise BadRequest("Invalid nextToken")
    end = start + int(text)
    output: dict[str, Any] = {"Items": [show(one) for one in items[start:end]]}
    if end < len(items):
        output["NextToken"] = name(items[end - 1])
    return Answer(output)


def _show_stage(stage: Stage) -> dict[str, Any]:
    shown = members(stage, frozenset({"created_ms", "updated_ms"}))
    return shown | {"CreatedDate": show_time(stage.created_ms), "LastUpdatedDate": show_time(stage.updated_ms)}


def _show_deployment(deployment: Deployment) -> dict[str, Any]:
    shown = members(deployment, frozenset({"created_ms", "snapshot"}))
    return shown | {"CreatedDate": show_time(deployment.created_ms), "DeploymentStatus": "DEPLOYED"}


def _show_domain(domain: DomainName) -> dict[str, Any]:
    region = domain.scope.region
    configurations = [
        members(one)
        | {
            "ApiGatewayDomainName": f"{domain.gateway_id}.execute-api.{region}.amazonaws.com",
            "DomainNameStatus": "AVAILABLE",
            "HostedZoneId": "Z1UJRXOUMOOFQ8",
        }
        for one in domain.configurations
    ]
    return {
        "DomainName": domain.domain_name,
        "DomainNameArn": f"arn:{domain.scope.partition}:apigateway:{region}::/domainnames/{domain.domain_name}",
        "DomainNameConfigurations": configurations,
        "ApiMappingSelectionExpression": "$request.basepath",
        "RoutingMode": "API_MAPPING_ONLY",
        "Tags": dict(domain.tags),
    }


def show_time(epoch_ms: int) -> str:
    """2026-01-31T10:00:00Z: this service writes whole seconds."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(epoch_ms // 1_000))
