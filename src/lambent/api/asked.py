"""The address at which the request in hand was asked: what answers with addresses names one that its client can reach."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Asked:
    """As the client wrote it."""

    host: str = ""
    """The Host field: name and port; empty: none was sent."""
    scheme: str = "http"
    """http or https."""


asked_at: ContextVar[Asked] = ContextVar("asked_at", default=Asked())  # noqa: B039 - frozen
"""Set by the door in the task that serves the request."""
