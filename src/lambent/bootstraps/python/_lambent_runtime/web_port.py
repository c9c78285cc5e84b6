"""A web server that listens on a port: it is started with the environment, and requests are passed on to it."""

import os
import sys
import time
from http.client import HTTPConnection, HTTPException

from . import web
from .handler import Fault

_HOP_BY_HOP = frozenset(
    "connection keep-alive proxy-connection te trailer transfer-encoding upgrade content-length expect".split()
)
_LOOK_S = 0.01


def command():
    """What starts the server: LAMBENT_WEB_COMMAND, given to the shell; else what the handler names."""
    own = os.environ.get("LAMBENT_WEB_COMMAND")
    if own:
        return ["/bin/sh", "-c", own]
    name = os.environ["_HANDLER"]
    root = os.environ.get("LAMBDA_TASK_ROOT", "/var/task")
    path = os.path.join(root, name)
    if not os.path.isfile(path) and os.path.isfile(os.path.join(root, "bootstrap")):
        path = os.path.join(root, "bootstrap")  # OS-only functions are called so, whatever their handler says
    if not os.path.isfile(path):
        return ["/bin/sh", "-c", "exec " + name]
    if os.access(path, os.X_OK):
        return [path]
    if name.endswith(".py"):
        return [sys.executable, path]
    return ["/bin/sh", path]


def handler():
    """Start the server and wait until it is ready. Raises Fault when it ends before."""
    import subprocess

    get = os.environ.get
    port = int(get("AWS_LWA_PORT") or get("PORT") or "8080")
    argv = command()
    child = subprocess.Popen(argv, env=dict(os.environ, PORT=str(port)))
    _await_ready(child, argv, int(get("AWS_LWA_READINESS_CHECK_PORT") or port))
    server = _Server(child, port)

    def handle(event, context):
        request = web.read(event, context)
        status, headers, response = server.pass_on(request)
        if web.is_streamed(request):
            return server.stream(status, headers, response)
        return web.result(request, status, headers, server.whole(response))

    return handle


def _await_ready(child, argv, port):
    get = os.environ.get
    path = get("AWS_LWA_READINESS_CHECK_PATH") or "/"
    is_tcp = (get("AWS_LWA_READINESS_CHECK_PROTOCOL") or "http").lower() == "tcp"
    while child.poll() is None:
        connection = HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            connection.connect()
            if is_tcp:
                return
            connection.request("GET", path)
            if connection.getresponse().status < 500:
                return
        except (OSError, HTTPException):
            pass  # not yet
        finally:
            connection.close()
        time.sleep(_LOOK_S)
    raise Fault(
        "Runtime.WebServerExited",
        "The web server ended with status %d before it answered on port %d: %s"
        % (child.returncode, port, " ".join(argv)),
    )


class _Server(object):
    def __init__(self, child, port):
        self._child = child
        self._port = port
        self._connection = None

    def pass_on(self, request):
        """Status and headers of the server's response, and where its body is read. A connection that it closed meanwhile is made anew; its end
        is ours."""
        is_reused = self._connection is not None
        try:
            return self._try(request)
        except (OSError, HTTPException) as error:
            self._close()
            if self._child.poll() is None and is_reused:
                return self._again(request)
            self._explain(error)

    def _again(self, request):
        try:
            return self._try(request)
        except (OSError, HTTPException) as error:
            self._close()
            self._explain(error)

    def _explain(self, error):
        try:
            status = self._child.wait(0.1)
        except Exception:
            raise Fault("Runtime.WebServerFailed", "The web server did not answer: %r" % (error,))
        sys.stderr.write("The web server ended with status %d\n" % status)
        sys.exit(1)

    def _close(self):
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _try(self, request):
        if self._connection is None:
            self._connection = HTTPConnection("127.0.0.1", self._port)
        connection = self._connection
        connection.putrequest(
            request.method,
            request.raw_path + ("?" + request.query if request.query else ""),
            skip_host=True,
            skip_accept_encoding=True,
        )
        if request.header("host") is None:
            connection.putheader("host", "localhost")
        for name, value in request.headers:
            if name not in _HOP_BY_HOP:
                connection.putheader(name, value.encode("utf-8", "replace"))
        if request.body or request.method in ("POST", "PUT", "PATCH"):
            connection.putheader("content-length", str(len(request.body)))
        connection.endheaders(request.body or None)
        response = connection.getresponse()
        headers = [pair for pair in response.getheaders() if pair[0].lower() not in _HOP_BY_HOP]
        return response.status, headers, response

    def whole(self, response):
        """The body."""
        try:
            return response.read()
        except (OSError, HTTPException) as error:
            self._close()
            self._explain(error)
        finally:
            if response.will_close:
                self._close()

    def stream(self, status, headers, response):
        """The metadata, then the body as it comes."""
        yield web.metadata(status, headers)
        try:
            while True:
                piece = response.read1(65536)
                if not piece:
                    return
                yield piece
        except (OSError, HTTPException) as error:
            self._close()
            self._explain(error)
        finally:
            if response.will_close or not response.isclosed():
                self._close()
