"""Bounds of the public door at their own size: bodies in flight, handlers, memories, markers, client contexts."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock, call

import pytest
from tests.unit.api.doubles import Reply, Someone, request_of

from lambent.api.bodies import BODY_BYTES_IN_FLIGHT_MAX, COUNTED_BYTES_MIN, QUIET_S, BodyBudget, HeapCare
from lambent.api.invoking import REMEMBERED_MAX, InvokeParameters
from lambent.api.resources.invoke import NAMES_MAX, InvokeDoor
from lambent.api.resources.pages import MARKER_CHARS_MAX, page_size, read_marker, write_marker
from lambent.api.running import HANDLERS_MAX, RETRY_AFTER_S, Running
from lambent.api.sizes import CHECKPOINT_BYTES_MAX, CONTROL_BYTES_MAX, read_limit
from lambent.api.table import load_table
from lambent.domain.clock import ManualClock
from lambent.domain.errors import InvalidParameterValue, TooManyRequests
from lambent.domain.limits import (
    CLIENT_CONTEXT_BASE64_CHARS_MAX,
    EVENT_REQUEST_BYTES_MAX,
    PAGE_ITEMS_MAX,
)
from lambent.invocations.trace import HEADER_CHARS_MAX, trace_header

UPLOAD = 64 << 20


def test_large_bodies_share_a_gibibyte() -> None:
    budget = BodyBudget()
    upload = request_of("POST", "/", {"content-length": str(UPLOAD)})
    shares = [budget.admit(upload, UPLOAD) for _ in range(BODY_BYTES_IN_FLIGHT_MAX // UPLOAD)]
    with pytest.raises(TooManyRequests) as caught:
        budget.admit(upload, UPLOAD)
    assert (caught.value.reason, caught.value.retry_after_s) == ("CallerRateLimitExceeded", RETRY_AFTER_S)
    small = request_of("POST", "/", {"content-length": str(COUNTED_BYTES_MIN - 1)})
    assert budget.admit(small, UPLOAD) is None
    del shares[0]
    assert budget.admit(upload, UPLOAD) is not None


def test_a_body_of_unknown_length_is_counted_at_its_limit() -> None:
    budget = BodyBudget()
    share = budget.admit(request_of("POST", "/", {"transfer-encoding": "chunked"}), UPLOAD)
    assert share is not None
    assert budget.taken == UPLOAD


def test_memory_is_given_back_when_no_large_body_has_come_for_a_while() -> None:
    timers: list[Callable[[], None]] = []
    timer, heap = Mock(), Mock()

    def later(seconds: float, call: Callable[[], None]) -> Mock:
        assert seconds == QUIET_S
        timers.append(call)
        return timer

    budget = BodyBudget(care=HeapCare(heap, later))
    upload = request_of("POST", "/", {"content-length": str(UPLOAD)})
    budget.admit(request_of("POST", "/", {"content-length": "10"}), UPLOAD)
    assert (timers, heap.mock_calls) == ([], []), "small ones are not waited for"
    held = budget.admit(upload, UPLOAD)
    budget.admit(upload, UPLOAD)
    assert (len(timers), heap.mock_calls) == (1, [call.expect_large()])
    timers.pop()()  # two have come
    timers.pop()()  # and one is still there
    assert len(timers) == 1
    del held
    budget.admit(upload, UPLOAD)
    timers.pop()()  # another one has come
    assert (len(timers), heap.mock_calls) == (1, [call.expect_large()])
    timers.pop()()
    assert (timers, heap.mock_calls) == ([], [call.expect_large(), call.give_back()])
    budget.admit(upload, UPLOAD)
    assert len(timers) == 1
    budget.close()
    timer.cancel.assert_called_once_with()
    assert len(heap.mock_calls) == 2


def test_as_many_handlers_run_as_the_bound_says() -> None:
    async def main() -> None:
        running = Running()
        over = asyncio.Event()

        async def work() -> None:
            await over.wait()

        for number in range(HANDLERS_MAX):
            running.admit()
            running.start(work(), f"handler {number}")
        with pytest.raises(TooManyRequests):
            running.admit()
        over.set()
        await running.drain(5.0)
        running.admit()

    asyncio.run(main())


def test_distinct_invocations_are_remembered_up_to_the_bound_and_the_oldest_goes() -> None:
    operation = load_table().operations["Invoke"]
    parameters = InvokeParameters()
    for number in range(REMEMBERED_MAX + 10):
        target = f"/2015-03-31/functions/f{number}/invocations"
        assert parameters.read(operation, [b"f%d" % number], request_of("POST", target))["FunctionName"] == f"f{number}"
    assert len(parameters) == REMEMBERED_MAX


class Versions:
    """Every function exists and is Active."""

    def resolve(self, ref: Any, qualifier: str | None) -> Any:
        return SimpleNamespace(state="Active", configuration=SimpleNamespace(tenancy=None))

    primary = resolve

    async def active(self, ref: Any, qualifier: str | None) -> Any:
        return self.resolve(ref, qualifier)


def dry_run(door: InvokeDoor, body: bytes = b"{}", kind: str = "DryRun", **params: str) -> Reply:
    reply: Any = Reply(request_of("POST", "/", {}, body))
    reply.context = SimpleNamespace(request_id="id")
    members = {"FunctionName": "f", "InvocationType": kind, **params}
    caller: Any = Someone("lambda")
    door.handle(reply, caller, "Invoke", members)
    return reply  # type: ignore[no-any-return]


@pytest.fixture
def door() -> InvokeDoor:
    nobody: Any = None
    return InvokeDoor(
        versions=Versions(), invocations=nobody, events=nobody, clock=ManualClock(), supervise=lambda work, name: None
    )


def test_a_client_context_has_3583_characters_at_most(door: InvokeDoor) -> None:
    fits = base64.b64encode(b'"' + b"x" * 2_683 + b'"').decode()
    assert len(fits) == CLIENT_CONTEXT_BASE64_CHARS_MAX // 4 * 4  # base64 comes in fours
    assert dry_run(door, ClientContext=fits).status == 204
    refused = dry_run(door, ClientContext=fits + "AAAA")
    assert refused.status == 400
    assert refused.json["message"] == "Client context must be at most 3583 bytes of base64"
    assert dry_run(door, ClientContext="not base64").status == 400


def test_an_event_has_a_megabyte(door: InvokeDoor) -> None:
    refused = dry_run(door, b'"' + b"x" * (EVENT_REQUEST_BYTES_MAX - 1) + b'"', "Event")
    assert refused.status == 413
    assert "1048577 byte payload is too large for the Event invocation type (limit 1048576 bytes)" in str(refused.json)


def test_names_are_kept_up_to_a_bound(door: InvokeDoor) -> None:
    for number in range(NAMES_MAX + 1):
        assert dry_run(door, FunctionName=f"f{number}").status == 204
    assert len(door._names) == 1


def test_a_page_has_fifty_items_whatever_is_asked_for() -> None:
    assert PAGE_ITEMS_MAX == 50
    assert [page_size(asked) for asked in ({}, {"MaxItems": 7}, {"MaxItems": 50}, {"MaxItems": 10_000})] == [
        50,
        7,
        50,
        50,
    ]


def test_a_marker_beyond_the_bound_is_not_read() -> None:
    for length, is_read in ((1_000, True), (2_000, False)):
        marker = write_marker("functions", ["x" * length])
        assert (len(marker) <= MARKER_CHARS_MAX) is is_read
        if is_read:
            assert read_marker("functions", marker, str) == ["x" * length]
        else:
            with pytest.raises(InvalidParameterValue, match="The marker is not one"):
                read_marker("functions", marker, str)


def test_a_checkpoint_may_be_twice_any_other_request() -> None:
    assert read_limit("CheckpointDurableExecution") == CHECKPOINT_BYTES_MAX == 2 * CONTROL_BYTES_MAX
    assert read_limit("GetFunction") == CONTROL_BYTES_MAX


def test_a_trace_header_beyond_the_bound_is_replaced() -> None:
    root = "1-5759e988-bd862e3fe1be46a994272793"
    short = f"Root={root};Lineage=" + "a" * 100
    assert trace_header(short, 0, is_active=False).startswith(f"Root={root};")
    long = f"Root={root};Lineage=" + "a" * HEADER_CHARS_MAX
    assert not trace_header(long, 0, is_active=False).startswith(f"Root={root};")
