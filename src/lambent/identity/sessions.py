"""Sessions: who gets temporary credentials for what, as STS grants them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from lambent.domain.clock import Clock

from .errors import Denied, ValidationError
from .grammar import check_policy
from .model import Caller
from .service import Roles
from .temporary import Issued, TemporaryCredentials, principal_id, session_arn
from .trust import trusts_caller

CHAINED_SESSION_S_MAX = 3_600
"""Sessions of callers that act in an assumed role themselves."""
SESSION_S_DEFAULT = 3_600
OWN_SESSION_S_DEFAULT = 43_200
"""Sessions of GetSessionToken."""


@dataclass(frozen=True, slots=True)
class Assumed:
    """A role that was assumed."""

    credentials: Issued
    id: str
    """AROA…:SESSION"""
    arn: str


class Sessions:
    """What STS answers, from the roles that are kept here and the secret that credentials follow from."""

    def __init__(
        self,
        roles: Roles,
        temporary: TemporaryCredentials,
        clock: Clock,
        account_of: Callable[[str], str | None],
    ) -> None:
        """account_of: the account of an access key that is not temporary; None: there is no such key."""
        self._roles = roles
        self._temporary = temporary
        self._clock = clock
        self._account_of = account_of

    def user_id(self, caller: Caller) -> str:
        """What GetCallerIdentity calls UserId: the account for its keys, ROLE-ID:SESSION for an assumed role."""
        kind, _, rest = caller.arn.split(":", 5)[5].partition("/")
        if kind != "assumed-role":
            return caller.scope.account
        name, _, session = rest.partition("/")
        role = self._roles.find(caller.scope.account, name)
        return f"{principal_id(caller.arn) if role is None else role.id}:{session}"

    def assume(
        self,
        caller: Caller,
        role_arn: str,
        session: str,
        *,
        duration_s: int | None = None,
        policy: str | None = None,
        context: Mapping[str, str] | None = None,
    ) -> Assumed:
        """Credentials that act as a role, for a caller whom its trust policy names. context: condition keys the caller
        brings, in lower case. Raises Denied, ValidationError, MalformedPolicyDocument."""
        role = self._roles.find_arn(role_arn)
        account = role_arn.split(":")[4] if role_arn.count(":") >= 5 else ""
        known = {"sts:rolesessionname": session, **(context or {})}
        if role is None or not trusts_caller(role.trust, caller.arn, known):
            raise Denied(f"User: {caller.arn} is not authorized to perform: sts:AssumeRole on resource: {role_arn}")
        if caller.sandbox is not None and account != caller.scope.account:
            raise Denied(
                f"User: {caller.arn} is not authorized to perform: sts:AssumeRole on resource: {role_arn} because a "
                "function acts in its own account alone: call it from outside of a function, or use a role of "
                f"account {caller.scope.account}"
            )
        if policy is not None:
            check_policy(policy)
        wanted_s = SESSION_S_DEFAULT if duration_s is None else duration_s
        if wanted_s > role.max_session_s:
            raise ValidationError("The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
        if ":assumed-role/" in caller.arn and wanted_s > CHAINED_SESSION_S_MAX:
            raise ValidationError(
                "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining."
            )
        arn = session_arn(role.arn.split(":")[1], account, role.name, session)
        return Assumed(self._issue(account, arn, wanted_s), f"{role.id}:{session}", arn)

    def own(self, caller: Caller, duration_s: int | None) -> Issued:
        """Temporary credentials for the caller itself. Raises Denied for one that has temporary ones already."""
        key = caller.access_key
        if ":assumed-role/" in caller.arn or (key is not None and self._temporary.account_of(key) is not None):
            raise Denied("Cannot call GetSessionToken with session credentials")
        return self._issue(caller.scope.account, caller.arn, duration_s or OWN_SESSION_S_DEFAULT)

    def account_of(self, access_key: str) -> str:
        """The account of an access key. Raises ValidationError."""
        account = self._temporary.account_of(access_key) or self._account_of(access_key)
        if account is None:
            raise ValidationError(f"The access key {access_key} is not one that this server knows.")
        return account

    def _issue(self, account: str, arn: str, duration_s: int) -> Issued:
        end_ms = (self._clock.wall_ms() // 1_000 + duration_s) * 1_000
        return self._temporary.issue(account, arn, expires_ms=end_ms)
