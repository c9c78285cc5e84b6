"""FastAPI, Flask, Express and Go's net/http, unmodified, in each way of serving them: the same requests over a real URL."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from tests.integration.gateway.url_world import Url
from tests.integration.web.web_world import (
    APPS,
    Subject,
    go_program,
    node_packages,
    python_packages,
    served,
    web_adapter,
)
from tests.machine import NODE_RUNTIME
from tests.support import PYTHON_RUNTIME, client

pytestmark = [pytest.mark.timeout(900), pytest.mark.leaves_session_state]  # the session's server keeps blanks

PYTHON, NODE = PYTHON_RUNTIME, NODE_RUNTIME
HELLO = b"hello from the framework"
WITH_WEB_ADAPTER = {"AWS_LAMBDA_EXEC_WRAPPER": "/opt/bootstrap", "AWS_LWA_PORT": "8000", "AWS_LWA_ASYNC_INIT": "false"}


def app(name: str) -> str:
    return (APPS / name).read_text()


def fastapi(**more: str) -> dict[str, str]:
    return {"main.py": app("fastapi_app.py"), **more}


def flask(**more: str) -> dict[str, str]:
    return {"main.py": app("flask_app.py"), **more}


def express(**more: str) -> dict[str, str]:
    return {"app.cjs": app("express_app.cjs"), **more}


MANGUM = "from mangum import Mangum\nfrom main import app\nhandler = Mangum(app)\n"
FLASK_MANGUM = (
    "from asgiref.wsgi import WsgiToAsgi\nfrom mangum import Mangum\nfrom main import app\n"
    'handler = Mangum(WsgiToAsgi(app), lifespan="off")\n'
)
RUN_PYTHON = '#!/bin/sh\nexport PYTHONPATH="/opt/python:/var/task"\nexec /var/lang/bin/{} {}\n'
UVICORN = RUN_PYTHON.format(PYTHON, "-m uvicorn --port 8000 --log-level warning main:app")
GUNICORN = RUN_PYTHON.format(PYTHON, "-m gunicorn -b 127.0.0.1:8000 --no-control-socket main:app")
LISTEN = 'require("./app.cjs").listen(Number(process.env.PORT || 8000), "127.0.0.1");\n'

SUBJECTS = [
    Subject("fastapi-asgi", PYTHON, "main.app", fastapi, (python_packages,), {"LAMBENT_WEB_ADAPTER": "asgi"}),
    Subject(
        "fastapi-mangum", PYTHON, "lambda_app.handler", lambda: fastapi(**{"lambda_app.py": MANGUM}), (python_packages,)
    ),
    Subject(
        "fastapi-web-adapter",
        PYTHON,
        "run.sh",
        lambda: fastapi(**{"run.sh": UVICORN}),
        (python_packages, web_adapter),
        WITH_WEB_ADAPTER,
    ),
    Subject(
        "fastapi-port",
        PYTHON,
        "run.sh",
        lambda: fastapi(**{"run.sh": UVICORN}),
        (python_packages,),
        {"LAMBENT_WEB_ADAPTER": "port", "PORT": "8000"},
    ),
    Subject("flask-wsgi", PYTHON, "main.app", flask, (python_packages,), {"LAMBENT_WEB_ADAPTER": "wsgi"}),
    Subject(
        "flask-mangum",
        PYTHON,
        "lambda_app.handler",
        lambda: flask(**{"lambda_app.py": FLASK_MANGUM}),
        (python_packages,),
    ),
    Subject(
        "flask-web-adapter",
        PYTHON,
        "run.sh",
        lambda: flask(**{"run.sh": GUNICORN}),
        (python_packages, web_adapter),
        WITH_WEB_ADAPTER,
    ),
    Subject(
        "flask-port",
        PYTHON,
        "run.sh",
        lambda: flask(**{"run.sh": GUNICORN}),
        (python_packages,),
        {"LAMBENT_WEB_ADAPTER": "port", "PORT": "8000"},
    ),
    Subject(
        "express-serverless-http",
        NODE,
        "index.handler",
        lambda: express(
            **{
                "index.js": 'exports.handler = require("serverless-http")(require("./app.cjs"), {binary: ["image/*"]});\n'
            }
        ),
        (node_packages,),
    ),
    Subject(
        "express-serverless-express",
        NODE,
        "index.handler",
        lambda: express(
            **{
                "index.js": 'exports.handler = require("@codegenie/serverless-express")({ app: require("./app.cjs") });\n'
            }
        ),
        (node_packages,),
    ),
    Subject(
        "express-port",
        NODE,
        "server.cjs",
        lambda: express(**{"server.cjs": LISTEN}),
        (node_packages,),
        {"LAMBENT_WEB_ADAPTER": "port"},
    ),
    Subject(
        "express-web-adapter",
        NODE,
        "run.sh",
        lambda: express(**{"server.cjs": LISTEN, "run.sh": "#!/bin/sh\nexec node server.cjs\n"}),
        (node_packages, web_adapter),
        WITH_WEB_ADAPTER,
    ),
    Subject(
        "go-port",
        "provided.al2023",
        "bootstrap",
        lambda: {"bootstrap": go_program()},
        variables={"LAMBENT_WEB_ADAPTER": "port", "AWS_LWA_PORT": "8000"},
    ),
    Subject("go-api-proxy", "provided.al2023", "bootstrap", lambda: {"bootstrap": go_program()}),
    Subject(
        "go-web-adapter",
        "provided.al2023",
        "bootstrap",
        lambda: {"bootstrap": go_program()},
        (lambda: {k: v for k, v in web_adapter().items() if k != "bootstrap"},),
        {"AWS_LWA_PORT": "8000"},
    ),
]


@pytest.fixture(scope="module")
def lambda_(endpoint: str) -> Iterator[Any]:
    made = client("lambda", endpoint)
    yield made
    made.close()


@dataclass(frozen=True, slots=True)
class Site:
    """One subject while it is served."""

    subject: Subject
    function: str
    url: Url


@pytest.fixture(scope="module", params=SUBJECTS, ids=str)
def site(request: pytest.FixtureRequest, lambda_: Any, endpoint: str) -> Iterator[Site]:
    with served(lambda_, endpoint, request.param) as (name, found):
        yield Site(request.param, name, found)


@pytest.fixture
def url(site: Site) -> Url:
    return site.url


def form(fields: Mapping[str, str], files: Mapping[str, tuple[str, bytes]]) -> tuple[bytes, str]:
    """A multipart body and its content type."""
    mark = b"----a-boundary"
    parts = [
        b'--%b\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n' % (mark, name.encode(), value.encode())
        for name, value in fields.items()
    ]
    parts += [
        b'--%b\r\nContent-Disposition: form-data; name="%b"; filename="%b"\r\n'
        b"Content-Type: application/octet-stream\r\n\r\n%b\r\n" % (mark, name.encode(), file.encode(), content)
        for name, (file, content) in files.items()
    ]
    return b"".join(parts) + b"--%b--\r\n" % mark, f"multipart/form-data; boundary={mark.decode()}"


def test_a_page(url: Url) -> None:
    reply = url()
    assert (reply.status, reply.body) == (200, HELLO)
    assert (reply.header("content-type") or "").startswith("text/plain")


def test_a_head_has_no_body(url: Url) -> None:
    reply = url("HEAD")
    assert (reply.status, reply.body) == (200, b"")


def test_path_and_repeated_query_parameters(url: Url) -> None:
    reply = url(target="/items/7?q=a%20b&q=%C3%A9%26&x=")
    assert (reply.status, reply.json) == (200, {"id": 7, "q": ["a b", "é&"]})
    assert (
        reply.header(
            "content-type",
        )
        == "application/json"
        or reply.header("content-type") == "application/json; charset=utf-8"
    )


def test_json_goes_in_and_out(url: Url) -> None:
    value = {"name": "Zürich \U0001f600", "price": 1.5}
    reply = url(
        "POST",
        "/json",
        b'{"name": "Z\xc3\xbcrich \xf0\x9f\x98\x80", "price": 1.5}',
        {"Content-Type": "application/json"},
    )
    assert (reply.status, reply.json) == (201, value)


def test_a_form(url: Url) -> None:
    reply = url("PUT", "/form", b"a=1+2&b=%C3%A9", {"Content-Type": "application/x-www-form-urlencoded"})
    assert (reply.status, reply.json) == (200, {"a": "1 2", "b": "é"})


def test_an_upload_of_a_file(url: Url) -> None:
    content = os.urandom(20_000)
    body, kind = form({"note": "a note"}, {"file": ("data.bin", content)})
    reply = url("POST", "/files", body, {"Content-Type": kind})
    assert reply.status == 200, reply.body
    assert reply.json == {"note": "a note", "name": "data.bin", "sha256": hashlib.sha256(content).hexdigest()}


def test_a_deletion_answers_without_a_body(url: Url) -> None:
    reply = url("DELETE", "/items/7")
    assert (reply.status, reply.body) == (204, b"")


def test_headers_both_ways(url: Url) -> None:
    reply = url(target="/headers", headers={"X-Custom": "some value"})
    assert (reply.status, reply.json, reply.header("x-answer")) == (200, {"custom": "some value"}, "42")


def test_cookies_come(url: Url) -> None:
    reply = url(target="/cookies", headers={"Cookie": "a=1; b=2"})
    assert (reply.status, reply.json) == (200, {"a": "1", "b": "2"})


def test_cookies_are_set_one_header_each(url: Url) -> None:
    cookies = url(target="/set-cookies").all("set-cookie")
    assert sorted(cookie.split(";")[0] for cookie in cookies) == ["one=1", "two=2"]
    assert "httponly" in next(cookie for cookie in cookies if cookie.startswith("two")).lower()


def test_binary_goes_in(url: Url) -> None:
    body = os.urandom(300_000)
    reply = url("POST", "/binary", body, {"Content-Type": "application/octet-stream"})
    assert reply.json == {"size": len(body), "sha256": hashlib.sha256(body).hexdigest()}


def test_binary_comes_out(url: Url) -> None:
    reply = url(target="/image")
    assert (reply.status, reply.header("content-type"), reply.body) == (200, "image/png", bytes(range(256)))


def test_a_redirect_is_the_clients_to_follow(url: Url) -> None:
    reply = url(target="/redirect")
    assert reply.status == 302
    assert (reply.header("location") or "").endswith("/items/7")


def test_an_encoded_path(url: Url) -> None:
    reply = url(target="/unicode/h%C3%A9llo%20w%C3%B6rld")
    assert (reply.status, reply.body.decode()) == (200, "«héllo wörld»")


def test_a_stream_arrives_whole(url: Url) -> None:
    reply = url(target="/stream")
    assert (reply.status, reply.body) == (200, b"".join(b"part %d\n" % number for number in range(5)))


def test_what_is_not_there(url: Url) -> None:
    assert url(target="/nothing/here").status == 404


def test_a_status_of_its_own(url: Url) -> None:
    reply = url(target="/teapot")
    assert reply.status == 418
    assert b"short and stout" in reply.body


def test_an_error_in_the_application_is_500_and_spoils_nothing(url: Url) -> None:
    assert url(target="/error").status == 500
    reply = url()
    assert (reply.status, reply.body) == (200, HELLO)
