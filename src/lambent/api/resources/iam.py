"""IAM: roles, their policies, and managed policies, over the query protocol."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from lambent.identity import policies as policy_decisions
from lambent.identity import roles as role_decisions
from lambent.identity.aws_managed import is_aws_managed
from lambent.identity.canonical import encode
from lambent.identity.errors import ValidationError

if TYPE_CHECKING:
    from lambent.api.query import QueryDoor
    from lambent.identity.model import Caller
    from lambent.identity.policies import ManagedPolicy
    from lambent.identity.roles import Role
    from lambent.identity.service import Roles

PAGE_DEFAULT = 100
Values = dict[str, Any]
T = TypeVar("T")


def register(door: QueryDoor, roles: Roles) -> None:
    """Serve the operations of roles and managed policies."""
    own, managed = _Roles(roles), _Policies(roles)
    for operation, handler in {
        "CreateRole": own.create,
        "GetRole": own.get,
        "DeleteRole": own.delete,
        "UpdateRole": own.update,
        "UpdateRoleDescription": own.update_description,
        "UpdateAssumeRolePolicy": own.update_trust,
        "ListRoles": own.list_roles,
        "TagRole": own.tag,
        "UntagRole": own.untag,
        "ListRoleTags": own.list_tags,
        "PutRolePolicy": own.put_inline,
        "GetRolePolicy": own.get_inline,
        "DeleteRolePolicy": own.delete_inline,
        "ListRolePolicies": own.list_inline,
        "AttachRolePolicy": own.attach,
        "DetachRolePolicy": own.detach,
        "ListAttachedRolePolicies": own.list_attached,
        "PutRolePermissionsBoundary": own.put_boundary,
        "DeleteRolePermissionsBoundary": own.delete_boundary,
        "ListInstanceProfilesForRole": own.list_instance_profiles,
        "CreatePolicy": managed.create,
        "GetPolicy": managed.get,
        "GetPolicyVersion": managed.get_version,
        "CreatePolicyVersion": managed.create_version,
        "DeletePolicyVersion": managed.delete_version,
        "SetDefaultPolicyVersion": managed.set_default,
        "ListPolicyVersions": managed.list_versions,
        "ListPolicies": managed.list_policies,
        "DeletePolicy": managed.delete,
        "ListEntitiesForPolicy": managed.list_entities,
        "TagPolicy": managed.tag,
        "UntagPolicy": managed.untag,
        "ListPolicyTags": managed.list_tags,
    }.items():
        door.register(operation, handler)


class _Roles:
    def __init__(self, roles: Roles) -> None:
        self._roles = roles

    async def create(self, caller: Caller, values: Values) -> Values:
        role = await self._roles.create(
            caller.scope.account,
            values["RoleName"],
            values["AssumeRolePolicyDocument"],
            partition=caller.scope.partition,
            path=values.get("Path", "/"),
            description=values.get("Description"),
            max_session_s=values.get("MaxSessionDuration", role_decisions.SESSION_S_DEFAULT),
            boundary=values.get("PermissionsBoundary"),
            tags=_unique(values.get("Tags", [])),
        )
        return {"Role": _role(role, whole=True)}

    async def get(self, caller: Caller, values: Values) -> Values:
        return {"Role": _role(self._get(caller, values), whole=True) | {"RoleLastUsed": {}}}

    async def delete(self, caller: Caller, values: Values) -> Values:
        await self._roles.delete(caller.scope.account, values["RoleName"])
        return {}

    async def update(self, caller: Caller, values: Values) -> Values:
        def decide(role: Role) -> Role:
            return replace(
                role,
                description=values.get("Description", role.description),
                max_session_s=values.get("MaxSessionDuration", role.max_session_s),
            )

        await self._change(caller, values, decide)
        return {}

    async def update_description(self, caller: Caller, values: Values) -> Values:
        role = await self._change(caller, values, lambda role: replace(role, description=values["Description"]))
        return {"Role": _role(role, whole=False)}

    async def update_trust(self, caller: Caller, values: Values) -> Values:
        document: str = values["PolicyDocument"]
        await self._change(caller, values, lambda role: role_decisions.retrusted(role, document))
        return {}

    async def list_roles(self, caller: Caller, values: Values) -> Values:
        found = self._roles.all(caller.scope.account, values.get("PathPrefix", "/"))
        return _page(values, "Roles", found, _by_name, lambda role: _role(role, whole=False))

    async def tag(self, caller: Caller, values: Values) -> Values:
        new = _pairs(values["Tags"])
        await self._change(caller, values, lambda role: replace(role, tags=role_decisions.tagged(role.tags, new)))
        return {}

    async def untag(self, caller: Caller, values: Values) -> Values:
        keys: list[str] = values["TagKeys"]
        await self._change(caller, values, lambda role: replace(role, tags=role_decisions.untagged(role.tags, keys)))
        return {}

    async def list_tags(self, caller: Caller, values: Values) -> Values:
        return _page(values, "Tags", sorted(self._get(caller, values).tags.items()), _first, _tag)

    async def put_inline(self, caller: Caller, values: Values) -> Values:
        name, document = values["PolicyName"], values["PolicyDocument"]
        await self._change(caller, values, lambda role: role_decisions.with_inline(role, name, document))
        return {}

    async def get_inline(self, caller: Caller, values: Values) -> Values:
        document = role_decisions.inline_policy(self._get(caller, values), values["PolicyName"])
        return {
            "RoleName": values["RoleName"],
            "PolicyName": values["PolicyName"],
            "PolicyDocument": _encoded(document),
        }

    async def delete_inline(self, caller: Caller, values: Values) -> Values:
        name: str = values["PolicyName"]
        await self._change(caller, values, lambda role: role_decisions.without_inline(role, name))
        return {}

    async def list_inline(self, caller: Caller, values: Values) -> Values:
        return _page(values, "PolicyNames", list(self._get(caller, values).inline), _same, _same)

    async def attach(self, caller: Caller, values: Values) -> Values:
        await self._roles.attach(caller.scope.account, values["RoleName"], values["PolicyArn"])
        return {}

    async def detach(self, caller: Caller, values: Values) -> Values:
        arn: str = values["PolicyArn"]
        await self._change(caller, values, lambda role: role_decisions.without_attached(role, arn))
        return {}

    async def list_attached(self, caller: Caller, values: Values) -> Values:
        prefix = values.get("PathPrefix", "/")
        arns = [arn for arn in sorted(self._get(caller, values).attached) if _policy_path(arn).startswith(prefix)]

        def show(arn: str) -> Values:
            return {"PolicyName": arn.rpartition("/")[2], "PolicyArn": arn}

        return _page(values, "AttachedPolicies", arns, _same, show)

    async def put_boundary(self, caller: Caller, values: Values) -> Values:
        await self._roles.bound(caller.scope.account, values["RoleName"], values["PermissionsBoundary"])
        return {}

    async def delete_boundary(self, caller: Caller, values: Values) -> Values:
        await self._roles.bound(caller.scope.account, values["RoleName"], None)
        return {}

    async def list_instance_profiles(self, caller: Caller, values: Values) -> Values:
        self._get(caller, values)
        return {"InstanceProfiles": [], "IsTruncated": False}  # there are no machines to give a role to

    def _get(self, caller: Caller, values: Values) -> Role:
        return self._roles.get(caller.scope.account, values["RoleName"])

    async def _change(self, caller: Caller, values: Values, decide: Callable[[Role], Role]) -> Role:
        return await self._roles.change(caller.scope.account, values["RoleName"], decide)


class _Policies:
    def __init__(self, roles: Roles) -> None:
        self._roles = roles

    async def create(self, caller: Caller, values: Values) -> Values:
        policy = await self._roles.create_policy(
            caller.scope.account,
            values["PolicyName"],
            values["PolicyDocument"],
            partition=caller.scope.partition,
            path=values.get("Path", "/"),
            description=values.get("Description"),
            tags=_unique(values.get("Tags", [])),
        )
        return {"Policy": self._policy(caller, policy, whole=True)}

    async def get(self, caller: Caller, values: Values) -> Values:
        return {"Policy": self._policy(caller, self._get(caller, values), whole=True)}

    async def get_version(self, caller: Caller, values: Values) -> Values:
        policy = self._get(caller, values)
        policy.version(values["VersionId"])
        return {"PolicyVersion": _version(policy, values["VersionId"], with_document=True)}

    async def create_version(self, caller: Caller, values: Values) -> Values:
        policy = await self._change(
            caller,
            values,
            lambda policy: policy_decisions.with_version(
                policy,
                values["PolicyDocument"],
                self._roles.now_ms(),
                as_default=values.get("SetAsDefault", False),
            ),
        )
        return {"PolicyVersion": _version(policy, f"v{policy.next_version - 1}")}

    async def delete_version(self, caller: Caller, values: Values) -> Values:
        version: str = values["VersionId"]
        await self._change(caller, values, lambda policy: policy_decisions.without_version(policy, version))
        return {}

    async def set_default(self, caller: Caller, values: Values) -> Values:
        now_ms = self._roles.now_ms()
        await self._change(
            caller, values, lambda policy: policy_decisions.with_default(policy, values["VersionId"], now_ms)
        )
        return {}

    async def list_versions(self, caller: Caller, values: Values) -> Values:
        policy = self._get(caller, values)
        newest_first = sorted(policy.versions, key=lambda name: -int(name[1:]))
        return _page(
            values,
            "Versions",
            newest_first,
            lambda name: f"{10**9 - int(name[1:])}",
            lambda name: _version(policy, name),
        )

    async def list_policies(self, caller: Caller, values: Values) -> Values:
        scope = values.get("Scope") or "All"
        found = [] if scope == "AWS" else self._roles.own_policies(caller.scope.account)
        if scope != "Local":
            found = found + self._roles.aws_policies()
        prefix = values.get("PathPrefix", "/")
        found = [policy for policy in found if policy.path.startswith(prefix)]
        if values.get("OnlyAttached", False) or "PolicyUsageFilter" in values:
            found = [policy for policy in found if self._is_used(caller, policy, values.get("PolicyUsageFilter"))]
        found.sort(key=_policy_order)
        return _page(values, "Policies", found, _policy_order, lambda policy: self._policy(caller, policy, whole=False))

    async def delete(self, caller: Caller, values: Values) -> Values:
        self._refuse_aws(values)
        await self._roles.delete_policy(caller.scope.account, values["PolicyArn"])
        return {}

    async def list_entities(self, caller: Caller, values: Values) -> Values:
        arn: str = values["PolicyArn"]
        uses = self._roles.uses(caller.scope.account, arn)
        if not uses.attached and not uses.bounded:
            self._get(caller, values)
        found = uses.bounded if values.get("PolicyUsageFilter") == "PermissionsBoundary" else uses.attached
        if values.get("EntityFilter", "Role") != "Role":
            found = []
        found = [role for role in found if role.path.startswith(values.get("PathPrefix", "/"))]
        page = _page(values, "PolicyRoles", found, _by_name, lambda role: {"RoleName": role.name, "RoleId": role.id})
        return page | {"PolicyUsers": [], "PolicyGroups": []}

    async def tag(self, caller: Caller, values: Values) -> Values:
        new = _pairs(values["Tags"])
        await self._change(caller, values, lambda one: replace(one, tags=role_decisions.tagged(one.tags, new)))
        return {}

    async def untag(self, caller: Caller, values: Values) -> Values:
        keys: list[str] = values["TagKeys"]
        await self._change(caller, values, lambda one: replace(one, tags=role_decisions.untagged(one.tags, keys)))
        return {}

    async def list_tags(self, caller: Caller, values: Values) -> Values:
        return _page(values, "Tags", sorted(self._get(caller, values).tags.items()), _first, _tag)

    def _get(self, caller: Caller, values: Values) -> ManagedPolicy:
        return self._roles.get_policy(caller.scope.account, values["PolicyArn"])

    async def _change(
        self, caller: Caller, values: Values, decide: Callable[[ManagedPolicy], ManagedPolicy]
    ) -> ManagedPolicy:
        self._refuse_aws(values)
        return await self._roles.change_policy(caller.scope.account, values["PolicyArn"], decide)

    @staticmethod
    def _refuse_aws(values: Values) -> None:
        if is_aws_managed(values["PolicyArn"]):
            raise ValidationError(f"Policy {values['PolicyArn']} is managed by AWS and can't be changed.")

    def _is_used(self, caller: Caller, policy: ManagedPolicy, usage: str | None) -> bool:
        uses = self._roles.uses(caller.scope.account, policy.arn)
        return bool(uses.bounded if usage == "PermissionsBoundary" else uses.attached)

    def _policy(self, caller: Caller, policy: ManagedPolicy, *, whole: bool) -> Values:
        """A policy; lists leave description and tags out."""
        uses = self._roles.uses(caller.scope.account, policy.arn)
        shown: Values = {
            "PolicyName": policy.name,
            "PolicyId": policy.id,
            "Arn": policy.arn,
            "Path": policy.path,
            "DefaultVersionId": policy.default,
            "AttachmentCount": len(uses.attached),
            "PermissionsBoundaryUsageCount": len(uses.bounded),
            "IsAttachable": True,
            "CreateDate": policy.created_ms,
            "UpdateDate": policy.updated_ms,
        }
        if whole:
            shown |= {"Description": policy.description, "Tags": [_tag(pair) for pair in policy.tags.items()]}
        return shown


# Shapes


def _role(role: Role, *, whole: bool) -> Values:
    """A role; lists leave tags and the boundary out."""
    shown: Values = {
        "Path": role.path,
        "RoleName": role.name,
        "RoleId": role.id,
        "Arn": role.arn,
        "CreateDate": role.created_ms,
        "AssumeRolePolicyDocument": _encoded(role.trust),
        "Description": role.description,
        "MaxSessionDuration": role.max_session_s,
    }
    if whole and role.boundary is not None:
        shown["PermissionsBoundary"] = {
            "PermissionsBoundaryType": "PermissionsBoundaryPolicy",
            "PermissionsBoundaryArn": role.boundary,
        }
    if whole and role.tags:
        shown["Tags"] = [_tag(pair) for pair in role.tags.items()]
    return shown


def _version(policy: ManagedPolicy, name: str, *, with_document: bool = False) -> Values:
    version = policy.version(name)
    return {
        "Document": _encoded(version.document) if with_document else None,
        "VersionId": name,
        "IsDefaultVersion": name == policy.default,
        "CreateDate": version.created_ms,
    }


def _encoded(document: str) -> str:
    """Documents are answered percent-encoded (RFC 3986)."""
    return encode(document.encode()).decode()


def _tag(pair: tuple[str, str]) -> Values:
    return {"Key": pair[0], "Value": pair[1]}


def _pairs(tags: list[Mapping[str, str]]) -> list[tuple[str, str]]:
    return [(tag["Key"], tag["Value"]) for tag in tags]


def _unique(tags: list[Mapping[str, str]]) -> dict[str, str]:
    """Tags of a new entity; repeated keys are refused before a map hides them."""
    return role_decisions.tagged({}, _pairs(tags))


def _policy_path(arn: str) -> str:
    return "/" + arn.partition(":policy/")[2].rpartition("/")[0]


# Pages


def _page(values: Values, member: str, found: Sequence[T], key: Callable[[T], str], show: Callable[[T], Any]) -> Values:
    """Up to MaxItems of what sorts behind Marker by `key`, in the order in which it was found."""
    most = values.get("MaxItems", PAGE_DEFAULT)
    marker = values.get("Marker")
    if marker is not None:
        after = _read_marker(marker)
        found = [one for one in found if key(one) > after]
    page: Values = {member: [show(one) for one in found[:most]], "IsTruncated": len(found) > most}
    if len(found) > most:
        page["Marker"] = urlsafe_b64encode(key(found[most - 1]).encode()).decode()
    return page


def _read_marker(marker: str) -> str:
    try:
        return urlsafe_b64decode(marker.encode("ascii")).decode()
    except ValueError:
        raise ValidationError("Invalid Marker.") from None


def _by_name(role: Role) -> str:
    return role.name.lower()


def _policy_order(policy: ManagedPolicy) -> str:
    return f"{policy.name.lower()} {policy.arn}"


def _first(pair: tuple[str, str]) -> str:
    return pair[0]


def _same(text: str) -> str:
    return text
