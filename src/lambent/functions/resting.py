"""Functions at rest: what a start has to know of a function without reading it.

Thousands of functions are stored, few are asked for. A start takes their names and summaries, and reads whole only the
restless ones, about which it has something to do; all others stay as the store keeps them until they are asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from .model import Function, FunctionVersion
from .moves import INVALID_RUNTIME


class Summary(NamedTuple):
    """A function in short, always written together with it.

    Whoever lets it say more, or something else, has it made anew for what is stored (for SQLite: a migration).
    """

    generation: int
    """The highest of its versions."""
    code_bytes: int
    """As `Function.code_bytes`."""
    is_restless: bool
    """Every start looks at it: something is under way or lacked its runtime, or concurrency is reserved or provisioned."""
    packages: tuple[str, ...]
    """Directories in `packages/` that some version runs, in order, each once."""
    code_signing_arn: str | None
    urls: tuple[str, ...] = ()
    """Ids of its function URLs."""


class Resting(NamedTuple):
    """A stored function that nobody has asked for yet."""

    account: str
    region: str
    name: str
    summary: Summary
    stored: object
    """The store's own form of it, for `FunctionStore.wake`."""


def summarised(function: Function) -> Summary:
    """The summary of a function."""
    versions = list(all_versions(function))
    return Summary(
        generation=max(version.generation for version in versions),
        code_bytes=function.code_bytes,
        is_restless=function.reserved is not None
        or bool(function.provisioned)
        or any(not version.is_settled or version.state_reason_code == INVALID_RUNTIME for version in versions),
        packages=packages(function),
        code_signing_arn=function.code_signing_arn,
        urls=tuple(url.id for url in function.urls.values()),
    )


def packages(function: Function) -> tuple[str, ...]:
    """What a collection of packages has to keep for a function: its code, its layers and their merged trees."""
    kept = set()
    for version in all_versions(function):
        kept.add(version.code.digest)
        if version.configuration.layers:
            kept.update(version.configuration.layer_digests)
            kept.add(version.configuration.opt or "")
    kept.discard("")  # a layer version that was attached before its contents were kept
    return tuple(sorted(kept))


def all_versions(function: Function) -> Iterator[FunctionVersion]:
    """$LATEST, what serves in its place, and the published versions."""
    yield function.latest
    if function.serving is not None:
        yield function.serving
    yield from function.versions.values()


class PackageUse:
    """Which packages functions run, counted as functions change: asking costs the same however many functions rest."""

    def __init__(self) -> None:
        self._users: dict[str, int] = {}

    def __iter__(self) -> Iterator[str]:
        return iter(self._users)

    def add(self, packages: tuple[str, ...]) -> None:
        """One more function uses these."""
        users = self._users
        for package in packages:
            users[package] = users.get(package, 0) + 1

    def move(self, old: Function | None, new: Function | None) -> None:
        """Count `new` in place of `old`."""
        if new is not None:
            self.add(packages(new))
        for package in () if old is None else packages(old):
            self._users[package] -= 1
            if not self._users[package]:
                del self._users[package]
