"""A small client of our own endpoint: http.client and Signature Version 4, nothing else.

The commands use it instead of an SDK: importing one takes 150–200 ms, every request through it a millisecond. It speaks
to anything that speaks the service's protocol; what it signs is verified by the same rules as every other client's.

Source: AWS Signature Version 4 for API requests (IAM User Guide, "Create a signed AWS API request").
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

CONNECT_LIMIT_S = 5.0
ANSWER_LIMIT_S = 930.0
"""The longest function time-out, 900 s, and what surrounds it."""
CHUNK_BYTES = 262_144
PAGES_MAX = 10_000
"""Pages of one listing; a server that repeats its marker for ever is a fault, not a reason to go on."""

LAMBDA, LOGS = "lambda", "logs"
_FUNCTIONS = "/2015-03-31/functions"


class Unreachable(Exception):
    """Nobody answers at the endpoint, or what answers is cut off midway."""

    def __init__(self, endpoint: str, reason: str) -> None:
        super().__init__(f"No answer from {endpoint} ({reason})")
        self.endpoint = endpoint


class ApiError(Exception):
    """The service answered with an error: `code` as published, `status` of HTTP, the message as text."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message or code)
        self.status = status
        self.code = code


@dataclass(frozen=True, slots=True)
class Credentials:
    access_key: str
    secret_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer: status, headers with lower-case names, the whole body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def document(self) -> Any:
        """The body as JSON; an empty body is an empty object."""
        return json.loads(self.body) if self.body else {}


