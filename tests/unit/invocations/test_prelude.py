"""The metadata of streamed HTTP answers: how it is found, however it is split, and what is no metadata."""

from __future__ import annotations

import pytest

from lambent.invocations.prelude import (
    PRELUDE_BYTES_MAX,
    MalformedPrelude,
    PreludeReader,
    has_prelude,
)

WHOLE = b'{"statusCode":201,"headers":{"A-b":"c"},"cookies":["d=e"]}' + bytes(8) + b"\0body"
TOLD = {"statusCode": 201, "headers": {"A-b": "c"}, "cookies": ["d=e"]}


@pytest.mark.parametrize("at", range(1, len(WHOLE)))
def test_it_is_found_however_it_is_split(at: int) -> None:
    reader = PreludeReader()
    first = reader.feed((WHOLE[:at],))
    end = WHOLE.index(0) + 8
    if at < end:
        assert first is None
        assert reader.feed((memoryview(WHOLE)[at:],)) == (TOLD, b"\0body")
    else:
        assert first == (TOLD, WHOLE[end:at])


def test_byte_by_byte() -> None:
    reader = PreludeReader()
    end = WHOLE.index(0) + 8
    found = [reader.feed((WHOLE[n : n + 1],)) for n in range(end)]
    assert found == [None] * (end - 1) + [(TOLD, b"")]


@pytest.mark.parametrize("text", [b"", b"{", b"nothing", b"\xff{}", b"[]", b'"{}"', b"null"])
def test_what_is_no_object(text: bytes) -> None:
    with pytest.raises(MalformedPrelude):
        PreludeReader().feed((text + bytes(8),))


def test_too_few_nul_bytes() -> None:
    reader = PreludeReader()
    assert reader.feed((b"{}" + bytes(7),)) is None
    with pytest.raises(MalformedPrelude, match="8 NUL"):
        reader.feed((b"x",))


def test_an_end_before_it_is_whole() -> None:
    reader = PreludeReader()
    assert reader.feed((b'{"statusCode":200}',)) is None
    with pytest.raises(MalformedPrelude, match="ends before"):
        reader.end()


def test_one_that_is_too_large() -> None:
    fits = b'{"headers":{"a":"' + b"x" * (PRELUDE_BYTES_MAX - 20) + b'"}}'
    assert len(fits) == PRELUDE_BYTES_MAX
    assert PreludeReader().feed((fits, bytes(8))) is not None
    with pytest.raises(MalformedPrelude, match="exceeds"):
        PreludeReader().feed((fits + b" " + bytes(8),))
    reader = PreludeReader()
    assert reader.feed((fits,)) is None
    with pytest.raises(MalformedPrelude, match="exceeds"):
        reader.feed((b" ",))


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        ("application/vnd.awslambda.http-integration-response", True),
        ("Application/VND.awslambda.http-integration-response; charset=utf-8", True),
        ("application/json", False),
        ("", False),
    ],
)
def test_which_responses_begin_with_it(content_type: str, expected: bool) -> None:
    assert has_prelude(content_type) is expected
