"""The path to "listening" imports the event loop, the parser, JSON, click and ours; everything else waits for its use.

Measured by the interpreter itself (-X importtime) in a server that is started for real, up to the line that names its
endpoint.
"""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

ALLOWED = frozenset({"lambent", "uvloop", "httptools", "orjson", "click"})
SLOW_STANDARD = frozenset(
    {"http.client", "email", "xml", "unittest", "multiprocessing", "importlib.metadata", "zipfile"}
)
"""Of the standard library, but milliseconds that nothing before the first request needs."""
LATE = ("lambent.gateway", "lambent.http.tls", "lambent.http.authority", "lambent.assembly.secure")
"""Ours, but needed by the first request to a URL, or by nobody who has not asked for HTTPS."""
LIMIT_S = 30
SOURCE = Path(__file__).resolve().parents[2] / "src"
_IMPORT = re.compile(r"^import time:\s+\d+ \|\s+\d+ \|\s*(\S+)$")


def imported(*arguments: str, until: str | None) -> list[str]:
    """Modules that a Python process imports: all of them, or those before a line with `until` on either stream."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LAMBENT_")}
    child = subprocess.Popen(
        [sys.executable, "-X", "importtime", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**environment, "PYTHONPATH": str(SOURCE), "PYTHONUNBUFFERED": "1"},
        text=True,
    )
    assert child.stdout is not None
    watchdog = threading.Timer(LIMIT_S, child.kill)
    watchdog.start()
    names, lines = [], []
    try:
        for line in child.stdout:
            match = _IMPORT.match(line)
            if match is not None:
                names.append(match[1])
                continue
            lines.append(line)
            if until is not None and until in line:
                break
        else:
            assert until is None, f"it never said {until!r}: {''.join(lines)}"
    finally:
        child.send_signal(signal.SIGTERM)
        child.stdout.read()
        child.stdout.close()
        child.wait()
        watchdog.cancel()
    return names


def exists(name: str) -> bool:
    """The interpreter tells of attempts, too: `copy` tries a module that only Jython has."""
    return importlib.util.find_spec(top(name)) is not None


def top(name: str) -> str:
    return name.partition(".")[0]


@pytest.mark.skipif(
    not (SOURCE / "lambent" / "app.py").exists(), reason="there is no server to start: lambent/app.py is missing"
)
def test_a_server_that_listens_has_imported_nothing_beyond_the_list(tmp_path: Path) -> None:
    arguments = ["--port", "0", "--data-dir", str(tmp_path / "data"), "--tier", "process"]
    if os.geteuid() == 0:
        # Root stays root here: a server that became another user could not pass pytest's own directories.
        arguments += ["--set", "server.run_as=root"]
    names = imported("-m", "lambent", "up", *arguments, until="http://")
    bare = set(imported("-c", "pass", until=None))  # what this interpreter's own start-up files bring
    new = [name for name in names if name not in bare]
    foreign = sorted({top(name) for name in new if top(name) not in ALLOWED | sys.stdlib_module_names and exists(name)})
    assert not foreign, f"imported before listening: {foreign}"
    slow = sorted({name for name in new if name in SLOW_STANDARD})
    assert not slow, f"slow to import and not needed yet: {slow}"
    assert not [name for name in new if name.startswith(LATE)]


def test_help_imports_click_and_no_command() -> None:
    bare = set(imported("-c", "pass", until=None))
    new = {name for name in imported("-m", "lambent", "--help", until=None) if name not in bare}
    assert {top(name) for name in new} <= {"lambent", "click"} | sys.stdlib_module_names
    assert {name for name in new if name.startswith("lambent.commands.")} <= {"lambent.commands.failures"}


def test_the_allowed_modules_are_installed() -> None:
    """Else the first test would pass by importing a fallback."""
    assert all(importlib.util.find_spec(name) is not None for name in ALLOWED)
