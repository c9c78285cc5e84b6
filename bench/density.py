"""G10, G11: what idle environments cost: memory of each, and what thousands of them cost a hot function and the server."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lambent.environments.keepalive import History, commons, is_worth_keeping
from lambent.environments.keeping import LOOKS_MAX, Keeping
from lambent.environments.pool import Pool

from .burst import SLEEPER, checked, request
from .clients import latency, once
from .crowd import at_once
from .harness import Comparison, Measurement, compare, cpu_us
from .product import ECHO_PYTHON, Lambent, lambent
from .references import PYTHON

DENSE = int(os.environ.get("BENCH_DENSITY", "1000"))
"""G10's environments, of FUNCTIONS functions."""
IDLE = int(os.environ.get("BENCH_IDLE", "5000"))
"""G11's."""
FUNCTIONS = 50
WAVE = 1_000
"""So many are made at a time; a function gets no more new ones at once."""
SLEEP_S = float(os.environ.get("BENCH_WAVE_S", "15"))
"""Of each handler: longer than a wave takes, or some environments would serve two."""
REST_S = 5.0
REFERENCES = 100
LOOKED_AT_S = 60
MB_EACH_MAX = 3.5
HOT = "hot"


PARTS = {
    "anon_mb": ("AnonPages", "Shmem"),
    "tables_mb": ("PageTables",),
    "stacks_mb": ("KernelStack",),
    "slab_mb": ("Slab",),
    "percpu_mb": ("Percpu",),
}
"""Where it went: a process's own pages, its page tables, the kernel's stacks, objects, and counters of each processor."""


def memory_mb() -> dict[str, float]:
    """/proc/meminfo."""
    lines = (line.split() for line in Path("/proc/meminfo").read_text().splitlines())
    return {words[0].rstrip(":"): int(words[1]) / 1_024 for words in lines}


def available_mb() -> float:
    """What the machine could still give."""
    return memory_mb()["MemAvailable"]


def taken_mb(before: dict[str, float], count: int) -> dict[str, float]:
    """What each of `count` has taken since `before`: in all, and by part."""
    now = memory_mb()
    parts = {name: sum(now[key] - before[key] for key in keys) / count for name, keys in PARTS.items()}
    return {"mb_each": (before["MemAvailable"] - now["MemAvailable"]) / count, **parts}


