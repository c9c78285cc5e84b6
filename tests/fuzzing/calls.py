"""From the service model that botocore carries to HTTP requests, seeded: what a client could send, and what none would.

Nothing here reads our own table of operations. A call starts as a valid one over a small world (few names, so that calls
meet), then gets up to three faults: members missing, extra, null, of a wrong type, length, pattern or enum; encodings,
paths, queries and bodies that no SDK writes.
"""

from __future__ import annotations

import base64
import json
import random
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from botocore.loaders import Loader
from botocore.model import OperationModel, ServiceModel, Shape
from tests.support import PYTHON_RUNTIME, package

ACCOUNT, REGION = "123456789012", "us-east-1"
ARN = f"arn:aws:lambda:{REGION}:{ACCOUNT}"
HARVEST_MAX = 64
"""Identifiers of each kind kept from answers."""
FAULTS_MAX = 3

CODE = package({"app.py": "def handler(event, context):\n    return event\n"})
LAYER = package({"python/shared.py": "WHO = 'layer'\n"})

Value = Any


@dataclass(frozen=True, slots=True)
class Call:
    """One request, ready to be sent, and what it was made of."""

    operation: str
    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    faults: tuple[str, ...]

    @property
    def is_reading(self) -> bool:
        """Whether the operation, by its name, changes nothing; a bent call may have become another."""
        return self.operation.startswith(("Get", "List")) and not {"path", "method", "query"} & set(self.faults)

    def shown(self) -> str:
        """For a report: what somebody types to send it again."""
        headers = " ".join(f"-H {name}: {value!r}" for name, value in self.headers)
        return f"{self.operation} {list(self.faults)}: {self.method} {self.target[:600]} {headers} {self.body[:1500]!r}"


@dataclass
class World:
    """Names that calls use: a few of our own, and what answers have told."""

    functions: list[str] = field(default_factory=lambda: [f"fn{n}" for n in range(6)])
    aliases: list[str] = field(default_factory=lambda: ["live", "blue", "PROD_1"])
    layers: list[str] = field(default_factory=lambda: ["lay0", "lay1", "lay2"])
    harvested: dict[str, deque[str]] = field(default_factory=dict)

    def learn(self, document: Any, member: str = "") -> None:
        """Keep identifiers of an answer."""
        if isinstance(document, dict):
            for name, value in document.items():
                self.learn(value, name)
        elif isinstance(document, list):
            for value in document:
                self.learn(value, member)
        elif isinstance(document, str) and (member in _LEARNT or document.startswith("arn:")) and len(document) < 400:
            kind = _kind(member, document)
            kept = self.harvested.setdefault(kind, deque(maxlen=HARVEST_MAX))
            if document not in kept:
                kept.append(document)

    def pick(self, rng: random.Random, kind: str) -> str | None:
        kept = self.harvested.get(kind)
        return rng.choice(kept) if kept else None


_LEARNT = frozenset({"RevisionId", "UUID", "NextMarker", "CodeSha256", "CodeSigningConfigId", "Version"})


def _kind(member: str, text: str) -> str:
    if text.startswith("arn:"):
        for part in ("code-signing-config", "event-source-mapping", "layer", "function", "runtime"):
            if f":{part}:" in text:
                return part
        return "arn"
    return member


