"""What SQLite adds to the function store: summaries in columns, also for rows that were written without."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path

from tests.contracts.test_function_store import FULL, A, B, all_of, function, version

from lambent.functions.model import Url
from lambent.stores.functions_sqlite import MIGRATIONS, SqliteFunctions
from lambent.stores.writer import Writer

WHOLE = function(
    A,
    latest=version(A, "$LATEST", FULL),
    versions={"2": version(A, "2"), "10": version(A, "10", FULL)},
    urls={"": Url("a" * 32, "NONE", 1), "live": Url("b" * 32, "AWS_IAM", 1)},
)


def opened(path: Path, work: Callable[[SqliteFunctions], Awaitable[None]]) -> None:
    async def session() -> None:
        writer = Writer(path, MIGRATIONS)
        try:
            await work(SqliteFunctions(writer))
        finally:
            await writer.close()

    asyncio.run(session())


def written(path: Path) -> None:
    async def work(store: SqliteFunctions) -> None:
        await store.create(WHOLE)
        await store.create(function(B, reserved=0))

    opened(path, work)


def as_by_an_earlier_release(path: Path) -> None:
    """The file as before the migration that brought the summaries."""
    connection = sqlite3.connect(path)
    for column in ("generation", "code_bytes", "is_restless", "packages", "code_signing_arn", "urls"):
        connection.execute(f"ALTER TABLE functions DROP COLUMN {column}")
    connection.execute("PRAGMA user_version = 2")
    connection.commit()
    connection.close()


def columns(path: Path) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(path)
    rows = connection.execute(
        "SELECT name, generation, code_bytes, is_restless, packages, code_signing_arn, urls FROM functions"
    ).fetchall()
    connection.close()
    return rows


def test_what_an_earlier_release_wrote_is_summarised_once(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    written(path)
    fresh = columns(path)
    as_by_an_earlier_release(path)

    async def work(store: SqliteFunctions) -> None:
        assert all_of(store) == [WHOLE, function(B, reserved=0)]

    opened(path, work)
    assert columns(path) == fresh

    def refuse(statement: str) -> None:
        assert not statement.startswith("UPDATE"), "summarised again"

    async def again(store: SqliteFunctions) -> None:
        store._writer.read_at_start(lambda connection: connection.set_trace_callback(refuse))
        assert all_of(store) == [WHOLE, function(B, reserved=0)]

    opened(path, again)


def test_columns_say_what_the_summary_does(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    written(path)
    assert [row[:4] for row in columns(path)] == [("a", 7, 3 * 276, 0), ("b", 7, 276, 1)]


def test_the_ids_of_urls_are_read_out_of_what_an_earlier_release_wrote(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    written(path)
    fresh = columns(path)
    assert [row[-1] for row in fresh] == [f"{'a' * 32} {'b' * 32}", ""]
    connection = sqlite3.connect(path)
    connection.execute("ALTER TABLE functions DROP COLUMN urls")
    connection.execute("PRAGMA user_version = 4")
    connection.commit()
    connection.close()

    async def work(store: SqliteFunctions) -> None:
        assert all_of(store) == [WHOLE, function(B, reserved=0)]

    opened(path, work)
    assert [row[-1] for row in columns(path)] == [f"{'a' * 32} {'b' * 32}", None]
