"""The AWS SDKs for JavaScript v3, Go v2 and Java v2: a function's life with each, as their users write it.

Each SDK is fetched once by its own tool into the project's ignored cache. Where the tool is missing, or a fresh fetch
takes longer than INSTALL_LIMIT_S, the test is skipped and says so.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import RunningServer, start_server
from tests.support import PYTHON_RUNTIME, client, function, package, unique

HERE = Path(__file__).parent
CACHE = HERE.parents[2] / ".cache" / "parity"
KEY, SECRET = "ONEKEY", "what/nobody+knows="
INSTALL_LIMIT_S = 40.0
FLOW_LIMIT_S = 60.0
CODE = """import os
import words
def handler(event, context):
    print("ran")
    return {{"code": {number}, "n": event.get("n"), "colour": os.environ["COLOUR"], "words": words.WORDS}}
"""
REPLAYED = [
    "aws_lambda_function",
    "aws_lambda_function_url",
    "aws_lambda_event_source_mapping",
    "aws_lambda_alias",
    "aws_lambda_permission",
    "aws_lambda_provisioned_concurrency_config",
    "aws_lambda_function_event_invoke_config",
    "aws_lambda_layer_version",
    "aws_lambda_layer_version_permission",
    "aws_lambda_code_signing_config",
    "aws_lambda_runtime_management_config",
    "aws_lambda_function_recursion_config",
]

pytestmark = [
    pytest.mark.timeout(INSTALL_LIMIT_S + FLOW_LIMIT_S + 30),
    pytest.mark.leaves_session_state,  # the module's server
]


Run = Callable[[list[str], Path], None]


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server that verifies signatures: each SDK signs other headers, and encodes paths in its own way."""
    keys = {"LAMBENT_VERIFY_SIGNATURES": "true", "LAMBENT_ACCESS_KEYS": f"{KEY}:{SECRET}"}
    running = start_server(tmp_path_factory.mktemp("sdks") / "data", env=keys)
    yield running
    assert running.stop() == 0, running.log.read_text()[-4_000:]


@pytest.fixture
def sdk_environment(strict: RunningServer) -> dict[str, str]:
    """Nobody's configuration, the server's key and its address."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "LAMBENT_"))}
    return {
        **kept,
        "PYTHON_RUNTIME": PYTHON_RUNTIME,
        "AWS_ENDPOINT_URL": strict.url,
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }


@pytest.fixture
def flow(sdk_environment: dict[str, str], tmp_path: Path) -> Run:
    """Run an SDK's program; what it parsed must be what was sent."""
    name = unique("sdk")
    archives = {
        "first.zip": package({"app.py": CODE.format(number=1)}),
        "second.zip": package({"app.py": CODE.format(number=2)}),
        "layer.zip": package({"python/words.py": "WORDS = 'of the layer'\n"}),
    }
    for file, content in archives.items():
        (tmp_path / file).write_bytes(content)

    def run(command: list[str], folder: Path) -> None:
        done = subprocess.run(
            [*command, name, *(str(tmp_path / file) for file in archives)],
            capture_output=True,
            text=True,
            cwd=folder,
            env=sdk_environment,
            timeout=FLOW_LIMIT_S,
        )
        assert done.returncode == 0, done.stderr
        seen = json.loads(done.stdout.splitlines()[-1])
        expected = parsed(name, {file: len(content) for file, content in archives.items()})
        for step, what in expected.items():
            assert seen.pop(step) == what, step
        assert not seen

    return run


def parsed(name: str, sizes: dict[str, int]) -> dict[str, Any]:
    """What every SDK has to have read, step by step. sizes: bytes of each archive."""
    arn = f"arn:aws:lambda:us-east-1:000000000000:function:{name}"
    layer = f"arn:aws:lambda:us-east-1:000000000000:layer:{name}:1"
    function = {
        "arn": arn,
        "version": "$LATEST",
        "runtime": PYTHON_RUNTIME,
        "memory": 256,
        "timeout": 3,
        "ephemeral": 1024,
        "architectures": ["x86_64"],
        "environment": {"COLOUR": "blue"},
        "layers": [layer],
        "log": "INFO",
        "tracing": "PassThrough",
        "snap": "Off",
        "size": sizes["first.zip"],
        "state": "Pending",
        "update": None,
    }
    changed = {**function, "size": sizes["second.zip"], "state": "Active", "update": "InProgress"}
    statement = {
        "Sid": "bucket",
        "Effect": "Allow",
        "Principal": {"Service": "s3.amazonaws.com"},
        "Action": "lambda:InvokeFunction",
        "Resource": f"{arn}:live",
        "Condition": {"ArnLike": {"AWS:SourceArn": "arn:aws:s3:::bucket"}},
    }
    return {
        "layer": {"arn": layer, "version": 1, "runtimes": ["python3.11"]},
        "created": function,
        "taken": refusal(409, "ResourceConflictException", f"Function already exist: {name}"),
        "first": answer(1, 1, "blue", "$LATEST"),
        "updated": changed,
        "second": answer(2, 2, "red", "$LATEST"),
        "read": {**changed, "environment": {"COLOUR": "red"}, "timeout": 9, "update": "Successful"},
        "invalid": refusal(
            400,
            "InvalidParameterValueException",
            "'Timeout' value failed to satisfy constraint: Member must have value less than or equal to 900",
        ),
        "published": "1",
        "versions": ["$LATEST", "1", "2"],
        "alias": {"arn": f"{arn}:live", "version": "1", "weights": {"2": 1.0}},
        "weighted": answer(2, 3, "green", "2"),
        "moved": {"2": 0.25},
        "stale": refusal(
            412,
            "PreconditionFailedException",
            "The Revision Id provided does not match the latest Revision Id. Call the GetFunction/GetAlias API to "
            "retrieve the latest Revision Id",
        ),
        "statement": statement,
        "policy": {"Version": "2012-10-17", "Id": "default", "Statement": [statement]},
        "tags": {"stage": "test", "with space": "é"},
        "gone": refusal(404, "ResourceNotFoundException", f"Function not found: {arn}:$LATEST"),
    }


