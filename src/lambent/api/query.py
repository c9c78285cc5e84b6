"""The query protocol: an action and its parameters as a form, the answer as XML.

    Action=TagRole&Version=2010-05-08&RoleName=r&Tags.member.1.Key=k&Tags.member.1.Value=v

Parsing and writing follow the generated tables (`iam.json`, `sts.json`), values are validated as those of Lambda's own
operations. What a table names without a handler is answered as valid and not served, never with something made up.
Source: Smithy specification, "AWS query protocol"; the services' own common errors.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from lambent import __version__
from lambent.api.foreign import Protocol, foreign_error, xml_text
from lambent.api.ports import Authenticator
from lambent.api.running import Running
from lambent.api.table import Operation, Shape, Table
from lambent.api.validation import validate
from lambent.api.wire import QueryError, render
from lambent.domain.errors import LambentError, NotServed, RequestEntityTooLarge, ServiceFault
from lambent.domain.ids import new_uuid
from lambent.http import Buffered, Exchange
from lambent.identity.canonical import decode

if TYPE_CHECKING:
    from lambent.http import Request
    from lambent.identity.model import Caller

FORM_BYTES_MAX = 1_048_576
"""Body of one request: many times the largest policy."""
FORM_PARAMETERS_MAX = 2_000
"""Parameters of one request; the largest modelled one has some hundred."""

QueryHandler = Callable[["Caller", dict[str, Any]], Awaitable[dict[str, Any]]]
"""One operation: caller, input as the model has it → output as the model has it, times in epoch milliseconds."""

_BODY = Buffered(FORM_BYTES_MAX)
_XML = (b"content-type", b"text/xml")

CODES = {
    "MissingAuthenticationTokenException": ("MissingAuthenticationToken", 403),
    "UnrecognizedClientException": ("InvalidClientTokenId", 403),
    "ExpiredTokenException": ("ExpiredToken", 403),
    "InvalidSignatureException": ("SignatureDoesNotMatch", 403),
    "IncompleteSignatureException": ("IncompleteSignature", 400),
    "AccessDeniedException": ("AccessDenied", 403),
    "ValidationException": ("ValidationError", 400),
    "TooManyRequestsException": ("Throttling", 400),
    "RequestEntityTooLargeException": ("RequestEntityTooLarge", 413),
    "ServiceException": ("ServiceFailure", 500),
}
"""Codes of the JSON protocols → those of this one, where they differ, with their status."""


class QueryTable:
    """The operations of one service, read on first use: most servers never hear of them."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @cached_property
    def _raw(self) -> dict[str, Any]:
        raw: dict[str, Any] = orjson.loads(self._path.read_bytes())
        return raw

    @cached_property
    def table(self) -> Table:
        return Table(self._raw)

    @property
    def version(self) -> str:
        """The API version that requests name."""
        return str(self._raw["api_version"])

    @property
    def namespace(self) -> str:
        return str(self._raw["namespace"])

    @property
    def others(self) -> list[str]:
        """Names of the service's operations that the table doesn't describe."""
        return list(self._raw["others"])


IAM = QueryTable(Path(__file__).with_name("iam.json"))
STS = QueryTable(Path(__file__).with_name("sts.json"))


@dataclass(slots=True)
class _Asked:
    """A request of the query protocol, kept from its head to its answer."""

    request_id: str
    caller: Caller


class QueryDoor:
    """An application for one service of the query protocol: an application for the door's service mount."""

    def __init__(self, name: str, table: QueryTable, authenticator: Authenticator, running: Running) -> None:
        self._name = name
        self._table = table
        self._authenticator = authenticator
        self._running = running
        self._handlers: dict[str, QueryHandler] = {}

    def register(self, operation: str, handler: QueryHandler) -> None:
        """Serve an operation of the table. Raises ValueError for one that is served already."""
        if operation in self._handlers:
            raise ValueError(f"{operation} has a handler already")
        self._handlers[operation] = handler

    @property
    def operations_served(self) -> list[str]:
        return sorted(self._handlers)

    # The HTTP core's application

    def head(self, exchange: Exchange) -> Buffered | None:
        request_id = new_uuid()
        try:
            caller = self._authenticator.identify(exchange.request)
        except Exception as error:
            self._refuse(exchange, error, request_id)
            return None
        exchange.context = _Asked(request_id, caller)
        return _BODY

    def handle(self, exchange: Exchange) -> None:
        asked: _Asked = exchange.context
        try:
            self._running.admit()
        except LambentError as error:
            self._refuse(exchange, error, asked.request_id)
            return
        self._running.start(self._serve(exchange, asked), self._name)

    def too_large(self, exchange: Exchange, limit: int, declared: int | None) -> None:
        error = RequestEntityTooLarge(f"Request must be smaller than {limit} bytes")
        self._refuse(exchange, error, exchange.context.request_id)

    async def _serve(self, exchange: Exchange, asked: _Asked) -> None:
        request = exchange.request
        try:
            checking = self._authenticator.verify(request, asked.caller)
            if checking is not None:
                await checking
            parameters = read_parameters(request)
            operation = self._operation(parameters)
            values = read_input(operation, parameters)
            validate(operation, values)
            output = await self._handlers[operation.name](asked.caller, values)
            body = write_answer(operation, output, self._table.namespace, asked.request_id)
        except Exception as error:
            self._refuse(exchange, error, asked.request_id)
            return
        except asyncio.CancelledError:
            self._refuse(exchange, ServiceFault("The server is shutting down."), asked.request_id)
            raise
        exchange.respond(200, [(b"x-amzn-requestid", asked.request_id.encode()), _XML], body)

    def _operation(self, parameters: Mapping[str, str]) -> Operation:
        name = parameters.get("Action")
        if not name:
            raise QueryError("MissingAction", "The request does not name an Action.")
        version = parameters.get("Version", self._table.version)
        is_known = name in self._table.table.operations or name in self._table.others
        if not is_known or version != self._table.version:
            raise QueryError("InvalidAction", f"Could not find operation {name} for version {version}")
        if name not in self._handlers:
            raise NotServed(
                f"{name} is a valid operation of {self._name}, but Lambent {__version__} does not serve it. "
                f"Operations of {self._name} that are served: {', '.join(self.operations_served)}."
            )
        return self._table.table.operations[name]

    def _refuse(self, exchange: Exchange, error: Exception, request_id: str) -> None:
        answer = render(error, request_id)
        code, status = CODES.get(answer.code, (answer.code, answer.status))
        headers, body = foreign_error(
            Protocol.QUERY, status, code, answer.message, request_id, namespace=self._table.namespace
        )
        exchange.respond(status, headers, body)


