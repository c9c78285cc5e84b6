"""Which of several faults a caller is told of: the published order of checks, by requests that mend one fault at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.parity.api.judged import AT, ROLE, arn, create, settled
from tests.support import unique

Step = tuple[dict[str, Any], str]
"""What mends the fault before (a member that is `...` is left out), and how the next one is told."""


@pytest.fixture(scope="module")
def standing(recorder: Any) -> Iterator[str]:
    """A function with version 1, the alias `live`, a statement, and a mapping."""
    lambda_, name = recorder.client, unique("order")
    create(lambda_, name, Publish=True)
    settled(lambda_, name)
    lambda_.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    lambda_.add_permission(FunctionName=name, StatementId="s", Action="lambda:InvokeFunction", Principal="*")
    uuid = lambda_.create_event_source_mapping(FunctionName=name, EventSourceArn=f"arn:aws:sqs:{AT}:order")["UUID"]
    yield name
    lambda_.delete_event_source_mapping(UUID=uuid)
    lambda_.delete_function(FunctionName=name)


def told(call: Callable[..., Any], members: dict[str, Any], steps: list[Step]) -> None:
    """Every call has all faults that are not mended yet."""
    for mended, told in steps:
        members = {**members, **mended}
        with pytest.raises(ClientError) as refused:
            call(**{name: value for name, value in members.items() if value is not ...})
        assert told in refused.value.response["Error"]["Message"], list(mended)


def test_a_creation(lambda_: Any, standing: str) -> None:
    layer = f"arn:aws:lambda:{AT}:layer:nope:1"
    members: dict[str, Any] = {
        "FunctionName": arn(standing).replace("us-east-1", "eu-west-1"),
        "Role": "r1",
        "Environment": {"Variables": {"AWS_REGION": "x"}},
        "Layers": [layer],
        "Runtime": "nodejs12.x",
        "Handler": ...,
        "Code": {"ZipFile": bytes(52_428_801)},
    }
    told(
        lambda_.create_function,
        members,
        [
            ({}, "Zipped size must be smaller than 52428800 bytes"),
            ({"Code": {"ZipFile": b"no zip"}}, "at 'role' failed to satisfy constraint"),
            ({"Role": ROLE}, "reserved keys"),
            ({"Environment": {"Variables": {"COLOUR": "blue"}}}, f"Layer version {layer} does not exist."),
            ({"Layers": []}, "The runtime parameter of nodejs12.x is no longer supported"),
            ({"Runtime": "nodejs20.x"}, "Runtime and Handler are mandatory parameters"),
            ({"Handler": "h", "SnapStart": {"ApplyOn": "PublishedVersions"}}, "Functions from 'eu-west-1'"),
            ({"FunctionName": standing}, "nodejs20.x is not supported for SnapStart enabled functions."),
            ({"SnapStart": ...}, f"Function already exist: {standing}"),
            ({"FunctionName": unique("order")}, "Could not unzip uploaded file."),
        ],
    )


def test_an_update_of_the_code(lambda_: Any, standing: str) -> None:
    told(
        lambda_.update_function_code,
        {
            "FunctionName": arn("nope").replace("us-east-1", "eu-west-1"),
            "ZipFile": b"no zip",
            "RevisionId": "stale",
            "Architectures": ["mips"],
        },
        [
            ({}, "at 'architectures' failed to satisfy constraint"),
            ({"Architectures": ...}, "Functions from 'eu-west-1'"),
            ({"FunctionName": "nope"}, "Function not found"),
            ({"FunctionName": standing}, "The Revision Id provided does not match"),
            ({"RevisionId": ...}, "Could not unzip uploaded file."),
        ],
    )


def test_a_publication(lambda_: Any, standing: str) -> None:
    told(
        lambda_.publish_version,
        {"FunctionName": "nope", "RevisionId": "stale", "CodeSha256": "x"},
        [
            ({}, "Function not found"),
            ({"FunctionName": standing}, "The Revision Id provided does not match"),
            ({"RevisionId": ...}, "CodeSHA256 (x) is different"),
        ],
    )


def test_an_alias(lambda_: Any, standing: str) -> None:
    def weights(**given: float) -> dict[str, Any]:
        return {"RoutingConfig": {"AdditionalVersionWeights": {key.strip("_"): value for key, value in given.items()}}}

    told(
        lambda_.create_alias,
        {"FunctionName": standing, "Name": "live", "FunctionVersion": "9", **weights(_1=2.0, _8=0.5)},
        [
            ({}, "at 'routingConfig.additionalVersionWeights' failed to satisfy constraint"),
            (weights(_1=0.5, _8=0.5), f"Function not found: {arn(standing, '9')}"),
            ({"FunctionVersion": "1"}, "Alias already exists"),
            ({"Name": "new"}, "Number of items in AdditionalVersionWeights cannot be greater than 1"),
            (weights(_1=0.5), "Function version 1 is already included in routing configuration."),
            ({"FunctionVersion": "$LATEST", **weights(_8=0.5)}, "$LATEST is not supported for an alias"),
            ({"FunctionVersion": "1"}, f"Function not found: {arn(standing, '8')}"),
        ],
    )


def test_a_permission(lambda_: Any, standing: str) -> None:
    told(
        lambda_.add_permission,
        {
            "FunctionName": "nope:live",
            "Qualifier": "$LATEST",
            "StatementId": "a b",
            "Action": "lambda:InvokeFunction",
            "Principal": "nobody",
            "RevisionId": "stale",
        },
        [
            ({}, "at 'statementId' failed to satisfy constraint"),
            ({"StatementId": "s"}, "We currently do not support adding policies for $LATEST."),
            ({"Qualifier": "other"}, "The derived qualifier from the function name does not match"),
            ({"Qualifier": "live"}, "Function not found"),
            ({"FunctionName": standing, "Qualifier": "nope"}, "Cannot find alias arn"),
            ({"Qualifier": ...}, "The provided principal was invalid."),
            ({"Principal": "*"}, "The Revision Id provided does not match"),
            ({"RevisionId": ...}, "The statement id (s) provided already exists."),
        ],
    )


def test_a_mapping(lambda_: Any, standing: str) -> None:
    queue = f"arn:aws:sqs:{AT}:order"
    told(
        lambda_.create_event_source_mapping,
        {
            "FunctionName": "nope",
            "EventSourceArn": f"arn:aws:nothing:{AT}:x",
            "BatchSize": 10_001,
            "DestinationConfig": {"OnSuccess": {"Destination": queue}},
            "FilterCriteria": {"Filters": [{"Pattern": "no json"}]},
        },
        [
            ({}, "at 'batchSize' failed to satisfy constraint"),
            ({"BatchSize": 11}, "Unsupported DestinationConfig parameter for given event source mapping type."),
            ({"DestinationConfig": ...}, "Unrecognized event source."),
            ({"EventSourceArn": queue}, "Maximum batch window in seconds must be greater than 0"),
            ({"BatchSize": ...}, "Invalid filter pattern definition."),
            ({"FilterCriteria": ...}, "Function does not exist"),
            ({"FunctionName": standing}, "already exists. Please update or delete the existing mapping"),
        ],
    )
    told(
        lambda_.create_event_source_mapping,
        {
            "FunctionName": "nope",
            "EventSourceArn": f"arn:aws:kinesis:{AT}:stream/s",
            "FilterCriteria": {"Filters": [{"Pattern": "[]"}]},
        },
        [
            ({}, "Value null at 'startingPosition' failed to satisfy constraint"),
            ({"StartingPosition": "LATEST"}, "Invalid filter pattern definition."),
            ({"FilterCriteria": ...}, "Function does not exist"),
        ],
    )


def test_an_event_invoke_configuration(lambda_: Any, standing: str) -> None:
    nowhere = {"OnSuccess": {"Destination": arn("nope")}}
    told(
        lambda_.put_function_event_invoke_config,
        {"FunctionName": "nope", "Qualifier": "9"},
        [
            ({}, "You must specify at least one of error handling or destination setting."),
            ({"DestinationConfig": nowhere}, "The function doesn't exist."),
            ({"FunctionName": standing}, "The function doesn't exist."),
            ({"Qualifier": "1"}, f"The destination ARN {arn('nope')} is invalid."),
        ],
    )
