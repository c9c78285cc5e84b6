"""Layer versions over SIGKILL: what was answered is there, what was deleted stays away, no number is used twice."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

from lambent.domain.clock import ManualClock
from lambent.domain.names import Scope
from lambent.layers.service import Layers
from lambent.stores.documents_sqlite import SqliteDocuments
from lambent.stores.functions_sqlite import MIGRATIONS
from lambent.stores.writer import Writer

SCOPE = Scope("123456789012", "us-east-1")
SERVER = """
import asyncio, sys
from pathlib import Path
from random import Random
from lambent.domain.clock import ManualClock
from lambent.domain.names import Scope
from lambent.layers.service import Content, Layers, WantedVersion
from lambent.packages.store import Package
from lambent.stores.documents_sqlite import SqliteDocuments
from lambent.stores.functions_sqlite import MIGRATIONS
from lambent.stores.writer import Writer

SCOPE = Scope("123456789012", "us-east-1")

async def main():
    layers = Layers(SqliteDocuments(Writer(Path(sys.argv[1]), MIGRATIONS)), ManualClock(), lambda scope, growth: None)
    life = int(sys.argv[2])

    async def work(worker):
        chance, name = Random(f"{life}-{worker}"), f"layer{worker % 3}"

        async def source():
            return Content(Package("d", "s", 1, 1))

        while True:
            if chance.random() < 0.5:
                made = await layers.publish(SCOPE, name, WantedVersion(), source)
                print("published", name, made.number, flush=True)
            else:
                newest = layers.versions(SCOPE, name, most=1)
                for one in newest:
                    print("deleting", name, one.number, flush=True)
                    await layers.delete(SCOPE, name, one.number)
                    print("deleted", name, one.number, flush=True)
            await asyncio.sleep(0)

    await asyncio.gather(*(work(worker) for worker in range(6)))

asyncio.run(main())
"""


def run_and_kill(path: Path, life: int, lines: int) -> list[tuple[str, str, int]]:
    """Let a server work until it has said `lines` lines, kill it, and answer all it managed to say."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    said: list[str] = []
    with subprocess.Popen(
        [sys.executable, "-c", SERVER, str(path), str(life)], env=environment, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        for line in server.stdout:
            said.append(line)
            if len(said) == lines:
                server.kill()
    found = (line.split() for line in said if line.endswith("\n"))
    return [(word, name, int(number)) for word, name, number in found]


def test_what_was_answered_survives_kill_9(tmp_path: Path) -> None:
    """Six lives of one directory."""
    path = tmp_path / "state.db"
    published: dict[str, set[int]] = defaultdict(set)
    deleting: dict[str, set[int]] = defaultdict(set)
    deleted: dict[str, set[int]] = defaultdict(set)
    unanswered: dict[str, set[int]] = defaultdict(set)
    for life, lines in enumerate([1, 7, 40, 150, 400, 900]):
        said = run_and_kill(path, life, lines)
        assert len(said) >= lines
        for word, name, number in said:
            if word == "published":
                assert number not in published[name] | unanswered[name], "a number was used twice"
            {"published": published, "deleting": deleting, "deleted": deleted}[word][name].add(number)

        async def look() -> dict[str, set[int]]:
            writer = Writer(path, MIGRATIONS)
            layers = Layers(SqliteDocuments(writer), ManualClock(), lambda scope, growth: None)
            found = {
                name: {one.number for one in layers.versions(SCOPE, name, most=100_000)} for name in list(published)
            }
            await layers.close()
            await writer.close()
            return found

        for name, numbers in asyncio.run(look()).items():
            assert published[name] - deleting[name] <= numbers
            assert not deleted[name] & numbers
            unanswered[name] |= numbers - published[name]
    assert sum(len(numbers) for numbers in deleted.values()) > 100
