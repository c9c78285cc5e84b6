"""The built-in adapter at its edges: what it refuses, servers that fail, events of other kinds, settings."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.integration.environments.live_node import LIMITS, LiveNode, live_node, seen
from tests.machine import NODE_RUNTIME
from tests.support import PYTHON_RUNTIME, function

pytestmark = pytest.mark.leaves_session_state  # the node of all tests keeps blanks and connections

SERVER = """
import http.server, json, os, sys, time

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *_): pass
    def answer(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path == "/exit":
            os._exit(4)
        if self.path == "/hang-up":
            self.close_connection = True
            self.connection.close()
            return
        told = {"method": self.command, "path": self.path, "headers": dict(self.headers), "body": body.decode(),
                "pid": os.getpid(), "port": os.environ["PORT"]}
        data = json.dumps(told).encode()
        self.send_response(503 if self.path == "/down" else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        if self.path == "/last":
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(data)
    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = answer

time.sleep(float(os.environ.get("SLOW", "0")))
print("the server listens", flush=True)
port = int(os.environ["PORT"])
http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""
NODE_SERVER = """
const http = require("node:http");
http.createServer((request, response) => {
  const parts = [];
  request.on("data", (part) => parts.push(part));
  request.on("end", () => {
    if (request.url === "/exit") process.exit(4);
    if (request.url === "/hang-up") return request.socket.destroy();
    const told = { method: request.method, path: request.url, headers: request.headers, pid: process.pid,
                   body: Buffer.concat(parts).toString(), port: process.env.PORT };
    const headers = { "content-type": "application/json" };
    if (request.url === "/last") headers.connection = "close";
    response.writeHead(request.url === "/down" ? 503 : 200, headers).end(JSON.stringify(told));
  });
}).listen(Number(process.env.PORT), "127.0.0.1", () => console.log("the server listens"));
"""
RUNTIMES = {"python": (PYTHON_RUNTIME, "server.py", SERVER), "nodejs": (NODE_RUNTIME, "server.cjs", NODE_SERVER)}


@pytest.fixture(scope="module")
def node() -> Iterator[LiveNode]:
    with live_node(replace(LIMITS, init_limit_s=5.0)) as running:
        yield running


@pytest.fixture(params=list(RUNTIMES))
def runtime(request: pytest.FixtureRequest) -> tuple[str, str, str]:
    return RUNTIMES[request.param]


def event(path: str = "/x", method: str = "GET", **more: Any) -> dict[str, Any]:
    context = {"http": {"method": method, "path": path, "sourceIp": "1.2.3.4"}, "stage": "$default"}
    headers = {"host": "h.example"}
    return {
        "version": "2.0",
        "rawPath": path,
        "rawQueryString": "",
        "headers": headers,
        "requestContext": context,
        **more,
    }


def listening(node: LiveNode, runtime: tuple[str, str, str], **variables: str) -> Any:
    """A function that is a web server on a port."""
    name, file, code = runtime
    own = {"LAMBENT_WEB_ADAPTER": "port", **variables}
    return function(
        node.lambda_,
        {file: code},
        runtime=name,
        handler=file,
        Environment={"Variables": own},
        Timeout=10,
        MemorySize=512,
    )


def told(body: Any) -> Any:
    assert body["statusCode"] == 200, body
    return json.loads(body["body"])


def test_a_server_is_started_once_and_asked_for_each_event(node: LiveNode, runtime: tuple[str, str, str]) -> None:
    with listening(node, runtime, AWS_LWA_PORT="9123") as name:
        first = told(node.invoke(name, event("/a%20b", rawQueryString="q=1"))[1])
        second = told(node.invoke(name, event("/y", "POST", body="text"))[1])
        assert (first["method"], first["path"], first["port"]) == ("GET", "/a%20b?q=1", "9123")
        assert (second["method"], second["path"], second["body"]) == ("POST", "/y", "text")
        assert first["pid"] == second["pid"]
        headers = {key.lower(): value for key, value in first["headers"].items()}
        assert headers["host"] == "h.example"
        assert json.loads(headers["x-amzn-lambda-context"])["env_config"]["function_name"] == name
        assert "the server listens\n" in node.log(name)


def test_a_connection_that_the_server_closes_is_made_anew(node: LiveNode, runtime: tuple[str, str, str]) -> None:
    with listening(node, runtime) as name:
        for path in ("/one", "/last", "/two", "/last", "/three"):
            assert told(node.invoke(name, event(path))[1])["path"] == path


def test_a_server_that_hangs_up_fails_the_invocation_alone(node: LiveNode, runtime: tuple[str, str, str]) -> None:
    with listening(node, runtime) as name:
        before = told(node.invoke(name, event())[1])["pid"]
        answer, body = node.invoke(name, event("/hang-up"))
        assert answer["FunctionError"] == "Unhandled"
        assert body["errorType"] == "Runtime.WebServerFailed"
        assert told(node.invoke(name, event())[1])["pid"] == before


def test_a_server_that_ends_takes_the_environment_with_it(node: LiveNode, runtime: tuple[str, str, str]) -> None:
    with listening(node, runtime) as name:
        before = told(node.invoke(name, event())[1])["pid"]
        answer, body = node.invoke(name, event("/exit"))
        assert answer["FunctionError"] == "Unhandled"
        assert body["errorType"] == "Runtime.ExitError"
        assert "exit status 1" in body["errorMessage"]
        seen(lambda: any("The web server ended with status 4" in line for line in node.log(name)))
        assert told(node.invoke(name, event())[1])["pid"] != before


def test_a_server_that_never_listens_is_an_init_error(node: LiveNode, runtime: tuple[str, str, str]) -> None:
    with listening(node, runtime, LAMBENT_WEB_COMMAND="echo no luck; exit 5") as name:
        _, body = node.invoke(name, event())
        assert body["errorType"] == "Runtime.WebServerExited"
        assert body["errorMessage"] == (
            "The web server ended with status 5 before it answered on port 8080: /bin/sh -c echo no luck; exit 5"
        )
        assert "no luck\n" in node.log(name)


def test_a_command_of_its_own_starts_the_server(node: LiveNode, runtime: tuple[str, str, str]) -> None:
    _, file, _ = runtime
    interpreter = PYTHON_RUNTIME if file.endswith(".py") else "node"
    with listening(
        node,
        runtime,
        LAMBENT_WEB_COMMAND=f"cd /tmp && PORT=8123 exec /var/lang/bin/{interpreter} /var/task/{file}",
        PORT="8123",
    ) as name:
        assert told(node.invoke(name, event())[1])["port"] == "8123"


def test_readiness_is_asked_where_it_is_said(node: LiveNode, runtime: tuple[str, str, str]) -> None:
    with listening(node, runtime, AWS_LWA_READINESS_CHECK_PATH="/down") as name:
        node.lambda_.update_function_configuration(FunctionName=name, Timeout=1)
        node.lambda_.get_waiter("function_updated_v2").wait(FunctionName=name)
        _, body = node.invoke(name, event())
        assert body["errorType"] == "Sandbox.Timedout"
    with listening(node, runtime, AWS_LWA_READINESS_CHECK_PATH="/down", AWS_LWA_READINESS_CHECK_PROTOCOL="tcp") as name:
        assert told(node.invoke(name, event())[1])["path"] == "/x"


def test_other_events_are_posts_and_their_answers_results(node: LiveNode, runtime: tuple[str, str, str]) -> None:
    with listening(node, runtime, AWS_LWA_PASS_THROUGH_PATH="/queue") as name:
        _, body = node.invoke(name, {"Records": [{"body": "é"}]})
        assert (body["method"], body["path"]) == ("POST", "/queue")
        assert json.loads(body["body"]) == {"Records": [{"body": "é"}]}
    with listening(node, runtime, AWS_LWA_PASS_THROUGH_PATH="/down") as name:
        _, body = node.invoke(name, {"Records": []})
        assert body["errorType"] == "Runtime.WebAdapterError"
        assert body["errorMessage"].startswith("the application answered 503: ")


def test_a_base_path_is_taken_off(node: LiveNode, runtime: tuple[str, str, str]) -> None:
    with listening(node, runtime, AWS_LWA_REMOVE_BASE_PATH="/prod") as name:
        assert told(node.invoke(name, event("/prod/x"))[1])["path"] == "/x"


def test_applications_are_pythons(node: LiveNode) -> None:
    variables = {"Environment": {"Variables": {"LAMBENT_WEB_ADAPTER": "asgi"}}}
    with function(
        node.lambda_, "export const handler = 1;", runtime=NODE_RUNTIME, handler="index.handler", **variables
    ) as name:
        _, body = node.invoke(name, event())
    assert body["errorType"] == "Runtime.InvalidWebAdapter"
    assert body["errorMessage"] == "LAMBENT_WEB_ADAPTER=asgi is for Python; a Node.js function has port"


def test_the_official_client_adapts_nothing(node: LiveNode) -> None:
    own = {"LAMBENT_WEB_ADAPTER": "asgi", "LAMBENT_RUNTIME_CLIENT": "official"}
    with (
        pytest.raises(ClientError, match="leave LAMBENT_RUNTIME_CLIENT out"),
        function(node.lambda_, "", Environment={"Variables": own}),
    ):
        pass


def test_another_value_is_refused_when_it_is_set(node: LiveNode) -> None:
    variables = {"Environment": {"Variables": {"LAMBENT_WEB_ADAPTER": "cgi"}}}
    with (
        pytest.raises(ClientError, match="LAMBENT_WEB_ADAPTER is asgi, wsgi or port, not 'cgi'"),
        function(node.lambda_, "", **variables),
    ):
        pass