@contextmanager
def _idle_interpreters(count: int) -> Iterator[None]:
    """So many `python3.11 -c "import json"` that wait."""
    code = "import json, sys; print(flush=True); sys.stdin.read()"
    running = [
        subprocess.Popen([PYTHON, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(count)
    ]
    try:
        for one in running:
            assert one.stdout is not None
            one.stdout.readline()
        yield
    finally:
        for one in running:
            one.communicate()


def _bare() -> Measurement:
    before = memory_mb()
    with _idle_interpreters(REFERENCES):
        time.sleep(1.0)
        return Measurement(taken_mb(before, REFERENCES))


def make_idle(server: Lambent, names: list[str], count: int) -> None:
    """Have `count` environments of these functions, as many of each, all idle. Raises AssertionError for a wrong answer, or
    when two invocations shared one."""
    each = count // len(names)
    streams: set[str] = set()
    in_a_wave = max(1, WAVE // each)
    for first in range(0, len(names), in_a_wave):
        part = names[first : first + in_a_wave]
        targets = [server.target(name) for name in part for _ in range(each)]
        requests = [(target, request(target, number, SLEEP_S)) for number, target in enumerate(targets)]
        streams |= {stream for _, _, stream in checked(asyncio.run(at_once(requests)))}
    if len(streams) != each * len(names):
        raise AssertionError(f"{len(streams)} environments instead of {each * len(names)}: SLEEP_S is too short here")


def _server(count: int) -> dict[str, str]:
    """Settings under which so many may be there and stay."""
    return {"LAMBENT_LIMITS_ENVIRONMENTS_MAX": str(count + 200), "LAMBENT_LIMITS_MEMORY_BUDGET_MB": "1000000"}


def _dense() -> Measurement:
    with lambent(environment=_server(DENSE)) as server:
        names = [f"dense{number}" for number in range(FUNCTIONS)]
        for name in names:
            server.deploy(name, {"app.py": SLEEPER}, MemorySize=128, Timeout=120)
        once(server.deploy(HOT, {"app.py": ECHO_PYTHON}))
        time.sleep(REST_S)
        standing, before = server.sandboxes(), memory_mb()
        make_idle(server, names, DENSE)
        time.sleep(REST_S)
        more = server.sandboxes() - standing
        if more < DENSE * 0.95:
            raise AssertionError(f"{more} sandboxes more, for {DENSE} environments")
        # Whatever else was started meanwhile, like runtimes that wait, is theirs.
        return Measurement({**taken_mb(before, DENSE), "sandboxes": float(more)})


def _thousands(quiet: dict[str, list[float]], crowded: dict[str, list[float]]) -> Callable[[], None]:
    def take() -> None:
        if available_mb() < IDLE * MB_EACH_MAX:
            raise RuntimeError(
                f"{available_mb():.0f} MB are free, {IDLE * MB_EACH_MAX:.0f} wanted for {IDLE} environments"
            )
        with lambent(environment=_server(IDLE)) as server:
            names = [f"idle{number}" for number in range(FUNCTIONS)]
            for name in names:
                server.deploy(name, {"app.py": SLEEPER}, MemorySize=128, Timeout=120)
            hot = server.deploy(HOT, {"app.py": ECHO_PYTHON})
            once(hot)
            time.sleep(REST_S)
            standing, before = server.sandboxes(), available_mb()
            _look(server, quiet, 0.0)
            make_idle(server, names, IDLE)
            time.sleep(REST_S)
            more = server.sandboxes() - standing
            _look(server, crowded, (before - available_mb()) / IDLE)
            if more < IDLE * 0.95:
                raise AssertionError(f"{more} sandboxes more, for {IDLE} environments")

    return take


def _look(server: Lambent, into: dict[str, list[float]], mb_each: float) -> None:
    """What a hot function's caller sees, and what the server does when nobody calls."""
    found = latency(server.target(HOT), seconds=3.0)
    time.sleep(1.0)
    before = cpu_us(server.pids)
    time.sleep(10.0)
    spent = cpu_us(server.pids) - before
    for key, value in {
        "p50_us": found.p50_us,
        "p99_us": found.p99_us,
        "cpu_percent": spent / 10e6 * 100,
        "mb_each": mb_each,
    }.items():
        into.setdefault(key, []).append(value)


@dataclass(eq=False)
class _Sleeper:
    """An idle environment, as far as it is looked at."""

    idle_since_ns: int
    held_mb: int = 4
    peak_mb: int = 4
    is_provisioned: bool = False


@dataclass(eq=False)
class _Pool:
    """A version's pool with its history."""

    version: Any
    pool: Pool[Any, Any]
    history: History
    is_watched: bool = False


def _looks(is_due_alone: bool) -> Callable[[], Measurement]:
    """Processor time of the look once a second at IDLE pools with an idle environment each, over LOOKED_AT_S seconds."""

    def take() -> Measurement:
        known, dice = commons(), random.Random(11)
        keeping: Keeping[Any] = Keeping(14_400.0, 10**9)
        now_ns = 10**14
        pools = []
        for _ in range(IDLE):
            sleeper: Any = _Sleeper(now_ns - dice.randrange(1_800 * 10**9))
            entry = _Pool(None, Pool(), History(known, 14_400.0))
            entry.pool.join(sleeper)
            entry.pool.free(sleeper, sleeper.idle_since_ns)
            pools.append(entry)
            if is_due_alone:
                keeping.watch(entry, now_ns - 10**9)
        begin = time.process_time()
        for second in range(LOOKED_AT_S):
            at_ns = now_ns + second * 10**9
            if is_due_alone:
                assert keeping.next_to_go(at_ns, keeping.looks + LOOKS_MAX) is None
                continue
            for entry in pools:
                longest = entry.pool.longest_idle
                assert longest is not None
                assert is_worth_keeping(keeping.worth(entry, longest, at_ns), 4 * IDLE, 10**9)
        return Measurement({"cpu_ms": (time.process_time() - begin) / LOOKED_AT_S * 1_000})

    return take


def run(rounds: int) -> list[Comparison]:
    """Memory of an idle environment beside an idle interpreter's; then thousands, and a hot function among them."""
    dense = compare(
        "G10",
        f"what the machine loses for each of {DENSE} idle environments of {FUNCTIONS} functions; reference: an idle "
        'python3.11 -c "import json"',
        {"B_py, idle": _bare, "lambent": _dense},
        reference="B_py, idle",
        rounds=rounds,
    )
    quiet: dict[str, list[float]] = {}
    crowded: dict[str, list[float]] = {}
    thousands = Comparison(
        "G11",
        f"a hot function's one client, and the server at rest, alone and among {IDLE} idle environments",
        "alone",
        rounds,
    )
    take = _thousands(quiet, crowded)
    for _ in range(rounds):
        try:
            take()
        except Exception as error:  # a machine with less memory
            thousands.errors["among them"] = f"{type(error).__name__}: {error}"
            break
    if crowded:
        thousands.arms = {"alone": quiet, "among them": crowded}
    looks = compare(
        "G11, the look",
        f"the server's look once a second at {IDLE} idle environments of as many functions, processor time of one; "
        "reference: every one is looked at",
        {"every one": _looks(False), "those that are due": _looks(True)},
        reference="every one",
        rounds=rounds,
    )
    return [looks, dense, thousands]
