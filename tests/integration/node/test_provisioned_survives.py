"""What a restart brings back by itself: provisioned environments, and the tenant of an event that waits."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest
from tests.conftest import RunningServer, start_server
from tests.integration.node.node_world import Clients, seen
from tests.support import PYTHON_RUNTIME, function, package, unique

CODE = """
import os, time
def handler(event, context):
    print("for", context.tenant_id, flush=True)
    time.sleep((event or {}).get("sleep", 0))
    return os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"]
"""


def created(clients: Clients, **options: Any) -> str:
    name = unique()
    clients.lambda_.create_function(
        FunctionName=name,
        Runtime=PYTHON_RUNTIME,
        Handler="app.handler",
        Role="arn:aws:iam::000000000000:role/test",
        Code={"ZipFile": package({"app.py": CODE})},
        Publish=True,
        **options,
    )
    clients.lambda_.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})
    return name


def status(clients: Clients, name: str) -> tuple[str, int]:
    found = clients.lambda_.get_provisioned_concurrency_config(FunctionName=name, Qualifier="1")
    return found["Status"], found["AvailableProvisionedConcurrentExecutions"]


def test_provisioned_environments_come_back_after_a_kill_without_being_asked_for(own_server: RunningServer) -> None:
    with Clients(own_server) as clients:
        name = created(clients)
        clients.lambda_.put_provisioned_concurrency_config(
            FunctionName=name, Qualifier="1", ProvisionedConcurrentExecutions=2
        )
        seen(lambda: status(clients, name) == ("READY", 2))
        os.kill(own_server.process.pid, signal.SIGKILL)
        own_server.process.wait()
    again = start_server(own_server.data_dir)
    try:
        with Clients(again) as clients:
            seen(lambda: status(clients, name) == ("READY", 2))
            answer = clients.lambda_.invoke(FunctionName=name, Qualifier="1", Payload=b"{}", LogType="Tail")
            assert answer["Payload"].read() == b'"provisioned-concurrency"'
            settings = clients.lambda_.get_account_settings()["AccountLimit"]
            assert settings["UnreservedConcurrentExecutions"] == 998
    finally:
        again.stop()


def test_an_event_keeps_its_tenant_through_a_kill(own_server: RunningServer) -> None:
    with Clients(own_server) as clients:
        name = created(clients, TenancyConfig={"TenantIsolationMode": "PER_TENANT"}, Timeout=60)
        clients.lambda_.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=1)
        for tenant, payload in (("red", b'{"sleep": 6}'), ("blue", b"{}")):
            clients.lambda_.invoke(FunctionName=name, InvocationType="Event", TenantId=tenant, Payload=payload)
        seen(lambda: "for red\n" in clients.log(name))
        os.kill(own_server.process.pid, signal.SIGKILL)
        own_server.process.wait()
    again = start_server(own_server.data_dir)
    try:
        with Clients(again) as clients:
            clients.lambda_.delete_function_concurrency(FunctionName=name)
            seen(lambda: "for blue\n" in clients.log(name))
            clients.lambda_.delete_function(FunctionName=name)
    finally:
        again.stop()


def test_a_deleted_version_leaves_the_functions_reserved_concurrency_in_force(server: RunningServer) -> None:
    with Clients(server) as clients, function(clients.lambda_, CODE) as name:
        version = clients.lambda_.publish_version(FunctionName=name)["Version"]
        clients.lambda_.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
        clients.lambda_.delete_function(FunctionName=name, Qualifier=version)
        with pytest.raises(clients.lambda_.exceptions.TooManyRequestsException) as throttled:
            clients.lambda_.invoke(FunctionName=name, Payload=b"{}")
        assert throttled.value.response["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded"
