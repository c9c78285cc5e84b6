"""InvokeMode RESPONSE_STREAM over real HTTP: metadata become the head, bytes arrive as they are written, failures show."""

from __future__ import annotations

import re
import shutil
import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from http.client import HTTPConnection, IncompleteRead
from typing import Any

import pytest
from tests.integration.gateway.url_world import LIMIT_S, Url, id_in, logs_until, permit, published, server_of
from tests.support import function

PYTHON = """
import json, time

def handler(event, context):
    yield from globals()[event["rawPath"][1:] or "plain"](event)

def plain(event):
    yield "one "
    yield b"two \\xff"

def typed(event):
    yield {"statusCode": 201, "headers": {"Content-Type": "text/html", "X-A": "b"}, "cookies": ["c=1; Secure", "d=2"]}
    yield "<p>"
    yield "hello"

def alone(event):
    yield {"statusCode": 204}

def untyped(event):
    yield {"headers": {"X-A": "b"}, "statusCode": 200}
    yield b"\\x00\\x01"

def empty(event):
    return
    yield

def echo(event):
    yield {"statusCode": 200, "headers": {"content-type": "application/json"}}
    yield json.dumps(event)

def slowly(event):
    for number in range(3):
        yield f"{time.time()}\\n"
        time.sleep(0.4)

def first_fails(event):
    raise ValueError("before the first byte")
    yield

def metadata_then_fails(event):
    yield {"statusCode": 200, "headers": {"X-A": "b"}}
    raise ValueError("before the body")

def midway(event):
    yield "begun"
    time.sleep(0.2)
    raise ValueError("midway")

def evil(event):
    yield {"statusCode": 200, "headers": {"X-A": "b\\r\\nSet-Cookie: evil=1"}}
    yield "body"

def teapot(event):
    yield {"statusCode": "418", "headers": {"Content-Length": "1", "Transfer-Encoding": "chunked"}}
    yield "tea"

def bad_status(event):
    yield {"statusCode": 42}
    yield "body"

def large(event):
    for _ in range(64):
        yield b"x" * 65_536

def never_read(event):
    print("began")
    for number in range(200):
        yield b"x" * 65_536
    print("ended")
"""
NODE = """
export const handler = awslambda.streamifyResponse(async (event, stream, context) => {
  if (event.rawPath === "/typed") {
    stream = awslambda.HttpResponseStream.from(stream, {
      statusCode: 202, headers: {"Content-Type": "text/html", "X-A": "b"}, cookies: ["c=1"],
    });
    stream.write("<p>");
  } else {
    stream.setContentType("text/plain");
    stream.write("plain ");
  }
  stream.end("end");
});
"""
STREAM = {"url": {"InvokeMode": "RESPONSE_STREAM"}}


@pytest.fixture(scope="module")
def streams(lambda_: Any, endpoint: str) -> Iterator[Url]:
    with published(lambda_, endpoint, PYTHON, Timeout=30, **STREAM) as (_, url):
        yield url


def test_what_is_not_metadata_is_the_body_of_a_200(streams: Url) -> None:
    reply = streams("GET", "/plain")
    assert (reply.status, reply.body) == (200, b"one two \xff")
    assert reply.header("content-type") == "application/octet-stream"
    assert reply.header("transfer-encoding") == "chunked"
    assert reply.header("x-amzn-requestid")
    assert str(reply.header("x-amzn-trace-id")).startswith("Root=1-")


def test_metadata_are_status_headers_and_cookies(streams: Url) -> None:
    reply = streams("GET", "/typed")
    assert (reply.status, reply.body) == (201, b"<p>hello")
    assert reply.all("content-type") == ["text/html"]
    assert reply.header("x-a") == "b"
    assert reply.all("set-cookie") == ["c=1; Secure", "d=2"]
    untyped = streams("GET", "/untyped")
    assert (untyped.header("content-type"), untyped.body) == ("application/octet-stream", b"\0\1")
    teapot = streams("GET", "/teapot")
    assert (teapot.status, teapot.body, teapot.all("transfer-encoding")) == (418, b"tea", ["chunked"])
    assert teapot.header("x-amzn-remapped-content-length") == "1"


def test_streams_without_a_body(streams: Url) -> None:
    assert streams("GET", "/alone").status == 204
    empty = streams("GET", "/empty")
    assert (empty.status, empty.body) == (200, b"")
    head = streams("HEAD", "/typed")
    assert (head.status, head.header("x-a"), head.body) == (201, "b", b"")


def test_the_event_is_payload_2_0(streams: Url) -> None:
    event = streams("POST", "/echo?a=1", b"text", {"Content-Type": "text/plain"}).json
    assert (event["version"], event["body"], event["queryStringParameters"]) == ("2.0", "text", {"a": "1"})


def test_bytes_arrive_as_they_are_written(streams: Url) -> None:
    with socket.create_connection(streams.server, timeout=LIMIT_S) as connection:
        connection.sendall(f"GET /slowly HTTP/1.1\r\nHost: {streams.host}\r\nConnection: close\r\n\r\n".encode())
        arrived, received = [], b""
        while piece := connection.recv(65_536):
            received += piece
            while len(arrived) < len(written := re.findall(rb"\d+\.\d+(?=\n)", received)):
                arrived.append(time.time() - float(written[len(arrived)]))
    assert len(arrived) == 3
    assert max(arrived) < 0.4, "none waited for the next one"


