"""boto3 and the AWS CLI against the logs door."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from lambent.telemetry.attempt import Attempt, Origin

GROUP = "/aws/lambda/hello"


def origin(environment: str) -> Origin:
    return Origin(
        "123456789012", "us-east-1", "hello", "$LATEST", environment, GROUP, f"2026/01/31/[$LATEST]{environment}", 128
    )


def seed(server: Any, count: int, now_ms: int, environment: str = "0a") -> Origin:
    of = origin(environment)

    def append() -> None:
        for number in range(count):
            at_ms = now_ms - (count - number) * 10
            lines = [(at_ms + 1, f'{{"level": "{"ERROR" if number % 10 == 0 else "INFO"}", "n": {number}}}\n'.encode())]
            server.records.append(Attempt(of, f"{environment}-{number}", at_ms, 2_500, lines=lines, peak_mb=36))

    server.on_loop(append)
    return of


def now() -> int:
    return time.time_ns() // 1_000_000


def code_of(caught: pytest.ExceptionInfo[ClientError]) -> tuple[str, str]:
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


def test_a_function_group_is_described_as_published(client: Any, logs_server: Any) -> None:
    of = seed(logs_server, 3, now())
    (group,) = client.describe_log_groups(logGroupNamePrefix="/aws/lambda/")["logGroups"]
    arn = f"arn:aws:logs:us-east-1:123456789012:log-group:{GROUP}"
    assert (group["logGroupName"], group["arn"], group["logGroupArn"]) == (GROUP, f"{arn}:*", arn)
    assert (group["logGroupClass"], group["metricFilterCount"]) == ("STANDARD", 0)
    assert group["storedBytes"] > 0
    assert "retentionInDays" not in group
    (stream,) = client.describe_log_streams(logGroupName=GROUP, orderBy="LastEventTime", descending=True)["logStreams"]
    assert stream["logStreamName"] == of.log_stream
    assert stream["arn"] == f"{arn}:log-stream:{of.log_stream}"
    assert stream["firstEventTimestamp"] < stream["lastEventTimestamp"]
    assert stream["storedBytes"] == 0
    assert client.list_tags_for_resource(resourceArn=arn)["tags"] == {}


def test_the_paginators_see_everything_once(client: Any, logs_server: Any) -> None:
    of, moment = seed(logs_server, 60, now()), now()
    seed(logs_server, 60, moment, "0b")
    pages = client.get_paginator("filter_log_events").paginate(logGroupName=GROUP, PaginationConfig={"PageSize": 37})
    events = [event for page in pages for event in page["events"]]
    assert len(events) == len({event["eventId"] for event in events}) == 480
    assert [event["timestamp"] for event in events] == sorted(event["timestamp"] for event in events)
    forward: list[Any] = []
    token: dict[str, str] = {}
    while True:
        page = client.get_log_events(
            logGroupName=GROUP, logStreamName=of.log_stream, startFromHead=True, limit=50, **token
        )
        forward += page["events"]
        if token.get("nextToken") == page["nextForwardToken"]:
            break
        token = {"nextToken": page["nextForwardToken"]}
    assert len(forward) == 240
    assert forward[0]["message"] == "START RequestId: 0a-0 Version: $LATEST\n"
    assert forward[3]["message"] == (
        "REPORT RequestId: 0a-0\tDuration: 2.50 ms\tBilled Duration: 3 ms\tMemory Size: 128 MB\t"
        "Max Memory Used: 36 MB\t\n"
    )


def test_following_as_the_cli_does_misses_nothing(client: Any, logs_server: Any) -> None:
    """`aws logs tail --follow` asks FilterLogEvents again from the last event's time and drops ids it has seen."""
    seen: dict[str, str] = {}
    asked: dict[str, Any] = {"logGroupName": GROUP, "interleaved": True, "startTime": now() - 60_000}
    for round_ in range(3):
        seed(logs_server, 5, now() + round_ * 1_000, "0a")
        while True:
            page = client.filter_log_events(**asked)
            seen |= {event["eventId"]: event["message"] for event in page["events"]}
            if page["events"]:
                asked["startTime"] = max(event["timestamp"] for event in page["events"])
            if "nextToken" not in page:
                asked.pop("nextToken", None)
                break
            asked["nextToken"] = page["nextToken"]
    assert len(seen) == 60


