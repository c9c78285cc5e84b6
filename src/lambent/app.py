"""The server's way up and down: prepare as whoever started it, give up privilege, serve, stop.

What needs root (the data directory's ownership, a low port, the spawner) is done first and synchronously; then the
process becomes an ordinary user for good, and only then the event loop starts.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import gc
import json
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lambent import __version__
from lambent.assembly.keys import BadAccessKeys, access_keys
from lambent.assembly.outside import FROM_SETTINGS, outside
from lambent.assembly.privileges import UnknownUser, become, server_identity
from lambent.commands.banner import render
from lambent.http import listen
from lambent.runtimes.catalogue import IDENTIFIERS, State
from lambent.runtimes.discovery import Places
from lambent.runtimes.service import Runtimes, discover
from lambent.sandbox import choose
from lambent.sandbox.port import SandboxDriver, SandboxError
from lambent.settings import Settings, SettingsError
from lambent.stores.datadir import DataDirectory, DataDirectoryError, open_data_directory
from lambent.stores.writer import StoreFormatError

if TYPE_CHECKING:
    from lambent.assembly.secure import Secure

NODE = "lambent.assembly.node"
HASTY_S = 0.0001
"""How soon a thread that could go on asks for the interpreter while the program is imported: the spawner's answers are few,
and each waited 5 ms for the importing thread, as long as the spawner itself took."""

log = logging.getLogger("lambent")


@dataclass(slots=True)
class Prepared:
    """What was made while the process still had the rights of whoever started it."""

    settings: Settings
    data: DataDirectory
    runtimes: Runtimes
    driver: choose.Prepared
    listener: socket.socket
    secure: Secure | None
    """The listener of HTTPS, where there is one."""
    ready: int | None
    """Descriptor of the ready file: where it lies, the server's own user may not be able to write."""


