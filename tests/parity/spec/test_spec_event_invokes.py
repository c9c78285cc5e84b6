"""§10: event invoke configurations."""

from __future__ import annotations

from typing import Any

import pytest
from tests.parity.spec.spec_world import FUNCTIONS, IPV, RNF, VAL, Row, Wire, hold, rows

PATH = "/2019-09-25/functions/{name}/event-invoke-config"
NOTHING_ASKED = "You must specify at least one of error handling or destination setting."
NO_FUNCTION = "The function doesn't exist."
BOTH: dict[str, Any] = {"OnSuccess": {}, "OnFailure": {}}


def destinations(success: str | None = None, failure: str | None = None) -> dict[str, Any]:
    given: dict[str, Any] = {}
    if success is not None:
        given["OnSuccess"] = {"Destination": success}
    if failure is not None:
        given["OnFailure"] = {"Destination": failure}
    return {"DestinationConfig": given}


def invalid(success: str = "null", failure: str = "null") -> str:
    return f"The provided destination config DestinationConfig(onSuccess={success}, onFailure={failure}) is invalid."


@pytest.fixture(scope="module")
def names(wire: Wire) -> dict[str, str]:
    name = wire.make("events")
    wire.publish(name)
    wire.alias(name, "live")
    target = wire.make("target")
    return {
        "name": name,
        "arn": wire.arn(name),
        "no": wire.arn("no"),
        "target": wire.arn(target),
        "account": wire.account,
        "q": f"arn:aws:sqs:us-east-1:{wire.account}:q",
        "s3": "arn:aws:s3:::bucket",
        "kinesis": f"arn:aws:kinesis:us-east-1:{wire.account}:stream/s",
    }


@rows(
    Row("10 Put nothing", f"PUT {PATH}", {}, IPV, NOTHING_ASKED),
    Row("10 Update nothing", f"POST {PATH}", {}, IPV, NOTHING_ASKED),
    Row("10 nothing, before existence", f"PUT {PATH.replace('{name}', 'no')}", {}, IPV, NOTHING_ASKED),
    *(
        Row(f"10 {what} missing, {method}", f"{method} {path}", {"MaximumRetryAttempts": 1}, RNF, NO_FUNCTION)
        for method in ("PUT", "POST")
        for what, path in (
            ("function", PATH.replace("{name}", "no")),
            ("version", PATH + "?Qualifier=9"),
            ("alias", PATH + "?Qualifier=no"),
        )
    ),
    Row("10 function missing, List", f"GET {PATH.replace('{name}', 'no')}/list", None, RNF, NO_FUNCTION),
    *(
        Row(
            f"10 {what}, {method}",
            f"{method} {path}",
            None,
            RNF,
            f"The function {arn} doesn't have an EventInvokeConfig",
        )
        for method in ("GET", "DELETE")
        for what, path, arn in (
            ("no configuration", PATH, "{arn}:$LATEST"),
            ("no configuration of an alias", PATH + "?Qualifier=live", "{arn}:live"),
            ("no version", PATH + "?Qualifier=9", "{arn}:9"),
            ("no function", PATH.replace("{name}", "no"), "{no}:$LATEST"),
        )
    ),
    Row(
        "10 Update without configuration",
        f"POST {PATH}",
        {"MaximumRetryAttempts": 1},
        RNF,
        "The function {arn}:$LATEST doesn't have an EventInvokeConfig",
    ),
    Row(
        "10 destination function missing",
        f"PUT {PATH}",
        destinations(failure="{no}"),
        IPV,
        "The destination ARN {no} is invalid.",
    ),
    Row(
        "10 destination is itself",
        f"PUT {PATH}",
        destinations(success="{arn}"),
        IPV,
        "You can't specify the function as a destination for itself.",
    ),
    Row(
        "10 unsupported service",
        f"PUT {PATH}",
        destinations(success="{kinesis}"),
        IPV,
        invalid("OnSuccess(destination={kinesis})"),
    ),
    Row(
        "10 unsupported service, beside a good one",
        f"PUT {PATH}",
        destinations("{q}", "{kinesis}"),
        IPV,
        invalid("OnSuccess(destination={q})", "OnFailure(destination={kinesis})"),
    ),
    Row("10 S3 takes failures only", f"PUT {PATH}", destinations("{s3}"), IPV, invalid("OnSuccess(destination={s3})")),
    Row(
        "10 FIFO queues are refused",
        f"PUT {PATH}",
        destinations(failure="{q}.fifo"),
        IPV,
        invalid(failure="OnFailure(destination={q}.fifo)"),
    ),
    *(
        Row(
            f"10 destination pattern, {side}",
            f"PUT {PATH}",
            {"DestinationConfig": {side[0].upper() + side[1:]: {"Destination": "x y"}}},
            VAL,
            f"1 validation error detected: Value 'x y' at 'destinationConfig.{side}.destination' failed to satisfy …",
        )
        for side in ("onSuccess", "onFailure")
    ),
    Row(
        "10 retries above",
        f"PUT {PATH}",
        {"MaximumRetryAttempts": 3},
        VAL,
        "1 validation error detected: Value '3' at 'maximumRetryAttempts' failed to satisfy constraint: Member must have "
        "value less than or equal to 2",
    ),
    Row(
        "10 age below",
        f"PUT {PATH}",
        {"MaximumEventAgeInSeconds": 59},
        VAL,
        "1 validation error detected: Value '59' at 'maximumEventAgeInSeconds' failed to satisfy constraint: Member must "
        "have value greater than or equal to 60",
    ),
)
def test_refusals(wire: Wire, names: dict[str, str], row: Row) -> None:
    hold(wire, row, names)


