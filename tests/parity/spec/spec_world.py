"""Raw HTTP against a running Lambent, and what every answer must have: nothing a client library could smooth over.

A row of a chapter is a `Row`: a request, and the answer that the specification of the control plane states for it, word
for word. `{name}`, `{arn}` and the like in paths, bodies and messages are filled in from what the module has made.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from http.client import HTTPConnection
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from tests.support import PYTHON_RUNTIME, package, unique

ANSWER_LIMIT_S = 30.0
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
OTHER_ACCOUNT = "999999999999"
FUNCTIONS = "/2015-03-31/functions"
ZIP = package({"app.py": "def handler(event, context):\n    return 'well'\n"})
OTHER_ZIP = package({"app.py": "def handler(event, context):\n    return 'better'\n"})
LATIN = "latin-1"

IPV = "InvalidParameterValueException"
RNF = "ResourceNotFoundException"
RCE = "ResourceConflictException"
VAL = "ValidationException"
STALE = "PreconditionFailedException"
DENIED = "AccessDeniedException"
TOO_LARGE = "RequestEntityTooLargeException"

STATUS = {
    IPV: 400,
    RNF: 404,
    RCE: 409,
    VAL: 400,
    STALE: 412,
    DENIED: 403,
    TOO_LARGE: 413,
    "CodeSigningConfigNotFoundException": 404,
    "CodeVerificationFailedException": 400,
    "InvalidRequestContentException": 400,
    "PolicyLengthExceededException": 400,
    "ProvisionedConcurrencyConfigNotFoundException": 404,
    "SerializationException": 400,
    "TooManyRequestsException": 429,
    "NotImplementedException": 501,
    "UnknownOperationException": 404,
}
UPPER = {RNF, DENIED, "CodeSigningConfigNotFoundException", "CodeVerificationFailedException"}
"""Codes whose message stands in `Message`; all others of STATUS write `message`."""
UNTYPED = {VAL, TOO_LARGE, DENIED, "SerializationException", "UnknownOperationException"}


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer, read whole; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Wire:
    """Requests with a claimed signature; the access key is the account."""

    url: str
    account: str
    region: str = "us-east-1"

    def __call__(
        self, method: str, path: str, document: Any = None, *, headers: Mapping[str, str] | None = None
    ) -> Reply:
        """Send the path as it is. document: bytes go out as they are, everything else as JSON."""
        body = document if isinstance(document, bytes) or document is None else json.dumps(document).encode()
        parts = urlsplit(self.url)
        connection = HTTPConnection(parts.hostname or "", parts.port, timeout=ANSWER_LIMIT_S)
        try:
            connection.request(method, path, body, {"Authorization": self._authorization, **(headers or {})})
            answer = connection.getresponse()
            return Reply(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    @property
    def _authorization(self) -> str:
        scope = f"{self.account}/20260101/{self.region}/lambda/aws4_request"
        return f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0"

    @property
    def foreign(self) -> Wire:
        """The same server, asked by another account."""
        return Wire(self.url, OTHER_ACCOUNT, self.region)

    @property
    def role(self) -> str:
        return f"arn:aws:iam::{self.account}:role/test"

    def arn(self, name: str, qualifier: str | None = None, *, account: str | None = None, region: str = "") -> str:
        base = f"arn:aws:lambda:{region or self.region}:{account or self.account}:function:{name}"
        return base if qualifier is None else f"{base}:{qualifier}"

    def ok(self, method: str, path: str, document: Any = None, status: int | None = None) -> Any:
        """The document of an answer that must be a success; None where the body is empty."""
        reply = self(method, path, document)
        assert reply.status == status if status else reply.status < 300, (method, path, reply.status, reply.body)
        return reply.document if reply.body else None

    def creation(self, name: str, **members: Any) -> dict[str, Any]:
        """A minimal CreateFunction with `members` added; None takes a member away."""
        body: dict[str, Any] = {
            "FunctionName": name,
            "Runtime": PYTHON_RUNTIME,
            "Handler": "app.handler",
            "Role": self.role,
            "Code": {"ZipFile": b64encode(ZIP).decode()},
        }
        return {key: value for key, value in {**body, **members}.items() if value is not None}

    def make(self, prefix: str = "f", **members: Any) -> str:
        """A function of a fresh name."""
        name = unique(prefix)
        self.ok("POST", FUNCTIONS, self.creation(name, **members), 201)
        return name

    def get(self, name: str, qualifier: str | None = None) -> Any:
        """A configuration."""
        query = "" if qualifier is None else f"?Qualifier={quote(qualifier)}"
        return self.ok("GET", f"{FUNCTIONS}/{name}/configuration{query}")

    def settled(self, name: str, qualifier: str | None = None) -> Any:
        """A configuration once nothing is under way. The milliseconds until then have no event on the wire."""
        while True:
            shown = self.get(name, qualifier)
            if shown["State"] != "Pending" and shown.get("LastUpdateStatus") != "InProgress":
                return shown

    def publish(self, name: str, zip_file: bytes | None = None) -> str:
        """The number of a new version, with new code where some is given."""
        if zip_file is not None:
            self.ok("PUT", f"{FUNCTIONS}/{name}/code", {"ZipFile": b64encode(zip_file).decode()})
        number: str = self.ok("POST", f"{FUNCTIONS}/{name}/versions", {}, 201)["Version"]
        return number

    def alias(self, name: str, alias: str, version: str = "1", **members: Any) -> Any:
        body = {"Name": alias, "FunctionVersion": version, **members}
        return self.ok("POST", f"{FUNCTIONS}/{name}/aliases", body, 201)


@dataclass(frozen=True, slots=True)
class Row:
    """One row: the section and the words that find it, a request, and the stated answer.

    code: of an error, or None for a success of `status`. message: exact; with a trailing `…` its beginning; None: null.
    typed: False where the section says that `Type` is missing although the code usually has it.
    """

    id: str
    request: str
    body: Any = None
    code: str | None = None
    message: str | None = None
    typed: bool = True
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    shown: Any = None

    def __str__(self) -> str:
        return self.id


def rows(*table: Row) -> Any:
    """Parametrise a test with these rows, by their ids."""
    ids = [row.id for row in table]
    assert len(set(ids)) == len(ids), [one for one in ids if ids.count(one) > 1]
    return pytest.mark.parametrize("row", table, ids=ids)


def filled(value: Any, names: Mapping[str, str]) -> Any:
    """`value` with `{word}` replaced for the known words, and nothing else that is in braces."""
    if isinstance(value, str):
        for word, text in names.items():
            value = value.replace("{" + word + "}", text)
        return value
    if isinstance(value, dict):
        return {filled(key, names): filled(one, names) for key, one in value.items()}
    if isinstance(value, list):
        return [filled(one, names) for one in value]
    return value


def hold(wire: Wire, row: Row, names: Mapping[str, str]) -> Reply:
    """Send the row's request and compare the whole answer; answers it."""
    method, _, path = filled(row.request, names).partition(" ")
    body = filled(row.body, names)
    reply = wire(method, path, body, headers=row.headers)
    if row.code is None:
        assert reply.status == row.status, reply.body
        well_formed(reply)
        if row.shown is not None:
            assert reply.document == filled(row.shown, names)
    else:
        refused(reply, row.code, filled(row.message, names), typed=row.typed)
    return reply


