"""Killed at any moment: what was acknowledged is there after the restart, and nothing is left under way."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lambent.domain.clock import SystemClock
from lambent.domain.names import FunctionRef, Scope
from lambent.functions.resting import summarised
from lambent.functions.service import Functions
from lambent.packages.store import Packages
from lambent.stores.functions_sqlite import MIGRATIONS, SqliteFunctions
from lambent.stores.writer import Writer

ROOT = Path(__file__).resolve().parents[3]
SCOPE = Scope("123456789012", "us-east-1")

CHILD = """
import asyncio, sys
from pathlib import Path
from tests.unit.functions.house import Machine, ref, wanted
from tests.unit.packages.test_archive import zipped
from lambent.domain.clock import SystemClock
from lambent.functions.model import Code
from lambent.domain.names import FunctionRef, Scope
from lambent.functions.service import Functions
from lambent.functions.wanted import Wanted
from lambent.packages.store import Packages
from lambent.stores.functions_sqlite import MIGRATIONS, SqliteFunctions
from lambent.stores.writer import Writer

home = Path(sys.argv[1])

async def main():
    functions = Functions(SqliteFunctions(Writer(home / "state.db", MIGRATIONS)), Machine(), SystemClock())
    packages = Packages(home / "packages", SystemClock())

    def source(content):
        async def fetch():
            package = await packages.put(zipped(("app.py", content.encode())))
            return Code(package.digest, package.sha256_base64, package.size_bytes, package.unpacked_bytes)
        return fetch

    async def life(name):
        await functions.create(ref(name), wanted(), source(name))
        print("created", name, 1, flush=True)
        for number in range(1, 1000):
            await functions.update_code(ref(name), source(f"{name}-{number}"))
            version = await functions.publish(ref(name))
            print("published", name, version.version, flush=True)

    await asyncio.gather(*(life(f"fn-{number}") for number in range(8)))

asyncio.run(main())
"""


class Machine:
    def missing(self, runtime: str, architecture: str, client: str, /) -> str | None:
        return None


@pytest.mark.parametrize("lines", [1, 9, 40, 90])
def test_what_was_acknowledged_survives_a_kill(tmp_path: Path, lines: int) -> None:
    environment = {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "PATH": "/usr/bin:/bin"}
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path)], stdout=subprocess.PIPE, cwd=ROOT, env=environment, text=True
    ) as child:
        assert child.stdout is not None
        said = [child.stdout.readline().split() for _ in range(lines)]
        child.send_signal(signal.SIGKILL)
        said += [line.split() for line in child.stdout.read().splitlines()]
    acknowledged: dict[str, int] = {}
    for kind, name, number in filter(lambda line: len(line) == 3, said):
        acknowledged[name] = max(acknowledged.get(name, 0), int(number) if kind == "published" else 0)
    assert acknowledged

    async def reopen() -> None:
        writer = Writer(tmp_path / "state.db", MIGRATIONS)
        store = SqliteFunctions(writer)
        for resting in store.load():
            assert resting.summary == summarised(store.wake(FunctionRef(*resting[:3]), resting.stored))
        functions = Functions(store, Machine(), SystemClock())
        await functions.start()
        packages = Packages(tmp_path / "packages", SystemClock())
        try:
            names = functions.names(SCOPE, "", 100)
            stored = {name: functions.get(FunctionRef(SCOPE.account, SCOPE.region, name)) for name in names}
            assert acknowledged.keys() <= stored.keys()
            for name, function in stored.items():
                assert all(one.is_settled for one in (function.latest, *function.versions.values()))
                numbers = [int(number) for number in function.versions]
                assert numbers == list(range(1, len(numbers) + 1))
                assert len(numbers) >= acknowledged.get(name, 0)
                assert function.next_version == len(numbers) + 1
            for digest in functions.digests():
                assert (packages.tree(digest) / "app.py").stat().st_size > 0
            assert not list(packages.directory.glob(".incoming-*"))
        finally:
            await functions.close()
            await writer.close()

    asyncio.run(reopen())
