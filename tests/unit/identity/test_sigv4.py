"""Signatures made by the SDK's own signer, and every way a signature can be wrong."""

from __future__ import annotations

import asyncio
import datetime
from typing import Any
from unittest import mock
from urllib.parse import urlsplit

import pytest
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth, SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotocoreCredentials
from hypothesis import given, settings
from hypothesis import strategies as st

from lambent.domain.clock import ManualClock
from lambent.domain.errors import Unauthenticated
from lambent.http.head import read_head
from lambent.http.message import Request
from lambent.identity.canonical import canonical_query
from lambent.identity.model import Credential, MemoryCredentials, SandboxOrigin
from lambent.identity.sigv4 import BAD_SIGNATURE, CACHE_MAX, HASH_THREAD_BYTES, SigV4

KEY, SECRET, ACCOUNT = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "111122223333"
NOW_MS = 1_764_100_000_000
NOW = datetime.datetime.fromtimestamp(NOW_MS / 1000, datetime.UTC)


def signed(
    method: str = "POST",
    url: str = "http://127.0.0.1:9000/2015-03-31/functions/echo/invocations",
    body: bytes = b"{}",
    headers: dict[str, str] | None = None,
    *,
    service: str = "lambda",
    signer: Any = None,
    token: str | None = None,
    at: datetime.datetime = NOW,
) -> Request:
    """A request as botocore signs it, read as the HTTP core reads it from the wire."""
    request = AWSRequest(method=method, url=url, data=body, headers={"Host": urlsplit(url).netloc, **(headers or {})})
    credentials = BotocoreCredentials(KEY, SECRET, token)
    if signer is None:
        signer = S3SigV4Auth if service == "s3" else SigV4Auth
    with mock.patch("botocore.auth.get_current_datetime", return_value=at.replace(tzinfo=None)):
        signer(credentials, service, "eu-west-1").add_auth(request)
    prepared = request.prepare()
    parts = urlsplit(prepared.url)
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    lines = [f"{method} {target} HTTP/1.1"]
    for name, value in prepared.headers.items():
        lines.append(f"{name}: {value if isinstance(value, str) else value.decode()}")
    head = read_head(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"), 1_000)
    head.body = body
    return head


def altered(request: Request, name: bytes, value: bytes | None) -> Request:
    """The request with a field replaced or removed."""
    request.headers = [(n, v) for n, v in request.headers if n != name]
    if value is not None:
        request.headers.append((name, value))
    request.header = dict(reversed(request.headers)).get
    return request


def verifier(clock: ManualClock | None = None, credential: Credential | None = None) -> SigV4:
    credentials = MemoryCredentials({KEY: credential or Credential(SECRET, ACCOUNT)})
    return SigV4(clock or ManualClock(NOW_MS), credentials, is_verifying=True)


def check(request: Request, authenticator: SigV4 | None = None) -> None:
    authenticator = authenticator or verifier()
    waiting = authenticator.verify(request, authenticator.identify(request))
    if waiting is not None:

        async def wait() -> None:
            await waiting

        asyncio.run(wait())


def refusal(request: Request, authenticator: SigV4 | None = None) -> tuple[str, str | None]:
    with pytest.raises(Unauthenticated) as caught:
        check(request, authenticator)
    return caught.value.code, caught.value.message


# -- what is right


def test_the_published_example() -> None:
    """The get-vanilla case of the published signature test suite."""
    head = read_head(
        b"GET / HTTP/1.1\r\nHost: example.amazonaws.com\r\nX-Amz-Date: 20150830T123600Z\r\n"
        b"Authorization: AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request,"
        b" SignedHeaders=host;x-amz-date,"
        b" Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31\r\n\r\n",
        100,
    )
    clock = ManualClock(1_440_938_160_000)
    check(head, verifier(clock, Credential("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", ACCOUNT)))


@pytest.mark.parametrize("service", ["lambda", "s3", "logs"])
@pytest.mark.parametrize("token", [None, "a/session+token=="])
def test_the_sdks_signature(service: str, token: str | None) -> None:
    request = signed(service=service, token=token)
    check(request, verifier(credential=Credential(SECRET, ACCOUNT, token)))


TEXT = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x2FF), max_size=12)


