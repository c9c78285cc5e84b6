"""Asynchronous invocation on a running server: accepted, run, retried, discarded, and kept through a SIGKILL."""

from __future__ import annotations

import os
import re
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.conftest import RunningServer, start_server
from tests.integration.node.node_world import Clients, queued, reports, seen
from tests.support import PYTHON_RUNTIME, function, package, unique

EVENT = """
import time
def handler(event, context):
    print("handling", event, flush=True)
    if event == "fail":
        raise ValueError("as asked")
    if event == "long":
        time.sleep(40)
    return event
"""


def test_an_event_is_accepted_and_runs_and_its_log_shows_it(server: RunningServer) -> None:
    with Clients(server) as clients, function(clients.lambda_, EVENT) as name:
        request_id = clients.event(name, {"n": 1})
        (reported,) = seen(lambda: reports(clients.log(name)))
        assert reported[0] == request_id
        assert "handling {'n': 1}\n" in clients.log(name)


def test_a_function_switched_off_accepts_and_discards(server: RunningServer) -> None:
    with Clients(server) as clients, function(clients.lambda_, EVENT) as name:
        clients.lambda_.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
        request_id = clients.event(name, "never")
        (line,) = seen(lambda: clients.log(name))
    assert line == (
        f"event {request_id} discarded after 0 attempts (ZeroReservedConcurrency): no destination is configured\n"
    )


def test_a_function_error_schedules_a_retry_a_minute_later(own_server: RunningServer) -> None:
    with Clients(own_server) as clients, function(clients.lambda_, EVENT) as name:
        request_id = clients.event(name, "fail")
        (event,) = seen(lambda: [e for e in queued(own_server.data_dir) if e["attempt"] == 1])
        assert event["request_id"] == request_id
        assert event["reason"] == "Unhandled"
        assert 60_000 <= event["due_ms"] - event["accepted_ms"] < 75_000
        (reported,) = reports(clients.log(name))
        assert reported[0] == request_id


def test_what_was_accepted_runs_after_a_kill_with_the_same_request_id(
    own_server: RunningServer, threads: ThreadPoolExecutor
) -> None:
    server = own_server
    with Clients(server) as clients:
        name = unique()
        clients.lambda_.create_function(
            FunctionName=name,
            Runtime=PYTHON_RUNTIME,
            Handler="app.handler",
            Role="arn:aws:iam::000000000000:role/test",
            Code={"ZipFile": package({"app.py": EVENT})},
            Timeout=60,
        )
        clients.lambda_.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})
        clients.lambda_.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=1)
        blocking = threads.submit(clients.invoke, name, "long")
        seen(lambda: "handling long\n" in clients.log(name))
        waiting = [clients.event(name, number) for number in range(3)]
        os.kill(server.process.pid, signal.SIGKILL)
        server.process.wait()
        assert blocking.exception() is not None
    again = start_server(server.data_dir)
    try:
        with Clients(again) as clients:
            seen(lambda: len(reports(clients.log(name))) == 3)
            assert {request_id for request_id, _ in reports(clients.log(name))} == set(waiting)
            handled = [line for line in clients.log(name) if re.fullmatch(r"handling \d\n", line)]
            assert sorted(handled) == ["handling 0\n", "handling 1\n", "handling 2\n"]
            seen(lambda: not queued(again.data_dir))
    finally:
        assert again.stop() == 0, again.log.read_text()


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_an_event_that_was_running_when_the_server_ended_runs_again(base: Path, end: signal.Signals) -> None:
    code = """
import os, time
def handler(event, context):
    print("handling", context.aws_request_id, flush=True)
    if os.environ.get("SLOW"):
        time.sleep(40)
"""
    server = start_server(base / "data", env={"LAMBENT_DRAIN_S": "0.2"})
    with Clients(server) as clients:
        name = unique()
        clients.lambda_.create_function(
            FunctionName=name,
            Runtime=PYTHON_RUNTIME,
            Handler="app.handler",
            Role="arn:aws:iam::000000000000:role/test",
            Code={"ZipFile": package({"app.py": code})},
            Timeout=60,
            Environment={"Variables": {"SLOW": "1"}},
        )
        clients.lambda_.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})
        request_id = clients.event(name)
        seen(lambda: f"handling {request_id}\n" in clients.log(name))
        clients.lambda_.update_function_configuration(FunctionName=name, Environment={"Variables": {}})
        clients.lambda_.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})
        os.kill(server.process.pid, end)
        assert server.process.wait(20) == (0 if end is signal.SIGTERM else -end), server.log.read_text()
    again = start_server(server.data_dir)
    try:
        with Clients(again) as clients:
            assert seen(lambda: reports(clients.log(name)))[0][0] == request_id
            assert clients.log(name).count(f"handling {request_id}\n") == 2
    finally:
        assert again.stop() == 0, again.log.read_text()
