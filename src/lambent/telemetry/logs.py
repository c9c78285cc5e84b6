"""Log groups, streams and events as CloudWatch Logs offers them, over the records.

Decisions and reading are synchronous; `api/resources/logs.py` runs the reading ones on a thread. Limits and messages
carry the published words. Source: Amazon CloudWatch Logs API Reference and quotas.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from ..domain.clock import Clock
from ..domain.limits import TAGS_PER_RESOURCE_MAX
from ..domain.names import Scope
from .attempt import LogLine, UserEvents
from .catalog import NOWHERE, GroupKey, GroupRow, Position, StreamRow
from .errors import LogsAlreadyExists, LogsInvalidParameter, group_not_found, stream_not_found
from .follow import FOLLOWED_EVENTS_MAX, Follower
from .groups import GroupView, StreamView, Views
from .index import DAY_MS, StreamKey
from .paging import bounded, invalid, page_token, read_page_token, read_token, token_of
from .patterns import compile_pattern
from .query import FIRST, LogEvent, Reading, Window
from .records import Records, Retention

PAGE_ROWS_MAX = 50
PAGE_EVENTS_MAX = 10_000
PAGE_BYTES_MAX = 1_048_576
EVENT_OVERHEAD_BYTES = 26
PAGE_FRAMES_MAX = 10_000
"""Records one FilterLogEvents page looks at; a page may end empty with a token, as the service's do."""
PUT_EVENTS_MAX = 10_000
PUT_BYTES_MAX = 1_048_576
PUT_SPAN_MS_MAX = DAY_MS
TOO_NEW_MS = 2 * 3_600_000
TOO_OLD_MS = 14 * DAY_MS
RETENTION_DAYS = (
    *(1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545),
    *(731, 1096, 1827, 2192, 2557, 2922, 3288, 3653),
)

_GROUP_NAME = re.compile(r"[.\-_/#A-Za-z0-9]{1,512}")
_STREAM_NAME = re.compile(r"[^:*]{1,512}")


@dataclass(frozen=True, slots=True)
class EventsPage:
    events: list[LogEvent]
    forward: str
    backward: str


@dataclass(frozen=True, slots=True)
class FilterPage:
    events: list[LogEvent]
    next_token: str | None


@dataclass(frozen=True, slots=True)
class Rejected:
    """Indexes into a PutLogEvents batch; None: nothing of that kind was rejected."""

    too_new_start: int | None = None
    too_old_end: int | None = None
    expired_end: int | None = None


