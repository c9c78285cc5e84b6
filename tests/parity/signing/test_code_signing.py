"""Code signing as boto3 drives it: configurations, and zips that `lambent sign` signed, against a running Lambent."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.conftest import ROOT, RunningServer, start_server
from tests.support import PYTHON_RUNTIME, ROLE, client, package, unique
from tests.unit.signing.signing_world import OTHER_PROFILE, PROFILE, private_pem, public_pem

from lambent.signing.trust import file_name

pytestmark = pytest.mark.leaves_session_state  # the module's server
UNKNOWN = "arn:aws:lambda:us-east-1:123456789012:code-signing-config:csc-0123456789abcdefg"
PATIENCE = {"Delay": 1, "MaxAttempts": 30}


@pytest.fixture(scope="module")
def trust_dir() -> Iterator[Path]:
    """Where the server's user, who is not root, can read: pytest's own directories are closed to others."""
    with tempfile.TemporaryDirectory(prefix="lambent-trust-") as home:
        os.chmod(home, 0o755)
        name = file_name(PROFILE)
        assert name is not None
        (Path(home) / name).write_bytes(public_pem("owner"))
        yield Path(home)


@pytest.fixture(scope="module")
def signing_server(tmp_path_factory: pytest.TempPathFactory, trust_dir: Path) -> Iterator[RunningServer]:
    running = start_server(tmp_path_factory.mktemp("signing") / "data", "--set", f"signing.trust_dir={trust_dir}")
    yield running
    assert running.stop() == 0, running.log.read_text()


@pytest.fixture(scope="module")
def lambda_(signing_server: RunningServer) -> Iterator[Any]:
    made = client("lambda", signing_server.url, account="123456789012")
    yield made
    made.close()


def signed(archive: bytes, home: Path, *options: str, by: str = "owner", profile: str = PROFILE) -> bytes:
    """Signed by the command, as its user would."""
    (home / "in.zip").write_bytes(archive)
    (home / "key.pem").write_bytes(private_pem(by))
    command = [sys.executable, "-m", "lambent", "sign", "in.zip", "--profile", profile, "--key", "key.pem"]
    done = subprocess.run(
        [*command, "--out", "out.zip", *options],
        cwd=home,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return (home / "out.zip").read_bytes()


def configuration(lambda_: Any, policy: str = "Enforce", **members: Any) -> str:
    made = lambda_.create_code_signing_config(
        AllowedPublishers={"SigningProfileVersionArns": [PROFILE]},
        CodeSigningPolicies={"UntrustedArtifactOnDeployment": policy},
        **members,
    )
    assert made["ResponseMetadata"]["HTTPStatusCode"] == 201
    arn: str = made["CodeSigningConfig"]["CodeSigningConfigArn"]
    return arn


def create(lambda_: Any, name: str, archive: bytes, **members: Any) -> Any:
    members = {"Runtime": PYTHON_RUNTIME, "Handler": "app.handler", "Code": {"ZipFile": archive}, **members}
    answer = lambda_.create_function(FunctionName=name, Role=ROLE.replace("0" * 12, "123456789012"), **members)
    lambda_.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig=PATIENCE)
    return answer


def code(number: int) -> bytes:
    return package({"app.py": f"def handler(event, context): return {number}"})


def test_the_life_of_a_configuration(lambda_: Any) -> None:
    arn = configuration(lambda_, "Warn", Description="d", Tags={"team": "x"})
    shown = lambda_.get_code_signing_config(CodeSigningConfigArn=arn)["CodeSigningConfig"]
    assert shown["CodeSigningConfigArn"] == arn
    assert shown["CodeSigningConfigId"] == arn.rpartition(":")[2]
    assert (shown["Description"], shown["AllowedPublishers"]) == ("d", {"SigningProfileVersionArns": [PROFILE]})
    updated = lambda_.update_code_signing_config(
        CodeSigningConfigArn=arn,
        CodeSigningPolicies={"UntrustedArtifactOnDeployment": "Enforce"},
        AllowedPublishers={"SigningProfileVersionArns": [PROFILE, OTHER_PROFILE]},
    )["CodeSigningConfig"]
    assert updated["CodeSigningPolicies"] == {"UntrustedArtifactOnDeployment": "Enforce"}
    pages = lambda_.get_paginator("list_code_signing_configs").paginate(PaginationConfig={"PageSize": 1})
    listed = [one for page in pages for one in page["CodeSigningConfigs"]]
    assert updated in listed
    assert lambda_.list_tags(Resource=arn)["Tags"] == {"team": "x"}
    lambda_.tag_resource(Resource=arn, Tags={"stage": "y"})
    lambda_.untag_resource(Resource=arn, TagKeys=["team"])
    assert lambda_.list_tags(Resource=arn)["Tags"] == {"stage": "y"}
    deleted = lambda_.delete_code_signing_config(CodeSigningConfigArn=arn)
    assert deleted["ResponseMetadata"]["HTTPStatusCode"] == 204
    with pytest.raises(lambda_.exceptions.ResourceNotFoundException) as caught:
        lambda_.get_code_signing_config(CodeSigningConfigArn=arn)
    response = caught.value.response
    assert response["Error"]["Message"] == f"The Lambda code signing configuration {arn} can not be found."
    assert "Type" not in response
    with pytest.raises(lambda_.exceptions.ResourceNotFoundException) as caught:
        lambda_.list_tags(Resource=arn)
    assert caught.value.response["Error"]["Message"] == f"Code signing config not found: {arn}"


def test_a_function_and_its_configuration(lambda_: Any) -> None:
    name = unique("signing")
    first, second = configuration(lambda_), configuration(lambda_, "Warn")
    create(lambda_, name, code(1))
    try:
        none = lambda_.get_function_code_signing_config(FunctionName=name)
        assert set(none) == {"ResponseMetadata"}
        assert none["ResponseMetadata"]["HTTPHeaders"]["content-length"] == "0"
        for arn in (first, second):
            put = lambda_.put_function_code_signing_config(FunctionName=name, CodeSigningConfigArn=arn)
            assert (put["CodeSigningConfigArn"], put["FunctionName"]) == (arn, name)
        assert lambda_.get_function_code_signing_config(FunctionName=name)["CodeSigningConfigArn"] == second
        pages = lambda_.get_paginator("list_functions_by_code_signing_config").paginate(CodeSigningConfigArn=second)
        assert [one for page in pages for one in page["FunctionArns"]] == [
            f"arn:aws:lambda:us-east-1:123456789012:function:{name}"
        ]
        with pytest.raises(lambda_.exceptions.ResourceConflictException):
            lambda_.delete_code_signing_config(CodeSigningConfigArn=second)
        removed = lambda_.delete_function_code_signing_config(FunctionName=name)
        assert removed["ResponseMetadata"]["HTTPStatusCode"] == 204
        with pytest.raises(lambda_.exceptions.CodeSigningConfigNotFoundException) as caught:
            lambda_.put_function_code_signing_config(FunctionName=name, CodeSigningConfigArn=UNKNOWN)
        assert caught.value.response["Error"]["Message"].endswith(f"is not deleted: {UNKNOWN}.")
        assert caught.value.response["Type"] == "User"
    finally:
        lambda_.delete_function(FunctionName=name)
        for arn in (first, second):
            lambda_.delete_code_signing_config(CodeSigningConfigArn=arn)


def test_signed_code_runs_and_refused_code_leaves_it_running(
    lambda_: Any, signing_server: RunningServer, tmp_path: Path
) -> None:
    name, arn = unique("signing"), configuration(lambda_)
    packages = signing_server.data_dir / "packages"
    with pytest.raises(lambda_.exceptions.CodeVerificationFailedException) as caught:
        create(lambda_, name, code(0), CodeSigningConfigArn=arn)
    assert caught.value.response["Error"]["Message"] == (
        "Lambda cannot deploy the function. The function or layer might be signed using a signature that the client is "
        f"not configured to accept. Check the provided signature for {name}."
    )
    with pytest.raises(lambda_.exceptions.ResourceNotFoundException):
        lambda_.get_function(FunctionName=name)
    archive = signed(code(1), tmp_path)
    created = create(lambda_, name, archive, CodeSigningConfigArn=arn)
    try:
        assert created["SigningProfileVersionArn"] == PROFILE
        assert created["SigningJobArn"].startswith("arn:aws:signer:us-east-1:123456789012:/signing-jobs/")
        assert lambda_.invoke(FunctionName=name)["Payload"].read() == b"1"
        stored = sorted(path.name for path in packages.iterdir())
        before = lambda_.get_function_configuration(FunctionName=name)
        for refused, kind in (
            (code(2), "CodeVerificationFailedException"),
            (signed(code(3), tmp_path, by="stranger"), "CodeVerificationFailedException"),
            (signed(code(4), tmp_path, profile=OTHER_PROFILE), "CodeVerificationFailedException"),
            (with_entry(archive), "InvalidCodeSignatureException"),
        ):
            with pytest.raises(ClientError) as error:
                lambda_.update_function_code(FunctionName=name, ZipFile=refused, Publish=True)
            assert error.value.response["Error"]["Code"] == kind
        after = lambda_.get_function_configuration(FunctionName=name)
        assert without_metadata(after) == without_metadata(before)
        assert sorted(path.name for path in packages.iterdir()) == stored
        assert lambda_.invoke(FunctionName=name)["Payload"].read() == b"1"
        updated = lambda_.update_function_code(FunctionName=name, ZipFile=signed(code(5), tmp_path, "--days", "1"))
        assert updated["SigningProfileVersionArn"] == PROFILE
        lambda_.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig=PATIENCE)
        assert lambda_.invoke(FunctionName=name)["Payload"].read() == b"5"
        log = signing_server.log.read_text()
        assert f"code for {created['FunctionArn']} was refused, unsigned: there is no META_INF/" in log
    finally:
        lambda_.delete_function(FunctionName=name)
        lambda_.delete_code_signing_config(CodeSigningConfigArn=arn)


def test_warn_runs_what_is_not_signed_and_never_what_was_meddled_with(
    lambda_: Any, signing_server: RunningServer, tmp_path: Path
) -> None:
    name, arn = unique("signing"), configuration(lambda_, "Warn")
    created = create(lambda_, name, code(1), CodeSigningConfigArn=arn)
    try:
        assert "SigningJobArn" not in created
        assert lambda_.invoke(FunctionName=name)["Payload"].read() == b"1"
        assert f"code for {created['FunctionArn']} was deployed, unsigned" in signing_server.log.read_text()
        with pytest.raises(lambda_.exceptions.InvalidCodeSignatureException):
            lambda_.update_function_code(FunctionName=name, ZipFile=with_entry(signed(code(2), tmp_path)))
        assert lambda_.invoke(FunctionName=name)["Payload"].read() == b"1"
    finally:
        lambda_.delete_function(FunctionName=name)
        lambda_.delete_code_signing_config(CodeSigningConfigArn=arn)


def test_layers_are_judged_as_code_is(lambda_: Any, signing_server: RunningServer, tmp_path: Path) -> None:
    name, arn = unique("signing"), configuration(lambda_)
    tools, wild = unique("tools"), unique("wild")
    layer = package({"python/tools.py": "x = 7"})
    good = lambda_.publish_layer_version(LayerName=tools, Content={"ZipFile": signed(layer, tmp_path)})
    assert good["Content"]["SigningProfileVersionArn"] == PROFILE
    job = good["Content"]["SigningJobArn"]
    assert job.startswith("arn:aws:signer:us-east-1:123456789012:/signing-jobs/")
    shown = lambda_.get_layer_version(LayerName=tools, VersionNumber=1)["Content"]
    assert (shown["SigningProfileVersionArn"], shown["SigningJobArn"]) == (PROFILE, job)
    with pytest.raises(lambda_.exceptions.ClientError) as broken:
        lambda_.publish_layer_version(LayerName=wild, Content={"ZipFile": with_entry(signed(layer, tmp_path))})
    assert broken.value.response["Error"]["Code"] == "InvalidCodeSignatureException"
    bad = lambda_.publish_layer_version(LayerName=wild, Content={"ZipFile": layer})
    assert bad["Version"] == 1
    assert "SigningJobArn" not in bad["Content"]
    body = package({"app.py": "import tools\ndef handler(event, context): return tools.x"})
    archive = signed(body, tmp_path)
    text = (
        "Lambda cannot deploy the function. The function or layer might be signed using a signature that the client is "
        f"not configured to accept. Check the provided signature for {name}."
    )
    with pytest.raises(lambda_.exceptions.CodeVerificationFailedException) as caught:
        create(lambda_, name, archive, CodeSigningConfigArn=arn, Layers=[bad["LayerVersionArn"]])
    assert caught.value.response["Error"]["Message"] == text
    attached = {"Arn": good["LayerVersionArn"], "CodeSize": good["Content"]["CodeSize"]}
    attached |= {"SigningProfileVersionArn": PROFILE, "SigningJobArn": job}
    created = create(lambda_, name, archive, CodeSigningConfigArn=arn, Layers=[good["LayerVersionArn"]])
    try:
        assert created["Layers"] == [attached]
        assert lambda_.invoke(FunctionName=name)["Payload"].read() == b"7"
        before = lambda_.get_function_configuration(FunctionName=name)
        layers = [good["LayerVersionArn"], bad["LayerVersionArn"]]
        with pytest.raises(lambda_.exceptions.CodeVerificationFailedException) as caught:
            lambda_.update_function_configuration(FunctionName=name, Layers=layers)
        assert caught.value.response["Error"]["Message"] == text
        after = lambda_.get_function_configuration(FunctionName=name)
        assert without_metadata(after) == without_metadata(before)
        lambda_.update_code_signing_config(
            CodeSigningConfigArn=arn, CodeSigningPolicies={"UntrustedArtifactOnDeployment": "Warn"}
        )
        updated = lambda_.update_function_configuration(FunctionName=name, Layers=layers)
        assert updated["Layers"] == [attached, {"Arn": layers[1], "CodeSize": bad["Content"]["CodeSize"]}]
        lambda_.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig=PATIENCE)
        assert lambda_.invoke(FunctionName=name)["Payload"].read() == b"7"
        log = signing_server.log.read_text()
        for done in ("was refused", "was deployed"):
            assert f"layer {layers[1]} for {created['FunctionArn']} {done}, unsigned: there is no META_INF/" in log
    finally:
        lambda_.delete_function(FunctionName=name)
        lambda_.delete_code_signing_config(CodeSigningConfigArn=arn)
        for one in (tools, wild):
            lambda_.delete_layer_version(LayerName=one, VersionNumber=1)


def test_configurations_and_their_functions_outlive_the_server(tmp_path: Path) -> None:
    data = tmp_path / "data"
    running = start_server(data)
    try:
        lambda_ = client("lambda", running.url, account="123456789012")
        name, arn = unique("signing"), configuration(lambda_)
        create(lambda_, name, code(1))
        lambda_.put_function_code_signing_config(FunctionName=name, CodeSigningConfigArn=arn)
        shown = lambda_.get_code_signing_config(CodeSigningConfigArn=arn)["CodeSigningConfig"]
        lambda_.close()
        assert running.stop() == 0
        running = start_server(data)
        lambda_ = client("lambda", running.url, account="123456789012")
        assert lambda_.get_code_signing_config(CodeSigningConfigArn=arn)["CodeSigningConfig"] == shown
        assert lambda_.get_function_code_signing_config(FunctionName=name)["CodeSigningConfigArn"] == arn
        with pytest.raises(lambda_.exceptions.CodeVerificationFailedException):
            lambda_.update_function_code(FunctionName=name, ZipFile=code(2))
        lambda_.close()
    finally:
        running.stop()


def with_entry(archive: bytes) -> bytes:
    out = io.BytesIO(archive)
    with zipfile.ZipFile(out, "a") as opened:
        opened.writestr("more.py", "import os")
    return out.getvalue()


def without_metadata(answer: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in answer.items() if name != "ResponseMetadata"}
