"""Run a command as root in an ordinary Docker container would run it: what its defaults take away, taken away here.

    python tests/docker_profile.py [--without-landlock] [--few-ids] [--unconfined] [--cap-add NAME]… COMMAND…

No daemon and no image: the machine's own files, with Docker's default capabilities, the rules of its default seccomp
profile that refuse anything, its masked and read-only paths of /proc and /sys, read-only control groups, and a process
namespace whose pid 1 reaps nobody, as `tail -f /dev/null` doesn't. Sources: moby's profiles/seccomp/default.json and
oci/defaults.go. Not imitated: the AppArmor profile, the network namespace, and a /dev of its own.

--without-landlock: as on a kernel without it, or before Docker 23. --few-ids: as in rootless Docker and
with userns-remap, in a user namespace with 65,536 ids. --unconfined: as with the security options
seccomp=unconfined and systempaths=unconfined. --cap-add: as Docker's; these two are what asks for the container tier.

When the command ends, what it left running is named on standard error, and the status is 97. Needs root.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import errno
import os
import platform
import signal
import struct
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

LEFT_BEHIND = 97
_LEFT_S_MAX = 5.0

CAPABILITIES = {
    "CHOWN": 0,
    "DAC_OVERRIDE": 1,
    "FOWNER": 3,
    "FSETID": 4,
    "KILL": 5,
    "SETGID": 6,
    "SETUID": 7,
    "SETPCAP": 8,
    "NET_BIND_SERVICE": 10,
    "NET_RAW": 13,
    "SYS_CHROOT": 18,
    "MKNOD": 27,
    "AUDIT_WRITE": 29,
    "SETFCAP": 31,
}
ADDED = {"NET_ADMIN": 12, "SYS_PTRACE": 19, "SYS_ADMIN": 21}
MASKED = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
)
READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")

# Refused with EPERM without CAP_SYS_ADMIN and its like, or in no list at all: (x86_64, aarch64), None: has it not.
REFUSED: dict[str, tuple[int | None, int | None]] = {
    "acct": (163, 89),
    "add_key": (248, 217),
    "bpf": (321, 280),
    "clock_settime": (227, 112),
    "delete_module": (176, 106),
    "fanotify_init": (300, 262),
    "finit_module": (313, 273),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fsopen": (430, 430),
    "fspick": (433, 433),
    "get_mempolicy": (239, 236),
    "init_module": (175, 105),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "io_uring_setup": (425, 425),
    "ioperm": (173, None),
    "iopl": (172, None),
    "kcmp": (312, 272),
    "kexec_file_load": (320, 294),
    "kexec_load": (246, 104),
    "keyctl": (250, 219),
    "mbind": (237, 235),
    "mount": (165, 40),
    "mount_setattr": (442, 442),
    "move_mount": (429, 429),
    "move_pages": (279, 239),
    "open_by_handle_at": (304, 265),
    "open_tree": (428, 428),
    "perf_event_open": (298, 241),
    "pidfd_getfd": (438, 438),
    "pivot_root": (155, 41),
    "process_madvise": (440, 440),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "reboot": (169, 142),
    "request_key": (249, 218),
    "set_mempolicy": (238, 237),
    "setdomainname": (171, 162),
    "sethostname": (170, 161),
    "setns": (308, 268),
    "settimeofday": (164, 170),
    "swapoff": (168, 225),
    "swapon": (167, 224),
    "syslog": (103, 116),
    "umount2": (166, 39),
    "unshare": (272, 97),
    "userfaultfd": (323, 282),
    "vhangup": (153, 58),
}
_AUDIT, _CLONE, _CLONE3, _SOCKET = {
    "x86_64": (0xC000003E, 56, 435, 41),
    "aarch64": (0xC00000B7, 220, 435, 198),
}[platform.machine()]
_LANDLOCK_CREATE = 444
_NAMESPACE_FLAGS = 0x7E02_0000
_AF_VSOCK = 40

_NEWNS, _NEWUSER, _NEWPID = 0x2_0000, 0x1000_0000, 0x2000_0000
_FEW_IDS = "0 100000 65536\n"
_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_REMOUNT, _MS_BIND, _MS_REC, _MS_PRIVATE = (
    1,
    2,
    4,
    8,
    32,
    4096,
    16384,
    1 << 18,
)
_PR_CAPBSET_DROP, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, _PR_SET_SECCOMP, _PR_SET_PDEATHSIG = 24, 47, 4, 22, 1
_LD_W_ABS, _JEQ, _JSET, _RET = 0x20, 0x15, 0x45, 0x06
_ALLOW, _KILL, _ERRNO = 0x7FFF_0000, 0x8000_0000, 0x0005_0000

libc = ctypes.CDLL(None, use_errno=True)


def _done(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)


def _mount(source: str, target: str, kind: str | None, flags: int, options: str = "") -> None:
    words = [os.fsencode(word) if word is not None else None for word in (source, target, kind)]
    _done(libc.mount(*words, ctypes.c_ulong(flags), options.encode()), f"mount {target}")


def _restrict_paths(confined: bool) -> None:
    _mount("proc", "/proc", "proc", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC)
    for path in READ_ONLY if confined else ():
        if os.path.exists(path):
            _mount(path, path, None, _MS_BIND | _MS_REC)
            _mount("", path, None, _MS_BIND | _MS_REMOUNT | _MS_RDONLY | _MS_NOSUID | _MS_NODEV | _MS_NOEXEC)
    for path in MASKED if confined else ():
        if os.path.isdir(path):
            _mount("tmpfs", path, "tmpfs", _MS_RDONLY)
        elif os.path.exists(path):
            _mount("/dev/null", path, None, _MS_BIND)
    points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for point in points:
        if point == "/sys" or point.startswith("/sys/fs/cgroup"):
            _mount("", point, None, _MS_BIND | _MS_REMOUNT | _MS_RDONLY | _MS_NOSUID | _MS_NODEV | _MS_NOEXEC)


def _filter(landlock: bool) -> bytes:
    column = 0 if platform.machine() == "x86_64" else 1
    refused = sorted(number for numbers in REFUSED.values() if (number := numbers[column]) is not None)
    program = [
        (_LD_W_ABS, 0, 0, 4),
        (_JEQ, 1, 0, _AUDIT),
        (_RET, 0, 0, _KILL),
        (_LD_W_ABS, 0, 0, 0),
        (_JEQ, 0, 1, _CLONE3),
        (_RET, 0, 0, _ERRNO | errno.ENOSYS),
        *([] if landlock else [(_JEQ, 0, 1, _LANDLOCK_CREATE), (_RET, 0, 0, _ERRNO | errno.ENOSYS)]),
        (_JEQ, 0, 4, _CLONE),
        (_LD_W_ABS, 0, 0, 16),
        (_JSET, 0, 1, _NAMESPACE_FLAGS),
        (_RET, 0, 0, _ERRNO | errno.EPERM),
        (_RET, 0, 0, _ALLOW),
        (_JEQ, 0, 4, _SOCKET),
        (_LD_W_ABS, 0, 0, 16),
        (_JEQ, 0, 1, _AF_VSOCK),
        (_RET, 0, 0, _ERRNO | errno.EPERM),
        (_RET, 0, 0, _ALLOW),
    ]
    program += [(_JEQ, len(refused) - index, 0, number) for index, number in enumerate(refused)]
    program += [(_RET, 0, 0, _ALLOW), (_RET, 0, 0, _ERRNO | errno.EPERM)]
    return b"".join(struct.pack("HBBI", *instruction) for instruction in program)


def _restrict_calls(landlock: bool) -> None:
    code = _filter(landlock)
    memory = ctypes.create_string_buffer(code, len(code))
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(memory)))
    _done(libc.prctl(_PR_SET_SECCOMP, 2, program, 0, 0), "load the filter")


def _restrict_capabilities(added: Sequence[str]) -> None:
    kept = sum(1 << number for number in {*CAPABILITIES.values(), *(ADDED[name] for name in added)})
    last = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
    for number in range(last + 1):
        if not kept & 1 << number:
            _done(libc.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0), "narrow the bounding set")
    _done(libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0), "empty the ambient set")
    header = struct.pack("Ii", 0x2008_0522, 0)
    data = struct.pack("IIIIII", kept & 0xFFFF_FFFF, kept & 0xFFFF_FFFF, 0, kept >> 32, kept >> 32, 0)
    _done(libc.capset(header, data), "narrow the capabilities")


def _enter_few_ids() -> None:
    """A helper that stays outside writes the maps."""
    theirs, ours = os.pipe()
    helper = os.fork()
    if helper == 0:
        os.read(theirs, 1)
        for name in ("uid_map", "gid_map"):
            Path(f"/proc/{os.getppid()}/{name}").write_text(_FEW_IDS)
        os._exit(0)
    _done(libc.unshare(_NEWUSER), "unshare a user namespace")
    os.write(ours, b"x")
    os.waitpid(helper, 0)
    os.close(theirs)
    os.close(ours)
    os.setgroups([])
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)


def _left() -> list[str]:
    """Who lives beside pid 1, which adopts and reaps the dead now."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and entry.name != "1":
            with contextlib.suppress(OSError):
                found.append((entry / "stat").read_text().rsplit(")", 1)[0] + ")")
    return found


