"""§20 and the execution specification's §5.5: InvokeWithResponseStream on the wire, and through the SDK."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode

import pytest
from botocore.eventstream import EventStreamBuffer
from tests.parity.spec.spec_world import (
    FUNCTIONS,
    IPV,
    OTHER_ZIP,
    RNF,
    TOO_LARGE,
    UUID,
    VAL,
    Reply,
    Row,
    Wire,
    encoded,
    hold,
    refused,
    rows,
)
from tests.support import client, package

PATH = "/2021-11-15/functions"
STREAM = f"POST {PATH}/{{name}}/response-streaming-invocations"
DRY = {"X-Amz-Invocation-Type": "DryRun"}
TAIL = {"X-Amz-Log-Type": "Tail"}

APP = """
def handler(event, context):
    print("asked for", event["do"])
    return globals()[event["do"]](event, context)

def whole(event, context):
    return {"statusCode": 200, "id": context.aws_request_id}

def nothing(event, context):
    return None

def chunks(event, context):
    yield "one "
    yield b"two "
    yield {"three": 3}

def fails(event, context):
    raise ValueError("at once")

def midway(event, context):
    yield "begun"
    raise ValueError("midway")

def large(event, context):
    return "x" * 6_291_554

def too_long(event, context):
    yield "begun"
    import time
    time.sleep(60)

def dies(event, context):
    yield "begun"
    import os
    os._exit(3)
"""


@pytest.fixture(scope="module")
def names(wire: Wire) -> dict[str, str]:
    name = wire.make("streams", Code={"ZipFile": b64encode(package({"app.py": APP})).decode()}, Timeout=2)
    wire.publish(name)
    wire.publish(name, OTHER_ZIP)
    wire.alias(name, "live", "1")
    wire.ok("PUT", f"{FUNCTIONS}/{name}/code", {"ZipFile": b64encode(package({"app.py": APP})).decode()})
    isolated = wire.make("isolated", TenancyConfig={"TenantIsolationMode": "PER_TENANT"})
    return {"name": name, "arn": wire.arn(name), "no": wire.arn("no"), "isolated": isolated}


@rows(
    Row(
        "2.3 no function", f"POST {PATH}/no/response-streaming-invocations", {}, RNF, "Function not found: {no}:$LATEST"
    ),
    Row("2.3 no version", STREAM + "?Qualifier=9", {}, RNF, "Function not found: {arn}:9"),
    Row("2.3 no version, dry", STREAM + "?Qualifier=9", {}, RNF, "Function not found: {arn}:9", headers=DRY),
    Row(
        "5.1 events are not streamed",
        STREAM,
        {},
        VAL,
        "1 validation error detected: Value 'Event' at 'invocationType' failed to satisfy constraint: Member must satisfy"
        " enum value set: …",
        headers={"X-Amz-Invocation-Type": "Event"},
    ),
    Row(
        "20 a payload over 6 MB",
        STREAM,
        b" " * 6_291_457,
        TOO_LARGE,
        "6291457 byte payload is too large for the RequestResponse invocation type (limit 6291456 bytes)",
    ),
    Row(
        "20 no JSON",
        STREAM,
        b"well",
        "InvalidRequestContentException",
        "Could not parse request body into json: …",
    ),
)
def test_refusals(wire: Wire, names: dict[str, str], row: Row) -> None:
    """Before anything runs: ordinary answers, with their status."""
    hold(wire, row, names)


def test_tenants(wire: Wire, names: dict[str, str]) -> None:
    for target, headers in (("isolated", {}), ("name", {"X-Amz-Tenant-Id": "one"})):
        reply = wire("POST", f"{PATH}/{names[target]}/response-streaming-invocations", {}, headers=headers)
        assert (reply.status, reply.headers["x-amzn-errortype"]) == (400, IPV)


def test_no_concurrency(wire: Wire) -> None:
    name = wire.make("throttled")
    wire.ok("PUT", f"/2017-10-31/functions/{name}/concurrency", {"ReservedConcurrentExecutions": 0})
    reply = wire("POST", f"{PATH}/{name}/response-streaming-invocations", {})
    refused(reply, "TooManyRequestsException", "Rate Exceeded.")
    assert reply.document["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded"


def test_a_dry_run(wire: Wire, names: dict[str, str]) -> None:
    reply = wire("POST", f"{PATH}/{names['name']}/response-streaming-invocations", {}, headers=DRY)
    assert (reply.status, reply.body) == (204, b"")
    assert UUID.fullmatch(reply.headers["x-amzn-requestid"])


def streamed(wire: Wire, name: str, do: str, query: str = "", **headers: str) -> Reply:
    return wire("POST", f"{PATH}/{name}/response-streaming-invocations{query}", {"do": do}, headers=headers)


def messages(reply: Reply) -> list[tuple[dict[str, str], bytes]]:
    """Read with the SDK's decoder, which checks both checksums; nothing may be left over."""
    buffer = EventStreamBuffer()
    buffer.add_data(reply.body)
    found = [(message.headers, message.payload) for message in buffer]
    assert not buffer._data
    return found


