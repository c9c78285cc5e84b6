"""From request to input: types as the model says, and nothing a caller sends is ever a crash."""

from __future__ import annotations

import base64
import json
import time
from contextlib import suppress
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lambent.api.lifting import LIFTED_CHARS_MIN, SLICE_CHARS, load_lifted
from lambent.api.parse import QUERY_PARAMETERS_MAX, Unreadable, decode_base64, parse_input
from lambent.api.routing import Router, UnknownOperation
from lambent.api.table import Operation, load_table
from lambent.api.validation import validate
from lambent.domain.errors import LambentError

OPERATIONS = load_table().operations
ROUTER = Router(OPERATIONS.values())


def read(
    name: str,
    body: Any = None,
    *,
    labels: tuple[bytes, ...] = (b"f",),
    query: bytes = b"",
    headers: tuple[tuple[bytes, bytes], ...] = (),
) -> dict[str, Any]:
    raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    return parse_input(OPERATIONS[name], labels, query, headers, raw)


def refusal(name: str, body: Any, **rest: Any) -> str:
    with pytest.raises(Unreadable) as refused:
        read(name, body, **rest)
    return refused.value.message or ""


def test_members_come_from_path_query_headers_and_body() -> None:
    assert read("UpdateAlias", {"Description": "d"}, labels=(b"f", b"live")) == {
        "FunctionName": "f",
        "Name": "live",
        "Description": "d",
    }
    assert read("GetFunction", labels=(b"arn%3Aaws%3Alambda",), query=b"Qualifier=a+b%24LATEST&x=1") == {
        "FunctionName": "arn:aws:lambda",
        "Qualifier": "a b$LATEST",
    }
    assert read("ListFunctions", labels=(), query=b"MaxItems=5&Marker=") == {"MaxItems": 5, "Marker": ""}
    assert read("UntagResource", labels=(b"r",), query=b"tagKeys=a&tagKeys=b%26c&TagKeys=d") == {
        "Resource": "r",
        "TagKeys": ["a", "b&c"],
    }
    headers = ((b"x-amz-invocation-type", b"Event"), (b"x-amz-tenant-id", "ü".encode()), (b"x-amz-log-type", b"\xff"))
    assert read("Invoke", b"not json", headers=headers) == {
        "FunctionName": "f",
        "InvocationType": "Event",
        "TenantId": "ü",
        "LogType": "ÿ",
    }
    assert read("DeleteLayerVersion", labels=(b"l", b"-3"))["VersionNumber"] == -3


def test_types_follow_the_model() -> None:
    body = {
        "FunctionName": "f",
        "Code": {"ZipFile": base64.b64encode(b"zip\x00").decode(), "S3Bucket": None},
        "Timeout": 3.9,
        "Publish": True,
        "Environment": {"Variables": {"A": "1", "B": None}},
        "Layers": ["a", None],
        "SnapStart": None,
        "Unknown": {"deep": [1]},
        "functionname": "not this",
    }
    assert read("CreateFunction", body, labels=()) == {
        "FunctionName": "f",
        "Code": {"ZipFile": b"zip\x00"},
        "Timeout": 3,
        "Publish": True,
        "Environment": {"Variables": {"A": "1", "B": None}},
        "Layers": ["a", None],
    }
    weights = {"RoutingConfig": {"AdditionalVersionWeights": {"1": 1}}}
    assert read("CreateAlias", weights)["RoutingConfig"]["AdditionalVersionWeights"] == {"1": 1.0}


def test_payload_members_are_the_whole_body() -> None:
    assert read("SendDurableExecutionCallbackSuccess", b"\xff raw")["Result"] == b"\xff raw"
    assert "Result" not in read("SendDurableExecutionCallbackSuccess", b"")
    failed = read("SendDurableExecutionCallbackFailure", {"ErrorMessage": "m", "StackTrace": ["a"]})
    assert failed["Error"] == {"ErrorMessage": "m", "StackTrace": ["a"]}
    assert "Error" not in read("StopDurableExecution", b"null")


