"""Whether an answer is one that the service could have given: by botocore's model, not by our table.

Statuses, error codes and their headers, and every member of a body: known, of the right type, never null.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from botocore.eventstream import EventStreamBuffer, ParserError
from botocore.model import OperationModel, ServiceModel, Shape

from .calls import Call

COMMON_CODES = frozenset(
    {
        "ValidationException",
        "SerializationException",
        "RequestEntityTooLargeException",
        "AccessDeniedException",
        "InvalidParameterValueException",
        "TooManyRequestsException",
        "ResourceNotFoundException",
        "ServiceException",
        "UnsupportedMediaTypeException",
        "InvalidRequestContentException",
    }
)
"""Codes that answers carry although an operation's model does not list them."""
UNKNOWN = frozenset({"UnknownOperationException"})
"""What a bent path or method may be answered with."""
NOT_SERVED = re.compile(r"DurableExecution|CapacityProvider|FunctionScalingConfig|SendDurable")
"""Operations that answer 501 for now."""
REAL_STATUS = {"DeleteFunction": (204,)}
INVOKES = frozenset({"Invoke", "InvokeAsync", "InvokeWithResponseStream"})


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer as it came."""

    status: int
    headers: Mapping[str, str]
    """Lower-case names."""
    body: bytes


class Judge:
    """Finds what is wrong with answers."""

    def __init__(self, model: ServiceModel) -> None:
        self._model = model

    def problems(self, call: Call, reply: Reply) -> Iterator[str]:
        """A sentence for each thing that the service would not have answered."""
        if (
            re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", reply.headers.get("x-amzn-requestid", ""))
            is None
        ):
            yield f"no request id: {reply.headers}"
        if reply.status >= 500 and reply.status != 501:
            yield f"status {reply.status}: {reply.body[:500]!r}"
            return
        if call.method == "HEAD":
            return
        bent = any(fault in ("path", "method", "query") for fault in call.faults)
        model = self._model.operation_model(call.operation)
        if reply.status == 501:
            if (
                not bent
                and NOT_SERVED.search(call.operation) is None
                and "durable-execution-name" not in str(call.headers).lower()
            ):
                yield "501 from an operation that is served"
            yield from self._error(call, model, reply, {"NotImplementedException"})
        elif reply.status >= 400:
            codes = {shape.name for shape in model.error_shapes} | COMMON_CODES | (UNKNOWN if bent else frozenset())
            if bent:  # another operation may have been meant
                codes |= {
                    shape.name
                    for name in self._model.operation_names
                    for shape in self._model.operation_model(name).error_shapes
                }
            yield from self._error(call, model, reply, codes)
        elif call.operation == "InvokeWithResponseStream" and not bent and reply.status == 200:
            yield from self._stream(reply)
        elif bent or call.operation in INVOKES:
            return  # what it turned into is not known; a function's own answer is its own
        else:
            yield from self._success(model, reply)

    def _error(
        self, call: Call, model: OperationModel, reply: Reply, codes: set[str] | frozenset[str]
    ) -> Iterator[str]:
        code = reply.headers.get("x-amzn-errortype")
        if code not in codes:
            yield f"{reply.status} with code {code}: {reply.body[:300]!r}"
        try:
            document = json.loads(reply.body)
        except ValueError:
            yield f"an error that is no JSON: {reply.body[:300]!r}"
            return
        messages = [name for name in document if name.lower() == "message"]
        if len(messages) != 1 or not isinstance(document[messages[0]], str | None):
            yield f"an error with {len(messages)} messages: {document}"
        known = {"Type", "message", "Message", "Reason"}
        if any(name == "X-Amz-Target" for name, _ in call.headers):
            known.add("__type")  # a client of a JSON service reads its errors by this
        if set(document) - known:
            yield f"an error with unknown members: {document}"
        if document.get("Type", "User") not in ("User", "Service"):
            yield f"an error of Type {document['Type']}"
        for shape in model.error_shapes:
            if shape.name == code:
                if reply.status != shape.metadata.get("error", {}).get("httpStatusCode", reply.status):
                    yield f"{code} with status {reply.status}"
                if not set(messages) <= set(shape.members):
                    yield f"{code} has {messages}, its model {list(shape.members)}"
        if len(reply.body) > 70_000:
            yield f"an error of {len(reply.body)} bytes"

    def _stream(self, reply: Reply) -> Iterator[str]:
        buffer = EventStreamBuffer()
        buffer.add_data(reply.body)
        try:
            types = [message.headers.get(":event-type") for message in buffer]
        except ParserError as error:
            yield f"not an event stream, {error}: {reply.body[:300]!r}"
            return
        if buffer._data or types[-1:] != ["InvokeComplete"] or set(types[:-1]) - {"PayloadChunk"}:
            yield f"a stream of {types}, with {len(buffer._data)} bytes left over"

    def _success(self, model: OperationModel, reply: Reply) -> Iterator[str]:
        wanted = REAL_STATUS.get(model.name, (model.http.get("responseCode", 200),))
        if reply.status not in wanted:
            yield f"status {reply.status}, not {wanted}"
        shape = model.output_shape
        in_body = {} if shape is None else {n: m for n, m in shape.members.items() if "location" not in m.serialization}
        if reply.status == 204 or not in_body:
            if reply.body not in (b"", b"{}"):
                yield f"a body where there is none: {reply.body[:200]!r}"
            return
        if not reply.body and model.name == "GetFunctionCodeSigningConfig":
            return
        try:
            document = json.loads(reply.body)
        except ValueError:
            yield f"an answer that is no JSON: {reply.body[:300]!r}"
            return
        assert shape is not None
        if "payload" in shape.serialization:
            yield from self._conforms(shape.members[shape.serialization["payload"]], document, "")
            return
        yield from self._members(shape, in_body, document, "")

    def _members(self, shape: Shape, members: Mapping[str, Shape], document: Any, path: str) -> Iterator[str]:
        if not isinstance(document, dict):
            yield f"{path or 'the answer'} is no object: {document!r:.100}"
            return
        by_wire = {member.serialization.get("name", name): (name, member) for name, member in members.items()}
        for wire, value in document.items():
            if wire not in by_wire:
                yield f"{path}{wire} is unknown to the model"
            elif value is None:
                yield f"{path}{wire} is null"
            else:
                yield from self._conforms(by_wire[wire][1], value, f"{path}{wire}.")
        for name in shape.required_members:
            if name in members and members[name].serialization.get("name", name) not in document:
                yield f"{path}{name} is missing"

    def _conforms(self, shape: Shape, value: Any, path: str) -> Iterator[str]:
        kind = shape.type_name
        if kind == "structure":
            yield from self._members(shape, shape.members, value, path)
        elif kind == "list":
            if not isinstance(value, list):
                yield f"{path} is no list: {value!r:.100}"
                return
            for item in value:
                yield from self._conforms(shape.member, item, path)
        elif kind == "map":
            if not isinstance(value, dict):
                yield f"{path} is no map: {value!r:.100}"
                return
            for item in value.values():
                yield from self._conforms(shape.value, item, path)
        elif not _is(kind, value):
            yield f"{path} is no {kind}: {value!r:.100}"


def _is(kind: str, value: Any) -> bool:
    if kind in ("integer", "long"):
        return type(value) is int
    if kind in ("double", "float", "timestamp"):
        return type(value) in (int, float)
    if kind == "boolean":
        return type(value) is bool
    return isinstance(value, str)
