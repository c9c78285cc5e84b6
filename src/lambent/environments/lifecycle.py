"""The life of one execution environment, as a table.

    STARTING ──READY/INIT_FAILED──► IDLE ──LEASE──► LEASED ──DISPATCH──► INVOKING ──FINISH──► IDLE
                                     ▲                │ABANDON             │BREAK
                                     └────────────────┘                    ▼
                                     ▲────────RESET_DONE──────────────RESETTING
    every state ──STOP──► STOPPING ──REAPED──► GONE

`LEASED` exists so that a thing promised is marked as promised in the same step: a caller who vanishes between promise
and use gives the environment back with ABANDON. Whether the runtime inside is alive is a property of its own: an IDLE
environment whose init failed, or that was reset after a time-out or crash, has none and repeats init as part of its
next invocation ("suppressed init"), with `/tmp` kept. News that lost the race to a STOP has rows of its own and revives
nothing. Source: the published life cycle of the Lambda execution environment.
"""

from __future__ import annotations

from enum import Enum


class State(Enum):
    __hash__ = object.__hash__  # members are single; Enum's own hashes the name, in Python, on every move
    STARTING, IDLE, LEASED, INVOKING, RESETTING, STOPPING, GONE = range(7)


class Event(Enum):
    __hash__ = object.__hash__
    READY, INIT_FAILED, LEASE, DISPATCH, FINISH, ABANDON, BREAK, RESET_DONE, STOP, REAPED = range(10)


NEXT: dict[tuple[State, Event], State] = {
    (State.STARTING, Event.READY): State.IDLE,
    (State.STARTING, Event.INIT_FAILED): State.IDLE,
    (State.IDLE, Event.LEASE): State.LEASED,
    (State.LEASED, Event.DISPATCH): State.INVOKING,
    (State.LEASED, Event.ABANDON): State.IDLE,
    (State.INVOKING, Event.FINISH): State.IDLE,
    (State.INVOKING, Event.BREAK): State.RESETTING,
    (State.IDLE, Event.BREAK): State.RESETTING,
    (State.RESETTING, Event.RESET_DONE): State.IDLE,
    **{(s, Event.STOP): State.STOPPING for s in State if s not in (State.STOPPING, State.GONE)},
    **{
        (State.STOPPING, e): State.STOPPING
        for e in (
            Event.READY,
            Event.INIT_FAILED,
            Event.FINISH,
            Event.ABANDON,
            Event.BREAK,
            Event.RESET_DONE,
            Event.STOP,
        )
    },
    (State.STOPPING, Event.REAPED): State.GONE,
}


class IllegalTransition(AssertionError):
    """A move the table does not know: a bug in the caller; the invocation fails and the environment is retired."""


def advance(state: State, event: Event) -> State:
    """The only way an environment changes state. Raises IllegalTransition, and then nothing has changed."""
    following = NEXT.get((state, event))
    if following is None:
        raise IllegalTransition(f"{event.name} while {state.name}")
    return following
