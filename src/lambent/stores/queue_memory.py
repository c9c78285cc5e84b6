"""The event queue in memory: as honest as the durable one, for as long as the process lives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ..domain.errors import ServiceFault
from ..domain.names import FunctionRef
from ..invocations.queue import EVENTS_MAX, Backlog, Event


class MemoryEvents:
    """See `invocations.queue.EventQueue`."""

    def __init__(self, *, events_max: int = EVENTS_MAX) -> None:
        self._events_max = events_max
        self._backlog = Backlog()
        self._events: dict[int, Event] = {}
        self._next_id = 1

    async def append(self, event: Event) -> Event:
        if len(self._events) >= self._events_max:
            raise ServiceFault("too many events are waiting")
        return self._add(event)

    async def lease(self, now_ms: int, limit: int, room: Callable[[FunctionRef], int]) -> list[Event]:
        return [self._events[id] for id in self._backlog.take(now_ms, limit, room)]

    async def settle(self, event: Event, successor: Event | None = None) -> None:
        self._backlog.begin_close(event.id)
        self._backlog.settle(event.id)
        del self._events[event.id]
        if successor is not None:
            self._add(successor)

    async def release(self, event: Event) -> None:
        self._backlog.begin_close(event.id)
        self._events[event.id] = event
        self._backlog.release(event.id, event.due_ms)

    def abandon(self, event: Event) -> None:
        self._backlog.abandon(event.id)

    def next_due_ms(self) -> int | None:
        return self._backlog.next_due_ms()

    def count(self, ref: FunctionRef) -> int:
        return self._backlog.count(ref)

    def oldest_accepted_ms(self, ref: FunctionRef) -> int | None:
        return self._backlog.oldest_accepted_ms(ref)

    def __len__(self) -> int:
        return len(self._backlog)

    def _add(self, event: Event) -> Event:
        stored = replace(event, id=self._next_id)
        self._next_id += 1
        self._events[stored.id] = stored
        self._backlog.add(stored.id, stored.ref, stored.due_ms, stored.accepted_ms)
        return stored
