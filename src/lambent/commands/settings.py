"""`lambent settings`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .configured import configured, loaded
from .output import is_terminal, print_json

if TYPE_CHECKING:
    from lambent.settings import Setting

HIDDEN = "********"


def bounds(setting: Setting) -> str:
    """The bounds for a person: `0 to 65,535`, `auto | container`, or nothing."""
    if setting.choices:
        return " | ".join(setting.choices)
    if setting.least is not None and setting.most is not None:
        return f"{setting.least:,} to {setting.most:,}"
    return ""


@click.command()
@configured
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for machines.")
def command(config: Path | None, assignments: tuple[str, ...], as_json: bool) -> None:
    """Show every setting: its value, where that comes from, and what it means.

    What `lambent up` would use in this shell. Set them in a TOML file (--config), by variable, or by option; later ones
    win.
    """
    from lambent.settings import described

    found = loaded(config, assignments, {})
    rows: list[dict[str, Any]] = []
    for setting in described():
        value = found.value(setting.name)
        rows.append(
            {
                "name": setting.name,
                "value": HIDDEN if setting.secret and value else value,
                "origin": found.origins[setting.name],
                "default": HIDDEN if setting.secret and setting.default else setting.default,
                "bounds": bounds(setting),
                "variable": setting.variable,
                "sentence": setting.sentence,
            }
        )
    if as_json:
        print_json(rows)
        return
    section = ""
    for row in rows:
        table, _, field = row["name"].partition(".")
        if table != section:
            click.echo(("\n" if section else "") + _bold(f"[{table}]"))
            section = table
        value = row["value"]
        shown = (
            str(value).lower()
            if isinstance(value, bool)
            else value
            if isinstance(value, (int, float))
            else f'"{value}"'
        )
        origin = "" if row["origin"] == "default" else f"   # from {row['origin']}"
        click.echo(f"{_bold(f'{field} = {shown}')}{origin}")
        limits = f" ({row['bounds']})" if row["bounds"] else ""
        click.echo(_dim(f"#   {row['sentence']}{limits} {row['variable']}"))


def _bold(text: str) -> str:
    return click.style(text, bold=True) if is_terminal() else text


def _dim(text: str) -> str:
    return click.style(text, dim=True) if is_terminal() else text
