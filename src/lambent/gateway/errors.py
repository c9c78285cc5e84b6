"""Errors of the gateway's control operations: each brings its own code and status, as the service words them."""

from __future__ import annotations

from lambent.domain.errors import LambentError


class GatewayError(LambentError):
    """Base of what the control operations answer."""

    code = "InternalServerErrorException"
    status = 500


class NotFound(GatewayError):
    code, status = "NotFoundException", 404


class BadRequest(GatewayError):
    code, status = "BadRequestException", 400


class Conflict(GatewayError):
    code, status = "ConflictException", 409


class LimitExceeded(GatewayError):
    """The service has one code for rates and for numbers of things."""

    code, status = "TooManyRequestsException", 429
