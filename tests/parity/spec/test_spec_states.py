"""§3: which answers carry which state, whose RevisionId changes when, hashes, times, defaults; one winner per RevisionId."""

from __future__ import annotations

import hashlib
import re
import time
from base64 import b64encode
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from tests.parity.spec.spec_world import (
    FUNCTIONS,
    IPV,
    OTHER_ZIP,
    STALE,
    UUID,
    ZIP,
    Reply,
    Row,
    Wire,
    encoded,
    hold,
    refused,
    rows,
)
from tests.support import PYTHON_RUNTIME, package, unique

STATE = {"State", "StateReason", "StateReasonCode"}
UPDATE = {"LastUpdateStatus", "LastUpdateStatusReason", "LastUpdateStatusReasonCode"}
CREATING = {"State": "Pending", "StateReason": "The function is being created.", "StateReasonCode": "Creating"}
UPDATING = {
    "State": "Active",
    "LastUpdateStatus": "InProgress",
    "LastUpdateStatusReason": "The function is being created.",
    "LastUpdateStatusReasonCode": "Creating",
}
SETTLED = {"State": "Active", "LastUpdateStatus": "Successful"}
GET_FUNCTION_STALE = (
    "The Revision Id provided does not match the latest Revision Id. Call the GetFunction/GetAlias API to retrieve the "
    "latest Revision Id"
)
GET_POLICY_STALE = (
    "The Revision Id provided does not match the latest Revision Id. Call the GetPolicy API to retrieve the latest "
    "Revision Id"
)
WRITERS = 50


def states(shown: dict[str, Any]) -> dict[str, Any]:
    """The members of state that are there."""
    return {name: value for name, value in shown.items() if name in STATE | UPDATE}


def zip_of(number: int) -> str:
    return b64encode(package({"app.py": f"# {number}\ndef handler(event, context):\n    return {number}\n"})).decode()


@pytest.fixture(scope="module")
def name(wire: Wire) -> str:
    """A function with two versions and an alias, at rest."""
    name = wire.make("states")
    wire.publish(name)
    wire.publish(name, OTHER_ZIP)
    wire.alias(name, "live")
    wire.settled(name)
    return name


def create(wire: Wire, name: str) -> Any:
    return wire.ok("POST", FUNCTIONS, wire.creation(unique("created")))


def create_published(wire: Wire, name: str) -> Any:
    return wire.ok("POST", FUNCTIONS, wire.creation(unique("created"), Publish=True))


def update_code(wire: Wire, name: str) -> Any:
    return wire.ok("PUT", f"{FUNCTIONS}/{name}/code", {"ZipFile": zip_of(1)})


def update_code_published(wire: Wire, name: str) -> Any:
    return wire.ok("PUT", f"{FUNCTIONS}/{name}/code", {"ZipFile": zip_of(2), "Publish": True})


def update_configuration(wire: Wire, name: str) -> Any:
    return wire.ok("PUT", f"{FUNCTIONS}/{name}/configuration", {"Timeout": 9})


def update_nothing(wire: Wire, name: str) -> Any:
    return wire.ok("PUT", f"{FUNCTIONS}/{name}/configuration", {})


def publish(wire: Wire, name: str) -> Any:
    update_code(wire, name)
    return wire.ok("POST", f"{FUNCTIONS}/{name}/versions", {})


def get(wire: Wire, name: str) -> Any:
    wire.settled(name)
    return wire.ok("GET", f"{FUNCTIONS}/{name}")["Configuration"]


def get_configuration(wire: Wire, name: str) -> Any:
    return wire.settled(name)


def get_version(wire: Wire, name: str) -> Any:
    return wire.settled(name, "1")


def list_functions(wire: Wire, name: str) -> Any:
    return wire.ok("GET", FUNCTIONS)["Functions"][0]


def list_all(wire: Wire, name: str) -> Any:
    return wire.ok("GET", f"{FUNCTIONS}?FunctionVersion=ALL")["Functions"][-1]


def list_versions(wire: Wire, name: str) -> Any:
    return wire.ok("GET", f"{FUNCTIONS}/{name}/versions")["Versions"][-1]


