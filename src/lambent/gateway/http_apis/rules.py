"""What a well-formed HTTP API may say. Pure checks; what is refused is a BadRequest.

Where the service's words are known from its documentation, its clients' issue trackers or recordings, they stand here;
the rest are ours.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from lambent.domain.names import Scope, parse_function_arn

from ..access_logs import group_of
from ..errors import BadRequest, LimitExceeded
from ..limits import (
    AUDIENCES_PER_AUTHORIZER_MAX,
    AUTHORIZER_TTL_S_MAX,
    SCOPES_PER_ROUTE_MAX,
    STAGE_VARIABLE_NAME_CHARS_MAX,
    STAGE_VARIABLE_VALUE_CHARS_MAX,
    STAGE_VARIABLES_MAX,
)
from ..parameters import is_reserved
from .model import DEFAULT_ROUTE, DEFAULT_STAGE, AccessLogSettings, Authorizer, Cors, Integration, Route

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "ANY")
_ROUTE_KEY = re.compile(rf"({'|'.join(METHODS)}) (/\S*)")
_SEGMENT = re.compile(r"\{([A-Za-z0-9._:-]+)(\+?)\}|[^{}]*")
_STAGE_NAME = re.compile(r"[A-Za-z0-9_-]+")
_VARIABLE = re.compile(r"[A-Za-z0-9_]+")
_VARIABLE_VALUE = re.compile(r"[A-Za-z0-9-._~:/?#&=,]+")
_ORIGIN = re.compile(r"\*|https?://\*|[A-Za-z][A-Za-z0-9+.-]*://[^/*\s]+")
_HEADER_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_IDENTITY = re.compile(r"\$(request\.(header|querystring)|stageVariables|context)\.[A-Za-z0-9._-]+")
_INVOCATION = re.compile(r"arn:aws[a-z-]*:apigateway:[a-z0-9-]+:lambda:path/2015-03-31/functions/(.+)/invocations")
_STAGE_VARIABLE = re.compile(r"\$\{stageVariables\.([A-Za-z0-9_]+)\}")
_PARAMETER = re.compile(
    r"(append|overwrite|remove):(header|querystring)\.[!#$%&'*+\-.^_`|~0-9A-Za-z]+|overwrite:(path|statuscode)"
)

BAD_ROUTE_KEY = (
    "The provided route key is not formatted properly for HTTP protocol. "
    'Format should be "<HTTP METHOD> /<RESOURCE PATH>" or "$default"'
)


def check_route_key(key: str) -> None:
    """`METHOD /path` or `$default`; variables stand alone in their segment, the greedy one in the last."""
    if key == DEFAULT_ROUTE:
        return
    found = _ROUTE_KEY.fullmatch(key)
    if found is None:
        raise BadRequest(BAD_ROUTE_KEY)
    names: list[str] = []
    segments = found[2].split("/")[1:]
    for position, segment in enumerate(segments):
        variable = _SEGMENT.fullmatch(segment)
        if variable is None:
            raise BadRequest(BAD_ROUTE_KEY)
        if variable[1] is None:
            continue
        if variable[2] and position != len(segments) - 1:
            raise BadRequest(f"Greedy path variables may only stand at the end of a route key: {key}")
        if variable[1] in names:
            raise BadRequest(f"Path variables of a route key need different names: {key}")
        names.append(variable[1])


def check_route(route: Route, integrations: Mapping[str, Integration], authorizers: Mapping[str, Authorizer]) -> None:
    """A route beside the rest of its API."""
    check_route_key(route.route_key)
    if route.api_key_required:
        raise BadRequest("ApiKeyRequired is not currently supported for HTTP APIs")
    if route.target is not None and (
        not route.target.startswith("integrations/") or route.integration_id not in integrations
    ):
        raise BadRequest(
            f"Invalid target {route.target} specified: it must be integrations/ID of an integration of the API"
        )
    if len(route.authorization_scopes or ()) > SCOPES_PER_ROUTE_MAX:
        raise BadRequest(f"A route has at most {SCOPES_PER_ROUTE_MAX} authorization scopes.")
    kind = route.authorization_type
    if route.authorization_scopes and kind != "JWT":
        raise BadRequest("AuthorizationScopes is only supported for the authorization type JWT")
    if kind in ("NONE", "AWS_IAM"):
        if route.authorizer_id is not None:
            raise BadRequest(f"AuthorizerId is not supported for the authorization type {kind}")
        return
    if route.authorizer_id is None:
        raise BadRequest(f"AuthorizerId is required for the authorization type {kind}")
    authorizer = authorizers.get(route.authorizer_id)
    if authorizer is None:
        raise BadRequest(f"Invalid authorizer ID specified: {route.authorizer_id}")
    if (authorizer.authorizer_type == "JWT") != (kind == "JWT"):
        raise BadRequest(
            f"Authorizer {route.authorizer_id} is of type {authorizer.authorizer_type}, which the authorization type "
            f"{kind} does not take"
        )


def function_in(uri: str) -> str:
    """The function's ARN or name in an integration's URI, in either form."""
    found = _INVOCATION.fullmatch(uri)
    return uri if found is None else found[1]


def check_integration(integration: Integration) -> None:
    """An integration by itself."""
    uri, kind = integration.integration_uri, integration.integration_type
    if kind not in ("AWS_PROXY", "HTTP_PROXY"):
        raise BadRequest(f"Integration type {kind} is not supported for HTTP APIs; use AWS_PROXY or HTTP_PROXY")
    if uri is None:
        raise BadRequest("IntegrationUri is a required parameter for the integration")
    if integration.payload_format_version not in (("1.0", "2.0") if kind == "AWS_PROXY" else ("1.0",)):
        raise BadRequest(
            f"PayloadFormatVersion {integration.payload_format_version} is not supported for the integration type {kind}"
        )
    if kind == "AWS_PROXY":
        named = _STAGE_VARIABLE.sub("x", function_in(uri))
        if parse_function_arn(named) is None:
            raise BadRequest(f"Invalid function ARN or invalid URI specified: {uri}")
        if integration.integration_method not in (None, "POST"):
            raise BadRequest("HttpMethod must be POST for Lambda integrations.")
    else:
        if not _STAGE_VARIABLE.sub("x", uri).startswith(("http://", "https://")):
            raise BadRequest("Invalid HTTP endpoint specified for URI")
        if integration.integration_method is None or integration.integration_method not in METHODS:
            raise BadRequest("HttpMethod must be provided for integrations of type HTTP_PROXY")
    for name in integration.request_parameters or ():
        if _PARAMETER.fullmatch(name) is None or name == "overwrite:statuscode":
            raise BadRequest(f"Invalid mapping expression specified: {name}")
        _check_mapped_header(name)
    for status, parameters in (integration.response_parameters or {}).items():
        if not (status.isdigit() and 200 <= int(status) <= 599):
            raise BadRequest(f"Invalid status code specified for ResponseParameters: {status}")
        for name in parameters:
            if _PARAMETER.fullmatch(name) is None or "querystring" in name or name == "overwrite:path":
                raise BadRequest(f"Invalid mapping expression specified: {name}")
            _check_mapped_header(name)


def _check_mapped_header(name: str) -> None:
    place, _, header = name.partition(":")[2].partition(".")
    if place == "header" and is_reserved(header):
        raise BadRequest(f"Operations on header {header} are restricted")


def check_authorizer(authorizer: Authorizer) -> None:
    """An authorizer by itself."""
    for source in authorizer.identity_source:
        if _IDENTITY.fullmatch(source) is None:
            raise BadRequest(f"Invalid identity source specified: {source}")
    if authorizer.authorizer_type == "JWT":
        _check_jwt(authorizer)
        return
    if authorizer.authorizer_uri is None:
        raise BadRequest("AuthorizerUri is a required parameter for REQUEST authorizers")
    if parse_function_arn(_STAGE_VARIABLE.sub("x", function_in(authorizer.authorizer_uri))) is None:
        raise BadRequest(
            f"Invalid Authorizer URI: {authorizer.authorizer_uri}. Authorizer URI should be a valid API Gateway ARN that represents a Lambda function invocation."
        )
    if authorizer.authorizer_payload_format_version not in ("1.0", "2.0"):
        raise BadRequest("AuthorizerPayloadFormatVersion is a required parameter for REQUEST authorizers: 1.0 or 2.0")
    if authorizer.enable_simple_responses and authorizer.authorizer_payload_format_version != "2.0":
        raise BadRequest("EnableSimpleResponses is only supported for AuthorizerPayloadFormatVersion 2.0")
    ttl = authorizer.authorizer_result_ttl_in_seconds or 0
    if not 0 <= ttl <= AUTHORIZER_TTL_S_MAX:
        raise BadRequest(f"AuthorizerResultTtlInSeconds must be between 0 and {AUTHORIZER_TTL_S_MAX}")
    if ttl and not authorizer.identity_source:
        raise BadRequest("Identity sources are required when results are cached: give IdentitySource, or a TTL of 0")


def _check_jwt(authorizer: Authorizer) -> None:
    jwt = authorizer.jwt_configuration
    if jwt is None or not jwt.issuer or not jwt.audience:
        raise BadRequest("JwtConfiguration with Issuer and Audience is required for JWT authorizers")
    if not jwt.issuer.startswith(("https://", "http://")):
        raise BadRequest(f"Invalid issuer: {jwt.issuer}. Issuer must be an HTTP URL with a discovery document")
    if len(jwt.audience) > AUDIENCES_PER_AUTHORIZER_MAX:
        raise BadRequest(f"A JWT authorizer has at most {AUDIENCES_PER_AUTHORIZER_MAX} audiences.")
    if len(authorizer.identity_source) != 1 or not authorizer.identity_source[0].startswith("$request."):
        raise BadRequest("JWT authorizers take exactly one identity source, of a header or a query parameter")


def check_stage_name(name: str) -> None:
    if name != DEFAULT_STAGE and _STAGE_NAME.fullmatch(name) is None:
        raise BadRequest("Stage name only allows a-zA-Z0-9_- or $default")


def check_stage_variables(variables: Mapping[str, str]) -> None:
    if len(variables) > STAGE_VARIABLES_MAX:
        raise LimitExceeded(f"A stage has at most {STAGE_VARIABLES_MAX} stage variables.")
    for name, value in variables.items():
        if _VARIABLE.fullmatch(name) is None or len(name) > STAGE_VARIABLE_NAME_CHARS_MAX:
            raise BadRequest(f"Invalid stage variable name: {name}. Stage variable name must match: [A-Za-z0-9_]+")
        if _VARIABLE_VALUE.fullmatch(value) is None or len(value) > STAGE_VARIABLE_VALUE_CHARS_MAX:
            raise BadRequest(
                f"Invalid stage variable value: {value}. Please use values with alphanumeric characters and the "
                "symbols ' ', -', '.', '_', ':', '/', '?', '&', '=', and ','."
            )


def check_access_log(settings: AccessLogSettings, scope: Scope) -> None:
    """Logs go to a log group of the API's own account and region: no other kind of destination is served."""
    if settings.destination_arn is None or group_of(settings.destination_arn, scope.account, scope.region) is None:
        raise BadRequest(
            "Invalid ARN specified in the request. Access logs go to a log group: "
            f"arn:{scope.partition}:logs:{scope.region}:{scope.account}:log-group:NAME"
        )
    if not settings.format:
        raise BadRequest("Access log settings need a Format")


