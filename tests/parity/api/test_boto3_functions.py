"""Functions, versions, concurrency and what runs, operation by operation through boto3 with its parameter validation on:
what was sent comes back member by member, and each refusal is the SDK's own exception with the service's words."""

from __future__ import annotations

import hashlib
import json
import platform
import urllib.request
from base64 import b64encode
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
from botocore.exceptions import WaiterError
from tests.machine import SNAPSTART_RUNTIME
from tests.parity.api.judged import (
    AT,
    CODE,
    OTHER_CODE,
    ROLE,
    SOON,
    UUID,
    arn,
    create,
    invalid,
    plain,
    refused,
    settled,
    status,
)
from tests.support import PYTHON_RUNTIME, package, unique

INVALID, MISSING, CONFLICT = "InvalidParameterValueException", "ResourceNotFoundException", "ResourceConflictException"
STALE = (
    "The Revision Id provided does not match the latest Revision Id. Call the GetFunction/GetAlias API to retrieve the "
    "latest Revision Id"
)
IN_TWOS = {"PageSize": 2}
MISMATCH = "The derived qualifier from the function name does not match the specified qualifier."


def sha256(archive: bytes) -> str:
    return b64encode(hashlib.sha256(archive).digest()).decode()


@pytest.mark.covers("CreateFunction", "GetFunction", "GetFunctionConfiguration", "DeleteFunction")
def test_a_function_comes_back_with_every_member_as_it_was_created(
    lambda_: Any, name: Callable[[], str], request: pytest.FixtureRequest
) -> None:
    fn, layer = name(), unique("layer")
    request.addfinalizer(lambda: lambda_.delete_layer_version(LayerName=layer, VersionNumber=1))
    layer_arn = lambda_.publish_layer_version(LayerName=layer, Content={"ZipFile": CODE})["LayerVersionArn"]
    wanted = {
        "Runtime": PYTHON_RUNTIME,
        "Handler": "app.handler",
        "Role": ROLE,
        "Description": "everything",
        "Timeout": 17,
        "MemorySize": 320,
        "Environment": {"Variables": {"COLOUR": "blue", "EMPTY": ""}},
        "DeadLetterConfig": {"TargetArn": f"arn:aws:sqs:{AT}:dead"},
        "KMSKeyArn": f"arn:aws:kms:{AT}:key/0190a5c4-0000-7000-8000-000000000001",
        "TracingConfig": {"Mode": "Active"},
        "Architectures": ["x86_64"],
        "EphemeralStorage": {"Size": 1024},
        "LoggingConfig": {"LogFormat": "JSON", "ApplicationLogLevel": "WARN", "LogGroup": "/mine/own"},
    }
    vpc = {"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"], "Ipv6AllowedForDualStack": True}
    made = lambda_.create_function(
        FunctionName=fn, Code={"ZipFile": CODE}, Layers=[layer_arn], Tags={"team": "x"}, VpcConfig=vpc, **wanted
    )
    assert status(made) == 201
    expected = {
        **wanted,
        "FunctionName": fn,
        "FunctionArn": arn(fn),
        "Version": "$LATEST",
        "CodeSize": len(CODE),
        "CodeSha256": sha256(CODE),
        "PackageType": "Zip",
        "SnapStart": {"ApplyOn": "None", "OptimizationStatus": "Off"},
        "Layers": [{"Arn": layer_arn, "CodeSize": len(CODE)}],
        "LoggingConfig": {**wanted["LoggingConfig"], "SystemLogLevel": "INFO"},  # type: ignore[dict-item]
    }
    changing = ("LastModified", "RevisionId", "RuntimeVersionConfig", "VpcConfig")
    started = {"State": "Pending", "StateReason": "The function is being created.", "StateReasonCode": "Creating"}
    assert {k: v for k, v in plain(made).items() if k not in changing} == {**expected, **started}
    assert made["VpcConfig"] == {**vpc, "VpcId": ""}, "there is no network service to say which"
    assert UUID.fullmatch(made["RevisionId"])

    read = settled(lambda_, fn)
    assert {k: v for k, v in read.items() if k not in changing} == {
        **expected,
        "State": "Active",
        "LastUpdateStatus": "Successful",
    }
    assert read["RevisionId"] != made["RevisionId"], "the creation's completion has a RevisionId of its own"
    for member in ("LastModified", "RuntimeVersionConfig", "VpcConfig"):
        assert read[member] == made[member]
    got = lambda_.get_function(FunctionName=arn(fn))
    assert (got["Configuration"], got["Tags"]) == (read, {"team": "x"})
    assert "Concurrency" not in got
    with urllib.request.urlopen(got["Code"]["Location"], timeout=10) as answer:
        assert answer.read() == CODE
    qualified = lambda_.get_function(FunctionName=fn, Qualifier="$LATEST")["Configuration"]
    assert qualified == {**read, "FunctionArn": arn(fn, "$LATEST")}

    refused(
        lambda_.create_function,
        CONFLICT,
        f"Function already exist: {fn}",
        FunctionName=fn,
        Code={"ZipFile": CODE},
        Runtime=PYTHON_RUNTIME,
        Handler="h",
        Role=ROLE,
    )
    for call in (lambda_.get_function, lambda_.get_function_configuration):
        refused(call, MISSING, f"Function not found: {arn('nope')}", FunctionName="nope")
        refused(call, MISSING, f"Function not found: {arn(fn, '7')}", FunctionName=fn, Qualifier="7")
        refused(call, MISSING, f"Function not found: {arn(fn, 'live')}", FunctionName=f"{fn}:live")
        refused(call, INVALID, MISMATCH, FunctionName=f"{fn}:1", Qualifier="2")
        elsewhere = arn(fn).replace("us-east-1", "eu-west-1")
        text = "Functions from 'eu-west-1' are not reachable in this region ('us-east-1')"
        refused(call, MISSING, text, FunctionName=elsewhere)
        pattern = lambda_.meta.service_model.shape_for("NumericLatestPublishedOrAliasQualifier").metadata["pattern"]
        text = invalid("qualifier", "a b", f"Member must satisfy regular expression pattern: {pattern}")
        refused(call, "ValidationException", text, FunctionName=fn, Qualifier="a b")
    delete = lambda_.delete_function
    refused(delete, MISSING, f"Function not found: {arn('nope')}", FunctionName="nope")
    text = "$LATEST version cannot be deleted without deleting the function."
    refused(delete, INVALID, text, FunctionName=fn, Qualifier="$LATEST")
    refused(delete, INVALID, "Deletion of aliases is not currently supported.", FunctionName=fn, Qualifier="live")
    refused(delete, INVALID, MISMATCH, FunctionName=f"{fn}:1", Qualifier="2")
    assert status(delete(FunctionName=fn, Qualifier="99")) == 204, "a version that is not there is gone already"
    assert status(delete(FunctionName=fn)) == 204
    refused(lambda_.get_function, MISSING, f"Function not found: {arn(fn)}", FunctionName=fn)


