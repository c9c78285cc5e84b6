"""`provided.al2023` with bootstraps made by AWS's own Go and Rust clients, built here from the registries, once."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest
from product_world import CACHE, HERE, Function, deployed

from lambent.invocations.prelude import PreludeReader

BUILD_LIMIT_S = 240.0
"""Measured on two cores: Go 12 s, Rust 60 s; from the cache nothing."""

pytestmark = pytest.mark.timeout(BUILD_LIMIT_S + 60)

BUILDS = {
    "go": (
        ("main.go", "go.mod", "go.sum"),
        ["go", "build", "-tags", "lambda.norpc", "-o", "bootstrap", "."],
        "bootstrap",
    ),
    "rust": (
        ("src/main.rs", "Cargo.toml", "Cargo.lock"),
        ["cargo", "build", "--release", "--locked"],
        "target/release/bootstrap",
    ),
}
"""Language → sources, command, and the program it makes."""


def built(language: str) -> bytes:
    """The program, built unless the cache has it from the same sources; skips aloud where it can't be built."""
    names, command, program = BUILDS[language]
    folder, sources = CACHE / "product" / language, HERE / f"{language}_bootstrap"
    stamp = folder / ".built"
    wanted = json.dumps({name: (sources / name).read_text() for name in names})
    if not (stamp.is_file() and stamp.read_text() == wanted and (folder / program).is_file()):
        if shutil.which(command[0]) is None:
            pytest.skip(f"{command[0]} is not on this machine")
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(sources / name, folder / name)
        environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=mod", "CARGO_PROFILE_RELEASE_OPT_LEVEL": "0"}
        try:
            done = subprocess.run(
                command, cwd=folder, env=environment, capture_output=True, text=True, timeout=BUILD_LIMIT_S
            )
        except subprocess.TimeoutExpired:
            pytest.skip(f"`{' '.join(command)}` took longer than {BUILD_LIMIT_S:.0f} s")
        if done.returncode != 0:
            pytest.skip(f"`{' '.join(command)}` failed: {done.stderr.strip()[-400:]}")
        stamp.write_text(wanted)
    return (folder / program).read_bytes()


@pytest.fixture(scope="module", params=list(BUILDS))
def subject(request: pytest.FixtureRequest, lambda_: Any) -> Iterator[tuple[Function, str]]:
    files = {"bootstrap": built(request.param)}
    with deployed(lambda_, files, "provided.al2023", handler="anything") as function:
        yield function, request.param


def test_values_come_back_and_what_is_printed_is_logged(subject: Any) -> None:
    value = {"n": [1, -2.5, None, True], "t": "zé世\U0001f600"}
    answer = subject[0].invoke({"do": "echo", "value": value})
    assert (answer.body, answer.error) == (value, None)
    assert "asked to echo" in answer.lines


def test_the_context_is_the_published_one(subject: Any) -> None:
    function, language = subject
    custom = base64.b64encode(json.dumps({"custom": {"k": "v"}}).encode()).decode()
    answer = function.invoke({"do": "context"}, ClientContext=custom)
    seen = answer.body
    assert answer.error is None, answer
    left_ms = seen.pop("left_ms") if language == "go" else seen.pop("deadline_ms") - time.time() * 1_000
    assert 0 < left_ms <= 10_000
    assert seen == {
        "id": answer.request_id,
        "arn": f"arn:aws:lambda:us-east-1:000000000000:function:{function.name}",
        "name": function.name,
        "mb": 128,
        "custom": {"k": "v"},
    }


def test_an_error_is_the_answer_in_the_clients_own_form(subject: Any) -> None:
    function, language = subject
    answer = function.invoke({"do": "error"})
    assert answer.error == "Unhandled"
    assert answer.body["errorMessage"] == "as asked"
    if language == "go":
        assert answer.body["errorType"] == "errorString"
    else:
        assert answer.body["errorType"].startswith("&alloc::boxed::Box<dyn core::error::Error")


def test_a_panic_is_an_answer_and_the_next_one_serves(subject: Any) -> None:
    function, language = subject
    answer = function.invoke({"do": "panic"})
    assert answer.error == "Unhandled"
    assert "at once" in answer.body["errorMessage"]
    if language == "go":
        assert answer.body["errorType"] == "string"
        assert {"path", "line", "label"} == set(answer.body["stackTrace"][0])
    assert function.invoke({"do": "echo", "value": 1}).body == 1


def test_a_process_that_ends_says_how_and_the_next_one_serves(subject: Any) -> None:
    function = subject[0]
    answer = function.invoke({"do": "exit"})
    assert answer.body == {
        "errorType": "Runtime.ExitError",
        "errorMessage": f"RequestId: {answer.request_id} Error: Runtime exited with error: exit status 3",
    }
    assert function.invoke({"do": "echo", "value": 2}).body == 2


def test_a_streamed_answer_is_collected_for_a_caller_who_waits(subject: Any) -> None:
    function, language = subject
    answer = function.invoke({"do": "stream"})
    assert answer.error is None
    prelude, _, body = answer.raw.rpartition(b"\0" * 8)
    assert json.loads(body) == {"streamed": True}
    assert bool(prelude) == (language == "rust")  # its client begins each stream with one; only a URL would take it off


def test_a_stream_comes_chunk_by_chunk(subject: Any, lambda_: Any) -> None:
    function, language = subject
    answer = lambda_.invoke_with_response_stream(FunctionName=function.name, Payload=b'{"do":"stream"}')
    with contextlib.closing(answer["EventStream"]) as stream:
        *chunks, complete = list(stream)
    assert complete == {"InvokeComplete": {}}
    body = b"".join(one["PayloadChunk"]["Payload"] for one in chunks)
    assert json.loads(body.rpartition(b"\0" * 8)[2]) == {"streamed": True}
    if language == "rust":
        reader = PreludeReader()
        found = reader.feed([body])
        assert found is not None
        assert found[0]["statusCode"] == 200
    answer = lambda_.invoke_with_response_stream(FunctionName=function.name, Payload=b'{"do":"error"}')
    with contextlib.closing(answer["EventStream"]) as stream:
        (complete,) = list(stream)
    assert "as asked" in complete["InvokeComplete"]["ErrorDetails"]


def test_the_environment_of_an_os_only_runtime_names_no_runtime(lambda_: Any) -> None:
    script = """#!/bin/bash
API="http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime"
ID=$(curl -sS -D - -o /tmp/event "$API/invocation/next" | tr -d '\\r' | sed -n 's/^Lambda-Runtime-Aws-Request-Id: //Ip')
printf '"%s %s %s"' "${AWS_EXECUTION_ENV-absent}" "${AWS_LAMBDA_EXEC_WRAPPER-absent}" "$_HANDLER" |
  curl -sS -X POST "$API/invocation/$ID/response" --data-binary @- > /dev/null
curl -sS "$API/invocation/next" > /dev/null
"""
    if shutil.which("curl") is None:
        pytest.skip("curl is not on this machine")
    variables = {"AWS_LAMBDA_EXEC_WRAPPER": "/var/task/never-run"}
    files = {"bootstrap": script}
    with deployed(lambda_, files, "provided.al2023", handler="any.thing", variables=variables) as function:
        assert function.invoke({}).body == "absent /var/task/never-run any.thing"
