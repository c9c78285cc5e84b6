"""Bytes that are no request, or two at once: an answer or the end of the connection, and the next client is served."""

from __future__ import annotations

import resource
import selectors
import socket
import time
from contextlib import ExitStack
from typing import Any

import pytest
from tests.integration.hostile.hostile_world import (
    address,
    call,
    exchange,
    health,
    invoke,
)

HOST = b"Host: a\r\n"
INVOKE = b"POST /2015-03-31/functions/witness/invocations HTTP/1.1\r\n" + HOST
CONNECTIONS = 3_000
BUSY_S = 15.0

MALFORMED = {
    "noise": bytes(range(256)) * 16 + b"\r\n\r\n",
    "a TLS greeting": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 64 + b"\r\n\r\n",
    "bare line feeds": b"GET / HTTP/1.1\nHost: a\n\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "NUL in a field": b"GET / HTTP/1.1\r\n" + HOST + b"X: a\0b\r\n\r\n",
    "raw bytes in the target": b"GET /\xff\xfe HTTP/1.1\r\n" + HOST + b"\r\n",
    "a method nobody has": b"BREW / HTTP/1.1\r\n" + HOST + b"\r\n",
    "HTTP/2 by prior knowledge": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "an endless number": b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: " + b"9" * 400 + b"\r\n\r\n",
}
SMUGGLING = {
    "length and coding": INVOKE + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "coding and length": INVOKE + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "two lengths": INVOKE + b"Content-Length: 2\r\nContent-Length: 40\r\n\r\n{}",
    "a coding that is none": INVOKE + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "a space before the colon": INVOKE + b"Content-Length : 2\r\n\r\n{}",
    "a folded coding": INVOKE + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "a chunk with a sign": INVOKE + b"Transfer-Encoding: chunked\r\n\r\n+2\r\n{}\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("name", list(MALFORMED))
def test_malformed_requests_get_a_4xx_or_501_and_the_end(well: Any, name: str) -> None:
    answer = exchange(well.url, MALFORMED[name])
    status = int(answer.split(b" ", 2)[1])
    assert 400 <= status < 500 or status in (501, 505)
    assert b"connection: close" in answer.lower()


@pytest.mark.parametrize("name", list(SMUGGLING))
def test_a_smuggled_request_is_never_answered(well: Any, name: str) -> None:
    answer = exchange(well.url, SMUGGLING[name] + b"GET /_lambent/health HTTP/1.1\r\nHost: a\r\n\r\n")
    assert answer.count(b"HTTP/1.1 ") == 1
    assert int(answer.split(b" ", 2)[1]) in (400, 501)
    assert b'"status"' not in answer


def test_more_than_a_megabyte_of_header_is_refused(well: Any) -> None:
    fields = b"".join(b"X-%d: %b\r\n" % (number, b"a" * 8_000) for number in range(160))
    answer = exchange(well.url, b"GET /_lambent/health HTTP/1.1\r\n" + HOST + fields + b"\r\n")
    assert answer.split(b" ", 2)[1] in (b"431", b"")
    answer = exchange(well.url, b"GET /" + b"a" * 1_200_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n")
    assert answer.split(b" ", 2)[1] == b"414"
    fields = b"".join(b"X-%d: a\r\n" % number for number in range(1_200))
    answer = exchange(well.url, b"GET /_lambent/health HTTP/1.1\r\n" + HOST + fields + b"\r\n")
    assert answer.split(b" ", 2)[1] == b"431"


def test_bodies_beyond_their_limits_are_refused_whether_declared_or_not(well: Any) -> None:
    declared = INVOKE + b"Content-Length: 999999999999\r\n\r\n"
    assert b"999999999999 byte payload is too large for the RequestResponse" in exchange(well.url, declared)
    chunk = b"10000\r\n" + b" " * 65_536 + b"\r\n"
    answer = exchange(well.url, INVOKE + b"Transfer-Encoding: chunked\r\n\r\n" + chunk * 130)
    assert answer.split(b" ", 2)[1] in (b"413", b"")
    settings = b"PUT /2015-03-31/functions/witness/configuration HTTP/1.1\r\n" + HOST
    answer = exchange(well.url, settings + b"Content-Length: 70000000\r\n\r\n")
    assert answer.split(b" ", 2)[1] == b"413"
    exact = call(well.url, "POST", "/2015-03-31/functions/witness/invocations", b" " * 6_291_457)
    assert (exact.status, exact.code) == (413, "RequestEntityTooLargeException")
    assert (
        exact.message
        == "6291457 byte payload is too large for the RequestResponse invocation type (limit 6291456 bytes)"
    )


def test_half_closed_and_vanishing_clients(well: Any) -> None:
    whole = INVOKE + b"Content-Length: 2\r\nConnection: close\r\n\r\n{}"
    assert exchange(well.url, whole, half_close=True).endswith(b'"well"'), "whoever said all may still listen"
    assert b"HTTP/1.1 200" not in exchange(well.url, INVOKE + b"Content-Length: 20\r\n\r\n{}", half_close=True)
    for cut in (1, 20, 60, len(whole) - 1, len(whole)):
        for _ in range(20):
            with socket.create_connection(address(well.url), timeout=10) as raw:
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # a reset, not a farewell
                raw.sendall(whole[:cut])


def test_slow_clients_hold_nobody_up(well: Any) -> None:
    """200 clients in the middle of a head or a body, feeding a byte now and then; others are served meanwhile."""
    with ExitStack() as stack:
        slow = [stack.enter_context(socket.create_connection(address(well.url), timeout=10)) for _ in range(200)]
        for number, raw in enumerate(slow):
            raw.sendall(INVOKE if number % 2 else INVOKE + b"Content-Length: 100000\r\n\r\n")
        for _ in range(5):
            for raw in slow:
                raw.sendall(b"X")
            assert invoke(well.url, "witness").status == 200


def test_a_slow_head_is_cut_with_408(well: Any) -> None:
    """The time for a head is 20 s from its first byte, however steadily it drips."""
    began = time.monotonic()
    with socket.create_connection(address(well.url), timeout=0.5) as raw:
        answer = b""
        raw.sendall(b"GET / HTTP/1.1\r\nX: ")
        while time.monotonic() - began < 40.0:
            try:
                raw.sendall(b"a")
                answer = raw.recv(4_096)
                break
            except TimeoutError:
                continue
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert 19.0 <= time.monotonic() - began <= 30.0


def test_three_thousand_connections_at_once(well: Any) -> None:
    """All are open, with a request in each, before one answer is read. What the server's descriptors do not allow for
    waits in the kernel's queue until others close; none is refused, none is forgotten."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = CONNECTIONS + 500
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip(f"this machine allows {hard} descriptors, {wanted} are needed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    request = b"GET /_lambent/health HTTP/1.1\r\n" + HOST + b"\r\n"
    began = time.monotonic()
    with ExitStack() as stack:
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        selector = stack.enter_context(selectors.DefaultSelector())
        for _ in range(CONNECTIONS):
            raw = stack.enter_context(socket.create_connection(address(well.url), timeout=10))
            selector.register(raw, selectors.EVENT_READ)
            raw.sendall(request)
        answered = 0
        while answered < CONNECTIONS and time.monotonic() - began < BUSY_S:
            for key, _ in selector.select(1.0):
                assert isinstance(key.fileobj, socket.socket)
                assert key.fileobj.recv(4_096).startswith(b"HTTP/1.1 200 ")
                selector.unregister(key.fileobj)
                key.fileobj.close()
                answered += 1
        assert answered == CONNECTIONS
    assert health(well.url)["status"] == "ok"
