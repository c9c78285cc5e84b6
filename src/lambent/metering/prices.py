"""The price book: what usage would cost, from published prices, in exact numbers.

Amounts are Fractions: a share of a tier is no finite decimal, and rounding is for whoever prints. Tiers are per region,
architecture and account; the free tier counts both architectures together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_UP, Decimal
from fractions import Fraction

MB_MS_PER_GB_S = 1_024_000
"""1,024 MB times 1,000 ms."""
BYTES_PER_GB = 1_073_741_824


@dataclass(frozen=True, slots=True)
class Tier:
    """A price per GB-second for the first `gb_s` GB-seconds after the tiers before; None: for all the rest."""

    gb_s: int | None
    price: Decimal


@dataclass(frozen=True, slots=True)
class FreeTier:
    """What each month costs nothing."""

    requests: int
    gb_s: int
    streamed_bytes: int


@dataclass(frozen=True, slots=True)
class PriceBook:
    source: str
    currency: str
    tiers: Mapping[str, tuple[Tier, ...]]
    """By architecture: x86_64, arm64."""
    request: Decimal
    """Per billed request."""
    ephemeral_gb_s: Decimal
    """Per GB-second of EphemeralStorage over 512 MB."""
    streamed_gb: Decimal
    """Per GB of streamed responses, beyond the first 6 MB of each."""
    restored_gb: Decimal
    """Per GB of memory and restoration from a snapshot (Python; that of Java costs nothing)."""
    free: FreeTier

    def compute(self, architecture: str, gb_s: Fraction, free_gb_s: Fraction = Fraction(0)) -> Fraction:
        """What `gb_s` of a month cost in one architecture when the first `free_gb_s` of them are free.

        Free GB-seconds are taken out of the first tier. Raises KeyError for an architecture without prices.
        """
        amount, rest = Fraction(0), max(Fraction(0), gb_s - free_gb_s)
        for tier in self.tiers[architecture]:
            share = rest if tier.gb_s is None else min(rest, Fraction(tier.gb_s))
            amount += share * Fraction(tier.price)
            rest -= share
        return amount


PUBLISHED = PriceBook(
    source="AWS Lambda pricing, US East (N. Virginia), September 2026, on-demand, without savings plans",
    currency="USD",
    tiers={
        "x86_64": (
            Tier(6_000_000_000, Decimal("0.0000166667")),
            Tier(9_000_000_000, Decimal("0.000015")),
            Tier(None, Decimal("0.0000133334")),
        ),
        "arm64": (
            Tier(7_500_000_000, Decimal("0.0000133334")),
            Tier(11_250_000_000, Decimal("0.0000120001")),
            Tier(None, Decimal("0.0000106667")),
        ),
    },
    request=Decimal("0.0000002"),
    ephemeral_gb_s=Decimal("0.0000000309"),
    streamed_gb=Decimal("0.008"),
    restored_gb=Decimal("0.0001397998"),
    free=FreeTier(requests=1_000_000, gb_s=400_000, streamed_bytes=100 * BYTES_PER_GB),
)


@dataclass(frozen=True, slots=True)
class Charge:
    """One month of one account in one region. Amounts in the book's currency."""

    compute: Mapping[str, Fraction]
    """By architecture."""
    requests: Fraction
    ephemeral: Fraction
    streamed: Fraction
    restored: Fraction

    @property
    def total(self) -> Fraction:
        parts = (*self.compute.values(), self.requests, self.ephemeral, self.streamed, self.restored)
        return sum(parts, Fraction(0))


def gb_seconds(mb_ms: int) -> Fraction:
    return Fraction(mb_ms, MB_MS_PER_GB_S)


def charge(
    book: PriceBook,
    mb_ms: Mapping[str, int],
    requests: int,
    ephemeral_mb_ms: int,
    streamed_bytes: int = 0,
    restored_mb: int = 0,
    *,
    with_free_tier: bool = False,
) -> Charge:
    """Price a month's exact sums. The free GB-seconds go to x86_64 first, where they are worth most."""
    free = Fraction(book.free.gb_s if with_free_tier else 0)
    compute: dict[str, Fraction] = {}
    for architecture in sorted(mb_ms, key=lambda name: (name != "x86_64", name)):
        used = gb_seconds(mb_ms[architecture])
        compute[architecture] = book.compute(architecture, used, free)
        free = max(Fraction(0), free - used)
    paid = max(0, requests - (book.free.requests if with_free_tier else 0))
    streamed = max(0, streamed_bytes - (book.free.streamed_bytes if with_free_tier else 0))
    return Charge(
        compute=compute,
        requests=paid * Fraction(book.request),
        ephemeral=gb_seconds(ephemeral_mb_ms) * Fraction(book.ephemeral_gb_s),
        streamed=Fraction(streamed, BYTES_PER_GB) * Fraction(book.streamed_gb),
        restored=Fraction(restored_mb, 1_024) * Fraction(book.restored_gb),
    )


def to_decimal(amount: Fraction, places: int = 10) -> Decimal:
    """For printing: rounded up at the given decimal place, so that a sum shown is never less than its parts owe."""
    scaled = amount * 10**places
    whole = -(-scaled.numerator // scaled.denominator)
    return (Decimal(whole) / Decimal(10**places)).quantize(Decimal(1).scaleb(-places), rounding=ROUND_UP)
