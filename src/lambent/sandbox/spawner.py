"""Starting the spawner: the one privileged act, done synchronously before the server gives up its own privilege.

spawner = launch_spawner("container", instance=..., ...)     # as root (or, rootless, as the ordinary user)
os.setuid(...)                                               # the server drops
driver = ContainerDriver(spawner)                            # unprivileged from here on
"""

from __future__ import annotations

import errno
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..domain.egress import NONE, Outside
from . import wire
from .groups import NO_GROUPS, Groups, find_groups
from .port import Image, SandboxError, no_copies
from .rootfs import Record, image_records, pack

BINARY = Path(__file__).resolve().parent.parent / "launcher" / "bin" / "lambent-launcher"
HELLO_S_MAX = 60.0
SANDBOXES_MAX = 8_192
TMP_POOL_DEFAULT = 8
TMP_MB_DEFAULT = 512

_IDS_BASE = 0x7000_0000
"""First of the user ids that nobody else uses: systemd's table leaves 1879048192 to 2147352575 unassigned."""
_IDS_COUNT = 0x0FFD_0000
IDS_STRIDE = 16
"""User ids set aside for one sandbox; two are used."""


@dataclass(slots=True)
class Spawner:
    """A running spawner as its parent holds it."""

    kind: str
    process: subprocess.Popen[bytes]
    socket: socket.socket
    instance: str
    groups: Groups
    tmp_on_disk: bool
    missing: tuple[str, ...]
    sandboxes_max: int
    has_egress: bool = False
    """Sandboxes have a way out, by policy."""
    copies: str | None = "it was not asked"
    """Why no process can be held and copied; None: it was tried, and can be."""


def _copies(kind: str, hello: wire.Answer) -> str | None:
    if kind != "container":
        return no_copies(kind)
    if hello.flags & wire.COPIES:
        return None
    return (
        "a process was held to be copied, and could not be: that takes x86_64, control groups, and a kernel with "
        "CONFIG_CHECKPOINT_RESTORE under no filter of system calls"
    )


@dataclass(frozen=True, slots=True)
class Words:
    """What a spawner says first."""

    hello: wire.Answer
    egress: wire.Answer | None
    """Whether sandboxes have a way out; None: none was asked for."""


def _ids(kind: str, instance: str, subordinate: tuple[int, int] | None) -> Record:
    if kind == "rootless":
        return ("ids", "1", "2") if subordinate else ("ids", "0", "0")
    return ("ids", str(region_of_ids(instance)), str(IDS_STRIDE))


def region_of_ids(instance: str) -> int:
    """The first id of a server. Two on one machine should not share ids: each starts in a region of its own."""
    regions = _IDS_COUNT // (SANDBOXES_MAX * IDS_STRIDE)
    region = sum((i + 1) * byte for i, byte in enumerate(instance.encode())) % regions
    return _IDS_BASE + region * SANDBOXES_MAX * IDS_STRIDE


def _records(
    kind: str,
    instance: str,
    packages_root: Path,
    scratch: Path,
    images: Sequence[Image],
    groups: Groups,
    ids: Record,
    tmp: Record,
    sandboxes_max: int,
    outside: Outside,
    server: int | None,
) -> Iterator[Record]:
    yield ("instance", instance)
    if server is not None:
        yield ("server", str(server))
    yield ("packages", str(packages_root))
    yield ("scratch", str(scratch))
    yield ("mode", "rootless" if kind == "rootless" else "root")
    yield ("sandboxes", str(sandboxes_max))
    yield ids
    yield tmp
    mkfs = shutil.which("mke2fs", path="/usr/sbin:/sbin:/usr/bin:/bin")
    if mkfs is not None:
        yield ("mkfs", mkfs)
    if outside.layer.mode != NONE:
        yield ("egress", "policy")
    for address, port in outside.loopback:
        yield ("loopback", address, str(port))
    for address, port in outside.resolvers:
        yield ("resolver", address, str(port))
    for hierarchy in groups.hierarchies:
        yield (f"cgroup{groups.version}", ",".join(hierarchy.controllers), hierarchy.path)
    for image in images:
        yield from image_records(image)


def _subordinate(database: str, user: int) -> tuple[int, int] | None:
    """First subordinate id and how many, of a user by name or number."""
    import pwd

    try:
        names = {pwd.getpwuid(user).pw_name, str(user)}
    except KeyError:
        names = {str(user)}
    try:
        lines = Path(database).read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        words = line.split(":")
        if len(words) == 3 and words[0] in names and int(words[2]) >= 2:
            return int(words[1]), int(words[2])
    return None


