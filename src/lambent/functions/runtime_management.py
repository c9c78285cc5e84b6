"""When a version's runtime may be replaced, and whether a recursive loop is stopped: two settings of a function.

Pure decisions. Source: API reference, PutRuntimeManagementConfig and PutFunctionRecursionConfig.
"""

from __future__ import annotations

from dataclasses import replace

from ..domain.errors import FunctionNotFound, InvalidParameterValue
from ..domain.names import LATEST, FunctionRef, is_version
from .model import Function, RuntimeManagement

AUTO = RuntimeManagement("Auto")
"""What holds for every version that was not told otherwise."""
MANUAL = "Manual"


def check_qualifier(ref: FunctionRef, qualifier: str | None) -> None:
    """Runtimes are managed by version: an alias is refused before anything is looked up."""
    if qualifier is not None and not is_version(qualifier) and not qualifier.startswith("$"):
        raise InvalidParameterValue(
            f"The provided function name {ref.arn(qualifier)} is invalid. Aliases are not allowed."
        )


def managed(function: Function, qualifier: str | None) -> RuntimeManagement:
    """The setting of $LATEST or a version; raises FunctionNotFound where there is no such version."""
    _check_version(function, qualifier)
    return function.runtime_management.get(qualifier or LATEST, AUTO)


def changed(function: Function, qualifier: str | None, wanted: RuntimeManagement) -> Function:
    """The function with this setting for $LATEST or a version."""
    _check_version(function, qualifier)
    if function.latest.configuration.package_type == "Image":
        raise InvalidParameterValue(
            "Runtime management is not supported for functions with PackageType Image: the image brings its runtime."
        )
    arn = wanted.runtime_version_arn
    if wanted.update_on == MANUAL and arn is None:
        raise InvalidParameterValue("RuntimeVersionArn is required when UpdateRuntimeOn is Manual.")
    if wanted.update_on != MANUAL and arn is not None:
        raise InvalidParameterValue(
            f"RuntimeVersionArn can only be given when UpdateRuntimeOn is Manual, not {wanted.update_on}."
        )
    if arn is not None and arn.split(":")[5] != "runtime":
        raise InvalidParameterValue(
            "Customer-managed runtimes are not served by this release of Lambent; RuntimeVersionArn names a managed "
            f"one (arn:PARTITION:lambda:REGION::runtime:ID), not {arn}."
        )
    if arn is not None and arn.split(":")[3] != function.ref.region:
        raise InvalidParameterValue(f"The runtime version {arn} is not in the function's region {function.ref.region}.")
    key = qualifier or LATEST
    return replace(function, runtime_management={**function.runtime_management, key: wanted})


def pinned(function: Function, version: str) -> str | None:
    """The runtime version that a version is held at; None: it is the machine's."""
    return function.runtime_management.get(version, AUTO).runtime_version_arn


def _check_version(function: Function, qualifier: str | None) -> None:
    if function.find(qualifier) is None:
        raise FunctionNotFound(function.ref.arn(qualifier))
