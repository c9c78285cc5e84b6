"""What a runtime says before it is stopped to be copied, the word by which a copy goes on, and its credentials."""

from __future__ import annotations

import asyncio
import importlib
import socket
import struct
from typing import Any

import orjson
import pytest
from tests.unit.environments.test_keeping_templates import ACTIVE

from lambent.assembly.carriers import CREDENTIALS_S, TEMPLATE_CREDENTIALS_S, SandboxCarriers
from lambent.domain.clock import ManualClock
from lambent.environments.copies import REHEARSE_FRAME
from lambent.identity.temporary import TemporaryCredentials
from lambent.runtime_api import frames
from lambent.runtime_api.frame_channel import OBSTACLE_CHARS_MAX, OBSTACLES_MAX, FrameChannel
from lambent.runtime_api.machine import Machine, Move, State

snapshot = importlib.import_module("lambent.bootstraps.python._lambent_runtime.snapshot")


class Sink:
    """Writes down what it hears."""

    def __init__(self) -> None:
        self.heard: list[Any] = []
        self.is_over = asyncio.Event()

    def gone(self) -> None:
        self.heard.append(("gone",))
        self.is_over.set()

    def __getattr__(self, name: str) -> Any:
        return lambda *told: self.heard.append((name, *told))


def conversation(*sent: bytes, restore: bool = False) -> tuple[list[Any], bytes]:
    """What the environment hears of a runtime that sends this, and what the runtime reads."""

    async def main() -> tuple[list[Any], bytes]:
        ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        sink = Sink()
        channel = FrameChannel(ours, sink)
        if restore:
            channel.restore()
        loop = asyncio.get_running_loop()
        for data in sent:
            await loop.sock_sendall(theirs, data)
        theirs.shutdown(socket.SHUT_WR)
        await sink.is_over.wait()
        read = await loop.sock_recv(theirs, 100)
        theirs.close()
        channel.close()
        return sink.heard, read

    return asyncio.run(main())


def said(*obstacles: Any) -> bytes:
    body = orjson.dumps(obstacles)
    return struct.pack("<IB", 1 + len(body), frames.SNAPSHOT) + body


def test_what_a_runtime_says_is_bounded() -> None:
    ours = (frames.SNAPSHOT, frames.RESTORE, frames.REHEARSE)
    assert ours == (snapshot.SNAPSHOT, snapshot.RESTORE, snapshot.REHEARSE)
    assert struct.pack("<IB", 1, frames.REHEARSE) == REHEARSE_FRAME
    assert snapshot.SAID_MAX == OBSTACLES_MAX
    heard, _ = conversation(said(*["x" * 1_000] * 20))
    ((name, obstacles), *_) = heard
    assert name == "snapshot"
    assert obstacles == ["x" * OBSTACLE_CHARS_MAX] * OBSTACLES_MAX


@pytest.mark.parametrize("body", [b"", b"{}", b"{", b'"x"'])
def test_a_snapshot_that_is_none_ends_the_channel(body: bytes) -> None:
    heard, _ = conversation(struct.pack("<IB", 1 + len(body), frames.SNAPSHOT) + body)
    assert heard == [("gone",)]


def test_a_runtime_says_it_once_and_before_it_is_ready() -> None:
    ready = struct.pack("<IB", 1, frames.READY)
    assert conversation(said(), said())[0] == [("snapshot", []), ("gone",)]
    assert conversation(ready, said())[0] == [("ready",), ("gone",)]


def test_a_copy_is_told_to_go_on_and_is_ready_or_says_why_not() -> None:
    ready = struct.pack("<IB", 1, frames.READY)
    heard, read = conversation(ready, restore=True)
    assert (heard[0], read) == (("ready",), struct.pack("<IB", 1, frames.RESTORE))
    error = struct.pack("<H", 25) + b"Runtime.AfterRestoreError" + b"{}"
    heard, _ = conversation(struct.pack("<IB", 1 + len(error), frames.INIT_ERROR) + error, restore=True)
    assert heard[0] == ("init_error", "Runtime.AfterRestoreError", b"{}")


def test_an_error_after_the_restore_is_a_restore_error() -> None:
    machine = Machine()
    for move in (Move.RESTORE_NEXT, Move.THAW, Move.INIT_ERROR):
        machine.move(move)
    assert machine.state is State.RESTORE_ERROR


@pytest.mark.parametrize("valid_s", [CREDENTIALS_S, TEMPLATE_CREDENTIALS_S])
def test_credentials_say_how_long_they_are_good(valid_s: int) -> None:
    """Ten minutes before their end SDKs ask anew: always in a template, and in its copies for what they have from it."""
    clock = ManualClock()
    temporary = TemporaryCredentials(b"secret", clock)
    carriers = SandboxCarriers(clock, None, temporary)  # type: ignore[arg-type]
    token = temporary.container_token(ACTIVE.arn, ACTIVE.generation)
    answer = carriers._credentials("environment", ACTIVE, valid_s, token)
    assert answer is not None
    shown = orjson.loads(answer)
    assert set(shown) == {"AccessKeyId", "SecretAccessKey", "Token", "Expiration"}
    until_ms = clock.wall_ms() + valid_s * 1_000
    assert shown["Expiration"].endswith("Z")
    assert f"{until_ms % 60_000 / 1_000:06.3f}Z" in shown["Expiration"]
    assert (TEMPLATE_CREDENTIALS_S < 600 < CREDENTIALS_S) is True
    for wrong in ("", token[:-1], token + "0", "ÿ"):
        assert carriers._credentials("environment", ACTIVE, valid_s, wrong) is None
    assert token != temporary.container_token(ACTIVE.arn, ACTIVE.generation + 1)
