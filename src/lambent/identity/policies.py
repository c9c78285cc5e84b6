"""Managed policies and their versions: what is kept of one, and how it may change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace

import orjson

from .errors import DeleteConflict, EntityAlreadyExists, LimitExceeded, NoSuchEntity
from .grammar import check_policy
from .roles import tagged

VERSIONS_PER_POLICY_MAX = 5
POLICY_CHARS_MAX = 6_144
"""One version's document, without white space."""
POLICIES_PER_ACCOUNT_MAX = 1_500


def _nothing() -> Mapping[str, str]:
    return {}


@dataclass(frozen=True, slots=True)
class PolicyVersion:
    """One document of a managed policy."""

    document: str
    created_ms: int


@dataclass(frozen=True, slots=True)
class ManagedPolicy:
    """A policy that exists by itself: an account's own, or one of AWS's."""

    name: str
    path: str
    arn: str
    id: str | None
    """ANPA and 17 characters; None for AWS's, whose ids are not published."""
    created_ms: int
    updated_ms: int
    default: str
    """The version in force: v1, v2, …"""
    versions: Mapping[str, PolicyVersion]
    next_version: int = 2
    """Numbers are never used again."""
    description: str | None = None
    tags: Mapping[str, str] = field(default_factory=_nothing)

    def version(self, name: str) -> PolicyVersion:
        found = self.versions.get(name)
        if found is None:
            raise NoSuchEntity(f"Policy {self.arn} version {name} does not exist or is not attachable.")
        return found


def encode_policy(policy: ManagedPolicy) -> bytes:
    """A policy as the store keeps it."""
    return orjson.dumps(asdict(policy))


def decode_policy(document: bytes) -> ManagedPolicy:
    """The inverse of `encode_policy`."""
    members = orjson.loads(document)
    members["versions"] = {name: PolicyVersion(**version) for name, version in members["versions"].items()}
    return ManagedPolicy(**members)


def existing(policy: ManagedPolicy | None, arn: str) -> ManagedPolicy:
    """The policy, if it is there under exactly this ARN."""
    if policy is None or policy.arn != arn:
        raise NoSuchEntity(f"Policy {arn} was not found.")
    return policy


def created(old: ManagedPolicy | None, new: ManagedPolicy, policies: int) -> ManagedPolicy:
    """A policy where there was none of its name, whatever the case. policies: how many the account has."""
    if old is not None:
        raise EntityAlreadyExists(f"A policy called {new.name} already exists. Duplicate names are not allowed.")
    if policies >= POLICIES_PER_ACCOUNT_MAX:
        raise LimitExceeded(f"Cannot exceed quota for PoliciesPerAccount: {POLICIES_PER_ACCOUNT_MAX}")
    _check(new.versions[new.default].document)
    return replace(new, tags=tagged({}, new.tags))


def with_version(policy: ManagedPolicy, document: str, at_ms: int, *, as_default: bool) -> ManagedPolicy:
    """With another version, the default one or not."""
    _check(document)
    if len(policy.versions) >= VERSIONS_PER_POLICY_MAX:
        raise LimitExceeded(
            f"A managed policy can have up to {VERSIONS_PER_POLICY_MAX} versions. Before you create a new version, you "
            "must delete an existing version."
        )
    name = f"v{policy.next_version}"
    return replace(
        policy,
        versions={**policy.versions, name: PolicyVersion(document, at_ms)},
        next_version=policy.next_version + 1,
        default=name if as_default else policy.default,
        updated_ms=at_ms,
    )


def with_default(policy: ManagedPolicy, version: str, at_ms: int) -> ManagedPolicy:
    """With another of its versions in force."""
    policy.version(version)
    return replace(policy, default=version, updated_ms=at_ms)


def without_version(policy: ManagedPolicy, version: str) -> ManagedPolicy:
    """Without a version that is not in force."""
    policy.version(version)
    if version == policy.default:
        raise DeleteConflict("Cannot delete the default version of a policy.")
    return replace(policy, versions={name: one for name, one in policy.versions.items() if name != version})


def deletable(policy: ManagedPolicy, uses: int) -> None:
    """Raises DeleteConflict while a role uses the policy or it has more than its default version."""
    if uses:
        raise DeleteConflict("Cannot delete a policy attached to entities.")
    if len(policy.versions) > 1:
        raise DeleteConflict(
            "This policy has more than one version. Before you delete a policy, you must delete the policy's versions. "
            "The default version is deleted with the policy."
        )


def _check(document: str) -> None:
    check_policy(document)
    if len("".join(document.split())) > POLICY_CHARS_MAX:
        raise LimitExceeded(f"Cannot exceed quota for PolicySize: {POLICY_CHARS_MAX}")
