"""External extensions in a real sandbox: started first, told of invocations and of their end, and what their faults do."""

from __future__ import annotations

import contextlib
import json
import re
import time

import pytest
from tests.integration.environments.live_node import LiveNode, seen
from tests.integration.extensions.extension_world import extended, said
from tests.support import function

from lambent.environments.blanks import Blank, Blanks

pytestmark = pytest.mark.leaves_session_state  # the node of all tests keeps blanks and connections


def test_an_extension_is_told_of_each_invocation_and_its_lines_are_in_the_log(node: LiveNode) -> None:
    with extended(node, "watcher", plan={"watcher": {"tell": True}}) as name:
        answer, body = node.invoke(name, {})
        assert body["count"] == 1
        assert node.invoke(name, {})[1] == {**body, "count": 2}
        seen(lambda: len(said(node.log(name), "watcher", "did")) == 2)
        log = node.log(name)
    arn = f"arn:aws:lambda:us-east-1:000000000000:function:{name}"
    registered = json.loads(said(log, "watcher", "registered")[0].removeprefix("200 "))
    account = registered.pop("accountId")
    assert registered == {"functionName": name, "functionVersion": "$LATEST", "handler": "app.handler"}
    told = json.loads(said(log, "watcher", "told")[0].removeprefix("200 ").rpartition(" ")[0])
    assert told["eventType"] == "INVOKE"
    assert told["requestId"] == answer["ResponseMetadata"]["RequestId"]
    assert told["invokedFunctionArn"] == arn.replace("000000000000", account)
    assert told["tracing"]["type"] == "X-Amzn-Trace-Id"
    assert set(told) == {"eventType", "deadlineMs", "requestId", "invokedFunctionArn", "tracing"}
    # First the extension, then the runtime; the platform says how it fared before the first START.
    kinds = [re.match(r"(INIT_START|EXTENSION|START|END|REPORT|watcher \w+|the handler)", line) for line in log]
    order = [kind[1] for kind in kinds if kind][:9]
    assert order[:4] == ["INIT_START", "watcher starts", "watcher registered", "EXTENSION"], log
    assert order[4] == "START"
    assert set(order[5:8]) == {"watcher told", "watcher did", "the handler"}
    assert order[8] == "END"
    assert "EXTENSION\tName: watcher\tState: Ready\tEvents: [INVOKE, SHUTDOWN]\n" in log
    directory, names = said(log, "watcher", "starts in")[0].split(" ", 1)
    assert directory == "/"
    assert not {n for n in json.loads(names) if n.startswith("_")} - {"_"}
    assert {"AWS_LAMBDA_RUNTIME_API", "AWS_LAMBDA_FUNCTION_NAME", "AWS_REGION", "AWS_ACCESS_KEY_ID", "PLAN"} <= set(
        json.loads(names)
    )
    missing = {"AWS_EXECUTION_ENV", "LAMBDA_TASK_ROOT", "LAMBDA_RUNTIME_DIR", "AWS_LAMBDA_LOG_GROUP_NAME"}
    assert not missing & set(json.loads(names))


def test_the_caller_does_not_wait_for_extensions_and_the_environment_does(node: LiveNode) -> None:
    """The answer comes at once; the extension's time is billed, and the next invocation has another environment."""
    with extended(node, "slow", plan={"slow": {"INVOKE": "sleep:4"}}, Timeout=20) as name:
        node.invoke(name, {})
        seen(lambda: said(node.log(name), "slow", "did"))
        began = time.monotonic()
        _, first = node.invoke(name, {})
        took = time.monotonic() - began
        _, other = node.invoke(name, {})
        assert took < 3.8
        assert first["pid"], first
        assert other["count"] == 1, "the first environment is still busy"
        seen(lambda: len(said(node.log(name), "slow", "did")) == 3)
        reports = seen(lambda: len(found := [x for x in node.log(name) if x.startswith("REPORT")]) == 3 and found)
    assert all(float(re.search(r"Duration: ([\d.]+) ms", line)[1]) >= 4_000 for line in reports), reports  # type: ignore[index]
    assert all("Status" not in line for line in reports)


STREAMS = """
def handler(event, context):
    if event.get("whole"):
        return "whole"
    return stream(["one ", "two"], event)

def stream(texts, event):
    for text in texts:
        yield text
    if event.get("fails"):
        raise ValueError("midway")
"""


