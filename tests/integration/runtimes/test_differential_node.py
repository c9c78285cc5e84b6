"""Our Node.js client against the published ones: 3.x up to Node.js 22, 4.x from 24 on, as on the service."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from clientrun import Event, Reply, Run, document, run, why_missing
from nodesubjects import APP, CLASSIC, EVENTS, FAILING_STREAMS, JSON_LOGS, LIFE, STREAMS

from lambent.runtimes.service import Runtimes

pytestmark = pytest.mark.timeout(900)  # on a fresh machine the first test waits for all additions

VERSIONS = ("18", "20", "22", "24", "26")
CLASSIC_VERSIONS = ("18", "20", "22")

DIFFERENCES = {
    "init errors from 24 on": "Node's own print of the error on standard error is left out: the log has the error already",
    "rejections and exceptions from 24 on": (
        "posted, and exit status 128 or 129, as before 24; the published client leaves the caller with an exit status"
    ),
    "promise never settles from 24 on": "Runtime.NodeJsExit is posted; the published client only ends with status 13",
    "a source that fails within a pipeline": (
        "posted behind what was sent; the published client loses what was sent, and ends with an unhandled rejection"
    ),
    "streaming of something else": "before 24 the published client trips over a name of its own; ours says what is wrong",
}
"""On purpose; each has a test of its own below. Everything else is the same."""

STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
CLIENT_FILE = re.compile(r"[^\s\"'(]*/(?:aws-lambda-ric|bootstraps)/[^\s\"'):]*")
FRAME = re.compile(r',?"    at [^"]*"|(?:\\n|\r)    at [^"\\\r]*')
LOG_LINE = re.compile(r"TIME\t|\{")


def normal(text: str, task: Path) -> str:
    """Without times, and without the stack frames that are not the function's own."""
    text = STAMP.sub("TIME", text)
    text = FRAME.sub(lambda frame: frame[0] if str(task) in frame[0] and "require" not in frame[0] else "", text)
    return CLIENT_FILE.sub("CLIENT", text)


def lines(log: list[str], task: Path) -> list[str]:
    return [
        line
        for line in (normal(line, task) for line in log)
        # The published 3.x announces itself where the service's copy does not.
        if not line.startswith("TIME\tundefined\tINFO\tExecuting '") and "Executing 'index" not in line
    ]


def told(reply: Reply, task: Path) -> tuple[str, str, str, list[str]]:
    label = reply.label if reply.kind == "response" else ""
    return reply.kind, label, normal(reply.body.decode("latin-1"), task), lines(reply.log, task)


def end(result: Run, task: Path) -> list[object]:
    error = result.init_error and (result.init_error[0], normal(result.init_error[1].decode(), task))
    spoken = [line for line in lines(result.init_log, task) if LOG_LINE.match(line)]
    return [error, result.status, spoken, *(told(reply, task) for reply in result.replies)]


def both(
    machine: Runtimes,
    version: str,
    files: dict[str, str],
    handler: str,
    events: list[Event],
    task: Path,
    environment: dict[str, str] | None = None,
    **facts: str,
) -> tuple[Run, Run]:
    for path, text in files.items():
        (task / path).parent.mkdir(parents=True, exist_ok=True)
        (task / path).write_text(text)
    runs = []
    for client in ("lambent", "official"):
        runtime = machine.find(f"nodejs{version}.x", machine.architecture, client)
        if runtime is None:
            pytest.skip(why_missing(machine, f"nodejs{version}.x", client))
        runs.append(run(machine, runtime, task, handler, events, environment, **facts))
    return runs[0], runs[1]


def show(differing: dict[str, tuple[object, object]]) -> None:
    for name, (mine, other) in differing.items():
        print(f"\n{name}\n  ours   {mine}\n  theirs {other}")


