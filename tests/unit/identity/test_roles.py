"""Roles and managed policies: every change and every refusal, in IAM's words."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any, TypeVar

import pytest

from lambent.domain.clock import ManualClock
from lambent.identity import policies, roles
from lambent.identity.aws_managed import aws_managed, is_aws_managed
from lambent.identity.errors import (
    DeleteConflict,
    EntityAlreadyExists,
    IamError,
    InvalidInput,
    LimitExceeded,
    MalformedPolicyDocument,
    NoSuchEntity,
)
from lambent.identity.grammar import check_policy
from lambent.identity.service import Roles
from lambent.stores.documents_memory import MemoryDocuments

T = TypeVar("T")
ACCOUNT, OTHER = "111111111111", "222222222222"
TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "lambda.amazonaws.com"}},
    }
)
POLICY = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]})
BASIC = "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"


class House:
    def __init__(self) -> None:
        self.store = MemoryDocuments()
        self.roles = self.reopen()

    def reopen(self) -> Roles:
        self.roles = Roles(self.store, ManualClock(1_764_100_000_999))
        return self.roles

    def run(self, scenario: Coroutine[Any, Any, T]) -> T:
        return asyncio.run(_timely(scenario))

    def refuse(self, scenario: Coroutine[Any, Any, Any]) -> tuple[type, str | None]:
        with pytest.raises(IamError) as refused:
            self.run(scenario)
        return type(refused.value), refused.value.message


async def _timely(scenario: Coroutine[Any, Any, T]) -> T:
    async with asyncio.timeout(10):
        return await scenario


@pytest.fixture
def house() -> House:
    return House()


def test_a_role_is_kept_with_all_it_was_given(house: House) -> None:
    policy = house.run(house.roles.create_policy(ACCOUNT, "p", POLICY, path="/x/", description="d", tags={"a": "b"}))
    role = house.run(
        house.roles.create(
            ACCOUNT,
            "Worker",
            TRUST,
            path="/team/",
            description="works",
            max_session_s=7_200,
            boundary=policy.arn,
            tags={"k": "v"},
        )
    )
    house.run(house.roles.change(ACCOUNT, "Worker", lambda one: roles.with_inline(one, "i", POLICY)))
    house.run(house.roles.attach(ACCOUNT, "Worker", BASIC))
    assert role.arn == f"arn:aws:iam::{ACCOUNT}:role/team/Worker"
    assert (role.id[:4], len(role.id), role.created_ms) == ("AROA", 21, 1_764_100_000_000)
    assert (policy.id or "")[:4] == "ANPA"
    before = house.roles.get(ACCOUNT, "Worker"), house.roles.get_policy(ACCOUNT, policy.arn)
    again = house.reopen()
    assert (again.get(ACCOUNT, "Worker"), again.get_policy(ACCOUNT, policy.arn)) == before
    assert before[0].inline == {"i": POLICY}
    assert before[0].attached == (BASIC,)


def test_names_are_an_account_s_own_and_told_apart_without_case(house: House) -> None:
    house.run(house.roles.create(ACCOUNT, "Worker", TRUST))
    house.run(house.roles.create(OTHER, "Worker", TRUST))
    assert house.refuse(house.roles.create(ACCOUNT, "worker", TRUST)) == (
        EntityAlreadyExists,
        "Role with name worker already exists.",
    )
    with pytest.raises(NoSuchEntity, match=r"^The role with name worker cannot be found.$"):
        house.roles.get(ACCOUNT, "worker")
    assert house.roles.find_arn(f"arn:aws:iam::{ACCOUNT}:role/Worker") is not None
    assert house.roles.find_arn(f"arn:aws:iam::{ACCOUNT}:role/path/Worker") is None
    assert house.roles.find_arn("Worker") is None


def test_roles_are_listed_by_path_in_order_of_their_names(house: House) -> None:
    for name, path in (("b", "/"), ("C", "/x/"), ("a", "/x/y/")):
        house.run(house.roles.create(ACCOUNT, name, TRUST, path=path))
    assert [role.name for role in house.roles.all(ACCOUNT)] == ["a", "b", "C"]
    assert [role.name for role in house.roles.all(ACCOUNT, "/x/")] == ["a", "C"]
    assert house.roles.all(OTHER) == []


def test_trust_is_known_of_what_is_kept(house: House) -> None:
    arn = house.run(house.roles.create(ACCOUNT, "r", TRUST, path="/p/")).arn
    assert house.roles.trusts(arn, "lambda.amazonaws.com") is True
    assert house.roles.trusts(arn, "ec2.amazonaws.com") is False
    assert house.roles.trusts(f"arn:aws:iam::{ACCOUNT}:role/unknown", "lambda.amazonaws.com") is None


def test_refused_creations(house: House) -> None:
    assert house.refuse(house.roles.create(ACCOUNT, "r", "{")) == (
        MalformedPolicyDocument,
        "This policy contains invalid Json",
    )
    nowhere = f"arn:aws:iam::{ACCOUNT}:policy/nowhere"
    assert house.refuse(house.roles.create(ACCOUNT, "r", TRUST, boundary=nowhere)) == (
        NoSuchEntity,
        f"Scope ARN: {nowhere} does not exist or is not attachable.",
    )
    assert house.refuse(house.roles.create(ACCOUNT, "r", TRUST, tags={"aws:x": "y"}))[0] is InvalidInput
    assert house.roles.all(ACCOUNT) == []


def test_a_role_with_policies_stays(house: House) -> None:
    house.run(house.roles.create(ACCOUNT, "r", TRUST))
    house.run(house.roles.attach(ACCOUNT, "r", BASIC))
    house.run(house.roles.change(ACCOUNT, "r", lambda one: roles.with_inline(one, "i", POLICY)))
    assert house.refuse(house.roles.delete(ACCOUNT, "r")) == (
        DeleteConflict,
        "Cannot delete entity, must detach all policies first.",
    )
    house.run(house.roles.change(ACCOUNT, "r", lambda one: roles.without_attached(one, BASIC)))
    assert house.refuse(house.roles.delete(ACCOUNT, "r")) == (
        DeleteConflict,
        "Cannot delete entity, must delete policies first.",
    )
    house.run(house.roles.change(ACCOUNT, "r", lambda one: roles.without_inline(one, "i")))
    house.run(house.roles.delete(ACCOUNT, "r"))
    assert house.refuse(house.roles.delete(ACCOUNT, "r")) == (NoSuchEntity, "The role with name r cannot be found.")


def test_attaching(house: House) -> None:
    house.run(house.roles.create(ACCOUNT, "r", TRUST))
    own = house.run(house.roles.create_policy(ACCOUNT, "p", POLICY)).arn
    for arn in (own, BASIC, "arn:aws:iam::aws:policy/job-function/Billing", own):
        house.run(house.roles.attach(ACCOUNT, "r", arn))
    assert len(house.roles.get(ACCOUNT, "r").attached) == 3
    for arn in (
        f"arn:aws:iam::{ACCOUNT}:policy/none",
        f"arn:aws:iam::{OTHER}:policy/p",
        own.replace("policy/", "policy/x/"),
    ):
        assert house.refuse(house.roles.attach(ACCOUNT, "r", arn)) == (
            NoSuchEntity,
            f"Policy {arn} does not exist or is not attachable.",
        )
    assert house.refuse(house.roles.change(ACCOUNT, "r", lambda one: roles.without_attached(one, "arn:x"))) == (
        NoSuchEntity,
        "Policy arn:x was not found.",
    )
    assert [role.name for role in house.roles.uses(ACCOUNT, own).attached] == ["r"]


def test_a_boundary_is_set_and_taken_away(house: House) -> None:
    house.run(house.roles.create(ACCOUNT, "r", TRUST))
    own = house.run(house.roles.create_policy(ACCOUNT, "p", POLICY)).arn
    house.run(house.roles.bound(ACCOUNT, "r", own))
    assert [role.name for role in house.roles.uses(ACCOUNT, own).bounded] == ["r"]
    assert house.refuse(house.roles.delete_policy(ACCOUNT, own))[0] is DeleteConflict
    house.run(house.roles.bound(ACCOUNT, "r", None))
    assert house.roles.get(ACCOUNT, "r").boundary is None
    house.run(house.roles.delete_policy(ACCOUNT, own))


def test_a_policy_that_is_being_attached_is_not_deleted(house: House) -> None:
    """Both decisions look at what the other one writes."""
    house.run(house.roles.create(ACCOUNT, "r", TRUST))
    own = house.run(house.roles.create_policy(ACCOUNT, "p", POLICY)).arn

    async def both() -> list[Any]:
        return await asyncio.gather(
            house.roles.attach(ACCOUNT, "r", own), house.roles.delete_policy(ACCOUNT, own), return_exceptions=True
        )

    attached, deleted = house.run(both())
    assert attached is None
    assert isinstance(deleted, DeleteConflict)
    assert deleted.message == "Cannot delete a policy attached to entities."


def test_inline_policies() -> None:
    role = roles.Role("r", "/", "AROA", "arn", TRUST, 0)
    role = roles.with_inline(roles.with_inline(role, "b", POLICY), "a", POLICY)
    assert list(role.inline) == ["a", "b"]
    assert roles.inline_policy(role, "a") == POLICY
    for lost in (roles.inline_policy, roles.without_inline):
        with pytest.raises(NoSuchEntity, match=r"^The role policy with name c cannot be found.$"):
            lost(role, "c")
    with pytest.raises(MalformedPolicyDocument):
        roles.with_inline(role, "c", "{}")


def test_tags() -> None:
    tags = roles.tagged({"a": "1", "B": "2"}, [("b", "3"), ("c", "4")])
    assert tags == {"a": "1", "b": "3", "c": "4"}
    assert roles.untagged(tags, ["A", "x"]) == {"b": "3", "c": "4"}
    with pytest.raises(
        InvalidInput, match=r"^Duplicate tag keys found. Please note that Tag keys are case insensitive.$"
    ):
        roles.tagged({}, [("a", "1"), ("A", "2")])
    with pytest.raises(InvalidInput):
        roles.tagged({}, [("AWS:a", "1")])
    assert roles.tagged({str(n): "" for n in range(49)}, {"x": ""}).keys() >= {"x"}
    with pytest.raises(LimitExceeded, match=r"^The number of tags has reached the maximum limit.$"):
        roles.tagged({str(n): "" for n in range(50)}, {"x": ""})


def test_versions_of_a_policy(house: House) -> None:
    arn = house.run(house.roles.create_policy(ACCOUNT, "p", POLICY)).arn

    def change(decide: Any) -> policies.ManagedPolicy:
        return house.run(house.roles.change_policy(ACCOUNT, arn, decide))

    policy = change(lambda one: policies.with_version(one, POLICY, 5, as_default=True))
    assert (policy.default, list(policy.versions), policy.updated_ms) == ("v2", ["v1", "v2"], 5)
    policy = change(lambda one: policies.with_default(one, "v1", 6))
    assert policy.default == "v1"
    change(lambda one: policies.without_version(one, "v2"))
    policy = change(lambda one: policies.with_version(one, POLICY, 7, as_default=False))
    assert (policy.default, list(policy.versions)) == ("v1", ["v1", "v3"])  # v2 is never used again
    assert house.refuse(house.roles.change_policy(ACCOUNT, arn, lambda one: policies.without_version(one, "v1"))) == (
        DeleteConflict,
        "Cannot delete the default version of a policy.",
    )
    assert house.refuse(house.roles.change_policy(ACCOUNT, arn, lambda one: policies.without_version(one, "v9"))) == (
        NoSuchEntity,
        f"Policy {arn} version v9 does not exist or is not attachable.",
    )
    assert house.refuse(house.roles.delete_policy(ACCOUNT, arn)) == (
        DeleteConflict,
        "This policy has more than one version. Before you delete a policy, you must delete the policy's versions. The "
        "default version is deleted with the policy.",
    )
    change(lambda one: policies.without_version(one, "v3"))
    house.run(house.roles.delete_policy(ACCOUNT, arn))
    assert house.refuse(house.roles.delete_policy(ACCOUNT, arn)) == (NoSuchEntity, f"Policy {arn} was not found.")


def test_a_policy_s_name_is_taken_once(house: House) -> None:
    house.run(house.roles.create_policy(ACCOUNT, "p", POLICY))
    assert house.refuse(house.roles.create_policy(ACCOUNT, "P", POLICY, path="/x/")) == (
        EntityAlreadyExists,
        "A policy called P already exists. Duplicate names are not allowed.",
    )
    assert house.refuse(house.roles.create_policy(ACCOUNT, "q", "x")) == (
        MalformedPolicyDocument,
        "Syntax errors in policy.",
    )


def test_what_is_known_of_aws_s_policies(house: House) -> None:
    basic = house.roles.get_policy(ACCOUNT, BASIC)
    assert (basic.name, basic.path, basic.default, basic.id) == (
        "AWSLambdaBasicExecutionRole",
        "/service-role/",
        "v1",
        None,
    )
    assert json.loads(basic.version("v1").document)["Statement"][0]["Action"] == [
        "logs:CreateLogGroup",
        "logs:CreateLogStream",
        "logs:PutLogEvents",
    ]
    abroad = BASIC.replace("arn:aws:", "arn:aws-cn:")
    assert house.roles.get_policy(ACCOUNT, abroad).arn == abroad
    unknown = "arn:aws:iam::aws:policy/AmazonBraketFullAccess"
    assert is_aws_managed(unknown)
    with pytest.raises(NoSuchEntity, match=f"^Policy {unknown} was not found.$"):
        house.roles.get_policy(ACCOUNT, unknown)
    for policy in aws_managed().values():
        check_policy(policy.version(policy.default).document)


def test_a_change_that_was_decided_on_something_else_is_decided_again(house: House) -> None:
    """Fifty writers of one role at once: each finds what the one before it left."""
    house.run(house.roles.create(ACCOUNT, "r", TRUST))

    async def all_at_once() -> None:
        await asyncio.gather(
            *(
                house.roles.change(ACCOUNT, "r", lambda one, n=n: replace(one, tags={**one.tags, str(n): ""}))  # type: ignore[misc]
                for n in range(50)
            )
        )

    house.run(all_at_once())
    assert len(house.roles.get(ACCOUNT, "r").tags) == 50
