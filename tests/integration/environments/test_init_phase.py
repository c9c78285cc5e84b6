"""Init that fails, hangs, ends or dies: tried twice, said in the log, and answered by the second attempt."""

from __future__ import annotations

import re

import pytest
from tests.integration.environments.live_node import LiveNode
from tests.support import function


def test_a_failing_init_is_tried_twice_and_both_are_logged(node: LiveNode) -> None:
    code = "print('module code')\nraise RuntimeError('no luck')\n"
    with function(node.lambda_, code) as name:
        tail, body = node.tail(name)
        log = node.log(name)
    assert body["errorType"] == "RuntimeError"
    assert body["errorMessage"] == "no luck"
    assert [line for line in log if line == "module code\n"] == ["module code\n"] * 2
    kinds = [line.split(" ")[0] for line in log if re.match(r"(INIT_|START|END|REPORT|\[ERROR\])", line)]
    assert kinds == ["INIT_START", "[ERROR]", "INIT_REPORT", "START", "[ERROR]", "END", "REPORT"]
    report = next(line for line in log if line.startswith("INIT_REPORT"))
    assert re.fullmatch(
        r"INIT_REPORT Init Duration: \d+\.\d\d ms\tPhase: init\tStatus: error\tError Type: Runtime\.\w+\n?", report
    ), report
    assert tail.count("module code") == 1
    assert not re.search("^INIT_START", tail, re.MULTILINE)
    assert "Init Duration" not in tail


def test_each_invocation_of_what_can_not_start_repeats_init(node: LiveNode) -> None:
    with function(node.lambda_, "print('module code')\nimport nope\n") as name:
        for _ in range(2):
            _, body = node.invoke(name)
            assert body["errorType"] == "Runtime.ImportModuleError"
        log = node.log(name)
        assert len(node.streams(name)) == 1
    assert log.count("module code\n") == 3
    assert sum(line.startswith("INIT_START") for line in log) == 1


def test_an_init_that_succeeds_the_second_time_answers_without_init_duration(node: LiveNode) -> None:
    code = """
import os
if not os.path.exists("/tmp/tried"):
    open("/tmp/tried", "w").close()
    raise RuntimeError("the first time")
def handler(event, context):
    return "well"
"""
    with function(node.lambda_, code) as name:
        tail, body = node.tail(name)
        warm, again = node.tail(name)
        log = node.log(name)
    assert body == again == "well"
    assert "Init Duration" not in tail
    assert "Status" not in tail
    assert sum("Status: error" in line for line in log) == 1
    duration_ms = float(re.search(r"Duration: ([\d.]+) ms", tail)[1])  # type: ignore[index]
    warm_ms = float(re.search(r"Duration: ([\d.]+) ms", warm)[1])  # type: ignore[index]
    assert duration_ms > warm_ms  # the second init is inside the first invocation's duration


def test_an_init_that_takes_too_long_continues_under_the_functions_timeout(node: LiveNode) -> None:
    code = """
import time
print("begun")
time.sleep(2)
def handler(event, context):
    return "at last"
"""
    with function(node.lambda_, code, Timeout=20) as name:
        tail, body = node.tail(name)
        log = node.log(name)
    assert body == "at last"
    assert log.count("begun\n") == 2
    report = next(line for line in log if line.startswith("INIT_REPORT"))
    said = re.fullmatch(r"INIT_REPORT Init Duration: ([\d.]+) ms\tPhase: init\tStatus: timeout\n?", report)
    assert said is not None, report
    assert float(said[1]) >= 1_500
    assert "Init Duration" not in tail
    assert float(re.search(r"\tDuration: ([\d.]+) ms", tail)[1]) >= 2_000  # type: ignore[index]


def test_a_second_init_that_takes_too_long_is_the_functions_time_out(node: LiveNode) -> None:
    code = "import time\nopen('/tmp/x', 'a').write('x')\ntime.sleep(60)\n"
    with function(node.lambda_, code, Timeout=1) as name:
        tail, body = node.tail(name)
    assert body["errorType"] == "Sandbox.Timedout"
    assert body["errorMessage"].endswith("Error: Task timed out after 1.00 seconds")
    assert "\tDuration: 1000.00 ms\tBilled Duration: 1000 ms\t" in tail
    assert "\tStatus: timeout\t" in tail


@pytest.mark.parametrize(
    ("statement", "text"),
    [
        ("import os; os._exit(7)", "Runtime exited with error: exit status 7"),
        ("import os; os._exit(0)", "Runtime exited without providing a reason"),
        (
            "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)",
            "Runtime exited with error: signal: segmentation fault",
        ),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "Runtime exited with error: signal: killed"),
    ],
)
def test_a_runtime_that_ends_during_init_says_how(node: LiveNode, statement: str, text: str) -> None:
    with function(node.lambda_, f"print('here', flush=True)\n{statement}\n") as name:
        answer, body = node.invoke(name)
        log = node.log(name)
    request_id = answer["ResponseMetadata"]["RequestId"]
    assert answer["FunctionError"] == "Unhandled"
    assert body == {"errorType": "Runtime.ExitError", "errorMessage": f"RequestId: {request_id} Error: {text}"}
    assert log.count("here\n") == 2
    assert any("Phase: init\tStatus: error\tError Type: Runtime.ExitError" in line for line in log)
    assert any(line.startswith("REPORT") and "Status: error\tError Type: Runtime.ExitError" in line for line in log)
