"""`aws lambda invoke`: types, log tail, client context, every way to name a version, standard streams."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Aws = Callable[..., Any]


def test_a_synchronous_invocation_writes_the_answer_to_a_file(aws: Aws, deployed: str, tmp_path: Path) -> None:
    told = aws("lambda", "invoke", "--function-name", deployed, "--payload", '{"a": 1}', "out.json")
    assert told == {"StatusCode": 200, "ExecutedVersion": "$LATEST"}
    assert json.loads((tmp_path / "out.json").read_text())["event"] == {"a": 1}
    (tmp_path / "event.json").write_text('{"from": "a file"}')
    aws("lambda", "invoke", "--function-name", deployed, "--payload", "fileb://event.json", "out.json")
    assert json.loads((tmp_path / "out.json").read_text())["event"] == {"from": "a file"}


def test_payload_from_standard_input_and_answer_to_standard_output(aws_run: Any, deployed: str) -> None:
    done = aws_run(
        *("lambda", "invoke", "--function-name", deployed, "--payload", "file:///dev/stdin", "/dev/stdout"),
        stdin='{"from": "a pipe"}',
    )
    assert done.returncode == 0, done.stderr
    answer, _ = json.JSONDecoder().raw_decode(done.stdout)
    assert answer["event"] == {"from": "a pipe"}


def test_the_log_tail_and_the_client_context(aws: Aws, deployed: str, tmp_path: Path) -> None:
    context = b64encode(json.dumps({"custom": {"key": "value"}}).encode()).decode()
    told = aws(
        *("lambda", "invoke", "--function-name", deployed, "--log-type", "Tail", "--client-context", context),
        *("--payload", '"x"', "out.json"),
    )
    tail = b64decode(told["LogResult"]).decode().splitlines()
    assert tail[0].startswith("START RequestId: ") or tail[0].startswith("INIT_START ")
    assert "line for x" in tail
    assert any(line.startswith("REPORT RequestId: ") for line in tail)
    assert json.loads((tmp_path / "out.json").read_text())["client"] == {"key": "value"}


def test_event_and_dry_run(aws: Aws, deployed: str, tmp_path: Path) -> None:
    invoke = ("lambda", "invoke", "--function-name", deployed, "--payload", '"later"', "--invocation-type")
    assert aws(*invoke, "Event", "out.json") == {"StatusCode": 202}
    assert (tmp_path / "out.json").read_bytes() == b""
    assert aws(*invoke, "DryRun", "out.json") == {"StatusCode": 204}


def test_every_way_to_name_a_version(aws: Aws, lambda_: Any, deployed: str, tmp_path: Path) -> None:
    lambda_.publish_version(FunctionName=deployed)
    arn = f"arn:aws:lambda:us-east-1:000000000000:function:{deployed}"
    ways = {
        (deployed,): (arn, "$LATEST"),
        (deployed, "--qualifier", "1"): (f"{arn}:1", "1"),
        (f"{deployed}:1",): (f"{arn}:1", "1"),
        (arn,): (arn, "$LATEST"),
        (f"{arn}:$LATEST",): (f"{arn}:$LATEST", "$LATEST"),
        (f"{arn}:1", "--qualifier", "1"): (f"{arn}:1", "1"),
        (f"000000000000:function:{deployed}",): (arn, "$LATEST"),
        (f"function:{deployed}:1",): (f"{arn}:1", "1"),
    }
    for way, (invoked, version) in ways.items():
        told = aws("lambda", "invoke", "--function-name", *way, "out.json")
        answer = json.loads((tmp_path / "out.json").read_text())
        assert (answer["arn"], answer["version"], told["ExecutedVersion"]) == (invoked, version, version), way


def test_a_function_error_is_not_an_error_of_the_command(aws: Aws, lambda_: Any, deployed: str, tmp_path: Path) -> None:
    lambda_.update_function_configuration(FunctionName=deployed, Handler="app.nothing")
    lambda_.get_waiter("function_updated_v2").wait(FunctionName=deployed)
    told = aws("lambda", "invoke", "--function-name", deployed, "out.json")
    assert told == {"StatusCode": 200, "FunctionError": "Unhandled", "ExecutedVersion": "$LATEST"}
    answer = json.loads((tmp_path / "out.json").read_text())
    assert (answer["errorType"], answer["errorMessage"]) == (
        "Runtime.HandlerNotFound",
        "Handler 'nothing' missing on module 'app'",
    )


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (
            ("--qualifier", "2"),
            "(InvalidParameterValueException) when calling the Invoke operation: The derived qualifier from the function "
            "name does not match the specified qualifier.",
        ),
        (
            ("--payload", "{no json"),
            "(InvalidRequestContentException) when calling the Invoke operation: Could not parse",
        ),
        (("--client-context", "%%%"), "(InvalidRequestContentException)"),
    ],
)
def test_refused_invocations(refused: Callable[..., str], deployed: str, options: tuple[str, ...], text: str) -> None:
    assert text in refused("lambda", "invoke", "--function-name", f"{deployed}:$LATEST", *options, "out.json")
