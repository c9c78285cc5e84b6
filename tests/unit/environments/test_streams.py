"""Streamed responses in the environment's hands: limits, bandwidth, and who holds the brake."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.domain.limits import INVOKE_RESPONSE_BYTES_MAX, STREAM_BURST_BYTES, STREAM_RESPONSE_BYTES_MAX
from lambent.environments.channel import Flow, Piece, RuntimeEvent
from lambent.environments.streams import Bandwidth, Bucket, Stream, clean_content_type


class Channel:
    """Counts how the brake is used."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.resumed = asyncio.Event()

    @property
    def is_paused(self) -> bool:
        return self.calls[-1:] == ["pause"]

    def pause(self) -> None:
        assert not self.is_paused
        self.calls.append("pause")

    def resume(self) -> None:
        assert self.is_paused
        self.calls.append("resume")
        self.resumed.set()

    def dispatch(self, event: RuntimeEvent) -> None: ...

    def abandon(self) -> None: ...

    def read_rest(self) -> None: ...

    def close(self) -> None: ...


class Sink:
    def __init__(self) -> None:
        self.content_type = ""
        self.flow: Flow | None = None
        self.size = 0
        self.last = b""
        self.is_ended = False

    def start(self, content_type: str, flow: Flow) -> None:
        self.content_type, self.flow = content_type, flow

    def write(self, pieces: Sequence[Piece], size: int) -> None:
        assert sum(map(len, pieces)) == size > 0
        self.size += size
        self.last = b"".join(pieces)

    def end(self) -> None:
        self.is_ended = True


MB = b"x" * 1_048_576


async def made(sink: Sink | None, bandwidth: Bandwidth | None = None) -> tuple[Stream, Channel]:
    channel = Channel()
    return Stream("text/plain", sink, channel, bandwidth), channel


def test_what_may_be_streamed_and_what_may_be_collected() -> None:
    async def scenario() -> None:
        for sink, limit in ((Sink(), STREAM_RESPONSE_BYTES_MAX), (None, INVOKE_RESPONSE_BYTES_MAX)):
            stream, _ = await made(sink)
            left = limit
            while left > len(MB):
                assert stream.write((MB,), len(MB))
                left -= len(MB)
            assert stream.write((b"", MB[: left - 2], b"yz"), left)
            assert stream.size == limit
            assert not stream.write((b"!",), 1)
            assert stream.size == limit
            if sink is not None:
                assert (sink.size, sink.last[-2:]) == (limit, b"yz")
            else:
                assert len(stream.collected()) == limit

    asyncio.run(scenario())


def test_what_exceeds_the_limit_is_cut_at_it() -> None:
    async def scenario() -> None:
        stream, _ = await made(None)
        assert stream.write((b"x" * (INVOKE_RESPONSE_BYTES_MAX - 3),), INVOKE_RESPONSE_BYTES_MAX - 3)
        assert not stream.write((b"ab", memoryview(b"cd"), b"ef"), 6)
        assert stream.collected()[-4:] == b"xabc"
        assert stream.size == INVOKE_RESPONSE_BYTES_MAX

    asyncio.run(scenario())


def test_the_sink_hears_of_it_in_order() -> None:
    async def scenario() -> None:
        sink = Sink()
        stream, _ = await made(sink)
        assert (sink.content_type, sink.flow) == ("text/plain", stream)
        assert stream.write((b"a", memoryview(b"bc")), 3)
        assert sink.last == b"abc"
        assert not stream.is_ended
        stream.end()
        assert stream.is_ended
        assert sink.is_ended

    asyncio.run(scenario())


def test_the_first_six_megabytes_are_free_and_the_rest_waits() -> None:
    rate = 2_097_152
    bucket = Bucket(Bandwidth(STREAM_BURST_BYTES, rate), 100.0)
    assert bucket.take(STREAM_BURST_BYTES, 100.0) == 0
    assert bucket.take(rate, 100.0) == 1.0
    assert bucket.take(0, 101.0) == 0
    assert bucket.take(65_536, 101.0) == 65_536 / rate
    assert bucket.take(0, 1_000.0) == 0
    assert bucket.take(STREAM_BURST_BYTES, 1_000.0) == 0  # it fills up again, and no further
    assert bucket.take(1, 1_000.0) > 0


@given(st.lists(st.tuples(st.integers(0, 1_000_000), st.floats(0, 5)), max_size=40))
def test_who_waits_as_told_keeps_the_rate(takes: list[tuple[int, float]]) -> None:
    bandwidth = Bandwidth(100_000, 50_000)
    bucket = Bucket(bandwidth, 0.0)
    now_s, total = 0.0, 0
    for size, idle_s in takes:
        now_s += idle_s
        total += size
        now_s += bucket.take(size, now_s)
        assert total <= bandwidth.burst_bytes + now_s * bandwidth.bytes_per_s + 1


def test_the_brake_is_held_until_nobody_holds_it() -> None:
    async def scenario() -> None:
        sink = Sink()
        stream, channel = await made(sink, Bandwidth(10, 1_000))
        stream.pause()
        stream.pause()
        stream.write((b"x" * 30,), 30)  # 20 too many: 20 ms
        stream.write((b"x" * 30,), 30)
        assert channel.calls == ["pause"]
        stream.resume()
        assert channel.calls == ["pause"]
        async with asyncio.timeout(10):
            await channel.resumed.wait()
        stream.resume()
        assert channel.calls == ["pause", "resume"]

    asyncio.run(scenario())


def test_the_end_releases_the_brake_and_everybody() -> None:
    async def scenario() -> None:
        for bandwidth in (None, Bandwidth(1, 1)):
            sink = Sink()
            stream, channel = await made(sink, bandwidth)
            stream.write((b"xx",), 2)
            stream.pause()
            stream.close()
            assert channel.calls == ["pause", "resume"]
            stream.pause()
            stream.resume()
            stream.close()
            assert channel.calls == ["pause", "resume"]

    asyncio.run(scenario())


def test_what_is_collected_is_not_slowed_down() -> None:
    async def scenario() -> None:
        stream, channel = await made(None, Bandwidth(1, 1))
        stream.write((b"xx",), 2)
        assert channel.calls == []

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("text/plain; charset=utf-8", "text/plain; charset=utf-8"),
        ("", "application/octet-stream"),
        ("text/plain\r\nSet-Cookie: a=b", "application/octet-stream"),
        ("tëxt/plain", "application/octet-stream"),
        ("a\0b", "application/octet-stream"),
    ],
)
def test_a_content_type_is_fit_for_a_header(given: str, expected: str) -> None:
    assert clean_content_type(given) == expected
