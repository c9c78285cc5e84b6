"""Every state, every event: it moves by the table or refuses, and GONE is always reachable."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.environments.lifecycle import NEXT, Event, IllegalTransition, State, advance


@pytest.mark.parametrize(("state", "event"), list(product(State, Event)))
def test_a_move_is_in_the_table_or_refused(state: State, event: Event) -> None:
    if (state, event) in NEXT:
        assert advance(state, event) is NEXT[state, event]
    else:
        with pytest.raises(IllegalTransition, match=f"{event.name} while {state.name}"):
            advance(state, event)


@given(st.lists(st.sampled_from(Event), max_size=40))
def test_whatever_happens_gone_stays_reachable(events: list[Event]) -> None:
    state = State.STARTING
    for event in events:
        try:
            state = advance(state, event)
        except IllegalTransition:
            continue
    if state is not State.GONE:
        if state is not State.STOPPING:
            state = advance(state, Event.STOP)
        assert advance(state, Event.REAPED) is State.GONE


@given(st.lists(st.sampled_from([e for e in Event if e is not Event.REAPED]), max_size=40))
def test_nothing_revives_a_stopping_environment(events: list[Event]) -> None:
    state = State.STOPPING
    for event in events:
        try:
            state = advance(state, event)
        except IllegalTransition:
            continue
        assert state is State.STOPPING


def test_only_one_work_at_a_time() -> None:
    for state in (State.LEASED, State.INVOKING, State.RESETTING, State.STARTING):
        with pytest.raises(IllegalTransition):
            advance(state, Event.LEASE)
