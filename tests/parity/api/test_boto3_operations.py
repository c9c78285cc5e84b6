"""That the tests beside this one leave no operation, paginator or waiter of the SDK out, and what is not served says so."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore import xform_name
from botocore.exceptions import ClientError
from botocore.session import Session
from tests.fuzzing.judge import NOT_SERVED
from tests.parity.api.judged import AT, arn

MODEL = Session().get_service_model("lambda")
UNSERVED = sorted(name for name in MODEL.operation_names if NOT_SERVED.search(name))
UNREFUSABLE = {"GetAccountSettings"}
"""Takes nothing, so that there is nothing to refuse."""
SAMPLES: dict[str, Any] = {
    "CallbackId": "YWJj",
    "CheckpointToken": "YWJj",
    "CapacityProviderName": "p",
    "DurableExecutionArn": f"{arn('f', '1')}/durable-execution/name/id",
    "FunctionName": "f",
    "Qualifier": "1",
    "VpcConfig": {"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"]},
    "PermissionsConfig": {"CapacityProviderOperatorRoleArn": "arn:aws:iam::616161616161:role/r"},
}
"""What the operations that are not served require."""


def files() -> Iterator[tuple[str, ast.Module]]:
    for file in sorted(Path(__file__).parent.glob("test_boto3_*.py")):
        yield file.name, ast.parse(file.read_text())


def covered() -> list[str]:
    """The operations that tests say they cover, which the client's fixture holds them to."""
    found: list[str] = []
    for _, tree in files():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "covers":
                for argument in node.args:
                    value = ast.literal_eval(argument.value if isinstance(argument, ast.Starred) else argument)
                    found += [value] if isinstance(value, str) else value
    return found


def test_every_operation_of_the_model_is_covered_once() -> None:
    named = covered()
    assert sorted(named) == sorted(set(named))
    assert set(named) | set(UNSERVED) | UNREFUSABLE == set(MODEL.operation_names)
    assert not set(named) & set(UNSERVED)
    assert (len(MODEL.operation_names), len(UNSERVED)) == (91, 20)


def test_every_paginator_and_waiter_is_used() -> None:
    paginators = {
        xform_name(name) for name in Session().get_paginator_model("lambda")._paginator_config if name not in UNSERVED
    }
    waiters = {xform_name(name) for name in Session().get_waiter_model("lambda").waiter_names}
    strings = {
        node.value
        for _, tree in files()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    assert paginators | waiters <= strings, (paginators | waiters) - strings


@pytest.mark.parametrize("operation", UNSERVED)
def test_what_is_not_served_says_so(lambda_: Any, operation: str) -> None:
    required = MODEL.operation_model(operation).input_shape.required_members
    with pytest.raises(ClientError) as refused:
        getattr(lambda_, xform_name(operation))(**{member: SAMPLES[member] for member in required})
    error = refused.value.response
    assert error["ResponseMetadata"]["HTTPStatusCode"] == 501
    assert error["Error"]["Code"] == "NotImplementedException"
    assert operation in error["Error"]["Message"]
    assert any(words in error["Error"]["Message"] for words in ("does not serve", "is not served"))


def test_the_judge_listens(recorder: Any) -> None:
    """Without it the tests beside this one would check less than they say."""
    recorder.clear()
    recorder.client.list_functions()
    assert recorder.accepted == {"ListFunctions"}
    with pytest.raises(recorder.client.exceptions.ResourceNotFoundException):
        recorder.client.get_function(FunctionName=f"arn:aws:lambda:{AT}:function:nope")
    assert recorder.refused == {"GetFunction"}
    body = {"status_code": 200, "headers": {}, "body": b'{"Functions":[{"Colour":"blue"}]}'}
    recorder.client.meta.events.emit("response-received.lambda.ListFunctions", response_dict=body)
    assert [problem.partition(": ")[2][:30] for problem in recorder.problems] == [
        "no request id: {}",
        "Functions.Colour is unknown to",
    ]
