"""A boto3 client whose every answer is held against the published model, and what tests of whole operations share."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests import support
from tests.fuzzing.calls import Call
from tests.fuzzing.judge import COMMON_CODES, Judge, Reply
from tests.support import PYTHON_RUNTIME

ACCOUNT = "616161616161"
"""Where no other test acts: lists are compared as a whole."""
ROLE = f"arn:aws:iam::{ACCOUNT}:role/test"
AT = f"us-east-1:{ACCOUNT}"
WITHOUT_TYPE = frozenset({"ValidationException", "RequestEntityTooLargeException", "AccessDeniedException"})
"""Codes whose answers never say whose fault it was."""
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
SOON = {"Delay": 0.02, "MaxAttempts": 1500}
"""How waiters ask: what they wait for is there within milliseconds."""
CODE = support.package({"app.py": "def handler(event, context):\n    return event\n"})
OTHER_CODE = support.package({"app.py": "def handler(event, context):\n    return [event]\n"})


class Recorder:
    """Listens to a client: which operations were accepted and refused, and what the model says against the answers."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.accepted: set[str] = set()
        self.refused: set[str] = set()
        self.problems: list[str] = []
        self._judge = Judge(client.meta.service_model)
        client.meta.events.register("response-received.lambda.*", self._judged)

    def clear(self) -> None:
        self.accepted.clear()
        self.refused.clear()
        self.problems.clear()

    def _judged(self, event_name: str, response_dict: Mapping[str, Any] | None, **_: Any) -> None:
        operation = event_name.rpartition(".")[2]
        assert response_dict is not None, f"{operation} was not answered"
        status, body = response_dict["status_code"], response_dict["body"]
        headers = {name.lower(): value for name, value in response_dict["headers"].items()}
        reply = Reply(status, headers, body if isinstance(body, bytes) else b"")
        call = Call(operation, "", "", (), b"", ())
        if (
            operation != "InvokeWithResponseStream" or status >= 400
        ):  # a stream is read, and checked, by the client itself
            self.problems += [f"{operation}: {problem}" for problem in self._judge.problems(call, reply)]
        (self.accepted if status < 400 else self.refused).add(operation)


def refused(call: Callable[..., Any], code: str, message: str, *, has_type: bool | None = None, **members: Any) -> None:
    """The call is refused with this code and message, as the exception that the client has for the code.

    has_type: whether the answer says whose fault it was; None: as nearly all answers of that code do.
    """
    client: Any = call.__self__  # type: ignore[attr-defined]
    typed = getattr(client.exceptions, code, ClientError) if code not in WITHOUT_TYPE else ClientError
    with pytest.raises(ClientError) as caught:
        call(**members)
    response = caught.value.response
    assert (response["Error"]["Code"], response["Error"].get("Message")) == (code, message)
    assert type(caught.value) is typed
    model = client.meta.service_model.shape_for_error_code(code)
    if model is not None:
        assert response["ResponseMetadata"]["HTTPStatusCode"] == model.metadata["error"]["httpStatusCode"]
    else:
        assert code in COMMON_CODES
        assert 400 <= response["ResponseMetadata"]["HTTPStatusCode"] < 500
    expected = code not in WITHOUT_TYPE if has_type is None else has_type
    assert response.get("Type") == ("User" if expected else None)


def invalid(path: str, value: object, constraint: str) -> str:
    """The message for one value that breaks the model. value: None is a member that is missing."""
    shown = "null" if value is None else f"'{value}'"
    return f"1 validation error detected: Value {shown} at '{path}' failed to satisfy constraint: {constraint}"


def plain(answer: Mapping[str, Any]) -> dict[str, Any]:
    """An answer without what is the transport's."""
    return {name: value for name, value in answer.items() if name != "ResponseMetadata"}


def status(answer: Mapping[str, Any]) -> int:
    code: int = answer["ResponseMetadata"]["HTTPStatusCode"]
    return code


def arn(name: str, qualifier: str | None = None) -> str:
    return f"arn:aws:lambda:{AT}:function:{name}" + ("" if qualifier is None else f":{qualifier}")


def create(client: Any, name: str, **members: Any) -> dict[str, Any]:
    """A minimal function, with more members if given; answers the answer."""
    wanted = {"Runtime": PYTHON_RUNTIME, "Handler": "app.handler", "Role": ROLE, "Code": {"ZipFile": CODE}, **members}
    made: dict[str, Any] = client.create_function(FunctionName=name, **wanted)
    return made


def settled(client: Any, name: str) -> dict[str, Any]:
    """The function's configuration once its creation or update is complete."""
    waiter = client.get_waiter("function_updated_v2")
    waiter.wait(FunctionName=name, WaiterConfig=SOON)
    configuration: dict[str, Any] = plain(client.get_function_configuration(FunctionName=name))
    return configuration
