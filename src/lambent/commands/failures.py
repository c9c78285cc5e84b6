"""How a command fails: one clear sentence on the error stream and a status that scripts can use."""

from __future__ import annotations

import errno
import os
import sys

import click

FAILED, INTERRUPTED = 1, 130


class Failed(click.ClickException):
    """The command could not do what was asked; the text is the sentence."""

    exit_code = FAILED

    def show(self, file: object = None) -> None:
        click.echo(f"lambent: {self.message}", err=True)


def told(root: click.Command) -> int:
    """Run `root` with the process's arguments; answer the exit status, every foreseen failure told in a sentence."""
    try:
        status = root.main(prog_name="lambent", standalone_mode=False)
        _flush()
        return status if isinstance(status, int) else 0
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.Abort:
        return INTERRUPTED
    except KeyboardInterrupt:
        return INTERRUPTED
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except OSError as error:
        if error.errno == errno.EPIPE:  # the reader (`| head`) has had enough
            _silence()
            return 0
        raise


def _flush() -> None:
    sys.stdout.flush()


def _silence() -> None:
    """Keep the interpreter from flushing into a closed pipe at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
