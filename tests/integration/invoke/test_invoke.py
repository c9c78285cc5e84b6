"""One invocation through the public SDK: answers, errors, logs, limits; in real sandboxes with real runtimes."""

from __future__ import annotations

import base64
import json
import math
import re
import threading
import time
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.patience import PATIENCE
from tests.support import PYTHON_RUNTIME, TIMEOUT_S, function

LONG_S = math.ceil(20 * PATIENCE)
"""A time-out that is not the subject."""
MEMORY_MB = 128 if PATIENCE == 1 else 1_769
"""With a fourteenth of an emulated processor a runtime may take longer to end than the server waits to hear of it
(GONE_GRACE_S), and longer to start again than a short time-out."""
ECHO = "def handler(event, context):\n    return event\n"


def invoke(lambda_: Any, name: str, payload: Any = None, **options: Any) -> tuple[dict[str, Any], Any]:
    answer = lambda_.invoke(FunctionName=name, Payload=json.dumps(payload).encode(), **options)
    body = answer["Payload"].read()
    return answer, json.loads(body) if body else None


def test_a_function_answers_what_its_handler_returns(lambda_: Any) -> None:
    with function(lambda_, ECHO) as name:
        answer, body = invoke(lambda_, name, {"hello": ["wörld", 1, None]})
    assert body == {"hello": ["wörld", 1, None]}
    assert answer["StatusCode"] == 200
    assert answer["ExecutedVersion"] == "$LATEST"
    assert "FunctionError" not in answer
    headers = answer["ResponseMetadata"]["HTTPHeaders"]
    assert re.fullmatch(r"[0-9a-f-]{36}", headers["x-amzn-requestid"])
    assert headers["content-type"] == "application/json"


def test_nothing_returned_is_null(lambda_: Any) -> None:
    with function(lambda_, "def handler(event, context):\n    pass\n") as name:
        answer = lambda_.invoke(FunctionName=name)
        assert answer["Payload"].read() == b"null"


def test_the_second_invocation_is_warm_and_module_code_ran_once(lambda_: Any) -> None:
    code = "import os, time\nBORN = time.time()\ndef handler(event, context):\n    return [BORN, os.getpid()]\n"
    with function(lambda_, code) as name:
        first, second = invoke(lambda_, name)[1], invoke(lambda_, name)[1]
    assert first == second


