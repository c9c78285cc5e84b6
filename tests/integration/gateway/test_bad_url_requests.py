"""Hostile clients at a function URL: each gets the documented answer or the end, and the next client is served."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from tests.integration.gateway.url_world import LIMIT_S, Url, logs_until, published
from tests.support import function

SECRET = "def handler(event, context):\n    return 'another function'\n"


@pytest.fixture(autouse=True)
def others_are_served(site: Url) -> Iterator[None]:
    """After each attack the same URL answers."""
    yield
    assert site("GET", "/well").json["path"] == "/well"


def post(site: Url, *fields: str) -> bytes:
    return "".join(f"{line}\r\n" for line in ("POST /echo HTTP/1.1", f"Host: {site.host}", *fields, "")).encode()


SMUGGLING = {
    "length and coding": (("Content-Length: 5", "Transfer-Encoding: chunked"), b"0\r\n\r\n"),
    "coding and length": (("Transfer-Encoding: chunked", "Content-Length: 5"), b"0\r\n\r\n"),
    "two lengths": (("Content-Length: 2", "Content-Length: 40"), b"{}"),
    "a list of lengths": (("Content-Length: 2, 40",), b"{}"),
    "a signed length": (("Content-Length: +2",), b"{}"),
    "two codings": (("Transfer-Encoding: chunked", "Transfer-Encoding: identity"), b"0\r\n\r\n"),
    "a coding that is none": (("Transfer-Encoding: xchunked",), b"0\r\n\r\n"),
    "a coding behind another": (("Transfer-Encoding: gzip, chunked",), b"0\r\n\r\n"),
    "a coding in capitals with a tab": (("Transfer-Encoding:\tchunked\x0b",), b"0\r\n\r\n"),
    "a space before the colon": (("Content-Length : 2",), b"{}"),
    "a folded coding": (("Transfer-Encoding:", " chunked"), b"0\r\n\r\n"),
    "a chunk with a sign": (("Transfer-Encoding: chunked",), b"+2\r\n{}\r\n0\r\n\r\n"),
    "a chunk with a prefix": (("Transfer-Encoding: chunked",), b"0x2\r\n{}\r\n0\r\n\r\n"),
    "a chunk of more than any": (("Transfer-Encoding: chunked",), b"fffffffffffffffff\r\n{}\r\n0\r\n\r\n"),
    "bare line feeds between chunks": (("Transfer-Encoding: chunked",), b"2\n{}\n0\n\n"),
    "two hosts": (("Host: other.example", "Content-Length: 2"), b"{}"),
}


@pytest.mark.parametrize("name", SMUGGLING)
def test_a_smuggled_request_is_never_answered(site: Url, name: str) -> None:
    fields, body = SMUGGLING[name]
    behind = f"GET /smuggled HTTP/1.1\r\nHost: {site.host}\r\n\r\n".encode()
    answer = site.raw(post(site, *fields) + body + behind)
    assert answer.count(b"HTTP/1.1 ") == 1
    assert int(answer.split(b" ", 2)[1]) in (400, 501)
    assert b"smuggled" not in answer


@pytest.mark.parametrize(
    "target",
    ["/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/..%2f..%2f", "//evil.example/x", "/a\\..\\b", "/%00", "/%zz",
     "/\xe9", "/a;b=c", "/" + "a" * 60_000],
)  # fmt: skip
def test_a_path_is_the_functions_and_nobody_elses(site: Url, target: str) -> None:
    """Nothing in it is resolved, decoded or dropped; only the function sees it."""
    answer = site.raw(f"GET {target} HTTP/1.1\r\nHost: {site.host}\r\nConnection: close\r\n\r\n".encode("latin-1"))
    if "\xe9" in target:
        assert answer.startswith(b"HTTP/1.1 400 "), "a target is ASCII"
        return
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["path"] == target


def test_a_path_of_the_path_form_leads_to_no_other_function(lambda_: Any, site: Url) -> None:
    with function(lambda_, SECRET) as name:
        lambda_.create_function_url_config(FunctionName=name, AuthType="AWS_IAM")
        for rest in ("/../", "/%2e%2e/", "/../../../2015-03-31/functions", "/../../health"):
            reply = site("GET", f"/_lambent/url/{site.id}{rest}", host="a")
            assert reply.json == {"version": "$LATEST", "path": rest}


@pytest.mark.parametrize("target", ["http://evil.example/x", f"http://{'0' * 32}.lambda-url.us-east-1.localhost/"])
def test_an_absolute_target_that_contradicts_the_host_is_refused(site: Url, target: str) -> None:
    answer = site.raw(f"GET {target} HTTP/1.1\r\nHost: {site.host}\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 400 ")
    same = site.raw(f"GET http://{site.host}/well HTTP/1.1\r\nHost: {site.host}\r\nConnection: close\r\n\r\n".encode())
    assert same.startswith(b"HTTP/1.1 200 ")


def test_heads_up_to_a_megabyte_and_no_longer(site: Url) -> None:
    value = "v" * 60_000
    event = site("GET", "/event", headers={f"X-{number}": value for number in range(10)}).json
    assert event["headers"]["x-9"] == value
    fields = "".join(f"X-{number}: {'a' * 8_000}\r\n" for number in range(160))
    answer = site.raw(f"GET / HTTP/1.1\r\nHost: {site.host}\r\n{fields}\r\n".encode())
    assert answer.split(b" ", 2)[1] == b"431"
    answer = site.raw(f"GET /{'a' * 1_200_000} HTTP/1.1\r\nHost: {site.host}\r\n\r\n".encode())
    assert answer.split(b" ", 2)[1] == b"414"


def test_bodies_that_are_too_large_are_refused_before_or_while_they_come(site: Url) -> None:
    answer = site.raw(post(site, "Content-Length: 99999999999"))
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"99999999999 byte payload is too large" in answer
    chunk = b"100000\r\n" + bytes(0x100000) + b"\r\n"
    answer = site.raw(post(site, "Transfer-Encoding: chunked") + chunk * 7)
    assert answer.startswith(b"HTTP/1.1 413 ")


def test_chunked_bodies_with_extensions_and_trailers(site: Url) -> None:
    body = b"3;ext=1\r\nabc\r\n2\r\nde\r\n0\r\nX-Trailer: t\r\n\r\n"
    answer = site.raw(post(site, "Transfer-Encoding: chunked", "Content-Type: text/plain", "Connection: close") + body)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(b"\r\n\r\nabcde")


def test_pipelined_requests_are_answered_in_order(site: Url) -> None:
    requests = [f"GET /{number} HTTP/1.1\r\nHost: {site.host}\r\n".encode() for number in range(20)]
    answer = site.raw(b"\r\n".join(requests) + b"Connection: close\r\n\r\n")
    paths = [json.loads(part.partition(b"\r\n\r\n")[2])["path"] for part in answer.split(b"HTTP/1.1 200 OK")[1:]]
    assert paths == [f"/{number}" for number in range(20)]


def test_who_expects_to_be_told_is_told(site: Url) -> None:
    with socket.create_connection(site.server, timeout=LIMIT_S) as connection:
        connection.sendall(post(site, "Content-Length: 4", "Expect: 100-continue", "Connection: close"))
        assert connection.recv(4_096) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"body")
        received = b""
        while piece := connection.recv(4_096):
            received += piece
    assert received.startswith(b"HTTP/1.1 200 ")
    assert received.endswith(b"body")
    assert site.raw(post(site, "Content-Length: 4", "Expect: miracles")).startswith(b"HTTP/1.1 417 ")


def test_http_1_0_is_answered_and_closed(site: Url) -> None:
    answer = site.raw(f"GET /event HTTP/1.0\r\nHost: {site.host}\r\n\r\n".encode())
    assert b"\r\nConnection: close\r\n" in answer
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["requestContext"]["http"]["protocol"] == "HTTP/1.0"


def test_a_client_that_leaves_cancels_nothing(lambda_: Any, endpoint: str, site: Url) -> None:
    """The function runs to its end; what it says is nobody's."""
    code = "import time\ndef handler(e, c):\n    time.sleep(0.3)\n    print('ran', e['rawPath'])\n"
    with published(lambda_, endpoint, code) as (name, url):
        reset = struct.pack("ii", 1, 0)
        for number in range(3):
            with socket.create_connection(url.server, timeout=LIMIT_S) as connection:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
                connection.sendall(f"GET /{number} HTTP/1.1\r\nHost: {url.host}\r\n\r\n".encode())
        assert url("GET", "/last").status == 200
        logs_shown = logs_until(endpoint, name, [f"ran /{number}" for number in range(3)])
        assert "ran /last" in logs_shown


def test_bodies_that_never_end_are_nobodys(site: Url) -> None:
    cut = post(site, "Content-Length: 100") + b"half"
    assert site.raw(cut, half_close=True).startswith(b"HTTP/1.1 400 ")
    for size in (1, 40, len(cut)):
        with socket.create_connection(site.server, timeout=LIMIT_S) as connection:
            connection.sendall(cut[:size])


def test_slow_bodies_hold_nobody_up(site: Url) -> None:
    slow = []
    try:
        for _ in range(50):
            slow.append(socket.create_connection(site.server, timeout=LIMIT_S))
            slow[-1].sendall(post(site, "Content-Length: 100000"))
        for _ in range(3):
            for connection in slow:
                connection.sendall(b"x")
            assert site("GET", "/well").status == 200
    finally:
        for connection in slow:
            connection.close()


def test_many_at_once_each_get_their_own_answer(site: Url) -> None:
    with ThreadPoolExecutor(16) as pool:
        paths = [f"/{number}" for number in range(200)]
        assert [reply.json["path"] for reply in pool.map(lambda path: site("GET", path), paths)] == paths
