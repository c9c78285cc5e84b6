"""HTTP APIs as OpenAPI 3.0 documents with the `x-amazon-apigateway-…` extensions, read and written.

What a document says that an HTTP API does not have (bodies, responses, models) is left aside; what could mean a route,
an integration or an authorizer and can't be read is a warning, or a refusal where nothing sensible would be left.
Source: API Gateway developer guide, "OpenAPI extensions for API Gateway" and "Import an HTTP API".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit

import orjson

from lambent.domain.errors import NotServed

from ..errors import BadRequest
from ..limits import AUTHORIZER_TTL_S_DEFAULT, INTEGRATIONS_PER_API_MAX, OPENAPI_BYTES_MAX, ROUTES_PER_API_MAX
from .model import (
    DEFAULT_ROUTE,
    Api,
    Authorizer,
    Cors,
    Integration,
    JwtConfiguration,
    Route,
    Snapshot,
    TlsConfig,
)
from .rules import check_authorizer, check_cors, check_integration, check_route

_METHODS = {
    **{name: name.upper() for name in ("get", "head", "post", "put", "patch", "delete", "options")},
    "x-amazon-apigateway-any-method": "ANY",
}
_INTEGRATION = "x-amazon-apigateway-integration"
_AUTHORIZER = "x-amazon-apigateway-authorizer"
_AUTH = "x-amazon-apigateway-auth"
_AUTH_TYPE = "x-amazon-apigateway-authtype"
_CORS = "x-amazon-apigateway-cors"
_TAG = "x-amazon-apigateway-tag-value"
_ENDPOINT = "x-amazon-apigateway-endpoint-configuration"
_VERSION = re.compile(r"3\.0(\.\d+)?")
_SERVER_VARIABLE = re.compile(r"\{([^{}]+)\}")
BASE_PATHS = ("ignore", "prepend", "split")

NewId = Callable[[], str]


def load(text: str) -> dict[str, Any]:
    """A document from JSON or YAML. Raises BadRequest."""
    if len(text) > OPENAPI_BYTES_MAX:
        raise BadRequest(f"The API definition is larger than {OPENAPI_BYTES_MAX} bytes")
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        value = _yaml(text)
    if not isinstance(value, dict):
        raise BadRequest("Invalid OpenAPI input.")
    version = value.get("openapi")
    if not isinstance(version, str) or _VERSION.fullmatch(version) is None:
        raise BadRequest("Invalid OpenAPI input. HTTP APIs are imported from OpenAPI 3.0 definitions")
    return value


def _yaml(text: str) -> Any:
    try:
        import yaml
    except ImportError:
        raise BadRequest(
            "Invalid OpenAPI input: it is no JSON, and YAML needs PyYAML here: pip install 'lambent[http-apis]'"
        ) from None
    if len(text) > YAML_BYTES_MAX:
        raise BadRequest(f"The API definition is larger than {YAML_BYTES_MAX} bytes of YAML; write it as JSON")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return _with_text_keys(yaml.load(text, Loader=loader), 0, [NODES_MAX])
    except (yaml.YAMLError, RecursionError, ValueError):
        raise BadRequest("Invalid OpenAPI input.") from None


YAML_BYTES_MAX = 1_048_576
"""Of a definition in YAML, which takes a hundred times as long to read as JSON."""
NODES_MAX = 100_000
"""Values in a YAML definition, aliases counted as often as they stand: a small text may mean an enormous document."""
DEPTH_MAX = 64
"""How deep a YAML definition is nested; aliases may contain each other."""


def _with_text_keys(value: Any, depth: int, left: list[int]) -> Any:
    """YAML reads `200:` as a number; JSON has names of text alone."""
    left[0] -= 1
    if depth > DEPTH_MAX or left[0] < 0:
        raise ValueError("too large")
    if isinstance(value, dict):
        return {_key(key): _with_text_keys(one, depth + 1, left) for key, one in value.items()}
    if isinstance(value, list):
        return [_with_text_keys(one, depth + 1, left) for one in value]
    return value


def _key(key: Any) -> str:
    return str(key).lower() if isinstance(key, bool) else str(key)


@dataclass(slots=True)
class Imported:
    """What a document says of an API."""

    name: str
    version: str | None = None
    description: str | None = None
    cors: Cors | None = None
    disable_execute_api_endpoint: bool = False
    tags: dict[str, str] = field(default_factory=dict)
    routes: dict[str, Route] = field(default_factory=dict)
    integrations: dict[str, Integration] = field(default_factory=dict)
    authorizers: dict[str, Authorizer] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    info: list[str] = field(default_factory=list)

    def onto(self, api: Api) -> Api:
        """The API with all of this in place of what it had."""
        return replace(
            api,
            name=self.name,
            version=self.version,
            description=self.description,
            cors_configuration=self.cors,
            disable_execute_api_endpoint=self.disable_execute_api_endpoint,
            tags={**api.tags, **self.tags},
            routes=self.routes,
            integrations=self.integrations,
            authorizers=self.authorizers,
            warnings=tuple(self.warnings) or None,
            import_info=tuple(self.info) or None,
        )


def read(
    document: Mapping[str, Any],
    new_id: NewId,
    *,
    base_path: str | None = None,
    fail_on_warnings: bool = False,
    old: Api | None = None,
) -> Imported:
    """What a document says. old: the API that it is imported over; routes and authorizers keep their ids.

    Raises BadRequest, and NotServed for what is not served here.
    """
    mode = base_path or "ignore"
    if mode not in BASE_PATHS:
        raise BadRequest(f"Invalid value for basepath: {mode}. Valid values are ignore, prepend and split")
    info = document.get("info")
    title = info.get("title") if isinstance(info, Mapping) else None
    if not isinstance(info, Mapping) or not isinstance(title, str) or not title:
        raise BadRequest("Invalid OpenAPI input. The definition has no info.title")
    found = Imported(title, _text(info.get("version")), _text(info.get("description")))
    _read_tags(document, found)
    _read_cors(document, found)
    schemes = _read_schemes(document, found, new_id, old)
    prefix = _prefix(document, mode)
    for path, method, operation in _operations(document, found):
        _read_operation(document, found, schemes, prefix, path, method, operation, new_id, old)
    if fail_on_warnings and found.warnings:
        raise BadRequest("Warnings found during import:\n\t" + "\n\t".join(found.warnings))
    return found


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _read_tags(document: Mapping[str, Any], found: Imported) -> None:
    for tag in document.get("tags") or ():
        if isinstance(tag, Mapping) and _TAG in tag and "name" in tag:
            found.tags[str(tag["name"])] = str(tag[_TAG])


def _read_cors(document: Mapping[str, Any], found: Imported) -> None:
    endpoint = document.get(_ENDPOINT)
    if isinstance(endpoint, Mapping):
        found.disable_execute_api_endpoint = endpoint.get("disableExecuteApiEndpoint") is True
    given = document.get(_CORS)
    if given is None:
        return
    if not isinstance(given, Mapping):
        raise BadRequest(f"Invalid OpenAPI input. {_CORS} is no object")
    age = given.get("maxAge")
    found.cors = Cors(
        allow_credentials=given.get("allowCredentials"),
        allow_headers=_texts(given.get("allowHeaders")),
        allow_methods=_texts(given.get("allowMethods")),
        allow_origins=_texts(given.get("allowOrigins")),
        expose_headers=_texts(given.get("exposeHeaders")),
        max_age=None if age is None else _number(age, "maxAge"),
    )
    check_cors(found.cors)


def _texts(value: Any) -> tuple[str, ...] | None:
    """A list of texts; a text is a list with commas."""
    if value is None:
        return None
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    if isinstance(value, list):
        return tuple(str(one) for one in value)
    raise BadRequest(f"Invalid OpenAPI input. A list of texts is wanted, not {value!r}"[:200])


def _number(value: Any, name: str) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        raise BadRequest(f"Invalid OpenAPI input. {name} is no number") from None


def _prefix(document: Mapping[str, Any], mode: str) -> str:
    """What the base path of the first server puts in front of every path."""
    servers = document.get("servers")
    if mode == "ignore" or not isinstance(servers, list) or not servers or not isinstance(servers[0], Mapping):
        return ""
    variables = servers[0].get("variables") or {}

    def default(match: re.Match[str]) -> str:
        given = variables.get(match[1]) if isinstance(variables, Mapping) else None
        return str(given.get("default", "")) if isinstance(given, Mapping) else ""

    path = urlsplit(_SERVER_VARIABLE.sub(default, str(servers[0].get("url", "")))).path
    segments = [segment for segment in path.split("/") if segment]
    if mode == "split":
        segments = segments[1:]
    return "".join(f"/{segment}" for segment in segments)


# Who may


@dataclass(frozen=True, slots=True)
class _Scheme:
    """A security scheme: the authorization type it means, and its authorizer."""

    kind: str
    authorizer_id: str | None = None


def _read_schemes(document: Mapping[str, Any], found: Imported, new_id: NewId, old: Api | None) -> dict[str, _Scheme]:
    components = document.get("components")
    listed = components.get("securitySchemes") if isinstance(components, Mapping) else None
    schemes: dict[str, _Scheme] = {}
    for name, scheme in listed.items() if isinstance(listed, Mapping) else ():
        if not isinstance(scheme, Mapping):
            continue
        if str(scheme.get(_AUTH_TYPE, "")).lower() == "awssigv4":
            schemes[name] = _Scheme("AWS_IAM")
            continue
        extension = scheme.get(_AUTHORIZER)
        if not isinstance(extension, Mapping):
            found.warnings.append(f"Security scheme {name} has no {_AUTHORIZER} and is ignored")
            continue
        known = next((one for one in old.authorizers.values() if one.name == name), None) if old else None
        authorizer = _authorizer(name, extension, scheme, known.authorizer_id if known else new_id())
        check_authorizer(authorizer)
        found.authorizers[authorizer.authorizer_id] = authorizer
        schemes[name] = _Scheme("JWT" if authorizer.authorizer_type == "JWT" else "CUSTOM", authorizer.authorizer_id)
    return schemes


def _authorizer(name: str, extension: Mapping[str, Any], scheme: Mapping[str, Any], authorizer_id: str) -> Authorizer:
    kind = str(extension.get("type", "")).upper()
    sources = _texts(extension.get("identitySource"))
    if sources is None:
        header = scheme.get("name") if scheme.get("in") == "header" else None
        sources = (f"$request.header.{header or 'Authorization'}",)
    if kind == "JWT":
        given = extension.get("jwtConfiguration") or {}
        return Authorizer(
            authorizer_id=authorizer_id,
            name=name,
            authorizer_type="JWT",
            identity_source=sources,
            jwt_configuration=JwtConfiguration(
                audience=_texts(given.get("audience")), issuer=_text(given.get("issuer"))
            ),
        )
    if kind != "REQUEST":
        raise BadRequest(f"Invalid OpenAPI input. Authorizer {name} is neither of type jwt nor of type request")
    ttl = extension.get("authorizerResultTtlInSeconds")
    default = AUTHORIZER_TTL_S_DEFAULT if sources else 0
    return Authorizer(
        authorizer_id=authorizer_id,
        name=name,
        authorizer_type="REQUEST",
        identity_source=sources,
        authorizer_uri=_text(extension.get("authorizerUri")),
        authorizer_credentials_arn=_text(extension.get("authorizerCredentials")),
        authorizer_payload_format_version=_text(extension.get("authorizerPayloadFormatVersion")),
        authorizer_result_ttl_in_seconds=default if ttl is None else _number(ttl, "authorizerResultTtlInSeconds"),
        enable_simple_responses=extension.get("enableSimpleResponses"),
    )


# Routes and what answers them


def _operations(document: Mapping[str, Any], found: Imported) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    paths = document.get("paths")
    if not isinstance(paths, Mapping):
        raise BadRequest("Invalid OpenAPI input. The definition has no paths")
    for path, item in paths.items():
        if not isinstance(item, Mapping):
            continue
        for name, operation in item.items():
            if name in _METHODS and isinstance(operation, Mapping):
                yield path, _METHODS[name], operation
            elif name == "trace":
                found.warnings.append(f"Method TRACE of {path} is not supported and is ignored")


def _read_operation(
    document: Mapping[str, Any],
    found: Imported,
    schemes: Mapping[str, _Scheme],
    prefix: str,
    path: str,
    method: str,
    operation: Mapping[str, Any],
    new_id: NewId,
    old: Api | None,
) -> None:
    key = DEFAULT_ROUTE if path.strip("/") == DEFAULT_ROUTE else f"{method} {prefix}{path}"
    if any(route.route_key == key for route in found.routes.values()):
        raise BadRequest(f"Invalid OpenAPI input. Route with key {key} exists more than once")
    if len(found.routes) >= ROUTES_PER_API_MAX:
        raise BadRequest(f"Invalid OpenAPI input. It has more than {ROUTES_PER_API_MAX} routes")
    known = next((one for one in old.routes.values() if one.route_key == key), None) if old else None
    target = None
    extension = _resolved(document, operation.get(_INTEGRATION))
    if extension is None:
        found.info.append(f"No integration found for {key}")
    else:
        integration = _integration(extension, key, new_id)
        check_integration(integration)
        same = next((one for one in found.integrations.values() if _is_same(one, integration)), None)
        if same is None:
            if len(found.integrations) >= INTEGRATIONS_PER_API_MAX:
                raise BadRequest(f"Invalid OpenAPI input. It has more than {INTEGRATIONS_PER_API_MAX} integrations")
            same = found.integrations[integration.integration_id] = integration
        target = f"integrations/{same.integration_id}"
    kind, authorizer_id, scopes = _security(document, operation, schemes, found, key)
    route = Route(
        route_id=known.route_id if known else new_id(),
        route_key=key,
        target=target,
        authorization_type=kind,
        authorizer_id=authorizer_id,
        authorization_scopes=scopes,
        operation_name=_text(operation.get("operationId")),
    )
    check_route(route, found.integrations, found.authorizers)
    found.routes[route.route_id] = route


def _is_same(one: Integration, other: Integration) -> bool:
    return replace(one, integration_id="") == replace(other, integration_id="")


def _resolved(document: Mapping[str, Any], extension: Any) -> Mapping[str, Any] | None:
    """An integration, or the one among the components that it refers to."""
    if not isinstance(extension, Mapping):
        return None
    place = extension.get("$ref")
    if place is None:
        return extension
    value: Any = document
    for part in str(place).removeprefix("#/").split("/"):
        value = value.get(part) if isinstance(value, Mapping) else None
    if not isinstance(value, Mapping):
        raise BadRequest(f"Invalid OpenAPI input. {place} refers to nothing")
    return value


def _integration(extension: Mapping[str, Any], key: str, new_id: NewId) -> Integration:
    if extension.get("integrationSubtype"):
        raise NotServed(
            f"Integrations with other services ({extension['integrationSubtype']} of {key}) are not served by this release "
            "of Lambent: let a function of the type aws_proxy call the service."
        )
    if str(extension.get("connectionType", "INTERNET")).upper() == "VPC_LINK":
        raise NotServed(f"There are no VPCs here, and no links into them: {key} names one.")
    tls = extension.get("tlsConfig")
    timeout = extension.get("timeoutInMillis")
    requests, responses = extension.get("requestParameters"), extension.get("responseParameters")
    method = extension.get("httpMethod")
    kind = str(extension.get("type", "")).upper()
    made = Integration(
        integration_id=new_id(),
        integration_type=kind,
        integration_uri=_text(extension.get("uri")),
        integration_method=None
        if method is None
        else str(method).upper().replace("X-AMAZON-APIGATEWAY-ANY-METHOD", "ANY"),
        credentials_arn=_text(extension.get("credentials")),
        payload_format_version=str(extension.get("payloadFormatVersion", "1.0")),
        request_parameters=_map(requests),
        response_parameters=None
        if not isinstance(responses, Mapping)
        else {str(status): _map(one) or {} for status, one in responses.items()},
        tls_config=TlsConfig(server_name_to_verify=_text(tls.get("serverNameToVerify")))
        if isinstance(tls, Mapping)
        else None,
    )
    return made if timeout is None else replace(made, timeout_in_millis=_number(timeout, "timeoutInMillis"))


def _map(value: Any) -> dict[str, str] | None:
    return {str(name): str(one) for name, one in value.items()} if isinstance(value, Mapping) else None


def _security(
    document: Mapping[str, Any],
    operation: Mapping[str, Any],
    schemes: Mapping[str, _Scheme],
    found: Imported,
    key: str,
) -> tuple[str, str | None, tuple[str, ...] | None]:
    """Authorization type, authorizer and scopes of an operation: its own security, else the document's."""
    own = operation.get(_AUTH)
    if isinstance(own, Mapping) and str(own.get("type", "")).upper() in ("AWS_IAM", "NONE"):
        return str(own["type"]).upper(), None, None
    given = operation["security"] if "security" in operation else document.get("security")
    wanted: list[Any] = given if isinstance(given, list) else []
    for requirement in wanted:
        for name, scopes in requirement.items() if isinstance(requirement, Mapping) else ():
            scheme = schemes.get(name)
            if scheme is None and name == "NONE":  # as SAM writes that an operation is open
                return "NONE", None, None
            if scheme is None:
                # Left open, it would be a hole that the document's author did not mean.
                raise BadRequest(
                    f"Invalid OpenAPI input. {key} wants the security scheme {name}, which has no {_AUTHORIZER}"
                )
            if len(wanted) > 1 or len(requirement) > 1:
                found.warnings.append(f"{key} has more than one security requirement; {name} is used")
            needed = tuple(map(str, scopes)) if scheme.kind == "JWT" and isinstance(scopes, list) else ()
            return scheme.kind, scheme.authorizer_id, needed or None
    return "NONE", None, None


