"""What the hostile tests share: raw sockets, signed raw requests, and what it means that the server took no harm."""

from __future__ import annotations

import json
import os
import socket
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

ANSWER_LIMIT_S = 30.0
RECOVERY_LIMIT_S = 60.0
GROWTH_KB_MAX = 48 * 1_024
"""Resident memory that may stay after an attack: allocators keep pages, leaks keep growing."""
AUTHORIZATION = (
    "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/lambda/aws4_request, SignedHeaders=host, Signature=0"
)


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer, read whole."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def code(self) -> str:
        return self.headers.get("x-amzn-errortype", "")

    @property
    def document(self) -> Any:
        return json.loads(self.body)

    @property
    def message(self) -> str | None:
        document = self.document
        return document["message"] if "message" in document else document.get("Message")


def address(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    return parts.hostname, parts.port


def call(
    url: str, method: str, target: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
) -> Reply:
    """One request with a claimed, unverified signature; `target` goes out as it is."""
    connection = HTTPConnection(*address(url), timeout=ANSWER_LIMIT_S)
    try:
        connection.request(method, target, body, {"Authorization": AUTHORIZATION, **(headers or {})})
        answer = connection.getresponse()
        return Reply(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
    finally:
        connection.close()


def exchange(url: str, data: bytes, *, half_close: bool = False, limit_s: float = ANSWER_LIMIT_S) -> bytes:
    """Send bytes and read until the server closes; a reset ends the reading."""
    with socket.create_connection(address(url), timeout=limit_s) as raw:
        answer = b""
        try:
            raw.sendall(data)
            if half_close:
                raw.shutdown(socket.SHUT_WR)
            while piece := raw.recv(65_536):
                answer += piece
        except (ConnectionResetError, BrokenPipeError):
            pass
        return answer


FREEZERS = ("/freezer.state", "/cgroup.freeze")
"""Opened when an environment is frozen for the first time, a moment after its last invocation, and kept: whether the witness's
was before or after something else says nothing about that."""


def descriptors(pid: int) -> list[str]:
    """What a process holds open, by kind: the numbers of sockets and pipes say nothing and are left out, freezers too."""
    found = []
    for entry in os.listdir(f"/proc/{pid}/fd"):
        with suppress(FileNotFoundError):
            place = os.readlink(f"/proc/{pid}/fd/{entry}")
            if not place.endswith(FREEZERS):
                found.append(place.partition("[")[0])
    return sorted(found)


def resident_kb(pid: int) -> int:
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1])


def health(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(f"{url}/_lambent/health", timeout=ANSWER_LIMIT_S) as answer:
        assert answer.status == 200
        document: dict[str, Any] = json.loads(answer.read())
        return document


def invoke(url: str, name: str) -> Reply:
    return call(url, "POST", f"/2015-03-31/functions/{name}/invocations", b"{}")


@contextmanager
def unharmed(server: Any, witness: str) -> Iterator[None]:
    """After the block the server is well: health and an invocation answer, its descriptors and memory are back."""
    pid = server.process.pid
    assert invoke(server.url, witness).status == 200  # warm, so that the environment's own descriptors count before
    before, before_kb = descriptors(pid), resident_kb(pid)
    yield
    assert server.process.poll() is None, server.log.read_text()[-4_000:]
    answer = invoke(server.url, witness)
    assert (answer.status, answer.body) == (200, b'"well"')
    found = health(server.url)
    assert (found["status"], found["in_flight"]) == ("ok", 0)
    deadline = time.monotonic() + RECOVERY_LIMIT_S
    while len(after := descriptors(pid)) > len(before) and time.monotonic() < deadline:
        time.sleep(0.02)  # that the server has closed what clients left has no event a test could see
    assert len(after) <= len(before), list((Counter(after) - Counter(before)).items())
    while (grown_kb := resident_kb(pid) - before_kb) > GROWTH_KB_MAX and time.monotonic() < deadline:
        time.sleep(0.1)  # what large bodies took is given back when none has come for a while
    assert grown_kb <= GROWTH_KB_MAX


def faults(server: Any) -> list[str]:
    """What the server's log holds of faults of its own."""
    return [line for line in server.log.read_text().splitlines() if line.startswith(("E ", "Traceback"))]
