"""One account on a server without isolation between accounts.

In the process tier nothing keeps one function from reading another's code and environment; in the confined tier they
share the machine's process list, its disk and, without control groups, its memory. That is fine among the functions of
one account, and no boundary between two: unless somebody insisted on the tier, the second is refused.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

from lambent.api.ports import Authenticator
from lambent.domain.errors import AccessDenied
from lambent.http import Request
from lambent.identity.model import Caller


class OneAccount:
    """An authenticator in front of another: callers of an account beside the one that has functions are refused."""

    def __init__(
        self, authenticator: Authenticator, accounts: Callable[[], Iterable[str]], tier: str = "process"
    ) -> None:
        """accounts: the accounts that own functions now, each at least once. tier: for the refusal."""
        self._tier = tier
        self._authenticator = authenticator
        self._accounts = accounts

    def identify(self, request: Request) -> Caller:
        """As the other's. Raises AccessDenied."""
        caller = self._authenticator.identify(request)
        mine = caller.scope.account
        other = next((account for account in self._accounts() if account != mine), None)
        if other is not None:
            raise AccessDenied(
                f"This server runs functions of account {other} in the {self._tier} tier, which does not isolate accounts "
                f"from each other, so account {mine} is refused. `lambent doctor` says what a better tier needs; "
                f"--tier {self._tier} insists on this one."
            )
        return caller

    def verify(self, request: Request, caller: Caller) -> Awaitable[None] | None:
        """As the other's."""
        return self._authenticator.verify(request, caller)

    def prove(self, request: Request, caller: Caller) -> Awaitable[None] | None:
        """As the other's."""
        return self._authenticator.prove(request, caller)