def test_the_defaults_of_a_minimal_function(lambda_: Any, name: Callable[[], str]) -> None:
    fn = name()
    made = create(lambda_, fn)
    assert set(plain(made)) == {
        *("FunctionName", "FunctionArn", "Runtime", "Role", "Handler", "CodeSize", "Description", "Timeout"),
        *("MemorySize", "LastModified", "CodeSha256", "Version", "TracingConfig", "RevisionId", "State", "StateReason"),
        *("StateReasonCode", "PackageType", "Architectures", "EphemeralStorage", "SnapStart", "RuntimeVersionConfig"),
        "LoggingConfig",
    }
    assert (made["Description"], made["Timeout"], made["MemorySize"]) == ("", 3, 128)
    assert made["TracingConfig"] == {"Mode": "PassThrough"}
    assert made["EphemeralStorage"] == {"Size": 512}
    assert made["LoggingConfig"] == {"LogFormat": "Text", "LogGroup": f"/aws/lambda/{fn}"}
    assert made["RuntimeVersionConfig"]["RuntimeVersionArn"].startswith("arn:aws:lambda:us-east-1::runtime:")
    assert set(settled(lambda_, fn)) == set(plain(made)) - {"StateReason", "StateReasonCode"} | {"LastUpdateStatus"}


def test_members_that_few_functions_have(lambda_: Any, name: Callable[[], str]) -> None:
    network = {"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"], "Ipv6AllowedForDualStack": False}
    mount = {
        "Arn": f"arn:aws:elasticfilesystem:{AT}:access-point/fsap-0123456789abcdef0",
        "LocalMountPath": "/mnt/shared",
    }
    key = f"arn:aws:kms:{AT}:key/k"
    for wanted in (
        {"FileSystemConfigs": [mount], "VpcConfig": {**network, "VpcId": ""}},
        {"TenancyConfig": {"TenantIsolationMode": "PER_TENANT"}},
        {"EphemeralStorage": {"Size": 10_240}, "MemorySize": 10_240, "Timeout": 900},
        {"LoggingConfig": {"LogFormat": "JSON", "SystemLogLevel": "DEBUG", "ApplicationLogLevel": "FATAL"}},
    ):
        fn = name()
        sent = {k: {n: v for n, v in w.items() if n != "VpcId"} if k == "VpcConfig" else w for k, w in wanted.items()}
        created = create(lambda_, fn, Code={"ZipFile": CODE, "SourceKMSKeyArn": key}, **sent)
        got = lambda_.get_function(FunctionName=fn)
        for answer in (created, settled(lambda_, fn), got["Configuration"]):
            for member, value in wanted.items():
                shown = answer[member]
                assert shown == (value if member != "LoggingConfig" else {**value, "LogGroup": f"/aws/lambda/{fn}"})
        assert got["Code"]["SourceKMSKeyArn"] == key


