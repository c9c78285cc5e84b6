"""Turns are taken in order, given back by anybody, and never lost."""

from __future__ import annotations

import asyncio

import pytest

from lambent.domain.turns import WAITERS_MAX, Turns


def test_turns_come_in_order_and_keys_are_forgotten() -> None:
    async def scenario() -> None:
        turns = Turns()
        order: list[int] = []

        async def take(number: int) -> None:
            assert await turns.take("a", 30)
            order.append(number)
            await asyncio.sleep(0)
            turns.give_back("a")

        await asyncio.gather(*(take(number) for number in range(5)))
        assert order == [0, 1, 2, 3, 4]
        assert not turns.is_taken("a")

    asyncio.run(scenario())


def test_who_waits_too_long_is_sent_away_and_does_not_block_the_next() -> None:
    async def scenario() -> None:
        turns = Turns()
        assert await turns.take("a", 0)
        assert not await turns.take("a", 0.001)
        waiting = asyncio.ensure_future(turns.take("a", 30))
        await asyncio.sleep(0)
        turns.give_back("a")
        assert await waiting
        turns.give_back("a")
        assert not turns.is_taken("a")

    asyncio.run(scenario())


def test_a_call_and_a_cancellation_in_the_same_breath_pass_the_turn_on() -> None:
    async def scenario() -> None:
        turns = Turns()
        assert await turns.take("a", 0)
        first = asyncio.ensure_future(turns.take("a", 30))
        second = asyncio.ensure_future(turns.take("a", 30))
        await asyncio.sleep(0)
        turns.give_back("a")
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        assert await second

    asyncio.run(scenario())


def test_the_line_is_bounded() -> None:
    async def scenario() -> None:
        turns = Turns()
        assert await turns.take("a", 0)
        waiting = [asyncio.ensure_future(turns.take("a", 30)) for _ in range(WAITERS_MAX)]
        await asyncio.sleep(0)
        assert not await turns.take("a", 30)
        for call in waiting:
            call.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)

    asyncio.run(scenario())
