"""What becomes of asynchronous invocations on a running server: retries as configured, records where they are wanted."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from tests.conftest import RunningServer
from tests.integration.node.node_world import Clients, queued, reports, seen
from tests.support import function

CODE = """
def handler(event, context):
    print("handling", event, flush=True)
    if event == "fail":
        raise ValueError("as asked")
    return {"got": event}
"""
RECORDER = """
import json
def handler(event, context):
    print("RECORD", json.dumps(event), flush=True)
"""


@pytest.fixture
def clients(server: RunningServer) -> Iterator[Clients]:
    with Clients(server) as made:
        yield made


@pytest.fixture(scope="module")
def recorder(server: RunningServer) -> Iterator[str]:
    """A function that writes down each event it gets, for all tests of the module."""
    with Clients(server) as own, function(own.lambda_, RECORDER) as name:
        yield name


def arn(name: str) -> str:
    return f"arn:aws:lambda:us-east-1:000000000000:function:{name}"


def record(clients: Clients, recorder: str, request_id: str) -> dict[str, Any]:
    """The record of one event, as the recorder got it; it got it once."""

    def found() -> list[dict[str, Any]]:
        lines = [line.removeprefix("RECORD ") for line in clients.log(recorder) if line.startswith("RECORD ")]
        return [one for one in map(json.loads, lines) if one["requestContext"]["requestId"] == request_id]

    (one,) = seen(found)
    return one


def test_a_function_gets_the_record_of_a_success(clients: Clients, recorder: str) -> None:
    with function(clients.lambda_, CODE) as name:
        clients.lambda_.put_function_event_invoke_config(
            FunctionName=name, DestinationConfig={"OnSuccess": {"Destination": arn(recorder)}}
        )
        request_id = clients.event(name, {"n": 1})
        told = record(clients, recorder, request_id)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", told.pop("timestamp"))
    assert told == {
        "version": "1.0",
        "requestContext": {
            "requestId": request_id,
            "functionArn": f"{arn(name)}:$LATEST",
            "condition": "Success",
            "approximateInvokeCount": 1,
        },
        "requestPayload": {"n": 1},
        "responseContext": {"statusCode": 200, "executedVersion": "$LATEST"},
        "responsePayload": {"got": {"n": 1}},
    }


def test_a_function_without_retries_fails_once_and_is_told_of(
    server: RunningServer, clients: Clients, recorder: str
) -> None:
    with function(clients.lambda_, CODE) as name:
        clients.lambda_.put_function_event_invoke_config(
            FunctionName=name,
            MaximumRetryAttempts=0,
            DestinationConfig={"OnFailure": {"Destination": f"{arn(recorder)}:$LATEST"}},
        )
        request_id = clients.event(name, "fail")
        told = record(clients, recorder, request_id)
        assert [one for one, _ in reports(clients.log(name))] == [request_id]
        assert (
            f"event {request_id} discarded after 1 attempt (RetriesExhausted): sent to {arn(recorder)}:$LATEST\n"
            in (clients.log(name))
        )
        assert request_id not in {event["request_id"] for event in queued(server.data_dir)}
    assert told["requestContext"] == {
        "requestId": request_id,
        "functionArn": f"{arn(name)}:$LATEST",
        "condition": "RetriesExhausted",
        "approximateInvokeCount": 1,
    }
    assert told["requestPayload"] == "fail"
    assert told["responseContext"] == {
        "statusCode": 200,
        "executedVersion": "$LATEST",
        "functionError": "Unhandled",
    }
    assert told["responsePayload"]["errorType"] == "ValueError"
    assert told["responsePayload"]["errorMessage"] == "as asked"


def test_each_qualifier_has_its_own_configuration(clients: Clients, recorder: str) -> None:
    with function(clients.lambda_, CODE) as name:
        clients.lambda_.publish_version(FunctionName=name)
        clients.lambda_.put_function_event_invoke_config(
            FunctionName=name, Qualifier="1", DestinationConfig={"OnSuccess": {"Destination": arn(recorder)}}
        )
        untold = clients.event(name, "latest")
        answer = clients.lambda_.invoke(FunctionName=name, Qualifier="1", InvocationType="Event", Payload=b'"first"')
        told = record(clients, recorder, answer["ResponseMetadata"]["RequestId"])
        assert told["requestContext"]["functionArn"] == f"{arn(name)}:1"
        assert told["responseContext"]["executedVersion"] == "1"
        seen(lambda: untold in {one for one, _ in reports(clients.log(name))})
    assert untold not in " ".join(clients.log(recorder))


def test_an_event_that_is_refused_by_reservation_is_told_of_without_a_response(clients: Clients, recorder: str) -> None:
    with function(clients.lambda_, CODE) as name:
        clients.lambda_.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
        clients.lambda_.put_function_event_invoke_config(
            FunctionName=name, DestinationConfig={"OnFailure": {"Destination": arn(recorder)}}
        )
        told = record(clients, recorder, clients.event(name, "never"))
    assert told["requestContext"]["condition"] == "ZeroReservedConcurrency"
    assert not told.keys() & {"responseContext", "responsePayload"}


def test_a_destination_that_is_not_served_is_said_in_the_functions_log(clients: Clients) -> None:
    queue = "arn:aws:sqs:us-east-1:000000000000:q"
    with function(clients.lambda_, CODE, DeadLetterConfig={"TargetArn": queue}) as name:
        clients.lambda_.put_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=0)
        request_id = clients.event(name, "fail")
        lines = seen(lambda: [line for line in clients.log(name) if line.startswith("event ")])
    assert lines == [
        f"event {request_id} discarded after 1 attempt (RetriesExhausted): not sent to {queue}, because SQS queues are not "
        "served by this release of Lambent: name a Lambda function as OnFailure destination, which can pass the record on\n"
    ]
