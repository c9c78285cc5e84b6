"""A server whose data directory has everything that `lambent runtimes add` brings, and functions on it."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.support import PYTHON_RUNTIME, ROLE, alone, package, unique

ROOT = Path(__file__).resolve().parents[3]
CACHE = ROOT / ".cache"
"""`--data-dir` of the additions that all runs share; they lie in its folder `runtimes`."""
HERE = Path(__file__).parent

PYTHONS = tuple(f"python3.{minor}" for minor in range(8, 15))
NODES = ("nodejs20.x", "nodejs22.x", "nodejs24.x")
CLIENTS = ("lambent", "official")

ADDED = {
    "nodejs22.x": "nodejs22.x",
    "nodejs24.x": "nodejs24.x",
    f"sdk-{PYTHON_RUNTIME}": f"sdks/{PYTHON_RUNTIME}",
    "official-nodejs22.x": "clients/nodejs-client-3",
    "official-nodejs24.x": "clients/nodejs-client-4",
}
"""What is added for these tests, and where it lies. The Node.js clients are built: a minute each, once."""

CONFIG_SITE = CACHE / "config.site"
QUICKLY = {"CFLAGS": "-O0", "CXXFLAGS": "-O0", "CONFIG_SITE": str(CONFIG_SITE)}
"""What is compiled here is looked at, not measured; what one `configure` found out is not asked by the next."""

FAILED: dict[str, str] = {}
"""What could not be added here, with the words of the command."""

SETTLED_LIMIT_S = 60.0


def lambent(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command as a user would, with what this machine's PATH and home hold."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "LAMBENT_"))}
    kept |= {"PYTHONPATH": str(ROOT / "src"), **environment}
    return subprocess.run(
        [sys.executable, "-m", "lambent", *arguments], capture_output=True, text=True, env=kept, cwd=ROOT, timeout=900
    )


def listed(data_dir: Path) -> dict[str, str | None]:
    """Runtime identifier → what is missing, as `lambent runtimes` says."""
    done = lambent("runtimes", "--json", "--data-dir", str(data_dir))
    assert done.returncode == 0, done.stderr
    return {row["name"]: row["missing"] for row in json.loads(done.stdout)}


def add_what_is_wanted() -> None:
    """Have everything in the cache that these tests use; what can't be had is told by FAILED."""
    kept = CACHE / "runtimes"
    wanted = dict(ADDED)
    here = listed(CACHE)
    for name in PYTHONS:
        if here.get(name, "") is None:
            wanted[f"official-{name}"] = f"clients/{name}"
    with alone(kept):
        found_out = CACHE / "config.cache"
        found_out.unlink(missing_ok=True)
        CONFIG_SITE.write_text(f"cache_file={found_out}\n")
        for name, place in wanted.items():
            if (kept / place).is_dir():
                continue
            done = lambent("runtimes", "--data-dir", str(CACHE), "add", name, **QUICKLY)
            if done.returncode != 0:
                FAILED[name] = done.stderr.strip()


def bring(data_dir: Path) -> None:
    """Give a data directory what the cache has, as if it had been added there."""
    kept = CACHE / "runtimes"
    for place in ("nodejs22.x", "nodejs24.x", "clients", "sdks"):
        if (kept / place).is_dir():
            shutil.copytree(kept / place, data_dir / "runtimes" / place, symlinks=True, copy_function=_linked)


def _linked(source: str, target: str) -> None:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        shutil.copy2(source, target, follow_symlinks=False)


class Function:
    """One deployed function and what a caller can do with it."""

    def __init__(self, lambda_: Any, name: str) -> None:
        self.lambda_ = lambda_
        self.name = name

    def invoke(self, payload: Any = None, **options: Any) -> Answer:
        raw = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        return Answer(self.lambda_.invoke(FunctionName=self.name, Payload=raw, LogType="Tail", **options))

    def facts(self) -> dict[str, Any]:
        found: dict[str, Any] = self.lambda_.get_function_configuration(FunctionName=self.name)
        return found


class Answer:
    """What came back from an invocation."""

    def __init__(self, answer: Mapping[str, Any]) -> None:
        self.raw: bytes = answer["Payload"].read()
        self.error: str | None = answer.get("FunctionError")
        self.request_id: str = answer["ResponseMetadata"]["RequestId"]
        self.log = base64.b64decode(answer["LogResult"]).decode(errors="replace").split("\n")

    @property
    def body(self) -> Any:
        return json.loads(self.raw)

    @property
    def lines(self) -> list[str]:
        """The function's own lines: what lies between START and END."""
        begin = next(n for n, line in enumerate(self.log) if line.startswith("START "))
        end = next(n for n, line in enumerate(self.log) if line.startswith("END "))
        return self.log[begin + 1 : end]

    def __repr__(self) -> str:
        return f"{self.error} {self.raw[:2_000]!r} {self.log}"


@contextmanager
def deployed(
    lambda_: Any,
    files: Mapping[str, str | bytes],
    runtime: str,
    *,
    handler: str = "app.handler",
    client: str = "lambent",
    variables: Mapping[str, str] | None = None,
    is_missing: bool = False,
    **options: Any,
) -> Iterator[Function]:
    """A function for the length of the block, which is entered once its creation has settled.

    client: the runtime client it chooses. is_missing: the machine is known to lack the runtime; otherwise a machine
    that does skips the test, with the words that the caller of CreateFunction reads.
    """
    environment = {**(variables or {}), **({"LAMBENT_RUNTIME_CLIENT": client} if client != "lambent" else {})}
    name = unique("product")
    options.setdefault("Timeout", 10)
    lambda_.create_function(
        FunctionName=name,
        Runtime=runtime,
        Handler=handler,
        Role=ROLE,
        Code={"ZipFile": package(files)},
        Environment={"Variables": environment},
        **options,
    )
    made = Function(lambda_, name)
    try:
        facts = settled(made)
        if facts["State"] == "Failed" and not is_missing:
            pytest.skip(why_missing(facts["StateReason"], runtime, client))
        yield made
    finally:
        lambda_.delete_function(FunctionName=name)


def why_missing(reason: str, runtime: str, client: str) -> str:
    failed = FAILED.get(f"official-{runtime}" if client == "official" else runtime)
    return reason if failed is None else f"{reason} ({failed})"


def settled(function: Function) -> dict[str, Any]:
    """The configuration once the function is no longer Pending."""
    until = time.monotonic() + SETTLED_LIMIT_S
    while (facts := function.facts())["State"] == "Pending":
        assert time.monotonic() < until, facts
        time.sleep(0.01)  # a state can be asked for, not awaited
    return facts


def as_json(line: str) -> Any:
    """What a line of the log says as JSON; the line where it is something else."""
    try:
        return json.loads(line)
    except ValueError:
        return line
