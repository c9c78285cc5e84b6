"""§2: the forms of a function's name, its qualifiers, and what each operation answers when the target is missing."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest
from tests.parity.spec.spec_world import (
    DENIED,
    FUNCTIONS,
    IPV,
    OTHER_ACCOUNT,
    RNF,
    VAL,
    Row,
    Wire,
    encoded,
    hold,
    like,
    no_longer,
    one,
    refused,
    rows,
)
from tests.support import PYTHON_RUNTIME

from lambent.api.table import load_table

MISMATCH = "The derived qualifier from the function name does not match the specified qualifier."
NO_ALIASES = "Deletion of aliases is not currently supported."
LATEST_STAYS = "$LATEST version cannot be deleted without deleting the function."
UNQUALIFIED_ONLY = (
    "This operation is permitted on Lambda functions only. Aliases and versions do not support this operation. Please "
    "specify either a function name or an unqualified function ARN."
)
NO_RESOURCE = "The resource you requested does not exist."
PERMISSION = {"StatementId": "s", "Action": "lambda:InvokeFunction", "Principal": "s3.amazonaws.com"}
POLICY = FUNCTIONS + "/{}/policy"
EVENTS = "/2019-09-25/functions/{}/event-invoke-config"
URL = "/2021-10-31/functions/{}/url"
MANAGED = "/2021-07-20/functions/{}/runtime-management-config"


@pytest.fixture(scope="module")
def names(wire: Wire) -> dict[str, str]:
    name = wire.make("names")
    wire.publish(name)
    wire.alias(name, "live")
    return {
        "name": name,
        "arn": wire.arn(name),
        "no": wire.arn("no"),
        "root": wire.arn("x").removesuffix(":x"),
        "elsewhere": wire.arn(name, region="eu-west-1"),
        "abroad": wire.arn(name, account=OTHER_ACCOUNT),
        "account": wire.account,
    }


def get(id: str, path: str, code: str, message: str) -> Row:
    return Row(id, f"GET {FUNCTIONS}/{path}", None, code, message)


@pytest.mark.parametrize("form", ["{}", "function:{}", "{account}:function:{}", "{account}:{}", "{arn}"])
@pytest.mark.parametrize("qualifier", [None, "$LATEST", "1", "live"])
@pytest.mark.parametrize("escape", [encoded, lambda text: quote(text, safe=":$")], ids=["encoded", "as it is"])
def test_every_form_of_a_name(wire: Wire, names: dict[str, str], form: str, qualifier: str | None, escape: Any) -> None:
    """§2.1: a name, a partial ARN, an ARN, each with a qualifier; `:` and `$` encoded or not."""
    text = form.replace("{}", names["name"]).replace("{account}", wire.account).replace("{arn}", names["arn"])
    text = text if qualifier is None else f"{text}:{qualifier}"
    shown = wire.ok("GET", f"{FUNCTIONS}/{escape(text)}/configuration")
    assert shown["FunctionName"] == names["name"]
    assert shown["FunctionArn"] == wire.arn(names["name"], qualifier)
    assert shown["Version"] == ("1" if qualifier in ("1", "live") else "$LATEST")


@rows(
    get("2.1 an ARN without name names `function`", "{root}", RNF, "Function not found: {root}:function"),
    get("2.1 an overlong bare name is only not found", "n" * 65, RNF, f"Function not found: {{root}}:{'n' * 65}"),
    get("2.1 dots in a namespaced name", "a.b", RNF, "Function not found: {root}:a.b"),
    get(
        "2.1 an overlong qualifier",
        "no?Qualifier=" + "q" * 129,
        VAL,
        one(f"'{'q' * 129}'", "qualifier", no_longer(128)),
    ),
    Row(
        "2.1 dots in a plain name",
        f"POST {FUNCTIONS}/a.b/versions",
        {},
        VAL,
        "1 validation error detected: Value 'a.b' at 'functionName' failed to satisfy constraint: …",
    ),
    Row(
        "2.1 a creation under a qualified name over 140",
        f"POST {FUNCTIONS}",
        {"FunctionName": "n" * 60 + ":" + "q" * 100, "Role": "arn:aws:iam::{account}:role/r", "Code": {}},
        VAL,
        one(f"'{'n' * 60}:{'q' * 100}'", "functionName", no_longer(140)),
    ),
    Row(
        "2.1 unqualified names have no qualifier",
        "GET /2024-08-31/functions/{name}:1/recursion-config",
        None,
        VAL,
        "1 validation error detected: Value '{name}:1' at 'functionName' failed to satisfy constraint: …",
    ),
    Row(
        "2.1 function URL names have no number as qualifier",
        "GET /2021-10-31/functions/{name}:1/url",
        None,
        VAL,
        "1 validation error detected: Value '{name}:1' at 'functionName' failed to satisfy constraint: …",
    ),
    get("2.2 two qualifiers", "{name}:1?Qualifier=2", IPV, MISMATCH),
    get("2.2 two qualifiers of no function", "no:1?Qualifier=2", IPV, MISMATCH),
    get("2.2 $LATEST in the name and a version", "{name}:$LATEST?Qualifier=1", IPV, MISMATCH),
    Row("2.2 two equal qualifiers", f"GET {FUNCTIONS}/{{name}}:1?Qualifier=1"),
    Row(
        "2.2 a qualifier that is impossible is not found",
        f"POST {FUNCTIONS}/{{name}}/policy?Qualifier=valid-with-$-but-doesnotexist",
        PERMISSION,
        RNF,
        "Function not found: {arn}:valid-with-$-but-doesnotexist",
    ),
)
def test_names_and_qualifiers(wire: Wire, names: dict[str, str], row: Row) -> None:
    hold(wire, row, names)


MISMATCHED = {
    "GetFunction": ("GET", FUNCTIONS + "/{}", None),
    "GetFunctionConfiguration": ("GET", FUNCTIONS + "/{}/configuration", None),
    "DeleteFunction": ("DELETE", FUNCTIONS + "/{}", None),
    "Invoke": ("POST", FUNCTIONS + "/{}/invocations", {}),
    "AddPermission": ("POST", POLICY, PERMISSION),
    "RemovePermission": ("DELETE", POLICY + "/s", None),
    "GetPolicy": ("GET", POLICY, None),
    "PutFunctionEventInvokeConfig": ("PUT", EVENTS, {"MaximumRetryAttempts": 1}),
    "UpdateFunctionEventInvokeConfig": ("POST", EVENTS, {"MaximumRetryAttempts": 1}),
    "GetFunctionEventInvokeConfig": ("GET", EVENTS, None),
    "DeleteFunctionEventInvokeConfig": ("DELETE", EVENTS, None),
    "CreateFunctionUrlConfig": ("POST", URL, {"AuthType": "NONE"}),
    "GetFunctionUrlConfig": ("GET", URL, None),
    "UpdateFunctionUrlConfig": ("PUT", URL, {"AuthType": "NONE"}),
    "DeleteFunctionUrlConfig": ("DELETE", URL, None),
    "GetRuntimeManagementConfig": ("GET", MANAGED, None),
    "PutRuntimeManagementConfig": ("PUT", MANAGED, {"UpdateRuntimeOn": "Auto"}),
}


@pytest.mark.parametrize("operation", MISMATCHED)
@pytest.mark.parametrize("name", ["{name}", "no"])
def test_qualifiers_that_differ(wire: Wire, names: dict[str, str], operation: str, name: str) -> None:
    """§2.2: before any look-up, by every operation that takes both."""
    method, path, body = MISMATCHED[operation]
    target = path.format(name.replace("{name}", names["name"]) + ":blue")
    refused(wire(method, f"{target}?Qualifier=live", body), IPV, MISMATCH)


def missing(operation: str, method: str, path: str, message: str, body: Any = None, code: str = RNF) -> Row:
    """A row of the table in §2.3."""
    return Row(f"2.3 {operation}", f"{method} {path}", body, code, message)


RESERVED = "functions/no/concurrency"


@rows(
    missing("GetFunction, function", "GET", FUNCTIONS + "/no", "Function not found: {no}"),
    missing("GetFunction, function, qualified", "GET", FUNCTIONS + "/no?Qualifier=q", "Function not found: {no}:q"),
    missing("GetFunction, version", "GET", FUNCTIONS + "/{name}?Qualifier=9", "Function not found: {arn}:9"),
    missing("GetFunction, alias", "GET", FUNCTIONS + "/{name}?Qualifier=no", "Function not found: {arn}:no"),
    missing("GetFunctionConfiguration, function", "GET", FUNCTIONS + "/no/configuration", "Function not found: {no}"),
    missing(
        "GetFunctionConfiguration, version",
        "GET",
        FUNCTIONS + "/{name}:9/configuration",
        "Function not found: {arn}:9",
    ),
    missing(
        "GetFunctionConfiguration, alias",
        "GET",
        FUNCTIONS + "/{name}:no/configuration",
        "Function not found: {arn}:no",
    ),
    missing("DeleteFunction, function", "DELETE", FUNCTIONS + "/no", "Function not found: {no}"),
    missing("DeleteFunction, function, qualified", "DELETE", FUNCTIONS + "/no?Qualifier=1", "Function not found: {no}"),
    missing("DeleteFunction, alias", "DELETE", FUNCTIONS + "/{name}?Qualifier=live", NO_ALIASES, code=IPV),
    missing("DeleteFunction, alias of no function", "DELETE", FUNCTIONS + "/no?Qualifier=live", NO_ALIASES, code=IPV),
    missing("DeleteFunction, $LATEST", "DELETE", FUNCTIONS + "/{name}?Qualifier=$LATEST", LATEST_STAYS, code=IPV),
    missing("DeleteFunction, $LATEST in the name", "DELETE", FUNCTIONS + "/{name}:$LATEST", LATEST_STAYS, code=IPV),
    missing("DeleteFunction, $LATEST of no function", "DELETE", FUNCTIONS + "/no:$LATEST", LATEST_STAYS, code=IPV),
    missing("Invoke, function", "POST", FUNCTIONS + "/no/invocations", "Function not found: {no}:$LATEST"),
    missing("Invoke, function, qualified", "POST", FUNCTIONS + "/no:q/invocations", "Function not found: {no}:q"),
    missing("Invoke, version", "POST", FUNCTIONS + "/{name}:9/invocations", "Function not found: {arn}:9"),
    missing("Invoke, alias", "POST", FUNCTIONS + "/{name}/invocations?Qualifier=no", "Function not found: {arn}:no"),
    missing(
        "InvokeAsync, function",
        "POST",
        "/2014-11-13/functions/no/invoke-async",
        "Function not found: {no}:$LATEST",
        {},
    ),
    missing("UpdateFunctionCode, function", "PUT", FUNCTIONS + "/no/code", "Function not found: {no}", {}),
    missing(
        "UpdateFunctionConfiguration, function",
        "PUT",
        FUNCTIONS + "/no/configuration",
        "Function not found: {no}",
        {},
    ),
    missing("PublishVersion, function", "POST", FUNCTIONS + "/no/versions", "Function not found: {no}", {}),
    missing("ListVersionsByFunction, function", "GET", FUNCTIONS + "/no/versions", "Function not found: {no}"),
    missing("ListAliases, function", "GET", FUNCTIONS + "/no/aliases", "Function not found: {no}"),
    missing(
        "CreateAlias, function",
        "POST",
        FUNCTIONS + "/no/aliases",
        "Function not found: {no}:1",
        {"Name": "a", "FunctionVersion": "1"},
    ),
    missing(
        "CreateAlias, function, $LATEST",
        "POST",
        FUNCTIONS + "/no/aliases",
        "Function not found: {no}:$LATEST",
        {"Name": "a", "FunctionVersion": "$LATEST"},
    ),
    missing(
        "CreateAlias, version",
        "POST",
        FUNCTIONS + "/{name}/aliases",
        "Function not found: {arn}:9",
        {"Name": "a", "FunctionVersion": "9"},
    ),
    missing("GetAlias, function", "GET", FUNCTIONS + "/no/aliases/live", "Function not found: {no}"),
    missing("GetAlias, alias", "GET", FUNCTIONS + "/{name}/aliases/no", "Cannot find alias arn: {arn}:no"),
    missing("AddPermission, function", "POST", FUNCTIONS + "/no/policy", "Function not found: {no}", PERMISSION),
    missing(
        "AddPermission, version",
        "POST",
        FUNCTIONS + "/{name}/policy?Qualifier=9",
        "Function not found: {arn}:9",
        PERMISSION,
    ),
    missing(
        "AddPermission, alias",
        "POST",
        FUNCTIONS + "/{name}/policy?Qualifier=no",
        "Cannot find alias arn: {arn}:no",
        PERMISSION,
    ),
    missing("GetPolicy, function", "GET", FUNCTIONS + "/no/policy", NO_RESOURCE),
    missing("GetPolicy, version", "GET", FUNCTIONS + "/{name}/policy?Qualifier=9", NO_RESOURCE),
    missing("GetPolicy, alias", "GET", FUNCTIONS + "/{name}/policy?Qualifier=no", NO_RESOURCE),
    missing("GetPolicy, no policy", "GET", FUNCTIONS + "/{name}/policy", NO_RESOURCE),
    missing("RemovePermission, function", "DELETE", FUNCTIONS + "/no/policy/s", "No policy found for: {no}"),
    missing(
        "RemovePermission, version",
        "DELETE",
        FUNCTIONS + "/{name}/policy/s?Qualifier=9",
        "Function not found: {arn}:9",
    ),
    missing(
        "RemovePermission, alias",
        "DELETE",
        FUNCTIONS + "/{name}/policy/s?Qualifier=no",
        "Cannot find alias arn: {arn}:no",
    ),
    missing(
        "PutFunctionConcurrency, function, before the number",
        "PUT",
        f"/2017-10-31/{RESERVED}",
        "Function not found: {no}:$LATEST",
        {"ReservedConcurrentExecutions": 99_999},
    ),
    missing("GetFunctionConcurrency, function", "GET", f"/2019-09-30/{RESERVED}", "Function not found: {no}"),
    missing(
        "PutFunctionConcurrency, qualified",
        "PUT",
        "/2017-10-31/functions/{name}:1/concurrency",
        UNQUALIFIED_ONLY,
        {"ReservedConcurrentExecutions": 1},
        IPV,
    ),
    missing(
        "GetFunctionConcurrency, qualified",
        "GET",
        "/2019-09-30/functions/{name}:1/concurrency",
        UNQUALIFIED_ONLY,
        None,
        IPV,
    ),
    missing(
        "DeleteFunctionConcurrency, qualified ARN",
        "DELETE",
        "/2017-10-31/functions/{arn}:live/concurrency",
        UNQUALIFIED_ONLY,
        None,
        IPV,
    ),
    missing(
        "GetFunctionCodeSigningConfig, function",
        "GET",
        "/2020-06-30/functions/no/code-signing-config",
        "Function not found: {no}",
    ),
    missing(
        "DeleteFunctionCodeSigningConfig, function",
        "DELETE",
        "/2020-06-30/functions/no/code-signing-config",
        "Function not found: {no}",
    ),
    missing("GetRuntimeManagementConfig, function", "GET", MANAGED.format("no"), "Function not found: {no}"),
    missing(
        "GetRuntimeManagementConfig, version",
        "GET",
        MANAGED.format("{name}") + "?Qualifier=9",
        "Function not found: {arn}:9",
    ),
    missing(
        "GetRuntimeManagementConfig, alias",
        "GET",
        MANAGED.format("{name}") + "?Qualifier=live",
        "The provided function name {arn}:live is invalid. Aliases are not allowed.",
        None,
        IPV,
    ),
)
def test_what_a_missing_target_answers(wire: Wire, names: dict[str, str], row: Row) -> None:
    hold(wire, row, names)


def test_a_missing_version_is_deleted(wire: Wire, names: dict[str, str]) -> None:
    """§2.3: 204, and nothing happens."""
    assert wire("DELETE", f"{FUNCTIONS}/{names['name']}?Qualifier=9").status == 204


ACROSS = {
    *("CreateAlias", "DeleteAlias", "DeleteFunction", "DeleteFunctionConcurrency", "DeleteFunctionEventInvokeConfig"),
    *("DeleteProvisionedConcurrencyConfig", "GetAlias", "GetFunction", "GetFunctionConcurrency"),
    *("GetFunctionConfiguration", "GetFunctionEventInvokeConfig", "GetPolicy", "GetProvisionedConcurrencyConfig"),
    *("Invoke", "ListAliases", "ListFunctionEventInvokeConfigs", "ListProvisionedConcurrencyConfigs", "ListTags"),
    *("ListVersionsByFunction", "PublishVersion", "PutFunctionConcurrency", "PutFunctionEventInvokeConfig"),
    *("PutProvisionedConcurrencyConfig", "TagResource", "UntagResource", "UpdateAlias", "UpdateFunctionCode"),
    "UpdateFunctionEventInvokeConfig",
}
"""§2.4: operations that another account may be allowed."""
CODE_SIGNING_ARN = "arn:aws:lambda:us-east-1:{account}:code-signing-config:csc-0123456789abcdefg"
BODIES: dict[str, Any] = {
    "CreateFunction": {
        "Role": "arn:aws:iam::{account}:role/r",
        "Runtime": PYTHON_RUNTIME,
        "Handler": "a.b",
        "Code": {},
    },
    "AddPermission": PERMISSION,
    "CreateAlias": {"Name": "a", "FunctionVersion": "1"},
    "CreateFunctionUrlConfig": {"AuthType": "NONE"},
    "PutFunctionConcurrency": {"ReservedConcurrentExecutions": 1},
    "PutProvisionedConcurrencyConfig": {"ProvisionedConcurrentExecutions": 1},
    "PutFunctionEventInvokeConfig": {"MaximumRetryAttempts": 1},
    "UpdateFunctionEventInvokeConfig": {"MaximumRetryAttempts": 1},
    "PutFunctionRecursionConfig": {"RecursiveLoop": "Allow"},
    "PutRuntimeManagementConfig": {"UpdateRuntimeOn": "Auto"},
    "PutFunctionCodeSigningConfig": {"CodeSigningConfigArn": CODE_SIGNING_ARN},
}
LABELS = {"Name": "live", "StatementId": "s"}
QUERIES = {
    "GetProvisionedConcurrencyConfig": "?Qualifier=1",
    "PutProvisionedConcurrencyConfig": "?Qualifier=1",
    "DeleteProvisionedConcurrencyConfig": "?Qualifier=1",
    "ListProvisionedConcurrencyConfigs": "?List=ALL",
}
NOT_HERE = {
    "ListDurableExecutionsByFunction": "durable executions have their own rules",
    "GetFunctionScalingConfig": "capacity providers",
    "PutFunctionScalingConfig": "capacity providers",
    "PutFunctionCodeSigningConfig": "looks at the configuration first",
    "InvokeAsync": "the family of Invoke has its own door",
    "InvokeWithResponseStream": "the same",
}
NAMING = sorted(
    name
    for name, operation in load_table().operations.items()
    if operation.input is not None and "FunctionName" in operation.input.required and name not in NOT_HERE
    if "{FunctionName}" in operation.path or name == "CreateFunction"
)
"""The operations that name a function in their path."""


def naming(operation: str, text: str, account: str) -> tuple[str, str, Any]:
    """A call of `operation` that is well formed and names `text`."""
    described = load_table().operations[operation]
    labels = [LABELS.get(s[1:-1], encoded(text)) if s.startswith("{") else s for s in described.path]
    body = BODIES.get(operation)
    if operation == "CreateFunction":
        body = {**body, "FunctionName": text}
    if body is not None:
        body = {key: one.replace("{account}", account) if isinstance(one, str) else one for key, one in body.items()}
    elif described.method in ("PUT", "POST"):
        body = {}
    return described.method, "/" + "/".join(labels) + QUERIES.get(operation, ""), body


@pytest.mark.parametrize("operation", NAMING)
def test_another_region(wire: Wire, names: dict[str, str], operation: str) -> None:
    """§2.4: a function's ARN of another region is not found, by every operation that takes one."""
    method, path, body = naming(operation, names["elsewhere"], wire.account)
    expected = "Functions from 'eu-west-1' are not reachable in this region ('us-east-1')"
    refused(wire(method, path, body), RNF, expected)


