"""Time-outs, crashes, memory and background work: what survives a reset, what does not, and who pays."""

from __future__ import annotations

import os
import re
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from tests.integration.environments.live_node import LIMITS, LiveNode, live_node, seen
from tests.support import function

from lambent.environments.lifecycle import State

BROKEN = """
import os, signal, subprocess, time, uuid
BORN = str(uuid.uuid4())
def handler(event, context):
    if event == "sleep":
        open("/tmp/kept", "w").write(BORN)
        subprocess.Popen(["/bin/sleep", "4711"])
        subprocess.Popen(["/bin/sleep", "4711"], start_new_session=True)
        time.sleep(60)
    if event == "exit":
        open("/tmp/kept", "w").write(BORN)
        os._exit(3)
    if event == "grow":
        open("/tmp/kept", "w").write(BORN)
        return len(bytearray(600 * 1024 * 1024))
    return [BORN, open("/tmp/kept").read() if os.path.exists("/tmp/kept") else None]
"""


def sleepers(node: LiveNode) -> list[int]:
    """Processes in this node's sandboxes, in any namespace, that sleep for 4,711 seconds."""
    mark = f"lambent-{(node.data_dir / 'instance').read_text().strip()}"
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if (
                entry.name.isdigit()
                and (entry / "cmdline").read_bytes() == b"/bin/sleep\x004711\x00"
                and mark in (entry / "cgroup").read_text()
            ):
                found.append(int(entry.name))
        except OSError:
            continue  # ended meanwhile
    return found


@pytest.mark.parametrize(
    ("event", "error_type"),
    [("sleep", "Sandbox.Timedout"), ("exit", "Runtime.ExitError"), ("grow", "Runtime.OutOfMemory")],
)
def test_a_reset_keeps_tmp_and_the_stream_and_nothing_else(node: LiveNode, event: str, error_type: str) -> None:
    if event == "grow" and node.tier != "container":
        pytest.skip(f"the {node.tier} tier does not enforce memory on this machine")
    with function(node.lambda_, BROKEN, Timeout=4, MemorySize=256) as name, ThreadPoolExecutor(1) as thread:
        first, _ = node.invoke(name)[1]
        breaking = thread.submit(node.tail, name, event)
        if event == "sleep" and node.tier == "container":
            seen(lambda: len(sleepers(node)) == 2)
        broken_tail, broken = breaking.result()
        seen(lambda: [e.state for e in node.environments()] == [State.IDLE])
        tail, (second, kept) = node.tail(name)
        _, (third, _) = node.tail(name)
        log, streams = node.log(name), node.streams(name)
        assert not sleepers(node)
    assert broken["errorType"] == error_type
    assert ("Status: timeout" if event == "sleep" else f"Status: error\tError Type: {error_type}") in broken_tail
    assert kept == first
    assert second == third != first
    assert len(streams) == 1
    assert sum(line.startswith("INIT_START") for line in log) == 1
    assert "Init Duration" not in tail


def test_a_runtime_that_dies_while_idle_is_replaced_within_the_environment(node: LiveNode) -> None:
    code = """
import os, threading, time, uuid
BORN = str(uuid.uuid4())
def handler(event, context):
    if event == "die":
        threading.Timer(0.001, os._exit, (4,)).start()
    return BORN
"""
    with function(node.lambda_, code) as name:
        first = node.invoke(name, "die")[1]
        (environment,) = node.environments()
        seen(lambda: not environment.is_warm and environment.state is State.IDLE)
        answer, second = node.invoke(name)
        assert node.environments() == [environment]
        assert len(node.streams(name)) == 1
    assert "FunctionError" not in answer
    assert second != first


@pytest.mark.parametrize("moment", ["idle", "running"])
def test_a_sandbox_killed_from_outside_is_replaced(node: LiveNode, moment: str) -> None:
    if node.tier == "process":
        pytest.skip("the process tier has no sandbox that could be killed")
    code = "import time\ndef handler(event, context):\n    time.sleep(event)\n    return event\n"
    with function(node.lambda_, code, Timeout=20) as name, ThreadPoolExecutor(1) as thread:
        node.invoke(name, 0)
        (environment,) = node.environments()
        running = thread.submit(node.invoke, name, 10) if moment == "running" else None
        seen(lambda: environment.state is (State.INVOKING if running else State.IDLE))
        first = int(Path(f"/proc/{_runtime_of(node)}/stat").read_text().rpartition(")")[2].split()[1])
        os.kill(first, signal.SIGKILL)
        if running is not None:
            assert running.result()[1]["errorType"] == "Runtime.ExitError"
        # An idle one may be frozen, and then dies (control groups of version 1) when the next invocation thaws it.
        seen(lambda: node.invoke(name, 0)[1] == 0)
        assert environment not in node.environments() or environment.is_warm


