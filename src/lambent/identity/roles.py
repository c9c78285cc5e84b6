"""Roles: what is kept of one, and how it may change.

The decisions are pure: a role that stands goes in, the one that shall stand comes out, or an error is raised in IAM's own
words. Policies are kept and returned as they were given; none of them is enforced.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from .errors import DeleteConflict, EntityAlreadyExists, InvalidInput, LimitExceeded, NoSuchEntity
from .grammar import check_policy, check_trust

ROLES_PER_ACCOUNT_MAX = 1_000
POLICIES_PER_ROLE_MAX = 10
"""Managed policies attached to one role."""
TRUST_POLICY_CHARS_MAX = 2_048
"""Without white space, as the service counts."""
INLINE_POLICIES_CHARS_MAX = 10_240
"""All inline policies of one role together, without white space."""
TAGS_PER_ENTITY_MAX = 50
SESSION_S_DEFAULT = 3_600


def _nothing() -> Mapping[str, str]:
    return {}


@dataclass(frozen=True, slots=True)
class Role:
    """One role of an account."""

    name: str
    path: str
    id: str
    """AROA and 17 characters."""
    arn: str
    trust: str
    """Who may assume it: the trust policy, as given."""
    created_ms: int
    description: str | None = None
    max_session_s: int = SESSION_S_DEFAULT
    boundary: str | None = None
    """ARN of the policy that bounds its permissions."""
    tags: Mapping[str, str] = field(default_factory=_nothing)
    inline: Mapping[str, str] = field(default_factory=_nothing)
    """Inline policies by name, as given."""
    attached: tuple[str, ...] = ()
    """ARNs of managed policies, in the order in which they were attached."""


def encode_role(role: Role) -> bytes:
    """A role as the store keeps it."""
    document: dict[str, Any] = {name: getattr(role, name) for name in Role.__dataclass_fields__}
    return orjson.dumps(document)


def decode_role(document: bytes) -> Role:
    """The inverse of `encode_role`."""
    members = orjson.loads(document)
    members["attached"] = tuple(members["attached"])
    return Role(**members)


def existing(role: Role | None, name: str) -> Role:
    """The role, if it is there and called exactly so."""
    if role is None or role.name != name:
        raise NoSuchEntity(f"The role with name {name} cannot be found.")
    return role


def created(old: Role | None, new: Role, roles: int) -> Role:
    """A role where there was none of its name, whatever the case. roles: how many the account has."""
    if old is not None:
        raise EntityAlreadyExists(f"Role with name {new.name} already exists.")
    if roles >= ROLES_PER_ACCOUNT_MAX:
        raise LimitExceeded(f"Cannot exceed quota for RolesPerAccount: {ROLES_PER_ACCOUNT_MAX}")
    return replace(retrusted(new, new.trust), tags=tagged({}, new.tags))


def retrusted(role: Role, trust: str) -> Role:
    """With another trust policy."""
    check_trust(trust)
    if _counted(trust) > TRUST_POLICY_CHARS_MAX:
        raise LimitExceeded(f"Cannot exceed quota for ACLSizePerRole: {TRUST_POLICY_CHARS_MAX}")
    return replace(role, trust=trust)


def deletable(role: Role) -> None:
    """Raises DeleteConflict while policies belong to the role."""
    if role.attached:
        raise DeleteConflict("Cannot delete entity, must detach all policies first.")
    if role.inline:
        raise DeleteConflict("Cannot delete entity, must delete policies first.")


def with_inline(role: Role, policy: str, document: str) -> Role:
    """With an inline policy, new or replaced."""
    check_policy(document)
    inline = {**role.inline, policy: document}
    if sum(map(_counted, inline.values())) > INLINE_POLICIES_CHARS_MAX:
        raise LimitExceeded(f"Maximum policy size of {INLINE_POLICIES_CHARS_MAX} bytes exceeded for role {role.name}")
    return replace(role, inline=dict(sorted(inline.items())))


def inline_policy(role: Role, policy: str) -> str:
    """An inline policy's document."""
    document = role.inline.get(policy)
    if document is None:
        raise NoSuchEntity(f"The role policy with name {policy} cannot be found.")
    return document


def without_inline(role: Role, policy: str) -> Role:
    """Without an inline policy."""
    inline_policy(role, policy)
    return replace(role, inline={name: one for name, one in role.inline.items() if name != policy})


def with_attached(role: Role, arn: str) -> Role:
    """With a managed policy attached; once more is no change."""
    if arn in role.attached:
        return role
    if len(role.attached) >= POLICIES_PER_ROLE_MAX:
        raise LimitExceeded(f"Cannot exceed quota for PoliciesPerRole: {POLICIES_PER_ROLE_MAX}")
    return replace(role, attached=(*role.attached, arn))


def without_attached(role: Role, arn: str) -> Role:
    """With a managed policy detached."""
    if arn not in role.attached:
        raise NoSuchEntity(f"Policy {arn} was not found.")
    return replace(role, attached=tuple(one for one in role.attached if one != arn))


def tagged(tags: Mapping[str, str], new: Mapping[str, str] | Sequence[tuple[str, str]]) -> dict[str, str]:
    """Tags with others added or replaced; keys are told apart without regard to case."""
    pairs = list(new.items() if isinstance(new, Mapping) else new)
    if len({key.lower() for key, _ in pairs}) != len(pairs):
        raise InvalidInput("Duplicate tag keys found. Please note that Tag keys are case insensitive.")
    for key, _ in pairs:
        if key.lower().startswith("aws:"):
            raise InvalidInput("aws: prefixed tag key names are not allowed for external use.")
    added = {key.lower() for key, _ in pairs}
    merged = {key: value for key, value in tags.items() if key.lower() not in added} | dict(pairs)
    if len(merged) > TAGS_PER_ENTITY_MAX:
        raise LimitExceeded("The number of tags has reached the maximum limit.")
    return merged


def untagged(tags: Mapping[str, str], keys: Sequence[str]) -> dict[str, str]:
    """Tags without some; those that are not there are fine."""
    removed = {key.lower() for key in keys}
    return {key: value for key, value in tags.items() if key.lower() not in removed}


def _counted(document: str) -> int:
    """The size of a document that counts: white space does not."""
    return len("".join(document.split()))
