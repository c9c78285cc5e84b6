"""One request to an HTTP API on its way: what is known of it, what it may be asked, and what others are told of it."""

from __future__ import annotations

import os
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

from . import outgoing, parameters, payload1, payload2
from .http_apis.model import DEFAULT_ROUTE, Api, Route

if TYPE_CHECKING:
    from lambent.http import Exchange, Request

    from .live import Live, Way

Fields = list[tuple[bytes, bytes]]


class Refusal(Exception):
    """An answer of the gateway's own. why: for logs."""

    def __init__(self, status: int, message: str, fields: Fields | None = None, why: str = "") -> None:
        super().__init__(why or message)
        self.status = status
        self.message = message
        self.fields = fields or []
        self.why = why


def not_found() -> Refusal:
    return Refusal(404, "Not Found")


def forbidden(why: str = "") -> Refusal:
    return Refusal(403, "Forbidden", why=why)


def failure(why: str) -> Refusal:
    return Refusal(500, "Internal Server Error", why=why)


def unavailable(why: str) -> Refusal:
    return Refusal(503, "Service Unavailable", why=why)


@dataclass(slots=True)
class Place:
    """Where a request leads: an API's stage and the path within it."""

    live: Live
    path: str
    """Within the stage, as it was sent."""
    shown_path: bytes
    """As events show it, before decoding: with the stage's name, or below a domain name's mapping."""
    domain_name: str


@dataclass(slots=True)
class Asked:
    """A request on its way."""

    exchange: Exchange
    request: Request
    place: Place
    request_id: str
    arrival: payload2.Arrival
    added: dict[str, str]
    """Headers of the gateway's own, those that `arrival` adds."""
    trace: str
    started_ns: int
    fields: Fields
    query: bytes
    origin: bytes | None
    share: object = None
    """Of the budget for large bodies: held, not used."""
    way: Way | None = None
    path_parameters: Mapping[str, str] = field(default_factory=dict)
    authorizer: Mapping[str, Any] | None = None
    principal: str | None = None
    seen: dict[str, object] = field(default_factory=dict)
    """For the access log."""

    @property
    def raw_path(self) -> str:
        """The path as events show it: decoded, and ended by a question mark that it held encoded, as the service has it."""
        return payload2.decoded_path(self.place.shown_path).partition("?")[0]

    def look(self, name: str) -> str | None:
        """The value of `request.header.x` and its like; None: there is none."""
        kind, _, rest = name.partition(".")
        if kind == "stageVariables":
            return self.place.live.stage.stage_variables.get(rest)
        if kind == "context":
            value = self.context().get(rest)
            return None if value is None else str(value)
        if kind != "request":
            return None
        place, _, key = rest.partition(".")
        if place == "header":
            wanted = key.lower().encode()
            found = [value.decode("utf-8", "replace") for one, value in self.fields if one == wanted]
            added = self.added.get(key.lower())
            return ",".join(found) if found else added
        if place == "querystring":
            return ",".join(payload1.query_values(self.query).get(key, ())) or None
        if place == "path":
            return self.path_parameters.get(key) if key else self.place.path
        if place == "body":
            body = self.request.body
            return parameters.body_value(body, key) if key else body.decode("utf-8", "replace")
        return None

    def context(self) -> dict[str, object]:
        """`$context` by the names of its variables."""
        api, stage = self.place.live.api, self.place.live.stage
        request = self.request
        values: dict[str, object] = {
            "accountId": api.scope.account,
            "apiId": api.api_id,
            "awsEndpointRequestId": self.seen.get("integration.requestId"),
            "domainName": self.place.domain_name,
            "domainPrefix": self.place.domain_name.partition(".")[0],
            "extendedRequestId": self.request_id,
            "httpMethod": request.method,
            "identity.sourceIp": self.arrival.source_ip,
            "identity.userAgent": (request.header(b"user-agent") or b"").decode("utf-8", "replace"),
            "path": self.raw_path,
            "protocol": self.arrival.protocol,
            "requestId": self.request_id,
            "requestTime": payload2.request_time(self.arrival.epoch_ms),
            "requestTimeEpoch": self.arrival.epoch_ms,
            "routeKey": None if self.way is None else self.way.route.route_key,
            "stage": stage.stage_name,
            "authorizer.principalId": self.principal,
        }
        for kind, given in (self.authorizer or {}).items():
            if kind == "jwt":
                values |= {f"authorizer.claims.{name}": one for name, one in given["claims"].items()}
            elif kind == "iam":
                values |= {
                    "identity.accessKey": given["accessKey"],
                    "identity.accountId": given["accountId"],
                    "identity.caller": given["callerId"],
                    "identity.user": given["userId"],
                    "identity.userArn": given["userArn"],
                }
            else:
                values |= {
                    f"authorizer.{name}": one if isinstance(one, str) else orjson.dumps(one).decode()
                    for name, one in (given or {}).items()
                }
        return values | self.seen