@pytest.mark.parametrize("version", VERSIONS)
def test_every_event_gets_the_same_answer_and_log(machine: Runtimes, version: str, tmp_path: Path) -> None:
    ours, theirs = both(machine, version, {"index.js": APP}, "index.handler", list(EVENTS.values()), tmp_path)
    assert len(ours.replies) == len(theirs.replies) == len(EVENTS), (ours.replies[-1:], theirs.replies[-1:])
    differing = {
        name: (told(mine, tmp_path), told(other, tmp_path))
        for name, mine, other in zip(EVENTS, ours.replies, theirs.replies, strict=True)
        if told(mine, tmp_path) != told(other, tmp_path)
    }
    show(differing)
    assert not differing


@pytest.mark.parametrize("version", VERSIONS)
def test_every_start_and_end_goes_the_same_way(machine: Runtimes, version: str, tmp_path: Path) -> None:
    differing = {}
    for number, (name, (files, handler)) in enumerate(LIFE.items()):
        if name in DIFFERENCES and version in CLASSIC_VERSIONS:
            continue
        task = tmp_path / str(number)
        task.mkdir()
        ours, theirs = both(machine, version, files, handler, [Event(b"{}")], task)
        if end(ours, task) != end(theirs, task):
            differing[name] = (end(ours, task), end(theirs, task))
    show(differing)
    assert not differing


@pytest.mark.parametrize("version", CLASSIC_VERSIONS)
def test_every_way_to_end_an_invocation_works_as_before_24(machine: Runtimes, version: str, tmp_path: Path) -> None:
    differing = {}
    files = {"index.js": "".join(f"exports.h{n} = {text};\n" for n, text in enumerate(CLASSIC.values()))}
    for number, name in enumerate(CLASSIC):
        ours, theirs = both(machine, version, files, f"index.h{number}", [Event(b"{}")], tmp_path)
        if end(ours, tmp_path) != end(theirs, tmp_path):
            differing[name] = (end(ours, tmp_path), end(theirs, tmp_path))
    show(differing)
    assert not differing


@pytest.mark.parametrize("version", VERSIONS)
def test_streams_carry_the_same_bytes(machine: Runtimes, version: str, tmp_path: Path) -> None:
    differing = {}
    files = {"index.js": "".join(f"exports.h{n} = {text};\n" for n, text in enumerate(STREAMS.values()))}
    for number, name in enumerate(STREAMS):
        ours, theirs = both(machine, version, files, f"index.h{number}", [Event(b"{}")], tmp_path)
        mine, other = ours.replies[0], theirs.replies[0]
        if (mine.kind, mine.label, mine.body) != (other.kind, other.label, other.body):
            differing[name] = (told(mine, tmp_path), told(other, tmp_path))
    show(differing)
    assert not differing


@pytest.mark.parametrize("version", VERSIONS)
def test_streams_that_fail_end_in_the_same_way(machine: Runtimes, version: str, tmp_path: Path) -> None:
    """What went out before, the error, the log, and that the next event is asked for."""
    differing = {}
    files = {"index.js": "".join(f"exports.h{n} = {text};\n" for n, text in enumerate(FAILING_STREAMS.values()))}
    for number, name in enumerate(FAILING_STREAMS):
        ours, theirs = both(machine, version, files, f"index.h{number}", [Event(b"{}")], tmp_path)
        mine, other = ours.replies[0], theirs.replies[0]
        *answer, log = told(other, tmp_path)
        # The published client, not ours, now and then writes the same error twice.
        theirs_once = (sent(other), (*answer, list(dict.fromkeys(log))))
        if (sent(mine), told(mine, tmp_path)) != theirs_once:
            differing[name] = ((sent(mine), told(mine, tmp_path)), theirs_once)
    show(differing)
    assert not differing