# Writing


def written(api: Api, snapshot: Snapshot, *, with_extensions: bool) -> dict[str, Any]:
    """The document of an API, or of what one of its stages has in force."""
    info: dict[str, Any] = {"title": api.name}
    if api.description is not None:
        info["description"] = api.description
    info["version"] = api.version or "1.0"
    document: dict[str, Any] = {"openapi": "3.0.1", "info": info}
    if with_extensions and api.tags:
        document["tags"] = [{"name": name, _TAG: value} for name, value in api.tags.items()]
    integrations = {one.integration_id: one for one in snapshot.integrations}
    auths = {one.authorizer_id: one for one in snapshot.authorizers}
    paths: dict[str, Any] = {}
    for route in snapshot.routes:
        path, name = _place(route)
        operation: dict[str, Any] = {}
        if route.operation_name is not None:
            operation["operationId"] = route.operation_name
        variables = re.findall(r"\{([^{}]+)\}", path)
        if variables:
            operation["parameters"] = [
                {"name": one, "in": "path", "required": True, "schema": {"type": "string"}} for one in variables
            ]
        operation["responses"] = {"default": {"description": f"Default response for {route.route_key}"}}
        authorizer = auths.get(route.authorizer_id or "")
        if authorizer is not None:
            operation["security"] = [{authorizer.name: list(route.authorization_scopes or ())}]
        if with_extensions:
            if route.authorization_type == "AWS_IAM":
                operation[_AUTH] = {"type": "AWS_IAM"}
            if route.route_key == DEFAULT_ROUTE:
                operation["isDefaultRoute"] = True
            integration = integrations.get(route.integration_id or "")
            if integration is not None:
                operation[_INTEGRATION] = _shown_integration(integration)
        if name in ("x-amazon-apigateway-any-method",) and not with_extensions:
            continue  # without the extension there is no word for any method
        paths.setdefault(path, {})[name] = operation
    document["paths"] = paths
    if auths:
        document["components"] = {
            "securitySchemes": {one.name: _shown_authorizer(one, with_extensions) for one in snapshot.authorizers}
        }
    if with_extensions:
        if api.cors_configuration is not None:
            document[_CORS] = _shown_cors(api.cors_configuration)
        document["x-amazon-apigateway-importexport-version"] = "1.0"
    return document


