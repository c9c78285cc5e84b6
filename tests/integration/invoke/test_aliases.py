"""Invocations through aliases: which version runs, what it is told, and what the caller reads; real functions."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.support import client, function, package

SOURCE = """
import os
print("born", os.environ["AWS_LAMBDA_FUNCTION_VERSION"])
def handler(event, context):
    print("ran", event, context.function_version)
    return [{number}, context.function_version, context.invoked_function_arn, os.getpid()]
"""
CALLS = 64
"""With weight 0.5, all of them going one way happens once in 2**63 times."""
SEEN_LIMIT_S = 30.0


@pytest.fixture(scope="module")
def name(endpoint: str) -> Iterator[str]:
    """A function with version 1, version 2, and a third state of $LATEST."""
    made = client("lambda", endpoint)
    with function(made, SOURCE.replace("{number}", "1")) as name:
        made.publish_version(FunctionName=name)
        for number in (2, 3):
            code = package({"app.py": SOURCE.replace("{number}", str(number))})
            made.update_function_code(FunctionName=name, ZipFile=code)
            if number == 2:
                made.publish_version(FunctionName=name)
        yield name
    made.close()


@pytest.fixture
def alias(lambda_: Any, name: str) -> Iterator[str]:
    lambda_.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    yield "live"
    lambda_.delete_alias(FunctionName=name, Name="live")


def run(lambda_: Any, name: str, qualifier: str | None = None) -> tuple[str, Any]:
    """The executed version as the header tells it, and what the handler returned."""
    answer = lambda_.invoke(FunctionName=name, Payload=b"0", **({"Qualifier": qualifier} if qualifier else {}))
    assert "FunctionError" not in answer
    return answer["ExecutedVersion"], json.loads(answer["Payload"].read())


def route(lambda_: Any, name: str, version: str = "1", **weights: float) -> None:
    shares = {number[1:]: weight for number, weight in weights.items()}
    lambda_.update_alias(
        FunctionName=name, Name="live", FunctionVersion=version, RoutingConfig={"AdditionalVersionWeights": shares}
    )


def test_an_alias_runs_its_version_and_names_itself(lambda_: Any, name: str, alias: str) -> None:
    arn = lambda_.get_alias(FunctionName=name, Name=alias)["AliasArn"]
    executed, (number, version, invoked, _) = run(lambda_, name, alias)
    assert (executed, number, version, invoked) == ("1", 1, "1", arn)
    for form in (f"{name}:{alias}", arn):
        executed, (_, _, invoked, _) = run(lambda_, form)
        assert (executed, invoked) == ("1", arn)
    assert run(lambda_, name)[0] == "$LATEST"


def test_an_update_reaches_the_next_invocation_and_back(lambda_: Any, name: str, alias: str) -> None:
    pids = {}
    for version, number in (("2", 2), ("$LATEST", 3), ("1", 1)) * 10:
        lambda_.update_alias(FunctionName=name, Name=alias, FunctionVersion=version)
        executed, (said, _, _, pid) = run(lambda_, name, alias)
        assert (executed, said) == (version, number)
        # Each version keeps its environment, whichever the alias points to.
        assert pids.setdefault(version, pid) == pid


def test_weights_of_nothing_and_of_everything(lambda_: Any, name: str, alias: str) -> None:
    route(lambda_, name, _2=0.0)
    assert {run(lambda_, name, alias)[0] for _ in range(20)} == {"1"}
    route(lambda_, name, _2=1.0)
    assert {run(lambda_, name, alias)[0] for _ in range(20)} == {"2"}
    route(lambda_, name)
    assert {run(lambda_, name, alias)[0] for _ in range(20)} == {"1"}


def test_half_of_the_traffic_goes_each_way_in_two_environments(lambda_: Any, name: str, alias: str) -> None:
    route(lambda_, name, _2=0.5)
    arn = lambda_.get_alias(FunctionName=name, Name=alias)["AliasArn"]
    ran: Counter[str] = Counter()
    pids: dict[str, set[int]] = {"1": set(), "2": set()}
    for _ in range(CALLS):
        executed, (number, version, invoked, pid) = run(lambda_, name, alias)
        # What the header tells is what ran: drawn once.
        assert (executed, str(number), invoked) == (version, version, arn)
        ran[executed] += 1
        pids[executed].add(pid)
    assert set(ran) == {"1", "2"}
    assert [len(found) for found in pids.values()] == [1, 1]


def test_updates_at_once_with_invocations_never_run_what_is_neither(lambda_: Any, name: str, alias: str) -> None:
    failures: list[Exception] = []

    def calls() -> None:
        try:
            for _ in range(40):
                executed, (number, version, _, _) = run(lambda_, name, alias)
                assert executed == version == str(number)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=calls) for _ in range(2)]
    for thread in threads:
        thread.start()
    updates = 0
    while any(thread.is_alive() for thread in threads):
        updates += 1
        lambda_.update_alias(FunctionName=name, Name=alias, FunctionVersion="12"[updates % 2])
    for thread in threads:
        thread.join()
    assert failures == []


def test_an_event_is_taken_for_the_alias_and_drawn_when_it_runs(
    lambda_: Any, endpoint: str, name: str, alias: str
) -> None:
    logs = client("logs", endpoint)
    route(lambda_, name, _2=0.5)
    arrived = [f"e{number}" for number in range(CALLS)]
    for word in arrived:
        answer = lambda_.invoke(
            FunctionName=name, Qualifier=alias, InvocationType="Event", Payload=json.dumps(word).encode()
        )
        assert (answer["StatusCode"], "ExecutedVersion" in answer) == (202, False)
    until = time.monotonic() + SEEN_LIMIT_S
    ran: dict[str, str] = {}
    while set(arrived) - set(ran):
        assert time.monotonic() < until, ran
        time.sleep(0.05)  # another process runs the events: it can be looked at, not awaited
        pages = logs.get_paginator("filter_log_events").paginate(
            logGroupName=f"/aws/lambda/{name}", filterPattern='"ran e"'
        )
        lines = [event["message"].split() for page in pages for event in page["events"]]
        assert len({line[1] for line in lines}) == len(lines), "an event ran twice"
        ran = {line[1]: line[2] for line in lines}
    assert set(ran.values()) == {"1", "2"}
    logs.close()


def test_what_is_gone_is_not_invoked(lambda_: Any, name: str) -> None:
    arn = lambda_.get_function_configuration(FunctionName=name)["FunctionArn"]
    lambda_.create_alias(FunctionName=name, Name="gone", FunctionVersion="1")
    run(lambda_, name, "gone")
    lambda_.delete_alias(FunctionName=name, Name="gone")
    for kind in ("RequestResponse", "Event", "DryRun"):
        with pytest.raises(ClientError, match=f"Function not found: {arn}:gone"):
            lambda_.invoke(FunctionName=name, Qualifier="gone", InvocationType=kind)
