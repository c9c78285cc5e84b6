"""The AWS CLI's function commands: life, code, versions, lists, concurrency, and errors as it prints them."""

from __future__ import annotations

import hashlib
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from tests.parity.cli.life import live
from tests.support import PYTHON_RUNTIME, ROLE, package, unique

Aws = Callable[..., Any]
FIRST = package({"app.py": "def handler(event, context): return 1\n"})
SECOND = package({"app.py": "def handler(event, context): return 2\n"})
LIST_FUNCTIONS = 62
"""More than a page of 50."""


def test_create_wait_read_update_and_delete(aws: Aws, refused: Callable[..., str], name: str, tmp_path: Path) -> None:
    (tmp_path / "one.zip").write_bytes(FIRST)
    (tmp_path / "two.zip").write_bytes(SECOND)
    created = aws(
        *("lambda", "create-function", "--function-name", name, "--runtime", PYTHON_RUNTIME, "--role", ROLE),
        *("--handler", "app.handler", "--zip-file", "fileb://one.zip", "--memory-size", "256", "--timeout", "7"),
        *("--environment", "Variables={COLOUR=blue,SIZE=9}", "--tags", "team=x,cost=y", "--description", "by the CLI"),
    )
    assert (created["State"], created["StateReasonCode"]) == ("Pending", "Creating")
    assert created["Environment"] == {"Variables": {"COLOUR": "blue", "SIZE": "9"}}
    assert created["CodeSha256"] == b64encode(hashlib.sha256(FIRST).digest()).decode()
    assert aws("lambda", "wait", "function-active-v2", "--function-name", name) is None

    got = aws("lambda", "get-function", "--function-name", name)
    assert got["Tags"] == {"team": "x", "cost": "y"}
    assert got["Code"]["RepositoryType"] == "S3"
    configuration = aws("lambda", "get-function-configuration", "--function-name", name)
    assert configuration == got["Configuration"]
    assert (configuration["State"], configuration["LastUpdateStatus"]) == ("Active", "Successful")

    changed = aws("lambda", "update-function-code", "--function-name", name, "--zip-file", "fileb://two.zip")
    assert (changed["State"], changed["LastUpdateStatus"]) == ("Active", "InProgress")
    aws("lambda", "wait", "function-updated-v2", "--function-name", name)
    changed = aws(
        *("lambda", "update-function-configuration", "--function-name", name, "--timeout", "9"),
        *("--environment", '{"Variables":{"COLOUR":"red"}}', "--revision-id"),
        aws("lambda", "get-function-configuration", "--function-name", name)["RevisionId"],
    )
    assert (changed["Timeout"], changed["Environment"]) == (9, {"Variables": {"COLOUR": "red"}})
    aws("lambda", "wait", "function-updated-v2", "--function-name", name)

    assert aws("lambda", "delete-function", "--function-name", name) in (None, {"StatusCode": 204})
    assert f"Function not found: arn:aws:lambda:us-east-1:000000000000:function:{name}" in refused(
        "lambda", "get-function", "--function-name", name
    )


def test_a_life_with_layer_alias_permission_and_url(aws: Aws, name: str, tmp_path: Path) -> None:
    live(aws, name, tmp_path)


def test_the_code_downloads_without_credentials_for_ten_minutes(aws: Aws, lambda_: Any, name: str) -> None:
    lambda_.create_function(
        FunctionName=name, Runtime=PYTHON_RUNTIME, Handler="app.handler", Role=ROLE, Code={"ZipFile": FIRST}
    )
    location = aws("lambda", "get-function", "--function-name", name)["Code"]["Location"]
    with urllib.request.urlopen(location, timeout=10) as answer:
        assert answer.read() == FIRST
    query = parse_qs(urlsplit(location).query)
    (expires,) = [value for key, values in query.items() if "expires" in key.lower() for value in values]
    assert expires == "600" or len(expires) == 10, "seconds of validity, or the epoch second of the end"
    for tampered in (
        location[:-1] + ("0" if location[-1] != "0" else "1"),
        location.replace(expires, str(int(expires) + 1)),
        location.partition("?")[0],
    ):
        with pytest.raises(urllib.error.HTTPError) as answered:
            urllib.request.urlopen(tampered, timeout=10)
        assert answered.value.code == 403
        answered.value.close()


def test_versions(aws: Aws, refused: Callable[..., str], lambda_: Any, deployed: str, tmp_path: Path) -> None:
    first = aws("lambda", "publish-version", "--function-name", deployed, "--description", "the first")
    assert (first["Version"], first["Description"]) == ("1", "the first")
    assert aws("lambda", "publish-version", "--function-name", deployed)["Version"] == "1", "nothing has changed"
    (tmp_path / "two.zip").write_bytes(SECOND)
    second = aws(
        "lambda", "update-function-code", "--function-name", deployed, "--zip-file", "fileb://two.zip", "--publish"
    )
    assert second["FunctionArn"].endswith(f":{deployed}:2")
    aws("lambda", "wait", "published-version-active", "--function-name", deployed, "--qualifier", "2")
    listed = aws("lambda", "list-versions-by-function", "--function-name", deployed)["Versions"]
    assert [version["Version"] for version in listed] == ["$LATEST", "1", "2"]
    assert "CodeSHA256 (x) is different from current CodeSHA256 in $LATEST" in refused(
        "lambda", "publish-version", "--function-name", deployed, "--code-sha256", "x"
    )
    aws("lambda", "delete-function", "--function-name", deployed, "--qualifier", "1")
    aws("lambda", "delete-function", "--function-name", f"{deployed}:2")
    listed = aws("lambda", "list-versions-by-function", "--function-name", deployed)["Versions"]
    assert [version["Version"] for version in listed] == ["$LATEST"]


