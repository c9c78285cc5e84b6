"""Node.js 20, 22 and 24, with our runtime client and with AWS's, through the public door."""

from __future__ import annotations

import base64
import contextlib
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from product_world import CLIENTS, NODES, Function, as_json, deployed

pytestmark = pytest.mark.timeout(600)  # the first run on a machine adds runtimes and clients

APP = r"""
const CASES = {
  echo: (event) => event.value,
  version: () => process.versions.node,
  facts: (event, context) => ({
    id: context.awsRequestId, name: context.functionName, version: context.functionVersion,
    arn: context.invokedFunctionArn, mb: context.memoryLimitInMB, group: context.logGroupName,
    stream: context.logStreamName, left: context.getRemainingTimeInMillis(),
    client: context.clientContext ? context.clientContext.custom : null,
  }),
  environment: () => process.env,
  fail: () => { throw new RangeError("no such colour: grün"); },
  unserialisable: () => 1n,
  large: (event) => "x".repeat(event.value),
  leave: () => { process.exit(7); },
  sleep: () => new Promise((resolve) => setTimeout(resolve, 30000)),
  say: () => { console.log("one\ntwo é世"); console.error("bad"); console.debug("details"); process.stdout.write("raw\n"); },
  reject: async () => { Promise.reject(new Error("lost")); await new Promise((resolve) => setTimeout(resolve, 500)); },
};
exports.handler = async (event, context) => CASES[event.do](event, context);
"""


@pytest.fixture(scope="module", params=[(n, c) for n in NODES for c in CLIENTS], ids=lambda p: "-".join(p))
def subject(request: pytest.FixtureRequest, lambda_: Any) -> Iterator[tuple[Function, str, str]]:
    """(function, runtime, client); the tests below share its environments."""
    runtime, client = request.param
    options: dict[str, Any] = {"variables": {"COLOUR": "green"}, "Timeout": 2, "MemorySize": 256}
    with deployed(lambda_, {"app.js": APP}, runtime, client=client, **options) as function:
        yield function, runtime, client


def test_values_come_back_as_they_went(subject: Any) -> None:
    function, runtime, _ = subject
    value = {"n": [1, -2.5, None, True], "t": "zé世\u2028\U0001f600", "d": {"": {}}}
    answer = function.invoke({"do": "echo", "value": value})
    assert (answer.body, answer.error) == (value, None)
    assert f"nodejs{function.invoke({'do': 'version'}).body.partition('.')[0]}.x" == runtime


def test_the_context_is_the_published_one(subject: Any) -> None:
    function, _, _ = subject
    custom = base64.b64encode(json.dumps({"custom": {"k": "v"}}).encode()).decode()
    answer = function.invoke({"do": "facts"}, ClientContext=custom)
    seen = answer.body
    assert 0 < seen.pop("left") <= 2_000
    assert re.fullmatch(r"\d{4}/\d\d/\d\d/\[\$LATEST\][0-9a-f]{32}", seen.pop("stream"))
    assert seen == {
        "id": answer.request_id,
        "name": function.name,
        "version": "$LATEST",
        "arn": f"arn:aws:lambda:us-east-1:000000000000:function:{function.name}",
        "mb": "256",
        "group": f"/aws/lambda/{function.name}",
        "client": {"k": "v"},
    }


def test_the_environment_is_the_published_one_and_nothing_of_the_host(subject: Any) -> None:
    function, runtime, client = subject
    seen = function.invoke({"do": "environment"}).body
    assert seen["COLOUR"] == "green"
    assert seen["_HANDLER"] == "app.handler"
    assert seen["AWS_EXECUTION_ENV"] == f"AWS_Lambda_{runtime}"
    assert seen["NODE_PATH"].startswith(f"/opt/nodejs/node{runtime[6:8]}/node_modules:/opt/nodejs/node_modules:")
    known = r"AWS_\w+|_AWS_\w+|LAMBDA_\w+|_HANDLER|_X_AMZN_TRACE_ID|COLOUR|TZ|LANG|PATH|LD_LIBRARY_PATH|NODE_PATH|"
    known += r"PWD|SHLVL" + ("|LAMBENT_RUNTIME_CLIENT" if client == "official" else "")
    assert [name for name in seen if not re.fullmatch(known, name)] == []


