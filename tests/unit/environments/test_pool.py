"""The pool's bookkeeping: most recently used first, first come first served, and nobody waits without a start."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from lambent.environments.pool import Pool

_numbers = count()


@dataclass(eq=False)
class Member:
    idle_since_ns: int = 0
    is_provisioned: bool = False
    number: int = field(default_factory=lambda: next(_numbers))


def pool_with_idle(n: int) -> tuple[Pool[Member, str], list[Member]]:
    pool: Pool[Member, str] = Pool()
    members = [Member() for _ in range(n)]
    for i, member in enumerate(members):
        pool.start_begins()
        pool.start_ends(member)
        assert pool.free(member, now_ns=i) is None
    return pool, members


def test_the_most_recently_used_environment_goes_first() -> None:
    pool, (_, second) = pool_with_idle(2)
    assert pool.lease() is second
    assert pool.free(second, 10) is None
    assert pool.lease() is second


def test_a_provisioned_environment_goes_before_all_others() -> None:
    pool, (_, second) = pool_with_idle(2)
    provisioned = Member(is_provisioned=True)
    pool.join(provisioned)
    assert pool.free(provisioned, 1) is None
    assert pool.lease() is provisioned
    assert pool.lease() is second


def test_a_provisioned_environment_is_never_retired_for_room_or_for_its_age() -> None:
    pool, (first,) = pool_with_idle(1)
    provisioned = Member(is_provisioned=True)
    pool.join(provisioned)
    assert pool.free(provisioned, 0) is None
    assert pool.longest_idle is first
    assert list(pool.idle_members()) == [first, provisioned]
    pool.leave(first)
    assert pool.longest_idle is None
    assert pool.needs_environment  # of a request that is not provisioned's
    pool.leave(provisioned)
    assert pool.is_empty


def test_a_request_beyond_what_is_provisioned_takes_an_idle_environment_that_is_not() -> None:
    pool, (first,) = pool_with_idle(1)
    provisioned = Member(is_provisioned=True)
    pool.join(provisioned)
    assert pool.free(provisioned, 0) is None
    assert not pool.needs_environment
    assert pool.lease_on_demand() is first
    assert pool.needs_environment
    assert pool.lease_on_demand() is None
    assert pool.lease() is provisioned


def test_each_waiting_request_asks_for_one_start_beyond_those_under_way() -> None:
    pool: Pool[Member, str] = Pool()
    assert pool.needs_environment
    assert pool.wait("a") == 1
    pool.start_begins()
    assert pool.wait("b") == 1
    pool.start_begins()
    assert pool.wait("c") == 1
    assert pool.needs_environment


def test_whoever_is_free_first_serves_the_longest_waiting_and_the_later_one_stays_as_spare() -> None:
    pool, (busy,) = pool_with_idle(1)
    assert pool.lease() is busy
    pool.wait("a")
    pool.start_begins()
    assert pool.free(busy, 1) == "a"
    late = Member()
    pool.start_ends(late)
    assert pool.free(late, 2) is None
    assert pool.lease() is late


def test_withdrawn_work_is_not_served() -> None:
    pool, (member,) = pool_with_idle(1)
    pool.lease()
    pool.wait("a")
    assert pool.withdraw("a")
    assert not pool.withdraw("a")
    assert pool.free(member, 1) is None


def test_an_environment_that_lost_its_runtime_is_not_leased() -> None:
    pool, (member,) = pool_with_idle(1)
    pool.mend(member)
    assert pool.lease() is None
    assert member in pool.members


def test_who_waits_counts_on_an_environment_that_is_being_reset() -> None:
    pool, (member,) = pool_with_idle(1)
    pool.lease()
    pool.mend(member)
    assert not pool.needs_environment
    assert pool.wait("a") == 0
    assert pool.wait("b") == 1
    assert pool.free(member, 1) == "a"


def test_whoever_counted_on_an_environment_that_could_not_be_reset_misses_one_again() -> None:
    pool, (member,) = pool_with_idle(1)
    pool.lease()
    pool.mend(member)
    pool.wait("a")
    pool.leave(member)
    assert pool.missing == 1


def test_whoever_comes_while_one_is_about_to_be_free_waits_for_it_and_a_second_one_starts_another() -> None:
    pool, (member,) = pool_with_idle(1)
    pool.lease()
    pool.mend(member)  # answered, and not yet asking for the next event
    assert not pool.needs_environment
    assert pool.wait("a") == 0
    assert pool.needs_environment
    assert pool.wait("b") == 1
    assert pool.free(member, 1) == "a"
    assert member not in pool.mending


def test_more_ends_than_begins_is_a_bug() -> None:
    with pytest.raises(AssertionError):
        Pool[Member, str]().start_ends(None)


class PoolMachine(RuleBasedStateMachine):
    """Random sequences: no environment is in two places, no work is lost or served twice."""

    def __init__(self) -> None:
        super().__init__()
        self.pool: Pool[Member, int] = Pool()
        self.busy: set[Member] = set()
        self.served: list[int] = []
        self.submitted = 0
        self.now = 0

    @rule()
    def request(self) -> None:
        self.now += 1
        member = self.pool.lease()
        work = self.submitted
        self.submitted += 1
        if member is not None:
            assert member not in self.busy
            self.busy.add(member)
            self.served.append(work)
            return
        for _ in range(self.pool.wait(work)):
            self.pool.start_begins()

    def _free(self, member: Member) -> None:
        self.now += 1
        self.busy.discard(member)
        work = self.pool.free(member, self.now)
        if work is not None:
            self.busy.add(member)
            self.served.append(work)

    @precondition(lambda self: self.pool.starting > 0)
    @rule()
    def start_succeeds(self) -> None:
        member = Member()
        self.pool.start_ends(member)
        self._free(member)

    @precondition(lambda self: self.busy)
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        self._free(data.draw(st.sampled_from(sorted(self.busy, key=lambda m: m.number))))

    @precondition(lambda self: self.pool.idle)
    @rule()
    def retire_idle(self) -> None:
        self.pool.leave(next(iter(self.pool.idle_members())))

    @invariant()
    def work_is_served_in_order_and_once(self) -> None:
        assert self.served == sorted(set(self.served))
        assert len(self.served) + len(self.pool.waiting) == self.submitted

    @invariant()
    def nobody_waits_beside_an_idle_environment(self) -> None:
        assert not (self.pool.waiting and self.pool.idle)

    @invariant()
    def waiting_work_has_a_start_or_a_busy_member(self) -> None:
        assert len(self.pool.waiting) <= self.pool.starting + len(self.busy)

    @invariant()
    def members_are_idle_or_busy(self) -> None:
        assert len(self.pool.members) == self.pool.idle + len(self.busy)


TestPoolMachine = PoolMachine.TestCase
TestPoolMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