def new_request_id() -> str:
    """As the gateway's: fifteen letters and digits, and an equals sign."""
    return b64encode(os.urandom(11)).decode().replace("+", "0").replace("/", "1")


def execute_arn(api: Api) -> str:
    scope = api.scope
    return f"arn:{scope.partition}:execute-api:{scope.region}:{scope.account}:{api.api_id}"


def request_arn(asked: Asked) -> str:
    """What an authorizer decides about: the stage, the method and the path itself."""
    live = asked.place.live
    path = payload2.decoded_path(asked.place.path.encode())
    return f"{execute_arn(live.api)}/{live.stage.stage_name}/{asked.request.method}{path}"


def source_arn(asked: Asked, route: Route) -> str:
    """What a function's permission names: the stage, the method and the route's path, variables and all."""
    live = asked.place.live
    base = f"{execute_arn(live.api)}/{live.stage.stage_name}"
    if route.route_key == DEFAULT_ROUTE:
        return f"{base}/{DEFAULT_ROUTE}"
    return f"{base}/{asked.request.method}{route.route_key.partition(' ')[2]}"


def front_of(asked: Asked) -> payload2.Front:
    live = asked.place.live
    return payload2.Front(
        account_id=live.api.scope.account,
        api_id=live.api.api_id,
        domain_name=asked.place.domain_name,
        stage=live.stage.stage_name,
        stage_variables=live.stage.stage_variables or None,
    )


def authorizer_event(asked: Asked, is_second: bool, given: list[str], arn: str) -> dict[str, Any]:
    """What a Lambda authorizer is asked, in format 2.0 or 1.0."""
    assert asked.way is not None
    make = payload2.event if is_second else payload1.event
    event = make(
        front_of(asked),
        asked.arrival,
        asked.request.method,
        asked.raw_path,
        asked.query,
        asked.fields,
        b"",
        route_key=asked.way.route.route_key,
        path_parameters=asked.path_parameters,
    )
    event.pop("body", None)
    event.pop("isBase64Encoded")
    if is_second:
        event = {"version": "2.0", "type": "REQUEST", "routeArn": arn, "identitySource": given, **event}
        event.setdefault("cookies", [])
        for name in ("queryStringParameters", "pathParameters", "stageVariables"):
            event.setdefault(name, {})
        return event
    for name in ("multiValueHeaders", "multiValueQueryStringParameters"):
        event.pop(name)
    for name in ("queryStringParameters", "pathParameters", "stageVariables"):
        event[name] = event[name] or {}
    joined = ",".join(given)
    return {
        "version": "1.0",
        "type": "REQUEST",
        "methodArn": arn,
        "identitySource": joined,
        "authorizationToken": joined,
        **event,
    }


def forwarded_fields(asked: Asked, fields: Fields) -> Fields:
    """The headers of a forwarded request: the client's, without those of the connection, and who forwards for whom."""
    of_connection = [field for field in asked.request.headers if field[0] == b"connection"]
    passed = [
        field
        for field in outgoing.without_hops([*fields, *of_connection])
        if field[0] not in (b"host", b"content-length", b"expect", b"x-amzn-trace-id", b"forwarded", b"via")
    ]
    host = asked.place.domain_name
    forwarded = f"by={asked.arrival.source_ip};for={asked.arrival.source_ip};host={host};proto={asked.added['x-forwarded-proto']}"
    return [
        *passed,
        (b"forwarded", forwarded.encode("latin-1", "replace")),
        (b"via", b"HTTP/1.1 AmazonAPIGateway"),
        (b"x-amzn-trace-id", asked.added["x-amzn-trace-id"].encode()),
    ]
