"""Which groups and streams a reader sees, computed from the catalog's rows and the segments' indexes.

A group exists when something logged to it or somebody created it, until it is deleted; a stream likewise. What a floor
hides is left out of every number.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..domain.names import Scope
from .catalog import NOWHERE, GroupKey, GroupRow, Position
from .index import DAY_MS, Slice, StreamKey
from .records import Records, Segment


@dataclass(slots=True)
class GroupView:
    name: str
    created_ms: int
    retention_days: int | None
    stored_bytes: int


@dataclass(slots=True)
class StreamView:
    name: str
    created_ms: int
    first_ms: int | None = None
    last_ms: int | None = None
    ingested_ms: int | None = None
    stored_bytes: int = 0

    def merge(self, part: Slice) -> None:
        self.first_ms = part.first_ms if self.first_ms is None else min(self.first_ms, part.first_ms)
        self.last_ms = part.last_ms if self.last_ms is None else max(self.last_ms, part.last_ms)
        self.ingested_ms = part.ingested_ms if self.ingested_ms is None else max(self.ingested_ms, part.ingested_ms)
        self.stored_bytes += part.size


class Views:
    """Reads only; may run beside the thread that appends."""

    def __init__(self, records: Records) -> None:
        self._records = records

    def find_group(self, key: GroupKey) -> GroupRow | None:
        row = self._records.catalog.groups.get(key)
        return None if row is None or row.is_deleted else row

    def floor(self, key: StreamKey) -> Position:
        """At or before this place nothing of the stream is visible."""
        group, stream = self._records.catalog.groups.get(key[:3]), self._records.catalog.streams.get(key)
        return max(group.floor if group else NOWHERE, stream.floor if stream else NOWHERE)

    def groups(self, scope: Scope) -> list[GroupView]:
        """All groups of an account in a region, by name."""
        rows = {
            key: row
            for key, row in list(self._records.catalog.groups.items())
            if key[0] == scope.account and key[1] == scope.region and not row.is_deleted
        }
        sizes = dict.fromkeys(rows, 0)
        for segment in self._records.segments():
            for key, part in list(segment.index().streams.items()):
                if key[:3] in sizes:
                    visible = self._visible(segment, key, part)
                    sizes[key[:3]] += visible.size if visible is not None else 0
        return [GroupView(key[2], rows[key].created_ms, rows[key].retention_days, sizes[key]) for key in sorted(rows)]

    def streams(self, group: GroupKey, now_ms: int, default_days: int | None) -> dict[str, StreamView]:
        """The group's streams by name; those whose every event is older than the retention are left out."""
        found: dict[str, StreamView] = {}
        row = self._records.catalog.groups.get(group)
        days = (row.retention_days if row else None) or default_days
        oldest_ms = 0 if days is None else now_ms - days * DAY_MS
        for key, stream in list(self._records.catalog.streams.items()):
            if key[:3] == group and not stream.is_deleted:
                found[key[3]] = StreamView(key[3], stream.created_ms)
        for segment in self._records.segments():
            for key, part in list(segment.index().streams.items()):
                if key[:3] != group or part.last_ms < oldest_ms:
                    continue
                visible = self._visible(segment, key, part)
                if visible is not None:
                    view = found.get(key[3])
                    if view is None:
                        view = found[key[3]] = StreamView(key[3], visible.first_ms)
                    view.merge(visible)
        return found

    def _visible(self, segment: Segment, key: StreamKey, part: Slice) -> Slice | None:
        """The slice without what its floor hides; None when that is everything."""
        floor = self.floor(key)
        if floor[0] < segment.number:
            return part
        if floor[0] > segment.number:
            return None
        full = segment.tables(key)
        kept = [at for at, offset in enumerate(list(full.offsets)) if offset > floor[1]]
        if not kept:
            return None
        first_ms = min(full.firsts[at] for at in kept)
        last_ms = max(full.firsts[at] + full.spans[at] for at in kept)
        size = full.size * len(kept) // full.count  # the tables hold no sizes; a share is near enough for a listing
        return Slice(first_ms, last_ms, last_ms, len(kept), size)
