"""Code signing configurations: the concept's one service.

A configuration that functions have cannot be deleted, also not in the moment between the look and the write: both attaching
and deleting are noted before their first await, and each refuses while the other is under way.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from lambent.domain.clock import Clock
from lambent.domain.documents import Collection, DocumentStore, Key
from lambent.domain.errors import CodeSigningConfigNotFound, ResourceConflict, ResourceNotFound
from lambent.domain.ids import random_hex
from lambent.domain.names import Scope

from .model import WARN, CodeSigningConfig, arn_of, decode, encode, key_of

KIND = "signing"
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_TIME_DIGITS, _RANDOM_DIGITS = 9, 8
"""An id is milliseconds since 1970, good until the year 5188, and chance, both to the base of 36."""

T = TypeVar("T")


class SigningConfigs:
    """The code signing configurations of all accounts and regions. Used from one event loop."""

    def __init__(self, store: DocumentStore, clock: Clock, *, is_attached: Callable[[str], bool]) -> None:
        """is_attached: whether some function has the configuration with this ARN."""
        self._configs: Collection[CodeSigningConfig] = Collection(store, KIND, encode=encode, decode=decode)
        self._clock = clock
        self._is_attached = is_attached
        self._last_ms = max((_milliseconds(key.name) for key, _ in self._configs), default=0)
        self._attaching: Counter[Key] = Counter()
        self._leaving: set[Key] = set()
        self._tasks: set[asyncio.Task[Any]] = set()

    async def close(self) -> None:
        """Wait until every accepted change is written."""
        while self._tasks:
            await asyncio.wait(self._tasks)
        await self._configs.close()

    # What one can ask: synchronous, from memory.

    def find(self, arn: str, scope: Scope) -> CodeSigningConfig | None:
        """The configuration with this ARN, when it exists and is of this scope."""
        key = key_of(arn)
        config = self._configs.get(key)
        return config if config is not None and key.scope == scope and config.arn == arn else None

    def get(self, arn: str, scope: Scope) -> CodeSigningConfig:
        """The configuration; raises ResourceNotFound, which here has no Type."""
        config = self.find(arn, scope)
        if config is None:
            raise _missing(arn)
        return config

    def require(self, arn: str, scope: Scope) -> CodeSigningConfig:
        """The configuration a function is to have; raises CodeSigningConfigNotFound."""
        config = self.find(arn, scope)
        if config is None or config.key in self._leaving:
            raise CodeSigningConfigNotFound(
                "The code signing configuration cannot be found. "
                f"Check that the provided configuration is not deleted: {arn}."
            )
        return config

    def page(self, scope: Scope, after: str, most: int) -> list[CodeSigningConfig]:
        """Up to `most` configurations behind the id `after`, in the order of their creation."""
        found = (
            self._configs.get(Key(scope.account, scope.region, id)) for id in self._configs.names(scope, after, most)
        )
        return [config for config in found if config is not None]

    def tags(self, arn: str, scope: Scope) -> Mapping[str, str]:
        """Raises ResourceNotFound in the words of the tag operations."""
        return self._tagged(self.find(arn, scope), arn).tags

    # Changes.

    async def create(
        self,
        scope: Scope,
        publishers: tuple[str, ...],
        *,
        policy: str | None = None,
        description: str = "",
        tags: Mapping[str, str] | None = None,
    ) -> CodeSigningConfig:
        """A new configuration. Its rules have been checked: 1 to 20 publishers, policy Warn or Enforce."""
        key = Key(scope.account, scope.region, self._new_id())
        config = CodeSigningConfig(
            key, publishers, self._clock.wall_ms(), policy or WARN, description, dict(tags or {})
        )
        await self._configs.change(key, lambda _: config)
        return config

    async def update(
        self,
        arn: str,
        scope: Scope,
        *,
        publishers: tuple[str, ...] | None = None,
        policy: str | None = None,
        description: str | None = None,
    ) -> CodeSigningConfig:
        """Replace what is given; where nothing is, nothing changes."""
        given: dict[str, Any] = {"publishers": publishers, "policy": policy, "description": description}
        given = {name: value for name, value in given.items() if value is not None}

        def decide(old: CodeSigningConfig | None) -> CodeSigningConfig:
            if old is None:
                raise _missing(arn)
            return replace(old, **given, modified_ms=self._clock.wall_ms()) if given else old

        config = await self._configs.change(self.get(arn, scope).key, decide)
        assert config is not None
        return config

    async def change_tags(
        self, arn: str, scope: Scope, decide: Callable[[Mapping[str, str]], Mapping[str, str]]
    ) -> None:
        """Other tags. Raises ResourceNotFound in the words of the tag operations, and what `decide` raises."""

        def change(old: CodeSigningConfig | None) -> CodeSigningConfig:
            config = self._tagged(old, arn)
            tags = decide(config.tags)
            return config if tags == config.tags else replace(config, tags=dict(tags))

        await self._configs.change(self._tagged(self.find(arn, scope), arn).key, change)

    async def delete(self, arn: str, scope: Scope) -> None:
        """Raises ResourceConflict while functions have it."""
        await asyncio.shield(self._spawn(self._delete(arn, scope)))

    async def attach(self, arn: str, scope: Scope, work: Callable[[], Awaitable[T]]) -> T:
        """Run `work`, which makes some function have the configuration; it stays there meanwhile.

        Raises CodeSigningConfigNotFound and what `work` raises. Runs to its end whatever happens to the caller.
        """
        return await asyncio.shield(self._spawn(self._attach(arn, scope, work)))

    async def _delete(self, arn: str, scope: Scope) -> None:
        key = self.get(arn, scope).key
        if self._attaching[key] or self._is_attached(arn):
            raise ResourceConflict(
                f"The code signing configuration {arn} cannot be deleted: functions use it. "
                "Remove it from them with DeleteFunctionCodeSigningConfig, or give them another one."
            )
        self._leaving.add(key)
        try:
            await self._configs.change(key, lambda _: None)
        finally:
            self._leaving.discard(key)

    async def _attach(self, arn: str, scope: Scope, work: Callable[[], Awaitable[T]]) -> T:
        key = self.require(arn, scope).key
        self._attaching[key] += 1
        try:
            return await work()
        finally:
            self._attaching[key] -= 1

    def _tagged(self, config: CodeSigningConfig | None, arn: str) -> CodeSigningConfig:
        if config is None:
            raise ResourceNotFound(f"Code signing config not found: {arn}")
        return config

    def _new_id(self) -> str:
        self._last_ms = max(self._last_ms + 1, self._clock.wall_ms())  # ids grow, whatever the clock does
        return f"csc-{_base36(self._last_ms, _TIME_DIGITS)}{_base36(int(random_hex(16), 16), _RANDOM_DIGITS)}"

    def _spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _missing(arn: str) -> ResourceNotFound:
    return ResourceNotFound(f"The Lambda code signing configuration {arn} can not be found.", typed=False)


def _base36(number: int, digits: int) -> str:
    """The lowest digits of a number."""
    text = ""
    for _ in range(digits):
        number, digit = divmod(number, 36)
        text = _DIGITS[digit] + text
    return text


def _milliseconds(id: str) -> int:
    return int(id[len("csc-") :][:_TIME_DIGITS], 36)


__all__ = ["KIND", "SigningConfigs", "arn_of"]
