"""AuthType AWS_IAM: signatures are really checked, the policy is really asked, and the event says who calls."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import patch

import pytest
from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from tests.conftest import RunningServer, start_server
from tests.integration.gateway.url_world import FORBIDDEN, SITE, Reply, Url, id_in, permit, server_of
from tests.support import client, function

KEYS = "test:secret,OTHERKEY:other-secret:222222222222"
OWN, OTHER = Credentials("test", "secret"), Credentials("OTHERKEY", "other-secret")


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server that lets two keys in."""
    base = tmp_path_factory.mktemp("strict-urls")
    for folder in (base, *base.parents):
        if str(folder).startswith("/tmp/"):
            folder.chmod(0o755)
    environment = {"LAMBENT_VERIFY_SIGNATURES": "true", "LAMBENT_ACCESS_KEYS": KEYS}
    running = start_server(base / "data", env=environment)
    yield running
    assert running.stop() == 0, running.log.read_text()[-4_000:]


@pytest.fixture(scope="module")
def owner(strict: RunningServer) -> Iterator[Any]:
    made = client("lambda", strict.url)
    yield made
    made.close()


@pytest.fixture(scope="module")
def named(owner: Any, strict: RunningServer) -> Iterator[tuple[str, Url]]:
    with function(owner, SITE) as name:
        made = owner.create_function_url_config(FunctionName=name, AuthType="AWS_IAM")
        yield name, Url(server_of(strict.url), id_in(made["FunctionUrl"]))


def signed(
    url: Url,
    credentials: Credentials,
    method: str = "GET",
    target: str = "/event",
    body: bytes = b"",
    *,
    at: timedelta = timedelta(),
    expires_s: int | None = None,
    service: str = "lambda",
    region: str = "us-east-1",
    host: str | None = None,
    change: dict[str, str] | None = None,
) -> Reply:
    """A request that is signed for the URL; `change` then replaces headers."""
    base = f"http://{host or url.host}"
    request = AWSRequest(method, f"{base}{target}", data=body)
    if expires_s is None:
        signer: SigV4Auth = SigV4Auth(credentials, service, region)
    else:
        signer = SigV4QueryAuth(credentials, service, region, expires=expires_s)
    with patch("botocore.auth.get_current_datetime", lambda: datetime.now(UTC) + at):
        signer.add_auth(request)
    headers = {**dict(request.headers.items()), **(change or {})}
    return url(method, request.url.removeprefix(base), body or None, headers, host=host)


def forbidden(reply: Reply) -> bool:
    if reply.status == 403:
        assert reply.json == FORBIDDEN
        assert reply.header("x-amzn-errortype") == "AccessDeniedException"
    return reply.status == 403


def test_the_event_says_who_calls(named: tuple[str, Url]) -> None:
    event = signed(named[1], OWN).json
    assert event["requestContext"]["accountId"] == "000000000000"
    assert event["requestContext"]["authorizer"] == {
        "iam": {
            "accessKey": "test",
            "accountId": "000000000000",
            "callerId": "000000000000",
            "cognitoIdentity": None,
            "principalOrgId": None,
            "userArn": "arn:aws:iam::000000000000:root",
            "userId": "000000000000",
        }
    }


def test_what_is_signed_gets_in_in_every_form(named: tuple[str, Url]) -> None:
    _, url = named
    assert signed(url, OWN, "POST", "/echo", b"body").body == b"body"
    assert signed(url, OWN, "POST", "/echo", b"large" * 100_000).body == b"large" * 100_000
    assert signed(url, OWN, "GET", "/a%20b/c?x=1&y=%C3%A9").json["path"] == "/a%20b/c"
    assert signed(url, OWN, expires_s=60).status == 200
    assert signed(url, OWN, "GET", f"/_lambent/url/{url.id}/event", host=f"127.0.0.1:{url.server[1]}").status == 200


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"credentials": Credentials("test", "wrong")}, id="wrong secret"),
        pytest.param({"credentials": Credentials("nobody", "secret")}, id="unknown key"),
        {"at": timedelta(minutes=-10)},
        {"at": timedelta(minutes=10)},
        {"service": "execute-api"},
        {"region": "eu-west-1"},
        {"expires_s": 60, "at": timedelta(minutes=-2)},
        {"change": {"Authorization": "AWS4-HMAC-SHA256 Credential=test"}},
        {"change": {"Authorization": "AWS4-HMAC-SHA256 Credential=test, SignedHeaders=host, Signature=" + "0" * 64}},
        {"change": {"Authorization": "Bearer token"}},
        {"change": {"X-Amz-Date": "20200101T000000Z"}},
        {"method": "POST", "target": "/echo", "body": b"body", "change": {"X-Amz-Content-SHA256": "0" * 64}},
    ],
    ids=str,
)
def test_what_is_not_rightly_signed_is_refused(named: tuple[str, Url], options: dict[str, Any]) -> None:
    assert forbidden(signed(named[1], **{"credentials": OWN, **options}))


