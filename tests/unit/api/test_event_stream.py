"""Event-stream messages, as the SDK's own decoder reads them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.eventstream import EventStreamBuffer
from hypothesis import given
from hypothesis import strategies as st

from lambent.api import event_stream
from lambent.api.event_stream import HEADS_MAX, failure, invoke_complete, payload_chunks


def read(data: bytes) -> list[tuple[dict[str, Any], bytes]]:
    """Headers and payload of each message; the decoder checks both checksums."""
    buffer = EventStreamBuffer()
    buffer.add_data(data)
    found = [(message.headers, message.payload) for message in buffer]
    assert not buffer._data
    return found


@given(st.lists(st.binary(max_size=300), max_size=8))
def test_each_piece_is_a_chunk(pieces: list[bytes]) -> None:
    parts, size = payload_chunks([memoryview(piece) if n % 2 else piece for n, piece in enumerate(pieces)])
    data = b"".join(parts)
    assert len(data) == size
    headers = {
        ":message-type": "event",
        ":event-type": "PayloadChunk",
        ":content-type": "application/octet-stream",
    }
    assert read(data) == [(headers, piece) for piece in pieces]


def test_a_chunk_of_six_megabytes_is_one() -> None:
    body = bytes(6_291_556)
    parts, _ = payload_chunks([body])
    ((_, payload),) = read(b"".join(parts))
    assert payload == body
    assert parts[1] is body


def test_the_heads_that_are_remembered_are_bounded() -> None:
    for size in range(HEADS_MAX + 10):
        parts, _ = payload_chunks([bytes(size)])
        assert len(event_stream._heads) <= HEADS_MAX
    assert read(b"".join(parts))[0][1] == bytes(HEADS_MAX + 9)


@pytest.mark.parametrize(
    ("error", "log_result", "expected"),
    [
        (None, None, {}),
        (None, "bG9n", {"LogResult": "bG9n"}),
        (b'{"errorType":"E"}', None, {"ErrorCode": "Unhandled", "ErrorDetails": '{"errorType":"E"}'}),
        (
            b"no json \xff",
            "bG9n",
            {"ErrorCode": "Unhandled", "ErrorDetails": "no json \ufffd", "LogResult": "bG9n"},
        ),
        (b"", None, {"ErrorCode": "Unhandled", "ErrorDetails": ""}),
    ],
)
def test_the_last_message(error: bytes | None, log_result: str | None, expected: dict[str, str]) -> None:
    ((headers, payload),) = read(invoke_complete(error, log_result))
    assert headers == {
        ":message-type": "event",
        ":event-type": "InvokeComplete",
        ":content-type": "application/json",
    }
    assert json.loads(payload) == expected


def test_a_failure_of_the_platform_is_an_error() -> None:
    ((headers, payload),) = read(failure("ServiceException", "the environment was stopped: ä"))
    assert headers == {
        ":message-type": "error",
        ":error-code": "ServiceException",
        ":error-message": "the environment was stopped: ä",
    }
    assert payload == b""
