"""Keyed documents: the port through which small resources outlive the process, and the one way to change them.

Layers, event source mappings, code signing configurations, roles: each kind is a `Collection`, held in memory as frozen
values and written one by one on condition of its revision, as functions are. What belongs to one function is part of
that function's own record instead.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from .errors import ServiceFault
from .names import Scope
from .turns import Turns

WRITE_ATTEMPTS_MAX = 100
"""How often a change is decided again after losing the race for the stored revision."""
LINE_WAIT_S = 10.0
"""How long a change waits behind the other changes of the same resource; beyond it they race for the revision."""


class LostRace(Exception):
    """A conditional write found another revision than it was based on (or the name taken, or gone): look again."""


@dataclass(frozen=True, slots=True)
class Key:
    """Whose resource, and which: unique within its kind. The region is empty for what an account has once."""

    account: str
    region: str
    name: str

    @property
    def scope(self) -> Scope:
        return Scope(self.account, self.region)


class DocumentStore(Protocol):
    """Documents by kind and key, each with a revision that is the condition of every write (1 at creation).

    A write that returned is durable. A write whose caller was cancelled may or may not have happened.
    """

    def load(self, kind: str) -> list[tuple[Key, int, bytes]]:
        """All documents of a kind in the order of their keys; called once a kind, before its first write."""

    async def find(self, kind: str, key: Key) -> tuple[int, bytes] | None:
        """The stored revision and document, after all writes that were asked for earlier."""

    async def create(self, kind: str, key: Key, document: bytes) -> None:
        """Store a new document as revision 1. Raises LostRace when the key exists."""

    async def swap(self, kind: str, key: Key, revision: int, document: bytes) -> None:
        """Replace the document where `revision` still stands; the next one is one more. Else raises LostRace."""

    async def delete(self, kind: str, key: Key, revision: int) -> None:
        """Remove the document where `revision` still stands. Else raises LostRace."""


T = TypeVar("T")
Decision = Callable[[T | None], T | None]
"""What stands → what is to stand: the same object (nothing to write), another one, or None (delete). Raises the errors
the caller reads. Called once more for each lost race."""


class Collection(Generic[T]):
    """All resources of one kind, in memory. Used from one event loop."""

    def __init__(
        self,
        store: DocumentStore,
        kind: str,
        *,
        encode: Callable[[T], bytes],
        decode: Callable[[Key, bytes], T],
    ) -> None:
        """Read everything from the store. `decode` is the inverse of `encode`; the key is not part of the document."""
        self._store = store
        self._kind = kind
        self._encode = encode
        self._decode = decode
        self._values: dict[Key, tuple[int, T]] = {}
        self._names: dict[Scope, list[str]] = {}
        self._listeners: list[Callable[[Key, T | None, T | None], None]] = []
        self._tasks: set[asyncio.Task[Any]] = set()
        self._line = Turns()
        for key, revision, document in store.load(kind):
            self._values[key] = (revision, decode(key, document))
            self._names.setdefault(key.scope, []).append(key.name)

    def get(self, key: Key) -> T | None:
        """The value, or None."""
        held = self._values.get(key)
        return None if held is None else held[1]

    def __iter__(self) -> Iterator[tuple[Key, T]]:
        """Every value of every account, in no order that is promised."""
        return ((key, value) for key, (_, value) in self._values.items())

    def __len__(self) -> int:
        return len(self._values)

    def names(self, scope: Scope, after: str = "", most: int | None = None) -> list[str]:
        """Up to `most` names of a scope that sort behind `after`, in order."""
        names = self._names.get(scope, [])
        start = bisect_right(names, after) if after else 0
        return names[start : None if most is None else start + most]

    def values(self, scope: Scope) -> Iterator[T]:
        """All values of a scope in the order of their names."""
        return (self._values[Key(scope.account, scope.region, name)][1] for name in self.names(scope))

    def subscribe(self, listener: Callable[[Key, T | None, T | None], None]) -> None:
        """Call `listener(key, old, new)` after every write, on the event loop, before the change is answered."""
        self._listeners.append(listener)

    async def change(self, key: Key, decide: Decision[T]) -> T | None:
        """Decide from what stands, write it, install it; answers what stands then.

        The write runs to its end whatever happens to the caller. Raises what `decide` and the store raise, and
        ServiceFault after WRITE_ATTEMPTS_MAX lost races.
        """
        return await asyncio.shield(self._spawn(self._change(key, decide)))

    async def close(self) -> None:
        """Wait until every accepted change is written."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _change(self, key: Key, decide: Decision[T]) -> T | None:
        """Behind the other changes of the key: of rivals side by side one wins and all others decide again, until the
        last of hundreds has lost too often."""
        is_first = await self._line.take(key, LINE_WAIT_S)
        try:
            return await self._write(key, decide)
        finally:
            if is_first:
                self._line.give_back(key)

    async def _write(self, key: Key, decide: Decision[T]) -> T | None:
        for _ in range(WRITE_ATTEMPTS_MAX):
            held = self._values.get(key)
            revision, old = held if held is not None else (0, None)
            new = decide(old)
            if new is old:
                return old
            try:
                if new is None:
                    await self._store.delete(self._kind, key, revision)
                elif held is None:
                    await self._store.create(self._kind, key, self._encode(new))
                else:
                    await self._store.swap(self._kind, key, revision, self._encode(new))
            except LostRace:
                await self._look_again(key, held)
                continue
            if self._values.get(key) is held:
                self._install(key, None if new is None else (revision + 1, new))
            return new
        raise ServiceFault(f"{self._kind} {key.name} changes faster than it can be written")

    async def _look_again(self, key: Key, held: tuple[int, T] | None) -> None:
        """After a lost race: take over what the winner stored, unless it is here by now."""
        if self._values.get(key) is not held:
            return
        stored = await self._store.find(self._kind, key)
        if (held is not None or stored is not None) and self._values.get(key) is held:
            self._install(key, None if stored is None else (stored[0], self._decode(key, stored[1])))

    def _install(self, key: Key, new: tuple[int, T] | None) -> None:
        old = self._values.get(key)
        names = self._names.setdefault(key.scope, [])
        if new is None:
            if old is not None:
                del self._values[key]
                del names[bisect_left(names, key.name)]
        else:
            self._values[key] = new
            if old is None:
                insort(names, key.name)
        for listener in self._listeners:
            listener(key, None if old is None else old[1], None if new is None else new[1])

    def _spawn(self, work: Coroutine[Any, Any, T | None]) -> asyncio.Task[T | None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