class Maker:
    """Makes calls; the same seed makes the same calls as long as the answers are the same."""

    def __init__(self, seed: int, world: World | None = None) -> None:
        self.rng = random.Random(seed)
        self.world = world or World()
        self.model = ServiceModel(Loader().load_service_model("lambda", "service-2"), "lambda")
        self._names = list(self.model.operation_names)
        self._weights = [_WEIGHTS.get(name, 4) for name in self._names]

    def call(self, operation: str | None = None) -> Call:
        """The next call; of one operation, if named."""
        rng = self.rng
        name = operation or rng.choices(self._names, self._weights)[0]
        model = self.model.operation_model(name)
        values = self._structure(model.input_shape, 0) if model.input_shape is not None else {}
        self._sharpen(name, values)
        faults: list[str] = []
        for _ in range(rng.choices(range(FAULTS_MAX + 1), (60, 24, 11, 5))[0]):
            faults.append(self._break(model.input_shape, values))
        call = _Request(model, values, rng).call(tuple(faults))
        if rng.random() < 0.06:
            return self._bend(call)
        return call

    # --- valid values ---------------------------------------------------------------------------------------------

    def _structure(self, shape: Shape, depth: int) -> dict[str, Value]:
        values: dict[str, Value] = {}
        wanted = 0.35 if depth == 0 else 0.6
        for name, member in shape.members.items():
            if name in shape.required_members or self.rng.random() < wanted:
                values[name] = self.value(name, member, depth + 1)
        return values

    def value(self, name: str, shape: Shape, depth: int = 0) -> Value:
        """A value that the model allows, mostly."""
        rng = self.rng
        special = self._special(name, shape)
        if special is not None:
            return special
        match shape.type_name:
            case "structure":
                return self._structure(shape, depth)
            case "list":
                least, most = _bounds(shape, 0, 3)
                return [
                    self.value(name, shape.member, depth + 1)
                    for _ in range(rng.randint(least, max(least, min(most, 3))))
                ]
            case "map":
                return {
                    str(self.value("Key", shape.key)): self.value("Value", shape.value, depth + 1)
                    for _ in range(rng.randint(0, 3))
                }
            case "integer" | "long":
                least, most = _bounds(shape, 0, 1_000)
                return rng.choice((least, most, rng.randint(least, most), rng.randint(least, min(most, least + 20))))
            case "double" | "float":
                least, most = _bounds(shape, 0, 1)
                return rng.choice((float(least), float(most), rng.uniform(least, most)))
            case "boolean":
                return rng.random() < 0.5
            case "timestamp":
                return rng.choice((0, 1_764_000_000, 1_764_000_000.25, "2026-01-01T00:00:00Z"))
            case "blob":
                return base64.b64encode(CODE).decode()
        return self._string(shape)

    def _string(self, shape: Shape) -> str:
        rng = self.rng
        if shape.enum:
            return rng.choice(shape.enum)
        least, most = _bounds(shape, 1, 12)
        return "".join(rng.choices("abcdefghij0123456789", k=rng.randint(least, max(least, min(most, least + 12)))))

    def _special(self, name: str, shape: Shape) -> Value:
        """What only a name that means something makes interesting."""
        rng, world = self.rng, self.world
        maker = _SPECIAL.get(name) or _SPECIAL_SHAPES.get(shape.name)
        if maker is None:
            return None
        value = maker(rng, world)
        if shape.type_name == "list" and not isinstance(value, list):
            return [value]
        return value

    def _sharpen(self, name: str, values: dict[str, Value]) -> None:
        """Make the calls that build the world likely to succeed: most others can only meet what is there."""
        rng = self.rng
        if name == "CreateFunction" and rng.random() < 0.7:
            kept = ("FunctionName", "Role", "Environment", "Tags", "Description", "Publish", "MemorySize", "Timeout")
            for member in list(values):
                if member not in kept:
                    del values[member]
            values |= {
                "Runtime": PYTHON_RUNTIME,
                "Handler": "app.handler",
                "FunctionName": rng.choice(self.world.functions),
            }
            values["Code"] = {"ZipFile": base64.b64encode(CODE).decode()}
        if name == "UpdateFunctionCode" and rng.random() < 0.7:
            for member in ("S3Bucket", "S3Key", "S3ObjectVersion", "ImageUri", "S3ObjectStorageMode", "PublishTo"):
                values.pop(member, None)
            values["ZipFile"] = base64.b64encode(rng.choice((CODE, LAYER))).decode()
        if name == "PublishLayerVersion" and rng.random() < 0.7:
            values["Content"] = {"ZipFile": base64.b64encode(LAYER).decode()}
        if name in ("CreateEventSourceMapping", "UpdateEventSourceMapping") and rng.random() < 0.7:
            source = values.get("EventSourceArn", "")
            keep = {"EventSourceArn", "FunctionName", "Enabled", "BatchSize", "UUID", "Tags", "FilterCriteria"}
            for member in list(values):
                if member not in keep and rng.random() < 0.8:
                    del values[member]
            if (
                name.startswith("Create")
                and isinstance(source, str)
                and (":kinesis:" in source or ":dynamodb:" in source)
            ):
                values["StartingPosition"] = rng.choice(("LATEST", "TRIM_HORIZON"))
        if "RevisionId" in values and rng.random() < 0.7:
            del values["RevisionId"]

    # --- faults ---------------------------------------------------------------------------------------------------

    def _break(self, shape: Shape | None, values: dict[str, Value]) -> str:
        """One fault somewhere in `values`; answers what it is."""
        rng = self.rng
        holder, inside = values, shape
        path = ""
        for _ in range(3):  # go deeper now and then
            deeper = [
                name
                for name, value in holder.items()
                if isinstance(value, dict)
                and inside is not None
                and name in inside.members
                and inside.members[name].type_name == "structure"
            ]
            if not deeper or rng.random() < 0.4:
                break
            name = rng.choice(deeper)
            assert inside is not None
            holder, inside, path = holder[name], inside.members[name], f"{path}{name}."
        if inside is None or not inside.members:
            holder["Unknown"] = 1
            return "unknown member"
        name = rng.choice(list(inside.members))
        member = inside.members[name]
        fault, breaker = rng.choice(_FAULTS)
        if fault == "missing":
            holder.pop(name, None)
        elif fault == "unknown member":
            holder[rng.choice(("Unknown", name.lower(), name + " ", "", "__type", "ü"))] = rng.choice((1, None, [], {}))
        else:
            holder[name] = breaker(rng, member, holder.get(name))
        return f"{fault} {path}{name}"

    def _bend(self, call: Call) -> Call:
        """A fault of the wire that no member has."""
        rng = self.rng
        fault, bend = rng.choice(_BENDS)
        method, target, headers, body = bend(rng, call)
        return Call(call.operation, method, target, headers, body, (*call.faults, fault))