def _map_outer(pid: int, uid: int, gid: int, subordinate: tuple[int, int] | None) -> None:
    """Write the outer namespace's maps for a spawner that waits in it."""
    if subordinate is not None:
        for tool, own, database in (("newuidmap", uid, "/etc/subuid"), ("newgidmap", gid, "/etc/subgid")):
            first, count = _subordinate(database, uid) or subordinate
            argv = [tool, str(pid), "0", str(own), "1", "1", str(first), str(count)]
            # It looks whether the target is the caller's own process.
            owner = {"user": uid, "group": gid} if os.geteuid() == 0 else {}
            done = subprocess.run(argv, capture_output=True, text=True, check=False, **owner)  # type: ignore[call-overload]
            if done.returncode != 0:
                raise SandboxError(tool, 1, done.stderr.strip())
        return
    proc = Path("/proc", str(pid))
    try:
        (proc / "setgroups").write_text("deny")
        (proc / "gid_map").write_text(f"0 {gid} 1\n")
        (proc / "uid_map").write_text(f"0 {uid} 1\n")
    except OSError as error:
        raise SandboxError("map the outer ids", error.errno or 0) from error


def _tmp_sentence(answer: wire.Answer) -> str:
    effect = "/tmp is a tmpfs and counts against a function's memory, because"
    if (answer.step, answer.error) == ("run mke2fs", errno.ENOENT):
        return f"{effect} this machine has no mke2fs: apt-get install e2fsprogs."
    return (
        f"{effect} a disk image could not be mounted "
        f"({answer.step or 'not tried'}: {os.strerror(answer.error) if answer.error else 'needs root'}): "
        "run as root with /dev/loop-control and mke2fs (apt-get install e2fsprogs; modprobe loop)."
    )


def _egress_sentence(answer: wire.Answer) -> str:
    return (
        "Functions reach the platform and nothing else, because the kernel gives sandboxes no way out "
        f'("{answer.step}": {os.strerror(answer.error)}): modprobe nft_tproxy af_packet, or a kernel with '
        "CONFIG_NF_TABLES, CONFIG_NFT_TPROXY and CONFIG_PACKET; in a surrounding container also --cap-add NET_ADMIN "
        "--cap-add NET_RAW."
    )


def prepare_scratch(state_dir: Path, uid: int, gid: int, mode: int) -> Path:
    """The spawner's own directory below `state_dir`, with this owner and mode. Raises SandboxError."""
    scratch = state_dir / "launcher"
    try:
        scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
        if os.geteuid() == 0:
            os.chown(scratch, uid, gid)
        scratch.chmod(mode)
    except OSError as error:
        raise SandboxError("prepare the spawner's directory", error.errno or 0, str(error)) from error
    return scratch


