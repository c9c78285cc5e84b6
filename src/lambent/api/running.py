"""Handlers in flight: a bounded set of supervised tasks.

A handler that was started runs to its end: the client going away does not cancel it, because half of a deployment is
worse than an unread answer. Only the server's shutdown cancels, after its grace.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

from lambent.domain.errors import TooManyRequests

log = logging.getLogger(__name__)

HANDLERS_MAX = 1_024
"""Control-plane requests being worked on at once; one more is throttled."""

RETRY_AFTER_S = 1


class Running:
    """The set; `start` refuses over the bound, `drain` waits and then cancels."""

    def __init__(self, at_most: int = HANDLERS_MAX) -> None:
        self._at_most = at_most
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    def admit(self) -> None:
        """Raises TooManyRequests if one more would be over the bound."""
        if len(self._tasks) >= self._at_most:
            raise TooManyRequests("CallerRateLimitExceeded", "Rate exceeded", retry_after_s=RETRY_AFTER_S)

    def start(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Run `work`, which answers its own errors, to its end; one that does not is logged. Call `admit` before."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("%s failed", task.get_name(), exc_info=task.exception())

    async def drain(self, grace_s: float) -> None:
        """Wait up to `grace_s` seconds for all to end, then cancel the rest and wait for that."""
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=grace_s)
        for task in set(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(set(self._tasks))