def test_whoever_takes_a_stream_waits_for_no_extension(node: LiveNode) -> None:
    """The last event comes when the runtime has done its part; the extension's time is in the report all the same."""
    events: tuple[dict[str, bool], ...] = ({}, {"whole": True}, {"fails": True})
    with extended(node, "slow", plan={"slow": {"INVOKE": "sleep:5"}}, code=STREAMS, Timeout=20) as name:
        for number, event in enumerate(events, 1):
            answer = node.lambda_.invoke_with_response_stream(FunctionName=name, Payload=json.dumps(event).encode())
            began_s = time.monotonic()
            with contextlib.closing(answer["EventStream"]) as stream:
                *chunks, complete = list(stream)
            assert time.monotonic() - began_s < 4.8
            body = b"".join(one["PayloadChunk"]["Payload"] for one in chunks)
            assert body == (b'"whole"' if event.get("whole") else b"one two")
            assert ("ErrorCode" in complete["InvokeComplete"]) is event.get("fails", False)
            seen(lambda wanted=number: len([x for x in node.log(name) if x.startswith("REPORT")]) == wanted)
        reports = [x for x in node.log(name) if x.startswith("REPORT")]
    assert all(float(re.search(r"Duration: ([\d.]+) ms", line)[1]) >= 1_500 for line in reports), reports  # type: ignore[index]


def test_a_function_error_leaves_extensions_alone(node: LiveNode) -> None:
    with extended(node, "watcher", plan={"watcher": {"INVOKE": "sleep:0.2"}}) as name:
        answer, body = node.invoke(name, {"raise": True})
        assert (answer["FunctionError"], body["errorType"]) == ("Unhandled", "ValueError")
        seen(lambda: said(node.log(name), "watcher", "did"))
        seen(lambda: any(e.state.name == "IDLE" for e in node.environments() if e.version.ref.name == name))
        assert node.invoke(name, {})[1]["count"] == 2
        log = node.log(name)
    assert len(said(log, "watcher", "registered")) == 1


def test_an_extension_that_crashes_while_it_works_fails_the_invocation(node: LiveNode) -> None:
    plan = {"frail": {"INVOKE": "exit:7"}, "other": {}}
    with extended(node, "frail", "other", plan=plan) as name:
        answer, body = node.invoke(name, {"sleep": 2})
        assert answer["FunctionError"] == "Unhandled"
        assert body["errorType"] == "Extension.Crash"
        request = answer["ResponseMetadata"]["RequestId"]
        assert body["errorMessage"] == f"RequestId: {request} Error: exit status 7"
        told = seen(lambda: [x for x in said(node.log(name), "other", "told") if "SHUTDOWN" in x])
        log = node.log(name)
    assert json.loads(told[0].removeprefix("200 ").removesuffix(" None"))["shutdownReason"] == "failure"
    report = next(line for line in log if line.startswith("REPORT"))
    assert "Status: error\tError Type: Extension.Crash" in report


def test_an_extension_that_crashes_after_the_answer_is_in_the_report_and_resets(node: LiveNode) -> None:
    with extended(node, "frail", plan={"frail": {"INVOKE": "sleep:0.3 kill"}}) as name:
        answer, body = node.invoke(name, {})
        assert "FunctionError" not in answer
        report = seen(lambda: [line for line in node.log(name) if line.startswith("REPORT")])[0]
        assert "Status: error\tError Type: Extension.Crash" in report
        seen(lambda: any(e.state.name == "IDLE" for e in node.environments() if e.version.ref.name == name))
        _, again = node.invoke(name, {})
        assert again["count"] == 1
        assert again["pid"] != body["pid"]
        assert len(node.streams(name)) == 1


def test_the_deadline_covers_extensions(node: LiveNode) -> None:
    with extended(node, "slow", plan={"slow": {"INVOKE": "sleep:30"}}, Timeout=2) as name:
        answer, _ = node.invoke(name, {})
        assert "FunctionError" not in answer
        report = seen(lambda: [line for line in node.log(name) if line.startswith("REPORT")])[0]
    assert "Duration: 2000.00 ms" in report
    assert "Status: timeout" in report


