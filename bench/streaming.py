"""Response streaming: how fast a function's bytes come through, and what many slow streams cost everybody else.

The whole path each time: InvokeWithResponseStream in, the function in a full sandbox, each chunk an event with both of its
checksums. The reference of the first two is the same interpreter, outside of any sandbox, that writes the same chunks
into the very connection that is read: what two processes and a loopback can do. Processor time is that of the server with
its sandboxes, runtimes among them; the reader's own is not in it, though it runs on the same cores.
"""

from __future__ import annotations

import json
import os
import selectors
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

from .clients import Target, latency
from .harness import Comparison, Measurement, compare, cpu_us
from .product import ECHO_PYTHON, Lambent, lambent

LARGE_BYTES, LARGE_TIMES = 65_536, 3_200
SMALL_BYTES, SMALL_TIMES = 1_024, 100_000
SLOW_STREAMS = int(os.environ.get("BENCH_SLOW_STREAMS", "500"))
"""How many are open at once; each has an environment of its own."""
SECONDS = 3.0

PYTHON = """
def handler(event, context):
    chunk = b"x" * event["chunk"]
    for _ in range(event["times"]):
        yield chunk
"""
PYTHON_ASYNC = "async " + PYTHON.strip()
NODE = """
exports.handler = awslambda.streamifyResponse(async (event, stream) => {
  const chunk = Buffer.alloc(event.chunk, 'x');
  for (let n = 0; n < event.times; n += 1) {
    if (!stream.write(chunk)) await new Promise((resolve) => stream.once('drain', resolve));
  }
  stream.end();
});
"""
CUSTOM = """#!/usr/bin/python3
import json, os, socket
host, port = os.environ["AWS_LAMBDA_RUNTIME_API"].split(":")
API = b"/2018-06-01/runtime/invocation/"
while True:
    sock = socket.create_connection((host, int(port)))
    sock.sendall(b"GET " + API + b"next HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n")
    data = b""
    while b"\\r\\n\\r\\n" not in data:
        data += sock.recv(65536)
    head, _, body = data.partition(b"\\r\\n\\r\\n")
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\\r\\n")[1:])
    while len(body) < int(fields[b"content-length"]):
        body += sock.recv(65536)
    event, request_id = json.loads(body), fields[b"lambda-runtime-aws-request-id"]
    sock.sendall(b"POST " + API + request_id + b"/response HTTP/1.1\\r\\nHost: a\\r\\nTransfer-Encoding: chunked\\r\\n"
                 b"Lambda-Runtime-Function-Response-Mode: streaming\\r\\n\\r\\n")
    chunk = b"%x\\r\\n" % event["chunk"] + b"x" * event["chunk"] + b"\\r\\n"
    for _ in range(event["times"]):
        sock.sendall(chunk)
    sock.sendall(b"0\\r\\n\\r\\n")
    sock.recv(65536)
    sock.close()
"""
SLOW = """
import time

def handler(event, context):
    until = time.time() + event["s"]
    while time.time() < until:
        yield b"x" * 200
        time.sleep(1)
"""
WRITER = """
import os, socket, sys
size, times = int(sys.argv[1]), int(sys.argv[2])
sock = socket.socket(fileno=int(sys.argv[3]))
chunk = b"x" * size
for _ in range(times):
    sock.sendall(chunk)
"""


def stream_target(server: Lambent, name: str, **event: object) -> Target:
    """Where a function's response is asked for as a stream."""
    path = f"/2021-11-15/functions/{name}/response-streaming-invocations"
    return replace(server.target(name), path=path, body=json.dumps(event).encode())


def read_to_the_end(connection: socket.socket, buffer: bytearray) -> tuple[int, bytes]:
    """Bytes until the last chunk of an answer, and its last ones."""
    total, tail = 0, b""
    view = memoryview(buffer)
    while not tail.endswith(b"0\r\n\r\n"):
        size = connection.recv_into(view)
        if not size:
            raise ConnectionError("the server closed the connection within a stream")
        total += size
        tail = (tail + bytes(view[max(0, size - 300) : size]))[-300:]
    return total, tail


def stream_arm(server: Lambent, name: str, size: int, times: int) -> Callable[[], Measurement]:
    target = stream_target(server, name, chunk=size, times=times)
    buffer = bytearray(1 << 20)

    def take() -> Measurement:
        with socket.create_connection((target.host, target.port)) as connection:
            before, begin = cpu_us(server.pids), time.perf_counter()
            connection.sendall(target.request())
            total, tail = read_to_the_end(connection, buffer)
            wall_s = time.perf_counter() - begin
            spent_us = cpu_us(server.pids) - before
        if total < size * times or b"InvokeComplete" not in tail or b"ErrorCode" in tail:
            raise AssertionError(f"{total} bytes, ending in {tail!r}")
        return rates(size, times, wall_s, spent_us)

    return take


def rates(size: int, times: int, wall_s: float, spent_us: float) -> Measurement:
    return Measurement(
        {
            "mb_per_s": size * times / wall_s / 1e6,
            "chunks_per_s": times / wall_s,
            "wall_ms": wall_s * 1_000,
            "cpu_ms": spent_us / 1_000,
            "cpu_us_per_chunk": spent_us / times,
        }
    )


