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
    if isinstance(event, dict):
        time.sleep(event["wait_s"])
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


def at_work(counted: Counter[str]) -> list[int]:
    return [counted[one] for one in ("Work", "Invocation")]


@pytest.mark.parametrize("log_type", ["None", "Tail"])
def test_no_invocation_leaves_a_cycle_behind(node: LiveNode, without_collector: None, log_type: str) -> None:
    body = json.dumps("x" * BODY_BYTES).encode()
    with function(node.lambda_, ECHO, Timeout=20) as name:
        node.invoke(name)
        seen(lambda: at_work(living()) == [0, 0])  # what is answered is let go a moment after its answer
        before = living()
        for payload in (body, b'"small"', b'"fail"', body):
            answer = node.lambda_.invoke(FunctionName=name, Payload=payload, LogType=log_type)
            assert len(answer["Payload"].read()) > 5
        seen(lambda: living() <= before)
        with ThreadPoolExecutor(1) as thread:
            for wait_s in (1, 4, 16):  # one look takes seconds where other work has the processors
                running = thread.submit(node.invoke, name, {"wait_s": wait_s})
                found = False
                while not (found or running.done()):
                    found = at_work(living()) == [1, 1]
                assert running.result()[1] == {"wait_s": wait_s}
                if found:
                    break
            assert found, "what this test counts could not be counted"
        seen(lambda: living() <= before)
