"""Functions in `state.db`: every change is one transaction on condition of the function's revision."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ..domain.names import FunctionRef
from ..functions.codec import decode_function, decode_version, encode_function, encode_version
from ..functions.model import Function, FunctionVersion
from ..functions.resting import Resting, Summary, summarised
from ..functions.store import LostRace
from .writer import Writer

MIGRATIONS = Path(__file__).parent / "migrations" / "state"

_SUMMARY = ("generation", "code_bytes", "is_restless", "packages", "code_signing_arn", "urls")
_STANDS = "account = ? AND region = ? AND name = ? AND revision = ?"
_CREATE = (
    f"INSERT INTO functions (account, region, name, revision, document, {', '.join(_SUMMARY)}) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
)
_SWAP = f"UPDATE functions SET revision = ?, document = ?, {' = ?, '.join(_SUMMARY)} = ? WHERE {_STANDS}"
_SUMMARISE = f"UPDATE functions SET {' = ?, '.join(_SUMMARY)} = ? WHERE {_STANDS}"
_DELETE = f"DELETE FROM functions WHERE {_STANDS}"
_PUT_VERSION = "INSERT OR REPLACE INTO function_versions VALUES (?, ?, ?, ?, ?)"
_DELETE_VERSION = "DELETE FROM function_versions WHERE account = ? AND region = ? AND name = ? AND number = ?"
_FUNCTIONS = "SELECT account, region, name, revision, document FROM functions"
_RESTING = f"SELECT account, region, name, {', '.join(_SUMMARY)}, revision, document FROM functions"
_NOT_SUMMARISED = f"{_FUNCTIONS} WHERE generation IS NULL"
_VERSIONS = "SELECT account, region, name, number, document FROM function_versions"
_ONE = " WHERE account = ? AND region = ? AND name = ?"
_ORDER = " ORDER BY account, region, name"

_Key = tuple[str, str, str]


class SqliteFunctions:
    """The FunctionStore port over the state file's writer."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    def load(self) -> Iterator[Resting]:
        self._writer.read_at_start(_summarise_all)
        return self._writer.read_at_start(_load)

    def wake(self, ref: FunctionRef, stored: object) -> Function:
        assert isinstance(stored, tuple)
        revision, document, versions = stored
        return decode_function(ref, revision, document, _read_versions(ref, versions))

    async def find(self, ref: FunctionRef) -> Function | None:
        key = _key(ref)

        def read(connection: sqlite3.Connection) -> Function | None:
            row = connection.execute(_FUNCTIONS + _ONE, key).fetchone()
            if row is None:
                return None
            versions = connection.execute(f"{_VERSIONS}{_ONE} ORDER BY number", key)
            return decode_function(ref, row[3], row[4], _read_versions(ref, (row[3:] for row in versions)))

        return await self._writer.transact(read)

    async def create(self, function: Function) -> None:
        # Documents are made here, on the loop: the writer's thread only talks to SQLite.
        row = (*_key(function.ref), function.revision, encode_function(function), *_summary(function))
        key = row[:3]
        versions = [(*key, int(number), encode_version(one)) for number, one in function.versions.items()]

        def write(connection: sqlite3.Connection) -> None:
            if connection.execute(_CREATE, row).rowcount != 1:
                raise LostRace(function.ref)
            connection.executemany(_PUT_VERSION, versions)

        await self._writer.transact(write)

    async def swap(self, old: Function, new: Function) -> None:
        key = _key(old.ref)
        row = (new.revision, encode_function(new), *_summary(new), *key, old.revision)
        put = [
            (*key, int(number), encode_version(one))
            for number, one in new.versions.items()
            if old.versions.get(number) is not one
        ]
        gone = [(*key, int(number)) for number in old.versions.keys() - new.versions.keys()]

        def write(connection: sqlite3.Connection) -> None:
            if connection.execute(_SWAP, row).rowcount != 1:
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


def _summary(function: Function) -> tuple[int, int, int, str, str | None, str]:
    """The columns `_SUMMARY`."""
    generation, code_bytes, is_restless, packages, code_signing_arn, urls = summarised(function)
    return generation, code_bytes, int(is_restless), " ".join(packages), code_signing_arn, " ".join(urls)


def _summarise_all(connection: sqlite3.Connection) -> None:
    """Once after an upgrade: the summaries that earlier releases did not write, all in one transaction."""
    summaries = []
    for account, region, name, revision, document in connection.execute(_NOT_SUMMARISED):
        ref = FunctionRef(account, region, name)
        versions = connection.execute(f"{_VERSIONS}{_ONE} ORDER BY number", _key(ref))
        function = decode_function(ref, revision, document, _read_versions(ref, (row[3:] for row in versions)))
        summaries.append((*_summary(function), *_key(ref), revision))
    if summaries:
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(_SUMMARISE, summaries)
        connection.execute("COMMIT")


def _load(connection: sqlite3.Connection) -> Iterator[Resting]:
    published: dict[_Key, list[tuple[Any, ...]]] = {}
    for *key, number, document in connection.execute(f"{_VERSIONS}{_ORDER}, number"):
        published.setdefault((key[0], key[1], key[2]), []).append((number, document))
    rows = connection.execute(_RESTING + _ORDER)
    for account, region, name, generation, code_bytes, is_restless, packages, signing, urls, revision, document in rows:
        summary = Summary(
            generation,
            code_bytes,
            is_restless != 0,
            tuple(packages.split()),
            signing,
            tuple(urls.split()) if urls else (),
        )
        stored = revision, document, published.get((account, region, name), ())
        yield Resting(account, region, name, summary, stored)


def _read_versions(ref: FunctionRef, rows: Iterable[tuple[Any, ...]]) -> dict[str, FunctionVersion]:
    """rows: (number, document), ascending."""
    return {str(number): decode_version(ref, str(number), document) for number, document in rows}
