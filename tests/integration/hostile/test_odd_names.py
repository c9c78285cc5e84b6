"""Function names and paths of every odd kind, as raw as a client can send them: a 4xx with words, never a 500."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.integration.hostile.conftest import WITNESS
from tests.integration.hostile.hostile_world import call

OPERATIONS = {
    "GetFunction": ("GET", "/2015-03-31/functions/{}"),
    "Invoke": ("POST", "/2015-03-31/functions/{}/invocations"),
    "DeleteFunction": ("DELETE", "/2015-03-31/functions/{}"),
    "PublishVersion": ("POST", "/2015-03-31/functions/{}/versions"),
    "PutFunctionConcurrency": ("PUT", "/2017-10-31/functions/{}/concurrency"),
}
text = st.text(st.characters(exclude_categories=[]), min_size=1, max_size=80)
percent = st.binary(min_size=1, max_size=40).map(lambda raw: "".join(f"%{byte:02X}" for byte in raw))
loose = st.text("%abcdefgxyz019.:/\\$-_~+ ;&=@", min_size=1, max_size=40)
arns = st.builds(
    "arn:{}:lambda:{}:{}:function:{}".format,
    st.sampled_from(["aws", "aws-cn", "", "x"]),
    st.sampled_from(["us-east-1", "eu-west-1", "", "nowhere", "us-east-1\n"]),
    st.sampled_from(["000000000000", "123456789012", "", "1", "00000000000a"]),
    text,
)
segments = st.one_of(
    text.map(lambda name: quote(name.encode("utf-8", "surrogatepass"), safe="")),
    arns.map(lambda arn: quote(arn.encode("utf-8", "surrogatepass"), safe="")),
    percent,
    loose.map(lambda raw: quote(raw, safe="%:$+~;&=@")),
)


@pytest.mark.parametrize("operation", list(OPERATIONS))
def test_any_text_in_the_place_of_a_name(well: Any, operation: str) -> None:
    method, path = OPERATIONS[operation]

    @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(segments)
    def holds(segment: str) -> None:
        answer = call(well.url, method, path.format(segment), b"{}" if method in ("POST", "PUT") else None)
        if segment.partition("%3A")[0] == WITNESS:
            return
        assert 400 <= answer.status < 500 or (answer.status, operation) == (204, "DeleteFunction"), answer
        if answer.status != 204:
            assert answer.code
            assert answer.message is None or isinstance(answer.message, str)

    holds()


@pytest.mark.parametrize(
    "segment",
    [
        "..",
        "%2e%2e",
        ".%2e",
        "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "%00",
        "a%00b",
        "%ff%fe",
        "%c0%ae",
        "%",
        "%zz",
        "%2",
        "a%0d%0ab",
    ],
)
def test_names_that_try_to_leave_their_place(well: Any, segment: str) -> None:
    for method, path in OPERATIONS.values():
        answer = call(well.url, method, path.format(segment), b"{}" if method in ("POST", "PUT") else None)
        assert 400 <= answer.status < 500
        assert b"\r\n" not in answer.body


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(st.data())
def paths_hold(url: str, data: st.DataObject) -> None:
    """Any path at all, any query at all."""
    path = data.draw(st.one_of(loose.map(lambda raw: quote(raw, safe="%:$/+~;&=@")), percent))
    query = data.draw(st.one_of(st.just(""), percent, loose.map(lambda raw: quote(raw, safe="%:$/+~;&=@"))))
    method = data.draw(st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"]))
    answer = call(url, method, f"/{path}?{query}", b"{}" if method in ("POST", "PUT", "PATCH") else None)
    assert 400 <= answer.status < 500, answer


def test_any_path(well: Any) -> None:
    paths_hold(well.url)
