"""Provisioned concurrency as a setting: who may ask for how much, and what it means for each version.

Decisions over frozen values, in the order the service checks. What really is there, `environments/provisioning.py` knows.
A configuration belongs to a published version or to an alias; an alias with weights shares its number out among the
versions it points to. Source: API reference, PutProvisionedConcurrencyConfig; Developer guide, "Configuring provisioned
concurrency".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ..domain.errors import FunctionNotFound, InvalidParameterValue, ResourceConflict, ResourceNotFound
from ..domain.names import LATEST, FunctionRef, is_version
from .account import Accounts
from .model import Function, Provisioned
from .moves import Stamp
from .tenancy import refuse_isolated


@dataclass(frozen=True, slots=True)
class Wish:
    """What one configuration asks for."""

    requested: int
    modified_ms: int
    shares: Mapping[str, int]
    """Environments by version; they add up to `requested`."""


def wishes(function: Function) -> dict[str, Wish]:
    """What each qualifier's configuration means now."""
    return {
        qualifier: Wish(one.requested, one.modified_ms, _shares(function, qualifier, one.requested))
        for qualifier, one in function.provisioned.items()
        if find_targets(function, qualifier)
    }


def _shares(function: Function, qualifier: str, requested: int) -> dict[str, int]:
    """An alias's number in proportion to its weights: additional versions by the nearest whole number, the primary the
    rest."""
    alias = function.aliases.get(qualifier)
    if alias is None:
        return {qualifier: requested}
    shares: dict[str, int] = {}
    left = requested
    for version, weight in alias.weights.items():
        share = min(left, int(requested * weight + 0.5))
        left -= share
        if share:
            shares[version] = share
    if left:
        shares[alias.version] = left
    return shares


def find_targets(function: Function, qualifier: str) -> tuple[str, ...]:
    """The versions that a qualifier's configuration is for; empty when there is no such version or alias."""
    if is_version(qualifier):
        return (qualifier,) if qualifier in function.versions else ()
    alias = function.aliases.get(qualifier)
    return () if alias is None else (alias.version, *alias.weights)


def check_read(qualifier: str) -> None:
    """Get and Delete are for what can have a configuration."""
    if qualifier == LATEST:
        raise InvalidParameterValue("The function resource provided must be an alias or a published version.")


def existing_targets(function: Function | None, ref: FunctionRef, qualifier: str) -> tuple[Function, tuple[str, ...]]:
    """The function and the versions meant; raises the service's not-found for a version or for an alias, also when the
    function itself is missing."""
    targets = () if function is None else find_targets(function, qualifier)
    if function is None or not targets:
        if is_version(qualifier):
            raise FunctionNotFound(ref.arn(qualifier))
        raise ResourceNotFound(f"Cannot find alias arn: {ref.arn(qualifier)}")
    return function, targets


def put(
    function: Function | None, ref: FunctionRef, qualifier: str, requested: int, accounts: Accounts, stamp: Stamp
) -> Function:
    """The function with `requested` (>= 1) environments to be kept for a version or an alias."""
    check_put(qualifier)
    function, targets = existing_targets(function, ref, qualifier)
    if LATEST in targets:
        check_put(LATEST)
    _check_alone(function, qualifier, targets)
    for version in targets:
        _check_kind(function, version)
    accounts.check_provision(function, qualifier, requested)
    # The configuration is part of what the versions' RevisionIds stand for.
    versions = {
        number: replace(version, revision_id=stamp.new_revision()) if number in targets else version
        for number, version in function.versions.items()
    }
    return replace(
        function,
        versions=versions,
        provisioned={**function.provisioned, qualifier: Provisioned(requested, stamp.now_ms)},
    )


def check_put(qualifier: str) -> None:
    """Unpublished code is never provisioned."""
    if qualifier == LATEST:
        raise InvalidParameterValue(
            "Provisioned Concurrency Configs cannot be applied to unpublished function versions."
        )


def check_move(function: Function, alias: str, targets: tuple[str, ...]) -> None:
    """Whether an alias may point to these versions, as far as its configuration goes, if it has one."""
    if alias in function.provisioned:
        if LATEST in targets:
            check_put(LATEST)
        _check_alone(function, alias, targets)
        for version in targets:
            _check_kind(function, version)


def _check_alone(function: Function, qualifier: str, targets: tuple[str, ...]) -> None:
    """A version is provisioned by itself or through aliases, not both."""
    if not is_version(qualifier):
        if any(version in function.provisioned for version in targets):
            raise ResourceConflict(
                "Alias can't be used for Provisioned Concurrency configuration on an already Provisioned version"
            )
    elif any(not is_version(other) and qualifier in find_targets(function, other) for other in function.provisioned):
        raise ResourceConflict("Version is pointed by a Provisioned Concurrency alias")


def _check_kind(function: Function, number: str) -> None:
    configuration = function.versions[number].configuration if number in function.versions else None
    if configuration is None:
        return
    if configuration.snap_start == "PublishedVersions":
        raise InvalidParameterValue(
            "Provisioned Concurrency is not supported for SnapStart enabled functions. "
            "Publish a version with SnapStart.ApplyOn None."
        )
    refuse_isolated(configuration, "Provisioned Concurrency")


def without(function: Function | None, ref: FunctionRef, qualifier: str) -> Function:
    """The function without a qualifier's configuration, which need not have been there."""
    check_read(qualifier)
    function, _ = existing_targets(function, ref, qualifier)
    if qualifier not in function.provisioned:
        return function
    return replace(
        function, provisioned={one: value for one, value in function.provisioned.items() if one != qualifier}
    )


def in_order(function: Function) -> list[str]:
    """Qualifiers that have a configuration: versions by number, then aliases by name."""
    return sorted(function.provisioned, key=sort_key)


def sort_key(qualifier: str) -> tuple[bool, int, str]:
    """Where a qualifier stands in that order."""
    numbered = is_version(qualifier)
    return not numbered, int(qualifier) if numbered else 0, qualifier