@settings(max_examples=80, deadline=None)
@given(
    segments=st.lists(TEXT, max_size=4),
    query=st.lists(st.tuples(TEXT.filter(bool), TEXT), max_size=4),
    body=st.binary(max_size=50),
    value=st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=20),
    service=st.sampled_from(["lambda", "s3"]),
)
def test_whatever_the_sdk_signs_verifies(
    segments: list[str], query: list[tuple[str, str]], body: bytes, value: str, service: str
) -> None:
    from urllib.parse import quote, urlencode

    path = "/" + "/".join(quote(segment, safe="") for segment in segments)
    url = f"http://127.0.0.1:9000{path}" + (f"?{urlencode(query, quote_via=quote)}" if query else "")
    check(signed("POST", url, body, {"X-Amz-Test": value.strip() or "x"}, service=service))


@pytest.mark.parametrize(("service", "signer"), [("lambda", SigV4QueryAuth), ("s3", S3SigV4QueryAuth)])
@pytest.mark.parametrize("token", [None, "token/+="])
def test_presigned(service: str, signer: Any, token: str | None) -> None:
    url = "http://127.0.0.1:9000/bucket/a%20key?versionId=x%2By"
    request = signed("GET", url, b"", service=service, signer=signer, token=token)
    authenticator = verifier(credential=Credential(SECRET, ACCOUNT, token))
    caller = authenticator.identify(request)
    assert (caller.service, caller.scope.account, caller.scope.region) == (service, ACCOUNT, "eu-west-1")
    check(request, authenticator)
    clock = ManualClock(NOW_MS)
    clock.advance(3_601)
    code, message = refusal(request, verifier(clock, Credential(SECRET, ACCOUNT, token)))
    assert code == "InvalidSignatureException"
    assert message is not None
    assert message.startswith("Signature expired: 20251125T194640Z is now earlier than ")


def test_a_declared_hash_and_an_unsigned_payload() -> None:
    import hashlib

    digest = hashlib.sha256(b"{}").hexdigest()
    check(signed(headers={"X-Amz-Content-SHA256": digest}))
    wrong = signed(headers={"X-Amz-Content-SHA256": digest})
    wrong.body = b"{ }"
    assert refusal(wrong) == ("InvalidSignatureException", BAD_SIGNATURE)
    unsigned = signed(headers={"X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"})
    unsigned.body = b"anything"
    check(unsigned)


def test_a_large_body_is_hashed_in_a_thread() -> None:
    body = b"x" * (HASH_THREAD_BYTES + 1)
    authenticator = verifier()
    request = signed(body=body)
    waiting = authenticator.verify(request, authenticator.identify(request))
    assert waiting is not None

    async def wait() -> None:
        await waiting

    asyncio.run(wait())
    request.body = body[:-1] + b"y"
    assert refusal(request, authenticator)[0] == "InvalidSignatureException"


# -- what is wrong


@pytest.mark.parametrize(
    "spoil",
    [
        lambda r: setattr(r, "body", b"{ }"),
        lambda r: setattr(r, "path", b"/2015-03-31/functions/other/invocations"),
        lambda r: setattr(r, "method", "GET"),
        lambda r: setattr(r, "query", b"a=b"),
        lambda r: altered(r, b"host", b"elsewhere"),
        lambda r: altered(r, b"authorization", r.header(b"authorization")[:-1] + b"g"),
        lambda r: altered(r, b"authorization", r.header(b"authorization")[:-64] + b"0" * 64),
        lambda r: altered(r, b"authorization", r.header(b"authorization").replace(b"eu-west-1", b"eu-west-2")),
    ],
)
def test_what_was_changed_is_refused(spoil: Any) -> None:
    authenticator = verifier()
    check(signed(), authenticator)  # the caches know the key now
    request = signed()
    spoil(request)
    assert refusal(request, authenticator) == ("InvalidSignatureException", BAD_SIGNATURE)


