"""What an idle environment costs the server in descriptors, and that an invocation's bodies die with it."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.conftest import RunningServer
from tests.integration.node.node_world import Clients, seen
from tests.support import function

ENVIRONMENTS = 12
DESCRIPTORS_PER_ENVIRONMENT_MAX = 3
SLEEP = "import time\ndef handler(event, context):\n    time.sleep(event)\n    return event\n"


def descriptors(pid: int) -> list[str]:
    """What the descriptors of a process point at. Kernel files of the usage reader are a cache with a bound of its own."""
    found = []
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = os.readlink(entry)
        except OSError:
            continue
        if not target.startswith("/sys/fs/cgroup"):
            found.append(target)
    return found


def test_an_idle_environment_costs_three_descriptors_at_most(
    plain_server: RunningServer, threads: ThreadPoolExecutor
) -> None:
    pid = plain_server.process.pid
    with Clients(plain_server) as clients:
        with function(clients.lambda_, SLEEP, Timeout=60) as name:
            clients.invoke(name, 0)
            before = len(seen(lambda: settled(pid)))
        with function(clients.lambda_, SLEEP, Timeout=60) as name:
            running = [threads.submit(invoke_once, plain_server, name) for _ in range(ENVIRONMENTS)]
            assert all(call.result() == 3 for call in running)
            after = len(seen(lambda: settled(pid)))
            environments = len(
                clients.logs.describe_log_streams(logGroupName=f"/aws/lambda/{name}", limit=50)["logStreams"]
            )
    assert environments >= ENVIRONMENTS
    assert after - before <= DESCRIPTORS_PER_ENVIRONMENT_MAX * (environments - 1), sorted(descriptors(pid))


def invoke_once(server: RunningServer, name: str) -> object:
    with Clients(server) as clients:
        return clients.invoke(name, 3)[1]


def settled(pid: int) -> list[str]:
    """The descriptors once two looks agree that nothing is being made or torn down."""
    one = descriptors(pid)
    return one if all(descriptors(pid) == one for _ in range(20)) else []
