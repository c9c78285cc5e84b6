"""Who gets temporary credentials, and for whom."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from lambent.domain.clock import ManualClock
from lambent.domain.names import Scope
from lambent.identity.errors import Denied, IamError, MalformedPolicyDocument, ValidationError
from lambent.identity.model import Caller
from lambent.identity.service import Roles
from lambent.identity.sessions import Sessions
from lambent.identity.temporary import TemporaryCredentials
from lambent.stores.documents_memory import MemoryDocuments

ACCOUNT, OTHER = "111111111111", "222222222222"
NOW_MS = 1_764_100_000_500
ROOT = f"arn:aws:iam::{ACCOUNT}:root"


def trust(*principals: str) -> str:
    statement = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": list(principals)}}
    return json.dumps({"Version": "2012-10-17", "Statement": statement})


def caller(arn: str = ROOT, account: str = ACCOUNT, **members: Any) -> Caller:
    return Caller(Scope(account, "us-east-1"), members.get("key", "test"), "sts", arn, members.get("sandbox"))


class House:
    def __init__(self) -> None:
        clock = ManualClock(NOW_MS)
        self.temporary = TemporaryCredentials(b"s" * 32, clock)
        self.roles = Roles(MemoryDocuments(), clock)
        known = {"AKIDEXAMPLE123456789": OTHER}
        self.sessions = Sessions(self.roles, self.temporary, clock, known.get)

    def role(self, name: str, document: str, account: str = ACCOUNT, **members: Any) -> str:
        return asyncio.run(self.roles.create(account, name, document, **members)).arn


@pytest.fixture
def house() -> House:
    return House()


def refused(house: House, who: Caller, arn: str, **wanted: Any) -> tuple[type, str | None]:
    with pytest.raises(IamError) as error:
        house.sessions.assume(who, arn, "me", **wanted)
    return type(error.value), error.value.message


def test_a_trusted_caller_gets_the_role_for_an_hour(house: House) -> None:
    arn = house.role("deploy", trust(ROOT), path="/cdk/")
    assumed = house.sessions.assume(caller(), arn, "me")
    assert assumed.arn == f"arn:aws:sts::{ACCOUNT}:assumed-role/deploy/me"
    assert assumed.id == f"{house.roles.get(ACCOUNT, 'deploy').id}:me"
    assert assumed.credentials.expires_ms == NOW_MS - 500 + 3_600_000
    found = house.temporary.find(assumed.credentials.access_key, assumed.credentials.token)
    assert found is not None
    assert (found.account, found.arn) == (ACCOUNT, assumed.arn)


def test_another_account_s_role_acts_there(house: House) -> None:
    arn = house.role("shared", trust(ACCOUNT), OTHER)
    assumed = house.sessions.assume(caller(), arn, "me")
    assert house.temporary.account_of(assumed.credentials.access_key) == OTHER
    assert assumed.arn == f"arn:aws:sts::{OTHER}:assumed-role/shared/me"


def test_whoever_is_not_trusted_is_denied_as_if_the_role_did_not_exist(house: House) -> None:
    arn = house.role("theirs", trust(OTHER))
    for wanted in (arn, f"arn:aws:iam::{ACCOUNT}:role/none", "rubbish-that-is-long-enough"):
        assert refused(house, caller(), wanted) == (
            Denied,
            f"User: {ROOT} is not authorized to perform: sts:AssumeRole on resource: {wanted}",
        )


def test_a_function_assumes_roles_of_its_own_account_alone(house: House) -> None:
    mine = f"arn:aws:sts::{ACCOUNT}:assumed-role/worker/fn"
    function = caller(mine, sandbox="e1")
    home = house.role("home", trust(f"arn:aws:iam::{ACCOUNT}:role/worker"))
    assert house.sessions.assume(function, home, "me").arn.endswith("assumed-role/home/me")
    abroad = house.role("abroad", trust(ACCOUNT), OTHER)
    kind, message = refused(house, function, abroad)
    assert kind is Denied
    assert "because a function acts in its own account alone" in (message or "")


def test_durations(house: House) -> None:
    arn = house.role("r", trust(ROOT, f"arn:aws:iam::{ACCOUNT}:role/worker"), max_session_s=7_200)
    assumed = house.sessions.assume(caller(), arn, "me", duration_s=7_200)
    assert assumed.credentials.expires_ms == NOW_MS - 500 + 7_200_000
    assert refused(house, caller(), arn, duration_s=7_201) == (
        ValidationError,
        "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.",
    )
    chained = caller(f"arn:aws:sts::{ACCOUNT}:assumed-role/worker/x")
    house.sessions.assume(chained, arn, "me", duration_s=3_600)
    assert refused(house, chained, arn, duration_s=3_601) == (
        ValidationError,
        "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining.",
    )


def test_an_external_id_is_asked_for_where_the_role_says_so(house: House) -> None:
    statement = {
        "Effect": "Allow",
        "Action": "sts:AssumeRole",
        "Principal": {"AWS": ROOT},
        "Condition": {"StringEquals": {"sts:ExternalId": "42"}},
    }
    arn = house.role("r", json.dumps({"Version": "2012-10-17", "Statement": statement}))
    assert refused(house, caller(), arn)[0] is Denied
    assert house.sessions.assume(caller(), arn, "me", context={"sts:externalid": "42"}).arn


def test_a_session_policy_is_read(house: House) -> None:
    arn = house.role("r", trust(ROOT))
    assert refused(house, caller(), arn, policy="{")[0] is MalformedPolicyDocument


def test_who_is_who(house: House) -> None:
    assert house.sessions.user_id(caller()) == ACCOUNT
    unknown = house.sessions.user_id(caller(f"arn:aws:sts::{ACCOUNT}:assumed-role/unknown/fn"))
    assert (unknown[:4], unknown[21:]) == ("AROA", ":fn")
    house.role("worker", trust(ROOT))
    known = house.sessions.user_id(caller(f"arn:aws:sts::{ACCOUNT}:assumed-role/worker/fn"))
    assert known == f"{house.roles.get(ACCOUNT, 'worker').id}:fn"


def test_own_sessions(house: House) -> None:
    issued = house.sessions.own(caller(), None)
    assert issued.expires_ms == NOW_MS - 500 + 43_200_000
    found = house.temporary.find(issued.access_key, issued.token)
    assert found is not None
    assert found.arn == ROOT
    for who in (caller(key=issued.access_key), caller(f"arn:aws:sts::{ACCOUNT}:assumed-role/r/s")):
        with pytest.raises(Denied, match=r"^Cannot call GetSessionToken with session credentials$"):
            house.sessions.own(who, 900)


def test_whose_a_key_is(house: House) -> None:
    assert house.sessions.account_of(house.sessions.own(caller(), None).access_key) == ACCOUNT
    assert house.sessions.account_of("AKIDEXAMPLE123456789") == OTHER
    with pytest.raises(ValidationError):
        house.sessions.account_of("AKIAIOSFODNN7EXAMPLE")
