"""§13: code signing configurations, and which function has which."""

from __future__ import annotations

import re
from typing import Any

import pytest
from tests.parity.spec.spec_world import FUNCTIONS, RNF, VAL, Row, Wire, encoded, hold, rows, well_formed

PATH = "/2020-04-22/code-signing-configs"
ATTACHED = "/2020-06-30/functions/{name}/code-signing-config"
NO_CONFIG = "The Lambda code signing configuration {missing} can not be found."
NOT_FOUND = (
    "The code signing configuration cannot be found. Check that the provided configuration is not deleted: {missing}."
)


def publishers(account: str) -> dict[str, Any]:
    arn = f"arn:aws:signer:us-east-1:{account}:/signing-profiles/p/abcdefghij"
    return {"AllowedPublishers": {"SigningProfileVersionArns": [arn]}}


def create(wire: Wire, **members: Any) -> Any:
    return wire.ok("POST", PATH, {**publishers(wire.account), **members}, 201)["CodeSigningConfig"]


@pytest.fixture(scope="module")
def names(wire: Wire) -> dict[str, str]:
    name = wire.make("signing")
    missing = f"arn:aws:lambda:us-east-1:{wire.account}:code-signing-config:csc-0123456789abcdefg"
    return {"name": name, "missing": missing, "encoded": encoded(missing), "no": wire.arn("no")}


@rows(
    *(
        Row(
            f"13 unknown, {method} {suffix}".strip(),
            f"{method} {PATH}/{{encoded}}{suffix}",
            {} if method == "PUT" else None,
            RNF,
            NO_CONFIG,
            typed=False,
        )
        for method, suffix in (("GET", ""), ("PUT", ""), ("DELETE", ""), ("GET", "/functions"))
    ),
    *(
        Row(
            f"13 an unknown configuration for {what}",
            f"PUT {ATTACHED.replace('{name}', name)}",
            {"CodeSigningConfigArn": "{missing}"},
            "CodeSigningConfigNotFoundException",
            NOT_FOUND,
        )
        for what, name in (("a function", "{name}"), ("no function: it comes first", "no"))
    ),
    *(
        Row(
            f"13 no function, {method}",
            f"{method} {ATTACHED.replace('{name}', 'no')}",
            None,
            RNF,
            "Function not found: {no}",
        )
        for method in ("GET", "DELETE")
    ),
    Row(
        "13 no signing profile",
        f"POST {PATH}",
        {"AllowedPublishers": {"SigningProfileVersionArns": []}},
        VAL,
        "1 validation error detected: Value '[]' at 'allowedPublishers.signingProfileVersionArns' failed to satisfy "
        "constraint: Member must have length greater than or equal to 1",
    ),
)
def test_refusals(wire: Wire, names: dict[str, str], row: Row) -> None:
    hold(wire, row, names)


def test_what_a_configuration_shows(wire: Wire) -> None:
    """§13: identifier, defaults, and an update that changes nothing."""
    made = create(wire)
    assert re.fullmatch(r"csc-[0-9a-z]{17}", made["CodeSigningConfigId"])
    arn = f"arn:aws:lambda:us-east-1:{wire.account}:code-signing-config:{made['CodeSigningConfigId']}"
    assert made == {
        "CodeSigningConfigId": made["CodeSigningConfigId"],
        "CodeSigningConfigArn": arn,
        "Description": "",
        **publishers(wire.account),
        "CodeSigningPolicies": {"UntrustedArtifactOnDeployment": "Warn"},
        "LastModified": made["LastModified"],
    }
    assert wire.ok("GET", f"{PATH}/{encoded(arn)}", status=200) == {"CodeSigningConfig": made}
    assert wire.ok("PUT", f"{PATH}/{encoded(arn)}", {}, 200)["CodeSigningConfig"]["Description"] == ""


def test_attaching(wire: Wire) -> None:
    """§13: none is 200 with an empty body; put, replace, remove; what is attached is not deleted."""
    name = wire.make("attached")
    path = ATTACHED.replace("{name}", name)
    reply = wire("GET", path)
    assert (reply.status, reply.body) == (200, b"")
    well_formed(reply)
    assert wire("DELETE", path).status == 204
    first, second = (create(wire)["CodeSigningConfigArn"] for _ in range(2))
    for arn in (first, second):
        shown = {"CodeSigningConfigArn": arn, "FunctionName": name}
        assert wire.ok("PUT", path, {"CodeSigningConfigArn": arn}, 200) == shown
        assert wire.ok("GET", path) == shown
    assert wire.ok("GET", f"{PATH}/{encoded(first)}/functions") == {"FunctionArns": []}
    assert wire.ok("GET", f"{PATH}/{encoded(second)}/functions") == {"FunctionArns": [wire.arn(name)]}
    refusal = wire("DELETE", f"{PATH}/{encoded(second)}")
    assert (refusal.status, refusal.headers["x-amzn-errortype"]) == (409, "ResourceConflictException")
    wire.ok("DELETE", f"{FUNCTIONS}/{name}")
    assert wire("DELETE", f"{PATH}/{encoded(second)}").status == 204


def test_unsigned_code(wire: Wire) -> None:
    """§13: refused where the policy enforces, and the function is named."""
    policy = {"CodeSigningPolicies": {"UntrustedArtifactOnDeployment": "Enforce"}}
    arn = create(wire, **policy)["CodeSigningConfigArn"]
    body = wire.creation("unsigned", CodeSigningConfigArn=arn)
    row = Row(
        "13 unsigned",
        f"POST {FUNCTIONS}",
        body,
        "CodeVerificationFailedException",
        "Lambda cannot deploy the function. The function or layer might be signed using a signature that the client is "
        "not configured to accept. Check the provided signature for unsigned.",
    )
    hold(wire, row, {})


def test_the_list_is_in_the_order_of_creation(wire: Wire) -> None:
    made = [create(wire)["CodeSigningConfigId"] for _ in range(3)]
    shown = wire.ok("GET", PATH)["CodeSigningConfigs"]
    assert [one["CodeSigningConfigId"] for one in shown][-3:] == made