def launch_spawner(
    kind: str,
    *,
    instance: str,
    packages_root: Path,
    images: Sequence[Image],
    state_dir: Path,
    run_as: tuple[int, int] | None = None,
    binary: Path = BINARY,
    sandboxes_max: int = SANDBOXES_MAX,
    tmp_pool: int = TMP_POOL_DEFAULT,
    disk_tmp: bool = True,
    groups: Groups | None = None,
    outside: Outside | None = None,
) -> Spawner:
    """Start the spawner and wait until its images stand.

    kind: "container" (needs root) or "rootless". instance: the data directory's id, [a-z0-9-], names cgroups.
    packages_root: exists and stays; code is opened below it by digest. state_dir: gets a directory `launcher/` that only
    the spawner's user can enter. run_as: uid and gid of the server to be: a rootless spawner started by root runs as them, and any other lets them
    freeze and thaw what it has made.
    outside: what all sandboxes may reach at most. disk_tmp, groups: what to use instead of what would be found. Blocks for some milliseconds
    per image. Raises SandboxError with the step that failed; nothing is left behind then.
    """
    if not binary.exists():
        raise SandboxError("find the launcher", 2, f"{binary} is not built: python src/lambent/launcher/build.py")
    as_root = os.geteuid() == 0
    if kind == "container" and not as_root:
        raise SandboxError("start the spawner", 1, "the container tier needs root: sudo lambent up")
    uid, gid = run_as if kind == "rootless" and as_root and run_as else (os.geteuid(), os.getegid())
    scratch = prepare_scratch(state_dir, uid, gid, 0o700)
    try:
        if groups is None and uid != os.geteuid():
            # What root may write, this user may not; and nobody is born into a delegated group from outside of it.
            groups = NO_GROUPS
        groups = groups or find_groups(
            Path("/proc/self/mountinfo").read_text(),
            Path("/proc/self/cgroup").read_text(),
            writable=kind == "container",
        )
    except OSError as error:
        raise SandboxError("find the control groups", error.errno or 0, str(error)) from error
    subordinate = None
    if kind == "rootless" and shutil.which("newuidmap") and shutil.which("newgidmap"):
        subordinate = _subordinate("/etc/subuid", uid)

    outside = outside or Outside()
    server = run_as[1] if kind == "container" and run_as else None

    def start(ranges: tuple[int, int] | None) -> tuple[subprocess.Popen[bytes], socket.socket, Words]:
        on_disk = disk_tmp and kind == "container"
        tmp = ("tmp", "disk" if on_disk else "memory", str(tmp_pool), str(TMP_MB_DEFAULT))
        ids = _ids(kind, instance, ranges)
        room = sandboxes_max if ranges is None else min(sandboxes_max, ranges[1] // 2)  # two ids each
        records = _records(kind, instance, packages_root, scratch, images, groups, ids, tmp, room, outside, server)
        return start_program(binary, pack(records), uid, gid, ranges)

    missing = list(groups.missing)
    try:
        process, ours, words = start(subordinate)
    except SandboxError as error:
        if error.step not in ("newuidmap", "newgidmap"):
            raise
        missing.append(f"The user's subordinate ids cannot be used: {error}.")
        subordinate = None
        process, ours, words = start(None)
    on_disk = bool(words.hello.flags & wire.TMP_DISK)
    if not on_disk:
        missing.append(_tmp_sentence(words.hello))
    has_egress = words.egress is not None and words.egress.status == 1
    if words.egress is not None and not has_egress:
        missing.append(_egress_sentence(words.egress))
    if kind == "rootless":
        missing.append(
            "All functions share this user's inotify instances (128 on many systems), so that one can leave none for the "
            "others: sysctl -w fs.inotify.max_user_instances=8192."
        )
    if kind == "rootless" and subordinate is None:
        missing.append(
            "All sandboxes share the server's user id, so only namespaces stand between them: "
            "apt-get install uidmap and give the user a range with `usermod --add-subuids 100000-165535 "
            "--add-subgids 100000-165535 USER`."
        )
    return Spawner(
        kind,
        process,
        ours,
        instance,
        groups,
        on_disk,
        tuple(missing),
        sandboxes_max,
        has_egress,
        _copies(kind, words.hello),
    )


def start_program(
    binary: Path, config: bytes, uid: int, gid: int, subordinate: tuple[int, int] | None
) -> tuple[subprocess.Popen[bytes], socket.socket, Words]:
    """Start the program as this user and hear its first words."""
    drops = os.geteuid() == 0 and uid != 0
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    config_fd = os.memfd_create("lambent-configuration", os.MFD_CLOEXEC)
    try:
        os.write(config_fd, config)
        os.lseek(config_fd, 0, os.SEEK_SET)
        process = subprocess.Popen(
            [str(binary), str(theirs.fileno()), str(config_fd)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            cwd="/",
            env={},
            pass_fds=(theirs.fileno(), config_fd),
            start_new_session=True,
            user=uid if drops else None,
            group=gid if drops else None,
            extra_groups=[] if drops else None,
        )
    except OSError as error:
        ours.close()
        raise SandboxError("start the spawner", error.errno or 0, str(error)) from error
    finally:
        theirs.close()
        os.close(config_fd)
    try:
        words = _hello(ours, uid, gid, subordinate)
    except BaseException:
        ours.close()
        process.kill()
        process.wait()
        raise
    ours.setblocking(False)
    return process, ours, words


def _hello(ours: socket.socket, uid: int, gid: int, subordinate: tuple[int, int] | None) -> Words:
    ours.settimeout(HELLO_S_MAX)
    try:
        answer = wire.receive(ours)
        if answer is not None and answer.kind == wire.MAP:
            _map_outer(answer.status, uid, gid, subordinate)
            ours.send(b"m")
            answer = wire.receive(ours)
        egress = None
        if answer is not None and answer.kind == wire.EGRESS:
            egress, answer = answer, wire.receive(ours)
    except OSError as error:
        raise SandboxError("hear from the spawner", error.errno or 110, str(error)) from error
    if answer is None:
        raise SandboxError("hear from the spawner", 0, "it ended without a word")
    if answer.status != 1:
        raise SandboxError(answer.step, answer.error, os.strerror(answer.error))
    return Words(answer, egress)
