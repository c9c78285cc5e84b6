"""§9 and §17: reserved concurrency, and what the account has left."""

from __future__ import annotations

import re
from base64 import b64encode

import pytest
from tests.parity.spec.spec_world import FUNCTIONS, IPV, OTHER_ZIP, RNF, VAL, ZIP, Row, Wire, at_least, hold, one, rows
from tests.support import unique

PUT = "PUT /2017-10-31/functions/{name}/concurrency"
UNQUALIFIED_ONLY = (
    "This operation is permitted on Lambda functions only. Aliases and versions do not support this operation. Please "
    "specify either a function name or an unqualified function ARN."
)


def reserve(number: int) -> dict[str, int]:
    return {"ReservedConcurrentExecutions": number}


@pytest.fixture(scope="module")
def names(wire: Wire) -> dict[str, str]:
    name = wire.make("concurrency")
    return {"name": name, "no": wire.arn("no")}


@rows(
    Row("9.1 Put 0", PUT, reserve(0), shown=reserve(0)),
    Row("9.1 Get", "GET /2019-09-30/functions/{name}/concurrency", shown=reserve(0)),
    Row("9.1 Put all that may be", PUT, reserve(900), shown=reserve(900)),
    Row("9.1 Put less", PUT, reserve(20), shown=reserve(20)),
    Row("9.1 Delete", "DELETE /2017-10-31/functions/{name}/concurrency", status=204),
    Row("9.1 Delete when unset", "DELETE /2017-10-31/functions/{name}/concurrency", status=204),
    Row("9.1 Get when unset", "GET /2019-09-30/functions/{name}/concurrency", shown={}),
    Row(
        "9.1 no function, before the number",
        "PUT /2017-10-31/functions/no/concurrency",
        reserve(10_000),
        RNF,
        "Function not found: {no}:$LATEST",
    ),
    Row("9.1 no function, Get", "GET /2019-09-30/functions/no/concurrency", None, RNF, "Function not found: {no}"),
    Row(
        "9.1 no function, Delete", "DELETE /2017-10-31/functions/no/concurrency", None, RNF, "Function not found: {no}"
    ),
    Row("9.1 qualified", "PUT /2017-10-31/functions/{name}:1/concurrency", reserve(1), IPV, UNQUALIFIED_ONLY),
    Row(
        "9.1 less than the minimum unreserved",
        PUT,
        reserve(901),
        IPV,
        "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its "
        "minimum value of [100].",
        typed=False,
    ),
    Row("9.1 negative", PUT, reserve(-1), VAL, one("'-1'", "reservedConcurrentExecutions", at_least(0))),
)
def test_reserved_concurrency(wire: Wire, names: dict[str, str], row: Row) -> None:
    """§9.1. The rows of successes build on each other."""
    hold(wire, row, names)


def test_account_settings(wire: Wire) -> None:
    """§17: the limits, and what is used: by version, also with the same code, and layers; it is given back."""
    mine = Wire(wire.url, f"{int(wire.account) + 1:012d}")

    def settings() -> dict[str, dict[str, int]]:
        shown: dict[str, dict[str, int]] = mine.ok("GET", "/2016-08-19/account-settings")
        return shown

    empty = {
        "AccountLimit": {
            "TotalCodeSize": 322_122_547_200,
            "CodeSizeUnzipped": 262_144_000,
            "CodeSizeZipped": 52_428_800,
            "ConcurrentExecutions": 1_000,
            "UnreservedConcurrentExecutions": 1_000,
        },
        "AccountUsage": {"TotalCodeSize": 0, "FunctionCount": 0},
    }
    assert settings() == empty
    name, layer = mine.make("account"), unique("layer")
    mine.publish(name)
    mine.publish(name, OTHER_ZIP)
    content = {"Content": {"ZipFile": b64encode(ZIP).decode()}}
    mine.ok("POST", f"/2018-10-31/layers/{layer}/versions", content)
    mine.ok("PUT", f"/2017-10-31/functions/{name}/concurrency", reserve(30))
    # $LATEST and version 2, version 1, the layer version.
    used = {"TotalCodeSize": 2 * len(OTHER_ZIP) + 2 * len(ZIP), "FunctionCount": 1}
    assert settings()["AccountUsage"] == used
    assert settings()["AccountLimit"]["UnreservedConcurrentExecutions"] == 970
    mine.ok("DELETE", f"{FUNCTIONS}/{name}?Qualifier=1")
    assert settings()["AccountUsage"]["TotalCodeSize"] == used["TotalCodeSize"] - len(ZIP)
    mine.ok("DELETE", f"/2018-10-31/layers/{layer}/versions/1")
    mine.ok("DELETE", f"{FUNCTIONS}/{name}")
    assert settings() == empty


