"""What is asked of a server beside running functions, made when it is asked for, or soon after the server listens.

Running a function needs none of it, and importing it took more than half of a start. Each part is made once, on first
use; `prepare` makes those that the first function needs, one after the other, as soon as the server listens.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from importlib import import_module
from typing import TYPE_CHECKING

from lambent.api.resources import LOGS_TARGET, OPERATIONS

if TYPE_CHECKING:
    from lambent.api.bodies import BodyBudget
    from lambent.api.door import PublicDoor
    from lambent.api.ports import Authenticator
    from lambent.api.query import QueryDoor
    from lambent.api.resources.logs import LogsResource
    from lambent.assembly.http_apis import HttpApiParts
    from lambent.assembly.pools import PoolsDoor
    from lambent.assembly.usage import UsageDoor
    from lambent.domain.clock import Clock
    from lambent.domain.documents import DocumentStore
    from lambent.domain.names import FunctionRef, Scope
    from lambent.environments.service import Environments
    from lambent.functions.service import Functions
    from lambent.gateway.forwarding import Forwarding
    from lambent.gateway.locating import Locator
    from lambent.gateway.url_logs import UrlLog
    from lambent.gateway.urls import UrlDoor
    from lambent.http import Application, Buffered, Exchange, Streamed
    from lambent.identity.service import Roles
    from lambent.identity.sessions import Sessions
    from lambent.identity.temporary import TemporaryCredentials
    from lambent.invocations.service import Invocations
    from lambent.layers.service import Layers
    from lambent.mappings.service import EventSourceMappings
    from lambent.packages.download import Downloads, Locations
    from lambent.packages.source import S3Source
    from lambent.packages.store import Packages
    from lambent.settings import Settings
    from lambent.signing.deployments import Signatures
    from lambent.signing.service import SigningConfigs
    from lambent.stores.datadir import DataDirectory
    from lambent.telemetry.records import Records, Retention

CODE_PREFIX = b"/_lambent/code/"
USAGE_PATH = b"/_lambent/usage"
POOLS_PATH = b"/_lambent/pools"
HTTP_API_PATH = b"/_aws/execute-api/"
HTTP_API_HOSTS = b".execute-api."
URL_HOST_PART = b".lambda-url."
URL_PATH_PREFIX = b"/_lambent/url/"

AHEAD = (
    "lambent.runtime_api.frame_channel",
    "lambent.runtime_api.http_door",
    "lambent.functions.rules",
    "lambent.api.resources.configurations",
    "lambent.packages.archive",
    "lambent.packages.store",
    "lambent.packages.source",
    "lambent.packages.download",
    "lambent.layers.service",
    "lambent.signing.deployments",
    "lambent.signing.service",
    "lambent.api.resources.functions",
)
"""What `prepare` imports, a step each: none holds the event loop for more than some milliseconds. It is what the first function
needs, whoever it is created by; all else costs the first request about it some milliseconds, and nobody else memory."""


@dataclass(eq=False, slots=True)
class Later:
    """An application that is made for its first request."""

    make: Callable[[], Application]

    def head(self, exchange: Exchange) -> Buffered | Streamed | None:
        return exchange.delegate(self.make())

    def handle(self, exchange: Exchange) -> None:
        raise AssertionError("the exchange was delegated at its head")

    def too_large(self, exchange: Exchange, limit: int, declared: int | None) -> None:
        raise AssertionError("the exchange was delegated at its head")


@dataclass(eq=False)
class Control:
    """The parts, made from what every node has. `functions` and whatever else is needed first by a request is set when
    it exists; nothing here is asked for before."""

    settings: Settings
    data: DataDirectory
    clock: Clock
    documents: DocumentStore
    records: Records
    retention: Retention
    temporary: TemporaryCredentials
    count: Callable[[FunctionRef, str, int], None]
    account_of: Callable[[str], str | None]
    functions: Functions = field(init=False)
    environments: Environments = field(init=False)
    invocations: Invocations = field(init=False)
    bodies: BodyBudget = field(init=False)
    authenticator: Authenticator = field(init=False)
    door: PublicDoor = field(init=False)
    address: tuple[str, int] = field(init=False)

    # Concepts

    @cached_property
    def packages(self) -> Packages:
        from lambent.packages.store import Packages

        low_water_bytes = self.settings.storage.disk_low_water_mb * 1_048_576
        return Packages(self.data.packages, self.clock, low_water_bytes=low_water_bytes)

    @cached_property
    def layers(self) -> Layers:
        from lambent.layers.service import Layers

        return Layers(self.documents, self.clock, lambda scope, growth: self.functions.check_room(scope, growth))

    @cached_property
    def roles(self) -> Roles:
        from lambent.identity.service import Roles

        return Roles(self.documents, self.clock)

    @cached_property
    def mappings(self) -> EventSourceMappings:
        from lambent.mappings.service import EventSourceMappings

        return EventSourceMappings(self.documents, self.clock, self.functions.has)

    @cached_property
    def signing_configs(self) -> SigningConfigs:
        from lambent.signing.service import SigningConfigs

        return SigningConfigs(self.documents, self.clock, is_attached=self.functions.is_signing)

    @cached_property
    def signatures(self) -> Signatures:
        from lambent.signing.deployments import Signatures
        from lambent.signing.trust import Trust

        return Signatures(Trust(self.settings.signing.trust_dir), self.clock, self.count)

    @cached_property
    def source(self) -> S3Source:
        from lambent.packages.source import S3Source

        s3 = self.settings.s3
        return S3Source(
            s3.endpoint,
            self.data.runtimes.parent / "spawner",
            access_key=s3.access_key,
            secret_key=s3.secret_key,
            region=s3.region,
        )

    # What functions ask of the others

    def code_bytes(self, scope: Scope) -> int:
        """Archive bytes of an account's layers."""
        return self.layers.code_bytes(scope)

    def trusts(self, arn: str, service: str) -> bool | None:
        """As `Roles.trusts`."""
        return self.roles.trusts(arn, service)

    async def merge_layers(self, digests: Sequence[str]) -> None:
        """As `Packages.merge`."""
        await self.packages.merge(digests)

    def digests(self) -> set[str]:
        """Packages in use."""
        return self.functions.digests() | self.layers.digests()

    # Doors

    @property
    def endpoint(self) -> str:
        host = f"[{self.address[0]}]" if ":" in self.address[0] else self.address[0]
        return f"http://{host}:{self.address[1]}"

    @cached_property
    def locations(self) -> Locations:
        from lambent.packages.download import Locations

        return Locations(lambda: self.endpoint, self.data.secret, self.clock)

    @cached_property
    def downloads(self) -> Downloads:
        from lambent.packages.download import Downloads

        return Downloads(self.packages, self.locations)

    @cached_property
    def usage(self) -> UsageDoor:
        from lambent.assembly.usage import UsageDoor
        from lambent.metering.ledger import Ledger

        return UsageDoor(Ledger(self.records), self.authenticator, self.clock)

    @cached_property
    def pools(self) -> PoolsDoor:
        from lambent.assembly.pools import PoolsDoor

        return PoolsDoor(self.environments.blanks, self.authenticator)

    @cached_property
    def locator(self) -> Locator:
        from lambent.gateway.locating import Locator

        return Locator(lambda: self.address[1], self.settings.server.url_domain)

    @cached_property
    def urls(self) -> UrlDoor:
        from lambent.gateway.urls import UrlDoor

        return UrlDoor(
            functions=self.functions,
            invocations=self.invocations,
            authenticator=self.authenticator,
            clock=self.clock,
            supervise=self.environments.supervise,
            admit=self.bodies.admit,
            user_id=self.sessions.user_id,
            forwarding=self.forwarding,
            domain=self.settings.server.url_domain,
            log=self.url_log,
        )

    @property
    def url_log(self) -> UrlLog | None:
        from lambent.gateway.url_logs import UrlLog

        server = self.settings.server
        if not server.url_log_group:
            return None
        return UrlLog(server.url_log_group, server.url_log_format, self.records.append_other, self.clock)

    @cached_property
    def forwarding(self) -> Forwarding:
        from lambent.gateway.forwarding import Forwarding, read_networks

        return Forwarding(read_networks(self.settings.server.trusted_proxies))

    @cached_property
    def sessions(self) -> Sessions:
        from lambent.identity.sessions import Sessions

        return Sessions(self.roles, self.temporary, self.clock, self.account_of)

    @cached_property
    def logs(self) -> LogsResource:
        from lambent.api.resources.logs import LogsResource
        from lambent.telemetry.logs import Logs

        return LogsResource(Logs(self.records, self.clock, self.retention))

    @cached_property
    def iam(self) -> QueryDoor:
        from lambent.api.query import IAM, QueryDoor
        from lambent.api.resources import iam

        door = QueryDoor("iam", IAM, self.authenticator, self.door.running)
        iam.register(door, self.roles)
        return door

    @cached_property
    def sts(self) -> QueryDoor:
        from lambent.api.query import STS, QueryDoor
        from lambent.api.resources import sts

        door = QueryDoor("sts", STS, self.authenticator, self.door.running)
        sts.register(door, self.sessions)
        return door

    @cached_property
    def http_apis(self) -> HttpApiParts:
        from lambent.assembly.http_apis import HttpApiParts, Rooms

        return HttpApiParts(
            Rooms(
                self.settings,
                self.clock,
                self.documents,
                self.records.append_other,
                self.functions,
                self.invocations,
                self.environments.supervise,
                self.authenticator,
                self.door,
                self.bodies.admit,
                self.sessions.user_id,
                self.forwarding,
                self.locator,
            )
        )

    def mount(self) -> None:
        """Tell the door where everything is to be had."""
        door = self.door
        for module, operations in OPERATIONS.items():
            door.register_later(operations, partial(self._register, module))
        door.mount_target(LOGS_TARGET, lambda caller, operation, values: self.logs.handle(caller, operation, values))
        door.mount_service("iam", Later(lambda: self.iam))
        door.mount_service("sts", Later(lambda: self.sts))
        door.mount_service("apigateway", Later(lambda: self.http_apis.control))
        execution = Later(lambda: self.http_apis.execution)
        door.mount_service("execute-api", execution)
        door.mount_host(HTTP_API_HOSTS, execution)
        door.mount_names(lambda host: self.http_apis.execution.by_host(host))
        door.mount_path(HTTP_API_PATH, execution, is_front=True)
        door.mount_path(CODE_PREFIX, Later(lambda: self.downloads))
        door.mount_path(USAGE_PATH, Later(lambda: self.usage))
        door.mount_path(POOLS_PATH, Later(lambda: self.pools))
        urls = Later(lambda: self.urls)
        door.mount_host(URL_HOST_PART, urls)
        door.mount_path(URL_PATH_PREFIX, urls, is_front=True)

    def _register(self, module: str) -> None:
        """Register the operations of one module."""
        door, functions = self.door, self.functions
        match module:
            case "account":
                from lambent.api.resources import account

                account.register(door, functions)
            case "aliases":
                from lambent.api.resources import aliases

                aliases.register(door, functions)
            case "concurrency":
                from lambent.api.resources import concurrency

                concurrency.register(door, functions)
            case "event_invokes":
                from lambent.api.resources import event_invokes

                event_invokes.register(door, functions)
            case "functions":
                self._register_functions()
            case "layers":
                from lambent.api.resources import layers

                layers.register(door, self.layers, self.packages, self.source, self.locations, self.signatures)
            case "mappings":
                from lambent.api.resources import mappings

                mappings.register(door, self.mappings)
            case "policies":
                from lambent.api.resources import policies

                policies.register(door, functions)
            case "provisioned":
                from lambent.api.resources import provisioned

                provisioned.register(door, functions, self.environments)
            case "runtime_management":
                from lambent.api.resources import runtime_management

                runtime_management.register(door, functions)
            case "signing":
                from lambent.api.resources import signing

                signing.register(door, self.signing_configs, functions)
            case "tags":
                from lambent.api.resources import tags

                tags.register(
                    door,
                    functions,
                    {"event-source-mapping": self.mappings, "code-signing-config": self.signing_configs},
                )
            case "urls":
                from lambent.api.resources import urls

                urls.register(door, functions, self.locator)
            case _:
                raise ValueError(f"there is no module {module}")

    def _register_functions(self) -> None:
        from lambent.api.resources import functions

        functions.register(
            self.door,
            self.functions,
            self.packages,
            self.source,
            self.locations,
            self.signing_configs,
            self.signatures,
            self.layers,
        )

    # A life

    def refuse(self) -> None:
        """The server is going down: nothing new is begun."""
        if "urls" in self.__dict__:
            self.urls.is_draining = True
        if "http_apis" in self.__dict__:
            self.http_apis.execution.is_draining = True

    async def prepare(self) -> None:
        """Import and make what the first function needs, letting go of the event loop between the steps."""
        for module in AHEAD:
            import_module(module)
            await asyncio.sleep(0)
        for part in ("packages", "layers", "signing_configs", "signatures", "locations", "source"):
            await asyncio.sleep(0)
            getattr(self, part)

    async def close(self) -> None:
        """Let end what was begun by the parts that were made."""
        for name in ("downloads", "mappings", "signing_configs", "layers", "roles"):
            if name in self.__dict__:
                await self.__dict__[name].close()
        if "bodies" in self.__dict__:
            self.bodies.close()
        if "http_apis" in self.__dict__:
            await self.http_apis.apis.close()
        if "source" in self.__dict__:
            self.source.close()