@pytest.mark.parametrize("written", [b"", b"null", b"{}"])
def test_no_body_is_no_member(written: bytes) -> None:
    assert read("PublishVersion", written) == {"FunctionName": "f"}
    assert read("GetFunction", b"garbage that a GET may carry") == {"FunctionName": "f"}


@pytest.mark.parametrize("written", ["2026-01-02T03:04:05Z", "2026-01-02T03:04:05", "1767323045", "1.767323045e9"])
def test_a_time_is_read_in_every_form_clients_send(written: str) -> None:
    values = read("ListDurableExecutionsByFunction", query=b"StartedAfter=" + written.encode())
    assert values["StartedAfter"] == 1767323045
    body = {"FunctionName": "f", "StartingPositionTimestamp": 1767323045.5}
    assert read("CreateEventSourceMapping", body, labels=())["StartingPositionTimestamp"] == 1767323045.5
    http_date = read(
        "CreateEventSourceMapping", body | {"StartingPositionTimestamp": "Fri, 02 Jan 2026 03:04:05 GMT"}, labels=()
    )
    assert http_date["StartingPositionTimestamp"] == 1767323045


@pytest.mark.parametrize(
    ("name", "body", "message"),
    [
        ("CreateFunction", {"Timeout": "3"}, "STRING_VALUE can not be converted to an Integer"),
        ("CreateFunction", {"Timeout": True}, "TRUE_VALUE can not be converted to an Integer"),
        ("CreateFunction", {"Timeout": 2**31}, "NUMBER_VALUE can not be converted to an Integer"),
        ("CreateFunction", {"Timeout": 10**30}, "NUMBER_VALUE can not be converted to an Integer"),
        ("CreateFunction", {"Handler": 5}, "NUMBER_VALUE can not be converted to a String"),
        ("CreateFunction", {"Handler": {}}, "Start of structure or map found where not expected."),
        ("CreateFunction", {"Handler": []}, "Start of list found where not expected"),
        ("CreateFunction", {"Publish": "yes"}, "STRING_VALUE can not be converted to a Boolean"),
        ("CreateFunction", {"Publish": 0}, "NUMBER_VALUE can not be converted to a Boolean"),
        ("CreateFunction", {"TracingConfig": 5}, "Unexpected field type"),
        ("CreateFunction", {"TracingConfig": []}, "Start of list found where not expected"),
        ("CreateFunction", {"Layers": {}}, "Start of structure or map found where not expected."),
        ("CreateFunction", {"Layers": "l"}, "Unexpected field type"),
        ("CreateFunction", {"Tags": []}, "Start of list found where not expected"),
        ("CreateFunction", {"Tags": {"a": 1}}, "NUMBER_VALUE can not be converted to a String"),
        ("CreateFunction", {"Code": {"ZipFile": "a"}}, "The blob is not valid base64."),
        ("CreateFunction", {"Code": {"ZipFile": 1}}, "NUMBER_VALUE can not be converted to a Blob"),
        ("CreateFunction", [], "Start of list found where not expected"),
        ("CreateFunction", "text", "Unexpected field type"),
        (
            "CreateEventSourceMapping",
            {"StartingPositionTimestamp": "soon"},
            "STRING_VALUE can not be converted to a Timestamp",
        ),
        (
            "CreateEventSourceMapping",
            {"StartingPositionTimestamp": False},
            "FALSE_VALUE can not be converted to a Timestamp",
        ),
        (
            "CreateAlias",
            {"RoutingConfig": {"AdditionalVersionWeights": {"1": "x"}}},
            "STRING_VALUE can not be converted to a Double",
        ),
    ],
)
def test_a_value_of_the_wrong_type_is_refused_in_the_front_end_s_words(name: str, body: Any, message: str) -> None:
    labels = (b"f",) if name == "CreateAlias" else ()
    assert refusal(name, body, labels=labels) == message


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"{'a': 1}",
        b"\xff\xfe",
        b'{"a": "\xc3"}',
        b'{"Handler": "\\ud800"}',
        b"[" * 100_000,
        b'{"a":' * 5_000,
        b"NaN",
    ],
)
def test_what_is_no_json_is_refused(body: bytes) -> None:
    assert refusal("CreateFunction", body, labels=()).startswith("Could not parse request body into json: ")


