"""Errors and answers on the wire."""

from __future__ import annotations

import logging

import orjson
import pytest

import lambent.api.door  # noqa: F401  (so that all of the door's own errors exist)
from lambent.api.ports import Answer
from lambent.api.routing import UnknownOperation
from lambent.api.serialise import UnknownMember, serialise
from lambent.api.table import load_table
from lambent.api.wire import MODELLED, WIRE, Modelled, QueryError, render, wire_error
from lambent.domain import errors
from lambent.domain.errors import LambentError

OPERATIONS = load_table().operations


def of_the_domain(kind: type[LambentError]) -> list[type[LambentError]]:
    found = [kind] if kind.__module__.startswith(("lambent.domain", "lambent.api")) else []
    return found + [deeper for child in kind.__subclasses__() for deeper in of_the_domain(child)]


def test_every_error_has_a_row() -> None:
    assert [kind.__name__ for kind in of_the_domain(LambentError) if kind not in WIRE] == []


def test_every_exception_of_the_model_has_its_status_and_message_member() -> None:
    assert len(MODELLED) == 58
    rows = {code: (row.status, row.message_member, row.type) for code, row in MODELLED.items()}
    assert rows["ResourceNotFoundException"] == (404, "Message", "User")
    assert rows["ResourceConflictException"] == (409, "message", "User")
    assert rows["ServiceException"] == (500, "Message", "Service")
    assert rows["ProvisionedConcurrencyConfigNotFoundException"] == (404, "message", "User")
    assert rows["TooManyRequestsException"] == (429, "message", "User")
    assert rows["KMSDisabledException"] == (502, "Message", "Service")


