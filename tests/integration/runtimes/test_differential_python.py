"""Our Python client against the published one: the same functions, the same events, the same answers and log lines."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from clientrun import Event, Reply, Run, document, run, why_missing
from pythonsubjects import APP, EVENTS, JSON_LOGS, LIFE

from lambent.runtimes.service import Runtimes

pytestmark = pytest.mark.timeout(900)  # on a fresh machine the first test waits for all additions

VERSIONS = ("3.8", "3.9", "3.10", "3.11", "3.12", "3.13", "3.14")

DIFFERENCES = {
    "a_generator": "what is yielded is streamed, which the service has for other languages; test_streams_python.py",
    "categories of the runtime's own errors": "sent as Runtime.MarshalError and so on; the client has them in the document alone",
    "a package brings a json module": "the service starts its client from a directory of its own, python -m does not",
    "event without quotes": "the parser's own words; the door refuses events that are no JSON before they come here",
    "event nested too deeply": "the parser's own words again",
    "not finite numbers in an event": "read as numbers, as the service does; the client's parser got stricter later",
    "half of a surrogate pair in a result": "MarshalError instead of the end of the process; only from 3.12 on",
}
"""On purpose; each has a test of its own below. Everything else is the same."""

OLD_CLIENT = "3.8"
"""The published client stopped there at 2.2.1: no tenants, no trace fields, a warning before each error, no hooks, and
`log_level` where it is `level` now. Ours is the same for all versions, so on 3.8 only answers are compared."""
NEWER_THAN_OLD_CLIENT = {"context_fields", "context_repr", "tenant", "client context: trace fields"}
W3C_SINCE = (3, 10)
"""The client for 3.9 (4.0.4) does not know trace fields yet."""

QUIET = {"PYTHONWARNINGS": "ignore"}
"""A coroutine nobody awaited is complained of after the answer, too late to be compared."""

STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?Z")
CLIENT = re.compile(
    r'File \\?"[^"]*(?:awslambdaric/bootstrap|_lambent_runtime/loop)\.py\\?", line \d+, in \w+(?:\\n|\r)[ \xa0]*[^\\\r]*'
)
"""The one frame of the client itself that is left in a stack when the handler could not even be called."""


def normal(text: str) -> str:
    return CLIENT.sub("CLIENT", STAMP.sub("TIME", text))


def told(reply: Reply, *, log: bool = True) -> tuple[str, str, bytes, list[str]]:
    """What a caller and a reader of the log would see, without times."""
    lines = [normal(line) for line in reply.log] if log else []
    # The published client leaves the type in the document, from where the platform reads it.
    label = reply.label if reply.kind == "response" else ""
    # Bodies may be any bytes; latin-1 takes them all and gives them back.
    return reply.kind, label, normal(reply.body.decode("latin-1")).encode("latin-1"), lines


def end(run: Run, *, log: bool = True) -> list[object]:
    """How one life went. A traceback that Python itself prints names the client's files, so it is not compared."""
    replies: list[object] = [told(reply, log=log and reply.kind != "exit") for reply in run.replies]
    return [run.init_error, run.status, [normal(line) for line in run.init_log] if log else [], *replies]


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
    name = f"python{version}"
    for path, text in files.items():
        (task / path).parent.mkdir(parents=True, exist_ok=True)
        (task / path).write_text(text)
    runs = []
    for client in ("lambent", "official"):
        runtime = machine.find(name, machine.architecture, client)
        if runtime is None:
            pytest.skip(why_missing(machine, name, client))
        runs.append(run(machine, runtime, task, handler, events, environment, **facts))
    return runs[0], runs[1]


def show(differing: dict[str, tuple[object, object]]) -> None:
    for name, (mine, other) in differing.items():
        print(f"\n{name}\n  ours   {mine}\n  theirs {other}")


def expected_differences(version: str) -> set[str]:
    skipped = set(DIFFERENCES)
    if version == OLD_CLIENT:
        skipped |= NEWER_THAN_OLD_CLIENT
    if tuple(map(int, version.split("."))) < W3C_SINCE:
        skipped.add("client context: trace fields")
    return skipped


@pytest.mark.parametrize("version", VERSIONS)
def test_every_event_gets_the_same_answer_and_log(machine: Runtimes, version: str, tmp_path: Path) -> None:
    ours, theirs = both(machine, version, {"app.py": APP}, "app.handler", list(EVENTS.values()), tmp_path)
    assert len(ours.replies) == len(theirs.replies) == len(EVENTS)
    log = version != OLD_CLIENT
    differing = {
        name: (told(mine, log=log), told(other, log=log))
        for name, mine, other in zip(EVENTS, ours.replies, theirs.replies, strict=True)
        if name not in expected_differences(version) and told(mine, log=log) != told(other, log=log)
    }
    show(differing)
    assert not differing
    assert ours.status == theirs.status == 3


