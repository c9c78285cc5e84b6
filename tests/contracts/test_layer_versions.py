"""Layers over every document store: seeded histories with crashes against a plain model, and what a publication writes."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

import orjson
import pytest

from lambent.domain.clock import ManualClock
from lambent.domain.documents import DocumentStore, Key
from lambent.domain.names import Scope
from lambent.layers.model import LayerPolicy
from lambent.layers.moves import Grant, statement
from lambent.layers.service import Content, Layers, WantedVersion
from lambent.packages.store import Package
from lambent.stores.documents_memory import MemoryDocuments
from lambent.stores.documents_sqlite import SqliteDocuments
from lambent.stores.functions_sqlite import MIGRATIONS
from lambent.stores.writer import Writer

SCOPES = (Scope("123456789012", "us-east-1"), Scope("123456789012", "eu-west-1"))
NAMES = ("tools", "tools-2", "tools2")


class Power(Exception):
    """The power went out before a write."""


class Store:
    """A document store whose power can go out after some more writes, and which writes down what it is given."""

    def __init__(self, inner: DocumentStore) -> None:
        self._inner = inner
        self.writes_left: int | None = None
        self.written: list[tuple[str, bytes]] = []
        self.load = inner.load
        self.find = inner.find

    def _write(self, kind: str, document: bytes = b"") -> None:
        if self.writes_left == 0:
            raise Power
        if self.writes_left is not None:
            self.writes_left -= 1
        self.written.append((kind, document))

    async def create(self, kind: str, key: Key, document: bytes) -> None:
        self._write(kind, document)
        await self._inner.create(kind, key, document)

    async def swap(self, kind: str, key: Key, revision: int, document: bytes) -> None:
        self._write(kind, document)
        await self._inner.swap(kind, key, revision, document)

    async def delete(self, kind: str, key: Key, revision: int) -> None:
        self._write(kind)
        await self._inner.delete(kind, key, revision)


class World:
    """Layers over a store that can be opened again."""

    def __init__(self, directory: Path | None) -> None:
        self._directory = directory
        self._memory = MemoryDocuments()
        self._writer: Writer | None = None
        self.open()

    def open(self) -> None:
        inner: DocumentStore = self._memory
        if self._directory is not None:
            self._writer = Writer(self._directory / "state.db", MIGRATIONS)
            inner = SqliteDocuments(self._writer)
        self.store = Store(inner)
        self.layers = Layers(self.store, ManualClock(), lambda scope, growth: None)

    async def close(self) -> None:
        await self.layers.close()
        if self._writer is not None:
            await self._writer.close()

    async def publish(self, scope: Scope, name: str, size_bytes: int = 10, runtimes: Any = None) -> int:
        async def source() -> Content:
            digest = f"{scope.region}-{name}-{size_bytes}"
            return Content(Package(digest, "sha", size_bytes, size_bytes))

        wanted = WantedVersion(runtimes=runtimes)
        return (await self.layers.publish(scope, name, wanted, source)).number


@pytest.fixture(params=["memory", "sqlite"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> World:
    return World(None if request.param == "memory" else tmp_path)


class Model:
    """What must be there, as plainly as it can be said."""

    def __init__(self) -> None:
        self.sizes: dict[tuple[Scope, str], dict[int, int]] = {}
        self.used: dict[tuple[Scope, str], int] = {}

    def published(self, scope: Scope, name: str, number: int, size_bytes: int) -> None:
        assert number == self.used.get((scope, name), 0) + 1
        self.used[scope, name] = number
        self.sizes.setdefault((scope, name), {})[number] = size_bytes

    def check(self, layers: Layers) -> None:
        digests = set()
        for scope in SCOPES:
            everything = {name: self.sizes[at, name] for at, name in self.sizes if at == scope}
            assert layers.code_bytes(scope) == sum(sum(sizes.values()) for sizes in everything.values())
            there = sorted(name for name, sizes in everything.items() if sizes)
            assert [(name, one.number) for name, one in layers.latest(scope, most=99)] == [
                (name, max(everything[name])) for name in there
            ]
            for after in ("", *NAMES):
                found = layers.latest(scope, after=after, most=2)
                assert [name for name, _ in found] == [name for name in there if name > after][:2]
            for name, sizes in everything.items():
                digests |= {f"{scope.region}-{name}-{size}" for size in sizes.values()}
                for before in (None, 1, 3, 1_000):
                    numbers = sorted((one for one in sizes if before is None or one < before), reverse=True)
                    for most in (2, 99):
                        found_versions = layers.versions(scope, name, before=before, most=most)
                        assert [one.number for one in found_versions] == numbers[:most]
                        assert [one.size_bytes for one in found_versions] == [sizes[one] for one in numbers[:most]]
        assert layers.digests() == digests


async def crash(world: World, chance: Random, model: Model) -> None:
    """The power goes out at some write of a deletion or a publication; what was not answered may have happened."""
    scope, name = chance.choice(SCOPES), chance.choice(NAMES)
    sizes = model.sizes.get((scope, name), {})
    world.store.writes_left = chance.choice([0, 1])
    number = max(sizes, default=0)
    try:
        if chance.random() < 0.7 and number:
            await world.layers.delete(scope, name, number)
            del sizes[number]
        else:
            model.published(scope, name, await world.publish(scope, name, 7), 7)
    except Power:
        pass
    await world.close()
    world.open()


@pytest.mark.parametrize("seed", range(6))
def test_a_history_with_crashes_leaves_what_was_answered_and_uses_no_number_twice(world: World, seed: int) -> None:
    async def scenario() -> None:
        chance, model = Random(seed), Model()
        for number in range(60):
            scope, name = chance.choice(SCOPES), chance.choice(NAMES)
            sizes = model.sizes.get((scope, name), {})
            event = chance.choice(["publish"] * 3 + ["many", "delete", "delete newest", "grant", "crash"])
            if event == "publish":
                size = chance.randrange(1, 9)
                model.published(scope, name, await world.publish(scope, name, size), size)
            elif event == "many":
                made = await asyncio.gather(*(world.publish(scope, name, 3) for _ in range(4)))
                for one in sorted(made):
                    model.published(scope, name, one, 3)
            elif event == "crash":
                await crash(world, chance, model)
            elif event == "grant" and sizes:
                one = chance.choice(list(sizes))
                grant = Grant(f"s{number}", "111122223333")
                policy = await world.layers.grant(scope, name, one, grant)
                assert world.layers.policy(scope, name, one) == policy
            elif sizes:
                one = max(sizes) if event == "delete newest" else chance.choice(list(sizes))
                await asyncio.gather(*(world.layers.delete(scope, name, one) for _ in range(2)))
                del sizes[one]
            model.check(world.layers)
        await world.close()

    asyncio.run(scenario())


def test_numbers_stay_used_also_when_all_versions_are_gone_and_the_server_starts_again(world: World) -> None:
    async def scenario() -> None:
        scope = SCOPES[0]
        for _ in range(3):
            await world.publish(scope, "tools")
        for number in (2, 3, 1):
            await world.layers.delete(scope, "tools", number)
        await world.close()
        world.open()
        assert world.layers.latest(scope, most=9) == []
        assert await world.publish(scope, "tools") == 4
        await world.close()

    asyncio.run(scenario())


def test_a_publication_writes_one_version_however_many_there_are(world: World) -> None:
    """One document of one size, and the same functions called."""

    async def scenario() -> None:
        scope = SCOPES[0]
        await world.publish(scope, "tools")
        costs = []
        for others in (10, 400):
            while await world.publish(scope, "tools") < others:
                pass
            world.store.written.clear()
            calls = 0

            def count(frame: object, event: str, argument: object) -> None:
                nonlocal calls
                calls += event == "call"

            sys.setprofile(count)
            try:
                await world.publish(scope, "tools")
            finally:
                sys.setprofile(None)
            ((kind, document),) = world.store.written
            assert kind == "layer-version"
            costs.append((len(document), calls))
        (few_bytes, few_calls), (many_bytes, many_calls) = costs
        assert many_bytes - few_bytes <= 1  # one digit more
        assert abs(many_calls - few_calls) <= 20  # of the event loop's, which may turn once more
        await world.close()

    asyncio.run(scenario())


# Documents of earlier releases: all versions of a layer in one.


def version(number: int, **members: Any) -> dict[str, Any]:
    fixed = {"number": number, "digest": f"d{number}", "sha256_base64": "s", "size_bytes": number, "unpacked_bytes": 2}
    texts = {"created_ms": 1, "description": 'žluťoučký "k" \\ \n\U0001f40e', "license_info": ""}
    return {**fixed, **texts, **members}


ARN = "arn:aws:lambda:us-east-1:123456789012:layer:tools:5"
POLICY = {"revision_id": "r", "statements": [statement(Grant("s", "*", "o-0123456789"), ARN, "aws")]}
BEFORE: dict[tuple[Scope, str], dict[str, Any]] = {
    (SCOPES[0], "tools"): {
        "next_number": 7,
        "versions": [version(2, runtimes=[], architectures=["arm64"]), version(5, policy=POLICY)],
    },
    (SCOPES[1], "tools"): {"next_number": 2, "versions": [version(1)]},
    (SCOPES[0], "gone"): {"next_number": 4, "versions": []},
    (SCOPES[0], "many"): {"next_number": 301, "versions": [version(number) for number in range(1, 301)]},
}


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A data directory's state as the release before wrote it."""
    scripts = tmp_path / "scripts"
    scripts.mkdir()
    for file in sorted(MIGRATIONS.iterdir()):
        if file.name < "0004":
            (scripts / file.name).write_text(file.read_text())
    path = tmp_path / "state.db"

    async def write() -> None:
        writer = Writer(path, scripts)
        store = SqliteDocuments(writer)
        for (scope, name), document in BEFORE.items():
            await store.create("layer", Key(scope.account, scope.region, name), orjson.dumps(document))
        await store.create("mapping", Key("123456789012", "us-east-1", "m"), b'{"versions":[1]}')
        await writer.close()

    asyncio.run(write())
    return path


