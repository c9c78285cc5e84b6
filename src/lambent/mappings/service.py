"""Event source mappings: what one can ask of them.

A change is answered with the state on the way (Creating, Updating, ...) and kept as it settles: only answers know the
states between two records, so no end of the process leaves a mapping in one. Creations and updates take turns, because
that a source is mapped to a function once is a rule over all mappings.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..domain.clock import Clock
from ..domain.documents import Collection, DocumentStore, Key
from ..domain.errors import InvalidParameterValue, ResourceNotFound
from ..domain.ids import new_uuid
from ..domain.names import FunctionRef, Scope
from ..domain.tags import check_tags
from .codec import decode, encode, key_of
from .index import MappingIndex
from .model import EventSourceMapping, Wanted
from .rules import check_duplicate, completed, is_repetition, kind_of, merged

FunctionCheck = Callable[[FunctionRef, str | None], bool]
"""Whether there is such a function and, where one is named, such a version or alias."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """A change that was made, and the state that its answer shows."""

    mapping: EventSourceMapping
    state: str


class EventSourceMappings:
    """The mappings of all accounts and regions. Used from one event loop."""

    def __init__(self, store: DocumentStore, clock: Clock, has_function: FunctionCheck) -> None:
        """Read everything from the store."""
        self._mappings: Collection[EventSourceMapping] = Collection(store, "mapping", encode=encode, decode=decode)
        self._index = MappingIndex()
        for key, mapping in self._mappings:
            self._index.changed(key, None, mapping)
        self._mappings.subscribe(self._index.changed)
        self._clock = clock
        self._has_function = has_function
        self._turn = asyncio.Lock()
        self._tasks: set[asyncio.Task[Accepted]] = set()

    async def close(self) -> None:
        """Wait until every accepted change is written."""
        while self._tasks:
            await asyncio.wait(self._tasks)
        await self._mappings.close()

    def get(self, scope: Scope, uuid: str) -> EventSourceMapping:
        """The mapping; raises ResourceNotFound."""
        return _existing(self.find(scope, uuid))

    def find(self, scope: Scope, uuid: str) -> EventSourceMapping | None:
        return self._mappings.get(Key(scope.account, scope.region, uuid))

    def page(
        self,
        scope: Scope,
        after: str,
        most: int,
        *,
        function: str | None = None,
        qualifier: str | None = None,
        source_arn: str | None = None,
    ) -> list[EventSourceMapping]:
        """Up to `most` mappings whose UUIDs sort behind `after`, in the order of these.

        function: of this one, with whatever qualifier unless `qualifier` names one. source_arn: of this source.
        """
        uuids = self._index.narrowed(scope, after, function=function, source_arn=source_arn)
        found: list[EventSourceMapping] = []
        for uuid in self._mappings.names(scope, after, most) if uuids is None else uuids:
            mapping = self.get(scope, uuid)
            if (
                function in (None, mapping.function)
                and qualifier in (None, mapping.qualifier)
                and source_arn in (None, mapping.settings.source_arn)
            ):
                found.append(mapping)
                if len(found) == most:
                    break
        return found

    async def create(self, scope: Scope, wanted: Wanted) -> Accepted:
        """A new mapping; its repetition by the same client request answers it again instead of a conflict."""
        return await self._in_turn(self._create(scope, wanted))

    async def update(self, scope: Scope, uuid: str, wanted: Wanted) -> Accepted:
        """Merge `wanted` into the mapping."""
        return await self._in_turn(self._update(scope, uuid, wanted))

    async def delete(self, scope: Scope, uuid: str) -> Accepted:
        """Delete the mapping, and answer it for the last time."""
        gone: list[EventSourceMapping] = []

        def decide(old: EventSourceMapping | None) -> None:
            gone[:] = [replace(_existing(old), modified_ms=self._clock.wall_ms())]

        await self._mappings.change(Key(scope.account, scope.region, uuid), decide)
        return Accepted(gone[0], "Deleting")

    def tags(self, arn: str, scope: Scope) -> Mapping[str, str]:
        """Raises ResourceNotFound in the words of the tag operations."""
        return _tagged(self.find(scope, _uuid(arn)), arn).tags

    async def change_tags(
        self, arn: str, scope: Scope, decide: Callable[[Mapping[str, str]], Mapping[str, str]]
    ) -> None:
        """Other tags. Raises ResourceNotFound in the words of the tag operations, and what `decide` raises."""

        def change(old: EventSourceMapping | None) -> EventSourceMapping:
            mapping = _tagged(old, arn)
            return replace(mapping, tags=decide(mapping.tags))

        await self._mappings.change(Key(scope.account, scope.region, _uuid(arn)), change)

    async def _create(self, scope: Scope, wanted: Wanted) -> Accepted:
        assert wanted.function is not None  # the model requires it
        now_ms, uuid = self._clock.wall_ms(), new_uuid()
        kind = kind_of(wanted.settings)
        settings = completed(kind, uuid, wanted.settings, now_ms)
        check_tags(wanted.tags)
        mapping = EventSourceMapping(
            scope,
            uuid,
            kind,
            wanted.function.name,
            wanted.qualifier,
            wanted.enabled is not False,
            now_ms,
            settings,
            wanted.tags,
            wanted.invocation_id,
        )
        self._check_function(wanted)
        others = self._same(mapping)
        repeated = next((one for one in others if is_repetition(mapping, one)), None)
        if repeated is None:
            check_duplicate(mapping, others)
            await self._mappings.change(key_of(mapping), lambda _: mapping)
        mapping = repeated or mapping
        return Accepted(mapping, "Creating" if mapping.enabled else mapping.state)

    async def _update(self, scope: Scope, uuid: str, wanted: Wanted) -> Accepted:
        def decide(old: EventSourceMapping | None) -> EventSourceMapping:
            mapping, now_ms = _existing(old), self._clock.wall_ms()
            settings = completed(mapping.kind, uuid, merged(mapping.settings, wanted.settings), now_ms)
            enabled = mapping.enabled if wanted.enabled is None else wanted.enabled
            new = replace(mapping, enabled=enabled, modified_ms=now_ms, settings=settings, invocation_id=None)
            if wanted.function is not None:
                new = replace(new, function=wanted.function.name, qualifier=wanted.qualifier)
                self._check_function(wanted)
                check_duplicate(new, self._same(new))
            return new

        mapping = await self._mappings.change(Key(scope.account, scope.region, uuid), decide)
        assert mapping is not None
        return Accepted(mapping, _UPDATES[wanted.enabled])

    def _same(self, mapping: EventSourceMapping) -> list[EventSourceMapping]:
        """The mappings that a rule over all mappings is about: those of the same identity."""
        return [self.get(mapping.scope, uuid) for uuid in self._index.same(mapping)]

    def _check_function(self, wanted: Wanted) -> None:
        assert wanted.function is not None
        if not self._has_function(wanted.function, wanted.qualifier):
            raise InvalidParameterValue("Function does not exist")

    async def _in_turn(self, change: Coroutine[Any, Any, Accepted]) -> Accepted:
        """Run to the end whatever happens to the caller, with no other creation or update beside it."""

        async def turn() -> Accepted:
            async with self._turn:
                return await change

        task = asyncio.get_running_loop().create_task(turn())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return await asyncio.shield(task)


_UPDATES = {None: "Updating", True: "Enabling", False: "Disabling"}
"""State in the answer to an update, by what it says of Enabled."""


def _existing(mapping: EventSourceMapping | None) -> EventSourceMapping:
    if mapping is None:
        raise ResourceNotFound("The resource you requested does not exist.")
    return mapping


def _uuid(arn: str) -> str:
    return arn.rpartition(":")[2]


def _tagged(mapping: EventSourceMapping | None, arn: str) -> EventSourceMapping:
    """The mapping that `arn` names, in every part of it."""
    if mapping is None or mapping.arn != arn:
        raise ResourceNotFound(f"Event source mapping not found: {arn}")
    return mapping
