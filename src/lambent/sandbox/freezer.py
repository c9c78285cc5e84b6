"""Stopping and waking a sandbox with one write to a file of its control group, without asking the spawner.

To ask takes two messages and two processes that are woken for them, longer than the work of a quick function, and who asks
waits behind whatever the spawner does just then. So the spawner gives the server's group that one file of each control
group to write to; the others stay root's. Where this is not so (another tier, a file system that is read-only here), the spawner is asked.
"""

from __future__ import annotations

import errno
import os

from .groups import Groups
from .kept import KeptFiles

OPEN_MAX = 128
"""Files of groups that stay open; the one used longest ago gives way."""

_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS)


class Freezer:
    """Knows where an instance's groups are."""

    def __init__(self, groups: Groups, instance: str) -> None:
        directory = groups.directory("freezer") if groups.version == 1 else None
        self._name, self._words = "freezer.state", (b"THAWED", b"FROZEN")
        if groups.version == 2 and groups.hierarchies:
            directory = groups.hierarchies[0].path
            self._name, self._words = "cgroup.freeze", (b"0", b"1")
        self._groups = None if directory is None else f"{directory}/lambent-{instance}"
        self._is_refused = False
        self._files = KeptFiles(OPEN_MAX, os.O_WRONLY)

    def set(self, group: str, is_frozen: bool) -> bool:
        """Ask the kernel to stop, or to let go on, what is in a group; False when this can't be done here, or the group is
        gone. A group's name is never given again to one that was ended by itself, and `release` ends its use otherwise."""
        if self._groups is None or self._is_refused:
            return False
        try:
            os.write(self._files.fd(self._path(group)), self._words[is_frozen])
        except OSError as error:
            self._is_refused = error.errno in _REFUSED  # of one group as of all
            self.release(group)
            return False
        return True

    def release(self, group: str) -> None:
        """Nobody stops or wakes this one any more."""
        self._files.release(self._path(group))

    def close(self) -> None:
        """Release everything."""
        self._files.close()

    def _path(self, group: str) -> str:
        return f"{self._groups}/{group}/{self._name}"
