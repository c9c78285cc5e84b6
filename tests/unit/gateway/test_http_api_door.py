"""HTTP APIs without a network and without functions: what is kept, bounded, shared and refused where."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import Coroutine
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.api.doubles import Reply, request_of

from lambent.domain.clock import ManualClock
from lambent.domain.egress import Layer
from lambent.domain.errors import DiskFull, TooManyRequests
from lambent.domain.names import Scope
from lambent.gateway import authorizers, execution, jwt, limits, outgoing
from lambent.gateway.errors import BadRequest, Conflict, LimitExceeded, NotFound
from lambent.gateway.execution import HttpApiDoor
from lambent.gateway.forwarding import Forwarding
from lambent.gateway.http_apis import moves, service
from lambent.gateway.http_apis.model import AccessLogSettings, Api, ApiMapping, Cors, DomainConfiguration, DomainName
from lambent.gateway.http_apis.rules import check_domain_name, check_mapping_key
from lambent.gateway.http_apis.service import HttpApis
from lambent.http import Buffered
from lambent.stores.documents_memory import MemoryDocuments

SCOPE = Scope("123456789012", "us-east-1")
ARN = "arn:aws:lambda:us-east-1:123456789012:function:f"
CONFIGURATION = (DomainConfiguration(certificate_arn="arn"),)


class World:
    """The door over memory; its functions answer what `returned` holds."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.documents = MemoryDocuments()
        self.apis = HttpApis(self.documents, self.clock)
        self.calls: list[SimpleNamespace] = []
        self.returned: bytes = b'{"statusCode":200,"body":"ok"}'
        self.records: list[Any] = []
        self.record_error: Exception | None = None
        self.budget_error: Exception | None = None
        self.shares: list[int] = []
        self.tasks: list[asyncio.Task[None]] = []
        self.door = HttpApiDoor(
            self.apis,
            self,  # type: ignore[arg-type]
            self.clock,
            self,  # type: ignore[arg-type]
            layer=Layer("none"),
            supervise=self.supervise,
            record=self.record,
            admit=self.admit,
            user_id=lambda caller: "AIDA",
            forwarding=Forwarding(),
        )

    async def call(
        self, api: Api, uri: str, credentials: Any, source_arn: str, payload: bytes, trace: str, timeout_s: float
    ) -> Any:
        self.calls.append(
            SimpleNamespace(uri=uri, source_arn=source_arn, event=json.loads(payload), timeout_s=timeout_s)
        )
        work = SimpleNamespace(event=SimpleNamespace(request_id="r"))
        return SimpleNamespace(body=self.returned, function_error=False, work=work)

    def supervise(self, work: Coroutine[Any, Any, None], name: str) -> None:
        self.tasks.append(asyncio.get_running_loop().create_task(work))

    def record(self, events: Any) -> None:
        if self.record_error is not None:
            raise self.record_error
        self.records.append(events)

    def admit(self, request: Any, limit: int) -> object:
        self.shares.append(limit)
        if self.budget_error is not None:
            raise self.budget_error
        return object()

    async def api(self, **stage: Any) -> Api:
        made = await self.apis.create(
            SCOPE,
            lambda api_id, now_ms: moves.quick_created(
                Api(scope=SCOPE, api_id=api_id, name="n", created_ms=now_ms), ARN, None, None, ("i", "r")
            ),
        )
        if stage:
            made = await self.apis.change(
                SCOPE, made.api_id, lambda api: moves.with_stage_changed(api, "$default", stage, 1)
            )
        return made

    async def ask(
        self, api: Api | str, target: str = "/", method: str = "GET", body: bytes = b"", **headers: str
    ) -> Reply:
        """One request, to its answer."""
        host = api if isinstance(api, str) else f"{api.api_id}.execute-api.us-east-1.localhost:4566"
        reply = Reply(request_of(method, target, {"host": host, **headers}, body))
        reply.app = self.door
        wanted = self.door.head(reply)  # type: ignore[arg-type]
        if wanted is not None:
            assert wanted == Buffered(limits.REQUEST_BYTES_MAX)
            self.door.handle(reply)  # type: ignore[arg-type]
            await asyncio.gather(*self.tasks)
            self.tasks.clear()
        return reply


