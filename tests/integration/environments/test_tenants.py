"""Tenant isolation observed from inside: no tenant meets what another one left."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.integration.environments.live_node import LIMITS, LiveNode, live_node, seen
from tests.support import function

from lambent.environments.lifecycle import State

PYTHON = """
import os, time
seen = []
def handler(event, context):
    seen.append(context.tenant_id)
    with open("/tmp/tenants", "a") as file:
        file.write(context.tenant_id + "\\n")
    time.sleep((event or {}).get("sleep", 0))
    print("for", context.tenant_id)
    return {"seen": seen, "tmp": open("/tmp/tenants").read().splitlines(), "stream": context.log_stream_name}
"""
ISOLATED: dict[str, Any] = {"TenancyConfig": {"TenantIsolationMode": "PER_TENANT"}}
ODD = "a.b:c/d=e+f-g@h i_j"
"""Every kind of character that a tenant id may have."""


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as pool:
        yield pool


def refused(node: LiveNode, name: str, **options: Any) -> tuple[int, str, str]:
    with pytest.raises(ClientError) as error:
        node.invoke(name, {}, **options)
    response = error.value.response
    return response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"], response["Error"]["Message"]


def test_tenants_never_share_an_environment(node: LiveNode) -> None:
    with function(node.lambda_, PYTHON, **ISOLATED) as name:
        streams: dict[str, str] = {}
        for tenant in ("red", "blue", "red", ODD, "blue", "red"):
            body = node.invoke(name, {}, TenantId=tenant)[1]
            assert set(body["seen"]) == set(body["tmp"]) == {tenant}, "also what module globals and /tmp remember"
            assert streams.setdefault(tenant, body["stream"]) == body["stream"]
        assert len(set(streams.values())) == 3
        assert len(node.environments()) == 3


def test_a_busy_tenant_gets_another_environment_and_takes_nobodys(node: LiveNode, threads: ThreadPoolExecutor) -> None:
    with function(node.lambda_, PYTHON, Timeout=20, **ISOLATED) as name:
        node.invoke(name, {}, TenantId="blue")
        calls = [threads.submit(node.invoke, name, {"sleep": 0.5}, TenantId="red") for _ in range(3)]
        for call in calls:
            assert set(call.result()[1]["seen"]) == {"red"}
        owners = sorted(environment.home.tenant_id for environment in node.environments())
        assert owners == ["blue", "red", "red", "red"]


def test_a_tenant_is_asked_for_and_only_where_there_are_some(node: LiveNode) -> None:
    with function(node.lambda_, PYTHON, **ISOLATED) as name:
        for kind in ("RequestResponse", "Event", "DryRun"):
            assert refused(node, name, InvocationType=kind) == (
                400,
                "InvalidParameterValueException",
                "The invoked function is enabled with tenancy configuration. Add a valid tenant ID in your request and "
                "try again.",
            )
        with pytest.raises(ClientError) as error:
            node.lambda_.invoke_async(FunctionName=name, InvokeArgs=b"{}")
        assert error.value.response["Error"]["Code"] == "InvalidParameterValueException"
        assert node.count() == 0
        version = node.lambda_.publish_version(FunctionName=name)["Version"]
        with pytest.raises(ClientError) as error:
            node.lambda_.put_provisioned_concurrency_config(
                FunctionName=name, Qualifier=version, ProvisionedConcurrentExecutions=1
            )
        assert error.value.response["Error"]["Message"] == (
            "Provisioned Concurrency is not supported for functions with tenant isolation."
        )
    with function(node.lambda_, "def handler(event, context):\n    return context.tenant_id\n") as name:
        assert refused(node, name, TenantId="red") == (
            400,
            "InvalidParameterValueException",
            "The tenant id is not supported for functions without tenant isolation.",
        )
        assert node.invoke(name, {})[1] is None


def test_an_event_keeps_its_tenant(node: LiveNode) -> None:
    with function(node.lambda_, PYTHON, **ISOLATED) as name:
        for tenant in ("red", "blue"):
            assert node.invoke(name, {}, InvocationType="Event", TenantId=tenant)[0]["StatusCode"] == 202
        seen(lambda: len(node.environments()) == 2 and all(e.state is State.IDLE for e in node.environments()))
        assert {"for red\n", "for blue\n"} <= set(node.log(name))
        assert node.invoke(name, {}, TenantId="red")[1]["seen"] == ["red", "red"]


def test_json_platform_lines_name_the_tenant(node: LiveNode) -> None:
    logging = {"LogFormat": "JSON", "SystemLogLevel": "DEBUG"}
    with function(node.lambda_, PYTHON, LoggingConfig=logging, **ISOLATED) as name:
        node.invoke(name, {}, TenantId="red")
        records = {
            one["type"]: one["record"] for line in node.log(name) if "platform." in line for one in [json.loads(line)]
        }
        assert records["platform.start"]["tenantId"] == "red"
        assert records["platform.start"]["functionArn"].endswith(f":function:{name}:$LATEST")
        assert records["platform.runtimeDone"]["tenantId"] == "red"
    with function(node.lambda_, "def handler(event, context):\n    return 1\n", LoggingConfig=logging) as name:
        node.invoke(name, {})
        assert "tenantId" not in "".join(node.log(name))


def test_beyond_the_accounts_number_the_environment_that_was_idle_longest_goes() -> None:
    with (
        live_node(replace(LIMITS, tenant_environments_max=2)) as node,
        function(node.lambda_, PYTHON, **ISOLATED) as name,
    ):
        for tenant in ("red", "blue", "green", "blue"):
            assert node.invoke(name, {}, TenantId=tenant)[1]["seen"][0] == tenant
        assert sorted(environment.home.tenant_id for environment in node.environments()) == ["blue", "green"]


def test_nothing_is_kept_of_tenants_that_have_no_environment() -> None:
    with (
        live_node(replace(LIMITS, idle_timeout_s=0.2)) as node,
        function(node.lambda_, PYTHON, **ISOLATED) as name,
    ):
        node.lambda_.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
        for number in range(20):
            with pytest.raises(ClientError):
                node.invoke(name, {}, TenantId=f"t{number}")
        node.lambda_.delete_function_concurrency(FunctionName=name)
        for number in range(3):
            node.invoke(name, {}, TenantId=f"t{number}")
        seen(lambda: node.on_loop(lambda: len(node.node.environments._entries)) == 0)
