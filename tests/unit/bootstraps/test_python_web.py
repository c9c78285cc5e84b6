"""The built-in web adapter's events and results, WSGI and ASGI, without a sandbox."""

from __future__ import annotations

import asyncio
import base64
import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

BOOTSTRAP = Path(__file__).resolve().parents[3] / "src/lambent/bootstraps/python"
CONTEXT = SimpleNamespace(
    aws_request_id="r-1",
    _epoch_deadline_time_in_ms=5_000,
    invoked_function_arn="arn:f",
    function_name="f",
    memory_limit_in_mb="128",
    function_version="$LATEST",
    log_stream_name="s",
    log_group_name="g",
)
V2: dict[str, Any] = {
    "version": "2.0",
    "rawPath": "/a%20b/%C3%A9",
    "rawQueryString": "x=1&x=2&y=%26",
    "cookies": ["a=1", "b=2"],
    "headers": {
        "host": "h.example:8443",
        "content-type": "text/plain",
        "cookie": "a=1; b=2",
        "x-forwarded-proto": "http",
    },
    "requestContext": {"http": {"method": "POST", "sourceIp": "1.2.3.4"}},
    "body": "aGk=",
    "isBase64Encoded": True,
}
V1: dict[str, Any] = {
    "httpMethod": "PUT",
    "path": "/a b/é",
    "headers": {"Host": "h.example", "X-One": "2"},
    "multiValueHeaders": {"Host": ["h.example"], "X-One": ["1", "2"]},
    "queryStringParameters": {"x": "2"},
    "multiValueQueryStringParameters": {"x": ["1 &", "2"]},
    "requestContext": {"identity": {"sourceIp": "5.6.7.8"}, "stage": "prod"},
    "body": "é",
    "isBase64Encoded": False,
}
BALANCER: dict[str, Any] = {
    "httpMethod": "GET",
    "path": "/x",
    "queryStringParameters": {"key": "a%20b"},
    "headers": {"host": "lb.example"},
    "requestContext": {"elb": {"targetGroupArn": "arn:tg"}},
    "body": "",
    "isBase64Encoded": False,
}


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.syspath_prepend(str(BOOTSTRAP))
    loops: list[asyncio.AbstractEventLoop] = []
    new_loop = asyncio.new_event_loop

    def remembered() -> asyncio.AbstractEventLoop:
        loops.append(new_loop())
        return loops[-1]

    monkeypatch.setattr(asyncio, "new_event_loop", remembered)
    monkeypatch.setenv("AWS_EXECUTION_ENV", "AWS_Lambda_python3.11")
    yield importlib.import_module("_lambent_runtime.web")
    for loop in loops:  # the function's lives as long as its environment
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
    if loops:
        asyncio.set_event_loop(None)
    for name in [name for name in sys.modules if name.startswith("_lambent_runtime")]:
        del sys.modules[name]


def headers_of(request: Any, *names: str) -> list[tuple[str, str]]:
    return [pair for pair in request.headers if pair[0] in names]


def test_a_request_of_payload_2(web: Any) -> None:
    request = web.read(V2, CONTEXT)
    assert (request.method, request.path, request.raw_path) == ("POST", "/a b/é", "/a%20b/%C3%A9")
    assert (request.query, request.body, request.client_ip) == ("x=1&x=2&y=%26", b"hi", "1.2.3.4")
    assert headers_of(request, "cookie") == [("cookie", "a=1; b=2")], "once, though the event shows it twice"
    assert (request.scheme, request.server) == ("http", ("h.example", 8443))


def test_a_request_of_payload_1(web: Any) -> None:
    request = web.read(V1, CONTEXT)
    assert (request.method, request.path, request.raw_path) == ("PUT", "/a b/é", "/a%20b/%C3%A9")
    assert (request.query, request.body, request.client_ip) == ("x=1+%26&x=2", "é".encode(), "5.6.7.8")
    assert headers_of(request, "x-one") == [("x-one", "1"), ("x-one", "2")]


