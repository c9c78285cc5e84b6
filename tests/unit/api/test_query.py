"""The query protocol: forms in, XML out, errors in the services' shapes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any
from urllib.parse import urlencode
from xml.etree import ElementTree

import botocore.session
import pytest
from botocore.parsers import QueryParser
from botocore.serialize import QuerySerializer
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.api.doubles import Believing, Reply, request_of

from lambent.api.query import (
    CODES,
    IAM,
    STS,
    QueryDoor,
    QueryTable,
    UnknownOutput,
    read_input,
    read_parameters,
    write_answer,
)
from lambent.api.running import Running
from lambent.api.wire import QueryError
from lambent.domain.errors import Unauthenticated
from lambent.http import Buffered
from lambent.identity.errors import IamError, NoSuchEntity

TABLES = {"iam": IAM, "sts": STS}
MODELS = {name: botocore.session.Session().get_service_model(name) for name in TABLES}
ALL = [(service, operation) for service, table in TABLES.items() for operation in table.table.operations]
NAMESPACE = "https://sts.amazonaws.com/doc/2011-06-15/"


def form(**parameters: str) -> bytes:
    return urlencode(parameters).encode()


class Identity:
    """A handler that answers what it was told to."""

    def __init__(self, answer: Any = None) -> None:
        self.answer = answer or {"Account": "123456789012"}
        self.asked: list[dict[str, Any]] = []

    async def __call__(self, caller: Any, values: dict[str, Any]) -> dict[str, Any]:
        self.asked.append(values)
        if isinstance(self.answer, BaseException):
            raise self.answer
        output: dict[str, Any] = self.answer
        return output


async def served(
    handler: Identity,
    body: bytes,
    *,
    operation: str = "GetCallerIdentity",
    table: QueryTable = STS,
    authenticator: Any = None,
    target: str = "/",
    running: Running | None = None,
) -> Reply:
    door = QueryDoor("sts", table, authenticator or Believing(), Running() if running is None else running)
    door.register(operation, handler)
    reply: Any = Reply(request_of("GET" if target != "/" else "POST", target, body=body))
    wanted = door.head(reply)
    if isinstance(wanted, Buffered):
        if len(body) > wanted.limit:
            door.too_large(reply, wanted.limit, len(body))
        else:
            door.handle(reply)
    async with asyncio.timeout(5):
        await reply.answered.wait()
    answered: Reply = reply
    return answered


def error_of(reply: Reply) -> tuple[int, str, str, str]:
    """Status, type, code and message, as the SDK's own parser would find them in the XML."""
    root = ElementTree.fromstring(reply.body)
    space = f"{{{NAMESPACE}}}"
    error = root.find(f"{space}Error")
    assert root.tag == f"{space}ErrorResponse"
    assert error is not None
    assert root.findtext(f"{space}RequestId") == reply.headers[b"x-amzn-requestid"].decode()
    found = [error.findtext(f"{space}{name}") or "" for name in ("Type", "Code", "Message")]
    return reply.status, found[0], found[1], found[2]


async def test_an_answer_is_wrapped_with_its_request_id() -> None:
    reply = await served(Identity(), form(Action="GetCallerIdentity", Version="2011-06-15"))
    request_id = reply.headers[b"x-amzn-requestid"].decode()
    assert (reply.status, reply.headers[b"content-type"]) == (200, b"text/xml")
    assert reply.body.decode() == (
        f'<GetCallerIdentityResponse xmlns="{NAMESPACE}"><GetCallerIdentityResult><Account>123456789012</Account>'
        f"</GetCallerIdentityResult><ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata>"
        "</GetCallerIdentityResponse>"
    )


async def test_a_get_is_read_from_its_query() -> None:
    target = "/?Action=GetCallerIdentity&Version=2011-06-15&X-Amz-Signature=x"
    assert (await served(Identity(), b"", target=target)).status == 200


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"", (400, "Sender", "MissingAction", "The request does not name an Action.")),
        (form(Action=""), (400, "Sender", "MissingAction", "The request does not name an Action.")),
        (
            form(Action="Dance"),
            (400, "Sender", "InvalidAction", "Could not find operation Dance for version 2011-06-15"),
        ),
        (
            form(Action="GetCallerIdentity", Version="2010-05-08"),
            (400, "Sender", "InvalidAction", "Could not find operation GetCallerIdentity for version 2010-05-08"),
        ),
        (b"Action=%ff", (400, "Sender", "MalformedQueryString", "The parameters of the request are not UTF-8.")),
    ],
)
async def test_requests_that_name_no_operation(body: bytes, error: tuple[Any, ...]) -> None:
    assert error_of(await served(Identity(), body)) == error


