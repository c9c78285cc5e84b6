"""Extensions within the runtime, and extensions beside a runtime that speaks HTTP."""

from __future__ import annotations

import re

import pytest
from tests.integration.environments.live_node import LiveNode, seen
from tests.integration.extensions.extension_world import extended, said
from tests.support import function

pytestmark = pytest.mark.leaves_session_state  # the node of all tests keeps blanks and connections

INTERNAL = """
import http.client, json, os, signal, sys, threading, time

def call(api, method, path, body=None, **fields):
    api.request(method, "/2020-01-01/extension/" + path, body, {k.replace("_", "-"): v for k, v in fields.items()})
    answer = api.getresponse()
    return answer, answer.read().decode()

def connect():
    return http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])

def register(name, events):
    answer, body = call(connect(), "POST", "register", json.dumps({"events": events}), Lambda_Extension_Name=name)
    return answer.getheader("Lambda-Extension-Identifier"), answer.status, body

def follow(me):
    api = connect()
    while True:
        _, body = call(api, "GET", "event/next", Lambda_Extension_Identifier=me)
        print("inside told", json.loads(body)["requestId"], flush=True)
        time.sleep(0.3)
        print("inside did", flush=True)
"""


def test_an_internal_extension_is_told_and_waited_for(node: LiveNode) -> None:
    code = (
        INTERNAL
        + """
me, status, body = register("inside", ["INVOKE"])
print("registered", status, body)
print("refused", *register("inside", [])[1:])
print("refused", *register("other", ["SHUTDOWN"])[1:])
threading.Thread(target=follow, args=(me,), daemon=True).start()
def handler(event, context):
    return register("late", [])[1:]
"""
    )
    with function(node.lambda_, code) as name:
        answer, (status, body) = node.invoke(name, {})
        seen(lambda: "inside did\n" in node.log(name))
        seen(lambda: any(line.startswith("REPORT") for line in node.log(name)))
        log = node.log(name)
    assert (status, "Extension.RegistrationClosed" in body) == (403, True)
    refused = [line for line in log if line.startswith("refused 403")]
    assert "Extension with this name already registered" in refused[0]
    assert "ShutdownEventNotSupportedForInternalExtension" in refused[1]
    assert "EXTENSION\tName: inside\tState: Ready\tEvents: [INVOKE]\n" in log
    assert f"inside told {answer['ResponseMetadata']['RequestId']}\n" in log
    report = next(line for line in log if line.startswith("REPORT"))
    assert float(re.search(r"Duration: ([\d.]+) ms", report)[1]) >= 300  # type: ignore[index]
    assert log.index("inside did\n") < log.index(report)


def test_an_internal_extension_that_listens_to_nothing_brings_the_sigterm(node: LiveNode) -> None:
    """As Go's client does it: registered for no event, the runtime hears SIGTERM before it is killed."""
    code = (
        INTERNAL
        + """
def leave(*_):
    print("the runtime leaves", flush=True)
    time.sleep(10)
signal.signal(signal.SIGTERM, leave)
me, status, body = register("GoLangEnableSIGTERM", [])
threading.Thread(target=follow, args=(me,), daemon=True).start()
def handler(event, context):
    return 1
"""
    )

    def is_heard() -> bool:
        with function(node.lambda_, code) as name:
            assert node.invoke(name)[1] == 1
            before = node.count()
        seen(lambda: node.count() < before)
        return "the runtime leaves\n" in node.log(name)

    # It has 150 ms, in which a busy machine may not give it a turn.
    assert any(is_heard() for _ in range(5))


def test_without_extensions_no_signal_comes(node: LiveNode) -> None:
    code = INTERNAL + (
        "signal.signal(signal.SIGTERM, lambda *_: print('heard', flush=True))\ndef handler(event, context): print('ran')\n"
    )
    with function(node.lambda_, code) as name:
        node.invoke(name)
        before = node.count()
    seen(lambda: not [e for e in node.environments() if e.version.ref.name == name] and node.count() < before)
    assert "heard\n" not in node.log(name)


HTTP_LOOP = """while true; do
  exec 3<>/dev/tcp/${AWS_LAMBDA_RUNTIME_API/://}
  printf 'GET /2018-06-01/runtime/invocation/next HTTP/1.1\\r\\nHost: a\\r\\nConnection: close\\r\\n\\r\\n' >&3
  ID=$(grep -im1 '^lambda-runtime-aws-request-id:' <&3 | tr -d '\\r' | cut -d' ' -f2)
  exec 3<>/dev/tcp/${AWS_LAMBDA_RUNTIME_API/://}
  printf 'POST /2018-06-01/runtime/invocation/%s/response HTTP/1.1\\r\\nHost: a\\r\\nContent-Length: 4\\r\\nConnection: close\\r\\n\\r\\ntrue' "$ID" >&3
  cat <&3 >/dev/null
done
"""


def test_a_wrapper_may_put_a_runtime_of_its_own_in_the_clients_place(node: LiveNode) -> None:
    """As layers do that bring their own runtime to a managed one: it asks for events over HTTP."""
    files = {"wrapper": f"#!/bin/bash\necho instead of $1\n{HTTP_LOOP}", "app.py": "raise RuntimeError('not I')"}
    variables = {"AWS_LAMBDA_EXEC_WRAPPER": "/var/task/wrapper"}
    with function(node.lambda_, files, executable=("wrapper",), Environment={"Variables": variables}) as name:
        for _ in range(2):
            assert node.invoke(name, {})[1] is True
        log = node.log(name)
    assert any(line.startswith("instead of ") for line in log)
    assert sum(line.startswith("REPORT") for line in log) == 2


def test_who_asks_over_http_beside_the_client_is_refused_once_it_is_ready(node: LiveNode) -> None:
    code = (
        INTERNAL
        + """
def handler(event, context):
    api = connect()
    api.request("GET", "/2018-06-01/runtime/invocation/next")
    answer = api.getresponse()
    return answer.status, json.loads(answer.read())["errorType"]
"""
    )
    with function(node.lambda_, code) as name:
        assert node.invoke(name)[1] == [403, "InvalidStateTransition"]


def test_a_runtime_that_speaks_http_waits_for_its_extensions(node: LiveNode) -> None:
    bootstrap = f'#!/bin/bash\necho "the runtime starts"\n{HTTP_LOOP}'
    plan = {"watcher": {"start": "sleep:0.2", "INVOKE": "sleep:0.3"}}
    with extended(node, "watcher", plan=plan, code={"bootstrap": bootstrap}, runtime="provided.al2023") as name:
        for number in range(2):
            assert node.invoke(name, {})[1] is True
            seen(lambda number=number: len(said(node.log(name), "watcher", "did")) == number + 1)
            seen(lambda: [e for e in node.environments() if e.version.ref.name == name and e.state.name == "IDLE"])
        log = node.log(name)
    kinds = [line.split(" ")[0] for line in log if re.match("the runtime starts|watcher starts", line)]
    assert kinds == ["watcher", "the"]
    reports = [line for line in log if line.startswith("REPORT")]
    assert all(float(re.search(r"Duration: ([\d.]+) ms", line)[1]) >= 300 for line in reports)  # type: ignore[index]
    assert len(reports) == 2
