"""The AWS CLI as a person types it, against the server that all tests share."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from tests.support import PYTHON_RUNTIME, ROLE, client, package, unique

COMMAND_LIMIT_S = 90.0

Aws = Callable[..., Any]


@pytest.fixture(scope="session")
def aws_environment(endpoint: str) -> dict[str, str]:
    """Nobody's configuration, any key, and the server's address."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "LAMBENT_"))}
    return {
        **kept,
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_MAX_ATTEMPTS": "1",
        "AWS_PAGER": "",
    }


@pytest.fixture
def aws_run(aws_environment: dict[str, str], tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run `aws …` in an empty directory; answers its status and both streams as text."""

    def run(*arguments: str, stdin: str = "", **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(Path(sys.executable).with_name("aws")), *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={**aws_environment, **more},
            timeout=COMMAND_LIMIT_S,
        )

    return run


@pytest.fixture
def aws(aws_run: Callable[..., subprocess.CompletedProcess[str]]) -> Aws:
    """Run `aws …`, which must succeed; answers its JSON, or None when it printed nothing."""

    def run(*arguments: str, stdin: str = "", **more: str) -> Any:
        done = aws_run(*arguments, stdin=stdin, **more)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout) if done.stdout.strip() else None

    return run


@pytest.fixture
def refused(aws_run: Callable[..., subprocess.CompletedProcess[str]]) -> Callable[..., str]:
    """Run `aws …`, which must be refused; answers what the CLI printed, in one line."""

    def run(*arguments: str, **more: str) -> str:
        done = aws_run(*arguments, **more)
        assert done.returncode != 0, done.stdout
        return done.stderr.strip()

    return run


@pytest.fixture
def lambda_(endpoint: str) -> Iterator[Any]:
    """A boto3 client, for what a test needs beside the command it tests."""
    made = client("lambda", endpoint)
    yield made
    made.close()


@pytest.fixture
def name(lambda_: Any) -> Iterator[str]:
    """A function name of the test's own; the function is gone afterwards."""
    made = unique("cli")
    yield made
    with suppress(lambda_.exceptions.ResourceNotFoundException):
        lambda_.delete_function(FunctionName=made)


CODE = """
import json
def handler(event, context):
    print("line for", event)
    return {
        "event": event,
        "version": context.function_version,
        "arn": context.invoked_function_arn,
        "client": context.client_context and context.client_context.custom,
    }
"""


@pytest.fixture
def deployed(lambda_: Any, name: str) -> str:
    """An active function that answers what it was called with."""
    lambda_.create_function(
        FunctionName=name,
        Runtime=PYTHON_RUNTIME,
        Handler="app.handler",
        Role=ROLE,
        Code={"ZipFile": package({"app.py": CODE})},
    )
    lambda_.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 30})
    return name
