"""The ledger: months, functions, and equality with what the log says, whatever happens in between."""

from __future__ import annotations

import tempfile
from collections import Counter
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lambent.domain.clock import ManualClock
from lambent.domain.errors import InvalidParameterValue
from lambent.domain.names import Scope
from lambent.metering.ledger import Ledger, sum_of
from lambent.metering.prices import MB_MS_PER_GB_S
from lambent.metering.reconciliation import (
    LogBill,
    ReportMismatch,
    bill_of_log,
    read_report,
    reconcile,
)
from lambent.metering.usage import month_usage
from lambent.telemetry.attempt import Attempt, Origin
from lambent.telemetry.logs import Logs
from lambent.telemetry.records import MemoryRecords, Retention
from lambent.telemetry.segments import FileRecords

SCOPE = Scope("123456789012", "us-east-1")
NOVEMBER_MS, DECEMBER_MS = 1_764_100_000_000, 1_765_000_000_000


def origin(function: str = "f", memory_mb: int = 1_024, **changes: object) -> Origin:
    fields: dict[str, object] = {
        "account": SCOPE.account,
        "region": SCOPE.region,
        "function": function,
        "version": "$LATEST",
        "environment": f"e-{function}",
        "log_group": f"/aws/lambda/{function}",
        "log_stream": f"2025/11/25/[$LATEST]{function}",
        "memory_mb": memory_mb,
    }
    return Origin(**(fields | changes))  # type: ignore[arg-type]


def attempt(of: Origin, at_ms: int = NOVEMBER_MS, duration_us: int = 1_000_000, **changes: object) -> Attempt:
    return Attempt(of, "r", at_ms, duration_us, **changes)  # type: ignore[arg-type]


def test_months_are_apart_and_add_up() -> None:
    records, ledger = MemoryRecords(), None
    of = origin()
    for at_ms in (NOVEMBER_MS, NOVEMBER_MS, DECEMBER_MS):
        records.append(attempt(of, at_ms))
    ledger = Ledger(records)
    assert ledger.months(SCOPE) == ["2025-11", "2025-12"]
    assert [row.usage.attempts for row in ledger.rows(SCOPE, "2025-11")] == [2]
    assert ledger.rows(SCOPE, "2025-11")[0].day == "2025-11-25"
    assert sum_of(ledger.rows(SCOPE)).mb_ms == 3 * MB_MS_PER_GB_S
    assert ledger.rows(Scope("210987654321", "us-east-1")) == []
    with pytest.raises(InvalidParameterValue, match="2025-13"):
        ledger.rows(SCOPE, "2025-13")


def test_the_table_shows_the_dearest_first_and_adds_up_exactly() -> None:
    records = MemoryRecords()
    small, big, arm = (
        origin("small", 128),
        origin("big", 3_008, ephemeral_mb=10_240),
        origin("arm", architecture="arm64"),
    )
    for of, count in ((small, 7), (big, 3), (arm, 5)):
        for _ in range(count):
            records.append(attempt(of, duration_us=333_333, request_units=2))
    table = month_usage(Ledger(records), SCOPE, "2025-11")
    assert [line.function for line in table.functions] == ["big", "arm", "small"]
    assert sum((line.amount for line in table.functions), Fraction(0)) == table.charge.total
    assert table.functions[2].gb_seconds == Fraction(7 * 334 * 128, MB_MS_PER_GB_S)
    assert table.total.requests == 30
    free = month_usage(Ledger(records), SCOPE, "2025-11", with_free_tier=True)
    assert free.charge.total == free.charge.ephemeral > 0


def test_an_empty_month_is_an_empty_table() -> None:
    table = month_usage(Ledger(MemoryRecords()), SCOPE, "2025-11")
    assert (table.functions, table.charge.total) == ([], 0)


