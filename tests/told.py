"""What servers said comes with the report of a failed test: what was not seen was perhaps said."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

SERVERS_MAX, CHARS_MAX, EVENTS_MAX = 3, 4_000, 20
started: list[tuple[Path, Path]] = []
"""Log and data directory of each server that was started in this process."""


def sections() -> list[tuple[str, str]]:
    """A title and a text for each of the last servers whose files are still there: the end of its log, and its queue."""
    found = []
    for log, data_dir in started[-SERVERS_MAX:]:
        with contextlib.suppress(OSError, sqlite3.Error):
            lines = [log.read_text()[-CHARS_MAX:], *map(str, _queued(data_dir))]
            found.append((f"log and queue of the server on {data_dir}", "\n".join(lines)))
    return found


def _queued(data_dir: Path) -> list[tuple[object, ...]]:
    with contextlib.closing(sqlite3.connect(f"file:{data_dir / 'queue.db'}?mode=ro", uri=True)) as connection:
        return connection.execute(
            "SELECT function, request_id, datetime(due_ms / 1000, 'unixepoch'), attempt, deferrals, reason "
            f"FROM events LIMIT {EVENTS_MAX}"
        ).fetchall()