@pytest.mark.parametrize(
    ("ask", "expected", "version"),
    [
        pytest.param(create, CREATING, "$LATEST", id="3.1 CreateFunction"),
        pytest.param(create_published, CREATING, "1", id="3.1 CreateFunction with Publish"),
        pytest.param(update_code, UPDATING, "$LATEST", id="3.1 UpdateFunctionCode"),
        pytest.param(update_configuration, UPDATING, "$LATEST", id="3.1 UpdateFunctionConfiguration"),
        pytest.param(update_nothing, UPDATING, "$LATEST", id="3.2 an update that changes nothing"),
        pytest.param(update_code_published, CREATING, None, id="3.1 UpdateFunctionCode with Publish"),
        pytest.param(publish, SETTLED, None, id="3.1 PublishVersion"),
        pytest.param(get, SETTLED, "$LATEST", id="3.1 GetFunction"),
        pytest.param(get_configuration, SETTLED, "$LATEST", id="3.1 GetFunctionConfiguration"),
        pytest.param(get_version, SETTLED, "1", id="3.1 GetFunctionConfiguration of a version"),
        pytest.param(list_functions, {}, "$LATEST", id="3.1 ListFunctions"),
        pytest.param(list_all, {}, None, id="3.1 ListFunctions of all versions"),
        pytest.param(list_versions, {}, None, id="3.1 ListVersionsByFunction"),
    ],
)
def test_which_answers_carry_which_state(
    wire: Wire, name: str, ask: Callable[[Wire, str], Any], expected: dict[str, str], version: str | None
) -> None:
    shown = ask(wire, name)
    assert states(shown) == expected
    assert ("RuntimeVersionConfig" in shown) == bool(expected)
    assert version is None or shown["Version"] == version
    unqualified = ask in (create, create_published, update_code, update_configuration, update_nothing, list_functions)
    unqualified = unqualified or ask in (get, get_configuration)
    assert shown["FunctionArn"].endswith(f":{shown['Version']}") != unqualified


def revisions(wire: Wire, name: str) -> dict[str, str]:
    """Every RevisionId of a function, by whose it is."""
    wire.settled(name)
    found = {one["Version"]: one["RevisionId"] for one in wire.ok("GET", f"{FUNCTIONS}/{name}/versions")["Versions"]}
    found |= {one["Name"]: one["RevisionId"] for one in wire.ok("GET", f"{FUNCTIONS}/{name}/aliases")["Aliases"]}
    reply = wire("GET", f"{FUNCTIONS}/{name}/policy")
    if reply.status == 200:
        found["policy"] = reply.document["RevisionId"]
    assert all(UUID.fullmatch(one) for one in found.values())
    return found


PERMISSION = {"Action": "lambda:InvokeFunction", "Principal": "s3.amazonaws.com"}
HERE = FUNCTIONS + "/{name}"
DOCUMENT = (
    '{"Version":"2012-10-17","Id":"default","Statement":[{"Sid":"kept","Effect":"Allow","Principal":"*",'
    '"Action":"lambda:InvokeFunction","Resource":"{arn}"}]}'
)
REVISIONS: dict[str, tuple[str, Any, set[str]]] = {
    "UpdateFunctionCode": (f"PUT {HERE}/code", {"ZipFile": zip_of(3)}, {"$LATEST"}),
    "UpdateFunctionConfiguration": (f"PUT {HERE}/configuration", {"Timeout": 7}, {"$LATEST"}),
    "UpdateFunctionConfiguration without change": (f"PUT {HERE}/configuration", {}, {"$LATEST"}),
    "UpdateFunctionCode as a dry run": (f"PUT {HERE}/code", {"ZipFile": zip_of(4), "DryRun": True}, set()),
    "PublishVersion creating a version": (f"POST {HERE}/versions", {}, {"$LATEST", "2"}),
    "PublishVersion that finds nothing changed": (f"POST {HERE}/versions", {}, set()),
    "TagResource": ("POST /2017-03-31/tags/{arn}", {"Tags": {"a": "b"}}, {"$LATEST"}),
    "UntagResource": ("DELETE /2017-03-31/tags/{arn}?tagKeys=a", None, {"$LATEST"}),
    "CreateAlias": (f"POST {HERE}/aliases", {"Name": "blue", "FunctionVersion": "2"}, {"blue"}),
    "UpdateAlias": (f"PUT {HERE}/aliases/blue", {"FunctionVersion": "1"}, {"blue"}),
    "UpdateAlias without change": (f"PUT {HERE}/aliases/blue", {}, {"blue"}),
    "DeleteAlias": (f"DELETE {HERE}/aliases/blue", None, {"blue"}),
    "AddPermission": (f"POST {HERE}/policy", {**PERMISSION, "StatementId": "kept"}, {"policy"}),
    "AddPermission once more": (f"POST {HERE}/policy", {**PERMISSION, "StatementId": "other"}, {"policy"}),
    "RemovePermission": (f"DELETE {HERE}/policy/other", None, {"policy"}),
    "PutResourcePolicy": ("PUT /2026-07-09/resource-policy/{arn}", {"Policy": DOCUMENT}, {"policy"}),
    "PutResourcePolicy without change": ("PUT /2026-07-09/resource-policy/{arn}", {"Policy": DOCUMENT}, {"policy"}),
    "AddPermission on an alias": (f"POST {HERE}/policy?Qualifier=live", {**PERMISSION, "StatementId": "x"}, set()),
    "PutFunctionConcurrency": (
        "PUT /2017-10-31/functions/{name}/concurrency",
        {"ReservedConcurrentExecutions": 3},
        set(),
    ),
    "PutFunctionEventInvokeConfig": (
        "PUT /2019-09-25/functions/{name}/event-invoke-config",
        {"MaximumRetryAttempts": 1},
        set(),
    ),
    "CreateFunctionUrlConfig": ("POST /2021-10-31/functions/{name}/url", {"AuthType": "NONE"}, set()),
    "DeleteResourcePolicy": ("DELETE /2026-07-09/resource-policy/{arn}", None, {"policy"}),
}
"""§3.3, in an order in which each event can happen: the request, and whose RevisionId it changes."""


