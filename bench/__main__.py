"""`python -m bench [warm|cold|door|control|keepalive …] [--rounds N] [--out FILE]`: run benchmarks, print tables, keep all rounds as JSON."""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from pathlib import Path

from .harness import Comparison, host, save, table

KEYS = {
    "G1": ("p50_ms", "max_ms", "cpu_ms"),
    "G3": ("p50_ms", "max_ms", "cpu_ms"),
    "G6": ("p50_us", "p99_us", "per_s", "cpu_us"),
    "G7": ("per_s", "p99_us", "cpu_us"),
    "G8": ("p50_us", "per_s", "cpu_us"),
    "G8, 4 environments": ("per_s", "p99_us", "cpu_us"),
    "G9": ("cpu_us", "per_s"),
    "control operations": ("p50_ms", "p99_ms", "cpu_ms"),
    "functions at rest": (
        "listening_ms",
        "cpu_ms",
        "memory_mb",
        "more_listening_ms",
        "more_cpu_ms",
        "more_memory_mb",
    ),
    "G13": ("cold_starts", "cold_s", "idle_gb_h"),
    "G12": ("listening_ms", "memory_mb", "cpu_percent"),
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "names", nargs="*", default=["warm", "cold", "door"], help="warm, cold, door, control, keepalive"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=None, help="JSON file for all rounds")
    options = parser.parse_args()
    print(", ".join(f"{key} {value}" for key, value in host().items()), "\n")
    comparisons: list[Comparison] = []
    for name in options.names:
        for comparison in import_module(f"bench.{name}").run(options.rounds):
            comparisons.append(comparison)
            print(table(comparison, KEYS[comparison.name]), flush=True)
    if options.out is not None:
        save(options.out, comparisons, "python -m bench " + " ".join(sys.argv[1:]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
