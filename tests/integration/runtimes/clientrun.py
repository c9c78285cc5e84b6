"""Runs a runtime client as a plain process and plays the platform for it: over frames, or over the HTTP Runtime API.

The start plan is the product's; the paths of a sandbox in it are replaced by where the files lie on this machine.
"""

from __future__ import annotations

import json
import os
import queue
import socket
import struct
import subprocess
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from lambent.runtimes.model import Runtime, VersionFacts
from lambent.runtimes.service import Runtimes

ANSWER_LIMIT_S = 20.0
ARN = "arn:aws:lambda:us-east-1:000000000000:function:subject"

FAILED: dict[str, str] = {}
"""What could not be installed for the tests, and why."""


def why_missing(machine: Runtimes, name: str, client: str) -> str:
    """The reason for a skip: the product's own words, and what went wrong when it was to be installed."""
    said = machine.missing(name, machine.architecture, client) or ""
    return " ".join([said, FAILED.get(name, ""), FAILED.get(f"official-{name}", "")]).strip()


@dataclass(frozen=True, slots=True)
class Event:
    """One event as the platform hands it over."""

    body: bytes
    request_id: str = "11111111-2222-4333-8444-555555555555"
    trace_id: str = ""
    client_context: str = ""
    cognito_identity: str = ""
    tenant_id: str = ""
    deadline_ms: int = 4_000_000_000_000


@dataclass(slots=True)
class Reply:
    """What came back for one event, and the log lines before it."""

    kind: str
    """response, error, or exit: the process ended without an answer."""
    label: str
    """Content type of a response, error type of an error."""
    body: bytes
    log: list[str]


@dataclass(slots=True)
class Run:
    """One life of a runtime."""

    init_error: tuple[str, bytes] | None = None
    init_log: list[str] = field(default_factory=list)
    replies: list[Reply] = field(default_factory=list)
    status: int | None = None
    """Exit status where the process ended by itself, else None."""


class Log:
    """The log pipe of one process."""

    def __init__(self) -> None:
        self.read_end, self.write_end = os.pipe()
        os.set_blocking(self.read_end, False)

    def lines(self) -> list[str]:
        """What has arrived; clients write their lines before their answer."""
        data = b""
        while True:
            try:
                part = os.read(self.read_end, 1 << 16)
            except BlockingIOError:
                break
            if not part:
                break
            data += part
        lines = data.decode("utf-8", "replace").split("\n")
        return lines if lines[-1] else lines[:-1]

    def close(self) -> None:
        os.close(self.read_end)


class Started:
    """A process with its log; ended at the end of the block."""

    def __init__(self, argv: Sequence[str], env: Mapping[str, str], cwd: Path, keep: Sequence[int]) -> None:
        self.log = Log()
        self.process = subprocess.Popen(
            argv, env=env, cwd=cwd, stdin=subprocess.DEVNULL, stdout=self.log.write_end, stderr=self.log.write_end,
            pass_fds=keep,
        )  # fmt: skip
        os.close(self.log.write_end)

    def __enter__(self) -> Started:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.log.close()

    def status(self) -> int | None:
        """The exit status, given a moment to come."""
        try:
            return self.process.wait(ANSWER_LIMIT_S)
        except subprocess.TimeoutExpired:
            return None


def run(
    runtimes: Runtimes,
    runtime: Runtime,
    task: Path,
    handler: str,
    events: Sequence[Event],
    environment: Mapping[str, str] | None = None,
    **facts: Any,
) -> Run:
    """Start `runtime` on the package at `task` and hand over the events, one after another."""
    if runtime.client == "lambent":
        return _over_frames(runtimes, runtime, task, handler, events, environment or {}, facts)
    return _over_http(runtimes, runtime, task, handler, events, environment or {}, facts)


