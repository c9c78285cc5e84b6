"""All functions in memory, and the one way to change them: decide, write, install, tell.

A function is at rest until it is first asked for: known by name, counted, and otherwise as the store keeps it. Those
about which a start has something to do are awake from the start.

Memory is what the store holds (or is about to: usage counts what a change adds from the moment it is decided). Writes are
conditional on the stored revision; losing a race means deciding again from what the winner left.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from dataclasses import replace
from random import random as _random
from sys import intern

from ..domain.documents import WRITE_ATTEMPTS_MAX
from ..domain.errors import FunctionNotFound, ServiceFault
from ..domain.names import LATEST, FunctionRef, Scope
from . import aliases
from .account import Accounts
from .listing import Listing
from .model import Change, Function, FunctionVersion
from .provisioned import Wish, wishes
from .resting import PackageUse
from .store import FunctionStore, LostRace

Decision = Callable[[Function | None], Function | None]
"""What stands → what is to stand: the same object (nothing to write), another one, or None (delete). Raises the errors
the caller reads. Called once more for each lost race."""

_Key = tuple[str, str, str]


class Registry:
    """Functions by name, with the account's usage and the listeners. Used from one event loop."""

    def __init__(self, store: FunctionStore, accounts: Accounts, random: Callable[[], float] = _random) -> None:
        """Take over what the store holds. random: what aliases draw their versions with, from 0 up to 1."""
        self._store = store
        self._random = random
        self.accounts = accounts
        self._listeners: list[Callable[[Change], None]] = []
        self._functions: dict[_Key, Function] = {}
        self._names: Listing[Scope] = Listing()
        self._signed: Listing[tuple[str, Scope]] = Listing()
        """Functions that have a code signing configuration, by its ARN."""
        self._urls: dict[str, _Key] = {}
        """Whose function URL it is, by its id."""
        self._asleep: dict[_Key, object] = {}
        self.packages = PackageUse()
        """The packages that functions run."""
        self.generation = 0
        """The highest that a stored version had at the start."""
        # Nothing of what is made here is garbage; looking for some costs a fifth of the time.
        collecting = gc.isenabled()
        gc.disable()
        try:
            self._load()
        finally:
            if collecting:
                gc.enable()

    def _load(self) -> None:
        scope = Scope("", "")
        for account, region, name, summary, stored in self._store.load():
            generation, code_bytes, is_restless, packages, code_signing_arn, urls = summary
            if region != scope.region or account != scope.account:
                scope = Scope(intern(account), intern(region))
            self._names.append(scope, name)
            if code_signing_arn is not None:
                self._signed.append((code_signing_arn, scope), name)
            self.packages.add(packages)
            if generation > self.generation:
                self.generation = generation
            key = scope.account, scope.region, name
            for url in urls:
                self._urls[url] = key
            if is_restless:
                ref = FunctionRef(*key)
                self._functions[key] = self._store.wake(ref, stored)
                self.accounts.move(None, self._functions[key])
            else:
                self._asleep[key] = stored
                self.accounts.add(scope, code_bytes)

    def awake(self) -> Iterator[Function]:
        """The functions that were asked for, or are restless (see `Summary`)."""
        return iter(list(self._functions.values()))  # whoever looks at one may wake another

    def scopes(self) -> Iterator[Scope]:
        """Where there are functions."""
        return iter(self._names)

    def find(self, ref: FunctionRef) -> Function | None:
        key = (ref.account, ref.region, ref.name)
        return self._functions.get(key) or self._woken(key)

    def _woken(self, key: _Key) -> Function | None:
        """What was at rest under the name until now."""
        if key not in self._asleep:
            return None
        function = self._functions[key] = self._store.wake(FunctionRef(*key), self._asleep[key])
        del self._asleep[key]
        return function

    def resolve(self, ref: FunctionRef, qualifier: str | None) -> FunctionVersion:
        """See `Functions.resolve`; on the path of every invocation, hence without detours."""
        key = (ref.account, ref.region, ref.name)
        function = self._functions.get(key) or self._woken(key)
        if function is not None:
            if qualifier is None or qualifier == LATEST:
                return function.serving or function.latest
            version = function.versions.get(qualifier)
            if version is not None:
                return version
            alias = function.aliases.get(qualifier)
            if alias is not None:
                return self.resolve(ref, aliases.drawn(alias, self._random))
        raise FunctionNotFound(ref.arn(qualifier or LATEST))

    def primary(self, ref: FunctionRef, qualifier: str | None) -> FunctionVersion:
        """See `Functions.primary`."""
        function = self.find(ref)
        alias = None if function is None or qualifier is None else function.aliases.get(qualifier)
        return self.resolve(ref, qualifier if alias is None else alias.version)

    def names(self, scope: Scope, after: str, most: int) -> list[str]:
        """Up to `most` function names that sort behind `after`, in order."""
        return self._names.behind(scope, after, most)

    def signed(self, arn: str, scope: Scope, after: str, most: int) -> list[str]:
        """The same for functions with this code signing configuration."""
        return self._signed.behind((arn, scope), after, most)

    def is_signing(self, arn: str) -> bool:
        """Whether some function has this code signing configuration."""
        return any(one == arn for one, _ in self._signed)

    def url(self, id: str) -> tuple[Function, str] | None:
        """The function that has a function URL, and the key of the URL's configuration; None: nobody has it."""
        key = self._urls.get(id)
        function = None if key is None else self._functions.get(key) or self._woken(key)
        if function is None:
            return None
        return next(((function, qualifier) for qualifier, url in function.urls.items() if url.id == id), None)

    def subscribe(self, listener: Callable[[Change], None]) -> None:
        self._listeners.append(listener)

    async def write(self, ref: FunctionRef, decide: Decision) -> Function | None:
        """Decide from what stands, write it, install it, tell the listeners; answers what stands now.

        Not to be cancelled half-way: run it in a task of its own. Raises what `decide` and the store raise, and
        ServiceFault after WRITE_ATTEMPTS_MAX lost races.
        """
        key = _key(ref)
        for _ in range(WRITE_ATTEMPTS_MAX):
            old = self.find(ref)
            new = decide(old)
            if new is old:
                return old
            if old is not None and new is not None:
                new = replace(new, revision=old.revision + 1)
            self.accounts.claim(old, new)
            try:
                await self._store_one(old, new)
            except BaseException as error:
                self.accounts.give_back(old, new)
                if not isinstance(error, LostRace):
                    raise
                await self._look_again(ref, old)
                continue
            if self._functions.get(key) is old:
                self.accounts.release(old, new)
                self._install(key, old, new)
            else:
                self.accounts.give_back(old, new)  # somebody has read our write back from the store already
            return new
        raise ServiceFault(f"{ref.arn()} changes faster than it can be written")

    async def _store_one(self, old: Function | None, new: Function | None) -> None:
        if old is None:
            assert new is not None
            await self._store.create(new)
        elif new is None:
            await self._store.delete(old)
        else:
            await self._store.swap(old, new)

    async def _look_again(self, ref: FunctionRef, old: Function | None) -> None:
        """After a lost race: take over what the winner stored, unless it is here by now."""
        key = _key(ref)
        if self._functions.get(key) is not old:
            return
        stored = await self._store.find(ref)
        if (old is not None or stored is not None) and self._functions.get(key) is old:
            self.accounts.move(old, stored)
            self._install(key, old, stored)

    def _install(self, key: _Key, old: Function | None, new: Function | None) -> None:
        some = new or old
        assert some is not None
        scope, name = some.ref.scope, some.ref.name
        if new is None:
            del self._functions[key]
            self._names.remove(scope, name)
        else:
            self._functions[key] = new
            if old is None:
                self._names.add(scope, name)
        self.packages.move(old, new)
        before, after = (None if one is None else one.code_signing_arn for one in (old, new))
        if before != after:
            if before is not None:
                self._signed.remove((before, scope), name)
            if after is not None:
                self._signed.add((after, scope), name)
        if (old is None or not old.urls) and (new is None or not new.urls):
            pass
        elif old is None or new is None or old.urls != new.urls:
            for url in () if old is None else old.urls.values():
                self._urls.pop(url.id, None)
            for url in () if new is None else new.urls.values():
                self._urls[url.id] = key
        for change in _changes(old, new):
            for listener in self._listeners:
                listener(change)


def _key(ref: FunctionRef) -> _Key:
    return ref.account, ref.region, ref.name


def _changes(old: Function | None, new: Function | None) -> Iterator[Change]:
    """What listeners have to hear about one write."""
    if new is None:
        assert old is not None
        yield Change("deleted", old.ref, None)
        return
    if old is None or (old.serving or old.latest) != (new.serving or new.latest):
        yield Change("updated", new.ref, LATEST)
    before = {} if old is None else old.versions
    for number, version in new.versions.items():
        if before.get(number) is not version:
            yield Change("updated", new.ref, number)
    for number in before.keys() - new.versions.keys():
        yield Change("deleted", new.ref, number)
    if (None if old is None else old.reserved) != new.reserved:
        yield Change("concurrency", new.ref, None)
    if _provisioned(old) != _provisioned(new):
        yield Change("provisioned", new.ref, None)


def _provisioned(function: Function | None) -> dict[str, Wish]:
    """What provisioned concurrency is asked for, by qualifier."""
    return {} if function is None or not function.provisioned else wishes(function)
