"""What the door tells handlers about a request beside its input: which attempt of a client it is."""

from __future__ import annotations

from contextvars import ContextVar

SDK_INVOCATION_ID = b"amz-sdk-invocation-id"
"""The header in which SDKs name one call; all retries of the call carry the same value."""

sdk_invocation_id: ContextVar[str | None] = ContextVar("sdk_invocation_id", default=None)
"""Set by the door in the task that runs a handler; None: the client did not say."""
