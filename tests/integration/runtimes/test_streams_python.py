"""Generators as handlers, in our Python client: what the service's has no counterpart for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from clientrun import Event, Reply, document, run, why_missing

from lambent.runtimes.service import Runtimes

pytestmark = pytest.mark.timeout(900)  # on a fresh machine the first test waits for all additions

VERSIONS = ("3.8", "3.11", "3.13")
PRELUDE_TYPE = "application/vnd.awslambda.http-integration-response"
PLAIN_TYPE = "application/octet-stream"

APP = '''
import asyncio
import sys

class Custom(Exception):
    pass

def plain(event, context):
    yield "text "
    yield b"bytes "
    yield bytearray(b"array ")
    yield memoryview(b"view ")
    yield {"a": [1, None]}
    yield 5
    yield ""

def empty(event, context):
    return
    yield

def returns(event, context):
    yield "a"
    return "ignored"

def metadata(event, context):
    yield {"statusCode": 201, "headers": {"Content-Type": "text/html"}, "cookies": ["a=b"]}
    yield "<p>"

def metadata_alone(event, context):
    yield {"statusCode": 204}

def metadata_at_once(event, context):
    yield {"statusCode": 200}
    yield b""
    print("sent")
    yield "x"

def no_metadata(event, context):
    yield {"statusCode": 200, "body": "a"}

def metadata_too_late(event, context):
    yield "x"
    yield {"statusCode": 200}

def fails_first(event, context):
    raise Custom("at once")
    yield

def fails_after_metadata(event, context):
    yield {"statusCode": 200}
    raise Custom("before the body")

def fails_midway(event, context):
    print("so far so good")
    yield "begun"
    raise Custom("midway")

def unwritable(event, context):
    try:
        yield "begun"
        yield object()
    finally:
        print("closed")

def exits(event, context):
    yield "begun"
    sys.exit(3)

def other_iterators(event, context):
    return iter([1])

def sizes(event, context):
    for size in event["sizes"]:
        yield bytes([65 + size % 26]) * size

def printing(event, context):
    print("before", end="")
    yield "x"
    print(" and after", end="")

async def coroutine(event, context):
    return 1

async def gen(event, context):
    for text in event["texts"]:
        await asyncio.sleep(0)
        yield text

async def gen_metadata(event, context):
    yield {"statusCode": 201}
    yield "x"

async def gen_fails_first(event, context):
    raise Custom("at once")
    yield

async def gen_fails_midway(event, context):
    try:
        yield "begun"
        raise Custom("midway")
    finally:
        await asyncio.sleep(0)
        print("closed")

async def gen_sizes(event, context):
    for size in event["sizes"]:
        yield bytes([65 + size % 26]) * size

loops = []

async def same_loop(event, context):
    loops.append(asyncio.get_running_loop())
    yield str(all(loop is loops[0] for loop in loops))

ticks = 0

async def others_run(event, context):
    """A task goes on while a large chunk waits for its reader."""
    async def tick():
        global ticks
        while True:
            ticks += 1
            await asyncio.sleep(0.001)
    task = asyncio.ensure_future(tick())
    await asyncio.sleep(0)
    yield b"x" * 30_000_000
    task.cancel()
    print("ticks", ticks > 1)
'''


def replies(machine: Runtimes, version: str, handler: str, task: Path, *events: Any) -> list[Reply]:
    runtime = machine.find(f"python{version}", machine.architecture)
    if runtime is None:
        pytest.skip(why_missing(machine, f"python{version}", "lambent"))
    (task / "app.py").write_text(APP)
    given = [Event(json.dumps(event).encode()) for event in events or ({},)]
    return run(machine, runtime, task, f"app.{handler}", given).replies


def one(machine: Runtimes, version: str, handler: str, task: Path, event: Any = None) -> Reply:
    return replies(machine, version, handler, task, event or {})[0]


@pytest.mark.parametrize("version", VERSIONS)
def test_what_is_yielded_goes_out_as_it_is(machine: Runtimes, version: str, tmp_path: Path) -> None:
    for handler, expected in {
        "plain": (PLAIN_TYPE, b'text bytes array view {"a": [1, null]}5'),
        "empty": (PLAIN_TYPE, b""),
        "returns": (PLAIN_TYPE, b"a"),
        "metadata": (
            PRELUDE_TYPE,
            b'{"statusCode": 201, "headers": {"Content-Type": "text/html"}, "cookies": ["a=b"]}' + bytes(8) + b"<p>",
        ),
        "metadata_alone": (PRELUDE_TYPE, b'{"statusCode": 204}' + bytes(8)),
        "metadata_at_once": (PRELUDE_TYPE, b'{"statusCode": 200}' + bytes(8) + b"x"),
        "no_metadata": (PLAIN_TYPE, b'{"statusCode": 200, "body": "a"}'),
        "metadata_too_late": (PLAIN_TYPE, b'x{"statusCode": 200}'),
        "gen_metadata": (PRELUDE_TYPE, b'{"statusCode": 201}' + bytes(8) + b"x"),
    }.items():
        reply = one(machine, version, handler, tmp_path)
        assert (reply.kind, reply.label, reply.body) == ("response", *expected), handler


@pytest.mark.parametrize("version", VERSIONS)
def test_one_invocation_after_another(machine: Runtimes, version: str, tmp_path: Path) -> None:
    found = replies(machine, version, "gen", tmp_path, *({"texts": ["a", str(n)]} for n in range(3)))
    assert [(reply.kind, reply.body) for reply in found] == [("response", b"a%d" % n) for n in range(3)]
    assert [reply.body for reply in replies(machine, version, "same_loop", tmp_path, {}, {})] == [b"True", b"True"]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("handler", "message", "streamed"),
    [
        ("fails_first", "at once", None),
        ("fails_after_metadata", "before the body", None),
        ("fails_midway", "midway", (PLAIN_TYPE, b"begun")),
        ("gen_fails_first", "at once", None),
        ("gen_fails_midway", "midway", (PLAIN_TYPE, b"begun")),
    ],
)
def test_what_fails(machine: Runtimes, version: str, handler: str, message: str, streamed: Any, tmp_path: Path) -> None:
    first, second = replies(machine, version, handler, tmp_path, {}, {})
    for reply in (first, second):
        assert reply.kind == "error"
        assert reply.streamed == streamed
        told = document(reply.body)
        assert (told["errorType"], told["errorMessage"]) == ("Custom", message)
        (frame,) = told["stackTrace"]
        assert f"in {handler}\n" in frame
        assert any(line.startswith(f"[ERROR] Custom: {message}\r") for line in reply.log)


@pytest.mark.parametrize("version", VERSIONS)
def test_what_has_no_form(machine: Runtimes, version: str, tmp_path: Path) -> None:
    reply = one(machine, version, "unwritable", tmp_path)
    assert (reply.kind, reply.streamed) == ("error", (PLAIN_TYPE, b"begun"))
    told = document(reply.body)
    assert told["errorType"] == "Runtime.MarshalError"
    assert told["errorMessage"].startswith("Unable to marshal response: Object of type object is not JSON serializable")
    assert "closed" in reply.log
    for handler in ("other_iterators", "coroutine"):
        reply = one(machine, version, handler, tmp_path)
        assert reply.kind == "error"
        assert document(reply.body)["errorType"] == "Runtime.MarshalError"
        assert reply.streamed is None


@pytest.mark.parametrize("version", VERSIONS)
def test_a_process_that_ends_midway(machine: Runtimes, version: str, tmp_path: Path) -> None:
    assert one(machine, version, "exits", tmp_path).kind == "exit"


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("handler", ["sizes", "gen_sizes"])
def test_chunks_of_every_size_arrive_whole(machine: Runtimes, version: str, handler: str, tmp_path: Path) -> None:
    sizes = [1, 4_095, 4_096, 4_097, 65_535, 65_536, 65_537, 0, 1_000_000, 20_000_000, 3]
    reply = one(machine, version, handler, tmp_path, {"sizes": sizes})
    assert reply.kind == "response"
    assert reply.body == b"".join(bytes([65 + size % 26]) * size for size in sizes)


@pytest.mark.parametrize("version", VERSIONS)
def test_what_is_printed_is_there_before_the_end(machine: Runtimes, version: str, tmp_path: Path) -> None:
    assert one(machine, version, "printing", tmp_path).log == ["before and after"]


@pytest.mark.parametrize("version", VERSIONS)
def test_other_tasks_run_while_a_chunk_waits(machine: Runtimes, version: str, tmp_path: Path) -> None:
    reply = one(machine, version, "others_run", tmp_path)
    assert len(reply.body) == 30_000_000
    assert reply.log == ["ticks True"]
