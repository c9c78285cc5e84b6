"""Every Python of this machine, with our runtime client and with AWS's, through the public door."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from product_world import CLIENTS, PYTHONS, Function, as_json, deployed
from tests.support import package, unique

pytestmark = pytest.mark.timeout(600)  # the first run on a machine adds runtimes and clients

OLD_CLIENT = ("python3.8", "official")
"""The published client stopped at 2.2.1 there: a warning before each error, `log_level` where it is `level` now."""

APP = """
import logging, os, sys, time

CASES = {}

def case(function):
    CASES[function.__name__] = function
    return function

def handler(event, context):
    return CASES[event["do"]](event, context)

@case
def echo(event, context): return event["value"]

@case
def version(event, context): return "%d.%d" % sys.version_info[:2]

@case
def facts(event, context):
    return {
        "id": context.aws_request_id, "name": context.function_name, "version": context.function_version,
        "arn": context.invoked_function_arn, "mb": context.memory_limit_in_mb, "group": context.log_group_name,
        "stream": context.log_stream_name, "left": context.get_remaining_time_in_millis(),
        "client": context.client_context.custom if context.client_context else None,
        "identity": context.identity.cognito_identity_id,
    }

@case
def environment(event, context): return dict(os.environ)

@case
def fail(event, context): raise ValueError("no such colour: gr\\u00fcn")

@case
def unserialisable(event, context): return {1, 2}

@case
def large(event, context): return "x" * event["value"]

@case
def leave(event, context): os._exit(7)

@case
def sleep(event, context): time.sleep(30)

@case
def say(event, context):
    print("one"); print("two \\u00e9\\u4e16", file=sys.stderr)
    logging.getLogger().warning("warned")
    logging.getLogger("quiet").info("not at this level")
