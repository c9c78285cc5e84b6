"""How many descriptors the server may hold, and what they are for.

A process that runs out of them fails everywhere at once: no connection, no sandbox, no file. So the two that grow with
use, connections and environments, are bounded by the kernel's limit beforehand: over the first, connections wait to be
accepted; over the second, an idle environment makes room.
"""

from __future__ import annotations

import resource
from dataclasses import dataclass

PER_ENVIRONMENT = 3
"""Of an idle environment: its listener, its channel, its log pipe."""
RESERVED = 64
RESERVED_SHARE = 16
"""Stores, the spawner, files being read, what is handed over while environments start: 64 and a sixteenth of all."""
CONNECTION_SHARE = 8
WANTED = 131_072
"""More than any machine's environments need; some systems offer a billion, and tables are sized by it."""


@dataclass(frozen=True, slots=True)
class Budget:
    """What fits."""

    connections: int
    environments: int


def raise_limit() -> int:
    """Raise the limit of this process (RLIMIT_NOFILE) as far as it may; answers it. A shell's default is often 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = WANTED if hard == resource.RLIM_INFINITY else min(hard, WANTED)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted


def budget(limit: int, connections_max: int, environments_max: int) -> Budget:
    """What of the wanted numbers fits a limit of descriptors; at least one of each."""
    connections = max(1, min(connections_max, limit // CONNECTION_SHARE))
    room = limit - connections - RESERVED - limit // RESERVED_SHARE
    return Budget(connections, max(1, min(environments_max, room // PER_ENVIRONMENT)))
