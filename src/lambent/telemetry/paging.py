"""Page tokens, event ids, limits and the validation sentence of CloudWatch Logs."""

from __future__ import annotations

import base64
import re
from typing import Any, TypeVar

import orjson

from .errors import LogsInvalidParameter
from .query import Place

_TOKEN = re.compile(r"([fb])/(\d{20})(\d{10})(\d{16})(\d{10})")
_After = TypeVar("_After", str, list[Any])


def event_id(place: Place) -> str:
    """56 digits that name one event and sort in its order."""
    return f"{max(place[0], 0):020d}{max(place[1], 0):010d}{max(place[2], 0):016d}{max(place[3], 0):010d}"


def token_of(direction: str, place: Place) -> str:
    return f"{direction}/{event_id(place)}"


def read_token(text: str) -> tuple[str, Place]:
    found = _TOKEN.fullmatch(text)
    if found is None:
        raise LogsInvalidParameter("The specified nextToken is invalid.")
    direction, at_ms, number, offset, index = found.groups()
    return direction, (int(at_ms), int(number), int(offset), int(index))


def page_token(after: object) -> str:
    return base64.urlsafe_b64encode(orjson.dumps(after)).decode("ascii")


def read_page_token(text: str | None, kind: type[_After]) -> _After | None:
    if text is None:
        return None
    try:
        after = orjson.loads(base64.urlsafe_b64decode(text))
    except ValueError:
        after = None
    if not isinstance(after, kind):
        raise LogsInvalidParameter("The specified nextToken is invalid.")
    return after


def bounded(limit: int | None, most: int) -> int:
    if limit is None:
        return most
    if limit < 1:
        raise invalid(str(limit), "limit", "Member must have value greater than or equal to 1")
    if limit > most:
        raise invalid(str(limit), "limit", f"Member must have value less than or equal to {most}")
    return limit


def invalid(value: str, member: str, constraint: str) -> LogsInvalidParameter:
    return LogsInvalidParameter(
        f"1 validation error detected: Value '{value}' at '{member}' failed to satisfy constraint: {constraint}"
    )
