"""A budget for large request bodies, so that many clients uploading at once do not fill the memory.

Small bodies are not counted: the connections bound them. A large one, or one of unknown length, is admitted at the end of
its head or throttled there, before a byte of it is collected. Its share is given back when the exchange that holds it is
let go of, on whatever way it ends: answered, cut, timed out. (An exchange is in no reference cycle once it is answered.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lambent.api.running import RETRY_AFTER_S
from lambent.domain.errors import TooManyRequests

if TYPE_CHECKING:
    from lambent.http import Request

COUNTED_BYTES_MIN = 1 << 20
"""Bodies declared smaller than this are not counted."""

BODY_BYTES_IN_FLIGHT_MAX = 1 << 30
"""Large bodies being received or worked on at once, in bytes; one more is throttled."""


class BodyBudget:
    """Shares of `at_most` bytes."""

    def __init__(self, at_most: int = BODY_BYTES_IN_FLIGHT_MAX) -> None:
        self._at_most = at_most
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


class BodyShare:
    """Bytes of the budget, given back when this object is let go of."""

    __slots__ = ("_budget", "_size")

    def __init__(self, budget: BodyBudget, size: int) -> None:
        self._budget = budget
        self._size = size
        budget.taken += size

    def __del__(self) -> None:
        self._budget.taken -= self._size
