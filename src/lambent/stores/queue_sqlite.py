"""The durable event queue: rows in `queue.db`, their order in memory.

SQLite is asked only to keep rows: an insert when an event is accepted, an update when it waits for another try, a
delete when it is settled, all of them sharing the writer's group commits. Whose turn it is stands in the `Backlog`,
which is read from the file once, at start. Recent events stay in memory whole, up to `CACHE_BYTES_MAX`; the rest are
read when they are leased, so that a long queue of large payloads does not fill the memory.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..domain.errors import ServiceFault
from ..domain.names import FunctionRef
from ..invocations.queue import EVENTS_MAX, Backlog, Event
from .writer import Writer

MIGRATIONS = Path(__file__).parent / "migrations" / "queue"

CACHE_BYTES_MAX = 67_108_864
"""Payload bytes of waiting events kept in memory."""
_EVENT_BYTES = 1_024
"""What an event costs in memory and on disk beside its payload, roughly."""

_COLUMNS = (
    "id, account, region, function, qualifier, request_id, trace, accepted_ms, due_ms, attempt, deferrals, reason, "
    "payload, tenant_id"
)
_INSERT = f"INSERT INTO events ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_RELEASE = "UPDATE events SET due_ms = ?, attempt = ?, deferrals = ?, reason = ? WHERE id = ?"
_DELETE = "DELETE FROM events WHERE id = ?"
_READ = f"SELECT {_COLUMNS} FROM events WHERE id = ?"
_INDEX = "SELECT id, account, region, function, due_ms, accepted_ms FROM events ORDER BY id"


class SqliteEvents:
    """See `invocations.queue.EventQueue`. The writer belongs to who made it."""

    def __init__(self, writer: Writer, *, events_max: int = EVENTS_MAX, cache_bytes_max: int = CACHE_BYTES_MAX) -> None:
        """Everything accepted before and not settled waits again. `writer` has not had its first job yet."""
        self._writer = writer
        self._events_max = events_max
        self._cache_bytes_max = cache_bytes_max
        self._backlog = Backlog()
        self._cached: dict[int, Event] = {}
        self._cached_bytes = 0
        self._storing = 0
        self._next_id = writer.read_at_start(self._find)

    async def append(self, event: Event) -> Event:
        if len(self._backlog) + self._storing >= self._events_max:
            raise ServiceFault("too many events are waiting")
        stored = replace(event, id=self._next_id)
        self._next_id += 1
        self._storing += 1
        written = self._writer.append(_INSERT, _row(stored), weight=len(stored.payload) + _EVENT_BYTES)
        # Not awaited directly: when the caller is cancelled, the row is stored all the same and has to be known here.
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        written.add_done_callback(lambda outcome: self._stored(stored, outcome, done))
        await done
        return stored

    async def lease(self, now_ms: int, limit: int, room: Callable[[FunctionRef], int]) -> list[Event]:
        ids = self._backlog.take(now_ms, limit, room)
        missing = [id for id in ids if id not in self._cached]
        if not missing:
            return [self._cached[id] for id in ids]
        try:
            read = await self._writer.transact(lambda connection: _read(connection, missing))
        except BaseException:
            for id in ids:
                self._backlog.abandon(id)
            raise
        return [self._cached[id] if id in self._cached else read[id] for id in ids]

    async def settle(self, event: Event, successor: Event | None = None) -> None:
        if successor is None:
            await self._close(event.id, lambda: self._writer.append(_DELETE, (event.id,)))
        else:
            stored = replace(successor, id=self._next_id)
            self._next_id += 1
            await self._close(event.id, lambda: self._replace(event.id, stored))
            self._keep(stored)
            self._backlog.add(stored.id, stored.ref, stored.due_ms, stored.accepted_ms)
        self._backlog.settle(event.id)
        self._forget(event.id)

    async def release(self, event: Event) -> None:
        row = (event.due_ms, event.attempt, event.deferrals, event.reason, event.id)
        await self._close(event.id, lambda: self._writer.append(_RELEASE, row))
        self._forget(event.id)
        self._keep(event)
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

    def _stored(self, event: Event, outcome: asyncio.Future[None], done: asyncio.Future[None]) -> None:
        self._storing -= 1
        error = outcome.exception()
        if error is None:
            self._keep(event)
            self._backlog.add(event.id, event.ref, event.due_ms, event.accepted_ms)
        if done.done():  # the caller was cancelled
            return
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(error)

    def _replace(self, id: int, successor: Event) -> asyncio.Future[None]:
        """Both statements in one savepoint: the one does not happen without the other."""

        def write(connection: sqlite3.Connection) -> None:
            connection.execute(_INSERT, _row(successor))
            connection.execute(_DELETE, (id,))

        return self._writer.transact(write, weight=len(successor.payload) + _EVENT_BYTES)

    async def _close(self, id: int, write: Callable[[], asyncio.Future[None]]) -> None:
        self._backlog.begin_close(id)
        try:
            await write()
        except Exception:
            self._backlog.fail_close(id)
            raise
        # A cancelled caller leaves the event closing: whether the row changed is seen at the next start.

    def _keep(self, event: Event) -> None:
        size = len(event.payload) + _EVENT_BYTES
        if self._cached_bytes + size <= self._cache_bytes_max:
            self._cached[event.id] = event
            self._cached_bytes += size

    def _forget(self, id: int) -> None:
        event = self._cached.pop(id, None)
        if event is not None:
            self._cached_bytes -= len(event.payload) + _EVENT_BYTES

    def _find(self, connection: sqlite3.Connection) -> int:
        refs: dict[tuple[str, str, str], FunctionRef] = {}
        last = 0
        for last, account, region, name, due_ms, accepted_ms in connection.execute(_INDEX):
            ref = refs.setdefault((account, region, name), FunctionRef(account, region, name))
            self._backlog.add(last, ref, due_ms, accepted_ms)
        return last + 1


def _row(event: Event) -> tuple[Any, ...]:
    ref = event.ref
    return (
        event.id, ref.account, ref.region, ref.name, event.qualifier, event.request_id, event.trace,
        event.accepted_ms, event.due_ms, event.attempt, event.deferrals, event.reason, event.payload,
        event.tenant_id,
    )  # fmt: skip


def _read(connection: sqlite3.Connection, ids: Sequence[int]) -> dict[int, Event]:
    read: dict[int, Event] = {}
    for wanted in ids:
        (
            id,
            account,
            region,
            name,
            qualifier,
            request_id,
            trace,
            accepted_ms,
            due_ms,
            attempt,
            deferrals,
            reason,
            payload,
            tenant_id,
        ) = connection.execute(_READ, (wanted,)).fetchone()
        read[wanted] = Event(
            id, FunctionRef(account, region, name), qualifier, request_id, trace, payload,
            accepted_ms, due_ms, attempt, deferrals, reason, tenant_id,
        )  # fmt: skip
    return read
