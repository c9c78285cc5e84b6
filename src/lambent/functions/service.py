"""Functions: the concept's one service. Everything is answered from memory, everything accepted is written first.

A change looks up, checks in documented order, decides (`moves`, `rules`) and writes once, on condition of the stored
revision; losing a race means deciding again from what the winner left. Code and configuration changes of one function
take turns: a turn lasts from the acceptance (Pending, InProgress) to the second write that settles it, milliseconds
later, and a caller that meets a turn in progress waits a moment for its own before it is told of the conflict.

Writes run in tasks of their own: a caller that is cancelled leaves no half of a change behind.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import replace
from random import random as _random
from typing import Any, TypeVar

from ..domain.clock import Clock
from ..domain.documents import LINE_WAIT_S
from ..domain.errors import FunctionNotFound, InvalidParameterValue
from ..domain.ids import new_uuid
from ..domain.names import LATEST, FunctionRef, Scope, is_version
from ..domain.tags import check_tags
from ..domain.turns import Turns
from . import moves, provisioned
from .account import AccountLimits, Accounts, Usage
from .attaching import check_unzipped
from .model import Change, Code, Configuration, Function, FunctionVersion
from .moves import RuntimeCheck, RuntimeChoice, Stamp
from .registry import Decision, Registry
from .roles import RoleCheck, check_role
from .rules import new_configuration, updated
from .runtime_management import pinned
from .snapshots import Outcome, snapshot_taken
from .store import FunctionStore
from .wanted import Wanted

SETTLE_WAIT_S = 1.0
"""How long a change waits for the one before it instead of answering 409, which SDKs do not retry."""
CodeSource = Callable[[], Awaitable[Code]]
"""Fetches, checks and stores a package when all cheaper checks have passed; raises the caller's errors."""
LayerMerge = Callable[[Sequence[str]], Awaitable[None]]
"""Has the tree of these layers' packages ready to be mounted; raises DiskFull."""

T = TypeVar("T")
_log = logging.getLogger("lambent.functions")


