"""A machine that has no process id left: what can't be started is refused with the reason, what runs goes on, and room heals.

The ids are those of a control group that the test makes around the server: the kernel refuses a process there as it does where
the whole machine has none left, with EAGAIN.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.conftest import RunningServer, start_server
from tests.integration.node.node_world import Clients, children, left, place, seen
from tests.support import PYTHON_RUNTIME, ROLE, function, package

ECHO = "def handler(event, context):\n    return event\n"
FORKS = """
import subprocess
def handler(event, context):
    return subprocess.run(["/bin/echo", "well"], capture_output=True, text=True).stdout
"""
PLACES = (Path("/sys/fs/cgroup/pids"), Path("/sys/fs/cgroup"))


@pytest.fixture(scope="module")
def group() -> Iterator[Path]:
    """A control group that counts processes."""
    if os.geteuid() != 0:
        pytest.skip("only root can make a control group")
    for hierarchy in PLACES:
        made = hierarchy / f"lambent-test-{uuid.uuid4().hex[:8]}"
        try:
            made.mkdir()
        except OSError:
            continue
        if (made / "pids.max").exists():
            break
        made.rmdir()
    else:
        pytest.skip("no hierarchy of control groups counts processes here")
    try:
        yield made
    finally:
        seen(lambda: not (made / "cgroup.procs").read_text())
        for folder, _, _ in os.walk(made, topdown=False):
            Path(folder).rmdir()


@pytest.fixture(scope="module")
def enclosed(group: Path) -> Iterator[RunningServer]:
    """A server whose processes, and whose sandboxes', are in the group."""
    enter = ("sh", "-c", f'echo 0 > {group}/cgroup.procs && exec "$@"', "sh")
    with place() as base:
        server = start_server(base / "data", "--set", "sandbox.blanks=0", within=enter)
        yield server
        assert server.stop() == 0, server.log.read_text()
        assert "Traceback" not in server.log.read_text()
        assert not left(server.data_dir)


@contextmanager
def exhausted(group: Path) -> Iterator[None]:
    """No further process or thread in the group for the length of the block."""
    (group / "pids.max").write_text((group / "pids.current").read_text())
    try:
        yield
    finally:
        (group / "pids.max").write_text("max")


def ended(call: Callable[[], Any]) -> dict[str, Any] | None:
    """The refusal that a call ended in, or None."""
    try:
        call()
    except ClientError as error:
        return dict(error.response)
    return None


def assert_ours(refusal: dict[str, Any] | None) -> str:
    """The caller is told that the service failed; answers the words."""
    assert refusal is not None
    assert refusal["ResponseMetadata"]["HTTPStatusCode"] == 500, refusal
    assert refusal["Error"]["Code"] == "ServiceException", refusal
    return str(refusal["Error"]["Message"])


def test_without_a_process_id_what_cannot_start_says_why_and_what_runs_goes_on(
    enclosed: RunningServer, group: Path
) -> None:
    with (
        Clients(enclosed) as clients,
        function(clients.lambda_, ECHO, Timeout=30) as warm,
        function(clients.lambda_, ECHO, Timeout=30) as cold,
        function(clients.lambda_, FORKS, Timeout=30) as forks,
    ):
        assert clients.invoke(warm, 1)[1] == 1
        assert clients.invoke(forks, 1)[1] == "well\n"
        spawner = children(enclosed.process.pid)
        with exhausted(group):
            assert "Resource temporarily unavailable" in assert_ours(ended(lambda: clients.invoke(cold, 2)))
            assert [clients.invoke(warm, number)[1] for number in range(5)] == list(range(5))
            answer, document = clients.invoke(forks, 1)
            assert answer["FunctionError"] == "Unhandled"
            assert document["errorType"] == "BlockingIOError", "the function's own, and it may handle it"
            assert clients.lambda_.get_function(FunctionName=cold)["Configuration"]["State"] == "Active"
        assert clients.invoke(cold, 3)[1] == 3
        assert clients.invoke(forks, 1)[1] == "well\n"
        assert children(enclosed.process.pid) == spawner


def test_changes_without_a_process_id_are_made_or_refused_as_ours(enclosed: RunningServer, group: Path) -> None:
    with Clients(enclosed) as clients, function(clients.lambda_, ECHO) as name:
        with exhausted(group):
            made = []
            for number in range(3):
                document = {
                    "FunctionName": f"{name}-{number}",
                    "Runtime": PYTHON_RUNTIME,
                    "Handler": "app.handler",
                    "Role": ROLE,
                    "Code": {"ZipFile": package({"app.py": ECHO + f"# {number}\n"})},
                }
                refusal = ended(lambda document=document: clients.lambda_.create_function(**document))
                if refusal is None:
                    made.append(document["FunctionName"])
                else:
                    assert_ours(refusal)
            clients.lambda_.update_function_configuration(FunctionName=name, Description="changed")
        for function_name in made:
            seen(
                lambda function_name=function_name: (
                    clients.lambda_.get_function_configuration(FunctionName=function_name)["State"] != "Pending"
                )
            )
            clients.lambda_.delete_function(FunctionName=function_name)
        assert clients.invoke(name, 1)[1] == 1


def test_events_that_find_no_process_id_wait_for_one(enclosed: RunningServer, group: Path) -> None:
    code = "def handler(event, context):\n    print('RAN', event, flush=True)\n"
    with Clients(enclosed) as clients, function(clients.lambda_, code, Timeout=30) as name:
        with exhausted(group):
            for number in range(3):
                clients.event(name, number)
            time.sleep(0.5)  # so that attempts are made in vain; the test holds without it
        ran = seen(lambda: lines if len(lines := {one for one in clients.log(name) if one[:3] == "RAN"}) == 3 else None)
        assert ran == {f"RAN {number}\n" for number in range(3)}
