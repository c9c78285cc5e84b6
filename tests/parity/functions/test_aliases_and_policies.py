"""Aliases and permissions as boto3 drives them, against a running Lambent."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.support import client, function

OWNER, GUEST = "717171717171", "727272727272"
"""Accounts that no other test acts in: others look at all that theirs have."""
ECHO = "def handler(event, context):\n    return [event, context.invoked_function_arn]\n"
WRITERS = 50


@pytest.fixture
def owner(endpoint: str) -> Iterator[Any]:
    one = client("lambda", endpoint, account=OWNER, max_pool_connections=WRITERS)
    yield one
    one.close()


@pytest.fixture
def guest(endpoint: str) -> Iterator[Any]:
    one = client("lambda", endpoint, account=GUEST)
    yield one
    one.close()


@pytest.fixture(scope="module")
def arn(endpoint: str) -> Iterator[str]:
    """A function of the owner's with version 1."""
    one = client("lambda", endpoint, account=OWNER)
    with function(one, ECHO) as name:
        yield one.publish_version(FunctionName=name)["FunctionArn"].removesuffix(":1")
    one.close()


def error(call: Any, **members: Any) -> tuple[int, str, str | None]:
    with pytest.raises(ClientError) as refused:
        call(**members)
    response = refused.value.response
    return (
        response["ResponseMetadata"]["HTTPStatusCode"],
        response["Error"]["Code"],
        response["Error"].get("Message"),
    )


def test_an_alias_from_creation_to_deletion(owner: Any, arn: str) -> None:
    made = owner.create_alias(
        FunctionName=arn,
        Name="live",
        FunctionVersion="$LATEST",
        Description="d",
    )
    assert made["ResponseMetadata"]["HTTPStatusCode"] == 201
    assert (made["AliasArn"], made["FunctionVersion"]) == (f"{arn}:live", "$LATEST")
    assert error(owner.create_alias, FunctionName=arn, Name="live", FunctionVersion="1") == (
        409,
        "ResourceConflictException",
        f"Alias already exists: {arn}:live",
    )
    moved = owner.update_alias(FunctionName=arn, Name="live", FunctionVersion="1", RevisionId=made["RevisionId"])
    status, code, _ = error(owner.update_alias, FunctionName=arn, Name="live", RevisionId=made["RevisionId"])
    assert (status, code) == (412, "PreconditionFailedException")
    assert moved["FunctionVersion"] == "1"
    pages = owner.get_paginator("list_aliases").paginate(FunctionName=arn)
    assert [[one["Name"] for one in page["Aliases"]] for page in pages] == [["live"]]
    configuration = owner.get_function(FunctionName=arn, Qualifier="live")["Configuration"]
    assert (configuration["FunctionArn"], configuration["Version"]) == (f"{arn}:live", "1")
    assert error(owner.delete_function, FunctionName=arn, Qualifier="1") == (
        409,
        "ResourceConflictException",
        "Unable to delete version because the following aliases reference it: [live]",
    )
    for _ in range(2):
        gone = owner.delete_alias(FunctionName=arn, Name="live")
        assert gone["ResponseMetadata"]["HTTPStatusCode"] == 204


def test_permissions_as_infrastructure_tools_write_and_read_them(owner: Any, arn: str) -> None:
    added = owner.add_permission(
        FunctionName=arn,
        StatementId="s3",
        Action="lambda:InvokeFunction",
        Principal="s3.amazonaws.com",
        SourceArn="arn:aws:s3:::bucket",
        SourceAccount=OWNER,
    )
    assert added["ResponseMetadata"]["HTTPStatusCode"] == 201
    statement = json.loads(added["Statement"])
    assert statement["Condition"] == {
        "StringEquals": {"AWS:SourceAccount": OWNER},
        "ArnLike": {"AWS:SourceArn": "arn:aws:s3:::bucket"},
    }
    got = owner.get_policy(FunctionName=arn)
    assert json.loads(got["Policy"])["Statement"] == [statement]
    whole = owner.get_resource_policy(ResourceArn=arn)
    assert (whole["Policy"], whole["RevisionId"]) == (got["Policy"], got["RevisionId"])
    put = owner.put_resource_policy(ResourceArn=arn, Policy=whole["Policy"], RevisionId=whole["RevisionId"])
    assert put["RevisionId"] != whole["RevisionId"]
    owner.remove_permission(FunctionName=arn, StatementId="s3", RevisionId=put["RevisionId"])
    nothing = (404, "ResourceNotFoundException", "The resource you requested does not exist.")
    assert error(owner.get_policy, FunctionName=arn) == nothing
    assert error(owner.delete_resource_policy, ResourceArn=arn) == nothing


