"""The public door: who answers, in which order it is decided, and what is said when nobody does."""

from __future__ import annotations

import asyncio
import base64
import json
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.api.doubles import Believing, Reply, request_of, send

from lambent.api.bodies import BodyBudget
from lambent.api.door import JSON_THREAD_BYTES, KNOWN_BYTES_MAX, KNOWN_MAX, PublicDoor
from lambent.api.ports import Answer
from lambent.api.retry import sdk_invocation_id
from lambent.api.running import Running
from lambent.api.sizes import (
    CONTROL_BYTES_MAX,
    INVOKE_ASYNC_BYTES_MAX,
    INVOKE_SLACK_BYTES,
    TARGET_BYTES_MAX,
    UPLOAD_SLACK_BYTES,
)
from lambent.api.table import INVOKE_FAMILY, load_table
from lambent.domain.errors import FunctionNotFound, InvalidParameterValue, Unauthenticated
from lambent.domain.ids import is_uuid
from lambent.domain.limits import INVOKE_REQUEST_BYTES_MAX, REQUEST_BYTES_MAX, ZIP_DIRECT_BYTES_MAX
from lambent.http import Buffered

FUNCTION = "/2015-03-31/functions/f"
INVOKE = f"{FUNCTION}/invocations"
LAMBDA = {"x-test-service": "lambda"}


class Invoking:
    """An invoke door that answers with what it was given."""

    operations = ("Invoke", "InvokeAsync")

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.error: Exception | None = None

    def handle(self, exchange: Any, caller: Any, operation: str, params: dict[str, Any]) -> None:
        self.calls.append((operation, params))
        if self.error is not None:
            raise self.error
        exchange.respond(200, [(b"x-amzn-requestid", exchange.context.request_id.encode())], exchange.request.body)


class Nobody(Believing):
    """Callers without a signature."""

    def identify(self, request: Any) -> Any:
        return replace(super().identify(request), access_key=None)


class Other:
    """An application of somebody else's."""

    def head(self, exchange: Any) -> Buffered:
        exchange.context = "mine"
        return Buffered(10)

    def handle(self, exchange: Any) -> None:
        assert exchange.context == "mine"
        exchange.respond(299, [], exchange.request.body)

    def too_large(self, exchange: Any, limit: int, declared: int | None) -> None:
        exchange.respond(413, [], str(limit).encode())


async def get_function(caller: Any, values: dict[str, Any]) -> Answer:
    if values["FunctionName"] == "missing":
        raise FunctionNotFound("arn:missing")
    if values["FunctionName"] == "broken":
        raise ZeroDivisionError
    return Answer({"Configuration": {"FunctionName": values["FunctionName"]}}, headers=[(b"x-extra", b"1")])


# Lambda's operations


async def test_an_operation_goes_through_its_handler(door: PublicDoor) -> None:
    door.register("GetFunction", get_function)
    reply = await send(door, "GET", FUNCTION, LAMBDA)
    assert (reply.status, reply.json) == (200, {"Configuration": {"FunctionName": "f"}})
    assert is_uuid(reply.headers[b"x-amzn-requestid"].decode())
    assert reply.headers[b"content-type"] == b"application/json"
    assert reply.headers[b"x-extra"] == b"1"


async def test_a_refusal_and_a_bug_are_answered(door: PublicDoor, caplog: pytest.LogCaptureFixture) -> None:
    door.register("GetFunction", get_function)
    reply = await send(door, "GET", "/2015-03-31/functions/missing")
    assert (reply.status, reply.headers[b"x-amzn-errortype"]) == (404, b"ResourceNotFoundException")
    assert reply.json == {"Type": "User", "Message": "Function not found: arn:missing"}
    broken = await send(door, "GET", "/2015-03-31/functions/broken")
    assert broken.headers[b"x-amzn-errortype"] == b"ServiceException"
    assert broken.headers[b"x-amzn-requestid"].decode() in caplog.text


async def test_the_order_is_authentication_reading_validation_serving(
    door: PublicDoor, authenticator: Believing
) -> None:
    bad_type, bad_value = b'{"Timeout": "x"}', b'{"Timeout": 0}'
    path = f"{FUNCTION}/configuration"

    def refuse() -> None:
        raise Unauthenticated("InvalidSignatureException", "no")

    assert (await send(door, "PUT", path, body=bad_type)).headers[b"x-amzn-errortype"] == b"SerializationException"
    reply = await send(door, "PUT", path, body=bad_value)
    assert reply.headers[b"x-amzn-errortype"] == b"ValidationException"
    served = await send(door, "PUT", path, body=b"{}")
    assert (served.status, served.headers[b"x-amzn-errortype"]) == (501, b"NotImplementedException")
    assert "UpdateFunctionConfiguration" in served.json["message"]
    assert "later" in served.json["message"]
    authenticator.verdict = refuse
    for body in (bad_type, bad_value, b"{}"):
        reply = await send(door, "PUT", path, body=body)
        assert (reply.status, reply.json) == (403, {"message": "no"})


