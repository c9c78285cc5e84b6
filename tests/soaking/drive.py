"""So many seeded invocations of every kind, with updates, deletions and creations in between; what was answered is counted.

Each client does one thing after another, as its own dice say; functions that are updated and deleted are every client's.
"""

from __future__ import annotations

import asyncio
import base64
import json
import random
import time
import urllib.request
from collections import Counter
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from bench.clients import AUTHORIZATION
from bench.crowd import Answer, Connection
from tests.support import PYTHON_RUNTIME, ROLE, package

CLIENTS = 12
WEIGHTS = {
    "echo": 735,
    "error": 70,
    "event": 90,
    "failing event": 20,
    "crash": 15,
    "out of memory": 5,
    "timeout": 8,
    "printing": 10,
    "changing": 30,
    "update": 6,
    "delete": 6,
    "configure": 5,
}
"""How often each is done, of 1,000."""
CODE = """
import os, sys, time
N = {number}
def handler(event, context):
    what = event["what"]
    if what == "error":
        raise ValueError("as asked")
    if what == "crash":
        os._exit(3)
    if what == "out of memory":
        return len(b"x" * (400 << 20))
    if what == "timeout":
        open("/tmp/scratch", "w").write("x" * 100_000)
        time.sleep(30)
    if what == "sleep":
        time.sleep(1)
    if what == "printing":
        print("x" * 20_000)
    return event["n"]
"""
EXPECTED = {
    "error": "ValueError",
    "crash": "Runtime.ExitError",
    "out of memory": "Runtime.OutOfMemory",
    "timeout": "Sandbox.Timedout",
}
AT_ONCE = 48
"""Half as many again as namespaces and groups may be kept: some are thrown away for what their owners did."""
STEADY = tuple(f"steady{number}" for number in range(4))
HASTY = "hasty"
"""Has one second; the others have so many that a busy machine decides nothing."""
CHANGING = tuple(f"changing{number}" for number in range(4))
"""Updated, deleted and created again while they are invoked."""
CHANGING_DOCUMENTED = {200, 404, 409}
SETTLE_S_MAX = 120.0


@dataclass
class Report:
    """What was done, and what was found."""

    done: Counter[str] = field(default_factory=Counter)
    statuses: Counter[str] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)
    expected_attempts: int = 0
    """That the ledger must hold: one for each answer of a function, one for each event."""
    elapsed_s: float = 0.0

    def find(self, text: str) -> None:
        if len(self.findings) < 50:
            self.findings.append(text)


