"""Parameter mapping: what an integration changes about a request before it is forwarded, and about a response.

An entry's name says what is done with what (`append:header.x`, `overwrite:querystring.y`, `remove:header.z`,
`overwrite:path`, `overwrite:statuscode`), its value with what: text, `$request.header.x`, `$request.querystring.x`,
`$request.body.a.b`, `$request.path`, `$request.path.x`, `$response.header.x`, `$response.body.a`, `$context.x`,
`$stageVariables.x`, alone or as `${…}` within text.
Source: API Gateway developer guide, "Transform API requests and responses for HTTP APIs".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import orjson

Fields = list[tuple[bytes, bytes]]
_WHOLE = re.compile(r"\$[A-Za-z][A-Za-z0-9_.$\[\]!#%&'*+^`|~-]*")
_INSIDE = re.compile(r"\$\{([^{}]+)\}")
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
RESERVED = ("access-control-", "apigw-", "x-amz-", "x-amzn-", "x-forwarded-")
"""Header names that can't be mapped: they are the gateway's."""
_RESERVED_NAMES = frozenset(
    {
        "authorization", "connection", "content-encoding", "content-length", "content-location", "forwarded", "host",
        "keep-alive", "origin", "proxy-authenticate", "proxy-authorization", "te", "trailers", "transfer-encoding",
        "upgrade", "via",
    }
)  # fmt: skip

Look = Callable[[str], str | None]
"""The value of an expression without its dollar sign, `request.header.x`; None: there is none."""


class BadParameter(Exception):
    """A mapped value that can't be sent: it holds a line break, or is no status."""


@dataclass(slots=True)
class Mapped:
    """A request or response on its way through a mapping."""

    fields: Fields
    query: list[tuple[str, str]]
    path: str | None = None
    status: int | None = None


def is_reserved(header: str) -> bool:
    """Whether a header name is not to be mapped."""
    return header.lower() in _RESERVED_NAMES or header.lower().startswith(RESERVED)


def apply(parameters: Mapping[str, str], mapped: Mapped, look: Look) -> None:
    """Change `mapped` as the parameters say. Raises BadParameter."""
    for name, expression in parameters.items():
        action, _, target = name.partition(":")
        place, _, key = target.partition(".")
        value = None if action == "remove" else resolve(expression, look)
        if action != "remove" and value is None:
            continue  # what is not there changes nothing
        if place == "header":
            _header(mapped, action, key, value)
        elif place == "querystring":
            if action != "append":
                mapped.query = [pair for pair in mapped.query if pair[0] != key]
            if value is not None:
                mapped.query.append((key, value))
        elif place == "path":
            mapped.path = value
        elif place == "statuscode":
            if value is None or not (value.isascii() and value.isdigit() and 200 <= int(value[:6]) <= 599):
                raise BadParameter(f"{expression} is no status from 200 to 599: {value}")
            mapped.status = int(value)


def _header(mapped: Mapped, action: str, key: str, value: str | None) -> None:
    name = key.lower().encode()
    if action != "append":
        mapped.fields = [field for field in mapped.fields if field[0].lower() != name]
    if value is not None:
        raw = value.encode("utf-8", "replace").strip(b" \t")
        if _CONTROL.search(raw):
            raise BadParameter(f"the value of {key} holds a line break or another control character")
        mapped.fields.append((name, raw))


def resolve(expression: str, look: Look) -> str | None:
    """An expression's value: that of one variable, or text with variables in it."""
    if _WHOLE.fullmatch(expression):
        return look(expression[1:])
    if "${" not in expression:
        return expression
    return _INSIDE.sub(lambda found: look(found[1].removeprefix("$")) or "", expression)


def body_value(body: bytes, path: str) -> str | None:
    """A member of a JSON body, `a.b[0]`; text as it is, else as JSON."""
    try:
        value: Any = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    for part in re.findall(r"[^.\[\]]+", path):
        if isinstance(value, dict) and part in value:
            value = value[part]
        elif isinstance(value, list) and part.isascii() and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
        else:
            return None
    if value is None or isinstance(value, str):
        return value
    return orjson.dumps(value).decode()


def query_text(pairs: list[tuple[str, str]]) -> str:
    """A query string of decoded pairs."""
    return "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in pairs)
