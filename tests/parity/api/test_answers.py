"""Answers and errors as the public SDK reads them."""

from __future__ import annotations

import http.client
from typing import Any

import pytest
from botocore.exceptions import ClientError

from lambent.api.ports import Answer
from lambent.api.wire import MODELLED, Modelled
from lambent.domain.errors import FunctionNotFound, TooManyRequests
from lambent.domain.limits import ZIP_DIRECT_BYTES_MAX


async def get_function(caller: Any, values: dict[str, Any]) -> Answer:
    name = values["FunctionName"]
    if name in MODELLED:
        raise Modelled(name, f"about {name}")
    if name == "throttled":
        raise TooManyRequests("ConcurrentInvocationLimitExceeded", retry_after_s=7)
    if name == "missing":
        raise FunctionNotFound(f"arn:{name}")
    return Answer({"Configuration": {"FunctionName": name, "Layers": None}})


async def delete_function(caller: Any, values: dict[str, Any]) -> Answer:
    return Answer({}, status=202 if values["FunctionName"] == "slow" else None)


async def get_mapping(caller: Any, values: dict[str, Any]) -> Answer:
    return Answer({"UUID": values["UUID"], "LastModified": 1_764_100_000.25, "FilterCriteria": None})


async def untag(caller: Any, values: dict[str, Any]) -> Answer:
    assert values["TagKeys"] == ["a b", "c=d/e", "é"]
    return Answer({})


@pytest.fixture(scope="module")
def served(running: Any, client: Any) -> Any:
    running.door.register("GetFunction", get_function)
    running.door.register("DeleteFunction", delete_function)
    running.door.register("GetEventSourceMapping", get_mapping)
    running.door.register("UntagResource", untag)
    return client


@pytest.mark.parametrize("code", sorted(MODELLED))
def test_every_modelled_exception_is_raised_typed_and_with_its_message(served: Any, code: str) -> None:
    with pytest.raises(getattr(served.exceptions, code)) as refused:
        served.get_function(FunctionName=code)
    response = refused.value.response
    assert response["Error"] == {"Code": code, "Message": f"about {code}"}
    assert response["ResponseMetadata"]["HTTPStatusCode"] == MODELLED[code].status
    assert response["Type"] == MODELLED[code].type
    assert response[MODELLED[code].message_member] == f"about {code}"


def test_a_throttle_is_read_with_reason_and_delay(served: Any) -> None:
    with pytest.raises(served.exceptions.TooManyRequestsException) as refused:
        served.get_function(FunctionName="throttled")
    assert refused.value.response["Reason"] == "ConcurrentInvocationLimitExceeded"
    assert refused.value.response["retryAfterSeconds"] == "7"


def test_answers_are_read_as_the_model_says(served: Any) -> None:
    answer = served.get_function(FunctionName="f")
    assert answer["Configuration"] == {"FunctionName": "f"}
    mapping = served.get_event_source_mapping(UUID="0190a5c4-0000-7000-8000-000000000001")
    assert mapping["LastModified"].timestamp() == 1_764_100_000.25
    assert "FilterCriteria" not in mapping
    assert served.delete_function(FunctionName="f")["StatusCode"] == 204
    assert served.delete_function(FunctionName="slow")["StatusCode"] == 202
    served.untag_resource(Resource="arn:aws:lambda:us-east-1:123456789012:function:f", TagKeys=["a b", "c=d/e", "é"])


@pytest.mark.parametrize(
    "path",
    [
        "/2015-03-31/functions/arn%3Aaws%3Alambda%3Aus-east-1%3A123456789012%3Afunction%3Af",
        "/2015-03-31/functions/arn:aws:lambda:us-east-1:123456789012:function:f",
        "/2015-03-31/functions/f%3A%24LATEST/",
        "/2015-03-31/functions/f:$LATEST",
    ],
)
def test_paths_are_understood_as_clients_write_them(fresh: Any, path: str) -> None:
    fresh.door.register("GetFunction", get_function)
    connection = http.client.HTTPConnection("127.0.0.1", fresh.port, timeout=10)
    connection.request("GET", path)
    assert connection.getresponse().status == 200
    connection.close()


def test_uploads_to_the_limit_are_read_and_beyond_it_refused(fresh: Any) -> None:
    client = fresh.client()
    code = {"ZipFile": bytes(ZIP_DIRECT_BYTES_MAX)}
    role = "arn:aws:iam::123456789012:role/r"
    with pytest.raises(ClientError) as refused:
        client.create_function(FunctionName="f", Role=role, Code=code)
    assert refused.value.response["Error"]["Code"] == "NotImplementedException"
    for size in (ZIP_DIRECT_BYTES_MAX + 1, ZIP_DIRECT_BYTES_MAX + (8 << 20)):
        with pytest.raises(ClientError) as refused:
            client.create_function(FunctionName="f", Role=role, Code={"ZipFile": bytes(size)})
        assert refused.value.response["Error"] == {
            "Code": "RequestEntityTooLargeException",
            "Message": "Zipped size must be smaller than 52428800 bytes",
        }
    client.close()


def test_an_oversized_payload_is_refused_with_its_size(fresh: Any) -> None:
    client = fresh.client()
    with pytest.raises(ClientError) as refused:
        client.invoke(FunctionName="f", Payload=bytes(8 << 20))
    assert refused.value.response["Error"] == {
        "Code": "RequestEntityTooLargeException",
        "Message": "8388608 byte payload is too large for the RequestResponse invocation type (limit 6291456 bytes)",
    }
    client.close()
