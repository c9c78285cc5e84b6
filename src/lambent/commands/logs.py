"""`lambent logs`."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from .failures import Failed
from .output import is_terminal, say
from .remote import client, name_argument, remote

if TYPE_CHECKING:
    from lambent.client import Client

POLL_S = 0.5
PAGES_MAX = 100_000
PLATFORM = re.compile(r"(INIT_START|INIT_REPORT|START|END|REPORT|EXTENSION|TELEMETRY|XRAY|RESTORE_\w+)\b")
ERROR = re.compile(r"\[(ERROR|CRITICAL)\]|\tERROR\t|Task timed out after")
_UNITS_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_AGO = re.compile(r"(\d+)([smhd])")


def ago(ctx: click.Context, param: click.Parameter, value: str) -> int:
    """`90s`, `10m`, `2h`, `1d` as seconds."""
    match = _AGO.fullmatch(value)
    if match is None:
        raise click.BadParameter(f"{value!r} is not a duration such as 90s, 10m, 2h or 1d.", ctx, param)
    return int(match[1]) * _UNITS_S[match[2]]


@click.command()
@name_argument()
@click.option("-f", "--follow", is_flag=True, help="Go on printing as new lines come, until Ctrl-C.")
@click.option("--since", "since_s", callback=ago, default="10m", show_default=True, metavar="10m", help="How far back.")
@click.option("--filter", "pattern", metavar="PATTERN", help="Only events that match a CloudWatch Logs filter pattern.")
@remote
def command(
    name: str,
    follow: bool,
    since_s: int,
    pattern: str | None,
    endpoint: str | None,
    region: str | None,
    as_json: bool,
) -> None:
    """Print a function's log. With --json one event a line."""
    start_ms = time.time_ns() // 1_000_000 - since_s * 1_000
    with client(endpoint, region) as server:
        group = log_group(server, name)
        seen = Seen(start_ms)
        printed = 0
        while True:
            for event in events(server, group, seen.start_ms, pattern):
                if seen.is_new(event):
                    printed += 1
                    show(event, as_json)
            if not follow:
                break
            time.sleep(POLL_S)  # a command waits for a server that has no way to push; nothing else runs here
    if printed == 0:
        say(f"{group} has no matching events since {_clock(start_ms)}.")


class Seen:
    """Which events were printed: asking again from the newest time on must print nothing twice and miss nothing."""

    def __init__(self, start_ms: int) -> None:
        self.start_ms = start_ms
        self._ids: dict[str, int] = {}

    def is_new(self, event: dict[str, Any]) -> bool:
        """Whether this event was not seen before; it is now."""
        identity, at_ms = str(event["eventId"]), int(event["timestamp"])
        if identity in self._ids:
            return False
        self._ids[identity] = at_ms
        if at_ms > self.start_ms:
            # Events of one environment come in order, those of another may be stamped a little earlier and written later.
            self.start_ms = max(self.start_ms, at_ms - int(POLL_S * 4_000))
            self._ids = {one: ms for one, ms in self._ids.items() if ms >= self.start_ms}
        return True


def log_group(server: Client, name: str) -> str:
    """The log group of a function; of a deleted one the group it had by default."""
    from lambent.client import ApiError, function_path

    try:
        function = server.call("GET", function_path(name, "configuration"))
    except ApiError as error:
        if error.status != 404:
            raise
        group = f"/aws/lambda/{name}"
        if not server.logs("DescribeLogGroups", {"logGroupNamePrefix": group}).get("logGroups"):
            raise Failed(f"{error} ({error.code})") from None
        return group
    return str(function.get("LoggingConfig", {}).get("LogGroup") or f"/aws/lambda/{function['FunctionName']}")


def events(server: Client, group: str, start_ms: int, pattern: str | None) -> Iterator[dict[str, Any]]:
    """The events of a group from `start_ms` (epoch) on, in the service's order; none where there is no group yet."""
    from lambent.client import ApiError

    document: dict[str, Any] = {"logGroupName": group, "startTime": start_ms}
    if pattern:
        document["filterPattern"] = pattern
    for _ in range(PAGES_MAX):
        try:
            page = server.logs("FilterLogEvents", document)
        except ApiError as error:
            if error.code == "ResourceNotFoundException":
                return
            raise
        yield from page.get("events", ())
        if not page.get("nextToken"):
            return
        document["nextToken"] = page["nextToken"]
    raise Failed(f"{server.endpoint} answered {PAGES_MAX} pages of {group} without an end.")


def show(event: dict[str, Any], as_json: bool) -> None:
    """One event: its time and its lines; a traceback arrives as one event whose lines end with \\r."""
    if as_json:
        click.echo(json.dumps(event, ensure_ascii=False))
        return
    text = str(event["message"]).rstrip("\r\n").replace("\r\n", "\n").replace("\r", "\n")
    stamp = _clock(int(event["timestamp"]))
    if not is_terminal():
        click.echo(f"{stamp} {text}")
        return
    if PLATFORM.match(text):
        text = click.style(text, dim=True)
    elif ERROR.search(text):
        text = click.style(text, fg="red")
    click.echo(f"{click.style(stamp[11:23], fg='cyan')} {text}")


def _clock(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1_000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
