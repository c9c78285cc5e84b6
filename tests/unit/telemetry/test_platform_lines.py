"""The platform's lines to the byte, in both formats, and the tail."""

from __future__ import annotations

import base64
from dataclasses import replace

import orjson
import pytest

from lambent.environments.channel import ExtensionStatus
from lambent.metering.reconciliation import read_report
from lambent.telemetry.attempt import Attempt, AttemptPart, InitRecord, LogLine, Origin, billed_ms, request_units
from lambent.telemetry.codec import FRAME, decode, encode_attempt, outline
from lambent.telemetry.platform_lines import extension_events, init_events, iso_ms, logs_dropped, render, tail

T0 = 1_769_817_600_000  # 2026-01-31T00:00:00Z
RID = "8f507cfc-5f4a-4c2a-9a39-2d2b9e0b1a11"
TRACE = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"


def origin(**changes: object) -> Origin:
    fields: dict[str, object] = {
        "account": "123456789012",
        "region": "us-east-1",
        "function": "hello",
        "version": "$LATEST",
        "environment": "0a",
        "log_group": "/aws/lambda/hello",
        "log_stream": "2026/01/31/[$LATEST]0a",
        "memory_mb": 128,
    }
    return Origin(**(fields | changes))  # type: ignore[arg-type]


def attempt(of: Origin | None = None, **changes: object) -> Attempt:
    fields: dict[str, object] = {"duration_us": 3_001, "peak_mb": 36}
    return Attempt(of or origin(), RID, T0, **(fields | changes))  # type: ignore[arg-type]


def messages(events: list[LogLine]) -> list[str]:
    return [message.decode() for _, message in events]


@pytest.mark.parametrize(
    ("duration_us", "init_us", "billed"),
    [
        (2_460, 413_610, 417),
        (20_650, 2_656_670, 2_678),
        (3_010, 110_100, 114),
        (0, None, 0),
        (1, None, 1),
        (1_000, None, 1),
        (1_001, None, 2),
        (400, 600, 1),
        (401, 600, 2),
    ],
)
def test_billed_duration_is_rounded_up_once(duration_us: int, init_us: int | None, billed: int) -> None:
    assert billed_ms(duration_us, init_us) == billed


@pytest.mark.parametrize(("duration_us", "init_us"), [(-1, None), (5, -2)])
def test_a_negative_duration_is_not_billed(duration_us: int, init_us: int | None) -> None:
    with pytest.raises(ValueError, match="negative"):
        billed_ms(duration_us, init_us)


@pytest.mark.parametrize(
    ("size", "units"),
    [(0, 1), (262_144, 1), (262_145, 2), (327_680, 2), (327_681, 3), (1_048_576, 13)],
)
def test_requests_of_an_asynchronous_event(size: int, units: int) -> None:
    assert request_units(size) == units


def test_a_cold_start_in_text() -> None:
    record = attempt(duration_us=3_010, init_us=110_100, lines=[(T0 + 1, b"hello\n")])
    assert messages(render(record)) == [
        f"START RequestId: {RID} Version: $LATEST\n",
        "hello\n",
        f"END RequestId: {RID}\n",
        f"REPORT RequestId: {RID}\tDuration: 3.01 ms\tBilled Duration: 114 ms\tMemory Size: 128 MB\t"
        "Max Memory Used: 36 MB\tInit Duration: 110.10 ms\t\n",
    ]
    assert [at_ms for at_ms, _ in render(record)] == [T0, T0 + 1, T0 + 3, T0 + 3]


def test_failures_name_their_status_and_type() -> None:
    timed_out = messages(render(attempt(duration_us=3_000_000, status="timeout", function_error=True)))[-1]
    assert timed_out.endswith("Max Memory Used: 36 MB\tStatus: timeout\t\n")
    exited = messages(render(attempt(status="error", error_type="Runtime.ExitError")))[-1]
    assert exited.endswith("\tStatus: error\tError Type: Runtime.ExitError\t\n")
    raised = messages(render(attempt(status="error", function_error=True)))[-1]
    assert raised.endswith("Max Memory Used: 36 MB\t\n")


