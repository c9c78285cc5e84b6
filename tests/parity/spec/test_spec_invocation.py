"""§20 and §3.2: what the doors of invocation need of the control plane. (What runs is tested where functions run.)"""

from __future__ import annotations

import pytest
from tests.parity.spec.spec_world import FUNCTIONS, IPV, OTHER_ZIP, RNF, TOO_LARGE, UUID, Row, Wire, hold, refused, rows

INVOKE = f"POST {FUNCTIONS}/{{name}}/invocations"
DRY = {"X-Amz-Invocation-Type": "DryRun"}
EVENT = {"X-Amz-Invocation-Type": "Event"}


@pytest.fixture(scope="module")
def names(wire: Wire) -> dict[str, str]:
    name = wire.make("invoked")
    wire.publish(name)
    wire.publish(name, OTHER_ZIP)
    wire.alias(name, "live", "2")
    isolated = wire.make("isolated", TenancyConfig={"TenantIsolationMode": "PER_TENANT"})
    return {"name": name, "arn": wire.arn(name), "no": wire.arn("no"), "isolated": isolated}


@rows(
    Row("20 DryRun of no version", INVOKE + "?Qualifier=9", {}, RNF, "Function not found: {arn}:9", headers=DRY),
    Row("2.3 no function", f"POST {FUNCTIONS}/no/invocations", {}, RNF, "Function not found: {no}:$LATEST"),
    Row("2.3 no function, qualified", f"POST {FUNCTIONS}/no:1/invocations", {}, RNF, "Function not found: {no}:1"),
    Row("2.3 no alias", INVOKE + "?Qualifier=no", {}, RNF, "Function not found: {arn}:no"),
    Row(
        "20 a payload over 6 MB",
        INVOKE,
        b" " * 6_291_457,
        TOO_LARGE,
        "6291457 byte payload is too large for the RequestResponse invocation type (limit 6291456 bytes)",
    ),
    Row(
        "20 an event over 1 MB",
        INVOKE,
        b" " * 1_048_577,
        TOO_LARGE,
        "1048577 byte payload is too large for the Event invocation type (limit 1048576 bytes)",
        headers=EVENT,
    ),
    Row(
        "20 no JSON",
        INVOKE,
        b"well",
        "InvalidRequestContentException",
        "Could not parse request body into json: …",
    ),
)
def test_refusals(wire: Wire, names: dict[str, str], row: Row) -> None:
    hold(wire, row, names)


def test_tenants(wire: Wire, names: dict[str, str]) -> None:
    """§20: its absence, or its presence on the wrong kind of function, is a wrong parameter."""
    for target, headers in (("isolated", {}), ("name", {"X-Amz-Tenant-Id": "one"})):
        reply = wire("POST", f"{FUNCTIONS}/{names[target]}/invocations", {}, headers=headers)
        assert (reply.status, reply.headers["x-amzn-errortype"]) == (400, IPV)


@pytest.mark.parametrize(("query", "version"), [("", "$LATEST"), ("?Qualifier=1", "1"), ("?Qualifier=live", "2")])
def test_the_executed_version(wire: Wire, names: dict[str, str], query: str, version: str) -> None:
    """§20: in a header, for synchronous calls."""
    reply = wire("POST", f"{FUNCTIONS}/{names['name']}/invocations{query}", {})
    assert (reply.status, reply.headers["x-amz-executed-version"]) == (200, version)
    assert reply.body == (b'"better"' if version == "2" or version == "$LATEST" else b'"well"')


@pytest.mark.parametrize("query", ["", "?Qualifier=1", "?Qualifier=live"])
def test_a_dry_run(wire: Wire, names: dict[str, str], query: str) -> None:
    """§20: 204 after the checks, and nothing runs."""
    reply = wire("POST", f"{FUNCTIONS}/{names['name']}/invocations{query}", {}, headers=DRY)
    assert (reply.status, reply.body) == (204, b"")
    assert UUID.fullmatch(reply.headers["x-amzn-requestid"])


def test_an_event(wire: Wire, names: dict[str, str]) -> None:
    """§20: 202, with nothing in it."""
    reply = wire("POST", f"{FUNCTIONS}/{names['name']}/invocations", {}, headers=EVENT)
    assert (reply.status, reply.body) == (202, b"")


def test_no_concurrency(wire: Wire) -> None:
    """§20: reserved concurrency 0 throttles everything, and says so."""
    name = wire.make("throttled")
    wire.ok("PUT", f"/2017-10-31/functions/{name}/concurrency", {"ReservedConcurrentExecutions": 0})
    reply = wire("POST", f"{FUNCTIONS}/{name}/invocations", {})
    refused(reply, "TooManyRequestsException", "Rate Exceeded.")
    assert reply.document["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded"
