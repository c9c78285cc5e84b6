"""HTTP APIs and domain names: what one can ask of them. Every change is a decision of `moves.py`, written as one document.

API ids are unique on the server and host names too: a request names nothing else.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from lambent.domain.clock import Clock
from lambent.domain.documents import Collection, DocumentStore, Key
from lambent.domain.errors import InvalidParameterValue
from lambent.domain.names import Scope
from lambent.domain.tags import check_tags

from ..errors import BadRequest, Conflict, LimitExceeded, NotFound
from ..limits import APIS_PER_REGION_MAX, DOMAIN_NAMES_PER_REGION_MAX, MAPPINGS_PER_DOMAIN_MAX
from . import moves
from .codec import decode_api, decode_domain, encode_api, encode_domain
from .model import Api, ApiMapping, DomainConfiguration, DomainName
from .rules import check_domain_name, check_mapping_key

API_KIND = "http-api"
DOMAIN_KIND = "domain-name"
_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
API_ID_CHARS, PART_ID_CHARS = 10, 7

ApiMove = Callable[[Api], Api]


def new_id(characters: int) -> str:
    """Random lower-case letters and digits."""
    return "".join(_LETTERS[byte % 36] for byte in os.urandom(characters))


class HttpApis:
    """The HTTP APIs and domain names of all accounts and regions. Used from one event loop."""

    def __init__(self, store: DocumentStore, clock: Clock) -> None:
        """Read everything from the store."""
        self._apis: Collection[Api] = Collection(store, API_KIND, encode=encode_api, decode=decode_api)
        self._domains: Collection[DomainName] = Collection(
            store, DOMAIN_KIND, encode=encode_domain, decode=decode_domain
        )
        self._clock = clock
        self._by_id: dict[str, Key] = {key.name: key for key, _ in self._apis}
        self._by_host: dict[str, Key] = {key.name: key for key, _ in self._domains}
        self._apis.subscribe(self._api_changed)
        self._domains.subscribe(self._domain_changed)
        self._listeners: list[Callable[[str], None]] = []

    async def close(self) -> None:
        """Wait until every accepted change is written."""
        await self._apis.close()
        await self._domains.close()

    def subscribe(self, listener: Callable[[str], None]) -> None:
        """Call `listener(api id)` after every change of an API."""
        self._listeners.append(listener)

    # For requests of clients

    def find(self, api_id: str) -> Api | None:
        """The API of an id, whosever it is."""
        key = self._by_id.get(api_id)
        return None if key is None else self._apis.get(key)

    def find_domain(self, host: str) -> DomainName | None:
        """The domain name that a host is meant by: its own, or a wildcard's. host: in lower case, without a port."""
        key = self._by_host.get(host)
        if key is None:
            key = self._by_host.get("*." + host.partition(".")[2])
        return None if key is None else self._domains.get(key)

    # APIs

    def get(self, scope: Scope, api_id: str) -> Api:
        """The API; raises NotFound."""
        return _existing(self._apis.get(Key(scope.account, scope.region, api_id)), api_id)

    def apis(self, scope: Scope) -> list[Api]:
        """All of a scope, in the order of their ids."""
        return list(self._apis.values(scope))

    def now_ms(self) -> int:
        return self._clock.wall_ms()

    async def create(self, scope: Scope, api: Callable[[str, int], Api]) -> Api:
        """A new API, as `api(id, now)` makes it."""
        if len(self._apis.names(scope)) >= APIS_PER_REGION_MAX:
            raise LimitExceeded(f"Maximum number of APIs has been reached: {APIS_PER_REGION_MAX}")
        api_id, now_ms = self._fresh_id(), self.now_ms()
        _check_tags(api(api_id, now_ms).tags)

        def decide(_: Api | None) -> Api:
            return moves.auto_deployed(None, moves.created(api(api_id, now_ms)), new_id(PART_ID_CHARS), now_ms)

        made = await self._apis.change(Key(scope.account, scope.region, api_id), decide)
        assert made is not None
        return made

    def _fresh_id(self) -> str:
        while True:
            found = new_id(API_ID_CHARS)
            if found[0].isalpha() and found not in self._by_id:  # a label of a host name
                return found

    async def change(self, scope: Scope, api_id: str, move: ApiMove) -> Api:
        """Another API in its place. Raises NotFound, and what the move raises."""
        now_ms, deployment_id = self.now_ms(), new_id(PART_ID_CHARS)

        def decide(old: Api | None) -> Api:
            stands = _existing(old, api_id)
            return moves.auto_deployed(stands, move(stands), deployment_id, now_ms)

        made = await self._apis.change(Key(scope.account, scope.region, api_id), decide)
        assert made is not None
        return made

    async def delete(self, scope: Scope, api_id: str) -> None:
        self.get(scope, api_id)
        self._check_unmapped(api_id, None, f"Deleting API failed. {_MAPPED}")

        def decide(old: Api | None) -> None:
            _existing(old, api_id)

        await self._apis.change(Key(scope.account, scope.region, api_id), decide)

    async def delete_stage(self, scope: Scope, api_id: str, name: str) -> None:
        moves.stage_of(self.get(scope, api_id), name)
        self._check_unmapped(api_id, name, f"Deleting stage failed. {_MAPPED}")
        await self.change(scope, api_id, lambda api: moves.without_stage(api, name))

    def _check_unmapped(self, api_id: str, stage: str | None, refusal: str) -> None:
        used = [
            domain.domain_name
            for _, domain in self._domains
            if any(one.api_id == api_id and stage in (None, one.stage) for one in domain.mappings.values())
        ]
        if used:
            raise BadRequest(f"{refusal}: {', '.join(sorted(used))}")

    # Domain names

    def domain(self, scope: Scope, name: str) -> DomainName:
        """The domain name; raises NotFound."""
        return _domain(self._domains.get(Key(scope.account, scope.region, name)))

    def domains(self, scope: Scope) -> list[DomainName]:
        return list(self._domains.values(scope))

    async def create_domain(
        self, scope: Scope, name: str, configurations: tuple[DomainConfiguration, ...], tags: Mapping[str, str]
    ) -> DomainName:
        check_domain_name(name)
        _check_configurations(configurations)
        _check_tags(tags)
        name = name.lower()
        if name in self._by_host:
            raise Conflict("The domain name resource already exists.")
        if len(self._domains.names(scope)) >= DOMAIN_NAMES_PER_REGION_MAX:
            raise LimitExceeded(f"Maximum number of domain names has been reached: {DOMAIN_NAMES_PER_REGION_MAX}")
        made = DomainName(
            scope=scope,
            domain_name=name,
            gateway_id=f"d-{new_id(API_ID_CHARS)}",
            configurations=configurations,
            tags=tags,
        )
        key = Key(scope.account, scope.region, name)
        self._by_host[name] = key  # taken from now on: another account's request may come before this one is written

        def decide(old: DomainName | None) -> DomainName:
            if old is not None:
                raise Conflict("The domain name resource already exists.")
            return made

        try:
            stands = await self._domains.change(key, decide)
        except BaseException:
            if self._domains.get(key) is None:
                self._by_host.pop(name, None)
            raise
        assert stands is not None
        return stands

    async def change_domain(self, scope: Scope, name: str, move: Callable[[DomainName], DomainName]) -> DomainName:
        def decide(old: DomainName | None) -> DomainName:
            new = move(_domain(old))
            _check_configurations(new.configurations)
            return new

        made = await self._domains.change(Key(scope.account, scope.region, name), decide)
        assert made is not None
        return made

    async def delete_domain(self, scope: Scope, name: str) -> None:
        def decide(old: DomainName | None) -> None:
            _domain(old)

        await self._domains.change(Key(scope.account, scope.region, name), decide)

    async def map(self, scope: Scope, name: str, mapping: ApiMapping) -> ApiMapping:
        """Put a mapping, new or changed, among those of a domain name."""
        check_mapping_key(mapping.api_mapping_key)

        def move(domain: DomainName) -> DomainName:
            moves.stage_of(self.get(scope, mapping.api_id), mapping.stage)
            others = {id: one for id, one in domain.mappings.items() if id != mapping.api_mapping_id}
            if any(one.api_mapping_key == mapping.api_mapping_key for one in others.values()):
                raise Conflict("ApiMapping key already exists for this domain name")
            if len(others) >= MAPPINGS_PER_DOMAIN_MAX:
                raise LimitExceeded(f"Maximum number of API mappings has been reached: {MAPPINGS_PER_DOMAIN_MAX}")
            return replace(domain, mappings={**domain.mappings, mapping.api_mapping_id: mapping})

        await self.change_domain(scope, name, move)
        return mapping

    def mapping(self, scope: Scope, name: str, mapping_id: str) -> ApiMapping:
        return mapping_of(self.domain(scope, name), mapping_id)

    async def unmap(self, scope: Scope, name: str, mapping_id: str) -> None:
        def move(domain: DomainName) -> DomainName:
            mapping_of(domain, mapping_id)
            return replace(domain, mappings={id: one for id, one in domain.mappings.items() if id != mapping_id})

        await self.change_domain(scope, name, move)

    # Tags

    def tags(self, scope: Scope, resource: Iterable[str]) -> Mapping[str, str]:
        """Tags of an API, a stage or a domain name. resource: the parts of its path, `apis`, id, …"""
        match tuple(resource):
            case ("apis", api_id):
                return self.get(scope, api_id).tags
            case ("apis", api_id, "stages", name):
                return moves.stage_of(self.get(scope, api_id), name).tags
            case ("domainnames", name):
                return self.domain(scope, name).tags
        raise NotFound("Invalid resource ARN specified")

    async def change_tags(
        self, scope: Scope, resource: Iterable[str], decide: Callable[[Mapping[str, str]], Mapping[str, str]]
    ) -> None:
        """Other tags; `decide` takes those that stand."""

        def decided(old: Mapping[str, str]) -> Mapping[str, str]:
            new = decide(old)
            _check_tags(new)
            return new

        match tuple(resource):
            case ("apis", api_id):
                await self.change(scope, api_id, lambda api: replace(api, tags=decided(api.tags)))
            case ("apis", api_id, "stages", name):

                def move(api: Api) -> Api:
                    stage = moves.stage_of(api, name)
                    return replace(api, stages={**api.stages, name: replace(stage, tags=decided(stage.tags))})

                await self.change(scope, api_id, move)
            case ("domainnames", name):
                await self.change_domain(scope, name, lambda one: replace(one, tags=decided(one.tags)))
            case _:
                raise NotFound("Invalid resource ARN specified")

    # What follows changes

    def _api_changed(self, key: Key, old: Api | None, new: Api | None) -> None:
        if new is None:
            self._by_id.pop(key.name, None)
        else:
            self._by_id[key.name] = key
        for listener in self._listeners:
            listener(key.name)

    def _domain_changed(self, key: Key, old: DomainName | None, new: DomainName | None) -> None:
        if new is None:
            self._by_host.pop(key.name, None)
        else:
            self._by_host[key.name] = key


