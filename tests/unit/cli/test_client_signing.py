"""Our signer against the one every Python client uses: same request, same instant, same signature."""

from __future__ import annotations

from datetime import UTC, datetime
from unittest import mock

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as TheirCredentials

from lambent.client import ApiError, Client, Credentials, Reply, expect, function_path, signed_headers

NOW = datetime(2026, 11, 25, 12, 34, 56, tzinfo=UTC)


@pytest.mark.parametrize("token", [None, "session/token=="])
@pytest.mark.parametrize(
    ("method", "path", "query", "body", "service"),
    [
        ("GET", "/2015-03-31/functions/", "", b"", "lambda"),
        ("GET", "/2015-03-31/functions/", "Marker=a%2Fb%3D&MaxItems=50", b"", "lambda"),
        (
            "POST",
            "/2015-03-31/functions/arn%3Aaws%3Alambda%3Aus-east-1%3A1%3Afunction%3Ax/invocations",
            "",
            b"{}",
            "lambda",
        ),
        ("POST", "/2015-03-31/functions/x/invocations", "Qualifier=%24LATEST", "ü".encode(), "lambda"),
        ("POST", "/", "", b'{"logGroupName":"/aws/lambda/x"}', "logs"),
    ],
)
def test_the_signature_is_the_sdks(
    method: str, path: str, query: str, body: bytes, service: str, token: str | None
) -> None:
    headers = {"host": "127.0.0.1:4566", "x-amz-invocation-type": "RequestResponse"}
    ours = signed_headers(
        method,
        path,
        query,
        headers,
        body,
        region="eu-central-1",
        service=service,
        credentials=Credentials("AKIDEXAMPLE", "secret", token),
        now=NOW,
    )
    url = f"http://127.0.0.1:4566{path}{'?' + query if query else ''}"
    theirs = AWSRequest(method, url, headers={"X-Amz-Invocation-Type": "RequestResponse"}, data=body)
    # The SDK reads the clock itself; it is held still.
    with mock.patch("botocore.auth.get_current_datetime", return_value=NOW):
        SigV4Auth(TheirCredentials("AKIDEXAMPLE", "secret", token), service, "eu-central-1").add_auth(theirs)
    assert ours["x-amz-date"] == "20261125T123456Z" == theirs.headers["X-Amz-Date"]
    assert ours["authorization"] == theirs.headers["Authorization"]


def test_an_error_is_read_by_its_published_code() -> None:
    reply = Reply(404, {"x-amzn-errortype": "ResourceNotFoundException:"}, b'{"Message":"Function not found: x"}')
    with pytest.raises(ApiError) as caught:
        expect(reply)
    assert (caught.value.status, caught.value.code, str(caught.value)) == (
        404,
        "ResourceNotFoundException",
        "Function not found: x",
    )


def test_an_error_of_a_json_service_is_read_from_its_body() -> None:
    with pytest.raises(ApiError) as caught:
        expect(Reply(400, {}, b'{"__type":"com.amazonaws.logs#ResourceNotFoundException","message":"no group"}'))
    assert (caught.value.code, str(caught.value)) == ("ResourceNotFoundException", "no group")


@pytest.mark.parametrize("body", [b"<html>", b"[1]", b""])
def test_an_error_that_is_no_document_still_is_an_error(body: bytes) -> None:
    with pytest.raises(ApiError) as caught:
        expect(Reply(502, {}, body))
    assert caught.value.code == "HTTP 502"


def test_a_name_is_one_segment_of_the_path() -> None:
    assert function_path("a/b:c", "invocations") == "/2015-03-31/functions/a%2Fb%3Ac/invocations"


@pytest.mark.parametrize("endpoint", ["127.0.0.1:4566", "ftp://x", "http://", ""])
def test_what_is_no_endpoint_is_refused(endpoint: str) -> None:
    with pytest.raises(ValueError, match="is not an endpoint"):
        Client(endpoint, region="us-east-1", credentials=Credentials("a", "b"))
