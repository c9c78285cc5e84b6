"""An HTTP server to stand behind integrations: it answers what it was sent, or what it was told; and it is an issuer."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.unit.gateway.gateway_world import jwk


@dataclass(slots=True)
class Backend:
    port: int
    said: dict[str, tuple[int, list[tuple[str, str]], bytes]] = field(default_factory=dict)
    """Path → status, headers and body, instead of the request as JSON."""
    asked: list[str] = field(default_factory=list)
    """Paths, in order."""
    idle: threading.Condition = field(default_factory=threading.Condition)
    busy: int = 0
    """Connections that are being served."""
    gate: threading.Event = field(default_factory=threading.Event)
    """What is asked for /slow waits for it."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def wait_until_idle(self) -> None:
        """Until the last connection is closed: what it holds is not left behind by a test."""
        with self.idle:
            assert self.idle.wait_for(lambda: self.busy == 0, 30)

    @property
    def issuer(self) -> str:
        return f"{self.url}/issuer"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    backend: Backend

    def _answer(self) -> None:
        backend = self.backend
        backend.asked.append(self.path)
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        if self.path.startswith("/slow"):
            backend.gate.wait(60)
        status, headers, answer = backend.said.get(self.path, (200, [("content-type", "application/json")], b""))
        if self.path not in backend.said:
            seen = {
                "method": self.command,
                "path": self.path,
                "headers": self.headers.items(),
                "body": body.decode("latin-1"),
            }
            answer = json.dumps(seen).encode()
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer)

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = do_PATCH = do_OPTIONS = _answer

    def log_message(self, format: str, *args: Any) -> None:
        """Nobody reads it."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    backend: Backend

    def process_request(self, request: Any, client_address: Any) -> None:
        with self.backend.idle:
            self.backend.busy += 1
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        super().process_request_thread(request, client_address)
        with self.backend.idle:
            self.backend.busy -= 1
            self.backend.idle.notify_all()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A gateway that gave up hangs up."""


@contextmanager
def running_backend() -> Iterator[Backend]:
    """The server, for the length of the block."""
    handler = type("Handler", (_Handler,), {})
    server = _Server(("127.0.0.1", 0), handler)
    backend = handler.backend = server.backend = Backend(server.server_address[1])  # type: ignore[attr-defined]
    issuer = {"issuer": backend.issuer, "jwks_uri": f"{backend.issuer}/keys"}
    json_type = [("content-type", "application/json")]
    backend.said["/issuer/.well-known/openid-configuration"] = 200, json_type, json.dumps(issuer).encode()
    backend.said["/issuer/keys"] = 200, json_type, json.dumps({"keys": [jwk()]}).encode()
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield backend
    finally:
        backend.gate.set()
        server.shutdown()
        server.server_close()
        thread.join()
