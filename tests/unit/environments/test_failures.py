"""How a process ended, in the words a caller of the real service reads."""

from __future__ import annotations

import errno
import json

import pytest

from lambent.environments.failures import (
    RESPONSE_TOO_LARGE,
    describe_exit,
    describe_extension_exit,
    launch_error_type,
    timed_out,
)
from lambent.sandbox.port import Exit


@pytest.mark.parametrize(
    ("exit_", "expected"),
    [
        (Exit(0, None, False), ("Runtime.ExitError", "Runtime exited without providing a reason")),
        (Exit(3, None, False), ("Runtime.ExitError", "Runtime exited with error: exit status 3")),
        (Exit(None, 9, False), ("Runtime.ExitError", "Runtime exited with error: signal: killed")),
        (Exit(None, 11, False), ("Runtime.ExitError", "Runtime exited with error: signal: segmentation fault")),
        (Exit(None, 9, True), ("Runtime.OutOfMemory", "Runtime exited with error: signal: killed")),
        (
            Exit(None, None, False, error=errno.EACCES),
            ("PermissionDenied", "fork/exec /var/task/bootstrap: permission denied"),
        ),
        (
            Exit(None, None, False, error=errno.ENOEXEC),
            ("Runtime.InvalidEntrypoint", "fork/exec /var/task/bootstrap: exec format error"),
        ),
    ],
)
def test_an_exit_is_described(exit_: Exit, expected: tuple[str, str]) -> None:
    assert describe_exit(exit_) == expected


@pytest.mark.parametrize(
    ("exit_", "expected"),
    [
        (Exit(0, None, False), ("Extension.Crash", "exit code 0")),
        (Exit(3, None, False), ("Extension.Crash", "exit status 3")),
        (Exit(None, 9, False), ("Extension.Crash", "signal: killed")),
        (Exit(None, 34, False), ("Extension.Crash", "signal: signal 34")),
        (
            Exit(None, None, False, error=errno.EACCES),
            ("Extension.LaunchError", "fork/exec /opt/extensions/x: permission denied"),
        ),
        (
            Exit(None, None, False, error=errno.ENOEXEC),
            ("Extension.LaunchError", "fork/exec /opt/extensions/x: exec format error"),
        ),
    ],
)
def test_an_extensions_end_is_described(exit_: Exit, expected: tuple[str, str]) -> None:
    assert describe_extension_exit("x", exit_) == expected


def test_why_an_extension_could_not_be_started() -> None:
    assert [launch_error_type(one) for one in (errno.EACCES, errno.ENOENT)] == ["PermissionDenied", "UnknownError"]


def test_a_time_out_names_the_request_and_two_decimals() -> None:
    assert json.loads(timed_out("r-1", 3.0)) == {
        "errorType": "Sandbox.Timedout",
        "errorMessage": "RequestId: r-1 Error: Task timed out after 3.00 seconds",
    }


def test_an_oversized_response_has_the_published_document() -> None:
    assert RESPONSE_TOO_LARGE == (
        b'{"errorMessage":"Response payload size exceeded maximum allowed payload size (6291556 bytes).",'
        b'"errorType":"Function.ResponseSizeTooLarge"}'
    )
