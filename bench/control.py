"""The control plane: one operation at a time, pages of a long list, and what ten thousand functions at rest cost."""

from __future__ import annotations

import base64
import http.client
import io
import itertools
import json
import os
import shutil
import sqlite3
import tempfile
import time
import zipfile
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlencode

from .clients import AUTHORIZATION
from .harness import Comparison, Measurement, compare, cpu_us, rss_kb
from .product import ECHO_PYTHON, Lambent, lambent, started, variables

PER_ROUND = 60
LISTED = 1_000
AT_REST = 10_000
WRITERS = 16
ROLE = "arn:aws:iam::000000000000:role/bench"
TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
        ],
    }
)


class _Client:
    """One kept connection."""

    def __init__(self, server: Lambent) -> None:
        self._connection = http.client.HTTPConnection(server.host, server.port, timeout=30)

    def call(self, method: str, path: str, body: dict[str, object] | None = None) -> bytes:
        return self._send(method, path, None if body is None else json.dumps(body).encode(), AUTHORIZATION, {})

    def iam(self, action: str, **parameters: str) -> bytes:
        """One call of IAM's query API."""
        form = urlencode({"Action": action, "Version": "2010-05-08", **parameters}).encode()
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        return self._send("POST", "/", form, AUTHORIZATION.replace("/lambda/", "/iam/"), kind)

    def _send(self, method: str, path: str, data: bytes | None, signed: str, headers: dict[str, str]) -> bytes:
        self._connection.request(
            method, path, data, {"Authorization": signed, "X-Amz-Date": "20260101T000000Z", **headers}
        )
        answer = self._connection.getresponse()
        text = answer.read()
        if answer.status >= 300:
            raise RuntimeError(f"{method} {path}: {answer.status} {text.decode()}")
        return text

    def close(self) -> None:
        self._connection.close()


def _archive(name: str) -> str:
    """A package of its own for each name, as functions have."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as zipped:
        zipped.writestr(zipfile.ZipInfo("app.py", (2026, 1, 1, 0, 0, 0)), f"# {name}\n{ECHO_PYTHON}")
    return base64.b64encode(out.getvalue()).decode()


def _function(name: str) -> dict[str, object]:
    return {
        "FunctionName": name,
        "Runtime": "python3.11",
        "Handler": "app.handler",
        "Role": ROLE,
        "Code": {"ZipFile": _archive(name)},
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


def _times(server: Lambent, calls: Calls, *, count: int) -> Measurement:
    """Milliseconds of `count` calls over one connection."""
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


Call = Callable[[_Client], object]
Calls = Callable[[int], Call]
"""Prepares the n-th call of an arm's round; what it answers is timed."""


def _call(method: str, path: str, body: dict[str, object] | None = None) -> Call:
    return lambda client: client.call(method, path, body)


def _one(method: str, path: str, body: dict[str, object] | None = None) -> Calls:
    return lambda number: _call(method, path, body)


def _reads(ready: _Ready) -> dict[str, Calls]:
    f = "/2015-03-31/functions/rest-00000"
    listing = f"/2015-03-31/functions?MaxItems=50&Marker={quote(ready.marker)}"
    return {
        "GetAccountSettings": _one("GET", "/2016-08-19/account-settings"),
        "GetFunction": _one("GET", f),
        "GetFunctionConfiguration": _one("GET", f"{f}/configuration"),
        "GetPolicy": _one("GET", f"{f}/policy"),
        "GetAlias": _one("GET", f"{f}/aliases/live"),
        "GetLayerVersion": _one("GET", "/2018-10-31/layers/shared/versions/1"),
        "GetEventSourceMapping": _one("GET", f"/2015-03-31/event-source-mappings/{ready.mapping}"),
        "GetRole": lambda number: lambda client: client.iam("GetRole", RoleName="bench"),
        "ListTags": _one("GET", f"/2017-03-31/tags/{quote(ready.arn, safe='')}"),
        "ListEventSourceMappings, 50": _one("GET", "/2015-03-31/event-source-mappings?MaxItems=50"),
        f"ListFunctions, 50 of {LISTED:,}": _one("GET", listing),
        f"ListFunctions ALL, 50 of {LISTED:,}": _one("GET", "/2015-03-31/functions?FunctionVersion=ALL&MaxItems=50"),
    }