def test_a_report_is_read_back() -> None:
    line = b"REPORT RequestId: x\tDuration: 2.46 ms\tBilled Duration: 417 ms\tMemory Size: 128 MB\tMax Memory Used: 36 MB\tInit Duration: 413.61 ms\t\n"
    assert read_report(line) == (417, 128)
    assert read_report(b"END RequestId: x\n") is None
    assert read_report(b"REPORT on sales\n") is None
    assert read_report(b'{"type":"platform.report"\n') is None
    with pytest.raises(ReportMismatch, match="417"):
        read_report(line.replace(b"2.46", b"9.46"))


def test_reconciliation_finds_a_row_that_was_tampered_with() -> None:
    records = MemoryRecords()
    records.append(attempt(origin()))
    assert reconcile(records) == []
    (segment,) = records.segments()
    next(iter(segment.index().usage.values())).billed_ms += 1
    (difference,) = reconcile(records)
    assert difference.log == LogBill(1, 1_000, 1_024_000)
    assert difference.ledger.billed_ms == 1_001


ATTEMPTS = st.builds(
    lambda which, duration_us, init_us, status, units, day, line: (
        which,
        duration_us,
        init_us,
        status,
        units,
        day,
        line,
    ),
    st.integers(0, 4),
    st.integers(0, 900_000_000),
    st.none() | st.integers(0, 10_000_000),
    st.sampled_from(["success", "error", "timeout"]),
    st.integers(1, 13),
    st.integers(0, 40),
    st.binary(max_size=600),
)
STEPS = st.lists(st.just("restart") | st.just("retain") | st.lists(ATTEMPTS, max_size=8), max_size=12)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(STEPS)
def test_the_sum_of_the_report_lines_is_the_bill(steps: list[object]) -> None:
    """Random attempts in both formats, restarts and retention in between: REPORT lines read from the logs by the public
    operations before anything is dropped add up to the ledger at the end, to the millisecond."""
    clock = ManualClock(DECEMBER_MS)
    origins = [
        origin(f"f{number}", 128 * (number + 1), log_format="JSON" if number % 2 else "Text", ephemeral_mb=512 + number)
        for number in range(5)
    ]
    seen: dict[str, bytes] = {}

    def read_log() -> None:
        logs = Logs(records, clock)
        groups, _ = logs.describe_groups(SCOPE, prefix=None, pattern=None, limit=None, token=None)
        for group in groups:
            token = None
            while True:
                page = logs.filter_events(SCOPE, group.name, limit=7, token=token)
                for event in page.events:
                    if event.message.startswith((b"REPORT ", b'{"time"')) and b"platform.start" not in event.message:
                        seen[f"{group.name} {event.place}"] = event.message
                token = page.next_token
                if token is None:
                    break

    with tempfile.TemporaryDirectory() as directory:

        def begin() -> FileRecords:
            return FileRecords(Path(directory), fsync_ms=0, segment_bytes_max=4_096)

        records = begin()
        written: Counter[str] = Counter()
        try:
            for step in steps:
                if step == "restart":
                    records.close()
                    records = begin()
                elif step == "retain":
                    read_log()
                    records.retain(Retention(total_bytes_max=6_000, group_bytes_max=3_000), DECEMBER_MS)
                else:
                    assert isinstance(step, list)
                    for which, duration_us, init_us, status, units, day, line in step:
                        at_ms = NOVEMBER_MS + day * 86_400_000 // 4
                        kind = "Event" if units > 1 else "RequestResponse"
                        records.append(
                            Attempt(
                                origins[which], "r", at_ms, duration_us, init_us,
                                status=status, kind=kind, request_units=units, lines=[(at_ms, b"x" + line)],
                            )
                        )  # fmt: skip
                        written["attempts"] += 1
                        written["requests"] += units
            read_log()
            bill, total = bill_of_log(seen.values()), sum_of(Ledger(records).rows(SCOPE))
            assert (total.attempts, total.billed_ms, total.mb_ms) == (bill.attempts, bill.billed_ms, bill.mb_ms)
            assert (total.attempts, total.requests) == (written["attempts"], written["requests"])
            assert reconcile(records) == []
        finally:
            records.close()