def _bounds(shape: Shape, least: int, most: int) -> tuple[int, int]:
    low, high = shape.metadata.get("min", least), shape.metadata.get("max", most)
    return int(low), int(max(low, high))


# --- values that mean something ---------------------------------------------------------------------------------------

_Make = Callable[[random.Random, World], Value]


def _function(rng: random.Random, world: World) -> str:
    name = rng.choice(world.functions)
    form = rng.random()
    if form < 0.6:
        return name
    qualifier = _qualifier(rng, world)
    return rng.choice(
        (
            f"{name}:{qualifier}",
            f"{ARN}:function:{name}",
            f"{ARN}:function:{name}:{qualifier}",
            f"{ACCOUNT}:function:{name}",
            f"function:{name}",
            "nobody",
            f"arn:aws:lambda:eu-west-1:{ACCOUNT}:function:{name}",
            f"arn:aws:lambda:{REGION}:999999999999:function:{name}",
            f"{ARN}:function",
        )
    )


def _qualifier(rng: random.Random, world: World) -> str:
    return rng.choice(("$LATEST", "1", "2", "3", "77", *world.aliases, "nope"))


def _layer_version(rng: random.Random, world: World) -> str:
    return world.pick(rng, "layer") or f"{ARN}:layer:{rng.choice(world.layers)}:{rng.randint(1, 3)}"


def _source(rng: random.Random, world: World) -> str:
    return rng.choice(
        (
            f"arn:aws:sqs:{REGION}:{ACCOUNT}:queue",
            f"arn:aws:sqs:{REGION}:{ACCOUNT}:queue.fifo",
            f"arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/s",
            f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/t/stream/2026-01-01T00:00:00.000",
            f"arn:aws:kafka:{REGION}:{ACCOUNT}:cluster/c/0190a5c4-0000-7000-8000-000000000001-1",
            f"arn:aws:mq:{REGION}:{ACCOUNT}:broker:b:b-0190a5c4-0000-7000-8000-000000000001",
            f"arn:aws:rds:{REGION}:{ACCOUNT}:cluster:docdb",
            "arn:aws:s3:::bucket",
        )
    )


def _destination(rng: random.Random, world: World) -> str:
    return rng.choice(
        (
            "",
            f"arn:aws:sqs:{REGION}:{ACCOUNT}:queue",
            f"arn:aws:sns:{REGION}:{ACCOUNT}:topic",
            f"arn:aws:events:{REGION}:{ACCOUNT}:event-bus/default",
            f"{ARN}:function:{rng.choice(world.functions)}",
        )
    )


def _policy(rng: random.Random, world: World) -> str:
    statement = {
        "Sid": rng.choice(("a", "b")),
        "Effect": rng.choice(("Allow", "Deny")),
        "Principal": rng.choice(("*", {"AWS": ACCOUNT}, {"Service": "s3.amazonaws.com"})),
        "Action": "lambda:InvokeFunction",
        "Resource": f"{ARN}:function:{rng.choice(world.functions)}",
    }
    return rng.choice((json.dumps({"Version": "2012-10-17", "Statement": [statement]}), "{}", "[]", "not json", ""))


def _harvest(kind: str, default: str) -> _Make:
    return lambda rng, world: (world.pick(rng, kind) if rng.random() < 0.8 else None) or default


