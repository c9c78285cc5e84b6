"""The public door: one port for many services, one application for the HTTP core.

Order of routing: a mounted Host (a function URL, an API: whatever the request says beside, it is theirs), else the service
of the credential scope, else `X-Amz-Target`, else the path. Lambda's own
operations go through the table (route → authenticate → parse → validate → handler → serialise); the Invoke family goes
to the invoke door, which takes the exchange itself. Everything else is mounted: whole services by their signing name,
JSON services by their target prefix, hosts by a label, platform paths by a prefix. What nobody mounted gets an error in
the shape its client can read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import TYPE_CHECKING, Any

import orjson

from lambent import __version__
from lambent.api.asked import Asked, asked_at
from lambent.api.bodies import BodyBudget, BodyShare
from lambent.api.foreign import Protocol, foreign_error, protocol_of, service_not_served
from lambent.api.invoking import InvokeParameters
from lambent.api.parse import Unreadable, parse_input
from lambent.api.ports import Authenticator, Handler, InvokeDoor, RequestContext, TargetHandler
from lambent.api.retry import SDK_INVOCATION_ID, sdk_invocation_id
from lambent.api.routing import Router, UnknownOperation
from lambent.api.running import Running
from lambent.api.serialise import serialise
from lambent.api.sizes import (
    TARGET_BYTES_MAX,
    UPLOADS,
    check_invoke_async,
    check_upload,
    read_limit,
    refuse_unread,
)
from lambent.api.table import INVOKE_FAMILY, Operation, Table, load_table
from lambent.api.validation import validate
from lambent.api.wire import render
from lambent.domain.errors import (
    InvalidRequestContent,
    LambentError,
    NotServed,
    RequestEntityTooLarge,
    ServiceFault,
    Unauthenticated,
)
from lambent.domain.ids import is_uuid, new_uuid
from lambent.http import Application, Buffered, Streamed

if TYPE_CHECKING:
    from lambent.http import Exchange, Request
    from lambent.identity.model import Caller

JSON_THREAD_BYTES = 1 << 20
"""Bodies larger than this are parsed in a thread."""

HEALTH_PATH = b"/_lambent/health"

KNOWN_MAX = 4_096
"""Paths of operations that are remembered; when they are more, it is begun anew."""
KNOWN_BYTES_MAX = 512
"""Longer hosts and paths are not remembered, which bounds the memory to a few megabytes."""

_TARGET_BODY = Buffered(TARGET_BYTES_MAX)
_CONTENT_TYPE = (b"content-type", b"application/json")
_TARGET_CONTENT_TYPE = (b"content-type", b"application/x-amz-json-1.1")


class _Target:
    """A request of a JSON service."""

    __slots__ = ("_share", "caller", "handler", "operation", "request_id")

    def __init__(
        self, request_id: str, caller: Caller, handler: TargetHandler, operation: str, share: BodyShare | None
    ) -> None:
        self.request_id = request_id
        self.caller = caller
        self.handler = handler
        self.operation = operation
        self._share = share  # held, not used: it ends with the exchange


class PublicDoor:
    """The application behind the public listener. Register and mount before serving.

    authenticator: who is calling. invoke: takes the Invoke family; None answers 501. facts: members that the health
    document carries beside its own. table: the operations. running, bodies: the bounds on handlers and large bodies.
    """

    def __init__(
        self,
        authenticator: Authenticator,
        invoke: InvokeDoor | None = None,
        *,
        facts: Callable[[], dict[str, Any]] = dict,
        table: Table | None = None,
        running: Running | None = None,
        bodies: BodyBudget | None = None,
    ) -> None:
        self._authenticator = authenticator
        self._invoke = invoke
        self._facts = facts
        self._table = load_table() if table is None else table
        self._router = Router(self._table.operations.values())
        self._wanted = {name: Buffered(read_limit(name)) for name in self._table.operations}
        self._invoking = InvokeParameters()
        self._running = Running() if running is None else running
        self._bodies = BodyBudget() if bodies is None else bodies
        self._handlers: dict[str, Handler] = {}
        self._targets: dict[str, TargetHandler] = {}
        self._services: dict[str, Application] = {}
        self._hosts: list[tuple[bytes, Application]] = []
        self._by_name: Callable[[bytes], Application | None] | None = None
        self._paths: list[tuple[bytes, Application]] = []
        self._fronts: list[tuple[bytes, Application]] = []
        self._later: dict[str, Callable[[], None]] = {}
        self._known: dict[tuple[bytes | None, str, bytes], tuple[Operation, list[bytes], Buffered]] = {}
        """What requests without a query mean that are signed for lambda, at hosts and paths that nobody else has."""

    # What is served

    def register(self, operation: str, handler: Handler) -> None:
        """Serve an operation of the table. Raises ValueError for an unknown, taken or Invoke-family name."""
        if operation not in self._table.operations or operation in INVOKE_FAMILY:
            raise ValueError(f"{operation} is not an operation that takes a handler")
        if operation in self._handlers:
            raise ValueError(f"{operation} has a handler already")
        self._handlers[operation] = handler

    def register_later(self, operations: Iterable[str], register: Callable[[], None]) -> None:
        """Have `register` register all of these for the first request to one of them; what serves it is made then."""
        self._later.update(dict.fromkeys(operations, register))

    def mount_target(self, target: str, handler: TargetHandler) -> None:
        """Serve a JSON 1.1 service: requests whose `X-Amz-Target` is `target.Operation`."""
        self._targets[target] = handler

    def mount_service(self, name: str, application: Application) -> None:
        """Serve all requests signed for the service `name`, as the credential scope spells it."""
        self._services[name] = application

    def mount_host(self, part: bytes, application: Application) -> None:
        """Serve all requests whose Host contains `part`, such as `.lambda-url.`, in whatever case, however they are signed:
        the application sees who calls by itself."""
        self._hosts.append((part, application))
        self._known.clear()

    def mount_names(self, find: Callable[[bytes], Application | None]) -> None:
        """Serve all requests to hosts that `find` knows, given in lower case with their port: names that users gave.
        Addresses and localhost are nobody's."""
        self._by_name = find
        self._known.clear()

    def mount_path(self, prefix: bytes, application: Application, *, is_front: bool = False) -> None:
        """Serve requests, signed for lambda or unsigned, whose raw path begins with `prefix`; the longest prefix wins.

        is_front: a path that stands for a host, and begins with `/_`: all requests are the application's, as of a host.
        """
        self._known.clear()
        if is_front:
            self._fronts.append((prefix, application))
            return
        self._paths.append((prefix, application))
        self._paths.sort(key=lambda mount: -len(mount[0]))

    @property
    def operations_served(self) -> list[str]:
        """Names of the operations that do not answer 501."""
        return sorted({*self._handlers, *self._later, *(self._invoke.operations if self._invoke is not None else ())})

    # The HTTP core's application

    def head(self, exchange: Exchange) -> Buffered | Streamed | None:
        """Decide who answers, and how much body may come."""
        request = exchange.request
        known = None if request.query else self._known.get((request.header(b"host"), request.method, request.path))
        if known is None and (application := self._application(request)) is not None:
            return exchange.delegate(application)
        request_id = new_uuid()
        try:
            caller = self._authenticator.identify(request)
            service = caller.service
            if known is None or service != "lambda":
                target = request.header(b"x-amz-target")
                if (service is not None and service != "lambda") or (service is None and target is not None):
                    if service is None:
                        _check_page(request, caller)
                    return self._head_of_another_service(exchange, request_id, caller, target)
                mounted = self._mounted(request)
                if mounted is not None:
                    return exchange.delegate(mounted)
                if service is None:
                    _check_page(request, caller)
                if request.path == HEALTH_PATH and request.method in ("GET", "HEAD"):
                    self._answer_health(exchange, request_id)
                    return None
                operation, labels = self._router.match(request.method, request.path, request.query)
                known = operation, labels, self._wanted[operation.name]
                self._remember(request, known)
            operation, labels, wanted = known
            share = self._bodies.admit(request, wanted.limit)
        except UnknownOperation as error:
            self._refuse_unknown(exchange, error, request_id)
            return None
        except Exception as error:
            self._refuse(exchange, error, request_id)
            return None
        exchange.context = RequestContext(request_id, caller, operation, labels, share)
        return wanted

    def handle(self, exchange: Exchange) -> None:
        """The body is there: invoke, or start the handler."""
        context = exchange.context
        if type(context) is RequestContext:
            if context.operation.name in INVOKE_FAMILY:
                self._handle_invoke(exchange, context)
            else:
                self._start(exchange, context.request_id, self._serve(exchange, context), context.operation.name)
        else:
            self._start(exchange, context.request_id, self._serve_target(exchange, context), context.operation)

    def too_large(self, exchange: Exchange, limit: int, declared: int | None) -> None:
        """More body than the head allowed."""
        context = exchange.context
        if type(context) is RequestContext:
            invocation_type = (exchange.request.header(b"x-amz-invocation-type") or b"").decode("latin-1")
            size = limit + 1 if declared is None else declared
            error = refuse_unread(context.operation.name, invocation_type, size, limit)
            self._refuse(exchange, error, context.request_id)
        else:
            refused = RequestEntityTooLarge(f"Request must be smaller than {limit} bytes")
            self._refuse_foreign(exchange, Protocol.JSON, refused, context.request_id)

    @property
    def running(self) -> Running:
        """The handlers in flight: services that are mounted count theirs among them."""
        return self._running

    async def drain(self, grace_s: float) -> None:
        """Let handlers in flight end within `grace_s` seconds, then cancel them."""
        await self._running.drain(grace_s)

    # Routing beyond the table

    def _application(self, request: Request) -> Application | None:
        """Who has the host of a request, or a path that stands for one."""
        host = (request.header(b"host") or b"").lower()
        for part, application in self._hosts:
            if part in host:
                return application
        if self._by_name is not None and not _is_address(host):
            named = self._by_name(host)
            if named is not None:
                return named
        if request.path.startswith(b"/_"):
            for prefix, application in self._fronts:
                if request.path.startswith(prefix):
                    return application
        return None

    def _remember(self, request: Request, meant: tuple[Operation, list[bytes], Buffered]) -> None:
        """A client asks for the same few things over and over. Names that users may give to something of theirs are looked up
        each time."""
        host = request.header(b"host")
        if request.query or not _is_address((host or b"").lower()):
            return
        if len(host or b"") + len(request.path) <= KNOWN_BYTES_MAX:
            if len(self._known) >= KNOWN_MAX:
                self._known.clear()
            self._known[host, request.method, request.path] = meant

    def _mounted(self, request: Request) -> Application | None:
        for prefix, application in self._paths:
            if request.path.startswith(prefix):
                return application
        return None

    def _head_of_another_service(
        self, exchange: Exchange, request_id: str, caller: Caller, target: bytes | None
    ) -> Buffered | Streamed | None:
        request = exchange.request
        if caller.service is not None and caller.service in self._services:
            return exchange.delegate(self._services[caller.service])
        if target is not None:
            prefix, _, operation = target.decode("latin-1").rpartition(".")
            handler = self._targets.get(prefix)
            if handler is not None:
                share = self._bodies.admit(request, TARGET_BYTES_MAX)
                exchange.context = _Target(request_id, caller, handler, operation, share)
                return _TARGET_BODY
        service = caller.service or (target or b"").decode("latin-1").partition("_")[0].lower()
        self._refuse_foreign(exchange, protocol_of(request, service), service_not_served(service), request_id)
        return None

    def _answer_health(self, exchange: Exchange, request_id: str) -> None:
        document = {"status": "ok", "version": __version__, "in_flight": len(self._running), **self._facts()}
        headers = [(b"x-amzn-requestid", request_id.encode()), _CONTENT_TYPE]
        exchange.respond(200, headers, b"" if exchange.request.method == "HEAD" else orjson.dumps(document))

    # Lambda's operations

    def _handle_invoke(self, exchange: Exchange, context: RequestContext) -> None:
        request = exchange.request
        try:
            checking = self._authenticator.verify(request, context.caller)
            if checking is None:
                self._pass_to_invoke(exchange, context)
                return
        except Exception as error:
            self._refuse(exchange, error, context.request_id)
            return
        self._start(exchange, context.request_id, self._verify_and_invoke(exchange, context, checking), "verify")

    async def _verify_and_invoke(self, exchange: Exchange, context: RequestContext, checking: Awaitable[None]) -> None:
        try:
            await checking
            self._pass_to_invoke(exchange, context)
        except Exception as error:
            self._refuse(exchange, error, context.request_id)

    def _pass_to_invoke(self, exchange: Exchange, context: RequestContext) -> None:
        request = exchange.request
        operation = context.operation
        chosen = request.header(b"x-amzn-requestid")
        if chosen is not None:
            text = chosen.decode("latin-1")
            if not is_uuid(text):
                raise InvalidRequestContent("x-amzn-RequestId must be a UUID")
            context.request_id = text
        params = self._invoking.read(operation, context.labels, request)
        if operation.name == "InvokeAsync":
            check_invoke_async(len(request.body))
        if self._invoke is None:
            raise self._not_served(operation)
        self._invoke.handle(exchange, context.caller, operation.name, params)

    async def _serve(self, exchange: Exchange, context: RequestContext) -> None:
        operation = context.operation
        request = exchange.request
        try:
            checking = self._authenticator.verify(request, context.caller)
            if checking is not None:
                await checking
            arguments = (operation, context.labels, request.query, request.headers, request.body)
            if len(request.body) > JSON_THREAD_BYTES:
                values = await asyncio.to_thread(parse_input, *arguments)
            else:
                values = parse_input(*arguments)
            if operation.name in UPLOADS:
                check_upload(operation.name, len(request.body), values)
            validate(operation, values)
            handler = self._handlers.get(operation.name) or self._registered_now(operation.name)
            if handler is None:
                raise self._not_served(operation)
            sdk_invocation_id.set(_text(request.header(SDK_INVOCATION_ID)))  # this task's own context
            asked_at.set(Asked(_text(request.header(b"host")) or "", "http" if request.tls is None else "https"))
            answer = await handler(context.caller, values)
            status, headers, body = serialise(operation, answer.output, answer.status)
        except Exception as error:
            self._refuse(exchange, error, context.request_id)
            return
        except asyncio.CancelledError:
            self._refuse(exchange, ServiceFault("The server is shutting down."), context.request_id)
            raise
        identity = (b"x-amzn-requestid", context.request_id.encode())
        exchange.respond(status, [identity, _CONTENT_TYPE, *headers, *answer.headers], b"" if answer.is_bare else body)

    def _registered_now(self, name: str) -> Handler | None:
        register = self._later.get(name)
        if register is None:
            return None
        register()
        self._later = {other: one for other, one in self._later.items() if one is not register}
        return self._handlers[name]

    def _not_served(self, operation: Operation) -> NotServed:
        return NotServed(
            f"{operation.name} is a valid operation, and this request to it is well formed, but Lambent {__version__} "
            f"does not serve it; a later release will. {len(self.operations_served)} of the "
            f"{len(self._table.operations)} operations are served."
        )

    # Other services in JSON 1.1

    async def _serve_target(self, exchange: Exchange, target: _Target) -> None:
        request = exchange.request
        try:
            checking = self._authenticator.verify(request, target.caller)
            if checking is not None:
                await checking
            values = _document(request.body)
            output = await target.handler(target.caller, target.operation, values)
            body = orjson.dumps(output)
        except Exception as error:
            self._refuse_foreign(exchange, Protocol.JSON, error, target.request_id)
            return
        except asyncio.CancelledError:
            shutting_down = ServiceFault("The server is shutting down.")
            self._refuse_foreign(exchange, Protocol.JSON, shutting_down, target.request_id)
            raise
        exchange.respond(200, [(b"x-amzn-requestid", target.request_id.encode()), _TARGET_CONTENT_TYPE], body)

    # Answers

    def _start(self, exchange: Exchange, request_id: str, work: Coroutine[Any, Any, None], name: str) -> None:
        try:
            self._running.admit()
        except LambentError as error:
            work.close()
            self._refuse(exchange, error, request_id)
            return
        self._running.start(work, name)

    def _refuse(self, exchange: Exchange, error: BaseException, request_id: str) -> None:
        answer = render(error, request_id)
        exchange.respond(
            answer.status, [(b"x-amzn-requestid", request_id.encode()), _CONTENT_TYPE, *answer.headers], answer.body
        )

    def _refuse_unknown(self, exchange: Exchange, error: UnknownOperation, request_id: str) -> None:
        """An unsigned request to no known path may be another service's; it is answered as that service would."""
        protocol = protocol_of(exchange.request, None)
        if protocol is Protocol.REST_JSON:
            self._refuse(exchange, error, request_id)
        else:
            self._refuse_foreign(exchange, protocol, error, request_id)

    def _refuse_foreign(self, exchange: Exchange, protocol: Protocol, error: Exception, request_id: str) -> None:
        answer = render(error, request_id)
        status = answer.status
        if protocol is Protocol.JSON and status < 500:
            status = 400  # the JSON protocols know one status for all that the client did
        head_only = exchange.request.method == "HEAD"
        headers, body = foreign_error(protocol, status, answer.code, answer.message, request_id, head_only=head_only)
        exchange.respond(status, headers, body)


