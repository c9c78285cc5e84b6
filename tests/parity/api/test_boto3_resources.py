"""What stands beside functions, operation by operation through boto3: layers, event source mappings, code signing
configurations."""

from __future__ import annotations

import hashlib
import json
import urllib.request
from base64 import b64encode
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.parity.api.judged import ACCOUNT, AT, CODE, OTHER_CODE, UUID, arn, create, invalid, plain, refused, status
from tests.support import unique

INVALID, MISSING, CONFLICT = "InvalidParameterValueException", "ResourceNotFoundException", "ResourceConflictException"
GONE = "The resource you requested does not exist."
GET_LAYER = "lambda:GetLayerVersion"
PROFILE = f"arn:aws:signer:{AT}:/signing-profiles/mine/abcdefghij"
NO_CONFIG = f"arn:aws:lambda:{AT}:code-signing-config:csc-0123456789abcdefg"


@pytest.fixture
def layer(lambda_: Any) -> Iterator[str]:
    """The name of a layer whose versions are gone afterwards."""
    made = unique("layer")
    yield made
    for version in lambda_.list_layer_versions(LayerName=made)["LayerVersions"]:
        lambda_.delete_layer_version(LayerName=made, VersionNumber=version["Version"])


@pytest.mark.covers(
    *("PublishLayerVersion", "GetLayerVersion", "GetLayerVersionByArn", "ListLayerVersions", "ListLayers"),
    "DeleteLayerVersion",
)
def test_layers(lambda_: Any, layer: str) -> None:
    publish, get, by_arn = lambda_.publish_layer_version, lambda_.get_layer_version, lambda_.get_layer_version_by_arn
    layer_arn = f"arn:aws:lambda:{AT}:layer:{layer}"
    wanted = {
        "Description": "d",
        "CompatibleRuntimes": ["python3.11", "nodejs20.x"],
        "CompatibleArchitectures": ["x86_64", "arm64"],
        "LicenseInfo": "Apache-2.0",
    }
    made = publish(LayerName=layer, Content={"ZipFile": CODE}, **wanted)
    assert status(made) == 201
    assert {k: made[k] for k in wanted} == wanted
    assert (made["Version"], made["LayerArn"], made["LayerVersionArn"]) == (1, layer_arn, f"{layer_arn}:1")
    content = {"CodeSize": len(CODE), "CodeSha256": b64encode(hashlib.sha256(CODE).digest()).decode()}
    assert {k: v for k, v in made["Content"].items() if k != "Location"} == content
    for got in (get(LayerName=layer, VersionNumber=1), by_arn(Arn=f"{layer_arn}:1")):
        with urllib.request.urlopen(got["Content"].pop("Location"), timeout=10) as answer:
            assert answer.read() == CODE
        assert plain(got) == {**plain(made), "Content": content}
    bare = publish(LayerName=layer_arn, Content={"ZipFile": OTHER_CODE}, CompatibleRuntimes=[])
    assert (bare["Version"], bare["Description"], bare["CompatibleRuntimes"]) == (2, "", [])
    assert not bare.keys() & {"CompatibleArchitectures", "LicenseInfo"}
    shown = {k: v for k, v in plain(made).items() if k not in ("Content", "LayerArn")}
    versions = lambda_.list_layer_versions
    assert versions(LayerName=layer, CompatibleRuntime="python3.11")["LayerVersions"] == [shown]
    assert versions(LayerName=layer, CompatibleArchitecture="arm64")["LayerVersions"] == [shown]
    assert versions(LayerName=layer, CompatibleRuntime="ruby3.3")["LayerVersions"] == []
    assert versions(LayerName="nope")["LayerVersions"] == []
    pages = lambda_.get_paginator("list_layer_versions").paginate(LayerName=layer, PaginationConfig={"PageSize": 1})
    assert [[one["Version"] for one in page["LayerVersions"]] for page in pages] == [[2], [1]]
    (listed,) = lambda_.list_layers(CompatibleRuntime="python3.11")["Layers"]
    assert listed == {"LayerName": layer, "LayerArn": layer_arn, "LatestMatchingVersion": shown}
    pages = lambda_.get_paginator("list_layers").paginate(PaginationConfig={"PageSize": 1})
    assert [one["LatestMatchingVersion"]["Version"] for page in pages for one in page["Layers"]] == [2]

    text = "Could not unzip uploaded file. Please check your file, then try to upload again."
    refused(publish, INVALID, text, LayerName=layer, Content={"ZipFile": b"no zip"})
    text = invalid(
        "compatibleArchitectures",
        "[mips]",
        "Member must satisfy constraint: [Member must satisfy enum value set: [x86_64, arm64], Member must not be null]",
    )
    bad = {"Content": {"ZipFile": CODE}, "CompatibleArchitectures": ["mips"]}
    refused(publish, "ValidationException", text, LayerName=layer, **bad)
    refused(get, MISSING, GONE, LayerName=layer, VersionNumber=9)
    refused(get, MISSING, GONE, LayerName="nope", VersionNumber=1)
    for call in (get, lambda_.delete_layer_version):
        refused(call, INVALID, "Layer Version Cannot be less than 1", LayerName=layer, VersionNumber=0)
    refused(by_arn, MISSING, GONE, Arn=f"{layer_arn}:9")
    pattern = (
        r"(arn:(aws[a-zA-Z-]*)?:lambda:(eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:\d{12}:layer:"
        r"[a-zA-Z0-9-_]+:[0-9]+)|(arn:[a-zA-Z0-9-]+:lambda:::awslayer:[a-zA-Z0-9-_]+)"
    )
    text = invalid("arn", layer_arn, f"Member must satisfy regular expression pattern: {pattern}")
    refused(by_arn, "ValidationException", text, Arn=layer_arn)
    text = invalid("compatibleArchitecture", "mips", "Member must satisfy enum value set: [x86_64, arm64]")
    refused(versions, "ValidationException", text, LayerName=layer, CompatibleArchitecture="mips")
    refused(lambda_.list_layers, "ValidationException", text, CompatibleArchitecture="mips")
    for _ in range(2):
        assert status(lambda_.delete_layer_version(LayerName=layer, VersionNumber=2)) == 204
    assert publish(LayerName=layer, Content={"ZipFile": CODE})["Version"] == 3, "numbers are never used again"


