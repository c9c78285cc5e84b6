"""§6: aliases."""

from __future__ import annotations

from typing import Any

import pytest
from tests.parity.spec.spec_world import FUNCTIONS, IPV, OTHER_ZIP, RCE, RNF, STALE, VAL, Row, Wire, hold, rows
from tests.support import package

HERE = FUNCTIONS + "/{name}/aliases"
CREATE = f"POST {HERE}"
WEIGHTS = "1 validation error detected: Value '{}' at 'routingConfig.additionalVersionWeights' failed to satisfy …"
NO_LATEST = "$LATEST is not supported for an alias pointing to more than 1 version"


def alias(weights: dict[str, float] | None = None, **members: Any) -> dict[str, Any]:
    base = {"Name": "new", "FunctionVersion": "1", **members}
    return base if weights is None else {**base, "RoutingConfig": {"AdditionalVersionWeights": weights}}


@pytest.fixture(scope="module")
def names(wire: Wire) -> dict[str, str]:
    name = wire.make("aliases")
    wire.publish(name)
    wire.publish(name, OTHER_ZIP)
    wire.publish(name, package({"app.py": "# third\n"}))
    wire.alias(name, "live")
    return {"name": name, "arn": wire.arn(name), "no": wire.arn("no")}


@rows(
    Row("6 the name is taken", CREATE, alias(Name="live"), RCE, "Alias already exists: {arn}:live"),
    Row("6 no such version", CREATE, alias(FunctionVersion="9"), RNF, "Function not found: {arn}:9"),
    Row("6 no such function", f"POST {FUNCTIONS}/no/aliases", alias(), RNF, "Function not found: {no}:1"),
    Row(
        "6 more than one additional version",
        CREATE,
        alias({"2": 0.1, "3": 0.1}),
        IPV,
        "Number of items in AdditionalVersionWeights cannot be greater than 1",
    ),
    Row("6 weight above", CREATE, alias({"2": 1.1}), VAL, WEIGHTS.format("{2=1.1}")),
    Row("6 weight below", CREATE, alias({"2": -0.1}), VAL, WEIGHTS.format("{2=-0.1}")),
    Row("6 weight key", CREATE, alias({"live": 0.1}), VAL, WEIGHTS.format("{live=0.1}")),
    Row(
        "6 weight for the primary version",
        CREATE,
        alias({"1": 0.1}),
        IPV,
        "Invalid function version 1. Function version 1 is already included in routing configuration.",
    ),
    Row(
        "6 routing while the primary is $LATEST",
        CREATE,
        alias({"1": 0.1}, FunctionVersion="$LATEST"),
        IPV,
        NO_LATEST,
        typed=False,
    ),
    Row("6 no such additional version", CREATE, alias({"9": 0.1}), RNF, "Function not found: {arn}:9"),
    Row("6 GetAlias missing", f"GET {HERE}/no", None, RNF, "Cannot find alias arn: {arn}:no"),
    Row("6 UpdateAlias missing", f"PUT {HERE}/no", {}, RNF, "Cannot find alias arn: {arn}:no"),
    Row("6 UpdateAlias of no function", f"PUT {FUNCTIONS}/no/aliases/live", {}, RNF, "Function not found: {no}"),
    Row("6 DeleteAlias missing", f"DELETE {HERE}/no", status=204),
    Row(
        "6 UpdateAlias wrong RevisionId",
        f"PUT {HERE}/live",
        {"RevisionId": "x"},
        STALE,
        "The Revision Id provided does not match the latest Revision Id. Call the GetFunction/GetAlias API to retrieve "
        "the latest Revision Id",
    ),
    Row(
        "6 UpdateAlias to $LATEST with routing",
        f"PUT {HERE}/live",
        {"FunctionVersion": "$LATEST", "RoutingConfig": {"AdditionalVersionWeights": {"2": 0.5}}},
        IPV,
        NO_LATEST,
        typed=False,
    ),
    Row("6 a name of digits", CREATE, alias(Name="12"), VAL, "1 validation error detected: Value '12' at 'name' …"),
    Row("6 order: constraints first", CREATE, alias({"2": 2.0}, FunctionVersion="9"), VAL, WEIGHTS.format("{2=2.0}")),
    Row(
        "6 order: version before conflict",
        CREATE,
        alias(Name="live", FunctionVersion="9"),
        RNF,
        "Function not found: {arn}:9",
    ),
    Row(
        "6 order: conflict before routing",
        CREATE,
        alias({"1": 0.5, "2": 0.1}, Name="live"),
        RCE,
        "Alias already exists: {arn}:live",
    ),
    Row(
        "6 order: count before duplicate",
        CREATE,
        alias({"1": 0.5, "2": 0.1}),
        IPV,
        "Number of items in AdditionalVersionWeights cannot be greater than 1",
    ),
    Row(
        "6 order: $LATEST before existence",
        CREATE,
        alias({"9": 0.1}, FunctionVersion="$LATEST"),
        IPV,
        NO_LATEST,
        typed=False,
    ),
    Row("6 ListAliases of no function", f"GET {FUNCTIONS}/no/aliases", None, RNF, "Function not found: {no}"),
)
def test_refusals(wire: Wire, names: dict[str, str], row: Row) -> None:
    hold(wire, row, names)


