"""Lambent as an arm: started by `lambent up` in the best tier that the machine gives, the whole path, nothing left out."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .clients import AUTHORIZATION, Target, sign

ROOT = Path(__file__).resolve().parent.parent
ECHO_PYTHON = "def handler(event, context):\n    return event\n"


@dataclass(slots=True)
class Lambent:
    """A running server."""

    host: str
    port: int
    pid: int
    tier: str
    listening_ms: float
    data_dir: Path
    keys: tuple[str, str] | None = None
    """Access key and secret, where the server verifies signatures."""

    @property
    def pids(self) -> tuple[int, ...]:
        """The server; spawner, inits and runtimes are its descendants."""
        return (self.pid,)

    def tree(self) -> list[int]:
        """The server and all its descendants, now."""
        parents = {}
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                with contextlib.suppress(OSError):
                    parents[int(entry)] = int(Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()[1])
        found = [self.pid]
        for pid in found:
            found += [child for child, parent in parents.items() if parent == pid]
        return found

    def sandboxes(self) -> int:
        """How many sandboxes stand, blank ones included: the directories of one of its control groups' hierarchies, else
        the children of its spawner."""
        mark = f"lambent-{(self.data_dir / 'instance').read_text().strip()}"
        for line in Path("/proc/self/mountinfo").read_text().splitlines():
            if " - cgroup" in line:
                group = Path(line.split()[4], mark)
                if group.is_dir():
                    return sum(entry.name.startswith("s-") for entry in group.iterdir())
        return len(self.tree()) - 2

    def charged_to(self) -> Path:
        """Where the kernel says what it charges all sandboxes with, ready ones included. Raises RuntimeError
        where it does not count."""
        mark = f"lambent-{(self.data_dir / 'instance').read_text().strip()}"
        for line in Path("/proc/self/mountinfo").read_text().splitlines():
            if " - cgroup" in line:
                for root, directories, _ in os.walk(line.split()[4]):
                    for name in ("memory.usage_in_bytes", "memory.current"):
                        if mark in directories and Path(root, mark, name).exists():
                            return Path(root, mark, name)
        raise RuntimeError("no control group counts the memory of this server's sandboxes")

    def attempts(self) -> int:
        """Attempts in the ledger, of all functions."""
        with urllib.request.urlopen(f"http://{self.host}:{self.port}/_lambent/usage", timeout=30) as answer:
            return sum(row["attempts"] for row in json.load(answer)["functions"])

    def call(self, method: str, path: str, body: dict[str, object] | None = None) -> dict[str, object]:
        """One control-plane call; raises RuntimeError with the answer's text when it is refused."""
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(f"http://{self.host}:{self.port}{path}", data, method=method)
        headers = {"Authorization": AUTHORIZATION, "X-Amz-Date": "20260101T000000Z"}
        if self.keys is not None:
            headers = sign(method, self.host, self.port, path, data or b"", self.keys)
        for name, value in headers.items():
            request.add_header(name, value)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.loads(answer.read() or b"{}")
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"{method} {path}: {error.code} {error.read().decode()}") from None

    def deploy(
        self, name: str, files: Mapping[str, str | bytes], *, runtime: str = "python3.11", **options: object
    ) -> Target:
        """Create a function and wait until it is active; answers where to invoke it."""
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as zipped:
            for file, content in files.items():
                info = zipfile.ZipInfo(file, (2026, 1, 1, 0, 0, 0))
                info.external_attr = 0o755 << 16
                zipped.writestr(info, content)
        body: dict[str, object] = {
            "FunctionName": name,
            "Runtime": runtime,
            "Handler": "app.handler",
            "Role": "arn:aws:iam::000000000000:role/bench",
            "Code": {"ZipFile": base64.b64encode(archive.getvalue()).decode()},
            "Timeout": 60,
            "MemorySize": 1_769,
            **options,
        }
        self.call("POST", "/2015-03-31/functions", body)
        for _ in range(500):
            state = self.call("GET", f"/2015-03-31/functions/{name}/configuration")["State"]
            if state == "Active":
                return self.target(name)
            if state == "Failed":
                raise RuntimeError(f"{name} is in state Failed")
            time.sleep(0.01)
        raise RuntimeError(f"{name} did not become active")

    def target(self, name: str) -> Target:
        """Where a function is invoked."""
        return Target(self.host, self.port, f"/2015-03-31/functions/{name}/invocations")


def variables(more: dict[str, str] | None = None) -> dict[str, str]:
    """The environment of a server under measurement: nothing of the shell's settings. Compiled modules are kept, as they are
    where the package was installed; a shell that forbids it would have each start compile all of them."""
    unwanted = ("AWS_", "LAMBENT_", "PYTHONDONTWRITEBYTECODE")
    env = {k: v for k, v in os.environ.items() if not k.startswith(unwanted)}
    return env | {"PYTHONPATH": str(ROOT / "src"), "LAMBENT_LIMITS_ACCOUNT_CONCURRENCY": "100000", **(more or {})}


@contextmanager
def lambent(
    *arguments: str,
    environment: dict[str, str] | None = None,
    runtimes: tuple[str, ...] = (),
    is_settled: bool = False,
) -> Iterator[Lambent]:
    """Run a server with a fresh data directory for the length of the block; `runtimes` are added to it first.

    is_settled: the data directory has seen a start before, so that the machine's interpreters are known.
    Concurrency is raised, so that the account's published request rate (10 × concurrency a second) does not decide.
    """
    base = Path(tempfile.mkdtemp(prefix="lambent-bench-"))
    env = variables(environment)
    for runtime in runtimes:
        command = [sys.executable, "-m", "lambent", "runtimes", "add", runtime]
        subprocess.run(command, env=env | {"LAMBENT_DATA_DIR": str(base / "data")}, check=True, capture_output=True)
    try:
        if is_settled:
            with started(base, arguments, env):
                pass
        with started(base, arguments, env) as server:
            yield server
    finally:
        shutil.rmtree(base, ignore_errors=True)


@contextmanager
def started(base: Path, arguments: tuple[str, ...], env: dict[str, str]) -> Iterator[Lambent]:
    """A server on the data directory below `base`, new or old, for the length of the block."""
    ready, log = base / "ready.json", base / "server.log"
    ready.unlink(missing_ok=True)
    begin = time.perf_counter()
    command = [sys.executable, "-m", "lambent", "up", "--port", "0", "--data-dir", str(base / "data")]
    command += ["--ready-file", str(ready), *arguments]
    with log.open("wb") as out:
        process = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    try:
        while not (ready.exists() and ready.stat().st_size):
            if process.poll() is not None:
                raise RuntimeError(f"lambent ended with {process.returncode}: {log.read_text()}")
            if time.perf_counter() - begin > 60:
                raise RuntimeError(f"lambent was not ready in 60 s: {log.read_text()}")
            time.sleep(0.001)
        listening_ms = (time.perf_counter() - begin) * 1_000
        facts = json.loads(ready.read_text())
        host, port = facts["endpoint"].removeprefix("http://").rsplit(":", 1)
        yield Lambent(host, int(port), process.pid, facts["tier"], listening_ms, base / "data")
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(30)
        process.kill()
        process.wait()
