"""Finding language installations on this machine and learning what they are.

Candidates are files in well-known places, never a version manager's script (those choose by directory and environment).
Each is asked once, by running it; the answers are kept in one file keyed by path, size and time of change, so that the
next start only looks at the files' dates.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from .model import Interpreter

PROBE_LIMIT_S = 10.0
"""How long one interpreter may take to say what it is; the slowest seen, cold, was 0.2 s."""
PROBES_AT_ONCE = 4
CACHE_FORMAT = 2

_PYTHON = re.compile(r"python3\.\d+$")
_MACHINES = {62: "x86_64", 183: "arm64"}
"""ELF e_machine of the architectures that the service knows."""

_ASK_PYTHON = (
    "import sys, json, os; b = sys.base_prefix; n = 'python%d.%d' % sys.version_info[:2]; "
    "print(json.dumps([n[6:], '%d.%d.%d' % sys.version_info[:3], b, os.path.realpath(os.path.join(b, 'bin', n)), "
    "os.path.dirname(os.__file__), sys.implementation.name, sys.version_info[3]]))"
)
_ASK_NODE = "console.log(JSON.stringify([process.versions.node, process.execPath]))"

_PYTHON_TREES = (
    ".pyenv/versions/*/bin",
    ".local/share/uv/python/*/bin",
    ".local/share/mise/installs/python/*/bin",
    ".asdf/installs/python/*/bin",
    ".rye/py/*/bin",
)
_NODE_TREES = (
    ".nvm/versions/node/*/bin",
    ".local/share/fnm/node-versions/*/installation/bin",
    ".fnm/node-versions/*/installation/bin",
    ".nodenv/versions/*/bin",
    ".volta/tools/image/node/*/bin",
    ".local/share/mise/installs/node/*/bin",
    ".asdf/installs/nodejs/*/bin",
)
_SYSTEM = ("/usr/bin", "/usr/local/bin")


Facts = dict[str, Any] | None
"""The fields of an Interpreter as kept in the file of answers, or None for a file that cannot serve."""
Answer = tuple[list[int], Facts]
"""Size and time of change (ns) of the file asked, and what it said."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where to look."""

    path: str
    """The PATH of the server's user."""
    home: Path
    """Its home: version managers keep their installations there."""
    installed: Path
    """What `lambent runtimes add` installed: one directory for each identifier."""

    def candidates(self) -> list[tuple[str, str]]:
        """(family, real path) of everything that looks like an interpreter; own installations first."""
        found: dict[str, str] = {}
        for family, directory in self._directories():
            for file in _executables(family, directory):
                real = os.path.realpath(file)
                if real not in found and _machine(real) is not None:
                    found[real] = family
        return [(family, real) for real, family in found.items()]

    def _directories(self) -> Iterator[tuple[str, str]]:
        for own in sorted(self.installed.glob("*/bin")):
            yield ("nodejs" if own.parent.name.startswith("nodejs") else "python"), str(own)
        for directory in dict.fromkeys((*_SYSTEM, *self.path.split(os.pathsep))):
            if directory:
                yield "python", directory
                yield "nodejs", directory
        for family, patterns in (("python", _PYTHON_TREES), ("nodejs", _NODE_TREES)):
            for pattern in patterns:
                for tree in sorted(self.home.glob(pattern)):
                    yield family, str(tree)
        for tree in sorted(Path("/usr/local/n/versions/node").glob("*/bin")):
            yield "nodejs", str(tree)


def _executables(family: str, directory: str) -> Iterator[str]:
    if family == "nodejs":
        file = os.path.join(directory, "node")
        if os.path.isfile(file):
            yield file
        return
    with suppress(OSError):
        for name in sorted(os.listdir(directory)):
            if _PYTHON.match(name):
                yield os.path.join(directory, name)


def _machine(file: str) -> str | None:
    """The architecture of an ELF file; None for scripts and everything else."""
    try:
        with open(file, "rb") as opened:
            head = opened.read(20)
    except OSError:
        return None
    if len(head) < 20 or head[:4] != b"\x7fELF":
        return None
    return _MACHINES.get(int.from_bytes(head[18:20], "little"))