def _plan(
    runtimes: Runtimes,
    runtime: Runtime,
    task: Path,
    handler: str,
    environment: Mapping[str, str],
    api: str,
    facts: dict[str, Any],
) -> tuple[list[str], dict[str, str], str]:
    known = VersionFacts(
        function_name="subject",
        version="$LATEST",
        handler=handler,
        memory_mb=128,
        region="us-east-1",
        log_group="/aws/lambda/subject",
        log_stream="stream",
        api_address=api,
        environment=dict(environment),
        **facts,
    )
    plan = runtimes.plan(runtime, known)
    places = {mount.target: mount.source for mount in runtime.image.mounts} | {"/var/task": str(task)}

    def here(text: str) -> str:
        for target in ("/var/lang", "/var/runtime", "/var/sdk", "/var/task"):
            text = text.replace(target, places.get(target, target))
        return text

    env = {name: here(value) for name, value in plan.env.items()}
    # The machine may lack the service's locale; both clients then read and write what they are given.
    env |= {"LANG": "C.UTF-8", "LC_CTYPE": "C.UTF-8"}
    env.pop("LD_LIBRARY_PATH")
    return [here(word) for word in plan.argv], env, plan.carrier


def _over_frames(
    runtimes: Runtimes,
    runtime: Runtime,
    task: Path,
    handler: str,
    events: Sequence[Event],
    environment: Mapping[str, str],
    facts: dict[str, Any],
) -> Run:
    argv, env, carrier = _plan(runtimes, runtime, task, handler, environment, "127.0.0.1:9", facts)
    assert carrier == "frames"
    result = Run()
    ours, theirs = socket.socketpair()
    with ours:
        ours.settimeout(ANSWER_LIMIT_S)
        env["_LAMBENT_CHANNEL"] = str(theirs.fileno())
        with theirs:
            started = Started(argv, env, task, [theirs.fileno()])
        with started:
            first = _frame(ours)
            result.init_log = started.log.lines()
            if first is None or first[0] == 4:
                if first is not None:
                    kind, body = _text(first[1])
                    result.init_error = (kind, body)
                result.status = started.status()
                return result
            assert first == (5, b""), first
            for event in events:
                ours.sendall(_invoke(event))
                answer = _frame(ours)
                if answer is None:
                    result.status = started.status()
                    result.replies.append(Reply("exit", "", b"", started.log.lines()))
                    return result
                kind, payload = answer
                request_id, rest = _text(payload)
                assert request_id == event.request_id
                label, body = _text(rest)
                result.replies.append(Reply({2: "response", 3: "error"}[kind], label, body, started.log.lines()))
            ours.shutdown(socket.SHUT_RDWR)
            # Ended by us it ends with 0; anything else it had decided itself.
            result.status = started.process.wait(ANSWER_LIMIT_S) or None
    return result


def _frame(peer: socket.socket) -> tuple[int, bytes] | None:
    head = _exactly(peer, 5)
    if head is None:
        return None
    size, kind = struct.unpack("<IB", head)
    payload = _exactly(peer, size - 1)
    assert payload is not None
    return kind, payload


def _exactly(peer: socket.socket, size: int) -> bytes | None:
    data = b""
    while len(data) < size:
        try:
            part = peer.recv(size - len(data))
        except ConnectionResetError:
            return None
        if not part:
            return None
        data += part
    return data


def _text(payload: bytes) -> tuple[str, bytes]:
    (size,) = struct.unpack_from("<H", payload)
    return payload[2 : 2 + size].decode(), payload[2 + size :]


def _invoke(event: Event) -> bytes:
    texts = [
        text.encode()
        for text in (
            event.request_id, ARN, event.trace_id, event.client_context, event.cognito_identity, event.tenant_id
        )
    ]  # fmt: skip
    head = struct.pack("<BQ6H", 1, event.deadline_ms, *map(len, texts))
    data = head + b"".join(texts) + event.body
    return struct.pack("<I", len(data)) + data


