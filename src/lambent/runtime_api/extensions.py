"""The Extensions API, version 2020-01-01, for one life of one runtime: who is registered, asks, and is told what."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import orjson

from lambent.domain.ids import new_uuid
from lambent.environments.channel import ExtensionFacts, ExtensionsSink, ExtensionStatus, RuntimeEvent
from lambent.http import Buffered, Exchange

from .documents import JSON, accept, refuse
from .extension_machine import (
    INVOKE,
    SHUTDOWN,
    Extension,
    Move,
    Roster,
    State,
    parse_error_type,
    parse_events,
    parse_name,
)
from .machine import Refused

EXTENSION_BODY_BYTES_MAX = 1_048_576
"""What an extension may send: a list of events, or an error document."""

BODY = Buffered(EXTENSION_BODY_BYTES_MAX)

_IDENTIFIER = b"lambda-extension-identifier"
_NAME = b"lambda-extension-name"
_FEATURES = b"lambda-extension-accept-feature"
_ERROR_TYPE = b"lambda-extension-function-error-type"
_UNKNOWN = "Unknown Lambda-Extension-Identifier"
_UNKNOWN_ASKS = "Unknown extension {id}"


@dataclass(frozen=True, slots=True)
class _Told:
    """An event as an extension reads it."""

    body: bytes
    headers: tuple[tuple[bytes, bytes], ...] = JSON


class ExtensionsChannel:
    """See `environments.channel.ExtensionsChannel`; extensions call in through a sandbox's door."""

    __slots__ = ("_facts", "_missed", "_on_close", "_pollers", "_shutdown", "_sink", "count", "failure", "roster")

    def __init__(
        self,
        sink: ExtensionsSink,
        facts: ExtensionFacts,
        external: Iterable[str],
        on_close: Callable[[ExtensionsChannel], None],
    ) -> None:
        self.roster = Roster(external)
        self.count = len(self.roster)
        self.failure: tuple[str, str] | None = None
        self._sink: ExtensionsSink | None = sink
        self._facts = facts
        self._on_close = on_close
        self._pollers: dict[str, Exchange] = {}
        self._missed: dict[str, _Told] = {}
        """Events for extensions that had hung up when they came: told when they ask again."""
        self._shutdown: _Told | None = None

    # -- the environment's side

    @property
    def is_external_registered(self) -> bool:
        return self.roster.is_external_registered

    @property
    def is_ready(self) -> bool:
        return self.roster.is_ready

    @property
    def is_busy(self) -> bool:
        return self.roster.is_busy

    def close_registration(self) -> None:
        self.roster.is_open = False

    def statuses(self) -> list[ExtensionStatus]:
        return [ExtensionStatus(one.name, one.state.value, one.events, one.error_type) for one in self.roster]

    def launch_failed(self, name: str, error_type: str) -> None:
        one = self.roster.get(name)
        if one.may(Move.LAUNCH_ERROR):
            one.move(Move.LAUNCH_ERROR, name)
            one.error_type = error_type

    def invoke(self, event: RuntimeEvent) -> None:
        document = {
            "eventType": INVOKE,
            "deadlineMs": event.deadline_ms,
            "requestId": event.request_id,
            "invokedFunctionArn": event.invoked_arn,
            "tracing": {"type": "X-Amzn-Trace-Id", "value": event.trace_id},
        }
        body = orjson.dumps(document)
        for one in self.roster:
            if INVOKE in one.events and one.state is State.READY:
                identifier = (b"Lambda-Extension-Event-Identifier", new_uuid().encode())
                self._tell(one, _Told(body, (*JSON, identifier)))

    def shut_down(self, reason: str, deadline_ms: int) -> frozenset[str]:
        document = {"eventType": SHUTDOWN, "shutdownReason": reason, "deadlineMs": deadline_ms}
        told = self._shutdown = _Told(orjson.dumps(document))
        subscribed = [one for one in self.roster if one.is_external and SHUTDOWN in one.events]
        for one in subscribed:
            if one.state is State.READY:
                self._tell(one, told)
        return frozenset(one.name for one in subscribed)

    def close(self) -> None:
        if self._sink is None:
            return
        self._sink = None
        self._on_close(self)
        pollers, self._pollers = self._pollers, {}
        for poller in pollers.values():
            poller.abort()

    def _tell(self, one: Extension, told: _Told) -> None:
        one.move(Move.EVENT, one.name)
        poller = self._pollers.pop(one.id, None)
        if poller is not None and poller.is_open:
            poller.respond(200, told.headers, told.body)
        else:
            self._missed[one.id] = told

    # -- the door's side

    def register(self, exchange: Exchange) -> None:
        """POST extension/register"""
        request = exchange.request
        name = parse_name(request.header(_NAME))
        one = self.roster.register(name, parse_events(request.body))
        self.count = len(self.roster)
        facts = self._facts
        answer = {"functionName": facts.name, "functionVersion": facts.version, "handler": facts.handler}
        features = (request.header(_FEATURES) or b"").split(b",")
        if any(feature.strip() == b"accountId" for feature in features):
            answer["accountId"] = facts.account
        exchange.respond(200, (*JSON, (b"Lambda-Extension-Identifier", one.id.encode())), orjson.dumps(answer))
        self._moved()

    def next(self, exchange: Exchange) -> None:
        """GET extension/event/next"""
        one = self.roster.identified(exchange.request.header(_IDENTIFIER), _UNKNOWN_ASKS)
        missed = self._missed.pop(one.id, None)
        if missed is not None:
            exchange.respond(200, missed.headers, missed.body)
            return
        waiting = self._pollers.get(one.id)
        if one.state is not State.READY or (waiting is not None and waiting.is_open):
            one.move(Move.NEXT, one.id)
        self._pollers[one.id] = exchange
        exchange.on_gone = lambda: self._drop(one.id, exchange)
        exchange.require_open()  # an event written to an extension that has hung up would be lost
        if self._shutdown is not None and one.is_external and SHUTDOWN in one.events:
            self._tell(one, self._shutdown)
        self._moved()

    def init_error(self, exchange: Exchange) -> None:
        """POST extension/init/error"""
        self._failed(exchange, Move.INIT_ERROR, "Extension.InitError")

    def exit_error(self, exchange: Exchange) -> None:
        """POST extension/exit/error"""
        self._failed(exchange, Move.EXIT_ERROR, "Extension.ExitError")

    def _failed(self, exchange: Exchange, move: Move, category: str) -> None:
        request = exchange.request
        one = self.roster.identified(request.header(_IDENTIFIER), _UNKNOWN)
        error_type = parse_error_type(request.header(_ERROR_TYPE))
        one.move(move, one.id)
        if one.error_type is None:
            one.error_type = error_type
        accept(exchange)
        if self.failure is None:
            self.failure = category, f"extension {one.name} reported {error_type}"
            if self._sink is not None:
                self._sink.extension_failed()

    def _moved(self) -> None:
        if self._sink is not None:
            self._sink.extension_moved()

    def _drop(self, identifier: str, exchange: Exchange) -> None:
        if self._pollers.get(identifier) is exchange:
            del self._pollers[identifier]


def too_large(exchange: Exchange) -> None:
    """The body of a call exceeds what an extension may send."""
    text = f"Exceeded maximum allowed payload size ({EXTENSION_BODY_BYTES_MAX} bytes)."
    refuse(exchange, Refused(413, "RequestEntityTooLarge", text))
