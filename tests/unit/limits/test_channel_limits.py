"""Bounds of what a runtime may say: pollers, names and frames."""

from __future__ import annotations

from typing import Any

import pytest
from tests.integration.runtime_api.runtime_world import RememberingSink

from lambent.domain.limits import INVOKE_RESPONSE_BYTES_MAX
from lambent.runtime_api.frames import FRAME_BYTES_MAX, INIT_ERROR, NAME_BYTES_MAX, FrameParser, MalformedFrame
from lambent.runtime_api.http_channel import POLLERS_MAX, HttpChannel
from lambent.runtime_api.machine import Refused


class Poller:
    """A connection that waits for an event."""

    on_gone: Any = None

    def require_open(self) -> None: ...

    def abort(self) -> None: ...


def test_sixty_four_connections_wait_for_an_event() -> None:
    channel = HttpChannel(RememberingSink(), lambda _: None)
    pollers: list[Any] = [Poller() for _ in range(POLLERS_MAX + 1)]
    for poller in pollers[:-1]:
        channel.next(poller)
    with pytest.raises(Refused, match="More than 64 connections"):
        channel.next(pollers[-1])
    pollers[0].on_gone()
    channel.next(pollers[-1])
    channel.close()


def frame(name: bytes) -> bytes:
    payload = bytes([INIT_ERROR]) + len(name).to_bytes(2, "little") + name
    return len(payload).to_bytes(4, "little") + payload


def test_a_name_has_four_kilobytes() -> None:
    (read,) = FrameParser().feed(frame(b"x" * NAME_BYTES_MAX))
    assert len(read.names[0]) == NAME_BYTES_MAX
    with pytest.raises(MalformedFrame):
        FrameParser().feed(frame(b"x" * (NAME_BYTES_MAX + 1)))


def test_a_frame_holds_the_largest_response_and_its_names() -> None:
    assert FRAME_BYTES_MAX == 1 + 2 * (2 + NAME_BYTES_MAX) + INVOKE_RESPONSE_BYTES_MAX
