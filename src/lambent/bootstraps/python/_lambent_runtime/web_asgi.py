"""An ASGI 3 application as a handler: its lifespan is the environment's, one event loop lives as long."""

import asyncio

from . import streams, web
from .handler import Fault


class _Lifespan(object):
    """Start-up and what it leaves in the state; an application that knows no lifespan has none."""

    def __init__(self, application):
        self.state = {}
        self._application = application
        self._started = None
        self._task = None

    async def start(self):
        loop = asyncio.get_running_loop()
        self._started = loop.create_future()
        self._task = loop.create_task(self._run())
        await self._started

    async def _run(self):
        came = asyncio.Queue()
        came.put_nowait({"type": "lifespan.startup"})
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": self.state}
        try:
            await self._application(scope, came.get, self._send)
        except Exception:
            pass  # so does an application that has no lifespan; one whose start-up fails says so by a message
        finally:
            if not self._started.done():
                self._started.set_result(None)

    async def _send(self, message):
        if self._started.done():
            return
        if message["type"] == "lifespan.startup.complete":
            self._started.set_result(None)
        elif message["type"] == "lifespan.startup.failed":
            text = message.get("message") or "the application's start-up failed"
            self._started.set_exception(Fault("Runtime.ApplicationStartupFailed", text))


def handler(application):
    """Raises Fault when the application's start-up fails."""
    loop = streams.event_loop()
    lifespan = _Lifespan(application)
    loop.run_until_complete(lifespan.start())

    def handle(event, context):
        request = web.read(event, context)
        if web.is_streamed(request):
            return stream(application, request, context, lifespan.state)
        try:
            status, headers, body = loop.run_until_complete(call(application, request, context, lifespan.state))
        except Exception:
            return web.failed(request)
        return web.result(request, status, headers, body)

    return handle


async def call(application, request, context, state):
    """Run the application for one request: status, headers, body."""
    started = []
    parts = []

    async def take(part):
        parts.append(part)

    await _run(application, scope(request, context, state), request.body, started, take)
    return started[0], started[1], b"".join(parts)


async def stream(application, request, context, state):
    """The same, yielded as it comes: first the metadata. What is raised before them is answered, afterwards it cuts the
    response off."""
    started = []
    parts = asyncio.Queue(1)

    async def run():
        try:
            await _run(application, scope(request, context, state), request.body, started, parts.put)
        finally:
            await parts.put(None)

    running = asyncio.ensure_future(run())
    try:
        first = await parts.get()
        if first is None:
            try:
                await running
            except Exception:
                web.log_failure()
                yield web.metadata(*web.BROKEN[:2])
                yield web.BROKEN[2]
                return
        yield web.metadata(started[0], started[1])
        part = first
        while part is not None:
            yield part
            part = await parts.get()
        await running
    finally:
        running.cancel()


async def _run(application, about, body, started, take):
    """Run the application; `started` gets status and headers, `take` the body piece by piece, the last perhaps empty."""
    came = [{"type": "http.request", "body": body, "more_body": False}]
    ended = asyncio.Event()

    async def receive():
        if came:
            return came.pop()
        await ended.wait()
        return {"type": "http.disconnect"}

    async def send(message):
        if message["type"] == "http.response.start":
            if started:
                raise RuntimeError("the response was started twice")
            headers = message.get("headers") or []
            pairs = [(bytes(name).decode("latin-1"), bytes(value).decode("latin-1")) for name, value in headers]
            started[:] = [message["status"], pairs]
        elif message["type"] == "http.response.body":
            if not started:
                raise RuntimeError("a body came before the response was started")
            await take(bytes(message.get("body") or b""))
            if not message.get("more_body"):
                ended.set()

    try:
        await application(about, receive, send)
    except Exception:
        if not ended.is_set():
            raise
        web.log_failure()  # it has answered, with its own page for errors: frameworks raise after that
    if not started:
        raise RuntimeError("the application sent no response")


def scope(request, context, state):
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": request.scheme,
        "path": request.root + request.path,
        "raw_path": (request.root + request.raw_path).encode(),
        "query_string": request.query.encode(),
        "root_path": request.root,
        "headers": [(name.encode("latin-1"), value.encode("utf-8", "replace")) for name, value in request.headers],
        "client": (request.client_ip, 0),
        "server": request.server,
        "state": state.copy(),
        "aws.event": request.event,
        "aws.context": context,
    }
