"""`python -m bench [NAME …] [--rounds N] [--out FILE]`: run benchmarks, print tables, keep all rounds as JSON."""

from __future__ import annotations

import argparse
import signal
import sys
from importlib import import_module
from pathlib import Path

from .harness import Comparison, host, save, table

NAMES = (
    "warm",
    "cold",
    "provided",
    "door",
    "control",
    "keepalive",
    "live",
    "url",
    "routes",
    "burst",
    "sustained",
    "snapstart",
    "density",
    "load",
    "streaming",
    "uploads",
)

KEYS = {
    "G1": ("p50_ms", "max_ms", "cpu_ms"),
    "G2": ("p50_ms", "max_ms", "cpu_ms"),
    "G3": ("p50_ms", "max_ms", "cpu_ms"),
    "G3, native": ("p50_ms", "max_ms", "cpu_ms"),
    "G3, Java": ("p50_ms", "max_ms", "cpu_ms"),
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
    "function URL": ("p50_us", "p99_us", "per_s", "cpu_us"),
    "function URL, 16 connections": ("per_s", "p99_us", "cpu_us"),
    "streams of 64 KB chunks": ("mb_per_s", "wall_ms", "cpu_ms"),
    "streams of 1 KB chunks": ("chunks_per_s", "wall_ms", "cpu_ms", "cpu_us_per_chunk"),
    "slow streams": ("p50_us", "p99_us", "cpu_us"),
    "G5": ("last_s", "p50_s", "per_s", "cpu_ms"),
    "G5, ten functions": ("last_s", "p50_s", "per_s", "cpu_ms"),
    "G5, two hundred first calls": ("last_s", "p50_s", "per_s", "cpu_ms"),
    "G5: warm": ("p50_us", "p99_us", "per_s"),
    "G5, ten functions: warm": ("p50_us", "p99_us", "per_s"),
    "G5, two hundred first calls: warm": ("p50_us", "p99_us", "per_s"),
    "G4": ("per_s", "p50_ms", "p99_ms", "cpu_ms", "warm"),
    "G10": ("mb_each", "anon_mb", "tables_mb", "stacks_mb", "slab_mb", "percpu_mb", "sandboxes"),
    "G11": ("p50_us", "p99_us", "cpu_percent", "mb_each"),
    "G11, the look": ("cpu_ms",),
    "G15": ("per_s", "lost", "twice", "p50_ms", "p99_ms", "p999_ms", "cpu_us"),
    "G13": ("cold_starts", "cold_s", "idle_gb_h"),
    "G13, live": ("cold_starts", "cold_s", "gb_h", "invocations"),
    "routes": ("p50_us", "p99_us", "cpu_us"),
    "G12": ("listening_ms", "memory_mb", "cpu_percent"),
    "large uploads": ("memory_mb", "p50_ms"),
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "names",
        nargs="*",
        default=["warm", "cold", "door"],
        help=f"of {', '.join(NAMES)}; warm, cold and door unless named",
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=None, help="JSON file for all rounds")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that servers under measurement end with us
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
