"""An exchange without a connection: the seam of the HTTP core, for tests that want the door's decisions alone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from lambent.api.door import PublicDoor
from lambent.domain.names import Scope
from lambent.http import Buffered, Request

SCOPE = Scope("123456789012", "us-east-1")


@dataclass(frozen=True)
class Someone:
    """What the door reads of a caller."""

    service: str | None
    scope: Scope = SCOPE
    access_key: str | None = "test"
    arn: str = "arn:aws:iam::123456789012:root"
    sandbox: str | None = None


class Believing:
    """Authentication that reads the service from `x-test-service` and holds whatever `verdict` answers."""

    def __init__(self) -> None:
        self.verdict: Callable[[], Awaitable[None] | None] = lambda: None

    def identify(self, request: Request) -> Someone:
        service = request.header(b"x-test-service")
        return Someone(None if service is None else service.decode("latin-1"))

    def verify(self, request: Request, caller: Any) -> Awaitable[None] | None:
        return self.verdict()


class Reply:
    """One exchange and what was answered on it."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.context: Any = None
        self.app: Any = None
        self.answered = asyncio.Event()
        self.status = 0
        self.headers: dict[bytes, bytes] = {}
        self.body = b""
        self.wanted: Any = None

    def respond(self, status: int, headers: Sequence[tuple[bytes, bytes]] = (), body: bytes = b"") -> None:
        assert not self.answered.is_set(), "answered twice"
        self.status, self.headers, self.body = status, dict(headers), body
        assert len(self.headers) == len(headers), "a header twice"
        self.answered.set()

    def delegate(self, app: Any) -> Any:
        self.app = app
        return app.head(self)

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)


def request_of(method: str, target: str, headers: dict[str, str] | None = None, body: bytes = b"") -> Request:
    """A request as the connection would have filled it in."""
    request = Request()
    request.method, request.target, request.body = method, target.encode(), body
    request.path, _, request.query = request.target.partition(b"?")
    request.headers = [(name.lower().encode(), value.encode("latin-1")) for name, value in (headers or {}).items()]
    request.header = dict(reversed(request.headers)).get
    return request


async def send(
    door: PublicDoor,
    method: str,
    target: str,
    headers: dict[str, str] | None = None,
    body: bytes = b"",
) -> Reply:
    """Do what the HTTP core does with one request, and wait for its answer."""
    reply: Any = Reply(request_of(method, target, headers, body))
    reply.app = door
    reply.wanted = door.head(reply)
    if isinstance(reply.wanted, Buffered):
        if len(body) > reply.wanted.limit:
            reply.app.too_large(reply, reply.wanted.limit, len(body))
        else:
            reply.app.handle(reply)
    async with asyncio.timeout(5):
        await reply.answered.wait()
    return reply
