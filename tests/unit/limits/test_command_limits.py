"""Bounds of the commands: sizes, pages and waits, the way a user meets them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from lambent import client
from lambent.commands import deploy, logs, output, package, remote
from lambent.commands.failures import Failed
from lambent.domain.limits import ZIP_DIRECT_BYTES_MAX


class Repeating(BaseHTTPRequestHandler):
    """Answers every request with one and the same page, which says that there is another."""

    def do_GET(self) -> None:
        self._answer(b'{"Functions":[],"NextMarker":"again","State":"Pending"}')

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self._answer(b'{"events":[],"nextToken":"again"}')

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None: ...


@contextmanager
def opened() -> Iterator[client.Client]:
    """A client of a server that never comes to an end."""
    server = HTTPServer(("127.0.0.1", 0), Repeating)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    credentials = client.Credentials("test", "test")
    made = client.Client(f"http://127.0.0.1:{server.server_port}", region="us-east-1", credentials=credentials)
    try:
        yield made
    finally:
        made.close()
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_listing_without_an_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (client.PAGES_MAX, logs.PAGES_MAX) == (10_000, 100_000)
    monkeypatch.setattr(client, "PAGES_MAX", 3)
    monkeypatch.setattr(logs, "PAGES_MAX", 3)
    with opened() as server:
        with pytest.raises(client.ApiError, match="3 pages without an end"):
            list(server.functions())
        with pytest.raises(Failed, match="answered 3 pages of /g without an end"):
            list(logs.events(server, "/g", 0, None))


def test_a_function_that_is_never_ready_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looked at after each of the waits in turn, on a clock that the waits move."""
    now_s = [0.0]
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        now_s[0] += seconds

    with opened() as server, monkeypatch.context() as patch:
        patch.setattr(time, "monotonic", lambda: now_s[0])
        patch.setattr(time, "sleep", sleep)
        patch.setattr(server, "call", lambda *_: {"State": "Pending"})
        with pytest.raises(Failed, match="still not ready after 120 s"):
            deploy.settled(server, "f", {"State": "Pending"})
    assert tuple(waits[: len(deploy.POLL_S)]) == deploy.POLL_S
    assert set(waits[len(deploy.POLL_S) :]) == {deploy.POLL_S[-1]}
    assert deploy.SETTLED_LIMIT_S <= now_s[0] <= deploy.SETTLED_LIMIT_S + 2 * deploy.POLL_S[-1]


def test_an_answer_is_waited_for_longer_than_a_function_may_run() -> None:
    assert client.ANSWER_LIMIT_S == 930.0 > 900
    assert client.CONNECT_LIMIT_S == 5.0
    with opened() as server:
        assert server._answer_limit_s == client.ANSWER_LIMIT_S
        assert server._connection.timeout == client.CONNECT_LIMIT_S
    assert remote.COMPLETION_LIMIT_S == 1.0


def test_so_many_files_are_packed_and_no_more(tmp_path: Path) -> None:
    files = {str(number): tmp_path for number in range(package.FILES_MAX + 1)}
    with pytest.raises(Failed, match="200,001 files are more than the 200,000 that can be deployed"):
        package._of_files(files)


def test_a_large_source_is_not_read_for_a_guess(tmp_path: Path) -> None:
    for size, is_read in ((package.SOURCE_BYTES_MAX, True), (package.SOURCE_BYTES_MAX + 1, False)):
        (tmp_path / "app.py").write_bytes(b"#" * size)
        assert bool(package.read(tmp_path).text("app.py")) is is_read


def test_the_command_has_the_published_limit_of_a_zip() -> None:
    assert package.ZIP_BYTES_MAX == ZIP_DIRECT_BYTES_MAX


def test_a_short_step_says_nothing_in_a_pipe(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert output.SILENT_S == 1.0
    with output.working("Sending"):
        pass
    assert capsys.readouterr().err == ""
    said = threading.Event()
    monkeypatch.setattr(output, "SILENT_S", 0.0)
    monkeypatch.setattr(output, "say", lambda words: said.set())
    with output.working("Sending"):
        assert said.wait(5.0)
