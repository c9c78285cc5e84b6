"""The life of functions as clients see it: states, revisions, versions, conflicts, retries, restarts."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from tests.unit.functions.house import LOW, House, code, ref, stored, wanted

from lambent.domain.errors import (
    CodeStorageExceeded,
    FunctionNotFound,
    InvalidParameterValue,
    PreconditionFailed,
    ResourceConflict,
    ServiceFault,
)
from lambent.domain.names import FunctionRef, Scope
from lambent.functions.model import Function
from lambent.functions.service import Functions
from lambent.functions.wanted import Wanted
from lambent.stores.functions_memory import MemoryFunctions

SCOPE = Scope("123456789012", "us-east-1")
CREATING = ("The function is being created.", "Creating")


async def create(functions: Functions, name: str = "fn", **members: object) -> Function:
    """A function, settled."""
    await functions.create(ref(name), wanted(**members), code())
    await functions.close()
    return functions.get(ref(name))


class SlowStore(MemoryFunctions):
    """Writes wait until the test opens the gate."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()
        self.gate.set()

    async def swap(self, old: Function, new: Function) -> None:
        await self.gate.wait()
        await super().swap(old, new)


def test_a_creation_answers_pending_and_is_active_a_moment_later(house: House) -> None:
    async def scenario() -> None:
        answer = await house.functions.create(ref(), wanted(), code())
        assert (answer.state, answer.state_reason, answer.state_reason_code) == ("Pending", *CREATING)
        assert answer.update_status is None
        active = await house.functions.active(ref(), None)
        assert (active.state, active.state_reason, active.update_status) == ("Active", None, "Successful")
        assert active.revision_id != answer.revision_id

    house.run(scenario())


def test_an_update_answers_in_progress_serves_at_once_and_settles_with_another_revision(house: House) -> None:
    async def scenario() -> None:
        before = (await create(house.functions)).latest
        answer = await house.functions.update_configuration(ref(), Wanted(memory_mb=256))
        assert (answer.state, answer.update_status) == ("Active", "InProgress")
        assert (answer.update_reason, answer.update_reason_code) == CREATING
        served = house.functions.resolve(ref(), None)
        assert served.configuration.memory_mb == 256
        assert served.generation > before.generation
        await house.functions.close()
        after = house.functions.get(ref()).latest
        assert (after.update_status, after.update_reason) == ("Successful", None)
        assert len({before.revision_id, answer.revision_id, after.revision_id}) == 3
        assert after.generation == answer.generation

    house.run(scenario())


def test_a_missing_runtime_fails_the_creation_with_what_to_install(house: House) -> None:
    house.machine.lacks.add("python3.13")

    async def scenario() -> None:
        latest = (await create(house.functions)).latest
        assert (latest.state, latest.state_reason_code) == ("Failed", "InvalidRuntime")
        assert latest.state_reason == "python3.13 is not on this machine: install it"
        assert (latest.update_status, latest.update_reason_code) == ("Failed", "InvalidRuntime")

    house.run(scenario())


def test_a_failed_update_leaves_the_old_state_serving_until_one_succeeds(house: House) -> None:
    house.machine.lacks.add("nodejs22.x")

    async def scenario() -> None:
        old = (await create(house.functions)).latest
        await house.functions.update_configuration(ref(), Wanted(runtime="nodejs22.x"))
        assert house.functions.resolve(ref(), None).configuration.runtime == "python3.13"
        await house.functions.close()
        shown = house.functions.get(ref()).latest
        assert (shown.state, shown.update_status, shown.update_reason_code) == ("Active", "Failed", "InvalidRuntime")
        assert shown.configuration.runtime == "nodejs22.x"
        assert house.functions.resolve(ref(), "$LATEST").generation == old.generation
        await house.functions.update_configuration(ref(), Wanted(runtime="python3.12"))
        assert house.functions.resolve(ref(), None).configuration.runtime == "python3.12"
        await house.functions.close()
        assert house.functions.get(ref()).serving is None

    house.run(scenario())


