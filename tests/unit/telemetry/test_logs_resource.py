"""The logs door's handler alone: members are checked, identifiers read, what is not served is refused by name."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lambent.api.resources.logs import OPERATIONS, LogsResource
from lambent.domain.clock import ManualClock
from lambent.domain.errors import DiskFull
from lambent.domain.names import Scope
from lambent.telemetry.attempt import Attempt, Origin
from lambent.telemetry.errors import LogsError
from lambent.telemetry.logs import Logs
from lambent.telemetry.records import MemoryRecords
from lambent.telemetry.segments import FileRecords

SCOPE = Scope("123456789012", "us-east-1")
GROUP = "/aws/lambda/hello"
ARN = f"arn:aws:logs:us-east-1:123456789012:log-group:{GROUP}"
T0 = 1_764_100_000_000


@dataclass(frozen=True)
class Someone:
    scope: Scope = SCOPE


def resource() -> LogsResource:
    records = MemoryRecords()
    of = Origin(SCOPE.account, SCOPE.region, "hello", "1", "0a", GROUP, "s", 128)
    records.append(Attempt(of, "r", T0, 1_000, lines=[(T0, b"\xff\n")]))
    return LogsResource(Logs(records, ManualClock(T0)))


def call(of: LogsResource, operation: str, **given: Any) -> dict[str, Any]:
    return asyncio.run(of.handle(Someone(), operation, given))


@pytest.mark.parametrize("identifier", [GROUP, ARN, f"{ARN}:*"])
def test_a_group_may_be_named_by_its_arn(identifier: str) -> None:
    page = call(resource(), "GetLogEvents", logGroupIdentifier=identifier, logStreamName="s", startFromHead=True)
    assert len(page["events"]) == 4
    assert page["events"][1]["message"] == "\ufffd\n"


@pytest.mark.parametrize(
    ("operation", "given", "word"),
    [
        ("GetLogEvents", {"logStreamName": "s"}, "Exactly one of"),
        ("GetLogEvents", {"logGroupName": GROUP, "logGroupIdentifier": GROUP, "logStreamName": "s"}, "Exactly one of"),
        ("GetLogEvents", {"logGroupName": GROUP}, "Value null at 'logStreamName'"),
        ("GetLogEvents", {"logGroupName": GROUP, "logStreamName": 3}, "logStreamName is a string"),
        ("GetLogEvents", {"logGroupName": GROUP, "logStreamName": "s", "limit": "3"}, "limit is a whole number"),
        ("FilterLogEvents", {"logGroupName": GROUP, "logStreamNames": "s"}, "list of stream names"),
        ("FilterLogEvents", {"logGroupIdentifier": "arn:aws:s3:::x"}, "not the ARN of a log group"),
        ("FilterLogEvents", {"logGroupIdentifier": ARN.replace("us-east", "eu-west")}, "another account or region"),
        ("CreateLogGroup", {}, "Value null at 'logGroupName'"),
        ("CreateLogGroup", {"logGroupName": "x", "kmsKeyId": "k"}, "KMS"),
        ("CreateLogGroup", {"logGroupName": "x", "tags": {"a": 1}}, "map of strings"),
        ("CreateLogGroup", {"logGroupName": "x", "logGroupClass": "DELIVERY"}, "class STANDARD"),
        ("CreateLogGroup", {"logGroupName": "x", "deletionProtectionEnabled": True}, "deletion protection"),
        ("DescribeLogGroups", {"logGroupIdentifiers": [GROUP]}, "use logGroupNamePrefix"),
        ("PutRetentionPolicy", {"logGroupName": GROUP}, "Value null at 'retentionInDays'"),
        ("UntagResource", {"resourceArn": ARN}, "Value null at 'tagKeys'"),
        ("PutLogEvents", {"logGroupName": GROUP, "logStreamName": "s"}, "Value null at 'logEvents'"),
        ("PutLogEvents", {"logGroupName": GROUP, "logStreamName": "s", "logEvents": [1]}, "list of events"),
        (
            "PutLogEvents",
            {"logGroupName": GROUP, "logStreamName": "s", "logEvents": [{"timestamp": T0, "message": ""}]},
            "logEvents.message",
        ),
    ],
)
def test_members_are_checked(operation: str, given: dict[str, Any], word: str) -> None:
    with pytest.raises(LogsError, match=word) as caught:
        call(resource(), operation, **given)
    assert (caught.value.code, caught.value.status) == ("InvalidParameterException", 400)


@pytest.mark.parametrize(
    ("operation", "remedy"),
    [("StartLiveTail", "lambent logs -f"), ("StartQuery", "FilterLogEvents"), ("PutMetricFilter", "CloudWatch Logs")],
)
def test_what_is_not_served_says_so_and_what_to_do(operation: str, remedy: str) -> None:
    with pytest.raises(LogsError, match=remedy) as caught:
        call(resource(), operation)
    assert caught.value.code == "UnknownOperationException"
    assert operation not in OPERATIONS


def test_there_are_groups_of_the_standard_class_only() -> None:
    assert call(resource(), "DescribeLogGroups", logGroupClass="INFREQUENT_ACCESS") == {"logGroups": []}
    assert len(call(resource(), "DescribeLogGroups", logGroupClass="STANDARD")["logGroups"]) == 1


def test_null_is_absent() -> None:
    page = call(resource(), "DescribeLogGroups", logGroupNamePrefix=None, limit=None)
    assert [group["logGroupName"] for group in page["logGroups"]] == [GROUP]


def test_a_full_disk_is_the_services_unavailability(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = FileRecords(tmp_path, fsync_ms=0)
    logs = LogsResource(Logs(records, ManualClock(T0)))
    call(logs, "CreateLogGroup", logGroupName="own")
    call(logs, "CreateLogStream", logGroupName="own", logStreamName="mine")

    def refuse(record: object) -> None:
        raise DiskFull("There is no room.")

    monkeypatch.setattr(records, "append_other", refuse)
    events = [{"timestamp": T0, "message": "x"}]
    with pytest.raises(LogsError, match="no room") as caught:
        call(logs, "PutLogEvents", logGroupName="own", logStreamName="mine", logEvents=events)
    assert (caught.value.code, caught.value.status) == ("ServiceUnavailableException", 503)
    records.close()
