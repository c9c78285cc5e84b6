"""Names in order, by what they are listed under."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator
from typing import Generic, TypeVar

K = TypeVar("K")


class Listing(Generic[K]):
    """Lists of names, each in order and without repetition; a list without names is not there."""

    def __init__(self) -> None:
        self._lists: dict[K, list[str]] = {}

    def __iter__(self) -> Iterator[K]:
        """What there are names under."""
        return iter(self._lists)

    def append(self, under: K, name: str) -> None:
        """Add a name that sorts behind all that are there."""
        self._lists.setdefault(under, []).append(name)

    def add(self, under: K, name: str) -> None:
        """Add a name that is not there."""
        insort(self._lists.setdefault(under, []), name)

    def remove(self, under: K, name: str) -> None:
        """Take away a name that is there."""
        names = self._lists[under]
        del names[bisect_left(names, name)]
        if not names:
            del self._lists[under]

    def behind(self, under: K, after: str, most: int) -> list[str]:
        """Up to `most` names that sort behind `after`, in order."""
        names = self._lists.get(under, [])
        start = bisect_right(names, after)
        return names[start : start + most]
