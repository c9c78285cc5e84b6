"""What every document store promises: what was written is there, and a rival writer loses here and now."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from lambent.domain.documents import Collection, DocumentStore, Key, LostRace
from lambent.stores.documents_memory import MemoryDocuments
from lambent.stores.documents_sqlite import SqliteDocuments
from lambent.stores.functions_sqlite import MIGRATIONS
from lambent.stores.writer import Writer

A, B = (Key("123456789012", "us-east-1", name) for name in ("a", "b"))
ELSEWHERE = Key("123456789012", "eu-west-1", "a")
GLOBAL = Key("123456789012", "", "a")


class Opened:
    """One store that can be closed and opened again."""

    def __init__(self, directory: Path | None) -> None:
        self._directory = directory
        self._memory = MemoryDocuments()
        self._writer: Writer | None = None

    def open(self) -> DocumentStore:
        if self._directory is None:
            return self._memory
        self._writer = Writer(self._directory / "state.db", MIGRATIONS)
        return SqliteDocuments(self._writer)

    async def close(self) -> None:
        if self._writer is not None:
            await self._writer.close()


@pytest.fixture(params=["memory", "sqlite"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Opened:
    return Opened(None if request.param == "memory" else tmp_path)


def run(
    opened: Opened, scenario: Callable[[DocumentStore], Coroutine[Any, Any, None]], kind: str = "layer"
) -> list[tuple[Key, int, bytes]]:
    """Run on the store as it is; answers what a store opened afterwards loads of `kind`."""

    async def session() -> None:
        store = opened.open()
        try:
            await scenario(store)
        finally:
            await opened.close()

    asyncio.run(session())
    loaded = opened.open().load(kind)
    asyncio.run(opened.close())
    return loaded


def test_documents_come_back_in_the_order_of_their_keys_and_kinds_are_apart(opened: Opened) -> None:
    async def scenario(store: DocumentStore) -> None:
        for key in (B, A, ELSEWHERE, GLOBAL):
            await store.create("layer", key, key.region.encode())
        await store.create("mapping", A, b"another kind's")

    assert run(opened, scenario) == [(key, 1, key.region.encode()) for key in (GLOBAL, ELSEWHERE, A, B)]


def test_a_key_is_created_once(opened: Opened) -> None:
    async def scenario(store: DocumentStore) -> None:
        await store.create("layer", A, b"first")
        with pytest.raises(LostRace):
            await store.create("layer", A, b"second")
        assert await store.find("layer", A) == (1, b"first")
        assert await store.find("layer", B) is None

    assert run(opened, scenario) == [(A, 1, b"first")]


def test_only_the_revision_that_stands_is_replaced_or_removed(opened: Opened) -> None:
    async def scenario(store: DocumentStore) -> None:
        await store.create("layer", A, b"1")
        await store.create("layer", B, b"1")
        await store.swap("layer", A, 1, b"2")
        with pytest.raises(LostRace):
            await store.swap("layer", A, 1, b"late")
        with pytest.raises(LostRace):
            await store.delete("layer", A, 1)
        await store.delete("layer", B, 1)
        with pytest.raises(LostRace):
            await store.swap("layer", B, 1, b"of what is gone")

    assert run(opened, scenario) == [(A, 2, b"2")]


def test_a_collection_outlives_its_process_and_lists_in_order(opened: Opened) -> None:
    heard: list[tuple[Key, str | None, str | None]] = []

    async def scenario(store: DocumentStore) -> None:
        names = _collection(store)
        names.subscribe(lambda key, old, new: heard.append((key, old, new)))
        await names.change(B, lambda old: "bee")
        await names.change(A, lambda old: "ay")
        await names.change(B, lambda old: f"{old}s")
        await names.change(ELSEWHERE, lambda old: "gone soon")
        await names.change(ELSEWHERE, lambda old: None)
        assert names.names(A.scope) == ["a", "b"]
        assert names.names(A.scope, "a", 1) == ["b"]
        assert list(names.values(A.scope)) == ["ay", "bees"]
        assert names.get(ELSEWHERE) is None
        assert len(names) == 2

    assert run(opened, scenario) == [(A, 1, b"ay"), (B, 2, b"bees")]
    assert heard[0] == (B, None, "bee")
    assert heard[-1] == (ELSEWHERE, "gone soon", None)


def test_three_hundred_writers_of_one_key_lose_nothing(opened: Opened) -> None:
    async def scenario(store: DocumentStore) -> None:
        names = _collection(store)
        await asyncio.gather(*(names.change(A, lambda old: (old or "") + "x") for _ in range(300)))
        assert names.get(A) == "x" * 300

    assert run(opened, scenario) == [(A, 300, b"x" * 300)]


def test_a_rivals_write_is_taken_over(opened: Opened) -> None:
    async def scenario(store: DocumentStore) -> None:
        names = _collection(store)
        await names.change(A, lambda old: "mine")
        await store.swap("layer", A, 1, b"theirs")
        assert await names.change(A, lambda old: f"{old}, then mine") == "theirs, then mine"

    assert run(opened, scenario) == [(A, 3, b"theirs, then mine")]


def test_a_refused_change_writes_nothing(opened: Opened) -> None:
    def refuse(old: str | None) -> str:
        raise ValueError("refused")

    async def scenario(store: DocumentStore) -> None:
        names = _collection(store)
        with pytest.raises(ValueError, match="refused"):
            await names.change(A, refuse)

    assert run(opened, scenario) == []


def _collection(store: DocumentStore) -> Collection[str]:
    return Collection(store, "layer", encode=str.encode, decode=lambda key, document: document.decode())
