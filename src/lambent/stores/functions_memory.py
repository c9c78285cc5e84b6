"""Functions in memory: for tests, and for a server that is to forget everything."""

from __future__ import annotations

from collections.abc import Iterator

from ..domain.names import FunctionRef
from ..functions.model import Function
from ..functions.resting import Resting, summarised
from ..functions.store import LostRace


class MemoryFunctions:
    """The FunctionStore port over a dictionary."""

    def __init__(self) -> None:
        self._rows: dict[FunctionRef, Function] = {}

    def load(self) -> Iterator[Resting]:
        for ref in sorted(self._rows, key=lambda ref: (ref.account, ref.region, ref.name)):
            function = self._rows[ref]
            yield Resting(ref.account, ref.region, ref.name, summarised(function), function)

    def wake(self, ref: FunctionRef, stored: object) -> Function:
        assert isinstance(stored, Function)
        return stored

    async def find(self, ref: FunctionRef) -> Function | None:
        return self._rows.get(ref)

    async def create(self, function: Function) -> None:
        if function.ref in self._rows:
            raise LostRace(function.ref)
        self._rows[function.ref] = function

    async def swap(self, old: Function, new: Function) -> None:
        self._check(old)
        self._rows[old.ref] = new

    async def delete(self, old: Function) -> None:
        self._check(old)
        del self._rows[old.ref]

    def _check(self, old: Function) -> None:
        row = self._rows.get(old.ref)
        if row is None or row.revision != old.revision:
            raise LostRace(old.ref)
