"""Functions in `state.db`: every change is one transaction on condition of the function's revision."""

from __future__ import annotations

import gc
import sqlite3
from collections.abc import Iterable
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

from ..domain.names import FunctionRef
from ..functions.codec import decode_function, decode_version, encode_function, encode_version
from ..functions.model import Function, FunctionVersion
from ..functions.store import LostRace
from .writer import Writer

MIGRATIONS = Path(__file__).parent / "migrations" / "state"

_CREATE = "INSERT INTO functions VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
_SWAP = "UPDATE functions SET revision = ?, document = ? WHERE account = ? AND region = ? AND name = ? AND revision = ?"
_DELETE = "DELETE FROM functions WHERE account = ? AND region = ? AND name = ? AND revision = ?"
_PUT_VERSION = "INSERT OR REPLACE INTO function_versions VALUES (?, ?, ?, ?, ?)"
_DELETE_VERSION = "DELETE FROM function_versions WHERE account = ? AND region = ? AND name = ? AND number = ?"
_FUNCTIONS = "SELECT account, region, name, revision, document FROM functions"
_VERSIONS = "SELECT account, region, name, number, document FROM function_versions"
_ONE = " WHERE account = ? AND region = ? AND name = ?"
_ORDER = " ORDER BY account, region, name"

_Key = tuple[str, str, str]


class SqliteFunctions:
    """The FunctionStore port over the state file's writer."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    def load(self) -> list[Function]:
        # Nothing of what is made here is garbage; looking for some costs a fifth of the time.
        collecting = gc.isenabled()
        gc.disable()
        try:
            return self._writer.read_at_start(_load)
        finally:
            if collecting:
                gc.enable()

    async def find(self, ref: FunctionRef) -> Function | None:
        key = _key(ref)

        def read(connection: sqlite3.Connection) -> Function | None:
            row = connection.execute(_FUNCTIONS + _ONE, key).fetchone()
            if row is None:
                return None
            versions = connection.execute(f"{_VERSIONS}{_ONE} ORDER BY number", key)
            return decode_function(ref, row[3], row[4], _read_versions(ref, versions))

        return await self._writer.transact(read)

    async def create(self, function: Function) -> None:
        # Documents are made here, on the loop: the writer's thread only talks to SQLite.
        key, document = _key(function.ref), encode_function(function)
        versions = [(*key, int(number), encode_version(one)) for number, one in function.versions.items()]

        def write(connection: sqlite3.Connection) -> None:
            if connection.execute(_CREATE, (*key, function.revision, document)).rowcount != 1:
                raise LostRace(function.ref)
            connection.executemany(_PUT_VERSION, versions)

        await self._writer.transact(write)

    async def swap(self, old: Function, new: Function) -> None:
        key, document = _key(old.ref), encode_function(new)
        put = [
            (*key, int(number), encode_version(one))
            for number, one in new.versions.items()
            if old.versions.get(number) is not one
        ]
        gone = [(*key, int(number)) for number in old.versions.keys() - new.versions.keys()]

        def write(connection: sqlite3.Connection) -> None:
            if connection.execute(_SWAP, (new.revision, document, *key, old.revision)).rowcount != 1:
                raise LostRace(old.ref)
            if put:
                connection.executemany(_PUT_VERSION, put)
            if gone:
                connection.executemany(_DELETE_VERSION, gone)

        await self._writer.transact(write)

    async def delete(self, old: Function) -> None:
        key = _key(old.ref)

        def write(connection: sqlite3.Connection) -> None:
            if connection.execute(_DELETE, (*key, old.revision)).rowcount != 1:
                raise LostRace(old.ref)

        await self._writer.transact(write)


def _key(ref: FunctionRef) -> _Key:
    return ref.account, ref.region, ref.name


def _load(connection: sqlite3.Connection) -> list[Function]:
    published: dict[_Key, dict[str, FunctionVersion]] = {}
    rows = connection.execute(f"{_VERSIONS}{_ORDER}, number")
    for key, group in groupby(rows, key=itemgetter(0, 1, 2)):
        published[key] = _read_versions(FunctionRef(*key), group)
    functions = []
    for account, region, name, revision, document in connection.execute(_FUNCTIONS + _ORDER):
        ref = FunctionRef(account, region, name)
        functions.append(decode_function(ref, revision, document, published.get((account, region, name))))
    return functions


def _read_versions(ref: FunctionRef, rows: Iterable[tuple[Any, ...]]) -> dict[str, FunctionVersion]:
    return {str(row[3]): decode_version(ref, str(row[3]), row[4]) for row in rows}
