"""The errors that are answers. Each belongs to the domain; its wire form is a row in `api/wire.py`.

A test walks all subclasses and wants a row for each. `message` is what the caller reads, word for word; None stands
for the service's own empty message.
"""

from __future__ import annotations


class LambentError(Exception):
    """Base of every error that is an answer to a caller."""

    def __init__(self, message: str | None) -> None:
        super().__init__(message or "")
        self.message = message


class ValidationFailed(LambentError):
    """One or more constraints of the service model are violated; the message follows the validation grammar."""


class InvalidParameterValue(LambentError):
    """A well-formed parameter has a value the service refuses. `typed=False` leaves `Type` out of the body."""

    def __init__(self, message: str | None, *, typed: bool = True) -> None:
        super().__init__(message)
        self.typed = typed


class ResourceNotFound(LambentError):
    """What the caller named does not exist. `typed=False` leaves `Type` out of the body."""

    def __init__(self, message: str | None, *, typed: bool = True) -> None:
        super().__init__(message)
        self.typed = typed


class FunctionNotFound(ResourceNotFound):
    """No such function, version or alias; `arn` carries the qualifier that was looked for."""

    def __init__(self, arn: str) -> None:
        super().__init__(f"Function not found: {arn}")
        self.arn = arn


class ResourceConflict(LambentError):
    """The resource exists already, or is in a state that refuses the operation."""


class PreconditionFailed(LambentError):
    """The caller's RevisionId is not the latest."""


class AccessDenied(LambentError):
    """The caller may not do this."""


class AliasLimitExceeded(LambentError):
    """The function has as many aliases as it may."""


class PolicyLengthExceeded(LambentError):
    """The resource policy would be larger than the published limit."""


class CodeStorageExceeded(LambentError):
    """The account's code storage is full."""


class RequestEntityTooLarge(LambentError):
    """A body or package is larger than the published limit."""


class UnsupportedMediaType(LambentError):
    """The payload's content type is not JSON."""


class InvalidRequestContent(LambentError):
    """The payload is not JSON, or a header is malformed."""


class TooManyRequests(LambentError):
    """Throttled. `reason` is one of the published throttle reasons."""

    def __init__(self, reason: str, message: str = "Rate Exceeded.", *, retry_after_s: int | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.retry_after_s = retry_after_s


class ServiceFault(LambentError):
    """We failed; the caller did nothing wrong."""


class ResourceNotReady(LambentError):
    """The function's resources are being restored."""


class SnapStartFailed(LambentError):
    """A hook that runs after the restore raised, or what was restored ended."""


class SnapStartTimedOut(LambentError):
    """What was restored did not ask for an event in time."""


class SnapStartRegenerationFailed(LambentError):
    """There is no template (any more), and none could be made."""


class CodeSigningConfigNotFound(ResourceNotFound):
    """The code signing configuration does not exist."""


class CodeVerificationFailed(LambentError):
    """The package's signature is missing, expired, revoked or nobody's who is trusted, and the policy enforces."""


class InvalidCodeSignature(LambentError):
    """The package is not what was signed: refused under every policy."""


class NotServed(LambentError):
    """An operation of the service model that this release does not serve; the message says so and what to do."""


class Unauthenticated(LambentError):
    """The request's signature or credentials are missing, unknown, expired or wrong. `code` is the wire's code."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class DiskFull(ServiceFault):
    """Free disk is below the low-water mark: nothing more is accepted, so that nothing accepted is lost."""
