"""Runs a runtime client as a plain process and plays the platform for it, over either of the product's carriers.

The start plan and the carriers are the product's; the paths of a sandbox in the plan are replaced by where the files lie
on this machine.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
from asyncio.subprocess import Process
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lambent.domain.clock import SystemClock
from lambent.environments.channel import Piece, RuntimeChannel, RuntimeEvent
from lambent.http import Reaper
from lambent.runtime_api.frame_channel import FrameChannel, open_frame_channel
from lambent.runtime_api.http_door import SandboxDoor
from lambent.runtimes.model import Runtime, VersionFacts
from lambent.runtimes.service import Runtimes

ANSWER_LIMIT_S = 60.0
LAST_WORDS_S = 1.0
"""How long what an ended process had sent may take to be read."""
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

    def for_runtime(self) -> RuntimeEvent:
        return RuntimeEvent(
            request_id=self.request_id,
            deadline_ms=self.deadline_ms,
            invoked_arn=ARN,
            trace_id=self.trace_id,
            client_context=self.client_context,
            cognito_identity=self.cognito_identity,
            tenant_id=self.tenant_id,
            content_type="application/json",
            body=self.body,
        )


@dataclass(slots=True)
class Reply:
    """What came back for one event, and the log lines before it."""

    kind: str
    """response, error, refused, or exit: the process ended without an answer."""
    label: str
    """Content type of a response, category of an error."""
    body: bytes
    log: list[str]
    streamed: tuple[str, bytes] | None = None
    """Content type and bytes of what was streamed before it."""


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


class Sink:
    """The environment's side: remembers what the runtime does, each with the log lines that were there by then."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._streamed: tuple[str, bytes] | None = None
        self.heard: asyncio.Queue[Reply] = asyncio.Queue()

    def _note(self, kind: str, label: str = "", body: bytes = b"") -> None:
        streamed, self._streamed = self._streamed, None
        self.heard.put_nowait(Reply(kind, label, bytes(body), self._log.lines(), streamed))

    def ready(self) -> None:
        self._note("ready")

    def response(self, request_id: str, content_type: str, body: bytes) -> None:
        self._note("response", content_type, body)

    def error(self, request_id: str, error_type: str, body: bytes) -> None:
        self._note("error", error_type, body)

    def init_error(self, error_type: str, body: bytes) -> None:
        self._note("init", error_type, body)

    def stream_started(self, request_id: str, content_type: str) -> None:
        self._streamed = (content_type, b"")

    def streamed(self, pieces: Sequence[Piece], size: int) -> bool:
        content_type, before = self._streamed or ("", b"")
        self._streamed = (content_type, before + b"".join(pieces))
        return True

    def stream_ended(self) -> None:
        assert self._streamed is not None
        self._note("response", *self._streamed)

    def stream_failed(self, error_type: str, body: bytes) -> None:
        self._note("error", error_type, body)

    def response_too_large(self, request_id: str, size: int) -> None:
        self._note("refused", "too large")

    def response_refused(self, request_id: str, error_type: str) -> None:
        self._note("refused", error_type)

    def gone(self) -> None:
        self.heard.put_nowait(Reply("gone", "", b"", []))  # last words may still be on their way to the log


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
    known = VersionFacts(
        function_name="subject",
        version="$LATEST",
        handler=handler,
        memory_mb=128,
        region="us-east-1",
        log_group="/aws/lambda/subject",
        log_stream="stream",
        api_address="127.0.0.1:9",
        environment=dict(environment or {}),
        **facts,
    )
    return asyncio.run(_run(runtimes, runtime, task, known, events))


