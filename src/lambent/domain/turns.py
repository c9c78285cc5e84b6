"""Turns: who may change one function now, first come first served."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Hashable

WAITERS_MAX = 1_000
"""Callers that wait for a turn on one key; one more is sent away at once."""


class Turns:
    """One holder a key at a time. A turn may be given back by somebody else than its taker: whoever finishes the work.

    Keys that nobody holds take no memory.
    """

    def __init__(self) -> None:
        self._lines: dict[Hashable, deque[asyncio.Future[None]]] = {}

    def is_taken(self, key: Hashable) -> bool:
        return key in self._lines

    async def take(self, key: Hashable, wait_s: float) -> bool:
        """Take the turn on `key`, waiting up to `wait_s` seconds; False: it was not our turn in time."""
        line = self._lines.get(key)
        if line is None:
            self._lines[key] = deque()
            return True
        if len(line) >= WAITERS_MAX:
            return False
        call = asyncio.get_running_loop().create_future()
        line.append(call)
        try:
            async with asyncio.timeout(wait_s):
                await call
        except BaseException as error:
            # The call and the time-out (or a cancellation) may come in the same breath: then the turn is ours, and
            # either used or given back, never lost.
            if call.done() and not call.cancelled():
                if isinstance(error, TimeoutError):
                    return True
                self.give_back(key)
            else:
                line.remove(call)
                if isinstance(error, TimeoutError):
                    return False
            raise
        return True

    def give_back(self, key: Hashable) -> None:
        """End the turn on `key` and call the next in line."""
        line = self._lines[key]
        while line:
            call = line.popleft()
            if not call.done():
                call.set_result(None)
                return
        del self._lines[key]
