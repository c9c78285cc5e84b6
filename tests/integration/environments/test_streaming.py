"""Streamed responses of real functions, chunk by chunk: when each byte comes, who waits for whom, and every bad end."""

from __future__ import annotations

import base64
import json
import resource
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest
from botocore.eventstream import EventStreamBuffer
from botocore.exceptions import EventStreamError
from tests.integration.environments.live_node import LIMITS, LiveNode, live_node, seen
from tests.machine import NODE_RUNTIME
from tests.support import function

from lambent.domain.errors import DiskFull
from lambent.domain.limits import STREAM_RESPONSE_BYTES_MAX
from lambent.environments.streams import Bandwidth

pytestmark = pytest.mark.leaves_session_state  # one node for all of them; what it leaves is looked at elsewhere

PYTHON = """
import os, sys, time

def handler(event, context):
    return globals()[event["do"]](event)

def slowly(event):
    yield "first"
    time.sleep(event["s"])
    yield repr(time.time())

def much(event):
    chunk = b"x" * event["chunk"]
    for _ in range(event["times"]):
        yield chunk
    print("wrote all of it")

def endless(event):
    while True:
        yield b"x" * 65536

def dies(event):
    yield b"x" * event["size"]
    os._exit(3)

def late_work(event):
    yield "answer"

def pid(event):
    yield str(os.getpid())

def printing(event):
    for n in range(3):
        print("line", n)
        yield str(n)
"""

NODE = """
const { setTimeout: sleep } = require('node:timers/promises');
const does = {
  async slowly(event, stream) {
    stream.setContentType('text/plain');
    stream.write('first');
    await sleep(event.s * 1000);
    stream.end(String(Date.now() / 1000));
  },
  async much(event, stream) {
    const chunk = Buffer.alloc(event.chunk, 'x');
    for (let n = 0; n < event.times; n += 1) {
      if (!stream.write(chunk)) await new Promise((resolve) => stream.once('drain', resolve));
    }
    stream.end();
    console.log('wrote all of it');
  },
  async late_work(event, stream) {
    stream.end('answer');
    await sleep(300);
    console.log('late work');
  },
  async exits(event, stream) {
    stream.write('begun');
    await sleep(20);
    setImmediate(() => { throw new TypeError('outside'); });
    await sleep(1000);
  },
  async prelude(event, stream) {
    stream = awslambda.HttpResponseStream.from(stream, { statusCode: 201, headers: { a: 'b' } });
    stream.write('body');
    stream.end();
  },
};
exports.handler = awslambda.streamifyResponse((event, stream) => does[event.do](event, stream));
"""


@pytest.fixture(scope="module")
def node() -> Iterator[LiveNode]:
    with live_node(replace(LIMITS, environments_max=8)) as running:
        yield running


@pytest.fixture(scope="module")
def python(node: LiveNode) -> Iterator[str]:
    with function(node.lambda_, PYTHON, Timeout=30) as name:
        yield name


@pytest.fixture(scope="module")
def javascript(node: LiveNode) -> Iterator[str]:
    with function(node.lambda_, {"index.js": NODE}, runtime=NODE_RUNTIME, handler="index.handler", Timeout=30) as name:
        yield name


@pytest.fixture(params=["python", "javascript"])
def either(request: pytest.FixtureRequest) -> str:
    name: str = request.getfixturevalue(request.param)
    return name


def events(node: LiveNode, name: str, **event: Any) -> list[dict[str, Any]]:
    answer = node.lambda_.invoke_with_response_stream(
        FunctionName=name, Payload=json.dumps(event).encode(), LogType="Tail"
    )
    with closing(answer["EventStream"]) as stream:
        return list(stream)


def told(found: list[dict[str, Any]]) -> tuple[bytes, dict[str, Any], str]:
    """All chunks, what the error says (None: there was none), and the log's tail."""
    complete = found[-1]["InvokeComplete"]
    body = b"".join(one["PayloadChunk"]["Payload"] for one in found[:-1])
    details = json.loads(complete["ErrorDetails"]) if "ErrorDetails" in complete else None
    return body, details, base64.b64decode(complete["LogResult"]).decode()


