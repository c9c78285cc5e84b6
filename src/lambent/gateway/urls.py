"""Function URLs: what answers at their addresses. A hot path: what is the same for all requests of a URL is kept with its
route, which stands as long as the function is the very same object.

A request is refused at its head where that can be known there: an unknown id, a policy that lets nobody in, no signature
where one is asked for. Then its body is taken, its event made and invoked, and what the function returned is answered.
The client going away never cancels the function.

What goes wrong is answered in the words of the service's own URLs: 403 for every refusal, 429 for a throttle, 502 with
`Internal Server Error` for a function that failed or returned what is no response. The reason of a 403 or 502 is in the
server's log, once for each reason in a row.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, Final, Protocol

import orjson

from lambent.concurrency.admission import Kind
from lambent.domain.clock import Clock
from lambent.domain.errors import (
    AccessDenied,
    LambentError,
    RequestEntityTooLarge,
    ResourceConflict,
    ResourceNotFound,
    ServiceFault,
    TooManyRequests,
    Unauthenticated,
)
from lambent.domain.ids import new_uuid
from lambent.domain.limits import INVOKE_REQUEST_BYTES_MAX
from lambent.domain.names import FunctionRef
from lambent.domain.statements import Asker
from lambent.environments.work import Result
from lambent.functions.model import Function, FunctionVersion
from lambent.http import Buffered, Exchange, Request, Streamed
from lambent.identity.model import Caller
from lambent.invocations.prelude import has_prelude
from lambent.invocations.service import Invocation, Invocations
from lambent.invocations.trace import trace_header
from lambent.telemetry.attempt import Attempt

from .addresses import (
    PAGES,
    PATH_LENGTH,
    PATH_PREFIX,
    Address,
    host_of,
    origin_of,
    page_elsewhere,
    read_host,
    read_path,
    split_host,
)
from .answers import JSON_TYPE, HttpAnswer, Malformed, answer
from .cors import Cors, is_preflight
from .forwarding import Forwarding
from .payload2 import STAGE, Arrival, Front, event, raw_path_of, request_time
from .permissions import ANYBODY, asks_about_requests, of_request, refusal
from .streams import StreamedAnswer, whole_answer
from .url_logs import UrlLog

ROUTES_MAX = 4_096
"""Routes kept, one for each URL and way of writing its host; beyond it the table starts anew."""
ROUTE_KEY_BYTES_MAX = 320
"""Longer ways to write a host are looked up each time: a name has 253 characters, and anybody may write anything there."""
FUNCTION_ERROR = "the function failed"
INLINE_BYTES_MAX = 1_048_576
"""Larger events and responses are made and read in a thread."""

log = logging.getLogger(__name__)

Headers = list[tuple[bytes, bytes]]

_BODY = Buffered(INVOKE_REQUEST_BYTES_MAX)
_FAILED: Final = HttpAnswer(502, [JSON_TYPE], b"Internal Server Error")
_ACCESS_DENIED = (b"x-amzn-ErrorType", b"AccessDeniedException")
_FORBIDDEN_BODY = orjson.dumps(
    {
        "Message": "Forbidden. For troubleshooting Function URL authorization issues, see: "
        "https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html"
    }
)
_UNKNOWN_BODY = orjson.dumps({"Message": None})


class Functions(Protocol):
    """What the door needs of `functions/`."""

    def url(self, id: str) -> tuple[Function, str] | None:
        """Whose URL it is, and the key of its configuration."""

    def get(self, ref: FunctionRef, qualifier: str | None = None) -> Function:
        """The function as it stands; raises FunctionNotFound."""

    def resolve(self, ref: FunctionRef, qualifier: str | None) -> FunctionVersion:
        """The version to run; an alias draws its weights here, once."""

    async def active(self, ref: FunctionRef, qualifier: str | None) -> FunctionVersion:
        """As `resolve`, but a version that is still Pending gets a moment to become Active."""


class Authenticator(Protocol):
    """Who is calling; see `api/ports.py`."""

    def identify(self, request: Request) -> Caller: ...

    def prove(self, request: Request, caller: Caller) -> Awaitable[None] | None: ...


class _Forbidden(Exception):
    """Refused with 403; the text is for the log."""


class _Route:
    """A URL as one way of writing its address names it, and all that can be known of it before a request comes."""

    __slots__ = (
        "alias",
        "asks_about_requests",
        "cors",
        "front",
        "function",
        "is_iam",
        "is_path_form",
        "is_streaming",
        "key",
        "origins",
        "port",
        "prefix",
        "ref",
        "refusal",
        "told",
    )

    def __init__(self, function: Function, key: str, address: Address, host: bytes, domain: str) -> None:
        url = function.urls[key]
        self.function = function
        self.ref = ref = function.ref
        self.key = key
        self.alias = key or None
        self.port = split_host(host)[1].decode("latin-1")
        """As the client wrote it; empty: it wrote none."""
        self.is_path_form = address.domain_name is None
        self.origins = [
            origin_of(lambda below: host_of(url.id, ref.region, below), host, scheme, domain)
            if self.is_path_form
            else None
            for scheme in ("http", "https")
        ]
        """Where its pages are to be seen by a browser that came by the path form: over HTTP, over HTTPS."""
        self.prefix = PATH_PREFIX.decode() + url.id
        self.is_iam = url.auth_type != "NONE"
        self.is_streaming = url.invoke_mode == "RESPONSE_STREAM"
        self.cors = None if url.cors is None else Cors.read(url.cors)
        self.asks_about_requests = asks_about_requests(function, key)
        """The policy has to be asked anew for each request."""
        is_known = not self.is_iam and not self.asks_about_requests
        self.refusal = refusal(function, key, ANYBODY, "NONE") if is_known else None
        """Why nobody is let in."""
        self.front = Front(
            ref.account if self.is_iam else "anonymous",
            url.id,
            address.domain_name or host_of(url.id, ref.region),
            keeps_cookie_header=True,
        )
        self.told = ""
        """The last reason that the log was given."""

    def tell(self, reason: str) -> None:
        """Have the log say it, once in a row."""
        if reason != self.told:
            self.told = reason
            log.info("the function URL of %s: %s", self.ref.arn(self.alias), reason)


class _Visit:
    """One request on its way; it is the exchange's context until the invocation has taken it over."""

    __slots__ = ("_share", "began_ns", "caller", "exchange", "origin", "request_id", "route", "stream", "trace")

    def __init__(self, route: _Route, request_id: str, origin: bytes | None, caller: Caller | None, share: Any) -> None:
        self.route = route
        self.request_id = request_id
        self.origin = origin
        """The Origin field, where the route's CORS will ask for it."""
        self.caller = caller
        """None where nobody's name is asked."""
        self.trace = ""
        self.began_ns = 0
        self.exchange: Exchange | None = None
        self.stream: StreamedAnswer | None = None
        self._share = share  # held, not used: it ends with the visit


