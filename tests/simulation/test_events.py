"""Asynchronous invocation through crashes: hours of virtual time on the real queue code and a real SQLite database.

Each run is decided by its seed: what is accepted, how attempts end and how long they take, how long a commit takes,
when the wall clock jumps and at which step of the event loop the process dies. A death takes the writer's pending
commits with it, or lets them reach the disk without anybody hearing of it. The seed is printed when a run fails;
LAMBENT_SIMULATION_SEEDS=n runs more of them.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any, cast

import pytest
from tests.simulation.virtual_time import run_virtual

from lambent.concurrency.admission import Admission, Kind, Throttle
from lambent.domain.clock import ManualClock
from lambent.domain.errors import ServiceFault
from lambent.domain.names import FunctionRef, Scope
from lambent.invocations.destinations import Delivery
from lambent.invocations.events import EventService
from lambent.invocations.queue import Event
from lambent.invocations.retry import (
    Condition,
    EventPolicy,
    FunctionError,
    NotFound,
    Outcome,
    ServiceError,
    Success,
    Throttled,
)
from lambent.stores.queue_sqlite import MIGRATIONS, SqliteEvents
from lambent.stores.writer import Writer

SEEDS = int(os.environ.get("LAMBENT_SIMULATION_SEEDS", "12"))
REFS = [FunctionRef("123456789012", "us-east-1", name) for name in ("steady", "failing", "busy", "off", "gone")]
STEADY, FAILING, BUSY, OFF, GONE = REFS
RECORDS = FunctionRef("123456789012", "us-east-1", "records")
"""Gets a record of each event that STEADY and FAILING end."""
SCOPE = Scope("123456789012", "us-east-1")
POLICIES = {
    FAILING: EventPolicy(retries_max=2, age_max_s=3_600),
    BUSY: EventPolicy(retries_max=1, age_max_s=7_200),
    STEADY: EventPolicy(on_success="arn:aws:sqs:us-east-1:123456789012:done"),
}
RUNNING_MAX = 24


class SimulatedWriter:
    """A `Writer` whose disk outlives it and whose commits take virtual time, fail now and then, and can be cut off."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._disk = world.disk
        self._dice = world.dice
        self._pending: list[tuple[asyncio.Future[Any], Callable[[], Any]]] = []
        self._alive = True

    def read_at_start(self, fn: Callable[[sqlite3.Connection], Any]) -> Any:
        return fn(self._disk)

    def append(self, sql: str, parameters: Sequence[Any], *, weight: int = 0) -> asyncio.Future[None]:
        def run() -> None:
            changed = self._disk.execute(sql, parameters).rowcount
            self._world.demand(changed == 1, f"{sql} met {changed} rows: settled or released twice")

        return self._submit(run)

    def transact(self, fn: Callable[[sqlite3.Connection], Any], *, weight: int = 0) -> asyncio.Future[Any]:
        return self._submit(lambda: fn(self._disk))

    def die(self) -> None:
        if self._pending and self._dice.random() < 0.5:
            for _, run in self._pending:
                run()
        self._alive = False

    def _submit(self, run: Callable[[], Any]) -> asyncio.Future[Any]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        if not self._pending:
            loop.call_later(self._dice.choice([0.001, 0.003, 0.05]), self._commit)
        self._pending.append((future, run))
        return future

    def _commit(self) -> None:
        if not self._alive:
            return
        batch, self._pending = self._pending, []
        fails = self._dice.random() < 0.02
        for future, run in batch:
            value = None if fails else run()
            if future.done():
                continue
            if fails:
                future.set_exception(ServiceFault("the disk had a bad moment"))
            else:
                future.set_result(value)


