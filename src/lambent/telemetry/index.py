"""What is known about a segment without reading its records: its streams' frames, times and sizes, and its usage.

An index lives in memory while its segment grows and lies beside it (`.idx`) once the segment is closed. The file's
summary is read on the first question about the segment; the frame tables only of streams somebody asks for.
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Callable
from dataclasses import astuple, dataclass, field
from typing import Any
from zlib import crc32

import orjson

from .attempt import Attempt, AttemptPart, Origin, Record, UserEvents, billed_ms

StreamKey = tuple[str, str, str, str]
"""account, region, log group, log stream"""
UsageKey = tuple[str, str, str, str, str, int]
"""account, region, function, version, architecture, UTC day (days since the epoch) in which the attempt started"""

DAY_MS = 86_400_000
EPHEMERAL_FREE_MB = 512
SIDECAR_MAGIC = b"LAMBIDX\x01"
_HEAD = struct.Struct("<8sIIQ")
_SPAN_MS_MAX = 2**32 - 1


@dataclass(slots=True)
class Usage:
    """Exact sums over attempts; integers, so that they never drift."""

    attempts: int = 0
    requests: int = 0
    """Billed requests: an asynchronous event over 256 KB counts more than one."""
    billed_ms: int = 0
    mb_ms: int = 0
    """Memory times billed duration, in MB-milliseconds; 1,024,000 of them make one GB-second."""
    init_mb_ms: int = 0
    """The part of `mb_ms` that billing the init phase, or the restoration, added."""
    ephemeral_mb_ms: int = 0
    """(EphemeralStorage - 512 MB) times billed duration."""
    errors: int = 0
    """Attempts that did not succeed, time-outs among them."""
    timeouts: int = 0
    streamed_bytes: int = 0
    """Of streamed responses, what exceeds the first 6 MB of each."""
    restored_mb: int = 0
    """Memory of environments that were restored from a snapshot, once for each restoration."""

    def add(self, attempt: Attempt) -> None:
        is_timeout = attempt.status == "timeout"
        is_error = attempt.function_error or attempt.status != "success"
        self.count(attempt.origin, attempt.duration_us, attempt.prelude_us, attempt.request_units, is_error, is_timeout)
        self.streamed_bytes += attempt.streamed_bytes
        self.restored_mb += 0 if attempt.restore_us is None else attempt.origin.memory_mb

    def count(
        self,
        origin: Origin,
        duration_us: int,
        prelude_us: int | None,
        request_units: int,
        is_error: bool,
        is_timeout: bool,
    ) -> None:
        billed = billed_ms(duration_us, prelude_us)
        mb_ms = origin.memory_mb * billed
        self.attempts += 1
        self.requests += request_units
        self.billed_ms += billed
        self.mb_ms += mb_ms
        if prelude_us is not None:
            self.init_mb_ms += mb_ms - origin.memory_mb * -(-duration_us // 1_000)
        if origin.ephemeral_mb > EPHEMERAL_FREE_MB:
            self.ephemeral_mb_ms += (origin.ephemeral_mb - EPHEMERAL_FREE_MB) * billed
        if is_error:
            self.errors += 1
            self.timeouts += is_timeout

    def merge(self, other: Usage) -> None:
        self.attempts += other.attempts
        self.requests += other.requests
        self.billed_ms += other.billed_ms
        self.mb_ms += other.mb_ms
        self.init_mb_ms += other.init_mb_ms
        self.ephemeral_mb_ms += other.ephemeral_mb_ms
        self.errors += other.errors
        self.timeouts += other.timeouts
        self.streamed_bytes += other.streamed_bytes
        self.restored_mb += other.restored_mb


@dataclass(slots=True)
class Slice:
    """One stream's frames in one segment, in the order they were written.

    offsets: where each frame begins. firsts, spans: its first event's time (ms) and how far its last one lies behind.
    """

    first_ms: int
    last_ms: int
    ingested_ms: int
    count: int = 0
    size: int = 0
    offsets: array[int] = field(default_factory=lambda: array("I"))
    firsts: array[int] = field(default_factory=lambda: array("q"))
    spans: array[int] = field(default_factory=lambda: array("I"))

    def add(self, offset: int, size: int, first_ms: int, last_ms: int, ingested_ms: int) -> None:
        self.offsets.append(offset)
        self.firsts.append(first_ms)
        self.spans.append(min(last_ms - first_ms, _SPAN_MS_MAX))
        self.count += 1
        self.size += size
        if first_ms < self.first_ms:
            self.first_ms = first_ms
        if last_ms > self.last_ms:
            self.last_ms = last_ms
        if ingested_ms > self.ingested_ms:
            self.ingested_ms = ingested_ms


@dataclass(slots=True)
class Index:
    """Everything about one segment but its records."""

    origins: dict[int, Origin] = field(default_factory=dict)
    streams: dict[StreamKey, Slice] = field(default_factory=dict)
    usage: dict[UsageKey, Usage] = field(default_factory=dict)
    first_ms: int = 2**62
    last_ms: int = 0

    def add(self, record: Record, offset: int, size: int) -> tuple[Slice, Usage | None]:
        """Enter a record that lies at `offset`; answers the slice and usage row it went to."""
        first_ms, last_ms, ingested_ms = times(record)
        part = self.slice_of(stream_key(record), first_ms)
        part.add(offset, size, first_ms, last_ms, ingested_ms)
        self.stretch(first_ms, last_ms)
        if not isinstance(record, Attempt):
            return part, None
        usage = self.usage_of(record.origin, record.started_ms)
        usage.add(record)
        return part, usage

    def slice_of(self, key: StreamKey, at_ms: int) -> Slice:
        part = self.streams.get(key)
        if part is None:
            part = self.streams[key] = Slice(at_ms, at_ms, at_ms)
        return part

    def usage_of(self, origin: Origin, started_ms: int) -> Usage:
        key = usage_key_of(origin, started_ms // DAY_MS)
        usage = self.usage.get(key)
        if usage is None:
            usage = self.usage[key] = Usage()
        return usage

    def stretch(self, first_ms: int, last_ms: int) -> None:
        if first_ms < self.first_ms:
            self.first_ms = first_ms
        if last_ms > self.last_ms:
            self.last_ms = last_ms


def usage_key_of(origin: Origin, day: int) -> UsageKey:
    return (origin.account, origin.region, origin.function, origin.version, origin.architecture, day)


def stream_key(record: Record) -> StreamKey:
    if isinstance(record, UserEvents):
        return (record.account, record.region, record.log_group, record.log_stream)
    origin = record.origin
    return (origin.account, origin.region, origin.log_group, origin.log_stream)


def times(record: Record) -> tuple[int, int, int]:
    """First event's, last event's and ingestion time of a record, as rendering will show them."""
    lines = record.lines
    if isinstance(record, UserEvents):
        return lines[0][0], lines[-1][0], record.ingested_ms
    first_line_ms, last_line_ms = (lines[0][0], lines[-1][0]) if lines else (None, None)
    if isinstance(record, AttemptPart):
        duration_us, is_begun = 0, not record.is_first
    else:
        duration_us, is_begun = record.duration_us, isinstance(record, Attempt) and record.is_begun
    if isinstance(record, AttemptPart) and is_begun and lines:
        return lines[0][0], lines[-1][0], lines[-1][0]
    first_ms, last_ms = attempt_times(record.started_ms, duration_us, is_begun, first_line_ms, last_line_ms)
    return first_ms, last_ms, last_ms


def attempt_times(
    started_ms: int, duration_us: int, is_begun: bool, first_line_ms: int | None, last_line_ms: int | None
) -> tuple[int, int]:
    """First and last event's time of an attempt: START is never later, END never earlier than the lines between."""
    last_ms = started_ms + duration_us // 1_000
    first_ms = last_ms if is_begun else started_ms
    if first_line_ms is not None and last_line_ms is not None:
        if first_line_ms < first_ms:
            first_ms = first_line_ms
        if last_line_ms > last_ms:
            last_ms = last_line_ms
    return first_ms, last_ms


