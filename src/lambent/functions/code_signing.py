"""Which code signing configuration a function has. It decides about deployments to come, never about deployed code."""

from __future__ import annotations

from dataclasses import replace

from ..domain.errors import InvalidParameterValue
from .model import Function


def check_package_type(package_type: str) -> None:
    """Only zips are signed; raises InvalidParameterValue for container images."""
    if package_type == "Image":
        raise InvalidParameterValue("Code signing is not supported for functions created with container images.")


def attached(function: Function, arn: str) -> Function:
    """The function with this configuration, in place of any other."""
    check_package_type(function.latest.configuration.package_type)
    return function if function.code_signing_arn == arn else replace(function, code_signing_arn=arn)


def detached(function: Function) -> Function:
    """The function without one."""
    check_package_type(function.latest.configuration.package_type)
    return function if function.code_signing_arn is None else replace(function, code_signing_arn=None)