class World:
    """What outlives a crash: the disk, the clients, the functions, and the book-keeping of the test."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.clock = ManualClock()
        self.disk = sqlite3.connect(":memory:", isolation_level=None)
        for migration in sorted(MIGRATIONS.glob("*.sql")):
            self.disk.executescript(migration.read_text())
        self.jumps = self.dice.random() < 0.3
        self.crashes = 0
        self.accepted: dict[str, FunctionRef] = {}
        self.attempts: defaultdict[str, int] = defaultdict(int)
        self.failures: defaultdict[str, int] = defaultdict(int)
        self.failed_at_ns: dict[str, int] = {}
        self.failed_in_life: dict[str, int] = {}
        self.ends: defaultdict[str, list[Condition]] = defaultdict(list)
        self.running: defaultdict[str, int] = defaultdict(int)
        self.records: defaultdict[str, int] = defaultdict(int)
        self.admission = Admission()
        self.broken: list[str] = []

    def demand(self, holds: bool, promise: str) -> None:
        """Remember a broken promise; an exception would be just another failure to what is tested."""
        if not holds:
            self.broken.append(promise)

    def rows(self) -> set[str]:
        return {row[0] for row in self.disk.execute("SELECT request_id FROM events")}

    async def invoke(self, event: Event) -> Outcome:
        name = event.request_id
        self.demand(name in self.rows(), f"{name} was settled and is attempted again")
        self.demand(self.running[name] == 0, f"{name} is attempted twice at once")
        failed_ns = self.failed_at_ns.pop(name, None)
        if failed_ns is not None and not self.jumps and self.failed_in_life[name] == self.crashes:
            waited_s = (self.clock.monotonic_ns() - failed_ns) / 1e9
            self.demand(waited_s >= 59.9, f"{name} was tried again {waited_s} s after a function error")
        if event.ref == RECORDS:
            self.records[name] += 1
            self.demand(
                name.removeprefix("record of ") not in self.rows(), f"{name} runs, and its event is not settled"
            )
            return Success(b"null", "$LATEST")
        if event.ref == GONE and self.dice.random() < 0.5:
            return NotFound("Function not found")
        ticket = self.admission.enter(event.ref, self.clock.monotonic_ns(), False, Kind.EVENT)
        if isinstance(ticket, Throttle):
            return Throttled(ticket.reason.value)
        self.running[name] += 1
        self.attempts[name] += 1
        try:
            await asyncio.sleep(self.dice.choice([0.002, 0.1, 1, 30]))
        finally:
            self.running[name] -= 1
            self.admission.leave(ticket)
        roll = self.dice.random()
        if roll < 0.05:
            raise ConnectionResetError("the environment is gone")
        if roll < 0.1:
            return ServiceError("no sandbox")
        if event.ref == FAILING or roll < 0.25:
            self.failures[name] += 1
            self.failed_at_ns[name] = self.clock.monotonic_ns()
            self.failed_in_life[name] = self.crashes
            return FunctionError(b"{}", "Unhandled", "$LATEST")
        return Success(b"{}", "$LATEST")

    async def succeeded(self, delivery: Delivery) -> Event | None:
        return await self.failed(delivery)

    async def failed(self, delivery: Delivery) -> Event | None:
        event = delivery.event
        self.ends[event.request_id].append(delivery.settled.condition)
        await asyncio.sleep(self.dice.choice([0, 0.01]))
        if event.ref not in (STEADY, FAILING):
            return None
        now_ms = delivery.now_ms
        return Event(0, RECORDS, None, f"record of {event.request_id}", "", delivery.record(), now_ms, now_ms)


async def one_life(world: World, lasts_s: float, steps: int, events: int) -> None:
    """A server from start to SIGKILL: `lasts_s` of virtual time, then `steps` more turns of the event loop."""
    writer = SimulatedWriter(world)
    queue = SqliteEvents(cast(Writer, writer), cache_bytes_max=world.dice.choice([0, 20_000, 1_000_000]))
    assert len(queue) == len(world.rows())
    service = EventService(
        queue,
        world.clock,
        invoke=world.invoke,
        policy=lambda ref, qualifier: POLICIES.get(ref, EventPolicy()),
        reserved=lambda ref: 0 if ref == OFF else world.admission.reserved(ref),
        on_success=world,
        on_failure=world,
        metric=lambda ref, name, value: None,
        running_max=RUNNING_MAX,
    )

    async def client(number: int) -> None:
        for i in range(events):
            await asyncio.sleep(world.dice.random() * 20)
            name = f"{world.crashes}-{number}-{i}"
            ref = world.dice.choice(REFS)
            try:
                await service.accept(ref, None, request_id=name, trace="", payload=b"{}" * world.dice.randint(1, 500))
            except ServiceFault:
                continue
            # Durable before the answer: still there, or already attempted or discarded.
            world.demand(
                name in world.rows() or world.attempts[name] > 0 or bool(world.ends[name]), f"{name} is not durable"
            )
            world.accepted[name] = ref

    service.start()
    clients = [asyncio.create_task(client(n)) for n in range(4)]
    await asyncio.sleep(lasts_s)
    for _ in range(steps):
        await asyncio.sleep(0)
    assert service.running <= RUNNING_MAX
    writer.die()
    us = asyncio.current_task()
    victims = [task for task in asyncio.all_tasks() if task is not us]
    for task in victims:
        task.cancel()
    for result in await asyncio.gather(*victims, *clients, return_exceptions=True):
        if isinstance(result, BaseException) and not isinstance(result, asyncio.CancelledError):
            raise result
    world.crashes += 1
    if world.jumps:
        world.clock.jump_wall(world.dice.uniform(-1_800, 1_800))


async def simulated(world: World) -> None:
    world.admission.set_reserved(BUSY, 2)
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: world.demand(False, str(context)))
    for _ in range(world.dice.randint(1, 12)):
        await one_life(
            world, world.dice.choice([0, 0.01, 5, 61, 200, 1_000]), world.dice.randint(0, 40), world.dice.randint(0, 12)
        )
    lives = 0
    while world.rows():
        await one_life(world, 8 * 3_600, 0, 0)
        lives += 1
        assert lives < 4, f"after {lives * 8} quiet hours {len(world.rows())} events are not settled"


def verified(world: World) -> None:
    assert not world.broken
    assert world.admission.running_in(SCOPE) == 0
    for name, ref in world.accepted.items():
        ends = set(world.ends[name])
        assert len(world.ends[name]) <= 1 + world.crashes, f"{name} was reported {world.ends[name]}"
        if ref == OFF:
            assert ends == {Condition.ZERO_RESERVED}
            assert world.attempts[name] == 0
        elif ref == STEADY:
            assert ends, f"{name} ended without a word"  # both of its ends are reported
        elif not ends:
            assert world.attempts[name] > 0, f"{name} was accepted and never attempted"
        if ref in (STEADY, FAILING) and ends:
            told = world.records[f"record of {name}"]
            assert 1 <= told <= 1 + world.crashes, f"the record of {name} was delivered {told} times"
        limit = POLICIES.get(ref, EventPolicy()).retries_max + 1
        assert world.failures[name] <= limit + world.crashes


@pytest.mark.parametrize("seed", range(SEEDS))
def test_nothing_accepted_is_lost_and_nothing_is_settled_twice(seed: int, caplog: pytest.LogCaptureFixture) -> None:
    world = World(seed)
    print(f"seed {seed}")
    with closing(world.disk):
        run_virtual(world.clock, simulated(world))
        verified(world)
    assert [record for record in caplog.records if record.levelno >= logging.CRITICAL] == []
