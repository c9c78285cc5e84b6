"""G5: bursts from nothing: how long until every one of N concurrent invocations runs in an environment of its own, and
what a warm function's callers notice of it."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import socket
import statistics
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from multiprocessing.connection import Connection

from .clients import Latency, Target, latency, once, read_answer
from .crowd import Answer, at_once
from .harness import Comparison, Measurement, compare, cpu_us
from .product import ECHO_PYTHON, Lambent, lambent
from .references import PYTHON

HOT = "hot"
BURST = 1_000
FIRST_CALLS = 200
FUNCTIONS = 10
SLEEP_S = 20.0
"""Of each handler: longer than the burst takes, or some environments would serve two."""
GONE_S_MAX = 60.0
SPARE_MAX = 64
"""Sandboxes that may stand before a burst: the warm one, and those that wait for a function."""
SLEEPER = """
import time
def handler(event, context):
    began = time.time()
    time.sleep(event["sleep_s"])
    return [event["n"], began, context.log_stream_name]
"""


def request(target: Target, number: int, sleep_s: float) -> bytes:
    """The `number`th invocation of a SLEEPER."""
    return replace(target, body=json.dumps({"n": number, "sleep_s": sleep_s}).encode()).request()


def checked(answers: list[Answer]) -> list[tuple[int, float, str]]:
    """What the handlers answered: every one, each its own. Raises AssertionError where that is not so."""
    refused = [answer for answer in answers if answer.status != 200]
    if refused:
        raise AssertionError(f"{len(refused)} of {len(answers)} not answered: {refused[0].status} {refused[0].body!r}")
    found = [tuple(json.loads(answer.body)) for answer in answers]
    if [number for number, _, _ in found] != list(range(len(answers))):
        raise AssertionError("somebody got another one's answer")
    return found


def _bare(count: int) -> Callable[[], Measurement]:
    """The machine's own measure: so many bare interpreters, as many at a time as there are processors."""

    def take() -> Measurement:
        begin = time.perf_counter()
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            list(pool.map(lambda _: subprocess.run([PYTHON, "-c", "pass"], check=True), range(count)))
        return Measurement({"last_s": time.perf_counter() - begin})

    return take


def _empty(server: Lambent, names: list[str]) -> None:
    """Make every environment obsolete, and wait until they are gone."""
    for name in names:
        path = f"/2015-03-31/functions/{name}/configuration"
        server.call("PUT", path, {"Description": str(time.monotonic_ns())})
        while server.call("GET", path)["LastUpdateStatus"] != "Successful":
            time.sleep(0.01)
    deadline = time.monotonic() + GONE_S_MAX
    while server.sandboxes() > SPARE_MAX and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(1.0)


def _burst(server: Lambent, names: list[str], count: int, warm: dict[str, list[Latency]]) -> Callable[[], Measurement]:
    def take() -> Measurement:
        _empty(server, names)
        targets = [server.target(names[number % len(names)]) for number in range(count)]
        hot = server.target(HOT)
        warm["quiet"].append(latency(hot, seconds=3.0))
        before = cpu_us(server.pids)
        ours, theirs = multiprocessing.Pipe(duplex=False)
        prober = multiprocessing.get_context("fork").Process(target=_probe, args=(hot, SLEEP_S, theirs))
        prober.start()
        time.sleep(0.2)
        sent = time.time()
        answers = asyncio.run(
            at_once([(target, request(target, number, SLEEP_S)) for number, target in enumerate(targets)])
        )
        found = checked(answers)
        began = sorted(moment - sent for _, moment, _ in found)
        environments = len({stream for _, _, stream in found})
        spent = cpu_us(server.pids) - before
        samples: list[tuple[float, float]] = ours.recv()
        prober.join()
        during = sorted(took for at, took in samples if at <= sent + began[-1])
        warm["burst"].append(
            Latency(
                len(during),
                statistics.median(during),
                during[int(len(during) * 0.9)],
                during[min(len(during) - 1, int(len(during) * 0.99))],
            )
        )
        if environments != count:
            raise AssertionError(f"{environments} environments for {count} invocations at once: they did not overlap")
        return Measurement(
            {
                "last_s": began[-1],
                "p50_s": began[len(began) // 2],
                "per_s": count / began[-1],
                "cpu_ms": spent / count / 1_000,
            }
        )

    return take


def _probe(target: Target, seconds: float, out: Connection) -> None:
    """One client of a warm function in a process of its own: when each answer came, and after how many µs."""
    samples: list[tuple[float, float]] = []
    end = time.time() + seconds
    with socket.create_connection((target.host, target.port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        data = target.request()
        while time.time() < end:
            begin = time.perf_counter_ns()
            connection.sendall(data)
            read_answer(connection)
            samples.append((time.time(), (time.perf_counter_ns() - begin) / 1_000))
    out.send(samples)


def run(rounds: int) -> list[Comparison]:
    """A thousand from nothing, of one function and of ten; two hundred first calls; the warm path meanwhile."""
    comparisons = []
    sparing = {"MemorySize": 128, "Timeout": 120}
    with lambent() as server:
        server.deploy(HOT, {"app.py": ECHO_PYTHON})
        once(server.target(HOT))
        names = [f"burst{number}" for number in range(FUNCTIONS)]
        for name in names:
            server.deploy(name, {"app.py": SLEEPER}, **sparing)
        for title, functions, count in (
            ("G5", names[:1], BURST),
            ("G5, ten functions", names, BURST),
            ("G5, two hundred first calls", names[:1], FIRST_CALLS),
        ):
            warm: dict[str, list[Latency]] = {"quiet": [], "burst": []}
            comparison = compare(
                title,
                f"{count} invocations at once, none before, all concurrent: the last begins; "
                f"reference: {count} bare python3.11 -c pass, one for each processor at a time",
                {"B_py": _bare(count), "lambent": _burst(server, functions, count, warm)},
                reference="B_py",
                rounds=rounds,
            )
            comparisons.append(comparison)
            beside = Comparison(f"{title}: warm", "one client of a warm function meanwhile", "quiet", rounds)
            for arm, found in warm.items():
                beside.arms[arm] = {
                    "p50_us": [one.p50_us for one in found],
                    "p99_us": [one.p99_us for one in found],
                    "per_s": [float(one.count) for one in found],
                }
            comparisons.append(beside)
    return comparisons
