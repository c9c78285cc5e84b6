"""Lambda functions and HTTP servers behind routes: may the gateway call them, and what did they answer?"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import Protocol
from urllib.parse import quote, quote_from_bytes

from lambent.concurrency.admission import Kind
from lambent.domain.errors import LambentError, TooManyRequests
from lambent.domain.ids import new_uuid
from lambent.domain.names import FunctionRef, parse_function_arn
from lambent.domain.statements import Asker, Question, Verdict, judge
from lambent.environments.work import Result
from lambent.functions.model import Function, FunctionVersion
from lambent.functions.policies import in_force
from lambent.functions.tenancy import check_tenant
from lambent.invocations.service import Invocation, Invocations

from .http_apis.model import Api, Integration
from .http_apis.rules import function_in

PRINCIPAL = "apigateway.amazonaws.com"
_STAGE_VARIABLE = re.compile(r"\$\{stageVariables\.([A-Za-z0-9_]+)\}")
_PLACE = re.compile(r"\{([A-Za-z0-9._:-]+)\+?\}")


class Functions(Protocol):
    """What integrations need of `functions/`."""

    async def active(self, ref: FunctionRef, qualifier: str | None) -> FunctionVersion:
        """The version to run; raises FunctionNotFound."""

    def get(self, ref: FunctionRef, qualifier: str | None = None) -> Function:
        """The function; raises FunctionNotFound."""


class Failed(Exception):
    """The integration could not be called, or gave no answer; the text is for logs alone."""


class Throttled(Failed):
    """The function has no concurrency left."""


class Traversal(Exception):
    """A path parameter would lead out of the place it stands in."""


def named(uri: str, variables: Mapping[str, str]) -> str:
    """A URI with its stage variables filled in. Raises Failed."""
    if "${" not in uri:
        return uri

    def value(found: re.Match[str]) -> str:
        if found[1] not in variables:
            raise Failed(f"the stage has no variable {found[1]}, which the integration names")
        return variables[found[1]]

    return _STAGE_VARIABLE.sub(value, uri)


ALLOWED_MAX = 4_096
"""Permissions that were found, each of a route and method; beyond it they are looked for anew."""


class Lambda:
    """Functions as the gateway calls them."""

    def __init__(self, functions: Functions, invocations: Invocations) -> None:
        self._functions = functions
        self._invocations = invocations
        self._allowed: dict[tuple[FunctionRef, str | None, str], Function] = {}
        """What a policy has allowed, as long as the function is the very same object."""

    async def call(
        self,
        api: Api,
        uri: str,
        credentials: str | None,
        source_arn: str,
        payload: bytes,
        trace: str,
        timeout_s: float,
    ) -> Result:
        """Run the function that a URI names. Raises Failed, Throttled and TimeoutError; the function goes on.

        credentials: a role that the gateway acts as; roles' policies are kept and not enforced, so it may. Without one
        the function's own policy must let the gateway in. source_arn: what its condition reads.
        """
        arn = function_in(uri)
        name = parse_function_arn(arn)
        if name is None:
            raise Failed(f"{arn} is no function's ARN")
        ref = name.ref
        if ref.region != api.scope.region:
            raise Failed(f"{arn} is in another region than the API")
        try:
            if credentials is None:
                self._check(api, ref, name.qualifier, source_arn)
            elif ref.account != api.scope.account:
                raise Failed(f"{arn} is another account's, which a role of this one does not open")
            version = await self._functions.active(ref, name.qualifier)
            check_tenant(version.configuration, None)
            invocation = Invocation(
                version=version,
                qualifier=name.qualifier,
                request_id=new_uuid(),
                kind=Kind.SYNC,
                trace=trace,
                body=payload,
            )
            async with asyncio.timeout(timeout_s):
                return await self._invocations.run(invocation)
        except TooManyRequests as error:
            raise Throttled(f"{arn}: {error.reason}") from None
        except LambentError as error:
            raise Failed(f"{arn}: {error.message or type(error).__name__}") from None

    def _check(self, api: Api, ref: FunctionRef, qualifier: str | None, source_arn: str) -> None:
        function = self._functions.get(ref)
        key = (ref, qualifier, source_arn)
        if self._allowed.get(key) is function:
            return
        context = {
            "aws:sourcearn": source_arn,
            "aws:sourceaccount": api.scope.account,
            "aws:principalorgid": None,
            "lambda:eventsourcetoken": None,
            "lambda:functionurlauthtype": None,
            "lambda:invokedviafunctionurl": "false",
        }
        question = Question(Asker(service=PRINCIPAL), "lambda:InvokeFunction", ref.arn(qualifier), context)
        if judge(in_force(function, qualifier), question) is not Verdict.ALLOWED:
            raise Failed(
                f"the policy of {ref.arn(qualifier)} does not let {PRINCIPAL} invoke it for {source_arn}: "
                "give it the permission with AddPermission"
            )
        if len(self._allowed) >= ALLOWED_MAX:
            self._allowed.clear()
        self._allowed[key] = function


def http_url(
    integration: Integration, variables: Mapping[str, str], parameters: Mapping[str, str], path: str | None
) -> str:
    """Where an HTTP integration leads for a request, without the query.

    parameters: the path's, decoded. path: instead of the URI's own, by parameter mapping. Raises Traversal for a parameter
    with dot segments, which servers would resolve, and Failed.
    """
    uri = named(integration.integration_uri or "", variables)

    def value(found: re.Match[str]) -> str:
        if found[1] not in parameters:
            raise Failed(f"the route has no path variable {found[1]}, which the integration's URI names")
        segments = (
            parameters[found[1]].split("/")
            if found[0].endswith("+}") or found[1] == "proxy"
            else [parameters[found[1]]]
        )
        if any(one in (".", "..") or "\\" in one for segment in segments for one in segment.split("/")):
            raise Traversal(parameters[found[1]])
        return "/".join(quote(segment, safe="!$&'()*+,;=:@-._~") for segment in segments)

    scheme, _, rest = uri.partition("://")
    authority, slash, target = rest.partition("/")
    url = f"{scheme}://{authority}{slash}{_PLACE.sub(value, target)}"
    if path is not None:
        if any(segment in (".", "..") for segment in path.split("/")):
            raise Traversal(path)
        url = f"{scheme}://{authority}/{quote(path.lstrip('/'), safe='/!$&' + chr(39) + '()*+,;=:@-._~%')}"
    return url


def printable(query: bytes) -> str:
    """A raw query string as a request line may carry it."""
    return quote_from_bytes(query, safe="".join(map(chr, range(0x21, 0x7F))))
