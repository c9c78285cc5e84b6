"""What takes longer than a second says so: on a terminal by a spinner, in a pipe by one line."""

from __future__ import annotations

import os
import pty
import sys
import threading

import pytest

from lambent.commands import output
from lambent.commands.output import working


def test_a_long_step_says_one_line_in_a_pipe(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert output.SILENT_S == 1.0
    monkeypatch.setattr(output, "SILENT_S", 0.0)
    with working("Sending hello") as words:
        words("Waiting for hello.")  # a sentence's full stop gives way to the dots
        for timer in [one for one in threading.enumerate() if isinstance(one, threading.Timer)]:
            timer.join(10)  # it may have ended already
    printed = capfd.readouterr()
    assert printed.out == ""
    assert printed.err in {"Sending hello…\n", "Waiting for hello…\n"}


def test_a_short_step_says_nothing_in_a_pipe(capfd: pytest.CaptureFixture[str]) -> None:
    with working("Listing"):
        (timer,) = (one for one in threading.enumerate() if isinstance(one, threading.Timer))
    timer.join(10)
    assert not timer.is_alive()
    assert capfd.readouterr() == ("", "")


def test_a_terminal_sees_it_at_once_and_nothing_of_it_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    inner, outer = pty.openpty()
    monkeypatch.setenv("TERM", "xterm")
    with os.fdopen(outer, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        with working("Sending hello"):
            shown = os.read(inner, 65_536).decode()
            while "Sending hello…" not in shown:
                shown += os.read(inner, 65_536).decode()
        terminal.flush()
        rest = os.read(inner, 65_536).decode()
        while "\x1b[2K" not in rest:
            rest += os.read(inner, 65_536).decode()
    os.close(inner)
