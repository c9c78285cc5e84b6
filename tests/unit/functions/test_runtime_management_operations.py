"""Runtime management and recursion configuration on the wire, word for word."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from urllib.parse import quote

import pytest
from tests.unit.functions.house import House, code, ref, signing, wanted
from tests.unit.functions.wire_client import ARN, ELSEWHERE, FOREIGN, MISMATCH, WireClient, run

from lambent.api.door import PublicDoor
from lambent.api.resources import functions, runtime_management
from lambent.domain.names import runtime_version_arn
from lambent.functions.model import Function
from lambent.packages.download import Locations

INVALID, MISSING, VALIDATION = "InvalidParameterValueException", "ResourceNotFoundException", "ValidationException"
NOPE = ARN.replace(":fn", ":nope")
PINNED = f"arn:aws:lambda:us-east-1::runtime:{'0' * 64}"
CUSTOM = "arn:aws:lambda:us-east-1:123456789012:runtime/mine/version/1"


def register(door: PublicDoor, house: House) -> None:
    runtime_management.register(door, house.functions)
    locations = Locations(lambda: "http://127.0.0.1:4566", b"k" * 32, house.clock)
    unread: Any = None  # no package is stored or fetched here
    functions.register(door, house.functions, unread, unread, locations, *signing(house))


def path(name: str = "fn", qualifier: str | None = None) -> str:
    query = "" if qualifier is None else f"?Qualifier={quote(qualifier, safe='')}"
    return f"/2021-07-20/functions/{quote(name, safe='')}/runtime-management-config{query}"


def recursion(name: str = "fn") -> str:
    return f"/2024-08-31/functions/{quote(name, safe='')}/recursion-config"


async def runtime_of(client: WireClient, qualifier: str = "") -> str:
    shown = await client("GET", f"/2015-03-31/functions/fn/configuration{qualifier and '?Qualifier=' + qualifier}")
    return str(shown["RuntimeVersionConfig"]["RuntimeVersionArn"])


def test_auto_is_what_nobody_set(house: House) -> None:
    async def scenario(client: WireClient) -> None:
        await client.create()
        for where, arn in [
            (path(), f"{ARN}:$LATEST"),
            (path(qualifier="$LATEST"), f"{ARN}:$LATEST"),
            (path("fn:1"), f"{ARN}:1"),
        ]:
            assert await client("GET", where) == {"UpdateRuntimeOn": "Auto", "FunctionArn": arn}

    run(house, register, scenario)


def test_a_runtime_is_held_by_version(house: House) -> None:
    async def scenario(client: WireClient) -> None:
        await client.create()
        ours = runtime_version_arn("us-east-1", "python3.13")
        put = await client("PUT", path(qualifier="1"), {"UpdateRuntimeOn": "Manual", "RuntimeVersionArn": PINNED})
        assert put == {"UpdateRuntimeOn": "Manual", "FunctionArn": f"{ARN}:1", "RuntimeVersionArn": PINNED}
        assert await client("GET", path(qualifier="1")) == put
        assert await client("GET", path()) == {"UpdateRuntimeOn": "Auto", "FunctionArn": f"{ARN}:$LATEST"}
        assert (await runtime_of(client, "1"), await runtime_of(client)) == (PINNED, ours)
        got = await client("GET", "/2015-03-31/functions/fn?Qualifier=1")
        assert got["Configuration"]["RuntimeVersionConfig"] == {"RuntimeVersionArn": PINNED}
        await client("PUT", path(), {"UpdateRuntimeOn": "Manual", "RuntimeVersionArn": PINNED})
        changed = await client("PUT", "/2015-03-31/functions/fn/configuration", {"MemorySize": 256})
        assert changed["RuntimeVersionConfig"] == {"RuntimeVersionArn": PINNED}
        await house.functions.close()
        published = await client("POST", "/2015-03-31/functions/fn/versions", {}, 201)
        assert published["RuntimeVersionConfig"] == {"RuntimeVersionArn": ours}  # each version has a setting of its own
        assert (await client("GET", path(qualifier="2")))["UpdateRuntimeOn"] == "Auto"
        for mode in ("FunctionUpdate", "Auto"):
            answer = await client("PUT", path(qualifier="1"), {"UpdateRuntimeOn": mode})
            assert answer == {"UpdateRuntimeOn": mode, "FunctionArn": f"{ARN}:1"}
            assert await client("GET", path(qualifier="1")) == answer
            assert await runtime_of(client, "1") == ours

    run(house, register, scenario)


def _without_aliases(function: Function) -> Function:
    return replace(function, aliases={})


def test_a_setting_survives_a_restart_and_goes_with_its_version(house: House) -> None:
    async def scenario(client: WireClient) -> None:
        function = await client.create()
        put = await client("PUT", path(qualifier="1"), {"UpdateRuntimeOn": "Manual", "RuntimeVersionArn": PINNED})
        again = WireClient(house, lambda door, house: runtime_management.register(door, house.open()))
        assert await again("GET", path(qualifier="1")) == put
        await house.functions.change(function, _without_aliases)
        await house.functions.delete(function, "1")
        assert dict(house.functions.get(function).runtime_management) == {}

    run(house, register, scenario)


MANUAL = {"UpdateRuntimeOn": "Manual", "RuntimeVersionArn": PINNED}
AUTO = {"UpdateRuntimeOn": "Auto"}
ENUM = "failed to satisfy constraint: Member must satisfy enum value set:"


@pytest.mark.parametrize(
    ("method", "where", "document", "status", "expected"),
    [
        *(
            row
            for method, document in (("GET", None), ("PUT", AUTO))
            for row in (
                (method, path("nope"), document, 404, (MISSING, f"Function not found: {NOPE}")),
                (method, path("nope:3"), document, 404, (MISSING, f"Function not found: {NOPE}")),
                (method, path(qualifier="7"), document, 404, (MISSING, f"Function not found: {ARN}:7")),
                (
                    method,
                    path(qualifier="$LATEST.PUBLISHED"),
                    document,
                    404,
                    (MISSING, f"Function not found: {ARN}:$LATEST.PUBLISHED"),
                ),
                *(
                    (
                        method,
                        where,
                        document,
                        400,
                        (INVALID, f"The provided function name {arn} is invalid. Aliases are not allowed."),
                    )
                    for where, arn in (
                        (path(qualifier="live"), f"{ARN}:live"),
                        (path("fn:live"), f"{ARN}:live"),
                        (path("nope", "live"), f"{NOPE}:live"),
                    )
                ),
                (method, path("fn:1", "2"), document, 400, MISMATCH),
                (method, path(FOREIGN), document, 403, ("AccessDeniedException", None)),
                (method, path(ARN.replace("us-east-1", "eu-west-1")), document, 404, ELSEWHERE),
            )
        ),
        (
            "PUT",
            path(),
            {"UpdateRuntimeOn": "Manual"},
            400,
            (INVALID, "RuntimeVersionArn is required when UpdateRuntimeOn is Manual."),
        ),
        *(
            (
                "PUT",
                path(),
                {"UpdateRuntimeOn": mode, "RuntimeVersionArn": PINNED},
                400,
                (INVALID, f"RuntimeVersionArn can only be given when UpdateRuntimeOn is Manual, not {mode}."),
            )
            for mode in ("Auto", "FunctionUpdate")
        ),
        (
            "PUT",
            path(),
            MANUAL | {"RuntimeVersionArn": CUSTOM},
            400,
            (
                INVALID,
                "Customer-managed runtimes are not served by this release of Lambent; RuntimeVersionArn names a managed one "
                f"(arn:PARTITION:lambda:REGION::runtime:ID), not {CUSTOM}.",
            ),
        ),
        (
            "PUT",
            path(),
            MANUAL | {"RuntimeVersionArn": PINNED.replace("us-east-1", "eu-west-1")},
            400,
            (
                INVALID,
                f"The runtime version {PINNED.replace('us-east-1', 'eu-west-1')} is not in the function's region us-east-1.",
            ),
        ),
        (
            "PUT",
            path(),
            {"UpdateRuntimeOn": "Never"},
            400,
            (
                VALIDATION,
                f"1 validation error detected: Value 'Never' at 'updateRuntimeOn' {ENUM} [Auto, Manual, FunctionUpdate]",
            ),
        ),
        (
            "PUT",
            path(),
            {},
            400,
            (
                VALIDATION,
                "1 validation error detected: Value null at 'updateRuntimeOn' failed to satisfy constraint: Member must not "
                "be null",
            ),
        ),
        ("GET", recursion("nope"), None, 404, (MISSING, f"Function not found: {NOPE}")),
        ("PUT", recursion("nope"), {"RecursiveLoop": "Allow"}, 404, (MISSING, f"Function not found: {NOPE}")),
        (
            "PUT",
            recursion(),
            {"RecursiveLoop": "Maybe"},
            400,
            (VALIDATION, f"1 validation error detected: Value 'Maybe' at 'recursiveLoop' {ENUM} [Terminate, Allow]"),
        ),
        ("GET", recursion(FOREIGN), None, 403, ("AccessDeniedException", None)),
        ("GET", recursion(ARN.replace("us-east-1", "eu-west-1")), None, 404, ELSEWHERE),
    ],
)
def test_refusals(house: House, method: str, where: str, document: Any, status: int, expected: tuple[str, str]) -> None:
    async def scenario(client: WireClient) -> None:
        await client.create()
        assert await client(method, where, document, status) == expected

    run(house, register, scenario)


def test_images_bring_their_runtime(house: House) -> None:
    async def scenario(client: WireClient) -> None:
        image = wanted(package_type="Image", runtime=None, handler=None)
        await house.functions.create(ref(), image, code())
        await house.functions.close()
        kind, text = await client("PUT", path(), AUTO, 400)
        assert kind == INVALID
        assert text.startswith("Runtime management is not supported for functions with PackageType Image")
        assert (await client("GET", path()))["UpdateRuntimeOn"] == "Auto"

    run(house, register, scenario)


def test_recursion_is_terminated_unless_it_is_allowed(house: House) -> None:
    async def scenario(client: WireClient) -> None:
        await client.create()
        assert await client("GET", recursion()) == {"RecursiveLoop": "Terminate"}
        for loop in ("Allow", "Terminate", "Terminate"):
            assert await client("PUT", recursion(ARN), {"RecursiveLoop": loop}) == {"RecursiveLoop": loop}
            assert await client("GET", recursion()) == {"RecursiveLoop": loop}
        await client("PUT", recursion(), {"RecursiveLoop": "Allow"})
        again = WireClient(house, lambda door, house: runtime_management.register(door, house.open()))
        assert await again("GET", recursion()) == {"RecursiveLoop": "Allow"}

    run(house, register, scenario)


@pytest.mark.parametrize("name", ["fn:1", "fn:live", f"{ARN}:$LATEST"])
def test_recursion_takes_no_qualifier(house: House, name: str) -> None:
    async def scenario(client: WireClient) -> None:
        await client.create()
        for method, document in (("GET", None), ("PUT", {"RecursiveLoop": "Allow"})):
            kind, text = await client(method, recursion(name), document, 400)
            assert kind == VALIDATION
            assert text.startswith(f"1 validation error detected: Value '{name}' at 'functionName' failed to satisfy")

    run(house, register, scenario)
