"""A whole node in a thread of this process: real sandboxes and runtimes, with limits that a test chooses and state that
it can look at."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from tests.support import client

from lambent.assembly import node as nodes
from lambent.environments.environment import Environment
from lambent.environments.service import EnvironmentLimits
from lambent.runtimes.discovery import Places
from lambent.runtimes.service import discover
from lambent.sandbox import choose
from lambent.settings import LimitSettings, ServerSettings, Settings
from lambent.stores.datadir import open_data_directory

T = TypeVar("T")
SEEN_LIMIT_S = 60.0
LIMITS = EnvironmentLimits(environments_max=16, idle_timeout_s=600.0)


def seen(what: Callable[[], T], limit_s: float = SEEN_LIMIT_S) -> T:
    """Look until what is seen is true, and answer it."""
    until = time.monotonic() + limit_s
    while not (found := what()):
        if time.monotonic() > until:
            raise AssertionError(f"not seen in {limit_s} s, last: {found!r}")
        time.sleep(0.01)  # what other processes do can be looked at, not awaited
    return found


class LiveNode:
    """Clients of a node that runs, and a way onto its event loop."""

    def __init__(self, node: nodes.Node, loop: asyncio.AbstractEventLoop, tier: str, data_dir: Path) -> None:
        self.node = node
        self.tier = tier
        self.data_dir = data_dir
        self._loop = loop
        self.lambda_ = client("lambda", node.endpoint, max_pool_connections=64)
        self.logs = client("logs", node.endpoint)

    def on_loop(self, call: Callable[[], T]) -> T:
        """Run a plain call on the node's event loop."""

        async def run() -> T:
            return call()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(SEEN_LIMIT_S)

    def environments(self) -> list[Environment]:
        return self.on_loop(lambda: list(self.node.environments.all()))

    def count(self) -> int:
        return self.on_loop(lambda: self.node.environments.count)

    def invoke(self, name: str, payload: Any = None, **options: Any) -> tuple[dict[str, Any], Any]:
        answer = self.lambda_.invoke(FunctionName=name, Payload=json.dumps(payload).encode(), **options)
        body = answer["Payload"].read()
        return answer, json.loads(body) if body else None

    def tail(self, name: str, payload: Any = None, **options: Any) -> tuple[str, Any]:
        answer, body = self.invoke(name, payload, LogType="Tail", **options)
        return base64.b64decode(answer["LogResult"]).decode(), body

    def log(self, name: str) -> list[str]:
        """Every line of a function's log, in the order of its streams' events."""
        lines: list[str] = []
        token: dict[str, str] = {}
        while True:
            page = self.logs.filter_log_events(logGroupName=f"/aws/lambda/{name}", **token)
            lines += [event["message"] for event in page["events"]]
            if "nextToken" not in page:
                return lines
            token = {"nextToken": page["nextToken"]}

    def streams(self, name: str) -> list[str]:
        found = self.logs.describe_log_streams(logGroupName=f"/aws/lambda/{name}")["logStreams"]
        return [stream["logStreamName"] for stream in found]

    def close(self) -> None:
        self.lambda_.close()
        self.logs.close()


@contextmanager
def live_node(
    limits: EnvironmentLimits = LIMITS,
    *,
    tier: str | None = None,
    account_concurrency: int = 1_000,
    again: Path | None = None,
    stock: Callable[[Path], None] = lambda runtimes: None,
) -> Iterator[LiveNode]:
    """Run a node for the length of the block; tier None: the best of this machine.

    again: a directory in which one has run before, or is to run again; the caller removes it. stock: puts what was added
    into the directory of runtimes, before it is looked at.
    """
    base = again or Path(tempfile.mkdtemp(prefix="lambent-node-"))
    base.chmod(0o755)
    settings = Settings(
        server=ServerSettings(data_dir=base / "data"),
        limits=replace(LimitSettings(), account_concurrency=account_concurrency),
    )
    try:
        with open_data_directory(base / "data") as data:
            stock(data.runtimes)
            runtimes = discover(Places(os.environ.get("PATH", ""), Path.home(), data.runtimes), data.runtimes)
            driver = choose.prepare(
                tier,
                instance=data.instance,
                packages_root=data.packages,
                images=runtimes.images(),
                state_dir=data.spawner,
            )
            listener = socket.create_server(("127.0.0.1", 0))
            listener.setblocking(False)
            started: list[LiveNode] = []
            broken: list[BaseException] = []
            is_up, is_over = threading.Event(), threading.Event()

            async def main() -> None:
                loop = asyncio.get_running_loop()
                over = loop.create_future()
                opened = driver.open()
                async with nodes.running(settings, data, runtimes, opened, listener, limits=limits) as node:
                    started.append(LiveNode(node, loop, opened.tier.name, base / "data"))
                    node_loops.append((loop, over))
                    is_up.set()
                    await over

            node_loops: list[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = []

            def run() -> None:
                try:
                    asyncio.run(main())
                except BaseException as error:
                    broken.append(error)
                finally:
                    is_up.set()
                    is_over.set()

            thread = threading.Thread(target=run, name="node")
            thread.start()
            try:
                is_up.wait()
                if not broken:
                    yield started[0]
            finally:
                for loop, over in node_loops:
                    loop.call_soon_threadsafe(over.set_result, None)
                for node in started:
                    node.close()
                thread.join()
            if broken:
                raise broken[0]
    finally:
        if again is None:
            shutil.rmtree(base)
