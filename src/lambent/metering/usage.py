"""The usage table: per function what a month used and would cost."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from ..domain.names import Scope
from ..telemetry.index import Usage
from .ledger import Ledger
from .prices import PUBLISHED, Charge, PriceBook, charge, gb_seconds


@dataclass(frozen=True, slots=True)
class FunctionUsage:
    """One line of the table: a function in one architecture, all versions together."""

    function: str
    architecture: str
    usage: Usage
    gb_seconds: Fraction
    amount: Fraction
    """Its share of the account's charge: tiers and free tier are the account's, shared by what each function used."""


@dataclass(frozen=True, slots=True)
class MonthUsage:
    month: str
    functions: list[FunctionUsage]
    """By amount, the dearest first."""
    total: Usage
    charge: Charge
    book: PriceBook
    with_free_tier: bool


def month_usage(
    ledger: Ledger, scope: Scope, month: str, *, book: PriceBook = PUBLISHED, with_free_tier: bool = False
) -> MonthUsage:
    """One month of one account in one region. The functions' amounts add up to the charge exactly.

    Raises InvalidParameterValue for a month that is none.
    """
    sums: dict[tuple[str, str], Usage] = {}
    total = Usage()
    for row in ledger.rows(scope, month):
        sums.setdefault((row.function, row.architecture), Usage()).merge(row.usage)
        total.merge(row.usage)
    by_architecture: dict[str, int] = {}
    for (_, architecture), usage in sums.items():
        by_architecture[architecture] = by_architecture.get(architecture, 0) + usage.mb_ms
    charged = charge(
        book,
        by_architecture,
        total.requests,
        total.ephemeral_mb_ms,
        total.streamed_bytes,
        total.restored_mb,
        with_free_tier=with_free_tier,
    )
    functions = []
    for (function, architecture), usage in sums.items():
        amount = (
            _share(charged.compute[architecture], usage.mb_ms, by_architecture[architecture])
            + _share(charged.requests, usage.requests, total.requests)
            + _share(charged.ephemeral, usage.ephemeral_mb_ms, total.ephemeral_mb_ms)
            + _share(charged.streamed, usage.streamed_bytes, total.streamed_bytes)
            + _share(charged.restored, usage.restored_mb, total.restored_mb)
        )
        functions.append(FunctionUsage(function, architecture, usage, gb_seconds(usage.mb_ms), amount))
    functions.sort(key=lambda line: (-line.amount, line.function, line.architecture))
    return MonthUsage(month, functions, total, charged, book, with_free_tier)


def _share(amount: Fraction, part: int, whole: int) -> Fraction:
    return amount * Fraction(part, whole) if whole else Fraction(0)
