"""The AWS SDKs for JavaScript v3, Go v2 and Java v2: a function's life with each, as their users write it.

Each SDK is fetched once by its own tool into the project's ignored cache. Where the tool is missing, or a fresh fetch
takes longer than INSTALL_LIMIT_S, the test is skipped and says so.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support import package, unique

HERE = Path(__file__).parent
CACHE = HERE.parents[2] / ".cache" / "parity"
INSTALL_LIMIT_S = 40.0
FLOW_LIMIT_S = 60.0
CODE = """import os
def handler(event, context):
    print("ran")
    return {{"code": {number}, "n": event.get("n"), "colour": os.environ["COLOUR"]}}
"""

pytestmark = pytest.mark.timeout(INSTALL_LIMIT_S + FLOW_LIMIT_S + 30)


@pytest.fixture
def flow(endpoint: str, tmp_path: Path) -> Callable[[list[str], Path], None]:
    """Run an SDK's program; answers what it saw."""
    name = unique("sdk")
    zips = [tmp_path / "first.zip", tmp_path / "second.zip"]
    for number, path in enumerate(zips, 1):
        path.write_bytes(package({"app.py": CODE.format(number=number)}))
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "LAMBENT_"))}
    environment = {
        **kept,
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }

    def run(command: list[str], folder: Path) -> None:
        done = subprocess.run(
            [*command, name, *map(str, zips)],
            capture_output=True,
            text=True,
            cwd=folder,
            env=environment,
            timeout=FLOW_LIMIT_S,
        )
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout.splitlines()[-1]) == {
            "created": "Pending",
            "first": {"code": 1, "n": 1, "colour": "blue", "tail": True, "ran": "$LATEST"},
            "second": {"code": 2, "n": 2, "colour": "red", "tail": True, "ran": "$LATEST"},
            "gone": {
                "code": "ResourceNotFoundException",
                "message": f"Function not found: arn:aws:lambda:us-east-1:000000000000:function:{name}:$LATEST",
                "status": 404,
            },
        }

    return run


def fetched(tool: str, folder: Path, *steps: list[str]) -> None:
    """Have `steps` done in `folder`, within the limit, unless they were; skip aloud where that can't be."""
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not on this machine")
    marker = folder / ".fetched"
    wanted = {file.relative_to(folder).as_posix(): file.stat().st_size for file in _sources(folder)}
    if marker.exists() and json.loads(marker.read_text()) == wanted:
        return
    for step in steps:
        try:
            done = subprocess.run(step, capture_output=True, text=True, cwd=folder, timeout=INSTALL_LIMIT_S)
        except subprocess.TimeoutExpired:
            pytest.skip(f"`{' '.join(step)}` took longer than {INSTALL_LIMIT_S:.0f} s")
        if done.returncode != 0:
            pytest.skip(f"`{' '.join(step)}` failed: {(done.stderr or done.stdout).strip()[-400:]}")
    marker.write_text(json.dumps(wanted))


def _sources(folder: Path) -> Iterator[Path]:
    for pattern in ("main.go", "go.mod", "pom.xml", "package.json", "src/main/java/*.java"):
        yield from folder.glob(pattern)


def workshop(name: str) -> Path:
    """The folder in the cache where one SDK is built, with this test's sources in it."""
    folder = CACHE / name
    folder.mkdir(parents=True, exist_ok=True)
    if (HERE / name).is_dir():
        shutil.copytree(HERE / name, folder, dirs_exist_ok=True)
    return folder


def test_javascript_v3(flow: Any) -> None:
    folder = workshop("js")
    (folder / "package.json").write_text('{"private": true, "dependencies": {"@aws-sdk/client-lambda": "^3.1000.0"}}\n')
    fetched("npm", folder, ["npm", "install", "--no-audit", "--no-fund", "--silent"])
    flow(["node", "--no-warnings", str(HERE / "flow.mjs")], folder)


def test_go_v2(flow: Any) -> None:
    folder = workshop("go")
    fetched("go", folder, ["go", "build", "-o", "flow", "."])
    flow([str(folder / "flow")], folder)


def test_java_v2(flow: Any) -> None:
    folder = workshop("java")
    resolve = ["dependency:build-classpath", "-Dmdep.outputFile=classpath"]
    fetched("mvn", folder, ["mvn", "-q", "-B", "compile", *resolve])
    classpath = f"target/classes:{(folder / 'classpath').read_text().strip()}"
    flow(["java", "-cp", classpath, "Flow"], folder)
