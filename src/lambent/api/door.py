"""The public door: one port for many services, one application for the HTTP core.

Order of routing: the service of the credential scope, else `X-Amz-Target`, else the Host, else the path. Lambda's own
operations go through the table (route → authenticate → parse → validate → handler → serialise); the Invoke family goes
to the invoke door, which takes the exchange itself. Everything else is mounted: whole services by their signing name,
JSON services by their target prefix, hosts by a label, platform paths by a prefix. What nobody mounted gets an error in
the shape its client can read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any

import orjson

from lambent import __version__
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
from lambent.domain.errors import InvalidRequestContent, LambentError, NotServed, RequestEntityTooLarge, ServiceFault
from lambent.domain.ids import is_uuid, new_uuid
from lambent.http import Application, Buffered, Streamed

if TYPE_CHECKING:
    from lambent.http import Exchange, Request
    from lambent.identity.model import Caller

JSON_THREAD_BYTES = 1 << 20
"""Bodies larger than this are parsed in a thread."""

HEALTH_PATH = b"/_lambent/health"

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
        self._paths: list[tuple[bytes, Application]] = []

    # What is served

    def register(self, operation: str, handler: Handler) -> None:
        """Serve an operation of the table. Raises ValueError for an unknown, taken or Invoke-family name."""
        if operation not in self._table.operations or operation in INVOKE_FAMILY:
            raise ValueError(f"{operation} is not an operation that takes a handler")
        if operation in self._handlers:
            raise ValueError(f"{operation} has a handler already")
        self._handlers[operation] = handler

    def mount_target(self, target: str, handler: TargetHandler) -> None:
        """Serve a JSON 1.1 service: requests whose `X-Amz-Target` is `target.Operation`."""
        self._targets[target] = handler

    def mount_service(self, name: str, application: Application) -> None:
        """Serve all requests signed for the service `name`, as the credential scope spells it."""
        self._services[name] = application

    def mount_host(self, part: bytes, application: Application) -> None:
        """Serve all requests, signed for lambda or unsigned, whose Host contains `part`, such as `.lambda-url.`."""
        self._hosts.append((part, application))

    def mount_path(self, prefix: bytes, application: Application) -> None:
        """Serve requests, signed for lambda or unsigned, whose raw path begins with `prefix`; the longest prefix wins."""
        self._paths.append((prefix, application))
        self._paths.sort(key=lambda mount: -len(mount[0]))

    @property
    def operations_served(self) -> list[str]:
        """Names of the operations that do not answer 501."""
        return sorted([*self._handlers, *(self._invoke.operations if self._invoke is not None else ())])

    # The HTTP core's application

    def head(self, exchange: Exchange) -> Buffered | Streamed | None:
        """Decide who answers, and how much body may come."""
        request = exchange.request
        request_id = new_uuid()
        try:
            caller = self._authenticator.identify(request)
            service = caller.service
            target = request.header(b"x-amz-target")
            if (service is not None and service != "lambda") or (service is None and target is not None):
                return self._head_of_another_service(exchange, request_id, caller, target)
            mounted = self._mounted(request)
            if mounted is not None:
                return exchange.delegate(mounted)
            if request.path == HEALTH_PATH and request.method in ("GET", "HEAD"):
                self._answer_health(exchange, request_id)
                return None
            operation, labels = self._router.match(request.method, request.path, request.query)
            wanted = self._wanted[operation.name]
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

    def _mounted(self, request: Request) -> Application | None:
        if self._hosts:
            host = request.header(b"host") or b""
            for part, application in self._hosts:
                if part in host:
                    return application
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
            handler = self._handlers.get(operation.name)
            if handler is None:
                raise self._not_served(operation)
            sdk_invocation_id.set(_text(request.header(SDK_INVOCATION_ID)))  # this task's own context
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

    def _not_served(self, operation: Operation) -> NotServed:
        served = ", ".join(self.operations_served) or "none yet"
        return NotServed(
            f"{operation.name} is a valid operation, and this request to it is well formed, but Lambent {__version__} "
            f"does not serve it; a later release will. Operations served: {served}."
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
