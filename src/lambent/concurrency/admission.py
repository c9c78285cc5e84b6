"""May this invocation run now? Plain integers, no clock, no lock.

Two counts and two rates decide. *Concurrency*: a function with reserved concurrency counts against its own share,
which is both set aside and a cap; all others share what is left of the account (the unreserved pool), and nothing
takes the account above its limit, not even while shares are being moved under running invocations. *Request rate*:
ten synchronous requests a second for each unit of concurrency, for the reserved share and for the unreserved pool
alike. *Scaling rate*: each function may get 1,000 new environments at once and 100 more a second.

*Provisioned* environments that are there are set aside, too: of the function's reserved share, or else of the account. An
invocation that runs on one counts against that part, up to ten synchronous requests a second for each; what comes
beyond counts as any other (spill-over). Others cannot use the part: a function whose reserved share is all provisioned
throttles everything that would run on demand.

Both rates are kept as one integer each, the moment at which the bucket would be full again (the generic cell rate
algorithm): no refill to compute, and a changed rate needs no conversion.

A granted invocation holds a `Ticket` until it leaves. A throttled one has taken nothing, no token either.
Source: AWS Lambda Developer Guide, "Understanding Lambda function scaling", "Configuring reserved concurrency".
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from ..domain.limits import (
    CONCURRENT_EXECUTIONS_DEFAULT,
    REQUEST_RATE_PER_CONCURRENCY,
    SCALING_BURST_ENVIRONMENTS,
    SCALING_REFILL_PER_S,
)
from ..domain.names import FunctionRef, Scope

_NS_PER_S = 1_000_000_000
_SCALING_STEP_NS = _NS_PER_S // SCALING_REFILL_PER_S
_SCALING_FULL_NS = SCALING_BURST_ENVIRONMENTS * _SCALING_STEP_NS


class Kind(Enum):
    """How the invocation was asked for: only synchronous requests have a request rate."""

    SYNC = "RequestResponse"
    EVENT = "Event"


class Reason(Enum):
    """Published throttle reasons."""

    ACCOUNT_CONCURRENCY = "ConcurrentInvocationLimitExceeded"
    RESERVED_CONCURRENCY = "ReservedFunctionConcurrentInvocationLimitExceeded"
    SCALING_RATE = "FunctionInvocationRateLimitExceeded"
    RESERVED_RATE = "ReservedFunctionInvocationRateLimitExceeded"
    ACCOUNT_RATE = "CallerRateLimitExceeded"


@dataclass(frozen=True, slots=True)
class Throttle:
    """Not now. `reason.value` is the published word."""

    reason: Reason


class TicketReturned(RuntimeError):
    """A ticket was given back twice: a bug of its holder, who may meanwhile have let a second invocation in."""


class Ticket:
    """The right to run one invocation, held until `Admission.leave`."""

    __slots__ = ("_held", "_is_provisioned")

    def __init__(self, held: _Function, is_provisioned: bool = False) -> None:
        self._held: _Function | None = held
        self._is_provisioned = is_provisioned

    @property
    def is_held(self) -> bool:
        return self._held is not None

    @property
    def is_provisioned(self) -> bool:
        """It counts against what is set aside for provisioned environments."""
        return self._is_provisioned


class _Account:
    """One account in one region."""

    __slots__ = ("limit", "rate_full_ns", "reserved", "running", "unreserved_running")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.reserved = 0
        """All that is set aside: reserved shares, and provisioned environments of functions without one."""
        self.running = 0
        self.unreserved_running = 0
        self.rate_full_ns = 0

    @property
    def unreserved(self) -> int:
        return max(0, self.limit - self.reserved)


class _Function:
    __slots__ = (
        "account",
        "provisioned",
        "provisioned_full_ns",
        "provisioned_running",
        "rate_full_ns",
        "reserved",
        "running",
        "scaling_full_ns",
    )

    def __init__(self, account: _Account) -> None:
        self.account = account
        self.reserved: int | None = None
        self.running = 0
        self.rate_full_ns = 0
        self.scaling_full_ns = 0
        self.provisioned = 0
        self.provisioned_running = 0
        self.provisioned_full_ns = 0

    @property
    def set_aside(self) -> int:
        return self.provisioned if self.reserved is None else self.reserved


_THROTTLED = {reason: Throttle(reason) for reason in Reason}
_ACCOUNT_CONCURRENCY = _THROTTLED[Reason.ACCOUNT_CONCURRENCY]
_RESERVED_CONCURRENCY = _THROTTLED[Reason.RESERVED_CONCURRENCY]
_SCALING_RATE = _THROTTLED[Reason.SCALING_RATE]
_RESERVED_RATE = _THROTTLED[Reason.RESERVED_RATE]
_ACCOUNT_RATE = _THROTTLED[Reason.ACCOUNT_RATE]


class Admission:
    """All accounts' and functions' concurrency in this process. Not for use from several threads."""

    def __init__(self, *, account_limit: int = CONCURRENT_EXECUTIONS_DEFAULT) -> None:
        """`account_limit`: concurrent executions of each account and region without a limit of its own, >= 0."""
        self._account_limit = _checked(account_limit)
        self._accounts: dict[Scope, _Account] = {}
        self._functions: dict[FunctionRef, _Function] = {}

    def enter(
        self,
        ref: FunctionRef,
        now_ns: int,
        needs_environment: bool,
        kind: Kind,
        on_provisioned: bool = False,
    ) -> Ticket | Throttle:
        """Let one invocation of `ref` in, or say why not.

        now_ns: monotonic. needs_environment: no idle one is there, so that a new one has to be made for it.
        on_provisioned: it will run on an idle provisioned environment.
        The answer is a `Ticket` to give back with `leave`, or a `Throttle`, after which nothing has changed.
        """
        function = self._functions.get(ref) or self._function(ref)
        account = function.account
        reserved = function.reserved
        if on_provisioned and (ticket := _provisioned_ticket(function, now_ns, kind)) is not None:
            return ticket
        if reserved is None:
            pool = account.limit - account.reserved
            if account.unreserved_running >= pool or account.running >= account.limit:
                return _ACCOUNT_CONCURRENCY
            rate_full_ns = account.rate_full_ns
        else:
            pool = reserved
            on_demand = function.running - function.provisioned_running
            if function.running >= pool or on_demand >= pool - function.provisioned:
                return _RESERVED_CONCURRENCY
            if account.running >= account.limit:
                return _ACCOUNT_CONCURRENCY
            rate_full_ns = function.rate_full_ns
        if kind is Kind.SYNC:
            # The step is rounded up: it may make the rate a hair smaller, never larger. A full bucket is one second's.
            rate_per_s = REQUEST_RATE_PER_CONCURRENCY * pool
            step_ns = -(-_NS_PER_S // rate_per_s)
            rate_full_ns = (rate_full_ns if rate_full_ns > now_ns else now_ns) + step_ns
            if rate_full_ns - now_ns > rate_per_s * step_ns:
                return _ACCOUNT_RATE if reserved is None else _RESERVED_RATE
        if needs_environment:
            scaling_full_ns = max(function.scaling_full_ns, now_ns) + _SCALING_STEP_NS
            if scaling_full_ns - now_ns > _SCALING_FULL_NS:
                return _SCALING_RATE
            function.scaling_full_ns = scaling_full_ns
        if reserved is None:
            account.unreserved_running += 1
            account.rate_full_ns = rate_full_ns
        else:
            function.rate_full_ns = rate_full_ns
        account.running += 1
        function.running += 1
        return Ticket(function)

    def leave(self, ticket: Ticket) -> None:
        """The invocation is over. Raises TicketReturned when it was over already."""
        function = ticket._held
        if function is None:
            raise TicketReturned("this ticket was given back before")
        ticket._held = None
        account = function.account
        function.running -= 1
        account.running -= 1
        if ticket._is_provisioned:
            function.provisioned_running -= 1
        elif function.reserved is None:
            account.unreserved_running -= 1

    def set_reserved(self, ref: FunctionRef, reserved: int | None) -> None:
        """Set the function's reserved concurrency (>= 0, 0 switches it off) or take it away (None). At once.

        What runs goes on. Where the account is busier than the new shares allow, they hold as invocations leave.
        """
        function = self._functions.get(ref) or self._function(ref)
        _reserve(function, None if reserved is None else _checked(reserved))

    def set_provisioned(self, ref: FunctionRef, provisioned: int) -> None:
        """Set how many provisioned environments of the function are there (>= 0), of all versions together. At once."""
        function = self._functions.get(ref)
        if function is None:
            if provisioned == 0:
                return
            function = self._function(ref)
        if function.reserved is None:
            function.account.reserved += _checked(provisioned) - function.provisioned
        function.provisioned = _checked(provisioned)

    def set_account_limit(self, scope: Scope, limit: int) -> None:
        """Set the account's concurrent executions (>= 0). At once; what runs goes on."""
        self._account(scope).limit = _checked(limit)

    def forget(self, ref: FunctionRef) -> None:
        """The function is deleted: its share returns to the account. Invocations still running leave as usual."""
        function = self._functions.pop(ref, None)
        if function is not None:
            _reserve(function, None)
            function.account.reserved -= function.provisioned
            function.provisioned = 0

    def reserved(self, ref: FunctionRef) -> int | None:
        """The function's reserved concurrency, None without."""
        function = self._functions.get(ref)
        return None if function is None else function.reserved

    def account_limit(self, scope: Scope) -> int:
        """The account's concurrent executions."""
        return self._account(scope).limit

    def unreserved(self, scope: Scope) -> int:
        """The account's limit less everything that is set aside now."""
        return self._account(scope).unreserved

    def running(self, ref: FunctionRef) -> int:
        """ConcurrentExecutions of one function."""
        function = self._functions.get(ref)
        return 0 if function is None else function.running

    def running_in(self, scope: Scope) -> int:
        """ConcurrentExecutions of one account and region, deleted functions' last invocations included."""
        return self._account(scope).running

    def _account(self, scope: Scope) -> _Account:
        account = self._accounts.get(scope)
        if account is None:
            account = self._accounts[scope] = _Account(self._account_limit)
        return account

    def _function(self, ref: FunctionRef) -> _Function:
        function = self._functions[ref] = _Function(self._account(ref.scope))
        return function