async def test_a_request_goes_to_its_function_with_its_time() -> None:
    world = World()
    api = await world.api()
    reply = await world.ask(api, "/x?y=1")
    assert (reply.status, reply.body) == (200, b"ok")
    (call,) = world.calls
    assert (call.uri, call.timeout_s) == (ARN, 30.0)
    assert call.source_arn == f"arn:aws:execute-api:us-east-1:123456789012:{api.api_id}/$default/$default"
    assert world.shares == [limits.REQUEST_BYTES_MAX]


def guarded(old: Api) -> Api:
    """With a Lambda authorizer in front of its route."""
    wanted = {
        "name": "a",
        "authorizer_type": "REQUEST",
        "identity_source": ("$request.header.x-who",),
        "authorizer_uri": ARN,
        "authorizer_payload_format_version": "2.0",
        "enable_simple_responses": True,
    }
    new = moves.with_authorizer(old, wanted, "a")
    return moves.with_route_changed(new, "r", {"authorization_type": "CUSTOM", "authorizer_id": "a"})


async def test_a_large_answer_of_an_authorizer_is_not_kept() -> None:
    world = World()
    api = await world.api()
    await world.apis.change(SCOPE, api.api_id, guarded)
    for size, kept in ((authorizers.CACHED_RESULT_BYTES_MAX, 1), (authorizers.CACHED_RESULT_BYTES_MAX + 1, 0)):
        world.door.gatekeeper.results.forget(api.api_id)
        world.returned = b'{"isAuthorized":true,"context":{"a":""}}'
        world.returned = world.returned[:-3] + b"x" * (size - len(world.returned)) + world.returned[-3:]
        assert (await world.ask(api, **{"x-who": "me"})).status == 200
        assert len(world.door.gatekeeper.results) == kept