def test_snap_start_is_on_for_published_versions(lambda_: Any, name: Callable[[], str]) -> None:
    fn = name()
    snap = {"ApplyOn": "PublishedVersions"}
    made = create(lambda_, fn, Runtime=SNAPSTART_RUNTIME, SnapStart=snap)
    assert made["SnapStart"] == settled(lambda_, fn)["SnapStart"] == {**snap, "OptimizationStatus": "Off"}
    published = lambda_.publish_version(FunctionName=fn)
    assert (published["State"], published["SnapStart"]) == ("Pending", {**snap, "OptimizationStatus": "On"})
    lambda_.get_waiter("published_version_active").wait(FunctionName=fn, Qualifier="1", WaiterConfig=SOON)
    lambda_.update_function_configuration(FunctionName=fn, SnapStart={"ApplyOn": "None"})
    assert settled(lambda_, fn)["SnapStart"] == {"ApplyOn": "None", "OptimizationStatus": "Off"}
    version = lambda_.get_function_configuration(FunctionName=fn, Qualifier="1")
    assert version["SnapStart"] == {**snap, "OptimizationStatus": "On"}, "a version is what it was published as"


@pytest.mark.parametrize(
    ("code", "message", "members"),
    [
        (
            INVALID,
            "Runtime and Handler are mandatory parameters for functions created with deployment packages.",
            {"Handler": None},
        ),
        (INVALID, "Please provide a source for function code.", {"Code": {}}),
        (
            INVALID,
            "Please don't provide Handler or Runtime or Layer when the intended function PackageType is Image.",
            {"PackageType": "Image", "Code": {"ImageUri": "x"}},
        ),
        (
            INVALID,
            "Could not unzip uploaded file. Please check your file, then try to upload again.",
            {"Code": {"ZipFile": b"no zip"}},
        ),
        (INVALID, "Uploaded file must be a non-empty zip", {"Code": {"ZipFile": package({})}}),
        (
            INVALID,
            "The runtime parameter of nodejs12.x is no longer supported for creating or updating AWS Lambda functions. "
            "We recommend you use a supported runtime while creating or updating functions.",
            {"Runtime": "nodejs12.x"},
        ),
        (
            "ValidationException",
            invalid("architectures", "[x86_64, arm64]", "Member must have length less than or equal to 1"),
            {"Architectures": ["x86_64", "arm64"]},
        ),
        (
            "ValidationException",
            invalid(
                "role",
                "r1",
                "Member must satisfy regular expression pattern: "
                r"arn:(aws[a-zA-Z-]*)?:iam::\d{12}:role/?[a-zA-Z_0-9+=,.@\-_/]+",
            ),
            {"Role": "r1"},
        ),
        (
            "ValidationException",
            invalid("snapStart.applyOn", "Always", "Member must satisfy enum value set: [PublishedVersions, None]"),
            {"SnapStart": {"ApplyOn": "Always"}},
        ),
        (
            INVALID,
            "'MemorySize' value failed to satisfy constraint: Member must have value less than or equal to 10240",
            {"MemorySize": 10_241},
        ),
        (
            INVALID,
            "'Timeout' value failed to satisfy constraint: Member must have value less than or equal to 900",
            {"Timeout": 901},
        ),
        (
            INVALID,
            "Lambda was unable to configure your environment variables because the environment variables you have "
            "provided contains reserved keys that are currently not supported for modification. Reserved keys used in "
            "this request: AWS_REGION",
            {"Environment": {"Variables": {"AWS_REGION": "x"}}},
        ),
        (
            INVALID,
            'LogLevel is not supported when LogFormat is set to "Text". Remove LogLevel from your request or change '
            'the LogFormat to "JSON" and try again.',
            {"LoggingConfig": {"LogFormat": "Text", "SystemLogLevel": "WARN"}},
        ),
        (
            INVALID,
            "SubnetIds and SecurityIds must coexist or be both empty list.",
            {"VpcConfig": {"SubnetIds": ["subnet-1"]}},
        ),
        (
            INVALID,
            "nodejs20.x is not supported for SnapStart enabled functions.",
            {"Runtime": "nodejs20.x", "SnapStart": {"ApplyOn": "PublishedVersions"}},
        ),
        (
            INVALID,
            f"Layer version arn:aws:lambda:{AT}:layer:nope:1 does not exist.",
            {"Layers": [f"arn:aws:lambda:{AT}:layer:nope:1"]},
        ),
        (
            "CodeSigningConfigNotFoundException",
            "The code signing configuration cannot be found. Check that the provided configuration is not deleted: "
            f"arn:aws:lambda:{AT}:code-signing-config:csc-0123456789abcdefg.",
            {"CodeSigningConfigArn": f"arn:aws:lambda:{AT}:code-signing-config:csc-0123456789abcdefg"},
        ),
        (
            INVALID,
            "You cannot create a function with a durable configuration without an executionTimeout",
            {"DurableConfig": {"RetentionPeriodInDays": 3}},
        ),
    ],
)
def test_refused_creations(lambda_: Any, code: str, message: str, members: dict[str, Any]) -> None:
    fn = unique("refused")
    whole = {"Runtime": PYTHON_RUNTIME, "Handler": "app.handler", "Role": ROLE, "Code": {"ZipFile": CODE}, **members}
    given = {member: value for member, value in whole.items() if value is not None}
    refused(lambda_.create_function, code, message, FunctionName=fn, **given)
    refused(lambda_.get_function, MISSING, f"Function not found: {arn(fn)}", FunctionName=fn)


