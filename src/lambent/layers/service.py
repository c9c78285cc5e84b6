"""Layers: the concept's one service. Everything is answered from memory, everything accepted is written first."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from ..domain.clock import Clock
from ..domain.documents import Collection, DocumentStore, Key
from ..domain.errors import ResourceNotFound
from ..domain.ids import new_uuid
from ..domain.names import Scope, layer_arn
from ..packages.store import Package
from . import moves
from .model import KIND, Layer, LayerPolicy, LayerVersion, decode, encode
from .moves import Grant


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
        self._layers: Collection[Layer] = Collection(store, KIND, encode=encode, decode=decode)
        self._code_bytes: dict[Scope, int] = {}
        self._publications: set[asyncio.Task[Layer | None]] = set()
        for key, layer in self._layers:
            self._count(key.scope, layer.code_bytes)
        self._layers.subscribe(self._changed)

    async def close(self) -> None:
        """Wait until every accepted change is written."""
        await self._layers.close()
        while self._publications:
            await asyncio.wait(self._publications)

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
        layer = self._layers.get(_key(scope, name))
        return None if layer is None else layer.versions.get(number)

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
        layer = self._layers.get(_key(scope, name)) or Layer()
        for version in moves.newest(layer, runtime, architecture):
            if len(found) == most:
                break
            if before is None or version.number < before:
                found.append(version)
        return found

    def latest(
        self, scope: Scope, *, runtime: str | None = None, architecture: str | None = None, after: str = "", most: int
    ) -> list[tuple[str, LayerVersion]]:
        """Up to `most` layers behind `after` by name, each with its newest matching version; those without one are not
        among them."""
        found: list[tuple[str, LayerVersion]] = []
        for name in self._layers.names(scope, after):
            if len(found) == most:
                break
            version = next(iter(self.versions(scope, name, runtime=runtime, architecture=architecture, most=1)), None)
            if version is not None:
                found.append((name, version))
        return found

    def policy(self, scope: Scope, name: str, number: int) -> LayerPolicy:
        """A version's policy; raises ResourceNotFound where the version or its policy is missing."""
        arn = layer_arn(scope, name, number)
        policy = moves.existing(self._layers.get(_key(scope, name)), number, arn).policy
        if policy is None:
            raise ResourceNotFound("No policy is associated with the given resource.")
        return policy

    def code_bytes(self, scope: Scope) -> int:
        """Archive bytes of all layer versions of an account in a region, those being published included."""
        return self._code_bytes.get(scope, 0)

    def digests(self) -> set[str]:
        """Names of the packages of all layer versions: what a collection of packages has to keep."""
        return {version.digest for _, layer in self._layers for version in layer.versions.values()}

    # Changes.

    async def publish(self, scope: Scope, name: str, wanted: WantedVersion, source: ContentSource) -> LayerVersion:
        """A new version under the layer's next number. Raises what `source` raises, and CodeStorageExceeded."""
        content = await source()
        package = content.package
        numbers: list[int] = []
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

        def decide(layer: Layer | None) -> Layer:
            new = moves.published(layer, made)
            numbers[:] = [new.next_number - 1]
            return new

        self._check_room(scope, made.size_bytes)
        layer = await asyncio.shield(
            self._counted(scope, made.size_bytes, self._layers.change(_key(scope, name), decide))
        )
        assert layer is not None
        return layer.versions[numbers[0]]

    async def delete(self, scope: Scope, name: str, number: int) -> None:
        """Delete a version; nothing happens when there is none. Functions that have it keep it."""
        await self._layers.change(_key(scope, name), lambda layer: moves.without_version(layer, number))

    async def grant(
        self, scope: Scope, name: str, number: int, grant: Grant, *, revision_id: str | None = None
    ) -> LayerPolicy:
        """Add a statement to a version's policy; answers the policy."""
        arn, fresh = layer_arn(scope, name, number), new_uuid()

        def decide(layer: Layer | None) -> Layer:
            return moves.granted(layer, number, arn, scope.partition, grant, revision_id=revision_id, fresh=fresh)

        layer = await self._layers.change(_key(scope, name), decide)
        policy = None if layer is None else layer.versions[number].policy
        assert policy is not None
        return policy

    async def revoke(
        self, scope: Scope, name: str, number: int, statement_id: str, *, revision_id: str | None = None
    ) -> None:
        """Remove a statement from a version's policy."""
        arn, fresh = layer_arn(scope, name, number), new_uuid()
        await self._layers.change(
            _key(scope, name),
            lambda layer: moves.revoked(layer, number, arn, statement_id, revision_id=revision_id, fresh=fresh),
        )

    def _counted(
        self, scope: Scope, size_bytes: int, change: Coroutine[Any, Any, Layer | None]
    ) -> asyncio.Task[Layer | None]:
        """A change whose growth is counted from the step that decides it, so that two publications side by side never
        exceed the limit together; when it stands, the listener counts it instead."""
        self._count(scope, size_bytes)
        task = asyncio.get_running_loop().create_task(change)
        self._publications.add(task)

        def counted(done: asyncio.Task[Layer | None]) -> None:
            self._publications.discard(done)
            self._count(scope, -size_bytes)
            if not done.cancelled():
                done.exception()  # the caller may have left

        task.add_done_callback(counted)
        return task

    def _count(self, scope: Scope, growth_bytes: int) -> None:
        self._code_bytes[scope] = self._code_bytes.get(scope, 0) + growth_bytes

    def _changed(self, key: Key, old: Layer | None, new: Layer | None) -> None:
        before, after = (0 if layer is None else layer.code_bytes for layer in (old, new))
        self._count(key.scope, after - before)


def _key(scope: Scope, name: str) -> Key:
    return Key(scope.account, scope.region, name)
