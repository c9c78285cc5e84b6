"""What is kept of an HTTP API. One API is one record: its routes, integrations, authorizers, stages and deployments change
together or not at all, and go with it.

Fields are the API's members in snake case; times are epoch milliseconds. Source: API Gateway v2 API reference.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from lambent.domain.names import Scope

DEFAULT_STAGE = "$default"
DEFAULT_ROUTE = "$default"
ROUTE_SELECTION = "$request.method $request.path"
API_KEY_SELECTION = "$request.header.x-api-key"


def _nothing() -> Mapping[str, str]:
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cors:
    """Who may read an API's answers from a browser."""

    allow_credentials: bool | None = None
    allow_headers: tuple[str, ...] | None = None
    allow_methods: tuple[str, ...] | None = None
    allow_origins: tuple[str, ...] | None = None
    expose_headers: tuple[str, ...] | None = None
    max_age: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Requests of one method and path, and where they go."""

    route_id: str
    route_key: str
    target: str | None = None
    authorization_type: str = "NONE"
    authorizer_id: str | None = None
    authorization_scopes: tuple[str, ...] | None = None
    api_key_required: bool = False
    operation_name: str | None = None
    api_gateway_managed: bool | None = None

    @property
    def integration_id(self) -> str | None:
        return None if self.target is None else self.target.removeprefix("integrations/")


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsConfig:
    """What the certificate of an integration's server must name."""

    server_name_to_verify: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Integration:
    """What answers requests: a function, or another HTTP server."""

    integration_id: str
    integration_type: str
    integration_uri: str | None = None
    integration_method: str | None = None
    connection_type: str = "INTERNET"
    credentials_arn: str | None = None
    description: str | None = None
    payload_format_version: str = "1.0"
    request_parameters: Mapping[str, str] | None = None
    response_parameters: Mapping[str, Mapping[str, str]] | None = None
    timeout_in_millis: int = 30_000
    tls_config: TlsConfig | None = None
    api_gateway_managed: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JwtConfiguration:
    """Whose tokens are taken, and for whom they must be made."""

    audience: tuple[str, ...] | None = None
    issuer: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Authorizer:
    """Who decides whether a request may pass: a token's issuer, or a function."""

    authorizer_id: str
    name: str
    authorizer_type: str
    identity_source: tuple[str, ...]
    jwt_configuration: JwtConfiguration | None = None
    authorizer_uri: str | None = None
    authorizer_credentials_arn: str | None = None
    authorizer_payload_format_version: str | None = None
    authorizer_result_ttl_in_seconds: int | None = None
    enable_simple_responses: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteSettings:
    """How often a route may be called."""

    data_trace_enabled: bool | None = None
    detailed_metrics_enabled: bool | None = None
    logging_level: str | None = None
    throttling_burst_limit: int | None = None
    throttling_rate_limit: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessLogSettings:
    """Where a stage logs its requests, and in which words."""

    destination_arn: str | None = None
    format: str | None = None


def _plain_settings() -> RouteSettings:
    return RouteSettings(detailed_metrics_enabled=False)


def _no_settings() -> Mapping[str, RouteSettings]:
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A deployment, or whatever the API is at the moment, under an address of its own."""

    stage_name: str
    created_ms: int
    updated_ms: int
    auto_deploy: bool = False
    deployment_id: str | None = None
    description: str | None = None
    default_route_settings: RouteSettings = field(default_factory=_plain_settings)
    route_settings: Mapping[str, RouteSettings] = field(default_factory=_no_settings)
    stage_variables: Mapping[str, str] = field(default_factory=_nothing)
    access_log_settings: AccessLogSettings | None = None
    last_deployment_status_message: str | None = None
    tags: Mapping[str, str] = field(default_factory=_nothing)
    api_gateway_managed: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """All that decides how requests are answered, as it stood at a moment."""

    routes: tuple[Route, ...] = ()
    integrations: tuple[Integration, ...] = ()
    authorizers: tuple[Authorizer, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """A snapshot under an id. Of automatic deployments only the newest is kept."""

    deployment_id: str
    created_ms: int
    snapshot: Snapshot
    auto_deployed: bool = False
    description: str | None = None


def _no_routes() -> Mapping[str, Route]:
    return {}


def _no_integrations() -> Mapping[str, Integration]:
    return {}


def _no_authorizers() -> Mapping[str, Authorizer]:
    return {}


def _no_stages() -> Mapping[str, Stage]:
    return {}


def _no_deployments() -> Mapping[str, Deployment]:
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Api:
    """One HTTP API, whole."""

    scope: Scope
    api_id: str
    name: str
    created_ms: int
    protocol_type: str = "HTTP"
    description: str | None = None
    version: str | None = None
    cors_configuration: Cors | None = None
    disable_execute_api_endpoint: bool = False
    ip_address_type: str = "ipv4"
    route_selection_expression: str = ROUTE_SELECTION
    api_key_selection_expression: str = API_KEY_SELECTION
    import_info: tuple[str, ...] | None = None
    warnings: tuple[str, ...] | None = None
    tags: Mapping[str, str] = field(default_factory=_nothing)
    routes: Mapping[str, Route] = field(default_factory=_no_routes)
    integrations: Mapping[str, Integration] = field(default_factory=_no_integrations)
    authorizers: Mapping[str, Authorizer] = field(default_factory=_no_authorizers)
    stages: Mapping[str, Stage] = field(default_factory=_no_stages)
    deployments: Mapping[str, Deployment] = field(default_factory=_no_deployments)

    @property
    def snapshot(self) -> Snapshot:
        """What a deployment made now would hold."""
        return Snapshot(
            routes=tuple(self.routes.values()),
            integrations=tuple(self.integrations.values()),
            authorizers=tuple(self.authorizers.values()),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiMapping:
    """Which API's stage answers below a path of a domain."""

    api_mapping_id: str
    api_id: str
    stage: str
    api_mapping_key: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainConfiguration:
    """How a domain is reached, as it was asked for; nothing here terminates TLS."""

    certificate_arn: str | None = None
    certificate_name: str | None = None
    endpoint_type: str = "REGIONAL"
    ip_address_type: str = "ipv4"
    security_policy: str = "TLS_1_2"
    ownership_verification_certificate_arn: str | None = None


def _no_mappings() -> Mapping[str, ApiMapping]:
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainName:
    """A host name of a user's own, and the APIs behind it."""

    scope: Scope
    domain_name: str
    gateway_id: str
    """The label of the name that the gateway itself gives the domain."""
    configurations: tuple[DomainConfiguration, ...] = ()
    mappings: Mapping[str, ApiMapping] = field(default_factory=_no_mappings)
    tags: Mapping[str, str] = field(default_factory=_nothing)
