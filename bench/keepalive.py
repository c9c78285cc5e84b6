"""Keep-alive on a trace shaped like Azure Functions' of 2019: the server's policy against a timer of ten minutes.

No clock, no sandbox and no download: a trace is made from a seed, by the distributions that were published with the data
set (Shahrad et al., "Serverless in the Wild", USENIX ATC 2020), and both arms are played on it in virtual time. The
policy is the module the server runs; its memory budget is set so that it holds no more megabyte-seconds of idle memory
than the timer does. Nothing is started ahead of a request.

What is taken from the publication:

- popularity: 45 % of the applications are invoked once an hour or less, 81 % once a minute or less, over eight orders
  of magnitude; between these points the logarithm of the rate is interpolated. Rates above one in five seconds are cut:
  those functions are warm under any policy.
- triggers: 16 % are timers, exactly periodic, at the usual periods of a schedule. Of the rest some are nearly periodic,
  and in 40 % of all the intervals vary more than at random (coefficient above 1): visits, with pauses between them.
- the load has a base of about a half that is always there, and a wave of a day on top.
- durations are log-normal (mean of the logarithm -0.38, deviation 2.36, in seconds; cut at a minute), memory is
  Burr-distributed (c 11.652, k 0.221, 107 MB; cut at 1.5 GB).

Ours, for lack of published ones: the time of a cold start (log-normal, median 0.5 s, deviation 1), the length of visits,
and how much single durations vary.
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from lambent.environments.keepalive import History, commons, is_worth_keeping

from .harness import Comparison

DAY_S = 86_400.0
DAYS = 2
FUNCTIONS = 100
TIMER_S = 600.0
MOST_S = 14_400.0
SWEEP_S = 10.0
SEARCH_STEPS = 8
CLOSE = 0.995
"""The search for the budget ends when so much of the timer's memory-time is used."""
MB_S_GB_H = 1_024 * 3_600
QUESTION = "cold starts on a trace shaped like Azure Functions', at the memory-time of a fixed timer"
FORESIGHT = "bound: knows the future"
POPULARITY = ((0.0, 0.1), (0.45, 24.0), (0.81, 1_440.0), (1.0, 1e8))
"""(share of the functions, invocations a day at most)"""
A_DAY_MAX = DAY_S / 5
TIMERS, NEARLY_PERIODIC, BURSTY = 0.16, 0.08, 0.40
PERIODS_S = tuple(minutes * 60.0 for minutes in (1, 5, 10, 15, 30, 60, 120, 240, 360, 720, 1_440))


@dataclass(slots=True)
class Function:
    """One function of the trace."""

    kind: str
    a_day: float
    memory_mb: float
    cold_s: float
    duration_s: float
    arrivals_s: list[float]


def _a_day(share: float) -> float:
    for (low, least), (high, most) in pairwise(POPULARITY):
        if share <= high:
            part = (share - low) / (high - low)
            return min(A_DAY_MAX, math.exp(math.log(least) * (1 - part) + math.log(most) * part))
    raise AssertionError(share)


def _function(dice: random.Random, days: int) -> Function:
    a_day = _a_day(dice.random())
    drawn = dice.random()
    end_s = days * DAY_S
    wave = 0.0 if drawn < TIMERS + NEARLY_PERIODIC or dice.random() < 0.5 else 1.0
    mean_s = DAY_S / a_day / (1 + wave)
    noon_s = dice.gauss(0.5, 0.1) * DAY_S
    if drawn < TIMERS:
        kind = "timer"
        period_s = min(PERIODS_S, key=lambda one: abs(math.log(one / mean_s)))
        first_s = dice.random() * period_s
        arrivals = [first_s + n * period_s for n in range(math.ceil((end_s - first_s) / period_s))]
    elif drawn < TIMERS + NEARLY_PERIODIC:
        kind = "nearly periodic"
        arrivals = list(_while(end_s, dice.random() * mean_s, lambda: max(0.01, dice.gauss(mean_s, 0.1 * mean_s))))
    elif drawn < TIMERS + NEARLY_PERIODIC + BURSTY:
        kind = "bursty"
        visit = 1 + dice.expovariate(1 / 9)  # requests in one visit, on average
        within_s = min(mean_s / 4, math.exp(dice.gauss(math.log(10), 1.5)))
        pause_s = visit * mean_s - (visit - 1) * within_s

        def gap() -> float:
            return dice.expovariate(1 / (pause_s if dice.random() < 1 / visit else within_s))

        arrivals = list(_while(end_s, dice.random() * pause_s, gap))
    else:
        kind = "random"
        arrivals = list(_while(end_s, dice.expovariate(1 / mean_s), lambda: dice.expovariate(1 / mean_s)))
    if wave:  # twice as many at noon, none at midnight: drawn at the double rate, and thinned to the wave
        arrivals = [at for at in arrivals if dice.random() < 0.5 + 0.5 * math.cos(2 * math.pi * (at - noon_s) / DAY_S)]
    memory = 107.083 * ((1 - dice.random()) ** (-1 / 0.221) - 1) ** (1 / 11.652)
    return Function(
        kind,
        a_day,
        min(1_536.0, memory),
        min(20.0, math.exp(dice.gauss(math.log(0.5), 1.0))),
        min(60.0, math.exp(dice.gauss(-0.38, 2.36))),
        arrivals,
    )


