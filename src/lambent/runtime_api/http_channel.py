"""The carrier for every other runtime: the HTTP Runtime API, version 2018-06-01, for one life of one runtime."""

from __future__ import annotations

import base64
import binascii
from collections import deque
from collections.abc import Callable

from lambent.domain.limits import INVOKE_RESPONSE_BYTES_MAX
from lambent.environments.channel import RuntimeEvent, RuntimeSink
from lambent.http import Buffered, Exchange

from .documents import accept, event_headers, refuse
from .error_types import CAUSE_CONTENT_TYPE, INVALID_ERROR_BODY, normalise_error_type, strip_cause
from .machine import Machine, Move, Refused, State, invalid_response_mode, too_large, truncated

POLLERS_MAX = 64
"""Connections of one runtime that may wait for an event at once; several are legal, endless ones are not."""

RESULT_BODY = Buffered(INVOKE_RESPONSE_BYTES_MAX)
_ERROR_TYPE = b"lambda-runtime-function-error-type"
_ERROR_BODY = b"lambda-runtime-function-error-body"
_MODE = b"lambda-runtime-function-response-mode"
_INVOCATION_ID = b"lambda-runtime-invocation-id"


class Post:
    """A result on its way in."""

    __slots__ = ("is_streamed", "move", "request_id")

    def __init__(self, request_id: str, move: Move, is_streamed: bool) -> None:
        self.request_id = request_id
        self.move = move
        self.is_streamed = is_streamed


