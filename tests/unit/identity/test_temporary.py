"""Temporary credentials: unforgeable, recognised by themselves, and ended when they should be."""

from __future__ import annotations

import datetime
from base64 import b32decode, urlsafe_b64decode, urlsafe_b64encode
from typing import Any
from unittest import mock
from urllib.parse import urlsplit

import pytest
from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from lambent.domain.clock import ManualClock
from lambent.domain.errors import AccessDenied, Unauthenticated
from lambent.domain.names import FunctionRef
from lambent.http.head import read_head
from lambent.http.message import Request
from lambent.identity.model import Credential, MemoryCredentials, SandboxOrigin
from lambent.identity.sigv4 import SigV4
from lambent.identity.temporary import (
    SESSIONS_CACHED_MAX,
    TOKEN_CHARS_MAX,
    Issued,
    TemporaryCredentials,
    function_arn,
    principal_id,
)

NOW_MS = 1_764_100_000_000
ACCOUNT, OTHER = "111122223333", "444455556666"
REF = FunctionRef(ACCOUNT, "eu-west-1", "resize")
ROLE = f"arn:aws:iam::{ACCOUNT}:role/service/worker"
WORKER = f"arn:aws:sts::{ACCOUNT}:assumed-role/worker/resize"
HOUR_MS = 3_600_000


class World:
    def __init__(self, *, is_verifying: bool = False) -> None:
        self.clock = ManualClock(NOW_MS)
        self.temporary = TemporaryCredentials(b"s" * 32, self.clock)
        keys = MemoryCredentials({"KEY": Credential("secret", OTHER)}) if is_verifying else None
        self.sigv4 = SigV4(self.clock, keys, is_verifying=is_verifying, temporary=self.temporary)

    def ask(self, issued: Issued, *, origin: SandboxOrigin | None = None, **changed: Any) -> str:
        """Who a request with these credentials acts as; raises what it is refused with."""
        request = signed(issued, self.clock, **changed)
        request.origin = origin
        caller = self.sigv4.identify(request)
        assert self.sigv4.verify(request, caller) is None
        return caller.arn


