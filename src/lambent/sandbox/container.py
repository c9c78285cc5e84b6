"""The `container` and `rootless` drivers: an asyncio client of the spawner.

One socket, fixed messages, a serial per request. At most REQUESTS_MAX are outstanding; more wait in line. Nothing here
has privilege, knows a path inside a sandbox or can name one to the spawner.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal
import socket
from collections import deque
from collections.abc import Callable, Sequence

from . import wire
from .freezer import Freezer
from .groups import Groups
from .port import (
    SANDBOX_API_ADDRESS,
    Binding,
    Command,
    Copy,
    Exit,
    Limits,
    Obstacle,
    Sandbox,
    SandboxError,
    Template,
    Tier,
    Usage,
    Zygote,
)
from .spawner import Spawner
from .usage import UsageReader

REQUESTS_MAX = 128
REQUEST_S_MAX = 30.0
CLOSE_S_MAX = 25.0


OBSTACLES = {
    "threads or processes": "it has more than one thread or process",
    "open files or sockets": "it has open files or sockets",
    "standard descriptors": "it has closed a standard descriptor",
    "shared memory": "it has memory that is shared when it is written",
    "files in /tmp": "it has left files in /tmp",
    "an unknown C library": "its C library is not glibc",
    "find it waiting": "it does not wait to be restored",
}
"""What the copier found in the way, in words."""


class SpawnerGone(SandboxError):
    """The spawner ended, and with it every sandbox."""

    def __init__(self) -> None:
        super().__init__("speak to the spawner", 32, "it has ended")


class ContainerSandbox:
    """One sandbox of the spawner; see the port."""

    api_address = SANDBOX_API_ADDRESS

    def __init__(
        self, driver: ContainerDriver, number: int, init_pid: int, listener: socket.socket, limits: Limits, group: str
    ) -> None:
        self.id = f"{number:x}"
        self.number = number
        self.group = group
        """Name of its control group, which may have been another's before."""
        self.init_pid = init_pid
        """Process id of the sandbox's pid 1, as the host sees it."""
        self._driver = driver
        self._listener = listener
        self._limits = limits
        self._usage = driver.usage_reader.of(group, init_pid)
        self.programs: dict[str, int] = {}
        """Serials of what was started, by label."""
        self._forgiven: int | None = None
        """Out-of-memory kills of attempts that are over."""
        self._is_frozen = False
        """Without the spawner's knowledge."""
        self._is_held = False
        self._destroyed: asyncio.Task[None] | None = None

    @property
    def listener(self) -> socket.socket:
        return self._listener

    async def bind(self, binding: Binding) -> None:
        """Limits hold from here on; the CPU quota too, unless full speed is asked for."""
        fds = [wire.memory_file(wire.policy(binding.egress))] if self._driver.has_egress else []
        try:
            await self._driver.call(
                wire.BIND,
                self.number,
                limits=binding.limits,
                vcpus=None if binding.is_full_speed else binding.limits.cpu_vcpus,
                task=binding.task,
                opt=binding.opt,
                flags=wire.HAS_EGRESS if fds else 0,
                fds=fds,
            )
        finally:
            for fd in fds:
                os.close(fd)
        self._limits = binding.limits
        self._usage.reset()

    async def start(self, command: Command, on_exit: Callable[[Exit], None]) -> int:
        await self._wake()
        answer = await _start(self._driver, self.number, command, on_exit)
        self.programs[command.label] = answer.serial
        return _only(answer, "take the log pipe")

    async def signal(self, label: str, number: int) -> None:
        program = self.programs.get(label)
        if program is not None:
            await self._wake()
            await self._driver.call(wire.SIGNAL, self.number, signal=number, origin=program)

    async def reset(self) -> None:
        await self._wake()
        await self._call(wire.RESET)
        self._usage.reset()

    async def set_cpu(self, vcpus: float | None) -> None:
        await self._call(wire.SET_CPU, limits=self._limits, vcpus=vcpus)

    def usage(self) -> Usage:
        return self._usage.read()

    def peak_bytes(self) -> int:
        return self._usage.peak()

    def forgive(self) -> None:
        self._forgiven = self._usage.kills()

    def is_forgiven(self) -> bool:
        """Nothing more was ended for its memory since."""
        return self._forgiven is not None and self._usage.kills() == self._forgiven

    def freeze_now(self) -> bool:
        self._is_frozen = self._is_ours and self._driver.freezer.set(self.group, is_frozen=True)
        return self._is_frozen

    def thaw_now(self) -> bool:
        if not self._is_ours or not self._driver.freezer.set(self.group, is_frozen=False):
            return False
        self._is_frozen = False
        return True

    async def freeze(self) -> None:
        if not self.freeze_now():
            await self._call(wire.FREEZE)

    async def thaw(self) -> None:
        if not self.thaw_now():
            await self._call(wire.THAW)

    @property
    def _is_ours(self) -> bool:
        """To freeze and thaw: its copier, or the next owner of its control group, has other plans."""
        return self._destroyed is None and not self._is_held

    async def _wake(self) -> None:
        """Before an order to its init: the spawner does not know of what was frozen without it."""
        if self._is_frozen:
            await self.thaw()

    async def namespaces(self) -> tuple[int, ...]:
        """Descriptors of pid, mnt, net, ipc, uts, cgroup and user, in this order; the caller closes them."""
        return (await self._call(wire.NAMESPACES)).fds

    async def hold(self) -> None:
        """See `port.Template`."""
        try:
            await self._wake()
            self._is_held = True
            await self._call(wire.HOLD)
        except SandboxError as error:
            self._is_held = False
            if error.step in OBSTACLES:
                raise Obstacle(OBSTACLES[error.step], error.errno) from error
            raise

    async def make_copy(self, limits: Limits) -> Copy:
        """See `port.Template`."""
        return await self._driver.make_copy(self.number, limits)

    async def copy(self, channel: socket.socket, on_exit: Callable[[Exit], None]) -> int:
        """See `port.Copy`."""
        try:
            answer = await self._driver.call(
                wire.COPY, self.number, fds=[channel.fileno()], flags=wire.HAS_CHANNEL, on_exit=on_exit
            )
        finally:
            channel.close()
        return _only(answer, "take the log pipe")

    async def destroy(self) -> None:
        """Idempotent, and carried to its end even when the caller is cancelled."""
        if self._destroyed is None:
            self._usage.keep_last()
            self._driver.freezer.release(self.group)
            self._destroyed = asyncio.ensure_future(self._destroy())
        await asyncio.shield(self._destroyed)

    async def _destroy(self) -> None:
        self._listener.close()
        await self._driver.destroy(self.number)

    async def _call(
        self,
        op: int,
        *,
        limits: Limits | None = None,
        vcpus: float | None = None,
    ) -> wire.Answer:
        return await self._driver.call(op, self.number, limits=limits, vcpus=vcpus)