@pytest.fixture(scope="module")
def moved(wire: Wire) -> dict[str, set[str]]:
    """For each event the names whose RevisionId was another one afterwards."""
    name = wire.make("moved")
    wire.publish(name)
    wire.alias(name, "live")
    wire.ok("PUT", f"{FUNCTIONS}/{name}/code", {"ZipFile": zip_of(0)})
    found, before = {}, revisions(wire, name)
    for event, (request, body, _) in REVISIONS.items():
        method, path = request.replace("{name}", name).replace("{arn}", encoded(wire.arn(name))).split(" ")
        if body is not None and "Policy" in body:
            body = {"Policy": body["Policy"].replace("{arn}", wire.arn(name))}
        wire.ok(method, path, body)
        after = revisions(wire, name)
        found[event] = {one for one in before.keys() | after.keys() if before.get(one) != after.get(one)}
        before = after
    return found


@pytest.mark.parametrize("event", REVISIONS)
def test_whose_revision_id_changes(moved: dict[str, set[str]], event: str) -> None:
    """§3.3, all but the completions, which the next test has."""
    assert moved[event] == REVISIONS[event][2]


def test_completion_changes_the_revision_id_again(wire: Wire) -> None:
    """§3.3: Pending → Active and the update's completion; so a creation's own value is stale when it is sent."""
    name = unique("completed")
    first = wire.ok("POST", FUNCTIONS, wire.creation(name))["RevisionId"]
    second = wire.settled(name)["RevisionId"]
    third = wire.ok("PUT", f"{FUNCTIONS}/{name}/configuration", {})["RevisionId"]
    fourth = wire.settled(name)["RevisionId"]
    assert len({first, second, third, fourth}) == 4
    reply = wire("PUT", f"{FUNCTIONS}/{name}/configuration", {"RevisionId": first})
    refused(reply, STALE, GET_FUNCTION_STALE)


