"""What the door of function URLs decides without a network: who is refused where, what is kept, what waits."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from tests.contracts.test_function_store import function as stored_function
from tests.contracts.test_function_store import version
from tests.unit.api.doubles import Reply, request_of

from lambent.domain.clock import ManualClock
from lambent.domain.errors import FunctionNotFound, ResourceConflict, ServiceFault, TooManyRequests, Unauthenticated
from lambent.domain.limits import INVOKE_REQUEST_BYTES_MAX
from lambent.domain.names import FunctionRef
from lambent.functions.model import Function, FunctionVersion, Policy, Url
from lambent.gateway import urls
from lambent.gateway.urls import ROUTE_KEY_BYTES_MAX, ROUTES_MAX, UrlDoor
from lambent.http import Buffered
from lambent.identity.model import Caller

ID = "0123456789abcdef" * 2
REF = FunctionRef("123456789012", "us-east-1", "fn")
HOST = f"{ID}.lambda-url.us-east-1.localhost:4566"
EVERYTHING = {"Effect": "Allow", "Principal": "*", "Action": "lambda:*", "Resource": REF.arn()}


def a_function(**url: Any) -> Function:
    policies = {"": Policy("r", {"Version": "2012-10-17", "Statement": [EVERYTHING]})}
    return stored_function(REF, policies=policies, urls={"": Url(ID, **{"auth_type": "NONE", "created_ms": 1, **url})})


class World:
    """The door, the functions that it finds, and the invocations that it starts."""

    def __init__(self, function: Function) -> None:
        self.function: Function | None = function
        self.started: list[Any] = []
        self.error: Exception | None = None
        self.proof: Callable[[], Awaitable[None] | None] = lambda: None
        self.shares: list[int] = []
        self.tasks: list[asyncio.Task[None]] = []
        self.looked_up = 0
        self.door = UrlDoor(
            functions=self,
            invocations=self,  # type: ignore[arg-type]
            authenticator=self,
            clock=ManualClock(),
            supervise=self.supervise,
            admit=self.admit,
            user_id=lambda caller: "AIDA",
        )

    # functions

    def url(self, id: str) -> tuple[Function, str] | None:
        self.looked_up += 1
        return None if self.function is None or id != ID else (self.function, "")

    def get(self, ref: FunctionRef, qualifier: str | None = None) -> Function:
        if self.function is None:
            raise FunctionNotFound(ref.arn())
        return self.function

    def resolve(self, ref: FunctionRef, qualifier: str | None) -> FunctionVersion:
        return self.get(ref).latest

    async def active(self, ref: FunctionRef, qualifier: str | None) -> FunctionVersion:
        assert self.function is not None
        self.function = replace(self.function, latest=replace(self.function.latest, state="Active"))
        return self.function.latest

    # invocations

    def start(self, invocation: Any) -> None:
        if self.error is not None:
            raise self.error
        self.started.append(invocation)

    # callers

    def identify(self, request: Any) -> Caller:
        key = request.header(b"x-key")
        scope = SimpleNamespace(account="123456789012", region="us-east-1")
        service = (request.header(b"x-service") or b"lambda").decode()
        return Caller(scope, key and key.decode(), service, "arn:aws:iam::123456789012:root", None)  # type: ignore[arg-type]

    def prove(self, request: Any, caller: Caller) -> Awaitable[None] | None:
        return self.proof()

    # the rest

    def supervise(self, work: Coroutine[Any, Any, None], name: str) -> None:
        self.tasks.append(asyncio.get_running_loop().create_task(work))

    def admit(self, request: Any, limit: int) -> object:
        self.shares.append(limit)
        if request.header(b"x-budget") is not None:
            raise TooManyRequests("CallerRateLimitExceeded", "Rate exceeded", retry_after_s=1)
        return object()

    async def ask(self, method: str = "GET", target: str = "/", body: bytes = b"", **headers: str) -> Reply:
        """One request, up to its answer or to its invocation."""
        fields = {"host": HOST, **{name.replace("_", "-"): value for name, value in headers.items()}}
        reply: Any = Reply(request_of(method, target, fields, body))
        reply.app = self.door
        wanted = self.door.head(reply)
        if isinstance(wanted, Buffered):
            if len(body) > wanted.limit:
                self.door.too_large(reply, wanted.limit, len(body))
            else:
                self.door.handle(reply)
        while self.tasks:
            await self.tasks.pop()
        return reply  # type: ignore[no-any-return]

    def answer(self, body: bytes, *, function_error: bool = False) -> None:
        """The last invocation ends."""
        invocation = self.started.pop()
        result = SimpleNamespace(
            body=body, function_error=function_error, error_type=None, content_type="application/json"
        )
        invocation.answered(invocation, result, None)
        assert invocation.context is None


async def test_an_invocation_is_the_urls_and_its_answer_the_exchanges() -> None:
    world = World(a_function())
    reply = await world.ask("POST", "/p", b"x", content_type="text/plain")
    (invocation,) = world.started
    assert (invocation.version, invocation.qualifier) == (world.function and world.function.latest, None)
    assert json.loads(invocation.body)["body"] == "x"
    assert reply.request.body == b"", "the body lives once"
    assert reply.context is None
    world.answer(b'{"statusCode": 201, "body": "y"}')
    assert (reply.status, reply.body) == (201, b"y")
    assert reply.headers[b"x-amzn-RequestId"].decode() == invocation.request_id
    assert reply.headers[b"X-Amzn-Trace-Id"].decode() == invocation.trace


@pytest.mark.parametrize(
    ("error", "status", "code", "message"),
    [
        (TooManyRequests("FunctionInvocationRateLimitExceeded"), 429, b"TooManyRequestsException", "Rate Exceeded."),
        (ServiceFault("no such runtime here"), 500, b"ServiceException", "no such runtime here"),
        (ResourceConflict("the function is Failed"), 502, b"ResourceConflictException", "the function is Failed"),
        (RuntimeError("a bug"), 500, b"ServiceException", "Internal Server Error"),
    ],
)
async def test_what_keeps_an_invocation_from_starting(
    error: Exception, status: int, code: bytes, message: str, caplog: pytest.LogCaptureFixture
) -> None:
    world = World(a_function())
    world.error = error
    reply = await world.ask()
    assert (reply.status, reply.headers[b"x-amzn-ErrorType"], reply.json) == (status, code, {"Message": message})
    assert ("a bug" in caplog.text) == isinstance(error, RuntimeError)


async def test_a_failure_after_the_start_is_answered_too() -> None:
    world = World(a_function())
    reply = await world.ask()
    invocation = world.started.pop()
    invocation.failed(invocation, ServiceFault("the sandbox is gone"))
    assert (reply.status, reply.json) == (500, {"Message": "the sandbox is gone"})


async def test_a_server_that_goes_down_begins_nothing() -> None:
    world = World(a_function())
    world.door.is_draining = True
    assert (await world.ask()).json == {"Message": "The server is shutting down."}
    assert world.started == []


async def test_large_bodies_have_their_share_of_the_memory() -> None:
    world = World(a_function())
    reply = await world.ask("POST", "/", b"x", x_budget="spent")
    assert (reply.status, reply.headers[b"Retry-After"]) == (429, b"1")
    assert world.shares == [INVOKE_REQUEST_BYTES_MAX]


async def test_the_reason_of_a_refusal_is_logged_once_in_a_row(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, urls.log.name)
    world = World(replace(a_function(), policies={}))
    for _ in range(3):
        assert (await world.ask()).status == 403
    assert caplog.text.count("no statement of the resource policy allows lambda:InvokeFunctionUrl") == 1
    world.function = a_function()
    for body in (b"nonsense", b"nonsense", b'{"statusCode": 1}'):
        reply = await world.ask()
        world.answer(body)
        assert reply.status == 502
    assert caplog.text.count("is not JSON") == 1
    assert caplog.text.count("statusCode 1 is not a status") == 1


async def test_a_route_is_kept_until_its_function_changes() -> None:
    world = World(a_function())
    for _ in range(3):
        await world.ask()
    assert world.looked_up == 1
    world.function = a_function(auth_type="AWS_IAM")
    assert (await world.ask()).status == 403
    assert world.looked_up == 2
    world.function = None
    assert (await world.ask()).json == {"Message": None}


async def test_routes_are_bounded() -> None:
    world = World(a_function())
    for number in range(ROUTES_MAX + 2):
        await world.ask(host=f"{ID}.lambda-url.us-east-1.h{number}")
    assert len(world.door._hosts) <= ROUTES_MAX
    for number in range(ROUTES_MAX + 2):
        await world.ask(host=f"h{number}", target=f"/_lambent/url/{ID}/")
    assert len(world.door._paths) <= ROUTES_MAX
    known = len(world.door._hosts), len(world.door._paths)
    world.started.clear()
    long = "x" * ROUTE_KEY_BYTES_MAX
    await world.ask(host=f"{ID}.lambda-url.us-east-1.{long}")
    await world.ask(host=long, target=f"/_lambent/url/{ID}/")
    assert len(world.started) == 2, "served, but not kept"
    assert (len(world.door._hosts), len(world.door._paths)) == known
    for number in range(10):
        await world.ask(host=f"{number:032}.lambda-url.us-east-1.localhost")
    assert not any(key.startswith(b"0000") for key in world.door._hosts), "nobody's address is kept"


async def test_a_host_with_a_space_is_no_path_forms_route() -> None:
    world = World(a_function())
    await world.ask(host="h", target=f"/_lambent/url/{ID}/")
    world.started.clear()
    assert (await world.ask(host=f"{ID} h")).json == {"Message": None}


async def test_a_function_that_is_being_made_gets_a_moment() -> None:
    pending = a_function()
    world = World(replace(pending, latest=replace(version(REF, "$LATEST"), state="Pending")))
    await world.ask()
    assert world.started[0].version.state == "Active"


@pytest.mark.parametrize(
    ("headers", "proof", "is_let_in"),
    [
        ({"x_key": "K"}, None, True),
        ({}, None, False),
        ({"x_key": "K", "x_service": "s3"}, None, False),
        ({"x_key": "K"}, Unauthenticated("InvalidSignatureException", "wrong"), False),
    ],
)
async def test_a_url_that_asks_for_signatures(
    headers: dict[str, str], proof: Exception | None, is_let_in: bool
) -> None:
    world = World(a_function(auth_type="AWS_IAM"))

    def check() -> None:
        if proof is not None:
            raise proof

    world.proof = check
    reply = await world.ask(**headers)
    assert (reply.status == 403) is not is_let_in
    assert len(world.started) == is_let_in
    if is_let_in:
        assert json.loads(world.started[0].body)["requestContext"]["authorizer"]["iam"]["userId"] == "AIDA"


async def test_a_signature_over_a_large_body_is_waited_for() -> None:
    world = World(a_function(auth_type="AWS_IAM"))

    async def wrong() -> None:
        await asyncio.sleep(0)
        raise Unauthenticated("InvalidSignatureException", "wrong")

    world.proof = wrong
    assert (await world.ask("POST", "/", b"x" * 500_000, x_key="K")).status == 403
    assert world.started == []


async def test_large_events_and_responses_are_made_beside_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(a_function())
    aside = []
    real = asyncio.to_thread

    async def noted(work: Any, *arguments: Any) -> Any:
        aside.append(work.__name__)
        return await real(work, *arguments)

    monkeypatch.setattr(urls.asyncio, "to_thread", noted)
    size = urls.INLINE_BYTES_MAX + 1
    reply = await world.ask("POST", "/", b"x" * size)
    world.answer(b'"' + b"y" * size + b'"')
    await asyncio.gather(*world.tasks)
    assert len(reply.body) == size
    assert aside == ["_payload", "_response"]
    too_much = await world.ask("POST", "/", b"\xff" * (INVOKE_REQUEST_BYTES_MAX - 10))
    assert too_much.status == 413


@pytest.mark.parametrize("auth_type", ["NONE", "AWS_IAM"])
@pytest.mark.parametrize(("network", "status"), [("127.0.0.0/8", 0), ("10.0.0.0/8", 403)])
async def test_a_policy_that_asks_for_addresses_is_asked_each_time(auth_type: str, network: str, status: int) -> None:
    wanted = {**EVERYTHING, "Condition": {"IpAddress": {"aws:SourceIp": network}}}
    other = {**EVERYTHING, "Effect": "Deny", "Condition": {"NotIpAddress": {"aws:SourceIp": network}}}
    policy = Policy("r", {"Version": "2012-10-17", "Statement": [wanted, other]})
    world = World(replace(a_function(auth_type=auth_type), policies={"": policy}))
    for _ in range(2):
        assert (await world.ask(x_key="K")).status == status
    assert len(world.started) == (0 if status else 2)


@pytest.mark.parametrize("kind", ["document", "iframe", "object"])
@pytest.mark.parametrize(
    ("host", "place"),
    [
        ("127.0.0.1:4566", f"http://{ID}.lambda-url.us-east-1.localhost:4566"),
        ("localhost", f"http://{ID}.lambda-url.us-east-1.localhost"),
        ("10.1.2.3:4566", None),
    ],
)
async def test_a_page_of_the_path_form_gets_an_origin_of_its_own(kind: str, host: str, place: str | None) -> None:
    world = World(a_function())
    reply = await world.ask("GET", f"/_lambent/url/{ID}/a%20b//c?d=e", host=host, sec_fetch_dest=kind)
    if place is None:
        assert len(world.started) == 1, "there is no such place"
        return
    assert (reply.status, reply.headers[b"Location"]) == (307, f"{place}/a%20b//c?d=e".encode())
    assert world.started == []
    bare = await world.ask("GET", f"/_lambent/url/{ID}", host=host, sec_fetch_dest=kind)
    assert bare.headers[b"Location"] == f"{place}/".encode()


async def test_what_a_page_is_made_of_and_other_clients_are_served_where_they_ask() -> None:
    world = World(a_function())
    for headers in ({"sec_fetch_dest": "image"}, {"sec_fetch_dest": "empty"}, {}):
        await world.ask("GET", f"/_lambent/url/{ID}/x", host="127.0.0.1:4566", **headers)
    await world.ask("GET", "/x", sec_fetch_dest="document")
    assert len(world.started) == 4
