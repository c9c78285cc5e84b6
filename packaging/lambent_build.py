"""The build backend: setuptools, and before it the launcher.

`pip install .` must need no compiler. A machine whose `cc` links a static program uses it; elsewhere pip fetches the
`ziglang` wheel, which carries a C compiler for every Linux, into the build's own environment. Where neither works the
install still succeeds without the launcher, says so, and `lambent doctor` repeats it: functions then run in the
`process` tier, which is no boundary.

The launcher is one static executable without libpython, so one wheel serves every CPython 3 of a platform:
py3-none-PLATFORM, not one per version.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

from setuptools import build_meta

ROOT = Path(__file__).resolve().parent.parent
LAUNCHER = ROOT / "src" / "lambent" / "launcher"
EXECUTABLE = LAUNCHER / "bin" / "lambent-launcher"

COMPILER_WHEEL = "ziglang>=0.13"
PROBE = "#include <stdlib.h>\nint main(void) { char *p = malloc(1); free(p); return p == 0; }\n"
PROBE_LIMIT_S = 30

get_requires_for_build_sdist = build_meta.get_requires_for_build_sdist
prepare_metadata_for_build_wheel = build_meta.prepare_metadata_for_build_wheel
prepare_metadata_for_build_editable = build_meta.prepare_metadata_for_build_editable
build_sdist = build_meta.build_sdist


def get_requires_for_build_wheel(config_settings: dict[str, Any] | None = None) -> list[str]:
    """What the build needs beyond [build-system]: a compiler, where the machine has none that links statically."""
    return [*build_meta.get_requires_for_build_wheel(config_settings), *compiler_wheel()]


def get_requires_for_build_editable(config_settings: dict[str, Any] | None = None) -> list[str]:
    """As for a wheel: an editable install has the launcher in its source tree."""
    return [*build_meta.get_requires_for_build_editable(config_settings), *compiler_wheel()]


def build_wheel(
    wheel_directory: str, config_settings: dict[str, Any] | None = None, metadata_directory: str | None = None
) -> str:
    """Build the launcher, then the wheel around it; answers the wheel's file name."""
    # setuptools copies into build/lib and never removes from it: a module deleted since would be installed for ever.
    shutil.rmtree(ROOT / "build" / "lib", ignore_errors=True)
    if build_launcher():
        config_settings = {**(config_settings or {}), "--build-option": [f"--plat-name={platform_tag()}"]}
    return build_meta.build_wheel(wheel_directory, config_settings, metadata_directory)


def build_editable(
    wheel_directory: str, config_settings: dict[str, Any] | None = None, metadata_directory: str | None = None
) -> str:
    """Build the launcher in the source tree, then the pointer to it; answers the wheel's file name."""
    build_launcher()
    return build_meta.build_editable(wheel_directory, config_settings, metadata_directory)


def compiler_wheel() -> list[str]:
    """The requirement that brings a compiler, or nothing where `cc` is enough or the launcher cannot run at all."""
    return [] if sys.platform != "linux" or links_statically(os.environ.get("CC") or "cc") else [COMPILER_WHEEL]


def links_statically(compiler: str) -> bool:
    """Whether this compiler makes a static program that runs here: found by doing it, never by reading versions."""
    with tempfile.TemporaryDirectory(prefix="lambent-probe-") as folder:
        source, program = Path(folder, "probe.c"), Path(folder, "probe")
        source.write_text(PROBE)
        try:
            for command in ([*compiler.split(), "-static", "-o", str(program), str(source)], [str(program)]):
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
            built = recipe().build(Path(folder, EXECUTABLE.name))
            EXECUTABLE.parent.mkdir(exist_ok=True)
            # A name of its own first: a running server may be executing the old one.
            fresh = EXECUTABLE.with_name(f".{EXECUTABLE.name}.{os.getpid()}")
            shutil.copy2(built, fresh)
            os.replace(fresh, EXECUTABLE)
    except Exception as error:  # whatever stopped it, an install without isolation tiers is still wanted
        EXECUTABLE.unlink(missing_ok=True)
        return told(f"the launcher could not be built: {error}")
    return True


def recipe() -> ModuleType:
    """launcher/build.py, loaded by path: lambent itself cannot be imported while it is being built."""
    spec = importlib.util.spec_from_file_location("lambent_launcher_recipe", LAUNCHER / "build.py")
    if spec is None or spec.loader is None:
        raise ImportError(f"{LAUNCHER / 'build.py'} cannot be loaded")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def platform_tag() -> str:
    """linux_x86_64, linux_aarch64: the platform part of the wheel's name."""
    return sysconfig.get_platform().replace("-", "_").replace(".", "_")


def told(problem: str) -> bool:
    """Say what is missing and what follows; always False."""
    print(f"lambent: {problem}.", file=sys.stderr)
    print(
        "lambent: the install goes on without it. Functions will run in the `process` tier, which is no security "
        "boundary; `lambent doctor` shows this too.",
        file=sys.stderr,
        flush=True,
    )
    return False
