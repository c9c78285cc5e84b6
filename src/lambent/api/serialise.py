"""From an operation's output to status, headers and body.

Members that are None or missing stay away, also deep inside; blobs become base64; timestamps are epoch seconds as JSON
numbers (members the model types as strings are strings already); members bound to headers or to the status travel there.
"""

from __future__ import annotations

import binascii
from collections.abc import Callable
from typing import Any

import orjson

from lambent.api.table import Operation, Shape

CONTENT_TYPE_JSON = (b"content-type", b"application/json")


class UnknownMember(ValueError):
    """A handler answered with a member the model does not have: a bug of ours, answered as one."""


def serialise(
    operation: Operation, output: dict[str, Any], status: int | None = None
) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """Status, headers (without request id and content type) and body of a successful answer.

    output: PascalCase members. status: overrides the table's. Raises UnknownMember.
    """
    shape = operation.output
    answered = operation.status if status is None else status
    headers: list[tuple[bytes, bytes]] = []
    if shape is None:
        if output:
            raise UnknownMember(f"{operation.name} answers nothing, not {sorted(output)}")
        return answered, headers, b""
    members = shape.members
    in_body: dict[str, Any] = {}
    body = b""
    for name, value in output.items():
        member = members.get(name)
        if member is None:
            raise UnknownMember(f"{operation.name} answers no member {name}")
        if value is None:
            continue
        if member.location == "statusCode":
            answered = int(value) if status is None else status
        elif member.location == "header":
            headers.append((member.wire_name.lower().encode(), str(value).encode()))
        elif name == shape.payload:
            body = value if member.shape.kind == "blob" else orjson.dumps(_plain(member.shape, value))
        else:
            in_body[member.wire_name] = _plain(member.shape, value)
    if shape.payload is None and answered != 204 and any(m.location is None for m in members.values()):
        body = orjson.dumps(in_body)
    return answered, headers, body


def _plain(shape: Shape, value: Any) -> Any:
    convert = _WRITERS.get(shape.kind)
    return value if convert is None else convert(shape, value)


def _structure(shape: Shape, value: dict[str, Any]) -> dict[str, Any]:
    plain: dict[str, Any] = {}
    for name, item in value.items():
        member = shape.members.get(name)
        if member is None:
            raise UnknownMember(f"{shape.name} has no member {name}")
        if item is not None:
            plain[member.wire_name] = _plain(member.shape, item)
    return plain


def _list(shape: Shape, value: list[Any]) -> list[Any]:
    element = shape.element
    return [_plain(element, item) for item in value]


def _map(shape: Shape, value: dict[str, Any]) -> dict[str, Any]:
    inner = shape.value
    return {key: _plain(inner, item) for key, item in value.items()}


def _blob(shape: Shape, value: bytes) -> str:
    return binascii.b2a_base64(value, newline=False).decode()


def _double(shape: Shape, value: float) -> float:
    return float(value)


_WRITERS: dict[str, Callable[[Shape, Any], Any]] = {
    "structure": _structure,
    "list": _list,
    "map": _map,
    "blob": _blob,
    "double": _double,
}
