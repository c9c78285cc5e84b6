"""§8: layers. (What functions may be given of them is in the chapter on functions.)"""

from __future__ import annotations

import hashlib
import json
import re
from base64 import b64encode
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from tests.parity.spec.spec_world import (
    FUNCTIONS,
    IPV,
    OTHER_ZIP,
    RCE,
    RNF,
    STALE,
    TOO_LARGE,
    VAL,
    ZIP,
    Row,
    Wire,
    encoded,
    hold,
    like,
    one,
    one_of,
    rows,
)
from tests.support import unique

LAYERS = "/2018-10-31/layers"
BASE64 = b64encode(ZIP).decode()
LISTED = (
    "ruby3.5, ruby2.6, dotnetcore1.0, python3.7, nodejs8.10, nasa, ruby2.7, python2.7-greengrass, dotnetcore2.0, "
    "python3.8, java21, dotnet6, dotnetcore2.1, python3.9, java11, nodejs6.10, provided, dotnetcore3.1, dotnet8, java25, "
    "java17, nodejs, nodejs4.3, java8.al2, go1.x, dotnet10, nodejs20.x, go1.9, byol, nodejs10.x, provided.al2023, "
    "nodejs22.x, python3.10, java8, nodejs12.x, python3.11, nodejs24.x, nodejs8.x, python3.12, nodejs14.x, nodejs8.9, "
    "nodejs26.x, python3.13, python3.14, nodejs16.x, python3.15, provided.al2, nodejs4.3-edge, nodejs18.x, ruby3.2, "
    "python3.4, ruby3.3, ruby3.4, ruby2.5, python3.6, python2.7"
)
ARN_PATTERN = (
    r"(arn:(aws[a-zA-Z-]*)?:lambda:(eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:\d{12}:layer:[a-zA-Z0-9-_]+:"
    r"[0-9]+)|(arn:[a-zA-Z0-9-]+:lambda:::awslayer:[a-zA-Z0-9-_]+)"
)
NO_RESOURCE = "The resource you requested does not exist."
BELOW_ONE = "Layer Version Cannot be less than 1"
NOBODYS = "00000000-0000-4000-8000-000000000000"
STALE_LAYER = (
    "The Revision Id provided does not match the latest Revision Id. Call the GetLayerPolicy API to retrieve the latest "
    "Revision Id"
)


def publish(wire: Wire, name: str, **members: Any) -> Any:
    body = {"Content": {"ZipFile": BASE64}, **members}
    return wire.ok("POST", f"{LAYERS}/{name}/versions", body, 201)


def grant(**members: Any) -> dict[str, Any]:
    return {"StatementId": "s", "Action": "lambda:GetLayerVersion", "Principal": "*", **members}


@pytest.fixture(scope="module")
def names(wire: Wire) -> dict[str, str]:
    name, bare = unique("layer"), unique("bare")
    arn = publish(wire, name)["LayerArn"]
    publish(wire, bare)
    wire.ok("POST", f"{LAYERS}/{name}/versions/1/policy", grant(), 201)
    return {"name": name, "bare": bare, "arn": arn, "encoded": encoded(arn), "root": arn.removesuffix(name)}


