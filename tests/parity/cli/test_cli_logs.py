"""`aws logs`: what a function printed, by the commands people type, and the calls that `logs tail` of version 2 makes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.support import client

Aws = Callable[..., Any]


def test_groups_streams_and_events(aws: Aws, lambda_: Any, deployed: str) -> None:
    request_id = lambda_.invoke(FunctionName=deployed, Payload=b'"first"')["ResponseMetadata"]["RequestId"]
    lambda_.invoke(FunctionName=deployed, Payload=b'"second"')
    group = f"/aws/lambda/{deployed}"
    groups = aws("logs", "describe-log-groups", "--log-group-name-prefix", group)["logGroups"]
    assert [one["logGroupName"] for one in groups] == [group]
    streams = aws("logs", "describe-log-streams", "--log-group-name", group, "--order-by", "LastEventTime")
    (stream,) = [one["logStreamName"] for one in streams["logStreams"]]
    assert "[$LATEST]" in stream

    found = aws("logs", "filter-log-events", "--log-group-name", group, "--filter-pattern", '"line for"')["events"]
    assert [one["message"].rstrip() for one in found] == ["line for first", "line for second"]
    assert {one["logStreamName"] for one in found} == {stream}
    got = aws(*("logs", "get-log-events", "--log-group-name", group, "--log-stream-name", stream, "--start-from-head"))[
        "events"
    ]
    messages = [one["message"].rstrip() for one in got]
    at = messages.index("line for first")
    assert messages[at - 1].startswith(f"START RequestId: {request_id}")
    assert messages[at + 1].startswith(f"END RequestId: {request_id}")
    assert messages[at + 2].startswith(f"REPORT RequestId: {request_id}")


def test_an_unknown_group_is_refused_in_the_services_words(refused: Callable[..., str]) -> None:
    assert refused("logs", "filter-log-events", "--log-group-name", "/aws/lambda/not-there").endswith(
        "An error occurred (ResourceNotFoundException) when calling the FilterLogEvents operation: "
        "The specified log group does not exist."
    )


def test_the_calls_of_logs_tail_see_each_event_once(endpoint: str, lambda_: Any, deployed: str) -> None:
    """`aws logs tail --follow` asks FilterLogEvents again from the last time stamp and drops the ids it has seen."""
    logs = client("logs", endpoint)
    group = f"/aws/lambda/{deployed}"
    seen: dict[str, str] = {}
    start_ms = 0
    for number in range(3):
        lambda_.invoke(FunctionName=deployed, Payload=f'"tail {number}"'.encode())
        pages = logs.get_paginator("filter_log_events").paginate(
            logGroupName=group, startTime=start_ms, interleaved=True, PaginationConfig={"PageSize": 2}
        )
        for page in pages:
            for event in page["events"]:
                seen[event["eventId"]] = event["message"].rstrip()
                start_ms = max(start_ms, event["timestamp"])
    printed = [text for text in seen.values() if text.startswith("line for")]
    assert printed == ["line for tail 0", "line for tail 1", "line for tail 2"]
    logs.close()
