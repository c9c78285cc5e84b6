"""Bounds of the relay that take their time, with a launcher whose waits are a second; it is built with the sanitizers, too."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from inside_programs import AT_REST, OF_A_SANDBOX, answers, connections, relay_of, said, sandbox_of, until_left
from outside_world import ECHO, SILENT, Outside
from tests.contracts.sandbox_world import PYTHON, WAIT_S_MAX, World

from lambent.domain.egress import LISTED, Egress, function_layer
from lambent.launcher.build import BuildError, build

Make = Callable[..., World]
PASSING = 200
"""Two orders each: more than the kernel takes between two processes by itself, some 280."""


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no compiler called cc")
    out = tmp_path_factory.mktemp("short") / "lambent-launcher"
    try:
        return build(out, sanitize=True, compiler=[compiler, "-DSHORT_WAITS=1u"])
    except BuildError as error:
        pytest.skip(f"this machine's compiler has no sanitizers: {str(error)[:200]}")


def test_a_half_closed_connection_that_says_nothing_is_ended(world: Make, machine: Outside, short: Path) -> None:
    """One that is whole stays, however quiet: pools keep theirs for hours."""
    code = f"""
whole = dial(sys.argv[1], {SILENT}); whole.recv(9)
half = dial(sys.argv[1], 8081); half.shutdown(socket.SHUT_WR)
half.settimeout(10)
try: say("ENDED", half.recv(1))
except OSError as error: say(name(error))
whole.settimeout(1.5)
try: say(whole.recv(1))
except TimeoutError: say("STAYS")
"""
    made = world(binary=short)
    assert answers(made, code, machine.four) == ["ECONNRESET", "STAYS"]


def test_who_is_never_answered_is_given_up(world: Make, machine: Outside, short: Path) -> None:
    """The queue outside is full: no answer to the first packet, and its client has left long before."""
    program = "import socket; s = socket.create_server((%r, 8091), backlog=0); print('full', flush=True); input()"
    server = subprocess.Popen(
        ["ip", "netns", "exec", machine.namespace, PYTHON, "-c", program % machine.four],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    async def body(made: World) -> None:
        sandbox = await sandbox_of(made)
        assert await said(made, sandbox, f"say(attempt(sys.argv[1], {ECHO}))", machine.four) == ["GOT"]
        await until_left(made, AT_REST)
        late = "say(attempt(sys.argv[1], 8091, 0.2))"
        assert await said(made, sandbox, late, machine.four) == ["TimeoutError"]
        assert connections(made) == AT_REST + 1
        await until_left(made, AT_REST)

    try:
        assert server.stdout is not None
        assert server.stdout.readline() == "full\n"
        with socket.create_connection((machine.four, 8091)):
            made = world(binary=short)
            made.run(body(made))
    finally:
        server.kill()
        server.communicate()


def test_much_passes_in_small_pieces(world: Make, machine: Outside, short: Path) -> None:
    """As when the buffers of all connections together are full."""
    code = """
size, piece = 4 << 20, os.urandom(1 << 20)
s = dial(sys.argv[1], 8080)
def send():
    for _ in range(size >> 20): s.sendall(piece)
    s.shutdown(socket.SHUT_WR)
threading.Thread(target=send).start()
got = b""
while part := s.recv(1 << 18): got += part
say(got == piece * (size >> 20))
"""
    assert answers(world(binary=short), code, machine.four) == ["True"]


def test_the_oldest_learned_address_is_forgotten(world: Make, machine: Outside, short: Path) -> None:
    """There is room for two here: the third name takes the first's place until that is asked for again."""
    code = f"""
def ask(host): return socket.getaddrinfo(host, {ECHO}, socket.AF_INET, socket.SOCK_STREAM)
ask("listed.example"); say(attempt(sys.argv[1], {ECHO}, 3))
ask("host.example"); ask("metadata.example"); say(attempt(sys.argv[1], {ECHO}, 3))
ask("listed.example"); say(attempt(sys.argv[1], {ECHO}, 3))
"""
    made = world(binary=short)
    policy = Egress(made.egress.server, function_layer(LISTED, "listed.example, host.example, metadata.example"))
    assert answers(made, code, machine.four, policy=policy) == ["GOT", "EHOSTUNREACH", "GOT"]


