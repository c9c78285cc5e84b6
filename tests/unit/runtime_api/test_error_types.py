"""Error categories and error documents."""

from __future__ import annotations

import pytest

from lambent.runtime_api.error_types import normalise_error_type, strip_cause


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("Runtime.ImportModuleError", "Runtime.ImportModuleError"),
        ("Function.MyError", "Function.MyError"),
        ("x Runtime.Abc y", "x Runtime.Abc y"),
        ("Function.lower", "Function.Unknown"),
        ("Function.", "Function.Unknown"),
        ("Runtime.lower", "Runtime.Unknown"),
        ("Extension.Crash", "Runtime.Unknown"),
        ("ValueError", "Runtime.Unknown"),
        ("", "Runtime.Unknown"),
    ],
)
def test_categories(sent: str, kept: str) -> None:
    assert normalise_error_type(sent) == kept


def test_the_cause_is_stripped() -> None:
    body = '{"errorMessage":"ä","errorType":"E","errorCause":{"x":1},"n":123456789012345678901234567890}'.encode()
    assert strip_cause(body) == '{"errorMessage":"ä","errorType":"E","n":123456789012345678901234567890}'.encode()
    for invalid in (b"", b"{", b"[1]", b"\xff"):
        assert strip_cause(invalid) == b'"Invalid error body"'