async def test_the_log_says_a_reason_once(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    api = await world.api()
    world.returned = b'{"statusCode":99}'
    for _ in range(3):
        assert (await world.ask(api)).status == 500
    (record,) = caplog.records
    assert record.getMessage() == f"API {api.api_id}, stage $default: statusCode 99 is not a status from 200 to 599"


async def test_an_authorizer_has_ten_seconds() -> None:
    world = World()
    world.returned = b'{"isAuthorized":true}'
    api = await world.api()
    await world.apis.change(SCOPE, api.api_id, guarded)
    assert (await world.ask(api, **{"x-who": "me"})).status == 200
    assert [call.timeout_s for call in world.calls] == [limits.AUTHORIZER_TIMEOUT_S, 30.0] == [10.0, 30.0]


async def test_the_path_form_says_what_stood_in_front() -> None:
    world = World()
    api = await world.api()
    await world.ask("127.0.0.1:4566", f"/_aws/execute-api/{api.api_id}/x")
    headers = world.calls[0].event["headers"]
    assert headers["x-forwarded-prefix"] == f"/_aws/execute-api/{api.api_id}"
    assert (headers["x-forwarded-port"], world.calls[0].event["rawPath"]) == ("4566", "/x")


async def test_a_page_of_the_path_form_gets_an_origin_of_its_own() -> None:
    world = World()
    api = await world.api()
    page = {"sec-fetch-dest": "document"}
    reply = await world.ask("127.0.0.1:4566", f"/_aws/execute-api/{api.api_id}/x?y=z", **page)
    place = f"http://{api.api_id}.execute-api.us-east-1.localhost:4566/x?y=z"
    assert (reply.status, reply.headers[b"Location"]) == (307, place.encode())
    assert world.calls == []
    for host, headers in (("10.1.2.3", page), ("127.0.0.1", {"sec-fetch-dest": "image"})):
        await world.ask(host, f"/_aws/execute-api/{api.api_id}/x", **headers)
    await world.ask(api, "/x", **page)
    assert len(world.calls) == 3


async def test_all_apis_of_an_account_share_a_burst_of_5000() -> None:
    world = World()
    one, other = await world.api(), await world.api()
    place = world.door.stages.find(request_of("GET", "/", {"host": f"{one.api_id}.execute-api.x"}))
    assert place is not None
    found = place.live.routes.match("GET", "/")
    assert found is not None
    now_ns = world.clock.monotonic_ns()
    taken = sum(world.door.stages.take(SCOPE, found[0], now_ns) for _ in range(6_000))
    assert taken == limits.BURST_DEFAULT == 5_000
    reply = await world.ask(other)
    assert (reply.status, reply.body) == (429, b'{"message":"Too Many Requests"}')
    world.clock.advance(1.0)
    assert (await world.ask(other)).status == 200
    assert limits.RATE_PER_S_DEFAULT == 10_000


async def test_large_bodies_need_a_share_and_a_server_that_ends_begins_nothing() -> None:
    world = World()
    api = await world.api()
    world.budget_error = TooManyRequests("CallerRateLimitExceeded")
    assert (await world.ask(api)).status == 503
    world.budget_error = None
    world.door.is_draining = True
    assert (await world.ask(api)).status == 503
    assert world.calls == []


async def test_large_events_and_answers_are_made_beside_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    api = await world.api()
    beside: list[Any] = []
    to_thread = asyncio.to_thread

    async def counted(work: Any, *arguments: Any) -> Any:
        beside.append(work)
        return await to_thread(work, *arguments)

    monkeypatch.setattr(asyncio, "to_thread", counted)
    await world.ask(api, method="POST", body=b"x" * execution.INLINE_BYTES_MAX)
    assert beside == []
    world.returned = b'"' + b"x" * execution.INLINE_BYTES_MAX + b'"'
    await world.ask(api, method="POST", body=b"x" * (execution.INLINE_BYTES_MAX + 1))
    assert len(beside) == 2


async def test_a_full_disk_keeps_no_answer_back() -> None:
    world = World()
    settings = AccessLogSettings(
        destination_arn="arn:aws:logs:us-east-1:123456789012:log-group:g", format="$context.status"
    )
    api = await world.api(access_log_settings=settings)
    assert (await world.ask(api)).status == 200
    (events,) = world.records
    assert (events.log_group, events.log_stream, events.lines[0][1]) == ("g", f"{api.api_id}/$default", b"200\n")
    world.record_error = DiskFull("full")
    assert (await world.ask(api)).status == 200


@pytest.mark.parametrize("returned", [b'{"statusCode":200}', b"no", b'{"statusCode":99}'])
async def test_nothing_of_a_request_is_kept_by_a_cycle(returned: bytes) -> None:
    """A body that only the collector frees is memory that a burst does not have."""
    world = World()
    world.returned = returned
    api = await world.api()
    await world.ask(api, "/x", "POST", b"body")  # what is made once is not a request's
    gc.collect()
    gc.disable()
    try:
        for _ in range(20):
            await world.ask(api, "/x", "POST", b"body")
            world.calls.clear()
        assert gc.collect() == 0
    finally:
        gc.enable()


async def test_what_goes_wrong_inside_is_a_500() -> None:
    world = World()
    api = await world.api()
    world.returned = None  # type: ignore[assignment]
    assert (await world.ask(api)).status == 500


# Records


async def test_apis_are_read_again() -> None:
    world = World()
    made = await world.api()
    domain = await world.apis.create_domain(SCOPE, "API.example.com", CONFIGURATION, {"a": "b"})
    await world.apis.map(
        SCOPE,
        "api.example.com",
        ApiMapping(api_mapping_id="m", api_id=made.api_id, stage="$default", api_mapping_key="v1"),
    )
    await world.apis.close()
    again = HttpApis(world.documents, world.clock)
    assert again.find(made.api_id) == made
    found = again.find_domain("api.example.com")
    assert isinstance(found, DomainName)
    assert (found.domain_name, found.tags, found.gateway_id) == ("api.example.com", {"a": "b"}, domain.gateway_id)
    assert found.mappings["m"].api_mapping_key == "v1"
    assert again.find("none") is again.find_domain("none.example.com") is None


async def test_ids_are_told_apart_and_are_labels_of_hosts() -> None:
    world = World()
    ids = [(await world.api()).api_id for _ in range(50)]
    assert len(set(ids)) == 50
    assert all(len(one) == service.API_ID_CHARS and one[0].isalpha() and one.isalnum() and one.islower() for one in ids)


async def test_names_and_mappings_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    api = await world.api()
    for number in range(limits.DOMAIN_NAMES_PER_REGION_MAX):
        await world.apis.create_domain(SCOPE, f"{number}.example.com", CONFIGURATION, {})
    with pytest.raises(LimitExceeded, match="domain names has been reached: 120"):
        await world.apis.create_domain(SCOPE, "more.example.com", CONFIGURATION, {})
    assert world.apis.find_domain("more.example.com") is None

    def mapping(number: int) -> ApiMapping:
        return ApiMapping(api_mapping_id=str(number), api_id=api.api_id, stage="$default", api_mapping_key=f"k{number}")

    for number in range(limits.MAPPINGS_PER_DOMAIN_MAX):
        await world.apis.map(SCOPE, "1.example.com", mapping(number))
    with pytest.raises(LimitExceeded, match="API mappings has been reached: 200"):
        await world.apis.map(SCOPE, "1.example.com", mapping(200))
    await world.apis.map(SCOPE, "1.example.com", mapping(199))


async def test_of_two_accounts_that_want_a_name_at_once_one_gets_it() -> None:
    world = World()
    others = Scope("210987654321", "us-east-1")
    results = await asyncio.gather(
        *(world.apis.create_domain(scope, "a.example.com", CONFIGURATION, {}) for scope in (SCOPE, others)),
        return_exceptions=True,
    )
    assert [type(one) for one in results] == [DomainName, Conflict]


async def test_what_is_mapped_is_not_deleted() -> None:
    world = World()
    api = await world.api()
    await world.apis.create_domain(SCOPE, "a.example.com", CONFIGURATION, {})
    await world.apis.map(SCOPE, "a.example.com", ApiMapping(api_mapping_id="m", api_id=api.api_id, stage="$default"))
    for attempt in (world.apis.delete(SCOPE, api.api_id), world.apis.delete_stage(SCOPE, api.api_id, "$default")):
        with pytest.raises(BadRequest, match=r"Please remove all base path mappings .*: a\.example\.com"):
            await attempt
    await world.apis.unmap(SCOPE, "a.example.com", "m")
    with pytest.raises(NotFound):
        await world.apis.unmap(SCOPE, "a.example.com", "m")
    await world.apis.delete_stage(SCOPE, api.api_id, "$default")
    await world.apis.delete(SCOPE, api.api_id)


def test_names_and_keys_have_a_length() -> None:
    check_domain_name("a" * 63 + "." + "b" * 63 + "." + "c" * 63 + "." + "d" * 61)
    with pytest.raises(BadRequest):
        check_domain_name("a" * 63 + "." + "b" * 63 + "." + "c" * 63 + "." + "d" * 62)
    check_mapping_key("a" * 300)
    for key in ("a" * 301, "/a", "a/", "a//b", "a b"):
        with pytest.raises(BadRequest):
            check_mapping_key(key)


async def test_an_issuer_has_a_second_and_a_half(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[float] = []

    async def never(*_: Any, timeout_s: float, **__: Any) -> Any:
        given.append(timeout_s)
        raise TimeoutError

    monkeypatch.setattr(outgoing, "fetch", never)
    with pytest.raises(jwt.KeysUnknown, match=r"did not answer in 1\.5 s"):
        await World().door.gatekeeper._fetch_keys("https://i.example/keys")
    assert given == [jwt.FETCH_TIMEOUT_S] == [1.5]


# Whatever comes

NAMES = st.sampled_from(
    ["host", "origin", "cookie", "x-who", "authorization", "content-type", "x-amzn-trace-id", "connection"]
)
VALUES = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=40)
PATHS = st.text(st.sampled_from([*"/ab%2eEfF.{}+$~:@;é\\\"'<>|^`\t"]), max_size=30)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from(["GET", "POST", "OPTIONS", "HEAD", "BREW"]),
    PATHS,
    st.lists(st.tuples(NAMES, VALUES), max_size=5),
    st.binary(max_size=20),
    st.sampled_from(
        [b'{"statusCode":200}', b"{}", b"no", b'{"statusCode":200,"headers":{"a":"\\n"}}', b'{"isAuthorized":true}']
    ),
)
def test_each_request_gets_exactly_one_answer(
    method: str, path: str, fields: list[tuple[str, str]], body: bytes, returned: bytes
) -> None:
    """Any path, header and body, to any answer of the function: one status of the documented ones, nothing is raised."""

    async def scenario() -> None:
        world = World()
        world.returned = returned
        api = await world.api(access_log_settings=AccessLogSettings(destination_arn=LOGS, format=FORMAT))
        await world.apis.change(SCOPE, api.api_id, mixed)
        headers = {"host": f"{api.api_id}.execute-api.us-east-1.localhost", **dict(fields)}
        request = request_of(method, "/", headers, body)
        raw = path.encode("latin-1", "replace")
        request.path = b"/" + raw.partition(b"?")[0].lstrip(b"/")
        for reply in (Reply(request), Reply(request)):
            reply.app = world.door
            if world.door.head(reply) is not None:  # type: ignore[arg-type]
                world.door.handle(reply)  # type: ignore[arg-type]
                await asyncio.gather(*world.tasks)
                world.tasks.clear()
            assert reply.answered.is_set()
            assert reply.status in (200, 204, 400, 401, 403, 404, 429, 500, 503)
            assert all(b"\n" not in name + value and b"\r" not in name + value for name, value in reply.headers.items())
        for record in world.records:
            assert [line for _, text in record.lines for line in text.splitlines()] != []
            assert json.loads(record.lines[0][1])

    asyncio.run(scenario())


LOGS = "arn:aws:logs:us-east-1:123456789012:log-group:g"
FORMAT = '{"path":"$context.path","ua":"$context.identity.userAgent","e":"$context.integrationErrorMessage","r":"$context.routeKey"}'


def mixed(api: Api) -> Api:
    """Routes of every kind."""
    new = guarded(api)
    new = moves.with_integration(
        new,
        {
            "integration_type": "AWS_PROXY",
            "integration_uri": ARN,
            "request_parameters": {
                "overwrite:header.x": "$request.path.p",
                "append:querystring.q": "${request.header.cookie}",
            },
            "response_parameters": {"200": {"append:header.y": "$request.header.origin"}},
        },
        "j",
    )
    new = moves.with_integration(
        new, {"integration_type": "HTTP_PROXY", "integration_uri": "http://h/{p}", "integration_method": "ANY"}, "k"
    )
    for number, (key, integration) in enumerate((("GET /a/{p+}", "j"), ("ANY /b/{p+}", "k"), ("POST /{p}", "j"))):
        new = moves.with_route(new, {"route_key": key, "target": f"integrations/{integration}"}, f"m{number}")
    return moves.updated(new, {"cors_configuration": Cors(allow_origins=("*",))}, None, None, None)
