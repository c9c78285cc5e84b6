"""Prices: exact, tiered, with and without the free tier."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest

from lambent.domain.limits import STREAM_FREE_BYTES
from lambent.metering.prices import BYTES_PER_GB, MB_MS_PER_GB_S, PUBLISHED, charge, gb_seconds, to_decimal
from lambent.telemetry.attempt import streamed_bytes


def test_a_gb_second_is_1024_mb_for_1000_ms() -> None:
    assert gb_seconds(1_024 * 1_000) == 1
    assert gb_seconds(128 * 8_000) == 1


@pytest.mark.parametrize(
    ("architecture", "gb_s", "amount"),
    [
        ("x86_64", 1_000, "0.0166667"),
        ("x86_64", 6_000_000_000, "100000.2"),
        ("x86_64", 15_000_000_000, "235000.2"),
        ("x86_64", 15_000_000_001, "235000.2000133334"),
        ("arm64", 7_500_000_000, "100000.5"),
        ("arm64", 18_750_000_000, "235001.625"),
        ("arm64", 18_750_000_001, "235001.6250106667"),
    ],
)
def test_tiers_follow_each_other(architecture: str, gb_s: int, amount: str) -> None:
    assert PUBLISHED.compute(architecture, Fraction(gb_s)) == Fraction(Decimal(amount))


def test_a_million_requests_cost_twenty_cents() -> None:
    assert charge(PUBLISHED, {}, 1_000_000, 0).total == Fraction("0.2")
    assert charge(PUBLISHED, {}, 1_000_000, 0, with_free_tier=True).total == 0
    assert charge(PUBLISHED, {}, 1_000_001, 0, with_free_tier=True).total == Fraction(PUBLISHED.request)


def test_ephemeral_storage_is_priced_by_the_gb_second() -> None:
    assert charge(PUBLISHED, {}, 0, MB_MS_PER_GB_S * 1_000_000).ephemeral == Fraction("0.0309")


def test_restorations_are_priced_by_their_memory() -> None:
    """Source: AWS Lambda pricing, SnapStart: per GB restored, beside the duration."""
    assert charge(PUBLISHED, {}, 0, 0, 0, 3 * 512).restored == Fraction("0.0001397998") * 3 / 2
    assert charge(PUBLISHED, {}, 0, 0, 0, 1_024).total == Fraction("0.0001397998")


def test_streamed_bytes_are_priced_beyond_the_first_six_megabytes_of_each() -> None:
    assert streamed_bytes(0) == streamed_bytes(STREAM_FREE_BYTES) == 0
    assert streamed_bytes(STREAM_FREE_BYTES + 5) == 5
    assert charge(PUBLISHED, {}, 0, 0, 3 * BYTES_PER_GB).total == Fraction("0.024")
    assert charge(PUBLISHED, {}, 0, 0, 100 * BYTES_PER_GB, with_free_tier=True).streamed == 0
    assert charge(PUBLISHED, {}, 0, 0, 101 * BYTES_PER_GB, with_free_tier=True).streamed == Fraction("0.008")


def test_the_free_tier_is_one_for_both_architectures() -> None:
    used = {"x86_64": 300_000 * MB_MS_PER_GB_S, "arm64": 200_000 * MB_MS_PER_GB_S}
    charged = charge(PUBLISHED, used, 0, 0, with_free_tier=True)
    assert charged.compute == {"x86_64": 0, "arm64": 100_000 * Fraction("0.0000133334")}


def test_printing_rounds_up_and_never_down() -> None:
    assert to_decimal(Fraction(1, 3), 4) == Decimal("0.3334")
    assert to_decimal(Fraction(1, 2), 4) == Decimal("0.5000")
    assert str(to_decimal(Fraction(0), 2)) == "0.00"
