"""Function URL configurations on the wire, word for word."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

import pytest
from tests.unit.functions.house import House
from tests.unit.functions.wire_client import ARN, ELSEWHERE, FOREIGN, MISMATCH, WireClient, run

from lambent.api.door import PublicDoor
from lambent.api.resources import urls
from lambent.gateway.locating import Locator

INVALID, MISSING, VALIDATION = "InvalidParameterValueException", "ResourceNotFoundException", "ValidationException"
NO_FUNCTION = (MISSING, "Function does not exist")
NO_URL = (MISSING, "The resource you requested does not exist.")
CREATED, UPDATED = "2025-11-25T19:46:40.000000Z", "2025-11-25T19:46:41.500000Z"
QUALIFIER_PATTERN = r"((?!^\d+$)^[0-9a-zA-Z-_]+$)"
OPEN = {"AuthType": "NONE"}
LOCATOR = Locator(lambda: 4566, resolves=lambda: True)


def register(door: PublicDoor, house: House) -> None:
    urls.register(door, house.functions, LOCATOR)


def path(name: str = "fn", qualifier: str | None = None) -> str:
    query = "" if qualifier is None else f"?Qualifier={quote(qualifier, safe='')}"
    return f"/2021-10-31/functions/{quote(name, safe='')}/url{query}"


LIST = "/2021-10-31/functions/fn/urls"


def test_a_url_is_made_changed_and_removed(house: House) -> None:
    async def scenario(client: WireClient) -> None:
        await client.create()
        made = await client("POST", path(), OPEN, 201)
        url = made["FunctionUrl"]
        assert re.fullmatch(r"http://[0-9a-z]{32}\.lambda-url\.us-east-1\.localhost:4566/", url)
        assert made == {"FunctionUrl": url, "FunctionArn": ARN, "AuthType": "NONE", "CreationTime": CREATED}
        got = await client("GET", path())
        assert got == made | {"LastModifiedTime": CREATED, "InvokeMode": "BUFFERED"}
        house.clock.advance(1.5)
        updated = await client("PUT", path(), {"AuthType": "AWS_IAM"})
        assert updated == made | {"AuthType": "AWS_IAM", "LastModifiedTime": UPDATED}
        assert await client("GET", path()) == updated | {"InvokeMode": "BUFFERED"}
        streaming = await client("PUT", path(), {"InvokeMode": "RESPONSE_STREAM"})
        assert streaming == updated | {"InvokeMode": "RESPONSE_STREAM"}
        assert (await client("PUT", path(), OPEN))["InvokeMode"] == "RESPONSE_STREAM"
        await client("DELETE", path(), status=204)
        assert await client("GET", path(), status=404) == NO_URL
        again = await client("POST", path(), OPEN | {"InvokeMode": "BUFFERED"}, 201)
        assert again["FunctionUrl"] != url
        assert again["InvokeMode"] == "BUFFERED"

    run(house, register, scenario)


def test_aliases_have_their_own(house: House) -> None:
    async def scenario(client: WireClient) -> None:
        await client.create()
        for qualifier in ("live", None, "blue"):
            await client("POST", path(qualifier=qualifier), OPEN, 201)
        made = await client("GET", path("fn:live"))
        assert made["FunctionArn"] == f"{ARN}:live"
        assert made == await client("GET", path(f"{ARN}:live", "live"))
        whole = await client("GET", LIST)
        assert [one["FunctionArn"] for one in whole["FunctionUrlConfigs"]] == [ARN, f"{ARN}:blue", f"{ARN}:live"]
        assert whole["FunctionUrlConfigs"][2] == made
        assert len({one["FunctionUrl"] for one in whole["FunctionUrlConfigs"]}) == 3
        first = await client("GET", f"{LIST}?MaxItems=2")
        rest = await client("GET", f"{LIST}?MaxItems=2&Marker={quote(first['NextMarker'], safe='')}")
        assert first["FunctionUrlConfigs"] + rest["FunctionUrlConfigs"] == whole["FunctionUrlConfigs"]
        assert "NextMarker" not in rest
        assert (await client("GET", f"{LIST}?Marker=x", status=400))[0] == INVALID
        await client("DELETE", path(qualifier="live"), status=204)
        assert await client("GET", path(qualifier="live"), status=404) == NO_URL
        assert (await client("GET", path(qualifier="blue")))["FunctionArn"] == f"{ARN}:blue"

    run(house, register, scenario)


WHOLE_CORS = {
    "AllowCredentials": True,
    "AllowHeaders": ["x-a"],
    "AllowMethods": ["GET", "*"],
    "AllowOrigins": ["https://example.com"],
    "ExposeHeaders": ["x-b"],
    "MaxAge": 0,
}


def test_cors_is_replaced_kept_and_removed_as_a_whole(house: House) -> None:
    async def scenario(client: WireClient) -> None:
        await client.create()
        made = await client("POST", path(), OPEN | {"Cors": WHOLE_CORS}, 201)
        assert made["Cors"] == WHOLE_CORS
        assert (await client("PUT", path(), {"AuthType": "AWS_IAM"}))["Cors"] == WHOLE_CORS
        replaced = await client("PUT", path(), {"Cors": {"AllowOrigins": ["*"], "AllowHeaders": []}})
        assert replaced["Cors"] == {"AllowOrigins": ["*"]}
        for cors in ({"MaxAge": 5}, {"AllowOrigins": []}, {"AllowMethods": ["GET"], "AllowOrigins": []}):
            assert await client("PUT", path(), {"Cors": cors}, 400) == (
                INVALID,
                "You can't leave AllowOrigins as empty when Cors is enabled.",
            )
        assert (await client("GET", path()))["Cors"] == {"AllowOrigins": ["*"]}
        assert "Cors" not in await client("PUT", path(), {"Cors": {}})
        assert "Cors" not in await client("GET", path())

    run(house, register, scenario)


@pytest.mark.parametrize("method", ["GET", "PUT", "HEAD", "POST", "PATCH", "DELETE", "*"])
def test_methods_that_may_be_allowed(house: House, method: str) -> None:
    async def scenario(client: WireClient) -> None:
        await client.create()
        made = await client("POST", path(), OPEN | {"Cors": {"AllowMethods": [method]}}, 201)
        assert made["Cors"] == {"AllowMethods": [method]}

    run(house, register, scenario)


@pytest.mark.parametrize(
    ("cors", "code", "text"),
    [
        (
            {"AllowMethods": ["OPTIONS"]},
            VALIDATION,
            "1 validation error detected: Value '[OPTIONS]' at 'cors.allowMethods' failed to satisfy constraint: Member must "
            "satisfy constraint: [Member must have length less than or equal to 6, Member must have length greater than or "
            "equal to 0, Member must satisfy regular expression pattern: .*, Member must not be null]",
        ),
        (
            {"AllowMethods": ["get"]},
            INVALID,
            "Invalid method get in AllowMethods. Methods that can be allowed: GET, PUT, HEAD, POST, PATCH, DELETE, *",
        ),
        (
            {"MaxAge": 86_401},
            VALIDATION,
            "1 validation error detected: Value '86401' at 'cors.maxAge' failed to satisfy constraint: Member must have value "
            "less than or equal to 86400",
        ),
        (
            {"MaxAge": -1},
            VALIDATION,
            "1 validation error detected: Value '-1' at 'cors.maxAge' failed to satisfy constraint: Member must have value "
            "greater than or equal to 0",
        ),
        ({"AllowOrigins": ["x"] * 101}, VALIDATION, "Member must have length less than or equal to 100"),
        ({"AllowHeaders": ["x"] * 101}, VALIDATION, "Member must have length less than or equal to 100"),
        ({"ExposeHeaders": ["x"] * 101}, VALIDATION, "Member must have length less than or equal to 100"),
        ({"AllowMethods": ["GET"] * 7}, VALIDATION, "Member must have length less than or equal to 6"),
    ],
)
def test_bounds_of_cors(house: House, cors: dict[str, Any], code: str, text: str) -> None:
    async def scenario(client: WireClient) -> None:
        await client.create()
        kind, message = await client("POST", path(), OPEN | {"Cors": cors}, 400)
        assert kind == code
        assert message.endswith(text)
        await client("GET", path(), status=404)

    run(house, register, scenario)


@pytest.mark.parametrize(
    ("method", "where", "document", "status", "expected"),
    [
        *(
            (
                method,
                path("nope", qualifier),
                document,
                400,
                (
                    VALIDATION,
                    f"1 validation error detected: Value '{qualifier}' at 'qualifier' failed to satisfy constraint: Member "
                    f"must satisfy regular expression pattern: {QUALIFIER_PATTERN}",
                ),
            )
            for method, document in (("POST", OPEN), ("GET", None), ("PUT", OPEN), ("DELETE", None))
            for qualifier in ("1", "$LATEST")
        ),
        *(
            (method, path("fn:live", "blue"), document, 400, MISMATCH)
            for method, document in (("POST", OPEN), ("GET", None), ("PUT", OPEN), ("DELETE", None))
        ),
        ("POST", path("nope"), OPEN, 404, NO_FUNCTION),
        ("POST", path(qualifier="gone"), OPEN, 404, NO_FUNCTION),
        ("PUT", path("nope"), OPEN, 404, NO_FUNCTION),
        ("PUT", path(qualifier="gone"), OPEN, 404, NO_FUNCTION),
        ("GET", "/2021-10-31/functions/nope/urls", None, 404, NO_FUNCTION),
        ("PUT", path(), OPEN, 404, NO_URL),
        ("PUT", path(qualifier="live"), OPEN, 404, NO_URL),
        ("GET", path("nope"), None, 404, NO_URL),
        ("GET", path(qualifier="gone"), None, 404, NO_URL),
        ("GET", path(), None, 404, NO_URL),
        ("DELETE", path("nope"), None, 404, NO_URL),
        ("DELETE", path(qualifier="gone"), None, 404, NO_URL),
        ("DELETE", path(), None, 404, NO_URL),
        (
            "POST",
            path(),
            OPEN | {"InvokeMode": "STREAM"},
            400,
            (
                VALIDATION,
                "1 validation error detected: Value 'STREAM' at 'invokeMode' failed to satisfy constraint: Member must "
                "satisfy enum value set: [RESPONSE_STREAM, BUFFERED]",
            ),
        ),
        (
            "PUT",
            path(),
            {"AuthType": "OPEN"},
            400,
            (
                VALIDATION,
                "1 validation error detected: Value 'OPEN' at 'authType' failed to satisfy constraint: Member must satisfy "
                "enum value set: [NONE, AWS_IAM]",
            ),
        ),
        ("GET", path(ARN.replace("us-east-1", "eu-west-1")), None, 404, ELSEWHERE),
        ("POST", path(FOREIGN), OPEN, 403, ("AccessDeniedException", None)),
        ("GET", path(FOREIGN), None, 403, ("AccessDeniedException", None)),
    ],
)
def test_refusals(house: House, method: str, where: str, document: Any, status: int, expected: tuple[str, str]) -> None:
    async def scenario(client: WireClient) -> None:
        await client.create()
        assert await client(method, where, document, status) == expected

    run(house, register, scenario)


@pytest.mark.parametrize(("qualifier", "arn"), [(None, ARN), ("live", f"{ARN}:live")])
def test_a_second_url_is_a_conflict(house: House, qualifier: str | None, arn: str) -> None:
    async def scenario(client: WireClient) -> None:
        await client.create()
        await client("POST", path(qualifier=qualifier), OPEN, 201)
        assert await client("POST", path(qualifier=qualifier), OPEN, 409) == (
            "ResourceConflictException",
            f"Failed to create function url config for [functionArn = {arn}]. Error message:  FunctionUrlConfig exists for "
            "this Lambda function",
        )

    run(house, register, scenario)


def test_tenants_have_no_url(house: House) -> None:
    async def scenario(client: WireClient) -> None:
        await client.create(tenancy="PER_TENANT")
        assert await client("POST", path(), OPEN, 400) == (
            INVALID,
            "Function URLs are not supported for functions with tenant isolation.",
        )

    run(house, register, scenario)


def test_a_url_survives_a_restart_and_goes_with_its_function(house: House) -> None:
    async def scenario(client: WireClient) -> None:
        ref = await client.create()
        await client("POST", path(qualifier="live"), OPEN | {"Cors": WHOLE_CORS}, 201)
        got = await client("GET", path(qualifier="live"))
        again = WireClient(house, lambda door, house: urls.register(door, house.open(), LOCATOR))
        assert await again("GET", path(qualifier="live")) == got
        await house.functions.delete(ref)
        await again.create()
        assert await again("GET", path(qualifier="live"), status=404) == NO_URL

    run(house, register, scenario)