# Reading


def read_parameters(request: Request) -> dict[str, str]:
    """The parameters of a form, or of the query where there is no body; the first of a name. Raises QueryError."""
    raw = request.body or request.query
    pairs = raw.split(b"&")
    if len(pairs) > FORM_PARAMETERS_MAX:
        raise QueryError(
            "MalformedQueryString", f"A request has at most {FORM_PARAMETERS_MAX} parameters; {len(pairs)} were sent."
        )
    found: dict[str, str] = {}
    for pair in pairs:
        name, _, value = pair.partition(b"=")
        try:
            found.setdefault(decode(name).decode(), decode(value).decode())
        except UnicodeDecodeError:
            raise QueryError("MalformedQueryString", "The parameters of the request are not UTF-8.") from None
    return found


def read_input(operation: Operation, parameters: Mapping[str, str]) -> dict[str, Any]:
    """An operation's input from its parameters; absent members are absent. Raises QueryError for what is no number."""
    shape = operation.input
    return {} if shape is None else _read_structure(shape, _tree(parameters))


_Node = dict[str | None, Any]
"""Parameters by the first part of their names; what stands at a node itself is under None, which no name is."""
INDEX_CHARS_MAX = 6
"""Digits of a place in a list; what has more is no place."""


def _tree(parameters: Mapping[str, str]) -> _Node:
    root: _Node = {}
    for name, value in parameters.items():
        node = root
        for part in name.split("."):
            node = node.setdefault(part, {})
        node[None] = value
    return root


def _read_structure(shape: Shape, node: _Node) -> dict[str, Any]:
    return {name: _read(member.shape, node[name], name) for name, member in shape.members.items() if name in node}


def _read(shape: Shape, node: _Node, name: str) -> Any:
    if shape.kind == "structure":
        return _read_structure(shape, node)
    if shape.kind == "list":
        items: _Node = node.get("member", {})
        numbered = sorted((int(at), at) for at in items if at is not None and _is_index(at))
        return [_read(shape.element, items[at], name) for _, at in numbered]
    text: str = node.get(None, "")
    if shape.kind == "boolean":
        if text.lower() not in ("true", "false"):
            raise _unreadable(name, text, "a boolean")
        return text.lower() == "true"
    if shape.kind in ("integer", "long"):
        try:
            return int(text)
        except ValueError:
            raise _unreadable(name, text, "a number") from None
    return text


def _is_index(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= INDEX_CHARS_MAX


def _unreadable(name: str, text: str, kind: str) -> QueryError:
    return QueryError("MalformedInput", f"{name} is {kind}, not {text!r}.")


# Writing


def write_answer(operation: Operation, output: Mapping[str, Any], namespace: str, request_id: str) -> bytes:
    """An answer as XML. Members that are None or missing stay away. Raises UnknownOutput for one the model lacks."""
    shape = operation.output
    parts = [f'<{operation.name}Response xmlns="{namespace}">']
    if shape is not None:
        parts.append(f"<{operation.name}Result>")
        parts += _structure(shape, output)
        parts.append(f"</{operation.name}Result>")
    elif output:
        raise UnknownOutput(f"{operation.name} has no output")
    parts.append(f"<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata></{operation.name}Response>")
    return "".join(parts).encode()


class UnknownOutput(Exception):
    """A handler answered a member that the model lacks: a bug of ours."""


def _structure(shape: Shape, values: Mapping[str, Any]) -> Iterator[str]:
    for name in values:
        if name not in shape.members:
            raise UnknownOutput(f"{shape.name} has no member {name}")
    for name, member in shape.members.items():
        if (value := values.get(name)) is not None:
            yield from _element(member.shape, name, value)


def _element(shape: Shape, name: str, value: Any) -> Iterator[str]:
    yield f"<{name}>"
    if shape.kind == "structure":
        yield from _structure(shape, value)
    elif shape.kind == "list":
        for one in value:
            yield from _element(shape.element, "member", one)
    elif shape.kind == "timestamp":
        yield time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(value // 1_000))
    elif shape.kind == "boolean":
        yield "true" if value else "false"
    else:
        yield xml_text(str(value))
    yield f"</{name}>"
