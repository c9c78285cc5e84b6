"""Threads for blocking work, all started beforehand.

An ordinary pool starts a thread when work comes, after it has put the work in line. On a machine that has no process id left
the caller is then told that it failed, and the work is done all the same, later, by a thread that becomes free. A pool that is
full from the start has nothing left to fail.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

WORKERS = 6
"""Of the event loop's own pool; what waits for a disk or computes for milliseconds is done there."""


def full_pool(threads: int, name: str) -> ThreadPoolExecutor:
    """A pool of so many threads that run already. Raises RuntimeError where the system gives none."""
    pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
    everybody_is_here = threading.Barrier(threads)
    try:
        for _ in range(threads):
            pool.submit(everybody_is_here.wait)
    except BaseException:
        everybody_is_here.abort()
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    return pool