class Functions:
    """The functions of all accounts and regions. Used from one event loop."""

    def __init__(
        self,
        store: FunctionStore,
        runtimes: RuntimeCheck,
        clock: Clock,
        *,
        runtime_client: str = "lambent",
        limits: AccountLimits | None = None,
        settle_wait_s: float = SETTLE_WAIT_S,
        random: Callable[[], float] = _random,
        merge_layers: LayerMerge | None = None,
        other_code_bytes: Callable[[Scope], int] = lambda _: 0,
        roles: RoleCheck | None = None,
        only_own_roles: bool = False,
        snapshots: bool = False,
    ) -> None:
        """Take over what the store holds; `start` then finishes what a crash left unfinished.

        runtime_client: `lambent` or `official`, for functions that do not choose for themselves. random: from 0 up to 1;
        aliases with weights draw their versions with it. merge_layers: None where no layer exists. other_code_bytes:
        archive bytes that an account keeps beside those of its functions. roles: the roles that are kept here; None: there
        are none. only_own_roles: refuse every role of another account. snapshots: somebody takes them for the versions that
        ask for it, and tells what came of it (`snapshot_taken`).
        """
        self._snapshots = snapshots
        self._roles = roles
        self._only_own_roles = only_own_roles
        self._runtimes = RuntimeChoice(runtimes, runtime_client)
        self._clock = clock
        self._settle_wait_s = settle_wait_s
        self._merge_layers = merge_layers
        accounts = Accounts(limits or AccountLimits(), other_code_bytes)
        self._registry = Registry(store, accounts, random)
        self._turns = Turns()
        self._line = Turns()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._generation = self._registry.generation

    async def start(self) -> None:
        """Settle what was Pending or InProgress when the last process ended, and revive what lacked a runtime: it is
        among the restless, and nothing else is looked at."""

        def decide(function: Function | None) -> Function | None:
            if function is None:
                return None
            stamp = self._stamp()
            settled = moves.settled(function, stamp, self._runtimes, snapshots=self._snapshots)
            return moves.revived(settled, stamp, self._runtimes)

        unfinished = [function.ref for function in self._registry.awake() if decide(function) is not function]
        await asyncio.gather(*(self._registry.write(ref, decide) for ref in unfinished))

    async def close(self) -> None:
        """Wait until every accepted change is written and settled."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    # What one can ask: synchronous, from memory.

    def resolve(self, ref: FunctionRef, qualifier: str | None) -> FunctionVersion:
        """The version an invocation runs, which for $LATEST may be the state before an update that cannot be applied.
        An alias with weights draws here, each time it is asked: ask once for each attempt.

        Raises FunctionNotFound with the ARN an invocation reports: `:$LATEST` where no qualifier was given.
        """
        return self._registry.resolve(ref, qualifier)

    def primary(self, ref: FunctionRef, qualifier: str | None) -> FunctionVersion:
        """As `resolve`, but nothing is drawn: for an alias, the version it points to. For whoever asks and does not run."""
        return self._registry.primary(ref, qualifier)

    def get(self, ref: FunctionRef, qualifier: str | None = None) -> Function:
        """The function; raises FunctionNotFound with the ARN as asked for."""
        return moves.existing(self._registry.find(ref), ref, qualifier)

    def exists(self, ref: FunctionRef) -> bool:
        return self._registry.find(ref) is not None

    def has(self, ref: FunctionRef, qualifier: str | None = None) -> bool:
        """Whether there is such a function and, where a qualifier is given, such a version or alias of it."""
        function = self._registry.find(ref)
        return function is not None and function.find(qualifier) is not None

    def get_version(self, ref: FunctionRef, qualifier: str | None) -> FunctionVersion:
        """A version as the API shows it, for an alias its primary one; raises FunctionNotFound with the ARN as asked for."""
        version = self.get(ref, qualifier).find(qualifier)
        if version is None:
            raise FunctionNotFound(ref.arn(qualifier))
        return version

    def check_unchanged(self, ref: FunctionRef, revision_id: str | None) -> None:
        """The first two checks of a change to $LATEST, for whoever has checks of its own that come behind them.

        Raises FunctionNotFound, and PreconditionFailed for another RevisionId than that of $LATEST.
        """
        self._unchanged(self._registry.find(ref), ref, revision_id)

    def pinned(self, version: FunctionVersion) -> str | None:
        """The runtime version that its runtime management holds a version at; None: it is the machine's."""
        function = self._registry.find(version.ref)
        return None if function is None else pinned(function, version.version)

    def names(self, scope: Scope, after: str, most: int) -> list[str]:
        """Up to `most` function names that sort behind `after`, in order."""
        return self._registry.names(scope, after, most)

    def awake(self) -> Iterator[Function]:
        """The functions that are in memory as a whole. Those with reserved or provisioned concurrency always are; all
        others from when they are first asked for."""
        return self._registry.awake()

    def signed(self, arn: str, scope: Scope, after: str, most: int) -> list[str]:
        """Up to `most` names of functions that have this code signing configuration, in order, behind `after`."""
        return self._registry.signed(arn, scope, after, most)

    def is_signing(self, arn: str) -> bool:
        """Whether some function, of whatever account, has this code signing configuration."""
        return self._registry.is_signing(arn)

    def url(self, id: str) -> tuple[Function, str] | None:
        """The function that has the function URL `id`, and the key of its configuration in `Function.urls`; None: nobody
        has it."""
        return self._registry.url(id)

    def scopes(self) -> Iterator[Scope]:
        """The accounts and regions that have functions."""
        return self._registry.scopes()

    def reserved(self, ref: FunctionRef) -> int | None:
        """Reserved concurrency; None when not set or when there is no such function."""
        function = self._registry.find(ref)
        return None if function is None else function.reserved

    def unreserved(self, scope: Scope) -> int:
        """The account's concurrency that is not set aside for single functions."""
        return self._registry.accounts.unreserved(scope)

    def usage(self, scope: Scope) -> Usage:
        """Functions, code bytes and set-aside concurrency of the account."""
        return self._registry.accounts.usage(scope)

    def code_bytes(self, scope: Scope) -> int:
        """Archive bytes of all code that the account keeps in the region, layers included."""
        return self._registry.accounts.code_bytes(scope)

    def check_room(self, scope: Scope, growth_bytes: int) -> None:
        """Whether the account may keep so much more code; raises CodeStorageExceeded."""
        self._registry.accounts.check_room(scope, growth_bytes)

    @property
    def limits(self) -> AccountLimits:
        return self._registry.accounts.limits

    def digests(self) -> set[str]:
        """Names of all packages that some version runs, with its layers: what a collection of packages has to keep."""
        return set(self._registry.packages)

    def subscribe(self, listener: Callable[[Change], None]) -> None:
        """Call `listener` after every write, on the event loop, before the change is answered."""
        self._registry.subscribe(listener)

    # Changes.

    async def active(self, ref: FunctionRef, qualifier: str | None) -> FunctionVersion:
        """As `resolve`, but a version that is still Pending gets a moment to become Active."""
        version = self.resolve(ref, qualifier)
        if version.state == "Pending" and await self._turns.take(ref, self._settle_wait_s):
            self._turns.give_back(ref)
            return self.resolve(ref, version.version)
        return version

    async def create(
        self,
        ref: FunctionRef,
        wanted: Wanted,
        source: CodeSource,
        *,
        publish: bool = False,
        tags: Mapping[str, str] | None = None,
        invocation_id: str | None = None,
        code_signing_arn: str | None = None,
    ) -> FunctionVersion:
        """Create a function and answer it as first seen: Pending. With `publish`, the answer is its version 1.

        invocation_id: names the client's request; its repetition gets the first answer again instead of a conflict.
        """
        configuration = new_configuration(ref, wanted)
        check_tags(tags or {})
        taken = self._registry.find(ref)
        if taken is None:
            self._check_role(configuration.role, ref)
            code = await source()
            check_unzipped(configuration, code)
            await self._prepare(configuration)
        else:
            answer = moves.repeated(taken, invocation_id)
            if answer is None:
                raise moves.already_exists(ref)
            return answer

        def decide(old: Function | None) -> Function | None:
            if old is not None:
                if moves.repeated(old, invocation_id) is None:
                    raise moves.already_exists(ref)
                return old
            new = moves.created(
                ref,
                configuration,
                code,
                self._stamp(),
                publish=publish,
                tags=tags or {},
                invocation_id=invocation_id,
                code_signing_arn=code_signing_arn,
            )
            self._registry.accounts.check_storage(None, new)
            return new

        function = await self._accept(ref, decide)
        return moves.repeated(function, invocation_id) or function.find("1" if publish else None) or function.latest

    async def update_configuration(
        self,
        ref: FunctionRef,
        wanted: Wanted,
        *,
        revision_id: str | None = None,
        judge: Callable[[Function], Awaitable[None]] | None = None,
        guard: Callable[[Function], None] | None = None,
    ) -> FunctionVersion:
        """Merge `wanted` into $LATEST; answers it InProgress.

        judge: asked whether the function may be given the layers that are wanted, when there are any and all cheaper
        checks have passed. guard: asked when the configuration is about to be written, about the function as it is by
        then. Both raise what stops it.
        """

        def decide(old: Function | None) -> Function:
            function = self._unchanged(old, ref, revision_id)
            if guard is not None:
                guard(function)
            configuration = updated(function.latest.configuration, wanted)
            if wanted.attached is not None:
                check_unzipped(configuration, function.latest.code)
            return moves.changed(function, configuration, function.latest.code, self._stamp(), self._runtimes)

        function = self._unchanged(self._registry.find(ref), ref, revision_id)
        if wanted.role is not None:
            self._check_role(wanted.role, ref)
        if wanted.attached:
            configuration = updated(function.latest.configuration, wanted)
            check_unzipped(configuration, function.latest.code)
            if judge is not None:
                await judge(function)
            await self._prepare(configuration)
        return (await self._accept(ref, decide)).latest

    async def update_code(
        self,
        ref: FunctionRef,
        source: CodeSource,
        *,
        architecture: str | None = None,
        publish: bool = False,
        dry_run: bool = False,
        revision_id: str | None = None,
        guard: Callable[[Function], None] | None = None,
    ) -> FunctionVersion:
        """Replace $LATEST's code; answers it InProgress, or with `publish` the new version, Pending.

        guard: asked when the code is about to be written, about the function as it is by then; raises what stops it.
        dry_run: check everything, fetch the code, change nothing; answers $LATEST as it would be.
        """
        self._unchanged(self._registry.find(ref), ref, revision_id)
        code = await source()
        shown: list[FunctionVersion] = []

        def decide(old: Function | None) -> Function:
            function = self._unchanged(old, ref, revision_id)
            if guard is not None:
                guard(function)
            configuration = function.latest.configuration
            if architecture is not None:
                configuration = replace(configuration, architecture=architecture)
            check_unzipped(configuration, code)
            stamp = self._stamp()
            new = moves.changed(function, configuration, code, stamp, self._runtimes)
            version = new.latest
            if publish:
                new, version = moves.published(new, stamp, description=None, pending=True)
            self._registry.accounts.check_storage(old, new)
            shown[:] = [version]
            return new

        if dry_run:
            function = self.get(ref)
            would = decide(function).latest
            return replace(function.latest, configuration=would.configuration, code=code)
        await self._accept(ref, decide)
        return shown[0]

    async def publish(
        self,
        ref: FunctionRef,
        *,
        description: str | None = None,
        code_sha256: str | None = None,
        revision_id: str | None = None,
    ) -> FunctionVersion:
        """A new numbered version of $LATEST, or the last one when nothing changed since."""
        shown: list[FunctionVersion] = []

        def check(old: Function | None) -> Function:
            function = self._unchanged(old, ref, revision_id)
            moves.check_code_hash(function, code_sha256)
            return function

        def decide(old: Function | None) -> Function:
            function = check(old)
            latest = function.latest
            pending = latest.configuration.snap_start != "None" or latest.update_status == "Failed"
            new, version = moves.published(function, self._stamp(), description=description, pending=pending)
            self._registry.accounts.check_storage(function, new)
            shown[:] = [version]
            return new

        check(self._registry.find(ref))
        await self._accept(ref, decide)
        return shown[0]

    async def delete(self, ref: FunctionRef, qualifier: str | None = None) -> None:
        """Delete the function, or one published version (nothing happens when there is no such version)."""
        if qualifier == LATEST:
            raise InvalidParameterValue("$LATEST version cannot be deleted without deleting the function.")
        if qualifier is not None and not is_version(qualifier):
            raise InvalidParameterValue("Deletion of aliases is not currently supported.")

        def decide(old: Function | None) -> Function | None:
            function = moves.existing(old, ref)
            return None if qualifier is None else moves.without_version(function, qualifier)

        await self._change(ref, decide)

    async def reserve(self, ref: FunctionRef, reserved: int) -> None:
        """Set reserved concurrency (>= 0). Raises FunctionNotFound with `:$LATEST`, as the service does."""

        def decide(old: Function | None) -> Function:
            function = moves.existing(old, ref, LATEST)
            self._registry.accounts.check_reservation(function, reserved)
            return function if function.reserved == reserved else replace(function, reserved=reserved)

        await self._change(ref, decide)

    async def unreserve(self, ref: FunctionRef) -> None:
        """Give the function's reserved concurrency back to the account; also when none is set."""

        def decide(old: Function | None) -> Function:
            function = moves.existing(old, ref)
            return function if function.reserved is None else replace(function, reserved=None)

        await self._change(ref, decide)

    async def provision(self, ref: FunctionRef, qualifier: str, requested: int) -> Function:
        """Have `requested` (>= 1) environments kept initialised for a version or an alias."""
        accounts = self._registry.accounts

        def decide(old: Function | None) -> Function:
            return provisioned.put(old, ref, qualifier, requested, accounts, self._stamp())

        function = await self._change(ref, decide)
        assert function is not None
        return function

    async def unprovision(self, ref: FunctionRef, qualifier: str) -> None:
        """Have none kept for a version or an alias any more; also when there is no configuration."""
        await self._change(ref, lambda old: provisioned.without(old, ref, qualifier))

    async def change(self, ref: FunctionRef, decide: Callable[[Function], Function]) -> Function:
        """Any other change: `decide` is given what stands and answers what shall stand, or raises what the caller reads;
        it may be called again when others write meanwhile. Raises FunctionNotFound with the unqualified ARN.

        For what has no states of its own: aliases, policies, tags, and the settings of qualifiers.
        """
        function = await self._change(ref, lambda old: decide(moves.existing(old, ref)))
        assert function is not None
        return function

    async def snapshot_taken(self, version: FunctionVersion, outcome: Outcome) -> None:
        """The init of a version that asked for a snapshot has ended; nothing happens when the version is gone."""

        def decide(old: Function | None) -> Function | None:
            if old is None:
                return None
            return snapshot_taken(old, version.version, version.generation, outcome)

        await self._change(version.ref, decide)

    def stamp(self) -> Stamp:
        """The moment, and fresh RevisionIds, for a decision given to `change`."""
        return self._stamp()

    # How a change is carried out.

    def _unchanged(self, function: Function | None, ref: FunctionRef, revision_id: str | None) -> Function:
        """Existence, then RevisionId: the first two checks of every change to $LATEST."""
        found = moves.existing(function, ref)
        moves.check_revision(found, revision_id)
        return found

    async def _prepare(self, configuration: Configuration) -> None:
        """Have what the layers are to each other before any version names it: no start of an environment waits for it."""
        if configuration.layers and self._merge_layers is not None:
            await self._merge_layers(configuration.layer_digests)

    def _check_role(self, arn: str, ref: FunctionRef) -> None:
        if self._roles is not None:
            check_role(arn, ref.account, self._roles, only_own=self._only_own_roles)

    def _stamp(self) -> Stamp:
        return Stamp(self._clock.wall_ms(), self._new_generation, new_uuid)

    def _new_generation(self) -> int:
        self._generation += 1
        return self._generation

    async def _change(self, ref: FunctionRef, decide: Decision) -> Function | None:
        """One write outside the turns; runs to its end whatever happens to the caller."""
        return await asyncio.shield(self._spawn(self._write_in_line(ref, decide)))

    async def _write_in_line(self, ref: FunctionRef, decide: Decision) -> Function | None:
        """Behind the other changes of the function: of rivals side by side one wins and all others decide again, until
        the last of hundreds has lost too often."""
        is_first = await self._line.take(ref, LINE_WAIT_S)
        try:
            return await self._registry.write(ref, decide)
        finally:
            if is_first:
                self._line.give_back(ref)

    async def _accept(self, ref: FunctionRef, decide: Decision) -> Function:
        """One write in its turn, answered as written and settled afterwards."""
        function = await asyncio.shield(self._spawn(self._take_turn(ref, decide)))
        assert function is not None
        return function

    async def _take_turn(self, ref: FunctionRef, decide: Decision) -> Function | None:
        if not await self._turns.take(ref, self._settle_wait_s):
            raise moves.in_progress(ref, self._registry.find(ref))
        settling = False
        try:
            # Nobody else has the turn, so what is unsettled here was left behind by a write that failed.
            if (left := self._registry.find(ref)) is not None and not self._is_settled(left):
                await self._registry.write(ref, self._settled)
            function = await self._registry.write(ref, decide)
            settling = function is not None and not self._is_settled(function)
        finally:
            if not settling:
                self._turns.give_back(ref)
        if settling:
            self._spawn(self._settle(ref))  # it gives the turn back
        return function

    async def _settle(self, ref: FunctionRef) -> None:
        try:
            await self._registry.write(ref, self._settled)
        except Exception:
            # The accepted change stands and serves; the next change or the next start settles it.
            _log.exception("%s could not be settled", ref.arn())
        finally:
            self._turns.give_back(ref)

    def _is_settled(self, function: Function) -> bool:
        """Whether settling it would change nothing."""
        return function.latest.is_settled and self._settled(function) is function

    def _settled(self, function: Function | None) -> Function | None:
        if function is None:
            return None
        return moves.settled(function, self._stamp(), self._runtimes, snapshots=self._snapshots)

    def _spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
