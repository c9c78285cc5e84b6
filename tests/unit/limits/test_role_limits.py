"""Bounds of roles, policies and sessions, at their edges."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import pytest
from tests.unit.api.doubles import request_of
from tests.unit.api.test_query import Identity, form, served
from tests.unit.identity.test_roles import ACCOUNT, POLICY, TRUST, House

from lambent.api.query import (
    FORM_BYTES_MAX,
    FORM_PARAMETERS_MAX,
    INDEX_CHARS_MAX,
    STS,
    read_input,
    read_parameters,
)
from lambent.api.wire import QueryError
from lambent.identity import policies, roles
from lambent.identity.errors import LimitExceeded

ROLE = roles.Role("r", "/", "AROA", "arn", TRUST, 0)


def grown(document: str, size: int) -> str:
    """A document with an Id that brings it to a size, and white space that does not count."""
    held = json.loads(document)
    held["Id"] = ""
    held["Id"] = "x" * (size - len(json.dumps(held, separators=(",", ":"))))
    return json.dumps(held, indent=4)


def test_an_account_has_a_thousand_roles() -> None:
    roles.created(None, ROLE, roles.ROLES_PER_ACCOUNT_MAX - 1)
    with pytest.raises(LimitExceeded, match=r"^Cannot exceed quota for RolesPerAccount: 1000$"):
        roles.created(None, ROLE, roles.ROLES_PER_ACCOUNT_MAX)


def test_a_trust_policy_has_2048_characters() -> None:
    roles.retrusted(ROLE, grown(TRUST, roles.TRUST_POLICY_CHARS_MAX))
    with pytest.raises(LimitExceeded, match=r"^Cannot exceed quota for ACLSizePerRole: 2048$"):
        roles.retrusted(ROLE, grown(TRUST, roles.TRUST_POLICY_CHARS_MAX + 1))


def test_a_role_s_inline_policies_have_10240_characters_together() -> None:
    half = roles.INLINE_POLICIES_CHARS_MAX // 2
    first = roles.with_inline(ROLE, "a", grown(POLICY, half))
    roles.with_inline(first, "b", grown(POLICY, half))
    with pytest.raises(LimitExceeded, match=r"^Maximum policy size of 10240 bytes exceeded for role r$"):
        roles.with_inline(first, "b", grown(POLICY, half + 1))


def test_a_role_has_ten_attached_policies() -> None:
    full = replace(ROLE, attached=tuple(map(str, range(roles.POLICIES_PER_ROLE_MAX - 1))))
    full = roles.with_attached(full, "last")
    assert roles.with_attached(full, "last") is full
    with pytest.raises(LimitExceeded, match=r"^Cannot exceed quota for PoliciesPerRole: 10$"):
        roles.with_attached(full, "one more")


def test_an_account_has_1500_policies_of_6144_characters_in_five_versions() -> None:
    house = House()
    policy = house.run(house.roles.create_policy(ACCOUNT, "p", grown(POLICY, policies.POLICY_CHARS_MAX)))
    policies.created(None, policy, policies.POLICIES_PER_ACCOUNT_MAX - 1)
    with pytest.raises(LimitExceeded, match=r"^Cannot exceed quota for PoliciesPerAccount: 1500$"):
        policies.created(None, policy, policies.POLICIES_PER_ACCOUNT_MAX)
    with pytest.raises(LimitExceeded, match=r"^Cannot exceed quota for PolicySize: 6144$"):
        policies.with_version(policy, grown(POLICY, policies.POLICY_CHARS_MAX + 1), 1, as_default=True)
    for _ in range(policies.VERSIONS_PER_POLICY_MAX - 1):
        policy = policies.with_version(policy, POLICY, 1, as_default=False)
    with pytest.raises(LimitExceeded, match=r"^A managed policy can have up to 5 versions"):
        policies.with_version(policy, POLICY, 1, as_default=False)


def test_a_role_and_a_policy_have_fifty_tags() -> None:
    full = roles.tagged({}, {str(n): "" for n in range(roles.TAGS_PER_ENTITY_MAX)})
    assert roles.tagged(full, {"0": "other"})["0"] == "other"
    with pytest.raises(LimitExceeded):
        roles.tagged(full, {"one more": ""})


def test_a_request_of_the_query_protocol_has_a_megabyte() -> None:
    async def send(size: int) -> int:
        reply = await served(Identity(), form(Action="GetCallerIdentity").ljust(size, b"&"))
        return int(reply.status)

    assert asyncio.run(send(FORM_PARAMETERS_MAX)) == 200
    assert asyncio.run(send(FORM_BYTES_MAX + 1)) == 413


def test_a_request_of_the_query_protocol_has_two_thousand_parameters() -> None:
    read_parameters(request_of("POST", "/", body=b"&" * (FORM_PARAMETERS_MAX - 1)))
    with pytest.raises(QueryError, match="at most 2000 parameters; 2001 were sent"):
        read_parameters(request_of("POST", "/", body=b"&" * FORM_PARAMETERS_MAX))


def test_a_place_in_a_list_has_six_digits() -> None:
    operation = STS.table.operations["AssumeRole"]
    last, over = "9" * INDEX_CHARS_MAX, "9" * 5_000
    values = read_input(operation, {f"Tags.member.{last}.Key": "a", f"Tags.member.{over}.Key": "b"})
    assert values == {"Tags": [{"Key": "a"}]}
