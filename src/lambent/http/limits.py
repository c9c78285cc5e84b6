"""Every bound of the HTTP core, in one place."""

from __future__ import annotations

from dataclasses import dataclass

from lambent.domain.limits import REQUEST_BYTES_MAX


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one server. Times are kept by a sweep (`Reaper`): a limit of 20 s cuts between 20 s and one sweep more."""

    head_bytes: int = 1_048_576
    """Request line and header fields together; the published quota is 1 MB. Over it: 414 or 431. Bounds trailers too."""
    head_fields: int = 1_000
    """Header fields of one request. Over it: 431."""
    body_bytes: int = REQUEST_BYTES_MAX
    """The most that is collected for a buffered request, whatever the application allows."""
    chunk_line_bytes: int = 256
    """Chunk size with its extensions. Over it: 400."""
    header_s: float = 20.0
    """From the first byte of a head to its end. Over it: 408."""
    body_grace_s: float = 20.0
    """What a body may take whatever its size; with `body_rate_min` the rule is age <= grace + received / rate."""
    body_rate_min: int = 1_024
    """Bytes per second that a body must keep up on average, after the grace. Below it: 408."""
    idle_s: float | None = 120.0
    """Between two requests of one connection, and before the first; None: for ever."""
    write_stall_s: float = 60.0
    """How long a client may take no byte of an answer that waits for it; then the connection is cut."""
    linger_s: float = 2.0
    """How long a client that was refused in mid-request may go on sending, so that it gets to read the refusal."""
    discard_bytes: int = 262_144
    """Rest of an unwanted body that is read and thrown away to keep the connection; a longer one closes it."""
    connections: int = 10_000
    """Open connections at which accepting pauses. What one round had in hand already (`accept_round`) may come on top."""
    accept_round: int = 64
    """Connections accepted at once, before those that are open have their turn again; one more with Python 3.14's asyncio, and
    uvloop accepts whoever is there."""
    backlog: int = 4_096
    """Connections the kernel queues while nobody accepts; it allows no more than its `net.core.somaxconn`. Beyond it, it
    lets clients try again, and resets them when they have for some seconds."""
    pipelined_bytes: int = 65_536
    """Bytes of further requests held while one is being handled; then reading pauses. They are not parsed before their
    turn, so this bounds the queued requests, too."""
    write_high_bytes: int = 262_144
    """Unsent bytes at which `drain` waits and no further request of the connection is begun."""
