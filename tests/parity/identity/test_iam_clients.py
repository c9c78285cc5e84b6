"""Roles and policies as boto3's clients of IAM and STS see them, in the order in which deployment tools ask."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.request import Request, urlopen

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from tests.support import client, unique

ACCOUNT = "333344445555"
ROOT = f"arn:aws:iam::{ACCOUNT}:root"
BASIC = "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"
TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Action": "sts:AssumeRole",
            "Principal": {"Service": "lambda.amazonaws.com", "AWS": ROOT},
        }
    ],
}
LOGS = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": ["logs:*"], "Resource": "arn:aws:logs:*:*:*"}],
}


@pytest.fixture
def iam(endpoint: str) -> Iterator[Any]:
    made = client("iam", endpoint, account=ACCOUNT)
    yield made
    made.close()


@pytest.fixture
def sts(endpoint: str) -> Iterator[Any]:
    made = client("sts", endpoint, account=ACCOUNT)
    yield made
    made.close()


@pytest.fixture
def role(iam: Any) -> Iterator[dict[str, Any]]:
    """A role of its own, gone afterwards with all that belongs to it."""
    name = unique("role")
    yield iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(TRUST))["Role"]
    for arn in iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"]:
        iam.detach_role_policy(RoleName=name, PolicyArn=arn["PolicyArn"])
    for policy in iam.list_role_policies(RoleName=name)["PolicyNames"]:
        iam.delete_role_policy(RoleName=name, PolicyName=policy)
    iam.delete_role(RoleName=name)


@pytest.fixture
def policy(iam: Any) -> Iterator[dict[str, Any]]:
    made = iam.create_policy(PolicyName=unique("policy"), PolicyDocument=json.dumps(LOGS))["Policy"]
    yield made
    for version in iam.list_policy_versions(PolicyArn=made["Arn"])["Versions"]:
        if not version["IsDefaultVersion"]:
            iam.delete_policy_version(PolicyArn=made["Arn"], VersionId=version["VersionId"])
    iam.delete_policy(PolicyArn=made["Arn"])


def refused(call: Callable[[], Any]) -> tuple[str, str, int]:
    with pytest.raises(ClientError) as error:
        call()
    response = error.value.response
    assert response["ResponseMetadata"]["RequestId"]
    return response["Error"]["Code"], response["Error"]["Message"], response["ResponseMetadata"]["HTTPStatusCode"]


def test_a_role_comes_back_as_it_was_created(iam: Any) -> None:
    name = unique("role")
    boundary = "arn:aws:iam::aws:policy/PowerUserAccess"
    created = iam.create_role(
        RoleName=name,
        Path="/team/blue/",
        AssumeRolePolicyDocument=json.dumps(TRUST, indent=2),
        Description="works & <plays>\r\n",
        MaxSessionDuration=7_200,
        PermissionsBoundary=boundary,
        Tags=[{"Key": "team", "Value": "blue"}, {"Key": "cost", "Value": ""}],
    )["Role"]
    got = iam.get_role(RoleName=name)["Role"]
    iam.delete_role(RoleName=name)
    assert created["Arn"] == f"arn:aws:iam::{ACCOUNT}:role/team/blue/{name}"
    assert created["AssumeRolePolicyDocument"] == TRUST
    assert (created["Path"], created["RoleName"]) == ("/team/blue/", name)
    assert (created["Description"], created["MaxSessionDuration"]) == ("works & <plays>\r\n", 7_200)
    assert created["PermissionsBoundary"] == {
        "PermissionsBoundaryType": "PermissionsBoundaryPolicy",
        "PermissionsBoundaryArn": boundary,
    }
    assert created["Tags"] == [{"Key": "team", "Value": "blue"}, {"Key": "cost", "Value": ""}]
    assert abs(created["CreateDate"] - datetime.now(UTC)) < timedelta(minutes=5)
    assert got.pop("RoleLastUsed") == {}
    assert got == created


def test_the_life_of_a_role_as_terraform_drives_it(iam: Any) -> None:
    """create: CreateRole, GetRole, ListRolePolicies, ListAttachedRolePolicies; change; destroy:
    ListInstanceProfilesForRole, ListRolePolicies, DeleteRole, and GetRole finds nothing."""
    name = unique("role")
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(TRUST), Path="/", MaxSessionDuration=3_600)
    role = iam.get_role(RoleName=name)["Role"]
    assert "Description" not in role
    assert iam.list_role_policies(RoleName=name)["PolicyNames"] == []
    assert iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"] == []
    iam.attach_role_policy(RoleName=name, PolicyArn=BASIC)
    assert iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"] == [
        {"PolicyName": "AWSLambdaBasicExecutionRole", "PolicyArn": BASIC}
    ]
    iam.put_role_policy(RoleName=name, PolicyName="inline", PolicyDocument=json.dumps(LOGS))
    got = iam.get_role_policy(RoleName=name, PolicyName="inline")
    assert (got["RoleName"], got["PolicyName"], got["PolicyDocument"]) == (name, "inline", LOGS)
    iam.update_role_description(RoleName=name, Description="new")
    iam.update_role(RoleName=name, MaxSessionDuration=43_200)
    iam.update_assume_role_policy(RoleName=name, PolicyDocument=json.dumps({**TRUST, "Id": "x"}))
    iam.tag_role(RoleName=name, Tags=[{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}])
    iam.untag_role(RoleName=name, TagKeys=["a"])
    iam.put_role_permissions_boundary(RoleName=name, PermissionsBoundary=BASIC)
    changed = iam.get_role(RoleName=name)["Role"]
    assert (changed["Description"], changed["MaxSessionDuration"]) == ("new", 43_200)
    assert changed["AssumeRolePolicyDocument"]["Id"] == "x"
    assert changed["Tags"] == iam.list_role_tags(RoleName=name)["Tags"] == [{"Key": "b", "Value": "2"}]
    assert changed["PermissionsBoundary"]["PermissionsBoundaryArn"] == BASIC
    iam.delete_role_permissions_boundary(RoleName=name)
    assert "PermissionsBoundary" not in iam.get_role(RoleName=name)["Role"]
    assert iam.list_instance_profiles_for_role(RoleName=name)["InstanceProfiles"] == []
    assert refused(lambda: iam.delete_role(RoleName=name))[0] == "DeleteConflict"
    iam.detach_role_policy(RoleName=name, PolicyArn=BASIC)
    iam.delete_role_policy(RoleName=name, PolicyName="inline")
    iam.delete_role(RoleName=name)
    with pytest.raises(iam.exceptions.NoSuchEntityException):
        iam.get_role(RoleName=name)


def test_chalice_and_zappa_look_first_and_create_then(iam: Any) -> None:
    """GetRole 404, CreateRole, (GetRolePolicy 404,) PutRolePolicy."""
    name = unique("role")
    assert refused(lambda: iam.get_role(RoleName=name)) == (
        "NoSuchEntity",
        f"The role with name {name} cannot be found.",
        404,
    )
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(TRUST))
    assert refused(lambda: iam.get_role_policy(RoleName=name, PolicyName="zappa-permissions")) == (
        "NoSuchEntity",
        "The role policy with name zappa-permissions cannot be found.",
        404,
    )
    iam.put_role_policy(RoleName=name, PolicyName="zappa-permissions", PolicyDocument=json.dumps(LOGS))
    iam.delete_role_policy(RoleName=name, PolicyName="zappa-permissions")
    iam.delete_role(RoleName=name)


def test_the_life_of_a_managed_policy(iam: Any, role: dict[str, Any]) -> None:
    name = unique("policy")
    created = iam.create_policy(
        PolicyName=name,
        Path="/p/",
        PolicyDocument=json.dumps(LOGS),
        Description="logs",
        Tags=[{"Key": "a", "Value": "1"}],
    )["Policy"]
    arn = created["Arn"]
    assert arn == f"arn:aws:iam::{ACCOUNT}:policy/p/{name}"
    got = iam.get_policy(PolicyArn=arn)["Policy"]
    assert got == created
    assert (got["DefaultVersionId"], got["AttachmentCount"], got["IsAttachable"]) == ("v1", 0, True)
    assert iam.get_policy_version(PolicyArn=arn, VersionId="v1")["PolicyVersion"]["Document"] == LOGS
    second = iam.create_policy_version(PolicyArn=arn, PolicyDocument=json.dumps({**LOGS, "Id": "2"}), SetAsDefault=True)
    assert (second["PolicyVersion"]["VersionId"], second["PolicyVersion"]["IsDefaultVersion"]) == ("v2", True)
    versions = iam.list_policy_versions(PolicyArn=arn)["Versions"]
    assert [(one["VersionId"], one["IsDefaultVersion"]) for one in versions] == [("v2", True), ("v1", False)]
    iam.set_default_policy_version(PolicyArn=arn, VersionId="v1")
    iam.delete_policy_version(PolicyArn=arn, VersionId="v2")
    iam.tag_policy(PolicyArn=arn, Tags=[{"Key": "b", "Value": "2"}])
    iam.untag_policy(PolicyArn=arn, TagKeys=["a"])
    assert iam.list_policy_tags(PolicyArn=arn)["Tags"] == [{"Key": "b", "Value": "2"}]
    iam.attach_role_policy(RoleName=role["RoleName"], PolicyArn=arn)
    entities = iam.list_entities_for_policy(PolicyArn=arn)
    assert entities["PolicyRoles"] == [{"RoleName": role["RoleName"], "RoleId": role["RoleId"]}]
    assert (entities["PolicyUsers"], entities["PolicyGroups"]) == ([], [])
    assert iam.get_policy(PolicyArn=arn)["Policy"]["AttachmentCount"] == 1
    assert refused(lambda: iam.delete_policy(PolicyArn=arn)) == (
        "DeleteConflict",
        "Cannot delete a policy attached to entities.",
        409,
    )
    iam.detach_role_policy(RoleName=role["RoleName"], PolicyArn=arn)
    iam.delete_policy(PolicyArn=arn)
    assert refused(lambda: iam.get_policy(PolicyArn=arn)) == ("NoSuchEntity", f"Policy {arn} was not found.", 404)


def test_aws_s_policies_are_read_where_they_are_known(iam: Any) -> None:
    got = iam.get_policy(PolicyArn=BASIC)["Policy"]
    assert (got["PolicyName"], got["Path"], got["DefaultVersionId"]) == (
        "AWSLambdaBasicExecutionRole",
        "/service-role/",
        "v1",
    )
    document = iam.get_policy_version(PolicyArn=BASIC, VersionId="v1")["PolicyVersion"]["Document"]
    assert document["Statement"][0]["Action"] == ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"]
    unknown = "arn:aws:iam::aws:policy/AmazonBraketFullAccess"
    assert refused(lambda: iam.get_policy(PolicyArn=unknown)) == (
        "NoSuchEntity",
        f"Policy {unknown} was not found.",
        404,
    )
    for change in (
        lambda: iam.delete_policy(PolicyArn=BASIC),
        lambda: iam.create_policy_version(PolicyArn=BASIC, PolicyDocument=json.dumps(LOGS)),
    ):
        assert refused(change) == ("ValidationError", f"Policy {BASIC} is managed by AWS and can't be changed.", 400)


def test_lists_come_in_pages(iam: Any, policy: dict[str, Any]) -> None:
    prefix = f"/{unique('page')}/"
    names = [unique("role") for _ in range(5)]
    for name in names:
        iam.create_role(RoleName=name, Path=prefix, AssumeRolePolicyDocument=json.dumps(TRUST))
    try:
        pages = iam.get_paginator("list_roles").paginate(PathPrefix=prefix, PaginationConfig={"PageSize": 2})
        listed = [[role["RoleName"] for role in page["Roles"]] for page in pages]
        assert [len(page) for page in listed] == [2, 2, 1]
        assert sorted(name for page in listed for name in page) == sorted(names)
        assert all("Tags" not in one for one in iam.list_roles(PathPrefix=prefix)["Roles"])
        local = iam.get_paginator("list_policies").paginate(Scope="Local")
        assert policy["Arn"] in [one["Arn"] for one in local.search("Policies[]")]
        known = list(iam.get_paginator("list_policies").paginate(Scope="AWS", PaginationConfig={"PageSize": 5}))
        assert BASIC in [one["Arn"] for page in known for one in page["Policies"]]
        everything = iam.get_paginator("list_policies").paginate().search("Policies[].Arn")
        assert {policy["Arn"], BASIC} <= set(everything)
        iam.attach_role_policy(RoleName=names[0], PolicyArn=policy["Arn"])
        attached = iam.list_policies(OnlyAttached=True)["Policies"]
        assert [one["Arn"] for one in attached if one["Arn"] == policy["Arn"]] == [policy["Arn"]]
        assert all(one["AttachmentCount"] for one in attached)
        iam.detach_role_policy(RoleName=names[0], PolicyArn=policy["Arn"])
        assert refused(lambda: iam.list_roles(Marker="ä")) == ("ValidationError", "Invalid Marker.", 400)
    finally:
        for name in names:
            iam.delete_role(RoleName=name)


def test_what_is_refused_reads_as_iam_writes_it(iam: Any, role: dict[str, Any]) -> None:
    name = role["RoleName"]
    nowhere = f"arn:aws:iam::{ACCOUNT}:policy/nowhere"
    trust, logs = json.dumps(TRUST), json.dumps(LOGS)
    cases: list[tuple[Callable[[], Any], str, str, int]] = [
        (
            lambda: iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust),
            "EntityAlreadyExists",
            f"Role with name {name} already exists.",
            409,
        ),
        (
            lambda: iam.create_role(RoleName="n", AssumeRolePolicyDocument="role.json"),
            "MalformedPolicyDocument",
            "This policy contains invalid Json",
            400,
        ),
        (
            lambda: iam.create_role(RoleName="n", AssumeRolePolicyDocument=logs),
            "MalformedPolicyDocument",
            "Has prohibited field Resource",
            400,
        ),
        (
            lambda: iam.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument="{}"),
            "MalformedPolicyDocument",
            "Syntax errors in policy.",
            400,
        ),
        (
            lambda: iam.attach_role_policy(RoleName=name, PolicyArn=nowhere),
            "NoSuchEntity",
            f"Policy {nowhere} does not exist or is not attachable.",
            404,
        ),
        (
            lambda: iam.detach_role_policy(RoleName=name, PolicyArn=nowhere),
            "NoSuchEntity",
            f"Policy {nowhere} was not found.",
            404,
        ),
        (
            lambda: iam.create_role(RoleName="no/slash", AssumeRolePolicyDocument=trust),
            "ValidationError",
            "1 validation error detected: Value 'no/slash' at 'roleName' failed to satisfy constraint: Member must "
            "satisfy regular expression pattern: [\\w+=,.@-]+",
            400,
        ),
        (
            lambda: iam.update_role(RoleName=name, MaxSessionDuration=43_201),
            "ValidationError",
            "1 validation error detected: Value '43201' at 'maxSessionDuration' failed to satisfy constraint: Member must "
            "have value less than or equal to 43200",
            400,
        ),
        (
            lambda: iam.tag_role(RoleName=name, Tags=[{"Key": "a", "Value": "1"}, {"Key": "A", "Value": "2"}]),
            "InvalidInput",
            "Duplicate tag keys found. Please note that Tag keys are case insensitive.",
            400,
        ),
        (
            lambda: iam.create_role(
                RoleName="n",
                AssumeRolePolicyDocument=trust,
                Tags=[{"Key": "a", "Value": "1"}, {"Key": "a", "Value": "2"}],
            ),
            "InvalidInput",
            "Duplicate tag keys found. Please note that Tag keys are case insensitive.",
            400,
        ),
    ]
    for call, *error in cases:
        assert refused(call) == tuple(error)


@pytest.mark.parametrize(
    "call",
    [
        lambda iam: iam.list_users(),
        lambda iam: iam.create_user(UserName="ada"),
        lambda iam: iam.get_user(),
        lambda iam: iam.create_access_key(UserName="ada"),
        lambda iam: iam.create_service_linked_role(AWSServiceName="lambda.amazonaws.com"),
        lambda iam: iam.simulate_principal_policy(PolicySourceArn=ROOT, ActionNames=["s3:GetObject"]),
        lambda iam: iam.create_instance_profile(InstanceProfileName="p"),
    ],
)
def test_the_rest_of_iam_says_that_it_is_not_served(iam: Any, call: Callable[[Any], Any]) -> None:
    code, message, status = refused(lambda: call(iam))
    assert (code, status) == ("NotImplementedException", 501)
    assert "is a valid operation of iam, but Lambent" in message


def test_who_is_calling(sts: Any) -> None:
    identity = sts.get_caller_identity()
    assert (identity["UserId"], identity["Account"], identity["Arn"]) == (ACCOUNT, ACCOUNT, ROOT)


def test_a_presigned_identity_is_a_plain_get(sts: Any) -> None:
    url = sts.generate_presigned_url("get_caller_identity", HttpMethod="GET")
    with urlopen(Request(url)) as answer:
        text = answer.read().decode()
    assert f"<Arn>{ROOT}</Arn>" in text


def test_a_role_is_assumed_and_used(endpoint: str, sts: Any, role: dict[str, Any]) -> None:
    """As CDK does: AssumeRole, then everything else with what it gave."""
    assumed = sts.assume_role(
        RoleArn=role["Arn"], RoleSessionName="cdk", DurationSeconds=900, SourceIdentity="me", Policy=json.dumps(LOGS)
    )
    arn = f"arn:aws:sts::{ACCOUNT}:assumed-role/{role['RoleName']}/cdk"
    assert assumed["AssumedRoleUser"] == {"AssumedRoleId": f"{role['RoleId']}:cdk", "Arn": arn}
    assert assumed["SourceIdentity"] == "me"
    keys = assumed["Credentials"]
    left_s = (keys["Expiration"] - datetime.now(UTC)).total_seconds()
    assert 600 < left_s <= 900
    for service, call in {
        "sts": lambda one: one.get_caller_identity()["Arn"] == arn,
        "lambda": lambda one: one.list_functions()["Functions"] == [],
        "iam": lambda one: one.get_role(RoleName=role["RoleName"])["Role"]["Arn"] == role["Arn"],
        "logs": lambda one: "logGroups" in one.describe_log_groups(),
    }.items():
        made = boto3.client(
            service,
            endpoint_url=endpoint,
            region_name="us-east-1",
            aws_access_key_id=keys["AccessKeyId"],
            aws_secret_access_key=keys["SecretAccessKey"],
            aws_session_token=keys["SessionToken"],
            config=Config(retries={"total_max_attempts": 1}),
        )
        assert call(made), service
        made.close()
    assert sts.get_access_key_info(AccessKeyId=keys["AccessKeyId"])["Account"] == ACCOUNT


def test_what_sts_refuses(sts: Any, role: dict[str, Any]) -> None:
    unknown = f"arn:aws:iam::{ACCOUNT}:role/nobody"
    denied = f"User: {ROOT} is not authorized to perform: sts:AssumeRole on resource: {unknown}"
    cases: list[tuple[Callable[[], Any], str, str, int]] = [
        (lambda: sts.assume_role(RoleArn=unknown, RoleSessionName="me"), "AccessDenied", denied, 403),
        (
            lambda: sts.assume_role(RoleArn=role["Arn"], RoleSessionName="me", DurationSeconds=3_601),
            "ValidationError",
            "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.",
            400,
        ),
        (
            lambda: sts.assume_role(RoleArn=role["Arn"], RoleSessionName="me", Policy="{"),
            "MalformedPolicyDocument",
            "Syntax errors in policy.",
            400,
        ),
        (
            lambda: sts.assume_role(
                RoleArn=role["Arn"], RoleSessionName="me", SerialNumber="123456789", TokenCode="123456"
            ),
            "AccessDenied",
            "MultiFactorAuthentication failed with invalid MFA one time pass code.",
            403,
        ),
    ]
    for call, *error in cases:
        assert refused(call) == tuple(error)
    code, message, status = refused(lambda: sts.get_federation_token(Name="me"))
    assert (code, status) == ("NotImplementedException", 501)
    assert "AssumeRole, GetAccessKeyInfo, GetCallerIdentity, GetSessionToken" in message


def test_a_session_of_one_s_own(endpoint: str, sts: Any) -> None:
    keys = sts.get_session_token(DurationSeconds=900)["Credentials"]
    made = boto3.client(
        "sts",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id=keys["AccessKeyId"],
        aws_secret_access_key=keys["SecretAccessKey"],
        aws_session_token=keys["SessionToken"],
    )
    assert made.get_caller_identity()["Arn"] == ROOT
    assert refused(lambda: made.get_session_token()) == (
        "AccessDenied",
        "Cannot call GetSessionToken with session credentials",
        403,
    )
    made.close()


def test_roles_have_no_region_and_one_account(endpoint: str, iam: Any, role: dict[str, Any]) -> None:
    abroad = client("iam", endpoint, account=ACCOUNT, region="eu-west-1")
    assert abroad.get_role(RoleName=role["RoleName"])["Role"]["RoleId"] == role["RoleId"]
    abroad.close()
    other = client("iam", endpoint, account="666677778888")
    assert refused(lambda: other.get_role(RoleName=role["RoleName"]))[0] == "NoSuchEntity"
    assert other.list_roles()["Roles"] == []
    other.close()