class Raw:
    """A caller that reads when the test wants it to."""

    def __init__(self, node: LiveNode, name: str, receive_bytes: int = 0, **event: Any) -> None:
        host, port = node.node.endpoint.removeprefix("http://").split(":")
        self.sock = socket.socket()
        if receive_bytes:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.sock.settimeout(60)
        self.sock.connect((host, int(port)))
        body = json.dumps(event).encode()
        self.sock.sendall(
            b"POST /2021-11-15/functions/%b/response-streaming-invocations HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%b"
            % (name.encode(), len(body), body)
        )

    def read(self, size: int = 65_536) -> bytes:
        return self.sock.recv(size)

    def read_all(self) -> tuple[int, bytes]:
        """How much payload came, and the last message's payload; nothing is kept but the end."""
        buffer = bytearray()
        while b"\r\n\r\n" not in buffer:
            buffer += self.read()
        assert buffer.startswith(b"HTTP/1.1 200")
        del buffer[: buffer.index(b"\r\n\r\n") + 4]
        messages, total, last = EventStreamBuffer(), 0, b""
        while True:
            while b"\r\n" not in buffer:
                buffer += self.read()
            end = buffer.index(b"\r\n")
            size = int(buffer[:end], 16)
            while len(buffer) < end + 2 + size + 2:
                buffer += self.read()
            if not size:
                return total, last
            messages.add_data(bytes(buffer[end + 2 : end + 2 + size]))
            for message in messages:
                if message.headers[":event-type"] == "PayloadChunk":
                    total += len(message.payload)
                last = message.payload
            del buffer[: end + 2 + size + 2]

    def close(self) -> None:
        self.sock.close()


def test_the_first_byte_comes_before_the_handler_ends(node: LiveNode, either: str) -> None:
    answer = node.lambda_.invoke_with_response_stream(
        FunctionName=either, Payload=json.dumps({"do": "slowly", "s": 1}).encode()
    )
    with closing(answer["EventStream"]) as found:
        stream = iter(found)
        assert next(stream) == {"PayloadChunk": {"Payload": b"first"}}
        first_s = time.time()
        assert first_s < float(next(stream)["PayloadChunk"]["Payload"])
        assert next(stream) == {"InvokeComplete": {}}


def test_a_slow_caller_slows_the_function_down(node: LiveNode, either: str) -> None:
    """What is between them stays small, however much the function has to say; then all of it arrives."""
    times, chunk = 1_600, 65_536
    with closing(Raw(node, either, receive_bytes=65_536, do="much", times=times, chunk=chunk)) as caller:
        before, now = -1, 0
        while now != before or not now:
            time.sleep(0.3)
            before, now = now, node.on_loop(lambda: max((e._stream.size for e in running(node, either)), default=0))
        assert now < 16 * 1_048_576  # the kernel alone keeps four
        total, complete = caller.read_all()
    assert total == times * chunk
    assert json.loads(complete) == {}


def wrote_all(node: LiveNode, name: str) -> int:
    """How often a function has written all it had; the log group comes with the first invocation."""
    groups = node.logs.describe_log_groups(logGroupNamePrefix=f"/aws/lambda/{name}")["logGroups"]
    return sum("wrote all of it" in line for line in node.log(name)) if groups else 0


def running(node: LiveNode, name: str) -> list[Any]:
    """Environments that stream; on the loop."""
    return [e for e in node.node.environments.all() if e.version.ref.name == name and e._stream is not None]


def test_two_hundred_megabytes_need_little_memory(node: LiveNode, either: str) -> None:
    """Server and caller are this process: it grows by buffers, never by the stream."""
    times = STREAM_RESPONSE_BYTES_MAX // 65_536
    with closing(Raw(node, either, do="much", times=16, chunk=65_536)) as caller:
        caller.read_all()
    forget_peak()
    before_kb = resident_kb()
    with closing(Raw(node, either, do="much", times=times, chunk=65_536)) as caller:
        total, complete = caller.read_all()
    assert total == STREAM_RESPONSE_BYTES_MAX
    assert json.loads(complete) == {}
    assert resident_kb() - before_kb < 32_768
    assert peak_kb() - before_kb < 131_072


def resident_kb() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() // 1_024