def test_more_functions_than_a_page_are_all_listed_once(aws: Aws, lambda_: Any) -> None:
    prefix = unique("paged")
    names = [f"{prefix}-{number:03}" for number in range(LIST_FUNCTIONS)]
    try:
        for one in names:
            lambda_.create_function(
                FunctionName=one, Runtime=PYTHON_RUNTIME, Handler="app.handler", Role=ROLE, Code={"ZipFile": FIRST}
            )
        page = aws("lambda", "list-functions", "--no-paginate")
        assert len(page["Functions"]) == 50
        assert page["NextMarker"]
        for options in ((), ("--page-size", "7"), ("--page-size", "1000")):
            listed = aws("lambda", "list-functions", *options)["Functions"]
            assert [one["FunctionName"] for one in listed if one["FunctionName"] in names] == names
            assert len({one["FunctionArn"] for one in listed}) == len(listed)
        limited = aws("lambda", "list-functions", "--max-items", "55")
        rest = aws("lambda", "list-functions", "--starting-token", limited["NextToken"])
        both = [one["FunctionName"] for one in (*limited["Functions"], *rest["Functions"])]
        assert [one for one in both if one in names] == names
    finally:
        for one in names:
            lambda_.delete_function(FunctionName=one)


def test_concurrency_and_account_settings(aws: Aws, refused: Callable[..., str], deployed: str) -> None:
    name = ("--function-name", deployed)
    before = aws("lambda", "get-account-settings")["AccountLimit"]
    assert aws("lambda", "get-function-concurrency", *name) in (None, {})
    put = aws("lambda", "put-function-concurrency", *name, "--reserved-concurrent-executions", "5")
    assert put == {"ReservedConcurrentExecutions": 5}
    assert aws("lambda", "get-function-concurrency", *name) == put
    assert aws("lambda", "get-function", *name)["Concurrency"] == put
    after = aws("lambda", "get-account-settings")["AccountLimit"]
    assert after["UnreservedConcurrentExecutions"] == before["UnreservedConcurrentExecutions"] - 5
    assert (
        "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below "
        "its minimum value of [100]."
    ) in refused("lambda", "put-function-concurrency", *name, "--reserved-concurrent-executions", "990")
    assert aws("lambda", "delete-function-concurrency", *name) is None
    assert aws("lambda", "get-account-settings")["AccountLimit"] == before


def test_errors_as_the_cli_prints_them(refused: Callable[..., str], deployed: str, tmp_path: Path) -> None:
    (tmp_path / "code.zip").write_bytes(FIRST)
    (tmp_path / "no.zip").write_bytes(b"no zip at all")
    create = ("lambda", "create-function", "--runtime", PYTHON_RUNTIME, "--handler", "app.handler")
    code = ("--zip-file", "fileb://code.zip")
    printed = {
        (*create, "--function-name", deployed, "--role", ROLE, *code): (
            "An error occurred (ResourceConflictException) when calling the CreateFunction operation: "
            f"Function already exist: {deployed}"
        ),
        (*create, "--function-name", "bad-role", "--role", "r1", *code): (
            "An error occurred (ValidationException) when calling the CreateFunction operation: 1 validation error "
            "detected: Value 'r1' at 'role' failed to satisfy constraint: Member must satisfy regular expression "
            r"pattern: arn:(aws[a-zA-Z-]*)?:iam::\d{12}:role/?[a-zA-Z_0-9+=,.@\-_/]+"
        ),
        (*create, "--function-name", "no-zip", "--role", ROLE, "--zip-file", "fileb://no.zip"): (
            "--zip-file must be a zip file with the fileb:// prefix."
        ),  # the CLI puts this in place of `Could not unzip uploaded file. …`, which it knows by its words
        ("lambda", "invoke", "--function-name", "not-there", "out"): (
            "An error occurred (ResourceNotFoundException) when calling the Invoke operation: Function not found: "
            "arn:aws:lambda:us-east-1:000000000000:function:not-there:$LATEST"
        ),
        ("lambda", "get-function", "--function-name", deployed, "--qualifier", "live"): (
            "An error occurred (ResourceNotFoundException) when calling the GetFunction operation: Function not found: "
            f"arn:aws:lambda:us-east-1:000000000000:function:{deployed}:live"
        ),
        ("lambda", "delete-function", "--function-name", deployed, "--qualifier", "$LATEST"): (
            "An error occurred (InvalidParameterValueException) when calling the DeleteFunction operation: $LATEST "
            "version cannot be deleted without deleting the function."
        ),
        ("lambda", "update-function-configuration", "--function-name", deployed, "--revision-id", "stale"): (
            "An error occurred (PreconditionFailedException) when calling the UpdateFunctionConfiguration operation: "
            "The Revision Id provided does not match the latest Revision Id. Call the GetFunction/GetAlias API to "
            "retrieve the latest Revision Id"
        ),
    }
    for command, text in printed.items():
        assert text in refused(*command).splitlines()


def test_an_operation_that_is_not_served_says_so(refused: Callable[..., str]) -> None:
    text = refused("lambda", "list-capacity-providers")
    assert "(NotImplementedException) when calling the ListCapacityProviders operation" in text
    assert "does not serve it" in text
