"""Event source mappings and tags as boto3 drives them against a running Lambent, one mapping of each source."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests import support
from tests.unit.mappings.mapping_world import POLLERS, SOURCES

CONFIG = "arn:aws:lambda:us-east-1:123456789012:code-signing-config:csc-0123456789abcdefg"
PATTERN = {"Filters": [{"Pattern": '{"body":["x"]}'}]}
CODE = support.package({"bootstrap": "#!/bin/sh\n"})


@pytest.fixture(scope="module")
def client(endpoint: str) -> Iterator[Any]:
    client = support.client("lambda", endpoint, account="123456789012")
    yield client
    client.close()


@pytest.fixture(scope="module")
def function(client: Any) -> Iterator[str]:
    """A function with version 1, deleted with its mappings."""
    name = support.unique("mapped")
    client.create_function(
        FunctionName=name,
        Runtime="provided.al2023",
        Handler="h",
        Role=support.ROLE,
        Code={"ZipFile": CODE},
        Publish=True,
        Tags={"made": "with it"},
    )
    yield name
    for mapping in client.list_event_source_mappings(FunctionName=name)["EventSourceMappings"]:
        client.delete_event_source_mapping(UUID=mapping["UUID"])
    client.delete_function(FunctionName=name)


@pytest.fixture(params=SOURCES)
def source(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def error(call: Any, **members: Any) -> tuple[int, str, str]:
    with pytest.raises(ClientError) as refused:
        call(**members)
    response = refused.value.response
    return response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"], response["Error"]["Message"]


def plain(answer: Any) -> dict[str, Any]:
    return {name: value for name, value in answer.items() if name != "ResponseMetadata"}


def test_the_life_of_a_mapping(client: Any, function: str, source: str) -> None:
    before = datetime.now(UTC)
    created = client.create_event_source_mapping(
        FunctionName=function, FilterCriteria=PATTERN, Tags={"a": "b"}, **SOURCES[source]
    )
    uuid = created["UUID"]
    try:
        assert created["ResponseMetadata"]["HTTPStatusCode"] == 202
        assert created["State"] == "Creating"
        assert created["FunctionArn"].endswith(f":function:{function}")
        assert abs((created["LastModified"] - before).total_seconds()) < 60
        assert created["FilterCriteria"] == PATTERN
        assert created["LastProcessingResult"].startswith("PROBLEM: Lambent ")
        for member, value in SOURCES[source].items():
            assert created[member] == value

        got = client.get_event_source_mapping(UUID=uuid)
        assert got["ResponseMetadata"]["HTTPStatusCode"] == 200
        assert plain(got) == {**plain(created), "State": "Enabled"}
        (listed,) = client.list_event_source_mappings(FunctionName=function)["EventSourceMappings"]
        assert listed == plain(got)

        updated = client.update_event_source_mapping(UUID=uuid, Enabled=False, BatchSize=5, FilterCriteria={})
        assert updated["ResponseMetadata"]["HTTPStatusCode"] == 202
        assert (updated["State"], updated["BatchSize"]) == ("Disabling", 5)
        assert "FilterCriteria" not in updated
        got = client.get_event_source_mapping(UUID=uuid)
        assert plain(got) == {**plain(updated), "State": "Disabled"}
        assert client.update_event_source_mapping(UUID=uuid)["State"] == "Updating"
        assert client.update_event_source_mapping(UUID=uuid, Enabled=True)["State"] == "Enabling"

        status, code, message = error(client.create_event_source_mapping, FunctionName=function, **SOURCES[source])
        assert (status, code) == (409, "ResourceConflictException")
        assert message.endswith(f"Please update or delete the existing mapping with UUID {uuid}")

        arn = created["EventSourceMappingArn"]
        assert client.list_tags(Resource=arn)["Tags"] == {"a": "b"}
        deleted = client.delete_event_source_mapping(UUID=uuid)
        assert deleted["ResponseMetadata"]["HTTPStatusCode"] == 202
        assert (deleted["State"], deleted["UUID"]) == ("Deleting", uuid)
        gone = (404, "ResourceNotFoundException", "The resource you requested does not exist.")
        assert error(client.get_event_source_mapping, UUID=uuid) == gone
        assert error(client.delete_event_source_mapping, UUID=uuid) == gone
        assert error(client.list_tags, Resource=arn)[2] == f"Event source mapping not found: {arn}"
    finally:
        with suppress(client.exceptions.ResourceNotFoundException):
            client.delete_event_source_mapping(UUID=uuid)


def test_every_member_comes_back_as_it_went(client: Any, function: str) -> None:
    since = datetime(2025, 1, 2, 3, 4, 5, 500_000, tzinfo=UTC)
    wanted: dict[str, dict[str, Any]] = {
        "fifo": {"ScalingConfig": {"MaximumConcurrency": 7}, "FunctionResponseTypes": ["ReportBatchItemFailures"]},
        "kinesis": {
            "StartingPosition": "AT_TIMESTAMP",
            "StartingPositionTimestamp": since,
            "ParallelizationFactor": 2,
            "MaximumRecordAgeInSeconds": 3_600,
            "MaximumRetryAttempts": 3,
            "BisectBatchOnFunctionError": True,
            "TumblingWindowInSeconds": 30,
            "MaximumBatchingWindowInSeconds": 5,
            "DestinationConfig": {"OnFailure": {"Destination": "arn:aws:sqs:us-east-1:123456789012:failed"}},
            "MetricsConfig": {"Metrics": ["EventCount"]},
            "KMSKeyArn": "arn:aws:kms:us-east-1:123456789012:key/k",
        },
        "msk": {
            "ProvisionedPollerConfig": {**POLLERS, "PollerGroupName": "shared"},
            "AmazonManagedKafkaEventSourceConfig": {
                "ConsumerGroupId": "g",
                "SchemaRegistryConfig": {
                    "SchemaRegistryURI": "https://registry.example",
                    "EventRecordFormat": "JSON",
                    "AccessConfigs": [{"Type": "BASIC_AUTH", "URI": "arn:aws:secretsmanager:us-east-1:123456789012:s"}],
                    "SchemaValidationConfigs": [{"Attribute": "VALUE"}],
                },
            },
            "LoggingConfig": {"SystemLogLevel": "INFO"},
            "DestinationConfig": {"OnFailure": {"Destination": "kafka://dead"}},
        },
        "mq": {
            "SourceAccessConfigurations": [
                {"Type": "BASIC_AUTH", "URI": "arn:aws:secretsmanager:us-east-1:123456789012:secret:m"},
                {"Type": "VIRTUAL_HOST", "URI": "/v"},
            ]
        },
        "documentdb": {
            "DocumentDBEventSourceConfig": {
                "DatabaseName": "shop",
                "CollectionName": "orders",
                "FullDocument": "UpdateLookup",
            }
        },
    }
    for source, members in wanted.items():
        uuid = client.create_event_source_mapping(FunctionName=f"{function}:1", **{**SOURCES[source], **members})[
            "UUID"
        ]
        got = client.get_event_source_mapping(UUID=uuid)
        client.delete_event_source_mapping(UUID=uuid)
        assert {member: got[member] for member in members} == members
        assert got["FunctionArn"].endswith(f":function:{function}:1")


def test_listing_by_paginator(client: Any, function: str) -> None:
    made = {
        client.create_event_source_mapping(
            FunctionName=function, EventSourceArn=f"arn:aws:sqs:us-east-1:123456789012:page-{number}", Enabled=False
        )["UUID"]
        for number in range(5)
    }
    try:
        pages = client.get_paginator("list_event_source_mappings").paginate(
            FunctionName=function, PaginationConfig={"PageSize": 2}
        )
        sizes, seen = [], []
        for page in pages:
            sizes.append(len(page["EventSourceMappings"]))
            seen += [mapping["UUID"] for mapping in page["EventSourceMappings"]]
        assert sizes == [2, 2, 1]
        assert seen == sorted(made)
        (one,) = client.list_event_source_mappings(EventSourceArn="arn:aws:sqs:us-east-1:123456789012:page-3")[
            "EventSourceMappings"
        ]
        assert one["State"] == "Disabled"
        assert client.list_event_source_mappings(FunctionName="nope")["EventSourceMappings"] == []
    finally:
        for uuid in made:
            client.delete_event_source_mapping(UUID=uuid)


def test_refusals_are_typed(client: Any, function: str) -> None:
    sqs = SOURCES["sqs"]["EventSourceArn"]
    with pytest.raises(client.exceptions.InvalidParameterValueException) as refused:
        client.create_event_source_mapping(FunctionName="nope", EventSourceArn=sqs)
    assert refused.value.response["Error"]["Message"] == "Function does not exist"
    assert refused.value.response["Type"] == "User"
    with pytest.raises(client.exceptions.InvalidParameterValueException) as refused:
        client.create_event_source_mapping(FunctionName=function, EventSourceArn=SOURCES["kinesis"]["EventSourceArn"])
    assert refused.value.response["Error"]["Message"].endswith("Member must not be null.")
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.update_event_source_mapping(UUID="0190a5c4-0000-4000-8000-000000000001", BatchSize=1)


def test_tags_of_a_function(client: Any, function: str) -> None:
    client.get_waiter("function_active_v2").wait(FunctionName=function, WaiterConfig={"Delay": 1, "MaxAttempts": 20})
    before = client.get_function(FunctionName=function)
    arn = before["Configuration"]["FunctionArn"]
    assert before["Tags"] == client.list_tags(Resource=arn)["Tags"] == {"made": "with it"}
    tagged = client.tag_resource(Resource=arn, Tags={"team": "x", "made": "again"})
    assert tagged["ResponseMetadata"]["HTTPStatusCode"] == 204
    after = client.get_function(FunctionName=function)
    assert after["Tags"] == {"team": "x", "made": "again"}
    assert after["Configuration"]["RevisionId"] != before["Configuration"]["RevisionId"]
    assert after["Configuration"]["LastModified"] == before["Configuration"]["LastModified"]
    status, code, _ = error(
        client.update_function_configuration,
        FunctionName=function,
        Timeout=9,
        RevisionId=before["Configuration"]["RevisionId"],
    )
    assert (status, code) == (412, "PreconditionFailedException")
    untagged = client.untag_resource(Resource=arn, TagKeys=["team", "made", "unknown"])
    assert untagged["ResponseMetadata"]["HTTPStatusCode"] == 204
    assert client.list_tags(Resource=arn)["Tags"] == {}
    assert "Tags" not in client.get_function(FunctionName=function)
    client.tag_resource(Resource=arn, Tags={"made": "with it"})


def test_refused_tags_are_typed(client: Any, function: str) -> None:
    arn = client.get_function(FunctionName=function)["Configuration"]["FunctionArn"]
    assert error(client.list_tags, Resource=f"{arn}:1") == (
        400,
        "InvalidParameterValueException",
        "Tags on function aliases and versions are not supported. Please specify a function ARN.",
    )
    assert error(client.tag_resource, Resource=arn, Tags={}) == (
        400,
        "InvalidParameterValueException",
        "An error occurred and the request cannot be processed.",
    )
    assert error(client.list_tags, Resource=CONFIG) == (
        404,
        "ResourceNotFoundException",
        f"Code signing config not found: {CONFIG}",
    )
    assert error(client.list_tags, Resource="arn:aws:lambda:us-east-1:123456789012:layer:l")[1] == "ValidationException"
