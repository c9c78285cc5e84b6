"""Everybody works on one name at once: each caller gets a documented answer, and what stands afterwards is whole."""

from __future__ import annotations

import json
import random
from base64 import b64encode
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from tests.integration.hostile.hostile_world import Reply, call, descriptors
from tests.support import PYTHON_RUNTIME, ROLE, package

SEED = 7
OPERATIONS = 200
CALLERS = 16
NAME = "storm"
PATH = f"/2015-03-31/functions/{NAME}"
CODES = [package({"app.py": f"def handler(event, context):\n    return {number}\n"}) for number in range(4)]
DOCUMENTED = {
    "create": {(201, ""), (409, "ResourceConflictException")},
    "code": {(200, ""), (404, "ResourceNotFoundException"), (409, "ResourceConflictException")},
    "configuration": {(200, ""), (404, "ResourceNotFoundException"), (409, "ResourceConflictException")},
    "publish": {(201, ""), (404, "ResourceNotFoundException"), (409, "ResourceConflictException")},
    "delete": {(204, ""), (404, "ResourceNotFoundException"), (409, "ResourceConflictException")},
    "invoke": {(200, ""), (404, "ResourceNotFoundException"), (409, "ResourceConflictException")},
    "event": {(202, ""), (404, "ResourceNotFoundException"), (409, "ResourceConflictException")},
    "get": {(200, ""), (404, "ResourceNotFoundException")},
}


def act(url: str, kind: str, number: int) -> Reply:
    code = b64encode(CODES[number % len(CODES)]).decode()
    if kind == "create":
        document = {"FunctionName": NAME, "Runtime": PYTHON_RUNTIME, "Handler": "app.handler", "Role": ROLE}
        body = json.dumps({**document, "Code": {"ZipFile": code}}).encode()
        return call(url, "POST", "/2015-03-31/functions", body)
    if kind == "code":
        return call(url, "PUT", f"{PATH}/code", json.dumps({"ZipFile": code}).encode())
    if kind == "configuration":
        return call(url, "PUT", f"{PATH}/configuration", json.dumps({"Description": str(number)}).encode())
    if kind == "publish":
        return call(url, "POST", f"{PATH}/versions", b"{}")
    if kind == "delete":
        return call(url, "DELETE", PATH)
    if kind == "get":
        return call(url, "GET", PATH)
    headers = {"X-Amz-Invocation-Type": "Event"} if kind == "event" else {}
    return call(url, "POST", f"{PATH}/invocations", b"{}", headers)


@pytest.mark.parametrize("seed", [SEED, SEED + 1])
def test_a_storm_on_one_name(well: Any, seed: int) -> None:
    chance = random.Random(seed)
    weights = {"create": 4, "code": 4, "configuration": 4, "publish": 2, "delete": 2, "invoke": 8, "event": 2, "get": 3}
    kinds = chance.choices(list(weights), list(weights.values()), k=OPERATIONS)
    with ThreadPoolExecutor(CALLERS) as pool:
        answers = list(pool.map(lambda pair: act(well.url, pair[1], pair[0]), enumerate(kinds)))
    for kind, answer in zip(kinds, answers, strict=True):
        assert (answer.status, answer.code) in DOCUMENTED[kind], (kind, answer)
        if kind == "invoke" and answer.status == 200:
            assert answer.body in (b"0", b"1", b"2", b"3"), "one whole package, never a mixture"
    seen = Counter((kind, answer.status) for kind, answer in zip(kinds, answers, strict=True))
    assert seen["create", 201] >= 1
    assert seen["invoke", 200] >= 1
    assert call(well.url, "DELETE", PATH).status in (204, 404)
    assert call(well.url, "GET", PATH).status == 404
    made = act(well.url, "create", 1)
    assert made.status == 201, "the name is free at once"
    assert act(well.url, "invoke", 0).body == b"1"
    assert call(well.url, "DELETE", PATH).status == 204


def test_updates_during_invocations_never_fail_one(well: Any) -> None:
    """In-flight invocations finish on the code they began with; those that follow run the new one."""
    document = {"FunctionName": NAME, "Runtime": PYTHON_RUNTIME, "Handler": "app.handler", "Role": ROLE}
    code = {"ZipFile": b64encode(CODES[0]).decode()}
    call(well.url, "POST", "/2015-03-31/functions", json.dumps({**document, "Code": code}).encode())
    with ThreadPoolExecutor(CALLERS) as pool:
        invoked = [pool.submit(act, well.url, "invoke", 0) for _ in range(60)]
        updated = [pool.submit(act, well.url, "code", number) for number in range(1, 9)]
        answers = [one.result() for one in invoked]
        assert {one.result().status for one in updated} <= {200, 409}
    assert {answer.status for answer in answers} == {200}
    assert {answer.body for answer in answers} <= {b"0", b"1", b"2", b"3"}
    final = act(well.url, "code", 2)
    assert final.status == 200
    assert act(well.url, "get", 0).status == 200
    deadline = 100
    while act(well.url, "get", 0).document["Configuration"]["LastUpdateStatus"] != "Successful":
        deadline -= 1
        assert deadline
    assert act(well.url, "invoke", 0).body == b"2"
    assert call(well.url, "DELETE", PATH).status == 204
    assert descriptors(well.process.pid)
