"""The service's rules of concurrency, scaling and request rates, written down a second time in plain words, next to what
decides in the server.

The model keeps every running invocation in a list and every bucket as tokens that are counted exactly; it knows nothing of
how `Admission` keeps them. A seed decides who calls whom, how long invocations take, which environments are idle, when
shares and limits move, and how time passes; each decision, and each reason, must be the model's.
LAMBENT_SIMULATION_SEEDS=n runs more of them. Source: Developer guide, "Understanding Lambda function scaling",
"Configuring reserved concurrency", "Configuring provisioned concurrency"; TooManyRequestsException.
"""

from __future__ import annotations

import os
import random
from dataclasses import dataclass, field
from fractions import Fraction

import pytest

from lambent.concurrency.admission import Admission, Kind, Reason, Throttle, Ticket
from lambent.domain.names import FunctionRef, Scope

SEEDS = int(os.environ.get("LAMBENT_SIMULATION_SEEDS", "12"))
STEPS = 1_000
SCOPE = Scope("123456789012", "us-east-1")
NAMES = ("web", "batch", "reports", "thumbnails")
REFS = {name: FunctionRef(SCOPE.account, SCOPE.region, name) for name in NAMES}
S = 1_000_000_000
SHORT_NS, LONG_NS = (0, 1_000_000), (20_000_000, S, 40 * S)
WEATHERS = (
    # account's limit, how long invocations take, how many in a row, the share of them that is synchronous
    (3, SHORT_NS, (1, 5), 0.9),
    (40, SHORT_NS, (1, 20), 0.8),
    (40, LONG_NS, (1, 5), 0.5),
    (200, SHORT_NS + LONG_NS, (1, 20), 0.7),
    (2_500, SHORT_NS, (1, 50), 0.1),
    (1_000, LONG_NS, (1, 10), 0.5),
)
"""In long ones concurrency decides, in short ones the request rates, in floods of events the scaling rate."""
HAIR = Fraction(1, 1_000)
"""Of a token: the server rounds the time between two to a nanosecond, against the caller; so near the edge either holds."""


@dataclass
class Bucket:
    """So many tokens at most, so many more each second."""

    tokens: Fraction = Fraction(0)
    size: Fraction = Fraction(0)
    at_ns: int = 0

    def look(self, now_ns: int, size: int, per_s: int) -> Fraction:
        """How many there are now. A bucket that gets another size keeps the share that is in it."""
        if self.size == 0:
            self.tokens = Fraction(size)
        elif self.size != size:
            self.tokens = self.tokens * size / self.size
        passed = Fraction(now_ns - self.at_ns, S)
        self.tokens = min(Fraction(size), self.tokens + passed * per_s)
        self.size, self.at_ns = Fraction(size), now_ns
        return self.tokens


@dataclass
class Function:
    reserved: int | None = None
    provisioned: int = 0
    environments: Bucket = field(default_factory=Bucket)
    requests: Bucket = field(default_factory=Bucket)
    provisioned_requests: Bucket = field(default_factory=Bucket)


@dataclass(eq=False)
class Running:
    name: str
    is_provisioned: bool
    until_ns: int
    ticket: Ticket
    is_forgotten: bool = False


class Model:
    """The account, as the published pages describe it."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.functions: dict[str, Function] = {}
        self.requests = Bucket()
        self.running: list[Running] = []

    def of(self, name: str) -> Function:
        return self.functions.setdefault(name, Function())

    def unreserved(self) -> int:
        """The account's limit less reserved shares, and less provisioned environments that are in none."""
        return self.limit - sum(
            one.provisioned if one.reserved is None else one.reserved for one in self.functions.values()
        )

    def busy(self, name: str, *, provisioned: bool | None = None) -> int:
        return sum(
            one.name == name and not one.is_forgotten and provisioned in (None, one.is_provisioned)
            for one in self.running
        )

    def judge(self, name: str, now_ns: int, needs: bool, kind: Kind, has_provisioned: bool) -> set[str]:
        """What may be answered: "provisioned", "on demand", or a reason; two of them at the edge of a bucket."""
        function = self.of(name)
        answers: set[str] = set()
        if has_provisioned and function.provisioned and self._has_provisioned_room(name, function):
            if kind is Kind.EVENT:
                return {"provisioned"}
            rate = 10 * function.provisioned
            edge = function.provisioned_requests.look(now_ns, rate, rate) - 1
            if edge >= 0:
                answers.add("provisioned")
            if edge >= HAIR:
                return answers
            if edge < -HAIR:
                answers.clear()
        return answers | self._on_demand(name, function, now_ns, needs, kind)

    def _has_provisioned_room(self, name: str, function: Function) -> bool:
        return (
            self.busy(name, provisioned=True) < function.provisioned
            and len(self.running) < self.limit
            and (function.reserved is None or self.busy(name) < function.reserved)
        )

    def _on_demand(self, name: str, function: Function, now_ns: int, needs: bool, kind: Kind) -> set[str]:
        if function.reserved is None:
            busy = sum(
                not one.is_provisioned and (one.is_forgotten or self.of(one.name).reserved is None)
                for one in self.running
            )
            if busy >= self.unreserved() or len(self.running) >= self.limit:
                return {Reason.ACCOUNT_CONCURRENCY.value}
            share, bucket, reason = self.unreserved(), self.requests, Reason.ACCOUNT_RATE
        else:
            on_demand = self.busy(name, provisioned=False)
            if self.busy(name) >= function.reserved or on_demand >= function.reserved - function.provisioned:
                return {Reason.RESERVED_CONCURRENCY.value}
            if len(self.running) >= self.limit:
                return {Reason.ACCOUNT_CONCURRENCY.value}
            share, bucket, reason = function.reserved, function.requests, Reason.RESERVED_RATE
        answers = set()
        if kind is Kind.SYNC:
            edge = bucket.look(now_ns, 10 * share, 10 * share) - 1
            if edge < HAIR:
                answers.add(reason.value)
            if edge < -HAIR:
                return answers
        if needs:
            edge = function.environments.look(now_ns, 1_000, 100) - 1
            if edge < HAIR:
                answers.add(Reason.SCALING_RATE.value)
            if edge < -HAIR:
                return answers
        return answers | {"on demand"}

    def granted(self, name: str, now_ns: int, needs: bool, kind: Kind, ticket: Ticket) -> None:
        """Take what it costs."""
        function = self.of(name)
        if ticket.is_provisioned:
            if kind is Kind.SYNC:
                rate = 10 * function.provisioned
                function.provisioned_requests.look(now_ns, rate, rate)
                function.provisioned_requests.tokens -= 1
            return
        if kind is Kind.SYNC:
            share = self.unreserved() if function.reserved is None else function.reserved
            bucket = self.requests if function.reserved is None else function.requests
            bucket.look(now_ns, 10 * share, 10 * share)
            bucket.tokens -= 1
        if needs:
            function.environments.look(now_ns, 1_000, 100)
            function.environments.tokens -= 1


