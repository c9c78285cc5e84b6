"""HTTPS of a running server: asked for by a port, with the development authority's certificates or the user's own."""

from __future__ import annotations

import json
import re
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from http.client import HTTPSConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
from tests.conftest import ROOT, RunningServer, start_server
from tests.integration.gateway.url_world import id_in, permit
from tests.integration.node.node_world import place
from tests.support import function

from lambent.http.authority import Authority

CODE = "import json\ndef handler(e, c):\n    return {'statusCode': 200, 'body': json.dumps(e['headers'])}\n"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def https() -> Iterator[tuple[RunningServer, str, Path]]:
    """A server, where it speaks HTTPS, and whom to trust."""
    with place() as base:
        server = start_server(base / "data", "--tls-port", str(free_port()))
        facts = json.loads((base / "data.ready").read_text())
        yield server, facts["secure_endpoint"], Path(facts["authority"])
        assert server.stop() == 0, server.log.read_text()


@pytest.fixture
def trusted(https: tuple[RunningServer, str, Path], tmp_path: Path) -> Path:
    """The authority's certificate where clients of any user can read it."""
    copy = tmp_path / "ca.pem"
    copy.write_bytes(https[2].read_bytes())
    return copy


def test_an_sdk_that_trusts_the_authority(https: tuple[RunningServer, str, Path], trusted: Path) -> None:
    _, endpoint, _ = https
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "secret", "region_name": "us-east-1"}
    lambda_: Any = boto3.client("lambda", endpoint_url=endpoint, verify=str(trusted), **keys)
    try:
        with function(lambda_, CODE) as name:
            assert json.loads(lambda_.invoke(FunctionName=name, Payload=b'{"headers": 1}')["Payload"].read())
            made = lambda_.create_function_url_config(FunctionName=name, AuthType="NONE")
            permit(lambda_, name)
            parts = urlsplit(made["FunctionUrl"])
            assert parts.scheme == "https"
            host = f"{id_in(made['FunctionUrl'])}.lambda-url.us-east-1.localhost"
            trusting = ssl.create_default_context(cafile=trusted)
            raw = socket.create_connection((parts.hostname or "", parts.port or 0))
            with raw, trusting.wrap_socket(raw, server_hostname=host) as connection:
                request = f"GET / HTTP/1.1\r\nHost: {host}:{parts.port}\r\nConnection: close\r\n\r\n"
                connection.sendall(request.encode())
                received = b""
                while piece := connection.recv(65_536):
                    received += piece
            headers = json.loads(received.partition(b"\r\n\r\n")[2])
            assert (headers["x-forwarded-proto"], headers["x-forwarded-port"]) == ("https", str(parts.port))
            assert headers["x-amzn-tls-version"].startswith("TLSv1.")
            assert headers["x-amzn-tls-cipher-suite"]
    finally:
        lambda_.close()


def test_the_banner_says_how_to_trust_it(https: tuple[RunningServer, str, Path]) -> None:
    server, endpoint, authority = https
    shown = server.log.read_text()
    assert f"https     {endpoint}" in shown
    assert f"export AWS_CA_BUNDLE={authority}" in shown


def test_a_certificate_of_the_users_own_and_an_ordered_end() -> None:
    with place() as base:
        authority = Authority.open(base / "made", lambda: time.time_ns() // 1_000_000)
        chain, key = authority.certificate(["127.0.0.1"])
        (base / "chain.pem").write_bytes(chain)
        (base / "key.pem").write_bytes(key)
        named = ("--set", f"tls.certificate={base / 'chain.pem'}", "--set", f"tls.key={base / 'key.pem'}")
        server = start_server(base / "data", "--tls-port", str(free_port()), *named)
        try:
            facts = json.loads((base / "data.ready").read_text())
            assert facts["authority"] is None
            assert not (base / "data" / "tls").exists()
            parts = urlsplit(facts["secure_endpoint"])
            trusting = ssl.create_default_context(cafile=authority.path)
            connection = HTTPSConnection(parts.hostname or "", parts.port, context=trusting, timeout=10)
            connection.request("GET", "/_lambent/health")
            assert connection.getresponse().read().startswith(b'{"status":"ok"')
            assert server.stop() == 0, "an open connection holds nobody up"
            connection.close()
        finally:
            server.stop()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"tls.certificate": "/nowhere/c.pem"}, "tls.certificate.*can't be read"),
        ({"tls.key": "/nowhere/k.pem"}, "tls.key.*tls.certificate is empty"),
        ({"tls.port": "taken"}, "tls.port.*in use"),
    ],
)
def test_what_can_not_be_is_refused_at_the_start(settings: dict[str, str], words: str) -> None:
    with place() as base, socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1] if settings.get("tls.port") == "taken" else free_port()
        command = [sys.executable, "-m", "lambent", "up", "--port", "0", "--data-dir", str(base / "data")]
        command += ["--tls-port", str(port)]
        for name, value in settings.items():
            command += [] if name == "tls.port" else ["--set", f"{name}={value}"]
        done = subprocess.run(
            command, capture_output=True, text=True, cwd=ROOT, env={"PYTHONPATH": str(ROOT / "src")}, timeout=60
        )
        assert done.returncode == 1
        assert len(done.stderr.strip().splitlines()) == 1
        assert re.search(words, done.stderr), done.stderr
