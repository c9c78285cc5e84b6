"""When the loop stays awake for what is due, and when it may sleep."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from lambent.environments.awake import SOON_WINDOWS, Awake

WINDOW_US = 250
US = 1_000


class Time:
    def __init__(self) -> None:
        self.ns = 10**12

    def __call__(self) -> int:
        return self.ns

    def passes(self, us: int) -> None:
        self.ns += us * US


def play(body: Callable[[Time, Awake], Awaitable[None]], window_us: int = WINDOW_US, processors: int = 2) -> None:
    async def main() -> None:
        time = Time()
        await body(time, Awake(window_us, processors, time))

    asyncio.run(main())


async def is_awake() -> bool:
    """Whether the loop has something to call in its next turns, which is what keeps it from sleeping."""
    for _ in range(3):  # whatever was looked for until now has had its turn to end
        await asyncio.sleep(0)
    return bool(asyncio.get_running_loop()._ready)  # type: ignore[attr-defined]


def test_the_answer_of_a_quick_function_is_waited_for_awake_and_not_for_longer_than_the_window() -> None:
    async def body(time: Time, awake: Awake) -> None:
        assert not await is_awake()
        awake.running = 1
        awake.dispatched(100)
        assert await is_awake()
        time.passes(WINDOW_US - 1)
        assert await is_awake()
        time.passes(1)
        assert not await is_awake()

    play(body)


def test_one_that_took_longer_the_last_time_is_slept_for_and_so_is_the_first_answer() -> None:
    async def body(time: Time, awake: Awake) -> None:
        awake.running = 1
        for last_us in (0, SOON_WINDOWS * WINDOW_US, 1_000_000):
            awake.dispatched(last_us)
            assert not await is_awake()
        awake.dispatched(SOON_WINDOWS * WINDOW_US - 1)  # the sleeping was part of what it took
        assert await is_awake()

    play(body)


def test_an_answer_ends_it_where_no_request_has_followed_the_answer_before() -> None:
    async def body(time: Time, awake: Awake) -> None:
        awake.running = 1
        awake.dispatched(100)
        awake.answered()
        assert not await is_awake()

    play(body)


def test_the_next_request_is_waited_for_awake_where_the_last_one_came_soon() -> None:
    async def body(time: Time, awake: Awake) -> None:
        awake.running = 1
        awake.answered()
        time.passes(SOON_WINDOWS * WINDOW_US - 1)
        awake.dispatched(1_000_000)
        assert not await is_awake()
        awake.answered()
        assert await is_awake()
        time.passes(WINDOW_US)
        assert not await is_awake()
        time.passes(SOON_WINDOWS * WINDOW_US)
        awake.dispatched(1_000_000)
        awake.answered()
        assert not await is_awake()

    play(body)


def test_processors_that_others_need_are_left_to_them() -> None:
    async def body(time: Time, awake: Awake) -> None:
        awake.running = 2
        awake.answered()
        awake.dispatched(100)
        awake.answered()
        assert not await is_awake()
        awake.running = 1
        awake.dispatched(100)
        assert await is_awake()

    play(body)


def test_one_processor_is_never_kept_awake() -> None:
    async def body(time: Time, awake: Awake) -> None:
        awake.running = 1
        awake.dispatched(100)
        assert not await is_awake()

    play(body, processors=1)


def test_zero_turns_it_off() -> None:
    async def body(time: Time, awake: Awake) -> None:
        awake.running = 1
        awake.answered()
        awake.dispatched(100)
        awake.answered()
        assert not await is_awake()

    play(body, window_us=0)