def test_sixty_four_questions_of_a_sandbox_are_under_way(world: Make, machine: Outside) -> None:
    """More are not passed on; a name server that is silent costs no more sockets than that."""
    code = """
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.connect(("9.9.9.9", 53))
for number in range(200): u.send(struct.pack(">H", number) + b"\\1\\0\\0\\1\\0\\0\\0\\0\\0\\0\\1x\\0\\0\\1\\0\\1")
say("asked")
"""
    from tests.contracts.sandbox_world import made_world

    from lambent.domain.egress import OUTBOUND, Layer, resolvers
    from lambent.domain.egress import Outside as Settings

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.settimeout(1)
        found = Settings(resolvers=resolvers(f"127.0.0.1:{deaf.getsockname()[1]}"))
        with made_world("container", outside=found) as made:
            made.egress = Egress(Layer(OUTBOUND), Layer(OUTBOUND))
            assert answers(made, code) == ["asked"]
            count, until = 0, time.monotonic() + 10
            while time.monotonic() < until:
                try:
                    deaf.recv(512)
                except TimeoutError:
                    break
                count += 1
    assert count == 64


def test_garbage_for_questions_and_packets_is_survived(world: Make, machine: Outside, short: Path) -> None:
    """Malformed names, pointers in circles, empty and huge datagrams: the relay reads them and goes on."""
    code = """
import random
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.connect(("9.9.9.9", 53))
seed = random.randrange(1 << 32); rng = random.Random(seed); say(seed)
head = b"\\0\\1\\1\\0\\0\\1\\0\\0\\0\\0\\0\\0"
for body in (b"", b"\\xc0\\x0c", b"\\xc0\\x0c\\0\\1\\0\\1", b"\\x3f" + b"a" * 20, b"\\xff" * 500, (b"\\x3f" + b"a" * 63) * 6, b"\\4a.b\\0\\0\\0\\1\\0\\1"):
    u.send(head + body)
for _ in range(2000):
    u.send(head[:rng.randrange(13)] + rng.randbytes(rng.randrange(64)))
    u.send(head + rng.randbytes(rng.randrange(300)))
u.send(b"x" * 60000)
say(attempt(sys.argv[1], 8080))
"""
    made = world(binary=short)
    policy = Egress(made.egress.server, function_layer(LISTED, f"x.example, {machine.four}"))
    assert answers(made, code, machine.four, policy=policy)[1:] == ["GOT"]


def test_a_relay_that_stands_still_holds_up_nobody(world: Make, machine: Outside) -> None:
    """More sandboxes come and go than its queue has room for, with a way out each. When it goes on, it hears of those that
    are there, and of those only: what it holds of the others is closed."""
    made = world(disk_tmp=False)

    async def body() -> None:
        echo = "say(attempt(sys.argv[1], int(sys.argv[2])))"
        first = await sandbox_of(made)
        assert await said(made, first, echo, machine.four, ECHO) == ["GOT"]
        await until_left(made, AT_REST)
        relay = relay_of(made)
        os.kill(relay, signal.SIGSTOP)
        try:
            for _ in range(PASSING):
                await (await sandbox_of(made)).destroy()
            there = [await sandbox_of(made) for _ in range(2)]
            await first.destroy()
        finally:
            os.kill(relay, signal.SIGCONT)
        for sandbox in there:
            assert await said(made, sandbox, echo, machine.four, ECHO) == ["GOT"]

    made.run(body())
    until = time.monotonic() + 3 * WAIT_S_MAX  # it is nobody's hurry, on a busy machine
    while connections(made) != AT_REST + OF_A_SANDBOX:
        assert time.monotonic() < until, "it holds what sandboxes have left"
        time.sleep(0.01)
