"""What leaves a sandbox and what does not: real sockets inside, a real machine outside, the real kernel between.

A program prints one word a line: what it got, or the name of the error that it met.
"""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from inside_programs import AT_REST, TOOLS, answers, connections, relay_of, said, sandbox_of, until_left
from outside_world import DNS, ECHO, RESET, SILENT, Outside, ip
from tests.contracts.sandbox_world import CODE, LIMITS, PYTHON, World

from lambent.domain.egress import LISTED, NONE, OUTBOUND, Egress, Layer, function_layer, server_layer
from lambent.sandbox.port import Binding, SandboxError

Make = Callable[..., World]

# ---- the outside ----


def test_both_families_are_reached_and_an_end_travels_as_an_end(world: Make, machine: Outside) -> None:
    code = "for address in sys.argv[1:]: say(attempt(address, 8080))"
    assert answers(world(), code, machine.four, machine.six, f"::ffff:{machine.four}") == ["GOT", "GOT", "GOT"]


def test_a_connection_seems_to_be_with_whom_it_was_meant_for(world: Make, machine: Outside) -> None:
    code = "s = dial(sys.argv[1], 8080); say(*s.getpeername()); say(s.getsockname()[0])"
    assert answers(world(), code, machine.four) == [f"{machine.four} {ECHO}", "192.0.0.8"]


def test_errors_are_those_of_the_outside(world: Make, machine: Outside) -> None:
    """Blocking or not: refused, and no way to get there, as on the host itself."""
    code = """
say(attempt(sys.argv[1], 1)); say(attempt(sys.argv[2], 1)); say(attempt(sys.argv[3], 8080))
for address, port in ((sys.argv[1], 8080), (sys.argv[1], 1), (sys.argv[3], 8080)):
    s = socket.socket(); s.setblocking(False)
    say(errno.errorcode[s.connect_ex((address, port))])
    p = select.poll(); p.register(s, select.POLLOUT); p.poll(8000)
    say(errno.errorcode.get(s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), "CONNECTED"))
"""
    assert answers(world(), code, machine.four, machine.six, machine.nowhere) == [
        "ECONNREFUSED", "ECONNREFUSED", "EHOSTUNREACH",
        "EINPROGRESS", "CONNECTED", "EINPROGRESS", "ECONNREFUSED", "EINPROGRESS", "EHOSTUNREACH",
    ]  # fmt: skip


