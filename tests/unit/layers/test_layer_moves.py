"""Layer versions as values: documents, and policies word for word."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from lambent.domain.documents import Key
from lambent.domain.errors import (
    InvalidParameterValue,
    LambentError,
    PolicyLengthExceeded,
    PreconditionFailed,
    ResourceConflict,
    ResourceNotFound,
)
from lambent.domain.limits import POLICY_BYTES_MAX
from lambent.layers.model import LayerPolicy, LayerVersion, decode, decode_next, encode, encode_next
from lambent.layers.moves import Grant, allows, check_number, document, granted, revoked, statement

ARN = "arn:aws:lambda:us-east-1:123456789012:layer:l:1"
KEY = Key("123456789012", "us-east-1", "l:1")


def version(**members: Any) -> LayerVersion:
    defaults = {"number": 1, "digest": "d" * 64, "sha256_base64": "s", "size_bytes": 10, "unpacked_bytes": 20}
    return LayerVersion(**{**defaults, "created_ms": 1, **members})


def grant(made: LayerVersion | None, given: Grant, revision_id: str | None = None, fresh: str = "r1") -> LayerVersion:
    return granted(made, ARN, "aws", given, revision_id=revision_id, fresh=fresh)


def revoke(made: LayerVersion | None, sid: str, revision_id: str | None = None) -> LayerVersion:
    return revoked(made, ARN, sid, revision_id=revision_id, fresh="r2")


def refused(call: Any, *arguments: Any, **named: Any) -> LambentError:
    with pytest.raises(LambentError) as error:
        call(*arguments, **named)
    return error.value


@pytest.mark.parametrize("number", [0, -1])
def test_no_version_is_below_one(number: int) -> None:
    error = refused(check_number, number)
    assert isinstance(error, InvalidParameterValue)
    assert error.message == "Layer Version Cannot be less than 1"


def test_what_a_version_declares_is_what_it_matches() -> None:
    declared = version(runtimes=("python3.11", "python3.12"), architectures=("arm64",))
    assert declared.is_compatible(None, None)
    assert declared.is_compatible("python3.12", "arm64")
    assert not declared.is_compatible("python3.13", None)
    assert not declared.is_compatible("python3.11", "x86_64")
    for silent in (version(), version(runtimes=(), architectures=())):
        assert silent.is_compatible(None, None)
        assert not silent.is_compatible("python3.11", None)
        assert not silent.is_compatible(None, "arm64")


def test_a_version_is_read_back_as_it_was() -> None:
    signed = {"signing_profile_arn": "arn:p", "signing_job_arn": "arn:j"}
    made = version(description="d", license_info="MIT", runtimes=("python3.11",), architectures=(), **signed)
    for one in (made, grant(made, Grant("all", "*", "o-0123456789")), version(runtimes=()), version()):
        assert decode(KEY, encode(one)) == one
    assert decode_next(KEY, encode_next(7)) == 7


@pytest.mark.parametrize(
    ("given", "principal", "condition"),
    [
        (Grant("s", "*"), "*", None),
        (Grant("s", "111122223333"), {"AWS": "arn:aws:iam::111122223333:root"}, None),
        (Grant("s", "arn:aws:iam::111122223333:root"), {"AWS": "arn:aws:iam::111122223333:root"}, None),
        (Grant("s", "*", "o-0123456789"), "*", {"StringEquals": {"aws:PrincipalOrgID": "o-0123456789"}}),
    ],
)
def test_statements(given: Grant, principal: Any, condition: Any) -> None:
    made = statement(given, ARN, "aws")
    expected = {
        "Sid": "s",
        "Effect": "Allow",
        "Principal": principal,
        "Action": "lambda:GetLayerVersion",
        "Resource": ARN,
    }
    if condition is not None:
        expected["Condition"] = condition
    assert list(made.items()) == list(expected.items())


def test_the_policy_is_compact_json_in_the_order_of_addition() -> None:
    made = grant(grant(version(), Grant("b", "*")), Grant("a", "111122223333"), fresh="r2")
    policy = made.policy
    assert policy is not None
    assert policy.revision_id == "r2"
    assert document(policy) == (
        '{"Version":"2012-10-17","Id":"default","Statement":['
        '{"Sid":"b","Effect":"Allow","Principal":"*","Action":"lambda:GetLayerVersion","Resource":"' + ARN + '"},'
        '{"Sid":"a","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:root"},'
        '"Action":"lambda:GetLayerVersion","Resource":"' + ARN + '"}]}'
    )


def test_a_policy_belongs_to_a_version_that_exists() -> None:
    for error in (
        refused(grant, None, Grant("s", "*"), revision_id="wrong"),
        refused(revoke, None, "s", revision_id="wrong"),
    ):
        assert isinstance(error, ResourceNotFound)
        assert error.message == f"Layer version {ARN} does not exist."


def test_a_statement_id_is_taken_once() -> None:
    error = refused(grant, grant(version(), Grant("s", "*")), Grant("s", "111122223333"))
    assert isinstance(error, ResourceConflict)
    assert error.message == (
        "The statement id (s) provided already exists. Please provide a new statement id, or remove the existing "
        "statement."
    )


def test_the_revision_is_checked_before_the_statement() -> None:
    made = grant(version(), Grant("s", "*"))
    for error in (
        refused(grant, made, Grant("s", "*"), "wrong"),
        refused(revoke, made, "unknown", "wrong"),
        refused(grant, version(), Grant("s", "*"), "wrong"),  # no policy, so no revision of one
    ):
        assert isinstance(error, PreconditionFailed)
        assert error.message == (
            "The Revision Id provided does not match the latest Revision Id. "
            "Call the GetLayerPolicy API to retrieve the latest Revision Id"
        )
    assert grant(made, Grant("t", "*"), "r1", "r9").policy.revision_id == "r9"  # type: ignore[union-attr]


def test_removal() -> None:
    made = grant(grant(version(), Grant("a", "*")), Grant("b", "*"))
    error = refused(revoke, made, "c")
    assert isinstance(error, ResourceNotFound)
    assert error.message == "Statement c is not found in resource policy."
    made = revoke(made, "a", "r1")
    policy = made.policy
    assert policy is not None
    assert (policy.revision_id, [one["Sid"] for one in policy.statements]) == ("r2", ["b"])
    assert revoke(made, "b").policy is None
    assert refused(revoke, version(), "s").message == "Statement s is not found in resource policy."


def test_a_policy_has_20_kb() -> None:
    made = version()
    error: LambentError | None = None
    for number in range(1_000):
        try:
            made = grant(made, Grant(f"s{number}", "111122223333"))
        except LambentError as refusal:
            error = refusal
            break
    assert isinstance(error, PolicyLengthExceeded)
    policy = made.policy
    assert policy is not None
    size, more = len(document(policy)), len(orjson.dumps(statement(Grant("s100", "111122223333"), ARN, "aws"))) + 1
    assert size <= POLICY_BYTES_MAX < size + more
    assert error.message == f"The final policy size ({size + more}) is bigger than the limit (20480)."


@pytest.mark.parametrize(
    ("given", "is_allowed"),
    [
        ((), False),
        ((Grant("s", "*"),), True),
        ((Grant("s", "111122223333"),), True),
        ((Grant("s", "arn:aws:iam::111122223333:root"),), True),
        ((Grant("s", "444455556666"),), False),
        ((Grant("s", "444455556666"), Grant("t", "111122223333")), True),
        ((Grant("s", "*", "o-0123456789"),), False),
        ((Grant("s", "111122223333", "o-0123456789"),), False),
    ],
)
def test_who_may_use_it(given: tuple[Grant, ...], is_allowed: bool) -> None:
    policy = LayerPolicy("r", tuple(statement(one, ARN, "aws") for one in given)) if given else None
    assert allows(policy, "111122223333") is is_allowed
