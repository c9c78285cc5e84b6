"""The tiers below the best one, on a server that an ordinary user started: the same answers, and what is refused."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import ROOT, RunningServer
from tests.integration.node.node_world import Clients, is_alive, left, seen
from tests.support import PYTHON_RUNTIME, function, package

NOBODY = 65_534
FEW_DESCRIPTORS = 110
SUBORDINATE = "nobody:1700000000:65536\n"
WITH_SUBORDINATE = """
mount --bind "$1" /etc/subuid && mount --bind "$1" /etc/subgid && shift || exit 9
exec setpriv --reuid 65534 --regid 65534 --clear-groups "$@"
"""
CODE = """
import os, time
def handler(event, context):
    print("handling", event)
    if event == "sleep":
        time.sleep(60)
    if event == "fail":
        raise ValueError("as asked")
    if event == "exit":
        os._exit(3)
    return {"event": event, "uid": os.getuid(), "pid": os.getpid()}
"""


@contextmanager
def ordinary_server(
    base: Path, *arguments: str, descriptors: int | None = None, has_subordinate: bool = False
) -> Iterator[RunningServer]:
    """`lambent up` by a user without privilege: ourselves, or nobody where we are root; with so few descriptors.

    has_subordinate: with user ids at its disposal (/etc/subuid), as distributions give them to people."""
    data, ready, log = base / "data", base / "ready", base / "log"
    data.mkdir()
    if os.geteuid() == 0:
        os.chown(base, NOBODY, NOBODY)
        os.chown(data, NOBODY, NOBODY)
    who: dict[str, Any] = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "LAMBENT_"))}
    environment |= {"PYTHONPATH": str(ROOT / "src"), "HOME": "/nonexistent"}
    command = [
        sys.executable,
        "-m",
        "lambent",
        "up",
        "--port",
        "0",
        "--data-dir",
        str(data),
        "--ready-file",
        str(ready),
    ]
    if descriptors is not None:
        command = ["sh", "-c", f'ulimit -n {descriptors} && exec "$@"', "sh", *command]
    if has_subordinate:
        (base / "subordinate").write_text(SUBORDINATE)
        wrap = ["unshare", "--mount", "--propagation", "private", "sh", "-c", WITH_SUBORDINATE, "sh"]
        command, who = [*wrap, str(base / "subordinate"), *command], {}
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*command, *arguments], stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=environment, cwd="/", **who
        )
    try:
        seen(lambda: process.poll() is not None or (ready.exists() and ready.stat().st_size))
        if process.poll() is not None:
            text = log.read_text()
            if "tier was tried and refused" in text and not has_subordinate:
                pytest.skip(text.strip())
            raise AssertionError(text)
        facts = json.loads(ready.read_text())
        server = RunningServer(facts["endpoint"], data, process, log, facts["tier"])
        yield server
        if process.poll() is None:
            assert server.stop() == 0, log.read_text()
        assert "Traceback" not in log.read_text()
        assert not left(data)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


@pytest.mark.parametrize("tier", ["rootless", "process"])
def test_an_ordinary_users_server_answers_like_any_other(base: Path, tier: str) -> None:
    with (
        ordinary_server(base, "--tier", tier) as server,
        Clients(server) as clients,
        function(clients.lambda_, CODE, Timeout=4) as name,
    ):
        assert server.tier == tier
        tail, first = clients.tail(name, "hello")
        assert first["event"] == "hello"
        assert first["uid"] != 0
        assert tail.startswith("START RequestId: ")
        assert "handling hello\n" in tail
        assert "Init Duration" in tail
        assert clients.invoke(name, "again")[1] == first | {"event": "again"}
        answer, body = clients.invoke(name, "fail")
        assert answer["FunctionError"] == "Unhandled"
        assert body["errorType"] == "ValueError"
        assert body["stackTrace"][0].partition("app.py")[2].startswith('", line 8, in handler')
        _, body = clients.invoke(name, "sleep")
        assert body["errorMessage"].endswith("Error: Task timed out after 4.00 seconds")
        _, body = clients.invoke(name, "exit")
        assert body["errorMessage"].endswith("Error: Runtime exited with error: exit status 3")
        assert clients.invoke(name, "alive")[1]["event"] == "alive"


def test_a_user_with_subordinate_ids_is_isolated_like_any_other(base: Path) -> None:
    """As people's users are set up. Each sandbox then has ids of its own, which the spawner maps and is not."""
    if os.geteuid() != 0 or not (shutil.which("newuidmap") and shutil.which("unshare")):
        pytest.skip("takes root, to be a user with subordinate ids, and newuidmap (apt-get install uidmap)")
    with (
        ordinary_server(base, "--tier", "rootless", has_subordinate=True) as server,
        Clients(server) as clients,
        function(clients.lambda_, CODE) as name,
        function(clients.lambda_, CODE) as other,
    ):
        assert server.tier == "rootless"
        assert clients.invoke(name, 1)[1]["event"] == 1
        assert clients.invoke(other, 2)[1]["event"] == 2
        owners = {os.stat(f"/proc/{pid}").st_uid for pid in descendants(server.process.pid)}
        assert len({owner for owner in owners if owner >= 1_700_000_000}) >= 2


def descendants(pid: int) -> list[int]:
    children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return [pid, *(one for child in children for one in descendants(child))]


def test_a_forced_process_tier_serves_every_account(base: Path) -> None:
    with (
        ordinary_server(base, "--tier", "process") as server,
        Clients(server) as clients,
        Clients(server, account="111122223333") as others,
        function(clients.lambda_, CODE) as name,
        function(others.lambda_, CODE) as theirs,
    ):
        assert clients.invoke(name, 1)[1]["event"] == 1
        assert others.invoke(theirs, 2)[1]["event"] == 2


def test_a_killed_server_of_the_process_tier_leaves_no_process(base: Path) -> None:
    with ordinary_server(base, "--tier", "process") as server:
        with Clients(server) as clients:
            name = "killed"
            clients.lambda_.create_function(
                FunctionName=name,
                Runtime=PYTHON_RUNTIME,
                Handler="app.handler",
                Role="arn:aws:iam::000000000000:role/test",
                Timeout=20,
                Code={"ZipFile": package({"app.py": CODE})},
            )
            clients.lambda_.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})
            pid = clients.invoke(name, 1)[1]["pid"]
        assert is_alive(pid)
        server.process.kill()
        server.process.wait()
        seen(lambda: not is_alive(pid))


def test_starts_that_fail_at_once_close_nobody_elses_descriptors(base: Path) -> None:
    """A hard limit of descriptors below what a sandbox is promised lets no runtime start: each fails within one turn of
    the server's loop, while the channel to it is still being made."""
    with (
        ordinary_server(base, descriptors=FEW_DESCRIPTORS) as server,
        Clients(server, max_pool_connections=64) as clients,
        function(clients.lambda_, CODE, Timeout=30) as first,
        function(clients.lambda_, CODE, Timeout=30) as second,
        ThreadPoolExecutor(10) as threads,
    ):
        if server.tier == "process":
            pytest.skip("the process tier limits descriptors within the program that it starts")
        for name in (first, second, first):
            calls = [threads.submit(clients.invoke, name, "x") for _ in range(60)]
            assert {call.result()[1]["errorType"] for call in calls} == {"Runtime.InvalidEntrypoint"}
        log = server.log.read_text()
        assert "Too many open files" not in log
        assert "Bad file descriptor" not in log