async def test_a_verdict_may_take_its_time(door: PublicDoor, authenticator: Believing) -> None:
    async def later() -> None:
        await asyncio.sleep(0)
        raise Unauthenticated("InvalidSignatureException", "late")

    authenticator.verdict = later
    for method, path in (("GET", FUNCTION), ("POST", INVOKE)):
        assert (await send(door, method, path)).json == {"message": "late"}


async def test_unknown_paths_and_methods_are_answered_in_the_service_s_shape(door: PublicDoor) -> None:
    reply = await send(door, "GET", "/2015-03-31/nothing", LAMBDA)
    assert (reply.status, reply.headers[b"x-amzn-errortype"]) == (404, b"UnknownOperationException")
    reply = await send(door, "PATCH", FUNCTION, LAMBDA)
    assert (reply.status, reply.headers[b"allow"]) == (405, b"DELETE, GET")


async def test_a_large_body_is_parsed_in_a_thread(door: PublicDoor) -> None:
    seen: list[int] = []

    async def update(caller: Any, values: dict[str, Any]) -> Answer:
        seen.append(len(values["ZipFile"]))
        return Answer({})

    door.register("UpdateFunctionCode", update)
    body = json.dumps({"ZipFile": base64.b64encode(bytes(JSON_THREAD_BYTES)).decode()}).encode()
    assert (await send(door, "PUT", f"{FUNCTION}/code", body=body)).status == 200
    assert seen == [JSON_THREAD_BYTES]


async def test_a_handler_knows_which_call_of_an_sdk_it_serves(door: PublicDoor) -> None:
    seen: list[str | None] = []

    async def remember(caller: Any, values: dict[str, Any]) -> Answer:
        seen.append(sdk_invocation_id.get())
        return Answer({})

    door.register("GetFunction", remember)
    await send(door, "GET", FUNCTION, {"amz-sdk-invocation-id": "call-1"})
    await send(door, "GET", FUNCTION)
    assert seen == ["call-1", None]


def test_only_the_table_s_operations_take_a_handler_and_only_one(door: PublicDoor) -> None:
    for name in ("Nope", *INVOKE_FAMILY):
        with pytest.raises(ValueError, match="is not an operation"):
            door.register(name, get_function)
    door.register("GetFunction", get_function)
    with pytest.raises(ValueError, match="already"):
        door.register("GetFunction", get_function)
    assert door.operations_served == ["GetFunction"]


async def test_what_is_registered_later_is_registered_once_and_by_its_own_first_request(door: PublicDoor) -> None:
    registered: list[str] = []

    def register_one() -> None:
        registered.append("one")
        if len(registered) == 1:
            raise MemoryError
        door.register("GetFunction", nothing)
        door.register("GetFunctionConfiguration", nothing)

    async def nothing(caller: Any, values: dict[str, Any]) -> Answer:
        return Answer({})

    door.register_later(["GetFunction", "GetFunctionConfiguration"], register_one)
    door.register_later(["GetPolicy"], lambda: registered.append("another"))
    assert door.operations_served == ["GetFunction", "GetFunctionConfiguration", "GetPolicy"]
    assert registered == []
    assert (await send(door, "GET", FUNCTION)).status == 500
    for path in (FUNCTION, f"{FUNCTION}/configuration", FUNCTION):
        assert (await send(door, "GET", path)).status == 200
    assert registered == ["one", "one"], "what could not be made is made for the next request"


# Handlers in flight


async def test_more_handlers_than_the_bound_are_throttled(authenticator: Believing) -> None:
    gate = asyncio.Event()

    async def wait(caller: Any, values: dict[str, Any]) -> Answer:
        await gate.wait()
        return Answer({})

    door = PublicDoor(authenticator, running=Running(at_most=1))
    door.register("GetFunction", wait)
    first = asyncio.create_task(send(door, "GET", FUNCTION))
    await asyncio.sleep(0)
    reply = await send(door, "GET", FUNCTION)
    assert (reply.status, reply.headers[b"retry-after"]) == (429, b"1")
    assert reply.json == {"Reason": "CallerRateLimitExceeded", "Type": "User", "message": "Rate exceeded"}
    gate.set()
    assert (await first).status == 200
    assert (await send(door, "GET", FUNCTION)).status == 200


