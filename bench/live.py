"""G13, live: ten minutes of the trace shaped like Azure Functions', on two servers at once, and what the simulation says of
the same minutes.

The trace is `keepalive`'s, played faster: with SPEED 12 ten minutes hold two hours, the timer's ten minutes are 50 s, and all
else shrinks alike. Memory shrinks, too, so that two servers fit on a machine. Both get the same requests at the same moments.
One keeps each environment for the timer's time. The other decides as it always does, within the budget of memory that in the
simulation makes it hold as much as the timer.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections import deque
from dataclasses import dataclass, field, replace

from .clients import Target
from .crowd import Connection
from .harness import Comparison
from .keepalive import (
    DAY_S,
    MB_S_GB_H,
    MOST_S,
    TIMER_S,
    Function,
    Played,
    at_equal_memory,
    invocations,
    play_timer,
    trace,
)
from .product import Lambent, lambent

SECONDS = float(os.environ.get("BENCH_LIVE_S", "600"))
SPEED = 12.0
FUNCTIONS = 60
FROM_S = DAY_S / 3
"""Where in the trace it begins."""
MEMORY_SHARE = 1 / 10
OWN_MB = 4.0
"""What an environment holds beside what its function asks for; for the simulation."""
START_S = 0.01
"""What a cold start takes beside its function's; for the simulation."""
LOOK_S = 1.0
DRAIN_S_MAX = 30.0
TIMER, POLICY = "timer", "lambent"
SIMULATED = "%s, simulated"
CODE = """
import os, time
time.sleep(float(os.environ["COLD_S"]))
HELD = b"x" * (int(os.environ["HOLDS_MB"]) << 20)
COLD = True
def handler(event, context):
    global COLD
    was, COLD = COLD, False
    time.sleep(event["sleep"])
    return was
"""


@dataclass(slots=True)
class Seen:
    """What one server did."""

    sent: int = 0
    answered: int = 0
    cold: int = 0
    cold_s: float = 0.0
    """Beyond what the handlers took, of all cold starts."""
    mb_s: float = 0.0
    """What its sandboxes held, beyond what they did at the beginning, added up once a second."""
    wrong: list[str] = field(default_factory=list)


def shrunk(seed: int) -> tuple[list[Function], list[tuple[float, int, float]]]:
    """Functions and invocations (moment, function, duration) as they are played; of those that are called at all then."""
    whole = trace(seed, FUNCTIONS, 1)
    until_s = FROM_S + SECONDS * SPEED
    events = [event for event in invocations(whole, seed) if FROM_S <= event[0] < until_s]
    called = {number: at for at, number in enumerate(sorted({number for _, number, _ in events}))}
    functions = [
        replace(
            whole[number],
            memory_mb=max(1, round(whole[number].memory_mb * MEMORY_SHARE)),
            cold_s=whole[number].cold_s / SPEED,
            duration_s=whole[number].duration_s / SPEED,
            arrivals_s=[],
        )
        for number in called
    ]
    return functions, [((at - FROM_S) / SPEED, called[number], took_s / SPEED) for at, number, took_s in events]


def simulated(functions: list[Function], events: list[tuple[float, int, float]]) -> tuple[float, Played, Played]:
    """The budget that makes the policy hold as much as the timer, and what comes of both."""
    beside = [replace(one, memory_mb=one.memory_mb + OWN_MB, cold_s=one.cold_s + START_S) for one in functions]
    timer = play_timer(beside, events, SECONDS, TIMER_S / SPEED)
    budget_mb, policy = at_equal_memory(beside, events, SECONDS, timer.idle_mb_s, MOST_S / SPEED, LOOK_S)
    return budget_mb, timer, policy


def _deployed(server: Lambent, functions: list[Function]) -> list[Target]:
    targets = []
    for number, one in enumerate(functions):
        variables = {"COLD_S": f"{one.cold_s:.4f}", "HOLDS_MB": str(round(one.memory_mb))}
        # Until a function has run once, the server counts its limit: as close to what it holds as the service allows.
        limit_mb = max(128, round(one.memory_mb * 1.5))
        options: dict[str, object] = {"MemorySize": limit_mb, "Environment": {"Variables": variables}}
        targets.append(server.deploy(f"live{number}", {"app.py": CODE}, **options))
    return targets


