"""Any sequence of changes, side by side, with writes that fail: memory, store and usage always tell the same."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.functions.house import House, code, ref, stored, wanted

from lambent.domain.errors import LambentError, ServiceFault
from lambent.domain.names import Scope
from lambent.functions.account import AccountLimits, Usage
from lambent.functions.model import Function
from lambent.functions.resting import packages
from lambent.functions.service import Functions
from lambent.functions.wanted import Wanted
from lambent.stores.functions_memory import MemoryFunctions

SCOPE = Scope("123456789012", "us-east-1")
NAMES = st.sampled_from(["a", "b"])
CONTENT = st.sampled_from(["x", "y"])
RUNTIMES = st.sampled_from(["python3.13", "java21"])  # the second is missing
log = logging.getLogger("lambent.functions")
LIMITS = AccountLimits(concurrent_executions=200, code_storage_bytes=700)

Change = Callable[[Functions], Awaitable[Any]]


def change(kind: str, name: str, content: str, runtime: str, number: int, flag: bool) -> Change:
    at = ref(name)
    changes: dict[str, Change] = {
        "create": lambda functions: functions.create(at, wanted(runtime=runtime), code(content), publish=flag),
        "configuration": lambda functions: functions.update_configuration(
            at, Wanted(runtime=runtime, memory_mb=128 + number)
        ),
        "code": lambda functions: functions.update_code(at, code(content), publish=flag),
        "publish": lambda functions: functions.publish(at, description=content if flag else None),
        "delete": lambda functions: functions.delete(at),
        "delete-version": lambda functions: functions.delete(at, str(number)),
        "reserve": lambda functions: functions.reserve(at, 20 * number),
        "unreserve": lambda functions: functions.unreserve(at),
        "sign": lambda functions: functions.change(
            at, lambda one: replace(one, code_signing_arn=f"arn:{content}" if flag else None)
        ),
        "pause": lambda functions: asyncio.sleep(0),
    }
    return changes[kind]


KINDS = st.sampled_from(
    [
        "create",
        "create",
        "configuration",
        "code",
        "publish",
        "delete",
        "delete-version",
        "reserve",
        "unreserve",
        "sign",
        "pause",
    ]
)
CHANGES = st.builds(change, KINDS, NAMES, CONTENT, RUNTIMES, st.integers(1, 4), st.booleans())


class Flaky(MemoryFunctions):
    """Takes a moment for every write, and fails those whose number is in `failing`."""

    def __init__(self, failing: set[int]) -> None:
        super().__init__()
        self._failing = failing
        self._count = 0
        self.is_repaired = False

    async def _moment(self) -> None:
        self._count += 1
        number = self._count
        await asyncio.sleep(0)
        if number in self._failing and not self.is_repaired:
            raise ServiceFault("this write fails")

    async def create(self, function: Function) -> None:
        await self._moment()
        await super().create(function)

    async def swap(self, old: Function, new: Function) -> None:
        await self._moment()
        await super().swap(old, new)

    async def delete(self, old: Function) -> None:
        await self._moment()
        await super().delete(old)


def check(functions: Functions, store: MemoryFunctions) -> None:
    kept = stored(store)
    expected = Usage(len(kept), sum(one.code_bytes for one in kept), sum(one.reserved or 0 for one in kept))
    assert functions.usage(SCOPE) == expected
    assert functions.digests() == {package for one in kept for package in packages(one)}
    for arn in ("arn:x", "arn:y"):
        signed = [one.ref.name for one in kept if one.code_signing_arn == arn]
        assert functions.signed(arn, SCOPE, "", 10) == signed
        assert functions.is_signing(arn) == bool(signed)
    assert list(functions.scopes()) == ([SCOPE] if kept else [])
    assert [functions.get(one.ref) for one in kept] == kept
    assert functions.names(SCOPE, "", 10) == [one.ref.name for one in kept]
    assert expected.code_bytes <= LIMITS.code_storage_bytes
    assert functions.unreserved(SCOPE) >= 100
    for one in kept:
        numbers = [int(number) for number in one.versions]
        assert numbers == sorted(numbers)
        assert max(numbers, default=0) < one.next_version
        served = functions.resolve(one.ref, None)
        if served.state == "Active" and served.update_status == "Successful":
            assert served.configuration.runtime == "python3.13"
        generations = [version.generation for version in (one.latest, *one.versions.values())]
        assert len(set(generations)) == len(generations)


@settings(max_examples=120, deadline=None)
@given(st.lists(st.lists(CHANGES, min_size=1, max_size=6), max_size=8), st.sets(st.integers(1, 40), max_size=4))
def test_memory_store_and_usage_always_agree(batches: list[list[Change]], failing: set[int]) -> None:
    house = House()
    house.store = store = Flaky(failing)
    house.machine.lacks.add("java21")
    functions = house.open(limits=LIMITS, settle_wait_s=30.0)
    # What failed on purpose is logged by the settling task; here the log would only be noise.
    log.disabled = True

    async def scenario() -> None:
        for batch in batches:
            answers = await asyncio.gather(*(one(functions) for one in batch), return_exceptions=True)
            for answer in answers:
                assert not isinstance(answer, BaseException) or isinstance(answer, LambentError), answer
            await functions.close()
            check(functions, store)
        store.is_repaired = True  # a start whose writes fail is no start
        reopened = house.open(limits=LIMITS)
        await reopened.start()
        for one in stored(store):
            assert all(version.is_settled for version in (one.latest, *one.versions.values()))
        check(reopened, store)

    try:
        house.run(scenario())
    finally:
        log.disabled = False


def test_what_a_change_frees_is_free_when_it_is_written() -> None:
    """Found by the property: a deletion whose write fails, and beside it a reservation of what it would have freed."""
    house = House()
    house.store = store = Flaky(set())
    functions = house.open(limits=LIMITS, settle_wait_s=30.0)
    most = functions.unreserved(SCOPE) - 100

    async def scenario() -> None:
        for name in ("a", "b"):
            await functions.create(ref(name), wanted(), code("x"))
        await functions.close()
        await functions.reserve(ref("b"), most)
        store._failing = {store._count + 1}
        answers = await asyncio.gather(
            functions.delete(ref("b")), functions.reserve(ref("a"), most), return_exceptions=True
        )
        assert [type(answer).__name__ for answer in answers] == ["ServiceFault", "InvalidParameterValue"]
        await functions.close()
        check(functions, store)
        await functions.delete(ref("b"))
        await functions.reserve(ref("a"), most)
        check(functions, store)

    house.run(scenario())
