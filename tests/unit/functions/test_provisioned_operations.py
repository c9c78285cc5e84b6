"""The operations of provisioned concurrency on the wire, over standings that a test sets."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from tests.unit.api.doubles import send
from tests.unit.functions.house import House, ref
from tests.unit.functions.test_function_operations import ARN, FUNCTIONS, Client

from lambent.api.resources import provisioned
from lambent.domain.names import FunctionRef
from lambent.environments.provisioning import NOTHING_YET, Standing

CONFIG = "/2019-09-30/functions/{}/provisioned-concurrency?Qualifier={}"
LIST = "/2019-09-30/functions/{}/provisioned-concurrency?List=ALL"


@dataclass
class Standings:
    known: dict[str, Standing] = field(default_factory=dict)

    def standing(self, ref: FunctionRef, qualifier: str) -> Standing:
        return self.known.get(qualifier, NOTHING_YET)


@pytest.fixture
def standings() -> Standings:
    return Standings()


@pytest.fixture
def call(house: House, standings: Standings, tmp_path: Path) -> Client:
    client = Client(house, tmp_path)
    provisioned.register(client.door, house.functions, standings)
    return client


async def put(call: Client, qualifier: str, number: int = 1, status: int = 202, name: str = "fn") -> Any:
    document = {"ProvisionedConcurrentExecutions": number}
    return await call("PUT", CONFIG.format(quote(name, safe=""), quote(qualifier)), document, status)


async def version(call: Client) -> None:
    await call.create(Publish=True)


def shape(number: int, available: int, status: str, **members: Any) -> dict[str, Any]:
    return {
        "RequestedProvisionedConcurrentExecutions": number,
        "AvailableProvisionedConcurrentExecutions": available,
        "AllocatedProvisionedConcurrentExecutions": available,
        "Status": status,
        "LastModified": "2025-11-25T19:46:40+0000",
        **members,
    }


def test_put_get_list_delete(call: Client, standings: Standings) -> None:
    async def body() -> None:
        await version(call)
        assert await put(call, "1", 3) == shape(3, 0, "IN_PROGRESS")
        standings.known["1"] = Standing(2, 2, "IN_PROGRESS", None)
        assert await call("GET", CONFIG.format("fn", "1")) == shape(3, 2, "IN_PROGRESS")
        assert await call("GET", CONFIG.format("fn%3A1", "1")) == shape(3, 2, "IN_PROGRESS")
        standings.known["1"] = Standing(3, 3, "READY", None)
        assert await call("GET", CONFIG.format(quote(ARN, safe=""), "1")) == shape(3, 3, "READY")
        assert await call("GET", LIST.format("fn")) == {
            "ProvisionedConcurrencyConfigs": [{"FunctionArn": f"{ARN}:1", **shape(3, 3, "READY")}]
        }
        assert await put(call, "1", 5) == shape(5, 3, "IN_PROGRESS"), "a second Put goes in progress again"
        standings.known["1"] = Standing(0, 0, "FAILED", "FUNCTION_ERROR_INIT_FAILURE")
        failed = shape(5, 0, "FAILED", StatusReason="FUNCTION_ERROR_INIT_FAILURE")
        assert await call("GET", CONFIG.format("fn", "1")) == failed
        assert await put(call, "1", 5) == shape(5, 0, "IN_PROGRESS")
        for _ in range(2):
            await call("DELETE", CONFIG.format("fn", "1"), status=204)
        assert await call("GET", LIST.format("fn")) == {"ProvisionedConcurrencyConfigs": []}

    call.house.run(body())


@pytest.mark.parametrize(
    ("method", "path", "status", "code", "text"),
    [
        ("GET", CONFIG.format("fn", "1"), 404, "ProvisionedConcurrencyConfigNotFoundException",
         "No Provisioned Concurrency Config found for this function"),
        ("GET", CONFIG.format("fn", "%24LATEST"), 400, "InvalidParameterValueException",
         "The function resource provided must be an alias or a published version."),
        ("DELETE", CONFIG.format("fn", "%24LATEST"), 400, "InvalidParameterValueException",
         "The function resource provided must be an alias or a published version."),
        ("GET", CONFIG.format("fn", "9"), 404, "ResourceNotFoundException", f"Function not found: {ARN}:9"),
        ("GET", CONFIG.format("fn", "live"), 404, "ResourceNotFoundException", f"Cannot find alias arn: {ARN}:live"),
        ("GET", CONFIG.format("nope", "live"), 404, "ResourceNotFoundException",
         f"Cannot find alias arn: {ref('nope').arn('live')}"),
        ("DELETE", CONFIG.format("fn", "9"), 404, "ResourceNotFoundException", f"Function not found: {ARN}:9"),
        ("DELETE", CONFIG.format("nope", "1"), 404, "ResourceNotFoundException",
         f"Function not found: {ref('nope').arn('1')}"),
        ("GET", LIST.format("nope"), 404, "ResourceNotFoundException", f"Function not found: {ref('nope').arn()}"),
        ("GET", CONFIG.format("fn%3A2", "1"), 400, "InvalidParameterValueException",
         "The derived qualifier from the function name does not match the specified qualifier."),
        ("GET", LIST.format("fn") + "&Marker=x", 400, "InvalidParameterValueException",
         "The marker is not one that this list has answered."),
        ("GET", LIST.format("fn") + "&MaxItems=51", 400, "ValidationException",
         "1 validation error detected: Value '51' at 'maxItems' failed to satisfy constraint: "
         "Member must have value less than or equal to 50"),
    ],
)  # fmt: skip
def test_refusals(call: Client, method: str, path: str, status: int, code: str, text: str) -> None:
    async def body() -> None:
        await version(call)
        assert await call(method, path, status=status) == (code, text)

    call.house.run(body())


@pytest.mark.parametrize(
    ("qualifier", "number", "name", "status", "code", "text"),
    [
        ("$LATEST", 1, "fn", 400, "InvalidParameterValueException",
         "Provisioned Concurrency Configs cannot be applied to unpublished function versions."),
        ("$LATEST", 1, "nope", 400, "InvalidParameterValueException",
         "Provisioned Concurrency Configs cannot be applied to unpublished function versions."),
        ("$LATEST", 0, "nope", 400, "ValidationException",
         "1 validation error detected: Value '0' at 'provisionedConcurrentExecutions' failed to satisfy constraint: "
         "Member must have value greater than or equal to 1"),
        ("9", 1, "fn", 404, "ResourceNotFoundException", f"Function not found: {ARN}:9"),
        ("live", 1, "nope", 404, "ResourceNotFoundException", f"Cannot find alias arn: {ref('nope').arn('live')}"),
    ],
)  # fmt: skip
def test_refused_puts(call: Client, qualifier: str, number: int, name: str, status: int, code: str, text: str) -> None:
    async def body() -> None:
        await version(call)
        assert await put(call, qualifier, number, status, name) == (code, text)

    call.house.run(body())


def test_types_are_missing_where_the_service_leaves_them_out(call: Client) -> None:
    async def body() -> None:
        await version(call)
        for number, typed in ((2_000, False), (950, False)):
            reply = await _raw(call, number)
            assert ("Type" in reply) is typed
        await call("PUT", "/2017-10-31/functions/fn/concurrency", {"ReservedConcurrentExecutions": 5})
        assert (await _raw(call, 6))["Type"] == "User"
        await put(call, "1", 5)
        error = await call("PUT", "/2017-10-31/functions/fn/concurrency", {"ReservedConcurrentExecutions": 4}, 400)
        assert error == (
            "InvalidParameterValueException",
            " ReservedConcurrentExecutions  4 should not be lower than function's total provisioned concurrency [5].",
        )

    call.house.run(body())


async def _raw(call: Client, number: int) -> dict[str, Any]:
    body = b'{"ProvisionedConcurrentExecutions":%d}' % number
    reply = await send(call.door, "PUT", CONFIG.format("fn", "1"), {}, body)
    assert reply.status == 400
    found: dict[str, Any] = reply.json
    return found


def test_pages_lose_and_repeat_nothing(call: Client) -> None:
    async def body() -> None:
        await version(call)
        for timeout_s in range(4, 15):
            await call("PUT", f"{FUNCTIONS}/fn/configuration", {"Timeout": timeout_s})
            await call("POST", f"{FUNCTIONS}/fn/versions", {}, 201)
        for number in range(1, 13):
            await put(call, str(number))
        seen: list[str] = []
        marker = ""
        while True:
            page = await call("GET", LIST.format("fn") + f"&MaxItems=5{marker}")
            seen += [one["FunctionArn"].rpartition(":")[2] for one in page["ProvisionedConcurrencyConfigs"]]
            if "NextMarker" not in page:
                break
            marker = f"&Marker={quote(page['NextMarker'])}"
        assert seen == [str(number) for number in range(1, 13)]

    call.house.run(body())


def test_account_settings_tell_what_is_left(call: Client) -> None:
    async def body() -> None:
        await version(call)
        await put(call, "1", 100)
        settings = await call("GET", "/2016-08-19/account-settings/")
        assert settings["AccountLimit"]["UnreservedConcurrentExecutions"] == 900

    call.house.run(body())
