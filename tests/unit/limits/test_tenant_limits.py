"""How many environments an account's tenants have together."""

from __future__ import annotations

import pytest

from lambent.assembly.node import tenant_environments_max


@pytest.mark.parametrize(("concurrency", "environments"), [(1_000, 2_500), (10, 25), (1, 2), (4_000, 10_000)])
def test_an_account_has_two_and_a_half_tenants_environments_for_each_of_its_concurrency(
    concurrency: int, environments: int
) -> None:
    assert tenant_environments_max(concurrency) == environments
