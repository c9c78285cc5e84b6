"""A server that root starts is an ordinary user afterwards, and reaches what it needs even behind root's own doors."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conftest import RunningServer, start_server
from tests.support import client, function

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root has privilege to give up (run the tests as root)")


@pytest.fixture
def private() -> Iterator[Path]:
    """A directory that only root can pass, with something in it that is nobody else's business."""
    base = Path(tempfile.mkdtemp(prefix="lambent-private-"))
    (base / "secret").write_text("for root's eyes only")
    assert base.stat().st_mode & 0o077 == 0
    yield base
    shutil.rmtree(base)


def status(server: RunningServer) -> dict[str, str]:
    lines = Path(f"/proc/{server.process.pid}/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def test_the_server_has_no_privilege_left_and_serves(private: Path) -> None:
    server = start_server(private / "data")
    try:
        facts = status(server)
        assert all(int(uid) != 0 for uid in facts["Uid"].split())
        assert all(int(gid) != 0 for gid in facts["Gid"].split())
        assert facts["Groups"].strip() == ""
        assert int(facts["CapEff"], 16) == int(facts["CapPrm"], 16) == 0
        lambda_ = client("lambda", server.url)
        with function(lambda_, "def handler(event, context):\n    return event\n") as name:
            assert json.loads(lambda_.invoke(FunctionName=name, Payload=b"1")["Payload"].read()) == 1
        lambda_.close()
    finally:
        assert server.stop() == 0, server.log.read_text()


def test_what_else_lies_behind_the_door_is_out_of_its_sight(private: Path) -> None:
    server = start_server(private / "data")
    try:
        seen = Path(f"/proc/{server.process.pid}/root") / private.relative_to("/")
        assert sorted(entry.name for entry in seen.iterdir()) == ["data"]
    finally:
        assert server.stop() == 0
    assert (private / "secret").read_text() == "for root's eyes only"


def test_an_unknown_user_to_run_as_is_refused_in_one_sentence(private: Path) -> None:
    with pytest.raises(AssertionError, match=r"lambent: there is no user nosuchuser on this machine\n$"):
        start_server(private / "data", env={"LAMBENT_RUN_AS": "nosuchuser"})


def test_verifying_without_keys_is_refused_in_one_sentence(private: Path) -> None:
    with pytest.raises(AssertionError, match=r"lambent: server\.verify_signatures needs keys"):
        start_server(private / "data", env={"LAMBENT_VERIFY_SIGNATURES": "true"})


@pytest.mark.skipif(
    not (Path("/dev/loop-control").exists() and shutil.which("mke2fs", path="/usr/sbin:/sbin")),
    reason="this machine has no loop devices or no mke2fs (modprobe loop; apt-get install e2fsprogs)",
)
def test_tmp_lies_on_disk_although_the_data_directory_is_the_servers_alone(private: Path) -> None:
    """The spawner has no right to override permissions: what it needs in there it must open before it gives that up."""
    server = start_server(private / "data")
    lambda_ = client("lambda", server.url)
    code = "import os\ndef handler(event, context):\n    return open('/proc/mounts').read()\n"
    try:
        with function(lambda_, code) as name:
            mounts = json.loads(lambda_.invoke(FunctionName=name)["Payload"].read())
    finally:
        lambda_.close()
        assert server.stop() == 0, server.log.read_text()
    (tmp,) = [line.split() for line in mounts.splitlines() if line.split()[1] == "/tmp"]
    assert tmp[2] == "ext4", server.log.read_text()
