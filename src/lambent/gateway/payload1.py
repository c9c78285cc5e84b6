"""Payload format 1.0 on an HTTP API: the event of a request, and the response rules that go with it.

Header names keep the client's spelling as far as the door does: it has them in lower case, as HTTP/2 clients send them.
Source: API Gateway developer guide, "Working with AWS Lambda proxy integrations for HTTP APIs".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from . import answers
from .answers import HttpAnswer, Malformed
from .payload2 import Arrival, Fields, Front, body_of, request_time, unescaped

_ANONYMOUS: Mapping[str, None] = dict.fromkeys(
    (
        "accessKey",
        "accountId",
        "caller",
        "cognitoAmr",
        "cognitoAuthenticationProvider",
        "cognitoAuthenticationType",
        "cognitoIdentityId",
        "cognitoIdentityPoolId",
        "principalOrgId",
    )
)


def event(
    front: Front,
    arrival: Arrival,
    method: str,
    raw_path: str,
    query: bytes,
    fields: Fields,
    body: bytes,
    *,
    route_key: str,
    authorizer: Mapping[str, Any] | None = None,
    path_parameters: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The event of one request; parameters as of `payload2.event`.

    authorizer: as payload 2.0 has it; here claims and context stand without the kind in front, and an IAM identity among
    `identity`.
    """
    single, multi = headers_of(fields, arrival.added)
    values = query_values(query)
    path = route_key.partition(" ")[2] or route_key
    identity: dict[str, Any] = dict(_ANONYMOUS)
    shown = authorizer_of(authorizer, identity)
    identity["sourceIp"] = arrival.source_ip
    identity["user"] = identity.pop("userId", None)
    identity["userAgent"] = single.get("user-agent", "")
    identity["userArn"] = identity.pop("userArn", None)
    context: dict[str, Any] = {"accountId": front.account_id, "apiId": front.api_id}
    if shown is not None:
        context["authorizer"] = shown
    context |= {
        "domainName": front.domain_name,
        "domainPrefix": front.domain_prefix,
        "extendedRequestId": arrival.request_id,
        "httpMethod": method,
        "identity": identity,
        "path": raw_path,
        "protocol": arrival.protocol,
        "requestId": arrival.request_id,
        "requestTime": request_time(arrival.epoch_ms),
        "requestTimeEpoch": arrival.epoch_ms,
        "resourceId": route_key,
        "resourcePath": path,
        "stage": front.stage,
    }
    text, is_base64 = body_of(body, fields) if body else (None, False)
    return {
        "version": "1.0",
        "resource": path,
        "path": raw_path,
        "httpMethod": method,
        "headers": single,
        "multiValueHeaders": multi,
        "queryStringParameters": {name: given[-1] for name, given in values.items()} or None,
        "multiValueQueryStringParameters": values or None,
        "requestContext": context,
        "pathParameters": dict(path_parameters) if path_parameters else None,
        "stageVariables": dict(front.stage_variables) if front.stage_variables else None,
        "body": text,
        "isBase64Encoded": is_base64,
    }


def headers_of(fields: Fields, added: Mapping[str, str] | None) -> tuple[dict[str, str], dict[str, list[str]]]:
    """The last value of each header, and all of them."""
    multi: dict[str, list[str]] = {}
    for name, value in fields:
        multi.setdefault(name.decode("latin-1"), []).append(_text(value))
    for key, text in (added or {}).items():
        multi[key] = [text]
    return {key: given[-1] for key, given in multi.items()}, multi


def query_values(query: bytes) -> dict[str, list[str]]:
    """Decoded names and all their values, in order."""
    values: dict[str, list[str]] = {}
    for pair in query.split(b"&"):
        if pair:
            name, _, value = pair.partition(b"=")
            values.setdefault(unescaped(name), []).append(unescaped(value))
    return values


def authorizer_of(authorizer: Mapping[str, Any] | None, identity: dict[str, Any]) -> dict[str, Any] | None:
    """What `requestContext.authorizer` is; an IAM identity goes into `identity` instead."""
    if authorizer is None:
        return None
    if "iam" in authorizer:
        found = authorizer["iam"]
        identity |= {
            "accessKey": found["accessKey"],
            "accountId": found["accountId"],
            "caller": found["callerId"],
            "principalOrgId": found["principalOrgId"],
            "userArn": found["userArn"],
            "userId": found["userId"],
        }
        return None
    if "jwt" in authorizer:
        return dict(authorizer["jwt"])
    return dict(authorizer.get("lambda") or {})


def answer(returned: bytes) -> HttpAnswer:
    """The response to what a function returned: an object with a `statusCode`. Raises Malformed."""
    try:
        value = orjson.loads(returned)
    except orjson.JSONDecodeError as error:
        raise Malformed(f"the function's response is not JSON: {error}") from None
    if type(value) is not dict or value.get("statusCode") is None:
        raise Malformed("payload format 1.0 wants an object with a statusCode")
    multi = value.pop("multiValueHeaders", None)
    value.pop("cookies", None)
    made = answers.answer(orjson.dumps(value))
    if multi is not None:
        made.headers = _with_multi(made.headers, multi)
    return made


def _with_multi(headers: list[tuple[bytes, bytes]], multi: object) -> list[tuple[bytes, bytes]]:
    """Single headers and those with several values; a name among both has the values of both, the many first."""
    if type(multi) is not dict:
        raise Malformed("multiValueHeaders is not an object")
    fields: list[tuple[bytes, bytes]] = []
    has_type = False
    for name, given in multi.items():
        if given is None:
            continue
        if type(given) is not list:
            raise Malformed(f"multiValueHeaders has no list for {name[:64]!r}")
        for one in given:
            made = answers.headers_of({name: one}, None)
            has_type = has_type or made[0][0].lower() == b"content-type"
            fields.append(made[0])
    if has_type:  # the default that single headers get does not stand beside a type that was given
        headers = [field for field in headers if field is not answers.JSON_TYPE]
    return [*fields, *headers]


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")
