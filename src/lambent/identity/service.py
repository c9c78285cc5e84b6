"""Roles and managed policies of all accounts: the concept's one service.

Both are global, as IAM is: they have no region. Answers come from memory, changes are written first. What looks at roles
and policies at once (may this policy be attached, may it be deleted) is decided and written under one lock.
"""

from __future__ import annotations

import asyncio
import re
from base64 import b32encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from os import urandom

from lambent.domain.clock import Clock
from lambent.domain.documents import Collection, DocumentStore, Key
from lambent.domain.names import Scope

from . import policies, roles
from .aws_managed import aws_managed, find_aws_managed, is_aws_managed
from .errors import NoSuchEntity
from .policies import ManagedPolicy, PolicyVersion, decode_policy, encode_policy
from .roles import SESSION_S_DEFAULT, Role, decode_role, encode_role
from .trust import trusts_service

_ROLE_ARN = re.compile(r"arn:aws[a-zA-Z-]*:iam::(\d{12}):role(/?(?:.*/)?)([^/]+)")
_POLICY_ARN = re.compile(r"arn:aws[a-zA-Z-]*:iam::(\d{12}):policy/(?:.*/)?([^/]+)")


@dataclass(frozen=True, slots=True)
class Uses:
    """The roles that a managed policy serves."""

    attached: list[Role]
    bounded: list[Role]