def _be_first(options: argparse.Namespace) -> int:
    """Pid 1: restrict, run, and look at what is left."""
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    _done(libc.mount(None, b"/", None, ctypes.c_ulong(_MS_REC | _MS_PRIVATE), None), "make mounts private")
    command = options.command
    _restrict_paths(not options.unconfined)
    if not options.unconfined:
        _restrict_calls(not options.without_landlock)
    _restrict_capabilities(options.cap_add)
    child = os.fork()
    if child == 0:
        try:
            os.execvp(command[0], command)
        except OSError as error:
            print(f"{command[0]}: {error.strerror}", file=sys.stderr)
        os._exit(127)
    signal.signal(signal.SIGTERM, lambda *_: os.kill(child, signal.SIGTERM))
    signal.signal(signal.SIGINT, lambda *_: os.kill(child, signal.SIGINT))
    _, status = os.waitpid(child, 0)
    until = time.monotonic() + _LEFT_S_MAX
    while (left := _left()) and time.monotonic() < until:
        time.sleep(0.01)
    if left:
        print("left behind: " + ", ".join(left), file=sys.stderr)
        return LEFT_BEHIND
    return os.waitstatus_to_exitcode(status) & 0xFF


def main(options: argparse.Namespace) -> int:
    """Run it; answers its exit status, or LEFT_BEHIND."""
    if options.few_ids:
        _enter_few_ids()
    _done(libc.unshare(_NEWNS | _NEWPID), "unshare")
    first = os.fork()
    if first == 0:
        status = 125
        try:
            status = _be_first(options)
        finally:
            sys.stderr.flush()
            os._exit(status)

    def passed_on(number: int, _: FrameType | None) -> None:
        os.kill(first, number)

    signal.signal(signal.SIGTERM, passed_on)
    signal.signal(signal.SIGINT, passed_on)
    _, status = os.waitpid(first, 0)
    return os.waitstatus_to_exitcode(status) & 0xFF


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--without-landlock", action="store_true")
    parser.add_argument("--few-ids", action="store_true")
    parser.add_argument("--unconfined", action="store_true")
    parser.add_argument("--cap-add", action="append", choices=ADDED, default=[])
    parser.add_argument("command", nargs=argparse.REMAINDER)
    sys.exit(main(parser.parse_args()))
