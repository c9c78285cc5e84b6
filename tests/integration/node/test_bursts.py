"""Bursts against a running server: everybody is answered, nobody twice, and throttled is who the limits say.

No time decides here; how long a burst may take, and what warm callers notice of it, is `python -m bench burst`.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from bench.clients import Target
from bench.crowd import Answer, at_once
from bench.load import COUNTING, open_loop
from tests.conftest import RunningServer, start_server
from tests.integration.node.node_world import Clients, place, seen
from tests.support import function

ACCOUNT = 1_000
BESIDE = 50
SLEEPER = """
import time
COUNT = 0
def handler(event, context):
    global COUNT
    COUNT += 1
    time.sleep(max(0.0, event.get("until", 0) - time.time()))
    return [event["n"], COUNT, context.log_stream_name]
"""


@pytest.fixture(scope="module")
def bursting() -> Iterator[RunningServer]:
    """A server with the published limit of an account."""
    with place() as base:
        running = start_server(base / "data")
        yield running
        assert running.stop() == 0, running.log.read_text()[-4_000:]
        assert [line for line in running.log.read_text().splitlines() if line.startswith(("E ", "Traceback"))] == []


@pytest.fixture
def clients(bursting: RunningServer) -> Iterator[Clients]:
    with Clients(bursting) as made:
        yield made


def target(server: RunningServer, name: str, **event: Any) -> tuple[Target, bytes]:
    parts = urlsplit(server.url)
    assert parts.hostname is not None
    assert parts.port is not None
    where = Target(parts.hostname, parts.port, f"/2015-03-31/functions/{name}/invocations")
    return where, replace(where, body=json.dumps(event).encode()).request()


def burst(requests: list[tuple[Target, bytes]]) -> list[Answer]:
    answers = asyncio.run(at_once(requests))
    assert len(answers) == len(requests)
    return answers


def bodies(answers: list[Answer]) -> list[Any]:
    return [json.loads(answer.body) for answer in answers if answer.status == 200]


def reasons(answers: list[Answer]) -> Counter[str]:
    refused = [answer for answer in answers if answer.status != 200]
    assert {answer.status for answer in refused} <= {429}, refused[:3]
    return Counter(json.loads(answer.body)["Reason"] for answer in refused)


def each_once(found: list[Any], numbers: Any) -> None:
    """Everybody has an answer of its own, and each environment ran one invocation after another."""
    assert [number for number, _, _ in found] == list(numbers)
    runs: dict[str, list[int]] = {}
    for _, count, stream in found:
        runs.setdefault(stream, []).append(count)
    for counts in runs.values():
        assert sorted(counts) == list(range(1, len(counts) + 1)), "an attempt that nobody was answered"


def attempts(clients: Clients, name: str) -> int:
    return int(clients.usage()[name]["attempts"])


def test_two_hundred_first_calls_at_once(bursting: RunningServer, clients: Clients) -> None:
    with function(clients.lambda_, SLEEPER, Timeout=60, MemorySize=128) as name:
        answers = burst([target(bursting, name, n=number) for number in range(200)])
        assert reasons(answers) == {}
        each_once(bodies(answers), range(200))
        assert attempts(clients, name) == 200


def test_ten_functions_mixed(bursting: RunningServer, clients: Clients) -> None:
    with ExitStack() as stack:
        names = [stack.enter_context(function(clients.lambda_, SLEEPER, Timeout=60, MemorySize=128)) for _ in range(10)]
        until = time.time() + 1.0
        answers = burst([target(bursting, names[n % 10], n=n, until=until * (n % 3 == 0)) for n in range(200)])
        assert reasons(answers) == {}
        found = bodies(answers)
        for number, name in enumerate(names):
            each_once(found[number::10], range(number, 200, 10))
            assert attempts(clients, name) == 20


def test_a_thousand_sleep_at_once_and_whoever_exceeds_the_account_is_throttled(
    bursting: RunningServer, clients: Clients
) -> None:
    """All begin before the first ends, or wait for an environment: either way they are in progress."""
    available_kb = next(
        int(line.split()[1])
        for line in Path("/proc/meminfo").read_text().splitlines()
        if line.startswith("MemAvailable")
    )
    if available_kb < 7_000_000:
        pytest.skip(f"a thousand environments take up to 6 GB, and {available_kb // 1_024} MB are free")
    with (
        function(clients.lambda_, SLEEPER, Timeout=120, MemorySize=128) as name,
        function(clients.lambda_, SLEEPER, Timeout=120, MemorySize=128) as other,
    ):
        until = time.time() + 12.0
        requests = [target(bursting, name, n=number, until=until) for number in range(ACCOUNT)]
        requests += [target(bursting, other, n=number, until=until) for number in range(BESIDE)]
        answers = burst(requests)
        assert reasons(answers) == {"ConcurrentInvocationLimitExceeded": BESIDE}
        # Which ones are refused is the order of arrival, and connections have none among each other.
        first, second = answers[:ACCOUNT], answers[ACCOUNT:]
        for name_, part in ((name, first), (other, second)):
            served = [number for number, answer in enumerate(part) if answer.status == 200]
            each_once(bodies(part), served)
            if served:
                assert attempts(clients, name_) == len(served)
    seen(lambda: health(bursting)["in_flight"] == 0)


def health(server: RunningServer) -> dict[str, Any]:
    with urllib.request.urlopen(f"{server.url}/_lambent/health", timeout=10) as answer:
        found: dict[str, Any] = json.load(answer)
        return found


@pytest.mark.skipif(shutil.which("cc") is None, reason="its client is compiled: apt-get install gcc libc6-dev")
def test_open_loop_load_over_ten_functions_loses_nothing_and_runs_nothing_twice(
    bursting: RunningServer, clients: Clients
) -> None:
    """Requests come when they are due, whoever is late; each names itself, and functions count what they run."""
    with ExitStack() as stack:
        names = [stack.enter_context(function(clients.lambda_, COUNTING, Timeout=60)) for _ in range(10)]
        targets = [target(bursting, name)[0] for name in names]
        load = open_loop(targets, 100.0, 6.0, is_counted=True)
        assert load.wrong == []
        assert (load.lost(), load.twice()) == (0, 0)
        assert load.ids == set(range(load.sent))
        assert sum(attempts(clients, name) for name in names) == load.sent
