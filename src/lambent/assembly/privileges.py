"""From root to an ordinary user, once, before the first request.

The spawner alone keeps privilege. The server needs none: its listeners, its data directory and the sandboxes' descriptors
are handed to it. What must be said aloud: an interpreter that lies where only root can look (a virtual environment below
/root, say) can't be imported from any more once the server is somebody else, so everything is then imported beforehand.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import pwd
import stat
import sys
from pathlib import Path

SERVER_UID = SERVER_GID = 61_184
"""Whom a server that root started becomes when no user is named and there is no user `lambent`. The number belongs to
nobody: it lies in the range that systemd reserves for dynamic service users."""
SERVER_USER = "lambent"

_LAZY = (
    "concurrent.futures.thread",
    "encodings.idna",
    "http.client",
    "importlib.resources",
    "ssl",
    "tempfile",
    "traceback",
    "zipfile",
)
"""Standard modules that are imported on first use by what we use."""


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


def become(identity: tuple[int, int]) -> None:
    """Give up root for good, with everything that could not be imported afterwards imported before."""
    uid, gid = identity
    if not all(_is_reachable(Path(path)) for path in (sys.prefix, sys.base_prefix, Path(__file__).parent)):
        _import_everything()
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    os.environ["HOME"] = "/nonexistent"  # root's home is neither readable nor ours any more
    try:
        os.setresuid(0, 0, 0)
    except PermissionError:
        return
    raise AssertionError("root could be taken back")


def _is_reachable(path: Path) -> bool:
    """Whether everybody may pass all directories down to `path` and read it."""
    for directory in (path, *path.parents):
        if not directory.stat().st_mode & stat.S_IXOTH:
            return False
    return bool(path.stat().st_mode & stat.S_IROTH)


def _import_everything() -> None:
    package = importlib.import_module("lambent")
    for module in pkgutil.walk_packages(package.__path__, "lambent."):
        if not module.name.startswith(("lambent.bootstraps", "lambent.__main__", "lambent.launcher")):
            importlib.import_module(module.name)
    for name in _LAZY:
        importlib.import_module(name)
