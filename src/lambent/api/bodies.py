"""A budget for large request bodies, so that many clients uploading at once do not fill the memory.

Small bodies are not counted: the connections bound them. A large one, or one of unknown length, is admitted at the end of
its head or throttled there, before a byte of it is collected. Its share is given back when the exchange that holds it is
let go of, on whatever way it ends: answered, cut, timed out. (An exchange is in no reference cycle once it is answered.)

The heap is told before the first one, and again when none has come for a while: see assembly/memory.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from lambent.api.running import RETRY_AFTER_S
from lambent.domain.errors import TooManyRequests

if TYPE_CHECKING:
    from lambent.http import Request

COUNTED_BYTES_MIN = 1 << 20
"""Bodies declared smaller than this are not counted."""

BODY_BYTES_IN_FLIGHT_MAX = 1 << 30
"""Large bodies being received or worked on at once, in bytes; one more is throttled."""

QUIET_S = 2.0
"""Without a large body, before memory is given back, in seconds."""


class Timer(Protocol):
    def cancel(self) -> None:
        """Don't call."""


class Heap(Protocol):
    """Where bodies are kept."""

    def expect_large(self) -> None:
        """Called once, before the first large body."""

    def give_back(self) -> None:
        """Called when there was no large body for QUIET_S to twice that, after some."""


class HeapCare:
    """Tells the heap before the first large body, and when none has come for a while.

    later: the event loop's `call_later`.
    """

    def __init__(self, heap: Heap, later: Callable[[float, Callable[[], None]], Timer]) -> None:
        self._heap = heap
        self._later = later
        self._timer: Timer | None = None
        self._in_flight = 0
        self._is_told = False
        self._has_come = False
        """Another one, since it was looked."""

    def begin(self) -> None:
        """A large body comes."""
        self._in_flight += 1
        self._has_come = True
        if not self._is_told:
            self._is_told = True
            self._heap.expect_large()
        if self._timer is None:
            self._timer = self._later(QUIET_S, self._look)

    def end(self) -> None:
        """One is gone."""
        self._in_flight -= 1

    def _look(self) -> None:
        is_quiet = not self._has_come and self._in_flight == 0
        self._has_come = False
        self._timer = None if is_quiet else self._later(QUIET_S, self._look)
        if is_quiet:
            self._heap.give_back()

    def close(self) -> None:
        """Nothing is looked at any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class BodyBudget:
    """Shares of `at_most` bytes; `care` is told of each."""

    def __init__(self, at_most: int = BODY_BYTES_IN_FLIGHT_MAX, care: HeapCare | None = None) -> None:
        self._at_most = at_most
        self.care = care
        self.taken = 0

    def admit(self, request: Request, limit: int) -> BodyShare | None:
        """The share of a request's body, to be kept as long as the body; None for a small one.

        limit: the most that will be collected of it. Raises TooManyRequests if the budget is spent.
        """
        declared = request.header(b"content-length")
        if declared is not None:
            if len(declared) < 7:  # fewer digits than COUNTED_BYTES_MIN has
                return None
            size = min(int(declared), limit)
            if size < COUNTED_BYTES_MIN:
                return None
        elif request.header(b"transfer-encoding") is None:
            return None
        else:
            size = limit
        if self.taken + size > self._at_most:
            raise TooManyRequests("CallerRateLimitExceeded", "Rate exceeded", retry_after_s=RETRY_AFTER_S)
        return BodyShare(self, size)

    def close(self) -> None:
        """Nothing is looked at any more."""
        if self.care is not None:
            self.care.close()


class BodyShare:
    """Bytes of the budget, given back when this object is let go of."""

    __slots__ = ("_budget", "_size")

    def __init__(self, budget: BodyBudget, size: int) -> None:
        self._budget = budget
        self._size = size
        budget.taken += size
        if budget.care is not None:
            budget.care.begin()

    def __del__(self) -> None:
        self._budget.taken -= self._size
        if self._budget.care is not None:
            self._budget.care.end()
