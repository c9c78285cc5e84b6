"""§1: the wire form of every operation, the form of errors, and the grammar of violated constraints."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

import pytest
from tests.parity.spec.spec_world import (
    FUNCTIONS,
    IPV,
    OTHER_ZIP,
    RNF,
    TOO_LARGE,
    VAL,
    ZIP,
    Reply,
    Row,
    Wire,
    at_least,
    at_most,
    encoded,
    hold,
    like,
    no_longer,
    no_shorter,
    one,
    one_of,
    refused,
    rows,
    well_formed,
)
from tests.support import PYTHON_RUNTIME, unique

from lambent.api.table import load_table

CREATED = {
    *("CreateFunction", "CreateAlias", "PublishVersion", "AddPermission", "PublishLayerVersion"),
    *("AddLayerVersionPermission", "CreateCodeSigningConfig", "CreateFunctionUrlConfig"),
}
ACCEPTED = {
    *("CreateEventSourceMapping", "UpdateEventSourceMapping", "DeleteEventSourceMapping"),
    *("PutProvisionedConcurrencyConfig", "PutFunctionScalingConfig", "CreateCapacityProvider", "InvokeAsync"),
    *("UpdateCapacityProvider", "DeleteCapacityProvider", "PauseDurableExecution", "ResumeDurableExecution"),
    "DeleteDurableExecution",
}
EMPTY = {
    *("DeleteFunction", "DeleteAlias", "RemovePermission", "TagResource", "UntagResource", "DeleteLayerVersion"),
    *("DeleteFunctionConcurrency", "RemoveLayerVersionPermission", "DeleteFunctionEventInvokeConfig"),
    *("DeleteProvisionedConcurrencyConfig", "DeleteCodeSigningConfig", "DeleteFunctionCodeSigningConfig"),
    *("DeleteFunctionUrlConfig", "DeleteResourcePolicy"),
}
BY_TESTS_OF_THEIR_OWN = {
    *("Invoke", "InvokeAsync", "InvokeWithResponseStream"),
    *("CheckpointDurableExecution", "DeleteDurableExecution", "GetDurableExecution", "GetDurableExecutionHistory"),
    *("GetDurableExecutionState", "ListDurableExecutionsByFunction", "PauseDurableExecution"),
    *("ResumeDurableExecution", "StopDurableExecution", "SendDurableExecutionCallbackSuccess"),
    *("SendDurableExecutionCallbackFailure", "SendDurableExecutionCallbackHeartbeat", "PutFunctionScalingConfig"),
    *("GetFunctionScalingConfig", "CreateCapacityProvider", "GetCapacityProvider", "UpdateCapacityProvider"),
    *("DeleteCapacityProvider", "ListCapacityProviders", "ListFunctionVersionsByCapacityProvider"),
}
"""Operations that need running code, or a whole feature around them: their chapters are in other folders."""


def stated(operation: str) -> int:
    """The success code that §1.1 states."""
    return 201 if operation in CREATED else 202 if operation in ACCEPTED else 204 if operation in EMPTY else 200


@dataclass
class Walk:
    """One life of everything, each operation once and in an order in which it succeeds."""

    wire: Wire
    form: Callable[[str], str]
    """How the test writes a path whose labels are encoded."""
    full: bool
    """Whether functions are named by ARN."""
    replies: dict[str, Reply] = field(default_factory=dict)

    def __call__(self, operation: str, method: str, path: str, body: Any = None) -> Any:
        reply = self.wire(method, self.form(path), body)
        self.replies[operation] = reply
        return reply.document if reply.status < 400 and reply.body else {}

    def label(self, name: str) -> str:
        return encoded(self.wire.arn(name) if self.full else name)


def lived(walk: Walk) -> dict[str, Reply]:
    wire, name = walk.wire, unique("walk")
    fn, arn = walk.label(name), encoded(wire.arn(name))
    here = f"{FUNCTIONS}/{fn}"
    layer = f"/2018-10-31/layers/{name}/versions"
    signing = {"AllowedPublishers": {"SigningProfileVersionArns": [SIGNER.replace("{account}", wire.account)]}}
    walk("CreateFunction", "POST", FUNCTIONS, wire.creation(name))
    walk("GetFunction", "GET", here)
    walk("GetFunctionConfiguration", "GET", f"{here}/configuration")
    walk("ListFunctions", "GET", FUNCTIONS)
    walk("UpdateFunctionCode", "PUT", f"{here}/code", {"ZipFile": b64encode(OTHER_ZIP).decode()})
    walk("UpdateFunctionConfiguration", "PUT", f"{here}/configuration", {"Timeout": 4})
    walk("PublishVersion", "POST", f"{here}/versions", {})
    walk("ListVersionsByFunction", "GET", f"{here}/versions")
    walk("CreateAlias", "POST", f"{here}/aliases", {"Name": "live", "FunctionVersion": "1"})
    walk("GetAlias", "GET", f"{here}/aliases/live")
    walk("ListAliases", "GET", f"{here}/aliases")
    walk("UpdateAlias", "PUT", f"{here}/aliases/live", {})
    statement = {"StatementId": "s", "Action": "lambda:InvokeFunction", "Principal": "s3.amazonaws.com"}
    walk("AddPermission", "POST", f"{here}/policy", statement)
    policy = walk("GetPolicy", "GET", f"{here}/policy")
    walk("RemovePermission", "DELETE", f"{here}/policy/s")
    walk("PutResourcePolicy", "PUT", f"/2026-07-09/resource-policy/{arn}", {"Policy": policy.get("Policy")})
    walk("GetResourcePolicy", "GET", f"/2026-07-09/resource-policy/{arn}")
    walk("DeleteResourcePolicy", "DELETE", f"/2026-07-09/resource-policy/{arn}")
    made = walk("PublishLayerVersion", "POST", layer, {"Content": {"ZipFile": b64encode(ZIP).decode()}})
    walk("GetLayerVersion", "GET", f"{layer}/1")
    by_arn = encoded(made["LayerVersionArn"])
    walk("GetLayerVersionByArn", "GET", f"/2018-10-31/layers?find=LayerVersion&Arn={by_arn}")
    walk("ListLayers", "GET", "/2018-10-31/layers")
    walk("ListLayerVersions", "GET", layer)
    grant = {"StatementId": "s", "Action": "lambda:GetLayerVersion", "Principal": "*"}
    walk("AddLayerVersionPermission", "POST", f"{layer}/1/policy", grant)
    walk("GetLayerVersionPolicy", "GET", f"{layer}/1/policy")
    walk("RemoveLayerVersionPermission", "DELETE", f"{layer}/1/policy/s")
    walk("DeleteLayerVersion", "DELETE", f"{layer}/1")
    reserved = f"functions/{fn}/concurrency"
    walk("PutFunctionConcurrency", "PUT", f"/2017-10-31/{reserved}", {"ReservedConcurrentExecutions": 5})
    walk("GetFunctionConcurrency", "GET", f"/2019-09-30/{reserved}")
    walk("DeleteFunctionConcurrency", "DELETE", f"/2017-10-31/{reserved}")
    provisioned = f"/2019-09-30/functions/{fn}/provisioned-concurrency"
    one_environment = {"ProvisionedConcurrentExecutions": 1}
    walk("PutProvisionedConcurrencyConfig", "PUT", f"{provisioned}?Qualifier=live", one_environment)
    walk("GetProvisionedConcurrencyConfig", "GET", f"{provisioned}?Qualifier=live")
    walk("ListProvisionedConcurrencyConfigs", "GET", f"{provisioned}?List=ALL")
    walk("DeleteProvisionedConcurrencyConfig", "DELETE", f"{provisioned}?Qualifier=live")
    events = f"/2019-09-25/functions/{fn}/event-invoke-config"
    walk("PutFunctionEventInvokeConfig", "PUT", events, {"MaximumRetryAttempts": 1})
    walk("GetFunctionEventInvokeConfig", "GET", events)
    walk("UpdateFunctionEventInvokeConfig", "POST", events, {"MaximumRetryAttempts": 0})
    walk("ListFunctionEventInvokeConfigs", "GET", f"{events}/list")
    walk("DeleteFunctionEventInvokeConfig", "DELETE", events)
    queue = f"arn:aws:sqs:{wire.region}:{wire.account}:{name}"
    mapping = {"FunctionName": name, "EventSourceArn": queue}
    uuid = walk("CreateEventSourceMapping", "POST", "/2015-03-31/event-source-mappings", mapping).get("UUID")
    walk("ListEventSourceMappings", "GET", "/2015-03-31/event-source-mappings")
    walk("GetEventSourceMapping", "GET", f"/2015-03-31/event-source-mappings/{uuid}")
    walk("UpdateEventSourceMapping", "PUT", f"/2015-03-31/event-source-mappings/{uuid}", {"BatchSize": 5})
    walk("DeleteEventSourceMapping", "DELETE", f"/2015-03-31/event-source-mappings/{uuid}")
    url = f"/2021-10-31/functions/{fn}/url"
    walk("CreateFunctionUrlConfig", "POST", url, {"AuthType": "NONE"})
    walk("GetFunctionUrlConfig", "GET", url)
    walk("UpdateFunctionUrlConfig", "PUT", url, {"AuthType": "AWS_IAM"})
    walk("ListFunctionUrlConfigs", "GET", f"{url}s")
    walk("DeleteFunctionUrlConfig", "DELETE", url)
    configs = "/2020-04-22/code-signing-configs"
    made = walk("CreateCodeSigningConfig", "POST", configs, signing)
    config = made["CodeSigningConfig"]["CodeSigningConfigArn"]
    walk("GetCodeSigningConfig", "GET", f"{configs}/{encoded(config)}")
    walk("UpdateCodeSigningConfig", "PUT", f"{configs}/{encoded(config)}", {"Description": "d"})
    walk("ListCodeSigningConfigs", "GET", configs)
    attached = f"/2020-06-30/functions/{fn}/code-signing-config"
    walk("PutFunctionCodeSigningConfig", "PUT", attached, {"CodeSigningConfigArn": config})
    walk("GetFunctionCodeSigningConfig", "GET", attached)
    walk("ListFunctionsByCodeSigningConfig", "GET", f"{configs}/{encoded(config)}/functions")
    walk("DeleteFunctionCodeSigningConfig", "DELETE", attached)
    walk("DeleteCodeSigningConfig", "DELETE", f"{configs}/{encoded(config)}")
    walk("TagResource", "POST", f"/2017-03-31/tags/{arn}", {"Tags": {"a": "1", "b": "2", "c": "3"}})
    walk("UntagResource", "DELETE", f"/2017-03-31/tags/{arn}?tagKeys=a&tagKeys=b")
    assert walk("ListTags", "GET", f"/2017-03-31/tags/{arn}") == {"Tags": {"c": "3"}}
    managed = f"/2021-07-20/functions/{fn}/runtime-management-config"
    walk("PutRuntimeManagementConfig", "PUT", managed, {"UpdateRuntimeOn": "FunctionUpdate"})
    walk("GetRuntimeManagementConfig", "GET", managed)
    recursion = f"/2024-08-31/functions/{encoded(name)}/recursion-config"
    walk("PutFunctionRecursionConfig", "PUT", recursion, {"RecursiveLoop": "Allow"})
    walk("GetFunctionRecursionConfig", "GET", recursion)
    walk("GetAccountSettings", "GET", "/2016-08-19/account-settings")
    walk("DeleteAlias", "DELETE", f"{here}/aliases/live")
    walk("DeleteFunction", "DELETE", here)
    return walk.replies


SIGNER = "arn:aws:signer:us-east-1:{account}:/signing-profiles/p/abcdefghij"
WALKED = sorted(set(load_table().operations) - BY_TESTS_OF_THEIR_OWN)


def with_slash(path: str) -> str:
    path, mark, query = path.partition("?")
    return f"{path}/{mark}{query}"


FORMS: dict[str, tuple[Callable[[str], str], bool]] = {
    "by name": (lambda path: path, False),
    "with a trailing slash": (with_slash, False),
    "by encoded ARN": (lambda path: path, True),
    "by ARN, colons as they are": (unquote, True),
    "by ARN, colons as they are, with a trailing slash": (lambda path: with_slash(unquote(path)), True),
}


@pytest.fixture(scope="module", params=list(FORMS))
def walked(request: pytest.FixtureRequest, wire: Wire) -> dict[str, Reply]:
    form, full = FORMS[request.param]
    account = f"{int(wire.account) + 1 + list(FORMS).index(request.param):012d}"
    return lived(Walk(Wire(wire.url, account), form, full))


@pytest.mark.parametrize("operation", WALKED)
def test_success_codes_and_headers(walked: dict[str, Reply], operation: str) -> None:
    """§1.1: the success code of each operation, its headers, and bodies that are empty where they must be."""
    reply = walked[operation]
    assert reply.status == stated(operation), reply.body
    well_formed(reply)
    if operation == "GetFunction":
        assert walked["DeleteFunction"].body == b""


def test_every_operation_is_walked_or_has_tests_of_its_own() -> None:
    """§25: 91 operations."""
    assert len(load_table().operations) == 91
    assert set(load_table().operations) >= CREATED | ACCEPTED | EMPTY | BY_TESTS_OF_THEIR_OWN


LONG = "n" * 257


@pytest.fixture(scope="module")
def names(wire: Wire) -> dict[str, str]:
    name = wire.make("wire")
    wire.publish(name)
    wire.alias(name, "live")
    return {"name": name, "arn": wire.arn(name), "account": wire.account, "role": wire.role, "free": unique("free")}


ROLE_PATTERN = r"arn:(aws[a-zA-Z-]*)?:iam::\d{12}:role/?[a-zA-Z_0-9+=,.@\-_/]+"
ELEMENT = "Member must satisfy constraint: [{}]"
WEIGHTS = "routingConfig.additionalVersionWeights"
ALIASES = "POST " + FUNCTIONS + "/{name}/aliases"


def creation(**members: Any) -> dict[str, Any]:
    base = {"FunctionName": "{free}", "Runtime": PYTHON_RUNTIME, "Handler": "app.handler", "Role": "{role}"}
    document = {**base, "Code": {"ZipFile": b64encode(ZIP).decode()}, **members}
    return {key: value for key, value in document.items() if value is not None}


def weighted(weights: Any, **members: Any) -> dict[str, Any]:
    return {"Name": "x", "FunctionVersion": "1", "RoutingConfig": {"AdditionalVersionWeights": weights}, **members}


@rows(
    Row(
        "1.3 a scalar in quotes",
        f"POST {FUNCTIONS}",
        creation(Role="r1"),
        VAL,
        one("'r1'", "role", like(ROLE_PATTERN)),
    ),
    Row("1.3 a number in quotes", f"POST {FUNCTIONS}", creation(Timeout=0), VAL, one("'0'", "timeout", at_least(1))),
    Row("1.3 bare null", f"POST {FUNCTIONS}", creation(Role=None), VAL, one("null", "role", "Member must not be null")),
    Row(
        "1.1 null is absent, also where it is required",
        f"POST {FUNCTIONS}",
        {**creation(), "Role": None},
        VAL,
        one("null", "role", "Member must not be null"),
    ),
    Row(
        "1.1 names of members are case-sensitive",
        f"POST {FUNCTIONS}",
        {**creation(Role=None), "role": "{role}"},
        VAL,
        one("null", "role", "Member must not be null"),
    ),
    Row(
        "1.3 a list is printed whole, too long",
        f"POST {FUNCTIONS}",
        creation(Architectures=["x86_64", "arm64"]),
        VAL,
        one("'[x86_64, arm64]'", "architectures", no_longer(1)),
    ),
    Row(
        "1.3 an empty list",
        f"POST {FUNCTIONS}",
        creation(Architectures=[]),
        VAL,
        one("'[]'", "architectures", no_shorter(1)),
    ),
    Row(
        "1.3 a list's element, with all its constraints",
        f"POST {FUNCTIONS}",
        creation(Architectures=["X86_64"]),
        VAL,
        one("'[X86_64]'", "architectures", ELEMENT.format(f"{one_of('x86_64', 'arm64')}, Member must not be null")),
    ),
    Row(
        "1.3 a list's element that may be null",
        f"POST {FUNCTIONS}",
        creation(VpcConfig={"SubnetIds": ["net"], "SecurityGroupIds": []}),
        VAL,
        one(
            "'[net]'",
            "vpcConfig.subnetIds",
            ELEMENT.format(f"{no_longer(1024)}, {no_shorter(0)}, {like('subnet-[0-9a-z]*')}"),
        ),
    ),
    Row(
        "1.3 a map's value",
        ALIASES,
        weighted({"2": 2.0}),
        VAL,
        one(
            "'{2=2.0}'",
            WEIGHTS,
            "Map value must satisfy constraint: [Member must have value less than or equal to 1.0, Member must have "
            "value greater than or equal to 0.0, Member must not be null]",
        ),
    ),
    Row(
        "1.3 a map's value below, printed as a double",
        ALIASES,
        weighted({"2": -1}),
        VAL,
        one(
            "'{2=-1.0}'",
            WEIGHTS,
            "Map value must satisfy constraint: [Member must have value less than or equal to 1.0, Member must have "
            "value greater than or equal to 0.0, Member must not be null]",
        ),
    ),
    Row(
        "1.3 a map's key",
        ALIASES,
        weighted({"$LATEST": 0.5}),
        VAL,
        one(
            "'{$LATEST=0.5}'",
            WEIGHTS,
            f"Map keys must satisfy constraint: [{no_longer(1024)}, {no_shorter(1)}, {like('[0-9]+')}]",
        ),
    ),
    Row(
        "1.3 paths are dotted from the root",
        f"POST {FUNCTIONS}",
        creation(SnapStart={"ApplyOn": "Always"}),
        VAL,
        one("'Always'", "snapStart.applyOn", one_of("PublishedVersions", "None")),
    ),
    Row(
        "1.3 two errors in one message",
        f"POST {FUNCTIONS}",
        creation(Role="r1", Timeout=0),
        VAL,
        "2 validation errors detected: "
        f"Value 'r1' at 'role' failed to satisfy constraint: {like(ROLE_PATTERN)}; "
        f"Value '0' at 'timeout' failed to satisfy constraint: {at_least(1)}",
    ),
    Row(
        "1.3 the qualifier's error before the name's",
        f"GET {FUNCTIONS}/{LONG}?Qualifier={'q' * 129}",
        None,
        VAL,
        f"2 validation errors detected: Value '{'q' * 129}' at 'qualifier' failed to satisfy constraint: "
        f"{no_longer(128)}; Value '{LONG}' at 'functionName' failed to satisfy constraint: {no_longer(256)}",
    ),
    Row(
        "1.3 within a member, length before pattern",
        f"POST {FUNCTIONS}/{{name}}/aliases",
        {"Name": "!" * 129, "FunctionVersion": "1"},
        VAL,
        f"2 validation errors detected: Value '{'!' * 129}' at 'name' failed to satisfy constraint: {no_longer(128)}; "
        f"Value '{'!' * 129}' at 'name' failed to satisfy constraint: {like('(?!^[0-9]+$)([a-zA-Z0-9-_]+)')}",
    ),
    Row(
        "1.3 set of recursiveLoop",
        "PUT /2024-08-31/functions/{name}/recursion-config",
        {"RecursiveLoop": "allow"},
        VAL,
        one("'allow'", "recursiveLoop", one_of("Terminate", "Allow")),
    ),
    Row(
        "1.3 set of startingPosition",
        "POST /2015-03-31/event-source-mappings",
        {"FunctionName": "{name}", "EventSourceArn": "arn:aws:sqs:us-east-1:{account}:q", "StartingPosition": "NOW"},
        VAL,
        one("'NOW'", "startingPosition", one_of("LATEST", "AT_TIMESTAMP", "TRIM_HORIZON")),
    ),
    Row(
        "1.3 set of invokeMode",
        "POST /2021-10-31/functions/{name}/url",
        {"AuthType": "NONE", "InvokeMode": "STREAM"},
        VAL,
        one("'STREAM'", "invokeMode", one_of("RESPONSE_STREAM", "BUFFERED")),
    ),
    Row(
        "1.3 set of functionVersion",
        f"GET {FUNCTIONS}?FunctionVersion=SOME",
        None,
        VAL,
        one("'SOME'", "functionVersion", one_of("ALL")),
    ),
    Row(
        "1.3 set of publishTo",
        "PUT " + FUNCTIONS + "/{name}/code",
        {"PublishTo": "THERE"},
        VAL,
        one("'THERE'", "publishTo", one_of("LATEST_PUBLISHED")),
    ),
    Row(
        "1.3 a name of 65, phrased like the model, with Type",
        f"POST {FUNCTIONS}",
        creation(FunctionName="n" * 65),
        IPV,
        one(f"'{'n' * 65}'", "functionName", no_longer(64)),
    ),
    Row(
        "1.3 an unknown runtime, phrased like the model, with Type",
        f"POST {FUNCTIONS}",
        creation(Runtime="Python3.13"),
        IPV,
        "Value Python3.13 at 'runtime' failed to satisfy constraint: Member must satisfy enum value set: [nodejs20.x, …",
    ),
    Row(
        "1.3 a missing startingPosition, phrased like the model, with Type and a full stop",
        "POST /2015-03-31/event-source-mappings",
        {"FunctionName": "{name}", "EventSourceArn": "arn:aws:kinesis:us-east-1:{account}:stream/s"},
        IPV,
        one("null", "startingPosition", "Member must not be null."),
    ),
    Row(
        "1.3 what SDKs check themselves: a missing list",
        "DELETE /2017-03-31/tags/{arn}",
        None,
        VAL,
        one("null", "tagKeys", "Member must not be null"),
    ),
    Row("1.2 an error with Message", f"GET {FUNCTIONS}/no", None, RNF, "Function not found: {nowhere}:no"),
    Row(
        "1.2 zip over 50 MiB before constraints",
        f"POST {FUNCTIONS}",
        creation(Role="r1", Code={"ZipFile": b64encode(bytes(52_428_801)).decode()}),
        TOO_LARGE,
        "Zipped size must be smaller than 52428800 bytes",
    ),
    Row("26.2 an unknown path", "GET /2015-03-31/nothing", None, "UnknownOperationException", "Unable to determine …"),
    Row("26.2 a body that is no JSON", f"POST {FUNCTIONS}", b"{", "SerializationException", "Could not parse …"),
    Row("1.1 unknown members are ignored", f"PUT {FUNCTIONS}/{{name}}/configuration", {"Nothing": {"of": "this"}}),
    Row("1.1 null is absent", f"PUT {FUNCTIONS}/{{name}}/configuration", {"Runtime": None, "RevisionId": None}),
    Row("1.1 unknown parameters are ignored", f"GET {FUNCTIONS}/{{name}}?what=ever"),
    Row("1.1 dollar as it is", f"GET {FUNCTIONS}/{{name}}:$LATEST"),
    Row("1.1 dollar encoded", f"GET {FUNCTIONS}/{{name}}%3A%24LATEST"),
    Row("1.1 dollar as it is in a query", f"GET {FUNCTIONS}/{{name}}?Qualifier=$LATEST"),
    Row("1.1 dollar encoded in a query", f"GET {FUNCTIONS}/{{name}}?Qualifier=%24LATEST"),
    Row(
        "1.1 a label is decoded once",
        f"GET {FUNCTIONS}/{{name}}%253A1",
        None,
        VAL,
        "1 validation error detected: Value '{name}%3A1' at 'functionName' failed to satisfy constraint: …",
    ),
)
def test_rows(wire: Wire, names: dict[str, str], row: Row) -> None:
    hold(wire, row, names | {"nowhere": wire.arn("x").removesuffix(":x")})


def test_find_and_list_tell_twins_apart(wire: Wire, names: dict[str, str]) -> None:
    """§1.1: two operations share their path with another; a fixed query tells which."""
    refused(
        wire("GET", "/2018-10-31/layers?find=LayerVersion"),
        VAL,
        one("null", "arn", "Member must not be null"),
    )
    assert wire.ok("GET", "/2018-10-31/layers") == {"Layers": []}
    path = f"/2019-09-30/functions/{names['name']}/provisioned-concurrency"
    assert wire.ok("GET", f"{path}?List=ALL") == {"ProvisionedConcurrencyConfigs": []}
    refused(wire("GET", path), VAL, one("null", "qualifier", "Member must not be null"))


def test_a_throttle(wire: Wire) -> None:
    """§1.2: 429 has a Reason. (The throttle of the API's own rate also says when to come back: a unit test.)"""
    name = wire.make("throttled")
    wire.ok("PUT", f"/2017-10-31/functions/{name}/concurrency", {"ReservedConcurrentExecutions": 0})
    reply = wire("POST", f"{FUNCTIONS}/{name}/invocations", {})
    refused(reply, "TooManyRequestsException", "Rate Exceeded.")
    assert reply.document["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded"


@pytest.mark.parametrize(
    ("operation", "method", "path"),
    [
        ("CreateFunction", "POST", FUNCTIONS),
        ("UpdateFunctionCode", "PUT", FUNCTIONS + "/f/code"),
        ("PublishLayerVersion", "POST", "/2018-10-31/layers/l/versions"),
    ],
)
def test_a_request_that_is_too_large(wire: Wire, operation: str, method: str, path: str) -> None:
    """§4.4: the whole request has a limit of its own; the operation is named."""
    body = b'{"Description":"' + b"x" * 70_167_211 + b'"}'
    reply = wire(method, path, body)
    refused(reply, TOO_LARGE, f"Request must be smaller than 70167211 bytes for the {operation} operation")


@pytest.mark.parametrize("action", ["ListFunctions", "AddPermission"])
def test_another_accounts_function_without_support(wire: Wire, names: dict[str, str], action: str) -> None:
    """§1.2: 403, and the message is null."""
    arn = encoded(names["arn"])
    body = {"StatementId": "s", "Action": "lambda:InvokeFunction", "Principal": "*"}
    if action == "AddPermission":
        reply = wire.foreign("POST", f"{FUNCTIONS}/{arn}/policy", body)
        refused(reply, "AccessDeniedException", None)
        assert json.loads(reply.body) == {"Message": None}
    else:
        assert wire.foreign.ok("GET", FUNCTIONS) == {"Functions": []}


def test_max_of_a_list(wire: Wire) -> None:
    """§21: MaxItems beyond the model is a violated constraint."""
    refused(
        wire("GET", f"{FUNCTIONS}?MaxItems=10001"),
        VAL,
        one("'10001'", "maxItems", at_most(10_000)),
    )