def test_a_request_of_a_load_balancer(web: Any) -> None:
    request = web.read(BALANCER, CONTEXT)
    assert (request.method, request.path, request.query) == ("GET", "/x", "key=a%20b")


def test_what_was_called_is_told_in_headers(web: Any) -> None:
    request = web.read(V1, CONTEXT)
    told = {
        name: json.loads(value)
        for name, value in headers_of(request, "x-amzn-request-context", "x-amzn-lambda-context")
    }
    assert told["x-amzn-request-context"] == V1["requestContext"]
    assert told["x-amzn-lambda-context"]["request_id"] == "r-1"


@pytest.mark.parametrize("event", [{"Records": []}, [1], "text", None, 3])
def test_another_event_is_a_post(web: Any, event: Any) -> None:
    request = web.read(event, CONTEXT)
    assert (request.method, request.path, json.loads(request.body)) == ("POST", "/events", event)
    assert web.result(request, 200, [], b'{"a":1}') == {"a": 1}
    assert web.result(request, 200, [], b"no json") == "no json"
    assert web.result(request, 204, [], b"") is None
    with pytest.raises(Exception, match="the application answered 500: broken"):
        web.result(request, 500, [], b"broken")


def test_a_base_path_is_taken_off(web: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_LWA_REMOVE_BASE_PATH", "/prod/")
    for path, expected in (("/prod/x", ("/prod", "/x")), ("/prod", ("/prod", "/")), ("/product", ("", "/product"))):
        request = web.read({**V2, "rawPath": path}, CONTEXT)
        assert (request.root, request.path) == expected


HEADERS = [("Content-Type", "text/plain"), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("Vary", "A"), ("Vary", "B")]


def test_a_result_of_payload_2(web: Any) -> None:
    assert web.result(web.read(V2, CONTEXT), 201, HEADERS, "é".encode()) == {
        "statusCode": 201,
        "headers": {"content-type": "text/plain", "vary": "A, B"},
        "cookies": ["a=1", "b=2"],
        "body": "é",
        "isBase64Encoded": False,
    }


def test_a_result_of_payload_1(web: Any) -> None:
    assert web.result(web.read(V1, CONTEXT), 201, HEADERS, b"x") == {
        "statusCode": 201,
        "multiValueHeaders": {"content-type": ["text/plain"], "set-cookie": ["a=1", "b=2"], "vary": ["A", "B"]},
        "body": "x",
        "isBase64Encoded": False,
    }


def test_a_result_for_a_load_balancer(web: Any) -> None:
    found = web.result(web.read(BALANCER, CONTEXT), 404, [("Content-Type", "text/plain")], b"x")
    assert (found["statusDescription"], found["headers"]) == ("404 Not Found", {"content-type": "text/plain"})
    many = web.read({**BALANCER, "multiValueHeaders": {"host": ["lb.example"]}}, CONTEXT)
    assert web.result(many, 200, HEADERS, b"x")["multiValueHeaders"]["set-cookie"] == ["a=1", "b=2"]


@pytest.mark.parametrize(
    ("headers", "body", "is_base64"),
    [
        ([("content-type", "text/html; charset=utf-8")], b"<p>", False),
        ([("content-type", "application/json")], b"{}", False),
        ([("content-type", "image/svg+xml")], b"<svg/>", False),
        ([("content-type", "image/png")], b"abc", True),
        ([("content-type", "application/octet-stream")], b"abc", True),
        ([("content-type", "text/plain")], b"\xff", True),
        ([("content-type", "text/plain"), ("content-encoding", "gzip")], b"abc", True),
        ([], b"abc", False),
        ([], b"\xff", True),
    ],
)
def test_what_is_no_text_travels_as_base64(
    web: Any, headers: list[tuple[str, str]], body: bytes, is_base64: bool
) -> None:
    found = web.result(web.read(V2, CONTEXT), 200, headers, body)
    assert found["isBase64Encoded"] is is_base64
    assert (base64.b64decode(found["body"]) if is_base64 else found["body"].encode()) == body


def wsgi(application: Any, event: Any = V2) -> Any:
    return importlib.import_module("_lambent_runtime.web_wsgi").handler(application)(event, CONTEXT)


def test_a_wsgi_application(web: Any) -> None:
    closed = []

    class Body:
        def __iter__(self) -> Iterator[bytes]:
            yield b"two"

        def close(self) -> None:
            closed.append(True)

    def application(environ: dict[str, Any], start: Any) -> Any:
        assert environ["PATH_INFO"].encode("latin-1").decode() == "/a b/é"
        assert (environ["REQUEST_METHOD"], environ["QUERY_STRING"]) == ("POST", "x=1&x=2&y=%26")
        assert environ["wsgi.input"].read() == b"hi"
        assert (environ["CONTENT_LENGTH"], environ["CONTENT_TYPE"], environ["HTTP_COOKIE"]) == (
            "2",
            "text/plain",
            "a=1; b=2",
        )
        assert (environ["SERVER_NAME"], environ["SERVER_PORT"], environ["wsgi.url_scheme"]) == (
            "h.example",
            "8443",
            "http",
        )
        assert environ["aws.event"] is V2
        start("202 Accepted", [("Content-Type", "text/plain")])(b"one ")
        return Body()

    found = wsgi(application)
    assert (found["statusCode"], found["body"], closed) == (202, "one two", [True])


def test_a_wsgi_application_that_raises_is_500_and_logged(web: Any, capsys: pytest.CaptureFixture[str]) -> None:
    def application(environ: Any, start: Any) -> Any:
        raise ValueError("as asked")

    found = wsgi(application)
    assert (found["statusCode"], found["body"]) == (500, "Internal Server Error")
    assert "ValueError: as asked" in capsys.readouterr().err
    with pytest.raises(ValueError, match="as asked"):
        wsgi(application, {"Records": []})


def test_a_wsgi_application_may_replace_its_headers_when_it_fails(web: Any) -> None:
    def application(environ: Any, start: Any) -> Any:
        start("200 OK", [])
        try:
            raise ValueError("late")
        except ValueError:
            start("503 Service Unavailable", [], sys.exc_info())
        return [b"sorry"]

    assert wsgi(application)["statusCode"] == 503


def asgi(application: Any) -> Any:
    return importlib.import_module("_lambent_runtime.web_asgi").handler(application)


def test_an_asgi_application_with_its_lifespan(web: Any) -> None:
    seen: list[Any] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            assert (await receive())["type"] == "lifespan.startup"
            scope["state"]["ready"] = True
            await send({"type": "lifespan.startup.complete"})
            await receive()
            return
        assert (scope["path"], scope["raw_path"], scope["query_string"]) == (
            "/a b/é",
            b"/a%20b/%C3%A9",
            b"x=1&x=2&y=%26",
        )
        assert (scope["client"], scope["server"], scope["state"]) == (
            ("1.2.3.4", 0),
            ("h.example", 8443),
            {"ready": True},
        )
        seen.append(await receive())
        await send({"type": "http.response.start", "status": 200, "headers": [(b"Content-Type", b"text/plain")]})
        await send({"type": "http.response.body", "body": b"one ", "more_body": True})
        await send({"type": "http.response.body", "body": b"two"})
        seen.append(await receive())

    handle = asgi(application)
    for _ in range(2):
        found = handle(V2, CONTEXT)
        assert (found["statusCode"], found["body"]) == (200, "one two")
    assert seen[:2] == [{"type": "http.request", "body": b"hi", "more_body": False}, {"type": "http.disconnect"}]


def test_an_asgi_application_without_a_lifespan(web: Any) -> None:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        await send({"type": "http.response.start", "status": 204})
        await send({"type": "http.response.body"})

    assert asgi(application)(V2, CONTEXT)["statusCode"] == 204


def test_a_start_up_that_fails_is_an_init_error(web: Any) -> None:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no database"})

    with pytest.raises(Exception, match="no database") as failed:
        asgi(application)
    assert failed.value.kind == "Runtime.ApplicationStartupFailed"


@pytest.mark.parametrize("sent", [[], [{"type": "http.response.body", "body": b"x"}]])
def test_an_asgi_application_without_a_response_is_500(web: Any, sent: list[Any]) -> None:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        for message in sent:
            await send(message)

    assert asgi(application)(V2, CONTEXT)["statusCode"] == 500


def test_applications_are_pythons(web: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_EXECUTION_ENV")
    with pytest.raises(Exception, match="LAMBENT_WEB_ADAPTER=wsgi is for Python; an OS-only function has port"):
        web.handler("wsgi", None)


def test_a_mode_that_there_is_not(web: Any) -> None:
    with pytest.raises(Exception, match="LAMBENT_WEB_ADAPTER is one of asgi, wsgi, port, not 'cgi'"):
        web.handler("cgi", None)


@pytest.fixture
def streamed(web: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("AWS_LWA_INVOKE_MODE", "RESPONSE_STREAM")
    return web


def test_a_wsgi_application_streams_behind_its_metadata(streamed: Any) -> None:
    def application(environ: Any, start: Any) -> Any:
        start("201 Created", [("Content-Type", "text/plain"), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")])
        yield b"one"
        yield b"two"

    assert list(wsgi(application)) == [
        {"statusCode": 201, "headers": {"content-type": "text/plain"}, "cookies": ["a=1", "b=2"]},
        b"one",
        b"two",
    ]


def test_a_wsgi_application_that_raises_before_its_first_piece_answers_500(streamed: Any) -> None:
    def application(environ: Any, start: Any) -> Any:
        start("200 OK", [])
        raise ValueError("as asked")
        yield b""

    metadata, body = wsgi(application)
    assert (metadata["statusCode"], body) == (500, b"Internal Server Error")


def test_a_wsgi_application_that_raises_later_cuts_its_response_off(streamed: Any) -> None:
    def application(environ: Any, start: Any) -> Any:
        start("200 OK", [])
        yield b"one"
        raise ValueError("as asked")

    found = wsgi(application)
    assert next(found)["statusCode"] == 200
    assert next(found) == b"one"
    with pytest.raises(ValueError, match="as asked"):
        next(found)


def collected(handle: Any) -> list[Any]:
    streams = importlib.import_module("_lambent_runtime.streams")

    async def collect() -> list[Any]:
        return [part async for part in handle(V2, CONTEXT)]

    found: list[Any] = streams.event_loop().run_until_complete(collect())
    return found


def test_an_asgi_application_streams_behind_its_metadata(streamed: Any) -> None:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        await send(
            {"type": "http.response.start", "status": 200, "headers": [(b"Content-Length", b"6"), (b"X-A", b"1")]}
        )
        await send({"type": "http.response.body", "body": b"one", "more_body": True})
        await asyncio.sleep(0)
        await send({"type": "http.response.body", "body": b"two"})

    metadata, *parts = collected(asgi(application))
    assert metadata == {"statusCode": 200, "headers": {"x-a": "1"}, "cookies": []}
    assert b"".join(parts) == b"onetwo"


def test_an_asgi_application_that_raises_before_its_response_answers_500(streamed: Any) -> None:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        raise ValueError("as asked")

    metadata, body = collected(asgi(application))
    assert (metadata["statusCode"], body) == (500, b"Internal Server Error")


def test_events_of_other_kinds_are_never_streamed(streamed: Any) -> None:
    def application(environ: Any, start: Any) -> Any:
        start("200 OK", [])
        return [b"[1]"]

    assert wsgi(application, {"Records": []}) == [1]


def test_an_asgi_application_that_raises_after_its_response_has_answered(
    web: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            raise AssertionError("no lifespan")
        await send({"type": "http.response.start", "status": 500})
        await send({"type": "http.response.body", "body": b"its own page"})
        raise ValueError("as asked")

    found = asgi(application)(V2, CONTEXT)
    assert (found["statusCode"], found["body"]) == (500, "its own page")
    assert "ValueError: as asked" in capsys.readouterr().err
