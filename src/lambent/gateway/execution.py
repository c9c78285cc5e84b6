"""HTTP APIs at work: from a client's request to a function or an HTTP server, and back.

Found by its host (`API.execute-api.REGION.…`, or a domain name of the user's own), or by a path for clients that resolve no
such name (`/_aws/execute-api/API/…`), a request goes through the same gates as at the service: stage, preflight, route,
throttling, authorizer, integration. Refusals are the service's words and nothing more; why an integration failed is told
in the access log and on the server's own.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

import orjson

from lambent.domain.errors import LambentError
from lambent.domain.limits import INVOKE_REQUEST_BYTES_MAX
from lambent.http import Buffered
from lambent.invocations.trace import trace_header
from lambent.telemetry.attempt import UserEvents

from . import access_logs, answers, outgoing, parameters, payload1, payload2
from .addresses import API_PATH_PREFIX, PAGES, api_host_of, origin_of, page_elsewhere, split_host
from .asked import (
    Asked,
    Fields,
    Refusal,
    failure,
    forwarded_fields,
    front_of,
    new_request_id,
    not_found,
    source_arn,
    unavailable,
)
from .cors import is_preflight
from .forwarding import Forwarding
from .gatekeeper import Gatekeeper, Signatures
from .http_apis.model import Api, Integration, Route
from .integrations import Failed, Lambda, Throttled, Traversal, http_url, named, printable
from .limits import REQUEST_BYTES_MAX
from .live import Stages

if TYPE_CHECKING:
    from lambent.domain.clock import Clock
    from lambent.domain.egress import Layer
    from lambent.http import Exchange, Request
    from lambent.identity.model import Caller

    from .http_apis.service import HttpApis
    from .live import Way

log = logging.getLogger("lambent.gateway")

REQUEST_ID = b"apigw-requestid"
INLINE_BYTES_MAX = 1_048_576
"""Larger events and responses are made and read in a thread."""
_BODY = Buffered(REQUEST_BYTES_MAX)
_JSON = (b"content-type", b"application/json")
_DROPPED = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade", b"expect")
)
"""Headers of the connection: neither functions nor others get them."""


class HttpApiDoor:
    """The application behind the hosts and paths of HTTP APIs."""

    def __init__(
        self,
        apis: HttpApis,
        functions: Lambda,
        clock: Clock,
        authenticator: Signatures,
        *,
        layer: Layer,
        supervise: Callable[[Coroutine[Any, Any, None], str], object],
        record: Callable[[UserEvents], None],
        admit: Callable[[Request, int], object],
        user_id: Callable[[Caller], str],
        forwarding: Forwarding,
        domain: str = "",
    ) -> None:
        """layer: where integrations may connect to. record: takes lines of access logs. admit: a
        share of the budget for large bodies, kept as long as the body. user_id: what IAM calls a caller. domain: what
        `server.url_domain` names."""
        self._functions = functions
        self._clock = clock
        self._layer = layer
        self._supervise = supervise
        self._record = record
        self._admit = admit
        self._forwarding = forwarding
        self._domain = domain
        self.is_draining = False
        self.stages = Stages(apis)
        self.gatekeeper = Gatekeeper(functions, clock, authenticator, layer, user_id)
        apis.subscribe(self.gatekeeper.results.forget)

    def by_host(self, host: bytes) -> HttpApiDoor | None:
        """This application, where a host is a domain name that is kept here. host: in lower case."""
        return self if self.stages.knows(host) else None

    # The HTTP core's application

    def head(self, exchange: Exchange) -> Buffered | None:
        request = exchange.request
        place = self.stages.find(request)
        if place is None:
            self._respond_plain(exchange, not_found())
            return None
        if request.path.startswith(API_PATH_PREFIX) and (elsewhere := self._elsewhere(request, place.live.api)):
            exchange.respond(307, elsewhere)
            return None
        now_ms = self._clock.wall_ms()
        incoming = request.header(b"x-amzn-trace-id")
        trace = trace_header(incoming.decode("latin-1") if incoming else None, now_ms, is_active=False)
        source_ip, added = self._forwarding.origin(
            request, split_host(request.header(b"host") or b"")[1].decode("latin-1")
        )
        added["x-amzn-trace-id"] = trace.partition(";")[0]
        if request.path.startswith(API_PATH_PREFIX):
            added["x-forwarded-prefix"] = f"{API_PATH_PREFIX.decode()}{place.live.api.api_id}"
        request_id = new_request_id()
        origin = request.header(b"origin")
        exchange.context = Asked(
            exchange,
            request,
            place,
            request_id,
            payload2.Arrival(request_id, source_ip, now_ms, f"HTTP/1.{request.minor}", added),
            added,
            trace,
            self._clock.monotonic_ns(),
            [field for field in request.headers if field[0] not in _DROPPED],
            request.query,
            origin,
        )
        try:
            if self.is_draining:
                raise unavailable("the server is shutting down")
            exchange.context.share = self._admit(request, REQUEST_BYTES_MAX)
        except Refusal as refusal:
            self._respond(exchange.context, *self._refused(exchange.context, refusal))
            return None
        except LambentError as error:
            self._respond(exchange.context, *self._refused(exchange.context, unavailable(error.message or "")))
            return None
        return _BODY

    def _elsewhere(self, request: Request, api: Api) -> list[tuple[bytes, bytes]] | None:
        """Where a browser is sent that opens a page by path: the page is to have an origin of its own, see
        `addresses.origin_of`."""
        if request.header(b"sec-fetch-dest") not in PAGES:
            return None
        scheme = "http" if request.tls is None else "https"
        host = request.header(b"host") or b""
        place = origin_of(lambda below: api_host_of(api.api_id, api.scope.region, below), host, scheme, self._domain)
        return (
            None
            if place is None
            else page_elsewhere(place, request.path[len(API_PATH_PREFIX) + len(api.api_id) :], request.query)
        )

    def handle(self, exchange: Exchange) -> None:
        asked: Asked = exchange.context
        exchange.context = None
        asked.added.setdefault("content-length", str(len(exchange.request.body)))
        self._supervise(self._serve(asked), f"request {asked.request_id}")

    def too_large(self, exchange: Exchange, limit: int, declared: int | None) -> None:
        asked: Asked = exchange.context
        exchange.context = None
        self._respond(asked, *self._refused(asked, Refusal(413, "Request Entity Too Large")))

    # The gates

    async def _serve(self, asked: Asked) -> None:
        try:
            status, fields, body = await self._answer(asked)
        except Refusal as refusal:
            status, fields, body = self._refused(asked, refusal)
        except Exception as error:
            log.error("request %s failed", asked.request_id, exc_info=error)
            status, fields, body = self._refused(asked, failure(str(error)))
        self._respond(asked, status, fields, body)

    async def _answer(self, asked: Asked) -> tuple[int, Fields, bytes]:
        api, request = asked.place.live.api, asked.request
        asks_before = asked.place.live.cors is not None and is_preflight(
            request.method, asked.origin, request.header(b"access-control-request-method")
        )
        found = asked.place.live.routes.match(request.method, asked.place.path)
        if found is None:
            if asks_before:
                return self._preflight(asked)
            raise not_found()
        asked.way, asked.path_parameters = found
        if not self.stages.take(api.scope, asked.way, self._clock.monotonic_ns()):
            raise Refusal(429, "Too Many Requests")
        await self.gatekeeper.authorise(asked, asked.way)
        if asks_before and not asked.way.route.route_key.startswith("OPTIONS "):
            return self._preflight(asked)
        return await self._integrate(asked, asked.way)

    @staticmethod
    def _preflight(asked: Asked) -> tuple[int, Fields, bytes]:
        cors, request = asked.place.live.cors, asked.request
        assert cors is not None
        assert asked.origin is not None
        method = request.header(b"access-control-request-method") or b""
        return 204, cors.preflight(asked.origin, method, request.header(b"access-control-request-headers")), b""

    # What answers

    async def _integrate(self, asked: Asked, way: Way) -> tuple[int, Fields, bytes]:
        integration = way.integration
        if integration is None:
            raise failure("the route has no integration")
        began_ns = self._clock.monotonic_ns()
        try:
            if integration.integration_type == "AWS_PROXY":
                made = await self._invoke(asked, way.route, integration)
            else:
                made = await self._forward(asked, integration)
            made = self._map_answer(asked, integration, made)
        except TimeoutError:
            raise self._told(
                asked, unavailable(f"the integration did not answer in {integration.timeout_in_millis} ms")
            ) from None
        except Throttled as error:
            raise self._told(asked, unavailable(str(error))) from None
        except outgoing.Unreachable as error:
            raise self._told(asked, unavailable(str(error))) from None
        except Traversal as error:
            raise Refusal(400, "Bad Request", why=f"a path parameter leads elsewhere: {error}") from None
        except parameters.BadParameter as error:
            raise Refusal(400, "Bad Request", why=str(error)) from None
        except (Failed, answers.Malformed) as error:
            raise self._told(asked, failure(str(error))) from None
        finally:
            took_ms = (self._clock.monotonic_ns() - began_ns) // 1_000_000
            asked.seen |= {"integrationLatency": took_ms, "integration.latency": took_ms}
        return made.status, made.headers, made.body

    @staticmethod
    def _told(asked: Asked, refusal: Refusal) -> Refusal:
        """What failed, in the access log and on the server's."""
        asked.place.live.tell(refusal.why)
        asked.seen |= {"integrationErrorMessage": refusal.why, "integration.error": refusal.why}
        return refusal

    async def _invoke(self, asked: Asked, route: Route, integration: Integration) -> answers.HttpAnswer:
        live = asked.place.live
        fields, query = self._map_request(asked, integration)
        make = payload2.event if integration.payload_format_version == "2.0" else payload1.event
        body = asked.request.body

        def payload_of() -> bytes:
            event = make(
                front_of(asked),
                asked.arrival,
                asked.request.method,
                asked.raw_path,
                query,
                fields,
                body,
                route_key=route.route_key,
                authorizer=asked.authorizer,
                path_parameters=asked.path_parameters,
            )
            return orjson.dumps(event)

        payload = payload_of() if len(body) <= INLINE_BYTES_MAX else await asyncio.to_thread(payload_of)
        if len(payload) > INVOKE_REQUEST_BYTES_MAX:
            raise Refusal(413, "Request Entity Too Large", why="the event is larger than an invocation takes")
        result = await self._functions.call(
            live.api,
            named(integration.integration_uri or "", live.stage.stage_variables),
            integration.credentials_arn,
            source_arn(asked, route),
            payload,
            asked.trace,
            integration.timeout_in_millis / 1_000,
        )
        request_id = result.work.event.request_id
        asked.seen |= {
            "integrationStatus": 200,
            "integration.integrationStatus": 200,
            "integration.requestId": request_id,
        }
        if result.function_error:
            raise Failed("the function failed: The Lambda function returned an error")
        reading = answers.answer if integration.payload_format_version == "2.0" else payload1.answer
        if len(result.body) <= INLINE_BYTES_MAX:
            made = reading(result.body)
        else:
            made = await asyncio.to_thread(reading, result.body)
        asked.seen["integration.status"] = made.status
        return made

    async def _forward(self, asked: Asked, integration: Integration) -> answers.HttpAnswer:
        request, live = asked.request, asked.place.live
        method = integration.integration_method
        mapped = self._mapped(asked, integration)
        url = http_url(integration, live.stage.stage_variables, asked.path_parameters, mapped.path)
        changed = bool(integration.request_parameters)
        query = parameters.query_text(mapped.query) if changed else printable(request.query)
        if query:
            url += ("&" if "?" in url else "?") + query
        answer = await outgoing.fetch(
            self._layer,
            request.method if method in (None, "ANY") else method,
            url,
            forwarded_fields(asked, mapped.fields),
            request.body,
            timeout_s=integration.timeout_in_millis / 1_000,
            server_name=None if integration.tls_config is None else integration.tls_config.server_name_to_verify,
        )
        asked.seen |= {"integrationStatus": answer.status, "integration.status": answer.status}
        fields = [
            (b"x-amzn-remapped-date", value) if name == b"date" else (name, value)
            for name, value in answer.fields
            if name != b"content-length"
        ]
        return answers.HttpAnswer(answer.status, fields, answer.body)

    def _mapped(self, asked: Asked, integration: Integration) -> parameters.Mapped:
        pairs = [(name, one) for name, given in payload1.query_values(asked.query).items() for one in given]
        mapped = parameters.Mapped(list(asked.fields), pairs)
        if integration.request_parameters:
            parameters.apply(integration.request_parameters, mapped, asked.look)
        return mapped

    def _map_request(self, asked: Asked, integration: Integration) -> tuple[Fields, bytes]:
        if not integration.request_parameters:
            return asked.fields, asked.query
        mapped = self._mapped(asked, integration)
        return mapped.fields, parameters.query_text(mapped.query).encode()

    def _map_answer(self, asked: Asked, integration: Integration, made: answers.HttpAnswer) -> answers.HttpAnswer:
        wanted = (integration.response_parameters or {}).get(str(made.status))
        if not wanted:
            return made

        def look(name: str) -> str | None:
            if name.startswith("response.header."):
                key = name[16:].lower().encode()
                found = [value.decode("utf-8", "replace") for one, value in made.headers if one.lower() == key]
                return ",".join(found) or None
            if name.startswith("response.body"):
                key_ = name[13:].lstrip(".")
                return parameters.body_value(made.body, key_) if key_ else made.body.decode("utf-8", "replace")
            return asked.look(name)

        mapped = parameters.Mapped(made.headers, [], status=made.status)
        try:
            parameters.apply(wanted, mapped, look)
        except parameters.BadParameter as error:
            raise Failed(str(error)) from None
        return answers.HttpAnswer(mapped.status or made.status, mapped.fields, made.body)

    # Answers

    def _refused(self, asked: Asked, refusal: Refusal) -> tuple[int, Fields, bytes]:
        asked.seen["error.message"] = refusal.message
        asked.seen["error.messageString"] = f'"{refusal.message}"'
        asked.seen["error.responseType"] = _RESPONSE_TYPES.get(refusal.status, "DEFAULT_5XX")
        return refusal.status, [_JSON, *refusal.fields], orjson.dumps({"message": refusal.message})

    def _respond(self, asked: Asked, status: int, fields: Fields, body: bytes) -> None:
        cors = asked.place.live.cors
        if cors is not None and (status != 204 or asked.request.method != "OPTIONS"):
            fields = cors.cover(asked.origin, fields)
        sent = [*fields, (REQUEST_ID, asked.request_id.encode())]
        try:
            asked.exchange.respond(status, sent, body)
        except ValueError as error:  # a header of an integration that no response may carry
            asked.place.live.tell(str(error))
            status, fields, body = self._refused(asked, failure(str(error)))
            asked.exchange.respond(status, [*fields, (REQUEST_ID, asked.request_id.encode())], body)
        self._log(asked, status, len(body))

    def _log(self, asked: Asked, status: int, length: int) -> None:
        live = asked.place.live
        if live.log_format is None or live.log_group is None:
            return
        took_ms = (self._clock.monotonic_ns() - asked.started_ns) // 1_000_000
        asked.seen |= {"status": status, "responseLength": length, "responseLatency": took_ms}
        now_ms = self._clock.wall_ms()
        line = access_logs.line(live.log_format, asked.context())
        scope = live.api.scope
        stream = f"{live.api.api_id}/{live.stage.stage_name}"
        try:
            self._record(UserEvents(scope.account, scope.region, live.log_group, stream, [(now_ms, line)], now_ms))
        except LambentError as error:  # a full disk keeps no request from its answer, which is on its way
            log.error("an access log line of API %s could not be written: %s", live.api.api_id, error.message)

    @staticmethod
    def _respond_plain(exchange: Exchange, refusal: Refusal) -> None:
        """Of no API: nothing to log for, and nobody's CORS."""
        body = orjson.dumps({"message": refusal.message})
        exchange.respond(refusal.status, [_JSON, (REQUEST_ID, new_request_id().encode())], body)


_RESPONSE_TYPES = {
    400: "BAD_REQUEST_PARAMETERS",
    401: "UNAUTHORIZED",
    403: "ACCESS_DENIED",
    404: "RESOURCE_NOT_FOUND",
    413: "REQUEST_TOO_LARGE",
    429: "THROTTLED",
    500: "INTEGRATION_FAILURE",
    503: "INTEGRATION_TIMEOUT",
}