class Driver:
    """Drives one server."""

    def __init__(self, url: str, seed: int) -> None:
        parts = urlsplit(url)
        self._url = url
        self._host, self._port = str(parts.hostname), int(parts.port or 0)
        self._seed = seed
        self.report = Report()

    def request(self, method: str, path: str, body: bytes = b"", headers: str = "") -> bytes:
        return (
            f"{method} {path} HTTP/1.1\r\nHost: {self._host}:{self._port}\r\nAuthorization: {AUTHORIZATION}\r\n"
            f"{headers}Content-Length: {len(body)}\r\n\r\n"
        ).encode() + body

    def creation(self, name: str, number: int) -> bytes:
        document = {
            "FunctionName": name,
            "Runtime": PYTHON_RUNTIME,
            "Handler": "app.handler",
            "Role": ROLE,
            "Timeout": 1 if name == HASTY else 60,
            "MemorySize": 128,
            "Code": {"ZipFile": self.code(number)},
        }
        return self.request("POST", "/2015-03-31/functions", json.dumps(document).encode())

    @staticmethod
    def code(number: int) -> str:
        return base64.b64encode(package({"app.py": CODE.format(number=number)})).decode()

    async def prepare(self) -> None:
        """Create every function; events that fail are not retried."""
        connection = await Connection.open(self._host, self._port)
        for name in (*STEADY, HASTY, *CHANGING):
            answer = await connection.ask(self.creation(name, 0))
            assert answer.status == 201, answer
            body = b'{"MaximumRetryAttempts": 0}'
            answer = await connection.ask(
                self.request("PUT", f"/2019-09-25/functions/{name}/event-invoke-config", body)
            )
            assert answer.status == 200, answer
        for name in (*STEADY, HASTY):
            for _ in range(500):
                answer = await connection.ask(self.request("GET", f"/2015-03-31/functions/{name}/configuration"))
                if json.loads(answer.body)["State"] == "Active":
                    break
                await asyncio.sleep(0.01)
        connection.close()

    async def fill(self) -> None:
        """So many environments at once that afterwards everything is kept that may be: one more is then one too many."""
        sleep = json.dumps({"n": 0, "what": "sleep"}).encode()
        asked = self.request("POST", f"/2015-03-31/functions/{STEADY[0]}/invocations", sleep)

        async def one() -> None:
            connection = await Connection.open(self._host, self._port)
            self._judge("sleep", STEADY[0], 0, await connection.ask(asked))
            connection.close()

        await asyncio.gather(*(one() for _ in range(AT_ONCE)))
        await self._events_are_done()

    async def clear(self) -> None:
        """Delete every function."""
        connection = await Connection.open(self._host, self._port)
        for name in (*STEADY, HASTY, *CHANGING):
            for _ in range(500):
                answer = await connection.ask(self.request("DELETE", f"/2015-03-31/functions/{name}"))
                if answer.status in (204, 404):
                    break
                await asyncio.sleep(0.01)
            else:
                self.report.find(f"{name} could not be deleted: {answer}")
        connection.close()

    async def run(self, invocations: int) -> None:
        """Do so many things, by CLIENTS clients, and wait for the events."""
        began = time.monotonic()
        left = iter(range(invocations))
        await asyncio.gather(*(self._client(number, left) for number in range(CLIENTS)))
        await self._events_are_done()
        self.report.elapsed_s += time.monotonic() - began

    async def _client(self, client: int, left: Any) -> None:
        dice = random.Random(f"{self._seed}-{client}")
        kinds, weights = list(WEIGHTS), list(WEIGHTS.values())
        connection = await Connection.open(self._host, self._port)
        for number in left:
            (kind,) = dice.choices(kinds, weights)
            if not connection.is_open:
                connection = await Connection.open(self._host, self._port)
            name, data = self._call(kind, number, dice)
            answer = await connection.ask(data)
            self.report.done[kind] += 1
            self.report.statuses[f"{kind} {answer.status}"] += 1
            self._judge(kind, name, number, answer)
        connection.close()

    def _call(self, kind: str, number: int, dice: random.Random) -> tuple[str, bytes]:
        changes = kind in ("changing", "update", "delete", "configure")
        name = HASTY if kind == "timeout" else dice.choice(CHANGING if changes else STEADY)
        path = f"/2015-03-31/functions/{name}"
        if kind == "update":
            body = json.dumps({"ZipFile": self.code(number)}).encode()
            return name, self.request("PUT", f"{path}/code", body)
        if kind == "configure":
            body = json.dumps({"Description": str(number), "MemorySize": dice.choice([128, 256])}).encode()
            return name, self.request("PUT", f"{path}/configuration", body)
        if kind == "delete":
            if dice.random() < 0.5:
                return name, self.request("DELETE", path)
            return name, self.creation(name, number)
        what = {"event": "echo", "failing event": dice.choice(["error", "crash"]), "changing": "echo"}.get(kind, kind)
        body = json.dumps({"n": number, "what": what}).encode()
        headers = "X-Amz-Invocation-Type: Event\r\n" if "event" in kind else ""
        return name, self.request("POST", f"{path}/invocations", body, headers)

    def _judge(self, kind: str, name: str, number: int, answer: Answer) -> None:
        report = self.report
        if kind in ("update", "delete", "configure"):
            if answer.status not in (CHANGING_DOCUMENTED | {201, 204}):
                report.find(f"{kind} of {name}: {answer.status} {answer.body[:200]!r}")
            return
        if kind == "changing":
            report.expected_attempts += answer.status == 200
            if answer.status not in CHANGING_DOCUMENTED or (answer.status == 200 and json.loads(answer.body) != number):
                report.find(f"invocation of {name}: {answer.status} {answer.body[:200]!r}")
            return
        report.expected_attempts += 1
        if "event" in kind:
            if answer.status != 202:
                report.find(f"event {number}: {answer.status} {answer.body[:200]!r}")
        elif answer.status != 200:
            report.find(f"{kind} {number}: {answer.status} {answer.body[:200]!r}")
        elif kind in EXPECTED:
            found = json.loads(answer.body)
            if not isinstance(found, dict) or found.get("errorType") != EXPECTED[kind]:
                report.find(f"{kind} {number}: {answer.body[:200]!r}")
        elif json.loads(answer.body) != number:
            report.find(f"{kind} {number} got {answer.body[:200]!r}")

    def attempts(self) -> int:
        """What the ledger holds, of all functions."""
        with urllib.request.urlopen(f"{self._url}/_lambent/usage", timeout=30) as answer:
            return sum(row["attempts"] for row in json.load(answer)["functions"])

    async def _events_are_done(self) -> None:
        """Until the ledger holds as many attempts as it must; what is missing then, or too much, is a finding."""
        deadline = time.monotonic() + SETTLE_S_MAX
        while (found := self.attempts()) < self.report.expected_attempts and time.monotonic() < deadline:  # noqa: ASYNC110 - the ledger is another process's
            await asyncio.sleep(0.1)
        if found != self.report.expected_attempts:
            self.report.find(
                f"{found} attempts in the ledger, {self.report.expected_attempts} were answered or accepted"
            )
