"""The part of CloudWatch Logs that shows functions' logs: JSON 1.1, target `Logs_20140328.<operation>`.

Enough for `aws logs tail --follow`, `filter-log-events`, `describe-log-groups`, `describe-log-streams`,
`get-log-events`, `put-log-events` and infrastructure tools that manage a log group. Everything else of the service is
refused by name.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

from ...domain.errors import ServiceFault
from ...domain.names import Scope
from ...telemetry.errors import LogsError, LogsInvalidParameter, LogsNotServed, LogsUnavailable
from ...telemetry.groups import GroupView, StreamView
from ...telemetry.logs import Logs
from ...telemetry.paging import event_id
from ...telemetry.query import LogEvent

Input = dict[str, Any]
_Operation = Callable[[Logs, Scope, Input], dict[str, Any]]


class Acting(Protocol):
    """As much of a caller as is needed here."""

    @property
    def scope(self) -> Scope: ...


class LogsResource:
    def __init__(self, logs: Logs) -> None:
        self._logs = logs

    async def handle(self, caller: Acting, operation: str, input: Input) -> dict[str, Any]:
        """Answer one operation; the output has the published members. Raises LogsError with `code` and `status`."""
        members = {name: value for name, value in input.items() if value is not None}
        if operation in _READING:
            # Reading renders and scans: on a thread, so that invocations do not wait for it.
            return await asyncio.to_thread(_READING[operation], self._logs, caller.scope, members)
        if operation in _CHANGING:
            try:
                return _CHANGING[operation](self._logs, caller.scope, members)
            except (ServiceFault, OSError) as error:  # a disk that is full or fails
                raise LogsUnavailable(f"The logs cannot be written now: {error}") from error
        raise LogsNotServed(f"{operation} is not served by Lambent. {_REMEDIES.get(operation, _REMEDY)}")


_REMEDY = "Point the client's logs endpoint at CloudWatch Logs for it."
_REMEDIES = {
    "StartLiveTail": "Use `aws logs tail --follow` or `lambent logs -f` to watch a group live.",
    "StartQuery": "Use FilterLogEvents with a filter pattern.",
}


def _describe_groups(logs: Logs, scope: Scope, given: Input) -> dict[str, Any]:
    if given.get("logGroupClass", "STANDARD") != "STANDARD":
        return {"logGroups": []}  # every group here is STANDARD
    if given.get("logGroupIdentifiers"):
        raise LogsInvalidParameter("logGroupIdentifiers is not served by Lambent: use logGroupNamePrefix.")
    rows, token = logs.describe_groups(
        scope,
        prefix=_text(given, "logGroupNamePrefix"),
        pattern=_text(given, "logGroupNamePattern"),
        limit=_whole(given, "limit"),
        token=_text(given, "nextToken"),
    )
    return _page({"logGroups": [_group(scope, row) for row in rows]}, token)


def _describe_streams(logs: Logs, scope: Scope, given: Input) -> dict[str, Any]:
    name = _group_name(scope, given)
    rows, token = logs.describe_streams(
        scope,
        name,
        prefix=_text(given, "logStreamNamePrefix"),
        order_by=_text(given, "orderBy") or "LogStreamName",
        descending=bool(given.get("descending", False)),
        limit=_whole(given, "limit"),
        token=_text(given, "nextToken"),
    )
    return _page({"logStreams": [_stream(scope, name, row) for row in rows]}, token)


def _get_events(logs: Logs, scope: Scope, given: Input) -> dict[str, Any]:
    page = logs.get_events(
        scope,
        _group_name(scope, given),
        _required(given, "logStreamName"),
        start_ms=_whole(given, "startTime"),
        end_ms=_whole(given, "endTime"),
        limit=_whole(given, "limit"),
        from_head=bool(given.get("startFromHead", False)),
        token=_text(given, "nextToken"),
    )
    return {
        "events": [_event(event) for event in page.events],
        "nextForwardToken": page.forward,
        "nextBackwardToken": page.backward,
    }


def _filter_events(logs: Logs, scope: Scope, given: Input) -> dict[str, Any]:
    names = given.get("logStreamNames")
    if names is not None and (not isinstance(names, list) or not all(isinstance(name, str) for name in names)):
        raise LogsInvalidParameter("logStreamNames is a list of stream names.")
    page = logs.filter_events(
        scope,
        _group_name(scope, given),
        streams=names,
        prefix=_text(given, "logStreamNamePrefix"),
        start_ms=_whole(given, "startTime"),
        end_ms=_whole(given, "endTime"),
        pattern=_text(given, "filterPattern") or "",
        limit=_whole(given, "limit"),
        descending=given.get("startFromHead") is False,
        token=_text(given, "nextToken"),
    )
    events = [
        _event(event) | {"logStreamName": event.stream, "eventId": event_id(event.place)} for event in page.events
    ]
    return _page({"events": events, "searchedLogStreams": []}, page.next_token)


def _tags(logs: Logs, scope: Scope, given: Input) -> dict[str, Any]:
    return {"tags": logs.tags(scope, _name_in_arn(scope, _required(given, "resourceArn")))}


def _group_tags(logs: Logs, scope: Scope, given: Input) -> dict[str, Any]:
    return {"tags": logs.tags(scope, _required(given, "logGroupName"))}


def _tag(logs: Logs, scope: Scope, given: Input) -> dict[str, Any]:
    logs.change_tags(scope, _name_in_arn(scope, _required(given, "resourceArn")), _tag_map(given) or {})
    return {}


def _untag(logs: Logs, scope: Scope, given: Input) -> dict[str, Any]:
    names = given.get("tagKeys")
    if not isinstance(names, list):
        raise _missing("tagKeys")
    logs.change_tags(scope, _name_in_arn(scope, _required(given, "resourceArn")), {}, names)
    return {}


def _create_group(logs: Logs, scope: Scope, given: Input) -> dict[str, Any]:
    if given.get("kmsKeyId"):
        raise LogsInvalidParameter("Log groups are not encrypted with KMS keys by Lambent: leave kmsKeyId out.")
    if given.get("logGroupClass", "STANDARD") != "STANDARD" or given.get("deletionProtectionEnabled"):
        raise LogsInvalidParameter(
            "Log groups are of class STANDARD and without deletion protection in Lambent: leave both members out."
        )
    logs.create_group(scope, _required(given, "logGroupName"), _tag_map(given))
    return {}


def _delete_group(logs: Logs, scope: Scope, given: Input) -> dict[str, Any]:
    logs.delete_group(scope, _required(given, "logGroupName"))
    return {}


def _create_stream(logs: Logs, scope: Scope, given: Input) -> dict[str, Any]:
    logs.create_stream(scope, _required(given, "logGroupName"), _required(given, "logStreamName"))
    return {}


def _delete_stream(logs: Logs, scope: Scope, given: Input) -> dict[str, Any]:
    logs.delete_stream(scope, _required(given, "logGroupName"), _required(given, "logStreamName"))
    return {}


def _put_retention(logs: Logs, scope: Scope, given: Input) -> dict[str, Any]:
    days = _whole(given, "retentionInDays")
    if days is None:
        raise _missing("retentionInDays")
    logs.put_retention(scope, _required(given, "logGroupName"), days)
    return {}


def _delete_retention(logs: Logs, scope: Scope, given: Input) -> dict[str, Any]:
    logs.put_retention(scope, _required(given, "logGroupName"), None)
    return {}


def _put_events(logs: Logs, scope: Scope, given: Input) -> dict[str, Any]:
    rows = given.get("logEvents")
    if not isinstance(rows, list):
        raise _missing("logEvents")
    lines = []
    for row in rows:
        if not isinstance(row, dict):
            raise LogsInvalidParameter("logEvents is a list of events.")
        at_ms, message = _whole(row, "timestamp"), _text(row, "message")
        if at_ms is None or not message:
            raise _missing("logEvents.timestamp" if at_ms is None else "logEvents.message")
        lines.append((at_ms, message.encode(errors="replace")))
    group, stream = _required(given, "logGroupName"), _required(given, "logStreamName")
    rejected = logs.put_events(scope, group, stream, lines)
    told = {
        "tooNewLogEventStartIndex": rejected.too_new_start,
        "tooOldLogEventEndIndex": rejected.too_old_end,
        "expiredLogEventEndIndex": rejected.expired_end,
    }
    told = {name: index for name, index in told.items() if index is not None}
    # Sequence tokens are published as ignored and always accepted; clients still expect one.
    output: dict[str, Any] = {"nextSequenceToken": "4" * 56}
    return output | ({"rejectedLogEventsInfo": told} if told else {})


_READING: dict[str, _Operation] = {
    "DescribeLogGroups": _describe_groups,
    "DescribeLogStreams": _describe_streams,
    "GetLogEvents": _get_events,
    "FilterLogEvents": _filter_events,
    "ListTagsForResource": _tags,
    "ListTagsLogGroup": _group_tags,
}
_CHANGING: dict[str, _Operation] = {
    "CreateLogGroup": _create_group,
    "DeleteLogGroup": _delete_group,
    "CreateLogStream": _create_stream,
    "DeleteLogStream": _delete_stream,
    "PutRetentionPolicy": _put_retention,
    "DeleteRetentionPolicy": _delete_retention,
    "PutLogEvents": _put_events,
    "TagResource": _tag,
    "UntagResource": _untag,
}
OPERATIONS = frozenset((*_READING, *_CHANGING))


def _group_arn(scope: Scope, name: str) -> str:
    return f"arn:{scope.partition}:logs:{scope.region}:{scope.account}:log-group:{name}"


def _group(scope: Scope, row: GroupView) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "logGroupName": row.name,
        "creationTime": row.created_ms,
        "metricFilterCount": 0,
        "arn": f"{_group_arn(scope, row.name)}:*",
        "storedBytes": row.stored_bytes,
        "logGroupClass": "STANDARD",
        "logGroupArn": _group_arn(scope, row.name),
    }
    return shown | ({"retentionInDays": row.retention_days} if row.retention_days is not None else {})


def _stream(scope: Scope, group: str, row: StreamView) -> dict[str, Any]:
    times = {
        "firstEventTimestamp": row.first_ms,
        "lastEventTimestamp": row.last_ms,
        "lastIngestionTime": row.ingested_ms,
    }
    shown: dict[str, Any] = {
        "logStreamName": row.name,
        "creationTime": row.created_ms,
        "arn": f"{_group_arn(scope, group)}:log-stream:{row.name}",
        "uploadSequenceToken": "4" * 56,
        "storedBytes": 0,  # published as always zero for streams since 2019
    }
    return shown | {name: at_ms for name, at_ms in times.items() if at_ms is not None}


def _event(event: LogEvent) -> dict[str, Any]:
    message = event.message.decode("utf-8", "replace")
    return {"timestamp": event.at_ms, "message": message, "ingestionTime": event.ingested_ms}


def _page(output: dict[str, Any], token: str | None) -> dict[str, Any]:
    return output if token is None else output | {"nextToken": token}


def _group_name(scope: Scope, given: Input) -> str:
    name, identifier = _text(given, "logGroupName"), _text(given, "logGroupIdentifier")
    if (name is None) == (identifier is None):
        raise LogsInvalidParameter("Exactly one of logGroupName and logGroupIdentifier must be given.")
    if name is not None:
        return name
    assert identifier is not None
    return _name_in_arn(scope, identifier) if identifier.startswith("arn:") else identifier


def _name_in_arn(scope: Scope, arn: str) -> str:
    parts = arn.split(":")
    if len(parts) < 7 or parts[2] != "logs" or parts[5] != "log-group":
        raise LogsInvalidParameter(f"{arn} is not the ARN of a log group.")
    if (parts[3], parts[4]) != (scope.region, scope.account):
        raise LogsInvalidParameter(f"{arn} belongs to another account or region.")
    return parts[6]


def _text(given: Input, name: str) -> str | None:
    value = given.get(name)
    if value is not None and not isinstance(value, str):
        raise LogsInvalidParameter(f"{name} is a string.")
    return value


def _tag_map(given: Input) -> dict[str, str] | None:
    tags = given.get("tags")
    if tags is None:
        return None
    if not isinstance(tags, dict) or not all(isinstance(text, str) for pair in tags.items() for text in pair):
        raise LogsInvalidParameter("tags is a map of strings.")
    return tags


def _whole(given: Input, name: str) -> int | None:
    value = given.get(name)
    if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
        raise LogsInvalidParameter(f"{name} is a whole number.")
    return value


def _required(given: Input, name: str) -> str:
    value = _text(given, name)
    if value is None:
        raise _missing(name)
    return value


def _missing(name: str) -> LogsError:
    return LogsInvalidParameter(
        f"1 validation error detected: Value null at '{name}' failed to satisfy constraint: Member must not be null"
    )
