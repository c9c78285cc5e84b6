"""AWS's own managed policies, as far as functions commonly use them.

Any of them may be attached to a role by its ARN. The documents of those in `managed_policies.json` can be read, too, in the
version that the file names; there are some 1,500 others, whose documents are not here: reading those answers NoSuchEntity.
Source: "AWS managed policies" reference, as collected in moto 5.2.5. The ids of these policies are not part of it.
"""

from __future__ import annotations

import functools
import re
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import orjson

from .policies import ManagedPolicy, PolicyVersion

_ARN = re.compile(r"arn:(aws[a-z-]*):iam::aws:policy/([\w+=,.@/-]+)")


def is_aws_managed(arn: str) -> bool:
    """Whether an ARN names a policy of AWS's."""
    return _ARN.fullmatch(arn) is not None


def find_aws_managed(arn: str) -> ManagedPolicy | None:
    """A policy of AWS's whose document is known, under the ARN's own partition; None otherwise."""
    match = _ARN.fullmatch(arn)
    found = None if match is None else aws_managed().get("/" + match[2])
    return None if found is None else replace(found, arn=arn)


@functools.cache
def aws_managed() -> MappingProxyType[str, ManagedPolicy]:
    """The known ones by path and name, in the partition aws, in order of the name."""
    found = {}
    for one in orjson.loads(Path(__file__).with_name("managed_policies.json").read_bytes()):
        version = PolicyVersion(orjson.dumps(one["document"]).decode(), one["updated_ms"])
        found[one["path"] + one["name"]] = ManagedPolicy(
            name=one["name"],
            path=one["path"],
            arn=f"arn:aws:iam::aws:policy{one['path']}{one['name']}",
            id=None,
            created_ms=one["created_ms"],
            updated_ms=one["updated_ms"],
            default=one["version"],
            versions={one["version"]: version},
        )
    return MappingProxyType(found)
