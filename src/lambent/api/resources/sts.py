"""STS: who is calling, and temporary credentials, over the query protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lambent.identity.errors import Denied, ValidationError

if TYPE_CHECKING:
    from lambent.api.query import QueryDoor
    from lambent.identity.model import Caller
    from lambent.identity.sessions import Sessions
    from lambent.identity.temporary import Issued

Values = dict[str, Any]


def register(door: QueryDoor, sessions: Sessions) -> None:
    """Serve the four operations."""
    resource = _Sts(sessions)
    door.register("GetCallerIdentity", resource.identity)
    door.register("AssumeRole", resource.assume)
    door.register("GetSessionToken", resource.own)
    door.register("GetAccessKeyInfo", resource.key)


class _Sts:
    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def identity(self, caller: Caller, values: Values) -> Values:
        return {"UserId": self._sessions.user_id(caller), "Account": caller.scope.account, "Arn": caller.arn}

    async def assume(self, caller: Caller, values: Values) -> Values:
        _refuse_mfa(values)
        if values.get("ProvidedContexts"):
            raise ValidationError("ProvidedContexts is not served by Lambent: leave it out.")
        context = {"sts:externalid": values.get("ExternalId"), "sts:sourceidentity": values.get("SourceIdentity")}
        assumed = self._sessions.assume(
            caller,
            values["RoleArn"],
            values["RoleSessionName"],
            duration_s=values.get("DurationSeconds"),
            policy=values.get("Policy"),
            context={key: value for key, value in context.items() if value is not None},
        )
        return {
            "Credentials": _credentials(assumed.credentials),
            "AssumedRoleUser": {"AssumedRoleId": assumed.id, "Arn": assumed.arn},
            "SourceIdentity": values.get("SourceIdentity"),
        }

    async def own(self, caller: Caller, values: Values) -> Values:
        _refuse_mfa(values)
        return {"Credentials": _credentials(self._sessions.own(caller, values.get("DurationSeconds")))}

    async def key(self, caller: Caller, values: Values) -> Values:
        return {"Account": self._sessions.account_of(values["AccessKeyId"])}


def _refuse_mfa(values: Values) -> None:
    """There are no devices whose codes could be right."""
    if "SerialNumber" in values or "TokenCode" in values:
        raise Denied("MultiFactorAuthentication failed with invalid MFA one time pass code.")


def _credentials(issued: Issued) -> Values:
    return {
        "AccessKeyId": issued.access_key,
        "SecretAccessKey": issued.secret,
        "SessionToken": issued.token,
        "Expiration": issued.expires_ms,
    }
