"""Event invoke configurations, function URLs, runtime management and recursion as boto3 drives them, on a running
Lambent."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError
from tests.support import client, function

CODE = "def handler(event, context):\n    return event\n"


@pytest.fixture(scope="module")
def lambda_(endpoint: str) -> Iterator[Any]:
    made = client("lambda", endpoint, account="123456789012")
    yield made
    made.close()


@pytest.fixture(scope="module")
def name(lambda_: Any) -> Iterator[str]:
    """One function with version 1 for all of them; each test cleans up what it sets."""
    with function(lambda_, CODE) as made:
        lambda_.publish_version(FunctionName=made)
        yield made


@pytest.fixture(scope="module")
def other(lambda_: Any) -> Iterator[str]:
    with function(lambda_, CODE) as made:
        yield made


def arn(name: str) -> str:
    return f"arn:aws:lambda:us-east-1:123456789012:function:{name}"


def refused(call: Callable[..., Any], **arguments: Any) -> tuple[int, str, str]:
    with pytest.raises(ClientError) as error:
        call(**arguments)
    response = error.value.response
    return response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"], response["Error"]["Message"]


def test_the_life_of_an_event_invoke_configuration(lambda_: Any, name: str, other: str) -> None:
    put = lambda_.put_function_event_invoke_config(
        FunctionName=name, MaximumRetryAttempts=0, DestinationConfig={"OnFailure": {"Destination": arn(other)}}
    )
    assert put["FunctionArn"] == f"{arn(name)}:$LATEST"
    assert put["MaximumRetryAttempts"] == 0
    assert "MaximumEventAgeInSeconds" not in put
    assert put["DestinationConfig"] == {"OnSuccess": {}, "OnFailure": {"Destination": arn(other)}}
    assert put["LastModified"].tzinfo is not None
    updated = lambda_.update_function_event_invoke_config(FunctionName=name, MaximumEventAgeInSeconds=60)
    assert (updated["MaximumRetryAttempts"], updated["MaximumEventAgeInSeconds"]) == (0, 60)
    got = lambda_.get_function_event_invoke_config(FunctionName=name, Qualifier="$LATEST")
    got.pop("ResponseMetadata")
    updated.pop("ResponseMetadata")
    assert got == updated
    lambda_.put_function_event_invoke_config(FunctionName=f"{name}:1", MaximumEventAgeInSeconds=120)
    pages = lambda_.get_paginator("list_function_event_invoke_configs").paginate(
        FunctionName=name, PaginationConfig={"PageSize": 1}
    )
    listed = [one["FunctionArn"] for page in pages for one in page["FunctionEventInvokeConfigs"]]
    assert listed == [f"{arn(name)}:$LATEST", f"{arn(name)}:1"]
    for qualifier in ("$LATEST", "1"):
        answer = lambda_.delete_function_event_invoke_config(FunctionName=name, Qualifier=qualifier)
        assert answer["ResponseMetadata"]["HTTPStatusCode"] == 204
        assert refused(lambda_.get_function_event_invoke_config, FunctionName=name, Qualifier=qualifier) == (
            404,
            "ResourceNotFoundException",
            f"The function {arn(name)}:{qualifier} doesn't have an EventInvokeConfig",
        )


def test_what_a_client_reads_of_refused_event_invoke_configurations(lambda_: Any, name: str) -> None:
    put = lambda_.put_function_event_invoke_config
    invalid = (400, "InvalidParameterValueException")
    assert refused(put, FunctionName="nope") == (
        *invalid,
        "You must specify at least one of error handling or destination setting.",
    )
    assert refused(put, FunctionName="nope", MaximumRetryAttempts=1) == (
        404,
        "ResourceNotFoundException",
        "The function doesn't exist.",
    )
    gone = arn("nope")
    assert refused(put, FunctionName=name, DestinationConfig={"OnSuccess": {"Destination": gone}}) == (
        *invalid,
        f"The destination ARN {gone} is invalid.",
    )
    assert refused(put, FunctionName=name, DestinationConfig={"OnFailure": {"Destination": arn(name)}}) == (
        *invalid,
        "You can't specify the function as a destination for itself.",
    )


def test_the_life_of_a_function_url(lambda_: Any, name: str, endpoint: str) -> None:
    cors = {"AllowOrigins": ["https://example.com"], "AllowMethods": ["GET"], "MaxAge": 60}
    made = lambda_.create_function_url_config(FunctionName=name, AuthType="NONE", Cors=cors)
    assert made["ResponseMetadata"]["HTTPStatusCode"] == 201
    assert (made["FunctionArn"], made["AuthType"], made["Cors"]) == (arn(name), "NONE", cors)
    assert not made.keys() & {"LastModifiedTime", "InvokeMode"}
    url, server = urlsplit(made["FunctionUrl"]), urlsplit(endpoint)
    assert (url.scheme, url.port) == ("http", server.port)
    assert re.fullmatch(
        r"[0-9a-z]{32}\.lambda-url\.us-east-1\.localhost/|127\.0\.0\.1/_lambent/url/[0-9a-z]{32}/",
        f"{url.hostname}{url.path}",
    )
    assert refused(lambda_.create_function_url_config, FunctionName=name, AuthType="NONE")[:2] == (
        409,
        "ResourceConflictException",
    )
    updated = lambda_.update_function_url_config(FunctionName=name, AuthType="AWS_IAM", InvokeMode="RESPONSE_STREAM")
    assert (updated["FunctionUrl"], updated["AuthType"], updated["Cors"]) == (made["FunctionUrl"], "AWS_IAM", cors)
    assert updated["InvokeMode"] == "RESPONSE_STREAM"
    (listed,) = lambda_.list_function_url_configs(FunctionName=name)["FunctionUrlConfigs"]
    got = lambda_.get_function_url_config(FunctionName=name)
    got.pop("ResponseMetadata")
    assert listed == got
    assert lambda_.delete_function_url_config(FunctionName=name)["ResponseMetadata"]["HTTPStatusCode"] == 204
    assert refused(lambda_.get_function_url_config, FunctionName=name) == (
        404,
        "ResourceNotFoundException",
        "The resource you requested does not exist.",
    )


def test_runtime_management(lambda_: Any, name: str) -> None:
    assert lambda_.get_runtime_management_config(FunctionName=name)["UpdateRuntimeOn"] == "Auto"
    held = f"arn:aws:lambda:us-east-1::runtime:{'a' * 64}"
    before = lambda_.get_function_configuration(FunctionName=name)["RuntimeVersionConfig"]
    put = lambda_.put_runtime_management_config(FunctionName=name, UpdateRuntimeOn="Manual", RuntimeVersionArn=held)
    assert (put["FunctionArn"], put["RuntimeVersionArn"]) == (f"{arn(name)}:$LATEST", held)
    assert lambda_.get_runtime_management_config(FunctionName=name, Qualifier="$LATEST")["RuntimeVersionArn"] == held
    shown = lambda_.get_function_configuration(FunctionName=name)["RuntimeVersionConfig"]
    assert shown == {"RuntimeVersionArn": held}
    assert json.loads(lambda_.invoke(FunctionName=name, Payload=b"1")["Payload"].read()) == 1
    put = lambda_.put_runtime_management_config(FunctionName=name, UpdateRuntimeOn="Auto")
    assert "RuntimeVersionArn" not in put
    assert lambda_.get_function_configuration(FunctionName=name)["RuntimeVersionConfig"] == before
    assert refused(lambda_.get_runtime_management_config, FunctionName=name, Qualifier="live") == (
        400,
        "InvalidParameterValueException",
        f"The provided function name {arn(name)}:live is invalid. Aliases are not allowed.",
    )


def test_recursion_configuration(lambda_: Any, name: str) -> None:
    assert lambda_.get_function_recursion_config(FunctionName=name)["RecursiveLoop"] == "Terminate"
    for loop in ("Allow", "Terminate"):
        assert lambda_.put_function_recursion_config(FunctionName=name, RecursiveLoop=loop)["RecursiveLoop"] == loop
        assert lambda_.get_function_recursion_config(FunctionName=name)["RecursiveLoop"] == loop
    assert refused(lambda_.put_function_recursion_config, FunctionName=name, RecursiveLoop="Maybe") == (
        400,
        "ValidationException",
        "1 validation error detected: Value 'Maybe' at 'recursiveLoop' failed to satisfy constraint: Member must satisfy "
        "enum value set: [Terminate, Allow]",
    )
    assert refused(lambda_.get_function_recursion_config, FunctionName="nope") == (
        404,
        "ResourceNotFoundException",
        f"Function not found: {arn('nope')}",
    )
