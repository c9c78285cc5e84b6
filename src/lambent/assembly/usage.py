"""`GET /_lambent/usage?month=YYYY-MM`: the ledger as the command line and the console read it.

The answer is one account's month in one region: a row per function and architecture, and what the month would have cost
at the published prices. Amounts are decimal strings in the book's currency, rounded up at ten places; counts are exact.
"""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import parse_qs

import orjson

from lambent.api.ports import Authenticator
from lambent.api.wire import render
from lambent.domain.clock import Clock
from lambent.domain.ids import new_uuid
from lambent.domain.names import Scope
from lambent.http import Buffered, Exchange
from lambent.metering.ledger import Ledger
from lambent.metering.prices import to_decimal
from lambent.metering.usage import MonthUsage, month_usage
from lambent.telemetry.index import Usage

PLACES = 10
_JSON = (b"content-type", b"application/json")


class UsageDoor:
    """An application for the door's path mount."""

    def __init__(self, ledger: Ledger, authenticator: Authenticator, clock: Clock) -> None:
        self._ledger = ledger
        self._authenticator = authenticator
        self._clock = clock

    def head(self, exchange: Exchange) -> Buffered | None:
        request_id = new_uuid()
        try:
            request = exchange.request
            if request.method != "GET":
                exchange.respond(405, [(b"allow", b"GET"), _JSON], b'{"message":"Usage is read with GET."}')
                return None
            caller = self._authenticator.identify(request)
            checking = self._authenticator.verify(request, caller)
            assert checking is None  # an empty body is never hashed in a thread
            month = parse_qs(request.query.decode("latin-1")).get("month", [self._this_month()])[0]
            usage = month_usage(self._ledger, caller.scope, month)
            exchange.respond(200, [_JSON], orjson.dumps(document(usage, caller.scope)))
        except Exception as error:
            answer = render(error, request_id)
            exchange.respond(answer.status, [_JSON, *answer.headers], answer.body)
        return None

    def handle(self, exchange: Exchange) -> None:
        """Never called: `head` answers everything."""
        raise AssertionError("usage has no body")

    def too_large(self, exchange: Exchange, limit: int, declared: int | None) -> None:
        """Never called: no body is asked for."""
        raise AssertionError("usage has no body")

    def _this_month(self) -> str:
        return time.strftime("%Y-%m", time.gmtime(self._clock.wall_ms() / 1_000))


def document(usage: MonthUsage, scope: Scope) -> dict[str, Any]:
    """A month as JSON."""
    return {
        "month": usage.month,
        "account": scope.account,
        "region": scope.region,
        "currency": "USD",
        "functions": [
            {
                "function": line.function,
                "architecture": line.architecture,
                "amount": f"{to_decimal(line.amount, PLACES):f}",
                "gb_seconds": float(line.gb_seconds),
                **_counts(line.usage),
            }
            for line in usage.functions
        ],
        "total": {
            "amount": f"{to_decimal(usage.charge.total, PLACES):f}",
            "gb_seconds": usage.total.mb_ms / 1_024_000,
            **_counts(usage.total),
        },
    }


def _counts(usage: Usage) -> dict[str, int]:
    return {
        "requests": usage.requests,
        "attempts": usage.attempts,
        "errors": usage.errors,
        "timeouts": usage.timeouts,
        "billed_ms": usage.billed_ms,
        "mb_ms": usage.mb_ms,
        "init_mb_ms": usage.init_mb_ms,
        "ephemeral_mb_ms": usage.ephemeral_mb_ms,
        "streamed_bytes": usage.streamed_bytes,
        "restored_mb": usage.restored_mb,
    }
