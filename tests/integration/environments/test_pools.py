"""Who gets which environment: room on a full node, retirement, change while work is in flight, concurrency."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.integration.environments.live_node import LIMITS, LiveNode, live_node, seen
from tests.support import function, package

from lambent.environments.keepalive import QUICK_S
from lambent.environments.lifecycle import State

SLEEP = "import time\ndef handler(event, context):\n    time.sleep(event)\n    return event\n"


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(32) as pool:
        yield pool


def states(node: LiveNode) -> list[State]:
    return sorted((e.state for e in node.environments()), key=lambda state: state.value)


def invoking(node: LiveNode, n: int) -> None:
    seen(lambda: states(node).count(State.INVOKING) == n)


def test_idle_environments_retire_after_the_idle_timeout() -> None:
    with live_node(replace(LIMITS, idle_timeout_s=0.2)) as node, function(node.lambda_, SLEEP) as name:
        node.invoke(name, 0)
        assert node.count() == 1
        seen(lambda: node.count() == 0)
        assert node.invoke(name, 0)[1] == 0
        assert len(node.streams(name)) == 2


def test_another_functions_idle_environment_makes_room_on_a_full_node() -> None:
    with (
        live_node(replace(LIMITS, environments_max=2)) as node,
        function(node.lambda_, SLEEP) as first,
        function(node.lambda_, SLEEP) as second,
        function(node.lambda_, SLEEP) as third,
    ):
        for name in (first, second, third, first):
            assert node.invoke(name, 0)[1] == 0
            assert node.count() <= 2
        names = {e.version.ref.name for e in node.environments() if e.state is State.IDLE}
        assert names == {third, first}


def test_a_full_node_gives_up_the_environment_that_is_worth_least_not_the_oldest() -> None:
    slow = "import time\ntime.sleep(2)\n" + SLEEP
    with (
        live_node(replace(LIMITS, environments_max=2)) as node,
        function(node.lambda_, slow) as costly,
        function(node.lambda_, SLEEP) as cheap,
        function(node.lambda_, SLEEP) as third,
    ):
        for name in (costly, cheap):
            node.invoke(name, 0)
        idle_ns = round(1.1 * QUICK_S * 1_000_000_000)
        seen(lambda: all(time.monotonic_ns() - e.idle_since_ns > idle_ns for e in node.environments()))
        node.invoke(third, 0)
        assert {e.version.ref.name for e in node.environments()} == {costly, third}


def test_over_the_memory_budget_idle_environments_go_and_busy_ones_stay(threads: ThreadPoolExecutor) -> None:
    with (
        live_node(replace(LIMITS, memory_budget_mb=1)) as node,
        function(node.lambda_, SLEEP, Timeout=20) as busy,
        function(node.lambda_, SLEEP) as idle,
    ):
        running = threads.submit(node.invoke, busy, 4)
        invoking(node, 1)
        node.invoke(idle, 0)
        seen(lambda: states(node) == [State.INVOKING])
        assert running.result()[1] == 4
        seen(lambda: node.count() == 0)


def test_on_a_full_node_requests_wait_and_none_is_lost(threads: ThreadPoolExecutor) -> None:
    with (
        live_node(replace(LIMITS, environments_max=2)) as node,
        function(node.lambda_, SLEEP, Timeout=20) as first,
        function(node.lambda_, SLEEP, Timeout=20) as second,
        function(node.lambda_, SLEEP, Timeout=20) as third,
    ):
        calls = [threads.submit(node.invoke, name, 0.02) for _ in range(8) for name in (first, second, third)]
        for call in calls:
            assert call.result()[1] == 0.02
        assert node.count() <= 2


def test_room_that_comes_free_goes_to_a_function_whose_own_environments_are_busy(threads: ThreadPoolExecutor) -> None:
    with (
        live_node(replace(LIMITS, environments_max=2, wait_s_max=30.0)) as node,
        function(node.lambda_, SLEEP, Timeout=30) as long,
        function(node.lambda_, SLEEP, Timeout=30) as short,
    ):
        busy = threads.submit(node.invoke, long, 8)
        invoking(node, 1)
        leaving = threads.submit(node.invoke, short, 1)
        invoking(node, 2)
        assert node.invoke(long, 0)[1] == 0, "it need not wait for the busy one"
        assert not busy.done()
        assert leaving.result()[1] == 1
        busy.result()


def test_a_full_node_answers_when_nothing_comes_free(threads: ThreadPoolExecutor) -> None:
    with (
        live_node(replace(LIMITS, environments_max=1, wait_s_max=0.3)) as node,
        function(node.lambda_, SLEEP, Timeout=20) as first,
        function(node.lambda_, SLEEP, Timeout=20) as second,
    ):
        busy = threads.submit(node.invoke, first, 4)
        invoking(node, 1)
        with pytest.raises(ClientError) as refused:
            node.invoke(second, 0)
        assert not busy.done()
        assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 500
        assert refused.value.response["Error"]["Code"] == "ServiceException"
        assert "this node is full" in refused.value.response["Error"]["Message"]
        assert busy.result()[1] == 4
        assert node.invoke(second, 0)[1] == 0


def test_an_update_lets_the_running_finish_on_the_old_code(node: LiveNode, threads: ThreadPoolExecutor) -> None:
    code = "import time\ndef handler(event, context):\n    time.sleep(event)\n    return {}\n"
    with function(node.lambda_, code.format("1"), Timeout=20) as name:
        old = threads.submit(node.invoke, name, 2)
        invoking(node, 1)
        node.lambda_.update_function_code(FunctionName=name, ZipFile=package({"app.py": code.format("2")}))
        node.lambda_.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})
        assert node.invoke(name, 0)[1] == 2
        assert not old.done()
        assert old.result()[1] == 1
        assert node.invoke(name, 0)[1] == 2
        seen(lambda: node.count() == 1)


def test_a_deletion_lets_the_running_finish_and_leaves_no_environment(
    node: LiveNode, threads: ThreadPoolExecutor
) -> None:
    with function(node.lambda_, SLEEP, Timeout=20) as name:
        node.invoke(name, 0)
        running = threads.submit(node.invoke, name, 1)
        invoking(node, 1)
    assert node.count() == 1
    with pytest.raises(ClientError) as gone:
        node.invoke(name, 0)
    assert gone.value.response["Error"]["Code"] == "ResourceNotFoundException"
    assert running.result()[1] == 1
    seen(lambda: node.count() == 0)
    with function(node.lambda_, "def handler(event, context):\n    return 'new'\n", name=name):
        assert node.invoke(name, 0)[1] == "new"


def throttled(call: Callable[[], Any]) -> str:
    with pytest.raises(ClientError) as refused:
        call()
    response = refused.value.response
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 429
    assert response["Error"]["Code"] == "TooManyRequestsException"
    return str(response["Reason"])


def test_reserved_concurrency_admits_exactly_so_many_and_changes_in_flight(
    node: LiveNode, threads: ThreadPoolExecutor
) -> None:
    with function(node.lambda_, SLEEP, Timeout=30) as name:
        node.lambda_.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=3)
        running = [threads.submit(node.invoke, name, 4) for _ in range(3)]
        seen(lambda: node.on_loop(lambda: node.node.invocations.running) == 3)
        assert throttled(lambda: node.invoke(name, 0)) == "ReservedFunctionConcurrentInvocationLimitExceeded"
        node.lambda_.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=4)
        assert node.invoke(name, 0)[1] == 0
        node.lambda_.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=1)
        assert throttled(lambda: node.invoke(name, 0)) == "ReservedFunctionConcurrentInvocationLimitExceeded"
        assert [call.result()[1] for call in running] == [4, 4, 4]
        assert node.invoke(name, 0)[1] == 0
        node.lambda_.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
        assert throttled(lambda: node.invoke(name, 0)) == "ReservedFunctionConcurrentInvocationLimitExceeded"
        node.lambda_.delete_function_concurrency(FunctionName=name)
        assert node.invoke(name, 0)[1] == 0


def test_the_accounts_concurrency_is_shared_by_its_functions(threads: ThreadPoolExecutor) -> None:
    with (
        live_node(account_concurrency=2) as node,
        function(node.lambda_, SLEEP, Timeout=30) as first,
        function(node.lambda_, SLEEP, Timeout=30) as second,
    ):
        running = [threads.submit(node.invoke, name, 3) for name in (first, second)]
        seen(lambda: node.on_loop(lambda: node.node.invocations.running) == 2)
        assert throttled(lambda: node.invoke(first, 0)) == "ConcurrentInvocationLimitExceeded"
        assert [call.result()[1] for call in running] == [3, 3]
        assert node.invoke(second, 0)[1] == 0


def test_a_request_takes_whichever_environment_is_ready_first(node: LiveNode, threads: ThreadPoolExecutor) -> None:
    code = "import time\ntime.sleep(1)\ndef handler(event, context):\n    time.sleep(event)\n    return event\n"
    with function(node.lambda_, code, Timeout=20) as name:
        node.invoke(name, 0)
        (busy,) = node.environments()
        first: Future[Any] = threads.submit(node.invoke, name, 0.3)
        invoking(node, 1)
        assert node.invoke(name, 0)[1] == 0, "the busy one was free before the new one was ready"
        assert first.result()[1] == 0.3
        seen(lambda: states(node) == [State.IDLE, State.IDLE])  # the new one stays as a spare
        kinds = {stream.rpartition("]")[2]: _kinds(node, name, stream) for stream in node.streams(name)}
        assert kinds.pop(busy.id).count("START") == 3
        assert [spare.count("START") for spare in kinds.values()] == [0]


def _kinds(node: LiveNode, name: str, stream: str) -> list[str]:
    events = node.logs.get_log_events(logGroupName=f"/aws/lambda/{name}", logStreamName=stream, startFromHead=True)
    return [event["message"].split(" ")[0] for event in events["events"]]