def test_a_runtime_installed_later_revives_the_function_at_the_next_start(house: House) -> None:
    house.machine.lacks.add("python3.13")

    async def scenario() -> None:
        await create(house.functions)
        house.machine.lacks.clear()
        functions = house.open()
        await functions.start()
        assert functions.resolve(ref(), None).state == "Active"

    house.run(scenario())


def test_what_a_crash_left_unsettled_is_settled_at_start(house: House) -> None:
    async def scenario() -> None:
        done = await create(house.functions)
        version = replace(done.latest, version="1", state="Pending", update_status=None)
        left = replace(
            done,
            revision=done.revision + 1,
            latest=replace(done.latest, update_status="InProgress", update_reason="x"),
            versions={"1": version},
        )
        await house.store.swap(done, left)
        functions = house.open()
        await functions.start()
        after = functions.get(ref())
        assert after.latest.update_status == "Successful"
        assert after.versions["1"].state == "Active"
        assert stored(house.store) == [after]

    house.run(scenario())


def test_a_name_is_taken_until_it_is_deleted(house: House) -> None:
    async def scenario() -> None:
        first = await create(house.functions)
        with pytest.raises(ResourceConflict, match=r"^Function already exist: fn$"):
            await house.functions.create(ref(), wanted(), code())
        await house.functions.delete(ref())
        with pytest.raises(FunctionNotFound, match=r"function:fn:\$LATEST$"):
            house.functions.resolve(ref(), None)
        again = await create(house.functions)
        assert again.latest.generation > first.latest.generation

    house.run(scenario())


def test_of_two_creations_at_once_one_wins(house: House) -> None:
    async def scenario() -> None:
        answers = await asyncio.gather(
            *(house.functions.create(ref(), wanted(), code()) for _ in range(5)), return_exceptions=True
        )
        assert sum(isinstance(answer, ResourceConflict) for answer in answers) == 4
        assert house.functions.usage(SCOPE).functions == 1

    house.run(scenario())


@pytest.mark.parametrize("publish", [False, True])
def test_a_retried_creation_gets_the_first_answer_again(house: House, publish: bool) -> None:
    async def scenario() -> None:
        first = await house.functions.create(ref(), wanted(), code(), publish=publish, invocation_id="call-1")
        await house.functions.close()
        functions = house.open()  # the answer was lost in a restart
        again = await functions.create(ref(), wanted(), code(), publish=publish, invocation_id="call-1")
        assert again == first
        with pytest.raises(ResourceConflict):
            await functions.create(ref(), wanted(), code(), invocation_id="call-2")

    house.run(scenario())


def test_a_retry_that_overtakes_its_first_attempt_makes_one_function(house: House) -> None:
    async def scenario() -> None:
        answers = await asyncio.gather(
            *(house.functions.create(ref(), wanted(), code(), invocation_id="call") for _ in range(3))
        )
        assert answers[0] == answers[1] == answers[2]

    house.run(scenario())


def test_revision_ids_guard_every_change_of_latest(house: House) -> None:
    async def scenario() -> None:
        functions = house.functions
        created = await functions.create(ref(), wanted(), code())
        await functions.close()
        for change in (
            functions.update_configuration(ref(), Wanted(timeout_s=9), revision_id=created.revision_id),
            functions.update_code(ref(), code("b"), revision_id=created.revision_id),
            functions.publish(ref(), revision_id=created.revision_id),
        ):
            with pytest.raises(PreconditionFailed, match="does not match the latest Revision Id"):
                await change
        current = functions.get(ref()).latest.revision_id
        await functions.update_configuration(ref(), Wanted(timeout_s=9), revision_id=current)

    house.run(scenario())