async def _start(
    driver: ContainerDriver, number: int, command: Command, on_exit: Callable[[Exit], None], flags: int = 0
) -> wire.Answer:
    fds: list[int] = []
    try:
        fds.append(wire.memory_file(wire.payload(command)))
        if command.channel is not None:
            fds.append(command.channel.fileno())
            flags |= wire.HAS_CHANNEL
        return await driver.call(wire.START, number, fds=fds, flags=flags, on_exit=on_exit)
    finally:
        if fds:
            os.close(fds[0])
        if command.channel is not None:
            command.channel.close()


class ContainerZygote:
    """One zygote of the spawner; see the port."""

    def __init__(self, driver: ContainerDriver, number: int, pid: int, group: str) -> None:
        self.number = number
        self.pid = pid
        """As the host sees it."""
        self._driver = driver
        self._usage = driver.usage_reader.of(group, pid)
        self._destroyed: asyncio.Task[None] | None = None

    async def start(self, command: Command, on_exit: Callable[[Exit], None]) -> int:
        """See the port."""
        answer = await _start(self._driver, self.number, command, on_exit, wire.FORKS)
        return _only(answer, "take the log pipe")

    def peak_bytes(self) -> int:
        """See the port."""
        return self._usage.peak()

    async def destroy(self) -> None:
        """Idempotent, and carried to its end even when the caller is cancelled."""
        if self._destroyed is None:
            self._usage.keep_last()
            self._destroyed = asyncio.ensure_future(self._driver.destroy(self.number))
        await asyncio.shield(self._destroyed)


