"""§22.1 and §3.2: what waits for a function, seen through a client library; and a function that failed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import WaiterError
from tests.parity.spec.spec_world import FUNCTIONS, Wire, refused
from tests.support import client

MISSING_RUNTIMES = ("ruby3.2", "dotnet6", "java11", "java8.al2")
"""Of these a machine has hardly all."""


@pytest.fixture(scope="module")
def lambda_(wire: Wire) -> Iterator[Any]:
    made = client("lambda", wire.url, account=wire.account)
    made.get_account_settings()  # its connection is open before a test looks
    yield made
    made.close()


@pytest.fixture(scope="module")
def failed(wire: Wire) -> str:
    """A function whose runtime this machine lacks."""
    for runtime in MISSING_RUNTIMES:
        name = wire.make("failed", Runtime=runtime)
        if wire.settled(name)["State"] == "Failed":
            return name
    pytest.skip("this machine has every runtime that is looked for")


@pytest.mark.parametrize(
    ("waiter", "qualifier"),
    [
        ("function_exists", None),
        ("function_active", None),
        ("function_active_v2", None),
        ("function_updated", None),
        ("function_updated_v2", None),
        ("published_version_active", "1"),
    ],
)
def test_waiters_end(wire: Wire, lambda_: Any, waiter: str, qualifier: str | None) -> None:
    """After a creation as after an update: LastUpdateStatus is there once the creation is over."""
    name = wire.make("waited", Publish=True)
    arguments = {"FunctionName": name, **({"Qualifier": qualifier} if qualifier else {})}
    often = {"Delay": 0.02, "MaxAttempts": 500}
    lambda_.get_waiter(waiter).wait(**arguments, WaiterConfig=often)
    wire.ok("PUT", f"{FUNCTIONS}/{name}/configuration", {"Timeout": 5})
    lambda_.get_waiter(waiter).wait(**arguments, WaiterConfig=often)


@pytest.mark.parametrize("waiter", ["function_active", "function_active_v2", "function_updated", "function_updated_v2"])
def test_waiters_end_at_a_failure_too(lambda_: Any, failed: str, waiter: str) -> None:
    with pytest.raises(WaiterError, match="terminal failure"):
        lambda_.get_waiter(waiter).wait(FunctionName=failed, WaiterConfig={"Delay": 0.02, "MaxAttempts": 500})


def test_a_function_that_failed(wire: Wire, failed: str) -> None:
    """§3.2: it says why, refuses to be invoked in the published words, can be updated, and deleted."""
    shown = wire.get(failed)
    assert (shown["State"], shown["StateReasonCode"]) == ("Failed", "InvalidRuntime")
    assert shown["StateReason"]
    refused(
        wire("POST", f"{FUNCTIONS}/{failed}/invocations", {}),
        "ResourceConflictException",
        "The operation cannot be performed at this time. The function is currently in the following state: Failed",
    )
    wire.ok("PUT", f"{FUNCTIONS}/{failed}/configuration", {"Runtime": "provided.al2023"}, 200)
    healed = wire.settled(failed)
    assert (healed["State"], healed["LastUpdateStatus"]) == ("Active", "Successful")
    assert (
        not {"StateReason", "StateReasonCode", "LastUpdateStatusReason", "LastUpdateStatusReasonCode"} & healed.keys()
    )
    wire.ok("DELETE", f"{FUNCTIONS}/{failed}", status=204)


def test_an_update_that_fails_leaves_what_ran(wire: Wire) -> None:
    """§3.2: Active and Failed together; the reason stands beside LastUpdateStatus, and the old code keeps serving."""
    name = wire.make("kept")
    before = wire("POST", f"{FUNCTIONS}/{name}/invocations", {}).body
    for runtime in MISSING_RUNTIMES:
        wire.ok("PUT", f"{FUNCTIONS}/{name}/configuration", {"Runtime": runtime})
        shown = wire.settled(name)
        if shown["LastUpdateStatus"] == "Failed":
            break
    else:
        pytest.skip("this machine has every runtime that is looked for")
    assert (shown["State"], shown["LastUpdateStatusReasonCode"]) == ("Active", "InvalidRuntime")
    assert not {"StateReason", "StateReasonCode"} & shown.keys()
    reply = wire("POST", f"{FUNCTIONS}/{name}/invocations", {})
    assert (reply.status, reply.body) == (200, before)
