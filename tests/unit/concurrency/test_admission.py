"""Admission: shares, caps, rates and their published reasons."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lambent.concurrency.admission import Admission, Kind, Reason, Throttle, Ticket, TicketReturned
from lambent.domain.names import FunctionRef, Scope

SCOPE = Scope("123456789012", "us-east-1")
ELSEWHERE = Scope("123456789012", "eu-west-1")
A, B, C = (FunctionRef(SCOPE.account, SCOPE.region, name) for name in "abc")
SECOND = 1_000_000_000
NOW = 5 * SECOND


def enter(admission: Admission, ref: FunctionRef, n: int = 1, *, kind: Kind = Kind.EVENT) -> list[Ticket]:
    tickets = [admission.enter(ref, NOW, False, kind) for _ in range(n)]
    assert all(isinstance(ticket, Ticket) for ticket in tickets)
    return [ticket for ticket in tickets if isinstance(ticket, Ticket)]


def refused(admission: Admission, ref: FunctionRef, *, kind: Kind = Kind.EVENT, new: bool = False) -> str:
    answer = admission.enter(ref, NOW, new, kind)
    assert isinstance(answer, Throttle)
    return answer.reason.value


def test_the_account_limit_is_shared_by_all_functions_of_a_scope() -> None:
    admission = Admission(account_limit=3)
    tickets = enter(admission, A, 2) + enter(admission, B)
    assert refused(admission, C) == "ConcurrentInvocationLimitExceeded"
    enter(admission, FunctionRef(ELSEWHERE.account, ELSEWHERE.region, "a"))
    admission.leave(tickets[0])
    enter(admission, C)
    assert (admission.running(A), admission.running(B), admission.running(C)) == (1, 1, 1)
    assert (admission.running_in(SCOPE), admission.running_in(ELSEWHERE)) == (3, 1)


def test_reserved_concurrency_is_a_carve_out() -> None:
    admission = Admission(account_limit=10)
    admission.set_reserved(A, 4)
    assert admission.unreserved(SCOPE) == 6
    enter(admission, B, 6)
    assert refused(admission, C) == "ConcurrentInvocationLimitExceeded"
    enter(admission, A, 4)


def test_reserved_concurrency_is_a_cap() -> None:
    admission = Admission(account_limit=10)
    admission.set_reserved(A, 2)
    enter(admission, A, 2)
    assert refused(admission, A) == "ReservedFunctionConcurrentInvocationLimitExceeded"


def test_reserved_zero_switches_the_function_off() -> None:
    admission = Admission()
    admission.set_reserved(A, 0)
    assert refused(admission, A, kind=Kind.SYNC) == "ReservedFunctionConcurrentInvocationLimitExceeded"
    admission.set_reserved(A, None)
    enter(admission, A)


def test_a_share_taken_while_others_run_never_lifts_the_account_above_its_limit() -> None:
    admission = Admission(account_limit=10)
    others = enter(admission, B, 10)
    admission.set_reserved(A, 5)
    assert refused(admission, A) == "ConcurrentInvocationLimitExceeded"
    admission.leave(others.pop())
    assert refused(admission, B) == "ConcurrentInvocationLimitExceeded"  # what leaves belongs to the share now
    enter(admission, A)


def provisioned(admission: Admission, ref: FunctionRef, n: int = 1, *, kind: Kind = Kind.EVENT) -> list[Ticket]:
    """Invocations that find an idle provisioned environment."""
    tickets = [admission.enter(ref, NOW, False, kind, True) for _ in range(n)]
    assert all(isinstance(ticket, Ticket) for ticket in tickets)
    return [ticket for ticket in tickets if isinstance(ticket, Ticket)]


def test_provisioned_environments_are_set_aside_for_their_own_invocations() -> None:
    admission = Admission(account_limit=10)
    admission.set_provisioned(A, 4)
    assert admission.unreserved(SCOPE) == 6
    enter(admission, B, 6)
    assert refused(admission, C) == "ConcurrentInvocationLimitExceeded"
    tickets = provisioned(admission, A, 4)
    assert all(ticket.is_provisioned for ticket in tickets)
    assert refused(admission, A) == "ConcurrentInvocationLimitExceeded"
    admission.leave(tickets[0])
    assert refused(admission, B) == "ConcurrentInvocationLimitExceeded"
    provisioned(admission, A)


def test_what_spills_over_counts_as_any_other() -> None:
    admission = Admission(account_limit=10)
    admission.set_provisioned(A, 2)
    provisioned(admission, A, 2)
    spilled = enter(admission, A, 8)
    assert not any(ticket.is_provisioned for ticket in spilled)
    assert refused(admission, B) == "ConcurrentInvocationLimitExceeded"
    for ticket in spilled:
        admission.leave(ticket)
    enter(admission, B, 8)


def test_provisioned_invocations_are_within_the_reserved_share_and_leave_the_rest_of_it_to_others() -> None:
    admission = Admission(account_limit=100)
    admission.set_reserved(A, 5)
    admission.set_provisioned(A, 3)
    assert admission.unreserved(SCOPE) == 95
    enter(admission, A, 2)
    assert refused(admission, A) == "ReservedFunctionConcurrentInvocationLimitExceeded"
    provisioned(admission, A, 3)
    assert admission.running(A) == 5


def test_a_share_that_is_all_provisioned_throttles_everything_on_demand() -> None:
    admission = Admission()
    admission.set_reserved(A, 2)
    admission.set_provisioned(A, 2)
    assert refused(admission, A) == "ReservedFunctionConcurrentInvocationLimitExceeded"
    provisioned(admission, A, 2)
    admission.set_provisioned(A, 1)  # one is lost: its place is anybody's until it is replaced
    assert refused(admission, A) == "ReservedFunctionConcurrentInvocationLimitExceeded"


def test_ten_requests_a_second_for_each_provisioned_one_are_its_own_and_the_rest_the_pools() -> None:
    admission = Admission(account_limit=1_000)
    admission.set_provisioned(A, 2)
    for number in range(25):
        (ticket,) = provisioned(admission, A, kind=Kind.SYNC)
        assert ticket.is_provisioned is (number < 20)
        admission.leave(ticket)
    later = admission.enter(A, NOW + SECOND, False, Kind.SYNC, True)
    assert isinstance(later, Ticket)
    assert later.is_provisioned


def test_a_provisioned_invocation_takes_nothing_of_the_scaling_rate() -> None:
    admission = Admission(account_limit=5_000)
    admission.set_provisioned(A, 1_500)
    provisioned(admission, A, 1_500)
    for _ in range(1_000):
        assert isinstance(admission.enter(A, NOW, True, Kind.EVENT), Ticket)
    assert refused(admission, A, new=True) == "FunctionInvocationRateLimitExceeded"


def test_provisioned_shares_move_under_running_invocations() -> None:
    admission = Admission(account_limit=10)
    admission.set_provisioned(A, 3)
    tickets = provisioned(admission, A, 3) + enter(admission, A, 2)
    admission.set_reserved(A, 6)
    assert admission.unreserved(SCOPE) == 4
    enter(admission, B, 4)
    admission.set_reserved(A, None)
    assert admission.unreserved(SCOPE) == 7
    admission.set_provisioned(A, 0)
    assert admission.unreserved(SCOPE) == 10
    for ticket in tickets:
        admission.leave(ticket)
    assert (admission.running(A), admission.running_in(SCOPE)) == (0, 4)
    enter(admission, A, 6)


def test_a_deleted_functions_provisioned_share_returns_and_is_not_made_again() -> None:
    admission = Admission(account_limit=10)
    admission.set_provisioned(A, 3)
    (ticket,) = provisioned(admission, A)
    admission.forget(A)
    assert admission.unreserved(SCOPE) == 10
    admission.set_provisioned(A, 0)
    admission.leave(ticket)
    assert admission.running_in(SCOPE) == 0
    enter(admission, B, 10)


def test_running_invocations_move_with_their_function() -> None:
    admission = Admission(account_limit=10)
    tickets = enter(admission, A, 6)
    admission.set_reserved(A, 2)
    enter(admission, B, 4)  # 8 are unreserved, 10 in all
    for ticket in tickets:
        admission.leave(ticket)
    enter(admission, B, 4)
    enter(admission, A, 2)
    assert refused(admission, B) == "ConcurrentInvocationLimitExceeded"


def test_a_lowered_account_limit_holds_at_once() -> None:
    admission = Admission(account_limit=10)
    admission.set_reserved(A, 8)
    enter(admission, A, 3)
    admission.set_account_limit(SCOPE, 4)
    assert (admission.account_limit(SCOPE), admission.unreserved(SCOPE)) == (4, 0)
    enter(admission, A)
    assert refused(admission, A) == "ConcurrentInvocationLimitExceeded"
    assert refused(admission, B) == "ConcurrentInvocationLimitExceeded"


def test_a_forgotten_function_gives_its_share_back_and_its_invocations_leave_as_usual() -> None:
    admission = Admission(account_limit=10)
    admission.set_reserved(A, 9)
    tickets = enter(admission, A, 9)
    admission.forget(A)
    admission.forget(A)
    assert (admission.unreserved(SCOPE), admission.running(A), admission.running_in(SCOPE)) == (10, 0, 9)
    enter(admission, A)  # a new function of the same name
    assert refused(admission, A) == "ConcurrentInvocationLimitExceeded"
    for ticket in tickets:
        admission.leave(ticket)
    assert (admission.running(A), admission.running_in(SCOPE)) == (1, 1)


def test_leaving_twice_is_a_bug() -> None:
    admission = Admission()
    (ticket,) = enter(admission, A)
    assert ticket.is_held
    admission.leave(ticket)
    assert not ticket.is_held
    with pytest.raises(TicketReturned):
        admission.leave(ticket)
    assert admission.running_in(SCOPE) == 0


@pytest.mark.parametrize("setting", [lambda a: a.set_reserved(A, -1), lambda a: a.set_account_limit(SCOPE, -1)])
def test_negative_concurrency_is_refused(setting: Callable[[Admission], None]) -> None:
    with pytest.raises(ValueError, match="0 or more"):
        setting(Admission())


class TestRates:
    @staticmethod
    def granted(admission: Admission, ref: FunctionRef, now_ns: int, *, n: int, kind: Kind, new: bool = False) -> int:
        """How many of `n` requests at one moment get in; each leaves at once."""
        count = 0
        for _ in range(n):
            answer = admission.enter(ref, now_ns, new, kind)
            if isinstance(answer, Ticket):
                admission.leave(answer)
                count += 1
        return count

    @pytest.mark.parametrize("concurrency", [1, 3, 7, 100])
    def test_ten_synchronous_requests_a_second_for_each_unit_of_the_account(self, concurrency: int) -> None:
        admission = Admission(account_limit=concurrency)
        rate = 10 * concurrency
        assert self.granted(admission, A, NOW, n=2 * rate, kind=Kind.SYNC) == rate
        assert refused(admission, B, kind=Kind.SYNC) == "CallerRateLimitExceeded"
        half = NOW + SECOND // 2 + 1_000
        assert self.granted(admission, B, half, n=2 * rate, kind=Kind.SYNC) == rate // 2
        assert self.granted(admission, A, NOW + 60 * SECOND, n=2 * rate, kind=Kind.SYNC) == rate

    def test_a_reserved_share_has_a_rate_of_its_own(self) -> None:
        admission = Admission(account_limit=10)
        admission.set_reserved(A, 2)
        assert self.granted(admission, A, NOW, n=50, kind=Kind.SYNC) == 20
        assert refused(admission, A, kind=Kind.SYNC) == "ReservedFunctionInvocationRateLimitExceeded"
        assert self.granted(admission, B, NOW, n=200, kind=Kind.SYNC) == 80

    def test_events_have_no_request_rate(self) -> None:
        admission = Admission(account_limit=1)
        assert self.granted(admission, A, NOW, n=500, kind=Kind.EVENT) == 500

    def test_a_thousand_environments_at_once_and_a_hundred_a_second(self) -> None:
        admission = Admission(account_limit=5_000)
        assert self.granted(admission, A, NOW, n=1_500, kind=Kind.EVENT, new=True) == 1_000
        assert refused(admission, A, new=True) == "FunctionInvocationRateLimitExceeded"
        enter(admission, A)  # an idle environment needs no token
        assert self.granted(admission, B, NOW, n=1_500, kind=Kind.EVENT, new=True) == 1_000
        assert self.granted(admission, A, NOW + 2 * SECOND, n=1_500, kind=Kind.EVENT, new=True) == 200
        assert self.granted(admission, A, NOW + 900 * SECOND, n=1_500, kind=Kind.EVENT, new=True) == 1_000

    def test_a_throttled_request_takes_no_token(self) -> None:
        admission = Admission(account_limit=1)
        (ticket,) = enter(admission, A)
        for _ in range(2_000):
            assert refused(admission, A, kind=Kind.SYNC, new=True) == "ConcurrentInvocationLimitExceeded"
        admission.leave(ticket)
        assert self.granted(admission, A, NOW, n=20, kind=Kind.SYNC, new=True) == 10


REFS = st.sampled_from([A, B, C])
MOVES = st.one_of(
    st.tuples(st.just("enter"), REFS, st.booleans(), st.sampled_from(Kind), st.booleans()),
    st.tuples(st.just("enter"), REFS, st.booleans(), st.sampled_from(Kind), st.booleans()),
    st.tuples(st.just("leave"), st.integers(0, 1_000)),
    st.tuples(st.just("reserve"), REFS, st.none() | st.integers(0, 8)),
    st.tuples(st.just("provision"), REFS, st.integers(0, 4)),
    st.tuples(st.just("limit"), st.integers(0, 12)),
    st.tuples(st.just("forget"), REFS),
    st.tuples(st.just("wait"), st.integers(0, SECOND)),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(MOVES, max_size=120))
def test_no_sequence_of_moves_breaks_a_cap_or_loses_a_ticket(moves: list[tuple[object, ...]]) -> None:
    """Caps hold at each entry, counts are those of the tickets out, and everything comes back."""
    admission = Admission(account_limit=6)
    held: list[tuple[FunctionRef, Ticket]] = []
    forgotten: list[Ticket] = []
    now = NOW
    for move in moves:
        match move:
            case ("enter", FunctionRef() as ref, bool() as new, Kind() as kind, bool() as provisioned):
                before = [admission.running(r) for r in (A, B, C)]
                answer = admission.enter(ref, now, new, kind, provisioned)
                if isinstance(answer, Ticket):
                    held.append((ref, answer))
                    assert admission.running_in(SCOPE) <= admission.account_limit(SCOPE)
                    reserved = admission.reserved(ref)
                    if reserved is not None:
                        assert admission.running(ref) <= reserved
                    elif not answer.is_provisioned:
                        unreserved = sum(
                            not t.is_provisioned and t not in forgotten
                            for r, t in held
                            if admission.reserved(r) is None
                        )
                        gone = sum(t.is_held and not t.is_provisioned for t in forgotten)
                        assert unreserved + gone <= admission.unreserved(SCOPE)
                else:
                    assert answer.reason in Reason
                    assert [admission.running(r) for r in (A, B, C)] == before
            case ("leave", int() as at) if held:
                _, ticket = held.pop(at % len(held))
                admission.leave(ticket)
            case ("reserve", FunctionRef() as ref, (int() | None) as n):
                admission.set_reserved(ref, n)
            case ("provision", FunctionRef() as ref, int() as n):
                admission.set_provisioned(ref, n)
            case ("limit", int() as n):
                admission.set_account_limit(SCOPE, n)
            case ("forget", FunctionRef() as ref):
                forgotten += [ticket for r, ticket in held if r == ref and ticket not in forgotten]
                admission.forget(ref)
            case ("wait", int() as ns):
                now += ns
        assert admission.running_in(SCOPE) == len(held)
        for ref in (A, B, C):
            assert admission.running(ref) == sum(r == ref and t not in forgotten for r, t in held)
    for _, ticket in held:
        admission.leave(ticket)
    assert admission.running_in(SCOPE) == 0
    for ref in (A, B, C):
        assert admission.running(ref) == 0
        admission.set_reserved(ref, None)
        admission.set_provisioned(ref, 0)
    admission.set_account_limit(SCOPE, 2)
    late = now + 60 * SECOND
    assert [isinstance(admission.enter(A, late, True, Kind.SYNC), Ticket) for _ in range(3)] == [True, True, False]
