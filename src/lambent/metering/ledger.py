"""The ledger: exact usage by function, version, architecture and day, for good.

It has no store of its own. Rows are the sums kept with the records (each attempt is counted where its record is
written, in the same step) plus the durable totals of records that retention has dropped.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from ..domain.errors import InvalidParameterValue
from ..domain.names import Scope
from ..telemetry.index import Usage
from ..telemetry.records import Records

_MONTH = re.compile(r"\d{4}-(0[1-9]|1[0-2])")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Row:
    """What one function's version used in one architecture on one UTC day (the day its attempts started)."""

    account: str
    region: str
    function: str
    version: str
    architecture: str
    day: str
    """2026-01-31"""
    usage: Usage


class Ledger:
    def __init__(self, records: Records) -> None:
        self._records = records

    def rows(self, scope: Scope | None = None, month: str | None = None, function: str | None = None) -> list[Row]:
        """Rows by account, region, function, version, architecture, day; None: all of them.

        month: 2026-01, UTC. Raises InvalidParameterValue for anything else. Reads the indexes of closed segments the
        first time: call it on a thread.
        """
        if month is not None and _MONTH.fullmatch(month) is None:
            raise InvalidParameterValue(f"{month} is not a month such as 2026-01.")
        rows = []
        for (account, region, name, version, architecture, day), usage in sorted(self._records.usage().items()):
            date = (_EPOCH + timedelta(days=day)).strftime("%Y-%m-%d")
            if (
                (scope is None or (account, region) == (scope.account, scope.region))
                and (month is None or date.startswith(month))
                and (function is None or function == name)
            ):
                rows.append(Row(account, region, name, version, architecture, date, usage))
        return rows

    def months(self, scope: Scope) -> list[str]:
        """Months in which something ran, oldest first."""
        return sorted({row.day[:7] for row in self.rows(scope)})


def sum_of(rows: Iterable[Row]) -> Usage:
    """The exact sum of rows."""
    total = Usage()
    for row in rows:
        total.merge(row.usage)
    return total
