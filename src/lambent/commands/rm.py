"""`lambent rm`."""

from __future__ import annotations

import click

from .output import print_json, say, working
from .remote import client, name_argument, remote


@click.command()
@name_argument(many=True)
@remote
def command(names: tuple[str, ...], endpoint: str | None, region: str | None, as_json: bool) -> None:
    """Delete functions with all their versions. Their logs and their usage stay."""
    from lambent.client import function_path

    with client(endpoint, region) as server:
        for name in names:
            with working(f"Deleting {name}"):
                server.call("DELETE", function_path(name))
            if not as_json:
                say(f"{name} is deleted.")
    if as_json:
        print_json({"deleted": list(names)})
