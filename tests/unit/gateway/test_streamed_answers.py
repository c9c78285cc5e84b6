"""A streamed response on its way: when the head goes out, who is paused, and what becomes of failures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from lambent.gateway.answers import HttpAnswer, Malformed
from lambent.gateway.streams import StreamedAnswer, head_of, whole_answer
from lambent.invocations.prelude import PRELUDE_CONTENT_TYPE

TYPED = b'{"statusCode":201,"headers":{"Content-Type":"text/html"},"cookies":["a=b"]}' + bytes(8)
HEAD = [(b"Content-Type", b"text/html"), (b"set-cookie", b"a=b")]


class Client:
    """An exchange that writes down what it was told."""

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.is_open, self.is_started, self.is_full = True, False, False
        self.on_gone: Any = None
        self.on_room: Any = None

    def start(self, status: int, headers: Any) -> None:
        self.is_started = True
        self.told.append((status, headers))

    def write_pieces(self, pieces: Sequence[Any], size: int) -> None:
        data = b"".join(pieces)
        assert len(data) == size
        self.told.append(data)

    def finish(self) -> None:
        self.is_open = False
        self.told.append("finish")

    def abort(self) -> None:
        self.is_open = False
        self.told.append("abort")


class Flow:
    def __init__(self) -> None:
        self.told: list[str] = []

    def pause(self) -> None:
        self.told.append("pause")

    def resume(self) -> None:
        self.told.append("resume")


class World:
    def __init__(self, content_type: str = PRELUDE_CONTENT_TYPE) -> None:
        self.client, self.flow = Client(), Flow()
        self.refused: list[str] = []
        self.sink = StreamedAnswer(self.client, lambda fields: fields, self.refuse)  # type: ignore[arg-type]
        self.sink.start(content_type, self.flow)

    def refuse(self, error: Malformed) -> None:
        self.client.is_open = False
        self.refused.append(str(error))

    def write(self, *pieces: bytes) -> None:
        self.sink.write(pieces, sum(map(len, pieces)))


@pytest.mark.parametrize("at", [1, 10, len(TYPED) - 1, len(TYPED)])
def test_the_head_goes_out_when_the_metadata_are_whole(at: int) -> None:
    world = World()
    world.write(TYPED[:at])
    assert world.client.is_started is (at == len(TYPED))
    world.write(TYPED[at:] + b"body")
    world.write(b"more")
    world.sink.end()
    bodies = b"".join(one for one in world.client.told if isinstance(one, bytes))
    assert (world.client.told[0], bodies, world.client.told[-1]) == ((201, HEAD), b"bodymore", "finish")


def test_a_type_of_its_own_goes_out_with_the_first_bytes() -> None:
    world = World("text/plain")
    assert world.client.told == []
    world.write(b"a", b"b")
    world.sink.end()
    assert world.client.told == [(200, [(b"content-type", b"text/plain")]), b"ab", "finish"]


def test_nothing_at_all_is_an_empty_200() -> None:
    world = World("text/plain")
    world.sink.end()
    assert world.client.told == [(200, [(b"content-type", b"text/plain")]), "finish"]


@pytest.mark.parametrize(
    "written",
    [
        [b"{" + bytes(8)],
        [b"[]" + bytes(8)],
        [b"{}\0\0x"],
        [b'{"statusCode":42}' + bytes(8) + b"body"],
        [b'{"headers":{"A":"b\\r\\nC: d"}}' + bytes(8)],
        [b'{"cookies":"a"}' + bytes(8)],
        [b"{}"],
        [],
    ],
)
def test_metadata_that_are_none_are_refused_once_and_the_rest_is_dropped(written: list[bytes]) -> None:
    world = World()
    for piece in written:
        world.write(piece)
    world.write(b"more")
    world.sink.end()
    assert len(world.refused) == 1
    assert world.client.told == []


def test_a_slow_client_pauses_the_function_and_a_client_with_room_lets_it_go_on() -> None:
    world = World("text/plain")
    world.write(b"a")
    assert world.flow.told == []
    world.client.is_full = True
    world.write(b"b")
    assert world.flow.told == ["pause"]
    world.client.on_room()
    assert world.flow.told == ["pause", "resume"]


def test_for_a_client_that_is_gone_the_function_runs_on() -> None:
    world = World()
    world.write(TYPED + b"body")
    world.client.is_open = False
    world.client.on_gone()
    world.write(b"more")
    world.sink.end()
    assert world.client.told[1:] == [b"body"]
    assert world.flow.told == ["resume"]


def test_until_the_head_is_sent_another_answer_can_be_given() -> None:
    world = World()
    assert world.sink.is_open
    world.write(TYPED)
    assert not world.sink.is_open
    world.sink.cut()
    assert world.client.told[-1] == "abort"


@pytest.mark.parametrize(
    ("metadata", "status", "fields"),
    [
        ({}, 200, [(b"content-type", b"application/octet-stream")]),
        ({"statusCode": "418"}, 418, [(b"content-type", b"application/octet-stream")]),
        ({"statusCode": None, "headers": None, "cookies": None}, 200, [(b"content-type", b"application/octet-stream")]),
        ({"headers": {"content-type": "a/b"}, "cookies": ["c"]}, 200, [(b"content-type", b"a/b"), (b"set-cookie", b"c")]),
        ({"body": "ignored"}, 200, [(b"content-type", b"application/octet-stream")]),
    ],
)  # fmt: skip
def test_what_metadata_say(metadata: dict[str, Any], status: int, fields: list[tuple[bytes, bytes]]) -> None:
    assert head_of(metadata) == (status, fields)


def test_a_collected_stream() -> None:
    assert whole_answer(TYPED + b"body") == HttpAnswer(201, HEAD, b"body")
    for body in (b"", b"{}", b"noise", b'{"statusCode":1}' + bytes(8)):
        with pytest.raises(Malformed):
            whole_answer(body)