class UrlDoor:
    """The application behind the hosts and paths of `addresses`.

    admit: a share of the budget for large bodies, kept as long as the body. user_id: what IAM calls a caller.
    supervise: has a coroutine run, by whatever happens to its client. domain: what `server.url_domain` names. log: where
    a line is written for each request of a URL; None: nowhere.
    """

    def __init__(
        self,
        *,
        functions: Functions,
        invocations: Invocations,
        authenticator: Authenticator,
        clock: Clock,
        supervise: Callable[[Coroutine[Any, Any, None], str], object],
        admit: Callable[[Request, int], object],
        user_id: Callable[[Caller], str],
        forwarding: Forwarding | None = None,
        domain: str = "",
        log: UrlLog | None = None,
    ) -> None:
        self._functions = functions
        self._invocations = invocations
        self._authenticator = authenticator
        self._clock = clock
        self._supervise = supervise
        self._admit = admit
        self._user_id = user_id
        self._forwarding = forwarding or Forwarding()
        self._domain = domain
        self._log = log
        self._hosts: dict[bytes, _Route] = {}
        """By the Host field as it is written."""
        self._paths: dict[bytes, _Route] = {}
        """By id and Host field."""
        self.is_draining = False

    # The HTTP core's application

    def head(self, exchange: Exchange) -> Buffered | Streamed | None:
        """Find the URL; refuse or answer here what needs no body."""
        request = exchange.request
        request_id = new_uuid()
        try:
            route = self._route(request)
        except ResourceNotFound:
            _respond(exchange, request_id, 403, [JSON_TYPE, _ACCESS_DENIED], _UNKNOWN_BODY)
            return None
        except _Forbidden:
            _respond(exchange, request_id, 403, [JSON_TYPE, _ACCESS_DENIED], _FORBIDDEN_BODY)
            return None
        if route.is_path_form and (request.header(b"sec-fetch-dest") or b"") in PAGES:
            place = route.origins[request.tls is not None]
            if place is not None:
                self._send_elsewhere(exchange, request_id, place)
                return None
        visit = _Visit(route, request_id, None, None, None)
        if self._log is not None:
            visit.began_ns = self._log.now_ns()
        try:
            if route.cors is not None:
                visit.origin = origin = request.header(b"origin")
                method = request.header(b"access-control-request-method")
                if origin is not None and method is not None and is_preflight(request.method, origin, method):
                    wanted = request.header(b"access-control-request-headers")
                    _respond(exchange, request_id, 200, [JSON_TYPE, *route.cors.preflight(origin, method, wanted)], b"")
                    self._note(visit, request, 200, 0)
                    return None
            if self.is_draining:
                raise ServiceFault("The server is shutting down.")
            if route.refusal is not None:
                raise _Forbidden(route.refusal)
            if route.asks_about_requests and not route.is_iam:
                self._ask(route, ANYBODY, "NONE", request)
            if route.is_iam:
                visit.caller = caller = self._authenticator.identify(request)
                if caller.access_key is None:
                    raise _Forbidden("the request is not signed")
                if caller.service != "lambda" or caller.scope.region != route.ref.region:
                    raise _Forbidden(f"the request is signed for {caller.service} in {caller.scope.region}")
            visit._share = self._admit(request, INVOKE_REQUEST_BYTES_MAX)
        except Exception as error:
            visit.exchange = exchange
            self._refuse(visit, error)
            return None
        exchange.context = visit
        return _BODY

    def _send_elsewhere(self, exchange: Exchange, request_id: str, place: str) -> None:
        """A page of the path form would have the origin of everything else on this server, whose API takes the word of
        callers on this machine: a browser is sent to where the page has an origin of its own."""
        request = exchange.request
        fields = page_elsewhere(place, request.path[PATH_LENGTH:], request.query)
        _respond(exchange, request_id, 307, [JSON_TYPE, *fields], b"")

    def handle(self, exchange: Exchange) -> None:
        """The body is there: see who sends it, and invoke."""
        visit: _Visit = exchange.context
        exchange.context = None  # the visit holds the exchange from here on, never both each other
        visit.exchange = exchange
        try:
            if visit.caller is not None:
                checking = self._authenticator.prove(exchange.request, visit.caller)
                if checking is not None or len(exchange.request.body) > INLINE_BYTES_MAX:
                    self._supervise(self._later(visit, checking), f"function URL {visit.request_id}")
                    return
            elif len(exchange.request.body) > INLINE_BYTES_MAX:
                self._supervise(self._later(visit, None), f"function URL {visit.request_id}")
                return
            authorizer = self._authorise(visit)
            version = self._functions.resolve(visit.route.ref, visit.route.alias)
            if version.state == "Pending":
                self._supervise(self._later(visit, None), f"function URL {visit.request_id}")
                return
            self._start(visit, version, self._payload(visit, self._arrival(visit, version), authorizer))
        except Exception as error:
            self._refuse(visit, error)

    def too_large(self, exchange: Exchange, limit: int, declared: int | None) -> None:
        """More body than an invocation takes."""
        visit: _Visit = exchange.context
        exchange.context = None
        visit.exchange = exchange
        self._refuse(visit, _too_large(limit + 1 if declared is None else declared))

    # Which URL

    def _route(self, request: Request) -> _Route:
        """Raises ResourceNotFound for an address that is nobody's, _Forbidden for one whose alias is gone."""
        host = request.header(b"host") or b""
        route = self._hosts.get(host)
        if route is not None and self._stands(route):
            return route
        address = read_host(host)
        if address is not None:
            return self._look_up(self._hosts, host, address, route)
        found = read_path(request.path)
        if found is None:
            raise ResourceNotFound(None)
        key = b"%b %b" % (found.encode(), host)
        route = self._paths.get(key)
        if route is not None and self._stands(route):
            return route
        return self._look_up(self._paths, key, Address(found, None, None), route)

    def _stands(self, route: _Route) -> bool:
        try:
            return self._functions.get(route.ref) is route.function
        except ResourceNotFound:
            return False

    def _look_up(self, routes: dict[bytes, _Route], key: bytes, address: Address, old: _Route | None) -> _Route:
        found = self._functions.url(address.id)
        if found is None:
            if old is not None and self._lost_alias(old):
                raise _Forbidden("the alias of the URL is gone")
            routes.pop(key, None)
            raise ResourceNotFound(None)
        function, qualifier = found
        if address.region not in (None, function.ref.region):
            raise ResourceNotFound(None)
        route = _Route(function, qualifier, address, key.rpartition(b" ")[2], self._domain)
        if len(key) <= ROUTE_KEY_BYTES_MAX:
            if len(routes) >= ROUTES_MAX:
                routes.clear()
            routes[key] = route
        return route

    def _lost_alias(self, route: _Route) -> bool:
        try:
            return route.alias is not None and route.alias not in self._functions.get(route.ref).aliases
        except ResourceNotFound:
            return False

    # One request

    def _authorise(self, visit: _Visit) -> Mapping[str, Any] | None:
        """Who calls, as the event says it; None where nobody's name is asked. Raises _Forbidden."""
        caller, route = visit.caller, visit.route
        if caller is None:
            return None
        assert visit.exchange is not None
        self._ask(route, Asker(caller.scope.account, caller.arn), "AWS_IAM", visit.exchange.request)
        user_id = self._user_id(caller)
        return {
            "iam": {
                "accessKey": caller.access_key,
                "accountId": caller.scope.account,
                "callerId": user_id,
                "cognitoIdentity": None,
                "principalOrgId": None,
                "userArn": caller.arn,
                "userId": user_id,
            }
        }

    def _ask(self, route: _Route, asker: Asker, auth_type: str, request: Request) -> None:
        """Ask the resource policy about one request. Raises _Forbidden."""
        more = None
        if route.asks_about_requests:
            more = of_request(self._forwarding.origin(request, "")[0], request.tls is not None)
        reason = refusal(route.function, route.key, asker, auth_type, more)
        if reason is not None:
            raise _Forbidden(reason if asker.arn is None else f"{asker.arn}: {reason}")

    def _arrival(self, visit: _Visit, version: FunctionVersion) -> Arrival:
        """What is known of the request beside its bytes. On the loop: ids are drawn here."""
        assert visit.exchange is not None
        request, route = visit.exchange.request, visit.route
        now_ms = self._clock.wall_ms()
        sent = request.header(b"x-amzn-trace-id")
        incoming = None if sent is None else sent.decode("latin-1")
        is_traced = version.configuration.tracing_mode == "Active"
        visit.trace = trace = trace_header(incoming, now_ms, is_active=is_traced)
        source_ip, added = self._forwarding.origin(request, route.port)
        added["x-amzn-trace-id"] = incoming or trace.partition(";")[0]
        if route.is_path_form:
            added["x-forwarded-prefix"] = route.prefix
        return Arrival(visit.request_id, source_ip, now_ms, "HTTP/1.1" if request.minor == 1 else "HTTP/1.0", added)

    def _payload(self, visit: _Visit, arrival: Arrival, authorizer: Mapping[str, Any] | None) -> bytes:
        """The event to invoke with. Raises RequestEntityTooLarge: base64 and escapes make it larger than the body."""
        assert visit.exchange is not None
        request, route = visit.exchange.request, visit.route
        path = request.path
        if route.is_path_form:
            path = path[PATH_LENGTH:]
        payload = orjson.dumps(
            event(
                route.front,
                arrival,
                request.method,
                raw_path_of(path),
                request.query,
                request.headers,
                request.body,
                authorizer=authorizer,
            )
        )
        if len(payload) > INVOKE_REQUEST_BYTES_MAX:
            raise _too_large(len(payload))
        request.body = b""  # the event has it now
        return payload

    def _start(self, visit: _Visit, version: FunctionVersion, payload: bytes) -> None:
        invocation = Invocation(
            version=version,
            qualifier=visit.route.alias,
            request_id=visit.request_id,
            kind=Kind.SYNC,
            trace=visit.trace,
            body=payload,
            answered=self._answered,
            failed=self._failed,
            context=visit,
        )
        if not visit.route.is_streaming:
            self._invocations.start(invocation)
            return
        assert visit.exchange is not None
        visit.stream = StreamedAnswer(
            visit.exchange, lambda fields: self._fields(visit, fields), lambda error: self._break(visit, error)
        )
        self._invocations.stream(invocation, visit.stream)

    async def _later(self, visit: _Visit, checking: Awaitable[None] | None) -> None:
        """The ways that wait: a signature over a large body, a creation that finishes, an event made in a thread."""
        try:
            if checking is not None:
                await checking
            authorizer = self._authorise(visit)
            version = await self._functions.active(visit.route.ref, visit.route.alias)
            arrival = self._arrival(visit, version)
            self._start(visit, version, await asyncio.to_thread(self._payload, visit, arrival, authorizer))
        except Exception as error:
            self._refuse(visit, error)

    # Its answer

    def _answered(self, invocation: Invocation, result: Result, attempt: Attempt) -> None:
        visit: Any = invocation.context
        invocation.context = None
        if visit.stream is not None:
            self._end_stream(visit, result.error_type if result.function_error else None)
        elif result.function_error:
            self._send(visit, _FAILED, result.error_type or FUNCTION_ERROR)
        elif len(result.body) > INLINE_BYTES_MAX:
            self._supervise(self._answer_large(visit, result), f"function URL {visit.request_id}")
        else:
            self._send(visit, *self._response(visit, result))

    def _failed(self, invocation: Invocation, error: Exception) -> None:
        visit: Any = invocation.context
        invocation.context = None
        stream, visit.stream = visit.stream, None
        if stream is None or stream.is_open:
            self._refuse(visit, error)
        else:
            stream.cut()

    def _end_stream(self, visit: _Visit, error: str | None) -> None:
        """The attempt is over: what was to be sent has been, unless the function failed."""
        stream, visit.stream = visit.stream, None
        exchange = visit.exchange
        if stream is None or exchange is None:
            return
        if error is not None and stream.is_open:
            self._send(visit, _FAILED, error)
            return
        if error is not None:
            stream.cut()
        self._note(visit, exchange.request, stream.status, stream.size, error or "")

    def _break(self, visit: _Visit, error: Malformed) -> None:
        visit.route.tell(f"502, for {error}")
        self._send(visit, _FAILED, str(error))

    async def _answer_large(self, visit: _Visit, result: Result) -> None:
        self._send(visit, *await asyncio.to_thread(self._response, visit, result))

    def _response(self, visit: _Visit, result: Result) -> tuple[HttpAnswer, str]:
        """The response, and what was wrong with what the function returned."""
        try:
            return whole_answer(result.body) if has_prelude(result.content_type) else answer(result.body), ""
        except Malformed as error:
            visit.route.tell(f"502, for {error}")
            return _FAILED, str(error)

    def _fields(self, visit: _Visit, fields: Headers) -> Headers:
        """The function's fields among those of the door."""
        cors = visit.route.cors
        if cors is not None:
            fields = cors.cover(visit.origin, fields)
        return [
            (b"x-amzn-RequestId", visit.request_id.encode()),
            (b"X-Amzn-Trace-Id", visit.trace.encode()),
            *fields,
        ]

    def _send(self, visit: _Visit, response: HttpAnswer, reason: str = "") -> None:
        exchange, visit.exchange = visit.exchange, None
        assert exchange is not None
        exchange.respond(response.status, self._fields(visit, response.headers), response.body)
        self._note(visit, exchange.request, response.status, len(response.body), reason)

    def _refuse(self, visit: _Visit, error: Exception) -> None:
        exchange, visit.exchange = visit.exchange, None
        assert exchange is not None
        status, code, headers, document = _refusal(error)
        if status in (403, 502):
            visit.route.tell(f"{status}, for {error}")
        elif status == 500 and not isinstance(error, LambentError):
            log.error("request %s failed", visit.request_id, exc_info=error)
        fields = [JSON_TYPE, (b"x-amzn-ErrorType", code), *headers]
        if visit.route.cors is not None:
            fields = visit.route.cors.cover(visit.origin, fields)
        _respond(exchange, visit.request_id, status, fields, document)
        self._note(visit, exchange.request, status, len(document), str(error))

    def _note(self, visit: _Visit, request: Request, status: int, length: int, reason: str = "") -> None:
        """A line in the access log, where there is one. reason: what went wrong."""
        if self._log is None:
            return
        route, caller = visit.route, visit.caller
        path = request.path[PATH_LENGTH:] if route.is_path_form else request.path
        agent = request.header(b"user-agent")
        now_ms = self._clock.wall_ms()
        values = {
            "requestId": visit.request_id,
            "accountId": route.ref.account,
            "apiId": route.front.api_id,
            "domainName": route.front.domain_name,
            "domainPrefix": route.front.domain_prefix,
            "stage": STAGE,
            "routeKey": STAGE,
            "httpMethod": request.method,
            "path": raw_path_of(path),
            "protocol": "HTTP/1.1" if request.minor == 1 else "HTTP/1.0",
            "requestTime": request_time(now_ms),
            "requestTimeEpoch": now_ms,
            "status": status,
            "responseLength": length,
            "responseLatency": (self._log.now_ns() - visit.began_ns) // 1_000_000,
            "identity.sourceIp": self._forwarding.origin(request, "")[0],
            "identity.userAgent": None if agent is None else agent.decode("utf-8", "replace"),
            "identity.accountId": None if caller is None else caller.scope.account,
            "identity.caller": None if caller is None else caller.access_key,
            "identity.userArn": None if caller is None else caller.arn,
            "error.message": reason,
            "integrationErrorMessage": reason,
        }
        self._log.write(route.ref, route.front.api_id, values)


