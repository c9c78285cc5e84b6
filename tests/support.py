"""What tests that drive a running Lambent share: clients, packages, functions that clean up after themselves."""

from __future__ import annotations

import fcntl
import io
import itertools
import math
import os
import sys
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from tests.patience import PATIENCE

ROLE = "arn:aws:iam::000000000000:role/test"
PYTHON_RUNTIME = f"python3.{sys.version_info.minor}"
"""Of functions for which any Python is as good as another: the one that runs the tests is on this machine."""
TIMEOUT_S = math.ceil(20 * PATIENCE)
"""What a function gets that asks for no time-out: the service's own 3 s are nothing on a machine that a burst keeps busy."""
_numbers = itertools.count(1)
_sessions: dict[tuple[str, str], Any] = {}
"""Sessions are kept: making one loads the service models."""


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Nobody else is in such a block for this folder: files of tests run side by side, and whoever comes second finds done
    what the first did."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def client(
    service: str,
    endpoint: str,
    *,
    account: str = "test",
    secret: str = "secret",
    region: str = "us-east-1",
    **options: Any,
) -> Any:
    """A boto3 client that never retries and never reads this machine's AWS configuration."""
    config = Config(retries={"max_attempts": 0}, read_timeout=120, **options)
    session = _sessions.get((account, region))
    if session is None:
        session = boto3.session.Session(aws_access_key_id=account, aws_secret_access_key=secret, region_name=region)
        _sessions[account, region] = session
    return session.client(service, endpoint_url=endpoint, config=config)


def package(files: Mapping[str, str | bytes], *, executable: tuple[str, ...] = ("bootstrap",)) -> bytes:
    """A zip of these files, reproducible byte for byte."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0))
            info.external_attr = (0o755 if name in executable else 0o644) << 16
            archive.writestr(info, content)
    return out.getvalue()


def unique(prefix: str = "f") -> str:
    """A function name that no other test uses."""
    return f"{prefix}-{os.getpid()}-{next(_numbers)}"


@contextmanager
def function(
    lambda_: Any,
    code: str | Mapping[str, str | bytes],
    *,
    runtime: str = PYTHON_RUNTIME,
    handler: str = "app.handler",
    name: str | None = None,
    executable: tuple[str, ...] = ("bootstrap",),
    **options: Any,
) -> Iterator[str]:
    """A function for the length of the block; `code` is the text of app.py (index.mjs, bootstrap) or a set of files."""
    if isinstance(code, str):
        file = "bootstrap" if runtime.startswith("provided") else "index.mjs" if "node" in runtime else "app.py"
        code = {file: code}
    options.setdefault("Timeout", TIMEOUT_S)
    name = name or unique()
    from tests.machine import missing  # which needs this module

    if runtime != PYTHON_RUNTIME and (words := missing(runtime)) is not None:
        pytest.skip(words)
    lambda_.create_function(
        FunctionName=name,
        Runtime=runtime,
        Handler=handler,
        Role=ROLE,
        Code={"ZipFile": package(code, executable=executable)},
        **options,
    )
    try:
        lambda_.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 30})
        yield name
    finally:
        lambda_.delete_function(FunctionName=name)