@pytest.mark.covers("UpdateFunctionConfiguration")
def test_an_updated_configuration_is_read_back_member_by_member(lambda_: Any, name: Callable[[], str]) -> None:
    fn = name()
    create(lambda_, fn, Environment={"Variables": {"AA": "1", "BB": "2"}}, Tags={"k": "v"})
    before = settled(lambda_, fn)
    update = lambda_.update_function_configuration
    wanted = {
        "Role": ROLE.replace("/test", "/other"),
        "Handler": "other.handler",
        "Description": "changed",
        "Timeout": 900,
        "MemorySize": 10_240,
        "Runtime": "provided.al2023",
        "Environment": {"Variables": {"CC": "3"}},
        "DeadLetterConfig": {"TargetArn": f"arn:aws:sns:{AT}:dead"},
        "KMSKeyArn": f"arn:aws:kms:{AT}:key/k",
        "TracingConfig": {"Mode": "Active"},
        "EphemeralStorage": {"Size": 10_240},
    }
    changed = update(FunctionName=fn, RevisionId=before["RevisionId"], **wanted)
    progress = {"State", "LastUpdateStatus", "LastUpdateStatusReason", "LastUpdateStatusReasonCode"}
    assert {k: changed[k] for k in progress} == {
        "State": "Active",
        "LastUpdateStatus": "InProgress",
        "LastUpdateStatusReason": "The function is being created.",
        "LastUpdateStatusReasonCode": "Creating",
    }
    read = settled(lambda_, fn)
    assert {k: read[k] for k in wanted} == wanted
    same = set(before) - set(wanted) - {"LastModified", "RevisionId", "RuntimeVersionConfig"}
    assert {k: read[k] for k in same} == {k: before[k] for k in same}
    assert len({one["RevisionId"] for one in (before, changed, read)}) == 3
    assert read["RuntimeVersionConfig"] != before["RuntimeVersionConfig"]

    update(
        FunctionName=fn,
        DeadLetterConfig={"TargetArn": ""},
        KMSKeyArn="",
        Environment={"Variables": {}},
        Description="",
        LoggingConfig={"LogFormat": "JSON"},
        VpcConfig={"SubnetIds": [], "SecurityGroupIds": []},
        Layers=[],
    )
    read = settled(lambda_, fn)
    assert not read.keys() & {"DeadLetterConfig", "KMSKeyArn", "Layers", "VpcConfig"}
    assert read.get("Environment") in (None, {"Variables": {}})
    assert read["Description"] == ""
    levels = {"LogFormat": "JSON", "ApplicationLogLevel": "INFO", "SystemLogLevel": "INFO"}
    assert read["LoggingConfig"] == {**levels, "LogGroup": f"/aws/lambda/{fn}"}
    update(FunctionName=fn, LoggingConfig={"LogFormat": "Text", "LogGroup": "/x"}, DeadLetterConfig={})
    assert settled(lambda_, fn)["LoggingConfig"] == {"LogFormat": "Text", "LogGroup": "/x"}
    update(FunctionName=fn, VpcConfig={"SubnetIds": ["subnet-a"], "SecurityGroupIds": ["sg-a"]})
    assert settled(lambda_, fn)["VpcConfig"]["SubnetIds"] == ["subnet-a"]
    update(FunctionName=fn, VpcConfig={"SubnetIds": [], "SecurityGroupIds": []})
    detached = {"SubnetIds": [], "SecurityGroupIds": [], "VpcId": "", "Ipv6AllowedForDualStack": False}
    assert settled(lambda_, fn)["VpcConfig"] == detached

    refused(update, MISSING, f"Function not found: {arn('nope')}", FunctionName="nope", Timeout=3)
    refused(update, "PreconditionFailedException", STALE, FunctionName=fn, RevisionId="stale")
    text = "'Timeout' value failed to satisfy constraint: Member must have value less than or equal to 900"
    refused(update, INVALID, text, FunctionName=fn, Timeout=901)
    text = "SubnetIds and SecurityIds must coexist or be both empty list."
    refused(update, INVALID, text, FunctionName=fn, VpcConfig={"SecurityGroupIds": ["sg-1"]})
    text = "CapacityProviderConfig isn't supported for Lambda Default functions."
    provider = {"CapacityProviderArn": f"arn:aws:lambda:{AT}:capacity-provider:p"}
    config = {"LambdaManagedInstancesCapacityProviderConfig": provider}
    refused(update, INVALID, text, FunctionName=fn, CapacityProviderConfig=config)
    text = invalid("handler", "a b", r"Member must satisfy regular expression pattern: [^\s]+")
    refused(update, "ValidationException", text, FunctionName=fn, Handler="a b")


