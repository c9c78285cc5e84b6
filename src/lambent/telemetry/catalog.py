"""Log groups, streams and the ledger's rolled-up totals: what outlives the segments.

Small and seldom written: everything is held in memory; the SQLite implementation writes each change through before it
answers. `floor` is a position in the records: what lies at or before it is deleted for readers, though its segment may
still hold it for others.
"""

from __future__ import annotations

import errno
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import Protocol

import orjson

from .index import StreamKey, Usage, UsageKey

GroupKey = tuple[str, str, str]
"""account, region, log group"""
Position = tuple[int, int]
"""segment number, offset"""
NOWHERE: Position = (-1, -1)


@dataclass(slots=True)
class GroupRow:
    created_ms: int
    retention_days: int | None = None
    floor: Position = NOWHERE
    is_deleted: bool = False
    tags: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class StreamRow:
    """Only of streams that a user created or deleted; the others are known from their records."""

    created_ms: int
    floor: Position = NOWHERE
    is_deleted: bool = False


class Catalog(Protocol):
    groups: dict[GroupKey, GroupRow]
    streams: dict[StreamKey, StreamRow]
    rolled: dict[UsageKey, Usage]
    rolled_segments: set[int]
    """Segments whose usage is in `rolled` already: whatever is left of them is rubbish."""

    def put_group(self, key: GroupKey, row: GroupRow) -> None: ...

    def forget_group(self, key: GroupKey) -> None:
        """Remove a deleted group's row, once no segment holds anything of it."""

    def put_stream(self, key: StreamKey, row: StreamRow) -> None: ...

    def forget_streams(self, keys: Iterable[StreamKey]) -> None:
        """Remove rows (a deleted stream's, once no segment holds anything of it)."""

    def roll_up(self, segment: int, usage: dict[UsageKey, Usage]) -> None:
        """Add a segment's usage to the durable totals, once: a second call for the same segment changes nothing."""

    def forget_rolled(self, segment: int) -> None:
        """The segment is gone for good; its number never returns."""

    def close(self) -> None: ...


class MemoryCatalog:
    def __init__(self) -> None:
        self.groups: dict[GroupKey, GroupRow] = {}
        self.streams: dict[StreamKey, StreamRow] = {}
        self.rolled: dict[UsageKey, Usage] = {}
        self.rolled_segments: set[int] = set()

    def put_group(self, key: GroupKey, row: GroupRow) -> None:
        self.groups[key] = row

    def forget_group(self, key: GroupKey) -> None:
        self.groups.pop(key, None)

    def put_stream(self, key: StreamKey, row: StreamRow) -> None:
        self.streams[key] = row

    def forget_streams(self, keys: Iterable[StreamKey]) -> None:
        for key in keys:
            self.streams.pop(key, None)

    def roll_up(self, segment: int, usage: dict[UsageKey, Usage]) -> None:
        if segment in self.rolled_segments:
            return
        for key, sums in usage.items():
            self.rolled.setdefault(key, Usage()).merge(sums)
        self.rolled_segments.add(segment)

    def forget_rolled(self, segment: int) -> None:
        self.rolled_segments.discard(segment)

    def close(self) -> None:
        pass


_SCHEMA = """
pragma journal_mode = wal;
pragma synchronous = full;
create table if not exists groups (
  account text, region text, name text, created_ms integer not null, retention_days integer,
  floor_segment integer not null, floor_offset integer not null, is_deleted integer not null, tags text not null,
  primary key (account, region, name)) without rowid;
create table if not exists streams (
  account text, region text, log_group text, name text, created_ms integer not null,
  floor_segment integer not null, floor_offset integer not null, is_deleted integer not null,
  primary key (account, region, log_group, name)) without rowid;
create table if not exists usage (
  account text, region text, function text, version text, architecture text, day integer,
  attempts integer not null, requests integer not null, billed_ms integer not null, mb_ms text not null,
  init_mb_ms text not null, ephemeral_mb_ms text not null, errors integer not null, timeouts integer not null,
  streamed_bytes integer not null default 0, restored_mb integer not null default 0,
  primary key (account, region, function, version, architecture, day)) without rowid;
create table if not exists rolled (segment integer primary key);
"""
_LATER = ("streamed_bytes", "restored_mb")
"""Columns of usage that a catalog of an earlier time lacks."""
# Sums of MB-milliseconds are text: SQLite's integers end at 2**63, Python's do not.