def _arn_of_anything(rng: random.Random, world: World) -> str:
    kind = rng.choice(("function", "event-source-mapping", "code-signing-config", "layer"))
    return world.pick(rng, kind) or f"{ARN}:function:{rng.choice(world.functions)}"


_UUID = "0190a5c4-0000-7000-8000-000000000001"
_CSC = f"{ARN}:code-signing-config:csc-0123456789abcdefg"

_SPECIAL: dict[str, _Make] = {
    "FunctionName": _function,
    "Qualifier": _qualifier,
    "FunctionVersion": lambda rng, world: rng.choice(("$LATEST", "1", "2", "3", "ALL")),
    "Name": lambda rng, world: rng.choice(world.aliases),
    "LayerName": lambda rng, world: rng.choice((*world.layers, f"{ARN}:layer:{world.layers[0]}")),
    "VersionNumber": lambda rng, world: rng.choice((1, 1, 2, 3, 0, -1, 99)),
    "Layers": lambda rng, world: [_layer_version(rng, world) for _ in range(rng.randint(0, 2))],
    "Arn": _layer_version,
    "Role": lambda rng, world: f"arn:aws:iam::{ACCOUNT}:role/r",
    "UUID": _harvest("UUID", _UUID),
    "Marker": _harvest("NextMarker", "AAAA"),
    "RevisionId": _harvest("RevisionId", _UUID),
    "CodeSha256": _harvest("CodeSha256", "A" * 43 + "="),
    "CodeSigningConfigArn": _harvest("code-signing-config", _CSC),
    "EventSourceArn": _source,
    "Destination": _destination,
    "Resource": _arn_of_anything,
    "ResourceArn": _arn_of_anything,
    "Policy": _policy,
    "StatementId": lambda rng, world: rng.choice(("a", "b", "c-1")),
    "Action": lambda rng, world: rng.choice(
        ("lambda:InvokeFunction", "lambda:InvokeFunctionUrl", "lambda:*", "lambda:GetLayerVersion")
    ),
    "Principal": lambda rng, world: rng.choice(
        ("*", ACCOUNT, "s3.amazonaws.com", f"arn:aws:iam::{ACCOUNT}:root", "nobody")
    ),
    "Runtime": lambda rng, world: rng.choice(
        ("python3.11", "python3.12", "nodejs20.x", "provided.al2023", "java8", "cobol")
    ),
    "Handler": lambda rng, world: "app.handler",
    "ZipFile": lambda rng, world: base64.b64encode(rng.choice((CODE, LAYER, b"", b"PK", CODE[:-9]))).decode(),
    "AdditionalVersionWeights": lambda rng, world: rng.choice(
        ({}, {"2": 0.1}, {"1": 1.0}, {"9": 0.0}, {"1": 0.5, "2": 0.5})
    ),
    "SourceArn": lambda rng, world: "arn:aws:s3:::bucket",
    "Pattern": lambda rng, world: rng.choice(('{"a": [1]}', '{"a": [{"prefix": "x"}]}', "{}", "[]", '{"a": 1}', "{")),
    "TagKeys": lambda rng, world: rng.choice((["a"], ["a", "b"], ["nope"])),
    "MemorySize": lambda rng, world: rng.choice((128, 256, 512, 127, 10_240, 10_241)),
    "ReservedConcurrentExecutions": lambda rng, world: rng.choice((0, 1, 5, 10, 100)),
    "ProvisionedConcurrentExecutions": lambda rng, world: rng.choice((1, 1, 2, 50, 0)),
    "InvocationType": lambda rng, world: rng.choice(("DryRun", "DryRun", "DryRun", "Event", "RequestResponse")),
}
_SPECIAL_SHAPES: dict[str, _Make] = {
    "EnvironmentVariables": lambda rng, world: rng.choice(
        ({}, {"COLOUR": "blue"}, {"AA": "ü", "BB": ""}, {"AWS_REGION": "x"})
    ),
    "Tags": lambda rng, world: rng.choice(
        ({}, {"a": "1"}, {"b": "", "c": "ü"}, {"aws:x": "1"}, {str(n): "" for n in range(51)})
    ),
}
_WEIGHTS = {
    "CreateFunction": 14,
    "DeleteFunction": 5,
    "PublishVersion": 6,
    "CreateAlias": 6,
    "PublishLayerVersion": 6,
    "Invoke": 3,
    "InvokeAsync": 2,
    "PutProvisionedConcurrencyConfig": 2,
}