class ContainerForks:
    """Zygotes of the spawner; see the port."""

    def __init__(self, driver: ContainerDriver) -> None:
        self._driver = driver

    async def create(self, image: str, limits: Limits) -> ContainerZygote:
        """A place for one, at full speed."""
        answer = await self._driver.call(wire.CREATE, 0, limits=limits, image=image, flags=wire.IS_ZYGOTE)
        return ContainerZygote(self._driver, answer.sandbox, answer.status, answer.step)

    async def fork(
        self, zygote: Zygote, sandbox: Sandbox, channel: socket.socket, on_exit: Callable[[Exit], None], is_ahead: bool
    ) -> int:
        """See the port."""
        assert isinstance(zygote, ContainerZygote)
        assert isinstance(sandbox, ContainerSandbox)
        flags = wire.HAS_CHANNEL | (wire.FORK_AHEAD if is_ahead else 0)
        with channel:
            answer = await self._driver.call(
                wire.FORK,
                sandbox.number,
                origin=zygote.number,
                flags=flags,
                fds=[channel.fileno()],
                on_exit=on_exit,
            )
        sandbox.programs["runtime"] = answer.serial
        return _only(answer, "take the log pipe")


def _only(answer: wire.Answer, step: str) -> int:
    """The descriptor that came with an answer; it stays away when this process has no room for one more."""
    if not answer.fds:
        raise SandboxError(step, errno.EMFILE, os.strerror(errno.EMFILE))
    return answer.fds[0]


