"""Temporary credentials: made, recognised and read back without being stored.

Everything follows from one secret of the data directory. An access key id is `ASIA` and ten bytes in base 32: the account,
laid out as the service lays it out, a few random bits, and a code over both, so that one of ours is recognised by itself,
by anyone who forgot its session token too. The session token holds who the credentials act as and how long, under a code of
its own; the secret key is derived from the token. So credentials of a session outlive a restart, and nothing accumulates.

Two lives: credentials of a session end at their time; those of an execution environment are in force for as long as the
environment lives, and not a moment longer. The variables in which a function finds its keys are fixed when its runtime
starts, and SDKs read no end from them: keys that ended by the clock would fail in an environment that goes on living.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from base64 import b32decode, b32encode, b64encode, urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import orjson

from lambent.domain.clock import Clock
from lambent.domain.names import FunctionRef

from .model import Credential

SESSIONS_CACHED_MAX = 4_096
"""Sessions whose tokens were read and are remembered; the longest unused is read again."""
TOKEN_CHARS_MAX = 4_096
"""Longer session tokens are none of ours, and not looked at."""

_PREFIX = "ASIA"
_KEY_CHARS = 20
_KEY_BITS = 80
_TAIL_BITS = 39  # behind the leading 1 and the 40 bits of the account
_CODE_BITS = 20
_CODE_BYTES = 16
_VERSION = 1


@dataclass(frozen=True, slots=True)
class Issued:
    """Temporary credentials as their holder gets them."""

    access_key: str
    secret: str
    token: str
    expires_ms: int | None
    """End, epoch milliseconds; None: with the environment."""


class TemporaryCredentials:
    """The temporary credentials of one data directory, and which of its environments live."""

    def __init__(self, secret: bytes, clock: Clock) -> None:
        """secret: of the data directory, the same at each start."""
        self._key = hmac.digest(secret, b"temporary credentials", "sha256")
        self._clock = clock
        self._living: set[str] = set()
        self.account_of = lru_cache(SESSIONS_CACHED_MAX)(self._account_of)
        """The account of an access key id of ours, or None."""
        self._read_token = lru_cache(SESSIONS_CACHED_MAX)(self._read)

    # -- made

    def issue(self, account: str, arn: str, *, expires_ms: int) -> Issued:
        """Credentials of a session: they act as `arn` until `expires_ms` (epoch milliseconds)."""
        return self._issue(account, arn, expires_ms, None)

    def issue_to(self, environment: str, ref: FunctionRef, role: str) -> Issued:
        """Credentials of an execution environment: they act as the function's role while the environment is held."""
        return self._issue(ref.account, function_arn(ref, role), None, environment)

    def _issue(self, account: str, arn: str, expires_ms: int | None, environment: str | None) -> Issued:
        access_key = self._new_key(account)
        held = [_VERSION, access_key, account, arn, expires_ms, environment, os.urandom(12).hex()]
        payload = orjson.dumps(held)
        token = urlsafe_b64encode(self._code(b"token", payload) + payload).decode().rstrip("=")
        return Issued(access_key, self._secret(payload), token, expires_ms)

    def _new_key(self, account: str) -> str:
        random = int.from_bytes(os.urandom(3)) >> (24 - (_TAIL_BITS - _CODE_BITS))
        head = (1 << 40 | int(account)) << (_TAIL_BITS - _CODE_BITS) | random
        number = head << _CODE_BITS | self._key_code(head)
        return _PREFIX + b32encode(number.to_bytes(_KEY_BITS // 8)).decode()

    def container_token(self, version: str, generation: int) -> str:
        """What a SnapStart version's environments show to the endpoint that gives them their credentials."""
        return self._code(b"container", f"{version} {generation}".encode()).hex()

    # -- recognised

    def _account_of(self, access_key: str) -> str | None:
        if len(access_key) != _KEY_CHARS or not access_key.startswith(_PREFIX):
            return None
        try:
            number = int.from_bytes(b32decode(access_key[len(_PREFIX) :]))
        except ValueError:
            return None
        head = number >> _CODE_BITS
        if head >> (_KEY_BITS - _CODE_BITS - 1) != 1 or self._key_code(head) != number & ((1 << _CODE_BITS) - 1):
            return None
        return f"{head >> (_TAIL_BITS - _CODE_BITS) & ((1 << 40) - 1):012d}"

    def find(self, access_key: str, token: str | None) -> Credential | None:
        """What a session token of ours says, if it belongs to this access key; None otherwise."""
        if token is None or len(token) > TOKEN_CHARS_MAX:
            return None
        credential, owner = self._read_token(token)
        return credential if owner == access_key else None

    def is_in_force(self, credential: Credential) -> bool:
        """Whether credentials that were found still act."""
        if credential.environment is not None:
            return credential.environment in self._living
        return credential.expires_ms is None or self._clock.wall_ms() < credential.expires_ms

    def _read(self, token: str) -> tuple[Credential | None, str]:
        try:
            raw = urlsafe_b64decode(token + "=" * (-len(token) % 4))
        except ValueError:
            return None, ""
        code, payload = raw[:_CODE_BYTES], raw[_CODE_BYTES:]
        if not hmac.compare_digest(code, self._code(b"token", payload)):
            return None, ""
        held: list[Any] = orjson.loads(payload)
        if held[0] != _VERSION:
            return None, ""
        _, access_key, account, arn, expires_ms, environment, _ = held
        credential = Credential(self._secret(payload), account, token, expires_ms, arn, environment)
        return credential, access_key

    # -- the lives of environments

    def hold(self, environment: str) -> None:
        """From now on the credentials of this environment are in force."""
        self._living.add(environment)

    def release(self, environment: str) -> None:
        """The environment is gone, and with it its credentials; an unknown one is fine."""
        self._living.discard(environment)

    # -- codes

    def _code(self, purpose: bytes, content: bytes) -> bytes:
        return hmac.digest(self._key, purpose + b":" + content, "sha256")[:_CODE_BYTES]

    def _key_code(self, head: int) -> int:
        return int.from_bytes(self._code(b"key", head.to_bytes(8))[:4]) >> (32 - _CODE_BITS)

    def _secret(self, payload: bytes) -> str:
        return b64encode(hmac.digest(self._key, b"secret:" + payload, "sha256")).decode()[:40]


def function_arn(ref: FunctionRef, role: str) -> str:
    """Who a function acts as: its role, assumed in the function's account under the function's name."""
    name = role.rpartition("/")[2].rpartition(":role")[2] or role
    return session_arn(ref.scope.partition, ref.account, name, ref.name)


def session_arn(partition: str, account: str, role: str, session: str) -> str:
    """The ARN of an assumed role; the role's path is not part of it."""
    return f"arn:{partition}:sts::{account}:assumed-role/{role}/{session}"


def principal_id(arn: str) -> str:
    """The `AROA…` of a role that is not kept here: always the same for the same assumed-role ARN, whatever the session."""
    role = arn.rpartition("/")[0]
    return "AROA" + b32encode(hashlib.sha256(role.encode()).digest()).decode()[:17]
