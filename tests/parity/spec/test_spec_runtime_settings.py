"""§15 and §16: runtime management, and recursive loops."""

from __future__ import annotations

import pytest
from tests.parity.spec.spec_world import IPV, RNF, VAL, Row, Wire, hold, one, one_of, rows

MANAGED = "/2021-07-20/functions/{name}/runtime-management-config"
NO_MANAGED = MANAGED.replace("{name}", "no")
LOOPS = "/2024-08-31/functions/{name}/recursion-config"
NO_LOOPS = LOOPS.replace("{name}", "no")
ALIAS = "The provided function name {arn}:live is invalid. Aliases are not allowed."
RUNTIME = "arn:aws:lambda:us-east-1::runtime:" + "0" * 64
AUTO = {"UpdateRuntimeOn": "Auto"}


@pytest.fixture(scope="module")
def names(wire: Wire) -> dict[str, str]:
    name = wire.make("settings")
    wire.publish(name)
    wire.alias(name, "live")
    return {"name": name, "arn": wire.arn(name), "no": wire.arn("no")}


@rows(
    Row("15 default", f"GET {MANAGED}", shown={**AUTO, "FunctionArn": "{arn}:$LATEST"}),
    Row("15 default of a version", f"GET {MANAGED}?Qualifier=1", shown={**AUTO, "FunctionArn": "{arn}:1"}),
    Row(
        "15 FunctionUpdate",
        f"PUT {MANAGED}",
        {"UpdateRuntimeOn": "FunctionUpdate"},
        shown={"UpdateRuntimeOn": "FunctionUpdate", "FunctionArn": "{arn}:$LATEST"},
    ),
    Row(
        "15 Manual, of a version",
        f"PUT {MANAGED}?Qualifier=1",
        {"UpdateRuntimeOn": "Manual", "RuntimeVersionArn": RUNTIME},
        shown={"UpdateRuntimeOn": "Manual", "RuntimeVersionArn": RUNTIME, "FunctionArn": "{arn}:1"},
    ),
    Row(
        "15 versions have their own",
        f"GET {MANAGED}",
        shown={"UpdateRuntimeOn": "FunctionUpdate", "FunctionArn": "{arn}:$LATEST"},
    ),
    *(
        Row(f"15 {what}, {method}", f"{method} {path}", AUTO if method == "PUT" else None, code, message)
        for method in ("GET", "PUT")
        for what, path, code, message in (
            ("function missing", NO_MANAGED, RNF, "Function not found: {no}"),
            ("version missing", MANAGED + "?Qualifier=9", RNF, "Function not found: {arn}:9"),
            ("alias as qualifier", MANAGED + "?Qualifier=live", IPV, ALIAS),
            ("alias in the name", MANAGED.replace("{name}", "{name}:live"), IPV, ALIAS),
        )
    ),
    Row("15 Manual without ARN", f"PUT {MANAGED}", {"UpdateRuntimeOn": "Manual"}, IPV, "RuntimeVersionArn …"),
    Row(
        "15 an ARN with Auto",
        f"PUT {MANAGED}",
        {"UpdateRuntimeOn": "Auto", "RuntimeVersionArn": RUNTIME},
        IPV,
        "RuntimeVersionArn …",
    ),
    Row("15 Put Auto, as Terraform deletes", f"PUT {MANAGED}", AUTO, shown={**AUTO, "FunctionArn": "{arn}:$LATEST"}),
    Row("16 default", f"GET {LOOPS}", shown={"RecursiveLoop": "Terminate"}),
    Row("16 Put", f"PUT {LOOPS}", {"RecursiveLoop": "Allow"}, shown={"RecursiveLoop": "Allow"}),
    Row("16 Get", f"GET {LOOPS}", shown={"RecursiveLoop": "Allow"}),
    Row("16 no function, Get", f"GET {NO_LOOPS}", None, RNF, "Function not found: {no}"),
    Row("16 no function, Put", f"PUT {NO_LOOPS}", {"RecursiveLoop": "Allow"}, RNF, "Function not found: {no}"),
    Row(
        "16 bad value",
        f"PUT {LOOPS}",
        {"RecursiveLoop": "x"},
        VAL,
        one("'x'", "recursiveLoop", one_of("Terminate", "Allow")),
    ),
    Row(
        "16 no qualifier",
        f"GET {LOOPS.replace('{name}', '{name}:1')}",
        None,
        VAL,
        "1 validation error detected: Value '{name}:1' at 'functionName' …",
    ),
)
def test_rows(wire: Wire, names: dict[str, str], row: Row) -> None:
    """The rows of successes build on each other."""
    hold(wire, row, names)


def test_a_runtime_that_is_held(wire: Wire, names: dict[str, str]) -> None:
    """§15: the function's RuntimeVersionConfig says it."""
    assert wire.get(names["name"], "1")["RuntimeVersionConfig"] == {"RuntimeVersionArn": RUNTIME}