class HttpChannel:
    """A `RuntimeChannel` whose runtime calls in through a sandbox's door, which finds it while it is open."""

    def __init__(self, sink: RuntimeSink, on_close: Callable[[HttpChannel], None]) -> None:
        self._sink: RuntimeSink | None = sink
        self._on_close = on_close
        self._machine = Machine()
        self._pollers: deque[Exchange] = deque()
        self._is_passing = False
        self._has_asked = False

    # -- RuntimeChannel

    def dispatch(self, event: RuntimeEvent) -> None:
        """Give the event to a waiting poller. When each has vanished it stays and the next call of `next` gets it."""
        self._machine.deliver(event)
        while self._pollers:
            poller = self._pollers.popleft()
            if poller.is_open:
                self._send_event(poller)
                return

    def abandon(self) -> None:
        self._machine.abandon()

    def close(self) -> None:
        if self._sink is None:
            return
        self._sink = None
        self._on_close(self)
        pollers, self._pollers = self._pollers, deque()
        for poller in pollers:
            poller.abort()

    # -- the door's side

    def next(self, exchange: Exchange) -> None:
        """GET runtime/invocation/next"""
        if len(self._pollers) >= POLLERS_MAX:
            raise Refused(500, "InternalServerError", f"More than {POLLERS_MAX} connections wait for an event")
        became_ready = self._machine.ask()
        if self._machine.state is State.RUNNING:
            self._send_event(exchange)  # the same event again
            return
        self._pollers.append(exchange)
        exchange.on_gone = lambda: self._drop(exchange)
        exchange.require_open()  # an event written to a runtime that has hung up would be lost
        if became_ready and self._is_passing:
            self._has_asked = True
        elif became_ready and self._sink is not None:
            self._sink.ready()

    def begin(self, exchange: Exchange, request_id: str, move: Move) -> Post:
        """POST runtime/invocation/{id}/response or error: the head is here. The body wanted is `RESULT_BODY`."""
        request = exchange.request
        echo = request.header(_INVOCATION_ID)
        self._machine.begin_result(request_id, None if echo is None else echo.decode("latin-1"), move)
        mode = request.header(_MODE) if move is Move.RESPONSE else None
        post = Post(request_id, move, mode is not None)
        if mode is not None and mode.lower() != b"streaming":
            self._give_up(post, "Runtime.InvalidResponseModeHeader")
            raise invalid_response_mode()
        exchange.on_gone = lambda: self._give_up(post, "Runtime.TruncatedResponse")
        exchange.on_truncated = lambda: self._cut_short(exchange, post)
        return post

    def end(self, exchange: Exchange, post: Post) -> None:
        """The body of a result is here. Raises Refused when the invocation was abandoned meanwhile."""
        self._machine.end_result(post.request_id)
        request = exchange.request
        sink = self._sink
        # First, so that the runtime asks for its next event while we write down and pass on this result. One that has
        # asked already, on the heels of its result, is heard after it all the same.
        self._is_passing = True
        accept(exchange)
        content_type = (request.header(b"content-type") or b"").decode("latin-1")
        if sink is not None:
            failure = _trailing_error(exchange) if post.is_streamed else None
            if failure is not None:
                sink.error(post.request_id, *failure)
            elif post.move is Move.ERROR:
                sink.error(post.request_id, *_posted_error(exchange, content_type))
            else:
                default = "application/octet-stream" if post.is_streamed else "application/json"
                sink.response(post.request_id, content_type or default, request.body)
        self._is_passing = False
        if self._has_asked and self._sink is not None:
            self._has_asked = False
            self._sink.ready()

    def end_too_large(self, exchange: Exchange, post: Post | None, size: int) -> None:
        """The body of a result (None: of an init error) exceeds the limit; the runtime is told, and stays healthy."""
        if post is not None:
            self._machine.end_result(post.request_id)
        refuse(exchange, too_large())
        if self._sink is None:
            return
        if post is not None:
            self._sink.response_too_large(post.request_id, size)
        else:
            error_type = (exchange.request.header(_ERROR_TYPE) or b"").decode("latin-1")
            self._sink.init_error(normalise_error_type(error_type), INVALID_ERROR_BODY)

    def begin_init_error(self) -> None:
        """POST runtime/init/error: the head is here. The move is made now, so that two posts can't both pass."""
        self._machine.move(Move.INIT_ERROR)

    def end_init_error(self, exchange: Exchange) -> None:
        """The body of an init error is here."""
        content_type = (exchange.request.header(b"content-type") or b"").decode("latin-1")
        error_type, body = _posted_error(exchange, content_type)
        accept(exchange)
        if self._sink is not None:
            self._sink.init_error(error_type, body)

    # -- inside

    def _send_event(self, exchange: Exchange) -> None:
        event = self._machine.event
        assert event is not None
        exchange.respond(200, event_headers(event, self._machine.identify()), event.body)

    def _drop(self, exchange: Exchange) -> None:
        if exchange in self._pollers:
            self._pollers.remove(exchange)

    def _give_up(self, post: Post, error_type: str) -> None:
        """The result can't be taken; the caller is told, and the runtime may ask for the next event."""
        machine = self._machine
        if machine.state is not post.move.value:
            return  # the post was dealt with
        machine.move(Move.BODY_READ)
        is_current = machine.event is not None and machine.event.request_id == post.request_id
        if is_current and self._sink is not None:
            self._sink.response_refused(post.request_id, error_type)

    def _cut_short(self, exchange: Exchange, post: Post) -> None:
        refuse(exchange, truncated())
        self._give_up(post, "Runtime.TruncatedResponse")


def _posted_error(exchange: Exchange, content_type: str) -> tuple[str, bytes]:
    """Normalised type and the document that the caller gets."""
    request = exchange.request
    error_type = normalise_error_type((request.header(_ERROR_TYPE) or b"").decode("latin-1"))
    if content_type.partition(";")[0].strip().lower() == CAUSE_CONTENT_TYPE:
        return error_type, strip_cause(request.body)
    return error_type, request.body


def _trailing_error(exchange: Exchange) -> tuple[str, bytes] | None:
    """A stream that failed in its middle says so in trailers: the type in clear, the document in base64."""
    trailers = dict(exchange.request.trailers)
    if _ERROR_TYPE not in trailers and _ERROR_BODY not in trailers:
        return None
    try:
        body = base64.b64decode(trailers.get(_ERROR_BODY, b""), validate=True)
    except binascii.Error:
        body = INVALID_ERROR_BODY
    return normalise_error_type(trailers.get(_ERROR_TYPE, b"").decode("latin-1")), body
