"""What an idle environment is worth, by how its function was used: the decisions alone."""

from __future__ import annotations

import math
import sys

import pytest

from lambent.environments import keepalive
from lambent.environments.keepalive import (
    BINS,
    COMMON_MAX,
    COUNT_MAX,
    EARLY_MAX,
    EDGES,
    GHOSTS_MAX,
    LEVELS,
    MEMORY_MB_MIN,
    PRICE_MB_S,
    History,
    bin_of,
    commons,
    is_worth_keeping,
)

MOST_S = 14_400.0
MB = 64.0


def history(*idle_s: float, took_s: float = 0.5, depth: int = 0, most_s: float = MOST_S) -> History:
    known = History(commons(), most_s)
    known.started(took_s)
    for one in idle_s:
        known.used(depth, one)
    return known


def window_s(known: History, memory_mb: float = MB, depth: int = 0) -> float:
    """From which idle time on it is not worth the full price, and never again."""
    kept = [edge for edge in EDGES if is_worth_keeping(known.worth(depth, edge, memory_mb), 1.0, 1.0)]
    return kept[-1] if kept else 0.0


@pytest.mark.parametrize("period_s", [60.0, 300.0, 900.0, 3_600.0])
def test_a_periodic_function_is_kept_until_it_comes_and_then_as_one_that_is_not_known(period_s: float) -> None:
    known, unknown = history(*[period_s] * 20), history()
    assert period_s / 1.19 <= window_s(known) <= max(period_s, window_s(unknown))
    before, after = known.worth(0, period_s / 1.2, MB), known.worth(0, period_s * 1.2, MB)
    assert before > known.worth(0, period_s / 5, MB), "it nears its next use"
    assert before > 10 * after
    assert after == pytest.approx(unknown.worth(0, period_s * 1.2, MB))


def test_a_rare_function_goes_early_and_a_frequent_one_stays() -> None:
    rare, frequent = history(*[7_200.0] * 5), history(*[30.0, 60.0, 120.0] * 5)
    assert rare.worth(0, 20, MB) * PRICE_MB_S < 1 < frequent.worth(0, 20, MB) * PRICE_MB_S
    assert frequent.worth(0, 100, MB) > 100 * rare.worth(0, 100, MB)


def test_one_that_was_idle_longer_than_its_function_ever_let_it_ages() -> None:
    known = history(*[30.0, 60.0, 120.0] * 5)
    assert known.worth(0, 300, MB) < known.worth(0, 20, MB) / 20


def test_a_costly_start_is_kept_longer_and_a_large_environment_shorter() -> None:
    gaps = [30.0, 100.0, 300.0, 1_000.0, 3_000.0, 10_000.0, 100_000.0] * 4
    cheap, costly = history(*gaps, took_s=0.1), history(*gaps, took_s=10.0)
    assert window_s(costly) > window_s(cheap)
    assert costly.worth(0, 50, MB) == pytest.approx(cheap.worth(0, 50, MB) * 10.5 / 0.6)
    assert costly.worth(0, 50, 4 * MB) == costly.worth(0, 50, MB) / 4
    assert costly.worth(0, 50, 0) == costly.worth(0, 50, MEMORY_MB_MIN)


def test_a_second_environment_has_a_life_of_its_own() -> None:
    known = history(*[10.0] * 50)
    for _ in range(10):
        known.used(1, 5_000.0)
    assert known.worth(0, 5, MB) > 100 * known.worth(1, 5, MB)
    assert known.worth(1, 4_000, MB) > 10 * known.worth(0, 4_000, MB)
    assert known.worth(LEVELS + 7, 50, MB) == known.worth(LEVELS - 1, 50, MB)


def test_use_beyond_the_idle_timeout_is_worth_nothing() -> None:
    used, too_late = (history(*[3_600.0] * 20, most_s=most_s) for most_s in (3_700.0, 3_000.0))
    assert used.worth(0, 100, MB) > 10 * too_late.worth(0, 100, MB)


def test_who_was_just_used_is_the_last_to_go() -> None:
    assert history().worth(0, 0.9, 1e9) == math.inf


def test_a_retired_environment_that_would_have_been_used_counts_as_if_it_had_been() -> None:
    """A function that comes every ten minutes is known to, however early it was retired."""
    known, kept = history(), history(*[600.0] * 9)
    now_s = 0.0
    for _ in range(9):
        known.retired(0, now_s)
        now_s += 600.0
        known.missed(now_s)
    assert known.worth(0, 100, MB) == pytest.approx(kept.worth(0, 100, MB))


def test_what_never_came_back_lowers_the_worth() -> None:
    back, gone = history(*[60.0] * 4), history(*[60.0] * 4)
    for moment in range(4):
        gone.retired(0, float(moment))
    assert gone.worth(0, 10, MB) < back.worth(0, 10, MB)


def test_an_unknown_function_is_judged_by_the_others() -> None:
    shared = commons()
    before = History(shared, MOST_S).worth(0, 100, MB)
    for _ in range(100):
        other = History(shared, MOST_S)
        other.used(0, 150.0)
    after = History(shared, MOST_S).worth(0, 100, MB)
    assert after > 3 * before
    for _ in range(1_000):
        other = History(shared, MOST_S)
        other.retired(0, 0.0)
    assert History(shared, MOST_S).worth(0, 100, MB) < after / 3


def test_one_function_says_little_of_all() -> None:
    shared = commons()
    one = History(shared, MOST_S)
    for _ in range(10 * EARLY_MAX):
        one.used(0, 150.0)
    assert shared[0].total == 8 + EARLY_MAX


def test_memory_costs_less_while_the_budget_is_free_and_nothing_without_one() -> None:
    worth = 1 / PRICE_MB_S
    assert is_worth_keeping(worth, 1_000, 1_000)
    assert not is_worth_keeping(worth * 0.99, 1_000, 1_000)
    assert is_worth_keeping(worth * 0.5, 500, 1_000)
    assert not is_worth_keeping(worth, 1_001, 1_000)
    assert is_worth_keeping(0.0, 1e9, 0)


def test_histories_are_bounded_and_forget() -> None:
    shared = commons()
    known = History(shared, MOST_S)
    for number in range(5_000):
        known.retired(number % 200, float(number))
    for number in range(1_000):
        known.used(number % 200, float(number))
    for _ in range(3 * COUNT_MAX):
        known.used(0, 100.0)
    assert len(known._ghosts) == GHOSTS_MAX
    levels = [level for level in known._levels if level is not None]
    assert len(levels) == LEVELS
    assert all(len(level.counts) == BINS + 1 and max(level.counts) <= COUNT_MAX for level in levels)
    assert all(level.total == sum(level.counts) for level in levels)
    assert sum(sys.getsizeof(level.counts) for level in levels) < 5_000
    for _ in range(COMMON_MAX):
        History(shared, MOST_S).used(0, 100.0)
    assert shared[0].total < COMMON_MAX
    assert shared[0].total == pytest.approx(sum(shared[0].counts))


def test_idle_times_of_a_day_and_a_half_have_a_bin_each() -> None:
    assert [bin_of(0.0), bin_of(1.0), bin_of(1.2), bin_of(1e9)] == [0, 0, 1, BINS - 1]
    assert EDGES[-1] == 2.0**17
    for number, edge in enumerate(EDGES[:-1]):
        assert bin_of(edge * 1.001) == number


def test_what_a_start_costs_follows_the_latest() -> None:
    known = history(took_s=1.0)
    known.started(2.0)
    assert known.cost_s == pytest.approx(1.0 + keepalive.SMOOTHING)
