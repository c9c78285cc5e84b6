"""Each rule of concurrency and scaling on a running server, with the reason that its callers read.

Rates are told from the time that passed: so many at once and so many each second, never more. The rules themselves are
compared with a second writing of them in `tests/simulation/test_scaling_rules.py`.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import pytest
from tests.conftest import RunningServer, start_server
from tests.integration.hostile.hostile_world import AUTHORIZATION
from tests.integration.node.node_world import Clients, place, seen
from tests.integration.node.test_bursts import bodies, burst, reasons, target
from tests.support import function

ACCOUNT = 110
"""The least that leaves ten to reserve: a hundred stay unreserved."""
HELD_S = 8.0
"""Long enough for the server to have read two thousand requests."""
ECHO = "import os\ndef handler(event, context):\n    return os.environ['AWS_LAMBDA_INITIALIZATION_TYPE']\n"
UNTIL = """
import time
def handler(event, context):
    time.sleep(max(0.0, event["until"] - time.time()))
    return event["n"]
"""


@pytest.fixture(scope="module")
def small() -> Iterator[RunningServer]:
    """A server whose accounts have little concurrency, and with it a low request rate."""
    with place() as base:
        running = start_server(base / "data", "--set", f"limits.account_concurrency={ACCOUNT}")
        yield running
        assert running.stop() == 0, running.log.read_text()[-4_000:]


@pytest.fixture
def clients(small: RunningServer) -> Iterator[Clients]:
    with Clients(small) as made:
        yield made


class Caller:
    """One connection, one call after another: never two at once, so that no concurrency is exceeded."""

    def __init__(self, server: RunningServer, path: str) -> None:
        parts = urlsplit(server.url)
        self._connection = HTTPConnection(str(parts.hostname), parts.port, timeout=30)
        self._path = path
        self.answers: Counter[str] = Counter()
        self.elapsed_s = 0.0

    def call(self, calls: int) -> None:
        began = time.monotonic()
        for _ in range(calls):
            self._connection.request("POST", self._path, b"{}", {"Authorization": AUTHORIZATION})
            answer = self._connection.getresponse()
            document = json.loads(answer.read())
            self.answers[document if answer.status == 200 else document["Reason"]] += 1
        self.elapsed_s += time.monotonic() - began

    def close(self) -> None:
        self._connection.close()


def called(server: RunningServer, path: str, calls: int) -> Caller:
    caller = Caller(server, path)
    try:
        caller.call(calls)
    finally:
        caller.close()
    return caller


def within(found: int, at_once: int, per_s: int, elapsed_s: float) -> bool:
    """At least the full bucket, at most what came in meanwhile besides."""
    return at_once <= found <= at_once + per_s * elapsed_s + 1


def test_the_accounts_request_rate(small: RunningServer, clients: Clients) -> None:
    with function(clients.lambda_, ECHO) as name:
        rate = 10 * ACCOUNT
        caller = called(small, f"/2015-03-31/functions/{name}/invocations", 4 * rate)
        assert set(caller.answers) <= {"on-demand", "CallerRateLimitExceeded"}
        assert within(caller.answers["on-demand"], rate, rate, caller.elapsed_s)


def test_a_reserved_functions_request_rate(small: RunningServer, clients: Clients) -> None:
    with function(clients.lambda_, ECHO) as name:
        clients.lambda_.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=1)
        caller = called(small, f"/2015-03-31/functions/{name}/invocations", 200)
        assert set(caller.answers) == {"on-demand", "ReservedFunctionInvocationRateLimitExceeded"}
        assert within(caller.answers["on-demand"], 10, 10, caller.elapsed_s)


def test_what_exceeds_the_rate_of_provisioned_environments_runs_on_demand(
    small: RunningServer, clients: Clients
) -> None:
    with function(clients.lambda_, ECHO) as name:
        version = clients.lambda_.publish_version(FunctionName=name)["Version"]
        clients.lambda_.put_provisioned_concurrency_config(
            FunctionName=name, Qualifier=version, ProvisionedConcurrentExecutions=1
        )
        seen(
            lambda: (
                clients.lambda_.get_provisioned_concurrency_config(FunctionName=name, Qualifier=version)["Status"]
                == "READY"
            )
        )
        caller = called(small, f"/2015-03-31/functions/{name}/invocations?Qualifier={version}", 200)
        assert set(caller.answers) == {"provisioned-concurrency", "on-demand"}
        assert within(caller.answers["provisioned-concurrency"], 10, 10, caller.elapsed_s)


def test_a_reserved_share_admits_so_many_and_an_account_the_rest(small: RunningServer, clients: Clients) -> None:
    with (
        function(clients.lambda_, UNTIL, Timeout=60, MemorySize=128) as reserved,
        function(clients.lambda_, UNTIL, Timeout=60, MemorySize=128) as other,
    ):
        clients.lambda_.put_function_concurrency(FunctionName=reserved, ReservedConcurrentExecutions=10)
        until = time.time() + 4.0
        mine = [target(small, reserved, n=number, until=until) for number in range(15)]
        others = [target(small, other, n=number, until=until) for number in range(105)]
        answers = burst(mine + others)
        assert reasons(answers[:15]) == {"ReservedFunctionConcurrentInvocationLimitExceeded": 5}
        assert reasons(answers[15:]) == {"ConcurrentInvocationLimitExceeded": 5}


def test_a_thousand_new_environments_at_once_and_a_hundred_a_second() -> None:
    with place() as base:
        server = start_server(base / "data", "--set", "limits.account_concurrency=5000")
        with Clients(server) as clients, function(clients.lambda_, UNTIL, Timeout=120, MemorySize=128) as name:
            until = time.time() + HELD_S
            answers = burst([target(server, name, n=number, until=until) for number in range(2_000)])
            found = bodies(answers)
            assert len(set(found)) == len(found), "none twice"
            assert set(reasons(answers)) == {"FunctionInvocationRateLimitExceeded"}
            served = [answer for answer in answers if answer.status == 200]
            # Until the first of them ends nobody finds an idle environment: each has cost one of the rate.
            free_s = min(answer.answered_s for answer in served) - min(answer.sent_s for answer in answers)
            assert within(len(served), 1_000, 100, free_s)
            assert clients.usage()[name]["attempts"] == len(served)
        assert server.stop() == 0, server.log.read_text()[-4_000:]


def test_events_that_are_throttled_wait_and_run(small: RunningServer, clients: Clients) -> None:
    code = "def handler(event, context):\n    print('RAN', event, flush=True)\n"
    with function(clients.lambda_, code) as name:
        clients.lambda_.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=1)
        for number in range(20):
            clients.event(name, number)
        ran: Any = seen(lambda: lines if len(lines := set(logged(clients, name))) == 20 else None, 60.0)
        assert ran == {f"RAN {number}\n" for number in range(20)}


def logged(clients: Clients, name: str) -> list[str]:
    return [line for line in clients.log(name) if line.startswith("RAN")]
