"""Streamed responses of web applications behind a streaming URL: in the adapter's three ways, and by AWS's Web Adapter."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from http.client import HTTPConnection
from typing import Any

import pytest
from tests.integration.gateway.url_world import Url
from tests.integration.web.test_frameworks import SUBJECTS
from tests.integration.web.web_world import served
from tests.support import client

pytestmark = [pytest.mark.timeout(900), pytest.mark.leaves_session_state]  # the session's server keeps blanks

NAMES = ("fastapi-asgi", "flask-wsgi", "flask-port", "express-port", "fastapi-web-adapter")
SLOWLY = {
    "fastapi_app.py": """

@app.get("/slowly")
async def slowly():
    import asyncio

    async def parts():
        yield "one"
        await asyncio.sleep(2)
        yield "two"

    return StreamingResponse(parts(), media_type="text/plain", headers={"Set-Cookie": "a=1", "X-Answer": "42"})
""",
    "flask_app.py": """

@app.get("/slowly")
def slowly():
    import time

    def parts():
        yield "one"
        time.sleep(2)
        yield "two"

    return Response(parts(), mimetype="text/plain", headers={"Set-Cookie": "a=1", "X-Answer": "42"})
""",
    "express_app.cjs": """
app.get("/slowly", (req, res) => {
  res.type("text/plain").set("X-Answer", "42").cookie("a", "1");
  res.write("one");
  setTimeout(() => res.end("two"), 2000);
});
""",
}


@pytest.fixture(scope="module")
def lambda_(endpoint: str) -> Iterator[Any]:
    made = client("lambda", endpoint)
    yield made
    made.close()


@pytest.fixture(scope="module", params=NAMES)
def url(request: pytest.FixtureRequest, lambda_: Any, endpoint: str) -> Iterator[Url]:
    plain = next(subject for subject in SUBJECTS if subject.name == request.param)

    def files() -> dict[str, str | bytes]:
        found = dict(plain.files())
        for own, app in (("main.py", f"{request.param.partition('-')[0]}_app.py"), ("app.cjs", "express_app.cjs")):
            if own in found:
                text = found[own]
                assert isinstance(text, str)
                # Express takes the first route that fits, and its last is for what is not there.
                head, mark, tail = text.partition("// Express 5's own")
                found[own] = head + SLOWLY[app] + mark + tail
        return found

    subject = replace(plain, files=files, variables={**plain.variables, "AWS_LWA_INVOKE_MODE": "response_stream"})
    with served(lambda_, endpoint, subject) as (name, found):
        lambda_.update_function_url_config(FunctionName=name, InvokeMode="RESPONSE_STREAM")
        yield found


def test_the_first_part_comes_before_the_last_is_made(url: Url) -> None:
    url()  # a cold start is not what is looked at
    connection = HTTPConnection(*url.server, timeout=30)
    try:
        connection.request("GET", "/slowly", headers={"Host": url.host})
        reply = connection.getresponse()
        assert (reply.status, reply.getheader("x-answer"), reply.getheader("set-cookie", "")[:3]) == (200, "42", "a=1")
        assert reply.read(3) == b"one"
        began = time.monotonic()
        assert reply.read() == b"two"
        assert time.monotonic() - began > 1.0
    finally:
        connection.close()


def test_other_answers_are_as_ever(url: Url) -> None:
    assert url(target="/items/7?q=a").json == {"id": 7, "q": ["a"]}
    reply = url(target="/image")
    assert (reply.status, reply.header("content-type"), reply.body) == (200, "image/png", bytes(range(256)))
    assert url(target="/nothing/here").status == 404
    assert url(target="/redirect").status == 302
    assert url("DELETE", "/items/7").status == 204
    assert sorted(c.split(";")[0] for c in url(target="/set-cookies").all("set-cookie")) == ["one=1", "two=2"]


def test_an_error_in_the_application_is_500_and_spoils_nothing(url: Url) -> None:
    assert url(target="/error").status == 500
    assert url().status == 200
