"""A runtime that the machine lacks: taken, Failed with words that help, never another version; and then it is added."""

from __future__ import annotations

import platform
import shutil
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from product_world import CACHE, FAILED, Function, bring, deployed, lambent, listed, settled
from tests.conftest import start_server
from tests.support import PYTHON_RUNTIME, ROLE, client, package, unique

pytestmark = pytest.mark.timeout(600)

FILES = {"app.py": "def handler(event, context): return 1\n", "app.js": "exports.handler = async () => 1;\n"}
OTHER = {"x86_64": "arm64", "arm64": "x86_64"}


def refused(function: Any) -> str:
    """The function's StateReason, once an invocation was refused in the service's words, which name the state alone."""
    with pytest.raises(ClientError) as error:
        function.invoke({})
    answer = error.value.response
    assert answer["Error"]["Code"] == "ResourceConflictException"
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 409
    assert answer["Error"]["Message"] == (
        "The operation cannot be performed at this time. The function is currently in the following state: Failed"
    )
    return str(function.facts()["StateReason"])


@pytest.mark.parametrize(
    ("runtime", "words"),
    [
        ("python3.14", "apt install python3.14, pyenv install 3.14, or uv python install 3.14"),
        ("nodejs26.x", "lambent runtimes add nodejs26.x"),
        ("java21", "Java runtimes are not served by this release"),
        ("ruby3.4", "Ruby runtimes are not served by this release"),
        ("dotnet8", ".NET runtimes are not served by this release"),
    ],
)
def test_it_fails_with_words_that_say_what_to_do(lambda_: Any, stocked: Any, runtime: str, words: str) -> None:
    if listed(stocked.data_dir).get(runtime, "") is None:
        pytest.skip(f"{runtime} is on this machine")
    with deployed(lambda_, FILES, runtime, is_missing=True) as function:
        facts = function.facts()
        said = refused(function)
    assert (facts["State"], facts["StateReasonCode"], facts["Runtime"]) == ("Failed", "InvalidRuntime", runtime)
    assert words in facts["StateReason"]
    assert words in said


def test_another_architecture_fails_the_same_way(lambda_: Any) -> None:
    mine = {"aarch64": "arm64", "arm64": "arm64"}.get(platform.machine().lower(), "x86_64")
    with deployed(lambda_, FILES, PYTHON_RUNTIME, is_missing=True, Architectures=[OTHER[mine]]) as function:
        facts = function.facts()
        said = refused(function)
    assert (facts["State"], facts["StateReasonCode"]) == ("Failed", "InvalidRuntime")
    assert f"the function is for {OTHER[mine]}, this machine is {mine}" in facts["StateReason"]
    assert f"this machine is {mine}" in said


def test_a_version_that_was_added_is_listed_and_runs_the_function_that_waited_for_it(open_place: Path) -> None:
    data_dir = open_place / "added"
    running = start_server(data_dir)
    mine = client("lambda", running.url)
    try:
        function = Function(mine, unique("waits"))
        code = {"app.js": "exports.handler = async () => process.versions.node;\n"}
        mine.create_function(
            FunctionName=function.name,
            Runtime="nodejs22.x",
            Handler="app.handler",
            Role=ROLE,
            Timeout=20,
            Code={"ZipFile": package(code)},
        )
        if settled(function)["State"] != "Failed":
            pytest.skip("nodejs22.x is on this machine")
        assert "lambent runtimes add nodejs22.x" in refused(function)
    finally:
        mine.close()
        assert running.stop() == 0
    assert listed(data_dir)["nodejs22.x"] is not None
    done = lambent("runtimes", "--data-dir", str(data_dir), "add", "nodejs22.x")
    if done.returncode != 0:
        pytest.skip(f"no package registry: {done.stderr}")
    assert listed(data_dir)["nodejs22.x"] is None
    running = start_server(data_dir)
    mine = client("lambda", running.url)
    try:
        function.lambda_ = mine
        assert settled(function)["State"] == "Active"
        assert function.invoke({}).body.partition(".")[0] == "22"
        assert "nodejs22.x" in running.log.read_text()
    finally:
        mine.close()
        assert running.stop() == 0
    shutil.rmtree(data_dir / "runtimes" / "nodejs22.x")  # and when it goes again, no other version steps in
    running = start_server(data_dir)
    mine = client("lambda", running.url)
    try:
        with pytest.raises(ClientError, match=r"lambent runtimes add nodejs22\.x"):
            mine.invoke(FunctionName=function.name)
    finally:
        mine.close()
        assert running.stop() == 0


def test_a_server_that_runs_the_official_clients_says_which_one_it_lacks(open_place: Path, stocked: Any) -> None:
    if not (CACHE / "runtimes" / "clients" / PYTHON_RUNTIME).is_dir():
        pytest.skip(FAILED.get(f"official-{PYTHON_RUNTIME}", f"{PYTHON_RUNTIME} is not on this machine"))
    data_dir = open_place / "official"
    code = {"app.py": "import sys\ndef handler(event, context): return 'awslambdaric' in sys.modules\n"}
    running = start_server(data_dir, "--set", "runtimes.client=official")
    mine = client("lambda", running.url)
    try:
        with deployed(mine, code, PYTHON_RUNTIME, is_missing=True) as function:
            assert f"lambent runtimes add official-{PYTHON_RUNTIME}" in refused(function)
        with deployed(
            mine, code, PYTHON_RUNTIME, client="lambent", variables={"LAMBENT_RUNTIME_CLIENT": "lambent"}
        ) as one:
            assert one.invoke({}).body is False  # the function's choice wins over the server's
    finally:
        mine.close()
        assert running.stop() == 0
    bring(data_dir)
    running = start_server(data_dir, "--set", "runtimes.client=official")
    mine = client("lambda", running.url)
    try:
        with deployed(mine, code, PYTHON_RUNTIME) as function:
            assert function.invoke({}).body is True
    finally:
        mine.close()
        assert running.stop() == 0