def test_a_time_out_is_told_to_extensions_with_their_two_seconds(node: LiveNode) -> None:
    with extended(node, "watcher", Timeout=1) as name:
        _, body = node.invoke(name, {"sleep": 20})
        assert body["errorType"] == "Sandbox.Timedout"
        told = seen(lambda: [x for x in said(node.log(name), "watcher", "told") if "SHUTDOWN" in x])
        left_ms = int(seen(lambda: said(node.log(name), "watcher", "did SHUTDOWN with"))[0])
        assert json.loads(told[0].removeprefix("200 ").removesuffix(" None")).keys() == {
            "eventType",
            "shutdownReason",
            "deadlineMs",
        }
        assert '"shutdownReason": "timeout"' in told[0]
        # Python ends by SIGTERM at once, so that on a quiet machine nearly all of the two seconds are left.
        assert 0 < left_ms <= 2_000


def test_an_end_is_told_the_runtime_first(node: LiveNode) -> None:
    """Deleting the function retires its environment: SIGTERM to the runtime, then SHUTDOWN, within two seconds."""
    code = """
import signal, sys
def leave(*_):
    print("the runtime leaves", flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, leave)
def handler(event, context):
    return 1
"""
    with extended(node, "watcher", "deaf", plan={"deaf": {"events": []}}, code=code) as name:
        node.invoke(name, {})
        group = f"/aws/lambda/{name}"
        environments = [e for e in node.environments() if e.version.ref.name == name]
        assert len(environments) == 1
    seen(lambda: node.count() == 0 or not [e for e in node.environments() if e.version.ref.name == name])

    def log() -> list[str]:
        events = node.logs.filter_log_events(logGroupName=group)["events"]
        return [event["message"] for event in events]

    seen(lambda: said(log(), "watcher", "did SHUTDOWN with"))
    lines = log()
    told = next(x for x in said(lines, "watcher", "told") if "SHUTDOWN" in x)
    assert '"shutdownReason": "spindown"' in told
    leaves = next(n for n, line in enumerate(lines) if "the runtime leaves" in line)
    shutdown = next(n for n, line in enumerate(lines) if line.startswith("watcher told") and "SHUTDOWN" in line)
    assert leaves < shutdown


def test_a_runtime_that_does_not_leave_is_killed_after_its_share(node: LiveNode) -> None:
    code = """
import signal
signal.signal(signal.SIGTERM, lambda *_: print("not yet", flush=True))
def handler(event, context):
    return 1
"""
    with extended(node, "watcher", code=code) as name:
        node.invoke(name, {})
        group = f"/aws/lambda/{name}"

    def did() -> list[str]:
        events = node.logs.filter_log_events(logGroupName=group)["events"]
        return said([event["message"] for event in events], "watcher", "did SHUTDOWN with")

    left_ms = int(seen(did)[0])
    assert left_ms <= 1_400, "600 of the 2,000 ms were the runtime's"


def test_an_extension_that_exits_in_init_fails_it_twice(node: LiveNode) -> None:
    with extended(node, "frail", plan={"frail": {"start": "exit:0"}}) as name:
        answer, body = node.invoke(name, {})
        log = node.log(name)
    request = answer["ResponseMetadata"]["RequestId"]
    assert body == {"errorType": "Extension.Crash", "errorMessage": f"RequestId: {request} Error: exit code 0"}
    assert len(said(log, "frail", "starts")) == 2
    report = next(line for line in log if line.startswith("INIT_REPORT"))
    assert "Phase: init\tStatus: error\tError Type: Extension.Crash" in report
    assert log.count("EXTENSION\tName: frail\tState: Started\tEvents: []\n") == 2


def test_an_extension_that_reports_an_init_error(node: LiveNode) -> None:
    with extended(node, "frail", plan={"frail": {"registered": "init/error init/error exit:1"}}) as name:
        answer, body = node.invoke(name, {})
        log = node.log(name)
    request = answer["ResponseMetadata"]["RequestId"]
    assert body == {"errorType": "Extension.InitError", "errorMessage": f"RequestId: {request} Error: exit status 1"}
    assert said(log, "frail", "init/error")[:2] == ['202 {"status":"OK"}'] * 2
    line = "EXTENSION\tName: frail\tState: InitError\tEvents: [INVOKE, SHUTDOWN]\tError Type: Extension.Luck\n"
    assert log.count(line) == 2


def test_an_extension_that_reports_an_exit_error(node: LiveNode) -> None:
    with extended(node, "frail", plan={"frail": {"INVOKE": "exit/error exit:4"}}) as name:
        answer, body = node.invoke(name, {"sleep": 2})
    request = answer["ResponseMetadata"]["RequestId"]
    assert body == {"errorType": "Extension.ExitError", "errorMessage": f"RequestId: {request} Error: exit status 4"}


