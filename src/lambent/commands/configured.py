"""How a command gets the server's settings: defaults, file, variables, options."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from .failures import Failed

if TYPE_CHECKING:
    from lambent.settings import Loaded

_Command = TypeVar("_Command", bound=Callable[..., Any])


def configured(command: _Command) -> _Command:
    """Give a command --config and --set."""
    command = click.option(
        "--set",
        "assignments",
        multiple=True,
        metavar="SETTING=VALUE",
        help="Any setting by its name, such as limits.idle_timeout_s=60; may be repeated.",
    )(command)
    return click.option(
        "--config",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="TOML file with settings (default: LAMBENT_CONFIG).",
    )(command)


def loaded(config: Path | None, assignments: Sequence[str], options: Mapping[str, tuple[str, object]]) -> Loaded:
    """All settings, with their origins. options: field name → (option, value). Raises Failed with the sentence."""
    from lambent.settings import SettingsError, load

    given = dict(options)
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals:
            raise Failed(f"--set {assignment}: this is not SETTING=VALUE.")
        given[name] = (f"--set {assignment}", value)
    named = os.environ.get("LAMBENT_CONFIG")
    try:
        return load(config=config or (Path(named) if named else None), environ=os.environ, options=given)
    except SettingsError as error:
        raise Failed(f"{error}.") from None