@pytest.mark.covers("AddLayerVersionPermission", "GetLayerVersionPolicy", "RemoveLayerVersionPermission")
def test_layer_policies(lambda_: Any, layer: str) -> None:
    add, get = lambda_.add_layer_version_permission, lambda_.get_layer_version_policy
    remove = lambda_.remove_layer_version_permission
    version = lambda_.publish_layer_version(LayerName=layer, Content={"ZipFile": CODE})["LayerVersionArn"]
    which = {"LayerName": layer, "VersionNumber": 1}
    allow = {"StatementId": "org", "Action": GET_LAYER, "Principal": "*", "OrganizationId": "o-1234567890"}
    made = add(**which, **allow)
    assert status(made) == 201
    statement = json.loads(made["Statement"])
    assert statement == {
        "Sid": "org",
        "Effect": "Allow",
        "Principal": "*",
        "Action": GET_LAYER,
        "Resource": version,
        "Condition": {"StringEquals": {"aws:PrincipalOrgID": "o-1234567890"}},
    }
    read = get(**which)
    assert json.loads(read["Policy"]) == {"Version": "2012-10-17", "Id": "default", "Statement": [statement]}
    assert read["RevisionId"] == made["RevisionId"]
    one = {"StatementId": "one", "Action": GET_LAYER, "Principal": "111122223333"}
    second = add(**which, RevisionId=made["RevisionId"], **one)
    assert json.loads(second["Statement"])["Principal"] == {"AWS": "arn:aws:iam::111122223333:root"}

    text = "The statement id (one) provided already exists. Please provide a new statement id, or remove the existing statement."
    refused(add, CONFLICT, text, **which, **one)
    stale = (
        "The Revision Id provided does not match the latest Revision Id. Call the GetLayerPolicy API to retrieve the "
        "latest Revision Id"
    )
    new = {**one, "StatementId": "new"}
    refused(add, "PreconditionFailedException", stale, **which, RevisionId=made["RevisionId"], **new)
    text = invalid("action", "lambda:*", f"Member must satisfy regular expression pattern: {GET_LAYER}")
    refused(add, "ValidationException", text, **which, **{**new, "Action": "lambda:*"})
    nowhere = {"LayerName": layer, "VersionNumber": 9}
    text = f"Layer version {version[:-1]}9 does not exist."
    refused(add, MISSING, text, **nowhere, **new)
    refused(get, MISSING, text, **nowhere)
    refused(remove, MISSING, text, **nowhere, StatementId="one")
    refused(remove, MISSING, "Statement s is not found in resource policy.", **which, StatementId="s")
    refused(remove, "PreconditionFailedException", stale, **which, StatementId="one", RevisionId="stale")
    assert status(remove(**which, StatementId="one", RevisionId=second["RevisionId"])) == 204
    remove(**which, StatementId="org")
    refused(get, MISSING, "No policy is associated with the given resource.", **which)


