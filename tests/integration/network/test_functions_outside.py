"""Functions of every runtime reach an HTTPS server and a PostgreSQL server outside, through the whole product."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from outside_world import DNS, ECHO, HTTPS, POSTGRES_PORT, Outside, postgres
from tests.conftest import RunningServer, start_server
from tests.support import PYTHON_RUNTIME, client, function, package

HERE = Path(__file__).parent
CACHE = HERE.parents[2] / ".cache" / "network"
BUILD_LIMIT_S = 120.0
EHOSTUNREACH = 113

PYTHON = """
import json, os, socket, ssl, subprocess, urllib.request
def handler(event, context):
    trusted = ssl.create_default_context(cadata=event["Certificate"])
    with urllib.request.urlopen(event["URL"], timeout=10, context=trusted) as answer:
        document = answer.read().decode()
    host, port = event["Postgres"].split(":")
    psql = [event["Psql"], "-h", host, "-p", port, "-U", "postgres", "-Atc", "select 40 + 2"]
    row = subprocess.run(psql, capture_output=True, text=True, timeout=10)
    with open("/tmp/ca.pem", "w") as file: file.write(event["Certificate"])
    curl = subprocess.run(["curl", "-sS", "--cacert", "/tmp/ca.pem", event["URL"]], capture_output=True, text=True)
    host, port = event["Closed"].split(":")
    try:
        socket.create_connection((host, int(port)), 5)
        closed = "0"
    except OSError as error:
        closed = str(error.errno)
    return {"https": document, "postgres": row.stdout.strip() or row.stderr, "closed": closed, "curl": curl.stdout}
"""

NODE = """
import https from "node:https"; import net from "node:net";
const fetched = (url, ca) => new Promise((resolve, reject) => https.get(url, { ca }, (answer) => {
  let text = ""; answer.on("data", (part) => { text += part; }).on("end", () => resolve(text));
}).on("error", reject));
const message = (kind, body) => {
  const head = Buffer.alloc(4); head.writeUInt32BE(body.length + 4);
  return Buffer.concat([Buffer.from(kind), head, body]);
};
const asked = (address, question) => new Promise((resolve, reject) => {
  const [host, port] = address.split(":");
  const socket = net.connect(Number(port), host);
  let got = Buffer.alloc(0);
  socket.on("connect", () => {
    socket.write(message("", Buffer.concat([Buffer.from([0, 3, 0, 0]), Buffer.from("user\\0postgres\\0\\0")])));
    socket.write(message("Q", Buffer.from(question + "\\0")));
  });
  socket.on("error", reject);
  socket.on("data", (part) => {
    got = Buffer.concat([got, part]);
    while (got.length > 5 && got.length > got.readUInt32BE(1)) {
      const size = got.readUInt32BE(1), kind = String.fromCharCode(got[0]), body = got.subarray(5, size + 1);
      got = got.subarray(size + 1);
      if (kind === "D") { socket.destroy(); resolve(body.subarray(6, 6 + body.readUInt32BE(2)).toString()); return; }
      if (kind === "E") { socket.destroy(); reject(new Error(body.toString())); return; }
    }
  });
});
const refused = (address) => new Promise((resolve) => {
  const [host, port] = address.split(":");
  const socket = net.connect(Number(port), host);
  socket.on("connect", () => { socket.destroy(); resolve("0"); }).on("error", (error) => resolve(String(-error.errno)));
});
export const handler = async (event) => ({
  https: await fetched(event.URL, event.Certificate),
  postgres: await asked(event.Postgres, "select 40 + 2"),
  closed: await refused(event.Closed),
});
"""

BASH = """#!/bin/bash
api="http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation"
while true; do
  event=$(curl -sS -D /tmp/head "$api/next")
  id=$(grep -i lambda-runtime-aws-request-id /tmp/head | tr -d '\\r' | cut -d' ' -f2)
  exec 3<>"/dev/tcp/outside.example/$PORT"
  echo over the wall >&3
  read -r line <&3
  exec 3>&-
  curl -sS -X POST "$api/$id/response" -d "\\"$line\\"" >/dev/null