PROVISIONED = "/2019-09-30/functions/{pc}/provisioned-concurrency"
NO_CONFIG = "No Provisioned Concurrency Config found for this function"


def provision(number: int) -> dict[str, int]:
    return {"ProvisionedConcurrentExecutions": number}


@pytest.fixture(scope="module")
def provisioned(wire: Wire) -> dict[str, str]:
    """A function with three versions, the first through the alias `live`, the second by itself; 10 are reserved."""
    name = wire.make("provisioned")
    wire.publish(name)
    wire.publish(name, OTHER_ZIP)
    wire.publish(name, ZIP)
    for alias, version in (("live", "1"), ("second", "2"), ("free", "3"), ("tip", "$LATEST")):
        wire.alias(name, alias, version)
    path = PROVISIONED.replace("{pc}", name)
    assert wire("PUT", f"{path}?Qualifier=live", provision(1)).status == 202
    assert wire("PUT", f"{path}?Qualifier=2", provision(2)).status == 202
    wire.ok("PUT", f"/2017-10-31/functions/{name}/concurrency", reserve(10))
    return {"pc": name, "arn": wire.arn(name), "no": wire.arn("no")}


@rows(
    Row(
        "9.2 no configuration, Get",
        f"GET {PROVISIONED}?Qualifier=3",
        None,
        "ProvisionedConcurrencyConfigNotFoundException",
        NO_CONFIG,
    ),
    Row("9.2 no configuration, Delete", f"DELETE {PROVISIONED}?Qualifier=3", status=204),
    *(
        Row(
            f"9.2 {method} on $LATEST",
            f"{method} {PROVISIONED}?Qualifier=$LATEST",
            None,
            IPV,
            "The function resource provided must be an alias or a published version.",
        )
        for method in ("GET", "DELETE")
    ),
    Row(
        "9.2 Put on $LATEST",
        f"PUT {PROVISIONED}?Qualifier=$LATEST",
        provision(1),
        IPV,
        "Provisioned Concurrency Configs cannot be applied to unpublished function versions.",
    ),
    Row(
        "9.2 number below 1, before anything else",
        "PUT /2019-09-30/functions/no/provisioned-concurrency?Qualifier=$LATEST",
        provision(0),
        VAL,
        one("'0'", "provisionedConcurrentExecutions", at_least(1)),
    ),
    *(
        Row(f"9.2 {what}, {method}", f"{method} {path}", provision(1) if method == "PUT" else None, RNF, message)
        for method in ("PUT", "GET", "DELETE")
        for what, path, message in (
            ("alias missing", f"{PROVISIONED}?Qualifier=no", "Cannot find alias arn: {arn}:no"),
            ("version missing", f"{PROVISIONED}?Qualifier=9", "Function not found: {arn}:9"),
            (
                "function missing with an alias",
                PROVISIONED.replace("{pc}", "no") + "?Qualifier=live",
                "Cannot find alias arn: {no}:live",
            ),
            (
                "function missing with a version",
                PROVISIONED.replace("{pc}", "no") + "?Qualifier=1",
                "Function not found: {no}:1",
            ),
        )
    ),
    Row(
        "9.2 function missing, List",
        f"GET {PROVISIONED.replace('{pc}', 'no')}?List=ALL",
        None,
        RNF,
        "Function not found: {no}",
    ),
    Row(
        "9.2 the alias's version has its own",
        f"PUT {PROVISIONED}?Qualifier=second",
        provision(1),
        "ResourceConflictException",
        "Alias can't be used for Provisioned Concurrency configuration on an already Provisioned version",
    ),
    Row(
        "9.2 the version's alias has one",
        f"PUT {PROVISIONED}?Qualifier=1",
        provision(1),
        "ResourceConflictException",
        "Version is pointed by a Provisioned Concurrency alias",
    ),
    Row(
        "9.2 above the function's reserved concurrency",
        f"PUT {PROVISIONED}?Qualifier=3",
        provision(8),
        IPV,
        "Requested Provisioned Concurrency should not be greater than the reservedConcurrentExecution for function",
    ),
    Row(
        "9.1 below what is provisioned",
        "PUT /2017-10-31/functions/{pc}/concurrency",
        reserve(2),
        IPV,
        " ReservedConcurrentExecutions  2 should not be lower than function's total provisioned concurrency [3].",
        typed=False,
    ),
)
def test_provisioned_concurrency(wire: Wire, provisioned: dict[str, str], row: Row) -> None:
    hold(wire, row, provisioned)


