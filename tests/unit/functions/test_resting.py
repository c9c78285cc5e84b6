"""Functions at rest: a start reads whole only what it has something to do about, the rest when it is asked for."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.unit.functions.house import House, code, ref, stored, wanted

from lambent.domain.errors import FunctionNotFound, ResourceConflict
from lambent.domain.names import FunctionRef, Scope
from lambent.functions.model import Alias, Function, Provisioned, Url
from lambent.functions.moves import INVALID_RUNTIME
from lambent.functions.wanted import Wanted
from lambent.stores.functions_memory import MemoryFunctions

SCOPE = Scope("123456789012", "us-east-1")


class Watched(MemoryFunctions):
    """Notes which functions are read whole."""

    def __init__(self) -> None:
        super().__init__()
        self.woken: list[str] = []

    def wake(self, ref: FunctionRef, stored: object) -> Function:
        self.woken.append(ref.name)
        return super().wake(ref, stored)


@pytest.fixture
def store() -> Watched:
    return Watched()


@pytest.fixture
def house(store: Watched) -> House:
    """Three functions, one version and one alias each, after a restart."""
    house = House()
    house.store = store
    functions = house.open()

    async def scenario() -> None:
        for name in ("a", "b", "c"):
            await functions.create(ref(name), wanted(), code(name), publish=True)
            await functions.change(ref(name), lambda one: replace(one, aliases={"live": Alias("live", "1", "r")}))

    house.run(scenario())
    house.open()
    return house


def test_a_start_reads_no_function_that_has_nothing_to_say(house: House, store: Watched) -> None:
    functions = house.functions
    house.run(functions.start())
    assert functions.names(SCOPE, "a", 10) == ["b", "c"]
    assert (functions.usage(SCOPE).functions, functions.usage(SCOPE).code_bytes) == (3, 600)
    assert functions.digests() == {name.ljust(64, "0") for name in "abc"}
    assert list(functions.scopes()) == [SCOPE]
    assert store.woken == []
    assert list(functions.awake()) == []


@pytest.mark.parametrize("qualifier", [None, "$LATEST", "1", "live"])
def test_what_is_asked_for_is_read_once(house: House, store: Watched, qualifier: str | None) -> None:
    first = house.functions.resolve(ref("b"), qualifier)
    assert (first.ref, first.code.digest[0]) == (ref("b"), "b")
    assert house.functions.resolve(ref("b"), qualifier) is first
    assert house.functions.get(ref("b")).latest is house.functions.primary(ref("b"), None)
    assert store.woken == ["b"]


def test_what_is_not_there_is_not_found_and_nothing_is_read(house: House, store: Watched) -> None:
    with pytest.raises(FunctionNotFound):
        house.functions.resolve(ref("d"), None)
    assert not house.functions.exists(ref("d"))
    assert store.woken == []


@pytest.mark.parametrize("reserved", [0, 5])
def test_reserved_concurrency_is_known_from_the_start(house: House, store: Watched, reserved: int) -> None:
    house.run(house.functions.reserve(ref("b"), reserved))
    store.woken.clear()
    functions = house.open()
    assert {one.ref.name: one.reserved for one in functions.awake()} == {"b": reserved}
    assert functions.unreserved(SCOPE) == 1_000 - reserved
    assert store.woken == ["b"]


def test_provisioned_concurrency_is_known_from_the_start(house: House, store: Watched) -> None:
    house.run(house.functions.change(ref("c"), lambda one: replace(one, provisioned={"1": Provisioned(2, 3)})))
    assert [one.ref.name for one in house.open().awake()] == ["c"]


def test_what_lacked_its_runtime_is_looked_at_by_every_start(house: House, store: Watched) -> None:
    house.machine.lacks.add("java21")
    house.run(house.functions.update_configuration(ref("b"), Wanted(runtime="java21")))
    house.run(house.functions.create(ref("d"), wanted(runtime="java21"), code("d")))
    assert house.functions.get_version(ref("d"), None).state_reason_code == INVALID_RUNTIME
    house.machine.lacks.clear()
    store.woken.clear()
    functions = house.open()
    house.run(functions.start())
    assert store.woken == ["d"]  # b serves what it was before
    assert functions.get_version(ref("d"), None).state == "Active"


def test_a_function_at_rest_is_changed_deleted_and_made_anew(house: House, store: Watched) -> None:
    functions = house.functions

    async def scenario() -> None:
        await functions.update_code(ref("a"), code("z"))
        await functions.delete(ref("b"))
        with pytest.raises(ResourceConflict):
            await functions.create(ref("c"), wanted(), code("c"))
        await functions.create(ref("b"), wanted(), code("y"))

    house.run(scenario())
    assert functions.names(SCOPE, "", 10) == ["a", "b", "c"]
    assert [functions.get(one.ref) for one in stored(store)] == stored(store)
    assert functions.digests() == {name.ljust(64, "0") for name in "aczy"}
    assert functions.usage(SCOPE).code_bytes == sum(one.code_bytes for one in stored(store))


def test_generations_go_on_where_functions_at_rest_ended(house: House) -> None:
    functions = house.functions
    highest = max(version.generation for one in "abc" for version in functions.get(ref(one)).versions.values())
    reopened = house.open()
    house.run(reopened.update_code(ref("a"), code("z")))
    assert reopened.resolve(ref("a"), None).generation > highest


def test_a_url_wakes_its_function_and_no_other(store: Watched) -> None:
    house = House()
    house.store = store
    functions = house.open()

    async def scenario() -> None:
        for name in ("a", "b"):
            await functions.create(ref(name), wanted(), code(name))
            urls = {"": Url(f"{name}1", "NONE", 1), "live": Url(f"{name}2", "NONE", 1)}
            await functions.change(ref(name), lambda one, urls=urls: replace(one, urls=urls))  # type: ignore[misc]

    house.run(scenario())
    store.woken.clear()
    functions = house.open()
    found = functions.url("b2")
    assert found is not None
    assert (found[0].ref, found[1]) == (ref("b"), "live")
    assert functions.url("c1") is None
    assert store.woken == ["b"]


def test_a_url_is_known_as_long_as_its_configuration(house: House) -> None:
    functions = house.functions

    def with_urls(*ids: str) -> None:
        urls = {key: Url(id, "NONE", 1) for key, id in zip(("", "live"), ids, strict=False)}
        house.run(functions.change(ref("a"), lambda one: replace(one, urls=urls)))

    assert functions.url("x") is None
    with_urls("x")
    assert functions.url("x") == (functions.get(ref("a")), "")
    with_urls("y", "z")
    assert functions.url("x") is None
    assert functions.url("z") == (functions.get(ref("a")), "live")
    house.run(functions.delete(ref("a")))
    assert functions.url("y") is None
