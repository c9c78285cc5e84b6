"""From a routed request to the operation's input: PascalCase members, typed as the model says.

Blobs are bytes, timestamps are epoch seconds (int or float), absent members and JSON nulls are absent; unknown members
and parameters are ignored, names are case-sensitive, the last of two equal JSON names wins. Nulls inside lists and maps
stay, because the model may forbid them there (`validation`).

What cannot be read as the model's type is a `SerializationException`. The service's own front end words these as its
other JSON services do ("STRING_VALUE can not be converted to an Integer"); for a body that is no JSON at all its text is
not known, and ours says what the parser said.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote_to_bytes

import orjson

from lambent.api.lifting import decode_slices, load_lifted
from lambent.api.routing import decode_label
from lambent.api.sizes import UPLOADS
from lambent.api.table import INVOKE_FAMILY, Member, Operation, Shape
from lambent.domain.errors import LambentError

QUERY_PARAMETERS_MAX = 256
"""Parameters of one query string."""

_INT_BITS = {"integer": 31, "long": 63}
_JAVA_NAMES = {"integer": "an Integer", "long": "a Long", "double": "a Double", "boolean": "a Boolean"}
_MAP_FOUND = "Start of structure or map found where not expected."
_LIST_FOUND = "Start of list found where not expected"
_SCALAR_FOUND = "Unexpected field type"
_NOT_BASE64 = "The blob is not valid base64."


class Unreadable(LambentError):
    """The request cannot be read as the model's types; nothing of it was looked at further."""


def parse_input(
    operation: Operation,
    labels: Sequence[bytes],
    query: bytes,
    headers: Iterable[tuple[bytes, bytes]],
    body: bytes,
) -> dict[str, Any]:
    """The operation's input. The Invoke family's payload is left alone.

    labels, query: raw, as `Router.match` had them. headers: lower-case names. Raises Unreadable.
    """
    shape = operation.input
    if shape is None:
        return {}
    values = parse_bound(operation, shape, labels, query, headers)
    if operation.name not in INVOKE_FAMILY:
        _parse_body(operation, shape, body, values)
    return values


def parse_bound(
    operation: Operation,
    shape: Shape,
    labels: Sequence[bytes],
    query: bytes,
    headers: Iterable[tuple[bytes, bytes]],
) -> dict[str, Any]:
    """The members that travel in the path, the query and the headers. Raises Unreadable."""
    values: dict[str, Any] = {}
    by_label = dict(zip((s[1:-1] for s in operation.path if s[0] == "{"), labels, strict=True))
    parameters = parse_query(query) if query else {}
    received: dict[bytes, bytes] | None = None
    for member in shape.members.values():
        if member.location is None:
            continue
        if member.location == "uri":
            values[member.name] = _from_text(member.shape, decode_label(by_label[member.wire_name]))
        elif member.location == "querystring":
            texts = parameters.get(member.wire_name)
            if texts is None:
                continue
            if member.shape.kind == "list":
                values[member.name] = [_from_text(member.shape.element, text) for text in texts]
            else:
                values[member.name] = _from_text(member.shape, texts[0])
        elif member.location == "header":
            if received is None:
                received = {}
                for name, value in headers:
                    received.setdefault(name, value)
            raw = received.get(member.wire_name.lower().encode())
            if raw is not None:
                values[member.name] = _from_text(member.shape, decode_header(raw))
    return values


