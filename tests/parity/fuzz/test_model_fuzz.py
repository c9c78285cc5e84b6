"""Seeded calls made from the public model, and the teeth of what judges their answers."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
from tests.conftest import start_server
from tests.fuzzing.calls import Call, Maker
from tests.fuzzing.drive import SETTINGS, Driver
from tests.fuzzing.judge import Judge, Reply

CALLS = 20_000
SEED = 20_261_126
REQUEST_ID = "0190a5c4-0000-4000-8000-000000000001"


@pytest.mark.timeout(300)
def test_twenty_thousand_calls_find_nothing(tmp_path: Path) -> None:
    server = start_server(tmp_path / "data", "--tier", "process", env=SETTINGS)
    try:
        driver = Driver(server.url, server.data_dir / "state.db", SEED)
        try:
            report = driver.run(CALLS)
        finally:
            driver.close()
    finally:
        status = server.stop()
    assert not report.findings, "\n".join(report.lines())
    assert report.calls == CALLS
    assert status == 0, server.log.read_text()
    assert "Traceback" not in server.log.read_text()
    operations = set(Maker(0).model.operation_names)
    assert set(report.refused) == operations, "every operation was refused at least once"


def call(operation: str, *, faults: tuple[str, ...] = ()) -> Call:
    return Call(operation, "GET", "/", (), b"", faults)


def reply(status: int, document: Any, code: str | None = None) -> Reply:
    headers = {"x-amzn-requestid": REQUEST_ID} | ({} if code is None else {"x-amzn-errortype": code})
    return Reply(status, headers, document if isinstance(document, bytes) else json.dumps(document).encode())


GOOD = {"FunctionName": "f", "Timeout": 3, "Environment": {"Variables": {"A": "b"}}}


@pytest.mark.parametrize(
    ("operation", "answer", "finding"),
    [
        ("GetFunctionConfiguration", reply(200, GOOD), None),
        ("GetFunctionConfiguration", reply(200, GOOD | {"Timeout": "3"}), "Timeout. is no integer"),
        ("GetFunctionConfiguration", reply(200, GOOD | {"Timeout": True}), "Timeout. is no integer"),
        ("GetFunctionConfiguration", reply(200, GOOD | {"Handler": None}), "Handler is null"),
        ("GetFunctionConfiguration", reply(200, GOOD | {"Colour": "blue"}), "Colour is unknown"),
        ("GetFunctionConfiguration", reply(200, GOOD | {"Layers": [{"Ar": "x"}]}), "Layers.Ar is unknown"),
        ("GetFunctionConfiguration", reply(200, GOOD | {"Layers": {}}), "Layers. is no list"),
        ("GetFunctionConfiguration", reply(200, []), "is no object"),
        ("GetFunctionConfiguration", reply(200, b""), "no JSON"),
        ("GetFunctionConfiguration", reply(201, GOOD), "status 201"),
        ("GetFunctionConfiguration", reply(500, {"Type": "Service", "Message": "x"}, "ServiceException"), "status 500"),
        ("GetFunctionConfiguration", reply(501, {"message": "x"}, "NotImplementedException"), "that is served"),
        ("GetFunctionConfiguration", reply(404, {"Message": "x"}, "ResourceNotFoundException"), None),
        ("GetFunctionConfiguration", reply(404, {"message": "x"}, "ResourceNotFoundException"), "its model"),
        ("GetFunctionConfiguration", reply(400, {"Message": "x"}, "ResourceNotFoundException"), "with status 400"),
        ("GetFunctionConfiguration", reply(404, {"Message": "x"}, "PolicyLengthExceededException"), "with code"),
        ("GetFunctionConfiguration", reply(404, {"Message": "x"}), "with code None"),
        ("GetFunctionConfiguration", reply(404, b"<html>", "ResourceNotFoundException"), "an error that is no JSON"),
        ("GetFunctionConfiguration", reply(404, {"Message": 1}, "ResourceNotFoundException"), "messages"),
        ("GetFunctionConfiguration", reply(404, {"Message": "x", "Trace": ""}, "ResourceNotFoundException"), "unknown mem"),
        ("DeleteFunction", reply(204, b""), None),
        ("DeleteFunction", reply(204, GOOD), "a body where there is none"),
        ("ListEventSourceMappings", reply(200, {"EventSourceMappings": [{"LastModified": "now"}]}), "is no timestamp"),
        ("GetFunctionConfiguration", Reply(200, {}, json.dumps(GOOD).encode()), "no request id"),
    ],
)  # fmt: skip
def test_the_judge_finds(operation: str, answer: Reply, finding: str | None) -> None:
    problems = list(Judge(Maker(0).model).problems(call(operation), answer))
    if finding is None:
        assert problems == []
    else:
        assert any(finding in problem for problem in problems), problems


class Writing(BaseHTTPRequestHandler):
    """Refuses everything, and writes nevertheless."""

    protocol_version = "HTTP/1.1"
    store: ClassVar[Path]
    writes: ClassVar[bool]

    def answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.writes:
            with sqlite3.connect(self.store) as store:
                store.execute("INSERT INTO documents VALUES (1)")
            store.close()
        body = b'{"message":"refused"}'
        self.send_response(400)
        for name, value in (("x-amzn-RequestId", REQUEST_ID), ("x-amzn-ErrorType", "ValidationException")):
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_PUT = do_POST = do_DELETE = do_PATCH = do_HEAD = do_OPTIONS = answer

    def log_message(self, format: str, *args: Any) -> None:
        """The test's output is not a log."""


@pytest.fixture
def refusing(tmp_path: Path) -> Iterator[str]:
    Writing.store = tmp_path / "state.db"
    store = sqlite3.connect(Writing.store)
    store.execute("PRAGMA journal_mode = WAL")
    store.execute("CREATE TABLE documents (n)")
    store.close()
    server = HTTPServer(("127.0.0.1", 0), Writing)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("writes", [True, False])
def test_a_refused_call_that_changes_the_store_is_found(refusing: str, writes: bool) -> None:
    Writing.writes = writes
    driver = Driver(refusing, Writing.store, 1)
    report = driver.run(12, findings_max=1)
    driver.close()
    assert any("changed the store although" in finding for finding in report.findings) == writes


def test_the_same_seed_makes_the_same_calls() -> None:
    first, second, other = ([maker.call() for _ in range(300)] for maker in (Maker(5), Maker(5), Maker(6)))
    assert first == second
    assert first != other