def test_xray_is_part_of_the_report_event_and_only_when_sampled() -> None:
    report = messages(render(attempt(trace=TRACE)))[-1]
    assert report.endswith(
        "\t\nXRAY TraceId: 1-5759e988-bd862e3fe1be46a994272793\tSegmentId: 53995c3f42cd8ad8\tSampled: true\t\n"
    )
    assert "XRAY" not in messages(render(attempt(trace=TRACE.replace("Sampled=1", "Sampled=0"))))[-1]


def test_lines_outside_the_attempt_move_start_and_end() -> None:
    record = attempt(lines=[(T0 - 5, b"thawed\n"), (T0 + 50, b"late\n")])
    assert [at_ms for at_ms, _ in render(record)] == [T0 - 5, T0 - 5, T0 + 50, T0 + 50, T0 + 50]


def test_parts_carry_start_once() -> None:
    of = origin()
    first = AttemptPart(of, RID, T0, [(T0 + 1, b"a\n")], True)
    second = AttemptPart(of, RID, T0, [(T0 + 2, b"b\n")], False)
    last = attempt(of, is_begun=True, lines=[(T0 + 3, b"c\n")])
    told = [line for record in (first, second, last) for line in messages(render(record))]
    assert told[:4] == [f"START RequestId: {RID} Version: $LATEST\n", "a\n", "b\n", "c\n"]
    assert len(told) == 6


def test_init_lines_in_text() -> None:
    arn = "arn:aws:lambda:us-east-1::runtime:" + "0" * 64
    record = InitRecord(origin(), T0, 1_236_040, "python:3.11.v1", arn, lines=[(T0, b"importing\n")])
    start = f"INIT_START Runtime Version: python:3.11.v1\tRuntime Version ARN: {arn}\n"
    assert messages(init_events(record)) == [start, "importing\n"]
    record.status = "timeout"
    assert messages(init_events(record))[-1] == "INIT_REPORT Init Duration: 1236.04 ms\tPhase: init\tStatus: timeout\n"
    record.status, record.error_type = "error", "Runtime.ImportModuleError"
    assert messages(init_events(record))[-1] == (
        "INIT_REPORT Init Duration: 1236.04 ms\tPhase: init\tStatus: error\tError Type: Runtime.ImportModuleError\n"
    )
    record.status, record.error_type, record.is_reported = "success", None, True
    assert messages(init_events(record))[-1] == "INIT_REPORT Init Duration: 1236.04 ms\tPhase: init\n"


def documents(events: list[LogLine]) -> list[dict[str, object]]:
    return [orjson.loads(message) for _, message in events]


def test_an_attempt_in_json() -> None:
    of = origin(log_format="JSON", system_log_level="DEBUG")
    start, done, report = documents(render(attempt(of, init_us=200_500, duration_us=151_200, trace=TRACE)))
    tracing = {"type": "X-Amzn-Trace-Id", "value": TRACE}
    assert start == {
        "time": "2026-01-31T00:00:00.000Z",
        "type": "platform.start",
        "record": {"requestId": RID, "version": "$LATEST", "tracing": tracing},
    }
    assert done == {
        "time": "2026-01-31T00:00:00.151Z",
        "type": "platform.runtimeDone",
        "record": {
            "requestId": RID,
            "status": "success",
            "metrics": {"durationMs": 151.2, "producedBytes": 0},
            "tracing": tracing,
        },
    }
    assert report["record"] == {
        "requestId": RID,
        "status": "success",
        "metrics": {
            "durationMs": 151.2,
            "billedDurationMs": 352,
            "memorySizeMB": 128,
            "maxMemoryUsedMB": 36,
            "initDurationMs": 200.5,
        },
        "tracing": tracing,
    }


