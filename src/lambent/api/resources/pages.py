"""Pages of lists: markers that carry the last key seen, so that no page loses or repeats what stays."""

from __future__ import annotations

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any

import orjson

from lambent.domain.errors import InvalidParameterValue
from lambent.domain.limits import PAGE_ITEMS_MAX

MARKER_CHARS_MAX = 2_048


def page_size(values: dict[str, Any], most: int = PAGE_ITEMS_MAX) -> int:
    """Items of one page: MaxItems, `most` at most and when not given."""
    wanted: int = values.get("MaxItems", most)
    return min(wanted, most)


def write_marker(kind: str, key: list[Any]) -> str:
    """An opaque marker of the list `kind` behind `key`."""
    return urlsafe_b64encode(orjson.dumps([kind, *key])).decode()


def read_marker(kind: str, marker: str | None, *types: type) -> list[Any] | None:
    """The key in a marker of the list `kind`, its parts of `types`; None when there is no marker.

    Raises InvalidParameterValue for a marker that this list did not give out.
    """
    if not marker:
        return None
    try:
        if len(marker) > MARKER_CHARS_MAX:
            raise ValueError("too long")
        document = orjson.loads(urlsafe_b64decode(marker.encode("ascii")))
        if not isinstance(document, list) or document[:1] != [kind] or len(document) != 1 + len(types):
            raise ValueError("another list's")
        if not all(type(part) is wanted for part, wanted in zip(document[1:], types, strict=True)):
            raise ValueError("parts of other types")
    except (ValueError, binascii.Error) as error:
        raise InvalidParameterValue("The marker is not one that this list has answered.") from error
    return document[1:]
