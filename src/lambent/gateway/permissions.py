"""Whether a function's resource policy lets somebody in through its URL. Pure.

It takes two permissions: `lambda:InvokeFunctionUrl` for the URL's own kind of authentication, and `lambda:InvokeFunction`
by way of a URL. A URL of AuthType NONE asks nobody's name, so the statements must be for everybody. With AWS_IAM whoever
acts in the function's own account may (no policies of identities are evaluated here) unless a Deny holds; another account
needs the statements. Source: Developer guide, "Control access to Lambda function URLs".
"""

from __future__ import annotations

from collections.abc import Mapping

from lambent.domain.statements import Asker, Question, Verdict, judge
from lambent.functions.model import Function
from lambent.functions.policies import in_force

ACTIONS = ("lambda:InvokeFunctionUrl", "lambda:InvokeFunction")
ANYBODY = Asker()
OF_REQUESTS = frozenset(("aws:sourceip", "aws:securetransport"))
"""Condition keys whose values differ from request to request."""

_ABSENT = dict.fromkeys(("aws:sourceaccount", "aws:sourcearn", "aws:principalorgid", "lambda:eventsourcetoken"))


def refusal(
    function: Function, key: str, asker: Asker, auth_type: str, more: Mapping[str, str | None] | None = None
) -> str | None:
    """Why the URL of `key` refuses somebody, for the log; None: it lets them in.

    more: what is known of the one request, by the names in `OF_REQUESTS`.
    """
    resource = function.ref.arn(key or None)
    context: dict[str, str | None] = {
        **_ABSENT,
        "aws:principalaccount": asker.account,
        "aws:principalarn": asker.role_arn or asker.arn,
        "aws:requestedregion": function.ref.region,
        "lambda:functionurlauthtype": auth_type,
        "lambda:invokedviafunctionurl": "true",
        **(more or {}),
    }
    is_own = auth_type != "NONE" and asker.account == function.ref.account
    for action in ACTIONS:
        verdict = judge(in_force(function, key or None), Question(asker, action, resource, context))
        if verdict is Verdict.DENIED:
            return f"a statement of the resource policy denies {action} on {resource}"
        if verdict is Verdict.SILENT and not is_own:
            return f"no statement of the resource policy allows {action} on {resource}"
    return None


def asks_about_requests(function: Function, key: str) -> bool:
    """Whether a statement that counts for the URL of `key` has a condition on the single request."""
    return any(
        name.lower() in OF_REQUESTS
        for statement in in_force(function, key or None)
        for asked in statement.get("Condition", {}).values()
        for name in asked
    )


def of_request(source_ip: str, is_encrypted: bool) -> Mapping[str, str | None]:
    """What conditions may ask of one request."""
    return {"aws:sourceip": source_ip, "aws:securetransport": "true" if is_encrypted else "false"}
