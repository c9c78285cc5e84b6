"""Function URL configurations: one for $LATEST and one for each alias, each with an address of its own.

Pure decisions over a function, in the service's words. Source: API reference, CreateFunctionUrlConfig and its
neighbours; recordings of the service's answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..domain.errors import InvalidParameterValue, ResourceConflict, ResourceNotFound
from .model import UNQUALIFIED, Function, Url

_METHODS = ("GET", "PUT", "HEAD", "POST", "PATCH", "DELETE", "*")
"""Methods that a preflight may be told; OPTIONS is the preflight itself."""


@dataclass(frozen=True, slots=True)
class WantedUrl:
    """What a caller asks for; None: not given."""

    auth_type: str | None = None
    cors: Mapping[str, Any] | None = None
    """By the API's names."""
    invoke_mode: str | None = None


def created(function: Function, alias: str | None, wanted: WantedUrl, *, id: str, now_ms: int) -> Function:
    """The function with a new URL. id: 32 lower-case letters and digits that no other URL has."""
    check_target(function, alias)
    if function.latest.configuration.tenancy is not None:
        raise InvalidParameterValue("Function URLs are not supported for functions with tenant isolation.")
    key = alias or UNQUALIFIED
    if key in function.urls:
        raise ResourceConflict(
            f"Failed to create function url config for [functionArn = {function.ref.arn(alias)}]. "
            "Error message:  FunctionUrlConfig exists for this Lambda function"
        )
    assert wanted.auth_type is not None  # the model requires it
    made = Url(id, wanted.auth_type, now_ms, cors=_cors(wanted.cors), invoke_mode=wanted.invoke_mode)
    return _with(function, key, made)


def updated(function: Function, alias: str | None, wanted: WantedUrl, *, now_ms: int) -> Function:
    """The function with what was given changed; a Cors object replaces the old one, an empty one removes it."""
    check_target(function, alias)
    stored = configured(function, alias)
    cors = stored.cors
    if wanted.cors is not None:
        if wanted.cors and not wanted.cors.get("AllowOrigins"):
            raise InvalidParameterValue("You can't leave AllowOrigins as empty when Cors is enabled.")
        cors = _cors(wanted.cors)
    changed = replace(
        stored,
        auth_type=wanted.auth_type or stored.auth_type,
        cors=cors,
        invoke_mode=wanted.invoke_mode or stored.invoke_mode,
        modified_ms=now_ms,
    )
    return _with(function, alias or UNQUALIFIED, changed)


def removed(function: Function, alias: str | None) -> Function:
    """The function without this URL; raises ResourceNotFound where there is none."""
    configured(function, alias)
    key = alias or UNQUALIFIED
    return replace(function, urls={one: url for one, url in function.urls.items() if one != key})


def configured(function: Function, alias: str | None) -> Url:
    """The URL of $LATEST (None) or an alias; raises ResourceNotFound where there is none."""
    url = function.urls.get(alias or UNQUALIFIED)
    if url is None:
        raise not_configured()
    return url


def check_target(function: Function, alias: str | None) -> None:
    """Whether the alias is there that a URL is asked for."""
    if alias is not None and alias not in function.aliases:
        raise no_function()


def no_function() -> ResourceNotFound:
    return ResourceNotFound("Function does not exist")


def not_configured() -> ResourceNotFound:
    return ResourceNotFound("The resource you requested does not exist.")


def _cors(given: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """The members with a value; None when there is none."""
    if given is None:
        return None
    for method in given.get("AllowMethods") or ():
        if method not in _METHODS:
            raise InvalidParameterValue(
                f"Invalid method {method} in AllowMethods. Methods that can be allowed: {', '.join(_METHODS)}"
            )
    return {name: value for name, value in given.items() if value is not None and value != []} or None


def _with(function: Function, key: str, url: Url) -> Function:
    # The unqualified one sorts first: its key is empty.
    return replace(function, urls=dict(sorted({**function.urls, key: url}.items())))
