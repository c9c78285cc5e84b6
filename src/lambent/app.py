"""The server's way up and down: prepare as whoever started it, give up privilege, serve, stop.

What needs root (the data directory's ownership, a low port, the spawner) is done first and synchronously; then the
process becomes an ordinary user for good, and only then the event loop starts.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lambent import __version__
from lambent.assembly import node as nodes
from lambent.assembly.privileges import UnknownUser, become, server_identity
from lambent.commands.banner import render
from lambent.runtimes.discovery import Places
from lambent.runtimes.service import Runtimes, discover
from lambent.sandbox.choose import Chosen, NoTier, prepare_driver
from lambent.settings import Settings
from lambent.stores.datadir import DataDirectory, DataDirectoryError, open_data_directory
from lambent.stores.writer import StoreFormatError

log = logging.getLogger("lambent")


@dataclass(slots=True)
class Prepared:
    """What was made while the process still had the rights of whoever started it."""

    settings: Settings
    data: DataDirectory
    runtimes: Runtimes
    driver: Chosen
    listener: socket.socket


def main(settings: Settings, started_ns: int | None = None) -> int:
    """Run a server until it is told to stop; answers the exit status."""
    began_ns = started_ns or time.monotonic_ns()
    logging.basicConfig(level=logging.INFO, format="%(levelname).1s %(name)s: %(message)s", stream=sys.stderr)
    try:
        prepared = prepare(settings)
    except (DataDirectoryError, StoreFormatError, UnknownUser, NoTier) as error:
        print(f"lambent: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"lambent: {_plain(error, settings)}", file=sys.stderr)
        return 1
    with prepared.data:
        return _runner()(serve(prepared, began_ns))


def prepare(settings: Settings) -> Prepared:
    """Everything that may need privilege, and at the end the end of privilege."""
    identity = server_identity(settings.server.run_as)
    listener = _listen(settings.server.host, settings.server.port)
    low_water_bytes = settings.storage.disk_low_water_mb * 1_048_576
    data = open_data_directory(settings.server.data_dir, owner=identity, free_bytes_min=low_water_bytes)
    try:
        places = Places(os.environ.get("PATH", ""), Path.home(), data.runtimes)
        runtimes = asyncio.run(discover(places, data.runtimes))
        driver = prepare_driver(
            settings.sandbox.tier,
            instance=data.instance,
            packages_root=data.packages,
            state_dir=data.spawner,
            images=runtimes.images(),
            server=identity,
            is_public=not _is_loopback(settings.server.host),
        )
        if identity is not None:
            become(identity)
    except BaseException:
        data.close()
        listener.close()
        raise
    return Prepared(settings, data, runtimes, driver, listener)


async def serve(prepared: Prepared, began_ns: int) -> int:
    """Serve until SIGTERM, SIGINT, or the spawner's death."""
    loop = asyncio.get_running_loop()
    stopping: asyncio.Future[str] = loop.create_future()

    def stop(reason: str) -> None:
        if not stopping.done():
            stopping.set_result(reason)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, number.name)
    settings = prepared.settings
    driver = await prepared.driver.open(on_lost=lambda why: stop(f"the spawner is gone: {why}"))
    async with nodes.running(settings, prepared.data, prepared.runtimes, driver, prepared.listener) as node:
        facts = {
            "version": __version__,
            "endpoint": node.endpoint,
            "tier": driver.tier.name,
            "tier_reasons": driver.tier.missing,
            "runtimes": prepared.runtimes.names(),
            "missing": (),
            "data_dir": str(settings.server.data_dir),
            "started_ms": (time.monotonic_ns() - began_ns) / 1e6,
            "trusts": "every caller that can reach the endpoint"
            if not settings.server.verify_signatures
            else "callers whose signatures verify",
        }
        print(render(facts, colour=sys.stdout.isatty()), end="", flush=True)
        if settings.server.ready_file:
            _tell(Path(settings.server.ready_file), facts)
        reason = await stopping
        log.info("stopping: %s", reason)
    return 0 if reason.startswith("SIG") else 1


def _tell(path: Path, facts: dict[str, Any]) -> None:
    """Write the ready file in one step, so that whoever waits for it never reads half of it."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.write_text(json.dumps({"endpoint": facts["endpoint"], "tier": facts["tier"], "pid": os.getpid()}) + "\n")
    fresh.replace(path)


def _listen(host: str, port: int) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(4_096)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener


def _is_loopback(host: str) -> bool:
    return host in ("localhost", "::1") or host.startswith("127.")


def _plain(error: OSError, settings: Settings) -> str:
    where = f"{settings.server.host}:{settings.server.port}"
    if error.errno == 98:
        return f"{where} is in use: stop what listens there, or choose another port with --port"
    if error.errno == 13 and not error.filename:
        return f"{where} may not be listened on by this user: choose a port above 1023 with --port"
    return f"{error.filename or where}: {error.strerror}"


def _runner() -> Callable[[Coroutine[Any, Any, int]], int]:
    with contextlib.suppress(ImportError):
        import uvloop

        return uvloop.run
    return asyncio.run
