"""G6, G7, G8: warm latency and throughput against AWS's emulator and a byte relay, and with AWS's client unmodified."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import ExitStack

from .clients import Target, latency, throughput
from .harness import Comparison, Measurement, compare, cpu_us
from .product import ECHO_PYTHON, Lambent, lambent
from .references import Running, relay, rie

SECONDS = 2.0


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


def warm_environments(server: Lambent, target: Target, count: int) -> None:
    """Have `count` environments initialised by that many invocations at once."""
    threads = [
        threading.Thread(target=latency, args=(target,), kwargs={"seconds": 0.5, "warm_up": 1}) for _ in range(count)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def run(rounds: int) -> list[Comparison]:
    """All three questions on the same running servers."""
    with ExitStack() as stack:
        server = stack.enter_context(lambent())
        emulator: Running = stack.enter_context(rie())
        floor: Running = stack.enter_context(relay())
        floor4: Running = stack.enter_context(relay(28_095, workers=4))
        echo = server.deploy("echo", {"app.py": ECHO_PYTHON})
        four = server.deploy(
            "four",
            {"app.py": ECHO_PYTHON},
        )
        server.call("PUT", "/2017-10-31/functions/four/concurrency", {"ReservedConcurrentExecutions": 4})
        latency(echo, seconds=0.3, warm_up=50)
        comparisons = [
            compare(
                "G6",
                "warm latency, one client (own Python client)",
                {
                    "B_rie": _latency_arm(emulator.target, emulator.pids),
                    "relay": _latency_arm(floor.target, floor.pids),
                    "lambent": _latency_arm(echo, server.pids),
                },
                reference="B_rie",
                rounds=rounds,
            )
        ]
        warm_environments(server, echo, 4)
        comparisons.append(
            compare(
                "G7",
                "warm throughput, 16 connections (emulator: one, a second concurrent invocation ends it)",
                {
                    "B_rie": _throughput_arm(emulator.target, emulator.pids, 1),
                    "relay": _throughput_arm(floor4.target, floor4.pids, 4),
                    "lambent": _throughput_arm(echo, server.pids, 16),
                },
                reference="B_rie",
                rounds=rounds,
            )
        )
        del four
        try:
            official = server.deploy(
                "official", {"app.py": ECHO_PYTHON}, Environment={"Variables": {"LAMBENT_RUNTIME_CLIENT": "official"}}
            )
            latency(official, seconds=0.3, warm_up=20)
        except (RuntimeError, AssertionError) as error:
            comparisons.append(Comparison("G8", f"not measured: {error}", "B_rie", 0))
        else:
            comparisons.append(
                compare(
                    "G8",
                    "AWS's Python client unmodified, one connection",
                    {
                        "B_rie": _latency_arm(emulator.target, emulator.pids),
                        "lambent, official client": _latency_arm(official, server.pids),
                    },
                    reference="B_rie",
                    rounds=rounds,
                )
            )
        return comparisons
