"""A server that is killed, loses its spawner, or is told to stop: what is answered, what is kept, what is left."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from botocore.exceptions import BotoCoreError, ClientError
from tests.conftest import RunningServer, start_server
from tests.integration.node.node_world import Clients, children, is_alive, left, reports, seen
from tests.soaking.counting import family
from tests.support import PYTHON_RUNTIME, package, unique

SLEEP = """
import os, time
def handler(event, context):
    print("handling", event)
    open("/tmp/scratch", "w").write("x" * 100_000)
    time.sleep(event or 0)
    return event
"""


def create(clients: Clients, code: str = SLEEP, **options: object) -> str:
    """A function that outlives its server."""
    name = unique()
    clients.lambda_.create_function(
        FunctionName=name,
        Runtime=PYTHON_RUNTIME,
        Handler="app.handler",
        Role="arn:aws:iam::000000000000:role/test",
        Code={"ZipFile": package({"app.py": code})},
        **options,
    )
    clients.lambda_.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})
    return name


def busy(server: RunningServer, clients: Clients, name: str, n: int) -> None:
    """Wait until `n` attempts of a function have said that they run; their output is written down after a second."""
    seen(lambda: sum(line.startswith("handling") and line != "handling 0\n" for line in clients.log(name)) >= n)


def command_of(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text().strip()


def assert_ours(error: BaseException | None) -> None:
    """The caller is told that the service failed, not the function."""
    assert isinstance(error, ClientError), error
    assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 500
    assert error.response["Error"]["Code"] == "ServiceException"


def test_a_killed_server_leaves_nothing_behind_and_forgets_nothing(
    own_server: RunningServer, threads: ThreadPoolExecutor
) -> None:
    server = own_server
    with Clients(server) as clients:
        name, other = create(clients, Timeout=60), create(clients, MemorySize=256)
        clients.lambda_.publish_version(FunctionName=name)
        clients.lambda_.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=7)
        tails = [clients.tail(name, 0)[0] for _ in range(5)] + [clients.tail(other, 0)[0]]
        running = [threads.submit(clients.invoke, name, 50) for _ in range(2)]
        busy(server, clients, name, 2)
        helpers = children(server.process.pid)
        assert left(server.data_dir).processes or server.tier == "process"
        os.kill(server.process.pid, signal.SIGKILL)
        assert server.process.wait() == -signal.SIGKILL
        for call in running:
            assert isinstance(call.exception(), BotoCoreError)
    seen(lambda: not left(server.data_dir))
    seen(lambda: not any(map(is_alive, helpers)))

    again = start_server(server.data_dir)
    try:
        with Clients(again) as clients:
            names = {one["FunctionName"] for one in clients.lambda_.list_functions()["Functions"]}
            assert names == {name, other}
            assert len(clients.lambda_.list_versions_by_function(FunctionName=name)["Versions"]) == 2
            concurrency = clients.lambda_.get_function_concurrency(FunctionName=name)
            assert concurrency["ReservedConcurrentExecutions"] == 7
            log = "".join(clients.log(name) + clients.log(other))
            for tail in tails:
                for line in tail.splitlines(keepends=True):
                    assert line in log
            assert clients.invoke(name, 0)[1] == 0
            for function_name, attempts in ((name, 6), (other, 1)):
                billed = reports(clients.log(function_name))
                assert len(billed) == attempts
                row = clients.usage()[function_name]
                assert row["attempts"] == attempts
                assert row["billed_ms"] == sum(ms for _, ms in billed)
    finally:
        assert again.stop() == 0, again.log.read_text()
    assert not left(server.data_dir)


def test_a_server_without_its_spawner_says_so_and_ends(own_server: RunningServer, threads: ThreadPoolExecutor) -> None:
    server = own_server
    if server.tier == "process":
        pytest.skip("the process tier has no spawner")
    with Clients(server) as clients:
        name = create(clients, Timeout=60)
        running = threads.submit(clients.invoke, name, 50)
        busy(server, clients, name, 1)
        spawners = children(server.process.pid)
        assert spawners
        for pid in spawners:
            os.kill(pid, signal.SIGKILL)
        assert server.process.wait(20) == 1
        assert_ours(running.exception())
    assert "the spawner is gone, and with it every sandbox" in server.log.read_text()
    assert "Traceback" not in server.log.read_text()
    seen(lambda: not left(server.data_dir))


def test_a_server_that_starts_at_once_after_a_kill_waits_for_the_last_ones_warden(
    own_server: RunningServer, threads: ThreadPoolExecutor
) -> None:
    """It removes the groups of its life, which have the names of the next one's: whatever is made too early goes with them."""
    server = own_server
    if server.tier == "process":
        pytest.skip("the process tier has no spawner")
    with Clients(server) as clients:
        name = create(clients)
        clients.invoke(name, 0)
    (warden,) = seen(lambda: [pid for pid in family(server.process.pid) if command_of(pid) == "lambent-warden"])
    os.kill(warden, signal.SIGSTOP)
    try:
        server.process.kill()
        server.process.wait()
        starting = threads.submit(start_server, server.data_dir)
        time.sleep(1)  # that it does not start is what is looked at
        assert not starting.done()
    finally:
        os.kill(warden, signal.SIGCONT)
    again = starting.result()
    try:
        seen(lambda: not is_alive(warden))
        with Clients(again) as clients:
            assert clients.invoke(name, 0)[1] == 0
    finally:
        assert again.stop() == 0, again.log.read_text()


def test_a_server_told_to_stop_answers_what_runs_and_refuses_what_comes(
    own_server: RunningServer, threads: ThreadPoolExecutor
) -> None:
    server = own_server
    with Clients(server) as clients:
        name = create(clients, Timeout=60)
        running = [threads.submit(clients.invoke, name, 3) for _ in range(3)]
        busy(server, clients, name, 3)
        server.process.terminate()
        assert [call.result()[1] for call in running] == [3, 3, 3]
        assert server.process.wait(20) == 0
    assert "Traceback" not in server.log.read_text()
    assert not left(server.data_dir)


def test_what_runs_longer_than_the_grace_is_answered_as_a_failure_of_ours(
    base: Path, threads: ThreadPoolExecutor
) -> None:
    server = start_server(base / "data", env={"LAMBENT_DRAIN_S": "0.5"})
    try:
        with Clients(server) as clients:
            name = create(clients, Timeout=60)
            running = threads.submit(clients.invoke, name, 50)
            busy(server, clients, name, 1)
            begin = time.monotonic()
            server.process.terminate()
            assert server.process.wait(20) == 0
            assert time.monotonic() - begin < 20
            assert_ours(running.exception())
    finally:
        server.stop()
    assert "Traceback" not in server.log.read_text()
    assert not left(server.data_dir)
