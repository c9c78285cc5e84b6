"""§12: function URLs."""

from __future__ import annotations

import re
from typing import Any

import pytest
from tests.parity.spec.spec_world import FUNCTIONS, IPV, RCE, RNF, VAL, Row, Wire, hold, like, one, one_of, rows

URL = "/2021-10-31/functions/{name}/url"
NO = URL.replace("{name}", "no")
NONE = {"AuthType": "NONE"}
NO_FUNCTION = "Function does not exist"
NO_RESOURCE = "The resource you requested does not exist."
PATTERN = r"((?!^\d+$)^[0-9a-zA-Z-_]+$)"
TAKEN = (
    "Failed to create function url config for [functionArn = {arn}]. Error message:  FunctionUrlConfig exists for this "
    "Lambda function"
)


@pytest.fixture(scope="module")
def names(wire: Wire) -> dict[str, str]:
    name = wire.make("urls")
    wire.publish(name)
    wire.alias(name, "live")
    taken = wire.make("taken")
    wire.publish(taken)
    wire.alias(taken, "live")
    for query in ("", "?Qualifier=live"):
        wire.ok("POST", URL.replace("{name}", taken) + query, NONE, 201)
    return {"name": name, "taken": taken, "arn": wire.arn(taken)}


@rows(
    *(
        Row(
            f"12 Qualifier {qualifier}, {method}",
            f"{method} {path}?Qualifier={qualifier}",
            NONE if method in ("POST", "PUT") else None,
            VAL,
            one(f"'{qualifier}'", "qualifier", like(PATTERN)),
        )
        for method, path in (("POST", URL), ("GET", URL), ("PUT", URL), ("DELETE", NO))
        for qualifier in ("1", "$LATEST")
    ),
    *(
        Row(f"12 {what} missing, {method}", f"{method} {path}", NONE, RNF, NO_FUNCTION)
        for method in ("POST", "PUT")
        for what, path in (("function", NO), ("alias", URL + "?Qualifier=no"))
    ),
    Row("12 function missing, List", f"GET {NO}s", None, RNF, NO_FUNCTION),
    Row("12 Update without URL", f"PUT {URL}", NONE, RNF, NO_RESOURCE),
    *(
        Row(f"12 {what} missing, {method}", f"{method} {path}", None, RNF, NO_RESOURCE)
        for method in ("GET", "DELETE")
        for what, path in (("function", NO), ("alias", URL + "?Qualifier=no"), ("URL", URL))
    ),
    Row("12 URL exists", f"POST {URL.replace('{name}', '{taken}')}", NONE, RCE, TAKEN),
    Row(
        "12 URL of an alias exists",
        f"POST {URL.replace('{name}', '{taken}')}?Qualifier=live",
        NONE,
        RCE,
        TAKEN.replace("{arn}", "{arn}:live"),
    ),
    Row(
        "12 InvokeMode",
        f"POST {URL}",
        {**NONE, "InvokeMode": "x"},
        VAL,
        one("'x'", "invokeMode", one_of("RESPONSE_STREAM", "BUFFERED")),
    ),
    Row(
        "12 Cors without AllowOrigins, Update",
        f"PUT {URL.replace('{name}', '{taken}')}",
        {"Cors": {"MaxAge": 5}},
        IPV,
        "You can't leave AllowOrigins as empty when Cors is enabled.",
    ),
    Row(
        "12 MaxAge above",
        f"POST {URL}",
        {**NONE, "Cors": {"MaxAge": 86_401}},
        VAL,
        one("'86401'", "cors.maxAge", "Member must have value less than or equal to 86400"),
    ),
    Row("12 OPTIONS", f"POST {URL}", {**NONE, "Cors": {"AllowMethods": ["OPTIONS"]}}, VAL, "1 validation error …"),
)
def test_refusals(wire: Wire, names: dict[str, str], row: Row) -> None:
    hold(wire, row, names)


def test_a_life(wire: Wire) -> None:
    """§12: which answers have which members, the address, and Cors as it is kept, replaced and removed."""
    name = wire.make("life")
    path = URL.replace("{name}", name)
    cors: dict[str, Any] = {"AllowOrigins": ["*"], "MaxAge": 0}
    made = wire.ok("POST", path, {**NONE, "Cors": {**cors, "AllowHeaders": []}}, 201)
    assert set(made) == {"FunctionUrl", "FunctionArn", "AuthType", "CreationTime", "Cors"}
    assert made["FunctionArn"] == wire.arn(name)
    assert made["Cors"] == cors, "members with a value only"
    assert re.fullmatch(
        r"http://([0-9a-z]{32}\.lambda-url\.us-east-1\.localhost:\d+|127\.0\.0\.1:\d+/_lambent/url/[0-9a-z]{32})/",
        made["FunctionUrl"],
    ), "the host form where such names resolve, else the path form"
    got = wire.ok("GET", path)
    assert got == {**made, "LastModifiedTime": got["LastModifiedTime"], "InvokeMode": "BUFFERED"}
    kept = wire.ok("PUT", path, {"AuthType": "AWS_IAM"}, 200)
    assert set(kept) == {*made, "LastModifiedTime"}, "InvokeMode was never set"
    assert (kept["AuthType"], kept["Cors"], kept["FunctionUrl"]) == ("AWS_IAM", cors, made["FunctionUrl"])
    replaced = wire.ok("PUT", path, {"Cors": {"AllowOrigins": ["https://a.example"]}, "InvokeMode": "RESPONSE_STREAM"})
    assert replaced["Cors"] == {"AllowOrigins": ["https://a.example"]}
    assert replaced["InvokeMode"] == "RESPONSE_STREAM"
    removed = wire.ok("PUT", path, {"Cors": {}})
    assert "Cors" not in removed
    assert removed["InvokeMode"] == "RESPONSE_STREAM"
    wire.ok("DELETE", path, status=204)
    again = wire.ok("POST", path, {**NONE, "InvokeMode": "BUFFERED"}, 201)
    assert again["FunctionUrl"] != made["FunctionUrl"]
    assert again["InvokeMode"] == "BUFFERED"


def test_one_for_each_alias(wire: Wire, names: dict[str, str]) -> None:
    """§12: independent of each other, the unqualified first; an alias takes its own along."""
    name = names["taken"]
    shown = wire.ok("GET", f"/2021-10-31/functions/{name}/urls")["FunctionUrlConfigs"]
    assert [one["FunctionArn"] for one in shown] == [wire.arn(name), wire.arn(name, "live")]
    assert len({one["FunctionUrl"] for one in shown}) == 2
    assert all({"LastModifiedTime", "InvokeMode"} <= one.keys() for one in shown)
    wire.ok("DELETE", f"{FUNCTIONS}/{name}/aliases/live")
    shown = wire.ok("GET", f"/2021-10-31/functions/{name}/urls")["FunctionUrlConfigs"]
    assert [one["FunctionArn"] for one in shown] == [wire.arn(name)]
    wire.alias(name, "live")
    wire.ok("POST", URL.replace("{name}", name) + "?Qualifier=live", NONE, 201)
