"""JSON Web Tokens: those that are right, and those of every broken kind; keys that change, and issuers that fail."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from tests.unit.gateway.gateway_world import ISSUER, NOW_S, b64, claims, jwk, token

from lambent.gateway import jwt
from lambent.gateway.jwt import Keys, KeysUnknown, Refused, bearer, claims_of, read_keys, scopes_of, shown_claims

DISCOVERY = f"{ISSUER}/.well-known/openid-configuration"
JWKS = "https://issuer.example/keys"


class Issuer:
    """An issuer's two documents, and how often they were asked for."""

    def __init__(self, *keys: dict[str, Any]) -> None:
        self.documents: dict[str, bytes | None] = {
            DISCOVERY: json.dumps({"issuer": ISSUER, "jwks_uri": JWKS}).encode(),
            JWKS: json.dumps({"keys": keys or [jwk()]}).encode(),
        }
        self.asked: list[str] = []
        self.now_s = 0.0
        self.keys = Keys(self.fetch, lambda: self.now_s)

    async def fetch(self, url: str) -> bytes:
        self.asked.append(url)
        await asyncio.sleep(0)
        body = self.documents.get(url)
        if body is None:
            raise KeysUnknown(f"{url} did not answer")
        return body

    async def check(self, given: str, audience: tuple[str, ...] = ("app",)) -> dict[str, Any]:
        return await claims_of(given, ISSUER, audience, self.keys, NOW_S)


def checked(given: str, issuer: Issuer | None = None, audience: tuple[str, ...] = ("app",)) -> dict[str, Any]:
    return asyncio.run((issuer or Issuer()).check(given, audience))


@pytest.mark.parametrize("algorithm", ["RS256", "RS384", "RS512"])
def test_a_token_that_is_right(algorithm: str) -> None:
    key = {name: value for name, value in jwk().items() if name != "alg"}
    assert checked(token(algorithm=algorithm), Issuer(key)) == claims()


@pytest.mark.parametrize(
    ("given", "audience"),
    [
        ({"aud": ["other", "app"]}, ("app",)),
        ({"aud": None, "client_id": "app"}, ("app",)),
        ({"aud": "b"}, ("a", "b")),
        ({"nbf": None, "iat": None}, ("app",)),
        ({"exp": int(NOW_S) + 1}, ("app",)),
        ({"nbf": NOW_S, "iat": NOW_S}, ("app",)),
    ],
)
def test_claims_that_hold(given: dict[str, Any], audience: tuple[str, ...]) -> None:
    assert checked(token(claims(**given)), audience=audience) == claims(**given)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"iss": "https://other.example"}, "the token has an invalid issuer"),
        ({"iss": ISSUER + "/"}, "the token has an invalid issuer"),
        ({"iss": None}, "the token has an invalid issuer"),
        ({"iss": ["https://issuer.example/pool"]}, "the token has an invalid issuer"),
        ({"aud": "other"}, "the token does not have a valid audience"),
        ({"aud": []}, "the token does not have a valid audience"),
        ({"aud": {"app": 1}}, "the token does not have a valid audience"),
        ({"aud": None}, "the token does not have a valid audience"),
        ({"aud": "other", "client_id": "app"}, "the token does not have a valid audience"),  # aud comes first
        ({"exp": NOW_S}, "the token has expired"),
        ({"exp": NOW_S - 1}, "the token has expired"),
        ({"exp": None}, "the token has expired"),
        ({"exp": "1900000000"}, "the token's exp is no number"),
        ({"exp": True}, "the token's exp is no number"),
        ({"nbf": NOW_S + 1}, "the token is not valid yet"),
        ({"nbf": "now"}, "the token's nbf is no number"),
        ({"iat": NOW_S + 1}, "the token was issued in the future"),
        ({"iat": {}}, "the token's iat is no number"),
    ],
)
def test_claims_that_do_not_hold(given: dict[str, Any], words: str) -> None:
    with pytest.raises(Refused) as refused:
        checked(token(claims(**given)))
    assert str(refused.value) == words


