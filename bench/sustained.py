"""G4: cold starts without anything prepared, one after another for a minute: sandbox, start, init, invocation, tear-down."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from .clients import Target
from .crowd import Connection
from .harness import Comparison, Measurement, compare, cpu_us
from .product import Lambent, lambent
from .references import PYTHON, runc_bundle

SECONDS = float(os.environ.get("BENCH_SUSTAINED_S", "60"))
REFERENCE_S = 10.0
"""Of bare interpreters and of runc: their rate does not change."""
CLIENTS = 8
FUNCTIONS = 400
ENVIRONMENTS = 64
"""So many at once, and functions come round after six times as many: each invocation finds none of its own, and the
longest idle one is torn down for it."""
DRY = ("--set", "sandbox.blanks=0", "--set", "sandbox.waiting_max=0")
COUNTING = """
COUNT = 0
def handler(event, context):
    global COUNT
    COUNT += 1
    return [event["n"], COUNT]
"""


def _rate(run: Callable[[int], None]) -> Callable[[], Measurement]:
    """A program run again and again, one for each processor at a time."""

    def take() -> Measurement:
        begin, numbers = time.perf_counter(), itertools.count()
        processors = os.cpu_count() or 1

        def work() -> int:
            done = 0
            while time.perf_counter() - begin < REFERENCE_S:
                run(next(numbers))
                done += 1
            return done

        with ThreadPoolExecutor(processors) as pool:
            done = sum(one.result() for one in [pool.submit(work) for _ in range(processors)])
        return Measurement({"per_s": done / (time.perf_counter() - begin)})

    return take


def _bare(_: int) -> None:
    subprocess.run([PYTHON, "-c", "pass"], check=True)


def _runc() -> Measurement:
    with tempfile.TemporaryDirectory(prefix="lambent-bench-runc-") as folder:
        bundle = runc_bundle(Path(folder))
        command = ["runc", "--root", f"{folder}/state", "run", "--bundle", str(bundle)]

        def run(number: int) -> None:
            subprocess.run([*command, f"lambent-bench-{os.getpid()}-{number}"], check=True, stdin=subprocess.DEVNULL)

        return _rate(run)()


def _lambent(server: Lambent, targets: list[Target]) -> Callable[[], Measurement]:
    def take() -> Measurement:
        before = cpu_us(server.pids)
        begin = time.perf_counter()
        samples, warm = asyncio.run(_drive(targets, SECONDS))
        elapsed = time.perf_counter() - begin
        spent = cpu_us(server.pids) - before
        samples.sort()
        return Measurement(
            {
                "per_s": (len(samples) - warm) / elapsed,
                "p50_ms": samples[len(samples) // 2],
                "p99_ms": samples[int(len(samples) * 0.99)],
                "cpu_ms": spent / len(samples) / 1_000,
                "warm": float(warm),
            }
        )

    return take


async def _drive(targets: list[Target], seconds: float) -> tuple[list[float], int]:
    """CLIENTS connections, the functions in turns; milliseconds of each invocation, and how many were not cold.

    Raises AssertionError at the first answer that is not its own."""
    numbers = itertools.count()
    samples: list[float] = []
    warm = 0
    end = time.perf_counter() + seconds

    async def client() -> None:
        nonlocal warm
        connection = await Connection.open(targets[0].host, targets[0].port)
        while time.perf_counter() < end:
            number = next(numbers)
            target = targets[number % len(targets)]
            answer = await connection.ask(replace(target, body=json.dumps({"n": number}).encode()).request())
            if answer.status != 200:
                raise AssertionError(f"invocation {number}: {answer.status} {answer.body!r}")
            got, count = json.loads(answer.body)
            if got != number:
                raise AssertionError(f"invocation {number} got the answer of {got}")
            warm += count > 1
            samples.append((answer.answered_s - answer.sent_s) * 1_000)
        connection.close()

    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    return samples, warm


def run(rounds: int) -> list[Comparison]:
    """Full life cycles a second, beside runc's and bare interpreters'."""
    environment = {"LAMBENT_LIMITS_ENVIRONMENTS_MAX": str(ENVIRONMENTS)}
    with lambent(*DRY, environment=environment) as server:
        targets = [server.deploy(f"cold{number}", {"app.py": COUNTING}, MemorySize=128) for number in range(FUNCTIONS)]
        return [
            compare(
                "G4",
                "cold starts in a row, nothing prepared but the zygote, each torn down again; reference: runc run of "
                "python3.11 -c pass, one for each processor at a time",
                {"B_runc": _runc, "B_py": _rate(_bare), "lambent": _lambent(server, targets)},
                reference="B_runc",
                rounds=rounds,
            )
        ]
