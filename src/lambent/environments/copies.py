"""Copies of a template before they belong to an environment: sandboxes made ahead, and processes forked ahead in them."""

from __future__ import annotations

import contextlib
import socket
from dataclasses import dataclass

from ..sandbox.port import Copy, SandboxError
from .blanks import WaitingRuntime

REHEARSE_FRAME = b"\x01\0\0\0\x16"
"""What a copy that was made ahead is told before it is told to go on (REHEARSE, see ARCHITECTURE.md)."""


@dataclass(slots=True)
class PreparedCopy:
    """A bound sandbox below its template, and perhaps the copy in it, which waits for the word to go on."""

    sandbox: Copy
    runtime: WaitingRuntime | None = None

    async def forked(self) -> WaitingRuntime:
        """The copy, forked now where that has not been done. Raises SandboxError."""
        if self.runtime is None:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
            runtime = WaitingRuntime(ours, "")  # no pool: only its version may have it
            try:
                runtime.log_fd = await self.sandbox.copy(theirs, runtime.exited)
            except BaseException:
                runtime.close()
                raise
            self.runtime = runtime
        return self.runtime

    async def forked_ahead(self) -> None:
        """The same, with time to spare: the copy gets ready for what comes. Raises SandboxError."""
        runtime = await self.forked()
        with contextlib.suppress(OSError):  # it has ended; whoever takes it finds out
            runtime.ours.send(REHEARSE_FRAME)

    @property
    def has_ended(self) -> bool:
        """Forked, and gone by now."""
        return self.runtime is not None and self.runtime.ended is not None

    async def destroy(self) -> None:
        """Give up what nobody took."""
        if self.runtime is not None:
            self.runtime.close()
        with contextlib.suppress(SandboxError):
            await self.sandbox.destroy()