class Roles:
    """Used from one event loop."""

    def __init__(self, store: DocumentStore, clock: Clock) -> None:
        """Read everything from the store."""
        self._clock = clock
        self._roles: Collection[Role] = Collection(
            store, "role", encode=encode_role, decode=lambda _, document: decode_role(document)
        )
        self._policies: Collection[ManagedPolicy] = Collection(
            store, "policy", encode=encode_policy, decode=lambda _, document: decode_policy(document)
        )
        self._writing = asyncio.Lock()

    async def close(self) -> None:
        """Wait until every accepted change is written."""
        await self._roles.close()
        await self._policies.close()

    # Roles

    def find(self, account: str, name: str) -> Role | None:
        """The role, or None."""
        role = self._roles.get(_key(account, name))
        return role if role is not None and role.name == name else None

    def find_arn(self, arn: str) -> Role | None:
        """The role of exactly this ARN, or None."""
        match = _ROLE_ARN.fullmatch(arn)
        role = None if match is None else self.find(match[1], match[3])
        return role if role is not None and role.arn == arn else None

    def get(self, account: str, name: str) -> Role:
        """The role; raises NoSuchEntity."""
        return roles.existing(self.find(account, name), name)

    def all(self, account: str, path_prefix: str = "/") -> list[Role]:
        """An account's roles below a path, in order of their names."""
        return [role for role in self._roles.values(Scope(account, "")) if role.path.startswith(path_prefix)]

    def trusts(self, arn: str, service: str) -> bool | None:
        """Whether the role of this ARN lets a service assume it; None: no such role is kept here."""
        role = self.find_arn(arn)
        return None if role is None else trusts_service(role.trust, service)

    async def create(
        self,
        account: str,
        name: str,
        trust: str,
        *,
        partition: str = "aws",
        path: str = "/",
        description: str | None = None,
        max_session_s: int = SESSION_S_DEFAULT,
        boundary: str | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> Role:
        """Create a role. Raises EntityAlreadyExists, MalformedPolicyDocument, LimitExceeded, NoSuchEntity (the boundary)."""
        new = Role(
            name=name,
            path=path,
            id=_new_id("AROA"),
            arn=f"arn:{partition}:iam::{account}:role{path}{name}",
            trust=trust,
            created_ms=self._now_ms(),
            description=description,
            max_session_s=max_session_s,
            boundary=boundary,
            tags=tags or {},
        )

        def decide(old: Role | None) -> Role:
            if boundary is not None:
                self._check_boundary(account, boundary)
            return roles.created(old, new, len(self._roles.names(Scope(account, ""))))

        async with self._writing:
            role = await self._roles.change(_key(account, name), decide)
        assert role is not None
        return role

    async def change(self, account: str, name: str, decide: Callable[[Role], Role]) -> Role:
        """Any change to one role: `decide` is given what stands, as the decisions of `roles` want it."""
        async with self._writing:
            role = await self._roles.change(_key(account, name), lambda old: decide(roles.existing(old, name)))
        assert role is not None
        return role

    async def delete(self, account: str, name: str) -> None:
        """Delete a role that no policy belongs to. Raises DeleteConflict."""

        def decide(old: Role | None) -> None:
            roles.deletable(roles.existing(old, name))

        async with self._writing:
            await self._roles.change(_key(account, name), decide)

    async def attach(self, account: str, name: str, arn: str) -> None:
        """Attach a managed policy, the account's own or one of AWS's."""

        def decide(role: Role) -> Role:
            if not self._is_attachable(account, arn):
                raise NoSuchEntity(f"Policy {arn} does not exist or is not attachable.")
            return roles.with_attached(role, arn)

        await self.change(account, name, decide)

    async def bound(self, account: str, name: str, arn: str | None) -> None:
        """Set the policy that bounds a role's permissions; None: take it away."""

        def decide(role: Role) -> Role:
            if arn is not None:
                self._check_boundary(account, arn)
            return role if role.boundary == arn else replace(role, boundary=arn)

        await self.change(account, name, decide)

    # Managed policies

    def find_policy(self, account: str, arn: str) -> ManagedPolicy | None:
        """A policy that an account sees: its own, or one of AWS's whose document is known."""
        if is_aws_managed(arn):
            return find_aws_managed(arn)
        match = _POLICY_ARN.fullmatch(arn)
        if match is None or match[1] != account:
            return None
        policy = self._policies.get(_key(account, match[2]))
        return policy if policy is not None and policy.arn == arn else None

    def get_policy(self, account: str, arn: str) -> ManagedPolicy:
        """The policy; raises NoSuchEntity."""
        return policies.existing(self.find_policy(account, arn), arn)

    def own_policies(self, account: str) -> list[ManagedPolicy]:
        """An account's own policies, in order of their names."""
        return list(self._policies.values(Scope(account, "")))

    def aws_policies(self) -> list[ManagedPolicy]:
        """AWS's policies whose documents are known, in order of their names."""
        return list(aws_managed().values())

    def uses(self, account: str, arn: str) -> Uses:
        """The account's roles that a policy is attached to, and those it bounds."""
        mine = self.all(account)
        return Uses([role for role in mine if arn in role.attached], [role for role in mine if role.boundary == arn])

    async def create_policy(
        self,
        account: str,
        name: str,
        document: str,
        *,
        partition: str = "aws",
        path: str = "/",
        description: str | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> ManagedPolicy:
        """Create a managed policy. Raises EntityAlreadyExists, MalformedPolicyDocument, LimitExceeded."""
        now_ms = self._now_ms()
        new = ManagedPolicy(
            name=name,
            path=path,
            arn=f"arn:{partition}:iam::{account}:policy{path}{name}",
            id=_new_id("ANPA"),
            created_ms=now_ms,
            updated_ms=now_ms,
            default="v1",
            versions={"v1": PolicyVersion(document, now_ms)},
            description=description,
            tags=tags or {},
        )
        async with self._writing:
            policy = await self._policies.change(
                _key(account, name),
                lambda old: policies.created(old, new, len(self._policies.names(Scope(account, "")))),
            )
        assert policy is not None
        return policy

    async def change_policy(
        self, account: str, arn: str, decide: Callable[[ManagedPolicy], ManagedPolicy]
    ) -> ManagedPolicy:
        """Any change to one policy: `decide` is given what stands, as the decisions of `policies` want it."""
        async with self._writing:
            policy = await self._policies.change(
                self._policy_key(account, arn), lambda old: decide(policies.existing(old, arn))
            )
        assert policy is not None
        return policy

    async def delete_policy(self, account: str, arn: str) -> None:
        """Delete a policy that no role uses and that has no other version than the default. Raises DeleteConflict."""

        def decide(old: ManagedPolicy | None) -> None:
            policy = policies.existing(old, arn)
            uses = self.uses(account, arn)
            policies.deletable(policy, len(uses.attached) + len(uses.bounded))

        async with self._writing:
            await self._policies.change(self._policy_key(account, arn), decide)

    def now_ms(self) -> int:
        """The moment, for a decision given to `change_policy`."""
        return self._now_ms()

    def _policy_key(self, account: str, arn: str) -> Key:
        match = _POLICY_ARN.fullmatch(arn)
        if match is None or match[1] != account:
            raise NoSuchEntity(f"Policy {arn} was not found.")
        return _key(account, match[2])

    def _is_attachable(self, account: str, arn: str) -> bool:
        return is_aws_managed(arn) or self.find_policy(account, arn) is not None

    def _check_boundary(self, account: str, arn: str) -> None:
        if not self._is_attachable(account, arn):
            raise NoSuchEntity(f"Scope ARN: {arn} does not exist or is not attachable.")

    def _now_ms(self) -> int:
        return self._clock.wall_ms() // 1_000 * 1_000  # IAM tells whole seconds


def _key(account: str, name: str) -> Key:
    """Names are told apart without regard to case."""
    return Key(account, "", name.lower())


def _new_id(prefix: str) -> str:
    return prefix + b32encode(urandom(11)).decode()[:17]
