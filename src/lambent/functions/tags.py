"""How tagging changes a function: its tags, and the RevisionId of $LATEST."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from .model import Function
from .moves import Stamp


def retagged(function: Function, tags: Mapping[str, str], stamp: Stamp) -> Function:
    """The function with these tags instead of its own. $LATEST gets a new RevisionId even when they are the same."""
    return replace(function, tags=tags, latest=replace(function.latest, revision_id=stamp.new_revision()))
