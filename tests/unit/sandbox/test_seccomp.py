"""The filter, number by number, through a small interpreter; both architectures, whatever this machine is."""

from __future__ import annotations

import struct
import subprocess
from dataclasses import dataclass
from errno import ENOSYS, EPERM

import pytest

from lambent.launcher.build import BuildError, build
from lambent.sandbox.spawner import BINARY

ALLOW, KILL = 0x7FFF0000, 0x80000000
DENY, UNKNOWN = 0x50000 | EPERM, 0x50000 | ENOSYS
HIGHEST_REVIEWED = 469
AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
I386 = 0x40000003

# The kernel's own tables (arch/x86/entry/syscalls/syscall_64.tbl, include/uapi/asm-generic/unistd.h).
COMMON = {
    "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427, "open_tree": 428, "move_mount": 429,
    "fsopen": 430, "fsconfig": 431, "fsmount": 432, "fspick": 433, "pidfd_getfd": 438, "mount_setattr": 442,
    "quotactl_fd": 443, "open_tree_attr": 467,
}  # fmt: skip
DENIED = {
    "x86_64": COMMON | {
        "ptrace": 101, "syslog": 103, "modify_ldt": 154, "pivot_root": 155, "chroot": 161, "acct": 163,
        "settimeofday": 164, "mount": 165, "umount2": 166, "swapon": 167, "swapoff": 168, "reboot": 169, "iopl": 172,
        "ioperm": 173, "init_module": 175, "delete_module": 176, "quotactl": 179, "clock_settime": 227,
        "kexec_load": 246, "add_key": 248, "request_key": 249, "keyctl": 250, "unshare": 272, "perf_event_open": 298,
        "fanotify_init": 300, "name_to_handle_at": 303, "open_by_handle_at": 304, "clock_adjtime": 305, "setns": 308,
        "process_vm_readv": 310, "process_vm_writev": 311, "kcmp": 312, "finit_module": 313, "kexec_file_load": 320,
        "bpf": 321, "userfaultfd": 323,
    },
    "aarch64": COMMON | {
        "umount2": 39, "mount": 40, "pivot_root": 41, "chroot": 51, "quotactl": 60, "acct": 89, "unshare": 97,
        "kexec_load": 104, "init_module": 105, "delete_module": 106, "clock_settime": 112, "syslog": 116,
        "ptrace": 117, "reboot": 142, "settimeofday": 170, "add_key": 217, "request_key": 218, "keyctl": 219,
        "swapon": 224, "swapoff": 225, "perf_event_open": 241, "fanotify_init": 262, "name_to_handle_at": 264,
        "open_by_handle_at": 265, "clock_adjtime": 266, "setns": 268, "process_vm_readv": 270,
        "process_vm_writev": 271, "kcmp": 272, "finit_module": 273, "bpf": 280, "userfaultfd": 282,
        "kexec_file_load": 294,
    },
}  # fmt: skip
CLONE = {"x86_64": 56, "aarch64": 220}
SOCKET = {"x86_64": 41, "aarch64": 198}
PERSONALITY = {"x86_64": 135, "aarch64": 92}
CLONE3 = 435


@dataclass(frozen=True)
class Filter:
    architecture: str
    program: list[tuple[int, int, int, int]]

    def answer(self, number: int, *arguments: int, arch: int | None = None) -> int:
        """What the kernel would do with this call."""
        words = [a & 0xFFFFFFFFFFFFFFFF for a in (*arguments, *[0] * (6 - len(arguments)))]
        data = struct.pack("<IIQ6Q", number & 0xFFFFFFFF, arch or AUDIT[self.architecture], 0, *words)
        at = accumulator = steps = 0
        while True:
            code, jump_true, jump_false, k = self.program[at]
            at += 1
            steps += 1
            assert steps < 100, "not a tree"
            match code:
                case 0x20:  # load a word
                    accumulator = struct.unpack_from("<I", data, k)[0]
                case 0x06:  # return
                    return k
                case 0x05:  # jump always
                    at += k
                case 0x15 | 0x25 | 0x35 | 0x45:  # equal, greater, greater or equal, any bit
                    holds = {
                        0x15: accumulator == k,
                        0x25: accumulator > k,
                        0x35: accumulator >= k,
                        0x45: bool(accumulator & k),
                    }[code]
                    at += jump_true if holds else jump_false
                case _:
                    raise AssertionError(f"unknown instruction {code:#x}")