def test_the_log_tail_is_what_the_service_writes(lambda_: Any) -> None:
    code = "def handler(event, context):\n    print('one')\n    print('two')\n"
    with function(lambda_, code) as name:
        answer, _ = invoke(lambda_, name, LogType="Tail")
        again, _ = invoke(lambda_, name, LogType="Tail")
    request_id = answer["ResponseMetadata"]["RequestId"]
    text = base64.b64decode(answer["LogResult"]).decode()
    lines = text.split("\n")
    assert lines[0] == f"START RequestId: {request_id} Version: $LATEST"
    assert lines[1:3] == ["one", "two"]
    assert lines[3] == f"END RequestId: {request_id}"
    report = re.fullmatch(
        rf"REPORT RequestId: {request_id}\tDuration: (\d+\.\d\d) ms\tBilled Duration: (\d+) ms\tMemory Size: 128 MB\t"
        r"Max Memory Used: (\d+) MB\tInit Duration: (\d+\.\d\d) ms\t",
        lines[4],
    )
    assert report is not None, lines[4]
    duration, billed, peak, init = (float(group) for group in report.groups())
    assert billed == -(-(round(duration * 100) + round(init * 100)) // 100)
    assert 1 <= peak <= 128
    assert "Init Duration" not in base64.b64decode(again["LogResult"]).decode()


def test_an_exception_is_an_answer_with_its_stack_trace(lambda_: Any) -> None:
    code = "def handler(event, context):\n    raise ValueError('no such colour')\n"
    with function(lambda_, code) as name:
        answer, body = invoke(lambda_, name, {})
    assert answer["StatusCode"] == 200
    assert answer["FunctionError"] == "Unhandled"
    assert body == {
        "errorMessage": "no such colour",
        "errorType": "ValueError",
        "requestId": answer["ResponseMetadata"]["RequestId"],
        "stackTrace": ["  File \"/var/task/app.py\", line 2, in handler\n    raise ValueError('no such colour')\n"],
    }


def test_a_time_out_answers_in_time_and_keeps_tmp(lambda_: Any) -> None:
    code = """
import os, time
def handler(event, context):
    if event == "sleep":
        open("/tmp/kept", "w").write("still here")
        time.sleep(300)
    return open("/tmp/kept").read() if os.path.exists("/tmp/kept") else None
"""
    timeout_s = math.ceil(PATIENCE)
    with function(lambda_, code, Timeout=timeout_s, MemorySize=MEMORY_MB) as name:
        invoke(lambda_, name, "warm up")
        begin = time.monotonic()
        answer, body = invoke(lambda_, name, "sleep", LogType="Tail")
        took_s = time.monotonic() - begin
        _, after = invoke(lambda_, name, "look")
    request_id = answer["ResponseMetadata"]["RequestId"]
    assert body == {
        "errorType": "Sandbox.Timedout",
        "errorMessage": f"RequestId: {request_id} Error: Task timed out after {timeout_s}.00 seconds",
    }
    assert 0.9 * timeout_s < took_s < 20 * timeout_s
    assert "Status: timeout" in base64.b64decode(answer["LogResult"]).decode()
    assert after == "still here"


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("import sys\n    sys.exit(3)", "Runtime exited with error: exit status 3"),
        ("import sys\n    sys.exit(0)", "Runtime exited without providing a reason"),
        ("import os, signal\n    os.kill(os.getpid(), signal.SIGSEGV)", "Runtime exited with error: signal: segm"),
    ],
)
def test_a_runtime_that_ends_says_how(lambda_: Any, body: str, text: str) -> None:
    with function(lambda_, f"def handler(event, context):\n    {body}\n", MemorySize=MEMORY_MB) as name:
        answer, document = invoke(lambda_, name, {})
        assert document["errorType"] == "Runtime.ExitError"
        request_id = answer["ResponseMetadata"]["RequestId"]
        assert document["errorMessage"].startswith(f"RequestId: {request_id} Error: {text}")
        _, again = invoke(lambda_, name, {})
        assert again["errorType"] == "Runtime.ExitError"


def limits_memory(server: Any) -> bool:
    """Whether a sandbox's processes are limited together: by root's groups, or by those delegated to an ordinary user."""
    said = " ".join(server.log.read_text().split())
    return server.tier == "container" or (server.tier == "rootless" and "limited per process only" not in said)


def test_too_much_memory_is_out_of_memory(lambda_: Any, server: Any) -> None:
    if not limits_memory(server):
        pytest.skip(f"the {server.tier} tier does not enforce memory on this machine")
    code = "def handler(event, context):\n    return len(bytearray(400 * 1024 * 1024))\n"
    with function(lambda_, code, MemorySize=128, Timeout=LONG_S) as name:
        answer, body = invoke(lambda_, name, {}, LogType="Tail")
    assert body["errorType"] == "Runtime.OutOfMemory"
    assert body["errorMessage"].endswith("Error: Runtime exited with error: signal: killed")
    log = base64.b64decode(answer["LogResult"]).decode()
    assert "Max Memory Used: 128 MB" in log
    assert "Error Type: Runtime.OutOfMemory" in log


@pytest.mark.parametrize(
    ("code", "handler", "error_type", "message"),
    [
        ("import nope\n", "app.handler", "Runtime.ImportModuleError", "Unable to import module 'app': No module named"),
        ("def other(): pass\n", "app.handler", "Runtime.HandlerNotFound", "Handler 'handler' missing on module 'app'"),
        ("x = 1\n", "app", "Runtime.MalformedHandlerName", "Bad handler 'app': not enough values to unpack"),
        ("def handler(:\n", "app.handler", "Runtime.UserCodeSyntaxError", "Syntax error in module 'app'"),
    ],
)
def test_init_errors_are_told_by_the_invocation(
    lambda_: Any, code: str, handler: str, error_type: str, message: str
) -> None:
    with function(lambda_, code, handler=handler) as name:
        answer, body = invoke(lambda_, name, {})
    assert answer["FunctionError"] == "Unhandled"
    assert body["errorType"] == error_type
    assert body["errorMessage"].startswith(message)
    assert body["requestId"] == ""