@rows(
    Row("3.3 UpdateFunctionCode", f"PUT {HERE}/code", {"RevisionId": "old"}, STALE, GET_FUNCTION_STALE),
    Row(
        "3.3 UpdateFunctionCode, before the code and PublishTo",
        f"PUT {HERE}/code",
        {"RevisionId": "old", "ZipFile": "bm8gemlw", "PublishTo": "LATEST_PUBLISHED"},
        STALE,
        GET_FUNCTION_STALE,
    ),
    Row(
        "3.3 UpdateFunctionConfiguration",
        f"PUT {HERE}/configuration",
        {"RevisionId": "old"},
        STALE,
        GET_FUNCTION_STALE,
    ),
    Row(
        "3.3 UpdateFunctionConfiguration, before its parameters",
        f"PUT {HERE}/configuration",
        {"RevisionId": "old", "Environment": {"Variables": {"AWS_REGION": "x"}}, "Runtime": "cobol"},
        STALE,
        GET_FUNCTION_STALE,
    ),
    Row("3.3 PublishVersion", f"POST {HERE}/versions", {"RevisionId": "old"}, STALE, GET_FUNCTION_STALE),
    Row(
        "3.3 PublishVersion, before the hash",
        f"POST {HERE}/versions",
        {"RevisionId": "old", "CodeSha256": "x"},
        STALE,
        GET_FUNCTION_STALE,
    ),
    Row("3.3 UpdateAlias", f"PUT {HERE}/aliases/live", {"RevisionId": "old"}, STALE, GET_FUNCTION_STALE),
    Row(
        "3.3 UpdateAlias, before its parameters",
        f"PUT {HERE}/aliases/live",
        {"RevisionId": "old", "FunctionVersion": "99"},
        STALE,
        GET_FUNCTION_STALE,
    ),
    Row(
        "3.3 AddPermission",
        f"POST {HERE}/policy",
        {**PERMISSION, "StatementId": "new", "RevisionId": "old"},
        STALE,
        GET_POLICY_STALE,
    ),
    Row("3.3 RemovePermission", f"DELETE {HERE}/policy/s?RevisionId=old", None, STALE, GET_POLICY_STALE),
    Row(
        "3.3 UpdateFunctionConfiguration, existence first",
        f"PUT {FUNCTIONS}/no/configuration",
        {"RevisionId": "old", "Runtime": "cobol"},
        "ResourceNotFoundException",
        "Function not found: {no}",
    ),
)
def test_a_revision_id_that_is_not_the_latest(wire: Wire, name: str, row: Row) -> None:
    hold(wire, row, {"name": name, "no": wire.arn("no")})


def test_hashes_and_sizes(wire: Wire) -> None:
    """§3.4: of the archive's bytes exactly as they were uploaded."""
    shown = wire.get(wire.make("hash"))
    assert shown["CodeSha256"] == b64encode(hashlib.sha256(ZIP).digest()).decode()
    assert shown["CodeSize"] == len(ZIP)
    assert "ConfigSha256" not in shown