@pytest.mark.parametrize(
    ("pattern", "count"),
    [
        ("REPORT", 20),
        ('{ $.level = "ERROR" }', 2),
        ("{ $.n >= 15 }", 5),
        ("?START ?END", 40),
        ('"Billed Duration"', 20),
    ],
)
def test_patterns_choose(client: Any, logs_server: Any, pattern: str, count: int) -> None:
    seed(logs_server, 20, now())
    assert len(client.filter_log_events(logGroupName=GROUP, filterPattern=pattern)["events"]) == count


def test_errors_are_the_services(client: Any, logs_server: Any) -> None:
    seed(logs_server, 1, now())
    with pytest.raises(client.exceptions.ResourceNotFoundException) as caught:
        client.filter_log_events(logGroupName="/none")
    assert code_of(caught) == ("ResourceNotFoundException", "The specified log group does not exist.")
    with pytest.raises(client.exceptions.ResourceNotFoundException) as caught:
        client.get_log_events(logGroupName=GROUP, logStreamName="none")
    assert code_of(caught) == ("ResourceNotFoundException", "The specified log stream does not exist.")
    with pytest.raises(client.exceptions.ResourceAlreadyExistsException) as caught:
        client.create_log_group(logGroupName=GROUP)
    assert code_of(caught) == ("ResourceAlreadyExistsException", "The specified log group already exists")
    with pytest.raises(client.exceptions.InvalidParameterException) as caught:
        client.filter_log_events(logGroupName=GROUP, filterPattern="[a, b]")
    assert "space-delimited" in code_of(caught)[1]
    with pytest.raises(ClientError) as caught:
        client.start_query(logGroupName=GROUP, startTime=0, endTime=1, queryString="fields @message")
    assert code_of(caught)[0] == "UnknownOperationException"
    assert "FilterLogEvents" in code_of(caught)[1]


def test_another_region_sees_nothing(logs_server: Any) -> None:
    seed(logs_server, 1, now())
    other = boto3.client(
        "logs", endpoint_url=logs_server.url, region_name="eu-west-1",
        aws_access_key_id="test", aws_secret_access_key="test",
    )  # fmt: skip
    assert other.describe_log_groups()["logGroups"] == []
    other.close()


def test_users_logs_live_beside_functions(client: Any) -> None:
    client.create_log_group(logGroupName="own", tags={"team": "a"})
    client.put_retention_policy(logGroupName="own", retentionInDays=7)
    client.create_log_stream(logGroupName="own", logStreamName="mine")
    moment = now()
    events = [{"timestamp": moment, "message": "příliš"}, {"timestamp": moment + 3 * 3_600_000, "message": "future"}]
    put = client.put_log_events(logGroupName="own", logStreamName="mine", logEvents=events)
    assert put["rejectedLogEventsInfo"] == {"tooNewLogEventStartIndex": 1}
    (event,) = client.get_log_events(logGroupName="own", logStreamName="mine")["events"]
    assert (event["timestamp"], event["message"]) == (moment, "příliš")
    assert moment <= event["ingestionTime"] <= now()
    (group,) = client.describe_log_groups(logGroupNamePattern="wn")["logGroups"]
    assert group["retentionInDays"] == 7
    arn = group["logGroupArn"]
    client.tag_resource(resourceArn=arn, tags={"cost": "b"})
    client.untag_resource(resourceArn=arn, tagKeys=["team"])
    assert client.list_tags_for_resource(resourceArn=arn)["tags"] == {"cost": "b"}
    client.delete_retention_policy(logGroupName="own")
    client.delete_log_stream(logGroupName="own", logStreamName="mine")
    assert client.describe_log_streams(logGroupName="own")["logStreams"] == []
    client.delete_log_group(logGroupName="own")
    assert client.describe_log_groups()["logGroups"] == []


def test_the_cli_reads_a_functions_log(aws: Callable[..., Any], logs_server: Any) -> None:
    of = seed(logs_server, 4, now())
    assert aws("describe-log-groups")["logGroups"][0]["logGroupName"] == GROUP
    assert aws("describe-log-streams", "--log-group-name", GROUP)["logStreams"][0]["logStreamName"] == of.log_stream
    got = aws("get-log-events", "--log-group-name", GROUP, "--log-stream-name", of.log_stream, "--limit", "2")
    assert [event["message"].split(" ")[0] for event in got["events"]] == ["END", "REPORT"]
    found = aws("filter-log-events", "--log-group-name", GROUP, "--filter-pattern", '{ $.level = "ERROR" }')
    assert len(found["events"]) == 1
