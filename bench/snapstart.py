"""G2: start of an initialised function (SnapStart), whatever its init takes: a copy forked on demand, and one made ahead."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

from .clients import once
from .harness import Comparison, Measurement, compare, cpu_us
from .product import Lambent, lambent
from .references import bare_python_ms

GAP_S = 0.3
"""Before each sample: what the last one took has been prepared again, and caches and scheduler are cold."""
PER_ROUND, PER_ROUND_SLOW = 8, 3
GONE_S = 2.6
"""After it, an environment that idles for a second is retired."""
CODE = """import time
time.sleep(%s)
def handler(event, context):
    time.sleep(event.get("sleep", 0))
    return event
"""


def _bare() -> Measurement:
    samples = []
    for _ in range(PER_ROUND):
        time.sleep(GAP_S)
        samples.append(bare_python_ms())
    return _summed(samples, 0.0)


def _summed(samples: list[float], cpu_ms: float) -> Measurement:
    samples.sort()
    return Measurement({"p50_ms": samples[len(samples) // 2], "max_ms": samples[-1], "cpu_ms": cpu_ms})


def _starts(server: Lambent, name: str, qualifier: str, count: int) -> Callable[[], Measurement]:
    """Each sample needs an environment of its own: those of the samples before it are kept busy meanwhile."""
    target = server.target(name)
    target = replace(target, path=f"{target.path}?Qualifier={qualifier}")

    def take() -> Measurement:
        time.sleep(GONE_S)
        samples, spent = [], 0.0
        busy: list[threading.Thread] = []
        until = time.monotonic() + count * (GAP_S + 1.5)
        for _ in range(count):
            time.sleep(GAP_S)
            before = cpu_us(server.pids)
            samples.append(once(target))
            spent += cpu_us(server.pids) - before
            left_s = max(0.0, until - time.monotonic()) if len(busy) < count - 1 else 0.0
            held = replace(target, body=b'{"sleep": %f}' % left_s)
            busy.append(threading.Thread(target=once, args=(held,)))
            busy[-1].start()
        for thread in busy:
            thread.join()
        return _summed(samples, spent / count / 1_000)

    return take


@contextmanager
def _serving(copies_ahead: int) -> Iterator[Lambent]:
    environment = {
        "LAMBENT_SANDBOX_COPIES_AHEAD_MAX": str(copies_ahead),
        "LAMBENT_LIMITS_IDLE_TIMEOUT_S": "1",
    }
    with lambent(environment=environment) as server:
        for name, init_s in (("quick", 0), ("slow", 1)):
            server.deploy(
                name,
                {"app.py": CODE % init_s},
                runtime="python3.12",
                SnapStart={"ApplyOn": "PublishedVersions"},
                Environment={"Variables": {"LAMBENT_PRELOAD": "on"}},
            )
            server.call("POST", f"/2015-03-31/functions/{name}/versions", {})
            _wait(server, name)
        yield server


def _wait(server: Lambent, name: str) -> None:
    for _ in range(1_000):
        version = server.call("GET", f"/2015-03-31/functions/{name}/configuration?Qualifier=1")
        if version["State"] != "Pending":
            break
        time.sleep(0.01)
    if version["SnapStart"] != {"ApplyOn": "PublishedVersions", "OptimizationStatus": "On"}:
        raise RuntimeError(f"no template of {name} is kept: {version}")


def run(rounds: int) -> list[Comparison]:
    """Starts with and without SnapStart, of an init that takes nothing and of one that takes a second."""
    with ExitStack() as stack:
        demand, ahead = stack.enter_context(_serving(0)), stack.enter_context(_serving(1))
        return [
            compare(
                "G2",
                "start of an initialised Python function, full sandbox, whole path: forked on demand, and ahead; reference: "
                "bare python3.11 -c pass",
                {
                    "B_py": _bare,
                    "init 0 s, on demand": _starts(demand, "quick", "1", PER_ROUND),
                    "init 0 s, made ahead": _starts(ahead, "quick", "1", PER_ROUND),
                    "init 1 s, on demand": _starts(demand, "slow", "1", PER_ROUND),
                    "init 1 s, made ahead": _starts(ahead, "slow", "1", PER_ROUND),
                    "init 0 s, without SnapStart": _starts(demand, "quick", "$LATEST", PER_ROUND),
                    "init 1 s, without SnapStart": _starts(demand, "slow", "$LATEST", PER_ROUND_SLOW),
                },
                reference="B_py",
                rounds=rounds,
            )
        ]
