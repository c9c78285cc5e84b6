"""InvokeAsync, the deprecated way to send an event: accepted as one of 256 KB at most, and run."""

from __future__ import annotations

import time

import pytest
from botocore.exceptions import ClientError
from tests.support import client, function

from lambent.api.sizes import INVOKE_ASYNC_BYTES_MAX

SEEN_LIMIT_S = 30.0


def test_an_event_is_accepted_and_runs(endpoint: str) -> None:
    lambda_, logs = client("lambda", endpoint), client("logs", endpoint)
    code = 'def handler(event, context):\n    print("saw", event["word"])\n'
    with function(lambda_, code) as name:
        assert lambda_.invoke_async(FunctionName=name, InvokeArgs=b'{"word": "pelican"}')["Status"] == 202
        until = time.monotonic() + SEEN_LIMIT_S
        messages: list[str] = []
        while not any("saw pelican" in text for text in messages):
            assert time.monotonic() < until, messages
            time.sleep(0.05)  # another process runs the event: it can be looked at, not awaited
            try:
                page = logs.filter_log_events(logGroupName=f"/aws/lambda/{name}")
            except logs.exceptions.ResourceNotFoundException:
                continue
            messages = [event["message"] for event in page["events"]]
        with pytest.raises(ClientError, match="byte payload is too large for the Event invocation type"):
            lambda_.invoke_async(FunctionName=name, InvokeArgs=b'"' + b"x" * INVOKE_ASYNC_BYTES_MAX + b'"')
    lambda_.close()
    logs.close()
