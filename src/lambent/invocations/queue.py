"""The queue of asynchronous invocations: what it promises, and the bookkeeping that its implementations share.

An event is *waiting*, *leased* or *closing*: who leases one owns it until it is settled (done with), released (tried
again later) or abandoned (given back untouched). Leases live in memory; what was accepted and not settled is waiting
again after a restart, whatever was under way.

Each function has a lane of its own, and leasing goes round the lanes, so that a function with a million events, or
one that is throttled, costs the others one turn.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from ..domain.names import LATEST, FunctionRef

EVENTS_MAX = 1_000_000
"""Events of all functions that may wait; over it, accepting answers ServiceFault."""


@dataclass(frozen=True, slots=True)
class Event:
    """One accepted asynchronous invocation."""

    id: int
    """The queue's own number, 0 before it is accepted; grows with acceptance."""
    ref: FunctionRef
    qualifier: str | None
    """As the caller wrote it; resolved anew for each attempt."""
    request_id: str
    """The same for all attempts."""
    trace: str
    """X-Amzn-Trace-Id; its root is the same for all attempts."""
    payload: bytes
    """JSON, at most 1 MB."""
    accepted_ms: int
    """Wall clock, milliseconds since the epoch."""
    due_ms: int
    """Not before this moment of the wall clock."""
    attempt: int = 0
    """Attempts that ended in a function error."""
    deferrals: int = 0
    """Throttles and system errors in a row."""
    reason: str | None = None
    """Why the last attempt failed."""
    tenant_id: str = ""
    """Whose the event is, for functions with tenant isolation."""

    @property
    def invoked_arn(self) -> str:
        """The ARN with the qualifier the caller used, if any."""
        return self.ref.arn(self.qualifier)

    @property
    def qualified_arn(self) -> str:
        """The ARN with a qualifier in any case, as destination records carry it."""
        return self.ref.arn(self.qualifier or LATEST)


class NotLeased(RuntimeError):
    """Somebody settles, releases or abandons an event that he does not hold: a bug."""


class EventQueue(Protocol):
    """Durable, at least once, fair between functions. `tests/contracts/test_event_queue.py` states the rules."""

    async def append(self, event: Event) -> Event:
        """Store a new event (its `id` is ignored); answer it with its id once it is durable.

        Raises ServiceFault when too much waits, DiskFull when the disk does not take it: then nothing is stored.
        """

    async def lease(self, now_ms: int, limit: int, room: Callable[[FunctionRef], int]) -> list[Event]:
        """Lease up to `limit` events that are due, of each function up to `room(ref)` and in order of due time.

        Functions take turns. now_ms: wall clock.
        """

    async def settle(self, event: Event, successor: Event | None = None) -> None:
        """Done with a leased event: it is gone once this returns. A failure leaves it leased.

        successor: a new event (its `id` is ignored) that is stored by the same write, so that a crash leaves one of the
        two and never neither. It is taken however much waits: the event it comes from has just left.
        """

    async def release(self, event: Event) -> None:
        """Store a leased event's due time, attempt, deferrals and reason, and let it wait. A failure leaves it leased."""

    def abandon(self, event: Event) -> None:
        """Give a lease back; the event waits as before."""

    def next_due_ms(self) -> int | None:
        """The earliest due time of a function that has nothing due yet; None if there is no such function."""

    def count(self, ref: FunctionRef) -> int:
        """Events of one function that are not settled."""

    def oldest_accepted_ms(self, ref: FunctionRef) -> int | None:
        """When the first accepted of one function's unsettled events was accepted."""

    def __len__(self) -> int:
        """Events of all functions that are not settled."""


class Hold(Enum):
    WAITING, LEASED, CLOSING = range(3)


@dataclass(slots=True, eq=False)
class _Entry:
    ref: FunctionRef
    due_ms: int
    accepted_ms: int
    hold: Hold = Hold.WAITING


class _Lane:
    """One function's events; on the ready list, in the timers, or (nothing waits) in neither."""

    __slots__ = ("accepted", "count", "is_ready", "ref", "timer_ms", "waiting")

    def __init__(self, ref: FunctionRef) -> None:
        self.ref = ref
        self.waiting: list[tuple[int, int]] = []  # heap of (due_ms, id)
        self.accepted: deque[int] = deque()  # ids in order of acceptance; settled ones leave when they are met
        self.count = 0
        self.is_ready = False
        self.timer_ms: int | None = None


