"""The demo itself: a server, real functions in several runtimes, ordinary boto3. Run it as `scripts/demo`.

Every line shown is measured or answered in this run. A step that does not do what it says ends the demo with status 1;
whatever happens, the server is stopped, its processes are gone and its data directory is removed.
"""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples"
ROLE = "arn:aws:iam::000000000000:role/demo"
READY_LIMIT_S = 30.0
STOP_LIMIT_S = 20.0
INSTALL_LIMIT_S = 240.0
LOG_LINES = 40
WARM_CALLS = 50
PARALLEL = 10
NODE = "nodejs22.x"

COLOUR = sys.stdout.isatty()


class Broken(Exception):
    """A step did not do what the demo says it does."""


def style(text: str, code: str) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if COLOUR else text


def title(text: str) -> None:
    print(f"\n{style(text, '1;36')}", flush=True)


def line(text: str) -> None:
    print(f"  {text}", flush=True)


def quote(text: str) -> None:
    for row in text.replace("\r", "\n").rstrip("\n").split("\n"):
        line(style(f"| {row}", "2"))


def need(holds: bool, sentence: str) -> None:
    if not holds:
        raise Broken(sentence)


class Server:
    """One `lambent up` on a free port with a data directory of its own."""

    def __init__(self, data_dir: Path) -> None:
        self.started = time.perf_counter()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "lambent", "up", "--port", "0", "--data-dir", str(data_dir)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment(),
            text=True,
            # In a group of its own: Ctrl-C reaches the demo, which then stops the server in order.
            process_group=0,
        )
        self.output: list[str] = []
        self.endpoint = ""
        self._ready = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for row in self.process.stdout:
            self.output.append(row)
            found = re.search(r"https?://[\w.:\[\]]+", row)
            if found and not self.endpoint:
                self.endpoint = found[0]
                self.ready_ms = (time.perf_counter() - self.started) * 1_000
            if row.lstrip().startswith("export AWS_ENDPOINT_URL="):  # the banner's last line
                self._ready.set()
        self._ready.set()

    def wait_ready(self) -> None:
        need(self._ready.wait(READY_LIMIT_S) and bool(self.endpoint), f"the server did not start:\n{self.text()}")

    def text(self) -> str:
        return "".join(self.output)

    def descendants(self) -> set[int]:
        """Every process that hangs below the server, from /proc."""
        parents: dict[int, int] = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError, IndexError, ValueError):
                    parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        found: set[int] = {self.process.pid}
        while True:
            more = {pid for pid, parent in parents.items() if parent in found} - found
            if not more:
                return found - {self.process.pid}
            found |= more

    def stop(self) -> tuple[int, set[int]]:
        """Stop in order; the exit status, and which of its processes are still alive (there must be none)."""
        children = self.descendants()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            status = self.process.wait()
        self._reader.join(STOP_LIMIT_S)
        deadline = time.monotonic() + 2
        while (alive := {pid for pid in children if is_alive(pid)}) and time.monotonic() < deadline:
            time.sleep(0.05)
        return status, alive


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (OSError, IndexError):
        return False


@contextlib.contextmanager
def running(data_dir: Path) -> Iterator[Server]:
    """A server for the length of the block; no way out of it leaves one behind."""
    server = Server(data_dir)
    try:
        server.wait_ready()
        yield server
    except BaseException:
        server.stop()
        raise


