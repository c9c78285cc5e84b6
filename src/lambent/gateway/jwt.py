"""JSON Web Tokens: whether a token is its issuer's, for whom it is, and whether it holds now.

The issuer's keys are found by its discovery document (OpenID Connect) and kept for two hours; a token that names a key
which is not among them has them fetched again, once a minute at most. Signatures are checked by PyJWT, which is imported
with the first token. Source: API Gateway developer guide, "Control access to HTTP APIs with JWT authorizers".
"""

from __future__ import annotations

import asyncio
import importlib.util
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

KEYS_VALID_S = 7_200.0
REFETCH_AFTER_S = 60.0
"""Between two fetches because of keys that are not known; after a failure, too."""
FETCH_TIMEOUT_S = 1.5
"""For the discovery document, and for the keys."""
TOKEN_CHARS_MAX = 8_192
KEYS_MAX = 64
"""Of one issuer; what its document has beyond that is not read."""
ISSUERS_MAX = 1_024
"""Issuers whose keys are kept; the oldest are forgotten."""

_WORD = re.compile(r"[A-Za-z0-9]{1,16}")
ALGORITHMS = ("RS256", "RS384", "RS512")


class Refused(Exception):
    """The token does not let its bearer in; the text goes into `www-authenticate`."""


class KeysUnknown(Exception):
    """The issuer's keys can't be had; the text says why."""


def is_available() -> bool:
    """Whether the library is installed: it comes with the extra `http-apis`."""
    return importlib.util.find_spec("jwt") is not None and importlib.util.find_spec("cryptography") is not None


Fetch = Callable[[str], Awaitable[bytes]]
"""The body at a URL; raises KeysUnknown."""


@dataclass(slots=True)
class _Issuer:
    keys: dict[str, Any] = field(default_factory=dict)
    fetched_s: float = float("-inf")
    asked_s: float = float("-inf")
    failure: str = ""
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Keys:
    """The public keys of issuers."""

    def __init__(self, fetch: Fetch, now_s: Callable[[], float]) -> None:
        """now_s: seconds of the monotonic clock."""
        self._fetch = fetch
        self._now_s = now_s
        self._issuers: dict[str, _Issuer] = {}

    async def find(self, issuer: str, key_id: str | None) -> Any:
        """The key of an id; without an id the only one there is. Raises Refused and KeysUnknown."""
        known = self._issuers.get(issuer)
        if known is None:
            if len(self._issuers) >= ISSUERS_MAX:
                self._issuers.pop(next(iter(self._issuers)))
            known = self._issuers[issuer] = _Issuer()
        key = self._key(known, key_id)
        if key is None:
            async with known.lock:  # of many requests one fetches
                key = self._key(known, key_id)
                if key is None:
                    await self._refetch(issuer, known)
                    key = self._key(known, key_id)
        if key is not None:
            return key
        if not known.keys:
            raise KeysUnknown(known.failure)
        raise Refused("no matching key of the issuer was found")

    def _key(self, known: _Issuer, key_id: str | None) -> Any:
        if self._now_s() - known.fetched_s > KEYS_VALID_S:
            return None
        if key_id is None:
            return next(iter(known.keys.values())) if len(known.keys) == 1 else None
        return known.keys.get(key_id)

    async def _refetch(self, issuer: str, known: _Issuer) -> None:
        now_s = self._now_s()
        if now_s - known.asked_s < REFETCH_AFTER_S:
            return
        known.asked_s = now_s
        try:
            discovery = _document(await self._fetch(issuer.rstrip("/") + "/.well-known/openid-configuration"))
            place = discovery.get("jwks_uri")
            if not isinstance(place, str):
                raise KeysUnknown("the issuer's discovery document names no jwks_uri")
            known.keys = read_keys(_document(await self._fetch(place)))
            known.fetched_s = now_s
        except KeysUnknown as error:
            known.failure = str(error)
            if now_s - known.fetched_s > KEYS_VALID_S:
                known.keys = {}


def _document(body: bytes) -> dict[str, Any]:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise KeysUnknown("the issuer's answer is not JSON") from None
    if not isinstance(value, dict):
        raise KeysUnknown("the issuer's answer is not a JSON object")
    return value


