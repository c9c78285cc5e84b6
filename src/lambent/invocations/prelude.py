"""The metadata with which a streamed HTTP answer begins: status, headers and cookies, ahead of the body.

Under one content type a streamed response is `JSON object, 8 NUL bytes, body`. Who answers HTTP takes it off; for
everybody else it is part of the response. JSON has no NUL, so the first one ends it. Source: AWS Lambda Developer Guide,
"Response streaming for Lambda functions"; the service's Node.js client.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from ..environments.channel import Piece

PRELUDE_CONTENT_TYPE = "application/vnd.awslambda.http-integration-response"
PRELUDE_BYTES_MAX = 1_048_576
"""What is read while the end of a prelude is looked for: what all header fields of a message may have."""

_END = bytes(8)


class MalformedPrelude(Exception):
    """No metadata, though the content type promises some; the text says what is wrong."""


def has_prelude(content_type: str) -> bool:
    """Whether a streamed response of this type begins with metadata."""
    return content_type.partition(";")[0].strip().lower() == PRELUDE_CONTENT_TYPE


class PreludeReader:
    """Fed with the pieces of a response until the metadata is whole. What its members may be is the door's to say."""

    def __init__(self) -> None:
        self._read = bytearray()

    def feed(self, pieces: Sequence[Piece]) -> tuple[dict[str, Any], bytes] | None:
        """The metadata (`statusCode`, `headers`, `cookies`, as the function gave them), and what came behind it; None: it
        is not whole yet. Raises MalformedPrelude."""
        read = self._read
        searched = len(read)
        for piece in pieces:
            read += piece
        at = read.find(0, max(0, searched - len(_END)))
        if at < 0 or (len(read) < at + len(_END) and not any(read[at:])):
            if (len(read) if at < 0 else at) > PRELUDE_BYTES_MAX:
                raise MalformedPrelude(f"its metadata exceeds {PRELUDE_BYTES_MAX} bytes")
            return None
        if at > PRELUDE_BYTES_MAX:
            raise MalformedPrelude(f"its metadata exceeds {PRELUDE_BYTES_MAX} bytes")
        if read[at : at + len(_END)] != _END:
            raise MalformedPrelude("its metadata is not followed by 8 NUL bytes")
        try:
            found = orjson.loads(read[:at])
        except orjson.JSONDecodeError as error:
            raise MalformedPrelude(f"its metadata is no JSON: {error}") from None
        if not isinstance(found, dict):
            raise MalformedPrelude("its metadata is no JSON object")
        return found, bytes(read[at + len(_END) :])

    def end(self) -> None:
        """The response is over before its metadata was whole. Raises MalformedPrelude."""
        raise MalformedPrelude("it ends before its metadata does")
