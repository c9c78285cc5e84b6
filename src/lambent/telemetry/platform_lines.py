"""The platform's own lines (INIT_START, INIT_REPORT, RESTORE_START, RESTORE_REPORT, START, END, REPORT, XRAY) in both log formats, and the tail.

Rendered from the record whenever somebody reads; nothing of this is stored. A message keeps its trailing newline.
Source: AWS Lambda Developer Guide, "Working with Lambda function logs" and "Telemetry API Event schema".
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Protocol

import orjson

from ..domain.limits import TAIL_BYTES_MAX
from ..domain.names import FunctionRef
from .attempt import JSON, RESTORE, Attempt, AttemptPart, InitRecord, LogLine, Origin, Record, hundredths

_SYSTEM_LEVELS = {"DEBUG": 0, "INFO": 1, "WARN": 2}
_STATUS_NAMED_IN_TEXT = ("error", "timeout", "failure")


class ExtensionStatus(Protocol):
    """An extension at the end of the init phase."""

    @property
    def name(self) -> str: ...
    @property
    def state(self) -> str: ...
    @property
    def events(self) -> tuple[str, ...]: ...
    @property
    def error_type(self) -> str | None: ...


def iso_ms(epoch_ms: int) -> str:
    """2026-01-31T00:00:00.000Z"""
    moment = datetime.fromtimestamp(epoch_ms // 1_000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{epoch_ms % 1_000:03d}Z"


def render(record: Record) -> list[LogLine]:
    """All log events of a record in order, platform lines among them; times never decrease."""
    if isinstance(record, Attempt):
        return attempt_events(record)
    if isinstance(record, AttemptPart):
        return part_events(record)
    if isinstance(record, InitRecord):
        return init_events(record)
    return record.lines


def attempt_events(attempt: Attempt) -> list[LogLine]:
    """START (unless a part carried it), the function's lines, END and REPORT.

    A line may carry a wall time outside the attempt (a clock was set, a pipe was read late): START is never later and
    END never earlier than the lines between them.
    """
    lines = attempt.lines
    begin_ms = min(attempt.started_ms, lines[0][0]) if lines else attempt.started_ms
    end_ms = max(attempt.ended_ms, lines[-1][0], begin_ms) if lines else max(attempt.ended_ms, begin_ms)
    events: list[LogLine] = []
    if not attempt.is_begun:
        events.extend(_start(attempt.origin, attempt.request_id, begin_ms, attempt.trace))
    events.extend(lines)
    if attempt.origin.log_format == JSON:
        events.extend(_json_end(attempt, end_ms))
    else:
        events.append((end_ms, f"END RequestId: {attempt.request_id}\n".encode()))
        events.append((end_ms, text_report(attempt).encode()))
    return events


def part_events(part: AttemptPart) -> list[LogLine]:
    """START before the first part's lines."""
    if not part.is_first:
        return part.lines
    begin_ms = min(part.started_ms, part.lines[0][0]) if part.lines else part.started_ms
    return [*_start(part.origin, part.request_id, begin_ms, None), *part.lines]


def text_report(attempt: Attempt) -> str:
    """The REPORT event: tabs between and after the fields; XRAY follows in the same event when sampled."""
    origin = attempt.origin
    report = (
        f"REPORT RequestId: {attempt.request_id}\tDuration: {_text_ms(attempt.duration_us)} ms\t"
        f"Billed Duration: {attempt.billed_ms} ms\tMemory Size: {origin.memory_mb} MB\t"
        f"Max Memory Used: {attempt.peak_mb} MB\t"
    )
    if attempt.init_us is not None:
        report += f"Init Duration: {_text_ms(attempt.init_us)} ms\t"
    if attempt.restore_us is not None:
        report += f"Restore Duration: {_text_ms(attempt.restore_us)} ms\t"
        report += f"Billed Restore Duration: {attempt.restore_billed_ms} ms\t"
    if attempt.status == "timeout" or (attempt.error_type and attempt.status in _STATUS_NAMED_IN_TEXT):
        report += f"Status: {'error' if attempt.status == 'failure' else attempt.status}\t"
    if attempt.error_type:
        report += f"Error Type: {attempt.error_type}\t"
    return report + "\n" + _xray(attempt.trace)


