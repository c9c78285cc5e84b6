"""`lambent runtimes` and `lambent runtimes add`."""

from __future__ import annotations

import os
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .configured import configured, loaded
from .failures import Failed
from .machine import found_runtimes, runtimes_folder
from .output import print_json, print_table, say, working

if TYPE_CHECKING:
    from lambent.settings import Settings


@click.group(invoke_without_command=True)
@click.option("--all", "everything", is_flag=True, help="Retired and announced identifiers too.")
@click.option("--data-dir", metavar="DIR", help="Where the server keeps what was added.")
@configured
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for machines.")
@click.pass_context
def command(
    ctx: click.Context,
    everything: bool,
    data_dir: str | None,
    config: Path | None,
    assignments: tuple[str, ...],
    as_json: bool,
) -> None:
    """Show which runtimes this machine has, which it lacks, and how to get those; or add one."""

    def settings(inner_data_dir: str | None = None) -> Settings:
        return loaded(config, assignments, {"server.data_dir": ("--data-dir", inner_data_dir or data_dir)}).settings

    if ctx.invoked_subcommand is not None:
        ctx.obj = settings
        return
    from lambent.runtimes.catalogue import IDENTIFIERS, State

    with working("Looking at this machine"), found_runtimes(settings()) as found:
        pass  # values only: they can be asked after the block
    today = date.today()
    rows = []
    for name, identifier in IDENTIFIERS.items():
        state = identifier.state(today)
        missing = found.missing(name, found.architecture)
        if everything or missing is None or state is State.SUPPORTED:
            rows.append({"name": name, "missing": missing, "state": state.value})
    if as_json:
        print_json(rows)
        return
    interpreters = {(one.family, one.version): one for one in found.interpreters()}
    table = []
    for row in rows:
        identifier = IDENTIFIERS[str(row["name"])]
        one = interpreters.get((identifier.family, identifier.version))
        here = f"{one.release}, {one.executable}" if one is not None else "the package brings its own"
        table.append((str(row["name"]), "yes" if row["missing"] is None else "no", str(row["missing"] or here)))
    print_table(("RUNTIME", "HERE", "HOW"), table)


@command.command("add", short_help="Bring one from its language's registry.")
@click.argument("name", metavar="ID", shell_complete=lambda ctx, param, incomplete: _addable(incomplete))
@click.option("--data-dir", metavar="DIR", help="Where the server keeps what is added.")
@click.pass_context
def add(ctx: click.Context, name: str, data_dir: str | None) -> None:
    """Bring a runtime from its language's registry, such as nodejs22.x, into the data directory.

    official-ID brings AWS's own client for a runtime that is here.
    """
    from lambent.runtimes.install import Installer, InstallError

    settings = ctx.obj(data_dir)
    folder = runtimes_folder(settings)
    try:
        with working(f"Adding {name}") as words, found_runtimes(settings) as found:
            installer = Installer(folder, os.environ.get("PATH", ""), found.architecture, words)
            where = installer.add(name, found.interpreters())
    except InstallError as error:
        raise Failed(f"{error}.") from None
    click.echo(f"{name} is in {where}.")
    say("A server that runs finds it at its next start.")


def _addable(incomplete: str) -> list[str]:
    """Shell completion of what `add` can bring."""
    from lambent.runtimes.catalogue import IDENTIFIERS
    from lambent.runtimes.install import OFFICIAL, SDK
    from lambent.runtimes.service import NODE_VERSIONS, PYTHON_VERSIONS

    node = [name for name, one in IDENTIFIERS.items() if one.family == "nodejs" and one.version in NODE_VERSIONS]
    python = [name for name, one in IDENTIFIERS.items() if one.family == "python" and one.version in PYTHON_VERSIONS]
    names = [*node, *(OFFICIAL + name for name in (*node, *python)), *(SDK + name for name in python)]
    return [name for name in names if name.startswith(incomplete)]
