"""Provisioned concurrency as boto3 drives it, on a running Lambent."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.support import client, function, package

CODE = "def handler(event, context):\n    return event\n"
SEEN_LIMIT_S = 30.0


@pytest.fixture(scope="module")
def lambda_(endpoint: str) -> Iterator[Any]:
    made = client("lambda", endpoint, account="123456789012")
    yield made
    made.close()


@pytest.fixture(scope="module")
def name(lambda_: Any) -> Iterator[str]:
    """One function with the versions 1 and 2; each test cleans up what it sets."""
    with function(lambda_, CODE) as made:
        lambda_.publish_version(FunctionName=made)
        lambda_.update_function_code(FunctionName=made, ZipFile=package({"app.py": CODE + "\n"}))
        lambda_.get_waiter("function_updated_v2").wait(FunctionName=made, WaiterConfig={"Delay": 1})
        lambda_.publish_version(FunctionName=made)
        yield made


def arn(name: str) -> str:
    return f"arn:aws:lambda:us-east-1:123456789012:function:{name}"


def refused(call: Callable[..., Any], **arguments: Any) -> tuple[int, str, str]:
    with pytest.raises(ClientError) as error:
        call(**arguments)
    response = error.value.response
    return response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"], response["Error"]["Message"]


def settled(lambda_: Any, name: str, qualifier: str) -> dict[str, Any]:
    """Poll as Terraform does."""
    until = time.monotonic() + SEEN_LIMIT_S
    while time.monotonic() < until:
        found: dict[str, Any] = lambda_.get_provisioned_concurrency_config(FunctionName=name, Qualifier=qualifier)
        if found["Status"] != "IN_PROGRESS":
            return found
        time.sleep(0.01)  # a status can be asked for, not awaited
    raise AssertionError(found)


def test_the_life_of_a_configuration(lambda_: Any, name: str) -> None:
    revision = lambda_.get_function_configuration(FunctionName=name, Qualifier="1")["RevisionId"]
    before = lambda_.get_account_settings()["AccountLimit"]["UnreservedConcurrentExecutions"]
    put = lambda_.put_provisioned_concurrency_config(
        FunctionName=name, Qualifier="1", ProvisionedConcurrentExecutions=1
    )
    assert put["ResponseMetadata"]["HTTPStatusCode"] == 202
    assert (put["Status"], put["RequestedProvisionedConcurrentExecutions"]) == ("IN_PROGRESS", 1)
    assert put["LastModified"].endswith("+0000")
    assert lambda_.get_function_configuration(FunctionName=name, Qualifier="1")["RevisionId"] != revision
    found = settled(lambda_, name, "1")
    assert found["Status"] == "READY"
    assert found["AvailableProvisionedConcurrentExecutions"] == found["AllocatedProvisionedConcurrentExecutions"] == 1
    assert "StatusReason" not in found
    left = lambda_.get_account_settings()["AccountLimit"]["UnreservedConcurrentExecutions"]
    assert left == before - 1
    lambda_.put_provisioned_concurrency_config(FunctionName=name, Qualifier="2", ProvisionedConcurrentExecutions=1)
    pages = lambda_.get_paginator("list_provisioned_concurrency_configs").paginate(
        FunctionName=name, PaginationConfig={"PageSize": 1}
    )
    listed = [one["FunctionArn"] for page in pages for one in page["ProvisionedConcurrencyConfigs"]]
    assert listed == [f"{arn(name)}:1", f"{arn(name)}:2"]
    for qualifier in ("1", "2", "2"):
        answer = lambda_.delete_provisioned_concurrency_config(FunctionName=name, Qualifier=qualifier)
        assert answer["ResponseMetadata"]["HTTPStatusCode"] == 204
    assert refused(lambda_.get_provisioned_concurrency_config, FunctionName=name, Qualifier="1") == (
        404,
        "ProvisionedConcurrencyConfigNotFoundException",
        "No Provisioned Concurrency Config found for this function",
    )
    assert lambda_.get_account_settings()["AccountLimit"]["UnreservedConcurrentExecutions"] == before


def test_refusals(lambda_: Any, name: str) -> None:
    put = lambda_.put_provisioned_concurrency_config

    def asked(qualifier: str, number: int = 1, name: str = name) -> tuple[int, str, str]:
        return refused(put, FunctionName=name, Qualifier=qualifier, ProvisionedConcurrentExecutions=number)

    assert asked("$LATEST") == (
        400,
        "InvalidParameterValueException",
        "Provisioned Concurrency Configs cannot be applied to unpublished function versions.",
    )
    assert asked("7") == (404, "ResourceNotFoundException", f"Function not found: {arn(name)}:7")
    assert asked("live") == (404, "ResourceNotFoundException", f"Cannot find alias arn: {arn(name)}:live")
    assert asked("live", name="nope") == (
        404,
        "ResourceNotFoundException",
        f"Cannot find alias arn: {arn('nope')}:live",
    )
    assert asked("1", 100_000)[2].startswith("Specified ConcurrentExecutions for function is greater than account's")
    assert refused(lambda_.list_provisioned_concurrency_configs, FunctionName="nope") == (
        404,
        "ResourceNotFoundException",
        f"Function not found: {arn('nope')}",
    )
    for call in (lambda_.get_provisioned_concurrency_config, lambda_.delete_provisioned_concurrency_config):
        assert refused(call, FunctionName=name, Qualifier="$LATEST") == (
            400,
            "InvalidParameterValueException",
            "The function resource provided must be an alias or a published version.",
        )


def test_the_reserved_concurrency_holds_the_provisioned(lambda_: Any, name: str) -> None:
    lambda_.put_provisioned_concurrency_config(FunctionName=name, Qualifier="1", ProvisionedConcurrentExecutions=2)
    assert refused(lambda_.put_function_concurrency, FunctionName=name, ReservedConcurrentExecutions=1) == (
        400,
        "InvalidParameterValueException",
        " ReservedConcurrentExecutions  1 should not be lower than function's total provisioned concurrency [2].",
    )
    lambda_.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=3)
    assert refused(
        lambda_.put_provisioned_concurrency_config,
        FunctionName=name,
        Qualifier="2",
        ProvisionedConcurrentExecutions=2,
    ) == (
        400,
        "InvalidParameterValueException",
        "Requested Provisioned Concurrency should not be greater than the reservedConcurrentExecution for function",
    )
    lambda_.delete_provisioned_concurrency_config(FunctionName=name, Qualifier="1")
    lambda_.delete_function_concurrency(FunctionName=name)