@pytest.mark.parametrize("operation", [one for one in NAMING if one not in ACROSS])
def test_another_account_without_support(wire: Wire, names: dict[str, str], operation: str) -> None:
    """§2.4: 403 with a null message, before anything is looked up."""
    method, path, body = naming(operation, names["abroad"], wire.account)
    reply = wire(method, path, body)
    refused(reply, DENIED, None)
    assert reply.body == b'{"Message":null}'


@pytest.mark.parametrize("operation", [one for one in NAMING if one in ACROSS])
def test_another_account_with_support(wire: Wire, names: dict[str, str], operation: str) -> None:
    """§2.4: the function is looked up where it is; then its policy decides, and the refusal names the action."""
    method, path, body = naming(operation, names["arn"], wire.account)
    if operation == "DeleteFunction":
        path += "?Qualifier=1"
    reply = wire.foreign(method, path, body)
    refused(
        reply,
        DENIED,
        f"User: arn:aws:iam::{OTHER_ACCOUNT}:root is not authorized to perform: lambda:"
        f"{ACTIONS.get(operation, operation)} on resource: {names['arn']}…",
    )


ACTIONS = {"Invoke": "InvokeFunction", "InvokeWithResponseStream": "InvokeFunction"}


@pytest.mark.parametrize("region", ["invalid-region", ""])
def test_a_region_that_is_none(wire: Wire, names: dict[str, str], region: str) -> None:
    """§2.4: the pattern speaks."""
    text = f"arn:aws:lambda:{region}:{wire.account}:function:f"
    pattern = load_table().operations["GetFunction"].input.members["FunctionName"].shape.pattern  # type: ignore[union-attr]
    refused(wire("GET", f"{FUNCTIONS}/{encoded(text)}"), VAL, one(f"'{text}'", "functionName", like(pattern or "")))