@pytest.mark.parametrize(
    ("level", "status", "kinds"),
    [
        ("DEBUG", "success", ["start", "runtimeDone", "report"]),
        ("INFO", "success", ["start", "report"]),
        ("WARN", "success", []),
        ("WARN", "timeout", ["runtimeDone", "report"]),
        ("INFO", "error", ["start", "runtimeDone", "report"]),
    ],
)
def test_system_levels_choose_the_json_lines(level: str, status: str, kinds: list[str]) -> None:
    of = origin(log_format="JSON", system_log_level=level)
    told = documents(render(attempt(of, status=status)))
    assert [line["type"] for line in told] == [f"platform.{kind}" for kind in kinds]


@pytest.mark.parametrize(
    ("level", "changes", "kinds"),
    [
        ("DEBUG", {}, ["initStart", "initRuntimeDone", "initReport"]),
        ("INFO", {}, ["initStart"]),
        ("INFO", {"is_reported": True}, ["initStart", "initReport"]),
        ("INFO", {"runtime_version": ""}, []),
        ("WARN", {"status": "timeout"}, ["initRuntimeDone", "initReport"]),
    ],
)
def test_init_in_json_by_level(level: str, changes: dict[str, object], kinds: list[str]) -> None:
    of = origin(log_format="JSON", system_log_level=level)
    fields: dict[str, object] = {"runtime_version": "python:3.11.v1"}
    record = InitRecord(of, T0, 412_110, **(fields | changes))  # type: ignore[arg-type]
    told = documents(init_events(record))
    assert [line["type"] for line in told] == [f"platform.{kind}" for kind in kinds]


def test_the_tail_is_the_last_4096_bytes_without_init() -> None:
    short = base64.b64decode(tail(attempt(lines=[(T0, b"no newline")])))
    assert short.startswith(b"START RequestId")
    assert b"no newline\nEND" in short
    long = base64.b64decode(tail(attempt(lines=[(T0, b"x" * 100 + b"\n")] * 100)))
    assert len(long) == 4_096
    assert long.endswith(b"\t\n")
    assert not long.startswith(b"START")


def test_the_tail_begins_with_what_parts_wrote() -> None:
    whole = base64.b64decode(tail(attempt(is_begun=True, lines=[(T0, b"b\n")]), b"START ...\na\n"))
    assert whole.startswith(b"START ...\na\nb\nEND ")


def test_dropped_lines_are_told_in_both_formats() -> None:
    assert logs_dropped("Text", T0, 3, 99, "too fast")[1] == b"LOGS_DROPPED\tRecords: 3\tBytes: 99\tReason: too fast\n"
    assert orjson.loads(logs_dropped("JSON", T0, 3, 99, "too fast")[1])["record"] == {
        "droppedBytes": 99,
        "droppedRecords": 3,
        "reason": "too fast",
    }


def test_times_are_iso_with_milliseconds() -> None:
    assert iso_ms(T0 + 7) == "2026-01-31T00:00:00.007Z"


EXTENSIONS = (
    ExtensionStatus("my-ext", "Ready", ("INVOKE", "SHUTDOWN"), None),
    ExtensionStatus("quiet", "Ready", (), None),
    ExtensionStatus("frail", "LaunchError", (), "PermissionDenied"),
)


def test_extensions_in_text() -> None:
    assert messages(extension_events(origin(), T0, EXTENSIONS)) == [
        "EXTENSION\tName: my-ext\tState: Ready\tEvents: [INVOKE, SHUTDOWN]\n",
        "EXTENSION\tName: quiet\tState: Ready\tEvents: []\n",
        "EXTENSION\tName: frail\tState: LaunchError\tEvents: []\tError Type: PermissionDenied\n",
    ]


