"""The Invoke family's parameters, read and validated once per distinct request line and headers.

A client invokes the same few functions over and over; what was parsed and found valid once is copied from a bounded
memory the next time. Only good requests are kept, never payloads, and never a client context, which may differ each time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lambent.api.parse import decode_header, parse_bound
from lambent.api.table import Operation
from lambent.api.validation import validate

if TYPE_CHECKING:
    from lambent.http import Request

REMEMBERED_MAX = 4_096
"""Distinct requests remembered; the oldest goes first."""

REMEMBERED_BYTES_MAX = 1_024
"""Requests whose target and headers are longer are not remembered, which bounds the memory to a few megabytes."""

CLIENT_CONTEXT_HEADER = b"x-amz-client-context"


class InvokeParameters:
    """Reads parameters; `read` costs 2 µs for a request like an earlier one."""

    def __init__(self, remembered_max: int = REMEMBERED_MAX) -> None:
        self._remembered_max = remembered_max
        self._remembered: dict[tuple[str | bytes | None, ...], dict[str, Any]] = {}

    def __len__(self) -> int:
        return len(self._remembered)

    def read(self, operation: Operation, labels: list[bytes], request: Request) -> dict[str, Any]:
        """Members of path, query and headers; the dict is the caller's own. Raises Unreadable or ValidationFailed."""
        header = request.header
        key = (
            operation.method,
            request.target,
            header(b"x-amz-invocation-type"),
            header(b"x-amz-log-type"),
            header(b"x-amz-tenant-id"),
            header(b"x-amz-durable-execution-name"),
        )
        known = self._remembered.get(key)
        if known is None:
            known = self._learn(key, operation, labels, request)
        params = known.copy()
        client_context = header(CLIENT_CONTEXT_HEADER)
        if client_context is not None and operation.name != "InvokeAsync":
            params["ClientContext"] = decode_header(client_context)
        return params

    def _learn(
        self, key: tuple[str | bytes | None, ...], operation: Operation, labels: list[bytes], request: Request
    ) -> dict[str, Any]:
        shape = operation.input
        assert shape is not None
        headers = [pair for pair in request.headers if pair[0] != CLIENT_CONTEXT_HEADER]
        params = parse_bound(operation, shape, labels, request.query, headers)
        validate(operation, params)
        if sum(len(part) for part in key if part is not None) <= REMEMBERED_BYTES_MAX:
            if len(self._remembered) >= self._remembered_max:
                del self._remembered[next(iter(self._remembered))]
            self._remembered[key] = params
        return params