def check_converted(path: Path) -> None:
    async def scenario() -> None:
        world = World(path.parent)
        layers = world.layers
        for (scope, name), document in BEFORE.items():
            versions = layers.versions(scope, name, most=1_000)
            assert [one.number for one in reversed(versions)] == [one["number"] for one in document["versions"]]
            for found, stored in zip(reversed(versions), document["versions"], strict=True):
                assert found.description == stored["description"]
                assert found.digest == stored["digest"]
                assert found.runtimes == (() if "runtimes" in stored else None)
                assert found.architectures == (("arm64",) if "runtimes" in stored else None)
                assert found.policy == (LayerPolicy("r", tuple(POLICY["statements"])) if "policy" in stored else None)
        assert layers.code_bytes(SCOPES[0]) == 7 + 300 * 301 // 2
        for (scope, name), document in BEFORE.items():
            assert await world.publish(scope, name) == document["next_number"]
        await layers.delete(SCOPES[0], "tools", 5)
        assert await world.store.find("mapping", Key("123456789012", "us-east-1", "m")) == (1, b'{"versions":[1]}')
        await world.close()
        world.open()
        assert [one.number for one in world.layers.versions(SCOPES[0], "tools", most=9)] == [7, 2]
        await world.close()

    asyncio.run(scenario())


def test_documents_of_earlier_releases_are_converted_once(old: Path) -> None:
    check_converted(old)


@pytest.mark.parametrize("statements", [1, 2])
def test_a_conversion_that_is_cut_off_is_made_at_the_next_start(old: Path, statements: int) -> None:
    """The process ends within the conversion's transaction, after each of its statements."""
    script = next(file for file in MIGRATIONS.iterdir() if file.name.startswith("0004"))
    done = ";".join(script.read_text().split(";")[:statements])
    program = (
        "import os, sqlite3, sys\n"
        "connection = sqlite3.connect(sys.argv[1])\n"
        "connection.executescript('BEGIN IMMEDIATE;' + sys.argv[2])\n"
        "print(connection.execute(\"SELECT count(*) FROM documents WHERE kind = 'layer-version'\").fetchone()[0])\n"
        "sys.stdout.flush()\n"
        "os._exit(9)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program, str(old), f"{done};"], capture_output=True, text=True, timeout=60
    )
    assert (ended.returncode, ended.stdout) == (9, "303\n"), ended.stderr
    with closing(sqlite3.connect(old)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (3,)
    check_converted(old)