@pytest.mark.covers("UpdateFunctionCode", "PublishVersion", "ListVersionsByFunction")
def test_code_and_versions(lambda_: Any, name: Callable[[], str]) -> None:
    fn = name()
    create(lambda_, fn, Description="of the function")
    latest = settled(lambda_, fn)
    update, publish = lambda_.update_function_code, lambda_.publish_version
    dry = update(FunctionName=fn, ZipFile=OTHER_CODE, DryRun=True)
    assert dry["CodeSha256"] == sha256(OTHER_CODE)
    assert plain(lambda_.get_function_configuration(FunctionName=fn)) == latest

    one = publish(FunctionName=fn, CodeSha256=sha256(CODE), RevisionId=latest["RevisionId"], Description="one")
    assert (status(one), one["Version"], one["FunctionArn"], one["Description"]) == (201, "1", arn(fn, "1"), "one")
    assert (one["State"], one["LastUpdateStatus"]) == ("Active", "Successful")
    assert plain(lambda_.get_function_configuration(FunctionName=fn, Qualifier="1")) == plain(one)
    assert publish(FunctionName=fn, Description="again")["RevisionId"] == one["RevisionId"], "nothing has changed"
    changed = update(FunctionName=fn, ZipFile=OTHER_CODE, Architectures=["x86_64"])
    assert (changed["LastUpdateStatus"], changed["CodeSize"]) == ("InProgress", len(OTHER_CODE))
    read = settled(lambda_, fn)
    assert (read["CodeSha256"], read["Description"]) == (sha256(OTHER_CODE), "of the function")
    third = package({"app.py": "handler = None\n"})
    two = update(FunctionName=fn, ZipFile=third, Publish=True, RevisionId=read["RevisionId"])
    assert (two["Version"], two["FunctionArn"]) == ("2", arn(fn, "2"))
    assert (two["State"], two["StateReasonCode"]) == ("Pending", "Creating")
    waiter = lambda_.get_waiter("published_version_active")
    waiter.wait(FunctionName=fn, Qualifier="2", WaiterConfig=SOON)
    pages = list(lambda_.get_paginator("list_versions_by_function").paginate(FunctionName=fn, PaginationConfig=IN_TWOS))
    assert [len(page["Versions"]) for page in pages] == [2, 1]
    listed = [item for page in pages for item in page["Versions"]]
    assert [item["Version"] for item in listed] == ["$LATEST", "1", "2"]
    assert [item["FunctionArn"] for item in listed] == [arn(fn, version) for version in ("$LATEST", "1", "2")]
    unlisted = {"State", "LastUpdateStatus", "RuntimeVersionConfig"}
    assert listed[1] == {k: v for k, v in plain(one).items() if k not in unlisted}

    missing = f"Function not found: {arn('nope')}"
    refused(update, MISSING, missing, FunctionName="nope", ZipFile=CODE)
    refused(update, "PreconditionFailedException", STALE, FunctionName=fn, ZipFile=CODE, RevisionId="stale")
    text = "Could not unzip uploaded file. Please check your file, then try to upload again."
    refused(update, INVALID, text, FunctionName=fn, ZipFile=b"no zip")
    text = invalid("publishTo", "MAIN", "Member must satisfy enum value set: [LATEST_PUBLISHED]")
    refused(update, "ValidationException", text, FunctionName=fn, ZipFile=CODE, PublishTo="MAIN")
    text = "Zipped size must be smaller than 52428800 bytes"
    refused(update, "RequestEntityTooLargeException", text, FunctionName=fn, ZipFile=bytes(52_428_801))
    refused(publish, MISSING, missing, FunctionName="nope")
    refused(publish, "PreconditionFailedException", STALE, FunctionName=fn, RevisionId="stale")
    text = (
        f"CodeSHA256 (x) is different from current CodeSHA256 in $LATEST ({sha256(third)}). Please try again with the "
        "CodeSHA256 in $LATEST."
    )
    refused(publish, INVALID, text, FunctionName=fn, CodeSha256="x")
    refused(lambda_.list_versions_by_function, MISSING, missing, FunctionName="nope")
    text = invalid("maxItems", 10_001, "Member must have value less than or equal to 10000")
    refused(lambda_.list_versions_by_function, "ValidationException", text, FunctionName=fn, MaxItems=10_001)


