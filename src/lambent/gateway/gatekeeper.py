"""Who may: IAM, JWT and Lambda authorizers, asked for one request at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

import orjson

from lambent.domain.errors import LambentError

from . import authorizers, jwt, outgoing
from .asked import Asked, Refusal, authorizer_event, execute_arn, failure, forbidden, request_arn
from .http_apis.model import Authorizer, Route
from .integrations import Failed, Lambda, named
from .limits import AUTHORIZER_TIMEOUT_S

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from lambent.domain.clock import Clock
    from lambent.domain.egress import Layer
    from lambent.http import Request
    from lambent.identity.model import Caller

    from .live import Way


class Signatures(Protocol):
    """Who signed a request, and whether that is true."""

    def identify(self, request: Request) -> Caller: ...

    def prove(self, request: Request, caller: Caller) -> Awaitable[None] | None: ...


class Gatekeeper:
    """Asks whatever a route's authorization type names."""

    def __init__(
        self,
        functions: Lambda,
        clock: Clock,
        signatures: Signatures,
        layer: Layer,
        user_id: Callable[[Caller], str],
    ) -> None:
        """layer: where issuers may be reached. user_id: what IAM calls a caller."""
        self._user_id = user_id
        self._functions = functions
        self._clock = clock
        self._signatures = signatures
        self._layer = layer
        self.results = authorizers.Results(lambda: clock.monotonic_ns() / 1e9)
        self._keys = jwt.Keys(self._fetch_keys, lambda: clock.monotonic_ns() / 1e9)

    async def authorise(self, asked: Asked, way: Way) -> None:
        kind = way.route.authorization_type
        if kind == "NONE":
            return
        if kind == "AWS_IAM":
            asked.authorizer = {"iam": await self._iam(asked)}
        elif way.authorizer is None:
            raise failure("the route's authorizer is not there")
        elif kind == "JWT":
            asked.authorizer = {"jwt": await self._jwt(asked, way.route, way.authorizer)}
        else:
            asked.authorizer = {"lambda": await self._ask(asked, way.authorizer)}

    async def _iam(self, asked: Asked) -> dict[str, Any]:
        request, api = asked.request, asked.place.live.api
        try:
            caller = self._signatures.identify(request)
            if caller.access_key is None or caller.service != "execute-api":
                raise forbidden("the request is not signed for execute-api")
            checking = self._signatures.prove(request, caller)
            if checking is not None:
                await checking
        except LambentError as error:
            raise forbidden(error.message or "") from None
        if caller.scope.account != api.scope.account:
            raise forbidden("the caller is of another account")
        user = self._user_id(caller)
        return {
            "accessKey": caller.access_key,
            "accountId": caller.scope.account,
            "callerId": user,
            "cognitoIdentity": None,
            "principalOrgId": None,
            "userArn": caller.arn,
            "userId": user,
        }

    async def _jwt(self, asked: Asked, route: Route, authorizer: Authorizer) -> dict[str, Any]:
        configuration = authorizer.jwt_configuration
        assert configuration is not None
        wanted = list(route.authorization_scopes or ())
        scope = " ".join(wanted)
        try:
            given = asked.look(authorizer.identity_source[0][1:])
            if not given or not given.strip():
                raise Refusal(401, "Unauthorized", [(b"www-authenticate", b"Bearer")])
            token = jwt.bearer(given)
            claims = await jwt.claims_of(
                token,
                configuration.issuer or "",
                configuration.audience or (),
                self._keys,
                self._clock.wall_ms() / 1_000,
            )
        except jwt.Refused as refused:
            challenge = f'Bearer scope="{scope}" error="invalid_token" error_description="{refused}"'
            raise Refusal(401, "Unauthorized", [(b"www-authenticate", challenge.encode())], str(refused)) from None
        except jwt.KeysUnknown as unknown:
            asked.place.live.tell(f"the keys of {configuration.issuer} can't be had: {unknown}")
            challenge = f'Bearer scope="{scope}" error="invalid_token" error_description="OIDC discovery endpoint communication error"'
            raise Refusal(401, "Unauthorized", [(b"www-authenticate", challenge.encode())], str(unknown)) from None
        has = jwt.scopes_of(claims)
        if wanted and not set(wanted) & set(has):
            challenge = f'Bearer scope="{scope}" error="insufficient_scope"'
            raise Refusal(403, "Forbidden", [(b"www-authenticate", challenge.encode())], "the token lacks the scope")
        scopes = [one for one in has if one in wanted] if wanted else None
        return {"claims": jwt.shown_claims(claims), "scopes": scopes}

    async def _fetch_keys(self, url: str) -> bytes:
        try:
            answer = await outgoing.fetch(self._layer, "GET", url, timeout_s=jwt.FETCH_TIMEOUT_S)
        except TimeoutError:
            raise jwt.KeysUnknown(f"{url} did not answer in {jwt.FETCH_TIMEOUT_S} s") from None
        except outgoing.Unreachable as error:
            raise jwt.KeysUnknown(str(error)) from None
        if answer.status != 200:
            raise jwt.KeysUnknown(f"{url} answered {answer.status}")
        return answer.body

    async def _ask(self, asked: Asked, authorizer: Authorizer) -> Mapping[str, Any]:
        """A Lambda authorizer's context, where it lets the request pass."""
        live = asked.place.live
        given = authorizers.identities(authorizer.identity_source, asked.look)
        if given is None:
            raise Refusal(401, "Unauthorized", why="an identity source is missing")
        arn = request_arn(asked)
        ttl_s = authorizer.authorizer_result_ttl_in_seconds or 0
        key = authorizers.cache_key(live.api.api_id, live.stage.stage_name, authorizer.authorizer_id, given)
        decision = self.results.find(key) if ttl_s else None
        if decision is None:
            try:
                decision = await self._decide(asked, authorizer, given, arn)
            except (Failed, authorizers.Misbehaved) as error:
                asked.seen["authorizer.error"] = str(error)
                live.tell(f"authorizer {authorizer.name}: {error}")
                raise failure(str(error)) from None
            except TimeoutError:
                asked.seen["authorizer.error"] = "timed out"
                raise failure(f"the authorizer did not answer in {AUTHORIZER_TIMEOUT_S:.0f} s") from None
            if ttl_s and decision.size <= authorizers.CACHED_RESULT_BYTES_MAX:
                self.results.keep(key, decision, ttl_s)
        if not decision.allows(arn):
            raise forbidden("the authorizer does not let the request pass")
        asked.principal = decision.principal
        return decision.context

    async def _decide(self, asked: Asked, authorizer: Authorizer, given: list[str], arn: str) -> authorizers.Decision:
        live = asked.place.live
        api = live.api
        version = authorizer.authorizer_payload_format_version
        event = authorizer_event(asked, version == "2.0", given, arn)
        result = await self._functions.call(
            api,
            named(authorizer.authorizer_uri or "", live.stage.stage_variables),
            authorizer.authorizer_credentials_arn,
            f"{execute_arn(api)}/authorizers/{authorizer.authorizer_id}",
            orjson.dumps(event),
            asked.trace,
            AUTHORIZER_TIMEOUT_S,
        )
        if result.function_error:
            message = authorizers.refusal_of(result.body)
            if message == "Unauthorized":
                raise Refusal(401, "Unauthorized", why="the authorizer said so")
            raise authorizers.Misbehaved(f"the authorizer failed: {message}")
        if authorizer.enable_simple_responses and version == "2.0":
            return authorizers.read_simple(result.body)
        return authorizers.read_policy(result.body)
