"""The build backend: setuptools, and before it the launcher.

`pip install .` must need no compiler. A machine whose `cc` links a static program uses it; elsewhere pip fetches the
`ziglang` wheel, which carries a C compiler for every Linux, into the build's own environment. Where neither works the
install still succeeds without the launcher, says so, and `lambent doctor` repeats it: functions then run in the
`process` tier, which is no boundary.

The launcher is one static executable without libpython, so one wheel serves every CPython 3 of a platform:
py3-none-PLATFORM, not one per version.
"""

from __future__ import annotations

import shutil
import sysconfig
from pathlib import Path
from typing import Any

from lambent_launcher import build_launcher, compiler_wheel, is_current
from setuptools import build_meta

ROOT = Path(__file__).resolve().parent.parent

get_requires_for_build_sdist = build_meta.get_requires_for_build_sdist
prepare_metadata_for_build_wheel = build_meta.prepare_metadata_for_build_wheel
prepare_metadata_for_build_editable = build_meta.prepare_metadata_for_build_editable
build_sdist = build_meta.build_sdist


def get_requires_for_build_wheel(config_settings: dict[str, Any] | None = None) -> list[str]:
    """What the build needs beyond [build-system]: a compiler, where the machine has none that links statically."""
    return [*build_meta.get_requires_for_build_wheel(config_settings), *compiler_wheel()]


def get_requires_for_build_editable(config_settings: dict[str, Any] | None = None) -> list[str]:
    """As for a wheel, but an editable install has the launcher in its source tree: one that is current there serves."""
    compiler = [] if is_current() else compiler_wheel()
    return [*build_meta.get_requires_for_build_editable(config_settings), *compiler]


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
    """Build the launcher in the source tree, unless a current one is there, then the pointer to it; answers the wheel's file
    name."""
    if not is_current():
        build_launcher()
    return build_meta.build_editable(wheel_directory, config_settings, metadata_directory)


def platform_tag() -> str:
    """linux_x86_64, linux_aarch64: the platform part of the wheel's name."""
    return sysconfig.get_platform().replace("-", "_").replace(".", "_")