def test_who_does_not_answer_is_waited_for_and_given_up_by_the_client(world: Make, machine: Outside) -> None:
    """A full queue outside answers no first packet; the client's own time-out ends it, not we."""
    full = "import socket,time\ns=socket.socket(); s.bind((%r, 8090)); s.listen(0); print('full', flush=True); time.sleep(60)"
    server = subprocess.Popen(
        ["ip", "netns", "exec", machine.namespace, PYTHON, "-c", full % machine.four], stdout=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout is not None
        assert server.stdout.readline() == "full\n"
        with socket.create_connection((machine.four, 8090)):
            assert answers(world(), "say(attempt(sys.argv[1], 8090, 0.5))", machine.four) == ["TimeoutError"]
    finally:
        server.kill()
        server.communicate()


def test_a_reset_travels_as_a_reset(world: Make, machine: Outside) -> None:
    code = f"""
s = dial(sys.argv[1], {RESET}); s.send(b"x")
try: say(s.recv(1))
except OSError as error: say(name(error))
"""
    assert answers(world(), code, machine.four) == ["ECONNRESET"]


def test_much_goes_both_ways_at_once_and_unchanged(world: Make, machine: Outside) -> None:
    code = """
size, piece = 96 << 20, os.urandom(1 << 20)
s = dial(sys.argv[1], 8080)
def send():
    for _ in range(size >> 20): s.sendall(piece)
    s.shutdown(socket.SHUT_WR)
threading.Thread(target=send).start()
got, wanted, count = hashlib.sha256(), hashlib.sha256(), 0
while part := s.recv(1 << 18): got.update(part); count += len(part)
for _ in range(size >> 20): wanted.update(piece)
say(count == size, got.digest() == wanted.digest())
"""
    assert answers(world(), code, machine.four) == ["True True"]


def test_who_does_not_read_is_waited_for(world: Make, machine: Outside) -> None:
    """The sender is held once the buffers between are full, and loses nothing when they empty."""
    code = """
s = dial(sys.argv[1], 8081); s.setblocking(False)
piece, digest, count = b"0123456789abcdef" * 4096, hashlib.sha256(), 0
while select.select([], [s], [], 1.0)[1]:
    sent = s.send(piece); digest.update(piece[:sent]); count += sent
    if count > 256 << 20: sys.exit("nobody held it")
say("held", count)

s.setblocking(True); s.settimeout(15); s.sendall(b"more"); digest.update(b"more"); s.shutdown(socket.SHUT_WR)
got = b""
while part := s.recv(200): got += part
say(json.loads(got) == [count + 4, digest.hexdigest()])
"""

    async def body(made: World) -> str:
        started = await made.start(await sandbox_of(made), PYTHON, "-I", "-S", "-c", TOOLS + code, machine.four)
        await started.read(until=b"held")
        machine.pull()
        text = await started.read()
        assert (await started.ended).status == 0, text
        return text

    made = world()
    assert made.run(body(made)).split()[-1] == "True"


# ---- names ----


def test_names_are_answered_by_the_hosts_name_servers(world: Make, machine: Outside) -> None:
    code = """
for host in ("outside.example", "six.example", "both.example", "nobody.example"):
    try: say(*sorted({a[4][0] for a in socket.getaddrinfo(host, 80)}))
    except socket.gaierror as error: say("EAI_NONAME" if error.errno == socket.EAI_NONAME else error)
"""
    assert answers(world(), code) == [
        machine.four,
        machine.six,
        " ".join(sorted((machine.four, machine.six))),
        "EAI_NONAME",
    ]


def test_a_question_to_any_name_server_is_answered_over_udp_and_tcp(world: Make, machine: Outside) -> None:
    """And the answer comes from whom was asked, or a client would not take it."""
    code = """
question = b"\\x12\\x34\\1\\0\\0\\1\\0\\0\\0\\0\\0\\0\\7outside\\7example\\0\\0\\1\\0\\1"
for address in ("9.9.9.9", "2001:db8::53"):
    u = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    u.settimeout(5); u.connect((address, 53)); u.send(question)
    got = u.recv(512); say(got[:2].hex(), socket.inet_ntoa(got[-4:]))
    with dial(address, 53) as s:
        s.sendall(struct.pack(">H", len(question)) + question)
        got = s.recv(512); say(got[2:4].hex(), socket.inet_ntoa(got[-4:]))
"""
    assert answers(world(), code) == [f"1234 {machine.four}"] * 4


def test_other_datagrams_are_refused_at_once(world: Make, machine: Outside) -> None:
    code = """
for address in sys.argv[1:]:
    u = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    u.settimeout(5); u.connect((address, 443)); u.send(b"x")
    try: u.recv(1)
    except OSError as error: say(name(error))
"""
    assert answers(world(), code, machine.four, machine.six) == ["ECONNREFUSED"] * 2


# ---- attacks ----


@pytest.fixture
def host_port(machine: Outside) -> int:
    return ECHO


def forbidden(machine: Outside) -> list[str]:
    """Addresses that are this machine, or nobody's business; in every spelling that a socket takes."""
    mapped = [f"::ffff:{machine.host_four}", "::ffff:169.254.169.254"]
    own = [machine.host_four, machine.host_six, "169.254.169.254", "169.254.0.1", "fd00:ec2::254"]
    clouds = ["168.63.129.16", "100.100.100.200", "192.0.0.192"]
    through = ["64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::1", "::127.0.0.1", "::ffff:0:127.0.0.1"]
    return [*own, *mapped, *clouds, *through, "0.1.2.3", "192.0.0.9", "255.255.255.255", "224.0.0.1", "240.0.0.1"]


def test_what_is_closed_is_denied_in_every_form(world: Make, machine: Outside) -> None:
    """Against listeners on every address of the host, so that a way there would be seen."""
    listeners = [
        socket.create_server(("0.0.0.0", 0)),
        socket.create_server(("::", 0), family=socket.AF_INET6),
    ]
    try:
        ports = [listener.getsockname()[1] for listener in listeners]
        code = "for a in sys.argv[3:]:\n for port in sys.argv[1:3]: say(a, attempt(a, int(port), 3))"
        lines = answers(world(), code, *ports, *forbidden(machine))
        denied = {"EHOSTUNREACH", "EACCES", "ENETUNREACH"}
        assert [line for line in lines if line.split()[1] not in denied] == []
        assert len(lines) == 2 * len(forbidden(machine))
        for listener in listeners:
            listener.setblocking(False)
            with pytest.raises(BlockingIOError):
                listener.accept()
    finally:
        for listener in listeners:
            listener.close()


def test_every_address_of_the_host_is_closed(world: Make, machine: Outside) -> None:
    """Those that it has now, on whichever interface, and one that it gets while the sandbox runs."""
    shown = subprocess.run(["ip", "-o", "addr"], capture_output=True, text=True, check=True).stdout
    own = [line.split()[3].split("/")[0] for line in shown.splitlines()]
    own = [address for address in own if not address.startswith(("127.", "fe80", "::1"))]
    new = machine.host_four.rpartition(".")[0] + ".253"

    async def body(made: World) -> list[str]:
        sandbox = await sandbox_of(made)
        code = "for a in sys.argv[2:]: say(attempt(a, int(sys.argv[1]), 3))"
        first = await said(made, sandbox, code, port, *own)
        ip("addr", "add", f"{new}/32", "dev", machine.link)
        return first + await said(made, sandbox, code, port, new)

    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as listener:
        port = listener.getsockname()[1]
        made = world()
        try:
            met = made.run(body(made))
        finally:
            ip("addr", "del", f"{new}/32", "dev", machine.link)
    assert len(met) == len(own) + 1
    assert set(met) <= {"EHOSTUNREACH", "EACCES"}


def test_the_sandboxs_loopback_is_its_own(world: Make, machine: Outside) -> None:
    """Every spelling of loopback ends inside: neither the host nor another sandbox answers there."""
    code = "for a in ('127.0.0.1', '127.9.9.9', '::1', '::ffff:127.0.0.1', '0.0.0.0', '::', '192.0.0.8'): say(attempt(a, int(sys.argv[1]), 3))"

    async def body(made: World) -> list[str]:
        other = await sandbox_of(made)
        listening = "import socket; s = socket.create_server(('0.0.0.0', 4444)); print('there', flush=True); s.accept()"
        started = await made.start(other, PYTHON, "-I", "-S", "-c", listening)
        await started.read(until=b"there")
        mine = await sandbox_of(made)
        found = await said(made, mine, code, port) + await said(made, mine, code, 4444)
        os.close(started.log)
        return found

    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as listener:
        port = listener.getsockname()[1]
        made = world()
        assert made.run(body(made)) == ["ECONNREFUSED"] * 14


def test_connections_within_a_sandbox_are_left_alone(world: Make, machine: Outside) -> None:
    """The relay sees their first packets; a refusal from it would reach whoever is connecting, or has just connected."""
    code = """
def refusals():
    names, values = ([line.split() for line in open("/proc/net/snmp") if line.startswith("Icmp:")])
    return int(values[names.index("InDestUnreachs")])
with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True, backlog=64) as server:
    port, before, odd = server.getsockname()[1], refusals(), 0
    for host in ("127.0.0.1", "127.9.9.9", "192.0.0.8", "::1") * 10:
        with socket.create_connection((host, port)) as s:
            poll = select.poll(); poll.register(s, select.POLLOUT)
            odd += poll.poll(0) != [(s.fileno(), select.POLLOUT)]
    closed = [attempt(host, 1, 3) for host in ("127.0.0.1", "192.0.0.8", "::1")]
    outside = attempt("240.0.0.1", port, 3) # after it: what came before has been read
say(odd, refusals() - before, outside, *closed)
"""
    assert answers(world(), code) == ["0 1 EHOSTUNREACH ECONNREFUSED ECONNREFUSED ECONNREFUSED"]


def test_names_that_point_to_closed_addresses_open_nothing(world: Make, machine: Outside) -> None:
    code = """
for host in ("metadata", "host", "loopback", "mapped", "zero"):
    found = socket.getaddrinfo(host + ".example", 8080, type=socket.SOCK_STREAM)
    say(*sorted({attempt(a[4][0], 8080, 3) for a in found}))
"""
    lines = answers(world(), code)
    assert {word for line in lines for word in line.split()} <= {"EHOSTUNREACH", "EACCES", "ECONNREFUSED"}
    assert len(lines) == 5


def test_packets_cannot_be_made_by_hand(world: Make, machine: Outside) -> None:
    code = """
def of(family, kind, protocol):
    try: socket.socket(family, kind, protocol).close(); return "GOT"
    except OSError as error: return name(error)
say(of(socket.AF_INET, socket.SOCK_RAW, 6), of(socket.AF_INET6, socket.SOCK_RAW, 58), of(17, socket.SOCK_RAW, 0x300),
    of(17, socket.SOCK_DGRAM, 0x300), of(socket.AF_INET, socket.SOCK_DGRAM, 1))
s = socket.socket()
for level, option, value in ((socket.SOL_SOCKET, 36, 0x1a3bda01), (0, 19, 1), (socket.SOL_SOCKET, 25, b"lo\\0")):
    try: s.setsockopt(level, option, value); say("GOT" if option != 25 else "HARMLESS")
    except OSError as error: say(name(error))
"""
    first, *rest = answers(world(), code)
    assert set(first.split()) <= {"EPERM", "EACCES"}
    assert rest[:2] == ["EPERM", "EPERM"]


def test_who_calls_the_gate_itself_is_cut_off(world: Make, machine: Outside) -> None:
    code = "for a in ('127.0.0.1', '::1', '192.0.0.8'):\n r = attempt(a, 9002, 3); say(r)"
    # Which of these: whether the end comes before, within or after the first word.
    assert set(answers(world(), code)) <= {"ECONNRESET", "EPIPE", "ENOTCONN"}


def test_a_flood_is_bounded_and_others_are_served(world: Make, machine: Outside) -> None:
    """One sandbox takes all that it may have; what is over it is refused, and another sandbox notices nothing."""
    code = f"""
import resource
held, words = [], set()
def one(): # a few processes: a function's own descriptors end before the platform's connections
    s = []
    for _ in range(400):
        try: s.append(dial(sys.argv[1], {SILENT}, 20))
        except OSError as error: words.add(name(error)); break
    return s
pids = []
for _ in range(3):
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        s = one(); os.write(w, json.dumps([len(s), sorted(words)]).encode()); os.close(w)
        time.sleep(60); os._exit(0)
    os.close(w); pids.append((pid, r))
got = [json.loads(os.read(r, 200)) for _, r in pids]
say(sum(n for n, _ in got), *sorted({{w for _, ws in got for w in ws}}))
time.sleep(60)
"""

    async def body(made: World) -> tuple[str, list[str]]:
        flooding = await sandbox_of(made)
        started = await made.start(flooding, PYTHON, "-I", "-S", "-c", TOOLS + code, machine.four)
        text = await started.read(until=b"\n")
        other = await said(made, await sandbox_of(made), "say(attempt(sys.argv[1], 8080))", machine.four)
        await flooding.destroy()
        os.close(started.log)
        return text, other

    made = world()
    text, other = made.run(body(made))
    assert text.split() == ["1024", "EHOSTUNREACH"]
    assert other == ["GOT"]


@pytest.mark.parametrize("tier", ["container"])  # of another user's process the limit can't be set
def test_all_sandboxes_together_are_bounded_and_the_next_connection_waits(world: Make, machine: Outside) -> None:
    """With few descriptors there is room for few: who comes then waits until somebody leaves, and is served."""
    code = f"""
held = []
try:
    while True: held.append(dial(sys.argv[1], {SILENT}, 2))
except TimeoutError: say(len(held))
del held[:]
say(attempt(sys.argv[1], 8080, 8))
"""
    made = world()
    assert made.spawner is not None
    resource.prlimit(made.spawner.process.pid, resource.RLIMIT_NOFILE, (160, 160))
    assert answers(made, code, machine.four) == ["40", "GOT"]


# ---- policies ----


def test_none_reaches_the_platform_alone(world: Make, machine: Outside) -> None:
    code = """
say(attempt(sys.argv[1], 8080, 3)); say(attempt(sys.argv[2], 8080, 3))
try: socket.getaddrinfo("outside.example", 80); say("GOT")
except socket.gaierror: say("EAI")
say("REACHED" if dial("127.0.0.1", 9001) else "")
"""
    made = world()
    by_function = answers(made, code, machine.four, machine.six, policy=Egress(made.egress.server, Layer(NONE)))
    assert by_function == ["EHOSTUNREACH", "EACCES", "EAI", "REACHED"]
    assert answers(world(NONE), code, machine.four, machine.six) == ["ENETUNREACH", "ENETUNREACH", "EAI", "REACHED"]


def test_who_is_bound_without_a_policy_reaches_nothing(world: Make, machine: Outside) -> None:
    async def body(made: World) -> list[str]:
        return await said(made, await made.bound(), "say(attempt(sys.argv[1], 8080, 3))", machine.four)

    made = world()
    assert made.run(body(made)) == ["EHOSTUNREACH"]


def test_a_list_opens_what_it_lists_and_nothing_else(world: Make, machine: Outside) -> None:
    code = f"for a in sys.argv[1:]:\n for port in ({ECHO}, {RESET}): say(attempt(a, port, 3))"
    policy = function_layer(LISTED, f"{machine.four}/32:{ECHO}")
    made = world()
    denied4, denied6 = "EHOSTUNREACH", "EACCES"
    expected = ["GOT", denied4, denied6, denied6]
    assert answers(made, code, machine.four, machine.six, policy=Egress(made.egress.server, policy)) == expected
    made = world(LISTED, f"{machine.four}:{ECHO}")
    assert answers(made, code, machine.four, machine.six) == expected


def test_a_list_of_names_opens_what_they_are_answered_with(world: Make, machine: Outside) -> None:
    """Before the name was asked for, its address is closed; other names are not even answered."""
    code = """
def ask(host):
    try: return socket.getaddrinfo(host, 8080, socket.AF_INET, socket.SOCK_STREAM)[0][4][0]
    except socket.gaierror: return "REFUSED"
say(attempt(sys.argv[1], 8080, 3)); say(ask("outside.example"))
say(ask("LISTED.example") == sys.argv[1]); say(attempt(sys.argv[1], 8080, 3)); say(attempt(sys.argv[1], 8082, 3))
say(ask("deep.below.example") == sys.argv[1]); say(ask("below.example")); say(ask("host.example") != "REFUSED")
say(attempt(ask("host.example"), 8080, 3))
"""
    policy = function_layer(LISTED, "listed.example:8080, *.below.example:1, host.example")
    made = world()
    with socket.create_server((machine.host_four, ECHO)):
        lines = answers(made, code, machine.four, policy=Egress(made.egress.server, policy))
    assert lines == [
        "EHOSTUNREACH",
        "REFUSED",
        "True",
        "GOT",
        "EHOSTUNREACH",
        "True",
        "REFUSED",
        "True",
        "EHOSTUNREACH",
    ]


def test_a_function_narrows_and_never_widens(world: Make, machine: Outside) -> None:
    code = f"say(attempt(sys.argv[1], {ECHO}, 3)); say(attempt(sys.argv[1], {RESET}, 3)); say(attempt(sys.argv[2], {ECHO}, 3))"
    made = world(LISTED, f"{machine.four}:{ECHO}")
    wide = Egress(made.egress.server, function_layer(LISTED, "0.0.0.0/0, ::/0"))
    assert answers(made, code, machine.four, machine.host_four, policy=wide) == ["GOT", "EHOSTUNREACH", "EHOSTUNREACH"]
    made = world()
    wide = Egress(made.egress.server, function_layer(LISTED, f"{machine.host_four}, 169.254.169.254"))
    assert answers(made, code, machine.four, machine.host_four, policy=wide) == ["EHOSTUNREACH"] * 3


def test_a_port_of_the_hosts_loopback_is_opened_by_the_server_alone(world: Make, machine: Outside) -> None:
    """Under the address that it has on the host; its neighbours stay the sandbox's own."""
    with socket.create_server(("127.0.0.1", 0)) as opened, socket.create_server(("127.0.0.1", 0)) as closed:

        def echo() -> None:
            with opened.accept()[0] as connection:
                while data := connection.recv(64):
                    connection.sendall(data)

        thread = threading.Thread(target=echo)
        thread.start()
        ports = [listener.getsockname()[1] for listener in (opened, closed)]
        made = world(OUTBOUND, f"127.0.0.1:{ports[0]}")
        lines = answers(made, "for port in sys.argv[1:]: say(attempt('127.0.0.1', int(port), 3))", *ports)
        thread.join()
    assert lines == ["GOT", "ECONNREFUSED"]


def test_an_address_of_the_host_is_opened_by_naming_it(world: Make, machine: Outside) -> None:
    with socket.create_server((machine.host_four, 0)) as opened:

        def echo() -> None:
            with opened.accept()[0] as connection:
                while data := connection.recv(64):
                    connection.sendall(data)

        thread = threading.Thread(target=echo)
        thread.start()
        port = opened.getsockname()[1]
        made = world(OUTBOUND, f"{machine.host_four}:{port}")
        code = "say(attempt(sys.argv[1], int(sys.argv[2]), 3)); say(attempt(sys.argv[1], int(sys.argv[2]) + 1, 3))"
        lines = answers(made, code, machine.host_four, port)
        thread.join()
        wide = server_layer(LISTED, f"{machine.host_four.rpartition('.')[0]}.0/24")
        made = world(LISTED, f"{machine.host_four.rpartition('.')[0]}.0/24")
        covered = answers(made, code, machine.host_four, port, policy=Egress(wide, Layer(OUTBOUND)))
    assert lines == ["GOT", "EHOSTUNREACH"]
    assert covered == ["EHOSTUNREACH"] * 2, "a block does not open this machine within it"


# ---- the relay ----


def test_the_relay_has_no_privilege(world: Make, machine: Outside) -> None:
    made = world()
    made.run(sandbox_of(made))
    status = dict(
        line.split(":\t", 1)
        for line in Path(f"/proc/{relay_of(made)}/status").read_text().splitlines()
        if ":\t" in line
    )
    assert int(status["CapPrm"], 16) == int(status["CapEff"], 16) == 0
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    assert 0 not in map(int, status["Uid"].split())
    assert status["Groups"].strip() in ("", "65534")


def test_a_sandboxs_connections_end_with_it(world: Make, machine: Outside) -> None:
    """The other side hears it, and the relay keeps nothing."""

    async def body(made: World) -> None:
        kept = await sandbox_of(made)
        await said(made, kept, "say(attempt(sys.argv[1], 8080))", machine.four)
        await until_left(made, AT_REST)
        sandbox = await sandbox_of(made)
        code = (
            f"s = [dial(sys.argv[1], {SILENT}) for _ in range(20)]; [c.recv(9) for c in s]; say('open'); time.sleep(60)"
        )
        started = await made.start(sandbox, PYTHON, "-I", "-S", "-c", TOOLS + code, machine.four)
        await started.read(until=b"open")
        assert connections(made) == AT_REST + 3 + 40
        await sandbox.destroy()
        os.close(started.log)
        await until_left(made, AT_REST)

    made = world()
    made.run(body(made))


def test_when_the_relay_is_killed_its_sandboxes_end_and_new_ones_work(world: Make, machine: Outside) -> None:
    async def body(made: World) -> None:
        sandbox = await sandbox_of(made)
        started = await made.start(sandbox, "/bin/sleep", "60")
        os.kill(relay_of(made), signal.SIGKILL)
        assert (await started.ended).signal == signal.SIGKILL
        os.close(started.log)
        assert await said(made, await sandbox_of(made), "say(attempt(sys.argv[1], 8080))", machine.four) == ["GOT"]

    made = world()
    made.run(body(made))


def test_a_policy_that_is_none_is_refused_by_silence(world: Make, machine: Outside) -> None:
    """What the server writes is as hostile as the server: the relay takes no malformed policy, and goes on."""

    async def body(made: World) -> list[str]:
        from lambent.sandbox import wire

        for bad in (b"", b"\x09" * 16, wire.policy(made.egress)[:8], b"\1\0\0\0\1\0\0\0\xff\xff\0\0\0\0\0\0"):
            sandbox = await made.blank()
            fd = wire.memory_file(bad or b"\0")
            try:
                await made.driver.call(
                    wire.BIND, sandbox.number, limits=LIMITS, task=CODE, flags=wire.HAS_EGRESS, fds=[fd]
                )
            finally:
                os.close(fd)
            assert await said(made, sandbox, "say(attempt(sys.argv[1], 8080, 0.3))", machine.four) == ["TimeoutError"]
        with pytest.raises(SandboxError):
            await made.driver.call(wire.BIND, (await made.blank()).number, limits=LIMITS, flags=wire.HAS_EGRESS)
        return await said(made, await sandbox_of(made), "say(attempt(sys.argv[1], 8080))", machine.four)

    made = world()
    assert made.run(body(made)) == ["GOT"]


def test_other_limits_do_not_matter_to_it(world: Make, machine: Outside) -> None:
    """A sandbox with a /tmp of its own size is bound later, by another path."""

    async def body(made: World) -> list[str]:
        limits = replace(LIMITS, tmp_mb=600)
        sandbox = await made.blank()
        await sandbox.bind(Binding(CODE, None, limits, egress=made.egress))
        return await said(made, sandbox, "say(attempt(sys.argv[1], 8080))", machine.four)

    made = world()
    assert made.run(body(made)) == ["GOT"]


def test_names_are_asked_of_the_next_server_when_one_is_silent(machine: Outside, tier: str) -> None:
    from tests.contracts.sandbox_world import made_world

    from lambent.domain.egress import Outside as Settings
    from lambent.domain.egress import resolvers

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as deaf:
        deaf.bind(("127.0.0.1", 0))
        listed = resolvers(f"127.0.0.1:1, 127.0.0.1:{deaf.getsockname()[1]}, {machine.four}:{DNS}")
        with made_world(tier, outside=Settings(resolvers=listed)) as made:
            made.egress = Egress(Layer(OUTBOUND), Layer(OUTBOUND))
            code = "say(socket.getaddrinfo('outside.example', 80, socket.AF_INET)[0][4][0])"
            assert answers(made, code) == [machine.four]