# --- faults of members ------------------------------------------------------------------------------------------------

_Breaker = Callable[[random.Random, Shape, Value], Value]
_ODD_TEXTS = (
    "", " ", "\x00", "a\nb", "\ud800", "\u202e", "é" * 3, "😀", "'", '"', "../../etc/passwd", "%2e%2e", "a" * 300, "$", ":", "::::::",
    "$LATEST", "arn:", "arn:aws:lambda:::function:", "-1", "0", "1e9", "null", "true", "{}", "[", "\\", "x" * 5_000,
)  # fmt: skip
_ODD_NUMBERS = (-1, 0, 1, 2**31 - 1, 2**31, -(2**31) - 1, 2**63, 10**30, 0.5, -0.0, 1e308, 1e-308)


def _wrong_type(rng: random.Random, shape: Shape, value: Value) -> Value:
    kinds: dict[str, tuple[Value, ...]] = {
        "string": ("text",),
        "integer": (7,),
        "boolean": (True,),
        "list": ([], [1], [None], [[]]),
        "structure": ({}, {"a": {}}),
        "double": (1.5,),
    }
    others = [one for kind, made in kinds.items() if kind != shape.type_name for one in made]
    return rng.choice(others)


def _wrong_length(rng: random.Random, shape: Shape, value: Value) -> Value:
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    match shape.type_name:
        case "string":
            length = rng.choice(
                [
                    n
                    for n in (0, None if low is None else int(low) - 1, None if high is None else int(high) + 1, 70)
                    if n is not None and n >= 0
                ]
            )
            return "a" * min(length, 30_000)
        case "list":
            return ["a"] * rng.choice((0, 1, int(high or 10) + 1 if (high or 10) < 1_000 else 3))
        case "map":
            return {f"k{n}": "v" for n in range(rng.choice((0, 60)))}
        case "integer" | "long" | "double":
            return rng.choice(
                _ODD_NUMBERS
                if low is None and high is None
                else (*(n - 1 for n in (low,) if n is not None), *(n + 1 for n in (high,) if n is not None))
            )
    return rng.choice(_ODD_TEXTS)


def _odd(rng: random.Random, shape: Shape, value: Value) -> Value:
    if shape.type_name in ("integer", "long", "double", "float", "timestamp"):
        return rng.choice(_ODD_NUMBERS)
    if shape.type_name == "map":
        return {rng.choice(_ODD_TEXTS): rng.choice((*_ODD_TEXTS, None))}
    if shape.type_name == "list":
        return [rng.choice((*_ODD_TEXTS, None))]
    if shape.type_name == "blob":
        return rng.choice(("!", "====", "QQ", "QQ==", "é", base64.b64encode(b"\0" * 100).decode()))
    return rng.choice(_ODD_TEXTS)


def _deep(rng: random.Random, shape: Shape, value: Value) -> Value:
    nested: Value = "x"
    for _ in range(rng.choice((3, 40, 200))):
        nested = [nested] if rng.random() < 0.5 else {"a": nested}
    return nested


_FAULTS: tuple[tuple[str, _Breaker], ...] = (
    ("missing", lambda rng, shape, value: None),
    ("null", lambda rng, shape, value: None),
    ("unknown member", lambda rng, shape, value: None),
    ("wrong type", _wrong_type),
    ("wrong length", _wrong_length),
    ("wrong length", _wrong_length),
    ("odd value", _odd),
    ("odd value", _odd),
    ("too deep", _deep),
)


# --- requests ---------------------------------------------------------------------------------------------------------