def test_times(wire: Wire) -> None:
    """§3.5: LastModified of $LATEST moves with code and configuration, not with completion, tags or publishing."""
    name = unique("times")
    created = wire.ok("POST", FUNCTIONS, wire.creation(name))["LastModified"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+0000", created)
    wire.settled(name)
    wire.ok("POST", f"/2017-03-31/tags/{encoded(wire.arn(name))}", {"Tags": {"a": "b"}})
    published = wire.ok("POST", f"{FUNCTIONS}/{name}/versions", {})
    assert wire.get(name)["LastModified"] == published["LastModified"] == created
    time.sleep(0.002)  # the next millisecond
    updated = wire.ok("PUT", f"{FUNCTIONS}/{name}/configuration", {})["LastModified"]
    assert updated > created
    assert wire.settled(name)["LastModified"] == updated
    assert wire.get(name, "1")["LastModified"] == created
    events = f"/2019-09-25/functions/{name}/event-invoke-config"
    assert isinstance(wire.ok("PUT", events, {"MaximumRetryAttempts": 1})["LastModified"], float)
    url = wire.ok("POST", f"/2021-10-31/functions/{name}/url", {"AuthType": "NONE"})["CreationTime"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", url)


def test_a_minimal_creation(wire: Wire) -> None:
    """§3.6: the example, member by member in its order of meaning: nothing missing, nothing more."""
    name = unique("minimal")
    shown = wire.ok("POST", FUNCTIONS, wire.creation(name), 201)
    runtime = shown["RuntimeVersionConfig"]["RuntimeVersionArn"]
    assert re.fullmatch(r"arn:aws:lambda:us-east-1::runtime:[0-9a-f]{64}", runtime)
    assert shown == {
        "FunctionName": name,
        "FunctionArn": wire.arn(name),
        "Runtime": PYTHON_RUNTIME,
        "Role": wire.role,
        "Handler": "app.handler",
        "CodeSize": len(ZIP),
        "Description": "",
        "Timeout": 3,
        "MemorySize": 128,
        "LastModified": shown["LastModified"],
        "CodeSha256": shown["CodeSha256"],
        "Version": "$LATEST",
        "TracingConfig": {"Mode": "PassThrough"},
        "RevisionId": shown["RevisionId"],
        **CREATING,
        "PackageType": "Zip",
        "Architectures": ["x86_64"],
        "EphemeralStorage": {"Size": 512},
        "SnapStart": {"ApplyOn": "None", "OptimizationStatus": "Off"},
        "RuntimeVersionConfig": {"RuntimeVersionArn": runtime},
        "LoggingConfig": {"LogFormat": "Text", "LogGroup": f"/aws/lambda/{name}"},
    }
    assert wire.settled(name)["RuntimeVersionConfig"] == {"RuntimeVersionArn": runtime}
    changed = wire.ok("PUT", f"{FUNCTIONS}/{name}/configuration", {"Runtime": "python3.12"})
    assert changed["RuntimeVersionConfig"]["RuntimeVersionArn"] != runtime


VPC = {"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"]}


@pytest.mark.parametrize(
    ("given", "member", "expected"),
    [
        pytest.param({"Environment": {"Variables": {}}}, "Environment", {"Variables": {}}, id="3.6 empty Environment"),
        pytest.param(
            {"Environment": {"Variables": {"AB": "c"}}}, "Environment", {"Variables": {"AB": "c"}}, id="3.6 Environment"
        ),
        pytest.param(
            {"LoggingConfig": {"LogFormat": "JSON"}},
            "LoggingConfig",
            {
                "ApplicationLogLevel": "INFO",
                "LogFormat": "JSON",
                "LogGroup": "/aws/lambda/{name}",
                "SystemLogLevel": "INFO",
            },
            id="3.6 JSON logging",
        ),
        pytest.param({"DeadLetterConfig": {"TargetArn": ""}}, "DeadLetterConfig", None, id="3.6 no dead-letter target"),
        pytest.param({"Layers": []}, "Layers", None, id="3.6 no layers"),
        pytest.param({"KMSKeyArn": ""}, "KMSKeyArn", None, id="3.6 no key"),
        pytest.param({"Tags": {}}, "Tags", None, id="3.6 no tags"),
    ],
)
def test_members_that_are_shown_only_when_set(wire: Wire, given: dict[str, Any], member: str, expected: Any) -> None:
    name = wire.make("member", **given)
    shown = wire.settled(name).get(member)
    assert shown == (expected if member != "LoggingConfig" else {**expected, "LogGroup": f"/aws/lambda/{name}"})


def test_a_network_is_detached_but_stays_in_sight(wire: Wire) -> None:
    """§3.6: clearing both lists leaves the object. VpcId is empty throughout: no network service here knows it."""
    name = wire.make("vpc", VpcConfig=VPC)
    assert wire.settled(name)["VpcConfig"] == {"Ipv6AllowedForDualStack": False, **VPC, "VpcId": ""}
    nothing: dict[str, Any] = {"SubnetIds": [], "SecurityGroupIds": []}
    wire.ok("PUT", f"{FUNCTIONS}/{name}/configuration", {"VpcConfig": nothing})
    assert wire.settled(name)["VpcConfig"] == {"Ipv6AllowedForDualStack": False, **nothing, "VpcId": ""}


def at_once(work: Callable[[int], Reply]) -> list[Reply]:
    """The answers to fifty writers that start together."""
    with ThreadPoolExecutor(WRITERS) as pool:
        return list(pool.map(work, range(WRITERS)))


@pytest.fixture(scope="module")
def contended(wire: Wire) -> str:
    name = wire.make("contended")
    wire.publish(name)
    wire.alias(name, "live")
    wire.ok("POST", f"{FUNCTIONS}/{name}/policy", {**PERMISSION, "StatementId": "first"})
    wire.settled(name)
    return name


def busy(wire: Wire, name: str, reply: Reply) -> None:
    """§3.2: what a writer is told whose turn did not come in time, which a slow machine may bring about."""
    prefix = "The operation cannot be performed at this time. An update is in progress for resource:"
    refused(reply, "ResourceConflictException", f"{prefix} {wire.arn(name)}")


def writing_configuration(wire: Wire, name: str, number: int, revision: str | None) -> Reply:
    body = {"Description": str(number), "RevisionId": revision}
    return wire("PUT", f"{FUNCTIONS}/{name}/configuration", body)


def writing_code(wire: Wire, name: str, number: int, revision: str | None) -> Reply:
    return wire("PUT", f"{FUNCTIONS}/{name}/code", {"ZipFile": zip_of(number), "RevisionId": revision})


def writing_versions(wire: Wire, name: str, number: int, revision: str | None) -> Reply:
    return wire("POST", f"{FUNCTIONS}/{name}/versions", {"Description": str(number), "RevisionId": revision})


def writing_alias(wire: Wire, name: str, number: int, revision: str | None) -> Reply:
    return wire("PUT", f"{FUNCTIONS}/{name}/aliases/live", {"Description": str(number), "RevisionId": revision})


def writing_policy(wire: Wire, name: str, number: int, revision: str | None) -> Reply:
    body = {**PERMISSION, "StatementId": f"s{number}-{revision is None}", "RevisionId": revision}
    return wire("POST", f"{FUNCTIONS}/{name}/policy", body)


def writing_document(wire: Wire, name: str, number: int, revision: str | None) -> Reply:
    arn = wire.arn(name)
    document = DOCUMENT.replace("{arn}", arn).replace('"kept"', f'"kept{number}"')
    return wire("PUT", f"/2026-07-09/resource-policy/{encoded(arn)}", {"Policy": document, "RevisionId": revision})


def revision_of(wire: Wire, name: str, write: Callable[..., Reply]) -> str:
    path = {
        writing_alias: "aliases/live",
        writing_policy: "policy",
        writing_document: "policy",
    }.get(write, "configuration")
    wire.settled(name)
    revision: str = wire.ok("GET", f"{FUNCTIONS}/{name}/{path}")["RevisionId"]
    return revision


@pytest.mark.parametrize(
    "write",
    [writing_configuration, writing_code, writing_versions, writing_alias, writing_policy, writing_document],
)
def test_one_winner_per_revision_id(wire: Wire, contended: str, write: Callable[..., Reply]) -> None:
    """§3.3, §23: of fifty writers that know the same RevisionId one is served, all others are told."""
    if write is writing_versions:  # or there is nothing to publish, and everybody is answered the last version
        wire.ok("PUT", f"{FUNCTIONS}/{contended}/code", {"ZipFile": zip_of(-1)})
    revision = revision_of(wire, contended, write)
    replies = at_once(lambda number: write(wire, contended, number, revision))
    assert Counter(reply.status < 300 for reply in replies) == {True: 1, False: WRITERS - 1}
    for reply in replies:
        if reply.status not in (200, 201, 412):
            busy(wire, contended, reply)
    assert revision_of(wire, contended, write) != revision


@pytest.mark.parametrize("write", [writing_configuration, writing_code, writing_versions, writing_alias])
def test_writers_without_a_revision_id_are_all_served(wire: Wire, contended: str, write: Callable[..., Reply]) -> None:
    """§23: one after the other; each answer is a state of its own."""
    replies = at_once(lambda number: write(wire, contended, number, None))
    answered = []
    for reply in replies:
        if reply.status < 300:
            answered.append(reply.document)
        else:
            busy(wire, contended, reply)
    assert answered
    if write is writing_versions:
        assert len({one["Version"] for one in answered}) == 1, "nothing changed in between"
    else:
        assert len({one["RevisionId"] for one in answered}) == len(answered)
    wire.settled(contended)
    if write is writing_configuration:
        assert wire.get(contended)["Description"] in {one["Description"] for one in answered}


def test_statements_of_writers_at_once_are_all_kept(wire: Wire) -> None:
    """§23: atomic per policy; the real service may lose some."""
    name = wire.make("kept")
    replies = at_once(lambda number: writing_policy(wire, name, number, None))
    assert {reply.status for reply in replies} == {201}
    assert wire.ok("GET", f"{FUNCTIONS}/{name}/policy")["Policy"].count('"Sid"') == WRITERS


def test_tags_of_writers_at_once_are_all_kept(wire: Wire) -> None:
    name = wire.make("tagged")
    path = f"/2017-03-31/tags/{encoded(wire.arn(name))}"
    replies = at_once(lambda number: wire("POST", path, {"Tags": {f"k{number}": "v"}}))
    assert {reply.status for reply in replies} == {204}
    assert len(wire.ok("GET", path)["Tags"]) == WRITERS


def test_of_fifty_creations_one_is_made(wire: Wire) -> None:
    """§4.1: all others read of a conflict; whoever comes later of this one, with the bare name."""
    name = unique("once")
    replies = at_once(lambda number: wire("POST", FUNCTIONS, wire.creation(name)))
    assert Counter(reply.status for reply in replies) == {201: 1, 409: WRITERS - 1}
    refused(
        wire("POST", FUNCTIONS, wire.creation(name)), "ResourceConflictException", f"Function already exist: {name}"
    )


def test_a_hash_that_is_not_the_latest(wire: Wire, name: str) -> None:
    """§5.1"""
    current = wire.settled(name)["CodeSha256"]
    refused(
        wire("POST", f"{FUNCTIONS}/{name}/versions", {"CodeSha256": "x"}),
        IPV,
        f"CodeSHA256 (x) is different from current CodeSHA256 in $LATEST ({current}). Please try again with the "
        "CodeSHA256 in $LATEST.",
    )