async def _one(target: Target, took_s: float, free: deque[Connection], seen: Seen) -> None:
    request = replace(target, body=json.dumps({"sleep": round(took_s, 4)}).encode()).request()
    while free and not free[-1].is_open:  # the server closes who is quiet for two minutes
        free.pop()
    connection = free.pop() if free else await Connection.open(target.host, target.port)
    answer = await connection.ask(request)
    if connection.is_open:
        free.append(connection)
    if answer.status != 200 or answer.body not in (b"true", b"false"):
        seen.wrong.append(f"{target.path}: {answer.status} {answer.body[:200]!r}")
        return
    seen.answered += 1
    if answer.body == b"true":
        seen.cold += 1
        seen.cold_s += max(0.0, answer.answered_s - answer.sent_s - took_s)


async def _watch(server: Lambent, seen: Seen) -> None:
    charged = server.charged_to()
    before, at_s = int(charged.read_text()), time.perf_counter()
    while True:
        await asyncio.sleep(LOOK_S)
        now_s = time.perf_counter()
        seen.mb_s += max(0, int(charged.read_text()) - before) / 1_048_576 * (now_s - at_s)
        at_s = now_s


async def _play(servers: list[tuple[Lambent, list[Target]]], events: list[tuple[float, int, float]]) -> list[Seen]:
    seen = [Seen() for _ in servers]
    free: list[deque[Connection]] = [deque() for _ in servers]
    watching = [asyncio.ensure_future(_watch(server, one)) for (server, _), one in zip(servers, seen, strict=True)]
    running: set[asyncio.Task[None]] = set()
    began_s = time.perf_counter()
    for at_s, number, took_s in events:
        if (left_s := began_s + at_s - time.perf_counter()) > 0:
            await asyncio.sleep(left_s)
        for (_, targets), one, connections in zip(servers, seen, free, strict=True):
            one.sent += 1
            task = asyncio.ensure_future(_one(targets[number], took_s, connections, one))
            running.add(task)
            task.add_done_callback(running.discard)
    await asyncio.sleep(max(0.0, began_s + SECONDS - time.perf_counter()))
    for watcher in watching:
        if watcher.done():
            watcher.result()  # it never ends but by an error
        watcher.cancel()
    if running:
        await asyncio.wait(running, timeout=DRAIN_S_MAX)
    for connections in free:
        for connection in connections:
            connection.close()
    return seen


def _server(idle_s: float, budget_mb: float) -> dict[str, str]:
    return {
        "LAMBENT_LIMITS_IDLE_TIMEOUT_S": f"{idle_s:g}",
        "LAMBENT_LIMITS_MEMORY_BUDGET_MB": str(max(1, round(budget_mb))),
        "LAMBENT_LIMITS_ENVIRONMENTS_MAX": "2000",
    }


def run(rounds: int) -> list[Comparison]:
    """A round is a seed. Raises AssertionError when an invocation failed or was not answered."""
    comparison = Comparison(
        "G13, live",
        f"cold starts in {SECONDS:g} s of a trace shaped like Azure Functions', played {SPEED:g} times as fast, on two servers "
        "at once, and by the simulation; gb_h: of what is idle in the simulation, of all sandboxes on the servers",
        TIMER,
        rounds,
    )
    for seed in range(rounds):
        functions, events = shrunk(seed)
        budget_mb, timer, policy = simulated(functions, events)
        with (
            lambent(environment=_server(TIMER_S / SPEED, 1_000_000)) as first,
            lambent(environment=_server(MOST_S / SPEED, budget_mb)) as second,
        ):
            servers = [(server, _deployed(server, functions)) for server in (first, second)]
            time.sleep(1.0)
            seen = asyncio.run(_play(servers, events))
        for arm, one in zip((TIMER, POLICY), seen, strict=True):
            if one.wrong or one.answered != one.sent:
                raise AssertionError(f"{arm}: {one.answered} of {one.sent} answered; {one.wrong[:1]}")
            _add(comparison, arm, one.cold, one.cold_s, one.mb_s, one.sent)
        for arm, played in ((TIMER, timer), (POLICY, policy)):
            _add(comparison, SIMULATED % arm, played.cold, played.cold_s, played.idle_mb_s, played.invocations)
    return [comparison]


def _add(comparison: Comparison, arm: str, cold: int, cold_s: float, mb_s: float, sent: int) -> None:
    row = comparison.arms.setdefault(arm, {})
    values = {"cold_starts": float(cold), "cold_s": cold_s, "gb_h": mb_s / MB_S_GB_H, "invocations": float(sent)}
    for key, value in values.items():
        row.setdefault(key, []).append(value)
