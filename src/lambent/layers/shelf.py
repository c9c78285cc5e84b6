"""Which versions each layer has, and which number it uses next: what single documents do not say."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator

from ..domain.documents import Key
from ..domain.names import Scope


class Shelf:
    """Numbers of versions by layer, whose key is its scope and bare name; kept up with every write."""

    def __init__(self) -> None:
        self._next: dict[Key, int] = {}
        self._numbers: dict[Key, list[int]] = {}
        """Ascending; layers without a version are not here."""
        self._names: dict[Scope, list[str]] = {}
        """Of the layers with a version, in order."""

    def next_number(self, layer: Key) -> int:
        """One more than the highest that was ever used."""
        return self._next.get(layer, 1)

    def reach(self, layer: Key, number: int) -> None:
        """All numbers below this one are used."""
        self._next[layer] = max(self.next_number(layer), number)

    def put(self, layer: Key, number: int) -> None:
        """A version is there."""
        self.reach(layer, number + 1)
        numbers = self._numbers.get(layer)
        if numbers is None:
            numbers = self._numbers[layer] = []
            insort(self._names.setdefault(layer.scope, []), layer.name)
        insort(numbers, number)

    def remove(self, layer: Key, number: int) -> None:
        """A version that was there is not any more; its number stays used."""
        numbers = self._numbers[layer]
        del numbers[bisect_left(numbers, number)]
        if not numbers:
            del self._numbers[layer]
            names = self._names[layer.scope]
            del names[bisect_left(names, layer.name)]

    def newest(self, layer: Key, before: int | None = None) -> Iterator[int]:
        """The numbers of a layer's versions, those below `before`, descending."""
        numbers = self._numbers.get(layer, [])
        end = len(numbers) if before is None else bisect_left(numbers, before)
        return (numbers[place] for place in range(end - 1, -1, -1))

    def names(self, scope: Scope, after: str) -> Iterator[str]:
        """The layers with a version that sort behind `after`, in order."""
        names = self._names.get(scope, [])
        return (names[place] for place in range(bisect_right(names, after), len(names)))