def test_missing_unknown_expired() -> None:
    unsigned = altered(signed(), b"authorization", None)
    assert refusal(unsigned) == ("MissingAuthenticationTokenException", "Missing Authentication Token")
    invalid = "The security token included in the request is invalid."
    nobody = SigV4(ManualClock(NOW_MS), is_verifying=True)
    assert refusal(signed(), nobody) == ("UnrecognizedClientException", invalid)
    with_token = Credential(SECRET, ACCOUNT, "right")
    for token in (None, "wrong"):
        assert refusal(signed(token=token), verifier(credential=with_token)) == ("UnrecognizedClientException", invalid)
    assert refusal(signed(token="superfluous")) == ("UnrecognizedClientException", invalid)
    old = Credential(SECRET, ACCOUNT, "t", expires_ms=NOW_MS)
    expired = ("ExpiredTokenException", "The security token included in the request is expired")
    assert refusal(signed(token="t"), verifier(credential=old)) == expired


def test_clock_skew() -> None:
    for minutes in (-5, 5):
        check(signed(at=NOW + datetime.timedelta(minutes=minutes)))
    assert refusal(signed(at=NOW - datetime.timedelta(seconds=301))) == (
        "InvalidSignatureException",
        "Signature expired: 20251125T194139Z is now earlier than 20251125T194140Z (20251125T194640Z - 5 min.)",
    )
    assert refusal(signed(at=NOW + datetime.timedelta(seconds=301))) == (
        "InvalidSignatureException",
        "Signature not yet current: 20251125T195141Z is still later than 20251125T195140Z (20251125T194640Z + 5 min.)",
    )


def test_half_a_signature() -> None:
    request = altered(signed(), b"authorization", b"AWS4-HMAC-SHA256 Credential=a/b/c/d/aws4_request")
    assert refusal(request, SigV4(ManualClock(NOW_MS), is_verifying=True)) == (
        "IncompleteSignatureException",
        "Authorization header requires 'Signature' parameter. Authorization header requires 'SignedHeaders' parameter."
        " Authorization=AWS4-HMAC-SHA256",
    )
    code, message = refusal(altered(signed(), b"x-amz-date", None))
    assert code == "IncompleteSignatureException"
    assert message is not None
    assert "existence of either a 'X-Amz-Date' or a 'Date' header." in message
    code, _ = refusal(altered(signed(), b"x-amz-date", b"yesterday"))
    assert code == "IncompleteSignatureException"


def test_the_dates_must_agree() -> None:
    request = altered(signed(), b"x-amz-date", b"20251126T000000Z")
    code, message = refusal(request)
    assert code == "InvalidSignatureException"
    assert message is not None
    assert "'20251125' != '20251126', from '20251126T000000Z'." in message


# -- who


def head_of(extra: bytes, target: bytes = b"/") -> Request:
    return read_head(b"GET %b HTTP/1.1\r\nHost: a\r\n%b\r\n" % (target, extra), 100)


def test_who_is_calling_without_verification() -> None:
    authenticator = SigV4(ManualClock())
    credential = b"Authorization: AWS4-HMAC-SHA256 Credential=%b, SignedHeaders=host, Signature=" + b"0" * 64 + b"\r\n"
    for raw, expected in (
        (b"123456789012/20251125/eu-west-1/lambda/aws4_request", ("123456789012", "eu-west-1", "lambda")),
        (b"test/20251125/eu-west-1/s3/aws4_request", ("000000000000", "eu-west-1", "s3")),
        (b"test/20251125/EU:x/lambda/aws4_request", ("000000000000", "us-east-1", "lambda")),
        (b"test", ("000000000000", "us-east-1", None)),
        (b"a/b/20251125/cn-north-1/lambda/aws4_request", ("000000000000", "cn-north-1", "lambda")),
    ):
        for _ in range(2):
            request = head_of(credential % raw)
            caller = authenticator.identify(request)
            assert (caller.scope.account, caller.scope.region, caller.service) == expected
            assert authenticator.verify(request, caller) is None
    assert authenticator.identify(head_of(credential % raw)).arn == "arn:aws-cn:iam::000000000000:root"
    unsigned = authenticator.identify(head_of(b""))
    assert (unsigned.access_key, unsigned.service, unsigned.scope.region) == (None, None, "us-east-1")
    assert authenticator.identify(head_of(b"Authorization: Bearer x\r\n")) == unsigned
    assert authenticator.identify(head_of(b"", b"/b/k?AWSAccessKeyId=a&Signature=b&Expires=1")).service == "s3"


