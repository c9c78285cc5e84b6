"""Documents in memory: for tests, and for a server that is to forget everything."""

from __future__ import annotations

from ..domain.documents import Key, LostRace


class MemoryDocuments:
    """The DocumentStore port over a dictionary."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, Key], tuple[int, bytes]] = {}

    def load(self, kind: str) -> list[tuple[Key, int, bytes]]:
        rows = [(key, *row) for (one, key), row in self._rows.items() if one == kind]
        return sorted(rows, key=lambda row: (row[0].account, row[0].region, row[0].name))

    async def find(self, kind: str, key: Key) -> tuple[int, bytes] | None:
        return self._rows.get((kind, key))

    async def create(self, kind: str, key: Key, document: bytes) -> None:
        if (kind, key) in self._rows:
            raise LostRace(key)
        self._rows[kind, key] = (1, document)

    async def swap(self, kind: str, key: Key, revision: int, document: bytes) -> None:
        self._check(kind, key, revision)
        self._rows[kind, key] = (revision + 1, document)

    async def delete(self, kind: str, key: Key, revision: int) -> None:
        self._check(kind, key, revision)
        del self._rows[kind, key]

    def _check(self, kind: str, key: Key, revision: int) -> None:
        row = self._rows.get((kind, key))
        if row is None or row[0] != revision:
            raise LostRace(key)
