"""What CloudWatch Logs answers when it refuses, with the service's own codes and words."""

from __future__ import annotations

from ..domain.errors import LambentError


class LogsError(LambentError):
    """An error of the logs door: `code` is the wire's error type, `status` its HTTP status."""

    code = "InvalidParameterException"
    status = 400


class LogsInvalidParameter(LogsError):
    """A parameter is specified incorrectly."""

    code = "InvalidParameterException"


class LogsNotFound(LogsError):
    """The log group or stream does not exist."""

    code = "ResourceNotFoundException"


class LogsAlreadyExists(LogsError):
    """The log group or stream exists."""

    code = "ResourceAlreadyExistsException"


class LogsNotServed(LogsError):
    """An operation that this release does not serve."""

    code = "UnknownOperationException"


class LogsUnavailable(LogsError):
    """The store cannot take it now."""

    code = "ServiceUnavailableException"
    status = 503


def group_not_found() -> LogsNotFound:
    return LogsNotFound("The specified log group does not exist.")


def stream_not_found() -> LogsNotFound:
    return LogsNotFound("The specified log stream does not exist.")