def test_what_an_alias_shows(wire: Wire, names: dict[str, str]) -> None:
    """§6: an empty Description, RoutingConfig only with weights; weights of 0 and 1; $LATEST without routing."""
    name = names["name"]
    plain = wire.alias(name, "plain", "$LATEST")
    assert plain == {
        "AliasArn": wire.arn(name, "plain"),
        "Name": "plain",
        "FunctionVersion": "$LATEST",
        "Description": "",
        "RevisionId": plain["RevisionId"],
    }
    for number, weight in enumerate((0, 1)):
        routing = {"AdditionalVersionWeights": {"2": weight}}
        assert wire.alias(name, f"weighted{number}", RoutingConfig=routing)["RoutingConfig"] == routing
    for number, empty in enumerate(({}, {"AdditionalVersionWeights": {}})):
        assert "RoutingConfig" not in wire.alias(name, f"empty{number}", RoutingConfig=empty)


def test_updates_keep_replace_and_remove(wire: Wire, names: dict[str, str]) -> None:
    """§6: absent keeps, empty removes; always a new RevisionId."""
    path = f"{FUNCTIONS}/{names['name']}/aliases/moving"
    routing = {"AdditionalVersionWeights": {"2": 0.25}}
    made = wire.alias(names["name"], "moving", Description="d", RoutingConfig=routing)
    kept = wire.ok("PUT", path, {})
    assert kept == {**made, "RevisionId": kept["RevisionId"]}
    assert kept["RevisionId"] != made["RevisionId"]
    moved = wire.ok("PUT", path, {"FunctionVersion": "3", "Description": ""})
    assert (moved["FunctionVersion"], moved["Description"], moved["RoutingConfig"]) == ("3", "", routing)
    for empty in ({}, {"AdditionalVersionWeights": {}}):
        wire.ok("PUT", path, {"RoutingConfig": routing})
        assert "RoutingConfig" not in wire.ok("PUT", path, {"RoutingConfig": empty})


def test_lists_are_by_name_and_filtered_by_the_primary_version(wire: Wire) -> None:
    name = wire.make("list")
    wire.publish(name)
    wire.publish(name, OTHER_ZIP)
    for one, version in (("b", "1"), ("a", "2"), ("C", "1")):
        wire.alias(name, one, version)
    wire.alias(name, "d", "2", RoutingConfig={"AdditionalVersionWeights": {"1": 0.5}})
    shown = wire.ok("GET", f"{FUNCTIONS}/{name}/aliases")["Aliases"]
    assert [one["Name"] for one in shown] == ["C", "a", "b", "d"]
    of_first = wire.ok("GET", f"{FUNCTIONS}/{name}/aliases?FunctionVersion=1")["Aliases"]
    assert [one["Name"] for one in of_first] == ["C", "b"]


def test_an_alias_takes_its_settings_along(wire: Wire) -> None:
    """§6, §23: policy, URL and event-invoke configuration; an alias of the same name starts without them."""
    name = wire.make("settings")
    wire.publish(name)
    wire.alias(name, "live")
    permission = {"StatementId": "s", "Action": "lambda:InvokeFunction", "Principal": "*"}
    wire.ok("POST", f"{FUNCTIONS}/{name}/policy?Qualifier=live", permission)
    wire.ok("POST", f"/2021-10-31/functions/{name}/url?Qualifier=live", {"AuthType": "NONE"})
    wire.ok("PUT", f"/2019-09-25/functions/{name}/event-invoke-config?Qualifier=live", {"MaximumRetryAttempts": 0})
    wire.ok("DELETE", f"{FUNCTIONS}/{name}/aliases/live", status=204)
    wire.alias(name, "live")
    for path in (
        f"{FUNCTIONS}/{name}/policy?Qualifier=live",
        f"/2021-10-31/functions/{name}/url?Qualifier=live",
        f"/2019-09-25/functions/{name}/event-invoke-config?Qualifier=live",
    ):
        assert wire("GET", path).status == 404
