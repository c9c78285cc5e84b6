"""Provisioned concurrency observed from outside: what is warm before the first request, and what becomes of it."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.integration.environments.live_node import LIMITS, LiveNode, live_node, seen
from tests.support import function, package

from lambent.environments.environment import Environment
from lambent.environments.lifecycle import State

CODE = """
import os, time
print("module code", os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"])
began = time.time()
def handler(event, context):
    event = event or {}
    if event.get("exit"):
        os._exit(3)
    time.sleep(event.get("sleep", 0))
    return {"type": os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"], "began": began, "id": context.log_stream_name}
"""


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as pool:
        yield pool


@contextmanager
def published(node: LiveNode, code: str = CODE, **options: Any) -> Iterator[tuple[str, str]]:
    """A function with a version, for the length of the block."""
    with function(node.lambda_, code, **options) as name:
        yield name, node.lambda_.publish_version(FunctionName=name)["Version"]


def put(node: LiveNode, name: str, qualifier: str, number: int) -> dict[str, Any]:
    answer: dict[str, Any] = node.lambda_.put_provisioned_concurrency_config(
        FunctionName=name, Qualifier=qualifier, ProvisionedConcurrentExecutions=number
    )
    return answer


def get(node: LiveNode, name: str, qualifier: str) -> dict[str, Any]:
    answer: dict[str, Any] = node.lambda_.get_provisioned_concurrency_config(FunctionName=name, Qualifier=qualifier)
    return answer


def counts(answer: dict[str, Any]) -> tuple[int, int, int]:
    return (
        answer["RequestedProvisionedConcurrentExecutions"],
        answer["AvailableProvisionedConcurrentExecutions"],
        answer["AllocatedProvisionedConcurrentExecutions"],
    )


def ready(node: LiveNode, name: str, qualifier: str) -> dict[str, Any]:
    """Wait as tools do."""
    return seen(lambda: found if (found := get(node, name, qualifier))["Status"] != "IN_PROGRESS" else {})


def provisioned(node: LiveNode) -> list[Environment]:
    return [environment for environment in node.environments() if environment.is_provisioned]


def kind(node: LiveNode, name: str, qualifier: str, **event: Any) -> str:
    return str(node.invoke(name, event, Qualifier=qualifier)[1]["type"])


def test_the_first_invocation_is_warm_and_the_third_at_once_spills_over(
    node: LiveNode, threads: ThreadPoolExecutor
) -> None:
    with published(node) as (name, version):
        answer = put(node, name, version, 2)
        assert (answer["Status"], counts(answer)) == ("IN_PROGRESS", (2, 0, 0))
        answer = ready(node, name, version)
        assert (answer["Status"], counts(answer)) == ("READY", (2, 2, 2))
        before = node.log(name)
        assert before.count("module code provisioned-concurrency\n") == 2
        assert sum(line.startswith("INIT_START") for line in before) == 2
        assert sum(line.startswith("INIT_REPORT Init Duration: ") for line in before) == 2
        assert not [line for line in before if line.startswith("START")]

        tail, body = node.tail(name, {}, Qualifier=version)
        assert "Init Duration" not in tail
        assert body["type"] == "provisioned-concurrency"
        assert "module code" not in tail

        busy = [threads.submit(kind, node, name, version, sleep=2) for _ in range(2)]
        seen(lambda: [e.state for e in provisioned(node)] == [State.INVOKING] * 2)
        assert kind(node, name, version) == "on-demand"
        assert [call.result() for call in busy] == ["provisioned-concurrency"] * 2
        assert kind(node, name, version) == "provisioned-concurrency", "they go first again"
        assert kind(node, name, "$LATEST") == "on-demand"


def test_they_outlive_the_idle_timeout_and_others_do_not() -> None:
    with live_node(replace(LIMITS, idle_timeout_s=0.2)) as node, published(node) as (name, version):
        put(node, name, version, 1)
        ready(node, name, version)
        assert kind(node, name, "$LATEST") == "on-demand"
        assert node.count() == 2
        (kept,) = provisioned(node)
        seen(lambda: node.environments() == [kept] and node.count() == 1)
        assert kind(node, name, version) == "provisioned-concurrency"
        assert provisioned(node) == [kept]


def test_one_that_loses_its_runtime_is_replaced(node: LiveNode) -> None:
    with published(node) as (name, version):
        put(node, name, version, 1)
        ready(node, name, version)
        (first,) = provisioned(node)
        assert node.invoke(name, {"exit": True}, Qualifier=version)[1]["errorType"] == "Runtime.ExitError"
        seen(lambda: [e.id for e in provisioned(node) if e.is_warm] not in ([], [first.id]))
        assert get(node, name, version)["Status"] == "READY"
        assert kind(node, name, version) == "provisioned-concurrency"
        seen(lambda: node.count() == 1)


def test_an_init_that_fails_six_times_is_told_and_invocations_run_on_demand() -> None:
    code = (
        CODE + '\nif os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"] != "on-demand":\n    raise RuntimeError("no luck")\n'
    )
    with live_node(replace(LIMITS, provision_retry_s=0.01)) as node, published(node, code) as (name, version):
        put(node, name, version, 1)
        answer = ready(node, name, version)
        assert (answer["Status"], answer["StatusReason"]) == ("FAILED", "FUNCTION_ERROR_INIT_FAILURE")
        assert counts(answer) == (1, 0, 0)
        seen(lambda: node.count() == 0)
        assert node.log(name).count("module code provisioned-concurrency\n") == len(node.streams(name)) == 6
        assert kind(node, name, version) == "on-demand"
        (listed,) = node.lambda_.list_provisioned_concurrency_configs(FunctionName=name)[
            "ProvisionedConcurrencyConfigs"
        ]
        assert listed["StatusReason"] == "FUNCTION_ERROR_INIT_FAILURE"
        assert len(node.streams(name)) == 7, "nothing is tried any more"


def test_lowering_the_number_retires_the_surplus_when_it_is_idle(node: LiveNode, threads: ThreadPoolExecutor) -> None:
    with published(node) as (name, version):
        put(node, name, version, 3)
        ready(node, name, version)
        busy = [threads.submit(kind, node, name, version, sleep=1) for _ in range(2)]
        seen(lambda: [e.state for e in provisioned(node)].count(State.INVOKING) == 2)
        answer = put(node, name, version, 1)
        assert answer["Status"] == "IN_PROGRESS"
        assert counts(ready(node, name, version)) == (1, 1, 1)
        assert len(provisioned(node)) == 2, "what is busy stays until it is idle"
        assert [call.result() for call in busy] == ["provisioned-concurrency"] * 2
        seen(lambda: node.count() == 1)
        put(node, name, version, 2)
        assert counts(ready(node, name, version)) == (2, 2, 2)
        node.lambda_.delete_provisioned_concurrency_config(FunctionName=name, Qualifier=version)
        seen(lambda: node.count() == 0)
        with pytest.raises(ClientError) as gone:
            get(node, name, version)
        assert gone.value.response["Error"]["Code"] == "ProvisionedConcurrencyConfigNotFoundException"
        assert kind(node, name, version) == "on-demand"


def test_the_end_of_a_version_or_of_the_function_is_theirs(node: LiveNode) -> None:
    with published(node) as (name, version):
        put(node, name, version, 1)
        ready(node, name, version)
        node.lambda_.delete_function(FunctionName=name, Qualifier=version)
        seen(lambda: node.count() == 0)
        node.lambda_.update_function_code(FunctionName=name, ZipFile=package({"app.py": CODE + "\n"}))
        node.lambda_.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})
        second = node.lambda_.publish_version(FunctionName=name)["Version"]
        put(node, name, second, 1)
        ready(node, name, second)
    seen(lambda: node.count() == 0)


def test_a_node_without_room_says_so_and_serves_others() -> None:
    """Of four places three may be provisioned."""
    with live_node(replace(LIMITS, environments_max=4)) as node, published(node) as (name, version):
        put(node, name, version, 4)
        answer = ready(node, name, version)
        assert answer["Status"] == "FAILED"
        assert "This node may keep 3 of its 4 environments provisioned" in answer["StatusReason"]
        assert counts(answer) == (4, 3, 3)
        assert kind(node, name, "$LATEST") == "on-demand"
        with function(node.lambda_, CODE) as other:
            assert kind(node, other, "$LATEST") == "on-demand", "an idle place is taken over"
        put(node, name, version, 3)
        assert ready(node, name, version)["Status"] == "READY"


def test_idle_environments_of_others_make_room() -> None:
    with (
        live_node(replace(LIMITS, environments_max=2)) as node,
        published(node) as (name, version),
        function(node.lambda_, CODE) as one,
        function(node.lambda_, CODE) as two,
    ):
        assert kind(node, one, "$LATEST") == kind(node, two, "$LATEST") == "on-demand"
        assert node.count() == 2
        put(node, name, version, 1)
        assert ready(node, name, version)["Status"] == "READY"
        assert node.count() == 2


def test_an_alias_that_moves_takes_its_environments_along(node: LiveNode) -> None:
    with published(node) as (name, first):
        node.lambda_.create_alias(FunctionName=name, Name="live", FunctionVersion=first)
        put(node, name, "live", 2)
        assert counts(ready(node, name, "live")) == (2, 2, 2)
        assert kind(node, name, "live") == "provisioned-concurrency"
        assert kind(node, name, first) == "provisioned-concurrency", "direct calls of the version, too"
        node.lambda_.update_function_code(FunctionName=name, ZipFile=package({"app.py": CODE + "\n"}))
        node.lambda_.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})
        second = node.lambda_.publish_version(FunctionName=name)["Version"]
        node.lambda_.update_alias(FunctionName=name, Name="live", FunctionVersion=second)
        assert counts(get(node, name, "live")) == (2, 2, 2)
        seen(lambda: {e.version.version for e in provisioned(node)} == {second})
        assert counts(ready(node, name, "live")) == (2, 2, 2)
        assert kind(node, name, "live") == "provisioned-concurrency"
        assert kind(node, name, first) == "on-demand"
        (listed,) = node.lambda_.list_provisioned_concurrency_configs(FunctionName=name)[
            "ProvisionedConcurrencyConfigs"
        ]
        assert listed["FunctionArn"].endswith(f":function:{name}:live")
        node.lambda_.update_alias(
            FunctionName=name, Name="live", RoutingConfig={"AdditionalVersionWeights": {first: 0.5}}
        )
        seen(lambda: sorted(e.version.version for e in provisioned(node)) == [first, second])
        node.lambda_.delete_alias(FunctionName=name, Name="live")
        seen(lambda: provisioned(node) == [])