@pytest.fixture(scope="module", params=["x86_64", "aarch64"])
def calls(request: pytest.FixtureRequest) -> Filter:
    try:
        binary = BINARY if BINARY.exists() else build()
    except BuildError as error:
        pytest.skip(f"no launcher and no compiler: {error}")
    raw = subprocess.run([binary, "--seccomp", request.param], capture_output=True, check=True).stdout
    return Filter(request.param, list(struct.iter_unpack("<HBBI", raw)))


def test_every_number_up_to_700(calls: Filter) -> None:
    denied = set(DENIED[calls.architecture].values())
    special = {CLONE[calls.architecture], SOCKET[calls.architecture], PERSONALITY[calls.architecture]}
    for number in set(range(701)) - special:
        known = DENY if number in denied else ALLOW
        expected = UNKNOWN if number == CLONE3 or number > HIGHEST_REVIEWED else known
        assert calls.answer(number) == expected, number


def test_a_zygote_may_join_namespaces_and_be_born_into_groups_and_nothing_else_more(calls: Filter) -> None:
    raw = subprocess.run([BINARY, "--seccomp-forkers", calls.architecture], capture_output=True, check=True).stdout
    forkers = Filter(calls.architecture, list(struct.iter_unpack("<HBBI", raw)))
    more = {n for n in range(701) if forkers.answer(n) == ALLOW} - {n for n in range(701) if calls.answer(n) == ALLOW}
    assert more == {DENIED[calls.architecture]["setns"], CLONE3}
    assert all(calls.answer(n) != ALLOW or forkers.answer(n) == ALLOW for n in range(701))


def test_the_x32_table_and_negative_numbers_do_not_exist(calls: Filter) -> None:
    for number in (0x40000000, 0x40000000 + 165, 0x7FFFFFFF, 0x80000000, -1, -2):
        assert calls.answer(number) == UNKNOWN


def test_another_architecture_ends_the_process(calls: Filter) -> None:
    for arch in {I386, *AUDIT.values()} - {AUDIT[calls.architecture]}:
        assert calls.answer(0, arch=arch) == KILL


@pytest.mark.parametrize("flag", [0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000])
def test_clone_makes_no_namespace(calls: Filter, flag: int) -> None:
    assert calls.answer(CLONE[calls.architecture], flag | 17) == DENY
    assert calls.answer(CLONE[calls.architecture], 17 | 1 << 32) == ALLOW
    assert calls.answer(CLONE[calls.architecture], 0x3D0F00) == ALLOW  # a thread


def test_socket_families(calls: Filter) -> None:
    number = SOCKET[calls.architecture]
    allowed = {1, 2, 10}
    for family in range(64):
        for protocol in (0, 1, 9, 15):
            expected = ALLOW if family in allowed or (family == 16 and protocol == 0) else DENY
            assert calls.answer(number, family, 2, protocol) == expected, (family, protocol)
    assert calls.answer(number, 1 | 1 << 32) == ALLOW  # the kernel, too, looks at the low word only


def test_personality_is_asked_or_plain(calls: Filter) -> None:
    number = PERSONALITY[calls.architecture]
    assert calls.answer(number, 0) == ALLOW
    assert calls.answer(number, 0xFFFFFFFF) == ALLOW
    assert calls.answer(number, 0x0040000) == DENY


def test_the_filter_is_a_tree(calls: Filter) -> None:
    """A linear list costs what is felt on every call; the interpreter bounds the path, this the size."""
    assert len(calls.program) < 256