def forget_peak() -> None:
    """The process's peak is its resident memory from here on; what other tests needed before doesn't count."""
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")


def peak_kb() -> int:
    with open("/proc/self/status") as file:
        return int(next(line.split()[1] for line in file if line.startswith("VmHWM:")))


def test_more_than_two_hundred_megabytes_are_cut_and_said(node: LiveNode, python: str) -> None:
    times = STREAM_RESPONSE_BYTES_MAX // 1_048_576
    with closing(Raw(node, python, do="much", times=times + 3, chunk=1_048_576)) as caller:
        total, complete = caller.read_all()
    assert total == STREAM_RESPONSE_BYTES_MAX
    document = json.loads(complete)
    assert document["ErrorCode"] == "Unhandled"
    assert json.loads(document["ErrorDetails"]) == {
        "errorMessage": "Response payload size exceeded maximum allowed payload size (209715200 bytes).",
        "errorType": "Function.ResponseSizeTooLarge",
    }
    assert told(events(node, python, do="pid"))[0].isdigit()


def test_a_caller_who_goes_does_not_stop_the_function(node: LiveNode, either: str) -> None:
    told(events(node, either, do="pid"))  # its log is there from the first invocation on
    before = wrote_all(node, either)
    caller = Raw(node, either, do="much", times=400, chunk=65_536)
    caller.read(100)
    caller.close()
    seen(lambda: wrote_all(node, either) > before)
    seen(lambda: not node.on_loop(lambda: running(node, either)))


def test_a_runtime_that_dies_midway_is_heard_to_its_last_word(node: LiveNode, python: str) -> None:
    """Also when its caller was slow, and what it said lay unread."""
    for size in (5, 3_000_000):
        body, error, tail = told(events(node, python, do="dies", size=size))
        assert len(body) == size
        assert error is not None
        assert error["errorType"] == "Runtime.ExitError"
        assert error["errorMessage"].endswith("Error: Runtime exited with error: exit status 3")
        assert "Error Type: Runtime.ExitError" in tail
    with closing(Raw(node, python, receive_bytes=4_096, do="dies", size=500_000)) as caller:
        time.sleep(0.5)
        total, complete = caller.read_all()
    assert total == 500_000
    assert "Runtime.ExitError" in json.loads(complete)["ErrorDetails"]


def test_a_time_out_midway(node: LiveNode) -> None:
    """Blocked by its caller or busy by itself: it is the function's time."""
    with function(node.lambda_, PYTHON, Timeout=2, MemorySize=1_769) as name:
        body, error, tail = told(events(node, name, do="slowly", s=30))
        assert body == b"first"
        assert error is not None
        assert error["errorType"] == "Sandbox.Timedout"
        assert error["errorMessage"].endswith("Error: Task timed out after 2.00 seconds")
        assert "Status: timeout" in tail
        with closing(Raw(node, name, receive_bytes=4_096, do="endless")) as caller:
            seen(lambda: sum("Status: timeout" in line for line in node.log(name)) == 2)
            total, complete = caller.read_all()
        assert total > 0
        assert "Sandbox.Timedout" in json.loads(complete)["ErrorDetails"]
        assert told(events(node, name, do="pid"))[1] is None


def test_a_platform_that_fails_midway_says_so(node: LiveNode, python: str) -> None:
    """Not the function's error: clients raise it."""
    answer = node.lambda_.invoke_with_response_stream(
        FunctionName=python, Payload=json.dumps({"do": "slowly", "s": 20}).encode()
    )
    with closing(answer["EventStream"]) as found:
        stream = iter(found)
        assert next(stream) == {"PayloadChunk": {"Payload": b"first"}}
        node.on_loop(lambda: [node.node.environments.retire(e, "test") for e in running(node, python)])
        with pytest.raises(EventStreamError) as raised:
            next(stream)
    assert raised.value.response["Error"] == {"Code": "ServiceException", "Message": "the environment was stopped"}


