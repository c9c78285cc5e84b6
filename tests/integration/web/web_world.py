"""Real web frameworks from their registries, deployed behind function URLs; fetched once per machine into the cache."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.integration.gateway.url_world import Reply, Url, id_in, logs_until, permit, server_of
from tests.support import alone, function, package, unique

HERE = Path(__file__).parent
APPS = HERE / "apps"
CACHE = HERE.parents[2] / ".cache" / "web"
INSTALL_LIMIT_S = 600.0

PYTHON_PACKAGES = (
    "fastapi==0.165.0",
    "mangum==0.22.0",
    "flask==3.1.3",
    "asgiref==3.13.0",
    "uvicorn",
    "gunicorn==27.0.1",
    "python-multipart",
)
NODE_PACKAGES = {
    "express": "5.3.0",
    "multer": "^2.0.0",
    "serverless-http": "^4.0.0",
    "@codegenie/serverless-express": "^4.16.0",
}
NEXT_PACKAGES = {"next": "16.4.6", "react": "19.3.1", "react-dom": "19.3.1"}
WEB_ADAPTER = "1.0.0-rc1"
"""Of the crate lambda_web_adapter."""
BY_WEB_ADAPTER = "-web-adapter"
"""How the name of a subject ends that it serves."""
ADAPTER_MET_A_CLOSED_CONNECTION = "hyper_util::client::legacy::Error(SendRequest, "
"""AWS's Web Adapter keeps connections to the application, and sends the next request on one. An application that closes it late,
as uvicorn does after an error, may do so when the environment is frozen: then that request fails inside the adapter."""


def fetched(folder: Path, wanted: Any, *steps: Sequence[str], **environment: str) -> Path:
    """The folder after these commands, which are run in it unless they were, for the same `wanted`; skips aloud where one
    can't be run."""
    stamp = folder / ".fetched"
    text = json.dumps(wanted, sort_keys=True)
    if stamp.is_file() and stamp.read_text() == text:
        return folder
    with alone(folder):
        if not stamp.is_file() or stamp.read_text() != text:
            _run(folder, steps, environment)
            stamp.write_text(text)
    return folder


def _run(folder: Path, steps: Sequence[Sequence[str]], environment: dict[str, str]) -> None:
    for step in steps:
        if shutil.which(step[0]) is None:
            pytest.skip(f"{step[0]} is not on this machine")
        try:
            done = subprocess.run(
                step,
                cwd=folder,
                env={**os.environ, **environment},
                capture_output=True,
                text=True,
                timeout=INSTALL_LIMIT_S,
            )
        except subprocess.TimeoutExpired:
            pytest.skip(f"`{' '.join(step)}` took longer than {INSTALL_LIMIT_S:.0f} s")
        if done.returncode != 0:
            pytest.skip(f"`{' '.join(step)}` failed: {(done.stderr or done.stdout).strip()[-400:]}")


def tree(
    folder: Path, prefix: str = "", left_out: frozenset[str] = frozenset(("__pycache__", ".cache", "bin"))
) -> dict[str, bytes]:
    """All files below a folder, by their names in a package. What only tools and type checkers read stays away."""
    return {
        prefix + str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not left_out & set(path.relative_to(folder).parts) and path.suffix not in (".pyi", ".map")
    }


def python_packages() -> dict[str, bytes]:
    """A layer's files: FastAPI, Flask, Mangum and two servers, for the Python of these tests."""
    pip = [sys.executable, "-m", "pip", "install", "-q", "--only-binary=:all:", "--target", "site", *PYTHON_PACKAGES]
    folder = fetched(CACHE / "python", [sys.version_info[:2], PYTHON_PACKAGES], ["rm", "-rf", "site"], pip)
    return tree(folder / "site", "python/")


def node_packages() -> dict[str, bytes]:
    """A layer's files: Express and two adapters."""
    folder = CACHE / "express"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "package.json").write_text(json.dumps({"private": True, "dependencies": NODE_PACKAGES}))
    fetched(folder, NODE_PACKAGES, ["npm", "install", "--no-audit", "--no-fund", "--silent"])
    return tree(folder / "node_modules", "nodejs/node_modules/")


def go_program() -> bytes:
    """The Go application, for both of its ways."""
    folder, sources = CACHE / "go", APPS / "go_http"
    names = ("main.go", "go.mod", "go.sum")
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        shutil.copyfile(sources / name, folder / name)
    wanted = [hashlib.sha256((sources / name).read_bytes()).hexdigest() for name in names]
    build = ["go", "build", "-tags", "lambda.norpc", "-o", "bootstrap", "."]
    return (fetched(folder, wanted, build, CGO_ENABLED="0") / "bootstrap").read_bytes()