def environment(**more: str) -> dict[str, str]:
    """The caller's environment without settings and credentials: they must not leak into the demo."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LAMBENT_", "AWS_"))}
    return {**kept, "PYTHONUNBUFFERED": "1", **more}


def lambent(*arguments: str, limit_s: float = 60.0, **more: str) -> str:
    """What a `lambent` command prints on its standard output."""
    done = subprocess.run(
        [sys.executable, "-m", "lambent", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=environment(**more),
        timeout=limit_s,
    )
    need(done.returncode == 0, f"lambent {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


def runtimes(data_dir: Path) -> list[str]:
    """The runtime identifiers that can run here; Node is fetched where the machine has none."""

    def found() -> list[str]:
        document = json.loads(lambent("runtimes", "--json", LAMBENT_DATA_DIR=str(data_dir)))
        return [one["name"] for one in document if one["missing"] is None]

    names = found()
    if any(name.startswith("nodejs") for name in names):
        return names
    title(f"This machine has no Node.js: lambent runtimes add {NODE}")
    try:
        quote(lambent("runtimes", "add", NODE, limit_s=INSTALL_LIMIT_S, LAMBENT_DATA_DIR=str(data_dir)))
    except (Broken, subprocess.TimeoutExpired) as error:
        line(f"that did not work, the demo goes on without Node.js: {error}")
    return found()


def packed(folder: Path) -> bytes:
    """A directory as the bytes of a zip, modes kept."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                archive.write(path, str(path.relative_to(folder)))
    return buffer.getvalue()


