"""What sandboxes meet outside: servers of several kinds on one machine of its own (a network namespace).

    outside_server.py ADDRESS4 ADDRESS6 CERTIFICATE KEY ZONE

ZONE is JSON, name → addresses. Prints READY when all of them listen. Standard library only.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import socket
import socketserver
import ssl
import struct
import sys
import threading
from collections.abc import Callable

ECHO, SINK, RESET, HTTPS, SILENT, DNS = 8080, 8081, 8082, 8443, 8083, 53
QUESTION_AT = 12
TYPES = {1: socket.AF_INET, 28: socket.AF_INET6}


def echo(connection: socket.socket) -> None:
    """Everything back, and an end for an end."""
    while data := connection.recv(65_536):
        connection.sendall(data)
    connection.shutdown(socket.SHUT_WR)


def sink(connection: socket.socket) -> None:
    """Reads nothing until `pulled`, then all; answers how much and what it was."""
    pulled.wait()
    pulled.clear()
    digest, count = hashlib.sha256(), 0
    while data := connection.recv(65_536):
        digest.update(data)
        count += len(data)
    connection.sendall(json.dumps([count, digest.hexdigest()]).encode())


def reset(connection: socket.socket) -> None:
    """Cuts the connection once something was said."""
    connection.recv(1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def silent(connection: socket.socket) -> None:
    """Says how many of its kind are open, and stays until the other side ends."""
    with counting:
        open_now.append(1)
        connection.sendall(f"{len(open_now)}\n".encode())
    with contextlib.suppress(OSError):
        connection.recv(1)
    with counting:
        open_now.pop()


def https(connection: socket.socket) -> None:
    """One request, one small document."""
    with tls.wrap_socket(connection, server_side=True) as encrypted:
        request = b""
        while b"\r\n\r\n" not in request:
            request += encrypted.recv(4_096)
        body = json.dumps({"path": request.split()[1].decode()}).encode()
        encrypted.sendall(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s"
            % (len(body), body)
        )


def names(connection: socket.socket) -> None:
    """Questions over TCP, each with its length before it."""
    stream = connection.makefile("rb")
    while len(head := stream.read(2)) == 2:
        said = answer(stream.read(struct.unpack(">H", head)[0]))
        connection.sendall(struct.pack(">H", len(said)) + said)


def answer(question: bytes) -> bytes:
    """The records of the zone, or "no such name"."""
    labels, at = [], QUESTION_AT
    while size := question[at]:
        labels.append(question[at + 1 : at + 1 + size].decode())
        at += size + 1
    asked = struct.unpack(">H", question[at + 1 : at + 3])[0]
    addresses = zone.get(".".join(labels).lower())
    family = TYPES.get(asked)
    found = [a for a in addresses or [] if (":" in a) == (family == socket.AF_INET6)] if family else []
    records = b""
    for address in found:
        packed = socket.inet_pton(family, address)
        records += struct.pack(">HHHIH", 0xC00C, asked, 1, 60, len(packed)) + packed
    flags = 0x8180 if addresses is not None else 0x8183
    return question[:2] + struct.pack(">HHHHH", flags, 1, len(found), 0, 0) + question[QUESTION_AT : at + 5] + records


def serve(address: str, port: int, handle: Callable[[socket.socket], None]) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = socket.create_server((address, port), family=family, backlog=4_096)

    def run(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            handle(connection)

    def accept() -> None:
        while True:
            threading.Thread(target=run, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()


class Questions(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        data, sock = self.request
        sock.sendto(answer(data), self.client_address)


if __name__ == "__main__":
    four, six, certificate, key, zone_text = sys.argv[1:]
    zone: dict[str, list[str]] = json.loads(zone_text)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    pulled, counting, open_now = threading.Event(), threading.Lock(), list[int]()
    threading.stack_size(262_144)
    for where in (four, six):
        for number, handler in (
            (ECHO, echo),
            (SINK, sink),
            (RESET, reset),
            (HTTPS, https),
            (SILENT, silent),
            (DNS, names),
        ):
            serve(where, number, handler)
    udp = socketserver.ThreadingUDPServer((four, DNS), Questions)
    threading.Thread(target=udp.serve_forever, daemon=True).start()
    print("READY", flush=True)
    for _ in sys.stdin:  # each line lets the sinks read; its end is ours
        pulled.set()
