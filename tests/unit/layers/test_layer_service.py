"""The life of layers over a store: publication, storage, what a collection keeps, what survives."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from lambent.domain.clock import ManualClock
from lambent.domain.documents import Key
from lambent.domain.errors import CodeStorageExceeded, ResourceNotFound
from lambent.domain.names import Scope
from lambent.layers.moves import Grant
from lambent.layers.service import Content, ContentSource, Layers, WantedVersion
from lambent.packages.store import Package
from lambent.stores.documents_memory import MemoryDocuments

SCOPE, OTHER = Scope("123456789012", "us-east-1"), Scope("123456789012", "eu-west-1")


class SlowStore(MemoryDocuments):
    """Writes wait until the test opens the gate."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()
        self.gate.set()

    async def create(self, kind: str, key: Key, document: bytes) -> None:
        await self.gate.wait()
        await super().create(kind, key, document)


class Shelf:
    """A service with room for 1,000 bytes in each scope."""

    def __init__(self) -> None:
        self.store = SlowStore()
        self.clock = ManualClock()
        self.layers = self.open()

    def open(self) -> Layers:
        self.layers = Layers(self.store, self.clock, self.check)
        return self.layers

    def check(self, scope: Scope, growth_bytes: int) -> None:
        if self.layers.code_bytes(scope) + growth_bytes > 1_000:
            raise CodeStorageExceeded("Code storage limit exceeded.")

    async def publish(self, name: str = "l", content: str = "a", size_bytes: int = 100, scope: Scope = SCOPE) -> int:
        version = await self.layers.publish(scope, name, WantedVersion(), archive(content, size_bytes))
        return version.number


def archive(content: str, size_bytes: int) -> ContentSource:
    async def fetch() -> Content:
        await asyncio.sleep(0)
        return Content(Package(content * 64, f"sha-{content}", size_bytes, size_bytes * 3))

    return fetch


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


def run(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(scenario)


def test_versions_survive_a_restart(shelf: Shelf) -> None:
    async def scenario() -> None:
        wanted = WantedVersion("d", "MIT", ("python3.11",), ())
        version = await shelf.layers.publish(SCOPE, "l", wanted, archive("a", 100))
        assert (version.number, version.digest, version.size_bytes, version.unpacked_bytes) == (1, "a" * 64, 100, 300)
        assert (version.description, version.license_info, version.runtimes) == ("d", "MIT", ("python3.11",))
        await shelf.layers.grant(SCOPE, "l", 1, Grant("s", "*"))
        shelf.open()
        found = shelf.layers.find(SCOPE, "l", 1)
        assert found is not None
        assert found.policy is not None
        assert shelf.layers.is_shared(SCOPE, "l", 1, "999999999999")
        assert shelf.layers.code_bytes(SCOPE) == 100
        await shelf.layers.delete(SCOPE, "l", 1)
        shelf.open()
        assert shelf.layers.find(SCOPE, "l", 1) is None
        assert await shelf.publish() == 2  # identical content makes a new version all the same

    run(scenario())


def test_many_publications_at_once_have_a_number_each(shelf: Shelf) -> None:
    async def scenario() -> None:
        numbers = await asyncio.gather(*(shelf.publish(size_bytes=1) for _ in range(20)))
        assert sorted(numbers) == list(range(1, 21))
        assert shelf.layers.code_bytes(SCOPE) == 20

    run(scenario())


def test_storage_is_counted_by_version_limited_and_given_back(shelf: Shelf) -> None:
    async def scenario() -> None:
        await shelf.publish(size_bytes=600)
        await shelf.publish(size_bytes=300)  # the same archive counts again
        with pytest.raises(CodeStorageExceeded):
            await shelf.publish("other", size_bytes=101)
        assert shelf.layers.find(SCOPE, "other", 1) is None
        await shelf.publish(scope=OTHER, size_bytes=1_000)
        assert (shelf.layers.code_bytes(SCOPE), shelf.layers.code_bytes(OTHER)) == (900, 1_000)
        await shelf.layers.delete(SCOPE, "l", 1)
        assert shelf.layers.code_bytes(SCOPE) == 300

    run(scenario())


def test_publications_side_by_side_never_exceed_the_limit_together(shelf: Shelf) -> None:
    async def scenario() -> None:
        shelf.store.gate.clear()
        first = asyncio.ensure_future(shelf.publish("one", size_bytes=600))
        second = asyncio.ensure_future(shelf.publish("two", size_bytes=600))
        with pytest.raises(CodeStorageExceeded):
            await second
        first.cancel()  # its write goes on, and is counted on
        with pytest.raises(asyncio.CancelledError):
            await first
        with pytest.raises(CodeStorageExceeded):
            await shelf.publish("three", size_bytes=600)
        shelf.store.gate.set()
        await shelf.layers.close()
        assert shelf.layers.find(SCOPE, "one", 1) is not None
        assert shelf.layers.code_bytes(SCOPE) == 600

    run(scenario())


def test_a_write_that_fails_is_not_counted(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: object) -> None:
        raise OSError(5, "Input/output error")

    async def scenario() -> None:
        monkeypatch.setattr(shelf.store, "create", broken)
        with pytest.raises(OSError, match="Input/output"):
            await shelf.publish()
        assert shelf.layers.code_bytes(SCOPE) == 0

    run(scenario())


def test_packages_are_kept_while_a_version_is_listed(shelf: Shelf) -> None:
    async def scenario() -> None:
        await shelf.publish(content="a")
        await shelf.publish(content="b")
        await shelf.publish("other", content="b", scope=OTHER)
        assert shelf.layers.digests() == {"a" * 64, "b" * 64}
        await shelf.layers.delete(SCOPE, "l", 1)
        assert shelf.layers.digests() == {"b" * 64}

    run(scenario())


def test_scopes_do_not_see_each_other(shelf: Shelf) -> None:
    async def scenario() -> None:
        await shelf.publish()
        with pytest.raises(ResourceNotFound, match=r"^The resource you requested does not exist\.$"):
            shelf.layers.get(OTHER, "l", 1)
        assert shelf.layers.latest(OTHER, most=9) == []
        assert [name for name, _ in shelf.layers.latest(SCOPE, most=9)] == ["l"]

    run(scenario())


def test_policies_of_what_is_missing(shelf: Shelf) -> None:
    async def scenario() -> None:
        with pytest.raises(ResourceNotFound, match=r"^Layer version arn:aws:lambda:.*:layer:l:1 does not exist\.$"):
            shelf.layers.policy(SCOPE, "l", 1)
        await shelf.publish()
        with pytest.raises(ResourceNotFound, match=r"^No policy is associated with the given resource\.$"):
            shelf.layers.policy(SCOPE, "l", 1)
        first = await shelf.layers.grant(SCOPE, "l", 1, Grant("a", "*"))
        second = await shelf.layers.grant(SCOPE, "l", 1, Grant("b", "*"), revision_id=first.revision_id)
        assert second.revision_id != first.revision_id
        assert shelf.layers.policy(SCOPE, "l", 1) == second
        await shelf.layers.revoke(SCOPE, "l", 1, "a", revision_id=second.revision_id)
        assert shelf.layers.policy(SCOPE, "l", 1).revision_id != second.revision_id
        await shelf.layers.revoke(SCOPE, "l", 1, "b")
        with pytest.raises(ResourceNotFound, match=r"^No policy is associated"):
            shelf.layers.policy(SCOPE, "l", 1)

    run(scenario())