def check_cors(cors: Cors) -> None:
    """A CORS configuration by itself."""
    for origin in cors.allow_origins or ():
        if _ORIGIN.fullmatch(origin) is None:
            raise BadRequest(f"Invalid origin specified in CORS configuration: {origin}")
    for method in cors.allow_methods or ():
        if method not in (*METHODS[:-1], "*"):
            raise BadRequest(f"Invalid method specified in CORS configuration: {method}")
    for header in (*(cors.allow_headers or ()), *(cors.expose_headers or ())):
        if _HEADER_NAME.fullmatch(header) is None:
            raise BadRequest(f"Invalid header specified in CORS configuration: {header}")
    if cors.allow_credentials and "*" in (cors.allow_origins or ()):
        raise BadRequest("AllowCredentials cannot be true when AllowOrigins contains *")


_HOST_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?")
_MAPPING_SEGMENT = re.compile(r"[A-Za-z0-9$\-_.+!*'()]+")
HOST_CHARS_MAX = 253
MAPPING_KEY_CHARS_MAX = 300


def check_domain_name(name: str) -> None:
    """A host name of two labels at least, the first of which may be a wildcard."""
    labels = name.lower().removeprefix("*.").split(".")
    if len(name) > HOST_CHARS_MAX or len(labels) < 2 or not all(map(_HOST_LABEL.fullmatch, labels)):
        raise BadRequest(f"Invalid domain name identifier specified: {name}")


def check_mapping_key(key: str) -> None:
    """Empty, or path segments without the first slash."""
    if key and (len(key) > MAPPING_KEY_CHARS_MAX or not all(map(_MAPPING_SEGMENT.fullmatch, key.split("/")))):
        raise BadRequest(
            "API mapping key should not start with a '/' or have empty segments, and only has letters, digits and $-_.+!*'()"
        )
