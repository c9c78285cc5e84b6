"""What a person sees: colour and movement on a terminal, plain text in a pipe, nothing between."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click

SILENT_S = 1.0
"""A step shorter than this says nothing in a pipe."""


def is_terminal(*, err: bool = False) -> bool:
    """Whether a person is looking at this stream."""
    return (sys.stderr if err else sys.stdout).isatty()


def say(text: str, **style: Any) -> None:
    """A line for a person, on the error stream: standard output belongs to the answer."""
    click.echo(click.style(text, **style) if style and is_terminal(err=True) else text, err=True)


def print_json(document: Any) -> None:
    """One document, indented on a terminal, one line in a pipe."""
    click.echo(json.dumps(document, indent=2 if is_terminal() else None, ensure_ascii=False, default=str))


@contextmanager
def working(what: str) -> Iterator[Callable[[str], None]]:
    """Show that something takes time, on the error stream; yields a way to change the words.

    On a terminal a spinner, gone afterwards. In a pipe one line, and only once it took longer than SILENT_S.
    """
    if is_terminal(err=True):
        from rich.console import Console

        with Console(stderr=True).status(f"{what}…") as status:
            yield lambda words: status.update(f"{words.rstrip('.')}…")
        return
    current = [what]
    timer = threading.Timer(SILENT_S, lambda: say(f"{current[0].rstrip('.')}…"))
    timer.daemon = True
    timer.start()
    try:
        yield lambda words: current.__setitem__(0, words)
    finally:
        timer.cancel()


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()) -> None:
    """Rows under headings; `right` are the columns that hold numbers. In a pipe the same, uncut and uncoloured."""
    if not is_terminal():
        widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
        for row in (columns, *rows):
            cells = [
                f"{cell:>{width}}" if index in right else f"{cell:<{width}}"
                for index, (cell, width) in enumerate(zip(row, widths, strict=True))
            ]
            click.echo("  ".join(cells).rstrip())
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for index, column in enumerate(columns):
        table.add_column(column, justify="right" if index in right else "left", no_wrap=True, overflow="ellipsis")
    for row in rows:
        table.add_row(*map(Text, row))  # not markup: a handler may hold brackets
    Console().print(table)


def size(count: int) -> str:
    """Bytes for a person: `812 B`, `1.2 KB`, `45.0 MB` (2**10 and 2**20)."""
    if count < 1024:
        return f"{count} B"
    return f"{count / 1024:.1f} KB" if count < 1024 * 1024 else f"{count / 1024 / 1024:.1f} MB"
