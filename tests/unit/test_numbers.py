"""The table of numbers: each that was set out to be reached is there, with a benchmark that exists."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

import pytest
from bench.__main__ import NAMES

ROOT = Path(__file__).resolve().parents[2]
WANTED = [*range(1, 14), 15]


def rows() -> dict[str, list[str]]:
    """By the first cell, without what follows a comma: the last cells of its rows."""
    text = (ROOT / "SPECIFICATION.md").read_text().partition("## Numbers")[2].partition("\n## ")[0]
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if re.fullmatch(r"[A-Z]\d+(, .*)?", cells[0]):
            found.setdefault(cells[0].partition(",")[0], []).append(cells[-1])
    return found


@pytest.mark.parametrize("number", WANTED)
def test_each_number_names_a_benchmark_that_is_there(number: int) -> None:
    for cell in rows()[f"G{number}"]:
        named = re.findall(r"python -m bench ([a-z_]+)", cell)
        assert named, cell
        assert set(named) <= set(NAMES), cell


@pytest.mark.parametrize("name", NAMES)
def test_each_benchmark_is_a_module(name: str) -> None:
    assert find_spec(f"bench.{name}") is not None
