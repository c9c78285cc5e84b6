"""Bounds of the logs at their own size. Source of the published ones: CloudWatch Logs quotas and API reference."""

from __future__ import annotations

import asyncio
import time

import pytest
from tests.unit.telemetry.test_logs import GROUP, SCOPE, STREAM, T0, attempt, origin

from lambent.domain.clock import ManualClock
from lambent.domain.errors import ServiceFault
from lambent.domain.limits import TAGS_PER_RESOURCE_MAX, TAIL_BYTES_MAX
from lambent.telemetry import segments
from lambent.telemetry.attempt import Attempt
from lambent.telemetry.codec import FRAME_BYTES_MAX
from lambent.telemetry.errors import LogsInvalidParameter
from lambent.telemetry.follow import FOLLOWED_EVENTS_MAX
from lambent.telemetry.lines import EVENT_BYTES_MAX, LineSplitter
from lambent.telemetry.logs import (
    EVENT_OVERHEAD_BYTES,
    PAGE_BYTES_MAX,
    PAGE_EVENTS_MAX,
    PAGE_ROWS_MAX,
    PUT_BYTES_MAX,
    PUT_EVENTS_MAX,
    PUT_SPAN_MS_MAX,
    TOO_NEW_MS,
    TOO_OLD_MS,
    Logs,
)
from lambent.telemetry.patterns import _NESTED_MAX, compile_pattern
from lambent.telemetry.platform_lines import tail
from lambent.telemetry.query import NAP_FRAMES, NAP_S
from lambent.telemetry.records import MemoryRecords
from lambent.telemetry.segments import FileRecords


@pytest.fixture
def logs() -> Logs:
    """With a group and a stream of a user's own."""
    made = Logs(MemoryRecords(), ManualClock(T0))
    made.create_group(SCOPE, "own")
    made.create_stream(SCOPE, "own", "mine")
    return made


def put(logs: Logs, *events: tuple[int, bytes]) -> object:
    return logs.put_events(SCOPE, "own", "mine", list(events))


def test_a_page_of_groups_or_streams_has_fifty_rows(logs: Logs) -> None:
    for number in range(PAGE_ROWS_MAX):
        logs.create_group(SCOPE, f"g{number:02}")
        logs.create_stream(SCOPE, "own", f"s{number:02}")
    groups, token = logs.describe_groups(SCOPE, prefix=None, pattern=None, limit=None, token=None)
    assert (len(groups), token is None) == (PAGE_ROWS_MAX, False)
    options = {"prefix": None, "order_by": "LogStreamName", "descending": False}
    streams, token = logs.describe_streams(SCOPE, "own", limit=None, token=None, **options)  # type: ignore[arg-type]
    assert (len(streams), token is None) == (PAGE_ROWS_MAX, False)
    with pytest.raises(LogsInvalidParameter, match="less than or equal to 50"):
        logs.describe_groups(SCOPE, prefix=None, pattern=None, limit=PAGE_ROWS_MAX + 1, token=None)


def test_a_page_has_ten_thousand_events_and_so_has_a_batch(logs: Logs) -> None:
    put(logs, *[(T0, b"x")] * PUT_EVENTS_MAX)
    put(logs, (T0, b"y"))
    with pytest.raises(LogsInvalidParameter, match="between 1 and 10000"):
        put(logs, *[(T0, b"x")] * (PUT_EVENTS_MAX + 1))
    page = logs.get_events(SCOPE, "own", "mine", from_head=True)
    assert len(page.events) == PAGE_EVENTS_MAX
    assert [e.message for e in logs.get_events(SCOPE, "own", "mine", token=page.forward).events] == [b"y"]


def test_a_page_and_a_batch_have_a_megabyte_with_26_bytes_for_each_event(logs: Logs) -> None:
    half = PUT_BYTES_MAX // 2 - EVENT_OVERHEAD_BYTES
    put(logs, (T0, b"a" * half), (T0, b"b" * half))
    with pytest.raises(LogsInvalidParameter, match="Upload too large: 1048577 bytes exceeds limit of 1048576"):
        put(logs, (T0, b"a" * half), (T0, b"b" * (half + 1)))
    assert PAGE_BYTES_MAX == PUT_BYTES_MAX
    assert len(logs.get_events(SCOPE, "own", "mine", from_head=True).events) == 2
    put(logs, (T0, b"c"))
    assert len(logs.get_events(SCOPE, "own", "mine", from_head=True).events) == 2


