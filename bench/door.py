"""G9: what the door alone costs: a validation error and a throttle, with signatures verified."""

from __future__ import annotations

from collections.abc import Callable

from .clients import EVENT, Target, sign, throughput
from .harness import Comparison, Measurement, compare, cpu_us
from .product import ECHO_PYTHON, Lambent, lambent

SECONDS = 2.0
CONNECTIONS = 16
KEYS = ("000000000000", "test")


def _arm(server: Lambent, path: str) -> Callable[[], Measurement]:
    def take() -> Measurement:
        headers = sign("POST", server.host, server.port, path, EVENT, KEYS)
        target = Target(server.host, server.port, path, headers=tuple(headers.items()))
        before = cpu_us(server.pids)
        found = throughput(target, connections=CONNECTIONS, seconds=SECONDS)
        spent = cpu_us(server.pids) - before
        if found.errors != found.requests:
            raise AssertionError(f"{found.requests - found.errors} of {found.requests} requests were not refused")
        return Measurement({"cpu_us": spent / found.requests, "per_s": found.per_s})

    return take


def run(rounds: int) -> list[Comparison]:
    """CPU microseconds per refused request, the server saturated by 16 connections."""
    settings = {"LAMBENT_VERIFY_SIGNATURES": "true", "LAMBENT_ACCESS_KEYS": ":".join(KEYS)}
    with lambent(environment=settings) as server:
        server.keys = KEYS
        server.deploy("closed", {"app.py": ECHO_PYTHON})
        server.call("PUT", "/2017-10-31/functions/closed/concurrency", {"ReservedConcurrentExecutions": 0})
        return [
            compare(
                "G9",
                "the door alone, signature verified: a validation error, a throttle",
                {
                    "validation error": _arm(server, "/2015-03-31/functions/a%20b/invocations"),
                    "throttle": _arm(server, "/2015-03-31/functions/closed/invocations"),
                },
                reference="validation error",
                rounds=rounds,
            )
        ]
