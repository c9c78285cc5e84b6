"""The life of a function as boto3 drives it, waiters included, against a running Lambent."""

from __future__ import annotations

import hashlib
import io
import urllib.error
import urllib.request
import zipfile
from base64 import b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any
from uuid import uuid4

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

ROLE = "arn:aws:iam::123456789012:role/r"


def zipped(source: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("app.py", source)
    return out.getvalue()


FIRST, SECOND = zipped("def handler(event, context): return 1"), zipped("def handler(event, context): return 2")
WAIT = {"Delay": 1, "MaxAttempts": 20}


@pytest.fixture
def client(endpoint: str) -> Iterator[Any]:
    client = boto3.client(
        "lambda",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id="123456789012",
        aws_secret_access_key="test",
        config=Config(retries={"total_max_attempts": 1}, max_pool_connections=60),
    )
    yield client
    client.close()


@pytest.fixture
def name(client: Any) -> Iterator[str]:
    """A name of its own; the function is gone afterwards."""
    name = f"parity-{uuid4().hex[:12]}"
    yield name
    with suppress(client.exceptions.ResourceNotFoundException):
        client.delete_function(FunctionName=name)


def create(client: Any, name: str, **members: Any) -> Any:
    members = {"Runtime": "provided.al2023", "Handler": "app.handler", "Code": {"ZipFile": FIRST}, **members}
    return client.create_function(FunctionName=name, Role=ROLE, **members)


def active(client: Any, name: str, **members: Any) -> Any:
    create(client, name, **members)
    client.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig=WAIT)
    return client.get_function(FunctionName=name)


def error(call: Any, **members: Any) -> tuple[int, str, str]:
    with pytest.raises(ClientError) as refused:
        call(**members)
    response = refused.value.response
    return response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"], response["Error"]["Message"]


def test_create_wait_update_wait_delete(client: Any, name: str) -> None:
    created = create(client, name, Description="d", Environment={"Variables": {"A1": "b"}}, Tags={"team": "x"})
    assert created["ResponseMetadata"]["HTTPStatusCode"] == 201
    assert (created["State"], created["StateReasonCode"]) == ("Pending", "Creating")
    assert "LastUpdateStatus" not in created
    for waiter in ("function_exists", "function_active", "function_active_v2", "function_updated_v2"):
        client.get_waiter(waiter).wait(FunctionName=name, WaiterConfig=WAIT)
    got = client.get_function(FunctionName=name)
    configuration = got["Configuration"]
    assert got["Tags"] == {"team": "x"}
    assert configuration["RevisionId"] != created["RevisionId"]
    assert configuration["CodeSha256"] == b64encode(hashlib.sha256(FIRST).digest()).decode()
    assert (configuration["State"], configuration["LastUpdateStatus"]) == ("Active", "Successful")

    updated = client.update_function_configuration(FunctionName=name, MemorySize=256)
    assert (updated["State"], updated["LastUpdateStatus"], updated["MemorySize"]) == ("Active", "InProgress", 256)
    client.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig=WAIT)
    changed = client.update_function_code(FunctionName=name, ZipFile=SECOND)
    assert changed["CodeSha256"] == b64encode(hashlib.sha256(SECOND).digest()).decode()
    client.get_waiter("function_updated").wait(FunctionName=name, WaiterConfig=WAIT)

    assert client.delete_function(FunctionName=name)["ResponseMetadata"]["HTTPStatusCode"] == 204
    status, code, message = error(client.get_function, FunctionName=name)
    assert (status, code) == (404, "ResourceNotFoundException")
    assert message.startswith("Function not found: arn:aws:lambda:us-east-1:")


def test_the_code_comes_back_without_credentials(client: Any, name: str) -> None:
    location = active(client, name)["Code"]["Location"]
    with urllib.request.urlopen(location, timeout=10) as answer:
        assert answer.read() == FIRST
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{location}0", timeout=10)
    assert refused.value.code == 403
    refused.value.close()


def test_updates_without_waiting_need_no_retry(client: Any, name: str) -> None:
    """Scripts that forget the waiter between two updates get a 409 from the service; here the second one waits."""
    create(client, name)
    client.update_function_configuration(FunctionName=name, Timeout=9)
    client.update_function_code(FunctionName=name, ZipFile=SECOND)
    client.publish_version(FunctionName=name)
    versions = client.list_versions_by_function(FunctionName=name)["Versions"]
    assert [version["Version"] for version in versions] == ["$LATEST", "1"]
    assert versions[-1]["Timeout"] == 9