def test_a_response_of_more_than_6_mb_is_refused_and_the_environment_lives_on(lambda_: Any) -> None:
    code = "import os\ndef handler(event, context):\n    return 'x' * event if event else os.getpid()\n"
    with function(lambda_, code, Timeout=LONG_S) as name:
        _, pid = invoke(lambda_, name, 0)
        answer, body = invoke(lambda_, name, 6_291_556)
        _, after = invoke(lambda_, name, 0)
        _, fits = invoke(lambda_, name, 6_291_554)
    assert answer["FunctionError"] == "Unhandled"
    assert body == {
        "errorMessage": "Response payload size exceeded maximum allowed payload size (6291556 bytes).",
        "errorType": "Function.ResponseSizeTooLarge",
    }
    assert after == pid
    assert len(fits) == 6_291_554


def test_a_request_of_more_than_6_mb_is_refused(lambda_: Any) -> None:
    with function(lambda_, ECHO) as name, pytest.raises(ClientError) as refused:
        lambda_.invoke(FunctionName=name, Payload=b'"' + b"x" * 6_291_455 + b'"')
    error = refused.value.response
    assert error["ResponseMetadata"]["HTTPStatusCode"] == 413
    assert error["Error"]["Code"] == "RequestEntityTooLargeException"
    assert error["Error"]["Message"] == (
        "6291457 byte payload is too large for the RequestResponse invocation type (limit 6291456 bytes)"
    )


def test_a_payload_that_is_not_json_never_reaches_the_function(lambda_: Any) -> None:
    with function(lambda_, ECHO) as name, pytest.raises(ClientError) as refused:
        lambda_.invoke(FunctionName=name, Payload=b"\x99")
    error = refused.value.response["Error"]
    assert error["Code"] == "InvalidRequestContentException"
    assert error["Message"].startswith("Could not parse request body into json: Could not parse payload into json: ")


def test_an_unknown_function_is_named_with_its_qualifier(lambda_: Any) -> None:
    with pytest.raises(ClientError) as refused:
        lambda_.invoke(FunctionName="no-such-function")
    error = refused.value.response
    assert error["ResponseMetadata"]["HTTPStatusCode"] == 404
    assert error["Error"]["Message"] == (
        "Function not found: arn:aws:lambda:us-east-1:000000000000:function:no-such-function:$LATEST"
    )


def test_dry_run_runs_nothing(lambda_: Any) -> None:
    with function(lambda_, "raise SystemExit(1)\n") as name:
        assert lambda_.invoke(FunctionName=name, InvocationType="DryRun")["StatusCode"] == 204


