"""What a caller reads when the function fails, one row for each kind of failure, by the published words.

Left out: the Java, Ruby, .NET, Go and Rust rows (their runtimes are not served; a `provided` function's own error is
its own text), wrapper scripts' exit 127, streaming misuse (not served yet), and what only Node 24 does (its callback check, and
`Runtime.NodeJsExit`; before it, a promise that nobody settles answers `null`): the differential suite has it. Time-outs, exits, memory, oversized answers and missing bootstraps are tested with the invocations.
"""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

import pytest
from tests.machine import NODE_RUNTIME
from tests.support import function

PYTHON: dict[str, tuple[str, str, dict[str, Any]]] = {
    "an exception": (
        "def handler(event, context):\n    raise Exception('Handler fails')\n",
        "app.handler",
        {
            "errorMessage": "Handler fails",
            "errorType": "Exception",
            "requestId": "{id}",
            "stackTrace": ["  File \"/var/task/app.py\", line 2, in handler\n    raise Exception('Handler fails')\n"],
        },
    ),
    "an exception of one's own": (
        "class Odd(ValueError): pass\ndef handler(event, context):\n    raise Odd(7)\n",
        "app.handler",
        {"errorMessage": "7", "errorType": "Odd"},
    ),
    "an error at import": (
        "raise KeyError('x')\n",
        "app.handler",
        {"errorMessage": "'x'", "errorType": "KeyError", "requestId": ""},
    ),
    "a missing module": (
        "import nope\n",
        "app.handler",
        {
            "errorMessage": "Unable to import module 'app': No module named 'nope'",
            "errorType": "Runtime.ImportModuleError",
        },
    ),
    "a missing file": (
        "",
        "other.handler",
        {
            "errorMessage": "Unable to import module 'other': No module named 'other'",
            "errorType": "Runtime.ImportModuleError",
        },
    ),
    "a missing handler": (
        "",
        "app.handler",
        {"errorMessage": "Handler 'handler' missing on module 'app'", "errorType": "Runtime.HandlerNotFound"},
    ),
    "a malformed handler": (
        "",
        "app",
        {
            "errorMessage": "Bad handler 'app': not enough values to unpack (expected 2, got 1)",
            "errorType": "Runtime.MalformedHandlerName",
        },
    ),
    "a syntax error": ("def handler(:\n", "app.handler", {"errorType": "Runtime.UserCodeSyntaxError"}),
    "a name of the interpreter's": ("", "sys.handler", {"errorType": "Runtime.BuiltInModuleConflict"}),
    "an answer that is no JSON": (
        "def handler(event, context):\n    return {1, 2}\n",
        "app.handler",
        {
            "errorMessage": "Unable to marshal response: Object of type set is not JSON serializable",
            "errorType": "Runtime.MarshalError",
            "requestId": "{id}",
        },
    ),
    "an allocation refused by the language": (
        "def handler(event, context):\n    raise MemoryError()\n",
        "app.handler",
        {"errorMessage": "", "errorType": "MemoryError"},
    ),
}
NODE: dict[str, tuple[str, str, dict[str, Any]]] = {
    "an exception": (
        "export const handler = async () => { throw new TypeError('as asked'); };\n",
        "index.handler",
        {"errorType": "TypeError", "errorMessage": "as asked"},
    ),
    "a missing module": (
        "import { createRequire } from 'node:module';\ncreateRequire(import.meta.url)('nope');\n",
        "index.handler",
        {"errorType": "Runtime.ImportModuleError"},
    ),
    "a missing handler": (
        "export const other = 1;\n",
        "index.handler",
        {"errorType": "Runtime.HandlerNotFound", "errorMessage": "index.handler is undefined or not exported"},
    ),
    "a malformed handler": ("", "index", {"errorType": "Runtime.MalformedHandlerName", "errorMessage": "Bad handler"}),
    "a syntax error": ("export const = ;\n", "index.handler", {"errorType": "Runtime.UserCodeSyntaxError"}),
    "an answer that is no JSON": (
        "export const handler = async () => { const a = {}; a.a = a; return a; };\n",
        "index.handler",
        {"errorMessage": "Unable to stringify response body"},
    ),
    "a rejection nobody handles": (
        "export const handler = async () => { Promise.reject(new Error('lost')); await new Promise(r => setTimeout(r, 500)); };\n",
        "index.handler",
        {"errorType": "Runtime.UnhandledPromiseRejection"},
    ),
}