@pytest.mark.parametrize(
    ("error", "status", "code", "body"),
    [
        (errors.FunctionNotFound("arn:x"), 404, "ResourceNotFoundException", b'{"Type":"User","Message":"Function not found: arn:x"}'),
        (errors.ValidationFailed("1 v"), 400, "ValidationException", b'{"message":"1 v"}'),
        (errors.InvalidParameterValue("p"), 400, "InvalidParameterValueException", b'{"Type":"User","message":"p"}'),
        (errors.InvalidParameterValue("p", typed=False), 400, "InvalidParameterValueException", b'{"message":"p"}'),
        (errors.AccessDenied(None), 403, "AccessDeniedException", b'{"Message":null}'),
        (errors.RequestEntityTooLarge("big"), 413, "RequestEntityTooLargeException", b'{"message":"big"}'),
        (errors.PreconditionFailed("r"), 412, "PreconditionFailedException", b'{"Type":"User","message":"r"}'),
        (errors.Unauthenticated("ExpiredTokenException", "old"), 403, "ExpiredTokenException", b'{"message":"old"}'),
        (errors.NotServed("later"), 501, "NotImplementedException", b'{"Type":"Service","message":"later"}'),
        (errors.DiskFull("full"), 500, "ServiceException", b'{"Type":"Service","Message":"full"}'),
        (UnknownOperation("GET", "/x"), 404, "UnknownOperationException", None),
        (Modelled("PolicyLengthExceededException", "long"), 400, "PolicyLengthExceededException", b'{"Type":"User","message":"long"}'),
        (QueryError("InvalidAction", "x"), 400, "InvalidAction", None),
        (Modelled("ResourceNotFoundException", "csc", typed=False), 404, "ResourceNotFoundException", b'{"Message":"csc"}'),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_errors_are_written_as_the_service_writes_them(
    error: LambentError, status: int, code: str, body: bytes | None
) -> None:
    answer = render(error, "id")
    assert (answer.status, answer.code) == (status, code)
    assert (b"x-amzn-errortype", code.encode()) in answer.headers
    if body is not None:
        assert answer.body == body


def test_a_throttle_carries_its_reason_and_when_to_come_back() -> None:
    answer = render(errors.TooManyRequests("ConcurrentInvocationLimitExceeded", retry_after_s=3), "id")
    assert answer.body == b'{"Reason":"ConcurrentInvocationLimitExceeded","Type":"User","message":"Rate Exceeded."}'
    assert (b"retry-after", b"3") in answer.headers
    assert b"retry-after" not in dict(render(errors.TooManyRequests("x"), "id").headers)


def test_what_is_not_served_is_read_by_sdks_that_take_unknown_codes_messages_from_a_header() -> None:
    assert (b"x-amzn-error-message", b"later") in render(errors.NotServed("later"), "id").headers
    assert b"x-amzn-error-message" not in dict(render(errors.ValidationFailed("x"), "id").headers)


def test_an_unknown_subclass_takes_its_nearest_ancestor_s_row() -> None:
    class Special(errors.ResourceConflict):
        __module__ = "tests"

    assert wire_error(Special("x")).code == "ResourceConflictException"


def test_another_service_s_error_brings_its_own_code() -> None:
    class Full(LambentError):
        __module__ = "tests"
        code = "ServiceUnavailableException"
        status = 503

    assert (render(Full("x"), "id").status, render(Full("x"), "id").code) == (503, "ServiceUnavailableException")


def test_what_nobody_modelled_is_logged_and_answered_without_its_words(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        answer = render(KeyError("secret"), "request-1")
    assert answer.status == 500
    assert answer.code == "ServiceException"
    assert b"secret" not in answer.body
    assert b"request-1" in answer.body
    assert "request-1" in caplog.text
    assert "secret" in caplog.text


def test_a_message_that_quotes_a_lone_surrogate_is_still_sent() -> None:
    answer = render(errors.InvalidParameterValue("bad \ud800"), "id")
    assert orjson.loads(answer.body)["message"] == "bad ?"


# Answers


def test_absent_and_none_members_stay_away_also_inside() -> None:
    output = {
        "FunctionName": "f",
        "Description": "",
        "Environment": None,
        "VpcConfig": {"SubnetIds": [], "VpcId": None},
        "Layers": [{"Arn": "a", "CodeSize": 1, "SigningJobArn": None}],
    }
    status, headers, body = serialise(OPERATIONS["CreateFunction"], output)
    assert (status, headers) == (201, [])
    assert body == (
        b'{"FunctionName":"f","Description":"","VpcConfig":{"SubnetIds":[]},"Layers":[{"Arn":"a","CodeSize":1}]}'
    )


def test_times_blobs_and_doubles() -> None:
    mapping = serialise(OPERATIONS["GetEventSourceMapping"], {"LastModified": 1764100000.5})
    assert mapping[2] == b'{"LastModified":1764100000.5}'
    alias = {"RoutingConfig": {"AdditionalVersionWeights": {"1": 1}}}
    assert serialise(OPERATIONS["GetAlias"], alias)[2] == b'{"RoutingConfig":{"AdditionalVersionWeights":{"1":1.0}}}'


def test_empty_answers_are_empty() -> None:
    assert serialise(OPERATIONS["DeleteAlias"], {}) == (204, [], b"")
    assert serialise(OPERATIONS["TagResource"], {}) == (204, [], b"")
    assert serialise(OPERATIONS["PauseDurableExecution"], {}) == (202, [], b"")
    assert serialise(OPERATIONS["DeleteFunction"], {}) == (204, [], b"")
    assert serialise(OPERATIONS["DeleteFunction"], {"StatusCode": 202}) == (202, [], b"")
    assert serialise(OPERATIONS["DeleteFunction"], {}, 202) == (202, [], b"")
    assert serialise(OPERATIONS["GetFunctionConcurrency"], {}) == (200, [], b"{}")


def test_bound_members_travel_in_headers_and_payloads_are_the_body() -> None:
    output = {"StatusCode": 200, "ExecutedVersion": "1", "Payload": b"null", "LogResult": None}
    assert serialise(OPERATIONS["Invoke"], output) == (200, [(b"x-amz-executed-version", b"1")], b"null")


def test_a_member_the_model_does_not_have_is_a_bug() -> None:
    for name, output in [
        ("GetFunction", {"Nope": 1}),
        ("DeleteAlias", {"Nope": 1}),
        ("GetFunction", {"Configuration": {"Nope": 1}}),
    ]:
        with pytest.raises(UnknownMember):
            serialise(OPERATIONS[name], output)


def test_an_answer_is_the_model_s_status_unless_it_says_otherwise() -> None:
    assert Answer({}).status is None