def signed(
    issued: Issued,
    clock: ManualClock,
    *,
    token: str | None = "",
    secret: str | None = None,
    presigned: bool = False,
) -> Request:
    request = AWSRequest("GET", "http://127.0.0.1:9000/2015-03-31/functions", headers={"Host": "127.0.0.1:9000"})
    held = Credentials(issued.access_key, secret or issued.secret, issued.token if token == "" else token)
    signer = (SigV4QueryAuth if presigned else SigV4Auth)(held, "lambda", "eu-west-1")
    now = datetime.datetime.fromtimestamp(clock.wall_ms() / 1000, datetime.UTC).replace(tzinfo=None)
    with mock.patch("botocore.auth.get_current_datetime", return_value=now):
        signer.add_auth(request)
    prepared = request.prepare()
    parts = urlsplit(prepared.url)
    lines = [f"GET {parts.path}{'?' if parts.query else ''}{parts.query} HTTP/1.1"]
    lines += [
        f"{name}: {value if isinstance(value, str) else value.decode()}" for name, value in prepared.headers.items()
    ]
    head = read_head(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"), 1_000)
    head.body = b""
    return head


def refusal(world: World, issued: Issued, **changed: Any) -> tuple[str, str | None]:
    with pytest.raises(Unauthenticated) as refused:
        world.ask(issued, **changed)
    return refused.value.code, refused.value.message


UNKNOWN = ("UnrecognizedClientException", "The security token included in the request is invalid.")
EXPIRED = ("ExpiredTokenException", "The security token included in the request is expired")


@pytest.fixture(params=[False, True], ids=["trusting", "verifying"])
def world(request: pytest.FixtureRequest) -> World:
    return World(is_verifying=request.param)


def test_a_session_acts_until_its_end(world: World) -> None:
    issued = world.temporary.issue(ACCOUNT, WORKER, expires_ms=NOW_MS + HOUR_MS)
    assert world.ask(issued) == WORKER
    assert world.ask(issued, presigned=True) == WORKER
    world.clock.advance(3_599.999)
    assert world.ask(issued) == WORKER
    world.clock.advance(0.001)
    assert refusal(world, issued) == EXPIRED
    assert refusal(world, issued, presigned=True) == EXPIRED


def test_an_environment_s_credentials_live_as_long_as_it_does(world: World) -> None:
    issued = world.temporary.issue_to("e1", REF, ROLE)
    assert issued.expires_ms is None
    assert refusal(world, issued) == EXPIRED  # not open yet
    world.temporary.hold("e1")
    assert world.ask(issued) == WORKER
    world.clock.advance(100 * 86_400)
    assert world.ask(issued) == WORKER
    world.temporary.release("e1")
    assert refusal(world, issued) == EXPIRED


def test_without_its_token_or_with_another_s_a_key_is_nobody_s(world: World) -> None:
    issued = world.temporary.issue(ACCOUNT, WORKER, expires_ms=NOW_MS + HOUR_MS)
    other = world.temporary.issue(OTHER, f"arn:aws:iam::{OTHER}:root", expires_ms=NOW_MS + HOUR_MS)
    for token in (None, "x", "x" * 5_000, "ä", other.token):
        assert refusal(world, issued, token=token) == UNKNOWN


def test_a_changed_token_is_refused(world: World) -> None:
    issued = world.temporary.issue(ACCOUNT, WORKER, expires_ms=NOW_MS + HOUR_MS)
    raw = urlsafe_b64decode(issued.token + "=" * (-len(issued.token) % 4))
    richer = urlsafe_b64encode(raw.replace(b"worker", b"master")).decode().rstrip("=")
    assert refusal(world, issued, token=richer) == UNKNOWN


def test_credentials_outlive_a_restart_and_not_another_secret() -> None:
    clock = ManualClock(NOW_MS)
    issued = TemporaryCredentials(b"s" * 32, clock).issue(ACCOUNT, WORKER, expires_ms=NOW_MS + HOUR_MS)
    again = TemporaryCredentials(b"s" * 32, clock)
    found = again.find(issued.access_key, issued.token)
    assert found is not None
    assert (found.secret, found.account, found.arn, found.expires_ms) == (
        issued.secret,
        ACCOUNT,
        WORKER,
        NOW_MS + HOUR_MS,
    )
    assert again.is_in_force(found)
    stranger = TemporaryCredentials(b"t" * 32, clock)
    assert stranger.account_of(issued.access_key) is None
    assert stranger.find(issued.access_key, issued.token) is None


def test_an_environment_s_credentials_end_with_the_server() -> None:
    clock = ManualClock(NOW_MS)
    first = TemporaryCredentials(b"s" * 32, clock)
    first.hold("e1")
    issued = first.issue_to("e1", REF, ROLE)
    again = TemporaryCredentials(b"s" * 32, clock)
    found = again.find(issued.access_key, issued.token)
    assert found is not None
    assert not again.is_in_force(found)


@pytest.mark.parametrize("account", ["000000000000", ACCOUNT, "999999999999"])
def test_the_account_is_in_the_key_as_the_service_lays_it_out(account: str) -> None:
    temporary = TemporaryCredentials(b"s" * 32, ManualClock(NOW_MS))
    key = temporary.issue(account, f"arn:aws:iam::{account}:root", expires_ms=1).access_key
    assert len(key) == 20
    assert temporary.account_of(key) == account
    # As published tools read it: 40 bits behind the first of the six leading bytes.
    assert (int.from_bytes(b32decode(key[4:])[:6]) & 0x7FFF_FFFF_FF80) >> 7 == int(account)


@pytest.mark.parametrize(
    "key",
    [
        "ASIA",
        "AKIAQAAAAAAAKZLHD6WR",
        "ASIAQAAAAAAAKZLHD6W1",
        "ASIA" + "A" * 16,
        "ASIAIOSFODNN7EXAMPLE",
        "ASIA" + "ä" * 16,
    ],
)
def test_keys_of_others_are_not_recognised(key: str) -> None:
    assert TemporaryCredentials(b"s" * 32, ManualClock(NOW_MS)).account_of(key) is None


def test_no_two_are_alike() -> None:
    temporary = TemporaryCredentials(b"s" * 32, ManualClock(NOW_MS))
    made = [temporary.issue(ACCOUNT, WORKER, expires_ms=1) for _ in range(100)]
    assert len({one.secret for one in made}) == len({one.token for one in made}) == 100
    assert all(len(one.secret) == 40 for one in made)


def test_a_key_of_the_user_s_own_cloud_is_anybody_s_as_before() -> None:
    """Temporary keys that this server did not issue are any key: whoever has some in the environment gets in."""
    world = World()
    foreign = Issued("ASIAIOSFODNN7EXAMPLE", "x" * 40, "token", None)
    assert world.ask(foreign) == "arn:aws:iam::000000000000:root"


def test_where_signatures_are_verified_the_secret_counts() -> None:
    world = World(is_verifying=True)
    issued = world.temporary.issue(ACCOUNT, WORKER, expires_ms=NOW_MS + HOUR_MS)
    assert refusal(world, issued, secret="x" * 40)[0] == "InvalidSignatureException"


# Through a sandbox's listener


ORIGIN = SandboxOrigin("e1", ACCOUNT, "eu-west-1", WORKER)


def test_inside_a_sandbox_its_listener_says_who_it_is(world: World) -> None:
    world.temporary.hold("e1")
    own = world.temporary.issue_to("e1", REF, ROLE)
    assert world.ask(own, origin=ORIGIN) == WORKER
    assert world.ask(own, origin=ORIGIN, token=None) == WORKER
    assert world.ask(Issued("999999999999", "x", "", None), origin=ORIGIN, token=None) == WORKER


def test_inside_a_sandbox_another_role_may_be_named_but_no_other_account(world: World) -> None:
    other = f"arn:aws:sts::{ACCOUNT}:assumed-role/other/me"
    assert world.ask(world.temporary.issue(ACCOUNT, other, expires_ms=NOW_MS + 1), origin=ORIGIN) == other
    abroad = world.temporary.issue(OTHER, f"arn:aws:iam::{OTHER}:root", expires_ms=NOW_MS + 1)
    with pytest.raises(AccessDenied) as refused:
        world.ask(abroad, origin=ORIGIN)
    assert refused.value.message == (
        f"A function acts in its own account, {ACCOUNT}: credentials of account {OTHER} are not taken through its "
        "sandbox's endpoint."
    )


def test_inside_a_sandbox_ended_credentials_are_refused(world: World) -> None:
    ended = world.temporary.issue(ACCOUNT, WORKER, expires_ms=NOW_MS)
    assert refusal(world, ended, origin=ORIGIN) == EXPIRED
    assert refusal(world, ended, origin=ORIGIN, token="x") == UNKNOWN


@pytest.mark.parametrize(
    ("region", "role", "arn"),
    [
        ("us-east-1", f"arn:aws:iam::{ACCOUNT}:role/worker", f"arn:aws:sts::{ACCOUNT}:assumed-role/worker/resize"),
        ("us-east-1", f"arn:aws:iam::{OTHER}:role/a/b/worker", f"arn:aws:sts::{ACCOUNT}:assumed-role/worker/resize"),
        ("us-east-1", f"arn:aws:iam::{ACCOUNT}:roleworker", f"arn:aws:sts::{ACCOUNT}:assumed-role/worker/resize"),
        ("cn-north-1", f"arn:aws-cn:iam::{ACCOUNT}:role/w", f"arn:aws-cn:sts::{ACCOUNT}:assumed-role/w/resize"),
    ],
)
def test_whom_a_function_acts_as(region: str, role: str, arn: str) -> None:
    assert function_arn(FunctionRef(ACCOUNT, region, "resize"), role) == arn


def test_a_role_that_is_not_kept_has_one_id_whatever_the_session() -> None:
    first, second = (principal_id(f"arn:aws:sts::{ACCOUNT}:assumed-role/worker/{one}") for one in "ab")
    assert first == second
    assert len(first) == 21
    assert principal_id(f"arn:aws:sts::{ACCOUNT}:assumed-role/other/a") != first


def test_sessions_read_are_remembered_up_to_a_number() -> None:
    temporary = TemporaryCredentials(b"s" * 32, ManualClock(0))
    for n in range(SESSIONS_CACHED_MAX + 10):
        temporary.account_of(f"ASIA{n}")
    assert temporary.account_of.cache_info().currsize == SESSIONS_CACHED_MAX


def test_longer_tokens_are_not_looked_at() -> None:
    temporary = TemporaryCredentials(b"s" * 32, ManualClock(0))
    issued = temporary.issue(ACCOUNT, "arn:aws:sts::111111111111:assumed-role/r/" + "x" * TOKEN_CHARS_MAX, expires_ms=1)
    assert len(issued.token) > TOKEN_CHARS_MAX
    assert temporary.find(issued.access_key, issued.token) is None
    usual = temporary.issue(ACCOUNT, f"arn:aws:sts::{ACCOUNT}:assumed-role/{'r' * 64}/{'s' * 64}", expires_ms=1)
    assert len(usual.token) < TOKEN_CHARS_MAX // 4
