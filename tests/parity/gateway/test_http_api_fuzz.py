"""Every control operation of HTTP APIs with inputs that are right, almost right and wrong: refused or done, never our fault.

The seed is printed; LAMBENT_TEST_SEED repeats a run.
"""

from __future__ import annotations

import http.client
import json
import os
import random
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from lambent.api.resources import http_apis
from lambent.api.rest import HTTP_APIS_FILE
from lambent.api.table import Operation, Shape, read_table

ACCOUNT = "432109876543"
ROUNDS = 12
FUNCTION = f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:f"
WORDS = (
    "", "a", "$default", "GET /a", "ANY /{proxy+}", "GET /{a}/{a}", "/", "HTTP", "JWT", "REQUEST", "AWS_PROXY", "HTTP_PROXY", "POST",
    "1.0", "2.0", FUNCTION, "http://h.example/{proxy}", "$request.header.a", "https://issuer.example", "integrations/x", "NONE", "AWS_IAM",
    "CUSTOM", "a.example.com", "*.example.com", "arn:aws:acm:us-east-1:1:certificate/x", "append:header.x", "200", "*", "\u0000", "é" * 40,
    "x" * 2_000, "../..", "%2e", "null", '{"openapi":"3.0.1"}', "openapi: 3.0.1\ninfo: {title: t}\npaths: {/a: {get: {}}}", "OAS30", "JSON",
)  # fmt: skip
ANYTHING: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    3.5,
    1e300,
    "a",
    [],
    {},
    [None],
    {"a": None},
    [[[]]],
    "x" * 5_000,
    2**70,
)
ALLOWED = {200, 201, 204, 400, 404, 405, 409, 413, 429, 501}


def value(dice: random.Random, shape: Shape, depth: int = 0) -> Any:
    """Mostly of the shape, seldom anything."""
    if dice.random() < 0.03:
        return dice.choice(ANYTHING)
    match shape.kind:
        case "string":
            return dice.choice(shape.enum) if shape.enum and dice.random() < 0.8 else dice.choice(WORDS)
        case "integer" | "long":
            return dice.choice((0, 1, 49, 50, 300, 30_000, 30_001, -1, 2**31))
        case "double":
            return dice.choice((0.0, 0.5, 100.0, -1.0))
        case "boolean":
            return dice.random() < 0.5
        case "list":
            return [value(dice, shape.element, depth + 1) for _ in range(dice.randrange(3))]
        case "map":
            return {dice.choice(WORDS): value(dice, shape.value, depth + 1) for _ in range(dice.randrange(3))}
        case "structure" if depth < 4:
            chance = 0.7 if depth else 0.6
            return {
                member.wire_name: value(dice, member.shape, depth + 1)
                for member in shape.members.values()
                if member.location is None and (member.name in shape.required or dice.random() < chance)
            }
    return dice.choice(WORDS)


class Driver:
    def __init__(self, endpoint: str, seed: int) -> None:
        self.dice = random.Random(seed)
        self.endpoint = endpoint
        self.connection = http.client.HTTPConnection(endpoint.removeprefix("http://"), timeout=30)
        self.ids: dict[str, list[str]] = {}

    def begin(self) -> None:
        """An API with one of each part, so that most calls are about something."""
        for path, body in (
            ("apis", {"name": "n", "protocolType": "HTTP"}),
            ("apis/{}/integrations", {"integrationType": "AWS_PROXY", "integrationUri": FUNCTION}),
            ("apis/{}/routes", {"routeKey": "GET /a"}),
            (
                "apis/{}/authorizers",
                {
                    "name": "a",
                    "authorizerType": "REQUEST",
                    "identitySource": [],
                    "authorizerUri": FUNCTION,
                    "authorizerPayloadFormatVersion": "2.0",
                },
            ),
            ("apis/{}/stages", {"stageName": "s", "autoDeploy": True}),
            ("apis/{}/deployments", {}),
            (
                "domainnames",
                {"domainName": f"{ACCOUNT}.example.com", "domainNameConfigurations": [{"certificateArn": "arn:x"}]},
            ),
            (f"domainnames/{ACCOUNT}.example.com/apimappings", {"apiId": "{}", "stage": "s"}),
        ):
            api = self.ids.get("apiId", [""])[-1]
            text = json.dumps(body).replace("{}", api) if "apimappings" in path else json.dumps(body)
            status, found = self.send("POST", "/v2/" + path.replace("{}", api), text.encode())
            assert status == 201, found

    def call(self, operation: Operation) -> tuple[int, bytes]:
        """One call of an operation, as the dice fall."""
        dice, shape = self.dice, operation.input
        labels, query = [], {}
        for segment in operation.path:
            if segment.startswith("{"):
                known = self.ids.get(segment[1:-1], [])
                text = dice.choice(known) if known and dice.random() < 0.85 else dice.choice(WORDS) or "x"
                labels.append(quote(text, safe=""))
            else:
                labels.append(segment)
        for member in shape.members.values() if shape is not None else ():
            if member.location == "querystring" and dice.random() < 0.6:
                query[member.wire_name] = str(value(dice, member.shape))
        body = (
            b"" if shape is None or operation.method in ("GET", "DELETE") else json.dumps(value(dice, shape)).encode()
        )
        if body and dice.random() < 0.03:
            body = body[: len(body) // 2]
        target = "/" + "/".join(labels) + (f"?{urlencode(query)}" if query else "")
        return self.send(operation.method, target, body)

    def send(self, method: str, target: str, body: bytes = b"") -> tuple[int, bytes]:
        """One request; what was made is remembered."""
        scope = f"{ACCOUNT}/20260101/us-east-1/apigateway/aws4_request"
        credential = f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature={'0' * 64}"
        self.connection.request(method, target, body, {"Authorization": credential})
        answer = self.connection.getresponse()
        found = answer.read()
        if answer.status in (200, 201) and found.startswith(b"{"):
            document = json.loads(found)
            for name in (
                "apiId",
                "routeId",
                "integrationId",
                "authorizerId",
                "stageName",
                "deploymentId",
                "domainName",
                "apiMappingId",
            ):
                if isinstance(document.get(name), str):
                    self.ids.setdefault(name, []).append(document[name])
        return answer.status, found


@pytest.fixture
def driver(endpoint: str) -> Iterator[Driver]:
    seed = int(os.environ.get("LAMBENT_TEST_SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"LAMBENT_TEST_SEED={seed}")
    made = Driver(endpoint, seed)
    yield made
    made.connection.close()


def test_wrong_calls_are_refused_and_right_ones_done(driver: Driver) -> None:
    table = read_table(HTTP_APIS_FILE)
    source = http_apis.__spec__.loader.get_source(http_apis.__name__)  # type: ignore[union-attr]
    served = [op for name, op in table.operations.items() if f'"{name}": resource.' in source]
    served.sort(key=lambda op: not op.name.startswith(("CreateApi", "Create")))
    seen: set[int] = set()
    for _ in range(ROUNDS):
        driver.begin()
        for operation in served:
            for _ in range(3 if operation.name.startswith(("Create", "Update")) else 1):
                status, body = driver.call(operation)
                assert status in ALLOWED, (operation.name, status, body)
                if status >= 400:
                    assert json.loads(body)["message"], (operation.name, status)
                seen.add(status)
        driver.send("DELETE", f"/v2/domainnames/{ACCOUNT}.example.com")
        for api in driver.ids.pop("apiId", []):
            driver.send("DELETE", f"/v2/apis/{api}")
    assert {200, 201, 204, 400, 404} <= seen
