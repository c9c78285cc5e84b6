"""What belongs to a function beside its code and configuration, operation by operation through boto3: aliases, policies,
event invoke configurations, URLs, provisioned concurrency, runtime management, recursion, tags."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from typing import Any

import pytest
from tests.parity.api.judged import ACCOUNT, AT, UUID, arn, create, invalid, plain, refused, settled, status
from tests.support import package

INVALID, MISSING, CONFLICT = "InvalidParameterValueException", "ResourceNotFoundException", "ResourceConflictException"
GONE = "The resource you requested does not exist."
MISMATCH = "The derived qualifier from the function name does not match the specified qualifier."
STALE = (
    "The Revision Id provided does not match the latest Revision Id. Call the {} API to retrieve the latest Revision Id"
)


@pytest.fixture
def fn(lambda_: Any, name: Callable[[], str]) -> str:
    """A function with the versions 1 and 2."""
    made = name()
    create(lambda_, made, Publish=True)
    settled(lambda_, made)
    code = package({"app.py": "def handler(event, context):\n    return 2\n"})
    lambda_.update_function_code(FunctionName=made, ZipFile=code, Publish=True)
    settled(lambda_, made)
    return made


@pytest.mark.covers("CreateAlias", "GetAlias", "ListAliases", "UpdateAlias")
def test_aliases(lambda_: Any, fn: str) -> None:
    create_alias, update, get = lambda_.create_alias, lambda_.update_alias, lambda_.get_alias
    wanted = {"Name": "live", "FunctionVersion": "1", "Description": "d"}
    weights = {"AdditionalVersionWeights": {"2": 0.25}}
    made = create_alias(FunctionName=fn, RoutingConfig=weights, **wanted)
    assert status(made) == 201
    revision = made["RevisionId"]
    shown = {**wanted, "AliasArn": arn(fn, "live"), "RoutingConfig": weights, "RevisionId": revision}
    assert plain(made) == shown
    assert UUID.fullmatch(revision)
    assert plain(get(FunctionName=fn, Name="live")) == shown
    assert lambda_.list_aliases(FunctionName=fn)["Aliases"] == [shown]
    assert lambda_.list_aliases(FunctionName=fn, FunctionVersion="2")["Aliases"] == []
    changed = plain(update(FunctionName=fn, Name="live", FunctionVersion="2", RoutingConfig={}, RevisionId=revision))
    assert changed.pop("RevisionId") != revision
    assert changed == {**wanted, "AliasArn": arn(fn, "live"), "FunctionVersion": "2"}
    same = plain(update(FunctionName=fn, Name="live"))
    assert same.pop("RevisionId") not in (revision, None)
    assert same == changed
    bare = plain(create_alias(FunctionName=fn, Name="bare", FunctionVersion="$LATEST"))
    assert (bare["Description"], bare["FunctionVersion"]) == ("", "$LATEST")
    assert "RoutingConfig" not in bare
    pages = lambda_.get_paginator("list_aliases").paginate(FunctionName=fn, PaginationConfig={"PageSize": 1})
    assert [[one["Name"] for one in page["Aliases"]] for page in pages] == [["bare"], ["live"]]

    taken = f"Alias already exists: {arn(fn, 'live')}"
    refused(create_alias, CONFLICT, taken, FunctionName=fn, Name="live", FunctionVersion="1")
    missing = f"Function not found: {arn(fn, '9')}"
    refused(create_alias, MISSING, missing, FunctionName=fn, Name="a1", FunctionVersion="9")
    missing = f"Function not found: {arn('nope', '1')}"
    refused(create_alias, MISSING, missing, FunctionName="nope", Name="a1", FunctionVersion="1")
    bad_weights: list[tuple[str, str, dict[str, float], str, bool]] = [
        (
            "1",
            INVALID,
            {"1": 0.5, "2": 0.5},
            "Number of items in AdditionalVersionWeights cannot be greater than 1",
            True,
        ),
        (
            "1",
            INVALID,
            {"1": 0.5},
            "Invalid function version 1. Function version 1 is already included in routing configuration.",
            True,
        ),
        (
            "$LATEST",
            INVALID,
            {"1": 0.5},
            "$LATEST is not supported for an alias pointing to more than 1 version",
            False,
        ),
        ("1", MISSING, {"9": 0.5}, f"Function not found: {arn(fn, '9')}", True),
        (
            "1",
            "ValidationException",
            {"2": 2.0},
            invalid(
                "routingConfig.additionalVersionWeights",
                "{2=2.0}",
                "Map value must satisfy constraint: [Member must have value less than or equal to 1.0, Member must have "
                "value greater than or equal to 0.0, Member must not be null]",
            ),
            False,
        ),
        (
            "1",
            "ValidationException",
            {"$LATEST": 0.5},
            invalid(
                "routingConfig.additionalVersionWeights",
                "{$LATEST=0.5}",
                "Map keys must satisfy constraint: [Member must have length less than or equal to 1024, Member must have "
                "length greater than or equal to 1, Member must satisfy regular expression pattern: [0-9]+]",
            ),
            False,
        ),
    ]
    for version, code, given, message, has_type in bad_weights:
        config = {"RoutingConfig": {"AdditionalVersionWeights": given}, "FunctionVersion": version}
        refused(create_alias, code, message, has_type=has_type, FunctionName=fn, Name="a1", **config)
    nameless = f"Cannot find alias arn: {arn(fn, 'nope')}"
    refused(get, MISSING, nameless, FunctionName=fn, Name="nope")
    refused(get, MISSING, f"Function not found: {arn('nope')}", FunctionName="nope", Name="live")
    refused(update, MISSING, nameless, FunctionName=fn, Name="nope")
    stale = STALE.format("GetFunction/GetAlias")
    refused(update, "PreconditionFailedException", stale, FunctionName=fn, Name="live", RevisionId=revision)
    refused(lambda_.list_aliases, MISSING, f"Function not found: {arn('nope')}", FunctionName="nope")
    for _ in range(2):
        assert status(lambda_.delete_alias(FunctionName=fn, Name="live")) == 204
    refused(get, MISSING, f"Cannot find alias arn: {arn(fn, 'live')}", FunctionName=fn, Name="live")


@pytest.mark.covers("DeleteAlias")
def test_deleting_an_alias_refuses_bad_names_alone(lambda_: Any, fn: str) -> None:
    pattern = lambda_.meta.service_model.shape_for("Alias").metadata["pattern"]
    text = invalid("name", "7", f"Member must satisfy regular expression pattern: {pattern}")
    refused(lambda_.delete_alias, "ValidationException", text, FunctionName=fn, Name="7")
    elsewhere = "Functions from 'eu-west-1' are not reachable in this region ('us-east-1')"
    named = arn(fn).replace("us-east-1", "eu-west-1")
    refused(lambda_.delete_alias, MISSING, elsewhere, FunctionName=named, Name="live")
    assert status(lambda_.delete_alias(FunctionName=fn, Name="nope")) == 204


@pytest.mark.covers("AddPermission", "GetPolicy", "RemovePermission")
def test_permissions(lambda_: Any, fn: str) -> None:
    add, get, remove = lambda_.add_permission, lambda_.get_policy, lambda_.remove_permission
    everything = {
        "StatementId": "all-1",
        "Action": "lambda:InvokeFunctionUrl",
        "Principal": "events.amazonaws.com",
        "SourceAccount": ACCOUNT,
        "SourceArn": "arn:aws:events:us-east-1:616161616161:rule/r",
        "FunctionUrlAuthType": "NONE",
        "PrincipalOrgID": "o-1234567890",
        "EventSourceToken": "token",
    }
    made = add(FunctionName=fn, **everything)
    assert status(made) == 201
    statement = json.loads(made["Statement"])
    assert statement == {
        "Sid": "all-1",
        "Effect": "Allow",
        "Principal": {"Service": "events.amazonaws.com"},
        "Action": "lambda:InvokeFunctionUrl",
        "Resource": arn(fn),
        "Condition": {
            "StringEquals": {
                "AWS:SourceAccount": ACCOUNT,
                "lambda:FunctionUrlAuthType": "NONE",
                "aws:PrincipalOrgID": "o-1234567890",
                "lambda:EventSourceToken": "token",
            },
            "ArnLike": {"AWS:SourceArn": everything["SourceArn"]},
        },
    }
    principals = {
        "111122223333": {"AWS": "arn:aws:iam::111122223333:root"},
        "arn:aws:iam::111122223333:role/r": {"AWS": "arn:aws:iam::111122223333:role/r"},
        "*": "*",
    }
    for number, (given, shown) in enumerate(principals.items()):
        one = {"StatementId": f"p{number}", "Action": "lambda:InvokeFunction", "Principal": given}
        assert json.loads(add(FunctionName=fn, **one)["Statement"])["Principal"] == shown
    url = {"StatementId": "via-url", "Action": "lambda:InvokeFunction", "Principal": "*"}
    via = json.loads(add(FunctionName=fn, InvokedViaFunctionUrl=True, **url)["Statement"])
    assert via["Condition"] == {"Bool": {"lambda:InvokedViaFunctionUrl": "true"}}
    policy = get(FunctionName=fn)
    document = json.loads(policy["Policy"])
    assert (document["Version"], document["Id"]) == ("2012-10-17", "default")
    assert [one["Sid"] for one in document["Statement"]] == ["all-1", "p0", "p1", "p2", "via-url"]
    assert document["Statement"][0] == statement
    on_version = {"StatementId": "p0", "Action": "lambda:InvokeFunction", "Principal": "*", "Qualifier": "1"}
    assert json.loads(add(FunctionName=fn, **on_version)["Statement"])["Resource"] == arn(fn, "1")

    one = {"StatementId": "s", "Action": "lambda:InvokeFunction", "Principal": "s3.amazonaws.com"}
    text = "The statement id (p0) provided already exists. Please provide a new statement id, or remove the existing statement."
    refused(add, CONFLICT, text, FunctionName=fn, **{**one, "StatementId": "p0"})
    refused(add, MISSING, f"Function not found: {arn('nope')}", FunctionName="nope", **one)
    refused(add, MISSING, f"Function not found: {arn(fn, '9')}", FunctionName=fn, Qualifier="9", **one)
    refused(add, MISSING, f"Cannot find alias arn: {arn(fn, 'nope')}", FunctionName=fn, Qualifier="nope", **one)
    text = "We currently do not support adding policies for $LATEST."
    refused(add, INVALID, text, FunctionName=fn, Qualifier="$LATEST", **one)
    text = "The provided principal was invalid. Please check the principal and try again."
    refused(add, INVALID, text, FunctionName=fn, **{**one, "Principal": "nobody"})
    text = "FunctionUrlAuthType is only supported for lambda:InvokeFunctionUrl action"
    refused(add, INVALID, text, FunctionName=fn, FunctionUrlAuthType="NONE", **one)
    stale = STALE.format("GetPolicy")
    refused(add, "PreconditionFailedException", stale, FunctionName=fn, RevisionId="stale", **one)
    text = invalid("statementId", "a b", "Member must satisfy regular expression pattern: ([a-zA-Z0-9-_]+)")
    refused(add, "ValidationException", text, FunctionName=fn, **{**one, "StatementId": "a b"})
    for members in ({"FunctionName": "nope"}, {"FunctionName": fn, "Qualifier": "2"}):
        refused(get, MISSING, GONE, **members)
    refused(remove, MISSING, f"No policy found for: {arn('nope')}", FunctionName="nope", StatementId="s")
    text = "Statement s is not found in resource policy."
    refused(remove, MISSING, text, FunctionName=fn, StatementId="s")
    text = "No policy is associated with the given resource."
    refused(remove, MISSING, text, FunctionName=fn, Qualifier="2", StatementId="s")
    refused(remove, "PreconditionFailedException", stale, FunctionName=fn, StatementId="p0", RevisionId="stale")
    assert status(remove(FunctionName=fn, StatementId="p0", RevisionId=policy["RevisionId"])) == 204
    for sid in ("all-1", "p1", "p2", "via-url"):
        remove(FunctionName=fn, StatementId=sid)
    refused(get, MISSING, GONE, FunctionName=fn)
    assert json.loads(get(FunctionName=fn, Qualifier="1")["Policy"])["Statement"][0]["Sid"] == "p0"


@pytest.mark.covers("PutResourcePolicy", "GetResourcePolicy", "DeleteResourcePolicy")
def test_whole_policies(lambda_: Any, fn: str) -> None:
    put, get, delete = lambda_.put_resource_policy, lambda_.get_resource_policy, lambda_.delete_resource_policy
    statement = {
        "Effect": "Deny",
        "Principal": {"AWS": ["111122223333", "444455556666"]},
        "Action": ["lambda:InvokeFunction", "lambda:GetFunction"],
        "Resource": arn(fn),
    }
    document = {"Version": "2012-10-17", "Statement": [statement]}
    made = put(ResourceArn=arn(fn), Policy=json.dumps(document))
    assert status(made) == 200
    read = get(ResourceArn=arn(fn))
    assert plain(read) == plain(made)
    (stored,) = json.loads(read["Policy"])["Statement"]
    assert {k: stored[k] for k in ("Effect", "Action", "Resource")} == {
        k: statement[k] for k in ("Effect", "Action", "Resource")
    }
    again = put(ResourceArn=arn(fn), Policy=json.dumps(document), RevisionId=made["RevisionId"])
    assert again["RevisionId"] != made["RevisionId"]
    for call, members in ((put, {"Policy": json.dumps(document)}), (get, {}), (delete, {})):
        with pytest.raises(lambda_.exceptions.ResourceNotFoundException):
            call(ResourceArn=arn("nope"), **members)
    stale = STALE.format("GetResourcePolicy")
    refused(
        put,
        "PreconditionFailedException",
        stale,
        ResourceArn=arn(fn),
        Policy=json.dumps(document),
        RevisionId=made["RevisionId"],
    )
    refused(delete, "PreconditionFailedException", stale, ResourceArn=arn(fn), RevisionId=made["RevisionId"])
    for policy in ("no json", "[]", '{"Statement":[{"Effect":"Perhaps"}]}'):
        with pytest.raises(lambda_.exceptions.InvalidParameterValueException):
            put(ResourceArn=arn(fn), Policy=policy)
    assert status(delete(ResourceArn=arn(fn), RevisionId=again["RevisionId"])) == 204
    refused(get, MISSING, GONE, ResourceArn=arn(fn))
    refused(delete, MISSING, GONE, ResourceArn=arn(fn))


@pytest.mark.covers(
    *("PutFunctionEventInvokeConfig", "GetFunctionEventInvokeConfig", "UpdateFunctionEventInvokeConfig"),
    *("DeleteFunctionEventInvokeConfig", "ListFunctionEventInvokeConfigs"),
)
def test_event_invoke_configurations(lambda_: Any, fn: str) -> None:
    put, get = lambda_.put_function_event_invoke_config, lambda_.get_function_event_invoke_config
    update, delete = lambda_.update_function_event_invoke_config, lambda_.delete_function_event_invoke_config
    listing = lambda_.list_function_event_invoke_configs
    queue, topic = f"arn:aws:sqs:{AT}:q", f"arn:aws:sns:{AT}:t"
    wanted = {
        "MaximumRetryAttempts": 1,
        "MaximumEventAgeInSeconds": 60,
        "DestinationConfig": {"OnSuccess": {"Destination": queue}, "OnFailure": {"Destination": topic}},
    }
    made = put(FunctionName=fn, **wanted)
    assert {k: v for k, v in plain(made).items() if k != "LastModified"} == {
        **wanted,
        "FunctionArn": arn(fn, "$LATEST"),
    }
    assert plain(get(FunctionName=fn)) == plain(made)
    only = put(FunctionName=fn, Qualifier="1", MaximumRetryAttempts=0)
    assert only["DestinationConfig"] == {"OnSuccess": {}, "OnFailure": {}}
    assert "MaximumEventAgeInSeconds" not in only
    merged = update(FunctionName=fn, Qualifier="1", MaximumEventAgeInSeconds=21_600)
    assert (merged["MaximumRetryAttempts"], merged["MaximumEventAgeInSeconds"]) == (0, 21_600)
    assert listing(FunctionName=fn)["FunctionEventInvokeConfigs"] == [plain(made), plain(merged)]
    pages = lambda_.get_paginator("list_function_event_invoke_configs").paginate(
        FunctionName=fn, PaginationConfig={"PageSize": 1}
    )
    assert [len(page["FunctionEventInvokeConfigs"]) for page in pages] == [1, 1]

    text = "You must specify at least one of error handling or destination setting."
    gone = "The function doesn't exist."
    for call in (put, update):
        refused(call, INVALID, text, FunctionName=fn)
        refused(call, MISSING, gone, FunctionName="nope", MaximumRetryAttempts=1)
        refused(call, MISSING, gone, FunctionName=fn, Qualifier="9", MaximumRetryAttempts=1)
        itself = {"DestinationConfig": {"OnFailure": {"Destination": arn(fn)}}}
        refused(call, INVALID, "You can't specify the function as a destination for itself.", FunctionName=fn, **itself)
        nowhere = {"DestinationConfig": {"OnSuccess": {"Destination": arn("nope")}}}
        refused(call, INVALID, f"The destination ARN {arn('nope')} is invalid.", FunctionName=fn, **nowhere)
        table = f"arn:aws:dynamodb:{AT}:table/t"
        unsupported = (
            f"The provided destination config DestinationConfig(onSuccess=OnSuccess(destination={table}), "
            "onFailure=null) is invalid."
        )
        given = {"DestinationConfig": {"OnSuccess": {"Destination": table}}}
        refused(call, INVALID, unsupported, FunctionName=fn, Qualifier="1", **given)
        refused(call, INVALID, MISMATCH, FunctionName=f"{fn}:1", Qualifier="2", MaximumRetryAttempts=1)
    none = f"The function {arn(fn, '2')} doesn't have an EventInvokeConfig"
    refused(update, MISSING, none, FunctionName=fn, Qualifier="2", MaximumRetryAttempts=1)
    for call in (get, delete):
        refused(call, MISSING, none, FunctionName=fn, Qualifier="2")
        refused(call, MISSING, none.replace(arn(fn, "2"), arn("nope", "$LATEST")), FunctionName="nope")
    refused(listing, MISSING, gone, FunctionName="nope")
    text = invalid("maxItems", 51, "Member must have value less than or equal to 50")
    refused(listing, "ValidationException", text, FunctionName=fn, MaxItems=51)
    assert status(delete(FunctionName=fn)) == 204
    refused(get, MISSING, none.replace(":2", ":$LATEST"), FunctionName=fn)


@pytest.mark.covers(
    *("CreateFunctionUrlConfig", "GetFunctionUrlConfig", "UpdateFunctionUrlConfig", "DeleteFunctionUrlConfig"),
    "ListFunctionUrlConfigs",
)
def test_function_urls(lambda_: Any, fn: str) -> None:
    make, get = lambda_.create_function_url_config, lambda_.get_function_url_config
    update, delete = lambda_.update_function_url_config, lambda_.delete_function_url_config
    lambda_.create_alias(FunctionName=fn, Name="live", FunctionVersion="1")
    cors = {
        "AllowCredentials": True,
        "AllowHeaders": ["x-mine"],
        "AllowMethods": ["GET", "DELETE"],
        "AllowOrigins": ["https://example.com"],
        "ExposeHeaders": ["x-theirs"],
        "MaxAge": 86_400,
    }
    made = make(FunctionName=fn, Qualifier="live", AuthType="AWS_IAM", Cors=cors, InvokeMode="RESPONSE_STREAM")
    assert status(made) == 201
    wanted = {"AuthType": "AWS_IAM", "Cors": cors, "InvokeMode": "RESPONSE_STREAM", "FunctionArn": arn(fn, "live")}
    assert {k: made[k] for k in wanted} == wanted
    assert "LastModifiedTime" not in made
    read = plain(get(FunctionName=f"{fn}:live"))
    assert read == {**plain(made), "LastModifiedTime": read["LastModifiedTime"]}
    bare = make(FunctionName=fn, AuthType="NONE")
    assert set(plain(bare)) == {"FunctionUrl", "FunctionArn", "AuthType", "CreationTime"}
    assert bare["FunctionUrl"] != made["FunctionUrl"]
    assert get(FunctionName=fn)["InvokeMode"] == "BUFFERED"
    changed = update(FunctionName=fn, Qualifier="live", AuthType="NONE", Cors={}, InvokeMode="BUFFERED")
    assert (changed["AuthType"], changed["InvokeMode"]) == ("NONE", "BUFFERED")
    assert changed["FunctionUrl"] == made["FunctionUrl"]
    assert "Cors" not in changed
    pages = lambda_.get_paginator("list_function_url_configs").paginate(
        FunctionName=fn, PaginationConfig={"PageSize": 1}
    )
    listed = [[one["FunctionArn"] for one in page["FunctionUrlConfigs"]] for page in pages]
    assert listed == [[arn(fn)], [arn(fn, "live")]]

    text = (
        f"Failed to create function url config for [functionArn = {arn(fn)}]. Error message:  FunctionUrlConfig exists "
        "for this Lambda function"
    )
    refused(make, CONFLICT, text, FunctionName=fn, AuthType="NONE")
    nothing = "Function does not exist"
    for call, members in ((make, {"AuthType": "NONE"}), (update, {}), (lambda_.list_function_url_configs, {})):
        refused(call, MISSING, nothing, FunctionName="nope", **members)
    refused(make, MISSING, nothing, FunctionName=fn, Qualifier="nope", AuthType="NONE")
    pattern = r"Member must satisfy regular expression pattern: ((?!^\d+$)^[0-9a-zA-Z-_]+$)"
    for call, members in ((make, {"AuthType": "NONE"}), (update, {}), (get, {}), (delete, {})):
        for qualifier in ("1", "$LATEST"):
            text = invalid("qualifier", qualifier, pattern)
            refused(call, "ValidationException", text, FunctionName=fn, Qualifier=qualifier, **members)
        refused(call, INVALID, MISMATCH, FunctionName=f"{fn}:live", Qualifier="dead", **members)
    text = invalid("invokeMode", "FAST", "Member must satisfy enum value set: [RESPONSE_STREAM, BUFFERED]")
    refused(update, "ValidationException", text, FunctionName=fn, InvokeMode="FAST")
    text = "You can't leave AllowOrigins as empty when Cors is enabled."
    refused(update, INVALID, text, FunctionName=fn, Cors={"MaxAge": 3})
    for qualifier in (None, "live"):
        named = {"FunctionName": fn} if qualifier is None else {"FunctionName": fn, "Qualifier": qualifier}
        assert status(delete(**named)) == 204
        for call in (get, delete, update):
            refused(call, MISSING, GONE, **named)


@pytest.mark.covers("GetRuntimeManagementConfig", "PutRuntimeManagementConfig")
def test_runtime_management(lambda_: Any, fn: str) -> None:
    put, get = lambda_.put_runtime_management_config, lambda_.get_runtime_management_config
    assert plain(get(FunctionName=fn)) == {"UpdateRuntimeOn": "Auto", "FunctionArn": arn(fn, "$LATEST")}
    held = lambda_.get_function_configuration(FunctionName=fn)["RuntimeVersionConfig"]["RuntimeVersionArn"]
    other = held[:-4] + "0000"
    wanted = {"UpdateRuntimeOn": "Manual", "RuntimeVersionArn": other}
    assert plain(put(FunctionName=fn, Qualifier="1", **wanted)) == {**wanted, "FunctionArn": arn(fn, "1")}
    assert plain(get(FunctionName=f"{fn}:1")) == {**wanted, "FunctionArn": arn(fn, "1")}
    version = lambda_.get_function_configuration(FunctionName=fn, Qualifier="1")
    assert version["RuntimeVersionConfig"] == {"RuntimeVersionArn": other}
    assert plain(put(FunctionName=fn, UpdateRuntimeOn="FunctionUpdate"))["UpdateRuntimeOn"] == "FunctionUpdate"
    for call, members in ((get, {}), (put, {"UpdateRuntimeOn": "Auto"})):
        refused(call, MISSING, f"Function not found: {arn('nope')}", FunctionName="nope", **members)
        refused(call, MISSING, f"Function not found: {arn(fn, '9')}", FunctionName=fn, Qualifier="9", **members)
        text = f"The provided function name {arn(fn, 'live')} is invalid. Aliases are not allowed."
        refused(call, INVALID, text, FunctionName=fn, Qualifier="live", **members)
    with pytest.raises(lambda_.exceptions.InvalidParameterValueException):
        put(FunctionName=fn, UpdateRuntimeOn="Manual")
    with pytest.raises(lambda_.exceptions.InvalidParameterValueException):
        put(FunctionName=fn, UpdateRuntimeOn="Auto", RuntimeVersionArn=other)


@pytest.mark.covers("GetFunctionRecursionConfig", "PutFunctionRecursionConfig")
def test_recursion(lambda_: Any, fn: str) -> None:
    put, get = lambda_.put_function_recursion_config, lambda_.get_function_recursion_config
    assert plain(get(FunctionName=fn)) == {"RecursiveLoop": "Terminate"}
    for loop in ("Allow", "Terminate"):
        assert plain(put(FunctionName=fn, RecursiveLoop=loop)) == {"RecursiveLoop": loop}
        assert plain(get(FunctionName=arn(fn))) == {"RecursiveLoop": loop}
    missing = f"Function not found: {arn('nope')}"
    refused(get, MISSING, missing, FunctionName="nope")
    refused(put, MISSING, missing, FunctionName="nope", RecursiveLoop="Allow")
    text = invalid("recursiveLoop", "Perhaps", "Member must satisfy enum value set: [Terminate, Allow]")
    refused(put, "ValidationException", text, FunctionName=fn, RecursiveLoop="Perhaps")


@pytest.mark.covers("TagResource", "UntagResource", "ListTags")
def test_tags(lambda_: Any, fn: str) -> None:
    tag, untag, listing = lambda_.tag_resource, lambda_.untag_resource, lambda_.list_tags
    assert listing(Resource=arn(fn))["Tags"] == {}
    before = lambda_.get_function_configuration(FunctionName=fn)["RevisionId"]
    assert status(tag(Resource=arn(fn), Tags={"team": "x", "a b/c=d": "é", "empty": ""})) == 204
    assert status(tag(Resource=arn(fn), Tags={"team": "y"})) == 204
    tags = {"team": "y", "a b/c=d": "é", "empty": ""}
    assert listing(Resource=arn(fn))["Tags"] == tags
    assert lambda_.get_function(FunctionName=fn)["Tags"] == tags
    assert lambda_.get_function_configuration(FunctionName=fn)["RevisionId"] != before
    assert status(untag(Resource=arn(fn), TagKeys=["empty", "a b/c=d", "never there"])) == 204
    assert listing(Resource=arn(fn))["Tags"] == {"team": "y"}
    text = "Tags on function aliases and versions are not supported. Please specify a function ARN."
    mapping = f"arn:aws:lambda:{AT}:event-source-mapping:0190a5c4-0000-4000-8000-000000000001"
    config = f"arn:aws:lambda:{AT}:code-signing-config:csc-0123456789abcdefg"
    for call, members in ((tag, {"Tags": {"k": "v"}}), (untag, {"TagKeys": ["k"]}), (listing, {})):
        refused(call, MISSING, f"Function not found: {arn('nope')}", Resource=arn("nope"), **members)
        refused(call, INVALID, text, Resource=arn(fn, "1"), **members)
        refused(call, MISSING, f"Event source mapping not found: {mapping}", Resource=mapping, **members)
        refused(call, MISSING, f"Code signing config not found: {config}", Resource=config, **members)
    text = "An error occurred and the request cannot be processed."
    refused(tag, INVALID, text, Resource=arn(fn), Tags={})
    with pytest.raises(lambda_.exceptions.InvalidParameterValueException):
        tag(Resource=arn(fn), Tags={str(number): "" for number in range(50)})
    assert listing(Resource=arn(fn))["Tags"] == {"team": "y"}, "nothing of what is too much is kept"


@pytest.mark.covers(
    *("PutProvisionedConcurrencyConfig", "GetProvisionedConcurrencyConfig", "DeleteProvisionedConcurrencyConfig"),
    "ListProvisionedConcurrencyConfigs",
)
def test_provisioned_concurrency(lambda_: Any, fn: str) -> None:
    put, get = lambda_.put_provisioned_concurrency_config, lambda_.get_provisioned_concurrency_config
    delete, listing = lambda_.delete_provisioned_concurrency_config, lambda_.list_provisioned_concurrency_configs
    lambda_.create_alias(FunctionName=fn, Name="live", FunctionVersion="2")
    made = put(FunctionName=fn, Qualifier="1", ProvisionedConcurrentExecutions=1)
    assert status(made) == 202
    assert {k: v for k, v in plain(made).items() if k != "LastModified"} == {
        "RequestedProvisionedConcurrentExecutions": 1,
        "AvailableProvisionedConcurrentExecutions": 0,
        "AllocatedProvisionedConcurrentExecutions": 0,
        "Status": "IN_PROGRESS",
    }
    ready = get(FunctionName=fn, Qualifier="1")
    for _ in range(1000):
        if ready["Status"] != "IN_PROGRESS":
            break
        time.sleep(0.02)  # the service has no waiter for it
        ready = get(FunctionName=fn, Qualifier="1")
    assert {k: v for k, v in plain(ready).items() if k != "LastModified"} == {
        "RequestedProvisionedConcurrentExecutions": 1,
        "AvailableProvisionedConcurrentExecutions": 1,
        "AllocatedProvisionedConcurrentExecutions": 1,
        "Status": "READY",
    }
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+0000", ready["LastModified"])
    put(FunctionName=fn, Qualifier="live", ProvisionedConcurrentExecutions=1)
    pages = lambda_.get_paginator("list_provisioned_concurrency_configs").paginate(
        FunctionName=fn, PaginationConfig={"PageSize": 1}
    )
    listed = [page["ProvisionedConcurrencyConfigs"] for page in pages]
    assert [len(page) for page in listed] == [1, 1]
    by_arn = {one.pop("FunctionArn"): one for page in listed for one in page}
    assert by_arn[arn(fn, "1")] == plain(ready)
    assert set(by_arn) == {arn(fn, "1"), arn(fn, "live")}

    one = {"ProvisionedConcurrentExecutions": 1}
    text = "Provisioned Concurrency Configs cannot be applied to unpublished function versions."
    refused(put, INVALID, text, FunctionName=fn, Qualifier="$LATEST", **one)
    text = "The function resource provided must be an alias or a published version."
    for call in (get, delete):
        refused(call, INVALID, text, FunctionName=fn, Qualifier="$LATEST")
    none = "No Provisioned Concurrency Config found for this function"
    refused(get, "ProvisionedConcurrencyConfigNotFoundException", none, FunctionName=fn, Qualifier="2")
    for call, members in ((put, one), (get, {}), (delete, {})):
        nameless = f"Cannot find alias arn: {arn(fn, 'nope')}"
        refused(call, MISSING, nameless, FunctionName=fn, Qualifier="nope", **members)
        refused(call, MISSING, f"Function not found: {arn(fn, '9')}", FunctionName=fn, Qualifier="9", **members)
    text = "Version is pointed by a Provisioned Concurrency alias"
    refused(put, CONFLICT, text, FunctionName=fn, Qualifier="2", **one)
    lambda_.create_alias(FunctionName=fn, Name="old", FunctionVersion="1")
    text = "Alias can't be used for Provisioned Concurrency configuration on an already Provisioned version"
    refused(put, CONFLICT, text, FunctionName=fn, Qualifier="old", **one)
    lambda_.put_function_concurrency(FunctionName=fn, ReservedConcurrentExecutions=2)
    text = "Requested Provisioned Concurrency should not be greater than the reservedConcurrentExecution for function"
    refused(put, INVALID, text, FunctionName=fn, Qualifier="1", ProvisionedConcurrentExecutions=2)
    text = " ReservedConcurrentExecutions  1 should not be lower than function's total provisioned concurrency [2]."
    reserve = lambda_.put_function_concurrency
    refused(reserve, INVALID, text, has_type=False, FunctionName=fn, ReservedConcurrentExecutions=1)
    refused(listing, MISSING, f"Function not found: {arn('nope')}", FunctionName="nope")
    for _ in range(2):
        assert status(delete(FunctionName=fn, Qualifier="1")) == 204
    refused(get, "ProvisionedConcurrencyConfigNotFoundException", none, FunctionName=fn, Qualifier="1")
    lambda_.delete_alias(FunctionName=fn, Name="live")
    assert listing(FunctionName=fn)["ProvisionedConcurrencyConfigs"] == []