@pytest.mark.covers("ListFunctions")
def test_functions_are_listed(lambda_: Any, name: Callable[[], str]) -> None:
    names = sorted(name() for _ in range(3))
    for one in names:
        create(lambda_, one, Publish=True)
        settled(lambda_, one)
    listed = lambda_.list_functions()["Functions"]
    assert [item["FunctionName"] for item in listed] == names
    whole = lambda_.get_function_configuration(FunctionName=names[0])
    unlisted = {"State", "LastUpdateStatus", "RuntimeVersionConfig"}
    assert listed[0] == {k: v for k, v in plain(whole).items() if k not in unlisted}
    everything = lambda_.get_paginator("list_functions").paginate(FunctionVersion="ALL", PaginationConfig=IN_TWOS)
    pages = [page["Functions"] for page in everything]
    assert [len(page) for page in pages] == [2, 2, 2]
    assert [item["FunctionArn"] for page in pages for item in page] == [
        arn(one, version) for one in names for version in ("$LATEST", "1")
    ]
    assert lambda_.list_functions(MasterRegion="eu-west-1", FunctionVersion="ALL")["Functions"] == []
    text = invalid("functionVersion", "SOME", "Member must satisfy enum value set: [ALL]")
    refused(lambda_.list_functions, "ValidationException", text, FunctionVersion="SOME")
    with pytest.raises(lambda_.exceptions.InvalidParameterValueException):
        lambda_.list_functions(Marker="not a marker")
    with pytest.raises(lambda_.exceptions.InvalidParameterValueException):
        lambda_.list_functions(MasterRegion="eu-west-1")


