"""When `lambent doctor` is content."""

from __future__ import annotations

import pytest

from lambent.commands.doctor import BAD, COMFORTS, GOOD, POOR, Finding, is_fit

WHATS = ("launcher", "isolation", "network", "snapstart", "runtimes", "data")


def findings(**states: str) -> list[Finding]:
    return [Finding(what, states.get(what, GOOD), "") for what in WHATS]


def test_a_machine_on_which_everything_works_is_fit() -> None:
    assert is_fit(findings())


@pytest.mark.parametrize("what", COMFORTS)
def test_what_only_makes_functions_start_or_reach_less_is_no_reason_to_fail(what: str) -> None:
    """The rootless tier never has copies for SnapStart; its functions are isolated and run."""
    assert is_fit([*findings(), Finding(what, POOR, "")])


@pytest.mark.parametrize("what", ["launcher", "isolation", "runtimes", "data"])
@pytest.mark.parametrize("state", [POOR, BAD])
def test_what_functions_need_to_run_isolated_is_one(what: str, state: str) -> None:
    assert not is_fit(findings(**{what: state}))