def encode_index(index: Index, covered: int) -> bytes:
    """The sidecar of a segment of `covered` bytes: head, JSON summary, then the frame tables."""
    tables = bytearray()
    streams: list[Any] = []
    for key, part in index.streams.items():
        streams.append([*key, part.first_ms, part.last_ms, part.ingested_ms, part.count, part.size, len(tables)])
        for table in (part.offsets, part.firsts, part.spans):
            tables += _little(table).tobytes()
    summary = {
        "first_ms": index.first_ms,
        "last_ms": index.last_ms,
        "origins": [[number, *astuple(origin)] for number, origin in index.origins.items()],
        "streams": streams,
        "usage": [[*key, *astuple(usage)] for key, usage in index.usage.items()],
    }
    text = orjson.dumps(summary)
    return _HEAD.pack(SIDECAR_MAGIC, len(text), crc32(text), covered) + text + tables


def decode_index(read: Callable[[int, int], bytes], covered: int) -> tuple[Index, dict[StreamKey, int]] | None:
    """The summary of a sidecar, and where in the file each stream's tables begin; None when it is not `covered`'s.

    read: (offset, size) -> bytes of the file.
    """
    head = read(0, _HEAD.size)
    if len(head) != _HEAD.size:
        return None
    magic, size, checksum, of_bytes = _HEAD.unpack(head)
    if magic != SIDECAR_MAGIC or of_bytes != covered:
        return None
    text = read(_HEAD.size, size)
    if len(text) != size or crc32(text) != checksum:
        return None
    summary = orjson.loads(text)
    index = Index(first_ms=summary["first_ms"], last_ms=summary["last_ms"])
    index.origins = {row[0]: Origin(*row[1:]) for row in summary["origins"]}
    index.usage = {(*row[:5], row[5]): Usage(*row[6:]) for row in summary["usage"]}
    tables: dict[StreamKey, int] = {}
    for account, region, group, stream, first_ms, last_ms, ingested_ms, count, stored, at in summary["streams"]:
        key = (account, region, group, stream)
        index.streams[key] = Slice(first_ms, last_ms, ingested_ms, count, stored)
        tables[key] = _HEAD.size + size + at
    return index, tables


def read_tables(part: Slice, read: Callable[[int, int], bytes], at: int) -> None:
    """Fill a slice's frame tables from its sidecar. Raises ValueError when the file is shorter than it says."""
    for name in ("offsets", "firsts", "spans"):
        table = array(getattr(part, name).typecode)
        data = read(at, part.count * table.itemsize)
        if len(data) != part.count * table.itemsize:
            raise ValueError("a segment's index is cut short")
        table.frombytes(data)
        setattr(part, name, _little(table))
        at += len(data)


def _little(table: array[int]) -> array[int]:
    if sys.byteorder == "big":
        table = table[:]
        table.byteswap()
    return table
