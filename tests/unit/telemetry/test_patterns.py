"""Filter patterns: what they match, and what is refused aloud."""

from __future__ import annotations

import orjson
import pytest

from lambent.telemetry.errors import LogsInvalidParameter
from lambent.telemetry.patterns import compile_pattern


def matches(pattern: str, message: str) -> bool:
    matcher = compile_pattern(pattern)
    return matcher is None or matcher(message.encode())


@pytest.mark.parametrize(
    ("pattern", "message", "expected"),
    [
        ("", "anything", True),
        ("  ", "anything", True),
        ("ERROR", "an ERROR here", True),
        ("ERROR", "an error here", False),
        ("ERROR timeout", "timeout after ERROR", True),
        ("ERROR timeout", "ERROR", False),
        ('"Task timed out"', "Task timed out after", True),
        ('"Task timed out"', "Task was timed out", False),
        (r'"say \"hi\""', 'say "hi"', True),
        ("?ERROR ?WARN", "WARN", True),
        ("?ERROR ?WARN", "INFO", False),
        ("ERROR -ignored", "ERROR ignored", False),
        ("ERROR -ignored", "ERROR", True),
        ('-"not this"', "but that", True),
        ("-x", "x", False),
        ("žluť", "žluťoučký", True),
    ],
)
def test_text(pattern: str, message: str, expected: bool) -> None:
    assert matches(pattern, message) is expected


DOCUMENT = {"level": "ERROR", "ms": 12.5, "n": 3, "ok": True, "no": False, "nil": None, "a": {"b-c": [1, {"d": "x y"}]}}


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ('{ $.level = "ERROR" }', True),
        ('{$.level="ERROR"}', True),
        ("{ $.level = ERROR }", True),
        ('{ $.level = "ERR*" }', True),
        ("{ $.level = *ROR }", True),
        ('{ $.level = "error" }', False),
        ('{ $.level != "INFO" }', True),
        ('{ $.missing != "INFO" }', False),
        ("{ $.n = 3 }", True),
        ("{ $.ms > 12 }", True),
        ("{ $.ms >= 12.5 }", True),
        ("{ $.ms < 12.5 }", False),
        ("{ $.ms <= 1.25e1 }", True),
        ("{ $.level > 3 }", False),
        ("{ $.ok > 0 }", False),
        ("{ $.ok IS TRUE }", True),
        ("{ $.no IS FALSE }", True),
        ("{ $.nil IS NULL }", True),
        ("{ $.level IS NULL }", False),
        ("{ $.missing NOT EXISTS }", True),
        ("{ $.nil NOT EXISTS }", False),
        ("{ $.a.b-c[0] = 1 }", True),
        ('{ $.a["b-c"][1].d = "x y" }', True),
        ("{ $.a.b-c[7] = 1 }", False),
        ('{ $.n = 3 && $.level = "INFO" }', False),
        ('{ $.n = 3 || $.level = "INFO" }', True),
        ("{ $.n = 4 || $.n = 3 && $.ms > 1 }", True),
        ("{ ($.n = 4 || $.n = 3) && $.ms > 100 }", False),
    ],
)
def test_json(pattern: str, expected: bool) -> None:
    assert matches(pattern, orjson.dumps(DOCUMENT).decode() + "\n") is expected


@pytest.mark.parametrize("message", ["plain ERROR", "{broken", "[1]", '"x"'])
def test_a_json_pattern_matches_json_objects_only(message: str) -> None:
    assert not matches("{ $.level NOT EXISTS }", message)


@pytest.mark.parametrize(
    ("pattern", "word"),
    [
        ("[ip, user]", "space-delimited"),
        ("%ERR.*%", "regular expressions"),
        ("{ $.x = %ERR% }", "regular expressions"),
        ("{ $.x = 1", "ends in }"),
        ("{ }", "property"),
        ("{ level = 1 }", "property"),
        ("{ $.x }", "not compared"),
        ("{ $.x = }", "not compared"),
        ('{ $.x > "a" }', "compares numbers"),
        ("{ $.x IS MAYBE }", "unexpected"),
        ("{ ($.x = 1 }", "parenthesis"),
        ("{ $.x = 1 ) }", "unexpected"),
        ("{ $.x = 1 @ }", "unexpected"),
        ("{" + "(" * 40 + "$.x = 1" + ")" * 40 + "}", "nested"),
        ('"open', "quotation"),
        ("x" * 1_025, "longer"),
    ],
)
def test_what_is_not_served_is_refused_with_a_reason(pattern: str, word: str) -> None:
    with pytest.raises(LogsInvalidParameter, match=word) as caught:
        compile_pattern(pattern)
    assert caught.value.code == "InvalidParameterException"
