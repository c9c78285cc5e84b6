"""Checking the bill against the log: REPORT lines read back as anybody could, compared with the ledger.

Log lines and ledger rows come from one record, so they agree unless there is a bug in one of the two renderings or
damage on the disk; this is what finds it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import orjson

from ..telemetry.attempt import Attempt
from ..telemetry.index import Usage
from ..telemetry.platform_lines import render, text_report
from ..telemetry.records import Records

_REPORT = re.compile(
    rb"REPORT RequestId: (\S+)\tDuration: (\d+)\.(\d\d) ms\tBilled Duration: (\d+) ms\tMemory Size: (\d+) MB\t"
    rb"Max Memory Used: \d+ MB\t(?:Init Duration: (\d+)\.(\d\d) ms\t)?"
    rb"(?:Restore Duration: \d+\.\d\d ms\tBilled Restore Duration: (\d+) ms\t)?"
)


@dataclass(slots=True)
class LogBill:
    """What a log's REPORT lines add up to."""

    attempts: int = 0
    billed_ms: int = 0
    mb_ms: int = 0

    def add(self, billed_ms: int, memory_mb: int) -> None:
        self.attempts += 1
        self.billed_ms += billed_ms
        self.mb_ms += billed_ms * memory_mb


@dataclass(frozen=True, slots=True)
class Difference:
    """A segment whose REPORT lines and ledger rows disagree."""

    segment: int
    log: LogBill
    ledger: LogBill


class ReportMismatch(Exception):
    """A REPORT whose Billed Duration is not its Duration plus Init Duration (or Billed Restore Duration), rounded up once."""


def read_report(message: bytes) -> tuple[int, int] | None:
    """(Billed Duration in ms, Memory Size in MB) of a REPORT in either format; None for another event.

    Raises ReportMismatch when the line does not bill what its own durations say.
    """
    if message.startswith(b"REPORT "):
        found = _REPORT.match(message)
        if found is None:
            return None
        _, whole, part, billed, memory, init_whole, init_part, restored = found.groups()
        hundredths = int(whole) * 100 + int(part)
        hundredths += int(init_whole) * 100 + int(init_part) if init_whole is not None else 0
        hundredths += int(restored) * 100 if restored is not None else 0
        return _checked(hundredths, int(billed), int(memory))
    if not message.startswith(b"{") or b'"platform.report"' not in message:
        return None
    try:
        metrics = orjson.loads(message)["record"]["metrics"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return None
    hundredths = round(metrics["durationMs"] * 100) + round(metrics.get("initDurationMs", 0) * 100)
    hundredths += metrics.get("billedRestoreDurationMs", 0) * 100
    return _checked(hundredths, metrics["billedDurationMs"], metrics["memorySizeMB"])


def bill_of_log(messages: Iterable[bytes]) -> LogBill:
    """Add up the REPORT events among log messages (functions that print such lines themselves count too)."""
    bill = LogBill()
    for message in messages:
        report = read_report(message)
        if report is not None:
            bill.add(*report)
    return bill


def reconcile(records: Records) -> list[Difference]:
    """Read every attempt that is still held, add up its REPORT, compare with the ledger, per segment.

    An empty list is the promise kept. Reads everything: minutes for a full store, for a thread.
    """
    differences = []
    for segment in records.segments():
        index = segment.index()
        ledger = _bill_of_ledger(index.usage.values())
        bill = LogBill()
        for key in list(index.streams):
            for offset in list(segment.tables(key).offsets):
                record = segment.load(offset)
                if isinstance(record, Attempt):
                    # The last event is the platform's; with a system level of WARN a success has none in its log.
                    report = read_report(render(record)[-1][1]) if _is_reported(record) else None
                    bill.add(*(report or _checked_report(text_report(record).encode())))
        if bill != ledger:
            differences.append(Difference(segment.number, bill, ledger))
    return differences


def _is_reported(attempt: Attempt) -> bool:
    return not (
        attempt.origin.log_format == "JSON"
        and attempt.origin.system_log_level == "WARN"
        and attempt.status == "success"
    )


def _checked_report(message: bytes) -> tuple[int, int]:
    report = read_report(message)
    if report is None:
        raise ReportMismatch(f"not a REPORT: {message!r}")
    return report


def _bill_of_ledger(rows: Iterable[Usage]) -> LogBill:
    bill = LogBill()
    for usage in rows:
        bill.attempts += usage.attempts
        bill.billed_ms += usage.billed_ms
        bill.mb_ms += usage.mb_ms
    return bill


def _checked(hundredths: int, billed_ms: int, memory_mb: int) -> tuple[int, int]:
    if -(-hundredths // 100) != billed_ms:
        raise ReportMismatch(f"{hundredths / 100:.2f} ms are billed as {billed_ms} ms")
    return billed_ms, memory_mb