def scan(places: Places, cache: Path) -> list[Interpreter]:
    """Every usable interpreter, in the order of preference. Blocks: run it in a thread.

    `cache`: the file of earlier answers; it is rewritten when something changed, and may be lost at any time.
    """
    known = _read(cache)
    answers: dict[str, Answer] = {}
    unknown: list[tuple[str, str, list[int]]] = []
    candidates = places.candidates()
    for family, real in candidates:
        status = os.stat(real)
        stamp = [status.st_size, status.st_mtime_ns]
        entry = known.get(real)
        if entry is not None and entry[0] == stamp:
            answers[real] = entry
        else:
            unknown.append((family, real, stamp))
    if unknown:
        with ThreadPoolExecutor(PROBES_AT_ONCE) as pool:
            for (_, real, stamp), facts in zip(unknown, pool.map(lambda item: _probe(*item[:2]), unknown), strict=True):
                answers[real] = (stamp, facts)
    if unknown or answers.keys() != known.keys():
        _write(cache, answers)
    found = []
    for _, real in candidates:
        facts = answers[real][1]
        if facts is not None:
            found.append(Interpreter(**{**facts, "libraries": tuple(facts["libraries"])}))
    return found


def _read(cache: Path) -> dict[str, Answer]:
    try:
        kept = orjson.loads(cache.read_bytes())
    except (OSError, ValueError):
        return {}
    if not isinstance(kept, dict) or kept.get("format") != CACHE_FORMAT:
        return {}
    return {real: (stamp, facts) for real, (stamp, facts) in kept["entries"].items()}


def _write(cache: Path, answers: dict[str, Answer]) -> None:
    cache.parent.mkdir(parents=True, exist_ok=True)
    fresh = cache.with_name(f"{cache.name}.{os.getpid()}")
    fresh.write_bytes(orjson.dumps({"format": CACHE_FORMAT, "entries": answers}))
    fresh.replace(cache)


def _probe(family: str, real: str) -> Facts:
    """What an interpreter says of itself, or None where it cannot serve: it does not run, or others cannot read it."""
    arguments = ["-I", "-S", "-c", _ASK_PYTHON] if family == "python" else ["-e", _ASK_NODE]
    try:
        said = json.loads(_run([real, *arguments], {}))
        if family == "python":
            version, release, prefix, executable, library, implementation, level = said
            if implementation != "cpython" or level != "final" or not _is_readable(executable, library):
                return None
        else:
            release, executable = said
            version = release.partition(".")[0]
            prefix = os.path.dirname(os.path.dirname(executable))
            if not _is_readable(executable, prefix):
                return None
        return {
            "family": family,
            "version": version,
            "release": release,
            "executable": executable,
            "prefix": prefix,
            "libraries": _libraries(executable, prefix),
            "architecture": _machine(executable),
        }
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


def _run(argv: list[str], env: dict[str, str]) -> str:
    done = subprocess.run(argv, env=env, stdin=subprocess.DEVNULL, capture_output=True, timeout=PROBE_LIMIT_S)
    done.check_returncode()
    return done.stdout.decode()


def _is_readable(executable: str, directory: str) -> bool:
    """Whether any user could run it once it is mounted: the directories above are not looked at, a mount hides them."""
    return all(os.stat(path).st_mode & 0o005 == 0o005 for path in (executable, directory))


def _libraries(executable: str, prefix: str) -> list[str]:
    """Shared libraries that neither /usr nor the prefix holds, as the dynamic loader names them."""
    try:
        listing = _run([executable], {"LD_TRACE_LOADED_OBJECTS": "1"})
    except subprocess.CalledProcessError:
        return []  # statically linked
    outside = []
    for path in re.findall(r"(?:=>\s*)?(/\S+) \(0x", listing):
        real = os.path.realpath(path)
        if not real.startswith(("/usr/", "/lib/", "/lib64/", prefix + "/")):
            outside.append(real)
    return outside