class _Request:
    """Serialises values as rest-json, whatever they are."""

    def __init__(self, model: OperationModel, values: dict[str, Value], rng: random.Random) -> None:
        self._model = model
        self._values = values
        self._rng = rng

    def call(self, faults: tuple[str, ...]) -> Call:
        shape = self._model.input_shape
        labels: dict[str, str] = {}
        query: list[tuple[str, str]] = []
        headers: list[tuple[str, str]] = []
        body: dict[str, Value] = {}
        payload = b""
        members = {} if shape is None else shape.members
        payload_name = None if shape is None else shape.serialization.get("payload")
        for name, value in self._values.items():
            member = members.get(name)
            place = None if member is None else member.serialization.get("location")
            wire = name if member is None else member.serialization.get("name", name)
            if name == payload_name:
                payload = _payload(value, member)
            elif place == "uri":
                labels[wire] = _text(value)
            elif place == "querystring":
                query += [(wire, _text(one)) for one in (value if isinstance(value, list) else [value])]
            elif place in ("header", "headers"):
                headers.append((wire, _header(value)))
            else:
                body[wire] = value
        path, _, fixed = self._model.http["requestUri"].partition("?")
        if any(not labels.get(segment.strip("{}+")) for segment in path.split("/") if segment.startswith("{")):
            faults = (*faults, "path")  # an empty label makes another path of it
        target = "".join(self._path(path, labels))
        parts = [fixed] if fixed else []
        parts += [
            f"{quote(name, safe='')}={quote(value.encode('utf-8', 'surrogatepass'), safe='')}" for name, value in query
        ]
        if parts:
            target += "?" + "&".join(parts)
        method = self._model.http["method"]
        if not payload and body:
            payload = json.dumps(body).encode()
        return Call(self._model.name, method, target, tuple(headers), payload, faults)

    def _path(self, template: str, labels: dict[str, str]) -> Iterator[str]:
        for segment in template.split("/")[1:]:
            yield "/"
            if segment.startswith("{"):
                safe = self._rng.choice(("", "", ":$"))
                text = labels.get(segment.strip("{}+"), "")
                yield quote(text.encode("utf-8", "surrogatepass"), safe=safe)
            else:
                yield segment


def _payload(value: Value, member: Shape | None) -> bytes:
    if member is not None and member.type_name == "blob":
        return b"{}" if isinstance(value, str) else json.dumps(value).encode()
    return json.dumps(value).encode()


def _text(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)


def _header(value: Value) -> str:
    return "".join(char for char in _text(value).encode("utf-8", "replace").decode("latin-1") if char.isprintable())[
        :2_000
    ]


# --- faults of the wire -----------------------------------------------------------------------------------------------

_Parts = tuple[str, str, tuple[tuple[str, str], ...], bytes]


def _bodies(rng: random.Random, call: Call) -> _Parts:
    body = rng.choice(
        (
            b"", b"null", b"[]", b"1", b'"text"', b"{", b"\xff\xfe", b"{}{}", b'{"a":1,"a":2}', b"\xef\xbb\xbf{}", b"NaN",
            call.body[: len(call.body) // 2], b"[" * 2_000, call.body + b"x", b'{"FunctionName":"\\ud800"}',
        )
    )  # fmt: skip
    return call.method, call.target, call.headers, body


def _targets(rng: random.Random, call: Call) -> _Parts:
    path, mark, query = call.target.partition("?")
    changed = rng.choice(
        (
            path + "/", path + "//", path.replace("/", "//", 1), path + "%00", path + "%2F", path.replace("functions", "Functions"),
            path + "/x", path.rsplit("/", 1)[0], path + "%ff", path + "%", path.replace("%3A", ":"), path.upper(),
        )
    )  # fmt: skip
    return call.method, changed + mark + query, call.headers, call.body


def _queries(rng: random.Random, call: Call) -> _Parts:
    path, _, query = call.target.partition("?")
    added = rng.choice(("Qualifier=1&Qualifier=2", "MaxItems=abc", "MaxItems=1e3", "&&&", "=", "%zz", "a=%ff", "Marker=%00", "List=ALL", "find=LayerVersion", "tagKeys"))  # fmt: skip
    return call.method, f"{path}?{query}&{added}" if query else f"{path}?{added}", call.headers, call.body


def _methods(rng: random.Random, call: Call) -> _Parts:
    return (
        rng.choice(("GET", "PUT", "POST", "DELETE", "PATCH", "HEAD", "OPTIONS")),
        call.target,
        call.headers,
        call.body,
    )


def _extra_headers(rng: random.Random, call: Call) -> _Parts:
    added = rng.choice(
        (
            ("X-Amz-Invocation-Type", "Later"), ("X-Amz-Log-Type", "Head"), ("X-Amz-Client-Context", "!"), ("Content-Type", "text/xml"),
            ("X-Amz-Target", "Logs_20140328.Nothing"), ("Accept", ""), ("X-Amzn-RequestId", "not-a-uuid"), ("X-Amz-Tenant-Id", "t" * 300),
        )
    )  # fmt: skip
    return call.method, call.target, (*call.headers, added), call.body


_BENDS: tuple[tuple[str, Callable[[random.Random, Call], _Parts]], ...] = (
    ("body", _bodies),
    ("path", _targets),
    ("query", _queries),
    ("method", _methods),
    ("header", _extra_headers),
)
