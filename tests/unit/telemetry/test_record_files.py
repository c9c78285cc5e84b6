"""Records in files: what survives a kill, a torn write, a full disk, a lost index."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sqlite3
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lambent.domain.errors import DiskFull, ServiceFault
from lambent.telemetry.attempt import Attempt, AttemptPart, InitRecord, Origin, UserEvents
from lambent.telemetry.catalog import SqliteCatalog
from lambent.telemetry.index import Usage
from lambent.telemetry.platform_lines import render
from lambent.telemetry.records import Retention
from lambent.telemetry.segment_file import scan
from lambent.telemetry.segments import FileRecords

T0 = 1_764_100_000_000


def origin(environment: str = "0a") -> Origin:
    return Origin("123456789012", "us-east-1", "f", "1", environment, "/aws/lambda/f", f"s[1]{environment}", 128)


def attempt(of: Origin, number: int, line: bytes = b"hello\n") -> Attempt:
    return Attempt(of, f"r{number}", T0 + number, 1_000, lines=[(T0 + number, line)])


def fresh(directory: Path, **settings: int) -> FileRecords:
    return FileRecords(directory, **({"fsync_ms": 0, "segment_bytes_max": 4_096} | settings))


def copy_of(directory: Path, target: Path) -> Path:
    """The directory as SIGKILL leaves it: what was written is there, what was in memory is not."""
    target.mkdir()
    for path in directory.iterdir():
        (target / path.name).write_bytes(path.read_bytes())
    return target


def ids(records: FileRecords) -> list[str]:
    found = []
    for segment in records.segments():
        places = sorted(offset for key in segment.index().streams for offset in segment.tables(key).offsets)
        found += [record.request_id for record in map(segment.load, places) if isinstance(record, Attempt)]
    return found


def test_a_kill_loses_nothing(tmp_path: Path) -> None:
    records = fresh(tmp_path / "a", fsync_ms=60_000)
    of = origin()
    for number in range(100):
        records.append(attempt(of, number))
    killed = copy_of(tmp_path / "a", tmp_path / "b")
    usage = records.usage()
    records.close()
    again = fresh(killed)
    assert ids(again) == [f"r{number}" for number in range(100)]
    assert again.usage() == usage
    again.append(attempt(origin(), 100))
    assert ids(again)[-1] == "r100"
    again.close()


def test_a_clean_close_is_taken_up_from_the_index_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = fresh(tmp_path)
    for number in range(50):
        records.append(attempt(origin(), number))
    usage = records.usage()
    records.close()
    records.close()

    def refuse(data: bytes) -> None:
        raise AssertionError("a segment was scanned")

    monkeypatch.setattr("lambent.telemetry.segments.scan", refuse)
    again = fresh(tmp_path)
    assert again.usage() == usage
    assert len(ids(again)) == 50
    again.append(attempt(origin(), 50))
    assert ids(again)[-1] == "r50"
    again.close()


@pytest.mark.parametrize("lost", [1, 4, 20, 60])
def test_a_torn_record_is_cut_off_and_writing_goes_on(tmp_path: Path, lost: int) -> None:
    records = fresh(tmp_path / "a", segment_bytes_max=1_048_576)
    of = origin()
    for number in range(3):
        records.append(attempt(of, number))
    torn = copy_of(tmp_path / "a", tmp_path / "b")
    records.close()
    (file,) = torn.glob("*.log")
    os.truncate(file, file.stat().st_size - lost)
    again = fresh(torn, segment_bytes_max=1_048_576)
    assert ids(again) == ["r0", "r1"]
    again.append(attempt(origin(), 9))
    assert ids(again) == ["r0", "r1", "r9"]
    again.close()


def test_a_flipped_bit_ends_the_segment_there(tmp_path: Path) -> None:
    records = fresh(tmp_path / "a", segment_bytes_max=1_048_576)
    of = origin()
    for number in range(3):
        records.append(attempt(of, number))
    damaged = copy_of(tmp_path / "a", tmp_path / "b")
    records.close()
    (file,) = damaged.glob("*.log")
    data = bytearray(file.read_bytes())
    data[-3] ^= 1
    file.write_bytes(data)
    again = fresh(damaged, segment_bytes_max=1_048_576)
    assert ids(again) == ["r0", "r1"]
    again.close()


def test_an_empty_file_and_a_torn_magic_are_begun_anew(tmp_path: Path) -> None:
    for content in (b"", b"LAM"):
        (tmp_path / "00000000.log").write_bytes(content)
        records = fresh(tmp_path)
        records.append(attempt(origin(), 1))
        assert ids(records)[-1] == "r1"
        records.close()
        (tmp_path / "00000000.idx").unlink()


def test_a_lost_index_is_built_again(tmp_path: Path) -> None:
    records = fresh(tmp_path)
    of = origin()
    for number in range(100):
        records.append(attempt(of, number))
    usage = records.usage()
    records.close()
    for sidecar in tmp_path.glob("*.idx"):
        sidecar.unlink()
    again = fresh(tmp_path)
    assert again.usage() == usage
    assert len(ids(again)) == 100
    again.drain()
    again.close()


def test_a_full_disk_writes_and_counts_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = fresh(tmp_path, segment_bytes_max=1_048_576)
    of = origin()
    records.append(attempt(of, 0))
    usage, write = records.usage(), os.write
    calls = 0

    def nearly_full(fd: int, data: bytes) -> int:
        nonlocal calls
        calls += 1
        if calls > 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(fd, data[:10])

    monkeypatch.setattr(os, "write", nearly_full)
    with pytest.raises(DiskFull):
        records.append(attempt(of, 1))
    monkeypatch.setattr(os, "write", write)
    assert records.usage() == usage
    records.append(attempt(of, 2))
    assert ids(records) == ["r0", "r2"]
    records.close()
    again = fresh(tmp_path, segment_bytes_max=1_048_576)
    assert ids(again) == ["r0", "r2"]
    again.close()


def test_a_failing_disk_is_a_service_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = fresh(tmp_path)
    write = os.write

    def broken(fd: int, data: bytes) -> int:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "write", broken)
    with pytest.raises(ServiceFault, match="Input/output error") as caught:
        records.append(attempt(origin(), 1))
    assert not isinstance(caught.value, DiskFull)
    monkeypatch.setattr(os, "write", write)
    records.close()


def test_dying_between_roll_up_and_removal_counts_once(tmp_path: Path) -> None:
    records = fresh(tmp_path)
    of = origin()
    for number in range(200):
        records.append(attempt(of, number))
    usage = records.usage()
    oldest = records.segments()[0]
    records.catalog.roll_up(oldest.number, oldest.index().usage)
    assert records.usage() == usage
    records.close()
    again = fresh(tmp_path)
    assert again.usage() == usage
    assert again.segments()[0].number == oldest.number + 1
    assert not again.catalog.rolled_segments
    again.close()


def test_the_bill_outlives_retention_and_restarts(tmp_path: Path) -> None:
    records = fresh(tmp_path)
    of = origin()
    for number in range(300):
        records.append(attempt(of, number))
    usage = records.usage()
    records.retain(Retention(total_bytes_max=5_000), T0 + 300)
    assert records.usage() == usage
    records.close()
    again = fresh(tmp_path)
    assert again.usage() == usage
    again.close()


def test_a_catalog_from_before_streams_is_taken_over(tmp_path: Path) -> None:
    """Its totals stay, and what it did not know is added to them from now on."""
    path = tmp_path / "catalog.db"
    with contextlib.closing(sqlite3.connect(path)) as old:
        old.execute(
            "create table usage (account text, region text, function text, version text, architecture text, day integer,"
            " attempts integer not null, requests integer not null, billed_ms integer not null, mb_ms text not null,"
            " init_mb_ms text not null, ephemeral_mb_ms text not null, errors integer not null, timeouts integer not null,"
            " primary key (account, region, function, version, architecture, day)) without rowid"
        )
        old.execute("insert into usage values ('1', 'r', 'f', '$LATEST', 'arm64', 5, 1, 2, 3, '4', '5', '6', 7, 8)")
        old.commit()
    key = ("1", "r", "f", "$LATEST", "arm64", 5)
    for rounds in range(2):
        with contextlib.closing(SqliteCatalog(path)) as catalog:
            assert catalog.rolled[key] == Usage(1, 2, 3, 4, 5, 6, 7, 8, 9 * rounds, 128 * rounds)
            catalog.roll_up(rounds, {key: Usage(streamed_bytes=9, restored_mb=128)})


def test_origins_and_frames_larger_than_a_block_are_read_whole(tmp_path: Path) -> None:
    records = fresh(tmp_path, segment_bytes_max=4 * 1_048_576)
    of = origin()
    records.append(attempt(of, 0, b"y" * 1_000_000))
    records.append(attempt(of, 1, b"z\n"))
    (segment,) = records.segments()
    first, second = (
        segment.load(offset)
        for offset in segment.tables(("123456789012", "us-east-1", "/aws/lambda/f", "s[1]0a")).offsets
    )
    assert first.lines == [(T0, b"y" * 1_000_000)]
    assert second.lines == [(T0 + 1, b"z\n")]
    records.close()


def test_no_descriptor_stays_open(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    records = fresh(tmp_path)
    of = origin()
    for number in range(300):
        records.append(attempt(of, number))
    ids(records)
    records.drain()
    assert len(os.listdir("/proc/self/fd")) <= before + 5  # the growing segment, the catalog and its log
    records.close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_records_are_synced_in_batches_behind_the_writer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = fresh(tmp_path, segment_bytes_max=1_048_576)
    records.drain()
    synced: list[int] = []
    sync = os.fsync

    def counting(fd: int) -> None:
        synced.append(os.fstat(fd).st_size)
        sync(fd)

    monkeypatch.setattr(os, "fsync", counting)
    of = origin()
    for number in range(500):
        records.append(attempt(of, number))
    records.drain()
    size = records.segments()[0].size
    assert synced[-1] == size
    assert len(synced) < 500
    records.sync()
    assert synced[-1] == size
    records.close()


def test_nothing_is_taken_while_syncing_fails_and_everything_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lambent.telemetry.segments.RETRY_S", 0.0)
    records = fresh(tmp_path, segment_bytes_max=1_048_576)
    records.drain()
    failures = 0
    seen_twice, is_failing = threading.Event(), True
    sync = os.fsync

    def failing(fd: int) -> None:
        nonlocal failures
        if is_failing:
            failures += 1
            if failures >= 2:
                seen_twice.set()
            raise OSError(errno.EIO, "Input/output error")
        sync(fd)

    monkeypatch.setattr(os, "fsync", failing)
    records.append(attempt(origin(), 0))
    assert seen_twice.wait(10)
    with pytest.raises(ServiceFault, match="Input/output error"):
        records.append(attempt(origin(), 1))
    is_failing = False
    records.drain()
    records.append(attempt(origin(), 2))
    assert ids(records) == ["r0", "r2"]
    records.close()


WRITER = """
import sys
from pathlib import Path
from lambent.telemetry.attempt import Attempt, AttemptPart, InitRecord, Origin, UserEvents
from lambent.telemetry.platform_lines import render
from lambent.telemetry.segments import FileRecords
records = FileRecords(Path(sys.argv[1]), fsync_ms=60_000, segment_bytes_max=16_384)
of = Origin("123456789012", "us-east-1", "f", "1", "0a", "/aws/lambda/f", "s[1]0a", 128)
number = 0
while True:
    records.append(Attempt(of, f"r{number}", 1_764_100_000_000 + number, 1_000, lines=[(1_764_100_000_000, b"x" * 99)]))
    print(number, flush=True)
    number += 1
