"""Event invoke configurations on the wire, word for word."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from urllib.parse import quote

import pytest
from tests.unit.functions.house import House
from tests.unit.functions.wire_client import ARN, ELSEWHERE, FOREIGN, MISMATCH, Scenario, WireClient, run

from lambent.api.door import PublicDoor
from lambent.api.resources import event_invokes
from lambent.domain.limits import EVENT_AGE_S_MAX, EVENT_AGE_S_MIN, EVENT_RETRIES_MAX
from lambent.domain.names import FunctionRef
from lambent.functions.wanted import Wanted

INVALID, MISSING = "InvalidParameterValueException", "ResourceNotFoundException"
NO_FUNCTION = (MISSING, "The function doesn't exist.")
QUEUE = "arn:aws:sqs:us-east-1:123456789012:q"
NOTHING: dict[str, Any] = {"OnSuccess": {}, "OnFailure": {}}


def register(door: PublicDoor, house: House) -> None:
    event_invokes.register(door, house.functions)


def path(name: str = "fn", qualifier: str | None = None) -> str:
    query = "" if qualifier is None else f"?Qualifier={quote(qualifier, safe='')}"
    return f"/2019-09-25/functions/{quote(name, safe='')}/event-invoke-config{query}"


def not_configured(qualifier: str, name: str = "fn") -> tuple[str, str]:
    return MISSING, f"The function {ARN.replace(':fn', ':' + name)}:{qualifier} doesn't have an EventInvokeConfig"


def test_put_answers_what_is_set_and_always_both_destinations(house: House) -> None:
    async def scenario(client: WireClient) -> None:
        await client.create()
        now = house.clock.wall_ms() / 1_000
        assert await client("PUT", path(), {"MaximumRetryAttempts": 0}) == {
            "LastModified": now,
            "FunctionArn": f"{ARN}:$LATEST",
            "MaximumRetryAttempts": 0,
            "DestinationConfig": NOTHING,
        }
        house.clock.advance(1.5)
        put = await client("PUT", path(qualifier="live"), {"MaximumEventAgeInSeconds": 60})
        assert put == {
            "LastModified": now + 1.5,
            "FunctionArn": f"{ARN}:live",
            "MaximumEventAgeInSeconds": 60,
            "DestinationConfig": NOTHING,
        }
        assert await client("GET", path(qualifier="live")) == put
        assert await client("GET", path("fn:live")) == put
        assert await client("GET", path(f"{ARN}:live", "live")) == put

    run(house, register, scenario)


def test_put_overwrites_and_update_merges(house: House) -> None:
    async def scenario(client: WireClient) -> None:
        await client.create()
        await client.create("other")
        to_other = {"Destination": f"{ARN.replace(':fn', ':other')}"}
        await client("PUT", path(), {"MaximumRetryAttempts": 2, "MaximumEventAgeInSeconds": 60})
        put = await client("PUT", path(), {"MaximumRetryAttempts": 1, "DestinationConfig": {"OnFailure": to_other}})
        assert "MaximumEventAgeInSeconds" not in put
        assert put["DestinationConfig"] == {"OnSuccess": {}, "OnFailure": to_other}
        for given, retries, age, success, failure in [
            ({"MaximumEventAgeInSeconds": 90}, 1, 90, {}, to_other),
            ({"MaximumRetryAttempts": 0}, 0, 90, {}, to_other),
            ({"DestinationConfig": {}}, 0, 90, {}, to_other),
            ({"DestinationConfig": {"OnSuccess": {"Destination": QUEUE}}}, 0, 90, {"Destination": QUEUE}, to_other),
            ({"DestinationConfig": {"OnFailure": {}}}, 0, 90, {"Destination": QUEUE}, {}),
            ({"DestinationConfig": {"OnSuccess": {"Destination": ""}}}, 0, 90, {}, {}),
        ]:
            house.clock.advance(1)
            updated = await client("POST", path(), given)
            assert updated == {
                "LastModified": house.clock.wall_ms() / 1_000,
                "FunctionArn": f"{ARN}:$LATEST",
                "MaximumRetryAttempts": retries,
                "MaximumEventAgeInSeconds": age,
                "DestinationConfig": {"OnSuccess": success, "OnFailure": failure},
            }
        assert await client("GET", path(qualifier="$LATEST")) == updated

    run(house, register, scenario)


def test_no_destination_is_a_setting_too(house: House) -> None:
    async def scenario(client: WireClient) -> None:
        await client.create()
        for given in ({}, {"OnSuccess": {}}, {"OnFailure": {}}, {"OnFailure": {"Destination": ""}}):
            answer = await client("PUT", path(), {"DestinationConfig": given})
            assert answer["DestinationConfig"] == NOTHING

    run(house, register, scenario)


def test_one_configuration_for_each_qualifier_in_one_list(house: House) -> None:
    async def scenario(client: WireClient) -> None:
        await client.create()
        await house.functions.update_configuration(
            FunctionRef("123456789012", "us-east-1", "fn"), Wanted(description="d")
        )
        await house.functions.publish(FunctionRef("123456789012", "us-east-1", "fn"))
        for number, qualifier in enumerate(["live", "2", "1", "$LATEST", "blue"]):
            await client("PUT", path(qualifier=qualifier), {"MaximumEventAgeInSeconds": 60 + number})
        listing = "/2019-09-25/functions/fn/event-invoke-config/list"
        whole = await client("GET", listing)
        assert [one["FunctionArn"].removeprefix(f"{ARN}:") for one in whole["FunctionEventInvokeConfigs"]] == [
            "$LATEST",
            "1",
            "2",
            "blue",
            "live",
        ]
        assert "NextMarker" not in whole
        pages: list[Any] = []
        marker = ""
        while True:
            page = await client("GET", f"{listing}?MaxItems=2{marker}")
            pages.append(page["FunctionEventInvokeConfigs"])
            if "NextMarker" not in page:
                break
            marker = f"&Marker={quote(page['NextMarker'], safe='')}"
        assert [len(page) for page in pages] == [2, 2, 1]
        assert [one for page in pages for one in page] == whole["FunctionEventInvokeConfigs"]
        kind, _ = await client("GET", f"{listing}?Marker=other", status=400)
        assert kind == INVALID
        assert (await client("GET", f"{listing}?MaxItems=51", status=400))[0] == "ValidationException"
        await client("DELETE", path(qualifier="1"), status=204)
        assert await client("GET", path(qualifier="1"), status=404) == not_configured("1")
        assert len((await client("GET", listing))["FunctionEventInvokeConfigs"]) == 4

    run(house, register, scenario)


SOMETHING = {"MaximumRetryAttempts": 1}


@pytest.mark.parametrize(
    ("method", "where", "document", "status", "expected"),
    [
        (
            "PUT",
            path("nope"),
            {},
            400,
            (INVALID, "You must specify at least one of error handling or destination setting."),
        ),
        ("POST", path(), {}, 400, (INVALID, "You must specify at least one of error handling or destination setting.")),
        ("PUT", path("nope"), SOMETHING, 404, NO_FUNCTION),
        ("PUT", path("nope", "live"), SOMETHING, 404, NO_FUNCTION),
        ("PUT", path(qualifier="7"), SOMETHING, 404, NO_FUNCTION),
        ("PUT", path(qualifier="gone"), SOMETHING, 404, NO_FUNCTION),
        ("PUT", path(f"{ARN}:gone"), SOMETHING, 404, NO_FUNCTION),
        ("PUT", path(qualifier="$LATEST.PUBLISHED"), SOMETHING, 404, NO_FUNCTION),
        ("POST", path("nope"), SOMETHING, 404, NO_FUNCTION),
        ("POST", path(qualifier="gone"), SOMETHING, 404, NO_FUNCTION),
        ("POST", path(), SOMETHING, 404, not_configured("$LATEST")),
        ("POST", path(qualifier="1"), SOMETHING, 404, not_configured("1")),
        ("GET", path(), None, 404, not_configured("$LATEST")),
        ("GET", path(qualifier="live"), None, 404, not_configured("live")),
        ("GET", path("nope"), None, 404, not_configured("$LATEST", "nope")),
        ("GET", path("nope", "gone"), None, 404, not_configured("gone", "nope")),
        ("DELETE", path(), None, 404, not_configured("$LATEST")),
        ("DELETE", path(qualifier="gone"), None, 404, not_configured("gone")),
        ("DELETE", path("nope"), None, 404, not_configured("$LATEST", "nope")),
        ("GET", "/2019-09-25/functions/nope/event-invoke-config/list", None, 404, NO_FUNCTION),
        ("PUT", path("fn:live", "1"), SOMETHING, 400, MISMATCH),
        ("PUT", path("nope:$LATEST", "1"), SOMETHING, 400, MISMATCH),
        ("POST", path(f"{ARN}:live", "$LATEST"), SOMETHING, 400, MISMATCH),
        ("GET", path("fn:live", "1"), None, 400, MISMATCH),
        ("DELETE", path("fn:live", "1"), None, 400, MISMATCH),
        ("GET", path(ARN.replace("us-east-1", "eu-west-1")), None, 404, ELSEWHERE),
        ("PUT", path(FOREIGN), SOMETHING, 404, NO_FUNCTION),
    ],
)
def test_refusals(house: House, method: str, where: str, document: Any, status: int, expected: tuple[str, str]) -> None:
    async def scenario(client: WireClient) -> None:
        await client.create()
        assert await client(method, where, document, status) == expected

    run(house, register, scenario)


def test_another_accounts_function_is_looked_up_and_then_refused(house: House) -> None:
    async def scenario(client: WireClient) -> None:
        await client.create(at=FunctionRef("999999999999", "us-east-1", "fn"))
        for method, document, action in [
            ("PUT", SOMETHING, "Put"),
            ("POST", SOMETHING, "Update"),
            ("GET", None, "Get"),
            ("DELETE", None, "Delete"),
        ]:
            kind, text = await client(method, path(FOREIGN), document, 403)
            assert kind == "AccessDeniedException"
            assert (
                f"is not authorized to perform: lambda:{action}FunctionEventInvokeConfig on resource: {FOREIGN}" in text
            )

    run(house, register, scenario)


def refused_destinations(**sides: str) -> Scenario:
    """What a Put with these destinations is refused with, as an assertion."""

    async def scenario(client: WireClient) -> None:
        expected = sides.pop("expected")
        await client.create()
        await client.create("other")
        await client.create("theirs", at=FunctionRef("999999999999", "us-east-1", "theirs"))
        given = {side: {"Destination": arn} for side, arn in sides.items()}
        assert await client("PUT", path(), {"DestinationConfig": given}, 400) == (INVALID, expected)
        assert await client("GET", path(), status=404) == not_configured("$LATEST")
        await client("PUT", path(), SOMETHING)
        assert await client("POST", path(), {"DestinationConfig": given}, 400) == (INVALID, expected)
        assert (await client("GET", path()))["DestinationConfig"] == NOTHING

    return scenario


NOPE, OTHER = ARN.replace(":fn", ":nope"), ARN.replace(":fn", ":other")
IAM = ARN.replace(":lambda:", ":iam:")
THEIRS = FOREIGN.replace(":fn", ":theirs")


@pytest.mark.parametrize(
    "sides",
    [
        {"OnSuccess": NOPE, "expected": f"The destination ARN {NOPE} is invalid."},
        {"OnFailure": NOPE, "expected": f"The destination ARN {NOPE} is invalid."},
        {"OnFailure": f"{OTHER}:gone", "expected": f"The destination ARN {OTHER}:gone is invalid."},
        {"OnFailure": f"{ARN}:layer:x", "expected": f"The destination ARN {ARN}:layer:x is invalid."},
        {"OnSuccess": ARN, "expected": "You can't specify the function as a destination for itself."},
        {"OnFailure": f"{ARN}:live", "expected": "You can't specify the function as a destination for itself."},
        {
            "OnFailure": THEIRS,
            "expected": f"The function's execution role does not have permissions to call InvokeFunction on {THEIRS}",
        },
        {
            "OnSuccess": IAM,
            "expected": "The provided destination config DestinationConfig(onSuccess=OnSuccess(destination="
            f"{IAM}), onFailure=null) is invalid.",
        },
        {
            "OnFailure": IAM,
            "expected": "The provided destination config DestinationConfig(onSuccess=null, "
            f"onFailure=OnFailure(destination={IAM})) is invalid.",
        },
        {
            "OnSuccess": "arn:aws:s3:::bucket",
            "OnFailure": QUEUE,
            "expected": "The provided destination config DestinationConfig(onSuccess=OnSuccess(destination="
            f"arn:aws:s3:::bucket), onFailure=OnFailure(destination={QUEUE})) is invalid.",
        },
        {
            "OnFailure": f"{QUEUE}.fifo",
            "expected": "The provided destination config DestinationConfig(onSuccess=null, "
            f"onFailure=OnFailure(destination={QUEUE}.fifo)) is invalid.",
        },
        {
            "OnFailure": "kafka://topic",
            "expected": "The provided destination config DestinationConfig(onSuccess=null, "
            "onFailure=OnFailure(destination=kafka://topic)) is invalid.",
        },
    ],
)
def test_refused_destinations(house: House, sides: dict[str, str]) -> None:
    run(house, register, refused_destinations(**sides))


@pytest.mark.parametrize(
    "arn",
    [
        OTHER,
        f"{OTHER}:live",
        f"{OTHER}:1",
        f"{OTHER}:$LATEST",
        QUEUE,
        "arn:aws:sns:us-east-1:123456789012:t",
        "arn:aws:events:us-east-1:123456789012:event-bus/b",
        "arn:aws:s3:::bucket",
    ],
)
def test_destinations_of_failures(house: House, arn: str) -> None:
    async def scenario(client: WireClient) -> None:
        await client.create()
        await client.create("other")
        answer = await client("PUT", path(), {"DestinationConfig": {"OnFailure": {"Destination": arn}}})
        assert answer["DestinationConfig"] == {"OnSuccess": {}, "OnFailure": {"Destination": arn}}

    run(house, register, scenario)


def test_values_beyond_their_bounds_are_refused_together(house: House) -> None:
    async def scenario(client: WireClient) -> None:
        await client.create()
        for age, retries in ((EVENT_AGE_S_MIN, 0), (EVENT_AGE_S_MAX, EVENT_RETRIES_MAX)):
            await client("PUT", path(), {"MaximumEventAgeInSeconds": age, "MaximumRetryAttempts": retries})
        assert (EVENT_AGE_S_MIN, EVENT_AGE_S_MAX, EVENT_RETRIES_MAX) == (60, 21_600, 2)
        assert await client("PUT", path(), {"MaximumEventAgeInSeconds": 59, "MaximumRetryAttempts": 3}, 400) == (
            "ValidationException",
            "2 validation errors detected: Value '3' at 'maximumRetryAttempts' failed to satisfy constraint: Member must "
            "have value less than or equal to 2; Value '59' at 'maximumEventAgeInSeconds' failed to satisfy constraint: "
            "Member must have value greater than or equal to 60",
        )
        bad = ARN.replace(":lambda:", ":_-/!lambda:")
        for side in ("OnFailure", "OnSuccess"):
            kind, text = await client("PUT", path(), {"DestinationConfig": {side: {"Destination": bad}}}, 400)
            assert kind == "ValidationException"
            assert text.startswith(
                f"1 validation error detected: Value '{bad}' at 'destinationConfig.{side[0].lower()}{side[1:]}.destination' "
                "failed to satisfy constraint: Member must satisfy regular expression pattern: $|kafka://"
            )

    run(house, register, scenario)


def test_a_configuration_goes_with_its_version_and_its_function(house: House) -> None:
    async def scenario(client: WireClient) -> None:
        ref = await client.create()
        for qualifier in ("$LATEST", "1"):
            await client("PUT", path(qualifier=qualifier), SOMETHING)
        await house.functions.change(ref, lambda function: replace(function, aliases={}))
        await house.functions.delete(ref, "1")
        assert list(house.functions.get(ref).event_invokes) == ["$LATEST"]
        await house.functions.delete(ref)
        await client.create()
        assert await client("GET", path(), status=404) == not_configured("$LATEST")

    run(house, register, scenario)


def test_a_configuration_survives_a_restart_and_changes_no_revision(house: House) -> None:
    async def scenario(client: WireClient) -> None:
        ref = await client.create()
        revision = house.functions.get(ref).latest.revision_id
        put = await client("PUT", path(qualifier="live"), SOMETHING)
        assert house.functions.get(ref).latest.revision_id == revision
        again = WireClient(house, lambda door, house: event_invokes.register(door, house.open()))
        assert await again("GET", path(qualifier="live")) == put

    run(house, register, scenario)
