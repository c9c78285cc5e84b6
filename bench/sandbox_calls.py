"""What do a sandbox's calls cost a server, each after an idle gap, as a cold start meets them? Milliseconds.

    sudo python bench/sandbox_calls.py [container|rootless] [ROUNDS] [GAP_MS]

The clock runs from the call to its answer on an asyncio loop, spawner and kernel included. `start` ends when the fork is
reported; `first word` when a static program's first byte is read from the log pipe. Other load makes all of it worse:
the host's load is printed beside.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Awaitable
from pathlib import Path
from typing import TypeVar

from lambent.sandbox.choose import prepare
from lambent.sandbox.port import Binding, Command, Exit, Image, Limits

T = TypeVar("T")
LIMITS = Limits(memory_mb=128, cpu_vcpus=128 / 1769, processes_max=1024, descriptors_max=1024, tmp_mb=512)
CODE = "c0de" * 16
samples: dict[str, list[float]] = defaultdict(list)


async def timed(name: str, call: Awaitable[T]) -> T:
    start_ns = time.perf_counter_ns()
    result = await call
    samples[name].append((time.perf_counter_ns() - start_ns) / 1e6)
    return result


async def one(driver: object, gap_s: float) -> None:
    sandbox = await timed("create", driver.create("base", LIMITS))  # type: ignore[attr-defined]
    await asyncio.sleep(gap_s)
    await timed("bind", sandbox.bind(Binding(CODE, None, LIMITS)))
    await asyncio.sleep(gap_s)
    ended: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()
    start_ns = time.perf_counter_ns()
    command = Command(["/bin/echo", "x"], {}, "/var/task", None)
    log = await timed("start", sandbox.start(command, ended.set_result))
    readable = asyncio.Event()
    asyncio.get_running_loop().add_reader(log, readable.set)
    await readable.wait()
    samples["first word (echo, dynamic)"].append((time.perf_counter_ns() - start_ns) / 1e6)
    await ended
    asyncio.get_running_loop().remove_reader(log)
    os.close(log)
    await asyncio.sleep(gap_s)
    start_ns = time.perf_counter_ns()
    for _ in range(100):
        sandbox.usage()
    samples["usage"].append((time.perf_counter_ns() - start_ns) / 1e8)
    await timed("set_cpu", sandbox.set_cpu(None))
    await timed("freeze", sandbox.freeze())
    await timed("thaw", sandbox.thaw())
    await asyncio.sleep(gap_s)
    await timed("destroy", sandbox.destroy())
    await asyncio.sleep(gap_s)


def make_place() -> Path:
    place = Path(tempfile.mkdtemp(prefix="lambent-bench-"))
    place.chmod(0o755)
    (place / "packages" / CODE / "tree").mkdir(parents=True)
    (place / "state").mkdir()
    os.chown(place / "state", 65534, 65534)
    return place


async def main(kind: str, rounds: int, gap_s: float) -> None:
    place = make_place()
    try:
        start_ns = time.perf_counter_ns()
        driver = prepare(
            kind,
            instance=f"bench-{os.getpid()}",
            packages_root=place / "packages",
            images=(Image("base", ()),),
            state_dir=place / "state",
            run_as=(65534, 65534),
        ).open()
        print(f"spawner up and one blank tried: {(time.perf_counter_ns() - start_ns) / 1e6:.1f} ms")
        for _ in range(rounds // 10 + 1):
            await one(driver, gap_s)
        samples.clear()
        for _ in range(rounds):
            await one(driver, gap_s)
        begin = time.perf_counter()
        loops = max(20, rounds)
        for _ in range(loops):
            sandbox = await driver.create("base", LIMITS)
            await sandbox.destroy()
        rate = loops / (time.perf_counter() - begin)
        await driver.close()
    finally:
        shutil.rmtree(place)
    print(f"{kind}, {rounds} rounds, gap {gap_s * 1000:.0f} ms, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}")
    for name, values in samples.items():
        values.sort()
        p90 = values[int(len(values) * 0.9)]
        print(f"{name:28} p50 {statistics.median(values):8.3f}  p10 {values[len(values) // 10]:8.3f}  p90 {p90:8.3f}")
    print(f"create + destroy in a loop: {rate:.0f}/s")


if __name__ == "__main__":
    arguments = dict(enumerate(sys.argv[1:]))
    asyncio.run(main(arguments.get(0, "container"), int(arguments.get(1, "40")), float(arguments.get(2, "50")) / 1000))