@pytest.mark.parametrize("version", VERSIONS)
def test_a_source_that_fails_within_a_pipeline_is_an_error(machine: Runtimes, version: str, tmp_path: Path) -> None:
    source = "Readable.from((function* () { yield 'begun'; throw new Error('source'); })())"
    text = (
        "awslambda.streamifyResponse(async (event, stream) => { const { Readable } = require('node:stream');"
        f" await require('node:stream/promises').pipeline({source}, stream); }})"
    )
    reply = ours_alone(machine, version, text, tmp_path).replies[0]
    assert (reply.kind, sent(reply)) == ("error", b"begun")
    assert document(reply.body)["errorMessage"] == "source"


def sent(reply: Reply) -> bytes:
    """What was streamed before an error; a stream that carried nothing is none."""
    return reply.streamed[1] if reply.streamed is not None else b""


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("level", ["INFO", "FATAL"])
def test_json_logs_have_the_same_members(machine: Runtimes, version: str, level: str, tmp_path: Path) -> None:
    events = [EVENTS[name] for name in JSON_LOGS]
    ours, theirs = both(
        machine, version, {"index.js": APP}, "index.handler", events, tmp_path, log_format="JSON", log_level=level
    )
    differing = {
        name: (told(mine, tmp_path), told(other, tmp_path))
        for name, mine, other in zip(JSON_LOGS, ours.replies, theirs.replies, strict=True)
        if told(mine, tmp_path) != told(other, tmp_path)
    }
    show(differing)
    assert not differing


def ours_alone(machine: Runtimes, version: str, text: str, task: Path, event: Event | None = None) -> Run:
    runtime = machine.find(f"nodejs{version}.x", machine.architecture)
    if runtime is None:
        pytest.skip(why_missing(machine, f"nodejs{version}.x", "lambent"))
    (task / "index.js").write_text(f"exports.handler = {text};\n")
    return run(machine, runtime, task, "index.handler", [event or Event(b"{}")])


@pytest.mark.parametrize(
    ("name", "status", "kind"),
    [
        ("rejection that nobody handles", 128, "Runtime.UnhandledPromiseRejection"),
        ("exception that nobody catches", 129, "Error"),
        ("promise never settles", 13, "Runtime.NodeJsExit"),
    ],
)
def test_what_ends_the_process_is_posted_from_24_on(
    machine: Runtimes, name: str, status: int, kind: str, tmp_path: Path
) -> None:
    result = ours_alone(machine, "24", CLASSIC[name], tmp_path)
    assert result.replies[0].kind == "error"
    assert document(result.replies[0].body)["errorType"] == kind
    assert result.status == status


@pytest.mark.parametrize("version", CLASSIC_VERSIONS)
def test_only_response_streaming_is_accepted(machine: Runtimes, version: str, tmp_path: Path) -> None:
    files, _ = LIFE["streaming of something else"]
    result = ours_alone(machine, version, "0; " + files["index.js"], tmp_path)
    assert result.init_error is not None
    assert result.init_error[0] == "Runtime.MalformedStreamingHandler"


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("async (e, stream) => { stream.write('x'); }", "Response stream is not finished."),
        ("(e, stream) => { stream.write('x'); }", "Streaming does not support non-async handlers."),
        ("async (e, stream) => { stream.write('x'); throw new Error('midway'); }", "midway"),
        (
            "async (e, stream) => { stream.write('x'); stream.setContentType('a/b'); }",
            "Cannot set content-type, too late.",
        ),
    ],
)
def test_a_stream_that_fails_is_an_error(
    machine: Runtimes, version: str, text: str, message: str, tmp_path: Path
) -> None:
    reply = ours_alone(machine, version, f"awslambda.streamifyResponse({text})", tmp_path).replies[0]
    assert reply.kind == "error"
    assert document(reply.body)["errorMessage"] == message


@pytest.mark.parametrize("version", VERSIONS)
def test_large_events_and_results_pass(machine: Runtimes, version: str, tmp_path: Path) -> None:
    event = Event(b'"' + b"x" * 6_000_000 + b'"')
    reply = ours_alone(machine, version, "async (event) => event", tmp_path, event).replies[0]
    assert (reply.kind, reply.body) == ("response", event.body)
