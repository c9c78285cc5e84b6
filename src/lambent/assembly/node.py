"""One running node: every room made, connected, started and stopped, in that order and back.

`running` is a block: whatever way out of it is taken, nothing of the node is left.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lambent.api.door import PublicDoor
from lambent.api.ports import Authenticator
from lambent.api.query import IAM, STS, QueryDoor
from lambent.api.resources import (
    account,
    aliases,
    concurrency,
    event_invokes,
    policies,
    provisioned,
    runtime_management,
    urls,
)
from lambent.api.resources import functions as functions_resource
from lambent.api.resources import iam as iam_resource
from lambent.api.resources import layers as layers_resource
from lambent.api.resources import logs as logs_resource
from lambent.api.resources import mappings as mappings_resource
from lambent.api.resources import signing as signing_resource
from lambent.api.resources import sts as sts_resource
from lambent.api.resources import tags as tags_resource
from lambent.api.resources.invoke import InvokeDoor
from lambent.api.sizes import read_limit
from lambent.concurrency.admission import Admission
from lambent.domain.clock import Clock, SystemClock
from lambent.domain.errors import ResourceNotFound
from lambent.domain.limits import TENANT_ENVIRONMENTS_PER_1000
from lambent.domain.names import LATEST, FunctionRef, is_account
from lambent.environments.service import EnvironmentLimits, Environments
from lambent.functions.account import AccountLimits
from lambent.functions.model import Change, FunctionVersion
from lambent.functions.provisioned import wishes
from lambent.functions.service import Functions
from lambent.http import Limits as HttpLimits
from lambent.http import Reaper, Server, serve
from lambent.identity.model import Credential, MemoryCredentials
from lambent.identity.service import Roles
from lambent.identity.sessions import Sessions
from lambent.identity.sigv4 import SigV4
from lambent.identity.temporary import TemporaryCredentials
from lambent.invocations.destinations import Destinations
from lambent.invocations.events import EventService
from lambent.invocations.service import Invocations
from lambent.layers.service import Layers
from lambent.mappings.service import EventSourceMappings
from lambent.metering.ledger import Ledger
from lambent.packages.download import PREFIX as CODE_PREFIX
from lambent.packages.download import Downloads, Locations
from lambent.packages.source import S3Source
from lambent.packages.store import Packages
from lambent.runtimes.service import Runtimes
from lambent.sandbox.port import SandboxDriver
from lambent.settings import Settings
from lambent.signing.deployments import Signatures
from lambent.signing.service import SigningConfigs
from lambent.signing.trust import Trust
from lambent.stores.datadir import DataDirectory
from lambent.stores.documents_sqlite import SqliteDocuments
from lambent.stores.functions_sqlite import SqliteFunctions
from lambent.stores.queue_sqlite import SqliteEvents
from lambent.stores.writer import Writer
from lambent.telemetry.lines import LineSplitter, LogRate
from lambent.telemetry.logs import Logs
from lambent.telemetry.records import Retention
from lambent.telemetry.segments import FileRecords

from . import descriptors
from .accounts import OneAccount
from .blueprints import MachineBlueprints
from .carriers import SandboxCarriers
from .events import EventAttempts
from .outside import outside
from .usage import USAGE_PATH, UsageDoor

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
) -> AsyncIterator[Node]:
    """Run a node for the length of the block; `listener` is bound and becomes the node's.

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
        records = FileRecords(data.records, fsync_ms=settings.storage.ledger_fsync_ms)
        stack.callback(_close, records)
        retention = Retention(group_bytes_max=settings.logs.group_mb_max * 1_048_576, days_max=settings.logs.days)
        logs = Logs(records, clock, retention)

        low_water_bytes = settings.storage.disk_low_water_mb * 1_048_576
        packages = Packages(data.packages, clock, low_water_bytes=low_water_bytes)
        documents = SqliteDocuments(state)
        layers = Layers(documents, clock, lambda scope, growth: functions.check_room(scope, growth))
        stack.push_async_callback(layers.close)
        roles = Roles(documents, clock)
        stack.push_async_callback(roles.close)
        functions = Functions(
            SqliteFunctions(state),
            runtimes,
            clock,
            runtime_client=settings.runtimes.client,
            limits=AccountLimits(concurrent_executions=settings.limits.account_concurrency),
            merge_layers=packages.merge,
            other_code_bytes=layers.code_bytes,
            roles=roles,
            only_own_roles=settings.server.verify_signatures,
        )
        stack.push_async_callback(functions.close)
        trust = Trust(settings.signing.trust_dir)
        signatures = Signatures(trust, clock, _count)
        signing_configs = SigningConfigs(documents, clock, is_attached=functions.is_signing)
        stack.push_async_callback(signing_configs.close)

        admission = Admission(account_limit=settings.limits.account_concurrency)
        reaper = Reaper(clock)
        temporary = TemporaryCredentials(data.secret, clock)
        carriers = SandboxCarriers(clock, reaper, temporary)
        rate = LogRate(bytes_per_s=settings.logs.rate_kb_per_s * 1_024)
        environments = Environments(
            driver=driver,
            carriers=carriers,
            blueprints=MachineBlueprints(
                runtimes, data.packages, settings.runtimes.client, temporary, outside(settings)
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
                tenant_environments_max=tenant_environments_max(settings.limits.account_concurrency),
            ),
            wishes=lambda ref: wishes(functions.get(ref)) if functions.exists(ref) else {},
            allocated=admission.set_provisioned,
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

        keys = (
            access_keys(settings.server.access_keys, settings.server.default_account)
            if settings.server.verify_signatures
            else None
        )
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
        door = PublicDoor(authenticator, invoke)
        carriers.platform = door
        address = listener.getsockname()
        endpoint = f"http://{address[0]}:{address[1]}"
        locations = Locations(lambda: endpoint, data.secret, clock)
        source = S3Source(
            settings.s3.endpoint,
            data.runtimes.parent / "spawner",
            access_key=settings.s3.access_key,
            secret_key=settings.s3.secret_key,
            region=settings.s3.region,
        )
        stack.callback(source.close)
        downloads = Downloads(packages, locations)
        stack.push_async_callback(downloads.close)
        functions_resource.register(door, functions, packages, source, locations, signing_configs, signatures, layers)
        layers_resource.register(door, layers, packages, source, locations, signatures)
        signing_resource.register(door, signing_configs, functions)
        concurrency.register(door, functions)
        provisioned.register(door, functions, environments)
        account.register(door, functions)
        mappings = EventSourceMappings(documents, clock, functions.has)
        stack.push_async_callback(mappings.close)
        mappings_resource.register(door, mappings)
        tags_resource.register(
            door, functions, {"event-source-mapping": mappings, "code-signing-config": signing_configs}
        )
        event_invokes.register(door, functions)
        runtime_management.register(door, functions)
        urls.register(door, functions, lambda: address[1])
        aliases.register(door, functions)
        policies.register(door, functions)
        logs_resource.register(door, logs)
        iam = QueryDoor("iam", IAM, authenticator, door.running)
        sts = QueryDoor("sts", STS, authenticator, door.running)
        iam_resource.register(iam, roles)
        sessions = Sessions(
            roles, temporary, clock, lambda key: _account_of(key, keys, settings.server.default_account)
        )
        sts_resource.register(sts, sessions)
        door.mount_service("iam", iam)
        door.mount_service("sts", sts)
        door.mount_path(CODE_PREFIX.encode(), downloads)
        door.mount_path(USAGE_PATH, UsageDoor(Ledger(records), authenticator, clock))

        await functions.start()
        environments.start()
        for function in functions.awake():
            environments.provision(function.ref)
        events.start()
        stack.push_async_callback(events.stop, settings.server.drain_s)

        def in_use() -> set[str]:
            return functions.digests() | layers.digests()

        keeper = asyncio.get_running_loop().create_task(_keep(in_use, packages, records, retention, clock))
        stack.push_async_callback(_end, keeper)
        # The door reads beyond the published limits, to say which of them a request exceeds.
        http_limits = HttpLimits(connections=room.connections, body_bytes=read_limit("CreateFunction"))
        server = await serve(door, listener, http_limits, reaper=reaper)
        stack.callback(server.close)
        yield Node(endpoint, door, environments, invocations, server)
        invoke.is_draining = True
        await _drain(settings.server.drain_s, server, door, events, environments)


def _close(records: FileRecords) -> None:
    """A disk that takes nothing more does not keep the server from ending: what was answered has been written."""
    try:
        records.close()
    except OSError as error:
        log.error("the index of the last records could not be written, the next start reads them: %s", error.strerror)


async def _drain(
    grace_s: float, server: Server, door: PublicDoor, events: EventService, environments: Environments
) -> None:
    """Let everything that runs end for at most `grace_s`; what runs longer is then ended and answered as our failure."""
    answering = asyncio.create_task(server.drain(grace_s + LAST_ANSWERS_S), name="drain the connections")
    resting = asyncio.create_task(events.stop(grace_s), name="drain the events")
    await asyncio.wait((answering, resting), timeout=grace_s)
    await environments.close()
    await asyncio.gather(answering, resting)
    await door.drain(LAST_ANSWERS_S)


class BadAccessKeys(Exception):
    """The setting server.access_keys can't be read, or is needed and empty."""


def access_keys(text: str, default_account: str) -> MemoryCredentials:
    """The credentials that `server.access_keys` names. Raises BadAccessKeys without repeating a secret."""
    found = {}
    for number, item in enumerate(filter(None, (part.strip() for part in text.split(","))), 1):
        key, _, rest = item.partition(":")
        secret, _, account = rest.partition(":")
        account = account or (key if is_account(key) else default_account)
        if not key or not secret or not is_account(account):
            raise BadAccessKeys(f"item {number} of server.access_keys is not KEY:SECRET or KEY:SECRET:ACCOUNT")
        found[key] = Credential(secret, account)
    if not found:
        raise BadAccessKeys(
            "server.verify_signatures needs keys to verify with: name them in server.access_keys as KEY:SECRET"
        )
    return MemoryCredentials(found)


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


async def _keep(
    digests: Callable[[], set[str]], packages: Packages, records: FileRecords, retention: Retention, clock: Clock
) -> None:
    """Housekeeping: packages that are not among the `digests` in use, and logs beyond their retention, go."""
    while True:
        await asyncio.sleep(RETAIN_EVERY_S)
        await packages.collect(digests())
        await asyncio.to_thread(records.retain, retention, clock.wall_ms())


async def _end(task: asyncio.Task[Any]) -> None:
    task.cancel()
    await asyncio.wait([task])
