"""A sink that remembers what the runtime did, and events for it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from lambent.environments.channel import Piece, RuntimeEvent


def an_event(request_id: str = "id-1", body: bytes = b'{"a":1}', **changes: Any) -> RuntimeEvent:
    values: dict[str, Any] = {
        "deadline_ms": 1_764_100_003_000,
        "invoked_arn": "arn:aws:lambda:us-east-1:123456789012:function:f",
        "trace_id": "",
        "client_context": "",
        "cognito_identity": "",
        "tenant_id": "",
        "content_type": "application/json",
    }
    return RuntimeEvent(request_id=request_id, body=body, **(values | changes))


class RememberingSink:
    """A `RuntimeSink`: every call becomes a tuple in `calls`, and can be awaited."""

    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.streamed_bytes = 0
        self.stream_bytes_max = 1 << 30
        self._changed = asyncio.Event()

    def _note(self, *call: Any) -> None:
        self.calls.append(call)
        self._changed.set()

    async def after(self, count: int) -> list[Any]:
        """The calls, once there are `count`."""
        while len(self.calls) < count:
            self._changed.clear()
            await self._changed.wait()
        return self.calls

    def ready(self) -> None:
        self._note("ready")

    def response(self, request_id: str, content_type: str, body: bytes) -> None:
        self._note("response", request_id, content_type, body)

    def error(self, request_id: str, error_type: str, body: bytes) -> None:
        self._note("error", request_id, error_type, body)

    def init_error(self, error_type: str, body: bytes) -> None:
        self._note("init_error", error_type, body)

    def response_too_large(self, request_id: str, size: int) -> None:
        self._note("response_too_large", request_id, size)

    def response_refused(self, request_id: str, error_type: str) -> None:
        self._note("response_refused", request_id, error_type)

    def stream_started(self, request_id: str, content_type: str) -> None:
        self._note("stream_started", request_id, content_type)

    def streamed(self, pieces: Sequence[Piece], size: int) -> bool:
        assert sum(map(len, pieces)) == size
        self.streamed_bytes += size
        self._note("streamed", *map(bytes, pieces))
        return self.streamed_bytes <= self.stream_bytes_max

    def stream_ended(self) -> None:
        self._note("stream_ended")

    def stream_failed(self, error_type: str, body: bytes) -> None:
        self._note("stream_failed", error_type, body)

    def gone(self) -> None:
        self._note("gone")