def _respond(exchange: Exchange, request_id: str, status: int, fields: Headers, body: bytes) -> None:
    exchange.respond(status, [(b"x-amzn-RequestId", request_id.encode()), *fields], body)


def _too_large(size: int) -> RequestEntityTooLarge:
    return RequestEntityTooLarge(
        f"{size} byte payload is too large for the RequestResponse invocation type (limit {INVOKE_REQUEST_BYTES_MAX} "
        "bytes)"
    )


def _refusal(error: Exception) -> tuple[int, bytes, Headers, bytes]:
    """Status, code, further fields and body of an answer that is not the function's."""
    match error:
        case _Forbidden() | Unauthenticated() | AccessDenied() | ResourceNotFound():
            return 403, b"AccessDeniedException", [], _FORBIDDEN_BODY
        case TooManyRequests():
            wait = [] if error.retry_after_s is None else [(b"Retry-After", str(error.retry_after_s).encode())]
            return 429, b"TooManyRequestsException", wait, _message(error)
        case RequestEntityTooLarge():
            return 413, b"RequestEntityTooLargeException", [], _message(error)
        case ResourceConflict():
            return 502, b"ResourceConflictException", [], _message(error)
        case LambentError():
            return 500, b"ServiceException", [], _message(error)
        case _:
            return 500, b"ServiceException", [], orjson.dumps({"Message": "Internal Server Error"})


def _message(error: LambentError) -> bytes:
    return orjson.dumps({"Message": error.message})
