"""Who a function is: its keys name its role, inside and outside, for as long as its environment lives."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from tests.conftest import RunningServer, start_server
from tests.support import PYTHON_RUNTIME, client, package

ACCOUNT = "111122223333"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/service/worker"
KEYS = f"{ACCOUNT}:secret,222222222222:other-secret"
ASK = """
import hashlib, hmac, http.client, os, time, urllib.parse

def handler(event, context):
    keys = [os.environ[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")]
    if event == "keys":
        return keys
    return sts(*(event.get("keys") or keys), event["body"])

def sts(key, secret, token, body):
    url = urllib.parse.urlsplit(os.environ["AWS_ENDPOINT_URL"])
    stamp, region = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()), os.environ["AWS_REGION"]
    host, form = f"{url.hostname}:{url.port}", "application/x-www-form-urlencoded; charset=utf-8"
    scope = f"{stamp[:8]}/{region}/sts/aws4_request"
    names = "content-type;host;x-amz-date;x-amz-security-token"
    canonical = f"POST\\n/\\n\\ncontent-type:{form}\\nhost:{host}\\nx-amz-date:{stamp}\\nx-amz-security-token:{token}\\n\\n"
    canonical += f"{names}\\n{hashlib.sha256(body.encode()).hexdigest()}"
    signing = ("AWS4" + secret).encode()
    for part in scope.split("/"):
        signing = hmac.new(signing, part.encode(), "sha256").digest()
    to_sign = f"AWS4-HMAC-SHA256\\n{stamp}\\n{scope}\\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    signature = hmac.new(signing, to_sign.encode(), "sha256").hexdigest()
    connection = http.client.HTTPConnection(url.hostname, url.port)
    connection.request("POST", "/", body, {
        "Content-Type": form, "Host": host, "X-Amz-Date": stamp, "X-Amz-Security-Token": token,
        "Authorization": f"AWS4-HMAC-SHA256 Credential={key}/{scope}, SignedHeaders={names}, Signature={signature}",
    })
    answer = connection.getresponse()
    return [answer.status, answer.read().decode()]
"""
CROSS = "Cross-account pass role is not allowed."
IDENTITY = "Action=GetCallerIdentity&Version=2011-06-15"
TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": "sts:AssumeRole",
                "Principal": {"Service": "lambda.amazonaws.com", "AWS": [ACCOUNT, "222222222222"]},
            }
        ],
    }
)


@pytest.fixture(scope="module", params=["trusting", "verifying"])
def home(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server in the default mode, and one that verifies signatures."""
    base = tmp_path_factory.mktemp(request.param)
    for folder in (base, *base.parents):
        if str(folder).startswith("/tmp/"):
            folder.chmod(0o755)
    strict = {"LAMBENT_VERIFY_SIGNATURES": "true", "LAMBENT_ACCESS_KEYS": KEYS}
    running = start_server(base / "data", env=strict if request.param == "verifying" else {})
    yield running
    assert running.stop() == 0, running.log.read_text()[-4_000:]


@pytest.fixture
def is_verifying(request: pytest.FixtureRequest) -> bool:
    return str(request.node.callspec.params["home"]) == "verifying"


@pytest.fixture
def abroad(home: RunningServer) -> Iterator[Any]:
    """IAM of account 222222222222, which a key of its own stands for where keys are checked."""
    made = boto3.client(
        "iam",
        endpoint_url=home.url,
        region_name="us-east-1",
        aws_access_key_id="222222222222",
        aws_secret_access_key="other-secret",
    )
    yield made
    made.close()


@pytest.fixture
def lambda_(home: RunningServer) -> Iterator[Any]:
    made = client("lambda", home.url, account=ACCOUNT)
    yield made
    made.close()


@pytest.fixture
def iam(home: RunningServer) -> Iterator[Any]:
    made = client("iam", home.url, account=ACCOUNT)
    yield made
    made.close()


def holder(service: str, url: str, keys: list[str]) -> Any:
    """A client of the public listener with a function's keys."""
    return boto3.client(
        service,
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id=keys[0],
        aws_secret_access_key=keys[1],
        aws_session_token=keys[2],
        config=Config(retries={"total_max_attempts": 1}),
    )


def invoke(lambda_: Any, name: str, event: Any) -> Any:
    answer = lambda_.invoke(FunctionName=name, Payload=json.dumps(event))
    assert "FunctionError" not in answer, answer["Payload"].read()
    return json.loads(answer["Payload"].read())


def create(lambda_: Any, name: str) -> None:
    lambda_.create_function(
        FunctionName=name,
        Runtime=PYTHON_RUNTIME,
        Handler="app.handler",
        Role=ROLE,
        Timeout=20,
        Code={"ZipFile": package({"app.py": ASK})},
    )
    lambda_.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 30})


