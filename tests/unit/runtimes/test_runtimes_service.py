"""What this machine has, what is missing, images and start plans; no process is started."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import pytest

from lambent.runtimes import staging
from lambent.runtimes.discovery import Places
from lambent.runtimes.model import Credentials, Interpreter, VersionFacts
from lambent.runtimes.service import Runtimes, discover
from lambent.sandbox.port import Mount

PYENV = Interpreter(
    "python", "3.12", "3.12.1", "/home/a/v/3.12.1/bin/python3.12", "/home/a/v/3.12.1", ("/opt/x/libz.so",), "x86_64"
)
SYSTEM = Interpreter("nodejs", "22", "22.1.0", "/usr/bin/node", "/usr", (), "x86_64")
FACTS = VersionFacts(
    function_name="greet",
    version="7",
    handler="app.handler",
    memory_mb=512,
    region="eu-west-1",
    log_group="/aws/lambda/greet",
    log_stream="2026/01/01/[7]0123456789abcdef0123456789abcdef",
    api_address="127.0.0.1:9001",
)


@pytest.fixture
def runtimes(tmp_path: Path) -> Runtimes:
    older = Interpreter("python", "3.12", "3.12.0", "/usr/bin/python3.12", "/usr", (), "x86_64")
    return Runtimes([PYENV, older, SYSTEM], tmp_path / "staged", tmp_path / "clients", "x86_64")


def test_the_first_interpreter_of_a_version_counts(runtimes: Runtimes) -> None:
    runtime = runtimes.find("python3.12", "x86_64")
    assert runtime is not None
    assert runtime.interpreter is PYENV


def test_what_the_functions_user_cannot_reach_is_taken_out_and_said(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:  # pytest's own are closed to everybody
        _check_reach(Path(folder), tmp_path)


def _check_reach(place: Path, tmp_path: Path) -> None:
    closed, open_ = place / "closed", place / "open"
    for folder in (closed, open_):
        folder.mkdir()
        (folder / "python3.12").touch(0o755)
    closed.chmod(0o700)
    place.chmod(0o755)
    found = [
        Interpreter("python", "3.12", "3.12.1", str(closed / "python3.12"), str(closed), (), "x86_64"),
        Interpreter("python", "3.11", "3.11.1", str(open_ / "python3.12"), str(open_), (), "x86_64"),
    ]
    runtimes = Runtimes(found, tmp_path / "staged", tmp_path / "clients", "x86_64")
    assert runtimes.missing("python3.12", "x86_64") is None
    runtimes.leave_out_of_reach(closed.stat().st_uid, 65_534)
    assert runtimes.missing("python3.12", "x86_64") is None, "its own user reaches it"
    runtimes.leave_out_of_reach(65_534, 65_534)
    assert f"is here as {closed}/python3.12, which the user" in (runtimes.missing("python3.12", "x86_64") or "")
    assert runtimes.find("python3.12", "x86_64") is None
    assert runtimes.missing("python3.11", "x86_64") is None


def test_an_image_has_the_language_the_client_and_the_libraries(runtimes: Runtimes, tmp_path: Path) -> None:
    runtime = runtimes.find("python3.12", "x86_64")
    assert runtime is not None
    assert runtime.image.name == "python3.12"
    assert runtime.image.mounts == (
        Mount("/home/a/v/3.12.1", "/var/lang"),
        Mount("/home/a/v/3.12.1", "/home/a/v/3.12.1"),
        Mount("/opt/x/libz.so", "/opt/x/libz.so"),
        Mount(str(tmp_path / "staged" / "python"), "/var/runtime"),
    )


def test_a_language_in_usr_is_not_mounted_over_itself(runtimes: Runtimes, tmp_path: Path) -> None:
    runtime = runtimes.find("nodejs22.x", "x86_64")
    assert runtime is not None
    assert runtime.image.mounts == (
        Mount("/usr", "/var/lang"),
        Mount(str(tmp_path / "staged" / "nodejs"), "/var/runtime"),
    )


def test_every_runtime_that_can_run_has_an_image(runtimes: Runtimes) -> None:
    assert {image.name for image in runtimes.images()} == {"python3.12", "nodejs22.x", "provided"}
    assert runtimes.names() == ["nodejs22.x", "python3.12", "provided.al2023", "provided.al2"]
    assert runtimes.missing("provided", "x86_64") == "provided is gone from the service: use provided.al2023"


@pytest.mark.parametrize(
    ("name", "architecture", "client", "words"),
    [
        ("nodejs24.x", "x86_64", "lambent", "lambent runtimes add nodejs24.x"),
        ("python3.11", "x86_64", "lambent", "apt install python3.11, pyenv install 3.11, or uv python install 3.11"),
        ("python2.7", "x86_64", "lambent", "versions 3.8 to 3.14"),
        ("java21", "x86_64", "lambent", "Java runtimes are not served"),
        ("python3.12", "arm64", "lambent", "the function is for arm64, this machine is x86_64"),
        ("python3.12", "x86_64", "official", "lambent runtimes add official-python3.12"),
        ("python4", "x86_64", "lambent", "no runtime identifier"),
    ],
)
def test_what_is_missing_is_said_with_the_way_to_get_it(
    runtimes: Runtimes, name: str, architecture: str, client: str, words: str
) -> None:
    said = runtimes.missing(name, architecture, client)
    assert said is not None
    assert words in said
    assert runtimes.find(name, architecture, client) is None


def test_a_plan_runs_our_client_over_frames(runtimes: Runtimes) -> None:
    runtime = runtimes.find("python3.12", "x86_64")
    assert runtime is not None
    plan = runtimes.plan(runtime, FACTS)
    assert plan.argv == ("/var/lang/bin/python3.12", "-S", "/var/runtime/bootstrap.py")
    assert plan.carrier == "frames"
    assert plan.cwd == "/var/task"
    assert plan.env["_LAMBENT_CHANNEL"] == "3"
    assert plan.env["_HANDLER"] == "app.handler"


def test_an_os_only_runtime_runs_the_packages_bootstrap_over_http(runtimes: Runtimes) -> None:
    runtime = runtimes.find("provided.al2023", "x86_64")
    assert runtime is not None
    plan = runtimes.plan(runtime, FACTS)
    assert plan.candidates == (("/var/task/bootstrap",), ("/opt/bootstrap",))
    assert plan.carrier == "http"
    assert "_LAMBENT_CHANNEL" not in plan.env


def test_a_web_server_of_an_os_only_function_is_asked_by_the_newest_python(runtimes: Runtimes) -> None:
    runtime = runtimes.find_server("provided.al2023", "x86_64")
    assert runtime is not None
    assert (runtime.name, runtime.interpreter, runtime.image.name) == ("provided.al2023", PYENV, "python3.12")
    plan = runtimes.plan(runtime, FACTS)
    assert plan.argv == ("/var/lang/bin/python3.12", "-S", "/var/runtime/bootstrap.py")
    assert plan.carrier == "frames"
    assert "AWS_EXECUTION_ENV" not in plan.env
    assert runtimes.waiting(runtime, {}) is None, "what waits is a Python function's"
    assert runtimes.find_server("nodejs22.x", "x86_64") == runtimes.find("nodejs22.x", "x86_64")
    assert runtimes.find_server("java21", "x86_64") is None


def test_without_a_python_nobody_asks_it(tmp_path: Path) -> None:
    without = Runtimes([SYSTEM], tmp_path / "staged", tmp_path / "clients", "x86_64")
    assert without.find_server("provided.al2023", "x86_64") is None
    assert without.missing("provided.al2023", "x86_64") is None


def test_the_official_client_is_used_where_it_is_installed(runtimes: Runtimes, tmp_path: Path) -> None:
    base = tmp_path / "clients" / "python3.12"
    (base / "awslambdaric").mkdir(parents=True)
    (base / "awslambdaric" / "__main__.py").touch()
    # Found at the next start: the images of the sandboxes are made of what there was at this one.
    assert runtimes.find("python3.12", "x86_64", "official") is None
    runtimes = Runtimes([PYENV, SYSTEM], tmp_path / "staged", tmp_path / "clients", "x86_64")
    runtime = runtimes.find("python3.12", "x86_64", "official")
    assert runtime is not None
    assert runtime.image.name == "python3.12-official"
    assert Mount(str(base), "/var/runtime") in runtime.image.mounts
    plan = runtimes.plan(runtime, FACTS)
    assert (plan.argv[0], plan.argv[1], plan.argv[3]) == ("/var/lang/bin/python3.12", "-c", "app.handler")
    assert "run_module('awslambdaric'" in plan.argv[2]
    paths = "['/var/task', '/opt/python/lib/python3.12/site-packages', '/opt/python']"
    assert f"sys.path[:1] = {paths};" in plan.argv[2]
    assert plan.carrier == "http"
    assert {"python3.12-official", "python3.12"} <= {image.name for image in runtimes.images()}


def test_a_wrapper_runs_before_managed_runtimes_only(runtimes: Runtimes) -> None:
    from dataclasses import replace

    wrapped = replace(FACTS, environment={"AWS_LAMBDA_EXEC_WRAPPER": "/opt/wrap"})
    runtime = runtimes.find("python3.12", "x86_64")
    assert runtime is not None
    argv = runtimes.plan(runtime, wrapped).argv
    assert argv[:2] == ("/bin/sh", "-c")
    assert argv[3:] == ("/opt/wrap", "/var/lang/bin/python3.12", "-S", "/var/runtime/bootstrap.py")
    provided = runtimes.find("provided.al2023", "x86_64")
    assert provided is not None
    assert runtimes.plan(provided, wrapped).argv == ("/var/task/bootstrap",)


def test_an_sdk_that_was_added_is_mounted_and_named(tmp_path: Path) -> None:
    (tmp_path / "sdks" / "python3.12").mkdir(parents=True)
    runtimes = Runtimes([PYENV], tmp_path / "staged", tmp_path / "clients", "x86_64", tmp_path / "sdks")
    runtime = runtimes.find("python3.12", "x86_64")
    assert runtime is not None
    assert Mount(str(tmp_path / "sdks" / "python3.12"), "/var/sdk") in runtime.image.mounts
    assert runtimes.plan(runtime, FACTS).env["_LAMBENT_SDK"] == "/var/sdk"


def test_credentials_and_owner_variables_reach_the_plan(runtimes: Runtimes) -> None:
    from dataclasses import replace

    runtime = runtimes.find("python3.12", "x86_64")
    assert runtime is not None
    facts = replace(FACTS, credentials=Credentials("AK", "SK", "TOKEN"), environment={"TABLE": "t"})
    env = runtimes.plan(runtime, facts).env
    assert (env["AWS_ACCESS_KEY_ID"], env["AWS_SECRET_ACCESS_KEY"], env["AWS_SESSION_TOKEN"]) == ("AK", "SK", "TOKEN")
    assert env["TABLE"] == "t"


def test_a_python_without_bytecode_is_still_a_runtime(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The staged client may belong to another user; then its bytecode cannot be added."""
    release = ".".join(map(str, sys.version_info[:2]))
    real = Path(sys.base_prefix) / "bin" / f"python{release}"

    def refuse(staged: Path, interpreter: Interpreter) -> None:
        raise PermissionError(13, "not yours")

    monkeypatch.setattr(staging, "compile_for", refuse)
    places = Places(str(real.parent), tmp_path / "home", tmp_path / "runtimes")
    found = discover(places, tmp_path / "runtimes")
    assert found.missing(f"python{release}", found.architecture) is None
    assert "no bytecode" in caplog.text