def test_a_sandbox_acts_for_its_own_account_whatever_key_it_carries() -> None:
    authenticator = verifier()
    request = signed()
    request.origin = SandboxOrigin("env-1", "999999999999", "us-west-2", None)
    caller = authenticator.identify(request)
    assert (caller.scope.account, caller.scope.region, caller.sandbox) == ("999999999999", "eu-west-1", "env-1")
    assert caller.arn == "arn:aws:iam::999999999999:root"
    assert authenticator.verify(request, caller) is None
    unsigned = head_of(b"")
    unsigned.origin = request.origin
    assert authenticator.identify(unsigned).scope.region == "us-west-2"


def test_caches_are_bounded_and_filled_only_by_success() -> None:
    authenticator = verifier()
    wrong = signed()
    wrong.body = b"other"
    refusal(wrong, authenticator)
    assert not authenticator._keys
    assert not authenticator._names
    plain = SigV4(ManualClock())
    for n in range(CACHE_MAX + 10):
        plain.identify(head_of(b"Authorization: AWS4-HMAC-SHA256 Credential=k%d/1/us-east-1/s3/aws4_request,\r\n" % n))
    assert len(plain._callers) <= CACHE_MAX


def test_canonical_queries() -> None:
    for wire, canonical in (
        (b"", b""),
        (b"b=2&a=1&a=0", b"a=0&a=1&b=2"),
        (b"List=ALL", b"List=ALL"),
        (b"flag", b"flag="),
        (b"a=x+y&b=%2b&c=%e4", b"a=x%20y&b=%2B&c=%E4"),
        (b"a=~_-.!", b"a=~_-.%21"),
        (b"X-Amz-Signature=1&a=b", b"a=b"),
    ):
        assert canonical_query(wire) == canonical


# -- what is proved, on whatever server


def proven(request: Request, authenticator: SigV4) -> bool:
    caller = authenticator.identify(request)
    try:
        assert authenticator.prove(request, caller) is None
    except Unauthenticated:
        return False
    return True


@pytest.mark.parametrize("is_verifying", [True, False])
def test_what_has_to_be_proved_is_checked_wherever_the_secret_is_known(is_verifying: bool) -> None:
    known = MemoryCredentials({KEY: Credential(SECRET, ACCOUNT)})
    server = SigV4(ManualClock(NOW_MS), known, is_verifying=is_verifying)
    assert proven(signed(), server)
    assert not proven(altered(signed(), b"x-amz-date", b"20250101T000000Z"), server)
    wrong = signed()
    wrong.body = b"changed"
    assert not proven(wrong, server)
    unsigned = altered(signed(), b"authorization", None)
    assert not proven(unsigned, server)


def test_a_key_that_nobody_knows_is_taken_at_its_word_if_its_signature_is_whole_and_of_now() -> None:
    trusting = SigV4(ManualClock(NOW_MS))
    assert proven(signed(), trusting)
    wrong = signed()
    wrong.body = b"changed"
    assert proven(wrong, trusting), "there is no secret to check it with"
    assert not proven(signed(at=NOW - datetime.timedelta(minutes=6)), trusting)
    assert not proven(altered(signed(), b"authorization", b"AWS4-HMAC-SHA256 Credential=K"), trusting)
    short = b"AWS4-HMAC-SHA256 Credential=K, SignedHeaders=host, Signature=" + b"0" * 64
    assert not proven(altered(signed(), b"authorization", short), trusting)
    assert not proven(signed(), SigV4(ManualClock(NOW_MS), is_verifying=True))


def test_a_sandboxs_listener_alone_proves_nothing() -> None:
    server = SigV4(ManualClock(NOW_MS), is_verifying=True)
    request = altered(signed(), b"authorization", None)
    request.origin = SandboxOrigin("env-1", ACCOUNT, "eu-west-1")
    assert not proven(request, server)
    request = signed()
    request.origin = SandboxOrigin("env-1", ACCOUNT, "eu-west-1")
    assert proven(request, server)