@pytest.fixture
def worker(lambda_: Any) -> Iterator[str]:
    name = "worker"
    create(lambda_, name)
    yield name
    lambda_.delete_function(FunctionName=name)


def test_a_function_is_its_role_inside_and_outside(home: RunningServer, lambda_: Any, worker: str) -> None:
    arn = f"arn:aws:sts::{ACCOUNT}:assumed-role/worker/{worker}"
    status, text = invoke(lambda_, worker, {"body": IDENTITY})
    assert status == 200, text
    assert f"<Arn>{arn}</Arn>" in text
    assert f"<Account>{ACCOUNT}</Account>" in text
    keys = invoke(lambda_, worker, "keys")
    outside = holder("sts", home.url, keys)
    identity = outside.get_caller_identity()
    assert (identity["Arn"], identity["Account"]) == (arn, ACCOUNT)
    assert identity["UserId"].endswith(f":{worker}")
    assert outside.get_access_key_info(AccessKeyId=keys[0])["Account"] == ACCOUNT
    outside.close()


def test_its_keys_end_with_its_environment(home: RunningServer, lambda_: Any, worker: str) -> None:
    old = invoke(lambda_, worker, "keys")
    outside = {service: holder(service, home.url, old) for service in ("lambda", "sts", "logs")}
    assert outside["lambda"].get_function(FunctionName=worker)["Configuration"]["FunctionName"] == worker
    lambda_.update_function_configuration(FunctionName=worker, Description="another generation")
    lambda_.get_waiter("function_updated_v2").wait(FunctionName=worker, WaiterConfig={"Delay": 1})
    new = invoke(lambda_, worker, "keys")
    assert new[2] != old[2]
    _ask_until_refused(outside["lambda"])
    for service, call, code in (
        ("lambda", lambda one: one.list_functions(), "ExpiredTokenException"),
        ("logs", lambda one: one.describe_log_groups(), "ExpiredTokenException"),
        ("sts", lambda one: one.get_caller_identity(), "ExpiredToken"),
    ):
        _refused(outside[service], call, code, "The security token included in the request is expired")
        outside[service].close()
    fresh = holder("sts", home.url, new)
    assert fresh.get_caller_identity()["Account"] == ACCOUNT
    fresh.close()
    status, text = invoke(lambda_, worker, {"body": IDENTITY, "keys": old})
    assert status == 403, text
    assert "<Code>ExpiredToken</Code>" in text


def _refused(made: Any, call: Any, code: str, message: str) -> None:
    with pytest.raises(ClientError) as refused:
        call(made)
    error = refused.value.response
    assert (error["Error"]["Code"], error["Error"]["Message"]) == (code, message)
    assert error["ResponseMetadata"]["HTTPStatusCode"] in (400, 403)  # the JSON protocols know 400 alone


def _ask_until_refused(made: Any) -> None:
    """The old environment was told to go before the new one answered; how long it takes is its own affair."""
    for _ in range(1_000):
        try:
            made.list_functions()
        except ClientError:
            return
    raise AssertionError("the keys of an environment that is gone are still taken")


def test_without_its_token_a_key_is_refused(home: RunningServer, lambda_: Any, worker: str) -> None:
    keys = invoke(lambda_, worker, "keys")
    made = boto3.client(
        "lambda",
        endpoint_url=home.url,
        region_name="us-east-1",
        aws_access_key_id=keys[0],
        aws_secret_access_key=keys[1],
        config=Config(retries={"total_max_attempts": 1}),
    )
    _refused(
        made,
        lambda one: one.list_functions(),
        "UnrecognizedClientException",
        "The security token included in the request is invalid.",
    )
    made.close()


def test_a_function_assumes_a_role_of_its_account_and_of_no_other(
    lambda_: Any, iam: Any, abroad: Any, worker: str
) -> None:
    mine = iam.create_role(RoleName="assumed", AssumeRolePolicyDocument=TRUST)["Role"]["Arn"]
    theirs = abroad.create_role(RoleName="assumed", AssumeRolePolicyDocument=TRUST)["Role"]["Arn"]
    try:
        assert theirs.split(":")[4] == "222222222222"
        wanted = f"Action=AssumeRole&Version=2011-06-15&RoleSessionName=me&RoleArn={mine.replace(':', '%3A')}"
        status, text = invoke(lambda_, worker, {"body": wanted})
        assert status == 200, text
        keys = [
            text.partition(f"<{name}>")[2].partition("<")[0]
            for name in ("AccessKeyId", "SecretAccessKey", "SessionToken")
        ]
        session = f"<Arn>arn:aws:sts::{ACCOUNT}:assumed-role/assumed/me</Arn>"
        assert session in invoke(lambda_, worker, {"body": IDENTITY, "keys": keys})[1]
        status, text = invoke(lambda_, worker, {"body": wanted.replace(ACCOUNT, "222222222222")})
        assert status == 403, text
        assert "because a function acts in its own account alone" in text
    finally:
        iam.delete_role(RoleName="assumed")
        abroad.delete_role(RoleName="assumed")