done
"""


@pytest.fixture(scope="module")
def psql(machine: Outside) -> Iterator[str]:
    with postgres(machine) as program:
        yield program


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="lambent-network-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


@pytest.fixture(scope="module")
def server(machine: Outside, place: Path) -> Iterator[RunningServer]:
    running = start_server(place / "data", env={"LAMBENT_NETWORK_RESOLVERS": f"{machine.four}:{DNS}"})
    if running.tier == "process":
        running.stop()
        pytest.skip("the process tier has the host's network")
    if "gives sandboxes no way out" in " ".join(running.log.read_text().split()):
        running.stop()
        pytest.skip("the kernel gives sandboxes no way out")
    yield running
    assert running.stop() == 0, running.log.read_text()


@pytest.fixture(scope="module")
def lambda_(server: RunningServer) -> Iterator[Any]:
    made = client("lambda", server.url)
    made.get_account_settings()
    yield made
    made.close()


@pytest.fixture
def event(machine: Outside, psql: str) -> dict[str, str]:
    return {
        "Certificate": machine.certificate,
        "URL": f"https://secure.example:{HTTPS}/from/a/function",
        "Postgres": f"{machine.four}:{POSTGRES_PORT}",
        "Closed": f"{machine.host_four}:22",
        "Psql": psql,
    }


def invoked(lambda_: Any, name: str, event: Any) -> Any:
    answer = lambda_.invoke(FunctionName=name, Payload=json.dumps(event))
    body = json.loads(answer["Payload"].read())
    assert "FunctionError" not in answer, body
    return body


DOCUMENT = '{"path": "/from/a/function"}'
REACHED = {"https": DOCUMENT, "postgres": "42", "closed": str(EHOSTUNREACH)}


def test_python_psql_and_curl(lambda_: Any, event: dict[str, str]) -> None:
    with function(lambda_, PYTHON, Timeout=30, MemorySize=512) as name:
        assert invoked(lambda_, name, event) == {**REACHED, "curl": DOCUMENT}


def test_node(lambda_: Any, event: dict[str, str]) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("there is no Node.js on this machine")
    major = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout[1:].split(".")[0]
    runtime = f"nodejs{major}.x"
    with function(lambda_, NODE, runtime=runtime, handler="index.handler", Timeout=30, MemorySize=512) as name:
        assert invoked(lambda_, name, event) == REACHED


@pytest.mark.timeout(BUILD_LIMIT_S + 60)
def test_go(lambda_: Any, event: dict[str, str]) -> None:
    if shutil.which("go") is None:
        pytest.skip("there is no Go compiler on this machine")
    CACHE.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=mod", "GOPROXY": "off"}
    command = ["go", "build", "-o", str(CACHE / "bootstrap"), "."]
    done = subprocess.run(
        command, cwd=HERE / "go_function", env=environment, capture_output=True, text=True, timeout=BUILD_LIMIT_S
    )
    assert done.returncode == 0, done.stderr
    files = {"bootstrap": (CACHE / "bootstrap").read_bytes()}
    with function(lambda_, files, runtime="provided.al2023", handler="any", Timeout=30, MemorySize=512) as name:
        assert invoked(lambda_, name, event) == REACHED


def test_bash(lambda_: Any, machine: Outside) -> None:
    variables = {"Variables": {"PORT": str(ECHO)}}
    with function(lambda_, BASH, runtime="provided.al2023", handler="any", Timeout=20, Environment=variables) as name:
        assert invoked(lambda_, name, {}) == "over the wall"


TRY = """
import os, socket
def handler(event, context):
    try:
        with socket.create_connection((event["host"], event["port"]), 5) as s:
            s.sendall(b"x"); return s.recv(1).decode()
    except OSError as error:
        return type(error).__name__ + " " + str(error.errno)
"""


def test_a_function_closes_its_own_way_out(lambda_: Any, machine: Outside) -> None:
    """And its list opens a part of it again, at the next configuration."""
    asked = {"host": "listed.example", "port": ECHO}
    with function(lambda_, TRY, Timeout=20, Environment={"Variables": {"LAMBENT_NETWORK_EGRESS": "none"}}) as name:
        assert invoked(lambda_, name, asked).startswith("gaierror")
        assert invoked(lambda_, name, {**asked, "host": machine.four}) == f"OSError {EHOSTUNREACH}"
        variables = {"LAMBENT_NETWORK_EGRESS": "listed", "LAMBENT_NETWORK_ALLOW": f"listed.example:{ECHO}"}
        lambda_.update_function_configuration(FunctionName=name, Environment={"Variables": variables})
        lambda_.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})
        assert invoked(lambda_, name, asked) == "x"
        assert invoked(lambda_, name, {**asked, "host": machine.six}) == "PermissionError 13"


def test_what_a_function_cannot_mean_is_refused(lambda_: Any) -> None:
    for variables in (
        {"LAMBENT_NETWORK_EGRESS": "everything"},
        {"LAMBENT_NETWORK_ALLOW": "10.0.0.0/8"},
        {"LAMBENT_NETWORK_EGRESS": "listed", "LAMBENT_NETWORK_ALLOW": "10.0.0.1/8"},
    ):
        with pytest.raises(lambda_.exceptions.InvalidParameterValueException, match="LAMBENT_NETWORK_EGRESS"):
            lambda_.create_function(
                FunctionName="refused",
                Runtime=PYTHON_RUNTIME,
                Handler="app.handler",
                Role="arn:aws:iam::000000000000:role/test",
                Code={"ZipFile": package({"app.py": TRY})},
                Environment={"Variables": variables},
            )


def test_the_platforms_own_port_is_not_reached_through_the_host(
    lambda_: Any, server: RunningServer, machine: Outside
) -> None:
    """Neither where it listens nor through an address of the host; only the endpoint inside is the platform."""
    port = int(server.url.rpartition(":")[2])
    with function(lambda_, TRY, Timeout=20) as name:
        assert invoked(lambda_, name, {"host": "127.0.0.1", "port": port}) == "ConnectionRefusedError 111"
        assert invoked(lambda_, name, {"host": machine.host_four, "port": port}) == f"OSError {EHOSTUNREACH}"


def test_a_server_that_says_none(machine: Outside, place: Path) -> None:
    running = start_server(place / "none", env={"LAMBENT_NETWORK_EGRESS": "none"})
    try:
        made = client("lambda", running.url)
        with function(made, TRY, Timeout=20) as name:
            assert invoked(made, name, {"host": machine.four, "port": ECHO}) == "OSError 101"
        made.close()
    finally:
        assert running.stop() == 0


def test_a_server_says_what_it_cannot_read(place: Path) -> None:
    for variable, value in (("ALLOW", "10.0.0.0/8"), ("ALLOW", "127.0.0.1:9001"), ("RESOLVERS", "ns.example")):
        with pytest.raises(AssertionError, match="network"):
            start_server(place / "bad", env={f"LAMBENT_NETWORK_{variable}": value})
