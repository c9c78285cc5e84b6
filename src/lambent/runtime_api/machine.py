"""The states and moves of the Runtime API, as a table; both carriers move by it.

Source: the Runtime API's published behaviour. The id of a posted result is compared before the state: a post for a
request that is not the current one is `InvalidRequestID` in whatever state, and one for the current request in any
state but Running is an illegal transition.
"""

from __future__ import annotations

from enum import Enum

from lambent.domain.ids import new_uuid
from lambent.domain.limits import INVOKE_RESPONSE_BYTES_MAX
from lambent.environments.channel import RuntimeEvent


class State(Enum):
    """Named as the service names them in its refusals."""

    __hash__ = object.__hash__  # members are single; Enum's own hashes the name, in Python, on every move
    STARTED = "Started"
    RESTORE_READY = "RestoreReady"
    RESTORING = "Restoring"
    READY = "Ready"
    RUNNING = "Running"
    RESPONSE = "InvocationResponse"
    ERROR_RESPONSE = "InvocationErrorResponse"
    SENT = "RuntimeResponseSentState"
    INIT_ERROR = "InitError"
    RESTORE_ERROR = "RuntimeRestoreErrorState"


class Move(Enum):
    """What happens. The value is the state that a refusal of the move names as its aim."""

    __hash__ = object.__hash__
    NEXT = State.READY
    DELIVER = State.RUNNING
    RESPONSE = State.RESPONSE
    ERROR = State.ERROR_RESPONSE
    BODY_READ = State.SENT
    INIT_ERROR = State.INIT_ERROR
    RESTORE_NEXT = State.RESTORE_READY
    THAW = State.RESTORING
    RESTORE_ERROR = State.RESTORE_ERROR


NEXT: dict[tuple[State, Move], State] = {
    (State.STARTED, Move.NEXT): State.READY,
    (State.STARTED, Move.RESTORE_NEXT): State.RESTORE_READY,
    (State.STARTED, Move.INIT_ERROR): State.INIT_ERROR,
    (State.RESTORE_READY, Move.THAW): State.RESTORING,
    (State.RESTORING, Move.NEXT): State.READY,
    (State.RESTORING, Move.RESTORE_ERROR): State.RESTORE_ERROR,
    (State.RESTORING, Move.INIT_ERROR): State.RESTORE_ERROR,
    (State.READY, Move.NEXT): State.READY,  # another poller, or the same again: it waits
    (State.READY, Move.DELIVER): State.RUNNING,
    (State.RUNNING, Move.NEXT): State.RUNNING,  # answered with the same event again
    (State.RUNNING, Move.RESPONSE): State.RESPONSE,
    (State.RUNNING, Move.ERROR): State.ERROR_RESPONSE,
    (State.RESPONSE, Move.BODY_READ): State.SENT,
    (State.ERROR_RESPONSE, Move.BODY_READ): State.SENT,
    (State.SENT, Move.NEXT): State.READY,
}


class Refused(Exception):
    """A call that the Runtime API refuses: HTTP status and the members of the error document."""

    def __init__(self, status: int, error_type: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.error_type = error_type
        self.message = message


def invalid_request_id() -> Refused:
    return Refused(400, "InvalidRequestID", "Invalid request ID")


def too_large() -> Refused:
    return Refused(
        413, "RequestEntityTooLarge", f"Exceeded maximum allowed payload size ({INVOKE_RESPONSE_BYTES_MAX} bytes)."
    )


def truncated() -> Refused:
    return Refused(400, "TruncatedHTTPRequest", "HTTP request detected as truncated")


def invalid_response_mode() -> Refused:
    return Refused(400, "InvalidFunctionResponseMode", "Invalid function response mode")


class Machine:
    """One runtime's life as the platform sees it. Every method moves by the table or raises `Refused`."""

    __slots__ = ("event", "invocation_id", "state")

    def __init__(self) -> None:
        self.state = State.STARTED
        self.event: RuntimeEvent | None = None
        """The current invocation's event; None between invocations, and after `abandon`."""
        self.invocation_id = ""
        """Unique per delivery, empty until `identify` was asked; a runtime that knows it sends it back with the result."""

    def move(self, move: Move) -> None:
        """Raises Refused (403) and stays where it is, when the table has no such row."""
        state = NEXT.get((self.state, move))
        if state is None:
            raise Refused(
                403,
                "InvalidStateTransition",
                f"State transition from {self.state.value} to {move.value.value} failed for runtime."
                " Error: State transition is not allowed",
            )
        self.state = state

    def ask(self) -> bool:
        """The runtime asks for an event. True: it became ready by this call (init is done, or an invocation over)."""
        before = self.state
        self.move(Move.NEXT)
        if self.state is not State.READY or before is State.READY:
            return False
        self.event = None
        return True

    def deliver(self, event: RuntimeEvent) -> None:
        """An event for a runtime that is ready."""
        self.move(Move.DELIVER)
        self.event = event
        self.invocation_id = ""

    def identify(self) -> str:
        """The id of this delivery, made when a carrier that has a place for it first asks."""
        if not self.invocation_id:
            self.invocation_id = new_uuid()
        return self.invocation_id

    def begin_result(self, request_id: str, invocation_id: str | None, move: Move) -> None:
        """The runtime begins to post a result (`move`: RESPONSE or ERROR) of `request_id`."""
        event = self.event
        if event is None or event.request_id != request_id:
            raise invalid_request_id()
        if invocation_id is not None and invocation_id != self.invocation_id:
            raise Refused(400, "InvalidInvocationId", "Invalid invocation ID")
        self.move(move)

    def end_result(self, request_id: str) -> None:
        """The posted result was read to its end, or given up. Raises Refused (400) when it came too late."""
        self.move(Move.BODY_READ)
        if self.event is None or self.event.request_id != request_id:
            raise invalid_request_id()

    def abandon(self) -> None:
        """The current invocation is over for the platform: what is still posted for it is refused from now on."""
        self.event = None
        if self.state is State.RUNNING:
            self.state = State.SENT  # the runtime has not answered, but asking for the next one is what is left to it