def init_events(init: InitRecord) -> list[LogLine]:
    """INIT_START, the init phase's output, INIT_REPORT when it failed or is always reported; of a restoration
    RESTORE_START, what its hooks printed, RESTORE_REPORT."""
    lines = init.lines
    begin_ms = min(init.started_ms, lines[0][0]) if lines else init.started_ms
    end_ms = max(init.ended_ms, lines[-1][0], begin_ms) if lines else max(init.ended_ms, begin_ms)
    if init.origin.log_format == JSON:
        return [*_json_init_start(init, begin_ms), *lines, *_json_init_end(init, end_ms)]
    is_restored = init.phase == RESTORE
    start = f"{'RESTORE_START' if is_restored else 'INIT_START'} Runtime Version: {init.runtime_version}"
    if init.runtime_version_arn:
        start += f"\tRuntime Version ARN: {init.runtime_version_arn}"
    events: list[LogLine] = [(begin_ms, f"{start}\n".encode()), *lines]
    if is_restored or init.is_reported or init.status != "success":
        report = f"INIT_REPORT Init Duration: {_text_ms(init.duration_us)} ms\tPhase: {init.phase}"
        if is_restored:
            report = f"RESTORE_REPORT Restore Duration: {_text_ms(init.duration_us)} ms"
        if init.status != "success":
            report += f"\tStatus: {init.status}"
        if init.error_type:
            report += f"\tError Type: {init.error_type}"
        events.append((end_ms, f"{report}\n".encode()))
    return events


def tail(attempt: Attempt, earlier: bytes = b"") -> str:
    """X-Amz-Log-Result: base64 of the last 4,096 bytes from START to REPORT, cut at the front.

    earlier: the end (4,096 bytes suffice) of what the attempt's parts already wrote, START among it.
    """
    kept: list[bytes] = []
    size = 0
    for _, message in reversed(attempt_events(attempt)):
        kept.append(message if message.endswith(b"\n") else message + b"\n")
        size += len(kept[-1])
        if size >= TAIL_BYTES_MAX:
            break
    else:
        kept.append(earlier)
    return base64.b64encode(b"".join(reversed(kept))[-TAIL_BYTES_MAX:]).decode("ascii")


def logs_dropped(origin_format: str, now_ms: int, records: int, size: int, reason: str) -> LogLine:
    """One line that tells what a rate limit dropped."""
    if origin_format == JSON:
        told = {"droppedBytes": size, "droppedRecords": records, "reason": reason}
        return _json_line(now_ms, "platform.logsDropped", told)
    return now_ms, f"LOGS_DROPPED\tRecords: {records}\tBytes: {size}\tReason: {reason}\n".encode()


def extension_events(origin: Origin, at_ms: int, extensions: Iterable[ExtensionStatus]) -> list[LogLine]:
    """EXTENSION, one line each: how it fared in the init phase."""
    events: list[LogLine] = []
    for one in extensions:
        if origin.log_format == JSON:
            if _passes(origin, "INFO" if one.error_type is None else "WARN"):
                failed = {} if one.error_type is None else {"errorType": one.error_type}
                told = {"name": one.name, "state": one.state, "events": list(one.events)} | failed
                events.append(_json_line(at_ms, "platform.extension", told))
            continue
        text = f"EXTENSION\tName: {one.name}\tState: {one.state}\tEvents: [{', '.join(one.events)}]"
        if one.error_type is not None:
            text += f"\tError Type: {one.error_type}"
        events.append((at_ms, f"{text}\n".encode(errors="replace")))
    return events


def _text_ms(duration_us: int) -> str:
    count = hundredths(duration_us)
    return f"{count // 100}.{count % 100:02d}"


def _json_ms(duration_us: int) -> float:
    return hundredths(duration_us) / 100


def _xray(trace: str | None) -> str:
    if not trace:
        return ""
    fields = dict(part.split("=", 1) for part in trace.split(";") if "=" in part)
    if fields.get("Sampled") != "1" or "Root" not in fields:
        return ""
    return f"XRAY TraceId: {fields['Root']}\tSegmentId: {fields.get('Parent', '')}\tSampled: true\t\n"