"""


def test_a_killed_process_had_written_what_it_said(tmp_path: Path) -> None:
    """A real SIGKILL in the middle of appending and closing segments: every attempt that was answered is there."""
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path)],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    ) as process:
        assert process.stdout is not None
        for _ in range(700):
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        said = 700 + len(process.stdout.readlines())
    records = fresh(tmp_path, segment_bytes_max=16_384)
    found = ids(records)
    assert found == [f"r{number}" for number in range(len(found))]
    assert said <= len(found) <= said + 1
    assert sum(usage.billed_ms for usage in records.usage().values()) == len(found)
    records.close()


@pytest.mark.parametrize("changes", [{"duration_us": -1}, {"init_us": -5}, {"peak_mb": -1}])
def test_what_cannot_be_billed_is_not_written(tmp_path: Path, changes: dict[str, int]) -> None:
    records = fresh(tmp_path)
    of = origin()
    fields: dict[str, int] = {"duration_us": 1}
    with pytest.raises((ValueError, struct.error)):
        records.append(Attempt(of, "r", T0, **(fields | changes)))
    records.append(attempt(of, 1))
    assert ids(records) == ["r1"]
    records.close()


RECORDS = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.integers(-5, 200_000_000),
        st.integers(0, 10_000_000),
        st.none() | st.integers(0, 5_000_000),
        st.sampled_from(["success", "error", "timeout", "failure"]),
        st.booleans(),
        st.lists(st.integers(-3, 30), max_size=3).map(sorted),
        st.sampled_from(["attempt", "attempt", "part", "init", "user"]),
    ),
    max_size=20,
)


@settings(max_examples=60, deadline=None)
@given(RECORDS)
def test_an_index_built_from_the_file_is_the_one_that_grew(rows: list[Any]) -> None:
    """Scanning after a kill, and rendering, see the same times, sizes and sums as appending did."""
    with tempfile.TemporaryDirectory() as name:
        records = fresh(Path(name), segment_bytes_max=1_048_576)
        origins = [origin(str(number)) for number in range(3)]
        for which, at, duration_us, init_us, status, is_begun, offsets, kind in rows:
            of, at_ms = origins[which], T0 + at
            lines = [(at_ms + offset, b"x\n") for offset in offsets]
            if kind == "attempt":
                records.append(
                    Attempt(
                        of, "r", at_ms, duration_us, init_us, status=status, is_begun=is_begun, lines=lines,
                        function_error=status != "success", produced_bytes=2 * duration_us, is_streamed=not is_begun,
                        restore_us=None if init_us is not None or is_begun else duration_us,
                        restore_billed_ms=duration_us // 1_000,
                    )
                )  # fmt: skip
            elif kind == "part":
                records.append_other(AttemptPart(of, "r", at_ms, lines, not is_begun))
            elif kind == "init":
                records.append_other(InitRecord(of, at_ms, duration_us, lines=lines))
            elif lines:
                records.append_other(UserEvents(of.account, of.region, of.log_group, of.log_stream, lines, at_ms))
        (segment,) = records.segments()
        grown = segment.index()
        built, end = scan((Path(name) / "00000000.log").read_bytes())
        assert end == segment.size
        assert built.usage == grown.usage
        assert built.streams == grown.streams
        assert (built.first_ms, built.last_ms) == (grown.first_ms, grown.last_ms)
        for key, part in grown.streams.items():
            for offset, first_ms, span_ms in zip(part.offsets, part.firsts, part.spans, strict=True):
                record = segment.load(offset)
                rendered = [at_ms for at_ms, _ in render(record)]
                assert [first_ms, *rendered, first_ms + span_ms] == sorted([first_ms, *rendered, first_ms + span_ms])
                if isinstance(record, Attempt) and not record.is_begun:
                    assert (rendered[0], rendered[-1]) == (first_ms, first_ms + span_ms)
            assert segment.tables(key) is part
        records.close()


def test_the_maintenance_thread_is_woken_when_its_time_has_come_and_not_by_the_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    due: list[tuple[float, Callable[..., object], tuple[Any, ...]]] = []
    records = FileRecords(tmp_path, fsync_ms=20, later=lambda s, call, *given: due.append((s, call, given)))
    synced: list[int] = []
    sync = os.fsync

    def counting(fd: int) -> None:
        synced.append(fd)
        sync(fd)

    monkeypatch.setattr(os, "fsync", counting)
    for number in range(3):
        records.append(attempt(origin(), number))
    records.drain()
    assert not synced
    assert [delay_s for delay_s, _, _ in due] == [0.02, 0.02]  # the group, and all that was written
    for _, call, arguments in due:
        call(*arguments)
    records.drain()
    assert len(synced) == 1
    records.append(attempt(origin(), 3))
    assert len(due) == 3
    monkeypatch.undo()
    records.close()


def test_a_group_is_written_down_at_the_end_if_it_was_not_before(tmp_path: Path) -> None:
    records = FileRecords(tmp_path, later=lambda *_: None)
    records.append(attempt(origin(), 0))
    records.close()
    catalog = SqliteCatalog(tmp_path / "catalog.db")
    assert ("123456789012", "us-east-1", "/aws/lambda/f") in catalog.groups
    catalog.close()


def test_a_group_that_the_disk_refused_is_written_down_when_it_is_well_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lambent.telemetry.segments.RETRY_S", 0.01)
    records = fresh(tmp_path)
    records.drain()
    persist, refusals = records._catalog.persist_group, [OSError(errno.EIO, "no")]

    def failing(group: Any) -> None:
        if refusals:
            raise refusals.pop()
        persist(group)

    monkeypatch.setattr(records._catalog, "persist_group", failing)
    records.append(attempt(origin(), 0))
    records.drain()
    assert not refusals
    assert not records._unpersisted
    catalog = SqliteCatalog(tmp_path / "catalog.db")
    assert ("123456789012", "us-east-1", "/aws/lambda/f") in catalog.groups
    catalog.close()
    records.close()
