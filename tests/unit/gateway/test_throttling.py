"""Token buckets: a burst, then a rate, whatever the pauses."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lambent.gateway.limits import BURST_DEFAULT, RATE_PER_S_DEFAULT
from lambent.gateway.throttling import Bucket, account_bucket, route_bucket

S = 1_000_000_000


def taken(bucket: Bucket, times: list[int]) -> list[bool]:
    return [bucket.take(now_ns) for now_ns in times]


def test_a_burst_and_then_the_rate() -> None:
    bucket = Bucket(2.0, 3)
    assert taken(bucket, [0] * 4) == [True, True, True, False]
    assert taken(bucket, [S // 2, S // 2]) == [True, False]
    assert taken(bucket, [100 * S] * 4) == [True, True, True, False], "no more than a burst is saved up"


def test_nothing_passes_at_zero() -> None:
    assert taken(Bucket(0.0, 0), [0, S, 3_600 * S]) == [False] * 3
    assert taken(Bucket(5.0, 0), [0, S]) == [False] * 2
    assert taken(Bucket(0.0, 2), [0, 0, S]) == [True, True, False]


def test_a_clock_that_goes_back_gives_nothing() -> None:
    bucket = Bucket(1.0, 1)
    assert taken(bucket, [10 * S, 5 * S, 10 * S, 11 * S]) == [True, False, False, True]


def test_what_is_left_open_is_the_accounts() -> None:
    assert route_bucket(None, None) is None
    assert route_bucket(5.0, None) == Bucket(5.0, 5_000)
    assert route_bucket(None, 7) == Bucket(10_000, 7)
    assert account_bucket() == Bucket(RATE_PER_S_DEFAULT, BURST_DEFAULT) == Bucket(10_000, 5_000)


@given(
    st.floats(0.1, 1_000),
    st.integers(1, 50),
    st.lists(st.integers(0, 3 * S), min_size=1, max_size=200),
)
def test_never_more_than_the_burst_and_the_rate_allow(rate: float, burst: int, pauses: list[int]) -> None:
    bucket, now, passed = Bucket(rate, burst), 0, 0
    for pause in pauses:
        now += pause
        passed += bucket.take(now)
        assert passed <= burst + now * rate / S + 1e-6
