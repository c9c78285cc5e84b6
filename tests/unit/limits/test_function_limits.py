"""Published limits of functions and accounts, at the last value that is taken and the first that is not."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from tests.simulation.virtual_time import run_virtual
from tests.unit.functions.house import House, code, ref, wanted
from tests.unit.functions.test_function_rules import CALLER, SCOPE
from tests.unit.functions.test_function_service import SlowStore

from lambent.concurrency.admission import Admission, Kind, Throttle
from lambent.domain.clock import ManualClock
from lambent.domain.documents import LINE_WAIT_S, WRITE_ATTEMPTS_MAX
from lambent.domain.errors import (
    CodeStorageExceeded,
    InvalidParameterValue,
    LambentError,
    ResourceConflict,
    ServiceFault,
)
from lambent.domain.limits import (
    CODE_STORAGE_BYTES_MAX,
    CONCURRENT_EXECUTIONS_DEFAULT,
    ENVIRONMENT_JSON_BYTES_MAX,
    EPHEMERAL_MB_MAX,
    FUNCTION_NAME_CHARS_MAX,
    LAYERS_PER_FUNCTION_MAX,
    MEMORY_MB_MAX,
    REQUEST_RATE_PER_CONCURRENCY,
    SCALING_BURST_ENVIRONMENTS,
    SCALING_REFILL_PER_S,
    TAGS_PER_RESOURCE_MAX,
    TIMEOUT_S_MAX,
    UNRESERVED_CONCURRENCY_MIN,
)
from lambent.domain.tags import check_tags
from lambent.functions.account import AccountLimits
from lambent.functions.attaching import NO_LAYERS, attached
from lambent.functions.model import Function
from lambent.functions.rules import check_name, check_request
from lambent.functions.service import SETTLE_WAIT_S
from lambent.functions.store import LostRace
from lambent.functions.wanted import Wanted
from lambent.stores.functions_memory import MemoryFunctions


@pytest.mark.parametrize(
    ("member", "most"), [("memory_mb", MEMORY_MB_MAX), ("timeout_s", TIMEOUT_S_MAX), ("ephemeral_mb", EPHEMERAL_MB_MAX)]
)
def test_sizes_and_times(member: str, most: int) -> None:
    check_request(Wanted(**{member: most}), SCOPE, CALLER)  # type: ignore[arg-type]
    with pytest.raises(LambentError, match=f"less than or equal to {most}"):
        check_request(Wanted(**{member: most + 1}), SCOPE, CALLER)  # type: ignore[arg-type]


def test_the_environment_has_4_kb_of_json() -> None:
    fits = {"A1": "x" * (ENVIRONMENT_JSON_BYTES_MAX - len('{"A1":""}'))}
    check_request(Wanted(environment=fits), SCOPE, CALLER)
    with pytest.raises(InvalidParameterValue, match="exceeded the 4KB limit"):
        check_request(Wanted(environment={"A1": fits["A1"] + "x"}), SCOPE, CALLER)


def test_layers_tags_and_names() -> None:
    layer = "arn:aws:lambda:us-east-1:123456789012:layer:l:1"
    with pytest.raises(InvalidParameterValue, match=r"^Cannot reference more than 5 layers\.$"):
        attached((layer,) * (LAYERS_PER_FUNCTION_MAX + 1), SCOPE, CALLER, NO_LAYERS)
    check_tags({str(number): "" for number in range(TAGS_PER_RESOURCE_MAX)})
    with pytest.raises(InvalidParameterValue, match="at most 50 tags; 51 were given"):
        check_tags({str(number): "" for number in range(TAGS_PER_RESOURCE_MAX + 1)})
    check_name("x" * FUNCTION_NAME_CHARS_MAX)
    with pytest.raises(InvalidParameterValue, match="less than or equal to 64"):
        check_name("x" * (FUNCTION_NAME_CHARS_MAX + 1))


def test_an_account_stores_300_gb_of_code(house: House) -> None:
    assert AccountLimits().code_storage_bytes == CODE_STORAGE_BYTES_MAX == 300 * 1_024**3

    async def scenario() -> None:
        await house.functions.create(ref("all"), wanted(), code("a", CODE_STORAGE_BYTES_MAX))
        with pytest.raises(CodeStorageExceeded):
            await house.functions.create(ref("more"), wanted(), code("b", 1))

    house.run(scenario())


def test_a_hundred_stay_unreserved() -> None:
    limits = AccountLimits()
    assert (limits.concurrent_executions, limits.unreserved_min) == (
        CONCURRENT_EXECUTIONS_DEFAULT,
        UNRESERVED_CONCURRENCY_MIN,
    )


def entered(admission: Admission, count: int, now_ns: int, kind: Kind, *, cold: bool) -> int:
    """How many of `count` requests at one moment are admitted; each is over before the next."""
    admitted = 0
    for _ in range(count):
        ticket = admission.enter(ref(), now_ns, needs_environment=cold, kind=kind)
        if not isinstance(ticket, Throttle):
            admission.leave(ticket)
            admitted += 1
    return admitted


def test_ten_requests_a_second_for_each_concurrent_execution() -> None:
    admission = Admission()
    rate = REQUEST_RATE_PER_CONCURRENCY * CONCURRENT_EXECUTIONS_DEFAULT
    assert entered(admission, rate + 5, 0, Kind.SYNC, cold=False) == rate


def test_a_thousand_environments_at_once_and_a_hundred_each_second_after() -> None:
    admission = Admission()
    burst = SCALING_BURST_ENVIRONMENTS
    assert entered(admission, burst + 5, 0, Kind.EVENT, cold=True) == burst
    refill = SCALING_REFILL_PER_S
    assert entered(admission, refill + 5, 1_000_000_000, Kind.EVENT, cold=True) == refill


class Lost(MemoryFunctions):
    """Somebody else always writes first."""

    tries = 0

    async def create(self, function: object) -> None:
        self.tries += 1
        raise LostRace


def test_a_change_is_decided_a_hundred_times_and_then_given_up(house: House) -> None:
    house.store = lost = Lost()
    functions = house.open()

    async def scenario() -> None:
        with pytest.raises(ServiceFault, match="changes faster than it can be written"):
            await functions.create(ref(), wanted(), code())

    house.run(scenario())
    assert lost.tries == WRITE_ATTEMPTS_MAX


def test_a_change_stands_in_line_for_ten_seconds_and_is_then_decided_beside_the_others() -> None:
    house = House()
    clock = ManualClock()

    async def scenario() -> None:
        store = house.store = SlowStore()
        functions = house.open()
        await functions.create(ref(), wanted(), code())
        await functions.close()
        store.gate.clear()
        began_ns = clock.monotonic_ns()
        decided_s: list[float] = []

        def decide(function: Function) -> Function:
            decided_s.append((clock.monotonic_ns() - began_ns) / 1e9)
            return replace(function, recursive_loop=str(len(decided_s)))

        changes = [asyncio.ensure_future(functions.change(ref(), decide)) for _ in range(2)]
        await asyncio.sleep(LINE_WAIT_S + 1)
        assert decided_s == [0, pytest.approx(LINE_WAIT_S, abs=0.01)]
        store.gate.set()
        await asyncio.gather(*changes)
        assert len(decided_s) == 3  # one of the two lost the race
        await functions.close()

    run_virtual(clock, scenario())


def test_a_change_waits_a_second_for_the_one_before_it() -> None:
    house = House()
    clock = ManualClock()

    async def scenario() -> None:
        store = house.store = SlowStore()
        functions = house.open()
        await functions.create(ref(), wanted(), code())
        await functions.close()
        store.gate.clear()
        first = asyncio.ensure_future(functions.update_configuration(ref(), Wanted(timeout_s=5)))
        await asyncio.sleep(0)
        began_ns = clock.monotonic_ns()
        with pytest.raises(ResourceConflict):
            await functions.update_configuration(ref(), Wanted(timeout_s=6))
        assert (clock.monotonic_ns() - began_ns) / 1e9 == pytest.approx(SETTLE_WAIT_S, abs=0.01)
        store.gate.set()
        await first
        await functions.close()

    run_virtual(clock, scenario())
