"""Functions over a memory store, with a machine whose runtimes a test decides."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from lambent.domain.clock import ManualClock
from lambent.domain.names import FunctionRef
from lambent.functions.account import AccountLimits
from lambent.functions.model import Change, Code, Function
from lambent.functions.service import CodeSource, Functions
from lambent.functions.store import FunctionStore
from lambent.functions.wanted import Wanted
from lambent.signing.deployments import Signatures
from lambent.signing.service import SigningConfigs
from lambent.signing.trust import Trust
from lambent.stores.documents_memory import MemoryDocuments
from lambent.stores.functions_memory import MemoryFunctions

T = TypeVar("T")


class Machine:
    """Runs every runtime that is not in `lacks`."""

    def __init__(self) -> None:
        self.lacks: set[str] = set()

    def missing(self, runtime: str, architecture: str, client: str, /) -> str | None:
        return f"{runtime} is not on this machine: install it" if runtime in self.lacks else None


def stored(store: FunctionStore) -> list[Function]:
    """Everything that the store holds, in order."""
    return [store.wake(FunctionRef(*one[:3]), one.stored) for one in store.load()]


class House:
    """One service and what it stands on."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.machine = Machine()
        self.store: FunctionStore = MemoryFunctions()
        self.heard: list[Change] = []
        self.counted: list[tuple[str, str, int]] = []
        """Metrics of deployments: function, name, value."""
        self.functions = self.open()

    def open(self, **settings: Any) -> Functions:
        """The service anew, as after a restart."""
        self.functions = Functions(self.store, self.machine, self.clock, **settings)
        self.functions.subscribe(self.heard.append)
        return self.functions

    def run(self, scenario: Coroutine[Any, Any, T]) -> T:
        """Run to the end, everything settled."""

        async def session() -> T:
            answer = await scenario
            await self.functions.close()
            return answer

        return asyncio.run(session())


def signing(house: House, trust_dir: str | Path = "") -> tuple[SigningConfigs, Signatures]:
    """Code signing for a door over a house: nobody is trusted unless a directory says so."""
    configs = SigningConfigs(
        MemoryDocuments(),
        house.clock,
        is_attached=lambda arn: house.functions.is_signing(arn),
    )
    count = house.counted.append
    return configs, Signatures(Trust(trust_dir), house.clock, lambda ref, name, value: count((ref.name, name, value)))


def ref(name: str = "fn") -> FunctionRef:
    return FunctionRef("123456789012", "us-east-1", name)


def wanted(**members: Any) -> Wanted:
    defaults = {"role": "arn:aws:iam::123456789012:role/r", "runtime": "python3.13", "handler": "app.handler"}
    return Wanted(**{**defaults, **members})


def code(content: str = "a", size_bytes: int = 100) -> CodeSource:
    async def fetch() -> Code:
        await asyncio.sleep(0)
        return Code(content.ljust(64, "0"), f"sha-{content}", size_bytes, size_bytes * 3)

    return fetch


LOW = AccountLimits(concurrent_executions=1_000, code_storage_bytes=1_000)