@pytest.mark.covers(
    *("CreateEventSourceMapping", "GetEventSourceMapping", "ListEventSourceMappings", "UpdateEventSourceMapping"),
    "DeleteEventSourceMapping",
)
def test_event_source_mappings(lambda_: Any, name: Callable[[], str], request: pytest.FixtureRequest) -> None:
    make, get, update = (
        lambda_.create_event_source_mapping,
        lambda_.get_event_source_mapping,
        lambda_.update_event_source_mapping,
    )
    listing, delete = lambda_.list_event_source_mappings, lambda_.delete_event_source_mapping
    fn = name()
    create(lambda_, fn, Publish=True)
    request.addfinalizer(lambda: [delete(UUID=one["UUID"]) for one in listing()["EventSourceMappings"]])
    stream, queue = f"arn:aws:kinesis:{AT}:stream/s", f"arn:aws:sqs:{AT}:q"
    wanted = {
        "EventSourceArn": stream,
        "BatchSize": 500,
        "FilterCriteria": {"Filters": [{"Pattern": '{"data":{"kind":["order"]}}'}]},
        "KMSKeyArn": f"arn:aws:kms:{AT}:key/k",
        "MetricsConfig": {"Metrics": ["EventCount"]},
        "MaximumBatchingWindowInSeconds": 300,
        "ParallelizationFactor": 10,
        "StartingPosition": "AT_TIMESTAMP",
        "StartingPositionTimestamp": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        "DestinationConfig": {"OnFailure": {"Destination": queue}},
        "MaximumRecordAgeInSeconds": 60,
        "BisectBatchOnFunctionError": True,
        "MaximumRetryAttempts": 0,
        "TumblingWindowInSeconds": 900,
        "FunctionResponseTypes": ["ReportBatchItemFailures"],
    }
    made = make(FunctionName=f"{fn}:1", Tags={"team": "x"}, **wanted)
    assert (status(made), made["State"], made["StateTransitionReason"]) == (202, "Creating", "User action")
    assert {k: made[k] for k in wanted} == wanted
    assert made["FunctionArn"] == arn(fn, "1")
    assert UUID.fullmatch(made["UUID"])
    read = plain(get(UUID=made["UUID"]))
    assert read == {**plain(made), "State": "Enabled"}
    assert lambda_.list_tags(Resource=made["EventSourceMappingArn"])["Tags"] == {"team": "x"}
    sqs = make(FunctionName=fn, EventSourceArn=queue, Enabled=False, ScalingConfig={"MaximumConcurrency": 2})
    assert (sqs["State"], sqs["StateTransitionReason"], sqs["BatchSize"]) == ("Disabled", "USER_INITIATED", 10)
    assert sqs["ScalingConfig"] == {"MaximumConcurrency": 2}
    pages = lambda_.get_paginator("list_event_source_mappings").paginate(PaginationConfig={"PageSize": 1})
    listed = [page["EventSourceMappings"] for page in pages]
    assert [len(page) for page in listed] == [1, 1]
    assert sorted(one["UUID"] for page in listed for one in page) == sorted([made["UUID"], sqs["UUID"]])
    unencrypted = {k: v for k, v in read.items() if k != "FilterCriteria"}
    assert listing(EventSourceArn=stream)["EventSourceMappings"] == [unencrypted], "lists decrypt nothing"
    assert listing(FunctionName="nope")["EventSourceMappings"] == []
    changes = {"FunctionName": fn, "Enabled": False, "BatchSize": 1, "FilterCriteria": {}, "KMSKeyArn": ""}
    changed = update(UUID=made["UUID"], **changes)
    assert (status(changed), changed["State"], changed["BatchSize"]) == (202, "Disabling", 1)
    assert changed["FunctionArn"] == arn(fn)
    assert not changed.keys() & {"FilterCriteria", "KMSKeyArn"}
    same = set(wanted) - {"BatchSize", "FilterCriteria", "KMSKeyArn"}
    assert {k: changed[k] for k in same} == {k: wanted[k] for k in same}
    assert plain(get(UUID=made["UUID"])) == {**plain(changed), "State": "Disabled"}
    assert "ScalingConfig" not in update(UUID=sqs["UUID"], ScalingConfig={})

    refused(make, INVALID, "Unrecognized event source.", FunctionName=fn)
    refused(make, INVALID, "Function does not exist", FunctionName="nope", EventSourceArn=queue)
    text = f"{invalid('startingPosition', None, 'Member must not be null')}."
    refused(make, INVALID, text, FunctionName=fn, EventSourceArn=f"{stream}2")
    text = invalid(
        "startingPosition", "NOW", "Member must satisfy enum value set: [LATEST, AT_TIMESTAMP, TRIM_HORIZON]"
    )
    refused(make, "ValidationException", text, FunctionName=fn, EventSourceArn=stream, StartingPosition="NOW")
    text = (
        f'An event source mapping with SQS arn (" {queue} ") and function (" {fn} ") already exists. Please update or '
        f"delete the existing mapping with UUID {sqs['UUID']}"
    )
    refused(make, CONFLICT, text, FunctionName=fn, EventSourceArn=queue)
    text = "Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than 10"
    refused(make, INVALID, text, FunctionName=fn, EventSourceArn=f"{queue}2", BatchSize=11)
    refused(update, INVALID, text, UUID=sqs["UUID"], BatchSize=11)
    pattern = {"Filters": [{"Pattern": "no json"}]}
    text = "Invalid filter pattern definition."
    refused(make, INVALID, text, FunctionName=fn, EventSourceArn=f"{queue}2", FilterCriteria=pattern)
    text = "Batching window is not supported for FIFO queues"
    fifo = {"EventSourceArn": f"{queue}.fifo", "MaximumBatchingWindowInSeconds": 1}
    refused(make, INVALID, text, FunctionName=fn, **fifo)
    unknown = "0190a5c4-0000-4000-8000-000000000001"
    for call in (get, update, delete):
        refused(call, MISSING, GONE, UUID=unknown)
    text = invalid("maxItems", 10_001, "Member must have value less than or equal to 10000")
    refused(listing, "ValidationException", text, MaxItems=10_001)
    deleted = delete(UUID=made["UUID"])
    assert (status(deleted), deleted["State"]) == (202, "Deleting")
    refused(get, MISSING, GONE, UUID=made["UUID"])


