"""Blank sandboxes kept ready: everything that knows no function is done before one is asked for.

The first use of an image says that more may follow: from then on some blanks of it are kept, until none was taken for a
while. A blank holds no code, no identity and no limits of anybody's; it gets them when it is bound. It is used once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from ..domain.clock import Clock
from ..domain.limits import EPHEMERAL_MB_DEFAULT, RUNTIME_DESCRIPTORS_MAX, RUNTIME_PROCESSES_MAX
from ..sandbox.port import Limits, Sandbox, SandboxDriver, SandboxError

KEEP_S = 600.0
"""An image's blanks are given up when none was taken for this long."""
BLANK_LIMITS = Limits(
    memory_mb=128,
    cpu_vcpus=1.0,
    processes_max=RUNTIME_PROCESSES_MAX,
    descriptors_max=RUNTIME_DESCRIPTORS_MAX,
    tmp_mb=EPHEMERAL_MB_DEFAULT,
)

log = logging.getLogger("lambent.environments")


class Blanks:
    """Ready sandboxes by image; `per_image` of each image in use, 0: none."""

    def __init__(
        self,
        driver: SandboxDriver,
        clock: Clock,
        per_image: int,
        supervise: Callable[[Coroutine[Any, Any, None], str], asyncio.Task[None]],
    ) -> None:
        self._driver = driver
        self._clock = clock
        self._per_image = per_image
        self._supervise = supervise
        self._ready: dict[str, list[Sandbox]] = {}
        self._making: dict[str, int] = {}
        self._taken_ns: dict[str, int] = {}
        self._is_closed = False

    async def take(self, image: str, limits: Limits) -> Sandbox:
        """A blank of `image`: a ready one where the size of `/tmp` allows, else one made now. Raises SandboxError."""
        if self._per_image and not self._is_closed:
            self._taken_ns[image] = self._clock.monotonic_ns()
            ready = self._ready.get(image)
            blank = ready.pop() if ready and limits.tmp_mb == BLANK_LIMITS.tmp_mb else None
            self._refill(image)
            if blank is not None:
                return blank
        return await self._driver.create(image, limits)

    def _refill(self, image: str) -> None:
        missing = self._per_image - len(self._ready.get(image, ())) - self._making.get(image, 0)
        for _ in range(missing):
            self._making[image] = self._making.get(image, 0) + 1
            self._supervise(self._make(image), f"blank {image}")

    async def _make(self, image: str) -> None:
        try:
            blank = await self._driver.create(image, BLANK_LIMITS)
        except SandboxError as error:
            log.warning(
                "no blank of %s could be made: %s", image, error
            )  # the next cold start makes its own, and tries
            return
        finally:
            self._making[image] -= 1
        if self._is_closed:
            await blank.destroy()
        else:
            self._ready.setdefault(image, []).append(blank)

    @property
    def count(self) -> int:
        """Ready blanks of all images."""
        return sum(map(len, self._ready.values()))

    async def sweep(self) -> None:
        """Give up the blanks of images that nobody asks for any more."""
        before_ns = self._clock.monotonic_ns() - int(KEEP_S * 1_000_000_000)
        for image in [image for image, taken_ns in self._taken_ns.items() if taken_ns < before_ns]:
            del self._taken_ns[image]
            await self._give_up(image)

    async def close(self) -> None:
        """Destroy every blank; those being made follow when they are done."""
        self._is_closed = True
        for image in list(self._ready):
            await self._give_up(image)

    async def _give_up(self, image: str) -> None:
        for blank in self._ready.pop(image, []):
            try:
                await blank.destroy()
            except SandboxError as error:
                log.warning("a blank of %s was not torn down cleanly: %s", image, error)