def test_a_life(wire: Wire, names: dict[str, str]) -> None:
    """§10: Put overwrites, Update merges; ARNs are qualified; numbers only when set, destinations always."""
    name = wire.make("life")
    path = PATH.replace("{name}", name)
    put = wire.ok("PUT", path, {"MaximumRetryAttempts": 0}, 200)
    modified = put.pop("LastModified")
    assert isinstance(modified, float)
    assert put == {"FunctionArn": wire.arn(name, "$LATEST"), "MaximumRetryAttempts": 0, "DestinationConfig": BOTH}
    target = {"OnFailure": {"Destination": names["target"]}}
    body = {"MaximumEventAgeInSeconds": 60, "DestinationConfig": target}
    merged = wire.ok("POST", path, body, 200)
    assert (merged["MaximumRetryAttempts"], merged["MaximumEventAgeInSeconds"]) == (0, 60)
    assert merged["DestinationConfig"] == {"OnSuccess": {}, **target}
    assert wire.ok("GET", path) == merged
    for empty in ({"OnFailure": {}}, {"OnFailure": {"Destination": ""}}):
        wire.ok("POST", path, {"DestinationConfig": target})
        assert wire.ok("POST", path, {"DestinationConfig": empty})["DestinationConfig"] == BOTH
    over = wire.ok("PUT", path, {"DestinationConfig": {}}, 200)
    assert set(over) == {"LastModified", "FunctionArn", "DestinationConfig"}
    reply = wire("DELETE", path)
    assert (reply.status, reply.body) == (204, b"")


def test_one_for_each_qualifier(wire: Wire) -> None:
    """§10: $LATEST first."""
    name = wire.make("list")
    wire.publish(name)
    wire.alias(name, "live")
    path = PATH.replace("{name}", name)
    for query in ("?Qualifier=live", "?Qualifier=1", ""):
        wire.ok("PUT", path + query, {"MaximumRetryAttempts": 1})
    shown = wire.ok("GET", f"{path}/list")["FunctionEventInvokeConfigs"]
    assert [one["FunctionArn"] for one in shown] == [wire.arn(name, one) for one in ("$LATEST", "1", "live")]
    wire.ok("DELETE", f"{FUNCTIONS}/{name}/aliases/live")
    assert len(wire.ok("GET", f"{path}/list")["FunctionEventInvokeConfigs"]) == 2