@pytest.mark.parametrize("path", ["/first_fails", "/metadata_then_fails", "/evil", "/bad_status"])
def test_what_fails_before_the_first_byte_is_a_502(streams: Url, path: str) -> None:
    reply = streams("GET", path)
    assert (reply.status, reply.body) == (502, b"Internal Server Error")
    assert reply.header("set-cookie") is None
    assert streams("GET", "/plain").status == 200


def test_what_fails_midway_is_visibly_cut_short(streams: Url) -> None:
    with pytest.raises(IncompleteRead) as cut:
        streams("GET", "/midway")
    assert cut.value.partial in (b"", b"begun")
    assert streams("GET", "/plain").status == 200


def test_a_plain_answer_is_not_interpreted(lambda_: Any, endpoint: str) -> None:
    code = "def handler(e, c):\n    return {'statusCode': 418, 'body': 'x'}\n"
    with published(lambda_, endpoint, code, **STREAM) as (_, url):
        reply = url()
        assert (reply.status, reply.json) == (200, {"statusCode": 418, "body": "x"})
        assert reply.header("content-type") == "application/json"


def test_a_stream_behind_a_buffered_url_is_collected(lambda_: Any, endpoint: str) -> None:
    with published(lambda_, endpoint, PYTHON, Timeout=30) as (_, url):
        reply = url("GET", "/typed")
        assert (reply.status, reply.body, reply.header("x-a")) == (201, b"<p>hello", "b")
        assert reply.header("content-length") == "8"
        assert reply.all("set-cookie") == ["c=1; Secure", "d=2"]
        assert url("GET", "/evil").status == 502


def test_large_streams_and_http_1_0(streams: Url) -> None:
    assert streams("GET", "/large").body == b"x" * 64 * 65_536
    answer = streams.raw(f"GET /large HTTP/1.0\r\nHost: {streams.host}\r\n\r\n".encode())
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in head.lower()
    assert len(body) == 64 * 65_536


def test_a_client_that_leaves_midstream_cancels_nothing(lambda_: Any, endpoint: str) -> None:
    with published(lambda_, endpoint, PYTHON, Timeout=30, **STREAM) as (name, url):
        with socket.create_connection(url.server, timeout=LIMIT_S) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.sendall(f"GET /never_read HTTP/1.1\r\nHost: {url.host}\r\n\r\n".encode())
            assert connection.recv(100).startswith(b"HTTP/1.1 200 ")
        assert url("GET", "/plain").status == 200
        assert "ended" in logs_until(endpoint, name, ["began", "ended"])


def test_throttles_permissions_and_cors_are_as_for_buffered_ones(lambda_: Any, endpoint: str) -> None:
    cors = {"AllowOrigins": ["http://a.example"], "ExposeHeaders": ["x-a"]}
    with function(lambda_, PYTHON) as name:
        made = lambda_.create_function_url_config(
            FunctionName=name, AuthType="NONE", InvokeMode="RESPONSE_STREAM", Cors=cors
        )
        url = Url(server_of(endpoint), id_in(made["FunctionUrl"]))
        assert url("GET", "/typed").status == 403
        permit(lambda_, name)
        reply = url("GET", "/typed", headers={"Origin": "http://a.example"})
        assert reply.header("access-control-allow-origin") == "http://a.example"
        assert reply.header("access-control-expose-headers") == "x-a"
        lambda_.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
        assert url("GET", "/typed").status == 429


def test_the_connection_outlives_a_stream(streams: Url) -> None:
    connection = HTTPConnection(*streams.server, timeout=LIMIT_S)
    try:
        for _ in range(3):
            connection.request("GET", "/typed", headers={"Host": streams.host})
            answer = connection.getresponse()
            assert (answer.status, answer.read()) == (201, b"<p>hello")
    finally:
        connection.close()


def test_a_function_that_takes_too_long_is_cut(lambda_: Any, endpoint: str) -> None:
    code = "import time\ndef handler(e, c):\n    yield 'begun'\n    time.sleep(60)\n"
    with published(lambda_, endpoint, code, Timeout=1, **STREAM) as (_, url), pytest.raises(IncompleteRead):
        url()


def test_nodes_streams(lambda_: Any, endpoint: str) -> None:
    if shutil.which("node") is None:
        pytest.skip("no Node.js on this machine")
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout
    runtime = f"nodejs{version.removeprefix('v').partition('.')[0]}.x"
    with published(lambda_, endpoint, NODE, runtime=runtime, handler="index.handler", **STREAM) as (_, url):
        reply = url("GET", "/typed")
        assert (reply.status, reply.header("content-type"), reply.body) == (202, "text/html", b"<p>end")
        assert reply.all("set-cookie") == ["c=1"]
        plain = url("GET", "/plain")
        assert (plain.status, plain.header("content-type"), plain.body) == (200, "text/plain", b"plain end")
