"""G1 (fresh-interpreter row), G12: cold starts through the whole path after an idle gap, and the server at rest."""

from __future__ import annotations

import time
from collections.abc import Callable

from .clients import once
from .harness import Comparison, Measurement, compare, cpu_us, rss_kb
from .product import ECHO_PYTHON, Lambent, lambent
from .references import bare_python_ms

GAP_S = 0.06
"""Before each sample, so that caches and scheduler are as cold as before a real cold start."""
PER_ROUND = 10


def _bare() -> Measurement:
    samples = []
    for _ in range(PER_ROUND):
        time.sleep(GAP_S)
        samples.append(bare_python_ms())
    samples.sort()
    return Measurement({"p50_ms": samples[len(samples) // 2], "max_ms": samples[-1]})


def _cold(server: Lambent, name: str) -> Callable[[], Measurement]:
    def take() -> Measurement:
        samples, spent = [], 0
        for number in range(PER_ROUND):
            # A configuration update makes every environment of $LATEST obsolete: the next invocation starts anew.
            server.call("PUT", f"/2015-03-31/functions/{name}/configuration", {"Description": f"{number}"})
            while server.call("GET", f"/2015-03-31/functions/{name}/configuration")["LastUpdateStatus"] != "Successful":
                time.sleep(0.002)
            time.sleep(GAP_S)
            before = cpu_us(server.pids)
            samples.append(once(server.target(name)))
            spent += cpu_us(server.pids) - before
        samples.sort()
        return Measurement(
            {"p50_ms": samples[len(samples) // 2], "max_ms": samples[-1], "cpu_ms": spent / PER_ROUND / 1_000}
        )

    return take


def run(rounds: int) -> list[Comparison]:
    """Cold starts of Python against a bare interpreter; then the server at rest."""
    with lambent() as server:
        server.deploy("cold", {"app.py": ECHO_PYTHON})
        arms: dict[str, Callable[[], Measurement]] = {"B_py": _bare, "python, fresh interpreter": _cold(server, "cold")}
        cold = compare(
            "G1",
            "cold start, fresh interpreter in a full sandbox, whole path; reference: bare python3.11 -c pass",
            arms,
            reference="B_py",
            rounds=rounds,
        )
    return [cold, at_rest(rounds)]


def at_rest(rounds: int) -> Comparison:
    """G12: memory, CPU and time to listening of a server that has done nothing."""

    def take() -> Measurement:
        with lambent(is_settled=True) as server:
            time.sleep(1.0)
            before = cpu_us(server.pids)
            time.sleep(2.0)
            spent = cpu_us(server.pids) - before
            return Measurement(
                {
                    "listening_ms": server.listening_ms,
                    "memory_mb": rss_kb(server.tree()) / 1_024,
                    "cpu_percent": spent / 2e6 * 100,
                }
            )

    def bare() -> Measurement:
        return Measurement({"listening_ms": bare_python_ms()})

    return compare(
        "G12",
        "the server and its spawner before any function: process start to listening, memory, CPU at rest",
        {"B_py": bare, "lambent": take},
        reference="B_py",
        rounds=rounds,
    )
