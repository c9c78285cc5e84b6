"""The carrier for every other runtime: the HTTP Runtime API, version 2018-06-01, for one life of one runtime."""

from __future__ import annotations

import base64
import binascii
from collections import deque
from collections.abc import Callable, Sequence

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

    __slots__ = ("move", "request_id")

    def __init__(self, request_id: str, move: Move) -> None:
        self.request_id = request_id
        self.move = move


class StreamPost(Post):
    """A streamed response on its way in: the sink of its own body."""

    __slots__ = ("_channel", "exchange")

    def __init__(self, request_id: str, exchange: Exchange, channel: HttpChannel) -> None:
        super().__init__(request_id, Move.RESPONSE)
        self.exchange = exchange
        self._channel = channel

    def data(self, pieces: Sequence[bytes]) -> None:
        self._channel.take(self, pieces)

    def eof(self) -> None:
        self._channel.end_stream(self)

    def gone(self) -> None:
        self._channel.cut_stream(self)


class HttpChannel:
    """A `RuntimeChannel` whose runtime calls in through a sandbox's door, which finds it while it is open."""

    def __init__(self, sink: RuntimeSink, on_close: Callable[[HttpChannel], None]) -> None:
        self._sink: RuntimeSink | None = sink
        self._on_close = on_close
        self._machine = Machine()
        self._pollers: deque[Exchange] = deque()
        self._is_passing = False
        self._has_asked = False
        self._stream: StreamPost | None = None
        self._early: list[Exchange] = []
        """Pollers that came before their runtime's stream was over."""

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

    def pause(self) -> None:
        if self._stream is not None:
            self._stream.exchange.pause_body()

    def resume(self) -> None:
        if self._stream is not None:
            self._stream.exchange.resume_body()

    def read_rest(self) -> None:
        """What a runtime posted before it ended was read as it came; an unfinished post is none."""

    def close(self) -> None:
        if self._sink is None:
            return
        self._sink = None
        self.resume()  # whoever still writes is to notice that it is cut
        self._stream = None
        self._on_close(self)
        pollers, self._pollers = [*self._pollers, *self._early], deque()
        self._early = []
        for poller in pollers:
            poller.abort()

    # -- the door's side

    def next(self, exchange: Exchange) -> None:
        """GET runtime/invocation/next"""
        if len(self._pollers) + len(self._early) >= POLLERS_MAX:
            raise Refused(500, "InternalServerError", f"More than {POLLERS_MAX} connections wait for an event")
        if self._stream is not None:
            # The service's Node.js client asks as soon as it has written the end of a stream, and on another connection:
            # the end may still be on its way.
            self._early.append(exchange)
            return
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
        """POST runtime/invocation/{id}/response or error: the head is here. The body wanted is `RESULT_BODY`, or goes to
        the post itself, if that is a `StreamPost`."""
        request = exchange.request
        echo = request.header(_INVOCATION_ID)
        self._machine.begin_result(request_id, None if echo is None else echo.decode("latin-1"), move)
        mode = request.header(_MODE) if move is Move.RESPONSE else None
        if mode is not None and mode.lower() == b"streaming":
            stream = self._stream = StreamPost(request_id, exchange, self)
            if self._sink is not None:
                self._sink.stream_started(request_id, (request.header(b"content-type") or b"").decode("latin-1"))
            return stream
        post = Post(request_id, move)
        if mode is not None:
            self._give_up(post, "Runtime.InvalidResponseModeHeader")
            raise invalid_response_mode()
        exchange.on_gone = lambda: self._give_up(post, "Runtime.TruncatedResponse")
        exchange.on_truncated = lambda: self._cut_short(exchange, post)
        return post

    def end(self, exchange: Exchange, post: Post) -> None:
        """The body of a result is here. Raises Refused when the invocation was abandoned meanwhile."""
        self._machine.end_result(post.request_id)
        content_type = (exchange.request.header(b"content-type") or b"").decode("latin-1")
        sink = self._accept(exchange)
        if sink is not None:
            if post.move is Move.ERROR:
                sink.error(post.request_id, *_posted_error(exchange, content_type))
            else:
                sink.response(post.request_id, content_type or "application/json", exchange.request.body)
        self._passed_on()

    def _accept(self, exchange: Exchange) -> RuntimeSink | None:
        """First, so that the runtime asks for its next event while we write down and pass on this result. One that has
        asked already, on the heels of its result, is heard after it all the same (`_passed_on`)."""
        sink = self._sink
        self._is_passing = True
        accept(exchange)
        return sink

    def _passed_on(self) -> None:
        self._is_passing = False
        if self._has_asked and self._sink is not None:
            self._has_asked = False
            self._sink.ready()

    # -- the body of a stream

    def take(self, post: StreamPost, pieces: Sequence[bytes]) -> None:
        """The next bytes of a streamed response."""
        if self._sink is None or self._stream is not post or self._sink.streamed(pieces, sum(map(len, pieces))):
            return  # also what comes for an abandoned invocation: its end is refused
        self._stream = None
        self._machine.move(Move.BODY_READ)
        refuse(post.exchange, too_large())
        self._ask_again()

    def end_stream(self, post: StreamPost) -> None:
        """A streamed response is complete, or says in its trailers how it failed."""
        exchange = post.exchange
        try:
            if self._stream is not post:
                raise Refused(500, "InternalServerError", "Internal Server Error")  # the runtime's life ended meanwhile
            self._stream = None
            self._machine.end_result(post.request_id)
        except Refused as refused:
            refuse(exchange, refused)
            self._ask_again()
            return
        sink = self._accept(exchange)
        failure = _trailing_error(exchange)
        if sink is not None and failure is None:
            sink.stream_ended()
        elif sink is not None and failure is not None:
            sink.stream_failed(*failure)
        self._passed_on()
        self._ask_again()

    def cut_stream(self, post: StreamPost) -> None:
        """A streamed response will never be complete."""
        if post.exchange.is_open:
            refuse(post.exchange, truncated())
        if self._stream is post:
            self._stream = None
            self._give_up(post, "Runtime.TruncatedResponse")
            self._ask_again()

    def _ask_again(self) -> None:
        """The stream is over: whoever asked before that asks now."""
        early, self._early = self._early, []
        for exchange in early:
            if exchange.is_open:
                try:
                    self.next(exchange)
                except Refused as refused:
                    refuse(exchange, refused)

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

    def restore_next(self, exchange: Exchange) -> None:
        """GET runtime/restore/next: a runtime that could be snapshotted. It is restored at once: no copy is made of it."""
        self._machine.move(Move.RESTORE_NEXT)
        self._machine.move(Move.THAW)
        exchange.respond(200)

    def begin_restore_error(self) -> None:
        """POST runtime/restore/error: the head is here."""
        self._machine.move(Move.RESTORE_ERROR)

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
