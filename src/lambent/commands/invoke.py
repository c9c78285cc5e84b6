"""`lambent invoke`."""

from __future__ import annotations

import base64
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .failures import FAILED, Failed
from .output import is_terminal, say, working
from .remote import client, name_argument, remote

if TYPE_CHECKING:
    from lambent.client import ApiError, Client

_REPORT = re.compile(
    r"^REPORT RequestId: (?P<request_id>\S+)\tDuration: (?P<duration>[\d.]+) ms\tBilled Duration: (?P<billed>\d+) ms\t"
    r"Memory Size: (?P<memory>\d+) MB\tMax Memory Used: (?P<used>\d+) MB\t(?:Init Duration: (?P<init>[\d.]+) ms\t)?",
    re.MULTILINE,
)


def payload_of(text: str) -> bytes:
    """The payload meant: `-` is standard input, `@FILE` a file, anything else the text itself."""
    if text == "-":
        return sys.stdin.buffer.read()
    if text.startswith("@"):
        try:
            return Path(text[1:]).read_bytes()
        except OSError as error:
            raise Failed(f"The payload {text[1:]} cannot be read: {error.strerror}.") from None
    return text.encode()


def summary(log: str) -> str:
    """One line from the REPORT line of a log tail: cold or warm, durations, memory."""
    match = _REPORT.search(log)
    if match is None:
        return ""
    start = f"cold start (init {match['init']} ms)" if match["init"] else "warm start"
    return (
        f"{start} · {match['duration']} ms · billed {match['billed']} ms · "
        f"{match['used']} of {match['memory']} MB · {match['request_id']}"
    )


@click.command()
@name_argument()
@click.option("--payload", default="{}", metavar="JSON|@FILE|-", help="The event; - reads it from standard input.")
@click.option("--async", "event", is_flag=True, help="Queue the event and return at once.")
@click.option("--tail", is_flag=True, help="Print the end of the log too.")
@click.option("--qualifier", metavar="VERSION|ALIAS", help="Version or alias to run.")
@remote
def command(
    name: str,
    payload: str,
    event: bool,
    tail: bool,
    qualifier: str | None,
    endpoint: str | None,
    region: str | None,
    as_json: bool,
) -> int:
    """Run a function: its answer on standard output, how it went on the error stream.

    The status is 1 when the function itself failed; the end of its log is printed then. With --json the whole result
    is one document.
    """
    from lambent.client import ApiError

    sent = payload_of(payload)
    with client(endpoint, region) as server, working(f"Running {name}"):
        try:
            reply = server.invoke(name, sent, event=event, qualifier=qualifier)
        except ApiError as error:
            raise _refused(error, server, name, qualifier) from None
    log = base64.b64decode(reply.headers.get("x-amz-log-result", "")).decode("utf-8", "replace")
    failure = reply.headers.get("x-amz-function-error")
    request_id = reply.headers.get("x-amzn-requestid", "")
    if as_json:
        _print_document(reply.status, request_id, failure, reply.headers.get("x-amz-executed-version"), log, reply.body)
    elif event:
        say(f"accepted · {request_id}")
    else:
        _print_answer(reply.body)
        if tail or failure:
            say(log.rstrip("\n").replace("\r", "\n"), dim=True)
        if failure:
            say(f"{name} failed ({failure}).", fg="red")
        say(summary(log) or request_id, dim=True)
    return FAILED if failure else 0


def _refused(error: ApiError, server: Client, name: str, qualifier: str | None) -> Exception:
    """The refusal as it is, but for a function that could not be prepared: that one says why, and what to do."""
    if error.code != "ResourceConflictException":
        return error
    from lambent.client import function_path

    query = {} if qualifier is None else {"Qualifier": qualifier}
    shown = server.call("GET", function_path(name, "configuration"), query=query)
    reason = shown.get("StateReason") if shown.get("State") == "Failed" else None
    return Failed(f"{name} could not be prepared: {reason}") if reason else error


def _print_answer(body: bytes) -> None:
    """The answer, byte for byte in a pipe; on a terminal JSON is indented and the line ended."""
    if is_terminal():
        import json

        try:
            text = json.dumps(json.loads(body), indent=2, ensure_ascii=False)
        except ValueError:
            text = body.decode("utf-8", "replace")
        click.echo(text)
        return
    sys.stdout.buffer.write(body)
    sys.stdout.buffer.flush()


def _print_document(
    status: int, request_id: str, failure: str | None, version: str | None, log: str, body: bytes
) -> None:
    import json

    try:
        answer = json.loads(body) if body else None
    except ValueError:
        answer = body.decode("utf-8", "replace")
    document = {
        "StatusCode": status,
        "RequestId": request_id,
        "FunctionError": failure,
        "ExecutedVersion": version,
        "LogResult": log or None,
        "Payload": answer,
    }
    click.echo(json.dumps({key: value for key, value in document.items() if value is not None or key == "Payload"}))
