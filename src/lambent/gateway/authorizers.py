"""Lambda authorizers: what they are asked, how their answers are read, and how long these hold.

Pure decisions; `execution.py` invokes. Source: API Gateway developer guide, "Control access to HTTP APIs with AWS Lambda
authorizers".
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from lambent.domain.statements import Asker, Question, Verdict, judge

CACHED_RESULTS_MAX = 10_000
"""Answers of authorizers kept at once; beyond it the oldest go."""
CACHED_RESULT_BYTES_MAX = 8_192
"""Larger answers are not kept: their authorizer is asked each time."""
ACTION = "execute-api:Invoke"
_POLICY_MEMBERS = ("Effect", "Action", "Resource")


class Misbehaved(Exception):
    """The authorizer failed, or what it answered decides nothing; the text says why, for logs."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What an authorizer said: a simple yes or no, or a policy that is asked for each request."""

    context: Mapping[str, Any]
    is_authorized: bool | None = None
    """None: the policy decides."""
    statements: tuple[Mapping[str, Any], ...] = ()
    principal: str | None = None
    size: int = 0
    """Bytes of the answer."""

    def allows(self, arn: str) -> bool:
        """Whether a request to this ARN may pass."""
        if self.is_authorized is not None:
            return self.is_authorized
        asked = [{**one, "Principal": "*"} for one in self.statements]
        return judge(asked, Question(Asker(), ACTION, arn)) is Verdict.ALLOWED


def read_simple(answer: bytes) -> Decision:
    """`{"isAuthorized": true, "context": {…}}`. Raises Misbehaved."""
    value = _object(answer)
    is_authorized = value.get("isAuthorized")
    if not isinstance(is_authorized, bool):
        raise Misbehaved("isAuthorized is neither true nor false")
    return Decision(_context(value), is_authorized, size=len(answer))


def read_policy(answer: bytes) -> Decision:
    """`{"principalId": …, "policyDocument": …, "context": {…}}`. Raises Misbehaved."""
    value = _object(answer)
    principal, document = value.get("principalId"), value.get("policyDocument")
    if not isinstance(principal, str) or not isinstance(document, dict):
        raise Misbehaved("principalId and policyDocument are wanted")
    listed = document.get("Statement")
    statements: list[Any] = listed if isinstance(listed, list) else [listed]
    for one in statements:
        if not isinstance(one, dict) or any(name not in one for name in _POLICY_MEMBERS):
            raise Misbehaved("a statement of the policy has no Effect, Action and Resource")
        if one["Effect"] not in ("Allow", "Deny") or not all(_is_texts(one[name]) for name in _POLICY_MEMBERS[1:]):
            raise Misbehaved("a statement of the policy can't be read")
        condition = one.get("Condition", {})
        if not isinstance(condition, dict) or not all(isinstance(asked, dict) for asked in condition.values()):
            raise Misbehaved("a condition of the policy can't be read")
    return Decision(_context(value), None, tuple(statements), principal, len(answer))


def refusal_of(answer: bytes) -> str | None:
    """The message of an error that an authorizer raised."""
    try:
        value = orjson.loads(answer)
    except orjson.JSONDecodeError:
        return None
    message = value.get("errorMessage") if isinstance(value, dict) else None
    return message if isinstance(message, str) else None


def _object(answer: bytes) -> dict[str, Any]:
    try:
        value = orjson.loads(answer)
    except orjson.JSONDecodeError:
        raise Misbehaved("the answer is not JSON") from None
    if not isinstance(value, dict):
        raise Misbehaved("the answer is not an object")
    return value


def _context(value: Mapping[str, Any]) -> Mapping[str, Any]:
    context = value.get("context")
    if context is None:
        return {}
    if not isinstance(context, dict):
        raise Misbehaved("context is not an object")
    return context


def _is_texts(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, list) and all(isinstance(one, str) for one in value))


def identities(sources: Sequence[str], look: Callable[[str], str | None]) -> list[str] | None:
    """The values of identity sources; None when one of them is not there. look: of `request.header.x` and its like."""
    values = [look(source[1:]) for source in sources]
    return None if any(not one for one in values) else [str(one) for one in values]


def cache_key(api_id: str, stage: str, authorizer_id: str, given: Sequence[str]) -> tuple[str, str, str, bytes]:
    """What an answer is kept by. given: the identities, which clients choose, and make as long as a head may be."""
    digest = hashlib.sha256()
    for one in given:
        raw = one.encode("utf-8", "surrogatepass")
        digest.update(b"%d:%b" % (len(raw), raw))
    return api_id, stage, authorizer_id, digest.digest()


class Results:
    """Answers of authorizers, by what they were asked with."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._kept: dict[tuple[str, str, str, bytes], tuple[float, Decision]] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def find(self, key: tuple[str, str, str, bytes]) -> Decision | None:
        """key: as `cache_key` makes it."""
        kept = self._kept.get(key)
        if kept is None:
            return None
        if kept[0] <= self._now_s():
            del self._kept[key]
            return None
        return kept[1]

    def keep(self, key: tuple[str, str, str, bytes], decision: Decision, ttl_s: int) -> None:
        while len(self._kept) >= CACHED_RESULTS_MAX:
            del self._kept[next(iter(self._kept))]
        self._kept[key] = (self._now_s() + ttl_s, decision)

    def forget(self, api_id: str, stage: str | None = None) -> None:
        """What was said of an API, or of one of its stages."""
        self._kept = {
            key: kept for key, kept in self._kept.items() if key[0] != api_id or (stage is not None and key[1] != stage)
        }