def main(settings: Settings, started_ns: int | None = None) -> int:
    """Run a server until it is told to stop; answers the exit status."""
    began_ns = started_ns or time.monotonic_ns()
    logging.basicConfig(level=logging.INFO, format="%(levelname).1s %(name)s: %(message)s", stream=sys.stderr)
    try:
        prepared = prepare(settings)
    except SandboxError as error:
        print(f"lambent: {choose.refusal(settings.sandbox.tier, error)}", file=sys.stderr)
        return 1
    except (
        DataDirectoryError,
        StoreFormatError,
        UnknownUser,
        NotIsolated,
        BadAccessKeys,
        SettingsError,
    ) as error:
        print(f"lambent: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"lambent: {_plain(error, settings)}", file=sys.stderr)
        return 1
    with prepared.data:
        return _runner()(serve(prepared, began_ns))


def prepare(settings: Settings) -> Prepared:
    """Everything that may need privilege, and at the end the end of privilege.

    Meanwhile the rest of the program is imported in a thread: the spawner's answers are waited for anyway.
    """
    if settings.server.verify_signatures:
        access_keys(settings.server.access_keys, settings.server.default_account)  # refused now, not later
    beyond = outside(settings)
    _check_proxies(settings)
    identity = server_identity(settings.server.run_as)
    ready = None
    if settings.server.ready_file:
        ready = os.open(settings.server.ready_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    listener = listen(settings.server.host, settings.server.port)
    secure = _secure(settings, listener)
    low_water_bytes = settings.storage.disk_low_water_mb * 1_048_576
    data = open_data_directory(settings.server.data_dir, owner=identity, free_bytes_min=low_water_bytes)
    try:
        places = Places(os.environ.get("PATH", ""), Path.home(), data.runtimes)
        runtimes = discover(places, data.runtimes)
        with _imported_meanwhile() as is_imported:
            driver = choose.prepare(
                None if settings.sandbox.tier == "auto" else settings.sandbox.tier,
                instance=data.instance,
                packages_root=data.packages,
                images=runtimes.images(),
                state_dir=data.spawner,
                run_as=identity,
                outside=beyond,
            )
            try:
                _check_isolation(settings, driver.kind, driver.is_boundary)
                if identity is not None and (user := driver.function_user(*identity)) is not None:
                    runtimes.leave_out_of_reach(*user)
                is_imported()
                if identity is not None:
                    become(identity, (settings.server.data_dir,))
                if secure is not None:
                    secure.finish(data.path, settings.server.host)
            except BaseException:
                driver.abandon()
                raise
    except BaseException:
        data.close()
        listener.close()
        if secure is not None:
            secure.listener.close()
        raise
    return Prepared(settings, data, runtimes, driver, listener, secure, ready)


@contextlib.contextmanager
def _imported_meanwhile() -> Iterator[Callable[[], None]]:
    """Import the rest of the program in a thread during the block; what is given waits until that is done."""
    importing = threading.Thread(target=import_module, args=(NODE,), name="import", daemon=True)
    usual_s = sys.getswitchinterval()
    sys.setswitchinterval(HASTY_S)
    importing.start()
    try:
        yield importing.join
    finally:
        sys.setswitchinterval(usual_s)


def creatable(runtimes: Runtimes, today: datetime.date) -> list[str]:
    """Identifiers that functions can be created with here, today."""
    return [name for name in runtimes.names() if IDENTIFIERS[name].state(today) is not State.BLOCKED]


def missing(runtimes: Runtimes, today: datetime.date) -> list[str]:
    """What the service supports and this machine lacks, a sentence for each way to get it."""
    by_remedy: dict[str, list[str]] = {}
    for name, identifier in IDENTIFIERS.items():
        if identifier.family not in ("python", "nodejs") or identifier.state(today) is not State.SUPPORTED:
            continue
        said = runtimes.missing(name, runtimes.architecture)
        if said is not None:
            remedy = said.partition(": ")[2] or said
            key = "lambent runtimes add ID" if remedy.startswith("lambent runtimes add") else remedy
            by_remedy.setdefault(key, []).append(name)
    return [f"{', '.join(names)}: {remedy}" for remedy, names in by_remedy.items()]


def _check_proxies(settings: Settings) -> None:
    if settings.server.trusted_proxies:
        from lambent.gateway.forwarding import BadNetwork, read_networks  # by itself: not on the way to listening

        try:
            read_networks(settings.server.trusted_proxies)
        except BadNetwork as error:
            raise SettingsError("server.trusted_proxies", FROM_SETTINGS, str(error)) from None


def _secure(settings: Settings, listener: socket.socket) -> Secure | None:
    if not settings.tls.port:
        return None
    from lambent.assembly.secure import begin  # by itself: only where HTTPS is asked for

    try:
        return begin(settings)
    except OSError as error:
        listener.close()
        raise SettingsError("tls.port", FROM_SETTINGS, f"{settings.tls.port}: {error.strerror}") from None
    except SettingsError:
        listener.close()
        raise


class NotIsolated(Exception):
    """The best tier of this machine is no boundary, and others can reach the server."""


def _check_isolation(settings: Settings, kind: str, is_boundary: bool) -> None:
    if not is_boundary and settings.sandbox.tier != kind and not _is_loopback(settings.server.host):
        raise NotIsolated(
            f"this machine gives no isolation (`lambent doctor` says why), and {settings.server.host} can be reached by "
            f"others: listen on 127.0.0.1, or insist with --tier {kind}"
        )


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
    driver: SandboxDriver = prepared.driver.open()
    gone: asyncio.Future[None] | None = getattr(driver, "gone", None)
    if gone is not None:
        gone.add_done_callback(lambda _: stop("the spawner is gone, and with it every sandbox"))
    wall_date = datetime.datetime.now(datetime.UTC).date()
    from lambent.assembly.node import running

    async with running(
        settings, prepared.data, prepared.runtimes, driver, prepared.listener, secure=prepared.secure
    ) as node:
        facts = {
            "version": __version__,
            "endpoint": node.endpoint,
            "secure_endpoint": None if prepared.secure is None else prepared.secure.endpoint,
            "authority": None if prepared.secure is None else prepared.secure.authority,
            "tier": driver.tier.name,
            "tier_reasons": driver.tier.missing,
            "is_boundary": driver.tier.is_boundary,
            "runtimes": creatable(prepared.runtimes, wall_date),
            "missing": missing(prepared.runtimes, wall_date),
            "data_dir": str(settings.server.data_dir),
            "data_note": None
            if prepared.data.has_room()
            else f"less than {settings.storage.disk_low_water_mb:,} MB are free: new code and events are refused until there is "
            "room (storage.disk_low_water_mb)",
            "started_ms": (time.monotonic_ns() - began_ns) / 1e6,
            "trusts": "every caller that can reach the endpoint"
            if not settings.server.verify_signatures
            else "callers whose signatures verify",
            "region": settings.server.default_region,
            "access_key": settings.server.access_keys.strip(", ").partition(":")[0]
            if settings.server.verify_signatures
            else None,
        }
        print(render(facts, colour=sys.stdout.isatty()), end="", flush=True)
        if prepared.ready is not None:
            _tell(prepared.ready, facts)
        await node.prepare()
        # What was made until now lives as long as the server: the collector need not look at it again and again.
        gc.collect()
        gc.freeze()
        reason = await stopping
        log.info("stopping: %s", reason)
    return 0 if reason.startswith("SIG") else 1


def _tell(descriptor: int, facts: dict[str, Any]) -> None:
    """Fill the ready file, which was made empty beforehand, by one write; whoever waits takes it when it is not empty."""
    document = {"endpoint": facts["endpoint"], "tier": facts["tier"], "pid": os.getpid()}
    if facts["secure_endpoint"]:
        document |= {
            "secure_endpoint": facts["secure_endpoint"],
            "authority": facts["authority"] and str(facts["authority"]),
        }
    os.write(descriptor, json.dumps(document).encode() + b"\n")
    os.close(descriptor)


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
    """What runs the event loop: uvloop where it is installed."""
    with contextlib.suppress(ImportError):
        import uvloop

        return uvloop.run
    return asyncio.run
