"""OS-only runtimes: a shell script that speaks the Runtime API with curl, and packages that can't be started."""

from __future__ import annotations

import json
import shutil
import time
from typing import Any

import pytest
from tests.support import function

from lambent.environments.scaling import WAITS_IN_A_ROW_MAX

BASH = """#!/bin/bash
set -eu
API="http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime"
while true; do
  HEADERS=$(mktemp)
  EVENT=$(curl -sS -D "$HEADERS" "$API/invocation/next")
  ID=$(grep -i '^lambda-runtime-aws-request-id:' "$HEADERS" | tr -d '\\r' | cut -d' ' -f2)
  echo "event: $EVENT"
  if [ "$EVENT" = '"fail"' ]; then
    curl -sS -X POST "$API/invocation/$ID/error" -d '{"errorMessage":"as asked","errorType":"Asked"}' > /dev/null
  else
    curl -sS -X POST "$API/invocation/$ID/response" -d "{\\"got\\": $EVENT, \\"task\\": \\"$LAMBDA_TASK_ROOT\\"}" > /dev/null
  fi
  rm -f "$HEADERS"
done
"""

pytestmark = pytest.mark.skipif(
    shutil.which("curl") is None, reason="curl is not on this machine (apt-get install curl)"
)


def invoke(lambda_: Any, name: str, payload: Any) -> tuple[dict[str, Any], Any]:
    answer = lambda_.invoke(FunctionName=name, Payload=json.dumps(payload).encode())
    return answer, json.loads(answer["Payload"].read())


@pytest.mark.parametrize("runtime", ["provided.al2", "provided.al2023"])
def test_a_shell_script_is_a_runtime(lambda_: Any, runtime: str) -> None:
    with function(lambda_, BASH, runtime=runtime, handler="any", Timeout=10) as name:
        for number in range(3):
            _, body = invoke(lambda_, name, {"n": number})
            assert body == {"got": {"n": number}, "task": "/var/task"}
        answer, body = invoke(lambda_, name, "fail")
        assert answer["FunctionError"] == "Unhandled"
        assert body == {"errorMessage": "as asked", "errorType": "Asked"}
        assert invoke(lambda_, name, 1)[1]["got"] == 1


LATE = """#!/bin/bash
API="http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime"
while true; do
  ID=$(curl -sS -D - -o /dev/null "$API/invocation/next" | grep -i '^lambda-runtime-aws-request-id:' | tr -d '\\r' | cut -d' ' -f2)
  curl -sS -X POST "$API/invocation/$ID/response" -d "\\"$AWS_LAMBDA_LOG_STREAM_NAME\\"" > /dev/null
  sleep LATE_S
done
"""


def test_a_runtime_that_does_other_work_before_it_asks_is_not_waited_for(lambda_: Any) -> None:
    with function(lambda_, LATE.replace("LATE_S", "20"), runtime="provided.al2023", handler="any", Timeout=30) as name:
        begin = time.monotonic()
        streams = [invoke(lambda_, name, number)[1] for number in range(2)]
        took_s = time.monotonic() - begin
    assert streams[0] != streams[1]
    assert took_s < 20


def test_steady_traffic_gets_a_spare(lambda_: Any) -> None:
    """Each call comes before the shell has asked for its next event; after WAITS_IN_A_ROW_MAX of them there are two."""
    code = LATE.replace("sleep LATE_S\n", "")
    with function(lambda_, code, runtime="provided.al2023", handler="any", Timeout=10, MemorySize=1_769) as name:
        streams = {invoke(lambda_, name, number)[1] for number in range(3 * WAITS_IN_A_ROW_MAX)}
    assert len(streams) >= 2


def test_without_a_bootstrap_the_answer_says_where_it_was_looked_for(lambda_: Any) -> None:
    with function(lambda_, {"readme.txt": "x"}, runtime="provided.al2023", handler="any") as name:
        answer, body = invoke(lambda_, name, {})
    request_id = answer["ResponseMetadata"]["RequestId"]
    assert body == {
        "errorType": "Runtime.InvalidEntrypoint",
        "errorMessage": f"RequestId: {request_id} Error: Couldn't find valid bootstrap(s): "
        "[/var/task/bootstrap /opt/bootstrap]",
    }


def test_a_bootstrap_for_another_machine_is_an_exec_format_error(lambda_: Any) -> None:
    with function(lambda_, {"bootstrap": b"\\x7fELF not really"}, runtime="provided.al2023", handler="any") as name:
        _, body = invoke(lambda_, name, {})
    assert body["errorType"] == "Runtime.InvalidEntrypoint"
    assert body["errorMessage"].endswith("fork/exec /var/task/bootstrap: exec format error")
