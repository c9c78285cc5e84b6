"""Payload format 2.0: an HTTP request as the event that a function gets.

Plain values in, a dict out; nothing is looked up and no clock is read. Function URLs and HTTP APIs share the format and
differ in three points, which `Front` and the caller of `event` decide: a URL keeps the `cookie` header beside the list of
cookies and the path as it was sent, an HTTP API takes the cookies out of the headers and decodes the path.
Source: Developer guide, "Invoking Lambda function URLs", and API Gateway's "Working with AWS Lambda proxy integrations for
HTTP APIs"; recordings of both.
"""

from __future__ import annotations

import time
from binascii import b2a_base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote_to_bytes

Fields = Sequence[tuple[bytes, bytes]]
"""Header fields in order: names in lower case, values without surrounding white space."""

STAGE: Final = "$default"
"""The stage of every function URL, and of an HTTP API that names none; the route key of what no route matches, too."""

_TEXTS = frozenset((b"application/json", b"application/javascript", b"application/xml"))
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@dataclass(frozen=True, slots=True)
class Front:
    """What every event of one URL, or of one stage of an API, has in common. Made once, not per request."""

    account_id: str
    """The function's or API's account; `anonymous` for a URL that asks nobody who they are."""
    api_id: str
    domain_name: str
    stage: str = STAGE
    keeps_cookie_header: bool = False
    """True for a function URL."""
    stage_variables: Mapping[str, str] | None = None

    @property
    def domain_prefix(self) -> str:
        """The first label of the domain name."""
        return self.domain_name.partition(".")[0]


@dataclass(frozen=True, slots=True)
class Arrival:
    """What is known of one request beside its bytes."""

    request_id: str
    source_ip: str
    epoch_ms: int
    protocol: str = "HTTP/1.1"
    added: Mapping[str, str] | None = None
    """Headers of the door's own, which replace those that were sent: `x-forwarded-for` and its like."""


def event(
    front: Front,
    arrival: Arrival,
    method: str,
    raw_path: str,
    query: bytes,
    fields: Fields,
    body: bytes,
    *,
    route_key: str = STAGE,
    authorizer: Mapping[str, Any] | None = None,
    authentication: Mapping[str, Any] | None = None,
    path_parameters: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The event of one request, members in the documented order.

    raw_path: as `raw_path_of` or `decoded_path` answers it, with the stage in front where the stage has a name.
    query: raw, without the question mark. authorizer: `{"iam": …}`, `{"jwt": …}` or `{"lambda": …}`; None: the member is
    absent, as are cookies, query parameters, path parameters, stage variables and the body where there are none.
    """
    headers: dict[str, str] = {}
    cookies: list[str] = []
    for name, value in fields:
        if name == b"cookie":
            cookies += split_cookies(value)
            if not front.keeps_cookie_header:
                continue
            separator = "; "  # a comma would be part of a cookie
        else:
            separator = ","
        key, text = name.decode("latin-1"), _text(value)
        headers[key] = f"{headers[key]}{separator}{text}" if key in headers else text
    if arrival.added:
        headers.update(arrival.added)
    shown: dict[str, Any] = {
        "version": "2.0",
        "routeKey": route_key,
        "rawPath": raw_path,
        "rawQueryString": _text(query),
    }
    if cookies:
        shown["cookies"] = cookies
    shown["headers"] = headers
    if query and (parameters := query_parameters(query)):
        shown["queryStringParameters"] = parameters
    context: dict[str, Any] = {"accountId": front.account_id, "apiId": front.api_id, "authentication": authentication}
    if authorizer is not None:
        context["authorizer"] = authorizer
    context["domainName"] = front.domain_name
    context["domainPrefix"] = front.domain_prefix
    context["http"] = {
        "method": method,
        "path": raw_path,
        "protocol": arrival.protocol,
        "sourceIp": arrival.source_ip,
        "userAgent": headers.get("user-agent", ""),
    }
    context["requestId"] = arrival.request_id
    context["routeKey"] = route_key
    context["stage"] = front.stage
    context["time"] = request_time(arrival.epoch_ms)
    context["timeEpoch"] = arrival.epoch_ms
    shown["requestContext"] = context
    if body:
        shown["body"], is_base64 = body_of(body, fields)
    else:
        is_base64 = False
    if path_parameters:
        shown["pathParameters"] = path_parameters
    shown["isBase64Encoded"] = is_base64
    if front.stage_variables:
        shown["stageVariables"] = front.stage_variables
    return shown


def body_of(body: bytes, fields: Fields) -> tuple[str, bool]:
    """A body as the event carries it, and whether that is base64: so is everything that is not text by its content type,
    that is encoded (gzip), or that is not the UTF-8 that JSON can carry."""
    content_type = b""
    for name, value in fields:
        if name == b"content-type":
            content_type = value
        elif name == b"content-encoding" and value.lower() != b"identity":
            content_type = b""
            break
    if is_text(content_type):
        try:
            return body.decode(), False
        except UnicodeDecodeError:
            pass
    return b2a_base64(body, newline=False).decode("ascii"), True


def is_text(content_type: bytes) -> bool:
    """Whether bodies of a content type travel as text: text/*, JSON, JavaScript, XML, and types built on JSON or XML."""
    kind = content_type.partition(b";")[0].strip().lower()
    return kind.startswith(b"text/") or kind in _TEXTS or kind.endswith((b"+json", b"+xml"))


def split_cookies(value: bytes) -> list[str]:
    """The cookies of one `cookie` header, in order."""
    return [cookie for one in _text(value).split(";") if (cookie := one.strip())]


def query_parameters(query: bytes) -> dict[str, str]:
    """Decoded names and values; the values of a repeated name are joined by commas, in order. A plus is a space, and
    what is not UTF-8 becomes U+FFFD."""
    parameters: dict[str, str] = {}
    for pair in query.split(b"&"):
        if not pair:
            continue
        raw_name, _, raw_value = pair.partition(b"=")
        name, value = unescaped(raw_name), unescaped(raw_value)
        parameters[name] = f"{parameters[name]},{value}" if name in parameters else value
    return parameters


def raw_path_of(path: bytes) -> str:
    """The path as it was sent, percent-encoding and all: what a function URL shows."""
    return _text(path) or "/"


def decoded_path(path: bytes) -> str:
    """The path percent-decoded: what an HTTP API shows."""
    if b"%" in path:
        path = unquote_to_bytes(path)
    return path.decode("utf-8", "replace") or "/"


_times: tuple[int, str] = (-1, "")


def request_time(epoch_ms: int) -> str:
    """12/Mar/2020:19:03:58 +0000"""
    global _times
    epoch_s = epoch_ms // 1_000
    known, text = _times
    if known != epoch_s:
        t = time.gmtime(epoch_s)
        text = f"{t.tm_mday:02}/{_MONTHS[t.tm_mon - 1]}/{t.tm_year:04}:{t.tm_hour:02}:{t.tm_min:02}:{t.tm_sec:02} +0000"
        _times = epoch_s, text
    return text


def _text(raw: bytes) -> str:
    """A field or a target as text: UTF-8 where it is, else each byte a character."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def unescaped(raw: bytes) -> str:
    """A name or a value of a query, decoded: a plus is a space, and what is not UTF-8 becomes U+FFFD."""
    if b"+" in raw:
        raw = raw.replace(b"+", b" ")
    if b"%" in raw:
        raw = unquote_to_bytes(raw)
    return raw.decode("utf-8", "replace")
