"""Access logs: one line a request, in the words of a stage's format.

A format is text with `$context.…` variables, usually JSON. What a request has no value for is a hyphen. Values are written
so that they can't end the text they stand in: quotes and control characters are escaped.
Source: API Gateway developer guide, "Customize HTTP API access logs".
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import orjson

_VARIABLE = re.compile(r"\$context\.([A-Za-z0-9_.-]*[A-Za-z0-9_-])")
_GROUP = re.compile(r"arn:aws[a-z-]*:logs:([a-z0-9-]+):(\d{12}):log-group:([^:*]{1,512})(?::\*)?")
_PLAIN = re.compile(r'[^"\\\x00-\x1f\x7f]*')
VALUE_CHARS_MAX = 1_024
"""Of one value; the rest is cut off."""

Values = Mapping[str, object]


def group_of(arn: str, account: str, region: str) -> str | None:
    """The log group's name, where the ARN names one of this account and region."""
    found = _GROUP.fullmatch(arn)
    return found[3] if found is not None and found[1] == region and found[2] == account else None


def line(format: str, values: Values) -> bytes:
    """One line, line break included."""
    text = _VARIABLE.sub(lambda found: _written(values.get(found[1])), format)
    return text.replace("\n", " ").encode("utf-8", "replace") + b"\n"


def _written(value: object) -> str:
    if value is None or value == "":
        return "-"
    text = str(value)[:VALUE_CHARS_MAX]
    if _PLAIN.fullmatch(text):
        return text
    return orjson.dumps(text.encode("utf-8", "replace").decode()).decode()[1:-1].replace("\x7f", "\\u007f")
