"""Every operation that takes a function's name takes it in every form, and answers the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
from botocore import xform_name
from botocore.session import Session
from tests.fuzzing.judge import NOT_SERVED
from tests.parity.api.judged import ACCOUNT, AT, CODE, OTHER_CODE, ROLE, arn, create, settled
from tests.support import PYTHON_RUNTIME

PROFILE = f"arn:aws:signer:{AT}:/signing-profiles/mine/abcdefghij"
MODEL = Session().get_service_model("lambda")
NAMED = sorted(
    operation
    for operation in MODEL.operation_names
    if not NOT_SERVED.search(operation)
    and "FunctionName" in MODEL.operation_model(operation).input_shape.required_members
)
REQUIRED: dict[str, dict[str, Any]] = {
    "CreateFunction": {"Runtime": PYTHON_RUNTIME, "Handler": "h", "Role": ROLE, "Code": {"ZipFile": CODE}},
    "UpdateFunctionCode": {"ZipFile": OTHER_CODE, "DryRun": True},
    "CreateAlias": {"Name": "made", "FunctionVersion": "1"},
    "GetAlias": {"Name": "live"},
    "UpdateAlias": {"Name": "live"},
    "DeleteAlias": {"Name": "not-there"},
    "AddPermission": {"StatementId": "s", "Action": "lambda:InvokeFunction", "Principal": "*"},
    "RemovePermission": {"StatementId": "kept"},
    "PutFunctionConcurrency": {"ReservedConcurrentExecutions": 1},
    "PutProvisionedConcurrencyConfig": {"Qualifier": "1", "ProvisionedConcurrentExecutions": 1},
    "GetProvisionedConcurrencyConfig": {"Qualifier": "1"},
    "DeleteProvisionedConcurrencyConfig": {"Qualifier": "1"},
    "PutFunctionEventInvokeConfig": {"MaximumRetryAttempts": 1},
    "UpdateFunctionEventInvokeConfig": {"MaximumRetryAttempts": 1},
    "CreateEventSourceMapping": {"EventSourceArn": f"arn:aws:sqs:{AT}:names"},
    "CreateFunctionUrlConfig": {"AuthType": "NONE"},
    "PutRuntimeManagementConfig": {"UpdateRuntimeOn": "Auto"},
    "PutFunctionRecursionConfig": {"RecursiveLoop": "Terminate"},
    "InvokeAsync": {"InvokeArgs": b"{}"},
}
"""What operations need beside the name."""
SAME = ("FunctionArn", "FunctionName", "AliasArn", "Statement", "ExecutedVersion")
"""Members that must not depend on how the function was named."""


@pytest.fixture(scope="module")
def signing_config(recorder: Any) -> Iterator[str]:
    lambda_ = recorder.client
    made = lambda_.create_code_signing_config(AllowedPublishers={"SigningProfileVersionArns": [PROFILE]})
    config: str = made["CodeSigningConfig"]["CodeSigningConfigArn"]
    yield config
    lambda_.delete_code_signing_config(CodeSigningConfigArn=config)


def prepare(lambda_: Any, name: str, operation: str) -> None:
    """What the operation needs to find."""
    url = {"FunctionName": name, "AuthType": "NONE"}
    before: dict[str, Callable[[], Any]] = {
        "GetPolicy": lambda: lambda_.add_permission(FunctionName=name, **REQUIRED["AddPermission"]),
        "RemovePermission": lambda: lambda_.add_permission(
            FunctionName=name, **{**REQUIRED["AddPermission"], "StatementId": "kept"}
        ),
        "GetFunctionUrlConfig": lambda: lambda_.create_function_url_config(**url),
        "UpdateFunctionUrlConfig": lambda: lambda_.create_function_url_config(**url),
        "DeleteFunctionUrlConfig": lambda: lambda_.create_function_url_config(**url),
        "GetProvisionedConcurrencyConfig": lambda: lambda_.put_provisioned_concurrency_config(
            FunctionName=name, **REQUIRED["PutProvisionedConcurrencyConfig"]
        ),
    }
    for one in ("Get", "Update", "Delete"):
        before[f"{one}FunctionEventInvokeConfig"] = lambda: lambda_.put_function_event_invoke_config(
            FunctionName=name, MaximumRetryAttempts=1
        )
    before.get(operation, lambda: None)()


@pytest.mark.parametrize("operation", NAMED)
def test_every_form_of_a_name(lambda_: Any, name: Callable[[], str], signing_config: str, operation: str) -> None:
    fn = name()
    beside = {"PutFunctionCodeSigningConfig": {"CodeSigningConfigArn": signing_config}, **REQUIRED}.get(operation, {})
    forms = [fn, f"{ACCOUNT}:function:{fn}", arn(fn), f"function:{fn}"]
    answers = []
    for form in forms:
        if operation != "CreateFunction":
            create(lambda_, fn, Publish=True)
            settled(lambda_, fn)
            lambda_.create_alias(FunctionName=fn, Name="live", FunctionVersion="1")
            prepare(lambda_, fn, operation)
        answer = getattr(lambda_, xform_name(operation))(FunctionName=form, **beside)
        if "Payload" in answer:
            answer["Payload"].read()
        if "EventStream" in answer:
            with closing(answer["EventStream"]) as stream:
                assert "InvokeComplete" in list(stream)[-1]
        answers.append({key: value for key, value in answer.items() if isinstance(value, str) and key in SAME})
        if operation != "DeleteFunction":
            lambda_.delete_function(FunctionName=fn)
        for mapping in lambda_.list_event_source_mappings()["EventSourceMappings"]:
            lambda_.delete_event_source_mapping(UUID=mapping["UUID"])
    assert answers == [answers[0]] * len(forms)
