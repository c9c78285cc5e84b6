"""Access logs of function URLs: a line for each request, in a log group of the function's account and region.

The service has none for function URLs; an HTTP API's are followed: the same format, the same `$context` variables.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from lambent.domain.clock import Clock
from lambent.domain.errors import LambentError
from lambent.domain.names import FunctionRef
from lambent.telemetry.attempt import UserEvents

from .access_logs import line

log = logging.getLogger(__name__)


class UrlLog:
    """Writes the lines. record: keeps events as if they had been put by the CloudWatch Logs API."""

    def __init__(self, group: str, format: str, record: Callable[[UserEvents], None], clock: Clock) -> None:
        self._group = group
        self._format = format
        self._record = record
        self._clock = clock

    def now_ns(self) -> int:
        """For measuring how long a request takes."""
        return self._clock.monotonic_ns()

    def write(self, ref: FunctionRef, url_id: str, values: Mapping[str, object]) -> None:
        """One line, into the URL's stream. A disk that is full keeps nobody from an answer."""
        now_ms = self._clock.wall_ms()
        text = line(self._format, values)
        events = UserEvents(ref.account, ref.region, self._group, url_id, [(now_ms, text)], now_ms)
        try:
            self._record(events)
        except LambentError as error:
            log.error("an access log line of %s could not be written: %s", ref.arn(), error.message)
