"""Documents in `state.db`: every change is one statement on condition of the document's revision."""

from __future__ import annotations

import sqlite3
from typing import Any

from ..domain.documents import Key, LostRace
from .writer import Writer

_LOAD = "SELECT kind, account, region, name, revision, document FROM documents ORDER BY kind, account, region, name"
_WHERE = " WHERE kind = ? AND account = ? AND region = ? AND name = ?"
_FIND = f"SELECT revision, document FROM documents{_WHERE}"
_CREATE = "INSERT INTO documents VALUES (?, ?, ?, ?, 1, ?) ON CONFLICT DO NOTHING"
_SWAP = f"UPDATE documents SET revision = revision + 1, document = ?{_WHERE} AND revision = ?"
_DELETE = f"DELETE FROM documents{_WHERE} AND revision = ?"


class SqliteDocuments:
    """The DocumentStore port over the state file's writer. Everything is read at once, as rows: kinds may be asked for
    when the writer has long begun to write others."""

    def __init__(self, writer: Writer) -> None:
        """Before the writer's first job."""
        self._writer = writer
        self._rows: dict[str, list[tuple[str, str, str, int, bytes]]] = {}
        for kind, *row in writer.read_at_start(lambda connection: connection.execute(_LOAD).fetchall()):
            self._rows.setdefault(kind, []).append(tuple(row))

    def load(self, kind: str) -> list[tuple[Key, int, bytes]]:
        return [
            (Key(account, region, name), revision, document)
            for account, region, name, revision, document in self._rows.pop(kind, ())
        ]

    async def find(self, kind: str, key: Key) -> tuple[int, bytes] | None:
        def read(connection: sqlite3.Connection) -> tuple[int, bytes] | None:
            row: tuple[int, bytes] | None = connection.execute(_FIND, _row(kind, key)).fetchone()
            return row

        return await self._writer.transact(read)

    async def create(self, kind: str, key: Key, document: bytes) -> None:
        await self._write(key, _CREATE, (*_row(kind, key), document))

    async def swap(self, kind: str, key: Key, revision: int, document: bytes) -> None:
        await self._write(key, _SWAP, (document, *_row(kind, key), revision))

    async def delete(self, kind: str, key: Key, revision: int) -> None:
        await self._write(key, _DELETE, (*_row(kind, key), revision))

    async def _write(self, key: Key, statement: str, values: tuple[Any, ...]) -> None:
        def write(connection: sqlite3.Connection) -> None:
            if connection.execute(statement, values).rowcount != 1:
                raise LostRace(key)

        await self._writer.transact(write)


def _row(kind: str, key: Key) -> tuple[str, str, str, str]:
    return kind, key.account, key.region, key.name