def loopback_arm(size: int, times: int) -> Callable[[], Measurement]:
    """A bare interpreter writes the same chunks straight into the connection."""
    buffer = memoryview(bytearray(1 << 20))

    def take() -> Measurement:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            ours = socket.create_connection(listener.getsockname())
            theirs, _ = listener.accept()
            with ours, theirs:
                command = [sys.executable, "-c", WRITER, str(size), str(times), str(theirs.fileno())]
                before = os.times()
                process = subprocess.Popen(command, pass_fds=[theirs.fileno()])
                theirs.close()
                total, begin = ours.recv_into(buffer), time.perf_counter()
                while total < size * times:
                    total += ours.recv_into(buffer)
                wall_s = time.perf_counter() - begin
                process.wait()
        after = os.times()
        spent_s = after.children_user + after.children_system - before.children_user - before.children_system
        return rates(size, times, wall_s, spent_s * 1e6)

    return take


@contextmanager
def slow_streams(server: Lambent, name: str, count: int) -> Iterator[None]:
    """So many streams open, each with a chunk a second, read as they come."""
    target = stream_target(server, name, s=3_600)
    selector = selectors.DefaultSelector()
    is_over = threading.Event()
    connections = []
    begun: set[int] = set()
    buffer = bytearray(65_536)

    def read() -> None:
        while not is_over.is_set():
            for key, _ in selector.select(0.2):
                if key.fileobj.recv_into(buffer):  # type: ignore[union-attr]
                    begun.add(key.fd)
                else:
                    selector.unregister(key.fileobj)

    reader = threading.Thread(target=read)
    try:
        reader.start()
        for number in range(count):
            connection = socket.create_connection((target.host, target.port))
            connections.append(connection)
            connection.sendall(target.request())
            selector.register(connection, selectors.EVENT_READ)
            if number % 10 == 9:
                wait_until(lambda wanted=number - 5: len(begun) >= wanted)  # a burst of cold starts is another question
        wait_until(lambda: len(begun) == count)
        yield
        if len(selector.get_map()) != count:
            raise AssertionError("a stream ended before its time")
    finally:
        is_over.set()
        reader.join()
        for connection in connections:
            connection.close()


def wait_until(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + 120
    while not is_so():
        if time.monotonic() > end:
            raise AssertionError("not all slow streams have begun in 120 s")
        time.sleep(0.005)


def warm_arm(target: Target, pids: tuple[int, ...]) -> Callable[[], Measurement]:
    def take() -> Measurement:
        before = cpu_us(pids)
        found = latency(target, seconds=SECONDS)
        spent_us = cpu_us(pids) - before
        return Measurement({"p50_us": found.p50_us, "p99_us": found.p99_us, "cpu_us": spent_us / found.count})

    return take


def run(rounds: int) -> list[Comparison]:
    """Throughput in chunks of 64 KB and of 1 KB, then warm latency beside many slow streams."""
    with ExitStack() as stack:
        server = stack.enter_context(lambent())
        arms: dict[str, str] = {}
        for arm, files, options in (
            ("python, generator", {"app.py": PYTHON}, {}),
            ("python, async generator", {"app.py": PYTHON_ASYNC}, {}),
            ("node", {"app.js": NODE}, {"runtime": "nodejs20.x"}),
            ("custom runtime over HTTP", {"bootstrap": CUSTOM}, {"runtime": "provided.al2023"}),
        ):
            name = f"stream-{len(arms)}"
            try:
                server.deploy(name, files, **options)  # type: ignore[arg-type]
                stream_arm(server, name, 1_000, 10)()  # its cold start
            except Exception as error:
                print(f"{arm}: not measured, {error}")
                continue
            arms[arm] = name
        comparisons = [
            compare(
                f"streams of {size // 1_024} KB chunks",
                f"{times:,} chunks of {size:,} bytes, one stream",
                {
                    "loopback": loopback_arm(size, times),
                    **{arm: stream_arm(server, name, size, times) for arm, name in arms.items()},
                },
                reference="loopback",
                rounds=rounds,
            )
            for size, times in ((LARGE_BYTES, LARGE_TIMES), (SMALL_BYTES, SMALL_TIMES))
        ]
    with ExitStack() as stack:
        alone = stack.enter_context(lambent())
        beside = stack.enter_context(lambent(environment={"LAMBENT_LIMITS_ENVIRONMENTS_MAX": "20000"}))
        targets = []
        for server in (alone, beside):
            echo = server.deploy("echo", {"app.py": ECHO_PYTHON})
            latency(echo, seconds=0.3, warm_up=50)
            targets.append(echo)
        beside.deploy("slow", {"app.py": SLOW}, MemorySize=128, Timeout=900)
        stack.enter_context(slow_streams(beside, "slow", SLOW_STREAMS))
        comparisons.append(
            compare(
                "slow streams",
                f"warm latency, one client, beside {SLOW_STREAMS} streams with a chunk a second each",
                {
                    "no streams": warm_arm(targets[0], alone.pids),
                    f"{SLOW_STREAMS} streams": warm_arm(targets[1], beside.pids),
                },
                reference="no streams",
                rounds=rounds,
            )
        )
    return comparisons
