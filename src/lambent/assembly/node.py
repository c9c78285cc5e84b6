"""One running node: every room made, connected, started and stopped, in that order and back.

`running` is a block: whatever way out of it is taken, nothing of the node is left.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lambent.api.bodies import BodyBudget, HeapCare
from lambent.api.door import PublicDoor
from lambent.api.ports import Authenticator
from lambent.api.resources.invoke import InvokeDoor
from lambent.api.sizes import read_limit
from lambent.concurrency.admission import Admission
from lambent.domain.clock import Clock, SystemClock
from lambent.domain.errors import ResourceNotFound
from lambent.domain.limits import STREAM_BURST_BYTES, TENANT_ENVIRONMENTS_PER_1000
from lambent.domain.names import LATEST, FunctionRef, is_account
from lambent.environments.service import EnvironmentLimits, Environments
from lambent.environments.streams import Bandwidth
from lambent.functions.account import AccountLimits
from lambent.functions.model import Change, FunctionVersion
from lambent.functions.provisioned import wishes
from lambent.functions.service import Functions
from lambent.http import Limits as HttpLimits
from lambent.http import Reaper, Server, serve
from lambent.identity.model import MemoryCredentials
from lambent.identity.sigv4 import SigV4
from lambent.identity.temporary import TemporaryCredentials
from lambent.invocations.destinations import Destinations
from lambent.invocations.events import EventService
from lambent.invocations.service import Invocations
from lambent.runtimes.service import Runtimes
from lambent.sandbox.port import SandboxDriver
from lambent.settings import Settings
from lambent.stores.datadir import DataDirectory
from lambent.stores.documents_sqlite import SqliteDocuments
from lambent.stores.functions_sqlite import SqliteFunctions
from lambent.stores.queue_sqlite import SqliteEvents
from lambent.stores.writer import Writer
from lambent.telemetry.lines import LineSplitter, LogRate
from lambent.telemetry.records import Retention
from lambent.telemetry.segments import FileRecords

from . import descriptors
from .accounts import OneAccount
from .blueprints import MachineBlueprints
from .carriers import SandboxCarriers
from .control import Control
from .events import EventAttempts
from .keys import access_keys
from .memory import Heap
from .outside import outside

if TYPE_CHECKING:
    from .secure import Secure

MIGRATIONS = Path(__file__).resolve().parent.parent / "stores" / "migrations"
SANDBOX_MB = 4
"""What one idle environment costs the machine, roughly; how many may exist follows from the memory budget."""
MEMORY_SHARE = 0.75
RETAIN_EVERY_S = 600.0
LAST_ANSWERS_S = 1.0
"""How long a stopping server takes, after its grace, to tell those who still wait that they wait in vain."""

log = logging.getLogger("lambent")


@dataclass(slots=True)
class Node:
    """What the outside may ask of a running node."""

    endpoint: str
    door: PublicDoor
    environments: Environments
    invocations: Invocations
    server: Server
    prepare: Callable[[], Awaitable[None]]
    """Makes what listening did not need; what is asked for earlier is made then."""


def environments_max(settings: Settings) -> int:
    """How many environments may exist at once."""
    if settings.limits.environments_max:
        return settings.limits.environments_max
    return max(1, memory_budget_mb(settings) // SANDBOX_MB)


def memory_budget_mb(settings: Settings) -> int:
    """What all environments should hold together: idle ones go for it, busy ones never do."""
    if settings.limits.memory_budget_mb:
        return settings.limits.memory_budget_mb
    return int(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1_048_576 * MEMORY_SHARE)


def _bandwidth(bytes_per_s: int) -> Bandwidth | None:
    """What a streamed response may use, where it is bounded."""
    return Bandwidth(STREAM_BURST_BYTES, bytes_per_s) if bytes_per_s else None


def tenant_environments_max(account_concurrency: int) -> int:
    """How many environments all tenants of an account may have."""
    return account_concurrency * TENANT_ENVIRONMENTS_PER_1000 // 1_000


@asynccontextmanager
async def running(
    settings: Settings,
    data: DataDirectory,
    runtimes: Runtimes,
    driver: SandboxDriver,
    listener: socket.socket,
    clock: Clock | None = None,
    limits: EnvironmentLimits | None = None,
    secure: Secure | None = None,
) -> AsyncIterator[Node]:
    """Run a node for the length of the block; `listener` is bound and becomes the node's, as is that of `secure`.

    limits: of the environments, instead of those that follow from the settings.
    """
    clock = clock or SystemClock()
    room = descriptors.budget(descriptors.raise_limit(), settings.server.connections_max, environments_max(settings))
    log.debug("room for %d connections and %d environments", room.connections, room.environments)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(driver.close)
        state = Writer(data.state_db, MIGRATIONS / "state")
        stack.push_async_callback(state.close)
        queue = Writer(data.queue_db, MIGRATIONS / "queue")
        stack.push_async_callback(queue.close)
        records = FileRecords(
            data.records,
            fsync_ms=settings.storage.ledger_fsync_ms,
            later=asyncio.get_running_loop().call_later,
        )
        stack.callback(_close, records)
        retention = Retention(group_bytes_max=settings.logs.group_mb_max * 1_048_576, days_max=settings.logs.days)

        keys = (
            access_keys(settings.server.access_keys, settings.server.default_account)
            if settings.server.verify_signatures
            else None
        )
        temporary = TemporaryCredentials(data.secret, clock)
        control = Control(
            settings,
            data,
            clock,
            SqliteDocuments(state),
            records,
            retention,
            temporary,
            count=_count,
            account_of=lambda key: _account_of(key, keys, settings.server.default_account),
        )
        stack.push_async_callback(control.close)
        functions = Functions(
            SqliteFunctions(state),
            runtimes,
            clock,
            runtime_client=settings.runtimes.client,
            limits=AccountLimits(concurrent_executions=settings.limits.account_concurrency),
            merge_layers=control.merge_layers,
            other_code_bytes=control.code_bytes,
            roles=control,
            only_own_roles=settings.server.verify_signatures,
            snapshots=True,
        )
        stack.push_async_callback(functions.close)
        control.functions = functions

        admission = Admission(account_limit=settings.limits.account_concurrency)
        reaper = Reaper(clock)
        carriers = SandboxCarriers(clock, reaper, temporary)
        rate = LogRate(bytes_per_s=settings.logs.rate_kb_per_s * 1_024)
        environments = Environments(
            driver=driver,
            carriers=carriers,
            blueprints=MachineBlueprints(
                runtimes,
                data.packages,
                settings.runtimes.client,
                temporary,
                outside(settings),
                settings.sandbox.zygotes,
            ),
            clock=clock,
            new_splitter=lambda version: _splitter(version, rate),
            record=records.append_other,
            current=lambda ref, qualifier: _current(functions, ref, qualifier),
            limits=limits
            or EnvironmentLimits(
                room.environments,
                settings.limits.idle_timeout_s,
                memory_budget_mb=memory_budget_mb(settings),
                blanks=settings.sandbox.blanks,
                waiting_max=settings.sandbox.waiting_max,
                has_zygotes=settings.sandbox.zygotes != "off",
                pool_mb=settings.sandbox.pool_mb,
                copies_ahead=settings.sandbox.copies_ahead_max,
                templates_max=settings.sandbox.templates_max,
                tenant_environments_max=tenant_environments_max(settings.limits.account_concurrency),
                bandwidth=_bandwidth(settings.limits.stream_bytes_per_s),
                awake_us=settings.server.awake_us,
            ),
            snapshot_taken=functions.snapshot_taken,
            wishes=lambda ref: wishes(functions.get(ref)) if functions.exists(ref) else {},
            allocated=admission.set_provisioned,
            has_disk=data.has_room,
        )
        stack.push_async_callback(environments.close)
        invocations = Invocations(admission=admission, environments=environments, append=records.append, clock=clock)
        attempts = EventAttempts(functions, invocations, clock, records.append_other)
        sink = Destinations(find=attempts.find, may_loop=attempts.may_loop, log=attempts.tell, metric=_count)
        events = EventService(
            SqliteEvents(queue, events_max=settings.limits.queued_events_max),
            clock,
            invoke=attempts.attempt,
            policy=attempts.policy,
            reserved=functions.reserved,
            on_success=sink,
            on_failure=sink,
            metric=_count,
            has_room=data.has_room,
        )

        def changed(change: Change) -> None:
            if change.kind == "deleted" and change.version is None:
                admission.forget(change.ref)
            else:
                admission.set_reserved(change.ref, functions.reserved(change.ref))
            environments.on_change(change)
            events.function_changed()

        functions.subscribe(changed)
        for function in functions.awake():
            admission.set_reserved(function.ref, function.reserved)

        authenticator: Authenticator = SigV4(
            clock,
            keys,
            default_account=settings.server.default_account,
            default_region=settings.server.default_region,
            is_verifying=settings.server.verify_signatures,
            temporary=temporary,
        )
        if not driver.tier.separates_accounts and settings.sandbox.tier != driver.tier.name:
            authenticator = OneAccount(
                authenticator, lambda: (scope.account for scope in functions.scopes()), driver.tier.name
            )
        invoke = InvokeDoor(
            versions=functions,
            invocations=invocations,
            events=events,
            clock=clock,
            supervise=environments.supervise,
        )
        control.bodies = BodyBudget(care=HeapCare(Heap(), asyncio.get_running_loop().call_later))
        door = PublicDoor(authenticator, invoke, bodies=control.bodies)
        carriers.platform = door
        control.environments, control.authenticator, control.door = environments, authenticator, door
        control.invocations = invocations
        control.address = listener.getsockname()[:2]
        control.mount()

        await functions.start()
        environments.start()
        for function in functions.awake():
            environments.provision(function.ref)
            for version in function.versions.values():
                environments.look(version)
        events.start()
        stack.push_async_callback(events.stop, settings.server.drain_s)

        keeper = asyncio.get_running_loop().create_task(_keep(control, records, retention, clock))
        stack.push_async_callback(_end, keeper)
        # The door reads beyond the published limits, to say which of them a request exceeds.
        http_limits = HttpLimits(connections=room.connections, body_bytes=read_limit("CreateFunction"))
        server = await serve(door, listener, http_limits, reaper=reaper)
        stack.callback(server.close)
        servers = [server]
        if secure is not None:
            servers.append(await serve(door, secure.listener, http_limits, reaper=reaper, tls=secure.context))
            stack.callback(servers[1].close)
        asyncio.get_running_loop().call_soon(_staff, state, queue)
        yield Node(control.endpoint, door, environments, invocations, server, control.prepare)
        invoke.is_draining = True
        control.refuse()
        await _drain(settings.server.drain_s, servers, door, events, environments)


def _close(records: FileRecords) -> None:
    """A disk that takes nothing more does not keep the server from ending: what was answered has been written."""
    try:
        records.close()
    except OSError as error:
        log.error("the index of the last records could not be written, the next start reads them: %s", error.strerror)


async def _drain_all(servers: list[Server], grace_s: float) -> None:
    await asyncio.gather(*(server.drain(grace_s) for server in servers))


async def _drain(
    grace_s: float, servers: list[Server], door: PublicDoor, events: EventService, environments: Environments
) -> None:
    """Let everything that runs end for at most `grace_s`; what runs longer is then ended and answered as our failure."""
    answering = asyncio.create_task(_drain_all(servers, grace_s + LAST_ANSWERS_S), name="drain the connections")
    resting = asyncio.create_task(events.stop(grace_s), name="drain the events")
    await asyncio.wait((answering, resting), timeout=grace_s)
    await environments.close()
    await asyncio.gather(answering, resting)
    await door.drain(LAST_ANSWERS_S)


def _account_of(key: str, keys: MemoryCredentials | None, default_account: str) -> str | None:
    """The account that a request with this access key would act in; None: it would be refused."""
    if keys is not None:
        credential = keys.find(key)
        return None if credential is None else credential.account
    return key if is_account(key) else default_account


def _splitter(version: FunctionVersion, rate: LogRate) -> LineSplitter:
    logging_ = version.configuration.logging
    return LineSplitter(
        log_format=logging_.format, application_log_level=logging_.application_level or "INFO", rate=rate
    )


def _current(functions: Functions, ref: FunctionRef, qualifier: str) -> FunctionVersion | None:
    try:
        return functions.resolve(ref, None if qualifier == LATEST else qualifier)
    except ResourceNotFound:
        return None


def _count(ref: FunctionRef, name: str, value: int) -> None:
    """Metrics are told when there is somebody to ask for them; until then the log at debug level."""
    log.debug("metric %s %s %d", ref.name, name, value)


async def _keep(control: Control, records: FileRecords, retention: Retention, clock: Clock) -> None:
    """Housekeeping: packages that nothing uses, and logs beyond their retention, go."""
    while True:
        await asyncio.sleep(RETAIN_EVERY_S)
        await control.packages.collect(control.digests())
        await asyncio.to_thread(records.retain, retention, clock.wall_ms())


def _staff(*writers: Writer) -> None:
    """Have every thread that will be needed, before a machine without a process id refuses one."""
    from lambent.domain.workers import WORKERS, full_pool  # not before listening

    for writer in writers:
        writer.start()
    asyncio.get_running_loop().set_default_executor(full_pool(WORKERS, "worker"))


async def _end(task: asyncio.Task[Any]) -> None:
    task.cancel()
    await asyncio.wait([task])