def _check_page(request: Request, caller: Caller) -> None:
    """Refuse what a page of another origin has a browser send: it could do all that its reader may. Without a signature,
    for a browser lets no page send one to a server that does not allow it (CORS), and this one allows nobody."""
    origin = request.header(b"origin")
    if origin is not None and caller.access_key is None:
        host = (request.header(b"host") or b"").lower()
        if origin.lower() not in (b"http://" + host, b"https://" + host):
            raise Unauthenticated(
                "MissingAuthenticationTokenException",
                f"A page of {origin[:256].decode('ascii', 'backslashreplace')} asks without a signature, which is refused: "
                "any page in a browser on this machine could.",
            )


def _is_address(host: bytes) -> bool:
    """Whether a Host, in lower case, is an address or localhost, with or without a port."""
    name = host.rpartition(b":")[0] or host
    return name[-1:] in _ENDS_OF_ADDRESSES or name == b"localhost" or not name


_ENDS_OF_ADDRESSES = frozenset((b"0", b"1", b"2", b"3", b"4", b"5", b"6", b"7", b"8", b"9", b"]"))


def _text(header: bytes | None) -> str | None:
    return None if header is None else header.decode("latin-1")


def _document(body: bytes) -> dict[str, Any]:
    if not body:
        return {}
    try:
        values = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Unreadable(f"Could not parse request body into json: {error}") from None
    if not isinstance(values, dict):
        raise Unreadable("Unexpected field type")
    return values
