"""Tenant isolation: whether an invocation names a tenant where one is needed, and nowhere else.

Source: Developer guide, "Tenant isolation"; the first text is the service's own.
"""

from __future__ import annotations

from ..domain.errors import InvalidParameterValue
from .model import Configuration


def check_tenant(configuration: Configuration, tenant_id: str | None) -> None:
    """A tenant id for functions with tenant isolation, none for the others."""
    if configuration.tenancy is None:
        if tenant_id is not None:
            raise InvalidParameterValue("The tenant id is not supported for functions without tenant isolation.")
    elif not tenant_id:
        raise InvalidParameterValue(
            "The invoked function is enabled with tenancy configuration. "
            "Add a valid tenant ID in your request and try again."
        )


def refuse_isolated(configuration: Configuration, feature: str) -> None:
    """For features that know no tenants: `feature` is named in the refusal."""
    if configuration.tenancy is not None:
        raise InvalidParameterValue(f"{feature} is not supported for functions with tenant isolation.")