CHUNK = {":message-type": "event", ":event-type": "PayloadChunk", ":content-type": "application/octet-stream"}
COMPLETE = {":message-type": "event", ":event-type": "InvokeComplete", ":content-type": "application/json"}


def told(reply: Reply) -> tuple[list[bytes], dict[str, str]]:
    """The chunks, and what InvokeComplete says."""
    *chunks, (headers, payload) = messages(reply)
    assert headers == COMPLETE
    assert all(one == CHUNK for one, _ in chunks)
    return [chunk for _, chunk in chunks], json.loads(payload)


def test_the_head_of_a_stream(wire: Wire, names: dict[str, str]) -> None:
    given = "11111111-2222-4333-8444-555555555555"
    reply = streamed(wire, names["name"], "chunks", **{"x-amzn-RequestId": given})
    assert reply.status == 200
    assert reply.headers["content-type"] == "application/vnd.amazon.eventstream"
    assert reply.headers["x-amzn-requestid"] == given
    assert reply.headers["x-amz-executed-version"] == "$LATEST"
    assert reply.headers["x-amzn-trace-id"].startswith("Root=1-")
    assert reply.headers["x-amzn-remapped-content-type"] == "application/octet-stream"
    assert reply.headers["transfer-encoding"] == "chunked"
    assert "x-amz-function-error" not in reply.headers


def test_each_chunk_is_an_event(wire: Wire, names: dict[str, str]) -> None:
    assert told(streamed(wire, names["name"], "chunks")) == ([b"one ", b"two ", b'{"three": 3}'], {})


def test_a_whole_answer_is_one_chunk(wire: Wire, names: dict[str, str]) -> None:
    """What an ordinary function returns is passed on as it is, whatever it looks like."""
    reply = streamed(wire, names["name"], "whole")
    ((chunk,), complete) = told(reply)
    assert complete == {}
    assert json.loads(chunk) == {"statusCode": 200, "id": reply.headers["x-amzn-requestid"]}
    assert reply.headers["x-amzn-remapped-content-type"] == "application/json"
    assert told(streamed(wire, names["name"], "nothing")) == ([b"null"], {})
    ((chunk,), complete) = told(streamed(wire, names["name"], "large"))
    assert (len(chunk), complete) == (6_291_556, {})