def test_background_work_is_frozen_between_invocations_and_goes_on_afterwards(node: LiveNode) -> None:
    if node.tier == "process":
        pytest.skip("the process tier freezes nothing")
    code = """
import threading, time
count, started = 0, []
def work():
    global count
    while True:
        count += 1
        if count % 50 == 0:
            print("background", count, flush=True)
        time.sleep(0.001)
def handler(event, context):
    if not started:
        started.append(threading.Thread(target=work, daemon=True))
        started[0].start()
    if event:
        time.sleep(event)
    return count
"""
    with function(node.lambda_, code) as name:
        node.invoke(name)
        (environment,) = node.environments()
        seen(lambda: environment.is_frozen and environment.runtime.freezing is None)
        runtime = _runtime_of(node)
        before = _switches(runtime)
        time.sleep(0.1)  # the one observable of a frozen process is that nothing happens
        assert _switches(runtime) == before
        first = node.invoke(name, 0.3)[1]
        seen(lambda: environment.is_frozen and environment.runtime.freezing is None)
        assert node.invoke(name)[1] >= first > 50, "the thread goes on while an invocation runs"
        assert any(line.startswith("background") for line in node.log(name))


def test_output_after_the_answer_appears_in_the_stream_but_in_no_attempt() -> None:
    code = """
import threading
def handler(event, context):
    if event == "late":
        threading.Timer(0.05, print, ("late words",), {"flush": True}).start()
"""
    with live_node(replace(LIMITS, is_frozen_when_idle=False)) as node, function(node.lambda_, code) as name:
        first, _ = node.tail(name, "late")
        seen(lambda: "late words\n" in node.log(name))
        second, _ = node.tail(name)
        log = node.log(name)
    assert "late words" not in first + second
    kinds = [re.match(r"[A-Z_]+|late words", line)[0] for line in log]  # type: ignore[index]
    assert kinds == ["INIT_START", "START", "END", "REPORT", "late words", "START", "END", "REPORT"]


def test_a_runtime_that_answers_and_never_asks_again_is_replaced_at_its_deadline(node: LiveNode) -> None:
    code = """#!/usr/bin/python3
import os, time, urllib.request
api = "http://" + os.environ["AWS_LAMBDA_RUNTIME_API"] + "/2018-06-01/runtime/invocation/"
while True:
    with urllib.request.urlopen(api + "next") as event:
        request_id, body = event.headers["Lambda-Runtime-Aws-Request-Id"], event.read()
    urllib.request.urlopen(urllib.request.Request(api + request_id + "/response", body, method="POST")).close()
    if body == b'"hang"':
        time.sleep(60)
"""
    # It is started again within an invocation's time: a second is short for that where a processor is shared by many.
    with function(node.lambda_, code, runtime="provided.al2023", handler="any", Timeout=4, MemorySize=1_769) as name:
        assert node.invoke(name, "hang")[1] == "hang"
        (environment,) = node.environments()
        assert environment.state is State.INVOKING
        seen(lambda: environment.state is State.IDLE)
        assert node.invoke(name, "again")[1] == "again"
        assert node.environments() == [environment]


def _runtime_of(node: LiveNode) -> int:
    """The host's pid of the one Python that runs in a sandbox of this node."""
    mark = f"lambent-{(node.data_dir / 'instance').read_text().strip()}"
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if (
                entry.name.isdigit()
                and mark in (entry / "cgroup").read_text()
                and b"_LAMBENT_CHANNEL=" in (entry / "environ").read_bytes()
            ):
                found.append(int(entry.name))
        except OSError:
            continue  # ended meanwhile
    if not found:
        pytest.skip("this tier has no cgroups here, by which its processes could be told from others")
    assert len(found) == 1
    return found[0]


def _switches(pid: int) -> list[str]:
    return [
        line
        for task in sorted(Path(f"/proc/{pid}/task").iterdir())
        for line in (task / "status").read_text().splitlines()
        if "ctxt_switches" in line
    ]
