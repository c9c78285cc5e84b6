"""`lambent completion`."""

from __future__ import annotations

import click

HOW = {
    "bash": 'eval "$(lambent completion bash)"        # in ~/.bashrc',
    "zsh": 'eval "$(lambent completion zsh)"         # in ~/.zshrc',
    "fish": "lambent completion fish | source         # in ~/.config/fish/config.fish",
}


@click.command(epilog="\b\n" + "\n".join(HOW.values()))
@click.argument("shell", type=click.Choice(list(HOW)))
def command(shell: str) -> None:
    """Print a completion script; function names are completed too, while the server runs.

    Put the line for your shell where it says:
    """
    from click.shell_completion import get_completion_class

    from lambent.cli import root

    completion = get_completion_class(shell)
    assert completion is not None  # the choices are click's own
    click.echo(completion(root, {}, "lambent", "_LAMBENT_COMPLETE").source())