class ContainerDriver:
    """Talks to one spawner on the running event loop."""

    def __init__(self, spawner: Spawner) -> None:
        self.tier = Tier(spawner.kind, spawner.missing)
        self.usage_reader = UsageReader(spawner.groups, spawner.instance)
        self.freezer = Freezer(self._freezable(spawner), spawner.instance)
        self.has_egress = spawner.has_egress
        self.copies = spawner.copies
        self._spawner = spawner
        self._socket = spawner.socket
        self._loop = asyncio.get_running_loop()
        self._serial = 0
        self._waiting: dict[int, asyncio.Future[wire.Answer]] = {}
        self._exits: dict[int, tuple[int, Callable[[Exit], None]]] = {}
        self._starts: dict[int, list[int]] = {}
        """By sandbox: the serials of its programs; those that ended are dropped when the next one starts."""
        self._unsent: deque[tuple[bytes, Sequence[int]]] = deque()
        self._room = asyncio.Semaphore(REQUESTS_MAX)
        self._sandboxes: dict[int, ContainerSandbox] = {}
        self._gone: asyncio.Future[None] = self._loop.create_future()
        self._loop.add_reader(self._socket, self._on_readable)

    async def create(self, image: str, limits: Limits) -> Sandbox:
        """A blank runs at full speed: the CPU quota begins with `bind` or `set_cpu`."""
        return await self._create(wire.CREATE, 0, limits, image)

    async def create_template(self, image: str, limits: Limits) -> Template:
        """See the port."""
        return await self._create(wire.CREATE, 0, limits, image, wire.MAY_HOLD)

    async def make_copy(self, template: int, limits: Limits) -> Copy:
        """A blank for a copy of what a sandbox holds."""
        return await self._create(wire.MAKE_COPY, template, limits, "")

    async def _create(self, op: int, number: int, limits: Limits, image: str, flags: int = 0) -> ContainerSandbox:
        answer = await self.call(op, number, limits=limits, image=image, flags=flags)
        try:
            listener = socket.socket(fileno=_only(answer, "take the listener"))
        except SandboxError:
            self._serial += 1  # it exists, and nobody else will ever name it
            self._send(wire.request(wire.DESTROY, self._serial, answer.sandbox), ())
            raise
        listener.setblocking(False)
        sandbox = self._made(answer, image, listener, limits)
        self._sandboxes[answer.sandbox] = sandbox
        return sandbox

    def _made(self, answer: wire.Answer, image: str, listener: socket.socket, limits: Limits) -> ContainerSandbox:
        return ContainerSandbox(self, answer.sandbox, answer.status, listener, limits, answer.step)

    def _freezable(self, spawner: Spawner) -> Groups:
        """The groups in which to freeze is all there is to it."""
        return spawner.groups

    @property
    def sandboxes(self) -> tuple[ContainerSandbox, ...]:
        """Those that nobody has destroyed yet."""
        return tuple(self._sandboxes.values())

    async def close(self) -> None:
        """Everything goes with the spawner; afterwards no process, mount or cgroup of it is left."""
        for sandbox in list(self._sandboxes.values()):
            sandbox.listener.close()
        self._sandboxes.clear()
        self.usage_reader.close()
        self.freezer.close()
        if not self._gone.done():
            self._loop.remove_reader(self._socket)
            self._lose()
        self._socket.close()
        process = self._spawner.process
        if process.returncode is None:
            ended = asyncio.Event()
            pidfd = os.pidfd_open(process.pid)
            self._loop.add_reader(pidfd, ended.set)
            try:
                async with asyncio.timeout(CLOSE_S_MAX):
                    await ended.wait()
            except TimeoutError as error:
                try:
                    process.kill()  # its warden clears what is left
                except PermissionError:  # it is root's, and this server is not root any more
                    raise SandboxError("end the spawner", 110, f"process {process.pid} does not end") from error
            finally:
                self._loop.remove_reader(pidfd)
                os.close(pidfd)
            process.wait()

    @property
    def binds_running(self) -> bool:
        """Where the kernel counts memory by group; else a limit is the process's own, set when it starts."""
        return self._spawner.groups.directory("memory") is not None

    @property
    def gone(self) -> asyncio.Future[None]:
        """Done when the spawner has ended, for whatever reason."""
        return self._gone

    @property
    def forks(self) -> ContainerForks | None:
        """In the container tier, where a limit holds for a program that runs already."""
        return ContainerForks(self) if self._spawner.kind == "container" and self.binds_running else None

    async def destroy(self, number: int) -> None:
        """End a sandbox or a zygote: what ran in it is killed, nothing arrives for it any more."""
        with contextlib.suppress(SpawnerGone):
            try:
                await self.call(wire.DESTROY, number)
            except SandboxError as error:
                if error.errno != errno.ESRCH:  # it ended by itself and is gone already
                    raise
        self._sandboxes.pop(number, None)
        for on_exit in self._take_exits(number):
            on_exit(Exit(None, signal.SIGKILL, out_of_memory=False))

    def _take_exits(self, number: int) -> list[Callable[[Exit], None]]:
        serials = self._starts.pop(number, ())
        return [self._exits.pop(serial)[1] for serial in serials if serial in self._exits]

    async def call(
        self,
        op: int,
        number: int,
        *,
        limits: Limits | None = None,
        vcpus: float | None = None,
        task: str | None = None,
        opt: str | None = None,
        image: str = "",
        flags: int = 0,
        origin: int = 0,
        fds: Sequence[int] = (),
        on_exit: Callable[[Exit], None] | None = None,
        signal: int = 0,
    ) -> wire.Answer:
        """One request and its answer. Raises SandboxError with the spawner's step and errno."""
        async with self._room:
            if self._gone.done():
                raise SpawnerGone
            self._serial += 1
            serial = self._serial
            answered: asyncio.Future[wire.Answer] = self._loop.create_future()
            self._waiting[serial] = answered
            if on_exit is not None:
                self._exits[serial] = (number, on_exit)
                self._starts[number] = [one for one in self._starts.get(number, ()) if one in self._exits] + [serial]
            try:
                self._send(
                    wire.request(
                        op,
                        serial,
                        number,
                        limits=limits,
                        vcpus=vcpus,
                        flags=flags,
                        image=image,
                        task=task,
                        opt=opt,
                        signal=signal,
                        origin=origin,
                    ),
                    fds,
                )
                async with asyncio.timeout(REQUEST_S_MAX):
                    answer = await answered
            except BaseException as error:
                self._exits.pop(serial, None)
                self._abandon(serial, op, answered)
                if isinstance(error, TimeoutError):
                    raise SandboxError("wait for the spawner", 110) from error
                raise
        if answer.error:
            self._exits.pop(serial, None)
            raise SandboxError(answer.step, answer.error, os.strerror(answer.error))
        return answer

    def _abandon(self, serial: int, op: int, answered: asyncio.Future[wire.Answer]) -> None:
        """Whoever asked is gone: what the answer brings is given back, now or when it comes."""
        if answered.done() and not answered.cancelled():
            self._give_back(answered, op)  # it came in the same turn of the loop as the cancellation
        elif not self._gone.done() and serial in self._waiting:
            late: asyncio.Future[wire.Answer] = self._loop.create_future()
            late.add_done_callback(lambda done: self._give_back(done, op))
            self._waiting[serial] = late

    def _give_back(self, done: asyncio.Future[wire.Answer], op: int) -> None:
        if done.cancelled() or done.exception() is not None:
            return
        answer = done.result()
        for fd in answer.fds:
            os.close(fd)
        if op in (wire.CREATE, wire.MAKE_COPY) and not answer.error and not self._gone.done():
            self._serial += 1
            with contextlib.suppress(SpawnerGone):
                self._send(wire.request(wire.DESTROY, self._serial, answer.sandbox), ())

    def _send(self, message: bytes, fds: Sequence[int]) -> None:
        if not self._unsent:
            try:
                wire.send(self._socket, message, fds)
                return
            except BlockingIOError:
                self._loop.add_writer(self._socket, self._on_writable)
            except OSError as error:
                raise SpawnerGone from error  # the reader hears it too, and fails everyone who waits
        self._unsent.append((message, [os.dup(fd) for fd in fds]))

    def _on_writable(self) -> None:
        while self._unsent:
            message, fds = self._unsent[0]
            try:
                wire.send(self._socket, message, fds)
            except BlockingIOError:
                return
            except OSError:
                break  # the reader hears the end and fails everyone who waits
            self._unsent.popleft()
            for fd in fds:
                os.close(fd)
        self._loop.remove_writer(self._socket)

    def _on_readable(self) -> None:
        while True:
            try:
                answer = wire.receive(self._socket)
            except BlockingIOError:
                return
            except OSError:
                answer = None
            if answer is None:
                self._loop.remove_reader(self._socket)
                self._lose()
                return
            if answer.kind == wire.EXIT:
                self._exit(answer)
                continue
            waiting = self._waiting.pop(answer.serial, None)
            if waiting is not None and not waiting.done():
                waiting.set_result(answer)
            else:
                for fd in answer.fds:
                    os.close(fd)

    def _exit(self, answer: wire.Answer) -> None:
        out_of_memory = bool(answer.flags & wire.OUT_OF_MEMORY)
        sandbox = self._sandboxes.get(answer.sandbox)
        if out_of_memory and sandbox is not None and sandbox.is_forgiven():
            out_of_memory = False
        if answer.serial:
            known = self._exits.pop(answer.serial, None)
            ended = [] if known is None else [known[1]]
        else:  # pid 1 itself was killed: every program of this sandbox has ended with it
            ended = self._take_exits(answer.sandbox)
        for on_exit in ended:
            if answer.signal:
                on_exit(Exit(None, answer.signal, out_of_memory, answer.error))
            else:
                on_exit(Exit(answer.status, None, out_of_memory, answer.error))

    def _lose(self) -> None:
        """The spawner has ended; its sandboxes are dead, whoever waits hears it."""
        if not self._gone.done():
            self._gone.set_result(None)
        self._loop.remove_writer(self._socket)
        for _, fds in self._unsent:
            for fd in fds:
                os.close(fd)
        self._unsent.clear()
        waiting, self._waiting = self._waiting, {}
        for answered in waiting.values():
            if not answered.done():
                answered.set_exception(SpawnerGone())
        exits, self._exits = self._exits, {}
        self._starts.clear()
        for _, on_exit in exits.values():
            on_exit(Exit(None, signal.SIGKILL, out_of_memory=False))
