"""Invoke, at once or streamed: from a parsed request to an attempt, and from its result to the answer. The hot path;
nothing here is generic.

Checks are made in the documented order: name and qualifier, existence, headers, size (the door, before the body is
taken), payload, state, concurrency. The client going away never cancels the function.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Protocol

import orjson

from lambent.api.resources.names import authorise
from lambent.api.wire import render
from lambent.concurrency.admission import Kind
from lambent.domain.clock import Clock
from lambent.domain.errors import (
    InvalidRequestContent,
    NotServed,
    RequestEntityTooLarge,
    ServiceFault,
)
from lambent.domain.limits import (
    CLIENT_CONTEXT_BASE64_CHARS_MAX,
    EVENT_REQUEST_BYTES_MAX,
    INVOKE_REQUEST_BYTES_MAX,
)
from lambent.domain.names import FunctionRef, merge_qualifier, parse_function_name
from lambent.environments.work import Result
from lambent.functions.model import Function, FunctionVersion
from lambent.functions.tenancy import check_tenant
from lambent.http import Exchange
from lambent.identity.model import Caller
from lambent.invocations.payload import INLINE_BYTES_MAX, check_payload
from lambent.invocations.service import Invocation, Invocations
from lambent.invocations.trace import trace_header
from lambent.telemetry.attempt import Attempt
from lambent.telemetry.platform_lines import tail

NAMES_MAX = 4_096
"""Parsed (scope, name, qualifier) triples kept; beyond it the table starts anew."""

log = logging.getLogger(__name__)

Headers = list[tuple[bytes, bytes]]
_JSON = (b"content-type", b"application/json")
_ERROR = (b"x-amz-function-error", b"Unhandled")


class Versions(Protocol):
    """What the door needs of `functions/`."""

    def resolve(self, ref: FunctionRef, qualifier: str | None) -> FunctionVersion:
        """The version to run; raises FunctionNotFound. An alias draws its weights here, once."""

    def primary(self, ref: FunctionRef, qualifier: str | None) -> FunctionVersion:
        """As `resolve`, but an alias draws nothing: what is asked where nothing runs yet."""

    async def active(self, ref: FunctionRef, qualifier: str | None) -> FunctionVersion:
        """As `resolve`, but a version that is still Pending gets a moment to become Active."""

    def get(self, ref: FunctionRef, qualifier: str | None = None) -> Function:
        """The function; its policies say what other accounts may."""


class Events(Protocol):
    """What the door needs of the queue: durable when it returns."""

    async def accept(
        self,
        ref: FunctionRef,
        qualifier: str | None,
        *,
        request_id: str,
        trace: str,
        payload: bytes,
        tenant_id: str = "",
    ) -> None: ...


class InvokeDoor:
    """Answers Invoke, InvokeAsync and InvokeWithResponseStream."""

    operations = ("Invoke", "InvokeAsync", "InvokeWithResponseStream")

    def __init__(
        self,
        *,
        versions: Versions,
        invocations: Invocations,
        events: Events,
        clock: Clock,
        supervise: Callable[[Coroutine[Any, Any, None], str], object],
    ) -> None:
        self._versions = versions
        self._invocations = invocations
        self._events = events
        self._clock = clock
        self._supervise = supervise
        self._names: dict[tuple[str, str, str, str | None], tuple[FunctionRef, str | None]] = {}
        """By account and region of the caller, name and qualifier."""
        self.is_draining = False

    def handle(self, exchange: Exchange, caller: Caller, operation: str, params: Mapping[str, Any]) -> None:
        """Begin one request; the exchange is answered now or later. Never raises."""
        request_id = exchange.context.request_id
        try:
            self._handle(exchange, caller, operation, params, request_id)
        except Exception as error:
            self._refuse(exchange, request_id, error)

    def _handle(
        self, exchange: Exchange, caller: Caller, operation: str, params: Mapping[str, Any], request_id: str
    ) -> None:
        if self.is_draining:
            raise ServiceFault("The server is shutting down.")
        ref, qualifier = self._name(caller, params)
        kind = "Event" if operation == "InvokeAsync" else params.get("InvocationType", "RequestResponse")
        if kind == "RequestResponse":
            version = self._versions.resolve(ref, qualifier)
        else:  # an event is taken for the qualifier, and draws when it runs
            version = self._versions.primary(ref, qualifier)
        if ref.account != caller.scope.account:
            authorise(self._versions, caller, ref, "InvokeFunction", qualifier)
        context = self._client_context(params.get("ClientContext"))
        check_tenant(version.configuration, params.get("TenantId"))
        if params.get("DurableExecutionName") is not None:
            raise NotServed("Durable executions are not served by this version of Lambent; invoke without a name.")
        body = exchange.request.body
        limit = EVENT_REQUEST_BYTES_MAX if kind == "Event" else INVOKE_REQUEST_BYTES_MAX
        if len(body) > limit:
            raise RequestEntityTooLarge(
                f"{len(body)} byte payload is too large for the {kind} invocation type (limit {limit} bytes)"
            )
        if len(body) > INLINE_BYTES_MAX:
            self._supervise(
                self._later(exchange, operation, version, qualifier, kind, context, params, request_id),
                f"invoke {request_id}",
            )
            return
        check_payload(body)
        if kind == "DryRun":
            exchange.respond(204, [(b"x-amzn-requestid", request_id.encode())], b"")
            return
        if kind == "Event" or version.state == "Pending":
            self._supervise(
                self._later(exchange, operation, version, qualifier, kind, context, params, request_id),
                f"invoke {request_id}",
            )
            return
        self._start(exchange, operation, version, qualifier, context, params, request_id)

    def _name(self, caller: Caller, params: Mapping[str, Any]) -> tuple[FunctionRef, str | None]:
        scope = caller.scope
        key = (scope.account, scope.region, params["FunctionName"], params.get("Qualifier"))
        found = self._names.get(key)
        if found is None:
            named = parse_function_name(key[2], scope, cross_account=True)
            found = (named.ref, merge_qualifier(named, key[3]))
            if len(self._names) >= NAMES_MAX:
                self._names.clear()
            self._names[key] = found
        return found

    def _client_context(self, encoded: str | None) -> str:
        if not encoded:
            return ""
        if len(encoded) > CLIENT_CONTEXT_BASE64_CHARS_MAX:
            raise InvalidRequestContent(
                f"Client context must be at most {CLIENT_CONTEXT_BASE64_CHARS_MAX} bytes of base64"
            )
        try:
            decoded = base64.b64decode(encoded, validate=True)
            orjson.loads(decoded)
            return decoded.decode()
        except (binascii.Error, ValueError):
            raise InvalidRequestContent("Client context must be a valid Base64-encoded JSON object.") from None

    def _start(
        self,
        exchange: Exchange,
        operation: str,
        version: FunctionVersion,
        qualifier: str | None,
        context: str,
        params: Mapping[str, Any],
        request_id: str,
    ) -> None:
        trace = self._trace(exchange, version)
        invocation = Invocation(
            version=version,
            qualifier=qualifier,
            request_id=request_id,
            kind=Kind.SYNC,
            trace=trace,
            body=exchange.request.body,
            client_context=context,
            tenant_id=params.get("TenantId", ""),
            answered=self._answer_with_tail if params.get("LogType") == "Tail" else self._answer,
            failed=self._fail,
            context=exchange,
        )
        exchange.request.body = b""  # the invocation owns it now
        if operation == "InvokeWithResponseStream":
            self._start_stream(exchange, invocation, is_tailed=params.get("LogType") == "Tail")
        else:
            self._invocations.start(invocation)

    def _start_stream(self, exchange: Exchange, invocation: Invocation, *, is_tailed: bool) -> None:
        from lambent.api import event_stream  # not on the way to listening

        answer = event_stream.EventStreamAnswer(exchange, _headers(invocation))

        def answered(invocation: Invocation, result: Result, attempt: Attempt) -> None:
            log_result = tail(attempt, result.earlier) if is_tailed else None
            answer.finish(event_stream.invoke_complete(result.body if result.function_error else None, log_result))

        def failed(invocation: Invocation, error: Exception) -> None:
            if exchange.is_started:
                told = render(error, invocation.request_id)
                answer.finish(event_stream.failure(told.code, told.message or ""))
            else:
                self._refuse(exchange, invocation.request_id, error)

        invocation.answered, invocation.failed, invocation.context = answered, failed, None
        self._invocations.stream(invocation, answer)

    def _trace(self, exchange: Exchange, version: FunctionVersion) -> str:
        incoming = exchange.request.header(b"x-amzn-trace-id")
        return trace_header(
            incoming.decode("latin-1") if incoming else None,
            self._clock.wall_ms(),
            is_active=version.configuration.tracing_mode == "Active",
        )

    async def _later(
        self,
        exchange: Exchange,
        operation: str,
        version: FunctionVersion,
        qualifier: str | None,
        kind: str,
        context: str,
        params: Mapping[str, Any],
        request_id: str,
    ) -> None:
        """The ways that wait: a large payload is checked in a thread, an event is put on disk, a creation finishes.

        version: what was resolved for the qualifier; it stays what is run, though its state may be another by now.
        """
        ref = version.ref
        try:
            body = exchange.request.body
            if len(body) > INLINE_BYTES_MAX:
                await asyncio.get_running_loop().run_in_executor(None, check_payload, body)
            if kind == "DryRun":
                exchange.respond(204, [(b"x-amzn-requestid", request_id.encode())], b"")
                return
            if kind == "Event":
                await self._events.accept(
                    ref,
                    qualifier,
                    request_id=request_id,
                    trace=self._trace(exchange, version),
                    payload=body,
                    tenant_id=params.get("TenantId", ""),
                )
                exchange.respond(202, [(b"x-amzn-requestid", request_id.encode()), _JSON], b"")
                return
            version = await self._versions.active(ref, version.version)
            self._start(exchange, operation, version, qualifier, context, params, request_id)
        except Exception as error:
            self._refuse(exchange, request_id, error)

    def _answer(self, invocation: Invocation, result: Result, attempt: Attempt) -> None:
        exchange: Any = invocation.context
        invocation.context = None
        exchange.respond(200, _answer_headers(invocation, result), result.body)

    def _answer_with_tail(self, invocation: Invocation, result: Result, attempt: Attempt) -> None:
        exchange: Any = invocation.context
        invocation.context = None
        headers = _answer_headers(invocation, result)
        headers.append((b"x-amz-log-result", tail(attempt, result.earlier).encode()))
        exchange.respond(200, headers, result.body)

    def _fail(self, invocation: Invocation, error: Exception) -> None:
        exchange: Any = invocation.context
        invocation.context = None
        self._refuse(exchange, invocation.request_id, error)

    def _refuse(self, exchange: Exchange, request_id: str, error: Exception) -> None:
        answer = render(error, request_id)
        headers = [(b"x-amzn-requestid", request_id.encode()), _JSON, *answer.headers]
        exchange.respond(answer.status, headers, answer.body)


def _headers(invocation: Invocation) -> Headers:
    return [
        (b"x-amzn-requestid", invocation.request_id.encode()),
        (b"x-amz-executed-version", invocation.version.version.encode()),
        (b"x-amzn-trace-id", invocation.trace.encode()),
    ]


def _answer_headers(invocation: Invocation, result: Result) -> Headers:
    headers = [*_headers(invocation), _JSON]
    if result.function_error:
        headers.append(_ERROR)
    return headers
