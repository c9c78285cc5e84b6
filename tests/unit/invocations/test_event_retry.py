"""Retry decisions, as a table and as properties."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.domain.names import FunctionRef
from lambent.invocations.queue import Event
from lambent.invocations.retry import (
    Again,
    Condition,
    EventPolicy,
    FunctionError,
    NotFound,
    Outcome,
    ServiceError,
    Settle,
    Success,
    Throttled,
    after_attempt,
    before_attempt,
    deferral_ms,
)

NOW = 1_764_100_000_000
EVENT = Event(
    7, FunctionRef("123456789012", "us-east-1", "f"), None, "request", "Root=1", b"{}", accepted_ms=NOW, due_ms=NOW
)
DEFAULT = EventPolicy()
OK = Success(b"null", "$LATEST")
FAILED = FunctionError(b'{"errorMessage":"boom"}', "Unhandled", "$LATEST")
THROTTLED = Throttled("ReservedFunctionConcurrentInvocationLimitExceeded")
BROKEN = ServiceError("spawner gone")
GONE = NotFound("Function not found: f")


@pytest.mark.parametrize(
    ("attempt", "deferrals", "outcome", "policy", "expected"),
    [
        (0, 0, OK, DEFAULT, Settle(Condition.SUCCESS, None, 1)),
        (2, 5, OK, DEFAULT, Settle(Condition.SUCCESS, None, 3)),
        (0, 3, FAILED, DEFAULT, (60_000, 1, 0, "Unhandled")),
        (1, 0, FAILED, DEFAULT, (120_000, 2, 0, "Unhandled")),
        (2, 0, FAILED, DEFAULT, Settle(Condition.RETRIES_EXHAUSTED, "Unhandled", 3)),
        (0, 0, FAILED, EventPolicy(retries_max=0), Settle(Condition.RETRIES_EXHAUSTED, "Unhandled", 1)),
        (1, 0, FAILED, EventPolicy(retries_max=1), Settle(Condition.RETRIES_EXHAUSTED, "Unhandled", 2)),
        (0, 0, FAILED, EventPolicy(age_max_s=60), (60_000, 1, 0, "Unhandled")),
        (1, 0, FAILED, EventPolicy(age_max_s=60), (60_000, 2, 0, "Unhandled")),  # not beyond the age limit
        (0, 0, THROTTLED, DEFAULT, (1_000, 0, 1, THROTTLED.reason)),
        (1, 4, THROTTLED, DEFAULT, (16_000, 1, 5, THROTTLED.reason)),
        (0, 0, THROTTLED, EventPolicy(retries_max=0), (1_000, 0, 1, THROTTLED.reason)),
        (0, 40, BROKEN, DEFAULT, (300_000, 0, 41, "spawner gone")),
        (1, 0, GONE, DEFAULT, Settle(Condition.FUNCTION_GONE, "Function not found: f", 1)),
    ],
)
def test_after_an_attempt(
    attempt: int, deferrals: int, outcome: Outcome, policy: EventPolicy, expected: Settle | tuple[int, int, int, str]
) -> None:
    event = replace(EVENT, attempt=attempt, deferrals=deferrals)
    decision = after_attempt(event, outcome, policy, now_ms=NOW)
    if isinstance(expected, Settle):
        assert decision == expected
    else:
        wait_ms, attempts, deferred, reason = expected
        assert decision == Again(
            replace(event, due_ms=NOW + wait_ms, attempt=attempts, deferrals=deferred, reason=reason)
        )


@pytest.mark.parametrize(
    ("age_s", "reserved", "expected"),
    [
        (0, None, None),
        (21_599, 1, None),
        (21_600, None, Settle(Condition.EVENT_AGE_EXCEEDED, None, 0)),
        (0, 0, Settle(Condition.ZERO_RESERVED, "reserved concurrency is 0", 0)),
        (30_000, 0, Settle(Condition.ZERO_RESERVED, "reserved concurrency is 0", 0)),
        (-3_600, None, None),  # the clock was set back
    ],
)
def test_before_an_attempt(age_s: int, reserved: int | None, expected: Settle | None) -> None:
    assert before_attempt(EVENT, DEFAULT, now_ms=NOW + age_s * 1_000, reserved=reserved) == expected


@pytest.mark.parametrize(
    ("attempt", "retries_max", "is_discarded"), [(1, 0, True), (2, 1, True), (1, 1, False), (0, 0, False)]
)
def test_retries_that_were_taken_away_are_not_made(attempt: int, retries_max: int, is_discarded: bool) -> None:
    event = replace(EVENT, attempt=attempt, reason="Unhandled")
    expected = Settle(Condition.RETRIES_EXHAUSTED, "Unhandled", attempt) if is_discarded else None
    assert before_attempt(event, EventPolicy(retries_max=retries_max), now_ms=NOW, reserved=None) == expected


def test_deferrals_double_from_one_second_to_five_minutes() -> None:
    assert [deferral_ms(n) // 1_000 for n in range(11)] == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]


OUTCOMES = st.sampled_from([OK, FAILED, FAILED, THROTTLED, THROTTLED, BROKEN, GONE])
POLICIES = st.builds(EventPolicy, retries_max=st.integers(0, 2), age_max_s=st.integers(60, 21_600))


@given(outcomes=st.lists(OUTCOMES, max_size=300), policy=POLICIES, took_ms=st.integers(0, 900_000))
def test_every_event_ends_in_time_and_within_its_attempts(
    outcomes: list[Outcome], policy: EventPolicy, took_ms: int
) -> None:
    """Whatever happens: same request, waits grow, function attempts are bounded, nothing outlives its age by a wait."""
    event, now = EVENT, NOW
    ran = 0
    for outcome in [*outcomes, *[THROTTLED] * 200, OK]:
        if early := before_attempt(event, policy, now_ms=now, reserved=None):
            assert early.condition is Condition.EVENT_AGE_EXCEEDED
            assert early.invocations == ran
            return
        now += took_ms
        ran += isinstance(outcome, Success | FunctionError)
        decision = after_attempt(event, outcome, policy, now_ms=now)
        if isinstance(decision, Settle):
            assert decision.invocations == ran <= policy.retries_max + 1
            return
        again = decision.event
        assert replace(again, due_ms=0, attempt=0, deferrals=0, reason=None) == replace(
            event, due_ms=0, attempt=0, deferrals=0, reason=None
        )
        assert now <= again.due_ms <= max(now, NOW + policy.age_max_s * 1_000)
        event, now = again, again.due_ms
    pytest.fail("the event never ended")
