"""Aliases: names that point at one version and may give a share of their traffic to another. Pure decisions.

The checks come in the documented order; the texts are the service's, except that of the limit, for which it has none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from ..domain.errors import (
    AliasLimitExceeded,
    FunctionNotFound,
    InvalidParameterValue,
    PreconditionFailed,
    ResourceConflict,
    ResourceNotFound,
)
from ..domain.names import LATEST
from . import moves, provisioned
from .model import Alias, Function

ALIASES_MAX = 1_000
"""Aliases of one function: its record is read and written whole."""
ADDITIONAL_VERSIONS_MAX = 1


def existing(function: Function, name: str) -> Alias:
    """The alias; raises ResourceNotFound with its ARN."""
    alias = function.aliases.get(name)
    if alias is None:
        raise ResourceNotFound(f"Cannot find alias arn: {function.ref.arn(name)}")
    return alias


def created(
    function: Function,
    name: str,
    *,
    version: str,
    description: str,
    weights: Mapping[str, float],
    new_revision: Callable[[], str],
) -> Function:
    """The function with one alias more."""
    _check_version(function, version)
    if name in function.aliases:
        raise ResourceConflict(f"Alias already exists: {function.ref.arn(name)}")
    if len(function.aliases) >= ALIASES_MAX:
        raise AliasLimitExceeded(f"A function has at most {ALIASES_MAX} aliases: delete one that is not needed.")
    _check_weights(function, version, weights)
    return _with(function, Alias(name, version, new_revision(), description, weights))


def updated(
    function: Function,
    name: str,
    *,
    version: str | None = None,
    description: str | None = None,
    weights: Mapping[str, float] | None = None,
    revision_id: str | None = None,
    new_revision: Callable[[], str],
) -> Function:
    """The function with the alias changed where something is given; it has a new RevisionId in any case.

    weights: empty removes them, None keeps them; what is kept must go with a new version as well.
    """
    alias = existing(function, name)
    if revision_id is not None and revision_id != alias.revision_id:
        raise PreconditionFailed(moves.STALE)
    changed = Alias(
        name,
        alias.version if version is None else version,
        new_revision(),
        alias.description if description is None else description,
        alias.weights if weights is None else weights,
    )
    _check_version(function, changed.version)
    _check_weights(function, changed.version, changed.weights)
    provisioned.check_move(function, name, (changed.version, *changed.weights))
    return _with(function, changed)


def deleted(function: Function, name: str) -> Function:
    """The function without the alias and what was set for it; nothing happens when there is none."""
    if name not in function.aliases:
        return function
    aliases = {one: alias for one, alias in function.aliases.items() if one != name}
    return moves.without_settings(replace(function, aliases=aliases), name)


def drawn(alias: Alias, random: Callable[[], float]) -> str:
    """The version one invocation runs. random: draws from 0 up to, not including, 1; asked only where there is a choice.

    A weight of 0 is never drawn, one of 1 always.
    """
    if alias.weights:
        left = random()
        for version, weight in alias.weights.items():
            if left < weight:
                return version
            left -= weight
    return alias.version


def _with(function: Function, alias: Alias) -> Function:
    aliases = {**function.aliases, alias.name: alias}
    return replace(function, aliases={name: aliases[name] for name in sorted(aliases)})


def _check_version(function: Function, version: str) -> None:
    if version != LATEST and version not in function.versions:
        raise FunctionNotFound(function.ref.arn(version))


def _check_weights(function: Function, primary: str, weights: Mapping[str, float]) -> None:
    if len(weights) > ADDITIONAL_VERSIONS_MAX:
        raise InvalidParameterValue("Number of items in AdditionalVersionWeights cannot be greater than 1")
    if primary in weights:
        raise InvalidParameterValue(
            f"Invalid function version {primary}. Function version {primary} is already included in routing "
            "configuration."
        )
    if weights and primary == LATEST:
        raise InvalidParameterValue(
            "$LATEST is not supported for an alias pointing to more than 1 version", typed=False
        )
    for version in weights:
        _check_version(function, version)
