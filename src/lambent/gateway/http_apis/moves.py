"""How an HTTP API may change: pure decisions, what stands in, what shall stand out.

Updates replace what is given and keep the rest. Entries of maps are merged, and an empty value takes its entry away, as
the service's clients expect of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..errors import BadRequest, Conflict, LimitExceeded, NotFound
from ..limits import (
    AUTHORIZER_TTL_S_DEFAULT,
    AUTHORIZERS_PER_API_MAX,
    DEPLOYMENTS_PER_API_MAX,
    INTEGRATIONS_PER_API_MAX,
    ROUTES_PER_API_MAX,
    STAGES_PER_API_MAX,
)
from .model import (
    DEFAULT_ROUTE,
    DEFAULT_STAGE,
    Api,
    Authorizer,
    Deployment,
    Integration,
    Route,
    RouteSettings,
    Snapshot,
    Stage,
)
from .records import read
from .rules import (
    check_access_log,
    check_authorizer,
    check_cors,
    check_integration,
    check_route,
    check_route_key,
    check_stage_name,
    check_stage_variables,
)

Fields = Mapping[str, Any]
"""What a caller gave: fields of the record, typed; what was not given is not there."""

NO_ROUTES = "Unable to deploy API because no routes exist in this API"


def room(kind: str, held: Mapping[str, Any], most: int) -> None:
    if len(held) >= most:
        raise LimitExceeded(f"Maximum number of {kind} for this API has been reached: {most}")


# The API itself


def created(api: Api) -> Api:
    """A new API, as it will be kept."""
    _check_api(api)
    return api


def quick_created(api: Api, target: str, route_key: str | None, credentials: str | None, ids: tuple[str, str]) -> Api:
    """With an integration for `target`, a route to it, and a $default stage that deploys by itself.

    ids: of the integration and the route.
    """
    is_http = target.startswith(("http://", "https://"))
    integration = Integration(
        integration_id=ids[0],
        integration_type="HTTP_PROXY" if is_http else "AWS_PROXY",
        integration_uri=target,
        integration_method="ANY" if is_http else "POST",
        payload_format_version="1.0" if is_http else "2.0",
        credentials_arn=credentials,
        api_gateway_managed=True,
    )
    check_integration(integration)
    route = Route(
        route_id=ids[1],
        route_key=route_key or DEFAULT_ROUTE,
        target=f"integrations/{ids[0]}",
        api_gateway_managed=True,
    )
    check_route_key(route.route_key)
    stage = Stage(
        stage_name=DEFAULT_STAGE,
        created_ms=api.created_ms,
        updated_ms=api.created_ms,
        auto_deploy=True,
        api_gateway_managed=True,
    )
    return replace(
        api,
        integrations={ids[0]: integration},
        routes={ids[1]: route},
        stages={DEFAULT_STAGE: stage},
    )


def updated(api: Api, wanted: Fields, target: str | None, route_key: str | None, credentials: str | None) -> Api:
    """With other settings. target, route_key, credentials: of the quick-created route and integration."""
    new = replace(api, **wanted)
    if target is not None or route_key is not None or credentials is not None:
        new = _requickened(new, target, route_key, credentials)
    _check_api(new)
    return new


def _requickened(api: Api, target: str | None, route_key: str | None, credentials: str | None) -> Api:
    managed = next((one for one in api.integrations.values() if one.api_gateway_managed), None)
    route = next((one for one in api.routes.values() if one.api_gateway_managed), None)
    if managed is None or route is None:
        raise BadRequest(
            "Target, RouteKey and CredentialsArn can only be updated for APIs that were made by quick create"
        )
    if target is not None or credentials is not None:
        changed = replace(
            managed,
            integration_uri=target or managed.integration_uri,
            credentials_arn=credentials or managed.credentials_arn,
        )
        check_integration(changed)
        api = replace(api, integrations={**api.integrations, managed.integration_id: changed})
    if route_key is not None:
        moved = replace(route, route_key=route_key)
        _check_unique(api, moved)
        check_route_key(route_key)
        api = replace(api, routes={**api.routes, route.route_id: moved})
    return api


def without_cors(api: Api) -> Api:
    return replace(api, cors_configuration=None)


def _check_api(api: Api) -> None:
    if api.cors_configuration is not None:
        check_cors(api.cors_configuration)


# Routes


def route_of(api: Api, route_id: str) -> Route:
    found = api.routes.get(route_id)
    if found is None:
        raise NotFound(f"Invalid Route identifier specified {route_id}")
    return found


def with_route(api: Api, wanted: Fields, route_id: str) -> Api:
    room("routes", api.routes, ROUTES_PER_API_MAX)
    route = read(Route, {"route_id": route_id, **wanted})
    check_route(route, api.integrations, api.authorizers)
    _check_unique(api, route)
    return replace(api, routes={**api.routes, route_id: route})


def with_route_changed(api: Api, route_id: str, wanted: Fields) -> Api:
    old = route_of(api, route_id)
    new = read(Route, {**_fields(old), **wanted})
    if new.authorization_type in ("NONE", "AWS_IAM") and "authorizer_id" not in wanted:
        new = replace(new, authorizer_id=None)  # what belonged to the old type goes with it
    if new.authorization_type != "JWT" and "authorization_scopes" not in wanted:
        new = replace(new, authorization_scopes=None)
    new = replace(new, authorizer_id=new.authorizer_id or None)
    if old.route_key == DEFAULT_ROUTE != new.route_key:
        raise BadRequest("The $default route key can't be modified")
    check_route(new, api.integrations, api.authorizers)
    _check_unique(api, new)
    return replace(api, routes={**api.routes, route_id: new})


def without_route(api: Api, route_id: str) -> Api:
    route_of(api, route_id)
    return replace(api, routes=_without(api.routes, route_id))


def _check_unique(api: Api, route: Route) -> None:
    for other in api.routes.values():
        if other.route_key == route.route_key and other.route_id != route.route_id:
            raise Conflict(f"Route with key {route.route_key} already exists for this API")


# Integrations


def integration_of(api: Api, integration_id: str) -> Integration:
    found = api.integrations.get(integration_id)
    if found is None:
        raise NotFound(f"Invalid Integration identifier specified {integration_id}")
    return found


def with_integration(api: Api, wanted: Fields, integration_id: str) -> Api:
    room("integrations", api.integrations, INTEGRATIONS_PER_API_MAX)
    integration = read(Integration, {"integration_id": integration_id, **wanted})
    check_integration(integration)
    return replace(api, integrations={**api.integrations, integration_id: integration})


def with_integration_changed(api: Api, integration_id: str, wanted: Fields) -> Api:
    old = integration_of(api, integration_id)
    merged = dict(wanted)
    for name in ("request_parameters", "response_parameters"):
        if wanted.get(name) is not None:
            merged[name] = _merged(getattr(old, name) or {}, wanted[name]) or None
    new = read(Integration, {**_fields(old), **merged})
    check_integration(new)
    return replace(api, integrations={**api.integrations, integration_id: new})


def without_integration(api: Api, integration_id: str) -> Api:
    integration_of(api, integration_id)
    used = [one.route_key for one in api.routes.values() if one.integration_id == integration_id]
    if used:
        raise Conflict(f"Cannot delete Integration '{integration_id}'. It is referenced by routes: {', '.join(used)}")
    return replace(api, integrations=_without(api.integrations, integration_id))


# Authorizers


def authorizer_of(api: Api, authorizer_id: str) -> Authorizer:
    found = api.authorizers.get(authorizer_id)
    if found is None:
        raise NotFound(f"Invalid Authorizer identifier specified {authorizer_id}")
    return found


def with_authorizer(api: Api, wanted: Fields, authorizer_id: str) -> Api:
    room("authorizers", api.authorizers, AUTHORIZERS_PER_API_MAX)
    authorizer = read(Authorizer, {"authorizer_id": authorizer_id, **wanted})
    if authorizer.authorizer_type == "REQUEST" and authorizer.authorizer_result_ttl_in_seconds is None:
        ttl = AUTHORIZER_TTL_S_DEFAULT if authorizer.identity_source else 0
        authorizer = replace(authorizer, authorizer_result_ttl_in_seconds=ttl)
    _check_authorizer(api, authorizer)
    return replace(api, authorizers={**api.authorizers, authorizer_id: authorizer})


def with_authorizer_changed(api: Api, authorizer_id: str, wanted: Fields) -> Api:
    old = authorizer_of(api, authorizer_id)
    new = read(Authorizer, {**_fields(old), **wanted})
    _check_authorizer(api, new)
    return replace(api, authorizers={**api.authorizers, authorizer_id: new})


def _check_authorizer(api: Api, authorizer: Authorizer) -> None:
    check_authorizer(authorizer)
    for other in api.authorizers.values():
        if other.name == authorizer.name and other.authorizer_id != authorizer.authorizer_id:
            raise Conflict(f"Authorizer name must be unique. Authorizer {authorizer.name} already exists in this API")


def without_authorizer(api: Api, authorizer_id: str) -> Api:
    authorizer_of(api, authorizer_id)
    used = [one.route_key for one in api.routes.values() if one.authorizer_id == authorizer_id]
    if used:
        raise Conflict(f"Cannot delete authorizer '{authorizer_id}'. Is referenced by method: {', '.join(used)}")
    return replace(api, authorizers=_without(api.authorizers, authorizer_id))


# Stages


def stage_of(api: Api, name: str) -> Stage:
    found = api.stages.get(name)
    if found is None:
        raise NotFound("Invalid stage identifier specified")
    return found


def with_stage(api: Api, wanted: Fields, now_ms: int) -> Api:
    name = wanted["stage_name"]
    check_stage_name(name)
    if name in api.stages:
        raise Conflict("Stage already exists")
    room("stages", api.stages, STAGES_PER_API_MAX)
    given = dict(wanted)
    settings = given.pop("default_route_settings", None)
    stage = read(Stage, {"created_ms": now_ms, "updated_ms": now_ms, **given})
    if settings is not None:
        stage = replace(stage, default_route_settings=_completed(settings))
    _check_stage(api, stage, "deployment_id" in wanted)
    return replace(api, stages={**api.stages, name: stage})


def with_stage_changed(api: Api, name: str, wanted: Fields, now_ms: int) -> Api:
    old = stage_of(api, name)
    merged = dict(wanted)
    if wanted.get("stage_variables") is not None:
        merged["stage_variables"] = _merged(old.stage_variables, wanted["stage_variables"])
    if wanted.get("route_settings") is not None:
        merged["route_settings"] = {**old.route_settings, **wanted["route_settings"]}
    if wanted.get("default_route_settings") is not None:
        merged["default_route_settings"] = _completed(wanted["default_route_settings"])
    new = read(Stage, {**_fields(old), **merged, "updated_ms": now_ms})
    _check_stage(api, new, "deployment_id" in wanted)
    return replace(api, stages={**api.stages, name: new})


def without_route_settings(api: Api, name: str, route_key: str, now_ms: int) -> Api:
    stage = stage_of(api, name)
    if route_key not in stage.route_settings:
        raise NotFound(f"Unable to find Route by key {route_key} within the provided RouteSettings")
    changed = replace(stage, route_settings=_without(stage.route_settings, route_key), updated_ms=now_ms)
    return replace(api, stages={**api.stages, name: changed})


def without_access_log(api: Api, name: str, now_ms: int) -> Api:
    changed = replace(stage_of(api, name), access_log_settings=None, updated_ms=now_ms)
    return replace(api, stages={**api.stages, name: changed})


def without_stage(api: Api, name: str) -> Api:
    stage_of(api, name)
    return _swept(replace(api, stages=_without(api.stages, name)))


def _completed(settings: RouteSettings) -> RouteSettings:
    return (
        settings if settings.detailed_metrics_enabled is not None else replace(settings, detailed_metrics_enabled=False)
    )


def _check_stage(api: Api, stage: Stage, names_deployment: bool) -> None:
    check_stage_variables(stage.stage_variables)
    if stage.access_log_settings is not None:
        check_access_log(stage.access_log_settings, api.scope)
    if names_deployment and stage.auto_deploy:
        raise BadRequest("Deployment ID cannot be set on stage because AutoDeploy is enabled")
    if stage.deployment_id is not None:
        deployment_of(api, stage.deployment_id)
    keys = {route.route_key for route in api.routes.values()}
    for key in stage.route_settings:
        if key not in keys:
            raise NotFound(f"Unable to find Route by key {key} within the provided RouteSettings")


# Deployments


def deployment_of(api: Api, deployment_id: str) -> Deployment:
    found = api.deployments.get(deployment_id)
    if found is None:
        raise NotFound(f"Invalid Deployment identifier specified {deployment_id}")
    return found


def with_deployment(api: Api, deployment_id: str, description: str | None, stage_name: str | None, now_ms: int) -> Api:
    """A snapshot of what the API is, in force on `stage_name` if one is named."""
    if not api.routes:
        raise BadRequest(NO_ROUTES)
    if len(api.deployments) >= DEPLOYMENTS_PER_API_MAX:
        raise LimitExceeded(
            f"Maximum number of deployments for this API has been reached: {DEPLOYMENTS_PER_API_MAX}. Delete some that no stage uses."
        )
    deployment = Deployment(
        deployment_id=deployment_id, created_ms=now_ms, snapshot=api.snapshot, description=description
    )
    api = replace(api, deployments={**api.deployments, deployment_id: deployment})
    if stage_name is not None:
        stage = stage_of(api, stage_name)
        if stage.auto_deploy:
            raise BadRequest("Deployment ID cannot be set on stage because AutoDeploy is enabled")
        api = replace(api, stages={**api.stages, stage_name: _in_force(stage, deployment_id, now_ms)})
    return api


def with_deployment_changed(api: Api, deployment_id: str, description: str | None) -> Api:
    changed = replace(deployment_of(api, deployment_id), description=description)
    return replace(api, deployments={**api.deployments, deployment_id: changed})


def without_deployment(api: Api, deployment_id: str) -> Api:
    deployment_of(api, deployment_id)
    used = [stage.stage_name for stage in api.stages.values() if stage.deployment_id == deployment_id]
    if used:
        raise Conflict(f"Active stages pointing to this deployment must be moved or deleted: {', '.join(used)}")
    return replace(api, deployments=_without(api.deployments, deployment_id))


def auto_deployed(old: Api | None, new: Api, deployment_id: str, now_ms: int) -> Api:
    """What stages that deploy by themselves make of a change: one new deployment for all of them, where anything
    that decides about requests is another than before, or a stage began to deploy by itself."""
    stages = [stage for stage in new.stages.values() if stage.auto_deploy]
    if not stages:
        return _swept(new)
    if old is not None and old.snapshot == new.snapshot and all(_was_automatic(old, one) for one in stages):
        return new
    if not new.routes:
        failed = f"Deployment attempt failed: {NO_ROUTES}"
        told = {one.stage_name: replace(one, last_deployment_status_message=failed) for one in stages}
        return _swept(replace(new, stages={**new.stages, **_undeployed(told)}))
    deployment = Deployment(
        deployment_id=deployment_id,
        created_ms=now_ms,
        snapshot=new.snapshot,
        auto_deployed=True,
        description="Automatic deployment triggered by changes to the Api configuration",
    )
    moved = {one.stage_name: _in_force(one, deployment_id, now_ms) for one in stages}
    return _swept(
        replace(new, stages={**new.stages, **moved}, deployments={**new.deployments, deployment_id: deployment})
    )


def _undeployed(stages: Mapping[str, Stage]) -> dict[str, Stage]:
    """Without routes nothing is in force: what the last deployment held is gone from the API."""
    return {name: replace(stage, deployment_id=None) for name, stage in stages.items()}


def _was_automatic(old: Api, stage: Stage) -> bool:
    before = old.stages.get(stage.stage_name)
    return before is not None and before.auto_deploy


def _in_force(stage: Stage, deployment_id: str, now_ms: int) -> Stage:
    return replace(
        stage,
        deployment_id=deployment_id,
        updated_ms=now_ms,
        last_deployment_status_message=f"Successfully deployed stage with deployment ID '{deployment_id}'",
    )


def _swept(api: Api) -> Api:
    """Without automatic deployments that no stage uses any more: each change makes one."""
    used = {stage.deployment_id for stage in api.stages.values()}
    kept = {id: one for id, one in api.deployments.items() if id in used or not one.auto_deployed}
    return api if len(kept) == len(api.deployments) else replace(api, deployments=kept)


def in_force(api: Api, stage: Stage) -> Snapshot | None:
    """What answers the stage's requests; None: nothing was deployed to it."""
    if stage.deployment_id is None:
        return None
    deployment = api.deployments.get(stage.deployment_id)
    return None if deployment is None else deployment.snapshot


# Plain values


def _fields(record: Any) -> dict[str, Any]:
    return {name: getattr(record, name) for name in record.__dataclass_fields__}


def _without(held: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in held.items() if key != name}


def _merged(old: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """An empty value takes its entry away."""
    return {key: value for key, value in {**old, **given}.items() if value}