def failed(lambda_: Any, name: str) -> dict[str, Any]:
    """Invoke once; the answer must be a function error. Answers its document, the request id put as {id}."""
    answer = lambda_.invoke(FunctionName=name)
    body = answer["Payload"].read().decode()
    assert (answer["StatusCode"], answer.get("FunctionError")) == (200, "Unhandled"), body
    document: dict[str, Any] = json.loads(body.replace(answer["ResponseMetadata"]["RequestId"], "{id}"))
    return document


@pytest.mark.parametrize("row", list(PYTHON))
def test_python(lambda_: Any, row: str) -> None:
    code, handler, expected = PYTHON[row]
    with function(lambda_, code or "x = 1\n", handler=handler) as name:
        document = failed(lambda_, name)
    assert {key: document.get(key) for key in expected} == expected
    assert set(document) == {"errorMessage", "errorType", "requestId", "stackTrace"}


@pytest.mark.parametrize("row", list(NODE))
def test_node(lambda_: Any, row: str) -> None:
    code, handler, expected = NODE[row]
    with function(lambda_, code or "x = 1\n", runtime=NODE_RUNTIME, handler=handler) as name:
        document = failed(lambda_, name)
    assert {key: document.get(key) for key in expected} == expected
    assert isinstance(document.get("trace", []), list)


def test_a_bootstrap_that_may_not_be_executed(lambda_: Any) -> None:
    from tests.support import ROLE, package, unique

    name = unique()
    code = package({"bootstrap": "#!/bin/sh\n"}, executable=())
    lambda_.create_function(
        FunctionName=name, Runtime="provided.al2023", Handler="any", Role=ROLE, Code={"ZipFile": code}
    )
    try:
        lambda_.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 30})
        assert failed(lambda_, name) == {
            "errorType": "PermissionDenied",
            "errorMessage": "RequestId: {id} Error: fork/exec /var/task/bootstrap: permission denied",
        }
    finally:
        lambda_.delete_function(FunctionName=name)


def test_a_client_context_that_is_no_json_is_refused_before_the_function(lambda_: Any) -> None:
    context = b64encode(b"{no json").decode()
    with (
        function(lambda_, "def handler(event, context):\n    return 1\n") as name,
        pytest.raises(lambda_.exceptions.InvalidRequestContentException) as refused,
    ):
        lambda_.invoke(FunctionName=name, ClientContext=context)
    assert refused.value.response["Error"]["Message"] == "Client context must be a valid Base64-encoded JSON object."


def test_a_runtime_that_this_machine_lacks_is_told_with_what_to_do(lambda_: Any) -> None:
    """Never another version in silence: the function fails, in words, at creation or at the invocation."""
    from tests.support import ROLE, package, unique

    name = unique()
    lambda_.create_function(
        FunctionName=name, Runtime="ruby3.3", Handler="a.b", Role=ROLE, Code={"ZipFile": package({"a.rb": "x"})}
    )
    try:
        with pytest.raises(Exception) as refused:
            lambda_.get_waiter("function_active_v2").wait(
                FunctionName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 10}
            )
        assert "terminal failure" in str(refused.value)
        configuration = lambda_.get_function_configuration(FunctionName=name)
        assert configuration["State"] == "Failed"
        assert "run Ruby from provided.al2023" in configuration["StateReason"]
        with pytest.raises(lambda_.exceptions.ResourceConflictException) as conflict:
            lambda_.invoke(FunctionName=name)
        assert conflict.value.response["Error"]["Message"] == (
            "The operation cannot be performed at this time. The function is currently in the following state: Failed"
        )
    finally:
        lambda_.delete_function(FunctionName=name)