async def test_draining_lets_handlers_end_and_then_cancels_them(authenticator: Believing) -> None:
    ended: list[str] = []
    gate = asyncio.Event()

    async def wait(caller: Any, values: dict[str, Any]) -> Answer:
        if values["FunctionName"] == "stuck":
            await asyncio.Event().wait()
        await gate.wait()
        ended.append(values["FunctionName"])
        return Answer({})

    door = PublicDoor(authenticator)
    door.register("GetFunction", wait)
    good = asyncio.create_task(send(door, "GET", "/2015-03-31/functions/good"))
    stuck = asyncio.create_task(send(door, "GET", "/2015-03-31/functions/stuck"))
    await asyncio.sleep(0)
    asyncio.get_running_loop().call_soon(gate.set)
    await door.drain(0.05)
    assert ended == ["good"]
    assert ((await good).status, (await stuck).status) == (200, 500)


# The Invoke family


async def test_an_invocation_is_handed_over_with_its_parameters(authenticator: Believing) -> None:
    invoking = Invoking()
    door = PublicDoor(authenticator, invoking)
    headers = {"x-amz-invocation-type": "Event", "x-amz-client-context": "e30="}
    for _ in range(2):
        reply = await send(door, "POST", f"{INVOKE}?Qualifier=live", headers, b"\xff raw")
        assert (reply.status, reply.body) == (200, b"\xff raw")
    expected = {"FunctionName": "f", "Qualifier": "live", "InvocationType": "Event", "ClientContext": "e30="}
    assert invoking.calls == [("Invoke", expected), ("Invoke", expected)]
    assert invoking.calls[0][1] is not invoking.calls[1][1]
    await send(door, "POST", f"{INVOKE}?Qualifier=live")
    assert invoking.calls[-1] == ("Invoke", {"FunctionName": "f", "Qualifier": "live"})
    await send(door, "POST", "/2014-11-13/functions/f/invoke-async", headers)
    assert invoking.calls[-1] == ("InvokeAsync", {"FunctionName": "f"})
    await send(door, "POST", "/2021-11-15/functions/f/response-streaming-invocations")
    assert invoking.calls[-1] == ("InvokeWithResponseStream", {"FunctionName": "f"})
    assert door.operations_served == ["Invoke", "InvokeAsync"]  # as the invoke door says itself


async def test_a_bad_invocation_is_refused_every_time(authenticator: Believing) -> None:
    invoking = Invoking()
    door = PublicDoor(authenticator, invoking)
    for _ in range(2):
        reply = await send(door, "POST", INVOKE, {"x-amz-invocation-type": "Later"})
        assert (reply.status, reply.headers[b"x-amzn-errortype"]) == (400, b"ValidationException")
    invoking.error = InvalidParameterValue("tenant")
    assert (await send(door, "POST", INVOKE)).json == {"Type": "User", "message": "tenant"}
    assert len(invoking.calls) == 1


async def test_the_caller_may_choose_the_request_id(authenticator: Believing) -> None:
    door = PublicDoor(authenticator, Invoking())
    chosen = "0190A5C4-0000-7000-8000-000000000001"
    reply = await send(door, "POST", INVOKE, {"x-amzn-requestid": chosen})
    assert reply.headers[b"x-amzn-requestid"] == chosen.encode()
    reply = await send(door, "POST", INVOKE, {"x-amzn-requestid": "nonsense"})
    assert reply.headers[b"x-amzn-errortype"] == b"InvalidRequestContentException"
    assert is_uuid(reply.headers[b"x-amzn-requestid"].decode())


async def test_without_an_invoke_door_invocations_are_not_served(door: PublicDoor) -> None:
    assert (await send(door, "POST", INVOKE)).status == 501


def test_remembered_invocations_are_bounded() -> None:
    from lambent.api.invoking import REMEMBERED_BYTES_MAX, InvokeParameters

    memory = InvokeParameters(remembered_max=3)
    invoke = load_table().operations["Invoke"]
    for index in range(10):
        name = f"f{index}"
        memory.read(invoke, [name.encode()], request_of("POST", f"/2015-03-31/functions/{name}/invocations"))
    assert len(memory) == 3
    memory.read(invoke, [b"f"], request_of("POST", f"{INVOKE}?x={'a' * REMEMBERED_BYTES_MAX}"))
    invoke_async = load_table().operations["InvokeAsync"]
    path = "/2014-11-13/functions/f/invoke-async"
    memory.read(invoke_async, [b"f"], request_of("POST", path, {"x-amz-tenant-id": "a" * REMEMBERED_BYTES_MAX}))
    assert ("POST", path.encode()) not in {key[:2] for key in memory._remembered}


