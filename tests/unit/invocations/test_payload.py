"""Payloads are parsed before a function sees them; what is not JSON is refused in the service's words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.domain.errors import InvalidRequestContent
from lambent.invocations.payload import check_payload

SOURCE = "at [Source: REDACTED (`StreamReadFeature.INCLUDE_SOURCE_IN_LOCATION` disabled); line: 1, column: 1]"
PREFIX = "Could not parse request body into json: Could not parse payload into json: "


@pytest.mark.parametrize("body", [b"", b"{}", b"3", b'"x"', b"null", b" [1, 2] \n", '"\u00e9"'.encode()])
def test_any_json_text_and_an_empty_body_are_payloads(body: bytes) -> None:
    check_payload(body)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (
            b"\x99abc",
            "Unexpected character ((CTRL-CHAR, code 153)): expected a valid value "
            "(JSON String, Number, Array, Object or token 'null', 'true' or 'false')\n " + SOURCE,
        ),
        (
            b"nope",
            "Unrecognized token 'nope': was expecting "
            "(JSON String, Number, Array, Object or token 'null', 'true' or 'false')\n " + SOURCE,
        ),
    ],
)
def test_what_is_not_json_is_refused_word_for_word(body: bytes, reason: str) -> None:
    with pytest.raises(InvalidRequestContent) as refused:
        check_payload(body)
    assert refused.value.message == PREFIX + reason


@given(st.binary(max_size=64))
def test_no_bytes_crash_the_check(body: bytes) -> None:
    refused: InvalidRequestContent | None = None
    try:
        check_payload(body)
    except InvalidRequestContent as error:
        refused = error
    if refused is not None:
        assert refused.message is not None
        assert refused.message.startswith(PREFIX)