def test_an_exception_is_the_answer_and_one_line_of_the_log(subject: Any) -> None:
    answer = subject[0].invoke({"do": "fail"})
    assert answer.error == "Unhandled"
    document = answer.body
    trace = document.pop("trace")
    assert document == {"errorType": "RangeError", "errorMessage": "no such colour: grün"}
    assert trace[0] == "RangeError: no such colour: grün"
    assert re.fullmatch(r"    at .*\(?/var/task/app.js:\d+:\d+\)?", trace[1])
    told = [line for line in answer.lines if "\tERROR\tInvoke Error" in line]
    assert len(told) == 1
    assert json.loads(told[0].rpartition("\t")[2])["errorMessage"] == "no such colour: grün"


def test_what_cannot_be_json_is_told(subject: Any) -> None:
    function, runtime, _ = subject
    answer = function.invoke({"do": "unserialisable"})
    assert answer.error == "Unhandled"
    kind = "Runtime.JSONStringifyError" if runtime == "nodejs24.x" else "Error"
    assert (answer.body["errorType"], answer.body["errorMessage"]) == (kind, "Unable to stringify response body")


def test_too_long_an_answer_is_refused_and_the_next_one_serves(subject: Any) -> None:
    function = subject[0]
    answer = function.invoke({"do": "large", "value": 6_291_556})
    assert (answer.error, answer.body) == (
        "Unhandled",
        {
            "errorMessage": "Response payload size exceeded maximum allowed payload size (6291556 bytes).",
            "errorType": "Function.ResponseSizeTooLarge",
        },
    )
    assert function.invoke({"do": "echo", "value": 1}).body == 1


def test_a_line_of_the_console_is_one_event_whatever_it_holds(subject: Any) -> None:
    answer = subject[0].invoke({"do": "say"})
    raw = [line for line in answer.lines if "\t" not in line]
    stamped = [line.split("\t") for line in answer.lines if "\t" in line]
    assert "raw" in raw
    head = [(request, level, text) for _, request, level, text in stamped if level != "DEBUG"]
    said = "one\rtwo é世"
    assert [part[1:] for part in head] == [("INFO", said), ("ERROR", "bad")]
    assert all(part[0] == answer.request_id for part in head)
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", line[0]) for line in stamped)


def test_a_rejection_that_nobody_handles_ends_the_runtime(subject: Any) -> None:
    function, runtime, client = subject
    answer = function.invoke({"do": "reject"})
    assert answer.error == "Unhandled"
    silent = client == "official" and runtime == "nodejs24.x"  # that client ends without a word
    assert answer.body["errorType"] == ("Runtime.ExitError" if silent else "Runtime.UnhandledPromiseRejection")
    assert function.invoke({"do": "echo", "value": 3}).body == 3


def test_a_time_out_and_an_exit_end_the_runtime_and_the_next_one_serves(subject: Any) -> None:
    function = subject[0]
    answer = function.invoke({"do": "sleep"})
    assert answer.body == {
        "errorType": "Sandbox.Timedout",
        "errorMessage": f"RequestId: {answer.request_id} Error: Task timed out after 2.00 seconds",
    }
    answer = function.invoke({"do": "leave"})
    assert answer.body == {
        "errorType": "Runtime.ExitError",
        "errorMessage": f"RequestId: {answer.request_id} Error: Runtime exited with error: exit status 7",
    }
    assert function.invoke({"do": "echo", "value": 2}).body == 2