def test_extensions_in_json_by_level() -> None:
    def told(level: str) -> list[object]:
        of = origin(log_format="JSON", system_log_level=level)
        return [orjson.loads(message) for _, message in extension_events(of, T0, EXTENSIONS)]

    failed = {
        "time": "2026-01-31T00:00:00.000Z",
        "type": "platform.extension",
        "record": {"name": "frail", "state": "LaunchError", "events": [], "errorType": "PermissionDenied"},
    }
    assert told("WARN") == [failed]
    assert told("INFO")[2] == failed
    assert told("INFO")[0] == {
        "time": "2026-01-31T00:00:00.000Z",
        "type": "platform.extension",
        "record": {"name": "my-ext", "state": "Ready", "events": ["INVOKE", "SHUTDOWN"]},
    }


def test_a_restored_environment_bills_what_its_runtime_took() -> None:
    """Source: the published example, 306.34 ms and 303 ms billed of the restore: 610."""
    one = attempt(duration_us=306_340, restore_us=398_970, restore_billed_ms=303)
    assert one.billed_ms == 610
    assert messages(render(one))[-1] == (
        f"REPORT RequestId: {RID}\tDuration: 306.34 ms\tBilled Duration: 610 ms\tMemory Size: 128 MB\t"
        "Max Memory Used: 36 MB\tRestore Duration: 398.97 ms\tBilled Restore Duration: 303 ms\t\n"
    )
    metrics = orjson.loads(messages(render(replace(one, origin=origin(log_format="JSON"))))[-1])["record"]["metrics"]
    assert metrics == {
        "durationMs": 306.34,
        "billedDurationMs": 610,
        "memorySizeMB": 128,
        "maxMemoryUsedMB": 36,
        "restoreDurationMs": 398.97,
        "billedRestoreDurationMs": 303,
    }
    assert read_report(messages(render(one))[-1].encode()) == (610, 128)


@pytest.mark.parametrize(
    ("status", "error_type", "report"),
    [
        ("success", None, "RESTORE_REPORT Restore Duration: 398.97 ms\n"),
        ("timeout", None, "RESTORE_REPORT Restore Duration: 398.97 ms\tStatus: timeout\n"),
        (
            "error",
            "Runtime.ExitError",
            "RESTORE_REPORT Restore Duration: 398.97 ms\tStatus: error\tError Type: Runtime.ExitError\n",
        ),
    ],
)
def test_a_restore_has_lines_of_its_own(status: str, error_type: str | None, report: str) -> None:
    record = InitRecord(
        origin(initialization="snap-start"),
        T0,
        398_970,
        "java:21.v38",
        "arn:aws:lambda:us-east-1::runtime:00",
        status=status,
        error_type=error_type,
        phase="restore",
        lines=[(T0 + 1, b"a hook\n")],
    )
    assert messages(init_events(record)) == [
        "RESTORE_START Runtime Version: java:21.v38\tRuntime Version ARN: arn:aws:lambda:us-east-1::runtime:00\n",
        "a hook\n",
        report,
    ]
    told = [
        orjson.loads(line)
        for line in messages(init_events(replace(record, origin=origin(log_format="JSON"), lines=[])))
    ]
    assert told[0]["type"] == "platform.restoreStart"
    assert told[-1]["type"] == "platform.restoreReport"
    assert told[-1]["record"]["metrics"] == {"durationMs": 398.97}
    assert "phase" not in told[0]["record"]


def test_a_restored_attempt_is_stored_and_counted() -> None:
    one = attempt(duration_us=306_340, restore_us=398_970, restore_billed_ms=303)
    payload = encode_attempt(1, one)[FRAME.size :]
    back = decode(payload, {1: one.origin})
    assert isinstance(back, Attempt)
    assert (back.init_us, back.restore_us, back.restore_billed_ms, back.billed_ms) == (None, 398_970, 303, 610)
    assert outline(memoryview(payload)).prelude_us == 303_000
    with pytest.raises(ValueError, match="Restore Duration"):
        encode_attempt(1, attempt(restore_us=-1))
