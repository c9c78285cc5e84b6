"""G3 of programs that a package brings, on `provided.al2023`: a native one, and a JVM. Nothing of them can be started before
their function is known, so what waits is the sandbox."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from .cold import GAP_S, PER_ROUND, REFILLED_S, cold_starts
from .harness import Comparison, Measurement, compare
from .product import Lambent, lambent
from .references import CACHE, PROGRAMS, bare_python_ms, compiled

JVM = ("/usr/bin/java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto")
"""As a function's bootstrap and as its reference are started."""
JAVA_BOOTSTRAP = f'#!/bin/sh\nexec {" ".join(JVM)} -cp "$LAMBDA_TASK_ROOT" Echo\n'
SETTLED_S = 1.0


def native_program() -> bytes:
    """The native function, compiled by this machine's `cc`. Raises FileNotFoundError where there is none."""
    return compiled("echo.c", "-static").read_bytes()


def java_classes() -> Path:
    """A directory with both classes, compiled by this machine's `javac`. Raises FileNotFoundError where there is none."""
    folder = CACHE / "java"
    folder.mkdir(parents=True, exist_ok=True)
    sources = [str(PROGRAMS / "Echo.java"), str(PROGRAMS / "Hello.java")]
    subprocess.run(["javac", "-d", str(folder), *sources], check=True)
    return folder


def _times(take: Callable[[], float]) -> Measurement:
    samples = []
    for _ in range(PER_ROUND):
        time.sleep(GAP_S)
        samples.append(take())
    samples.sort()
    return Measurement({"p50_ms": samples[len(samples) // 2], "max_ms": samples[-1]})


def _hello_ms(folder: Path) -> float:
    begin = time.perf_counter_ns()
    subprocess.run([*JVM, "-cp", str(folder), "Hello"], check=True, stdout=subprocess.DEVNULL)
    return (time.perf_counter_ns() - begin) / 1e6


def _native(server: Lambent, rounds: int) -> Comparison:
    program = native_program()
    server.deploy("native", {"bootstrap": program}, runtime="provided.al2023")
    time.sleep(SETTLED_S)
    return compare(
        "G3, native",
        "cold start of a native program (C, static) in a ready sandbox; reference: bare python3.11 -c pass",
        {
            "B_py": lambda: _times(bare_python_ms),
            "native, blank ready": cold_starts(server, "native", REFILLED_S),
        },
        reference="B_py",
        rounds=rounds,
    )


def _java(server: Lambent, rounds: int) -> Comparison:
    folder = java_classes()
    files = {"bootstrap": JAVA_BOOTSTRAP.encode(), "Echo.class": (folder / "Echo.class").read_bytes()}
    server.deploy("java", files, runtime="provided.al2023")
    time.sleep(SETTLED_S)
    return compare(
        "G3, Java",
        "cold start of a JVM that its package starts, in a ready sandbox; reference: a Java hello with the same options",
        {
            "java hello": lambda: _times(lambda: _hello_ms(folder)),
            "java, blank ready": cold_starts(server, "java", REFILLED_S),
        },
        reference="java hello",
        rounds=rounds,
    )


def run(rounds: int) -> list[Comparison]:
    """The native program, then the JVM; what the machine cannot compile is said and left out."""
    found = []
    with lambent() as server:
        for take, name in ((_native, "G3, native"), (_java, "G3, Java")):
            try:
                found.append(take(server, rounds))
            except FileNotFoundError as error:  # no compiler
                found.append(Comparison(name, "not measured", "", rounds, errors={name: str(error)}))
    return found