def _start(origin: Origin, request_id: str, at_ms: int, trace: str | None) -> Iterable[LogLine]:
    if origin.log_format != JSON:
        return ((at_ms, f"START RequestId: {request_id} Version: {origin.version}\n".encode()),)
    if not _passes(origin, "INFO"):
        return ()
    told: dict[str, Any] = {"requestId": request_id, "version": origin.version}
    if origin.tenant_id:
        ref = FunctionRef(origin.account, origin.region, origin.function)
        told |= {"functionArn": ref.arn(origin.version)} | _tenant(origin)
    return (_json_line(at_ms, "platform.start", told | _tracing(trace)),)


def _json_end(attempt: Attempt, end_ms: int) -> Iterable[LogLine]:
    origin, status = attempt.origin, attempt.status
    failed: dict[str, Any] = {"errorType": attempt.error_type} if attempt.error_type else {}
    common: dict[str, Any] = {"requestId": attempt.request_id, "status": status}
    if _passes(origin, "DEBUG" if status == "success" else "WARN"):
        metrics: dict[str, Any] = {"durationMs": _json_ms(attempt.duration_us), "producedBytes": attempt.produced_bytes}
        told = common | {"metrics": metrics} | _tenant(origin) | _tracing(attempt.trace) | failed
        yield _json_line(end_ms, "platform.runtimeDone", told)
    if _passes(origin, "INFO" if status == "success" else "WARN"):
        metrics = {
            "durationMs": _json_ms(attempt.duration_us),
            "billedDurationMs": attempt.billed_ms,
            "memorySizeMB": origin.memory_mb,
            "maxMemoryUsedMB": attempt.peak_mb,
        }
        if attempt.init_us is not None:
            metrics["initDurationMs"] = _json_ms(attempt.init_us)
        if attempt.restore_us is not None:
            metrics["restoreDurationMs"] = _json_ms(attempt.restore_us)
            metrics["billedRestoreDurationMs"] = attempt.restore_billed_ms
        yield _json_line(end_ms, "platform.report", common | {"metrics": metrics} | _tracing(attempt.trace) | failed)


def _json_init_start(init: InitRecord, at_ms: int) -> Iterable[LogLine]:
    if not _passes(init.origin, "INFO" if init.runtime_version else "DEBUG"):
        return
    head = {} if init.phase == RESTORE else _init_head(init)
    told: dict[str, Any] = head | {
        "functionName": init.origin.function,
        "functionVersion": init.origin.version,
        "instanceId": init.origin.environment,
        "instanceMaxMemory": init.origin.memory_mb * 1_048_576,
    }
    if init.runtime_version:
        told["runtimeVersion"] = init.runtime_version
    if init.runtime_version_arn:
        told["runtimeVersionArn"] = init.runtime_version_arn
    yield _json_line(at_ms, f"platform.{init.phase}Start", told)


def _json_init_end(init: InitRecord, at_ms: int) -> Iterable[LogLine]:
    succeeded = init.status == "success"
    is_restored = init.phase == RESTORE
    told: dict[str, Any] = ({} if is_restored else _init_head(init)) | {"status": init.status}
    failed: dict[str, Any] = {"errorType": init.error_type} if init.error_type else {}
    if _passes(init.origin, "DEBUG" if succeeded else "WARN"):
        yield _json_line(at_ms, f"platform.{init.phase}RuntimeDone", told | failed)
    if _passes(init.origin, ("INFO" if is_restored or init.is_reported else "DEBUG") if succeeded else "WARN"):
        metrics = {"metrics": {"durationMs": _json_ms(init.duration_us)}}
        yield _json_line(at_ms, f"platform.{init.phase}Report", told | metrics | failed)


def _init_head(init: InitRecord) -> dict[str, Any]:
    return {"initializationType": init.origin.initialization, "phase": init.phase}


def _tenant(origin: Origin) -> dict[str, Any]:
    return {"tenantId": origin.tenant_id} if origin.tenant_id else {}


def _tracing(trace: str | None) -> dict[str, Any]:
    return {"tracing": {"type": "X-Amzn-Trace-Id", "value": trace}} if trace else {}


def _passes(origin: Origin, level: str) -> bool:
    return _SYSTEM_LEVELS[level] >= _SYSTEM_LEVELS.get(origin.system_log_level, 1)


def _json_line(at_ms: int, kind: str, told: dict[str, Any]) -> LogLine:
    return at_ms, orjson.dumps({"time": iso_ms(at_ms), "type": kind, "record": told}) + b"\n"
