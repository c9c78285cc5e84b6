"""The AWS CLI's commands of IAM and STS."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support import unique

Aws = Callable[..., Any]
BASIC = "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"
TRUST = {
    "Version": "2012-10-17",
    "Statement": {
        "Effect": "Allow",
        "Principal": {"Service": "lambda.amazonaws.com", "AWS": "000000000000"},
        "Action": "sts:AssumeRole",
    },
}


def test_a_role_for_a_function(aws: Aws, refused: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "trust.json").write_text(json.dumps(TRUST))
    name = unique("role")
    created = aws(
        *("iam", "create-role", "--role-name", name, "--assume-role-policy-document", "file://trust.json"),
        *("--tags", "Key=team,Value=x"),
    )["Role"]
    assert created["Arn"] == f"arn:aws:iam::000000000000:role/{name}"
    assert created["AssumeRolePolicyDocument"] == TRUST
    assert aws("iam", "attach-role-policy", "--role-name", name, "--policy-arn", BASIC) is None
    assumed = aws("sts", "assume-role", "--role-arn", created["Arn"], "--role-session-name", "me")
    assert assumed["AssumedRoleUser"]["Arn"] == f"arn:aws:sts::000000000000:assumed-role/{name}/me"
    said = refused("iam", "delete-role", "--role-name", name)
    assert "(DeleteConflict)" in said
    assert "Cannot delete entity, must detach all policies first." in said
    assert aws("iam", "detach-role-policy", "--role-name", name, "--policy-arn", BASIC) is None
    assert aws("iam", "delete-role", "--role-name", name) is None


def test_who_i_am(aws: Aws) -> None:
    assert aws("sts", "get-caller-identity") == {
        "UserId": "000000000000",
        "Account": "000000000000",
        "Arn": "arn:aws:iam::000000000000:root",
    }
