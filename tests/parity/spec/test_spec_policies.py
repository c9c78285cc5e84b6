"""§7: permissions and resource policies."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.parity.spec.spec_world import (
    FUNCTIONS,
    IPV,
    RCE,
    RNF,
    STALE,
    VAL,
    Row,
    Wire,
    encoded,
    filled,
    hold,
    like,
    one,
    refused,
    rows,
)

ADD = "POST " + FUNCTIONS + "/{name}/policy"
REMOVE = "DELETE " + FUNCTIONS + "/{name}/policy"
WRONG_PRINCIPAL = "The provided principal was invalid. Please check the principal and try again."
NO_RESOURCE = "The resource you requested does not exist."
NO_POLICY = "No policy is associated with the given resource."
STALE_POLICY = (
    "The Revision Id provided does not match the latest Revision Id. Call the GetPolicy API to retrieve the latest "
    "Revision Id"
)
STALE_DOCUMENT = STALE_POLICY.replace("GetPolicy", "GetResourcePolicy")
NOBODYS = "00000000-0000-4000-8000-000000000000"
WHOLE = "/2026-07-09/resource-policy/"


def permission(**members: Any) -> dict[str, Any]:
    return {"StatementId": "s", "Action": "lambda:InvokeFunction", "Principal": "s3.amazonaws.com", **members}


@pytest.fixture(scope="module")
def names(wire: Wire) -> dict[str, str]:
    name = wire.make("policies")
    wire.publish(name)
    wire.alias(name, "live")
    wire.ok("POST", f"{FUNCTIONS}/{name}/policy", permission(StatementId="taken"))
    bare = wire.make("bare")
    wire.publish(bare)
    wire.alias(bare, "live")
    return {
        "name": name,
        "arn": wire.arn(name),
        "encoded": encoded(wire.arn(name)),
        "bare": bare,
        "no": wire.arn("no"),
        "account": wire.account,
    }


@pytest.mark.parametrize(
    ("given", "principal"),
    [
        pytest.param("s3.amazonaws.com", {"Service": "s3.amazonaws.com"}, id="7.1 a service"),
        pytest.param("123456789012", {"AWS": "arn:aws:iam::123456789012:root"}, id="7.1 an account"),
        *(
            pytest.param(arn, {"AWS": arn}, id=f"7.1 {arn.rpartition(':')[2]}")
            for arn in (
                "arn:aws:iam::123456789012:root",
                "arn:aws:iam::123456789012:user/u",
                "arn:aws:iam::123456789012:role/r",
            )
        ),
        pytest.param("*", "*", id="7.1 everybody"),
    ],
)
def test_principals(wire: Wire, names: dict[str, str], given: str, principal: Any) -> None:
    """§7.1: how each form stands in the statement, whose members are in order."""
    sid = "principal"
    text = wire.ok("POST", f"{FUNCTIONS}/{names['name']}/policy", permission(StatementId=sid, Principal=given), 201)
    assert text["Statement"] == json.dumps(
        {
            "Sid": sid,
            "Effect": "Allow",
            "Principal": principal,
            "Action": "lambda:InvokeFunction",
            "Resource": names["arn"],
        },
        separators=(",", ":"),
    )
    wire.ok("DELETE", f"{FUNCTIONS}/{names['name']}/policy/{sid}", status=204)


def test_conditions(wire: Wire, names: dict[str, str]) -> None:
    """§7.1: operators and keys in their order and their case."""
    given = permission(
        StatementId="conditions",
        Action="lambda:InvokeFunctionUrl",
        InvokedViaFunctionUrl=True,
        SourceArn="arn:aws:s3:::bucket",
        EventSourceToken="token",
        PrincipalOrgID="o-0123456789",
        FunctionUrlAuthType="NONE",
        SourceAccount="123456789012",
    )
    shown = wire.ok("POST", f"{FUNCTIONS}/{names['name']}/policy?Qualifier=live", given, 201)["Statement"]
    assert shown == (
        '{"Sid":"conditions","Effect":"Allow","Principal":{"Service":"s3.amazonaws.com"},'
        f'"Action":"lambda:InvokeFunctionUrl","Resource":"{names["arn"]}:live","Condition":{{"StringEquals":{{'
        '"AWS:SourceAccount":"123456789012","lambda:FunctionUrlAuthType":"NONE","aws:PrincipalOrgID":"o-0123456789",'
        '"lambda:EventSourceToken":"token"},"ArnLike":{"AWS:SourceArn":"arn:aws:s3:::bucket"},'
        '"Bool":{"lambda:InvokedViaFunctionUrl":"true"}}}'
    )


@rows(
    *(
        Row(f"7.1 principal {principal}", ADD, permission(Principal=principal), IPV, WRONG_PRINCIPAL)
        for principal in ("nobody", "12345", "arn:aws:iam::123456789012:group/g", "arn:aws:s3:::b")
    ),
    Row(
        "7.1 StatementId",
        ADD,
        permission(StatementId="a b"),
        VAL,
        one("'a b'", "statementId", like("([a-zA-Z0-9-_]+)")),
    ),
    Row(
        "7.1 $LATEST",
        ADD + "?Qualifier=$LATEST",
        permission(),
        IPV,
        "We currently do not support adding policies for $LATEST.",
    ),
    Row(
        "7.1 $LATEST in the name",
        "POST " + FUNCTIONS + "/{name}:$LATEST/policy",
        permission(),
        IPV,
        "We currently do not support adding policies for $LATEST.",
    ),
    Row(
        "7.1 qualifier pattern",
        ADD + "?Qualifier=a%20b",
        permission(),
        VAL,
        "1 validation error detected: Value 'a b' at 'qualifier' failed to satisfy constraint: Member must satisfy …",
    ),
    Row(
        "7.1 the Sid is taken",
        ADD,
        permission(StatementId="taken"),
        RCE,
        "The statement id (taken) provided already exists. Please provide a new statement id, or remove the existing "
        "statement.",
    ),
    Row("7.1 RevisionId", ADD, permission(RevisionId="x"), STALE, STALE_POLICY),
    Row(
        "7.4 RevisionId without a policy",
        f"POST {FUNCTIONS}/{{bare}}/policy",
        permission(RevisionId="x"),
        STALE,
        STALE_POLICY,
    ),
    Row(
        "7.1 FunctionUrlAuthType with another action",
        ADD,
        permission(FunctionUrlAuthType="NONE"),
        IPV,
        "FunctionUrlAuthType is only supported for lambda:InvokeFunctionUrl action",
    ),
    Row(
        "7.1 order: constraints before $LATEST",
        ADD + "?Qualifier=$LATEST",
        permission(StatementId="a b"),
        VAL,
        one("'a b'", "statementId", like("([a-zA-Z0-9-_]+)")),
    ),
    Row(
        "7.1 order: $LATEST before the mismatch",
        "POST " + FUNCTIONS + "/no:1/policy?Qualifier=$LATEST",
        permission(),
        IPV,
        "We currently do not support adding policies for $LATEST.",
    ),
    Row(
        "7.1 order: existence before the principal",
        f"POST {FUNCTIONS}/no/policy",
        permission(Principal="nobody"),
        RNF,
        "Function not found: {no}",
    ),
    Row(
        "7.1 order: the principal before the RevisionId",
        ADD,
        permission(Principal="nobody", RevisionId="x"),
        IPV,
        WRONG_PRINCIPAL,
    ),
    Row(
        "7.1 order: the RevisionId before the Sid",
        ADD,
        permission(StatementId="taken", RevisionId="x"),
        STALE,
        STALE_POLICY,
    ),
    Row("7.2 no policy", f"GET {FUNCTIONS}/{{bare}}/policy", None, RNF, NO_RESOURCE),
    Row("7.2 a version does not inherit", f"GET {FUNCTIONS}/{{name}}/policy?Qualifier=1", None, RNF, NO_RESOURCE),
    Row("7.3 function missing", f"DELETE {FUNCTIONS}/no/policy/s", None, RNF, "No policy found for: {no}"),
    Row("7.3 no policy", f"DELETE {FUNCTIONS}/{{bare}}/policy/s", None, RNF, NO_POLICY),
    Row("7.3 no policy of a version", f"DELETE {FUNCTIONS}/{{bare}}/policy/s?Qualifier=1", None, RNF, NO_POLICY),
    Row("7.3 no such Sid", REMOVE + "/no", None, RNF, "Statement no is not found in resource policy."),
    Row("7.3 no such alias", REMOVE + "/taken?Qualifier=no", None, RNF, "Cannot find alias arn: {arn}:no"),
    Row("7.3 RevisionId", REMOVE + "/taken?RevisionId=x", None, STALE, STALE_POLICY),
    Row(
        "7.5 Put RevisionId", f"PUT {WHOLE}{{encoded}}", {"Policy": "{}", "RevisionId": NOBODYS}, STALE, STALE_DOCUMENT
    ),
    Row("7.5 Delete RevisionId", f"DELETE {WHOLE}{{encoded}}?RevisionId={NOBODYS}", None, STALE, STALE_DOCUMENT),
    Row("7.5 Get without policy", f"GET {WHOLE}{{encoded}}%3A1", None, RNF, NO_RESOURCE),
    Row("7.5 Get of no version", f"GET {WHOLE}{{encoded}}%3A9", None, RNF, NO_RESOURCE),
    Row("7.5 Get of no function", f"GET {WHOLE}{{encoded}}x", None, RNF, NO_RESOURCE),
    Row("7.5 Delete without policy", f"DELETE {WHOLE}{{encoded}}%3A1", None, RNF, NO_RESOURCE),
    Row(
        "7.5 a runtime's ARN",
        f"GET {WHOLE}" + encoded("arn:aws:lambda:us-east-1:123456789012:runtime/r/version/1"),
        None,
        RNF,
        NO_RESOURCE,
    ),
)
def test_refusals(wire: Wire, names: dict[str, str], row: Row) -> None:
    hold(wire, row, names)


def test_the_policy(wire: Wire) -> None:
    """§7.2, §7.3: compact, in order, gone with its last statement; a Sid is unique in one policy only."""
    name = wire.make("policy")
    wire.publish(name)
    for query in ("", "?Qualifier=1"):
        for sid in ("b", "a"):
            wire.ok("POST", f"{FUNCTIONS}/{name}/policy{query}", permission(StatementId=sid), 201)
    shown = wire.ok("GET", f"{FUNCTIONS}/{name}/policy?Qualifier=1")
    assert set(shown) == {"Policy", "RevisionId"}
    assert shown["Policy"].startswith('{"Version":"2012-10-17","Id":"default","Statement":[{"Sid":"b","Effect":')
    statements = json.loads(shown["Policy"])["Statement"]
    assert [one["Sid"] for one in statements] == ["b", "a"]
    assert {one["Resource"] for one in statements} == {wire.arn(name, "1")}
    for sid in ("a", "b"):
        wire.ok("DELETE", f"{FUNCTIONS}/{name}/policy/{sid}?Qualifier=1", status=204)
    refused(wire("GET", f"{FUNCTIONS}/{name}/policy?Qualifier=1"), RNF, NO_RESOURCE)
    assert wire("GET", f"{FUNCTIONS}/{name}/policy").status == 200


def test_the_policys_revision(wire: Wire) -> None:
    """§7.4: its own; while there is none, that of the function, version or alias; nothing but changes moves it."""
    name = wire.make("revision")
    wire.publish(name)
    alias = wire.alias(name, "live")["RevisionId"]
    for query, revision in (("", wire.settled(name)["RevisionId"]), ("?Qualifier=live", alias)):
        path = f"{FUNCTIONS}/{name}/policy{query}"
        wire.ok("POST", path, permission(RevisionId=revision), 201)
        own = wire.ok("GET", path)["RevisionId"]
        assert own != revision
        refused(wire("POST", path, permission(StatementId="t", RevisionId=revision)), STALE, STALE_POLICY)
        wire.ok("PUT", f"{FUNCTIONS}/{name}/configuration", {})
        assert wire.ok("GET", path)["RevisionId"] == own
        wire.ok("POST", path, permission(StatementId="t", RevisionId=own), 201)


def test_too_long_a_policy(wire: Wire) -> None:
    """§7.1, §24: 20,480 bytes."""
    name = wire.make("long")
    path = f"{FUNCTIONS}/{name}/policy"
    for number in range(200):
        reply = wire("POST", path, permission(StatementId=f"s{number}" + "x" * 90))
        if reply.status != 201:
            break
    size = len(wire.ok("GET", path)["Policy"])
    assert size <= 20_480
    assert reply.headers["x-amzn-errortype"] == "PolicyLengthExceededException"
    message = reply.document["message"]
    assert message.startswith("The final policy size (")
    assert message.endswith(") is bigger than the limit (20480).")
    assert int(message.split("(")[1].split(")")[0]) > 20_480


DOCUMENT = (
    '{"Version":"2012-10-17","Statement":[{"Sid":"a","Effect":"Deny","Principal":{"AWS":["123456789012"]},'
    '"Action":["lambda:InvokeFunction","lambda:GetFunction"],"Resource":"{arn}:*"},'
    '{"Effect":"Allow","Principal":"*","Action":"lambda:InvokeFunction","Resource":"{arn}"}]}'
)


def test_whole_documents(wire: Wire) -> None:
    """§7.5: Put replaces all, also without change under a new RevisionId; both ways see one policy."""
    name = wire.make("whole")
    arn = wire.arn(name)
    path, document = WHOLE + encoded(arn), filled(DOCUMENT, {"arn": arn})
    wire.ok("POST", f"{FUNCTIONS}/{name}/policy", permission(StatementId="old"))
    first = wire.ok("PUT", path, {"Policy": document}, 200)
    second = wire.ok("PUT", path, {"Policy": document, "RevisionId": first["RevisionId"]}, 200)
    assert first["RevisionId"] != second["RevisionId"]
    assert wire.ok("GET", path) == second == wire.ok("GET", f"{FUNCTIONS}/{name}/policy")
    statements = json.loads(second["Policy"])["Statement"]
    assert [one.get("Sid") for one in statements] == ["a", None]
    refused(
        wire("POST", f"{FUNCTIONS}/{name}/policy", permission(StatementId="a")),
        RCE,
        "The statement id (a) provided already exists. Please provide a new statement id, or remove the existing "
        "statement.",
    )
    reply = wire("DELETE", path)
    assert (reply.status, reply.body) == (204, b"")
    refused(wire("GET", path), RNF, NO_RESOURCE)
    for wrong in ("{", "[]", '{"Version":"2012-10-17"}'):
        assert wire("PUT", path, {"Policy": wrong}).headers["x-amzn-errortype"] == IPV