@pytest.mark.parametrize("number", [b"1e400", b"-1e400", b"1" + b"0" * 400])
def test_numbers_beyond_every_type_are_refused(number: bytes) -> None:
    for name, body in [
        ("CreateFunction", b'{"Timeout":%s}'),
        ("CreateEventSourceMapping", b'{"StartingPositionTimestamp":%s}'),
        ("CreateAlias", b'{"RoutingConfig":{"AdditionalVersionWeights":{"1":%s}}}'),
    ]:
        assert refusal(name, body % number, labels=(b"f",) if name == "CreateAlias" else ())


def test_of_two_equal_names_the_last_counts() -> None:
    assert read("PublishVersion", b'{"Description": "a", "Description": "b"}')["Description"] == "b"


@pytest.mark.parametrize(
    "query", [b"MaxItems=x", b"MaxItems=", b"MaxItems=1.5", b"MaxItems=99999999999", b"MaxItems=%ff"]
)
def test_unreadable_query_values_are_refused(query: bytes) -> None:
    with pytest.raises(Unreadable):
        read("ListFunctions", labels=(), query=query)


def test_too_many_query_parameters_are_refused() -> None:
    with pytest.raises(Unreadable, match="more than 256"):
        read("ListFunctions", labels=(), query=b"&".join([b"a=1"] * (QUERY_PARAMETERS_MAX + 1)))


