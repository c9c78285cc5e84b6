"""Servers of their own: one that is told to end, one that speaks IPv6, one that keeps access logs."""

from __future__ import annotations

import re
import signal
import socket
import time
from http.client import HTTPConnection
from typing import Any

import pytest
from tests.conftest import start_server
from tests.integration.gateway.url_world import LIMIT_S, published
from tests.integration.node.node_world import place
from tests.support import client

CODE = """
import time

def handler(event, context):
    print("began", flush=True)
    time.sleep(float(event.get("queryStringParameters", {}).get("s", 0)))
    return "done"
"""


def test_what_runs_is_answered_and_the_connection_closed() -> None:
    with place() as base:
        server = start_server(base / "data")
        lambda_: Any = client("lambda", server.url)
        try:
            with published(lambda_, server.url, CODE, Timeout=30) as (_, url):
                assert url().body == b"done"
                running = HTTPConnection(*url.server, timeout=LIMIT_S)
                idle = socket.create_connection(url.server, timeout=LIMIT_S)
                idle.sendall(f"GET / HTTP/1.1\r\nHost: {url.host}\r\n\r\n".encode())
                assert idle.recv(4_096).startswith(b"HTTP/1.1 200 ")
                running.request("GET", "/?s=4", headers={"Host": url.host})
                time.sleep(1)  # until it runs; the server is asked nothing more
                server.process.send_signal(signal.SIGTERM)
                assert idle.recv(4_096) == b"", "who waits for nothing is let go at once"
                answer = running.getresponse()
                assert (answer.status, answer.read(), answer.headers["connection"]) == (200, b"done", "close")
                running.close()
                idle.close()
                assert server.process.wait(LIMIT_S) == 0
                # The function went with its server: there is nobody left to delete it.
                lambda_.delete_function = lambda **_: None
        finally:
            lambda_.close()
            server.stop()


def test_a_server_that_speaks_ipv6() -> None:
    if not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    code = "def handler(event, context):\n    return event['requestContext']['http']['sourceIp']\n"
    with place() as base:
        server = start_server(base / "data", "--host", "::1")
        lambda_: Any = client("lambda", server.url)
        try:
            with published(lambda_, server.url, code) as (name, url):
                told = lambda_.get_function_url_config(FunctionName=name)["FunctionUrl"]
                assert told == f"http://[::1]:{url.server[1]}/_lambent/url/{url.id}/" or ".localhost:" in told
                assert url().body == b"::1"
                assert url("GET", f"/_lambent/url/{url.id}/", host=f"[::1]:{url.server[1]}").body == b"::1"
        finally:
            lambda_.close()
            assert server.stop() == 0


def test_every_request_has_its_line_in_the_access_log() -> None:
    code = "def handler(event, context):\n    yield {'statusCode': 202}\n    yield 'streamed'\n"
    with place() as base:
        server = start_server(base / "data", "--set", "server.url_log_group=/lambent/urls")
        lambda_: Any = client("lambda", server.url)
        logs: Any = client("logs", server.url)
        try:
            with (
                published(lambda_, server.url, CODE) as (_, plain),
                published(lambda_, server.url, code, url={"InvokeMode": "RESPONSE_STREAM"}) as (_, streaming),
            ):
                replies = [plain("GET", "/a?s=0"), streaming("GET", "/b")]
                ids = [reply.header("x-amzn-requestid") for reply in replies]
                wanted = [
                    rf'127\.0\.0\.1 - - \[.*\] "GET /a HTTP/1\.1" 200 4 {ids[0]}',
                    rf'127\.0\.0\.1 - - \[.*\] "GET /b HTTP/1\.1" 202 8 {ids[1]}',
                ]
                deadline = time.monotonic() + LIMIT_S
                shown = ""
                while time.monotonic() < deadline and not all(re.search(one, shown) for one in wanted):
                    events = logs.filter_log_events(logGroupName="/lambent/urls")["events"]
                    shown = "".join(event["message"] for event in events)
                    time.sleep(0.05)  # a stream's line is written when its function has ended
                for one in wanted:
                    assert re.search(one, shown), shown
        finally:
            lambda_.close()
            logs.close()
            assert server.stop() == 0