_MAPPED = "Please remove all base path mappings related to it in your domains"


def _existing(api: Api | None, api_id: str) -> Api:
    if api is None:
        raise NotFound(f"Invalid API identifier specified {api_id}")
    return api


def _domain(domain: DomainName | None) -> DomainName:
    if domain is None:
        raise NotFound("The domain name resource specified in the request was not found.")
    return domain


def mapping_of(domain: DomainName, mapping_id: str) -> ApiMapping:
    found = domain.mappings.get(mapping_id)
    if found is None:
        raise NotFound("The api mapping resource specified in the request was not found.")
    return found


def _check_configurations(configurations: tuple[DomainConfiguration, ...]) -> None:
    if len(configurations) != 1:
        raise BadRequest("A domain name has exactly one domain name configuration")
    if not configurations[0].certificate_arn:
        raise BadRequest(
            "CertificateArn is required in DomainNameConfigurations; any ARN of a certificate does, TLS ends elsewhere"
        )
    if configurations[0].endpoint_type != "REGIONAL":
        raise BadRequest("Endpoint type EDGE is not supported for HTTP APIs")


def _check_tags(tags: Mapping[str, Any]) -> None:
    try:
        check_tags(tags)
    except InvalidParameterValue as error:
        raise BadRequest(error.message) from None