def test_fifty_writers_at_once_lose_nothing(house: House) -> None:
    house.open(settle_wait_s=30.0)

    async def scenario() -> None:
        functions = house.functions
        await create(functions)
        names = [f"V{number}" for number in range(50)]

        async def write(name: str) -> str:
            shown = await functions.update_configuration(ref(), Wanted(environment={name: "1"}))
            version = await functions.publish(ref(), description=name)
            assert shown.configuration.environment == {name: "1"}
            return version.version

        await asyncio.gather(*(write(name) for name in names))
        await functions.close()
        function = functions.get(ref())
        assert stored(house.store) == [function]
        assert [int(number) for number in function.versions] == list(range(1, len(function.versions) + 1))
        assert function.latest.update_status == "Successful"

    house.run(scenario())


def test_two_services_over_one_store_never_overwrite_each_other(house: House) -> None:
    """The conditional write alone carries this: neither service knows of the other's turns."""

    async def scenario() -> None:
        await create(house.functions)
        services = [Functions(house.store, house.machine, house.clock, settle_wait_s=30.0) for _ in range(2)]
        await asyncio.gather(
            *(services[number % 2].update_code(ref(), code(f"{number:02d}"), publish=True) for number in range(50))
        )
        for service in services:
            await service.close()
        (found,) = stored(house.store)
        assert sorted(int(number) for number in found.versions) == list(range(1, 51))
        digests = {version.code.digest for version in found.versions.values()}
        assert len(digests) == 50

    house.run(scenario())


def test_a_change_waits_for_the_one_before_it(house: House) -> None:
    async def scenario() -> None:
        store = house.store = SlowStore()
        functions = house.open(settle_wait_s=30.0)
        await create(functions)
        store.gate.clear()
        first = asyncio.ensure_future(functions.update_configuration(ref(), Wanted(timeout_s=5)))
        second = asyncio.ensure_future(functions.update_configuration(ref(), Wanted(memory_mb=512)))
        await asyncio.sleep(0)
        assert not first.done()
        store.gate.set()
        await asyncio.gather(first, second)
        configuration = functions.get(ref()).latest.configuration
        assert (configuration.timeout_s, configuration.memory_mb) == (5, 512)

    house.run(scenario())


def test_a_change_that_waited_too_long_is_told_of_the_update_in_progress(house: House) -> None:
    async def scenario() -> None:
        store = house.store = SlowStore()
        functions = house.open(settle_wait_s=0.01)
        await create(functions)
        store.gate.clear()
        first = asyncio.ensure_future(functions.update_configuration(ref(), Wanted(timeout_s=5)))
        text = (
            r"^The operation cannot be performed at this time\. An update is in progress for resource: "
            r"arn:aws:lambda:us-east-1:123456789012:function:fn$"
        )
        await asyncio.sleep(0)
        for change in (
            functions.update_configuration(ref(), Wanted(timeout_s=6)),
            functions.update_code(ref(), code("b")),
            functions.publish(ref()),
        ):
            with pytest.raises(ResourceConflict, match=text):
                await change
        store.gate.set()
        await first

    house.run(scenario())


def test_a_change_while_pending_is_told_of_the_state(house: House) -> None:
    async def scenario() -> None:
        store = house.store = SlowStore()
        functions = house.open(settle_wait_s=0.01)
        store.gate.clear()
        await functions.create(ref(), wanted(), code())
        with pytest.raises(ResourceConflict, match=r"The function is currently in the following state: Pending$"):
            await functions.update_configuration(ref(), Wanted(timeout_s=6))
        assert (await functions.active(ref(), None)).state == "Pending"
        await functions.delete(ref())  # allowed in every state
        store.gate.set()

    house.run(scenario())


