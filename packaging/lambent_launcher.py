"""The launcher's executable and the fork object, built into the package: by the build backend, and by `scripts/` between two installs.

    python packaging/lambent_launcher.py              build it where it is missing or older than its sources
    python packaging/lambent_launcher.py --requires   print the wheel that must be installed first, or nothing

Imports nothing that an interpreter does not bring.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from types import ModuleType

LAUNCHER = Path(__file__).resolve().parent.parent / "src" / "lambent" / "launcher"
EXECUTABLE = LAUNCHER / "bin" / "lambent-launcher"
REASON = LAUNCHER / "bin" / "not-built.txt"
"""Why there is no executable, for `lambent doctor`: pip shows nobody what a successful build printed."""

FORK = LAUNCHER / "bin" / "lambent-fork"
"""What zygotes load; without it runtimes that wait are started one by one."""
FORK_REASON = LAUNCHER / "bin" / "fork-not-built.txt"

COMPILERS = ("cc", "gcc", "clang")
"""Those that launcher/build.py tries."""
COMPILER_WHEEL = "ziglang>=0.13,<0.16"
"""Later ones build their C library on one processor and take twice as long: 43 s instead of 21 on two."""
PROBE = "#include <stdlib.h>\nint main(void) { char *p = malloc(1); free(p); return p == 0; }\n"
PROBE_LIMIT_S = 30


def compiler_wheel() -> list[str]:
    """The requirement that brings a compiler, or nothing where one is here or the launcher cannot run at all."""
    if sys.platform != "linux" or any(links_statically(compiler) for compiler in COMPILERS):
        return []
    return [COMPILER_WHEEL]


def links_statically(compiler: str) -> bool:
    """Whether this compiler makes a static program that runs here: found by doing it, never by reading versions."""
    with tempfile.TemporaryDirectory(prefix="lambent-probe-") as folder:
        source, program = Path(folder, "probe.c"), Path(folder, "probe")
        source.write_text(PROBE)
        try:
            for command in ([compiler, "-static", "-o", str(program), str(source)], [str(program)]):
                subprocess.run(command, check=True, capture_output=True, timeout=PROBE_LIMIT_S)
        except (OSError, subprocess.SubprocessError):
            return False
    return True


def build_launcher() -> bool:
    """Build the executable into the package; whether it is there. A failure is told and costs only isolation."""
    if sys.platform != "linux":
        return told("the launcher runs on Linux only")
    try:
        with tempfile.TemporaryDirectory(prefix="lambent-launcher-") as folder:
            place(recipe().build(Path(folder, EXECUTABLE.name)), EXECUTABLE)
            REASON.unlink(missing_ok=True)
    except Exception as error:  # whatever stopped it, an install without isolation tiers is still wanted
        EXECUTABLE.unlink(missing_ok=True)
        return told(f"the launcher could not be built: {error}")
    build_fork()
    return True


def build_fork() -> None:
    """Build the fork object into the package. A failure is told and costs only time."""
    try:
        with tempfile.TemporaryDirectory(prefix="lambent-fork-") as folder:
            place(recipe().build_fork(Path(folder, FORK.name)), FORK)
            FORK_REASON.unlink(missing_ok=True)
    except Exception as error:  # as above
        FORK.unlink(missing_ok=True)
        FORK_REASON.write_text(f"the fork object could not be built: {error}\n")
        print(f"lambent: the fork object could not be built: {error}. Zygotes are off.", file=sys.stderr, flush=True)


def place(built: Path, target: Path) -> None:
    """Move it into the package under a name of its own first: a running server may be executing the old one."""
    target.parent.mkdir(exist_ok=True)
    fresh = target.with_name(f".{target.name}.{os.getpid()}")
    shutil.copy2(built, fresh)
    os.replace(fresh, target)


def is_current() -> bool:
    """Whether both are there and not older than any of their sources; a fork object that could not be built counts."""
    fork = FORK if FORK.is_file() else FORK_REASON
    if not EXECUTABLE.is_file() or not fork.is_file():
        return False
    built_at = min(EXECUTABLE.stat().st_mtime, fork.stat().st_mtime)
    sources = [path for folder in (LAUNCHER, LAUNCHER / "fork") for path in folder.iterdir() if path.is_file()]
    return all(path.stat().st_mtime <= built_at for path in sources)


def recipe() -> ModuleType:
    """launcher/build.py, loaded by path: lambent itself cannot be imported while it is being built."""
    spec = importlib.util.spec_from_file_location("lambent_launcher_recipe", LAUNCHER / "build.py")
    if spec is None or spec.loader is None:
        raise ImportError(f"{LAUNCHER / 'build.py'} cannot be loaded")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    # Warnings are errors where the project is checked. A user's compiler and headers are others, and know other warnings
    # (musl's socket macros do not pass -Wconversion): one of those must not cost the isolation.
    vars(module)["WARNINGS"] = tuple(flag for flag in module.WARNINGS if flag != "-Werror")
    return module


def told(problem: str) -> bool:
    """Say what is missing and what follows, now and for later; always False."""
    with suppress(OSError):
        REASON.parent.mkdir(parents=True, exist_ok=True)
        REASON.write_text(f"{problem}\n")
    print(f"lambent: {problem}.", file=sys.stderr)
    print(
        "lambent: the install goes on without it. Functions will run in the `process` tier, which is no security "
        "boundary; `lambent doctor` shows this too.",
        file=sys.stderr,
        flush=True,
    )
    return False


if __name__ == "__main__":
    if sys.argv[1:] == ["--requires"]:
        print("\n".join(compiler_wheel()))
    elif not is_current():
        sys.exit(0 if build_launcher() else 1)
