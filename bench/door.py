"""G9: what the door alone costs: a validation error and a throttle, with signatures verified."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

from .clients import EVENT, read_response, sign
from .harness import Comparison, Measurement, compare, cpu_us
from .product import ECHO_PYTHON, Lambent, lambent

COUNT = 4_000
KEYS = ("000000000000", "test")


def _signed(server: Lambent, path: str, body: bytes) -> bytes:
    headers = sign("POST", server.host, server.port, path, body, KEYS)
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    head = f"POST {path} HTTP/1.1\r\nHost: {server.host}:{server.port}\r\n{lines}Content-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def _arm(server: Lambent, path: str, status: bytes) -> Callable[[], Measurement]:
    def take() -> Measurement:
        request = _signed(server, path, EVENT)
        with socket.create_connection((server.host, server.port)) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for _ in range(200):
                connection.sendall(request)
                head, body = read_response(connection)
                assert head.startswith(b"HTTP/1.1 " + status), head + body
            before, begin = cpu_us(server.pids), time.perf_counter_ns()
            for _ in range(COUNT):
                connection.sendall(request)
                read_response(connection)
            elapsed_us = (time.perf_counter_ns() - begin) / 1_000
        return Measurement({"cpu_us": (cpu_us(server.pids) - before) / COUNT, "wall_us": elapsed_us / COUNT})

    return take


def run(rounds: int) -> list[Comparison]:
    """CPU microseconds per refused request."""
    with lambent(environment={"LAMBENT_VERIFY_SIGNATURES": "true", "LAMBENT_ACCESS_KEYS": ":".join(KEYS)}) as server:
        server.keys = KEYS
        server.deploy("closed", {"app.py": ECHO_PYTHON})
        server.call("PUT", "/2017-10-31/functions/closed/concurrency", {"ReservedConcurrentExecutions": 0})
        return [
            compare(
                "G9",
                "the door alone, signature verified: a validation error, a throttle",
                {
                    "validation error": _arm(server, "/2015-03-31/functions/a%20b/invocations", b"400"),
                    "throttle": _arm(server, "/2015-03-31/functions/closed/invocations", b"429"),
                },
                reference="validation error",
                rounds=rounds,
            )
        ]
