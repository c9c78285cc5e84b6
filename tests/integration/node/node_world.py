"""A server process, what its clients see of it, and what it leaves on the machine."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import sqlite3
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from tests.conftest import RunningServer
from tests.support import client

T = TypeVar("T")
SEEN_LIMIT_S = 60.0


def seen(what: Callable[[], T], limit_s: float = SEEN_LIMIT_S) -> T:
    """Look until what is seen is true, and answer it."""
    until = time.monotonic() + limit_s
    while not (found := what()):
        if time.monotonic() > until:
            raise AssertionError(f"not seen in {limit_s} s, last: {found!r}")
        time.sleep(0.01)  # what other processes do can be looked at, not awaited
    return found


@dataclass(frozen=True)
class Left:
    """What belongs to one data directory's life on this machine."""

    processes: frozenset[int]
    groups: frozenset[str]
    mounts: frozenset[str]
    loops: frozenset[str]

    def __bool__(self) -> bool:
        return bool(self.processes or self.groups or self.mounts or self.loops)


def left(data_dir: Path) -> Left:
    """Processes in the instance's cgroups, these cgroups, mounts and loop devices of the data directory."""
    instance = (data_dir / "instance").read_text().strip()
    mark = f"lambent-{instance}"
    processes = set()
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and mark in (entry / "cgroup").read_text():
                processes.add(int(entry.name))
        except OSError:
            continue  # ended meanwhile
    mountinfo = Path("/proc/self/mountinfo").read_text().splitlines()
    groups = set()
    for line in mountinfo:
        if " - cgroup" in line:
            for root, directories, _ in os.walk(line.split()[4]):
                groups |= {f"{root}/{name}" for name in directories if name == mark}
    mounts = {
        line.split()[4] for line in mountinfo if str(data_dir) in line and line.split()[4] != str(data_dir.parent)
    }
    loops = set()
    for backing in Path("/sys/block").glob("loop*/loop/backing_file"):
        try:
            if backing.read_text().startswith(str(data_dir)):
                loops.add(backing.parts[3])
        except OSError:
            continue
    return Left(frozenset(processes), frozenset(groups), frozenset(mounts), frozenset(loops))


def children(pid: int) -> list[int]:
    """Direct children of a process."""
    return [
        int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()
    ]


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@contextmanager
def place() -> Iterator[Path]:
    """A directory that every user may pass."""
    made = Path(tempfile.mkdtemp(prefix="lambent-server-"))
    made.chmod(0o755)
    try:
        yield made
    finally:
        shutil.rmtree(made)


class Clients:
    """The public clients of one server; close them before it is asked what it left."""

    def __init__(self, server: RunningServer, **options: Any) -> None:
        self.server = server
        self.lambda_ = client("lambda", server.url, **options)
        self.logs = client("logs", server.url, **options)

    def __enter__(self) -> Clients:
        return self

    def __exit__(self, *_: object) -> None:
        self.lambda_.close()
        self.logs.close()

    def invoke(self, name: str, payload: Any = None, **options: Any) -> tuple[dict[str, Any], Any]:
        answer = self.lambda_.invoke(FunctionName=name, Payload=json.dumps(payload).encode(), **options)
        body = answer["Payload"].read()
        return answer, json.loads(body) if body else None

    def tail(self, name: str, payload: Any = None) -> tuple[str, Any]:
        answer, body = self.invoke(name, payload, LogType="Tail")
        return base64.b64decode(answer["LogResult"]).decode(), body

    def event(self, name: str, payload: Any = None) -> str:
        """Accepted for asynchronous invocation; answers the request id."""
        answer = self.lambda_.invoke(FunctionName=name, InvocationType="Event", Payload=json.dumps(payload).encode())
        assert answer["StatusCode"] == 202
        return str(answer["ResponseMetadata"]["RequestId"])

    def log(self, name: str) -> list[str]:
        lines: list[str] = []
        token: dict[str, str] = {}
        while True:
            try:
                page = self.logs.filter_log_events(logGroupName=f"/aws/lambda/{name}", **token)
            except self.logs.exceptions.ResourceNotFoundException:
                return []
            lines += [event["message"] for event in page["events"]]
            if "nextToken" not in page:
                return lines
            token = {"nextToken": page["nextToken"]}

    def usage(self) -> dict[str, dict[str, Any]]:
        """This month's ledger, by function."""
        with urllib.request.urlopen(f"{self.server.url}/_lambent/usage", timeout=10) as answer:
            return {row["function"]: row for row in json.load(answer)["functions"]}


def reports(lines: list[str]) -> list[tuple[str, int]]:
    """(request id, billed milliseconds) of each REPORT line."""
    found = [re.match(r"REPORT RequestId: (\S+)\t.*?Billed Duration: (\d+) ms", line) for line in lines]
    return [(one[1], int(one[2])) for one in found if one is not None]


def queued(data_dir: Path) -> list[dict[str, Any]]:
    """What stands in the queue's file."""
    connection = sqlite3.connect(f"file:{data_dir / 'queue.db'}?mode=ro", uri=True)
    try:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute("SELECT * FROM events")]
    finally:
        connection.close()
