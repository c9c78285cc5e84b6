"""The control plane: one operation at a time, pages of a long list, and what ten thousand functions at rest cost."""

from __future__ import annotations

import base64
import http.client
import io
import json
import os
import shutil
import sqlite3
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from .clients import AUTHORIZATION
from .harness import Comparison, Measurement, compare, cpu_us, rss_kb
from .product import ECHO_PYTHON, Lambent, lambent, started, variables

PER_ROUND = 60
LISTED = 1_000
AT_REST = 10_000
WRITERS = 16
ROLE = "arn:aws:iam::000000000000:role/bench"


class _Client:
    """One kept connection."""

    def __init__(self, server: Lambent) -> None:
        self._connection = http.client.HTTPConnection(server.host, server.port, timeout=30)

    def call(self, method: str, path: str, body: dict[str, object] | None = None) -> bytes:
        data = None if body is None else json.dumps(body).encode()
        self._connection.request(method, path, data, {"Authorization": AUTHORIZATION, "X-Amz-Date": "20260101T000000Z"})
        answer = self._connection.getresponse()
        text = answer.read()
        if answer.status >= 300:
            raise RuntimeError(f"{method} {path}: {answer.status} {text.decode()}")
        return text

    def close(self) -> None:
        self._connection.close()


def _archive() -> str:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as zipped:
        zipped.writestr(zipfile.ZipInfo("app.py", (2026, 1, 1, 0, 0, 0)), ECHO_PYTHON)
    return base64.b64encode(out.getvalue()).decode()


ARCHIVE = _archive()


def _function(name: str) -> dict[str, object]:
    return {
        "FunctionName": name,
        "Runtime": "python3.11",
        "Handler": "app.handler",
        "Role": ROLE,
        "Code": {"ZipFile": ARCHIVE},
    }


def _fill(server: Lambent, first: int, count: int) -> None:
    """Functions FIRST…, created over several connections."""

    def write(part: int) -> None:
        client = _Client(server)
        for number in range(first + part, first + count, WRITERS):
            client.call("POST", "/2015-03-31/functions", _function(f"rest-{number:05}"))
        client.close()

    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(write, range(WRITERS)))