class SqliteCatalog:
    """The same on disk. One connection behind a lock: it is written by the event loop and by the maintenance thread."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.RLock()
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._db.executescript(_SCHEMA)
        known = {column[1] for column in self._db.execute("pragma table_info(usage)")}
        for name in _LATER:
            if name not in known:
                self._db.execute(f"alter table usage add column {name} integer not null default 0")
        self._rows = MemoryCatalog()
        self.groups, self.streams = self._rows.groups, self._rows.streams
        self.rolled, self.rolled_segments = self._rows.rolled, self._rows.rolled_segments
        for row in self._db.execute("select * from groups"):
            account, region, name, created_ms, days, segment, offset, deleted, tags = row
            stored = GroupRow(created_ms, days, (segment, offset), bool(deleted), orjson.loads(tags))
            self.groups[account, region, name] = stored
        for account, region, group, name, created_ms, segment, offset, deleted in self._db.execute(
            "select * from streams"
        ):
            self.streams[account, region, group, name] = StreamRow(created_ms, (segment, offset), bool(deleted))
        for row in self._db.execute("select * from usage"):
            self.rolled[row[0], row[1], row[2], row[3], row[4], row[5]] = Usage(*map(int, row[6:]))
        self.rolled_segments.update(segment for (segment,) in self._db.execute("select segment from rolled"))

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """One transaction. SQLite's failures leave as what the disk did: OSError."""
        with self._lock:
            try:
                self._db.execute("begin immediate")
                try:
                    yield
                    self._db.execute("commit")
                except BaseException:
                    if self._db.in_transaction:
                        self._db.execute("rollback")
                    raise
            except sqlite3.OperationalError as error:
                is_full = "full" in str(error)
                raise OSError(errno.ENOSPC if is_full else errno.EIO, f"catalog: {error}") from error

    def put_group(self, key: GroupKey, row: GroupRow) -> None:
        with self._lock:
            self._write_group(key, row)
            self._rows.put_group(key, row)

    def persist_group(self, key: GroupKey) -> None:
        """Write down a row that is known already, as it is now: it may have changed since somebody asked for this."""
        with self._lock:
            row = self.groups.get(key)
            if row is not None:
                self._write_group(key, row)

    def _write_group(self, key: GroupKey, row: GroupRow) -> None:
        with self._writing():
            self._db.execute(
                "insert or replace into groups values (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (*key, row.created_ms, row.retention_days, *row.floor, row.is_deleted, orjson.dumps(row.tags).decode()),
            )

    def forget_group(self, key: GroupKey) -> None:
        with self._lock:
            with self._writing():
                self._db.execute("delete from groups where account = ? and region = ? and name = ?", key)
            self._rows.forget_group(key)

    def put_stream(self, key: StreamKey, row: StreamRow) -> None:
        with self._writing():
            self._db.execute(
                "insert or replace into streams values (?, ?, ?, ?, ?, ?, ?, ?)",
                (*key, row.created_ms, *row.floor, row.is_deleted),
            )
        self._rows.put_stream(key, row)

    def forget_streams(self, keys: Iterable[StreamKey]) -> None:
        gone = list(keys)
        with self._writing():
            self._db.executemany(
                "delete from streams where account = ? and region = ? and log_group = ? and name = ?", gone
            )
        self._rows.forget_streams(gone)

    def roll_up(self, segment: int, usage: dict[UsageKey, Usage]) -> None:
        """One transaction: after a crash the segment is either in the totals or still in the ledger, never both."""
        if segment in self.rolled_segments:
            return
        rows = []
        for key, sums in usage.items():
            total = Usage()
            total.merge(self.rolled.get(key, Usage()))
            total.merge(sums)
            counts = astuple(total)
            rows.append((*key, *counts[:3], *map(str, counts[3:6]), *counts[6:]))
        with self._writing():
            self._db.executemany(
                "insert or replace into usage values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows
            )
            self._db.execute("insert into rolled values (?)", (segment,))
        self._rows.roll_up(segment, usage)

    def forget_rolled(self, segment: int) -> None:
        with self._writing():
            self._db.execute("delete from rolled where segment = ?", (segment,))
        self._rows.forget_rolled(segment)

    def close(self) -> None:
        with self._lock:
            self._db.close()
