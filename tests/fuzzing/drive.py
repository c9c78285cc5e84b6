"""Sends calls to a server that runs for it alone, and watches the server's store from outside.

A refused call, and one that only reads, leaves the store as it was. The store is read through SQLite itself: its
`data_version` tells whether anybody committed. What an accepted call still settles is waited for; a commit that comes
later than that is told from a refused call's own by sending the same call again.
"""

from __future__ import annotations

import http.client
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from .calls import ACCOUNT, REGION, Call, Maker
from .judge import Judge, Reply

ANSWER_LIMIT_S = 20.0
QUIET_S = 0.004
"""A store that nobody has written for so long after an accepted call has settled."""
SETTINGS = {
    "LAMBENT_LIMITS_ACCOUNT_CONCURRENCY": "110",
    "LAMBENT_LIMITS_ENVIRONMENTS_MAX": "12",
    "LAMBENT_DEFAULT_ACCOUNT": ACCOUNT,
}
"""Of the server under test: few environments, so that provisioned concurrency stays small."""
AUTHORIZATION = (
    f"AWS4-HMAC-SHA256 Credential={ACCOUNT}/20260101/{REGION}/lambda/aws4_request, SignedHeaders=host, "
    f"Signature={'0' * 64}"
)


@dataclass
class Report:
    """What a run has seen."""

    seed: int
    calls: int = 0
    elapsed_s: float = 0.0
    statuses: Counter[int] = field(default_factory=Counter)
    accepted: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)

    def lines(self) -> Iterator[str]:
        rate = self.calls / self.elapsed_s if self.elapsed_s else 0.0
        yield f"seed {self.seed}: {self.calls} calls in {self.elapsed_s:.0f} s ({rate:.0f} a second)"
        yield "statuses: " + ", ".join(f"{status} × {count}" for status, count in sorted(self.statuses.items()))
        yield f"operations accepted at least once: {len(self.accepted)}, refused at least once: {len(self.refused)}"
        yield f"findings: {len(self.findings)}"
        yield from self.findings


class Driver:
    """One connection and one view of the store."""

    def __init__(self, url: str, state_db: Path, seed: int) -> None:
        self._host = url.removeprefix("http://")
        self._connection: http.client.HTTPConnection | None = None
        self._store = sqlite3.connect(f"file:{state_db}?mode=ro", uri=True, isolation_level=None)
        self._maker = Maker(seed)
        self._judge = Judge(self._maker.model)
        self.report = Report(seed)

    def close(self) -> None:
        """End the connection and the view."""
        self._store.close()
        self._drop()

    def run(self, calls: int, *, findings_max: int = 20) -> Report:
        """So many calls, or fewer when `findings_max` are wrong."""
        started = time.monotonic()
        for _ in range(calls):
            self._one(self._maker.call())
            if len(self.report.findings) >= findings_max:
                break
        self.report.elapsed_s += time.monotonic() - started
        return self.report

    def _one(self, call: Call) -> None:
        report = self.report
        before = self._version()
        report.calls += 1
        try:
            reply = self.send(call)
        except (OSError, http.client.HTTPException) as error:
            self._drop()
            report.findings.append(f"no answer ({error!r}): {call.shown()}")
            return
        report.statuses[reply.status] += 1
        report.findings += [
            f"{problem}: {call.shown()} → {reply.body[:400]!r}" for problem in self._judge.problems(call, reply)
        ]
        is_accepted = reply.status < 300
        (report.accepted if is_accepted else report.refused)[call.operation] += 1
        if is_accepted and not call.is_reading:
            self._learn(reply)
            self._settle()
        elif self._version() != before and self._changes_it(call):
            report.findings.append(f"changed the store although it was {reply.status}: {call.shown()}")
        elif is_accepted:
            self._learn(reply)

    def _learn(self, reply: Reply) -> None:
        try:
            self._maker.world.learn(orjson.loads(reply.body))
        except orjson.JSONDecodeError:
            return

    def send(self, call: Call) -> Reply:
        """One exchange on the kept connection, or on a new one where the server has closed it."""
        if self._connection is None:
            self._connection = http.client.HTTPConnection(self._host, timeout=ANSWER_LIMIT_S)
        connection = self._connection
        connection.putrequest(call.method, call.target, skip_accept_encoding=True)
        for name, value in (("Authorization", AUTHORIZATION), *call.headers):
            connection.putheader(name, value.encode("latin-1", "replace"))
        if call.body or call.method in ("POST", "PUT", "PATCH"):
            connection.putheader("Content-Length", str(len(call.body)))
        connection.endheaders(call.body or None)
        answer = connection.getresponse()
        body = answer.read()
        if answer.will_close:
            self._drop()
        return Reply(answer.status, {name.lower(): value for name, value in answer.getheaders()}, body)

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _version(self) -> int:
        version: int = self._store.execute("PRAGMA data_version").fetchone()[0]
        return version

    def _settle(self) -> None:
        """Wait until nobody writes any more."""
        seen, since = self._version(), time.monotonic()
        while time.monotonic() - since < QUIET_S:
            now = self._version()
            if now != seen:
                seen, since = now, time.monotonic()
            time.sleep(QUIET_S / 8)

    def _changes_it(self, call: Call) -> bool:
        """Whether the call, sent again and again, keeps changing the store."""
        for _ in range(3):
            time.sleep(0.05)
            before = self._version()
            self.send(call)
            time.sleep(0.02)
            if self._version() == before:
                return False
        return True


def rows(state_db: Path) -> dict[str, list[tuple[Any, ...]]]:
    """The whole store, for a comparison by content."""
    store = sqlite3.connect(f"file:{state_db}?mode=ro", uri=True)
    try:
        return {
            table: store.execute(f"SELECT * FROM {table}").fetchall()
            for table in ("functions", "function_versions", "documents")
        }
    finally:
        store.close()
