"""`scripts/demo web`: its address shows a working page, in a real browser where one is there, and it stops cleanly."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from tests.conftest import ROOT
from tests.integration.gateway.url_world import id_in

LIMIT_S = 120.0
ASSETS = ("style", "script", "vector", "pixels", "data")


class Demo:
    """The demo as somebody types it, until it is told to end."""

    def __init__(self, output: Path) -> None:
        self.output = output
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "LAMBENT_"))}
        with output.open("wb") as out:
            self.process = subprocess.Popen(
                ["scripts/demo", "web"],
                cwd=ROOT,
                env={**environment, "PYTHONPATH": str(ROOT / "src")},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )
        deadline = time.monotonic() + LIMIT_S
        while (found := re.search(r"Ctrl-C ends it\s+(http://\S+)\s", self.text())) is None:
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.process.kill()
                self.process.wait()
                raise AssertionError(self.text())
            time.sleep(0.05)  # what a process prints can't be awaited
        self.url = found[1]

    def text(self) -> str:
        return self.output.read_text()

    def end(self, number: int = signal.SIGINT) -> int:
        self.process.send_signal(number)
        return self.process.wait(LIMIT_S)


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    running = Demo(tmp_path / "out")
    yield running
    if running.process.poll() is None:
        running.end()


def test_it_serves_a_page_with_its_assets_and_stops_cleanly(demo: Demo) -> None:
    for path, kind, content in (
        ("", "text/html", b"<h1>A page from a function</h1>"),
        ("style.css", "text/css", b"--glow"),
        ("page.js", "javascript", b"use strict"),
        ("pixels.png", "image/png", b"\x89PNG\r\n\x1a\n"),
        ("api/facts", "application/json", b'"function": "web"'),
    ):
        with urllib.request.urlopen(demo.url + path, timeout=30) as answer:
            assert kind in answer.headers["content-type"]
            assert content in answer.read()
    with urllib.request.urlopen(demo.url + "api/greeting", data=b"name=Ada+%26+co", timeout=30) as answer:
        assert b'"Hello, Ada & co!"' in answer.read()
    with pytest.raises(urllib.error.HTTPError, match="404") as refused:
        urllib.request.urlopen(demo.url + "..%2f..%2fetc/passwd", timeout=30)
    refused.value.close()
    assert demo.end() == 0, demo.text()
    assert "Stopped in order; no process and no file is left." in demo.text()


def browser() -> str | None:
    """A Chromium of this machine; LAMBENT_TEST_CHROMIUM names one that is not on the path."""
    names = ("chromium", "chromium-browser", "google-chrome", "chrome", "headless_shell")
    return os.environ.get("LAMBENT_TEST_CHROMIUM") or next(filter(None, map(shutil.which, names)), None)


@pytest.mark.skipif(browser() is None, reason="no Chromium on this machine (apt install chromium)")
def test_a_browser_shows_the_page_whole(demo: Demo, tmp_path: Path) -> None:
    """By path and by host: browsers find names below localhost themselves."""
    parts = urlsplit(demo.url)
    host = f"http://{id_in(demo.url)}.lambda-url.us-east-1.localhost:{parts.port}/"
    for number, url in enumerate((demo.url, host)):
        shown = subprocess.run(
            [
                browser() or "",
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                f"--user-data-dir={tmp_path}/profile-{number}",
                "--virtual-time-budget=15000",
                "--dump-dom",
                url,
            ],
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
        ).stdout
        for asset in ASSETS:
            assert f'data-asset="{asset}" class="here"' in shown, f"{url}: {asset}\n{shown}"
        assert "<dt>function</dt><dd>web</dd>" in shown
        assert f"<dd>{host.removesuffix('/')}</dd>" in shown, "a page has an origin of its own"
    assert demo.end(signal.SIGTERM) == 0, demo.text()
