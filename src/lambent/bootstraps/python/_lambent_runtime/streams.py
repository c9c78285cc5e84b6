"""Streamed responses: a handler that is a generator, or an async generator. Imported when the first one answers.

What is yielded goes out at once, one chunk for each: bytes as they are, text as UTF-8, everything else as JSON. A dict of
`statusCode`, and perhaps `headers` and `cookies`, that is yielded first is the metadata of an HTTP answer, and goes out
with the first chunk after it (`yield b""` sends it by itself). The service's own Python client has no such thing.
"""

import os
from struct import Struct

from . import values
from .handler import Fault

READY, STREAM, CHUNK, END, STREAM_ERROR = 5, 6, 7, 8, 9
COPY_BYTES = 4096
"""Chunks up to here are joined to their head; larger ones are written beside it, without a copy."""

PRELUDE_TYPE = b"application/vnd.awslambda.http-integration-response"
PLAIN_TYPE = b"application/octet-stream"
PRELUDE_END = bytes(8)
_PRELUDE_MEMBERS = frozenset(("statusCode", "headers", "cookies", "multiValueHeaders"))

_FRAME = Struct("<IB")
_SHORT = Struct("<H")
_MSG_DONTWAIT = 0x40


def respond(channel, result, request_id, flush):
    """Send what `result` yields, and how it ended. Raises what it raises before its first chunk: an ordinary error then.

    flush: writes out what was printed.
    """
    stream = _Stream(channel, request_id.encode())
    try:
        if type(result).__name__ == "generator":
            _follow(stream, result)
        else:
            _run(_follow_async(stream, result))
        frames = stream.end()
    except Exception as error:
        if not stream.is_begun:
            raise
        frames = _error(error, request_id)
    finally:
        stream.close()
    flush()
    channel.send(frames + _FRAME.pack(1, READY))


def _follow(stream, result):
    write, to_bytes, pack, send = stream.write, _to_bytes, _FRAME.pack, stream.channel.send
    try:
        for value in result:
            if type(value) is bytes and stream.is_plain and 0 < len(value) <= COPY_BYTES:
                send(pack(1 + len(value), CHUNK) + value)  # the usual chunk, by the shortest way
            elif not stream.takes_prelude(value):
                write(to_bytes(value))
    finally:
        result.close()


async def _follow_async(stream, result):
    try:
        async for value in result:
            if not stream.takes_prelude(value):
                await stream.write_async(_to_bytes(value))
    finally:
        await result.aclose()


def _run(work):
    """Run it in the event loop; an error leaves without the loop's own frames in its stack."""
    try:
        event_loop().run_until_complete(work)
    except Exception as error:
        stack = error.__traceback__
        while stack is not None and stack.tb_frame.f_code is not _follow_async.__code__:
            stack = stack.tb_next
        raise error.with_traceback(stack)


def _to_bytes(value):
    if isinstance(value, (bytes, bytearray, memoryview)):
        return value
    try:
        return (value if isinstance(value, str) else values.encode(value)).encode()
    except Exception as error:
        raise Fault("Runtime.MarshalError", "Unable to marshal response: {}".format(error))


class _Stream:
    """One response on its way out."""

    def __init__(self, channel, request_id):
        self.channel = channel
        self.is_begun = False
        """Something of it was sent."""
        self.is_plain = False
        """What comes now is a chunk, whatever it is."""
        self._request_id = request_id
        self._prelude = None
        self._socket = None

    def takes_prelude(self, value):
        """Whether the first value is the metadata of an HTTP answer."""
        if self.is_begun or self._prelude is not None or type(value) is not dict:
            return False
        if "statusCode" not in value or not _PRELUDE_MEMBERS.issuperset(value):
            return False
        self._prelude = _to_bytes(value) + PRELUDE_END
        return True

    def write(self, data):
        data = memoryview(data).cast("B")
        self._send(self._begin() + (_FRAME.pack(1 + len(data), CHUNK) if len(data) else b""), data)

    def _send(self, head, data):
        if len(data) <= COPY_BYTES:
            self.channel.send(head + data)
            return
        sent = os.writev(self.channel.descriptor, (head, data))
        if sent < len(head):
            self.channel.send(head[sent:])
            sent = len(head)
        if sent < len(head) + len(data):
            self.channel.send(data[sent - len(head) :])

    async def write_async(self, data):
        """As `write`, with other tasks running while there is no room for it."""
        data = memoryview(data).cast("B")
        head = self._begin() + (_FRAME.pack(1 + len(data), CHUNK) if len(data) else b"")
        if len(data) <= COPY_BYTES:
            await self._send_async(memoryview(head + data))
        else:
            await self._send_async(memoryview(head))
            await self._send_async(data)

    async def _send_async(self, data):
        if self._socket is None:
            import socket

            self._socket = socket.socket(fileno=os.dup(self.channel.descriptor))
        while len(data):
            try:
                data = data[self._socket.send(data, _MSG_DONTWAIT) :]
            except BlockingIOError:
                await _writable(self.channel.descriptor)

    def _begin(self):
        """What goes ahead of the first chunk."""
        self.is_plain = True
        if self.is_begun:
            return b""
        self.is_begun = True
        prelude, kind = self._prelude, PLAIN_TYPE
        if prelude is not None:
            kind = PRELUDE_TYPE
            prelude = _FRAME.pack(1 + len(prelude), CHUNK) + prelude
        names = _SHORT.pack(len(self._request_id)) + self._request_id + _SHORT.pack(len(kind)) + kind
        return _FRAME.pack(1 + len(names), STREAM) + names + (prelude or b"")

    def end(self):
        return self._begin() + _FRAME.pack(1, END)

    def close(self):
        if self._socket is not None:
            self._socket.close()


async def _writable(descriptor):
    import asyncio

    loop = asyncio.get_running_loop()
    waiting = loop.create_future()
    loop.add_writer(descriptor, lambda: waiting.done() or waiting.set_result(None))
    try:
        await waiting
    finally:
        loop.remove_writer(descriptor)


def _error(error, request_id):
    """Log what was raised; its STREAM_ERROR frame. Called while the exception is being handled."""
    from . import faults

    if isinstance(error, Fault):
        found = faults.document(error.kind, error.text, error.trace, request_id)
    else:
        found = faults.from_exception(request_id)
    faults.log(found)
    kind, body = found["errorType"].encode("utf-8", "replace"), faults.text_of(found)
    return _FRAME.pack(3 + len(kind) + len(body), STREAM_ERROR) + _SHORT.pack(len(kind)) + kind + body


_kept = None


def event_loop():
    """One event loop for the life of the process: what a function keeps between invocations stays bound to it."""
    global _kept
    import asyncio

    if _kept is None or _kept.is_closed():
        _kept = asyncio.new_event_loop()
    asyncio.set_event_loop(_kept)
    return _kept