async def _run(runtimes: Runtimes, runtime: Runtime, task: Path, facts: VersionFacts, events: Sequence[Event]) -> Run:
    plan = runtimes.plan(runtime, facts)
    places = {mount.target: mount.source for mount in runtime.image.mounts} | {"/var/task": str(task)}

    def here(text: str) -> str:
        for target in ("/var/lang", "/var/runtime", "/var/sdk", "/var/task"):
            text = text.replace(target, places.get(target, target))
        return text

    env = {name: here(value) for name, value in plan.env.items()}
    # The machine may lack the service's locale; both clients then read and write what they are given.
    env |= {"LANG": "C.UTF-8", "LC_CTYPE": "C.UTF-8"}
    env.pop("LD_LIBRARY_PATH")
    argv = [here(word) for word in plan.argv]

    log = Log()
    sink = Sink(log)
    door, theirs = None, None
    channel: RuntimeChannel
    if plan.carrier == "frames":
        channel, theirs = open_frame_channel(sink)
        env["_LAMBENT_CHANNEL"] = str(theirs.fileno())
    else:
        listener = socket.create_server(("127.0.0.1", 0))
        env["AWS_LAMBDA_RUNTIME_API"] = f"127.0.0.1:{listener.getsockname()[1]}"
        clock = SystemClock()
        door = SandboxDoor(None, None)
        door.start(listener, clock, Reaper(clock))
        channel = door.open_channel(sink)
    try:
        process = await asyncio.create_subprocess_exec(
            *argv, env=env, cwd=task, stdin=asyncio.subprocess.DEVNULL, stdout=log.write_end, stderr=log.write_end,
            pass_fds=[theirs.fileno()] if theirs is not None else [],
        )  # fmt: skip
        os.close(log.write_end)
        if theirs is not None:
            theirs.close()
        try:
            return await _converse(process, channel, sink, log, events)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    finally:
        channel.close()
        if door is not None:
            door.close()
        await asyncio.sleep(0)  # let the transports close
        os.close(log.read_end)


async def _converse(process: Process, channel: RuntimeChannel, sink: Sink, log: Log, events: Sequence[Event]) -> Run:
    result = Run()
    first = await _hear(process, sink)
    result.init_log = first.log if first is not None else log.lines()
    if first is None or first.kind == "init":
        if first is not None:
            result.init_error = (first.label, first.body)
        result.status = await asyncio.wait_for(process.wait(), ANSWER_LIMIT_S)
        return result
    assert first.kind == "ready", first
    for event in events:
        channel.dispatch(event.for_runtime())
        reply = await _hear(process, sink)
        if reply is None:
            result.replies.append(Reply("exit", "", b"", log.lines()))
            result.status = process.returncode
            return result
        result.replies.append(reply)
        again = await _hear(process, sink)
        if again is None:
            result.status = process.returncode
            return result
        assert again.kind == "ready", again
    if isinstance(channel, FrameChannel):
        # The channel's end is the runtime's: it ends with 0 then, and anything else it had decided itself.
        channel.close()
        result.status = await asyncio.wait_for(process.wait(), ANSWER_LIMIT_S) or None
    return result


async def _hear(process: Process, sink: Sink) -> Reply | None:
    """What the client does next; None where its process has ended instead."""
    reply = await _word(process, sink)
    if reply is None or reply.kind == "gone":
        await asyncio.wait_for(process.wait(), ANSWER_LIMIT_S)
        return None
    return reply


async def _word(process: Process, sink: Sink) -> Reply | None:
    if not sink.heard.empty():
        return sink.heard.get_nowait()
    heard = asyncio.ensure_future(sink.heard.get())
    ended = asyncio.ensure_future(process.wait())
    try:
        await asyncio.wait([heard, ended], timeout=ANSWER_LIMIT_S, return_when=asyncio.FIRST_COMPLETED)
        if not heard.done() and ended.done():
            await asyncio.wait([heard], timeout=LAST_WORDS_S)
        if heard.done():
            return heard.result()
        assert ended.done(), "no word from the runtime"
        return None
    finally:
        heard.cancel()
        ended.cancel()


def document(body: bytes) -> Any:
    """A JSON body as a value."""
    return json.loads(body)
