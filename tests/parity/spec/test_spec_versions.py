"""§5: versions."""

from __future__ import annotations

from base64 import b64encode

from tests.parity.spec.spec_world import FUNCTIONS, OTHER_ZIP, ZIP, Wire


def test_a_new_version(wire: Wire) -> None:
    """§5.1: ARN, number, states; the description given or inherited, also the empty one."""
    name = wire.make("new", Description="of $LATEST")
    first = wire.ok("POST", f"{FUNCTIONS}/{name}/versions", {}, 201)
    assert (first["FunctionArn"], first["Version"], first["Description"]) == (wire.arn(name, "1"), "1", "of $LATEST")
    assert (first["State"], first["LastUpdateStatus"]) == ("Active", "Successful")
    assert not {"StateReason", "StateReasonCode", "LastUpdateStatusReason"} & first.keys()
    wire.ok("PUT", f"{FUNCTIONS}/{name}/code", {"ZipFile": b64encode(OTHER_ZIP).decode()})
    second = wire.ok("POST", f"{FUNCTIONS}/{name}/versions", {"Description": ""}, 201)
    assert (second["Version"], second["Description"]) == ("2", "")
    assert wire.get(name)["Description"] == "of $LATEST"


def test_nothing_changed(wire: Wire) -> None:
    """§5.1: 201 with the last version, unchanged; content decides, and a description given here does not count."""
    name = wire.make("same")
    first = wire.ok("POST", f"{FUNCTIONS}/{name}/versions", {"Description": "one"}, 201)
    before = wire.settled(name)["RevisionId"]
    assert wire.ok("POST", f"{FUNCTIONS}/{name}/versions", {"Description": "two"}, 201) == first
    assert wire.get(name)["RevisionId"] == before
    wire.ok("PUT", f"{FUNCTIONS}/{name}/configuration", {})
    assert wire.ok("POST", f"{FUNCTIONS}/{name}/versions", {}, 201) == first
    wire.ok("PUT", f"{FUNCTIONS}/{name}/configuration", {"Description": "changed"})
    assert wire.publish(name) == "2"


def test_numbers_are_never_used_again(wire: Wire) -> None:
    """§5.1: not after the deletion of the highest, nor of all; a deleted last version is made anew."""
    name = wire.make("numbers")
    assert [wire.publish(name), wire.publish(name, OTHER_ZIP)] == ["1", "2"]
    wire.ok("DELETE", f"{FUNCTIONS}/{name}?Qualifier=2", status=204)
    assert wire.publish(name) == "3"
    for number in "13":
        wire.ok("DELETE", f"{FUNCTIONS}/{name}?Qualifier={number}", status=204)
    assert wire.publish(name) == "4"


def test_a_version_is_frozen_and_has_nothing_of_its_function(wire: Wire) -> None:
    """§5.1: code and configuration stay; policy, URL and event-invoke configuration are not inherited."""
    name = wire.make("frozen")
    permission = {"StatementId": "s", "Action": "lambda:InvokeFunction", "Principal": "*"}
    wire.ok("POST", f"{FUNCTIONS}/{name}/policy", permission)
    wire.ok("PUT", f"/2019-09-25/functions/{name}/event-invoke-config", {"MaximumRetryAttempts": 1})
    wire.publish(name)
    before = wire.get(name, "1")
    wire.ok("PUT", f"{FUNCTIONS}/{name}/configuration", {"Timeout": 99, "MemorySize": 256})
    wire.ok("PUT", f"{FUNCTIONS}/{name}/code", {"ZipFile": b64encode(OTHER_ZIP).decode()})
    wire.settled(name)
    assert wire.get(name, "1") == before
    assert wire("GET", f"{FUNCTIONS}/{name}/policy?Qualifier=1").status == 404
    assert wire("GET", f"/2019-09-25/functions/{name}/event-invoke-config?Qualifier=1").status == 404


def test_snap_start_takes_effect_with_versions(wire: Wire) -> None:
    """§5.1, §4.10: such a version begins Pending, optimised; $LATEST is not. (The machine may lack the runtime.)"""
    name = wire.make("snap", Runtime="python3.13", SnapStart={"ApplyOn": "PublishedVersions"})
    assert wire.settled(name)["SnapStart"] == {"ApplyOn": "PublishedVersions", "OptimizationStatus": "Off"}
    shown = wire.ok("POST", f"{FUNCTIONS}/{name}/versions", {}, 201)
    assert (shown["State"], shown["SnapStart"]["OptimizationStatus"]) == ("Pending", "On")
    assert "LastUpdateStatus" not in shown
    assert wire.settled(name, "1")["State"] in ("Active", "Failed")


def test_the_list(wire: Wire) -> None:
    """§5.2: $LATEST, then ascending by number (not by text), every ARN qualified."""
    name = wire.make("list")
    for number in range(11):
        wire.publish(name, (ZIP, OTHER_ZIP)[number % 2])
    shown = wire.ok("GET", f"{FUNCTIONS}/{name}/versions")["Versions"]
    expected = ["$LATEST", *map(str, range(1, 12))]
    assert [one["Version"] for one in shown] == expected
    assert [one["FunctionArn"] for one in shown] == [wire.arn(name, one) for one in expected]
    assert shown[-1]["Version"] == "11", "Terraform takes the last item for the newest version"