@pytest.mark.parametrize("size", [0, 1, 2, 3, SLICE_CHARS // 4 * 3, SLICE_CHARS // 4 * 3 + 1, 2 * SLICE_CHARS])
def test_base64_of_any_size_is_decoded_in_slices(size: int) -> None:
    blob = bytes(size)
    assert decode_base64(base64.b64encode(blob).decode()) == blob


@pytest.mark.parametrize("text", ["a", "ab=", "====", "a===", "ab==cd==", "ab cd", "ab\n=", "äöüß", "ab-_", "=abc"])
def test_base64_is_strict(text: str) -> None:
    with pytest.raises(Unreadable):
        decode_base64(text)


def test_a_pad_at_a_slice_s_end_is_refused() -> None:
    padded = base64.b64encode(bytes(SLICE_CHARS // 4 * 3 - 1)).decode()
    assert len(padded) == SLICE_CHARS
    with pytest.raises(Unreadable):
        decode_base64(padded + "abcd")


LONG = base64.b64encode(bytes(range(256)) * (LIFTED_CHARS_MIN // 256)).decode()


@pytest.mark.parametrize(
    ("written", "inside"),
    [
        ('{"Code":{"ZipFile":"%s"},"Publish":true}', "Code"),
        ('{"Code": {"S3Key": "k", "ZipFile"\n:\t"%s"}, "Publish": true}', "Code"),
        ('{"ZipFile":"%s"}', None),
        ('{"Content":{"ZipFile":"%s"}}', "Content"),
    ],
)
def test_a_long_zip_is_lifted_to_the_same_effect_as_parsing_it(written: str, inside: str | None) -> None:
    document = load_lifted((written % LONG).encode(), inside)
    holder = document if inside is None else document[inside]
    assert holder["ZipFile"] == base64.b64decode(LONG)
    holder["ZipFile"] = LONG
    assert document == json.loads(written % LONG)


@pytest.mark.parametrize(
    "written",
    [
        '{"Code":{"ZipFile":"%s\\/AAA"}}',  # an escape: to the parser
        '{"Code":{"ZipFile":"AAAA","ZipFile":"%s"}}',  # twice: to the parser
        '{"Code":{"x\\"ZipFile":"%s"}}',  # not the key
        '{"Code":{"S3Key":"a\\\\"ZipFile","ZipFile":"%s"}}',
        '{"Code":{"S3Key":"ZipFile","ZipFile":"%s"}}',  # a value like the key
        '{"Code":{"ZipFile" "%s"}}',
        '{"Code":{"ZipFile":["%s"]}}',
        '{"Other":{"ZipFile":"%s"},"Code":{"S3Key":"k"}}',  # an unknown member
        '["ZipFile","%s"]',
        '"ZipFile" : "%s"',
    ],
)
def test_whatever_else_is_parsed_as_it_stands(written: str) -> None:
    body = (written % LONG).encode()
    try:
        expected = json.loads(body)
    except ValueError:
        with pytest.raises(orjson.JSONDecodeError):
            load_lifted(body, "Code")
        return
    document = load_lifted(body, "Code")
    if isinstance(document, dict) and "Other" in document:
        document["Other"]["ZipFile"] = LONG
    assert document == expected


def test_a_long_string_that_is_no_base64_is_refused() -> None:
    for bad in ("!" + LONG[1:], LONG[:-1], LONG[: SLICE_CHARS - 1] + "=" + LONG[SLICE_CHARS:] + "AAAA" * SLICE_CHARS):
        body = f'{{"ZipFile":"{bad}"}}'.encode()
        assert refusal("UpdateFunctionCode", body) == "The blob is not valid base64."
    assert read("UpdateFunctionCode", f'{{"ZipFile":"{LONG}"}}'.encode())["ZipFile"] == base64.b64decode(LONG)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@st.composite
def documents(draw: st.DrawFn) -> tuple[Operation, bytes]:
    """An operation and a body whose members exist but have values of any type."""
    operation = draw(st.sampled_from(sorted(OPERATIONS.values(), key=lambda op: op.name)))
    names = [] if operation.input is None else list(operation.input.members)
    body = draw(st.dictionaries(st.sampled_from(names) if names else st.text(max_size=3), JSON, max_size=6))
    return operation, json.dumps(body).encode()


@settings(max_examples=150, deadline=1_000)
@given(documents(), st.binary(max_size=40), st.binary(max_size=60), st.binary(max_size=20))
def test_nothing_but_a_refusal_comes_of_any_input(
    document: tuple[Operation, bytes], label: bytes, query: bytes, header: bytes
) -> None:
    operation, body = document
    labels = [label] * sum(segment.startswith("{") for segment in operation.path)
    headers = [(b"x-amz-invocation-type", header), (b"x-amz-tenant-id", header)]
    for raw in (body, label):
        with suppress(LambentError):
            validate(operation, parse_input(operation, labels, query, headers, raw))


@settings(max_examples=150, deadline=1_000)
@given(st.sampled_from(["GET", "POST", "PUT", "DELETE", "X"]), st.binary(max_size=80), st.binary(max_size=40))
def test_any_request_line_is_matched_or_unknown(method: str, path: bytes, query: bytes) -> None:
    for written in (path, b"/2015-03-31/functions/" + path, b"/2025-12-01/durable-executions/arn:" + path):
        with suppress(LambentError):
            operation, labels = ROUTER.match(method, written, query)
            parse_input(operation, labels, query, [], b"")
    with pytest.raises(UnknownOperation):
        ROUTER.match("X", b"/2015-03-31/functions", query)


HOSTILE = [
    "a" * 60_000,
    "a." * 30_000,
    "a-" * 30_000 + "!",
    "arn:" * 15_000,
    ":" * 60_000,
    "\u2028" * 30_000,
    "0" * 60_000 + "\n",
]


def test_no_pattern_takes_long_over_any_hostile_value() -> None:
    table = load_table()
    slowest = 0.0
    for name in table.shape_names():
        shape = table.shape(name)
        if shape.pattern is not None:
            for text in HOSTILE:
                start = time.perf_counter()
                shape.matches(text)
                slowest = max(slowest, time.perf_counter() - start)
    assert slowest < 0.5


def test_a_large_document_is_read_in_bounded_time() -> None:
    body = orjson.dumps({"Tags": {str(i): "v" * 20 for i in range(100_000)}, "Layers": ["x" * 100] * 20_000})
    start = time.process_time()  # of ours alone, whatever else runs
    with pytest.raises(LambentError):
        validate(OPERATIONS["CreateFunction"], read("CreateFunction", body, labels=()))
    assert time.process_time() - start < 5.0
