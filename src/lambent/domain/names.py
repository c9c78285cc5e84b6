"""Accounts, regions, function names, qualifiers and ARNs.

Source: the service's naming rules as stated in the API documentation of FunctionName and Qualifier; the patterns'
optional parts accept odd strings by accident and are read here as the service reads them (an ARN that stops after
`function` names a function called `function`).
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import lru_cache

from .errors import AccessDenied, InvalidParameterValue, ResourceNotFound

LATEST = "$LATEST"

_ACCOUNT = re.compile(r"\d{12}")
_FUNCTION_ARN = re.compile(
    r"arn:[a-z-]+:lambda:([a-z0-9-]+):([0-9]{12}):function:([a-zA-Z0-9-_]+)(?::(\$LATEST|[a-zA-Z0-9-_]+))?"
)


def partition_of(region: str) -> str:
    """The partition that an ARN in `region` carries: aws, aws-cn, aws-us-gov."""
    if region.startswith("cn-"):
        return "aws-cn"
    if region.startswith("us-gov-"):
        return "aws-us-gov"
    return "aws"


def is_account(text: str) -> bool:
    """Whether `text` is a 12-digit account id."""
    return _ACCOUNT.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class Scope:
    """Where a request acts: one account in one region. Nothing crosses a scope."""

    account: str
    region: str

    @property
    def partition(self) -> str:
        return partition_of(self.region)


@lru_cache(maxsize=4_096)
def _function_arn(account: str, region: str, name: str) -> str:
    return f"arn:{partition_of(region)}:lambda:{region}:{account}:function:{name}"


@dataclass(frozen=True, slots=True)
class FunctionRef:
    """One function in one account and region."""

    account: str
    region: str
    name: str

    @property
    def scope(self) -> Scope:
        return Scope(self.account, self.region)

    def arn(self, qualifier: str | None = None) -> str:
        """The function's ARN, unqualified or with a version or alias appended."""
        base = _function_arn(self.account, self.region, self.name)
        return base if qualifier is None else f"{base}:{qualifier}"


def layer_arn(scope: Scope, name: str, number: int | None = None) -> str:
    """The ARN of a layer, or of one version of it."""
    base = f"arn:{scope.partition}:lambda:{scope.region}:{scope.account}:layer:{name}"
    return base if number is None else f"{base}:{number}"


_LAYER_ARN = re.compile(r"arn:[^:]+:lambda:([^:]+):(\d{12}):layer:([^:]+)(?::(\d+))?")


def parse_layer_arn(arn: str) -> tuple[Scope, str, int | None] | None:
    """Whose layer an ARN names, its name, and the version where one is given; None: no layer's ARN."""
    parsed = _LAYER_ARN.fullmatch(arn)
    if parsed is None:
        return None
    return Scope(parsed[2], parsed[1]), parsed[3], None if parsed[4] is None else int(parsed[4])


@dataclass(frozen=True, slots=True)
class FunctionName:
    """A parsed FunctionName: the function meant and the qualifier that stood in the name, if any."""

    ref: FunctionRef
    qualifier: str | None


def parse_function_name(text: str, scope: Scope, *, cross_account: bool = False) -> FunctionName:
    """Read a name, `name:qualifier`, a partial or a full ARN, each optionally with a qualifier.

    `text` has already passed the model's pattern. `cross_account`: whether the operation may name another account's
    function; those that may not answer 403 with an empty message.
    Raises ResourceNotFound for another region's ARN, AccessDenied for another account's.
    """
    parts = text.split(":")
    region, account = scope.region, scope.account
    if parts[0] == "arn" and len(parts) >= 6:
        # arn:partition:lambda:region:account:function[:name[:qualifier]]
        region, account = parts[3], parts[4]
        parts = parts[5:]
        if len(parts) > 1 and parts[0] == "function":
            parts = parts[1:]
    elif len(parts) > 1 and is_account(parts[0]):
        account = parts[0]
        parts = parts[1:]
        if len(parts) > 1 and parts[0] == "function":
            parts = parts[1:]
    elif len(parts) > 1 and parts[0] == "function":
        parts = parts[1:]
    name = parts[0]
    qualifier = parts[1] if len(parts) > 1 else None
    if region != scope.region:
        raise ResourceNotFound(f"Functions from '{region}' are not reachable in this region ('{scope.region}')")
    if account != scope.account and not cross_account:
        raise AccessDenied(None)
    return FunctionName(FunctionRef(account, region, name), qualifier)


def parse_function_arn(arn: str) -> FunctionName | None:
    """Read a full function ARN as configurations carry it, with or without a qualifier; None for anything else."""
    match = _FUNCTION_ARN.fullmatch(arn)
    return None if match is None else FunctionName(FunctionRef(match[2], match[1], match[3]), match[4])


def merge_qualifier(named: FunctionName, parameter: str | None) -> str | None:
    """The one qualifier meant by a name and a Qualifier parameter; both given must agree."""
    if named.qualifier is not None and parameter is not None and named.qualifier != parameter:
        raise InvalidParameterValue(
            "The derived qualifier from the function name does not match the specified qualifier."
        )
    return parameter if parameter is not None else named.qualifier


def is_version(qualifier: str) -> bool:
    """Whether a qualifier is a published version's number; everything else but $LATEST is an alias."""
    return qualifier.isascii() and qualifier.isdigit()


@lru_cache(maxsize=256)
def runtime_version_arn(region: str, runtime: str) -> str:
    """The ARN of the runtime version that serves `runtime`: stable between reads, different for each identifier."""
    digest = hashlib.sha256(f"lambent runtime {runtime}".encode()).hexdigest()
    return f"arn:{partition_of(region)}:lambda:{region}::runtime:{digest}"