def _wanted(name: str, role: str) -> dict[str, Any]:
    code = {"ZipFile": package({"app.py": ASK})}
    return {"FunctionName": name, "Runtime": PYTHON_RUNTIME, "Handler": "app.handler", "Role": role, "Code": code}


def test_a_role_that_lambda_cannot_assume_is_refused(lambda_: Any, iam: Any) -> None:
    trust = TRUST.replace("lambda.amazonaws.com", "ec2.amazonaws.com")
    role = iam.create_role(RoleName="machine", AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    unusable = "The role defined for the function cannot be assumed by Lambda."
    try:
        with pytest.raises(lambda_.exceptions.InvalidParameterValueException) as refused:
            lambda_.create_function(**_wanted("refused", role))
        assert refused.value.response["Error"]["Message"] == unusable
        lambda_.create_function(**_wanted("refused", ROLE))
        with pytest.raises(lambda_.exceptions.InvalidParameterValueException) as refused:
            lambda_.update_function_configuration(FunctionName="refused", Role=role)
        assert refused.value.response["Error"]["Message"] == unusable
        iam.update_assume_role_policy(RoleName="machine", PolicyDocument=TRUST)
        assert lambda_.update_function_configuration(FunctionName="refused", Role=role)["Role"] == role
        lambda_.delete_function(FunctionName="refused")
    finally:
        iam.delete_role(RoleName="machine")


def test_another_account_s_role_is_refused(lambda_: Any, abroad: Any, is_verifying: bool) -> None:
    theirs = abroad.create_role(RoleName="theirs", AssumeRolePolicyDocument=TRUST)["Role"]["Arn"]
    nowhere = "arn:aws:iam::999999999999:role/nowhere"
    try:
        _refused(lambda_, lambda one: one.create_function(**_wanted("crossed", theirs)), "AccessDeniedException", CROSS)
    finally:
        abroad.delete_role(RoleName="theirs")
    if is_verifying:
        _refused(
            lambda_, lambda one: one.create_function(**_wanted("crossed", nowhere)), "AccessDeniedException", CROSS
        )
    else:  # whoever trusts every caller takes a name from elsewhere for what it is: a name
        assert lambda_.create_function(**_wanted("crossed", nowhere))["Role"] == nowhere
        lambda_.delete_function(FunctionName="crossed")


def test_sessions_and_roles_outlive_a_restart(tmp_path_factory: pytest.TempPathFactory) -> None:
    base = tmp_path_factory.mktemp("restarted")
    for folder in (base, *base.parents):
        if str(folder).startswith("/tmp/"):
            folder.chmod(0o755)
    first = start_server(base / "data")
    made = client("iam", first.url, account=ACCOUNT)
    role = made.create_role(RoleName="kept", AssumeRolePolicyDocument=TRUST, Tags=[{"Key": "k", "Value": "v"}])["Role"]
    made.put_role_policy(
        RoleName="kept",
        PolicyName="inline",
        PolicyDocument='{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:*","Resource":"*"}}',
    )
    made.close()
    sts = client("sts", first.url, account=ACCOUNT)
    session = sts.assume_role(RoleArn=role["Arn"], RoleSessionName="me")["Credentials"]
    sts.close()
    first.process.kill()
    first.process.wait()
    second = start_server(base / "data")
    try:
        again = client("iam", second.url, account=ACCOUNT)
        found = again.get_role(RoleName="kept")["Role"]
        assert found["RoleId"] == role["RoleId"]
        assert found["Tags"] == [{"Key": "k", "Value": "v"}]
        assert again.list_role_policies(RoleName="kept")["PolicyNames"] == ["inline"]
        again.close()
        keys = [session[name] for name in ("AccessKeyId", "SecretAccessKey", "SessionToken")]
        held = holder("sts", second.url, keys)
        assert held.get_caller_identity()["Arn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/kept/me"
        held.close()
    finally:
        assert second.stop() == 0
