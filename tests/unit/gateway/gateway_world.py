"""What the gateway's unit tests share: keys and tokens of an issuer."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from functools import lru_cache
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

ISSUER = "https://issuer.example/pool"
NOW_S = 1_800_000_000.0


@lru_cache(maxsize=4)
def key(number: int = 0) -> rsa.RSAPrivateKey:
    """Private keys are made once: each takes a tenth of a second."""
    return rsa.generate_private_key(public_exponent=65_537, key_size=2_048)


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def jwk(number: int = 0, **more: Any) -> dict[str, Any]:
    """The public half as a JSON Web Key."""
    numbers = key(number).public_key().public_numbers()
    n = b64(numbers.n.to_bytes(256))
    return {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": f"k{number}", "n": n, "e": "AQAB", **more}


def claims(**more: Any) -> dict[str, Any]:
    """Claims that are right; None takes one away."""
    given = {"iss": ISSUER, "aud": "app", "sub": "u", "exp": NOW_S + 60, "nbf": NOW_S - 60, "iat": NOW_S - 60} | more
    return {name: value for name, value in given.items() if value is not None}


_HASHES = {"RS256": hashes.SHA256(), "RS384": hashes.SHA384(), "RS512": hashes.SHA512()}


def token(given: Any = None, *, number: int = 0, head: dict[str, Any] | None = None, algorithm: str = "RS256") -> str:
    """A signed token, made by hand: libraries refuse to make the broken ones."""
    header = {"alg": algorithm, "kid": f"k{number}", "typ": "JWT"} | (head or {})
    header = {name: value for name, value in header.items() if value is not None}
    signed = f"{b64(json.dumps(header).encode())}.{b64(json.dumps(claims() if given is None else given).encode())}"
    if algorithm == "none":
        return signed + "."
    if algorithm == "HS256":  # with the public key as the secret: the classic confusion
        secret = json.dumps(jwk(number)).encode()
        return f"{signed}.{b64(hmac.digest(secret, signed.encode(), hashlib.sha256))}"
    signature = key(number).sign(signed.encode(), padding.PKCS1v15(), _HASHES[algorithm])
    return f"{signed}.{b64(signature)}"