BROKEN = {
    "gone.handler": ("Runtime.ImportModuleError", "Error: Cannot find module 'gone'\nRequire stack:\n"),
    "app.gone": ("Runtime.HandlerNotFound", "app.gone is undefined or not exported"),
    "app": ("Runtime.MalformedHandlerName", "Bad handler"),
    "syntax.handler": ("Runtime.UserCodeSyntaxError", "SyntaxError: Unexpected token"),
    "raises.handler": ("TypeError", "at load"),
}
FILES = {
    "app.js": APP,
    "syntax.js": "exports.handler = async ( => 1;\n",
    "raises.js": "throw new TypeError('at load');\n",
}


def test_a_handler_that_cannot_be_loaded_says_why(subject: Any, lambda_: Any) -> None:
    _, runtime, client = subject
    seen = {}
    for handler in BROKEN:
        with deployed(lambda_, FILES, runtime, handler=handler, client=client, MemorySize=256) as function:
            answer = function.invoke({})
        assert answer.error == "Unhandled"
        seen[handler] = (answer.body["errorType"], answer.body["errorMessage"][: len(BROKEN[handler][1])])
    assert seen == BROKEN


def test_json_logs_have_levels_and_are_filtered_by_them(subject: Any, lambda_: Any) -> None:
    _, runtime, client = subject
    config = {"LogFormat": "JSON", "ApplicationLogLevel": "WARN"}
    with deployed(lambda_, {"app.js": APP}, runtime, client=client, LoggingConfig=config) as function:
        said, failed = function.invoke({"do": "say"}), function.invoke({"do": "fail"})
    lines = [line for line in map(as_json, said.log) if isinstance(line, dict) and "level" in line]
    assert [(line["level"], line["message"], line["requestId"]) for line in lines] == [
        ("ERROR", "bad", said.request_id)
    ]
    assert "raw" in said.log
    errors = [line for line in map(as_json, failed.log) if isinstance(line, dict) and line.get("level") == "ERROR"]
    assert len(errors) == 1
    assert json.dumps(errors[0]).count("RangeError")


def test_an_es_module_with_top_level_await_loads(subject: Any, lambda_: Any) -> None:
    _, runtime, client = subject
    files = {
        "app.mjs": "const late = await Promise.resolve(5);\nexport const handler = async () => [late, import.meta.url];\n"
    }
    with deployed(lambda_, files, runtime, client=client, MemorySize=256) as function:
        assert function.invoke({}).body == [5, "file:///var/task/app.mjs"]


STREAM = r"""
exports.handler = awslambda.streamifyResponse(async (event, stream, context) => {
  stream.setContentType("text/plain");
  for (const text of event.texts) {
    stream.write(text);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  if (event.fails) throw new RangeError("midway");
  stream.end(String(process.pid));
});
"""


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("runtime", NODES)
def test_a_stream_comes_chunk_by_chunk_and_its_failures_leave_the_runtime_alone(
    lambda_: Any, runtime: str, client: str
) -> None:
    with deployed(lambda_, {"app.js": STREAM}, runtime, client=client) as function:
        seen = []
        for number in range(8):
            fails = number % 2 == 1
            event = {"texts": ["one ", "two "], "fails": fails}
            answer = lambda_.invoke_with_response_stream(FunctionName=function.name, Payload=json.dumps(event))
            with contextlib.closing(answer["EventStream"]) as stream:
                *chunks, complete = list(stream)
            texts = [chunk["PayloadChunk"]["Payload"] for chunk in chunks]
            assert texts[:2] == [b"one ", b"two "]
            if fails:
                assert len(texts) == 2
                details = json.loads(complete["InvokeComplete"]["ErrorDetails"])
                assert (details["errorType"], details["errorMessage"]) == ("RangeError", "midway")
            else:
                assert complete == {"InvokeComplete": {}}
                seen.append(texts[2])
        # On a busy machine a second environment may have been started beside one that had not asked again yet.
        assert len(set(seen)) < len(seen), "each failure on the way cost a runtime its life"