def refused(reply: Reply, code: str, message: str | None, *, typed: bool = True) -> None:
    """An error answer, whole: status, code, member of the message, presence of `Type`, nothing more."""
    assert reply.headers.get("x-amzn-errortype") == code, (reply.status, reply.body)
    assert reply.status == STATUS[code], reply.body
    well_formed(reply)
    member = "Message" if code in UPPER else "message"
    document = reply.document
    if message is not None and message.endswith("…"):
        assert document[member].startswith(message[:-1]), document
    else:
        assert document[member] == message
    expected = {member}
    if typed and code not in UNTYPED:
        expected.add("Type")
        assert document["Type"] == ("Service" if code == "NotImplementedException" else "User")
    assert set(document) - {"Reason"} == expected


def well_formed(reply: Reply) -> None:
    """What every answer carries."""
    assert UUID.fullmatch(reply.headers["x-amzn-requestid"])
    assert reply.headers["content-type"] == "application/json"
    assert reply.headers["date"].endswith(" GMT")
    if reply.status == 204:
        assert reply.body == b""
    elif reply.body:
        assert isinstance(reply.document, dict)
        assert None not in reply.document.values() or reply.status >= 400


def one(value: str, path: str, constraint: str) -> str:
    """The message of one violated constraint."""
    return f"1 validation error detected: Value {value} at '{path}' failed to satisfy constraint: {constraint}"


def at_least(least: int) -> str:
    return f"Member must have value greater than or equal to {least}"


def at_most(most: int) -> str:
    return f"Member must have value less than or equal to {most}"


def no_longer(most: int) -> str:
    return f"Member must have length less than or equal to {most}"


def no_shorter(least: int) -> str:
    return f"Member must have length greater than or equal to {least}"


def one_of(*values: str) -> str:
    return f"Member must satisfy enum value set: [{', '.join(values)}]"


def like(pattern: str) -> str:
    return f"Member must satisfy regular expression pattern: {pattern}"


def encoded(text: str) -> str:
    """As SDKs write a label of a path."""
    return quote(text, safe="")


def pages(wire: Wire, path: str, member: str, **query: Any) -> Iterable[list[Any]]:
    """The pages of a list, one by one."""
    marker = None
    while True:
        parameters = {**query, **({"Marker": marker} if marker else {})}
        text = "&".join(f"{name}={encoded(str(value))}" for name, value in parameters.items())
        joint = "&" if "?" in path else "?"
        document = wire.ok("GET", f"{path}{joint}{text}" if text else path)
        yield document[member]
        marker = document.get("NextMarker")
        if marker is None:
            return