class World:
    """Both, asked the same."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        limit, self.lasts_ns, self.in_a_row, self.synchronous = WEATHERS[seed % len(WEATHERS)]
        self.model, self.admission = Model(limit), Admission(account_limit=limit)
        self.now_ns = 5 * S
        self.seen: dict[str, int] = {}

    def call(self, name: str) -> None:
        dice, model = self.dice, self.model
        kind = Kind.SYNC if dice.random() < self.synchronous else Kind.EVENT
        needs = dice.random() < 0.6
        free = model.of(name).provisioned - model.busy(name, provisioned=True)
        has_provisioned = free > 0 and dice.random() < 0.9
        expected = model.judge(name, self.now_ns, needs, kind, has_provisioned)
        answer = self.admission.enter(REFS[name], self.now_ns, needs, kind, has_provisioned)
        if isinstance(answer, Throttle):
            found = answer.reason.value
        else:
            found = "provisioned" if answer.is_provisioned else "on demand"
            model.granted(name, self.now_ns, needs, kind, answer)
            lasts_ns = dice.choice(self.lasts_ns)
            model.running.append(Running(name, answer.is_provisioned, self.now_ns + lasts_ns, answer))
        assert found in expected, (name, kind, needs, has_provisioned, self.now_ns)
        self.seen[found] = self.seen.get(found, 0) + 1

    def pass_time(self) -> None:
        dice = self.dice
        self.now_ns += dice.choice([0, 7_919, dice.randrange(2_000_000), dice.randrange(S // 20)])
        if dice.random() < 0.003:
            self.now_ns += dice.randrange(30 * S)
        for one in [one for one in self.model.running if one.until_ns <= self.now_ns]:
            self.model.running.remove(one)
            self.admission.leave(one.ticket)

    def move(self) -> None:
        """Somebody changes a setting."""
        dice, model, admission = self.dice, self.model, self.admission
        name = dice.choice(NAMES)
        function = model.of(name)
        what = dice.random()
        if what < 0.4:
            function.reserved = dice.choice([None, None, 0, 1, model.limit // 5, model.limit // 2])
            admission.set_reserved(REFS[name], function.reserved)
        elif what < 0.7:
            function.provisioned = dice.choice([0, 1, 3, model.limit // 10])
            admission.set_provisioned(REFS[name], function.provisioned)
        elif what < 0.8:
            model.limit = dice.choice([3, 40, 200, 2_500])
            admission.set_account_limit(SCOPE, model.limit)
        elif what < 0.85:
            for one in model.running:
                one.is_forgotten = one.is_forgotten or one.name == name
            model.functions.pop(name)
            admission.forget(REFS[name])

    def agree(self) -> None:
        assert self.admission.running_in(SCOPE) == len(self.model.running)
        assert self.admission.unreserved(SCOPE) == max(0, self.model.unreserved())
        for name in NAMES:
            assert self.admission.running(REFS[name]) == self.model.busy(name)


def run(seed: int) -> World:
    world = World(seed)
    for number in range(STEPS):
        world.pass_time()
        if world.dice.random() < 0.01:
            world.move()
        name = world.dice.choice(NAMES)
        for _ in range(world.dice.choice(world.in_a_row)):
            world.call(name)
        if number % 50 == 0:
            world.agree()
    world.now_ns += 100 * S
    world.pass_time()
    world.agree()
    return world


@pytest.mark.parametrize("seed", range(SEEDS))
def test_every_decision_is_the_one_that_the_published_rules_give(seed: int) -> None:
    world = run(seed)
    assert world.admission.running_in(SCOPE) == 0
    assert {"on demand"} < set(world.seen), "a run without a throttle shows nothing"


def test_the_weathers_bring_every_answer_there_is() -> None:
    """Or agreement would prove little."""
    seen = {answer for seed in range(len(WEATHERS)) for answer in run(seed).seen}
    assert seen == {"on demand", "provisioned", *(reason.value for reason in Reason)}