def test_many_at_once_each_get_their_own_answer_and_environment(lambda_: Any, endpoint: str) -> None:
    from tests.support import client

    code = (
        "import os, time\ndef handler(event, context):\n    time.sleep(0.3)\n    return [event, os.urandom(8).hex()]\n"
    )
    with function(lambda_, code, Timeout=LONG_S) as name:
        answers: dict[int, Any] = {}

        def one(number: int) -> None:
            mine = client("lambda", endpoint)
            answers[number] = invoke(mine, name, number)[1]
            mine.close()

        threads = [threading.Thread(target=one, args=(n,)) for n in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(answers) == list(range(12))
    assert all(answers[n][0] == n for n in answers)


def test_reserved_concurrency_throttles_in_the_services_words(lambda_: Any) -> None:
    with function(lambda_, ECHO) as name:
        lambda_.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
        with pytest.raises(ClientError) as refused:
            lambda_.invoke(FunctionName=name)
    error = refused.value.response
    assert error["ResponseMetadata"]["HTTPStatusCode"] == 429
    assert error["Error"]["Code"] == "TooManyRequestsException"
    assert error["Error"]["Message"] == "Rate Exceeded."
    assert error["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded"


def test_context_and_environment_are_the_published_ones(lambda_: Any) -> None:
    code = """
import os
def handler(event, context):
    return {"env": dict(os.environ), "cwd": os.getcwd(), "id": context.aws_request_id, "name": context.function_name,
            "version": context.function_version, "arn": context.invoked_function_arn, "mb": context.memory_limit_in_mb,
            "left": context.get_remaining_time_in_millis(), "group": context.log_group_name,
            "stream": context.log_stream_name, "client": context.client_context.custom if context.client_context else None}
"""
    custom = base64.b64encode(json.dumps({"custom": {"k": "v"}}).encode()).decode()
    with function(lambda_, code, Environment={"Variables": {"COLOUR": "green"}}) as name:
        answer, seen = invoke(lambda_, name, {}, ClientContext=custom)
        _, qualified = invoke(lambda_, name, {}, Qualifier="$LATEST")
    arn = f"arn:aws:lambda:us-east-1:000000000000:function:{name}"
    assert seen["id"] == answer["ResponseMetadata"]["RequestId"]
    assert (seen["name"], seen["version"], seen["arn"], seen["mb"]) == (name, "$LATEST", arn, "128")
    assert qualified["arn"] == f"{arn}:$LATEST"
    assert 0 < seen["left"] <= TIMEOUT_S * 1_000
    assert seen["client"] == {"k": "v"}
    assert seen["group"] == f"/aws/lambda/{name}"
    assert re.fullmatch(r"\d{4}/\d\d/\d\d/\[\$LATEST\][0-9a-f]{32}", seen["stream"])
    env = seen["env"]
    assert env["COLOUR"] == "green"
    assert env["AWS_EXECUTION_ENV"] == f"AWS_Lambda_{PYTHON_RUNTIME}"
    assert env["TZ"] == ":UTC"
    assert env["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"] == "128"
    assert "HOME" not in env
    assert "_LAMBENT_CHANNEL" not in env


def test_a_caller_may_choose_the_request_id(lambda_: Any) -> None:
    chosen = "0f0f0f0f-1234-4abc-8def-0123456789ab"
    code = "def handler(event, context):\n    return context.aws_request_id\n"
    with function(lambda_, code) as name:

        def add(request: Any, **_: Any) -> None:
            request.headers["x-amzn-RequestId"] = chosen

        lambda_.meta.events.register("before-sign.lambda.Invoke", add)
        try:
            _, seen = invoke(lambda_, name, {})
        finally:
            lambda_.meta.events.unregister("before-sign.lambda.Invoke", add)
    assert seen == chosen


def test_an_update_retires_the_old_code(lambda_: Any) -> None:
    from tests.support import package

    with function(lambda_, "def handler(event, context):\n    return 'old'\n") as name:
        assert invoke(lambda_, name)[1] == "old"
        lambda_.update_function_code(
            FunctionName=name, ZipFile=package({"app.py": "def handler(event, context):\n    return 'new'\n"})
        )
        lambda_.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})
        assert invoke(lambda_, name)[1] == "new"


def test_a_function_can_call_the_platform_as_its_own_account(endpoint: str) -> None:
    from tests.support import client

    mine = client("lambda", endpoint, account="111122223333")
    code = """
import http.client, json, os, urllib.parse
def handler(event, context):
    url = urllib.parse.urlsplit(os.environ["AWS_ENDPOINT_URL"])
    connection = http.client.HTTPConnection(url.hostname, url.port)
    forged = "AWS4-HMAC-SHA256 Credential=999999999999/20260101/us-east-1/lambda/aws4_request, SignedHeaders=host, Signature=0"
    connection.request("GET", "/2015-03-31/functions", headers={"Authorization": forged})
    return [f["FunctionArn"] for f in json.loads(connection.getresponse().read())["Functions"]]
"""
    with function(mine, code) as name:
        _, arns = invoke(mine, name, {})
    mine.close()
    assert arns == [f"arn:aws:lambda:us-east-1:111122223333:function:{name}"]
