"""Version 2 of the AWS CLI as Debian packages it: invocations, waiters, `logs tail` and `logs tail --follow`.

The packages are fetched once into the project's ignored cache and unpacked there, nothing is installed. Where that does
not work the tests are skipped and say why. This version is too old for AWS_ENDPOINT_URL: `--endpoint-url` names the server.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.parity.cli.life import live

CACHE = Path(__file__).resolve().parents[3] / ".cache" / "parity" / "cli2"
PYTHON = "/usr/bin/python3"
FETCH_LIMIT_S = 40.0
COMPILE_LIMIT_S = 120.0
COMMAND_LIMIT_S = 90.0


def fetch() -> Path:
    """The folder with the CLI in it; skips where it can't be had."""
    root = CACHE / "root"
    if (root / "usr/bin/aws").exists():
        return compiled(root)
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        pytest.skip("the CLI comes as a Debian package, and this is no Debian")
    CACHE.mkdir(parents=True, exist_ok=True)
    try:
        plan = subprocess.run(
            ["apt-get", "install", "-s", "awscli"], capture_output=True, text=True, timeout=FETCH_LIMIT_S
        )
        names = [line.split()[1] for line in plan.stdout.splitlines() if line.startswith("Inst ")]
        if not names:
            pytest.skip("apt-get knows no package awscli to fetch: `apt-get update` may help")
        subprocess.run(
            ["apt-get", "download", *names], cwd=CACHE, capture_output=True, check=True, timeout=FETCH_LIMIT_S
        )
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        pytest.skip(f"the packages of awscli could not be fetched: {error}")
    draft = CACHE / "draft"
    for archive in sorted(CACHE.glob("*.deb")):
        subprocess.run(["dpkg-deb", "-x", str(archive), str(draft)], check=True, timeout=FETCH_LIMIT_S)
        archive.unlink()
    draft.rename(root)
    return compiled(root)


def compiled(root: Path) -> Path:
    """The same folder with its modules compiled: nobody does that for an unpacked package, and each command would."""
    modules = root / "usr/lib/python3/dist-packages"
    if not (modules / "awscli/__pycache__").exists():
        subprocess.run([PYTHON, "-m", "compileall", "-q", str(modules)], capture_output=True, timeout=COMPILE_LIMIT_S)
    return root


@pytest.fixture(scope="module")
def command(endpoint: str, aws_environment: dict[str, str]) -> tuple[list[str], dict[str, str]]:
    """How `aws` is called, and in which environment."""
    root = fetch()
    environment = {name: value for name, value in aws_environment.items() if name != "AWS_ENDPOINT_URL"}
    environment |= {"PYTHONPATH": str(root / "usr/lib/python3/dist-packages"), "PYTHONUNBUFFERED": "1"}
    line = [PYTHON, str(root / "usr/bin/aws"), "--endpoint-url", endpoint]
    tried = subprocess.run([*line, "--version"], capture_output=True, text=True, env=environment, timeout=60)
    if tried.returncode:
        pytest.skip(f"the CLI does not start on this machine's Python: {tried.stderr.strip()[-300:]}")
    return line, environment


@pytest.fixture
def aws2(command: tuple[list[str], dict[str, str]], tmp_path: Path) -> Callable[..., str]:
    """Run `aws …`, which must succeed; answers what it printed."""
    line, environment = command

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [*line, *arguments], capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=COMMAND_LIMIT_S
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_a_functions_life(aws2: Callable[..., str], name: str, tmp_path: Path) -> None:
    def aws(*arguments: str) -> Any:
        printed = aws2(*arguments)
        return json.loads(printed) if printed.strip() else None

    live(aws, name, tmp_path, "--cli-binary-format", "raw-in-base64-out")


def test_payloads_and_lists(aws2: Callable[..., str], deployed: str, tmp_path: Path) -> None:
    encoded = ("--payload", b64encode(b'{"b": 2}').decode())
    aws2("lambda", "invoke", "--function-name", deployed, *encoded, "out.json")
    assert json.loads((tmp_path / "out.json").read_text())["event"] == {"b": 2}
    names = aws2("lambda", "list-functions", "--query", "Functions[].FunctionName", "--output", "text").split()
    assert deployed in names


def test_logs_tail(aws2: Callable[..., str], lambda_: Any, deployed: str) -> None:
    lambda_.invoke(FunctionName=deployed, Payload=b'"here"')["Payload"].read()
    printed = aws2("logs", "tail", f"/aws/lambda/{deployed}", "--since", "5m", "--format", "short")
    assert sum("line for here" in line for line in printed.splitlines()) == 1
    assert sum("REPORT RequestId: " in line for line in printed.splitlines()) == 1


def test_logs_tail_follows(command: tuple[list[str], dict[str, str]], lambda_: Any, deployed: str) -> None:
    line, environment = command
    lambda_.invoke(FunctionName=deployed, Payload=b'"early"')["Payload"].read()
    tail = ["logs", "tail", f"/aws/lambda/{deployed}", "--follow", "--since", "5m", "--filter-pattern", '"line for"']
    with subprocess.Popen([*line, *tail], stdout=subprocess.PIPE, text=True, env=environment) as following:
        try:
            assert following.stdout is not None
            assert following.stdout.readline().rstrip().endswith("line for early")
            lambda_.invoke(FunctionName=deployed, Payload=b'"late"')["Payload"].read()
            assert following.stdout.readline().rstrip().endswith("line for late")
        finally:
            following.kill()
