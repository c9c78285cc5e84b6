"""What the tests of HTTP APIs share: a plain HTTP client, functions that the gateway may call, APIs that go again."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from tests import support

ACCOUNT = "123456789012"
ECHO = """
def handler(event, context):
    return {"statusCode": 200, "body": __import__("json").dumps(event), "headers": {"x-one": "1"}}
"""
RAW = """
def handler(event, context):
    return event
"""


@dataclass(frozen=True, slots=True)
class Answer:
    """One response; header names in lower case."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        return next((value for one, value in self.headers if one == name), None)

    def all(self, name: str) -> list[str]:
        return [value for one, value in self.headers if one == name]

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def send(
    url: str,
    method: str = "GET",
    *,
    host: str | None = None,
    headers: Mapping[str, str] | list[tuple[str, str]] = (),  # type: ignore[assignment]
    body: bytes = b"",
) -> Answer:
    """One request, byte for byte as given: nothing is encoded, added or followed. host: instead of the URL's."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=60)
    target = url.split(parts.netloc, 1)[1] or "/"
    connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
    connection.putheader("Host", host or parts.netloc)
    for name, value in headers.items() if isinstance(headers, Mapping) else headers:
        connection.putheader(name, value)
    if body or method in ("POST", "PUT", "PATCH"):
        connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body or None)
    response = connection.getresponse()
    answer = Answer(response.status, [(name.lower(), value) for name, value in response.getheaders()], response.read())
    connection.close()
    return answer


@dataclass(slots=True)
class World:
    """A running server with clients of one account."""

    url: str
    gateway: Any
    lambda_: Any
    logs: Any

    @contextmanager
    def function(
        self, code: str | Mapping[str, str | bytes] = ECHO, *, is_open: bool = True, **options: Any
    ) -> Iterator[str]:
        """A function's ARN; open: the gateway may call it for every API."""
        with support.function(self.lambda_, code, **options) as name:
            if is_open:
                self.permit(name)
            yield self.lambda_.get_function_configuration(FunctionName=name)["FunctionArn"]

    def permit(self, name: str, source: str | None = None, **more: Any) -> None:
        given = {} if source is None else {"SourceArn": source}
        self.lambda_.add_permission(
            FunctionName=name,
            StatementId=support.unique("gateway"),
            Action="lambda:InvokeFunction",
            Principal="apigateway.amazonaws.com",
            **given,
            **more,
        )

    @contextmanager
    def api(self, **options: Any) -> Iterator[Api]:
        """An HTTP API with a $default stage that deploys by itself, unless `stage` is None."""
        stage = options.pop("stage", {"StageName": "$default", "AutoDeploy": True})
        made = self.gateway.create_api(Name=support.unique("api"), ProtocolType="HTTP", **options)
        api = Api(self, made["ApiId"])
        try:
            if stage is not None:
                self.gateway.create_stage(ApiId=api.id, **stage)
            yield api
        finally:
            self.gateway.delete_api(ApiId=api.id)


@dataclass(frozen=True, slots=True)
class Api:
    world: World
    id: str

    @property
    def host(self) -> str:
        return f"{self.id}.execute-api.us-east-1.localhost"

    def arn(self, rest: str) -> str:
        return f"arn:aws:execute-api:us-east-1:{ACCOUNT}:{self.id}/{rest}"

    def integrate(self, target: str, version: str = "2.0", **options: Any) -> str:
        """An integration with a function or an HTTP server; answers its id."""
        if target.startswith("http"):
            options = {"IntegrationType": "HTTP_PROXY", "IntegrationMethod": "ANY", **options}
        else:
            options = {"IntegrationType": "AWS_PROXY", "PayloadFormatVersion": version, **options}
        made = self.world.gateway.create_integration(ApiId=self.id, IntegrationUri=target, **options)
        return str(made["IntegrationId"])

    def route(self, key: str, integration: str | None, **options: Any) -> str:
        target = {} if integration is None else {"Target": f"integrations/{integration}"}
        return str(self.world.gateway.create_route(ApiId=self.id, RouteKey=key, **target, **options)["RouteId"])

    def send(self, path: str, method: str = "GET", *, host: str | None = None, **options: Any) -> Answer:
        """A request to the API's own host."""
        return send(self.world.url + path, method, host=host or self.host, **options)
