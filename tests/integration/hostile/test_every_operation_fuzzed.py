"""2,000 seeded calls over all operations of the table, most of them wrong in some way the schema knows.

Never a fault of the server's own, an error always in the shape its client reads, and what was refused changed nothing.
"""

from __future__ import annotations

import json
import random
from base64 import b64encode
from collections import Counter
from http.client import HTTPConnection
from typing import Any
from urllib.parse import quote

import pytest
from tests.integration.hostile.hostile_world import ANSWER_LIMIT_S, AUTHORIZATION, Reply, address
from tests.support import PYTHON_RUNTIME, ROLE, package

from lambent.api.table import Operation, Shape, load_table

CALLS = 2_000
SEED = 20_261_125
ACCOUNT = "424242424242"
"""The fuzzed account; the witness lives in another one."""
SETTLE_POLLS_MAX = 2_000
NAMES = ["fuzz-a", "fuzz-b", "fuzz-c"]
ZIP = b64encode(
    package({"app.py": "def handler(event, context):\n    return 0\n", "bootstrap": "#!/bin/sh\n"})
).decode()
ODD = ["", " ", "a" * 65, "b" * 300, "é", "\0", "$LATEST", "../..", "a:b:c", "{}", "%41", "💡", "\ud800", "None", "0"]
PLAUSIBLE: dict[str, list[Any]] = {
    "FunctionName": [*NAMES, f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:fuzz-a", "function:fuzz-b", "fuzz-a:1"],
    "Qualifier": ["$LATEST", "1", "2", "live"],
    "Role": [ROLE],
    "RoleArn": [ROLE],
    "Runtime": [PYTHON_RUNTIME, "provided.al2023"],
    "Handler": ["app.handler", "app.nothing"],
    "ZipFile": [ZIP],
    "MemorySize": [128, 256, 10_240],
    "Timeout": [1, 3],
    "Architectures": [["x86_64"]],
    "ReservedConcurrentExecutions": [0, 1, 900, 1_000],
    "Environment": [{"Variables": {"AB": "c"}}, {"Variables": {}}],
    "PackageType": ["Zip"],
    "Tags": [{"a": "b"}],
    "Description": ["", "d"],
    "InvocationType": ["RequestResponse", "DryRun", "Event"],
}
UNSERVED_FEATURES = {"Layers", "VpcConfig", "KMSKeyArn", "FileSystemConfigs", "CapacityProviderConfig", "DurableConfig"}
"""Members that make most creations be refused; they come up seldom, so that some creations succeed."""


class Fuzz:
    """Draws requests for operations; the same seed draws the same ones."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)

    def value(self, name: str, shape: Shape, depth: int = 0) -> Any:
        """A value for a member: mostly as the schema wants it, now and then not."""
        if self.chance.random() < 0.08:
            return self.wrong(shape)
        return self.right(name, shape, depth)

    def right(self, name: str, shape: Shape, depth: int) -> Any:
        chance = self.chance
        if name in PLAUSIBLE:
            return chance.choice(PLAUSIBLE[name])
        if shape.kind == "structure":
            return self.members(shape, depth + 1)
        if shape.kind == "list":
            count = chance.randint(int(shape.min or 0), int(shape.min or 0) + 2)
            return [self.value("", shape.element, depth + 1) for _ in range(count)] if depth < 6 else []
        if shape.kind == "map":
            return {str(self.value("", shape.key, 9)): self.value("", shape.value, depth + 1) for _ in range(2)}
        if shape.kind == "string":
            least = int(shape.min or 1)
            return (
                chance.choice(shape.enum) if shape.enum else chance.choice(["x", "1", "abc-1", "app.x"]) * max(1, least)
            )
        if shape.kind in ("integer", "long"):
            return chance.randint(int(shape.min or 0), int(min(shape.max or 1_000, 10_000)))
        if shape.kind in ("float", "double"):
            return chance.random()
        if shape.kind == "boolean":
            return chance.random() < 0.5
        if shape.kind == "timestamp":
            return 1_700_000_000
        return b64encode(chance.randbytes(20)).decode()

    def wrong(self, shape: Shape) -> Any:
        chance = self.chance
        wrongs: list[Any] = [
            None,
            *ODD,
            -1,
            0,
            2**31,
            2**63,
            10**40,
            1.5,
            True,
            [],
            {},
            [None],
            {"a": None},
            ["x"] * 200,
        ]
        if shape.max is not None and shape.kind == "string":
            wrongs += ["y" * (int(min(shape.max, 5_000)) + 1)] * 4
        if shape.max is not None and shape.kind in ("integer", "long"):
            wrongs += [int(shape.max) + 1] * 4
        return chance.choice(wrongs)

    def members(self, shape: Shape, depth: int) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for name, member in shape.members.items():
            share = 0.97 if name in shape.required else 0.03 if name in UNSERVED_FEATURES else 0.2
            if depth < 6 and self.chance.random() < share:
                made[name] = self.value(name, member.shape, depth)
        if self.chance.random() < 0.1:
            made["NobodyKnowsThis"] = self.chance.choice(ODD)
        return made

    def request(self, operation: Operation) -> tuple[str, str, dict[str, str], bytes | None]:
        """Method, target, headers and body."""
        values = self.members(operation.input, 0) if operation.input is not None else {}
        if operation.name in ("CreateFunction", "UpdateFunctionCode") and self.chance.random() < 0.7:
            code = {"ZipFile": ZIP}
            values.update({"Code": code} if operation.name == "CreateFunction" else code)
            for source in ("S3Bucket", "S3Key", "S3ObjectVersion", "ImageUri", "PublishTo", "RuntimeConfig"):
                values.pop(source, None)
        labels: dict[str, str] = {}
        query = [f"{name}={value}" for name, value in operation.query.items()]
        headers: dict[str, str] = {}
        document: dict[str, Any] = {}
        for name, value in values.items():
            member = operation.input.members.get(name) if operation.input is not None else None
            text = _text(value)
            if member is None or (member.location is None and operation.input.payload != name):  # type: ignore[union-attr]
                document[name] = value
            elif member.location == "uri":
                labels[member.wire_name] = quote(text.encode("utf-8", "surrogatepass"), safe="") or "%20"
            elif member.location == "querystring":
                for one in value if isinstance(value, list) else [value]:
                    query.append(f"{member.wire_name}={quote(_text(one).encode('utf-8', 'surrogatepass'), safe='')}")
            elif member.location == "header":
                headers[member.wire_name] = quote(text.encode("utf-8", "surrogatepass"), safe=" :=+/{}")[:4_000]
        segments = [labels.get(part[1:-1], "x") if part.startswith("{") else part for part in operation.path]
        target = "/" + "/".join(segments) + ("?" + "&".join(query) if query else "")
        body = None if operation.method == "GET" else json.dumps(document).encode()
        if body is not None and self.chance.random() < 0.04:
            body = self.chance.choice(
                [b"", b"{", b"[]", b"null", b"\xff\xfe", b'"x"', b"[" * 5_000, body[:-1], body * 2]
            )
        return operation.method, target, headers, body


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


class Caller:
    """One connection that is opened again when the server closed it."""

    def __init__(self, url: str) -> None:
        self.connection = HTTPConnection(*address(url), timeout=ANSWER_LIMIT_S)
        self.authorization = AUTHORIZATION.replace("=test/", f"={ACCOUNT}/")

    def __call__(
        self, method: str, target: str, headers: dict[str, str] | None = None, body: bytes | None = None
    ) -> Reply:
        self.connection.request(method, target, body, {"Authorization": self.authorization, **(headers or {})})
        answer = self.connection.getresponse()
        return Reply(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())

    def state(self) -> tuple[bytes, bytes]:
        """Everything that the calls could change: all versions of all functions, and what concurrency is left."""
        listed = self("GET", "/2015-03-31/functions?FunctionVersion=ALL&MaxItems=50").document
        reserved = [self("GET", f"/2019-09-30/functions/{name}/concurrency").body for name in NAMES]
        settings = self("GET", "/2016-08-19/account-settings").body
        return json.dumps(listed, sort_keys=True).encode(), settings + b"".join(reserved)

    def settle(self) -> None:
        """Wait until nothing is being created or updated any more."""
        for _ in range(SETTLE_POLLS_MAX):
            answers = [self("GET", f"/2015-03-31/functions/{name}/configuration") for name in NAMES]
            states = [
                (one.document["State"], one.document.get("LastUpdateStatus")) for one in answers if one.status == 200
            ]
            if all(state != "Pending" and update != "InProgress" for state, update in states):
                return
        raise AssertionError(f"never settled: {states}")


@pytest.mark.timeout(240)
def test_wrong_calls_of_every_operation(well: Any) -> None:
    table = load_table()
    fuzz, caller = Fuzz(SEED), Caller(well.url)
    served = ["CreateFunction", "UpdateFunctionCode", "UpdateFunctionConfiguration", "PublishVersion", "Invoke"]
    drawn = [*table.operations] * 10
    drawn += fuzz.chance.choices(served, k=CALLS - len(drawn))
    fuzz.chance.shuffle(drawn)
    statuses: Counter[tuple[str, int]] = Counter()
    state = caller.state()
    for number, name in enumerate(drawn):
        method, target, headers, body = fuzz.request(table.operations[name])
        story = f"call {number}: {name} {method} {target[:300]} {headers} {(body or b'')[:600]!r}"
        answer = caller(method, target, headers, body)
        statuses[name, answer.status] += 1
        assert answer.status < 500 or (answer.status, answer.code) == (501, "NotImplementedException"), (story, answer)
        assert "x-amzn-requestid" in answer.headers, story
        if answer.status >= 400:
            assert answer.code, story
            assert set(answer.document) <= {"Type", "message", "Message", "Reason"}, (story, answer)
            assert caller.state() == state, (story, answer)
        elif method != "GET":
            caller.settle()
            state = caller.state()
    assert {name for name, _ in statuses} == set(table.operations)
    for operation in served:
        assert any(status < 300 for name, status in statuses if name == operation), f"no {operation} ever succeeded"
        assert any(400 <= status < 500 for name, status in statuses if name == operation)
    for name in NAMES:
        caller("DELETE", f"/2015-03-31/functions/{name}")
    caller.connection.close()
