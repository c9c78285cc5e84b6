"""§9 and §17: reserved concurrency, and what the account has left."""

from __future__ import annotations

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
