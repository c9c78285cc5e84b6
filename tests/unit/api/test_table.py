"""The operation table: generated from the published model, complete, and fast to load."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import time
from pathlib import Path
from types import ModuleType

import botocore
import pytest

from lambent.api.patterns import compile_java, translate
from lambent.api.rest import HTTP_APIS_FILE
from lambent.api.table import OPERATIONS_FILE, load_table, read_table

SCRIPT = Path(__file__).parents[3] / "scripts" / "generate-operations"

LOAD_MS_MAX = 20.0
"""A few milliseconds are the promise; the rest is for a busy machine."""


def generator() -> ModuleType:
    loader = importlib.machinery.SourceFileLoader("generate_operations", str(SCRIPT))
    spec = importlib.util.spec_from_loader("generate_operations", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


@pytest.mark.skipif(
    load_table().botocore != botocore.__version__,
    reason=f"the table is of botocore {load_table().botocore}, installed is {botocore.__version__}",
)
def test_the_checked_in_table_is_what_the_installed_model_gives() -> None:
    assert generator().generate() == OPERATIONS_FILE.read_text(encoding="utf-8")


@pytest.mark.skipif(
    load_table().botocore != botocore.__version__,
    reason=f"the tables are of botocore {load_table().botocore}, installed is {botocore.__version__}",
)
@pytest.mark.parametrize("service", ["iam", "sts"])
def test_the_tables_of_the_query_protocol_are_what_the_installed_models_give(service: str) -> None:
    checked_in = OPERATIONS_FILE.with_name(f"{service}.json").read_text(encoding="utf-8")
    assert generator().generate_query(service) == checked_in


@pytest.mark.skipif(
    load_table().botocore != botocore.__version__,
    reason=f"the table is of botocore {load_table().botocore}, installed is {botocore.__version__}",
)
def test_the_table_of_http_apis_is_what_the_installed_model_gives() -> None:
    assert generator().generate_http_apis() == HTTP_APIS_FILE.read_text(encoding="utf-8")


def test_the_table_of_http_apis_has_the_names_of_the_wire_and_the_lengths_of_the_names() -> None:
    table = read_table(HTTP_APIS_FILE)
    asked = table.operations["CreateRoute"].input
    assert asked is not None
    assert (asked.members["RouteKey"].wire_name, asked.members["RouteKey"].location) == ("routeKey", None)
    assert (asked.members["ApiId"].wire_name, asked.members["ApiId"].location) == ("apiId", "uri")
    assert table.operations["CreateApi"].status == 201
    assert table.operations["DeleteApi"].status == 204
    assert (table.shape("StringWithLengthBetween1And128").min, table.shape("StringWithLengthBetween1And128").max) == (
        1,
        128,
    )
    assert table.shape("StringWithLengthBetween0And32K").max == 32_768
    assert table.shape("StageVariablesMap").value.min == 0, "an empty value takes its entry away"


def test_every_operation_is_there_with_its_success_status() -> None:
    operations = load_table().operations
    assert len(operations) == 91
    assert {name for name, op in operations.items() if op.status == 201} == {
        *("CreateFunction", "CreateAlias", "PublishVersion", "AddPermission", "PublishLayerVersion"),
        *("AddLayerVersionPermission", "CreateCodeSigningConfig", "CreateFunctionUrlConfig"),
    }
    assert operations["DeleteFunction"].status == 204
    assert operations["GetLayerVersionByArn"].query == {"find": "LayerVersion"}


def test_loading_takes_a_few_milliseconds() -> None:
    best_ms = min(_load_ms() for _ in range(5))
    assert best_ms < LOAD_MS_MAX


def _load_ms() -> float:
    start = time.perf_counter()
    read_table(OPERATIONS_FILE)
    return (time.perf_counter() - start) * 1_000


def test_every_shape_can_be_built_and_every_pattern_compiled_without_a_warning() -> None:
    table = load_table()
    for name in table.shape_names():
        shape = table.shape(name)
        assert shape.kind
        shape.matches("x")
        for member in shape.members.values():
            assert member.shape.kind


@pytest.mark.parametrize(
    ("shape", "good", "bad"),
    [
        ("TagKey", ["team", "Über straße 東京 ٣", "a\u3000b", "_.:/=+-@", ""], ["a\tb", "a;b", "🙂"]),
        ("RoleArn", ["arn:aws:iam::123456789012:role/r"], ["r1", "arn:aws:iam::١٢٣٤٥٦٧٨٩٠١٢:role/r"]),
        (
            "FunctionName",
            ["f", "f:$LATEST", "arn:aws:lambda:us-east-1:123456789012:function:f:1"],
            ["f.g", "f\n", "f:"],
        ),
        ("DestinationArn", ["", "arn:aws:sqs:us-east-1:123456789012:q"], ["q", "arn:aws:sqs:::a\n", "\n"]),
        ("S3Bucket", ["bucket", "my.bucket"], ["bucket."]),
        ("S3Key", ["a b"], ["a\u2028b", "a\rb"]),
        ("Pattern", ["a\nb", ""], []),
        ("Handler", ["app.handler"], ["app handler", ""]),
        ("FunctionUrlQualifier", ["live"], ["1", "$LATEST"]),
    ],
)
def test_patterns_match_the_whole_value_as_java_reads_them(shape: str, good: list[str], bad: list[str]) -> None:
    read = load_table().shape(shape)
    assert [text for text in good if not read.matches(text)] == []
    assert [text for text in bad if read.matches(text)] == []


def test_a_lone_category_and_a_bracket_in_a_class_are_understood() -> None:
    assert compile_java("\\p{L}+").fullmatch("straße")
    assert not compile_java("\\p{L}+").fullmatch("a1")
    assert compile_java("\\P{N}").fullmatch("a")
    assert compile_java("[[a]+").fullmatch("[a[")
    assert compile_java("[]a]+").fullmatch("]a")
    assert compile_java("\\d\\D\\s\\S\\w\\W").fullmatch("1a b_!")


def test_syntax_that_no_published_pattern_uses_is_refused() -> None:
    with pytest.raises(ValueError, match="intersection"):
        translate("[a&&b]")
    with pytest.raises(ValueError, match="negated"):
        translate("[a\\D]")
