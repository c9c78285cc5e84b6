"""Asynchronous invocation: accept, attempt, settle.

One dispatcher leases what is due and starts a task for each event, up to `RUNNING_MAX` at once. Two rules keep a busy
function from costing the others more than a turn:

- *Share*: a function gets another slot only while it runs fewer than `SHARE` times the slots that are free. One
  function alone gets four fifths of all, and there is always a free slot for a newcomer.
- *Window*: how many events of a function are under way at once starts small. While no attempt is throttled it grows
  with each that ran, and doubles whenever it has been full for WIDEN_MS: in the end long ones all run. A throttle says that
  there is room for those that run and for no more: an event that met one goes back to its place, unless it was the only
  one under way, and comes again when another ends, or after the waits of a throttled event, 1 s, 2 s, 4 s …, in case others
  of the function have ended. So a function at its limit runs its events one after the other without a gap, and writes no
  deferral to disk for each of those that wait.

What was accepted is settled once: a decision that cannot be stored is stored again until it can (the disk is full, say);
the attempt is not repeated for it. A crash at any point repeats at most the attempts under way. A record for a function
is an event itself, and is stored by the write that settles the event it tells of: it is neither lost nor sent twice.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from ..domain.clock import Clock
from ..domain.errors import DiskFull, ServiceFault
from ..domain.names import FunctionRef
from .destinations import Delivery, FailureSink, SuccessSink
from .queue import Event, EventQueue
from .retry import (
    Again,
    Condition,
    Decision,
    EventPolicy,
    Outcome,
    ServiceError,
    Settle,
    Throttled,
    after_attempt,
    before_attempt,
    deferral_ms,
)

RUNNING_MAX = 1_280
"""Events under way at once, of all functions; one function alone reaches 1,024 of them."""
SHARE = 4
WINDOW_FIRST = 16
"""Events of one function under way at once before anything is known about it."""
WIDEN_MS = 1_000
"""A window that has been full for so long is doubled, as long as nothing was throttled. A thousand long events all run after
six seconds; a thousand quick ones of a function that takes two to start do not start a thousand environments."""
WALL_CHECK_S = 1.0
"""While anything waits for a due time, the wall clock is read at least this often: somebody may have set it."""
STORE_AGAIN_S = 1.0
"""After a decision could not be stored, and after the queue could not be read."""

_log = logging.getLogger("lambent.invocations")


@dataclass(slots=True)
class _Flow:
    """What is under way of one function, and how much may be."""

    running: int = 0
    window: int = WINDOW_FIRST
    is_limited: bool = False
    """An attempt was throttled, ever."""
    ran: int = 0
    """Attempts that ran since the window grew, once it is limited."""
    widen_s: float | None = None
    """The loop's time at which a full window may be widened; None while it is not full."""
    was_throttled: bool = False
    """Since it was widened."""
    in_vain: int = 0
    """How often in a row it was widened for a throttle."""

    def throttled(self) -> bool:
        """An attempt was; answers whether others are under way, whose end makes room."""
        others = self.running - 1
        self.window, self.ran = max(1, others), 0
        self.is_limited = self.was_throttled = True
        return others > 0

    def has_run(self) -> None:
        """An attempt ran to its end."""
        self.ran += 1
        if not self.is_limited or self.ran >= self.window:
            self.window, self.ran = min(RUNNING_MAX, self.window + 1), 0

    @property
    def room(self) -> int:
        """How many more may be tried."""
        return max(0, self.window - self.running)

    def look(self, now_s: float) -> None:
        """Widen the window if it has been full for long enough. now_s: the loop's time."""
        if self.running < self.window:
            self.widen_s, self.in_vain = None, 0
            return
        if self.widen_s is not None and now_s >= self.widen_s:
            self.in_vain = self.in_vain + 1 if self.was_throttled else 0
            self.was_throttled = False
            self.window = self.running + 1 if self.is_limited else 2 * self.running
            self.widen_s = None
        if self.widen_s is None:
            self.widen_s = now_s + self._wait_s()

    def _wait_s(self) -> float:
        return (deferral_ms(self.in_vain) if self.is_limited else WIDEN_MS) / 1_000


