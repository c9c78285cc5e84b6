"""The records: everything that was run and printed, in order, by one append per attempt.

The port, the part both implementations share, and the memory implementation; files are in `segments.py`. Records lie
in numbered segments; the last one grows. `append` is synchronous and cheap (a few microseconds) because it stands
between the function's answer and the caller. Appends and admissions happen on one thread (the event loop's); reading
may happen on others: segments are append-only and what a reader has seen of one never changes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from .attempt import Attempt, AttemptPart, InitRecord, Origin, Record, UserEvents
from .catalog import NOWHERE, Catalog, GroupKey, GroupRow, MemoryCatalog, Position, StreamRow
from .index import DAY_MS, Index, Slice, StreamKey, Usage, UsageKey, stream_key

Listener = Callable[[Record], None]


@dataclass(frozen=True, slots=True)
class Retention:
    """How much is kept. Whole segments go, the oldest first; their usage stays in the ledger for good."""

    total_bytes_max: int = 10 * 1024**3
    group_bytes_max: int = 2 * 1024**3
    """Per log group; over it, a group's records in the oldest segments are hidden, and go with their segment."""
    days_max: int | None = None
    """For groups without a policy of their own; None keeps until bytes decide."""

    def __post_init__(self) -> None:
        if self.total_bytes_max < 1 or self.group_bytes_max < 1 or (self.days_max is not None and self.days_max < 1):
            raise ValueError(f"retention bounds are positive: {self}")


class Segment(Protocol):
    number: int
    size: int

    def index(self) -> Index:
        """Known at once for the growing segment; a closed one's is read on the first question."""

    def tables(self, key: StreamKey) -> Slice:
        """The stream's slice with its frame tables. Raises KeyError for a stream that is not in this segment."""

    def load(self, offset: int) -> Record:
        """The record that lies there."""


