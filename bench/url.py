"""A request to a function URL against the same warm invoke through the API: what HTTP in front costs.

Both run the same function, which returns a response as URLs take it. The reference is invoked with the very event that the
URL makes (about 900 bytes), so that the function has the same to read; a second one with 65 bytes shows what the event
itself costs. Processor time is that of the server with its sandboxes, runtimes among them.
"""

from __future__ import annotations

import json
import socket
from contextlib import ExitStack
from dataclasses import replace

from .clients import EVENT, Target, latency, read_response
from .harness import Comparison, compare
from .product import Lambent, lambent
from .warm import _latency_arm, _throughput_arm, warm_environments

ANSWER = """
def handler(event, context):
    return {"statusCode": 200, "headers": {"content-type": "text/plain"}, "body": "hello"}
"""
SHOW = """
import json

def handler(event, context):
    return {"statusCode": 200, "body": json.dumps(event)}
"""
CONNECTIONS = 16


def url_of(server: Lambent, name: str) -> Target:
    """Give a function a URL that is open to everybody; answers where it is asked."""
    made = server.call("POST", f"/2021-10-31/functions/{name}/url", {"AuthType": "NONE"})
    for sid, members in (
        ("url", {"Action": "lambda:InvokeFunctionUrl", "FunctionUrlAuthType": "NONE"}),
        ("invoke", {"Action": "lambda:InvokeFunction", "InvokedViaFunctionUrl": True}),
    ):
        server.call("POST", f"/2015-03-31/functions/{name}/policy", {"StatementId": sid, "Principal": "*", **members})
    rest = str(made["FunctionUrl"]).partition("://")[2]
    host, _, path = rest.partition("/")
    id = host.partition(".")[0] if ".lambda-url." in host else path.strip("/").rpartition("/")[2]
    headers = (("Content-Type", "application/json"),)
    return Target(server.host, server.port, f"/_lambent/url/{id}/", body=EVENT, headers=headers)


def event_of(server: Lambent) -> bytes:
    """The event that a request of the benchmark becomes."""
    server.deploy("show", {"app.py": SHOW})
    target = url_of(server, "show")
    with socket.create_connection((target.host, target.port)) as connection:
        connection.sendall(target.request())
        return json.dumps(json.loads(read_response(connection)[1]), separators=(",", ":")).encode()


def run(rounds: int) -> list[Comparison]:
    """Latency at one connection, throughput of four environments at sixteen."""
    with ExitStack() as stack:
        server = stack.enter_context(lambent())
        four = stack.enter_context(lambent(environment={"LAMBENT_LIMITS_ENVIRONMENTS_MAX": "4"}))
        event = event_of(server)
        invoke = server.deploy("answer", {"app.py": ANSWER})
        url = url_of(server, "answer")
        busy = four.deploy("answer", {"app.py": ANSWER})
        busy_url = url_of(four, "answer")
        latency(invoke, seconds=0.3, warm_up=50)
        warm_environments(busy, 4)
        return [
            compare(
                "function URL",
                f"warm, one client; the same event is {len(event)} bytes",
                {
                    "invoke, the same event": _latency_arm(replace(invoke, body=event), server.pids),
                    "invoke, 65 bytes": _latency_arm(invoke, server.pids),
                    "URL": _latency_arm(url, server.pids),
                },
                reference="invoke, the same event",
                rounds=rounds,
            ),
            compare(
                "function URL, 16 connections",
                "warm throughput, 4 environments",
                {
                    "invoke, the same event": _throughput_arm(replace(busy, body=event), four.pids, CONNECTIONS),
                    "invoke, 65 bytes": _throughput_arm(busy, four.pids, CONNECTIONS),
                    "URL": _throughput_arm(busy_url, four.pids, CONNECTIONS),
                },
                reference="invoke, the same event",
                rounds=rounds,
            ),
        ]