GOOD = token()
HEAD, BODY, SIGNATURE = GOOD.split(".")
FORGED = b64(json.dumps(claims(sub="root")).encode())


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("x", "the token is not a JSON Web Token"),
        ("a.b", "the token is not a JSON Web Token"),
        ("a.b.c", "the token is not a JSON Web Token"),
        ("....", "the token is not a JSON Web Token"),
        (f"{b64(b'[]')}.{BODY}.{SIGNATURE}", "the token is not a JSON Web Token"),
        (f"{b64(b'{')}.{BODY}.{SIGNATURE}", "the token is not a JSON Web Token"),
        (f"{HEAD}.{FORGED}.{SIGNATURE}", "the token has an invalid signature"),
        (f"{HEAD}.{BODY}.", "the token has an invalid signature"),
        (f"{HEAD}.{BODY}.{b64(bytes(248))}", "the token has an invalid signature"),
        (f"{HEAD}.{BODY}.{SIGNATURE[:-1]}!", "the token is not a JSON Web Token"),
        (f"{HEAD}.{BODY}.{b64(bytes(256))}", "the token has an invalid signature"),
        (token(algorithm="none"), "signing method none is invalid"),
        (token(algorithm="HS256"), "signing method HS256 is invalid"),
        (token(head={"alg": "ES256"}), "signing method ES256 is invalid"),
        (token(head={"alg": "PS256"}), "signing method PS256 is invalid"),
        (token(head={"alg": "rs256"}), "signing method rs256 is invalid"),
        (token(head={"alg": None}), "signing method of the token is invalid"),
        (token(head={"alg": '" x="'}), "signing method of the token is invalid"),
        (token(number=1), "no matching key of the issuer was found"),
        (token(number=1, head={"kid": "k0"}), "the token has an invalid signature"),  # another's signature
        (token(number=1, head={"kid": None}), "the token has an invalid signature"),
        (token(number=1, head={"jwk": jwk(1), "kid": "k0"}), "the token has an invalid signature"),  # its own key
        (token(number=1, head={"jku": "https://evil.example/keys", "kid": "k0"}), "the token has an invalid signature"),
        (token(head={"crit": ["exp"]}), "the token is not a JSON Web Token"),
        (token([]), "the token's claims are no JSON object"),
        (token("text"), "the token's claims are no JSON object"),
    ],
)
def test_tokens_of_every_broken_kind(given: str, words: str) -> None:
    issuer = Issuer()
    with pytest.raises(Refused) as refused:
        checked(given, issuer)
    assert str(refused.value) == words
    assert set(issuer.asked) <= {DISCOVERY, JWKS}, "a token never says where its keys are"


@pytest.mark.parametrize(
    ("value", "found"), [("t", "t"), ("Bearer t", "t"), ("bearer  t ", "t"), ("BEARER t", "t"), (" t ", "t")]
)
def test_a_token_may_have_its_scheme_in_front(value: str, found: str) -> None:
    assert bearer(value) == found


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "the request carries no token"),
        ("", "the request carries no token"),
        ("Bearer ", "the request carries no token"),
        ("x" * 8_193, "the token is too long"),
    ],
)
def test_what_is_no_token(value: str | None, words: str) -> None:
    with pytest.raises(Refused, match=words):
        bearer(value)


# Keys


def test_keys_are_kept_for_two_hours_and_fetched_once_for_many() -> None:
    async def scenario() -> None:
        issuer = Issuer()
        await asyncio.gather(*(issuer.check(token()) for _ in range(20)))
        assert issuer.asked == [DISCOVERY, JWKS]
        issuer.now_s = jwt.KEYS_VALID_S
        await issuer.check(token())
        assert len(issuer.asked) == 2
        issuer.now_s = jwt.KEYS_VALID_S + 1
        await issuer.check(token())
        assert len(issuer.asked) == 4

    asyncio.run(scenario())


