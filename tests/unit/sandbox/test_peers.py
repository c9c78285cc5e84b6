"""Whose a connection is, from the kernel's diagnosis and from its list."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from lambent.sandbox.peers import Peers, _listed

LIST = """  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0
   1: 0100007F:1F90 0100007F:C350 01 00000000:00000000 00:00000000 00000000   990        0 2 1 0 20 4 0 10 -1
   2: 0100007F:C350 0100007F:1F90 01 00000000:00000000 00:00000000 00000000 20001        0 3 1 0 20 4 0 10 -1
"""


@pytest.fixture
def peers() -> Iterator[Peers]:
    made = Peers()
    yield made
    made.close()


def connected() -> tuple[socket.socket, socket.socket, socket.socket]:
    listener = socket.create_server(("127.0.0.1", 0))
    ours = socket.create_connection(listener.getsockname())
    return listener, ours, listener.accept()[0]


def test_the_owner_of_a_connection_is_found(peers: Peers) -> None:
    listener, ours, theirs = connected()
    with listener, ours, theirs:
        assert peers.owner(ours.getsockname(), listener.getsockname()) == os.getuid()
        assert peers.owner(ours.getsockname(), listener.getsockname()) == os.getuid()


def test_without_the_diagnosis_the_list_is_read(peers: Peers) -> None:
    peers.close()
    listener, ours, theirs = connected()
    with listener, ours, theirs:
        assert peers.owner(ours.getsockname(), listener.getsockname()) == os.getuid()


def test_a_connection_that_is_not_there_is_nobodys(peers: Peers) -> None:
    """Nor does a listener on the peer's port answer for it."""
    listener, ours, theirs = connected()
    with listener, ours, theirs:
        own = listener.getsockname()
        other = socket.create_server(("127.0.0.1", 0))
        with other:
            assert peers.owner(other.getsockname(), own) is None
            assert peers.owner(ours.getsockname(), other.getsockname()) is None


def test_the_right_line_of_the_list_is_taken(tmp_path: Path) -> None:
    """The other end's line names the same two, the other way round; it is the server's own."""
    listed = tmp_path / "tcp"
    listed.write_text(LIST)
    assert _listed(listed, ("127.0.0.1", 0xC350), ("127.0.0.1", 0x1F90)) == 20_001
    assert _listed(listed, ("127.0.0.1", 0xC351), ("127.0.0.1", 0x1F90)) is None