@pytest.mark.covers(
    *("CreateCodeSigningConfig", "GetCodeSigningConfig", "UpdateCodeSigningConfig", "DeleteCodeSigningConfig"),
    *("ListFunctionsByCodeSigningConfig", "ListCodeSigningConfigs", "PutFunctionCodeSigningConfig"),
    *("GetFunctionCodeSigningConfig", "DeleteFunctionCodeSigningConfig"),
)
def test_code_signing_configurations(lambda_: Any, name: Callable[[], str], request: pytest.FixtureRequest) -> None:
    make, get = lambda_.create_code_signing_config, lambda_.get_code_signing_config
    update, delete = lambda_.update_code_signing_config, lambda_.delete_code_signing_config
    put, attached = lambda_.put_function_code_signing_config, lambda_.get_function_code_signing_config
    detach, by_config = lambda_.delete_function_code_signing_config, lambda_.list_functions_by_code_signing_config
    listing = lambda_.list_code_signing_configs
    fn = name()
    create(lambda_, fn)

    def remove() -> None:
        for one in listing()["CodeSigningConfigs"]:
            for function in by_config(CodeSigningConfigArn=one["CodeSigningConfigArn"])["FunctionArns"]:
                detach(FunctionName=function)
            delete(CodeSigningConfigArn=one["CodeSigningConfigArn"])

    request.addfinalizer(remove)
    wanted = {
        "Description": "d",
        "AllowedPublishers": {"SigningProfileVersionArns": [PROFILE]},
        "CodeSigningPolicies": {"UntrustedArtifactOnDeployment": "Enforce"},
    }
    made = make(Tags={"team": "x"}, **wanted)
    config = made["CodeSigningConfig"]
    config_arn = config["CodeSigningConfigArn"]
    assert status(made) == 201
    assert {k: config[k] for k in wanted} == wanted
    assert config["CodeSigningConfigId"] == config_arn.rpartition(":")[2]
    assert plain(get(CodeSigningConfigArn=config_arn)) == plain(made)
    assert lambda_.list_tags(Resource=config_arn)["Tags"] == {"team": "x"}
    changed = update(CodeSigningConfigArn=config_arn, CodeSigningPolicies={"UntrustedArtifactOnDeployment": "Warn"})
    assert changed["CodeSigningConfig"]["AllowedPublishers"] == wanted["AllowedPublishers"]
    assert changed["CodeSigningConfig"]["CodeSigningPolicies"] == {"UntrustedArtifactOnDeployment": "Warn"}
    bare = make(AllowedPublishers=wanted["AllowedPublishers"])["CodeSigningConfig"]
    assert bare["CodeSigningPolicies"] == {"UntrustedArtifactOnDeployment": "Warn"}
    pages = lambda_.get_paginator("list_code_signing_configs").paginate(PaginationConfig={"PageSize": 1})
    assert [page["CodeSigningConfigs"] for page in pages] == [[changed["CodeSigningConfig"]], [bare]]
    assert plain(attached(FunctionName=fn)) == {}
    both = {"CodeSigningConfigArn": config_arn, "FunctionName": fn}
    assert plain(put(**both)) == both
    assert plain(attached(FunctionName=arn(fn))) == both
    pages = lambda_.get_paginator("list_functions_by_code_signing_config").paginate(CodeSigningConfigArn=config_arn)
    assert [page["FunctionArns"] for page in pages] == [[arn(fn)]]

    gone = f"The Lambda code signing configuration {NO_CONFIG} can not be found."
    for call in (get, update, delete, by_config):
        refused(call, MISSING, gone, has_type=False, CodeSigningConfigArn=NO_CONFIG)
    text = (
        "The code signing configuration cannot be found. Check that the provided configuration is not deleted: "
        f"{NO_CONFIG}."
    )
    refused(put, "CodeSigningConfigNotFoundException", text, FunctionName="nope", CodeSigningConfigArn=NO_CONFIG)
    missing = f"Function not found: {arn('nope')}"
    refused(put, MISSING, missing, FunctionName="nope", CodeSigningConfigArn=config_arn)
    refused(attached, MISSING, missing, FunctionName="nope")
    refused(detach, MISSING, missing, FunctionName="nope")
    policy = {"UntrustedArtifactOnDeployment": "Ignore"}
    text = invalid(
        "codeSigningPolicies.untrustedArtifactOnDeployment",
        "Ignore",
        "Member must satisfy enum value set: [Warn, Enforce]",
    )
    refused(
        make, "ValidationException", text, AllowedPublishers=wanted["AllowedPublishers"], CodeSigningPolicies=policy
    )
    text = invalid("maxItems", 10_001, "Member must have value less than or equal to 10000")
    refused(listing, "ValidationException", text, MaxItems=10_001)
    with pytest.raises(lambda_.exceptions.ResourceConflictException):
        delete(CodeSigningConfigArn=config_arn)
    for _ in range(2):
        assert status(detach(FunctionName=fn)) == 204
    assert plain(attached(FunctionName=fn)) == {}
    assert status(delete(CodeSigningConfigArn=config_arn)) == 204
    refused(get, MISSING, gone.replace(NO_CONFIG, config_arn), has_type=False, CodeSigningConfigArn=config_arn)


def test_another_accounts_layer_is_not_to_be_had(lambda_: Any) -> None:
    theirs = f"arn:aws:lambda:{AT}:layer:l:1".replace(ACCOUNT, "111122223333")
    with pytest.raises(lambda_.exceptions.ClientError) as caught:
        lambda_.get_layer_version_by_arn(Arn=theirs)
    assert caught.value.response["Error"]["Code"] in ("AccessDeniedException", MISSING)