def read_keys(document: Mapping[str, Any]) -> dict[str, Any]:
    """RSA keys for signatures by their id, of a JSON Web Key Set; others are left out. Raises KeysUnknown for none."""
    from jwt import PyJWK, PyJWTError

    keys: dict[str, Any] = {}
    listed = document.get("keys")
    for one in (listed if isinstance(listed, list) else ())[:KEYS_MAX]:
        if not isinstance(one, dict) or one.get("kty") != "RSA" or one.get("use", "sig") != "sig":
            continue
        try:
            key = PyJWK({**one, "alg": one.get("alg", "RS256")})
        except (PyJWTError, ValueError, TypeError, KeyError):
            continue
        keys[str(one.get("kid", ""))] = key.key
    if not keys:
        raise KeysUnknown("the issuer publishes no RSA key for signatures")
    return keys


def bearer(value: str | None) -> str:
    """The token of an identity source, with or without `Bearer` in front. Raises Refused."""
    token = (value or "").strip()
    if token[:6].lower() == "bearer" and not token[6:7].strip():
        token = token[6:].strip()
    if not token:
        raise Refused("the request carries no token")
    if len(token) > TOKEN_CHARS_MAX:
        raise Refused("the token is too long")
    return token


async def claims_of(token: str, issuer: str, audience: Sequence[str], keys: Keys, now_epoch_s: float) -> dict[str, Any]:
    """The claims of a token that is right. Raises Refused and KeysUnknown."""
    import jwt

    try:
        head = jwt.get_unverified_header(token)
    except (jwt.PyJWTError, ValueError, TypeError):
        raise Refused("the token is not a JSON Web Token") from None
    algorithm = head.get("alg")
    if algorithm not in ALGORITHMS:
        shown = algorithm if isinstance(algorithm, str) and _WORD.fullmatch(algorithm) else "of the token"
        raise Refused(f"signing method {shown} is invalid")
    key_id = head.get("kid")
    key = await keys.find(issuer, key_id if isinstance(key_id, str) else None)
    try:
        claims = orjson.loads(jwt.PyJWS().decode(token, key, algorithms=[algorithm]))
    except (jwt.PyJWTError, ValueError, TypeError):
        raise Refused("the token has an invalid signature") from None
    if not isinstance(claims, dict):
        raise Refused("the token's claims are no JSON object")
    check_claims(claims, issuer, audience, now_epoch_s)
    return claims


def check_claims(claims: Mapping[str, Any], issuer: str, audience: Sequence[str], now_epoch_s: float) -> None:
    """Issuer, audience and times, each in the service's order. Raises Refused."""
    if claims.get("iss") != issuer:
        raise Refused("the token has an invalid issuer")
    meant = claims.get("aud", claims.get("client_id"))
    named = meant if isinstance(meant, list) else [meant]
    if not any(one in audience for one in named if isinstance(one, str)):
        raise Refused("the token does not have a valid audience")
    expires = _time(claims, "exp")
    if expires is None or now_epoch_s >= expires:
        raise Refused("the token has expired")
    not_before, issued = _time(claims, "nbf"), _time(claims, "iat")
    if not_before is not None and now_epoch_s < not_before:
        raise Refused("the token is not valid yet")
    if issued is not None and now_epoch_s < issued:
        raise Refused("the token was issued in the future")


def _time(claims: Mapping[str, Any], name: str) -> float | None:
    """A time of the claims in epoch seconds; None where there is none. What is no number is refused."""
    if name not in claims:
        return None
    value = claims[name]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Refused(f"the token's {name} is no number")
    return float(value)


def scopes_of(claims: Mapping[str, Any]) -> list[str]:
    """The scopes of a token: `scope` or `scp`, as text or a list."""
    found = claims.get("scope", claims.get("scp"))
    if isinstance(found, str):
        return found.split()
    return [one for one in found if isinstance(one, str)] if isinstance(found, list) else []


def shown_claims(claims: Mapping[str, Any]) -> dict[str, str]:
    """Claims as events carry them: all as text."""
    return {name: _shown(value) for name, value in claims.items()}


def _shown(value: Any) -> str:
    """Text as it is, numbers and booleans as JSON writes them, lists and maps as the gateway prints them: `[a b]`."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return f"[{' '.join(map(_shown, value))}]"
    if isinstance(value, dict):
        return f"map[{' '.join(f'{name}:{_shown(one)}' for name, one in sorted(value.items()))}]"
    return orjson.dumps(value).decode()
