"""Layers as values: numbers, documents, and policies word for word."""

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
from lambent.layers.model import Layer, LayerPolicy, LayerVersion, decode, encode
from lambent.layers.moves import (
    Grant,
    allows,
    check_number,
    document,
    granted,
    newest,
    published,
    revoked,
    statement,
    without_version,
)

ARN = "arn:aws:lambda:us-east-1:123456789012:layer:l:1"
KEY = Key("123456789012", "us-east-1", "l")


def version(**members: Any) -> LayerVersion:
    defaults = {"number": 0, "digest": "d" * 64, "sha256_base64": "s", "size_bytes": 10, "unpacked_bytes": 20}
    return LayerVersion(**{**defaults, "created_ms": 1, **members})


def layer(count: int = 1, **members: Any) -> Layer:
    made = Layer()
    for _ in range(count):
        made = published(made, version(**members))
    return made


def grant(
    made: Layer | None, given: Grant, revision_id: str | None = None, fresh: str = "r1", number: int = 1
) -> Layer:
    return granted(made, number, ARN, "aws", given, revision_id=revision_id, fresh=fresh)


def revoke(made: Layer | None, sid: str, revision_id: str | None = None, number: int = 1) -> Layer:
    return revoked(made, number, ARN, sid, revision_id=revision_id, fresh="r2")


def refused(call: Any, *arguments: Any, **named: Any) -> LambentError:
    with pytest.raises(LambentError) as error:
        call(*arguments, **named)
    return error.value


def test_numbers_count_up_and_are_never_used_again() -> None:
    made = layer(3)
    assert [(n, one.number) for n, one in made.versions.items()] == [(1, 1), (2, 2), (3, 3)]
    for number in (3, 1, 2):
        gone = without_version(made, number)
        assert gone is not None
        made = gone
    assert made == Layer(4, {})
    assert list(published(made, version()).versions) == [4]


def test_deleting_what_is_not_there_changes_nothing() -> None:
    made = layer()
    assert without_version(made, 2) is made
    assert without_version(None, 1) is None


@pytest.mark.parametrize("number", [0, -1])
def test_no_version_is_below_one(number: int) -> None:
    for error in (refused(check_number, number), refused(without_version, layer(), number)):
        assert isinstance(error, InvalidParameterValue)
        assert error.message == "Layer Version Cannot be less than 1"


def test_versions_are_newest_first_and_declare_what_they_match() -> None:
    made = layer(2)
    made = published(made, version(runtimes=("python3.11", "python3.12"), architectures=("arm64",)))
    made = published(made, version(runtimes=(), architectures=("arm64", "x86_64")))
    found = lambda **wanted: [one.number for one in newest(made, **wanted)]  # noqa: E731
    assert found() == [4, 3, 2, 1]
    assert found(runtime="python3.11") == [3]
    assert found(architecture="arm64") == [4, 3]
    assert found(runtime="python3.12", architecture="x86_64") == []


def test_a_layer_is_read_back_as_it_was() -> None:
    made = layer(2, description="d", license_info="MIT", runtimes=("python3.11",), architectures=())
    made = published(made, version(runtimes=()))
    made = grant(made, Grant("all", "*", "o-0123456789"))
    assert decode(KEY, encode(made)) == made
    assert decode(KEY, encode(Layer(7, {}))) == Layer(7, {})


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
    made = grant(grant(layer(), Grant("b", "*")), Grant("a", "111122223333"), fresh="r2")
    policy = made.versions[1].policy
    assert policy is not None
    assert policy.revision_id == "r2"
    assert document(policy) == (
        '{"Version":"2012-10-17","Id":"default","Statement":['
        '{"Sid":"b","Effect":"Allow","Principal":"*","Action":"lambda:GetLayerVersion","Resource":"' + ARN + '"},'
        '{"Sid":"a","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:root"},'
        '"Action":"lambda:GetLayerVersion","Resource":"' + ARN + '"}]}'
    )


@pytest.mark.parametrize("number", [0, 2])
@pytest.mark.parametrize("made", [None, layer()])
def test_a_policy_belongs_to_a_version_that_exists(made: Layer | None, number: int) -> None:
    for error in (
        refused(grant, made, Grant("s", "*"), number=number, revision_id="wrong"),
        refused(revoke, made, "s", number=number, revision_id="wrong"),
    ):
        assert isinstance(error, ResourceNotFound)
        assert error.message == f"Layer version {ARN} does not exist."


def test_a_statement_id_is_taken_once() -> None:
    error = refused(grant, grant(layer(), Grant("s", "*")), Grant("s", "111122223333"))
    assert isinstance(error, ResourceConflict)
    assert error.message == (
        "The statement id (s) provided already exists. Please provide a new statement id, or remove the existing "
        "statement."
    )


def test_the_revision_is_checked_before_the_statement() -> None:
    made = grant(layer(), Grant("s", "*"))
    for error in (
        refused(grant, made, Grant("s", "*"), "wrong"),
        refused(revoke, made, "unknown", "wrong"),
        refused(grant, layer(), Grant("s", "*"), "wrong"),  # no policy, so no revision of one
    ):
        assert isinstance(error, PreconditionFailed)
        assert error.message == (
            "The Revision Id provided does not match the latest Revision Id. "
            "Call the GetLayerPolicy API to retrieve the latest Revision Id"
        )
    assert grant(made, Grant("t", "*"), "r1", "r9").versions[1].policy.revision_id == "r9"  # type: ignore[union-attr]


def test_removal() -> None:
    made = grant(grant(layer(), Grant("a", "*")), Grant("b", "*"))
    error = refused(revoke, made, "c")
    assert isinstance(error, ResourceNotFound)
    assert error.message == "Statement c is not found in resource policy."
    made = revoke(made, "a", "r1")
    policy = made.versions[1].policy
    assert policy is not None
    assert (policy.revision_id, [one["Sid"] for one in policy.statements]) == ("r2", ["b"])
    assert revoke(made, "b").versions[1].policy is None
    assert refused(revoke, layer(), "s").message == "Statement s is not found in resource policy."


def test_a_policy_has_20_kb() -> None:
    made = layer()
    error: LambentError | None = None
    for number in range(1_000):
        try:
            made = grant(made, Grant(f"s{number}", "111122223333"))
        except LambentError as refusal:
            error = refusal
            break
    assert isinstance(error, PolicyLengthExceeded)
    policy = made.versions[1].policy
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
