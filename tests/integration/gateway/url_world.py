"""What the tests of function URLs share: raw requests, and a function that answers as its path asks."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

from tests.support import client, function

LIMIT_S = 30.0
FORBIDDEN = {
    "Message": "Forbidden. For troubleshooting Function URL authorization issues, see: "
    "https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html"
}
SITE = """
import base64, json, sys, time

def handler(event, context):
    path = event["rawPath"]
    if path == "/event":
        return {"statusCode": 200, "body": json.dumps({**event, "aws_request_id": context.aws_request_id})}
    if path == "/echo":
        body = event.get("body", "")
        return {"statusCode": 200, "body": body, "isBase64Encoded": event["isBase64Encoded"],
                "headers": {"content-type": event["headers"].get("content-type", "none/none")}}
    if path == "/return":
        return json.loads(base64.b64decode(event["body"]) if event["isBase64Encoded"] else event["body"])
    if path == "/raise":
        raise ValueError("as asked")
    if path == "/exit":
        sys.exit(3)
    if path == "/sleep":
        time.sleep(float(event["queryStringParameters"]["s"]))
        return "slept"
    if path == "/big":
        return {"statusCode": 200, "body": "x" * int(event["queryStringParameters"]["n"])}
    return {"version": context.function_version, "path": path}
"""


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer, read whole."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        return next((value for field, value in self.headers if field.lower() == name.lower()), None)

    def all(self, name: str) -> list[str]:
        return [value for field, value in self.headers if field.lower() == name.lower()]

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Url:
    """A function URL, asked at the server's own address whatever its name is."""

    server: tuple[str, int]
    id: str
    region: str = "us-east-1"

    @property
    def host(self) -> str:
        return f"{self.id}.lambda-url.{self.region}.localhost:{self.server[1]}"

    def __call__(
        self,
        method: str = "GET",
        target: str = "/",
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        host: str | None = None,
    ) -> Reply:
        """One request of the host form; `target` goes out as it is."""
        connection = HTTPConnection(*self.server, timeout=LIMIT_S)
        try:
            connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
            connection.putheader("Host", host or self.host)
            for name, value in (headers or {}).items():
                connection.putheader(name, value)
            if body is not None:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            answer = connection.getresponse()
            return Reply(answer.status, answer.getheaders(), answer.read())
        finally:
            connection.close()

    def returning(self, value: object) -> Reply:
        """What becomes of a value that the function returns."""
        return self("POST", "/return", json.dumps(value).encode(), {"Content-Type": "application/json"})

    def raw(self, data: bytes, *, half_close: bool = False) -> bytes:
        """Everything that the server sends back to these bytes until it closes."""
        with socket.create_connection(self.server, timeout=LIMIT_S) as connection:
            connection.sendall(data)
            if half_close:
                connection.shutdown(socket.SHUT_WR)
            received = b""
            while piece := connection.recv(65_536):
                received += piece
            return received


def server_of(endpoint: str) -> tuple[str, int]:
    parts = urlsplit(endpoint)
    assert parts.hostname is not None
    assert parts.port is not None
    return parts.hostname, parts.port


def id_in(url: str) -> str:
    """The id in either form of an address."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    return (
        parts.hostname.partition(".")[0]
        if ".lambda-url." in parts.hostname
        else parts.path.strip("/").rpartition("/")[2]
    )


def permit(lambda_: Any, name: str, auth_type: str = "NONE", principal: str = "*", **more: Any) -> None:
    """The two statements that a function URL takes."""
    lambda_.add_permission(
        FunctionName=name,
        StatementId="FunctionURLAllowPublicAccess",
        Action="lambda:InvokeFunctionUrl",
        Principal=principal,
        FunctionUrlAuthType=auth_type,
        **more,
    )
    lambda_.add_permission(
        FunctionName=name,
        StatementId="FunctionURLInvokeAllowPublicAccess",
        Action="lambda:InvokeFunction",
        Principal=principal,
        InvokedViaFunctionUrl=True,
        **more,
    )


@contextmanager
def published(lambda_: Any, endpoint: str, code: str = SITE, **options: Any) -> Iterator[tuple[str, Url]]:
    """A function with a URL that everybody may use."""
    url_options = options.pop("url", {})
    with function(lambda_, code, **options) as name:
        made = lambda_.create_function_url_config(FunctionName=name, **{"AuthType": "NONE", **url_options})
        permit(lambda_, name)
        yield name, Url(server_of(endpoint), id_in(made["FunctionUrl"]))


def logs_until(endpoint: str, name: str, wanted: list[str]) -> str:
    """The function's log once it holds all that is wanted, or as it is after a while."""
    logs = client("logs", endpoint)
    try:
        deadline = time.monotonic() + LIMIT_S
        while True:
            pages = logs.get_paginator("filter_log_events").paginate(logGroupName=f"/aws/lambda/{name}")
            events = pages.build_full_result()["events"]
            text = "".join(event["message"] for event in events)
            if all(one in text for one in wanted) or time.monotonic() > deadline:
                assert all(one in text for one in wanted), text
                return text
            time.sleep(0.05)  # log lines are written when the invocation ends; nothing tells us
    finally:
        logs.close()
