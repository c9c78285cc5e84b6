"""Layers: the concept's one service. Everything is answered from memory, everything accepted is written first."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from ..domain.clock import Clock
from ..domain.documents import LINE_WAIT_S, WRITE_ATTEMPTS_MAX, Collection, Decision, DocumentStore, Key
from ..domain.errors import ResourceNotFound, ServiceFault
from ..domain.ids import new_uuid
from ..domain.names import Scope, layer_arn
from ..domain.turns import Turns
from ..packages.store import Package
from . import moves
from .model import (
    LAYER_KIND,
    VERSION_KIND,
    LayerPolicy,
    LayerVersion,
    decode,
    decode_next,
    encode,
    encode_next,
    layer_key,
    layer_of,
    version_key,
)
from .moves import Grant
from .shelf import Shelf

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Content:
    """A stored archive, and who signed it."""

    package: Package
    signing_profile_arn: str | None = None
    signing_job_arn: str | None = None


ContentSource = Callable[[], Awaitable[Content]]
"""Fetches, checks and stores a layer's archive; raises the caller's errors."""
RoomCheck = Callable[[Scope, int], None]
"""Whether an account may keep so many bytes of code more; raises CodeStorageExceeded."""


@dataclass(frozen=True, slots=True)
class WantedVersion:
    """What a publication says beside the content."""

    description: str = ""
    license_info: str = ""
    runtimes: tuple[str, ...] | None = None
    architectures: tuple[str, ...] | None = None


class Layers:
    """The layers of all accounts and regions. Used from one event loop; an index of layers for `functions`."""

    def __init__(self, store: DocumentStore, clock: Clock, check_room: RoomCheck) -> None:
        """Read everything from the store."""
        self._clock = clock
        self._check_room = check_room
        self._versions: Collection[LayerVersion] = Collection(store, VERSION_KIND, encode=encode, decode=decode)
        self._used: Collection[int] = Collection(store, LAYER_KIND, encode=encode_next, decode=decode_next)
        """The number next in line where the newest version was deleted; elsewhere that version says it."""
        self._shelf = Shelf()
        self._line = Turns()
        self._code_bytes: dict[Scope, int] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        for layer, number in self._used:
            self._shelf.reach(layer, number)
        for key, version in self._versions:
            self._changed(key, None, version)
        self._versions.subscribe(self._changed)

    async def close(self) -> None:
        """Wait until every accepted change is written."""
        while self._tasks:
            await asyncio.wait(self._tasks)
        await self._versions.close()
        await self._used.close()

    # What one can ask: synchronous, from memory.

    def get(self, scope: Scope, name: str, number: int) -> LayerVersion:
        """A layer version; raises InvalidParameterValue for a number below 1, ResourceNotFound when it is not there."""
        moves.check_number(number)
        version = self.find(scope, name, number)
        if version is None:
            raise ResourceNotFound("The resource you requested does not exist.")
        return version

    def find(self, scope: Scope, name: str, number: int) -> LayerVersion | None:
        """A layer version, or None."""
        return self._versions.get(version_key(layer_key(scope, name), number))

    def is_shared(self, scope: Scope, name: str, number: int, account: str) -> bool:
        """Whether the layer version exists and its policy lets another account use it."""
        version = self.find(scope, name, number)
        return version is not None and moves.allows(version.policy, account)

    def versions(
        self,
        scope: Scope,
        name: str,
        *,
        runtime: str | None = None,
        architecture: str | None = None,
        before: int | None = None,
        most: int,
    ) -> list[LayerVersion]:
        """Up to `most` matching versions with numbers below `before`, newest first; none of an unknown layer."""
        found: list[LayerVersion] = []
        for number in self._shelf.newest(layer_key(scope, name), before):
            if len(found) == most:
                break
            version = self.find(scope, name, number)
            if version is not None and version.is_compatible(runtime, architecture):
                found.append(version)
        return found

    def latest(
        self, scope: Scope, *, runtime: str | None = None, architecture: str | None = None, after: str = "", most: int
    ) -> list[tuple[str, LayerVersion]]:
        """Up to `most` layers behind `after` by name, each with its newest matching version; those without one are not
        among them."""
        found: list[tuple[str, LayerVersion]] = []
        for name in self._shelf.names(scope, after):
            if len(found) == most:
                break
            version = next(iter(self.versions(scope, name, runtime=runtime, architecture=architecture, most=1)), None)
            if version is not None:
                found.append((name, version))
        return found

    def policy(self, scope: Scope, name: str, number: int) -> LayerPolicy:
        """A version's policy; raises ResourceNotFound where the version or its policy is missing."""
        arn = layer_arn(scope, name, number)
        policy = moves.existing(self.find(scope, name, number), arn).policy
        if policy is None:
            raise ResourceNotFound("No policy is associated with the given resource.")
        return policy

    def code_bytes(self, scope: Scope) -> int:
        """Archive bytes of all layer versions of an account in a region, those being published included."""
        return self._code_bytes.get(scope, 0)

    def digests(self) -> set[str]:
        """Names of the packages of all layer versions: what a collection of packages has to keep."""
        return {version.digest for _, version in self._versions}

    # Changes.

    async def publish(self, scope: Scope, name: str, wanted: WantedVersion, source: ContentSource) -> LayerVersion:
        """A new version under the layer's next number. Raises what `source` raises, and CodeStorageExceeded."""
        content = await source()
        package = content.package
        made = LayerVersion(
            number=0,
            digest=package.digest,
            sha256_base64=package.sha256_base64,
            size_bytes=package.size_bytes,
            unpacked_bytes=package.unpacked_bytes,
            created_ms=self._clock.wall_ms(),
            description=wanted.description,
            license_info=wanted.license_info,
            runtimes=wanted.runtimes,
            architectures=wanted.architectures,
            signing_profile_arn=content.signing_profile_arn,
            signing_job_arn=content.signing_job_arn,
        )
        self._check_room(scope, made.size_bytes)
        return await asyncio.shield(self._counted(scope, made.size_bytes, self._publish(layer_key(scope, name), made)))

    async def _publish(self, layer: Key, made: LayerVersion) -> LayerVersion:
        """Write the version under the next number, behind the other publications of its layer: a number that is given
        out before its version is written would be missing if that write failed."""
        is_first = await self._line.take(layer, LINE_WAIT_S)
        try:
            for _ in range(WRITE_ATTEMPTS_MAX):
                version = replace(made, number=self._shelf.next_number(layer))
                key = version_key(layer, version.number)
                if await self._versions.change(key, _unless_taken(version)) is version:
                    return version
        finally:
            if is_first:
                self._line.give_back(layer)
        raise ServiceFault(f"layer {layer.name} changes faster than it can be written")

    async def delete(self, scope: Scope, name: str, number: int) -> None:
        """Delete a version; nothing happens when there is none. Functions that have it keep it."""
        moves.check_number(number)
        if self.find(scope, name, number) is not None:
            await asyncio.shield(self._spawn(self._delete(layer_key(scope, name), number)))

    async def _delete(self, layer: Key, number: int) -> None:
        """That the number is used is on disk before its version is gone, wherever no later version says so."""
        following = number + 1
        if self._shelf.next_number(layer) == following:
            await self._used.change(layer, lambda old: old if old is not None and old >= following else following)
        await self._versions.change(version_key(layer, number), lambda _: None)

    async def grant(
        self, scope: Scope, name: str, number: int, grant: Grant, *, revision_id: str | None = None
    ) -> LayerPolicy:
        """Add a statement to a version's policy; answers the policy."""
        arn, fresh = layer_arn(scope, name, number), new_uuid()

        def decide(old: LayerVersion | None) -> LayerVersion:
            return moves.granted(old, arn, scope.partition, grant, revision_id=revision_id, fresh=fresh)

        version = await self._versions.change(version_key(layer_key(scope, name), number), decide)
        assert version is not None
        assert version.policy is not None
        return version.policy

    async def revoke(
        self, scope: Scope, name: str, number: int, statement_id: str, *, revision_id: str | None = None
    ) -> None:
        """Remove a statement from a version's policy."""
        arn, fresh = layer_arn(scope, name, number), new_uuid()
        await self._versions.change(
            version_key(layer_key(scope, name), number),
            lambda old: moves.revoked(old, arn, statement_id, revision_id=revision_id, fresh=fresh),
        )

    def _counted(
        self, scope: Scope, size_bytes: int, publication: Coroutine[Any, Any, LayerVersion]
    ) -> asyncio.Task[LayerVersion]:
        """A publication whose growth is counted from the step that decides it, so that two of them side by side never
        exceed the limit together; when it stands, the listener counts it instead."""
        self._count(scope, size_bytes)
        task = self._spawn(publication)

        def counted(done: asyncio.Task[LayerVersion]) -> None:
            self._count(scope, -size_bytes)
            if not done.cancelled():
                done.exception()  # the caller may have left

        task.add_done_callback(counted)
        return task

    def _count(self, scope: Scope, growth_bytes: int) -> None:
        self._code_bytes[scope] = self._code_bytes.get(scope, 0) + growth_bytes

    def _changed(self, key: Key, old: LayerVersion | None, new: LayerVersion | None) -> None:
        before, after = (0 if version is None else version.size_bytes for version in (old, new))
        self._count(key.scope, after - before)
        if old is None and new is not None:
            self._shelf.put(layer_of(key), new.number)
        elif old is not None and new is None:
            self._shelf.remove(layer_of(key), old.number)

    def _spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _unless_taken(version: LayerVersion) -> Decision[LayerVersion]:
    return lambda old: old or version