@pytest.mark.covers("PutFunctionConcurrency", "GetFunctionConcurrency", "DeleteFunctionConcurrency")
def test_reserved_concurrency_and_account_settings(lambda_: Any, name: Callable[[], str]) -> None:
    fn = name()
    before = plain(lambda_.get_account_settings())
    assert before["AccountLimit"] == {
        "TotalCodeSize": 322_122_547_200,
        "CodeSizeUnzipped": 262_144_000,
        "CodeSizeZipped": 52_428_800,
        "ConcurrentExecutions": 1000,
        "UnreservedConcurrentExecutions": 1000,
    }
    assert before["AccountUsage"] == {"TotalCodeSize": 0, "FunctionCount": 0}
    create(lambda_, fn, Publish=True)
    put, get = lambda_.put_function_concurrency, lambda_.get_function_concurrency
    assert plain(get(FunctionName=fn)) == {}
    for reserved in (0, 7, 900):
        wanted = {"ReservedConcurrentExecutions": reserved}
        assert plain(put(FunctionName=fn, **wanted)) == wanted
        assert plain(get(FunctionName=arn(fn))) == wanted
        assert lambda_.get_function(FunctionName=fn)["Concurrency"] == wanted
        assert "Concurrency" not in lambda_.get_function(FunctionName=fn, Qualifier="1")
    after = lambda_.get_account_settings()
    assert after["AccountLimit"]["UnreservedConcurrentExecutions"] == 100
    assert after["AccountUsage"] == {"TotalCodeSize": 2 * len(CODE), "FunctionCount": 1}
    text = (
        "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its "
        "minimum value of [100]."
    )
    refused(put, INVALID, text, has_type=False, FunctionName=fn, ReservedConcurrentExecutions=901)
    missing = f"Function not found: {arn('nope')}"
    refused(put, MISSING, f"{missing}:$LATEST", FunctionName="nope", ReservedConcurrentExecutions=1)
    refused(get, MISSING, missing, FunctionName="nope")
    for call, members in (
        (put, {"ReservedConcurrentExecutions": 1}),
        (get, {}),
        (lambda_.delete_function_concurrency, {}),
    ):
        text = (
            "This operation is permitted on Lambda functions only. Aliases and versions do not support this operation. "
            "Please specify either a function name or an unqualified function ARN."
        )
        refused(call, INVALID, text, FunctionName=f"{fn}:1", **members)
    for _ in range(2):
        assert status(lambda_.delete_function_concurrency(FunctionName=fn)) == 204
    assert plain(get(FunctionName=fn)) == {}
    assert "Concurrency" not in lambda_.get_function(FunctionName=fn)


@pytest.mark.covers("InvokeWithResponseStream")
def test_invoking_for_a_stream(lambda_: Any, name: Callable[[], str]) -> None:
    fn = name()
    create(lambda_, fn)
    settled(lambda_, fn)
    with closing(lambda_.invoke_with_response_stream(FunctionName=fn, Payload=b"{}")["EventStream"]) as stream:
        assert "InvokeComplete" in list(stream)[-1]
    with pytest.raises(lambda_.exceptions.ResourceNotFoundException):
        lambda_.invoke_with_response_stream(FunctionName="not-there")


