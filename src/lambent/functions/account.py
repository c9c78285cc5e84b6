"""What functions use of an account in one region, counted as they change."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..domain.errors import CodeStorageExceeded, InvalidParameterValue
from ..domain.limits import (
    CODE_STORAGE_BYTES_MAX,
    CONCURRENT_EXECUTIONS_DEFAULT,
    UNRESERVED_CONCURRENCY_MIN,
)
from ..domain.names import Scope
from .model import Function


@dataclass(frozen=True, slots=True)
class AccountLimits:
    """The limits of every account in every region."""

    concurrent_executions: int = CONCURRENT_EXECUTIONS_DEFAULT
    code_storage_bytes: int = CODE_STORAGE_BYTES_MAX

    @property
    def unreserved_min(self) -> int:
        """What must stay unreserved: 100, or everything where the account's own limit is lower."""
        return min(UNRESERVED_CONCURRENCY_MIN, self.concurrent_executions)


@dataclass(slots=True)
class Usage:
    """What one account uses in one region, writes under way included."""

    functions: int = 0
    code_bytes: int = 0
    """Archive bytes of every $LATEST and every published version."""
    set_aside: int = 0
    """Sum of reserved concurrency, and of provisioned concurrency where none is reserved."""


class Accounts:
    """Usage by scope. What a change adds is counted in the step that decides it and taken back if its write fails; what it
    frees is free when it is written. So changes decided side by side never exceed a limit together, whichever fails."""

    def __init__(self, limits: AccountLimits, other_code_bytes: Callable[[Scope], int] = lambda _: 0) -> None:
        """other_code_bytes: what else the account keeps of code: its layers."""
        self.limits = limits
        self._other_code_bytes = other_code_bytes
        self._usage: dict[Scope, Usage] = {}

    def usage(self, scope: Scope) -> Usage:
        """The live count; read it, do not change it."""
        return self._usage.get(scope) or Usage()

    def unreserved(self, scope: Scope) -> int:
        """Concurrency not set aside for single functions."""
        return self.limits.concurrent_executions - self.usage(scope).set_aside

    def add(self, scope: Scope, code_bytes: int) -> None:
        """Count a function that sets nothing aside."""
        usage = self._usage.get(scope) or self._usage.setdefault(scope, Usage())
        usage.functions += 1
        usage.code_bytes += code_bytes

    def move(self, old: Function | None, new: Function | None) -> None:
        """Count `new` in place of `old`."""
        some = new or old
        if some is None:
            return
        usage = self._usage.setdefault(some.ref.scope, Usage())
        for function, sign in ((old, -1), (new, 1)):
            if function is not None:
                usage.functions += sign
                usage.code_bytes += sign * function.code_bytes
                usage.set_aside += sign * function.set_aside

    def claim(self, old: Function | None, new: Function | None) -> None:
        """Count what `new` has more than `old`: before it is written."""
        self._count(old, new, lambda growth: max(growth, 0))

    def release(self, old: Function | None, new: Function | None) -> None:
        """Count what `new` has less than `old`: after it was written."""
        self._count(old, new, lambda growth: min(growth, 0))

    def give_back(self, old: Function | None, new: Function | None) -> None:
        """Undo `claim`: `new` was not written."""
        self._count(old, new, lambda growth: -max(growth, 0))

    def _count(self, old: Function | None, new: Function | None, part: Callable[[int], int]) -> None:
        some = new or old
        if some is None:
            return
        usage = self._usage.setdefault(some.ref.scope, Usage())
        usage.functions += part((new is not None) - (old is not None))
        usage.code_bytes += part((0 if new is None else new.code_bytes) - (0 if old is None else old.code_bytes))
        usage.set_aside += part((0 if new is None else new.set_aside) - (0 if old is None else old.set_aside))

    def code_bytes(self, scope: Scope) -> int:
        """Archive bytes of all code that the account keeps in the region, layers included."""
        return self.usage(scope).code_bytes + self._other_code_bytes(scope)

    def check_storage(self, old: Function | None, new: Function) -> None:
        """Whether `new` fits in place of `old`; raises CodeStorageExceeded. What does not grow always fits."""
        self.check_room(new.ref.scope, new.code_bytes - (0 if old is None else old.code_bytes))

    def check_room(self, scope: Scope, growth_bytes: int) -> None:
        """Whether so much more code fits; raises CodeStorageExceeded."""
        if growth_bytes > 0 and self.code_bytes(scope) + growth_bytes > self.limits.code_storage_bytes:
            raise CodeStorageExceeded("Code storage limit exceeded.")

    def check_reservation(self, function: Function, reserved: int) -> None:
        """Whether enough stays unreserved when `function` reserves that much; lowering is always possible."""
        growth = reserved - function.set_aside
        least = self.limits.unreserved_min
        if growth > 0 and self.unreserved(function.ref.scope) - growth < least:
            raise InvalidParameterValue(
                "Specified ReservedConcurrentExecutions for function decreases account's "
                f"UnreservedConcurrentExecution below its minimum value of [{least}].",
                typed=False,
            )
        if reserved < (provisioned := function.provisioned_sum):
            raise InvalidParameterValue(
                f" ReservedConcurrentExecutions  {reserved} should not be lower than function's total provisioned "
                f"concurrency [{provisioned}].",
                typed=False,
            )

    def check_provision(self, function: Function, qualifier: str, requested: int) -> None:
        """Whether one qualifier's configuration may ask for so many: of the function's reserved concurrency, or else of
        what the account has unreserved; lowering is always possible."""
        before = one.requested if (one := function.provisioned.get(qualifier)) is not None else 0
        if function.reserved is not None:
            if function.provisioned_sum - before + requested > function.reserved:
                raise InvalidParameterValue(
                    "Requested Provisioned Concurrency should not be greater than the reservedConcurrentExecution "
                    "for function"
                )
            return
        free = self.unreserved(function.ref.scope) + before
        least = self.limits.unreserved_min
        if requested > free:
            raise InvalidParameterValue(
                f"Specified ConcurrentExecutions for function is greater than account's unreserved concurrency [{free}].",
                typed=False,
            )
        if requested > before and free - requested < least:
            raise InvalidParameterValue(
                "Specified ConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below "
                f"its minimum value of [{least}].",
                typed=False,
            )
