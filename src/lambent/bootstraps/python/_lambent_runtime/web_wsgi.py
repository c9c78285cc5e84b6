"""A WSGI application (PEP 3333) as a handler."""

import io
import sys

from . import web


def handler(application):
    def handle(event, context):
        request = web.read(event, context)
        if web.is_streamed(request):
            return stream(application, request, context)
        try:
            status, headers, body = call(application, request, context)
        except Exception:
            return web.failed(request)
        return web.result(request, status, headers, body)

    return handle


def call(application, request, context):
    """Run the application for one request: status, headers, body."""
    started = []
    parts = []
    answer = _begin(application, request, context, started, parts)
    try:
        parts.extend(answer)
    finally:
        _close(answer)
    _check(started)
    return int(started[0].split(" ", 1)[0]), started[1], b"".join(parts)


def stream(application, request, context):
    """The same, yielded as it comes: first the metadata. What is raised before them is answered, afterwards it cuts the
    response off."""
    started = []
    parts = []
    try:
        answer = _begin(application, request, context, started, parts)
        pieces = iter(answer)
        first = next(pieces, b"")  # a generator may start its response when it is asked for the first piece
        _check(started)
    except Exception:
        web.log_failure()
        yield web.metadata(*web.BROKEN[:2])
        yield web.BROKEN[2]
        return
    try:
        yield web.metadata(int(started[0].split(" ", 1)[0]), started[1])
        yield b"".join(parts) + first
        for piece in pieces:
            yield piece
    finally:
        _close(answer)


def _check(started):
    if not started:
        raise AssertionError("the application did not call start_response")


def _close(answer):
    close = getattr(answer, "close", None)
    if close is not None:
        close()


def _begin(application, request, context, started, parts):
    """What the application returns; `started` and `parts` get what it says by start_response."""

    def start_response(status, headers, exc_info=None):
        if exc_info is not None:
            try:
                if started and parts:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None
        elif started:
            raise AssertionError("start_response was called twice")
        started[:] = [status, headers]
        return parts.append

    return application(environ(request, context), start_response)


def environ(request, context):
    """The variables of one request. Text is what PEP 3333 calls a native string: bytes as Latin-1."""
    host, port = request.server
    found = {
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": request.root,
        "PATH_INFO": request.path.encode("utf-8", "surrogateescape").decode("latin-1"),
        "QUERY_STRING": request.query,
        "REQUEST_URI": request.root + request.raw_path + ("?" + request.query if request.query else ""),
        "SERVER_NAME": host,
        "SERVER_PORT": str(port),
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": request.client_ip,
        "CONTENT_LENGTH": str(len(request.body)),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": request.scheme,
        "wsgi.input": io.BytesIO(request.body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": False,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        "aws.event": request.event,
        "aws.context": context,
    }
    for name, value in request.headers:
        if name == "content-type":
            found["CONTENT_TYPE"] = value
        elif name != "content-length":
            key = "HTTP_" + name.upper().replace("-", "_")
            found[key] = found[key] + "," + value if key in found else value
    return found