def web_adapter() -> dict[str, bytes]:
    """A layer's files: AWS's Web Adapter, built from its crate."""
    install = [
        "cargo",
        "install",
        "lambda_web_adapter",
        "--version",
        WEB_ADAPTER,
        "--root",
        ".",
        "--target-dir",
        "target",
    ]
    # Its own profile optimises across all crates, which takes twice the time and changes nothing that is looked at.
    quickly = {"OPT_LEVEL": "0", "LTO": "off", "CODEGEN_UNITS": "16"}
    environment = {f"CARGO_PROFILE_RELEASE_{name}": value for name, value in quickly.items()}
    folder = fetched(CACHE / "web-adapter", WEB_ADAPTER, install, ["rm", "-rf", "target"], **environment)
    return {
        "extensions/lambda-adapter": (folder / "bin" / "lambda-adapter").read_bytes(),
        # What the published layer has: the managed runtime is replaced by what the handler names.
        "bootstrap": b'#!/bin/sh\nexec "${LAMBDA_TASK_ROOT:-/var/task}/${_HANDLER}"\n',
    }


def nextjs() -> dict[str, bytes]:
    """A Next.js application as `output: "standalone"` builds it, with its static files."""
    folder, sources = CACHE / "nextjs", APPS / "nextjs"
    shutil.copytree(sources, folder, dirs_exist_ok=True)
    (folder / "package.json").write_text(json.dumps({"private": True, "dependencies": NEXT_PACKAGES}))
    wanted = [NEXT_PACKAGES, {name: hashlib.sha256(data).hexdigest() for name, data in tree(sources).items()}]
    install, build = ["npm", "install", "--no-audit", "--no-fund", "--silent"], ["npx", "next", "build"]
    fetched(folder, wanted, install, build, NEXT_TELEMETRY_DISABLED="1")
    everything: frozenset[str] = frozenset()
    return {
        **tree(folder / ".next" / "standalone", left_out=everything),
        **tree(folder / ".next" / "static", ".next/static/", everything),
        **tree(folder / "public", "public/", everything),
    }


@dataclass(frozen=True)
class Subject:
    """One framework in one way of serving it."""

    name: str
    runtime: str
    handler: str
    files: Callable[[], Mapping[str, str | bytes]]
    layers: tuple[Callable[[], Mapping[str, str | bytes]], ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class PatientUrl(Url):
    """Asks once more where AWS's Web Adapter met a connection that its application had closed: its own word for just that, on
    just this request. Any other reason for a 502 fails here."""

    endpoint: str = ""
    function: str = ""

    def __call__(self, *arguments: Any, **named: Any) -> Reply:
        reply = Url.__call__(self, *arguments, **named)
        if reply.status != 502:
            return reply
        request = reply.header("x-amzn-requestid") or ""
        log = logs_until(self.endpoint, self.function, [f"REPORT RequestId: {request}"])
        assert any(request in line and ADAPTER_MET_A_CLOSED_CONNECTION in line for line in log.splitlines()), log
        return Url.__call__(self, *arguments, **named)


@contextmanager
def served(lambda_: Any, endpoint: str, subject: Subject) -> Iterator[tuple[str, Url]]:
    """The subject behind a function URL for the length of the block: the function's name, and the address."""
    with ExitStack() as stack:
        arns = []
        for files in subject.layers:
            name, content = unique("web"), files()
            executable = tuple(path for path in content if path in ("bootstrap", "extensions/lambda-adapter"))
            zipped = package(content, executable=executable)
            published = lambda_.publish_layer_version(LayerName=name, Content={"ZipFile": zipped})
            arns.append(published["LayerVersionArn"])
            stack.callback(lambda_.delete_layer_version, LayerName=name, VersionNumber=published["Version"])
        name = stack.enter_context(
            function(
                lambda_,
                subject.files(),
                runtime=subject.runtime,
                handler=subject.handler,
                executable=("bootstrap", "run.sh"),
                Layers=arns,
                Environment={"Variables": dict(subject.variables)},
                MemorySize=1024,
                Timeout=30,
            )
        )
        made = lambda_.create_function_url_config(FunctionName=name, AuthType="NONE")
        permit(lambda_, name)
        found = Url(server_of(endpoint), id_in(made["FunctionUrl"]))
        if subject.name.endswith(BY_WEB_ADAPTER):
            found = PatientUrl(found.server, found.id, found.region, endpoint, name)
        yield name, found
