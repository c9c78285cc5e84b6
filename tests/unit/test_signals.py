"""A process id that was read wrongly ends one test, not the whole run without a word."""

from __future__ import annotations

import os
import signal

import pytest


@pytest.mark.parametrize("pid", [0, 1, -1])
def test_no_test_signals_everybody(pid: int) -> None:
    with pytest.raises(AssertionError, match=f"signal {signal.SIGCONT:d} to pid {pid}:"):
        os.kill(pid, signal.SIGCONT)  # harmless, if it is sent after all


def test_no_test_signals_its_own_process_group() -> None:
    for group in (0, 1, os.getpgrp()):
        with pytest.raises(AssertionError, match=f"to process group {group}:"):
            os.killpg(group, signal.SIGCONT)


def test_its_own_children_it_signals_and_asks_for() -> None:
    child = os.fork()
    if child == 0:
        signal.pause()
    os.kill(child, 0)
    os.kill(child, signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    os.kill(0, 0)