def _writes(ready: _Ready) -> dict[str, Calls]:
    numbers = itertools.count()
    made: deque[str] = deque()
    mapped: deque[str] = deque()

    def on_each(method: str, path: str, body: Callable[[str], dict[str, object]], *, root: str = "2015-03-31") -> Calls:
        """A change of one function after the other: none waits for its own last one to settle."""

        def prepare(number: int) -> Call:
            unique = next(numbers)
            return _call(method, f"/{root}/functions/rest-{unique % LISTED:05}/{path}", body(f"v{unique}"))

        return prepare

    def on_one(method: str, path: str, body: Callable[[str], dict[str, object]]) -> Calls:
        return lambda number: _call(method, path, body(f"v{next(numbers)}"))

    def create(number: int) -> Call:
        made.append(f"made-{next(numbers)}")
        return _call("POST", "/2015-03-31/functions", _function(made[-1]))

    def delete(number: int) -> Call:
        return _call("DELETE", f"/2015-03-31/functions/{made.popleft()}")

    def publish_layer(number: int) -> Call:
        """A layer has some versions, not hundreds."""
        return _call("POST", f"/2018-10-31/layers/layer-{number}/versions", _layer(f"v{next(numbers)}"))

    def create_mapping(number: int) -> Call:
        body = _mapping(f"v{next(numbers)}")

        def call(client: _Client) -> None:
            mapped.append(json.loads(client.call("POST", "/2015-03-31/event-source-mappings", body))["UUID"])

        return call

    def create_role(number: int) -> Call:
        name = f"role-{next(numbers)}"
        return lambda client: client.iam("CreateRole", RoleName=name, AssumeRolePolicyDocument=TRUST)

    return {
        "CreateFunction": create,
        "DeleteFunction": delete,
        "UpdateFunctionConfiguration": on_each("PUT", "configuration", lambda one: {"Description": one}),
        "UpdateFunctionCode": on_each("PUT", "code", lambda one: {"ZipFile": _archive(one)}),
        "UpdateFunctionCode with Publish": on_each(
            "PUT", "code", lambda one: {"ZipFile": _archive(one), "Publish": True}
        ),
        "UpdateAlias": on_one("PUT", "/2015-03-31/functions/rest-00000/aliases/live", lambda one: {"Description": one}),
        "AddPermission": on_each("POST", "policy", _permission),
        "PutFunctionConcurrency": on_each(
            "PUT", "concurrency", lambda one: {"ReservedConcurrentExecutions": int(one[1:]) % 7}, root="2017-10-31"
        ),
        "PutFunctionEventInvokeConfig": on_each(
            "PUT", "event-invoke-config", lambda one: {"MaximumRetryAttempts": int(one[1:]) % 2}, root="2019-09-25"
        ),
        "TagResource": on_one(
            "POST", f"/2017-03-31/tags/{quote(ready.arn, safe='')}", lambda one: {"Tags": {"release": one}}
        ),
        "PublishLayerVersion": publish_layer,
        "CreateEventSourceMapping": create_mapping,
        "DeleteEventSourceMapping": lambda number: _call(
            "DELETE", f"/2015-03-31/event-source-mappings/{mapped.popleft()}"
        ),
        "UpdateEventSourceMapping": on_one(
            "PUT",
            f"/2015-03-31/event-source-mappings/{ready.mapping}",
            lambda one: {"BatchSize": 1 + int(one[1:]) % 9},
        ),
        "CreateRole": create_role,
    }


def _permission(name: str) -> dict[str, object]:
    return {"StatementId": name, "Action": "lambda:InvokeFunction", "Principal": "s3.amazonaws.com"}


def _layer(name: str) -> dict[str, object]:
    return {"Content": {"ZipFile": _archive(name)}, "CompatibleRuntimes": ["python3.11"]}


def _mapping(name: str) -> dict[str, object]:
    """Switched off: stored and shown, without a poller."""
    source = f"arn:aws:sqs:us-east-1:000000000000:{name}"
    return {"FunctionName": "rest-00000", "EventSourceArn": source, "Enabled": False}


@dataclass(frozen=True, slots=True)
class _Ready:
    """What the operations find."""

    arn: str
    """Of the first function."""
    mapping: str
    """UUID of a mapping."""
    marker: str
    """Of the second page of functions."""


def _prepared(server: Lambent) -> _Ready:
    """A thousand functions; the first has a version, an alias and a policy; a layer, fifty mappings, a role."""
    _fill(server, 0, LISTED)
    client, f = _Client(server), "/2015-03-31/functions/rest-00000"
    client.call("POST", f"{f}/versions", {})
    client.call("POST", f"{f}/aliases", {"Name": "live", "FunctionVersion": "1"})
    client.call("POST", f"{f}/policy", _permission("first"))
    client.call("POST", "/2018-10-31/layers/shared/versions", _layer("first"))
    client.iam("CreateRole", RoleName="bench", AssumeRolePolicyDocument=TRUST)
    mappings = [
        json.loads(client.call("POST", "/2015-03-31/event-source-mappings", _mapping(f"q{number}")))
        for number in range(50)
    ]
    page = json.loads(client.call("GET", "/2015-03-31/functions?MaxItems=50"))
    assert len(page["Functions"]) == 50
    client.close()
    return _Ready(page["Functions"][0]["FunctionArn"], mappings[0]["UUID"], page["NextMarker"])


def operations(rounds: int) -> Comparison:
    """Control operations, one at a time over one connection, among a thousand functions."""
    with lambent() as server:
        ready = _prepared(server)
        arms: dict[str, Callable[[], Measurement]] = {"one SQLite commit": _commit}
        arms |= {name: _arm(server, calls) for name, calls in (_reads(ready) | _writes(ready)).items()}
        return compare(
            "control operations",
            f"one at a time over one connection, among {LISTED:,} functions",
            arms,
            reference="one SQLite commit",
            rounds=rounds,
            pause_s=0.05,
        )


def _arm(server: Lambent, calls: Calls) -> Callable[[], Measurement]:
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
                    spent = cpu_us(server.pids)
                    time.sleep(0.5)
                    return Measurement(
                        {
                            "listening_ms": server.listening_ms,
                            "cpu_ms": spent / 1_000,
                            "memory_mb": rss_kb(server.tree()) / 1_024,
                        }
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
        for key in ("listening_ms", "cpu_ms", "memory_mb"):
            more[f"more_{key}"] = [a - b for a, b in zip(more[key], comparison.arms["none"][key], strict=True)]
    return comparison


def run(rounds: int) -> list[Comparison]:
    """Both."""
    os.sync()
    return [operations(rounds), at_rest(rounds)]
