"""What a runtime says about its errors, brought into the published form."""

from __future__ import annotations

import json
import re

_CATEGORY = re.compile(r"(Runtime|Function)\.[A-Z][a-zA-Z]+")

CAUSE_CONTENT_TYPE = "application/vnd.aws.lambda.error.cause+json"
INVALID_ERROR_BODY = b'"Invalid error body"'


def normalise_error_type(text: str) -> str:
    """As it is where it contains a `Runtime.X` or `Function.X`, else `Function.Unknown` or `Runtime.Unknown`."""
    if _CATEGORY.search(text):
        return text
    return "Function.Unknown" if text.startswith("Function.") else "Runtime.Unknown"


def strip_cause(body: bytes) -> bytes:
    """An error document without its `errorCause` (meant for traces); what is no JSON object is `Invalid error body`."""
    try:
        document = json.loads(body)
    except ValueError:
        return INVALID_ERROR_BODY
    if not isinstance(document, dict):
        return INVALID_ERROR_BODY
    document.pop("errorCause", None)
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
