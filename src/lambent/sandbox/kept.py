"""Descriptors of small kernel files that are used again and again: to open one costs 15 us, to use it 2, and one for each of
thousands of idle environments is too many."""

from __future__ import annotations

import os
from collections import OrderedDict


class KeptFiles:
    """The files used last stay open; over `most`, the one used longest ago gives way."""

    def __init__(self, most: int, flags: int) -> None:
        self._most = most
        self._flags = flags | os.O_CLOEXEC
        self._open: OrderedDict[str, int] = OrderedDict()

    def fd(self, path: str) -> int:
        """A descriptor of the file, for use in this step. Raises OSError."""
        fd = self._open.get(path)
        if fd is None:
            fd = self._open[path] = os.open(path, self._flags)
            if len(self._open) > self._most:
                os.close(self._open.popitem(last=False)[1])
        else:
            self._open.move_to_end(path)
        return fd

    def release(self, path: str) -> None:
        """Nobody uses this one any more."""
        fd = self._open.pop(path, None)
        if fd is not None:
            os.close(fd)

    def close(self) -> None:
        """Release everything."""
        for path in list(self._open):
            self.release(path)
