"""A running Lambent: what a function printed is in its log, and the bill is the sum of its REPORT lines."""

from __future__ import annotations

import base64
import io
import json
import re
import urllib.request
import zipfile
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config
from tests.support import PYTHON_RUNTIME

from lambent.metering.reconciliation import bill_of_log

CODE = """
import json
print("importing")
def handler(event, context):
    print("hello", event["n"])
    print("two\\rlines, one event")
    if event["n"] == 3:
        raise ValueError("three")
    return event["n"]
"""


@pytest.fixture(scope="module")
def function(endpoint: str) -> Iterator[tuple[Any, Any, str]]:
    """(lambda client, logs client, name) of a function that prints."""

    def client(service: str) -> Any:
        return boto3.client(
            service, endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id="test",
            aws_secret_access_key="test", config=Config(retries={"total_max_attempts": 1}),
        )  # fmt: skip

    functions, logs = client("lambda"), client("logs")
    package = io.BytesIO()
    with zipfile.ZipFile(package, "w") as archive:
        archive.writestr("main.py", CODE)
    name = "printing"
    functions.create_function(
        FunctionName=name, Runtime=PYTHON_RUNTIME, Handler="main.handler", Role="arn:aws:iam::123456789012:role/r",
        Code={"ZipFile": package.getvalue()}, MemorySize=256,
    )  # fmt: skip
    functions.get_waiter("function_active_v2").wait(FunctionName=name)
    yield functions, logs, name
    functions.delete_function(FunctionName=name)
    functions.close()
    logs.close()


@pytest.mark.leaves_session_state
def test_the_log_the_tail_and_the_bill_are_one(function: tuple[Any, Any, str], endpoint: str) -> None:
    functions, logs, name = function
    tails = {}
    for number in range(5):
        answer = functions.invoke(FunctionName=name, Payload=json.dumps({"n": number}), LogType="Tail")
        assert ("FunctionError" in answer) == (number == 3)
        answer["Payload"].read()
        request_id = answer["ResponseMetadata"]["RequestId"]
        tails[request_id] = base64.b64decode(answer["LogResult"]).decode()
    group = f"/aws/lambda/{name}"
    pages = logs.get_paginator("filter_log_events").paginate(logGroupName=group)
    events = [event for page in pages for event in page["events"]]
    messages = [event["message"] for event in events]
    assert messages[0].startswith(f"INIT_START Runtime Version: python:{PYTHON_RUNTIME[6:]}.")
    assert "importing\n" in messages
    assert "two\rlines, one event\n" in messages
    for request_id, tail in tails.items():
        first = messages.index(f"START RequestId: {request_id} Version: $LATEST\n")
        last = next(at for at, text in enumerate(messages) if text.startswith(f"REPORT RequestId: {request_id}\t"))
        assert "".join(messages[first : last + 1]) == tail
    streams = {event["logStreamName"] for event in events}
    assert all(re.fullmatch(r"\d{4}/\d\d/\d\d/\[\$LATEST\][0-9a-f]{32}", stream) for stream in streams)

    bill = bill_of_log(message.encode() for message in messages)
    with urllib.request.urlopen(f"{endpoint}/_lambent/usage", timeout=10) as answered:
        usage = json.load(answered)
    (row,) = [row for row in usage["functions"] if row["function"] == name]
    assert bill.attempts == row["requests"] == 5
    assert bill.mb_ms == bill.billed_ms * 256
    assert row["gb_seconds"] == pytest.approx(bill.mb_ms / 1_024_000, abs=1e-12)