async def test_what_paths_mean_is_remembered_up_to_a_bound(authenticator: Believing) -> None:
    door = PublicDoor(authenticator, Invoking())
    for number in range(KNOWN_MAX + 5):
        reply = await send(
            door, "POST", f"/2015-03-31/functions/f{number}/invocations", LAMBDA | {"host": "127.0.0.1:4566"}
        )
        assert reply.status == 200
    assert len(door._known) == 5
    await send(door, "POST", INVOKE, LAMBDA | {"host": "127.0.0.1:4566"})
    long = "a" * KNOWN_BYTES_MAX
    await send(door, "POST", f"/2015-03-31/functions/{long}/invocations", LAMBDA | {"host": "127.0.0.1"})
    await send(door, "POST", f"{INVOKE}?Qualifier=x", LAMBDA | {"host": "127.0.0.1"})
    await send(door, "POST", INVOKE, LAMBDA | {"host": "a-name-that-a-user-may-give.example"})
    assert len(door._known) == 6


async def test_a_host_that_is_mounted_later_is_not_taken_for_what_it_was(authenticator: Believing) -> None:
    door = PublicDoor(authenticator, Invoking())
    headers = LAMBDA | {"host": "id.lambda-url.localhost"}
    assert (await send(door, "POST", INVOKE, LAMBDA | {"host": "localhost"})).status == 200
    assert (await send(door, "POST", INVOKE, headers)).status == 200
    door.mount_host(b".lambda-url.", Other())
    assert (await send(door, "POST", INVOKE, headers)).status == 299
    assert (await send(door, "POST", INVOKE, LAMBDA | {"host": "localhost"})).status == 200
    door.mount_path(b"/2015-03-31/functions/", Other())
    assert (await send(door, "POST", INVOKE, LAMBDA | {"host": "localhost"})).status == 299


# Sizes


async def test_oversized_payloads_learn_their_size_and_limit(authenticator: Believing) -> None:
    door = PublicDoor(authenticator, Invoking())
    size = INVOKE_REQUEST_BYTES_MAX + INVOKE_SLACK_BYTES + 1
    reply = await send(door, "POST", INVOKE, body=bytes(size))
    assert (reply.status, reply.headers[b"x-amzn-errortype"]) == (413, b"RequestEntityTooLargeException")
    text = f"{size} byte payload is too large for the RequestResponse invocation type (limit 6291456 bytes)"
    assert reply.json == {"message": text}
    reply = await send(door, "POST", INVOKE, {"x-amz-invocation-type": "Event"}, bytes(size))
    text = f"{size} byte payload is too large for the Event invocation type (limit 1048576 bytes)"
    assert reply.json == {"message": text}
    reply = await send(door, "POST", "/2014-11-13/functions/f/invoke-async", body=bytes(INVOKE_ASYNC_BYTES_MAX + 1))
    text = "262145 byte payload is too large for the Event invocation type (limit 262144 bytes)"
    assert reply.json == {"message": text}
    assert (await send(door, "POST", INVOKE, body=bytes(INVOKE_REQUEST_BYTES_MAX))).status == 200


async def test_oversized_uploads_and_requests(door: PublicDoor) -> None:
    zip_text = f"Zipped size must be smaller than {ZIP_DIRECT_BYTES_MAX} bytes"
    request_text = "Request must be smaller than 70167211 bytes for the CreateFunction operation"
    create = "/2015-03-31/functions"
    too_large_zip = b'{"Code":{"ZipFile":"%s"}}' % base64.b64encode(bytes(ZIP_DIRECT_BYTES_MAX + 1))
    for body, text in [
        (too_large_zip, zip_text),
        (too_large_zip + b" " * (REQUEST_BYTES_MAX - len(too_large_zip) + 1), zip_text),
        (b'{"Code":{}}' + b" " * REQUEST_BYTES_MAX, request_text),
        (bytes(REQUEST_BYTES_MAX + UPLOAD_SLACK_BYTES + 1), zip_text),
    ]:
        reply = await send(door, "POST", create, body=body)
        assert (reply.status, reply.json) == (413, {"message": text})
    reply = await send(
        door, "PUT", f"{FUNCTION}/concurrency".replace("2015-03-31", "2017-10-31"), body=bytes(CONTROL_BYTES_MAX + 1)
    )
    text = f"Request must be smaller than {CONTROL_BYTES_MAX} bytes for the PutFunctionConcurrency operation"
    assert reply.json == {"message": text}


