"""Following logs live: a bounded queue between the records and one reader."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from .attempt import Record
from .catalog import GroupKey
from .index import stream_key
from .patterns import Matcher
from .platform_lines import render
from .records import Records

FOLLOWED_EVENTS_MAX = 10_000

FollowedEvent = tuple[int, str, bytes]
"""time (ms), stream, message"""


class Follower:
    """`async with` it, then iterate: events of a group as they are written, those of one record together.

    A reader that is too slow loses the oldest events, never holds up an invocation; `dropped` counts them.
    """

    def __init__(
        self,
        records: Records,
        group: GroupKey,
        *,
        streams: frozenset[str] | None,
        matcher: Matcher | None,
        events_max: int = FOLLOWED_EVENTS_MAX,
    ) -> None:
        if events_max < 1:
            raise ValueError("a follower holds at least one event")
        self._records = records
        self._group = group
        self._streams = streams
        self._matcher = matcher
        self._events: deque[FollowedEvent] = deque(maxlen=events_max)
        self._news = asyncio.Event()
        self._end: Callable[[], None] | None = None
        self.dropped = 0

    async def __aenter__(self) -> Follower:
        self._end = self._records.subscribe(self._hear)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._end is not None:
            self._end()
            self._end = None

    def __aiter__(self) -> Follower:
        return self

    async def __anext__(self) -> FollowedEvent:
        if self._end is None:
            raise StopAsyncIteration
        while not self._events:
            self._news.clear()
            await self._news.wait()
        return self._events.popleft()

    def _hear(self, record: Record) -> None:
        key = stream_key(record)
        if key[:3] != self._group or (self._streams is not None and key[3] not in self._streams):
            return
        for at_ms, message in render(record):
            if self._matcher is None or self._matcher(message):
                self.dropped += len(self._events) == self._events.maxlen
                self._events.append((at_ms, key[3], message))
        self._news.set()
