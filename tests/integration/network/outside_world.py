"""A machine outside: a network namespace behind a veth pair, with servers in it. Nothing of it reaches further.

The host's own addresses are closed to sandboxes, so a server that they may reach must stand on an address of somebody
else. Everything is made by root and removed at the end of the block.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from outside_server import DNS, ECHO, HTTPS, RESET, SILENT, SINK

HERE = Path(__file__).parent
SYSTEM_PYTHON = "/usr/bin/python3"
WAIT_S_MAX = 20.0
POSTGRES_PORT = 5432


@dataclass(frozen=True)
class Outside:
    """The machine: its addresses, the host's on the same link, and its certificate, which signs itself."""

    namespace: str
    link: str
    four: str
    six: str
    host_four: str
    host_six: str
    nowhere: str
    """An address that the host has no way to."""
    certificate: str
    place: Path
    server: subprocess.Popen[str]

    def pull(self) -> None:
        """Let the sinks read."""
        assert self.server.stdin is not None
        self.server.stdin.write("\n")
        self.server.stdin.flush()


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


def zone(four: str, six: str, host_four: str) -> dict[str, list[str]]:
    """Names that the outside's name server knows; some of them are traps."""
    return {
        "outside.example": [four],
        "both.example": [four, six],
        "six.example": [six],
        "secure.example": [four],
        "listed.example": [four],
        "deep.below.example": [four],
        "loopback.example": ["127.0.0.1", "::1"],
        "metadata.example": ["169.254.169.254"],
        "host.example": [host_four],
        "mapped.example": ["::ffff:127.0.0.1"],
        "zero.example": ["0.0.0.0"],
    }


@contextmanager
def outside() -> Iterator[Outside]:
    """The machine for the length of the block; skips, with the reason, where it can't be made."""
    if os.geteuid() != 0 or shutil.which("ip") is None or shutil.which("openssl") is None:
        pytest.skip("a network namespace is made by root with iproute2, its certificate with openssl")
    number = os.getpid() % 60 + 1
    name = f"lambent-{os.getpid()}"
    link = f"lmb{os.getpid() % 10_000_000}"
    nowhere, six_net = f"203.0.113.{number}", f"2001:db8:1a3b:{os.getpid() % 65_536:x}::"
    base = number * 4
    host_four, four = f"198.51.100.{base + 1}", f"198.51.100.{base + 2}"
    host_six, six = f"{six_net}1", f"{six_net}2"
    place = Path(tempfile.mkdtemp(prefix="lambent-outside-"))
    place.chmod(0o755)
    server = None
    try:
        ip("netns", "add", name)
        ip("link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", name)
        ip("addr", "add", f"{host_four}/30", "dev", link)
        ip("-6", "addr", "add", f"{host_six}/64", "dev", link, "nodad")
        ip("link", "set", link, "up")
        ip("-n", name, "addr", "add", f"{four}/30", "dev", "eth0")
        ip("-n", name, "-6", "addr", "add", f"{six}/64", "dev", "eth0", "nodad")
        ip("-n", name, "link", "set", "eth0", "up")
        ip("-n", name, "link", "set", "lo", "up")
        ip("route", "add", "unreachable", f"{nowhere}/32")
        certificate, key = place / "certificate.pem", place / "key.pem"
        _certify(certificate, key, four)
        server = subprocess.Popen(
            [
                "ip",
                "netns",
                "exec",
                name,
                SYSTEM_PYTHON,
                str(HERE / "outside_server.py"),
                four,
                six,
                str(certificate),
                str(key),
                json.dumps(zone(four, six, host_four)),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert server.stdout is not None
        assert server.stdout.readline() == "READY\n"
        yield Outside(name, link, four, six, host_four, host_six, nowhere, certificate.read_text(), place, server)
    finally:
        if server is not None:
            server.kill()
            server.communicate()
        with suppress(subprocess.CalledProcessError):
            ip("route", "del", "unreachable", f"{nowhere}/32")
        with suppress(subprocess.CalledProcessError):
            ip("link", "del", link)
        with suppress(subprocess.CalledProcessError):
            ip("netns", "del", name)
        shutil.rmtree(place)


def _certify(certificate: Path, key: Path, address: str) -> None:
    names = f"subjectAltName=DNS:secure.example,IP:{address}"
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=secure.example",
            "-addext",
            names,
            "-keyout",
            str(key),
            "-out",
            str(certificate),
        ],
        check=True,
        capture_output=True,
    )


def postgres_programs() -> Path | None:
    """Where Debian puts a PostgreSQL server's programs."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    return found[-1].parent if found else None


@contextmanager
def postgres(machine: Outside) -> Iterator[str]:
    """A PostgreSQL server on the machine; answers its psql, which sandboxes have too."""
    programs = postgres_programs()
    if programs is None:
        pytest.skip("there is no PostgreSQL server on this machine (apt-get install postgresql)")
    data = machine.place / "postgres"
    data.mkdir()
    shutil.chown(data, "nobody", "nogroup")
    nobody = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
    initdb = [*nobody, str(programs / "initdb"), "-D", f"{data}/data", "-A", "trust", "-U", "postgres", "--no-sync"]
    subprocess.run(initdb, check=True, capture_output=True, cwd="/")
    with (data / "data" / "pg_hba.conf").open("a") as rules:
        rules.write("host all all all trust\n")
    server = subprocess.Popen(
        [
            "ip",
            "netns",
            "exec",
            machine.namespace,
            *nobody,
            str(programs / "postgres"),
            "-D",
            f"{data}/data",
            "-c",
            f"listen_addresses={machine.four}",
            "-c",
            "fsync=off",
            "-p",
            str(POSTGRES_PORT),
            "-k",
            str(data),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
    )
    try:
        until = time.monotonic() + WAIT_S_MAX
        while subprocess.run([str(programs / "pg_isready"), "-h", str(data)], capture_output=True).returncode != 0:
            assert time.monotonic() < until, "PostgreSQL does not get ready"
            time.sleep(0.05)  # pg_isready is how one asks
        yield str(programs / "psql")
    finally:
        server.terminate()
        server.wait()


__all__ = ["DNS", "ECHO", "HTTPS", "POSTGRES_PORT", "RESET", "SILENT", "SINK", "Outside", "ip", "outside", "postgres"]
