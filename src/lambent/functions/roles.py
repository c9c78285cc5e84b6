"""Which roles a function may be given."""

from __future__ import annotations

from typing import Protocol

from ..domain.errors import AccessDenied, InvalidParameterValue

LAMBDA = "lambda.amazonaws.com"
"""The service that assumes a function's role."""


class RoleCheck(Protocol):
    """What is known of roles."""

    def trusts(self, arn: str, service: str, /) -> bool | None:
        """Whether a role that is kept here lets a service assume it; None: no such role is kept here."""


def check_role(arn: str, account: str, roles: RoleCheck, *, only_own: bool) -> None:
    """Whether functions of an account may run as a role. A role that is not kept here is taken as it is named: it may
    stand for one of the service's. only_own: not if it names another account."""
    trusts = roles.trusts(arn, LAMBDA)
    if arn.split(":")[4] != account and (only_own or trusts is not None):
        raise AccessDenied("Cross-account pass role is not allowed.")
    if trusts is False:
        raise InvalidParameterValue("The role defined for the function cannot be assumed by Lambda.")