@pytest.mark.parametrize("version", VERSIONS)
def test_every_start_and_end_goes_the_same_way(machine: Runtimes, version: str, tmp_path: Path) -> None:
    differing = {}
    for name, (files, handler) in LIFE.items():
        if name in DIFFERENCES:
            continue
        task = tmp_path / name.replace(" ", "-")
        task.mkdir()
        ours, theirs = both(machine, version, files, handler, [Event(b"{}")], task, QUIET)
        log = version != OLD_CLIENT
        if end(ours, log=log) != end(theirs, log=log):
            differing[name] = (end(ours, log=log), end(theirs, log=log))
    show(differing)
    assert not differing


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("level", ["INFO", "DEBUG", "FATAL"])
def test_json_logs_have_the_same_members(machine: Runtimes, version: str, level: str, tmp_path: Path) -> None:
    if version == OLD_CLIENT:
        pytest.skip("the published client for 3.8 writes JSON logs in an older form")
    events = [EVENTS[name] for name in JSON_LOGS]
    ours, theirs = both(
        machine, version, {"app.py": APP}, "app.handler", events, tmp_path, log_format="JSON", log_level=level
    )
    differing = {
        name: (told(mine), told(other))
        for name, mine, other in zip(JSON_LOGS, ours.replies, theirs.replies, strict=True)
        if told(mine) != told(other)
    }
    show(differing)
    assert not differing


@pytest.mark.parametrize("version", VERSIONS)
def test_a_level_without_json_is_honoured(machine: Runtimes, version: str, tmp_path: Path) -> None:
    environment = {"AWS_LAMBDA_LOG_LEVEL": "DEBUG"}
    ours, theirs = both(machine, version, {"app.py": APP}, "app.handler", [EVENTS["logs"]], tmp_path, environment)
    assert told(ours.replies[0]) == told(theirs.replies[0])
    assert any("[DEBUG]" in line for line in ours.replies[0].log)


def ours_alone(machine: Runtimes, version: str, files: dict[str, str], handler: str, event: Event, task: Path) -> Reply:
    runtime = machine.find(f"python{version}", machine.architecture)
    if runtime is None:
        pytest.skip(why_missing(machine, f"python{version}", "lambent"))
    for path, text in files.items():
        (task / path).write_text(text)
    return run(machine, runtime, task, handler, [event]).replies[0]


@pytest.mark.parametrize("version", VERSIONS)
def test_differences_are_what_the_table_says(machine: Runtimes, version: str, tmp_path: Path) -> None:
    files, handler = LIFE["a package brings a json module"]
    assert ours_alone(machine, version, files, handler, Event(b"{}"), tmp_path).body == b'"[1]"'

    echo = {"app.py": "def handler(event, context): return event\n"}
    numbers = b"[NaN, Infinity, -Infinity]"
    assert ours_alone(machine, version, echo, "app.handler", Event(numbers), tmp_path).body == numbers

    broken = ours_alone(machine, version, echo, "app.handler", Event(b"{case: 1}"), tmp_path)
    assert document(broken.body)["errorType"] == "Runtime.UnmarshalError"
    assert document(broken.body)["errorMessage"].startswith("Unable to unmarshal input: ")

    deep = ours_alone(machine, version, echo, "app.handler", Event(b"[" * 100_000 + b"]" * 100_000), tmp_path)
    number = tuple(map(int, version.split(".")))
    too_deep = "maximum recursion depth exceeded" if number < (3, 14) else "Stack overflow (used "
    assert document(deep.body)["errorMessage"].startswith(f"Unable to unmarshal input: {too_deep}")

    half = ours_alone(machine, version, echo, "app.handler", Event(b'"\\ud800"'), tmp_path)
    if number >= (3, 12):
        assert document(half.body)["errorType"] == "Runtime.MarshalError"
    else:
        assert half.body == b'"\\ud800"'


@pytest.mark.parametrize("version", VERSIONS)
def test_large_events_and_results_pass(machine: Runtimes, version: str, tmp_path: Path) -> None:
    echo = {"app.py": "def handler(event, context): return event\n"}
    event = Event(b'"' + b"x" * 6_000_000 + b'"')
    reply = ours_alone(machine, version, echo, "app.handler", event, tmp_path)
    assert (reply.kind, reply.body) == ("response", event.body)
