"""§14: tags."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import pytest
from tests.parity.spec.spec_world import FUNCTIONS, IPV, RNF, VAL, ZIP, Row, Wire, encoded, hold, like, one, rows
from tests.support import unique

from lambent.api.table import load_table

TAGS = "/2017-03-31/tags/"
PATTERN = load_table().operations["ListTags"].input.members["Resource"].shape.pattern  # type: ignore[union-attr]
QUALIFIED = "Tags on function aliases and versions are not supported. Please specify a function ARN."


@pytest.fixture(scope="module")
def names(wire: Wire) -> dict[str, str]:
    name = wire.make("tags")
    root = f"arn:aws:lambda:us-east-1:{wire.account}"
    uuid = "00000000-0000-4000-8000-000000000000"
    return {
        "fn": wire.arn(name),
        "nofn": wire.arn("no"),
        "mapping": f"{root}:event-source-mapping:{uuid}",
        "provider": f"{root}:capacity-provider:no",
        "signing": f"{root}:code-signing-config:csc-0123456789abcdefg",
        "layer": f"{root}:layer:l",
        "account": wire.account,
    }


@rows(
    *(
        Row(f"14 {what} missing, {method}", f"{method} {TAGS}{{{word}}}{query}", body, RNF, message)
        for method, query, body in (
            ("GET", "", None),
            ("POST", "", {"Tags": {"a": "b"}}),
            ("DELETE", "?tagKeys=a", None),
        )
        for what, word, message in (
            ("function", "nofn", "Function not found: {nofn}"),
            ("mapping", "mapping", "Event source mapping not found: {mapping}"),
            ("capacity provider", "provider", "Capacity provider not found: {provider}"),
            ("code signing configuration", "signing", "Code signing config not found: {signing}"),
        )
    ),
    Row("14 a qualifier", f"GET {TAGS}{{fn}}:1", None, IPV, QUALIFIED),
    Row("14 a qualifier, before existence", f"POST {TAGS}{{nofn}}:live", {"Tags": {"a": "b"}}, IPV, QUALIFIED),
    Row(
        "14 an empty map",
        f"POST {TAGS}{{fn}}",
        {"Tags": {}},
        IPV,
        "An error occurred and the request cannot be processed.",
    ),
    Row(
        "14 no tagKeys",
        f"DELETE {TAGS}{{fn}}",
        None,
        VAL,
        one("null", "tagKeys", "Member must not be null"),
    ),
    Row(
        "14 layers can't be tagged",
        f"GET {TAGS}{{layer}}",
        None,
        VAL,
        one("'{layer}'", "resource", like(PATTERN or "")),
    ),
    Row(
        "14 a suffix behind a mapping",
        f"GET {TAGS}{{mapping}}:x",
        None,
        VAL,
        one("'{mapping}:x'", "resource", like(PATTERN or "")),
    ),
    Row("14 no tags", f"GET {TAGS}{{fn}}", shown={"Tags": {}}),
)
def test_rows(wire: Wire, names: dict[str, str], row: Row) -> None:
    hold(wire, row, names)


def of_function(wire: Wire, tags: dict[str, str]) -> str:
    return wire.arn(wire.make("tagged", Tags=tags))


def of_mapping(wire: Wire, tags: dict[str, str]) -> str:
    body = {
        "FunctionName": wire.make("mapped"),
        "EventSourceArn": f"arn:aws:sqs:us-east-1:{wire.account}:{unique('q')}",
        "Tags": tags,
    }
    arn: str = wire.ok("POST", "/2015-03-31/event-source-mappings", body)["EventSourceMappingArn"]
    return arn


def of_signing_config(wire: Wire, tags: dict[str, str]) -> str:
    profile = f"arn:aws:signer:us-east-1:{wire.account}:/signing-profiles/p/abcdefghij"
    body = {"AllowedPublishers": {"SigningProfileVersionArns": [profile]}, "Tags": tags}
    arn: str = wire.ok("POST", "/2020-04-22/code-signing-configs", body)["CodeSigningConfig"]["CodeSigningConfigArn"]
    return arn


@pytest.mark.parametrize("make", [of_function, of_mapping, of_signing_config])
def test_merging_and_taking_away(wire: Wire, make: Any) -> None:
    """§14: given at creation, merged and overwritten, taken away; unknown keys are ignored; 50 after the merge."""
    path = TAGS + encoded(make(wire, {"a": "1", "b": "2"}))
    assert wire.ok("GET", path) == {"Tags": {"a": "1", "b": "2"}}
    assert wire("POST", path, {"Tags": {"b": "3", "c": "4"}}).status == 204
    assert wire.ok("GET", path) == {"Tags": {"a": "1", "b": "3", "c": "4"}}
    assert wire("DELETE", f"{path}?tagKeys=a&tagKeys=unknown").status == 204
    assert wire.ok("GET", path) == {"Tags": {"b": "3", "c": "4"}}
    many = {f"k{number}": "v" for number in range(49)}
    reply = wire("POST", path, {"Tags": many})
    assert (reply.status, reply.headers["x-amzn-errortype"]) == (400, IPV)
    assert wire.ok("GET", path) == {"Tags": {"b": "3", "c": "4"}}, "nothing was stored"
    del many["k0"]
    assert wire("POST", path, {"Tags": many}).status == 204
    assert len(wire.ok("GET", path)["Tags"]) == 50
    assert wire("POST", path, {"Tags": {"aws:x": "y"}}).status == 400


def test_tags_end_with_their_function(wire: Wire) -> None:
    """§14"""
    arn = of_function(wire, {"a": "b"})
    name = arn.rpartition(":")[2]
    wire.ok("DELETE", f"{FUNCTIONS}/{name}")
    wire.ok("POST", FUNCTIONS, wire.creation(name, Code={"ZipFile": b64encode(ZIP).decode()}))
    assert wire.ok("GET", TAGS + encoded(arn)) == {"Tags": {}}
    assert "Tags" not in wire.ok("GET", f"{FUNCTIONS}/{name}")