@pytest.mark.parametrize(
    "action", ["AssumeRoleWithWebIdentity", "AssumeRoleWithSAML", "GetFederationToken", "AssumeRole"]
)
async def test_what_is_not_served_says_so(action: str) -> None:
    status, kind, code, message = error_of(await served(Identity(), form(Action=action)))
    assert (status, kind, code) == (501, "Receiver", "NotImplementedException")
    assert message.startswith(f"{action} is a valid operation of sts, but Lambent ")
    assert message.endswith("Operations of sts that are served: GetCallerIdentity.")


async def test_values_are_validated_in_the_services_words() -> None:
    body = form(Action="AssumeRole", RoleArn="short", RoleSessionName="!", DurationSeconds="5")
    status, _, code, message = error_of(await served(Identity(), body, operation="AssumeRole"))
    assert (status, code) == (400, "ValidationError")
    assert message == (
        "4 validation errors detected: Value 'short' at 'roleArn' failed to satisfy constraint: Member must have length "
        "greater than or equal to 20; Value '!' at 'roleSessionName' failed to satisfy constraint: Member must have "
        "length greater than or equal to 2; Value '!' at 'roleSessionName' failed to satisfy constraint: Member must "
        "satisfy regular expression pattern: [\\w+=,.@-]*; Value '5' at 'durationSeconds' failed to satisfy constraint: "
        "Member must have value greater than or equal to 900"
    )


@pytest.mark.parametrize(
    ("member", "value", "message"),
    [
        ("DurationSeconds", "soon", "DurationSeconds is a number, not 'soon'."),
        ("DurationSeconds", "9" * 5_000, None),
    ],
)
async def test_values_of_a_wrong_type(member: str, value: str, message: str | None) -> None:
    body = form(Action="AssumeRole", **{member: value})
    _, _, code, text = error_of(await served(Identity(), body, operation="AssumeRole"))
    assert code == "MalformedInput"
    assert message in (None, text)


async def test_a_handler_s_refusal_has_its_code_and_status() -> None:
    reply = await served(Identity(NoSuchEntity("a <role> & more\x00")), form(Action="GetCallerIdentity"))
    assert error_of(reply) == (404, "Sender", "NoSuchEntity", "a <role> & more?")


async def test_our_own_failure_says_nothing_of_itself() -> None:
    status, kind, code, message = error_of(await served(Identity(KeyError("secret")), form(Action="GetCallerIdentity")))
    assert (status, kind, code) == (500, "Receiver", "ServiceFailure")
    assert "secret" not in message


async def test_over_the_bound_of_handlers_is_throttling() -> None:
    reply = await served(Identity(), form(Action="GetCallerIdentity"), running=Running(0))
    assert error_of(reply)[:3] == (400, "Sender", "Throttling")


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("MissingAuthenticationTokenException", (403, "MissingAuthenticationToken")),
        ("UnrecognizedClientException", (403, "InvalidClientTokenId")),
        ("ExpiredTokenException", (403, "ExpiredToken")),
        ("InvalidSignatureException", (403, "SignatureDoesNotMatch")),
        ("IncompleteSignatureException", (400, "IncompleteSignature")),
    ],
)
async def test_who_is_not_let_in_reads_the_codes_of_this_protocol(code: str, expected: tuple[int, str]) -> None:
    async def later() -> None:
        raise Unauthenticated(code, "no")

    authenticator = Believing()

    def now() -> Awaitable[None] | None:
        raise Unauthenticated(code, "no")

    for verdict in (later, now):
        authenticator.verdict = verdict
        status, _, found, message = error_of(
            await served(Identity(), form(Action="GetCallerIdentity"), authenticator=authenticator)
        )
        assert ((status, found), message) == (expected, "no")
    assert code in CODES


# Reading and writing, against the SDK's own serialiser and parser


def example(shape: Any, depth: int = 0) -> Any:
    """A value of a shape of botocore's, every member filled in."""
    match shape.type_name:
        case "structure":
            return {name: example(member, depth + 1) for name, member in shape.members.items() if depth < 6}
        case "list":
            return [example(shape.member, depth + 1), example(shape.member, depth + 1)]
        case "boolean":
            return True
        case "integer":
            return 7
        case "timestamp":
            return 1_764_100_000_000
    return 'a <b> & "c" + 100% ä\n'