def decode_header(raw: bytes) -> str:
    """A header's value; UTF-8 as SDKs send it, Latin-1 where it is not."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def parse_query(query: bytes) -> dict[str, list[str]]:
    """Names to values in order of appearance; "+" is a space. Raises Unreadable."""
    parts = query.split(b"&")
    if len(parts) > QUERY_PARAMETERS_MAX:
        raise Unreadable(f"The query string has more than {QUERY_PARAMETERS_MAX} parameters.")
    parameters: dict[str, list[str]] = {}
    for part in parts:
        if part:
            name, _, value = part.partition(b"=")
            parameters.setdefault(_decode_component(name), []).append(_decode_component(value))
    return parameters


def _decode_component(raw: bytes) -> str:
    try:
        return unquote_to_bytes(raw.replace(b"+", b" ")).decode()
    except UnicodeDecodeError:
        raise Unreadable("The query string is not valid UTF-8.") from None


def _parse_body(operation: Operation, shape: Shape, body: bytes, values: dict[str, Any]) -> None:
    if shape.payload is not None:
        payload = shape.members[shape.payload].shape
        if not body:
            return
        if payload.kind == "blob":
            values[shape.payload] = body
            return
        document = _load(body)
        if document is not None:
            values[shape.payload] = _from_json(payload, document)
        return
    in_body = [member for member in shape.members.values() if member.location is None]
    if not in_body or not body:
        return
    document = _load_upload(body, UPLOADS[operation.name]) if operation.name in UPLOADS else _load(body)
    if document is None:
        return
    if not isinstance(document, dict):
        raise Unreadable(_LIST_FOUND if isinstance(document, list) else _SCALAR_FOUND)
    _read_members(in_body, document, values)


def _load(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Unreadable(f"Could not parse request body into json: {error}") from None


def _load_upload(body: bytes, inside: str | None) -> Any:
    try:
        return load_lifted(body, inside)
    except orjson.JSONDecodeError as error:
        raise Unreadable(f"Could not parse request body into json: {error}") from None
    except ValueError:
        raise Unreadable(_NOT_BASE64) from None


def _read_members(members: Iterable[Member], document: dict[str, Any], values: dict[str, Any]) -> None:
    for member in members:
        found = document.get(member.wire_name)
        if found is not None:
            values[member.name] = _from_json(member.shape, found)


def _from_json(shape: Shape, value: Any) -> Any:
    return _READERS[shape.kind](shape, value)


def _structure(shape: Shape, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Unreadable(_LIST_FOUND if isinstance(value, list) else _SCALAR_FOUND)
    values: dict[str, Any] = {}
    _read_members(shape.members.values(), value, values)
    return values


def _list(shape: Shape, value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise Unreadable(_MAP_FOUND if isinstance(value, dict) else _SCALAR_FOUND)
    element = shape.element
    read = _READERS[element.kind]
    return [None if item is None else read(element, item) for item in value]


def _map(shape: Shape, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Unreadable(_LIST_FOUND if isinstance(value, list) else _SCALAR_FOUND)
    inner = shape.value
    read = _READERS[inner.kind]
    return {key: None if item is None else read(inner, item) for key, item in value.items()}


def _string(shape: Shape, value: Any) -> str:
    if isinstance(value, str):
        return value
    raise _mismatch(value, "a String")


def _boolean(shape: Shape, value: Any) -> bool:
    if isinstance(value, bool):
        return value
    raise _mismatch(value, "a Boolean")


def _integer(shape: Shape, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _mismatch(value, _JAVA_NAMES[shape.kind])
    if isinstance(value, float):
        if not math.isfinite(value):
            raise _mismatch(value, _JAVA_NAMES[shape.kind])
        value = int(value)  # the service cuts fractions off
    if not -(1 << _INT_BITS[shape.kind]) <= value < 1 << _INT_BITS[shape.kind]:
        raise _mismatch(value, _JAVA_NAMES[shape.kind])
    return int(value)


def _double(shape: Shape, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise _mismatch(value, "a Double")
    return float(value)


def _timestamp(shape: Shape, value: Any) -> float:
    if isinstance(value, str):
        return _time_from_text(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise _mismatch(value, "a Timestamp")
    return value


def _blob(shape: Shape, value: Any) -> bytes:
    if isinstance(value, bytes):  # lifted out before the document was parsed
        return value
    if not isinstance(value, str):
        raise _mismatch(value, "a Blob")
    return decode_base64(value)


_READERS: dict[str, Callable[[Shape, Any], Any]] = {
    "structure": _structure,
    "list": _list,
    "map": _map,
    "string": _string,
    "boolean": _boolean,
    "integer": _integer,
    "long": _integer,
    "double": _double,
    "timestamp": _timestamp,
    "blob": _blob,
}


def decode_base64(text: str) -> bytes:
    """Standard alphabet, padded, nothing else in it. Raises Unreadable."""
    try:
        return decode_slices(text)
    except ValueError:
        raise Unreadable(_NOT_BASE64) from None


def _from_text(shape: Shape, text: str) -> Any:
    """A value that travels as text: in the path, the query or a header."""
    kind = shape.kind
    if kind == "string":
        return text
    if kind in _INT_BITS:
        digits = text[1:] if text[:1] == "-" else text
        if not (digits.isascii() and digits.isdigit() and len(digits) <= 20):
            raise _mismatch(text, _JAVA_NAMES[kind])
        return _integer(shape, int(text))
    if kind == "boolean":
        if text not in ("true", "false"):
            raise _mismatch(text, "a Boolean")
        return text == "true"
    if kind == "timestamp":
        return _time_from_text(text)
    raise Unreadable(_SCALAR_FOUND)


def _time_from_text(text: str) -> float:
    """Epoch seconds from ISO 8601, the HTTP date form, or a number written as text."""
    for read in (float, _iso_8601, _http_date):
        try:
            seconds = read(text)
        except (ValueError, OverflowError, TypeError):
            continue
        if math.isfinite(seconds):
            return seconds
    raise _mismatch(text, "a Timestamp")


def _iso_8601(text: str) -> float:
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _http_date(text: str) -> float:
    from email.utils import parsedate_to_datetime  # rare, and not cheap to import

    return parsedate_to_datetime(text).timestamp()


def _mismatch(value: Any, wanted: str) -> Unreadable:
    if isinstance(value, dict):
        return Unreadable(_MAP_FOUND)
    if isinstance(value, list):
        return Unreadable(_LIST_FOUND)
    if isinstance(value, bool):
        return Unreadable(f"{'TRUE' if value else 'FALSE'}_VALUE can not be converted to {wanted}")
    return Unreadable(f"{'STRING' if isinstance(value, str) else 'NUMBER'}_VALUE can not be converted to {wanted}")