def answer(code: int, number: int, colour: str, ran: str) -> dict[str, Any]:
    return {"code": code, "n": number, "colour": colour, "words": "of the layer", "tail": True, "ran": ran}


def refusal(status: int, code: str, message: str) -> dict[str, Any]:
    return {"code": code, "message": message, "status": status}


def fetched(tool: str, folder: Path, *steps: list[str]) -> None:
    """Have `steps` done in `folder`, within the limit, unless they were; skip aloud where that can't be."""
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not on this machine")
    marker = folder / ".fetched"
    wanted = {
        file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest() for file in _sources(folder)
    }
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
    for pattern in ("**/*.go", "go.mod", "pom.xml", "package.json", "src/main/java/*.java"):
        yield from folder.glob(pattern)


def workshop(name: str) -> Path:
    """The folder in the cache where one SDK is built, with this test's sources in it."""
    folder = CACHE / name
    folder.mkdir(parents=True, exist_ok=True)
    if (HERE / name).is_dir():
        shutil.copytree(HERE / name, folder, dirs_exist_ok=True)
    return folder


def javascript() -> Path:
    """The folder with the SDK in it."""
    folder = workshop("js")
    (folder / "package.json").write_text('{"private": true, "dependencies": {"@aws-sdk/client-lambda": "^3.1000.0"}}\n')
    fetched("npm", folder, ["npm", "install", "--no-audit", "--no-fund", "--silent"])
    return folder


def test_javascript_v3(flow: Any) -> None:
    flow(["node", "--no-warnings", str(HERE / "flow.mjs")], javascript())


STREAM = """
def handler(event, context):
    yield "one "
    yield "two"
    if event["fails"]:
        raise ValueError("midway")
"""


def test_javascript_v3_reads_a_stream(strict: RunningServer, sdk_environment: dict[str, str]) -> None:
    """Chunk by chunk, with its own decoder, and what failed on the way."""
    lambda_ = client("lambda", strict.url, account=KEY, secret=SECRET)
    try:
        with function(lambda_, STREAM) as name:
            done = subprocess.run(
                ["node", "--no-warnings", str(HERE / "stream.mjs"), name],
                capture_output=True,
                text=True,
                cwd=javascript(),
                env=sdk_environment,
                timeout=FLOW_LIMIT_S,
            )
    finally:
        lambda_.close()
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen["well"] == {
        "status": 200,
        "version": "$LATEST",
        "chunks": ["one ", "two"],
        "complete": {"tail": True},
    }
    assert seen["ill"]["chunks"] == ["one ", "two"]
    assert seen["ill"]["complete"]["ErrorCode"] == "Unhandled"
    details = json.loads(seen["ill"]["complete"]["ErrorDetails"])
    assert (details["errorType"], details["errorMessage"]) == ("ValueError", "midway")
    assert seen["refused"] == {"code": "ResourceNotFoundException", "status": 404}


def built_go() -> Path:
    """The folder with both programs in it."""
    folder = workshop("go")
    fetched("go", folder, ["go", "build", "-o", "flow", "."], ["go", "build", "-o", "replay", "./provider"])
    return folder


def test_go_v2(flow: Any) -> None:
    folder = built_go()
    flow([str(folder / "flow")], folder)


def test_the_current_terraform_provider_reads_what_it_wrote(sdk_environment: dict[str, str], tmp_path: Path) -> None:
    """The calls of its resources' cycles, replayed with the SDK that it is built on."""
    zips = [tmp_path / f"{number}.zip" for number in (1, 2)]
    for number, archive in enumerate(zips, 1):
        archive.write_bytes(package({"app.py": f"def handler(event, context): return {number}\n"}))
    done = subprocess.run(
        [str(built_go() / "replay"), unique("provider"), *map(str, zips)],
        capture_output=True,
        text=True,
        env=sdk_environment,
        timeout=FLOW_LIMIT_S,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == REPLAYED


def test_a_wrong_secret_is_refused(sdk_environment: dict[str, str], tmp_path: Path) -> None:
    """Without this, the other tests would say nothing about signatures."""
    archive = tmp_path / "code.zip"
    archive.write_bytes(package({"app.py": ""}))
    done = subprocess.run(
        [str(built_go() / "flow"), unique("forged"), *[str(archive)] * 3],
        capture_output=True,
        text=True,
        env={**sdk_environment, "AWS_SECRET_ACCESS_KEY": "guessed"},
        timeout=FLOW_LIMIT_S,
    )
    assert done.returncode == 1
    assert "InvalidSignatureException: The request signature we calculated does not match" in done.stderr


def test_java_v2(flow: Any) -> None:
    folder = workshop("java")
    resolve = ["dependency:build-classpath", "-Dmdep.outputFile=classpath"]
    fetched("mvn", folder, ["mvn", "-q", "-B", "compile", *resolve])
    classpath = f"target/classes:{(folder / 'classpath').read_text().strip()}"
    flow(["java", "-cp", classpath, "Flow"], folder)
