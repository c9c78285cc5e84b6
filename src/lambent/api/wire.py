"""The only table from errors to their form on the wire.

An error answer is a status, the header `x-amzn-ErrorType` with the bare code, and a JSON body with the message and,
usually, `Type`. The service is not uniform about the message member's case, and typed SDKs bind the modelled one, so the
exceptions of the model take theirs from the operation table. Codes the model does not have are rows of their own.
Source: API reference, "Common errors"; the published service model; recordings for which answers lack `Type`.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import orjson

from lambent.api.parse import Unreadable
from lambent.api.routing import UnknownOperation, UnreadablePath
from lambent.api.table import load_table
from lambent.domain import errors
from lambent.domain.errors import LambentError

log = logging.getLogger(__name__)

CONTENT_TYPE = b"application/json"


@dataclass(frozen=True, slots=True)
class WireError:
    """How one kind of error looks to a client; `type` None leaves `Type` out of the body."""

    status: int
    code: str
    message_member: str = "message"
    type: str | None = None


def _modelled() -> dict[str, WireError]:
    return {
        code: WireError(exception.status, code, exception.message_member, exception.type)
        for code, exception in load_table().exceptions.items()
    }


MODELLED: dict[str, WireError] = _modelled()
"""Every exception of the service model by its code, ready to be given to an error class of a new resource."""


class Modelled(LambentError):
    """An exception of the model that no concept has a class for; raised by resource modules.

    code: a key of MODELLED (KeyError otherwise). typed: False leaves `Type` out.
    """

    def __init__(self, code: str, message: str | None, *, typed: bool = True) -> None:
        super().__init__(message)
        self.row = MODELLED[code]
        self.typed = typed


class QueryError(LambentError):
    """An error of the query protocol itself, with a code and a status of its own."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.status = status


VALIDATION = WireError(400, "ValidationException")
UNKNOWN_OPERATION = WireError(404, "UnknownOperationException")
METHOD_NOT_ALLOWED = WireError(405, "UnknownOperationException")
SERVICE = MODELLED["ServiceException"]

WIRE: dict[type[LambentError], WireError] = {
    LambentError: SERVICE,
    errors.ValidationFailed: VALIDATION,
    errors.InvalidParameterValue: MODELLED["InvalidParameterValueException"],
    errors.ResourceNotFound: MODELLED["ResourceNotFoundException"],
    errors.FunctionNotFound: MODELLED["ResourceNotFoundException"],
    errors.ResourceConflict: MODELLED["ResourceConflictException"],
    errors.PreconditionFailed: MODELLED["PreconditionFailedException"],
    errors.AccessDenied: WireError(403, "AccessDeniedException", "Message"),
    errors.AliasLimitExceeded: MODELLED["AliasLimitExceededException"],
    errors.PolicyLengthExceeded: MODELLED["PolicyLengthExceededException"],
    errors.CodeStorageExceeded: MODELLED["CodeStorageExceededException"],
    errors.RequestEntityTooLarge: WireError(413, "RequestEntityTooLargeException"),
    errors.UnsupportedMediaType: MODELLED["UnsupportedMediaTypeException"],
    errors.InvalidRequestContent: MODELLED["InvalidRequestContentException"],
    errors.TooManyRequests: MODELLED["TooManyRequestsException"],
    errors.ServiceFault: SERVICE,
    errors.ResourceNotReady: MODELLED["ResourceNotReadyException"],
    errors.SnapStartFailed: MODELLED["SnapStartException"],
    errors.SnapStartTimedOut: MODELLED["SnapStartTimeoutException"],
    errors.SnapStartRegenerationFailed: MODELLED["SnapStartRegenerationFailureException"],
    errors.CodeSigningConfigNotFound: MODELLED["CodeSigningConfigNotFoundException"],
    errors.CodeVerificationFailed: MODELLED["CodeVerificationFailedException"],
    errors.InvalidCodeSignature: MODELLED["InvalidCodeSignatureException"],
    errors.NotServed: WireError(501, "NotImplementedException", "message", "Service"),
    errors.Unauthenticated: WireError(403, "UnrecognizedClientException"),  # the error's own code replaces this one
    errors.DiskFull: SERVICE,
    Unreadable: WireError(400, "SerializationException"),
    UnreadablePath: WireError(400, "SerializationException"),
    UnknownOperation: UNKNOWN_OPERATION,
    Modelled: SERVICE,  # the error's own row replaces this one
    QueryError: SERVICE,  # likewise
}


_OWN_ROWS = (Modelled, QueryError, errors.Unauthenticated, UnknownOperation)
"""Errors that say for themselves how they look."""


def wire_error(error: BaseException) -> WireError:
    """The nearest ancestor's row; what nobody modelled is our fault."""
    row = WIRE.get(type(error))  # type: ignore[arg-type]  # what is no LambentError has no row
    if row is not None and type(error) not in _OWN_ROWS:
        return row
    if isinstance(error, Modelled):
        return error.row
    if isinstance(error, errors.Unauthenticated):
        return WireError(403, error.code)
    if isinstance(error, LambentError) and isinstance(error, Coded):
        return WireError(error.status, error.code)
    if isinstance(error, UnknownOperation) and error.allowed:
        return METHOD_NOT_ALLOWED
    return next((WIRE[kind] for kind in type(error).__mro__ if kind in WIRE), SERVICE)


@runtime_checkable
class Coded(Protocol):
    """An error of another service's, which brings its own code and status along."""

    code: str
    status: int


@dataclass(frozen=True, slots=True)
class ErrorAnswer:
    """An error, ready to be sent: everything but the headers that the request decides."""

    status: int
    code: str
    message: str | None
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes


def render(error: BaseException, request_id: str) -> ErrorAnswer:
    """Word an error for the wire. What is not a LambentError is logged with its traceback and the request id."""
    row = wire_error(error)
    if isinstance(error, LambentError):
        message = error.message
    else:
        log.error("request %s failed", request_id, exc_info=error)
        message = f"Internal error. Its details are in the server's log under request id {request_id}."
    document: dict[str, Any] = {}
    headers: list[tuple[bytes, bytes]] = [(b"x-amzn-errortype", row.code.encode())]
    if isinstance(error, errors.TooManyRequests):
        document["Reason"] = error.reason
        if error.retry_after_s is not None:
            headers.append((b"retry-after", str(error.retry_after_s).encode()))
    if isinstance(error, errors.NotServed) and message is not None:
        # Older SDKs read the message of a code that their model lacks from here, and from nowhere else.
        headers.append((b"x-amzn-error-message", message.encode("latin-1", "replace")))
    if isinstance(error, UnknownOperation) and error.allowed:
        headers.append((b"allow", ", ".join(error.allowed).encode()))
    if row.type is not None and getattr(error, "typed", True):
        document["Type"] = row.type
    document[row.message_member] = message
    return ErrorAnswer(row.status, row.code, message, tuple(headers), _dumps(document))


def _dumps(document: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(document)
    except orjson.JSONEncodeError:  # a lone surrogate in a message that quotes the caller
        return orjson.dumps({k: v.encode("utf-8", "replace").decode() if v else v for k, v in document.items()})
