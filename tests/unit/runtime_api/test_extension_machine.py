"""Extensions: every allowed and every refused move, and each refusal word for word."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from lambent.runtime_api.extension_machine import (
    ALLOWED,
    Extension,
    Move,
    Roster,
    State,
    parse_error_type,
    parse_events,
    parse_name,
)
from lambent.runtime_api.machine import Refused

A_UUID = "11111111-2222-4333-8444-555555555555"


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("move", Move)
def test_a_move_is_made_or_refused_and_then_nothing_changes(state: State, move: Move) -> None:
    one = Extension("watcher", is_external=True)
    one.state = state
    if move in ALLOWED[state]:
        one.move(move, one.id)
        assert one.state is move.value
        return
    with pytest.raises(Refused) as refused:
        one.move(move, one.id)
    assert (refused.value.status, refused.value.error_type) == (403, "Extension.InvalidExtensionState")
    assert refused.value.message == (
        f"State transition from {state.value} to {move.value.value} failed for extension {one.id}."
        " Error: State transition is not allowed"
    )
    assert one.state is state


def test_the_life_of_an_external_extension() -> None:
    roster = Roster(["watcher"])
    assert (len(roster), roster.is_external_registered, roster.is_ready) == (1, False, False)
    one = roster.register("watcher", ["SHUTDOWN", "INVOKE", "INVOKE"])
    assert one.events == ("INVOKE", "SHUTDOWN")
    assert (roster.is_external_registered, roster.is_ready) == (True, False)
    one.move(Move.NEXT, one.id)
    assert (roster.is_ready, roster.is_busy) == (True, False)
    one.move(Move.EVENT, one.id)
    assert roster.is_busy
    one.move(Move.EXIT_ERROR, one.id)
    assert roster.is_busy, "it has given up, and ends the invocation with it"


def test_who_does_not_listen_is_never_busy() -> None:
    roster = Roster(["watcher"])
    one = roster.register("watcher", ["SHUTDOWN"])
    one.move(Move.NEXT, one.id)
    one.move(Move.EVENT, one.id)
    assert not roster.is_busy


def full(roster: Roster) -> Roster:
    for number in range(10 - len(roster)):
        roster.register(f"internal-{number}", [])
    return roster


def closed(roster: Roster) -> Roster:
    roster.is_open = False
    return roster


def with_one(roster: Roster) -> Roster:
    roster.register("one", ["INVOKE"])
    return roster


REGISTRATIONS: list[tuple[str, Roster, str, list[str], str, str]] = [
    ("unknown event", Roster(), "one", ["BOOM"], "Extension.InvalidEventType", "BOOM: ErrorInvalidEventType"),
    ("unknown, external", Roster(["one"]), "one", ["x"], "Extension.InvalidEventType", "x: ErrorInvalidEventType"),
    (
        "internal and SHUTDOWN",
        Roster(),
        "one",
        ["INVOKE", "SHUTDOWN"],
        "Extension.InvalidEventType",
        "SHUTDOWN: ShutdownEventNotSupportedForInternalExtension",
    ),
    (
        "the events come before the state",
        closed(Roster()),
        "one",
        ["SHUTDOWN"],
        "Extension.InvalidEventType",
        "SHUTDOWN: ShutdownEventNotSupportedForInternalExtension",
    ),
    ("closed", closed(Roster()), "one", [], "Extension.RegistrationClosed", "Extension registration closed already"),
    (
        "closed comes before the name",
        closed(with_one(Roster())),
        "one",
        [],
        "Extension.RegistrationClosed",
        "Extension registration closed already",
    ),
    (
        "internal, twice",
        with_one(Roster()),
        "one",
        [],
        "Extension.InvalidExtensionState",
        "Extension with this name already registered",
    ),
    (
        "external, twice",
        with_one(Roster(["one"])),
        "one",
        ["SHUTDOWN"],
        "Extension.InvalidExtensionState",
        "State transition from Registered to Registered failed for extension one."
        " Error: State transition is not allowed",
    ),
    (
        "the eleventh, external ones counted",
        full(Roster(["a", "b"])),
        "one",
        [],
        "Extension.TooManyExtensions",
        "Extension limit (10) reached",
    ),
]


@pytest.mark.parametrize(("roster", "name", "events", "kind", "text"), [row[1:] for row in REGISTRATIONS])
def test_a_refused_registration(roster: Roster, name: str, events: list[str], kind: str, text: str) -> None:
    before = len(roster)
    with pytest.raises(Refused) as refused:
        roster.register(name, events)
    assert (refused.value.status, refused.value.error_type, refused.value.message) == (403, kind, text)
    assert len(roster) == before


def identify(header: bytes | None) -> Callable[[], Any]:
    return lambda: Roster(["one"]).identified(header, "Unknown extension {id}")


@pytest.mark.parametrize(
    ("call", "kind", "text"),
    [
        (lambda: parse_name(None), "Extension.InvalidExtensionName", "Empty extension name"),
        (lambda: parse_name(b""), "Extension.InvalidExtensionName", "Empty extension name"),
        (
            lambda: parse_events(b'{"events":[],"configurationKeys":["a"]}'),
            "InvalidRequestFormat",
            "configurationKeys are deprecated; use environment variables instead",
        ),
        (
            lambda: parse_error_type(None),
            "Extension.MissingHeader",
            "Lambda-Extension-Function-Error-Type not found",
        ),
        (identify(None), "Extension.MissingExtensionIdentifier", "Missing Lambda-Extension-Identifier header"),
        (identify(b"me"), "Extension.InvalidExtensionIdentifier", "Invalid Lambda-Extension-Identifier"),
        (identify(A_UUID.encode()), "Extension.UnknownExtensionIdentifier", f"Unknown extension {A_UUID}"),
    ],
)
def test_a_refused_call(call: Callable[[], Any], kind: str, text: str) -> None:
    with pytest.raises(Refused) as refused:
        call()
    assert (refused.value.status, refused.value.error_type, refused.value.message) == (403, kind, text)


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"3", b"null", b'{"events":3}', b'{"events":[3]}', b'{"events":"x"}']
)
def test_a_registration_that_is_not_json_of_that_form(body: bytes) -> None:
    with pytest.raises(Refused) as refused:
        parse_events(body)
    assert (refused.value.status, refused.value.error_type) == (403, "InvalidRequestFormat")


@pytest.mark.parametrize(
    ("body", "events"),
    [(b"{}", []), (b'{"events":null}', []), (b'{"events":["INVOKE"],"configurationKeys":[]}', ["INVOKE"])],
)
def test_a_registration_is_read(body: bytes, events: list[str]) -> None:
    assert parse_events(body) == events


def test_an_identifier_is_its_extensions_own_in_either_case() -> None:
    roster = Roster(["one"])
    one = roster.get("one")
    assert roster.identified(one.id.upper().encode(), "") is one
