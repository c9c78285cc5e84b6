"""README's commands on a Debian that has Python 3 and git and nothing else: no make, no compiler, no pip, no venv.

It is a Debian 12; LAMBENT_TEST_DEBIAN names the suite of another one. The root is made once by debootstrap and kept in
.cache/; each test gets a layer of its own over it, as a container would. Needs root and minutes, so it runs only where
LAMBENT_TEST_SLOW is set.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_wheel import check

ROOT = Path(__file__).resolve().parents[3]
CACHE = ROOT / ".cache" / "fresh-debian"
SUITE = os.environ.get("LAMBENT_TEST_DEBIAN", "bookworm")
SCRIPT = "/usr/share/debootstrap/scripts/sid"
"""The same for all suites since Debian 9; debootstrap does not know a later one by its name."""
BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
PASSED_ON = re.compile(r"(?i)PIP_\w+|SSL_CERT_\w+|\w+_CA_BUNDLE|\w*_EXTRA_CA_CERTS|(https?|no|all)_proxy")
"""How this machine reaches its registries; a fresh one would be told the same."""
COMPILED = CACHE / f"{SUITE}-compiled"
BUILT = "srv/lambent/src/lambent/launcher/bin"
QUICKLY = {"DPKG_FORCE": "unsafe-io", "PIP_NO_COMPILE": "1"}
"""Nothing is written to the disk for good, nor compiled ahead: this machine is thrown away."""
DEMO_LIMIT_S = 600
TESTS_LIMIT_S = 1_200

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1_800),
    pytest.mark.skipif(not os.environ.get("LAMBENT_TEST_SLOW"), reason="takes minutes: set LAMBENT_TEST_SLOW"),
    pytest.mark.skipif(os.geteuid() != 0, reason="making a root file system needs root"),
    pytest.mark.skipif(shutil.which("debootstrap") is None, reason="debootstrap is not installed"),
]


def mirror() -> str:
    """The Debian mirror that this machine is configured for."""
    for file in (*sorted(Path("/etc/apt/sources.list.d").glob("*")), Path("/etc/apt/sources.list")):
        if file.is_file():
            found = re.search(
                r"^(?:URIs:|deb(?: \[[^]]*\])?)\s+(https?://\S+/debian/?)\s", file.read_text(), re.MULTILINE
            )
            if found:
                return found[1]
    pytest.skip("no Debian mirror is configured in /etc/apt")


@pytest.fixture(scope="session")
def base() -> Path:
    """A pristine root with python3 and git."""
    root = CACHE / SUITE
    if (root / "complete").exists():
        return root
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    subprocess.run(
        [
            *("debootstrap", "--variant=minbase", "--include=python3,git,ca-certificates"),
            *(SUITE, str(root), mirror(), SCRIPT),
        ],
        check=True,
        stdout=subprocess.DEVNULL,
        env={**os.environ, **QUICKLY},
    )
    for path in (BUNDLE, Path("/etc/pip.conf"), Path("/etc/resolv.conf"), Path("/etc/hosts")):
        if path.exists():
            shutil.copy(path, root / path.relative_to("/"))
    subprocess.run(["chroot", str(root), "useradd", "-m", "ada"], check=True)
    (root / "complete").touch()
    return root


@pytest.fixture
def machine(base: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A machine's own layer, with a clone of the last commit at /srv/lambent."""
    layer = CACHE / "machine"
    shutil.rmtree(layer, ignore_errors=True)
    (layer / "work").mkdir(parents=True)
    subprocess.run(["git", "clone", "-q", "--depth", "1", f"file://{ROOT}", str(layer / "own/srv/lambent")], check=True)
    yield layer
    shutil.rmtree(layer)


def run(layer: Path, user: str, command: str, limit_s: float) -> subprocess.CompletedProcess[str]:
    """Run a command as on that machine; both streams together."""
    environment = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", **QUICKLY}
    for name, value in os.environ.items():
        named = value.startswith("/") and not (CACHE / SUITE / value.lstrip("/")).exists()
        if PASSED_ON.fullmatch(name) and not named:
            environment[name] = value
    enter = Path(__file__).with_name("enter-root")
    return subprocess.run(
        ["unshare", "-m", "-p", "-f", *map(str, (enter, CACHE / SUITE, layer)), user, command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
        timeout=limit_s,
    )


def test_the_demo_as_root_sets_up_everything_itself(machine: Path) -> None:
    done = run(machine, "root", "scripts/demo", DEMO_LIMIT_S)
    assert done.returncode == 0, done.stdout
    assert "python-hello" in done.stdout
    assert "nodejs-hello" in done.stdout
    assert "bash-hello" in done.stdout
    assert "Stopped in order; no process and no file is left." in done.stdout
    shutil.rmtree(COMPILED, ignore_errors=True)
    shutil.copytree(machine / "own" / BUILT, COMPILED)


def test_an_ordinary_user_is_told_the_one_line_and_then_it_works(machine: Path) -> None:
    if COMPILED.exists():  # without a compiler it takes most of a minute: what root's demo made is current here, too
        shutil.copytree(COMPILED, machine / "own" / BUILT, copy_function=shutil.copy)
    assert run(machine, "root", "chown -R ada:ada /srv/lambent", DEMO_LIMIT_S).returncode == 0
    told = run(machine, "ada", "scripts/demo", DEMO_LIMIT_S)
    assert told.returncode == 1
    assert "    sudo apt-get install -y python3-venv\n" in told.stdout
    installed = run(machine, "root", "apt-get update -qq && apt-get install -y -qq python3-venv", DEMO_LIMIT_S)
    assert installed.returncode == 0, installed.stdout
    done = run(machine, "ada", "scripts/demo", DEMO_LIMIT_S)
    assert done.returncode == 0, done.stdout
    assert "Stopped in order" in done.stdout


def test_pip_install_without_a_compiler(machine: Path) -> None:
    command = (
        "apt-get update -qq && apt-get install -y -qq python3-venv >/dev/null && python3 -m venv /opt/v && "
        "/opt/v/bin/pip wheel -q --no-deps --wheel-dir /opt/w . && /opt/v/bin/pip install -q /opt/w/*.whl && "
        "cd / && /opt/v/bin/lambent doctor"
    )
    done = run(machine, "root", command, DEMO_LIMIT_S)
    assert "launcher   /opt/v/lib" in done.stdout, done.stdout
    check(next((machine / "own/opt/w").glob("lambent-*.whl")))


def test_the_tests_set_up_everything_themselves(machine: Path) -> None:
    """The set-up is what is looked at: some rooms' unit tests are enough to see that it is whole."""
    some = " ".join(f"tests/unit/{room}" for room in ("cli", "packages", "runtimes", "sandbox"))
    done = run(machine, "root", f"scripts/test {some} -q", TESTS_LIMIT_S)
    assert done.returncode == 0, done.stdout[-4_000:]
    assert re.fullmatch(r"\d+ passed.*", done.stdout.splitlines()[-1])