class Logs:
    def __init__(self, records: Records, clock: Clock, retention: Retention | None = None) -> None:
        self._records = records
        self._clock = clock
        self._retention = retention if retention is not None else Retention()
        self._views = Views(records)

    def describe_groups(
        self, scope: Scope, *, prefix: str | None, pattern: str | None, limit: int | None, token: str | None
    ) -> tuple[list[GroupView], str | None]:
        """Groups by name, one page and the token of the next. `pattern` is a case-sensitive part of the name."""
        if prefix is not None and pattern is not None:
            raise LogsInvalidParameter(
                "LogGroup name prefix and LogGroup name pattern are mutually exclusive parameters."
            )
        count = bounded(limit, PAGE_ROWS_MAX)
        after = read_page_token(token, str)
        rows = [
            group
            for group in self._views.groups(scope)
            if (prefix is None or group.name.startswith(prefix))
            and (not pattern or pattern in group.name)
            and (after is None or group.name > after)
        ]
        more = len(rows) > count
        return rows[:count], page_token(rows[count - 1].name) if more else None

    def describe_streams(
        self,
        scope: Scope,
        group: str,
        *,
        prefix: str | None,
        order_by: str,
        descending: bool,
        limit: int | None,
        token: str | None,
    ) -> tuple[list[StreamView], str | None]:
        """Streams by name or by the time of their last event (streams without events count as oldest)."""
        if order_by not in ("LogStreamName", "LastEventTime"):
            raise invalid(order_by, "orderBy", "Member must satisfy enum value set: [LogStreamName, LastEventTime]")
        by_time = order_by == "LastEventTime"
        if by_time and prefix is not None:
            raise LogsInvalidParameter("Cannot order by LastEventTime with a logStreamNamePrefix.")
        key = self._group(scope, group)
        count = bounded(limit, PAGE_ROWS_MAX)
        after = read_page_token(token, list)
        found = self._views.streams(key, self._clock.wall_ms(), self._retention.days_max).values()
        placed = [
            ((row.last_ms or 0) if by_time else 0, row.name, row)
            for row in found
            if prefix is None or row.name.startswith(prefix)
        ]
        placed.sort(key=lambda entry: entry[:2], reverse=descending)
        if after is not None:
            mark = (int(after[0]), str(after[1]))
            placed = [entry for entry in placed if (entry[:2] < mark if descending else entry[:2] > mark)]
        more = len(placed) > count
        page = placed[:count]
        return [entry[2] for entry in page], page_token([page[-1][0], page[-1][1]]) if more else None

    def get_events(
        self,
        scope: Scope,
        group: str,
        stream: str,
        *,
        start_ms: int | None = None,
        end_ms: int | None = None,
        limit: int | None = None,
        from_head: bool = False,
        token: str | None = None,
    ) -> EventsPage:
        """One stream's events in order of time: without a token its last page, or its first `from_head`.

        A forward token answers what is newer than the page it came with; at the end it answers itself.
        """
        key = (*self._group(scope, group), stream)
        self._check_stream(key)
        count = bounded(limit, PAGE_EVENTS_MAX)
        window = self._window(key[:3], start_ms, end_ms)
        descending = not from_head
        place = FIRST
        if token is not None:
            direction, place = read_token(token)
            descending = direction == "b"
            window = replace(window, before=place) if descending else replace(window, after=place)
        reading = Reading(self._records.segments(), self._chooser(key[:3], {stream}), window, descending=descending)
        events: list[LogEvent] = []
        size = 0
        for event in reading.events():
            size += len(event.message) + EVENT_OVERHEAD_BYTES
            if events and size > PAGE_BYTES_MAX:
                break
            events.append(event)
            if len(events) == count:
                break
        if descending:
            events.reverse()
        last, first = (events[-1].place, events[0].place) if events else (place, place)
        return EventsPage(events, token_of("f", last), token_of("b", first))

    def filter_events(
        self,
        scope: Scope,
        group: str,
        *,
        streams: Sequence[str] | None = None,
        prefix: str | None = None,
        start_ms: int | None = None,
        end_ms: int | None = None,
        pattern: str = "",
        limit: int | None = None,
        descending: bool = False,
        token: str | None = None,
    ) -> FilterPage:
        """Matching events of a group, interleaved by time. A page may be empty and have a successor."""
        if streams is not None and prefix is not None:
            raise LogsInvalidParameter("logStreamNamePrefix and logStreamNames are mutually exclusive parameters.")
        key = self._group(scope, group)
        for name in streams or ():
            self._check_stream((*key, name))
        matcher = compile_pattern(pattern)
        count = bounded(limit, PAGE_EVENTS_MAX)
        window = self._window(key, start_ms, end_ms)
        if token is not None:
            direction, place = read_token(token)
            descending = direction == "b"
            window = replace(window, before=place) if descending else replace(window, after=place)
        wanted = set(streams) if streams is not None else None
        reading = Reading(self._records.segments(), self._chooser(key, wanted, prefix), window, descending=descending)
        way = "b" if descending else "f"
        events: list[LogEvent] = []
        size = 0
        examined = FIRST
        for event in reading.events():
            if matcher is None or matcher(event.message):
                size += len(event.message) + EVENT_OVERHEAD_BYTES
                if events and size > PAGE_BYTES_MAX:
                    return FilterPage(events, token_of(way, examined))
                events.append(event)
            examined = event.place
            if len(events) == count or reading.frames_read > PAGE_FRAMES_MAX:
                return FilterPage(events, token_of(way, examined))
        return FilterPage(events, None)

    def follow(
        self,
        scope: Scope,
        group: str,
        *,
        streams: Sequence[str] | None = None,
        pattern: str = "",
        events_max: int = FOLLOWED_EVENTS_MAX,
    ) -> Follower:
        """What the group logs from now on; the group need not exist yet."""
        chosen = frozenset(streams) if streams is not None else None
        key = (scope.account, scope.region, group)
        matcher = compile_pattern(pattern)
        return Follower(self._records, key, streams=chosen, matcher=matcher, events_max=events_max)

    def create_group(self, scope: Scope, name: str, tags: Mapping[str, str] | None = None) -> None:
        if _GROUP_NAME.fullmatch(name) is None:
            raise invalid(name, "logGroupName", r"Member must satisfy regular expression pattern: [\.\-_/#A-Za-z0-9]+")
        if name.lower().startswith("aws/"):
            raise LogsInvalidParameter("Log groups starting with AWS/ are reserved for AWS.")
        key = (scope.account, scope.region, name)
        if self._views.find_group(key) is not None:
            raise LogsAlreadyExists("The specified log group already exists")
        gone = self._records.catalog.groups.get(key)
        floor = gone.floor if gone is not None else NOWHERE
        row = GroupRow(self._clock.wall_ms(), floor=floor, tags=_checked_tags(tags or {}))
        self._records.catalog.put_group(key, row)

    def delete_group(self, scope: Scope, name: str) -> None:
        """The group's log is gone at once; the usage of what ran stays in the ledger."""
        self._records.hide(self._group(scope, name), None, self._clock.wall_ms())

    def create_stream(self, scope: Scope, group: str, name: str) -> None:
        key = (*self._group(scope, group), name)
        if _STREAM_NAME.fullmatch(name) is None:
            raise invalid(name, "logStreamName", "Member must satisfy regular expression pattern: [^:*]*")
        if self._has_stream(key):
            raise LogsAlreadyExists("The specified log stream already exists")
        gone = self._records.catalog.streams.get(key)
        floor = gone.floor if gone is not None else NOWHERE
        self._records.catalog.put_stream(key, StreamRow(self._clock.wall_ms(), floor))

    def delete_stream(self, scope: Scope, group: str, name: str) -> None:
        key = self._group(scope, group)
        self._check_stream((*key, name))
        self._records.hide(key, name, self._clock.wall_ms())

    def put_retention(self, scope: Scope, group: str, days: int | None) -> None:
        """Keep events of a group for this many days; None: as long as the server's own bounds say."""
        key = self._group(scope, group)
        if days is not None and days not in RETENTION_DAYS:
            raise invalid(
                str(days),
                "retentionInDays",
                f"Member must satisfy enum value set: [{', '.join(map(str, RETENTION_DAYS))}]",
            )
        row = replace(self._records.catalog.groups[key], retention_days=days)
        self._records.catalog.put_group(key, row)

    def put_events(self, scope: Scope, group: str, stream: str, events: Sequence[LogLine]) -> Rejected:
        """Store a batch in a user's stream; what is too new, too old or expired is left out and told."""
        key = (*self._group(scope, group), stream)
        self._check_stream(key)
        if not 1 <= len(events) <= PUT_EVENTS_MAX:
            raise invalid(
                f"{len(events)} events",
                "logEvents",
                f"Member must have length between 1 and {PUT_EVENTS_MAX}, inclusive",
            )
        size = sum(len(message) + EVENT_OVERHEAD_BYTES for _, message in events)
        if size > PUT_BYTES_MAX:
            raise LogsInvalidParameter(f"Upload too large: {size} bytes exceeds limit of {PUT_BYTES_MAX}")
        times = [at_ms for at_ms, _ in events]
        if any(later < earlier for earlier, later in pairwise(times)):
            raise LogsInvalidParameter("Log events in a single PutLogEvents request must be in chronological order.")
        if times[-1] - times[0] > PUT_SPAN_MS_MAX:
            raise LogsInvalidParameter(
                "The batch of log events in a single PutLogEvents request cannot span more than 24 hours."
            )
        now_ms = self._clock.wall_ms()
        expired_ms = self._window(key[:3], None, None).start_ms
        too_old = sum(at_ms < now_ms - TOO_OLD_MS for at_ms in times)
        expired = sum(at_ms < expired_ms for at_ms in times)
        begin, end = max(too_old, expired), sum(at_ms <= now_ms + TOO_NEW_MS for at_ms in times)
        if kept := list(events[begin:end]):
            self._records.append_other(UserEvents(*key, kept, now_ms))
        return Rejected(
            too_new_start=end if end < len(events) else None,
            too_old_end=too_old or None,
            expired_end=expired or None,
        )

    def tags(self, scope: Scope, group: str) -> dict[str, str]:
        return dict(self._records.catalog.groups[self._group(scope, group)].tags)

    def change_tags(self, scope: Scope, group: str, put: Mapping[str, str], remove: Sequence[str] = ()) -> None:
        key = self._group(scope, group)
        row = self._records.catalog.groups[key]
        kept = {name: value for name, value in row.tags.items() if name not in remove}
        self._records.catalog.put_group(key, replace(row, tags=_checked_tags(kept | dict(put))))

    def _group(self, scope: Scope, name: str) -> GroupKey:
        key = (scope.account, scope.region, name)
        if self._views.find_group(key) is None:
            raise group_not_found()
        return key

    def _check_stream(self, key: StreamKey) -> None:
        if not self._has_stream(key):
            raise stream_not_found()

    def _has_stream(self, key: StreamKey) -> bool:
        row = self._records.catalog.streams.get(key)
        if row is not None and not row.is_deleted:
            return True
        floor = self._views.floor(key)
        for segment in self._records.segments():
            if segment.number >= floor[0] and key in segment.index().streams:
                is_beyond = segment.number > floor[0] or segment.tables(key).offsets[-1] > floor[1]
                if is_beyond:
                    return True
        return False

    def _window(self, group: GroupKey, start_ms: int | None, end_ms: int | None) -> Window:
        row = self._records.catalog.groups.get(group)
        days = (row.retention_days if row is not None else None) or self._retention.days_max
        oldest_ms = 0 if days is None else self._clock.wall_ms() - days * DAY_MS
        return Window(max(start_ms or 0, oldest_ms), 2**62 if end_ms is None else end_ms)

    def _chooser(self, group: GroupKey, streams: set[str] | None, prefix: str | None = None) -> _Chooser:
        return _Chooser(self._views, group, streams, prefix)


class _Chooser:
    def __init__(self, views: Views, group: GroupKey, streams: set[str] | None, prefix: str | None) -> None:
        self._views, self._group, self._streams, self._prefix = views, group, streams, prefix

    def __call__(self, key: StreamKey) -> Position | None:
        if key[:3] != self._group or (self._streams is not None and key[3] not in self._streams):
            return None
        if self._prefix is not None and not key[3].startswith(self._prefix):
            return None
        return self._views.floor(key)


def _checked_tags(tags: Mapping[str, str]) -> dict[str, str]:
    if len(tags) > TAGS_PER_RESOURCE_MAX:
        raise LogsInvalidParameter(f"A log group has at most {TAGS_PER_RESOURCE_MAX} tags.")
    return dict(tags)