class EventService:
    """The life of events between `202 Accepted` and their end. For use from one event loop."""

    def __init__(
        self,
        queue: EventQueue,
        clock: Clock,
        *,
        invoke: Callable[[Event], Awaitable[Outcome]],
        policy: Callable[[FunctionRef, str | None], EventPolicy],
        reserved: Callable[[FunctionRef], int | None],
        on_success: SuccessSink,
        on_failure: FailureSink,
        metric: Callable[[FunctionRef, str, int], None],
        has_room: Callable[[], bool] = lambda: True,
        running_max: int = RUNNING_MAX,
    ) -> None:
        """invoke: one attempt; resolves the qualifier, asks admission, runs, and answers whatever happened as a value.

        policy(ref, qualifier): the configuration in force now. reserved(ref): reserved concurrency or None.
        metric(ref, name, value): AsyncEventsReceived and AsyncEventsDropped in events, AsyncEventAge in milliseconds,
        DestinationDeliveryFailures in records. has_room: whether the disk is above its low-water mark.
        """
        self._queue = queue
        self._clock = clock
        self._invoke = invoke
        self._policy = policy
        self._reserved = reserved
        self._on_success = on_success
        self._on_failure = on_failure
        self._metric = metric
        self._has_room = has_room
        self._running_max = running_max
        self._flows: dict[FunctionRef, _Flow] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._dispatcher: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._widen_s: float | None = None
        """The loop's time at which the first full window of the last look may be widened."""
        self._stopping = False

    async def accept(
        self,
        ref: FunctionRef,
        qualifier: str | None,
        *,
        request_id: str,
        trace: str,
        payload: bytes,
        tenant_id: str = "",
    ) -> None:
        """Take an event; when this returns it is durable, and will be attempted whatever happens to this process.

        Raises DiskFull or ServiceFault; then nothing was taken.
        """
        if not self._has_room():
            raise DiskFull(
                "Free disk is below the low-water mark: no event is accepted until there is room "
                "(storage.disk_low_water_mb)."
            )
        now_ms = self._clock.wall_ms()
        event = Event(
            0, ref, qualifier, request_id, trace, payload, accepted_ms=now_ms, due_ms=now_ms, tenant_id=tenant_id
        )
        await self._queue.append(event)
        self._metric(ref, "AsyncEventsReceived", 1)
        self._wake.set()

    @property
    def running(self) -> int:
        """Events under way."""
        return len(self._tasks)

    def function_changed(self) -> None:
        """A function, its concurrency or its configuration changed: look at what waits at once."""
        self._wake.set()

    def start(self) -> None:
        """Begin to attempt what is due, first of all what was found at start."""
        if self._dispatcher is None and not self._stopping:
            self._dispatcher = asyncio.create_task(self._dispatch(), name="events")

    async def stop(self, grace_s: float) -> None:
        """Start nothing new, let what is under way finish for `grace_s`, cancel the rest and give its leases back."""
        self._stopping = True
        self._wake.set()
        try:
            if self._dispatcher is not None:
                await asyncio.wait({self._dispatcher})
            if self._tasks:
                await asyncio.wait(self._tasks, timeout=grace_s)
        finally:
            for task in self._tasks:
                task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        if self._dispatcher is not None:
            self._dispatcher.result()

    @asynccontextmanager
    async def serving(self, *, grace_s: float) -> AsyncIterator[EventService]:
        """Attempt events for the length of the block."""
        self.start()
        try:
            yield self
        finally:
            await self.stop(grace_s)

    async def _dispatch(self) -> None:
        while not self._stopping:
            self._wake.clear()
            free = self._running_max - len(self._tasks)
            self._widen_s = None
            leased: list[Event] = []
            if free > 0:
                try:
                    leased = await self._queue.lease(self._clock.wall_ms(), free, self._room)
                except ServiceFault as error:
                    _log.error("the event queue could not be read, trying again: %s", error)
                    await self._woken_within(STORE_AGAIN_S)
                    continue
            if self._stopping:  # while they were being read
                for event in leased:
                    self._queue.abandon(event)
                return
            for event in leased:
                self._begin(event)
            if leased:
                await asyncio.sleep(0)
                continue
            await self._woken_within(self._until_due_s())

    def _until_due_s(self) -> float | None:
        due_ms = self._queue.next_due_ms()
        waits = [] if due_ms is None else [WALL_CHECK_S, (due_ms - self._clock.wall_ms()) / 1_000]
        if self._widen_s is not None:
            waits.append(self._widen_s - asyncio.get_running_loop().time())
        return max(0.001, min(waits)) if waits else None

    async def _woken_within(self, seconds: float | None) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()

    def _room(self, ref: FunctionRef) -> int:
        """How many more events of this function may be started now."""
        free = self._running_max - len(self._tasks)
        flow = self._flows.get(ref)
        running = 0 if flow is None else flow.running
        # Each event started takes one of the free slots: running + n <= SHARE * (free - n).
        share = max((SHARE * free - running) // (SHARE + 1), 1 if running == 0 else 0)
        if flow is None or share <= 0:
            return min(share, WINDOW_FIRST)
        flow.look(asyncio.get_running_loop().time())
        room = min(share, flow.room)
        if room == 0 and flow.widen_s is not None:
            self._widen_s = flow.widen_s if self._widen_s is None else min(self._widen_s, flow.widen_s)
        return room

    def _begin(self, event: Event) -> None:
        flow = self._flows.get(event.ref)
        if flow is None:
            flow = self._flows[event.ref] = _Flow()
        flow.running += 1
        task = asyncio.get_running_loop().create_task(self._attempt(event, flow))
        self._tasks.add(task)
        task.add_done_callback(lambda done: self._ended(event, flow, done))

    def _ended(self, event: Event, flow: _Flow, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if flow.running == 0 and self._queue.count(event.ref) == 0:
            self._flows.pop(event.ref, None)
        self._wake.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            # A bug of ours: the event stays leased, and is attempted again after the next start.
            _log.critical("event %s of %s is stuck", event.request_id, event.invoked_arn, exc_info=error)

    async def _attempt(self, event: Event, flow: _Flow) -> None:
        try:
            try:
                decision, record = await self._decided(event, flow)
            except asyncio.CancelledError:
                self._queue.abandon(event)
                raise
            if decision is None:
                self._queue.abandon(event)
                return
            await self._stored(event, decision, record)
            if record is not None:
                self._metric(record.ref, "AsyncEventsReceived", 1)
                self._wake.set()
        finally:
            flow.running -= 1  # at once: who is throttled in the same turn of the loop is counted no longer

    async def _decided(self, event: Event, flow: _Flow) -> tuple[Decision | None, Event | None]:
        """One attempt, or the reason for none; what is reported about it has been reported. None: it goes back to its
        place. With the decision comes the event that is to be stored with it, where the record goes to a function."""
        outcome: Outcome | None = None
        policy, reserved = EventPolicy(), None
        try:
            policy, reserved = self._policy(event.ref, event.qualifier), self._reserved(event.ref)
        except Exception as error:  # a supervisor's, as below
            outcome = _broken(event, error)
        now_ms = self._clock.wall_ms()
        decision: Decision | None = before_attempt(event, policy, now_ms=now_ms, reserved=reserved)
        if decision is None:
            if outcome is None:
                self._metric(event.ref, "AsyncEventAge", max(0, now_ms - event.accepted_ms))
                outcome = await self._invoked(event)
            if isinstance(outcome, Throttled):
                if flow.throttled():
                    return None, None
            elif not isinstance(outcome, ServiceError):
                flow.has_run()
            now_ms = self._clock.wall_ms()
            decision = after_attempt(event, outcome, policy, now_ms=now_ms)
        if isinstance(decision, Settle):
            return decision, await self._reported(Delivery(event, decision, policy, outcome, now_ms))
        return decision, None

    async def _invoked(self, event: Event) -> Outcome:
        try:
            return await self._invoke(event)
        except Exception as error:  # a supervisor's: whatever broke, the event is not lost and nobody waits for it
            return _broken(event, error)

    async def _reported(self, delivery: Delivery) -> Event | None:
        ref = delivery.event.ref
        try:
            if delivery.settled.condition is not Condition.SUCCESS:
                self._metric(ref, "AsyncEventsDropped", 1)
                return await self._on_failure.failed(delivery)
            if delivery.policy.on_success is not None:
                return await self._on_success.succeeded(delivery)
        except Exception:  # a supervisor's: a record that cannot be delivered is lost, and counted; published behaviour
            self._metric(ref, "DestinationDeliveryFailures", 1)
            _log.exception("the record of event %s of %s was lost", delivery.event.request_id, ref.arn())
        return None

    async def _stored(self, event: Event, decision: Decision, record: Event | None) -> None:
        while True:
            try:
                if isinstance(decision, Again):
                    await self._queue.release(decision.event)
                else:
                    await self._queue.settle(event, record)
                return
            except ServiceFault as error:
                _log.error("the end of an attempt of event %s could not be stored: %s", event.request_id, error)
            try:
                await asyncio.sleep(STORE_AGAIN_S)
            except asyncio.CancelledError:
                self._queue.abandon(event)
                raise


def _broken(event: Event, error: Exception) -> ServiceError:
    _log.error("an attempt of event %s of %s failed", event.request_id, event.invoked_arn, exc_info=error)
    return ServiceError(f"{type(error).__name__}: {error}")
