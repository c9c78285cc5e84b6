"""What large bodies take of memory is the machine's again when they are gone.

glibc by itself raises the size from which blocks are the kernel's at once, up to 32 MB, and keeps twice as much in the heap
of each thread that ever read a large body: after two dozen uploads of 20 MB the server had 230 to 310 MB instead of 38. With the
sizes here it has 58 at their end and 48 afterwards (docs/benchmarks.md), and an invocation with the largest payload takes as
long as before; smaller sizes cost it a third more. Other C libraries have no such calls, and nothing is asked of them.
"""

from __future__ import annotations

from typing import Any

OWN_BLOCK_BYTES_MIN = 8 << 20
"""Blocks of this size and larger are the kernel's at once when they are freed. Payloads of invocations are smaller."""
KEPT_BYTES_MAX = 16 << 20
"""What a heap keeps at its end for the next blocks."""

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


class Heap:
    """The C library's."""

    def expect_large(self) -> None:
        """Large bodies will come: from now on, keep no more than that."""
        mallopt = _of_libc("mallopt")
        if mallopt is not None:
            mallopt(_M_MMAP_THRESHOLD, OWN_BLOCK_BYTES_MIN)
            mallopt(_M_TRIM_THRESHOLD, KEPT_BYTES_MAX)

    def give_back(self) -> None:
        """Return what is kept, as far as the library can; milliseconds for a hundred megabytes, on any thread."""
        trim = _of_libc("malloc_trim")
        if trim is not None:
            trim(0)


def _of_libc(name: str) -> Any:
    import ctypes  # not on the way to listening

    return getattr(ctypes.CDLL(None), name, None)