def signed_headers(
    method: str,
    path: str,
    query: str,
    headers: Mapping[str, str],
    body: bytes,
    *,
    region: str,
    service: str,
    credentials: Credentials,
    now: datetime,
) -> dict[str, str]:
    """`headers` (lower-case names, `host` among them) with X-Amz-Date and Authorization added.

    path: as on the request line, percent-encoded once; it is encoded a second time for the canonical form, as every
    service but S3 wants. query: encoded and sorted by name.
    """
    stamp = now.strftime("%Y%m%dT%H%M%SZ")
    scope = f"{stamp[:8]}/{region}/{service}/aws4_request"
    signed = {**headers, "x-amz-date": stamp}
    if credentials.session_token is not None:
        signed["x-amz-security-token"] = credentials.session_token
    names = ";".join(sorted(signed))
    lines = "".join(f"{name}:{' '.join(signed[name].split())}\n" for name in sorted(signed))
    canonical = "\n".join((method, quote(path, safe="/-_.~"), query, lines, names, hashlib.sha256(body).hexdigest()))
    to_sign = "\n".join(("AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()))
    key = f"AWS4{credentials.secret_key}".encode()
    for part in (*scope.split("/"), to_sign):
        signature = hmac.new(key, part.encode(), hashlib.sha256)
        key = signature.digest()
    authorization = (
        f"AWS4-HMAC-SHA256 Credential={credentials.access_key}/{scope}, SignedHeaders={names}, Signature={key.hex()}"
    )
    return {**signed, "authorization": authorization}


class Client:
    """One endpoint, one region, one pair of keys; one connection that is kept open. Not for several threads."""

    def __init__(
        self, endpoint: str, *, region: str, credentials: Credentials, answer_limit_s: float = ANSWER_LIMIT_S
    ) -> None:
        """endpoint: `http://host:port` or https. Raises ValueError for anything else."""
        parts = urlsplit(endpoint)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{endpoint!r} is not an endpoint; it looks like http://127.0.0.1:4566")
        self.endpoint = endpoint.rstrip("/")
        self.region = region
        self._credentials = credentials
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._connection = kind(parts.hostname, parts.port, timeout=CONNECT_LIMIT_S)
        self._host = parts.netloc.rpartition("@")[2]
        self._base = parts.path.rstrip("/")
        self._answer_limit_s = answer_limit_s

    def close(self) -> None:
        self._connection.close()

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        service: str = LAMBDA,
        progress: Callable[[int], None] | None = None,
    ) -> Reply:
        """Send one signed request and read the whole answer, whatever its status.

        progress: told the number of body bytes handed to the kernel so far. Raises Unreachable.
        """
        path = self._base + path
        encoded = urlencode(sorted((query or {}).items()), quote_via=quote, safe="-_.~")
        plain = {"host": self._host, **{name.lower(): value for name, value in (headers or {}).items()}}
        signed = signed_headers(
            method,
            path,
            encoded,
            plain,
            body,
            region=self.region,
            service=service,
            credentials=self._credentials,
            now=datetime.now(UTC),
        )
        target = f"{path}?{encoded}" if encoded else path
        reused = self._connection.sock is not None
        try:
            return self._exchange(method, target, signed, body, progress)
        except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError) as error:
            self._connection.close()
            # A kept connection may have been closed by the server while it lay idle. Only what changes nothing is sent
            # a second time: an Invoke might have run.
            if not reused or method != "GET":
                raise Unreachable(self.endpoint, str(error) or type(error).__name__) from None
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise Unreachable(self.endpoint, _reason(error)) from None
        try:
            return self._exchange(method, target, signed, body, progress)
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise Unreachable(self.endpoint, _reason(error)) from None

    def _exchange(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes, progress: Callable[[int], None] | None
    ) -> Reply:
        connection = self._connection
        if connection.sock is None:
            connection.timeout = CONNECT_LIMIT_S
            connection.connect()
        connection.sock.settimeout(self._answer_limit_s)
        connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
        for name, value in headers.items():
            connection.putheader(name, value)
        if body or method in ("POST", "PUT"):
            connection.putheader("content-length", str(len(body)))
        if len(body) <= CHUNK_BYTES:
            connection.endheaders(body or None)
        else:
            connection.endheaders()
            for sent in range(0, len(body), CHUNK_BYTES):
                connection.send(body[sent : sent + CHUNK_BYTES])
                if progress is not None:
                    progress(min(sent + CHUNK_BYTES, len(body)))
        response = connection.getresponse()
        return Reply(response.status, {name.lower(): value for name, value in response.getheaders()}, response.read())

    # What the commands ask.

    def call(
        self,
        method: str,
        path: str,
        document: Mapping[str, Any] | None = None,
        *,
        query: Mapping[str, str] | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> Any:
        """One operation with a JSON document each way. Raises ApiError, Unreachable."""
        body = b"" if document is None else json.dumps(document, separators=(",", ":")).encode()
        headers = {} if document is None else {"content-type": "application/json"}
        return expect(self.request(method, path, query=query, headers=headers, body=body, progress=progress)).document()

    def logs(self, operation: str, document: Mapping[str, Any]) -> Any:
        """One operation of CloudWatch Logs. Raises ApiError, Unreachable."""
        headers = {"content-type": "application/x-amz-json-1.1", "x-amz-target": f"Logs_20140328.{operation}"}
        body = json.dumps(document, separators=(",", ":")).encode()
        return expect(self.request("POST", "/", headers=headers, body=body, service=LOGS)).document()

    def functions(self) -> Iterator[dict[str, Any]]:
        """Every function's configuration, in the service's order."""
        query: dict[str, str] = {}
        for _ in range(PAGES_MAX):
            page = self.call("GET", f"{_FUNCTIONS}/", query=query)
            yield from page.get("Functions", ())
            if not page.get("NextMarker"):
                return
            query = {"Marker": page["NextMarker"]}
        raise ApiError(200, "EndlessListing", f"{self.endpoint} listed functions for {PAGES_MAX} pages without an end")

    def invoke(self, name: str, payload: bytes, *, event: bool, qualifier: str | None, log_tail: bool = True) -> Reply:
        """Run a function; its own errors are answers (x-amz-function-error), the service's raise ApiError."""
        headers = {"x-amz-invocation-type": "Event" if event else "RequestResponse"}
        if log_tail and not event:
            headers["x-amz-log-type"] = "Tail"
        query = {} if qualifier is None else {"Qualifier": qualifier}
        path = f"{function_path(name)}/invocations"
        return expect(self.request("POST", path, query=query, headers=headers, body=payload))


def function_path(name: str, *rest: str) -> str:
    """The path of a function; a name may be an ARN and is then percent-encoded as a whole."""
    return "/".join((_FUNCTIONS, quote(name, safe="-_.~"), *rest))


def expect(reply: Reply, statuses: Sequence[int] = range(200, 300)) -> Reply:
    """The reply if its status is among `statuses`, else ApiError with the published code and message."""
    if reply.status in statuses:
        return reply
    try:
        document = reply.document()
    except ValueError:
        document = {}
    if not isinstance(document, dict):
        document = {}
    code = reply.headers.get("x-amzn-errortype") or document.get("__type") or document.get("code") or ""
    code = code.partition(":")[0].rpartition("#")[2] or f"HTTP {reply.status}"
    message = document.get("message") or document.get("Message") or reply.body[:200].decode("utf-8", "replace")
    raise ApiError(reply.status, code, message)


def _reason(error: Exception) -> str:
    """A few words: `connection refused`, `timed out`."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return text[:1].lower() + text[1:]