def _while(end_s: float, first_s: float, gap: Callable[[], float]) -> Iterator[float]:
    at = first_s
    while at < end_s:
        yield at
        at += gap()


def trace(seed: int, functions: int = FUNCTIONS, days: int = DAYS) -> list[Function]:
    """The functions of a seed, with their arrivals."""
    dice = random.Random(seed)
    return [_function(dice, days) for _ in range(functions)]


@dataclass(slots=True)
class Played:
    """What came of an arm."""

    invocations: int = 0
    cold: int = 0
    cold_s: float = 0.0
    idle_mb_s: float = 0.0


def invocations(functions: list[Function], seed: int) -> list[tuple[float, int, float]]:
    """(moment, function, duration) of every invocation, in order; the same for both arms."""
    dice = random.Random(f"{seed} durations")
    return sorted(
        (at, number, one.duration_s * math.exp(dice.gauss(-0.125, 0.5)))
        for number, one in enumerate(functions)
        for at in one.arrivals_s
    )


def play_timer(
    functions: list[Function], events: list[tuple[float, int, float]], end_s: float, timer_s: float = TIMER_S
) -> Played:
    """Each environment is kept for so long after each use."""
    out = Played()
    idle: list[list[float]] = [[] for _ in functions]
    busy: list[tuple[float, int]] = []
    for at, number, took_s in [*events, (end_s, -1, 0.0)]:
        while busy and busy[0][0] <= at:
            free_s, freed = heapq.heappop(busy)
            idle[freed].append(free_s)
        if number < 0:
            break
        out.invocations += 1
        stack, one = idle[number], functions[number]
        if stack and at - stack[-1] <= timer_s:
            out.idle_mb_s += (at - stack.pop()) * one.memory_mb
            heapq.heappush(busy, (at + took_s, number))
        else:
            out.idle_mb_s += len(stack) * timer_s * one.memory_mb
            stack.clear()
            out.cold += 1
            out.cold_s += one.cold_s
            heapq.heappush(busy, (at + one.cold_s + took_s, number))
    for stack, one in zip(idle, functions, strict=True):
        out.idle_mb_s += sum(min(timer_s, end_s - since_s) for since_s in stack) * one.memory_mb
    return out


