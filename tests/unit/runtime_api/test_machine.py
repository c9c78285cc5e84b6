"""The Runtime API's states: the table refuses or moves, and refuses in the published words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.environments.channel import RuntimeEvent
from lambent.runtime_api.machine import NEXT, Machine, Move, Refused, State


def event(request_id: str = "a") -> RuntimeEvent:
    return RuntimeEvent(request_id, 1, "arn", "", "", "", "", "", b"{}")


def running(request_id: str = "a") -> Machine:
    machine = Machine()
    assert machine.ask()
    machine.deliver(event(request_id))
    return machine


def refusal(action: object, *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(Refused) as caught:
        action(*arguments)  # type: ignore[operator]
    return caught.value.status, caught.value.error_type, caught.value.message


def test_one_invocation_after_another() -> None:
    machine = running("a")
    assert not machine.ask(), "the same event again is no new readiness"
    assert machine.state is State.RUNNING
    machine.begin_result("a", machine.identify(), Move.RESPONSE)
    machine.end_result("a")
    assert machine.ask()
    assert not machine.ask(), "a second poller"
    first = machine.identify()
    machine.deliver(event("a"))
    assert machine.identify() != first, "a new delivery of the same request id"
    machine.begin_result("a", None, Move.ERROR)
    machine.end_result("a")


def test_illegal_moves_name_both_states() -> None:
    machine = running()
    machine.begin_result("a", None, Move.RESPONSE)
    assert refusal(machine.begin_result, "a", None, Move.RESPONSE) == (
        403,
        "InvalidStateTransition",
        "State transition from InvocationResponse to InvocationResponse failed for runtime."
        " Error: State transition is not allowed",
    )
    machine.end_result("a")
    assert refusal(machine.begin_result, "a", None, Move.ERROR)[2] == (
        "State transition from RuntimeResponseSentState to InvocationErrorResponse failed for runtime."
        " Error: State transition is not allowed"
    )
    assert refusal(machine.move, Move.INIT_ERROR)[:2] == (403, "InvalidStateTransition")


def test_the_id_is_compared_before_the_state() -> None:
    invalid = (400, "InvalidRequestID", "Invalid request ID")
    machine = Machine()
    assert refusal(machine.begin_result, "a", None, Move.RESPONSE) == invalid, "before the first next"
    machine = running("a")
    assert refusal(machine.begin_result, "b", None, Move.RESPONSE) == invalid
    machine.begin_result("a", None, Move.RESPONSE)
    machine.end_result("a")
    machine.ask()
    assert refusal(machine.begin_result, "a", None, Move.RESPONSE) == invalid, "its time is over"


def test_the_echoed_invocation_id_must_be_the_deliverys() -> None:
    machine = running()
    assert refusal(machine.begin_result, "a", "other", Move.RESPONSE)[:2] == (400, "InvalidInvocationId")
    assert machine.state is State.RUNNING
    machine.begin_result("a", machine.identify(), Move.RESPONSE)


def test_an_abandoned_invocation_takes_no_late_answer() -> None:
    machine = running()
    machine.abandon()
    assert refusal(machine.begin_result, "a", None, Move.RESPONSE)[:2] == (400, "InvalidRequestID")
    assert machine.ask()
    machine = running()
    machine.begin_result("a", None, Move.RESPONSE)
    machine.abandon()
    assert refusal(machine.end_result, "a")[:2] == (400, "InvalidRequestID")
    assert machine.ask(), "the runtime goes on"


@given(st.lists(st.sampled_from(Move), max_size=30))
def test_whatever_happens_the_table_moves_or_refuses(moves: list[Move]) -> None:
    machine = Machine()
    for move in moves:
        before = machine.state
        if (before, move) in NEXT:
            machine.move(move)
            assert machine.state is NEXT[before, move]
        else:
            status, kind, message = refusal(machine.move, move)
            assert (status, kind) == (403, "InvalidStateTransition")
            assert f"from {before.value} to {move.value.value} failed" in message
            assert machine.state is before


def test_every_state_but_the_last_ones_leads_on() -> None:
    ends = {State.INIT_ERROR, State.RESTORE_ERROR}
    assert {state for state, _ in NEXT} == set(State) - ends
