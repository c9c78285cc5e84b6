"""The life of a layer as boto3 drives it, against a running Lambent: typed answers, typed errors, paginators."""

from __future__ import annotations

import hashlib
import json
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.support import client, function, package, unique

ZIP = package({"python/of_layer.py": "X = 1\n"})
GET = "lambda:GetLayerVersion"


@pytest.fixture(scope="module")
def lambda_(endpoint: str) -> Iterator[Any]:
    made = client("lambda", endpoint)
    made.get_account_settings()  # so that no test is the one that connects
    yield made
    made.close()


@pytest.fixture
def name(lambda_: Any) -> Iterator[str]:
    """A name of its own; its versions are gone afterwards."""
    name = unique("parity")
    yield name
    for version in lambda_.list_layer_versions(LayerName=name)["LayerVersions"]:
        lambda_.delete_layer_version(LayerName=name, VersionNumber=version["Version"])


def publish(lambda_: Any, name: str, **members: Any) -> Any:
    return lambda_.publish_layer_version(LayerName=name, **{"Content": {"ZipFile": ZIP}, **members})


def error(call: Any, **members: Any) -> tuple[int, str, str]:
    with pytest.raises(ClientError) as refused:
        call(**members)
    response = refused.value.response
    return response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"], response["Error"]["Message"]


def test_publish_get_list_delete(lambda_: Any, name: str) -> None:
    made = publish(lambda_, name, Description="d", CompatibleRuntimes=["python3.11"], LicenseInfo="MIT")
    assert made["ResponseMetadata"]["HTTPStatusCode"] == 201
    assert (made["Version"], made["CompatibleRuntimes"], made["LicenseInfo"]) == (1, ["python3.11"], "MIT")
    assert "CompatibleArchitectures" not in made
    assert publish(lambda_, made["LayerArn"])["Version"] == 2
    with urllib.request.urlopen(made["Content"]["Location"], timeout=10) as answer:
        assert answer.read() == ZIP
    assert made["Content"]["CodeSha256"] == b64encode(hashlib.sha256(ZIP).digest()).decode()
    for got in (
        lambda_.get_layer_version(LayerName=name, VersionNumber=1),
        lambda_.get_layer_version_by_arn(Arn=made["LayerVersionArn"]),
    ):
        same = ("LayerArn", "LayerVersionArn", "Version", "CreatedDate", "Description", "CompatibleRuntimes")
        assert [got[member] for member in same] == [made[member] for member in same]
    pages = lambda_.get_paginator("list_layer_versions").paginate(LayerName=name, PaginationConfig={"PageSize": 1})
    assert [one["Version"] for page in pages for one in page["LayerVersions"]] == [2, 1]
    pages = lambda_.get_paginator("list_layers").paginate(PaginationConfig={"PageSize": 1})
    listed = {one["LayerName"]: one["LatestMatchingVersion"]["Version"] for page in pages for one in page["Layers"]}
    assert listed[name] == 2
    for _ in range(2):
        deleted = lambda_.delete_layer_version(LayerName=name, VersionNumber=2)
        assert deleted["ResponseMetadata"]["HTTPStatusCode"] == 204
    with pytest.raises(lambda_.exceptions.ResourceNotFoundException, match="The resource you requested does not exist"):
        lambda_.get_layer_version(LayerName=name, VersionNumber=2)
    assert publish(lambda_, name)["Version"] == 3


def test_a_policy(lambda_: Any, name: str) -> None:
    publish(lambda_, name)
    which = {"LayerName": name, "VersionNumber": 1}
    added = lambda_.add_layer_version_permission(**which, StatementId="s", Action=GET, Principal="111122223333")
    assert added["ResponseMetadata"]["HTTPStatusCode"] == 201
    assert json.loads(added["Statement"])["Principal"] == {"AWS": "arn:aws:iam::111122223333:root"}
    got = lambda_.get_layer_version_policy(**which)
    assert json.loads(got["Policy"])["Statement"] == [json.loads(added["Statement"])]
    assert got["RevisionId"] == added["RevisionId"]
    with pytest.raises(lambda_.exceptions.ResourceConflictException):
        lambda_.add_layer_version_permission(**which, StatementId="s", Action=GET, Principal="*")
    with pytest.raises(lambda_.exceptions.PreconditionFailedException):
        lambda_.remove_layer_version_permission(**which, StatementId="s", RevisionId="no")
    lambda_.remove_layer_version_permission(**which, StatementId="s", RevisionId=got["RevisionId"])
    with pytest.raises(lambda_.exceptions.ResourceNotFoundException, match="No policy is associated"):
        lambda_.get_layer_version_policy(**which)


def test_constraints_are_reported_together_runtimes_first(lambda_: Any, name: str) -> None:
    status, code, message = error(
        lambda_.publish_layer_version,
        LayerName=name,
        Content={"ZipFile": ZIP},
        CompatibleRuntimes=["invalidruntime", "invalidruntime2", "nodejs20.x"],
        CompatibleArchitectures=["invalidarch", "x86_64"],
    )
    assert (status, code) == (400, "ValidationException")
    assert message.startswith(
        "2 validation errors detected: Value '[invalidruntime, invalidruntime2, nodejs20.x]' at 'compatibleRuntimes' "
        "failed to satisfy constraint: Member must satisfy enum value set: [nodejs20.x, python3.14, "
    )
    assert message.endswith(
        "]; Value '[invalidarch, x86_64]' at 'compatibleArchitectures' failed to satisfy constraint: Member must "
        "satisfy constraint: [Member must satisfy enum value set: [x86_64, arm64], Member must not be null]"
    )
    status, code, message = error(lambda_.list_layers, CompatibleRuntime="python1.0")
    assert (status, code) == (400, "ValidationException")
    assert message.startswith(
        "1 validation error detected: Value 'python1.0' at 'compatibleRuntime' failed to satisfy constraint: "
        "Member must satisfy enum value set: [ruby3.5, ruby2.6, dotnetcore1.0, "
    )


def test_a_function_shows_its_layers_and_account_settings_count_them(lambda_: Any, name: str) -> None:
    def used() -> int:
        return int(lambda_.get_account_settings()["AccountUsage"]["TotalCodeSize"])

    before = used()
    arn = publish(lambda_, name)["LayerVersionArn"]
    assert used() - before == len(ZIP)
    with function(lambda_, "def handler(event, context): pass\n", Layers=[arn]) as fn:
        assert lambda_.get_function(FunctionName=fn)["Configuration"]["Layers"] == [{"Arn": arn, "CodeSize": len(ZIP)}]
        listed = {one["FunctionName"]: one for one in lambda_.list_functions()["Functions"]}
        assert listed[fn]["Layers"] == [{"Arn": arn, "CodeSize": len(ZIP)}]
        other = publish(lambda_, name)["LayerVersionArn"]
        refused = error(lambda_.update_function_configuration, FunctionName=fn, Layers=[arn, other])
        assert refused == (
            400,
            "InvalidParameterValueException",
            "Two different versions of the same layer are not allowed to be referenced in the same function. "
            f"{arn} and {other} are versions of the same layer.",
        )
        assert "Layers" not in lambda_.update_function_configuration(FunctionName=fn, Layers=[])


def test_layers_are_not_taggable(lambda_: Any, name: str) -> None:
    """The pattern of Resource knows no layers."""
    arn = publish(lambda_, name)["LayerArn"]
    status, code, message = error(lambda_.list_tags, Resource=arn)
    assert (status, code) == (400, "ValidationException")
    assert message.startswith(
        f"1 validation error detected: Value '{arn}' at 'resource' failed to satisfy constraint: "
    )
