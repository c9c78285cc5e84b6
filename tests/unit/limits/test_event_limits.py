"""Bounds of asynchronous events. Source of the published ones: "How Lambda handles asynchronous invocation errors"."""

from __future__ import annotations

from lambent.domain.limits import EVENT_AGE_S_MAX, EVENT_AGE_S_MIN, EVENT_RETRIES_MAX, EVENT_RETRY_WAITS_S
from lambent.invocations.retry import DEFERRAL_FIRST_MS, DEFERRAL_MAX_MS, EventPolicy, deferral_ms


def test_an_event_lives_six_hours_and_is_retried_twice() -> None:
    policy = EventPolicy()
    assert (policy.age_max_s, policy.retries_max) == (EVENT_AGE_S_MAX, EVENT_RETRIES_MAX) == (21_600, 2)
    assert EVENT_AGE_S_MIN == 60
    assert EVENT_RETRY_WAITS_S == (60, 120)


def test_deferrals_grow_from_a_second_to_five_minutes_and_no_further() -> None:
    assert deferral_ms(0) == DEFERRAL_FIRST_MS == 1_000
    assert [deferral_ms(n) for n in (9, 10, 1_000_000)] == [DEFERRAL_MAX_MS] * 3
    assert DEFERRAL_MAX_MS == 300_000
