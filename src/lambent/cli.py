"""The `lambent` command. This file knows the commands' names and one sentence of each; a command's own module is
imported when it is run, so that `lambent --help` costs an interpreter and click.
"""

from __future__ import annotations

import sys
from importlib import import_module

import click

from lambent import __version__

COMMANDS: dict[str, str] = {
    "up": "Start the server.",
    "deploy": "Create or update a function from a directory, a zip or a file.",
    "invoke": "Run a function and print its answer.",
    "sign": "Sign a zip, so that a server that trusts the key takes it.",
    "logs": "Print a function's log.",
    "usage": "Show what ran and what it costs.",
    "ls": "List the functions.",
    "rm": "Delete functions.",
    "runtimes": "Show the runtimes of this machine, or add one.",
    "doctor": "Say what this machine can isolate, and what is missing.",
    "settings": "Show every setting, its value and where that came from.",
    "completion": "Print shell completion for bash, zsh or fish.",
    "version": "Print the version.",
}


class Commands(click.Group):
    """A group whose commands live in lambent.commands, one module each."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = import_module(f"lambent.commands.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            import difflib

            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise click.UsageError(f"There is no command {args[0]!r}.{hint}", ctx)
        return super().resolve_command(ctx, args)


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="%(prog)s %(version)s")
def root() -> None:
    """AWS Lambda on machines you own.

    Start the server with `lambent up`, point AWS_ENDPOINT_URL at it, and use boto3, the AWS CLI or the commands below.
    """


def main() -> None:
    """Run the command line; one sentence and a non-zero status on every failure that is not a bug."""
    from lambent.commands.failures import told

    sys.exit(told(root))
