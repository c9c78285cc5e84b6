"""What every sandbox driver promises; see `lambent/sandbox/port.py`. Nothing is simulated: real programs, real kernel."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import socket
from collections.abc import Iterator
from dataclasses import replace

import pytest
import uvloop
from tests.contracts.sandbox_world import CODE, KINDS, LAYERS, LIMITS, PYTHON, ForkedWorld, World, lines, made_world

from lambent.sandbox.port import Binding, Command, Exit, SandboxError

LOOPS = {"uvloop": uvloop.new_event_loop, "asyncio": asyncio.new_event_loop}
"""The product runs on uvloop where it is installed; the drivers must not need it."""


@pytest.fixture(params=[*((kind, loop) for kind in KINDS for loop in LOOPS), ("forked", "uvloop")], ids="-".join)
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    kind, loop = request.param
    with made_world(kind, new_loop=LOOPS[loop]) as made:
        yield made


def test_a_program_runs_with_its_arguments_environment_and_directory(world: World) -> None:
    async def body() -> None:
        sandbox = await world.bound()
        ended, text = await world.output(
            sandbox,
            "/bin/sh",
            "-c",
            'echo "$1 $COLOUR"; cat code.txt; exit 3',
            "sh",
            "an argument",
            env={"COLOUR": "blue"},
        )
        assert ended == Exit(3, None, False)
        assert lines(text) == ["an argument blue", "the code"]

    world.run(body())


def test_nothing_of_the_hosts_environment_is_added(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOST_SECRET", "hush")

    async def body() -> None:
        _, text = await world.output(await world.bound(), "/usr/bin/env", env={"ONLY": "this"})
        names = {line.split("=")[0] for line in lines(text)}
        assert names - {"TMPDIR"} == {"PATH", "ONLY"}

    world.run(body())


def test_a_signal_is_reported_as_such(world: World) -> None:
    async def body() -> None:
        ended, _ = await world.python(await world.bound(), "import os; os.kill(os.getpid(), 11)")
        assert ended == Exit(None, signal.SIGSEGV, False)

    world.run(body())


def test_a_failed_exec_is_an_exit_with_its_errno(world: World) -> None:
    if isinstance(world, ForkedWorld):
        pytest.skip("a copy is not executed")

    async def body() -> None:
        ended, _ = await world.output(await world.bound(), "/no/such/program")
        assert ended.error == errno.ENOENT

    world.run(body())


def test_exit_codes_of_what_a_program_starts_are_true(world: World) -> None:
    """An ignored SIGCHLD would be inherited and make every one of them 0."""

    async def body() -> None:
        code = "import subprocess; print([subprocess.run(c).returncode for c in (['true'], ['false'])])"
        _, text = await world.python(await world.bound(), code)
        assert text.strip() == "[0, 1]"

    world.run(body())


def test_the_channel_reaches_the_program_and_closes_with_it(world: World) -> None:
    async def body() -> None:
        sandbox = await world.bound()
        ours, theirs = socket.socketpair()
        with ours:
            ours.setblocking(False)
            code = "import os; n = int(os.environ['_LAMBENT_CHANNEL']); os.write(n, os.read(n, 64).upper())"
            started = await world.start(
                sandbox, PYTHON, "-I", "-S", "-c", code, channel=theirs, env={"_LAMBENT_CHANNEL": "3"}
            )
            assert theirs.fileno() == -1
            loop = asyncio.get_running_loop()
            await loop.sock_sendall(ours, b"hello")
            assert await loop.sock_recv(ours, 64) == b"HELLO"
            assert await loop.sock_recv(ours, 64) == b""
        assert (await started.ended).status == 0
        assert await started.read() == ""

    world.run(body())


def test_the_channel_is_closed_when_the_start_fails(world: World) -> None:
    async def body() -> None:
        sandbox = await world.bound()
        ours, theirs = socket.socketpair()
        with ours:
            ended, _ = await world.output(sandbox, "/no/such/program", channel=theirs)
            assert ended.error == errno.ENOENT
            assert theirs.fileno() == -1
            assert ours.recv(1) == b""

    world.run(body())


def test_layers_are_mounted_at_opt(world: World) -> None:
    async def body() -> None:
        _, text = await world.output(await world.bound(opt=LAYERS), "/bin/cat", "/opt/layer.txt")
        assert text == "a layer\n"

    world.run(body())


def test_code_and_limits_come_under_a_program_that_waits_for_them(world: World) -> None:
    if not world.driver.binds_running:
        pytest.skip(f"the {world.kind} driver binds before it starts, on this machine")
    code = (
        "import os, sys; before = os.path.exists('/var/task/code.txt'); print('waits', flush=True); sys.stdin.readline();"
        "os.chdir('/var/task'); print(before, open('code.txt').read().strip(), flush=True); b = bytearray(96 << 20)"
    )

    async def body() -> None:
        sandbox = await world.blank()
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with ours:
            code_over_channel = code.replace("sys.stdin.readline()", "os.read(3, 9)")
            started = await world.start(sandbox, PYTHON, "-I", "-S", "-c", code_over_channel, cwd="/", channel=theirs)
            await started.read(until=b"waits")
            await sandbox.bind(Binding(CODE, None, replace(LIMITS, memory_mb=48)))
            ours.send(b"go")
            text = await started.read()
        assert text.strip() == "False the code"
        assert (await started.ended).out_of_memory, "the limit that came later holds"

    world.run(body())


def test_an_unknown_package_or_image_is_refused(world: World) -> None:
    async def body() -> None:
        sandbox = await world.blank()
        with pytest.raises(SandboxError):
            await sandbox.bind(Binding("0" * 64, None, LIMITS))
        with pytest.raises(SandboxError):
            await world.driver.create("no-such-image", LIMITS)
        await sandbox.destroy()

    world.run(body())


def test_reset_ends_everyone_and_keeps_tmp(world: World) -> None:
    async def body() -> None:
        sandbox = await world.bound()
        script = 'echo kept > "${TMPDIR:-/tmp}/file"; (sleep 60 &); sleep 60 & echo ready; wait'
        started = await world.start(sandbox, "/bin/sh", "-c", script)
        await started.read(until=b"ready")
        await sandbox.reset()
        assert (await started.ended).signal == signal.SIGKILL
        assert await started.read() == ""  # nobody holds the pipe any more
        ended, text = await world.output(sandbox, "/bin/sh", "-c", 'cat "${TMPDIR:-/tmp}/file"')
        assert (ended.status, text) == (0, "kept\n")

    world.run(body())


def test_the_listener_is_reached_from_inside(world: World) -> None:
    async def body() -> None:
        sandbox = await world.bound()
        host, port = sandbox.api_address.split(":")
        code = (
            "import socket, sys; s = socket.create_connection((sys.argv[1], int(sys.argv[2])));"
            "s.sendall(b'hi'); print(s.recv(9))"
        )
        started = await world.start(sandbox, PYTHON, "-I", "-S", "-c", code, host, port)
        loop = asyncio.get_running_loop()
        connection, _ = await loop.sock_accept(sandbox.listener)
        with connection:
            connection.setblocking(False)
            assert await loop.sock_recv(connection, 9) == b"hi"
            await loop.sock_sendall(connection, b"you")
        assert await started.read() == "b'you'\n"
        assert (await started.ended).status == 0

    world.run(body())


def test_the_descriptor_limit_holds(world: World) -> None:
    async def body() -> None:
        limits = replace(LIMITS, descriptors_max=64)
        _, text = await world.output(await world.bound(limits), "/bin/sh", "-c", "ulimit -n; ulimit -c")
        assert lines(text) == ["64", "0"]

    world.run(body())


def test_usage_grows_and_stays_after_the_end(world: World) -> None:
    async def body() -> None:
        sandbox = await world.bound()
        code = (
            "import time; x = bytearray(20_000_000); s = sum(range(2_000_000));"
            "print('worked', flush=True); time.sleep(60)"
        )
        started = await world.start(sandbox, PYTHON, "-I", "-S", "-c", code)
        await started.read(until=b"worked")
        used = sandbox.usage()
        assert used.memory_peak_bytes > 15_000_000
        assert used.cpu_us >= 10_000
        await sandbox.destroy()
        assert sandbox.usage().memory_peak_bytes >= used.memory_peak_bytes
        os.close(started.log)

    world.run(body())


def test_destroy_ends_a_running_program_and_may_be_repeated(world: World) -> None:
    async def body() -> None:
        sandbox = await world.bound()
        started = await world.start(sandbox, "/bin/sleep", "60")
        await asyncio.gather(sandbox.destroy(), sandbox.destroy())
        await sandbox.destroy()
        assert (await started.ended).signal == signal.SIGKILL
        assert await started.read() == ""
        assert sandbox.listener.fileno() == -1

    world.run(body())


def test_cpu_and_freezing_are_asked_for_without_harm(world: World) -> None:
    async def body() -> None:
        sandbox = await world.bound()
        await sandbox.set_cpu(None)
        await sandbox.set_cpu(0.07)
        await sandbox.freeze()
        await sandbox.thaw()
        ended, _ = await world.output(sandbox, "/bin/true")
        assert ended.status == 0

    world.run(body())


def test_a_create_cancelled_at_any_moment_leaves_nothing(world: World) -> None:
    """The fixture looks for what is left."""

    async def body() -> None:
        for turns in range(6):
            creating = asyncio.ensure_future(world.blank())
            for _ in range(turns):
                await asyncio.sleep(0)
            creating.cancel()
            await asyncio.gather(creating, return_exceptions=True)

    world.run(body())


def test_closing_the_driver_ends_every_sandbox(world: World) -> None:
    async def body() -> list[int]:
        logs = []
        for _ in range(3):
            started = await world.start(await world.bound(), "/bin/sleep", "60")
            logs.append(started.log)
        return logs

    logs = world.run(body())
    world.run(world.driver.close())
    for log in logs:
        assert os.read(log, 1) == b""
        os.close(log)


def test_several_sandboxes_at_once(world: World) -> None:
    async def one(number: int) -> str:
        sandbox = await world.bound()
        _, text = await world.output(sandbox, "/bin/echo", str(number))
        await sandbox.destroy()
        return text.strip()

    async def body() -> None:
        assert await asyncio.gather(*map(one, range(12))) == [str(number) for number in range(12)]

    world.run(body())


def test_too_large_a_command_is_refused(world: World) -> None:
    async def body() -> None:
        sandbox = await world.bound()
        huge = Command(["/bin/true"], {"HUGE": "x" * 3_000_000}, "/", None)
        ended: list[Exit] = []
        try:
            log = await sandbox.start(huge, ended.append)
        except SandboxError as error:
            refused = error.errno
        else:  # the kernel itself refuses it
            os.close(log)
            await asyncio.sleep(0)
            refused = ended[0].error
        assert refused == errno.E2BIG

    world.run(body())


def test_the_packages_stay_as_they_were(world: World) -> None:
    assert (world.place / "packages" / CODE / "tree" / "code.txt").read_text() == "the code\n"


def test_a_signal_reaches_one_of_several_programs(world: World) -> None:
    """What it started hears it too; the other program goes on, a third may start."""
    code = (
        "import os, signal, sys, time\n"
        "child = os.fork()\n"
        "def heard(number, _):\n"
        "    os.write(1, b'%s heard %d\\n' % (b'child' if child == 0 else b'leader', number))\n"
        "    if child: os.waitpid(child, 0)\n"
        "    os._exit(7)\n"
        "signal.signal(signal.SIGTERM, heard)\n"
        "print('up', flush=True)\n"
        "while True: time.sleep(0.01)\n"
    )

    async def body() -> None:
        sandbox = await world.bound()
        one = await world.start(sandbox, PYTHON, "-I", "-S", "-c", code, label="one")
        two = await world.start(sandbox, PYTHON, "-I", "-S", "-c", code, label="two")
        assert lines(await one.read(until=b"up\nup\n")) == ["up", "up"]
        await two.read(until=b"up\nup\n")
        await sandbox.signal("one", signal.SIGTERM)
        assert sorted(lines(await one.read())) == ["child heard 15", "leader heard 15"]
        assert await one.ended == Exit(7, None, False)
        await sandbox.signal("one", signal.SIGKILL)
        await sandbox.signal("nobody", signal.SIGKILL)
        ended, text = await world.output(sandbox, "/bin/echo", "still here")
        assert (ended, text) == (Exit(0, None, False), "still here\n")
        assert not two.ended.done()
        await sandbox.signal("two", signal.SIGKILL)
        assert await two.ended == Exit(None, signal.SIGKILL, False)
        await two.read()

    world.run(body())


def test_a_signal_reaches_a_frozen_program(world: World) -> None:
    async def body() -> None:
        sandbox = await world.bound()
        started = await world.start(sandbox, "/bin/sleep", "60", label="sleeper")
        await sandbox.freeze()
        await sandbox.signal("sleeper", signal.SIGTERM)
        assert await started.ended == Exit(None, signal.SIGTERM, False)
        await started.read()

    world.run(body())


def test_a_signal_reaches_a_program_that_has_only_just_been_forked(world: World) -> None:
    """It may not be the function's user yet, nor have a group of its own, nor have begun."""

    async def body() -> None:
        sandbox = await world.bound()
        for _ in range(60):
            started = await world.start(sandbox, "/bin/sleep", "60", label="sleeper")
            await sandbox.signal("sleeper", signal.SIGTERM)
            assert await started.ended == Exit(None, signal.SIGTERM, False)
            await started.read()

    world.run(body())


def test_a_reset_ends_all_programs(world: World) -> None:
    async def body() -> None:
        sandbox = await world.bound()
        started = [await world.start(sandbox, "/bin/sleep", "60", label=label) for label in ("one", "two")]
        await sandbox.reset()
        assert [(await one.ended).signal for one in started] == [signal.SIGKILL] * 2
        assert [await one.read() for one in started] == ["", ""]
        ended, _ = await world.output(sandbox, "/bin/true")
        assert ended.status == 0

    world.run(body())