@pytest.mark.parametrize("form", ["{arn}", "{account}:function:{free}", "function:{free}"])
def test_creation_under_an_arn(wire: Wire, form: str) -> None:
    """§2.4: the response's FunctionName is the bare name."""
    free = f"by-arn-{len(form)}"
    text = form.replace("{arn}", wire.arn(free)).replace("{account}", wire.account).replace("{free}", free)
    shown = wire.ok("POST", FUNCTIONS, wire.creation(text), 201)
    assert (shown["FunctionName"], shown["FunctionArn"]) == (free, wire.arn(free))


LONG = "n" * 65


@rows(
    Row(
        "2.5 constraints before the 64 characters",
        f"POST {FUNCTIONS}",
        {"FunctionName": LONG, "Role": "r1", "Code": {}},
        VAL,
        "1 validation error detected: Value 'r1' at 'role' failed to satisfy constraint: …",
    ),
    Row(
        "2.5 the 64 characters before the region",
        f"POST {FUNCTIONS}",
        {
            "FunctionName": "arn:aws:lambda:eu-west-1:{account}:function:" + LONG,
            "Role": "arn:aws:iam::{account}:role/r",
            "Runtime": PYTHON_RUNTIME,
            "Handler": "a.b",
            "Code": {},
        },
        IPV,
        one(f"'{LONG}'", "functionName", no_longer(64)),
    ),
    get(
        "2.5 the region before the account",
        f"arn:aws:lambda:eu-west-1:{OTHER_ACCOUNT}:function:f/policy",
        RNF,
        "Functions from 'eu-west-1' are not reachable in this region ('us-east-1')",
    ),
    Row(
        "2.5 the account before the qualifiers",
        f"POST {FUNCTIONS}/{{abroad}}:1/policy?Qualifier=2",
        PERMISSION,
        DENIED,
        None,
    ),
    Row(
        "2.5 the region before the qualifiers",
        f"DELETE {FUNCTIONS}/{{elsewhere}}:1?Qualifier=2",
        None,
        RNF,
        "Functions from 'eu-west-1' are not reachable in this region ('us-east-1')",
    ),
    Row(
        "2.5 the qualifiers before the operation's rules",
        f"DELETE {FUNCTIONS}/{{name}}:$LATEST?Qualifier=live",
        None,
        IPV,
        MISMATCH,
    ),
    Row("2.5 the operation's rules before existence", f"DELETE {FUNCTIONS}/no:live", None, IPV, NO_ALIASES),
)
def test_the_order_of_the_checks(wire: Wire, names: dict[str, str], row: Row) -> None:
    hold(wire, row, names)
