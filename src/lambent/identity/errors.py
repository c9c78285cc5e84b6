"""Errors of IAM and STS: each brings its own code and status, as those services word them."""

from __future__ import annotations

from lambent.domain.errors import LambentError


class IamError(LambentError):
    """Base of what IAM and STS answer."""

    code = "ServiceFailure"
    status = 500


class NoSuchEntity(IamError):
    code, status = "NoSuchEntity", 404


class EntityAlreadyExists(IamError):
    code, status = "EntityAlreadyExists", 409


class DeleteConflict(IamError):
    code, status = "DeleteConflict", 409


class LimitExceeded(IamError):
    code, status = "LimitExceeded", 409


class InvalidInput(IamError):
    code, status = "InvalidInput", 400


class MalformedPolicyDocument(IamError):
    code, status = "MalformedPolicyDocument", 400


class ValidationError(IamError):
    code, status = "ValidationError", 400


class Denied(IamError):
    """The caller may not do this."""

    code, status = "AccessDenied", 403
