"""From bytes to events: splitting, bounds, rates, levels."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.telemetry.lines import LineSplitter, LogRate

T0 = 1_769_817_600_000
SECOND_NS = 1_000_000_000


def fed(splitter: LineSplitter, *chunks: bytes) -> list[bytes]:
    for number, chunk in enumerate(chunks):
        splitter.feed(chunk, T0 + number, number * 1_000_000)
    return [line for _, line in splitter.take()]


def test_one_newline_ends_one_event_and_carriage_returns_stay() -> None:
    assert fed(LineSplitter(), b"a\nb\rc\r\n\nd") == [b"a\n", b"b\rc\r\n", b"\n"]


def test_a_line_may_come_in_pieces_and_ends_with_the_attempt() -> None:
    splitter = LineSplitter()
    assert fed(splitter, b"he", b"l", b"lo\nwor") == [b"hello\n"]
    splitter.flush(T0 + 9)
    assert splitter.take() == [(T0 + 9, b"wor")]
    splitter.flush(T0 + 9)
    assert splitter.take() == []


@given(st.lists(st.binary(max_size=30)), st.integers(1, 7))
def test_nothing_is_lost_or_invented_however_it_is_cut(chunks: list[bytes], bound: int) -> None:
    splitter = LineSplitter(event_bytes_max=bound)
    lines = fed(splitter, *chunks)
    splitter.flush(T0 + len(chunks))
    lines += [line for _, line in splitter.take()]
    assert b"".join(lines) == b"".join(chunks)
    assert all(0 < len(line) <= bound for line in lines)
    assert all(b"\n" not in line[:-1] for line in lines)


def test_a_long_line_is_cut_at_the_bound_even_before_it_ends() -> None:
    splitter = LineSplitter(event_bytes_max=4)
    assert fed(splitter, b"abcdefghij") == [b"abcd", b"efgh"]
    assert fed(splitter, b"\n") == [b"ij\n"]


def test_times_never_go_back() -> None:
    splitter = LineSplitter()
    splitter.feed(b"a\n", T0, 0)
    splitter.feed(b"b\n", T0 - 500, 1)
    assert splitter.take() == [(T0, b"a\n"), (T0, b"b\n")]


def test_pending_bytes_tell_when_to_write_early() -> None:
    splitter = LineSplitter()
    splitter.feed(b"abc\nde", T0, 0)
    assert splitter.pending_bytes == 4
    splitter.take()
    assert splitter.pending_bytes == 0


def test_what_a_rate_drops_is_counted_and_told_by_one_line() -> None:
    splitter = LineSplitter(rate=LogRate(bytes_per_s=1_000, events_per_s=2, burst_s=1.0))
    splitter.feed(b"1\n2\n3\n4\n", T0, 0)
    assert [line for _, line in splitter.take()] == [b"1\n", b"2\n"]
    splitter.feed(b"5\n", T0 + 1_000, SECOND_NS)
    assert [line for _, line in splitter.take()] == [
        b"LOGS_DROPPED\tRecords: 2\tBytes: 4\tReason: more than 1000 bytes/s or 2 events/s in one environment\n",
        b"5\n",
    ]
    assert (splitter.dropped_records, splitter.dropped_bytes) == (2, 4)


def test_bytes_have_a_rate_too_and_the_attempts_end_tells() -> None:
    splitter = LineSplitter(rate=LogRate(bytes_per_s=10, events_per_s=1_000, burst_s=1.0))
    splitter.feed(b"123456789\nx\n", T0, 0)
    splitter.flush(T0)
    lines = [line for _, line in splitter.take()]
    assert lines[0] == b"123456789\n"
    assert lines[1].startswith(b"LOGS_DROPPED\tRecords: 1\tBytes: 2\t")
    assert len(lines) == 2


@pytest.mark.parametrize("rate", [{"bytes_per_s": 0}, {"events_per_s": 0}, {"burst_s": 0.0}])
def test_rates_are_positive(rate: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="positive"):
        LogRate(**rate)  # type: ignore[arg-type]


def test_events_have_a_size() -> None:
    with pytest.raises(ValueError, match="at least"):
        LineSplitter(event_bytes_max=0)


def json_fed(level: str, *documents: object) -> list[object]:
    splitter = LineSplitter(log_format="JSON", application_log_level=level)
    lines = fed(splitter, *(orjson.dumps(document) + b"\n" for document in documents))
    return [orjson.loads(line) for line in lines]


def test_objects_below_the_level_are_dropped() -> None:
    words = ["TRACE", "debug", "Info", "Information", "WARNING", "ERROR", "CRITICAL", "FATAL", "odd"]
    documents = [{"level": word} for word in words]
    kept = [document["level"] for document in json_fed("WARN", *documents)]  # type: ignore[call-overload, index]
    assert kept == ["WARNING", "ERROR", "CRITICAL", "FATAL"]


def test_a_missing_level_counts_as_info_and_text_is_never_filtered() -> None:
    assert json_fed("INFO", {"message": "x"}, {"log_level": "DEBUG"}) == [{"message": "x"}]
    splitter = LineSplitter(log_format="JSON", application_log_level="FATAL")
    assert fed(splitter, b"plain\n{broken}\n[1]\n") == [b"plain\n", b"{broken}\n", b"[1]\n"]
    text = LineSplitter(log_format="Text", application_log_level="FATAL")
    assert fed(text, b'{"level":"DEBUG"}\n') == [b'{"level":"DEBUG"}\n']


def test_an_rfc_3339_timestamp_is_the_events_time() -> None:
    splitter = LineSplitter(log_format="JSON")
    stamps = [
        "2026-01-30T23:59:59.500Z",
        "2026-01-31T00:00:00Z",
        "yesterday",
        "2026-01-31 00:00:00Z",
        "2999-01-01T00:00:00Z",
    ]
    for stamp in stamps:
        splitter.feed(orjson.dumps({"timestamp": stamp}) + b"\n", T0 + 9, 0)
    assert [at_ms for at_ms, _ in splitter.take()] == [T0 - 500, T0, T0 + 9, T0 + 9, T0 + 9]
