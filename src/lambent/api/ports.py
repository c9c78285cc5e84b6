"""What plugs into the public door: handlers of operations, the invoke door, targets of other services, authentication."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from lambent.api.bodies import BodyShare
    from lambent.api.table import Operation
    from lambent.http import Exchange, Request
    from lambent.identity.model import Caller


@dataclass(slots=True)
class Answer:
    """A handler's answer. Members that are None or missing stay away from the wire."""

    output: dict[str, Any]
    """PascalCase members as in the model; blobs as bytes, timestamps as epoch seconds."""
    status: int | None = None
    """None: the model's."""
    headers: Sequence[tuple[bytes, bytes]] = ()
    is_bare: bool = False
    """No body at all where the model has one: what GetFunctionCodeSigningConfig answers when there is none."""


Handler = Callable[["Caller", dict[str, Any]], Awaitable[Answer]]
"""One operation. Its input is parsed and validated; it raises a LambentError to refuse. It runs to its end even if the
client goes away."""

TargetHandler = Callable[["Caller", str, dict[str, Any]], Awaitable[dict[str, Any]]]
"""All operations of one JSON 1.1 service: caller, operation name, input as received → output. It raises LambentErrors."""


class RequestContext:
    """What the door keeps of a request between its head and its answer; it is the exchange's `context`."""

    __slots__ = ("_share", "caller", "labels", "operation", "request_id")

    def __init__(
        self, request_id: str, caller: Caller, operation: Operation, labels: list[bytes], share: BodyShare | None
    ) -> None:
        self.request_id = request_id
        """To be answered as `x-amzn-RequestId`; for the Invoke family it is the invocation's id too."""
        self.caller = caller
        self.operation = operation
        self.labels = labels
        """The path's labels, still encoded."""
        self._share = share  # held, not used: it ends with the exchange


class InvokeDoor(Protocol):
    """Takes over the Invoke family, exchange and all: nothing on that way may be generic."""

    @property
    def operations(self) -> Collection[str]:
        """Those of the family that it serves; it refuses the others itself."""

    def handle(self, exchange: Exchange, caller: Caller, operation: str, params: dict[str, Any]) -> None:
        """Answer now or later; never block.

        operation: "Invoke", "InvokeAsync" or "InvokeWithResponseStream". params: the members of path, query and headers
        (FunctionName, Qualifier, InvocationType, LogType, ClientContext, …), parsed and validated; the dict is the
        callee's own. The payload is `exchange.request.body`, raw, and may exceed the invocation type's limit by up to
        `sizes.INVOKE_SLACK_BYTES`: that is checked here, after the function was found. `exchange.context.request_id` is
        the request id, the caller's own if it sent a UUID. What it raises, the door answers.
        """


class Authenticator(Protocol):
    """Who is calling, in two steps: what the request says at its head, and whether that is true once the body is there."""

    def identify(self, request: Request) -> Caller:
        """Read, do not verify: account, region and service of the credential scope. Raises Unauthenticated.

        `request.origin` says which sandbox's listener it came through, if any: then the caller acts for that
        environment's account, whatever the request claims.
        """

    def verify(self, request: Request, caller: Caller) -> Awaitable[None] | None:
        """Check the signature over head and body. None: it is right. An awaitable, if hashing went to a thread; it or the
        call itself raises Unauthenticated."""

    def prove(self, request: Request, caller: Caller) -> Awaitable[None] | None:
        """As `verify`, for what lets in only who has proved who they are, on whatever server."""