def test_what_can_not_be_started_is_a_launch_error(node: LiveNode) -> None:
    with extended(node, "frail", executable=False) as name:
        answer, body = node.invoke(name, {})
        log = node.log(name)
    request = answer["ResponseMetadata"]["RequestId"]
    assert body == {
        "errorType": "Extension.LaunchError",
        "errorMessage": f"RequestId: {request} Error: fork/exec /opt/extensions/frail: permission denied",
    }
    line = "EXTENSION\tName: frail\tState: LaunchError\tEvents: []\tError Type: PermissionDenied\n"
    assert log.count(line) == 2


def test_ten_extensions_start_and_eleven_do_not(node: LiveNode) -> None:
    ten = [f"e{number:02}" for number in range(10)]
    with extended(node, *ten, MemorySize=1024, Timeout=20) as name:
        assert node.invoke(name, {})[1]["count"] == 1
        log = node.log(name)
        ready = {line.split("\t")[1] for line in log if line.startswith("EXTENSION\t") and "State: Ready" in line}
        assert ready == {f"Name: {one}" for one in ten}
    with extended(node, *ten, "e10") as name:
        _, body = node.invoke(name, {})
        log = node.log(name)
    assert body["errorType"] == "Extension.LaunchError"
    assert body["errorMessage"].endswith("Error: Extension limit (10) reached")
    assert "EXTENSION\tName: e10\tState: LaunchError\tEvents: []\tError Type: TooManyExtensions\n" in log


def test_a_wrong_name_is_an_internal_extension_and_the_start_never_comes(node: LiveNode) -> None:
    """The file has to register under its own name: the init waits for it, and the function's time-out ends the wait."""
    plan = {"named": {"name": "other", "events": ["INVOKE"]}}
    with extended(node, "named", plan=plan, Timeout=1) as name:
        _, body = node.invoke(name, {})
        log = node.log(name)
    assert body["errorType"] == "Sandbox.Timedout"
    assert "EXTENSION\tName: named\tState: Started\tEvents: []\n" in log
    assert "the handler ran\n" not in log


def test_directories_are_no_extensions(node: LiveNode) -> None:
    with extended(node, "watcher", programs={"watcher.d/helper": "#!/bin/sh\nexit 1\n"}) as name:
        assert node.invoke(name, {})[1]["count"] == 1


def test_json_logs_tell_of_extensions_as_events(node: LiveNode) -> None:
    with extended(node, "watcher", LoggingConfig={"LogFormat": "JSON"}) as name:
        node.invoke(name, {})
        found = [json.loads(line) for line in node.log(name) if '"platform.extension"' in line]
    assert [one["record"] for one in found] == [{"name": "watcher", "state": "Ready", "events": ["INVOKE", "SHUTDOWN"]}]


def test_an_event_ends_with_its_record(node: LiveNode) -> None:
    with extended(node, "slow", plan={"slow": {"INVOKE": "sleep:0.3"}}) as name:
        assert node.lambda_.invoke(FunctionName=name, InvocationType="Event", Payload=b"{}")["StatusCode"] == 202
        node.invoke(name, {})  # its group is there
        seen(lambda: len(said(node.log(name), "slow", "did")) == 2)
        report = seen(lambda: len(found := [x for x in node.log(name) if x.startswith("REPORT")]) == 2 and found)
        assert float(re.search(r"Duration: ([\d.]+) ms", report[0])[1]) >= 300  # type: ignore[index]


def _ready(blanks: Blanks) -> list[Blank]:
    return [blank for ready in blanks._ready.values() for blank in ready]


def test_a_runtime_that_waited_is_given_to_a_function_with_extensions(node: LiveNode) -> None:
    """The waiting runtime gets its function only after the extensions have registered."""
    with function(node.lambda_, "def handler(event, context): return 1") as other:
        node.invoke(other)
        with extended(node, "watcher") as name:
            blanks = node.node.environments.blanks
            if node.tier in ("container", "rootless"):
                seen(lambda: node.on_loop(lambda: any(b.runtime and b.runtime.is_waiting() for b in _ready(blanks))))
                hits = node.on_loop(lambda: blanks.hits)
            assert node.invoke(name, {})[1]["count"] == 1
            if node.tier in ("container", "rootless"):
                assert node.on_loop(lambda: blanks.hits) == hits + 1
            log = node.log(name)
    assert len(said(log, "watcher", "registered")) == 1
