"""Reading: log events of chosen streams, in order of time, from either end, beginning anywhere.

An event's place is (time, segment, offset, index in its record): unique, and still meaningful when older segments are
gone, so it serves as paging token and event id. Frames come from per-stream tables; segments are opened only when the
reading reaches their time. Everything here may run on a thread beside the one that appends.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from .attempt import UserEvents
from .catalog import Position
from .index import StreamKey
from .platform_lines import render
from .records import Segment

NAP_FRAMES = 16
NAP_S = 50e-6
"""A reader on a thread lets go of the interpreter this often: without it the event loop, which has invocations to
answer, waits 5 ms for its turn each time it wakes up; with it, well under one. (sleep(0) does not hand over.)"""

Place = tuple[int, int, int, int]
FIRST: Place = (-1, -1, -1, -1)
LAST: Place = (2**62, 0, 0, 0)


class LogEvent(NamedTuple):
    place: Place
    stream: str
    message: bytes
    ingested_ms: int

    @property
    def at_ms(self) -> int:
        return self.place[0]


@dataclass(frozen=True, slots=True)
class Window:
    """What is asked for: start_ms <= time < end_ms, and strictly between two places."""

    start_ms: int = 0
    end_ms: int = 2**62
    after: Place = FIRST
    before: Place = LAST

    def touches(self, first_ms: int, last_ms: int) -> bool:
        return (
            first_ms < self.end_ms
            and last_ms >= self.start_ms
            and last_ms >= self.after[0]
            and first_ms <= self.before[0]
        )

    def holds(self, place: Place) -> bool:
        return self.start_ms <= place[0] < self.end_ms and self.after < place < self.before


Chosen = Callable[[StreamKey], Position | None]
"""The floor of a stream that is wanted, or None for one that is not."""

_Frame = tuple[int, int, int, int, StreamKey, Segment]
"""sort key (first or minus last event's time), segment number, offset, last event's time, stream, segment"""


class Reading:
    """One pass over events; `frames_read` tells its cost so far, so that a page can be bounded."""

    def __init__(self, segments: list[Segment], chosen: Chosen, window: Window, *, descending: bool) -> None:
        self._segments = segments
        self._chosen = chosen
        self._window = window
        self._sign = -1 if descending else 1
        self.frames_read = 0

    def events(self) -> Iterator[LogEvent]:
        """Events in ascending (or descending) order of place."""
        sign = self._sign
        ready: list[tuple[Place, LogEvent]] = []
        for frame in self._frames():
            while ready and ready[0][0][0] < frame[0]:
                yield heapq.heappop(ready)[1]
            self.frames_read += 1
            if self.frames_read % NAP_FRAMES == 0:
                time.sleep(NAP_S)
            for event in self._load(frame):
                at_ms, number, offset, index = event.place
                heapq.heappush(ready, ((sign * at_ms, sign * number, sign * offset, sign * index), event))
        while ready:
            yield heapq.heappop(ready)[1]

    def _load(self, frame: _Frame) -> Iterator[LogEvent]:
        _, number, offset, ingested_ms, key, segment = frame
        record = segment.load(offset)
        if isinstance(record, UserEvents):
            ingested_ms = record.ingested_ms
        holds, stream = self._window.holds, key[3]
        for index, (at_ms, message) in enumerate(render(record)):
            place = (at_ms, number, offset, index)
            if holds(place):
                yield LogEvent(place, stream, message, ingested_ms)

    def _frames(self) -> Iterator[_Frame]:
        """Frames by first (or last) event's time; a segment is opened when its time comes."""
        waiting: list[tuple[int, int, Segment]] = []
        for segment in self._segments:
            index = segment.index()
            if index.streams and self._window.touches(index.first_ms, index.last_ms):
                edge = index.first_ms if self._sign > 0 else -index.last_ms
                waiting.append((edge, segment.number, segment))
        waiting.sort(key=lambda entry: entry[:2])
        open_: list[tuple[tuple[int, int, int], _Frame, Iterator[_Frame]]] = []
        at = 0
        while open_ or at < len(waiting):
            while at < len(waiting) and (not open_ or waiting[at][0] <= open_[0][0][0]):
                self._push(open_, iter(self._frames_of(waiting[at][2])))
                at += 1
            if open_:
                _, frame, rest = heapq.heappop(open_)
                yield frame
                self._push(open_, rest)

    def _push(
        self, open_: list[tuple[tuple[int, int, int], _Frame, Iterator[_Frame]]], frames: Iterator[_Frame]
    ) -> None:
        frame = next(frames, None)
        if frame is not None:
            heapq.heappush(open_, ((frame[0], frame[1] * self._sign, frame[2] * self._sign), frame, frames))

    def _frames_of(self, segment: Segment) -> list[_Frame]:
        found: list[_Frame] = []
        number, window, sign = segment.number, self._window, self._sign
        for key, summary in list(segment.index().streams.items()):
            floor = self._chosen(key)
            if floor is None or floor[0] > number or not window.touches(summary.first_ms, summary.last_ms):
                continue
            hidden_to = floor[1] if floor[0] == number else -1
            part = segment.tables(key)
            # Tables grow while we read: zip ends with the shortest, which is the last one appended to.
            for offset, first_ms, span_ms in zip(part.offsets, part.firsts, part.spans, strict=False):
                last_ms = first_ms + span_ms
                if offset > hidden_to and window.touches(first_ms, last_ms):
                    found.append((first_ms if sign > 0 else -last_ms, number, offset, last_ms, key, segment))
        found.sort(key=lambda frame: (frame[0], frame[2] * sign))
        return found