def test_a_batch_spans_a_day_and_strays_are_told(logs: Logs) -> None:
    put(logs, (T0 - PUT_SPAN_MS_MAX, b"a"), (T0, b"b"))
    with pytest.raises(LogsInvalidParameter, match="24 hours"):
        put(logs, (T0 - PUT_SPAN_MS_MAX - 1, b"a"), (T0, b"b"))
    for at_ms, is_taken in [
        (T0 + TOO_NEW_MS, True),
        (T0 + TOO_NEW_MS + 1, False),
        (T0 - TOO_OLD_MS, True),
        (T0 - TOO_OLD_MS - 1, False),
    ]:
        told = logs.put_events(SCOPE, "own", "mine", [(at_ms, b"c")])
        assert (told.too_new_start is None and told.too_old_end is None) is is_taken


def test_a_group_has_fifty_tags(logs: Logs) -> None:
    tags = {str(number): "" for number in range(TAGS_PER_RESOURCE_MAX)}
    logs.create_group(SCOPE, "tagged", tags)
    with pytest.raises(LogsInvalidParameter, match="at most 50 tags"):
        logs.create_group(SCOPE, "more", tags | {"one": ""})


def test_a_follower_holds_ten_thousand_events() -> None:
    async def main() -> None:
        records = MemoryRecords()
        async with Logs(records, ManualClock(T0)).follow(SCOPE, GROUP) as follower:
            lines = [b"x\n"] * FOLLOWED_EVENTS_MAX
            records.append(attempt(origin(), 0, *lines))  # START, END and REPORT come on top
            assert follower.dropped == 3
            assert len(follower._events) == FOLLOWED_EVENTS_MAX

    asyncio.run(main())


def test_one_log_event_has_a_megabyte() -> None:
    splitter = LineSplitter()
    splitter.feed(b"x" * (EVENT_BYTES_MAX + 10), T0, 1)
    splitter.flush(T0)
    assert [len(line) for _, line in splitter.take()] == [EVENT_BYTES_MAX, 10]


def test_the_tail_has_four_kilobytes() -> None:
    import base64

    long = Attempt(origin(), "r", T0, 2_000, lines=[(T0, b"x" * 1_000 + b"\n")] * 20)
    assert len(base64.b64decode(tail(long))) == TAIL_BYTES_MAX == 4_096


def test_a_pattern_is_nested_so_deep_and_no_deeper() -> None:
    term = "$.a = 1"
    deepest = "{ " + "(" * _NESTED_MAX + term + ")" * _NESTED_MAX + " }"
    assert compile_pattern(deepest) is not None
    with pytest.raises(LogsInvalidParameter, match="nested too deeply"):
        compile_pattern("{ (" + deepest[2:-2] + ") }")


def test_a_record_beyond_the_bound_of_a_frame_is_not_written(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    from pathlib import Path

    assert FRAME_BYTES_MAX == 256 * 1_048_576
    monkeypatch.setattr(segments, "FRAME_BYTES_MAX", 1_000)
    records = FileRecords(Path(str(tmp_path)) / "records", fsync_ms=0)
    records.append(attempt(origin(), 0, b"x\n"))
    with pytest.raises(ServiceFault, match="is over 1000"):
        records.append(attempt(origin(), 1, b"x" * 1_000 + b"\n"))
    logs = Logs(records, ManualClock(T0))
    assert {e.message for e in logs.get_events(SCOPE, GROUP, STREAM).events if b"r0001" in e.message} == set()
    records.close()


def test_a_reader_lets_others_have_their_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    naps: list[float] = []
    monkeypatch.setattr(time, "sleep", naps.append)
    records = MemoryRecords()
    of = origin()
    for number in range(10 * NAP_FRAMES):
        records.append(attempt(of, number))
    Logs(records, ManualClock(T0)).get_events(SCOPE, GROUP, STREAM, from_head=True)
    assert naps == [NAP_S] * 10