def _place(route: Route) -> tuple[str, str]:
    if route.route_key == DEFAULT_ROUTE:
        return f"/{DEFAULT_ROUTE}", "x-amazon-apigateway-any-method"
    method, _, path = route.route_key.partition(" ")
    return path, "x-amazon-apigateway-any-method" if method == "ANY" else method.lower()


def _shown_integration(one: Integration) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "payloadFormatVersion": one.payload_format_version,
        "type": one.integration_type.lower(),
        "httpMethod": one.integration_method,
        "uri": one.integration_uri,
        "connectionType": one.connection_type,
        "credentials": one.credentials_arn,
        "timeoutInMillis": one.timeout_in_millis,
        "requestParameters": None if one.request_parameters is None else dict(one.request_parameters),
        "responseParameters": None
        if one.response_parameters is None
        else {status: dict(given) for status, given in one.response_parameters.items()},
        "tlsConfig": None if one.tls_config is None else {"serverNameToVerify": one.tls_config.server_name_to_verify},
    }
    return {name: value for name, value in shown.items() if value is not None}


def _shown_authorizer(one: Authorizer, with_extensions: bool) -> dict[str, Any]:
    if one.authorizer_type == "JWT":
        assert one.jwt_configuration is not None
        issuer = (one.jwt_configuration.issuer or "").rstrip("/")
        shown: dict[str, Any] = {
            "type": "openIdConnect",
            "openIdConnectUrl": f"{issuer}/.well-known/openid-configuration",
        }
        extension: dict[str, Any] = {
            "type": "jwt",
            "identitySource": one.identity_source[0],
            "jwtConfiguration": {
                "audience": list(one.jwt_configuration.audience or ()),
                "issuer": one.jwt_configuration.issuer,
            },
        }
    else:
        shown = {"type": "apiKey", "name": "Unused", "in": "header"}
        extension = {
            "type": "request",
            "identitySource": ",".join(one.identity_source) or None,
            "authorizerUri": one.authorizer_uri,
            "authorizerCredentials": one.authorizer_credentials_arn,
            "authorizerPayloadFormatVersion": one.authorizer_payload_format_version,
            "authorizerResultTtlInSeconds": one.authorizer_result_ttl_in_seconds,
            "enableSimpleResponses": one.enable_simple_responses,
        }
    if with_extensions:
        shown[_AUTHORIZER] = {name: value for name, value in extension.items() if value is not None}
    return shown


def _shown_cors(one: Cors) -> dict[str, Any]:
    shown = {
        "allowMethods": one.allow_methods,
        "allowHeaders": one.allow_headers,
        "exposeHeaders": one.expose_headers,
        "maxAge": one.max_age,
        "allowCredentials": one.allow_credentials,
        "allowOrigins": one.allow_origins,
    }
    return {
        name: list(value) if isinstance(value, tuple) else value for name, value in shown.items() if value is not None
    }


def dump(document: Mapping[str, Any], output: str) -> bytes:
    """As JSON or YAML; where PyYAML is missing, JSON, which is YAML too."""
    if output == "YAML":
        try:
            import yaml
        except ImportError:
            return orjson.dumps(document, option=orjson.OPT_INDENT_2)
        text: str = yaml.safe_dump(dict(document), sort_keys=False)
        return text.encode()
    return orjson.dumps(document, option=orjson.OPT_INDENT_2)
