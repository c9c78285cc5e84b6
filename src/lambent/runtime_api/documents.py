"""Answers of the Runtime API that are the same every time."""

from __future__ import annotations

import orjson

from lambent.environments.channel import RuntimeEvent
from lambent.http import Exchange

from .machine import Refused

JSON = ((b"Content-Type", b"application/json"),)
ACCEPTED = b'{"status":"OK"}'

TELEMETRY_NOT_SERVED = Refused(202, "Telemetry.NotSupported", "Telemetry API is not supported")
LOGS_NOT_SERVED = Refused(202, "Logs.NotSupported", "Logs API is not supported")


def refuse(exchange: Exchange, refused: Refused) -> None:
    """The error document: `errorMessage` and `errorType`, never anything else."""
    document = {"errorMessage": refused.message, "errorType": refused.error_type}
    exchange.respond(refused.status, JSON, orjson.dumps(document))


def accept(exchange: Exchange) -> None:
    """202 for a posted result."""
    exchange.respond(202, JSON, ACCEPTED)


def event_headers(event: RuntimeEvent, invocation_id: str) -> list[tuple[bytes, bytes]]:
    """Header fields of an event. A field without a value stays away; Content-Type is always there (the service's
    Python client fails without it)."""
    headers = [
        (b"Content-Type", event.content_type.encode("latin-1", "replace") or b"application/json"),
        (b"Lambda-Runtime-Aws-Request-Id", event.request_id.encode()),
        (b"Lambda-Runtime-Deadline-Ms", b"%d" % event.deadline_ms),
        (b"Lambda-Runtime-Invocation-Id", invocation_id.encode()),
    ]
    for name, value in (
        (b"Lambda-Runtime-Invoked-Function-Arn", event.invoked_arn),
        (b"Lambda-Runtime-Trace-Id", event.trace_id),
        (b"Lambda-Runtime-Client-Context", event.client_context),
        (b"Lambda-Runtime-Cognito-Identity", event.cognito_identity),
        (b"Lambda-Runtime-Aws-Tenant-Id", event.tenant_id),
    ):
        if value:
            # A client context is the caller's JSON: a line break in it is white space to JSON and poison to HTTP.
            headers.append((name, value.translate(_ONE_LINE).encode()))
    return headers


_ONE_LINE = {0x0A: " ", 0x0D: " ", 0x00: None}
