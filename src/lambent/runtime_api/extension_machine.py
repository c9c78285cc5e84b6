"""The states and moves of extensions, and what is refused, word for word: decisions only, no sockets.

Source: the Extensions API's published behaviour. An extension whose name is that of a program in /opt/extensions is
external; any other name, registered before the runtime first asks for an event, belongs to something within the runtime.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from enum import Enum

import orjson

from lambent.domain.ids import is_uuid, new_uuid
from lambent.domain.limits import EXTENSIONS_MAX

from .machine import Refused

INVOKE, SHUTDOWN = "INVOKE", "SHUTDOWN"


class State(Enum):
    """Named as the service names them in its refusals and log lines."""

    STARTED = "Started"
    REGISTERED = "Registered"
    READY = "Ready"
    RUNNING = "Running"
    INIT_ERROR = "InitError"
    EXIT_ERROR = "ExitError"
    SHUTDOWN_FAILED = "ShutdownFailed"
    EXITED = "Exited"
    LAUNCH_ERROR = "LaunchError"


class Move(Enum):
    """What happens. The value is the state that it leads to."""

    REGISTER = State.REGISTERED
    NEXT = State.READY
    EVENT = State.RUNNING
    INIT_ERROR = State.INIT_ERROR
    EXIT_ERROR = State.EXIT_ERROR
    SHUTDOWN_FAILED = State.SHUTDOWN_FAILED
    EXIT = State.EXITED
    LAUNCH_ERROR = State.LAUNCH_ERROR


ALLOWED: dict[State, frozenset[Move]] = {
    State.STARTED: frozenset((Move.REGISTER, Move.LAUNCH_ERROR)),
    State.REGISTERED: frozenset((Move.NEXT, Move.INIT_ERROR, Move.EXIT_ERROR)),
    State.READY: frozenset((Move.EVENT, Move.EXIT_ERROR)),
    State.RUNNING: frozenset((Move.NEXT, Move.EXIT_ERROR, Move.SHUTDOWN_FAILED, Move.EXIT)),
    State.INIT_ERROR: frozenset((Move.INIT_ERROR,)),  # said twice is heard once
    State.EXIT_ERROR: frozenset((Move.EXIT_ERROR,)),
    State.SHUTDOWN_FAILED: frozenset(),
    State.EXITED: frozenset(),
    State.LAUNCH_ERROR: frozenset(),
}


class Extension:
    """One extension of one life of a runtime."""

    __slots__ = ("error_type", "events", "id", "is_external", "name", "state")

    def __init__(self, name: str, *, is_external: bool) -> None:
        self.name = name
        self.id = new_uuid()
        self.is_external = is_external
        self.state = State.STARTED
        self.events: tuple[str, ...] = ()
        self.error_type: str | None = None

    def may(self, move: Move) -> bool:
        return move in ALLOWED[self.state]

    def move(self, move: Move, called: str) -> None:
        """Raises Refused, and stays, where the table has no such row. called: how the refusal names the extension."""
        if not self.may(move):
            raise _refused(
                "Extension.InvalidExtensionState",
                f"State transition from {self.state.value} to {move.value.value} failed for extension {called}."
                " Error: State transition is not allowed",
            )
        self.state = move.value


class Roster:
    """All extensions of one life of a runtime."""

    __slots__ = ("_by_name", "is_open")

    def __init__(self, external: Iterable[str] = ()) -> None:
        """external: base names of the programs in /opt/extensions."""
        self._by_name = {name: Extension(name, is_external=True) for name in external}
        self.is_open = True
        """The runtime has not asked for its first event yet."""

    def __iter__(self) -> Iterator[Extension]:
        return iter(self._by_name.values())

    def __len__(self) -> int:
        return len(self._by_name)

    def get(self, name: str) -> Extension:
        return self._by_name[name]

    @property
    def is_external_registered(self) -> bool:
        """Every program in /opt/extensions has registered: the runtime may start."""
        return all(one.state is not State.STARTED for one in self if one.is_external)

    @property
    def is_ready(self) -> bool:
        """Every registered extension has asked for its first event: with the runtime's question, init is over."""
        return all(one.state is State.READY for one in self)

    @property
    def is_busy(self) -> bool:
        """Somebody works on the current invocation, or has given up on it and is about to end."""
        return any(one.state in (State.RUNNING, State.EXIT_ERROR) and INVOKE in one.events for one in self)

    def register(self, name: str, events: Sequence[str]) -> Extension:
        """In the service's order: the events, then whether it may register. Raises Refused."""
        known = self._by_name.get(name)
        is_external = known is not None and known.is_external
        for event in events:
            if event not in (INVOKE, SHUTDOWN):
                raise _refused("Extension.InvalidEventType", f"{event}: ErrorInvalidEventType")
            if event == SHUTDOWN and not is_external:
                raise _refused("Extension.InvalidEventType", "SHUTDOWN: ShutdownEventNotSupportedForInternalExtension")
        if known is None or not is_external:
            if not self.is_open:
                raise _refused("Extension.RegistrationClosed", "Extension registration closed already")
            if known is not None:
                raise _refused("Extension.InvalidExtensionState", "Extension with this name already registered")
            if len(self) >= EXTENSIONS_MAX:
                raise _refused("Extension.TooManyExtensions", f"Extension limit ({EXTENSIONS_MAX}) reached")
            known = Extension(name, is_external=False)
        known.move(Move.REGISTER, name)
        known.events = tuple(event for event in (INVOKE, SHUTDOWN) if event in events)
        self._by_name[name] = known
        return known

    def identified(self, header: bytes | None, unknown: str) -> Extension:
        """Whoever sends this identifier. unknown: the words for one that nobody has, `{id}` in it is replaced.

        Raises Refused."""
        text = (header or b"").decode("latin-1")
        if not text:
            raise _refused("Extension.MissingExtensionIdentifier", "Missing Lambda-Extension-Identifier header")
        if not is_uuid(text):
            raise _refused("Extension.InvalidExtensionIdentifier", "Invalid Lambda-Extension-Identifier")
        for one in self:
            if one.id == text.lower():
                return one
        raise _refused("Extension.UnknownExtensionIdentifier", unknown.replace("{id}", text.lower()))


def parse_name(header: bytes | None) -> str:
    """The name in a registration. Raises Refused."""
    if not header:
        raise _refused("Extension.InvalidExtensionName", "Empty extension name")
    return header.decode("utf-8", "surrogateescape")  # as file names are read


def parse_events(body: bytes) -> list[str]:
    """The events of a registration. Raises Refused."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise _refused("InvalidRequestFormat", str(error)) from None
    events = document.get("events", []) if isinstance(document, dict) else None
    if events is None and isinstance(document, dict):
        events = []
    if not isinstance(events, list) or not all(isinstance(event, str) for event in events):
        raise _refused("InvalidRequestFormat", 'the body is to be {"events": [...]}, with strings in it')
    if document.get("configurationKeys"):
        raise _refused("InvalidRequestFormat", "configurationKeys are deprecated; use environment variables instead")
    return events


def parse_error_type(header: bytes | None) -> str:
    """The type in a report of an error. Raises Refused."""
    if not header:
        raise _refused("Extension.MissingHeader", "Lambda-Extension-Function-Error-Type not found")
    return header.decode("latin-1")


def _refused(error_type: str, message: str) -> Refused:
    return Refused(403, error_type, message)