def _times(server: Lambent, calls: Callable[[int], Callable[[_Client], object]], *, count: int) -> Measurement:
    """Median and worst milliseconds of `count` calls over one connection; `calls(n)` prepares the n-th, untimed."""
    client, samples = _Client(server), []
    before = cpu_us(server.pids)
    for number in range(count):
        call = calls(number)
        begin = time.perf_counter_ns()
        call(client)
        samples.append((time.perf_counter_ns() - begin) / 1e6)
    spent = cpu_us(server.pids) - before
    client.close()
    samples.sort()
    return Measurement(
        {
            "p50_ms": samples[len(samples) // 2],
            "p99_ms": samples[int(len(samples) * 0.99)],
            "cpu_ms": spent / count / 1_000,
        }
    )


def _commit() -> Measurement:
    """The least that durable means on this disk: one row, committed as our stores commit."""
    samples = []
    with tempfile.TemporaryDirectory(prefix="lambent-bench-") as folder:
        store = sqlite3.connect(Path(folder) / "one.db", isolation_level=None)
        store.execute("PRAGMA journal_mode = WAL")
        store.execute("PRAGMA synchronous = FULL")
        store.execute("CREATE TABLE t (document BLOB)")
        for _ in range(PER_ROUND):
            begin = time.perf_counter_ns()
            store.execute("INSERT INTO t VALUES (?)", (b"x" * 800,))
            samples.append((time.perf_counter_ns() - begin) / 1e6)
        store.close()
    samples.sort()
    return Measurement({"p50_ms": samples[len(samples) // 2], "p99_ms": samples[int(len(samples) * 0.99)]})


def _one(method: str, path: str, body: dict[str, object] | None = None) -> Callable[[int], Callable[[_Client], object]]:
    return lambda number: lambda client: client.call(method, path, body)


def _numbered(method: str, path: str, member: str) -> Callable[[int], Callable[[_Client], object]]:
    return lambda number: lambda client: client.call(method, path, {member: f"{time.monotonic_ns()}"})


def operations(rounds: int) -> Comparison:
    """Control operations, one at a time over one connection, among a thousand functions."""
    f = "/2015-03-31/functions/rest-00000"
    made = iter(range(1_000_000))

    def create(number: int) -> Callable[[_Client], object]:
        name = f"made-{next(made)}"
        return lambda client: client.call("POST", "/2015-03-31/functions", _function(name))

    def add(number: int) -> Callable[[_Client], object]:
        statement = {
            "StatementId": f"s{next(made)}",
            "Action": "lambda:InvokeFunction",
            "Principal": "s3.amazonaws.com",
        }
        path = f"/2015-03-31/functions/rest-{next(made) % LISTED:05}/policy"
        return lambda client: client.call("POST", path, dict(statement))

    with lambent() as server:
        _fill(server, 0, LISTED)
        client = _Client(server)
        client.call("POST", f"{f}/versions", {})
        client.call("POST", f"{f}/aliases", {"Name": "live", "FunctionVersion": "1"})
        page = json.loads(client.call("GET", "/2015-03-31/functions?MaxItems=50"))
        assert len(page["Functions"]) == 50
        client.close()
        calls = {
            "GetAccountSettings": _one("GET", "/2016-08-19/account-settings"),
            "GetFunction": _one("GET", f),
            "GetFunctionConfiguration": _one("GET", f"{f}/configuration"),
            "GetAlias": _one("GET", f"{f}/aliases/live"),
            f"ListFunctions, 50 of {LISTED:,}": _one(
                "GET", f"/2015-03-31/functions?MaxItems=50&Marker={page['NextMarker']}"
            ),
            "CreateFunction": create,
            "UpdateFunctionConfiguration": _numbered("PUT", f"{f}/configuration", "Description"),
            "UpdateAlias": _numbered("PUT", f"{f}/aliases/live", "Description"),
            "AddPermission": add,
            "PutFunctionConcurrency": _one(
                "PUT", "/2017-10-31/functions/rest-00001/concurrency", {"ReservedConcurrentExecutions": 1}
            ),
        }
        arms: dict[str, Callable[[], Measurement]] = {"one SQLite commit": _commit}
        arms |= {name: _arm(server, call) for name, call in calls.items()}
        return compare(
            "control operations",
            f"one at a time over one connection, among {LISTED:,} functions",
            arms,
            reference="one SQLite commit",
            rounds=rounds,
            pause_s=0.05,
        )


def _arm(server: Lambent, calls: Callable[[int], Callable[[_Client], object]]) -> Callable[[], Measurement]:
    return lambda: _times(server, calls, count=PER_ROUND)


@contextmanager
def _directory() -> Iterator[Path]:
    base = Path(tempfile.mkdtemp(prefix="lambent-bench-"))
    try:
        yield base
    finally:
        shutil.rmtree(base, ignore_errors=True)


def at_rest(rounds: int) -> Comparison:
    """Start-up and memory with ten thousand functions, beside a server that has none."""
    with _directory() as empty, _directory() as full:
        for base in (empty, full):
            with started(base, (), variables()) as server:
                if base == full:
                    _fill(server, 0, AT_REST)

        def arm(base: Path) -> Callable[[], Measurement]:
            def take() -> Measurement:
                with started(base, (), variables()) as server:
                    time.sleep(0.5)
                    return Measurement(
                        {"listening_ms": server.listening_ms, "memory_mb": rss_kb(server.tree()) / 1_024}
                    )

            return take

        comparison = compare(
            "functions at rest",
            f"process start to listening and memory, with {AT_REST:,} functions and with none",
            {"none": arm(empty), f"{AT_REST:,} functions": arm(full)},
            reference="none",
            rounds=rounds,
        )
    more = comparison.arms.get(f"{AT_REST:,} functions")
    if more is not None:
        for key in ("listening_ms", "memory_mb"):
            more[f"more_{key}"] = [a - b for a, b in zip(more[key], comparison.arms["none"][key], strict=True)]
    return comparison


def run(rounds: int) -> list[Comparison]:
    """Both."""
    os.sync()
    return [operations(rounds), at_rest(rounds)]
