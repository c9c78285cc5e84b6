"""From request line to operation: every published path, encoded or not, and nothing else."""

from __future__ import annotations

import time
from urllib.parse import quote

import pytest

from lambent.api.routing import SEGMENTS_MAX, Router, UnknownOperation, UnreadablePath, decode_label
from lambent.api.table import Operation, load_table

ROUTER = Router(load_table().operations.values())
OPERATIONS = list(load_table().operations.values())
ARN = "arn:aws:lambda:us-east-1:123456789012:function:f:1/durable-execution/name/id"
MATCH_US_MAX = 30.0
"""Three microseconds are the promise; the rest is for a busy machine."""


def line_of(operation: Operation, label: str) -> tuple[bytes, bytes]:
    path = "/" + "/".join(label if segment.startswith("{") else segment for segment in operation.path)
    query = "&".join(f"{name}={value}" for name, value in operation.query.items())
    return path.encode(), query.encode()


@pytest.mark.parametrize("label", ["my-fn", "arn%3Aaws%3Alambda%3Aus-east-1%3A1%3Afunction%3Af", quote(ARN, safe="")])
def test_every_operation_is_found_with_and_without_a_trailing_slash(label: str) -> None:
    for operation in OPERATIONS:
        path, query = line_of(operation, label)
        for written in (path, path + b"/"):
            found, labels = ROUTER.match(operation.method, written, query)
            assert found is operation
            assert labels == [label.encode()] * sum(segment.startswith("{") for segment in operation.path)


def test_the_twin_is_chosen_by_the_whole_fixed_parameter() -> None:
    path = b"/2018-10-31/layers"
    for query, name in [
        (b"find=LayerVersion&Arn=x", "GetLayerVersionByArn"),
        (b"Arn=x&find=LayerVersion", "GetLayerVersionByArn"),
        (b"find=Other", "ListLayers"),
        (b"xfind=LayerVersion", "ListLayers"),
        (b"", "ListLayers"),
    ]:
        assert ROUTER.match("GET", path, query)[0].name == name


@pytest.mark.parametrize(
    ("method", "path", "name"),
    [
        ("GET", f"/2025-12-01/durable-executions/{ARN}", "GetDurableExecution"),
        ("GET", f"/2025-12-01/durable-executions/{ARN}/history", "GetDurableExecutionHistory"),
        ("POST", f"/2025-12-01/durable-executions/{ARN}/checkpoint", "CheckpointDurableExecution"),
    ],
)
def test_an_arn_with_unencoded_slashes_is_one_label(method: str, path: str, name: str) -> None:
    operation, labels = ROUTER.match(method, path.encode(), b"")
    assert (operation.name, labels) == (name, [ARN.encode()])


def test_a_name_is_never_joined_over_a_slash() -> None:
    with pytest.raises(UnknownOperation) as refused:
        ROUTER.match("GET", b"/2015-03-31/functions/a/b/c", b"")
    assert refused.value.allowed == ()


def test_a_wrong_method_is_told_apart_from_a_wrong_path() -> None:
    with pytest.raises(UnknownOperation) as refused:
        ROUTER.match("PATCH", b"/2015-03-31/functions/f", b"")
    assert refused.value.allowed == ("DELETE", "GET")
    for path in (b"/", b"", b"//", b"/nope", b"/2015-03-31", b"/2015-03-31/functions/f/nope", b"\xff\xfe"):
        with pytest.raises(UnknownOperation) as refused:
            ROUTER.match("GET", path, b"")
        assert refused.value.allowed == ()


def test_a_path_of_many_segments_costs_no_more_than_its_length() -> None:
    start = time.perf_counter()
    for path in (b"/2025-12-01/durable-executions" + b"/arn:" * 5_000, b"/a" * 50_000):
        with pytest.raises(UnknownOperation):
            ROUTER.match("GET", path, b"")
    for count in range(SEGMENTS_MAX):
        with pytest.raises(UnknownOperation):
            ROUTER.match("GET", b"/2018-10-31/layers/arn:" + b"/arn:" * count + b"/x/x", b"")
    assert time.perf_counter() - start < 1.0


def test_a_label_is_decoded_exactly_once() -> None:
    assert decode_label(b"arn%3Aaws") == "arn:aws"
    assert decode_label(b"a%252Fb") == "a%2Fb"
    assert decode_label(b"a+b%20c") == "a+b c"
    assert decode_label(b"%zz") == "%zz"
    with pytest.raises(UnreadablePath):
        decode_label(b"%ff")


def test_a_match_takes_microseconds() -> None:
    path = b"/2015-03-31/functions/my-function/invocations"
    best = min(_time(path) for _ in range(5))
    assert best < MATCH_US_MAX


def _time(path: bytes) -> float:
    start = time.perf_counter()
    for _ in range(1_000):
        ROUTER.match("POST", path, b"Qualifier=live")
    return (time.perf_counter() - start) * 1_000