async def test_large_bodies_are_admitted_within_a_budget_and_given_back(authenticator: Believing) -> None:
    bodies = BodyBudget(at_most=3 << 20)
    door = PublicDoor(authenticator, Invoking(), bodies=bodies)
    large = {"content-length": str(2 << 20)}
    receiving: Any = Reply(request_of("POST", INVOKE, large))
    assert door.head(receiving) is not None
    assert bodies.taken == 2 << 20
    reply = await send(door, "POST", INVOKE, large)
    assert (reply.status, reply.json["Reason"]) == (429, "CallerRateLimitExceeded")
    assert (await send(door, "POST", INVOKE, {"content-length": "999"})).status == 200
    assert (await send(door, "POST", INVOKE, {"content-length": "1000000"})).status == 200
    assert (await send(door, "POST", INVOKE, {"transfer-encoding": "chunked"})).status == 429
    del receiving  # its client vanished in the middle of the body
    assert bodies.taken == 0
    assert (await send(door, "POST", INVOKE, large)).status == 200
    assert bodies.taken == 0


# Other services


async def test_a_json_service_is_mounted_by_its_target(door: PublicDoor) -> None:
    async def logs(caller: Any, operation: str, values: dict[str, Any]) -> dict[str, Any]:
        if operation == "Refuse":
            raise FunctionNotFound("arn:x")
        return {"operation": operation, **values}

    door.mount_target("Logs_20140328", logs)
    headers = {"x-test-service": "logs", "x-amz-target": "Logs_20140328.DescribeLogGroups"}
    for sent in (headers, {"x-amz-target": headers["x-amz-target"]}):
        reply = await send(door, "POST", "/", sent, b'{"limit":1}')
        assert (reply.status, reply.json) == (200, {"operation": "DescribeLogGroups", "limit": 1})
        assert reply.headers[b"content-type"] == b"application/x-amz-json-1.1"
    reply = await send(door, "POST", "/", {"x-amz-target": "Logs_20140328.Refuse"})
    assert (reply.status, reply.json["__type"]) == (400, "ResourceNotFoundException")
    for body in (b"{", b"[]"):
        reply = await send(door, "POST", "/", headers, body)
        assert (reply.status, reply.json["__type"]) == (400, "SerializationException")
    reply = await send(door, "POST", "/", headers, bytes(TARGET_BYTES_MAX + 1))
    assert reply.json["__type"] == "RequestEntityTooLargeException"


async def test_whole_services_hosts_and_paths_are_mounted(door: PublicDoor) -> None:
    door.mount_service("s3", Other())
    door.mount_host(b".lambda-url.", Other())
    door.mount_path(b"/_lambent/console", Other())
    for target, headers in [
        ("/bucket/key", {"x-test-service": "s3"}),
        ("/anything", {"host": "abc.lambda-url.us-east-1.localhost"}),
        (FUNCTION, LAMBDA | {"host": "abc.lambda-url.us-east-1.localhost"}),
        ("/", {"x-test-service": "s3", "x-amz-target": "A.B", "host": "abc.LAMBDA-URL.us-east-1.localhost"}),
        ("/_lambent/console/x", {}),
    ]:
        assert (await send(door, "GET", target, headers, b"ok")).status == 299
        assert (await send(door, "GET", target, headers, b"much too long")).body == b"10"
    assert (await send(door, "GET", FUNCTION, LAMBDA | {"host": "localhost"})).status == 501


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://localhost:8000", "http://a.localhost", "x\u00e9"]
)
@pytest.mark.parametrize("headers", [{}, {"x-amz-target": "Target.Do"}])
async def test_a_page_of_another_origin_can_do_nothing(origin: str, headers: dict[str, str]) -> None:
    """What any page in a browser can send without being asked for permission: a request without a signature."""
    door = PublicDoor(Nobody())
    door.register("GetFunction", get_function)
    door.mount_target("Target", lambda caller, operation, values: asyncio.sleep(0, {}))
    sent = {**headers, "host": "localhost", "origin": origin}
    for method, target in (("GET", FUNCTION), ("POST", "/2015-03-31/functions"), ("OPTIONS", FUNCTION)):
        reply = await send(door, method, target, sent)
        assert reply.status in (400, 403)
        assert b"MissingAuthenticationToken" in reply.body + reply.headers[b"x-amzn-errortype"]
    same = {"host": "localhost", "origin": "http://localhost"}
    assert (await send(door, "GET", FUNCTION, same)).status == 200
    assert (await send(door, "GET", FUNCTION, {"host": "localhost"})).status == 200


