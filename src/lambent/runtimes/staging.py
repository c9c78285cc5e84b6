"""Our runtime clients as a directory that sandboxes can mount: readable by anybody, bytecode made ahead.

The package's own directory may be unreadable to others or not writable, so the clients are copied into the data
directory once, under the digest of their content.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import time
from pathlib import Path

from .model import Interpreter

SOURCE = Path(__file__).resolve().parent.parent / "bootstraps"
COMPILE_LIMIT_S = 20.0
HALF_MADE_S = 3_600.0
"""A copy that was begun so long ago is nobody's any more."""

_COMPILE = """
import os, py_compile, sys
mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
for top, _, names in os.walk(sys.argv[1]):
    for name in names:
        if name.endswith(".py") and name != "source_only.py":
            py_compile.compile(os.path.join(top, name), doraise=True, invalidation_mode=mode)
"""


FORK = Path(__file__).resolve().parent.parent / "launcher" / "bin" / "lambent-fork"
FORK_INSIDE = "python/lambent-fork"
"""The fork object, where it could be built, lies beside the Python client that loads it."""


def stage(data: Path, source: Path = SOURCE, fork: Path = FORK) -> Path:
    """Copy the clients into `data` unless they are there; the directory that holds `python` and `nodejs`."""
    found = sorted(path for path in source.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    files = [(path, str(path.relative_to(source))) for path in found]
    if fork.is_file():
        files.append((fork, FORK_INSIDE))
    digest = hashlib.sha256()
    for path, name in files:
        digest.update(f"{name}\0{path.stat().st_size}\0".encode())
        digest.update(path.read_bytes())
    staged = data / digest.hexdigest()[:16]
    _remove_half_made(data)
    if staged.is_dir():
        return staged
    fresh = data / f".{digest.hexdigest()[:16]}.{os.getpid()}"
    for path, name in files:
        target = fresh / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    _open_to_all(fresh)
    try:
        fresh.rename(staged)
    except OSError:
        shutil.rmtree(fresh)  # another process was faster; the content is the same
    return staged


def _remove_half_made(data: Path) -> None:
    """What a start that was killed has left; one that is still at it takes no hour."""
    before_s = time.time() - HALF_MADE_S
    for half in data.glob(".*.*"):
        with contextlib.suppress(FileNotFoundError):  # its maker, or another process that clears up, was faster
            if half.stat().st_mtime < before_s:
                shutil.rmtree(half)


def compile_for(staged: Path, interpreter: Interpreter) -> None:
    """Make the bytecode for one Python, unless it is there. Blocks for some 0.2 s the first time."""
    package = staged / "python" / "_lambent_runtime" / "__pycache__"
    if (package / f"loop.cpython-{interpreter.version.replace('.', '')}.pyc").is_file():
        return
    # No environment: what the server's own says about Python (paths, prefixes) is not meant for this one.
    subprocess.run(
        [interpreter.executable, "-I", "-S", "-c", _COMPILE, str(staged / "python")],
        env={},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=True,
        timeout=COMPILE_LIMIT_S,
    )
    _open_to_all(staged / "python")


def _open_to_all(tree: Path) -> None:
    for top, _, names in os.walk(tree):
        os.chmod(top, 0o755)
        for name in names:
            # One that is gone was another interpreter's bytecode, still being written.
            with contextlib.suppress(FileNotFoundError):
                os.chmod(os.path.join(top, name), 0o644)
