"""The nine operations on the wire: JSON in, JSON out, through the public door."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson
import pytest
from tests.unit.api.doubles import Believing, Reply, Someone, send
from tests.unit.functions.house import House, signing
from tests.unit.functions.test_function_operations import FUNCTIONS, creation
from tests.unit.packages.test_archive import zipped

from lambent.api.door import PublicDoor
from lambent.api.resources import account, functions, layers
from lambent.domain.names import Scope
from lambent.functions.account import AccountLimits
from lambent.layers.service import Layers
from lambent.packages.download import Locations
from lambent.packages.source import S3Source
from lambent.packages.store import Packages
from lambent.stores.documents_memory import MemoryDocuments

LAYERS = "/2018-10-31/layers"
ARN = "arn:aws:lambda:us-east-1:123456789012:layer"
THEIRS = "111122223333"
ZIP = zipped(("python/one.py", b"x = 1"))
ZIP64 = base64.b64encode(ZIP).decode()
SHA = base64.b64encode(hashlib.sha256(ZIP).digest()).decode()
NOT_THERE = ("ResourceNotFoundException", "The resource you requested does not exist.")
BELOW_ONE = ("InvalidParameterValueException", "Layer Version Cannot be less than 1")


class ByAccount(Believing):
    """Authentication that reads the account from `x-test-account`."""

    def identify(self, request: Any) -> Someone:
        who = (request.header(b"x-test-account") or b"123456789012").decode()
        return Someone(None, scope=Scope(who, "us-east-1"), arn=f"arn:aws:iam::{who}:root")


class Client:
    """Speaks to a door with layers and functions."""

    def __init__(self, directory: Path, source: Any = None) -> None:
        self.house = House()
        self.packages = Packages(directory / "packages", self.house.clock)
        self.layers = Layers(MemoryDocuments(), self.house.clock, lambda s, n: self.house.functions.check_room(s, n))
        self.house.open(
            limits=AccountLimits(code_storage_bytes=10 * len(ZIP)),
            merge_layers=self.packages.merge,
            other_code_bytes=self.layers.code_bytes,
        )
        self.door = PublicDoor(ByAccount())
        locations = Locations(lambda: "http://127.0.0.1:4566", b"k" * 32, self.house.clock)
        source = source or S3Source("", self.packages.directory)
        configs, signatures = signing(self.house)
        layers.register(self.door, self.layers, self.packages, source, locations, signatures)
        functions.register(
            self.door, self.house.functions, self.packages, source, locations, configs, signatures, self.layers
        )
        account.register(self.door, self.house.functions)

    async def __call__(
        self, method: str, path: str, document: Any = None, status: int = 200, account: str = "123456789012"
    ) -> Any:
        body = b"" if document is None else orjson.dumps(document)
        reply: Reply = await send(self.door, method, path, {"x-test-account": account}, body)
        assert reply.status == status, reply.body
        if status >= 400:
            members = reply.json
            return reply.headers[b"x-amzn-errortype"].decode(), members.get("message", members.get("Message"))
        return reply.json if reply.body else None

    async def publish(self, name: str = "l", status: int = 201, **members: Any) -> Any:
        document = {"Content": {"ZipFile": ZIP64}, **members}
        return await self("POST", f"{LAYERS}/{quote(name, safe='')}/versions", document, status)

    async def grant(
        self, name: str = "l", number: int = 1, status: int = 201, revision: str = "", **members: Any
    ) -> Any:
        document = {"StatementId": "s", "Action": "lambda:GetLayerVersion", "Principal": "*", **members}
        query = f"?RevisionId={revision}" if revision else ""
        return await self("POST", f"{LAYERS}/{name}/versions/{number}/policy{query}", document, status)


Run = Callable[[Callable[[Client], Awaitable[None]]], None]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def session(scenario: Callable[[Client], Awaitable[None]]) -> None:
        async def both() -> None:
            client = Client(tmp_path)
            await scenario(client)
            await client.house.functions.close()
            await client.layers.close()

        asyncio.run(both())

    return session


def test_a_minimal_publication_answers_exactly_this(run: Run) -> None:
    async def scenario(client: Client) -> None:
        answer = await client.publish()
        location = answer["Content"].pop("Location")
        assert location.startswith("http://127.0.0.1:4566/_lambent/code/")
        assert answer == {
            "LayerArn": f"{ARN}:l",
            "LayerVersionArn": f"{ARN}:l:1",
            "Version": 1,
            "CreatedDate": answer["CreatedDate"],
            "Description": "",
            "Content": {"CodeSize": len(ZIP), "CodeSha256": SHA},
        }
        assert len(answer["CreatedDate"]) == len("2025-11-25T02:26:54.123+0000")
        assert answer["CreatedDate"].endswith("+0000")
        got = await client("GET", f"{LAYERS}/l/versions/1")
        got["Content"].pop("Location")
        assert got == answer

    run(scenario)


def test_what_was_given_is_echoed_also_when_it_is_empty(run: Run) -> None:
    async def scenario(client: Client) -> None:
        given = {
            "Description": "d",
            "LicenseInfo": "MIT",
            "CompatibleRuntimes": ["python3.11", "java8", "go1.x"],  # no longer creatable, still declared
            "CompatibleArchitectures": ["arm64", "x86_64"],
        }
        answer = await client.publish(**given)
        assert {name: answer[name] for name in given} == given
        empty = await client.publish(CompatibleRuntimes=[], CompatibleArchitectures=[], LicenseInfo="")
        assert (empty["CompatibleRuntimes"], empty["CompatibleArchitectures"]) == ([], [])
        assert "LicenseInfo" not in empty

    run(scenario)


def test_a_layer_is_named_by_its_name_or_its_arn(run: Run) -> None:
    async def scenario(client: Client) -> None:
        assert (await client.publish(f"{ARN}:l"))["LayerVersionArn"] == f"{ARN}:l:1"
        assert (await client.publish())["Version"] == 2
        by_name = await client("GET", f"{LAYERS}/l/versions/2")
        for path in (
            f"{LAYERS}/{quote(f'{ARN}:l', safe='')}/versions/2",
            f"{LAYERS}?find=LayerVersion&Arn={quote(f'{ARN}:l:2', safe='')}",
        ):
            got = await client("GET", path)
            assert got["LayerVersionArn"] == by_name["LayerVersionArn"]
            assert got["Content"]["CodeSha256"] == SHA
        elsewhere = quote(f"{ARN.replace('us-east-1', 'eu-west-1')}:l", safe="")
        assert await client("GET", f"{LAYERS}/{elsewhere}/versions/2", status=404) == (
            "ResourceNotFoundException",
            "Layers from 'eu-west-1' are not reachable in this region ('us-east-1')",
        )

    run(scenario)


@pytest.mark.parametrize(
    ("path", "status", "error"),
    [
        ("/l/versions/2", 404, NOT_THERE),
        ("/nowhere/versions/1", 404, NOT_THERE),
        ("/l/versions/0", 400, BELOW_ONE),
        ("/nowhere/versions/-1", 400, BELOW_ONE),
        (f"?find=LayerVersion&Arn={ARN}:l:2", 404, NOT_THERE),
        (f"?find=LayerVersion&Arn={ARN}:nowhere:1", 404, NOT_THERE),
        (f"?find=LayerVersion&Arn={ARN}:l:0", 400, BELOW_ONE),
        ("?find=LayerVersion&Arn=arn:aws:lambda:::awslayer:x", 404, NOT_THERE),
    ],
)
def test_what_is_not_there(run: Run, path: str, status: int, error: tuple[str, str]) -> None:
    async def scenario(client: Client) -> None:
        await client.publish()
        assert await client("GET", f"{LAYERS}{path}", status=status) == error

    run(scenario)


@pytest.mark.parametrize(
    ("members", "status", "error"),
    [
        (
            {"Content": {"ZipFile": base64.b64encode(b"no zip").decode()}},
            400,
            (
                "InvalidParameterValueException",
                "Could not unzip uploaded file. Please check your file, then try to upload again.",
            ),
        ),
        (
            {"Content": {"ZipFile": ""}},
            400,
            ("InvalidParameterValueException", "Uploaded file must be a non-empty zip"),
        ),
        (
            {"Content": {"ZipFile": base64.b64encode(zipped(("../out", b"x"))).decode()}},
            400,
            (
                "InvalidParameterValueException",
                "Could not unzip uploaded file. Please check your file, then try to upload again.",
            ),
        ),
        (
            {"Content": {"S3Bucket": "bucket", "S3Key": "key"}},
            400,
            (
                "InvalidParameterValueException",
                "S3Bucket and S3Key need an S3-compatible server: name its URL in the setting s3.endpoint, "
                "or send the code as ZipFile.",
            ),
        ),
        ({"Content": {}}, 400, ("InvalidParameterValueException", "Please provide a source for function code.")),
        (
            {"CompatibleRuntimes": ["python3.11"] * 16},
            400,
            (
                "ValidationException",
                f"1 validation error detected: Value '[{', '.join(['python3.11'] * 16)}]' at 'compatibleRuntimes' "
                "failed to satisfy constraint: Member must have length less than or equal to 15",
            ),
        ),
        (
            {"CompatibleArchitectures": ["arm64", "x86_64", "arm64"]},
            400,
            (
                "ValidationException",
                "1 validation error detected: Value '[arm64, x86_64, arm64]' at 'compatibleArchitectures' "
                "failed to satisfy constraint: Member must have length less than or equal to 2",
            ),
        ),
    ],
)
def test_refused_publications_leave_nothing(
    run: Run, members: dict[str, Any], status: int, error: tuple[str, str]
) -> None:
    async def scenario(client: Client) -> None:
        assert await client.publish(status=status, **members) == error
        assert await client("GET", LAYERS) == {"Layers": []}
        assert list(client.packages.directory.iterdir()) == []
        assert (await client.publish())["Version"] == 1

    run(scenario)


def test_a_zip_over_50_mb_is_refused_before_anything_else(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lambent.api.sizes.ZIP_DIRECT_BYTES_MAX", len(ZIP) - 1)
    monkeypatch.setattr("lambent.api.sizes.REQUEST_BYTES_MAX", 10)

    async def scenario(client: Client) -> None:
        refused = await client.publish(status=413, CompatibleRuntimes=["nonsense"])
        assert refused == (
            "RequestEntityTooLargeException",
            f"Zipped size must be smaller than {len(ZIP) - 1} bytes",
        )
        monkeypatch.setattr("lambent.api.sizes.ZIP_DIRECT_BYTES_MAX", len(ZIP))
        assert await client.publish(status=413) == (
            "RequestEntityTooLargeException",
            "Request must be smaller than 10 bytes for the PublishLayerVersion operation",
        )

    run(scenario)


def test_deletion_is_idempotent_and_its_number_stays_used(run: Run) -> None:
    async def scenario(client: Client) -> None:
        await client.publish()
        for _ in range(2):
            assert await client("DELETE", f"{LAYERS}/l/versions/1", status=204) is None
        assert await client("DELETE", f"{LAYERS}/nowhere/versions/1", status=204) is None
        assert await client("DELETE", f"{LAYERS}/l/versions/0", status=400) == BELOW_ONE
        assert await client("GET", f"{LAYERS}/l/versions/1", status=404) == NOT_THERE
        assert await client("GET", LAYERS) == {"Layers": []}
        assert (await client.publish())["Version"] == 2

    run(scenario)


def test_lists_are_newest_first_filtered_and_in_pages(run: Run) -> None:
    async def scenario(client: Client) -> None:
        await client.publish("b", CompatibleRuntimes=["python3.11"], Description="first")
        await client.publish("b", CompatibleRuntimes=["python3.12"], CompatibleArchitectures=["arm64"])
        await client.publish("b")
        await client.publish("a", CompatibleArchitectures=["x86_64", "arm64"], LicenseInfo="MIT")
        await client.publish("c")
        versions = (await client("GET", f"{LAYERS}/b/versions"))["LayerVersions"]
        assert [one["Version"] for one in versions] == [3, 2, 1]
        created = versions[2].pop("CreatedDate")
        assert created.endswith("+0000")
        assert versions[2] == {
            "LayerVersionArn": f"{ARN}:b:1",
            "Version": 1,
            "Description": "first",
            "CompatibleRuntimes": ["python3.11"],
        }
        assert "Description" not in versions[1]
        listed = (await client("GET", LAYERS))["Layers"]
        assert [(one["LayerName"], one["LatestMatchingVersion"]["Version"]) for one in listed] == [
            ("a", 1),
            ("b", 3),
            ("c", 1),
        ]
        assert listed[0]["LayerArn"] == f"{ARN}:a"
        assert listed[0]["LatestMatchingVersion"]["LicenseInfo"] == "MIT"

        async def matching(query: str) -> list[tuple[str, int]]:
            found = (await client("GET", f"{LAYERS}?{query}"))["Layers"]
            return [(one["LayerName"], one["LatestMatchingVersion"]["Version"]) for one in found]

        assert await matching("CompatibleRuntime=python3.11") == [("b", 1)]
        assert await matching("CompatibleArchitecture=arm64") == [("a", 1), ("b", 2)]
        assert await matching("CompatibleRuntime=python3.12&CompatibleArchitecture=x86_64") == []
        newer = await client("GET", f"{LAYERS}/b/versions?CompatibleRuntime=python3.12")
        assert [one["Version"] for one in newer["LayerVersions"]] == [2]
        assert await client("GET", f"{LAYERS}/nowhere/versions") == {"LayerVersions": []}

    run(scenario)


def test_pages_lose_and_repeat_nothing(run: Run) -> None:
    async def scenario(client: Client) -> None:
        for name in ("a", "b", "b", "b", "c"):
            await client.publish(name)
        first = await client("GET", f"{LAYERS}/b/versions?MaxItems=2")
        assert [one["Version"] for one in first["LayerVersions"]] == [3, 2]
        await client("DELETE", f"{LAYERS}/b/versions/2", status=204)
        await client.publish("b")
        second = await client("GET", f"{LAYERS}/b/versions?MaxItems=2&Marker={first['NextMarker']}")
        assert [one["Version"] for one in second["LayerVersions"]] == [1]
        assert "NextMarker" not in second
        names, marker = [], ""
        for _ in range(3):
            page = await client("GET", f"{LAYERS}?MaxItems=1{marker}")
            names += [one["LayerName"] for one in page["Layers"]]
            marker = f"&Marker={page['NextMarker']}" if "NextMarker" in page else ""
        assert (names, marker) == (["a", "b", "c"], "")
        refused = await client("GET", f"{LAYERS}?Marker={first['NextMarker']}", status=400)
        assert refused == ("InvalidParameterValueException", "The marker is not one that this list has answered.")

    run(scenario)


def test_a_policy_is_added_to_read_and_removed_again(run: Run) -> None:
    async def scenario(client: Client) -> None:
        await client.publish()
        path = f"{LAYERS}/l/versions/1/policy"
        first = await client.grant(OrganizationId="o-0123456789")
        assert first["Statement"] == (
            '{"Sid":"s","Effect":"Allow","Principal":"*","Action":"lambda:GetLayerVersion",'
            f'"Resource":"{ARN}:l:1","Condition":{{"StringEquals":{{"aws:PrincipalOrgID":"o-0123456789"}}}}}}'
        )
        second = await client.grant(StatementId="t", Principal=THEIRS, revision=first["RevisionId"])
        assert orjson.loads(second["Statement"])["Principal"] == {"AWS": f"arn:aws:iam::{THEIRS}:root"}
        got = await client("GET", path)
        assert got["RevisionId"] == second["RevisionId"] != first["RevisionId"]
        policy = orjson.loads(got["Policy"])
        assert (policy["Version"], policy["Id"]) == ("2012-10-17", "default")
        assert [one["Sid"] for one in policy["Statement"]] == ["s", "t"]
        assert await client.grant(status=409) == (
            "ResourceConflictException",
            "The statement id (s) provided already exists. Please provide a new statement id, or remove the existing "
            "statement.",
        )
        wrong = (
            "PreconditionFailedException",
            "The Revision Id provided does not match the latest Revision Id. Call the GetLayerPolicy API to retrieve "
            "the latest Revision Id",
        )
        assert await client.grant(status=412, revision=first["RevisionId"]) == wrong
        assert await client("DELETE", f"{path}/x?RevisionId={first['RevisionId']}", status=412) == wrong
        assert await client("DELETE", f"{path}/x", status=404) == (
            "ResourceNotFoundException",
            "Statement x is not found in resource policy.",
        )
        assert await client("DELETE", f"{path}/s?RevisionId={second['RevisionId']}", status=204) is None
        assert await client("DELETE", f"{path}/t", status=204) is None
        assert await client("GET", path, status=404) == (
            "ResourceNotFoundException",
            "No policy is associated with the given resource.",
        )

    run(scenario)


@pytest.mark.parametrize("which", ["nowhere/versions/1", "l/versions/2", "l/versions/0"])
def test_a_policy_needs_a_version(run: Run, which: str) -> None:
    async def scenario(client: Client) -> None:
        await client.publish()
        name, _, number = which.partition("/versions/")
        missing = ("ResourceNotFoundException", f"Layer version {ARN}:{name}:{number} does not exist.")
        assert await client("GET", f"{LAYERS}/{which}/policy", status=404) == missing
        assert await client("DELETE", f"{LAYERS}/{which}/policy/s", status=404) == missing
        assert await client.grant(name, int(number), 404) == missing

    run(scenario)


def test_another_account_reads_what_is_shared_and_changes_nothing(run: Run) -> None:
    async def scenario(client: Client) -> None:
        await client.publish()
        theirs = quote(f"{ARN}:l", safe="")
        by_arn = f"{LAYERS}?find=LayerVersion&Arn={quote(f'{ARN}:l:1', safe='')}"
        paths = (f"{LAYERS}/{theirs}/versions/1", by_arn)

        def refusal(action: str, arn: str = f"{ARN}:l") -> tuple[str, str]:
            return (
                "AccessDeniedException",
                f"User: arn:aws:iam::{THEIRS}:root is not authorized to perform: lambda:{action} on resource: {arn} "
                f"because no resource-based policy allows the lambda:{action} action",
            )

        for path in paths:
            assert await client("GET", path, None, 403, THEIRS) == refusal("GetLayerVersion", f"{ARN}:l:1")
        await client.grant(Principal="*", OrganizationId="o-0123456789", StatementId="org")
        for path in paths:
            assert (await client("GET", path, None, 403, THEIRS))[0] == "AccessDeniedException"
        await client.grant(Principal=THEIRS)
        for path in paths:
            assert (await client("GET", path, account=THEIRS))["LayerVersionArn"] == f"{ARN}:l:1"
            assert (await client("GET", path, None, 403, "444455556666"))[0] == "AccessDeniedException"
        grant = {"StatementId": "x", "Action": "lambda:GetLayerVersion", "Principal": "*"}
        for method, path, document, action in (
            ("POST", "versions", {"Content": {"ZipFile": ZIP64}}, "PublishLayerVersion"),
            ("GET", "versions", None, "ListLayerVersions"),
            ("DELETE", "versions/1", None, "DeleteLayerVersion"),
            ("POST", "versions/1/policy", grant, "AddLayerVersionPermission"),
            ("GET", "versions/1/policy", None, "GetLayerVersionPolicy"),
            ("DELETE", "versions/1/policy/s", None, "RemoveLayerVersionPermission"),
        ):
            path = f"{LAYERS}/{theirs}/{path}"
            assert await client(method, path, document, 403, THEIRS) == refusal(action)
        assert await client("GET", LAYERS, account=THEIRS) == {"Layers": []}

    run(scenario)


def test_layers_on_functions(run: Run) -> None:
    async def scenario(client: Client) -> None:
        for name in ("a", "b"):
            await client.publish(name)
        attached = [f"{ARN}:b:1", f"{ARN}:a:1"]
        shown = [{"Arn": arn, "CodeSize": len(ZIP)} for arn in attached]
        assert (await client("POST", FUNCTIONS, creation("fn", Layers=attached), 201))["Layers"] == shown
        await client("DELETE", f"{LAYERS}/a/versions/1", status=204)
        path = f"{FUNCTIONS}/fn/configuration"
        assert (await client("GET", path))["Layers"] == shown  # a deleted version stays with who has it
        assert (await client("PUT", path, {"MemorySize": 256}))["Layers"] == shown
        assert await client("PUT", path, {"Layers": attached}, 400) == (
            "InvalidParameterValueException",
            f"Layer version {ARN}:a:1 does not exist.",
        )
        assert (await client("PUT", path, {"Layers": attached[:1]}))["Layers"] == shown[:1]
        assert "Layers" not in await client("PUT", path, {"Layers": []})
        assert "Layers" not in await client("GET", path)

    run(scenario)


def test_another_accounts_layer_is_attached_where_its_policy_allows(run: Run) -> None:
    async def scenario(client: Client) -> None:
        await client.publish()
        theirs = creation("fn", Layers=[f"{ARN}:l:1"])
        refused = await client("POST", FUNCTIONS, theirs, 403, THEIRS)
        assert refused == (
            "AccessDeniedException",
            f"User: arn:aws:iam::{THEIRS}:root is not authorized to perform: lambda:GetLayerVersion on resource: "
            f"{ARN}:l:1 because no resource-based policy allows the lambda:GetLayerVersion action",
        )
        await client.grant(Principal=THEIRS)
        created = await client("POST", FUNCTIONS, theirs, 201, THEIRS)
        assert created["Layers"] == [{"Arn": f"{ARN}:l:1", "CodeSize": len(ZIP)}]

    run(scenario)


def test_layers_count_in_the_accounts_code_storage(run: Run) -> None:
    async def scenario(client: Client) -> None:
        async def usage() -> int:
            settings = await client("GET", "/2016-08-19/account-settings")
            return int(settings["AccountUsage"]["TotalCodeSize"])

        for _ in range(10):
            await client.publish()
        assert await usage() == 10 * len(ZIP)
        full = ("CodeStorageExceededException", "Code storage limit exceeded.")
        assert await client.publish(status=400) == full
        assert await client("POST", FUNCTIONS, creation("fn"), 400) == full
        await client("DELETE", f"{LAYERS}/l/versions/3", status=204)
        assert await usage() == 9 * len(ZIP)
        assert (await client.publish())["Version"] == 11

    run(scenario)


def test_content_comes_from_s3_too(tmp_path: Path) -> None:
    asked: list[tuple[str, str, str | None]] = []

    class Bucket:
        @asynccontextmanager
        async def fetched(self, bucket: str, key: str, version: str | None = None) -> AsyncIterator[Path]:
            asked.append((bucket, key, version))
            (tmp_path / "object").write_bytes(ZIP)
            yield tmp_path / "object"

    async def scenario() -> None:
        client = Client(tmp_path, Bucket())
        named = {"S3Bucket": "bucket", "S3Key": "key", "S3ObjectVersion": "v"}
        answer = await client.publish(Content=named)
        assert (answer["Content"]["CodeSha256"], asked) == (SHA, [("bucket", "key", "v")])
        refused = await client.publish(status=400, Content={**named, "S3ObjectStorageMode": "REFERENCE"})
        assert refused[0] == "InvalidParameterValueException"
        assert len(asked) == 1

    asyncio.run(scenario())