@rows(
    Row(
        "8.1 a wrong runtime and a wrong architecture together",
        f"POST {LAYERS}/{{name}}/versions",
        {
            "Content": {"ZipFile": BASE64},
            "CompatibleRuntimes": ["invalidruntime", "invalidruntime2", "nodejs20.x"],
            "CompatibleArchitectures": ["invalidarch", "x86_64"],
        },
        VAL,
        "2 validation errors detected: Value '[invalidruntime, invalidruntime2, nodejs20.x]' at 'compatibleRuntimes' "
        "failed to satisfy constraint: Member must satisfy enum value set: [nodejs20.x, python3.14, provided.al2023, …",
    ),
    Row(
        "8.1 sixteen runtimes",
        f"POST {LAYERS}/{{name}}/versions",
        {"Content": {"ZipFile": BASE64}, "CompatibleRuntimes": ["python3.13"] * 16},
        VAL,
        one(
            f"'[{', '.join(['python3.13'] * 16)}]'",
            "compatibleRuntimes",
            "Member must have length less than or equal to 15",
        ),
    ),
    Row(
        "8.1 no zip",
        f"POST {LAYERS}/{{name}}/versions",
        {"Content": {"ZipFile": "bm8gemlw"}},
        IPV,
        "Could not unzip uploaded file. Please check your file, then try to upload again.",
    ),
    Row(
        "8.1 a zip over 50 MiB",
        f"POST {LAYERS}/{{name}}/versions",
        {"Content": {"ZipFile": b64encode(bytes(52_428_801)).decode()}},
        TOO_LARGE,
        "Zipped size must be smaller than 52428800 bytes",
    ),
    Row("8.2 no layer", f"GET {LAYERS}/no/versions/1", None, RNF, NO_RESOURCE),
    Row("8.2 no version", f"GET {LAYERS}/{{name}}/versions/9", None, RNF, NO_RESOURCE),
    Row("8.2 version 0", f"GET {LAYERS}/{{name}}/versions/0", None, IPV, BELOW_ONE),
    Row("8.2 version -1", f"GET {LAYERS}/{{name}}/versions/-1", None, IPV, BELOW_ONE),
    Row("8.2 by ARN, no version", f"GET {LAYERS}?find=LayerVersion&Arn={{encoded}}%3A9", None, RNF, NO_RESOURCE),
    Row(
        "8.2 by ARN without version",
        f"GET {LAYERS}?find=LayerVersion&Arn={{encoded}}",
        None,
        VAL,
        one("'{arn}'", "arn", like(ARN_PATTERN)),
    ),
    Row("8.3 no layer", f"DELETE {LAYERS}/no/versions/1", status=204),
    Row("8.3 no version", f"DELETE {LAYERS}/{{name}}/versions/9", status=204),
    Row("8.3 version 0", f"DELETE {LAYERS}/{{name}}/versions/0", None, IPV, BELOW_ONE),
    Row("8.4 unknown layer", f"GET {LAYERS}/no/versions", shown={"LayerVersions": []}),
    Row(
        "8.4 a bad runtime",
        f"GET {LAYERS}?CompatibleRuntime=cobol",
        None,
        VAL,
        one("'cobol'", "compatibleRuntime", f"Member must satisfy enum value set: [{LISTED}…")[:-1] + "…",
    ),
    Row(
        "8.4 a bad architecture",
        f"GET {LAYERS}/{{name}}/versions?CompatibleArchitecture=mips",
        None,
        VAL,
        one("'mips'", "compatibleArchitecture", one_of("x86_64", "arm64")),
    ),
    *(
        Row(
            f"8.6 no version, {method}",
            f"{method} {LAYERS}/{{name}}/versions/9/policy{'/s' if method == 'DELETE' else ''}",
            grant() if method == "POST" else None,
            RNF,
            "Layer version {arn}:9 does not exist.",
        )
        for method in ("POST", "GET", "DELETE")
    ),
    Row(
        "8.6 no layer",
        f"GET {LAYERS}/no/versions/1/policy",
        None,
        RNF,
        "Layer version {root}no:1 does not exist.",
    ),
    Row(
        "8.6 no policy",
        f"GET {LAYERS}/{{bare}}/versions/1/policy",
        None,
        RNF,
        "No policy is associated with the given resource.",
    ),
    Row(
        "8.6 another action",
        f"POST {LAYERS}/{{name}}/versions/1/policy",
        grant(Action="lambda:GetFunction"),
        VAL,
        one("'lambda:GetFunction'", "action", like("lambda:GetLayerVersion")),
    ),
    Row(
        "8.6 the Sid is taken",
        f"POST {LAYERS}/{{name}}/versions/1/policy",
        grant(),
        RCE,
        "The statement id (s) provided already exists. Please provide a new statement id, or remove the existing "
        "statement.",
    ),
    Row(
        "8.6 no such Sid",
        f"DELETE {LAYERS}/{{name}}/versions/1/policy/no",
        None,
        RNF,
        "Statement no is not found in resource policy.",
    ),
    Row(
        "8.6 RevisionId, Add",
        f"POST {LAYERS}/{{name}}/versions/1/policy?RevisionId={NOBODYS}",
        grant(StatementId="t"),
        STALE,
        STALE_LAYER,
    ),
    Row(
        "8.6 RevisionId before the Sid, Remove",
        f"DELETE {LAYERS}/{{name}}/versions/1/policy/no?RevisionId={NOBODYS}",
        None,
        STALE,
        STALE_LAYER,
    ),
)
def test_refusals(wire: Wire, names: dict[str, str], row: Row) -> None:
    hold(wire, row, names)


def test_what_a_publication_shows(wire: Wire) -> None:
    """§8.1, §8.2: absent what was not given, an empty list as it was given; Get shows the same."""
    name = unique("shown")
    made = publish(wire, name)
    location = made["Content"].pop("Location")
    assert location.startswith("http")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+0000", made["CreatedDate"])
    layer = f"arn:aws:lambda:us-east-1:{wire.account}:layer:{name}"
    assert made == {
        "LayerArn": layer,
        "LayerVersionArn": f"{layer}:1",
        "Version": 1,
        "CreatedDate": made["CreatedDate"],
        "Description": "",
        "Content": {"CodeSize": len(ZIP), "CodeSha256": b64encode(hashlib.sha256(ZIP).digest()).decode()},
    }
    for path in (
        f"{LAYERS}/{name}/versions/1",
        f"{LAYERS}/{encoded(layer)}/versions/1",
        f"{LAYERS}?find=LayerVersion&Arn={encoded(layer)}%3A1",
    ):
        got = wire.ok("GET", path)
        del got["Content"]["Location"]
        assert got == made
    empty = publish(wire, name, CompatibleRuntimes=[], CompatibleArchitectures=[], LicenseInfo="MIT", Description="d")
    assert (empty["CompatibleRuntimes"], empty["CompatibleArchitectures"]) == ([], [])
    assert (empty["LicenseInfo"], empty["Description"], empty["Version"]) == ("MIT", "d", 2)
    old = publish(wire, name, CompatibleRuntimes=["python2.7", "go1.x"])
    assert old["CompatibleRuntimes"] == ["python2.7", "go1.x"], "no longer creatable, still a layer's"