class Show:
    """The steps, in order, over one server."""

    def __init__(self, server: Server, available: list[str]) -> None:
        self.server = server
        self.available = available
        self.api = boto3.client(
            "lambda",
            endpoint_url=server.endpoint,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
            config=Config(retries={"max_attempts": 0}, max_pool_connections=PARALLEL, read_timeout=60),
        )
        self.names: list[str] = []

    def run(self) -> None:
        steps: tuple[Callable[[], None], ...] = (
            self.banner,
            self.deploy,
            self.cold_and_warm,
            self.log,
            self.error,
            self.timeout,
            self.parallel,
            self.bill,
        )
        for step in steps:
            step()

    def banner(self) -> None:
        title(f"lambent up: listening after {self.server.ready_ms:.0f} ms, measured from outside")
        quote("\n".join(row for row in self.server.text().splitlines() if row.strip()))

    def deploy(self) -> None:
        title("Functions, created with boto3")
        here = f"python3.{sys.version_info.minor}"
        available = self.available
        python = here if here in available else next((name for name in available if name.startswith("python")), None)
        node = next((name for name in available if name.startswith("nodejs")), None)
        need(python is not None, "no Python runtime was found")
        wanted = [
            ("python-hello", str(python), "app.handler"),
            *([("nodejs-hello", node, "index.handler")] if node else []),
            ("bash-hello", "provided.al2023", "bootstrap"),
        ]
        for name, runtime, handler in wanted:
            self.create(name, runtime, handler, packed(EXAMPLES / name))
        if node is None:
            line("nodejs-hello  left out: there is no Node.js, see above")

    def create(self, name: str, runtime: str, handler: str, code: bytes, **more: Any) -> None:
        started = time.perf_counter()
        self.api.create_function(
            FunctionName=name, Runtime=runtime, Handler=handler, Role=ROLE, Code={"ZipFile": code}, Timeout=10, **more
        )
        self.api.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 0.05})
        took_ms = (time.perf_counter() - started) * 1_000
        line(f"{name:<14}{style(f'{runtime:<17}', '32')}created and active in {took_ms:.0f} ms")
        self.names.append(name)

    def call(self, name: str, event: dict[str, Any], **more: Any) -> tuple[dict[str, Any], Any, float]:
        """One invocation: the SDK's answer, the payload, milliseconds as the client sees them."""
        started = time.perf_counter()
        answer = self.api.invoke(FunctionName=name, Payload=json.dumps(event).encode(), **more)
        payload = answer["Payload"].read()
        return answer, json.loads(payload), (time.perf_counter() - started) * 1_000

    def cold_and_warm(self) -> None:
        title("Cold, then warm (milliseconds from request to answer, through boto3)")
        for name in self.names:
            answer, payload, cold_ms = self.call(name, {"name": "demo"})
            need("FunctionError" not in answer, f"{name} failed: {payload}")
            warm_ms = []
            for index in range(WARM_CALLS):
                answer, again, took_ms = self.call(name, {"name": f"demo {index}"})
                need("FunctionError" not in answer, f"{name} failed: {again}")
                warm_ms.append(took_ms)
            line(
                f"{name:<14}cold {style(f'{cold_ms:7.1f}', '33')}   warm, median of {WARM_CALLS} "
                f"{style(f'{statistics.median(warm_ms):6.2f}', '32')}   {json.dumps(payload, ensure_ascii=False)}"
            )

    def log(self) -> None:
        title("The log comes along (LogType=Tail)")
        answer, _, _ = self.call("python-hello", {"name": "Ada"}, LogType="Tail")
        tail = base64.b64decode(answer["LogResult"]).decode()
        need("Ada calls python-hello" in tail and "REPORT RequestId:" in tail, f"the log tail is not whole: {tail}")
        quote(tail)

    def error(self) -> None:
        title("An error is an answer, with its traceback")
        answer, payload, _ = self.call("python-hello", {"fail": True})
        need(answer.get("FunctionError") == "Unhandled", f"the error was not reported: {payload}")
        need(payload["errorType"] == "ZeroDivisionError", f"another error came: {payload}")
        line(f"{style('FunctionError: Unhandled', '31')}  {payload['errorType']}: {payload['errorMessage']}")
        quote("".join(payload["stackTrace"]))

    def timeout(self) -> None:
        title("A handler that does not end is ended: Timeout=1, it sleeps for 30 s")
        self.api.update_function_configuration(FunctionName="python-hello", Timeout=1)
        self.api.get_waiter("function_updated_v2").wait(FunctionName="python-hello", WaiterConfig={"Delay": 0.05})
        answer, payload, took_ms = self.call("python-hello", {"sleep_s": 30})
        need(answer.get("FunctionError") == "Unhandled" and "Task timed out" in str(payload), f"no time-out: {payload}")
        line(f"after {took_ms:.0f} ms: {payload['errorMessage']}")
        self.api.update_function_configuration(FunctionName="python-hello", Timeout=10)
        self.api.get_waiter("function_updated_v2").wait(FunctionName="python-hello", WaiterConfig={"Delay": 0.05})

    def parallel(self) -> None:
        title(f"{PARALLEL} at once, each sleeps for one second in an execution environment of its own")
        started = time.perf_counter()
        with ThreadPoolExecutor(PARALLEL) as pool:
            answers = list(
                pool.map(lambda index: self.call("python-hello", {"name": f"n{index}", "sleep_s": 1}), range(PARALLEL))
            )
        took_s = time.perf_counter() - started
        need(all("FunctionError" not in answer for answer, _, _ in answers), f"one failed: {answers}")
        greeted = [payload["hello"] for _, payload, _ in answers]
        need(greeted == [f"n{index}" for index in range(PARALLEL)], f"answers went to the wrong caller: {greeted}")
        line(f"all answered, each to its caller, after {style(f'{took_s:.2f} s', '32')}")

    def bill(self) -> None:
        title("The bill: lambent usage")
        quote(lambent("usage", LAMBENT_ENDPOINT=self.server.endpoint))


def main() -> int:
    began = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="lambent-demo-"))
    folder.chmod(0o755)  # a server that root starts becomes another user, who must be able to pass
    failure: str | None = None
    server: Server | None = None
    try:
        available = runtimes(folder / "data")
        with running(folder / "data") as server:
            Show(server, available).run()
            status, alive = server.stop()
            need(status == 0, f"the server ended with status {status}:\n{server.text()}")
            need(not alive, f"processes were left behind: {sorted(alive)}")
    except Broken as error:
        failure = str(error)
    except KeyboardInterrupt:
        failure = "interrupted"
    except Exception as error:  # what boto3 raises is many things; the demo says which and fails
        failure = f"{type(error).__name__}: {error}"
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if failure is None and folder.exists():
        failure = f"{folder} could not be removed"
    if failure is not None:
        print(f"\n{style('The demo failed.', '1;31')} {failure}", flush=True)
        if server is not None:
            print("The server said:")
            quote("\n".join(server.text().splitlines()[-LOG_LINES:]))
        return 1
    title(f"Stopped in order; no process and no file is left. {time.monotonic() - began:.0f} s in all.")
    line("Next: lambent up, then AWS_ENDPOINT_URL=http://127.0.0.1:4566 for any SDK. See docs/guide.md.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