def test_versions(client: Any, name: str) -> None:
    first = active(client, name, Publish=True)
    assert first["Configuration"]["Version"] == "$LATEST"
    again = client.publish_version(FunctionName=name)
    assert again["Version"] == "1"
    client.update_function_code(FunctionName=name, ZipFile=SECOND)
    client.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig=WAIT)
    sha = client.get_function_configuration(FunctionName=name)["CodeSha256"]
    second = client.publish_version(FunctionName=name, CodeSha256=sha, Description="two")
    assert second["FunctionArn"].endswith(f":{name}:2")
    client.get_waiter("published_version_active").wait(FunctionName=name, Qualifier="2", WaiterConfig=WAIT)
    assert error(client.publish_version, FunctionName=name, CodeSha256="x")[2].startswith("CodeSHA256 (x) is different")
    assert error(client.publish_version, FunctionName=name, RevisionId="x")[:2] == (412, "PreconditionFailedException")
    client.delete_function(FunctionName=name, Qualifier="2")
    client.update_function_configuration(FunctionName=name, Description="new")
    assert client.publish_version(FunctionName=name)["Version"] == "3"


def test_listing_by_paginator(client: Any, name: str) -> None:
    names = [f"{name}-{number}" for number in range(5)]
    try:
        for one in names:
            create(client, one)
        pages = client.get_paginator("list_functions").paginate(PaginationConfig={"PageSize": 2})
        listed = [item["FunctionName"] for page in pages for item in page["Functions"]]
        assert [one for one in listed if one in names] == names
        assert len(listed) == len(set(listed))
    finally:
        for one in names:
            client.delete_function(FunctionName=one)


def test_errors_of_creation(client: Any, name: str) -> None:
    active(client, name)
    assert error(lambda: create(client, name)) == (
        409,
        "ResourceConflictException",
        f"Function already exist: {name}",
    )
    other = f"{name}-other"
    assert error(lambda: create(client, other, Code={"ZipFile": b"no zip"}))[2] == (
        "Could not unzip uploaded file. Please check your file, then try to upload again."
    )
    assert error(lambda: create(client, other, Runtime="go1.x"))[2].startswith(
        "The runtime parameter of go1.x is no longer"
    )
    assert error(lambda: create(client, "x" * 65))[1] == "InvalidParameterValueException"
    assert error(lambda: create(client, other, Environment={"Variables": {"AWS_REGION": "x"}}))[2].endswith(
        "Reserved keys used in this request: AWS_REGION"
    )
    too_big = b"\0" * 52_428_801
    assert error(lambda: create(client, other, Code={"ZipFile": too_big})) == (
        413,
        "RequestEntityTooLargeException",
        "Zipped size must be smaller than 52428800 bytes",
    )


def test_concurrency_and_account(client: Any, name: str) -> None:
    active(client, name)
    before = client.get_account_settings()
    assert "ReservedConcurrentExecutions" not in client.get_function_concurrency(FunctionName=name)
    client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=7)
    assert client.get_function(FunctionName=name)["Concurrency"] == {"ReservedConcurrentExecutions": 7}
    unreserved = client.get_account_settings()["AccountLimit"]["UnreservedConcurrentExecutions"]
    assert unreserved == before["AccountLimit"]["UnreservedConcurrentExecutions"] - 7
    client.delete_function_concurrency(FunctionName=name)
    after = client.get_account_settings()
    assert (after["AccountLimit"], after["AccountUsage"]) == (before["AccountLimit"], before["AccountUsage"])


def test_fifty_writers_at_once_leave_a_whole_function(client: Any, name: str) -> None:
    active(client, name)

    def write(number: int) -> str | None:
        """The new RevisionId, or None when the writer waited too long for its turn."""
        with suppress(client.exceptions.ResourceConflictException):
            answer = client.update_function_configuration(
                FunctionName=name, Environment={"Variables": {"WRITER": str(number)}}
            )
            assert answer["Environment"]["Variables"] == {"WRITER": str(number)}
            return str(answer["RevisionId"])
        return None

    with ThreadPoolExecutor(50) as pool:
        revisions = [revision for revision in pool.map(write, range(50)) if revision is not None]
    assert revisions
    assert len(set(revisions)) == len(revisions)
    client.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig=WAIT)
    assert client.get_function_configuration(FunctionName=name)["State"] == "Active"
