"""Compile the launcher and the fork object. Needs nothing of ours: the packaging hook imports it, and it runs as a script.

    python src/lambent/launcher/build.py [--sanitize] [--out FILE] [--fork-out FILE]

The machine's own compiler is taken if there is one, else the one in the `ziglang` wheel (static musl executables, no
compiler installed by the operator).
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
BINARY = HERE / "bin" / "lambent-launcher"
FORK = HERE / "bin" / "lambent-fork"
"""What a zygote loads: see fork/fork.h."""

WARNINGS = ("-Wall", "-Wextra", "-Wshadow", "-Wconversion", "-Wstrict-prototypes", "-Wno-format-truncation")
HARDENING = ("-fstack-protector-strong", "-fno-strict-overflow", "-D_FORTIFY_SOURCE=2")


class BuildError(Exception):
    """No compiler, or it refused the sources; the message carries its words."""


def compilers() -> list[list[str]]:
    """Commands to try, best first."""
    found = [[path] for name in ("cc", "gcc", "clang") if (path := shutil.which(name))]
    if importlib.util.find_spec("ziglang") is not None:
        found.append([sys.executable, "-m", "ziglang", "cc"])
    return found


def build(out: Path = BINARY, sanitize: bool = False, strict: bool = False, compiler: list[str] | None = None) -> Path:
    """Compile every source here into `out` and answer it.

    sanitize: AddressSanitizer and UndefinedBehaviorSanitizer, linked dynamically (they cannot be static).
    strict: a warning is an error (tests; an unknown compiler's new warning must not break an installation).
    compiler: one command instead of those found, for tests. Raises BuildError.
    """
    sources = sorted(str(path) for path in HERE.glob("*.c"))
    if sanitize:
        mode = [
            "-O1",
            "-g",
            "-pthread",
            "-fsanitize=address,undefined",
            "-fno-sanitize-recover=all",
            "-fno-omit-frame-pointer",
        ]
    else:
        mode = ["-O2", "-static", "-s", "-pthread", *HARDENING]
    return _compile(out, sources, mode, strict, compiler, "linux-musl")


def build_fork(
    out: Path = FORK, sanitize: bool = False, strict: bool = False, compiler: list[str] | None = None
) -> Path:
    """Compile the fork object into `out` and answer it; as `build`.

    It is linked with no library: what it calls is found in the process that loads it, whatever C library that has. (The
    `ziglang` wheel's linker names glibc all the same, of 2.17 and later.)
    sanitize: undefined behaviour ends the process at once; there is no library that could say more about it.
    """
    sources = sorted(str(path) for path in (HERE / "fork").glob("*.c"))
    mode = [
        *(["-O1", "-g", "-fsanitize=undefined", "-fsanitize-undefined-trap-on-error"] if sanitize else ["-O2", "-s"]),
        *(
            "-shared",
            "-fPIC",
            "-nostartfiles",
            "-nodefaultlibs",
            "-fvisibility=hidden",
            "-fno-stack-protector",
            "-fno-strict-overflow",
        ),
        "-Wl,-z,now",
    ]
    return _compile(out, sources, mode, strict, compiler, "linux-gnu.2.17")


def _compile(
    out: Path, sources: list[str], mode: list[str], strict: bool, compiler: list[str] | None, system: str
) -> Path:
    commands = [compiler] if compiler is not None else compilers()
    if not commands:
        raise BuildError("no C compiler: install gcc or clang, or `pip install ziglang`")
    out.parent.mkdir(parents=True, exist_ok=True)
    half = out.with_name(out.name + f".{os.getpid()}")
    said = ""
    for command in commands:
        target = ["-target", f"{os.uname().machine}-{system}"] if command[-2:] == ["ziglang", "cc"] else []
        argv = [
            *command,
            *target,
            "-std=gnu11",
            *WARNINGS,
            *(["-Werror"] if strict else []),
            *mode,
            "-o",
            str(half),
            *sources,
        ]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            half.chmod(0o755)
            half.replace(out)  # a running server keeps the old one
            return out
        said += f"{' '.join(command)}: {done.stderr.strip()}\n"
    half.unlink(missing_ok=True)
    raise BuildError(said)


if __name__ == "__main__":
    arguments = sys.argv[1:]

    def given(option: str, default: Path) -> Path:
        return Path(arguments[arguments.index(option) + 1]) if option in arguments else default

    print(build(given("--out", BINARY), sanitize="--sanitize" in arguments, strict=True))
    print(build_fork(given("--fork-out", FORK), sanitize="--sanitize" in arguments, strict=True))
