"""A server that verifies signatures: who gets in, what the others read, and that functions inside still reach it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from typing import Any
from unittest.mock import patch

import boto3
import pytest
from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from tests.conftest import RunningServer, start_server
from tests.integration.hostile.conftest import WITNESS, deploy_witness
from tests.integration.hostile.hostile_world import Reply, address, call, health
from tests.support import client, function

FORGED = (
    "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key "
    "and signing method. Consult the service documentation for details."
)
UNKNOWN = "The security token included in the request is invalid."
READ = "/2015-03-31/functions/witness"
INVOKE = f"{READ}/invocations"
KEYS = "test:secret,OTHERKEY:other-secret:222222222222"


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server that lets two keys in."""
    base = tmp_path_factory.mktemp("strict")
    for folder in (base, *base.parents):
        if str(folder).startswith("/tmp/"):
            folder.chmod(0o755)
    environment = {"LAMBENT_VERIFY_SIGNATURES": "true", "LAMBENT_ACCESS_KEYS": KEYS}
    running = start_server(base / "data", env=environment)
    made = client("lambda", running.url)
    deploy_witness(made)
    made.close()
    yield running
    assert running.stop() == 0, running.log.read_text()[-4_000:]


def signed(
    url: str,
    method: str,
    path: str,
    body: bytes = b"",
    *,
    key: str = "test",
    secret: str = "secret",
    at: timedelta = timedelta(),
    expires_s: int | None = None,
) -> tuple[str, dict[str, str]]:
    """Target and headers of a request, signed in its head or, with `expires_s`, in its query; `at` shifts the clock."""
    request = AWSRequest(method, f"{url}{path}", data=body)
    if expires_s is None:
        signer: SigV4Auth = SigV4Auth(Credentials(key, secret), "lambda", "us-east-1")
    else:
        signer = SigV4QueryAuth(Credentials(key, secret), "lambda", "us-east-1", expires=expires_s)
    with patch("botocore.auth.get_current_datetime", lambda: datetime.now(UTC) + at):
        signer.add_auth(request)
    return request.url.removeprefix(url), dict(request.headers.items())


def send(strict: RunningServer, method: str, path: str, body: bytes = b"", **options: Any) -> Reply:
    target, headers = signed(strict.url, method, path, body, **options)
    return bare(strict, method, target, body, headers)


def bare(
    strict: RunningServer, method: str, target: str, body: bytes = b"", headers: Mapping[str, str] | None = None
) -> Reply:
    """A request with these headers and no others of ours."""
    connection = HTTPConnection(*address(strict.url), timeout=30)
    try:
        connection.request(method, target, body, dict(headers or {}))
        answer = connection.getresponse()
        return Reply(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
    finally:
        connection.close()


def refusal(reply: Reply) -> tuple[int, str, str | None]:
    return reply.status, reply.code, reply.message


@pytest.mark.parametrize(("method", "path", "body"), [("GET", READ, b""), ("POST", INVOKE, b"{}")])
def test_who_gets_in_and_what_the_others_read(strict: RunningServer, method: str, path: str, body: bytes) -> None:
    assert send(strict, method, path, body).status == 200
    assert refusal(send(strict, method, path, body, secret="wrong")) == (403, "InvalidSignatureException", FORGED)
    assert refusal(send(strict, method, path, body, key="NOBODY")) == (403, "UnrecognizedClientException", UNKNOWN)
    assert refusal(bare(strict, method, path, body)) == (
        403,
        "MissingAuthenticationTokenException",
        "Missing Authentication Token",
    )
    status, code, message = refusal(send(strict, method, path, body, at=timedelta(minutes=-6)))
    assert (status, code) == (403, "InvalidSignatureException")
    stamp = r"\d{8}T\d{6}Z"
    assert re.fullmatch(rf"Signature expired: {stamp} is now earlier than {stamp} \({stamp} - 5 min\.\)", message or "")
    assert refusal(send(strict, method, path, body, at=timedelta(minutes=6)))[:2] == (403, "InvalidSignatureException")
    assert send(strict, method, path, body, at=timedelta(minutes=-4)).status == 200


def test_a_body_that_was_changed_on_the_way_is_refused(strict: RunningServer) -> None:
    target, headers = signed(strict.url, "POST", INVOKE, b'{"a": 1}')
    assert refusal(call(strict.url, "POST", target, b'{"a": 2}', headers)) == (403, "InvalidSignatureException", FORGED)


def test_a_presigned_request_works_until_it_expires(strict: RunningServer) -> None:
    assert send(strict, "GET", READ, expires_s=60).status == 200
    late = send(strict, "GET", READ, expires_s=60, at=timedelta(seconds=-90))
    assert (late.status, late.code) == (403, "InvalidSignatureException")
    forged = send(strict, "GET", READ, expires_s=60, secret="wrong")
    assert refusal(forged) == (403, "InvalidSignatureException", FORGED)


def test_an_error_of_authentication_has_no_type_and_changes_nothing(strict: RunningServer) -> None:
    refused = send(strict, "DELETE", READ, secret="wrong")
    assert refused.status == 403
    assert "Type" not in refused.document
    assert send(strict, "GET", READ).status == 200


def test_logs_and_usage_are_verified_too_and_health_is_not(strict: RunningServer) -> None:
    target = {"X-Amz-Target": "Logs_20140328.DescribeLogGroups", "Content-Type": "application/x-amz-json-1.1"}
    assert call(strict.url, "POST", "/", b"{}", target).status in (400, 403)
    assert bare(strict, "GET", "/_lambent/usage").status == 403
    assert health(strict.url)["status"] == "ok"


def test_each_key_acts_in_its_account(strict: RunningServer) -> None:
    theirs = send(strict, "GET", "/2015-03-31/functions/", key="OTHERKEY", secret="other-secret")
    assert theirs.document["Functions"] == []
    missing = send(strict, "GET", READ, key="OTHERKEY", secret="other-secret")
    assert missing.message == "Function not found: arn:aws:lambda:us-east-1:222222222222:function:witness"


def test_a_function_inside_reaches_the_platform(strict: RunningServer) -> None:
    """Its listener says who it is; its keys are not ones that verification knows."""
    code = (
        "import os, urllib.request\n"
        "def handler(event, context):\n"
        "    url = os.environ['AWS_ENDPOINT_URL'] + '/2015-03-31/functions/witness/invocations'\n"
        "    return urllib.request.urlopen(url, b'{}', timeout=20).read().decode()\n"
    )
    made = client("lambda", strict.url)
    with function(made, code, Timeout=30) as name:
        answer = made.invoke(FunctionName=name)
        assert json.loads(answer["Payload"].read()) == '"well"'
    made.close()


def test_boto3_with_a_wrong_secret_reads_the_error(strict: RunningServer) -> None:
    made = boto3.client(
        "lambda",
        endpoint_url=strict.url,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="guess",
    )
    with pytest.raises(ClientError) as refused:
        made.get_function(FunctionName=WITNESS)
    assert refused.value.response["Error"] == {"Code": "InvalidSignatureException", "Message": FORGED}
    made.close()
