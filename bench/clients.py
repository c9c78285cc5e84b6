"""Load generators: a blocking raw socket for latency at one connection, wrk for throughput at many."""

from __future__ import annotations

import datetime
import hashlib
import hmac
import re
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.parse
from dataclasses import dataclass
from pathlib import Path

EVENT = b'{"key1":"value1","key2":"value2","key3":"value3","n":[1,2,3,4,5]}'  # 65 bytes
AUTHORIZATION = (
    "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/lambda/aws4_request, SignedHeaders=host;x-amz-date, "
    "Signature=" + "0" * 64
)
"""Read for account and region, not verified (the default mode); G9 sends real signatures."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where and how to post."""

    host: str
    port: int
    path: str
    is_signed: bool = True
    body: bytes = EVENT
    headers: tuple[tuple[str, str], ...] = ()
    """Instead of the usual signing headers."""

    def signing(self) -> tuple[tuple[str, str], ...]:
        """The headers that sign the request; none for references that know no signatures."""
        if self.headers or not self.is_signed:
            return self.headers
        return (("Authorization", AUTHORIZATION), ("X-Amz-Date", "20260101T000000Z"))

    def request(self) -> bytes:
        signing = "".join(f"{name}: {value}\r\n" for name, value in self.signing())
        return (
            f"POST {self.path} HTTP/1.1\r\nHost: {self.host}:{self.port}\r\n{signing}"
            f"Content-Length: {len(self.body)}\r\n\r\n"
        ).encode() + self.body


def sign(method: str, host: str, port: int, path: str, body: bytes, keys: tuple[str, str]) -> dict[str, str]:
    """The headers that sign a request as SDKs sign it (Signature Version 4), valid for some minutes."""
    now = datetime.datetime.now(datetime.UTC)
    date, stamp = now.strftime("%Y%m%d"), now.strftime("%Y%m%dT%H%M%SZ")
    payload = hashlib.sha256(body).hexdigest()
    encoded = urllib.parse.quote(path, safe="/-_.~")  # the path is encoded once more for this service
    canonical = f"{method}\n{encoded}\n\nhost:{host}:{port}\nx-amz-date:{stamp}\n\nhost;x-amz-date\n{payload}"
    scope = f"{date}/us-east-1/lambda/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = f"AWS4{keys[1]}".encode()
    for part in (date, "us-east-1", "lambda", "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    credential = f"Credential={keys[0]}/{scope}, SignedHeaders=host;x-amz-date, Signature={signature}"
    return {"X-Amz-Date": stamp, "Authorization": f"AWS4-HMAC-SHA256 {credential}"}


@dataclass(frozen=True, slots=True)
class Latency:
    count: int
    p50_us: float
    p90_us: float
    p99_us: float


def latency(target: Target, *, seconds: float, warm_up: int = 200) -> Latency:
    """One connection, one request at a time, for `seconds`; every answer must be a 200.

    The first `warm_up` samples are thrown away.
    """
    samples: list[int] = []
    with socket.create_connection((target.host, target.port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        request = target.request()
        end = time.monotonic() + seconds
        while time.monotonic() < end or len(samples) < warm_up + 10:
            begin = time.perf_counter_ns()
            connection.sendall(request)
            read_answer(connection)
            samples.append(time.perf_counter_ns() - begin)
    kept = sorted(samples[warm_up:])
    pick = lambda q: kept[min(len(kept) - 1, int(len(kept) * q))] / 1_000  # noqa: E731
    return Latency(len(kept), pick(0.5), pick(0.9), pick(0.99))


def read_answer(connection: socket.socket) -> bytes:
    head, body = read_response(connection)
    if not head.startswith(b"HTTP/1.1 200"):
        raise AssertionError(head.split(b"\r\n")[0].decode() + " " + body.decode(errors="replace"))
    return body


def read_response(connection: socket.socket) -> tuple[bytes, bytes]:
    """Head and body of the next response, whatever its status."""
    data = connection.recv(65_536)
    while b"\r\n\r\n" not in data:
        more = connection.recv(65_536)
        if not more:
            raise ConnectionError("the server closed the connection")
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    match = re.search(rb"(?i)content-length:\s*(\d+)", head)
    if match is None:
        if b"chunked" not in head.lower():
            raise AssertionError("answer without a length")
        while not body.endswith(b"0\r\n\r\n"):
            body += connection.recv(65_536)
        return head, body
    while len(body) < int(match.group(1)):
        body += connection.recv(65_536)
    return head, body


def once(target: Target) -> float:
    """One request on a connection of its own, connecting included; milliseconds."""
    begin = time.perf_counter_ns()
    with socket.create_connection((target.host, target.port)) as connection:
        connection.sendall(target.request())
        read_answer(connection)
    return (time.perf_counter_ns() - begin) / 1e6


@dataclass(frozen=True, slots=True)
class Throughput:
    per_s: float
    p50_us: float
    p99_us: float
    requests: int
    errors: int


def throughput(target: Target, *, connections: int, seconds: float) -> Throughput:
    """wrk, one thread, keep-alive. Raises FileNotFoundError where wrk is not installed."""
    wrk = shutil.which("wrk")
    if wrk is None:
        raise FileNotFoundError("wrk is not installed (apt-get install wrk)")
    headers = "".join(f'wrk.headers["{name}"] = "{value}"\n' for name, value in target.signing())
    script = f'wrk.method = "POST"\nwrk.body = [==[{target.body.decode()}]==]\n' + headers
    with tempfile.TemporaryDirectory() as folder:
        lua = Path(folder, "post.lua")
        lua.write_text(script)
        done = subprocess.run(
            [
                wrk,
                "-t1",
                f"-c{connections}",
                f"-d{seconds:.0f}s",
                "--latency",
                "-s",
                str(lua),
                f"http://{target.host}:{target.port}{target.path}",
            ],
            capture_output=True,
            text=True,
            timeout=seconds + 30,
            check=True,
        )
    text = done.stdout
    per_s = float(re.search(r"Requests/sec:\s+([\d.]+)", text).group(1))  # type: ignore[union-attr]
    requests = int(re.search(r"(\d+) requests in", text).group(1))  # type: ignore[union-attr]
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    broken = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    errors = (int(bad.group(1)) if bad else 0) + (sum(map(int, broken.groups())) if broken else 0)
    return Throughput(per_s, _duration_us(text, "50%"), _duration_us(text, "99%"), requests, errors)


def _duration_us(text: str, label: str) -> float:
    match = re.search(rf"{label}\s+([\d.]+)(us|ms|s)", text)
    assert match is not None, text
    return float(match.group(1)) * {"us": 1, "ms": 1_000, "s": 1_000_000}[match.group(2)]