def test_another_account_invokes_while_it_is_permitted_and_not_longer(owner: Any, guest: Any, arn: str) -> None:
    def denied(action: str = "InvokeFunction", resource: str = arn) -> tuple[int, str, str]:
        return (
            403,
            "AccessDeniedException",
            f"User: arn:aws:iam::{GUEST}:root is not authorized to perform: lambda:{action} on resource: {resource} "
            f"because no resource-based policy allows the lambda:{action} action",
        )

    assert error(guest.invoke, FunctionName=arn) == denied()
    owner.add_permission(FunctionName=arn, StatementId="g", Action="lambda:InvokeFunction", Principal=GUEST)
    answer = guest.invoke(FunctionName=arn, Payload=b'"hello"')
    assert (answer["StatusCode"], answer["ExecutedVersion"]) == (200, "$LATEST")
    assert json.loads(answer["Payload"].read()) == ["hello", arn]
    assert guest.invoke(FunctionName=arn, InvocationType="DryRun")["StatusCode"] == 204
    assert guest.invoke(FunctionName=arn, Qualifier="$LATEST")["StatusCode"] == 200
    # What was not named stays shut.
    assert error(guest.invoke, FunctionName=arn, Qualifier="1") == denied(resource=f"{arn}:1")
    assert error(guest.get_function, FunctionName=arn) == denied("GetFunction")
    assert error(guest.add_permission, FunctionName=arn, StatementId="x", Action="*", Principal="*") == (
        403,
        "AccessDeniedException",
        None,
    )
    owner.remove_permission(FunctionName=arn, StatementId="g")
    assert error(guest.invoke, FunctionName=arn) == denied()


def test_an_alias_is_shared_by_its_own_policy(owner: Any, guest: Any, arn: str) -> None:
    owner.create_alias(FunctionName=arn, Name="live", FunctionVersion="1")
    for action, sid in (("lambda:InvokeFunction", "i"), ("lambda:GetFunctionConfiguration", "c")):
        owner.add_permission(FunctionName=arn, Qualifier="live", StatementId=sid, Action=action, Principal=GUEST)
    answer = guest.invoke(FunctionName=f"{arn}:live", Payload=b"1")
    assert (answer["ExecutedVersion"], json.loads(answer["Payload"].read())) == ("1", [1, f"{arn}:live"])
    assert guest.get_function_configuration(FunctionName=arn, Qualifier="live")["Version"] == "1"
    assert error(guest.invoke, FunctionName=arn)[0] == 403
    owner.delete_alias(FunctionName=arn, Name="live")
    owner.create_alias(FunctionName=arn, Name="live", FunctionVersion="1")
    assert error(guest.invoke, FunctionName=f"{arn}:live")[0] == 403
    owner.delete_alias(FunctionName=arn, Name="live")


def test_a_document_opens_all_versions_and_denies_one(owner: Any, guest: Any, arn: str) -> None:
    allow = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{GUEST}:root"}, "Action": "lambda:Invoke*"}
    deny = {"Sid": "not-one", "Effect": "Deny", "Principal": "*", "Action": "lambda:*", "Resource": f"{arn}:1"}
    policy = {"Version": "2012-10-17", "Statement": [{**allow, "Resource": [arn, f"{arn}:*"]}]}
    owner.put_resource_policy(ResourceArn=arn, Policy=json.dumps(policy))
    assert guest.invoke(FunctionName=arn)["StatusCode"] == 200
    assert guest.invoke(FunctionName=arn, Qualifier="1")["ExecutedVersion"] == "1"
    policy["Statement"].append(deny)  # type: ignore[attr-defined]
    owner.put_resource_policy(ResourceArn=arn, Policy=json.dumps(policy))
    assert guest.invoke(FunctionName=arn)["StatusCode"] == 200
    status, _, message = error(guest.invoke, FunctionName=arn, Qualifier="1")
    assert (status, str(message).endswith("with an explicit deny in a resource-based policy")) == (403, True)
    assert owner.invoke(FunctionName=arn, Qualifier="1")["StatusCode"] == 200
    owner.delete_resource_policy(ResourceArn=arn)
    assert error(guest.invoke, FunctionName=arn)[0] == 403


def test_fifty_writers_at_once_lose_nothing(owner: Any, arn: str) -> None:
    owner.create_alias(FunctionName=arn, Name="busy", FunctionVersion="1")

    def permit(number: int) -> str:
        owner.add_permission(
            FunctionName=arn, StatementId=f"s{number}", Action="lambda:InvokeFunction", Principal="s3.amazonaws.com"
        )
        return str(owner.update_alias(FunctionName=arn, Name="busy", Description=str(number))["RevisionId"])

    with ThreadPoolExecutor(WRITERS) as pool:
        revisions = list(pool.map(permit, range(WRITERS)))
    assert len(set(revisions)) == WRITERS
    assert owner.get_alias(FunctionName=arn, Name="busy")["RevisionId"] in revisions
    statements = json.loads(owner.get_policy(FunctionName=arn)["Policy"])["Statement"]
    assert sorted(one["Sid"] for one in statements) == sorted(f"s{number}" for number in range(WRITERS))
    owner.delete_resource_policy(ResourceArn=arn)
    owner.delete_alias(FunctionName=arn, Name="busy")
