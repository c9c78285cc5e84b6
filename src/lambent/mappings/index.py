"""Mappings by what they are looked for with, so that neither a creation nor a filtered list walks over all of them.

Each table holds UUIDs in their order: what it answers is what a scan over all mappings in that order would find.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Hashable, Iterator

from ..domain.documents import Key
from ..domain.names import Scope
from .model import EventSourceMapping
from .rules import identity


class MappingIndex:
    """Of the mappings of all accounts and regions; kept up with every write."""

    def __init__(self) -> None:
        self._identities: dict[Hashable, list[str]] = {}
        self._functions: dict[Hashable, list[str]] = {}
        self._sources: dict[Hashable, list[str]] = {}

    def changed(self, key: Key, old: EventSourceMapping | None, new: EventSourceMapping | None) -> None:
        """Take note of a write: what stood, and what stands."""
        before, after = _entries(old), _entries(new)
        for table, was, has in zip((self._identities, self._functions, self._sources), before, after, strict=True):
            if was == has:
                continue
            if was is not None:
                table[was].remove(key.name)
                if not table[was]:
                    del table[was]
            if has is not None:
                insort(table.setdefault(has, []), key.name)

    def same(self, mapping: EventSourceMapping) -> list[str]:
        """UUIDs of the mappings of the same source to the same function, this one among them where it is kept."""
        return list(self._identities.get(identity(mapping), ()))

    def narrowed(
        self, scope: Scope, after: str, *, function: str | None, source_arn: str | None
    ) -> Iterator[str] | None:
        """UUIDs behind `after` among which all mappings of the function and of the source are; None where neither is
        given: it would be all of the scope."""
        lists = []
        if function is not None:
            lists.append(self._functions.get((scope, function), []))
        if source_arn is not None:
            lists.append(self._sources.get((scope, source_arn), []))
        if not lists:
            return None
        shortest = min(lists, key=len)
        return iter(shortest[bisect_right(shortest, after) :])


def _entries(mapping: EventSourceMapping | None) -> tuple[Hashable, Hashable, Hashable]:
    """Its places in the three tables; None: it has none."""
    if mapping is None:
        return None, None, None
    source = mapping.settings.source_arn
    return (
        identity(mapping),
        (mapping.scope, mapping.function),
        None if source is None else (mapping.scope, source),
    )
