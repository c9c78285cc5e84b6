"""The listener inside a sandbox: the Runtime API for the runtime in it, the platform's endpoint for the function.

Which sandbox calls is known by the listener, never by anything in the request: what is passed to the platform carries
the door's `origin` on the request.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from typing import Any

from lambent.domain.clock import Clock
from lambent.environments.channel import ExtensionFacts, ExtensionsSink, RuntimeSink
from lambent.http import Application, Buffered, Exchange, Limits, Reaper, Server, Streamed, serve

from . import extensions
from .documents import JSON, LOGS_NOT_SERVED, TELEMETRY_NOT_SERVED, refuse
from .extensions import ExtensionsChannel
from .http_channel import RESULT_BODY, HttpChannel, Post, StreamPost
from .machine import Move, Refused

SANDBOX_LIMITS = Limits(idle_s=None, connections=256, backlog=128, write_high_bytes=0)
"""Bounds of one sandbox's listener. No idle limit: a runtime's connection is quiet for as long as its handler runs or
its environment is frozen. Nothing waits unsent: uvloop keeps what is below the mark until the end of its turn, and the
202 for a result would come only after the result was written down and passed on."""

_RUNTIME = b"/2018-06-01/"
_CREDENTIALS = b"/2021-04-23/credentials"
_EXTENSION = b"/2020-01-01/extension"
_INVOCATION = b"/2018-06-01/runtime/invocation/"
_NOT_SERVED = (
    (b"/2022-07-01/telemetry", TELEMETRY_NOT_SERVED),
    (b"/2020-08-15/logs", LOGS_NOT_SERVED),
)
_RESULTS = {b"response": Move.RESPONSE, b"error": Move.ERROR}
_NO_RUNTIME = Refused(403, "InvalidStateTransition", "No runtime of this environment uses the Runtime API over HTTP")
_NOT_FOUND = Refused(404, "InvalidRequest", "The Runtime API has no such path")
_NOT_SNAP_START = Refused(404, "InvalidRequest", "This environment is not restored from a snapshot")
_NO_CREDENTIALS = Refused(404, "InvalidRequest", "There are no credentials for this token")
_WRONG_METHOD = Refused(405, "InvalidRequest", "The Runtime API does not take this method here")
_NO_LIFE = Refused(403, "Extension.RegistrationClosed", "Extension registration closed already")
_INTERNAL = Refused(500, "InternalServerError", "Internal Server Error")

_INIT_ERROR = object()


class SandboxDoor:
    """An HTTP application on one sandbox's listener. It owns the listener from `start` on."""

    def __init__(
        self, platform: Application | None, origin: Any, *, credentials: Callable[[str], bytes | None] | None = None
    ) -> None:
        """platform: who serves everything that is not the Runtime API; None: nobody, 404. origin: what the platform
        will find on each request as `request.origin`. credentials: under SnapStart, the document for whoever shows the
        right token, None for another."""
        self._credentials = credentials
        self._platform = platform
        self._origin = origin
        self._channel: HttpChannel | None = None
        self._extensions: ExtensionsChannel | None = None
        self.on_runtime: Callable[[], None] | None = None
        """Called when a runtime asks over HTTP and there is no channel: it may open one."""
        self._server: Server | None = None
        self._serving: asyncio.Task[None] | None = None
        self._listener: socket.socket | None = None
        self._is_closed = False

    def start(self, listener: socket.socket, clock: Clock, reaper: Reaper, limits: Limits = SANDBOX_LIMITS) -> None:
        """Serve the listener from the next turn of the loop on; the kernel queues who comes before."""
        listener.setblocking(False)
        self._listener = listener
        self._serving = asyncio.get_running_loop().create_task(self._serve(listener, clock, reaper, limits))

    async def _serve(self, listener: socket.socket, clock: Clock, reaper: Reaper, limits: Limits) -> None:
        try:
            server = await serve(self, listener, limits, clock=clock, reaper=reaper, origin=self._origin)
            if self._is_closed:
                server.close()
            else:
                self._server = server
        finally:
            self._serving = None

    def open_channel(self, sink: RuntimeSink) -> HttpChannel:
        """A channel for one life of the sandbox's runtime; a channel that is still open is closed first."""
        if self._channel is not None:
            self._channel.close()
        channel = self._channel = HttpChannel(sink, self._forget)
        return channel

    def open_extensions(
        self, sink: ExtensionsSink, facts: ExtensionFacts, external: Sequence[str]
    ) -> ExtensionsChannel:
        """The same for its extensions."""
        if self._extensions is not None:
            self._extensions.close()
        channel = self._extensions = ExtensionsChannel(sink, facts, external, self._forget_extensions)
        return channel

    def close(self) -> None:
        """Stop serving and cut every connection; idempotent."""
        self._is_closed = True
        self.on_runtime = None
        if self._extensions is not None:
            self._extensions.close()
        if self._channel is not None:
            self._channel.close()
        if self._server is not None:
            self._server.close()
        elif self._serving is not None:
            self._serving.cancel()
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    def _forget(self, channel: HttpChannel) -> None:
        if self._channel is channel:
            self._channel = None

    def _forget_extensions(self, channel: ExtensionsChannel) -> None:
        if self._extensions is channel:
            self._extensions = None

    # -- Application

    def head(self, exchange: Exchange) -> Buffered | Streamed | None:
        request = exchange.request
        path = request.path
        if _is_signed(exchange):
            return self._pass_on(exchange)
        if path == _CREDENTIALS and self._credentials is not None:
            self._give_credentials(exchange)
            return None
        if not path.startswith(_RUNTIME):
            if path.startswith(_EXTENSION):
                return self._extension_api(exchange, path)
            for prefix, refused in _NOT_SERVED:
                if path.startswith(prefix):
                    refuse(exchange, refused)
                    return None
            return self._pass_on(exchange)
        try:
            return self._runtime_api(exchange, path)
        except Refused as refused:
            refuse(exchange, refused)
            return None

    def handle(self, exchange: Exchange) -> None:
        channel = self._channel
        context = exchange.context
        try:
            if context is not None and context[0] is not None and context[0] is self._extensions:
                context[1](exchange)
                return
            if channel is None or context is None or context[0] is not channel:
                raise _INTERNAL  # the runtime's life ended while it was posting
            if context[1] is _INIT_ERROR:
                channel.end_init_error(exchange)
            else:
                channel.end(exchange, context[1])
        except Refused as refused:
            refuse(exchange, refused)

    def too_large(self, exchange: Exchange, limit: int, declared: int | None) -> None:
        channel = self._channel
        context = exchange.context
        if context is not None and context[0] is not None and context[0] is self._extensions:
            extensions.too_large(exchange)
            return
        try:
            if channel is None or context is None or context[0] is not channel:
                raise _INTERNAL
            post = context[1] if isinstance(context[1], Post) else None
            channel.end_too_large(exchange, post, limit + 1 if declared is None else declared)
        except Refused as refused:
            refuse(exchange, refused)

    # -- routes

    def _runtime_api(self, exchange: Exchange, path: bytes) -> Buffered | Streamed | None:
        method = exchange.request.method
        if path == b"/2018-06-01/ping":
            _require(method, "GET")
            exchange.respond(200, ((b"Content-Type", b"text/plain"),), b"pong")
            return None
        if path.startswith(b"/2018-06-01/runtime/restore/") and self._credentials is None:
            raise _NOT_SNAP_START
        if self._channel is None and self.on_runtime is not None:
            self.on_runtime()
        channel = self._channel
        if channel is None:
            raise _NO_RUNTIME
        if path == b"/2018-06-01/runtime/restore/next":
            _require(method, "GET")
            channel.restore_next(exchange)
            return None
        if path == b"/2018-06-01/runtime/restore/error":
            _require(method, "POST")
            channel.begin_restore_error()
            exchange.context = (channel, _INIT_ERROR)
            return RESULT_BODY
        if path == b"/2018-06-01/runtime/invocation/next":
            _require(method, "GET")
            channel.next(exchange)
            return None
        if path == b"/2018-06-01/runtime/init/error":
            _require(method, "POST")
            channel.begin_init_error()
            exchange.context = (channel, _INIT_ERROR)
            return RESULT_BODY
        if path.startswith(_INVOCATION):
            request_id, _, what = path[len(_INVOCATION) :].partition(b"/")
            move = _RESULTS.get(what)
            if move is not None:
                _require(method, "POST")
                post = channel.begin(exchange, request_id.decode("latin-1"), move)
                exchange.context = (channel, post)
                return Streamed(post, is_patient=True) if isinstance(post, StreamPost) else RESULT_BODY
        raise _NOT_FOUND

    def _give_credentials(self, exchange: Exchange) -> None:
        """As the container credentials protocol has it, which SDKs speak. The connection is closed: SDKs that keep it open
        would have every template refused in whose init they were set up."""
        exchange.request.keep_alive = False
        if exchange.request.method != "GET":
            refuse(exchange, _WRONG_METHOD)
            return
        assert self._credentials is not None
        document = self._credentials((exchange.request.header(b"authorization") or b"").decode("latin-1"))
        if document is None:
            refuse(exchange, _NO_CREDENTIALS)
        else:
            exchange.respond(200, JSON, document)

    def _extension_api(self, exchange: Exchange, path: bytes) -> Buffered | None:
        channel = self._extensions
        try:
            if channel is None:
                raise _NO_LIFE
            if path == b"/2020-01-01/extension/event/next":
                _require(exchange.request.method, "GET")
                channel.next(exchange)
                return None
            calls: dict[bytes, Callable[[Exchange], None]] = {
                b"/2020-01-01/extension/register": channel.register,
                b"/2020-01-01/extension/init/error": channel.init_error,
                b"/2020-01-01/extension/exit/error": channel.exit_error,
            }
            call = calls.get(path)
            if call is None:
                raise _NOT_FOUND
            _require(exchange.request.method, "POST")
        except Refused as refused:
            refuse(exchange, refused)
            return None
        exchange.context = (channel, call)
        return extensions.BODY

    def _pass_on(self, exchange: Exchange) -> Buffered | Streamed | None:
        if self._platform is None:
            refuse(exchange, _NOT_FOUND)
            return None
        return exchange.delegate(self._platform)


def _require(method: str, expected: str) -> None:
    if method != expected:
        raise _WRONG_METHOD


def _is_signed(exchange: Exchange) -> bool:
    """Whether the request carries the platform's signing, in its header or its query."""
    authorization = exchange.request.header(b"authorization")
    if authorization is not None and authorization.startswith(b"AWS4-"):
        return True
    return b"X-Amz-Algorithm=" in exchange.request.query