class Records(Protocol):
    """Append-only store of attempts, their lines, init output and users' log events."""

    catalog: Catalog

    def append(self, attempt: Attempt) -> None:
        """Write one finished attempt with all its lines; once this returns, SIGKILL loses nothing of it.

        Raises DiskFull when there is no room (nothing is then written, nothing counted: the caller decides what
        becomes of the answer), ServiceFault when the disk fails otherwise.
        """

    def append_other(self, record: AttemptPart | InitRecord | UserEvents) -> None:
        """Write early lines, init output or a user's events. Raises as `append` does."""

    def segments(self) -> list[Segment]:
        """All segments, oldest first; a snapshot."""

    def position(self) -> Position:
        """The place of the newest record."""

    def hide(self, group: GroupKey, stream: str | None, now_ms: int) -> None:
        """Delete a group's or one stream's records for every reader; usage stays."""

    def usage(self) -> dict[UsageKey, Usage]:
        """The whole ledger, exact: rolled-up totals plus what the segments say. A fresh dict of fresh values."""

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` with every record appended from now on; answers what ends it."""

    def retain(self, retention: Retention, now_ms: int) -> int:
        """Drop what is over the bounds; answers the bytes freed. Takes milliseconds: for a maintenance thread."""

    def has_room(self, low_water_bytes: int) -> bool:
        """Whether the disk has more than this left; below it nothing more should be accepted."""

    def close(self) -> None: ...


class Admitted:
    """What the growing segment knows of an origin: its number, its slice, and the ledger row of one day."""

    __slots__ = ("day", "key", "number", "part", "usage")

    def __init__(self, number: int, origin: Origin) -> None:
        self.number = number
        self.key = (origin.account, origin.region, origin.log_group, origin.log_stream)
        self.part: Slice | None = None
        self.usage: Usage | None = None
        self.day = -1


class BaseRecords:
    """Numbering, indexing, hiding and retaining, whatever the segments are made of."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self._segments: dict[int, Segment] = {}
        self._admitted: dict[Origin, Admitted] = {}
        self._ledger_lock = threading.Lock()
        """A segment is either counted or rolled up, for whoever asks in that moment."""
        self._listeners: list[Listener] = []
        self._last: Position = NOWHERE
        self._number = 0
        self._index = Index()

    def segments(self) -> list[Segment]:
        return [segment for _, segment in sorted(self._segments.items())]

    def position(self) -> Position:
        return self._last

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        self._listeners.append(listener)

        def end() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)

        return end

    def hide(self, group: GroupKey, stream: str | None, now_ms: int) -> None:
        if stream is None:
            self.catalog.put_group(group, GroupRow(now_ms, floor=self._last, is_deleted=True))
            self.catalog.forget_streams([key for key in self.catalog.streams if key[:3] == group])
        else:
            self.catalog.put_stream((*group, stream), StreamRow(now_ms, floor=self._last, is_deleted=True))
        # The next record of the group must admit its origin anew, which brings the group back as the service does.
        for origin, admitted in list(self._admitted.items()):
            if admitted.key[:3] == group:
                del self._admitted[origin]

    def usage(self) -> dict[UsageKey, Usage]:
        total: dict[UsageKey, Usage] = {}
        with self._ledger_lock:
            sources = [self.catalog.rolled]
            rolled = self.catalog.rolled_segments
            sources += [segment.index().usage for segment in self.segments() if segment.number not in rolled]
            for source in sources:
                for key, sums in list(source.items()):
                    total.setdefault(key, Usage()).merge(sums)
        return total

    def retain(self, retention: Retention, now_ms: int) -> int:
        """Hide by group, then drop segments that nobody may read any more, then the oldest over the total."""
        closed = [segment for segment in self.segments() if segment.number != self._number]
        self._hide_over_bytes(closed, retention)
        freed = 0
        total = sum(segment.size for segment in self.segments())
        is_expired = True
        for segment in closed:
            is_expired = is_expired and self._is_invisible(segment, retention, now_ms)
            if not is_expired and total - freed <= retention.total_bytes_max:
                break
            usage = segment.index().usage
            with self._ledger_lock:
                self.catalog.roll_up(segment.number, usage)
                self._segments.pop(segment.number, None)
            self._drop(segment)
            self.catalog.forget_rolled(segment.number)
            freed += segment.size
        oldest = min(self._segments, default=self._number)
        gone = [
            key for key, stream in list(self.catalog.streams.items()) if stream.is_deleted and stream.floor[0] < oldest
        ]
        if gone:
            self.catalog.forget_streams(gone)
        for group, row in list(self.catalog.groups.items()):
            if row.is_deleted and row.floor[0] < oldest:
                self.catalog.forget_group(group)
        return freed

    def _hide_over_bytes(self, closed: list[Segment], retention: Retention) -> None:
        sizes: dict[GroupKey, int] = {}
        for segment in reversed(closed):
            in_segment: dict[GroupKey, int] = {}
            for key, part in segment.index().streams.items():
                in_segment[key[:3]] = in_segment.get(key[:3], 0) + part.size
            for group, size in in_segment.items():
                before = sizes.get(group, 0)
                sizes[group] = before + size
                row = self.catalog.groups.get(group)
                end: Position = (segment.number, 2**62)
                if before <= retention.group_bytes_max < before + size and row is not None and row.floor < end:
                    self.catalog.put_group(group, replace(row, floor=end))

    def _is_invisible(self, segment: Segment, retention: Retention, now_ms: int) -> bool:
        """Whether no reader may see anything of it: deleted, over its group's bytes, or too old."""
        for key, part in segment.index().streams.items():
            group, stream = self.catalog.groups.get(key[:3]), self.catalog.streams.get(key)
            floor = max(group.floor if group else NOWHERE, stream.floor if stream else NOWHERE)
            last = segment.tables(key).offsets[-1] if floor[0] == segment.number else 0
            days = (group.retention_days if group else None) or retention.days_max
            is_too_old = days is not None and part.last_ms < now_ms - days * DAY_MS
            if floor < (segment.number, last) and not is_too_old:
                return False
        return True

    def _drop(self, segment: Segment) -> None:
        """Remove what a segment occupies; it is rolled up and nobody's any more."""

    def _note_group(self, group: GroupKey, created_ms: int) -> None:
        """A group that logs exists. A deleted one comes back; what was deleted stays behind its floor."""
        row = self.catalog.groups.get(group)
        if row is None:
            self._put_group_soon(group, GroupRow(created_ms))
        elif row.is_deleted:
            self._put_group_soon(group, GroupRow(created_ms, floor=row.floor))

    def _put_group_soon(self, group: GroupKey, row: GroupRow) -> None:
        self.catalog.put_group(group, row)

    def _note_attempt(self, admitted: Admitted, attempt: Attempt, offset: int, size: int) -> None:
        """Enter an attempt in the growing segment's index: `Index.add`, with its look-ups kept per origin."""
        started_ms, lines = attempt.started_ms, attempt.lines
        part, usage = admitted.part, admitted.usage
        if part is None or usage is None or admitted.day != started_ms // DAY_MS:
            admitted.part, admitted.usage = self._index.add(attempt, offset, size)
            admitted.day = started_ms // DAY_MS
        else:
            last_ms = started_ms + attempt.duration_us // 1_000
            first_ms = last_ms if attempt.is_begun else started_ms
            if lines:
                if lines[0][0] < first_ms:
                    first_ms = lines[0][0]
                if lines[-1][0] > last_ms:
                    last_ms = lines[-1][0]
            part.add(offset, size, first_ms, last_ms, last_ms)
            index = self._index
            if first_ms < index.first_ms:
                index.first_ms = first_ms
            if last_ms > index.last_ms:
                index.last_ms = last_ms
            usage.add(attempt)
        self._last = (self._number, offset)
        if self._listeners:
            self._tell(attempt)

    def _note_other(self, record: AttemptPart | InitRecord | UserEvents, offset: int, size: int) -> None:
        self._index.add(record, offset, size)
        self._last = (self._number, offset)
        if isinstance(record, UserEvents):
            self._note_group((record.account, record.region, record.log_group), record.ingested_ms)
        self._tell(record)

    def _tell(self, record: Record) -> None:
        for listener in list(self._listeners):
            listener(record)


class MemorySegment:
    def __init__(self, number: int) -> None:
        self.number = number
        self.size = 0
        self.records: list[Record] = []
        self._index = Index()

    def index(self) -> Index:
        return self._index

    def tables(self, key: StreamKey) -> Slice:
        return self._index.streams[key]

    def load(self, offset: int) -> Record:
        return self.records[offset]


class MemoryRecords(BaseRecords):
    """Records that end with the process: for tests and for servers that are told to keep nothing."""

    def __init__(self, *, segment_records_max: int = 4_096) -> None:
        super().__init__(MemoryCatalog())
        self._records_max = segment_records_max
        self._grow()

    def append(self, attempt: Attempt) -> None:
        if len(self._active.records) >= self._records_max:
            self._grow()
        admitted = self._admitted.get(attempt.origin)
        if admitted is None:
            origin = attempt.origin
            admitted = self._admitted[origin] = Admitted(0, origin)
            self._note_group(admitted.key[:3], attempt.started_ms)
        size = self._keep(attempt)
        self._note_attempt(admitted, attempt, len(self._active.records) - 1, size)

    def append_other(self, record: AttemptPart | InitRecord | UserEvents) -> None:
        if len(self._active.records) >= self._records_max:
            self._grow()
        size = self._keep(record)
        if not isinstance(record, UserEvents):
            self._note_group(stream_key(record)[:3], record.started_ms)
        self._note_other(record, len(self._active.records) - 1, size)

    def has_room(self, low_water_bytes: int) -> bool:
        return True

    def close(self) -> None:
        self.catalog.close()

    def _keep(self, record: Record) -> int:
        size = 100 + sum(len(line) for _, line in record.lines)
        self._active.records.append(record)
        self._active.size += size
        return size

    def _grow(self) -> None:
        self._number = max(self._segments, default=-1) + 1
        self._active = MemorySegment(self._number)
        self._segments[self._number] = self._active
        self._index = self._active.index()
        self._admitted.clear()
