"""The port through which functions outlive the process."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from ..domain.documents import LostRace
from ..domain.names import FunctionRef
from .model import Function
from .resting import Resting

__all__ = ["FunctionStore", "LostRace"]


class FunctionStore(Protocol):
    """Functions by name, each with its versions and its summary, written as one unit on condition of its revision.

    A write that returned is durable. A write whose caller was cancelled may or may not have happened; whoever needs to
    know asks `find`.
    """

    def load(self) -> Iterator[Resting]:
        """Everything stored, in the order of account, region and name; called once, before the first write."""

    def wake(self, ref: FunctionRef, stored: object) -> Function:
        """The function of which `load` gave `stored`, as it was then: from memory, at once."""

    async def find(self, ref: FunctionRef) -> Function | None:
        """The stored function, after all writes that were asked for earlier."""

    async def create(self, function: Function) -> None:
        """Store a new function (revision 1). Raises LostRace when the name exists."""

    async def swap(self, old: Function, new: Function) -> None:
        """Replace the function where `old.revision` still stands; `new.revision` is one more. Else raises LostRace."""

    async def delete(self, old: Function) -> None:
        """Remove the function and its versions where `old.revision` still stands. Else raises LostRace."""