def test_a_disk_that_is_full_midway(node: LiveNode, python: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What could not be written down did not end well, however much of it has left."""

    def full(_attempt: Any) -> None:
        raise DiskFull("The disk is full.")

    answer = node.lambda_.invoke_with_response_stream(
        FunctionName=python, Payload=json.dumps({"do": "slowly", "s": 0.5}).encode()
    )
    with closing(answer["EventStream"]) as found:
        stream = iter(found)
        next(stream)
        monkeypatch.setattr(node.node.invocations, "_append", full)
        next(stream)
        with pytest.raises(EventStreamError, match="ServiceException"):
            next(stream)


def test_an_uncaught_exception_midway_is_the_functions_error(node: LiveNode, javascript: str) -> None:
    body, error, _ = told(events(node, javascript, do="exits"))
    assert body == b"begun"
    assert error is not None
    assert (error["errorType"], error["errorMessage"]) == ("TypeError", "outside")


def test_work_behind_the_end_of_the_stream_is_billed(node: LiveNode, javascript: str) -> None:
    """The caller's stream ends with the attempt, and REPORT counts what came behind the last byte."""
    body, error, tail = told(events(node, javascript, do="late_work"))
    assert (body, error) == (b"answer", None)
    assert "late work" in tail
    duration_ms = float(tail.split("\tDuration: ")[1].split(" ms")[0])
    assert duration_ms >= 299


def test_a_prelude_is_part_of_a_direct_answer(node: LiveNode, javascript: str) -> None:
    assert (
        told(events(node, javascript, do="prelude"))[0]
        == b'{"statusCode":201,"headers":{"a":"b"}}' + bytes(8) + b"body"
    )


def test_what_is_printed_is_in_the_tail(node: LiveNode, python: str) -> None:
    body, _, tail = told(events(node, python, do="printing"))
    assert body == b"012"
    assert [line for line in tail.splitlines() if line.startswith("line")] == ["line 0", "line 1", "line 2"]


def test_one_environment_serves_one_stream_after_another(node: LiveNode, python: str) -> None:
    pids = {told(events(node, python, do="pid"))[0] for _ in range(5)}
    assert len(pids) == 1


def test_an_event_for_a_streaming_function_is_collected(node: LiveNode, python: str) -> None:
    before = wrote_all(node, python)
    node.lambda_.invoke(
        FunctionName=python,
        InvocationType="Event",
        Payload=json.dumps({"do": "much", "times": 3, "chunk": 10}).encode(),
    )
    seen(lambda: wrote_all(node, python) > before)


def test_a_stream_that_is_collected_has_six_megabytes(node: LiveNode, either: str) -> None:
    answer, body = node.invoke(either, {"do": "much", "times": 97, "chunk": 65_536})
    assert answer["FunctionError"] == "Unhandled"
    assert body == {
        "errorMessage": "Response payload size exceeded maximum allowed payload size (6291556 bytes).",
        "errorType": "Function.ResponseSizeTooLarge",
    }
    assert told(events(node, either, do="much", times=1, chunk=3))[0] == b"xxx"


def test_streamed_bytes_are_metered(node: LiveNode, python: str) -> None:
    with function(node.lambda_, PYTHON, Timeout=30) as name:
        events(node, name, do="much", times=8, chunk=1_048_576)
        node.invoke(name, {"do": "pid"})
        found = usage(node)
        (line,) = (line for line in found["functions"] if line["function"] == name)
        assert line["streamed_bytes"] == 2 * 1_048_576
        assert float(found["total"]["amount"]) > 0.008 * 2 / 1_024


def usage(node: LiveNode) -> Any:
    from urllib.request import Request, urlopen

    authorization = (
        "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/lambda/aws4_request, SignedHeaders=host, Signature=0"
    )
    with urlopen(Request(f"{node.node.endpoint}/_lambent/usage", headers={"Authorization": authorization})) as answer:
        return json.load(answer)


def test_a_bandwidth_slows_down_what_exceeds_the_burst() -> None:
    limits = replace(LIMITS, bandwidth=Bandwidth(1_048_576, 4_194_304))
    with live_node(limits) as node, function(node.lambda_, PYTHON, Timeout=30) as name:
        events(node, name, do="pid")
        began_s = time.monotonic()
        with closing(Raw(node, name, do="much", times=3 * 16, chunk=65_536)) as caller:
            assert caller.read_all()[0] == 3 * 1_048_576
        assert time.monotonic() - began_s >= 0.48  # 2 MB beyond the burst, at 4 MB a second
