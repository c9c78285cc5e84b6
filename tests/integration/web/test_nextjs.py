"""Next.js, built standalone, served by the built-in adapter and by AWS's Web Adapter: rendering, routes, static files."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from typing import Any

import pytest
from tests.integration.gateway.url_world import Url
from tests.integration.web.web_world import Subject, nextjs, served, web_adapter
from tests.machine import NODE_RUNTIME
from tests.support import client

pytestmark = [pytest.mark.timeout(1_200), pytest.mark.leaves_session_state]  # the session's server keeps blanks

RUN = "#!/bin/sh\nPORT=8000 exec node server.js\n"
SUBJECTS = [
    Subject("next-port", NODE_RUNTIME, "server.js", nextjs, variables={"LAMBENT_WEB_ADAPTER": "port"}),
    Subject(
        "next-web-adapter",
        NODE_RUNTIME,
        "run.sh",
        lambda: {**nextjs(), "run.sh": RUN},
        (web_adapter,),
        {"AWS_LAMBDA_EXEC_WRAPPER": "/opt/bootstrap", "AWS_LWA_PORT": "8000"},
    ),
]


@pytest.fixture(scope="module")
def lambda_(endpoint: str) -> Iterator[Any]:
    made = client("lambda", endpoint)
    yield made
    made.close()


@pytest.fixture(scope="module", params=SUBJECTS, ids=str)
def url(request: pytest.FixtureRequest, lambda_: Any, endpoint: str) -> Iterator[Url]:
    with served(lambda_, endpoint, request.param) as (_, found):
        yield found


def test_a_page_that_was_rendered_ahead(url: Url) -> None:
    reply = url()
    assert reply.status == 200
    assert b"<h1>hello from the framework</h1>" in reply.body
    assert (reply.header("content-type") or "").startswith("text/html")


def test_its_scripts_are_served(url: Url) -> None:
    page = url().body.decode()
    script = re.search(r'src="(/_next/static/[^"]+\.js)', page)
    assert script is not None
    reply = url(target=script[1])
    assert reply.status == 200
    assert "javascript" in (reply.header("content-type") or "")
    assert "immutable" in (reply.header("cache-control") or "")


def test_a_static_file(url: Url) -> None:
    reply = url(target="/robots.txt")
    assert (reply.status, reply.body) == (200, b"a static file\n")


def test_a_page_rendered_for_its_request(url: Url) -> None:
    reply = url(target="/items/7?q=a%20b&q=%C3%A9", headers={"X-Custom": "some value"})
    assert reply.status == 200
    text = reply.body.decode().replace("&quot;", '"')
    assert 'item 7, q ["a b","é"], custom some value' in text


def test_it_is_compressed_for_who_takes_that(url: Url) -> None:
    reply = url(headers={"Accept-Encoding": "gzip"})
    assert reply.header("content-encoding") == "gzip"
    assert reply.body[:2] == b"\x1f\x8b"


def test_a_conditional_request(url: Url) -> None:
    tag = url(target="/robots.txt").header("etag")
    assert tag is not None
    reply = url(target="/robots.txt", headers={"If-None-Match": tag})
    assert (reply.status, reply.body) == (304, b"")


def test_a_redirect(url: Url) -> None:
    reply = url(target="/go")
    assert reply.status == 307
    assert (reply.header("location") or "").endswith("/items/7")


def test_a_route_takes_binary(url: Url) -> None:
    body = os.urandom(50_000)
    reply = url("POST", "/api/echo", body, {"Content-Type": "application/octet-stream"})
    assert (reply.status, reply.json) == (201, {"size": len(body), "sha256": hashlib.sha256(body).hexdigest()})


def test_a_route_streams(url: Url) -> None:
    reply = url(target="/api/echo")
    assert (reply.status, reply.body) == (200, b"".join(b"part %d\n" % number for number in range(5)))


def test_a_route_answers_binary(url: Url) -> None:
    reply = url(target="/api/image")
    assert (reply.status, reply.header("content-type"), reply.body) == (200, "image/png", bytes(range(256)))


def test_cookies(url: Url) -> None:
    reply = url(target="/api/cookies", headers={"Cookie": "a=1; b=2"})
    assert reply.json == {"a": "1", "b": "2"}
    assert sorted(cookie.split(";")[0] for cookie in reply.all("set-cookie")) == ["one=1", "two=2"]


def test_what_is_not_there_is_its_own_page(url: Url) -> None:
    reply = url(target="/nothing/here")
    assert reply.status == 404
    assert b"This page could not be found" in reply.body


def test_a_method_that_a_route_lacks(url: Url) -> None:
    assert url("DELETE", "/api/echo").status == 405


def test_an_error_is_500_and_spoils_nothing(url: Url) -> None:
    assert url(target="/api/error").status == 500
    assert url().status == 200
