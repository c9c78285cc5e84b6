"""G15: open-loop load at half of the warm throughput: requests go out when they are due, whoever is late. None may be lost, none
run twice, and the slowest in a thousand are compared with a relay's under the same load.

The client is a program in C (`programs/openloop.c`): one in Python took so much of two processors that both queues grew without
end.
"""

from __future__ import annotations

import json
import os
import struct
import subprocess
import tempfile
from array import array
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from .clients import Target, throughput
from .harness import Comparison, Measurement, compare, cpu_us
from .product import Lambent, lambent
from .references import compiled, relay
from .warm import warm_environments

SECONDS = float(os.environ.get("BENCH_LOAD_S", "60"))
WARM_UP_S = 3.0
FUNCTIONS = 10
SHARE = 0.5
"""Of the throughput of 4 environments at 16 connections, which is measured first."""
SAMPLE = struct.Struct("qqqii64s")
"""`struct sample` of openloop.c."""
COUNTED = b'{"id": @@@@@@@@@@@@}'
"""The client puts the request's number there."""
SEED = 15
COUNTING = """
import uuid
ME, COUNT = uuid.uuid4().hex[:12], 0
def handler(event, context):
    global COUNT
    COUNT += 1
    return [event["id"], COUNT, ME]
"""


@dataclass(slots=True)
class Load:
    """What was sent and what came back; latencies from the moment that a request was due."""

    sent: int = 0
    latencies_ms: array[float] = field(default_factory=lambda: array("d"))
    wrong: list[str] = field(default_factory=list)
    runs: dict[str, list[int]] = field(default_factory=dict)
    """By environment: how many answers of it came, and the highest count it told."""
    ids: set[int] = field(default_factory=set)

    def lost(self) -> int:
        return self.sent - len(self.latencies_ms)

    def twice(self) -> int:
        """Attempts beyond one for each request: answers that came again, or runs that nobody was answered."""
        unanswered = sum(highest - answers for answers, highest in self.runs.values())
        return unanswered + (len(self.latencies_ms) - len(self.ids) if self.ids else 0)

    def percentile(self, share: float) -> float:
        found = sorted(self.latencies_ms)
        return found[min(len(found) - 1, int(len(found) * share))]


def open_loop(
    targets: list[Target], per_s: float, seconds: float, *, is_counted: bool, first: int = 0, seed: int = SEED
) -> Load:
    """Send at random moments, `per_s` on average, each to a target drawn at random, on a connection that is free or new.

    Raises FileNotFoundError where there is no `cc`."""
    with tempfile.TemporaryDirectory(prefix="lambent-bench-load-") as folder:
        files, out = [], Path(folder, "samples")
        for number, target in enumerate(targets):
            files.append(Path(folder, f"request-{number}"))
            files[-1].write_bytes((replace(target, body=COUNTED) if is_counted else target).request())
        host, port = targets[0].host, targets[0].port
        words = [host, port, per_s, seconds, seed, first, out, *files]
        subprocess.run([str(compiled("openloop.c", "-lm")), *map(str, words)], check=True)
        load = Load()
        for number, _, latency_ns, status, size, body in SAMPLE.iter_unpack(out.read_bytes()):
            load.sent += 1
            if latency_ns >= 0:
                _note(load, number, latency_ns, status, body[:size], is_counted)
    return load


def _note(load: Load, number: int, latency_ns: int, status: int, body: bytes, is_counted: bool) -> None:
    if status != 200:
        load.wrong.append(f"request {number}: {status} {body!r}")
        return
    load.latencies_ms.append(latency_ns / 1e6)
    if is_counted:
        got, count, environment = json.loads(body)
        if got != number:
            load.wrong.append(f"request {number} got the answer of {got}")
        load.ids.add(got)
        run = load.runs.setdefault(environment, [0, 0])
        run[0] += 1
        run[1] = max(run[1], count)


def _measured(load: Load, spent_us: int, *, more: int = 0) -> Measurement:
    if load.wrong:
        raise AssertionError(f"{len(load.wrong)} of {load.sent}: {load.wrong[0]}")
    return Measurement(
        {
            "per_s": load.sent / SECONDS,
            "lost": float(load.lost()),
            "twice": float(max(load.twice(), more)),
            "p50_ms": load.percentile(0.5),
            "p99_ms": load.percentile(0.99),
            "p999_ms": load.percentile(0.999),
            "cpu_us": spent_us / load.sent,
        }
    )


def _lambent(server: Lambent, targets: list[Target], per_s: float) -> Callable[[], Measurement]:
    answered: Counter[str] = Counter()
    """By environment, in whichever round."""

    def take() -> Measurement:
        # The first seconds start the environments; whatever ran then is taken out of the counts.
        warm_up = open_loop(targets, per_s, WARM_UP_S, is_counted=True, first=10**9)
        attempts = server.attempts()
        before = cpu_us(server.pids)
        load = open_loop(targets, per_s, SECONDS, is_counted=True)
        spent = cpu_us(server.pids) - before
        for one in (warm_up, load):
            answered.update({environment: answers for environment, (answers, _) in one.runs.items()})
        for environment, run in load.runs.items():
            run[0] = answered[environment]
        # An attempt that the ledger holds and nobody was answered is one too many, too.
        return _measured(load, spent, more=server.attempts() - attempts - load.sent)

    return take


def _relay(targets: list[Target], pids: tuple[int, ...], per_s: float) -> Callable[[], Measurement]:
    def take() -> Measurement:
        open_loop(targets, per_s, WARM_UP_S, is_counted=False)
        before = cpu_us(pids)
        load = open_loop(targets, per_s, SECONDS, is_counted=False)
        return _measured(load, cpu_us(pids) - before)

    return take


def run(rounds: int) -> list[Comparison]:
    """Half of G7's throughput over ten functions, and the relay under the same load."""
    with ExitStack() as stack:
        server = stack.enter_context(lambent())
        floor = stack.enter_context(relay(28_095, workers=4))
        with lambent(environment={"LAMBENT_LIMITS_ENVIRONMENTS_MAX": "4"}) as four:
            busy = four.deploy("busy", {"app.py": COUNTING})
            busy = replace(busy, body=b'{"id": 1}')
            warm_environments(busy, 4)
            found = throughput(busy, connections=16, seconds=5.0)
        per_s = found.per_s * SHARE
        targets = [server.deploy(f"load{number}", {"app.py": COUNTING}) for number in range(FUNCTIONS)]
        return [
            compare(
                "G15",
                f"open-loop load of {per_s:,.0f} a second, half of {found.per_s:,.0f}, over {FUNCTIONS} functions for "
                f"{SECONDS:g} s, latencies from the due moment; reference: the relay under the same load",
                {
                    "relay": _relay([floor.target], floor.pids, per_s),
                    "lambent": _lambent(server, targets, per_s),
                },
                reference="relay",
                rounds=rounds,
            )
        ]
