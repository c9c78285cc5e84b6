"""The product where CI usually runs it: root in an ordinary container, with what Docker's defaults take away."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import ROOT, RunningServer, start_server
from tests.integration.invoke.test_provided import BASH
from tests.machine import NODE_RUNTIME
from tests.support import client, function

from lambent.sandbox.confined import barrier

DOCKER = (sys.executable, str(ROOT / "tests" / "docker_profile.py"))
PYTHON = """
import os, tempfile
def handler(event, context):
    with tempfile.NamedTemporaryFile("w+") as file:
        file.write(open(os.path.join(os.environ["LAMBDA_TASK_ROOT"], "data.txt")).read())
        file.flush()
        text = open(file.name).read()
    return {"event": event, "uid": os.getuid(), "text": text}
"""
NODE = """
import { readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
export const handler = async (event) => {
  writeFileSync(tmpdir() + "/file", readFileSync(process.env.LAMBDA_TASK_ROOT + "/data.txt"));
  return { event, uid: process.getuid(), text: readFileSync(tmpdir() + "/file", "utf8") };
};
"""

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can take root's own rights away: run as root")


def passable_folder() -> Path:
    """A folder on a way that everybody may pass; pytest's own are closed."""
    folder = Path(tempfile.mkdtemp(prefix="lambent-docker-"))
    folder.chmod(0o755)
    return folder


@pytest.fixture(scope="module")
def docker() -> Iterator[RunningServer]:
    folder = passable_folder()
    try:
        running = start_server(folder / "data", within=DOCKER)
        yield running
        assert running.stop() == 0, running.log.read_text()  # also: nothing was left behind
        assert not list((folder / "data" / "spawner" / "launcher").iterdir())
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def lambda_(docker: RunningServer) -> Iterator[Any]:
    made = client("lambda", docker.url)
    yield made
    made.close()


def invoked(lambda_: Any, name: str, event: Any) -> Any:
    answer = lambda_.invoke(FunctionName=name, Payload=json.dumps(event).encode())
    body = json.loads(answer["Payload"].read())
    assert "FunctionError" not in answer, body
    return body


def test_the_tier_is_found_by_trying_and_says_what_it_lacks(docker: RunningServer) -> None:
    assert docker.tier == "confined"
    said = docker.log.read_text()
    assert 'The container tier was tried and refused at "unshare the mounts"' in said
    assert "TMPDIR" in said
    assert "docker run --privileged" in said


def test_a_python_function_answers(lambda_: Any) -> None:
    with function(lambda_, {"app.py": PYTHON, "data.txt": "code's own"}) as name:
        body = invoked(lambda_, name, {"n": 1})
    assert (body["event"], body["text"]) == ({"n": 1}, "code's own")
    assert body["uid"] >= 20_000


def test_a_node_function_answers(lambda_: Any) -> None:
    files = {"index.mjs": NODE, "data.txt": "code's own"}
    with function(lambda_, files, runtime=NODE_RUNTIME, handler="index.handler") as name:
        body = invoked(lambda_, name, {"n": 2})
    assert (body["event"], body["text"]) == ({"n": 2}, "code's own")


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not on this machine (apt-get install curl)")
def test_a_bash_function_answers_over_the_shared_loopback(lambda_: Any) -> None:
    with function(lambda_, BASH, runtime="provided.al2023", handler="any") as name:
        body = invoked(lambda_, name, {"n": 3})
    assert body["got"] == {"n": 3}
    assert Path(body["task"], "bootstrap").name == "bootstrap"


def test_a_function_that_needs_too_much_memory_is_told_so(lambda_: Any) -> None:
    code = "def handler(event, context):\n    return len(bytearray(400_000_000))\n"
    with function(lambda_, code, MemorySize=128) as name:
        answer = lambda_.invoke(FunctionName=name, Payload=b"{}")
        assert json.loads(answer["Payload"].read())["errorType"] == "Runtime.OutOfMemory"


def test_a_second_account_is_refused_with_the_reason(docker: RunningServer, lambda_: Any) -> None:
    with function(lambda_, "def handler(event, context): return 1\n"):
        other = client("lambda", docker.url, account="222222222222")
        with pytest.raises(other.exceptions.ClientError, match="confined tier, which does not isolate accounts"):
            other.list_functions()
        other.close()


LEAVER = """
import os, sys
def handler(event, context):
    written = 0
    for place in ("/tmp", "/dev/shm"):
        if os.access(place, os.W_OK):
            os.makedirs(f"{place}/lambent-left-{os.getpid()}/in/it")
            open(f"{place}/lambent-left-{os.getpid()}/in/it/file", "w").close()
            written += 1
    return {"uid": os.getuid(), "written": written}
"""


def test_without_landlock_the_tier_works_and_is_no_boundary() -> None:
    """An older kernel, or an older Docker: functions answer, what they leave behind goes, nobody outside is served."""
    folder = passable_folder()
    try:
        running = start_server(folder / "data", within=(*DOCKER, "--without-landlock"))
        said = running.log.read_text()
        lambda_ = client("lambda", running.url)
        with function(lambda_, LEAVER) as name:
            body = invoked(lambda_, name, {})
        lambda_.close()
        assert running.stop() == 0, running.log.read_text()
        assert running.tier == "confined"
        assert "this tier is no boundary" in said
        assert [path for place in ("/tmp", "/dev/shm") for path in Path(place).glob("lambent-left-*")] == []
        assert body["uid"] >= 20_000
        assert body["written"] >= 1
    finally:
        shutil.rmtree(folder)


def test_the_rights_that_the_guide_names_give_the_container_tier() -> None:
    """Three capabilities and no filter; what is said to help has to."""
    named = re.findall(
        r"--cap-add (\w+)", (ROOT / "docs" / "guide.md").read_text().split("docker run ")[1].split("…")[0]
    )
    options = [word for name in named for word in ("--cap-add", name)]
    folder = passable_folder()
    try:
        done = subprocess.run(
            [*DOCKER, "--unconfined", *options, sys.executable, "-m", "lambent", "doctor", "--data-dir", str(folder)],
            env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
            capture_output=True,
            text=True,
            check=False,
        )
        assert "container: a sandbox was built and destroyed" in done.stdout
    finally:
        shutil.rmtree(folder)


def test_without_landlock_nobody_outside_is_served() -> None:
    folder = passable_folder()
    try:
        command = [*DOCKER, "--without-landlock", sys.executable, "-m", "lambent", "up", "--host", "0.0.0.0"]
        done = subprocess.run(
            [*command, "--port", "0", "--data-dir", str(folder / "data")],
            env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1
        assert "insist with --tier confined" in done.stderr
    finally:
        shutil.rmtree(folder)


def test_the_contract_holds_where_there_are_few_user_ids() -> None:
    """Rootless Docker, and userns-remap."""
    if (closed := barrier(ROOT)) is not None:
        pytest.skip(f"another user cannot read the tests: they lie behind {closed}")
    folder = passable_folder()
    folder.chmod(0o777)
    command = [*DOCKER, "--few-ids", sys.executable, "-B", "-m", "pytest", "-q", "-k", "confined and asyncio"]
    command += ["-p", "no:cacheprovider", "--basetemp", str(folder / "pt"), "tests/contracts/test_sandbox.py"]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "does not work here" not in done.stdout
    finally:
        shutil.rmtree(folder)


@pytest.mark.parametrize("suite", ["tests/contracts/test_sandbox.py", "tests/integration/sandbox/test_attacks.py"])
def test_the_suites_of_the_sandbox_hold_there(suite: str, tmp_path: Path) -> None:
    """Both run again, in a container: what they promise must not rest on rights that only this machine gives."""
    command = [*DOCKER, sys.executable, "-m", "pytest", "-q", "-k", "confined", "--basetemp", str(tmp_path), suite]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "does not work here" not in done.stdout