def _reserve(function: _Function, reserved: int | None) -> None:
    """Move a function between the unreserved pool and a share of its own, with all that runs."""
    account = function.account
    on_demand = function.running - function.provisioned_running
    if function.reserved is None:
        account.unreserved_running -= on_demand
    account.reserved -= function.set_aside
    function.reserved = reserved
    account.reserved += function.set_aside
    if reserved is None:
        account.unreserved_running += on_demand


def _provisioned_ticket(function: _Function, now_ns: int, kind: Kind) -> Ticket | None:
    """A ticket out of what is set aside for provisioned environments; None where that is used up, or nothing fits."""
    account, provisioned = function.account, function.provisioned
    if function.provisioned_running >= provisioned or account.running >= account.limit:
        return None
    if function.reserved is not None and function.running >= function.reserved:
        return None
    if kind is Kind.SYNC:
        rate_per_s = REQUEST_RATE_PER_CONCURRENCY * provisioned
        step_ns = -(-_NS_PER_S // rate_per_s)
        full_ns = max(function.provisioned_full_ns, now_ns) + step_ns
        if full_ns - now_ns > rate_per_s * step_ns:
            return None
        function.provisioned_full_ns = full_ns
    function.provisioned_running += 1
    account.running += 1
    function.running += 1
    return Ticket(function, True)


def _checked(concurrency: int) -> int:
    if concurrency < 0:
        raise ValueError(f"concurrency is 0 or more, not {concurrency}")
    return concurrency