def test_what_is_left_of_the_account_for_provisioned_concurrency(wire: Wire) -> None:
    """§9.2: the account's unreserved, and its minimum."""
    mine = Wire(wire.url, f"{int(wire.account) + 2:012d}")
    name = mine.make("whole")
    mine.publish(name)
    names = {"pc": name}
    put = f"PUT {PROVISIONED}?Qualifier=1"
    above = "Specified ConcurrentExecutions for function is greater than account's unreserved concurrency [1000]."
    hold(mine, Row("above", put, provision(1_001), IPV, above, typed=False), names)
    least = (
        "Specified ConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its minimum "
        "value of [100]."
    )
    hold(mine, Row("least", put, provision(901), IPV, least, typed=False), names)


def test_provisioned_concurrency_alone_is_set_aside_too(wire: Wire) -> None:
    """§17: as reserved concurrency is; where both are set, the reserved one counts."""
    mine = Wire(wire.url, f"{int(wire.account) + 3:012d}")

    def unreserved() -> int:
        limits: dict[str, int] = mine.ok("GET", "/2016-08-19/account-settings")["AccountLimit"]
        return limits["UnreservedConcurrentExecutions"]

    name = mine.make("aside")
    mine.publish(name)
    path = PROVISIONED.replace("{pc}", name) + "?Qualifier=1"
    mine.ok("PUT", path, provision(2))
    assert unreserved() == 998
    mine.ok("PUT", f"/2017-10-31/functions/{name}/concurrency", reserve(5))
    assert unreserved() == 995
    mine.ok("DELETE", path, status=204)
    assert unreserved() == 995
    mine.ok("DELETE", f"{FUNCTIONS}/{name}", status=204)
    assert unreserved() == 1_000


def test_the_answers_about_provisioned_concurrency(wire: Wire, provisioned: dict[str, str]) -> None:
    """§9.2: the members of Put, Get and List, and the form of the time; a second Put is IN_PROGRESS again."""
    path = PROVISIONED.replace("{pc}", provisioned["pc"])
    reply = wire("PUT", f"{path}?Qualifier=live", provision(1))
    assert reply.status == 202
    counts = {f"{what}ProvisionedConcurrentExecutions" for what in ("Requested", "Available", "Allocated")}
    assert set(reply.document) == {*counts, "Status", "LastModified"}
    assert reply.document["Status"] == "IN_PROGRESS"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+0000", reply.document["LastModified"])
    got = wire.ok("GET", f"{path}?Qualifier=live")
    assert got["RequestedProvisionedConcurrentExecutions"] == 1
    listed = wire.ok("GET", f"{path}?List=ALL")["ProvisionedConcurrencyConfigs"]
    assert {one["FunctionArn"] for one in listed} == {f"{provisioned['arn']}:live", f"{provisioned['arn']}:2"}


def test_a_versions_revision_id_changes_with_its_provisioned_concurrency(wire: Wire) -> None:
    """§3.3: put on the version, or on an alias that points to it; $LATEST and the alias keep theirs."""
    name = wire.make("revised")
    wire.publish(name)
    alias = wire.alias(name, "live")
    latest = wire.settled(name)["RevisionId"]
    before = wire.get(name, "1")["RevisionId"]
    path = PROVISIONED.replace("{pc}", name)
    assert wire("PUT", f"{path}?Qualifier=live", provision(1)).status == 202
    by_alias = wire.get(name, "1")["RevisionId"]
    wire.ok("DELETE", f"{path}?Qualifier=live", status=204)
    assert wire("PUT", f"{path}?Qualifier=1", provision(1)).status == 202
    by_itself = wire.get(name, "1")["RevisionId"]
    assert len({before, by_alias, by_itself}) == 3
    assert wire.get(name)["RevisionId"] == latest
    assert wire.ok("GET", f"{FUNCTIONS}/{name}/aliases/live")["RevisionId"] == alias["RevisionId"]
    wire.ok("DELETE", f"{path}?Qualifier=1", status=204)
