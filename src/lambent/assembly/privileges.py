"""From root to an ordinary user, once, before the first request.

The spawner alone keeps privilege. The server needs none: its listeners, its data directory and the sandboxes' descriptors
are handed to it.

One thing stands in the way. What the server still reads (its interpreter, its own code, its data) may lie below a
directory that only root can pass: a virtual environment in /root is the common case. The server then gets a mount
namespace of its own in which that directory holds nothing but what it needs, and can be passed. Its owner's other files
are out of sight for it altogether. Where mounts are refused, everything importable is imported beforehand instead.
"""

from __future__ import annotations

import ctypes
import importlib
import logging
import os
import pkgutil
import pwd
import stat
import sys
from collections.abc import Iterable
from pathlib import Path

SERVER_UID = SERVER_GID = 61_184
"""Whom a server that root started becomes when no user is named and there is no user `lambent`. The number belongs to
nobody: it lies in the range that systemd reserves for dynamic service users."""
SERVER_USER = "lambent"

_CLONE_NEWNS = 0x20000
_MNT_DETACH = 2
_MS_NOSUID, _MS_NODEV, _MS_BIND, _MS_REC, _MS_PRIVATE = 2, 4, 4_096, 16_384, 1 << 18

log = logging.getLogger("lambent")


class UnknownUser(Exception):
    """The user that the server is to run as does not exist."""


def server_identity(run_as: str) -> tuple[int, int] | None:
    """(uid, gid) that the server is to run as; None: it stays who started it.

    run_as: a user's name or number; empty: the user `lambent` if there is one, else a number that is nobody's. `root`
    keeps root. Raises UnknownUser.
    """
    if os.geteuid() != 0 or run_as == "root":
        return None
    if run_as:
        try:
            entry = pwd.getpwuid(int(run_as)) if run_as.isdigit() else pwd.getpwnam(run_as)
        except KeyError:
            if run_as.isdigit():
                return int(run_as), int(run_as)
            raise UnknownUser(f"there is no user {run_as} on this machine") from None
        return entry.pw_uid, entry.pw_gid
    try:
        entry = pwd.getpwnam(SERVER_USER)
    except KeyError:
        return SERVER_UID, SERVER_GID
    return entry.pw_uid, entry.pw_gid


def become(identity: tuple[int, int], needed: Iterable[Path] = ()) -> None:
    """Give up root for good. `needed`: paths beside the interpreter and our code that the server must still reach."""
    uid, gid = identity
    code = Path(__file__).resolve().parent.parent
    places: tuple[str | Path, ...] = (sys.prefix, sys.base_prefix, code, *sys.path, *needed)
    paths = {Path(place).resolve() for place in places if place}
    blocked = {path: barrier for path in paths if path.exists() and (barrier := _barrier(path)) is not None}
    if blocked:
        try:
            _open_a_way(blocked)
        except OSError as error:
            log.info("no mount namespace for the server (%s): importing everything beforehand", error)
            _import_everything()
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    os.environ["HOME"] = "/nonexistent"  # root's home is not ours any more
    try:
        os.setresuid(0, 0, 0)
    except PermissionError:
        return
    raise AssertionError("root could be taken back")


def _barrier(path: Path) -> Path | None:
    """The topmost directory above `path` (or it itself) that others can't pass; None when there is none."""
    for directory in (*reversed(path.parents), path):
        mode = directory.stat().st_mode
        if stat.S_ISDIR(mode) and not mode & stat.S_IXOTH:
            # What belongs to the server itself (its data directory) is no barrier to it.
            return None if directory == path else directory
    return None


def _open_a_way(blocked: dict[Path, Path]) -> None:
    """In a mount namespace of our own, put in each barrier's place an empty directory that holds the paths behind it.

    Raises OSError, and has then changed nothing that others see.
    """
    libc = ctypes.CDLL(None, use_errno=True)

    def mount(source: str, target: str, kind: str | None, flags: int, options: str | None = None) -> None:
        arguments = [os.fsencode(text) if text is not None else None for text in (source, target, kind)]
        if libc.mount(*arguments, flags, os.fsencode(options) if options is not None else None) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), target)

    if libc.unshare(_CLONE_NEWNS) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    opened: dict[Path, int] = {}
    covered: list[Path] = []
    try:
        mount("none", "/", None, _MS_REC | _MS_PRIVATE)
        # Opened here: a descriptor from before belongs to the other namespace's mounts and can't be bound.
        for path in _outermost(blocked):
            opened[path] = os.open(path, os.O_PATH | os.O_CLOEXEC)
        for barrier in sorted(set(blocked.values())):
            mount("lambent", str(barrier), "tmpfs", _MS_NOSUID | _MS_NODEV, "mode=0711,size=1m")
            covered.append(barrier)
        for path, descriptor in opened.items():
            if stat.S_ISDIR(os.fstat(descriptor).st_mode):
                path.mkdir(mode=0o755, parents=True, exist_ok=True)
            else:
                path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
                path.touch()
            mount(f"/proc/self/fd/{descriptor}", str(path), None, _MS_BIND | _MS_REC)
    except OSError:
        for barrier in covered:
            libc.umount2(os.fsencode(barrier), _MNT_DETACH)
        raise
    finally:
        for descriptor in opened.values():
            os.close(descriptor)


def _outermost(paths: Iterable[Path]) -> list[Path]:
    """Those that lie in no other of them."""
    kept: list[Path] = []
    for path in sorted(paths):
        if not any(path.is_relative_to(other) for other in kept):
            kept.append(path)
    return kept


def _import_everything() -> None:
    package = importlib.import_module("lambent")
    for module in pkgutil.walk_packages(package.__path__, "lambent."):
        if not module.name.startswith(("lambent.bootstraps", "lambent.__main__", "lambent.launcher")):
            importlib.import_module(module.name)
    encodings = importlib.import_module("encodings")
    for module in pkgutil.iter_modules(encodings.__path__, "encodings."):
        if module.name not in ("encodings.mbcs", "encodings.oem"):  # other systems'
            importlib.import_module(module.name)
    for name in ("concurrent.futures.thread", "http.client", "ssl", "tempfile", "traceback", "zipfile"):
        importlib.import_module(name)
