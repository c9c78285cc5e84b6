"""Stages as they answer: compiled from what is in force with the first request after a change, and found by a request's
host and path."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import access_logs
from .addresses import API_HOST_PART, API_PATH_PREFIX, api_host_of, split_host
from .asked import Place
from .cors import Cors
from .http_apis import moves
from .http_apis.model import DEFAULT_STAGE, Api, ApiMapping, Authorizer, Integration, Route, Stage
from .http_apis.records import members
from .matching import Routes
from .throttling import Bucket, account_bucket, route_bucket

if TYPE_CHECKING:
    from lambent.domain.names import Scope
    from lambent.http import Request

    from .http_apis.service import HttpApis


log = logging.getLogger("lambent.gateway")


@dataclass(frozen=True, slots=True)
class Way:
    """A route with all that belongs to it."""

    route: Route
    integration: Integration | None
    authorizer: Authorizer | None
    bucket: Bucket | None


class Live:
    """One stage as it answers: made with the first request after a change."""

    def __init__(
        self, api: Api, stage: Stage, buckets: Callable[[str, float | None, int | None], Bucket | None]
    ) -> None:
        self.api = api
        self.stage = stage
        snapshot = moves.in_force(api, stage)
        ways: list[tuple[str, Way]] = []
        if snapshot is not None:
            integrations = {one.integration_id: one for one in snapshot.integrations}
            auths = {one.authorizer_id: one for one in snapshot.authorizers}
            for route in snapshot.routes:
                settings = stage.route_settings.get(route.route_key)
                default = stage.default_route_settings
                rate, burst = default.throttling_rate_limit, default.throttling_burst_limit
                if settings is not None:
                    rate = rate if settings.throttling_rate_limit is None else settings.throttling_rate_limit
                    burst = burst if settings.throttling_burst_limit is None else settings.throttling_burst_limit
                way = Way(
                    route,
                    integrations.get(route.integration_id or ""),
                    auths.get(route.authorizer_id or ""),
                    buckets(route.route_key, rate, burst),
                )
                ways.append((route.route_key, way))
        self.routes: Routes[Way] = Routes(ways)
        configured = api.cors_configuration
        self.cors = None if configured is None else Cors.read(members(configured))
        settings_ = stage.access_log_settings
        self.log_format = settings_.format if settings_ is not None else None
        self.log_group = (
            access_logs.group_of(settings_.destination_arn, api.scope.account, api.scope.region)
            if settings_ is not None and settings_.destination_arn
            else None
        )
        self._told = ""

    def tell(self, reason: str) -> None:
        """Have the server's log say why something failed, once in a row."""
        if reason != self._told:
            self._told = reason
            log.warning("API %s, stage %s: %s", self.api.api_id, self.stage.stage_name, reason)


class Stages:
    """All stages that were asked for, and what their routes have used up."""

    def __init__(self, apis: HttpApis) -> None:
        self._apis = apis
        self._live: dict[str, dict[str, Live]] = {}
        self._buckets: dict[tuple[str, str, str], Bucket] = {}
        self._account_buckets: dict[Scope, Bucket] = {}
        apis.subscribe(self._forget)

    def knows(self, host: bytes) -> bool:
        """Whether a host, in lower case, is a domain name that is kept here."""
        name = split_host(host)[0]
        return self._apis.find_domain(name.decode("latin-1")) is not None

    def find(self, request: Request) -> Place | None:
        if request.path.startswith(API_PATH_PREFIX):
            api_id, _, rest = request.path[len(API_PATH_PREFIX) :].partition(b"/")
            return self._at_api(api_id.decode("latin-1"), b"/" + rest, None)
        host = split_host(request.header(b"host") or b"")[0].decode("latin-1").lower()
        label, part, _ = host.partition(API_HOST_PART)
        if part and "." not in label:
            return self._at_api(label, request.path, host)
        return self._at_domain(host, request.path)

    def _at_api(self, api_id: str, path: bytes, host: str | None) -> Place | None:
        """A stage is named by the first segment of the path, else it is `$default`."""
        api = self._apis.find(api_id)
        if api is None or api.disable_execute_api_endpoint:
            return None
        host = host or api_host_of(api_id, api.scope.region)
        text = path.decode("latin-1") if path.isascii() else _encoded(path)
        first, slash, rest = text[1:].partition("/")
        if first in api.stages and first != DEFAULT_STAGE:
            return Place(self._stage(api, first), slash + rest or "/", path, host)
        if DEFAULT_STAGE in api.stages:
            return Place(self._stage(api, DEFAULT_STAGE), text or "/", path or b"/", host)
        return None

    def _at_domain(self, host: str, path: bytes) -> Place | None:
        """The mapping with the longest path that the request's begins with."""
        domain = self._apis.find_domain(host)
        if domain is None:
            return None
        text = path.decode("latin-1") if path.isascii() else _encoded(path)
        found: ApiMapping | None = None
        for mapping in domain.mappings.values():
            key = mapping.api_mapping_key
            is_here = not key or text == f"/{key}" or text.startswith(f"/{key}/")
            if is_here and (found is None or len(key) > len(found.api_mapping_key)):
                found = mapping
        api = None if found is None else self._apis.find(found.api_id)
        if found is None or api is None or found.stage not in api.stages:
            return None
        within = text[len(found.api_mapping_key) + 1 :] if found.api_mapping_key else text
        return Place(self._stage(api, found.stage), within or "/", path, host)

    def _stage(self, api: Api, name: str) -> Live:
        stages = self._live.setdefault(api.api_id, {})
        live = stages.get(name)
        if live is None or live.api is not api:
            live = stages[name] = Live(
                api,
                api.stages[name],
                lambda key, rate, burst: self._bucket((api.api_id, name, key), rate, burst),
            )
        return live

    def take(self, scope: Scope, way: Way, now_ns: int) -> bool:
        """Whether one more request may go this way: by its own limits, and by those of the account."""
        bucket = self._account_buckets.get(scope)
        if bucket is None:
            bucket = self._account_buckets[scope] = account_bucket()
        return (way.bucket is None or way.bucket.take(now_ns)) and bucket.take(now_ns)

    def _bucket(self, key: tuple[str, str, str], rate: float | None, burst: int | None) -> Bucket | None:
        """What a route has used up outlives changes of its API, unless its own limits change."""
        wanted = route_bucket(rate, burst)
        if wanted is None:
            self._buckets.pop(key, None)
            return None
        kept = self._buckets.get(key)
        if kept is None or (kept.rate, kept.burst) != (wanted.rate, wanted.burst):
            kept = self._buckets[key] = wanted
        return kept

    def _forget(self, api_id: str) -> None:
        """An API changed or is gone."""
        self._live.pop(api_id, None)
        if self._apis.find(api_id) is None:
            self._buckets = {key: one for key, one in self._buckets.items() if key[0] != api_id}


def _encoded(path: bytes) -> str:
    """A path with bytes beyond ASCII, percent-encoded."""
    return "".join(chr(one) if one < 0x80 else f"%{one:02X}" for one in path)
