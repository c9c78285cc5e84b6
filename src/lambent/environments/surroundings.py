"""What every environment of a server shares, and what it asks of who keeps it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from ..domain.clock import Clock
from ..functions.model import FunctionVersion
from ..telemetry.attempt import AttemptPart, InitRecord, UserEvents
from ..telemetry.lines import LineSplitter
from .awake import Awake
from .blanks import Blanks
from .plan import Carriers
from .streams import Bandwidth

if TYPE_CHECKING:
    from .environment import Environment


class Owner(Protocol):
    """Who keeps the environments: told when one is free, broken or has something to write down."""

    def freed(self, environment: Environment) -> None: ...

    def broke(self, environment: Environment) -> None:
        """The environment can't take work until `freed`."""

    def finishing(self, environment: Environment) -> None:
        """It has answered and will be `freed` as soon as its runtime asks for the next event."""

    def retire(self, environment: Environment, reason: str) -> None: ...

    def lost(self, environment: Environment) -> None:
        """The process of one that was initialised to be copied has ended."""

    def record(self, record: InitRecord | AttemptPart | UserEvents) -> None: ...

    def supervise(self, coroutine: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]: ...


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What every environment of a server shares."""

    blanks: Blanks
    carriers: Carriers
    clock: Clock
    new_splitter: Callable[[FunctionVersion], LineSplitter]
    owner: Owner
    init_limit_s: float
    """How long the init phase before the first invocation may take."""
    is_lost: Callable[[], bool]
    """Whether whoever keeps the sandboxes is gone: an end is then no function's own."""
    awake: Awake
    bandwidth: Bandwidth | None = None
    """What each streamed response may use; None: as much as its client takes."""