class Backlog:
    """Who waits, who is leased, whose turn it is. Synchronous, without a clock."""

    def __init__(self) -> None:
        self._entries: dict[int, _Entry] = {}
        self._lanes: dict[FunctionRef, _Lane] = {}
        self._ready: dict[FunctionRef, _Lane] = {}  # in order of their turn
        self._timers: list[tuple[int, int, _Lane]] = []  # heap of (due_ms, tie-break, lane), stale ones included
        self._timers_pushed = 0

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, id: int, ref: FunctionRef, due_ms: int, accepted_ms: int) -> None:
        """A new event waits."""
        self._entries[id] = _Entry(ref, due_ms, accepted_ms)
        lane = self._lanes.get(ref)
        if lane is None:
            lane = self._lanes[ref] = _Lane(ref)
        lane.count += 1
        lane.accepted.append(id)
        if len(lane.accepted) > 2 * lane.count + 64:
            lane.accepted = deque(kept for kept in lane.accepted if kept in self._entries)
        self._wait(lane, due_ms, id)

    def take(self, now_ms: int, limit: int, room: Callable[[FunctionRef], int]) -> list[int]:
        """WAITING → LEASED for events that are due, one of each function in turn; answer their ids."""
        while self._timers and self._timers[0][0] <= now_ms:
            due_ms, _, lane = heapq.heappop(self._timers)
            if lane.timer_ms == due_ms:
                lane.timer_ms = None
                lane.is_ready = True
                self._ready[lane.ref] = lane
        taken: list[int] = []
        rooms: dict[FunctionRef, int] = {}
        turn = list(self._ready.values())
        while turn and len(taken) < limit:
            again: list[_Lane] = []
            for lane in turn:
                if len(taken) == limit:
                    break
                if not lane.waiting or lane.waiting[0][0] > now_ms:  # the latter after the clock was set back
                    self._rest(lane)
                    continue
                left = rooms[lane.ref] if lane.ref in rooms else room(lane.ref)
                if left <= 0:
                    continue
                rooms[lane.ref] = left - 1
                _, id = heapq.heappop(lane.waiting)
                self._entries[id].hold = Hold.LEASED
                taken.append(id)
                del self._ready[lane.ref]
                self._ready[lane.ref] = lane  # its next turn comes after all others'
                again.append(lane)
            turn = again
        return taken

    def begin_close(self, id: int) -> None:
        """LEASED → CLOSING: the lease's end is being stored."""
        self._move(id, Hold.LEASED, Hold.CLOSING)

    def fail_close(self, id: int) -> None:
        """CLOSING → LEASED: it could not be stored."""
        self._move(id, Hold.CLOSING, Hold.LEASED)

    def settle(self, id: int) -> None:
        """CLOSING → gone."""
        entry = self._move(id, Hold.CLOSING, Hold.CLOSING)
        del self._entries[id]
        lane = self._lanes[entry.ref]
        lane.count -= 1
        if lane.count == 0:
            del self._lanes[entry.ref]
            self._ready.pop(entry.ref, None)
            lane.timer_ms = None

    def release(self, id: int, due_ms: int) -> None:
        """CLOSING → WAITING, until `due_ms`."""
        entry = self._move(id, Hold.CLOSING, Hold.WAITING)
        entry.due_ms = due_ms
        self._wait(self._lanes[entry.ref], due_ms, id)

    def abandon(self, id: int) -> None:
        """LEASED → WAITING, due as before."""
        entry = self._move(id, Hold.LEASED, Hold.WAITING)
        self._wait(self._lanes[entry.ref], entry.due_ms, id)

    def next_due_ms(self) -> int | None:
        while self._timers and self._timers[0][2].timer_ms != self._timers[0][0]:
            heapq.heappop(self._timers)
        return self._timers[0][0] if self._timers else None

    def count(self, ref: FunctionRef) -> int:
        lane = self._lanes.get(ref)
        return 0 if lane is None else lane.count

    def oldest_accepted_ms(self, ref: FunctionRef) -> int | None:
        lane = self._lanes.get(ref)
        if lane is None:
            return None
        while lane.accepted[0] not in self._entries:
            lane.accepted.popleft()
        return self._entries[lane.accepted[0]].accepted_ms

    def hold(self, id: int) -> Hold | None:
        """Where an event stands; None when it is settled or was never there."""
        entry = self._entries.get(id)
        return None if entry is None else entry.hold

    def _move(self, id: int, origin: Hold, target: Hold) -> _Entry:
        entry = self._entries.get(id)
        if entry is None or entry.hold is not origin:
            raise NotLeased(f"event {id} is {'settled' if entry is None else entry.hold.name}, not {origin.name}")
        entry.hold = target
        return entry

    def _wait(self, lane: _Lane, due_ms: int, id: int) -> None:
        heapq.heappush(lane.waiting, (due_ms, id))
        if not lane.is_ready and (lane.timer_ms is None or due_ms < lane.timer_ms):
            self._set_timer(lane, due_ms)

    def _rest(self, lane: _Lane) -> None:
        """A lane with nothing due leaves the ready list."""
        del self._ready[lane.ref]
        lane.is_ready = False
        if lane.waiting:
            self._set_timer(lane, lane.waiting[0][0])

    def _set_timer(self, lane: _Lane, due_ms: int) -> None:
        lane.timer_ms = due_ms
        self._timers_pushed += 1
        heapq.heappush(self._timers, (due_ms, self._timers_pushed, lane))