def test_what_was_changed_on_its_way_is_refused(named: tuple[str, Url]) -> None:
    _, url = named
    request = AWSRequest("POST", f"http://{url.host}/echo", data=b"body")
    SigV4Auth(OWN, "lambda", "us-east-1").add_auth(request)
    headers = dict(request.headers.items())
    assert url("POST", "/echo", b"body", headers).status == 200
    assert forbidden(url("POST", "/echo", b"bodz", headers))
    assert forbidden(url("POST", "/event", b"body", headers))
    assert forbidden(url("PUT", "/echo", b"body", headers))
    assert forbidden(url("POST", "/echo?a=1", b"body", headers))


def test_without_a_signature_nothing_is_read(named: tuple[str, Url]) -> None:
    _, url = named
    assert forbidden(url())
    head = f"POST / HTTP/1.1\r\nHost: {url.host}\r\nContent-Length: 5000000\r\nExpect: 100-continue\r\n\r\n".encode()
    answer = url.raw(head)
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert b"100 Continue" not in answer


def test_another_account_needs_the_statements(owner: Any, named: tuple[str, Url]) -> None:
    name, url = named
    assert forbidden(signed(url, OTHER))
    permit(owner, name, "AWS_IAM", "222222222222")
    event = signed(url, OTHER).json
    assert event["requestContext"]["accountId"] == "000000000000"
    assert event["requestContext"]["authorizer"]["iam"]["accountId"] == "222222222222"
    owner.remove_permission(FunctionName=name, StatementId="FunctionURLInvokeAllowPublicAccess")
    assert forbidden(signed(url, OTHER))


def test_a_deny_holds_for_the_own_account_too(owner: Any, named: tuple[str, Url]) -> None:
    name, url = named
    arn = owner.get_function_configuration(FunctionName=name)["FunctionArn"]
    denied = {"Effect": "Deny", "Principal": "*", "Action": "lambda:InvokeFunctionUrl", "Resource": arn}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [denied]})
    owner.put_resource_policy(ResourceArn=arn, Policy=policy)
    try:
        assert forbidden(signed(url, OWN))
    finally:
        owner.delete_resource_policy(ResourceArn=arn)
    assert signed(url, OWN).status == 200


def test_the_kind_of_authentication_can_be_changed(owner: Any, strict: RunningServer) -> None:
    with function(owner, SITE) as name:
        made = owner.create_function_url_config(FunctionName=name, AuthType="NONE")
        url = Url(server_of(strict.url), id_in(made["FunctionUrl"]))
        permit(owner, name)
        assert url().status == 200
        owner.update_function_url_config(FunctionName=name, AuthType="AWS_IAM")
        assert forbidden(url())
        assert signed(url, OWN).status == 200


def test_a_server_that_verifies_nothing_else_still_wants_a_whole_signature(endpoint: str) -> None:
    """There, keys and secrets are the caller's own choice: what nobody knows is taken at its word."""
    lambda_ = client("lambda", endpoint)
    try:
        with function(lambda_, SITE) as name:
            made = lambda_.create_function_url_config(FunctionName=name, AuthType="AWS_IAM")
            url = Url(server_of(endpoint), id_in(made["FunctionUrl"]))
            assert forbidden(url())
            assert signed(url, OWN).status == 200
            assert forbidden(signed(url, OWN, at=timedelta(minutes=-10)))
            assert forbidden(signed(url, OWN, change={"Authorization": "AWS4-HMAC-SHA256 Credential=test"}))
            sts = client("sts", endpoint)
            issued = sts.get_session_token()["Credentials"]
            sts.close()
            known = Credentials(issued["AccessKeyId"], issued["SecretAccessKey"], issued["SessionToken"])
            assert signed(url, known).status == 200
            assert forbidden(signed(url, Credentials(known.access_key, "wrong", known.token)))
            assert forbidden(signed(url, Credentials(known.access_key, known.secret_key, "wrong")))
    finally:
        lambda_.close()
