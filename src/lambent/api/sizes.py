"""How large a request may be, decided at the end of its head, and what is said about one that is larger.

Source: the service's quotas; the texts are the service's own. Limits are inclusive.
"""

from __future__ import annotations

from typing import Any

from lambent.api.table import INVOKE_FAMILY
from lambent.domain.errors import RequestEntityTooLarge
from lambent.domain.limits import (
    EVENT_REQUEST_BYTES_MAX,
    INVOKE_REQUEST_BYTES_MAX,
    REQUEST_BYTES_MAX,
    ZIP_DIRECT_BYTES_MAX,
)

INVOKE_SLACK_BYTES = 1 << 20
"""Read beyond an invocation's limit, so that the usual oversized request learns its exact size even when chunked."""

UPLOAD_SLACK_BYTES = 4 << 20
"""Read beyond an upload's limit, to tell a zip that is too large from a request that is."""

INVOKE_ASYNC_BYTES_MAX = 262_144
CONTROL_BYTES_MAX = 6 << 20
"""Every other operation."""
CHECKPOINT_BYTES_MAX = 2 * CONTROL_BYTES_MAX
"""A checkpoint may carry one payload of 6 MB, escaped and beside other members."""
TARGET_BYTES_MAX = 6 << 20
"""A request of another service's JSON protocol."""

UPLOADS = {"CreateFunction": "Code", "UpdateFunctionCode": None, "PublishLayerVersion": "Content"}
"""Operations with code in their body, and the member that `ZipFile` stands in."""


def read_limit(operation: str) -> int:
    """Bytes of body to collect for an operation before `refuse_unread` speaks."""
    if operation in INVOKE_FAMILY:
        return INVOKE_REQUEST_BYTES_MAX + INVOKE_SLACK_BYTES
    if operation in UPLOADS:
        return REQUEST_BYTES_MAX + UPLOAD_SLACK_BYTES
    if operation == "CheckpointDurableExecution":
        return CHECKPOINT_BYTES_MAX
    return CONTROL_BYTES_MAX


def refuse_unread(operation: str, invocation_type: str, size: int, limit: int) -> RequestEntityTooLarge:
    """The error for a body that was not collected because it exceeds `read_limit`.

    size: its declared length, or what had been read of it. An upload this large is refused as too large a zip, because
    nothing else in these operations can be: both limits are exceeded then, and the zip's message wins.
    """
    if operation in INVOKE_FAMILY:
        return _payload_too_large(operation, invocation_type, size)
    if operation in UPLOADS:
        return _zip_too_large()
    return RequestEntityTooLarge(f"Request must be smaller than {limit} bytes for the {operation} operation")


def check_invoke_async(size: int) -> None:
    """Raises RequestEntityTooLarge for an InvokeAsync over its own limit, which is below that of an Event."""
    if size > INVOKE_ASYNC_BYTES_MAX:
        raise _payload_too_large("InvokeAsync", "", size)


def check_upload(operation: str, size: int, values: dict[str, Any]) -> None:
    """Raises RequestEntityTooLarge for an upload: first its zip's size speaks, then the whole request's.

    size: bytes of the body. values: the parsed input.
    """
    inside = UPLOADS[operation]
    zip_file = (values if inside is None else values.get(inside, {})).get("ZipFile", b"")
    if len(zip_file) > ZIP_DIRECT_BYTES_MAX:
        raise _zip_too_large()
    if size > REQUEST_BYTES_MAX:
        raise RequestEntityTooLarge(
            f"Request must be smaller than {REQUEST_BYTES_MAX} bytes for the {operation} operation"
        )


def _payload_limit(operation: str, invocation_type: str) -> int:
    if operation == "InvokeAsync":
        return INVOKE_ASYNC_BYTES_MAX
    return EVENT_REQUEST_BYTES_MAX if invocation_type == "Event" else INVOKE_REQUEST_BYTES_MAX


def _payload_too_large(operation: str, invocation_type: str, size: int) -> RequestEntityTooLarge:
    named = "Event" if operation == "InvokeAsync" or invocation_type == "Event" else "RequestResponse"
    return RequestEntityTooLarge(
        f"{size} byte payload is too large for the {named} invocation type "
        f"(limit {_payload_limit(operation, invocation_type)} bytes)"
    )


def _zip_too_large() -> RequestEntityTooLarge:
    return RequestEntityTooLarge(f"Zipped size must be smaller than {ZIP_DIRECT_BYTES_MAX} bytes")
