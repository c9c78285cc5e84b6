"""Permissions and resource policies on the wire: statements, documents, refusals, word for word."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.parse import quote

import pytest
from tests.unit.functions.test_alias_operations import ALIASES, ARN, BAD, CONFLICT, FN, NOT_FOUND, Client, Run, run

from lambent.domain.limits import POLICY_BYTES_MAX

__all__ = ["run"]

POLICY = f"{FN}/policy"
PERMISSION = {"StatementId": "s3", "Action": "lambda:InvokeFunction", "Principal": "s3.amazonaws.com"}
NOTHING = (NOT_FOUND, "The resource you requested does not exist.")
STALE = (
    "The Revision Id provided does not match the latest Revision Id. Call the {} API to retrieve the latest Revision Id"
)
BAD_PRINCIPAL = "The provided principal was invalid. Please check the principal and try again."
NO_LATEST = "We currently do not support adding policies for $LATEST."
MISMATCH = "The derived qualifier from the function name does not match the specified qualifier."


async def add(client: Client, status: int = 201, path: str = POLICY, **members: Any) -> Any:
    answer = await client("POST", path, {**PERMISSION, **members}, status)
    return answer["Statement"] if status == 201 else answer


def document_path(arn: str = ARN) -> str:
    return f"/2026-07-09/resource-policy/{quote(arn, safe='')}"


def document(**members: Any) -> dict[str, Any]:
    statement = {"Effect": "Allow", "Principal": "*", "Action": "lambda:InvokeFunction", "Resource": ARN, **members}
    return {
        "Version": "2012-10-17",
        "Statement": [{name: value for name, value in statement.items() if value is not ...}],
    }


def test_a_statement_has_its_members_in_order_and_the_policy_its_statements(run: Run) -> None:
    async def scenario(client: Client) -> None:
        await client.publish(1)
        first = await add(client, SourceArn="arn:aws:s3:::bucket")
        assert first == (
            '{"Sid":"s3","Effect":"Allow","Principal":{"Service":"s3.amazonaws.com"},"Action":"lambda:InvokeFunction",'
            f'"Resource":"{ARN}","Condition":{{"ArnLike":{{"AWS:SourceArn":"arn:aws:s3:::bucket"}}}}}}'
        )
        second = await add(client, StatementId="b", Principal="*")
        third = await add(client, StatementId="a", Principal="*")
        assert second == (
            f'{{"Sid":"b","Effect":"Allow","Principal":"*","Action":"lambda:InvokeFunction","Resource":"{ARN}"}}'
        )
        got = await client("GET", POLICY)
        assert got["Policy"] == (f'{{"Version":"2012-10-17","Id":"default","Statement":[{first},{second},{third}]}}')
        for qualifier in ("1", "live"):
            assert await client("GET", f"{POLICY}?Qualifier={qualifier}", status=404) == NOTHING

    run(scenario)


def test_conditions_have_their_order_and_their_mixed_case(run: Run) -> None:
    async def scenario(client: Client) -> None:
        await client.create()
        statement = await add(
            client,
            Action="lambda:InvokeFunctionUrl",
            InvokedViaFunctionUrl=True,
            SourceArn="arn:aws:s3:::bucket",
            EventSourceToken="token",
            PrincipalOrgID="o-0123456789",
            FunctionUrlAuthType="NONE",
            SourceAccount="111111111111",
        )
        assert statement.partition('"Condition":')[2] == (
            '{"StringEquals":{"AWS:SourceAccount":"111111111111","lambda:FunctionUrlAuthType":"NONE",'
            '"aws:PrincipalOrgID":"o-0123456789","lambda:EventSourceToken":"token"},'
            '"ArnLike":{"AWS:SourceArn":"arn:aws:s3:::bucket"},"Bool":{"lambda:InvokedViaFunctionUrl":"true"}}}'
        )
        assert "Condition" not in await add(client, StatementId="no", InvokedViaFunctionUrl=False)

    run(scenario)


@pytest.mark.parametrize(
    ("principal", "shown"),
    [
        ("s3.amazonaws.com", {"Service": "s3.amazonaws.com"}),
        ("alexa-appkit.amazon.com", {"Service": "alexa-appkit.amazon.com"}),
        ("111111111111", {"AWS": "arn:aws:iam::111111111111:root"}),
        ("arn:aws:iam::111111111111:root", {"AWS": "arn:aws:iam::111111111111:root"}),
        ("arn:aws:iam::111111111111:user/a/b", {"AWS": "arn:aws:iam::111111111111:user/a/b"}),
        ("arn:aws:iam::111111111111:role/r", {"AWS": "arn:aws:iam::111111111111:role/r"}),
        ("arn:aws:sts::111111111111:assumed-role/r/s", {"AWS": "arn:aws:sts::111111111111:assumed-role/r/s"}),
        ("*", "*"),
        ("invalid", None),
        ("11111111111", None),
        ("arn:aws:iam::1:root", None),
        ("arn:aws:s3:::bucket", None),
        ("s3.", None),
    ],
)
def test_principals(run: Run, principal: str, shown: Any) -> None:
    async def scenario(client: Client) -> None:
        await client.create()
        if shown is None:
            assert await add(client, 400, Principal=principal) == (BAD, BAD_PRINCIPAL)
        else:
            assert json.loads(await add(client, Principal=principal))["Principal"] == shown

    run(scenario)


@pytest.mark.parametrize(
    ("path", "members", "status", "kind", "text"),
    [
        (POLICY, {"Qualifier": "$LATEST"}, 400, BAD, NO_LATEST),
        (f"{FN}:$LATEST/policy", {}, 400, BAD, NO_LATEST),
        (f"{FN}:1/policy", {"Qualifier": "$LATEST"}, 400, BAD, NO_LATEST),
        (f"{FN}:1/policy", {"Qualifier": "2"}, 400, BAD, MISMATCH),
        (f"{FN}x:1/policy", {"Qualifier": "2"}, 400, BAD, MISMATCH),
        (f"{FN}:$LATEST/policy", {"Qualifier": "2"}, 400, BAD, MISMATCH),
        (f"{FN}x/policy", {"Qualifier": "live"}, 404, NOT_FOUND, f"Function not found: {ARN}x"),
        (POLICY, {"Qualifier": "9"}, 404, NOT_FOUND, f"Function not found: {ARN}:9"),
        (POLICY, {"Qualifier": "nope"}, 404, NOT_FOUND, f"Cannot find alias arn: {ARN}:nope"),
        (
            POLICY,
            {"Qualifier": "valid-with-$-but-doesnotexist"},
            404,
            NOT_FOUND,
            f"Function not found: {ARN}:valid-with-$-but-doesnotexist",
        ),
        (f"{POLICY}?Qualifier=", {}, 400, "ValidationException", None),
        (POLICY, {"StatementId": "a.b"}, 400, "ValidationException", "([a-zA-Z0-9-_]+)"),
        (POLICY, {"Qualifier": "nope", "Principal": "x"}, 404, NOT_FOUND, f"Cannot find alias arn: {ARN}:nope"),
        (POLICY, {"Principal": "x", "RevisionId": "old"}, 400, BAD, BAD_PRINCIPAL),
        (
            POLICY,
            {"RevisionId": "old", "StatementId": "taken"},
            412,
            "PreconditionFailedException",
            STALE.format("GetPolicy"),
        ),
        (
            POLICY,
            {"StatementId": "taken"},
            409,
            CONFLICT,
            "The statement id (taken) provided already exists. Please provide a new statement id, or remove the existing "
            "statement.",
        ),
        (
            POLICY,
            {"FunctionUrlAuthType": "NONE"},
            400,
            BAD,
            "FunctionUrlAuthType is only supported for lambda:InvokeFunctionUrl action",
        ),
        (f"{FN.replace('fn', '999999999999:function:fn')}/policy", {}, 403, "AccessDeniedException", None),
    ],
)
def test_refused_permissions(run: Run, path: str, members: Any, status: int, kind: str, text: str | None) -> None:
    async def scenario(client: Client) -> None:
        await client.publish(1)
        await client.alias()
        await add(client, StatementId="taken")
        before = await client("GET", POLICY)
        qualifier = members.get("Qualifier")
        where = path if qualifier is None else f"{path}?Qualifier={qualifier}"
        answer = await add(client, status, where, **{k: v for k, v in members.items() if k != "Qualifier"})
        assert answer[0] == kind
        if kind == "ValidationException":
            assert (text or "at 'qualifier'") in answer[1]
        else:
            assert answer[1] == text
        assert await client("GET", POLICY) == before

    run(scenario)


def test_a_policy_belongs_to_its_qualifier(run: Run) -> None:
    async def scenario(client: Client) -> None:
        await client.publish(1)
        await client.alias()
        for qualifier, resource in (("", ARN), ("?Qualifier=1", f"{ARN}:1"), ("?Qualifier=live", f"{ARN}:live")):
            assert json.loads(await add(client, path=f"{POLICY}{qualifier}"))["Resource"] == resource
            (one,) = json.loads((await client("GET", f"{POLICY}{qualifier}"))["Policy"])["Statement"]
            assert (one["Sid"], one["Resource"]) == ("s3", resource)
        assert await client("GET", f"{POLICY}?Qualifier=$LATEST") == await client("GET", POLICY)
        await client("DELETE", f"{ALIASES}/live", status=204)
        await client.alias()
        assert await client("GET", f"{POLICY}?Qualifier=live", status=404) == NOTHING
        for missing in (f"{POLICY}?Qualifier=9", f"{POLICY}?Qualifier=nope", f"{FN}x/policy"):
            assert await client("GET", missing, status=404) == NOTHING

    run(scenario)


def test_removal(run: Run) -> None:
    async def scenario(client: Client) -> None:
        async def remove(sid: str = "s3", status: int = 204, query: str = "", path: str = POLICY) -> Any:
            return await client("DELETE", f"{path}/{sid}{query}", status=status)

        assert await remove(status=404) == (NOT_FOUND, f"No policy found for: {ARN}")
        await client.publish(1)
        nothing = (NOT_FOUND, "No policy is associated with the given resource.")
        assert await remove(status=404) == await remove(status=404, query="?Qualifier=1") == nothing
        stale = ("PreconditionFailedException", STALE.format("GetPolicy"))
        assert await remove(status=412, query="?RevisionId=old") == stale
        assert await remove(status=404, query="?Qualifier=9") == (NOT_FOUND, f"Function not found: {ARN}:9")
        assert await remove(status=404, query="?Qualifier=no") == (NOT_FOUND, f"Cannot find alias arn: {ARN}:no")
        await add(client)
        await add(client, StatementId="b")
        assert await remove("no", 412, "?RevisionId=old") == stale
        assert await remove("no", 404) == (NOT_FOUND, "Statement no is not found in resource policy.")
        revision = (await client("GET", POLICY))["RevisionId"]
        assert await remove(query=f"?RevisionId={revision}") is None
        got = await client("GET", POLICY)
        assert [one["Sid"] for one in json.loads(got["Policy"])["Statement"]] == ["b"]
        assert got["RevisionId"] != revision
        await remove("b")
        assert await client("GET", POLICY, status=404) == NOTHING

    run(scenario)


def test_the_policys_revision_is_its_own(run: Run) -> None:
    async def scenario(client: Client) -> None:
        await client.publish(1)
        alias = await client.alias()
        latest = (await client("GET", f"{FN}/configuration"))["RevisionId"]
        version = (await client("GET", f"{FN}/configuration?Qualifier=1"))["RevisionId"]
        # While there is no policy: that of what it will belong to, and of nothing else.
        for query, own, other in (
            ("", latest, version),
            ("1", version, latest),
            ("live", alias["RevisionId"], version),
        ):
            path = f"{POLICY}?Qualifier={query}" if query else POLICY
            assert (await add(client, 412, path, RevisionId=other))[1] == STALE.format("GetPolicy")
            await add(client, 201, path, RevisionId=own)
            got = await client("GET", path)
            assert (await add(client, 412, path, StatementId="b", RevisionId=own))[1] == STALE.format("GetPolicy")
            await add(client, 201, path, StatementId="b", RevisionId=got["RevisionId"])
        assert (await client("GET", f"{FN}/configuration"))["RevisionId"] == latest
        policy = (await client("GET", POLICY))["RevisionId"]
        await client.update("configuration", Description="d")
        await client("POST", f"{FN}/versions", {}, 201)
        assert (await client("GET", POLICY))["RevisionId"] == policy

    run(scenario)


def test_a_policy_has_20480_bytes_at_most(run: Run) -> None:
    async def scenario(client: Client) -> None:
        await client.create()
        sizes = []
        for sid in "ab":
            await add(client, StatementId=sid, SourceArn="arn:aws:s3:::".ljust(9_000, "x"))
            sizes.append(len((await client("GET", POLICY))["Policy"]))
        fits = "arn:aws:s3:::".ljust(9_000 + POLICY_BYTES_MAX - sizes[1] - (sizes[1] - sizes[0]), "x")
        over = await add(client, 400, StatementId="c", SourceArn=f"{fits}x")
        size = POLICY_BYTES_MAX + 1
        assert over == (
            "PolicyLengthExceededException",
            f"The final policy size ({size}) is bigger than the limit ({POLICY_BYTES_MAX}).",
        )
        await add(client, StatementId="c", SourceArn=fits)
        assert len((await client("GET", POLICY))["Policy"]) == POLICY_BYTES_MAX == 20_480

    run(scenario)


def test_fifty_permissions_at_once_lose_nothing(run: Run) -> None:
    async def scenario(client: Client) -> None:
        await client.publish(1)
        await client.alias()

        async def write(number: int) -> None:
            await add(client, StatementId=f"s{number}")
            await client("PUT", f"{ALIASES}/live", {"Description": str(number)})

        await asyncio.gather(*(write(number) for number in range(50)))
        statements = json.loads((await client("GET", POLICY))["Policy"])["Statement"]
        assert {one["Sid"] for one in statements} == {f"s{number}" for number in range(50)}
        assert len(statements) == 50

    run(scenario)


# Whole documents.


def test_a_document_replaces_the_policy_and_is_edited_by_statement(run: Run) -> None:
    async def scenario(client: Client) -> None:
        await client.publish(1)
        await add(client)
        wanted = document(Effect="Deny", Action=["lambda:*", "lambda:GetFunction"], Resource=[ARN, f"{ARN}:*"])
        first = await client("PUT", document_path(), {"Policy": json.dumps(wanted, indent=1)})
        assert json.loads(first["Policy"]) == wanted
        assert await client("GET", document_path()) == await client("GET", POLICY) == first
        again = await client("PUT", document_path(), {"Policy": json.dumps(wanted), "RevisionId": first["RevisionId"]})
        assert (again["Policy"], again["RevisionId"] != first["RevisionId"]) == (first["Policy"], True)
        await add(client)
        assert (await add(client, 409))[0] == CONFLICT
        assert json.loads((await client("GET", document_path()))["Policy"])["Statement"][0] == wanted["Statement"][0]
        await client("DELETE", f"{POLICY}/s3", status=204)
        assert (await client("GET", POLICY))["Policy"] == first["Policy"]
        stale = ("PreconditionFailedException", STALE.format("GetResourcePolicy"))
        old = f"RevisionId={first['RevisionId']}"
        assert await client("DELETE", f"{document_path()}?{old}", status=412) == stale
        body = {"Policy": "{}", "RevisionId": first["RevisionId"]}
        assert await client("PUT", document_path(), body, 412) == stale
        await client("DELETE", document_path(), status=204)
        assert await client("DELETE", document_path(), status=404) == NOTHING
        assert await client("GET", document_path(), status=404) == NOTHING

    run(scenario)


def test_a_document_for_each_qualifier_and_the_statement_alone_in_no_list(run: Run) -> None:
    async def scenario(client: Client) -> None:
        await client.publish(1)
        await client.alias()
        for arn in (f"{ARN}:1", f"{ARN}:live"):
            wanted = document(Resource=arn, Sid="mine")
            wanted = {"Statement": wanted["Statement"][0], "Id": "x", "Version": "2008-10-17"}
            put = await client("PUT", document_path(arn), {"Policy": json.dumps(wanted)})
            assert put["Policy"].startswith('{"Version":"2008-10-17","Id":"x","Statement":[{"Effect":"Allow"')
            assert (await add(client, 409, f"{POLICY}?Qualifier={arn.rpartition(':')[2]}", StatementId="mine"))[0] == (
                CONFLICT
            )
        text = json.dumps(document())
        assert await client("PUT", document_path(f"{ARN}:$LATEST"), {"Policy": text}, 400) == (BAD, NO_LATEST)
        runtime = ARN.partition(":function:")[0] + ":runtime/mine"
        for missing in (f"{ARN}x", f"{ARN}:9", f"{ARN}:nope", runtime):
            for method, body in (("PUT", {"Policy": text}), ("GET", None), ("DELETE", None)):
                assert await client(method, document_path(missing), body, 404) == NOTHING
        theirs = ARN.replace("123456789012", "999999999999")
        assert await client("GET", document_path(theirs), status=403) == ("AccessDeniedException", None)

    run(scenario)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "it is not JSON: "),
        ("[]", "it is not a JSON object."),
        ("{}", "its Version is not one of 2012-10-17, 2008-10-17."),
        ('{"Version":"2012-10-17"}', "it has no Statement."),
        ('{"Version":"2012-10-17","Statement":[]}', "it has no Statement."),
        ('{"Version":"2012-10-17","Statement":["x"]}', "statement 1 is not a JSON object."),
        (
            '{"Version":"2012-10-17","Other":1}',
            "a policy has the member Other, which is none of Version, Id, Statement.",
        ),
        ('{"Version":"2012-10-17","Id":1}', "its Id is not a string."),
        ({"Effect": "Maybe"}, "the Effect of statement 1 is neither Allow nor Deny."),
        ({"Effect": ...}, "the Effect of statement 1 is neither Allow nor Deny."),
        ({"Principal": ...}, "the Principal of statement 1 is neither * nor an object"),
        ({"Principal": "111111111111"}, "the Principal of statement 1 is neither * nor an object"),
        ({"Principal": {"AWS": "me"}}, "the Principal me of statement 1 is no account, no user and no role."),
        ({"Principal": {"Who": "me"}}, "the Principal of statement 1 has the member Who, which is none of AWS, "),
        ({"Principal": {"AWS": [1]}}, "AWS of the Principal of statement 1 is not a string."),
        (
            {"NotPrincipal": "*"},
            "statement 1 has NotPrincipal, which is not supported: name what is meant with Principal.",
        ),
        ({"Action": ...}, "statement 1 has no Action."),
        ({"Action": "s3:GetObject"}, "the Action s3:GetObject of statement 1 is none of Lambda's."),
        ({"Resource": []}, "statement 1 has no Resource."),
        ({"Resource": "*"}, f"the Resource * of statement 1 is not {ARN}, one of its versions or one of its aliases."),
        ({"Resource": f"{ARN}x"}, f"the Resource {ARN}x of statement 1 is not {ARN}, one of"),
        ({"Condition": []}, "the Condition of statement 1 is not a JSON object."),
        ({"Condition": {"Bool": 1}}, "Bool in the Condition of statement 1 is not a JSON object."),
        (
            {"Condition": {"Bool": {"a": {}}}},
            "a in the Condition of statement 1 is neither a value nor a list of values.",
        ),
        ({"Sid": "a b"}, "the Sid of statement 1 is not of letters, digits, hyphens, dots and underscores."),
        ({"Extra": 1}, "statement 1 has the member Extra, which is none of Sid, Effect, "),
    ],
)
def test_malformed_documents_are_refused_with_what_is_wrong(run: Run, text: Any, why: str) -> None:
    async def scenario(client: Client) -> None:
        await client.create()
        body = {"Policy": text if isinstance(text, str) else json.dumps(document(**text))}
        kind, message = await client("PUT", document_path(), body, 400)
        assert (kind, message.startswith(f"The policy is not valid: {why}")) == (BAD, True), message
        assert await client("GET", document_path(), status=404) == NOTHING

    run(scenario)


def test_a_sid_twice_and_a_document_that_is_too_large(run: Run) -> None:
    async def scenario(client: Client) -> None:
        await client.create()
        twice = document(Sid="a")
        twice["Statement"] *= 2
        _, message = await client("PUT", document_path(), {"Policy": json.dumps(twice)}, 400)
        assert message == "The policy is not valid: the Sid a is there more than once."
        wide = json.dumps(document(Condition={"StringEquals": {"aws:SourceAccount": "ü" * 12_000}}), ensure_ascii=False)
        answer = await client("PUT", document_path(), {"Policy": wide}, 400)
        assert answer[0] == "PolicyLengthExceededException"
        answer = await client("PUT", document_path(), {"Policy": wide.replace("ü", "üü")}, 400)
        assert answer[0] == "ValidationException"

    run(scenario)