class Policy:
    """The arm that decides as the server does, with a budget for what is idle."""

    def __init__(
        self, functions: list[Function], budget_mb: float, most_s: float = MOST_S, sweep_s: float = SWEEP_S
    ) -> None:
        self.functions = functions
        self.budget_mb, self.most_s, self.sweep_s = budget_mb, most_s, sweep_s
        shared = commons()
        self.histories = [History(shared, most_s) for _ in functions]
        self.idle: list[list[float]] = [[] for _ in functions]
        self.running = [0] * len(functions)
        self.with_idle: set[int] = set()
        self.held_mb = 0.0
        self.out = Played()

    def _retire(self, number: int, now_s: float) -> None:
        stack, one = self.idle[number], self.functions[number]
        since_s = stack.pop(0)
        self.histories[number].retired(self.running[number] + len(stack), since_s)
        self._left(number, now_s - since_s, one.memory_mb)
        self.held_mb -= one.memory_mb

    def _left(self, number: int, idle_s: float, memory_mb: float) -> None:
        self.out.idle_mb_s += idle_s * memory_mb
        if not self.idle[number]:
            self.with_idle.discard(number)

    def _worth(self, number: int, now_s: float) -> float:
        stack = self.idle[number]
        depth = self.running[number] + len(stack) - 1
        memory_mb = self.functions[number].memory_mb
        return self.histories[number].worth(depth, now_s - stack[0], memory_mb)

    def _free(self, number: int, since_s: float) -> None:
        self.running[number] -= 1
        self.idle[number].append(since_s)
        self.with_idle.add(number)

    def _sweep(self, now_s: float) -> None:
        for number in sorted(self.with_idle):
            stack = self.idle[number]
            while stack and (
                now_s - stack[0] > self.most_s
                or not is_worth_keeping(self._worth(number, now_s), self.held_mb, self.budget_mb)
            ):
                self._retire(number, now_s)
        while self.held_mb > self.budget_mb and self.with_idle:
            self._retire(min(self.with_idle, key=lambda one: (self._worth(one, now_s), self.idle[one][0])), now_s)

    def play(self, events: list[tuple[float, int, float]], end_s: float) -> Played:
        """Play it all."""
        out = self.out
        busy: list[tuple[float, int]] = []
        sweep_s = self.sweep_s
        for at, number, took_s in [*events, (end_s, -1, 0.0)]:
            while (busy and busy[0][0] <= at) or sweep_s <= at:
                if busy and busy[0][0] <= sweep_s:
                    self._free(*reversed(heapq.heappop(busy)))  # type: ignore[arg-type]
                else:
                    self._sweep(sweep_s)
                    sweep_s += self.sweep_s
            if number < 0:
                break
            out.invocations += 1
            stack, one, history = self.idle[number], self.functions[number], self.histories[number]
            if stack:
                idle_s = at - stack.pop()
                if idle_s >= 1.0:
                    history.used(self.running[number], idle_s)
                self._left(number, idle_s, one.memory_mb)
                heapq.heappush(busy, (at + took_s, number))
            else:
                history.missed(at)
                history.started(one.cold_s)
                out.cold += 1
                out.cold_s += one.cold_s
                self.held_mb += one.memory_mb
                heapq.heappush(busy, (at + one.cold_s + took_s, number))
            self.running[number] += 1
        for stack, one in zip(self.idle, self.functions, strict=True):
            out.idle_mb_s += sum(end_s - since_s for since_s in stack) * one.memory_mb
        return out


def clairvoyant(functions: list[Function], events: list[tuple[float, int, float]], mb_s: float) -> int:
    """The fewest cold starts that `mb_s` of idle memory allow to who knows the future and starts nothing ahead.

    Every idle time that ends in a use can be bridged by keeping an environment for just so long; the cheapest are.
    """
    idle: list[list[float]] = [[] for _ in functions]
    busy: list[tuple[float, int]] = []
    prices: list[float] = []
    for at, number, took_s in events:
        while busy and busy[0][0] <= at:
            free_s, freed = heapq.heappop(busy)
            idle[freed].append(free_s)
        if idle[number]:
            prices.append((at - idle[number].pop()) * functions[number].memory_mb)
        heapq.heappush(busy, (at + took_s, number))
    bridged = 0
    for price in sorted(prices):
        mb_s -= price
        if mb_s < 0:
            break
        bridged += 1
    return len(events) - bridged


def at_equal_memory(
    functions: list[Function],
    events: list[tuple[float, int, float]],
    end_s: float,
    mb_s: float,
    most_s: float = MOST_S,
    sweep_s: float = SWEEP_S,
) -> tuple[float, Played]:
    """The largest budget found that holds no more idle megabyte-seconds than `mb_s`, and what came of it."""
    low_mb, high_mb = 0.9 * mb_s / end_s, 1.8 * mb_s / end_s
    best: tuple[float, Played] | None = None
    for _ in range(SEARCH_STEPS):
        budget_mb = (low_mb + high_mb) / 2
        played = Policy(functions, budget_mb, most_s, sweep_s).play(events, end_s)
        if played.idle_mb_s > mb_s:
            high_mb = budget_mb
            continue
        low_mb, best = budget_mb, (budget_mb, played)
        if played.idle_mb_s > mb_s * CLOSE:
            break
    assert best is not None
    return best


def run(rounds: int) -> list[Comparison]:
    """A round is a seed."""
    comparison = Comparison("G13", QUESTION, "timer, 10 minutes", rounds)
    for seed in range(rounds):
        functions = trace(seed)
        events, end_s = invocations(functions, seed), DAYS * DAY_S
        timer = play_timer(functions, events, end_s)
        _, policy = at_equal_memory(functions, events, end_s, timer.idle_mb_s)
        for arm, played in (("timer, 10 minutes", timer), ("lambent", policy)):
            _add(comparison, arm, cold_starts=played.cold, cold_s=played.cold_s, idle_gb_h=played.idle_mb_s / MB_S_GB_H)
        _add(comparison, FORESIGHT, cold_starts=clairvoyant(functions, events, timer.idle_mb_s))
    return [comparison]


def _add(comparison: Comparison, arm: str, **values: float) -> None:
    row = comparison.arms.setdefault(arm, {})
    for key, value in values.items():
        row.setdefault(key, []).append(value)