def test_numbers_are_never_used_again(wire: Wire) -> None:
    """§8.1"""
    name = unique("numbers")
    for number in (1, 2):
        assert publish(wire, name)["Version"] == number
        wire.ok("DELETE", f"{LAYERS}/{name}/versions/{number}", status=204)
    assert wire.ok("GET", f"{LAYERS}/{name}/versions") == {"LayerVersions": []}
    assert publish(wire, name)["Version"] == 3


def test_lists(wire: Wire) -> None:
    """§8.4: newest first, without Content; the newest version that matches; layers without one are not listed."""
    name = unique("listed")
    publish(wire, name, CompatibleRuntimes=["python3.12"], CompatibleArchitectures=["arm64"])
    publish(wire, name, Content={"ZipFile": b64encode(OTHER_ZIP).decode()}, CompatibleRuntimes=["python3.13"])
    publish(wire, name)
    shown = wire.ok("GET", f"{LAYERS}/{name}/versions")["LayerVersions"]
    assert [one["Version"] for one in shown] == [3, 2, 1]
    assert not any({"Content", "LayerArn", "Description"} & one.keys() for one in shown)
    for query, expected in (
        ("", 3),
        ("CompatibleRuntime=python3.13", 2),
        ("CompatibleRuntime=python3.12", 1),
        ("CompatibleArchitecture=arm64", 1),
        ("CompatibleRuntime=python3.13&CompatibleArchitecture=arm64", None),
    ):
        layers = {one["LayerName"]: one for one in wire.ok("GET", f"{LAYERS}?{query}")["Layers"]}
        if expected is None:
            assert name not in layers
        else:
            assert layers[name]["LatestMatchingVersion"]["Version"] == expected
            assert layers[name]["LayerArn"] == f"arn:aws:lambda:us-east-1:{wire.account}:layer:{name}"


def test_the_policy(wire: Wire) -> None:
    """§8.6"""
    name = unique("policy")
    arn = publish(wire, name)["LayerVersionArn"]
    path = f"{LAYERS}/{name}/versions/1/policy"
    everyone = wire.ok("POST", path, grant(), 201)
    assert everyone["Statement"] == (
        f'{{"Sid":"s","Effect":"Allow","Principal":"*","Action":"lambda:GetLayerVersion","Resource":"{arn}"}}'
    )
    body = grant(StatementId="t", OrganizationId="o-0123456789")
    second = wire.ok("POST", f"{path}?RevisionId={everyone['RevisionId']}", body, 201)
    assert json.loads(second["Statement"])["Condition"] == {"StringEquals": {"aws:PrincipalOrgID": "o-0123456789"}}
    third = wire.ok("POST", path, grant(StatementId="u", Principal="123456789012"), 201)
    assert json.loads(third["Statement"])["Principal"] == {"AWS": "arn:aws:iam::123456789012:root"}
    shown = wire.ok("GET", path)
    assert shown["RevisionId"] == third["RevisionId"]
    assert shown["Policy"].startswith('{"Version":"2012-10-17","Id":"default","Statement":[{"Sid":"s",')
    assert len({everyone["RevisionId"], second["RevisionId"], third["RevisionId"]}) == 3
    for sid in "stu":
        wire.ok("DELETE", f"{path}/{sid}", status=204)
    assert wire("GET", path).status == 404


def test_one_winner_per_revision_id(wire: Wire) -> None:
    """§8.6: of fifty grants that know the same RevisionId one is served."""
    name = unique("contended")
    publish(wire, name)
    path = f"{LAYERS}/{name}/versions/1/policy"
    revision = wire.ok("POST", path, grant(), 201)["RevisionId"]

    def write(number: int) -> int:
        return wire("POST", f"{path}?RevisionId={revision}", grant(StatementId=f"s{number}")).status

    with ThreadPoolExecutor(50) as pool:
        assert Counter(pool.map(write, range(50))) == {201: 1, 412: 49}
    assert wire.ok("GET", path)["Policy"].count('"Sid"') == 2


def test_a_function_keeps_a_deleted_layer_version(wire: Wire) -> None:
    """§8.3: and it can't be attached anew."""
    name = unique("kept")
    arn = publish(wire, name)["LayerVersionArn"]
    function = wire.make("keeper", Layers=[arn])
    wire.ok("DELETE", f"{LAYERS}/{name}/versions/1", status=204)
    assert wire.settled(function)["Layers"] == [{"Arn": arn, "CodeSize": len(ZIP)}]
    row = Row("8.3", f"POST {FUNCTIONS}", wire.creation("f", Layers=[arn]), IPV, f"Layer version {arn} does not exist.")
    hold(wire, row, {})
