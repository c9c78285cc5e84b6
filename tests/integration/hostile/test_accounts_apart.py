"""Two accounts and two regions on one server: neither sees or touches what is the other's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.integration.hostile.hostile_world import AUTHORIZATION, call
from tests.support import PYTHON_RUNTIME, ROLE, client, package

ONE, TWO = "111111111111", "222222222222"
CODE = package({"app.py": "def handler(event, context):\n    print('secret of', context.invoked_function_arn)\n"})


PLACES = ((ONE, "us-east-1"), (TWO, "us-east-1"), (ONE, "eu-west-1"))


@pytest.fixture(scope="module")
def functions(endpoint: str) -> Iterator[None]:
    """A function `shared` in both accounts, and in another region of the first one."""
    for account, region in PLACES:
        one = client("lambda", endpoint, account=account, region=region)
        one.create_function(
            FunctionName="shared",
            Runtime=PYTHON_RUNTIME,
            Handler="app.handler",
            Role=ROLE,
            Timeout=20,
            Code={"ZipFile": CODE},
        )
        one.get_waiter("function_active_v2").wait(FunctionName="shared", WaiterConfig={"Delay": 1, "MaxAttempts": 30})
        one.close()
    yield
    for account, region in PLACES:
        one = client("lambda", endpoint, account=account, region=region)
        one.delete_function(FunctionName="shared")
        one.close()


@pytest.fixture
def endpoints(endpoint: str, functions: None) -> Iterator[dict[tuple[str, str], Any]]:
    """A client for each place."""
    made = {(account, region): client("lambda", endpoint, account=account, region=region) for account, region in PLACES}
    yield made
    for one in made.values():
        one.close()


def refused(call: Any, **members: Any) -> tuple[int, str, str | None]:
    with pytest.raises(ClientError) as error:
        call(**members)
    response = error.value.response
    message = response["Error"].get("Message")
    return response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"], message


def test_each_account_and_region_lists_its_own(endpoints: dict[tuple[str, str], Any]) -> None:
    for (account, region), one in endpoints.items():
        arns = [item["FunctionArn"] for item in one.list_functions()["Functions"]]
        assert arns == [f"arn:aws:lambda:{region}:{account}:function:shared"]
        assert one.get_account_settings()["AccountUsage"]["FunctionCount"] == 1


def test_what_one_account_does_leaves_the_other_as_it_was(endpoints: dict[tuple[str, str], Any]) -> None:
    one, two = endpoints[ONE, "us-east-1"], endpoints[TWO, "us-east-1"]
    before = two.get_function_configuration(FunctionName="shared")
    one.put_function_concurrency(FunctionName="shared", ReservedConcurrentExecutions=50)
    one.update_function_configuration(FunctionName="shared", Description="changed")
    assert two.get_function_configuration(FunctionName="shared") | {"ResponseMetadata": None} == before | {
        "ResponseMetadata": None
    }
    limits = two.get_account_settings()["AccountLimit"]
    assert limits["UnreservedConcurrentExecutions"] == limits["ConcurrentExecutions"]
    one.delete_function_concurrency(FunctionName="shared")


def test_logs_stay_with_their_account_and_region(endpoints: dict[tuple[str, str], Any], endpoint: str) -> None:
    for one in endpoints.values():
        one.invoke(FunctionName="shared")["Payload"].read()
    for account, region in endpoints:
        logs = client("logs", endpoint, account=account, region=region)
        groups = logs.describe_log_groups()["logGroups"]
        assert [group["logGroupName"] for group in groups] == ["/aws/lambda/shared"]
        events = logs.filter_log_events(logGroupName="/aws/lambda/shared", filterPattern="secret")["events"]
        assert {event["message"].rstrip() for event in events} == {
            f"secret of arn:aws:lambda:{region}:{account}:function:shared"
        }
        logs.close()


def test_usage_is_told_to_its_account_alone(endpoints: dict[tuple[str, str], Any], endpoint: str) -> None:
    endpoints[ONE, "us-east-1"].invoke(FunctionName="shared")["Payload"].read()
    for account in (ONE, TWO, "333333333333"):
        headers = {"Authorization": AUTHORIZATION.replace("=test/", f"={account}/")}
        answer = call(endpoint, "GET", "/_lambent/usage", None, headers)
        assert answer.status == 200
        others = {ONE, TWO} - {account}
        assert not any(other.encode() in answer.body for other in others)
        assert (b"shared" in answer.body) == (account in (ONE, TWO))


OPEN_TO_POLICIES = {
    "get_function": "GetFunction",
    "get_function_configuration": "GetFunctionConfiguration",
    "invoke": "InvokeFunction",
    "publish_version": "PublishVersion",
    "list_versions_by_function": "ListVersionsByFunction",
    "get_function_concurrency": "GetFunctionConcurrency",
    "delete_function_concurrency": "DeleteFunctionConcurrency",
    "list_aliases": "ListAliases",
    "delete_function": "DeleteFunction",
}


def test_arns_of_the_other_account(endpoints: dict[tuple[str, str], Any]) -> None:
    """What policies could share is looked up there and refused for want of one; creation never looks."""
    one = endpoints[ONE, "us-east-1"]
    for form in (f"arn:aws:lambda:us-east-1:{TWO}:function:", f"{TWO}:function:"):
        for operation, action in OPEN_TO_POLICIES.items():
            assert refused(getattr(one, operation), FunctionName=f"{form}shared") == (
                403,
                "AccessDeniedException",
                f"User: arn:aws:iam::{ONE}:root is not authorized to perform: lambda:{action} on resource: "
                f"arn:aws:lambda:us-east-1:{TWO}:function:shared because no resource-based policy allows the "
                f"lambda:{action} action",
            )
            assert refused(getattr(one, operation), FunctionName=f"{form}not-there")[0] == 404
    status, code, _ = refused(
        one.create_function,
        FunctionName=f"arn:aws:lambda:us-east-1:{TWO}:function:mine",
        Runtime=PYTHON_RUNTIME,
        Handler="app.handler",
        Role=ROLE,
        Code={"ZipFile": CODE},
    )
    assert (status, code) == (403, "AccessDeniedException")
    assert endpoints[TWO, "us-east-1"].get_function(FunctionName="shared")


def test_arns_of_the_other_region(endpoints: dict[tuple[str, str], Any]) -> None:
    one = endpoints[ONE, "us-east-1"]
    arn = f"arn:aws:lambda:eu-west-1:{ONE}:function:shared"
    for operation in ("get_function", "invoke", "delete_function", "publish_version"):
        assert refused(getattr(one, operation), FunctionName=arn) == (
            404,
            "ResourceNotFoundException",
            "Functions from 'eu-west-1' are not reachable in this region ('us-east-1')",
        )