def test_a_caller_cancelled_in_the_middle_leaves_a_whole_change(house: House) -> None:
    async def scenario() -> None:
        store = house.store = SlowStore()
        functions = house.open()
        await create(functions)
        store.gate.clear()
        caller = asyncio.ensure_future(functions.update_configuration(ref(), Wanted(timeout_s=5)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        store.gate.set()
        await functions.close()
        function = functions.get(ref())
        assert stored(store) == [function]
        assert function.latest.update_status == "Successful"
        await functions.update_configuration(ref(), Wanted(timeout_s=6))

    house.run(scenario())


def test_a_write_that_fails_changes_nothing_and_gives_the_turn_back(house: House) -> None:
    class Broken(MemoryFunctions):
        failing = False

        async def swap(self, old: Function, new: Function) -> None:
            if self.failing:
                raise ServiceFault("the disk is gone")
            await super().swap(old, new)

    async def scenario() -> None:
        store = house.store = Broken()
        functions = house.open()
        before = await create(functions)
        usage = replace(functions.usage(SCOPE))
        store.failing = True
        with pytest.raises(ServiceFault):
            await functions.update_code(ref(), code("b", 500))
        with pytest.raises(ServiceFault):
            await functions.reserve(ref(), 5)
        assert functions.get(ref()) is before
        assert functions.usage(SCOPE) == usage
        store.failing = False
        await functions.update_code(ref(), code("b", 500))

    house.run(scenario())


def test_an_update_that_could_not_be_settled_is_settled_by_the_next_change(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    class FailsOnce(MemoryFunctions):
        left = 0

        async def swap(self, old: Function, new: Function) -> None:
            self.left -= 1
            if self.left == 0:
                raise ServiceFault("once")
            await super().swap(old, new)

    async def scenario() -> None:
        store = house.store = FailsOnce()
        functions = house.open()
        await create(functions)
        store.left = 2
        await functions.update_configuration(ref(), Wanted(timeout_s=5))
        await functions.close()
        assert functions.get(ref()).latest.update_status == "InProgress"
        await functions.update_configuration(ref(), Wanted(timeout_s=6))
        await functions.close()
        assert functions.get(ref()).latest.update_status == "Successful"

    house.run(scenario())
    assert "could not be settled" in caplog.text


def test_versions_count_up_and_are_never_used_again(house: House) -> None:
    async def scenario() -> None:
        functions = house.functions
        await create(functions)
        for number in ("1", "2"):
            await functions.update_configuration(ref(), Wanted(description=f"d{number}"))
            assert (await functions.publish(ref())).version == number
        await functions.delete(ref(), "2")
        await functions.delete(ref(), "2")  # nothing happens
        await functions.delete(ref(), "1")
        functions = house.open()
        assert (await functions.publish(ref())).version == "3"
        with pytest.raises(FunctionNotFound, match=r":2$"):
            functions.get_version(ref(), "2")

    house.run(scenario())


def test_a_publication_without_a_change_answers_the_last_version(house: House) -> None:
    async def scenario() -> None:
        functions = house.functions
        await create(functions, description="mine")
        first = await functions.publish(ref(), description="theirs")
        assert (first.state, first.update_status, first.configuration.description) == ("Active", "Successful", "theirs")
        revision = functions.get(ref()).latest.revision_id
        assert await functions.publish(ref(), description="other") == first
        assert functions.get(ref()).latest.revision_id == revision
        # An update that alters nothing is no change either; one that alters the description is.
        await functions.update_configuration(ref(), Wanted(description="mine"))
        assert (await functions.publish(ref())).version == "1"
        await functions.update_configuration(ref(), Wanted(description="new"))
        second = await functions.publish(ref())
        assert (second.version, second.configuration.description) == ("2", "new")
        await functions.update_code(ref(), code("b"))
        assert (await functions.publish(ref(), description="")).configuration.description == ""
        await functions.delete(ref(), "3")
        assert (await functions.publish(ref())).version == "4"

    house.run(scenario())


def test_a_publication_changes_latest_revision_and_leaves_the_versions_alone(house: House) -> None:
    async def scenario() -> None:
        functions = house.functions
        before = (await create(functions)).latest.revision_id
        version = await functions.publish(ref())
        after = functions.get(ref()).latest.revision_id
        assert len({before, after, version.revision_id}) == 3
        await functions.update_configuration(ref(), Wanted(memory_mb=256))
        await functions.close()
        assert functions.resolve(ref(), "1") == version

    house.run(scenario())


def test_a_publication_checks_the_hash(house: House) -> None:
    async def scenario() -> None:
        await create(house.functions)
        with pytest.raises(
            InvalidParameterValue, match=r"^CodeSHA256 \(other\) is different from current CodeSHA256 in"
        ):
            await house.functions.publish(ref(), code_sha256="other")
        assert (await house.functions.publish(ref(), code_sha256="sha-a")).version == "1"

    house.run(scenario())


def test_creation_and_code_update_with_publish_answer_a_pending_version(house: House) -> None:
    async def scenario() -> None:
        functions = house.functions
        first = await functions.create(ref(), wanted(), code(), publish=True)
        assert (first.version, first.state) == ("1", "Pending")
        await functions.close()
        assert functions.resolve(ref(), "1").state == "Active"
        second = await functions.update_code(ref(), code("b"), publish=True)
        assert (second.version, second.state, second.update_status) == ("2", "Pending", None)
        assert (await functions.active(ref(), "2")).state == "Active"
        assert functions.resolve(ref(), "2").revision_id == second.revision_id
        again = await functions.update_code(ref(), code("b"), publish=True)
        assert again.version == "2"

    house.run(scenario())


def test_snap_start_versions_are_pending_first(house: House) -> None:
    async def scenario() -> None:
        await create(house.functions, snap_start="PublishedVersions")
        assert (await house.functions.publish(ref())).state == "Pending"
        assert (await house.functions.active(ref(), "1")).state == "Active"

    house.run(scenario())


def test_a_dry_run_shows_and_changes_nothing(house: House) -> None:
    async def scenario() -> None:
        functions = house.functions
        before = await create(functions)
        shown = await functions.update_code(ref(), code("b", 7), architecture="arm64", dry_run=True)
        assert (shown.code.size_bytes, shown.configuration.architecture) == (7, "arm64")
        assert (shown.revision_id, shown.update_status) == (before.latest.revision_id, "Successful")
        assert functions.get(ref()) is before

    house.run(scenario())


def test_deletion_of_latest_and_of_aliases_is_refused_before_anything_is_looked_up(house: House) -> None:
    async def scenario() -> None:
        with pytest.raises(InvalidParameterValue, match="cannot be deleted without deleting the function"):
            await house.functions.delete(ref("nope"), "$LATEST")
        with pytest.raises(InvalidParameterValue, match="Deletion of aliases is not currently supported"):
            await house.functions.delete(ref("nope"), "live")
        with pytest.raises(FunctionNotFound, match=r"function:nope$"):
            await house.functions.delete(ref("nope"), "1")

    house.run(scenario())


def test_listeners_hear_what_changes_for_invocations(house: House) -> None:
    async def scenario() -> None:
        functions = house.functions
        await create(functions)
        house.heard.clear()
        await functions.update_code(ref(), code("b"), publish=True)
        await functions.close()
        acceptance = [("updated", "$LATEST"), ("updated", "1")]
        assert [(change.kind, change.version) for change in house.heard] == 2 * acceptance  # and the settlement
        house.heard.clear()
        await functions.reserve(ref(), 3)
        await functions.reserve(ref(), 3)
        await functions.delete(ref(), "1")
        await functions.delete(ref())
        assert [(change.kind, change.version) for change in house.heard] == [
            ("concurrency", None),
            ("deleted", "1"),
            ("deleted", None),
        ]

    house.run(scenario())


def test_reserved_concurrency_leaves_a_hundred_unreserved(house: House) -> None:
    async def scenario() -> None:
        functions = house.functions
        await create(functions)
        await create(functions, "other")
        with pytest.raises(FunctionNotFound, match=r"function:nope:\$LATEST$"):
            await functions.reserve(ref("nope"), 5_000)
        await functions.reserve(ref(), 900)
        assert (functions.reserved(ref()), functions.unreserved(SCOPE)) == (900, 100)
        with pytest.raises(InvalidParameterValue) as refused:
            await functions.reserve(ref("other"), 1)
        assert refused.value.message == (
            "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution "
            "below its minimum value of [100]."
        )
        assert refused.value.typed is False
        await functions.reserve(ref("other"), 0)
        assert functions.reserved(ref("other")) == 0
        assert {one.ref.name: one.reserved for one in house.open().awake()} == {"fn": 900, "other": 0}
        functions = house.functions
        await functions.unreserve(ref())
        await functions.unreserve(ref())
        assert (functions.reserved(ref()), functions.unreserved(SCOPE)) == (None, 1_000)
        await functions.reserve(ref(), 5)
        await functions.delete(ref())
        assert functions.unreserved(SCOPE) == 1_000

    house.run(scenario())


def test_reservations_decided_side_by_side_never_exceed_the_account_together(house: House) -> None:
    async def scenario() -> None:
        names = [f"fn{number}" for number in range(10)]
        for name in names:
            await create(house.functions, name)
        answers = await asyncio.gather(
            *(house.functions.reserve(ref(name), 300) for name in names), return_exceptions=True
        )
        assert sum(answer is None for answer in answers) == 3
        assert house.functions.unreserved(SCOPE) == 100

    house.run(scenario())


def test_a_low_account_limit_can_reserve_nothing(house: House) -> None:
    functions = house.open(limits=replace(LOW, concurrent_executions=10))

    async def scenario() -> None:
        await create(functions)
        with pytest.raises(InvalidParameterValue, match=r"minimum value of \[10\]"):
            await functions.reserve(ref(), 1)

    house.run(scenario())


def test_code_storage_is_counted_by_version_limited_and_given_back(house: House) -> None:
    functions = house.open(limits=LOW)

    async def scenario() -> None:
        await functions.create(ref(), wanted(), code("a", 400), publish=True)
        assert functions.usage(SCOPE).code_bytes == 800
        with pytest.raises(CodeStorageExceeded, match=r"^Code storage limit exceeded\.$"):
            await functions.create(ref("big"), wanted(), code("b", 201))
        await functions.create(ref("fits"), wanted(), code("b", 200))
        with pytest.raises(CodeStorageExceeded):
            await functions.update_code(ref("fits"), code("c", 200), publish=True)
        await functions.delete(ref(), "1")
        await functions.update_code(ref("fits"), code("c", 200), publish=True)
        await functions.delete(ref())
        assert (functions.usage(SCOPE).code_bytes, functions.usage(SCOPE).functions) == (400, 1)
        await functions.close()
        reopened = house.open(limits=LOW)
        assert reopened.usage(SCOPE).code_bytes == 400
        assert reopened.digests() == {"c".ljust(64, "0")}

    house.run(scenario())


def test_scopes_do_not_see_each_other(house: House) -> None:
    async def scenario() -> None:
        await create(house.functions)
        for elsewhere in (
            FunctionRef("999999999999", "us-east-1", "fn"),
            FunctionRef("123456789012", "eu-west-1", "fn"),
        ):
            with pytest.raises(FunctionNotFound):
                house.functions.resolve(elsewhere, None)
            assert house.functions.names(elsewhere.scope, "", 10) == []
            assert house.functions.usage(elsewhere.scope).functions == 0

    house.run(scenario())


def test_names_come_in_order_behind_a_key(house: House) -> None:
    async def scenario() -> None:
        for name in ("c", "a", "d", "b"):
            await create(house.functions, name)
        assert house.functions.names(SCOPE, "", 3) == ["a", "b", "c"]
        await house.functions.delete(ref("b"))
        assert house.functions.names(SCOPE, "a", 3) == ["c", "d"]

    house.run(scenario())