"""


@pytest.fixture(scope="module", params=[(p, c) for p in PYTHONS for c in CLIENTS], ids=lambda p: "-".join(p))
def subject(request: pytest.FixtureRequest, lambda_: Any) -> Iterator[tuple[Function, str, str]]:
    """(function, runtime, client); the tests below share its environments."""
    runtime, client = request.param
    options: dict[str, Any] = {"variables": {"COLOUR": "green", "TZ": "Europe/Berlin"}, "Timeout": 2}
    with deployed(lambda_, {"app.py": APP}, runtime, client=client, **options) as function:
        yield function, runtime, client


def test_values_come_back_as_they_went(subject: Any) -> None:
    function, runtime, _ = subject
    value = {"n": [1, -2.5, None, True], "t": "zé世\u2028\U0001f600", "d": {"": {}}}
    answer = function.invoke({"do": "echo", "value": value})
    assert (answer.body, answer.error) == (value, None)
    assert f"python{function.invoke({'do': 'version'}).body}" == runtime


def test_the_context_is_the_published_one(subject: Any) -> None:
    function, _, _ = subject
    custom = base64.b64encode(json.dumps({"custom": {"k": "v"}}).encode()).decode()
    answer = function.invoke({"do": "facts"}, ClientContext=custom, Qualifier="$LATEST")
    seen = answer.body
    assert 0 < seen.pop("left") <= 2_000
    assert re.fullmatch(r"\d{4}/\d\d/\d\d/\[\$LATEST\][0-9a-f]{32}", seen.pop("stream"))
    assert seen == {
        "id": answer.request_id,
        "name": function.name,
        "version": "$LATEST",
        "arn": f"arn:aws:lambda:us-east-1:000000000000:function:{function.name}:$LATEST",
        "mb": "128",
        "group": f"/aws/lambda/{function.name}",
        "client": {"k": "v"},
        "identity": None,
    }


def test_the_environment_is_the_published_one_and_nothing_of_the_host(subject: Any) -> None:
    function, runtime, client = subject
    seen = function.invoke({"do": "environment"}).body
    assert seen["COLOUR"] == "green"
    assert seen["TZ"] == "Europe/Berlin"  # the owner's word wins where the name is not reserved
    assert seen["_HANDLER"] == "app.handler"
    assert seen["AWS_EXECUTION_ENV"] == f"AWS_Lambda_{runtime}"
    assert seen["LAMBDA_TASK_ROOT"] == "/var/task"
    assert seen["PYTHONPATH"] == "/var/runtime"
    assert seen["AWS_REGION"] == seen["AWS_DEFAULT_REGION"] == "us-east-1"
    known = r"AWS_\w+|_AWS_\w+|LAMBDA_\w+|_HANDLER|_X_AMZN_TRACE_ID|COLOUR|TZ|LANG|LC_CTYPE|PATH|LD_LIBRARY_PATH|"
    known += r"PYTHONPATH|PWD|SHLVL" + ("|LAMBENT_RUNTIME_CLIENT" if client == "official" else "")
    assert [name for name in seen if not re.fullmatch(known, name)] == []


def test_an_exception_is_the_answer_and_one_event_of_the_log(subject: Any, logs: Any) -> None:
    function, runtime, client = subject
    answer = function.invoke({"do": "fail"})
    assert answer.error == "Unhandled"
    document = answer.body
    stack = document.pop("stackTrace")
    expected = {"errorMessage": "no such colour: grün", "errorType": "ValueError", "requestId": answer.request_id}
    assert document == expected
    assert re.fullmatch(r'  File "/var/task/app.py", line \d+, in fail\n    .*raise ValueError\(.*\n', stack[-1])
    events = logs.filter_log_events(logGroupName=f"/aws/lambda/{function.name}", filterPattern='"[ERROR]"')["events"]
    assert len(events) == 1
    message = events[0]["message"]
    if (runtime, client) == OLD_CLIENT:
        message = message[message.index("[ERROR]") :]
    assert message.startswith("[ERROR] ValueError: no such colour: grün\rTraceback (most recent call last):\r")
    assert message.count("\n") <= 1


def test_what_cannot_be_json_is_a_marshal_error(subject: Any) -> None:
    answer = subject[0].invoke({"do": "unserialisable"})
    assert answer.error == "Unhandled"
    assert answer.body["errorType"] == "Runtime.MarshalError"
    assert answer.body["errorMessage"] == "Unable to marshal response: Object of type set is not JSON serializable"


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


def test_lines_are_in_the_tail_and_levels_hold(subject: Any) -> None:
    answer = subject[0].invoke({"do": "say"})
    lines = answer.lines
    assert sorted(lines)[-2:] == ["one", "two é世"]
    warned = [line for line in lines if "warned" in line]
    assert len(warned) == 1
    assert re.fullmatch(rf"\[WARNING\]\t\d{{4}}-[0-9T:.-]+Z\t{answer.request_id}\twarned", warned[0])
    assert len(lines) == 3


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
    "gone.handler": ("Runtime.ImportModuleError", "Unable to import module 'gone': No module named 'gone'"),
    "app.gone": ("Runtime.HandlerNotFound", "Handler 'gone' missing on module 'app'"),
    "app": ("Runtime.MalformedHandlerName", "Bad handler 'app': not enough values to unpack (expected 2, got 1)"),
    "syntax.handler": ("Runtime.UserCodeSyntaxError", "Syntax error in module 'syntax': "),
    "raises.handler": ("KeyError", "'at import'"),
}
FILES = {"app.py": APP, "syntax.py": "def handler(:\n", "raises.py": "raise KeyError('at import')\n"}


def test_a_handler_that_cannot_be_loaded_says_why(subject: Any, lambda_: Any) -> None:
    _, runtime, client = subject
    seen = {}
    for handler in BROKEN:
        with deployed(lambda_, FILES, runtime, handler=handler, client=client) as function:
            answer = function.invoke({})
        assert answer.error == "Unhandled"
        seen[handler] = (answer.body["errorType"], answer.body["errorMessage"][: len(BROKEN[handler][1])])
    assert seen == BROKEN


def test_json_logs_have_levels_and_are_filtered_by_them(subject: Any, lambda_: Any) -> None:
    _, runtime, client = subject
    config = {"LogFormat": "JSON", "ApplicationLogLevel": "WARN"}
    with deployed(lambda_, {"app.py": APP}, runtime, client=client, LoggingConfig=config) as function:
        said, failed = function.invoke({"do": "say"}), function.invoke({"do": "fail"})
    lines = [as_json(line) for line in said.log]
    warned = [line for line in lines if isinstance(line, dict) and line.get("message") == "warned"]
    assert [(line["level"], line["requestId"]) for line in warned] == [("WARNING", said.request_id)]
    assert "one" in lines  # what is printed stays as it is
    kinds = [line["type"] for line in lines if isinstance(line, dict) and "type" in line]
    assert kinds == ["platform.start", "platform.report"]
    if (runtime, client) == OLD_CLIENT:
        failed.log = [re.sub("^LAMBDA_WARNING: [^{]*", "", line) for line in failed.log]
    errors = [line for line in map(as_json, failed.log) if isinstance(line, dict) and "stackTrace" in line]
    assert [(line["errorType"], line["errorMessage"]) for line in errors] == [("ValueError", "no such colour: grün")]
    assert errors[0]["log_level" if (runtime, client) == OLD_CLIENT else "level"] == "ERROR"


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("runtime", PYTHONS)
def test_layers_are_on_the_path_of_every_client(lambda_: Any, runtime: str, client: str) -> None:
    """Behind the function's own files, the version's site-packages first."""
    files = {
        f"python/lib/{runtime}/site-packages/both.py": "NAME = 'site-packages'\n",
        "python/both.py": "NAME = 'python'\n",
        "python/one.py": "",
        "python/own.py": "NAME = 'layer'\n",
    }
    code = {
        "own.py": "NAME = 'function'\n",
        "app.py": "import both, one, own, sys\n"
        "def handler(event, context): return [both.NAME, own.NAME, [p for p in sys.path if p.startswith('/opt')]]\n",
    }
    name = unique("layer")
    content = {"ZipFile": package(files)}
    layer = lambda_.publish_layer_version(LayerName=name, Content=content)["LayerVersionArn"]
    with deployed(lambda_, code, runtime, client=client, Layers=[layer]) as made:
        answer = made.invoke()
        paths = [f"/opt/python/lib/{runtime}/site-packages", "/opt/python"]
        assert answer.body == ["site-packages", "function", paths], answer
    lambda_.delete_layer_version(LayerName=name, VersionNumber=1)
