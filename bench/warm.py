"""G6, G7, G8: warm latency and throughput against AWS's emulator and a byte relay, and with AWS's client unmodified."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import ExitStack

from .clients import Target, latency, throughput
from .harness import Comparison, Measurement, compare, cpu_us
from .product import ECHO_PYTHON, lambent
from .references import Running, relay, rie

SECONDS = 2.0
OFFICIAL = "official-python3.11"
_OFFICIAL = {"Environment": {"Variables": {"LAMBENT_RUNTIME_CLIENT": "official"}}}


def _latency_arm(target: Target, pids: tuple[int, ...]) -> Callable[[], Measurement]:
    def take() -> Measurement:
        before = cpu_us(pids)
        found = latency(target, seconds=SECONDS)
        spent = cpu_us(pids) - before
        return Measurement(
            {
                "p50_us": found.p50_us,
                "p99_us": found.p99_us,
                "per_s": found.count / SECONDS,
                "cpu_us": spent / found.count,
            }
        )

    return take


def _throughput_arm(target: Target, pids: tuple[int, ...], connections: int) -> Callable[[], Measurement]:
    def take() -> Measurement:
        before = cpu_us(pids)
        found = throughput(target, connections=connections, seconds=SECONDS)
        spent = cpu_us(pids) - before
        if found.errors:
            raise AssertionError(f"{found.errors} of {found.requests} requests failed")
        return Measurement({"per_s": found.per_s, "p99_us": found.p99_us, "cpu_us": spent / found.requests})

    return take


def warm_environments(target: Target, count: int) -> None:
    """Have `count` environments initialised by that many connections at once."""
    threads = [
        threading.Thread(target=latency, args=(target,), kwargs={"seconds": 0.5, "warm_up": 1}) for _ in range(count)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def run(rounds: int) -> list[Comparison]:
    """Latency at one connection, throughput of four environments, and both again with AWS's own client."""
    with ExitStack() as stack:
        server = stack.enter_context(lambent(runtimes=(OFFICIAL,)))
        four = stack.enter_context(lambent(runtimes=(OFFICIAL,), environment={"LAMBENT_LIMITS_ENVIRONMENTS_MAX": "4"}))
        emulator: Running = stack.enter_context(rie())
        floor: Running = stack.enter_context(relay())
        floor4: Running = stack.enter_context(relay(28_095, workers=4))
        echo = server.deploy("echo", {"app.py": ECHO_PYTHON})
        latency(echo, seconds=0.3, warm_up=50)
        official = server.deploy("official", {"app.py": ECHO_PYTHON}, **_OFFICIAL)
        latency(official, seconds=0.3, warm_up=20)
        comparisons = [
            compare(
                "G6",
                "warm latency, one client, our Python client",
                {
                    "B_rie": _latency_arm(emulator.target, emulator.pids),
                    "relay": _latency_arm(floor.target, floor.pids),
                    "lambent": _latency_arm(echo, server.pids),
                },
                reference="B_rie",
                rounds=rounds,
            ),
            compare(
                "G8",
                "AWS's Python client unmodified, one connection",
                {
                    "B_rie": _latency_arm(emulator.target, emulator.pids),
                    "lambent, official client": _latency_arm(official, server.pids),
                },
                reference="B_rie",
                rounds=rounds,
            ),
        ]
        busy = four.deploy("busy", {"app.py": ECHO_PYTHON})
        warm_environments(busy, 4)
        comparisons.append(
            compare(
                "G7",
                "warm throughput, 4 environments, 16 connections (the emulator: 1, a second one ends it)",
                {
                    "B_rie": _throughput_arm(emulator.target, emulator.pids, 1),
                    "relay": _throughput_arm(floor4.target, floor4.pids, 4),
                    "lambent": _throughput_arm(busy, four.pids, 16),
                },
                reference="B_rie",
                rounds=rounds,
            )
        )
        busy_official = four.deploy("busy-official", {"app.py": ECHO_PYTHON}, **_OFFICIAL)
        warm_environments(busy_official, 4)
        comparisons.append(
            compare(
                "G8, 4 environments",
                "AWS's Python client unmodified, 4 environments, 16 connections",
                {
                    "B_rie": _throughput_arm(emulator.target, emulator.pids, 1),
                    "lambent, official client": _throughput_arm(busy_official, four.pids, 16),
                },
                reference="B_rie",
                rounds=rounds,
            )
        )
        return comparisons
