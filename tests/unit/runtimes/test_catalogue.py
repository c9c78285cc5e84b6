"""The catalogue: every identifier, and its state on a day."""

from __future__ import annotations

from datetime import date

from lambent.functions.runtime_values import CREATABLE, RETIRED
from lambent.runtimes.catalogue import IDENTIFIERS, State, find


def test_the_catalogue_has_every_identifier_that_the_api_knows() -> None:
    assert set(IDENTIFIERS) == set(CREATABLE) | RETIRED


def test_names_are_taken_apart_into_family_and_version() -> None:
    parts = {
        "python3.12": ("python", "3.12"),
        "nodejs22.x": ("nodejs", "22"),
        "nodejs4.3-edge": ("nodejs", "4.3"),
        "java8.al2": ("java", "8"),
        "java17.al2023": ("java", "17"),
        "dotnetcore3.1": ("dotnet", "3.1"),
        "dotnet10": ("dotnet", "10"),
        "go1.x": ("go", "1"),
        "provided.al2023": ("provided", ""),
        "provided": ("provided", ""),
    }
    for name, (family, version) in parts.items():
        assert (IDENTIFIERS[name].family, IDENTIFIERS[name].version) == (family, version), name


def test_an_identifier_moves_from_supported_over_deprecated_to_blocked_on_its_dates() -> None:
    python = IDENTIFIERS["python3.10"]
    assert python.state(date(2026, 10, 30)) is State.SUPPORTED
    assert python.state(date(2026, 10, 31)) is State.DEPRECATED
    assert python.state(date(2027, 1, 31)) is State.DEPRECATED
    assert python.state(date(2027, 2, 1)) is State.BLOCKED


def test_what_is_announced_or_unscheduled_has_no_dates() -> None:
    day = date(2026, 11, 1)
    assert IDENTIFIERS["nodejs26.x"].state(day) is State.ANNOUNCED
    assert IDENTIFIERS["java17.al2023"].state(day) is State.SUPPORTED
    assert IDENTIFIERS["python2.7"].state(day) is State.BLOCKED


def test_unknown_names_are_not_found() -> None:
    assert find("python4.0") is None