@pytest.mark.covers("Invoke", "InvokeAsync")
def test_invocations(lambda_: Any, name: Callable[[], str]) -> None:
    fn = name()
    text = "import json\ndef handler(event, context):\n    if event == 'fail':\n        raise ValueError('no')\n"
    echo = f"{text}    return [event, context.function_version, context.client_context and context.client_context.custom]\n"
    create(lambda_, fn, Code={"ZipFile": package({"app.py": echo})}, Publish=True)
    settled(lambda_, fn)
    context = b64encode(json.dumps({"custom": {"a": "b"}}).encode()).decode()
    answer = lambda_.invoke(FunctionName=fn, Payload=b'{"n": 1}', LogType="Tail", ClientContext=context)
    assert (answer["StatusCode"], answer["ExecutedVersion"]) == (200, "$LATEST")
    assert json.loads(answer["Payload"].read()) == [{"n": 1}, "$LATEST", {"a": "b"}]
    assert "FunctionError" not in answer
    assert answer["LogResult"]
    answer = lambda_.invoke(FunctionName=f"{fn}:1", Payload=b'"fail"')
    assert (answer["StatusCode"], answer["FunctionError"], answer["ExecutedVersion"]) == (200, "Unhandled", "1")
    assert json.loads(answer["Payload"].read())["errorType"] == "ValueError"
    answer = lambda_.invoke(FunctionName=fn, InvocationType="DryRun")
    assert (answer["StatusCode"], answer["Payload"].read()) == (204, b"")
    answer = lambda_.invoke(FunctionName=fn, InvocationType="Event", Payload=b"{}")
    assert (answer["StatusCode"], answer["Payload"].read()) == (202, b"")
    assert lambda_.invoke_async(FunctionName=fn, InvokeArgs=b"{}")["Status"] == 202

    refused(lambda_.invoke, MISSING, f"Function not found: {arn('nope')}:$LATEST", FunctionName="nope")
    refused(lambda_.invoke, MISSING, f"Function not found: {arn(fn, '9')}", FunctionName=fn, Qualifier="9")
    refused(lambda_.invoke, INVALID, MISMATCH, FunctionName=f"{fn}:1", Qualifier="2")
    with pytest.raises(
        lambda_.exceptions.InvalidRequestContentException, match="Could not parse request body into json: "
    ):
        lambda_.invoke(FunctionName=fn, Payload=b"{")
    text = invalid("invocationType", "Later", "Member must satisfy enum value set: [Event, RequestResponse, DryRun]")
    refused(lambda_.invoke, "ValidationException", text, FunctionName=fn, InvocationType="Later")
    lambda_.put_function_concurrency(FunctionName=fn, ReservedConcurrentExecutions=0)
    with pytest.raises(lambda_.exceptions.TooManyRequestsException) as throttled:
        lambda_.invoke(FunctionName=fn)
    assert throttled.value.response["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded"
    text = f"Function not found: {arn('nope')}:$LATEST"
    refused(lambda_.invoke_async, MISSING, text, FunctionName="nope", InvokeArgs=b"{}")


def test_all_six_waiters(lambda_: Any, name: Callable[[], str]) -> None:
    fn, other, config = name(), name(), {"WaiterConfig": SOON}
    create(lambda_, fn, Publish=True)
    for waiter in (
        "function_exists",
        "function_active",
        "function_active_v2",
        "function_updated",
        "function_updated_v2",
    ):
        lambda_.get_waiter(waiter).wait(FunctionName=fn, **config)
    lambda_.get_waiter("published_version_active").wait(FunctionName=fn, Qualifier="1", **config)
    assert sorted(lambda_.waiter_names) == [
        *("function_active", "function_active_v2", "function_exists", "function_updated", "function_updated_v2"),
        "published_version_active",
    ]
    foreign = "x86_64" if platform.machine() == "aarch64" else "arm64"
    create(lambda_, other, Architectures=[foreign])
    for waiter in ("function_active_v2", "function_updated", "published_version_active"):
        with pytest.raises(WaiterError, match="terminal failure state") as failed:
            lambda_.get_waiter(waiter).wait(FunctionName=other, **config)
        last = failed.value.last_response
        assert f"the function is for {foreign}" in last.get("Configuration", last)["StateReason"]
    assert last["Architectures"] == [foreign]
    with pytest.raises(WaiterError, match=r"Function not found: .*:nope") as failed:
        lambda_.get_waiter("function_active_v2").wait(FunctionName="nope", **config)
    assert failed.value.last_response["Error"]["Code"] == MISSING
    with pytest.raises(WaiterError, match="Max attempts exceeded"):
        lambda_.get_waiter("function_exists").wait(FunctionName="nope", WaiterConfig={"Delay": 0, "MaxAttempts": 3})
