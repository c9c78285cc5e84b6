"""What every store of records promises, run on the memory and the file implementation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from lambent.domain.limits import STREAM_FREE_BYTES
from lambent.telemetry.attempt import Attempt, AttemptPart, InitRecord, Origin, Record, UserEvents
from lambent.telemetry.index import DAY_MS, Usage
from lambent.telemetry.records import MemoryRecords, Records, Retention
from lambent.telemetry.segments import FileRecords

T0 = 1_764_100_000_000
GROUP = ("123456789012", "us-east-1", "/aws/lambda/hello")
STREAM = (*GROUP, "2025/11/25/[$LATEST]0a")


def origin(function: str = "hello", environment: str = "0a", **changes: object) -> Origin:
    fields = {
        "account": "123456789012",
        "region": "us-east-1",
        "function": function,
        "version": "$LATEST",
        "environment": environment,
        "log_group": f"/aws/lambda/{function}",
        "log_stream": f"2025/11/25/[$LATEST]{environment}",
        "memory_mb": 128,
    }
    return Origin(**(fields | changes))  # type: ignore[arg-type]


def attempt(of: Origin, at_ms: int = T0, number: int = 0, **changes: object) -> Attempt:
    fields: dict[str, object] = {"duration_us": 1_500, "peak_mb": 36}
    request_id = f"00000000-0000-4000-8000-{number:012d}"
    return Attempt(of, request_id, at_ms, **(fields | changes))  # type: ignore[arg-type]


def everything(records: Records) -> list[Record]:
    found = []
    for segment in records.segments():
        places = [offset for key in segment.index().streams for offset in segment.tables(key).offsets]
        found += [segment.load(offset) for offset in sorted(places)]
    return found


@pytest.fixture(params=["memory", "file"])
def records(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Records]:
    store: Records
    if request.param == "memory":
        store = MemoryRecords(segment_records_max=20)
    else:
        store = FileRecords(tmp_path / "records", fsync_ms=0, segment_bytes_max=4_096)
    yield store
    store.close()


def test_what_was_appended_is_read_back_word_for_word(records: Records) -> None:
    """All kinds of records, with everything optional set and unset."""
    of = origin(log_format="JSON", system_log_level="DEBUG", architecture="arm64", ephemeral_mb=1_024)
    written: list[Record] = [
        InitRecord(of, T0, 200_000, "python:3.11.v1", "arn:x", "error", "Runtime.Unknown", lines=[(T0, b"im\rport\n")]),
        AttemptPart(of, "r1", T0 + 1, [(T0 + 1, b"early\n")], True),
        attempt(
            of,
            T0 + 1,
            init_us=123,
            status="timeout",
            error_type="Sandbox.Timedout",
            function_error=True,
            kind="Event",
            qualifier="live",
            trace="Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1",
            request_units=5,
            produced_bytes=2**33,
            is_begun=True,
            lines=[(T0 + 1, b"\xff\x00 not text"), (T0 + 2, "žluťoučký\n".encode())],
        ),
        attempt(of, T0 + 9),
        UserEvents("123456789012", "us-east-1", "own", "mine", [(T0, b"a"), (T0 + 1, b"b")], T0 + 5),
    ]
    for record in written:
        records.append(record) if isinstance(record, Attempt) else records.append_other(record)
    assert [asdict(record) for record in everything(records)] == [asdict(record) for record in written]


def test_segments_end_and_numbers_go_up(records: Records) -> None:
    of = origin()
    for number in range(90):
        records.append(attempt(of, T0 + number, number))
    numbers = [segment.number for segment in records.segments()]
    assert len(numbers) >= 3
    assert numbers == sorted(numbers)
    assert [record.request_id[-3:] for record in everything(records) if isinstance(record, Attempt)] == [
        f"{number:03d}" for number in range(90)
    ]
    assert records.position()[0] == numbers[-1]


def test_the_ledger_is_exact_over_segments_and_days(records: Records) -> None:
    of, other = origin(memory_mb=512, ephemeral_mb=1_024), origin("bye", architecture="arm64")
    for number in range(50):
        records.append(attempt(of, T0 + number, number, duration_us=1_001))
    records.append(attempt(of, T0, duration_us=2_460, init_us=413_610))
    records.append(attempt(other, T0 + DAY_MS, status="timeout", function_error=True, request_units=3))
    usage = records.usage()
    day = T0 // DAY_MS
    assert usage["123456789012", "us-east-1", "hello", "$LATEST", "x86_64", day] == Usage(
        attempts=51,
        requests=51,
        billed_ms=517,
        mb_ms=517 * 512,
        init_mb_ms=(417 - 3) * 512,
        ephemeral_mb_ms=517 * 512,
    )
    assert usage["123456789012", "us-east-1", "bye", "$LATEST", "arm64", day + 1] == Usage(1, 3, 2, 256, 0, 0, 1, 1)


def test_streamed_bytes_are_counted_where_a_response_was_streamed(records: Records) -> None:
    of = origin()
    for size in (STREAM_FREE_BYTES, STREAM_FREE_BYTES + 7, STREAM_FREE_BYTES + 50_000_000):
        for is_streamed in (True, False):
            records.append(attempt(of, produced_bytes=size, is_streamed=is_streamed))
    (usage,) = records.usage().values()
    assert usage.streamed_bytes == 50_000_007
    assert [(one.produced_bytes, one.is_streamed) for one in everything(records) if isinstance(one, Attempt)][:2] == [
        (STREAM_FREE_BYTES, True),
        (STREAM_FREE_BYTES, False),
    ]


def test_dropping_segments_frees_room_and_keeps_the_bill(records: Records) -> None:
    of = origin()
    for number in range(200):
        records.append(attempt(of, T0 + number, number, lines=[(T0 + number, b"x" * 50)]))
    before, segments = records.usage(), len(records.segments())
    newest = everything(records)[-1]
    freed = records.retain(Retention(total_bytes_max=8_192), T0 + 200)
    assert freed > 0
    assert len(records.segments()) < segments
    assert records.usage() == before
    assert asdict(everything(records)[-1]) == asdict(newest)
    assert records.retain(Retention(total_bytes_max=8_192), T0 + 200) == 0


def test_a_group_over_its_bytes_loses_its_oldest_segments(records: Records) -> None:
    of = origin()
    for number in range(200):
        records.append(attempt(of, T0 + number, number, lines=[(T0 + number, b"x" * 50)]))
    before = records.usage()
    assert records.retain(Retention(group_bytes_max=8_192), T0 + 200) > 0
    assert sum(segment.size for segment in records.segments()) <= 8_192 + 2 * 4_400
    assert records.usage() == before


def test_what_is_too_old_goes_with_its_segment_and_not_before(records: Records) -> None:
    old, young = origin(), origin("bye")
    for number in range(60):
        records.append(attempt(old, T0, number))
    records.append(attempt(young, T0 + 3 * DAY_MS))
    for number in range(60):
        records.append(attempt(old, T0 + 3 * DAY_MS, number))
    assert records.retain(Retention(days_max=7), T0 + 4 * DAY_MS) == 0
    count = len(records.segments())
    assert records.retain(Retention(days_max=2), T0 + 4 * DAY_MS) > 0
    assert 1 < len(records.segments()) < count
    assert sum(usage.attempts for usage in records.usage().values()) == 121


def test_a_deleted_group_comes_back_with_the_next_attempt(records: Records) -> None:
    of = origin()
    records.append(attempt(of))
    assert not records.catalog.groups[GROUP].is_deleted
    records.hide(GROUP, None, T0 + 5)
    assert records.catalog.groups[GROUP].is_deleted
    records.append(attempt(of, T0 + 9))
    row = records.catalog.groups[GROUP]
    assert (row.is_deleted, row.created_ms) == (False, T0 + 9)
    assert (-1, -1) < row.floor < records.position()
    assert sum(usage.attempts for usage in records.usage().values()) == 2


def test_listeners_hear_every_record_until_they_end(records: Records) -> None:
    heard: list[Record] = []
    end: Callable[[], None] = records.subscribe(heard.append)
    of = origin()
    first, part = attempt(of), AttemptPart(of, "r", T0, [(T0, b"x\n")], True)
    records.append(first)
    records.append_other(part)
    end()
    end()
    records.append(attempt(of))
    assert heard == [first, part]


def test_there_is_room_until_the_low_water_mark(records: Records) -> None:
    assert records.has_room(1)
