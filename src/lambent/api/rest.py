"""Another service of the REST-JSON protocol, by a table of its own: routed, parsed, validated and written as Lambda's are.

What a table names without a handler is answered as valid and not served, never with something made up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lambent import __version__
from lambent.api.asked import Asked, asked_at
from lambent.api.foreign import Protocol, foreign_error
from lambent.api.parse import parse_input
from lambent.api.ports import Answer, Authenticator
from lambent.api.routing import Router, UnknownOperation
from lambent.api.running import Running
from lambent.api.serialise import serialise
from lambent.api.table import Operation, read_table
from lambent.api.validation import validate
from lambent.api.wire import render
from lambent.domain.errors import LambentError, NotServed, RequestEntityTooLarge, ServiceFault
from lambent.domain.ids import new_uuid
from lambent.http import Buffered

if TYPE_CHECKING:
    from lambent.http import Exchange
    from lambent.identity.model import Caller

REST_BYTES_MAX = 8_388_608
"""Body of one request: more than the largest API definition that may be imported."""

RestHandler = Callable[["Caller", dict[str, Any]], Awaitable[Answer]]

HTTP_APIS_FILE = Path(__file__).with_name("apigatewayv2.json")

_BODY = Buffered(REST_BYTES_MAX)
_JSON = (b"content-type", b"application/json")


class _Call:
    """A request, kept from its head to its answer."""

    __slots__ = ("caller", "labels", "operation", "request_id")

    def __init__(self, request_id: str, caller: Caller, operation: Operation, labels: list[bytes]) -> None:
        self.request_id = request_id
        self.caller = caller
        self.operation = operation
        self.labels = labels


class RestDoor:
    """An application for the door's service mount."""

    def __init__(
        self,
        name: str,
        table: Path,
        authenticator: Authenticator,
        running: Running,
        codes: dict[str, tuple[str, int]],
        elsewhere: str = "",
    ) -> None:
        """codes: errors of Lambda's → code and status of this service's, where they differ. elsewhere: what is said of
        paths that no operation of the table has, where another service is signed for by the same name."""
        self._name = name
        self._table = read_table(table)
        self._router = Router(self._table.operations.values())
        self._authenticator = authenticator
        self._running = running
        self._codes = codes
        self._elsewhere = elsewhere
        self._handlers: dict[str, RestHandler] = {}

    def register(self, operation: str, handler: RestHandler) -> None:
        """Serve an operation of the table. Raises ValueError for an unknown one, or one that is served already."""
        if operation not in self._table.operations or operation in self._handlers:
            raise ValueError(f"{operation} is unknown, or has a handler already")
        self._handlers[operation] = handler

    @property
    def operations_served(self) -> list[str]:
        return sorted(self._handlers)

    # The HTTP core's application

    def head(self, exchange: Exchange) -> Buffered | None:
        request = exchange.request
        request_id = new_uuid()
        try:
            caller = self._authenticator.identify(request)
            operation, labels = self._router.match(request.method, request.path, request.query)
        except UnknownOperation as error:
            is_elsewhere = self._elsewhere and not error.allowed
            self._refuse(exchange, NotServed(self._elsewhere) if is_elsewhere else error, request_id)
            return None
        except Exception as error:
            self._refuse(exchange, error, request_id)
            return None
        exchange.context = _Call(request_id, caller, operation, labels)
        return _BODY

    def handle(self, exchange: Exchange) -> None:
        asked: _Call = exchange.context
        try:
            self._running.admit()
        except LambentError as error:
            self._refuse(exchange, error, asked.request_id)
            return
        self._running.start(self._serve(exchange, asked), asked.operation.name)

    def too_large(self, exchange: Exchange, limit: int, declared: int | None) -> None:
        error = RequestEntityTooLarge(f"Request must be smaller than {limit} bytes")
        self._refuse(exchange, error, exchange.context.request_id)

    async def _serve(self, exchange: Exchange, asked: _Call) -> None:
        request, operation = exchange.request, asked.operation
        try:
            checking = self._authenticator.verify(request, asked.caller)
            if checking is not None:
                await checking
            values = parse_input(operation, asked.labels, request.query, request.headers, request.body)
            validate(operation, values)
            handler = self._handlers.get(operation.name)
            if handler is None:
                raise NotServed(
                    f"{operation.name} is a valid operation of {self._name}, but Lambent {__version__} does not serve it. "
                    f"Operations of {self._name} that are served: {', '.join(self.operations_served)}."
                )
            host = (request.header(b"host") or b"").decode("latin-1")
            asked_at.set(Asked(host, "http" if request.tls is None else "https"))  # this task's own context
            answer = await handler(asked.caller, values)
            status, headers, body = serialise(operation, answer.output, answer.status)
        except Exception as error:
            self._refuse(exchange, error, asked.request_id)
            return
        except asyncio.CancelledError:
            self._refuse(exchange, ServiceFault("The server is shutting down."), asked.request_id)
            raise
        content_type = () if any(name == b"content-type" for name, _ in answer.headers) else (_JSON,)
        identity = (b"x-amzn-requestid", asked.request_id.encode())
        exchange.respond(status, [identity, *content_type, *headers, *answer.headers], body)

    def _refuse(self, exchange: Exchange, error: Exception, request_id: str) -> None:
        answer = render(error, request_id)
        code, status = self._codes.get(answer.code, (answer.code, answer.status))
        headers, body = foreign_error(
            Protocol.REST_JSON,
            status,
            code,
            answer.message,
            request_id,
            head_only=exchange.request.method == "HEAD",
        )
        exchange.respond(status, headers, body)
