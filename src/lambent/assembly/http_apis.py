"""HTTP APIs, made with the first request that is about one: their records, control operations and execution."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from lambent.api.asked import asked_at
from lambent.api.door import PublicDoor
from lambent.api.ports import Authenticator
from lambent.api.resources import http_apis as resource
from lambent.api.rest import HTTP_APIS_FILE, RestDoor
from lambent.domain.clock import Clock
from lambent.domain.documents import DocumentStore
from lambent.functions.service import Functions
from lambent.gateway.execution import HttpApiDoor
from lambent.gateway.forwarding import Forwarding
from lambent.gateway.http_apis.model import Api
from lambent.gateway.http_apis.service import HttpApis
from lambent.gateway.integrations import Lambda
from lambent.gateway.locating import Locator
from lambent.http import Request
from lambent.identity.model import Caller
from lambent.invocations.service import Invocations
from lambent.settings import Settings
from lambent.telemetry.attempt import UserEvents

from .outside import outside

NO_REST_APIS = (
    "This is no operation of API Gateway v2. REST APIs (API Gateway v1) are not served by this release of Lambent; HTTP "
    "APIs, paths below /v2, are."
)


@dataclass(frozen=True, slots=True)
class Rooms:
    """What HTTP APIs need of the rest."""

    settings: Settings
    clock: Clock
    documents: DocumentStore
    record: Callable[[UserEvents], None]
    functions: Functions
    invocations: Invocations
    supervise: Callable[[Coroutine[Any, Any, None], str], object]
    authenticator: Authenticator
    door: PublicDoor
    admit: Callable[[Request, int], object]
    user_id: Callable[[Caller], str]
    forwarding: Forwarding
    locator: Locator


class HttpApiParts:
    """The parts, each an application or what stands behind it."""

    def __init__(self, rooms: Rooms) -> None:
        self._locator = rooms.locator
        self.apis = HttpApis(rooms.documents, rooms.clock)
        self.execution = HttpApiDoor(
            self.apis,
            Lambda(rooms.functions, rooms.invocations),
            rooms.clock,
            rooms.authenticator,
            layer=outside(rooms.settings).layer,
            supervise=rooms.supervise,
            record=rooms.record,
            admit=rooms.admit,
            user_id=rooms.user_id,
            forwarding=rooms.forwarding,
            domain=rooms.settings.server.url_domain,
        )
        self.control = RestDoor(
            "apigatewayv2", HTTP_APIS_FILE, rooms.authenticator, rooms.door.running, resource.CODES, NO_REST_APIS
        )
        resource.register(self.control, self.apis, self.endpoint, self.execution.gatekeeper.results.forget)

    async def endpoint(self, api: Api) -> str:
        """The URL of an API that works for whoever asked for it."""
        asked = asked_at.get()
        await self._locator.prepare()
        return self._locator.api_url(api.api_id, api.scope.region, asked.host, asked.scheme)
