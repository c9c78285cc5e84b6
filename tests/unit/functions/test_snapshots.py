"""SnapStart's part of a version's states, as decisions and through the service."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.functions.house import House, code, ref, wanted

from lambent.functions.model import FunctionVersion
from lambent.functions.moves import INVALID_RUNTIME
from lambent.functions.snapshots import INIT_FAILED, Outcome, init_failure, snapshot_taken


@pytest.mark.parametrize(
    ("kind", "error_type", "reason_code"),
    [
        ("timeout", None, "FunctionError.InitTimeout"),
        ("timeout", "Runtime.OutOfMemory", "FunctionError.InitTimeout"),
        ("error", "Runtime.ImportModuleError", "FunctionError.RuntimeInitError"),
        ("error", "Runtime.BeforeSnapshotError", "FunctionError.RuntimeInitError"),
        ("exit", "Runtime.ExitError", "FunctionError.RuntimeInitError"),
        ("exit", "Runtime.OutOfMemory", "FunctionError.InitResourceExhausted"),
        ("refused", "Runtime.InvalidEntrypoint", "FunctionError.InvalidEntryPoint"),
        ("exit", "PermissionDenied", "FunctionError.PermissionDenied"),
    ],
)
def test_reason_codes_of_an_init_that_failed(kind: str, error_type: str | None, reason_code: str) -> None:
    assert init_failure(kind, error_type, "why") == Outcome(failure=(reason_code, "why"))


def snapshotting() -> House:
    house = House()
    house.open(snapshots=True)
    return house


async def made(house: House, *, publish: bool = True, **members: Any) -> FunctionVersion:
    members = {"snap_start": "PublishedVersions"} | members
    version = await house.functions.create(ref(), wanted(**members), code(), publish=publish)
    await house.functions.close()  # everything that was accepted is settled
    return version


def one(house: House, number: str = "1") -> FunctionVersion:
    return house.functions.get_version(ref(), number)


@pytest.mark.parametrize(
    ("outcome", "state", "reason_code", "refusal"),
    [
        (Outcome(), "Active", None, None),
        (Outcome(refusal="a thread"), "Active", None, "a thread"),
        (Outcome(failure=(INIT_FAILED, "it broke")), "Failed", INIT_FAILED, "it broke"),
    ],
)
def test_a_version_is_pending_until_it_is_told(
    outcome: Outcome, state: str, reason_code: str | None, refusal: str | None
) -> None:
    house = snapshotting()

    async def scenario() -> None:
        await made(house)
        assert (one(house).state, one(house).state_reason_code) == ("Pending", "Creating")
        assert one(house, "$LATEST").state == "Active", "it has no snapshot"
        # Neither waits for the version: it may take a quarter of an hour.
        await house.functions.update_configuration(ref(), wanted(description="changed"))
        await house.functions.publish(ref())
        await house.functions.snapshot_taken(one(house), outcome)
        version = one(house)
        assert (version.state, version.state_reason_code, version.snapshot_refusal) == (state, reason_code, refusal)
        assert version.update_status == ("Failed" if state == "Failed" else "Successful")
        assert one(house, "2").state == "Pending"
        settled = house.functions.get(ref())
        await house.functions.snapshot_taken(version, Outcome(refusal="too late"))
        assert house.functions.get(ref()) is settled

    house.run(scenario())


def test_the_outcome_is_kept_and_a_pending_version_waits_on_after_a_restart() -> None:
    house = snapshotting()

    async def scenario() -> None:
        await made(house)
        await house.functions.snapshot_taken(one(house), Outcome(refusal="a thread"))
        await house.functions.update_configuration(ref(), wanted(description="changed"))
        await house.functions.publish(ref())
        await house.functions.close()
        house.open(snapshots=True)
        await house.functions.start()
        assert (one(house).state, one(house).snapshot_refusal) == ("Active", "a thread")
        assert one(house, "2").awaits_snapshot
        assert house.functions.get(ref()) in list(house.functions.awake()), "a start finds it by itself"

    house.run(scenario())


def test_an_outcome_of_another_version_of_that_number_is_nobodys() -> None:
    house = snapshotting()

    async def scenario() -> None:
        await made(house)
        before = house.functions.get(ref())
        first = one(house)
        assert snapshot_taken(before, "1", first.generation + 1, Outcome()) is before
        assert snapshot_taken(before, "2", first.generation, Outcome()) is before
        await house.functions.delete(ref())
        await house.functions.snapshot_taken(first, Outcome())
        assert not house.functions.exists(ref())

    house.run(scenario())


def test_a_missing_runtime_is_said_at_once() -> None:
    house = snapshotting()
    house.machine.lacks = {"python3.13"}

    async def scenario() -> None:
        await made(house)
        assert (one(house).state, one(house).state_reason_code) == ("Failed", INVALID_RUNTIME)

    house.run(scenario())


def test_versions_that_asked_for_none_are_active_at_once() -> None:
    house = snapshotting()

    async def scenario() -> None:
        await made(house, snap_start="None")
        assert (one(house).state, one(house).is_snapshotted) == ("Active", False)

    house.run(scenario())
