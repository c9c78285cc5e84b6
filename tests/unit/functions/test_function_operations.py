"""The operations on the wire: JSON in, JSON out, through the public door."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson
import pytest
from tests.unit.api.doubles import Believing, Reply, send
from tests.unit.functions.house import House
from tests.unit.functions.house import signing as signing_of
from tests.unit.packages.test_archive import zipped

from lambent.api.door import PublicDoor
from lambent.api.resources import account, concurrency, functions, signing
from lambent.functions.attaching import NO_LAYERS, LayerIndex
from lambent.packages.download import Locations
from lambent.packages.source import S3Source
from lambent.packages.store import Packages

FUNCTIONS = "/2015-03-31/functions"
ARN = "arn:aws:lambda:us-east-1:123456789012:function:fn"
ZIP = zipped(("app.py", b"def handler(event, context): return event"))
SHA = base64.b64encode(hashlib.sha256(ZIP).digest()).decode()
ROLE = "arn:aws:iam::123456789012:role/r"


class Client:
    """Speaks to a door over a house."""

    def __init__(self, house: House, directory: Path, layers: LayerIndex = NO_LAYERS) -> None:
        self.house = house
        self.door = PublicDoor(Believing())
        self.headers: dict[str, str] = {}
        self.packages = packages = Packages(directory / "packages", house.clock)
        self.locations = locations = Locations(lambda: "http://127.0.0.1:4566", b"k" * 32, house.clock)
        self.s3 = S3Source("", packages.directory)
        self.counted = house.counted
        self.configs, self.signatures = signing_of(house, directory / "trust")
        functions.register(
            self.door, house.functions, packages, self.s3, locations, self.configs, self.signatures, layers
        )
        signing.register(self.door, self.configs, house.functions)
        concurrency.register(self.door, house.functions)
        account.register(self.door, house.functions)

    async def __call__(self, method: str, path: str, document: Any = None, status: int = 200) -> Any:
        body = b"" if document is None else orjson.dumps(document)
        reply: Reply = await send(self.door, method, path, self.headers, body)
        assert reply.status == status, reply.body
        if status >= 400:
            members = reply.json
            return reply.headers[b"x-amzn-errortype"].decode(), members.get("message", members.get("Message"))
        return reply.json if reply.body else None

    async def create(self, name: str = "fn", **members: Any) -> Any:
        status = members.pop("status", 201)
        return await self("POST", FUNCTIONS, creation(name, **members), status)

    async def update(self, what: str, name: str = "fn", status: int = 200, **members: Any) -> Any:
        return await self("PUT", f"{FUNCTIONS}/{name}/{what}", members, status)


def creation(name: str, **members: Any) -> dict[str, Any]:
    document = {
        "FunctionName": name,
        "Runtime": "python3.13",
        "Handler": "app.handler",
        "Role": ROLE,
        "Code": {"ZipFile": base64.b64encode(ZIP).decode()},
        **members,
    }
    return {member: value for member, value in document.items() if value is not ...}


@pytest.fixture
def run(house: House, tmp_path: Path) -> Callable[[Callable[[Client], Awaitable[None]]], None]:
    def session(scenario: Callable[[Client], Awaitable[None]]) -> None:
        async def both() -> None:
            client = Client(house, tmp_path)
            await scenario(client)

        house.run(both())

    return session


Run = Callable[[Callable[[Client], Awaitable[None]]], None]


def test_a_minimal_creation_answers_exactly_this(run: Run) -> None:
    async def scenario(client: Client) -> None:
        answer = await client.create()
        revision, runtime = answer.pop("RevisionId"), answer.pop("RuntimeVersionConfig")
        assert len(revision) == 36
        assert runtime["RuntimeVersionArn"].startswith("arn:aws:lambda:us-east-1::runtime:")
        assert answer == {
            "FunctionName": "fn",
            "FunctionArn": ARN,
            "Runtime": "python3.13",
            "Role": ROLE,
            "Handler": "app.handler",
            "CodeSize": len(ZIP),
            "Description": "",
            "Timeout": 3,
            "MemorySize": 128,
            "LastModified": "2025-11-25T19:46:40.000+0000",
            "CodeSha256": SHA,
            "Version": "$LATEST",
            "TracingConfig": {"Mode": "PassThrough"},
            "State": "Pending",
            "StateReason": "The function is being created.",
            "StateReasonCode": "Creating",
            "PackageType": "Zip",
            "Architectures": ["x86_64"],
            "EphemeralStorage": {"Size": 512},
            "SnapStart": {"ApplyOn": "None", "OptimizationStatus": "Off"},
            "LoggingConfig": {"LogFormat": "Text", "LogGroup": "/aws/lambda/fn"},
        }

    run(scenario)


EVERYTHING = {
    "Description": "d",
    "Timeout": 900,
    "MemorySize": 10_240,
    "EphemeralStorage": {"Size": 1_024},
    "Environment": {"Variables": {"ZZ": "1", "AA": "2"}},
    "TracingConfig": {"Mode": "Active"},
    "Architectures": ["arm64"],
    "LoggingConfig": {
        "LogFormat": "JSON",
        "ApplicationLogLevel": "DEBUG",
        "SystemLogLevel": "WARN",
        "LogGroup": "/mine",
    },
    "DeadLetterConfig": {"TargetArn": "arn:aws:sqs:us-east-1:123456789012:q"},
    "KMSKeyArn": "arn:aws:kms:us-east-1:123456789012:key/k",
    "FileSystemConfigs": [
        {
            "Arn": "arn:aws:elasticfilesystem:us-east-1:123456789012:access-point/fsap-0123456789abcdef0",
            "LocalMountPath": "/mnt/a",
        }
    ],
    "TenancyConfig": {"TenantIsolationMode": "PER_TENANT"},
    "DurableConfig": {"ExecutionTimeout": 60, "RetentionPeriodInDays": 3},
}


def test_everything_that_is_accepted_is_answered(run: Run) -> None:
    async def scenario(client: Client) -> None:
        vpc = {"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"]}
        answer = await client.create(**EVERYTHING, VpcConfig=vpc, Tags={"team": "a"})
        got = await client("GET", f"{FUNCTIONS}/fn")
        for shown in (answer, got["Configuration"]):
            assert {member: shown[member] for member in EVERYTHING} == EVERYTHING
            assert shown["VpcConfig"] == {**vpc, "VpcId": "", "Ipv6AllowedForDualStack": False}
        assert list(got["Configuration"]["Environment"]["Variables"]) == ["ZZ", "AA"]
        assert got["Tags"] == {"team": "a"}

    run(scenario)


def test_get_follows_the_qualifier(run: Run) -> None:
    async def scenario(client: Client) -> None:
        await client.create(Publish=True)
        await client.house.functions.close()
        for qualifier, arn in (("", ARN), ("?Qualifier=$LATEST", f"{ARN}:$LATEST"), ("?Qualifier=1", f"{ARN}:1")):
            got = await client("GET", f"{FUNCTIONS}/fn{qualifier}")
            assert got["Configuration"]["FunctionArn"] == arn
            assert got["Configuration"]["State"] == "Active"
            assert got["Configuration"]["LastUpdateStatus"] == "Successful"
            assert set(got) == {"Configuration", "Code"}
            assert got["Code"]["RepositoryType"] == "S3"
            assert got["Code"]["Location"].startswith("http://127.0.0.1:4566/_lambent/code/")
            configuration = await client("GET", f"{FUNCTIONS}/fn/configuration{qualifier}")
            assert configuration == got["Configuration"]
        await client("PUT", "/2017-10-31/functions/fn/concurrency", {"ReservedConcurrentExecutions": 0})
        assert (await client("GET", f"{FUNCTIONS}/fn"))["Concurrency"] == {"ReservedConcurrentExecutions": 0}
        assert "Concurrency" not in await client("GET", f"{FUNCTIONS}/fn?Qualifier=1")

    run(scenario)


@pytest.mark.parametrize(
    ("path", "arn"),
    [
        ("nope", "function:nope"),
        ("nope?Qualifier=live", "function:nope:live"),
        ("nope:1", "function:nope:1"),
        ("fn?Qualifier=7", "function:fn:7"),
        (quote(f"{ARN}:live", safe=""), "function:fn:live"),
        ("x" * 70, f"function:{'x' * 70}"),
        (quote("arn:aws:lambda:us-east-1:123456789012:function", safe=""), "function:function"),
    ],
)
def test_what_is_not_found_is_named_as_it_was_asked_for(run: Run, path: str, arn: str) -> None:
    async def scenario(client: Client) -> None:
        await client.create()
        expected = ("ResourceNotFoundException", f"Function not found: arn:aws:lambda:us-east-1:123456789012:{arn}")
        assert await client("GET", f"{FUNCTIONS}/{path}", status=404) == expected
        path_of_configuration = path.replace("?", "/configuration?") if "?" in path else f"{path}/configuration"
        assert await client("GET", f"{FUNCTIONS}/{path_of_configuration}", status=404) == expected

    run(scenario)


def test_regions_accounts_and_qualifiers_are_checked_before_existence(run: Run) -> None:
    async def scenario(client: Client) -> None:
        elsewhere = quote(ARN.replace("us-east-1", "eu-west-1"), safe="")
        assert await client("GET", f"{FUNCTIONS}/{elsewhere}", status=404) == (
            "ResourceNotFoundException",
            "Functions from 'eu-west-1' are not reachable in this region ('us-east-1')",
        )
        assert await client("GET", f"{FUNCTIONS}/nope:1?Qualifier=2", status=400) == (
            "InvalidParameterValueException",
            "The derived qualifier from the function name does not match the specified qualifier.",
        )
        theirs = ARN.replace("123456789012", "999999999999")
        assert await client.create(theirs, status=403) == ("AccessDeniedException", None)
        kind, text = await client("GET", f"{FUNCTIONS}/{quote(theirs, safe='')}", status=404)
        assert (kind, text) == ("ResourceNotFoundException", f"Function not found: {theirs}")

    run(scenario)


@pytest.mark.parametrize("name", ["fn", "123456789012:function:fn", ARN, "function:fn"])
def test_a_creation_takes_every_form_of_the_name(run: Run, name: str) -> None:
    async def scenario(client: Client) -> None:
        assert (await client.create(name))["FunctionName"] == "fn"

    run(scenario)


@pytest.mark.parametrize(
    ("members", "status", "code", "text"),
    [
        ({"Runtime": ...}, 400, "InvalidParameterValueException", "Runtime and Handler are mandatory parameters"),
        ({"Code": {}}, 400, "InvalidParameterValueException", "Please provide a source for function code."),
        ({"Code": {"ZipFile": "bm8="}}, 400, "InvalidParameterValueException", "Could not unzip uploaded file."),
        ({"Code": {"S3Bucket": "bucket", "S3Key": "k"}}, 400, "InvalidParameterValueException", "s3.endpoint"),
        (
            {"Code": {"ZipFile": "bm8=", "S3Key": "k"}},
            400,
            "InvalidParameterValueException",
            "when providing a ZipFile",
        ),
        (
            {"PackageType": "Image", "Runtime": ..., "Handler": ..., "Code": {"ImageUri": "repo:tag"}},
            400,
            "InvalidParameterValueException",
            "Container images are not served",
        ),
        ({"Role": "r1"}, 400, "ValidationException", "1 validation error detected: Value 'r1' at 'role' failed"),
        ({"Runtime": "python4"}, 400, "InvalidParameterValueException", "Value python4 at 'runtime' failed"),
        (
            {"CodeSigningConfigArn": "arn:aws:lambda:us-east-1:123456789012:code-signing-config:csc-0123456789abcdefg"},
            404,
            "CodeSigningConfigNotFoundException",
            "The code signing configuration cannot be found. Check that the provided configuration is not deleted: arn:",
        ),
        (
            {
                "CapacityProviderConfig": {
                    "LambdaManagedInstancesCapacityProviderConfig": {
                        "CapacityProviderArn": "arn:aws:lambda:us-east-1:123456789012:capacity-provider:p"
                    }
                }
            },
            404,
            "ResourceNotFoundException",
            "Capacity provider not found: arn:aws:lambda:us-east-1:123456789012:capacity-provider:p",
        ),
        ({"Tags": {"aws:a": "b"}}, 400, "InvalidParameterValueException", "reserved"),
    ],
)
def test_refused_creations(run: Run, members: dict[str, Any], status: int, code: str, text: str) -> None:
    async def scenario(client: Client) -> None:
        kind, message = await client.create(status=status, **members)
        assert (kind, text in message) == (code, True), message
        await client("GET", f"{FUNCTIONS}/fn", status=404)

    run(scenario)


def test_a_long_name_is_refused_in_the_services_words(run: Run) -> None:
    async def scenario(client: Client) -> None:
        assert await client.create("x" * 65, status=400) == (
            "InvalidParameterValueException",
            f"1 validation error detected: Value '{'x' * 65}' at 'functionName' failed to satisfy constraint: "
            "Member must have length less than or equal to 64",
        )

    run(scenario)


def test_a_retried_creation_is_recognised_by_the_clients_invocation_id(run: Run) -> None:
    async def scenario(client: Client) -> None:
        client.headers["amz-sdk-invocation-id"] = "call-1"
        first = await client.create()
        await client.house.functions.close()
        assert await client.create() == first
        client.headers["amz-sdk-invocation-id"] = "call-2"
        assert await client.create(status=409) == ("ResourceConflictException", "Function already exist: fn")

    run(scenario)


def test_updates_answer_in_progress(run: Run) -> None:
    async def scenario(client: Client) -> None:
        await client.create()
        answer = await client.update("configuration", MemorySize=256, Environment={})
        assert (answer["State"], answer["LastUpdateStatus"]) == ("Active", "InProgress")
        assert answer["LastUpdateStatusReasonCode"] == "Creating"
        assert "StateReason" not in answer
        assert (answer["FunctionArn"], answer["MemorySize"]) == (ARN, 256)
        assert answer["Environment"] == {"Variables": {}}
        code = base64.b64encode(zipped(("b.py", b"x"))).decode()
        changed = await client.update("code", ZipFile=code, Architectures=["arm64"])
        assert changed["CodeSha256"] != SHA
        assert changed["Architectures"] == ["arm64"]
        published = await client.update("code", ZipFile=code, Publish=True)
        assert (published["FunctionArn"], published["State"]) == (f"{ARN}:1", "Pending")
        assert "LastUpdateStatus" not in published
        dry = await client.update("code", ZipFile=base64.b64encode(ZIP).decode(), DryRun=True)
        assert (dry["CodeSha256"], dry["LastUpdateStatus"]) == (SHA, "Successful")

    run(scenario)


def test_refused_updates(run: Run) -> None:
    async def scenario(client: Client) -> None:
        missing = ("ResourceNotFoundException", f"Function not found: {ARN.replace(':fn', ':nope')}")
        assert await client.update("configuration", "nope", 404, Timeout=5) == missing
        assert await client.update("code", "nope", 404) == missing
        await client.create()
        stale = await client.update("configuration", status=412, Timeout=5, RevisionId="old")
        assert stale[0] == "PreconditionFailedException"
        source = await client.update("code", status=400)
        assert source == ("InvalidParameterValueException", "Please provide a source for function code.")
        assert "PublishTo" in (await client.update("code", status=400, PublishTo="LATEST_PUBLISHED"))[1]
        to = await client("POST", f"{FUNCTIONS}/fn/versions", {"PublishTo": "LATEST_PUBLISHED"}, 400)
        assert "PublishTo" in to[1]
        image = await client.update("code", status=400, ImageUri="repo:tag")
        assert "ImageUri" in image[1]
        provider = {
            "LambdaManagedInstancesCapacityProviderConfig": {
                "CapacityProviderArn": ARN.replace("function:fn", "capacity-provider:p")
            }
        }
        assert (await client.update("configuration", status=400, CapacityProviderConfig=provider))[1] == (
            "CapacityProviderConfig isn't supported for Lambda Default functions."
        )

    run(scenario)


def test_deletion(run: Run) -> None:
    async def scenario(client: Client) -> None:
        await client.create(Publish=True)
        assert await client("DELETE", f"{FUNCTIONS}/fn?Qualifier=$LATEST", status=400) == (
            "InvalidParameterValueException",
            "$LATEST version cannot be deleted without deleting the function.",
        )
        assert (await client("DELETE", f"{FUNCTIONS}/nope:$LATEST", status=400))[1].startswith("$LATEST version")
        await client("DELETE", f"{FUNCTIONS}/fn?Qualifier=1", status=204)
        await client("DELETE", f"{FUNCTIONS}/fn?Qualifier=1", status=204)
        await client("DELETE", f"{FUNCTIONS}/fn", status=204)
        gone = ("ResourceNotFoundException", f"Function not found: {ARN}")
        assert await client("DELETE", f"{FUNCTIONS}/fn?Qualifier=1", status=404) == gone

    run(scenario)


def test_publication(run: Run) -> None:
    async def scenario(client: Client) -> None:
        await client.create()
        answer = await client("POST", f"{FUNCTIONS}/fn/versions", {"Description": "first", "CodeSha256": SHA}, 201)
        assert (answer["FunctionArn"], answer["Version"]) == (f"{ARN}:1", "1")
        assert (answer["State"], answer["LastUpdateStatus"], answer["Description"]) == ("Active", "Successful", "first")
        assert await client("POST", f"{FUNCTIONS}/fn/versions", {}, 201) == answer

    run(scenario)


async def pages(client: Client, path: str, member: str) -> list[list[dict[str, Any]]]:
    found, marker = [], ""
    while True:
        answer = await client("GET", f"{path}{'&' if '?' in path else '?'}{marker}")
        found.append(answer[member])
        if "NextMarker" not in answer:
            return found
        marker = f"Marker={quote(answer['NextMarker'])}"


def test_functions_are_listed_in_pages_without_states(run: Run) -> None:
    async def scenario(client: Client) -> None:
        for number in range(7):
            await client.create(f"fn-{number}")
        await client("POST", f"{FUNCTIONS}/fn-2/versions", {}, 201)
        await client("POST", f"{FUNCTIONS}/fn-3/versions", {}, 201)
        listed = await pages(client, f"{FUNCTIONS}?MaxItems=3", "Functions")
        assert [[item["FunctionName"][-1] for item in page] for page in listed] == [list("012"), list("345"), ["6"]]
        shown = listed[0][0]
        assert shown["FunctionArn"].endswith(":function:fn-0")
        assert not {member for member in shown if member.startswith(("State", "LastUpdate", "RuntimeVersion"))}
        everything = await pages(client, f"{FUNCTIONS}?FunctionVersion=ALL&MaxItems=2", "Functions")
        arns = [item["FunctionArn"].partition("function:")[2] for page in everything for item in page]
        versions = [f"fn-{number}:$LATEST" for number in range(7)]
        assert sorted(arns) == sorted([*versions, "fn-2:1", "fn-3:1"])
        assert arns.index("fn-2:1") == arns.index("fn-2:$LATEST") + 1
        assert all(len(page) <= 2 for page in everything)
        assert await client("GET", f"{FUNCTIONS}?FunctionVersion=ALL&MasterRegion=eu-west-1") == {"Functions": []}

    run(scenario)


def test_versions_are_listed_ascending_by_number(run: Run) -> None:
    async def scenario(client: Client) -> None:
        await client.create()
        for number in range(11):
            await client.update("configuration", Description=str(number))
            await client("POST", f"{FUNCTIONS}/fn/versions", {}, 201)
        listed = await pages(client, f"{FUNCTIONS}/fn/versions?MaxItems=5", "Versions")
        numbers = [item["Version"] for page in listed for item in page]
        assert numbers == ["$LATEST", *(str(number) for number in range(1, 12))]
        assert listed[0][0]["FunctionArn"] == f"{ARN}:$LATEST"
        missing = await client("GET", f"{FUNCTIONS}/nope/versions", status=404)
        assert missing[1] == f"Function not found: {ARN.replace(':fn', ':nope')}"

    run(scenario)


@pytest.mark.parametrize("marker", ["x", "WyJmdW5jdGlvbnMiLDFd", "WyJ2ZXJzaW9ucyIsMV0=", "%C3%BC"])
def test_a_marker_of_another_list_is_refused(run: Run, marker: str) -> None:
    async def scenario(client: Client) -> None:
        assert (await client("GET", f"{FUNCTIONS}?Marker={marker}", status=400))[0] == "InvalidParameterValueException"

    run(scenario)


def test_reserved_concurrency(run: Run) -> None:
    async def scenario(client: Client) -> None:
        path, read = "/2017-10-31/functions/fn/concurrency", "/2019-09-30/functions/fn/concurrency"
        wanted = {"ReservedConcurrentExecutions": 5}
        assert (await client("PUT", path, wanted, 404))[1] == f"Function not found: {ARN}:$LATEST"
        assert (await client("GET", read, status=404))[1] == f"Function not found: {ARN}"
        await client.create()
        assert await client("GET", read) == {}
        assert await client("PUT", path, wanted) == wanted
        assert await client("GET", read) == wanted
        qualified = await client("PUT", path.replace("fn", "fn:$LATEST"), wanted, 400)
        assert qualified[1].startswith("This operation is permitted on Lambda functions only.")
        too_much = await client("PUT", path, {"ReservedConcurrentExecutions": 901}, 400)
        assert too_much[1].endswith("below its minimum value of [100].")
        await client("DELETE", path, status=204)
        await client("DELETE", path, status=204)
        assert await client("GET", read) == {}

    run(scenario)


def test_account_settings_tell_true_usage(run: Run) -> None:
    async def scenario(client: Client) -> None:
        await client.create(Publish=True)
        await client("PUT", "/2017-10-31/functions/fn/concurrency", {"ReservedConcurrentExecutions": 5})
        assert await client("GET", "/2016-08-19/account-settings") == {
            "AccountLimit": {
                "TotalCodeSize": 322_122_547_200,
                "CodeSizeUnzipped": 262_144_000,
                "CodeSizeZipped": 52_428_800,
                "ConcurrentExecutions": 1_000,
                "UnreservedConcurrentExecutions": 995,
            },
            "AccountUsage": {"TotalCodeSize": 2 * len(ZIP), "FunctionCount": 1},
        }

    run(scenario)


def test_fifty_clients_at_once(run: Run) -> None:
    async def scenario(client: Client) -> None:
        await asyncio.gather(*(client.create(f"fn-{number}") for number in range(50)))
        names = [item["FunctionName"] for item in (await client("GET", FUNCTIONS))["Functions"]]
        assert names == sorted(f"fn-{number}" for number in range(50))

    run(scenario)
