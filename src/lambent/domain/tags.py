"""Tags: what a resource may carry, and how they are merged and taken away.

Source: API documentation of TagResource and UntagResource, "Tag restrictions".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from .errors import InvalidParameterValue
from .limits import TAGS_PER_RESOURCE_MAX


def check_tags(tags: Mapping[str, str]) -> None:
    """Tags as a resource would carry them: at most 50, none with the reserved prefix."""
    if len(tags) > TAGS_PER_RESOURCE_MAX:
        raise InvalidParameterValue(f"A resource carries at most {TAGS_PER_RESOURCE_MAX} tags; {len(tags)} were given.")
    for key in tags:
        if key.lower().startswith("aws:"):
            raise InvalidParameterValue(f"Tag keys that start with aws: are reserved: {key}")


def tagged(stored: Mapping[str, str], tags: Mapping[str, str]) -> Mapping[str, str]:
    """`stored` with `tags` merged in; equal keys get the new value. Refused as a whole when the result may not be."""
    merged = {**stored, **tags}
    check_tags(merged)
    return merged


def untagged(stored: Mapping[str, str], keys: Iterable[str]) -> Mapping[str, str]:
    """`stored` without `keys`; those it does not have are no error."""
    gone = frozenset(keys)
    return {key: value for key, value in stored.items() if key not in gone}
