"""Access logs of function URLs: a line for each request, and none where nobody asked for them."""

from __future__ import annotations

import json

import pytest
from tests.unit.gateway.test_url_door import ID, World, a_function

from lambent.domain.clock import ManualClock
from lambent.domain.errors import DiskFull
from lambent.gateway.url_logs import UrlLog
from lambent.settings import Settings
from lambent.telemetry.attempt import UserEvents

FORMAT = json.dumps(
    {
        "ip": "$context.identity.sourceIp",
        "who": "$context.identity.userArn",
        "request": "$context.httpMethod $context.path $context.protocol",
        "status": "$context.status",
        "bytes": "$context.responseLength",
        "id": "$context.requestId",
        "took": "$context.responseLatency",
        "error": "$context.error.message",
        "agent": "$context.identity.userAgent",
    }
)


class Logged(World):
    """The door with an access log."""

    def __init__(self, function: object, format: str = FORMAT) -> None:
        super().__init__(function)  # type: ignore[arg-type]
        self.kept: list[UserEvents] = []
        self.is_full = False
        self.door._log = UrlLog("/urls", format, self.keep, self.clock)

    @property
    def clock(self) -> ManualClock:
        clock = self.door._clock
        assert isinstance(clock, ManualClock)
        return clock

    def keep(self, events: UserEvents) -> None:
        if self.is_full:
            raise DiskFull("no room")
        self.kept.append(events)

    @property
    def lines(self) -> list[dict[str, str]]:
        return [json.loads(text) for events in self.kept for _, text in events.lines]


async def test_a_request_has_its_line_in_its_functions_account() -> None:
    world = Logged(a_function())
    reply = await world.ask("POST", "/a%20b?c=d", b"x", user_agent='a "quoted" agent')
    world.clock.advance(0.25)
    world.answer(b'{"statusCode": 201, "body": "hello"}')
    (events,) = world.kept
    assert (events.account, events.region) == ("123456789012", "us-east-1")
    assert (events.log_group, events.log_stream) == ("/urls", ID)
    assert world.lines == [
        {
            "ip": "127.0.0.1",
            "who": "-",
            "request": "POST /a%20b HTTP/1.1",
            "status": "201",
            "bytes": "5",
            "id": reply.headers[b"x-amzn-RequestId"].decode(),
            "took": "250",
            "error": "-",
            "agent": 'a "quoted" agent',
        }
    ]


async def test_refusals_preflights_failures_and_the_path_form_have_theirs() -> None:
    world = Logged(a_function(cors={"AllowOrigins": ["*"]}))
    await world.ask("OPTIONS", "/", origin="http://a", access_control_request_method="GET")
    await world.ask("GET", f"/_lambent/url/{ID}/x", host="h")
    world.answer(b"", function_error=True)
    await world.ask("GET", "/y")
    world.answer(b"nonsense")
    world.function = a_function(auth_type="AWS_IAM")
    await world.ask("GET", "/z")
    shown = [(line["request"].split()[1], line["status"], line["error"]) for line in world.lines]
    assert shown[:2] == [("/", "200", "-"), ("/x", "502", "the function failed")]
    assert shown[2][:2] == ("/y", "502")
    assert "is not JSON" in shown[2][2]
    assert shown[3] == ("/z", "403", "the request is not signed")


async def test_who_signed_is_named() -> None:
    world = Logged(a_function(auth_type="AWS_IAM"))
    await world.ask(x_key="K")
    world.answer(b"1")
    assert world.lines[0]["who"] == "arn:aws:iam::123456789012:root"


async def test_nobodys_address_and_no_log_group_write_nothing() -> None:
    world = Logged(a_function())
    await world.ask(host=f"{'0' * 32}.lambda-url.us-east-1.localhost")
    assert world.kept == []
    world.door._log = None
    await world.ask()
    world.answer(b"1")
    assert world.kept == []


async def test_a_full_disk_keeps_nobody_from_an_answer(caplog: pytest.LogCaptureFixture) -> None:
    world = Logged(a_function())
    world.is_full = True
    reply = await world.ask()
    world.answer(b"1")
    assert reply.status == 200
    assert "no room" in caplog.text


async def test_the_usual_format_is_that_of_web_servers() -> None:
    world = Logged(a_function(), Settings().server.url_log_format)
    reply = await world.ask("GET", "/\\x22\\n")
    world.answer(b"1")
    ((_, text),) = world.kept[0].lines
    request_id = reply.headers[b"x-amzn-RequestId"].decode()
    assert text.decode().startswith("127.0.0.1 - - [25/Nov/2025:19:46:40 +0000] ")
    assert text.decode().endswith(f'HTTP/1.1" 200 1 {request_id}\n')
    assert text.count(b"\n") == 1
