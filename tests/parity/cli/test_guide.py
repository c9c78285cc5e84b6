"""The guide keeps its word: its commands are typed as they stand there, its settings and commands exist."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click import Context, Group
from tests.support import client

from lambent.cli import root
from lambent.functions.model import (
    EGRESS_LIST_VARIABLE,
    EGRESS_VARIABLE,
    PRELOAD_VARIABLE,
    RUNTIME_CLIENT_VARIABLE,
    WEB_ADAPTER_VARIABLE,
)
from lambent.settings import SECTIONS, described, load

ROOT = Path(__file__).resolve().parents[3]
GUIDE = (ROOT / "docs" / "guide.md").read_text()


def blocks(heading: str) -> list[str]:
    """The indented blocks of one section, as a shell would get them."""
    section = GUIDE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    found = re.findall(r"(?:^    .*\n|^\n(?=    ))+", section, re.MULTILINE)
    return [re.sub(r"^    ", "", block, flags=re.MULTILINE).strip() for block in found]


@pytest.fixture
def shell(aws_environment: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """An environment in which `lambent` and `aws` are on the path."""
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "lambent").write_text(f'#!/bin/sh\nexec {sys.executable} -m lambent "$@"\n')
    (tools / "lambent").chmod(0o755)
    path = f"{tools}:{Path(sys.executable).parent}:{aws_environment['PATH']}"
    return {**aws_environment, "PATH": path, "PYTHONPATH": str(ROOT / "src")}


def test_the_first_function_word_for_word(shell: dict[str, str], tmp_path: Path, endpoint: str) -> None:
    """All but the installation and the start of the server, which the tests have done already."""
    install, script, *_ = blocks("The first function")
    assert install.splitlines() == ["pip install .", "lambent up"]
    try:
        done = subprocess.run(
            ["sh", "-e"], input=script, capture_output=True, text=True, cwd=tmp_path, env=shell, timeout=90
        )
        assert done.returncode == 0, done.stderr
        assert '{"hello": "Ada"}' in done.stdout
        assert "called by Ada" in done.stdout + done.stderr
        read = subprocess.run(
            ["sh", "-e"],
            input="lambent logs hello\nlambent logs hello --since 2h --filter called\n"
            "aws logs filter-log-events --log-group-name /aws/lambda/hello\nlambent usage\nlambent settings\n"
            "lambent runtimes\n",
            capture_output=True,
            text=True,
            env=shell,
            timeout=90,
        )
        assert read.returncode == 0, read.stderr
        assert read.stdout.count("called by Ada") == 3
    finally:
        made = client("lambda", endpoint)
        made.delete_function(FunctionName="hello")
        made.close()


def test_the_role_word_for_word(shell: dict[str, str], tmp_path: Path, endpoint: str) -> None:
    statement = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    (tmp_path / "trust.json").write_text(json.dumps({"Version": "2012-10-17", "Statement": statement}))
    (script,) = blocks("Roles")
    iam = client("iam", endpoint)
    try:
        done = subprocess.run(
            ["sh", "-e"], input=script, capture_output=True, text=True, cwd=tmp_path, env=shell, timeout=90
        )
        assert done.returncode == 0, done.stderr
        (attached,) = iam.list_attached_role_policies(RoleName="worker")["AttachedPolicies"]
        iam.detach_role_policy(RoleName="worker", PolicyArn=attached["PolicyArn"])
    finally:
        iam.delete_role(RoleName="worker")
        iam.close()


def test_settings_in_the_guide_exist() -> None:
    known = {setting.name for setting in described()}
    named = set(re.findall(rf"`((?:{'|'.join(SECTIONS)})\.[a-z0-9_]+)", GUIDE))
    assert named
    assert named <= known
    variables = {setting.variable for setting in described()} | {"LAMBENT_CONFIG", "LAMBENT_ENDPOINT"}
    own = {RUNTIME_CLIENT_VARIABLE, PRELOAD_VARIABLE, EGRESS_VARIABLE, EGRESS_LIST_VARIABLE}
    own |= {WEB_ADAPTER_VARIABLE, "LAMBENT_WEB_COMMAND"}
    variables |= own  # a function's, among its environment variables
    assert set(re.findall(r"LAMBENT_[A-Z0-9_]+", GUIDE)) <= variables


def test_the_settings_file_in_the_guide_is_read(tmp_path: Path) -> None:
    (tmp_path / "lambent.toml").write_text(GUIDE.partition("```toml\n")[2].partition("```")[0])
    loaded = load(config=tmp_path / "lambent.toml")
    assert loaded.value("server.port") == 4566
    assert loaded.value("limits.account_concurrency") == 200


def test_commands_in_the_guide_exist() -> None:
    assert isinstance(root, Group)
    named = set(
        re.findall(r"lambent ([a-z]+)(?= |`|$)", "\n".join(re.findall(r"^    .*$|`[^`]*`", GUIDE, re.MULTILINE)))
    )
    assert named <= set(root.list_commands(Context(root)))
    for options in re.findall(r"lambent ([a-z]+) [^\n`#]*?(--[a-z-]+)", GUIDE):
        command = root.get_command(Context(root), options[0])
        assert command is not None
        assert any(options[1] in parameter.opts for parameter in command.params), options
