"""Trace headers: a given root is kept, a missing one is made."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.invocations.trace import is_sampled, trace_header

FORM = re.compile(r"Root=1-[0-9a-f]{8}-[0-9a-f]{24};Parent=[0-9a-f]{16};Sampled=[01](;.*)?")
ROOT = "1-5759e988-bd862e3fe1be46a994272793"


def test_without_a_header_pass_through_is_not_sampled_and_active_is() -> None:
    assert not is_sampled(trace_header(None, 1_700_000_000_000, is_active=False))
    assert is_sampled(trace_header(None, 1_700_000_000_000, is_active=True))


def test_root_sampling_and_lineage_are_kept_and_the_parent_is_new() -> None:
    made = trace_header(f"Root={ROOT};Parent=53995c3f42cd8ad8;Sampled=1;Lineage=a:1|b:2", 0, is_active=False)
    assert made.startswith(f"Root={ROOT};Parent=")
    assert "53995c3f42cd8ad8" not in made
    assert made.endswith(";Sampled=1;Lineage=a:1|b:2")


@pytest.mark.parametrize("junk", ["", "x", "Root=", "Root=1-2-3", ";;;=;", "Root=" + "a" * 4_000])
def test_a_malformed_header_is_replaced(junk: str) -> None:
    assert FORM.fullmatch(trace_header(junk, 1_700_000_000_000, is_active=False))


@given(st.text(max_size=200))
def test_any_text_yields_a_well_formed_header(text: str) -> None:
    made = trace_header(text.replace("\n", ""), 1_700_000_000_000, is_active=False)
    assert made.startswith("Root=1-")
