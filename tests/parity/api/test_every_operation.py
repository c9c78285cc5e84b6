"""All 91 operations through the public SDK: routed, read, found valid, and answered so that the SDK understands."""

from __future__ import annotations

from typing import Any

import pytest
from botocore import xform_name
from botocore.exceptions import ClientError

from lambent.api.table import INVOKE_FAMILY, Shape, load_table

TABLE = load_table()
ARN = "arn:aws:lambda:us-east-1:123456789012"
UUID = "0190a5c4-0000-7000-8000-000000000001"

SAMPLES: dict[str, Any] = {
    "Action": "lambda:InvokeFunction",
    "AdditionalVersion": "2",
    "Arn": "arn:aws:s3:::bucket",
    "CallbackId": "YWJj/+A=",
    "CapacityProviderArn": f"{ARN}:capacity-provider:p",
    "CheckpointToken": "YWJj",
    "CodeSigningConfigArn": f"{ARN}:code-signing-config:csc-0123456789abcdefg",
    "DurableExecutionArn": f"{ARN}:function:f:1/durable-execution/name/id",
    "LayerPermissionAllowedAction": "lambda:GetLayerVersion",
    "LayerPermissionAllowedPrincipal": "*",
    "LayerVersionArn": f"{ARN}:layer:l:1",
    "PolicyResourceArn": f"{ARN}:function:f",
    "PublishedFunctionQualifier": "1",
    "Qualifier": "1",
    "ResourcePolicy": "{}",
    "RoleArn": "arn:aws:iam::123456789012:role/r",
    "SecurityGroupId": "sg-1",
    "SubnetId": "subnet-1",
    "TaggableResource": f"{ARN}:function:f",
    "UUIDString": UUID,
    "Version": "1",
    "VersionWithLatestPublished": "1",
}


def minimal(shape: Shape) -> Any:
    """The least value that the model allows."""
    if shape.name in SAMPLES:
        return SAMPLES[shape.name]
    if shape.kind == "structure":
        return {name: minimal(shape.members[name].shape) for name in shape.required}
    if shape.kind == "list":
        return [minimal(shape.element)] * int(max(shape.min or 0, 1))
    if shape.kind == "map":
        return {minimal(shape.key): minimal(shape.value)}
    if shape.kind in ("integer", "long"):
        return int(max(shape.min or 0, 1))
    simple: dict[str, Any] = {"double": shape.min or 0.0, "boolean": True, "blob": b"{}", "timestamp": 0}
    if shape.kind in simple:
        return simple[shape.kind]
    if shape.enum:
        return shape.enum[0]
    return "a" * int(max(shape.min or 0, 1))


def everything(shape: Shape) -> Any:
    """A value with every member that there is."""
    if shape.name in SAMPLES:
        return SAMPLES[shape.name]
    if shape.kind == "structure":
        return {name: everything(member.shape) for name, member in shape.members.items()}
    if shape.kind == "list":
        return [everything(shape.element)] * int(max(shape.min or 0, 1))
    if shape.kind == "map":
        return {everything(shape.key): everything(shape.value)}
    return minimal(shape)


@pytest.mark.parametrize("name", sorted(TABLE.operations))
def test_minimal_valid_input_is_well_formed_and_not_served(client: Any, name: str) -> None:
    operation = TABLE.operations[name]
    assert operation.input is not None
    with pytest.raises(ClientError) as refused:
        getattr(client, xform_name(name))(**minimal(operation.input))
    error = refused.value.response
    assert error["Error"]["Code"] == "NotImplementedException"
    assert name in error["Error"]["Message"]
    assert error["ResponseMetadata"]["HTTPStatusCode"] == 501
    assert error["ResponseMetadata"]["RequestId"]
    assert error["ResponseMetadata"]["RetryAttempts"] == 0


def test_whatever_the_sdk_sends_is_read(client: Any) -> None:
    """Every member of every operation, valid or not (the samples do not fit every pattern): never a SerializationException."""
    codes: dict[str, str] = {}
    for name in sorted(set(TABLE.operations) - INVOKE_FAMILY):
        operation = TABLE.operations[name]
        assert operation.input is not None
        with pytest.raises(ClientError) as refused:
            getattr(client, xform_name(name))(**everything(operation.input))
        codes[name] = refused.value.response["Error"]["Code"]
    assert set(codes.values()) <= {"NotImplementedException", "ValidationException"}, codes


def test_the_texts_reach_the_sdk_word_for_word(fresh: Any) -> None:
    client = fresh.client(parameter_validation=False)
    with pytest.raises(client.exceptions.ClientError) as refused:
        client.untag_resource(Resource=f"{ARN}:function:f", TagKeys=[])
    assert refused.value.response["Error"] == {
        "Code": "ValidationException",
        "Message": "1 validation error detected: Value null at 'tagKeys' failed to satisfy constraint: Member must not be "
        "null",
    }
    assert "Type" not in refused.value.response
    client.close()


def test_clients_of_services_that_are_not_served_understand_why(fresh: Any) -> None:
    for service, call in [
        ("sqs", lambda c: c.list_queues()),
        ("s3", lambda c: c.list_buckets()),
        ("s3", lambda c: c.get_object(Bucket="b", Key="k")),
        ("ec2", lambda c: c.describe_regions()),
        ("cloudwatch", lambda c: c.list_metrics()),
        ("dynamodb", lambda c: c.list_tables()),
        ("logs", lambda c: c.describe_log_groups()),
        ("cloudformation", lambda c: c.describe_stacks()),
        ("scheduler", lambda c: c.list_schedules()),
        ("sns", lambda c: c.list_topics()),
        ("stepfunctions", lambda c: c.list_state_machines()),
    ]:
        client = fresh.client(service)
        with pytest.raises(ClientError) as refused:
            call(client)
        client.close()
        error = refused.value.response
        assert error["Error"]["Code"] == "NotImplementedException", service
        assert "Lambent does not serve" in error["Error"]["Message"], service
        assert "AWS_ENDPOINT_URL_" in error["Error"]["Message"], service
        assert error["ResponseMetadata"]["HTTPStatusCode"] == 501, service
        assert error["ResponseMetadata"]["RequestId"], service
