"""The Python client's JSON: what it reads, what it writes, what it says when it can't."""

from __future__ import annotations

import decimal
import importlib.util
import json
import sys
from collections import namedtuple
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

FILE = Path(__file__).resolve().parents[3] / "src/lambent/bootstraps/python/_lambent_runtime/values.py"


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("python_client_values", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


values = load()
Point = namedtuple("Point", "x y")

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
plain = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4), max_leaves=20
)


@given(plain)
def test_both_encoders_write_the_same_for_plain_values(value: Any) -> None:
    assert values.encode(value) == values.encode_any(value)


@given(plain)
def test_what_is_written_reads_back(value: Any) -> None:
    assert repr(values.decode(values.encode(value))) == repr(value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        ("é\u2028", '"\\u00e9\\u2028"' if sys.version_info < (3, 12) else '"é\u2028"'),
        ({1: 1, 2.5: 2, None: 3, False: 4}, '{"1": 1, "2.5": 2, "null": 3, "false": 4}'),
        ([decimal.Decimal("1.10"), decimal.Decimal("NaN"), decimal.Decimal("Infinity")], "[1.10, NaN, Infinity]"),
        ({"p": Point(1, (2, 3))}, '{"p": {"x": 1, "y": [2, 3]}}'),
        ([b"raw", {b"k": 1}], '["raw", {"k": 1}]'),
        (float("-inf"), "-Infinity"),
        ({}, "{}"),
        ([[], {}, ()], "[[], {}, []]"),
    ],
)
def test_results_are_written_as_the_published_client_writes_them(value: Any, text: str) -> None:
    assert values.encode(value) == text


@pytest.mark.parametrize(
    ("value", "kind", "words"),
    [
        ({"a": object()}, TypeError, "Object of type object is not JSON serializable"),
        ({1, 2}, TypeError, "Object of type set is not JSON serializable"),
        ({(1, 2): 3}, TypeError, "keys must be str, int, float, bool or None, not tuple"),
        ([b"\xff"], UnicodeDecodeError, "invalid start byte"),
    ],
)
def test_what_cannot_be_written_is_refused_in_the_published_words(
    value: Any, kind: type[Exception], words: str
) -> None:
    with pytest.raises(kind, match=words):
        values.encode(value)


@pytest.mark.parametrize("inner", [[], [1, ()]])
def test_circles_are_refused_whatever_else_is_in_them(inner: list[Any]) -> None:
    inner.append([inner, inner])
    with pytest.raises(ValueError, match="Circular reference detected"):
        values.encode(inner)


def test_a_value_that_occurs_twice_is_no_circle() -> None:
    shared = {"a": [1]}
    assert json.loads(values.encode([shared, shared, {"b": shared}])) == [shared, shared, {"b": shared}]


@pytest.mark.parametrize(
    ("text", "value"), [(" 1 ", 1), ("\ufeff[]", []), ('{"a":1,"a":2}', {"a": 2}), ('"\\ud83d\\ude00"', "\U0001f600")]
)
def test_events_are_read(text: str, value: Any) -> None:
    assert values.decode(text) == value


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "Expecting value: line 1 column 1 (char 0)"),
        ("[1,", "Expecting value: line 1 column 4 (char 3)"),
        ("1 2", "Extra data: line 1 column 3 - line 1 column 4 (char 2 - 3)"),
    ],
)
def test_what_is_not_json_is_refused_with_its_place(text: str, words: str) -> None:
    with pytest.raises(values.Unreadable) as caught:
        values.decode(text)
    assert str(caught.value) == words