@pytest.mark.parametrize(("service", "name"), ALL)
def test_every_input_is_read_as_the_sdk_writes_it(service: str, name: str) -> None:
    model = MODELS[service].operation_model(name)
    if model.input_shape is None or not model.input_shape.members:
        return
    values = example(model.input_shape)
    sent = QuerySerializer().serialize_to_request(values, model)
    request = request_of("POST", "/", body=urlencode(sent["body"]).encode())
    parameters = read_parameters(request)
    assert parameters["Action"] == name
    assert read_input(TABLES[service].table.operations[name], parameters) == values


@pytest.mark.parametrize(("service", "name"), ALL)
def test_every_output_is_written_as_the_sdk_reads_it(service: str, name: str) -> None:
    model = MODELS[service].operation_model(name)
    values = {} if model.output_shape is None else example(model.output_shape)
    body = write_answer(TABLES[service].table.operations[name], values, TABLES[service].namespace, "id")
    parser = QueryParser(timestamp_parser=lambda text: text)
    answered = {"body": body, "headers": {}, "status_code": 200}
    parsed = parser.parse(answered, model.output_shape)
    assert parsed.pop("ResponseMetadata")["RequestId"] == "id"
    assert parsed == dated(values)


def dated(value: Any) -> Any:
    """The example's moment as it is written."""
    if isinstance(value, dict):
        return {name: dated(one) for name, one in value.items()}
    if isinstance(value, list):
        return [dated(one) for one in value]
    return "2025-11-25T19:46:40Z" if value == 1_764_100_000_000 else value


def test_an_empty_list_is_read_as_one() -> None:
    operation = IAM.table.operations["CreateRole"]
    assert read_input(operation, {"Tags": ""}) == {"Tags": []}
    assert read_input(operation, {"Tags.member.2.Key": "b", "Tags.member.1.Key": "a"}) == {
        "Tags": [{"Key": "a"}, {"Key": "b"}]
    }


@given(st.dictionaries(st.text("Tags.membr1Key", max_size=24), st.text(max_size=4), max_size=8))
def test_any_parameters_are_read_or_refused(parameters: dict[str, str]) -> None:
    for operation in IAM.table.operations.values():
        try:
            read_input(operation, parameters)
        except QueryError:
            continue


def test_booleans() -> None:
    operation = IAM.table.operations["CreatePolicyVersion"]
    assert read_input(operation, {"SetAsDefault": "true"}) == {"SetAsDefault": True}
    assert read_input(operation, {"SetAsDefault": "False"}) == {"SetAsDefault": False}
    with pytest.raises(QueryError, match="SetAsDefault is a boolean, not '1'"):
        read_input(operation, {"SetAsDefault": "1"})


def test_a_member_the_model_lacks_is_a_bug() -> None:
    with pytest.raises(UnknownOutput):
        write_answer(STS.table.operations["GetCallerIdentity"], {"Name": "x"}, NAMESPACE, "id")
    with pytest.raises(UnknownOutput):
        write_answer(IAM.table.operations["TagRole"], {"Name": "x"}, NAMESPACE, "id")


@pytest.mark.parametrize("service", ["iam", "sts"])
def test_the_tables_name_every_operation(service: str) -> None:
    table = TABLES[service]
    assert {*table.table.operations, *table.others} == set(MODELS[service].operation_names)


@pytest.mark.parametrize("kind", IamError.__subclasses__(), ids=lambda kind: str(kind.__name__))
def test_the_errors_have_the_model_s_codes_and_statuses(kind: type[IamError]) -> None:
    common = {"ValidationError": 400, "AccessDenied": 403}  # of every service of the protocol, in no model
    modelled = {
        shape.error_code: shape.metadata["error"]["httpStatusCode"]
        for shape in MODELS["iam"].error_shapes
        if "error" in shape.metadata
    }
    assert (modelled | common)[kind.code] == kind.status


def test_a_handler_is_registered_once() -> None:
    authenticator: Any = Believing()
    door = QueryDoor("sts", STS, authenticator, Running())
    door.register("AssumeRole", Identity())
    with pytest.raises(ValueError, match="AssumeRole has a handler already"):
        door.register("AssumeRole", Identity())
    assert door.operations_served == ["AssumeRole"]
