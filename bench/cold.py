"""G1 (each step of the fallback), G3, G12: cold starts through the whole path after an idle gap, and the server at rest."""

from __future__ import annotations

import time
from collections.abc import Callable

from .clients import once
from .harness import Comparison, Measurement, compare, cpu_us, rss_kb
from .product import ECHO_PYTHON, Lambent, lambent
from .references import bare_node_ms, bare_python_ms

GAP_S = 0.06
"""Before each sample, so that caches and scheduler are as cold as before a real cold start."""
REFILLED_S = 0.4
"""The same for a pool hit: what the last sample took has been made again."""
PER_ROUND = 10
ECHO_NODE = "export const handler = async (event) => event;\n"


def _bare() -> Measurement:
    samples = []
    for _ in range(PER_ROUND):
        time.sleep(GAP_S)
        samples.append(bare_python_ms())
    samples.sort()
    return Measurement({"p50_ms": samples[len(samples) // 2], "max_ms": samples[-1]})


def _bare_node() -> Measurement:
    samples = []
    for _ in range(PER_ROUND):
        time.sleep(GAP_S)
        samples.append(bare_node_ms())
    samples.sort()
    return Measurement({"p50_ms": samples[len(samples) // 2], "max_ms": samples[-1]})


def _steps(server: Lambent) -> dict[str, int]:
    steps = server.call("GET", "/_lambent/pools")["steps"]
    assert isinstance(steps, dict)
    return steps


def cold_starts(server: Lambent, name: str, gap_s: float = GAP_S, step: str = "") -> Callable[[], Measurement]:
    """step: how every sample must have got its runtime, as `GET /_lambent/pools` says it."""

    def take() -> Measurement:
        samples, spent, at_first = [], 0, _steps(server)
        for number in range(PER_ROUND):
            # A configuration update makes every environment of $LATEST obsolete: the next invocation starts anew.
            server.call("PUT", f"/2015-03-31/functions/{name}/configuration", {"Description": f"{number}"})
            while server.call("GET", f"/2015-03-31/functions/{name}/configuration")["LastUpdateStatus"] != "Successful":
                time.sleep(0.002)
            time.sleep(gap_s)
            before = cpu_us(server.pids)
            samples.append(once(server.target(name)))
            spent += cpu_us(server.pids) - before
        took = {name: count - at_first[name] for name, count in _steps(server).items() if count != at_first[name]}
        if step and took != {step: PER_ROUND}:
            raise RuntimeError(f"not every cold start of {name} was {step}: {took}")
        samples.sort()
        return Measurement(
            {"p50_ms": samples[len(samples) // 2], "max_ms": samples[-1], "cpu_ms": spent / PER_ROUND / 1_000}
        )

    return take


def run(rounds: int) -> list[Comparison]:
    """Cold starts of Python and Node against bare interpreters; then the server at rest."""
    own = {"Environment": {"Variables": {"LAMBENT_PRELOAD": "off"}}}
    blanks = {"LAMBENT_SANDBOX_WAITING_MAX": "0"}
    with (
        lambent() as server,
        lambent(environment={"LAMBENT_SANDBOX_ZYGOTES": "off"}) as programs,
        lambent(environment=blanks) as ready,
        lambent(environment=blanks | {"LAMBENT_SANDBOX_BLANKS": "0"}) as dry,
    ):
        for one in (programs, ready, dry):
            one.deploy("waiting", {"app.py": ECHO_PYTHON})
        server.deploy("fresh", {"app.py": ECHO_PYTHON}, **own)
        server.deploy("waiting", {"app.py": ECHO_PYTHON})
        server.deploy("node", {"app.mjs": ECHO_NODE}, runtime="nodejs20.x")
        time.sleep(1.0)
        python = compare(
            "G1",
            "cold start of Python, full sandbox, whole path, by what it found: a zygote's copy or a program that waited, a "
            "blank to fork into, nothing but the zygote, a blank and no zygote (LAMBENT_PRELOAD=off); reference: bare "
            "python3.11 -c pass",
            {
                "B_py": _bare,
                "pool hit, copy": cold_starts(server, "waiting", REFILLED_S, "waiting"),
                "pool hit, program": cold_starts(programs, "waiting", REFILLED_S, "waiting"),
                "blank ready, forked": cold_starts(ready, "waiting", REFILLED_S, "forked"),
                "dry, forked": cold_starts(dry, "waiting", GAP_S, "forked_dry"),
                "blank ready, preload off": cold_starts(server, "fresh"),
            },
            reference="B_py",
            rounds=rounds,
        )
        node = compare(
            "G3",
            "cold start of Node.js: a runtime that waited; reference: bare node -e 0",
            {"node -e 0": _bare_node, "nodejs20.x, waiting runtime": cold_starts(server, "node", REFILLED_S)},
            reference="node -e 0",
            rounds=rounds,
        )
    return [python, node, at_rest(rounds)]


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