@pytest.mark.parametrize(
    ("do", "before", "kind", "message"),
    [
        ("fails", [], "ValueError", "at once"),
        ("midway", [b"begun"], "ValueError", "midway"),
        ("too_long", [b"begun"], "Sandbox.Timedout", "RequestId: {id} Error: Task timed out after 2.00 seconds"),
        (
            "dies",
            [b"begun"],
            "Runtime.ExitError",
            "RequestId: {id} Error: Runtime exited with error: exit status 3",
        ),
    ],
)
def test_failures_stand_in_the_last_event(
    wire: Wire, names: dict[str, str], do: str, before: list[bytes], kind: str, message: str
) -> None:
    """§5.5: the status is 200 before the outcome is known."""
    reply = streamed(wire, names["name"], do, **TAIL)
    assert reply.status == 200
    chunks, complete = told(reply)
    assert chunks == before
    assert complete["ErrorCode"] == "Unhandled"
    details = json.loads(complete["ErrorDetails"])
    assert details["errorType"] == kind
    assert details["errorMessage"] == message.format(id=reply.headers["x-amzn-requestid"])
    assert "REPORT RequestId: " in b64decode(complete["LogResult"]).decode()
    assert told(streamed(wire, names["name"], "chunks"))[1] == {}  # and the next one finds a runtime


def test_the_log_tail_is_in_the_last_event(wire: Wire, names: dict[str, str]) -> None:
    reply = streamed(wire, names["name"], "chunks", **TAIL)
    _, complete = told(reply)
    lines = b64decode(complete.pop("LogResult")).decode().splitlines()
    assert complete == {}
    request_id = reply.headers["x-amzn-requestid"]
    assert lines[0] == f"START RequestId: {request_id} Version: $LATEST"
    assert lines[1] == "asked for chunks"
    assert lines[2] == f"END RequestId: {request_id}"
    assert lines[3].startswith(f"REPORT RequestId: {request_id}\tDuration: ")


@pytest.mark.parametrize(("query", "version"), [("", "$LATEST"), ("?Qualifier=1", "1"), ("?Qualifier=live", "1")])
def test_the_executed_version(wire: Wire, names: dict[str, str], query: str, version: str) -> None:
    reply = streamed(wire, names["name"], "chunks", query)
    assert reply.headers["x-amz-executed-version"] == version


def test_an_ordinary_invoke_gets_a_stream_as_one_body(wire: Wire, names: dict[str, str]) -> None:
    """§2.5: collected, also when it fails on the way: the error is then the answer."""
    reply = wire("POST", f"{FUNCTIONS}/{names['name']}/invocations", {"do": "chunks"})
    assert (reply.status, reply.body) == (200, b'one two {"three": 3}')
    assert "x-amz-function-error" not in reply.headers
    reply = wire("POST", f"{FUNCTIONS}/{names['name']}/invocations", {"do": "midway"})
    assert (reply.status, reply.headers["x-amz-function-error"]) == (200, "Unhandled")
    assert reply.document["errorMessage"] == "midway"


def test_the_sdk_reads_it(wire: Wire, names: dict[str, str]) -> None:
    lambda_ = client("lambda", wire.url, account=wire.account)
    try:
        answer = lambda_.invoke_with_response_stream(
            FunctionName=names["name"], Payload=json.dumps({"do": "midway"}), LogType="Tail"
        )
        assert (answer["StatusCode"], answer["ExecutedVersion"]) == (200, "$LATEST")
        assert answer["ResponseStreamContentType"] == "application/vnd.amazon.eventstream"
        chunk, complete = list(answer["EventStream"])
        assert chunk == {"PayloadChunk": {"Payload": b"begun"}}
        assert set(complete["InvokeComplete"]) == {"ErrorCode", "ErrorDetails", "LogResult"}
        with pytest.raises(lambda_.exceptions.ResourceNotFoundException):
            lambda_.invoke_with_response_stream(FunctionName="no")
    finally:
        lambda_.close()


def test_the_operation_needs_no_name_of_its_own_in_policies(wire: Wire, names: dict[str, str]) -> None:
    """§5.1: lambda:InvokeFunction is the right for both."""
    reply = wire.foreign("POST", f"{PATH}/{wire_arn(names)}/response-streaming-invocations", {"do": "chunks"})
    assert reply.status == 403
    assert "lambda:InvokeFunction on resource" in reply.document["Message"]


def wire_arn(names: dict[str, str]) -> str:
    return encoded(names["arn"])