async def test_an_unknown_service_is_told_so_in_its_own_protocol(door: PublicDoor) -> None:
    json_reply = await send(door, "POST", "/", {"x-test-service": "dynamodb", "x-amz-target": "DynamoDB_20120810.Scan"})
    assert (json_reply.status, json_reply.json["__type"]) == (501, "NotImplementedException")
    assert "AWS_ENDPOINT_URL_DYNAMODB" in json_reply.json["message"]
    form = {"content-type": "application/x-www-form-urlencoded; charset=utf-8"}
    query = await send(door, "POST", "/", form | {"x-test-service": "sns"})
    assert (query.status, code_in(query, "Error/Code")) == (501, "NotImplementedException")
    ec2 = await send(door, "POST", "/", form | {"x-test-service": "ec2"})
    assert code_in(ec2, "Errors/Error/Code") == "NotImplementedException"
    s3 = await send(door, "GET", "/bucket", {"x-test-service": "s3"})
    assert code_in(s3, "Code") == "NotImplementedException"
    assert (await send(door, "HEAD", "/bucket", {"x-test-service": "s3"})).body == b""
    cbor = {"x-test-service": "monitoring", "smithy-protocol": "rpc-v2-cbor"}
    reply = await send(door, "POST", "/service/GraniteServiceVersion20100801/operation/ListMetrics", cbor)
    assert reply.body.startswith(b"\xa2\x66__type\x77NotImplementedException\x67message\x78")
    rest = await send(door, "GET", "/v1/apis", {"x-test-service": "appsync"})
    assert (rest.headers[b"x-amzn-errortype"], list(rest.json)) == (b"NotImplementedException", ["message"])
    unsigned = await send(door, "POST", "/", form)
    assert code_in(unsigned, "Error/Code") == "UnknownOperationException"


def code_in(reply: Reply, path: str) -> str | None:
    return ElementTree.fromstring(reply.body).findtext(path)


async def test_health_is_open_and_small(authenticator: Believing) -> None:
    door = PublicDoor(authenticator, facts=lambda: {"environments": 3})
    reply = await send(door, "GET", "/_lambent/health")
    assert reply.status == 200
    assert reply.json["status"] == "ok"
    assert reply.json["environments"] == 3
    assert (await send(door, "HEAD", "/_lambent/health")).body == b""


HEADERS = st.dictionaries(
    st.sampled_from(
        [
            *("x-test-service", "x-amz-target", "host", "content-type", "smithy-protocol", "x-amz-invocation-type"),
            *("x-amzn-requestid", "x-amz-client-context", "x-amz-tenant-id", "content-length"),
        ]
    ),
    st.text(st.characters(max_codepoint=255), max_size=20)
    | st.sampled_from(["lambda", "s3", "Logs.X", "rpc-v2-cbor", "application/x-www-form-urlencoded", "Event", "7"]),
    max_size=4,
)
TARGETS = st.sampled_from([op.path for op in load_table().operations.values()]) | st.lists(
    st.text(max_size=6), max_size=6
)


@settings(max_examples=150, deadline=2_000)
@given(
    st.sampled_from(["GET", "POST", "PUT", "DELETE", "HEAD"]),
    TARGETS,
    st.text(max_size=12),
    HEADERS,
    st.binary(max_size=40),
)
def test_every_request_gets_exactly_one_well_formed_answer(
    method: str, path: list[str], tail: str, headers: dict[str, str], body: bytes
) -> None:
    if "content-length" in headers:
        headers["content-length"] = str(len(body))
    target = "/" + "/".join(path) + tail.encode("ascii", "backslashreplace").decode()
    door = PublicDoor(Believing(), Invoking())
    reply = asyncio.run(send(door, method, target.encode("ascii", "backslashreplace").decode(), headers, body))
    assert 200 <= reply.status < 600
    assert reply.status != 500
    assert reply.headers[b"x-amzn-requestid"]
    for name, value in reply.headers.items():
        assert not set(b"\r\n") & set(name + value)
