"""`lambent deploy`."""

from __future__ import annotations

import base64
import hashlib
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .failures import Failed
from .output import print_json, say, size, working
from .remote import client, find, remote

if TYPE_CHECKING:
    from lambent.client import Client

    from .package import Package

DEFAULT_ROLE = "arn:aws:iam::000000000000:role/lambda"
SETTLED_LIMIT_S = 120.0
POLL_S = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
"""Waits between two looks at a function's state; the last one repeats."""


@click.command()
@click.argument("source", metavar="DIR|ZIP|FILE", type=click.Path(exists=True, path_type=Path))
@click.option("--name", help="Name of the function (default: the directory's or file's).")
@click.option(
    "--runtime",
    help="Runtime identifier, such as python3.13 (default: guessed).",
    shell_complete=lambda ctx, param, incomplete: _creatable(incomplete),
)
@click.option("--handler", help="Handler, such as app.handler (default: guessed).")
@click.option("--memory", "memory_mb", type=click.IntRange(128, 10_240), metavar="MB", help="Memory, 128 to 10240 MB.")
@click.option("--timeout", "timeout_s", type=click.IntRange(1, 900), metavar="S", help="Time-out, 1 to 900 seconds.")
@click.option("--env", "pairs", multiple=True, metavar="KEY=VALUE", help="An environment variable; may be repeated.")
@click.option("--role", metavar="ARN", help=f"Execution role (default for a new function: {DEFAULT_ROLE}).")
@remote
def command(
    source: Path,
    name: str | None,
    runtime: str | None,
    handler: str | None,
    memory_mb: int | None,
    timeout_s: int | None,
    pairs: tuple[str, ...],
    role: str | None,
    endpoint: str | None,
    region: str | None,
    as_json: bool,
) -> None:
    """Create a function from a directory, a zip or one source file, or update it.

    What is not said is guessed from the files for a new function, and stays as it is for an existing one; guesses are
    printed. --env replaces all variables.
    """
    from .guess import environment, function_name
    from .package import read

    name = name or function_name(source)
    wanted: dict[str, Any] = {
        "Runtime": runtime,
        "Handler": handler,
        "MemorySize": memory_mb,
        "Timeout": timeout_s,
        "Role": role,
        "Environment": {"Variables": environment(pairs)} if pairs else None,
    }
    wanted = {member: value for member, value in wanted.items() if value is not None}
    with working(f"Packing {source}"):
        package = read(source)
    if package.made_executable:
        say("bootstrap is not executable; it is made so in the zip.")
    with client(endpoint, region) as server:
        existing = find(server, name)
        if existing is None:
            function, done = create(server, name, package, wanted), "created"
        else:
            function, changed = update(server, existing, package, wanted)
            done = "updated" if changed else "unchanged"
    if as_json:
        print_json(function)
        return
    click.echo(
        f"{name} is {done}: {function['Runtime']}, {function['Handler']}, {function['MemorySize']} MB, "
        f"{function['Timeout']} s, {size(function['CodeSize'])}."
    )
    if done == "created":
        say(f"Run it: lambent invoke {name} --payload '{{}}'")


def _creatable(incomplete: str) -> list[str]:
    """Shell completion of the runtimes that a function may be created with today."""
    from datetime import date

    from lambent.runtimes.catalogue import IDENTIFIERS, State

    today = date.today()
    names = [name for name, identifier in IDENTIFIERS.items() if identifier.state(today) is not State.BLOCKED]
    return [name for name in names if name.startswith(incomplete)]


def create(server: Client, name: str, package: Package, wanted: dict[str, Any]) -> dict[str, Any]:
    """Create the function and wait until it can run; what was guessed is said."""
    from .guess import guess

    guessed = guess(package, runtime=wanted.get("Runtime"), handler=wanted.get("Handler"))
    said = [
        f"{member.lower()} {value}"
        for member, value in (("Runtime", guessed.runtime), ("Handler", guessed.handler))
        if member not in wanted
    ]
    if said:
        say(f"Guessed {' and '.join(said)}.")
    document = {
        "FunctionName": name,
        "Role": DEFAULT_ROLE,
        "Runtime": guessed.runtime,
        "Handler": guessed.handler,
        **wanted,
        "Code": {"ZipFile": base64.b64encode(package.zip).decode()},
    }
    return _sent(server, "POST", "/2015-03-31/functions", document, name)


def update(
    server: Client, existing: dict[str, Any], package: Package, wanted: dict[str, Any]
) -> tuple[dict[str, Any], bool]:
    """Send only what differs, code before configuration; answers the configuration and whether anything was sent."""
    from lambent.client import function_path

    name = existing["FunctionName"]
    function, changed = existing, False
    digest = base64.b64encode(hashlib.sha256(package.zip).digest()).decode()
    if digest != existing["CodeSha256"]:
        document: dict[str, Any] = {"ZipFile": base64.b64encode(package.zip).decode()}
        function = _sent(server, "PUT", function_path(name, "code"), document, name)
        changed = True
    differing = {member: value for member, value in wanted.items() if existing.get(member) != value}
    if differing:
        function = _sent(server, "PUT", function_path(name, "configuration"), differing, name)
        changed = True
    return function, changed


def _sent(server: Client, method: str, path: str, document: dict[str, Any], name: str) -> dict[str, Any]:
    """One change, with progress while it is sent, and the function once the change has settled."""
    with working(f"Sending {name}") as words:
        total = 0

        def progress(sent: int) -> None:
            nonlocal total
            total = max(total, sent)
            words(f"Sending {name}, {size(total)}")

        function: dict[str, Any] = server.call(method, path, document, progress=progress)
        words(f"Preparing {name}")
        return settled(server, name, function)


def settled(server: Client, name: str, function: dict[str, Any]) -> dict[str, Any]:
    """Wait until the function is Active and its last update has ended. Raises Failed with the server's reason."""
    from lambent.client import function_path

    deadline = time.monotonic() + SETTLED_LIMIT_S
    looks = 0
    while function.get("State") == "Pending" or function.get("LastUpdateStatus") == "InProgress":
        if time.monotonic() > deadline:
            raise Failed(f"{name} is still not ready after {SETTLED_LIMIT_S:.0f} s: {function.get('StateReason', '')}")
        time.sleep(POLL_S[min(looks, len(POLL_S) - 1)])
        looks += 1
        function = server.call("GET", function_path(name, "configuration"))
    for status, reason in (("State", "StateReason"), ("LastUpdateStatus", "LastUpdateStatusReason")):
        if function.get(status) == "Failed":
            raise Failed(f"{name} could not be prepared: {function.get(reason, 'no reason was given')}")
    return function
