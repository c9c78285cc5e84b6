"""Nothing of an invocation outlives it: bodies die by reference counting, without the garbage collector's help."""

from __future__ import annotations

import gc
import json
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.integration.environments.live_node import LiveNode, seen
from tests.support import function

from lambent.environments.channel import RuntimeEvent
from lambent.environments.work import Result, Work
from lambent.http import Exchange, Request
from lambent.invocations.service import Invocation
from lambent.telemetry.attempt import Attempt

KINDS = (Invocation, Work, Result, RuntimeEvent, Attempt, Exchange, Request)
BODY_BYTES = 5_000_000
ECHO = """
import time
def handler(event, context):
    if event == "fail":
        raise ValueError("as asked")
    if event == "wait":
        time.sleep(1)
    return event
"""


@pytest.fixture
def without_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def living() -> Counter[str]:
    return Counter(type(one).__name__ for one in gc.get_objects() if isinstance(one, KINDS))


@pytest.mark.parametrize("log_type", ["None", "Tail"])
def test_no_invocation_leaves_a_cycle_behind(node: LiveNode, without_collector: None, log_type: str) -> None:
    body = json.dumps("x" * BODY_BYTES).encode()
    with function(node.lambda_, ECHO, Timeout=20) as name:
        node.invoke(name)
        before = living()
        for payload in (body, b'"small"', b'"fail"', body):
            answer = node.lambda_.invoke(FunctionName=name, Payload=payload, LogType=log_type)
            assert len(answer["Payload"].read()) > 5
        seen(lambda: living() <= before)
        with ThreadPoolExecutor(1) as thread:
            running = thread.submit(node.invoke, name, "wait")
            seen(lambda: living()["Work"] == living()["Invocation"] == 1)  # what this test counts can be counted
            assert running.result()[1] == "wait"
        seen(lambda: living() <= before)
