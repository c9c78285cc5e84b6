"""`lambent ls`."""

from __future__ import annotations

from typing import Any

import click

from .output import print_json, print_table, say, size, working
from .remote import client, find, remote

COLUMNS = ("NAME", "RUNTIME", "HANDLER", "MEMORY", "TIMEOUT", "SIZE", "MODIFIED", "STATE")


def _row(function: dict[str, Any]) -> tuple[str, ...]:
    return (
        function["FunctionName"],
        function.get("Runtime", "image"),
        function.get("Handler", ""),
        f"{function['MemorySize']} MB",
        f"{function['Timeout']} s",
        size(function["CodeSize"]),
        function["LastModified"][:16].replace("T", " "),
        function.get("State", ""),
    )


@click.command()
@remote
def command(endpoint: str | None, region: str | None, as_json: bool) -> None:
    """List the functions of the account and region."""
    with client(endpoint, region) as server, working("Listing"):
        # The service's lists leave states out. One that is gone by now is left out as well.
        asked = (find(server, function["FunctionName"]) for function in list(server.functions()))
        functions = [function for function in asked if function is not None]
    if as_json:
        print_json(functions)
    elif not functions:
        say(f"No functions at {server.endpoint} in {server.region}. Try `lambent deploy DIR`.")
    else:
        print_table(COLUMNS, [_row(function) for function in functions], right=(3, 4, 5))
