"""Who stands at the other end of a connection on this machine's loopback: asked of the kernel, which cannot be told lies.

A socket belongs to the user who made it, and a connection's two ends name each other. The answer comes from the kernel's
socket diagnosis (one exact look, about 10 us), or, where that is not built in, from /proc/net/tcp.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from pathlib import Path

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_NLM_F_REQUEST = 1
_NO_COOKIE = b"\xff" * 8
_ANY_STATE = 0xFFFF_FFFF
_LISTEN = 10
_HEADER = struct.Struct("=IHHII")
_ASKED = struct.Struct("=BBBxI")
_ENDS = struct.Struct("!HH16s16s")
_STATE_AT = _HEADER.size + 1
_USER_AT = _HEADER.size + 4 + 48 + 12
_ANSWER_BYTES = 4_096


class Peers:
    """Looks connections up; one socket for all."""

    def __init__(self) -> None:
        self._diagnosis: socket.socket | None = None
        with contextlib.suppress(OSError):
            self._diagnosis = socket.socket(
                socket.AF_NETLINK, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, _NETLINK_SOCK_DIAG
            )
        self._serial = 0

    def owner(self, peer: tuple[str, int], own: tuple[str, int]) -> int | None:
        """User id of the socket at `peer` that is connected to `own`; None: there is none any more.

        Both are IPv4 addresses and ports of this machine.
        """
        if self._diagnosis is not None:
            try:
                return self._ask(self._diagnosis, peer, own)
            except OSError:
                self._diagnosis.close()
                self._diagnosis = None
        return _listed(Path("/proc/net/tcp"), peer, own)

    def close(self) -> None:
        """Give the socket back."""
        if self._diagnosis is not None:
            self._diagnosis.close()
            self._diagnosis = None

    def _ask(self, diagnosis: socket.socket, peer: tuple[str, int], own: tuple[str, int]) -> int | None:
        self._serial += 1
        body = _ASKED.pack(socket.AF_INET, socket.IPPROTO_TCP, 0, _ANY_STATE)
        body += _ENDS.pack(peer[1], own[1], socket.inet_aton(peer[0]), socket.inet_aton(own[0]))
        body += struct.pack("=I", 0) + _NO_COOKIE
        diagnosis.send(
            _HEADER.pack(_HEADER.size + len(body), _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST, self._serial, 0) + body
        )
        while True:
            answer = diagnosis.recv(_ANSWER_BYTES)
            _, kind, _, serial, _ = _HEADER.unpack_from(answer)
            if serial == self._serial:
                break
        if kind == _SOCK_DIAG_BY_FAMILY:
            (user,) = struct.unpack_from("=I", answer, _USER_AT)
            return user if answer[_STATE_AT] != _LISTEN else None
        (error,) = struct.unpack_from("=i", answer, _HEADER.size)
        if error == -2:  # ENOENT: there is no such connection, or no such diagnosis; the list knows
            return _listed(Path("/proc/net/tcp"), peer, own)
        raise OSError(-error, os.strerror(-error))


def _listed(path: Path, peer: tuple[str, int], own: tuple[str, int]) -> int | None:
    """The same from the text of /proc/net/tcp."""
    ends = f" {_hexadecimal(peer)} {_hexadecimal(own)} "
    for line in path.read_text().splitlines():
        if ends in line:
            return int(line.split()[7])
    return None


def _hexadecimal(end: tuple[str, int]) -> str:
    (address,) = struct.unpack("=I", socket.inet_aton(end[0]))
    return f"{address:08X}:{end[1]:04X}"
