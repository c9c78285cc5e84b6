"""`scripts/fuzz`: so many seeded calls against a server of its own; the exit status is 1 when anything was found."""

from __future__ import annotations

import argparse
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.conftest import start_server

from .drive import SETTINGS, Driver, Report


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/fuzz", description=__doc__)
    parser.add_argument("--calls", type=int, default=20_000, help="calls in all (default 20000)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the first run (default 1)")
    parser.add_argument("--runs", type=int, default=1, help="runs side by side, each with a server and the next seed")
    parser.add_argument("--tier", default="process", help="tier of the server's sandboxes (default process)")
    options = parser.parse_args()
    with ThreadPoolExecutor(options.runs) as pool:
        share = -(-options.calls // options.runs)
        reports = list(pool.map(lambda n: one(options.seed + n, share, options.tier), range(options.runs)))
    for report in reports:
        print("\n".join(report.lines()))
    return 1 if any(report.findings for report in reports) else 0


def one(seed: int, calls: int, tier: str) -> Report:
    """One run with a server of its own."""
    with tempfile.TemporaryDirectory(prefix="lambent-fuzz-", ignore_cleanup_errors=True) as folder:
        server = start_server(Path(folder) / "data", "--tier", tier, env=SETTINGS)
        try:
            driver = Driver(server.url, server.data_dir / "state.db", seed)
            try:
                return driver.run(calls)
            finally:
                driver.close()
        finally:
            status = server.stop()
            if status:
                print(server.log.read_text()[-4_000:], file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
