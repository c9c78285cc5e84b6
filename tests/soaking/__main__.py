"""`scripts/soak`: a mixture of invocations against a server of its own, and what it holds before and after.

The exit status is 1 when anything is left, or an answer was not the one it had to be.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

from tests.conftest import RunningServer, start_server

from .counting import Holdings, holdings, settled
from .drive import WEIGHTS, Driver

WARM_UP = 1_000
"""Invocations before the first count: what is kept for good, like open files and grown tables, is there then."""
STILL_S = 12.0
"""So long nothing may have changed before it is counted: after it no demand of the soak keeps runtimes waiting."""
STILL_S_MAX = 120.0


def still(server: RunningServer, still_s: float) -> Holdings:
    """Wait until what the server holds has stood still for so long, and count it."""
    deadline = time.monotonic() + STILL_S_MAX
    last, since = settled(server.process.pid, server.data_dir), time.monotonic()
    while time.monotonic() - since < still_s and time.monotonic() < deadline:
        time.sleep(0.5)
        now = settled(server.process.pid, server.data_dir)
        if now != last:
            last, since = now, time.monotonic()
    return holdings(server.process.pid, server.data_dir)


def soak(
    invocations: int,
    seed: int,
    *options: str,
    warm_up: int = WARM_UP,
    still_s: float = STILL_S,
) -> tuple[list[str], list[str]]:
    """Run it against a server with these options; what was counted, and what was found."""
    with tempfile.TemporaryDirectory(prefix="lambent-soak-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        server = start_server(Path(folder) / "data", *options)
        try:
            driver = Driver(server.url, seed)

            async def one(count: int, *, fills: bool = False) -> None:
                await driver.prepare()
                if fills:
                    await driver.fill()
                await driver.run(count)
                await driver.clear()

            asyncio.run(one(warm_up, fills=True))
            before = still(server, still_s)
            driver.report.elapsed_s = 0.0
            asyncio.run(one(invocations))
            after = still(server, still_s)
        finally:
            status = server.stop()
        log = server.log.read_text().splitlines()
    report = driver.report
    faults = [line for line in log if line.startswith(("E ", "Traceback"))]
    lines = [
        f"tier {server.tier}, seed {seed}: {invocations} invocations and changes in {report.elapsed_s:.0f} s "
        f"({invocations / report.elapsed_s:.0f} a second), after {warm_up} to warm up",
        "done: " + ", ".join(f"{kind} {report.done[kind]}" for kind in WEIGHTS),
        "answers: " + ", ".join(f"{what} × {count}" for what, count in sorted(report.statuses.items())),
        f"attempts in the ledger: {report.expected_attempts}, as many as were answered or accepted",
        f"{'':<12} {'before':>10} {'after':>10} {'more':>9}",
        *before.lines(after),
    ]
    findings = report.findings + before.left(after) + [f"the server's log: {line}" for line in faults[:20]]
    if status:
        findings.append(f"the server ended with {status}")
    return lines, findings


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/soak", description=__doc__)
    parser.add_argument("--invocations", type=int, default=100_000, help="in all (default 100000)")
    parser.add_argument("--seed", type=int, default=1, help="default 1")
    parser.add_argument("--tier", default=None, help="tier of the server's sandboxes (default: the best there is)")
    options = parser.parse_args()
    tier = () if options.tier is None else ("--tier", options.tier)
    lines, findings = soak(options.invocations, options.seed, *tier)
    print("\n".join(lines))
    print("\n".join(findings) or "nothing is left")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