class _Api(ThreadingHTTPServer):
    """A Runtime API: `feed` holds events (None: no more), `heard` what was posted."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Door)
        self.feed: queue.Queue[Event | None] = queue.Queue()
        self.heard: queue.Queue[tuple[str, str, bytes]] = queue.Queue()


class _Door(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: _Api

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self.server.heard.put(("next", "", b""))
        event = self.server.feed.get()
        if event is None:
            self.close_connection = True
            return
        headers = {
            "Lambda-Runtime-Aws-Request-Id": event.request_id,
            "Lambda-Runtime-Deadline-Ms": str(event.deadline_ms),
            "Lambda-Runtime-Invoked-Function-Arn": ARN,
            "Lambda-Runtime-Trace-Id": event.trace_id,
            "Lambda-Runtime-Client-Context": event.client_context,
            "Lambda-Runtime-Cognito-Identity": event.cognito_identity,
            "Lambda-Runtime-Aws-Tenant-Id": event.tenant_id,
            "Content-Type": "application/json",
        }
        self._answer(200, {name: value for name, value in headers.items() if value}, event.body)

    def do_POST(self) -> None:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            body, trailers = self._chunked()
        else:
            body, trailers = self.rfile.read(int(self.headers["Content-Length"])), {}
        kind = "init" if self.path.endswith("/init/error") else self.path.rpartition("/")[2]
        if kind == "response":
            label = self.headers.get("Content-Type", "")
        else:
            label = self.headers.get("Lambda-Runtime-Function-Error-Type", "")
        if "lambda-runtime-function-error-type" in trailers:
            kind, label = "error", trailers["lambda-runtime-function-error-type"]
        self.server.heard.put((kind, label, body))
        self._answer(202, {"Content-Type": "application/json"}, b'{"status":"OK"}')

    def _chunked(self) -> tuple[bytes, dict[str, str]]:
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        trailers = {}
        while line := self.rfile.readline().strip():
            name, _, value = line.decode().partition(":")
            trailers[name.lower()] = value.strip()
        return body, trailers

    def _answer(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()


def _over_http(
    runtimes: Runtimes,
    runtime: Runtime,
    task: Path,
    handler: str,
    events: Sequence[Event],
    environment: Mapping[str, str],
    facts: dict[str, Any],
) -> Run:
    result = Run()
    with _Api() as api:
        server = threading.Thread(target=api.serve_forever, kwargs={"poll_interval": 0.02})
        server.start()
        address = f"127.0.0.1:{api.server_address[1]}"
        argv, env, carrier = _plan(runtimes, runtime, task, handler, environment, address, facts)
        assert carrier == "http"
        try:
            with Started(argv, env, task, []) as started:
                heard = _hear(api, started)
                result.init_log = started.log.lines()
                if heard is None or heard[0] == "init":
                    result.init_error = heard[1:] if heard is not None else None
                    result.status = started.status()
                    result.init_log += started.log.lines()
                    return result
                for event in events:
                    api.feed.put(event)
                    heard = _hear(api, started)
                    if heard is None:
                        result.status = started.status()
                        result.replies.append(Reply("exit", "", b"", started.log.lines()))
                        return result
                    # The next poll is not waited for: it tells nothing.
                    result.replies.append(Reply(heard[0], heard[1], heard[2], started.log.lines()))
                    polled = _hear(api, started)
                    if polled is None:
                        result.status = started.status()
                        return result
        finally:
            api.feed.put(None)
            api.feed.put(None)
            api.shutdown()
            server.join()
    return result


def _hear(api: _Api, started: Started) -> tuple[str, str, bytes] | None:
    """What the client says next; None where its process has ended instead."""
    waited_s = 0.0
    while waited_s < ANSWER_LIMIT_S:
        try:
            return api.heard.get(timeout=0.05)
        except queue.Empty:
            waited_s += 0.05
            if started.process.poll() is not None and api.heard.empty():
                return None
    raise AssertionError(f"no word from the runtime in {ANSWER_LIMIT_S} s; its log: {started.log.lines()}")


def document(body: bytes) -> Any:
    """A JSON body as a value."""
    return json.loads(body)