def test_a_new_key_is_found_and_unknown_ones_do_not_have_keys_fetched_all_the_time() -> None:
    async def scenario() -> None:
        issuer = Issuer()
        await issuer.check(token())
        issuer.documents[JWKS] = json.dumps({"keys": [jwk(0), jwk(1)]}).encode()
        for _ in range(5):
            with pytest.raises(Refused, match="no matching key"):
                await issuer.check(token(number=1))
        assert len(issuer.asked) == 2, "within a minute the keys are what they were"
        issuer.now_s = jwt.REFETCH_AFTER_S
        await issuer.check(token(number=1))
        assert len(issuer.asked) == 4

    asyncio.run(scenario())


def test_while_the_issuer_fails_known_keys_go_on_until_they_are_too_old() -> None:
    async def scenario() -> None:
        issuer = Issuer()
        await issuer.check(token())
        issuer.documents[DISCOVERY] = None
        issuer.now_s = jwt.REFETCH_AFTER_S
        with pytest.raises(Refused):
            await issuer.check(token(number=1))
        await issuer.check(token())
        issuer.now_s = jwt.KEYS_VALID_S + 1
        with pytest.raises(KeysUnknown, match="did not answer"):
            await issuer.check(token())

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("discovery", "keys", "words"),
    [
        (None, None, "did not answer"),
        (b"<html>", None, "the issuer's answer is not JSON"),
        (b"[]", None, "the issuer's answer is not a JSON object"),
        (b"{}", None, "the issuer's discovery document names no jwks_uri"),
        (b'{"jwks_uri": 3}', None, "the issuer's discovery document names no jwks_uri"),
        (b'{"jwks_uri": "%b"}' % JWKS.encode(), None, "did not answer"),
        (b'{"jwks_uri": "%b"}' % JWKS.encode(), b"{}", "the issuer publishes no RSA key for signatures"),
        (b'{"jwks_uri": "%b"}' % JWKS.encode(), b'{"keys": {}}', "the issuer publishes no RSA key for signatures"),
    ],
)
def test_an_issuer_that_fails(discovery: bytes | None, keys: bytes | None, words: str) -> None:
    issuer = Issuer()
    issuer.documents = {DISCOVERY: discovery, JWKS: keys}
    with pytest.raises(KeysUnknown, match=words):
        checked(token(), issuer)


def test_keys_that_are_not_for_this_are_left_out() -> None:
    listed = [
        jwk(0),
        jwk(1, use="enc"),
        {"kty": "EC", "kid": "ec", "crv": "P-256", "x": "a", "y": "b"},
        {"kty": "oct", "kid": "oct", "k": "c2VjcmV0"},
        {"kty": "RSA", "kid": "broken", "n": "!", "e": "AQAB"},
        "text",
        None,
    ]
    assert list(read_keys({"keys": listed})) == ["k0"]
    many = [jwk(0, kid=str(number)) for number in range(jwt.KEYS_MAX + 1)]
    assert len(read_keys({"keys": many})) == jwt.KEYS_MAX


def test_issuers_are_kept_up_to_a_bound() -> None:
    async def scenario() -> None:
        issuer = Issuer()
        for number in range(jwt.ISSUERS_MAX + 1):
            with pytest.raises(KeysUnknown):
                await issuer.keys.find(f"https://{number}.example", "k0")
        assert len(issuer.keys._issuers) == jwt.ISSUERS_MAX

    asyncio.run(scenario())


# What is told


@pytest.mark.parametrize(
    ("given", "scopes"),
    [
        ({"scope": "a b"}, ["a", "b"]),
        ({"scope": ["a", "b c"]}, ["a", "b c"]),
        ({"scp": "a"}, ["a"]),
        ({"scp": ["a", 3]}, ["a"]),
        ({"scope": 3}, []),
        ({}, []),
    ],
)
def test_scopes(given: dict[str, Any], scopes: list[str]) -> None:
    assert scopes_of(given) == scopes


def test_claims_are_shown_as_text() -> None:
    given = {"s": "x", "n": 3, "f": 1.5, "b": True, "l": ["a", 1], "m": {"b": 1, "a": "x"}, "z": None}
    shown = {"s": "x", "n": "3", "f": "1.5", "b": "true", "l": "[a 1]", "m": "map[a:x b:1]", "z": "null"}
    assert shown_claims(given) == shown
