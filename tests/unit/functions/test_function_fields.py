"""The remaining members of a function on the wire: what is refused with which words, kept, merged and answered."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.unit.functions.house import House, signing
from tests.unit.functions.wire_client import WireClient, run
from tests.unit.packages.test_archive import zipped

from lambent.api.door import PublicDoor
from lambent.api.resources import functions
from lambent.packages.download import Locations
from lambent.packages.source import S3Source
from lambent.packages.store import Packages

INVALID, VALIDATION = "InvalidParameterValueException", "ValidationException"
FUNCTIONS = "/2015-03-31/functions"
FN = f"{FUNCTIONS}/fn/configuration"
ZIP = zipped(("app.py", b"def handler(event, context): return event"))
OTHER_ZIP = zipped(("app.py", b"def handler(event, context): return 2"))
MINIMAL = {
    "FunctionName": "fn",
    "Runtime": "python3.13",
    "Handler": "app.handler",
    "Role": "arn:aws:iam::123456789012:role/r",
    "Code": {"ZipFile": base64.b64encode(ZIP).decode()},
}
VPC = {"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"]}
SHOWN_VPC = VPC | {"VpcId": "", "Ipv6AllowedForDualStack": False}
EFS = {
    "Arn": "arn:aws:elasticfilesystem:us-east-1:123456789012:access-point/fsap-0123456789abcdef0",
    "LocalMountPath": "/mnt/a",
}
S3FILES = {
    "Arn": "arn:aws:s3files:us-east-1:123456789012:file-system/fs-0123456789abcdef0/access-point/fsap-0123456789abcdef0",
    "LocalMountPath": "/mnt/b",
    "S3FilesConfig": {"DirectS3Read": "ENABLED"},
}
QUEUE = "arn:aws:sqs:us-east-1:123456789012:q"
KEY = "arn:aws:kms:us-east-1:123456789012:key/k"
TEXT_LEVELS = (
    'LogLevel is not supported when LogFormat is set to "Text". Remove LogLevel from your request or change the LogFormat '
    'to "JSON" and try again.'
)


@pytest.fixture
def register(tmp_path: Path) -> Callable[[PublicDoor, House], None]:
    def all_of(door: PublicDoor, house: House) -> None:
        packages = Packages(tmp_path / "packages", house.clock)
        locations = Locations(lambda: "http://127.0.0.1:4566", b"k" * 32, house.clock)
        functions.register(
            door, house.functions, packages, S3Source("", packages.directory), locations, *signing(house)
        )

    return all_of


Register = Callable[[PublicDoor, House], None]


def at(path: str, value: Any, constraint: str) -> tuple[str, str]:
    return (
        VALIDATION,
        f"1 validation error detected: Value '{value}' at '{path}' failed to satisfy constraint: {constraint}",
    )


ROLE = r"arn:(aws[a-zA-Z-]*)?:iam::\d{12}:role/?[a-zA-Z_0-9+=,.@\-_/]+"
ARNS = r"(arn:(aws[a-zA-Z-]*)?:[a-z0-9-.]+:.*)|()"


def ids(pattern: str) -> str:
    return (
        "Member must satisfy constraint: [Member must have length less than or equal to 1024, Member must have length "
        f"greater than or equal to 0, Member must satisfy regular expression pattern: {pattern}]"
    )


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({"Role": "r1"}, at("role", "r1", f"Member must satisfy regular expression pattern: {ROLE}")),
        (
            {"MemorySize": 10_241},
            (
                INVALID,
                "'MemorySize' value failed to satisfy constraint: Member must have value less than or equal to 10240",
            ),
        ),
        ({"MemorySize": 32_769}, at("memorySize", 32_769, "Member must have value less than or equal to 32768")),
        ({"MemorySize": 127}, at("memorySize", 127, "Member must have value greater than or equal to 128")),
        (
            {"Timeout": 901},
            (INVALID, "'Timeout' value failed to satisfy constraint: Member must have value less than or equal to 900"),
        ),
        ({"Timeout": 0}, at("timeout", 0, "Member must have value greater than or equal to 1")),
        (
            {"EphemeralStorage": {"Size": 511}},
            at("ephemeralStorage.size", 511, "Member must have value greater than or equal to 512"),
        ),
        (
            {"EphemeralStorage": {"Size": 10_241}},
            at("ephemeralStorage.size", 10_241, "Member must have value less than or equal to 10240"),
        ),
        (
            {"SnapStart": {"ApplyOn": "Always"}},
            at("snapStart.applyOn", "Always", "Member must satisfy enum value set: [PublishedVersions, None]"),
        ),
        (
            {"SnapStart": {"ApplyOn": "PublishedVersions"}, "Runtime": "nodejs22.x"},
            (INVALID, "nodejs22.x is not supported for SnapStart enabled functions."),
        ),
        (
            {"VpcConfig": {"SubnetIds": ["x"], "SecurityGroupIds": ["sg-1"]}},
            at("vpcConfig.subnetIds", "[x]", ids("subnet-[0-9a-z]*")),
        ),
        (
            {"VpcConfig": {"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["x"]}},
            at("vpcConfig.securityGroupIds", "[x]", ids("sg-[0-9a-zA-Z]*")),
        ),
        (
            {"VpcConfig": {"SubnetIds": ["subnet-1"]}},
            (INVALID, "SubnetIds and SecurityIds must coexist or be both empty list."),
        ),
        (
            {"VpcConfig": {"SubnetIds": [], "SecurityGroupIds": ["sg-1"]}},
            (INVALID, "SubnetIds and SecurityIds must coexist or be both empty list."),
        ),
        (
            {"FileSystemConfigs": [EFS]},
            (INVALID, "FileSystemConfigs needs a VpcConfig with subnets and security groups."),
        ),
        (
            {"FileSystemConfigs": [EFS | {"S3FilesConfig": {"DirectS3Read": "ENABLED"}}], "VpcConfig": VPC},
            (INVALID, f"S3FilesConfig is only valid for an access point of Amazon S3 Files, not for {EFS['Arn']}"),
        ),
        (
            {"FileSystemConfigs": [EFS | {"LocalMountPath": "/data"}], "VpcConfig": VPC},
            at(
                "fileSystemConfigs.1.member.localMountPath",
                "/data",
                "Member must satisfy regular expression pattern: /mnt/[a-zA-Z0-9-_.]+",
            ),
        ),
        ({"LoggingConfig": {"ApplicationLogLevel": "INFO"}}, (INVALID, TEXT_LEVELS)),
        ({"LoggingConfig": {"LogFormat": "Text", "SystemLogLevel": "INFO"}}, (INVALID, TEXT_LEVELS)),
        (
            {"LoggingConfig": {"LogFormat": "XML"}},
            at("loggingConfig.logFormat", "XML", "Member must satisfy enum value set: [JSON, Text]"),
        ),
        (
            {"TracingConfig": {"Mode": "On"}},
            at("tracingConfig.mode", "On", "Member must satisfy enum value set: [Active, PassThrough]"),
        ),
        ({"KMSKeyArn": "k"}, at("kMSKeyArn", "k", f"Member must satisfy regular expression pattern: {ARNS}")),
        (
            {"DeadLetterConfig": {"TargetArn": "q"}},
            at("deadLetterConfig.targetArn", "q", f"Member must satisfy regular expression pattern: {ARNS}"),
        ),
        (
            {"DeadLetterConfig": {"TargetArn": "arn:aws:s3:::bucket"}},
            (
                INVALID,
                "DeadLetterConfig.TargetArn names a standard SQS queue or a standard SNS topic, not arn:aws:s3:::bucket",
            ),
        ),
        (
            {"DeadLetterConfig": {"TargetArn": f"{QUEUE}.fifo"}},
            (
                INVALID,
                f"DeadLetterConfig.TargetArn names a standard SQS queue or a standard SNS topic, not {QUEUE}.fifo",
            ),
        ),
    ],
)
def test_members_that_are_refused(
    house: House, register: Register, members: dict[str, Any], expected: tuple[str, str]
) -> None:
    async def scenario(client: WireClient) -> None:
        await client("POST", FUNCTIONS, MINIMAL, 201)
        await house.functions.close()
        before = await client("GET", FN)
        assert await client("PUT", FN, members, 400) == expected
        assert await client("GET", FN) == before
        assert await client("POST", FUNCTIONS, MINIMAL | {"FunctionName": "new"} | members, 400) == expected

    run(house, register, scenario)


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        (
            {"Architectures": ["x86_64", "arm64"]},
            at("architectures", "[x86_64, arm64]", "Member must have length less than or equal to 1"),
        ),
        (
            {"Architectures": ["X86_64"]},
            at(
                "architectures",
                "[X86_64]",
                "Member must satisfy constraint: [Member must satisfy enum value set: [x86_64, arm64], Member must not be null]",
            ),
        ),
        (
            {"DurableConfig": {"RetentionPeriodInDays": 3}},
            (INVALID, "You cannot create a function with a durable configuration without an executionTimeout"),
        ),
        (
            {"TenancyConfig": {"TenantIsolationMode": "PER_TENANT"}, "SnapStart": {"ApplyOn": "PublishedVersions"}},
            (INVALID, "SnapStart is not supported for functions with tenant isolation."),
        ),
        (
            {"EphemeralStorage": {"Size": 513}, "SnapStart": {"ApplyOn": "PublishedVersions"}},
            (INVALID, "SnapStart is not supported for functions with more than 512 MB of ephemeral storage."),
        ),
        (
            {"FileSystemConfigs": [EFS], "VpcConfig": VPC, "SnapStart": {"ApplyOn": "PublishedVersions"}},
            (INVALID, "SnapStart is not supported for functions with file systems."),
        ),
        (
            {"Tags": {str(number): "" for number in range(51)}},
            (INVALID, "A resource carries at most 50 tags; 51 were given."),
        ),
        ({"Tags": {"aws:a": "b"}}, (INVALID, "Tag keys that start with aws: are reserved: aws:a")),
        (
            {"Code": {"S3Bucket": "bucket", "S3Key": "k", "S3ObjectStorageMode": "REFERENCE"}},
            (
                INVALID,
                "S3ObjectStorageMode REFERENCE is not served by this release of Lambent. Leave it away or use COPY: the "
                "object is copied when the function is created or updated.",
            ),
        ),
    ],
)
def test_creations_that_are_refused(
    house: House, register: Register, members: dict[str, Any], expected: tuple[str, str]
) -> None:
    async def scenario(client: WireClient) -> None:
        assert await client("POST", FUNCTIONS, MINIMAL | members, 400) == expected

    run(house, register, scenario)


ABSENT = object()


@pytest.mark.parametrize(
    ("member", "steps"),
    [
        ("Description", [("d", "d"), ("", "")]),
        ("KMSKeyArn", [(KEY, KEY), (None, KEY), ("", ABSENT)]),
        (
            "DeadLetterConfig",
            [
                ({"TargetArn": QUEUE}, {"TargetArn": QUEUE}),
                ({}, {"TargetArn": QUEUE}),
                ({"TargetArn": ""}, ABSENT),
            ],
        ),
        (
            "TracingConfig",
            [({"Mode": "Active"}, {"Mode": "Active"}), ({}, {"Mode": "Active"}), ({"Mode": "PassThrough"},) * 2],
        ),
        (
            "VpcConfig",
            [
                (VPC, SHOWN_VPC),
                (VPC | {"Ipv6AllowedForDualStack": True}, SHOWN_VPC | {"Ipv6AllowedForDualStack": True}),
                (
                    {"SubnetIds": ["subnet-2", "subnet-3"], "SecurityGroupIds": ["sg-2"]},
                    SHOWN_VPC | {"SubnetIds": ["subnet-2", "subnet-3"], "SecurityGroupIds": ["sg-2"]},
                ),
                (
                    {"SubnetIds": [], "SecurityGroupIds": []},
                    SHOWN_VPC | {"SubnetIds": [], "SecurityGroupIds": []},
                ),
            ],
        ),
        ("EphemeralStorage", [({"Size": 1_024}, {"Size": 1_024}), ({"Size": 512}, {"Size": 512})]),
        (
            "SnapStart",
            [
                ({"ApplyOn": "PublishedVersions"}, {"ApplyOn": "PublishedVersions", "OptimizationStatus": "Off"}),
                ({"ApplyOn": "None"}, {"ApplyOn": "None", "OptimizationStatus": "Off"}),
            ],
        ),
        (
            "Environment",
            [
                ({"Variables": {"AA": "1", "BB": "2"}},) * 2,
                ({"Variables": {"CC": "3"}},) * 2,
                ({"Variables": {}},) * 2,
            ],
        ),
        (
            "LoggingConfig",
            [
                ({"LogGroup": "/mine"}, {"LogFormat": "Text", "LogGroup": "/mine"}),
                (
                    {"LogFormat": "JSON"},
                    {
                        "LogFormat": "JSON",
                        "ApplicationLogLevel": "INFO",
                        "SystemLogLevel": "INFO",
                        "LogGroup": "/mine",
                    },
                ),
                (
                    {"ApplicationLogLevel": "DEBUG"},
                    {
                        "LogFormat": "JSON",
                        "ApplicationLogLevel": "DEBUG",
                        "SystemLogLevel": "INFO",
                        "LogGroup": "/mine",
                    },
                ),
                ({"LogFormat": "Text"}, {"LogFormat": "Text", "LogGroup": "/mine"}),
            ],
        ),
    ],
)
def test_members_are_merged_as_documented(
    house: House, register: Register, member: str, steps: list[tuple[Any, Any]]
) -> None:
    async def scenario(client: WireClient) -> None:
        await client("POST", FUNCTIONS, MINIMAL, 201)
        for given, shown in steps:
            await house.functions.close()
            answer = await client("PUT", FN, {member: given})
            assert answer.get(member, ABSENT) == shown
            assert (await client("GET", FN)).get(member, ABSENT) == shown
        created = MINIMAL | {"FunctionName": "new", member: steps[0][0]}
        assert (await client("POST", FUNCTIONS, created, 201)).get(member, ABSENT) == steps[0][1]

    run(house, register, scenario)


def test_file_systems_are_replaced_and_need_their_network(house: House, register: Register) -> None:
    async def scenario(client: WireClient) -> None:
        made = await client("POST", FUNCTIONS, MINIMAL | {"VpcConfig": VPC, "FileSystemConfigs": [EFS]}, 201)
        assert made["FileSystemConfigs"] == [EFS]
        await house.functions.close()
        assert (await client("PUT", FN, {"FileSystemConfigs": [S3FILES]}))["FileSystemConfigs"] == [S3FILES]
        kind, text = await client("PUT", FN, {"FileSystemConfigs": [EFS, S3FILES]}, 400)
        assert (kind, text.rpartition(": ")[2]) == (VALIDATION, "Member must have length less than or equal to 1")
        detached = {"VpcConfig": {"SubnetIds": [], "SecurityGroupIds": []}}
        assert await client("PUT", FN, detached, 400) == (
            INVALID,
            "FileSystemConfigs needs a VpcConfig with subnets and security groups.",
        )
        assert "FileSystemConfigs" not in await client("PUT", FN, detached | {"FileSystemConfigs": []})

    run(house, register, scenario)


def test_a_published_version_keeps_its_members(house: House, register: Register) -> None:
    async def scenario(client: WireClient) -> None:
        first = {
            "VpcConfig": VPC,
            "KMSKeyArn": KEY,
            "DeadLetterConfig": {"TargetArn": QUEUE},
            "SnapStart": {"ApplyOn": "PublishedVersions"},
        }
        await client("POST", FUNCTIONS, MINIMAL | first, 201)
        await house.functions.close()
        published = await client("POST", f"{FUNCTIONS}/fn/versions", {}, 201)
        assert published["SnapStart"] == {"ApplyOn": "PublishedVersions", "OptimizationStatus": "On"}
        await house.functions.close()
        cleared = {
            "VpcConfig": {"SubnetIds": [], "SecurityGroupIds": []},
            "KMSKeyArn": "",
            "DeadLetterConfig": {"TargetArn": ""},
            "SnapStart": {"ApplyOn": "None"},
        }
        await client("PUT", FN, cleared)
        kept = await client("GET", f"{FN}?Qualifier=1")
        assert kept["VpcConfig"] == SHOWN_VPC
        assert (kept["KMSKeyArn"], kept["DeadLetterConfig"]) == (KEY, {"TargetArn": QUEUE})
        assert kept["SnapStart"]["OptimizationStatus"] == "On"

    run(house, register, scenario)


def test_a_dry_run_checks_everything_and_changes_nothing(house: House, register: Register) -> None:
    async def scenario(client: WireClient) -> None:
        await client("POST", FUNCTIONS, MINIMAL, 201)
        await house.functions.close()
        before = await client("GET", FN)
        code = {"ZipFile": base64.b64encode(OTHER_ZIP).decode(), "DryRun": True, "Architectures": ["arm64"]}
        for more in ({}, {"Publish": True}, {"RevisionId": before["RevisionId"]}):
            answer = await client("PUT", f"{FUNCTIONS}/fn/code", code | more)
            assert answer == before | {
                "CodeSha256": base64.b64encode(hashlib.sha256(OTHER_ZIP).digest()).decode(),
                "CodeSize": len(OTHER_ZIP),
                "Architectures": ["arm64"],
            }
            assert await client("GET", FN) == before
        assert len((await client("GET", f"{FUNCTIONS}/fn/versions"))["Versions"]) == 1
        bad = code | {"ZipFile": base64.b64encode(b"no zip").decode()}
        assert (await client("PUT", f"{FUNCTIONS}/fn/code", bad, 400))[1].startswith("Could not unzip uploaded file.")
        assert (await client("PUT", f"{FUNCTIONS}/fn/code", code | {"RevisionId": "other"}, 412))[0] == (
            "PreconditionFailedException"
        )

    run(house, register, scenario)


def test_an_object_that_is_to_stay_where_it_is_is_refused(house: House, register: Register) -> None:
    async def scenario(client: WireClient) -> None:
        await client("POST", FUNCTIONS, MINIMAL, 201)
        await house.functions.close()
        for source in ({"S3Bucket": "bucket", "S3Key": "k"}, {"ZipFile": base64.b64encode(ZIP).decode()}):
            code = source | {"S3ObjectStorageMode": "REFERENCE"}
            kind, text = await client("PUT", f"{FUNCTIONS}/fn/code", code, 400)
            assert kind == INVALID
            assert text.startswith("S3ObjectStorageMode REFERENCE is not served by this release of Lambent.")
        code = {"ZipFile": base64.b64encode(OTHER_ZIP).decode(), "S3ObjectStorageMode": "COPY"}
        assert (await client("PUT", f"{FUNCTIONS}/fn/code", code))["CodeSize"] == len(OTHER_ZIP)

    run(house, register, scenario)
